//! An HTTP server for a small number of readers: GET and HEAD of in-memory content.
//!
//! It serves the observer page and the metrics; those modules supply the answers.
//!
//! # Bounds
//! * **Connections**: [`CONNECTIONS`], and [`CONNECTIONS_PER_ADDRESS`] from one address. The second
//!   limit does not apply to loopback, where a reverse proxy may act for many clients. Further
//!   connections are closed on arrival.
//! * **A connection**: 16 kB and 100 lines of headers, [`HEADER_TIME`] for each request's headers
//!   and between two requests, and [`CONNECTION_TIME`] in all. Request bodies are not read.

use crate::panics;
use futures::FutureExt;
use futures::future::BoxFuture;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// Maximum number of open connections.
pub const CONNECTIONS: usize = 256;
/// Maximum number of connections from one address other than loopback.
pub const CONNECTIONS_PER_ADDRESS: usize = 64;
/// Time limit for a request's headers, and for the pause between two requests.
pub const HEADER_TIME: Duration = Duration::from_secs(15);
/// Time limit for a whole connection.
pub const CONNECTION_TIME: Duration = Duration::from_secs(300);
/// Maximum size of a request's headers in bytes.
const HEADER_BYTES: usize = 16 * 1024;
/// Pause of the listener when the system has no resources for a connection.
const REST: Duration = Duration::from_millis(100);

/// Answer to a request, which may take time.
pub type Answering = BoxFuture<'static, Response<Full<Bytes>>>;

/// Request handler. It and its answer run on a task of the runtime, and must not block.
pub type Answer = dyn Fn(&Request<Incoming>) -> Answering + Send + Sync;

/// Serves in a separate task; `part` names the part of the node that is lost if that task panics.
pub fn start(part: &'static str, listener: TcpListener, answer: Arc<Answer>) -> JoinHandle<()> {
    tokio::spawn(panics::guard(part, serve(listener, answer)).map(drop))
}

/// Accepts connections until it is cancelled, which ends them all.
async fn serve(listener: TcpListener, answer: Arc<Answer>) {
    let mut connections = JoinSet::new();
    let mut held: BTreeMap<IpAddr, usize> = BTreeMap::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => {
                    let ip = from.ip().to_canonical();
                    let own = held.get(&ip).copied().unwrap_or_default();
                    let crowded = own >= CONNECTIONS_PER_ADDRESS && !ip.is_loopback();
                    if connections.len() < CONNECTIONS && !crowded {
                        held.insert(ip, own.saturating_add(1));
                        let answer = Arc::clone(&answer);
                        connections.spawn(async move { converse(stream, answer).await; ip });
                    }
                }
                // Either only this connection failed, or the system has no resources for any. In
                // that case, waiting helps.
                Err(_) => tokio::time::sleep(REST).await,
            },
            Some(ended) = connections.join_next() => {
                // A connection does not panic; if it did, its address would stay counted.
                if let Ok(ip) = ended && let Some(own) = held.get_mut(&ip) {
                    *own = own.saturating_sub(1);
                    if *own == 0 {
                        held.remove(&ip);
                    }
                }
            }
        }
    }
}

async fn converse(stream: TcpStream, answer: Arc<Answer>) {
    let service = service_fn(|request: Request<Incoming>| {
        let answer = answer(&request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIME).max_buf_size(HEADER_BYTES);
    // A failed connection is only the client's concern.
    let _ =
        tokio::time::timeout(CONNECTION_TIME, http.serve_connection(TokioIo::new(stream), service))
            .await;
}

/// Returns an answer of one content type that must not be cached.
pub fn text(
    status: StatusCode,
    kind: &'static str,
    text: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let text = text.into();
    let length = text.len();
    let mut answer = Response::new(Full::new(text));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CONTENT_LENGTH, length.into());
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// Returns the answer to a method other than GET and HEAD.
pub fn only_get_and_head() -> Response<Full<Bytes>> {
    let mut answer =
        text(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "only GET and HEAD are answered here\n");
    answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    // The request may have a body, which is not read.
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// Content type of plain text.
pub const PLAIN: &str = "text/plain; charset=utf-8";
