//! The vocabulary of the gap filler: how it is configured, what it wants done, what it tells.

use std::time::Duration;

use crate::chain::{BlockId, GapId};
use crate::payload::Block;
use crate::peers::{Conduct, PeerId};
use crate::sync::check::CheckWork;
use crate::sync::client::{Answered, ClientConfig, RequestId};

/// What a [`GapFiller`](super::GapFiller) is configured by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FillConfig {
    /// Bounds of the client.
    pub client: ClientConfig,
    /// Most blocks in the pending area.
    pub pending_blocks: usize,
    /// Most bytes of blocks in the pending area.
    pub pending_bytes: u64,
    /// A gap whose lower end, by its timestamp, is older than this is not asked for (`op-node/node/node.go`).
    /// `None`: any gap is.
    pub max_age: Option<Duration>,
    /// How long a gap may stay without a new block of it before the view's own patience decides. `None`: for ever.
    pub patience: Option<Duration>,
}

impl Default for FillConfig {
    /// 200,000 blocks or 16 GiB pending, 12 hours, 10 minutes.
    fn default() -> Self {
        Self {
            client: ClientConfig::default(),
            pending_blocks: 200_000,
            pending_bytes: 16 << 30,
            max_age: Some(Duration::from_secs(12 * 60 * 60)),
            patience: Some(Duration::from_secs(10 * 60)),
        }
    }
}

/// The caller's name for a commanded range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RangeId(pub u64);

/// Why a range is not fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// Nothing says which blocks are the chain's.
    #[error("the range ends nowhere: give the hash of its highest block, which proves the others")]
    NoEnd,
    /// There is no block to link to.
    #[error("there is no chain yet that the range could link to; wait for the first block")]
    NoStart,
    /// The chain is there already.
    #[error("nothing is missing: block {0} is not above the head")]
    NothingMissing(u64),
    /// It would take too long, and whoever serves may not have it any more.
    #[error("the range begins at block {number}, which is {age} s old, and at most {limit} s are fetched")]
    TooOld {
        /// The head.
        number: u64,
        /// How old it is, seconds.
        age: u64,
        /// How old it may be, seconds.
        limit: u64,
    },
    /// Another commanded range is under way.
    #[error("another range is being fetched; wait for its end")]
    Busy,
    /// No peer had the next block for too long.
    #[error("no peer has block {0}")]
    NotFound(u64),
    /// The chain that the block belongs to does not meet ours.
    #[error("the range does not link to the chain")]
    Unlinked,
    /// Blocks are not fetched by number at all.
    #[error("fetching blocks by number is switched off")]
    Off,
}

/// Something worth telling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyncEvent {
    /// A gap is not asked for.
    Refused {
        /// Which gap.
        gap: GapId,
        /// Why.
        error: RangeError,
    },
    /// The way down met the chain, or ended: these blocks are handed on now.
    Landing {
        /// The position below the lowest.
        after: BlockId,
        /// The highest.
        highest: BlockId,
        /// How many.
        blocks: usize,
    },
    /// A commanded range ended.
    Range {
        /// Which one.
        id: RangeId,
        /// Whether it is there now.
        result: Result<(), RangeError>,
    },
    /// A peer's conduct as a server.
    Conduct {
        /// Who.
        peer: PeerId,
        /// What it did.
        conduct: Conduct,
    },
    /// A request of ours ended.
    Answered(Answered),
}

/// Something that the filler wants done.
#[derive(Clone, Debug)]
pub enum FillStep {
    /// Send a request.
    Ask {
        /// Its name.
        id: RequestId,
        /// Whom.
        peer: PeerId,
        /// For what.
        number: u64,
        /// Bytes that it may bring.
        limit: usize,
    },
    /// Run this check.
    Check(RequestId, CheckWork),
    /// Put this into the pending area, and say when it is there.
    Hold(Block),
    /// Take these out of it.
    Release(Vec<BlockId>),
    /// Load these from it.
    Load(Vec<BlockId>),
    /// Tell whoever is interested.
    Event(SyncEvent),
}

/// How the fetching stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyncStatus {
    /// The next block to prove; `None` if nothing is fetched.
    pub wanted: Option<BlockId>,
    /// Blocks in the pending area.
    pub pending: usize,
    /// Requests under way.
    pub in_flight: usize,
    /// Connected peers that may be asked.
    pub servers: usize,
    /// Blocks that are still to land.
    pub landing: usize,
    /// Numbers that are fetched at once.
    pub slots: usize,
    /// Bytes of blocks in memory and of room that is set aside for answers.
    pub memory: usize,
}
