//! The canonical chain as a reader knows it: a run of recent blocks without a hole.
//!
//! # Bounds
//! [`MAX_RECENT_HEADERS`] headers. The newest blocks have their transactions as well, within
//! [`MAX_RECENT_BYTES`]; the memory is shared with the chain view as long as that holds them.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use alloy_primitives::B256;

use super::config::{MAX_RECENT_BYTES, MAX_RECENT_HEADERS};
use crate::chain::{BlockId, ChainBlock, Labels};
use crate::payload::Block;
use crate::proof::BlockHeader;

/// A block of the run.
#[derive(Debug)]
struct Recent {
    id: BlockId,
    header: Arc<BlockHeader>,
    /// The whole block, unless it was dropped to save memory.
    block: Option<Block>,
    /// Hashes of the transactions, computed when a transaction is looked up.
    hashes: OnceLock<Box<[B256]>>,
}

impl Recent {
    fn new(block: &Block) -> Self {
        Self {
            id: BlockId::of(block),
            header: Arc::new(BlockHeader::of_block(block)),
            block: Some(block.clone()),
            hashes: OnceLock::new(),
        }
    }

    /// Returns the index of a transaction, if the whole block is held.
    fn index_of(&self, transaction: &B256) -> Option<(&Block, usize)> {
        let block = self.block.as_ref()?;
        let hashes = self.hashes.get_or_init(|| hashes_of(block));
        hashes.iter().position(|hash| hash == transaction).map(|index| (block, index))
    }
}

/// Returns the hashes of a block's transactions.
pub(super) fn hashes_of(block: &Block) -> Box<[B256]> {
    block.payload().transactions().map(alloy_primitives::keccak256).collect()
}

/// The run of recent blocks, and the labels.
#[derive(Debug, Default)]
pub(super) struct Chain {
    /// Ascending. Each block is the parent of the next one.
    run: VecDeque<Recent>,
    /// Size of the whole blocks.
    bytes: usize,
    /// Index in `run` of the lowest whole block.
    whole: usize,
    pub(super) labels: Labels,
}

impl Chain {
    pub(super) fn head(&self) -> Option<BlockId> {
        self.run.back().map(|recent| recent.id)
    }

    pub(super) fn lowest(&self) -> Option<BlockId> {
        self.run.front().map(|recent| recent.id)
    }

    /// Number of headers held.
    pub(super) fn len(&self) -> usize {
        self.run.len()
    }

    /// Size of the whole blocks, in bytes.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes the next canonical block. Returns `true` if blocks left the chain.
    pub(super) fn extend(&mut self, block: &Block) -> bool {
        let is_next = self.head().is_none_or(|head| head.hash == block.parent_hash());
        let has_left = !is_next && self.head() != Some(BlockId::of(block)) && {
            let parent = block.number().checked_sub(1);
            let parent = parent.map(|number| BlockId::new(number, block.parent_hash()));
            self.rewind(parent);
            true
        };
        if self.head() == Some(BlockId::of(block)) {
            return has_left;
        }
        self.bytes += block.size();
        self.run.push_back(Recent::new(block));
        while self.run.len() > MAX_RECENT_HEADERS {
            if self.whole == 0 {
                self.drop_lowest_whole();
            }
            self.run.pop_front();
            self.whole = self.whole.saturating_sub(1);
        }
        // The head stays whole.
        while self.bytes > MAX_RECENT_BYTES && self.whole + 1 < self.run.len() {
            self.drop_lowest_whole();
        }
        has_left
    }

    /// Drops the blocks above this one; all, if the run does not have it.
    pub(super) fn rewind(&mut self, to: Option<BlockId>) {
        let keep = to.and_then(|id| self.position(id)).map_or(0, |position| position + 1);
        for dropped in self.run.drain(keep..) {
            self.bytes -= dropped.block.map_or(0, |block| block.size());
        }
        self.whole = self.whole.min(keep);
    }

    /// Drops the transactions of the lowest whole block. Its header stays.
    fn drop_lowest_whole(&mut self) {
        if let Some(recent) = self.run.get_mut(self.whole) {
            self.bytes -= recent.block.take().map_or(0, |block| block.size());
            recent.hashes = OnceLock::new();
            self.whole += 1;
        }
    }

    fn position(&self, id: BlockId) -> Option<usize> {
        let position = self.position_of(id.number)?;
        (self.run[position].id == id).then_some(position)
    }

    fn position_of(&self, number: u64) -> Option<usize> {
        let offset = number.checked_sub(self.lowest()?.number)?;
        usize::try_from(offset).ok().filter(|position| *position < self.run.len())
    }

    /// Returns the canonical block of this number, if it is in the run.
    pub(super) fn at(&self, number: u64) -> Option<BlockId> {
        self.position_of(number).map(|position| self.run[position].id)
    }

    /// Returns `true` if the block is in the run.
    pub(super) fn has(&self, id: BlockId) -> bool {
        self.position(id).is_some()
    }

    /// Returns the id and header of a block of the run.
    pub(super) fn header(&self, hash: B256) -> Option<(BlockId, &Arc<BlockHeader>)> {
        // The newest blocks are asked for most.
        let recent = self.run.iter().rev().find(|recent| recent.id.hash == hash)?;
        Some((recent.id, &recent.header))
    }

    /// Returns a whole block of the run.
    pub(super) fn block(&self, id: BlockId) -> Option<&Block> {
        self.run[self.position(id)?].block.as_ref()
    }

    /// Finds a transaction in the whole blocks, the newest first.
    pub(super) fn transaction(&self, hash: &B256) -> Option<(&Block, usize)> {
        self.run.iter().skip(self.whole).rev().find_map(|recent| recent.index_of(hash))
    }
}
