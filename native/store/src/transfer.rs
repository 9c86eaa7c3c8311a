//! Files of blocks: writing the canonical chain to a stream, and reading it back.
//!
//! A file is a header of [`HEADER_SIZE`] bytes and an answer of the range protocol (`RANGE.md` in
//! the core): chunks of blocks, highest first, and an end. Integers are little-endian.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 8 | `opp2pblk` |
//! | 8 | 2 | version of the format: 1 |
//! | 10 | 8 | chain id |
//! | 18 | 32 | hash of the genesis block |
//! | 50 | 8 | number of the highest block |
//! | 58 | 32 | hash of the highest block |
//! | 90 | … | the answer |
//!
//! # What an import proves
//! Each block has the hash that its contents give, and is the parent of the one above. So all are
//! right if the highest is. A file has no signatures: that the sequencer made the highest block is
//! shown only by a block of the store above it, or by a hash that the caller knows.
//!
//! # Bounds
//! Memory of an import: eight chunks that are being checked, and one commit of 16 MiB and a chunk.
//! A chunk has at most 10 MiB.

use std::io::{Read, Write};

use alloy_primitives::B256;
use opp2p_core::chain::BlockId as ChainId;
use opp2p_core::sync::range::{End, First, Next, ReadOrder};

use super::{Store, StoreError};

mod error;
mod import;
mod input;

pub use error::{ExportError, FORMAT_VERSION, ImportError};
pub use import::Imported;

/// Size of a file's header in bytes.
pub const HEADER_SIZE: usize = 90;
/// First bytes of a file.
const MAGIC: &[u8; 8] = b"opp2pblk";
/// Maximum number of chunks that are checked ahead of the one that is stored.
const AHEAD: usize = 8;
/// Size in bytes of blocks from which an import commits.
const COMMIT_BYTES: usize = 16 << 20;

/// Header of a file of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// L2 chain id.
    pub chain_id: u64,
    /// Hash of the chain's genesis block.
    pub genesis_hash: B256,
    /// The highest block.
    pub highest: ChainId,
}

impl Header {
    /// Encodes the header.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_SIZE] {
        let mut out = [0; HEADER_SIZE];
        out[..8].copy_from_slice(MAGIC);
        out[8..10].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        out[10..18].copy_from_slice(&self.chain_id.to_le_bytes());
        out[18..50].copy_from_slice(self.genesis_hash.as_slice());
        out[50..58].copy_from_slice(&self.highest.number.to_le_bytes());
        out[58..].copy_from_slice(self.highest.hash.as_slice());
        out
    }

    /// Reads the header of a file.
    ///
    /// # Errors
    ///
    /// [`ImportError::Read`], [`ImportError::NotAFile`] or [`ImportError::Version`].
    pub fn read(input: &mut impl Read) -> Result<Self, ImportError> {
        let mut start = [0; 10];
        input::fill(input, &mut start)?.ok_or(ImportError::NotAFile)?;
        let [magic @ .., low, high] = start;
        if magic != *MAGIC {
            return Err(ImportError::NotAFile);
        }
        let version = u16::from_le_bytes([low, high]);
        if version != FORMAT_VERSION {
            return Err(ImportError::Version(version));
        }
        let (mut chain_id, mut genesis) = ([0; 8], [0; 32]);
        let (mut number, mut hash) = ([0; 8], [0; 32]);
        for field in [&mut chain_id[..], &mut genesis, &mut number, &mut hash] {
            input::fill(input, field)?.ok_or(ImportError::NotAFile)?;
        }
        Ok(Self {
            chain_id: u64::from_le_bytes(chain_id),
            genesis_hash: B256::from(genesis),
            highest: ChainId::new(u64::from_le_bytes(number), B256::from(hash)),
        })
    }
}

/// Result of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exported {
    /// Number of blocks.
    pub blocks: u64,
    /// Number of bytes.
    pub bytes: u64,
    /// The highest block.
    pub highest: ChainId,
    /// Number of the lowest block.
    pub lowest: u64,
    /// Whether the store has blocks below that were requested too: the one between is missing or
    /// damaged.
    pub is_cut: bool,
}

impl Store {
    /// Writes the canonical blocks from number `lowest` to `highest` as a file. Without `highest`
    /// it begins at the highest block that is stored. It ends early above a block that is missing
    /// or damaged.
    ///
    /// # Errors
    ///
    /// If the store lacks a block or can't be read, or if `out` can't be written.
    pub fn export(
        &self,
        lowest: u64,
        highest: Option<u64>,
        out: &mut impl Write,
    ) -> Result<Exported, ExportError> {
        let head = self.head()?.ok_or(ExportError::Empty)?;
        let top = highest.unwrap_or(head.number);
        let ids = self.canonical_ids(top, 1)?;
        let is_stored = self.canonical_by_number(top)?.is_some();
        let found = ids.first().copied().filter(|id| id.number == top && is_stored);
        let highest = found.ok_or(ExportError::Missing { number: top, highest: head.number })?;
        if lowest > top {
            return Err(ExportError::Order { lowest, highest: top });
        }
        let (chain_id, genesis_hash) = (self.inner.config.chain_id, self.inner.config.genesis_hash);
        let header = Header { chain_id, genesis_hash, highest };
        out.write_all(&header.encode()).map_err(ExportError::Write)?;
        let mut done =
            Exported { blocks: 0, bytes: HEADER_SIZE as u64, highest, lowest: top, is_cut: false };
        let mut left = (top - lowest).saturating_add(1);
        let mut first = First::Block(highest);
        let end = loop {
            let blocks = u32::try_from(left).unwrap_or(u32::MAX);
            let order = ReadOrder { first, blocks, bytes: u64::MAX, held: Vec::new() };
            let read = self.read_range(&order)?;
            if let Some(packed) = read.packed {
                out.write_all(&packed.frame).map_err(ExportError::Write)?;
                let blocks = u64::from(packed.blocks);
                left = left.saturating_sub(blocks);
                done.lowest = (top + 1).saturating_sub(done.blocks + blocks);
                done.blocks += blocks;
                done.bytes += packed.frame.len() as u64;
            }
            match read.next {
                _ if left == 0 => break End::Complete,
                Next::Block(next) => first = next,
                _ => break End::NoMore { lowest: done.lowest },
            }
        };
        let end = end.encode();
        out.write_all(&end).map_err(ExportError::Write)?;
        done.bytes += end.len() as u64;
        let stored = self.lowest_number()?;
        done.is_cut = left > 0 && stored.is_some_and(|stored| stored < done.lowest);
        Ok(done)
    }

    /// Returns the number of the lowest canonical block that is stored.
    fn lowest_number(&self) -> Result<Option<u64>, StoreError> {
        self.with(super::READING, super::read::lowest_number)
    }
}
