//! The node's RPC: JSON-RPC 2.0 over HTTP and WebSocket on one port, and two health endpoints.
//!
//! # Methods
//! All of the reference's `opp2p_*` with its names, shapes, error texts and codes (`op-node/p2p/rpc_server.go`,
//! `rpc_api.go`), kona's `opp2p_peerCount`, `optimism_version`, `health_status`, the execution API's reading methods as far
//! as gossip alone can answer them ([`eth`]), and our own:
//!
//! * `opp2p_nodeStatus`: [`types::NodeStatus`]. `opp2p_recentVerdicts [most]`: the last verdicts, newest first,
//!   [`types::VerdictInfo`]. `opp2p_scoreBook`: [`types::ScoreEntry`] by peer. `opp2p_bans`: [`types::Bans`].
//! * `opp2p_banPeer id seconds`, `opp2p_unbanPeer id`, `opp2p_banAddr ip seconds`, `opp2p_unbanAddr ip`.
//! * `opp2p_subscribe kind` over WebSocket, `opp2p_unsubscribe id`. Kinds: `heads` ([`types::HeadInfo`]), `reorgs`
//!   ([`types::ReorgInfo`]), `gaps` ([`types::GapNews`]), and `feed`, which takes `{"from": number}` or `{"after": id}` as
//!   well and is described in [`feed`](crate::feed). News come as `opp2p_subscription`.
//! * `eth_subscribe "newHeads"` over WebSocket, `eth_unsubscribe id`, with news as `eth_subscription`.
//!
//! Where an answer differs from the reference's:
//!
//! * `opp2p_self` names our program, our protocols and the chain that we follow, where the reference leaves `userAgent`
//!   and `chainID` empty. `connectedness` is 0, as there: nobody is connected to himself.
//! * `protected` is true for whom the tide spares, as there: mesh peers too.
//! * `bannedPeers`, `bannedIPS`, `bannedSubnets` and `banned` are the operator's block lists, as there: what
//!   `unblock…` takes. Bans, by score or by an operator, are in `opp2p_bans`.
//! * A peer with a key that is no secp256k1 key is shown, with a `nodeID` of zeros; there it is missing.
//! * Blocking closes what stands; there the peer stays until it leaves.
//! * `blockSubnet` takes `"1.2.0.0/16"` too, and refuses a mask that is no prefix; a network has one name, so that
//!   1.2.3.4/16 is listed as 1.2.0.0/16.
//! * Methods that change something are for those whom the operator lets ([`RpcConfig::enable_admin`],
//!   [`RpcConfig::token`]); there they are for everybody.
//!
//! # Health
//! `GET /healthz`: 200 as long as the node runs; its `problems` are those of the node itself, a disk that takes no
//! blocks or a panic, which a start anew need not mend. `GET /readyz`: 200 if it also is connected to a peer that is no
//! browser, its disk takes blocks, no part of it is lost, and the timestamp of its head is not older than the longer of
//! 60 s and ten block times; else 503. Both answer JSON; the second says why.
//!
//! # Bounds
//! * **Connections**: [`CONNECTIONS`], of them [`CONNECTIONS_PER_ADDRESS`] from one address that is not loopback. The
//!   next is closed as it comes.
//! * **Time**: [`HEADER_TIME`] for a request's headers and between two requests, [`REQUEST_TIME`] for a request as a
//!   whole. A WebSocket that answers no ping is closed after a minute.
//! * **A request**: 16 kB of headers, [`MAX_REQUEST`] bytes ([`MAX_BLOCK_REQUEST`] for [`BLOCK_REQUESTS`] at once of those
//!   who may change something), [`MAX_BATCH`] calls. **An answer**: [`MAX_ANSWER`] bytes, a batch's in all. Of large
//!   answers, 4 are made at a time, 64 calls wait, and one more is refused; 4 and 256 more are for those who read blocks.
//! * **Slow readers**: whoever does not read is not read from, and given up after 30 s; nobody is read from faster than
//!   640 kB/s (`line.rs`). A WebSocket has room for [`MESSAGES`] answers, and a subscription that is 1024 events behind
//!   (but for a feed, which reads the store), or takes nothing for 10 s, is ended.
//! * **Subscriptions**: [`SUBSCRIPTIONS`] a connection.

mod access;
mod blocks;
pub mod eth;
#[cfg(feature = "fuzz")]
pub(crate) mod fuzz;
mod line;
mod methods;
mod params;
mod peers;
mod recent;
mod service;
mod status;
mod subscribe;
pub mod types;

pub use access::{Token, TokenFile};
pub use methods::names;
pub use recent::{VERDICTS, WINDOW};

use crate::host::HostHandle;
use crate::panics::guard;
use access::Access;
use eth::Eth;
use futures::FutureExt;
use jsonrpsee::server::{BatchRequestConfig, PingConfig, ServerConfig, ServerHandle, stop_channel};
use methods::Rpc;
use opp2p_core::chain::Labels;
use recent::Recent;
use service::Site;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

/// Connections at a time.
pub const CONNECTIONS: usize = 128;
/// The same of one address other than loopback.
pub const CONNECTIONS_PER_ADDRESS: usize = 32;
/// Time for a request's headers, and between two requests.
pub const HEADER_TIME: Duration = Duration::from_secs(15);
/// Time for a request as a whole: `opp2p_connectPeer` takes up to 30 s.
pub const REQUEST_TIME: Duration = Duration::from_secs(60);
/// Bytes of a request's body, or of a WebSocket's message.
pub const MAX_REQUEST: u32 = 256 * 1024;
/// The same for a request of somebody who may change something, over HTTP and with its length announced: a block of 10 MB in
/// hexadecimal.
pub const MAX_BLOCK_REQUEST: u32 = 24 << 20;
/// Such requests that are read or answered at once.
pub const BLOCK_REQUESTS: usize = 4;
/// Bytes of an answer.
pub const MAX_ANSWER: u32 = 8 << 20;
/// Calls in one batch, which are answered one after the other: as many as ethers puts into one.
pub const MAX_BATCH: u32 = 100;
/// Subscriptions of one connection.
pub const SUBSCRIPTIONS: u32 = 8;
/// Answers that wait for one WebSocket.
pub const MESSAGES: u32 = 4;
/// Bytes of a request's headers.
const HEADER_BYTES: usize = 16 * 1024;

/// Hears of every call of a method that exists.
pub trait RpcObserver: std::fmt::Debug + Send + Sync {
    /// A call was answered after so long, with a result or with an error. The method is one of [`names`].
    fn answered(&self, method: &'static str, took: Duration, is_ok: bool);
}

/// What a server is started with.
#[derive(Clone, Debug)]
pub struct RpcConfig {
    /// Address and port to listen on; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Whether everybody who reaches the port may change something.
    pub enable_admin: bool,
    /// Who sends this token may change something.
    pub token: Option<Token>,
    /// Names by which this machine may be called beside `localhost` and its addresses; `*` for any.
    pub hosts: Vec<String>,
    /// Who hears of calls.
    pub observer: Option<Arc<dyn RpcObserver>>,
    /// Which blocks are safe and finalized, as whoever reads L1 says; `None`: nobody does, and who asks is told so.
    pub labels: Option<watch::Receiver<Labels>>,
}

impl RpcConfig {
    /// For everybody who reaches this address, to look and change nothing.
    pub const fn new(listen: SocketAddr) -> Self {
        Self { listen, enable_admin: false, token: None, hosts: Vec::new(), observer: None, labels: None }
    }

    /// What it means that the system refuses to listen there.
    pub(crate) fn refused(&self, source: io::Error) -> RpcError {
        match source.kind() {
            io::ErrorKind::AddrInUse => RpcError::InUse(self.listen),
            _ => RpcError::Listen { address: self.listen, source },
        }
    }
}

/// Why there is no RPC. Each message is one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum RpcError {
    /// The port is taken.
    #[error(
        "port {} of {} is in use: end the process that listens there, or choose another port with --rpc.port",
        .0.port(), .0.ip()
    )]
    InUse(SocketAddr),
    /// The address can't be listened on.
    #[error("can't serve the RPC on {address}: {source}; choose another with --rpc.addr and --rpc.port")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The token's file can't be used.
    #[error("the token file {} {why}", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// Two methods have one name, which would be a mistake of ours.
    #[error("a method can't be served: {0}")]
    Method(String),
}

/// A running server. Dropping it ends it at once.
#[derive(Debug)]
pub struct RpcServer {
    address: SocketAddr,
    stop: ServerHandle,
    tasks: [JoinHandle<()>; 3],
}

impl RpcServer {
    /// Listens and serves.
    ///
    /// # Errors
    /// If the address can't be listened on.
    pub async fn start(config: RpcConfig, host: HostHandle) -> Result<Self, RpcError> {
        let listener = TcpListener::bind(config.listen).await.map_err(|error| config.refused(error))?;
        let address = listener.local_addr().map_err(|error| config.refused(error))?;
        let RpcConfig { enable_admin, token, hosts, observer, labels, .. } = config;
        let recent = Recent::default();
        let listening = tokio::spawn(
            guard("RPC's history", recent.clone().listen(host.clone(), host.events())).map(drop),
        );
        let (subscribers, heads) = eth::channel();
        let telling = tokio::spawn(guard("RPC's heads", eth::tell(subscribers, host.events())).map(drop));
        let eth = Eth::new(&host, labels, heads);
        let methods = Rpc::new(host.clone(), recent, observer, eth).methods();
        let methods = methods.map_err(|error| RpcError::Method(error.to_string()))?;
        let hosts = hosts.iter().map(|name| name.to_ascii_lowercase()).collect();
        let blocks = Arc::new(Semaphore::new(BLOCK_REQUESTS));
        let site = Site { access: Access { enable_admin, token, hosts }, host, blocks };
        let (stopping, stop) = stop_channel();
        let serving = service::serve(listener, Arc::new(site), methods, stopping);
        let serving = tokio::spawn(guard("RPC server", serving).map(drop));
        Ok(Self { address, stop, tasks: [listening, telling, serving] })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the listener and all connections.
    pub async fn stop(mut self) {
        self.end();
        for task in &mut self.tasks {
            // Cancelled is what was asked for.
            let _ = task.await;
        }
    }

    fn end(&self) {
        // WebSockets hear of it; that there are none is no error.
        let _ = self.stop.stop();
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Drop for RpcServer {
    fn drop(&mut self) {
        self.end();
    }
}

/// The bounds as jsonrpsee takes them.
fn limits(largest: u32) -> ServerConfig {
    let ping = PingConfig::new()
        .ping_interval(Duration::from_secs(20))
        .inactive_limit(Duration::from_secs(40))
        .max_failures(1);
    ServerConfig::builder()
        .max_request_body_size(largest)
        .max_response_body_size(MAX_ANSWER)
        .max_connections(u32::try_from(CONNECTIONS).unwrap_or(u32::MAX))
        .max_subscriptions_per_connection(SUBSCRIPTIONS)
        .set_message_buffer_capacity(MESSAGES)
        .set_id_provider(subscribe::Names)
        .set_batch_request_config(BatchRequestConfig::Limit(MAX_BATCH))
        .enable_ws_ping(ping)
        .build()
}
