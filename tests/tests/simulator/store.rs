//! A node's disk: completed writes survive a crash, others are lost.

use alloy_primitives::B256;
use opp2p_core::chain::BlockId;
use opp2p_core::node::StoreChange;
use opp2p_core::payload::Block;
use opp2p_core::sync::PendingBlock;
use std::collections::BTreeMap;

/// Form in which a block's contents are kept.
#[derive(Clone, Debug)]
pub(crate) enum Kept {
    Block(Block),
    /// Not at all: reading makes the block again. For runs that measure memory.
    Name,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    blocks: BTreeMap<B256, (BlockId, Kept)>,
    canonical: BTreeMap<u64, B256>,
    pending: BTreeMap<BlockId, PendingBlock>,
    /// Keeps ids only.
    forgets: bool,
    /// Whether it lost a block by itself.
    pub(crate) is_damaged: bool,
}

impl Disk {
    pub(crate) fn new(forgets: bool) -> Self {
        Self { forgets, ..Self::default() }
    }

    pub(crate) fn apply(&mut self, change: &StoreChange) {
        match change {
            StoreChange::Extend(block) => {
                self.put(block);
                self.promote(BlockId::of(block));
            }
            StoreChange::Promote(id) => {
                assert!(self.blocks.contains_key(&id.hash), "promoted and not there: {id}");
                self.promote(*id);
            }
            StoreChange::Rewind(to) => {
                self.canonical.split_off(&(to.number + 1));
            }
            StoreChange::Detach => self.canonical.clear(),
            StoreChange::Prepend(block) => {
                self.put(block);
                self.canonical.insert(block.number(), block.hash());
            }
            StoreChange::Hold(block) => {
                self.put(block);
                let id = BlockId::of(block);
                let pending =
                    PendingBlock { id, parent: block.parent_hash(), size: block.body().len() };
                self.pending.insert(id, pending);
            }
            StoreChange::Release(ids) => {
                for id in ids {
                    let is_canonical = self.canonical.get(&id.number) == Some(&id.hash);
                    if self.pending.remove(id).is_some() && !is_canonical {
                        self.blocks.remove(&id.hash);
                    }
                }
            }
        }
    }

    /// Stores only the id of a canonical block.
    pub(crate) fn put_name(&mut self, id: BlockId) {
        self.blocks.insert(id.hash, (id, Kept::Name));
        self.promote(id);
    }

    /// Loses a block.
    pub(crate) fn lose(&mut self, number: u64) {
        self.canonical.remove(&number);
        self.is_damaged = true;
    }

    /// Restores a lost canonical block.
    pub(crate) fn find(&mut self, id: BlockId) {
        self.canonical.insert(id.number, id.hash);
    }

    fn put(&mut self, block: &Block) {
        let kept = if self.forgets { Kept::Name } else { Kept::Block(block.clone()) };
        self.blocks.insert(block.hash(), (BlockId::of(block), kept));
    }

    fn promote(&mut self, id: BlockId) {
        self.pending.remove(&id);
        self.canonical.split_off(&id.number);
        self.canonical.insert(id.number, id.hash);
    }

    pub(crate) fn head(&self) -> Option<BlockId> {
        self.canonical.last_key_value().map(|(number, hash)| BlockId::new(*number, *hash))
    }

    /// Returns the newest canonical blocks, newest first, down to the first one that is missing.
    pub(crate) fn recent(&self) -> Vec<Block> {
        self.unbroken().take(64).map_while(|id| self.get(&id.hash)).collect()
    }

    /// Returns the canonical positions below the recent blocks, newest first.
    pub(crate) fn remembered(&self) -> Vec<BlockId> {
        self.unbroken().skip(self.recent().len()).collect()
    }

    /// Returns the canonical positions from the head down to the first one that is missing.
    fn unbroken(&self) -> impl Iterator<Item = BlockId> {
        let newest = self.canonical.last_key_value().map_or(0, |(number, _)| *number);
        let numbers = (0..=newest).rev().zip(self.canonical.iter().rev());
        let unbroken = numbers.take_while(|(expected, (number, _))| expected == *number);
        unbroken.map(|(_, (number, hash))| BlockId::new(*number, *hash))
    }

    /// Returns the whole canonical chain, lowest first.
    pub(crate) fn chain(&self) -> Vec<BlockId> {
        self.canonical.iter().map(|(number, hash)| BlockId::new(*number, *hash)).collect()
    }

    pub(crate) fn pending(&self) -> Vec<PendingBlock> {
        self.pending.values().copied().collect()
    }

    pub(crate) fn get(&self, hash: &B256) -> Option<Block> {
        match self.blocks.get(hash)? {
            (_, Kept::Block(block)) => Some(block.clone()),
            (_, Kept::Name) => None,
        }
    }

    pub(crate) fn has(&self, hash: &B256) -> bool {
        self.blocks.contains_key(hash)
    }

    pub(crate) fn canonical(&self, number: u64) -> Option<B256> {
        self.canonical.get(&number).copied()
    }
}
