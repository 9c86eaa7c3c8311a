//! Counters of the bytes on all connections.

use std::sync::atomic::{AtomicU64, Ordering};

/// Number of bytes on all connections since the node started, including handshakes and framing.
/// They are counted as the sockets transfer them.
#[derive(Debug, Default)]
pub struct Bandwidth {
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

impl Bandwidth {
    /// Returns the bytes received and the bytes sent.
    pub fn totals(&self) -> (u64, u64) {
        (self.bytes_in.load(Ordering::Relaxed), self.bytes_out.load(Ordering::Relaxed))
    }

    /// Counts bytes read from a socket.
    pub fn received(&self, bytes: usize) {
        self.bytes_in.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts bytes written to a socket.
    pub fn sent(&self, bytes: usize) {
        self.bytes_out.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}
