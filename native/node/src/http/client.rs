//! JSON client over HTTP, HTTPS or a WebSocket: one request body, one response body. It is used for
//! L1, an execution client, a remote signer, and the status of another node of this program.
//!
//! Errors contain the host but no other part of the address: the path and the user may be secrets.
//!
//! # Bounds
//! * An answer: the caller's limit in bytes, and the time of [`HttpConfig::timeout`], from before
//!   the name is resolved to the last byte.
//! * Redirects are not followed: the operator configured one endpoint.

use super::error::HttpError;
use super::ws::WsClient;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opp2p_wire::last_cause;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// PEM files of certificates and keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Trusted authorities, in place of the system's.
    pub ca: Option<PathBuf>,
    /// This client's certificate, followed by the intermediate certificates up to its authority.
    pub cert: Option<PathBuf>,
    /// The key of that certificate.
    pub key: Option<PathBuf>,
}

/// Endpoint and connection settings. `Debug` shows no more than errors do.
#[derive(Clone)]
pub struct HttpConfig {
    /// The endpoint: an `http://`, `https://`, `ws://` or `wss://` URL, with `user:password@` if it
    /// needs them.
    pub url: String,
    /// Headers of every request.
    pub headers: Vec<(String, String)>,
    /// Timeout of a request.
    pub timeout: Duration,
    /// Certificates for https; `None` for the system's authorities and no client certificate.
    pub tls: Option<TlsFiles>,
    /// Whether to require TLS 1.3.
    pub tls13_only: bool,
}

impl HttpConfig {
    /// Creates the settings for an endpoint without extra headers or certificates.
    pub fn new(url: &str, timeout: Duration) -> Self {
        Self { url: url.to_owned(), headers: Vec::new(), timeout, tls: None, tls13_only: false }
    }

    /// Checks that a client can be created, without connecting.
    ///
    /// # Errors
    /// If the settings are invalid.
    pub fn check(&self) -> Result<(), HttpError> {
        HttpClient::new(self).map(drop)
    }

    /// Returns the part of the endpoint that may be shown: the host and the port.
    fn shown(&self) -> String {
        self.url
            .parse()
            .map_or_else(|_| "an endpoint that is not a URL".into(), |uri| host_of(&uri))
    }
}

impl fmt::Debug for HttpConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { timeout, tls, tls13_only, .. } = self;
        f.debug_struct("HttpConfig")
            .field("host", &self.shown())
            .field("timeout", timeout)
            .field("tls", tls)
            .field("tls13_only", tls13_only)
            .finish_non_exhaustive()
    }
}

/// A client of one endpoint. Clones share its connections.
#[derive(Clone)]
pub struct HttpClient {
    way: Way,
    host: String,
    timeout: Duration,
}

/// Protocol of the endpoint.
#[derive(Clone)]
enum Way {
    Http(Arc<Http>),
    Ws(Arc<WsClient>),
}

/// An endpoint over HTTP.
struct Http {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    uri: Uri,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").field("host", &self.host).finish_non_exhaustive()
    }
}

impl HttpClient {
    /// Creates a client and reads its files, without connecting.
    ///
    /// # Errors
    /// If the settings are invalid.
    pub fn new(config: &HttpConfig) -> Result<Self, HttpError> {
        let uri: Uri = config.url.trim().parse().map_err(|_| HttpError::Url)?;
        let (is_secure, is_ws) = match uri.scheme_str() {
            Some("http") => (false, false),
            Some("https") => (true, false),
            Some("ws") => (false, true),
            Some("wss") => (true, true),
            Some(other) => return Err(HttpError::Scheme(other.into())),
            None => return Err(HttpError::Url),
        };
        let mut headers = Vec::new();
        for (name, value) in &config.headers {
            let header = (name.parse().ok(), HeaderValue::from_str(value).ok());
            let (Some(name), Some(mut value)) = header else {
                return Err(HttpError::Header(name.clone()));
            };
            value.set_sensitive(true);
            headers.push((name, value));
        }
        let (uri, user) = without_user(uri)?;
        if let Some(user) = user {
            let value =
                HeaderValue::from_str(&format!("Basic {user}")).map_err(|_| HttpError::Url)?;
            headers.push((AUTHORIZATION, value));
        }
        let (host, timeout) = (host_of(&uri), config.timeout);
        let tls = if is_secure { tls(config)? } else { without_roots(config)? };
        if is_ws {
            let client = WsClient::new(uri, host.clone(), headers, is_secure.then_some(tls));
            return Ok(Self { way: Way::Ws(client.into()), host, timeout });
        }
        let client = Client::builder(TokioExecutor::new()).build(with_tls(tls));
        Ok(Self { way: Way::Http(Arc::new(Http { client, uri, headers })), host, timeout })
    }

    /// Returns the host and port of the endpoint, without secrets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Posts a JSON body. Returns the body of the answer, of at most `limit` bytes.
    ///
    /// # Errors
    /// If the request fails.
    pub async fn post(&self, body: Bytes, limit: usize) -> Result<Bytes, HttpError> {
        self.post_as(body, limit, None).await
    }

    /// Posts like [`Self::post`], with an authorization for this request only.
    ///
    /// # Errors
    /// If the request fails.
    pub async fn post_as(
        &self,
        body: Bytes,
        limit: usize,
        who: Option<HeaderValue>,
    ) -> Result<Bytes, HttpError> {
        let late = || HttpError::Timeout { host: self.host.clone(), after: self.timeout };
        tokio::time::timeout(self.timeout, self.exchange(body, limit, who))
            .await
            .map_err(|_| late())?
    }

    async fn exchange(
        &self,
        body: Bytes,
        limit: usize,
        who: Option<HeaderValue>,
    ) -> Result<Bytes, HttpError> {
        let host = || self.host.clone();
        let (client, uri, own) = match &self.way {
            Way::Http(http) => (&http.client, &http.uri, &http.headers),
            Way::Ws(client) => return client.ask(body, limit, who).await,
        };
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri.clone();
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in own {
            headers.insert(name.clone(), value.clone());
        }
        if let Some(who) = who {
            headers.insert(AUTHORIZATION, who);
        }
        let answer = client.request(request).await;
        let answer =
            answer.map_err(|error| HttpError::Unreached { host: host(), why: cause(&error) })?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), limit).collect().await.map_err(|error| {
            match error.is::<LengthLimitError>() {
                true => HttpError::TooLong { host: host(), limit },
                false => HttpError::Unreached { host: host(), why: last_cause(&*error) },
            }
        })?;
        let body = body.to_bytes();
        // JSON-RPC has its own errors, which servers send with various HTTP statuses.
        let is_json = body.trim_ascii_start().first() == Some(&b'{');
        match status {
            StatusCode::OK => Ok(body),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS => {
                Err(HttpError::Status { host: host(), status: status.as_u16() })
            }
            _ if is_json => Ok(body),
            _ => Err(HttpError::Status { host: host(), status: status.as_u16() }),
        }
    }
}

/// Returns a connector for `http://` and `https://` with the TLS files of `config`.
pub(super) fn connector(config: &HttpConfig) -> Result<HttpsConnector<HttpConnector>, HttpError> {
    tls(config).map(with_tls)
}

fn with_tls(tls: ClientConfig) -> HttpsConnector<HttpConnector> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    // Otherwise the last segment of a large request waits for an acknowledgement.
    connector.set_nodelay(true);
    HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .wrap_connector(connector)
}

/// Describes why a request failed.
pub(super) fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    let why = last_cause(error);
    // A server without TLS answers the handshake with plain text.
    match why.contains("InvalidContentType") {
        true => {
            "the server does not use TLS on this port: write http:// in place of https://".into()
        }
        false => why,
    }
}

/// Returns the host and port, without the user.
pub(super) fn host_of(uri: &Uri) -> String {
    let host = uri.host().unwrap_or_default();
    uri.port_u16().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Returns the URI without the user, and `user:password` in base64 for the header.
fn without_user(uri: Uri) -> Result<(Uri, Option<String>), HttpError> {
    use base64::Engine;
    let authority =
        uri.authority().map(|authority| authority.as_str().to_owned()).unwrap_or_default();
    let Some((user, place)) = authority.rsplit_once('@') else { return Ok((uri, None)) };
    let has_password = user.contains(':');
    let mut user: Vec<u8> = percent_encoding::percent_decode_str(user).collect();
    // The colon is part of the credentials even without a password (RFC 7617).
    if !has_password {
        user.push(b':');
    }
    let user = base64::prelude::BASE64_STANDARD.encode(user);
    let mut parts = uri.into_parts();
    parts.authority = Some(place.parse().map_err(|_| HttpError::Url)?);
    let uri = Uri::from_parts(parts).map_err(|_| HttpError::Url)?;
    Ok((uri, Some(user)))
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Returns a configuration without trusted authorities, for `http://`, where no certificate is
/// checked.
fn without_roots(config: &HttpConfig) -> Result<ClientConfig, HttpError> {
    builder(config)
        .map(|builder| builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

fn builder(
    config: &HttpConfig,
) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, HttpError> {
    let versions: &[_] = if config.tls13_only { &[&TLS13] } else { &[&TLS13, &TLS12] };
    // The provider supports both versions.
    ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .map_err(|_| HttpError::NoRoots)
}

fn tls(config: &HttpConfig) -> Result<ClientConfig, HttpError> {
    let files = config.tls.clone().unwrap_or_default();
    let mut roots = RootCertStore::empty();
    match &files.ca {
        Some(file) => {
            for certificate in certificates(file)? {
                roots.add(certificate).map_err(|error| {
                    refused(file, &format!("is not a certificate authority: {error}"))
                })?;
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                return Err(HttpError::NoRoots);
            }
        }
    }
    let builder = builder(config)?.with_root_certificates(roots);
    match (&files.cert, &files.key) {
        (Some(cert), Some(key)) => {
            let chain = certificates(cert)?;
            let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| {
                refused(
                    key,
                    &format!("holds no private key in PEM ({error}): give the certificate's"),
                )
            })?;
            builder.with_client_auth_cert(chain, secret).map_err(|error| {
                refused(
                    cert,
                    &format!("does not fit its key ({error}): give the two that belong together"),
                )
            })
        }
        _ => Ok(builder.with_no_client_auth()),
    }
}

fn refused(file: &Path, why: &str) -> HttpError {
    HttpError::Tls { file: file.to_owned(), why: why.to_owned() }
}

/// Reads at least one certificate.
fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, HttpError> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(list) if !list.is_empty() => Ok(list),
        Ok(_) => Err(refused(file, "holds no certificate in PEM: give one that does")),
        Err(error) => Err(refused(file, &format!("can't be read as certificates in PEM: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    const TIME: Duration = Duration::from_secs(20);

    /// Answers one connection with these bytes, and returns the request that it received.
    async fn serve(answer: &'static [u8]) -> (String, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let task = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a client");
            let mut asked = Vec::new();
            let mut buffer = [0; 4096];
            while !asked.ends_with(b"{}") {
                match stream.read(&mut buffer).await {
                    Ok(read @ 1..) => asked.extend_from_slice(&buffer[..read]),
                    _ => break,
                }
            }
            // A client that has read enough may already be gone.
            let _ = stream.write_all(answer).await;
            String::from_utf8_lossy(&asked).into_owned()
        });
        (address, task)
    }

    async fn post(url: &str, limit: usize) -> Result<Bytes, HttpError> {
        HttpClient::new(&HttpConfig::new(url, TIME))?.post(Bytes::from_static(b"{}"), limit).await
    }

    #[tokio::test]
    async fn a_request_body_is_sent_and_an_answer_body_is_received() {
        let (host, asked) = serve(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n{\"a\"").await;
        let mut config = HttpConfig::new(&format!("http://us%40er:pass@{host}/key?x=1"), TIME);
        config.headers.push(("X-Key".into(), "v=1".into()));
        let client = HttpClient::new(&config).expect("a client");
        assert_eq!(client.post(Bytes::from_static(b"{}"), 4).await.as_deref(), Ok(&b"{\"a\""[..]));
        let asked = asked.await.expect("served").to_lowercase();
        assert!(asked.starts_with("post /key?x=1 http/1.1\r\n"), "{asked}");
        for line in [
            "content-type: application/json",
            "x-key: v=1",
            "authorization: basic dxnazxi6cgfzcw==",
        ] {
            assert!(asked.contains(&format!("\r\n{line}\r\n")), "{line} in {asked}");
        }
        assert!(asked.contains(&format!("host: {host}\r\n")), "{asked}");
    }

    #[test]
    fn the_user_name_ends_with_a_colon_with_or_without_a_password() {
        for (user, expected) in [
            ("TOKEN", "VE9LRU46"),
            ("TOKEN:", "VE9LRU46"),
            ("TOKEN:pass", "VE9LRU46cGFzcw=="),
            ("TO%3AKEN", "VE86S0VOOg=="),
            (":pass", "OnBhc3M="),
        ] {
            let uri = format!("http://{user}@localhost:1/x").parse().expect("a URI");
            let (uri, found) = without_user(uri).expect("a host");
            assert_eq!(
                (uri.to_string().as_str(), found.as_deref()),
                ("http://localhost:1/x", Some(expected))
            );
        }
    }

    #[tokio::test]
    async fn a_too_long_answer_is_not_read_to_the_end() {
        let (host, _asked) = serve(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n12345").await;
        let error = post(&format!("http://{host}"), 4).await;
        assert_eq!(error, Err(HttpError::TooLong { host, limit: 4 }));
    }

    #[tokio::test]
    async fn a_failure_status_is_an_error_unless_it_has_a_json_body() {
        let (host, _asked) =
            serve(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 6\r\n\r\n<html>").await;
        assert_eq!(
            post(&format!("http://{host}"), 99).await,
            Err(HttpError::Status { host, status: 502 })
        );
        let (host, _asked) = serve(b"HTTP/1.1 500 Oh\r\ncontent-length: 2\r\n\r\n{}").await;
        assert_eq!(post(&format!("http://{host}"), 99).await.as_deref(), Ok(&b"{}"[..]));
        let (host, _asked) = serve(b"HTTP/1.1 401 No\r\ncontent-length: 2\r\n\r\n{}").await;
        assert_eq!(
            post(&format!("http://{host}"), 99).await,
            Err(HttpError::Status { host, status: 401 })
        );
    }

    #[test]
    fn a_server_without_tls_is_recognised() {
        let plain = rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
        assert!(cause(&plain).contains("write http:// in place of https://"), "{}", cause(&plain));
        let other = std::io::Error::other("refused");
        assert_eq!(cause(&other), "refused");
    }

    #[tokio::test]
    async fn an_unresponsive_server_is_abandoned_and_errors_contain_no_secrets() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let host = listener.local_addr().expect("bound").to_string();
        let config =
            HttpConfig::new(&format!("http://u:secret@{host}/secret"), Duration::from_millis(50));
        let client = HttpClient::new(&config).expect("a client");
        let error = client.post(Bytes::from_static(b"{}"), 9).await;
        assert_eq!(
            error,
            Err(HttpError::Timeout { host: host.clone(), after: Duration::from_millis(50) })
        );
        drop(listener);
        let error =
            post(&format!("http://u:secret@{host}/secret"), 9).await.expect_err("no server");
        assert!(
            matches!(&error, HttpError::Unreached { host: named, .. } if *named == host),
            "{error:?}"
        );
        let config = HttpConfig::new(&format!("http://u:secret@{host}/secret"), TIME);
        for shown in
            [error.to_string(), format!("{error:?}"), format!("{config:?}"), format!("{client:?}")]
        {
            assert!(!shown.contains("secret"), "{shown}");
        }
    }

    #[test]
    fn invalid_endpoints_are_refused() {
        let check = |url: &str| HttpConfig::new(url, TIME).check();
        for url in ["", "localhost:8545", "http://", "http:// a", "/path"] {
            assert!(check(url).is_err(), "{url:?}");
        }
        assert_eq!(check("ftp://localhost:8546"), Err(HttpError::Scheme("ftp".into())));
        assert_eq!(check("ws://localhost:8546"), Ok(()));
        let header = |name: &str, value: &str| {
            let mut config = HttpConfig::new("http://localhost", TIME);
            config.headers.push((name.into(), value.into()));
            config.check()
        };
        assert_eq!(header("a b", "c"), Err(HttpError::Header("a b".into())));
        assert_eq!(header("a", "\n"), Err(HttpError::Header("a".into())));
        assert_eq!(header("a", "b"), Ok(()));
    }

    #[test]
    fn invalid_certificates_are_refused_by_file_name() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("ca.pem");
        let check = || {
            let mut config = HttpConfig::new("https://localhost", TIME);
            config.tls = Some(TlsFiles { ca: Some(file.clone()), ..TlsFiles::default() });
            config.check().expect_err("no certificate").to_string()
        };
        assert!(check().contains("ca.pem"));
        std::fs::write(&file, "nothing").expect("written");
        assert!(check().contains("ca.pem holds no certificate"), "{}", check());
    }
}
