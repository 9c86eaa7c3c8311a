//! Order in which peers receive large messages.
//!
//! Peers relay what they have, so the first copies matter most: they go to the peers that will have
//! them soonest, and among equally fast ones to those that depend on us most. The others often
//! receive the message from another peer in the meantime, and say so.
//!
//! A turn lasts until the shell has written the message, and then as long as the message keeps our
//! [line](super::line) busy.

use super::line::Line;
use crate::mesh::Id;
use crate::mesh::send::Kind;
use crate::peers::PeerId;
use crate::sorted::SortedMap;
use crate::time::Instant;
use std::time::Duration;

/// Time without progress after which a peer's turn no longer keeps others waiting.
pub const PATIENCE: Duration = Duration::from_millis(250);
/// Time after which a turn no longer keeps others waiting, whatever its progress. It is shorter
/// than the time for which a relayed message is worth sending.
pub const STUCK: Duration = Duration::from_millis(1500);
/// Slowest transfer that keeps others waiting for longer than [`PATIENCE`], in bytes per second.
/// Otherwise a peer that reads a few bytes now and then would delay all others.
pub const MIN_SPEED: u64 = 256 << 10;
/// Assumed speed of a peer that was not measured, in bytes per second.
const UNKNOWN_SPEED: u64 = 2 << 20;

/// How much a peer needs a message; the smallest goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::mesh) struct Need {
    pub(in crate::mesh) kind: Kind,
    pub(in crate::mesh) is_browser: bool,
    /// Expected time of the transfer and a round trip: doublings of a millisecond.
    pub(in crate::mesh) slowness: u32,
    /// Number of messages that the peer had before us: it has other sources.
    pub(in crate::mesh) independence: u32,
    /// Decides between equals, differently for each message.
    pub(in crate::mesh) draw: u64,
}

#[derive(Clone, Copy, Debug)]
struct Turn {
    id: Id,
    since: Instant,
    progress: Instant,
    /// Number of bytes written since the turn began.
    written: usize,
    length: usize,
    is_browser: bool,
    /// Whether the shell has taken the frame.
    is_taken: bool,
}

/// The present turns and the measured speeds of the peers: at most one of each per peer.
#[derive(Clone, Debug, Default)]
pub(in crate::mesh) struct Uplink {
    turns: SortedMap<PeerId, Turn>,
    /// Bytes per second.
    speeds: SortedMap<PeerId, u64>,
    /// Messages to nodes that were written and may not have left yet.
    line: Line,
}

impl Uplink {
    /// Returns `true` if another node, or another browser, may have its turn. Neither waits for
    /// the other kind.
    pub(in crate::mesh) fn is_free(&self, now: Instant, is_browser: bool, at_once: usize) -> bool {
        let same = self.turns.values().filter(|turn| turn.is_browser == is_browser);
        let written = self.leaving(now).filter(|_| !is_browser);
        same.filter(|turn| blocks(turn, now)).count() + written.count() < at_once
    }

    /// Returns the times at which written messages have left.
    fn leaving(&self, now: Instant) -> impl Iterator<Item = Instant> {
        let written = self.line.busy(now).filter(|(peer, _)| !self.turns.contains_key(peer));
        written.map(|(_, due)| due)
    }

    pub(in crate::mesh) fn begin(
        &mut self,
        now: Instant,
        peer: PeerId,
        is_browser: bool,
        (id, length): (Id, usize),
    ) {
        let (since, progress) = (now, now);
        let turn = Turn { id, since, progress, written: 0, length, is_browser, is_taken: false };
        self.turns.insert(peer, turn);
    }

    /// Returns the message whose turn it is at this peer and which was not taken yet.
    pub(in crate::mesh) fn offered(&self, peer: &PeerId) -> Option<Id> {
        self.turns.get(peer).filter(|turn| !turn.is_taken).map(|turn| turn.id)
    }

    pub(in crate::mesh) fn has_turn(&self, peer: &PeerId) -> bool {
        self.turns.contains_key(peer)
    }

    /// Records that the shell took the message. `answers`: the peer will acknowledge it.
    pub(in crate::mesh) fn taken(&mut self, now: Instant, peer: &PeerId, answers: bool) {
        let Some(turn) = self.turns.get_mut(peer) else { return };
        (turn.is_taken, turn.since, turn.progress) = (true, now, now);
        if !turn.is_browser {
            self.line.taken(now, peer, (turn.id, turn.length), answers);
        }
    }

    /// Records that `peer` has received a message, and the time of a round trip to it.
    pub(in crate::mesh) fn acknowledged(
        &mut self,
        now: Instant,
        peer: &PeerId,
        id: &Id,
        round_trip: Duration,
    ) {
        self.line.acknowledged(now, peer, id, round_trip);
    }

    /// Ends the turn of a peer whose offered message was cancelled.
    pub(in crate::mesh) fn revoke(&mut self, peer: &PeerId, id: &Id) {
        if self.offered(peer) == Some(*id) {
            self.turns.remove(peer);
        }
    }

    /// Records that the shell wrote `bytes` to `peer`, and whether that was all it had. Returns
    /// `true` if the turn ended.
    pub(in crate::mesh) fn written(
        &mut self,
        now: Instant,
        peer: &PeerId,
        bytes: usize,
        is_all: bool,
    ) -> bool {
        let Some(turn) = self.turns.get_mut(peer).filter(|turn| turn.is_taken) else {
            return false;
        };
        turn.progress = now;
        turn.written = turn.written.saturating_add(bytes);
        if !is_all {
            return false;
        }
        let micros = now.since(turn.since).as_micros().max(100);
        let measured = u64::try_from(turn.length as u128 * 1_000_000 / micros).unwrap_or(u64::MAX);
        let speed = self.speeds.get_or_insert_with(*peer, || measured);
        // One slow transfer counts at once, a quick one slowly.
        *speed = (*speed / 2 + measured / 2).min(measured.saturating_mul(4));
        self.turns.remove(peer);
        true
    }

    pub(in crate::mesh) fn forget(&mut self, peer: &PeerId) {
        self.turns.remove(peer);
        self.speeds.remove(peer);
        self.line.forget(peer);
    }

    /// Returns the expected time for `length` bytes to `peer`, in doublings of a millisecond. The
    /// line to a distant peer takes a round trip longer to speed up.
    pub(in crate::mesh) fn slowness(
        &self,
        peer: &PeerId,
        length: usize,
        round_trip: Duration,
    ) -> u32 {
        let speed = self.speeds.get(peer).copied().unwrap_or(UNKNOWN_SPEED).max(1);
        let round_trip = u64::try_from(round_trip.as_millis()).unwrap_or(u64::MAX);
        let millis = ((length as u64).saturating_mul(1000) / speed).saturating_add(round_trip);
        64 - (millis | 1).leading_zeros()
    }

    /// Returns the time at which a turn stops keeping others waiting.
    pub(in crate::mesh) fn next_wakeup(&self, now: Instant) -> Option<Instant> {
        let ends = self.turns.values().filter(|turn| blocks(turn, now)).map(end_of);
        ends.chain(self.leaving(now)).min()
    }

    pub(in crate::mesh) fn len(&self) -> usize {
        self.turns.len()
    }
}

fn end_of(turn: &Turn) -> Instant {
    let earned = Duration::from_millis((turn.written as u64).saturating_mul(1000) / MIN_SPEED);
    let slowest = turn.since + PATIENCE + earned;
    (turn.progress + PATIENCE).min(slowest).min(turn.since + STUCK)
}

fn blocks(turn: &Turn, now: Instant) -> bool {
    end_of(turn) > now
}
