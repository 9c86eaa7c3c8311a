//! alloy's transport over this program's own HTTP client, with a token of its own for each question.
//!
//! alloy's transport over HTTP needs the system's OpenSSL or a second HTTP client; ours is there, and bounds what it reads.

use crate::http::{HttpClient, HttpConfig, HttpError};
use alloy_json_rpc::{RequestPacket, ResponsePacket};
use alloy_rpc_types_engine::{Claims, JwtSecret};
use alloy_transport::{TransportError, TransportErrorKind, TransportFut};
use hyper::header::HeaderValue;
use std::task::{Context, Poll};
use tower_service::Service;

/// Bytes of an answer: a block of 10 MB in hexadecimal with every transaction in fields, and more.
const MAX_ANSWER: usize = 96 << 20;

/// Where questions go.
#[derive(Clone, Debug)]
pub(super) struct EngineTransport {
    http: HttpClient,
    jwt: Option<JwtSecret>,
}

impl EngineTransport {
    pub(super) fn new(config: &HttpConfig, jwt: Option<JwtSecret>) -> Result<Self, HttpError> {
        Ok(Self { http: HttpClient::new(config)?, jwt })
    }

    /// A token that says what time it is: engines take no older ones.
    fn bearer(&self) -> Option<HeaderValue> {
        let token = self.jwt.as_ref()?.encode(&Claims::with_current_timestamp()).ok()?;
        let mut value = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
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
            serde_json::from_slice(&answer).map_err(|error| {
                // What an engine says may be as long as a block.
                let start = answer.get(..200).unwrap_or(&answer);
                TransportError::deser_err(error, String::from_utf8_lossy(start))
            })
        })
    }
}
