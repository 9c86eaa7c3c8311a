//! Swarms that are connected through memory.

use libp2p::core::transport::MemoryTransport;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::swarm::NetworkBehaviour;
use libp2p::{Multiaddr, Swarm, Transport, noise, yamux};
use opp2p_wire::IDLE_TIMEOUT;
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) fn swarm<B: NetworkBehaviour>(key: &Keypair, behaviour: B) -> Swarm<B> {
    let transport = MemoryTransport::new()
        .upgrade(Version::V1)
        .authenticate(noise::Config::new(key).unwrap())
        .multiplex(yamux::Config::default())
        .boxed();
    let options =
        libp2p::swarm::Config::with_tokio_executor().with_idle_connection_timeout(IDLE_TIMEOUT);
    Swarm::new(transport, behaviour, key.public().to_peer_id(), options)
}

/// Has a swarm listen on an address of its own.
pub(crate) fn listen<B: NetworkBehaviour>(swarm: &mut Swarm<B>) -> Multiaddr {
    static NEXT: AtomicU64 = AtomicU64::new(1 << 40);
    let port = NEXT.fetch_add(1, Ordering::Relaxed);
    let address: Multiaddr = format!("/memory/{port}").parse().unwrap();
    swarm.listen_on(address.clone()).unwrap();
    address
}
