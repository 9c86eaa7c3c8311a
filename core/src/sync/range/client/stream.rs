//! One stream of an answer, as the client sees it.

use std::collections::VecDeque;
use std::time::Duration;

use alloy_primitives::B256;

use super::{CheckId, LARGEST_LOWER};
use crate::peers::PeerId;
use crate::sync::range::chunk::{Chunk, ChunkWork};
use crate::sync::range::decoder::{AnswerDecoder, Frame, StreamError};
use crate::sync::range::wire::{Codec, End, MAX_CONTENTS, Request};
use crate::time::Instant;

/// Reason why a stream yields no further block, other than an end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Breach {
    /// The bytes are unreadable.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The server sends more blocks than requested.
    #[error("more blocks than requested")]
    Blocks,
    /// The server sends more bytes of contents than requested.
    #[error("more bytes than requested")]
    Bytes,
}

/// A stream and what arrived on it.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) peer: PeerId,
    /// Whether it has a segment. Another stream took over that of a stream without one, which is
    /// only kept to see whether its server answers at all.
    pub(super) has_segment: bool,
    pub(super) opened: Instant,
    /// Time when blocks last arrived, or when the wait was last partly ours.
    pub(super) progress: Instant,
    /// Time when bytes last arrived, or when the wait was last partly ours.
    pub(super) heard: Instant,
    /// Contents of checked chunks, in bytes.
    pub(super) delivered: u64,
    /// Number of checked blocks.
    pub(super) blocks: u32,
    /// Whether it may carry blocks of any size.
    pub(super) is_wide: bool,
    /// Hash of the first requested block, if it was requested by its hash.
    pub(super) asked: Option<B256>,
    decoder: AnswerDecoder,
    /// Blocks and bytes that may still be announced.
    left: (u32, u64),
    queue: VecDeque<Chunk>,
    queued: usize,
    /// The check that runs, and the sizes of its chunk: compressed and contents.
    pub(super) checking: Option<(CheckId, usize, usize)>,
    /// The end, and the breach, that count once all chunks before are checked.
    pub(super) end: Option<Result<End, Breach>>,
}

/// Returns the maximum size in bytes of the contents of one chunk.
const fn limit(is_wide: bool) -> usize {
    if is_wide { MAX_CONTENTS } else { LARGEST_LOWER }
}

/// Returns the maximum number of compressed bytes that a stream holds.
pub(super) const fn window(is_wide: bool) -> usize {
    Codec::Snappy.largest(limit(is_wide)) + (64 << 10)
}

impl Stream {
    pub(super) fn new(now: Instant, peer: PeerId, request: &Request, is_wide: bool) -> Self {
        Self {
            peer,
            has_segment: true,
            opened: now,
            progress: now,
            heard: now,
            delivered: 0,
            blocks: 0,
            is_wide,
            asked: request.first.hash(),
            decoder: AnswerDecoder::new(limit(is_wide)),
            left: (request.blocks, request.bytes),
            queue: VecDeque::new(),
            queued: 0,
            checking: None,
            end: None,
        }
    }

    /// Takes bytes of the answer.
    pub(super) fn push(&mut self, mut piece: &[u8]) {
        while self.end.is_none() {
            match self.decoder.next(&mut piece) {
                Ok(Some(Frame::End(end))) => self.end = Some(Ok(end)),
                Ok(Some(Frame::Chunk(chunk))) => {
                    let (blocks, bytes) = (u32::from(chunk.blocks), chunk.contents as u64);
                    if blocks > self.left.0 {
                        self.end = Some(Err(Breach::Blocks));
                    } else if bytes > self.left.1 {
                        self.end = Some(Err(Breach::Bytes));
                    } else {
                        self.left = (self.left.0 - blocks, self.left.1 - bytes);
                        self.queued += chunk.data.len();
                        self.queue.push_back(chunk);
                    }
                }
                Ok(None) => return,
                Err(error) => self.end = Some(Err(error.into())),
            }
        }
    }

    /// Records that no more bytes will come.
    pub(super) fn close(&mut self) {
        if self.end.is_none() {
            self.end = Some(Err(Breach::Stream(StreamError::Truncated)));
        }
    }

    /// Returns the next check if none runs.
    pub(super) fn next_check(
        &mut self,
        id: CheckId,
        number: u64,
        hash: Option<alloy_primitives::B256>,
    ) -> Option<ChunkWork> {
        if self.checking.is_some() {
            return None;
        }
        let chunk = self.queue.pop_front()?;
        self.queued -= chunk.data.len();
        self.checking = Some((id, chunk.data.len(), chunk.contents));
        Some(ChunkWork::new(chunk, number, hash))
    }

    pub(super) fn has_queue(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Returns `true` if the stream waits only for its server.
    pub(super) fn awaits_server(&self) -> bool {
        self.checking.is_none() && self.queue.is_empty() && self.end.is_none()
    }

    /// Returns the number of compressed bytes that it holds.
    pub(super) fn held(&self) -> usize {
        self.decoder.bytes() + self.queued + self.checking.map_or(0, |(_, packed, _)| packed)
    }

    /// Returns the number of bytes that may be read from it now.
    pub(super) fn credit(&self) -> usize {
        window(self.is_wide).saturating_sub(self.held())
    }

    /// Returns all bytes that it holds or that its check may allocate.
    pub(super) fn memory(&self) -> usize {
        self.held() + self.checking.map_or(0, |(_, _, contents)| 2 * contents)
    }

    /// Drops the bytes that it holds.
    pub(super) fn abandon(&mut self) {
        self.has_segment = false;
        self.queue.clear();
        self.queued = 0;
        self.decoder = AnswerDecoder::new(0);
    }

    pub(super) fn rate(&self, now: Instant) -> u64 {
        let millis = u64::try_from(now.since(self.opened).as_millis()).unwrap_or(u64::MAX);
        self.delivered.saturating_mul(1000) / millis.max(1)
    }

    pub(super) fn waits(&self, now: Instant) -> Duration {
        now.since(self.progress)
    }
}
