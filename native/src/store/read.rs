//! Reading the database, without a file name or a lock: what [`Store`](super::Store) and opening share.

use alloy_primitives::B256;
use opp2p_core::chain::BlockId as ChainId;
use opp2p_core::feed::{LONGEST_BRANCH, PAGE_BLOCKS, PAGE_BYTES, Page, Query, Tip};
use redb::{Database, ReadableDatabase, ReadableTable, TableError};

use super::fault::Fault;
use super::record::{self, BlockId, StoredBlock};
use super::schema::{BLOCKS, CANONICAL, MEMORY, PENDING};
use super::{MemoryEntry, PendingBlock};

/// The block with this hash.
pub(super) fn block(database: &Database, hash: &B256) -> Result<Option<StoredBlock>, Fault> {
    let blocks = database.begin_read()?.open_table(BLOCKS)?;
    let Some(record) = blocks.get(hash.0)? else { return Ok(None) };
    decoded(hash, record::decode(hash, record.value())).map(Some)
}

/// The canonical block at this number.
pub(super) fn canonical(database: &Database, number: u64) -> Result<Option<StoredBlock>, Fault> {
    let transaction = database.begin_read()?;
    let Some(hash) = transaction.open_table(CANONICAL)?.get(number)?.map(|entry| B256::new(entry.value()))
    else {
        return Ok(None);
    };
    let blocks = transaction.open_table(BLOCKS)?;
    let record = blocks.get(hash.0)?.ok_or_else(|| missing(&hash))?;
    decoded(&hash, record::decode(&hash, record.value())).map(Some)
}

/// The identity of the highest canonical block.
pub(super) fn head(database: &Database) -> Result<Option<BlockId>, Fault> {
    Ok(recent(database, 1, record::decode_id)?.pop())
}

/// The lowest canonical block.
pub(super) fn lowest(database: &Database) -> Result<Option<StoredBlock>, Fault> {
    let transaction = database.begin_read()?;
    let canonical = transaction.open_table(CANONICAL)?;
    let Some(hash) = canonical.first()?.map(|(_, hash)| B256::new(hash.value())) else { return Ok(None) };
    let blocks = transaction.open_table(BLOCKS)?;
    let record = blocks.get(hash.0)?.ok_or_else(|| missing(&hash))?;
    decoded(&hash, record::decode(&hash, record.value())).map(Some)
}

/// The highest `count` canonical blocks, each read with `decode`, lowest first.
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

/// What the feed asks for.
pub(super) fn page(database: &Database, query: Query) -> Result<Page<StoredBlock>, Fault> {
    let transaction = database.begin_read()?;
    let canonical = transaction.open_table(CANONICAL)?;
    let records = transaction.open_table(BLOCKS)?;
    let head = canonical.last()?.map(|(number, hash)| ChainId::new(number.value(), hash.value().into()));
    let mut page = Page { head, abandoned: Vec::new(), ancestor: None, blocks: Vec::new() };
    let from = match query {
        Query::From(number) => number,
        Query::After(tip) => {
            let mut next = Some(tip);
            while let Some(tip) = next.filter(|_| page.abandoned.len() <= LONGEST_BRANCH) {
                if canonical.get(tip.id.number)?.is_some_and(|hash| hash.value() == tip.id.hash.0) {
                    page.ancestor = Some(tip.id);
                    break;
                }
                page.abandoned.push(tip.id);
                let record = records.get(tip.id.hash.0)?;
                let found = record.map(|record| record::decode_id(&tip.id.hash, record.value())).transpose();
                // A record that does not read is as good as none here: the way back is not found.
                let parent = found.ok().flatten().map(|id| id.parent_hash).or(tip.parent);
                let below = tip.id.number.checked_sub(1);
                next = below.zip(parent).map(|(number, hash)| Tip::new(ChainId::new(number, hash)));
            }
            page.ancestor.map_or(0, |ancestor| ancestor.number.saturating_add(1))
        }
    };
    let mut bytes = 0;
    for entry in canonical.range(from..)?.take(PAGE_BLOCKS) {
        let hash = B256::new(entry?.1.value());
        let record = records.get(hash.0)?.ok_or_else(|| missing(&hash))?;
        let block = decoded(&hash, record::decode(&hash, record.value()))?;
        bytes += block.message.len();
        if bytes > PAGE_BYTES && !page.blocks.is_empty() {
            break;
        }
        page.blocks.push(block);
    }
    Ok(page)
}

/// What is in the pending area, lowest number first. Marks without a record are left out.
pub(super) fn pending(database: &Database) -> Result<Vec<PendingBlock>, Fault> {
    let transaction = database.begin_read()?;
    let pending = match transaction.open_table(PENDING) {
        Ok(pending) => pending,
        // A file from before there was one.
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

/// The whole memory, by key.
pub(super) fn memory(database: &Database) -> Result<Vec<MemoryEntry>, Fault> {
    let memory = match database.begin_read()?.open_table(MEMORY) {
        Ok(memory) => memory,
        // A file from before there was one.
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

/// The blocks with these hashes, in this order; `None` for each that is missing or damaged.
pub(super) fn blocks(database: &Database, hashes: &[B256]) -> Result<Vec<Option<StoredBlock>>, Fault> {
    let blocks = database.begin_read()?.open_table(BLOCKS)?;
    let mut found = Vec::with_capacity(hashes.len());
    for hash in hashes {
        found.push(blocks.get(hash.0)?.and_then(|record| record::decode(hash, record.value()).ok()));
    }
    Ok(found)
}

fn decoded<T>(hash: &B256, result: Result<T, String>) -> Result<T, Fault> {
    result.map_err(|detail| Fault::Block { hash: *hash, detail })
}

fn missing(hash: &B256) -> Fault {
    Fault::Block { hash: *hash, detail: "it is canonical and its record is missing".to_owned() }
}
