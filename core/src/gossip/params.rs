//! The numbers that gossipsub is configured with (`op-node/p2p/gossip.go`, `BuildGlobalGossipParams`
//! and `NewGossipSub`). Where the reference leaves a number to its library, so does this list.

use std::time::Duration;

/// Time between two heartbeats.
pub const HEARTBEAT: Duration = Duration::from_millis(500);
/// How long a message stays known as seen: 130 heartbeats.
pub const SEEN_TTL: Duration = Duration::from_secs(65);
/// How long peers of a topic that we publish on but don't subscribe to are kept.
pub const FANOUT_TTL: Duration = Duration::from_secs(24);
/// Heartbeats that whole messages are kept for.
pub const HISTORY_LENGTH: usize = 12;
/// Heartbeats that messages are advertised for.
pub const HISTORY_GOSSIP: usize = 3;
/// First heartbeat after the start.
pub const HEARTBEAT_INITIAL_DELAY: Duration = Duration::from_millis(100);
/// Messages of which a peer's advertisements are heard between two heartbeats. The reference's library hears of 5000,
/// each of which is a promise to be remembered for seconds; no chain makes so many blocks.
pub const ADVERTISED: usize = 256;
/// Messages queued for one peer.
pub const OUTBOUND_QUEUE: usize = 256;
/// Messages from this size on are announced by IDONTWANT before they are validated.
pub const IDONTWANT_THRESHOLD: usize = 1024;
/// Validations of one topic that run at once; more wait.
pub const VALIDATION_CONCURRENCY: usize = 4;
/// Messages that wait for validation; more are dropped.
pub const VALIDATION_QUEUE: usize = 256;

/// Sizes of the mesh (`p2p.gossip.mesh.*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeshParams {
    /// Peers wanted (D).
    pub d: usize,
    /// Fewest peers before more are grafted (Dlo).
    pub low: usize,
    /// Most peers before some are pruned (Dhi).
    pub high: usize,
    /// Peers that get lazy gossip (Dlazy).
    pub lazy: usize,
    /// Whether own blocks go to every subscribed peer rather than the mesh.
    pub flood_publish: bool,
}

impl Default for MeshParams {
    fn default() -> Self {
        Self { d: 8, low: 6, high: 12, lazy: 6, flood_publish: false }
    }
}
