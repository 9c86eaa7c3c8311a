//! Metrics for Prometheus: what the node counts, over HTTP (`GET /metrics`).
//!
//! [`Metrics`] is the running server. Each scrape reads what the core, the driver and the network's libraries have
//! counted; nothing is kept here. The reference's families have its names, types, labels and meaning
//! (`op-node/metrics/metrics.go`), so that its dashboards work; ours begin with `opp2p_`. [`families`] lists all of
//! them.
//!
//! # What counts
//! Counters come from the core, from [`Status`](crate::host::Status) and from the driver, which counts each event before
//! it tells of it. A listener that is behind loses events; no counter does.
//!
//! # Where we differ from the reference
//! * `p2p_peer_count` is taken from the door's own numbers, so that it can't drift; it counts connections, as the
//!   reference does. `opp2p_peers` counts peers.
//! * `p2p_payloads_quarantine_total` is the number of fetched blocks that wait for their link to the chain. There is no
//!   quarantine: what is held is proved.
//! * `refs_*` has `received_payload`, `l2_buffer_unsafe` and `l2_unsafe`, the head of the chain that this node knows.
//!   It has no L1 and executes nothing, so the other names, and `refs_seqnr`, are missing.
//! * The newer reference's publish-queue metrics are told under names of ours: `opp2p_publish_queue_length`,
//!   `opp2p_publish_errors_total` (of which `expired` and `displaced` are the drops) and `opp2p_block_delay_seconds`.
//! * `p2p_dials` counts what leads outwards, the handshake of a dialled peer too, and `p2p_accepts` what comes in. The
//!   reference counts the former's handshakes among the latter.
//! * `p2p_req_*` counts a served request from its arrival until the answer is given to the stream; a failed request of
//!   ours that brought no code counts as 1, not found, as there.
//! * `p2p_peer_bans` counts all bans of peers; `opp2p_bans_total` says who decided.
//! * `p2p_gossip_events_total`: libp2p has no trace of gossip as the Go library has. Exact are `PUBLISH_MESSAGE`,
//!   `DELIVER_MESSAGE`, `REJECT_MESSAGE`, `RECV_RPC`, `DROP_RPC`, `JOIN`, `LEAVE`, `GRAFT` and `PRUNE`. Close are
//!   `DUPLICATE_MESSAGE` (it also counts own messages that come back, and with a browsers' mesh misses copies that came
//!   on both), `ADD_PEER` and `REMOVE_PEER` (also peers that do not speak gossip). `SEND_RPC` counts messages sent, and
//!   no RPCs that hold only control.
//! * The process name in the namespace is `default`, as there; no flag changes it.
//!
//! # Bounds
//! * **Series**: labels have only names from lists in this program, so their number is fixed.
//! * **HTTP**: as the observer page's server, see [`page`](crate::page). A scrape takes the core's lock once, for
//!   as long as it takes to copy numbers; scrapes run one at a time.

mod families;
mod gossip;
mod histogram;
mod process;
mod rpc;
mod text;

pub use families::families;
pub use histogram::{DEFAULT_BOUNDS, Histogram};
pub use rpc::RpcMeter;
pub use text::{Exposition, Family, Kind, Labels};

use crate::host::HostHandle;
use crate::http;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Where the reference serves them.
pub const PATH: &str = "/metrics";
/// The name of the process in the reference's namespace, `op_node_default`.
pub const PROCESS: &str = "default";
/// What Prometheus asks for.
const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Something else that has metrics: the RPC server ([`RpcMeter`]), discovery.
pub trait Source: fmt::Debug + Send + Sync {
    /// Writes its families. It is called for each scrape, so it must be quick, and on a task of the runtime, so it must
    /// not wait. No family may have the name of another one, and no label may have a value that a peer can choose.
    fn write(&self, text: &mut Exposition);
}

/// What a server of metrics is started with.
#[derive(Debug)]
pub struct MetricsConfig {
    /// Address and port to listen on; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// The name of the process, which is part of the names of the reference's families: [`PROCESS`].
    pub process: String,
    /// What else is told.
    pub sources: Vec<Arc<dyn Source>>,
}

impl MetricsConfig {
    /// The node's own metrics, under the reference's usual names.
    pub fn new(listen: SocketAddr) -> Self {
        Self { listen, process: PROCESS.into(), sources: Vec::new() }
    }
}

/// Why metrics can't be served. Each message is one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// The address is another process's.
    #[error(
        "can't serve metrics on {0}, where another process listens: end it, or choose another port with --metrics.port"
    )]
    InUse(SocketAddr),
    /// The address can't be listened on.
    #[error(
        "can't serve metrics on {address}: {source}; choose others with --metrics.addr and --metrics.port"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
}

/// A running server. Dropping it ends it at once.
#[derive(Debug)]
pub struct Metrics {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Metrics {
    /// Listens and serves.
    ///
    /// # Errors
    /// If the address can't be listened on.
    pub async fn start(config: MetricsConfig, host: HostHandle) -> Result<Self, MetricsError> {
        let MetricsConfig { listen, process, sources } = config;
        let refused = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => MetricsError::InUse(listen),
            _ => MetricsError::Listen { address: listen, source },
        };
        let listener = TcpListener::bind(listen).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let one_at_a_time = Mutex::new(());
        let scrape = move || {
            let _turn = one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner);
            exposition(&host, &process, &sources)
        };
        let answer = move |request: &Request<Incoming>| answer(request, &scrape);
        Ok(Self { address, task: http::start("server of metrics", listener, Arc::new(answer)) })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the listener and all connections.
    pub async fn stop(mut self) {
        self.task.abort();
        // Cancelled is what was asked for.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Metrics {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// All there is to tell of a node now, as Prometheus reads it; `process` as in [`MetricsConfig::process`].
pub fn exposition(host: &HostHandle, process: &str, sources: &[Arc<dyn Source>]) -> String {
    let mut text = Exposition::new(format!("op_node_{process}"));
    families::write(host, &mut text);
    for source in sources {
        source.write(&mut text);
    }
    process::write(&mut text);
    crate::panics::write(&mut text);
    text.finish()
}

fn answer<B>(request: &Request<B>, scrape: &impl Fn() -> String) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return http::only_get_and_head();
    }
    match request.uri().path() {
        PATH => http::text(StatusCode::OK, FORMAT, scrape()),
        "/" => http::text(StatusCode::OK, http::PLAIN, "metrics for Prometheus are at /metrics\n"),
        _ => http::text(StatusCode::NOT_FOUND, http::PLAIN, "there is nothing here but /metrics\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::{ALLOW, CONTENT_TYPE};

    #[test]
    fn only_its_path_is_answered_and_only_to_readers() {
        let ask = |method: Method, path: &str| {
            let request = Request::builder().method(method).uri(path).body(()).expect("a request");
            answer(&request, &|| "numbers".into())
        };
        let found = ask(Method::GET, "/metrics?x=y");
        assert_eq!(
            (found.status(), found.headers()[CONTENT_TYPE].to_str().ok()),
            (StatusCode::OK, Some(FORMAT))
        );
        assert_eq!(ask(Method::GET, "/").status(), StatusCode::OK);
        for path in ["/metrics/", "/debug", "/../metrics"] {
            assert_eq!(ask(Method::GET, path).status(), StatusCode::NOT_FOUND, "{path}");
        }
        let refused = ask(Method::POST, "/metrics");
        assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert!(refused.headers().contains_key(ALLOW));
    }
}
