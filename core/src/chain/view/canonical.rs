//! The canonical positions that are remembered: the hashes of the window, and the floor below it.
//!
//! # Bounds
//!
//! One hash for each canonical block held; the view bounds those.

use std::collections::VecDeque;

use alloy_primitives::B256;

use super::types::BlockId;

/// A run of consecutive positions. Without a floor, the lowest hash is that of block 0.
#[derive(Debug, Default)]
pub(super) struct Canonical {
    floor: Option<BlockId>,
    hashes: VecDeque<B256>,
}

impl Canonical {
    /// Starts anew above `floor`; gives the hashes held until now.
    pub(super) fn reset(&mut self, floor: Option<BlockId>) -> VecDeque<B256> {
        self.floor = floor;
        std::mem::take(&mut self.hashes)
    }

    pub(super) const fn floor(&self) -> Option<BlockId> {
        self.floor
    }

    pub(super) fn head(&self) -> Option<BlockId> {
        match (self.hashes.back(), self.hashes.len().checked_sub(1)) {
            (Some(hash), Some(last)) => Some(BlockId::new(self.number_of(last), *hash)),
            _ => self.floor,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.hashes.len()
    }

    pub(super) fn hashes(&self) -> impl DoubleEndedIterator<Item = &B256> {
        self.hashes.iter()
    }

    /// The hash at this height, of the window only.
    pub(super) fn hash_at(&self, number: u64) -> Option<B256> {
        let lowest = self.floor.map_or(Some(0), |floor| floor.number.checked_add(1))?;
        let index = usize::try_from(number.checked_sub(lowest)?).ok()?;
        self.hashes.get(index).copied()
    }

    /// The position at this height, of the window or the floor.
    pub(super) fn id_at(&self, number: u64) -> Option<BlockId> {
        match self.floor {
            Some(floor) if floor.number == number => Some(floor),
            _ => self.hash_at(number).map(|hash| BlockId::new(number, hash)),
        }
    }

    pub(super) fn push_back(&mut self, hash: B256) {
        self.hashes.push_back(hash);
    }

    /// Adds the position of the floor as the lowest of the window, above a new floor.
    pub(super) fn push_front(&mut self, hash: B256, floor: Option<BlockId>) {
        self.hashes.push_front(hash);
        self.floor = floor;
    }

    pub(super) fn pop_back(&mut self) -> Option<B256> {
        self.hashes.pop_back()
    }

    /// Makes the lowest position of the window the floor, and gives it.
    pub(super) fn pop_front(&mut self) -> Option<BlockId> {
        let lowest = self.number_of(0);
        let hash = self.hashes.pop_front()?;
        self.floor = Some(BlockId::new(lowest, hash));
        self.floor
    }

    /// The number of the hash at `index`. Saturates only where no block can be: above 2^64 - 1.
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

    #[test]
    fn positions_count_from_zero_without_a_floor() {
        let mut canonical = Canonical::default();
        assert_eq!(canonical.head(), None);
        canonical.push_back(hash(1));
        canonical.push_back(hash(2));
        assert_eq!(canonical.head(), Some(BlockId::new(1, hash(2))));
        assert_eq!(canonical.id_at(0), Some(BlockId::new(0, hash(1))));
        assert_eq!(canonical.pop_front(), Some(BlockId::new(0, hash(1))));
        assert_eq!(canonical.hash_at(0), None);
        assert_eq!(canonical.id_at(0), Some(BlockId::new(0, hash(1))));
        assert_eq!(canonical.head(), Some(BlockId::new(1, hash(2))));
    }

    #[test]
    fn the_highest_number_of_all_is_a_position_like_any_other() {
        let mut canonical = Canonical::default();
        canonical.reset(Some(BlockId::new(u64::MAX - 1, hash(1))));
        canonical.push_back(hash(2));
        let top = BlockId::new(u64::MAX, hash(2));
        assert_eq!(canonical.head(), Some(top));
        assert_eq!(canonical.pop_front(), Some(top));
        assert_eq!(canonical.head(), Some(top));
        assert_eq!(canonical.id_at(u64::MAX), Some(top));
        assert_eq!(canonical.hash_at(u64::MAX), None);
        assert_eq!(canonical.pop_front(), None);
    }
}
