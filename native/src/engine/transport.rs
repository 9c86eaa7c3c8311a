//! alloy's transport over this program's own HTTP client, with a new token for each request.
//!
//! alloy's HTTP transport needs the system's OpenSSL or a second HTTP client; ours is already part
//! of the program, and limits how much it reads. Over a WebSocket the token is sent once, in the
//! upgrade request.

use alloy_json_rpc::{RequestPacket, ResponsePacket};
use alloy_rpc_types_engine::{Claims, JwtSecret};
use alloy_transport::{TransportError, TransportErrorKind, TransportFut};
use hyper::header::HeaderValue;
use opp2p_node::http::{HttpClient, HttpConfig, HttpError};
use std::task::{Context, Poll};
use tower_service::Service;

/// Maximum size of an answer in bytes: a block of 10 MB in hexadecimal, with the fields of every
/// transaction, and room to spare.
const MAX_ANSWER: usize = 96 << 20;

/// Maximum size of an answer that is parsed on the task that asked, in bytes.
const SMALL: usize = 64 * 1024;

/// Sends requests to one endpoint.
#[derive(Clone, Debug)]
pub(super) struct EngineTransport {
    http: HttpClient,
    jwt: Option<JwtSecret>,
}

impl EngineTransport {
    pub(super) fn new(config: &HttpConfig, jwt: Option<JwtSecret>) -> Result<Self, HttpError> {
        Ok(Self { http: HttpClient::new(config)?, jwt })
    }

    /// Returns a token with the current time, because engines reject old ones.
    fn bearer(&self) -> Option<HeaderValue> {
        let token = self.jwt.as_ref()?.encode(&Claims::with_current_timestamp()).ok()?;
        let mut value = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

fn read(answer: &[u8]) -> Result<ResponsePacket, TransportError> {
    serde_json::from_slice(answer).map_err(|error| {
        // Only the start: the answer may be as long as a block.
        let start = answer.get(..200).unwrap_or(answer);
        TransportError::deser_err(error, String::from_utf8_lossy(start))
    })
}

impl Service<RequestPacket> for EngineTransport {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: RequestPacket) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let body = serde_json::to_vec(&request).map_err(TransportError::ser_err)?;
            let answer = this.http.post_as(body.into(), MAX_ANSWER, this.bearer()).await;
            let answer = answer.map_err(TransportErrorKind::custom)?;
            if answer.len() <= SMALL {
                return read(&answer);
            }
            let read = tokio::task::spawn_blocking(move || read(&answer)).await;
            read.map_err(TransportErrorKind::custom)?
        })
    }
}
