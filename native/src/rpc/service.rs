//! Connections: accepted, counted, checked, and given to jsonrpsee.

use super::access::{Access, Refusal};
use super::line::Line;
use super::{
    CONNECTIONS, CONNECTIONS_PER_ADDRESS, HEADER_BYTES, HEADER_TIME, MAX_BLOCK_REQUEST, MAX_REQUEST,
    REQUEST_TIME, limits, names, status,
};
use crate::host::HostHandle;
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::{Method, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use jsonrpsee::core::BoxError;
use jsonrpsee::core::middleware::{
    Batch, BatchEntry, BatchEntryErr, Extensions, Notification, Request, RpcServiceBuilder, RpcServiceT,
};
use jsonrpsee::server::ws::is_upgrade_request;
use jsonrpsee::server::{HttpBody, HttpResponse, MethodResponse, Methods, Server, StopHandle};
use jsonrpsee::types::error::{ErrorObjectOwned, METHOD_NOT_FOUND_CODE};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

/// How long the listener rests when the system has no room for a connection.
const REST: Duration = Duration::from_millis(100);

/// What every connection shares.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) access: Access,
    pub(super) host: HostHandle,
    /// Turns for requests that bring a block.
    pub(super) blocks: Arc<Semaphore>,
}

/// How long a request may be.
enum Size {
    Small,
    /// As long as a block. The turn is held until it is answered.
    Large(OwnedSemaphorePermit),
}

/// How many connections there are from where.
#[derive(Clone, Debug, Default)]
struct Places(Arc<Mutex<BTreeMap<IpAddr, usize>>>);

/// A connection's place, held until the last request of it is answered or its WebSocket is closed.
#[derive(Debug)]
struct Place {
    places: Places,
    ip: IpAddr,
}

/// The same as it goes with a request.
#[derive(Clone, Debug)]
#[expect(dead_code, reason = "it is held, not read")]
struct Held(Arc<Place>);

impl Places {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, ip: IpAddr) -> Option<Place> {
        let ip = ip.to_canonical();
        let mut held = self.lock();
        let own = held.get(&ip).copied().unwrap_or_default();
        let is_crowded = own >= CONNECTIONS_PER_ADDRESS && !ip.is_loopback();
        if is_crowded || held.values().sum::<usize>() >= CONNECTIONS {
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

/// Accepts until it is cancelled, and all connections with it but WebSockets, which `stopping` ends.
pub(super) async fn serve(listener: TcpListener, site: Arc<Site>, methods: Methods, stopping: StopHandle) {
    let builder = |largest| {
        Server::builder()
            .set_config(limits(largest))
            .set_rpc_middleware(RpcServiceBuilder::new().layer_fn(|service| Refusing { service }))
            .to_service_builder()
    };
    let builders = [builder(MAX_REQUEST), builder(MAX_BLOCK_REQUEST)];
    let places = Places::default();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => {
                    if let Some(place) = places.take(from.ip()) {
                        let services = builders.clone().map(|builder| {
                            TowerToHyperService::new(builder.build(methods.clone(), stopping.clone()))
                        });
                        connections.spawn(converse(stream, Arc::clone(&site), services, place));
                    }
                }
                // The one that failed is gone, or there is no room for any: then it helps to wait.
                Err(_) => tokio::time::sleep(REST).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// `services` are one for calls, and one for calls that bring a block.
async fn converse<S>(stream: TcpStream, site: Arc<Site>, services: [S; 2], place: Place)
where
    S: Service<hyper::Request<Incoming>, Response = HttpResponse, Error = BoxError>,
    S::Future: Send,
{
    let held = Held(Arc::new(place));
    // Answers are small and whole.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|mut request: hyper::Request<Incoming>| {
        let refusal = site.answer(&mut request).map(|size| {
            request.extensions_mut().insert(held.clone());
            match size {
                Size::Small => (services[0].call(request), None),
                Size::Large(turn) => (services[1].call(request), Some(turn)),
            }
        });
        async move {
            let (refusal, _turn) = match refusal {
                Ok((answer, turn)) => (Ok(answer), turn),
                Err(answer) => (Err(answer), None),
            };
            Ok::<_, Infallible>(match refusal {
                Err(answer) => *answer,
                Ok(answer) => match tokio::time::timeout(REQUEST_TIME, answer).await {
                    Ok(Ok(answer)) => answer,
                    Ok(Err(_)) => {
                        say(StatusCode::INTERNAL_SERVER_ERROR, &json!({"error": "the call failed"}))
                    }
                    Err(_) => {
                        say(StatusCode::REQUEST_TIMEOUT, &json!({"error": "the request took too long"}))
                    }
                },
            })
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIME).max_buf_size(HEADER_BYTES);
    let connection = http.serve_connection(TokioIo::new(Line::new(stream)), service).with_upgrades();
    // However it ends, it is the caller's business.
    let _ = connection.await;
}

impl Site {
    /// Answers all that is no call; a call is told what it may do.
    fn answer(&self, request: &mut hyper::Request<Incoming>) -> Result<Size, Box<HttpResponse>> {
        let caller = self.access.admit(request.headers()).map_err(|refusal| {
            let status = match refusal {
                Refusal::Page | Refusal::Host => StatusCode::FORBIDDEN,
                Refusal::Token => StatusCode::UNAUTHORIZED,
            };
            Box::new(say(status, &json!({"error": refusal.to_string()})))
        })?;
        let is_get = matches!(*request.method(), Method::GET | Method::HEAD);
        match request.uri().path() {
            "/healthz" if is_get => Err(Box::new(self.health())),
            "/readyz" if is_get => Err(Box::new(self.readiness())),
            "/" | "/ws" => {
                if !is_upgrade_request(request) {
                    request.extensions_mut().insert(OverHttp);
                }
                // The library would wait for all of it before it refuses.
                let announced = request.body().size_hint().lower();
                let size = self.size(announced, caller.may_change)?;
                request.extensions_mut().insert(caller);
                Ok(size)
            }
            "/healthz" | "/readyz" => {
                Err(Box::new(say(StatusCode::METHOD_NOT_ALLOWED, &json!({"error": "GET this"}))))
            }
            _ => Err(Box::new(say(StatusCode::NOT_FOUND, &json!({"error": "the RPC is at /"})))),
        }
    }

    /// Who may change something may bring a block, if he says beforehand how long the request is.
    fn size(&self, announced: u64, may_change: bool) -> Result<Size, Box<HttpResponse>> {
        let refuse = |status, text: String| Err(Box::new(say(status, &json!({"error": text}))));
        let most = if may_change { MAX_BLOCK_REQUEST } else { MAX_REQUEST };
        if announced <= MAX_REQUEST.into() {
            Ok(Size::Small)
        } else if announced > most.into() {
            refuse(StatusCode::PAYLOAD_TOO_LARGE, format!("a request has at most {most} bytes"))
        } else {
            match Arc::clone(&self.blocks).try_acquire_owned() {
                Ok(turn) => Ok(Size::Large(turn)),
                Err(_) => refuse(
                    StatusCode::TOO_MANY_REQUESTS,
                    "too many large requests at once: try again".to_owned(),
                ),
            }
        }
    }

    fn health(&self) -> HttpResponse {
        let version = env!("CARGO_PKG_VERSION");
        match self.host.is_running() {
            // A start anew would mend none of its problems, so it is alive with them.
            true => {
                let problems = status::problems(&self.host);
                say(StatusCode::OK, &json!({"status": "running", "version": version, "problems": problems}))
            }
            false => say(StatusCode::SERVICE_UNAVAILABLE, &json!({"status": "stopped", "version": version})),
        }
    }

    fn readiness(&self) -> HttpResponse {
        let reasons = status::obstacles(&self.host);
        let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        say(status, &json!({"ready": reasons.is_empty(), "reasons": reasons}))
    }
}

fn say(status: StatusCode, body: &Value) -> HttpResponse {
    let mut answer = HttpResponse::new(HttpBody::from(body.to_string()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// Goes with a call that came over HTTP, where there is no way to send news.
#[derive(Clone, Copy, Debug)]
struct OverHttp;

/// Says in geth's words that there is no such method, or none over HTTP, where jsonrpsee would report an internal error.
#[derive(Clone, Debug)]
struct Refusing<S> {
    service: S,
}

/// What needs a WebSocket.
const SUBSCRIPTION_METHODS: [&str; 4] =
    ["opp2p_subscribe", "opp2p_unsubscribe", "eth_subscribe", "eth_unsubscribe"];

fn refusal(method: &str, extensions: &Extensions) -> Option<ErrorObjectOwned> {
    let refuse = |code, text: &str| Some(ErrorObjectOwned::owned(code, text, None::<()>));
    if SUBSCRIPTION_METHODS.contains(&method) {
        // The code with which geth says so.
        return match extensions.get::<OverHttp>() {
            Some(_) => refuse(-32001, "notifications not supported: use a WebSocket"),
            None => None,
        };
    }
    if names().any(|known| known == method) {
        return None;
    }
    // The words with which geth says so: some callers look for them.
    let method: String = method.chars().take(64).collect();
    refuse(METHOD_NOT_FOUND_CODE, &format!("the method {method} does not exist/is not available"))
}

impl<S> RpcServiceT for Refusing<S>
where
    S: RpcServiceT<
            MethodResponse = MethodResponse,
            BatchResponse = MethodResponse,
            NotificationResponse = MethodResponse,
        > + Send
        + Sync
        + Clone
        + 'static,
{
    type MethodResponse = MethodResponse;
    type BatchResponse = MethodResponse;
    type NotificationResponse = MethodResponse;

    fn call<'a>(&self, request: Request<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let service = self.service.clone();
        async move {
            match refusal(&request.method, request.extensions()) {
                Some(error) => MethodResponse::error(request.id, error),
                None => service.call(request).await,
            }
        }
    }

    fn batch<'a>(&self, calls: Batch<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let service = self.service.clone();
        async move {
            let checked = calls.into_iter().map(|entry| match entry {
                Ok(BatchEntry::Call(call)) => match refusal(&call.method, call.extensions()) {
                    Some(error) => Err(BatchEntryErr::new(call.id, error)),
                    None => Ok(BatchEntry::Call(call)),
                },
                other => other,
            });
            service.batch(Batch::from(checked.collect())).await
        }
    }

    fn notification<'a>(&self, said: Notification<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let service = self.service.clone();
        async move { service.notification(said).await }
    }
}
