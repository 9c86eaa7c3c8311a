//! The vocabulary of the chain view: what goes in, what comes out.

use std::fmt;

use alloy_primitives::B256;

/// A block, named by its position and its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId {
    /// The block's number.
    pub number: u64,
    /// The hash of the block's header.
    pub hash: B256,
}

impl BlockId {
    /// The block `hash` at height `number`.
    pub const fn new(number: u64, hash: B256) -> Self {
        Self { number, hash }
    }

    /// The name of `block`.
    pub fn of<B: ChainBlock>(block: &B) -> Self {
        Self::new(block.number(), block.hash())
    }
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.number, self.hash)
    }
}

/// What the view needs to know of a block.
///
/// The answers must not change while the view holds the block. A block is cloned once when it is handed on, so it
/// should be a shared pointer.
pub trait ChainBlock: Clone {
    /// The block's number.
    fn number(&self) -> u64;
    /// The hash of the block's header, recomputed by whoever validated the block.
    fn hash(&self) -> B256;
    /// The hash of the block one number below.
    fn parent_hash(&self) -> B256;
    /// How many bytes the block holds in memory.
    fn size(&self) -> usize;
}

/// Why a block counts as the sequencer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The sequencer signed it.
    Signed,
    /// It was reached from a signed block by following parent hashes downwards, as sync does. The caller has
    /// checked every link; the view checks the last one again if it holds the child.
    Linked,
}

/// What [`ChainView::insert`](super::ChainView::insert) made of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Inserted {
    /// The first block: the chain starts here.
    Anchored,
    /// It linked to the head. The head is now this block, or the highest one that waited for it.
    Extended,
    /// It made another branch that links longer than the canonical one: the view moved there.
    Reorganised,
    /// It was handed on because the view gave up on the blocks between (see [`SkipReason`]).
    Reanchored,
    /// It links to the canonical chain, at or below the head's height: held, not handed on.
    Competitor,
    /// Its ancestors are missing: held until they come.
    Pending,
    /// It is held already, or is the floor. Nothing changed.
    Known,
    /// It lies below the blocks that are held. Not held.
    TooOld,
    /// Its number is further above the head than
    /// [`max_ahead`](super::ChainViewConfig::max_ahead). Not held.
    TooFar,
    /// Its parent is known and its number is not one above the parent's. Not held.
    Mislinked,
    /// It is not signed, and no held block shows that it is the sequencer's. Not held.
    Unlinked,
    /// It is not held: there was no room, or it can never link because what it hangs on lies below the blocks
    /// that are held.
    Dropped,
}

/// The opaque name of a gap. No two gaps of one view ever have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GapId(pub(super) u64);

impl GapId {
    /// A number that no other gap of the view has.
    pub const fn number(self) -> u64 {
        self.0
    }
}

/// Blocks that are missing below a block that the sequencer signed and above one that is held.
///
/// It is filled from above: whoever has the block `wanted` can prove it, because its hash is known. Its parent hash
/// then proves the next one, and so on down to a block that is held. That is usually `after`, but need not be: if
/// the sequencer changed its mind, the branch links further down, and the gap changes until it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Gap {
    /// Which gap this is. Two gaps that turn out to be one go on under the name of either.
    pub id: GapId,
    /// The nearest block held below `before`: the canonical one if the head is not lower, else the tip of pending
    /// blocks that lie between, else the head.
    pub after: BlockId,
    /// The lowest block of those that wait.
    pub before: BlockId,
    /// The missing parent of `before`: the next block to fetch.
    pub wanted: BlockId,
    /// The highest block of those that wait. Of several gaps, the one whose blocks reach highest decides where the
    /// chain goes.
    pub highest: BlockId,
    /// How many numbers lie between `after` and `before`. Zero if the block held directly below `before` is not its
    /// parent: see [`is_fork`](Self::is_fork).
    pub missing: u64,
}

impl Gap {
    /// Whether a different block is held at the height of the missing one: no number is missing, but the ancestors
    /// of a competing branch are, `wanted` and an unknown number of blocks below it.
    pub const fn is_fork(&self) -> bool {
        self.missing == 0
    }
}

/// What the view knows of a position: see [`ChainView::standing`](super::ChainView::standing).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It links to the canonical chain, or is of it.
    Linked,
    /// It is held and waits for this block.
    Waits(BlockId),
    /// It is not held.
    Unknown,
    /// It can't be on any chain that the view can follow: it is not above the floor and is not the floor, or is
    /// held with another number.
    Unreachable,
}

/// Why there is no gap any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GapEnd {
    /// The missing blocks came; what waited for them links now.
    Filled,
    /// It and another gap are one: it ended in blocks that are pending themselves.
    Merged,
    /// The canonical chain reached the height of the blocks that wait, so there is no need for them. They stay held
    /// while there is room, and a new gap opens if they grow above the head.
    Outrun,
    /// The view left the missing positions out: a [`ChainEvent::Skipped`] follows.
    Skipped,
    /// The blocks that waited were dropped for lack of room.
    Dropped,
    /// The missing block came and has a number that makes the blocks that waited for it invalid.
    Mislinked,
}

/// Why positions were left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SkipReason {
    /// The gap made no progress, nor did the head, for
    /// [`gap_patience`](super::ChainViewConfig::gap_patience).
    Patience,
    /// The blocks that wait took all the room, and the configuration says
    /// [`OnFull::Reanchor`](super::OnFull::Reanchor).
    Full,
    /// The sequencer signed a longer branch that leaves the canonical chain below the blocks that are held, so
    /// that the common ancestor can't be found.
    Unreachable,
}

/// What happened to the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChainEvent<B> {
    /// The next canonical block. Its parent is the block handed on before it, or after a `Reorg` the common
    /// ancestor; only the first one of all and the first one after a `Skipped` have no such parent.
    Extended(B),
    /// The sequencer signed a longer branch: the blocks above `ancestor` are no longer canonical, and the blocks of
    /// `adopted` follow as `Extended`. Both lists ascend.
    Reorg {
        /// The highest block that both branches have. If even the first block is abandoned, it is the parent of
        /// that, which was never handed on.
        ancestor: BlockId,
        /// The blocks handed on before that are not canonical any more, lowest first.
        abandoned: Vec<BlockId>,
        /// The blocks that take their place, lowest first.
        adopted: Vec<BlockId>,
    },
    /// The sequencer signed two blocks of one height, or blocks whose ancestors are two of one height. Once for
    /// each block that is not the first.
    Equivocation {
        /// The height.
        number: u64,
        /// The block that has the height: the canonical one, or of those that do not link the first.
        first: BlockId,
        /// The other one.
        second: BlockId,
    },
    /// Blocks are missing.
    GapOpened(Gap),
    /// The missing parent is another one: some blocks came, or some that waited were dropped.
    GapChanged(Gap),
    /// Blocks are no longer missing there.
    GapClosed {
        /// The name it was opened with.
        id: GapId,
        /// What became of it.
        end: GapEnd,
    },
    /// The chain goes on at `to`, whose link to `from` is not known. The numbers between the two are never handed
    /// on. If `to` is not above `from`, the blocks handed on from that height up are no longer canonical.
    Skipped {
        /// The head until now.
        from: BlockId,
        /// The next block that is handed on.
        to: BlockId,
        /// Why.
        reason: SkipReason,
    },
}
