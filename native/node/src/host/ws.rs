//! The WebSocket listener for browsers: its address, its certificate, and the addresses to dial.
//!
//! # Bounds
//! * The certificate and key files: [`MAX_PEM`] bytes each. They are the operator's.

use super::acme::AcmeConfig;
use super::certificate::provider;
use super::error::HostError;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, PeerId};
use opp2p_wire::is_browser;
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Maximum size of a certificate or key file, in bytes.
const MAX_PEM: u64 = 1 << 20;

/// A WebSocket listener for browsers, beside TCP on the same IP address.
///
/// A page loaded over HTTPS may dial only `wss`. Either this node has a certificate
/// ([`Self::tls`]), or a reverse proxy terminates TLS and speaks plain `ws` to this port, and
/// [`Self::advertise`] has the address of the proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WsConfig {
    /// TCP port to listen on; 0 lets the system choose.
    pub port: u16,
    /// Certificate files for `wss`. `None` for plain `ws`, unless [`Self::acme`] is set.
    pub tls: Option<WsTls>,
    /// Configuration for obtaining a certificate for `wss`. Excludes [`Self::tls`].
    pub acme: Option<AcmeConfig>,
    /// Addresses at which browsers reach the listener, if not its own: multiaddrs such as
    /// `/dns4/gw.example/tcp/443/wss`, with or without this node's `/p2p/<peer id>` at the end.
    /// They are announced to peers.
    pub advertise: Vec<Multiaddr>,
    /// Whether a block of a sequencer counts as published when browsers took it and no node is
    /// connected. Otherwise the sequencer tries again until a node takes it.
    pub suffices: bool,
}

/// A certificate and its key, both PEM files. They are read at the start, and by
/// [`HostHandle::reconfigure`](super::HostHandle::reconfigure).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WsTls {
    /// The certificate, followed by its chain.
    pub cert: PathBuf,
    /// Private key of the certificate, as PKCS#8, SEC1 or PKCS#1.
    pub key: PathBuf,
}

impl WsConfig {
    /// Returns the address to listen on.
    pub(super) fn listen_address(&self, ip: IpAddr) -> Multiaddr {
        let is_secure = self.tls.is_some() || self.acme.is_some();
        let way = if is_secure { Protocol::Wss("/".into()) } else { Protocol::Ws("/".into()) };
        Multiaddr::from(ip).with(Protocol::Tcp(self.port)).with(way)
    }
}

impl WsTls {
    /// Reads both files.
    ///
    /// # Errors
    /// [`HostError::Tls`] with the file and what is wrong with it.
    pub(super) fn load(&self) -> Result<CertifiedKey, HostError> {
        let certificates = read(&self.cert)?;
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(&certificates)
            .collect::<Result<_, _>>()
            .map_err(|error| {
                wrong(
                    &self.cert,
                    format!(
                        "is not a PEM file of certificates ({error}); give the certificate chain"
                    ),
                )
            })?;
        if certificates.is_empty() {
            return Err(wrong(&self.cert, "has no certificate; give the chain as PEM"));
        }
        let key = PrivateKeyDer::from_pem_slice(&read(&self.key)?).map_err(|error| {
            wrong(
                &self.key,
                format!("has no private key ({error}); give it as PEM: PKCS#8, SEC1 or PKCS#1"),
            )
        })?;
        // Bytes that are labelled as a key may be something else.
        let signer = provider().key_provider.load_private_key(key).map_err(|error| {
            wrong(&self.key, format!("has no private key ({error}); give PKCS#8, SEC1 or PKCS#1"))
        })?;
        let certified = CertifiedKey::new(certificates, signer);
        match certified.keys_match() {
            // Some keys don't support the comparison.
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
            Err(error) => {
                let key = self.key.display();
                let why = format!("and the key in {key} can't be used together: {error}");
                Err(wrong(&self.cert, format!("{why}; give a certificate and its own key")))
            }
        }
    }
}

fn wrong(file: &Path, why: impl Into<String>) -> HostError {
    HostError::Tls { file: file.to_path_buf(), why: why.into() }
}

fn read(path: &Path) -> Result<Vec<u8>, HostError> {
    let read = || {
        let mut bytes = Vec::new();
        File::open(path)?.take(MAX_PEM + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|error: io::Error| {
        wrong(path, format!("can't be read: {error}; check the path"))
    })?;
    if bytes.len() as u64 > MAX_PEM {
        return Err(wrong(
            path,
            "has more than 1 MiB, which no certificate or key needs; check the path",
        ));
    }
    Ok(bytes)
}

/// Current listen addresses, including the WebSocket listener's, as the network reports them. There
/// are one or two for each address of this machine, which bounds their number.
#[derive(Clone, Debug, Default)]
pub(super) struct Listening(Arc<Mutex<BTreeSet<Multiaddr>>>);

impl Listening {
    pub(super) fn heard<E>(&self, event: &SwarmEvent<E>) {
        match event {
            SwarmEvent::NewListenAddr { address, .. } => {
                self.lock().insert(address.clone());
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                self.lock().remove(address);
            }
            _ => {}
        }
    }

    /// Returns all listen addresses.
    pub(super) fn addresses(&self) -> Vec<Multiaddr> {
        self.lock().iter().cloned().collect()
    }

    /// Returns the WebSocket listen addresses.
    pub(super) fn door(&self) -> Vec<Multiaddr> {
        self.lock().iter().filter(|address| is_browser(address)).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<Multiaddr>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the addresses to advertise, without this node's own id.
///
/// # Errors
/// [`HostError::Advertised`] if an address ends with another node's id.
pub(super) fn advertised(list: &[Multiaddr], own: PeerId) -> Result<Vec<Multiaddr>, HostError> {
    let each = list.iter().map(|address| {
        let mut way = address.clone();
        match address.iter().last() {
            Some(Protocol::P2p(peer)) if peer == own => {
                way.pop();
                Ok(way)
            }
            Some(Protocol::P2p(_)) => Err(HostError::Advertised(address.clone())),
            _ => Ok(way),
        }
    });
    each.collect()
}
