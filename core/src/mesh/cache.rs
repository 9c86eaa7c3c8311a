//! Accepted messages, to advertise them and to answer IWANT.
//!
//! # Bounds
//! [`MAX_CACHED`] messages and [`MAX_CACHED_BYTES`], for [`HISTORY_LENGTH`] heartbeats; the oldest
//! go first. Only accepted messages are added. Answers to at most [`MAX_ASKERS`] peers are counted
//! for each message; further peers get no answer.

use super::{Frame, Id, Topic};
use crate::gossip::{HISTORY_GOSSIP, HISTORY_LENGTH};
use crate::peers::PeerId;
use crate::sorted::SortedMap;
use std::collections::VecDeque;

/// Maximum number of messages kept.
pub const MAX_CACHED: usize = 256;
/// Maximum number of bytes kept.
pub const MAX_CACHED_BYTES: usize = 64 << 20;
/// Maximum number of peers that one message is sent to on request.
pub const MAX_ASKERS: usize = 1024;
/// Maximum number of times that one message is sent to one peer on request.
pub const RETRANSMISSIONS: u8 = 3;

#[derive(Clone, Debug)]
struct Cached {
    id: Id,
    topic: Topic,
    frame: Frame,
    /// Number of heartbeats since.
    age: usize,
    askers: SortedMap<PeerId, u8>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Cache {
    /// Oldest first.
    messages: VecDeque<Cached>,
    bytes: usize,
}

impl Cache {
    pub(super) fn insert(&mut self, id: Id, topic: Topic, frame: Frame) {
        self.bytes += frame.len();
        self.messages.push_back(Cached { id, topic, frame, age: 0, askers: SortedMap::new() });
        while self.messages.len() > MAX_CACHED || self.bytes > MAX_CACHED_BYTES {
            self.forget_oldest();
        }
    }

    /// Returns a message and its topic if `peer` may receive it once more. Does not count the
    /// answer.
    pub(super) fn find(&self, id: &Id, peer: &PeerId) -> Option<(Topic, &Frame)> {
        let cached = self.messages.iter().rev().find(|cached| cached.id == *id)?;
        let may = match cached.askers.get(peer) {
            Some(count) => *count < RETRANSMISSIONS,
            None => cached.askers.len() < MAX_ASKERS,
        };
        may.then_some((cached.topic, &cached.frame))
    }

    /// Counts an answer to `peer`.
    pub(super) fn count(&mut self, id: &Id, peer: &PeerId) {
        if let Some(cached) = self.messages.iter_mut().rev().find(|cached| cached.id == *id) {
            *cached.askers.get_or_insert_with(*peer, || 0) += 1;
        }
    }

    /// Returns the ids to advertise, newest first.
    pub(super) fn advertised(&self, topic: Topic) -> impl Iterator<Item = &Id> {
        let young = self.messages.iter().rev().take_while(|cached| cached.age < HISTORY_GOSSIP);
        young.filter(move |cached| cached.topic == topic).map(|cached| &cached.id)
    }

    /// Ages all messages by a heartbeat.
    pub(super) fn shift(&mut self) {
        self.messages.iter_mut().for_each(|cached| cached.age += 1);
        while self.messages.front().is_some_and(|cached| cached.age >= HISTORY_LENGTH) {
            self.forget_oldest();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    fn forget_oldest(&mut self) {
        if let Some(oldest) = self.messages.pop_front() {
            self.bytes -= oldest.frame.len();
        }
    }
}
