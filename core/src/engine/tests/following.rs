//! Blocks go in, in their order.

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
    let expected: Vec<_> = [EngineEvent::Ready(world::genesis())].into_iter().chain(followed).collect();
    assert_eq!(world.events, expected);
}

#[test]
fn an_engine_that_is_behind_gets_all_that_it_lacks_and_is_told_of_its_head_now_and_then() {
    let mut world = World::new();
    (0..40).for_each(|_| world.extend(0));
    world.tell_head();
    world.settle();
    world.assert_followed();
    let calls = world.take_calls();
    assert_eq!(calls.iter().filter(|call| call.starts_with("new")).count(), 40, "{calls:?}");
    assert_eq!(calls.iter().filter(|call| *call == "choose").count(), 3, "{calls:?}");
}

#[test]
fn an_engine_that_is_ahead_is_left_alone_until_our_chain_is_above_it() {
    let mut world = World::new();
    (0..10).for_each(|_| world.extend(0));
    world.client.has(&world.chain.clone());
    world.client.head = world.head();
    let rest = world.chain.split_off(5);
    world.tell_head();
    world.wait(REFRESH * 3);
    assert!(world.take_calls().iter().all(|call| call == "state"));
    world.chain.extend(rest);
    world.extend(0);
    world.tell_head();
    world.settle();
    assert_eq!(world.take_calls(), ["new 11", "choose"]);
    world.assert_followed();
}

#[test]
fn a_reorg_is_followed_down_to_the_block_that_the_engine_knows() {
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
fn a_chain_that_goes_elsewhere_without_growing_takes_the_engine_along() {
    let mut world = World::new();
    world.settle();
    world.grow(5);
    world.chain.truncate(3);
    world.extend(1);
    world.tell_head();
    world.settle();
    world.assert_followed();
}

#[test]
fn what_nobody_here_has_is_left_to_the_engine_which_is_not_hammered() {
    let mut world = World::new();
    (0..1000).for_each(|_| world.extend(0));
    world.lowest = 900;
    world.client.has_peers = true;
    world.tell_head();
    world.settle();
    assert_eq!(world.engine.status().activity, Activity::Syncing);
    assert_eq!(world.take_calls(), ["state", "new 1000", "choose"]);
    assert_eq!(world.client.fetches, Some(world.head().hash));
    // Ten heads in the time of three pauses.
    for _ in 0..10 {
        world.extend(0);
        world.tell_head();
        world.wait(SYNC_PAUSE * 3 / 10);
    }
    let calls = world.take_calls();
    assert!(calls.len() <= 3 * 3, "{calls:?}");
    let told = world.events.iter().filter(|event| matches!(event, EngineEvent::Syncing { .. })).count();
    assert_eq!(told, 1);
    // It has fetched as much as it was told of, and gets the rest from us.
    let blocks = world.chain[..950].to_vec();
    world.client.has(&blocks);
    world.client.head = BlockId::of(&blocks[949]);
    world.wait(SYNC_PAUSE * 2);
    world.assert_followed();
}

#[test]
fn an_engine_that_lacks_few_blocks_below_its_head_is_given_them() {
    let mut world = World::new();
    world.settle();
    world.grow(20);
    // It still says that its head is 20, but lost what lies below: as if it had none of it.
    let head = world.client.head;
    world.client.falls_back(15, &world.chain.clone());
    world.client.head = head;
    world.grow(1);
    world.wait(SYNC_PAUSE);
    world.assert_followed();
}

#[test]
fn a_node_begins_where_its_engine_is_unless_its_store_goes_further() {
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
fn labels_are_the_engines_until_somebody_says_others_and_never_above_the_head() {
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
    world
        .engine
        .handle(world.now(), EngineInput::Labels(Labels { safe: Some(far), finalized: Some(id(&world, 2)) }));
    world.grow(1);
    let told = world.client.told.expect("it was told");
    assert_eq!((told.safe, told.finalized), (B256::ZERO, id(&world, 2).hash));
}

#[test]
fn a_block_of_ours_that_is_not_there_yet_is_waited_for() {
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
