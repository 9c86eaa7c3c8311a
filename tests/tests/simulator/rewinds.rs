//! A sequencer that is rewound, as in a failover: it drops its newest blocks, replaces them as fast
//! as it can, and then keeps to its schedule again.
//!
//! Its own node gets all blocks. The other nodes only hear those that are young enough for gossip,
//! and have to fetch the new branch down to the ancestor. Until then they show the old branch. Each
//! of them must report exactly one reorg, with the true ancestor, and then the new branch in order.
//! No node may be penalised for serving blocks of the old one.

use super::chain::Pace;
use super::plan::{Fault, Plan};
use super::world::World;
use opp2p_core::sync::ServerConfig;

/// Number of blocks that the sequencer makes in a block time while it catches up.
const BURST: u64 = 40;

/// Runs three nodes that have the same `length` blocks, then drops `depth` of them.
fn rewound(seed: u64, pace: Pace, length: u64, depth: usize) -> World {
    let mut plan = Plan::calm(seed, 3);
    plan.pace = pace;
    plan.blocks = 1;
    plan.block_bytes = 0;
    plan.server = ServerConfig::unlimited();
    plan.patience = 3_600_000;
    // A stopped node fails to answer, which is not a lie.
    plan.faults = vec![(0, Fault::Partition { nodes: Vec::new(), milliseconds: 0 })];
    let mut world = World::with_history(plan, length, &[0, 1, 2]);
    // The nodes follow the old branch before the sequencer leaves it.
    let seen = |world: &World| (0..3).all(|node| Some(world.told(node)) == number(world));
    while number(&world) < Some(length + 3) || !seen(&world) {
        world.step();
    }
    world.rewind(depth, BURST);
    world
}

fn number(world: &World) -> Option<u64> {
    world.tip().map(|tip| tip.number)
}

fn check(world: &World, ancestor: u64, case: &str) {
    for (index, member) in world.members.iter().enumerate() {
        let reorgs: Vec<_> = member.reorgs.iter().map(|(at, left)| (at.number, *left)).collect();
        let [(at, left)] = reorgs[..] else { panic!("{case}: node {index} was told {reorgs:?}") };
        assert_eq!(at, ancestor, "{case}: node {index} left {left} blocks");
    }
}

/// Steps until the sequencer keeps to its schedule and all nodes agree with it.
fn settle(world: &mut World) -> std::time::Duration {
    let start = world.now;
    while world.now == start || !world.is_on_schedule() {
        world.step();
    }
    world.catch_up();
    std::time::Duration::from_nanos(world.now - start)
}

pub(crate) fn a_rewind_of_any_depth_is_one_reorg_with_the_true_ancestor() {
    for (pace, depth) in [
        (Pace::Slow, 1),
        (Pace::Slow, 8),
        (Pace::Slow, 29),
        (Pace::Slow, 31),
        (Pace::Slow, 700),
        (Pace::Slow, 1500),
        (Pace::Denim, 1),
        (Pace::Denim, 8),
        (Pace::Denim, 290),
        (Pace::Denim, 310),
        (Pace::Denim, 1500),
    ] {
        let mut world = rewound(9000 + depth as u64, pace, depth as u64 + 100, depth);
        let ancestor = world.tip().expect("some blocks are kept").number;
        let took = settle(&mut world);
        let case = format!("{pace:?}, {depth} blocks");
        println!("  {case}: all nodes agree after {:.1} s", took.as_secs_f64());
        check(&world, ancestor, &case);
    }
}

pub(crate) fn a_rewind_of_twenty_thousand_blocks_is_followed() {
    let mut world = rewound(9100, Pace::Denim, 20_100, 20_000);
    let ancestor = world.tip().expect("some blocks are kept").number;
    let took = settle(&mut world);
    println!("  20,000 blocks of 200 ms: all nodes agree after {:.1} s", took.as_secs_f64());
    check(&world, ancestor, "20,000 blocks");
}

pub(crate) fn a_rewind_survives_a_restart_in_the_middle() {
    for (seed, pace) in [(9200, Pace::Slow), (9201, Pace::Denim)] {
        for pending in [1, 100, 400] {
            let mut world = rewound(seed + pending, pace, 900, 800);
            while world.pending(1) < pending as usize {
                world.step();
            }
            world.stop(1);
            for _ in 0..50 {
                world.step();
            }
            world.start(1);
            settle(&mut world);
            assert!(world.agrees(1));
        }
        // While blocks of the new branch are being delivered.
        let mut world = rewound(seed + 7, pace, 900, 800);
        while world.members[1].reorgs.is_empty() {
            world.step();
        }
        let head = world.told(1);
        while world.told(1) < head + 100 {
            world.step();
        }
        world.stop(1);
        world.start(1);
        settle(&mut world);
        assert!(world.agrees(1));
    }
}
