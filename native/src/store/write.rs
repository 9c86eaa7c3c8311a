//! Changing the database within one transaction: batches in, old blocks out.

use std::collections::BTreeMap;
use std::ops::Bound;

use redb::{ReadableTable, ReadableTableMetadata, Table, WriteTransaction};

use super::error::BatchError;
use super::fault::Fault;
use super::record::{self, MAX_MESSAGE_BYTES};
use super::schema::{BLOCKS, CANONICAL, HEIGHTS, MEMORY, PENDING};
use super::{Batch, MAX_MEMORY_KEY, MAX_MEMORY_VALUE, Pruned, Retention};

/// The tables of one write transaction.
pub(super) struct Tables<'txn> {
    blocks: Table<'txn, [u8; 32], &'static [u8]>,
    heights: Table<'txn, (u64, [u8; 32]), u64>,
    canonical: Table<'txn, u64, [u8; 32]>,
    pending: Table<'txn, (u64, [u8; 32]), ([u8; 32], u64)>,
    memory: Table<'txn, &'static [u8], &'static [u8]>,
}

impl<'txn> Tables<'txn> {
    pub(super) fn open(transaction: &'txn WriteTransaction) -> Result<Self, Fault> {
        Ok(Self {
            blocks: transaction.open_table(BLOCKS)?,
            heights: transaction.open_table(HEIGHTS)?,
            canonical: transaction.open_table(CANONICAL)?,
            pending: transaction.open_table(PENDING)?,
            memory: transaction.open_table(MEMORY)?,
        })
    }

    /// Puts a whole batch, or nothing of it if it is refused.
    pub(super) fn put(&mut self, batch: &Batch) -> Result<Result<(), BatchError>, Fault> {
        if let Err(refused) = self.check(batch)? {
            return Ok(Err(refused));
        }
        for block in batch.blocks.iter().chain(&batch.pending) {
            // A block that is there already is written anew: if its bytes were damaged, they are sound again.
            self.blocks.insert(block.hash.0, record::encode(block)?.as_slice())?;
            self.heights.insert((block.number, block.hash.0), block.timestamp)?;
        }
        for block in &batch.pending {
            if !self.is_canonical(block.number, &block.hash.0)? {
                let parent_and_size = (block.parent_hash.0, block.message.len() as u64);
                self.pending.insert((block.number, block.hash.0), parent_and_size)?;
            }
        }
        for (number, hash) in &batch.canonical {
            self.canonical.insert(*number, hash.0)?;
            self.pending.remove((*number, hash.0))?;
        }
        for (number, hash) in &batch.release {
            let key = (*number, hash.0);
            if self.pending.remove(key)?.is_some() && !self.is_canonical(*number, &hash.0)? {
                self.blocks.remove(hash.0)?;
                self.heights.remove(key)?;
            }
        }
        if let Some(head) = batch.head {
            self.canonical.retain_in((Bound::Excluded(head), Bound::Unbounded), |_, _| false)?;
        }
        for (key, value) in &batch.memory {
            match value {
                Some(value) => drop(self.memory.insert(key.as_slice(), value.as_slice())?),
                None => drop(self.memory.remove(key.as_slice())?),
            }
        }
        Ok(Ok(()))
    }

    fn is_canonical(&self, number: u64, hash: &[u8; 32]) -> Result<bool, Fault> {
        Ok(self.canonical.get(number)?.is_some_and(|entry| entry.value() == *hash))
    }

    /// Looks for contradictions before anything is changed.
    fn check(&self, batch: &Batch) -> Result<Result<(), BatchError>, Fault> {
        let mut numbers = BTreeMap::new();
        for block in batch.blocks.iter().chain(&batch.pending) {
            let (hash, given) = (block.hash, block.number);
            if block.message.len() > MAX_MESSAGE_BYTES {
                return Ok(Err(BatchError::TooLarge { hash, len: block.message.len() }));
            }
            let in_batch = numbers.insert(hash, given);
            // A damaged record is replaced, so what it says does not count.
            let in_store =
                self.blocks.get(hash.0)?.and_then(|old| record::decode_id(&hash, old.value()).ok());
            if let Some(known) = in_batch.or(in_store.map(|id| id.number)).filter(|known| *known != given) {
                return Ok(Err(BatchError::TwoNumbers { hash, given, known }));
            }
        }
        for (number, hash) in &batch.canonical {
            let known = match numbers.get(hash) {
                Some(in_batch) => in_batch == number,
                None => self.heights.get((*number, hash.0))?.is_some(),
            };
            if !known {
                return Ok(Err(BatchError::UnknownBlock { number: *number, hash: *hash }));
            }
            if let Some(head) = batch.head.filter(|head| number > head) {
                return Ok(Err(BatchError::AboveHead { number: *number, head }));
            }
        }
        if let Some(number) = batch.head {
            let in_batch = batch.canonical.iter().any(|(canonical, _)| *canonical == number);
            if !in_batch && self.canonical.get(number)?.is_none() {
                return Ok(Err(BatchError::HeadNotCanonical { number }));
            }
        }
        for (key, value) in &batch.memory {
            let value = value.as_ref().map_or(0, Vec::len);
            if key.len() > MAX_MEMORY_KEY {
                return Ok(Err(BatchError::KeyTooLong { len: key.len() }));
            }
            if value > MAX_MEMORY_VALUE {
                return Ok(Err(BatchError::ValueTooLong { len: value }));
            }
        }
        Ok(Ok(()))
    }

    /// Removes at most `limit` of the blocks that retention no longer wants, lowest numbers first.
    ///
    /// Pending blocks do not count and stay: whoever put them there takes them out. They are newer than the chain
    /// that they are to extend, and to remove the lowest of them would undo a sync as fast as it goes.
    pub(super) fn prune(&mut self, retention: &Retention, limit: u64) -> Result<Pruned, Fault> {
        let kept = self.heights.len()?.saturating_sub(self.pending.len()?);
        let mut excess = kept.saturating_sub(retention.max_blocks);
        let head = self.canonical.last()?.map(|(number, hash)| (number.value(), hash.value()));
        let mut unwanted = Vec::new();
        let mut more = false;
        for entry in self.heights.iter()? {
            let (key, timestamp) = entry?;
            let key = key.value();
            // The head outlives every limit: it is where a restart resumes.
            if Some(key) == head || self.pending.get(key)?.is_some() {
                continue;
            }
            if excess == 0 && timestamp.value() >= retention.oldest {
                // Time rises with the number on any one chain, so nothing above is older.
                break;
            }
            if unwanted.len() as u64 >= limit {
                more = true;
                break;
            }
            excess = excess.saturating_sub(1);
            unwanted.push(key);
        }
        for (number, hash) in &unwanted {
            self.blocks.remove(*hash)?;
            self.heights.remove((*number, *hash))?;
            if self.is_canonical(*number, hash)? {
                self.canonical.remove(*number)?;
            }
        }
        Ok(Pruned { removed: unwanted.len() as u64, more })
    }
}
