//! The layout of a request and of an answer's frames.
//!
//! All integers are little-endian. `RANGE.md` describes the same bytes for other implementers.
//!
//! # Bounds
//! * A request has at most [`MAX_REQUEST_SIZE`] bytes.
//! * A chunk with several blocks has at most [`CHUNK_CONTENTS`] bytes of contents, and one with a
//!   single block at most [`MAX_CONTENTS`]. The compressed bytes are bounded by the contents.
//! * An end has at most [`MAX_END_SIZE`] bytes.

use std::time::Duration;

use alloy_primitives::B256;

use crate::chain::BlockId;
use crate::payload::BLOCK_NUMBER_LIMIT;
use crate::sync::MAX_RESPONSE_SIZE;

/// Name of the protocol. The request names the chain.
pub const PROTOCOL: &str = "/opp2p/req/payloads/1";

/// Size in bytes of a request's length field.
pub(super) const LENGTH_SIZE: usize = 2;
/// Size in bytes of the request that this version defines, length field included.
pub const REQUEST_SIZE: usize = 70;
/// Maximum size in bytes of a request of a later version, length field included.
pub const MAX_REQUEST_SIZE: usize = 512;
/// Size in bytes of a frame's header: its kind and the length of its body.
pub(super) const FRAME_HEADER_SIZE: usize = 5;
/// Size in bytes of a chunk's header, after the frame's: codec, number of blocks, contents' length.
pub(super) const CHUNK_HEADER_SIZE: usize = 7;
/// Size in bytes of a block's header within the contents: payload version and length.
pub(super) const ENTRY_HEADER_SIZE: usize = 5;
/// Maximum size in bytes of the contents of a chunk with several blocks.
pub const CHUNK_CONTENTS: usize = 256 << 10;
/// Maximum size in bytes of one block's body.
pub(super) const MAX_BODY: usize = MAX_RESPONSE_SIZE;
/// Maximum size in bytes of the contents of a chunk with one block.
pub const MAX_CONTENTS: usize = ENTRY_HEADER_SIZE + MAX_BODY;
/// Size in bytes of the body of an end that this version defines.
pub(super) const END_SIZE: usize = 9;
/// Maximum size in bytes of the body of an end of a later version.
pub(super) const MAX_END_SIZE: usize = 64;
/// Maximum number of bytes in skippable frames between two other frames, headers included.
pub(super) const MAX_SKIPPED: usize = 64 << 10;

/// Kind of a frame with blocks.
pub(super) const CHUNK: u8 = 1;
/// Kind of the last frame.
pub(super) const END: u8 = 2;
/// Kinds from here on may be skipped by readers that do not know them.
pub(super) const FIRST_SKIPPABLE: u8 = 0x80;

/// Compression of a chunk's contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Codec {
    /// The contents as they are. Every reader accepts it.
    Stored,
    /// The snappy block format. Every reader accepts it.
    Snappy,
}

impl Codec {
    /// Returns the codec's byte on the stream.
    pub const fn byte(self) -> u8 {
        match self {
            Self::Stored => 0,
            Self::Snappy => 1,
        }
    }

    /// Returns the codec of a byte, or `None` if it is unknown.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Stored),
            1 => Some(Self::Snappy),
            _ => None,
        }
    }

    /// Returns the maximum size in bytes of `contents` bytes after compression.
    pub const fn largest(self, contents: usize) -> usize {
        match self {
            Self::Stored => contents,
            Self::Snappy => 32 + contents + contents / 6,
        }
    }
}

/// Set of codecs that this implementation reads, as a request announces it.
pub const CODECS: u32 = 1 << Codec::Stored.byte() | 1 << Codec::Snappy.byte();

/// First block of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum First {
    /// The block with this number and hash, which is the parent hash of the block above.
    Block(BlockId),
    /// The server's canonical block of this number, whose hash the requester does not know yet.
    Canonical(u64),
}

impl First {
    /// Returns the block's number.
    pub const fn number(&self) -> u64 {
        match self {
            Self::Block(id) => id.number,
            Self::Canonical(number) => *number,
        }
    }

    /// Returns the block's hash if it is known.
    pub const fn hash(&self) -> Option<B256> {
        match self {
            Self::Block(id) => Some(id.hash),
            Self::Canonical(_) => None,
        }
    }
}

/// A request for blocks downwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Id of the chain.
    pub chain_id: u64,
    /// Highest requested block.
    pub first: First,
    /// Maximum number of blocks, at least 1.
    pub blocks: u32,
    /// Maximum size of the contents of all chunks together, in bytes.
    pub bytes: u64,
    /// Codecs that the requester reads besides [`Codec::Stored`] and [`Codec::Snappy`], as a set of
    /// bits by codec number.
    pub codecs: u32,
}

/// Reason why bytes are not a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The stream ended within the request.
    #[error("the request ends after {0} bytes")]
    Truncated(usize),
    /// The announced length is too short or too long.
    #[error("a request announces {0} bytes")]
    Length(usize),
    /// Bytes follow the request.
    #[error("bytes follow the request")]
    Trailing,
    /// The request depends on features that are unknown.
    #[error("the request depends on unknown features {0:#010x}")]
    Features(u32),
    /// The request asks for no block.
    #[error("the request asks for no block")]
    Nothing,
    /// The number is not one that a block can have.
    #[error("no block has the number {0}")]
    Number(u64),
}

impl Request {
    /// Encodes the request.
    pub fn encode(&self) -> [u8; REQUEST_SIZE] {
        let mut out = [0; REQUEST_SIZE];
        let hash = self.first.hash().unwrap_or_default();
        let length = (REQUEST_SIZE - LENGTH_SIZE) as u16;
        let fields: [&[u8]; 8] = [
            &length.to_le_bytes(),
            &self.chain_id.to_le_bytes(),
            &self.first.number().to_le_bytes(),
            hash.as_slice(),
            &self.blocks.to_le_bytes(),
            &self.bytes.to_le_bytes(),
            &(self.codecs | CODECS).to_le_bytes(),
            &0_u32.to_le_bytes(),
        ];
        let mut at = 0;
        for field in fields {
            out[at..at + field.len()].copy_from_slice(field);
            at += field.len();
        }
        out
    }

    /// Returns the size in bytes of the request that begins with `bytes`, length field included, or
    /// `None` if the length field is incomplete. A server reads no further.
    ///
    /// # Errors
    /// [`RequestError::Length`].
    pub fn size(bytes: &[u8]) -> Result<Option<usize>, RequestError> {
        let Some(length) = bytes.first_chunk::<LENGTH_SIZE>() else { return Ok(None) };
        let size = LENGTH_SIZE + usize::from(u16::from_le_bytes(*length));
        if (REQUEST_SIZE..=MAX_REQUEST_SIZE).contains(&size) {
            Ok(Some(size))
        } else {
            Err(RequestError::Length(size))
        }
    }

    /// Decodes a complete request. Fields of later versions behind the known ones are ignored.
    ///
    /// # Errors
    /// The first fault found.
    pub fn decode(bytes: &[u8]) -> Result<Self, RequestError> {
        let size = Self::size(bytes)?.ok_or(RequestError::Truncated(bytes.len()))?;
        if bytes.len() < size {
            return Err(RequestError::Truncated(bytes.len()));
        }
        if bytes.len() > size {
            return Err(RequestError::Trailing);
        }
        let mut fields = Fields(&bytes[LENGTH_SIZE..]);
        let truncated = RequestError::Truncated(bytes.len());
        let chain_id = u64::from_le_bytes(fields.take().ok_or(truncated)?);
        let number = u64::from_le_bytes(fields.take().ok_or(truncated)?);
        let hash = B256::from(fields.take::<32>().ok_or(truncated)?);
        let blocks = u32::from_le_bytes(fields.take().ok_or(truncated)?);
        let bytes = u64::from_le_bytes(fields.take().ok_or(truncated)?);
        let codecs = u32::from_le_bytes(fields.take().ok_or(truncated)?);
        let features = u32::from_le_bytes(fields.take().ok_or(truncated)?);
        if features != 0 {
            return Err(RequestError::Features(features));
        }
        if blocks == 0 {
            return Err(RequestError::Nothing);
        }
        if number >= BLOCK_NUMBER_LIMIT {
            return Err(RequestError::Number(number));
        }
        let first = if hash.is_zero() {
            First::Canonical(number)
        } else {
            First::Block(BlockId::new(number, hash))
        };
        Ok(Self { chain_id, first, blocks, bytes, codecs: codecs | CODECS })
    }
}

/// Reason why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// The requested number of blocks was sent, or the next block exceeds the requested bytes.
    Complete,
    /// The server keeps no blocks below the last one that it sent, or at and below the first one.
    NoMore {
        /// Lowest number that the server can deliver now.
        lowest: u64,
    },
    /// The server never had the first block: the number is above its head, or it knows another
    /// block there.
    NeverHad {
        /// Highest number that the server can deliver now.
        highest: u64,
    },
    /// The server's limits are reached, or its chain changed during the answer.
    Limited {
        /// Time after which a request can succeed.
        retry: Duration,
    },
    /// The server serves another chain.
    OtherChain {
        /// Id of its chain.
        chain_id: u64,
    },
    /// The server does not serve this requester.
    Refused,
    /// The request is not one.
    Invalid,
    /// The server failed, for example to read its store.
    Failed,
    /// A reason of a later version. It counts as [`Self::Failed`].
    Unknown {
        /// The reason's byte.
        reason: u8,
        /// The reason's value.
        value: u64,
    },
}

impl End {
    /// Returns the reason's byte and its value.
    pub fn parts(self) -> (u8, u64) {
        match self {
            Self::Complete => (0, 0),
            Self::NoMore { lowest } => (1, lowest),
            Self::NeverHad { highest } => (2, highest),
            Self::Limited { retry } => (3, u64::try_from(retry.as_millis()).unwrap_or(u64::MAX)),
            Self::OtherChain { chain_id } => (4, chain_id),
            Self::Refused => (5, 0),
            Self::Invalid => (6, 0),
            Self::Failed => (7, 0),
            Self::Unknown { reason, value } => (reason, value),
        }
    }

    /// Returns the end with this byte and value.
    pub const fn from_parts(reason: u8, value: u64) -> Self {
        match reason {
            0 => Self::Complete,
            1 => Self::NoMore { lowest: value },
            2 => Self::NeverHad { highest: value },
            3 => Self::Limited { retry: Duration::from_millis(value) },
            4 => Self::OtherChain { chain_id: value },
            5 => Self::Refused,
            6 => Self::Invalid,
            7 => Self::Failed,
            reason => Self::Unknown { reason, value },
        }
    }

    /// Encodes the end as a frame.
    pub fn encode(self) -> [u8; FRAME_HEADER_SIZE + END_SIZE] {
        let (reason, value) = self.parts();
        let mut out = [0; FRAME_HEADER_SIZE + END_SIZE];
        out[0] = END;
        out[1..5].copy_from_slice(&(END_SIZE as u32).to_le_bytes());
        out[5] = reason;
        out[6..].copy_from_slice(&value.to_le_bytes());
        out
    }
}

/// Reads fields from the front of bytes.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl Fields<'_> {
    pub(super) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }
}
