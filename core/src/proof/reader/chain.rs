//! The recent part of the canonical chain: a contiguous run of blocks.
//!
//! # Bounds
//! [`MAX_RECENT_HEADERS`] headers, and [`MAX_RECENT_BYTES`] of the newest blocks with their
//! transactions. The head is always whole. Blocks share their memory with the chain view while it
//! holds them.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use alloy_primitives::B256;

use super::config::{MAX_RECENT_BYTES, MAX_RECENT_HEADERS};
use crate::chain::{BlockId, ChainBlock, Labels};
use crate::payload::Block;
use crate::proof::BlockHeader;
use crate::sorted::SortedMap;

/// A block of the run.
#[derive(Debug)]
struct Recent {
    id: BlockId,
    header: Arc<BlockHeader>,
    /// The whole block, or `None` if it was dropped to save memory.
    block: Option<Block>,
    /// Hashes of the transactions, computed at the first lookup.
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

    /// Returns the block and the index of a transaction in it, if the whole block is held.
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
    /// Numbers of the blocks in `run`, by hash.
    numbers: SortedMap<B256, u64>,
    /// Size of the whole blocks, in bytes.
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

    /// Number of headers.
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
        self.numbers.insert(block.hash(), block.number());
        self.run.push_back(Recent::new(block));
        while self.run.len() > MAX_RECENT_HEADERS {
            if self.whole == 0 {
                self.drop_lowest_whole();
            }
            if let Some(lowest) = self.run.pop_front() {
                self.numbers.remove(&lowest.id.hash);
            }
            self.whole = self.whole.saturating_sub(1);
        }
        // The head stays whole.
        while self.bytes > MAX_RECENT_BYTES && self.whole + 1 < self.run.len() {
            self.drop_lowest_whole();
        }
        has_left
    }

    /// Drops the blocks above `to`, or all blocks if the run does not contain `to`.
    pub(super) fn rewind(&mut self, to: Option<BlockId>) {
        let keep = to.and_then(|id| self.position(id)).map_or(0, |position| position + 1);
        if let Some(lowest_dropped) = self.run.get(keep) {
            let end = lowest_dropped.id.number;
            self.numbers.retain(|_, number| *number < end);
        }
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

    /// Returns the block with this number, if it is in the run.
    pub(super) fn at(&self, number: u64) -> Option<BlockId> {
        self.position_of(number).map(|position| self.run[position].id)
    }

    /// Returns `true` if the block is in the run.
    pub(super) fn has(&self, id: BlockId) -> bool {
        self.position(id).is_some()
    }

    /// Returns the id of the block in the run that has this hash.
    pub(super) fn id_of(&self, hash: B256) -> Option<BlockId> {
        self.numbers.get(&hash).map(|number| BlockId::new(*number, hash))
    }

    /// Returns the header of a block of the run.
    pub(super) fn header(&self, id: BlockId) -> Option<&Arc<BlockHeader>> {
        self.position(id).map(|position| &self.run[position].header)
    }

    /// Returns a block of the run, if it is held whole.
    pub(super) fn block(&self, id: BlockId) -> Option<&Block> {
        self.run[self.position(id)?].block.as_ref()
    }

    /// Finds a transaction in the whole blocks, newest first.
    pub(super) fn transaction(&self, hash: &B256) -> Option<(&Block, usize)> {
        self.run.iter().skip(self.whole).rev().find_map(|recent| recent.index_of(hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::{Envelope, ExecutionPayload};

    /// Makes a child of a block, with one transaction of this many bytes. `salt` makes it another
    /// one than its twin on another branch.
    fn child(parent: Option<&Block>, salt: u8, bytes: usize) -> Block {
        let mut payload = ExecutionPayload {
            parent_hash: parent.map_or(B256::ZERO, Block::hash),
            block_number: parent.map_or(0, |parent| parent.number() + 1),
            extra_data: vec![salt].into(),
            transactions: vec![vec![salt; bytes].into()],
            withdrawals: Some(Vec::new()),
            ..ExecutionPayload::default()
        };
        payload.seal(None).expect("complete");
        let mut body = Vec::new();
        let envelope = Envelope { parent_beacon_block_root: None, payload };
        let version = envelope.encode(&mut body).expect("complete");
        Block::decode(version, None, body.into()).expect("ours")
    }

    /// Checks that each block of the run is found by its hash, and no other one.
    fn check(chain: &Chain) {
        assert_eq!(chain.numbers.len(), chain.len());
        for recent in &chain.run {
            assert_eq!(chain.id_of(recent.id.hash), Some(recent.id));
            let header = chain.header(recent.id).expect("it is in the run");
            assert!(Arc::ptr_eq(header, &recent.header));
        }
    }

    #[test]
    fn a_replaced_block_is_not_found_any_longer() {
        let first = child(None, 0, 1);
        let (old, new) = (child(Some(&first), 1, 1), child(Some(&first), 2, 1));
        let (old_id, new_id) = (BlockId::of(&old), BlockId::of(&new));
        let mut chain = Chain::default();
        assert!(!chain.extend(&first) && !chain.extend(&old));
        check(&chain);
        assert_eq!(chain.id_of(old_id.hash), Some(old_id));
        assert!(chain.extend(&new), "the old block leaves the chain");
        check(&chain);
        assert_eq!((chain.id_of(old_id.hash), chain.header(old_id)), (None, None));
        assert_eq!(chain.id_of(new_id.hash), Some(new_id));
        // The number of one block and the hash of another are no block.
        let mixed = BlockId::new(0, new_id.hash);
        assert!(chain.header(mixed).is_none() && chain.block(mixed).is_none());
        // The parent of this one is not known, so the chain begins again.
        assert!(chain.extend(&child(Some(&old), 3, 1)));
        check(&chain);
        assert_eq!((chain.len(), chain.id_of(first.hash())), (1, None));
    }

    #[test]
    fn a_block_above_the_target_of_a_rewind_is_not_found_any_longer() {
        let first = child(None, 0, 1);
        let second = child(Some(&first), 0, 1);
        let third = child(Some(&second), 0, 1);
        let mut chain = Chain::default();
        for block in [&first, &second, &third] {
            chain.extend(block);
        }
        chain.rewind(Some(BlockId::of(&third)));
        check(&chain);
        assert_eq!(chain.len(), 3);
        chain.rewind(Some(BlockId::of(&first)));
        check(&chain);
        assert_eq!((chain.len(), chain.id_of(second.hash())), (1, None));
        chain.rewind(Some(BlockId::of(&third)));
        check(&chain);
        assert_eq!((chain.len(), chain.bytes()), (0, 0));
    }

    #[test]
    fn the_lowest_header_makes_room_for_the_next_one() {
        let first = child(None, 0, 1);
        let first_id = BlockId::of(&first);
        let mut chain = Chain::default();
        chain.extend(&first);
        let mut head = first;
        for _ in 1..MAX_RECENT_HEADERS {
            head = child(Some(&head), 0, 1);
            chain.extend(&head);
        }
        check(&chain);
        assert_eq!((chain.len(), chain.lowest()), (MAX_RECENT_HEADERS, Some(first_id)));
        assert_eq!(chain.id_of(first_id.hash), Some(first_id));
        chain.extend(&child(Some(&head), 0, 1));
        check(&chain);
        assert_eq!(chain.len(), MAX_RECENT_HEADERS);
        assert_eq!((chain.id_of(first_id.hash), chain.header(first_id)), (None, None));
    }

    #[test]
    fn a_block_without_its_transactions_keeps_its_header() {
        let half = MAX_RECENT_BYTES / 2;
        let first = child(None, 0, half);
        let second = child(Some(&first), 0, half);
        let (first_id, second_id) = (BlockId::of(&first), BlockId::of(&second));
        let mut chain = Chain::default();
        chain.extend(&first);
        assert!(chain.block(first_id).is_some());
        chain.extend(&second);
        check(&chain);
        assert!(chain.block(first_id).is_none() && chain.block(second_id).is_some());
        assert_eq!(chain.bytes(), second.size());
        chain.rewind(Some(first_id));
        check(&chain);
        assert_eq!((chain.len(), chain.bytes()), (1, 0));
    }
}
