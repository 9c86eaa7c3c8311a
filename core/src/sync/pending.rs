//! Index of the pending area: blocks that are proved or signed, and do not link to the chain yet.
//!
//! The blocks themselves are in the driver's store. The index has the parent of each block, so that
//! a walk downwards needs no disk access. It also holds the blocks whose write is not confirmed
//! yet, and a few confirmed ones, so that a short gap needs no reads.
//!
//! # Bounds
//! * Entries: [`FillConfig::pending_blocks`](super::FillConfig::pending_blocks), about 150 bytes
//!   each, with blocks of [`FillConfig::pending_bytes`](super::FillConfig::pending_bytes) on disk.
//!   The sequencer's chain fills them: every entry is signed or reached from a signed block. The
//!   caller checks [`PendingArea::is_full`].
//! * Unconfirmed blocks: the caller pauses fetching when they are [too many](PendingArea::waits):
//!   [`UNSAVED_BLOCKS`] or [`UNSAVED_BYTES`]. The client bounds the blocks that are then in flight.
//! * Confirmed blocks in memory: [`CACHED_BYTES`], the lowest, which are needed first.
//! * Known ways down: [`KNOWN_WAYS`] pairs of ids.

use std::collections::BTreeMap;

use alloy_primitives::B256;

use crate::chain::{BlockId, ChainBlock};
use crate::payload::Block;
use crate::sorted::{SortedMap, SortedSet};

/// Size of the blocks waiting for the store at which fetching pauses, in bytes.
pub(super) const UNSAVED_BYTES: usize = 8 << 20;
/// Number of blocks waiting for the store at which fetching pauses. A driver's queue must have room
/// for as many: a block that it refuses is fetched again after a pause of seconds.
pub const UNSAVED_BLOCKS: usize = 2048;
/// Maximum size of the stored blocks that are also kept in memory, in bytes.
const CACHED_BYTES: usize = 4 << 20;
/// Maximum number of ways down whose ends are remembered: as many gaps can be open at once without
/// walking over their blocks again and again.
const KNOWN_WAYS: usize = 16;

/// A block in the pending area, as a store lists it on start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingBlock {
    /// Id of the block.
    pub id: BlockId,
    /// Hash of its parent.
    pub parent: B256,
    /// Size of its body, in bytes.
    pub size: usize,
}

#[derive(Debug)]
struct Entry {
    parent: B256,
    size: usize,
    is_saved: bool,
    block: Option<Block>,
}

#[derive(Debug, Default)]
pub(super) struct PendingArea {
    entries: BTreeMap<BlockId, Entry>,
    bytes: u64,
    unsaved: usize,
    unsaved_blocks: usize,
    cached: SortedSet<BlockId>,
    cached_bytes: usize,
    /// Ends of walks over blocks of the area, by their beginnings. No block in between has left the
    /// area or become canonical since.
    ways: SortedMap<BlockId, BlockId>,
    /// Number of steps of all walks.
    #[cfg(test)]
    steps: usize,
}

impl PendingArea {
    pub(super) fn new(stored: impl IntoIterator<Item = PendingBlock>) -> Self {
        let mut area = Self::default();
        for PendingBlock { id, parent, size } in stored {
            let entry = Entry { parent, size, is_saved: true, block: None };
            if area.entries.insert(id, entry).is_none() {
                area.bytes = area.bytes.saturating_add(size as u64);
            }
        }
        area
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns the size of the blocks in memory, in bytes: unconfirmed and cached ones.
    pub(super) const fn memory(&self) -> usize {
        self.unsaved + self.cached_bytes
    }

    /// Returns `true` if so many blocks wait for the store that no more should be fetched.
    pub(super) const fn waits(&self) -> bool {
        self.unsaved >= UNSAVED_BYTES || self.unsaved_blocks >= UNSAVED_BLOCKS
    }

    pub(super) fn is_full(&self, most: usize, bytes: u64) -> bool {
        self.entries.len() >= most || self.bytes >= bytes
    }

    /// Adds a block. Returns `false` if it is already there.
    pub(super) fn insert(&mut self, block: &Block) -> bool {
        let id = BlockId::of(block);
        if self.entries.contains_key(&id) {
            return false;
        }
        let size = block.size();
        let parent = block.parent_hash();
        self.entries
            .insert(id, Entry { parent, size, is_saved: false, block: Some(block.clone()) });
        self.bytes = self.bytes.saturating_add(size as u64);
        self.unsaved = self.unsaved.saturating_add(size);
        self.unsaved_blocks += 1;
        true
    }

    /// Records that the store has the block durably.
    pub(super) fn saved(&mut self, id: &BlockId) {
        let Some(entry) = self.entries.get_mut(id).filter(|entry| !entry.is_saved) else { return };
        entry.is_saved = true;
        self.unsaved = self.unsaved.saturating_sub(entry.size);
        self.unsaved_blocks = self.unsaved_blocks.saturating_sub(1);
        self.cached_bytes = self.cached_bytes.saturating_add(entry.size);
        self.cached.insert(*id);
        while self.cached_bytes > CACHED_BYTES {
            let Some(highest) = self.cached.pop_last() else { break };
            if let Some(entry) = self.entries.get_mut(&highest) {
                entry.block = None;
                self.cached_bytes = self.cached_bytes.saturating_sub(entry.size);
            }
        }
    }

    /// Returns the parent of a block in the area.
    pub(super) fn parent(&self, id: &BlockId) -> Option<BlockId> {
        let entry = self.entries.get(id)?;
        Some(BlockId::new(id.number.checked_sub(1)?, entry.parent))
    }

    /// Walks down from `from` over blocks of the area, as far as they are not known to `is_known`.
    /// Returns the first block that is known or not in the area. Takes only the steps below the end
    /// of the last walk from there.
    pub(super) fn walk_down(
        &mut self,
        from: BlockId,
        is_known: impl Fn(&BlockId) -> bool,
    ) -> BlockId {
        let mut at = from;
        // Terminates: numbers decrease with each step.
        loop {
            #[cfg(test)]
            {
                self.steps += 1;
            }
            let end = self.ways.remove(&at);
            let next = end.or_else(|| self.parent(&at).filter(|_| !is_known(&at)));
            match next {
                Some(next) => at = next,
                None => break,
            }
        }
        if self.ways.len() >= KNOWN_WAYS {
            self.ways.clear();
        }
        if at != from {
            self.ways.insert(from, at);
        }
        at
    }

    /// Returns the number of steps of all walks.
    #[cfg(test)]
    pub(super) const fn steps(&self) -> usize {
        self.steps
    }

    pub(super) fn contains(&self, id: &BlockId) -> bool {
        self.entries.contains_key(id)
    }

    pub(super) fn block(&self, id: &BlockId) -> Option<&Block> {
        self.entries.get(id)?.block.as_ref()
    }

    /// Returns a block that the store has not confirmed.
    pub(super) fn unsaved_block(&self, id: &BlockId) -> Option<&Block> {
        self.entries.get(id).filter(|entry| !entry.is_saved)?.block.as_ref()
    }

    pub(super) fn size(&self, id: &BlockId) -> usize {
        self.entries.get(id).map_or(0, |entry| entry.size)
    }

    /// Removes a block, perhaps because it became canonical. Returns `true` if the store has
    /// confirmed it, and `None` if it was not there.
    pub(super) fn remove(&mut self, id: &BlockId) -> Option<bool> {
        self.ways.clear();
        let entry = self.entries.remove(id)?;
        self.bytes = self.bytes.saturating_sub(entry.size as u64);
        if !entry.is_saved {
            self.unsaved = self.unsaved.saturating_sub(entry.size);
            self.unsaved_blocks = self.unsaved_blocks.saturating_sub(1);
        } else if self.cached.remove(id) {
            self.cached_bytes = self.cached_bytes.saturating_sub(entry.size);
        }
        Some(entry.is_saved)
    }

    /// Removes all blocks for which `unwanted` holds, and returns their ids.
    pub(super) fn clear(&mut self, unwanted: impl Fn(&BlockId) -> bool) -> Vec<BlockId> {
        let gone: Vec<BlockId> = self.entries.keys().filter(|id| unwanted(id)).copied().collect();
        for id in &gone {
            self.remove(id);
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gossip::tests::support::sealed_block;
    use crate::payload::ExecutionPayload;

    #[test]
    fn the_number_of_remembered_ways_is_bounded() {
        let id = |number| BlockId::new(number, B256::with_last_byte(number as u8));
        // Each walk has a block of its own, whose parent is not in the area.
        let starts: Vec<u64> = (1..=2 * KNOWN_WAYS as u64).map(|index| 2 * index).collect();
        let blocks = starts.iter().map(|number| PendingBlock {
            id: id(*number),
            parent: id(number - 1).hash,
            size: 1,
        });
        let mut area = PendingArea::new(blocks);
        assert_eq!(area.len(), 2 * KNOWN_WAYS);
        for number in starts {
            assert_eq!(area.walk_down(id(number), |_| false), id(number - 1));
            assert!(area.ways.len() <= KNOWN_WAYS, "{} after {number}", area.ways.len());
        }
    }

    #[test]
    fn the_lowest_stored_blocks_stay_in_memory_within_the_bound() {
        let block = |number, bytes| {
            sealed_block(ExecutionPayload {
                block_number: number,
                transactions: vec![vec![1; bytes].into()],
                withdrawals: Some(Vec::new()),
                ..ExecutionPayload::default()
            })
        };
        let mut area = PendingArea::default();
        let blocks = [block(7, CACHED_BYTES / 2), block(9, CACHED_BYTES), block(8, 100)];
        let in_memory = |area: &PendingArea| {
            blocks.each_ref().map(|block| area.block(&BlockId::of(block)).is_some())
        };
        for block in &blocks {
            assert!(area.insert(block));
        }
        assert_eq!(in_memory(&area), [true; 3], "the store does not have them yet");
        for block in &blocks {
            area.saved(&BlockId::of(block));
            assert!(area.memory() - area.unsaved <= CACHED_BYTES);
        }
        assert_eq!(in_memory(&area), [true, false, true]);
        assert_eq!((area.unsaved, area.unsaved_blocks), (0, 0));
    }
}
