//! The configuration of a [`Node`](super::Node).

#[cfg(doc)]
use super::{Input, Output};
use crate::chain::{BlockId, ChainConfig, ChainViewConfig};
use crate::gossip::{MeshParams, TIMESTAMP_THRESHOLD};
use crate::payload::Block;
use crate::peers::{BlockEntry, PeersConfig, StaticPeer};
use crate::sync::range::{RangeServerConfig, SegmentClientConfig};
use crate::sync::{FillConfig, Lowest, PendingBlock, ServerConfig};
use crate::trouble::Role;
use alloy_primitives::Address;
use std::time::Duration;

/// Configuration of a node at its start.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// The chain to follow.
    pub chain: ChainConfig,
    /// Seed of all that is random in the node: its own
    /// [`PeerId::seed`](crate::peers::PeerId::seed), so that nodes differ. Zero makes waits exact,
    /// for tests.
    pub seed: u64,
    /// Signer of unsafe blocks, in place of the chain configuration's.
    pub signer: Option<Address>,
    /// Maximum age of a gossiped block.
    pub timestamp_threshold: Duration,
    /// Bounds and patience of the chain view. Its interval is ignored: the chain's is used.
    pub view: ChainViewConfig,
    /// Whether there is no network (`p2p.disable`): no peer is dialled, and static peers are
    /// ignored.
    pub offline: bool,
    /// Peers to stay connected to permanently.
    pub static_peers: Vec<StaticPeer>,
    /// Peers, addresses and networks that the configuration blocks. Those beyond the
    /// [capacity](crate::peers::GateConfig::blocks_per_list) of a block list are left out.
    pub blocked: Vec<BlockEntry>,
    /// Whether a signer for our own blocks is available.
    pub can_sign: bool,
    /// The last head that was reported before the last stop.
    pub head: Option<BlockId>,
    /// Whether a node without such a head follows the chain from its genesis on, for a chain that
    /// is younger than its nodes. Otherwise it begins with the first block that arrives.
    pub from_genesis: bool,
    /// Blocks up to that head, newest first, as far as the store has them.
    pub recent: Vec<Block>,
    /// Canonical positions below those blocks, newest first, as far as the store has them: see
    /// [`ChainViewConfig::max_remembered`].
    pub remembered: Vec<BlockId>,
    /// Fetching and serving blocks (`--p2p.sync.req-resp`), or `None` for neither.
    pub sync: Option<SyncConfig>,
    /// Contents of the store's pending area.
    pub pending: Vec<PendingBlock>,
    /// The lowest stored block of the head's chain, below which history goes on: see
    /// [`FillConfig::history`].
    pub lowest: Option<Lowest>,
    /// Settings of the peer management.
    pub peers: PeersConfig,
    /// Whether the signer can be read again when blocks of an unknown signer arrive, see
    /// [`Output::ReadSigner`].
    pub reads_signer: bool,
    /// The store's peer memory: keys and values as [`Output::Remember`] gave them.
    pub memory: Vec<(Vec<u8>, Vec<u8>)>,
    /// The node's role, which decides when it is ready.
    pub role: Role,
    /// The node's own gossip router, or `None` if a gossip library of the driver runs the mesh.
    ///
    /// With it, the driver carries frames: [`Input::Mesh`], [`Output::Mesh`], and
    /// [`Node::transmit`](super::Node::transmit). It passes neither [`Input::Gossip`] nor
    /// [`Input::GossipScores`], nor news of topics and meshes, and gets no [`Output::Send`],
    /// [`Output::ApplicationScore`], [`Output::LiveTopics`] and [`Output::TakeScores`].
    pub mesh: Option<MeshSettings>,
}

/// Settings of the gossip router that a node owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeshSettings {
    /// Sizes of the mesh of nodes (`p2p.gossip.mesh.*`).
    pub sizes: MeshParams,
    /// Whether browsers suffice for a block of our own to count as published: see
    /// [`MeshConfig::browsers_suffice`](crate::mesh::MeshConfig::browsers_suffice).
    pub browsers_suffice: bool,
    /// A random number that no peer knows. Together with the node's seed, which is public, it is
    /// the seed of the router.
    pub secret: u64,
}

impl MeshSettings {
    /// Returns the settings with the network's mesh sizes.
    pub fn new(secret: u64) -> Self {
        Self { sizes: MeshParams::default(), browsers_suffice: false, secret }
    }
}

/// Settings for fetching and serving blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncConfig {
    /// Fetching.
    pub fill: FillConfig,
    /// Serving by number.
    pub serve: ServerConfig,
    /// Whether to serve peers at all.
    pub serves: bool,
    /// Whether to use the range protocol, for fetching and for serving, with peers that support it.
    pub ranges: bool,
    /// Limits of serving ranges. The chain is the node's.
    pub serve_ranges: RangeServerConfig,
}

impl SyncConfig {
    /// Returns the settings of fetching for a chain.
    pub(super) fn fill_for(&self, chain_id: u64) -> FillConfig {
        FillConfig {
            by_ranges: self.ranges && self.fill.by_ranges,
            segments: SegmentClientConfig { chain_id, ..self.fill.segments },
            ..self.fill
        }
    }
}

impl Default for SyncConfig {
    /// Returns the defaults of both, with ranges; peers are served.
    fn default() -> Self {
        Self {
            fill: FillConfig::default(),
            serve: ServerConfig::default(),
            serves: true,
            ranges: true,
            serve_ranges: RangeServerConfig::new(0),
        }
    }
}

impl NodeConfig {
    /// Creates the configuration of a node that starts without stored state on `chain` and
    /// publishes nothing.
    pub fn new(chain: ChainConfig) -> Self {
        Self {
            chain,
            seed: 0,
            signer: None,
            timestamp_threshold: TIMESTAMP_THRESHOLD,
            view: ChainViewConfig::default(),
            offline: false,
            static_peers: Vec::new(),
            blocked: Vec::new(),
            can_sign: false,
            head: None,
            from_genesis: false,
            recent: Vec::new(),
            remembered: Vec::new(),
            sync: None,
            pending: Vec::new(),
            lowest: None,
            peers: PeersConfig::default(),
            reads_signer: false,
            memory: Vec::new(),
            role: Role::default(),
            mesh: None,
        }
    }
}
