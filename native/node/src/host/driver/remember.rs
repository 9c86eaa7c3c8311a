//! Writing of the memory of peers.

use super::super::memory::{Disk, Place};
use super::super::storing::StoreResult;
use super::Driver;
use opp2p_core::peers::MemoryChange;
use opp2p_store::{StoreError, WriteFailed, Writer};
use tokio::sync::mpsc;

impl Driver {
    /// Takes changes of the memory, which are written at the end of this turn.
    pub(super) fn remember(&mut self, changes: Vec<MemoryChange>) {
        self.memory.take(changes);
    }

    /// Queues a batch of the memory for the disk, if it is time for one.
    pub(super) fn write_memory(&mut self, stored: &mpsc::UnboundedSender<StoreResult>) {
        let Some(batch) = self.memory.next() else { return };
        let answer = stored.clone();
        let queued = self.memory_writer().submit(batch, move |result| {
            let _ = answer.send(StoreResult::Remembered(result));
        });
        if let Err(full) = queued {
            let error = full.to_string();
            self.memory.ended(Some(full.batch), false);
            self.on_disk(Disk::Peers, Some(error));
        }
    }

    /// Queues the whole memory for the disk, before the writers stop.
    pub(super) fn write_all_memory(&mut self) {
        while let Some(batch) = self.memory.next_unconditionally() {
            let queued = self.memory_writer().submit(batch, |result| {
                if let Err(error) = result {
                    tracing::error!(%error, "the last changes of the peers' data are not stored");
                }
            });
            if let Err(error) = queued {
                tracing::error!(%error, "the last changes of the peers' data are not stored");
                return;
            }
        }
    }

    fn memory_writer(&self) -> &Writer {
        match &self.memory.place {
            Place::Apart(writer) => writer,
            Place::Gone | Place::WithBlocks => &self.writer,
        }
    }

    /// Handles the result of a batch of the memory.
    pub(super) fn on_remembered(&mut self, result: Result<(), Box<WriteFailed>>) {
        match result {
            Ok(()) => {
                self.memory.ended(None, true);
                if self.disk_errors.of(Disk::Peers).is_some() {
                    self.on_disk(Disk::Peers, None);
                }
            }
            Err(failed) => {
                let WriteFailed { batch, error } = *failed;
                // A batch that contradicts the store would be refused again.
                let is_refused = matches!(error, StoreError::Refused(_));
                self.memory.ended((!is_refused).then_some(batch), false);
                self.on_disk(Disk::Peers, Some(error.to_string()));
            }
        }
    }
}
