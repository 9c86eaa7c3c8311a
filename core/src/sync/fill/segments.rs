//! Fetching by ranges, with blocks by number as the fallback.
//!
//! Peers that support the range protocol are asked first, by a [`SegmentClient`]. The
//! [`RangeClient`](super::RangeClient) has the same aim. It sends requests while the other can't
//! expect blocks at the frontier: no server of ranges is connected, all rest, or the one at the
//! frontier is late or failed before. Each takes the blocks that the other proves as its own
//! progress, so both may work at once.
//!
//! The driver reads from a stream only what [`FillStep::Receive`] allows, one piece at a time.
//!
//! # Bounds
//! Peers that support the protocol: those that are connected. Streams: see [`SegmentClient`].

use std::time::Duration;

use super::{Aim, FillStep, GapFiller, SyncEvent};
use crate::chain::ChainView;
use crate::payload::Block;
use crate::peers::PeerId;
use crate::sync::range::{CheckId, Checked, RangeCounts, SegmentStep, StreamClose, StreamId};
use crate::time::Instant;

#[cfg(doc)]
use crate::sync::range::SegmentClient;

impl GapFiller {
    /// Records the first connection to a peer that may be asked.
    pub fn connected(&mut self, peer: PeerId, is_static: bool) {
        self.client.connected(peer, is_static);
        self.revive_history();
    }

    /// Records whether a connected peer supports the range protocol.
    pub fn speaks_ranges(&mut self, now: Instant, peer: PeerId, speaks: bool, is_static: bool) {
        if speaks {
            self.speakers.insert(peer);
        } else {
            self.speakers.remove(&peer);
        }
        self.ask_or_not(now, peer, is_static);
    }

    /// Sets whether a connected peer is one of the operator's.
    pub fn set_static(&mut self, now: Instant, peer: &PeerId, is_static: bool) {
        self.client.set_static(peer, is_static);
        self.ask_or_not(now, *peer, is_static);
    }

    fn ask_or_not(&mut self, now: Instant, peer: PeerId, is_static: bool) {
        let client = &self.config.client;
        let may_ask = self.config.by_ranges && client.asks_peers;
        if may_ask && self.speakers.contains(&peer) && (is_static || !client.only_static) {
            self.segments.connected(peer);
            self.revive_history();
        } else {
            self.segments.withdrawn(now, &peer);
        }
    }

    /// Records that the last connection to a peer was closed, and its streams with it.
    pub fn disconnected(&mut self, now: Instant, peer: &PeerId) {
        self.client.disconnected(peer);
        self.speakers.remove(peer);
        self.segments.disconnected(now, peer);
    }

    /// Returns what was fetched by ranges so far.
    pub const fn range_counts(&self) -> &RangeCounts {
        self.segments.counts()
    }

    /// Takes bytes of an answer, at most as many as [`FillStep::Receive`] allowed.
    pub fn stream_received(&mut self, now: Instant, id: StreamId, bytes: &[u8]) {
        let Some(is_reading) = self.streams.get_mut(&id) else { return };
        *is_reading = false;
        self.segments.received(now, id, bytes);
    }

    /// Records the end of a stream.
    pub fn stream_closed(&mut self, now: Instant, id: StreamId, close: StreamClose) {
        if self.streams.remove(&id).is_some() {
            self.segments.closed(now, id, close);
        }
    }

    /// Takes the result of a check of a chunk.
    pub fn chunk_checked(&mut self, now: Instant, id: CheckId, checked: Checked) {
        self.segments.checked(now, id, checked);
    }

    /// Fetches as far as possible, until the path must be planned.
    pub(super) fn fetch(&mut self, now: Instant, view: &mut ChainView<Block>, stall: Duration) {
        // Requests by number are sent once it is known that the others do not suffice.
        self.client.pause(true);
        loop {
            let is_behind = self.is_behind(now);
            self.segments.pause(now, is_behind);
            let step = self.segments.poll(now);
            let mut has_happened = step.is_some();
            match step {
                Some(step) => self.segment_step(now, step, view, stall),
                None => self.client.pause(is_behind || self.segments.is_at_work(now)),
            }
            while let Some(step) = self.client.poll(now) {
                has_happened = true;
                self.client_step(now, step, view, stall);
            }
            if !has_happened || self.must_plan {
                break;
            }
        }
    }

    /// Returns `true` if fetching has to wait for the store or for a landing.
    pub(super) fn is_behind(&self, now: Instant) -> bool {
        let is_history = self.aim == Some(Aim::History);
        self.pending.waits()
            || self.paused_until > now
            || self.landing.is_some()
            || self.history.as_ref().is_some_and(|history| is_history && history.is_full())
    }

    fn segment_step(
        &mut self,
        now: Instant,
        step: SegmentStep,
        view: &mut ChainView<Block>,
        stall: Duration,
    ) {
        match step {
            SegmentStep::Open { id, peer, request } => {
                self.streams.insert(id, false);
                self.steps.push_back(FillStep::Open { id, peer, request });
            }
            SegmentStep::Cancel(id) => self.cancel(id),
            SegmentStep::Check(id, work) => self.steps.push_back(FillStep::CheckChunk(id, work)),
            SegmentStep::Conduct(peer, conduct) => self.event(SyncEvent::Conduct { peer, conduct }),
            SegmentStep::Proved(block, _) => {
                let (pending, unusable) = (&self.pending, &self.unusable);
                self.client.proved_elsewhere(now, &block, |id| {
                    view.knows(id) || pending.contains(id) || unusable.contains(id)
                });
                self.proved(now, &block, view, stall);
            }
        }
    }

    fn cancel(&mut self, id: StreamId) {
        if self.streams.remove(&id).is_some() {
            self.steps.push_back(FillStep::Cancel(id));
        }
    }

    /// Has the driver read on from streams, and drop those of which nothing more is expected.
    pub(super) fn read_on(&mut self) {
        let gone = self.streams.keys().filter(|id| !self.segments.has_stream(**id));
        for id in gone.copied().collect::<Vec<_>>() {
            self.cancel(id);
        }
        for (id, limit) in self.segments.readable() {
            if let Some(is_reading) = self.streams.get_mut(&id).filter(|is_reading| !**is_reading) {
                *is_reading = true;
                self.steps.push_back(FillStep::Receive { id, limit });
            }
        }
    }
}
