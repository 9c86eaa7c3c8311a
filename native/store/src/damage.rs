//! Damaged blocks found since the store was opened.
//!
//! # Bounds
//! [`MAX_DAMAGED`] hashes; further ones are not remembered.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use alloy_primitives::B256;

/// Maximum number of hashes.
const MAX_DAMAGED: usize = 64;

/// Hashes of blocks whose records can't be decoded.
#[derive(Debug, Default)]
pub(super) struct Damage(Mutex<BTreeSet<B256>>);

impl Damage {
    /// Records a block whose record can't be decoded.
    pub(super) fn met(&self, hash: B256) {
        let mut known = self.known();
        if known.len() < MAX_DAMAGED {
            known.insert(hash);
        }
    }

    /// Forgets blocks that were written again.
    pub(super) fn written<'a>(&self, hashes: impl Iterator<Item = &'a B256>) {
        let mut known = self.known();
        if known.is_empty() {
            return;
        }
        for hash in hashes {
            known.remove(hash);
        }
    }

    /// Returns the hashes, lowest first.
    pub(super) fn all(&self) -> Vec<B256> {
        self.known().iter().copied().collect()
    }

    fn known(&self) -> MutexGuard<'_, BTreeSet<B256>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
