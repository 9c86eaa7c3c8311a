//! Chunks: several blocks that are compressed together, and how they are checked.
//!
//! The contents of a chunk are its blocks, highest first. Each is a payload version (1 byte), the
//! length of its body (4 bytes), and the body: the parent beacon block root if the version has one,
//! then the SSZ payload.

use alloy_primitives::{B256, Bytes};

use super::wire::{
    CHUNK, CHUNK_CONTENTS, CHUNK_HEADER_SIZE, Codec, ENTRY_HEADER_SIZE, FRAME_HEADER_SIZE, Fields,
    MAX_BODY,
};
use crate::payload::snappy::{self, BlockError};
use crate::payload::{Block, DecodeError, PayloadVersion};

/// A chunk as it arrived: compressed and unchecked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Compression of `data`.
    pub codec: Codec,
    /// Announced number of blocks, at least 1.
    pub blocks: u16,
    /// Announced size of the contents in bytes, within the limits of the protocol.
    pub contents: usize,
    /// The compressed contents.
    pub data: Bytes,
}

/// Reason why a chunk holds no further block of the answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// The contents do not decompress.
    #[error(transparent)]
    Snappy(#[from] BlockError),
    /// The contents do not have the announced length.
    #[error("a chunk announces {announced} bytes and has {found}")]
    Length {
        /// Announced size in bytes.
        announced: usize,
        /// Size of the contents in bytes.
        found: usize,
    },
    /// The contents end within a block.
    #[error("a chunk ends within a block")]
    Truncated,
    /// Bytes follow the last block.
    #[error("bytes follow the last block of a chunk")]
    Trailing,
    /// The payload version is unknown.
    #[error("payload version {0} is unknown")]
    Version(u8),
    /// The body is not a payload.
    #[error(transparent)]
    Payload(#[from] DecodeError),
    /// A block has another number than the next one downwards.
    #[error("a chunk has block {found}, not {wanted}")]
    WrongNumber {
        /// Next number downwards.
        wanted: u64,
        /// Number of the block.
        found: u64,
    },
    /// A block does not have the hash that it claims.
    #[error("block {0} does not have the hash that it claims")]
    BlockHash(u64),
    /// A block is not the parent of the one above.
    #[error("block {0} is not the parent of the block above")]
    Link(u64),
    /// The chunk has a block below block 0.
    #[error("a chunk continues below block 0")]
    BelowZero,
    /// The check panicked, which is a defect of ours.
    #[error("the check panicked")]
    Panicked,
}

impl ChunkError {
    /// Returns `true` if the chunk holds a block, but not the right one.
    pub const fn is_wrong_block(&self) -> bool {
        matches!(self, Self::WrongNumber { .. } | Self::BlockHash(_) | Self::Link(_))
    }
}

/// Result of a check.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The blocks before the first fault, highest first: each has its true hash and is the parent
    /// of the one before.
    pub blocks: Vec<Block>,
    /// The first fault.
    pub fault: Option<ChunkError>,
}

impl Checked {
    /// Returns the result of a check that panicked.
    pub const fn panicked() -> Self {
        Self { blocks: Vec::new(), fault: Some(ChunkError::Panicked) }
    }
}

/// Check of a chunk: decompresses it, decodes and hashes its blocks, and follows their links. Owns
/// its data and can run anywhere.
#[derive(Clone, Debug)]
pub struct ChunkWork {
    chunk: Chunk,
    number: u64,
    hash: Option<B256>,
}

impl ChunkWork {
    /// Creates the check of a chunk whose first block must have this number, and this hash if it is
    /// known.
    pub const fn new(chunk: Chunk, number: u64, hash: Option<B256>) -> Self {
        Self { chunk, number, hash }
    }

    /// Returns the size of the compressed contents in bytes.
    pub fn size(&self) -> usize {
        self.chunk.data.len()
    }

    /// Runs the check: a fifth of a millisecond for a block of 61 kB. Blocks before a fault are
    /// kept.
    pub fn run(self) -> Checked {
        let mut blocks = Vec::new();
        let fault = self.read(&mut blocks).err();
        Checked { blocks, fault }
    }

    fn read(&self, blocks: &mut Vec<Block>) -> Result<(), ChunkError> {
        let contents = self.chunk.decompress()?;
        let (mut rest, mut number, mut hash) = (&contents[..], Some(self.number), self.hash);
        for _ in 0..self.chunk.blocks {
            let wanted = number.ok_or(ChunkError::BelowZero)?;
            let block = read_block(&mut rest)?;
            if block.number() != wanted {
                return Err(ChunkError::WrongNumber { wanted, found: block.number() });
            }
            if !block.has_true_hash() {
                return Err(ChunkError::BlockHash(wanted));
            }
            if hash.is_some_and(|hash| hash != block.hash()) {
                return Err(ChunkError::Link(wanted));
            }
            (number, hash) = (wanted.checked_sub(1), Some(block.parent_hash()));
            blocks.push(block);
        }
        if rest.is_empty() { Ok(()) } else { Err(ChunkError::Trailing) }
    }
}

impl Chunk {
    /// Decompresses the contents. Allocates no more than announced, and for snappy no more than
    /// about 22 times the compressed bytes.
    ///
    /// # Errors
    /// [`ChunkError::Snappy`] or [`ChunkError::Length`].
    pub fn decompress(&self) -> Result<Vec<u8>, ChunkError> {
        let contents = match self.codec {
            Codec::Stored => self.data.to_vec(),
            Codec::Snappy => snappy::decompress(&self.data, self.contents)?,
        };
        if contents.len() == self.contents {
            Ok(contents)
        } else {
            Err(ChunkError::Length { announced: self.contents, found: contents.len() })
        }
    }
}

/// Takes a block from the front of contents. It gets its own copy of its bytes, so that a block
/// that is kept does not keep the chunk.
fn read_block(rest: &mut &[u8]) -> Result<Block, ChunkError> {
    let mut fields = Fields(rest);
    let [version] = fields.take().ok_or(ChunkError::Truncated)?;
    let length = u32::from_le_bytes(fields.take().ok_or(ChunkError::Truncated)?) as usize;
    let (body, after) = fields.0.split_at_checked(length).ok_or(ChunkError::Truncated)?;
    let version = PayloadVersion::from_number(version).ok_or(ChunkError::Version(version))?;
    *rest = after;
    Ok(Block::decode(version, None, Bytes::copy_from_slice(body))?)
}

/// A chunk as a frame, ready to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// The whole frame.
    pub frame: Bytes,
    /// Number of blocks.
    pub blocks: u16,
    /// Size of the contents in bytes, which counts against the request's bytes.
    pub contents: usize,
}

/// Collects blocks and packs them. It copies and compresses bytes, and decodes nothing.
#[derive(Clone, Debug)]
pub struct Packer {
    contents: Vec<u8>,
    blocks: u16,
    left: u64,
}

impl Packer {
    /// Creates a packer for at most `bytes` bytes of contents.
    pub const fn new(bytes: u64) -> Self {
        Self { contents: Vec::new(), blocks: 0, left: bytes }
    }

    /// Adds the next block downwards, unless the chunk has no room for it. Returns `true` if it was
    /// added.
    pub fn add(&mut self, version: PayloadVersion, body: &[u8]) -> bool {
        let size = ENTRY_HEADER_SIZE + body.len();
        let is_full = self.blocks > 0 && self.contents.len() + size > CHUNK_CONTENTS;
        if is_full || self.blocks == u16::MAX || body.len() > MAX_BODY || size as u64 > self.left {
            return false;
        }
        self.contents.push(version.number());
        self.contents.extend_from_slice(&(body.len() as u32).to_le_bytes());
        self.contents.extend_from_slice(body);
        self.blocks += 1;
        self.left -= size as u64;
        true
    }

    /// Compresses the blocks into a frame. Returns `None` if there are no blocks.
    pub fn finish(self) -> Option<Packed> {
        if self.blocks == 0 {
            return None;
        }
        let compressed = snappy::compress(&self.contents);
        // If a chunk does not shrink by an eighth, decompressing it is not worth the reader's time.
        let (codec, data) = if compressed.len() < self.contents.len() / 8 * 7 {
            (Codec::Snappy, &compressed)
        } else {
            (Codec::Stored, &self.contents)
        };
        let length = (CHUNK_HEADER_SIZE + data.len()) as u32;
        let mut frame = Vec::with_capacity(FRAME_HEADER_SIZE + length as usize);
        frame.push(CHUNK);
        frame.extend_from_slice(&length.to_le_bytes());
        frame.push(codec.byte());
        frame.extend_from_slice(&self.blocks.to_le_bytes());
        frame.extend_from_slice(&(self.contents.len() as u32).to_le_bytes());
        frame.extend_from_slice(data);
        Some(Packed { frame: frame.into(), blocks: self.blocks, contents: self.contents.len() })
    }
}
