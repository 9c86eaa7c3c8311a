//! Which blocks were accepted at which height: the last two checks of validation.
//!
//! One list per topic, so the same block may be accepted on two. Validation jobs run side by side,
//! the list is asked only when a job's result comes in, one result at a time: two first blocks of
//! a height can't miss each other, and there are never more than six.
//!
//! # Bounds
//! Per topic 1000 heights of at most six hashes. Only blocks that the sequencer signed get here, so
//! only the sequencer can fill it. When full, the height that was used longest ago is forgotten; a
//! repeat of its blocks would be accepted again, but is older than the message cache by then.

use super::Reason;
use crate::payload::PayloadVersion;
use crate::sorted::SortedMap;
use alloy_primitives::B256;

/// Heights remembered per topic.
pub const SEEN_HEIGHTS: usize = 1000;
/// Different blocks accepted per height and topic. The reference refuses when *more than* five are
/// stored, which lets six in.
pub const BLOCKS_PER_HEIGHT: usize = 6;

/// The lists of all topics.
#[derive(Clone, Debug, Default)]
pub struct SeenBlocks {
    topics: [Heights; PayloadVersion::ALL.len()],
}

impl SeenBlocks {
    /// Admits a block that passed every other check, or says why not.
    ///
    /// # Errors
    /// [`Reason::TooManyBlocks`] when the height is full, also for blocks that are in it: the
    /// reference asks for the count first. [`Reason::AlreadySeen`] for a repeat.
    pub fn admit(&mut self, topic: PayloadVersion, number: u64, hash: B256) -> Result<(), Reason> {
        self.topics[topic.index()].admit(number, hash)
    }
}

#[derive(Clone, Debug, Default)]
struct Heights {
    by_number: SortedMap<u64, Height>,
    /// Number by the moment of its last use; the first is the one to forget.
    by_use: SortedMap<u64, u64>,
    uses: u64,
}

#[derive(Clone, Debug)]
struct Height {
    hashes: Vec<B256>,
    last_use: u64,
}

impl Heights {
    fn admit(&mut self, number: u64, hash: B256) -> Result<(), Reason> {
        self.uses += 1;
        let new = || Height { hashes: Vec::new(), last_use: self.uses };
        let height = self.by_number.get_or_insert_with(number, new);
        self.by_use.remove(&height.last_use);
        height.last_use = self.uses;
        self.by_use.insert(self.uses, number);
        if height.hashes.len() >= BLOCKS_PER_HEIGHT {
            return Err(Reason::TooManyBlocks);
        }
        if height.hashes.contains(&hash) {
            return Err(Reason::AlreadySeen);
        }
        height.hashes.push(hash);
        if self.by_number.len() > SEEN_HEIGHTS
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            self.by_number.remove(&oldest);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use PayloadVersion::{V3, V4};

    fn hash(byte: u8) -> B256 {
        B256::repeat_byte(byte)
    }

    #[test]
    fn six_blocks_per_height_are_admitted_and_the_seventh_is_rejected() {
        let mut seen = SeenBlocks::default();
        for byte in 0..6 {
            assert_eq!(seen.admit(V3, 9, hash(byte)), Ok(()));
        }
        assert_eq!(seen.admit(V3, 9, hash(6)), Err(Reason::TooManyBlocks));
    }

    #[test]
    fn a_repeat_is_ignored_until_the_height_is_full_and_rejected_from_then_on() {
        let mut seen = SeenBlocks::default();
        for byte in 0..6 {
            seen.admit(V3, 9, hash(byte)).expect("new");
            let expected = if byte < 5 { Reason::AlreadySeen } else { Reason::TooManyBlocks };
            assert_eq!(seen.admit(V3, 9, hash(0)), Err(expected));
        }
    }

    #[test]
    fn topics_are_independent() {
        let mut seen = SeenBlocks::default();
        assert_eq!(seen.admit(V3, 9, hash(1)), Ok(()));
        assert_eq!(seen.admit(V4, 9, hash(1)), Ok(()));
        assert_eq!(seen.admit(V4, 9, hash(1)), Err(Reason::AlreadySeen));
    }

    #[test]
    fn a_thousand_heights_are_remembered_by_last_use() {
        let mut seen = SeenBlocks::default();
        for number in 0..1000 {
            seen.admit(V3, number, hash(1)).expect("new");
        }
        // Asking for height 0 makes height 1 the one that was used longest ago.
        assert_eq!(seen.admit(V3, 0, hash(1)), Err(Reason::AlreadySeen));
        seen.admit(V3, 1000, hash(1)).expect("new");
        assert_eq!(seen.admit(V3, 0, hash(1)), Err(Reason::AlreadySeen));
        assert_eq!(seen.admit(V3, 1, hash(1)), Ok(()));
    }

    #[test]
    fn the_lists_never_grow_beyond_their_bounds() {
        let mut seen = SeenBlocks::default();
        for number in 0..5000_u64 {
            let _ = seen.admit(V3, number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 2500, hash(number as u8));
            let heights = &seen.topics[V3.index()];
            assert!(heights.by_number.len() <= SEEN_HEIGHTS);
            assert_eq!(heights.by_number.len(), heights.by_use.len());
        }
    }
}
