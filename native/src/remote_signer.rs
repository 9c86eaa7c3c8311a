//! A signer elsewhere that signs a sequencer's blocks, so that its key need not be on the node's machine
//! (`op-service/signer/client.go`).
//!
//! It speaks JSON-RPC over HTTP: `health_status` once, at the start, and `opsigner_signBlockPayload` for each block, with the
//! domain as an array of 32 numbers, the chain id as a number, the hash in base64 and the sender in hexadecimal; the answer
//! is a signature of 65 bytes in hexadecimal. A signer that does not know that method is asked by
//! `opsigner_signBlockPayloadV2`, which takes the same in hexadecimal. What comes back must be a signature by the
//! address that was configured, or it is an error here rather than a block that everybody rejects.
//!
//! Certificate files are read again when they change, so that certificates that live for an hour can be used.
//!
//! # Bounds
//! An answer: [`MAX_ANSWER`] and [`TIMEOUT`]. The operator's signer sends it.

use crate::http::{CallError, HttpClient, HttpConfig, HttpError};
use alloy_primitives::{Address, hex};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use opp2p_core::gossip::{Signature, recover};
use opp2p_core::node::SignRequest;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// Time for one answer, as the publish queue gives one attempt.
pub const TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of an answer.
pub const MAX_ANSWER: usize = 64 << 10;
/// JSON-RPC's code for a method that is not there.
const NO_METHOD: i64 = -32601;

/// Which signer.
#[derive(Clone, Debug)]
pub struct RemoteSignerConfig {
    /// Where it is.
    pub http: HttpConfig,
    /// Whom it signs as.
    pub address: Address,
}

/// Why there is no signature.
#[derive(Debug, thiserror::Error)]
pub enum RemoteSignerError {
    /// It can't be reached.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// It refused.
    #[error("the signer refused {method}: {message} (code {code})")]
    Refused {
        /// What it was asked.
        method: &'static str,
        /// Its code.
        code: i64,
        /// Its words, shortened.
        message: String,
    },
    /// Its answer is none.
    #[error("the signer's answer to {0} makes no sense")]
    Nonsense(&'static str),
    /// It signed as somebody else.
    #[error(
        "the signer signed as {found}, not as {expected}; give the right --signer.address, or the right signer"
    )]
    OtherAddress {
        /// The address that was configured.
        expected: Address,
        /// The one that signed.
        found: Address,
    },
}

/// The handle to a signer elsewhere.
#[derive(Debug)]
pub struct RemoteSigner {
    config: RemoteSignerConfig,
    /// The client, and when the files it was made of were changed.
    client: Mutex<(HttpClient, Vec<Option<SystemTime>>)>,
}

impl RemoteSigner {
    /// Asks the signer whether it is there, as the reference does before it starts.
    ///
    /// # Errors
    /// If it is not.
    pub async fn connect(config: RemoteSignerConfig) -> Result<Self, RemoteSignerError> {
        let client = HttpClient::new(&config.http)?;
        let changed = config.changed();
        let signer = Self { config, client: Mutex::new((client, changed)) };
        signer.ask("health_status", json!([])).await?;
        Ok(signer)
    }

    /// Has a block signed.
    ///
    /// # Errors
    /// If there is no signature by the configured address.
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
        let nonsense = || RemoteSignerError::Nonsense(METHOD);
        let bytes = answer.as_str().and_then(|text| hex::decode(text).ok()).ok_or_else(nonsense)?;
        let signature: Signature = bytes.try_into().map_err(|_| nonsense())?;
        let found = recover(&signature, &request.signing_hash).map_err(|_| nonsense())?;
        if found != sender {
            return Err(RemoteSignerError::OtherAddress { expected: sender, found });
        }
        Ok(signature)
    }

    async fn ask(&self, method: &'static str, params: Value) -> Result<Value, RemoteSignerError> {
        let answer = self.client()?.call(method, params, MAX_ANSWER).await;
        answer.map_err(|error| match error {
            CallError::Http(error) => RemoteSignerError::Http(error),
            CallError::Refused { code, message } => RemoteSignerError::Refused { method, code, message },
            CallError::Nonsense => RemoteSignerError::Nonsense(method),
        })
    }

    /// The client, made again if its files were changed.
    fn client(&self) -> Result<HttpClient, HttpError> {
        let mut held = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = self.config.changed();
        if held.1 != changed {
            *held = (HttpClient::new(&self.config.http)?, changed);
        }
        Ok(held.0.clone())
    }
}

impl RemoteSignerConfig {
    /// When each certificate file was changed last.
    fn changed(&self) -> Vec<Option<SystemTime>> {
        let Some(tls) = &self.http.tls else { return Vec::new() };
        let changed = |file: &Option<PathBuf>| std::fs::metadata(file.as_ref()?).ok()?.modified().ok();
        [&tls.ca, &tls.cert, &tls.key].map(changed).to_vec()
    }
}
