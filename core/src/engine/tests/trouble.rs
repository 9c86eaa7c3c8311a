//! Engines that are unreachable, wrong, or disagree with us.

use super::*;

fn unreachable() -> EngineFailure {
    EngineFailure::Unreachable("connection refused".into())
}

#[test]
fn an_outage_loses_nothing_is_reported_once_and_retried_ever_less_often() {
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
fn an_engine_that_returns_with_an_older_head_is_brought_up_to_date() {
    let mut world = World::new();
    world.settle();
    world.grow(30);
    world.client.falls_back(12, &world.chain.clone());
    // There is no notification: the next check finds out.
    world.wait(REFRESH * 2);
    world.assert_followed();
    world.client.falls_back(3, &world.chain.clone());
    world.grow(1);
    world.wait(REFRESH);
    world.assert_followed();
}

#[test]
fn an_invalid_block_is_reported_and_offered_once_until_the_chain_leaves_it() {
    let mut world = World::new();
    world.settle();
    world.grow(3);
    world.extend(0);
    let bad = world.head();
    world.client.invalid.push(bad.hash);
    world.take_calls();
    world.events.clear();
    world.report_head();
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
    world.report_head();
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
        let [EngineEvent::Mismatched(mismatch)] = &world.events[..] else {
            panic!("{:?}", world.events)
        };
        assert!(mismatch.to_string().contains(says), "{mismatch}");
        // The address now leads to the right engine.
        world.client.claims = None;
        world.wait(MISMATCH_PAUSE);
        world.assert_followed();
    }
}

#[test]
fn an_engine_on_another_fork_is_not_fed_until_it_accepts() {
    let mut world = World::new();
    world.settle();
    world.grow(2);
    let refusal = EngineFailure::OtherFork("payload of an unsupported fork".into());
    world.client.broken = Some((Call::Offer, refusal));
    world.grow(3);
    world.wait(MISMATCH_PAUSE / 2);
    assert!(matches!(world.engine.status().activity, Activity::Mismatched(Mismatch::Forks(_))));
    world.client.broken = None;
    world.wait(MISMATCH_PAUSE);
    world.assert_followed();
}

#[test]
fn labels_that_the_engine_refuses_give_way_to_its_own() {
    let mut world = World::new();
    world.settle();
    world.grow(2);
    let wrong = Labels { safe: Some(BlockId::new(1, B256::repeat_byte(3))), finalized: None };
    world.engine.handle(world.now(), EngineInput::Labels(wrong));
    world.client.refuses_labels = true;
    world.grow(1);
    world.wait(LONGEST_PAUSE);
    world.assert_followed();
    assert_eq!(world.client.told.map(|told| told.safe), Some(B256::ZERO));
}

#[test]
fn unrequested_answers_change_nothing() {
    let mut world = World::new();
    world.settle();
    world.grow(2);
    for input in [
        EngineInput::NewPayload(Ok(PayloadStatus::Invalid {
            reason: "no".into(),
            latest_valid: None,
        })),
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

/// The failure and its end are reported once each, however long the failure lasts and although all
/// other calls succeed.
#[test]
fn a_failing_call_is_reported_once_and_retried_ever_less_often() {
    let failures = [
        EngineFailure::Other("the database is locked".into()),
        EngineFailure::Unreachable("it did not answer within 20 s".into()),
        EngineFailure::Forkchoice("Invalid forkchoice state".into()),
        EngineFailure::NoMethod("engine_newPayloadV4".into()),
    ];
    for failure in failures {
        for call in [Call::Offer, Call::Choose] {
            let mut world = World::new();
            world.settle();
            world.grow(3);
            world.events.clear();
            world.take_calls();
            world.client.broken = Some((call, failure.clone()));
            for _ in 0..60 {
                world.grow(1);
                world.wait(Duration::from_secs(2));
            }
            let told: Vec<_> = std::mem::take(&mut world.events);
            assert_eq!(told, [EngineEvent::Failed(failure.clone())], "{call:?}");
            assert_eq!(world.engine.status().activity, Activity::Away(failure.clone()));
            let calls = world.take_calls();
            // Two minutes at one attempt per 8 s. If the head is refused, blocks are accepted
            // before each attempt.
            let most = if call == Call::Offer { 60 } else { 20 * CHOOSE_EVERY as usize };
            assert!(calls.len() <= most, "{call:?} {failure}: {} {calls:?}", calls.len());
            world.client.broken = None;
            world.wait(LONGEST_PAUSE);
            world.assert_followed();
            let ready = world.events.iter().filter(|event| matches!(event, EngineEvent::Ready(_)));
            assert_eq!(ready.count(), 1, "{:?}", world.events);
        }
    }
}

#[test]
fn a_failure_ends_when_the_failed_call_is_no_longer_needed() {
    let mut world = World::new();
    world.settle();
    world.grow(3);
    world.client.broken = Some((Call::Offer, EngineFailure::Other("busy".into())));
    world.grow(1);
    assert!(matches!(world.engine.status().activity, Activity::Away(_)));
    // The engine fetched the block from other peers.
    world.client.has(&world.chain.clone());
    world.client.head = world.head();
    world.wait(LONGEST_PAUSE);
    world.assert_followed();
}

#[test]
fn an_engine_that_refuses_labels_gets_heads_only_and_is_reported_once() {
    let mut world = World::new();
    world.client.safe = Some(world::genesis());
    world.settle();
    world.grow(2);
    world.client.refuses_labels = true;
    world.events.clear();
    for _ in 0..30 {
        world.grow(1);
        world.wait(Duration::from_secs(2));
        world.assert_followed();
    }
    let reason = "Invalid forkchoice state".to_owned();
    let refused = world.events.iter().filter(|event| !matches!(event, EngineEvent::Followed(_)));
    assert_eq!(refused.collect::<Vec<_>>(), [&EngineEvent::LabelsRefused { reason }]);
    assert_eq!(world.client.told.map(|told| (told.safe, told.finalized)), Some(Default::default()));
    // Other labels are sent.
    world.client.refuses_labels = false;
    let labels = Labels { safe: Some(world.head()), finalized: None };
    world.engine.handle(world.now(), EngineInput::Labels(labels));
    world.grow(1);
    assert_eq!(world.client.told.map(|told| Some(told.safe)), Some(labels.safe.map(|id| id.hash)));
}

#[test]
fn a_label_missing_from_the_engines_reports_stays_in_force() {
    let mut world = World::new();
    (world.client.safe, world.client.finalized) = (Some(world::genesis()), Some(world::genesis()));
    world.settle();
    world.grow(2);
    (world.client.safe, world.client.finalized) = (None, None);
    world.wait(REFRESH * 2);
    world.grow(1);
    world.assert_followed();
    let (safe, genesis) = (world.client.told.map(|told| told.safe), world::genesis());
    assert_eq!(safe, Some(genesis.hash));
    assert_eq!(world.engine.status().labels.finalized, Some(genesis));
    // After an outage it may be a different engine.
    world.client.down = Some(unreachable());
    world.wait(REFRESH * 2);
    world.client.down = None;
    world.wait(LONGEST_PAUSE * 2);
    assert_eq!(world.engine.status().labels, Labels::default());
}

#[test]
fn an_unanswered_call_is_retried() {
    let hung = EngineFailure::Unreachable("it did not answer within 20 s".into());
    for call in [Call::State, Call::Offer, Call::Choose] {
        let mut world = World::new();
        world.settle();
        world.grow(2);
        world.client.broken = Some((call, hung.clone()));
        world.grow(1);
        world.wait(REFRESH);
        assert_eq!(world.engine.status().activity, Activity::Away(hung.clone()), "{call:?}");
        world.client.broken = None;
        world.wait(LONGEST_PAUSE);
        world.assert_followed();
    }
}

#[test]
fn an_engine_without_the_first_block_is_fed_and_reported_once() {
    let mut world = World::new();
    let state = EngineState { genesis: None, ..world.client.state() };
    world.client.claims = Some(state);
    world.settle();
    world.client.claims = None;
    assert_eq!(world.events, [EngineEvent::NoGenesis(0), EngineEvent::Ready(world::genesis())]);
    world.grow(3);
    world.assert_followed();
}

/// The engine may be another version, which accepts the block.
#[test]
fn an_invalid_block_is_offered_again_after_an_outage() {
    let mut world = World::new();
    world.settle();
    world.grow(3);
    world.extend(0);
    world.client.invalid.push(world.head().hash);
    world.report_head();
    world.settle();
    world.wait(REFRESH * 3);
    assert!(matches!(world.engine.status().activity, Activity::Stuck(_)));
    world.client.down = Some(unreachable());
    world.wait(REFRESH * 2);
    world.client.takes_all();
    world.client.down = None;
    world.wait(LONGEST_PAUSE);
    world.assert_followed();
}

/// A block is refused after the outage, while the call that got no answer is not repeated.
#[test]
fn the_end_of_an_outage_does_not_revive_an_invalid_block() {
    let mut world = World::with(Some(building::l1()));
    world.wait(Duration::from_secs(200));
    world.client.broken = Some((Call::Build, unreachable()));
    world.wait(Duration::from_secs(10));
    assert_eq!(world.engine.status().activity, Activity::Away(unreachable()));
    world.extend(1);
    let bad = world.head();
    world.client.invalid.push(bad.hash);
    world.client.broken = None;
    world.take_calls();
    world.report_head();
    world.wait(REFRESH * 5);
    let offer = format!("new {}", bad.number);
    assert_eq!(world.take_calls().iter().filter(|call| **call == offer).count(), 1);
}

/// After each failure the engine's head is read and the blocks above it are offered again. The
/// engine's acceptance of those blocks does not end the failure.
#[test]
fn a_failing_block_is_reported_once_and_offered_ever_less_often() {
    let mut world = World::new();
    world.settle();
    world.grow(2);
    let failure = EngineFailure::Other("the database is locked".into());
    world.client.breaks_at = Some((8, failure.clone()));
    world.events.clear();
    (0..10).for_each(|_| world.extend(0));
    world.report_head();
    world.settle();
    world.take_calls();
    world.wait(Duration::from_secs(300));
    assert_eq!(world.events, [EngineEvent::Failed(failure.clone())]);
    assert_eq!(world.engine.status().activity, Activity::Away(failure));
    let offers = world.take_calls().iter().filter(|call| *call == "new 8").count();
    // Four pauses that double, then one per `LONGEST_PAUSE`.
    assert!(offers <= 4 + 300 / LONGEST_PAUSE.as_secs() as usize, "{offers}");
    world.client.breaks_at = None;
    world.wait(LONGEST_PAUSE);
    world.assert_followed();
    assert!(world.events.iter().any(|event| matches!(event, EngineEvent::Ready(_))));
}

#[test]
fn a_fork_mismatch_is_reported_even_if_earlier_blocks_are_accepted() {
    let mut world = World::new();
    world.settle();
    world.grow(2);
    let refusal = EngineFailure::OtherFork("Unsupported fork".into());
    world.client.breaks_at = Some((8, refusal));
    (0..10).for_each(|_| world.extend(0));
    world.report_head();
    world.wait(MISMATCH_PAUSE / 2);
    assert!(matches!(world.engine.status().activity, Activity::Mismatched(Mismatch::Forks(_))));
    world.client.breaks_at = None;
    world.wait(MISMATCH_PAUSE);
    world.assert_followed();
}
