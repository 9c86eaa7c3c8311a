//! Read access to the view.

use alloy_primitives::B256;

use super::ChainView;
use super::store::Place;
use super::types::{BlockId, ChainBlock, Gap, OffBranch};
use crate::time::Instant;
use std::time::Duration;

/// Time without progress after which a gap may belong to a branch that no server has any more.
const STUCK: Duration = Duration::from_secs(30);

/// Knowledge about a canonical position: see [`ChainView::find`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position<'a, B> {
    /// Above the head, where nothing is canonical.
    Above,
    /// The block is held.
    Held(&'a B),
    /// Only the hash is known.
    Known(B256),
    /// Below all remembered positions.
    Deep,
}

impl<B: ChainBlock> ChainView<B> {
    /// Returns the newest canonical block, or `None` before the first block.
    pub fn head(&self) -> Option<BlockId> {
        self.canonical.head()
    }

    /// Returns the lowest remembered canonical position, the deepest one at which a reorg can
    /// start.
    pub fn floor(&self) -> Option<BlockId> {
        self.canonical.floor()
    }

    /// Returns the position directly below the lowest held canonical block.
    pub fn window_floor(&self) -> Option<BlockId> {
        self.canonical.window_floor()
    }

    /// Returns the blocks that the sequencer signed since the shown branch last grew and that, as
    /// far as is known, do not build on that branch. Returns `None` if there are no such blocks.
    ///
    /// A lost block also produces a result, until it is fetched or skipped.
    pub fn off_branch(&self) -> Option<OffBranch> {
        let waiting =
            self.runs.lowest_open().and_then(|id| self.runs.get(id)).map(|run| OffBranch {
                highest: self.runs.highest_open().unwrap_or(run.wanted),
                since: run.since.unwrap_or_default(),
                blocks: u32::try_from(run.members.len()).unwrap_or(u32::MAX),
                contended: false,
            });
        self.rivals.off_branch().or(waiting)
    }

    /// Returns the part of [`Self::off_branch`] that is known to be another branch, or one that
    /// does not reach above the head, so that no gap of the shown branch explains it.
    pub fn rival(&self) -> Option<OffBranch> {
        self.rivals.off_branch()
    }

    /// Returns `true` if this block is known to be the sequencer's: it is held, is a remembered
    /// canonical position, or belongs to a branch that was left.
    pub fn knows(&self, id: &BlockId) -> bool {
        self.store.id(&id.hash) == Some(*id)
            || self.canonical.contains(id)
            || self.rivals.was_abandoned(*id)
    }

    /// Returns `true` if the sequencer may have signed this block, as far as the view knows at
    /// `now`: it knows the block, or another branch that reaches as high and may include it. A gap
    /// without progress for half a minute counts as such a branch.
    pub fn may_be_signed(&self, id: &BlockId, now: Instant) -> bool {
        let is_stuck = |gap: Gap| {
            gap.highest.number >= id.number
                && self.waiting_since(gap.id).is_some_and(|since| now.since(since) >= STUCK)
        };
        self.knows(id)
            || self.store.has_branch_from(id.number)
            || self.rivals.left_from(id.number)
            || self.gaps().any(is_stuck)
    }

    /// Returns `true` if blocks below the head may still be wanted: a gap is open, or another
    /// branch may take over.
    pub fn is_unsettled(&self) -> bool {
        self.runs.lowest_open().is_some() || self.rivals.any()
    }

    /// Returns the highest known block, linked or not.
    pub fn highest(&self) -> Option<BlockId> {
        self.runs.highest_open().or_else(|| self.head())
    }

    /// Returns the lowest open gap, which holds up the head.
    pub fn gap(&self) -> Option<Gap> {
        self.gaps().next()
    }

    /// Returns all open gaps in their current state, lowest first.
    pub fn gaps(&self) -> impl Iterator<Item = Gap> + '_ {
        self.runs.open().filter_map(|(id, run)| self.describe(id, run))
    }

    /// Returns the canonical block with this number, if held.
    pub fn canonical(&self, number: u64) -> Option<&B> {
        self.canonical.hash_at(number).and_then(|hash| self.get(&hash))
    }

    /// Returns the hash of the canonical block with this number, if remembered.
    pub fn canonical_hash(&self, number: u64) -> Option<B256> {
        self.canonical.id_at(number).map(|id| id.hash)
    }

    /// Returns the canonical block with this hash, if held.
    pub fn canonical_by_hash(&self, hash: &B256) -> Option<&B> {
        self.store.get(hash).filter(|held| held.place == Place::Canonical).map(|held| &held.block)
    }

    /// Returns what the view knows of the canonical position with this number. The store may lag
    /// behind the view, so its block counts only if it agrees with this.
    pub fn find(&self, number: u64) -> Position<'_, B> {
        if self.head().is_none_or(|head| number > head.number) {
            return Position::Above;
        }
        match (self.canonical(number), self.canonical_hash(number)) {
            (Some(block), _) => Position::Held(block),
            (None, Some(hash)) => Position::Known(hash),
            (None, None) => Position::Deep,
        }
    }

    /// Returns `true` if a stored chain that ends in `head` is this chain, or a lower part of it:
    /// then the store has all reorgs that reach below that block, and its blocks count where the
    /// view answers [`Position::Deep`].
    pub fn agrees_with(&self, head: Option<BlockId>) -> bool {
        head.is_some_and(|head| self.canonical_hash(head.number) == Some(head.hash))
    }

    /// Returns the block with this hash, if held: canonical, competitor or pending.
    pub fn get(&self, hash: &B256) -> Option<&B> {
        self.store.get(hash).map(|held| &held.block)
    }

    /// Returns the held canonical blocks, lowest first.
    pub fn recent(&self) -> impl DoubleEndedIterator<Item = &B> {
        self.canonical.window().filter_map(|hash| self.get(hash))
    }

    /// Returns the number of held blocks: at most
    /// [`ChainViewConfig::max_blocks`](super::ChainViewConfig::max_blocks).
    pub fn blocks(&self) -> usize {
        self.store.len()
    }

    /// Returns the total size of the held blocks, in bytes: at most
    /// [`ChainViewConfig::max_bytes`](super::ChainViewConfig::max_bytes).
    pub fn bytes(&self) -> usize {
        usize::try_from(self.store.bytes()).unwrap_or(usize::MAX)
    }

    /// Returns the number and total size, in bytes, of the held blocks with missing ancestors. The
    /// time is proportional to the number of held blocks.
    pub fn pending(&self) -> (usize, usize) {
        let (blocks, bytes) = self.store.pending();
        (blocks, usize::try_from(bytes).unwrap_or(usize::MAX))
    }
}
