//! Runs in which several things go wrong at once, or the wrong thing at the wrong time.

use super::chain::Pace;
use super::liar::Liar;
use super::memory;
use super::plan::{Fault, Plan, Serving, Signing};
use super::world::World;
use alloy_primitives::B256;
use opp2p_core::chain::BlockId;
use opp2p_core::peers::Conduct;
use opp2p_core::sync::{RangeError, ServerConfig};
use std::time::Duration;

/// The node that is behind, in runs that have one.
const LATE: usize = 1;
/// The default of `--sync.patience`.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs a node that lacks `count` blocks which only the first node has.
fn late(plan: Plan, count: u64) -> World {
    World::with_history(Plan { blocks: 1, ..plan }, count, &[0])
}

/// Several gaps are open, no peer has their blocks, and a command asks for one more such block.
/// Each gap ends by its own clock, and the command is answered.
pub(crate) fn gaps_that_no_peer_can_fill_beside_a_command() {
    for serving in [Serving::NotFound, Serving::Unsupported, Serving::All] {
        let mut plan = Plan::calm(400, 2);
        plan.blocks = 90;
        plan.serving = serving;
        // A new one opens before the patience with the last one is over.
        plan.gone = vec![12, 15, 16, 18, 21, 24, 40, 43, 45, 47, 49, 51, 53, 55, 57, 59];
        plan.view.gap_patience = Some(PATIENCE);
        plan.may_skip = true;
        plan.faults = vec![
            (26_000, Fault::Command { node: LATE, above: 20 }),
            (90_000, Fault::Command { node: LATE, above: 20 }),
            (95_000, Fault::Command { node: LATE, above: 0 }),
        ];
        let gone = plan.gone.clone();
        let mut world = World::new(plan);
        while world.tip().is_none_or(|tip| tip.number < 90) {
            world.step();
            let behind = world.tip().map_or(0, |tip| tip.number).saturating_sub(world.told(LATE));
            assert!(behind * 2 <= PATIENCE.as_secs() + 2, "{behind} behind: {}", world.state());
        }
        world.run();
        assert_eq!(world.members[LATE].left_out, gone, "{serving:?}");
        assert_eq!(world.range_results.len(), 3, "{:?}", world.range_results);
        let ended =
            |result: &Result<(), RangeError>| matches!(result, Err(RangeError::NotFound(_)));
        assert!(ended(&world.range_results[0]), "{:?}", world.range_results);
    }
}

/// The sequencer fails over while a node fetches a long gap. All servers are honest, and follow as
/// fast as they can; some messages take a second.
pub(crate) fn a_reorg_while_a_long_gap_is_being_filled() {
    for (seed, pace, depth) in [
        (500, Pace::Slow, 5),
        (501, Pace::Slow, 40),
        (502, Pace::Slow, 95),
        (503, Pace::Slow, 95),
        (504, Pace::Denim, 40),
        (505, Pace::Denim, 95),
    ] {
        let mut plan = Plan::calm(seed, 4);
        (plan.pace, plan.blocks, plan.latency) = (pace, 1, (20, 900));
        plan.view = pace.view();
        let mut world = World::with_history(plan, 300, &[0, 2, 3]);
        while world.pending(LATE) < 60 {
            world.step();
        }
        world.rewind(depth, 40);
        while !world.is_on_schedule() {
            world.step();
        }
        // That no honest node is blamed is checked in every run, and here nothing excuses it.
        world.run();
        assert!(world.told(LATE) > 300);
    }
}

/// A machine starts before its clock is set: an hour behind, an hour ahead, or a little.
pub(crate) fn a_wrong_clock_that_is_set_later() {
    for (seed, (first, second)) in
        (510..).zip([(-120, 90), (-3600, 3600), (-8, 20), (i64::from(i32::MIN) / 2, 600)])
    {
        let mut plan = Plan::calm(seed, 5);
        plan.blocks = 40;
        plan.clocks = vec![(1, first), (2, second)];
        plan.faults = vec![
            (20_000, Fault::Clock { node: 1, seconds: 0 }),
            (30_000, Fault::Clock { node: 2, seconds: 0 }),
            // It jumps once more, as on a machine that sleeps.
            (50_000, Fault::Clock { node: 3, seconds: 700 }),
            (60_000, Fault::Clock { node: 3, seconds: 0 }),
        ];
        let mut world = World::new(plan);
        world.run();
        for node in 1..5 {
            assert!(world.told(node) >= 40, "{}", world.state());
        }
    }
}

/// A signer that sometimes takes longer than an attempt may: its signature counts all the same, and
/// no block is lost.
pub(crate) fn an_occasionally_slow_signer() {
    let mut plan = Plan::calm(520, 3);
    plan.blocks = 80;
    plan.signing = Some(Signing { usual: 100, slow: 5_500, every: 8 });
    let mut world = World::new(plan);
    world.run();
    assert!(world.published >= 80, "{} blocks", world.published);
    let most = world.signings.values().max();
    assert!(most.is_some_and(|most| *most <= 2), "asked {most:?} times for one signature");
}

/// A disk takes nothing. A gap that fits into memory closes all the same; a larger one closes when
/// the disk has room again.
pub(crate) fn a_full_disk_and_a_long_gap() {
    for (seed, count, bytes, seconds) in [(530, 400, 3_000, 100_000), (531, 300, 60_000, 60)] {
        let mut plan = Plan::calm(seed, 2);
        plan.block_bytes = bytes;
        plan.server = ServerConfig::unlimited();
        plan.faults = vec![(0, Fault::FullDisk { node: LATE, milliseconds: seconds * 1000 })];
        let mut world = late(plan, count);
        let took = world.run();
        println!("  {count} blocks of {bytes} bytes: {:.1} s", took.as_secs_f64());
        assert!(world.told(LATE) > count);
        assert!(took < Duration::from_secs(seconds.min(200) + 100), "{took:?}");
    }
}

/// The blocks that wait in memory for a full disk take the memory that is counted for them.
pub(crate) fn waiting_blocks_use_as_much_memory_as_counted() {
    let mut plan = Plan::calm(532, 2);
    plan.block_bytes = 140_000;
    plan.disks_forget = true;
    plan.server = ServerConfig::unlimited();
    plan.faults = vec![(0, Fault::FullDisk { node: LATE, milliseconds: 1_000_000 })];
    let mut world = late(plan, 300);
    let before = memory::start();
    while world.status(LATE).in_flight > 0 || world.status(LATE).memory < 8 << 20 {
        world.step();
    }
    let (counted, grown) = (world.status(LATE).memory, memory::used().saturating_sub(before));
    println!("  {counted} bytes are counted, {grown} are in use");
    // The newest blocks, and messages under way, are not waiting blocks.
    assert!(grown < counted + counted / 4 + (4 << 20), "{grown} bytes for {counted}");
}

/// Liars whose answers are judged when they are no longer connected.
pub(crate) fn liars_that_leave_before_the_verdict() {
    for (seed, liar) in (540..).zip([Liar::WrongBlock, Liar::WrongLink, Liar::FalseHash]) {
        let mut plan = Plan::calm(seed, 2);
        plan.liars = vec![liar; 8];
        plan.liars_leave = true;
        let mut world = late(plan, 150);
        world.run();
        world.settle_charges();
        let member = &world.members[LATE];
        let blamed = member.conduct.keys().filter(|(_, what)| *what == Conduct::RejectedPayload);
        let blamed: Vec<usize> = blamed.map(|(who, _)| *who).collect();
        assert!(!blamed.is_empty(), "no {liar:?} was caught");
        for who in blamed {
            // It has decayed since.
            let score = world.score(LATE, who);
            assert!(score < -1.0 || member.banned.contains(&who), "{liar:?} {who} has {score}");
        }
    }
}

/// A node's clock is wrong, so it refuses all blocks of a branch that the sequencer then leaves.
/// The servers that still follow that branch when the clock is right are not blamed.
pub(crate) fn a_reorg_that_a_node_with_a_wrong_clock_refused() {
    for seed in 560..580 {
        let mut plan = Plan::calm(seed, 2 + seed as usize % 3);
        plan.clocks = vec![(LATE, -86_400)];
        plan.latency = (10, 20 + seed % 10 * 30);
        plan.faults = vec![
            (7_500 + seed % 7 * 200, Fault::Reorg { depth: 1 + seed as usize % 3 }),
            (9_000, Fault::Clock { node: LATE, seconds: 0 }),
        ];
        let mut world = World::new(plan);
        world.run();
        world.settle_charges();
        // The world asserts that no honest node is blamed.
        assert!(world.agrees(LATE));
    }
}

/// Sixteen peers keep their share of the server's queue full.
pub(crate) fn greedy_requesters_leave_a_share_to_others() {
    let mut plan = Plan::calm(550, 2);
    plan.liars = vec![Liar::Greedy; 16];
    let mut world = late(plan, 60);
    let took = world.run();
    let asked = world.members[LATE].asked;
    println!("  60 blocks beside 16 greedy peers in {:.1} s, {asked} requests", took.as_secs_f64());
    // 20 answers a second for 17 peers.
    assert!(took < Duration::from_secs(80), "{took:?}");
    assert!(asked < 150, "{asked} requests for 60 blocks");
}

/// Servers that answer with too many bytes, so that much room is set aside for their next answer,
/// which never comes.
pub(crate) fn silent_servers_that_reserve_all_the_room() {
    let mut times = Vec::new();
    for seed in 560..572 {
        let liars = [0, 1, 3, 5][seed as usize % 4];
        let mut plan = Plan::calm(seed, 5);
        plan.blocks = 1;
        plan.liars = vec![Liar::LongThenSilent; liars];
        plan.server = ServerConfig::unlimited();
        let mut world = World::with_history(plan, 400, &[0, 2, 3, 4]);
        let (mut last, mut longest) = ((world.now, 0), 0);
        while world.told(LATE) < 400 {
            world.step();
            let done = world.pending(LATE) as u64 + world.told(LATE);
            if done != last.1 {
                // Before the first one, it does not know what it lacks.
                longest = longest.max(if last.1 > 0 { world.now - last.0 } else { 0 });
                last = (world.now, done);
            }
        }
        world.run();
        times.push((liars, longest / 1_000_000));
    }
    println!("  numbers of them, and the longest pause of fetching in milliseconds: {times:?}");
    assert!(times.iter().all(|(_, longest)| *longest < 1_500), "{times:?}");
}

/// The sequencer's key rotates, and most L1 nodes show it late. No peer that relays the new blocks
/// is to blame, and all blocks arrive.
pub(crate) fn a_rotation_that_l1_shows_late() {
    for (seed, lag) in [(570, 0), (571, 12_000), (572, 24_000), (573, 50_000)] {
        let mut plan = Plan::calm(seed, 5);
        plan.blocks = 90;
        plan.l1_lag = lag;
        plan.faults = vec![
            (20_500, Fault::Rotate),
            (26_000, Fault::Crash { node: 3, milliseconds: 5_000, keeps_disk: true }),
        ];
        let mut world = World::new(plan);
        world.run();
        for node in 0..5 {
            assert!(world.told(node) >= 90, "{lag} ms: {}", world.state());
        }
    }
}

/// Commands for blocks that can't exist are refused at once, and those for blocks that do not exist
/// yet end. No server is to blame.
pub(crate) fn commands_for_blocks_that_do_not_exist() {
    let mut plan = Plan::calm(580, 3);
    plan.view.gap_patience = Some(PATIENCE);
    let mut world = late(plan, 30);
    while world.told(LATE) < 31 {
        world.step();
    }
    let tip = world.tip().expect("a tip").number;
    let (unknown, asked) = (B256::repeat_byte(0xdd), world.members[LATE].asked);
    for number in [u64::MAX, u64::MAX - 7, tip + 100_000, tip + 40] {
        world.fetch_range(LATE, BlockId::new(number, unknown));
    }
    assert!(
        world.range_results.iter().all(|result| matches!(result, Err(RangeError::NotYet { .. }))),
        "{:?}",
        world.range_results
    );
    assert_eq!((world.range_results.len(), world.members[LATE].asked), (4, asked));
    world.fetch_range(LATE, BlockId::new(tip + 20, unknown));
    world.run();
    assert!(matches!(world.range_results[4], Err(RangeError::NotFound(_))));
}

/// A disk refuses everything for a minute, while the sequencer also goes back. The node keeps what
/// the disk lacks, tries one change at a time, and stores all of it in order afterwards.
pub(crate) fn a_disk_that_refuses_for_a_minute_loses_nothing() {
    for (seed, depth) in [(580, None), (581, Some(3)), (582, Some(8))] {
        let mut plan = Plan::calm(seed, 3);
        plan.blocks = 60;
        plan.faults = vec![(20_000, Fault::FullDisk { node: LATE, milliseconds: 60_000 })];
        plan.faults.extend(depth.map(|depth| (50_000, Fault::Reorg { depth })));
        let mut world = World::new(plan);
        world.run();
        let member = &world.members[LATE];
        assert!((20..40).contains(&member.refused), "{} refused changes", member.refused);
        assert_eq!(member.disk.chain(), member.told, "seed {seed}");
    }
}

/// Three observers behind two gateways, one of which crashes; one observer is cut off for a while,
/// and another is reloaded.
pub(crate) fn observers_behind_gateways_have_every_block() {
    for seed in 590..600 {
        let mut plan = Plan::calm(seed, 6);
        (plan.observers, plan.gateways) = (3, vec![1, 2]);
        plan.blocks = 60;
        // The first block that an observer sees is not the chain's first.
        plan.may_skip = true;
        plan.faults = vec![
            (20_000, Fault::Partition { nodes: vec![3], milliseconds: 8_000 }),
            (50_000, Fault::Crash { node: 1, milliseconds: 10_000, keeps_disk: true }),
            (80_000, Fault::Crash { node: 4, milliseconds: 5_000, keeps_disk: false }),
        ];
        let mut world = World::new(plan);
        world.run();
        for observer in 3..6 {
            let member = &world.members[observer];
            let left_out = &member.left_out;
            assert!(left_out.is_empty(), "seed {seed}: observer {observer} lacks {left_out:?}");
            assert_eq!(member.lines.len(), 2, "seed {seed}: observer {observer}");
            let told = &member.told;
            assert!(told.windows(2).all(|pair| pair[0].number + 1 == pair[1].number), "{told:?}");
            let least = if observer == 4 { 15 } else { 55 };
            assert!(told.len() >= least, "seed {seed}: {} blocks", told.len());
        }
        for gateway in 1..3 {
            let node = world.members[gateway].node.as_ref().expect("it runs");
            let browsers = node.peers().connected_peers().len() - node.peers().nodes();
            assert_eq!(browsers, 3, "seed {seed}: gateway {gateway}");
        }
    }
}
