//! Prometheus metrics of the node over HTTP (`GET /metrics`).
//!
//! [`Metrics`] is the running server. Each scrape reads the counters of the core, the driver and
//! the network libraries; this module keeps none. The reference's families have the same names,
//! types, labels and meaning here (`op-node/metrics/metrics.go`), so that its dashboards work; ours
//! begin with `opp2p_`. [`families`] lists the reference's.
//!
//! # Sources
//! Counters come from the core, from [`Status`](opp2p_node::host::Status) and from the driver,
//! which counts each event before it emits it. A slow listener may miss events; the counters don't.
//!
//! # Differences from the reference
//! * `p2p_peer_count` comes from the connection limiter's own numbers, so that the two can't
//!   differ; it counts connections, as in the reference. `opp2p_peers` counts peers.
//! * `p2p_payloads_quarantine_total` is the number of fetched blocks that wait for a link to the
//!   chain. There is no quarantine here: held blocks are already verified.
//! * `refs_*` has `received_payload`, `l2_buffer_unsafe` and `l2_unsafe`, the head of the chain
//!   that this node knows. The node does not derive from L1 and executes nothing, so the other
//!   names, and `refs_seqnr`, are missing.
//! * The publish-queue metrics of newer references have names of our own:
//!   `opp2p_publish_queue_length`, `opp2p_publish_errors_total` (its `expired` and `displaced` are
//!   the drops) and `opp2p_block_delay_seconds`.
//! * `p2p_dials` counts outgoing connections, including handshakes with dialled peers, and
//!   `p2p_accepts` incoming ones. The reference counts handshakes with dialled peers under the
//!   latter.
//! * `p2p_req_*` counts a served request from its arrival until the answer has been passed to the
//!   stream; a failed request of ours without a result code counts as 1, not found, as in the
//!   reference.
//! * `p2p_peer_bans` counts all bans of peers; `opp2p_bans_total` shows who decided on them.
//! * `opp2p_trouble` is 1 for each kind in the node's trouble list, and `opp2p_ready` is 1 while
//!   `/readyz` answers 200: the alerts of `assets/alerts.yml` are about these.
//! * `opp2p_schedule_doubt` is 1 for the rule of the fork schedule that the sequencer's blocks
//!   violate; an alert on it means that the configuration or the software is out of date.
//!   `opp2p_unknown_forks` counts forks of the configuration that this version does not know.
//! * `p2p_gossip_events_total`: libp2p has no gossip trace like the Go library's.
//!   `PUBLISH_MESSAGE`, `DELIVER_MESSAGE`, `REJECT_MESSAGE`, `RECV_RPC`, `DROP_RPC`, `JOIN`,
//!   `LEAVE`, `GRAFT` and `PRUNE` are exact. `DUPLICATE_MESSAGE` is close (it also counts own
//!   messages that come back, and with a browser mesh misses copies that came on both), and so are
//!   `ADD_PEER` and `REMOVE_PEER` (they also count peers that do not support gossip). `SEND_RPC`
//!   counts sent messages, but not RPCs with only control messages.
//! * The process name in the namespace is `default`, as in the reference; no flag changes it.
//!
//! # Bounds
//! * **Series**: label values come only from lists in this program, so their number is fixed. The
//!   only exception is the signer's address, which has one value at a time.
//! * **HTTP**: as for the observer page's server, see [`page`](crate::page). The text is made at
//!   most once in `scrapes::CACHE_TIME`, on a thread for blocking work, and shared by all
//!   concurrent scrapes. Making it takes the core's lock once, for as long as it takes to copy
//!   numbers.

mod families;
mod gossip;
mod own;
mod process;
mod rpc;
mod scrapes;
mod snapshot;

pub use families::families;
pub use opp2p_node::measure::{Exposition, Family, Histogram, Kind, Labels, Source};
pub use rpc::RpcMeter;

use futures::FutureExt;
use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use opp2p_node::host::HostHandle;
use opp2p_node::http;
use scrapes::Scrapes;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Path of the metrics, as in the reference.
pub const PATH: &str = "/metrics";
/// Process name in the reference's namespace, `op_node_default`.
pub const PROCESS: &str = "default";
/// Content type that Prometheus requests.
const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Settings of a metrics server.
#[derive(Debug)]
pub struct MetricsConfig {
    /// Address and port to listen on; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Process name in the names of the reference's families: [`PROCESS`].
    pub process: String,
    /// Additional sources of metrics.
    pub sources: Vec<Arc<dyn Source>>,
}

impl MetricsConfig {
    /// Creates the settings for the node's own metrics, under the reference's usual names.
    pub fn new(listen: SocketAddr) -> Self {
        Self { listen, process: PROCESS.into(), sources: Vec::new() }
    }
}

/// Reasons why metrics can't be served. Each message is one sentence that includes the remedy.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// Another process listens on the address.
    #[error(
        "can't serve metrics on {0}, where another process listens: end it, or choose another port"
    )]
    InUse(SocketAddr),
    /// The server can't listen on the address.
    #[error("can't serve metrics on {address}: {source}; choose another address or port")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Error from the operating system.
        source: io::Error,
    },
}

/// A running server. Dropping it stops it at once.
#[derive(Debug)]
pub struct Metrics {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Metrics {
    /// Starts to listen and serve.
    ///
    /// # Errors
    /// If the server can't listen on the address.
    pub async fn start(config: MetricsConfig, host: HostHandle) -> Result<Self, MetricsError> {
        let MetricsConfig { listen, process, sources } = config;
        let refused = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => MetricsError::InUse(listen),
            _ => MetricsError::Listen { address: listen, source },
        };
        let listener = TcpListener::bind(listen).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let scrapes = Arc::new(Scrapes::new(move || exposition(&host, &process, &sources)));
        let answer = move |request: &Request<Incoming>| answer(request, &scrapes);
        Ok(Self { address, task: http::start("server of metrics", listener, Arc::new(answer)) })
    }

    /// Returns the address that the server listens on.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the listener and all connections.
    pub async fn stop(mut self) {
        self.task.abort();
        // The task is cancelled, so an error is expected.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Metrics {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Returns all current metrics of a node in Prometheus' text format; `process` as in
/// [`MetricsConfig::process`].
pub fn exposition(host: &HostHandle, process: &str, sources: &[Arc<dyn Source>]) -> String {
    let mut text = Exposition::new(format!("op_node_{process}"));
    families::write(host, &mut text);
    for source in sources {
        source.write(&mut text);
    }
    process::write(&mut text);
    opp2p_node::panics::write(&mut text);
    text.finish()
}

fn answer<B>(request: &Request<B>, scrapes: &Arc<Scrapes>) -> http::Answering {
    let is_read = request.method() == Method::GET || request.method() == Method::HEAD;
    let now = match request.uri().path() {
        _ if !is_read => http::only_get_and_head(),
        PATH => {
            let scrapes = Arc::clone(scrapes);
            return async move {
                match scrapes.text().await {
                    Some(text) => http::text(StatusCode::OK, FORMAT, text),
                    None => http::text(
                        StatusCode::INTERNAL_SERVER_ERROR,
                        http::PLAIN,
                        "the metrics can't be read\n",
                    ),
                }
            }
            .boxed();
        }
        "/" => http::text(StatusCode::OK, http::PLAIN, "metrics for Prometheus are at /metrics\n"),
        _ => http::text(StatusCode::NOT_FOUND, http::PLAIN, "there is nothing here but /metrics\n"),
    };
    std::future::ready(now).boxed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::{ALLOW, CONTENT_TYPE};

    #[tokio::test]
    async fn only_read_requests_to_its_path_are_answered() {
        let scrapes = Arc::new(Scrapes::new(|| "numbers".into()));
        let ask = async |method: Method, path: &str| {
            let request = Request::builder().method(method).uri(path).body(()).expect("a request");
            answer(&request, &scrapes).await
        };
        let found = ask(Method::GET, "/metrics?x=y").await;
        assert_eq!(
            (found.status(), found.headers()[CONTENT_TYPE].to_str().ok()),
            (StatusCode::OK, Some(FORMAT))
        );
        assert_eq!(ask(Method::GET, "/").await.status(), StatusCode::OK);
        for path in ["/metrics/", "/debug", "/../metrics"] {
            assert_eq!(ask(Method::GET, path).await.status(), StatusCode::NOT_FOUND, "{path}");
        }
        let refused = ask(Method::POST, "/metrics").await;
        assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert!(refused.headers().contains_key(ALLOW));
    }
}
