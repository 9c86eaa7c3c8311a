//! Asking a JSON-RPC server over HTTP or HTTPS: one body up, one body down. For L1, a remote signer, and a node of this
//! program that is asked how it is.
//!
//! Errors name the host and nothing else of the address: its path and its user may be secrets.
//!
//! # Bounds
//! * An answer: as many bytes as the caller says, in the time of [`HttpConfig::timeout`], which counts from before the
//!   name is resolved to the last byte.
//! * Redirects: none is followed. Who names an endpoint means that one.

use crate::swarm::last_cause;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Certificates in files, in PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Authorities that are trusted, in place of the system's.
    pub ca: Option<PathBuf>,
    /// This client's certificate, with those between it and its authority.
    pub cert: Option<PathBuf>,
    /// The key of that certificate.
    pub key: Option<PathBuf>,
}

/// Whom to ask, and how. `Debug` shows no more than an error does.
#[derive(Clone)]
pub struct HttpConfig {
    /// The endpoint, `http://` or `https://`, with `user:password@` if it wants them.
    pub url: String,
    /// Headers that go with each question.
    pub headers: Vec<(String, String)>,
    /// Time for one answer.
    pub timeout: Duration,
    /// Certificates for https; `None`: the system's authorities, and none of one's own.
    pub tls: Option<TlsFiles>,
    /// Whether nothing below TLS 1.3 is spoken.
    pub tls13_only: bool,
}

impl HttpConfig {
    /// An endpoint without more.
    pub fn new(url: &str, timeout: Duration) -> Self {
        Self { url: url.to_owned(), headers: Vec::new(), timeout, tls: None, tls13_only: false }
    }

    /// Whether a client can be made of it; nobody is asked.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), HttpError> {
        HttpClient::new(self).map(drop)
    }

    /// What may be shown of the endpoint.
    fn shown(&self) -> String {
        self.url.parse().map_or_else(|_| "an endpoint that is no URL".into(), |uri| host_of(&uri))
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

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// The endpoint is none.
    #[error("the endpoint is no URL: write http://HOST:PORT or https://HOST")]
    Url,
    /// The endpoint speaks something else.
    #[error("the endpoint is on {0}://, and only http:// and https:// are spoken: give one of those")]
    Scheme(String),
    /// A header can't be sent.
    #[error("the header {0:?} can't be sent over HTTP: correct its name or its value")]
    Header(String),
    /// A certificate or key can't be used.
    #[error("{} {why}", file.display())]
    Tls {
        /// The file.
        file: PathBuf,
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// The system has no authorities to trust.
    #[error("the system's certificate authorities can't be read: install them (ca-certificates)")]
    NoRoots,
    /// Nobody is reached.
    #[error("{host} is not reached: {why}")]
    Unreached {
        /// The host.
        host: String,
        /// The last cause.
        why: String,
    },
    /// It took too long.
    #[error("{host} did not answer within {} s", after.as_secs_f32())]
    Timeout {
        /// The host.
        host: String,
        /// For how long was waited.
        after: Duration,
    },
    /// The answer is longer than it may be.
    #[error("the answer of {host} has more than {limit} bytes")]
    TooLong {
        /// The host.
        host: String,
        /// Most bytes.
        limit: usize,
    },
    /// The server answers that there is no answer.
    #[error("{host} answers with HTTP status {status}")]
    Status {
        /// The host.
        host: String,
        /// The status.
        status: u16,
    },
}

/// A client of one endpoint. Clones share its connections.
#[derive(Clone)]
pub struct HttpClient {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    uri: Uri,
    host: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    timeout: Duration,
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").field("host", &self.host).finish_non_exhaustive()
    }
}

impl HttpClient {
    /// Reads the files that are named; nobody is asked yet.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub fn new(config: &HttpConfig) -> Result<Self, HttpError> {
        let uri: Uri = config.url.trim().parse().map_err(|_| HttpError::Url)?;
        let is_secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            Some(other) => return Err(HttpError::Scheme(other.into())),
            None => return Err(HttpError::Url),
        };
        let mut headers = Vec::new();
        for (name, value) in &config.headers {
            let header = (name.parse().ok(), HeaderValue::from_str(value).ok());
            let (Some(name), Some(mut value)) = header else { return Err(HttpError::Header(name.clone())) };
            value.set_sensitive(true);
            headers.push((name, value));
        }
        let (uri, user) = without_user(uri)?;
        if let Some(user) = user {
            let value = HeaderValue::from_str(&format!("Basic {user}")).map_err(|_| HttpError::Url)?;
            headers.push((AUTHORIZATION, value));
        }
        let tls = if is_secure { tls(config)? } else { nothing_trusted(config)? };
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { client, host: host_of(&uri), uri, headers, timeout: config.timeout })
    }

    /// Posts a JSON body; the body of the answer, of at most `limit` bytes.
    ///
    /// # Errors
    /// If there is none.
    pub async fn post(&self, body: Bytes, limit: usize) -> Result<Bytes, HttpError> {
        self.post_as(body, limit, None).await
    }

    /// As [`Self::post`], with an authorization for this question alone.
    ///
    /// # Errors
    /// If there is none.
    pub async fn post_as(
        &self,
        body: Bytes,
        limit: usize,
        who: Option<HeaderValue>,
    ) -> Result<Bytes, HttpError> {
        let late = || HttpError::Timeout { host: self.host.clone(), after: self.timeout };
        tokio::time::timeout(self.timeout, self.exchange(body, limit, who)).await.map_err(|_| late())?
    }

    async fn exchange(
        &self,
        body: Bytes,
        limit: usize,
        who: Option<HeaderValue>,
    ) -> Result<Bytes, HttpError> {
        let host = || self.host.clone();
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in &self.headers {
            headers.insert(name.clone(), value.clone());
        }
        if let Some(who) = who {
            headers.insert(AUTHORIZATION, who);
        }
        let answer = self.client.request(request).await;
        let answer =
            answer.map_err(|error| HttpError::Unreached { host: host(), why: last_cause(&error) })?;
        let status = answer.status();
        let body =
            Limited::new(answer.into_body(), limit).collect().await.map_err(|error| match error
                .is::<LengthLimitError>(
            ) {
                true => HttpError::TooLong { host: host(), limit },
                false => HttpError::Unreached { host: host(), why: last_cause(&*error) },
            })?;
        let body = body.to_bytes();
        // JSON-RPC has its own errors, and servers send them with statuses of all kinds.
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

/// The host and port, without a user.
fn host_of(uri: &Uri) -> String {
    let host = uri.host().unwrap_or_default();
    uri.port_u16().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// What goes into the request's line, and `user:password` for the header.
fn without_user(uri: Uri) -> Result<(Uri, Option<String>), HttpError> {
    use base64::Engine;
    let authority = uri.authority().map(|authority| authority.as_str().to_owned()).unwrap_or_default();
    let Some((user, place)) = authority.rsplit_once('@') else { return Ok((uri, None)) };
    let user = base64::prelude::BASE64_STANDARD
        .encode(percent_encoding::percent_decode_str(user).collect::<Vec<u8>>());
    let mut parts = uri.into_parts();
    parts.authority = Some(place.parse().map_err(|_| HttpError::Url)?);
    let uri = Uri::from_parts(parts).map_err(|_| HttpError::Url)?;
    Ok((uri, Some(user)))
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// For `http://`, where no certificate is ever looked at.
fn nothing_trusted(config: &HttpConfig) -> Result<ClientConfig, HttpError> {
    builder(config)
        .map(|builder| builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

fn builder(
    config: &HttpConfig,
) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, HttpError> {
    let versions: &[_] = if config.tls13_only { &[&TLS13] } else { &[&TLS13, &TLS12] };
    // The provider knows both.
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
                roots
                    .add(certificate)
                    .map_err(|error| refused(file, &format!("is no certificate authority: {error}")))?;
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
                refused(key, &format!("holds no private key in PEM ({error}): give the certificate's"))
            })?;
            builder.with_client_auth_cert(chain, secret).map_err(|error| {
                refused(cert, &format!("does not fit its key ({error}): give the two that belong together"))
            })
        }
        _ => Ok(builder.with_no_client_auth()),
    }
}

fn refused(file: &Path, why: &str) -> HttpError {
    HttpError::Tls { file: file.to_owned(), why: why.to_owned() }
}

/// At least one certificate.
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

    /// Answers one connection with these bytes; what it was asked.
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
            // A client that has read enough may be gone.
            let _ = stream.write_all(answer).await;
            String::from_utf8_lossy(&asked).into_owned()
        });
        (address, task)
    }

    async fn post(url: &str, limit: usize) -> Result<Bytes, HttpError> {
        HttpClient::new(&HttpConfig::new(url, TIME))?.post(Bytes::from_static(b"{}"), limit).await
    }

    #[tokio::test]
    async fn a_body_goes_up_and_one_comes_down() {
        let (host, asked) = serve(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n{\"a\"").await;
        let mut config = HttpConfig::new(&format!("http://us%40er:pass@{host}/key?x=1"), TIME);
        config.headers.push(("X-Key".into(), "v=1".into()));
        let client = HttpClient::new(&config).expect("a client");
        assert_eq!(client.post(Bytes::from_static(b"{}"), 4).await.as_deref(), Ok(&b"{\"a\""[..]));
        let asked = asked.await.expect("served").to_lowercase();
        assert!(asked.starts_with("post /key?x=1 http/1.1\r\n"), "{asked}");
        for line in ["content-type: application/json", "x-key: v=1", "authorization: basic dxnazxi6cgfzcw=="]
        {
            assert!(asked.contains(&format!("\r\n{line}\r\n")), "{line} in {asked}");
        }
        assert!(asked.contains(&format!("host: {host}\r\n")), "{asked}");
    }

    #[tokio::test]
    async fn an_answer_that_is_too_long_is_not_read_to_its_end() {
        let (host, _asked) = serve(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n12345").await;
        let error = post(&format!("http://{host}"), 4).await;
        assert_eq!(error, Err(HttpError::TooLong { host, limit: 4 }));
    }

    #[tokio::test]
    async fn a_status_is_an_error_unless_json_comes_with_it() {
        let (host, _asked) = serve(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 6\r\n\r\n<html>").await;
        assert_eq!(post(&format!("http://{host}"), 99).await, Err(HttpError::Status { host, status: 502 }));
        let (host, _asked) = serve(b"HTTP/1.1 500 Oh\r\ncontent-length: 2\r\n\r\n{}").await;
        assert_eq!(post(&format!("http://{host}"), 99).await.as_deref(), Ok(&b"{}"[..]));
        let (host, _asked) = serve(b"HTTP/1.1 401 No\r\ncontent-length: 2\r\n\r\n{}").await;
        assert_eq!(post(&format!("http://{host}"), 99).await, Err(HttpError::Status { host, status: 401 }));
    }

    #[tokio::test]
    async fn who_does_not_answer_is_left_and_who_is_not_there_is_named_without_secrets() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let host = listener.local_addr().expect("bound").to_string();
        let config = HttpConfig::new(&format!("http://u:secret@{host}/secret"), Duration::from_millis(50));
        let client = HttpClient::new(&config).expect("a client");
        let error = client.post(Bytes::from_static(b"{}"), 9).await;
        assert_eq!(error, Err(HttpError::Timeout { host: host.clone(), after: Duration::from_millis(50) }));
        drop(listener);
        let error = post(&format!("http://u:secret@{host}/secret"), 9).await.expect_err("nobody there");
        assert!(matches!(&error, HttpError::Unreached { host: named, .. } if *named == host), "{error:?}");
        let config = HttpConfig::new(&format!("http://u:secret@{host}/secret"), TIME);
        for shown in [error.to_string(), format!("{error:?}"), format!("{config:?}"), format!("{client:?}")] {
            assert!(!shown.contains("secret"), "{shown}");
        }
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        let check = |url: &str| HttpConfig::new(url, TIME).check();
        for url in ["", "localhost:8545", "http://", "http:// a", "/path"] {
            assert!(check(url).is_err(), "{url:?}");
        }
        assert_eq!(check("ws://localhost:8546"), Err(HttpError::Scheme("ws".into())));
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
    fn certificates_that_are_none_are_refused_by_the_name_of_their_file() {
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
