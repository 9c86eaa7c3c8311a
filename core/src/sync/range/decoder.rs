//! The reader of an answer, which takes bytes in pieces of any size.

use alloy_primitives::Bytes;

use super::chunk::Chunk;
use super::wire::{
    CHUNK, CHUNK_CONTENTS, CHUNK_HEADER_SIZE, Codec, END, END_SIZE, ENTRY_HEADER_SIZE, End,
    FIRST_SKIPPABLE, FRAME_HEADER_SIZE, Fields, MAX_CONTENTS, MAX_END_SIZE, MAX_SKIPPED,
};

/// Reason why an answer is unreadable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// The kind of a frame is unknown and must not be skipped.
    #[error("frame kind {0:#04x} is unknown")]
    Frame(u8),
    /// The skippable frames are too long.
    #[error("more than {MAX_SKIPPED} bytes are to be skipped")]
    Skipped,
    /// The length of an end is too short or too long.
    #[error("an end has {0} bytes")]
    EndLength(usize),
    /// The codec of a chunk is unknown.
    #[error("codec {0} is unknown")]
    Codec(u8),
    /// A chunk has no blocks, or its contents have no room for them.
    #[error("a chunk of {contents} bytes can't have {blocks} blocks")]
    Blocks {
        /// Announced number of blocks.
        blocks: u16,
        /// Announced size of the contents in bytes.
        contents: usize,
    },
    /// The contents of a chunk are longer than the limit.
    #[error("a chunk announces {announced} bytes, at most {limit} are allowed")]
    Contents {
        /// Announced size in bytes.
        announced: usize,
        /// Maximum size in bytes.
        limit: usize,
    },
    /// The compressed bytes of a chunk are too short, or longer than its contents can need.
    #[error("a chunk has {0} compressed bytes")]
    Compressed(usize),
    /// Bytes follow the end.
    #[error("bytes follow the end")]
    AfterEnd,
    /// The stream ended before the end, or within a frame.
    #[error("the answer has no end")]
    Truncated,
}

/// A frame of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The next blocks downwards.
    Chunk(Chunk),
    /// The last frame.
    End(End),
}

/// Reads an answer that arrives in pieces.
///
/// After an error the decoder is unusable: further calls return the same error.
///
/// # Bounds
/// It holds one unfinished frame, and allocates at most twice the received bytes of it, and at most
/// its announced length. That length is checked against the limit of the contents before anything
/// is collected.
#[derive(Debug)]
pub struct AnswerDecoder {
    limit: usize,
    /// The header of the frame, the chunk's header included.
    head: Vec<u8>,
    data: Vec<u8>,
    /// Remaining bytes of a frame that is being skipped.
    to_skip: usize,
    skipped: usize,
    has_ended: bool,
    failed: Option<StreamError>,
}

impl AnswerDecoder {
    /// Creates a decoder of chunks with at most `limit` bytes of contents.
    pub const fn new(limit: usize) -> Self {
        Self {
            limit,
            head: Vec::new(),
            data: Vec::new(),
            to_skip: 0,
            skipped: 0,
            has_ended: false,
            failed: None,
        }
    }

    /// Takes bytes from the front of `piece` until a frame is complete, and returns it. `None`
    /// means that the whole piece was taken.
    ///
    /// # Errors
    /// The first fault in the answer.
    pub fn next(&mut self, piece: &mut &[u8]) -> Result<Option<Frame>, StreamError> {
        match self.failed {
            Some(error) => Err(error),
            None => self.take(piece).inspect_err(|error| {
                self.failed = Some(*error);
                (self.head, self.data) = (Vec::new(), Vec::new());
            }),
        }
    }

    /// Ends the answer.
    ///
    /// # Errors
    /// An earlier error, or [`StreamError::Truncated`].
    pub fn finish(&self) -> Result<(), StreamError> {
        match self.failed {
            Some(error) => Err(error),
            None if self.has_ended => Ok(()),
            None => Err(StreamError::Truncated),
        }
    }

    /// Returns the number of allocated bytes.
    pub fn bytes(&self) -> usize {
        self.head.capacity() + self.data.capacity()
    }

    fn take(&mut self, piece: &mut &[u8]) -> Result<Option<Frame>, StreamError> {
        while !piece.is_empty() {
            if self.has_ended {
                return Err(StreamError::AfterEnd);
            }
            if self.to_skip > 0 {
                let skipped = self.to_skip.min(piece.len());
                self.to_skip -= skipped;
                *piece = &piece[skipped..];
                continue;
            }
            if !collect(&mut self.head, piece, FRAME_HEADER_SIZE) {
                break;
            }
            let mut fields = Fields(&self.head);
            let (Some([kind]), Some(length)) = (fields.take(), fields.take()) else { break };
            let length = u32::from_le_bytes(length) as usize;
            match kind {
                CHUNK => {
                    if let Some(chunk) = self.chunk(piece, length)? {
                        return Ok(Some(Frame::Chunk(chunk)));
                    }
                }
                END => {
                    if !(END_SIZE..=MAX_END_SIZE).contains(&length) {
                        return Err(StreamError::EndLength(length));
                    }
                    if let Some(end) = self.end(piece, length) {
                        return Ok(Some(Frame::End(end)));
                    }
                }
                FIRST_SKIPPABLE.. => {
                    self.skipped += FRAME_HEADER_SIZE;
                    if length > MAX_SKIPPED.saturating_sub(self.skipped) {
                        return Err(StreamError::Skipped);
                    }
                    self.skipped += length;
                    self.to_skip = length;
                    self.head.clear();
                }
                kind => return Err(StreamError::Frame(kind)),
            }
        }
        Ok(None)
    }

    fn end(&mut self, piece: &mut &[u8], length: usize) -> Option<End> {
        if !collect(&mut self.head, piece, FRAME_HEADER_SIZE + length) {
            return None;
        }
        let mut fields = Fields(&self.head[FRAME_HEADER_SIZE..]);
        let ([reason], value) = (fields.take()?, fields.take()?);
        self.has_ended = true;
        self.head = Vec::new();
        Some(End::from_parts(reason, u64::from_le_bytes(value)))
    }

    fn chunk(&mut self, piece: &mut &[u8], length: usize) -> Result<Option<Chunk>, StreamError> {
        let Some(size) = length.checked_sub(CHUNK_HEADER_SIZE) else {
            return Err(StreamError::Compressed(0));
        };
        if size > Codec::Snappy.largest(self.limit.min(MAX_CONTENTS)) {
            return Err(StreamError::Compressed(size));
        }
        if !collect(&mut self.head, piece, FRAME_HEADER_SIZE + CHUNK_HEADER_SIZE) {
            return Ok(None);
        }
        let mut fields = Fields(&self.head[FRAME_HEADER_SIZE..]);
        let (Some([codec]), Some(blocks), Some(contents)) =
            (fields.take(), fields.take(), fields.take())
        else {
            return Ok(None);
        };
        let (blocks, contents) =
            (u16::from_le_bytes(blocks), u32::from_le_bytes(contents) as usize);
        let codec = Codec::from_byte(codec).ok_or(StreamError::Codec(codec))?;
        if blocks == 0 || contents < usize::from(blocks) * ENTRY_HEADER_SIZE {
            return Err(StreamError::Blocks { blocks, contents });
        }
        let limit = self.limit.min(if blocks == 1 { MAX_CONTENTS } else { CHUNK_CONTENTS });
        if contents > limit {
            return Err(StreamError::Contents { announced: contents, limit });
        }
        if size == 0 || size > codec.largest(contents) {
            return Err(StreamError::Compressed(size));
        }
        if !collect(&mut self.data, piece, size) {
            return Ok(None);
        }
        self.head.clear();
        self.skipped = 0;
        let data = Bytes::from(std::mem::take(&mut self.data));
        Ok(Some(Chunk { codec, blocks, contents, data }))
    }
}

/// Moves bytes from the piece until `into` has `wanted` of them. Returns whether it has.
fn collect(into: &mut Vec<u8>, piece: &mut &[u8], wanted: usize) -> bool {
    let taken = wanted.saturating_sub(into.len()).min(piece.len());
    let length = into.len() + taken;
    if length > into.capacity() {
        into.reserve_exact((2 * length).min(wanted) - into.len());
    }
    into.extend_from_slice(&piece[..taken]);
    *piece = &piece[taken..];
    into.len() >= wanted
}
