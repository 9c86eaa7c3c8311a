//! The range server: decides which stream is served next, how much, and how it ends.
//!
//! It has no blocks of its own. It orders reads from the store, and the driver packs the blocks
//! into chunks on the thread that reads them (see [`Packer`](super::Packer)). A read may begin
//! while the chunk before it is being written.
//!
//! # Shares
//! * The cost of an answer, its bytes and its reads, is taken from the bucket of its peer and from
//!   the bucket of all peers: an estimate when a read begins, and the rest when it is known. So a
//!   bucket may be overdrawn, and the next read waits until it no longer is.
//! * The next read is that of the class that had the least in proportion to its share, then of the
//!   peer that had the least, then of that peer's oldest stream. A single peer gets the whole
//!   capacity. An idle peer saves up no claim.
//! * [`RangeServer::hold`] stops reads and writes, so that gossip comes first.
//!
//! # Bounds
//! * Streams: [`RangeServerConfig::streams`], and [`RangeServerConfig::streams_per_peer`] of one
//!   peer. Any connected peer can fill its own; a further request ends with [`End::Limited`].
//! * Reads in progress: [`RangeServerConfig::reads`], those for cancelled streams included.
//! * Bytes: no read begins while chunks that wait or are being written have
//!   [`RangeServerConfig::buffer`] bytes, or a quarter of that for one peer. So there are at most
//!   that many plus one chunk for each read. A peer that does not read loses its stream after
//!   [`RangeServerConfig::write_deadline`].
//! * Peers: [`RangeServerConfig::peers`]. A peer without streams and with full buckets needs no
//!   entry. If the others fill the table, a new peer's request ends with [`End::Limited`].

use std::collections::VecDeque;
use std::time::Duration;

use alloy_primitives::Bytes;

use super::chunk::Packed;
use super::cost::{Cost, Limits, Purse, share};
use super::counts::{Ending, RangeCounts};
use super::wire::{End, First, Request, RequestError};
use crate::peers::PeerId;
use crate::sorted::{SortedMap, SortedSet};
use crate::time::Instant;

/// Wait that the server names if it has no place for a requester, or lacks its next block.
const NO_PLACE: Duration = Duration::from_secs(1);

/// Estimated cost of the first read for a stream.
const FIRST_ESTIMATE: Cost = Cost { bytes: 64 << 10, reads: 1 };

/// Limits of a [`RangeServer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RangeServerConfig {
    /// Id of the served chain.
    pub chain_id: u64,
    /// Limits of all peers together.
    pub total: Limits,
    /// Limits of each peer.
    pub per_peer: Limits,
    /// Share of browsers, in percent, while other peers want blocks as well. From 1 to 99.
    pub browsers: u8,
    /// Maximum number of streams.
    pub streams: usize,
    /// Maximum number of streams of one peer.
    pub streams_per_peer: usize,
    /// Maximum number of reads in progress.
    pub reads: usize,
    /// Size in bytes of chunks that wait or are being written, from which no read begins.
    pub buffer: usize,
    /// Maximum number of remembered peers.
    pub peers: usize,
    /// Maximum time in which a peer must take a chunk.
    pub write_deadline: Duration,
    /// Longest wait for a read. A stream that would wait longer ends with [`End::Limited`].
    pub longest_wait: Duration,
}

impl RangeServerConfig {
    /// Returns the default limits for a chain: no limits of costs, a quarter for browsers, 128
    /// streams, 8 of one peer, 4 reads, 64 MiB, 1,000 peers, 20 s for a write and 5 s of waiting,
    /// which is less than a requester's patience.
    pub const fn new(chain_id: u64) -> Self {
        Self {
            chain_id,
            total: Limits::UNLIMITED,
            per_peer: Limits::UNLIMITED,
            browsers: 25,
            streams: 128,
            streams_per_peer: 8,
            reads: 4,
            buffer: 64 << 20,
            peers: 1000,
            write_deadline: Duration::from_secs(20),
            longest_wait: Duration::from_secs(5),
        }
    }
}

/// The driver's id of a stream with a request. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RangeServeId(pub u64);

/// Class of a requester, as the driver knows it by the transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// A native node.
    Node,
    /// A page in a browser.
    Browser,
}

/// Contents of the store below the blocks that were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The next block, which did not fit into the chunk or was not ordered.
    Block(First),
    /// The next block alone exceeds the ordered bytes.
    TooLarge,
    /// The store keeps no further block.
    NoMore {
        /// Lowest number that the store has.
        lowest: u64,
    },
    /// The store never had the first ordered block.
    NeverHad {
        /// Highest number that the store has.
        highest: u64,
    },
    /// The store can't be read.
    Failed,
}

/// Result of a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadDone {
    /// The blocks that were read, if there are any.
    pub packed: Option<Packed>,
    /// Contents of the store below them.
    pub next: Next,
}

impl ReadDone {
    /// Returns the result of a read that failed.
    pub const fn failed() -> Self {
        Self { packed: None, next: Next::Failed }
    }
}

/// Action for a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RangeServeStep {
    /// Read blocks downwards into one chunk. [`RangeServer::read`] must follow, even if the stream
    /// is cancelled before.
    Read {
        /// Id of the stream.
        id: RangeServeId,
        /// First block to read.
        first: First,
        /// Maximum number of blocks.
        blocks: u32,
        /// Maximum size of the chunk's contents in bytes.
        bytes: u64,
    },
    /// Write a chunk. [`RangeServer::written`] must follow when the stream has taken it.
    Write {
        /// Id of the stream.
        id: RangeServeId,
        /// The bytes.
        frame: Bytes,
    },
    /// Write the encoded end and close the stream, which is no longer known.
    End {
        /// Id of the stream.
        id: RangeServeId,
        /// Peer that sent the request.
        from: PeerId,
        /// The reason.
        end: End,
    },
    /// Reset the stream, which is no longer known: its peer does not read.
    Reset {
        /// Id of the stream.
        id: RangeServeId,
        /// Peer that sent the request.
        from: PeerId,
    },
}

#[derive(Debug)]
struct Stream {
    from: PeerId,
    next: First,
    blocks: u32,
    bytes: u64,
    is_reading: bool,
    /// The chunk that waits until the one before is written.
    ready: Option<Packed>,
    /// Since when a chunk is being written, and its size in bytes.
    writing: Option<(Instant, usize)>,
    end: Option<End>,
    /// Whether blocks were read for it.
    has_blocks: bool,
    /// Since when the stream could be read for.
    waits_since: Instant,
    /// Estimated cost of a read: that of the one before.
    estimate: Cost,
}

impl Stream {
    fn buffered(&self) -> usize {
        let ready = self.ready.as_ref().map_or(0, |packed| packed.frame.len());
        ready + self.writing.map_or(0, |(_, size)| size)
    }

    const fn wants_read(&self) -> bool {
        !self.is_reading && self.ready.is_none() && self.end.is_none()
    }
}

#[derive(Debug)]
struct Peer {
    class: Class,
    purse: Purse,
    /// Bytes that it was served, brought forward to those of the others when it returns.
    served: u64,
    streams: usize,
}

/// Serves ranges of blocks to peers: see the module's documentation.
#[derive(Debug)]
pub struct RangeServer {
    config: RangeServerConfig,
    total: Purse,
    peers: SortedMap<PeerId, Peer>,
    streams: SortedMap<RangeServeId, Stream>,
    /// Bytes that each class was served, divided by its share.
    served: [u64; 2],
    reads: usize,
    /// Streams that are gone and whose reads are still in progress, so that requests that are
    /// cancelled at once can't start ever more reads.
    lost_reads: SortedSet<RangeServeId>,
    is_held: bool,
    is_off: bool,
    counts: RangeCounts,
    steps: VecDeque<RangeServeStep>,
}

impl RangeServer {
    /// Creates a server without streams.
    pub fn new(config: RangeServerConfig) -> Self {
        let config = RangeServerConfig {
            browsers: config.browsers.clamp(1, 99),
            reads: config.reads.max(1),
            buffer: config.buffer.max(1),
            ..config
        };
        Self {
            total: Purse::new(config.total),
            peers: SortedMap::new(),
            streams: SortedMap::new(),
            served: [0; 2],
            reads: 0,
            lost_reads: SortedSet::new(),
            is_held: false,
            is_off: false,
            counts: RangeCounts::default(),
            steps: VecDeque::new(),
            config,
        }
    }

    /// Sets the limits of costs from now on.
    pub fn set_limits(&mut self, total: Limits, per_peer: Limits) {
        (self.config.total, self.config.per_peer) = (total, per_peer);
        self.total.set_limits(total);
        for peer in self.peers.values_mut() {
            peer.purse.set_limits(per_peer);
        }
    }

    /// Stops reads and writes while `held`, for example while gossip waits to be sent.
    pub const fn hold(&mut self, held: bool) {
        self.is_held = held;
    }

    /// Refuses further requests while `off`. Streams continue.
    pub const fn turn_off(&mut self, off: bool) {
        self.is_off = off;
    }

    /// Takes a peer's request, or the reason why its bytes are not one.
    pub fn request(
        &mut self,
        now: Instant,
        from: PeerId,
        class: Class,
        id: RangeServeId,
        request: Result<Request, RequestError>,
    ) {
        if self.streams.contains_key(&id) {
            return;
        }
        let admitted = self.admit(now, &from, class, &request);
        let (request, end) = match (request, admitted) {
            (Ok(request), None) => (request, None),
            (_, end) => {
                let end = end.unwrap_or(End::Invalid);
                self.steps.push_back(RangeServeStep::End { id, from, end });
                return;
            }
        };
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.streams += 1;
        }
        let Request { first, blocks, bytes, .. } = request;
        let stream = Stream {
            from,
            next: first,
            blocks,
            bytes,
            is_reading: false,
            ready: None,
            writing: None,
            end,
            has_blocks: false,
            waits_since: now,
            estimate: FIRST_ESTIMATE,
        };
        self.streams.insert(id, stream);
    }

    /// Takes the result of a read, also for a stream that is gone.
    pub fn read(&mut self, now: Instant, id: RangeServeId, done: ReadDone) {
        if self.lost_reads.remove(&id) {
            self.reads = self.reads.saturating_sub(1);
            return;
        }
        let Some(stream) = self.streams.get_mut(&id).filter(|stream| stream.is_reading) else {
            return;
        };
        stream.is_reading = false;
        self.reads = self.reads.saturating_sub(1);
        stream.waits_since = now;
        let blocks = done.packed.as_ref().map_or(0, |packed| u32::from(packed.blocks));
        let contents = done.packed.as_ref().map_or(0, |packed| packed.contents as u64);
        let cost = done.packed.as_ref().map_or(0, |packed| packed.frame.len() as u64);
        let has_too_much = blocks > stream.blocks || contents > stream.bytes;
        stream.blocks = stream.blocks.saturating_sub(blocks);
        stream.bytes = stream.bytes.saturating_sub(contents);
        stream.ready = done.packed.filter(|_| !has_too_much);
        stream.end = match done.next {
            _ if has_too_much => Some(End::Failed),
            _ if stream.blocks == 0 => Some(End::Complete),
            Next::Block(_) if blocks == 0 => Some(End::Failed),
            Next::Block(first) => {
                stream.next = first;
                None
            }
            Next::TooLarge => Some(End::Complete),
            Next::NoMore { lowest } => Some(End::NoMore { lowest }),
            Next::NeverHad { .. } if blocks > 0 => Some(End::Failed),
            // The chain changed during the answer, or the store is behind: the next block is the
            // parent of one that was sent, so the server must not claim that it never had the
            // block.
            Next::NeverHad { .. } if stream.has_blocks => Some(End::Limited { retry: NO_PLACE }),
            Next::NeverHad { highest } => Some(End::NeverHad { highest }),
            Next::Failed => Some(End::Failed),
        };
        stream.has_blocks |= blocks > 0;
        // A read that finds no block has a cost too.
        let cost = Cost { bytes: cost.max(1024), reads: u64::from(blocks.max(1)) };
        let (from, estimate) = (stream.from, std::mem::replace(&mut stream.estimate, cost));
        self.refund(&from, estimate);
        self.charge(now, &from, cost);
    }

    /// Records that the stream has taken the chunk.
    pub fn written(&mut self, now: Instant, id: RangeServeId) {
        if let Some(stream) = self.streams.get_mut(&id)
            && stream.writing.take().is_some()
        {
            stream.waits_since = stream.waits_since.max(now);
        }
    }

    /// Records that the requester cancelled the stream, or that it broke.
    pub fn cancelled(&mut self, now: Instant, id: RangeServeId) {
        if self.streams.contains_key(&id) {
            self.counts.ended(Ending::Lost);
        }
        self.remove(now, id);
    }

    /// Returns the next step.
    pub fn poll(&mut self, now: Instant) -> Option<RangeServeStep> {
        let queued = self.steps.pop_front();
        let step = queued
            .or_else(|| self.expire(now))
            .or_else(|| if self.is_held { None } else { self.write(now) })
            .or_else(|| if self.is_held { None } else { self.start_read(now) });
        match &step {
            Some(RangeServeStep::End { end, .. }) => self.counts.ended(Ending::Named(*end)),
            Some(RangeServeStep::Reset { .. }) => self.counts.ended(Ending::Reset),
            _ => {}
        }
        step
    }

    /// Returns when [`Self::poll`] next has something to do, unless something happens before.
    pub fn next_wakeup(&self) -> Option<Instant> {
        let deadlines = self.streams.values().filter_map(|stream| self.deadline(stream));
        let may_read = !self.is_held && self.reads < self.config.reads;
        let reads = self.streams.values().filter(|stream| may_read && self.may_read(stream));
        let reads = reads.map(|stream| self.ready_at(stream));
        deadlines.chain(reads).min()
    }

    /// Returns what was served so far.
    pub const fn counts(&self) -> &RangeCounts {
        &self.counts
    }

    /// Returns the number of streams.
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Returns the number of reads in progress.
    pub const fn reads(&self) -> usize {
        self.reads
    }

    /// Returns the number of remembered peers.
    pub fn peers(&self) -> usize {
        self.peers.len()
    }

    /// Returns the size in bytes of the chunks that wait or are being written.
    pub fn buffered(&self) -> usize {
        self.streams.values().map(Stream::buffered).sum()
    }

    /// Returns why a request ends at once, or `None` if it is admitted and its peer has an entry.
    fn admit(
        &mut self,
        now: Instant,
        from: &PeerId,
        class: Class,
        request: &Result<Request, RequestError>,
    ) -> Option<End> {
        let Ok(request) = request else { return Some(End::Invalid) };
        if request.chain_id != self.config.chain_id {
            return Some(End::OtherChain { chain_id: self.config.chain_id });
        }
        if self.is_off {
            return Some(End::Refused);
        }
        let limited = Some(End::Limited { retry: NO_PLACE });
        if self.streams.len() >= self.config.streams {
            return limited;
        }
        if let Some(peer) = self.peers.get_mut(from) {
            if peer.streams >= self.config.streams_per_peer {
                return limited;
            }
            if peer.streams == 0 {
                peer.class = class;
            }
        } else {
            self.peers.retain(|_, peer| peer.streams > 0 || !peer.purse.is_full(now));
            if self.peers.len() >= self.config.peers {
                return limited;
            }
            let purse = Purse::new(self.config.per_peer);
            self.peers.insert(*from, Peer { class, purse, served: 0, streams: 0 });
        }
        self.bring_forward(from, class);
        None
    }

    /// Makes a peer that returns, and its class, start at the level of the others.
    fn bring_forward(&mut self, from: &PeerId, class: Class) {
        let is_busy = |peer: &&Peer| peer.streams > 0;
        if self.peers.values().filter(is_busy).all(|peer| peer.class != class) {
            let at = class as usize;
            if self.peers.values().any(|peer| peer.streams > 0) {
                self.served[at] = self.served[at].max(self.served[1 - at]);
            }
        }
        let least = self.peers.values().filter(is_busy).filter(|peer| peer.class == class);
        let least = least.map(|peer| peer.served).min();
        if let Some(peer) = self.peers.get_mut(from).filter(|peer| peer.streams == 0) {
            peer.served = peer.served.max(least.unwrap_or(0));
        }
    }

    fn charge(&mut self, now: Instant, from: &PeerId, cost: Cost) {
        let Some(peer) = self.peers.get_mut(from) else { return };
        peer.purse.take(now, cost);
        self.total.take(now, cost);
        peer.served = peer.served.saturating_add(cost.bytes);
        let served = &mut self.served[peer.class as usize];
        *served = served.saturating_add(cost.bytes * 100 / share(self.config.browsers, peer.class));
    }

    fn refund(&mut self, from: &PeerId, cost: Cost) {
        let Some(peer) = self.peers.get_mut(from) else { return };
        peer.purse.give_back(cost);
        self.total.give_back(cost);
        peer.served = peer.served.saturating_sub(cost.bytes);
        let served = &mut self.served[peer.class as usize];
        *served = served.saturating_sub(cost.bytes * 100 / share(self.config.browsers, peer.class));
    }

    fn deadline(&self, stream: &Stream) -> Option<Instant> {
        match stream.writing {
            Some((since, _)) => Some(since + self.config.write_deadline),
            None if stream.wants_read() => Some(stream.waits_since + self.config.longest_wait),
            None => None,
        }
    }

    /// Ends a stream that waited too long for its peer or for its turn.
    fn expire(&mut self, now: Instant) -> Option<RangeServeStep> {
        let due = |stream: &Stream| self.deadline(stream).is_some_and(|due| due <= now);
        let (id, stream) = self.streams.iter().find(|(_, stream)| due(stream))?;
        let (id, from) = (*id, stream.from);
        if stream.writing.is_some() {
            self.remove(now, id);
            return Some(RangeServeStep::Reset { id, from });
        }
        let retry = self.ready_at(stream).since(now).max(NO_PLACE);
        self.remove(now, id);
        Some(RangeServeStep::End { id, from, end: End::Limited { retry } })
    }

    fn write(&mut self, now: Instant) -> Option<RangeServeStep> {
        let is_due = |stream: &Stream| {
            stream.writing.is_none() && (stream.ready.is_some() || stream.end.is_some())
        };
        let (id, _) = self.streams.iter().find(|(_, stream)| is_due(stream))?;
        let id = *id;
        let stream = self.streams.get_mut(&id)?;
        if let Some(packed) = stream.ready.take() {
            stream.writing = Some((now, packed.frame.len()));
            self.counts.sent(packed.blocks.into(), packed.frame.len());
            return Some(RangeServeStep::Write { id, frame: packed.frame });
        }
        let (from, end) = (stream.from, stream.end?);
        self.remove(now, id);
        Some(RangeServeStep::End { id, from, end })
    }

    fn start_read(&mut self, now: Instant) -> Option<RangeServeStep> {
        if self.reads >= self.config.reads {
            return None;
        }
        let ready = self
            .streams
            .iter()
            .filter(|(_, stream)| self.may_read(stream) && self.ready_at(stream) <= now);
        let order = |(id, stream): &(&RangeServeId, &Stream)| {
            let peer = self.peers.get(&stream.from);
            peer.map(|peer| (self.served[peer.class as usize], peer.served, **id))
        };
        let (id, _) = ready.min_by_key(order)?;
        let id = *id;
        let stream = self.streams.get_mut(&id)?;
        stream.is_reading = true;
        self.reads += 1;
        let Stream { from, next: first, blocks, bytes, estimate, .. } = *stream;
        self.charge(now, &from, estimate);
        Some(RangeServeStep::Read { id, first, blocks, bytes })
    }

    /// Returns `true` if there is room for the stream's next read.
    fn may_read(&self, stream: &Stream) -> bool {
        if !stream.wants_read() {
            return false;
        }
        let of_peer = self.streams.values().filter(|other| other.from == stream.from);
        let of_peer: usize = of_peer.map(Stream::buffered).sum();
        self.buffered() < self.config.buffer && of_peer <= self.config.buffer / 4
    }

    /// Returns when the costs of earlier reads are paid. The time may have passed.
    fn ready_at(&self, stream: &Stream) -> Instant {
        let peer = self.peers.get(&stream.from).map(|peer| peer.purse.ready_at());
        self.total.ready_at().max(peer.unwrap_or_default())
    }

    fn remove(&mut self, now: Instant, id: RangeServeId) {
        let Some(stream) = self.streams.remove(&id) else { return };
        if stream.is_reading {
            // Its cost is unknown: the estimate stays.
            self.lost_reads.insert(id);
        }
        if let Some(peer) = self.peers.get_mut(&stream.from) {
            peer.streams = peer.streams.saturating_sub(1);
            if peer.streams == 0 && peer.purse.is_full(now) {
                self.peers.remove(&stream.from);
            }
        }
    }
}
