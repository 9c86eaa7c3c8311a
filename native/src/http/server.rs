//! An HTTP server for a few readers: GET and HEAD of what is in memory.
//!
//! The observer page and the metrics are served by it; what they answer is theirs.
//!
//! # Bounds
//! * **Connections**: [`CONNECTIONS`], of them [`CONNECTIONS_PER_ADDRESS`] from one address that is not
//!   loopback, where a reverse proxy stands for many. The next is closed as it comes.
//! * **A connection**: 16 kB and 100 lines of headers, [`HEADER_TIME`] to send them or to ask for more, and
//!   [`CONNECTION_TIME`] in all. Request bodies are not read.

use crate::panics;
use futures::FutureExt;
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

/// Connections at a time.
pub const CONNECTIONS: usize = 256;
/// The same of one address other than loopback.
pub const CONNECTIONS_PER_ADDRESS: usize = 64;
/// Time for a request's headers, and between two requests.
pub const HEADER_TIME: Duration = Duration::from_secs(15);
/// Time for a connection as a whole.
pub const CONNECTION_TIME: Duration = Duration::from_secs(300);
/// Bytes of a request's headers.
const HEADER_BYTES: usize = 16 * 1024;
/// How long the listener rests when the system has no room for a connection.
const REST: Duration = Duration::from_millis(100);

/// What answers requests. It is called on a task of the runtime and must not wait for anything.
pub(crate) type Answer = dyn Fn(&Request<Incoming>) -> Response<Full<Bytes>> + Send + Sync;

/// Serves in a task of its own; `part` is what is lost if that panics.
pub(crate) fn start(part: &'static str, listener: TcpListener, answer: Arc<Answer>) -> JoinHandle<()> {
    tokio::spawn(panics::guard(part, serve(listener, answer)).map(drop))
}

/// Accepts until it is cancelled, and all connections with it.
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
                // The one that failed is gone, or there is no room for any: then it helps to wait.
                Err(_) => tokio::time::sleep(REST).await,
            },
            Some(ended) = connections.join_next() => {
                // A connection has no panic of its own; its address would merely stay counted.
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
        async move { Ok::<_, Infallible>(answer) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIME).max_buf_size(HEADER_BYTES);
    // However it ends, it is the visitor's business.
    let _ = tokio::time::timeout(CONNECTION_TIME, http.serve_connection(TokioIo::new(stream), service)).await;
}

/// An answer of one kind that nobody is to keep.
pub(crate) fn text(status: StatusCode, kind: &'static str, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
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

/// The answer to a method other than GET and HEAD.
pub(crate) fn only_get_and_head() -> Response<Full<Bytes>> {
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "only GET and HEAD are answered here\n");
    answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    // A body may follow that nobody reads.
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// Text for people.
pub(crate) const PLAIN: &str = "text/plain; charset=utf-8";
