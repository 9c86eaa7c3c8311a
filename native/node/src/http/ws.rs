//! JSON-RPC over one persistent WebSocket.
//!
//! The first request opens the connection, and the first request after the connection ended opens
//! it again. Requests get an id of their own on the wire, so that those of several callers can't be
//! mixed up, and answers get the caller's id back. An authorization is sent in the upgrade request,
//! since a server checks it once.
//!
//! # Bounds
//! * [`MAX_PENDING`] unanswered requests. A request that its caller abandoned no longer counts.
//! * An answer: the caller's limit in bytes. The connection does not read longer messages.
//! * A connection without a request for [`IDLE`] is closed.
//! * After a failed attempt to connect, requests fail at once during a pause that doubles from
//!   [`FIRST_PAUSE`] to [`LONGEST_PAUSE`].
//! * Time: the caller's limit. If nothing at all was received between a request and its
//!   abandonment, the connection is abandoned too.

use super::HttpError;
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use hyper::Uri;
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue};
use opp2p_wire::last_cause;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::value::{RawValue, to_raw_value};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

/// Maximum number of unanswered requests.
pub(super) const MAX_PENDING: usize = 64;
/// Time after which a connection without requests is closed.
pub(super) const IDLE: Duration = Duration::from_secs(60);
/// First pause after a failed attempt to connect. Each further one is twice as long.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Longest pause after a failed attempt to connect.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(4);

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A request on its way to the connection's task.
struct Question {
    body: Bytes,
    answer: oneshot::Sender<Result<Bytes, HttpError>>,
}

/// An unanswered request.
struct Pending {
    id: Box<RawValue>,
    answer: oneshot::Sender<Result<Bytes, HttpError>>,
}

/// State shared by callers and the connection's task.
#[derive(Default)]
struct Shared {
    /// Number of received messages.
    heard: AtomicU64,
    /// Whether the connection accepts no more requests.
    is_over: AtomicBool,
    /// Whether the connection was closed as idle, so that a request still in the queue was not
    /// sent.
    was_idle: AtomicBool,
    /// Wakes the task when a caller declares the connection dead.
    gave_up: Notify,
    /// The reason why the connection ended.
    why: OnceLock<HttpError>,
}

/// A connection that is believed to be open.
#[derive(Clone)]
struct Connection {
    questions: mpsc::Sender<Question>,
    shared: Arc<Shared>,
    /// Maximum size of a message that it reads, in bytes.
    limit: usize,
}

impl Connection {
    fn is_over(&self) -> bool {
        self.questions.is_closed() || self.shared.is_over.load(Ordering::SeqCst)
    }
}

#[derive(Default)]
struct State {
    connection: Option<Connection>,
    /// Time of the next permitted attempt to connect, and error of the last attempt.
    failed: Option<(Instant, HttpError)>,
    pause: Option<Duration>,
}

/// A client of one endpoint.
pub(super) struct WsClient {
    uri: Uri,
    host: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    tls: Option<TlsConnector>,
    state: tokio::sync::Mutex<State>,
}

impl WsClient {
    /// Creates a client without connecting. `tls` is for `wss://`.
    pub(super) fn new(
        uri: Uri,
        host: String,
        headers: Vec<(HeaderName, HeaderValue)>,
        tls: Option<ClientConfig>,
    ) -> Self {
        let tls = tls.map(|config| TlsConnector::from(Arc::new(config)));
        Self { uri, host, headers, tls, state: tokio::sync::Mutex::default() }
    }

    /// Sends a request and returns its answer, which is one JSON-RPC object. The caller must limit
    /// the time.
    pub(super) async fn ask(
        &self,
        body: Bytes,
        limit: usize,
        who: Option<HeaderValue>,
    ) -> Result<Bytes, HttpError> {
        loop {
            let connection = self.connection(limit, who.clone()).await?;
            let (answer, answered) = oneshot::channel();
            let question = Question { body: body.clone(), answer };
            let heard = connection.shared.heard.load(Ordering::SeqCst);
            let mut given_up = AbandonGuard { connection: &connection, heard: Some(heard) };
            if connection.questions.send(question).await.is_err() {
                // The connection ended before the request was sent.
                given_up.heard = None;
                continue;
            }
            let answer = answered.await;
            given_up.heard = None;
            let Ok(answer) = answer else {
                if connection.shared.was_idle.load(Ordering::SeqCst) {
                    continue;
                }
                let why = connection.shared.why.get().cloned();
                return Err(why.unwrap_or_else(|| self.closed()));
            };
            let answer = answer?;
            if answer.len() > limit {
                return Err(HttpError::TooLong { host: self.host.clone(), limit });
            }
            return Ok(answer);
        }
    }

    /// Returns the open connection, or opens a new one.
    async fn connection(
        &self,
        limit: usize,
        who: Option<HeaderValue>,
    ) -> Result<Connection, HttpError> {
        let mut state = self.state.lock().await;
        let standing = state.connection.as_ref();
        if let Some(connection) = standing.filter(|it| !it.is_over() && it.limit >= limit) {
            return Ok(connection.clone());
        }
        state.connection = None;
        if let Some((at, error)) = &state.failed
            && *at > Instant::now()
        {
            return Err(error.clone());
        }
        match self.connect(limit, who).await {
            Ok(socket) => {
                let shared = Arc::new(Shared::default());
                let (questions, asked) = mpsc::channel(MAX_PENDING);
                let host = self.host.clone();
                tokio::spawn(run(socket, asked, Arc::clone(&shared), host));
                let connection = Connection { questions, shared, limit };
                (state.failed, state.pause) = (None, None);
                state.connection = Some(connection.clone());
                Ok(connection)
            }
            Err(error) => {
                let pause = state.pause.unwrap_or(FIRST_PAUSE);
                state.pause = Some((pause * 2).min(LONGEST_PAUSE));
                state.failed = Some((Instant::now() + pause, error.clone()));
                Err(error)
            }
        }
    }

    async fn connect(
        &self,
        limit: usize,
        who: Option<HeaderValue>,
    ) -> Result<WebSocketStream<Box<dyn Stream>>, HttpError> {
        let name = self.uri.host().unwrap_or_default();
        let name = name.trim_start_matches('[').trim_end_matches(']');
        let port = self.uri.port_u16().unwrap_or(if self.tls.is_some() { 443 } else { 80 });
        let tcp = TcpStream::connect((name, port)).await;
        let tcp = tcp.map_err(|error| self.unreached(&error))?;
        // Each request is one write, and its caller waits for the answer.
        tcp.set_nodelay(true).map_err(|error| self.unreached(&error))?;
        let stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(tcp),
            Some(tls) => {
                let name = ServerName::try_from(name.to_owned()).map_err(|_| HttpError::Url)?;
                let stream = tls.connect(name, tcp).await;
                Box::new(stream.map_err(|error| self.unreached(&error))?)
            }
        };
        let mut request =
            self.uri.clone().into_client_request().map_err(|error| self.failed(error, limit))?;
        let headers = request.headers_mut();
        for (name, value) in &self.headers {
            headers.insert(name.clone(), value.clone());
        }
        if let Some(who) = who {
            headers.insert(AUTHORIZATION, who);
        }
        let config =
            WebSocketConfig::default().max_message_size(Some(limit)).max_frame_size(Some(limit));
        let connected = client_async_with_config(request, stream, Some(config)).await;
        connected.map(|(socket, _)| socket).map_err(|error| self.failed(error, limit))
    }

    fn unreached(&self, error: &io::Error) -> HttpError {
        HttpError::Unreached { host: self.host.clone(), why: last_cause(error) }
    }

    fn failed(&self, error: Error, limit: usize) -> HttpError {
        meaning(&self.host, error, limit)
    }

    fn closed(&self) -> HttpError {
        meaning(&self.host, Error::ConnectionClosed, 0)
    }
}

/// Converts an error of the connection to one for callers.
fn meaning(host: &str, error: Error, limit: usize) -> HttpError {
    let host = host.to_owned();
    match error {
        Error::Http(answer) => HttpError::Status { host, status: answer.status().as_u16() },
        Error::Capacity(_) => HttpError::TooLong { host, limit },
        Error::ConnectionClosed | Error::AlreadyClosed => {
            HttpError::Unreached { host, why: "the connection was closed".into() }
        }
        error => HttpError::Unreached { host, why: last_cause(&error) },
    }
}

/// Guard that ends the connection if its caller gives up and nothing was received since its
/// request.
struct AbandonGuard<'a> {
    connection: &'a Connection,
    heard: Option<u64>,
}

impl Drop for AbandonGuard<'_> {
    fn drop(&mut self) {
        let shared = &self.connection.shared;
        if self.heard == Some(shared.heard.load(Ordering::SeqCst)) {
            shared.is_over.store(true, Ordering::SeqCst);
            shared.gave_up.notify_one();
        }
    }
}

/// Carries requests and answers until the connection ends or the client is dropped.
async fn run(
    socket: WebSocketStream<Box<dyn Stream>>,
    mut questions: mpsc::Receiver<Question>,
    shared: Arc<Shared>,
    host: String,
) {
    let limit = socket.get_config().max_message_size.unwrap_or_default();
    let (mut sink, mut stream) = socket.split();
    let pending: Mutex<HashMap<u64, Pending>> = Mutex::default();
    let locked = || pending.lock().unwrap_or_else(PoisonError::into_inner);
    let write = async {
        let mut next = 0_u64;
        loop {
            let question = match timeout(IDLE, questions.recv()).await {
                Ok(Some(question)) => question,
                Ok(None) => return Ok(()),
                Err(_) if locked().is_empty() => {
                    shared.was_idle.store(true, Ordering::SeqCst);
                    return Ok(());
                }
                Err(_) => continue,
            };
            next += 1;
            let refuse = |answer: oneshot::Sender<_>, why: &str| {
                // The caller may have given up.
                let _ = answer
                    .send(Err(HttpError::Unreached { host: host.clone(), why: why.to_owned() }));
            };
            let Some((id, text)) = with_id(&question.body, next) else {
                refuse(question.answer, "the question is not JSON-RPC");
                continue;
            };
            {
                let mut pending = locked();
                pending.retain(|_, pending| !pending.answer.is_closed());
                if pending.len() >= MAX_PENDING {
                    refuse(question.answer, "too many questions are without an answer");
                    continue;
                }
                pending.insert(next, Pending { id, answer: question.answer });
            }
            sink.send(Message::text(text)).await?;
        }
    };
    let read = async {
        while let Some(message) = stream.next().await {
            let message = message?;
            shared.heard.fetch_add(1, Ordering::SeqCst);
            let text: &[u8] = match &message {
                Message::Text(text) => text.as_bytes(),
                Message::Binary(bytes) => bytes,
                _ => continue,
            };
            // Messages that answer no request, such as notifications, are dropped.
            let Ok(mut fields) = serde_json::from_slice::<Fields<'_>>(text) else { continue };
            let id = fields.get("id").and_then(|id| serde_json::from_str(id.get()).ok());
            let Some(asked) = id.and_then(|id: u64| locked().remove(&id)) else { continue };
            fields.insert("id".into(), &asked.id);
            if let Ok(answer) = serde_json::to_vec(&fields) {
                // The caller may have given up.
                let _ = asked.answer.send(Ok(answer.into()));
            }
        }
        Err(Error::ConnectionClosed)
    };
    let ended: Result<(), Error> = tokio::select! {
        ended = write => ended,
        ended = read => ended,
        () = shared.gave_up.notified() => Ok(()),
    };
    shared.is_over.store(true, Ordering::SeqCst);
    if let Err(error) = ended {
        // Fails only if it is already set.
        let _ = shared.why.set(meaning(&host, error, limit));
    }
}

/// A JSON object with unparsed values.
type Fields<'a> = BTreeMap<String, &'a RawValue>;

/// Replaces the id of a request. Returns the old id and the new body; `None` if the body is not a
/// request.
fn with_id(body: &[u8], id: u64) -> Option<(Box<RawValue>, String)> {
    let mut fields: Fields<'_> = serde_json::from_slice(body).ok()?;
    let ours = to_raw_value(&id).ok()?;
    let theirs = fields.insert("id".into(), &ours)?.to_owned();
    Some((theirs, serde_json::to_string(&fields).ok()?))
}
