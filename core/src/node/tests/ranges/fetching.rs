//! Gaps that peers fill.

use super::world::LIARS;
use super::*;
use crate::peers::{PeersConfig, StaticPeer};
use crate::sync::range::{FRONTIER_RESERVE, LOWER_OVERHEAD, SegmentClientConfig};
use proptest::prelude::*;

#[test]
fn one_server_of_ranges_fills_a_gap_of_5000_blocks() {
    let mut world = World::new(5_001, |_| {}).with(&[Kind::From(0), Kind::ByNumber]);
    world.insert(5_000);
    world.pass(60 * SECOND, 5_000);
    let took = world.now.monotonic;
    world.assert_complete("ranges");
    assert_eq!(world.faults(1), []);
    // A few streams did it all, and no single block was asked for.
    let streams = world.opened(1);
    assert!((2..200).contains(&streams), "{streams} streams");
    assert_eq!((world.asked(1), world.asked(2)), (0, 0));
    let praise = world.conduct.iter().filter(|(who, _)| *who == peer(1)).count();
    assert!(praise >= 70, "{praise}");
    // Of virtual time: four blocks by number a second would have taken 20 minutes.
    assert!(took < Instant::from_start(10 * SECOND), "{took:?}");
}

#[test]
fn nothing_is_asked_of_a_peer_that_does_not_claim_the_protocol_nor_if_it_is_off() {
    let off: [fn(&mut NodeConfig); 2] = [
        |_| {},
        |config| config.sync = Some(SyncConfig { ranges: false, ..SyncConfig::default() }),
    ];
    for (change, kind) in off.into_iter().zip([Kind::ByNumber, Kind::Honest]) {
        let mut world = World::new(301, change).with(&[kind]);
        world.insert(300);
        world.pass(60 * SECOND, 300);
        world.assert_complete("by number");
        assert_eq!((world.opened(1), world.asked(1)), (0, 299));
    }
}

#[test]
fn browsers_and_peers_that_the_operator_excludes_are_not_asked() {
    let only_static = |config: &mut NodeConfig| {
        let mut sync = SyncConfig::default();
        sync.fill.client.only_static = true;
        config.sync = Some(sync);
        config.peers = PeersConfig { trusts_static: false, ..PeersConfig::default() };
        config.static_peers = vec![StaticPeer::from(peer(2))];
    };
    let mut world = World::new(301, only_static).with(&[Kind::Honest, Kind::Honest]);
    world.insert(300);
    world.pass(60 * SECOND, 300);
    world.assert_complete("static only");
    assert_eq!((world.opened(1), world.asked(1)), (0, 0));
    assert!(world.opened(2) > 0);
}

#[test]
fn requests_by_number_close_the_part_that_no_server_of_ranges_has() {
    let mut world = World::new(601, |_| {}).with(&[Kind::From(400), Kind::ByNumber]);
    world.insert(600);
    world.pass(120 * SECOND, 600);
    world.assert_complete("both");
    assert!(world.opened(1) > 0);
    let asked = world.asked(2);
    assert!((399..=500).contains(&asked), "{asked} blocks by number");
    assert_eq!((world.faults(1), world.faults(2)), (vec![], vec![]));
}

#[test]
fn blocks_by_number_take_over_when_the_server_of_ranges_leaves() {
    let mut world = World::new(2_001, |_| {}).with(&[Kind::From(0), Kind::ByNumber]);
    world.rate = 100;
    world.insert(2_000);
    world.pass(SECOND, 2_000);
    let wanted = world.node.sync_status().expect("on").wanted.expect("it fetches").number;
    world.disconnect(1);
    world.pass(120 * SECOND, 2_000);
    world.assert_complete("by number");
    let asked = world.asked(2) as u64;
    let left = wanted - world.chain[0].number();
    assert!(asked <= left + 5, "{asked} of {left} blocks by number: progress is kept");
    // And back again.
    let mut world = World::new(2_001, |_| {}).with(&[Kind::ByNumber]);
    world.insert(2_000);
    world.pass(SECOND / 5, 2_000);
    let before = world.asked(1);
    world.connect(2, Kind::From(0));
    world.pass(20 * SECOND, 2_000);
    world.assert_complete("ranges");
    let after = world.asked(1) - before;
    assert!(world.opened(2) > 0 && before < 1_500 && after <= 64, "{before}, then {after}");
}

#[test]
fn a_lying_server_loses_and_the_honest_one_fills_the_gap() {
    for liar in LIARS {
        for honest in [Kind::From(0), Kind::ByNumber] {
            let what = format!("{liar:?} beside {honest:?}");
            let mut world = World::new(501, |_| {}).with(&[liar, honest]);
            world.insert(500);
            world.pass(200 * SECOND, 500);
            // What was asked for meanwhile ends, and charges fall due.
            world.pass(400 * SECOND, usize::MAX);
            world.assert_complete(&what);
            assert!(world.opened(1) > 0, "{what}");
            assert_eq!(world.faults(2), [], "{what}");
            let faults = world.faults(1);
            match liar {
                Kind::Forger | Kind::Ascending | Kind::Brancher => {
                    assert!(faults.contains(&Conduct::RejectedPayload), "{what}: {faults:?}");
                }
                Kind::Cutter | Kind::Staller | Kind::Silent => {
                    assert!(faults.contains(&Conduct::ErrorResponse), "{what}: {faults:?}");
                }
                _ => assert_eq!(faults, [], "{what}"),
            }
        }
    }
}

#[test]
fn a_silent_server_of_ranges_delays_a_short_gap_by_a_second() {
    let mut world = World::new(12, |_| {}).with(&[Kind::Silent, Kind::ByNumber]);
    world.insert(11);
    world.pass(1_500 * SECOND / 1_000, 11);
    assert_eq!(world.head(), 11, "{:?}", world.now.monotonic);
}

#[test]
fn a_silent_server_of_ranges_does_not_slow_down_blocks_by_number() {
    let took = |kinds: &[Kind]| {
        let mut world = World::new(3_001, |_| {}).with(kinds);
        world.insert(3_000);
        world.pass(200 * SECOND, 3_000);
        let took = world.now.monotonic;
        world.assert_complete("by number");
        let faults = world.faults(1);
        assert!(faults.iter().all(|fault| *fault == Conduct::ErrorResponse), "{faults:?}");
        assert_eq!(faults.is_empty(), kinds.len() == 1, "{faults:?}");
        took
    };
    let alone = took(&[Kind::ByNumber]);
    for silent in [Kind::Silent, Kind::Staller] {
        let beside = took(&[silent, Kind::ByNumber]);
        assert!(beside < alone + 2 * SECOND, "{silent:?}: {beside:?} and {alone:?}");
    }
}

#[test]
fn a_gap_that_no_server_can_fill_is_left_out_as_soon_as_without_servers_of_ranges() {
    for kinds in [&[][..], &[Kind::Limited], &[Kind::Stranger], &[Kind::From(300)]] {
        let mut world = World::new(301, |_| {}).with(kinds);
        // Peers that serve would be connected by then.
        world.pass(70 * SECOND, usize::MAX);
        world.insert(300);
        world.pass(40 * SECOND, 300);
        let is_left_out = world.skipped > 0;
        // A peer that limits us may still have the blocks.
        assert_eq!(is_left_out, kinds != [Kind::Limited], "{kinds:?}");
    }
}

#[test]
fn another_aim_cancels_the_streams() {
    let mut world = World::new(401, |_| {}).with(&[Kind::Silent]);
    world.insert(400);
    world.pass(SECOND, 400);
    assert_eq!((world.streams.len(), world.cancelled), (6, 0));
    // The lower gap has its turn when the upper one stalls.
    world.insert(200);
    let wanted = |world: &World| {
        let wanted = world.node.sync_status().expect("on").wanted.expect("it fetches").number;
        wanted - world.chain[0].number()
    };
    assert_eq!(wanted(&world), 399);
    world.pass(5 * SECOND, 400);
    assert_eq!(wanted(&world), 199);
    assert!(world.cancelled >= 2, "{}", world.cancelled);
    assert!(world.streams.len() <= 2);
    // All of them end with the peer, and nothing is reported about them.
    world.disconnect(1);
    assert_eq!(world.node.sync_status().expect("on").streams, 0);
    world.connect(2, Kind::Honest);
    world.pass(60 * SECOND, 400);
    world.assert_complete("an honest one");
}

#[test]
fn memory_is_bounded_for_any_gap() {
    let bytes = FRONTIER_RESERVE + LOWER_OVERHEAD + (4 << 20);
    let small = |config: &mut NodeConfig| {
        let mut sync = SyncConfig::default();
        sync.fill.segments = SegmentClientConfig { bytes, ..sync.fill.segments };
        config.sync = Some(sync);
    };
    let mut world = World::new(4_001, small).with(&[Kind::Honest, Kind::Honest, Kind::Silent]);
    world.insert(4_000);
    world.pass(120 * SECOND, 4_000);
    world.assert_complete("within the bound");
    // Besides, 8 MiB may wait for the store, and 4 MiB of the stored blocks are kept.
    let most = bytes + (12 << 20);
    assert!(world.most_memory > 100_000 && world.most_memory <= most, "{}", world.most_memory);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever other peers do, a gap closes if one peer serves it.
    #[test]
    fn a_gap_closes_if_one_peer_serves_it(
        honest in prop::sample::select(vec![Kind::Honest, Kind::From(0), Kind::ByNumber]),
        liars in prop::collection::vec(prop::sample::select(LIARS.to_vec()), 0..4),
        leaves in prop::collection::vec((100_u64..3_000, 0_usize..4), 0..4),
        lengths in (2_usize..400, 1_usize..100),
        rate in 500_usize..100_000,
    ) {
        let (gap, more) = lengths;
        let mut kinds = liars.clone();
        kinds.push(honest);
        let mut world = World::new(gap + more + 1, |_| {}).with(&kinds);
        world.rate = rate;
        world.insert(gap);
        world.insert(gap + more);
        for (millis, who) in leaves {
            world.pass(Duration::from_millis(millis), gap + more);
            // It leaves and comes back.
            let who = who.min(liars.len());
            let kind = kinds[who];
            world.disconnect(who as u8 + 1);
            world.connect(who as u8 + 1, kind);
        }
        world.pass(600 * SECOND, gap + more);
        world.pass(300 * SECOND, usize::MAX);
        world.assert_complete("in the end");
        prop_assert_eq!(world.faults(liars.len() as u8 + 1), []);
    }
}
