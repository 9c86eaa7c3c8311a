//! Notices of large messages that are on their way.
//!
//! A large message takes a tenth of a second and more, in which the receiver's other neighbours
//! would begin to send it as well. So a peer that speaks our extension
//! ([`Transfer`](crate::mesh::wire::Transfer)) says `sending` right before a large message. The
//! receiver tells the rest of its mesh that it is `receiving` the message, and they hold their
//! copies back. The receiver's IDONTWANT, or a copy from it, then spares them. Otherwise the copies
//! are sent when a transfer should be over.
//!
//! # Lies
//! A peer that says `receiving` without reason gets its own copies late. A peer that says `sending`
//! without reason delays a message by [`MAX_HOLD`] at most, and once: a copy is held back by one
//! notice only. A notice is broken if no peer has sent the message after [`NOTICE_TIME`]. A
//! peer with [`BROKEN_LIMIT`] broken notices is not believed. A large message that it announced and
//! delivered makes up for one of them, and so does a minute. Broken notices cost no score:
//! congestion breaks them too.
//!
//! # Bounds
//! [`MAX_INCOMING`] announced transfers to us, at most [`NOTICES_PER_PEER`] of one peer. Further
//! notices are ignored. For each peer, [`HEARD`] ids that it is receiving, and [`MAX_RECEIVING`]
//! that we tell it about; the oldest go first.

use super::thrift::MAX_HOLD;
use crate::mesh::Id;
use crate::peers::PeerId;
use crate::time::Instant;
use std::collections::VecDeque;
use std::time::Duration;

/// Maximum number of announced transfers to us.
pub const MAX_INCOMING: usize = 64;
/// Maximum number of announced transfers of one peer to us.
pub const NOTICES_PER_PEER: usize = 8;
/// Time after its notice within which a message must arrive.
pub const NOTICE_TIME: Duration = Duration::from_secs(3);
/// Number of broken notices from which a peer's notices are ignored.
pub const BROKEN_LIMIT: u8 = 3;
/// Maximum number of broken notices that are held against a peer, so that it is believed again
/// after some minutes.
pub const MAX_BROKEN: u8 = 6;
/// Maximum number of notices that wait to be sent to one peer; the oldest go first.
pub const MAX_RECEIVING: usize = 16;
/// Maximum number of messages of which it is remembered that a peer is receiving them.
pub const HEARD: usize = 16;
/// Time for which a copy is held back, beside that of the transfer.
const BASE: Duration = Duration::from_millis(250);

/// Returns the time for which a copy of this length is held back, given the time that the peer
/// `usually` takes to announce such a message.
pub(super) fn hold(length: usize, usually: Option<Duration>) -> Duration {
    // A megabyte per second is slow, and shared by several transfers.
    let expected = BASE + Duration::from_micros(length as u64);
    usually.map_or(expected, |usually| usually.max(expected)).min(MAX_HOLD)
}

/// Messages that one peer said it is receiving.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard {
    /// Oldest first.
    notices: VecDeque<(Id, Instant)>,
}

impl Heard {
    /// Records a notice. Repeating it changes nothing.
    pub(super) fn insert(&mut self, now: Instant, id: Id) {
        while self.notices.front().is_some_and(|(_, at)| now.since(*at) >= MAX_HOLD) {
            self.notices.pop_front();
        }
        if self.find(now, &id).is_some() {
            return;
        }
        if self.notices.len() == HEARD {
            self.notices.pop_front();
        }
        self.notices.push_back((id, now));
    }

    /// Returns the time of a notice, unless it is too old to matter.
    pub(super) fn find(&self, now: Instant, id: &Id) -> Option<Instant> {
        let mut young = self.notices.iter().filter(|(_, at)| now.since(*at) < MAX_HOLD);
        young.find(|(of, _)| of == id).map(|(_, at)| *at)
    }

    pub(super) fn len(&self) -> usize {
        self.notices.len()
    }
}

/// A transfer to us that a peer announced.
#[derive(Clone, Copy, Debug)]
struct Announced {
    id: Id,
    peer: PeerId,
    at: Instant,
}

/// The announced transfers of messages that we don't have yet.
#[derive(Clone, Debug, Default)]
pub(in crate::mesh) struct Incoming {
    /// Oldest first.
    announced: Vec<Announced>,
}

impl Incoming {
    /// Records that `peer` begins to send a message. Returns `true` if the others should be told:
    /// none of them sends it.
    pub(in crate::mesh) fn begin(&mut self, now: Instant, id: Id, peer: PeerId) -> bool {
        let of_peer = self.announced.iter().filter(|of| of.peer == peer).count();
        let is_new = self.announced.iter().all(|of| of.id != id);
        let is_repeated = self.announced.iter().any(|of| of.id == id && of.peer == peer);
        if is_repeated || of_peer >= NOTICES_PER_PEER || self.announced.len() >= MAX_INCOMING {
            return false;
        }
        self.announced.push(Announced { id, peer, at: now });
        is_new
    }

    /// Forgets the transfers of a message that arrived. Returns the peers that announced them.
    pub(in crate::mesh) fn arrived(&mut self, id: &Id) -> Vec<PeerId> {
        self.announced.extract_if(.., |of| of.id == *id).map(|of| of.peer).collect()
    }

    /// Forgets the transfers of one peer.
    pub(in crate::mesh) fn void(&mut self, peer: &PeerId) {
        self.announced.retain(|of| of.peer != *peer);
    }

    /// Forgets all transfers.
    pub(in crate::mesh) fn void_all(&mut self) {
        self.announced.clear();
    }

    /// Removes the transfers whose time is over, and returns the peer of each. Those for which
    /// `excused(peer, end)` is `true` are kept.
    pub(in crate::mesh) fn broken(
        &mut self,
        now: Instant,
        excused: impl Fn(&PeerId, Instant) -> bool,
    ) -> Vec<PeerId> {
        let is_broken = |of: &mut Announced| {
            let end = of.at + NOTICE_TIME;
            end <= now && !excused(&of.peer, end)
        };
        self.announced.extract_if(.., is_broken).map(|of| of.peer).collect()
    }

    pub(in crate::mesh) const fn len(&self) -> usize {
        self.announced.len()
    }
}
