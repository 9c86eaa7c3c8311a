//! Configuration, steps, events and status of the gap filler.

use std::fmt;
use std::time::Duration;

use alloy_primitives::B256;

use crate::chain::{BlockId, GapId};
use crate::payload::Block;
use crate::peers::{Conduct, PeerId};
use crate::sync::check::CheckWork;
use crate::sync::client::{Answered, ClientConfig, RequestId};
use crate::sync::range::{CheckId, ChunkWork, Request, SegmentClientConfig, StreamId};

/// Settings of a [`GapFiller`](super::GapFiller).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FillConfig {
    /// Settings of the client.
    pub client: ClientConfig,
    /// Whether ranges are asked for, of peers that support the range protocol.
    pub by_ranges: bool,
    /// Settings of fetching ranges. A [`Node`](crate::node::Node) sets its chain.
    pub segments: SegmentClientConfig,
    /// Maximum number of blocks in the pending area.
    pub pending_blocks: usize,
    /// Maximum size of the blocks in the pending area, in bytes.
    pub pending_bytes: u64,
    /// Maximum age of a gap's lower end, by its timestamp (`op-node/node/node.go`); older gaps are
    /// not fetched. `None` for no maximum.
    pub max_age: Option<Duration>,
    /// History to fetch below the first head; `None` for none.
    pub history: Option<HistoryConfig>,
}

impl Default for FillConfig {
    /// 200,000 blocks or 16 GiB pending, 12 hours, and no history.
    fn default() -> Self {
        Self {
            client: ClientConfig::default(),
            by_ranges: true,
            segments: SegmentClientConfig::new(0),
            pending_blocks: 200_000,
            pending_bytes: 16 << 30,
            max_age: Some(Duration::from_secs(12 * 60 * 60)),
            history: None,
        }
    }
}

/// How far down history is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Down to the block with this number.
    Number(u64),
    /// Down to the first block that is at least this much older than the head, by their timestamps.
    Age(Duration),
}

/// Settings of fetching history. What the store does not keep is not fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryConfig {
    /// How far down.
    pub reach: Reach,
    /// Maximum number of blocks that the store keeps.
    pub keep_blocks: u64,
    /// Maximum age of a block that the store keeps, relative to the head.
    pub keep_age: Duration,
}

impl HistoryConfig {
    /// Returns the settings for a store that keeps everything.
    pub const fn new(reach: Reach) -> Self {
        Self { reach, keep_blocks: u64::MAX, keep_age: Duration::MAX }
    }
}

/// The lowest stored block of the chain, below which history goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lowest {
    /// Number of the block.
    pub number: u64,
    /// Hash of its parent.
    pub parent: B256,
    /// Its timestamp, in unix seconds.
    pub timestamp: u64,
}

impl Lowest {
    /// Returns the position of this block.
    pub fn of(block: &Block) -> Self {
        let (number, parent) = (block.number(), block.parent_hash());
        Self { number, parent, timestamp: block.timestamp() }
    }
}

/// A block of the history that the store has.
#[derive(Clone, Debug)]
pub struct Recalled {
    /// The block.
    pub block: Block,
    /// Whether the stored chain has it.
    pub is_canonical: bool,
}

/// Reason why no more history is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistoryEnd {
    /// It reaches down to where the settings say, or to the first block above the genesis.
    Complete,
    /// The store keeps no older blocks, by its limits on number, age or size.
    Retention,
    /// No source has the next block. It is asked for again when another peer connects.
    NotFound,
    /// The store refused the next block several times.
    Unstored,
}

impl fmt::Display for HistoryEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Complete => "all of it is there",
            Self::Retention => "the store keeps no older blocks",
            Self::NotFound => "no peer or endpoint has the next block",
            Self::Unstored => "the store does not take the next block",
        })
    }
}

/// The caller's id of a commanded range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RangeId(pub u64);

/// Reason why a range is not fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// There is no hash that determines the blocks of the range.
    #[error("the range ends nowhere: give the hash of its highest block, which proves the others")]
    NoEnd,
    /// There is no block to which the range could link.
    #[error("there is no chain yet that the range could link to; wait for the first block")]
    NoStart,
    /// The blocks are not missing.
    #[error("nothing is missing: block {0} is not above the head")]
    NothingMissing(u64),
    /// Fetching would take too long, and servers may not have the blocks any more.
    #[error(
        "the range begins at block {number}, which is {age} s old, and at most {limit} s are \
         fetched"
    )]
    TooOld {
        /// Number of the head.
        number: u64,
        /// Age of the head, in seconds.
        age: u64,
        /// Maximum age, in seconds.
        limit: u64,
    },
    /// The block can't exist yet.
    #[error("block {number} can't exist yet: the highest one now is about {highest}")]
    NotYet {
        /// Requested number.
        number: u64,
        /// Highest number that is possible now.
        highest: u64,
    },
    /// Another commanded range is being fetched.
    #[error("another range is being fetched; wait for its end")]
    Busy,
    /// No source had the next block for too long.
    #[error("no peer or endpoint has block {0}")]
    NotFound(u64),
    /// The chain of the requested block does not meet ours.
    #[error("the range does not link to the chain")]
    Unlinked,
    /// Fetching by number is disabled.
    #[error("fetching blocks by number is switched off")]
    Off,
}

/// Event of the gap filler, for subscribers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyncEvent {
    /// A gap is not fetched.
    Refused {
        /// The refused gap.
        gap: GapId,
        /// Reason of the refusal.
        error: RangeError,
    },
    /// A block of a gap was found.
    Found {
        /// The gap that is being fetched.
        gap: GapId,
        /// The lowest block found so far.
        lowest: BlockId,
        /// Number of heights between the head and this block.
        missing: u64,
    },
    /// The path down met the chain, or ended: these blocks are passed on now.
    Landing {
        /// Position below the lowest block.
        after: BlockId,
        /// The highest block.
        highest: BlockId,
        /// Number of blocks.
        blocks: usize,
    },
    /// A commanded range ended.
    Range {
        /// Id of the range.
        id: RangeId,
        /// Whether the range is complete, or why not.
        result: Result<(), RangeError>,
    },
    /// No more history is fetched.
    History {
        /// Number of the lowest block that was fetched, or was there before.
        lowest: u64,
        /// Reason of the end.
        end: HistoryEnd,
    },
    /// Conduct of a peer as a server.
    Conduct {
        /// The peer in question.
        peer: PeerId,
        /// Its conduct.
        conduct: Conduct,
    },
    /// A request of ours ended.
    Answered(Answered),
}

/// Action that the filler requests from its driver.
#[derive(Clone, Debug)]
pub enum FillStep {
    /// Send a request to a peer.
    Ask {
        /// Id of the request.
        id: RequestId,
        /// Peer to ask.
        peer: PeerId,
        /// Number to ask for.
        number: u64,
        /// Maximum size of the answer, in bytes.
        limit: usize,
    },
    /// Post a JSON-RPC request to an endpoint.
    AskEndpoint {
        /// Id of the request.
        id: RequestId,
        /// Position of the endpoint in the driver's list.
        endpoint: usize,
        /// Number to ask for.
        number: u64,
        /// Body of the request.
        body: String,
        /// Maximum size of the answer, in bytes.
        limit: usize,
    },
    /// Run this check, and pass its result to [`GapFiller::checked`](super::GapFiller::checked).
    Check(RequestId, CheckWork),
    /// Open a stream of the range protocol to a peer, and write the request.
    Open {
        /// Id of the stream.
        id: StreamId,
        /// Peer to ask.
        peer: PeerId,
        /// The request.
        request: Request,
    },
    /// Read what comes next on this stream, and pass it to
    /// [`GapFiller::stream_received`](super::GapFiller::stream_received), or the end of the stream
    /// to [`GapFiller::stream_closed`](super::GapFiller::stream_closed).
    Receive {
        /// Id of the stream.
        id: StreamId,
        /// Maximum number of bytes.
        limit: usize,
    },
    /// Reset this stream if it is not closed. Nothing needs to be reported about it any more.
    Cancel(StreamId),
    /// Run this check, and pass its result to
    /// [`GapFiller::chunk_checked`](super::GapFiller::chunk_checked).
    CheckChunk(CheckId, ChunkWork),
    /// Put this block into the pending area, and report the result to
    /// [`GapFiller::held`](super::GapFiller::held).
    Hold(Block),
    /// Remove these blocks from the pending area.
    Release(Vec<BlockId>),
    /// Load these blocks from the pending area, and pass them to
    /// [`GapFiller::loaded`](super::GapFiller::loaded).
    Load(Vec<BlockId>),
    /// Put this block of the history below the stored chain, and report the result to
    /// [`GapFiller::prepended`](super::GapFiller::prepended).
    Prepend(Block),
    /// Look for this block in the store, canonical or not, and for those below that link to it: at
    /// most [`LOAD_BLOCKS`](super::LOAD_BLOCKS) or [`LOAD_BYTES`](super::LOAD_BYTES). Pass them to
    /// [`GapFiller::recalled`](super::GapFiller::recalled), highest first. Without the block, pass
    /// none.
    Recall(BlockId),
    /// Publish this event.
    Event(SyncEvent),
}

/// State of fetching.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyncStatus {
    /// Next block to prove for a gap or a command; `None` if none is being fetched.
    pub wanted: Option<BlockId>,
    /// Next block of the history to prove; `None` if no history is being fetched.
    pub history: Option<BlockId>,
    /// Number of blocks in the pending area.
    pub pending: usize,
    /// Number of requests by number in flight or being checked.
    pub in_flight: usize,
    /// Number of open streams of ranges.
    pub streams: usize,
    /// Number of connected peers that may be asked for blocks by number.
    pub servers: usize,
    /// Number of connected peers that may be asked for ranges.
    pub range_servers: usize,
    /// Number of JSON-RPC endpoints that the operator named.
    pub endpoints: usize,
    /// Number of blocks that are still to land.
    pub landing: usize,
    /// Number of heights that are being fetched at once.
    pub slots: usize,
    /// Number of peers with a charge that does not count yet.
    pub charges: usize,
    /// Size of blocks in memory and of room reserved for answers, in bytes.
    pub memory: usize,
}
