//! State of one connected peer.
//!
//! # Bounds
//! One record for each connected peer; the limits on connections bound their number.

use super::budget::Budget;
use super::config::{Allowances, Spoken};
use super::ids::Topics;
use super::send::{BROKEN_LIMIT, Outbox};
use super::unwanted::Unwanted;
use super::{Class, Version};
use crate::time::Instant;
use std::time::Duration;

/// Time after which our stream is opened even if nothing has shown that the peer speaks gossipsub.
pub const OPEN_AFTER: Duration = Duration::from_secs(3);
/// Time over which attempts to open a stream, and its failures, are counted.
pub const REOPEN_WINDOW: Duration = Duration::from_secs(600);
/// Maximum number of times that a stream is opened again within [`REOPEN_WINDOW`]. After that, it
/// is opened at the end of the window.
pub const MAX_REOPENED: u32 = 4;
/// Time over which new incoming streams are counted.
pub const READERS_WINDOW: Duration = Duration::from_secs(10);
/// Maximum number of new incoming streams within [`READERS_WINDOW`].
pub const MAX_READERS: u32 = 5;
/// Delays before a stream is opened again.
const REOPEN_DELAYS: [u64; MAX_REOPENED as usize] = [100, 600, 3_000, 10_000];
/// Shortest delay after more failures.
const LAST_REOPEN_DELAY: Duration = Duration::from_secs(10);

/// The stream on which we write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writer {
    /// Not open; to be opened at this time, if any.
    Closed(Option<Instant>),
    /// The shell is opening it.
    Opening,
    Open,
}

#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) class: Class,
    pub(super) is_outbound: bool,
    pub(super) writer: Writer,
    pub(super) spoken: Spoken,
    /// Whether the peer understands notices of transfers.
    pub(super) speaks: bool,
    pub(super) reopened: Window,
    pub(super) stuck: Window,
    pub(super) readers: Window,
    /// Whether the newest incoming stream has had a frame.
    pub(super) has_begun: bool,
    pub(super) subscriptions: Topics,
    /// Topics in whose meshes the peer was when our stream to it ended.
    pub(super) meshed: Topics,
    pub(super) budget: Budget,
    pub(super) outbox: Outbox,
    pub(super) unwanted: Unwanted,
    /// Frames with IHAVE, and ids asked for, since the last heartbeat.
    pub(super) ihave_frames: usize,
    pub(super) ihave_ids: usize,
    pub(super) asked: usize,
    pub(super) ids: Ids,
    /// Time of the last ping there and back; zero before.
    pub(super) round_trip: Duration,
    /// Number of accepted messages that the peer sent first, halved periodically.
    pub(super) firsts: u32,
    /// Number of messages that the peer announced and did not deliver, less those that it did.
    pub(super) broken: u8,
    /// The score as of the last heartbeat or change.
    pub(super) score: f64,
}

/// Whether a peer computes message ids as we do. Some implementations leave the topic out of the
/// id. The ids that they advertise never match the messages that they send, but this is not an
/// attack.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ids {
    /// Number of promises that were broken before the first one was kept.
    pub(super) broken: u32,
    pub(super) has_kept: bool,
    /// Whether a promise became overdue and none has been kept since.
    pub(super) is_debtor: bool,
    /// Whether the peer sent any accepted message.
    pub(super) has_delivered: bool,
    /// The peer computes other ids.
    pub(super) is_foreign: bool,
}

impl Ids {
    /// Records that the peer delivered a message that it had advertised.
    pub(super) const fn keep(&mut self) {
        self.has_kept = true;
        self.is_debtor = false;
    }
}

/// Number of broken promises after which the ids of a peer that delivers messages, but has kept no
/// promise, count as foreign. Until then, broken promises cost nothing.
pub const FOREIGN_AFTER: u32 = 8;

/// Counter of events within a time window.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Window {
    since: Instant,
    count: u32,
}

impl Window {
    /// Counts an event, and returns how many there were in this window.
    pub(super) fn count(&mut self, now: Instant, length: Duration) -> u32 {
        if self.count == 0 || now.since(self.since) >= length {
            *self = Self { since: now, count: 0 };
        }
        self.count += 1;
        self.count
    }

    /// Returns `true` if nothing was counted since the last reset.
    pub(super) const fn is_clear(&self) -> bool {
        self.count == 0
    }

    pub(super) const fn reset(&mut self) {
        self.count = 0;
    }
}

impl Peer {
    pub(super) fn new(
        now: Instant,
        class: Class,
        is_outbound: bool,
        allowances: &Allowances,
    ) -> Self {
        Self {
            class,
            is_outbound,
            writer: Writer::Closed(Some(now + OPEN_AFTER)),
            spoken: None,
            speaks: false,
            reopened: Window::default(),
            stuck: Window::default(),
            readers: Window::default(),
            has_begun: false,
            subscriptions: Topics::default(),
            meshed: Topics::default(),
            budget: Budget::new(now, allowances),
            outbox: Outbox::new(now, class.is_browser()),
            unwanted: Unwanted::default(),
            ihave_frames: 0,
            ihave_ids: 0,
            asked: 0,
            ids: Ids::default(),
            round_trip: Duration::ZERO,
            firsts: 0,
            broken: 0,
            score: 0.0,
        }
    }

    /// Returns `true` if we can send to the peer, and its version has a mesh.
    pub(super) fn has_mesh(&self) -> bool {
        self.writer == Writer::Open && self.spoken.is_some_and(Version::has_mesh)
    }

    /// Returns `true` if the peer understands IDONTWANT and its ids are ours.
    pub(super) fn has_idontwant(&self) -> bool {
        self.writer == Writer::Open
            && !self.ids.is_foreign
            && self.spoken.is_some_and(Version::has_idontwant)
    }

    /// Returns `true` if we can send to the peer, it understands notices of transfers, and its ids
    /// are ours.
    pub(super) fn takes_notices(&self) -> bool {
        self.speaks && self.has_mesh() && !self.ids.is_foreign
    }

    /// Returns `true` if the peer's notices of what it sends count.
    pub(super) const fn is_believed(&self) -> bool {
        self.speaks && !self.class.is_browser() && self.broken < BROKEN_LIMIT
    }

    /// Returns when to open the stream again after it failed. After many failures, that is at the
    /// end of their window.
    pub(super) fn reopen_at(&mut self, now: Instant) -> Instant {
        let count = self.reopened.count(now, REOPEN_WINDOW);
        match REOPEN_DELAYS.get(count as usize - 1) {
            Some(delay) => now + Duration::from_millis(*delay),
            None => (self.reopened.since + REOPEN_WINDOW).max(now + LAST_REOPEN_DELAY),
        }
    }
}
