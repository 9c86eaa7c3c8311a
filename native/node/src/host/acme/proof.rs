//! The certificate that answers a `tls-alpn-01` challenge (RFC 8737).

use super::error::AcmeError;
use crate::host::certificate::provider;
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::sign::CertifiedKey;
use rustls_pki_types::PrivateKeyDer;

/// Creates the self-signed certificate for a name. `digest` is the SHA-256 digest of the key
/// authorization.
pub(super) fn proof(name: &str, digest: &[u8]) -> Result<CertifiedKey, AcmeError> {
    let failed = |error: rcgen::Error| AcmeError::Proof(error.to_string());
    let key = KeyPair::generate().map_err(failed)?;
    let mut params = CertificateParams::new([name.to_owned()]).map_err(failed)?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let certificate = params.self_signed(&key).map_err(failed)?;
    let secret = PrivateKeyDer::try_from(key.serialize_der())
        .map_err(|error| AcmeError::Proof(error.to_owned()))?;
    let signer = provider()
        .key_provider
        .load_private_key(secret)
        .map_err(|error| AcmeError::Proof(error.to_string()))?;
    // `CertifiedKey::from_der` rejects the critical extension.
    Ok(CertifiedKey::new(vec![certificate.der().clone()], signer))
}
