//! Outbox of one peer.

use super::thrift::Thrift;
use crate::gossip::OUTBOUND_QUEUE;
use crate::mesh::ids::Topics;
use crate::mesh::{Frame, Id, MAX_TOPICS};
use crate::time::Instant;
use std::collections::VecDeque;
use std::time::Duration;

/// Length in bytes from which a frame is large: it waits for its turn on our uplink.
pub const LARGE: usize = 32 << 10;
/// Maximum number of messages that wait for a browser.
pub const BROWSER_QUEUE: usize = 16;
/// Maximum number of bytes of messages that wait for one peer, beyond the first message.
pub const MAX_QUEUED_BYTES: usize = 4 << 20;
/// Maximum number of ids that wait to be sent in IDONTWANT; the oldest go first.
pub const MAX_IDONTWANT: usize = 32;
/// Maximum number of ids that wait to be sent in IWANT.
pub const MAX_IWANT: usize = 64;

/// Reason for which a message is sent, most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::mesh) enum Kind {
    /// Our own message.
    Own,
    /// A message that we relay.
    Forward,
    /// An answer to IWANT.
    Answer,
}

impl Kind {
    /// Returns the time after which a message of this length is not worth sending any more.
    fn lifetime(self, length: usize) -> Duration {
        let seconds = match self {
            Self::Own | Self::Answer => 5,
            Self::Forward => 2,
        };
        // A megabyte takes 160 ms at 50 Mbit/s, and waits for other copies before.
        Duration::from_secs(seconds + (length >> 20) as u64)
    }
}

/// The newest control message about our mesh of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mesh) enum Say {
    Graft,
    /// With a back-off in seconds.
    Prune(u64),
}

#[derive(Clone, Debug)]
struct Queued {
    id: Id,
    frame: Frame,
    kind: Kind,
    /// Time before which a large message is held back.
    begin: Instant,
    end: Instant,
}

#[derive(Clone, Debug, Default)]
pub(in crate::mesh) struct Outbox {
    pub(in crate::mesh) subscriptions: [Option<bool>; MAX_TOPICS],
    pub(in crate::mesh) mesh: [Option<Say>; MAX_TOPICS],
    idontwant: VecDeque<Id>,
    pub(in crate::mesh) iwant: Vec<Id>,
    pub(in crate::mesh) ihave: Topics,
    /// In order of arrival.
    messages: VecDeque<Queued>,
    bytes: usize,
    /// Delay of large messages that the peer may have from others.
    thrift: Thrift,
    /// Bytes that the shell has taken and not yet written.
    pub(in crate::mesh) unwritten: usize,
    /// The last time the shell wrote something, or had nothing to write.
    pub(in crate::mesh) progress: Instant,
    /// Frames with control since the last heartbeat.
    pub(in crate::mesh) control_frames: usize,
    /// Number of forwarded messages of the last minute, and how many of them were dropped.
    pub(in crate::mesh) forwards: u32,
    pub(in crate::mesh) expired: u32,
    /// Number of dropped messages of any kind since they were last counted.
    dropped: u64,
    /// Whether the shell was told that there is something to send.
    pub(in crate::mesh) is_announced: bool,
    is_browser: bool,
}

impl Outbox {
    pub(in crate::mesh) fn new(now: Instant, is_browser: bool) -> Self {
        Self { is_browser, progress: now, ..Self::default() }
    }

    /// Queues a message, unless it waits already. Returns `false` if there is no room.
    ///
    /// `tells`: the peer supports IDONTWANT, so a large message that we relay may be held back.
    pub(in crate::mesh) fn push(
        &mut self,
        now: Instant,
        id: Id,
        frame: Frame,
        kind: Kind,
        tells: bool,
    ) -> bool {
        if let Some(queued) = self.messages.iter_mut().find(|queued| queued.id == id) {
            if kind == Kind::Answer {
                // The peer asks for it: it is needed, and held back no longer.
                queued.begin = queued.begin.min(now);
                queued.end = queued.end.max(now + kind.lifetime(frame.len()));
            }
            return true;
        }
        while self.messages.len() >= self.limit() || !self.has_room(frame.len()) {
            let oldest = |kind| self.messages.iter().position(move |queued| queued.kind == kind);
            // Never one of ours. An answer makes no room for itself: the others are as good.
            let victims = [Kind::Forward, Kind::Answer].into_iter();
            let victim = victims.filter(|_| kind != Kind::Answer).find_map(oldest);
            let Some(victim) = victim else {
                self.dropped += 1;
                return false;
            };
            self.drop_at(victim);
        }
        if self.messages.is_empty() && self.unwritten == 0 {
            self.progress = now;
        }
        if kind == Kind::Forward {
            self.forwards += 1;
        }
        self.bytes += frame.len();
        let may_hold = tells && frame.len() >= LARGE && kind == Kind::Forward;
        let hold = match may_hold {
            true => self.thrift.queued(now, id, frame.len()),
            false => Duration::ZERO,
        };
        let (begin, end) = (now + hold, now + kind.lifetime(frame.len()));
        self.messages.push_back(Queued { id, frame, kind, begin, end });
        true
    }

    /// Returns `true` if an answer of this length would be queued.
    pub(in crate::mesh) fn has_room_for_answer(&self, length: usize) -> bool {
        self.messages.len() < self.limit() && self.has_room(length)
    }

    const fn limit(&self) -> usize {
        if self.is_browser { BROWSER_QUEUE } else { OUTBOUND_QUEUE }
    }

    /// Returns `true` if there is room for the bytes of this message. There is always room for one.
    pub(in crate::mesh) fn has_room(&self, length: usize) -> bool {
        let first = self.messages.front().map_or(length, |queued| queued.frame.len());
        self.messages.is_empty() || self.bytes - first + length <= MAX_QUEUED_BYTES
    }

    /// Cancels a message, since the peer has it. Returns `true` if it was waiting.
    pub(in crate::mesh) fn cancel(&mut self, now: Instant, id: &Id) -> bool {
        self.thrift.has(now, id);
        let at = self.messages.iter().position(|queued| queued.id == *id);
        if let Some(at) = at {
            self.take_at(at);
        }
        at.is_some()
    }

    /// Takes the most urgent small message of at most `room` bytes.
    pub(in crate::mesh) fn take_small(&mut self, now: Instant, room: usize) -> Option<Frame> {
        self.expire(now);
        let small =
            self.messages.iter().enumerate().filter(|(_, queued)| queued.frame.len() < LARGE);
        let (at, queued) = small.min_by_key(|(at, queued)| (queued.kind, *at))?;
        if queued.frame.len() > room {
            return None;
        }
        self.take_at(at).map(|queued| queued.frame)
    }

    /// Returns the most urgent large message that may be sent: its kind, id and length.
    pub(in crate::mesh) fn next_large(&self, now: Instant) -> Option<(Kind, Id, usize)> {
        let large = self.large(now).filter(|queued| queued.begin <= now).enumerate();
        let (_, queued) = large.min_by_key(|(at, queued)| (queued.kind, *at))?;
        Some((queued.kind, queued.id, queued.frame.len()))
    }

    /// Returns `true` if a large message waits.
    pub(in crate::mesh) fn has_large(&self, now: Instant) -> bool {
        self.large(now).next().is_some()
    }

    /// Returns the next time at which a held-back large message may be sent.
    pub(in crate::mesh) fn next_large_at(&self, now: Instant) -> Option<Instant> {
        self.large(now).map(|queued| queued.begin).filter(|begin| *begin > now).min()
    }

    fn large(&self, now: Instant) -> impl Iterator<Item = &Queued> {
        let large = |queued: &&Queued| queued.frame.len() >= LARGE;
        self.messages.iter().filter(large).filter(move |queued| queued.end > now)
    }

    /// Updates the share of large messages that the peer needed.
    pub(in crate::mesh) fn settle(&mut self, now: Instant) {
        self.thrift.settle(now);
    }

    /// Takes a large message out, to send it.
    pub(in crate::mesh) fn take(&mut self, id: &Id) -> Option<Frame> {
        self.thrift.sent(id);
        let at = self.messages.iter().position(|queued| queued.id == *id)?;
        self.take_at(at).map(|queued| queued.frame)
    }

    /// Drops the messages whose time is over. Returns their number.
    pub(in crate::mesh) fn expire(&mut self, now: Instant) -> usize {
        let mut expired = 0;
        while let Some(at) = self.messages.iter().position(|queued| queued.end <= now) {
            self.drop_at(at);
            expired += 1;
        }
        expired
    }

    pub(in crate::mesh) fn add_idontwant(&mut self, id: Id) {
        if self.idontwant.len() == MAX_IDONTWANT {
            self.idontwant.pop_front();
        }
        self.idontwant.push_back(id);
    }

    /// Takes the oldest ids for an IDONTWANT.
    pub(in crate::mesh) fn take_idontwant(&mut self, at_most: usize) -> Vec<Id> {
        self.idontwant.drain(..at_most.min(self.idontwant.len())).collect()
    }

    pub(in crate::mesh) fn idontwant_waits(&self) -> usize {
        self.idontwant.len()
    }

    /// Returns `true` if there is a subscription, GRAFT, PRUNE, IHAVE or IWANT to send.
    pub(in crate::mesh) fn has_words(&self) -> bool {
        self.subscriptions.iter().any(Option::is_some)
            || self.mesh.iter().any(Option::is_some)
            || !self.iwant.is_empty()
            || !self.ihave.is_empty()
    }

    pub(in crate::mesh) fn has_small(&self) -> bool {
        self.messages.iter().any(|queued| queued.frame.len() < LARGE)
    }

    pub(in crate::mesh) fn messages(&self) -> usize {
        self.messages.len()
    }

    pub(in crate::mesh) const fn bytes(&self) -> usize {
        self.bytes
    }

    fn take_at(&mut self, at: usize) -> Option<Queued> {
        let queued = self.messages.remove(at)?;
        self.bytes -= queued.frame.len();
        Some(queued)
    }

    /// Returns the number of messages that were dropped since the last call.
    pub(in crate::mesh) const fn take_dropped(&mut self) -> u64 {
        std::mem::replace(&mut self.dropped, 0)
    }

    fn drop_at(&mut self, at: usize) {
        self.dropped += 1;
        // A peer that has read everything is not too slow: our uplink is.
        let is_its_fault = self.unwritten > 0;
        if self.take_at(at).is_some_and(|queued| queued.kind == Kind::Forward) && is_its_fault {
            self.expired += 1;
        }
    }
}
