//! Runs that show one thing each.

use super::liar::{LIARS, Liar};
use super::memory;
use super::plan::{Fault, Plan};
use super::world::World;
use alloy_primitives::B256;
use opp2p_core::chain::BlockId;
use opp2p_core::peers::Conduct;
use opp2p_core::sync::{RangeError, ServerConfig};
use std::time::Duration;

/// Name and run of each.
pub(crate) const ALL: &[(&str, fn())] = &[
    ("nothing_goes_wrong", nothing_goes_wrong),
    ("one_honest_peer_among_nineteen_useless_ones", one_honest_peer_among_nineteen_useless_ones),
    ("one_honest_peer_among_nineteen_of_each_kind", one_honest_peer_among_nineteen_of_each_kind),
    ("the_sequencer_was_alone_for_ten_minutes", the_sequencer_was_alone_for_ten_minutes),
    ("a_long_gap_of_large_blocks_takes_little_memory", a_long_gap_of_large_blocks_takes_little_memory),
    (
        "servers_at_the_default_limits_are_used_to_the_full",
        servers_at_the_default_limits_are_used_to_the_full,
    ),
    ("a_server_dies_half_way", a_server_dies_half_way),
    ("the_only_server_dies_half_way_and_comes_back", the_only_server_dies_half_way_and_comes_back),
    ("a_restart_half_way_goes_on_where_it_was", a_restart_half_way_goes_on_where_it_was),
    ("of_two_branches_the_signed_one_wins", of_two_branches_the_signed_one_wins),
    (
        "a_block_that_nobody_has_is_awaited_and_then_fetched",
        a_block_that_nobody_has_is_awaited_and_then_fetched,
    ),
    (
        "a_block_that_nobody_ever_has_is_left_out_in_the_end",
        a_block_that_nobody_ever_has_is_left_out_in_the_end,
    ),
    (
        "a_small_pending_area_starts_at_the_oldest_block_it_holds",
        a_small_pending_area_starts_at_the_oldest_block,
    ),
    ("a_range_is_fetched_on_command", a_range_is_fetched_on_command),
    ("a_gap_that_is_too_old_is_not_asked_for", a_gap_that_is_too_old_is_not_asked_for),
    ("each_liar_gets_what_it_deserves", each_liar_gets_what_it_deserves),
];

/// The node that is behind, where one is.
const LATE: usize = 1;

fn nothing_goes_wrong() {
    let mut world = World::new(Plan::calm(1, 5));
    world.run();
    assert!(world.members.iter().all(|member| member.asked == 0), "nothing was missing");
}

/// A node that lacks `count` blocks which only the first node has.
fn late(plan: Plan, count: u64) -> World {
    World::with_history(Plan { blocks: 1, ..plan }, count, &[0])
}

fn one_honest_peer_among_nineteen_useless_ones() {
    let mut plan = Plan::calm(2, 2);
    plan.liars = LIARS.iter().copied().cycle().take(19).collect();
    let mut world = late(plan, 200);
    let took = world.run();
    assert_eq!(world.members[LATE].told.len() as u64, world.told(LATE));
    println!("  200 blocks at 4/s from one of twenty peers in {:.1} s", took.as_secs_f64());
    assert!(took < Duration::from_secs(120), "{took:?}");
}

fn one_honest_peer_among_nineteen_of_each_kind() {
    for (seed, liar) in LIARS.into_iter().enumerate() {
        let mut plan = Plan::calm(100 + seed as u64, 2);
        plan.liars = vec![liar; 19];
        let took = late(plan, 60).run();
        assert!(took < Duration::from_secs(120), "among nineteen {liar:?} it took {took:?}");
    }
}

fn the_sequencer_was_alone_for_ten_minutes() {
    let mut plan = Plan::calm(3, 6);
    plan.blocks = 302;
    plan.faults = vec![(500, Fault::Partition { nodes: vec![0], milliseconds: 602_000 })];
    let mut world = World::new(plan);
    let took = world.run();
    println!("  five nodes, 300 blocks behind, caught up in {:.1} s", took.as_secs_f64());
    for node in 1..6 {
        assert!(world.told(node) >= 304);
    }
}

fn a_long_gap_of_large_blocks_takes_little_memory() {
    let count = 10_000;
    let mut plan = Plan::calm(4, 2);
    plan.block_bytes = 60_000;
    plan.disks_forget = true;
    plan.server = ServerConfig::unlimited();
    let mut world = late(plan, count);
    let before = memory::start();
    world.run();
    let growth = memory::most() - before;
    println!("  {count} blocks of 60 kB: {:.1} MiB of growth", growth as f64 / f64::from(1 << 20));
    assert!(growth < 64 << 20, "{growth} bytes");
    assert!(world.told(LATE) > count);
}

/// The time that the servers' limits allow, with a little for finding out.
fn servers_at_the_default_limits_are_used_to_the_full() {
    for (seed, servers) in [(5, 1_u64), (6, 2), (7, 4)] {
        let count = 600;
        let mut plan = Plan::calm(seed, servers as usize + 1);
        plan.blocks = 1;
        plan.latency = (20, 80);
        let holders: Vec<usize> = (0..=servers as usize).filter(|node| *node != LATE).collect();
        let mut world = World::with_history(plan, count, &holders);
        while world.members[LATE].asked == 0 {
            world.step();
        }
        let start = world.now;
        while world.told(LATE) < count {
            world.step();
        }
        let took = Duration::from_nanos(world.now - start).as_secs_f64();
        let allowed = (count - 15 * servers) as f64 / (4 * servers) as f64;
        println!(
            "  {count} blocks from {servers} servers: {took:.1} s, {:.3} of what they allow",
            took / allowed
        );
        assert!(took < 1.15 * allowed, "{took} s where {allowed} s are allowed");
    }
}

fn a_server_dies_half_way() {
    let mut plan = Plan::calm(8, 3);
    plan.blocks = 1;
    let mut world = World::with_history(plan, 200, &[0, 2]);
    while world.pending(LATE) < 100 {
        world.step();
    }
    world.stop(2);
    while world.told(LATE) < 200 {
        world.step();
    }
}

fn the_only_server_dies_half_way_and_comes_back() {
    // Not even the sequencer's own node has the blocks.
    let mut world = World::with_history(Plan { blocks: 1, ..Plan::calm(9, 3) }, 200, &[2]);
    while world.pending(LATE) < 100 {
        world.step();
    }
    world.stop(2);
    for _ in 0..400 {
        world.step();
    }
    let asked = world.members[LATE].asked;
    assert_eq!(world.told(LATE), 0);
    world.start(2);
    world.run();
    let again = world.members[LATE].asked - asked;
    assert!(again <= 130, "{again} requests for the other half, as what was fetched is there");
}

fn a_restart_half_way_goes_on_where_it_was() {
    let mut world = late(Plan::calm(10, 2), 200);
    while world.pending(LATE) < 100 {
        world.step();
    }
    let asked = world.members[LATE].asked;
    world.stop(LATE);
    world.start(LATE);
    world.run();
    let again = world.members[LATE].asked - asked;
    assert!((100..=130).contains(&again), "{again} requests for the other half");
    assert!(world.told(LATE) >= 201);
}

fn of_two_branches_the_signed_one_wins() {
    // Cut off before the sequencer changes its mind, and back afterwards.
    let mut plan = Plan::calm(11, 4);
    plan.blocks = 40;
    plan.faults = vec![
        (15_000, Fault::Partition { nodes: vec![2, 3], milliseconds: 30_000 }),
        (20_500, Fault::Reorg { depth: 4 }),
        (30_500, Fault::Reorg { depth: 6 }),
    ];
    let mut world = World::new(plan);
    world.run();
    let [first, rest @ ..] = world.members.as_slice() else { panic!("four nodes") };
    for member in rest {
        let common = first.told.len().min(member.told.len());
        assert_eq!(first.told[..common], member.told[..common]);
    }
}

fn a_block_that_nobody_has_is_awaited_and_then_fetched() {
    let mut world = late(Plan::calm(12, 2), 60);
    let id = world.lose(0, 25);
    let until = world.now + 60_000_000_000;
    while world.now < until {
        world.step();
    }
    assert_eq!(world.told(LATE), 0, "nothing is handed on before the chain is whole");
    // The 35 above it and what gossip brought.
    assert!(world.pending(LATE) >= 35);
    assert!(world.members[LATE].conduct.keys().all(|(_, conduct)| *conduct == Conduct::ValidResponse));
    world.members[0].disk.find(id);
    world.run();
}

fn a_block_that_nobody_ever_has_is_left_out_in_the_end() {
    let mut plan = Plan::calm(12, 2);
    plan.fill.patience = Some(Duration::from_secs(60));
    plan.view.gap_patience = Some(Duration::from_secs(60));
    plan.may_skip = true;
    let mut world = late(plan, 60);
    world.lose(0, 25);
    let took = world.run();
    assert!(took >= Duration::from_secs(60), "not before its time: {took:?}");
    let told = &world.members[LATE].told;
    assert_eq!(told.first().expect("blocks").number, 61, "the chain goes on with what gossip brought");
    assert_eq!(told.len() as u64, told.last().expect("blocks").number - 60);
}

fn a_small_pending_area_starts_at_the_oldest_block() {
    let mut plan = Plan::calm(13, 2);
    plan.fill.pending_blocks = 50;
    plan.may_skip = true;
    let mut world = late(plan, 300);
    world.run();
    let told = &world.members[LATE].told;
    let first = told.first().expect("blocks").number;
    // What was under way when the area was full is part of it.
    assert!((230..=252).contains(&first), "it starts at {first}");
    assert_eq!(told.len() as u64, told.last().expect("blocks").number - first + 1);
}

fn a_range_is_fetched_on_command() {
    let mut world = late(Plan::calm(14, 2), 30);
    // Before any gossip.
    world.fetch_range(LATE, BlockId::new(30, B256::ZERO));
    let to = world.tip().expect("a tip");
    world.fetch_range(LATE, to);
    world.fetch_range(LATE, to);
    while world.told(LATE) < 30 {
        world.step();
    }
    assert_eq!(world.range_results, [Err(RangeError::NoEnd), Err(RangeError::Busy), Ok(())]);
}

fn a_gap_that_is_too_old_is_not_asked_for() {
    let mut plan = Plan::calm(15, 2);
    plan.fill.max_age = Some(Duration::from_secs(100));
    let mut world = late(plan, 60);
    let until = world.now + 30_000_000_000;
    while world.now < until {
        world.step();
    }
    assert_eq!((world.members[LATE].asked, world.told(LATE)), (0, 0));
}

fn each_liar_gets_what_it_deserves() {
    for (seed, liar) in LIARS.into_iter().enumerate() {
        let mut plan = Plan::calm(200 + seed as u64, 2);
        plan.liars = vec![liar; 3];
        let mut world = late(plan, 60);
        world.run();
        let blamed = |conduct| {
            let all = world.members[LATE].conduct.iter();
            all.filter(|((who, what), _)| *who >= 2 && *what == conduct).map(|(_, count)| count).sum::<u64>()
        };
        let (rejected, errors) = (blamed(Conduct::RejectedPayload), blamed(Conduct::ErrorResponse));
        let is_right = match liar {
            Liar::WrongBlock | Liar::WrongLink | Liar::WrongNumber | Liar::FalseHash => {
                rejected > 0 && errors == 0
            }
            Liar::Garbage | Liar::Truncated | Liar::Endless | Liar::Silent | Liar::Error | Liar::ZeroRate => {
                rejected == 0 && errors > 0
            }
            Liar::NotFound | Liar::Mute => rejected == 0 && errors == 0,
            Liar::Moody => true,
        };
        assert!(is_right, "{liar:?}: {rejected} rejected, {errors} errors");
    }
}
