//! Knowledge of the sequencer's branches, for the verdicts on servers: a server that has a block
//! of any of them is honest.

use super::GapFiller;
use crate::chain::{BlockId, ChainView};
use crate::payload::Block;
use crate::sync::{AnswerError, RequestId};
use crate::time::Instant;

/// Maximum number of remembered ids of signed blocks that are of no use; the highest are kept. Only
/// the sequencer's key can fill them.
const UNUSABLE: usize = 256;

impl GapFiller {
    /// Records that the sequencer signed a block.
    pub fn is_signed(&mut self, block: &Block) {
        self.client.is_signed(BlockId::of(block), block.parent_hash());
        self.segments.is_signed(BlockId::of(block), block.parent_hash());
    }

    /// Records that the sequencer signed this block, which was refused for another reason.
    pub fn refused(&mut self, id: BlockId) {
        self.unusable.insert(id);
        if self.unusable.len() > UNUSABLE {
            self.unusable.pop_first();
        }
    }

    /// Takes the result of a check.
    pub fn checked(
        &mut self,
        now: Instant,
        id: RequestId,
        result: Result<Block, AnswerError>,
        view: &ChainView<Block>,
    ) {
        let (pending, unusable) = (&self.pending, &self.unusable);
        self.client.checked(now, id, result, |block| {
            view.knows(block) || pending.contains(block) || unusable.contains(block)
        });
    }

    /// Ends the charges against servers that are due.
    pub(super) fn settle_charges(&mut self, now: Instant, view: &ChainView<Block>) {
        let (pending, unusable) = (&self.pending, &self.unusable);
        let is_excused = |id: &BlockId| {
            // A refused block of our own branch is fetched, and then canonical.
            let is_other = |other: &BlockId| view.canonical_hash(other.number) != Some(other.hash);
            let mut above = unusable.range(BlockId::new(id.number, Default::default())..);
            pending.contains(id) || view.may_be_signed(id, now) || above.any(is_other)
        };
        self.client.settle_charges(now, is_excused);
        let client = &self.client;
        self.segments.settle_charges(
            now,
            |id| client.was_signed(id) || is_excused(id),
            |id| {
                view.knows(id)
                    || client.was_signed(id)
                    || pending.contains(id)
                    || unusable.contains(id)
            },
        );
    }
}
