//! Consequences of the course of a stream, for its segment and for its server.

use alloy_primitives::B256;

use super::servers::Rest;
use super::stream::{Breach, Stream};
use super::{
    Codec, LATE, MAX_CONTENTS, SEGMENT_TIME, SLOW, STALL, Segment, SegmentClient, SegmentStep,
    StreamId,
};
use crate::chain::BlockId;
use crate::peers::{Conduct, PeerId};
use crate::sync::range::chunk::ChunkError;
use crate::sync::range::counts::Ending;
use crate::sync::range::decoder::StreamError;
use crate::sync::range::wire::End;
use crate::time::Instant;

/// Factor by which a server must be faster than the one at the frontier to take its segment.
const FAR_FASTER: u64 = 4;

impl SegmentClient {
    /// Starts the next check of a stream, or ends the stream if nothing is left to check.
    pub(super) fn proceed(&mut self, now: Instant, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let segment = self.segments.iter().find(|segment| segment.stream == Some(id));
        let Some(segment) = segment else { return };
        if !segment.is_filled && stream.has_queue() {
            let check = super::CheckId(self.next_id);
            if let Some(work) = stream.next_check(check, segment.next, segment.hash) {
                self.next_id += 1;
                self.steps.push_back(SegmentStep::Check(check, work));
            }
            return;
        }
        if stream.checking.is_some() {
            return;
        }
        let (peer, is_wide, blocks) = (stream.peer, stream.is_wide, stream.blocks);
        let asked = stream.asked;
        let (next, is_filled) = (segment.next, segment.is_filled);
        match stream.end.take() {
            None => {}
            Some(Ok(end)) => {
                self.counts.ended(Ending::Named(end));
                let is_short = !is_filled && blocks == 0 && end == End::Complete;
                self.give_up(now, id);
                if is_short && !is_wide {
                    // It may be true: the frontier has room for it.
                    self.large = Some(next);
                    self.rest(now, &peer, Rest::Missed);
                } else if is_short {
                    self.fault(now, peer, Rest::Failed, Conduct::ErrorResponse);
                } else if is_filled || (blocks == 0 && self.was_misled(next, asked, end)) {
                    // Nothing follows for the server.
                } else {
                    self.judge_end(now, peer, end);
                }
            }
            Some(Err(breach)) => {
                self.counts.ended(Ending::False);
                self.give_up(now, id);
                self.steps.push_back(SegmentStep::Cancel(id));
                let is_ours = !is_wide
                    && match breach {
                        Breach::Stream(StreamError::Contents { limit, .. }) => {
                            limit == super::LARGEST_LOWER
                        }
                        Breach::Stream(StreamError::Compressed(size)) => {
                            let largest = |contents| Codec::Snappy.largest(contents);
                            size > largest(super::LARGEST_LOWER) && size <= largest(MAX_CONTENTS)
                        }
                        _ => false,
                    };
                if is_ours {
                    self.large = Some(next);
                } else {
                    self.fault(now, peer, Rest::Failed, Conduct::ErrorResponse);
                }
            }
        }
    }

    /// Returns `true` if a server never had the block that it was asked for, and only an unproved
    /// block names that one: it may be a lie. The block is requested by its number from now on,
    /// unless its hash is known by now.
    fn was_misled(&mut self, next: u64, asked: Option<B256>, end: End) -> bool {
        let (End::NeverHad { .. }, Some(asked), Some(range)) = (end, asked, self.range) else {
            return false;
        };
        let proved = |hash: &B256| BlockId::new(next, *hash) == range.wanted;
        if proved(&asked) {
            return false;
        }
        if let Some(waiting) = self.segments.iter_mut().find(|s| s.waits() && s.next == next) {
            waiting.hash = waiting.hash.filter(proved);
        }
        true
    }

    /// Takes the segment from a stream and forgets the stream. Blocks that came are kept, and the
    /// rest becomes a segment that waits.
    pub(super) fn give_up(&mut self, now: Instant, id: StreamId) {
        self.measure(now, id);
        self.release(id);
        self.drop_stream(id);
    }

    /// Separates a segment from its stream.
    fn release(&mut self, id: StreamId) {
        let Some(at) = self.segments.iter().position(|segment| segment.stream == Some(id)) else {
            return;
        };
        let segment = &mut self.segments[at];
        segment.stream = None;
        segment.reserved = 0;
        if segment.is_filled || segment.blocks.is_empty() {
            return;
        }
        let rest = Segment::new(segment.next, segment.hash, segment.low);
        segment.low = segment.next + 1;
        segment.is_filled = true;
        self.append(at + 1, rest);
    }

    /// Takes what a stream delivered as a measurement of its server.
    pub(super) fn measure(&mut self, now: Instant, id: StreamId) {
        let Some(stream) = self.streams.get(&id).filter(|stream| stream.blocks > 0) else { return };
        let size = stream.delivered / u64::from(stream.blocks);
        if size > 0 {
            self.typical = (self.typical * 3 + size) / 4;
        }
        if let Some(server) = self.servers.get_mut(&stream.peer) {
            server.delivered(stream.delivered, now.since(stream.opened));
        }
    }

    fn judge_end(&mut self, now: Instant, peer: PeerId, end: End) {
        let Some(server) = self.servers.get_mut(&peer) else { return };
        match end {
            // The bytes were reached before the blocks.
            End::Complete => {}
            End::NoMore { lowest } => {
                server.has_from(now, lowest);
                server.rest(now, Rest::Missed);
            }
            End::NeverHad { highest } => {
                server.has_to(now, highest);
                server.rest(now, Rest::Missed);
            }
            End::Limited { retry } => server.rest(now, Rest::Limited(retry)),
            End::OtherChain { .. } | End::Refused => server.rest(now, Rest::Unsupported),
            End::Invalid | End::Failed | End::Unknown { .. } => {
                self.fault(now, peer, Rest::Failed, Conduct::ErrorResponse);
            }
        }
    }

    pub(super) fn judge_chunk(&mut self, now: Instant, peer: PeerId, fault: &ChunkError) {
        self.counts.ended(Ending::False);
        if *fault == ChunkError::Panicked {
            // This is our bug. The rest prevents an immediate repetition of the request.
            self.rest(now, &peer, Rest::Failed);
        } else if fault.is_wrong_block() {
            self.fault(now, peer, Rest::Wrong, Conduct::RejectedPayload);
        } else {
            self.fault(now, peer, Rest::Failed, Conduct::ErrorResponse);
        }
    }

    pub(super) fn rest(&mut self, now: Instant, peer: &PeerId, rest: Rest) {
        if let Some(server) = self.servers.get_mut(peer) {
            server.rest(now, rest);
        }
    }

    fn fault(&mut self, now: Instant, peer: PeerId, rest: Rest, conduct: Conduct) {
        self.rest(now, &peer, rest);
        self.steps.push_back(SegmentStep::Conduct(peer, conduct));
    }

    /// Ends silent streams, and takes the frontier from a server that is late or far too slow.
    pub(super) fn watch(&mut self, now: Instant) {
        let stalls = |stream: &Stream| stream.awaits_server() && stream.waits(now) >= STALL;
        let stalled: Vec<_> = self
            .streams
            .iter()
            .filter(|(_, stream)| stalls(stream))
            .map(|(id, stream)| (*id, stream.peer, now.since(stream.heard) >= STALL))
            .collect();
        for (id, peer, is_silent) in stalled {
            self.counts.ended(Ending::Silent);
            self.give_up(now, id);
            self.steps.push_back(SegmentStep::Cancel(id));
            if is_silent {
                self.fault(now, peer, Rest::Failed, Conduct::ErrorResponse);
            } else {
                // Its bytes come, if slowly: our line may be the reason.
                self.rest(now, &peer, Rest::Failed);
            }
        }
        let Some(Segment { next, stream: Some(id), .. }) = self.segments.first() else { return };
        let (next, id) = (*next, *id);
        let Some(stream) = self.streams.get(&id).filter(|stream| stream.awaits_server()) else {
            return;
        };
        let (peer, rate) = (stream.peer, stream.rate(now));
        let is_late = stream.waits(now) >= LATE;
        // After so long a silence, any other server is the better choice.
        let is_silent = stream.waits(now) >= SLOW && now.since(stream.heard) >= SLOW;
        let is_old = now.since(stream.opened) >= SEGMENT_TIME;
        let streams = self.config.streams_per_server + 1;
        let other = self.servers.pick(now, next, streams, true, Some(&peer));
        let Some((_, other)) = other.filter(|(_, rate)| *rate > 0 || is_silent) else { return };
        if is_late {
            self.measure(now, id);
            self.release(id);
            self.rest(now, &peer, Rest::Failed);
            // Whether it is silent or only late is decided later.
            if let Some(stream) = self.streams.get_mut(&id) {
                stream.abandon();
            }
        } else if is_old && other / FAR_FASTER > rate {
            self.give_up(now, id);
            self.steps.push_back(SegmentStep::Cancel(id));
        }
    }

    /// Drops the blocks of the first segment, which do not link to the frontier.
    pub(super) fn conflict(&mut self, now: Instant) {
        let Some(range) = self.range else { return };
        let Some(first) = self.segments.first() else { return };
        let Some((block, peer)) = first.blocks.front() else { return };
        let (accused, peer, id) = (block.clone(), *peer, first.stream);
        let low = first.low;
        if let Some(id) = id {
            self.drop_stream(id);
            self.steps.push_back(SegmentStep::Cancel(id));
        }
        // Rests of the segment were requested by the hash that its blocks name.
        if let Some(second) = self.segments.get_mut(1).filter(|second| second.blocks.is_empty()) {
            second.hash = None;
        }
        self.segments[0] = Segment::new(range.wanted.number, Some(range.wanted.hash), low);
        self.rest(now, &peer, Rest::Unproved);
        self.charge(now, peer, &accused, range.wanted.hash);
    }
}
