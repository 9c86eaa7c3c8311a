//! Scores and records of peers on their way to the store.

use super::{PeerManager, PeerStep};
use crate::peers::{PeerId, memory};
use crate::time::Now;

impl PeerManager {
    /// Writes a peer's current scores into the book.
    pub(super) fn note(&mut self, now: Now, peer: &PeerId) {
        let scores = self.scores(now, peer);
        self.book.scored(now.unix_seconds(), peer, scores);
    }

    pub(super) fn snapshot(&mut self, now: Now) {
        let peers: Vec<PeerId> = self.connected.keys().copied().collect();
        for peer in peers {
            self.note(now, &peer);
        }
        self.remember();
    }

    pub(super) fn remember(&mut self) {
        let mut changes = Vec::new();
        while let Some((peer, record)) = self.book.poll_changed() {
            let is_browser =
                self.connected.get(&peer).is_some_and(|connected| connected.is_browser);
            if is_browser && record.is_some_and(|record| record.scores.gossip.total >= 0.0) {
                continue;
            }
            changes.push(memory::peer_change(&peer, record));
        }
        if !changes.is_empty() {
            self.steps.push_back(PeerStep::Remember(changes));
        }
    }
}
