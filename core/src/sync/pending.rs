//! What is known of the pending area: blocks that are proved, or signed, and do not link to the chain yet.
//!
//! The blocks themselves are in the driver's store. Here is where each of them hangs, so that a walk downwards
//! needs no disk, and the blocks whose writing is not confirmed yet, with a few more so that a short gap needs
//! no reading.
//!
//! # Bounds
//! * Entries: [`FillConfig::pending_blocks`](super::FillConfig::pending_blocks), about 150 bytes each, and their
//!   blocks on the disk [`FillConfig::pending_bytes`](super::FillConfig::pending_bytes). The sequencer's chain fills
//!   them: every entry is signed or reached from a signed block. The caller asks [`PendingArea::is_full`].
//! * Unconfirmed blocks: the caller stops fetching at [`UNSAVED_BYTES`]; what was under way is bounded by the client.
//! * Confirmed blocks in memory: [`CACHED_BYTES`], the lowest, which are needed first.

use std::collections::BTreeMap;

use alloy_primitives::B256;

use crate::chain::{BlockId, ChainBlock};
use crate::payload::Block;
use crate::sorted::SortedSet;

/// Bytes of blocks that wait for the store before fetching pauses.
pub(super) const UNSAVED_BYTES: usize = 8 << 20;
/// Bytes of stored blocks that are kept in memory as well.
const CACHED_BYTES: usize = 4 << 20;

/// A block in the pending area, as a store lists it at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingBlock {
    /// Which block.
    pub id: BlockId,
    /// Hash of the block below it.
    pub parent: B256,
    /// Bytes of its body.
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
    cached: SortedSet<BlockId>,
    cached_bytes: usize,
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

    /// Bytes of blocks in memory: unconfirmed and kept.
    pub(super) const fn memory(&self) -> usize {
        self.unsaved + self.cached_bytes
    }

    pub(super) const fn unsaved(&self) -> usize {
        self.unsaved
    }

    pub(super) fn is_full(&self, most: usize, bytes: u64) -> bool {
        self.entries.len() >= most || self.bytes >= bytes
    }

    /// Takes a block; `false` if it is there.
    pub(super) fn insert(&mut self, block: &Block) -> bool {
        let id = BlockId::of(block);
        if self.entries.contains_key(&id) {
            return false;
        }
        let size = block.size();
        let parent = block.parent_hash();
        self.entries.insert(id, Entry { parent, size, is_saved: false, block: Some(block.clone()) });
        self.bytes = self.bytes.saturating_add(size as u64);
        self.unsaved = self.unsaved.saturating_add(size);
        true
    }

    /// The store has it, durably.
    pub(super) fn saved(&mut self, id: &BlockId) {
        let Some(entry) = self.entries.get_mut(id).filter(|entry| !entry.is_saved) else { return };
        entry.is_saved = true;
        self.unsaved = self.unsaved.saturating_sub(entry.size);
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

    /// What the block hangs on, if it is there.
    pub(super) fn parent(&self, id: &BlockId) -> Option<BlockId> {
        let entry = self.entries.get(id)?;
        Some(BlockId::new(id.number.checked_sub(1)?, entry.parent))
    }

    pub(super) fn block(&self, id: &BlockId) -> Option<&Block> {
        self.entries.get(id)?.block.as_ref()
    }

    pub(super) fn size(&self, id: &BlockId) -> usize {
        self.entries.get(id).map_or(0, |entry| entry.size)
    }

    /// Takes it out. Whether the store has it for sure; `None` if it was not there.
    pub(super) fn remove(&mut self, id: &BlockId) -> Option<bool> {
        let entry = self.entries.remove(id)?;
        self.bytes = self.bytes.saturating_sub(entry.size as u64);
        if !entry.is_saved {
            self.unsaved = self.unsaved.saturating_sub(entry.size);
        } else if self.cached.remove(id) {
            self.cached_bytes = self.cached_bytes.saturating_sub(entry.size);
        }
        Some(entry.is_saved)
    }

    /// Takes out all that are not above `number`, or all but those of `keep`.
    pub(super) fn clear(&mut self, unwanted: impl Fn(&BlockId) -> bool) -> Vec<BlockId> {
        let gone: Vec<BlockId> = self.entries.keys().filter(|id| unwanted(id)).copied().collect();
        for id in &gone {
            self.remove(id);
        }
        gone
    }
}
