//! The application score, which measures how a peer serves blocks by number
//! (`op-node/p2p/app_scores.go`, `store/iface.go`).

use super::{ApplicationParams, CounterParams, Decays, MAX_SCORED_PEERS, Scoring, decayed};
use crate::peers::{Conduct, PeerId};
use crate::sorted::SortedMap;
use crate::time::Instant;
use serde::{Deserialize, Serialize};

/// Counters of a peer's conduct as a server of blocks, each capped and decaying (`reqResp` in the
/// score book).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Counters {
    /// Number of blocks that were proved to belong to the chain, at most 10.
    pub valid_responses: f64,
    /// Number of failed requests, at most 9.
    pub error_responses: f64,
    /// Number of blocks that do not belong to the chain, at most 20.
    pub rejected_payloads: f64,
}

impl Counters {
    fn each(
        &mut self,
        params: &ApplicationParams,
        mut change: impl FnMut(&mut f64, &CounterParams),
    ) {
        change(&mut self.valid_responses, &params.valid_responses);
        change(&mut self.error_responses, &params.error_responses);
        change(&mut self.rejected_payloads, &params.rejected_payloads);
    }
}

/// The application score of each peer. It is kept when the peer leaves, and decays only while the
/// peer is connected.
///
/// The caller keeps the persistent records: it saves [`Self::counters`], passes them to
/// [`Self::restore`], and calls [`Self::forget`] when a record has expired.
///
/// # Bounds
///
/// [`MAX_SCORED_PEERS`] peers; those that left longest ago are forgotten first. A peer that leaves
/// with all counters at 0 is forgotten at once.
#[derive(Clone, Debug)]
pub struct ApplicationScores {
    /// `None` at [`Scoring::None`].
    params: Option<ApplicationParams>,
    peers: SortedMap<PeerId, Peer>,
    connected: usize,
    decays: Decays,
    departures: u64,
    limit: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Peer {
    counters: Counters,
    /// Sequence number of the peer's departure, or `None` while it is connected.
    left: Option<u64>,
}

impl ApplicationScores {
    /// Creates scores without any peers.
    pub fn new(scoring: Scoring, block_time_seconds: u64) -> Self {
        Self {
            params: scoring.application_params(block_time_seconds),
            peers: SortedMap::new(),
            connected: 0,
            decays: Decays::default(),
            departures: 0,
            limit: MAX_SCORED_PEERS,
        }
    }

    /// Records that `peer` is connected. From now on its counters decay.
    pub fn connected(&mut self, now: Instant, peer: PeerId) {
        self.tick(now);
        let Some(params) = self.params else { return };
        if let Some(known) = self.entry(peer)
            && known.left.take().is_some()
        {
            self.connected += 1;
            self.decays.start(now, params.decay_interval);
        }
    }

    /// Records that the last connection to `peer` was closed. Its counters no longer decay.
    pub fn disconnected(&mut self, now: Instant, peer: &PeerId) {
        self.tick(now);
        let Some(known) = self.peers.get_mut(peer).filter(|known| known.left.is_none()) else {
            return;
        };
        known.left = Some(self.departures);
        self.departures += 1;
        if known.counters == Counters::default() {
            self.peers.remove(peer);
        }
        self.connected -= 1;
        if self.connected == 0 {
            self.decays.stop();
        }
    }

    /// Records one conduct of `peer`. Also counts if the peer is no longer connected, because
    /// answers are judged late.
    pub fn record(&mut self, peer: &PeerId, conduct: Conduct) {
        let Some(params) = self.params else { return };
        let Some(known) = self.entry(*peer) else { return };
        let (counter, cap) = match conduct {
            Conduct::ValidResponse => {
                (&mut known.counters.valid_responses, params.valid_responses.cap)
            }
            Conduct::ErrorResponse => {
                (&mut known.counters.error_responses, params.error_responses.cap)
            }
            Conduct::RejectedPayload => {
                (&mut known.counters.rejected_payloads, params.rejected_payloads.cap)
            }
        };
        *counter = (*counter + 1.0).min(cap);
    }

    /// Decays the counters of the connected peers, once per elapsed slot.
    pub fn tick(&mut self, now: Instant) {
        let Some(params) = self.params else { return };
        let times = self.decays.take(now, params.decay_interval);
        if times == 0 {
            return;
        }
        for peer in self.peers.values_mut().filter(|peer| peer.left.is_none()) {
            peer.counters.each(&params, |counter, of| {
                *counter = decayed(*counter, of.decay, times, params.decay_to_zero);
            });
        }
    }

    /// Returns the time at which [`Self::tick`] next has something to do.
    pub const fn next_wakeup(&self) -> Option<Instant> {
        self.decays.next
    }

    /// Returns the score of `peer`, from -409 to +5. The score is 0 for an unknown peer, and for
    /// all peers at [`Scoring::None`].
    pub fn score(&self, peer: &PeerId) -> f64 {
        let (Some(params), Some(known)) = (self.params, self.peers.get(peer)) else { return 0.0 };
        let Counters { valid_responses, error_responses, rejected_payloads } = known.counters;
        valid_responses * params.valid_responses.weight
            + error_responses * params.error_responses.weight
            + rejected_payloads * params.rejected_payloads.weight
    }

    /// Returns the counters of `peer`, all of which are zero if it is unknown.
    pub fn counters(&self, peer: &PeerId) -> Counters {
        self.peers.get(peer).map(|known| known.counters).unwrap_or_default()
    }

    /// Sets the counters of `peer` from the caller's record. Values out of range are clamped, and
    /// NaN becomes 0.
    pub fn restore(&mut self, peer: PeerId, counters: Counters) {
        let Some(params) = self.params else { return };
        let mut fitting = counters;
        // `clamp` would keep NaN.
        fitting.each(&params, |counter, of| *counter = counter.max(0.0).min(of.cap));
        if fitting == Counters::default()
            && self.peers.get(&peer).is_none_or(|known| known.left.is_some())
        {
            self.peers.remove(&peer);
        } else if let Some(known) = self.entry(peer) {
            known.counters = fitting;
        }
    }

    /// Resets the counters of `peer`, and forgets it if it is not connected.
    pub fn forget(&mut self, peer: &PeerId) {
        match self.peers.get_mut(peer) {
            Some(known) if known.left.is_none() => known.counters = Counters::default(),
            _ => _ = self.peers.remove(peer),
        }
    }

    /// Returns the entry of `peer`. If there is none, creates it as if the peer had just left, or
    /// returns `None` if there is no room.
    fn entry(&mut self, peer: PeerId) -> Option<&mut Peer> {
        if !self.peers.contains_key(&peer) && self.peers.len() >= self.limit {
            let gone =
                self.peers.iter().filter_map(|(peer, known)| known.left.map(|left| (left, *peer)));
            let (_, oldest) = gone.min()?;
            self.peers.remove(&oldest);
        }
        let departures = &mut self.departures;
        Some(self.peers.get_or_insert_with(peer, || {
            *departures += 1;
            Peer { counters: Counters::default(), left: Some(*departures - 1) }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Thresholds;
    use super::*;
    use Conduct::{ErrorResponse, RejectedPayload, ValidResponse};
    use proptest::prelude::*;
    use std::time::Duration;

    /// The reference's default for `--p2p.ban.threshold`.
    const BAN: f64 = -100.0;
    const DECAY: f64 = 0.9261187281287935;

    fn peer(byte: u8) -> PeerId {
        PeerId::try_from(&[byte; 39][..]).expect("39 bytes")
    }

    fn at(millis: u64) -> Instant {
        Instant::from_start(Duration::from_millis(millis))
    }

    fn with_one_peer() -> ApplicationScores {
        let mut scores = ApplicationScores::new(Scoring::Light, 2);
        scores.connected(at(0), peer(1));
        scores
    }

    fn counters(valid_responses: f64, error_responses: f64, rejected_payloads: f64) -> Counters {
        Counters { valid_responses, error_responses, rejected_payloads }
    }

    #[test]
    fn each_counter_stops_at_its_cap() {
        for (conduct, cap, expected) in [
            (ValidResponse, 10, counters(10.0, 0.0, 0.0)),
            (ErrorResponse, 9, counters(0.0, 9.0, 0.0)),
            (RejectedPayload, 20, counters(0.0, 0.0, 20.0)),
        ] {
            let mut scores = with_one_peer();
            for count in 1..=30 {
                scores.record(&peer(1), conduct);
                let Counters { valid_responses, error_responses, rejected_payloads } =
                    scores.counters(&peer(1));
                let sum = valid_responses + error_responses + rejected_payloads;
                assert_eq!(sum, f64::from(count.min(cap)), "{conduct:?}");
            }
            assert_eq!(scores.counters(&peer(1)), expected);
        }
    }

    #[test]
    fn a_cap_may_be_a_fraction() {
        let mut scores = with_one_peer();
        scores.params.as_mut().expect("light").error_responses.cap = 2.1;
        let seen = [(); 3].map(|()| {
            scores.record(&peer(1), ErrorResponse);
            scores.counters(&peer(1)).error_responses
        });
        assert_eq!(seen, [1.0, 2.0, 2.1]);
    }

    #[test]
    fn the_score_is_the_weighted_sum() {
        let mut scores = with_one_peer();
        scores.restore(peer(1), counters(1.0, 2.0, 3.0));
        assert_eq!(scores.score(&peer(1)), 0.5 - 2.0 - 60.0);
        let params = scores.params.as_mut().expect("light");
        params.valid_responses.weight = 0.8;
        params.error_responses.weight = 0.6;
        params.rejected_payloads.weight = 0.4;
        assert_eq!(scores.score(&peer(1)), 0.8 + 1.2 + 3.0 * 0.4);
    }

    #[test]
    fn the_score_lies_between_minus_409_and_5() {
        let mut scores = with_one_peer();
        scores.restore(peer(1), counters(f64::INFINITY, -1.0, f64::NAN));
        assert_eq!(scores.score(&peer(1)), 5.0);
        scores.restore(peer(1), counters(0.0, 1e300, 21.0));
        assert_eq!(scores.score(&peer(1)), -409.0);
    }

    #[test]
    fn an_unknown_peer_scores_zero() {
        let scores = with_one_peer();
        assert_eq!((scores.score(&peer(2)), scores.counters(&peer(2))), (0.0, Counters::default()));
    }

    #[test]
    fn errors_alone_stay_above_the_gossip_threshold() {
        let mut scores = with_one_peer();
        (0..1000).for_each(|_| scores.record(&peer(1), ErrorResponse));
        assert_eq!(scores.score(&peer(1)), -9.0);
        assert!(scores.score(&peer(1)) > Thresholds::REFERENCE.gossip);
    }

    #[test]
    fn one_rejected_payload_stops_gossip_and_three_graylist() {
        let mut scores = with_one_peer();
        let seen = [(); 3].map(|()| {
            scores.record(&peer(1), RejectedPayload);
            scores.score(&peer(1))
        });
        assert_eq!(seen, [-20.0, -40.0, -60.0]);
        assert!(seen[0] < Thresholds::REFERENCE.gossip && seen[2] < Thresholds::REFERENCE.graylist);
        assert!(seen[1] >= Thresholds::REFERENCE.graylist);
    }

    #[test]
    fn a_ban_takes_six_rejected_payloads() {
        let mut scores = with_one_peer();
        (0..5).for_each(|_| scores.record(&peer(1), RejectedPayload));
        assert_eq!(scores.score(&peer(1)), BAN, "not below it");
        scores.tick(at(2000));
        assert_eq!(scores.score(&peer(1)), 5.0 * DECAY * -20.0);
        scores.record(&peer(1), RejectedPayload);
        assert_eq!(scores.score(&peer(1)), (5.0 * DECAY + 1.0) * -20.0);
        assert!(scores.score(&peer(1)) < BAN);
    }

    #[test]
    fn one_rejected_payload_per_slot_leads_to_a_ban_at_the_seventh() {
        let mut scores = with_one_peer();
        let banned_after = (1..).find(|count| {
            scores.record(&peer(1), RejectedPayload);
            let banned = scores.score(&peer(1)) < BAN;
            scores.tick(at(count * 2000));
            banned
        });
        assert_eq!(banned_after, Some(7));
    }

    #[test]
    fn only_connected_peers_decay_each_slot() {
        let mut scores = with_one_peer();
        scores.connected(at(0), peer(2));
        for who in 1..=3 {
            scores.restore(peer(who), counters(10.0, 9.0, 20.0));
        }
        assert_eq!(scores.next_wakeup(), Some(at(2000)));
        scores.tick(at(1999));
        assert_eq!(scores.counters(&peer(1)), counters(10.0, 9.0, 20.0));
        scores.tick(at(2000));
        scores.tick(at(2001));
        for who in 1..=2 {
            assert_eq!(
                scores.counters(&peer(who)),
                counters(10.0 * DECAY, 9.0 * DECAY, 20.0 * DECAY)
            );
        }
        assert_eq!(scores.counters(&peer(3)), counters(10.0, 9.0, 20.0));
        assert_eq!(scores.next_wakeup(), Some(at(4000)));
    }

    #[test]
    fn each_counter_decays_by_its_own_factor() {
        let mut scores = with_one_peer();
        scores.restore(peer(1), counters(10.0, 10.0, 10.0));
        let params = scores.params.as_mut().expect("light");
        params.error_responses.cap = 10.0;
        params.valid_responses.decay = 0.8;
        params.error_responses.decay = 0.4;
        params.rejected_payloads.decay = 0.5;
        scores.restore(peer(1), counters(10.0, 10.0, 10.0));
        scores.tick(at(2000));
        assert_eq!(scores.counters(&peer(1)), counters(8.0, 4.0, 5.0));
        scores.params.as_mut().expect("light").decay_to_zero = 5.0;
        scores.tick(at(4000));
        assert_eq!(scores.counters(&peer(1)), counters(6.4, 0.0, 0.0));
    }

    #[test]
    fn a_counter_of_one_is_gone_after_ten_epochs() {
        let mut scores = with_one_peer();
        scores.record(&peer(1), RejectedPayload);
        scores.tick(at(59 * 2000));
        assert!(scores.score(&peer(1)) < -0.2);
        scores.tick(at(61 * 2000));
        assert_eq!(scores.counters(&peer(1)), Counters::default());
    }

    #[test]
    fn a_score_survives_a_disconnect_and_reconnect() {
        let mut scores = with_one_peer();
        scores.record(&peer(1), RejectedPayload);
        scores.disconnected(at(1000), &peer(1));
        scores.disconnected(at(1000), &peer(1));
        assert_eq!(scores.next_wakeup(), None);
        scores.tick(at(1_000_000));
        scores.record(&peer(1), ErrorResponse);
        assert_eq!(scores.score(&peer(1)), -21.0);
        scores.connected(at(1_000_000), peer(1));
        scores.connected(at(1_000_001), peer(1));
        assert_eq!((scores.score(&peer(1)), scores.next_wakeup()), (-21.0, Some(at(1_002_000))));
        scores.tick(at(1_002_000));
        assert_eq!(scores.counters(&peer(1)), counters(0.0, DECAY, DECAY));
    }

    #[test]
    fn a_late_tick_does_not_decay_peers_that_came_late() {
        let mut scores = with_one_peer();
        scores.record(&peer(1), RejectedPayload);
        scores.record(&peer(2), RejectedPayload);
        scores.connected(at(5000), peer(2));
        scores.tick(at(6000));
        assert_eq!(scores.counters(&peer(2)).rejected_payloads, DECAY);
        assert_eq!(scores.counters(&peer(1)).rejected_payloads, DECAY * DECAY * DECAY);
    }

    #[test]
    fn a_forgotten_score_no_longer_counts() {
        let mut scores = with_one_peer();
        for who in 1..=3 {
            scores.record(&peer(who), RejectedPayload);
        }
        scores.forget(&peer(1));
        scores.forget(&peer(2));
        scores.restore(peer(3), Counters::default());
        assert_eq!([1, 2, 3].map(|who| scores.score(&peer(who))), [0.0; 3]);
        assert_eq!(
            scores.peers.keys().copied().collect::<Vec<_>>(),
            [peer(1)],
            "which is connected"
        );
        assert!(scores.next_wakeup().is_some());
    }

    #[test]
    fn without_scoring_all_scores_are_0() {
        let mut scores = ApplicationScores::new(Scoring::None, 2);
        scores.connected(at(0), peer(1));
        scores.record(&peer(1), RejectedPayload);
        scores.restore(peer(2), counters(1.0, 2.0, 3.0));
        scores.tick(at(100_000));
        assert_eq!([1, 2].map(|who| scores.score(&peer(who))), [0.0; 2]);
        assert_eq!((scores.next_wakeup(), scores.peers.len()), (None, 0));
        scores.disconnected(at(100_000), &peer(1));
    }

    #[test]
    fn the_peer_that_left_longest_ago_is_forgotten_first() {
        let mut scores = with_one_peer();
        scores.limit = 3;
        for (millis, who) in [(1, 3), (2, 2)] {
            scores.connected(at(millis), peer(who));
            scores.record(&peer(who), RejectedPayload);
            scores.disconnected(at(millis), &peer(who));
        }
        scores.record(&peer(4), RejectedPayload);
        assert_eq!([2, 3, 4].map(|who| scores.score(&peer(who))), [-20.0, 0.0, -20.0]);
        for who in [5, 6, 7] {
            scores.connected(at(3), peer(who));
            scores.record(&peer(who), RejectedPayload);
        }
        assert_eq!([1, 5, 6, 7].map(|who| scores.score(&peer(who))), [0.0, -20.0, -20.0, 0.0]);
    }

    proptest! {
        #[test]
        fn scores_stay_within_their_bounds(
            calls in prop::collection::vec(
                (0_u64..5000, 0_u8..6, 0_u8..12, any::<[f64; 3]>()), 1..200,
            ),
        ) {
            let mut scores = ApplicationScores::new(Scoring::Light, 2);
            scores.limit = 6;
            let mut now = 0;
            for (wait, call, who, [valid, error, rejected]) in calls {
                now += wait;
                match call {
                    0 => scores.connected(at(now), peer(who)),
                    1 => scores.disconnected(at(now), &peer(who)),
                    2 => scores.restore(peer(who), counters(valid, error, rejected)),
                    3 => scores.forget(&peer(who)),
                    4 => scores.tick(at(now)),
                    _ => {
                        let kinds = [ValidResponse, ErrorResponse, RejectedPayload];
                        scores.record(&peer(who), kinds[who as usize % 3]);
                    }
                }
                prop_assert!(scores.peers.len() <= 6);
                let connected = scores.peers.values().filter(|known| known.left.is_none()).count();
                prop_assert_eq!(connected, scores.connected);
                prop_assert_eq!(scores.next_wakeup().is_some(), connected > 0);
                for who in 0..12 {
                    prop_assert!((-409.0..=5.0).contains(&scores.score(&peer(who))));
                }
            }
            let before = scores.next_wakeup();
            scores.tick(at(now));
            prop_assert!(scores.next_wakeup().is_none_or(|next| next > at(now)), "{:?}", before);
        }
    }
}
