//! Messages that peers advertised and that we asked for.
//!
//! # Bounds
//! [`MAX_PROMISES`] promises, [`PROMISES_PER_PEER`] of each peer, for [`PROMISE_TIME`]; two peers
//! for a message. A message that would be one too many is not asked for.

use super::Id;
use crate::peers::PeerId;
use crate::sorted::SortedMap;
use crate::time::Instant;
use std::time::Duration;

/// Maximum number of promises kept.
pub const MAX_PROMISES: usize = 4096;
/// Maximum number of promises kept of one peer.
pub const PROMISES_PER_PEER: usize = 64;
/// Time within which an advertised message must arrive after we asked for it.
pub const PROMISE_TIME: Duration = Duration::from_secs(3);
/// Maximum number of peers that are asked for one message at a time.
const ASKED_AT_ONCE: usize = 2;

#[derive(Clone, Debug, Default)]
pub(super) struct Promises {
    asked: SortedMap<Id, Vec<(PeerId, Instant)>>,
    per_peer: SortedMap<PeerId, usize>,
    count: usize,
}

impl Promises {
    /// Returns `true` if `peer` may be asked for this message: others were asked long enough ago
    /// (`patience`), and there is room.
    pub(super) fn may_ask(&self, now: Instant, id: &Id, peer: &PeerId, patience: Duration) -> bool {
        let asked = self.asked.get(id).map_or(&[][..], |asked| asked);
        asked.len() < ASKED_AT_ONCE
            && asked.iter().all(|(other, at)| other != peer && now.since(*at) >= patience)
            && self.count < MAX_PROMISES
            && self.per_peer.get(peer).is_none_or(|count| *count < PROMISES_PER_PEER)
    }

    /// Notes that `peer` was asked, which [`Self::may_ask`] allows.
    pub(super) fn insert(&mut self, now: Instant, id: Id, peer: PeerId) {
        self.asked.get_or_insert_with(id, Vec::new).push((peer, now));
        *self.per_peer.get_or_insert_with(peer, || 0) += 1;
        self.count += 1;
    }

    /// Forgets all promises of a message that arrived. Returns the peers that promised it.
    pub(super) fn fulfil(&mut self, id: &Id) -> Vec<PeerId> {
        let asked = self.asked.remove(id).unwrap_or_default();
        let peers: Vec<PeerId> = asked.into_iter().map(|(peer, _)| peer).collect();
        peers.iter().for_each(|peer| self.uncount(peer));
        peers
    }

    /// Forgets the promises of one peer.
    pub(super) fn void(&mut self, peer: &PeerId) {
        if let Some(count) = self.per_peer.remove(peer) {
            self.count -= count;
            self.asked.values_mut().for_each(|asked| asked.retain(|(of, _)| of != peer));
            self.asked.retain(|_, asked| !asked.is_empty());
        }
    }

    /// Forgets all promises.
    pub(super) fn void_all(&mut self) {
        *self = Self::default();
    }

    /// Removes the promises whose time is over, but for those that `excused` names by their peer
    /// and end, and returns their peers: one entry for each promise.
    pub(super) fn broken(
        &mut self,
        now: Instant,
        excused: impl Fn(&PeerId, Instant) -> bool,
    ) -> Vec<PeerId> {
        let mut broken = Vec::new();
        for asked in self.asked.values_mut() {
            asked.retain(|(peer, at)| {
                let end = *at + PROMISE_TIME;
                let is_broken = end <= now && !excused(peer, end);
                if is_broken {
                    broken.push(*peer);
                }
                !is_broken
            });
        }
        self.asked.retain(|_, asked| !asked.is_empty());
        broken.iter().for_each(|peer| self.uncount(peer));
        broken
    }

    pub(super) const fn len(&self) -> usize {
        self.count
    }

    fn uncount(&mut self, peer: &PeerId) {
        self.count -= 1;
        if let Some(count) = self.per_peer.get_mut(peer) {
            *count -= 1;
            if *count == 0 {
                self.per_peer.remove(peer);
            }
        }
    }
}
