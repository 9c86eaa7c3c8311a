//! What follows from the node's key and its configuration, before anything is opened.

use super::certificate::Certificate;
use super::config::HostConfig;
use super::error::HostError;
use super::lists::{check_lists, static_peers};
use super::ws::{self, WsTls};
use libp2p::identity::Keypair;
use libp2p::{Multiaddr, PeerId};
use opp2p_core::peers::StaticPeer;
use std::sync::Arc;
use zeroize::Zeroizing;

/// A node's identity, with those settings whose meaning depends on it.
pub(super) struct Identity {
    pub(super) keypair: Keypair,
    /// The secret key, 32 bytes, for discovery.
    pub(super) secret: Zeroizing<[u8; 32]>,
    pub(super) peer_id: PeerId,
    pub(super) static_peers: Vec<StaticPeer>,
    /// Addresses to announce to peers, without this node's id.
    pub(super) advertised: Vec<Multiaddr>,
    pub(super) certificate: Option<Arc<Certificate>>,
}

impl Identity {
    /// Derives and checks it.
    pub(super) fn of(config: &HostConfig) -> Result<Self, HostError> {
        let keypair = config.key.libp2p_keypair()?;
        let peer_id = keypair.public().to_peer_id();
        let static_peers = static_peers(&config.static_peers, peer_id)?;
        let ws = config.ws.as_ref();
        let advertised = ws::advertised(ws.map_or(&[], |ws| &ws.advertise), peer_id)?;
        let tls = ws.and_then(|ws| ws.tls.as_ref()).map(WsTls::load).transpose()?;
        let certificate = tls.map(|loaded| Arc::new(Certificate::new(loaded)));
        check_lists(&config.blocked)?;
        let secret = Zeroizing::new(*config.key.secret_bytes());
        Ok(Self { keypair, secret, peer_id, static_peers, advertised, certificate })
    }
}
