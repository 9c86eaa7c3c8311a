//! Lets the ACME library use this crate's HTTP client, which bounds the size and time of answers.

use crate::http::HttpSender;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
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
