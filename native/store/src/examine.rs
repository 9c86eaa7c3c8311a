//! What a store holds, and a check of all of it.

use std::thread;

use alloy_primitives::{B256, U256};
use opp2p_core::chain::BlockId as ChainId;
use opp2p_core::payload::{Block, PayloadVersion};
use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableError};

use super::fault::Fault;
use super::range::SIGNATURE_BYTES;
use super::record::StoredBlock;
use super::schema::{BLOCKS, CANONICAL, HEIGHTS, MEMORY, META, PENDING};
use super::weight::Weight;
use super::{READING, Store, StoreError};

/// Number of blocks that are read at a time.
const PAGE: usize = 256;
/// Maximum number of defects that are named.
const MOST_DEFECTS: usize = 64;

/// Bounds and sizes of a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// Number of stored blocks, canonical or not.
    pub blocks: u64,
    /// Number of canonical blocks that are stored.
    pub canonical: u64,
    /// Number of blocks that do not link to the chain yet.
    pub pending: u64,
    /// The lowest canonical block that is stored.
    pub lowest: Option<ChainId>,
    /// The highest canonical block that is stored.
    pub highest: Option<ChainId>,
    /// Size of the blocks in the file, in bytes, compressed.
    pub block_bytes: u64,
    /// Number of entries of the memory.
    pub memory: u64,
}

/// Something that is wrong with a block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("block {number} ({hash}): {what}")]
pub struct Defect {
    /// Number of the block.
    pub number: u64,
    /// Hash under which it is stored.
    pub hash: B256,
    /// The defect.
    pub what: String,
}

/// Result of a check of the whole store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Number of blocks that were read.
    pub blocks: u64,
    /// Number of those on the canonical chain.
    pub canonical: u64,
    /// Number of places at which the canonical chain lacks blocks.
    pub holes: u64,
    /// Number of defects.
    pub defects: u64,
    /// The first of them, at most 64.
    pub first_defects: Vec<Defect>,
}

impl Verified {
    fn defect(&mut self, number: u64, hash: B256, what: String) {
        self.defects += 1;
        if self.first_defects.len() < MOST_DEFECTS {
            self.first_defects.push(Defect { number, hash, what });
        }
    }
}

impl Store {
    /// Returns the bounds and sizes of the store.
    ///
    /// # Errors
    ///
    /// If the store can't be read.
    pub fn info(&self) -> Result<Info, StoreError> {
        self.with(READING, info)
    }

    /// Reads every block and checks it: its record, its contents against its hash, and on the
    /// canonical chain its link to the block below. Opening the store has checked the pages of the
    /// file before.
    ///
    /// # Errors
    ///
    /// If the store can't be read. Damaged blocks are in the result.
    pub fn verify(&self) -> Result<Verified, StoreError> {
        let (mut verified, mut from) = (Verified::default(), Some((0, B256::ZERO)));
        // The canonical block below, and its number.
        let mut below: Option<ChainId> = None;
        while let Some(start) = from {
            let page = self.with(READING, |database| page(database, start))?;
            from = page.last().and_then(|last| next_key(last.id));
            for (entry, checked) in page.iter().zip(self.check(&page)) {
                let ChainId { number, hash } = entry.id;
                verified.blocks += 1;
                verified.canonical += u64::from(entry.is_canonical);
                let parent = match checked {
                    Ok(parent) => Some(parent),
                    Err(Checked::Store(error)) => return Err(error),
                    Err(Checked::Defect(what)) => {
                        verified.defect(number, hash, what);
                        None
                    }
                };
                if !entry.is_canonical {
                    continue;
                }
                let before = below.replace(entry.id);
                match before.filter(|before| before.number + 1 == number) {
                    Some(before) if parent.is_some_and(|parent| parent != before.hash) => {
                        let what = "it is not built on the canonical block below".to_owned();
                        verified.defect(number, hash, what);
                    }
                    Some(_) => {}
                    None => verified.holes += u64::from(before.is_some()),
                }
            }
        }
        Ok(verified)
    }

    /// Checks blocks on all processors. Returns the parent that each names.
    fn check(&self, page: &[Entry]) -> Vec<Result<B256, Checked>> {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let part = page.len().div_ceil(threads).max(1);
        thread::scope(|scope| {
            let parts: Vec<_> = page
                .chunks(part)
                .map(|part| {
                    let run = || part.iter().map(|entry| self.check_one(entry.id)).collect();
                    (part.len(), scope.spawn(run))
                })
                .collect();
            let panicked = || Err(Checked::Defect("the check panicked".to_owned()));
            let results = parts.into_iter().flat_map(|(length, running)| {
                let done: Result<Vec<_>, _> = running.join();
                done.unwrap_or_else(|_| (0..length).map(|_| panicked()).collect())
            });
            results.collect()
        })
    }

    fn check_one(&self, id: ChainId) -> Result<B256, Checked> {
        match self.block_by_hash(id.hash) {
            Ok(Some(block)) => contents(id, &block).map_err(Checked::Defect),
            Ok(None) => Err(Checked::Defect("its record is missing".to_owned())),
            Err(StoreError::CorruptedBlock { detail, .. }) => Err(Checked::Defect(detail)),
            Err(error) => Err(Checked::Store(error)),
        }
    }
}

/// Reason why a block was not found right.
enum Checked {
    Defect(String),
    Store(StoreError),
}

/// A stored block.
struct Entry {
    id: ChainId,
    is_canonical: bool,
}

/// Returns the parent of a block whose contents have its hash.
pub(super) fn contents(id: ChainId, stored: &StoredBlock) -> Result<B256, String> {
    let version = PayloadVersion::from_number(stored.version)
        .ok_or_else(|| format!("its payload has version {}", stored.version))?;
    let body = stored.message.get(SIGNATURE_BYTES..).ok_or("it is shorter than a signature")?;
    let block = Block::decode(version, None, body.to_vec().into())
        .map_err(|error| format!("its payload can't be decoded: {error}"))?;
    if block.hash() != id.hash || !block.has_true_hash() {
        return Err("its contents have another hash".to_owned());
    }
    if block.number() != id.number {
        return Err(format!("its contents have number {}", block.number()));
    }
    Ok(block.parent_hash())
}

/// Returns the key that follows this one in the order of numbers and hashes.
fn next_key(id: ChainId) -> Option<(u64, B256)> {
    let next = U256::from_be_bytes(id.hash.0).checked_add(U256::ONE);
    match next {
        Some(next) => Some((id.number, B256::from(next))),
        None => id.number.checked_add(1).map(|number| (number, B256::ZERO)),
    }
}

fn page(database: &Database, (number, hash): (u64, B256)) -> Result<Vec<Entry>, Fault> {
    let transaction = database.begin_read()?;
    let canonical = transaction.open_table(CANONICAL)?;
    let mut page = Vec::new();
    for entry in transaction.open_table(HEIGHTS)?.range((number, hash.0)..)?.take(PAGE) {
        let (number, hash) = entry?.0.value();
        let is_canonical = canonical.get(number)?.is_some_and(|entry| entry.value() == hash);
        page.push(Entry { id: ChainId::new(number, B256::new(hash)), is_canonical });
    }
    Ok(page)
}

fn info(database: &Database) -> Result<Info, Fault> {
    let transaction = database.begin_read()?;
    let canonical = transaction.open_table(CANONICAL)?;
    let blocks = transaction.open_table(HEIGHTS)?.len()?;
    let id = |entry: (redb::AccessGuard<'_, u64>, redb::AccessGuard<'_, [u8; 32]>)| {
        ChainId::new(entry.0.value(), B256::new(entry.1.value()))
    };
    let (lowest, highest) = (canonical.first()?.map(id), canonical.last()?.map(id));
    let (records, meta) = (transaction.open_table(BLOCKS)?, transaction.open_table(META)?);
    let state = (blocks, highest.map_or(0, |highest| highest.number));
    let pending = match transaction.open_table(PENDING) {
        Ok(pending) => pending.len()?,
        // The file was written by a version without this table.
        Err(TableError::TableDoesNotExist(_)) => 0,
        Err(error) => return Err(error.into()),
    };
    let memory = match transaction.open_table(MEMORY) {
        Ok(memory) => memory.len()?,
        Err(TableError::TableDoesNotExist(_)) => 0,
        Err(error) => return Err(error.into()),
    };
    let block_bytes = Weight::read(&meta, state, &records)?.bytes();
    let canonical = canonical.len()?;
    Ok(Info { blocks, canonical, pending, lowest, highest, block_bytes, memory })
}
