//! The node's RPC: JSON-RPC 2.0 over HTTP and WebSocket on one port, and two health endpoints.
//!
//! # Methods
//! All of the reference's `opp2p_*` methods with its names, shapes, error texts and codes
//! (`op-node/p2p/rpc_server.go`, `rpc_api.go`), kona's `opp2p_peerCount`, `health_status`, the
//! methods of the `optimism` and `admin` namespaces that do not need derivation (`optimism.rs`,
//! `admin.rs`), the execution API's read methods as far as gossip alone can answer them ([`eth`]),
//! and our own:
//!
//! * `opp2p_nodeStatus`: [`types::NodeStatus`]. `opp2p_recentVerdicts [most]`: the last verdicts,
//!   newest first, [`types::VerdictInfo`]. `opp2p_scoreBook`: [`types::ScoreEntry`] by peer.
//!   `opp2p_bans`: [`types::Bans`].
//! * `opp2p_banPeer id seconds`, `opp2p_unbanPeer id`, `opp2p_banAddr ip seconds`, `opp2p_unbanAddr
//!   ip`.
//! * `opp2p_reload`: reads the configuration again, [`types::Reloaded`].
//! * `opp2p_subscribe kind` over WebSocket, `opp2p_unsubscribe id`. Kinds: `heads`
//!   ([`types::HeadInfo`]), `reorgs` ([`types::ReorgInfo`]), `gaps` ([`types::GapNews`]),
//!   `troubles` ([`types::TroubleNews`]), and `feed`, which also takes `{"from": number}` or
//!   `{"after": id}` and is described in [`feed`](crate::feed). Notifications arrive as
//!   `opp2p_subscription`.
//! * `eth_subscribe "newHeads"` over WebSocket, `eth_unsubscribe id`, with notifications as
//!   `eth_subscription`.
//!
//! Differences from the reference's answers:
//!
//! * `opp2p_self` names our program, our protocols and the chain that we follow, where the
//!   reference leaves `userAgent` and `chainID` empty. `connectedness` is 0, as in the reference: a
//!   node is not connected to itself.
//! * `protected` is true for peers that are exempt from the tide, as in the reference; that
//!   includes mesh peers.
//! * `bannedPeers`, `bannedIPS`, `bannedSubnets` and `banned` are the operator's block lists, as in
//!   the reference: the entries that `unblock…` removes. Bans, by score or by an operator, are in
//!   `opp2p_bans`.
//! * A peer whose key is not a secp256k1 key is shown with a `nodeID` of zeros; the reference omits
//!   it.
//! * Blocking closes open connections; in the reference the peer stays until it leaves.
//! * `blockSubnet` also takes `"1.2.0.0/16"`, and refuses a mask that is not a prefix. A network
//!   has one name, so 1.2.3.4/16 is listed as 1.2.0.0/16.
//! * Methods that change something need the operator's permission ([`RpcConfig::enable_admin`],
//!   [`RpcConfig::token`]); in the reference everyone may call them.
//!
//! # Transports
//! HTTP and WebSocket are both served at `/` and `/ws`, with the same calls and ids
//! (`dispatch.rs`). Web pages are refused, except those of the origins that the operator lists
//! ([`RpcConfig::origins`]).
//!
//! [`reference()`] writes the reference page of all methods from the tables that the server uses.
//!
//! # Health
//! `GET /healthz`: 200 as long as the node runs. Its `troubles` are the node's trouble list
//! ([`types::TroubleInfo`]), which a restart need not fix; `problems` has their sentences alone.
//! `GET /readyz`: 200 if the node is ready, which the core decides by its role
//! ([`Node::not_ready`](opp2p_core::node::Node::not_ready)); 503 otherwise. Both answer JSON;
//! `/readyz` gives the reasons.
//!
//! # Bounds
//! The operator can set those of [`RpcLimits`]; the constants are the defaults.
//!
//! * **Connections**: [`CONNECTIONS`], of them [`CONNECTIONS_PER_ADDRESS`] from one address that is
//!   not loopback. [`SPARE`] further connections, the newest, get answers from the health
//!   endpoints, one each within [`SPARE_TIME`]; the others are closed.
//! * **Time**: [`HEADER_TIME`] for a request's headers and between two requests, [`REQUEST_TIME`]
//!   for its body, and [`CALL_TIME`] for a call that waits for others. A publication has longer
//!   than the network accepts its block, so that it ends first and its error names the cause.
//!   Over HTTP the whole answer, also to a batch, has [`ANSWER_TIME`], or longer than a
//!   publication. A WebSocket from which nothing comes, not even the answer to a ping, is closed
//!   after a minute.
//! * **Request**: 16 kB of headers, [`MAX_REQUEST`] bytes of body ([`MAX_BLOCK_REQUEST`] for
//!   [`BLOCK_REQUESTS`] concurrent requests of callers with permission to change something),
//!   [`MAX_BATCH`] calls.
//! * **Answer**: [`MAX_ANSWER`] bytes, a batch's answers in all. 4 large answers are built at a
//!   time, 64 more calls wait, and any further call is refused. Block reads have 4 and 256 places
//!   of their own.
//! * **Slow readers**: while a client does not read, nothing is read from it, and it is
//!   disconnected after 30 s. At most 640 kB/s are read from a client without permission to
//!   change something (`line.rs`). A WebSocket has at most 64 calls at once, and buffers
//!   [`MESSAGES`] answers. A subscription ends if it is 1024 events behind (except a feed, which
//!   reads the store) or takes nothing for 10 s.
//! * **Subscriptions**: [`SUBSCRIPTIONS`] per connection, and [`FEEDS`] feeds in all.
//!   [`FEED_READS`] feeds read the store at a time. A feed whose client does not read holds no
//!   blocks: it reads them again later. A feed begins at most 100,000 blocks above the highest
//!   known block.

mod access;
mod admin;
mod blocks;
mod config;
mod context;
mod dispatch;
mod error;
pub mod eth;
mod feeds;
#[cfg(feature = "fuzz")]
pub(crate) mod fuzz;
mod hooks;
mod l1;
mod limits;
mod line;
mod link;
mod method;
mod methods;
mod opp2p;
mod optimism;
mod origins;
mod params;
mod peers;
mod proofs;
mod recent;
mod reference;
mod service;
mod sink;
mod socket;
mod status;
mod subscribe;
pub mod types;

pub use access::{Token, TokenFile};
pub use config::RpcConfig;
pub use error::RpcError;
pub use hooks::{LogLevel, Reload, RpcObserver};
pub use limits::{
    ANSWER_TIME, BLOCK_REQUESTS, CALL_TIME, CONNECTIONS, CONNECTIONS_PER_ADDRESS, FEED_READS,
    FEEDS, HEADER_TIME, MAX_ANSWER, MAX_BATCH, MAX_BLOCK_REQUEST, MAX_REQUEST, MESSAGES,
    REQUEST_TIME, RpcLimits, SPARE, SPARE_TIME, SUBSCRIPTIONS,
};
pub(crate) use methods::NOT_ALLOWED;
pub use methods::names;
pub use origins::{OriginError, Origins};
pub use recent::{VERDICTS, WINDOW};
pub use reference::reference;

use access::Access;
use context::{Admin, Rpc};
use eth::Eth;
use feeds::Feeds;
use futures::FutureExt;
use l1::{L1, Optimism};
use opp2p_node::host::HostHandle;
use opp2p_node::panics::guard;
use recent::Recent;
use service::Site;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

/// A running server. Dropping it stops it at once.
#[derive(Debug)]
pub struct RpcServer {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl RpcServer {
    /// Starts to listen and serve.
    ///
    /// # Errors
    /// If the address can't be listened on, or the L1 client can't be set up.
    pub async fn start(config: RpcConfig, host: HostHandle) -> Result<Self, RpcError> {
        let listener =
            TcpListener::bind(config.listen).await.map_err(|error| config.refused(error))?;
        let address = listener.local_addr().map_err(|error| config.refused(error))?;
        let RpcConfig { enable_admin, token, hosts, origins, limits, observer, proofs, .. } =
            config;
        let l1 = config.l1.as_ref().map(L1::new).transpose().map_err(RpcError::L1)?.map(Arc::new);
        let optimism = Optimism { rollup: config.rollup, l1 };
        let admin = Admin {
            sequencer: config.sequencer,
            log_level: config.log_level,
            reload: config.reload,
        };
        let recent = Recent::default();
        let listening = tokio::spawn(
            guard("RPC's history", recent.clone().listen(host.clone(), host.events())).map(drop),
        );
        let (subscribers, heads) = eth::channel();
        let telling =
            tokio::spawn(guard("RPC's heads", eth::tell(subscribers, host.events())).map(drop));
        let eth = Eth::new(&host, config.labels, heads);
        let feeds = Feeds::new(limits.feeds);
        let (proofs, proving) = match &proofs[..] {
            [] => (None, None),
            endpoints => {
                let (proofs, task) =
                    proofs::start(endpoints, &host, &eth).map_err(RpcError::Proofs)?;
                (Some(proofs), Some(tokio::spawn(guard("RPC's prover", task).map(drop))))
            }
        };
        let rpc = Rpc::new(host, recent, observer, eth, optimism, admin, feeds);
        let rpc = rpc.with_proofs(proofs);
        let hosts = hosts.iter().map(|name| name.to_ascii_lowercase()).collect();
        let (stop, stopping) = watch::channel(false);
        let site = Site {
            access: Access { enable_admin, token, hosts, origins },
            answer_time: rpc.block_limit().saturating_add(HEADER_TIME).max(ANSWER_TIME),
            rpc,
            limits,
            blocks: Arc::new(Semaphore::new(BLOCK_REQUESTS)),
            stopping,
        };
        let serving = service::serve(listener, Arc::new(site));
        let serving = tokio::spawn(guard("RPC server", serving).map(drop));
        let tasks = [listening, telling, serving].into_iter().chain(proving).collect();
        Ok(Self { address, stop, tasks })
    }

    /// Returns the address that it listens on.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the listener and all connections.
    pub async fn stop(mut self) {
        self.end();
        for task in &mut self.tasks {
            // Cancellation is expected here.
            let _ = task.await;
        }
    }

    fn end(&self) {
        // Tells WebSockets to close.
        self.stop.send_replace(true);
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Drop for RpcServer {
    fn drop(&mut self) {
        self.end();
    }
}
