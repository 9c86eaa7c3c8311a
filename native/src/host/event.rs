//! What a running node tells, and how it is doing.

use alloy_primitives::Address;
use libp2p::{Multiaddr, PeerId};
use opp2p_core::chain::BlockId;
use opp2p_core::gossip::{Acceptance, Reason};
use opp2p_core::l1::L1Error;
use opp2p_core::node::{Event, Verdict};
use opp2p_core::sync::SyncStatus;
use std::collections::BTreeMap;
use std::time::Instant;

/// Something that happened in the node, and when.
#[derive(Clone, Debug)]
pub struct HostEvent {
    /// When the node learned of it.
    pub at: Instant,
    /// What it is.
    pub kind: HostEventKind,
}

/// What can happen.
#[derive(Clone, Debug)]
pub enum HostEventKind {
    /// A gossip message was judged.
    Verdict(Verdict),
    /// The core told something: a block, a gap, a reorg.
    Core(Event),
    /// The first connection to a peer stands.
    Connected {
        /// Who.
        peer: PeerId,
        /// Where.
        address: Multiaddr,
    },
    /// The last connection to a peer is gone.
    Disconnected {
        /// Who.
        peer: PeerId,
    },
    /// An attempt to connect failed.
    DialFailed {
        /// Who.
        peer: PeerId,
        /// Why.
        error: String,
    },
    /// A peer said who it is.
    Identified {
        /// Who.
        peer: PeerId,
        /// Its agent.
        agent: String,
    },
    /// The router was asked to let connections in, and this became of it.
    Nat(NatEvent),
    /// L1 was asked who signs.
    L1(L1News),
    /// A block is on the disk.
    Stored(BlockId),
    /// The disk does not take blocks. They wait, as many as the queue holds, and are tried again; the node goes on.
    StoreFailed(String),
    /// The disk takes blocks again, and has those that waited.
    StoreRecovered,
}

/// What became of asking L1 who signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum L1News {
    /// This is what the contract says.
    Read {
        /// The signer; `None` if it names none.
        signer: Option<Address>,
        /// L1 block at which it was read.
        block: u64,
    },
    /// It could not be read; the next attempt comes by itself.
    Failed(L1Error),
    /// It could never be read so far, as often as was tried. A node that knows no signer otherwise is of no use.
    GaveUp(L1Error),
}

/// What became of asking the router to let connections in (`p2p.nat`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NatEvent {
    /// Connections to an address of the router's reach this node.
    Mapped {
        /// Where this node listens.
        local: Multiaddr,
        /// The router's address, which peers are told.
        external: Multiaddr,
    },
    /// They no longer do: the router did not renew it. It is asked again, four times with growing pauses.
    Expired {
        /// Where this node listens.
        local: Multiaddr,
        /// The router's address.
        external: Multiaddr,
    },
    /// No router with UPnP was found. None is looked for again.
    NoGateway,
    /// The router has no public address itself. It is not asked again.
    PrivateGateway,
}

/// How a node is doing.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// Contiguous unsafe head.
    pub head: Option<BlockId>,
    /// Highest block that the sequencer signed.
    pub highest: Option<BlockId>,
    /// Connected peers but for browsers.
    pub peers: usize,
    /// Connected browsers: peers that came over a WebSocket. Who connects by TCP as well is still one of them.
    pub browsers: usize,
    /// Peers but for browsers that are subscribed to the topic of the present fork.
    pub subscribers: usize,
    /// Peers in the mesh of that topic. Browsers have their own, which takes them all.
    pub mesh: usize,
    /// Browsers in theirs: those that get each block at once.
    pub browser_mesh: usize,
    /// Messages accepted.
    pub accepted: u64,
    /// Messages not accepted, by the check that decided.
    pub refused: BTreeMap<Reason, u64>,
    /// Highest block that is on the disk.
    pub stored: Option<BlockId>,
    /// Why the disk takes no blocks at present; `None` while it does.
    pub store_error: Option<String>,
    /// How fetching missing blocks stands; `None` if it is switched off.
    pub sync: Option<SyncStatus>,
    /// Blocks served to peers by number.
    pub served: u64,
}

impl Status {
    /// Messages that were judged so.
    pub fn judged(&self, acceptance: Acceptance) -> u64 {
        match acceptance {
            Acceptance::Accept => self.accepted,
            _ => self.refused.iter().filter(|(why, _)| why.acceptance() == acceptance).map(|(_, n)| n).sum(),
        }
    }
}
