//! Events of a running node, and its status.

use alloy_primitives::Address;
use libp2p::{Multiaddr, PeerId};
use opp2p_core::chain::BlockId;
use opp2p_core::gossip::{Acceptance, Reason, Verdict};
use opp2p_core::l1::L1Error;
use opp2p_core::node::Event;
use opp2p_core::sync::SyncStatus;
use std::collections::BTreeMap;
use std::time::Instant;

/// An event in the node, with its time.
#[derive(Clone, Debug)]
pub struct HostEvent {
    /// Time at which the node learned of it.
    pub at: Instant,
    /// The event.
    pub kind: HostEventKind,
}

/// Kind of a [`HostEvent`].
#[derive(Clone, Debug)]
pub enum HostEventKind {
    /// A gossip message has its verdict.
    Verdict(Verdict),
    /// An event of the core: a block, a gap, a reorg.
    Core(Event),
    /// The first connection to a peer is established.
    Connected {
        /// Id of the peer.
        peer: PeerId,
        /// Address of the peer.
        address: Multiaddr,
    },
    /// The last connection to a peer has ended.
    Disconnected {
        /// Id of the peer.
        peer: PeerId,
    },
    /// An attempt to connect failed.
    DialFailed {
        /// Id of the peer.
        peer: PeerId,
        /// Reason of the failure.
        error: String,
    },
    /// A peer sent its identify information.
    Identified {
        /// Id of the peer.
        peer: PeerId,
        /// Agent version of the peer.
        agent: String,
    },
    /// Result of asking the router to forward connections.
    Nat(NatEvent),
    /// Result of reading the signer from L1.
    L1(L1News),
    /// A block is on the disk.
    Stored(BlockId),
    /// The disk does not take blocks. They wait, as many as the queue holds, and are retried; the
    /// node goes on.
    StoreFailed(String),
    /// The disk takes blocks again, and has those that waited.
    StoreRecovered,
}

/// Result of reading the signer from L1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum L1News {
    /// The contract was read.
    Read {
        /// The signer; `None` if the contract names none.
        signer: Option<Address>,
        /// L1 block at which it was read.
        block: u64,
    },
    /// It could not be read; it is retried.
    Failed(L1Error),
    /// All attempts so far have failed. A node without a signer from elsewhere is of no use.
    GaveUp(L1Error),
}

/// Result of asking the router to forward connections (`p2p.nat`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NatEvent {
    /// Connections to an address of the router reach this node.
    Mapped {
        /// Listen address of this node.
        local: Multiaddr,
        /// Address of the router, which is announced to peers.
        external: Multiaddr,
    },
    /// The mapping has expired: the router did not renew it. It is asked again, four times with
    /// growing pauses.
    Expired {
        /// Listen address of this node.
        local: Multiaddr,
        /// Address of the router.
        external: Multiaddr,
    },
    /// No router with UPnP was found. The search is not repeated.
    NoGateway,
    /// The router has no public address itself. It is not asked again.
    PrivateGateway,
}

/// Status of a node.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// Contiguous unsafe head.
    pub head: Option<BlockId>,
    /// Highest block that the sequencer signed.
    pub highest: Option<BlockId>,
    /// Number of connected peers, without browsers.
    pub peers: usize,
    /// Number of connected [browsers](opp2p_core::peers::manager#browsers).
    pub browsers: usize,
    /// Number of peers, without browsers, that are subscribed to the topic of the current fork.
    pub subscribers: usize,
    /// Number of peers in the nodes' mesh of that topic. Browsers have their own, which takes them
    /// all.
    pub mesh: usize,
    /// Number of browsers in their mesh of that topic: those that get each block at once.
    pub browser_mesh: usize,
    /// Number of accepted messages.
    pub accepted: u64,
    /// Number of messages not accepted, by the deciding check.
    pub refused: BTreeMap<Reason, u64>,
    /// Head of the stored chain.
    pub stored: Option<BlockId>,
    /// Reason why the disk takes no blocks at present; `None` while it does.
    pub store_error: Option<String>,
    /// State of fetching missing blocks; `None` if it is disabled.
    pub sync: Option<SyncStatus>,
    /// Number of blocks served to peers, by number and in ranges.
    pub served: u64,
}

impl Status {
    /// Returns the number of messages with this outcome.
    pub fn judged(&self, acceptance: Acceptance) -> u64 {
        match acceptance {
            Acceptance::Accept => self.accepted,
            _ => self
                .refused
                .iter()
                .filter(|(why, _)| why.acceptance() == acceptance)
                .map(|(_, n)| n)
                .sum(),
        }
    }
}
