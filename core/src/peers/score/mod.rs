//! Scores: what a peer is worth to us, as a number that gossip and the ban rule act on.
//!
//! [`GossipScores`] counts how a peer gossips, [`ApplicationScores`] how it serves blocks by number, [`ScoreParams`]
//! and [`ApplicationParams`] hold the numbers of both, and [`PeerScores`] is the record that outlives a restart. The
//! application score is part of the gossip total and is never added a second time. The formula is that of gossipsub
//! v1.1 (`go-libp2p-pubsub/score.go`), the numbers are those of `op-node/p2p/peer_params.go` and `app_params.go` as
//! of October 2024, at the scoring level [`Scoring::Light`].
//!
//! # Where we differ from the reference
//!
//! The reference of October 2024 scores the v1 topic alone. A chain past Canyon has no blocks there, so a rejected
//! message costs a peer nothing, while the mesh of the silent v1 topic costs the honest 5 points for ever (P3, too few
//! deliveries in the mesh) and 5 more with each prune (P3b). Its successor dropped the topics altogether. We keep the
//! numbers and put them where they mean something:
//!
//! * P4, rejected messages, counts on all four block topics. One of them costs -140.4475 · 0.8 = -112.358 whatever
//!   the topic: below the graylist threshold of -40 and below the usual ban threshold of -100.
//! * P1, time in the mesh, and P2, first deliveries, count on the topics that are live: those where the chain's blocks
//!   are or will soon be. A topic without blocks earns nobody anything ([`TopicParams::dormant`]).
//! * P3 and P3b have weight 0. Their other numbers are kept, for whoever configures a library with them.
//!
//! So an honest peer never falls below 0 by the silence of a topic or of the sequencer.
//!
//! # Bounds
//!
//! * Peers: each of the two remembers [`MAX_SCORED_PEERS`]. If there are more, those that left longest ago are
//!   forgotten first; if all of them are connected, a new one is not counted and scores 0. A node has far fewer
//!   connections than that.
//! * A peer: a fixed number of counters, and [`MAX_IPS_PER_PEER`] addresses.
//! * Time: a call costs at most one pass over the peers, however late it comes.

mod application;
mod gossip;
mod params;

pub use application::{ApplicationScores, Counters};
pub use gossip::{BlocksSnapshot, GossipScores, GossipSnapshot, MAX_IPS_PER_PEER};
pub use params::{
    ApplicationParams, CounterParams, ScoreParams, Scoring, Thresholds, TopicParams, UnknownScoring, decay,
};

use crate::time::Instant;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Peers that [`GossipScores`] and [`ApplicationScores`] each remember, connected or not.
pub const MAX_SCORED_PEERS: usize = 4096;

/// A peer's record in the score book: the `peerScores` object of `op-node/p2p/store/scorebook.go`.
///
/// In JSON, fields that it does not know are ignored and those that are missing are 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PeerScores {
    /// How it gossips, and the total.
    pub gossip: GossipSnapshot,
    /// How it serves blocks by number.
    pub req_resp: Counters,
}

/// When the counters decay: once each interval, and only while somebody is connected.
#[derive(Clone, Copy, Debug, Default)]
struct Decays {
    next: Option<Instant>,
}

impl Decays {
    /// Somebody is connected. No effect if somebody was before.
    fn start(&mut self, now: Instant, interval: Duration) {
        self.next.get_or_insert(now + interval);
    }

    /// Nobody is connected any more.
    fn stop(&mut self) {
        self.next = None;
    }

    /// How many decays are due at `now`. They count as done.
    fn take(&mut self, now: Instant, interval: Duration) -> i32 {
        let Some(next) = self.next.filter(|next| *next <= now) else { return 0 };
        let (late, interval_nanos) = (now.since(next).as_nanos(), interval.as_nanos().max(1));
        let into_this_one = u64::try_from(late % interval_nanos).unwrap_or(u64::MAX);
        self.next = Some(now + interval.saturating_sub(Duration::from_nanos(into_this_one)));
        i32::try_from(late / interval_nanos + 1).unwrap_or(i32::MAX)
    }
}

/// `counter` after `times` decays. What falls below `floor` on the way is exactly 0.
fn decayed(counter: f64, decay: f64, times: i32, floor: f64) -> f64 {
    let counter = counter * decay.powi(times);
    if counter < floor { 0.0 } else { counter }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_start(Duration::from_secs(seconds))
    }

    #[test]
    fn the_record_has_the_references_names() {
        let record = PeerScores {
            gossip: GossipSnapshot {
                total: -1.5,
                blocks: BlocksSnapshot {
                    time_in_mesh: 2.5,
                    first_message_deliveries: 3.5,
                    mesh_message_deliveries: 4.5,
                    invalid_message_deliveries: 5.5,
                },
                ip_colocation_factor: 6.5,
                behavioural_penalty: 7.5,
            },
            req_resp: Counters { valid_responses: 8.5, error_responses: 0.25, rejected_payloads: 10.5 },
        };
        let json = concat!(
            r#"{"gossip":{"total":-1.5,"blocks":{"timeInMesh":2.5,"firstMessageDeliveries":3.5,"#,
            r#""meshMessageDeliveries":4.5,"invalidMessageDeliveries":5.5},"IPColocationFactor":6.5,"#,
            r#""behavioralPenalty":7.5},"reqResp":{"validResponses":8.5,"errorResponses":0.25,"#,
            r#""rejectedPayloads":10.5}}"#
        );
        assert_eq!(serde_json::to_string(&record).expect("numbers"), json);
        assert_eq!(serde_json::from_str::<PeerScores>(json).expect("as written"), record);
    }

    #[test]
    fn unknown_fields_are_ignored_and_missing_ones_are_zero() {
        let read = |json| serde_json::from_str::<PeerScores>(json).expect("lenient");
        assert_eq!(read("{}"), PeerScores::default());
        assert_eq!(read(r#"{"gossip":{"blocks":{}},"reqResp":{}}"#), PeerScores::default());
        // A historic record of the reference.
        let old = read(r#"{"gossip":{"total":1234,"new":[1]},"reqRespSync":123456}"#);
        assert_eq!((old.gossip.total, old.req_resp), (1234.0, Counters::default()));
    }

    #[test]
    fn decays_that_were_missed_are_made_up_for() {
        let (mut decays, slot) = (Decays::default(), Duration::from_secs(2));
        assert_eq!((decays.take(at(100), slot), decays.next), (0, None));
        decays.start(at(1), slot);
        decays.start(at(2), slot);
        assert_eq!(decays.next, Some(at(3)));
        assert_eq!((decays.take(at(2), slot), decays.take(at(3), slot), decays.take(at(3), slot)), (0, 1, 0));
        assert_eq!((decays.take(at(10), slot), decays.next), (3, Some(at(11))));
        assert_eq!(decays.take(Instant::from_start(Duration::MAX), slot), i32::MAX);
        assert_eq!(decays.take(Instant::from_start(Duration::MAX), Duration::ZERO), 1);
        decays.stop();
        assert_eq!(decays.next, None);
    }

    #[test]
    fn a_counter_decays_to_exactly_zero() {
        assert_eq!(decayed(10.0, 0.8, 1, 0.01), 8.0);
        assert_eq!(decayed(8.0, 0.8, 1, 5.0), 6.4);
        assert_eq!(decayed(4.0, 0.4, 1, 5.0), 0.0);
        assert_eq!(decayed(f64::MAX, 0.9, i32::MAX, 0.01), 0.0);
    }
}
