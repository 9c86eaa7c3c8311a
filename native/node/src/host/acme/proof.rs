//! The certificate that proves the control of a name to an authority (`tls-alpn-01`, RFC 8737).

use super::error::AcmeError;
use crate::host::certificate::provider;
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::sign::CertifiedKey;
use rustls_pki_types::PrivateKeyDer;

/// Makes the proof for a name, with the digest that the authority expects.
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
    // The proof is a critical extension, which the checks of ordinary certificates refuse.
    Ok(CertifiedKey::new(vec![certificate.der().clone()], signer))
}
