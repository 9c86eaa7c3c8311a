//! Block times of a chain.
//!
//! A chain starts with the block time of its `rollup.json`, in whole seconds. A fork can change the
//! interval. The schedule computes the first block with the new interval once, from the fork's
//! time. From Denim on, Base makes a block every 200 ms. A header contains whole seconds, so
//! several blocks of such a chain share a timestamp; the exact time of a block follows from its
//! number.

use std::time::Duration;

use super::config::Genesis;
use super::fork::{Fork, ForkSchedule};

/// The forks that change the interval between two blocks, in the order of activation, each with the
/// new interval in milliseconds.
const INTERVALS: [(Fork, u64); 1] = [(Fork::Denim, 200)];

const PIECES: usize = 1 + INTERVALS.len();
const MILLIS: u128 = 1000;

/// A run of blocks at one interval. Times are in milliseconds since the Unix epoch. 128 bits can
/// hold the start of any piece under any configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    /// Number of the first block.
    first: u64,
    /// Time of the first block.
    time: u128,
    /// Milliseconds from each block to the next.
    interval: u128,
    /// The fork that starts the piece, or `None` for genesis.
    fork: Option<Fork>,
}

/// The time of each block of a chain.
///
/// The schedule begins with the block time of the `rollup.json`. A fork can change the interval
/// from a given block on, so that several blocks share a header timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockSchedule {
    /// Oldest first. Only the first `length` entries are used.
    pieces: [Piece; PIECES],
    length: usize,
}

impl BlockSchedule {
    /// Creates the schedule of a chain with this genesis, `block_time` in seconds, and these forks.
    pub fn new(genesis: &Genesis, block_time: u64, forks: &ForkSchedule) -> Self {
        let start = Piece {
            first: genesis.number,
            time: u128::from(genesis.time) * MILLIS,
            interval: u128::from(block_time) * MILLIS,
            fork: None,
        };
        let mut schedule = Self { pieces: [start; PIECES], length: 1 };
        for (fork, interval) in INTERVALS {
            if let Some(seconds) = forks.activation(fork) {
                schedule.change_at(fork, seconds, interval.into());
            }
        }
        schedule
    }

    /// Starts a new piece at the first block that is not earlier than the fork.
    fn change_at(&mut self, fork: Fork, seconds: u64, interval: u128) {
        let last = self.last();
        let wait = (u128::from(seconds) * MILLIS).saturating_sub(last.time);
        let blocks = if last.interval == 0 { 0 } else { wait.div_ceil(last.interval) };
        let Some(first) = u64::try_from(blocks).ok().and_then(|n| last.first.checked_add(n)) else {
            // The fork lies beyond the highest possible block number.
            return;
        };
        let piece =
            Piece { first, time: last.time + blocks * last.interval, interval, fork: Some(fork) };
        // A fork that is active from the first block of a piece replaces the piece.
        if blocks > 0 {
            self.length += 1;
        }
        self.pieces[self.length - 1] = piece;
    }

    fn last(&self) -> Piece {
        self.pieces[self.length - 1]
    }

    fn pieces(&self) -> impl DoubleEndedIterator<Item = &Piece> {
        self.pieces[..self.length].iter()
    }

    /// Returns the time of the block at this height, in milliseconds since the Unix epoch.
    ///
    /// Returns `None` below genesis, or if the time overflows.
    pub fn time_of(&self, number: u64) -> Option<u64> {
        u64::try_from(self.exact_time_of(number)?).ok()
    }

    /// Returns the header timestamp of the block at this height, in whole seconds since the Unix
    /// epoch.
    ///
    /// Returns `None` below genesis, or if the timestamp overflows.
    pub fn timestamp_of(&self, number: u64) -> Option<u64> {
        u64::try_from(self.exact_time_of(number)? / MILLIS).ok()
    }

    /// Returns the millisecond part of the block's time, which the header timestamp lacks, or
    /// `None` below genesis.
    pub fn millis_of(&self, number: u64) -> Option<u16> {
        u16::try_from(self.exact_time_of(number)? % MILLIS).ok()
    }

    fn exact_time_of(&self, number: u64) -> Option<u128> {
        let piece = self.pieces().rev().find(|piece| piece.first <= number)?;
        let since = u128::from(number - piece.first).checked_mul(piece.interval)?;
        piece.time.checked_add(since)
    }

    /// Returns the height of the newest block that is due at `unix` (since the Unix epoch).
    ///
    /// Returns `None` before genesis, if the height overflows, or if the interval is zero.
    pub fn highest_number_at(&self, unix: Duration) -> Option<u64> {
        let now = unix.as_millis();
        let piece = self.pieces().rev().find(|piece| piece.time <= now)?;
        let blocks = (now - piece.time).checked_div(piece.interval)?;
        piece.first.checked_add(u64::try_from(blocks).ok()?)
    }

    /// Returns the interval between two blocks at the wall-clock time `unix` (since the Unix
    /// epoch). Before genesis it is the first interval.
    pub fn interval_at(&self, unix: Duration) -> Duration {
        let now = unix.as_millis();
        let piece = self.pieces().rev().find(|piece| piece.time <= now).unwrap_or(&self.pieces[0]);
        Duration::from_millis(u64::try_from(piece.interval).unwrap_or(u64::MAX))
    }

    /// Returns the number of blocks that the chain makes in `span` at the wall-clock time `unix`,
    /// rounded up and at least one.
    pub fn blocks_in(&self, unix: Duration, span: Duration) -> u64 {
        let interval = self.interval_at(unix).as_millis().max(1);
        u64::try_from(span.as_millis().div_ceil(interval)).unwrap_or(u64::MAX).max(1)
    }

    /// Returns the shortest interval between two blocks that the chain has or has scheduled.
    pub fn shortest_interval(&self) -> Duration {
        let intervals = self.pieces().map(|piece| piece.interval);
        let shortest = intervals.min().unwrap_or_default();
        Duration::from_millis(u64::try_from(shortest).unwrap_or(u64::MAX))
    }

    /// Returns the number of the first block that carries its milliseconds in a deposit, as Base's
    /// blocks do from Denim on, or `None` if the chain has not scheduled such blocks.
    pub fn first_with_base_time(&self) -> Option<u64> {
        self.pieces().find(|piece| piece.fork == Some(Fork::Denim)).map(|piece| piece.first)
    }

    /// Returns each change of the interval, oldest first: the fork (`None` for genesis), the first
    /// block, its time in milliseconds since the Unix epoch, and the interval from then on.
    pub fn changes(&self) -> impl Iterator<Item = (Option<Fork>, u64, u64, Duration)> + '_ {
        let fits = |value: u128| u64::try_from(value).unwrap_or(u64::MAX);
        self.pieces().map(move |piece| {
            let interval = Duration::from_millis(fits(piece.interval));
            (piece.fork, piece.first, fits(piece.time), interval)
        })
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::B256;
    use proptest::prelude::*;

    use super::*;

    fn genesis(number: u64, time: u64) -> Genesis {
        Genesis { number, hash: B256::ZERO, time }
    }

    fn base() -> BlockSchedule {
        let forks = ForkSchedule::up_to(Fork::Cobalt).with(Fork::Denim, Some(1_793_901_600));
        BlockSchedule::new(&genesis(0, 1_686_789_347), 2, &forks)
    }

    #[test]
    fn base_makes_five_blocks_a_second_since_denim() {
        let base = base();
        assert_eq!(base.first_with_base_time(), Some(53_556_127));
        let times = |number| (base.timestamp_of(number), base.millis_of(number));
        assert_eq!(times(53_556_126), (Some(1_793_901_599), Some(0)));
        assert_eq!(times(53_556_127), (Some(1_793_901_601), Some(0)));
        assert_eq!(times(53_556_128), (Some(1_793_901_601), Some(200)));
        assert_eq!(times(53_556_131), (Some(1_793_901_601), Some(800)));
        assert_eq!(times(53_556_132), (Some(1_793_901_602), Some(0)));
        let at = |seconds| base.highest_number_at(Duration::from_secs(seconds));
        assert_eq!(at(1_793_901_600), Some(53_556_126));
        assert_eq!(at(1_793_901_601), Some(53_556_127));
        // 2026-11-29 04:00:00 UTC
        assert_eq!(at(1_795_924_800), Some(63_672_122));
    }

    #[test]
    fn base_sepolia_switches_intervals_in_the_second_of_the_fork() {
        let forks = ForkSchedule::up_to(Fork::Cobalt).with(Fork::Denim, Some(1_792_605_600));
        let sepolia = BlockSchedule::new(&genesis(0, 1_695_768_288), 2, &forks);
        assert_eq!(sepolia.first_with_base_time(), Some(48_418_656));
        assert_eq!(sepolia.time_of(48_418_656), Some(1_792_605_600_000));
        let now = Duration::from_secs(1_795_924_800);
        assert_eq!(sepolia.highest_number_at(now), Some(65_014_656));
    }

    #[test]
    fn the_interval_depends_on_the_time() {
        let base = base();
        let interval = |seconds| base.interval_at(Duration::from_secs(seconds));
        assert_eq!(interval(0), Duration::from_secs(2));
        assert_eq!(interval(1_793_901_600), Duration::from_secs(2));
        assert_eq!(interval(1_793_901_601), Duration::from_millis(200));
        let minute = Duration::from_secs(60);
        assert_eq!(base.blocks_in(Duration::from_secs(1_793_901_600), minute), 30);
        assert_eq!(base.blocks_in(Duration::from_secs(1_793_901_601), minute), 300);
        assert_eq!(base.blocks_in(Duration::ZERO, Duration::ZERO), 1);
        assert_eq!(base.shortest_interval(), Duration::from_millis(200));
    }

    #[test]
    fn a_fork_at_or_before_genesis_replaces_the_first_interval() {
        for activation in [0, 999, 1000] {
            let forks = ForkSchedule::up_to(Fork::Cobalt).with(Fork::Denim, Some(activation));
            let schedule = BlockSchedule::new(&genesis(7, 1000), 2, &forks);
            assert_eq!(schedule.first_with_base_time(), Some(7));
            assert_eq!(schedule.time_of(8), Some(1_000_200));
            assert_eq!(schedule.time_of(6), None);
            assert_eq!(schedule.changes().count(), 1);
        }
    }

    #[test]
    fn a_fork_beyond_the_last_number_changes_nothing() {
        let forks = ForkSchedule::up_to(Fork::Cobalt).with(Fork::Denim, Some(u64::MAX));
        let schedule = BlockSchedule::new(&genesis(u64::MAX - 5, 0), 1, &forks);
        assert_eq!(schedule.first_with_base_time(), None);
        assert_eq!(schedule.changes().count(), 1);
    }

    proptest! {
        #[test]
        fn number_and_time_are_inverse_across_the_change(
            first in 0..1_u64 << 40, start in 0..1_u64 << 32, block_time in 1..20_u64,
            denim in 0..1_u64 << 33, blocks in 0..1_u64 << 34, late in 0..200_u64,
        ) {
            let forks = ForkSchedule::up_to(Fork::Cobalt).with(Fork::Denim, Some(denim));
            let schedule = BlockSchedule::new(&genesis(first, start), block_time, &forks);
            let number = first + blocks;
            let time = schedule.time_of(number).expect("in range");
            let now = Duration::from_millis(time + late);
            prop_assert_eq!(schedule.highest_number_at(now), Some(number));
            prop_assert_eq!(schedule.timestamp_of(number), Some(time / 1000));
            let after = schedule.time_of(number + 1).expect("in range");
            let expected = if schedule.first_with_base_time().is_some_and(|act| act <= number) {
                200
            } else {
                1000 * block_time
            };
            prop_assert_eq!(after - time, expected);
        }
    }
}
