//! Tests of the exact formula, of the state kept after a disconnect, and of the bounds.

use super::super::Thresholds;
use super::*;
use PayloadVersion::{V1, V3, V4};
use core::net::{Ipv4Addr, Ipv6Addr};
use proptest::prelude::*;

/// The reference's default for `--p2p.ban.threshold`.
const BAN: f64 = -100.0;
const ONE_REJECTED: f64 = -140.4475 * 0.8;
const INVALID_DECAY: f64 = 0.9847666521101581;
const FIRST_DECAY: f64 = 0.9623506263980885;
const BEHAVIOUR_DECAY: f64 = 0.9261187281287935;

fn peer(number: u16) -> PeerId {
    PeerId::try_from(&number.to_be_bytes()[..]).expect("2 bytes")
}

fn at(seconds: u64) -> Instant {
    Instant::from_start(Duration::from_secs(seconds))
}

/// An address that is not loopback.
fn ip(last: u8) -> Option<IpAddr> {
    Some(Ipv4Addr::new(192, 0, 2, last).into())
}

/// Returns scores with v4 as the only live topic and peer 1 connected. A slot has 2 seconds.
fn with_one_peer() -> GossipScores {
    let mut scores = GossipScores::new(ScoreParams::light(2));
    scores.set_live([false, false, false, true]);
    scores.connected(at(0), peer(1), ip(1));
    scores
}

fn total(scores: &GossipScores, seconds: u64, who: u16) -> f64 {
    scores.snapshot(at(seconds), &peer(who), 0.0).total
}

#[track_caller]
fn assert_close(left: f64, right: f64) {
    assert!((left - right).abs() < 1e-9, "{left} is not {right}");
}

/// Calls `tick` whenever it is due, until `end`.
fn run(scores: &mut GossipScores, end: u64) {
    while let Some(due) = scores.next_wakeup().filter(|due| *due <= at(end)) {
        scores.tick(due);
    }
}

#[test]
fn one_rejected_message_on_any_topic_is_a_ban() {
    for topic in PayloadVersion::ALL {
        let mut scores = with_one_peer();
        scores.rejected(at(0), &peer(1), topic);
        assert_eq!(total(&scores, 0, 1), ONE_REJECTED);
        assert_close(ONE_REJECTED, -112.358);
        assert!(total(&scores, 0, 1) < Thresholds::REFERENCE.graylist.min(BAN));
        scores.rejected(at(0), &peer(1), topic);
        assert_eq!(total(&scores, 0, 1), 4.0 * ONE_REJECTED);
        assert_eq!(scores.snapshot(at(0), &peer(1), 0.0).blocks.invalid_message_deliveries, 2.0);
    }
}

#[test]
fn an_hour_in_the_mesh_earns_8_points_on_a_live_topic() {
    for (block_time, quanta) in [(2, 1800), (1, 3600)] {
        let mut scores = GossipScores::new(ScoreParams::light(block_time));
        scores.set_live([false, false, false, true]);
        scores.connected(at(0), peer(1), None);
        scores.mesh(at(100), &peer(1), V4, true);
        assert_eq!(total(&scores, 100, 1), 0.0);
        let quantum = 10.0 / f64::from(quanta) * 0.8;
        assert_close(total(&scores, 100 + block_time, 1), quantum);
        assert_close(total(&scores, 100 + 7 * block_time, 1), 7.0 * quantum);
        assert_close(total(&scores, 3700, 1), 8.0);
        assert_close(total(&scores, 1_000_000, 1), 8.0);
        assert_eq!(scores.snapshot(at(3700), &peer(1), 0.0).blocks.time_in_mesh, 3600.0);
    }
}

#[test]
fn a_partial_slot_in_the_mesh_does_not_count() {
    let mut scores = with_one_peer();
    scores.mesh(at(0), &peer(1), V4, true);
    assert_eq!(total(&scores, 1, 1), 0.0);
    assert_close(total(&scores, 3, 1), 10.0 / 1800.0 * 0.8);
    // The peer is grafted twice, then pruned and grafted again.
    scores.mesh(at(3), &peer(1), V4, true);
    assert_close(total(&scores, 4, 1), 2.0 * 10.0 / 1800.0 * 0.8);
    scores.mesh(at(4), &peer(1), V4, false);
    assert_eq!(total(&scores, 5, 1), 0.0);
    scores.mesh(at(5), &peer(1), V4, true);
    assert_close(total(&scores, 7, 1), 10.0 / 1800.0 * 0.8);
}

#[test]
fn first_deliveries_count_up_to_23_and_decay_over_20_epochs() {
    let mut scores = with_one_peer();
    for count in 1..=40 {
        scores.delivered(&peer(1), V4);
        assert_close(total(&scores, 0, 1), f64::from(count.min(23)) * 0.8);
    }
    scores.tick(at(2));
    assert_eq!(
        scores.snapshot(at(2), &peer(1), 0.0).blocks.first_message_deliveries,
        23.0 * FIRST_DECAY
    );
    run(&mut scores, 2 * 250);
    assert_eq!(total(&scores, 500, 1), 0.0);
}

/// A chain with 200 ms blocks keeps the block time of its `rollup.json`, 2 s, as the slot: there
/// are ten first deliveries per slot.
#[test]
fn at_five_blocks_a_second_a_peer_stays_capped_and_one_rejection_still_bans() {
    let params = ScoreParams::light(2);
    let mut scores = with_one_peer();
    scores.mesh(at(0), &peer(1), V4, true);
    let mut lowest = f64::INFINITY;
    for second in 0..3600 {
        run(&mut scores, second);
        for _ in 0..5 {
            scores.delivered(&peer(1), V4);
        }
        lowest = lowest.min(total(&scores, second, 1));
    }
    assert!(lowest > 0.0, "{lowest}");
    let most = (23.0 + 10.0) * 0.8;
    assert!(total(&scores, 3600, 1) <= most && most <= params.topic_score_cap);
    // An hour of valid blocks does not make up for it.
    scores.rejected(at(0), &peer(1), V4);
    assert!(total(&scores, 3600, 1) < Thresholds::REFERENCE.graylist);
}

#[test]
fn a_dormant_topic_earns_nothing_until_it_lives() {
    let mut scores = with_one_peer();
    scores.mesh(at(0), &peer(1), V3, true);
    scores.delivered(&peer(1), V3);
    assert_eq!(total(&scores, 1000, 1), 0.0);
    scores.set_live([false, false, true, true]);
    assert_close(total(&scores, 1000, 1), (1.0 + 500.0 * 10.0 / 1800.0) * 0.8);
}

#[test]
fn topics_together_earn_at_most_34_but_penalties_are_unbounded() {
    let mut scores = with_one_peer();
    scores.set_live([true; 4]);
    for topic in [V3, V4] {
        scores.mesh(at(0), &peer(1), topic, true);
        (0..30).for_each(|_| scores.delivered(&peer(1), topic));
    }
    assert_eq!(total(&scores, 3600, 1), 34.0);
    // Other terms of the score are added.
    assert_eq!(scores.snapshot(at(3600), &peer(1), 5.0).total, 39.0);
    scores.rejected(at(0), &peer(1), V1);
    assert_close(total(&scores, 3600, 1), 2.0 * 26.4 + ONE_REJECTED);
}

#[test]
fn an_hour_without_a_block_costs_honest_peers_nothing() {
    let mut scores = with_one_peer();
    for topic in PayloadVersion::ALL {
        scores.mesh(at(0), &peer(1), topic, true);
    }
    for second in 0..=3600 {
        run(&mut scores, second);
        assert!(total(&scores, second, 1) >= 0.0);
        // The peer enters and leaves the mesh.
        if second % 60 == 0 {
            scores.mesh(at(second), &peer(1), V1, second % 120 == 0);
        }
    }
    assert_close(total(&scores, 3600, 1), 8.0);
}

#[test]
fn the_application_score_is_part_of_the_total() {
    let scores = with_one_peer();
    for application in [-1000.0, -20.0, 5.0] {
        assert_eq!(scores.snapshot(at(0), &peer(1), application).total, application);
        assert_eq!(
            scores.snapshot(at(0), &peer(2), application).total,
            application,
            "not even known"
        );
    }
}

#[test]
fn more_than_ten_peers_at_one_address_lose_score() {
    let mut scores = with_one_peer();
    for who in 2..=10 {
        scores.connected(at(0), peer(who), ip(1));
    }
    assert_eq!(total(&scores, 0, 1), 0.0);
    scores.connected(at(0), peer(11), Some(Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped().into()));
    assert_eq!(total(&scores, 0, 1), -35.0, "the mapped form is the same address");
    scores.connected(at(0), peer(12), ip(1));
    assert_eq!(total(&scores, 0, 12), -140.0);
    assert_eq!(scores.snapshot(at(0), &peer(5), 0.0).ip_colocation_factor, 4.0);
    // Peers at other addresses are not affected, and a second connection does not count twice.
    scores.connected(at(0), peer(13), ip(2));
    scores.connected(at(0), peer(12), ip(1));
    assert_eq!((total(&scores, 0, 13), total(&scores, 0, 12)), (0.0, -140.0));
    // At a second address, the peer is counted as well.
    scores.connected(at(0), peer(12), ip(2));
    assert_eq!(scores.at_ip.get(&ip(2).expect("some")), Some(&2));
}

#[test]
fn loopback_and_no_address_cost_nothing() {
    let mut scores = GossipScores::new(ScoreParams::light(2));
    let local: [Option<IpAddr>; 4] = [
        None,
        Some(Ipv4Addr::LOCALHOST.into()),
        Some(Ipv6Addr::LOCALHOST.into()),
        Some(Ipv4Addr::LOCALHOST.to_ipv6_mapped().into()),
    ];
    for who in 0..100 {
        scores.connected(at(0), peer(who), local[usize::from(who) % 4]);
    }
    assert!((0..100).all(|who| total(&scores, 0, who) == 0.0));
    assert!(scores.at_ip.is_empty());
}

#[test]
fn a_penalty_does_not_decay_while_the_peer_is_away() {
    let mut scores = with_one_peer();
    scores.connected(at(0), peer(2), None);
    scores.rejected(at(0), &peer(1), V4);
    scores.rejected(at(0), &peer(2), V4);
    scores.delivered(&peer(1), V4);
    scores.mesh(at(0), &peer(1), V4, true);
    scores.disconnected(at(1), &peer(1), 0.0);
    run(&mut scores, 600);
    let gone = scores.snapshot(at(600), &peer(1), 0.0);
    let expected = BlocksSnapshot { invalid_message_deliveries: 1.0, ..BlocksSnapshot::default() };
    assert_eq!((gone.total, gone.blocks), (ONE_REJECTED, expected), "what it earned is lost");
    assert!(total(&scores, 600, 2) > -0.1, "300 slots are the decay time");
    scores.connected(at(600), peer(1), ip(1));
    scores.tick(at(602));
    let back = scores.snapshot(at(602), &peer(1), 0.0).blocks.invalid_message_deliveries;
    assert_eq!(back, INVALID_DECAY, "it decays from where it was");
}

#[test]
fn a_rejection_after_the_peer_left_counts() {
    let mut scores = with_one_peer();
    scores.disconnected(at(0), &peer(1), 0.0);
    scores.rejected(at(0), &peer(1), V4);
    // These need a connection.
    scores.delivered(&peer(1), V4);
    scores.mesh(at(0), &peer(1), V4, true);
    scores.set_library_total(at(0), &peer(1), 0.0, -1000.0);
    assert_eq!(total(&scores, 100, 1), ONE_REJECTED);
    // This peer was forgotten because it left with a positive score.
    scores.connected(at(0), peer(2), ip(2));
    scores.delivered(&peer(2), V4);
    scores.disconnected(at(0), &peer(2), 0.0);
    assert!(!scores.peers.contains_key(&peer(2)));
    scores.rejected(at(1), &peer(2), V4);
    assert_eq!(total(&scores, 100, 2), ONE_REJECTED);
    scores.connected(at(100), peer(2), ip(2));
    assert_eq!(total(&scores, 100, 2), ONE_REJECTED);
}

#[test]
fn a_positive_score_is_forgotten_when_the_peer_leaves() {
    let mut scores = with_one_peer();
    scores.delivered(&peer(1), V4);
    scores.disconnected(at(0), &peer(1), 0.0);
    assert!(scores.peers.is_empty() && scores.at_ip.is_empty());
    // The application score also matters.
    scores.connected(at(0), peer(1), None);
    scores.delivered(&peer(1), V4);
    scores.disconnected(at(0), &peer(1), -20.0);
    assert_eq!(scores.peers.len(), 1);
}

#[test]
fn a_penalty_is_remembered_for_100_epochs() {
    for (block_time, retained) in [(2, 1200), (1, 600)] {
        let mut scores = GossipScores::new(ScoreParams::light(block_time));
        scores.connected(at(0), peer(1), ip(1));
        scores.rejected(at(0), &peer(1), V4);
        scores.disconnected(at(0), &peer(1), 0.0);
        assert_eq!(scores.next_wakeup(), None, "nothing decays");
        assert_eq!(total(&scores, retained, 1), ONE_REJECTED);
        assert_eq!(total(&scores, retained + 1, 1), 0.0);
        // Whichever peer connects next, the memory is freed.
        scores.connected(at(retained), peer(2), None);
        assert_eq!(scores.peers.len(), 2);
        scores.tick(at(retained + 2));
        assert_eq!((scores.peers.len(), scores.at_ip.len()), (1, 0));
    }
}

#[test]
fn a_peer_that_returns_after_the_retention_is_new() {
    let mut scores = with_one_peer();
    scores.rejected(at(0), &peer(1), V4);
    scores.disconnected(at(0), &peer(1), 0.0);
    scores.connected(at(1201), peer(1), ip(1));
    assert_eq!(total(&scores, 1201, 1), 0.0);
}

#[test]
fn invalid_deliveries_decay_over_50_epochs() {
    let mut scores = with_one_peer();
    scores.rejected(at(0), &peer(1), V4);
    assert_eq!(scores.next_wakeup(), Some(at(2)));
    scores.tick(at(1));
    assert_eq!(total(&scores, 1, 1), ONE_REJECTED);
    scores.tick(at(2));
    assert_close(total(&scores, 2, 1), ONE_REJECTED * INVALID_DECAY * INVALID_DECAY);
    run(&mut scores, 598);
    assert!(total(&scores, 598, 1) < -0.01);
    run(&mut scores, 604);
    assert_eq!(total(&scores, 604, 1), 0.0);
}

#[test]
fn a_late_tick_makes_up_for_missed_decays() {
    let mut late = with_one_peer();
    late.rejected(at(0), &peer(1), V4);
    let mut prompt = late.clone();
    run(&mut prompt, 100);
    late.tick(at(100));
    assert_close(total(&late, 100, 1), total(&prompt, 100, 1));
    assert_eq!(late.next_wakeup(), prompt.next_wakeup());
    late.tick(Instant::from_start(Duration::MAX));
    assert_eq!(total(&late, u64::MAX, 1), 0.0);
}

#[test]
fn the_library_total_applies_where_it_is_lower() {
    let mut scores = with_one_peer();
    // The reference's test of the snapshot hook.
    scores.set_library_total(at(0), &peer(1), 0.0, -100.0);
    assert_eq!(total(&scores, 0, 1), -100.0);
    assert_eq!(scores.snapshot(at(0), &peer(1), 0.0).behavioural_penalty, 6.0 + 2.5);
    scores.set_library_total(at(0), &peer(1), 0.0, 0.0);
    let clean = scores.snapshot(at(0), &peer(1), 0.0);
    assert_eq!((clean.total, clean.behavioural_penalty), (0.0, 0.0));
    // If the library's total is higher, ours applies.
    scores.set_library_total(at(0), &peer(1), 0.0, 30.0);
    assert_eq!(total(&scores, 0, 1), 0.0);
    // Penalties that both we and the library see are not counted twice.
    scores.rejected(at(0), &peer(1), V4);
    scores.set_library_total(at(0), &peer(1), -20.0, ONE_REJECTED - 20.0 - 16.0);
    let seen = scores.snapshot(at(0), &peer(1), -20.0);
    assert_close(seen.total, ONE_REJECTED - 36.0);
    assert_close(seen.behavioural_penalty, 7.0);
    for nonsense in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        scores.set_library_total(at(0), &peer(1), -20.0, nonsense);
        assert!(total(&scores, 0, 1).is_finite());
    }
}

#[test]
fn the_unseen_penalty_decays_until_the_next_report() {
    let mut scores = with_one_peer();
    scores.set_library_total(at(0), &peer(1), 0.0, -64.0);
    scores.tick(at(2));
    assert_eq!(total(&scores, 2, 1), -64.0 * BEHAVIOUR_DECAY);
    scores.set_library_total(at(2), &peer(1), 0.0, -64.0);
    assert_eq!(total(&scores, 2, 1), -64.0);
    run(&mut scores, 300);
    let over = scores.snapshot(at(300), &peer(1), 0.0);
    assert_eq!((over.total, over.behavioural_penalty), (0.0, 0.0));
    assert!(over.total.is_sign_positive(), "-0 would look odd in the score book");
}

#[test]
fn a_different_decay_clock_is_not_a_protocol_breach() {
    let mut scores = with_one_peer();
    (0..23).for_each(|_| scores.delivered(&peer(1), V4));
    // The library has already decayed its counters, but has not judged the last delivery yet.
    scores.set_library_total(at(1), &peer(1), 0.0, 22.0 * FIRST_DECAY * 0.8);
    assert_eq!(scores.snapshot(at(1), &peer(1), 0.0).behavioural_penalty, 0.0);
    assert_close(total(&scores, 1, 1), 22.0 * FIRST_DECAY * 0.8);
}

#[test]
fn the_unseen_penalty_survives_a_disconnect() {
    let mut scores = with_one_peer();
    scores.set_library_total(at(0), &peer(1), 0.0, -64.0);
    scores.disconnected(at(1), &peer(1), 0.0);
    assert_eq!(total(&scores, 1000, 1), -64.0);
    scores.connected(at(1000), peer(1), None);
    assert_eq!(total(&scores, 1000, 1), -64.0);
}

#[test]
fn block_snapshots_sum_the_topics_and_take_the_longest_mesh_time() {
    let mut scores = with_one_peer();
    for (topic, since) in [(V1, 10), (V3, 2), (V4, 5)] {
        scores.mesh(at(since), &peer(1), topic, true);
        scores.delivered(&peer(1), topic);
        scores.rejected(at(0), &peer(1), topic);
    }
    let expected = BlocksSnapshot {
        time_in_mesh: 10.0,
        first_message_deliveries: 3.0,
        mesh_message_deliveries: 0.0,
        invalid_message_deliveries: 3.0,
    };
    assert_eq!(scores.snapshot(at(12), &peer(1), 0.0).blocks, expected);
}

#[test]
fn the_peer_that_left_longest_ago_is_forgotten_first() {
    let mut scores = with_one_peer();
    // The later peers leave first, so that the order of ids does not decide.
    let last = MAX_SCORED_PEERS as u16;
    for who in 2..=last {
        scores.connected(at(0), peer(who), None);
        scores.rejected(at(0), &peer(who), V4);
    }
    for who in (2..=last).rev() {
        scores.disconnected(at(u64::from(last - who) / 10), &peer(who), 0.0);
    }
    assert_eq!(scores.peers.len(), MAX_SCORED_PEERS);
    for (newcomer, forgotten) in [(last + 1, last - 9), (last + 2, last - 8)] {
        scores.connected(at(500), peer(newcomer), None);
        assert_eq!(scores.peers.len(), MAX_SCORED_PEERS);
        assert!(!scores.peers.contains_key(&peer(forgotten)));
    }
    assert!([1, 2, last - 7, last - 10].iter().all(|who| scores.peers.contains_key(&peer(*who))));
}

#[test]
fn when_all_are_connected_a_new_peer_is_not_scored() {
    let mut scores = with_one_peer();
    scores.limit = 2;
    scores.connected(at(0), peer(2), None);
    scores.connected(at(0), peer(3), ip(3));
    scores.rejected(at(0), &peer(3), V4);
    assert_eq!((scores.peers.len(), total(&scores, 0, 3)), (2, 0.0));
    scores.disconnected(at(0), &peer(3), 0.0);
    scores.disconnected(at(1), &peer(2), 0.0);
    scores.connected(at(2), peer(3), ip(3));
    assert_eq!(scores.peers.keys().copied().collect::<Vec<_>>(), [peer(1), peer(3)]);
}

proptest! {
    #[test]
    fn scores_stay_within_their_bounds(
        calls in prop::collection::vec(
            (0_u64..300, 0_u8..8, 0_u16..12, 0_u8..7, any::<f64>()), 1..200,
        ),
    ) {
        let mut scores = GossipScores::new(ScoreParams::light(2));
        scores.limit = 6;
        let mut now = 0;
        for (wait, call, who, other, number) in calls {
            now += wait;
            let topic = PayloadVersion::ALL[usize::from(other) % TOPICS];
            match call {
                0 | 1 => scores.connected(at(now), peer(who), ip(other).filter(|_| other > 0)),
                2 => scores.disconnected(at(now), &peer(who), f64::from(other) - 3.0),
                3 => scores.mesh(at(now), &peer(who), topic, other % 2 == 0),
                4 => scores.delivered(&peer(who), topic),
                5 => scores.rejected(at(now), &peer(who), topic),
                6 => scores.set_library_total(at(now), &peer(who), 0.0, number),
                _ => scores.tick(at(now)),
            }
            prop_assert!(scores.peers.len() <= 6);
            let mut at_ip = SortedMap::new();
            for known in scores.peers.values() {
                prop_assert!(known.ips.len() <= MAX_IPS_PER_PEER);
                prop_assert!(known.unseen <= 0.0 && known.unseen.is_finite());
                known.ips.iter().for_each(|ip| *at_ip.get_or_insert_with(*ip, || 0) += 1);
            }
            prop_assert_eq!(&at_ip, &scores.at_ip);
            let connected = scores.peers.values().filter(|known| known.left.is_none()).count();
            prop_assert_eq!(connected, scores.connected);
            prop_assert_eq!(scores.next_wakeup().is_some(), connected > 0);
            for who in 0..12 {
                let snapshot = scores.snapshot(at(now), &peer(who), 5.0);
                prop_assert!(snapshot.total <= 39.0 && snapshot.total.is_finite());
                prop_assert!(
                    snapshot.behavioural_penalty >= 0.0 && snapshot.behavioural_penalty.is_finite()
                );
            }
        }
        scores.tick(at(now));
        prop_assert!(scores.next_wakeup().is_none_or(|next| next > at(now)));
    }
}
