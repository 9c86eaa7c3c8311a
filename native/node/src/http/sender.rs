//! HTTP client of any URL, for protocols whose servers name further ones, such as ACME.
//!
//! # Bounds
//! * An answer: the caller's limit in bytes, and the timeout, from before the name is resolved to
//!   the last byte.
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

/// A client of any URL. Clones share its connections.
#[derive(Clone, Debug)]
pub struct HttpSender {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    timeout: Duration,
    limit: usize,
}

impl HttpSender {
    /// Creates a client, whose answers have at most `limit` bytes and come within `timeout`.
    /// Without `tls`, certificates are checked against the system's authorities.
    ///
    /// # Errors
    /// If the files can't be used.
    pub fn new(tls: Option<TlsFiles>, timeout: Duration, limit: usize) -> Result<Self, HttpError> {
        let config = HttpConfig { tls, ..HttpConfig::new("https://", timeout) };
        let client = Client::builder(TokioExecutor::new()).build(connector(&config)?);
        Ok(Self { client, timeout, limit })
    }

    /// Sends a request, and returns the answer, whatever its status is.
    ///
    /// # Errors
    /// If there is no answer.
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
