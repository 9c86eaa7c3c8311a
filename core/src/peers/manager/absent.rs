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
        let Some(gossip) = &self.gossip else { return };
        let before = self.book.scores(unix, peer);
        self.application.restore(*peer, before.req_resp);
        if let Some(conduct) = conduct {
            self.application.record(peer, conduct);
        }
        let application = self.application.score(peer);
        let scores = PeerScores {
            gossip: gossip.snapshot(now.monotonic, peer, application),
            req_resp: self.application.counters(peer),
        };
        // While the peer is away, the book holds its counters.
        self.application.forget(peer);
        let score = scores.gossip.total;
        if self.book.get(peer).is_some() || score < 0.0 {
            self.book.scored_late(unix, peer, scores);
        }
        self.judge(now, peer, score);
    }
}
