//! Lets the ACME library use this crate's HTTP client, which bounds the size and time of answers.

use crate::http::{HttpError, HttpSender};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Uri};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use std::pin::Pin;
use std::time::Duration;

/// Maximum size of an answer, in bytes. The largest is a certificate with its chain.
pub(super) const MAX_ANSWER: usize = 1 << 20;
/// Timeout of one request. It includes the broker's connection to this node.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);

/// The HTTP client of the ACME library.
#[derive(Clone, Debug)]
pub(super) struct AcmeHttp(pub(super) HttpSender);

impl HttpClient for AcmeHttp {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let sender = self.0.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            // Reading a body in memory can't fail.
            let body =
                body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            let request = Request::from_parts(head, Full::new(body));
            let answer =
                sender.send(request).await.map_err(|error| Error::Other(Box::new(error)))?;
            Ok(BytesResponse::from(answer.map(Full::new)))
        })
    }
}

/// Returns the host of a URL, with the port if the URL has one, for messages.
pub(super) fn host_of(url: &str) -> Result<String, HttpError> {
    let uri: Uri = url.parse().map_err(|_| HttpError::Url)?;
    match uri.scheme_str() {
        Some("http" | "https") => {}
        Some(other) => return Err(HttpError::Scheme(other.to_owned())),
        None => return Err(HttpError::Url),
    }
    let host = uri.host().filter(|host| !host.is_empty()).ok_or(HttpError::Url)?;
    Ok(uri.port_u16().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_by_its_host() {
        assert_eq!(host_of(super::super::LETS_ENCRYPT), Ok("acme-v02.api.letsencrypt.org".into()));
        assert_eq!(host_of("https://127.0.0.1:14000/dir"), Ok("127.0.0.1:14000".into()));
        assert_eq!(host_of("ftp://a/dir"), Err(HttpError::Scheme("ftp".into())));
        for wrong in ["", "a.example", "https://", "/directory"] {
            assert_eq!(host_of(wrong), Err(HttpError::Url), "{wrong}");
        }
    }
}
