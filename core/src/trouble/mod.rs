//! The trouble list: the node's own problems, each with its meaning and its remedy.
//!
//! The node raises a trouble when something stops blocks or is likely to, and clears it when the
//! cause is gone. The shells show this list wherever the operator looks: log, health, status,
//! metrics, page. They report what only they can see (a disk, an execution client, L1) with
//! [`Report`], so that one list holds everything.
//!
//! An entry is raised only after its cause has lasted for
//! [`raise_after`](TroubleKind::raise_after), and cleared only after the cause has been gone for
//! [`clear_after`](TroubleKind::clear_after): a cause that comes and goes makes one entry.
//!
//! # Bounds
//! One entry for each [`TroubleKind`]. Texts from outside are cut to [`MAX_TEXT`] bytes.

mod kind;
mod list;
mod text;

pub use kind::TroubleKind;
pub use list::{TroubleChange, TroubleList};
pub(crate) use text::Span;
pub use text::cut;

use crate::chain::BlockId;
use crate::gossip::{Reason, ScheduleDoubt};
use crate::node::UnknownFork;
use crate::payload::PayloadVersion;
use alloy_primitives::Address;
use std::time::Duration;

/// Maximum length of a text that came from outside, in bytes.
pub const MAX_TEXT: usize = 300;

/// A problem of the node itself. The display text is one sentence without a full stop: what is
/// wrong with its details, a colon, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trouble {
    /// No unsafe-block signer is known.
    SignerUnknown,
    /// Blocks are signed by another key.
    SignerWrong {
        /// The signer that this node expects.
        expected: Address,
        /// The key that signed the newest of these blocks, if it can be recovered.
        found: Option<Address>,
        /// Number of these blocks since the trouble began.
        blocks: u64,
    },
    /// Signed blocks break the fork schedule.
    ScheduleInDoubt(ScheduleDoubt),
    /// The configuration has a fork that this version does not know.
    UnknownFork(UnknownFork),
    /// No peer other than browsers is connected.
    NoPeers,
    /// No connected peer is in the mesh.
    NoMesh {
        /// Version of the topic on which blocks come.
        topic: PayloadVersion,
        /// Number of connected peers.
        peers: usize,
    },
    /// No block has arrived for too long.
    NoBlocks {
        /// The head, or `None` before the first block.
        head: Option<BlockId>,
        /// Time since the last block, or since the start.
        silence: Duration,
    },
    /// A gap stays open.
    Gap {
        /// Lowest missing number.
        from: u64,
        /// Highest missing number.
        to: u64,
        /// Connected peers and endpoints that serve blocks.
        servers: usize,
    },
    /// Signed blocks do not build on the head.
    OffBranch {
        /// The head that is shown.
        head: Option<BlockId>,
        /// The highest of these blocks.
        highest: BlockId,
        /// Number of these blocks.
        blocks: u64,
    },
    /// The sequencer's key signs two branches at once.
    TwoSequencers {
        /// The head that is shown.
        head: Option<BlockId>,
        /// The highest block of the other branch.
        highest: BlockId,
    },
    /// The block store fails: the error.
    Store(String),
    /// The peer store fails: the error.
    PeerStore(String),
    /// Blocks in the store are damaged: which.
    StoreDamaged(String),
    /// The file of the node's key is gone: its path.
    KeyFile(String),
    /// The execution client fails: one clause.
    Engine(String),
    /// The labels' source fails: the error.
    Labels(String),
    /// The signer of our own blocks fails: the error.
    Signing(String),
    /// Our own blocks are not published: the obstacle.
    Publishing(String),
    /// L1 can't be read: the error.
    L1(String),
    /// The feed's stream fails: the error.
    Feed(String),
    /// Endpoints gave false answers: which, and what was false.
    Proofs(String),
    /// No certificate for browsers could be obtained or renewed: the reason.
    Certificate(String),
    /// The wall clock is wrong.
    Clock {
        /// Milliseconds by which the clock is ahead of the newest signed block; negative if it is
        /// behind. A block is some moments old when it arrives.
        ahead_ms: i64,
    },
    /// Another node uses our key, at this address.
    KeyInUse(String),
    /// A high share of the messages is refused.
    Refused {
        /// The most frequent reason.
        reason: Reason,
        /// Number of refused messages in the period.
        refused: u64,
        /// Number of messages in the period.
        of: u64,
    },
    /// These parts of the program have ended.
    PartLost(String),
    /// This many panics were contained.
    Panicked(u64),
}

/// A report of a driver about itself. `None` means that all is well again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Report {
    /// State of the block store.
    Store(Option<String>),
    /// State of the peer store, if it is another one.
    PeerStore(Option<String>),
    /// Damaged blocks in the store.
    StoreDamaged(Option<String>),
    /// Path of the key's file, while it is gone.
    KeyFile(Option<String>),
    /// State of the execution client.
    Engine(Option<String>),
    /// State of the labels' source.
    Labels(Option<String>),
    /// State of reading L1.
    L1(Option<String>),
    /// State of the feed.
    Feed(Option<String>),
    /// Endpoints that gave false answers: which, and what was false.
    Proofs(Option<String>),
    /// State of the certificate for browsers: the reason why none could be obtained or renewed.
    Certificate(Option<String>),
    /// Number of peers in the mesh of each topic, by version; browsers do not count. A driver that
    /// never reports it gets no [`TroubleKind::NoMesh`].
    Mesh([usize; PayloadVersion::ALL.len()]),
    /// Our own peer id was seen at this address.
    KeyInUse(String),
    /// These parts of the program have ended, as a list for display; empty if all run again.
    PartLost(String),
    /// Number of panics so far.
    Panics(u64),
}

/// An entry of the trouble list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TroubleEntry {
    /// The trouble, with its newest details.
    pub trouble: Trouble,
    /// Time of the first sign, in unix seconds.
    pub since: u64,
    /// Time at which the cause was last there, in unix seconds. While it lasts, this is the time
    /// of the look; once it is gone, the time at which it went.
    pub last: u64,
}

/// Role of a node, which decides whether it is ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// It follows the chain: ready with a peer, a fresh head and a store that takes blocks.
    #[default]
    Follower,
    /// It also accepts browsers: ready as a follower, with a mesh to relay from.
    Gateway,
    /// It publishes blocks: ready if it can sign and store, with or without peers.
    Sequencer,
    /// It feeds an execution client: ready as a follower whose client takes blocks.
    EngineFollower,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 4] =
        [Self::Follower, Self::Gateway, Self::Sequencer, Self::EngineFollower];

    /// Returns a short name for metrics and JSON: lower case, words joined by `_`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Follower => "follower",
            Self::Gateway => "gateway",
            Self::Sequencer => "sequencer",
            Self::EngineFollower => "engine_follower",
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
