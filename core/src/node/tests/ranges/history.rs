//! History: the blocks below the first head.

use super::world::LIARS;
use super::*;
use crate::sync::{HistoryConfig, LOAD_BLOCKS, Lowest, Reach, Recalled};

/// Number of the first block of a world's chain.
const FIRST: u64 = 1000;

fn fetch(config: &mut NodeConfig, reach: Reach) {
    let mut sync = SyncConfig::default();
    sync.fill.history = Some(HistoryConfig::new(reach));
    config.sync = Some(sync);
}

/// Returns a node without a head, in a world with a chain of `length` blocks.
fn fresh(length: usize, reach: Reach, change: impl FnOnce(&mut NodeConfig)) -> World {
    World::new(length, |config| {
        (config.head, config.recent) = (None, Vec::new());
        fetch(config, reach);
        change(config);
    })
}

/// Asserts that the store got the history from `from` down to `to`, each block once and in order.
fn assert_stored(world: &World, from: u64, to: u64, what: &str) {
    let stored = &world.prepended;
    assert!(stored.iter().copied().eq((to..=from).rev()), "{what}: {stored:?}");
}

#[test]
fn history_is_fetched_down_to_a_number_and_the_head_is_there_at_once() {
    for kind in [Kind::From(0), Kind::ByNumber] {
        let mut world = fresh(301, Reach::Number(FIRST + 100), |_| {}).with(&[kind]);
        world.insert(300);
        assert_eq!(world.head(), 300);
        world.pass(120 * SECOND, usize::MAX);
        let what = format!("{kind:?}");
        assert_stored(&world, FIRST + 299, FIRST + 100, &what);
        assert_eq!(world.ends, [(FIRST + 100, HistoryEnd::Complete)], "{what}");
        assert_eq!((world.faults(1), world.skipped), (vec![], 0), "{what}");
        let asked = (world.opened(1), world.asked(1));
        world.pass(600 * SECOND, usize::MAX);
        assert_eq!((world.opened(1), world.asked(1)), asked, "{what}");
        let status = world.node.sync_status().expect("on");
        assert_eq!((status.history, status.wanted, status.memory), (None, None, 0), "{what}");
    }
}

#[test]
fn history_is_fetched_down_to_an_age_whatever_the_schedule_says() {
    let mut dated = vec![block(V4)];
    for _ in 1..301 {
        let parent = dated.last().expect("one").payload.clone();
        dated.push(changed(V4, |payload| {
            payload.block_number = parent.block_number + 1;
            payload.parent_hash = parent.block_hash;
            payload.timestamp = parent.timestamp + 2;
        }));
    }
    let dated: Vec<Block> = dated.iter().map(decoded).collect();
    for block_time in [1, 2, 4] {
        for seconds in [99, 100] {
            let reach = Reach::Age(seconds * SECOND);
            let mut world = fresh(2, reach, |config| config.chain.block_time = block_time);
            world.chain.clone_from(&dated);
            let mut world = world.with(&[Kind::From(0)]);
            world.insert(300);
            world.pass(60 * SECOND, usize::MAX);
            let what = format!("{seconds} s, with blocks each {block_time} s");
            assert_stored(&world, FIRST + 299, FIRST + 250, &what);
            assert_eq!(world.ends, [(FIRST + 250, HistoryEnd::Complete)], "{what}");
            assert_eq!(world.node.sync_status().expect("on").pending, 0, "{what}");
        }
    }
}

#[test]
fn history_rests_where_no_peer_has_more_and_goes_on_with_another_peer() {
    let kinds = [Kind::From(200), Kind::From(250)];
    let mut world = fresh(301, Reach::Number(0), |_| {}).with(&kinds);
    world.insert(300);
    world.pass(300 * SECOND, usize::MAX);
    assert_eq!(world.ends, [(FIRST + 200, HistoryEnd::NotFound)]);
    assert_stored(&world, FIRST + 299, FIRST + 200, "two peers");
    assert_eq!((world.faults(1), world.faults(2)), (vec![], vec![]));
    let opened = (world.opened(1), world.opened(2));
    world.pass(3600 * SECOND, usize::MAX);
    assert_eq!((world.opened(1), world.opened(2)), opened, "nobody is asked for ever");
    assert_eq!(world.node.sync_status().expect("on").history, None);
    // A peer without more blocks is no news.
    world.connect(3, Kind::From(250));
    world.pass(300 * SECOND, usize::MAX);
    assert_eq!(world.ends.len(), 1);
    world.connect(4, Kind::From(100));
    world.pass(300 * SECOND, usize::MAX);
    assert_eq!(world.ends[1..], [(FIRST + 100, HistoryEnd::NotFound)]);
    assert_stored(&world, FIRST + 299, FIRST + 100, "another peer");
}

#[test]
fn without_a_peer_history_waits() {
    let mut world = fresh(301, Reach::Number(FIRST), |_| {});
    world.insert(300);
    world.pass(600 * SECOND, usize::MAX);
    assert_eq!(world.ends, []);
    world.connect(1, Kind::From(0));
    world.pass(60 * SECOND, usize::MAX);
    assert_eq!(world.ends, [(FIRST, HistoryEnd::Complete)]);
    assert_stored(&world, FIRST + 299, FIRST, "a late peer");
}

#[test]
fn a_restart_goes_on_below_the_lowest_stored_block() {
    for (stored, goes_on) in [(150, true), (100, false), (50, false)] {
        let envelopes = chain(V4, 301);
        let head = decoded(&envelopes[300]);
        let lowest = Lowest::of(&decoded(&envelopes[stored]));
        let world = World::new(301, |config| {
            config.head = Some(BlockId::of(&head));
            config.recent = vec![head.clone()];
            config.lowest = Some(lowest);
            fetch(config, Reach::Number(FIRST + 100));
        });
        let mut world = world.with(&[Kind::From(0)]);
        world.pass(60 * SECOND, usize::MAX);
        let what = format!("down to {stored}");
        if goes_on {
            assert_stored(&world, FIRST + 149, FIRST + 100, &what);
        } else {
            assert_eq!((world.prepended.len(), world.opened(1)), (0, 0), "{what}");
        }
        let lowest = FIRST + stored.min(100) as u64;
        assert_eq!(world.ends, [(lowest, HistoryEnd::Complete)], "{what}");
    }
}

#[test]
fn the_genesis_is_not_asked_for() {
    let genesis = |config: &mut NodeConfig| config.chain.genesis.number = FIRST + 100;
    for reach in [Reach::Number(0), Reach::Age(Duration::MAX)] {
        let mut world = fresh(301, reach, genesis).with(&[Kind::From(0)]);
        world.insert(300);
        world.pass(60 * SECOND, usize::MAX);
        assert_stored(&world, FIRST + 299, FIRST + 101, "above the genesis");
        assert_eq!(world.ends, [(FIRST + 101, HistoryEnd::Complete)]);
    }
}

#[test]
fn a_lying_server_does_not_end_the_history() {
    for liar in LIARS {
        let what = format!("{liar:?}");
        let mut world = fresh(301, Reach::Number(FIRST), |_| {}).with(&[liar, Kind::From(0)]);
        world.insert(300);
        world.pass(600 * SECOND, usize::MAX);
        assert_stored(&world, FIRST + 299, FIRST, &what);
        assert_eq!(world.ends, [(FIRST, HistoryEnd::Complete)], "{what}");
        assert_eq!((world.faults(2), world.skipped), (vec![], 0), "{what}");
    }
}

#[test]
fn a_gap_goes_before_the_history() {
    let mut world = fresh(1_001, Reach::Number(FIRST), |_| {}).with(&[Kind::From(0)]);
    world.rate = 20;
    world.insert(900);
    world.pass(2 * SECOND, usize::MAX);
    world.insert(1_000);
    world.rate = 64 << 10;
    world.pass(60 * SECOND, 1_000);
    assert_eq!((world.head(), world.ends.len()), (1_000, 0));
    world.pass(60 * SECOND, usize::MAX);
    assert_stored(&world, FIRST + 899, FIRST, "after a gap");
    assert_eq!((world.skipped, world.faults(1)), (0, vec![]));
}

#[test]
fn blocks_that_the_store_refuses_are_stored_in_order_once_it_takes_them() {
    let mut world = fresh(901, Reach::Number(FIRST), |_| {}).with(&[Kind::From(0)]);
    world.refuses = true;
    world.insert(900);
    world.pass(20 * SECOND, usize::MAX);
    assert_eq!((world.prepended.len(), world.ends.len()), (0, 0));
    world.refuses = false;
    world.pass(60 * SECOND, usize::MAX);
    assert_stored(&world, FIRST + 899, FIRST, "after refusals");
    assert_eq!(world.ends, [(FIRST, HistoryEnd::Complete)]);
}

#[test]
fn a_store_that_refuses_everything_ends_the_history() {
    let mut world = fresh(901, Reach::Number(FIRST), |_| {}).with(&[Kind::From(0)]);
    world.refuses = true;
    world.insert(900);
    world.pass(120 * SECOND, usize::MAX);
    assert_eq!(world.ends, [(FIRST + 900, HistoryEnd::Unstored)]);
    let opened = world.opened(1);
    world.pass(600 * SECOND, usize::MAX);
    assert_eq!((world.opened(1), world.ends.len()), (opened, 1));
    assert_eq!(world.node.sync_status().expect("on").memory, 0);
}

#[test]
fn what_the_store_has_is_not_fetched() {
    for is_canonical in [true, false] {
        let what = format!("canonical: {is_canonical}");
        // No peer has the lower half, nor more of the upper one than the store lacks.
        let world = fresh(301, Reach::Number(FIRST), |_| {});
        let mut world = world.with(&[Kind::From(150)]);
        let below = world.chain[..150].to_vec();
        world.stored =
            below.into_iter().map(|block| (block.hash(), (block, is_canonical))).collect();
        world.insert(300);
        world.pass(120 * SECOND, usize::MAX);
        assert_eq!(world.ends, [(FIRST, HistoryEnd::Complete)], "{what}");
        let lowest = if is_canonical { FIRST + 150 } else { FIRST };
        assert_stored(&world, FIRST + 299, lowest, &what);
        assert_eq!(world.faults(1), vec![], "{what}");
        assert!(world.stored.values().filter(|(_, is_canonical)| *is_canonical).count() >= 300);
        assert_eq!(world.node.sync_status().expect("on").memory, 0, "{what}");
    }
}

#[test]
fn as_many_blocks_are_fetched_in_vain_as_were_missing() {
    let mut world = fresh(1_001, Reach::Number(FIRST), |_| {}).with(&[Kind::Honest]);
    let below = world.chain[..900].to_vec();
    world.stored = below.into_iter().map(|block| (block.hash(), (block, true))).collect();
    world.insert(1_000);
    world.pass(60 * SECOND, usize::MAX);
    assert_eq!(world.ends, [(FIRST, HistoryEnd::Complete)]);
    let lowest = world.prepended.last().copied().expect("some were missing");
    assert!((FIRST + 800..=FIRST + 900).contains(&lowest), "down to {lowest}");
    assert!(world.recalls <= 5 + 900usize.div_ceil(LOAD_BLOCKS), "{}", world.recalls);
}

#[test]
fn a_reorg_below_the_first_head_keeps_what_still_links() {
    let mut world = fresh(301, Reach::Number(FIRST), |_| {}).with(&[Kind::From(0)]);
    world.insert(300);
    world.pass(60 * SECOND, usize::MAX);
    assert_eq!(world.ends, [(FIRST, HistoryEnd::Complete)]);
    let mut branch = chain(V4, 291);
    for _ in 0..20 {
        branch.push(child(branch.last().expect("one"), 7));
    }
    world.chain = branch.iter().map(decoded).collect();
    world.disconnect(1);
    // It has the new branch, and nothing of the old chain.
    world.connect(2, Kind::From(291));
    world.insert(310);
    world.pass(180 * SECOND, usize::MAX);
    assert_eq!((world.head(), world.skipped), (310, 1));
    assert_eq!(world.ends[1..], [(FIRST, HistoryEnd::Complete)]);
    assert_stored(&world, FIRST + 299, FIRST, "the new chain");
    assert_eq!((world.faults(1), world.faults(2)), (vec![], vec![]));
}

#[test]
fn an_answer_of_the_store_that_comes_late_changes_nothing() {
    let mut world = fresh(301, Reach::Number(FIRST + 290), |_| {}).with(&[Kind::From(0)]);
    world.insert(300);
    world.pass(60 * SECOND, usize::MAX);
    let stored = world.prepended.clone();
    for at in [100, 299] {
        let from = BlockId::of(&world.chain[at]);
        let blocks = vec![Recalled { block: world.chain[at].clone(), is_canonical: false }];
        world.tell(Input::Recalled { from, blocks });
    }
    assert_eq!((world.prepended.clone(), world.ends.len()), (stored, 1));
}

#[test]
fn the_limits_of_the_store_end_the_history_and_are_told_as_such() {
    for limit in [FIRST + 400, FIRST + 900] {
        let mut world = fresh(901, Reach::Number(FIRST), |_| {}).with(&[Kind::From(0)]);
        world.limit = limit;
        world.insert(900);
        world.pass(120 * SECOND, usize::MAX);
        assert_eq!(world.ends, [(limit, HistoryEnd::Retention)]);
        assert_eq!(world.prepended.last().copied().unwrap_or(FIRST + 900), limit);
        let opened = world.opened(1);
        world.pass(600 * SECOND, usize::MAX);
        assert_eq!((world.opened(1), world.ends.len()), (opened, 1));
        let status = world.node.sync_status().expect("on");
        assert_eq!((status.history, status.memory), (None, 0));
    }
}

#[test]
fn history_waits_for_a_full_disk_and_goes_on_when_it_has_room() {
    let mut world = fresh(902, Reach::Number(FIRST), |_| {}).with(&[Kind::From(0)]);
    world.insert(900);
    world.fails = true;
    world.insert(901);
    world.pass(600 * SECOND, usize::MAX);
    assert_eq!((world.head(), world.ends.len(), world.prepended.len()), (901, 0, 0));
    assert_eq!(world.faults(1), vec![]);
    world.fails = false;
    world.pass(60 * SECOND, usize::MAX);
    assert_eq!(world.ends, [(FIRST, HistoryEnd::Complete)]);
    assert_stored(&world, FIRST + 899, FIRST, "after an outage");
}
