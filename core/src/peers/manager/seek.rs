//! Dials of remembered peers while peers are missing.

use super::{DIALS_AT_ONCE, PeerManager, PeerStep};
use crate::peers::PeerId;
use crate::time::{Instant, Now};
use std::time::Duration;

/// Wait before a remembered peer is dialled again after it left or after a first failed dial. It
/// doubles with each further failure, up to [`LONGEST_REDIAL`].
pub const FIRST_REDIAL: Duration = Duration::from_secs(20);
/// Longest wait between two dials of a remembered peer.
pub const LONGEST_REDIAL: Duration = Duration::from_secs(60 * 60);

/// Back-off of a remembered peer that left or that could not be dialled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Redial {
    at: Instant,
    wait: Duration,
}

impl PeerManager {
    /// Schedules the next dial of a remembered peer, after a longer wait each time.
    pub(super) fn redial_later(&mut self, now: Now, peer: &PeerId) {
        if self.redials.len() >= self.config.remembered {
            let known = &self.book;
            self.redials
                .retain(|peer, redial| redial.at > now.monotonic && known.get(peer).is_some());
        }
        if self.redials.len() < self.config.remembered {
            let wait = self.redials.get(peer).map_or(FIRST_REDIAL, |before| before.wait * 2);
            let wait = wait.min(LONGEST_REDIAL);
            self.redials.insert(*peer, Redial { at: now.monotonic + wait, wait });
        }
    }

    /// Dials remembered peers, the ones with the best scores first.
    pub(super) fn seek(&mut self, now: Now, missing: usize) {
        let room = DIALS_AT_ONCE.saturating_sub(self.dialling.len()).min(missing);
        if room == 0 || !self.config.dials_remembered {
            return;
        }
        // Best first: by score, then by the time when they were last seen, latest first. Holds at
        // most `room` entries.
        let mut best: Vec<(f64, u64, PeerId)> = Vec::new();
        for (peer, record) in self.book.iter() {
            let is_busy = self.connected.contains_key(peer)
                || self.dialling.contains(peer)
                || self.statics.contains(peer)
                || self.redials.get(peer).is_some_and(|redial| redial.at > now.monotonic)
                || self.gate.holds(now, peer, &[]);
            if is_busy || self.addresses(now, peer).next().is_none() {
                continue;
            }
            let score = self.score(now, peer);
            if self.config.min_score.is_none_or(|least| score >= least) {
                let at = best.partition_point(|(other, seen_at, name)| {
                    let order = other.total_cmp(&score).then(seen_at.cmp(&record.seen_at));
                    order.then(peer.cmp(name)).is_gt()
                });
                if at < room {
                    best.insert(at, (score, record.seen_at, *peer));
                    best.truncate(room);
                }
            }
        }
        for (.., peer) in best {
            self.dialling.insert(peer);
            self.dial(now, peer);
        }
    }

    pub(super) fn dial(&mut self, now: Now, peer: PeerId) {
        let addresses = self.dial_addresses(now, &peer).map(str::to_owned).collect();
        self.steps.push_back(PeerStep::Dial { peer, addresses });
    }
}
