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
/// Maximum number of messages queued for one browser. Each of them is a copy, and browsers are
/// many. A browser that falls further behind fetches what it missed by number.
pub const BROWSER_QUEUE: usize = 16;
/// Number of peers in the nodes' mesh that this node has dialled, if the mesh is large enough: the
/// default of the reference's library.
const OUTBOUND_MIN: usize = 2;
/// More peers than a mesh can have: the connection limits bound the number of browsers.
const ALL_BROWSERS: usize = 1 << 20;
/// Minimum size in bytes of a message that is announced in IDONTWANT before it is validated.
pub const IDONTWANT_THRESHOLD: usize = 1024;
/// Maximum number of concurrent validations for one topic; further messages wait.
pub const VALIDATION_CONCURRENCY: usize = 4;
/// Maximum number of messages that wait for validation; further ones are dropped.
pub const VALIDATION_QUEUE: usize = 256;

/// One of the two meshes of a node that accepts browsers, and their peers.
///
/// A mesh has few places, and a peer outside it learns of a block only later. Browsers are many,
/// can't be dialled, and are watched by people. They therefore have a mesh of their own, which
/// takes all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mesh {
    /// Mesh of the nodes: of all peers except browsers.
    Nodes,
    /// Mesh of the browsers.
    Browsers,
}

impl Mesh {
    /// Both meshes.
    pub const ALL: [Self; 2] = [Self::Nodes, Self::Browsers];

    /// Returns the sizes of this mesh, given those of the nodes' mesh. The browsers' mesh takes all
    /// of its subscribers, and a message from elsewhere goes to all of them at once.
    pub const fn sizes(self, nodes: MeshParams) -> MeshParams {
        match self {
            Self::Nodes => nodes,
            Self::Browsers => MeshParams {
                d: ALL_BROWSERS,
                low: ALL_BROWSERS,
                high: ALL_BROWSERS,
                lazy: nodes.lazy,
                flood_publish: true,
            },
        }
    }

    /// Returns the minimum number of peers in this mesh that this node has dialled (Dout), for the
    /// [sizes](Self::sizes) of this mesh. Browsers are never dialled.
    pub fn outbound_min(self, sizes: &MeshParams) -> usize {
        match self {
            Self::Nodes => OUTBOUND_MIN.min(sizes.d / 2).min(sizes.low.saturating_sub(1)),
            Self::Browsers => 0,
        }
    }

    /// Returns the maximum number of messages queued for one peer of this mesh.
    pub const fn queue(self) -> usize {
        match self {
            Self::Nodes => OUTBOUND_QUEUE,
            Self::Browsers => BROWSER_QUEUE,
        }
    }
}

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

    #[test]
    fn the_outbound_minimum_fits_into_every_mesh() {
        let outbound = |d, low| {
            let sizes = MeshParams { d, low, ..MeshParams::default() };
            Mesh::Nodes.outbound_min(&Mesh::Nodes.sizes(sizes))
        };
        assert_eq!(outbound(8, 6), 2);
        // It is below the minimum size, and at most half of the target.
        for (d, low) in [(8, 2), (3, 3), (2, 2)] {
            assert_eq!(outbound(d, low), 1, "D {d}, Dlo {low}");
        }
        for (d, low) in [(1, 1), (8, 1), (8, 0), (0, 0)] {
            assert_eq!(outbound(d, low), 0, "D {d}, Dlo {low}");
        }
        let browsers = Mesh::Browsers.sizes(MeshParams::default());
        assert_eq!(Mesh::Browsers.outbound_min(&browsers), 0);
    }
}
