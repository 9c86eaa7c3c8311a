//! The addresses that are announced to peers and pages.
//!
//! # Bounds
//! The operator's addresses, or one for the certificate that the node obtained.

use libp2p::Multiaddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The addresses, without this node's id. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Advertised(Arc<Mutex<Vec<Multiaddr>>>);

impl Advertised {
    pub(super) fn new(addresses: Vec<Multiaddr>) -> Self {
        Self(Arc::new(Mutex::new(addresses)))
    }

    /// Returns the addresses.
    pub(super) fn get(&self) -> Vec<Multiaddr> {
        self.lock().clone()
    }

    /// Replaces all addresses.
    pub(super) fn replace(&self, addresses: Vec<Multiaddr>) {
        *self.lock() = addresses;
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Multiaddr>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
