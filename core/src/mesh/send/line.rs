//! Speed of our line, and the time for which large messages keep it busy.
//!
//! The shell can't tell when a message has left: encryption, multiplexing and the kernel take whole
//! megabytes at once. So a peer that speaks our extension acknowledges each large message with
//! [`received`](crate::mesh::wire::Transfer::Received). The time until then shows the speed of our
//! line, and the speed shows for how long each further message keeps the line busy. Messages to
//! peers that don't acknowledge them are paced by the same speed.
//!
//! The speed is the best of the last [`WINDOW`] to twice as many measurements. A slow receiver, a
//! connection that starts slowly, and a peer that acknowledges late therefore don't lower it, as
//! long as others are fast. Messages are sent a quarter faster than that, so that a line that
//! became faster is noticed. A peer that acknowledges too soon can make us send all copies in
//! parallel. One that acknowledges too late delays nothing for longer than the best of the others
//! allows; before the first measurement, [`ASSUMED`] counts for those that acknowledge.
//!
//! # Bounds
//! One message per peer. A message keeps the line busy for at most [`STUCK`].

use super::uplink::STUCK;
use crate::mesh::Id;
use crate::peers::PeerId;
use crate::sorted::SortedMap;
use crate::time::Instant;
use std::time::Duration;

/// Number of measurements after which older ones no longer count, in the second period.
const WINDOW: u8 = 16;
/// Length in bytes from which a message measures the line. The time of a shorter one is that of a
/// round trip.
const TELLING: usize = 64 << 10;
/// Assumed speed of a line that was not measured, in bytes per second.
const ASSUMED: u64 = 8 << 20;
/// Time after which a message is not expected to be acknowledged any more.
const LOST: Duration = Duration::from_secs(3);

/// A large message that the shell has taken, until it is acknowledged.
#[derive(Clone, Copy, Debug)]
struct Travelling {
    id: Id,
    length: usize,
    since: Instant,
    /// Time until which it keeps the line busy.
    due: Instant,
    /// Value of [`Line::delivered`] when it began, and since when it had this value while messages
    /// were on their way.
    delivered: (u64, Instant),
}

/// The best of two periods.
#[derive(Clone, Copy, Debug, Default)]
struct Best {
    count: u8,
    now: u64,
    before: u64,
}

impl Best {
    fn add(&mut self, speed: u64) {
        self.now = self.now.max(speed);
        self.count += 1;
        if self.count == WINDOW {
            *self = Self { count: 0, now: 0, before: self.now };
        }
    }

    fn get(self) -> Option<u64> {
        Some(self.now.max(self.before)).filter(|speed| *speed > 0)
    }
}

/// Our line. It carries messages to nodes; those to browsers are not counted.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    travelling: SortedMap<PeerId, Travelling>,
    /// In bytes per second.
    speed: Best,
    /// Time until which the messages that were taken keep the line busy.
    busy: Instant,
    /// Number of acknowledged bytes.
    delivered: u64,
    /// Time of the last acknowledgement.
    delivered_at: Instant,
}

impl Line {
    /// Records that the shell took a message. `answers`: the peer will acknowledge it.
    pub(super) fn taken(
        &mut self,
        now: Instant,
        peer: &PeerId,
        (id, length): (Id, usize),
        answers: bool,
    ) {
        let due = match self.speed.get() {
            Some(speed) => {
                let begin = self.busy.max(now);
                self.busy = (begin + time_for(length, speed) * 4 / 5).min(now + STUCK);
                self.busy
            }
            None if answers => now + time_for(length, ASSUMED),
            None => now,
        };
        self.travelling.retain(|_, sent| now.since(sent.since) < LOST);
        let since = if self.travelling.is_empty() { now } else { self.delivered_at };
        let delivered = (self.delivered, since);
        let travelling = Travelling { id, length, since: now, due, delivered };
        self.travelling.insert(*peer, travelling);
    }

    /// Records that `peer` has a message, and the time of a round trip to it.
    pub(super) fn acknowledged(
        &mut self,
        now: Instant,
        peer: &PeerId,
        id: &Id,
        round_trip: Duration,
    ) {
        let Some(sent) = self.travelling.get(peer).filter(|sent| sent.id == *id).copied() else {
            return;
        };
        self.travelling.remove(peer);
        self.delivered = self.delivered.saturating_add(sent.length as u64);
        self.delivered_at = now;
        if sent.length >= TELLING {
            let took = now.since(sent.since);
            // Messages that travelled beside this one had their share.
            let (before, since) = sent.delivered;
            let all = speed(self.delivered - before, now.since(since));
            // The round trip is an older one, and may be too long.
            let alone = speed(sent.length as u64, took.saturating_sub(round_trip).max(took / 4));
            self.speed.add(all.max(alone));
        }
        if !self.travelling.values().any(|other| other.due > now) {
            self.busy = now;
        }
    }

    pub(super) fn forget(&mut self, peer: &PeerId) {
        self.travelling.remove(peer);
    }

    /// Returns the peers whose messages keep the line busy, and until when.
    pub(super) fn busy(&self, now: Instant) -> impl Iterator<Item = (&PeerId, Instant)> {
        self.travelling
            .iter()
            .map(|(peer, sent)| (peer, sent.due))
            .filter(move |(_, due)| *due > now)
    }
}

/// Returns the time for this many bytes at a speed in bytes per second.
fn time_for(length: usize, speed: u64) -> Duration {
    Duration::from_micros((length as u64).saturating_mul(1_000_000) / speed.max(1))
}

/// Returns a speed in bytes per second.
fn speed(bytes: u64, took: Duration) -> u64 {
    let micros = took.as_micros().max(100);
    u64::try_from(u128::from(bytes) * 1_000_000 / micros).unwrap_or(u64::MAX)
}
