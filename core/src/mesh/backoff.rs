//! Back-offs: peers that must not be grafted for a while, because we or they sent a PRUNE.
//!
//! # Bounds
//! [`MAX_BACKOFFS`] peers for each topic. If there are more, the back-off that ends first is
//! forgotten. The worst consequence is a GRAFT that comes too early by the rest of that back-off.

use crate::peers::PeerId;
use crate::sorted::SortedMap;
use crate::time::Instant;
use std::time::Duration;

/// Maximum number of peers kept for one topic.
pub const MAX_BACKOFFS: usize = 4096;

/// The back-offs of one topic.
#[derive(Clone, Debug, Default)]
pub(super) struct Backoffs {
    ends: SortedMap<PeerId, Instant>,
}

impl Backoffs {
    /// Records that `peer` must not be grafted until `end`. Does not shorten a known back-off.
    pub(super) fn set(&mut self, peer: PeerId, end: Instant) {
        if let Some(known) = self.ends.get_mut(&peer) {
            *known = (*known).max(end);
            return;
        }
        if self.ends.len() >= MAX_BACKOFFS {
            let first = self.ends.iter().min_by_key(|(peer, end)| (**end, **peer));
            let first = first.map(|(peer, _)| *peer);
            first.map(|peer| self.ends.remove(&peer));
        }
        self.ends.insert(peer, end);
    }

    /// Returns the end of the peer's back-off, if it is kept.
    pub(super) fn end(&self, peer: &PeerId) -> Option<Instant> {
        self.ends.get(peer).copied()
    }

    /// Forgets what ended `slack` ago.
    pub(super) fn expire(&mut self, now: Instant, slack: Duration) {
        self.ends.retain(|_, end| *end + slack > now);
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }
}
