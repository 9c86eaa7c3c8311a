//! Blocks of the history that the store has already. They are taken from there, not from peers.
//!
//! The store has such blocks after a reorg below the first head, since the old chain stays in it;
//! after an import; and below a head that an execution engine named. So the store is asked first,
//! for the next block and those below it ([`FillStep::Recall`]). If it has none, peers are asked
//! for a number of blocks, and then the store again. That number doubles each time: at most as many
//! blocks are fetched in vain as were missing, and at most [`LONGEST`]. The store is also asked
//! when no peer delivers the next block for a while.
//!
//! # Bounds
//! One question to the store at a time. Its answer has at most [`LOAD_BLOCKS`](super::LOAD_BLOCKS)
//! blocks or [`LOAD_BYTES`](super::LOAD_BYTES).

use super::{FillStep, GapFiller, HistoryEnd, Recalled};
use crate::chain::{BlockId, ChainConfig};
use crate::sync::client::Range;

/// Number of blocks that peers are asked for after the store had none for the first time.
const FIRST: u64 = 16;
/// Maximum number of blocks that peers are asked for before the store is asked again.
const LONGEST: u64 = 4096;

/// Progress of asking the store.
#[derive(Debug)]
pub(super) struct Recall {
    /// The block that the store is asked for now.
    asked: Option<BlockId>,
    /// Lowest number that peers may be asked for; `None` if the store has to be asked first.
    floor: Option<u64>,
    /// Number of blocks that peers are asked for if the store has none.
    step: u64,
}

impl Recall {
    pub(super) const fn new() -> Self {
        Self { asked: None, floor: None, step: FIRST }
    }

    /// Has the store asked before peers are.
    pub(super) const fn begin(&mut self) {
        (self.floor, self.step) = (None, FIRST);
    }

    /// Returns `true` if peers may be asked for this block.
    fn may_fetch(&self, id: BlockId) -> bool {
        self.floor.is_some_and(|floor| floor <= id.number)
    }

    /// Records that the store lacks this block.
    fn lacks(&mut self, id: BlockId) {
        if self.may_fetch(id) {
            return;
        }
        self.floor = Some(id.number.saturating_sub(self.step - 1));
        self.step = (self.step * 2).min(LONGEST);
    }
}

impl GapFiller {
    /// Returns the part of a range that peers are asked for now, or `None` while the store is asked
    /// for its highest block.
    pub(super) fn unless_stored(&mut self, range: Range) -> Option<Range> {
        let recall = &self.history.as_ref()?.recall;
        if recall.may_fetch(range.wanted) {
            let lowest = recall.floor.map_or(range.lowest, |floor| floor.max(range.lowest));
            return Some(Range { lowest, ..range });
        }
        self.ask_store();
        None
    }

    /// Asks the store for the next block, unless it is asked already.
    pub(super) fn ask_store(&mut self) {
        let Some(history) = &mut self.history else { return };
        if let Some(wanted) = history.wanted()
            && history.recall.asked.is_none()
            && !history.is_full()
        {
            history.recall.asked = Some(wanted);
            self.steps.push_back(FillStep::Recall(wanted));
        }
    }

    /// Takes the blocks that [`FillStep::Recall`] requested.
    pub fn recalled(&mut self, from: BlockId, blocks: Vec<Recalled>, chain: &ChainConfig) {
        let Some(history) = &mut self.history else { return };
        if history.recall.asked.take_if(|asked| *asked == from).is_none() {
            return;
        }
        self.must_plan = true;
        // Meanwhile the view may have left its chain.
        if history.wanted() != Some(from) {
            return;
        }
        if blocks.first().is_some_and(|first| BlockId::of(&first.block) == from) {
            history.recall.begin();
        } else {
            history.recall.lacks(from);
        }
        for Recalled { block, is_canonical } in blocks {
            let Some(history) = &mut self.history else { return };
            let is_next = history.wanted() == Some(BlockId::of(&block));
            if !is_next || !matches!(history.plan(chain), Some(Ok(_))) {
                return;
            }
            if history.is_too_old(&block) {
                return self.end_history(HistoryEnd::Retention);
            }
            history.take(&block, is_canonical);
            if !is_canonical {
                self.steps.push_back(FillStep::Prepend(block));
            }
        }
    }
}
