//! Settings of a server.

use super::access::Token;
use super::error::RpcError;
use super::hooks::{LogLevel, Reload, RpcObserver};
use super::limits::RpcLimits;
use super::origins::Origins;
use crate::sequencer::SequencerHandle;
use opp2p_core::chain::Labels;
use opp2p_node::http::HttpConfig;
use serde_json::value::RawValue;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::watch;

/// Settings of a server.
#[derive(Clone, Debug)]
pub struct RpcConfig {
    /// Address and port to listen on; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Whether every client that reaches the port may change something.
    pub enable_admin: bool,
    /// Token that permits its bearer to change something.
    pub token: Option<Token>,
    /// Host names of this machine to accept beside `localhost` and its addresses; `*` accepts any.
    pub hosts: Vec<String>,
    /// The web pages that may call.
    pub origins: Origins,
    /// Limits.
    pub limits: RpcLimits,
    /// Observer of calls.
    pub observer: Option<Arc<dyn RpcObserver>>,
    /// The operator's `rollup.json`, which `optimism_rollupConfig` returns verbatim.
    pub rollup: Option<Arc<RawValue>>,
    /// The L1 node whose newest blocks `optimism_syncStatus` shows.
    pub l1: Option<HttpConfig>,
    /// Untrusted endpoints of execution clients for proved reads. Without one, the methods that
    /// need proofs don't exist.
    pub proofs: Vec<HttpConfig>,
    /// Starts and stops block building.
    pub sequencer: Option<SequencerHandle>,
    /// Changes this process's log level.
    pub log_level: Option<Arc<dyn LogLevel>>,
    /// Reads this process's configuration again.
    pub reload: Option<Arc<dyn Reload>>,
    /// Safe and finalized blocks, as reported by a reader of L1; `None` without one, and callers
    /// that ask for them get an error.
    pub labels: Option<watch::Receiver<Labels>>,
}

impl RpcConfig {
    /// Settings for read-only access by every client that reaches this address.
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            enable_admin: false,
            token: None,
            hosts: Vec::new(),
            origins: Origins::default(),
            limits: RpcLimits::default(),
            observer: None,
            rollup: None,
            l1: None,
            proofs: Vec::new(),
            sequencer: None,
            log_level: None,
            reload: None,
            labels: None,
        }
    }

    /// Converts the system's refusal to listen into an error.
    pub(crate) fn refused(&self, source: io::Error) -> RpcError {
        match source.kind() {
            io::ErrorKind::AddrInUse => RpcError::InUse(self.listen),
            _ => RpcError::Listen { address: self.listen, source },
        }
    }
}
