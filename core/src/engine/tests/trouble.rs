//! Engines that are away, wrong, or of another opinion.

use super::*;

fn unreachable() -> EngineFailure {
    EngineFailure::Unreachable("connection refused".into())
}

#[test]
fn an_outage_loses_nothing_is_told_once_and_asked_less_and_less_often() {
    let mut world = World::new();
    world.settle();
    world.grow(5);
    world.client.down = Some(unreachable());
    world.take_calls();
    world.events.clear();
    world.grow(20);
    world.wait(Duration::from_secs(120));
    assert_eq!(world.events, [EngineEvent::Failed(unreachable())]);
    assert_eq!(world.engine.status().activity, Activity::Away(unreachable()));
    assert_eq!(world.engine.status().behind, 20);
    let calls = world.take_calls();
    assert!(calls.len() <= 22, "{calls:?}");
    world.client.down = None;
    world.wait(LONGEST_PAUSE);
    world.assert_followed();
    assert!(world.events.contains(&EngineEvent::Ready(BlockId::of(&world.chain[4]))));
}

#[test]
fn an_engine_that_comes_back_with_an_older_head_is_brought_up_again() {
    let mut world = World::new();
    world.settle();
    world.grow(30);
    world.client.falls_back(12, &world.chain.clone());
    // Nobody tells us: the next look shows it.
    world.wait(REFRESH * 2);
    world.assert_followed();
    world.client.falls_back(3, &world.chain.clone());
    world.grow(1);
    world.wait(REFRESH);
    world.assert_followed();
}

#[test]
fn an_invalid_block_is_told_once_never_offered_again_and_left_when_the_chain_leaves_it() {
    let mut world = World::new();
    world.settle();
    world.grow(3);
    world.extend(0);
    let bad = world.head();
    world.client.invalid.push(bad.hash);
    world.take_calls();
    world.events.clear();
    world.tell_head();
    world.settle();
    world.grow(5);
    world.wait(REFRESH * 3);
    let reason = "a wrong state root".to_owned();
    assert_eq!(world.events, [EngineEvent::Invalid { block: bad, reason }]);
    assert_eq!(world.take_calls().iter().filter(|call| *call == "new 4").count(), 1);
    assert_eq!(world.engine.status().activity, Activity::Stuck(bad));
    assert_eq!(world.client.head, BlockId::of(&world.chain[2]));
    world.reorganise(6, 1);
    world.wait(REFRESH);
    world.assert_followed();
}

#[test]
fn blocks_below_an_invalid_one_are_chosen() {
    let mut world = World::new();
    (0..5).for_each(|_| world.extend(0));
    world.client.invalid.push(world.head().hash);
    world.tell_head();
    world.settle();
    assert_eq!(world.client.head, BlockId::of(&world.chain[3]));
}

#[test]
fn an_engine_of_another_chain_gets_nothing() {
    type Change = fn(&mut EngineState);
    let cases: [(Change, &str); 3] = [
        (|state| state.chain_id = 10, "executes chain 10, and this node follows chain 901"),
        (|state| state.genesis = Some(B256::ZERO), "another genesis"),
        (|state| state.methods = vec!["engine_newPayloadV3".into()], "lacks engine_newPayloadV4"),
    ];
    for (change, says) in cases {
        let mut world = World::new();
        let mut state = world.client.state();
        change(&mut state);
        world.client.claims = Some(state);
        world.settle();
        world.grow(3);
        world.wait(MISMATCH_PAUSE * 3);
        assert!(world.take_calls().iter().all(|call| call == "state"));
        let [EngineEvent::Mismatched(mismatch)] = &world.events[..] else { panic!("{:?}", world.events) };
        assert!(mismatch.to_string().contains(says), "{mismatch}");
        // Somebody points the address at the right one.
        world.client.claims = None;
        world.wait(MISMATCH_PAUSE);
        world.assert_followed();
    }
}

#[test]
fn an_engine_of_another_fork_gets_no_more_than_that() {
    let mut world = World::new();
    world.settle();
    world.grow(2);
    world.client.down = Some(EngineFailure::OtherFork("payload of an unsupported fork".into()));
    world.grow(3);
    world.wait(MISMATCH_PAUSE / 2);
    assert!(matches!(world.engine.status().activity, Activity::Mismatched(Mismatch::Forks(_))));
    world.client.down = None;
    world.wait(MISMATCH_PAUSE);
    world.assert_followed();
}

#[test]
fn labels_of_somebody_else_that_the_engine_refuses_give_way_to_its_own() {
    let mut world = World::new();
    world.settle();
    world.grow(2);
    let wrong = Labels { safe: Some(BlockId::new(1, B256::repeat_byte(3))), finalized: None };
    world.engine.handle(world.now(), EngineInput::Labels(wrong));
    world.client.down = Some(EngineFailure::Forkchoice("unknown safe block".into()));
    world.grow(1);
    world.client.down = None;
    world.wait(LONGEST_PAUSE);
    world.assert_followed();
    assert_eq!(world.client.told.map(|told| told.safe), Some(B256::ZERO));
}

#[test]
fn answers_that_nobody_asked_for_change_nothing() {
    let mut world = World::new();
    world.settle();
    world.grow(2);
    for input in [
        EngineInput::NewPayload(Ok(PayloadStatus::Invalid("no".into()))),
        EngineInput::ForkchoiceUpdated(Err(unreachable())),
        EngineInput::State(Err(unreachable())),
        EngineInput::Loaded(None),
        EngineInput::Building(Err(unreachable())),
        EngineInput::Built(Err(unreachable())),
    ] {
        world.engine.handle(world.now(), input);
    }
    world.settle();
    world.assert_followed();
    world.grow(1);
    world.assert_followed();
}
