//! Outbox of one peer.

use super::notices::{self, Heard, MAX_RECEIVING};
use super::thrift::Thrift;
use crate::gossip::OUTBOUND_QUEUE;
use crate::mesh::ids::Topics;
use crate::mesh::{Frame, Id, MAX_TOPICS};
use crate::time::Instant;
use std::collections::VecDeque;
use std::time::Duration;

/// Length in bytes from which a frame is large: it waits for its turn on our uplink.
pub const LARGE: usize = 12 << 10;
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
    /// Whether a notice of the peer may hold it back, which happens once.
    may_hold: bool,
    /// Whether a notice of the peer holds it back, or did so.
    is_noticed: bool,
}

/// Events since they were last counted.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::mesh) struct Tally {
    /// Dropped messages of any kind.
    pub(in crate::mesh) dropped: u64,
    /// Messages that a notice held back.
    pub(in crate::mesh) held: u64,
    /// Those of them that the peer then had from another.
    pub(in crate::mesh) spared: u64,
}

#[derive(Clone, Debug, Default)]
pub(in crate::mesh) struct Outbox {
    pub(in crate::mesh) subscriptions: [Option<bool>; MAX_TOPICS],
    pub(in crate::mesh) mesh: [Option<Say>; MAX_TOPICS],
    idontwant: VecDeque<Id>,
    pub(in crate::mesh) iwant: Vec<Id>,
    /// Messages that we are receiving from others, oldest first.
    receiving: Vec<Id>,
    /// Large messages of the peer that we received, oldest first.
    received: Vec<Id>,
    /// Whether the next subscription is the first one on this stream.
    pub(in crate::mesh) introduces: bool,
    /// The message that the peer was told is being sent, until it is taken, and the length of the
    /// frame that said so.
    pub(in crate::mesh) told: Option<(Id, usize)>,
    /// Messages that the peer is receiving from others.
    heard: Heard,
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
    tally: Tally,
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
                queued.may_hold = false;
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
                self.tally.dropped += 1;
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
        let is_tracked = tells && frame.len() >= LARGE && kind == Kind::Forward;
        let hold = match is_tracked {
            true => self.thrift.queued(now, id, frame.len()),
            false => Duration::ZERO,
        };
        let (begin, end) = (now + hold, now + kind.lifetime(frame.len()));
        let may_hold = kind != Kind::Answer;
        self.messages.push_back(Queued {
            id,
            frame,
            kind,
            begin,
            end,
            may_hold,
            is_noticed: false,
        });
        if let Some(said) = self.heard.find(now, &id) {
            self.hold_back(now, said, &id);
        }
        true
    }

    /// Records that the peer is receiving a message from another. Returns `true` if it waits here
    /// and is held back now.
    pub(in crate::mesh) fn peer_receives(&mut self, now: Instant, id: &Id) -> bool {
        self.heard.insert(now, *id);
        let is_held = self.hold_back(now, now, id);
        if is_held {
            self.told.take_if(|(of, _)| *of == *id);
        }
        is_held
    }

    /// Holds a large message back because the peer `said` at that time that it is receiving it.
    /// Returns `false` if there is no such message, or it was held back before.
    fn hold_back(&mut self, now: Instant, said: Instant, id: &Id) -> bool {
        let Some(queued) = self.messages.iter_mut().find(|queued| queued.id == *id) else {
            return false;
        };
        let length = queued.frame.len();
        let until = said + notices::hold(length, self.thrift.usual(length));
        if !queued.may_hold || length < LARGE || until <= now {
            return false;
        }
        (queued.may_hold, queued.is_noticed) = (false, true);
        queued.begin = queued.begin.max(until);
        // The wait makes it no less worth sending.
        queued.end = queued.end + until.since(now);
        self.thrift.noticed(id);
        self.tally.held += 1;
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

    /// Records that the peer acknowledged our copy of a message.
    pub(in crate::mesh) fn was_received(&mut self, id: &Id) {
        self.thrift.received(id);
    }

    /// Cancels a message, since the peer has it. Returns `true` if it was waiting.
    ///
    /// `answers`: the peer acknowledges large messages of ours that it did not have.
    pub(in crate::mesh) fn cancel(&mut self, now: Instant, id: &Id, answers: bool) -> bool {
        self.thrift.has(now, id, answers);
        self.told.take_if(|(of, _)| *of == *id);
        let at = self.messages.iter().position(|queued| queued.id == *id);
        let Some(queued) = at.and_then(|at| self.take_at(at)) else { return false };
        self.tally.spared += u64::from(queued.is_noticed);
        true
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

    /// Returns `true` if a large message may be handed out: all before it is written, but for the
    /// words that announce it.
    pub(in crate::mesh) fn may_follow(&self, id: &Id) -> bool {
        let words = self.told.filter(|(of, _)| of == id).map_or(0, |(_, length)| length);
        self.unwritten <= words
    }

    /// Returns `true` if a large message waits, and the peer was not told that it comes.
    pub(in crate::mesh) fn is_untold(&self, id: &Id) -> bool {
        self.told.is_none_or(|(of, _)| of != *id)
            && self.messages.iter().any(|queued| queued.id == *id)
    }

    /// Takes a large message out, to send it.
    pub(in crate::mesh) fn take(&mut self, id: &Id) -> Option<Frame> {
        self.told = None;
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

    /// Queues an id for an IDONTWANT. That the message is being received goes without saying then.
    pub(in crate::mesh) fn add_idontwant(&mut self, id: Id) {
        self.receiving.retain(|of| *of != id);
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

    /// Queues a notice that we are receiving a message from another peer.
    pub(in crate::mesh) fn add_receiving(&mut self, id: Id) {
        push(&mut self.receiving, id);
    }

    /// Takes all notices of what we are receiving.
    pub(in crate::mesh) fn take_receiving(&mut self) -> Vec<Id> {
        std::mem::take(&mut self.receiving)
    }

    /// Queues an acknowledgement of a message.
    pub(in crate::mesh) fn add_received(&mut self, id: Id) {
        push(&mut self.received, id);
    }

    /// Takes all acknowledgements.
    pub(in crate::mesh) fn take_received(&mut self) -> Vec<Id> {
        std::mem::take(&mut self.received)
    }

    /// Returns the number of notices of one kind that wait, or of those by the peer that are
    /// remembered, whichever is larger.
    pub(in crate::mesh) fn notices(&self) -> usize {
        self.receiving.len().max(self.received.len()).max(self.heard.len())
    }

    /// Returns `true` if there is a subscription, GRAFT, PRUNE, IHAVE, IWANT or notice to send.
    pub(in crate::mesh) fn has_words(&self) -> bool {
        self.subscriptions.iter().any(Option::is_some)
            || self.mesh.iter().any(Option::is_some)
            || !self.iwant.is_empty()
            || !self.ihave.is_empty()
            || !self.receiving.is_empty()
            || !self.received.is_empty()
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

    /// Returns what happened since the last call.
    pub(in crate::mesh) fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    fn drop_at(&mut self, at: usize) {
        self.tally.dropped += 1;
        // A peer that has read everything is not too slow: our uplink is.
        let is_its_fault = self.unwritten > 0;
        if self.take_at(at).is_some_and(|queued| queued.kind == Kind::Forward) && is_its_fault {
            self.expired += 1;
        }
    }
}

/// Adds an id to a bounded queue of notices.
fn push(notices: &mut Vec<Id>, id: Id) {
    if notices.len() == MAX_RECEIVING {
        notices.remove(0);
    }
    notices.push(id);
}
