//! What follows from the node's key and its configuration, before anything is opened.

use super::acme::{Kept, Validity};
use super::certificate::Certificate;
use super::config::HostConfig;
use super::error::HostError;
use super::lists::{check_lists, static_peers};
use super::ws::{self, WsConfig};
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
    /// Validity of a certificate that the node obtained in an earlier run.
    pub(super) validity: Option<Validity>,
}

impl Identity {
    /// Derives and checks it.
    pub(super) fn of(config: &HostConfig) -> Result<Self, HostError> {
        let keypair = config.key.libp2p_keypair()?;
        let peer_id = keypair.public().to_peer_id();
        let static_peers = static_peers(&config.static_peers, peer_id)?;
        let ws = config.ws.as_ref();
        let advertised = ws::advertised(ws.map_or(&[], |ws| &ws.advertise), peer_id)?;
        let (certificate, validity) = certificate(ws, &peer_id)?;
        check_lists(&config.blocked)?;
        let secret = Zeroizing::new(*config.key.secret_bytes());
        Ok(Self { keypair, secret, peer_id, static_peers, advertised, certificate, validity })
    }
}

/// Returns the certificate of the browsers' listener, and its validity if the node obtained it in
/// an earlier run.
fn certificate(
    ws: Option<&WsConfig>,
    peer: &PeerId,
) -> Result<(Option<Arc<Certificate>>, Option<Validity>), HostError> {
    let (first, validity) = match ws.map(|ws| (&ws.tls, &ws.acme)) {
        None | Some((None, None)) => return Ok((None, None)),
        Some((Some(_), Some(_))) => return Err(HostError::TwoCertificates),
        Some((Some(files), None)) => (Some(files.load()?), None),
        Some((None, Some(acme))) => {
            acme.check().map_err(HostError::Acme)?;
            let kept = Kept::new(&acme.folder, &acme.directory, &acme.name.of(peer));
            let stored = kept.certificate();
            stored.map(|stored| (stored.certificate, stored.validity)).unzip()
        }
    };
    Ok((Some(Arc::new(Certificate::new(first)?)), validity))
}
