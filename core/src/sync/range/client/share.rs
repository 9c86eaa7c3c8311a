//! Cooperation with another client that proves blocks of the same range, for example by their
//! numbers.

use super::servers::{Rest, Server};
use super::{LATE, SLOW, SegmentClient, SegmentStep};
use crate::chain::BlockId;
use crate::payload::Block;
use crate::time::Instant;

impl SegmentClient {
    /// Records that another client proved a block. If it is the wanted one, the range goes on below
    /// it. Streams continue, and what they deliver above the frontier is dropped.
    pub fn proved_elsewhere(&mut self, now: Instant, block: &Block) {
        let Some(range) = &mut self.range else { return };
        if BlockId::of(block) != range.wanted {
            return;
        }
        let below = block.number().checked_sub(1).filter(|below| *below >= range.lowest);
        match below {
            Some(below) => range.wanted = BlockId::new(below, block.parent_hash()),
            None => self.range = None,
        }
        self.skip(now);
    }

    /// Drops all blocks, and all segments, above the frontier.
    pub(super) fn skip(&mut self, now: Instant) {
        // Terminates: each turn removes a segment, or is the last one.
        while let Some(first) = self.segments.first_mut() {
            let Some(wanted) = self.range.map(|range| range.wanted) else {
                self.remove_first(now);
                continue;
            };
            if first.low > wanted.number {
                self.remove_first(now);
                continue;
            }
            while let Some((block, _)) = first.blocks.front()
                && block.number() > wanted.number
            {
                first.size -= super::held_size(block);
                first.blocks.pop_front();
            }
            if first.blocks.is_empty() && first.waits() && first.next >= wanted.number {
                (first.next, first.hash) = (wanted.number, Some(wanted.hash));
            }
            return;
        }
    }

    /// Drops the first segment. If its server is late, it is slower than the other client: it
    /// rests, and its stream is kept to see whether it answers at all.
    fn remove_first(&mut self, now: Instant) {
        let Some(id) = self.segments.remove(0).stream else { return };
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if stream.blocks == 0 && stream.awaits_server() && stream.waits(now) >= LATE {
            let peer = stream.peer;
            stream.abandon();
            self.rest(now, &peer, Rest::Failed);
        } else {
            self.drop_stream(id);
            self.steps.push_back(SegmentStep::Cancel(id));
        }
    }

    /// Returns `true` if blocks can be expected at the frontier, so that another client need not
    /// fetch the same. This is not so if no server can be asked, if the one that was asked is late,
    /// or if it failed before and has not delivered since. To be asked when [`Self::poll`] returned
    /// `None`.
    pub fn is_at_work(&self, now: Instant) -> bool {
        let Some(first) = self.segments.first().filter(|_| self.range.is_some()) else {
            return false;
        };
        if !first.blocks.is_empty() {
            return true;
        }
        let Some(stream) = first.stream.and_then(|id| self.streams.get(&id)) else { return false };
        if !stream.awaits_server() {
            return true;
        }
        let waits = stream.waits(now);
        let is_silent = now.since(stream.heard) >= LATE;
        let is_late = waits >= SLOW || (waits >= LATE && is_silent);
        let has_failed =
            stream.blocks == 0 && self.servers.get(&stream.peer).is_some_and(Server::has_failed);
        !is_late && !has_failed
    }

    /// Returns the number of connected servers that are not known to serve nothing.
    pub fn usable(&self) -> usize {
        self.servers.usable()
    }
}
