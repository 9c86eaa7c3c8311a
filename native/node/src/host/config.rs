//! Configuration of a node, with its defaults.

use super::l1::L1Reader;
use super::requests::BlockSource;
use super::signer::BlockSigner;
use super::upgrade::{Muxer, Security};
use super::ws::WsConfig;
use crate::clock::WallClock;
use crate::discovery::DiscoveryConfig;
use crate::http::HttpConfig;
use crate::key::SecretKey;
use alloy_primitives::Address;
use libp2p::Multiaddr;
use opp2p_core::chain::{ChainConfig, ChainViewConfig};
use opp2p_core::engine::EngineState;
use opp2p_core::gossip::{MeshParams, TIMESTAMP_THRESHOLD};
use opp2p_core::node::SyncConfig;
use opp2p_core::peers::{BlockEntry, PeersConfig};
use opp2p_core::trouble::Role;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Default of [`HostConfig::agent`].
pub const DEFAULT_AGENT: &str = concat!("opp2p/", env!("CARGO_PKG_VERSION"));

/// The reference's default for the dial, accept and negotiation timeouts.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// Bounds of the block store: blocks within all three are kept.
#[derive(Clone, Debug)]
pub struct Retention {
    /// Maximum number of kept blocks. Its meaning depends on the chain's block interval, so the
    /// other two bounds are the ones to use.
    pub max_blocks: u64,
    /// Maximum size of the kept blocks in the file, in bytes, compressed.
    pub max_bytes: u64,
    /// Maximum age of a kept block when the head was made, by their timestamps.
    pub max_age: Duration,
}

impl Default for Retention {
    /// Returns two days, 20 GB, and any number of blocks.
    fn default() -> Self {
        Self {
            max_blocks: u64::MAX,
            max_bytes: 20_000_000_000,
            max_age: Duration::from_secs(48 * 60 * 60),
        }
    }
}

/// Storage of the peer data: addresses, scores, bans.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Peerstore {
    /// In the block store's file.
    #[default]
    WithBlocks,
    /// In RAM only; it is lost when the node stops.
    Memory,
    /// In a file of its own. If that file holds blocks, they stay.
    File(PathBuf),
}

/// Configuration of a node.
#[derive(Debug)]
pub struct HostConfig {
    /// Chain to follow.
    pub chain: ChainConfig,
    /// Unsafe-block signer, instead of the chain configuration's.
    pub signer: Option<Address>,
    /// Identity on the network.
    pub key: SecretKey,
    /// File that holds the identity. If it is removed while the node runs, health says so: the
    /// next start would be another peer.
    pub key_file: Option<PathBuf>,
    /// Address to listen on.
    pub listen_ip: IpAddr,
    /// TCP port to listen on; 0 lets the system choose.
    pub listen_tcp: u16,
    /// WebSocket listener for browsers; `None` if there is none.
    pub ws: Option<WsConfig>,
    /// Peer discovery; `None` disables it.
    pub discovery: Option<DiscoveryConfig>,
    /// Protocols that may secure connections, in order of preference (`p2p.security`).
    pub security: Vec<Security>,
    /// Protocols that may multiplex connections, in order of preference (`p2p.mux`).
    pub mux: Vec<Muxer>,
    /// Timeout for setting up an outbound connection (`p2p.timeout.dial`).
    pub dial_timeout: Duration,
    /// Timeout for setting up an inbound connection (`p2p.timeout.accept`).
    pub accept_timeout: Duration,
    /// Timeout of each protocol negotiation (`p2p.timeout.negotiation`).
    pub negotiation_timeout: Duration,
    /// Peers to stay connected to; each address ends in `/p2p/<peer id>`.
    pub static_peers: Vec<Multiaddr>,
    /// Peers, addresses and networks to refuse, beside those that commands blocked.
    pub blocked: Vec<BlockEntry>,
    /// Agent version that identify reports.
    pub agent: String,
    /// Source of the unsafe-block signer on L1, unless `signer` is set. Until it is read, the chain
    /// configuration's signer is in force.
    pub l1: Option<L1Reader>,
    /// Signer of a sequencer's blocks; `None` if this node is not a sequencer.
    pub sequencer: Option<BlockSigner>,
    /// File of the block store.
    pub store: PathBuf,
    /// Bounds of the block store.
    pub retention: Retention,
    /// Storage of the peer data (`p2p.peerstore.path`).
    pub peerstore: Peerstore,
    /// Whether there is no network: nothing listens and no peer is dialled (`p2p.disable`).
    pub offline: bool,
    /// Sizes of the gossip mesh.
    pub mesh: MeshParams,
    /// Maximum age of a gossiped block.
    pub timestamp_threshold: Duration,
    /// Bounds and patience of the chain view.
    pub view: ChainViewConfig,
    /// Whether a node with an empty store follows the chain from its genesis, rather than from the
    /// first block that arrives.
    pub from_genesis: bool,
    /// Fetching and serving of blocks by number; `None` disables both.
    pub sync: Option<SyncConfig>,
    /// JSON-RPC endpoints that are asked for missing blocks when peers don't deliver them. Unused
    /// without `sync`.
    pub endpoints: Vec<HttpConfig>,
    /// Limits, scoring and bans of peers.
    pub peers: PeersConfig,
    /// Whether connections are pinged every three minutes (`p2p.ping`).
    pub ping: bool,
    /// Whether the router is asked by UPnP to forward connections, and peers are told by AutoNAT
    /// whether they can be reached (`p2p.nat`).
    pub nat: bool,
    /// Wall clock by which blocks are judged.
    pub clock: WallClock,
    /// State of the engine that this node's chain is fed to, by which
    /// [`first_head`](opp2p_core::engine::first_head) chooses the block where the chain begins.
    pub engine: Option<EngineState>,
    /// Source of blocks that peers request and the store lacks, such as an
    /// execution client.
    pub source: Option<Arc<dyn BlockSource>>,
    /// Role of the node, which decides when it is ready; `None` for [`Self::own_role`].
    pub role: Option<Role>,
}

impl HostConfig {
    /// Returns the configuration of a node on `chain` with this identity and store, and defaults
    /// for all else.
    pub fn new(chain: ChainConfig, key: SecretKey, store: PathBuf) -> Self {
        let interval = chain.schedule().shortest_interval();
        Self {
            chain,
            signer: None,
            key,
            key_file: None,
            listen_ip: IpAddr::from([0, 0, 0, 0]),
            listen_tcp: 9222,
            ws: None,
            discovery: None,
            security: vec![Security::Noise],
            mux: vec![Muxer::Yamux],
            dial_timeout: DIAL_TIMEOUT,
            accept_timeout: DIAL_TIMEOUT,
            negotiation_timeout: DIAL_TIMEOUT,
            static_peers: Vec::new(),
            blocked: Vec::new(),
            l1: None,
            agent: DEFAULT_AGENT.into(),
            sequencer: None,
            store,
            retention: Retention::default(),
            peerstore: Peerstore::WithBlocks,
            offline: false,
            mesh: MeshParams::default(),
            timestamp_threshold: TIMESTAMP_THRESHOLD,
            view: ChainViewConfig::for_interval(interval),
            from_genesis: false,
            sync: Some(SyncConfig::default()),
            endpoints: Vec::new(),
            peers: PeersConfig::default(),
            ping: true,
            nat: false,
            clock: WallClock::default(),
            engine: None,
            source: None,
            role: None,
        }
    }

    /// Returns the role that follows from the other settings: a sequencer signs its own blocks, an
    /// engine follower has a source of blocks that is an engine, and a gateway listens for
    /// browsers.
    pub const fn own_role(&self) -> Role {
        if self.sequencer.is_some() {
            Role::Sequencer
        } else if self.source.is_some() {
            Role::EngineFollower
        } else if self.ws.is_some() {
            Role::Gateway
        } else {
            Role::Follower
        }
    }
}
