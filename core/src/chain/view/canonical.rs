//! The remembered canonical positions: their hashes, and which of their blocks are held.
//!
//! The newest positions form the **window**: the view holds their blocks. For the positions below,
//! only the hashes are remembered, so that a branch that leaves the chain far down still finds its
//! ancestor. The lowest position is the **floor**. A position between the two can be unknown, if
//! the view skipped it.
//!
//! # Bounds
//!
//! 32 bytes for each position. The view bounds the window by its blocks, and the positions below it
//! by [`ChainViewConfig::max_remembered`](super::ChainViewConfig::max_remembered).

use std::collections::VecDeque;

use alloy_primitives::B256;

use super::types::BlockId;

/// Placeholder for the hash of a skipped position. No block has it.
const UNKNOWN: B256 = B256::ZERO;

/// Consecutive positions above the floor. Without a floor, the lowest hash is that of block 0.
#[derive(Debug, Default)]
pub(super) struct Canonical {
    floor: Option<BlockId>,
    hashes: VecDeque<B256>,
    /// Number of the newest positions that form the window.
    held: usize,
    /// Numbers of the positions that are known only from their child and were not delivered,
    /// ascending.
    unseen: VecDeque<u64>,
}

impl Canonical {
    /// Restarts above `floor`. Returns the hashes of the previous window.
    pub(super) fn reset(&mut self, floor: Option<BlockId>) -> Vec<B256> {
        let window = self.empty_window();
        self.floor = floor;
        self.hashes.clear();
        self.unseen.clear();
        window
    }

    /// Continues above `position`, which has no known link to the chain. Returns the hashes of the
    /// previous window. Positions at or above `position` are forgotten, those below stay
    /// remembered, and those in between are unknown. At most `most` positions are filled in; if
    /// there are more, all positions are forgotten.
    pub(super) fn leap_to(&mut self, position: BlockId, most: usize) -> Vec<B256> {
        let between = self
            .head()
            .map(|head| position.number.saturating_sub(head.number).saturating_sub(1))
            .and_then(|between| usize::try_from(between).ok());
        let is_above = self.floor.is_none_or(|floor| floor.number < position.number);
        let Some(between) = between.filter(|between| is_above && *between <= most) else {
            return self.reset(Some(position));
        };
        let window = self.empty_window();
        let below = self.index_of(position.number).unwrap_or(usize::MAX);
        self.hashes.truncate(below);
        self.forget_unseen_from(position.number);
        self.unseen.push_back(position.number);
        self.hashes.extend(std::iter::repeat_n(UNKNOWN, between));
        self.hashes.push_back(position.hash);
        window
    }

    fn empty_window(&mut self) -> Vec<B256> {
        let window = self.window().copied().collect();
        self.held = 0;
        window
    }

    pub(super) const fn floor(&self) -> Option<BlockId> {
        self.floor
    }

    /// Returns the position directly below the window, or `None` if the window begins with block 0.
    pub(super) fn window_floor(&self) -> Option<BlockId> {
        match self.hashes.len().checked_sub(self.held + 1) {
            Some(index) => Some(BlockId::new(self.number_of(index), *self.hashes.get(index)?)),
            None => self.floor,
        }
    }

    pub(super) fn head(&self) -> Option<BlockId> {
        match (self.hashes.back(), self.hashes.len().checked_sub(1)) {
            (Some(hash), Some(last)) => Some(BlockId::new(self.number_of(last), *hash)),
            _ => self.floor,
        }
    }

    /// Returns the number of positions in the window.
    pub(super) const fn held(&self) -> usize {
        self.held
    }

    /// Returns the hashes of the window, lowest first.
    pub(super) fn window(&self) -> impl DoubleEndedIterator<Item = &B256> {
        self.hashes.range(self.hashes.len() - self.held..)
    }

    /// Returns the hash at this height, except for the floor.
    pub(super) fn hash_at(&self, number: u64) -> Option<B256> {
        let hash = self.hashes.get(self.index_of(number)?).copied();
        hash.filter(|hash| *hash != UNKNOWN)
    }

    /// Returns the position at this height, if known.
    pub(super) fn id_at(&self, number: u64) -> Option<BlockId> {
        match self.floor {
            Some(floor) if floor.number == number => Some(floor),
            _ => self.hash_at(number).map(|hash| BlockId::new(number, hash)),
        }
    }

    pub(super) fn contains(&self, id: &BlockId) -> bool {
        self.id_at(id.number) == Some(*id)
    }

    /// Adds the next position, for a held block.
    pub(super) fn push_back(&mut self, hash: B256) {
        self.hashes.push_back(hash);
        self.held += 1;
    }

    /// Extends a window that begins at the floor downwards: adds the floor's hash and sets a new
    /// floor.
    pub(super) fn push_front(&mut self, hash: B256, floor: Option<BlockId>) {
        self.hashes.push_front(hash);
        self.held += 1;
        self.floor = floor;
    }

    /// Remembers a position below the floor, which becomes the new floor. The positions in between
    /// are unknown.
    pub(super) fn remember_below(&mut self, position: BlockId) {
        let Some(floor) = self.floor.filter(|floor| position.number < floor.number) else { return };
        self.hashes.push_front(floor.hash);
        for _ in position.number + 1..floor.number {
            self.hashes.push_front(UNKNOWN);
        }
        self.floor = Some(position);
    }

    /// Forgets the positions above this height. Returns the known ones, highest first, each with
    /// `true` if it was delivered.
    pub(super) fn cut_above(&mut self, number: u64) -> Vec<(BlockId, bool)> {
        let mut gone = Vec::new();
        while let Some(head) = self.head().filter(|head| head.number > number) {
            if self.hashes.pop_back().is_none() {
                break;
            }
            self.held = self.held.saturating_sub(1);
            if self.unseen.back() == Some(&head.number) {
                self.unseen.pop_back();
                gone.push((head, false));
            } else if head.hash != UNKNOWN {
                gone.push((head, true));
            }
        }
        gone
    }

    /// Removes the lowest position from the window and returns it. The position stays remembered.
    pub(super) fn release_lowest(&mut self) -> Option<BlockId> {
        let lowest = self.hashes.len() - self.held;
        self.held = self.held.checked_sub(1)?;
        Some(BlockId::new(self.number_of(lowest), *self.hashes.get(lowest)?))
    }

    /// Forgets the lowest positions, so that at most `most` are remembered below the window. The
    /// floor is always a known position.
    pub(super) fn forget_beyond(&mut self, most: usize) {
        let below = |canonical: &Self| canonical.hashes.len() - canonical.held;
        while below(self) > most || (below(self) > 0 && self.floor_is_unknown()) {
            let lowest = self.number_of(0);
            if let Some(hash) = self.hashes.pop_front() {
                self.floor = Some(BlockId::new(lowest, hash));
            }
        }
        let floor = self.floor.map_or(0, |floor| floor.number);
        while self.unseen.front().is_some_and(|number| *number <= floor) {
            self.unseen.pop_front();
        }
    }

    fn forget_unseen_from(&mut self, number: u64) {
        while self.unseen.back().is_some_and(|unseen| *unseen >= number) {
            self.unseen.pop_back();
        }
    }

    /// Returns the highest known position at or below this height.
    pub(super) fn highest_not_above(&self, number: u64) -> Option<BlockId> {
        let head = self.head().filter(|head| head.number > number);
        let Some(_) = head else { return self.head() };
        let below = self.index_of(number).map_or(0, |index| index + 1);
        let known = (0..below).rev().find(|index| self.hashes.get(*index) != Some(&UNKNOWN));
        match known {
            Some(index) => self.id_at(self.number_of(index)),
            None => self.floor,
        }
    }

    fn floor_is_unknown(&self) -> bool {
        self.floor.is_some_and(|floor| floor.hash == UNKNOWN)
    }

    fn index_of(&self, number: u64) -> Option<usize> {
        let lowest = self.floor.map_or(Some(0), |floor| floor.number.checked_add(1))?;
        usize::try_from(number.checked_sub(lowest)?).ok()
    }

    /// Returns the number of the hash at `index`. Saturates only above 2^64 - 1, where no block can
    /// exist.
    fn number_of(&self, index: usize) -> u64 {
        let lowest = self.floor.map_or(0, |floor| floor.number.saturating_add(1));
        lowest.saturating_add(index as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: u8) -> B256 {
        B256::repeat_byte(n)
    }

    fn id(n: u8) -> BlockId {
        BlockId::new(n.into(), hash(n))
    }

    /// Blocks 2, 3 and 4, held above block 1.
    fn three() -> Canonical {
        let mut canonical = Canonical::default();
        canonical.reset(Some(id(1)));
        (2..=4).for_each(|n| canonical.push_back(hash(n)));
        canonical
    }

    #[test]
    fn positions_count_from_zero_without_a_floor() {
        let mut canonical = Canonical::default();
        assert_eq!(canonical.head(), None);
        canonical.push_back(hash(1));
        canonical.push_back(hash(2));
        assert_eq!(canonical.head(), Some(BlockId::new(1, hash(2))));
        assert_eq!(canonical.id_at(0), Some(BlockId::new(0, hash(1))));
        assert_eq!(canonical.release_lowest(), Some(BlockId::new(0, hash(1))));
        assert_eq!(canonical.window_floor(), Some(BlockId::new(0, hash(1))));
        canonical.forget_beyond(0);
        assert_eq!((canonical.hash_at(0), canonical.floor()), (None, canonical.id_at(0)));
        assert_eq!(canonical.head(), Some(BlockId::new(1, hash(2))));
    }

    #[test]
    fn the_maximum_block_number_is_an_ordinary_position() {
        let mut canonical = Canonical::default();
        canonical.reset(Some(BlockId::new(u64::MAX - 1, hash(1))));
        canonical.push_back(hash(2));
        let top = BlockId::new(u64::MAX, hash(2));
        assert_eq!(canonical.head(), Some(top));
        assert_eq!(canonical.release_lowest(), Some(top));
        canonical.forget_beyond(0);
        assert_eq!(canonical.head(), Some(top));
        assert_eq!(canonical.id_at(u64::MAX), Some(top));
        assert_eq!(canonical.release_lowest(), None);
    }

    #[test]
    fn released_positions_are_remembered_up_to_a_bound() {
        let mut canonical = three();
        assert_eq!(canonical.release_lowest(), Some(id(2)));
        assert_eq!(canonical.release_lowest(), Some(id(3)));
        assert_eq!((canonical.window_floor(), canonical.held()), (Some(id(3)), 1));
        assert!(canonical.contains(&id(2)) && canonical.contains(&id(1)));
        canonical.forget_beyond(1);
        assert_eq!((canonical.floor(), canonical.id_at(1)), (Some(id(2)), None));
        assert!(canonical.contains(&id(3)));
        assert_eq!(canonical.window().collect::<Vec<_>>(), [&hash(4)]);
    }

    #[test]
    fn skipped_positions_are_unknown() {
        let mut canonical = three();
        assert_eq!(canonical.leap_to(id(8), 10), [hash(2), hash(3), hash(4)]);
        assert_eq!((canonical.head(), canonical.held()), (Some(id(8)), 0));
        assert_eq!([4, 5, 7, 8].map(|n| canonical.id_at(n).is_some()), [true, false, false, true]);
        canonical.push_back(hash(9));
        let highest = [3, 4, 6, 7, 8, 9, 12].map(|n| canonical.highest_not_above(n));
        assert_eq!(highest.map(|id| id.map_or(0, |id| id.number)), [3, 4, 4, 4, 8, 9, 9]);
        // Block 8 is known only from its child and was not delivered.
        assert_eq!(canonical.cut_above(4), [(id(9), true), (id(8), false)]);
        assert_eq!((canonical.head(), canonical.held()), (Some(id(4)), 0));
    }

    #[test]
    fn the_floor_is_never_an_unknown_position() {
        let mut canonical = three();
        canonical.leap_to(id(8), 10);
        canonical.forget_beyond(4);
        assert_eq!(canonical.floor(), Some(id(4)));
        canonical.forget_beyond(3);
        assert_eq!((canonical.floor(), canonical.head()), (Some(id(8)), Some(id(8))));
    }

    #[test]
    fn a_jump_below_the_head_removes_the_blocks_above() {
        let mut canonical = three();
        let other = BlockId::new(3, hash(0x33));
        canonical.leap_to(other, 10);
        assert_eq!((canonical.head(), canonical.id_at(2)), (Some(other), Some(id(2))));
        // Below the floor, or beyond the bound: all positions are forgotten.
        for (position, most) in [(BlockId::new(1, hash(0x11)), 10), (id(9), 2)] {
            let mut canonical = three();
            canonical.leap_to(position, most);
            assert_eq!((canonical.floor(), canonical.head()), (Some(position), Some(position)));
        }
    }

    #[test]
    fn positions_can_be_remembered_below_a_resumed_head() {
        let mut canonical = Canonical::default();
        canonical.reset(Some(id(9)));
        canonical.remember_below(id(8));
        canonical.remember_below(id(5));
        canonical.remember_below(id(6));
        assert_eq!((canonical.floor(), canonical.head()), (Some(id(5)), Some(id(9))));
        assert_eq!([6, 7, 8, 9].map(|n| canonical.id_at(n).is_some()), [false, false, true, true]);
        assert_eq!((canonical.held(), canonical.window_floor()), (0, Some(id(9))));
    }
}
