//! The certificate of the browsers' listener, and the proof for an authority that the listener's
//! name leads to it.
//!
//! Each connection takes the certificate that is current when it begins, and keeps it. So a renewal
//! ends no connection.
//!
//! # Bounds
//! One certificate and one proof.

use super::error::HostError;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error, ServerConfig};
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Protocol in which an authority asks for the proof (RFC 8737).
const PROOF_PROTOCOL: &[u8] = b"acme-tls/1";

/// The cryptography of the browsers' listener.
pub(super) fn provider() -> CryptoProvider {
    ring::default_provider()
}

/// The certificate of the browsers' listener: the next connection gets the newest one.
pub(super) struct Certificate {
    current: Arc<Current>,
    proof: Arc<Proof>,
    serving: Arc<ServerConfig>,
    proving: Arc<ServerConfig>,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let certificates = self.current.lock().as_ref().map_or(0, |key| key.cert.len());
        f.debug_struct("Certificate").field("certificates", &certificates).finish_non_exhaustive()
    }
}

impl Certificate {
    /// Holds this certificate. Without one, connections are refused until
    /// [`renew`](Self::renew) brings one.
    ///
    /// # Errors
    /// None in practice: the cryptography supports what TLS needs.
    pub(super) fn new(first: Option<CertifiedKey>) -> Result<Self, HostError> {
        let current = Arc::new(Current(Mutex::new(first.map(Arc::new))));
        let proof = Arc::new(Proof::default());
        let refused =
            |error| HostError::System { what: "TLS", source: io::Error::other::<Error>(error) };
        let serving = server(Arc::clone(&current) as _, &[]).map_err(refused)?;
        let proving = server(Arc::clone(&proof) as _, &[PROOF_PROTOCOL]).map_err(refused)?;
        Ok(Self { current, proof, serving: serving.into(), proving: proving.into() })
    }

    /// Replaces the certificate. Returns `true` if it is another one.
    pub(super) fn renew(&self, new: CertifiedKey) -> bool {
        let mut held = self.current.lock();
        let is_other = held.as_ref().is_none_or(|held| held.cert != new.cert);
        // The key may be another one even then.
        *held = Some(Arc::new(new));
        is_other
    }

    /// Shows an authority that asks for this name the proof, until the returned value is dropped.
    pub(super) fn prove(&self, name: &str, proof: CertifiedKey) -> Proving {
        *self.proof.lock() = Some((name.to_owned(), Arc::new(proof)));
        Proving(Arc::clone(&self.proof))
    }

    /// Returns the settings for a connection that begins with this message, and whether the
    /// connection is an authority's, which ends with the handshake.
    pub(super) fn settings(&self, hello: &ClientHello<'_>) -> (Arc<ServerConfig>, bool) {
        let mut offered = hello.alpn().into_iter().flatten();
        // An authority offers this protocol and no other.
        let asks = offered.next() == Some(PROOF_PROTOCOL) && offered.next().is_none();
        (Arc::clone(if asks { &self.proving } else { &self.serving }), asks)
    }
}

fn server(
    resolver: Arc<dyn ResolvesServerCert>,
    protocols: &[&[u8]],
) -> Result<ServerConfig, Error> {
    let mut config = ServerConfig::builder_with_provider(provider().into())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(config)
}

/// Ends a proof when it is dropped.
#[must_use]
pub(super) struct Proving(Arc<Proof>);

impl Drop for Proving {
    fn drop(&mut self) {
        *self.0.lock() = None;
    }
}

#[derive(Debug)]
struct Current(Mutex<Option<Arc<CertifiedKey>>>);

impl Current {
    fn lock(&self) -> MutexGuard<'_, Option<Arc<CertifiedKey>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.lock().clone()
    }
}

/// A name, and the certificate that proves the control of it.
#[derive(Debug, Default)]
struct Proof(Mutex<Option<(String, Arc<CertifiedKey>)>>);

impl Proof {
    fn lock(&self) -> MutexGuard<'_, Option<(String, Arc<CertifiedKey>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResolvesServerCert for Proof {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let held = self.lock();
        let (name, proof) = held.as_ref()?;
        hello
            .server_name()
            .is_some_and(|asked| asked.eq_ignore_ascii_case(name))
            .then(|| Arc::clone(proof))
    }
}
