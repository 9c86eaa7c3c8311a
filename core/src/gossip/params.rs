//! Gossipsub parameters (`op-node/p2p/gossip.go`, `BuildGlobalGossipParams` and `NewGossipSub`).
//! Parameters that the reference leaves to its library's defaults are not listed.

use std::time::Duration;

/// Time between two heartbeats.
pub const HEARTBEAT: Duration = Duration::from_millis(500);
/// Time for which a message is remembered as seen: 130 heartbeats.
pub const SEEN_TTL: Duration = Duration::from_secs(65);
/// Time for which the peers of a topic are kept if we publish on the topic without subscribing to
/// it.
pub const FANOUT_TTL: Duration = Duration::from_secs(24);
/// Number of heartbeats for which whole messages are kept, to answer IWANT requests.
pub const HISTORY_LENGTH: usize = 12;
/// Number of heartbeats for which messages are advertised in IHAVE messages.
pub const HISTORY_GOSSIP: usize = 3;
/// Delay of the first heartbeat after the start.
pub const HEARTBEAT_INITIAL_DELAY: Duration = Duration::from_millis(100);
/// Maximum number of message ids accepted in IHAVE messages from one peer between two heartbeats.
/// The reference's library accepts 5000, and must remember each of them for seconds as a promise.
/// No chain makes that many blocks.
pub const MAX_IHAVE_IDS: usize = 256;
/// Maximum number of messages queued for one peer.
pub const OUTBOUND_QUEUE: usize = 256;
/// Minimum size in bytes of a message that is announced in IDONTWANT before it is validated.
pub const IDONTWANT_THRESHOLD: usize = 1024;
/// Maximum number of concurrent validations for one topic; further messages wait.
pub const VALIDATION_CONCURRENCY: usize = 4;
/// Maximum number of messages that wait for validation; further ones are dropped.
pub const VALIDATION_QUEUE: usize = 256;

/// Maximum of each of the nodes' mesh sizes, as in the reference (`op-node/p2p/config.go`).
pub const MAX_MESH_SIZE: usize = 1000;

/// Sizes of the mesh (`p2p.gossip.mesh.*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeshParams {
    /// Target number of peers (D).
    pub d: usize,
    /// Minimum number of peers; below it, more are grafted (Dlo).
    pub low: usize,
    /// Maximum number of peers; above it, some are pruned (Dhi).
    pub high: usize,
    /// Number of peers that receive lazy gossip (Dlazy).
    pub lazy: usize,
    /// Whether our own blocks go to every subscribed peer rather than the mesh.
    pub flood_publish: bool,
}

/// Reason why mesh sizes can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidMesh {
    /// A size is 0, or above [`MAX_MESH_SIZE`].
    #[error("a mesh size is {0}, and has to be from 1 to {max}", max = MAX_MESH_SIZE)]
    Size(usize),
    /// The sizes contradict each other.
    #[error("the mesh sizes {low}, {d} and {high} are not in growing order")]
    Order {
        /// Minimum number of peers.
        low: usize,
        /// Target number of peers.
        d: usize,
        /// Maximum number of peers.
        high: usize,
    },
}

impl MeshParams {
    /// Checks the sizes of a nodes' mesh.
    ///
    /// # Errors
    /// The first size out of range, or sizes that contradict each other.
    pub fn check(&self) -> Result<(), InvalidMesh> {
        let Self { d, low, high, lazy, .. } = *self;
        let out_of_range = |size: &usize| !(1..=MAX_MESH_SIZE).contains(size);
        if let Some(size) = [d, low, high, lazy].into_iter().find(out_of_range) {
            return Err(InvalidMesh::Size(size));
        }
        if low > d || d > high { Err(InvalidMesh::Order { low, d, high }) } else { Ok(()) }
    }
}

impl Default for MeshParams {
    fn default() -> Self {
        Self { d: 8, low: 6, high: 12, lazy: 6, flood_publish: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mesh_sizes_are_in_range_and_grow() {
        let sizes = |low, d, high, lazy| MeshParams { low, d, high, lazy, flood_publish: false };
        assert_eq!(MeshParams::default().check(), Ok(()));
        assert_eq!(sizes(1, 1, 1, 1).check(), Ok(()));
        assert_eq!(sizes(1000, 1000, 1000, 1000).check(), Ok(()));
        assert_eq!(sizes(6, 8, 12, 0).check(), Err(InvalidMesh::Size(0)));
        assert_eq!(sizes(0, 8, 12, 6).check(), Err(InvalidMesh::Size(0)));
        assert_eq!(sizes(6, 8, 1001, 6).check(), Err(InvalidMesh::Size(1001)));
        for (low, d, high) in [(9, 8, 12), (6, 13, 12)] {
            let order = InvalidMesh::Order { low, d, high };
            assert_eq!(sizes(low, d, high, 6).check(), Err(order));
        }
    }
}
