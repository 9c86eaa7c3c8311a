//! The core's memory of its peers on its way to the disk. The core says each change once, and some
//! are the operator's commands, so none is lost while the disk or the queue takes nothing.
//!
//! Changes are collected by key, and one batch is written at a time. A batch that was not written
//! comes back, and newer values replace its own.
//!
//! # Bounds
//! One change for each key of the core's memory. The core bounds the keys, which strangers cause.

use super::ends::OffRuntime;
use opp2p_core::peers::MemoryChange;
use opp2p_store::{Batch, Writer};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Size of a batch in bytes from which on further changes wait for the next one.
const BATCH_BYTES: usize = 1 << 20;

/// The two files that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disk {
    /// The block store.
    Blocks,
    /// The file or the part of it that holds the memory of peers.
    Peers,
}

/// Latest error of each [`Disk`] that fails at present.
#[derive(Debug, Default)]
pub(super) struct DiskErrors([Option<String>; 2]);

impl DiskErrors {
    /// Sets or clears the error of one disk. Returns the previous one.
    pub(super) const fn set(&mut self, disk: Disk, error: Option<String>) -> Option<String> {
        std::mem::replace(&mut self.0[disk as usize], error)
    }

    pub(super) const fn of(&self, disk: Disk) -> Option<&String> {
        self.0[disk as usize].as_ref()
    }

    /// Returns the error to show, if any disk fails.
    pub(super) fn first(&self) -> Option<&String> {
        self.0.iter().flatten().next()
    }
}

/// Where the memory is written.
#[derive(Debug)]
pub(super) enum Place {
    /// Nowhere.
    Gone,
    /// In the block store, by its writer.
    WithBlocks,
    /// In a file of its own.
    Apart(OffRuntime<Writer>),
}

impl Place {
    /// Returns the writer of a file of its own.
    pub(super) fn into_writer(self) -> Option<OffRuntime<Writer>> {
        match self {
            Self::Apart(writer) => Some(writer),
            Self::Gone | Self::WithBlocks => None,
        }
    }
}

/// Changes of the memory that are not on the disk yet.
#[derive(Debug)]
pub(super) struct PeerMemory {
    pub(super) place: Place,
    /// Newest value of each changed key, `None` if it is removed.
    waiting: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    is_writing: bool,
    /// Whether the last attempt failed; the next one waits for [`Self::retry`].
    has_failed: bool,
}

impl PeerMemory {
    pub(super) const fn new(place: Place) -> Self {
        Self { place, waiting: BTreeMap::new(), is_writing: false, has_failed: false }
    }

    pub(super) fn take(&mut self, changes: Vec<MemoryChange>) {
        if !matches!(self.place, Place::Gone) {
            self.waiting.extend(changes.into_iter().map(|change| (change.key, change.value)));
        }
    }

    /// Returns the next batch, unless one is being written or the last attempt has just failed.
    pub(super) fn next(&mut self) -> Option<Batch> {
        if self.is_writing || self.has_failed {
            return None;
        }
        self.next_unconditionally().inspect(|_| self.is_writing = true)
    }

    pub(super) fn next_unconditionally(&mut self) -> Option<Batch> {
        let (mut memory, mut bytes) = (Vec::new(), 0);
        while bytes < BATCH_BYTES
            && let Some((key, value)) = self.waiting.pop_first()
        {
            bytes += key.len() + value.as_ref().map_or(0, Vec::len);
            memory.push((key, value));
        }
        (!memory.is_empty()).then(|| Batch { memory, ..Batch::default() })
    }

    /// Handles the end of an attempt. A batch that is given was not written and waits again.
    pub(super) fn ended(&mut self, unwritten: Option<Batch>, is_written: bool) {
        (self.is_writing, self.has_failed) = (false, !is_written);
        for (key, value) in unwritten.into_iter().flat_map(|batch| batch.memory) {
            if let Entry::Vacant(entry) = self.waiting.entry(key) {
                entry.insert(value);
            }
        }
    }

    /// Allows another attempt after one that failed.
    pub(super) const fn retry(&mut self) {
        self.has_failed = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(key: u8, value: Option<u8>) -> MemoryChange {
        MemoryChange { key: vec![key], value: value.map(|value| vec![value]) }
    }

    fn entry(key: u8, value: Option<u8>) -> (Vec<u8>, Option<Vec<u8>>) {
        (vec![key], value.map(|value| vec![value]))
    }

    #[test]
    fn unwritten_entries_are_written_later_with_their_newest_values() {
        let mut memory = PeerMemory::new(Place::WithBlocks);
        memory.take(vec![change(1, Some(1)), change(2, Some(1)), change(3, Some(1))]);
        let batch = memory.next().expect("changes wait");
        memory.take(vec![change(2, Some(2)), change(3, None), change(4, Some(2))]);
        assert_eq!(memory.next(), None, "one batch is written at a time");
        memory.ended(Some(batch), false);
        assert_eq!(memory.next(), None, "a failure is not followed by an attempt at once");
        memory.retry();
        let batch = memory.next().expect("nothing is lost");
        let expected = [entry(1, Some(1)), entry(2, Some(2)), entry(3, None), entry(4, Some(2))];
        assert_eq!(batch.memory, expected);
        memory.ended(None, true);
        assert_eq!(memory.next(), None);
    }

    #[test]
    fn a_batch_is_bounded_and_the_rest_follows() {
        let mut memory = PeerMemory::new(Place::WithBlocks);
        let large = |key| MemoryChange { key: vec![key], value: Some(vec![0; BATCH_BYTES / 2]) };
        memory.take((0..5).map(large).collect());
        let mut sizes = Vec::new();
        while let Some(batch) = memory.next() {
            sizes.push(batch.memory.len());
            memory.ended(None, true);
        }
        assert_eq!(sizes, [2, 2, 1]);
    }

    #[test]
    fn without_storage_changes_are_discarded() {
        let mut memory = PeerMemory::new(Place::Gone);
        memory.take(vec![change(1, Some(1))]);
        assert_eq!(memory.next(), None);
    }

    #[test]
    fn a_disk_error_is_shown_until_both_disks_work() {
        let mut errors = DiskErrors::default();
        assert_eq!(errors.set(Disk::Peers, Some("peers".into())), None);
        errors.set(Disk::Blocks, Some("blocks".into()));
        assert_eq!(errors.first().map(String::as_str), Some("blocks"));
        errors.set(Disk::Blocks, None);
        assert_eq!(errors.first().map(String::as_str), Some("peers"));
        errors.set(Disk::Peers, None);
        assert_eq!(errors.first(), None);
    }
}
