//! The certificate of the browsers' listener, and the response to an authority's `tls-alpn-01`
//! challenge.
//!
//! Each handshake uses the current certificate. A renewal does not affect open connections.
//!
//! # Bounds
//! One certificate and one challenge response.

use super::error::HostError;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error, ServerConfig};
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// ALPN protocol of the `tls-alpn-01` challenge (RFC 8737).
const PROOF_PROTOCOL: &[u8] = b"acme-tls/1";

/// Returns the crypto provider of the browsers' listener.
pub(super) fn provider() -> CryptoProvider {
    ring::default_provider()
}

/// The certificate of the browsers' listener.
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
    /// Creates the state with a first certificate. Without one, handshakes fail until
    /// [`renew`](Self::renew) sets one.
    ///
    /// # Errors
    /// If the crypto provider does not support the default TLS versions, which it does.
    pub(super) fn new(first: Option<CertifiedKey>) -> Result<Self, HostError> {
        let current = Arc::new(Current(Mutex::new(first.map(Arc::new))));
        let proof = Arc::new(Proof::default());
        let refused =
            |error| HostError::System { what: "TLS", source: io::Error::other::<Error>(error) };
        let serving = server(Arc::clone(&current) as _, &[]).map_err(refused)?;
        let proving = server(Arc::clone(&proof) as _, &[PROOF_PROTOCOL]).map_err(refused)?;
        Ok(Self { current, proof, serving: serving.into(), proving: proving.into() })
    }

    /// Replaces the certificate. Returns `true` if it differs from the previous one.
    pub(super) fn renew(&self, new: CertifiedKey) -> bool {
        let mut held = self.current.lock();
        let is_other = held.as_ref().is_none_or(|held| held.cert != new.cert);
        // The key may differ even if the certificate does not.
        *held = Some(Arc::new(new));
        is_other
    }

    /// Answers challenges for `name` with `proof`, until the returned value is dropped.
    pub(super) fn prove(&self, name: &str, proof: CertifiedKey) -> Proving {
        *self.proof.lock() = Some((name.to_owned(), Arc::new(proof)));
        Proving(Arc::clone(&self.proof))
    }

    /// Returns the TLS configuration for a connection with this `ClientHello`, and whether it is an
    /// authority's challenge, which ends with the handshake.
    pub(super) fn settings(&self, hello: &ClientHello<'_>) -> (Arc<ServerConfig>, bool) {
        let mut offered = hello.alpn().into_iter().flatten();
        // An authority offers only this protocol.
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

/// Removes the challenge response when it is dropped.
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

/// The name of the current challenge, and the certificate that answers it.
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
