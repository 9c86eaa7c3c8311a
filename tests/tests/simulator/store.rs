//! A node's disk: what was written in time outlives a crash, what was not is gone.

use alloy_primitives::B256;
use opp2p_core::chain::BlockId;
use opp2p_core::node::StoreChange;
use opp2p_core::payload::Block;
use opp2p_core::sync::PendingBlock;
use std::collections::BTreeMap;

/// How a block's contents are kept.
#[derive(Clone, Debug)]
pub(crate) enum Kept {
    Block(Block),
    /// Not at all: whoever reads it makes it again. For runs that measure memory.
    Name,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    blocks: BTreeMap<B256, (BlockId, Kept)>,
    canonical: BTreeMap<u64, B256>,
    pending: BTreeMap<BlockId, PendingBlock>,
    /// Keeps names only.
    forgets: bool,
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
            StoreChange::Hold(block) => {
                self.put(block);
                let id = BlockId::of(block);
                let pending = PendingBlock { id, parent: block.parent_hash(), size: block.body().len() };
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

    /// A canonical block of which only the name is kept.
    pub(crate) fn put_name(&mut self, id: BlockId) {
        self.blocks.insert(id.hash, (id, Kept::Name));
        self.promote(id);
    }

    /// Loses a block.
    pub(crate) fn lose(&mut self, number: u64) {
        self.canonical.remove(&number);
    }

    /// The canonical block that was lost, back again.
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

    pub(crate) fn recent(&self) -> Vec<Block> {
        self.canonical.values().rev().take(64).filter_map(|hash| self.get(hash)).collect()
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
