//! Frames out of a stream's bytes, in any pieces.

use super::MAX_FRAME;
use super::proto::{Malformed, read_varint, varint_length};
use crate::time::Instant;
use alloy_primitives::Bytes;
use std::time::Duration;

/// Number of bytes of an unfinished frame that don't count against the [`Pool`].
pub const FREE_BYTES: usize = 64 << 10;
/// Number of bytes that all unfinished frames together may hold beyond [`FREE_BYTES`] each.
pub const POOL_BYTES: usize = 48 << 20;
/// Time after which an unfinished frame is given up.
pub const STALLED_AFTER: Duration = Duration::from_secs(30);
/// Length of the longest length prefix: four bytes hold 256 MiB.
const MAX_PREFIX: usize = 4;

/// Memory for unfinished frames that all readers share.
#[derive(Debug)]
pub struct Pool {
    free: usize,
}

impl Default for Pool {
    fn default() -> Self {
        Self::new(POOL_BYTES)
    }
}

impl Pool {
    /// Creates a pool of `bytes`.
    pub const fn new(bytes: usize) -> Self {
        Self { free: bytes }
    }

    /// Returns the number of bytes that are not in use.
    pub const fn free(&self) -> usize {
        self.free
    }
}

/// Reads the frames of one incoming stream.
///
/// Memory grows with the bytes that arrived, never with the length that a prefix states. A reader
/// that is dropped before [`Self::close`] keeps its share of the pool.
#[derive(Debug, Default)]
pub struct FrameReader {
    /// The length prefix as far as it arrived.
    prefix: Vec<u8>,
    /// The length of the frame that is being read.
    length: Option<usize>,
    frame: Vec<u8>,
    /// Bytes taken from the pool.
    pooled: usize,
    /// Time of the first byte of the unfinished frame.
    began: Option<Instant>,
}

impl FrameReader {
    /// Takes bytes off the front of `input`, up to the end of one frame. Returns the number of
    /// bytes taken and the frame if it is complete. Frames of length 0 are skipped.
    ///
    /// If not all of `input` was taken and there is no frame, the pool is exhausted: keep the rest,
    /// and read no more from the stream until there is room.
    ///
    /// # Errors
    /// The stream is not gossipsub's. Reset it; later calls return errors as well.
    pub fn read(
        &mut self,
        now: Instant,
        input: &[u8],
        pool: &mut Pool,
    ) -> Result<(usize, Option<Bytes>), Malformed> {
        let mut taken = 0;
        while taken < input.len() {
            self.began.get_or_insert(now);
            let Some(length) = self.length else {
                self.prefix.push(input[taken]);
                taken += 1;
                self.length = self.read_prefix()?;
                if self.length == Some(0) {
                    self.reset();
                }
                continue;
            };
            let rest = &input[taken..];
            let wanted = (length - self.frame.len()).min(rest.len());
            let granted = self.make_room(length, wanted, pool);
            self.frame.extend_from_slice(&rest[..granted]);
            taken += granted;
            if self.frame.len() == length {
                let frame = std::mem::take(&mut self.frame);
                self.close(pool);
                return Ok((taken, Some(frame.into())));
            }
            if granted < wanted {
                break;
            }
        }
        Ok((taken, None))
    }

    /// Gives up the unfinished frame, and returns its memory to the pool.
    pub fn close(&mut self, pool: &mut Pool) {
        pool.free += std::mem::take(&mut self.pooled);
        self.reset();
    }

    /// Returns `true` if a frame has been incomplete for [`STALLED_AFTER`].
    pub fn is_stalled(&self, now: Instant) -> bool {
        self.began.is_some_and(|began| now.since(began) >= STALLED_AFTER)
    }

    /// Returns the number of bytes held.
    pub const fn held(&self) -> usize {
        self.frame.capacity()
    }

    fn reset(&mut self) {
        self.prefix.clear();
        self.length = None;
        self.frame = Vec::new();
        self.began = None;
    }

    fn read_prefix(&self) -> Result<Option<usize>, Malformed> {
        let Some((length, size)) = read_varint(&self.prefix)? else {
            return if self.prefix.len() < MAX_PREFIX { Ok(None) } else { Err(Malformed::Varint) };
        };
        if size != varint_length(length) {
            return Err(Malformed::Padded);
        }
        match usize::try_from(length) {
            Ok(length) if length <= MAX_FRAME => Ok(Some(length)),
            _ => Err(Malformed::TooLong(length)),
        }
    }

    /// Makes room for up to `wanted` further bytes of a frame of `length`; returns for how many.
    fn make_room(&mut self, length: usize, wanted: usize, pool: &mut Pool) -> usize {
        let needed = self.frame.len() + wanted;
        if needed > self.frame.capacity() {
            // Doubling, so that no byte moves more than twice on average.
            let best = needed.max(self.frame.capacity() * 2).min(length);
            let payable = FREE_BYTES + self.pooled + pool.free;
            let capacity = best.min(payable).max(self.frame.capacity());
            let pooled = capacity.saturating_sub(FREE_BYTES).max(self.pooled);
            pool.free -= pooled - self.pooled;
            self.pooled = pooled;
            self.frame.reserve_exact(capacity - self.frame.len());
        }
        wanted.min(self.frame.capacity() - self.frame.len())
    }
}
