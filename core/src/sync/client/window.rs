//! The window: the numbers at and below the frontier, and the state of each.
//!
//! # Bounds
//! One slot per number of the span that the client sets. Each slot has at most two requests, one
//! answer, and one entry for each server that was asked in vain.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::charges::Accused;
use super::{RequestId, Source};
use crate::chain::ChainBlock;
use crate::payload::Block;
use crate::sorted::SortedMap;
use crate::time::Instant;

/// Wait before a server is asked again for the same number after its first answer in vain; it
/// doubles with each further one.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// A valid block that waits to be proved.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) block: Block,
    pub(super) source: Source,
    /// Whether it was requested since the aim last moved to what may be another branch. An older
    /// request says nothing about its source: the sequencer may have changed its branch.
    pub(super) is_current: bool,
}

/// State of one number.
#[derive(Debug, Default)]
struct Slot {
    asked: Vec<RequestId>,
    answer: Option<Answer>,
    /// Sources that were asked: when each may be asked again (`None` while it is being asked), and
    /// the number of its answers in vain.
    vain: SortedMap<Source, (Option<Instant>, u32)>,
    /// Sources whose block did not link, which is a fault if the right one is proved.
    suspects: Vec<(Source, Accused)>,
    /// Whether an answer was larger than expected.
    is_large: bool,
    /// Sources of such answers, each with the limit, in bytes, that its answer exceeded.
    long: Vec<(Source, usize)>,
}

impl Slot {
    fn retry_later(&mut self, now: Instant, source: &Source, was_wrong: bool) {
        let (again, times) = self.vain.get_or_insert_with(*source, || (None, 0));
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
    /// Adapts the slots to `span`.
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
        // The remaining slots are consecutive, so only the ends can lack slots.
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

    /// Returns the total size of the answers, in bytes.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn numbers(&self) -> impl DoubleEndedIterator<Item = u64> + '_ {
        self.slots.keys().copied()
    }

    /// Returns the requests in flight for a number, or `None` if it is answered.
    pub(super) fn asked(&self, number: u64) -> Option<&[RequestId]> {
        self.slots
            .get(&number)
            .filter(|slot| slot.answer.is_none())
            .map(|slot| slot.asked.as_slice())
    }

    pub(super) fn is_large(&self, number: u64) -> bool {
        self.slots.get(&number).is_some_and(|slot| slot.is_large)
    }

    /// Returns when this server may be asked for this number, or `None` while it is being asked.
    pub(super) fn may_ask_at(&self, number: u64, source: &Source) -> Option<Instant> {
        match self.slots.get(&number)?.vain.get(source) {
            Some((again, _)) => *again,
            None => Some(Instant::default()),
        }
    }

    /// Records a request in flight for this number, which may be older than its slot.
    pub(super) fn adopt(&mut self, number: u64, id: RequestId, source: &Source) {
        let Some(slot) = self.slots.get_mut(&number) else { return };
        if !slot.asked.contains(&id) {
            slot.asked.push(id);
            slot.vain.get_or_insert_with(*source, || (None, 0)).0 = None;
        }
    }

    /// Records a request that was sent. Returns the requests that it replaces.
    pub(super) fn sent(&mut self, number: u64, id: RequestId, source: &Source) -> Vec<RequestId> {
        let Some(slot) = self.slots.get_mut(&number) else { return Vec::new() };
        let before = slot.asked.clone();
        slot.asked.push(id);
        // No server is asked twice at once.
        slot.vain.get_or_insert_with(*source, || (None, 0)).0 = None;
        before
    }

    /// Records a valid block. The first one for a number is kept.
    pub(super) fn answered(&mut self, id: RequestId, answer: Answer) {
        let Some(slot) = self.slots.get_mut(&answer.block.number()) else { return };
        slot.asked.retain(|asked| *asked != id);
        if slot.answer.is_none() {
            self.bytes += answer.block.size();
            slot.answer = Some(answer);
        }
    }

    /// Clears all suspicions, because the aim moved to what may be another branch: requests sent
    /// until now do not count against their sources.
    pub(super) fn pardon(&mut self) {
        for slot in self.slots.values_mut() {
            slot.suspects.clear();
            slot.long.clear();
            if let Some(answer) = &mut slot.answer {
                answer.is_current = false;
            }
        }
    }

    /// Voids a request: its source may be asked for the number again at once, by another method.
    pub(super) fn voided(&mut self, id: RequestId, number: u64, source: &Source) {
        if let Some(slot) = self.slots.get_mut(&number) {
            slot.asked.retain(|asked| *asked != id);
            slot.vain.remove(source);
        }
    }

    /// Records a failed request.
    pub(super) fn failed(
        &mut self,
        now: Instant,
        id: RequestId,
        number: u64,
        source: &Source,
        longer_than: Option<usize>,
        was_wrong: bool,
    ) {
        let Some(slot) = self.slots.get_mut(&number) else { return };
        slot.asked.retain(|asked| *asked != id);
        if let Some(limit) = longer_than {
            slot.is_large = true;
            // Other servers first: an answer that is too long proves nothing yet.
            slot.retry_later(now, source, false);
            if !slot.long.iter().any(|(who, _)| who == source) {
                slot.long.push((*source, limit));
            }
        } else {
            slot.retry_later(now, source, was_wrong);
        }
    }

    /// Takes the answer for a number out of its slot.
    pub(super) fn take_answer(&mut self, number: u64) -> Option<Answer> {
        let answer = self.slots.get_mut(&number)?.answer.take()?;
        self.bytes -= answer.block.size();
        Some(answer)
    }

    /// Records that the answer of this source did not link, and the block if that may be its fault.
    ///
    /// It may be asked again: an honest server may have followed another branch until now.
    pub(super) fn conflict(
        &mut self,
        now: Instant,
        number: u64,
        source: &Source,
        accused: Option<Accused>,
    ) {
        let Some(slot) = self.slots.get_mut(&number) else { return };
        slot.retry_later(now, source, false);
        if let Some(accused) = accused
            && !slot.suspects.iter().any(|(suspect, _)| suspect == source)
        {
            slot.suspects.push((*source, accused));
        }
    }

    /// Returns the sources whose block for this number did not link, and clears them.
    pub(super) fn suspects(&mut self, number: u64) -> Vec<(Source, Accused)> {
        self.slots
            .get_mut(&number)
            .map(|slot| std::mem::take(&mut slot.suspects))
            .unwrap_or_default()
    }

    /// Returns the sources that sent more bytes than a block of this size can take, and clears
    /// them.
    pub(super) fn padders(&mut self, number: u64, size: usize) -> Vec<Source> {
        let long = self
            .slots
            .get_mut(&number)
            .map(|slot| std::mem::take(&mut slot.long))
            .unwrap_or_default();
        // Frames add a few bytes for each 64 KiB.
        let most = size.saturating_add(size / 64).saturating_add(1024);
        long.into_iter().filter(|(_, limit)| most <= *limit).map(|(source, _)| source).collect()
    }

    /// Allows sources that failed or lacked a block to be asked again at once.
    pub(super) fn expedite(&mut self, now: Instant) {
        for slot in self.slots.values_mut() {
            for (again, _) in slot.vain.values_mut() {
                *again = again.map(|at| at.min(now));
            }
        }
    }
}

fn size(slot: &Slot) -> usize {
    slot.answer.as_ref().map_or(0, |answer| answer.block.size())
}
