//! HTTP client for arbitrary URLs, for protocols such as ACME, whose servers name further URLs.
//!
//! # Bounds
//! * An answer has at most the caller's limit of bytes. The timeout covers name resolution to the
//!   last byte.
//! * Redirects are not followed.

use super::client::{HttpConfig, TlsFiles, cause, connector, host_of};
use super::error::HttpError;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{Request, Response};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opp2p_wire::last_cause;
use std::time::Duration;

/// A client for arbitrary URLs. Clones share its connections.
#[derive(Clone, Debug)]
pub struct HttpSender {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    timeout: Duration,
    limit: usize,
}

impl HttpSender {
    /// Creates a client with limits for the size of an answer in bytes and for its time. Without
    /// `tls`, the system's root certificates are used.
    ///
    /// # Errors
    /// If a file of `tls` is unusable.
    pub fn new(tls: Option<TlsFiles>, timeout: Duration, limit: usize) -> Result<Self, HttpError> {
        let config = HttpConfig { tls, ..HttpConfig::new("https://", timeout) };
        let client = Client::builder(TokioExecutor::new()).build(connector(&config)?);
        Ok(Self { client, timeout, limit })
    }

    /// Sends a request, and returns the answer with any status.
    ///
    /// # Errors
    /// If no whole answer arrives within the limits.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, HttpError> {
        let host = host_of(request.uri());
        let exchange = async {
            let answer = self.client.request(request).await;
            let answer = answer
                .map_err(|error| HttpError::Unreached { host: host.clone(), why: cause(&error) })?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, self.limit).collect().await.map_err(|error| {
                match error.is::<LengthLimitError>() {
                    true => HttpError::TooLong { host: host.clone(), limit: self.limit },
                    false => HttpError::Unreached { host: host.clone(), why: last_cause(&*error) },
                }
            })?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        let late = || HttpError::Timeout { host: host.clone(), after: self.timeout };
        tokio::time::timeout(self.timeout, exchange).await.map_err(|_| late())?
    }
}
