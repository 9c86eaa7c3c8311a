//! Validation slots and the queue for them, one lane for each topic.
//!
//! # Bounds
//! [`VALIDATION_CONCURRENCY`] slots for each topic. [`VALIDATION_QUEUE`] messages and
//! [`WAITING_BYTES`] wait at most, all topics together. Anyone can fill the queue, but not shut
//! others out: a sender with less waiting displaces the sender with the most, and has its turn
//! first.

use crate::gossip::{MessageId, Unpacked, VALIDATION_CONCURRENCY, VALIDATION_QUEUE};
use crate::payload::PayloadVersion;
use crate::peers::PeerId;
use crate::sorted::SortedMap;
use crate::time::Instant;
use std::collections::VecDeque;

/// Maximum number of bytes of the messages that wait for validation, all topics together.
pub const WAITING_BYTES: usize = 64 << 20;

/// A message that waits for a slot.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) from: PeerId,
    pub(super) id: MessageId,
    pub(super) message: Unpacked,
    pub(super) arrived: Instant,
}

/// Whether the queue has room for a message.
#[derive(Debug)]
pub(super) enum Room {
    /// It has.
    Free,
    /// Not yet, but this message left the queue.
    Displaced(PayloadVersion, Waiting),
    /// It has not: the sender has at least as much waiting as all others.
    Full,
}

/// The lanes of all topics.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    lanes: [Lane; PayloadVersion::ALL.len()],
    waiting_bytes: usize,
}

/// Running and waiting validations of one topic.
#[derive(Debug, Default)]
struct Lane {
    running: usize,
    waiting: VecDeque<Waiting>,
}

impl Lane {
    /// Removes the first message of the sender with the fewest bytes waiting here, or of the first
    /// of several such senders. A sender of much data therefore does not delay the others.
    fn next(&mut self) -> Option<Waiting> {
        let bytes = by_sender(&self.waiting, Unpacked::size);
        let (first, _) = self
            .waiting
            .iter()
            .enumerate()
            .min_by_key(|(_, waiting)| bytes.get(&waiting.from).copied())?;
        self.waiting.remove(first)
    }
}

impl Lanes {
    /// Returns the number of messages that wait.
    pub(super) fn waiting(&self) -> usize {
        self.lanes.iter().map(|lane| lane.waiting.len()).sum()
    }

    /// Occupies a slot of the topic. Returns `false` if all of them are occupied.
    pub(super) const fn occupy(&mut self, topic: PayloadVersion) -> bool {
        let lane = &mut self.lanes[topic.index()];
        let is_free = lane.running < VALIDATION_CONCURRENCY;
        if is_free {
            lane.running += 1;
        }
        is_free
    }

    /// Returns the message that takes over an occupied slot of the topic, or frees the slot if no
    /// message waits.
    pub(super) fn hand_over(&mut self, topic: PayloadVersion) -> Option<Waiting> {
        let lane = &mut self.lanes[topic.index()];
        let next = lane.next();
        match &next {
            Some(waiting) => self.waiting_bytes -= waiting.message.size(),
            None => lane.running -= 1,
        }
        next
    }

    /// Looks for room for a message of `size` bytes, and makes some at the expense of a sender that
    /// has more waiting. The caller repeats the call until the answer is not
    /// [`Room::Displaced`].
    pub(super) fn room_for(&mut self, from: &PeerId, size: usize) -> Room {
        let is_crowded = self.waiting() >= VALIDATION_QUEUE;
        if !is_crowded && self.waiting_bytes + size <= WAITING_BYTES {
            return Room::Free;
        }
        match self.displaced_by(from, size, is_crowded) {
            Some((topic, waiting)) => {
                self.waiting_bytes -= waiting.message.size();
                Room::Displaced(topic, waiting)
            }
            None => Room::Full,
        }
    }

    /// Queues a message for which there is [`Room::Free`].
    pub(super) fn queue(&mut self, topic: PayloadVersion, waiting: Waiting) {
        self.waiting_bytes += waiting.message.size();
        self.lanes[topic.index()].waiting.push_back(waiting);
    }

    /// Removes the last message of the sender with the most waiting, by number or by bytes, if
    /// `from` would still have less with this message added.
    fn displaced_by(
        &mut self,
        from: &PeerId,
        size: usize,
        by_number: bool,
    ) -> Option<(PayloadVersion, Waiting)> {
        let weight = |size: usize| if by_number { 1 } else { size };
        let all = self.lanes.iter().flat_map(|lane| &lane.waiting);
        let weights = by_sender(all, |message| weight(message.size()));
        let own = weights.get(from).copied().unwrap_or(0) + weight(size);
        let (most, peer) = weights.iter().map(|(peer, weight)| (*weight, *peer)).max()?;
        if most <= own {
            return None;
        }
        PayloadVersion::ALL.into_iter().find_map(|topic| {
            let waiting = &mut self.lanes[topic.index()].waiting;
            let last = waiting.iter().rposition(|waiting| waiting.from == peer)?;
            Some((topic, waiting.remove(last)?))
        })
    }

    /// Returns the number of bytes that wait.
    #[cfg(test)]
    pub(super) const fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Checks what holds after every call, with the number of running validations by topic.
    #[cfg(test)]
    pub(super) fn check(&self, running: [usize; PayloadVersion::ALL.len()]) {
        assert!(self.waiting() <= VALIDATION_QUEUE);
        assert!(self.waiting_bytes <= WAITING_BYTES);
        let waiting = self.lanes.iter().flat_map(|lane| &lane.waiting);
        let bytes: usize = waiting.map(|waiting| waiting.message.size()).sum();
        assert_eq!(bytes, self.waiting_bytes);
        for (lane, running) in self.lanes.iter().zip(running) {
            assert_eq!(running, lane.running);
            assert!(lane.running <= VALIDATION_CONCURRENCY);
            let is_full = lane.running == VALIDATION_CONCURRENCY;
            assert!(lane.waiting.is_empty() || is_full, "a slot lies idle");
        }
    }
}

/// Sums what each sender has waiting, as `weight` counts it.
fn by_sender<'a>(
    waiting: impl IntoIterator<Item = &'a Waiting>,
    weight: impl Fn(&Unpacked) -> usize,
) -> SortedMap<PeerId, usize> {
    let mut weights = SortedMap::new();
    for Waiting { from, message, .. } in waiting {
        *weights.get_or_insert_with(*from, || 0) += weight(message);
    }
    weights
}
