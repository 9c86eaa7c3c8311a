//! WebSockets: the same calls as over HTTP, and subscriptions.
//!
//! The calls of one connection are answered as each is ready. While a message is written, nothing
//! is read.
//!
//! # Bounds
//! * **A message to the server**: the settings' size of a request, for every caller. A longer one
//!   is answered with an error, and ends the connection.
//! * **Calls**: [`CALLS`] at once. While as many run, nothing is read.
//! * **A message to the client** leaves in frames of [`FRAME`] bytes, so that no buffer grows to
//!   the size of an answer.
//! * **Time**: a client that sends nothing, not even an answer to a ping, for [`SILENCE`] is
//!   disconnected.

use super::access::Caller;
use super::context::Rpc;
use super::dispatch::{Dispatcher, Reply, Subscribed, refusal};
use super::error::REQUEST_TOO_LONG;
use super::limits::{MESSAGES, RpcLimits};
use super::link::{Closing, Link};
use super::sink::Outgoing;
use futures::{SinkExt, StreamExt};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, HeaderMap, HeaderName, UPGRADE};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, Frame};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

/// Maximum number of unanswered calls of one connection.
pub(super) const CALLS: usize = 64;
/// Maximum size of a frame to the client, in bytes.
const FRAME: usize = 64 * 1024;
/// Size of the buffer that is read into, in bytes.
const READ_BUFFER: usize = 16 * 1024;
/// Time between two pings.
const PING_EVERY: Duration = Duration::from_secs(20);
/// Maximum time without any message from the client.
pub(super) const SILENCE: Duration = Duration::from_secs(60);
/// Time for the client to read the last message after it sent too long a message itself.
const CLOSE_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Returns `true` if the request asks for a WebSocket.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    let has = |name: HeaderName, word: &str| {
        let values = headers.get_all(name);
        let texts = values.iter().filter_map(|value| value.to_str().ok());
        texts.flat_map(|text| text.split(',')).any(|each| each.trim().eq_ignore_ascii_case(word))
    };
    has(CONNECTION, "upgrade") && has(UPGRADE, "websocket")
}

/// Returns the answer to a handshake, and the stream that it leads to; `None` if the handshake is
/// invalid.
pub(super) fn accept(request: &mut Request<Incoming>) -> Option<(Response<()>, OnUpgrade)> {
    let answer = create_response_with_body(request, || ()).ok()?;
    Some((answer, hyper::upgrade::on(request)))
}

/// What a conversation needs beside its stream.
pub(super) struct Setting {
    pub(super) rpc: Rpc,
    pub(super) caller: Caller,
    pub(super) limits: RpcLimits,
    /// Closed or `true` when the server stops.
    pub(super) stopping: watch::Receiver<bool>,
}

/// Why a conversation ends.
enum End {
    /// The connection failed.
    Gone,
    /// The client closes, or the server stops.
    Closing,
    /// The client sent too long a message.
    TooLong,
    /// The client broke the protocol.
    Broken,
}

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Serves a WebSocket to its end.
pub(super) async fn serve(stream: OnUpgrade, mut setting: Setting) {
    let Ok(stream) = stream.await else { return };
    let longest = usize::try_from(setting.limits.request).ok();
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_message_size(longest)
        .max_frame_size(longest);
    let stream = TokioIo::new(stream);
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
    let (queue, waiting) = mpsc::channel(MESSAGES as usize);
    let most = usize::try_from(setting.limits.subscriptions).unwrap_or(usize::MAX);
    let link = Closing(Arc::new(Link::new(queue, most)));
    let end = converse(&mut socket, &link.0, waiting, &mut setting).await;
    drop(link);
    // The client may be gone already.
    match end {
        End::Gone => {}
        End::Closing => {
            let _ = timeout(CLOSE_HANDSHAKE_TIMEOUT, socket.close(None)).await;
        }
        End::Broken => close_socket(socket, None, CloseCode::Protocol).await,
        End::TooLong => {
            let why = format!("a request has at most {} bytes", setting.limits.request);
            let last = refusal(REQUEST_TOO_LONG, &why);
            close_socket(socket, Some(last), CloseCode::Size).await;
        }
    }
}

/// Sends the last message, and waits until the client has closed: closing with unread bytes would
/// destroy the message.
async fn close_socket(mut socket: Socket, last: Option<String>, code: CloseCode) {
    let farewell = async {
        if let Some(last) = last
            && !send(&mut socket, last).await
        {
            return;
        }
        let _ = socket.close(Some(CloseFrame { code, reason: "".into() })).await;
        let mut rest = vec![0; READ_BUFFER];
        while socket.get_mut().read(&mut rest).await.is_ok_and(|count| count > 0) {}
    };
    let _ = timeout(CLOSE_HANDSHAKE_TIMEOUT, farewell).await;
}

async fn converse(
    socket: &mut Socket,
    link: &Arc<Link>,
    mut waiting: mpsc::Receiver<Outgoing>,
    setting: &mut Setting,
) -> End {
    let mut calls = JoinSet::new();
    let mut ping = interval(PING_EVERY);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = Instant::now();
    loop {
        tokio::select! {
            incoming = socket.next(), if calls.len() < CALLS => {
                heard = Instant::now();
                let text = match incoming {
                    Some(Ok(Message::Text(text))) => Bytes::from(text),
                    Some(Ok(Message::Binary(bytes))) => bytes,
                    Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
                    Some(Ok(Message::Close(_))) => return End::Closing,
                    Some(Err(Error::Capacity(_))) => return End::TooLong,
                    Some(Err(Error::Protocol(_) | Error::Utf8(_))) => return End::Broken,
                    Some(Err(_)) | None => return End::Gone,
                };
                calls.spawn(answer(
                    setting.rpc.clone(), setting.caller, setting.limits, Arc::clone(link), text,
                ));
            }
            Some(message) = waiting.recv() => {
                let Outgoing { text, places } = message;
                if !send(socket, text).await {
                    return End::Gone;
                }
                drop(places);
            }
            Some(_) = calls.join_next() => {}
            _ = ping.tick() => {
                // A client whose calls all run is not read from, so it can't be heard.
                let is_silent = heard.elapsed() > SILENCE && calls.len() < CALLS;
                if is_silent || socket.send(Message::Ping(Bytes::new())).await.is_err() {
                    return End::Gone;
                }
            }
            () = stopped(&mut setting.stopping) => return End::Closing,
        }
    }
}

/// Waits until the server stops.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error means that the server is gone.
    let _ = stopping.wait_for(|is_stopping| *is_stopping).await;
}

/// Answers a message, and starts its subscriptions.
async fn answer(rpc: Rpc, caller: Caller, limits: RpcLimits, link: Arc<Link>, text: Bytes) {
    let most = usize::try_from(limits.batch).unwrap_or(usize::MAX);
    let dispatcher = Dispatcher { rpc: &rpc, caller, link: Some(&link), most };
    let Reply { text, places, subscriptions } = dispatcher.answer(&text).await;
    let Some(text) = text else { return };
    // It fails only if the connection has ended, and its subscriptions with it.
    if link.queue.send(Outgoing { text, places }).await.is_err() {
        return;
    }
    for Subscribed { kind, id, started } in subscriptions {
        link.start(kind, &id, started);
    }
}

/// Sends a text in frames. Returns `false` if the connection failed.
async fn send(socket: &mut Socket, text: String) -> bool {
    let mut rest = Bytes::from(text);
    let mut code = OpCode::Data(Data::Text);
    loop {
        let part = rest.split_to(rest.len().min(FRAME));
        let is_last = rest.is_empty();
        let frame = Frame::message(part, code, is_last);
        if socket.send(Message::Frame(frame)).await.is_err() {
            return false;
        }
        if is_last {
            return true;
        }
        code = OpCode::Data(Data::Continue);
    }
}
