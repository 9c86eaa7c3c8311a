//! Passing a complete path on to the chain view.

use super::{
    Aim, FillStep, GapFiller, LOAD_BLOCKS, LOAD_BYTES, RangeError, STORE_PAUSE, SyncEvent,
};
use crate::chain::{BlockId, ChainView, Inserted, Origin, SkipReason, Standing};
use crate::payload::Block;
use crate::time::Instant;
use std::collections::VecDeque;

/// A complete path that is being inserted into the view.
#[derive(Debug)]
pub(super) struct Landing {
    pub(super) aim: Aim,
    /// Blocks still to insert, lowest first.
    pub(super) path: VecDeque<BlockId>,
    /// Reason to insert the first block without a link; `None` if it links.
    pub(super) skip: Option<SkipReason>,
    pub(super) is_loading: bool,
}

impl GapFiller {
    /// Begins to pass on a complete path. If it leaves the canonical chain, the view is asked
    /// first: it rolls back its own branch at once, or says when to ask again.
    pub(super) fn begin_landing(
        &mut self,
        now: Instant,
        aim: Aim,
        wanted: BlockId,
        skip: Option<SkipReason>,
        view: &mut ChainView<Block>,
    ) {
        let mut path = self.path(view, wanted);
        let (Some(lowest), Some(highest)) = (path.front(), path.back().copied()) else {
            // There is nothing to pass on: the view decides what happens to the gap.
            if let Aim::Command(id) = aim {
                self.end_command(id, Err(RangeError::Unlinked));
            }
            return;
        };
        let after = self.pending.parent(lowest).unwrap_or(*lowest);
        if skip.is_none()
            && let Err(due) = view.begin_reorg(now, after, path.make_contiguous())
        {
            self.land_at = Some(due);
            view.delay_skips(due);
            return;
        }
        self.event(SyncEvent::Landing { after, highest, blocks: path.len() });
        self.landing = Some(Landing { aim, path, skip, is_loading: false });
    }

    /// Inserts the next blocks into the view if they are in memory, and requests the others.
    /// Returns `false` if there is nothing more to do now.
    pub(super) fn land(&mut self, now: Instant, view: &mut ChainView<Block>) -> bool {
        loop {
            let Some(landing) = self.landing.as_mut().filter(|landing| !landing.is_loading) else {
                return false;
            };
            let Some(next) = landing.path.front().copied() else {
                self.abandon();
                return true;
            };
            if let Some(block) = self.pending.block(&next).cloned() {
                if !self.put(now, view, block) {
                    return true;
                }
            } else if self.pending.parent(&next).is_some() {
                landing.is_loading = true;
                let chunk = self.chunk();
                self.steps.push_back(FillStep::Load(chunk));
                return false;
            } else if view.standing(&next) == Standing::Linked {
                // It arrived in another way.
                landing.path.pop_front();
            } else {
                self.abandon();
                return true;
            }
        }
    }

    /// Returns the next blocks to load: those that are not in memory.
    fn chunk(&self) -> Vec<BlockId> {
        let Some(landing) = &self.landing else { return Vec::new() };
        let mut bytes = 0_usize;
        let missing = landing.path.iter().take(LOAD_BLOCKS).take_while(|id| {
            let fits = bytes == 0 || bytes.saturating_add(self.pending.size(id)) <= LOAD_BYTES;
            bytes = bytes.saturating_add(self.pending.size(id));
            fits && self.pending.block(id).is_none() && self.pending.parent(id).is_some()
        });
        missing.copied().collect()
    }

    /// Inserts the next block of the landing into the view. Returns `false` if that ended the
    /// landing.
    pub(super) fn put(&mut self, now: Instant, view: &mut ChainView<Block>, block: Block) -> bool {
        let Some(landing) = &mut self.landing else { return false };
        let Some(id) = landing.path.pop_front() else { return false };
        let (aim, skip) = (landing.aim, landing.skip.take());
        let highest = landing.path.back().copied().unwrap_or(id);
        let below =
            id.number.checked_sub(1).map(|number| BlockId::new(number, block.parent_hash()));
        if skip.is_none() && below.is_none_or(|below| view.standing(&below) != Standing::Linked) {
            // The view held the blocks between, and had to drop them: they are fetched again.
            self.abandon();
            return false;
        }
        let inserted = match skip {
            Some(reason) => view.skip_to(now, block, reason),
            None => view.insert(now, block, Origin::Linked),
        };
        match inserted {
            Inserted::Anchored
            | Inserted::Extended
            | Inserted::Reorganised
            | Inserted::Reanchored
            | Inserted::Competitor
            | Inserted::Known => true,
            // The branch leaves the chain deeper than the view has room for.
            Inserted::Dropped | Inserted::TooOld if skip.is_none() => {
                self.landing = None;
                let skip = Some(SkipReason::Unreachable);
                self.begin_landing(now, aim, highest, skip, view);
                false
            }
            _ => {
                // The view can't use the block: forget it, and try another gap first.
                self.pending.remove(&id);
                self.steps.push_back(FillStep::Release(vec![id]));
                self.stalled(now, aim);
                self.paused_until = now + STORE_PAUSE;
                self.abandon();
                false
            }
        }
    }

    /// Ends a landing, complete or not, and plans again.
    pub(super) fn abandon(&mut self) {
        self.landing = None;
        self.must_plan = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::{FillConfig, PendingBlock, RangeId};
    use alloy_primitives::B256;

    #[test]
    fn blocks_are_loaded_up_to_a_size_or_a_number_or_the_first_that_is_missing() {
        let id = |number: u64| BlockId::new(number, B256::left_padding_from(&[number as u8 + 1]));
        let loaded = |sizes: &[usize]| {
            let stored = sizes.iter().zip(1..).map(|(size, number)| PendingBlock {
                id: id(number),
                parent: B256::ZERO,
                size: *size,
            });
            let mut filler = GapFiller::new(Instant::default(), FillConfig::default(), stored);
            let path = (1..=200).map(id).collect();
            let aim = Aim::Command(RangeId(1));
            filler.landing = Some(Landing { aim, path, skip: None, is_loading: false });
            filler.chunk().len()
        };
        assert_eq!(loaded(&[100; 200]), LOAD_BLOCKS);
        assert_eq!(loaded(&[100; 3]), 3);
        assert_eq!(loaded(&[LOAD_BYTES / 2; 200]), 2);
        assert_eq!(loaded(&[LOAD_BYTES / 2 + 1; 200]), 1);
        assert_eq!(loaded(&[2 * LOAD_BYTES, 1]), 1);
    }
}
