//! Assignment of the parts of the range to servers.

use super::stream::Stream;
use super::{
    CODECS, Codec, FIRST_BLOCKS, FRONTIER_RESERVE, LARGEST_LOWER, LARGEST_SEGMENT, LOWER_OVERHEAD,
    MAX_CONTENTS, Request, SEGMENT_TIME, Segment, SegmentClient, SegmentStep, StreamId,
};
use crate::chain::BlockId;
use crate::peers::PeerId;
use crate::sync::range::wire::First;
use crate::time::Instant;

/// Memory in bytes that a held block takes besides its contents.
const BLOCK_OVERHEAD: u64 = super::BLOCK_OVERHEAD as u64;

impl SegmentClient {
    /// Asks servers as far as possible.
    pub(super) fn plan(&mut self, now: Instant) {
        // Each turn opens one stream, and there is a free place for it.
        while let Some(at) = self.next_open() {
            let (next, is_frontier) = (self.segments[at].next, at == 0);
            let streams = self.config.streams_per_server + usize::from(is_frontier);
            let Some((peer, rate)) = self.servers.pick(now, next, streams, is_frontier, None)
            else {
                return;
            };
            if !self.open(now, at, peer, rate) {
                return;
            }
        }
    }

    /// Returns when a server can be asked for the first segment that waits.
    pub(super) fn next_ask(&self) -> Option<Instant> {
        let range = self.range?;
        let waiting = self.segments.iter().position(Segment::waits);
        let number = waiting.map_or(range.wanted.number, |at| self.segments[at].next);
        let is_frontier = waiting.is_none_or(|at| at == 0);
        self.servers.next_ready(number, self.config.streams_per_server + usize::from(is_frontier))
    }

    /// Returns the first segment that waits for a stream and may have one. Creates the next one
    /// downwards if there is none.
    fn next_open(&mut self) -> Option<usize> {
        let range = self.range?;
        let waiting = self.segments.iter().position(Segment::waits);
        let at = match waiting {
            Some(at) => at,
            None => {
                let next = match self.segments.last() {
                    Some(last) => last.low.checked_sub(1).filter(|next| *next >= range.lowest)?,
                    None => range.wanted.number,
                };
                let hash = self.segments.is_empty().then_some(range.wanted.hash);
                if hash.is_none() && self.free() < LARGEST_LOWER + LOWER_OVERHEAD {
                    return None;
                }
                self.segments.push(Segment::new(next, hash, range.lowest));
                self.segments.len() - 1
            }
        };
        let is_large = self.large == Some(self.segments[at].next);
        (at == 0 || (!is_large && self.free() >= LARGEST_LOWER + LOWER_OVERHEAD)).then_some(at)
    }

    /// Returns the number of bytes that segments below the frontier may still reserve.
    fn free(&self) -> usize {
        let reserved: usize = self.segments.iter().map(Segment::reserved).sum();
        self.config.bytes.saturating_sub(FRONTIER_RESERVE).saturating_sub(reserved)
    }

    /// Opens a stream for a segment, and cuts the segment to the size that suits the server.
    fn open(&mut self, now: Instant, at: usize, peer: PeerId, rate: u64) -> bool {
        let is_frontier = at == 0;
        let seconds = SEGMENT_TIME.as_secs();
        let wanted = if rate == 0 {
            u64::from(FIRST_BLOCKS) * self.typical
        } else {
            rate.saturating_mul(seconds)
        };
        let bytes = if is_frontier {
            wanted.max(MAX_CONTENTS as u64)
        } else {
            let room = self.free().saturating_sub(LOWER_OVERHEAD) as u64;
            wanted.clamp(LARGEST_LOWER as u64, LARGEST_SEGMENT).min(room)
        };
        let typical = self.typical.max(1);
        let blocks = (wanted / typical).clamp(16, 1 << 16);
        // Held blocks take more than their contents.
        let blocks = if is_frontier { blocks } else { blocks.min(bytes / (2 * BLOCK_OVERHEAD)) };
        let blocks = if rate == 0 { blocks.min(u64::from(FIRST_BLOCKS)) } else { blocks };
        let segment = &mut self.segments[at];
        let blocks = blocks.min(segment.next - segment.low + 1).max(1);
        let low = segment.next + 1 - blocks;
        let rest = (low > segment.low).then(|| Segment::new(low - 1, None, segment.low));
        segment.low = low;
        segment.reserved = if is_frontier {
            0
        } else {
            bytes as usize + blocks as usize * super::BLOCK_OVERHEAD + LOWER_OVERHEAD
        };
        let first = match segment.hash {
            Some(hash) => First::Block(BlockId::new(segment.next, hash)),
            None => First::Canonical(segment.next),
        };
        let id = StreamId(self.next_id);
        self.next_id += 1;
        segment.stream = Some(id);
        if let Some(rest) = rest {
            self.append(at + 1, rest);
        }
        let request = Request {
            chain_id: self.config.chain_id,
            first,
            blocks: blocks as u32,
            bytes,
            codecs: CODECS,
        };
        self.streams.insert(id, Stream::new(now, peer, &request, is_frontier));
        if let Some(server) = self.servers.get_mut(&peer) {
            server.streams += 1;
        }
        self.steps.push_back(SegmentStep::Open { id, peer, request });
        true
    }

    /// Inserts the rest of a segment. One that would be the last waits for its turn instead.
    pub(super) fn append(&mut self, at: usize, rest: Segment) {
        if at < self.segments.len() || rest.hash.is_some() {
            self.segments.insert(at, rest);
        }
    }
}

impl Segment {
    /// Returns `true` if it needs a stream.
    pub(super) const fn waits(&self) -> bool {
        self.stream.is_none() && !self.is_filled
    }

    /// Returns the bytes that it takes from those for segments below the frontier.
    fn reserved(&self) -> usize {
        if self.stream.is_some() { self.reserved } else { self.size }
    }
}

const _: () = assert!(Codec::Snappy.largest(LARGEST_LOWER) < LOWER_OVERHEAD);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::range::client::SegmentClientConfig;
    use alloy_primitives::B256;

    #[test]
    fn the_rest_of_a_segment_keeps_its_place_unless_it_is_the_last_and_of_unknown_hash() {
        let hash = Some(B256::repeat_byte(7));
        for (at, rest, expected) in [
            (1, Segment::new(20, None, 11), &[30, 20, 10][..]),
            (1, Segment::new(20, hash, 11), &[30, 20, 10]),
            (2, Segment::new(5, None, 1), &[30, 10]),
            (2, Segment::new(5, hash, 1), &[30, 10, 5]),
        ] {
            let mut client = SegmentClient::new(SegmentClientConfig::new(1));
            client.segments = vec![Segment::new(30, hash, 21), Segment::new(10, None, 6)];
            client.append(at, rest);
            let next: Vec<u64> = client.segments.iter().map(|segment| segment.next).collect();
            assert_eq!(next, expected);
        }
    }
}
