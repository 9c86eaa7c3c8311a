//! Peer scores: numbers by which gossip and the ban policy judge a peer.
//!
//! [`GossipScores`] scores how a peer gossips, [`ApplicationScores`] how it serves blocks by
//! number, [`ScoreParams`] and [`ApplicationParams`] hold the parameters of both, and
//! [`PeerScores`] is the record that survives a restart. The application score is part of the
//! gossip total and is never added a second time. The formula is that of gossipsub v1.1
//! (`go-libp2p-pubsub/score.go`). The parameters are those of `op-node/p2p/peer_params.go` and
//! `app_params.go` as of October 2024, at the scoring level [`Scoring::Light`].
//!
//! # Differences from the reference
//!
//! The reference of October 2024 scores only the v1 topic, which carries no blocks on a chain past
//! Canyon. So a rejected message costs a peer nothing, while the mesh of the silent v1 topic costs
//! honest peers 5 points permanently (P3, too few deliveries in the mesh) and another 5 with each
//! prune (P3b). The reference's successor dropped topic scores altogether. This implementation
//! keeps the parameters and applies them where they are meaningful:
//!
//! * P4, rejected messages, counts on all four block topics. One such message costs -140.4475 · 0.8
//!   = -112.358 on any topic: below the graylist threshold of -40 and below the usual ban threshold
//!   of -100.
//! * P1, time in the mesh, and P2, first deliveries, count on live topics, which carry the chain's
//!   blocks now or soon. A topic without blocks earns no points ([`TopicParams::dormant`]).
//! * P3 and P3b have weight 0. Their other parameters are kept for the configuration of a gossip
//!   library.
//!
//! A slot is the block time of `rollup.json`, as in the reference. Chains with a block every 200 ms
//! keep 2 s there, and so does Base's own client: counters decay at the same pace, a peer reaches
//! the cap of P2 within seconds instead of a minute, and penalties are the same as on any chain.
//!
//! As a result, the silence of a topic or of the sequencer never lowers an honest peer's score
//! below 0.
//!
//! # Bounds
//!
//! * Peers: each of the two types remembers [`MAX_SCORED_PEERS`]. If there are more, those that
//!   left longest ago are forgotten first; if all of them are connected, a new peer is not counted
//!   and scores 0. A node has far fewer connections than that.
//! * Per peer: a fixed number of counters, and [`MAX_IPS_PER_PEER`] addresses.
//! * Time: a call costs at most one pass over the peers, however late it comes.

mod application;
mod gossip;
mod params;

pub use application::{ApplicationScores, Counters};
pub use gossip::{BlocksSnapshot, GossipScores, GossipSnapshot, MAX_IPS_PER_PEER};
pub use params::{
    ApplicationParams, CounterParams, ScoreParams, Scoring, Thresholds, TopicParams,
    UnknownScoring, decay,
};

use crate::time::Instant;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Maximum number of peers that [`GossipScores`] and [`ApplicationScores`] each remember, whether
/// connected or not.
pub const MAX_SCORED_PEERS: usize = 4096;

/// A peer's record in the score book: the `peerScores` object of `op-node/p2p/store/scorebook.go`.
///
/// In JSON, unknown fields are ignored and missing ones are 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PeerScores {
    /// Gossip counters, and the total.
    pub gossip: GossipSnapshot,
    /// Counters of served blocks by number.
    pub req_resp: Counters,
}

/// Schedule of the decays: one per interval while any peer is connected.
#[derive(Clone, Copy, Debug, Default)]
struct Decays {
    next: Option<Instant>,
}

impl Decays {
    /// Starts the schedule when a peer connects. Has no effect if the schedule is running.
    fn start(&mut self, now: Instant, interval: Duration) {
        self.next.get_or_insert(now + interval);
    }

    /// Stops the schedule when the last peer has disconnected.
    fn stop(&mut self) {
        self.next = None;
    }

    /// Returns the number of decays due at `now`, and counts them as done.
    fn take(&mut self, now: Instant, interval: Duration) -> i32 {
        let Some(next) = self.next.filter(|next| *next <= now) else { return 0 };
        let (late, interval_nanos) = (now.since(next).as_nanos(), interval.as_nanos().max(1));
        let into_this_one = u64::try_from(late % interval_nanos).unwrap_or(u64::MAX);
        self.next = Some(now + interval.saturating_sub(Duration::from_nanos(into_this_one)));
        i32::try_from(late / interval_nanos + 1).unwrap_or(i32::MAX)
    }
}

/// Returns `counter` after `times` decays, or exactly 0 if the result is below `floor`.
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
    fn record_fields_have_the_reference_names() {
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
            req_resp: Counters {
                valid_responses: 8.5,
                error_responses: 0.25,
                rejected_payloads: 10.5,
            },
        };
        let json = concat!(
            r#"{"gossip":{"total":-1.5,"blocks":{"timeInMesh":2.5,"firstMessageDeliveries":3.5,"#,
            r#""meshMessageDeliveries":4.5,"invalidMessageDeliveries":5.5},"#,
            r#""IPColocationFactor":6.5,"behavioralPenalty":7.5},"#,
            r#""reqResp":{"validResponses":8.5,"errorResponses":0.25,"#,
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
        // A historical record of the reference.
        let old = read(r#"{"gossip":{"total":1234,"new":[1]},"reqRespSync":123456}"#);
        assert_eq!((old.gossip.total, old.req_resp), (1234.0, Counters::default()));
    }

    #[test]
    fn missed_decays_are_made_up_for() {
        let (mut decays, slot) = (Decays::default(), Duration::from_secs(2));
        assert_eq!((decays.take(at(100), slot), decays.next), (0, None));
        decays.start(at(1), slot);
        decays.start(at(2), slot);
        assert_eq!(decays.next, Some(at(3)));
        assert_eq!(
            (decays.take(at(2), slot), decays.take(at(3), slot), decays.take(at(3), slot)),
            (0, 1, 0)
        );
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
