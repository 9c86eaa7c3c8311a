//! Connections: accepted, counted, checked, and answered.

use super::access::{Access, Caller, Refusal};
use super::context::Rpc;
use super::dispatch::Dispatcher;
use super::limits::{
    HEADER_BYTES, HEADER_TIME, MAX_BLOCK_REQUEST, REQUEST_TIME, RpcLimits, SPARE, SPARE_TIME,
};
use super::line::{Line, Trust};
use super::origins::Origins;
use super::{socket, status};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::header::{
    ACCESS_CONTROL_REQUEST_METHOD, ALLOW, CONTENT_TYPE, HeaderMap, HeaderValue, ORIGIN,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, timeout};

/// Pause of the listener when the system has no room for a connection.
const REST: Duration = Duration::from_millis(100);
/// Minimum time between two warnings that all connections are taken.
const WARN_EVERY: Duration = Duration::from_secs(60);
/// State shared by all connections.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) access: Access,
    pub(super) rpc: Rpc,
    pub(super) limits: RpcLimits,
    /// Time limit for the answer to a request over HTTP: longer than that of any method.
    pub(super) answer_time: Duration,
    /// Permits for requests that carry a block.
    pub(super) blocks: Arc<Semaphore>,
    /// `true` when the server stops, which ends WebSockets.
    pub(super) stopping: watch::Receiver<bool>,
}

/// An answer over HTTP.
type Answer = Response<Content>;

/// Body of an answer. It holds the places of large answers until it is written.
#[derive(Debug, Default)]
pub(super) struct Content {
    bytes: Full<Bytes>,
    #[expect(dead_code, reason = "they are held, not read")]
    places: Vec<OwnedSemaphorePermit>,
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.bytes).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.bytes.size_hint()
    }
}

/// Size class of a request.
enum Size {
    Small,
    /// Up to the size of a block. The permit is held until the request is answered.
    Large(#[expect(dead_code, reason = "it is held, not read")] OwnedSemaphorePermit),
}

/// Connection counts by address.
#[derive(Clone, Debug)]
struct Places {
    held: Arc<Mutex<BTreeMap<IpAddr, u32>>>,
    limits: RpcLimits,
}

/// A connection's place, held until its last request is answered or its WebSocket is closed.
#[derive(Debug)]
struct Place {
    places: Places,
    ip: IpAddr,
}

impl Places {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<IpAddr, u32>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, ip: IpAddr) -> Option<Place> {
        let ip = ip.to_canonical();
        let mut held = self.lock();
        let own = held.get(&ip).copied().unwrap_or_default();
        let is_crowded = own >= self.limits.connections_per_address && !ip.is_loopback();
        if is_crowded || held.values().sum::<u32>() >= self.limits.connections {
            return None;
        }
        held.insert(ip, own + 1);
        drop(held);
        Some(Place { places: self.clone(), ip })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.places.lock();
        if let Some(own) = held.get_mut(&self.ip) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                held.remove(&self.ip);
            }
        }
    }
}

/// Accepts connections until it is cancelled, which ends them all except WebSockets; those end when
/// the site is stopping.
pub(super) async fn serve(listener: TcpListener, site: Arc<Site>) {
    let places = Places { held: Arc::default(), limits: site.limits };
    let mut connections = JoinSet::new();
    let mut spare = Spare::default();
    // An aborted connection keeps its descriptor until its task has ended.
    let most = usize::try_from(site.limits.connections).unwrap_or(usize::MAX);
    let most = most.saturating_add(2 * SPARE);
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < most => match accepted {
                Ok((stream, from)) => match places.take(from.ip()) {
                    Some(place) => {
                        connections.spawn(converse(stream, Arc::clone(&site), place));
                    }
                    None => {
                        spare.make_room(&site.limits);
                        let health = report_health(stream, Arc::clone(&site));
                        spare.held.push_back(connections.spawn(health));
                    }
                },
                // Either only this connection failed, or there is no room for any; then waiting
                // helps.
                Err(_) => tokio::time::sleep(REST).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// The connections beyond the limits, oldest first. They get answers about the node's health only,
/// so that clients who hold all places can't make the node look dead.
#[derive(Default)]
struct Spare {
    held: VecDeque<AbortHandle>,
    warned: Option<Instant>,
}

impl Spare {
    /// Ends the oldest connection if there are too many. A health check sends its request at once,
    /// and has its answer before others can displace it.
    fn make_room(&mut self, limits: &RpcLimits) {
        self.held.retain(|connection| !connection.is_finished());
        while self.held.len() >= SPARE {
            self.held.pop_front().inspect(AbortHandle::abort);
        }
        if self.warned.is_none_or(|warned| warned.elapsed() >= WARN_EVERY) {
            self.warned = Some(Instant::now());
            tracing::warn!(
                target: "opp2p::rpc", most = limits.connections,
                most_per_address = limits.connections_per_address,
                "an RPC client is refused, because all connections are taken: close idle clients, \
                 or raise --rpc.max-connections or --rpc.max-connections-per-ip"
            );
        }
    }
}

/// Serves a connection beyond the limits: one request, and only about the node's health.
async fn report_health(stream: TcpStream, site: Arc<Site>) {
    let service = service_fn(|request: Request<Incoming>| {
        let answer = match site.admit(&request) {
            Err(answer) => *answer,
            Ok(_) => site.condition(&request).unwrap_or_else(|| {
                fail(StatusCode::SERVICE_UNAVAILABLE, "all connections are taken: try again")
            }),
        };
        let answer = site.permitted(request.headers(), answer);
        async move { Ok::<_, Infallible>(answer) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).keep_alive(false).max_buf_size(HEADER_BYTES);
    let line = Line::new(stream, Trust::default());
    // A failed connection is the client's business.
    let _ = timeout(SPARE_TIME, http.serve_connection(TokioIo::new(line), service)).await;
}

/// Serves one connection.
async fn converse(stream: TcpStream, site: Arc<Site>, place: Place) {
    let place = Arc::new(place);
    // Answers are small and written in one piece.
    let _ = stream.set_nodelay(true);
    let trust = Trust::default();
    let service = service_fn(|request: Request<Incoming>| {
        let (site, trust, place) = (Arc::clone(&site), trust.clone(), Arc::clone(&place));
        async move {
            let headers = request.headers().clone();
            let answer = site.answer(request, &trust, place).await;
            Ok::<_, Infallible>(site.permitted(&headers, answer))
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIME).max_buf_size(HEADER_BYTES);
    let line = Line::new(stream, trust.clone());
    let connection = http.serve_connection(TokioIo::new(line), service).with_upgrades();
    // A failed connection is the client's business.
    let _ = connection.await;
}

fn too_long(most: u32) -> Answer {
    fail(StatusCode::PAYLOAD_TOO_LARGE, &format!("a request has at most {most} bytes"))
}

/// Returns `true` if a body of this type can be a call. A browser's form can't send these types.
fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    ["application/json", "application/json-rpc", "application/jsonrequest"]
        .iter()
        .any(|known| kind.eq_ignore_ascii_case(known))
}

impl Site {
    /// Returns the caller's permissions.
    fn admit(&self, request: &Request<Incoming>) -> Result<Caller, Box<Answer>> {
        self.access.admit(request.headers()).map_err(|refusal| {
            let status = match refusal {
                Refusal::Page | Refusal::Host => StatusCode::FORBIDDEN,
                Refusal::Token => StatusCode::UNAUTHORIZED,
            };
            Box::new(fail(status, &refusal.to_string()))
        })
    }

    /// Adds the headers by which a browser lets a listed page read the answer.
    fn permitted(&self, request: &HeaderMap, mut answer: Answer) -> Answer {
        answer.headers_mut().extend(self.access.origins.permission(request));
        answer
    }

    /// Answers a request about the node's health; `None` if the request is not one.
    fn condition(&self, request: &Request<Incoming>) -> Option<Answer> {
        let is_get = matches!(*request.method(), Method::GET | Method::HEAD);
        match request.uri().path() {
            "/healthz" if is_get => Some(self.health()),
            "/readyz" if is_get => Some(self.readiness()),
            "/healthz" | "/readyz" => Some(fail(StatusCode::METHOD_NOT_ALLOWED, "use GET")),
            _ => None,
        }
    }

    /// Answers a request.
    async fn answer(
        &self,
        mut request: Request<Incoming>,
        trust: &Trust,
        place: Arc<Place>,
    ) -> Answer {
        let caller = match self.admit(&request) {
            Ok(caller) => caller,
            Err(answer) => return *answer,
        };
        let headers = request.headers();
        let is_preflight = request.method() == Method::OPTIONS
            && headers.contains_key(ORIGIN)
            && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        if is_preflight {
            let mut answer = Answer::default();
            *answer.status_mut() = StatusCode::NO_CONTENT;
            *answer.headers_mut() = Origins::preflight();
            return answer;
        }
        if let Some(answer) = self.condition(&request) {
            return answer;
        }
        if !matches!(request.uri().path(), "/" | "/ws") {
            return fail(StatusCode::NOT_FOUND, "the RPC is at /");
        }
        trust.set(caller.may_change);
        if socket::is_wanted(headers) {
            return self.upgrade(&mut request, caller, place);
        }
        if request.method() != Method::POST {
            let mut answer = fail(StatusCode::METHOD_NOT_ALLOWED, "POST a call");
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            return answer;
        }
        if !is_json(headers) {
            let text = "a call has the content type application/json";
            return fail(StatusCode::UNSUPPORTED_MEDIA_TYPE, text);
        }
        self.call(request, caller).await
    }

    /// Answers a handshake, and serves the WebSocket in a task of its own.
    fn upgrade(
        &self,
        request: &mut Request<Incoming>,
        caller: Caller,
        place: Arc<Place>,
    ) -> Answer {
        let Some((answer, stream)) = socket::accept(request) else {
            return fail(StatusCode::BAD_REQUEST, "this is not a handshake of a WebSocket");
        };
        let (rpc, stopping) = (self.rpc.clone(), self.stopping.clone());
        let setting = socket::Setting { rpc, caller, limits: self.limits, stopping };
        tokio::spawn(async move {
            socket::serve(stream, setting).await;
            drop(place);
        });
        answer.map(|()| Content::default())
    }

    /// Answers calls.
    async fn call(&self, request: Request<Incoming>, caller: Caller) -> Answer {
        // A declared size is checked before the body is read.
        let announced = request.body().size_hint().lower();
        let size = match self.size(announced, caller.may_change) {
            Ok(size) => size,
            Err(answer) => return *answer,
        };
        let most = match size {
            Size::Small => self.limits.request,
            Size::Large(_) => MAX_BLOCK_REQUEST,
        };
        let body = Limited::new(request.into_body(), usize::try_from(most).unwrap_or(usize::MAX));
        let body = match timeout(REQUEST_TIME, body.collect()).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => return too_long(most),
            Ok(Err(_)) => return fail(StatusCode::BAD_REQUEST, "the request is incomplete"),
            Err(_) => return fail(StatusCode::REQUEST_TIMEOUT, "the request took too long"),
        };
        let most = usize::try_from(self.limits.batch).unwrap_or(usize::MAX);
        let dispatcher = Dispatcher { rpc: &self.rpc, caller, link: None, most };
        let Ok(reply) = timeout(self.answer_time, dispatcher.answer(&body)).await else {
            let text = "the answer took too long: send fewer calls at once";
            return fail(StatusCode::SERVICE_UNAVAILABLE, text);
        };
        drop(size);
        match reply.text {
            Some(text) => json_answer(StatusCode::OK, text, reply.places),
            None => Answer::default(),
        }
    }

    /// Returns the size class. A caller with permission to change something may send a block if the
    /// request declares its length.
    fn size(&self, announced: u64, may_change: bool) -> Result<Size, Box<Answer>> {
        let most = if may_change { MAX_BLOCK_REQUEST } else { self.limits.request };
        if announced <= self.limits.request.into() {
            Ok(Size::Small)
        } else if announced > most.into() {
            Err(Box::new(too_long(most)))
        } else {
            Arc::clone(&self.blocks).try_acquire_owned().map(Size::Large).map_err(|_| {
                let text = "too many large requests at once: try again";
                Box::new(fail(StatusCode::TOO_MANY_REQUESTS, text))
            })
        }
    }

    fn health(&self) -> Answer {
        let version = env!("CARGO_PKG_VERSION");
        match self.rpc.host.is_running() {
            // A restart would fix none of its problems, so it counts as alive with them.
            true => {
                let troubles = status::troubles(&self.rpc.host);
                let problems = status::problems(&troubles);
                let body = json!({
                    "status": "running", "version": version, "problems": problems,
                    "troubles": troubles,
                });
                say(StatusCode::OK, &body)
            }
            false => say(
                StatusCode::SERVICE_UNAVAILABLE,
                &json!({"status": "stopped", "version": version}),
            ),
        }
    }

    fn readiness(&self) -> Answer {
        let reasons = status::obstacles(&self.rpc.host);
        let status =
            if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        say(status, &json!({"ready": reasons.is_empty(), "reasons": reasons}))
    }
}

fn json_answer(status: StatusCode, text: String, places: Vec<OwnedSemaphorePermit>) -> Answer {
    let mut answer = Answer::new(Content { bytes: Full::from(text), places });
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

fn say(status: StatusCode, body: &Value) -> Answer {
    json_answer(status, body.to_string(), Vec::new())
}

fn fail(status: StatusCode, why: &str) -> Answer {
    say(status, &json!({"error": why}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    #[test]
    fn places_are_counted_by_address() {
        let limits =
            RpcLimits { connections: 5, connections_per_address: 2, ..RpcLimits::default() };
        let places = Places { held: Arc::default(), limits };
        let [one, other] = [1, 2].map(|last| IpAddr::from([192, 0, 2, last]));
        let held = [places.take(one), places.take(one), places.take(other)];
        assert!(held.iter().all(Option::is_some));
        assert!(places.take(one).is_none());
        // The same address in the form of IPv6.
        let mapped = Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped();
        assert!(places.take(mapped.into()).is_none());
        // Loopback, where a proxy acts for many, has only the limit of all.
        let loopback = IpAddr::from(Ipv6Addr::LOCALHOST);
        let more = [places.take(loopback), places.take(loopback)];
        assert!(more.iter().all(Option::is_some) && places.take(loopback).is_none());
        drop(held);
        assert!(places.take(one).is_some());
        assert_eq!(places.lock().len(), 1, "addresses without a connection are forgotten");
    }

    #[test]
    fn calls_are_json() {
        let of = |kind: &'static str| {
            is_json(&HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]))
        };
        for kind in ["application/json", "Application/JSON; charset=utf-8", "application/json-rpc"]
        {
            assert!(of(kind), "{kind}");
        }
        for kind in ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonp"] {
            assert!(!of(kind), "{kind}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }
}
