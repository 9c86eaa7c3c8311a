//! The pending area in memory: blocks of a gap that do not link yet. A browser has no disk for
//! them.
//!
//! # Bounds
//! Bytes of blocks, as the page allows. The core keeps to a lower bound of its own. A block beyond
//! the area's bound is refused and fetched again.

use opp2p_core::chain::BlockId;
use opp2p_core::payload::Block;
use std::collections::BTreeMap;

/// Blocks that do not link yet, by id.
#[derive(Debug)]
pub(crate) struct PendingArea {
    limit: usize,
    bytes: usize,
    blocks: BTreeMap<BlockId, Block>,
}

impl PendingArea {
    /// Creates an area for at most `limit` bytes of blocks.
    pub(crate) const fn new(limit: usize) -> Self {
        Self { limit, bytes: 0, blocks: BTreeMap::new() }
    }

    /// Takes a block. Returns `false` if there is no room.
    pub(crate) fn hold(&mut self, block: &Block) -> bool {
        let size = block.body().len();
        let id = BlockId::of(block);
        if self.blocks.contains_key(&id) {
            return true;
        }
        if self.bytes.saturating_add(size) > self.limit {
            return false;
        }
        self.bytes += size;
        self.blocks.insert(id, block.clone());
        true
    }

    /// Returns the block, if it is held.
    pub(crate) fn get(&self, id: &BlockId) -> Option<Block> {
        self.blocks.get(id).cloned()
    }

    /// Drops a block.
    pub(crate) fn release(&mut self, id: &BlockId) {
        if let Some(block) = self.blocks.remove(id) {
            self.bytes -= block.body().len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opp2p_core::fixtures;
    use opp2p_core::gossip::{SIGNATURE_SIZE, Unpacked};

    fn block(index: usize) -> Block {
        let message = &fixtures::messages()[index];
        let contents = Unpacked::new(&message.data).into_contents().expect("a valid message");
        Block::decode(message.version, None, contents[SIGNATURE_SIZE..].to_vec().into())
            .expect("a block")
    }

    #[test]
    fn the_pending_area_is_bounded_and_forgets_released_blocks() {
        let (one, other) = (block(0), block(1));
        let mut area = PendingArea::new(one.body().len() + other.body().len() - 1);
        assert!(area.hold(&one) && area.hold(&one), "twice is once");
        assert!(!area.hold(&other), "there is no room");
        assert_eq!(area.get(&BlockId::of(&one)).map(|block| block.hash()), Some(one.hash()));
        area.release(&BlockId::of(&one));
        area.release(&BlockId::of(&one));
        assert!(area.get(&BlockId::of(&one)).is_none());
        assert!(area.hold(&other));
        assert_eq!(area.bytes, other.body().len());
    }
}
