//! Control messages about messages: IHAVE, IWANT, IDONTWANT.

use super::{Held, MAX_HELD, Router};
use crate::gossip::MAX_IHAVE_IDS;
use crate::mesh::budget::Good;
use crate::mesh::promises::PROMISES_PER_PEER;
use crate::mesh::send::{Kind, LARGE, MAX_IWANT};
use crate::mesh::wire::{Control, Ids, Rpc};
use crate::mesh::{Id, Topic};
use crate::peers::PeerId;
use crate::time::Instant;
use std::time::Duration;

/// Maximum number of frames with IHAVE from one peer between two heartbeats.
const IHAVE_FRAMES: usize = 10;
/// Time for which an advertised id waits for messages that have no name yet.
const HOLD: Duration = Duration::from_millis(100);

impl Router {
    /// Applies the control messages of a frame, as far as the sender can pay for them.
    pub(super) fn control(&mut self, now: Instant, peer: &PeerId, rpc: &Rpc<'_>) {
        if !self.paid_control(now, peer, rpc) {
            self.charge_rest(now, peer, rpc);
        }
    }

    /// Charges for the unread part of a frame: about as many entries as it has ids.
    pub(super) fn charge_rest(&mut self, now: Instant, peer: &PeerId, rpc: &Rpc<'_>) {
        let entries = rpc.overhead() / (self.config.id_length + 2).max(1);
        self.charge(now, peer, Good::ControlEntries, entries.max(1));
    }

    /// Returns `false` if the sender could not pay for all of it.
    fn paid_control(&mut self, now: Instant, peer: &PeerId, rpc: &Rpc<'_>) -> bool {
        let may_gossip = self.score(now, peer) >= self.config.thresholds.gossip;
        // What a peer does not want counts before it is answered.
        for control in rpc.control() {
            let is_paid = match control {
                Control::IDontWant(ids) => self.on_idontwant(now, peer, ids),
                _ => true,
            };
            if !is_paid {
                return false;
            }
        }
        let mut has_ihave = false;
        for control in rpc.control() {
            let is_paid = match control {
                Control::IDontWant(_) => true,
                Control::IHave { topic, ids } => {
                    if !std::mem::replace(&mut has_ihave, true)
                        && let Some(known) = self.peers.get_mut(peer)
                    {
                        known.ihave_frames += 1;
                    }
                    self.on_ihave(now, peer, self.find_topic(topic), ids, may_gossip)
                }
                Control::IWant(ids) => self.on_iwant(now, peer, ids, may_gossip),
                Control::Graft(topic) => {
                    let is_paid = self.charge(now, peer, Good::ControlEntries, 1);
                    if let Some(topic) = self.find_topic(topic).filter(|_| is_paid) {
                        self.on_graft(now, topic, peer);
                    }
                    is_paid
                }
                Control::Prune { topic, backoff } => {
                    let is_paid = self.charge(now, peer, Good::ControlEntries, 1);
                    if let Some(topic) = self.find_topic(topic).filter(|_| is_paid) {
                        self.on_prune(now, topic, peer, backoff);
                    }
                    is_paid
                }
            };
            if !is_paid {
                return false;
            }
        }
        true
    }

    /// Returns the id if its length is right. An id of another length is skipped, and costs the
    /// same.
    pub(super) fn read_id(&self, id: &[u8]) -> Option<Id> {
        Id::new(id).filter(|_| id.len() == self.config.id_length)
    }

    fn on_idontwant(&mut self, now: Instant, peer: &PeerId, ids: Ids<'_>) -> bool {
        for id in ids {
            if !self.charge(now, peer, Good::ControlEntries, 1) {
                return false;
            }
            let key = self.key;
            let Some(id) = self.read_id(id) else { continue };
            let Some(known) = self.peers.get_mut(peer) else { return false };
            known.unwanted.insert(now, key, &id);
            self.cancel(now, peer, &id);
        }
        true
    }

    fn on_ihave(
        &mut self,
        now: Instant,
        peer: &PeerId,
        topic: Option<Topic>,
        ids: Ids<'_>,
        may_gossip: bool,
    ) -> bool {
        let is_joined = topic.and_then(|topic| self.link(topic)).is_some_and(|link| link.is_joined);
        for id in ids {
            if !self.charge(now, peer, Good::ControlEntries, 1) {
                return false;
            }
            let Some(known) = self.peers.get_mut(peer) else { return false };
            let is_heard = may_gossip
                && is_joined
                && !known.ids.is_foreign
                && known.ihave_frames <= IHAVE_FRAMES
                && known.ihave_ids < MAX_IHAVE_IDS;
            if !is_heard {
                continue;
            }
            known.ihave_ids += 1;
            let (Some(id), Some(topic)) = (self.read_id(id), topic) else { continue };
            if self.seen.get(&id).is_some() {
                continue;
            }
            // It may be one of the messages whose names are being computed: they are much larger
            // than the wait is long.
            if self.intake.is_unnamed_before(topic, now) {
                if self.held.len() < MAX_HELD {
                    let held = Held { until: now + HOLD, since: now, peer: *peer, topic, id };
                    self.held.push_back(held);
                }
            } else {
                self.ask(now, peer, topic, id);
            }
        }
        true
    }

    /// Asks a peer for a message that it advertised, unless enough others were asked.
    fn ask(&mut self, now: Instant, peer: &PeerId, topic: Topic, id: Id) {
        let patience = self.config.heartbeat;
        // A mesh member should send the message instead of advertising it.
        let is_meshed = self.link(topic).is_some_and(|link| link.has(peer));
        let Some(known) = self.peers.get_mut(peer) else { return };
        let is_doubtful = is_meshed || known.ids.is_debtor;
        if known.asked >= PROMISES_PER_PEER
            || known.outbox.iwant.len() >= MAX_IWANT
            || !known.has_mesh()
            || self.seen.get(&id).is_some()
            || !self.promises.may_ask(now, &id, peer, is_doubtful, patience)
        {
            return;
        }
        known.asked += 1;
        known.outbox.iwant.push(id);
        self.promises.insert(now, id, *peer, is_doubtful);
        self.announce(peer);
    }

    /// Asks for what was held back, once its messages have names or took too long.
    pub(super) fn release_held(&mut self, now: Instant) {
        if self.held.is_empty() {
            return;
        }
        let intake = &self.intake;
        let (ready, waiting): (Vec<Held>, Vec<Held>) = self.held.drain(..).partition(|held| {
            held.until <= now || !intake.is_unnamed_before(held.topic, held.since)
        });
        self.held = waiting.into();
        for held in ready {
            self.ask(now, &held.peer, held.topic, held.id);
        }
    }

    fn on_iwant(&mut self, now: Instant, peer: &PeerId, ids: Ids<'_>, may_gossip: bool) -> bool {
        for id in ids {
            if !self.charge(now, peer, Good::ControlEntries, 1) {
                return false;
            }
            let Some(id) = self.read_id(id).filter(|_| may_gossip) else { continue };
            let Some((_, frame)) = self.cache.find(&id, peer) else { continue };
            let frame = frame.clone();
            let Some(known) = self.peers.get_mut(peer) else { return false };
            // An answer that can't be queued is not counted: the peer may ask again.
            if known.unwanted.contains(self.key, &id)
                || !known.outbox.has_room_for_answer(frame.len())
            {
                continue;
            }
            if !self.charge(now, peer, Good::ServedBytes, frame.len()) {
                continue;
            }
            self.cache.count(&id, peer);
            self.send(now, peer, id, &frame, Kind::Answer);
        }
        true
    }

    /// Cancels a message that a peer has or does not want, unless it is on its way.
    pub(super) fn cancel(&mut self, now: Instant, peer: &PeerId, id: &Id) {
        let Some(known) = self.peers.get_mut(peer) else { return };
        let answers = known.takes_notices();
        if known.outbox.cancel(now, id, answers) {
            self.uplink.revoke(peer, id);
        }
    }

    /// Queues a message for a peer. Returns `true` if there was room.
    pub(super) fn send(
        &mut self,
        now: Instant,
        peer: &PeerId,
        id: Id,
        frame: &crate::mesh::Frame,
        kind: Kind,
    ) -> bool {
        let Some(known) = self.peers.get_mut(peer) else { return false };
        let tells = known.has_idontwant();
        if !known.outbox.push(now, id, frame.clone(), kind, tells) {
            return false;
        }
        if frame.len() >= LARGE {
            self.want_large.insert(*peer);
        } else {
            self.announce(peer);
        }
        true
    }
}
