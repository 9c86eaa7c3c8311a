//! Changes to the database within one transaction: adding batches, removing old blocks.

use std::collections::BTreeMap;

use redb::{ReadableTable, ReadableTableMetadata, Table, WriteTransaction};

use super::chain::Chain;
use super::error::BatchError;
use super::fault::Fault;
use super::record::{self, MAX_MESSAGE_BYTES};
use super::schema::{BLOCKS, HEIGHTS, MEMORY, META, PENDING};
use super::weight::{Weight, of_record};
use super::{Batch, MAX_MEMORY_KEY, MAX_MEMORY_VALUE, Pruned, StoreConfig, StoredBlock};

/// The tables of one write transaction.
pub(super) struct Tables<'txn> {
    blocks: Table<'txn, [u8; 32], &'static [u8]>,
    heights: Table<'txn, (u64, [u8; 32]), u64>,
    chain: Chain<'txn>,
    pending: Table<'txn, (u64, [u8; 32]), ([u8; 32], u64)>,
    memory: Table<'txn, &'static [u8], &'static [u8]>,
    meta: Table<'txn, &'static str, &'static [u8]>,
    weight: Weight,
}

/// Amount by which the kept blocks exceed the retention limits.
struct Excess {
    blocks: u64,
    bytes: u64,
}

impl Excess {
    fn is_none(&self) -> bool {
        self.blocks == 0 && self.bytes == 0
    }
}

impl<'txn> Tables<'txn> {
    pub(super) fn open(transaction: &'txn WriteTransaction) -> Result<Self, Fault> {
        let mut tables = Self {
            blocks: transaction.open_table(BLOCKS)?,
            heights: transaction.open_table(HEIGHTS)?,
            chain: Chain::open(transaction)?,
            pending: transaction.open_table(PENDING)?,
            memory: transaction.open_table(MEMORY)?,
            meta: transaction.open_table(META)?,
            weight: Weight::default(),
        };
        let state = tables.state()?;
        let weight = Weight::read(&tables.meta, state, &tables.blocks)?;
        tables.weight = weight.with_pending(&tables.meta, state.0, &tables.pending)?;
        Ok(tables)
    }

    /// Returns the number of blocks and the head's number, which reveal whether another version of
    /// this program has changed the blocks.
    fn state(&self) -> Result<(u64, u64), Fault> {
        let head = self.chain.stored_head()?.map_or(0, |(number, _)| number);
        Ok((self.heights.len()?, head))
    }

    /// Writes the size of the blocks. Must be called before the transaction is committed.
    pub(super) fn finish(mut self) -> Result<(), Fault> {
        let state = self.state()?;
        let pending = self.pending.len()?;
        self.weight.write(&mut self.meta, state, pending)
    }

    /// Puts a whole batch, or nothing of it if it is refused. `limits` are those by which the store
    /// is pruned, if it is.
    pub(super) fn put(
        &mut self,
        batch: &Batch,
        limits: Option<&StoreConfig>,
    ) -> Result<Result<(), BatchError>, Fault> {
        if let Some(limits) = limits.filter(|_| batch.is_below) {
            for block in &batch.blocks {
                if self.is_beyond(block, limits)? {
                    return Ok(Err(BatchError::NotKept { number: block.number }));
                }
            }
        }
        if let Err(refused) = self.check(batch)? {
            return Ok(Err(refused));
        }
        for block in batch.blocks.iter().chain(&batch.pending) {
            // A block that is already stored is written again: if its bytes were damaged, this
            // repairs them.
            let record = record::encode(block)?;
            let old = self.blocks.insert(block.hash.0, record.as_slice())?;
            self.weight.replaced(old.map(|old| old.value().len()), Some(record.len()));
            self.heights.insert((block.number, block.hash.0), block.timestamp)?;
            self.chain.restore_block(block.number, block.hash.0)?;
        }
        for block in &batch.pending {
            if !self.chain.is_canonical(block.number, &block.hash.0)? {
                let parent_and_size = (block.parent_hash.0, block.message.len() as u64);
                let old = self.pending.insert((block.number, block.hash.0), parent_and_size)?;
                let old = old.map_or(0, |old| old.value().1);
                self.weight.pending_replaced(old, parent_and_size.1);
            }
        }
        if let Some(from) = batch.cut {
            self.chain.cut(from, &self.blocks)?;
        }
        self.make_canonical(batch)?;
        for (number, hash) in &batch.release {
            let key = (*number, hash.0);
            let is_wanted = self.chain.is_canonical(*number, &hash.0)?
                || self.chain.is_abandoned(*number, hash.0)?;
            if self.take_pending(key)?.is_some() && !is_wanted {
                self.remove(*number, hash.0)?;
            }
        }
        if let Some(above) = batch.head.and_then(|head| head.checked_add(1)) {
            self.chain.cut(above, &self.blocks)?;
        }
        for (key, value) in &batch.memory {
            match value {
                Some(value) => drop(self.memory.insert(key.as_slice(), value.as_slice())?),
                None => drop(self.memory.remove(key.as_slice())?),
            }
        }
        Ok(Ok(()))
    }

    /// Removes a block from the pending ones. Returns its parent's hash if it was one of them.
    fn take_pending(&mut self, key: (u64, [u8; 32])) -> Result<Option<[u8; 32]>, Fault> {
        let entry = self.pending.remove(key)?.map(|entry| entry.value());
        let Some((parent, size)) = entry else { return Ok(None) };
        self.weight.pending_replaced(size, 0);
        Ok(Some(parent))
    }

    /// Makes the batch's blocks canonical, lowest first. Each one removes the blocks that
    /// contradict it from the chain.
    fn make_canonical(&mut self, batch: &Batch) -> Result<(), Fault> {
        let parents: BTreeMap<_, _> =
            batch.blocks.iter().map(|block| (block.hash, block.parent_hash.0)).collect();
        let mut canonical = batch.canonical.clone();
        canonical.sort_unstable();
        for (number, hash) in canonical {
            let pending = self.take_pending((number, hash.0))?;
            let parent = parents.get(&hash).copied().or(pending);
            self.chain.put(number, hash.0, parent, &self.blocks)?;
        }
        Ok(())
    }

    /// Checks a batch for contradictions before anything is changed.
    fn check(&self, batch: &Batch) -> Result<Result<(), BatchError>, Fault> {
        let mut numbers = BTreeMap::new();
        for block in batch.blocks.iter().chain(&batch.pending) {
            let (hash, given) = (block.hash, block.number);
            if block.message.len() > MAX_MESSAGE_BYTES {
                return Ok(Err(BatchError::TooLarge { hash, len: block.message.len() }));
            }
            let in_batch = numbers.insert(hash, given);
            // A damaged record is replaced, so its number does not count.
            let in_store =
                self.blocks.get(hash.0)?.and_then(|old| record::decode_id(&hash, old.value()).ok());
            if let Some(known) =
                in_batch.or(in_store.map(|id| id.number)).filter(|known| *known != given)
            {
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
            if batch.is_below && !self.chain.is_parent(*number, &hash.0, &self.blocks)? {
                return Ok(Err(BatchError::NotBelow { number: *number, hash: *hash }));
            }
            if let Some(head) = batch.head.filter(|head| number > head) {
                return Ok(Err(BatchError::AboveHead { number: *number, head }));
            }
        }
        if let Some(number) = batch.head {
            let in_batch = batch.canonical.iter().any(|(canonical, _)| *canonical == number);
            let is_kept = batch.cut.is_none_or(|from| number < from);
            let is_canonical = in_batch || (is_kept && self.chain.at(number)?.is_some());
            if !is_canonical {
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

    /// Returns `true` if pruning would remove this block at once, with which the chain grows
    /// downwards: the limits are reached, and nothing else would have to go first.
    fn is_beyond(&self, block: &StoredBlock, limits: &StoreConfig) -> Result<bool, Fault> {
        if block.timestamp < self.oldest(self.chain.stored_head()?, limits)? {
            return Ok(true);
        }
        let key = (block.number, block.hash.0);
        if self.heights.get(key)?.is_some() && self.pending.get(key)?.is_none() {
            // It counts already.
            return Ok(false);
        }
        let kept = self.heights.len()?.saturating_sub(self.pending.len()?);
        let size = of_record(record::encode(block)?.len());
        let has_room =
            kept < limits.max_blocks && self.weight.kept().saturating_add(size) <= limits.max_bytes;
        let abandoned = kept.saturating_sub(self.chain.len()?);
        if has_room || abandoned > kept / 4 {
            return Ok(false);
        }
        for entry in self.heights.iter()? {
            let lowest = entry?.0.value();
            if self.pending.get(lowest)?.is_none() {
                return Ok(block.number <= lowest.0);
            }
        }
        Ok(true)
    }

    /// Removes at most `limit` blocks beyond the retention limits: first abandoned ones that exceed
    /// a quarter of the kept blocks or are too old, then those with the lowest numbers.
    ///
    /// Pending blocks do not count and are not removed; the caller releases them. They are newer
    /// than the chain that they extend, and removing the lowest of them would undo a sync as fast
    /// as it proceeds.
    pub(super) fn prune(&mut self, limits: &StoreConfig, limit: u64) -> Result<Pruned, Fault> {
        let head = self.chain.stored_head()?;
        let oldest = self.oldest(head, limits)?;
        let kept = self.heights.len()?.saturating_sub(self.pending.len()?);
        let mut excess = Excess {
            blocks: kept.saturating_sub(limits.max_blocks),
            bytes: self.weight.kept().saturating_sub(limits.max_bytes),
        };
        let abandoned = kept.saturating_sub(self.chain.len()?);
        // A rewind must not cost the history of the new chain.
        let surplus = abandoned.saturating_sub(kept / 4);
        let mut unwanted =
            self.unwanted_abandoned(oldest, &mut excess, surplus.min(limit), limit)?;
        for (number, hash) in &unwanted {
            self.remove(*number, *hash)?;
        }
        let removed = unwanted.len() as u64;
        unwanted.clear();
        if excess.is_none() && self.is_young(oldest)? {
            self.chain.trim(limit)?;
            return Ok(Pruned { removed, more: false });
        }
        let mut more = false;
        for entry in self.heights.iter()? {
            let (key, timestamp) = entry?;
            let key = key.value();
            // The head is always kept: a restart resumes from it.
            if Some(key) == head || self.pending.get(key)?.is_some() {
                continue;
            }
            if excess.is_none() && timestamp.value() >= oldest {
                // Timestamps never fall with rising numbers on any one chain, so nothing above is
                // older.
                break;
            }
            if removed.saturating_add(unwanted.len() as u64) >= limit {
                more = true;
                break;
            }
            self.discount(&mut excess, &key.1)?;
            unwanted.push(key);
        }
        for (number, hash) in &unwanted {
            self.remove(*number, *hash)?;
        }
        self.chain.trim(limit)?;
        Ok(Pruned { removed: removed.saturating_add(unwanted.len() as u64), more })
    }

    /// Returns the timestamp before which blocks are too old; zero without a head.
    fn oldest(&self, head: Option<(u64, [u8; 32])>, limits: &StoreConfig) -> Result<u64, Fault> {
        let Some(head) = head else { return Ok(0) };
        let made = self.heights.get(head)?.map_or(0, |timestamp| timestamp.value());
        Ok(made.saturating_sub(limits.max_age.as_secs()))
    }

    /// Returns `true` if no block of the chain is older than `oldest`. Then nothing else has to be
    /// read: the pending blocks of a long gap may be the lowest ones.
    fn is_young(&self, oldest: u64) -> Result<bool, Fault> {
        let Some(lowest) = self.chain.stored_lowest()? else { return Ok(oldest == 0) };
        Ok(self.heights.get(lowest)?.is_some_and(|timestamp| timestamp.value() >= oldest))
    }

    /// Subtracts a block that will be removed from the excess.
    fn discount(&self, excess: &mut Excess, hash: &[u8; 32]) -> Result<(), Fault> {
        excess.blocks = excess.blocks.saturating_sub(1);
        if excess.bytes > 0 {
            let size = self.blocks.get(*hash)?.map_or(0, |record| of_record(record.value().len()));
            excess.bytes = excess.bytes.saturating_sub(size);
        }
        Ok(())
    }

    /// Returns the lowest abandoned blocks: up to `surplus` while there is an excess, and further
    /// ones that are too old.
    fn unwanted_abandoned(
        &self,
        oldest: u64,
        excess: &mut Excess,
        surplus: u64,
        limit: u64,
    ) -> Result<Vec<(u64, [u8; 32])>, Fault> {
        let mut unwanted = Vec::new();
        for key in self.chain.stored_abandoned()? {
            let key = key?;
            let timestamp = self.heights.get(key)?.map(|timestamp| timestamp.value());
            let is_old = timestamp.is_none_or(|timestamp| timestamp < oldest);
            let found = unwanted.len() as u64;
            if found >= limit || !(is_old || found < surplus && !excess.is_none()) {
                break;
            }
            if self.pending.get(key)?.is_none() {
                self.discount(excess, &key.1)?;
                unwanted.push(key);
            }
        }
        Ok(unwanted)
    }

    /// Removes a block and its entries.
    fn remove(&mut self, number: u64, hash: [u8; 32]) -> Result<(), Fault> {
        let old = self.blocks.remove(hash)?;
        self.weight.replaced(old.map(|old| old.value().len()), None);
        self.heights.remove((number, hash))?;
        self.chain.forget_block(number, hash)
    }
}
