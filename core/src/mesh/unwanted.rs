//! Messages that a peer announced with IDONTWANT. The announcement has one effect only: they are
//! not sent to that peer.
//!
//! # Bounds
//! [`MAX_UNWANTED`] hashes of 8 bytes for each peer, for three heartbeats; the oldest are dropped
//! first, and the peer may then get a copy that it did not want.

use super::Id;
use super::random::keyed_hash;
use crate::time::Instant;
use std::collections::VecDeque;
use std::time::Duration;

/// Maximum number of ids kept for one peer.
pub const MAX_UNWANTED: usize = 128;

#[derive(Clone, Debug, Default)]
pub(super) struct Unwanted {
    /// Oldest first.
    hashes: VecDeque<(u64, Instant)>,
}

impl Unwanted {
    pub(super) fn insert(&mut self, now: Instant, key: u64, id: &Id) {
        let hash = keyed_hash(key, id.as_bytes());
        if self.hashes.iter().any(|(known, _)| *known == hash) {
            return;
        }
        if self.hashes.len() == MAX_UNWANTED {
            self.hashes.pop_front();
        }
        self.hashes.push_back((hash, now));
    }

    pub(super) fn contains(&self, key: u64, id: &Id) -> bool {
        let hash = keyed_hash(key, id.as_bytes());
        self.hashes.iter().any(|(known, _)| *known == hash)
    }

    /// Forgets what is older than `age`.
    pub(super) fn expire(&mut self, now: Instant, age: Duration) {
        while self.hashes.front().is_some_and(|(_, at)| now.since(*at) >= age) {
            self.hashes.pop_front();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.hashes.len()
    }
}
