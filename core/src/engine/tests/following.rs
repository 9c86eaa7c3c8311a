//! Feeding blocks in order.

use super::*;

#[test]
fn each_block_is_offered_and_chosen_once() {
    let mut world = World::new();
    world.settle();
    world.take_calls();
    world.grow(3);
    assert_eq!(world.take_calls(), ["new 1", "choose", "new 2", "choose", "new 3", "choose"]);
    world.assert_followed();
    let followed = world.chain.iter().map(|block| EngineEvent::Followed(BlockId::of(block)));
    let expected: Vec<_> =
        [EngineEvent::Ready(world::genesis())].into_iter().chain(followed).collect();
    assert_eq!(world.events, expected);
}

#[test]
fn a_lagging_engine_gets_all_missing_blocks_and_occasional_heads() {
    let mut world = World::new();
    (0..40).for_each(|_| world.extend(0));
    world.report_head();
    world.settle();
    world.assert_followed();
    let calls = world.take_calls();
    assert_eq!(calls.iter().filter(|call| call.starts_with("new")).count(), 40, "{calls:?}");
    assert_eq!(calls.iter().filter(|call| *call == "choose").count(), 3, "{calls:?}");
}

#[test]
fn an_engine_that_is_ahead_is_left_alone_until_our_chain_passes_it() {
    let mut world = World::new();
    (0..10).for_each(|_| world.extend(0));
    world.client.has(&world.chain.clone());
    world.client.head = world.head();
    let rest = world.chain.split_off(5);
    world.report_head();
    world.wait(REFRESH * 3);
    assert!(world.take_calls().iter().all(|call| call == "state"));
    world.chain.extend(rest);
    world.extend(0);
    world.report_head();
    world.settle();
    assert_eq!(world.take_calls(), ["new 11", "choose"]);
    world.assert_followed();
}

#[test]
fn a_reorg_is_followed_down_to_a_block_the_engine_knows() {
    for is_lazy in [false, true] {
        let mut world = World::new();
        world.settle();
        world.client.is_lazy = is_lazy;
        world.grow(10);
        world.reorganise(4, 1);
        world.wait(REFRESH);
        world.assert_followed();
        world.grow(2);
        world.assert_followed();
    }
}

#[test]
fn a_chain_that_switches_branch_without_growing_moves_the_engine() {
    let mut world = World::new();
    world.settle();
    world.grow(5);
    world.chain.truncate(3);
    world.extend(1);
    world.report_head();
    world.settle();
    world.assert_followed();
}

#[test]
fn blocks_that_the_node_lacks_are_left_to_the_engine_with_pauses() {
    let mut world = World::new();
    (0..1000).for_each(|_| world.extend(0));
    world.lowest = 900;
    world.client.has_peers = true;
    world.report_head();
    world.settle();
    assert_eq!(world.engine.status().activity, Activity::Syncing);
    assert_eq!(world.take_calls(), ["state", "new 1000", "choose"]);
    assert_eq!(world.client.fetches, Some(world.head().hash));
    // Ten heads within three pauses.
    for _ in 0..10 {
        world.extend(0);
        world.report_head();
        world.wait(SYNC_PAUSE * 3 / 10);
    }
    let calls = world.take_calls();
    assert!(calls.len() <= 3 * 3, "{calls:?}");
    let told =
        world.events.iter().filter(|event| matches!(event, EngineEvent::Syncing { .. })).count();
    assert_eq!(told, 1);
    // The engine has fetched everything up to the head that it was given, and receives the rest
    // from us.
    let blocks = world.chain[..950].to_vec();
    world.client.has(&blocks);
    world.client.head = BlockId::of(&blocks[949]);
    world.wait(SYNC_PAUSE * 2);
    world.assert_followed();
}

#[test]
fn an_engine_that_lacks_a_few_blocks_below_its_head_gets_them() {
    let mut world = World::new();
    world.settle();
    world.grow(20);
    // The engine still reports 20 as its head, but has lost the blocks directly below it.
    let head = world.client.head;
    world.client.falls_back(15, &world.chain.clone());
    world.client.head = head;
    world.grow(1);
    world.wait(SYNC_PAUSE);
    world.assert_followed();
}

#[test]
fn a_node_starts_at_its_engines_head_unless_its_store_is_ahead() {
    let now = World::new().now();
    let id = |number| BlockId::new(number, B256::repeat_byte(1));
    let at = |number, age| EngineState {
        head: id(number),
        head_timestamp: NOW - age,
        ..World::new().client.state()
    };
    let hours = |hours: u64| Some(Duration::from_secs(hours * 3600));
    for (stored, engine, max_age, expected) in [
        (None, at(5, 0), hours(12), Some(5)),
        (None, at(5, 13 * 3600), hours(12), None),
        (None, at(5, 13 * 3600), None, Some(5)),
        (Some(3), at(5, 0), hours(12), Some(5)),
        (Some(9), at(5, 0), hours(12), Some(9)),
        (Some(3), at(5, 13 * 3600), hours(12), Some(3)),
    ] {
        let found = first_head(stored.map(id), &engine, now, max_age).map(|head| head.number);
        assert_eq!(found, expected, "{stored:?} {engine:?} {max_age:?}");
    }
}

#[test]
fn labels_are_the_engines_until_a_source_reports_others_and_never_above_the_head() {
    let mut world = World::new();
    world.client.finalized = Some(world::genesis());
    world.settle();
    world.grow(3);
    let id = |world: &World, number: usize| BlockId::of(&world.chain[number - 1]);
    let told = world.client.told.expect("it was told");
    assert_eq!((told.safe, told.finalized), (B256::ZERO, world::genesis().hash));
    let labels = Labels { safe: Some(id(&world, 3)), finalized: Some(id(&world, 2)) };
    world.engine.handle(world.now(), EngineInput::Labels(labels));
    world.grow(1);
    let told = world.client.told.expect("it was told");
    assert_eq!((told.safe, told.finalized), (id(&world, 3).hash, id(&world, 2).hash));
    let far = BlockId::new(900, B256::repeat_byte(1));
    world.engine.handle(
        world.now(),
        EngineInput::Labels(Labels { safe: Some(far), finalized: Some(id(&world, 2)) }),
    );
    world.grow(1);
    let told = world.client.told.expect("it was told");
    assert_eq!((told.safe, told.finalized), (B256::ZERO, id(&world, 2).hash));
}

#[test]
fn a_label_survives_when_its_source_stops_reporting_it() {
    let mut world = World::new();
    world.settle();
    world.grow(3);
    let id = |number: usize| Some(BlockId::of(&world.chain[number - 1]));
    let (one, two, three) = (id(1), id(2), id(3));
    let mut say = |input| {
        world.engine.handle(world.now(), input);
        world.engine.status()
    };
    say(EngineInput::Labels(Labels { safe: two, finalized: one }));
    let failure = LabelsFailure::NoMethod("eth_getBlockByNumber".into());
    let status = say(EngineInput::LabelsFailed(failure.clone()));
    assert_eq!(status.labels, Labels { safe: two, finalized: one });
    assert_eq!(status.labels_failure, Some(failure));
    let status = say(EngineInput::Labels(Labels { safe: three, finalized: None }));
    assert_eq!(status.labels, Labels { safe: three, finalized: one });
    assert_eq!(status.labels_failure, None);
}

#[test]
fn the_labels_of_another_node_are_read_periodically_and_one_at_a_time() {
    let config = EngineConfig { chain: world::chain(), sequencer: None, reads_labels: true };
    let mut world = World::of(config);
    let reads = |world: &World| world.client.calls.iter().filter(|call| *call == "labels").count();
    world.wait(5 * LABELS_EVERY);
    assert_eq!(reads(&world), 1, "the first read has no answer yet");
    let labels = Labels { safe: Some(world::genesis()), finalized: None };
    world.engine.handle(world.now(), EngineInput::Labels(labels));
    world.settle();
    assert_eq!(reads(&world), 2, "the next one is overdue");
    world.wait(LABELS_EVERY / 2);
    let failure = LabelsFailure::NoMethod("eth_getBlockByNumber".into());
    world.engine.handle(world.now(), EngineInput::LabelsFailed(failure));
    world.wait(LABELS_EVERY / 2 - Duration::from_millis(1));
    assert_eq!(reads(&world), 2);
    world.wait(Duration::from_millis(1));
    assert_eq!(reads(&world), 3, "the interval counts from the start of a read");
    assert_eq!(world.engine.status().labels.safe, Some(world::genesis()));
}

#[test]
fn a_block_that_is_not_available_yet_is_awaited() {
    let mut world = World::new();
    world.settle();
    world.grow(2);
    world.extend(0);
    let last = world.chain.pop().expect("blocks");
    world.engine.handle(world.now(), EngineInput::Head(BlockId::of(&last)));
    world.settle();
    world.take_calls();
    world.chain.push(last);
    world.wait(BLOCK_PAUSE * 2);
    world.assert_followed();
}
