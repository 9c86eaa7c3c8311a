//! Messages between their arrival in a frame and their verdict.
//!
//! A message is first identified by its raw bytes. Peers relay the bytes that they received, so the
//! copies of a message are equal, and a comparison costs a hundredth of decompressing and hashing.
//! A keyed sample of the bytes finds the candidate, and a comparison of all bytes confirms it, so
//! two messages are never confused. Only new bytes get a job, which decompresses the message and
//! computes its name. Copies that arrive meanwhile only add a source. The same block compressed in
//! another way has other bytes; it is recognised by its name.
//!
//! Jobs are started in an order that is fair to senders, by the bytes that each job reads or
//! produces: a peer that sends decompression bombs delays only its own messages.
//!
//! # Bounds
//!
//! * Messages without a verdict: [`MAX_ENTRIES`] and [`MAX_BYTES`]; one peer has at most
//!   [`ENTRIES_PER_PEER`] and [`BYTES_PER_PEER`]. If there are more, the newest waiting message of
//!   the peer with the most messages, or the most bytes, is dropped. It does not count as seen:
//!   another copy, or an IHAVE, brings it back.
//! * Each has at most [`MAX_SOURCES`] known senders. Further ones are neither rewarded nor blamed.
//! * Messages with a verdict: those of [`gossip::Copies`](crate::gossip::Copies).

use super::random::keyed_hash;
use super::{Id, Topic};
use crate::gossip::{COPIES, COPIES_AGE, COPIES_BYTES};
use crate::peers::PeerId;
use crate::sorted::SortedMap;
use crate::time::Instant;
use alloy_primitives::Bytes;
use std::collections::VecDeque;
use std::time::Duration;

/// Maximum number of messages without a verdict.
pub const MAX_ENTRIES: usize = 512;
/// Maximum size of these messages in bytes, each counted as received or as announced, whichever is
/// larger.
pub const MAX_BYTES: usize = 64 << 20;
/// Maximum number of messages of one peer without a verdict.
pub const ENTRIES_PER_PEER: usize = 256;
/// Maximum number of bytes of one peer's messages without a verdict.
pub const BYTES_PER_PEER: usize = 24 << 20;
/// Maximum number of senders recorded for a message.
pub const MAX_SOURCES: usize = 32;
/// Maximum number of messages that the caller judges at the same time. The others wait here, in the
/// fair order.
pub const JUDGING_AT_ONCE: usize = 64;
/// Maximum number of naming jobs that run for one peer at the same time.
pub const NAMING_PER_PEER: usize = 2;

/// Id that the router assigns to a message without a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(pub(super) u64);

/// A sender of a copy, and when it came among all copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) peer: PeerId,
    order: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Waiting,
    Naming,
    Judging(Id),
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) topic: Topic,
    pub(super) data: Bytes,
    pub(super) stage: Stage,
    /// In order of arrival.
    pub(super) sources: Vec<Source>,
    pub(super) arrived: Instant,
    payer: PeerId,
    sample: u64,
    cost: usize,
}

impl Entry {
    pub(super) fn is_from(&self, peer: &PeerId) -> bool {
        self.sources.iter().any(|source| source.peer == *peer)
    }

    pub(super) fn merge(&mut self, others: &[Source]) {
        self.sources.extend_from_slice(others);
        self.sources.sort_by_key(|source| source.order);
        let mut known: Vec<PeerId> = Vec::new();
        self.sources.retain(|source| {
            let is_new = !known.contains(&source.peer);
            known.push(source.peer);
            is_new
        });
        self.sources.truncate(MAX_SOURCES);
    }
}

/// A message whose verdict is known.
#[derive(Clone, Debug)]
struct Done {
    topic: Topic,
    data: Bytes,
    sample: u64,
    id: Id,
    sources: Vec<PeerId>,
    at: Instant,
}

#[derive(Clone, Copy, Debug, Default)]
struct Share {
    entries: usize,
    bytes: usize,
    naming: usize,
    /// Virtual time: bytes served so far.
    served: u64,
}

/// Result of a look-up by raw bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Entry(EntryId),
    Done(Id),
    New { sample: u64 },
}

#[derive(Clone, Debug, Default)]
pub(super) struct Intake {
    entries: SortedMap<EntryId, Entry>,
    shares: SortedMap<PeerId, Share>,
    /// Oldest first.
    done: VecDeque<Done>,
    done_bytes: usize,
    bytes: usize,
    naming: usize,
    judging: usize,
    virtual_time: u64,
    next: u64,
    arrivals: u64,
}

/// Hashes the length of `data` and eight pieces of it, at positions that depend on the secret key.
fn sample(key: u64, topic: Topic, data: &[u8]) -> u64 {
    const PIECE: usize = 16;
    let mut hash = keyed_hash(key, &(data.len() as u64).to_le_bytes()) ^ topic.index() as u64;
    if data.len() <= 8 * PIECE {
        return keyed_hash(hash, data);
    }
    for _ in 0..8 {
        let at = (hash % (data.len() - PIECE) as u64) as usize;
        hash = keyed_hash(hash ^ key, &data[at..at + PIECE]);
    }
    hash
}

impl Intake {
    /// Looks for a message by its bytes.
    pub(super) fn find(&mut self, now: Instant, key: u64, topic: Topic, data: &[u8]) -> Found {
        self.expire(now);
        let sample = sample(key, topic, data);
        let is_it = |known: u64, of: Topic, bytes: &Bytes| {
            known == sample && of == topic && bytes[..] == *data
        };
        let mut entries = self.entries.iter().rev();
        if let Some((id, _)) = entries.find(|(_, e)| is_it(e.sample, e.topic, &e.data)) {
            return Found::Entry(*id);
        }
        let mut done = self.done.iter().rev();
        match done.find(|done| is_it(done.sample, done.topic, &done.data)) {
            Some(done) => Found::Done(done.id),
            None => Found::New { sample },
        }
    }

    /// Admits a new message of `peer`, which costs `cost` bytes. Returns the senders of the
    /// messages that were dropped to make room, or `Err` if the new message itself is dropped.
    pub(super) fn admit(
        &mut self,
        now: Instant,
        peer: PeerId,
        (topic, data, sample): (Topic, Bytes, u64),
        cost: usize,
    ) -> Result<Vec<PeerId>, ()> {
        let share = self.shares.get(&peer).copied().unwrap_or_default();
        if share.entries >= ENTRIES_PER_PEER || share.bytes + cost > BYTES_PER_PEER {
            return Err(());
        }
        let mut displaced = Vec::new();
        while self.entries.len() >= MAX_ENTRIES || self.bytes + cost > MAX_BYTES {
            // The newest message of the peer with the most messages, or the most bytes, this
            // message included.
            let by_number = self.entries.len() >= MAX_ENTRIES;
            let size = |share: &Share| if by_number { share.entries } else { share.bytes };
            let own = if by_number { 1 } else { cost };
            let mine = self.shares.get(&peer).map_or(0, size) + own;
            let most = self.shares.iter().map(|(peer, share)| (size(share), *peer)).max();
            let Some((_, greedy)) = most.filter(|(size, _)| *size > mine) else {
                return Err(());
            };
            let Some(id) = self.newest_waiting(&greedy) else { return Err(()) };
            self.remove(id);
            displaced.push(greedy);
        }
        let id = EntryId(self.next);
        self.next += 1;
        let source = self.source(peer);
        let entry = Entry {
            topic,
            data,
            stage: Stage::Waiting,
            sources: vec![source],
            arrived: now,
            payer: peer,
            sample,
            cost,
        };
        self.entries.insert(id, entry);
        self.bytes += cost;
        let virtual_time = self.virtual_time;
        let share = self.shares.get_or_insert_with(peer, Share::default);
        if share.entries == 0 {
            share.served = share.served.max(virtual_time);
        }
        share.entries += 1;
        share.bytes += cost;
        Ok(displaced)
    }

    fn newest_waiting(&self, payer: &PeerId) -> Option<EntryId> {
        let mut theirs = self.entries.iter().rev().filter(|(_, entry)| entry.payer == *payer);
        theirs.find(|(_, entry)| entry.stage == Stage::Waiting).map(|(id, _)| *id)
    }

    fn source(&mut self, peer: PeerId) -> Source {
        self.arrivals += 1;
        Source { peer, order: self.arrivals }
    }

    /// Adds a sender to a message. Returns `false` if the sender was known, or if there are too
    /// many.
    pub(super) fn add_source(&mut self, id: EntryId, peer: PeerId) -> bool {
        let source = self.source(peer);
        let Some(entry) = self.entries.get_mut(&id) else { return false };
        if entry.sources.len() >= MAX_SOURCES || entry.is_from(&peer) {
            return false;
        }
        entry.sources.push(source);
        true
    }

    /// Adds a sender to a message with a verdict. Returns `false` as [`Self::add_source`] does, and
    /// if the message is not kept.
    pub(super) fn add_late_source(&mut self, id: &Id, peer: PeerId) -> bool {
        let Some(done) = self.done.iter_mut().rev().find(|done| done.id == *id) else {
            return false;
        };
        if done.sources.len() >= MAX_SOURCES || done.sources.contains(&peer) {
            return false;
        }
        done.sources.push(peer);
        true
    }

    /// Returns whether `peer` is known to have a message.
    pub(super) fn has(&self, id: &Id, peer: &PeerId) -> bool {
        self.done.iter().any(|done| done.id == *id && done.sources.contains(peer))
    }

    /// Picks the message to be named next, if fewer than `at_once` are being named, and fewer than
    /// [`JUDGING_AT_ONCE`] are being judged.
    pub(super) fn next_to_name(&mut self, at_once: usize) -> Option<(EntryId, Topic, Bytes)> {
        if self.naming >= at_once || self.judging >= JUDGING_AT_ONCE {
            return None;
        }
        let waiting = self.entries.iter().filter(|(_, entry)| entry.stage == Stage::Waiting);
        let served = waiting.filter_map(|(id, entry)| {
            let share = self.shares.get(&entry.payer)?;
            (share.naming < NAMING_PER_PEER).then_some((share.served, *id))
        });
        let (served, id) = served.min()?;
        self.virtual_time = self.virtual_time.max(served);
        let entry = self.entries.get_mut(&id)?;
        entry.stage = Stage::Naming;
        self.naming += 1;
        if let Some(share) = self.shares.get_mut(&entry.payer) {
            share.naming += 1;
            share.served += entry.cost as u64;
        }
        Some((id, entry.topic, entry.data.clone()))
    }

    /// Records that a message was named. Returns `false` if it is not being named.
    pub(super) fn named(&mut self, id: EntryId, name: Id) -> bool {
        let Some(entry) = self.entries.get_mut(&id) else { return false };
        if entry.stage != Stage::Naming {
            return false;
        }
        entry.stage = Stage::Judging(name);
        self.naming -= 1;
        self.judging += 1;
        if let Some(share) = self.shares.get_mut(&entry.payer) {
            share.naming -= 1;
        }
        true
    }

    pub(super) fn get(&self, id: EntryId) -> Option<&Entry> {
        self.entries.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: EntryId) -> Option<&mut Entry> {
        self.entries.get_mut(&id)
    }

    /// Removes a message. Later results of its jobs are ignored.
    pub(super) fn remove(&mut self, id: EntryId) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        let is_naming = usize::from(entry.stage == Stage::Naming);
        self.bytes -= entry.cost;
        self.naming -= is_naming;
        self.judging -= usize::from(matches!(entry.stage, Stage::Judging(_)));
        if let Some(share) = self.shares.get_mut(&entry.payer) {
            share.entries -= 1;
            share.bytes -= entry.cost;
            share.naming -= is_naming;
            if share.entries == 0 && share.served <= self.virtual_time {
                self.shares.remove(&entry.payer);
            }
        }
        // When nothing waits, all peers start equal again.
        if self.entries.is_empty() {
            self.shares.clear();
        } else if self.shares.len() > 2 * MAX_ENTRIES {
            self.shares.retain(|_, share| share.entries > 0);
        }
        Some(entry)
    }

    /// Keeps a message whose verdict is known, to recognise further copies.
    pub(super) fn finish(&mut self, now: Instant, entry: Entry, id: Id) {
        let sources = entry.sources.iter().map(|source| source.peer).collect();
        self.keep(Done {
            topic: entry.topic,
            data: entry.data,
            sample: entry.sample,
            id,
            sources,
            at: now,
        });
    }

    /// Keeps a message of our own.
    pub(super) fn keep_own(&mut self, now: Instant, key: u64, topic: Topic, data: Bytes, id: Id) {
        let sample = sample(key, topic, &data);
        self.keep(Done { topic, data, sample, id, sources: Vec::new(), at: now });
    }

    fn keep(&mut self, done: Done) {
        self.done_bytes += done.data.len();
        self.done.push_back(done);
        while self.done.len() > COPIES || self.done_bytes > COPIES_BYTES {
            self.forget_oldest();
        }
    }

    /// Returns messages that have waited for a verdict for longer than `limit`.
    pub(super) fn stuck(&self, now: Instant, limit: Duration) -> Vec<EntryId> {
        let old = self.entries.iter().take_while(|(_, entry)| now.since(entry.arrived) > limit);
        old.map(|(id, _)| *id).collect()
    }

    /// Returns `true` if a message without a name on `topic` arrived before `by`.
    pub(super) fn is_unnamed_before(&self, topic: Topic, by: Instant) -> bool {
        self.entries.values().any(|entry| {
            entry.topic == topic && entry.arrived <= by && !matches!(entry.stage, Stage::Judging(_))
        })
    }

    /// Returns `true` if `peer` sent a message before `by` that has no name yet.
    pub(super) fn owes_name(&self, peer: &PeerId, by: Instant) -> bool {
        self.entries.values().any(|entry| {
            entry.arrived <= by && !matches!(entry.stage, Stage::Judging(_)) && entry.is_from(peer)
        })
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) const fn done_bytes(&self) -> usize {
        self.done_bytes
    }

    fn expire(&mut self, now: Instant) {
        while self.done.front().is_some_and(|oldest| now.since(oldest.at) >= COPIES_AGE) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some(oldest) = self.done.pop_front() {
            self.done_bytes -= oldest.data.len();
        }
    }
}
