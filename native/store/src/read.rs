//! Reads of the database, without file names or locks: shared by [`Store`](super::Store) and
//! opening.

use alloy_primitives::B256;
use opp2p_core::chain::BlockId as ChainId;
use opp2p_core::feed::{PAGE_BLOCKS, PAGE_BYTES, Page, Query, Way};
use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, TableError};

use super::fault::Fault;
use super::ids::Ids;
use super::record::{self, BlockId, StoredBlock};
use super::schema::{BLOCKS, CANONICAL, MEMORY, PENDING};
use super::{MemoryEntry, PendingBlock};

/// Returns the block with this hash.
pub(super) fn block(database: &Database, hash: &B256) -> Result<Option<StoredBlock>, Fault> {
    let blocks = database.begin_read()?.open_table(BLOCKS)?;
    let Some(record) = blocks.get(hash.0)? else { return Ok(None) };
    decoded(hash, record::decode(hash, record.value())).map(Some)
}

/// Returns the canonical block with this number.
pub(super) fn canonical(database: &Database, number: u64) -> Result<Option<StoredBlock>, Fault> {
    canonical_in(&database.begin_read()?, number)
}

fn canonical_in(transaction: &ReadTransaction, number: u64) -> Result<Option<StoredBlock>, Fault> {
    let Some(hash) =
        transaction.open_table(CANONICAL)?.get(number)?.map(|entry| B256::new(entry.value()))
    else {
        return Ok(None);
    };
    let blocks = transaction.open_table(BLOCKS)?;
    let record = blocks.get(hash.0)?.ok_or_else(|| missing(&hash))?;
    decoded(&hash, record::decode(&hash, record.value())).map(Some)
}

/// Returns the identity of the highest canonical block.
pub(super) fn head(database: &Database) -> Result<Option<BlockId>, Fault> {
    Ok(recent(database, 1, record::decode_id)?.pop())
}

/// Returns the number of the lowest canonical block that is stored.
pub(super) fn lowest_number(database: &Database) -> Result<Option<u64>, Fault> {
    let canonical = database.begin_read()?.open_table(CANONICAL)?;
    Ok(canonical.first()?.map(|(number, _)| number.value()))
}

/// Returns the lowest canonical block.
pub(super) fn lowest(database: &Database) -> Result<Option<StoredBlock>, Fault> {
    lowest_in(&database.begin_read()?)
}

/// Returns the highest canonical position and the lowest canonical block, from one snapshot.
pub(super) fn lowest_at(
    database: &Database,
) -> Result<(Option<ChainId>, Option<StoredBlock>), Fault> {
    let transaction = database.begin_read()?;
    Ok((Ids::open(&transaction)?.head()?, lowest_in(&transaction)?))
}

fn lowest_in(transaction: &ReadTransaction) -> Result<Option<StoredBlock>, Fault> {
    let canonical = transaction.open_table(CANONICAL)?;
    let Some(hash) = canonical.first()?.map(|(_, hash)| B256::new(hash.value())) else {
        return Ok(None);
    };
    let blocks = transaction.open_table(BLOCKS)?;
    let record = blocks.get(hash.0)?.ok_or_else(|| missing(&hash))?;
    decoded(&hash, record::decode(&hash, record.value())).map(Some)
}

/// Returns the lowest block of the run of canonical numbers that ends at the highest one.
pub(super) fn lowest_linked(database: &Database) -> Result<Option<StoredBlock>, Fault> {
    let transaction = database.begin_read()?;
    let canonical = transaction.open_table(CANONICAL)?;
    let mut lowest = None;
    for entry in canonical.iter()?.rev() {
        let number = entry?.0.value();
        if lowest.is_some_and(|above| number.checked_add(1) != Some(above)) {
            break;
        }
        lowest = Some(number);
    }
    lowest.map_or(Ok(None), |number| canonical_in(&transaction, number))
}

/// Returns the highest `count` canonical blocks, each read with `decode`, lowest first.
pub(super) fn recent<T>(
    database: &Database,
    count: usize,
    decode: impl Fn(&B256, &[u8]) -> Result<T, String>,
) -> Result<Vec<T>, Fault> {
    let transaction = database.begin_read()?;
    let canonical = transaction.open_table(CANONICAL)?;
    let blocks = transaction.open_table(BLOCKS)?;
    let mut found = Vec::new();
    for entry in canonical.iter()?.rev().take(count) {
        let hash = B256::new(entry?.1.value());
        let record = blocks.get(hash.0)?.ok_or_else(|| missing(&hash))?;
        found.push(decoded(&hash, decode(&hash, record.value()))?);
    }
    found.reverse();
    Ok(found)
}

/// Returns the highest canonical position, whether or not its block is stored.
pub(super) fn canonical_head(database: &Database) -> Result<Option<ChainId>, Fault> {
    Ids::open(&database.begin_read()?)?.head()
}

/// Returns up to `limit` canonical positions from `from` downwards, highest first.
pub(super) fn canonical_ids(
    database: &Database,
    from: u64,
    limit: usize,
) -> Result<Vec<ChainId>, Fault> {
    Ids::open(&database.begin_read()?)?.below(from, limit)
}

/// Returns the highest canonical position and the canonical block with this number, from one
/// snapshot.
pub(super) fn canonical_at(
    database: &Database,
    number: u64,
) -> Result<(Option<ChainId>, Option<StoredBlock>), Fault> {
    let transaction = database.begin_read()?;
    let head = Ids::open(&transaction)?.head()?;
    Ok((head, canonical_in(&transaction, number)?))
}

/// Returns the page that the feed requests: at most `PAGE_BLOCKS` blocks, and `PAGE_BYTES` of
/// messages unless the first is larger. Also returns the hashes of the records that can't be
/// decoded.
///
/// `make` gets each record, or `None` if it can't be decoded, and returns the page's item with its
/// size in bytes. The page ends before a record for which `make` returns `None`, so that the blocks
/// below are not held up. If that is the first one, the page begins above it.
pub(super) fn page<T>(
    database: &Database,
    query: Query,
    make: impl Fn(B256, Option<StoredBlock>) -> Option<(T, usize)>,
) -> Result<(Page<T>, Vec<B256>), Fault> {
    let transaction = database.begin_read()?;
    let canonical = transaction.open_table(CANONICAL)?;
    let records = transaction.open_table(BLOCKS)?;
    let ids = Ids::open(&transaction)?;
    let (way, from) = match query {
        Query::From(number) => (Way::NotAsked, number),
        Query::After(tip) => match ids.way(tip)? {
            Way::To { ancestor, abandoned } => {
                (Way::To { ancestor, abandoned }, ancestor.number.saturating_add(1))
            }
            way => (way, 0),
        },
    };
    let mut page = Page { head: ids.head()?, way, blocks: Vec::new() };
    let (mut bytes, mut unread) = (0usize, Vec::new());
    for entry in canonical.range(from..)? {
        if page.blocks.len() >= PAGE_BLOCKS {
            break;
        }
        let hash = B256::new(entry?.1.value());
        let record = records.get(hash.0)?;
        let found = record.and_then(|record| record::decode(&hash, record.value()).ok());
        let Some((block, size)) = make(hash, found) else {
            unread.push(hash);
            if page.blocks.is_empty() {
                continue;
            }
            break;
        };
        bytes = bytes.saturating_add(size);
        if bytes > PAGE_BYTES && !page.blocks.is_empty() {
            break;
        }
        page.blocks.push(block);
    }
    Ok((page, unread))
}

/// Returns those of these blocks that are stored, whether or not their records can be decoded.
pub(super) fn present(database: &Database, hashes: &[B256]) -> Result<Vec<B256>, Fault> {
    let blocks = database.begin_read()?.open_table(BLOCKS)?;
    let mut found = Vec::new();
    for hash in hashes {
        if blocks.get(hash.0)?.is_some() {
            found.push(*hash);
        }
    }
    Ok(found)
}

/// Returns the blocks of the pending area, lowest number first. Entries without a record are left
/// out.
pub(super) fn pending(database: &Database) -> Result<Vec<PendingBlock>, Fault> {
    let transaction = database.begin_read()?;
    let pending = match transaction.open_table(PENDING) {
        Ok(pending) => pending,
        // The file was written by a version without this table.
        Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let blocks = transaction.open_table(BLOCKS)?;
    let mut found = Vec::new();
    for entry in pending.iter()? {
        let (key, value) = entry?;
        let ((number, hash), (parent_hash, size)) = (key.value(), value.value());
        if blocks.get(hash)?.is_some() {
            let (hash, parent_hash) = (B256::new(hash), B256::new(parent_hash));
            found.push(PendingBlock { number, hash, parent_hash, size });
        }
    }
    Ok(found)
}

/// Returns the whole memory, by key.
pub(super) fn memory(database: &Database) -> Result<Vec<MemoryEntry>, Fault> {
    let memory = match database.begin_read()?.open_table(MEMORY) {
        Ok(memory) => memory,
        // The file was written by a version without this table.
        Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut found = Vec::new();
    for entry in memory.iter()? {
        let (key, value) = entry?;
        found.push((key.value().to_vec(), value.value().to_vec()));
    }
    Ok(found)
}

/// Returns the blocks with these hashes, in this order; `None` for each that is missing or damaged.
pub(super) fn blocks(
    database: &Database,
    hashes: &[B256],
) -> Result<Vec<Option<StoredBlock>>, Fault> {
    let blocks = database.begin_read()?.open_table(BLOCKS)?;
    let mut found = Vec::with_capacity(hashes.len());
    for hash in hashes {
        found
            .push(blocks.get(hash.0)?.and_then(|record| record::decode(hash, record.value()).ok()));
    }
    Ok(found)
}

fn decoded<T>(hash: &B256, result: Result<T, String>) -> Result<T, Fault> {
    result.map_err(|detail| Fault::Block { hash: *hash, detail })
}

fn missing(hash: &B256) -> Fault {
    Fault::Block { hash: *hash, detail: "it is canonical and its record is missing".to_owned() }
}
