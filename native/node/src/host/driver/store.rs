//! The core's changes of the store on their way to the disk.
//!
//! The core keeps what the disk did not take, and issues it again. This side holds nothing.

use super::super::event::HostEventKind;
use super::super::memory::Disk;
use super::super::persist;
use super::super::storing::{StoreResult, Stored};
use super::Driver;
use opp2p_core::chain::BlockId;
use opp2p_core::node::{Input, StoreChange, StoreId};
use opp2p_store::{BatchError, StoreError};
use tokio::sync::mpsc;

/// Returns `true` if the store refuses a block because it would have to remove it at once.
const fn is_beyond_limits(error: &StoreError) -> bool {
    matches!(error, StoreError::Refused(BatchError::NotKept { .. }))
}

impl Driver {
    /// Queues a change of the store, which [`StoreResult::Written`] answers.
    pub(super) fn store(
        &self,
        id: StoreId,
        change: &StoreChange,
        stored: &mpsc::UnboundedSender<StoreResult>,
    ) {
        let received = self.core.clock.now().unix.as_millis();
        let received = u64::try_from(received).unwrap_or(u64::MAX);
        let kind = Stored::by(change);
        let answer = stored.clone();
        let queued = self.writer.submit(persist::batch(change, received), move |result| {
            let _ = answer.send(match result {
                Err(failed) if is_beyond_limits(&failed.error) => StoreResult::NotKept(id),
                result => {
                    let result = result.map_err(|failed| failed.to_string());
                    StoreResult::Written { id, kind, result }
                }
            });
        });
        if let Err(full) = queued {
            let result = Err(full.to_string());
            let _ = stored.send(StoreResult::Written { id, kind, result });
        }
    }

    /// Handles a disk that began to fail, still fails, or takes data again.
    pub(super) fn on_disk(&mut self, disk: Disk, error: Option<String>) {
        self.set_disk_error(disk, error.clone());
        match error {
            Some(error) => self.tell(HostEventKind::StoreFailed(error)),
            None if self.disk_errors.first().is_none() => self.tell(HostEventKind::StoreRecovered),
            None => {}
        }
    }

    fn set_disk_error(&mut self, disk: Disk, error: Option<String>) {
        self.disk_errors.set(disk, error);
        self.report_disks();
        let shown = self.disk_errors.first();
        self.status.send_if_modified(|status| {
            let changed = status.store_error.as_ref() != shown;
            if changed {
                status.store_error = shown.cloned();
            }
            changed
        });
    }

    /// Reads blocks from the pending area, which [`StoreResult::Loaded`] returns.
    pub(super) fn load(&self, ids: &[BlockId], stored: &mpsc::UnboundedSender<StoreResult>) {
        let (answer, count) = (stored.clone(), ids.len());
        let hashes = ids.iter().map(|id| id.hash).collect();
        let queued = self.writer.load(hashes, move |found| {
            // Blocks that can't be read are fetched again.
            let blocks = found.map_or_else(
                |_| vec![None; count],
                |found| found.into_iter().map(|record| record.and_then(persist::loaded)).collect(),
            );
            let _ = answer.send(StoreResult::Loaded(blocks));
        });
        if queued.is_err() {
            let _ = stored.send(StoreResult::Loaded(vec![None; count]));
        }
    }

    /// Looks for a block and those below it, which [`StoreResult::Recalled`] returns.
    pub(super) fn recall(&self, from: BlockId, stored: &mpsc::UnboundedSender<StoreResult>) {
        let answer = stored.clone();
        let queued = self.writer.read_in_order(move |store| {
            // What can't be read is fetched.
            let found = store.and_then(|store| persist::recall(store, from)).unwrap_or_default();
            let _ = answer.send(StoreResult::Recalled(from, found));
        });
        if queued.is_err() {
            let _ = stored.send(StoreResult::Recalled(from, Vec::new()));
        }
    }

    /// Handles a message from the store's thread.
    pub(super) fn on_stored(&mut self, result: StoreResult) {
        match result {
            StoreResult::Written { id, kind, result } => self.on_written(id, kind, result),
            StoreResult::NotKept(id) => self.feed(Input::NotKept(id)),
            StoreResult::Loaded(blocks) => self.feed(Input::Loaded(blocks)),
            StoreResult::Recalled(from, blocks) => self.feed(Input::Recalled { from, blocks }),
            StoreResult::Remembered(result) => self.on_remembered(result),
        }
    }

    fn on_written(&mut self, id: StoreId, kind: Stored, result: Result<(), String>) {
        let is_stored = result.is_ok();
        match (kind, result) {
            (Stored::Block(block), Ok(())) => {
                self.stored_up_to(Some(block));
                self.tell(HostEventKind::Stored(block));
            }
            (Stored::Rewound(to), Ok(())) => self.stored_up_to(to),
            (Stored::Block(_) | Stored::Rewound(_), Err(error)) => {
                self.on_disk(Disk::Blocks, Some(error));
            }
            // The core stores such a block again, or fetches it again.
            (Stored::Elsewhere, _) => {}
        }
        self.feed(Input::Stored { id, is_stored });
    }

    fn stored_up_to(&mut self, head: Option<BlockId>) {
        self.set_disk_error(Disk::Blocks, None);
        self.status.send_modify(|status| status.stored = head);
    }
}
