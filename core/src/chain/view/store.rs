//! The held blocks of all kinds, and the indices to find them.
//!
//! # Bounds
//!
//! The store has no bounds. The view counts blocks and bytes here and keeps them within its
//! configuration.

use alloy_primitives::B256;

use super::types::{BlockId, ChainBlock, GapId};
use crate::sorted::{SortedMap, SortedSet};

/// The relation of a held block to the canonical chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Canonical,
    /// It links to a canonical position, but is not canonical.
    Branch,
    /// Its ancestors are missing, and it belongs to this run.
    Pending(GapId),
}

/// A held block, and its frequently used properties.
#[derive(Debug)]
pub(super) struct Held<B> {
    pub(super) block: B,
    pub(super) number: u64,
    pub(super) parent: B256,
    pub(super) place: Place,
    size: u128,
    arrived: u64,
    /// Whether the block was fetched rather than signed.
    is_linked: bool,
}

/// Sort key: whether the block was fetched, its number, its hash.
type Branch = (bool, u64, B256);

impl<B> Held<B> {
    const fn as_branch(&self, hash: &B256) -> Branch {
        (self.is_linked, self.number, *hash)
    }
}

#[derive(Debug)]
pub(super) struct Store<B> {
    held: SortedMap<B256, Held<B>>,
    /// Pairs of parent hash and hash.
    children: SortedSet<(B256, B256)>,
    /// Tuples of number, arrival and hash.
    heights: SortedSet<(u64, u64, B256)>,
    branches: SortedSet<Branch>,
    // 128 bits can hold any sum: 2^64 blocks of 2^64 bytes fit.
    bytes: u128,
    canonical_bytes: u128,
}

impl<B> Default for Store<B> {
    fn default() -> Self {
        Self {
            held: SortedMap::new(),
            children: SortedSet::new(),
            heights: SortedSet::new(),
            branches: SortedSet::new(),
            bytes: 0,
            canonical_bytes: 0,
        }
    }
}

impl<B: ChainBlock> Store<B> {
    /// Adds a block that is not held yet.
    pub(super) fn add(&mut self, block: B, arrived: u64, place: Place, is_linked: bool) {
        let BlockId { number, hash } = BlockId::of(&block);
        let (parent, size) = (block.parent_hash(), block.size() as u128);
        // Block 0 has no parent, even if a block with its parent hash exists.
        if number > 0 {
            self.children.insert((parent, hash));
        }
        self.heights.insert((number, arrived, hash));
        self.bytes += size;
        let held = Held { block, number, parent, place, size, arrived, is_linked };
        self.enter(place, size, held.as_branch(&hash));
        self.held.insert(hash, held);
    }
}

impl<B> Store<B> {
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    pub(super) const fn bytes(&self) -> u128 {
        self.bytes
    }

    /// Returns the number and total size of the blocks that wait for an ancestor.
    pub(super) fn pending(&self) -> (usize, u128) {
        let pending = self.held.values().filter(|held| matches!(held.place, Place::Pending(_)));
        pending.fold((0, 0), |(blocks, bytes), held| (blocks + 1, bytes + held.size))
    }

    pub(super) const fn canonical_bytes(&self) -> u128 {
        self.canonical_bytes
    }

    pub(super) fn get(&self, hash: &B256) -> Option<&Held<B>> {
        self.held.get(hash)
    }

    pub(super) fn id(&self, hash: &B256) -> Option<BlockId> {
        self.get(hash).map(|held| BlockId::new(held.number, *hash))
    }

    pub(super) fn set_place(&mut self, hash: &B256, place: Place) {
        let Some(held) = self.held.get_mut(hash) else { return };
        let (before, size, branch) = (held.place, held.size, held.as_branch(hash));
        held.place = place;
        self.leave(before, size, &branch);
        self.enter(place, size, branch);
    }

    pub(super) fn remove(&mut self, hash: &B256) {
        if let Some(held) = self.held.remove(hash) {
            self.children.remove(&(held.parent, *hash));
            self.heights.remove(&(held.number, held.arrived, *hash));
            self.bytes -= held.size;
            self.leave(held.place, held.size, &held.as_branch(hash));
        }
    }

    /// Returns the held blocks that build on this block.
    pub(super) fn children(&self, parent: BlockId) -> impl Iterator<Item = BlockId> + '_ {
        let (lowest, highest) = (B256::ZERO, B256::repeat_byte(0xff));
        let named = self.children.range((parent.hash, lowest)..=(parent.hash, highest));
        let named = named.filter_map(|(_, child)| self.id(child));
        // A block of another height can name this hash as its parent. It is not a child.
        named.filter(move |child| child.number.checked_sub(1) == Some(parent.number))
    }

    /// Returns the block and all held blocks that build on it.
    pub(super) fn subtree(&self, root: &B256) -> Vec<BlockId> {
        let mut found: Vec<BlockId> = self.id(root).into_iter().collect();
        let mut next = 0;
        while let Some(id) = found.get(next).copied() {
            found.extend(self.children(id));
            next += 1;
        }
        found
    }

    pub(super) fn remove_subtree(&mut self, root: &B256) {
        for id in self.subtree(root) {
            self.remove(&id.hash);
        }
    }

    /// Returns the block that arrived first at this height.
    pub(super) fn first_at(&self, number: u64) -> Option<BlockId> {
        let (_, _, hash) =
            self.heights.range((number, 0, B256::ZERO)..).next().filter(|at| at.0 == number)?;
        Some(BlockId::new(number, *hash))
    }

    /// Returns the highest block below this height. If there are several, returns the one that
    /// arrived first.
    pub(super) fn highest_below(&self, number: u64) -> Option<BlockId> {
        let (height, _, _) = self.heights.range(..(number, 0, B256::ZERO)).next_back()?;
        self.first_at(*height)
    }

    /// Returns the lowest block that links but is not canonical.
    pub(super) fn lowest_branch(&self) -> Option<BlockId> {
        let linked = self.lowest_linked_branch();
        self.lowest_signed_branch().into_iter().chain(linked).min()
    }

    /// Returns the lowest block that links, is not canonical and was signed by the sequencer.
    pub(super) fn lowest_signed_branch(&self) -> Option<BlockId> {
        let (is_linked, number, hash) = self.branches.first()?;
        (!is_linked).then_some(BlockId::new(*number, *hash))
    }

    /// Returns the lowest block that links, is not canonical and was fetched.
    pub(super) fn lowest_linked_branch(&self) -> Option<BlockId> {
        let (_, number, hash) = self.branches.range((true, 0, B256::ZERO)..).next()?;
        Some(BlockId::new(*number, *hash))
    }

    /// Returns `true` if a block that links but is not canonical has this number or a higher one.
    pub(super) fn has_branch_from(&self, number: u64) -> bool {
        let lowest = |is_linked| (is_linked, number, B256::ZERO);
        let signed =
            self.branches.range(lowest(false)..lowest(true)).find(|(fetched, ..)| !fetched);
        signed.is_some() || self.branches.range(lowest(true)..).next().is_some()
    }

    fn enter(&mut self, place: Place, size: u128, branch: Branch) {
        match place {
            Place::Canonical => self.canonical_bytes += size,
            Place::Branch => {
                self.branches.insert(branch);
            }
            Place::Pending(_) => {}
        }
    }

    fn leave(&mut self, place: Place, size: u128, branch: &Branch) {
        match place {
            Place::Canonical => self.canonical_bytes -= size,
            Place::Branch => {
                self.branches.remove(branch);
            }
            Place::Pending(_) => {}
        }
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = (&B256, &Held<B>)> {
        self.held.iter()
    }

    /// Checks that the indices and sums match the blocks.
    #[cfg(test)]
    pub(super) fn assert_consistent(&self) {
        let of = |place| self.held.iter().filter(move |(_, held)| held.place == place);
        let sum = |held: &mut dyn Iterator<Item = (&B256, &Held<B>)>| {
            held.map(|(_, held)| held.size).sum::<u128>()
        };
        let children = self.held.iter().filter(|(_, held)| held.number > 0);
        let children: SortedSet<_> = children.map(|(hash, held)| (held.parent, *hash)).collect();
        let heights: SortedSet<_> =
            self.held.iter().map(|(hash, b)| (b.number, b.arrived, *hash)).collect();
        let branches: SortedSet<_> =
            of(Place::Branch).map(|(hash, held)| (held.is_linked, held.number, *hash)).collect();
        assert_eq!(self.children, children);
        assert_eq!(self.heights, heights);
        assert_eq!(self.branches, branches);
        assert_eq!(self.bytes, sum(&mut self.held.iter()));
        assert_eq!(self.canonical_bytes, sum(&mut of(Place::Canonical)));
    }
}
