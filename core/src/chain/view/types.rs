//! The types of the chain view: its input, results and events.

use std::fmt;
use std::ops::RangeInclusive;

use alloy_primitives::B256;

use crate::time::Instant;

/// The number and hash of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId {
    /// The block's number.
    pub number: u64,
    /// The hash of the block's header.
    pub hash: B256,
}

impl BlockId {
    /// Returns the id of the block with this number and hash.
    pub const fn new(number: u64, hash: B256) -> Self {
        Self { number, hash }
    }

    /// Returns the numbers between this position and the higher position `to`, which are skipped if
    /// the chain continues there, or `None` if the two are adjacent or out of order.
    pub fn between(&self, to: &Self) -> Option<RangeInclusive<u64>> {
        let between = self.number.checked_add(1)?..=to.number.checked_sub(1)?;
        (!between.is_empty()).then_some(between)
    }

    /// Returns the id of `block`.
    pub fn of<B: ChainBlock>(block: &B) -> Self {
        Self::new(block.number(), block.hash())
    }
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.number, self.hash)
    }
}

/// The properties of a block that the view uses.
///
/// The results must not change while the view holds the block. A block is cloned once when it is
/// delivered, so it should be a shared pointer.
pub trait ChainBlock: Clone {
    /// Returns the block's number.
    fn number(&self) -> u64;
    /// Returns the hash of the block's header, as recomputed by validation.
    fn hash(&self) -> B256;
    /// Returns the hash of the parent block, which is one number below.
    fn parent_hash(&self) -> B256;
    /// Returns the number of bytes that the block takes in memory.
    fn size(&self) -> usize;
}

/// The reason why a block counts as the sequencer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The block is signed by the sequencer.
    Signed,
    /// The block was reached from a signed block by following parent hashes downwards, as in sync.
    /// The caller has checked every link. The view checks the last link again if it holds the
    /// child.
    Linked,
}

/// The outcome of [`ChainView::insert`](super::ChainView::insert).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Inserted {
    /// The block is the first one: the chain starts here.
    Anchored,
    /// The block linked to the head. The head is now this block, or the highest one that waited for
    /// it.
    Extended,
    /// The block showed that the sequencer moved to another branch, and the view moved there.
    Reorganised,
    /// The block was delivered because the view skipped the blocks in between (see [`SkipReason`]).
    Reanchored,
    /// The block links to the canonical chain, but the view has no reason yet to move to its
    /// branch. Held, but not delivered.
    Competitor,
    /// Ancestors of the block are missing. Held until they arrive.
    Pending,
    /// The block is already held, is a remembered canonical position, or belongs to a branch that
    /// the view has left. Nothing changed.
    Known,
    /// The block is not above the floor. Not held.
    TooOld,
    /// The block's number exceeds the head's by more than
    /// [`max_ahead`](super::ChainViewConfig::max_ahead). Not held.
    TooFar,
    /// The block's parent is known, but its number is not one above the parent's. Not held.
    Mislinked,
    /// The block is not signed, and no held block shows that it is the sequencer's. Not held.
    Unlinked,
    /// There was no room for the block, or it can never link because its missing ancestor is not
    /// above the floor. Not held.
    Dropped,
}

/// An opaque gap id, unique within one view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GapId(pub(super) u64);

impl GapId {
    /// Returns a number that is unique among the gaps of the view.
    pub const fn number(self) -> u64 {
        self.0
    }
}

/// Missing blocks between a block that the sequencer signed and a held block below it.
///
/// A gap is filled from above. The block `wanted` can be verified because its hash is known. Its
/// parent hash then verifies the next block, and so on down to a held block. That is usually
/// `after`, but not always: if the sequencer moved to another branch, the branch links further
/// down, and the gap changes until that position is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Gap {
    /// Id of the gap. If two gaps turn out to be one, that gap keeps one of the two ids.
    pub id: GapId,
    /// The nearest held block below `before`: the canonical block if the head is not lower,
    /// otherwise the tip of pending blocks in between, otherwise the head.
    pub after: BlockId,
    /// The lowest waiting block.
    pub before: BlockId,
    /// The missing parent of `before`: the next block to fetch.
    pub wanted: BlockId,
    /// The highest waiting block. If there are several gaps, the chain continues with the one that
    /// reaches highest.
    pub highest: BlockId,
    /// Number of heights between `after` and `before`. Zero if the block held directly below
    /// `before` is not its parent: see [`is_fork`](Self::is_fork).
    pub missing: u64,
}

impl Gap {
    /// Returns `true` if a different block is held at the height of the missing one. In this case
    /// no height is missing, but the ancestors of a competing branch are: `wanted` and an unknown
    /// number of blocks below it.
    pub const fn is_fork(&self) -> bool {
        self.missing == 0
    }
}

/// State of a position in the view: see [`ChainView::standing`](super::ChainView::standing).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// The block is canonical or links to the canonical chain.
    Linked,
    /// The block is held and waits for this block.
    Waits(BlockId),
    /// The block is not held.
    Unknown,
    /// The block can't be on any chain that the view can follow: it is not above the floor and is
    /// not a remembered position, or its hash is held with another number.
    Unreachable,
}

/// The blocks that the sequencer signed outside the shown branch since that branch last grew: see
/// [`ChainView::off_branch`](super::ChainView::off_branch).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffBranch {
    /// The highest of these blocks.
    pub highest: BlockId,
    /// Time at which the first of them arrived.
    pub since: Instant,
    /// Number of these blocks.
    pub blocks: u32,
    /// Whether both branches grow at the same time.
    pub contended: bool,
}

/// The reason why a gap ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GapEnd {
    /// The missing blocks arrived, and the waiting blocks now link.
    Filled,
    /// The gap merged with another one: its missing block turned out to be pending itself.
    Merged,
    /// The canonical chain reached the height of the waiting blocks, so they are not needed. They
    /// stay held while there is room, and a new gap opens if they grow above the head.
    Outrun,
    /// The view skipped the missing positions: a [`ChainEvent::Skipped`] follows.
    Skipped,
    /// The waiting blocks were dropped for lack of room.
    Dropped,
    /// The missing block arrived, with a number that makes the waiting blocks invalid.
    Mislinked,
}

impl GapEnd {
    /// All names, in the order of [`Self::index`].
    pub const NAMES: [&str; 6] = ["filled", "merged", "outrun", "skipped", "dropped", "mislinked"];

    /// Returns the position in [`Self::NAMES`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Returns a short name for metrics and JSON: lower case, words joined by `_`.
    pub const fn name(self) -> &'static str {
        Self::NAMES[self.index()]
    }
}

impl fmt::Display for GapEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Filled => "filled",
            Self::Merged => "merged with another gap",
            Self::Outrun => "the chain went on without the blocks above it",
            Self::Skipped => "left out",
            Self::Dropped => "the blocks above it were dropped for lack of room",
            Self::Mislinked => "the blocks above it were invalid",
        })
    }
}

/// The reason why positions were skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SkipReason {
    /// The gap made no progress for [`gap_patience`](super::ChainViewConfig::gap_patience), or for
    /// less while no source was known that could fill it.
    Patience,
    /// The waiting blocks took all the room, and the configuration says
    /// [`OnFull::Reanchor`](super::OnFull::Reanchor).
    Full,
    /// The sequencer moved to a branch that leaves the canonical chain below the remembered
    /// positions, so the common ancestor can't be found.
    Unreachable,
    /// The gap that holds the head misses more blocks than
    /// [`max_gap`](super::ChainViewConfig::max_gap).
    TooLong,
}

impl SkipReason {
    /// All names, in the order of [`Self::index`].
    pub const NAMES: [&str; 4] = ["patience", "full", "unreachable", "too_long"];

    /// Returns the position in [`Self::NAMES`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Returns a short name for metrics and JSON: lower case, words joined by `_`.
    pub const fn name(self) -> &'static str {
        Self::NAMES[self.index()]
    }
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Patience => "no peer had the blocks in time",
            Self::Full => "there was no room for more blocks above it",
            Self::Unreachable => "the sequencer's new branch begins below what is held",
            Self::TooLong => "more blocks are missing than the maximum",
        })
    }
}

/// A change of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChainEvent<B> {
    /// The next canonical block. Its parent is the block delivered before it, or the common
    /// ancestor after a `Reorg`. Only the very first block and the first block after a `Skipped`
    /// have no such parent.
    Extended(B),
    /// The sequencer moved to another branch: the blocks above `ancestor` are no longer canonical,
    /// and the blocks of `adopted` follow as `Extended`. The new branch can be higher or lower than
    /// the old one. Both lists are ascending, and both can be long.
    Reorg {
        /// The highest block that both branches share. If even the first block is abandoned, it is
        /// that block's parent, which was never delivered.
        ancestor: BlockId,
        /// The delivered blocks that are no longer canonical, lowest first.
        abandoned: Vec<BlockId>,
        /// The blocks that replace them, as far as known, lowest first. If they have to be read
        /// from the store, they follow over several calls.
        adopted: Vec<BlockId>,
    },
    /// The sequencer signed two blocks of one height, or blocks with two different ancestors of one
    /// height. Reported once for each block except the first.
    Equivocation {
        /// The height.
        number: u64,
        /// The first block of this height: the canonical block if there is one, otherwise the held
        /// block that arrived first.
        first: BlockId,
        /// The other block.
        second: BlockId,
    },
    /// Blocks are missing.
    GapOpened(Gap),
    /// The missing parent changed, because some blocks arrived or some waiting blocks were dropped.
    GapChanged(Gap),
    /// The gap ended.
    GapClosed {
        /// Id of the gap.
        id: GapId,
        /// The reason for the end.
        end: GapEnd,
    },
    /// The chain continues at `to`, which has no known link to `from`. The heights in between are
    /// never delivered. If `to` is not above `from`, the blocks delivered from that height up are
    /// no longer canonical.
    Skipped {
        /// The previous head.
        from: BlockId,
        /// The next block that is delivered.
        to: BlockId,
        /// The reason for the skip.
        reason: SkipReason,
        /// Whether the chain continues with a branch that is known not to build on the blocks
        /// delivered before, and has no known common ancestor with them. If so, none of those
        /// blocks is canonical any longer.
        detached: bool,
    },
    /// The sequencer's key signs two branches at the same time, as if two sequencers were running.
    /// The view stays on the branch that it shows.
    Contended {
        /// The head of the shown branch.
        shown: BlockId,
        /// The highest block of the other branch.
        other: BlockId,
    },
}
