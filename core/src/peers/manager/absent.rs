//! Conduct of a peer that becomes known only after the peer has left.
//!
//! Answers and messages are judged late. A peer must not escape the verdict by leaving first: its
//! scores are changed where they are kept while it is away, and it may be banned.

use super::PeerManager;
use crate::peers::{Conduct, PeerId, PeerScores};
use crate::time::Now;

impl PeerManager {
    /// Records the conduct of a peer that is not connected. With `None`, only updates its score,
    /// because gossip has already counted the conduct.
    pub(super) fn absent_conduct(&mut self, now: Now, peer: &PeerId, conduct: Option<Conduct>) {
        let unix = now.unix_seconds();
        if !self.gossip.is_on() {
            return;
        }
        let before = self.book.scores(unix, peer);
        self.application.restore(*peer, before.req_resp);
        let application_before = self.application.score(peer);
        if let Some(conduct) = conduct {
            self.application.record(peer, conduct);
        }
        let application = [application_before, self.application.score(peer)];
        let scores = PeerScores {
            gossip: self.gossip.of_absent(now.monotonic, peer, before.gossip, application),
            req_resp: self.application.counters(peer),
        };
        // While the peer is away, the book holds its counters.
        self.application.forget(peer);
        self.note_absent(now, peer, scores);
    }

    /// Keeps the changed scores of a peer that is not connected, and judges it by them.
    pub(super) fn note_absent(&mut self, now: Now, peer: &PeerId, scores: PeerScores) {
        let unix = now.unix_seconds();
        let score = scores.gossip.total;
        if self.book.get(peer).is_some() || score < 0.0 {
            self.book.scored_late(unix, peer, scores);
        }
        self.judge(now, peer, score);
    }
}
