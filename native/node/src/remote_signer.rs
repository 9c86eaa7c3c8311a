//! Client of a remote signer, which signs a sequencer's blocks so that its key need not be on the
//! node's machine (`op-service/signer/client.go`).
//!
//! It uses JSON-RPC over HTTP: `health_status` once, at the start, and `opsigner_signBlockPayload`
//! for each block, with the domain as an array of 32 numbers, the chain id as a number, the hash in
//! base64 and the sender in hexadecimal. The answer is a signature of 65 bytes in hexadecimal. If
//! the signer does not have that method, `opsigner_signBlockPayloadV2` is called, with the same
//! values in hexadecimal. The answer must be a signature by the configured address. Otherwise this
//! client returns an error, because every peer would reject the block.
//!
//! Certificate files are read again when they change, so that certificates with a lifetime of an
//! hour can be used. While the new files can't be used, for example because only one of two has
//! been written, the old ones stay in use.
//!
//! # Bounds
//! Each answer is bounded by [`MAX_ANSWER`] and [`TIMEOUT`]. The answers come from the operator's
//! signer.

use crate::http::{CallError, HttpClient, HttpConfig, HttpError};
use alloy_primitives::{Address, hex};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use opp2p_core::gossip::{Signature, recover};
use opp2p_core::node::SignRequest;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// Timeout of one call: the time that the publish queue gives one attempt.
pub const TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum size of an answer, in bytes.
pub const MAX_ANSWER: usize = 64 << 10;
/// JSON-RPC error code for an unknown method.
const NO_METHOD: i64 = -32601;

/// Address and identity of a remote signer.
#[derive(Clone, Debug)]
pub struct RemoteSignerConfig {
    /// HTTP settings of the signer's endpoint.
    pub http: HttpConfig,
    /// Address whose signatures are expected.
    pub address: Address,
}

/// Reason why there is no signature.
#[derive(Debug, thiserror::Error)]
pub enum RemoteSignerError {
    /// The signer can't be reached.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The signer refused the call.
    #[error("the signer refused {method}: {message} (code {code})")]
    Refused {
        /// Method that was called.
        method: &'static str,
        /// JSON-RPC error code.
        code: i64,
        /// Error message of the signer, shortened.
        message: String,
    },
    /// The answer is malformed.
    #[error("the signer's answer to {0} makes no sense")]
    InvalidResponse(&'static str),
    /// The signature is by another address.
    #[error(
        "the signer signed as {found}, not as {expected}; give the signer's own address, or the \
         right signer"
    )]
    OtherAddress {
        /// Configured address.
        expected: Address,
        /// Address that signed.
        found: Address,
    },
}

/// A handle to a remote signer.
#[derive(Debug)]
pub struct RemoteSigner {
    config: Arc<RemoteSignerConfig>,
    client: Arc<Mutex<Held>>,
}

#[derive(Debug)]
struct Held {
    client: HttpClient,
    /// Modification times of the certificate files that the client was built from.
    changed: Vec<Option<SystemTime>>,
    /// Whether the files have changed since, but can't be used. This is logged once.
    is_stale: bool,
}

impl RemoteSigner {
    /// Creates the handle and checks the signer's health, as the reference does at its start.
    ///
    /// # Errors
    /// If the signer can't be reached or refuses the call.
    pub async fn connect(config: RemoteSignerConfig) -> Result<Self, RemoteSignerError> {
        let client = HttpClient::new(&config.http)?;
        let changed = config.changed();
        let held = Held { client, changed, is_stale: false };
        let signer = Self { config: Arc::new(config), client: Arc::new(Mutex::new(held)) };
        signer.ask("health_status", json!([])).await?;
        Ok(signer)
    }

    /// Requests the signature of a block.
    ///
    /// # Errors
    /// If the signer returns no signature by the configured address.
    pub async fn sign(&self, request: &SignRequest) -> Result<Signature, RemoteSignerError> {
        const METHOD: &str = "opsigner_signBlockPayload";
        const METHOD_V2: &str = "opsigner_signBlockPayloadV2";
        let sender = self.config.address;
        let (domain, chain_id, hash) = (request.domain, request.chain_id, request.payload_hash);
        let first = json!([{
            "domain": domain.as_slice(),
            "chainId": chain_id,
            "payloadHash": BASE64_STANDARD.encode(hash),
            "senderAddress": sender,
        }]);
        let answer = match self.ask(METHOD, first).await {
            Err(RemoteSignerError::Refused { code: NO_METHOD, .. }) => {
                let second = json!([{
                    "domain": domain,
                    "chainId": format!("{chain_id:#x}"),
                    "payloadHash": hash,
                    "senderAddress": sender,
                }]);
                self.ask(METHOD_V2, second).await?
            }
            answer => answer?,
        };
        let invalid = || RemoteSignerError::InvalidResponse(METHOD);
        let bytes = answer.as_str().and_then(|text| hex::decode(text).ok()).ok_or_else(invalid)?;
        let signature: Signature = bytes.try_into().map_err(|_| invalid())?;
        let found = recover(&signature, &request.signing_hash).map_err(|_| invalid())?;
        if found != sender {
            return Err(RemoteSignerError::OtherAddress { expected: sender, found });
        }
        Ok(signature)
    }

    async fn ask(&self, method: &'static str, params: Value) -> Result<Value, RemoteSignerError> {
        let answer = self.client().await.call(method, params, MAX_ANSWER).await;
        answer.map_err(|error| match error {
            CallError::Http(error) => RemoteSignerError::Http(error),
            CallError::Refused { code, message, .. } => {
                RemoteSignerError::Refused { method, code, message }
            }
            CallError::InvalidResponse => RemoteSignerError::InvalidResponse(method),
        })
    }

    /// Returns the client, rebuilt if its certificate files have changed and can be used.
    async fn client(&self) -> HttpClient {
        let held = || self.client.lock().unwrap_or_else(PoisonError::into_inner).client.clone();
        if self.config.http.tls.is_none() {
            return held();
        }
        let (config, client) = (Arc::clone(&self.config), Arc::clone(&self.client));
        // A disk that hangs blocks only one thread for blocking work.
        let renewed = tokio::task::spawn_blocking(move || renewed(&config, &client)).await;
        renewed.unwrap_or_else(|_| held())
    }
}

fn renewed(config: &RemoteSignerConfig, client: &Mutex<Held>) -> HttpClient {
    let mut held = client.lock().unwrap_or_else(PoisonError::into_inner);
    // Read before the files, so that a later change is noticed.
    let changed = config.changed();
    if held.changed != changed {
        match HttpClient::new(&config.http) {
            Ok(client) => *held = Held { client, changed, is_stale: false },
            Err(error) if !held.is_stale => {
                held.is_stale = true;
                tracing::warn!(
                    target: "opp2p::signer", %error,
                    "the remote signer's certificate files have changed and can't be used: the old \
                     ones stay in use"
                );
            }
            Err(_) => {}
        }
    }
    held.client.clone()
}

impl RemoteSignerConfig {
    /// Returns the modification time of each certificate file.
    fn changed(&self) -> Vec<Option<SystemTime>> {
        let Some(tls) = &self.http.tls else { return Vec::new() };
        let changed =
            |file: &Option<PathBuf>| std::fs::metadata(file.as_ref()?).ok()?.modified().ok();
        [&tls.ca, &tls.cert, &tls.key].map(changed).to_vec()
    }
}
