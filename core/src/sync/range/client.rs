//! The segment client: fetches a range of blocks in streams from several servers at once.
//!
//! The range is split into **segments**, highest first, each fetched by one stream. The first one
//! holds the *frontier*: the next block to prove, whose hash is known. Its blocks are passed on as
//! soon as they are checked. Segments below are requested by number, and held until the frontier
//! reaches them. A segment whose stream ends early keeps its blocks; the rest becomes a segment of
//! its own, whose first hash is then known.
//!
//! A segment has the size that its server has proved to deliver in [`SEGMENT_TIME`], and
//! [`FIRST_BLOCKS`] for a server that has not delivered yet. The fastest server gets the frontier.
//!
//! # Faults of servers
//! * Lacking blocks, limiting or refusing us, and a lost connection: no penalty. The server rests.
//! * A breach of the layout, a cut answer, or silence for [`STALL`]: [`Conduct::ErrorResponse`].
//! * A block with a false hash, a wrong number, or without the link to the one above:
//!   [`Conduct::RejectedPayload`].
//! * A segment that does not link to the frontier: [`Conduct::RejectedPayload`], [`CHARGE_HELD`]
//!   later and unless it is excused by then, since the server may follow another branch of the
//!   sequencer's. The server is asked once more before that: see `recheck`.
//! * Slowness: no penalty. At the frontier, a silent or far slower server loses its segment if a
//!   proven one is free. All get smaller segments the less they deliver.
//! * Proved blocks: [`Conduct::ValidResponse`], once for [`PRAISE`] of them.
//!
//! Every rest ends. So the client recovers as long as one honest server has the blocks.
//!
//! # Bounds
//! * Bytes: [`SegmentClientConfig::bytes`], which counts what streams hold, checks allocate and
//!   segments keep. [`FRONTIER_RESERVE`] of it is for the frontier, whose blocks may have any size,
//!   and for the test of a charge.
//!   A segment below reserves its requested bytes and [`LOWER_OVERHEAD`] before it is requested.
//!   The driver reads no more from a stream than its [credit](SegmentClient::credit).
//! * Streams: [`SegmentClientConfig::streams_per_server`] and one more for the frontier.
//! * Segments: one for each stream, those that the bytes allow, and one rest for each of them.
//! * Servers and charges: [`SegmentClientConfig::servers`].
//! * Steps: those of one call.

mod judge;
mod plan;
mod recheck;
mod servers;
mod share;
mod stream;

use std::collections::VecDeque;
use std::time::Duration;

use alloy_primitives::B256;

use super::chunk::{Checked, ChunkWork};
use super::counts::{Ending, RangeCounts};
use super::wire::{CODECS, Codec, MAX_CONTENTS, Request};
use crate::chain::{BlockId, ChainBlock};
use crate::payload::Block;
use crate::peers::{Conduct, PeerId};
use crate::sorted::SortedMap;
use crate::sync::client::{Charges, Range};
use crate::time::Instant;
use recheck::Recheck;
use servers::Servers;
use stream::Stream;

pub use stream::Breach;

/// Time in which a server should deliver a segment.
pub const SEGMENT_TIME: Duration = Duration::from_secs(2);
/// Number of blocks of the first segment of a server.
pub const FIRST_BLOCKS: u32 = 64;
/// Time without a block after which a server loses the frontier to a proven one.
const LATE: Duration = Duration::from_secs(1);
/// Time without a block after which another client should help, even if bytes arrive.
const SLOW: Duration = Duration::from_secs(4);
/// Time without a block after which a stream counts as silent.
pub const STALL: Duration = Duration::from_secs(10);
/// Number of proved blocks that count as one good conduct.
pub const PRAISE: u64 = 64;
/// Maximum size in bytes of the contents of a chunk below the frontier.
const LARGEST_LOWER: usize = 1 << 20;
/// Maximum size in bytes of the blocks of a segment below the frontier.
const LARGEST_SEGMENT: u64 = 8 << 20;
/// Memory in bytes that a held block takes besides its contents.
const BLOCK_OVERHEAD: usize = 512;
/// Memory in bytes that is kept for the frontier, and for the test of a charge.
pub const FRONTIER_RESERVE: usize =
    stream::window(true) + 2 * MAX_CONTENTS + (1 << 20) + LOWER_OVERHEAD;
/// Memory in bytes that a segment below the frontier reserves besides its blocks.
pub const LOWER_OVERHEAD: usize = stream::window(false) + 2 * LARGEST_LOWER;

/// Settings and bounds of a [`SegmentClient`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentClientConfig {
    /// Id of the chain.
    pub chain_id: u64,
    /// Maximum memory in bytes; at least [`FRONTIER_RESERVE`]. With no more than that, only the
    /// frontier is fetched.
    pub bytes: usize,
    /// Maximum number of streams to one server. Several keep a line with a long round trip busy,
    /// since the window of a new stream is small, and a lost packet stalls it.
    pub streams_per_server: usize,
    /// Maximum number of remembered servers.
    pub servers: usize,
}

impl SegmentClientConfig {
    /// Returns the default settings for a chain: 96 MiB, six streams, 256 servers.
    pub const fn new(chain_id: u64) -> Self {
        Self { chain_id, bytes: 96 << 20, streams_per_server: 6, servers: 256 }
    }
}

/// Identifies a stream; assigned by the client and never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// Identifies a check; assigned by the client and never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CheckId(u64);

/// How a stream ended, as the driver sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamClose {
    /// The server closed its side.
    Finished,
    /// The server reset the stream.
    Reset,
    /// The connection was lost, or could not be used.
    Lost,
    /// The server does not support the protocol.
    Unsupported,
}

/// Action that the client requests from its caller, or a report.
#[derive(Clone, Debug)]
pub enum SegmentStep {
    /// Open a stream and write the request. The driver reads within the stream's credit, and
    /// reports how it ends.
    Open {
        /// Id of the stream.
        id: StreamId,
        /// Peer to ask.
        peer: PeerId,
        /// The request.
        request: Request,
    },
    /// Reset the stream. Nothing needs to be reported about it any more.
    Cancel(StreamId),
    /// Run this check and pass its result to [`SegmentClient::checked`].
    Check(CheckId, ChunkWork),
    /// Next proved block downwards, linked to the one before, and its source.
    Proved(Block, PeerId),
    /// Conduct of a server.
    Conduct(PeerId, Conduct),
}

/// A part of the range.
#[derive(Debug)]
struct Segment {
    /// Next number that its stream must deliver.
    next: u64,
    /// Hash of that block, if the one above is checked or proved.
    hash: Option<B256>,
    /// Lowest number.
    low: u64,
    /// Whether the blocks down to `low` have arrived.
    is_filled: bool,
    /// Blocks that wait to be proved, highest first, and their sources.
    blocks: VecDeque<(Block, PeerId)>,
    /// Size of those blocks in bytes.
    size: usize,
    stream: Option<StreamId>,
    /// Reserved bytes, or zero for a segment that was opened at the frontier.
    reserved: usize,
}

/// Fetches a range of blocks in streams: see the module's documentation.
#[derive(Debug)]
pub struct SegmentClient {
    config: SegmentClientConfig,
    servers: Servers,
    range: Option<Range>,
    /// Highest first, without gaps between them.
    segments: Vec<Segment>,
    streams: SortedMap<StreamId, Stream>,
    /// Number of a block below the frontier that exceeds what may be fetched there.
    large: Option<u64>,
    /// Peers whose blocks did not link.
    charges: Charges,
    /// The test of a charge that waits for its answer.
    recheck: Option<Recheck>,
    next_id: u64,
    /// Smoothed size of a block in bytes.
    typical: u64,
    proved: u64,
    is_paused: bool,
    counts: RangeCounts,
    steps: VecDeque<SegmentStep>,
}

impl SegmentClient {
    /// Creates a client with nothing to fetch.
    pub fn new(config: SegmentClientConfig) -> Self {
        let config = SegmentClientConfig {
            bytes: config.bytes.max(FRONTIER_RESERVE),
            streams_per_server: config.streams_per_server.max(1),
            ..config
        };
        Self {
            servers: Servers::new(config.servers),
            range: None,
            segments: Vec::new(),
            streams: SortedMap::new(),
            large: None,
            charges: Charges::new(config.servers),
            recheck: None,
            next_id: 0,
            typical: 4096,
            proved: 0,
            is_paused: false,
            counts: RangeCounts::default(),
            steps: VecDeque::new(),
            config,
        }
    }

    /// Sets the seed: nodes with different seeds ask different servers first.
    #[must_use]
    pub const fn with_seed(mut self, seed: u64) -> Self {
        self.servers.set_seed(seed);
        self
    }

    /// Records that a connected peer supports the protocol, and may be asked.
    pub fn connected(&mut self, peer: PeerId) {
        self.servers.connected(peer);
    }

    /// Records that a connected peer must not be asked any more. Its streams are cancelled.
    pub fn withdrawn(&mut self, now: Instant, peer: &PeerId) {
        let of_peer = self.streams.iter().filter(|(_, stream)| stream.peer == *peer);
        let cancelled: Vec<_> = of_peer.map(|(id, _)| SegmentStep::Cancel(*id)).collect();
        self.disconnected(now, peer);
        self.steps.extend(cancelled);
    }

    /// Records that the last connection to a peer was closed, and its streams with it.
    pub fn disconnected(&mut self, now: Instant, peer: &PeerId) {
        if let Some(server) = self.servers.get_mut(peer) {
            server.is_connected = false;
        }
        let ids: Vec<_> = self.streams.iter().filter(|(_, stream)| stream.peer == *peer).collect();
        for id in ids.into_iter().map(|(id, _)| *id).collect::<Vec<_>>() {
            self.closed(now, id, StreamClose::Lost);
        }
    }

    /// Returns the range that is left to fetch.
    pub const fn range(&self) -> Option<Range> {
        self.range
    }

    /// Fetches this range from now on. If only its lower end moved, nothing is lost; otherwise all
    /// streams are cancelled. A server that is late then rests: if ranges take turns, it would
    /// otherwise be asked again each time, and never long enough to be found silent.
    pub fn aim(&mut self, now: Instant, range: Option<Range>) {
        // Zeros would ask for any block of that number.
        let range = range.filter(|range| !range.wanted.hash.is_zero());
        let range = range.filter(|range| range.wanted.number >= range.lowest);
        if range == self.range {
            return;
        }
        let is_same = range.zip(self.range).is_some_and(|(new, old)| new.wanted == old.wanted);
        self.range = range;
        let lowest = range.filter(|_| is_same).map(|range| range.lowest);
        // Segments that reach below the new end are cut off; a lower end needs nothing.
        let keep = match lowest {
            Some(lowest) => {
                self.segments.iter().take_while(|segment| segment.low >= lowest).count()
            }
            None => 0,
        };
        for segment in self.segments.split_off(keep) {
            if let Some(id) = segment.stream {
                let late = self
                    .streams
                    .get(&id)
                    .filter(|stream| stream.awaits_server() && now.since(stream.heard) >= LATE);
                if let Some(peer) = late.map(|stream| stream.peer) {
                    self.rest(now, &peer, servers::Rest::Failed);
                }
                self.drop_stream(id);
                self.steps.push_back(SegmentStep::Cancel(id));
            }
        }
        self.large = self.large.filter(|_| is_same);
    }

    /// Reads, requests and proves nothing while `paused`, for example while the store is behind.
    pub fn pause(&mut self, now: Instant, paused: bool) {
        if std::mem::replace(&mut self.is_paused, paused) == paused {
            return;
        }
        for stream in self.streams.values_mut() {
            (stream.progress, stream.heard) = (now, now);
        }
    }

    /// Allows resting servers to be asked again at once, to end a stall.
    pub fn expedite(&mut self, now: Instant) {
        self.servers.expedite(now);
    }

    /// Returns the number of bytes that the driver may read from a stream now. It changes with each
    /// call of [`Self::received`] and [`Self::checked`].
    pub fn credit(&self, id: StreamId) -> usize {
        if self.is_paused { 0 } else { self.streams.get(&id).map_or(0, Stream::credit) }
    }

    /// Takes bytes of an answer, at most the stream's credit.
    pub fn received(&mut self, now: Instant, id: StreamId, piece: &[u8]) {
        self.counts.sent(0, piece.len());
        if self.is_recheck(id) {
            return self.recheck_received(now, id, piece);
        }
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if !stream.has_segment {
            // Its server answers, if late.
            self.drop_stream(id);
            self.steps.push_back(SegmentStep::Cancel(id));
            return;
        }
        stream.heard = now;
        stream.push(piece);
        self.proceed(now, id);
    }

    /// Records the end of a stream.
    pub fn closed(&mut self, now: Instant, id: StreamId, close: StreamClose) {
        if self.is_recheck(id) {
            return self.recheck_closed(now, id, close);
        }
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let peer = stream.peer;
        if !stream.has_segment {
            self.drop_stream(id);
            return;
        }
        match close {
            StreamClose::Finished => {
                stream.close();
                self.proceed(now, id);
            }
            StreamClose::Reset => {
                self.counts.ended(Ending::Reset);
                let has_answered = stream.blocks > 0;
                self.give_up(now, id);
                let rest = if has_answered { servers::Rest::Missed } else { servers::Rest::Failed };
                self.rest(now, &peer, rest);
            }
            StreamClose::Lost => {
                self.counts.ended(Ending::Lost);
                self.give_up(now, id);
                self.rest(now, &peer, servers::Rest::Missed);
            }
            StreamClose::Unsupported => {
                self.counts.ended(Ending::Unsupported);
                self.give_up(now, id);
                self.rest(now, &peer, servers::Rest::Unsupported);
            }
        }
    }

    /// Takes the result of a check.
    pub fn checked(&mut self, now: Instant, id: CheckId, checked: Checked) {
        let is_it = |stream: &Stream| stream.checking.is_some_and(|(check, ..)| check == id);
        let Some((id, _)) = self.streams.iter().find(|(_, stream)| is_it(stream)) else { return };
        let id = *id;
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let (peer, contents) = (stream.peer, stream.checking.take().map_or(0, |(.., size)| size));
        stream.progress = now;
        if !stream.has_segment {
            // Only the test of a charge has checks without a segment.
            return self.recheck_checked(id, &checked);
        }
        let segment = self.segments.iter_mut().find(|segment| segment.stream == Some(id));
        let Some(segment) = segment else { return };
        for block in checked.blocks {
            if segment.is_filled {
                break;
            }
            segment.take(block, peer);
            stream.blocks += 1;
        }
        if let Some(fault) = checked.fault {
            self.give_up(now, id);
            self.steps.push_back(SegmentStep::Cancel(id));
            self.judge_chunk(now, peer, &fault);
            return;
        }
        stream.delivered += contents as u64;
        self.proceed(now, id);
    }

    /// Returns the next step, oldest first. If no step waits, proves a block or asks servers.
    pub fn poll(&mut self, now: Instant) -> Option<SegmentStep> {
        if self.steps.is_empty() && !self.is_paused {
            self.prove(now);
            if self.steps.is_empty() {
                self.watch(now);
                self.plan(now);
            }
        }
        self.steps.pop_front()
    }

    /// Returns when [`Self::poll`] next has something to do, unless something happens before.
    pub fn next_wakeup(&self, now: Instant) -> Option<Instant> {
        if self.is_paused {
            return None;
        }
        let streams = self.streams.values().filter(|stream| stream.awaits_server());
        let streams = streams.flat_map(|stream| {
            let (progress, heard) = (stream.progress, stream.heard);
            [progress + LATE, heard + LATE, progress + SLOW, heard + SLOW, progress + STALL]
        });
        let streams = streams.filter(|at| *at > now);
        let asks = self.next_ask().filter(|at| *at > now);
        streams.chain(asks).chain(self.next_charge()).min()
    }

    /// Returns `true` if something is expected of this stream.
    pub fn has_stream(&self, id: StreamId) -> bool {
        self.streams.contains_key(&id)
    }

    /// Returns the streams that the driver may read from now, and the credit of each.
    pub fn readable(&self) -> impl Iterator<Item = (StreamId, usize)> + '_ {
        let streams = self.streams.iter().filter(|_| !self.is_paused);
        streams.map(|(id, stream)| (*id, stream.credit())).filter(|(_, credit)| *credit > 0)
    }

    /// Returns all bytes that streams, checks and segments hold.
    pub fn bytes(&self) -> usize {
        let held: usize = self.segments.iter().map(|segment| segment.size).sum();
        held + self.streams.values().map(Stream::memory).sum::<usize>()
    }

    /// Returns what was fetched so far.
    pub const fn counts(&self) -> &RangeCounts {
        &self.counts
    }

    /// Returns the number of open streams.
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Returns the number of segments.
    pub fn segments(&self) -> usize {
        self.segments.len()
    }

    /// Returns the number of remembered servers.
    pub fn servers(&self) -> usize {
        self.servers.len()
    }

    /// Passes on the next block if it is the wanted one.
    fn prove(&mut self, now: Instant) {
        self.skip(now);
        let Some(range) = &mut self.range else { return };
        let Some(segment) = self.segments.first_mut() else { return };
        if let Some((block, _)) = segment.blocks.front()
            && block.hash() != range.wanted.hash
        {
            self.conflict(now);
            return;
        }
        if let Some((block, peer)) = segment.blocks.pop_front() {
            segment.size -= held_size(&block);
            let below = block.number().checked_sub(1);
            let below = below.filter(|below| *below >= range.lowest);
            match below {
                Some(below) => range.wanted = BlockId::new(below, block.parent_hash()),
                None => self.range = None,
            }
            self.proved += 1;
            self.counts.sent(1, 0);
            self.is_signed(BlockId::of(&block), block.parent_hash());
            if let Some(server) = self.servers.get_mut(&peer) {
                server.proved();
            }
            let is_praised = self.proved.is_multiple_of(PRAISE) || self.range.is_none();
            self.steps.push_back(SegmentStep::Proved(block, peer));
            if is_praised {
                self.steps.push_back(SegmentStep::Conduct(peer, Conduct::ValidResponse));
            }
        }
        if self.segments.first().is_some_and(|first| first.is_filled && first.blocks.is_empty()) {
            let gone = self.segments.remove(0);
            if let Some(id) = gone.stream {
                self.measure(now, id);
                self.drop_stream(id);
                self.steps.push_back(SegmentStep::Cancel(id));
            }
        }
        if let (Some(range), Some(first)) = (self.range, self.segments.first_mut())
            && first.blocks.is_empty()
            && first.next == range.wanted.number
            && first.stream.is_none()
        {
            // The one that it has may be of a block that another client proved to be wrong.
            first.hash = Some(range.wanted.hash);
        }
    }

    /// Removes a stream. Its segment must be dealt with before.
    fn drop_stream(&mut self, id: StreamId) {
        self.recheck_dropped(id);
        if let Some(stream) = self.streams.remove(&id)
            && let Some(server) = self.servers.get_mut(&stream.peer)
        {
            server.streams = server.streams.saturating_sub(1);
        }
    }
}

impl Segment {
    const fn new(next: u64, hash: Option<B256>, low: u64) -> Self {
        Self {
            next,
            hash,
            low,
            is_filled: false,
            blocks: VecDeque::new(),
            size: 0,
            stream: None,
            reserved: 0,
        }
    }

    /// Takes the next block, which is checked.
    fn take(&mut self, block: Block, peer: PeerId) {
        self.size += held_size(&block);
        // No block has a zero hash: requested with it, any server would send its canonical block.
        self.hash = Some(block.parent_hash()).filter(|hash| !hash.is_zero());
        self.is_filled = self.next <= self.low;
        self.next = self.next.saturating_sub(1);
        self.blocks.push_back((block, peer));
    }
}

/// Returns the memory in bytes of a block that is held.
fn held_size(block: &Block) -> usize {
    block.size().max(block.body().len() + BLOCK_OVERHEAD)
}
