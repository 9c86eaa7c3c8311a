//! Accepted blocks by height: the last two checks of validation.
//!
//! Each topic has its own list, so the same block may be accepted on two topics. Validation jobs
//! run in parallel, but the list is checked only when a job's result arrives, one result at a time.
//! Therefore concurrent blocks of one height can't miss each other, and a height never has more
//! than six.
//!
//! # Bounds
//! Each topic remembers as many heights as the chain makes while a block can be accepted, at least
//! [`SEEN_HEIGHTS`] and at most [`MAX_SEEN_HEIGHTS`]. A height has at most six hashes and takes
//! 300 bytes. Only blocks that the sequencer signed get here, so only the sequencer can fill the
//! lists. A full list forgets its least recently used height, whose blocks are by then too old to
//! be accepted again.

use super::{Reason, TIMESTAMP_AHEAD};
use crate::payload::PayloadVersion;
use crate::sorted::SortedMap;
use alloy_primitives::B256;
use std::time::Duration;

/// Minimum number of heights remembered per topic, the same as in the reference.
pub const SEEN_HEIGHTS: usize = 1000;
/// Maximum number of heights remembered per topic.
pub const MAX_SEEN_HEIGHTS: usize = 1 << 16;
/// Maximum number of different blocks accepted per height and topic. The reference refuses when
/// *more than* five are stored, which lets six in.
pub const BLOCKS_PER_HEIGHT: usize = 6;

/// Lists of accepted blocks, one for each topic.
#[derive(Clone, Debug)]
pub struct SeenBlocks {
    topics: [Heights; PayloadVersion::ALL.len()],
    /// Maximum number of heights remembered per topic.
    heights: usize,
}

impl Default for SeenBlocks {
    /// Remembers [`SEEN_HEIGHTS`] heights.
    fn default() -> Self {
        Self { topics: Default::default(), heights: SEEN_HEIGHTS }
    }
}

impl SeenBlocks {
    /// Creates lists for a chain that makes a block every `interval` and accepts blocks from
    /// [`TIMESTAMP_AHEAD`] before their time until they are `age` old.
    pub fn covering(interval: Duration, age: Duration) -> Self {
        let span = age.saturating_add(TIMESTAMP_AHEAD).as_millis();
        let heights = span.div_ceil(interval.as_millis().max(1));
        let heights = usize::try_from(heights).unwrap_or(usize::MAX);
        Self { heights: heights.clamp(SEEN_HEIGHTS, MAX_SEEN_HEIGHTS), ..Self::default() }
    }

    /// Admits a block that passed every other check.
    ///
    /// # Errors
    /// [`Reason::TooManyBlocks`] if the height is full, even for blocks that it contains, because
    /// the reference checks the count first. [`Reason::AlreadySeen`] for a repeat.
    pub fn admit(&mut self, topic: PayloadVersion, number: u64, hash: B256) -> Result<(), Reason> {
        self.topics[topic.index()].admit(self.heights, number, hash)
    }
}

#[derive(Clone, Debug, Default)]
struct Heights {
    by_number: SortedMap<u64, Height>,
    /// Block numbers by time of last use; the first entry is forgotten next.
    by_use: SortedMap<u64, u64>,
    uses: u64,
}

#[derive(Clone, Debug)]
struct Height {
    hashes: Vec<B256>,
    last_use: u64,
}

impl Heights {
    fn admit(&mut self, most: usize, number: u64, hash: B256) -> Result<(), Reason> {
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
        if self.by_number.len() > most
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
    fn the_thousand_most_recently_used_heights_are_remembered() {
        let mut seen = SeenBlocks::default();
        for number in 0..1000 {
            seen.admit(V3, number, hash(1)).expect("new");
        }
        // Using height 0 makes height 1 the least recently used one.
        assert_eq!(seen.admit(V3, 0, hash(1)), Err(Reason::AlreadySeen));
        seen.admit(V3, 1000, hash(1)).expect("new");
        assert_eq!(seen.admit(V3, 0, hash(1)), Err(Reason::AlreadySeen));
        assert_eq!(seen.admit(V3, 1, hash(1)), Ok(()));
    }

    #[test]
    fn all_heights_in_which_a_block_can_be_accepted_are_remembered() {
        let seconds = Duration::from_secs;
        for (interval, age, heights) in [
            (seconds(2), seconds(60), SEEN_HEIGHTS),
            // 325 heights would suffice.
            (Duration::from_millis(200), seconds(60), SEEN_HEIGHTS),
            (Duration::from_millis(50), seconds(60), 1300),
            (Duration::from_millis(200), seconds(1200), 6025),
            (Duration::ZERO, Duration::MAX, MAX_SEEN_HEIGHTS),
        ] {
            let mut seen = SeenBlocks::covering(interval, age);
            for number in 0..heights as u64 {
                seen.admit(V4, number, hash(1)).expect("new");
            }
            assert_eq!(seen.admit(V4, 0, hash(1)), Err(Reason::AlreadySeen), "{interval:?}");
            seen.admit(V4, heights as u64, hash(1)).expect("new");
            assert_eq!(seen.admit(V4, 1, hash(1)), Ok(()), "{interval:?}");
        }
    }

    #[test]
    fn blocks_that_share_a_timestamp_have_separate_heights() {
        let mut seen = SeenBlocks::covering(Duration::from_millis(200), Duration::from_secs(60));
        for number in 0..5 {
            for byte in 0..6 {
                assert_eq!(seen.admit(V4, number, hash(byte)), Ok(()));
            }
            assert_eq!(seen.admit(V4, number, hash(6)), Err(Reason::TooManyBlocks));
        }
    }

    #[test]
    fn the_lists_never_grow_beyond_their_bounds() {
        let mut seen = SeenBlocks::default();
        for number in 0..5000_u64 {
            let _ = seen.admit(
                V3,
                number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 2500,
                hash(number as u8),
            );
            let heights = &seen.topics[V3.index()];
            assert!(heights.by_number.len() <= SEEN_HEIGHTS);
            assert_eq!(heights.by_number.len(), heights.by_use.len());
        }
    }
}
