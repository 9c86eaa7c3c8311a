//! The certificate of the browsers' listener.

use libp2p::websocket::tls;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The certificate of the browsers' listener: the next connection gets the newest one.
#[derive(Debug)]
pub(super) struct Certificate(Mutex<Held>);

struct Held {
    /// The certificates that were loaded last.
    chain: Vec<Vec<u8>>,
    /// A new one that the transport has not taken yet.
    new: Option<tls::Config>,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held").field("certificates", &self.chain.len()).finish_non_exhaustive()
    }
}

impl Certificate {
    /// Holds a certificate as it was loaded.
    pub(super) fn new((config, chain): (tls::Config, Vec<Vec<u8>>)) -> Self {
        Self(Mutex::new(Held { chain, new: Some(config) }))
    }

    /// Replaces the certificate. Returns `true` if it is another one.
    pub(super) fn renew(&self, (config, chain): (tls::Config, Vec<Vec<u8>>)) -> bool {
        let mut held = self.lock();
        let is_other = held.chain != chain;
        // The key may be another one even then.
        held.new = Some(config);
        held.chain = chain;
        is_other
    }

    /// Takes a certificate that the transport does not have yet.
    pub(super) fn take_new(&self) -> Option<tls::Config> {
        self.lock().new.take()
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
