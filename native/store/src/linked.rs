//! The blocks that link: a stored block and those below it, canonical or not.

use alloy_primitives::B256;
use redb::{Database, ReadableDatabase};

use super::fault::Fault;
use super::record::{self, StoredBlock};
use super::schema::{BLOCKS, CANONICAL};
use super::{READING, Store, StoreError};

impl Store {
    /// Returns the block with this hash and those below it, highest first, as far as they are
    /// stored one after the other, and whether each is canonical. There are at most `max_blocks`,
    /// and messages of at most `max_bytes` unless the first is larger. A damaged block counts as
    /// missing.
    ///
    /// # Errors
    ///
    /// If the store can't be read.
    pub fn linked(
        &self,
        hash: B256,
        max_blocks: usize,
        max_bytes: usize,
    ) -> Result<Vec<(StoredBlock, bool)>, StoreError> {
        self.with(READING, |database| linked(database, hash, max_blocks, max_bytes))
    }
}

fn linked(
    database: &Database,
    hash: B256,
    max_blocks: usize,
    max_bytes: usize,
) -> Result<Vec<(StoredBlock, bool)>, Fault> {
    let transaction = database.begin_read()?;
    let canonical = transaction.open_table(CANONICAL)?;
    let blocks = transaction.open_table(BLOCKS)?;
    let (mut found, mut bytes, mut next) = (Vec::new(), 0usize, hash);
    while found.len() < max_blocks {
        let record = blocks.get(next.0)?;
        let block = record.and_then(|record| record::decode(&next, record.value()).ok());
        let Some(block) = block else { break };
        bytes = bytes.saturating_add(block.message.len());
        if bytes > max_bytes && !found.is_empty() {
            break;
        }
        let at = canonical.get(block.number)?.map(|entry| B256::new(entry.value()));
        let is_canonical = at == Some(next);
        next = block.parent_hash;
        found.push((block, is_canonical));
    }
    Ok(found)
}
