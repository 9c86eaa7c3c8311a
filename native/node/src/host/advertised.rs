//! The addresses that the node announces to peers and pages.
//!
//! # Bounds
//! The operator's addresses, or one with the name of the obtained certificate.

use libp2p::Multiaddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The announced addresses, without this node's peer id. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Advertised(Arc<Mutex<Vec<Multiaddr>>>);

impl Advertised {
    pub(super) fn new(addresses: Vec<Multiaddr>) -> Self {
        Self(Arc::new(Mutex::new(addresses)))
    }

    /// Returns a copy of the addresses.
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
