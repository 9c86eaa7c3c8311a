//! Recovers the intact blocks of a damaged store file.
//!
//! Each record begins with the ten-byte header of snappy's framing format, and contains checksums
//! and its length. Blocks are therefore found without the tables of the file, whatever part is
//! damaged: a single scan decodes each record and verifies its contents against its hash.
//!
//! The canonical chain of the new store begins at the head in the tables, or else at the highest
//! signed block, or else at the highest block, and follows parent hashes down. Where a block is
//! missing, it continues at the highest block below the hole. Other blocks are left out. A file may
//! still contain records that its store had removed. They are salvaged too.
//!
//! # Bounds
//! * Memory: about 100 bytes per intact block, and [`COMMIT_BYTES`] of blocks.
//! * Disk: a copy of the intact blocks.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use alloy_primitives::B256;
use opp2p_core::chain::BlockId as ChainId;
use opp2p_core::gossip::SIGNATURE_SIZE;
use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

use super::examine::contents;
use super::fault::contained;
use super::record::{self, MAX_MESSAGE_BYTES, StoredBlock};
use super::{Batch, MemoryEntry, Store, StoreError, open, read};

/// Header of a stream in snappy's framing format.
const MARK: &[u8; 10] = b"\xff\x06\x00\x00sNaPpY";
/// Number of bytes to search at a time.
const WINDOW: usize = 1 << 20;
/// Number of bytes to skip after a read error.
const SECTOR: u64 = 4096;
/// Maximum size of a record in bytes, with a margin for incompressible contents and chunk headers.
const MAX_RECORD: u64 = MAX_MESSAGE_BYTES as u64 / 8 * 9;
/// Size of the messages in one commit, in bytes. The last message may exceed it.
const COMMIT_BYTES: usize = 16 << 20;

/// Result of [`Store::salvage`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Salvaged {
    /// Number of blocks in the new store, all canonical.
    pub blocks: u64,
    /// The lowest of them.
    pub lowest: Option<ChainId>,
    /// The highest of them.
    pub highest: Option<ChainId>,
    /// Number of gaps between the lowest and the highest block.
    pub holes: u64,
    /// Number of intact blocks that were left out, since they are not on the chain.
    pub left_out: u64,
    /// Number of damaged records whose header was found.
    pub damaged: u64,
    /// Number of unreadable bytes in the file.
    pub unreadable: u64,
    /// Number of entries of the memory, or `None` if the tables are unreadable.
    pub memory: Option<u64>,
}

/// An intact record.
#[derive(Clone, Copy, Debug)]
struct Found {
    /// Offset in the file.
    at: u64,
    parent: B256,
    is_signed: bool,
}

/// The intact records, by number and hash of the block.
type Blocks = BTreeMap<(u64, B256), Found>;

impl Store {
    /// Copies the intact blocks and the memory of the damaged store in `file` to this store, which
    /// must be empty. The file is not changed.
    ///
    /// # Errors
    ///
    /// If the file can't be opened or is in use, or this store can't be written.
    pub fn salvage(&self, file: &Path) -> Result<Salvaged, StoreError> {
        let failed = |source: io::Error| StoreError::Io {
            path: file.to_path_buf(),
            doing: "reading",
            source: Arc::new(source),
        };
        let (head, memory) = match read_tables(file) {
            Some((head, memory)) => (head, Some(memory)),
            None => (None, None),
        };
        let _lock = lock(file)?;
        let mut records = File::open(file).map_err(failed)?;
        let mut salvaged = Salvaged::default();
        let blocks = scan(file, &mut records, &mut salvaged).map_err(failed)?;
        let chain = chain(&blocks, head, &mut salvaged);
        salvaged.left_out = (blocks.len() - chain.len()) as u64;
        self.copy(&mut records, &blocks, &chain, &mut salvaged).map_err(|error| match error {
            Copying::Source(source) => failed(source),
            Copying::Target(error) => error,
        })?;
        if let Some(memory) = memory {
            let entries = memory.into_iter().map(|(key, value)| (key, Some(value))).collect();
            let batch = Batch { memory: entries, ..Batch::default() };
            salvaged.memory = Some(batch.memory.len() as u64);
            self.commit(&batch)?;
        }
        Ok(salvaged)
    }

    /// Copies the blocks of the chain, lowest first.
    fn copy(
        &self,
        records: &mut File,
        blocks: &Blocks,
        chain: &[(u64, B256)],
        salvaged: &mut Salvaged,
    ) -> Result<(), Copying> {
        let (mut batch, mut size) = (Batch::default(), 0);
        for key in chain.iter().rev() {
            let Some(found) = blocks.get(key) else { continue };
            // The scan has found the record intact.
            let block = decode(records, found.at)?.map_err(io::Error::other)?;
            size += block.message.len();
            batch.canonical.push((block.number, block.hash));
            batch.blocks.push(block);
            if size >= COMMIT_BYTES {
                self.commit(&std::mem::take(&mut batch))?;
                size = 0;
            }
        }
        if !batch.blocks.is_empty() {
            self.commit(&batch)?;
        }
        salvaged.blocks = chain.len() as u64;
        let id = |key: &(u64, B256)| ChainId::new(key.0, key.1);
        salvaged.highest = chain.first().map(id);
        salvaged.lowest = chain.last().map(id);
        Ok(())
    }
}

/// An error of copying, by side.
enum Copying {
    Source(io::Error),
    Target(StoreError),
}

impl From<io::Error> for Copying {
    fn from(error: io::Error) -> Self {
        Self::Source(error)
    }
}

impl From<StoreError> for Copying {
    fn from(error: StoreError) -> Self {
        Self::Target(error)
    }
}

/// Locks the file against use by a node.
fn lock(file: &Path) -> Result<FileBackend, StoreError> {
    let locked = contained(|| {
        let backend = FileBackend::new(OpenOptions::new().read(true).write(true).open(file)?)?;
        let locked = match backend.try_lock_range(Bound::Included(0), Bound::Unbounded) {
            Err(BackendError::Unsupported) => true,
            Err(error) => return Err(io::Error::other(error.to_string()).into()),
            Ok(locked) => locked,
        };
        Ok(locked.then_some(backend))
    });
    let locked = locked.map_err(|fault| fault.at(file, "opening"))?;
    locked.ok_or_else(|| StoreError::Locked { path: file.to_path_buf() })
}

/// Returns the head and the memory, if the tables are readable. The file is not changed.
fn read_tables(file: &Path) -> Option<(Option<ChainId>, Vec<MemoryEntry>)> {
    let database = open::unchecked(file).ok()??;
    let head = contained(|| read::canonical_head(&database)).ok().flatten();
    let memory = contained(|| read::memory(&database)).ok()?;
    // Closing a damaged database may panic.
    let _ = contained(|| {
        drop(database);
        Ok(())
    });
    Some((head, memory))
}

/// Finds all intact records, and counts damaged records and unreadable bytes.
fn scan(path: &Path, records: &mut File, salvaged: &mut Salvaged) -> io::Result<Blocks> {
    let mut file = File::open(path)?;
    let length = file.seek(SeekFrom::End(0))?;
    let mut blocks = Blocks::new();
    // The window begins at offset `at`, and overlaps the previous one by less than a header.
    let (mut window, mut at) = (Vec::new(), 0_u64);
    loop {
        let next = at + window.len() as u64;
        if next >= length {
            return Ok(blocks);
        }
        file.seek(SeekFrom::Start(next))?;
        let kept = window.len();
        match (&mut file).take(WINDOW as u64).read_to_end(&mut window) {
            Ok(0) => return Ok(blocks),
            Ok(_) => {}
            Err(_) => {
                // Some bytes may have been read before the error.
                if window.len() == kept {
                    salvaged.unreadable += SECTOR.min(length - next);
                    (window, at) = (Vec::new(), next + SECTOR);
                    continue;
                }
            }
        }
        for (offset, _) in window.windows(MARK.len()).enumerate().filter(|(_, seen)| seen == MARK) {
            let at = at + offset as u64;
            match decode(records, at)?.and_then(|block| intact(&block, at)) {
                Ok((key, found)) => {
                    blocks.insert(key, found);
                }
                Err(_) => salvaged.damaged += 1,
            }
        }
        let rest = window.len().saturating_sub(MARK.len() - 1);
        at += rest as u64;
        window.drain(..rest);
    }
}

/// Decodes the record at this offset. The outer error is an I/O error of the file.
fn decode(records: &mut File, at: u64) -> io::Result<Result<StoredBlock, String>> {
    records.seek(SeekFrom::Start(at))?;
    Ok(record::decode_found(&mut BufReader::new(records.take(MAX_RECORD))))
}

fn intact(block: &StoredBlock, at: u64) -> Result<((u64, B256), Found), String> {
    let parent = contents(ChainId::new(block.number, block.hash), block)?;
    if parent != block.parent_hash {
        return Err("its record names another parent".to_owned());
    }
    let is_signed = block.message.iter().take(SIGNATURE_SIZE).any(|byte| *byte != 0);
    Ok(((block.number, block.hash), Found { at, parent, is_signed }))
}

/// Returns the highest block below this number. Of several, a signed one is more likely to be
/// canonical.
fn highest_below(blocks: &Blocks, number: u64) -> Option<(u64, B256)> {
    let (highest, _) = *blocks.range(..(number, B256::ZERO)).next_back()?.0;
    let same = || blocks.range((highest, B256::ZERO)..(number, B256::ZERO));
    let signed = same().find(|(_, found)| found.is_signed);
    signed.or_else(|| same().next()).map(|(key, _)| *key)
}

/// Returns the canonical chain, highest block first, and counts its holes.
fn chain(blocks: &Blocks, head: Option<ChainId>, salvaged: &mut Salvaged) -> Vec<(u64, B256)> {
    let named = head.map(|head| (head.number, head.hash)).filter(|key| blocks.contains_key(key));
    let signed = || blocks.iter().rev().find(|(_, found)| found.is_signed).map(|(key, _)| *key);
    let highest = || blocks.last_key_value().map(|(key, _)| *key);
    let mut next = named.or_else(signed).or_else(highest);
    let mut chain = Vec::new();
    while let Some(key) = next {
        chain.push(key);
        let Some(found) = blocks.get(&key) else { break };
        let Some(number) = key.0.checked_sub(1) else { break };
        let parent = (number, found.parent);
        next = if blocks.contains_key(&parent) {
            Some(parent)
        } else {
            let below = highest_below(blocks, number);
            salvaged.holes += u64::from(below.is_some());
            below
        };
    }
    chain
}
