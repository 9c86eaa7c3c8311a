//! What both shells do with all their connections: count their bytes, and close them.

use futures::StreamExt;
use libp2p::PeerId;
use libp2p::swarm::{NetworkBehaviour, Swarm};
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes that went over all connections since the node started, handshakes and framing included. They are
/// counted as the sockets take and give them.
#[derive(Debug, Default)]
pub struct Bandwidth {
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

impl Bandwidth {
    /// Bytes received and bytes sent.
    pub fn totals(&self) -> (u64, u64) {
        (self.bytes_in.load(Ordering::Relaxed), self.bytes_out.load(Ordering::Relaxed))
    }

    /// A socket gave so many bytes.
    pub fn received(&self, bytes: usize) {
        self.bytes_in.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// A socket took so many bytes.
    pub fn sent(&self, bytes: usize) {
        self.bytes_out.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// Closes all connections and waits until the last one is. A peer may keep it waiting, so it wants a time limit.
pub async fn farewell<B: NetworkBehaviour>(swarm: &mut Swarm<B>) {
    let peers: Vec<PeerId> = swarm.connected_peers().copied().collect();
    for peer in peers {
        // That it has gone meanwhile is as good.
        let _ = swarm.disconnect_peer_id(peer);
    }
    while swarm.connected_peers().next().is_some() {
        swarm.select_next_some().await;
    }
}
