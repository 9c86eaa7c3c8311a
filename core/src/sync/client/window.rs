//! The numbers at and below the frontier, and what is known of each.
//!
//! # Bounds
//! One slot per number of the span that the client sets; in each at most two requests, one answer, and one entry
//! for each server that was asked in vain.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::RequestId;
use crate::chain::ChainBlock;
use crate::payload::Block;
use crate::peers::PeerId;
use crate::sorted::SortedMap;
use crate::time::Instant;

/// After the first answer in vain a server is asked for the same number again after this; then twice as long.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// What is known of one number.
#[derive(Debug, Default)]
struct Slot {
    asked: Vec<RequestId>,
    answer: Option<(Block, PeerId)>,
    /// Asked in vain: when it may be asked again, and how often that happened. `None`: it is being asked.
    vain: SortedMap<PeerId, (Option<Instant>, u32)>,
    /// Those whose block did not link, which is a fault if the right one turns up.
    suspects: Vec<PeerId>,
    /// An answer was larger than expected.
    is_large: bool,
    /// Whose it was, and more than how many bytes it had.
    long: Vec<(PeerId, usize)>,
}

impl Slot {
    fn retry_later(&mut self, now: Instant, peer: &PeerId, was_wrong: bool) {
        let (again, times) = self.vain.get_or_insert_with(*peer, || (None, 0));
        let wait = FIRST_RETRY.saturating_mul(1 << (*times).min(8)).min(LONGEST_RETRY);
        *again = Some(now + if was_wrong { LONGEST_RETRY } else { wait });
        *times = times.saturating_add(1);
    }
}

#[derive(Debug, Default)]
pub(super) struct Window {
    slots: SortedMap<u64, Slot>,
    bytes: usize,
}

impl Window {
    /// Makes the slots those of `span`.
    pub(super) fn fit(&mut self, span: Option<RangeInclusive<u64>>) {
        let Some(span) = span else {
            self.slots.clear();
            self.bytes = 0;
            return;
        };
        let bytes = &mut self.bytes;
        self.slots.retain(|number, slot| {
            let stays = span.contains(number);
            *bytes -= if stays { 0 } else { size(slot) };
            stays
        });
        // Whatever is left is consecutive, so only the ends can lack slots.
        let (lowest, highest) = match (self.slots.first_key_value(), self.slots.last_key_value()) {
            (Some((lowest, _)), Some((highest, _))) => (*lowest, *highest),
            _ => {
                self.slots.extend(span.map(|number| (number, Slot::default())));
                return;
            }
        };
        for number in *span.start()..lowest {
            self.slots.insert(number, Slot::default());
        }
        for number in highest.saturating_add(1)..=*span.end() {
            self.slots.insert(number, Slot::default());
        }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Bytes of the answers.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn numbers(&self) -> impl DoubleEndedIterator<Item = u64> + '_ {
        self.slots.keys().copied()
    }

    /// The requests under way for a number; `None` if it is answered.
    pub(super) fn asked(&self, number: u64) -> Option<&[RequestId]> {
        self.slots.get(&number).filter(|slot| slot.answer.is_none()).map(|slot| slot.asked.as_slice())
    }

    pub(super) fn is_large(&self, number: u64) -> bool {
        self.slots.get(&number).is_some_and(|slot| slot.is_large)
    }

    /// When this server may be asked for this number; `None`: when it has answered.
    pub(super) fn may_ask_at(&self, number: u64, peer: &PeerId) -> Option<Instant> {
        match self.slots.get(&number)?.vain.get(peer) {
            Some((again, _)) => *again,
            None => Some(Instant::default()),
        }
    }

    /// A request for this number is under way, maybe since before the slot was made.
    pub(super) fn adopt(&mut self, number: u64, id: RequestId, peer: &PeerId) {
        let Some(slot) = self.slots.get_mut(&number) else { return };
        if !slot.asked.contains(&id) {
            slot.asked.push(id);
            slot.vain.get_or_insert_with(*peer, || (None, 0)).0 = None;
        }
    }

    /// A request was sent; answers those that it replaces.
    pub(super) fn sent(&mut self, number: u64, id: RequestId, peer: &PeerId) -> Vec<RequestId> {
        let Some(slot) = self.slots.get_mut(&number) else { return Vec::new() };
        let before = slot.asked.clone();
        slot.asked.push(id);
        // Not twice at once.
        slot.vain.get_or_insert_with(*peer, || (None, 0)).0 = None;
        before
    }

    /// A sound block came. The first one for a number is kept.
    pub(super) fn answered(&mut self, id: RequestId, peer: &PeerId, block: Block) {
        let Some(slot) = self.slots.get_mut(&block.number()) else { return };
        slot.asked.retain(|asked| *asked != id);
        if slot.answer.is_none() {
            self.bytes += block.size();
            slot.answer = Some((block, *peer));
        }
    }

    /// A request came to nothing.
    pub(super) fn failed(
        &mut self,
        now: Instant,
        id: RequestId,
        number: u64,
        peer: &PeerId,
        longer_than: Option<usize>,
        was_wrong: bool,
    ) {
        let Some(slot) = self.slots.get_mut(&number) else { return };
        slot.asked.retain(|asked| *asked != id);
        if let Some(limit) = longer_than {
            slot.is_large = true;
            slot.vain.insert(*peer, (Some(now), 0));
            if !slot.long.iter().any(|(who, _)| who == peer) {
                slot.long.push((*peer, limit));
            }
        } else {
            slot.retry_later(now, peer, was_wrong);
        }
    }

    /// The answer for a number, out of its slot.
    pub(super) fn take_answer(&mut self, number: u64) -> Option<(Block, PeerId)> {
        let answer = self.slots.get_mut(&number)?.answer.take()?;
        self.bytes -= answer.0.size();
        Some(answer)
    }

    /// The answer of this peer did not link.
    ///
    /// It may be asked again: an honest server can have followed another branch until now.
    pub(super) fn conflict(&mut self, now: Instant, number: u64, peer: &PeerId, is_innocent: bool) {
        let Some(slot) = self.slots.get_mut(&number) else { return };
        slot.retry_later(now, peer, false);
        if !is_innocent && !slot.suspects.contains(peer) {
            slot.suspects.push(*peer);
        }
    }

    /// Whose block for this number did not link.
    pub(super) fn suspects(&mut self, number: u64) -> Vec<PeerId> {
        self.slots.get_mut(&number).map(|slot| std::mem::take(&mut slot.suspects)).unwrap_or_default()
    }

    /// Who sent more bytes than a block of this size can take.
    pub(super) fn padders(&mut self, number: u64, size: usize) -> Vec<PeerId> {
        let long = self.slots.get_mut(&number).map(|slot| std::mem::take(&mut slot.long)).unwrap_or_default();
        // Frames add a few bytes for each 64 KiB.
        let most = size.saturating_add(size / 64).saturating_add(1024);
        long.into_iter().filter(|(_, limit)| most <= *limit).map(|(peer, _)| peer).collect()
    }

    /// Lets those that failed or lacked a block be asked again at once.
    pub(super) fn hurry(&mut self, now: Instant) {
        for slot in self.slots.values_mut() {
            for (again, _) in slot.vain.values_mut() {
                *again = again.map(|at| at.min(now));
            }
        }
    }
}

fn size(slot: &Slot) -> usize {
    slot.answer.as_ref().map_or(0, |(block, _)| block.size())
}
