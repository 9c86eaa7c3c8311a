//! Answers of the store about blocks of the pending area.
//!
//! A block that the store fails to keep stays in memory while there is room, and the store is asked
//! again after [`STORE_PAUSE`]. So a gap that fits into memory closes even if the disk is full.

use super::{GapFiller, STORE_PAUSE};
use crate::chain::BlockId;
use crate::sync::FillStep;
use crate::time::Instant;

impl GapFiller {
    /// Records that the store put a block into the pending area, or failed to.
    pub fn held(&mut self, now: Instant, id: &BlockId, is_held: bool) {
        if is_held {
            self.pending.saved(id);
        } else if !self.pending.waits() {
            if self.pending.unsaved_block(id).is_some() {
                if self.unheld.is_empty() {
                    self.hold_at = now + STORE_PAUSE;
                }
                self.unheld.insert(*id);
            }
        } else if self.pending.remove(id).is_some() {
            self.paused_until = now + STORE_PAUSE;
            self.must_plan = true;
        }
    }

    /// Asks the store again to keep blocks that it failed to keep.
    pub(super) fn hold_again(&mut self, now: Instant) {
        if self.hold_at > now {
            return;
        }
        while let Some(id) = self.unheld.pop_first() {
            // It may have left the pending area meanwhile.
            if let Some(block) = self.pending.unsaved_block(&id) {
                self.steps.push_back(FillStep::Hold(block.clone()));
            }
        }
    }
}
