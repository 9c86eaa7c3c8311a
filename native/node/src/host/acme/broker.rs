//! Client of the p2p-forge broker, which publishes a node's `dns-01` challenge response as a DNS
//! record.
//!
//! The broker authenticates the node by its peer key. It publishes only for reachable nodes, so it
//! connects to the node by libp2p first.
//!
//! # Bounds
//! Two requests per registration, within the bounds of [`HttpSender`].

use super::client::host_of;
use super::error::AcmeError;
use super::peer_auth::{CHALLENGE_BYTES, Challenge};
use crate::host::config::DEFAULT_AGENT;
use crate::http::{HttpError, HttpSender};
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT, WWW_AUTHENTICATE};
use hyper::{Method, Request, Response, StatusCode, Uri};
use libp2p::Multiaddr;
use libp2p::identity::Keypair;
use serde_json::json;

/// Path of registrations.
const PATH: &str = "/v1/_acme-challenge";
/// Maximum length of the broker's error text, in characters.
const LONGEST_REASON: usize = 200;

/// Client of one broker.
#[derive(Debug)]
pub(super) struct Broker {
    http: HttpSender,
    uri: Uri,
    /// Host and port: the value of the `Host` header.
    host: String,
}

impl Broker {
    /// Creates a client of the broker at `url`, without connecting. The URL has no path.
    ///
    /// # Errors
    /// If `url` is not a URL with a host.
    pub(super) fn new(http: HttpSender, url: &str) -> Result<Self, HttpError> {
        let uri: Uri =
            format!("{}{PATH}", url.trim_end_matches('/')).parse().map_err(|_| HttpError::Url)?;
        Ok(Self { http, uri, host: host_of(url)? })
    }

    /// Asks the broker to publish a challenge response for the node with this key. The broker
    /// connects to one of `addresses`.
    pub(super) async fn publish(
        &self,
        key: &Keypair,
        value: &str,
        addresses: &[Multiaddr],
    ) -> Result<(), AcmeError> {
        let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        let body = Bytes::from(json!({"value": value, "addresses": addresses}).to_string());
        // The broker answers the first request with a challenge, whatever the body is.
        let asked = self.send(Bytes::new(), None).await?;
        let header = asked.headers().get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
        let Some(challenge) = header.and_then(Challenge::read) else {
            return Err(self.refused(&format!(
                "it asks for no peer key, and answers with HTTP status {}",
                asked.status().as_u16()
            )));
        };
        let mut own = [0; CHALLENGE_BYTES];
        getrandom::fill(&mut own).map_err(|error| AcmeError::Proof(error.to_string()))?;
        let answer = challenge
            .answer(key, &self.host, &own)
            .ok_or_else(|| AcmeError::Proof("the peer key does not sign".into()))?;
        let answered = self.send(body, Some(answer)).await?;
        match answered.status() {
            StatusCode::OK => Ok(()),
            status => Err(self.refused(&reason(status, answered.body()))),
        }
    }

    async fn send(&self, body: Bytes, who: Option<String>) -> Result<Response<Bytes>, AcmeError> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(self.uri.clone())
            .header(HOST, &self.host)
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, DEFAULT_AGENT);
        if let Some(who) = who {
            request = request.header(AUTHORIZATION, who);
        }
        let request = request.body(Full::new(body)).map_err(|_| HttpError::Url)?;
        Ok(self.http.send(request).await?)
    }

    fn refused(&self, why: &str) -> AcmeError {
        AcmeError::Broker { host: self.host.clone(), why: why.to_owned() }
    }
}

/// Returns the broker's error text, or else the status.
fn reason(status: StatusCode, body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let text: String = text.trim().chars().take(LONGEST_REASON).collect();
    if text.is_empty() { format!("HTTP status {}", status.as_u16()) } else { text }
}
