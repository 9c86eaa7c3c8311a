//! Runs that each show one property.

use super::chain::Pace;
use super::engine;
use super::found;
use super::liar::{LIARS, Liar};
use super::memory;
use super::plan::{Endpoint, Fault, Plan, Serving};
use super::rewinds;
use super::strangers;
use super::trouble_list;
use super::troubles;
use super::world::World;
use alloy_primitives::B256;
use opp2p_core::chain::BlockId;
use opp2p_core::peers::Conduct;
use opp2p_core::sync::{RangeError, ServerConfig};
use std::time::Duration;

/// Name and function of each.
pub(crate) const ALL: &[(&str, fn())] = &[
    ("a_calm_run_asks_for_nothing", a_calm_run_asks_for_nothing),
    ("ranges_close_a_long_gap", ranges_close_a_long_gap),
    ("ranges_of_one_honest_peer_among_liars", ranges_of_one_honest_peer_among_liars),
    ("a_long_gap_by_ranges_among_all_kinds_of_lies", a_long_gap_by_ranges_among_all_kinds_of_lies),
    ("one_honest_peer_among_nineteen_useless_ones", one_honest_peer_among_nineteen_useless_ones),
    ("one_honest_peer_among_nineteen_of_each_kind", one_honest_peer_among_nineteen_of_each_kind),
    ("the_sequencer_was_alone_for_ten_minutes", the_sequencer_was_alone_for_ten_minutes),
    (
        "a_long_gap_of_large_blocks_takes_little_memory",
        a_long_gap_of_large_blocks_takes_little_memory,
    ),
    (
        "servers_at_the_default_limits_are_used_to_the_full",
        servers_at_the_default_limits_are_used_to_the_full,
    ),
    ("a_server_dies_halfway", a_server_dies_halfway),
    ("the_only_server_dies_halfway_and_returns", the_only_server_dies_halfway_and_returns),
    ("a_restart_halfway_continues_where_it_was", a_restart_halfway_continues_where_it_was),
    ("the_signed_one_of_two_branches_wins", the_signed_one_of_two_branches_wins),
    (
        "a_block_that_no_peer_has_is_awaited_and_then_fetched",
        a_block_that_no_peer_has_is_awaited_and_then_fetched,
    ),
    (
        "a_block_that_no_peer_ever_has_is_skipped_in_the_end",
        a_block_that_no_peer_ever_has_is_skipped_in_the_end,
    ),
    (
        "a_small_pending_area_starts_at_the_oldest_block_it_holds",
        a_small_pending_area_starts_at_the_oldest_block_it_holds,
    ),
    ("a_range_is_fetched_on_command", a_range_is_fetched_on_command),
    ("a_gap_that_is_too_old_is_not_requested", a_gap_that_is_too_old_is_not_requested),
    ("each_liar_gets_the_penalty_it_deserves", each_liar_gets_the_penalty_it_deserves),
    (
        "a_rewind_of_any_depth_is_one_reorg_with_the_true_ancestor",
        rewinds::a_rewind_of_any_depth_is_one_reorg_with_the_true_ancestor,
    ),
    (
        "a_rewind_of_twenty_thousand_blocks_is_followed",
        rewinds::a_rewind_of_twenty_thousand_blocks_is_followed,
    ),
    (
        "a_rewind_survives_a_restart_in_the_middle",
        rewinds::a_rewind_survives_a_restart_in_the_middle,
    ),
    (
        "blocks_that_share_a_timestamp_arrive_in_order",
        blocks_that_share_a_timestamp_arrive_in_order,
    ),
    (
        "a_minute_of_outage_at_five_blocks_a_second_is_filled",
        a_minute_of_outage_at_five_blocks_a_second_is_filled,
    ),
    ("a_late_joiner_of_a_denim_chain_catches_up", a_late_joiner_of_a_denim_chain_catches_up),
    (
        "an_hour_of_losses_where_no_peer_serves_blocks",
        an_hour_of_losses_where_no_peer_serves_blocks,
    ),
    ("an_hour_of_losses_filled_by_an_endpoint", an_hour_of_losses_filled_by_an_endpoint),
    ("an_hour_of_losses_and_an_endpoint_that_lies", an_hour_of_losses_and_an_endpoint_that_lies),
    ("gaps_that_no_peer_can_fill_end_one_by_one", gaps_that_no_peer_can_fill_end_one_by_one),
    (
        "gaps_that_no_peer_can_fill_beside_a_command",
        troubles::gaps_that_no_peer_can_fill_beside_a_command,
    ),
    (
        "a_reorg_while_a_long_gap_is_being_filled",
        troubles::a_reorg_while_a_long_gap_is_being_filled,
    ),
    ("a_wrong_clock_that_is_set_later", troubles::a_wrong_clock_that_is_set_later),
    ("an_occasionally_slow_signer", troubles::an_occasionally_slow_signer),
    ("a_full_disk_and_a_long_gap", troubles::a_full_disk_and_a_long_gap),
    (
        "a_disk_that_refuses_for_a_minute_loses_nothing",
        troubles::a_disk_that_refuses_for_a_minute_loses_nothing,
    ),
    (
        "observers_behind_gateways_have_every_block",
        troubles::observers_behind_gateways_have_every_block,
    ),
    (
        "waiting_blocks_use_as_much_memory_as_counted",
        troubles::waiting_blocks_use_as_much_memory_as_counted,
    ),
    ("liars_that_leave_before_the_verdict", troubles::liars_that_leave_before_the_verdict),
    (
        "greedy_requesters_leave_a_share_to_others",
        troubles::greedy_requesters_leave_a_share_to_others,
    ),
    (
        "silent_servers_that_reserve_all_the_room",
        troubles::silent_servers_that_reserve_all_the_room,
    ),
    (
        "a_reorg_that_a_node_with_a_wrong_clock_refused",
        troubles::a_reorg_that_a_node_with_a_wrong_clock_refused,
    ),
    ("a_rotation_that_l1_shows_late", troubles::a_rotation_that_l1_shows_late),
    ("commands_for_blocks_that_do_not_exist", troubles::commands_for_blocks_that_do_not_exist),
    (
        "nodes_find_each_other_through_one_boot_node",
        found::nodes_find_each_other_through_one_boot_node,
    ),
    (
        "a_strangers_private_addresses_are_not_dialled",
        strangers::a_strangers_private_addresses_are_not_dialled,
    ),
    (
        "a_neighbour_with_many_keys_hides_no_other_node",
        strangers::a_neighbour_with_many_keys_hides_no_other_node,
    ),
    ("an_engine_that_was_away_during_a_rewind", engine::an_engine_that_was_away_during_a_rewind),
    (
        "an_hour_without_faults_raises_no_trouble",
        trouble_list::an_hour_without_faults_raises_no_trouble,
    ),
    (
        "trouble_of_a_node_that_is_cut_off",
        trouble_list::a_node_that_is_cut_off_reports_no_peers_and_no_blocks,
    ),
    (
        "trouble_with_a_silent_source",
        trouble_list::a_silent_source_is_reported_by_all_its_followers,
    ),
    (
        "trouble_with_a_gap_that_no_peer_fills",
        trouble_list::a_gap_that_no_peer_fills_is_reported_until_one_does,
    ),
    ("a_reorg_leaves_no_trouble", trouble_list::a_reorg_leaves_no_trouble),
];

/// The node that is behind, in runs that have one.
const LATE: usize = 1;

fn a_calm_run_asks_for_nothing() {
    let mut world = World::new(Plan::calm(1, 5));
    world.run();
    assert!(world.members.iter().all(|member| member.asked == 0), "nothing was missing");
}

/// Runs a node that lacks `count` blocks which only the first node has.
fn late(plan: Plan, count: u64) -> World {
    World::with_history(Plan { blocks: 1, ..plan }, count, &[0])
}

fn ranges_close_a_long_gap() {
    let mut plan = Plan::calm(90, 3);
    plan.ranges = true;
    let mut world = late(plan, 5_000);
    let took = world.run();
    println!("  5,000 blocks in ranges from two peers in {:.1} s", took.as_secs_f64());
    // At their default limits, servers of blocks by number would take ten minutes.
    assert!(took < Duration::from_secs(60), "{took:?}");
    assert!(world.members[LATE].asked < 50, "{} blocks by number", world.members[LATE].asked);
}

fn ranges_of_one_honest_peer_among_liars() {
    for (seed, liar) in LIARS.into_iter().enumerate() {
        let mut plan = Plan::calm(400 + seed as u64, 2);
        plan.ranges = true;
        plan.liars = vec![liar; 4];
        let took = late(plan, 500).run();
        assert!(took < Duration::from_secs(120), "among four {liar:?} it took {took:?}");
    }
}

fn a_long_gap_by_ranges_among_all_kinds_of_lies() {
    let mut plan = Plan::calm(91, 2);
    plan.ranges = true;
    // A wrong start, a cut answer, an answer without end, another branch, and a stall.
    plan.liars = vec![
        Liar::WrongNumber,
        Liar::Truncated,
        Liar::Endless,
        Liar::WrongBlock,
        Liar::LongThenSilent,
    ];
    let mut world = late(plan, 4_000);
    let took = world.run();
    println!("  4,000 blocks in ranges from one peer of six in {:.1} s", took.as_secs_f64());
    assert!(took < Duration::from_secs(60), "{took:?}");
    world.settle_charges();
    let conduct = &world.members[LATE].conduct;
    for liar in 2..7 {
        let is_bad =
            |(who, what): &(usize, Conduct)| *who == liar && *what != Conduct::ValidResponse;
        assert!(conduct.keys().any(is_bad), "liar {liar} was not blamed: {conduct:?}");
    }
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

/// Checks that filling takes the time that the servers' limits allow, plus a little for discovery
/// of the limits.
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

fn a_server_dies_halfway() {
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

fn the_only_server_dies_halfway_and_returns() {
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

fn a_restart_halfway_continues_where_it_was() {
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

fn the_signed_one_of_two_branches_wins() {
    // Cut off before the sequencer switches branches, and back afterwards.
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

fn a_block_that_no_peer_has_is_awaited_and_then_fetched() {
    let mut world = late(Plan::calm(12, 2), 60);
    let id = world.lose(0, 25);
    let until = world.now + 60_000_000_000;
    while world.now < until {
        world.step();
    }
    assert_eq!(world.told(LATE), 0, "nothing is handed on before the chain is whole");
    // The 35 above it and those from gossip.
    assert!(world.pending(LATE) >= 35);
    assert!(
        world.members[LATE].conduct.keys().all(|(_, conduct)| *conduct == Conduct::ValidResponse)
    );
    world.members[0].disk.find(id);
    world.run();
}

fn a_block_that_no_peer_ever_has_is_skipped_in_the_end() {
    let mut plan = Plan::calm(12, 2);
    plan.view.gap_patience = Some(Duration::from_secs(60));
    plan.may_skip = true;
    let mut world = late(plan, 60);
    world.lose(0, 25);
    let took = world.run();
    assert!(took >= Duration::from_secs(60), "not before its time: {took:?}");
    let told = &world.members[LATE].told;
    assert_eq!(
        told.first().expect("blocks").number,
        61,
        "the chain goes on with what gossip brought"
    );
    assert_eq!(told.len() as u64, told.last().expect("blocks").number - 60);
}

fn a_small_pending_area_starts_at_the_oldest_block_it_holds() {
    let mut plan = Plan::calm(13, 2);
    plan.fill.pending_blocks = 50;
    plan.may_skip = true;
    let mut world = late(plan, 300);
    world.run();
    let told = &world.members[LATE].told;
    let first = told.first().expect("blocks").number;
    // Requests under way when the area became full add to it.
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

fn a_gap_that_is_too_old_is_not_requested() {
    let mut plan = Plan::calm(15, 2);
    plan.fill.max_age = Some(Duration::from_secs(100));
    let mut world = late(plan, 60);
    let until = world.now + 30_000_000_000;
    while world.now < until {
        world.step();
    }
    assert_eq!((world.members[LATE].asked, world.told(LATE)), (0, 0));
}

fn each_liar_gets_the_penalty_it_deserves() {
    for (seed, liar) in LIARS.into_iter().enumerate() {
        let mut plan = Plan::calm(200 + seed as u64, 2);
        plan.liars = vec![liar; 3];
        let mut world = late(plan, 60);
        world.run();
        world.settle_charges();
        let blamed = |conduct| {
            let all = world.members[LATE].conduct.iter();
            all.filter(|((who, what), _)| *who >= 2 && *what == conduct)
                .map(|(_, count)| count)
                .sum::<u64>()
        };
        let (rejected, errors) = (blamed(Conduct::RejectedPayload), blamed(Conduct::ErrorResponse));
        let is_right = match liar {
            Liar::WrongBlock | Liar::WrongLink | Liar::WrongNumber | Liar::FalseHash => {
                rejected > 0 && errors == 0
            }
            Liar::Garbage
            | Liar::Truncated
            | Liar::Endless
            | Liar::Silent
            | Liar::Error
            | Liar::ZeroRate
            | Liar::LongThenSilent => rejected == 0 && errors > 0,
            Liar::NotFound | Liar::Mute | Liar::Greedy => rejected == 0 && errors == 0,
            Liar::Moody => true,
        };
        assert!(is_right, "{liar:?}: {rejected} rejected, {errors} errors");
    }
}

/// Returns a plan whose chain makes a block every 200 ms, with messages that overtake each other.
fn denim(seed: u64, honest: usize, blocks: u64) -> Plan {
    let (pace, calm) = (Pace::Denim, Plan::calm(seed, honest));
    Plan { pace, blocks, view: pace.view(), latency: (10, 700), ..calm }
}

fn blocks_that_share_a_timestamp_arrive_in_order() {
    let mut world = World::new(Plan { doubled: 20, ..denim(300, 6, 150) });
    world.run();
    let seconds: std::collections::BTreeSet<u64> =
        world.branch.iter().map(|signed| signed.timestamp()).collect();
    assert!(seconds.len() <= world.branch.len() / 5 + 2, "{} seconds", seconds.len());
    for node in 0..6 {
        assert!(world.told(node) >= 150);
    }
}

fn a_minute_of_outage_at_five_blocks_a_second_is_filled() {
    let mut plan = denim(301, 5, 500);
    plan.faults = vec![
        (10_000, Fault::Partition { nodes: vec![1, 2], milliseconds: 60_000 }),
        (20_000, Fault::Crash { node: 3, milliseconds: 30_000, keeps_disk: true }),
        (25_000, Fault::Reorg { depth: 20 }),
    ];
    let mut world = World::new(plan);
    let took = world.run();
    println!("  300 blocks of a minute were filled within {:.1} s of calm", took.as_secs_f64());
    let [first, rest @ ..] = world.members.as_slice() else { panic!("five nodes") };
    for member in rest {
        let common = first.told.len().min(member.told.len());
        assert_eq!(first.told[..common], member.told[..common]);
    }
}

fn a_late_joiner_of_a_denim_chain_catches_up() {
    let mut world = late(Plan { latency: (10, 90), ..denim(302, 3, 1) }, 300);
    let took = world.run();
    println!("  300 blocks behind a chain of 200 ms: {:.1} s", took.as_secs_f64());
    assert!(world.told(LATE) > 300);
}

/// The default of `--sync.patience`.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs an hour in which 2 of a hundred messages to a node are lost and its only peer serves no
/// blocks.
fn an_hour_of_losses(seed: u64, serving: Serving, endpoints: &[Endpoint]) -> World {
    let mut plan = Plan::calm(seed, 2);
    plan.blocks = 1800;
    plan.lost = 2;
    plan.serving = serving;
    plan.endpoints = endpoints.to_vec();
    plan.view.gap_patience = Some(PATIENCE);
    plan.may_skip = !endpoints.contains(&Endpoint::Honest);
    let mut world = World::new(plan);
    while world.tip().is_none_or(|tip| tip.number < 1800) {
        world.step();
        let behind = world.tip().map_or(0, |tip| tip.number).saturating_sub(world.told(LATE));
        // A block every two seconds; one may be in transit.
        assert!(behind * 2 <= PATIENCE.as_secs() + 2, "{behind} blocks behind: {}", world.state());
    }
    world.run();
    let member = &world.members[LATE];
    // Each number was either delivered once or reported as left out.
    let mut numbers: Vec<u64> = member.told.iter().map(|told| told.number).collect();
    numbers.extend(&member.left_out);
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(1..=world.told(LATE)));
    // An answer may be lost, too.
    let blamed: u64 = member.conduct.values().sum();
    assert!(blamed <= 2, "{:?}", member.conduct);
    assert!(member.conduct.keys().all(|(_, what)| *what == Conduct::ErrorResponse));
    world
}

fn an_hour_of_losses_where_no_peer_serves_blocks() {
    for (seed, serving) in [(16, Serving::Unsupported), (17, Serving::NotFound)] {
        let world = an_hour_of_losses(seed, serving, &[]);
        let member = &world.members[LATE];
        let (left_out, asked) = (member.left_out.len(), member.asked);
        println!("  {left_out} blocks left out in an hour, {asked} requests to the peer");
        assert!((15..60).contains(&left_out), "{left_out} of 1800");
        assert!(asked <= 30, "{asked} requests to a peer that serves nothing");
    }
}

fn an_hour_of_losses_filled_by_an_endpoint() {
    let world = an_hour_of_losses(18, Serving::NotFound, &[Endpoint::Honest]);
    let posted = world.members[LATE].posted;
    println!("  {posted} requests to the endpoint");
    assert!((15..120).contains(&posted), "{posted} requests");
}

fn an_hour_of_losses_and_an_endpoint_that_lies() {
    // Alone it brings nothing, and nothing wrong is taken from it: the checks of every run hold.
    let world = an_hour_of_losses(19, Serving::Unsupported, &[Endpoint::Lies]);
    assert!(world.members[LATE].left_out.len() >= 15);
    for other in [Endpoint::Lies, Endpoint::Silent] {
        an_hour_of_losses(20, Serving::Unsupported, &[other, Endpoint::Honest]);
    }
}

fn gaps_that_no_peer_can_fill_end_one_by_one() {
    let mut plan = Plan::calm(21, 2);
    plan.blocks = 60;
    plan.gone = vec![12, 15, 16, 21, 40];
    plan.view.gap_patience = Some(PATIENCE);
    plan.may_skip = true;
    let mut world = World::new(plan);
    while world.tip().is_none_or(|tip| tip.number < 60) {
        world.step();
        let behind = world.tip().map_or(0, |tip| tip.number).saturating_sub(world.told(LATE));
        assert!(behind * 2 <= PATIENCE.as_secs() + 2, "{behind} blocks behind: {}", world.state());
    }
    world.run();
    assert_eq!(world.members[LATE].left_out, [12, 15, 16, 21, 40]);
}
