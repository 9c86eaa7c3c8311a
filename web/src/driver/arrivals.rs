//! How blocks arrived, remembered until they are handed on to the page, and for the newest ones
//! beyond that.
//!
//! # Bounds
//! [`WAITING`] blocks that are not handed on, and [`HANDED_ON`] that are. Beyond that the oldest is
//! forgotten, which only costs the page the block's source.

use crate::tell::Arrival;
use alloy_primitives::B256;
use std::collections::{BTreeMap, VecDeque};

/// Maximum number of blocks that are not handed on yet.
const WAITING: usize = 4096;
/// Number of blocks that were handed on last: as many as the core holds, on the fastest chain.
const HANDED_ON: usize = 1024;

/// Arrivals of blocks.
#[derive(Debug)]
pub(super) struct Arrivals {
    waiting: Newest,
    handed_on: Newest,
}

impl Default for Arrivals {
    fn default() -> Self {
        Self { waiting: Newest::new(WAITING), handed_on: Newest::new(HANDED_ON) }
    }
}

impl Arrivals {
    /// Remembers how a block arrived. The first arrival counts.
    pub(super) fn insert(&mut self, hash: B256, arrival: Arrival) {
        self.waiting.insert(hash, arrival);
    }

    /// Returns how a block arrived.
    pub(super) fn get(&self, hash: &B256) -> Option<&Arrival> {
        self.waiting.arrivals.get(hash).or_else(|| self.handed_on.arrivals.get(hash))
    }

    /// Returns how a block arrived that is handed on now, or `unknown`.
    pub(super) fn hand_on(&mut self, hash: B256, unknown: impl FnOnce() -> Arrival) -> Arrival {
        let arrival = self.waiting.take(&hash).unwrap_or_else(unknown);
        // A block that becomes canonical again arrived again.
        self.handed_on.take(&hash);
        self.handed_on.insert(hash, arrival.clone());
        arrival
    }
}

/// A bounded map that forgets its oldest entry.
#[derive(Debug)]
struct Newest {
    most: usize,
    arrivals: BTreeMap<B256, Arrival>,
    /// Keys of `arrivals`, oldest first.
    order: VecDeque<B256>,
}

impl Newest {
    const fn new(most: usize) -> Self {
        Self { most, arrivals: BTreeMap::new(), order: VecDeque::new() }
    }

    fn insert(&mut self, hash: B256, arrival: Arrival) {
        if self.arrivals.contains_key(&hash) {
            return;
        }
        self.arrivals.insert(hash, arrival);
        self.order.push_back(hash);
        if self.order.len() > self.most
            && let Some(oldest) = self.order.pop_front()
        {
            self.arrivals.remove(&oldest);
        }
    }

    fn take(&mut self, hash: &B256) -> Option<Arrival> {
        let arrival = self.arrivals.remove(hash)?;
        // It is nearly always the oldest.
        if self.order.front() == Some(hash) {
            self.order.pop_front();
        } else {
            self.order.retain(|other| other != hash);
        }
        Some(arrival)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: usize) -> B256 {
        B256::left_padding_from(&number.to_be_bytes())
    }

    fn arrival(received_at: f64) -> Arrival {
        Arrival { is_gossip: true, peer: None, received_at, validation: None }
    }

    fn unknown() -> Arrival {
        arrival(9.0)
    }

    #[test]
    fn the_first_arrival_counts_and_is_known_after_the_block_was_handed_on() {
        let mut arrivals = Arrivals::default();
        (0..3).for_each(|number| arrivals.insert(hash(number), arrival(1.0)));
        arrivals.insert(hash(1), arrival(2.0));
        let at = |arrivals: &Arrivals, number| arrivals.get(&hash(number)).map(|a| a.received_at);
        assert_eq!(at(&arrivals, 1), Some(1.0));
        for number in [1, 0, 2] {
            assert_eq!(arrivals.hand_on(hash(number), unknown), arrival(1.0));
            assert_eq!(at(&arrivals, number), Some(1.0));
        }
        assert!(arrivals.waiting.order.is_empty());
        assert_eq!(arrivals.hand_on(hash(1), unknown), unknown());
        assert_eq!((at(&arrivals, 1), at(&arrivals, 5)), (Some(9.0), None));
    }

    #[test]
    fn the_newest_arrivals_are_kept() {
        let mut arrivals = Arrivals::default();
        (0..WAITING + 2).for_each(|number| arrivals.insert(hash(number), arrival(1.0)));
        let lengths = |kept: &Newest| (kept.arrivals.len(), kept.order.len());
        assert_eq!(lengths(&arrivals.waiting), (WAITING, WAITING));
        assert!(arrivals.get(&hash(1)).is_none() && arrivals.get(&hash(2)).is_some());
        (2..WAITING + 2).for_each(|number| drop(arrivals.hand_on(hash(number), unknown)));
        assert_eq!(lengths(&arrivals.waiting), (0, 0));
        assert_eq!(lengths(&arrivals.handed_on), (HANDED_ON, HANDED_ON));
        assert!(arrivals.get(&hash(WAITING + 1)).is_some());
    }
}
