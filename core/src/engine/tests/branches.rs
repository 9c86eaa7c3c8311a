//! Chains that switch to another branch, and blocks that the engine calls invalid.

use super::*;

/// Our chain loses its last blocks while the engine is behind, ahead or unreachable.
#[test]
fn the_engine_leaves_an_abandoned_branch_wherever_it_stands() {
    for is_away in [false, true] {
        for (engine_lags, lower) in [(0, 3), (5, 8), (2, 4), (1, 19)] {
            let mut world = World::new();
            world.settle();
            world.grow(20 - engine_lags);
            world.client.broken =
                (engine_lags > 0).then(|| (Call::Offer, EngineFailure::Other("slow".into())));
            world.grow(engine_lags);
            if is_away {
                world.client.down = Some(EngineFailure::Unreachable("gone".into()));
                world.wait(REFRESH * 2);
            }
            world.rewind(20 - lower, 7);
            (world.client.down, world.client.broken) = (None, None);
            world.wait(LONGEST_PAUSE + BLOCK_PAUSE * 2);
            world.assert_followed();
        }
    }
}

/// A restarted node does not know the branch of its engine.
#[test]
fn a_starting_node_moves_its_engine_off_an_abandoned_branch() {
    for grows in [0, 1, 3] {
        let mut world = World::new();
        (0..10).for_each(|_| world.extend(0));
        world.client.has(&world.chain.clone());
        world.client.head = world.head();
        world.chain.truncate(4);
        (0..3).for_each(|_| world.extend(5));
        world.report_head();
        world.settle();
        world.grow(grows);
        world.wait(REFRESH + BLOCK_PAUSE * 2);
        world.assert_followed();
    }
}

/// The engine has blocks of our branch from other peers: rolling it back would be useless.
#[test]
fn an_engine_that_is_ahead_on_our_branch_stays_there_while_we_catch_up() {
    let mut world = World::new();
    (0..30).for_each(|_| world.extend(0));
    world.client.has(&world.chain.clone());
    world.client.head = world.head();
    let rest = world.chain.split_off(10);
    world.report_head();
    world.settle();
    for block in rest {
        world.chain.push(block);
        world.report_head();
        world.wait(Duration::from_millis(200));
    }
    let calls = world.take_calls();
    assert!(calls.iter().all(|call| call == "state"), "{calls:?}");
    // One check per second, at five blocks per second.
    assert!(calls.len() <= 6, "{calls:?}");
    world.grow(1);
    world.assert_followed();
}

/// reth answers VALID to a head that is an ancestor of its own, and does not move.
#[test]
fn an_engine_that_does_not_unwind_moves_with_the_first_block_of_the_branch() {
    let mut world = World::new();
    world.client.never_unwinds = true;
    world.settle();
    world.grow(20);
    world.chain.truncate(5);
    world.report_head();
    world.wait(REFRESH * 2);
    assert!(world.take_calls().len() < 60);
    world.extend(3);
    world.report_head();
    world.wait(BLOCK_PAUSE * 2);
    world.assert_followed();
    world.grow(3);
    world.assert_followed();
}

/// The branches diverge 5300 blocks below the engine's head and 1500 below ours.
#[test]
fn a_deep_rewind_is_fed_from_the_fork_point_in_few_calls() {
    let mut world = World::new();
    (0..6000).for_each(|_| world.extend(0));
    world.client.has(&world.chain.clone());
    world.client.head = world.head();
    world.report_head();
    world.settle();
    world.take_calls();
    world.client.down = Some(EngineFailure::Unreachable("gone".into()));
    world.chain.truncate(700);
    (0..1500).for_each(|_| world.extend(9));
    world.report_head();
    world.settle();
    world.client.down = None;
    world.wait(LONGEST_PAUSE * 2);
    world.assert_followed();
    let calls = world.take_calls();
    let new = calls.iter().filter(|call| call.starts_with("new")).count();
    // Steps down double, then lead up again from at most twice the depth at which the branches
    // diverge.
    assert!(new <= 1500 * 2 + 30, "{new}");
}

#[test]
fn a_search_that_reaches_missing_blocks_continues_above_them() {
    let mut world = World::new();
    (0..200).for_each(|_| world.extend(0));
    world.client.has(&world.chain.clone());
    world.client.head = world.head();
    world.settle();
    world.report_head();
    world.settle();
    world.chain.truncate(100);
    (0..150).for_each(|_| world.extend(9));
    // The last common block is the lowest that we have.
    world.lowest = 100;
    world.report_head();
    world.wait(REFRESH);
    world.assert_followed();
}

/// Base, 2026-06-25: the sequencer signs a block that every engine refuses, then continues from its
/// parent.
#[test]
fn a_valid_sibling_is_followed_despite_children_of_the_invalid_block() {
    for names_valid in [true, false] {
        for children in [0, 1, 5] {
            let mut world = World::new();
            world.client.names_valid = names_valid;
            world.settle();
            world.grow(10);
            world.extend(1);
            let bad = world.head();
            world.client.invalid.push(bad.hash);
            world.report_head();
            world.settle();
            world.grow(children);
            world.wait(REFRESH);
            assert_eq!(world.client.head.number, 10);
            assert_eq!(world.engine.status().activity, Activity::Stuck(bad));
            world.rewind(1 + children as usize, 2);
            world.assert_followed();
            world.grow(4);
            world.assert_followed();
            let invalid =
                world.events.iter().filter(|event| matches!(event, EngineEvent::Invalid { .. }));
            assert_eq!(invalid.count(), 1);
        }
    }
}

#[test]
fn each_invalid_sibling_is_reported_and_the_next_is_offered() {
    let mut world = World::new();
    world.settle();
    world.grow(3);
    let mut bad = Vec::new();
    for salt in 1..=4 {
        if salt > 1 {
            world.chain.pop();
        }
        world.extend(salt);
        bad.push(world.head());
        world.client.invalid.push(world.head().hash);
        world.report_head();
        world.settle();
    }
    let told: Vec<_> = world
        .events
        .iter()
        .filter_map(|event| match event {
            EngineEvent::Invalid { block, .. } => Some(*block),
            _ => None,
        })
        .collect();
    assert_eq!(told, bad);
    world.rewind(1, 9);
    world.assert_followed();
}

/// The engine names the last valid block, so a child of the invalid block is not mistaken for the
/// invalid block.
#[test]
fn the_invalid_block_is_found_below_its_child() {
    let mut world = World::new();
    world.settle();
    world.grow(10);
    // A new branch below the engine's head; its second block is invalid.
    world.chain.truncate(4);
    (0..4).for_each(|_| world.extend(6));
    let bad = BlockId::of(&world.chain[5]);
    world.client.invalid.push(bad.hash);
    // The engine refused the block earlier, when it came from other peers.
    let branch = world.chain.clone();
    branch[5..].iter().for_each(|block| world.client.refuses(block));
    world.report_head();
    world.wait(REFRESH);
    assert_eq!(world.engine.status().activity, Activity::Stuck(bad));
    assert_eq!(world.client.head, BlockId::of(&world.chain[4]));
}

/// The blocks in between are missing, so only heads can be offered, and all of them build on the
/// invalid block.
#[test]
fn heads_above_a_missing_invalid_block_are_reported_once() {
    let mut world = World::new();
    (0..50).for_each(|_| world.extend(0));
    world.lowest = 45;
    let bad = BlockId::of(&world.chain[20]);
    world.client.invalid.push(bad.hash);
    let chain = world.chain.clone();
    chain[20..].iter().for_each(|block| world.client.refuses(block));
    world.report_head();
    world.settle();
    for _ in 0..20 {
        let block = world.chain.last().cloned().expect("blocks");
        world.client.refuses(&block);
        world.grow(1);
    }
    let invalid = world.events.iter().filter(|event| matches!(event, EngineEvent::Invalid { .. }));
    assert_eq!(invalid.count(), 1, "{:?}", world.events);
    assert!(matches!(world.engine.status().activity, Activity::Stuck(_)));
}

#[test]
fn a_long_busy_engine_gets_only_heads_and_is_fed_once_it_is_ready() {
    let mut world = World::new();
    world.settle();
    world.grow(3);
    world.client.is_busy = true;
    world.take_calls();
    for _ in 0..150 {
        world.grow(1);
        world.wait(Duration::from_secs(2));
    }
    assert_eq!(world.engine.status().activity, Activity::Syncing);
    assert_eq!(world.engine.status().behind, 150);
    let calls = world.take_calls();
    assert!(calls.len() <= 400, "{}", calls.len());
    let syncing = world.events.iter().filter(|event| matches!(event, EngineEvent::Syncing { .. }));
    assert_eq!(syncing.count(), 1);
    // The engine's head has not moved, and none of its peers serves it the rest.
    world.client.is_busy = false;
    world.wait(SYNC_PAUSE * (OFFER_EVERY + 1));
    world.assert_followed();
}

/// Blocks that were missing when the engine was given the head arrive later.
#[test]
fn later_blocks_are_fed_to_a_waiting_engine() {
    let mut world = World::new();
    (0..100).for_each(|_| world.extend(0));
    world.lowest = 90;
    world.report_head();
    world.wait(REFRESH);
    assert_eq!(world.engine.status().activity, Activity::Syncing);
    world.lowest = 1;
    world.wait(SYNC_PAUSE * (OFFER_EVERY + 1));
    world.assert_followed();
}

#[test]
fn a_lagging_engine_follows_a_chain_that_forks_below_its_head() {
    for lag in [0, 2, 5, 9] {
        let mut world = World::new();
        world.grow(10);
        if lag > 0 {
            world.client.down = Some(EngineFailure::Unreachable("it restarts".into()));
            for _ in 0..lag {
                world.extend(0);
            }
            world.report_head();
            world.settle();
        }
        // The chain continues at 7, on another branch.
        world.chain.truncate(6);
        world.extend(9);
        world.report_head();
        world.client.down = None;
        world.wait(Duration::from_secs(120));
        assert_eq!(world.client.head, world.head(), "{lag} blocks behind");
    }
}
