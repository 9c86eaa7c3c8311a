//! Reader of frames from a stream, whose bytes arrive in pieces of any size.

use super::MAX_FRAME;
use super::proto::{Malformed, read_varint, varint_length};
use crate::sorted::{SortedMap, SortedSet};
use crate::time::Instant;
use alloy_primitives::Bytes;
use std::time::Duration;

/// Number of bytes of an unfinished frame that don't count against the [`Pool`].
pub const FREE_BYTES: usize = 64 << 10;
/// Number of bytes that all unfinished frames together may hold beyond [`FREE_BYTES`] each.
pub const POOL_BYTES: usize = 48 << 20;
/// Time after which an unfinished frame is given up.
pub const STALLED_AFTER: Duration = Duration::from_secs(30);
/// Time after which a reader that heard nothing gives way to one that waits for memory.
pub const IDLE: Duration = Duration::from_secs(1);
/// Time after which a reader gives way to one that waits for memory, even if it is still hearing
/// something.
pub const SLOW: Duration = Duration::from_secs(4);
/// Length of the longest length prefix: four bytes hold 256 MiB.
const MAX_PREFIX: usize = 4;

/// Memory for unfinished frames that all readers share.
///
/// The last [`MAX_FRAME`] bytes serve one reader at a time, which can therefore always complete its
/// frame: readers never wait for each other in a circle. A reader whose peer is slow holds its
/// memory only as long as no other reader needs it. When one does, all readers that heard nothing
/// for [`IDLE`] are given up. If no reader is that idle, one that has read its frame for [`SLOW`]
/// is given up.
#[derive(Debug)]
pub struct Pool {
    /// Free bytes for all readers.
    free: usize,
    /// Free bytes of the lane, which one reader uses at a time.
    lane: usize,
    in_lane: Option<u64>,
    /// Readers that hold some of these bytes.
    holders: SortedMap<u64, Holder>,
    given_up: SortedSet<u64>,
    next: u64,
}

#[derive(Clone, Copy, Debug)]
struct Holder {
    /// Time since which the peer could have completed the frame.
    since: Instant,
    /// Time of the last byte.
    heard: Instant,
    /// Whether the reader waits for memory, and not for its peer.
    waits: bool,
}

impl Default for Pool {
    fn default() -> Self {
        Self::new(POOL_BYTES)
    }
}

impl Pool {
    /// Creates a pool of `bytes`.
    pub const fn new(bytes: usize) -> Self {
        let lane = if bytes < MAX_FRAME { bytes } else { MAX_FRAME };
        Self {
            free: bytes - lane,
            lane,
            in_lane: None,
            holders: SortedMap::new(),
            given_up: SortedSet::new(),
            next: 0,
        }
    }

    /// Returns the number of bytes that are not in use.
    pub const fn free(&self) -> usize {
        self.free + self.lane
    }

    /// Takes up to `wanted` bytes for a reader: those for all, then those of the lane.
    fn take(&mut self, now: Instant, share: &mut Share, wanted: usize) {
        let common = wanted.min(self.free);
        let id = share.id.unwrap_or(self.next);
        let may_enter = self.in_lane.is_none_or(|other| other == id);
        let lane = if may_enter { (wanted - common).min(self.lane) } else { 0 };
        if common + lane == 0 {
            return;
        }
        if share.id.is_none() {
            share.id = Some(id);
            self.next += 1;
            self.holders.insert(id, Holder { since: now, heard: now, waits: false });
        }
        if lane > 0 {
            self.in_lane = Some(id);
        }
        self.free -= common;
        self.lane -= lane;
        share.common += common;
        share.lane += lane;
    }

    /// Takes a share back.
    fn put(&mut self, share: &mut Share) {
        let share = std::mem::take(share);
        self.free += share.common;
        self.lane += share.lane;
        if let Some(id) = share.id {
            self.holders.remove(&id);
            self.in_lane = self.in_lane.filter(|other| *other != id);
            self.given_up.remove(&id);
        }
    }

    /// Records that a reader received something, or that it waits for memory.
    fn note(&mut self, now: Instant, share: &Share, waits: bool) {
        let Some(holder) = share.id.and_then(|id| self.holders.get_mut(&id)) else { return };
        if holder.waits && !waits {
            holder.since = now;
        }
        (holder.heard, holder.waits) = (now, waits);
    }

    /// Gives up readers, because another one waits, unless memory is about to be free already.
    fn press(&mut self, now: Instant) {
        if !self.given_up.is_empty() {
            return;
        }
        let idle = |holder: &Holder| !holder.waits && now.since(holder.heard) >= IDLE;
        let idle = self.holders.iter().filter(|(_, holder)| idle(holder)).map(|(id, _)| *id);
        self.given_up.extend(idle);
        if self.given_up.is_empty() {
            let slow = |holder: &Holder| !holder.waits && now.since(holder.since) >= SLOW;
            let slow = self.holders.iter().filter(|(_, holder)| slow(holder));
            // The one in the lane makes room for any other.
            let first = slow.min_by_key(|(id, holder)| (self.in_lane != Some(**id), holder.since));
            self.given_up.extend(first.map(|(id, _)| *id));
        }
    }
}

/// A reader's share of the [`Pool`].
#[derive(Debug, Default)]
struct Share {
    /// Its number in the pool, if it holds anything.
    id: Option<u64>,
    common: usize,
    lane: usize,
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
    share: Share,
    /// Time of the first byte of the unfinished frame, or of the end of the last wait for memory.
    began: Option<Instant>,
    /// Whether the pool had no room at the last call.
    waits: bool,
}

impl FrameReader {
    /// Takes bytes off the front of `input`, up to the end of one frame. Returns the number of
    /// bytes taken and the frame if it is complete. Frames of length 0 are skipped.
    ///
    /// If not all of `input` was taken and there is no frame, the pool is exhausted: keep the rest,
    /// read no more from the stream, and call again when another reader completed a frame or was
    /// closed, and once a second. Each such call may give up a reader whose peer is slow: see
    /// [`Self::is_given_up`].
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
        if self.waits && !input.is_empty() {
            (self.began, self.waits) = (None, false);
        }
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
            let granted = self.make_room(now, length, wanted, pool);
            self.frame.extend_from_slice(&rest[..granted]);
            taken += granted;
            if self.frame.len() == length {
                let frame = std::mem::take(&mut self.frame);
                self.close(pool);
                return Ok((taken, Some(frame.into())));
            }
            self.waits = granted < wanted;
            if self.waits {
                break;
            }
        }
        pool.note(now, &self.share, self.waits);
        if self.waits {
            pool.press(now);
        }
        Ok((taken, None))
    }

    /// Gives up the unfinished frame, and returns its memory to the pool.
    pub fn close(&mut self, pool: &mut Pool) {
        pool.put(&mut self.share);
        self.reset();
    }

    /// Returns `true` if a frame has been incomplete for [`STALLED_AFTER`]. The time for which the
    /// reader waits for memory does not count: the peer can't help it.
    pub fn is_stalled(&self, now: Instant) -> bool {
        !self.waits && self.began.is_some_and(|began| now.since(began) >= STALLED_AFTER)
    }

    /// Returns `true` if other readers need this reader's memory, because its peer is slow. Reset
    /// the stream, and [`close`](Self::close) the reader.
    pub fn is_given_up(&self, pool: &Pool) -> bool {
        self.share.id.is_some_and(|id| pool.given_up.contains(&id))
    }

    /// Returns `true` between two frames.
    pub const fn is_idle(&self) -> bool {
        self.began.is_none()
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
        self.waits = false;
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
    fn make_room(&mut self, now: Instant, length: usize, wanted: usize, pool: &mut Pool) -> usize {
        let needed = self.frame.len() + wanted;
        if needed > self.frame.capacity() {
            // Doubling, so that no byte moves more than twice on average.
            let best = needed.max(self.frame.capacity() * 2).min(length);
            let unpaid = best.saturating_sub(self.paid());
            pool.take(now, &mut self.share, unpaid);
            let capacity = best.min(self.paid()).max(self.frame.capacity());
            self.frame.reserve_exact(capacity - self.frame.len());
        }
        wanted.min(self.frame.capacity() - self.frame.len())
    }

    /// Returns the number of bytes that the reader may hold.
    const fn paid(&self) -> usize {
        FREE_BYTES + self.share.common + self.share.lane
    }
}
