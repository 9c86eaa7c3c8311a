//! Promises: messages that peers advertised with IHAVE and that we requested with IWANT.
//!
//! Peers are asked for a message one after another, so that few copies arrive. A doubtful peer does
//! not delay the request to the next peer, so peers that advertise without delivering can't keep us
//! from asking honest ones. A peer is doubtful if it is a debtor, which has let a promise become
//! overdue and has kept none since. A member of our mesh is doubtful too: it should have sent the
//! message instead of advertising it.
//!
//! # Bounds
//! [`MAX_PROMISES`] promises, [`PROMISES_PER_PEER`] per peer, [`PROMISES_PER_ID`] per message, each
//! for [`PROMISE_TIME`]. Beyond these, no message is requested.

use super::Id;
use crate::peers::PeerId;
use crate::sorted::SortedMap;
use crate::time::Instant;
use std::time::Duration;

/// Maximum number of promises.
pub const MAX_PROMISES: usize = 4096;
/// Maximum number of promises by one peer.
pub const PROMISES_PER_PEER: usize = 64;
/// Maximum number of promises of one message.
pub const PROMISES_PER_ID: usize = 8;
/// Time after our request within which an advertised message must arrive.
pub const PROMISE_TIME: Duration = Duration::from_secs(3);
/// Time after which a promise is overdue, and its peer becomes a debtor.
const OVERDUE: Duration = Duration::from_secs(1);
/// Maximum number of promises of one message by doubtful peers.
const DOUBTFUL_PER_ID: usize = PROMISES_PER_ID / 2;

#[derive(Clone, Copy, Debug)]
struct Promise {
    peer: PeerId,
    at: Instant,
    /// Whether the peer was doubtful when it was asked.
    is_doubtful: bool,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Promises {
    asked: SortedMap<Id, Vec<Promise>>,
    per_peer: SortedMap<PeerId, usize>,
    count: usize,
}

impl Promises {
    /// Returns `true` if `peer` may be asked for this message: the other peers were asked at least
    /// `patience` ago, and no bound is reached.
    pub(super) fn may_ask(
        &self,
        now: Instant,
        id: &Id,
        peer: &PeerId,
        is_doubtful: bool,
        patience: Duration,
    ) -> bool {
        let of_peer = self.per_peer.get(peer).copied().unwrap_or_default();
        if self.count >= MAX_PROMISES || of_peer >= PROMISES_PER_PEER {
            return false;
        }
        let asked = self.asked.get(id).map_or(&[][..], |asked| asked);
        if asked.len() >= PROMISES_PER_ID || asked.iter().any(|promise| promise.peer == *peer) {
            return false;
        }
        if is_doubtful {
            return asked.iter().filter(|promise| promise.is_doubtful).count() < DOUBTFUL_PER_ID;
        }
        let mut others = asked.iter().filter(|promise| !promise.is_doubtful);
        others.all(|promise| now.since(promise.at) >= patience)
    }

    /// Records that `peer` was asked. The caller has checked [`Self::may_ask`].
    pub(super) fn insert(&mut self, now: Instant, id: Id, peer: PeerId, is_doubtful: bool) {
        *self.per_peer.get_or_insert_with(peer, || 0) += 1;
        let promise = Promise { peer, at: now, is_doubtful };
        self.asked.get_or_insert_with(id, Vec::new).push(promise);
        self.count += 1;
    }

    /// Returns `true` if `peer` was asked for this message, and still has time.
    pub(super) fn is_asked(&self, id: &Id, peer: &PeerId) -> bool {
        self.asked.get(id).is_some_and(|asked| asked.iter().any(|promise| promise.peer == *peer))
    }

    /// Forgets all promises of a message that arrived. Returns the peers that promised it.
    pub(super) fn fulfil(&mut self, id: &Id) -> Vec<PeerId> {
        let asked = self.asked.remove(id).unwrap_or_default();
        let peers: Vec<PeerId> = asked.into_iter().map(|promise| promise.peer).collect();
        peers.iter().for_each(|peer| self.uncount(peer));
        peers
    }

    /// Forgets the promises of one peer.
    pub(super) fn void(&mut self, peer: &PeerId) {
        if let Some(count) = self.per_peer.remove(peer) {
            self.count -= count;
            self.asked.values_mut().for_each(|asked| asked.retain(|of| of.peer != *peer));
            self.asked.retain(|_, asked| !asked.is_empty());
        }
    }

    /// Forgets all promises.
    pub(super) fn void_all(&mut self) {
        *self = Self::default();
    }

    /// Removes the promises that have expired, and returns the peer of each. Promises for which
    /// `excused(peer, end)` is `true` are kept.
    pub(super) fn broken(
        &mut self,
        now: Instant,
        excused: impl Fn(&PeerId, Instant) -> bool,
    ) -> Vec<PeerId> {
        let mut broken = Vec::new();
        for asked in self.asked.values_mut() {
            asked.retain(|promise| {
                let end = promise.at + PROMISE_TIME;
                let is_broken = end <= now && !excused(&promise.peer, end);
                if is_broken {
                    broken.push(promise.peer);
                }
                !is_broken
            });
        }
        self.asked.retain(|_, asked| !asked.is_empty());
        broken.iter().for_each(|peer| self.uncount(peer));
        broken
    }

    /// Returns the peer of each overdue promise, except those for which `excused(peer, end)` is
    /// `true`.
    pub(super) fn overdue(
        &self,
        now: Instant,
        excused: impl Fn(&PeerId, Instant) -> bool,
    ) -> impl Iterator<Item = PeerId> {
        let promises = self.asked.values().flatten();
        promises
            .filter(move |promise| {
                let end = promise.at + OVERDUE;
                end <= now && !excused(&promise.peer, end)
            })
            .map(|promise| promise.peer)
    }

    pub(super) const fn len(&self) -> usize {
        self.count
    }

    fn uncount(&mut self, peer: &PeerId) {
        self.count -= 1;
        self.per_peer.decrement(peer);
    }
}
