//! The profile of an observer: a node without a store that follows a chain through a few gateways,
//! as in a web page.
//!
//! An observer differs from a node of an operator in these points:
//!
//! * It dials only the gateways that it is given, and does not trust them: a page's user may have
//!   pasted their addresses. A gateway that lies is banned.
//! * It notices a dead connection within seconds, and dials again soon, because a user is watching.
//! * It keeps less in memory, and leaves out a long gap rather than filling it.
//! * It starts at the first block that arrives, or at the genesis of a development chain.

use super::{NodeConfig, SyncConfig};
use crate::chain::{ChainConfig, ChainViewConfig, GAP_PATIENCE};
use crate::peers::{Backoff, ConnectionManagerConfig, PeersConfig, StaticPeer};
use crate::sync::range::SegmentClientConfig;
use crate::sync::{ClientConfig, FillConfig};
use std::time::Duration;

/// Interval between two pings of a gateway.
pub const OBSERVER_PINGS: Duration = Duration::from_millis(1500);
/// Maximum silence of a gateway: two pings and a slow network.
pub const OBSERVER_SILENCE: Duration = Duration::from_millis(3750);
/// Maximum number of gateways that are remembered.
pub const MAX_GATEWAYS: usize = 64;
/// Waits between two dials of a gateway.
const REDIAL: Backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(30) };
/// Maximum size of the canonical blocks kept for reorgs, together with all blocks that wait, in
/// bytes.
const VIEW_BYTES: usize = 24 << 20;

/// Settings of an observer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObserverConfig {
    /// The gateways to stay connected to.
    pub gateways: Vec<StaticPeer>,
    /// Whether to follow the chain from its genesis on. Otherwise it begins with the first block
    /// that arrives.
    pub from_genesis: bool,
    /// Number of JSON-RPC endpoints of the driver.
    pub endpoints: usize,
    /// Maximum size of the blocks of a gap that is being filled, in bytes.
    pub gap_memory: u64,
    /// Time for which a gap may hold up the head while none of its blocks is found.
    pub gap_patience: Duration,
    /// Maximum number of blocks of a gap that is filled. A longer one is left out.
    pub max_gap: u64,
}

impl Default for ObserverConfig {
    /// No gateway and no endpoint, 64 MiB, the default patience, and 512 blocks.
    fn default() -> Self {
        Self {
            gateways: Vec::new(),
            from_genesis: false,
            endpoints: 0,
            gap_memory: 64 << 20,
            gap_patience: GAP_PATIENCE,
            max_gap: 512,
        }
    }
}

impl NodeConfig {
    /// Returns the configuration of an observer: see the
    /// [profile](crate::node::ObserverConfig). Its seed and its signer are left to the caller.
    pub fn observer(chain: ChainConfig, config: &ObserverConfig) -> Self {
        let fill = FillConfig {
            client: ClientConfig { endpoints: config.endpoints, ..ClientConfig::default() },
            // Blocks whose answers are still being checked may take half of the room.
            segments: SegmentClientConfig {
                bytes: usize::try_from(config.gap_memory / 2).unwrap_or(usize::MAX),
                ..SegmentClientConfig::new(chain.chain_id)
            },
            pending_bytes: config.gap_memory / 2,
            // A development chain's genesis may be long ago while its first block is new.
            max_age: FillConfig::default().max_age.filter(|_| !config.from_genesis),
            ..FillConfig::default()
        };
        Self {
            view: ChainViewConfig {
                max_bytes: VIEW_BYTES,
                gap_patience: Some(config.gap_patience),
                max_gap: Some(config.max_gap),
                ..ChainViewConfig::for_interval(chain.schedule().shortest_interval())
            },
            static_peers: config.gateways.clone(),
            from_genesis: config.from_genesis,
            sync: Some(SyncConfig { fill, ..SyncConfig::default() }),
            peers: PeersConfig {
                // No other peers are sought.
                connections: ConnectionManagerConfig {
                    low: 0,
                    high: usize::MAX,
                    ..ConnectionManagerConfig::default()
                },
                remembered: MAX_GATEWAYS,
                trusts_static: false,
                redial: REDIAL,
                silence: Some(OBSERVER_SILENCE),
                ..PeersConfig::default()
            },
            ..Self::new(chain)
        }
    }
}
