//! Path of a message: recognised by its bytes or named by a job, judged by the caller, and then
//! relayed, blamed on its senders, or forgotten.

use super::Router;
use crate::gossip::{Acceptance, IDONTWANT_THRESHOLD, MAX_MESSAGE_SIZE, SEEN_TTL};
use crate::mesh::budget::Good;
use crate::mesh::intake::{Found, Stage};
use crate::mesh::io::{NameJob, Named, Output};
use crate::mesh::seen::State;
use crate::mesh::send::Kind;
use crate::mesh::wire::Message;
use crate::mesh::{EntryId, Frame, Id, Topic, Version};
use crate::payload::snappy;
use crate::peers::PeerId;
use crate::time::Instant;
use alloy_primitives::Bytes;
use std::sync::Arc;

impl Router {
    /// Takes a message out of a frame.
    pub(super) fn message(
        &mut self,
        now: Instant,
        peer: &PeerId,
        frame: &Bytes,
        message: Message<'_>,
    ) {
        let topic = self.find_topic(message.topic);
        let joined = topic.filter(|topic| self.link(*topic).is_some_and(|link| link.is_joined));
        let Some(topic) = joined else {
            self.charge(now, peer, Good::ControlEntries, 1);
            return;
        };
        // Strictly unsigned: a peer that relays such a message is punished by its neighbours.
        if message.is_signed {
            self.counts.refused += 1;
            self.invalid(now, peer, topic);
            return;
        }
        match self.intake.find(now, self.key, topic, message.data) {
            Found::Entry(entry) => {
                self.counts.copies += 1;
                if self.charge(now, peer, Good::Copies, 1) {
                    self.intake.add_source(entry, *peer);
                }
            }
            Found::Done(id) => {
                self.counts.copies += 1;
                if self.charge(now, peer, Good::Copies, 1) {
                    self.copy(now, peer, topic, id);
                }
            }
            Found::New { sample } => {
                self.new_message(now, peer, topic, frame, message.data, sample);
            }
        }
    }

    fn new_message(
        &mut self,
        now: Instant,
        peer: &PeerId,
        topic: Topic,
        frame: &Bytes,
        data: &[u8],
        sample: u64,
    ) {
        let announced = snappy::announced_length(data).unwrap_or(data.len());
        if announced > MAX_MESSAGE_SIZE {
            // No peer relays it, so it needs neither a job nor a name.
            self.counts.refused += 1;
            self.invalid(now, peer, topic);
            return;
        }
        let cost = announced.max(data.len());
        let is_paid = self.charge(now, peer, Good::Messages, 1)
            && self.charge(now, peer, Good::NamingBytes, cost);
        if !is_paid {
            self.counts.refused += 1;
            self.excuse(peer);
            return;
        }
        // A slice keeps its whole frame in memory.
        let data = if data.len() >= frame.len() / 2 {
            frame.slice_ref(data)
        } else {
            Bytes::copy_from_slice(data)
        };
        match self.intake.admit(now, *peer, (topic, data, sample), cost) {
            Ok(displaced) => {
                self.counts.refused += displaced.len() as u64;
                displaced.iter().for_each(|peer| self.excuse(peer));
            }
            Err(()) => {
                self.counts.refused += 1;
                self.excuse(peer);
            }
        }
    }

    pub(super) fn start_naming(&mut self) {
        while let Some((entry, topic, data)) = self.intake.next_to_name(self.config.naming_at_once)
        {
            let Some(link) = self.links.get(topic.index()) else { continue };
            let job = NameJob { entry, topic: Arc::clone(&link.name), data };
            self.outputs.push_back(Output::Name(job));
        }
    }

    pub(super) fn named(&mut self, now: Instant, named: Named) {
        let Named { entry, name, contents } = named;
        if !self.intake.named(entry, name) {
            return;
        }
        let Some(known) = self.intake.get(entry) else { return };
        let (topic, length, arrived) = (known.topic, known.data.len(), known.arrived);
        let sources: Vec<PeerId> = known.sources.iter().map(|source| source.peer).collect();
        for promised in self.promises.fulfil(&name) {
            if let Some(peer) =
                self.peers.get_mut(&promised).filter(|_| sources.contains(&promised))
            {
                peer.ids.keep();
            }
        }
        self.arrived(&name, length, &sources);
        self.seen.expire(now);
        match self.seen.get(&name) {
            None => {
                self.seen.set(now, name, State::Judging(entry));
                if length >= IDONTWANT_THRESHOLD {
                    self.say_idontwant(topic, name, &sources);
                }
                let from = sources[0];
                self.outputs.push_back(Output::Validate {
                    entry,
                    from,
                    topic,
                    name,
                    contents,
                    arrived,
                });
            }
            Some(State::Judging(first)) if first != entry => {
                self.counts.copies += 1;
                self.merge(now, entry, first, name);
            }
            Some(_) => {
                self.counts.copies += 1;
                if let Some(known) = self.intake.remove(entry) {
                    self.intake.finish(now, known, name);
                }
                sources.iter().for_each(|peer| self.judged_copy(now, peer, topic, &name));
            }
        }
    }

    /// Forgets a message that could not be named. It stays unseen.
    pub(super) fn naming_failed(&mut self, entry: EntryId) {
        if self.intake.get(entry).is_none_or(|known| known.stage != Stage::Naming) {
            return;
        }
        if let Some(known) = self.intake.remove(entry) {
            known.sources.iter().for_each(|source| self.excuse(&source.peer));
        }
    }

    /// Merges a message with another one that has the same name and different bytes.
    fn merge(&mut self, now: Instant, entry: EntryId, first: EntryId, name: Id) {
        let Some(known) = self.intake.remove(entry) else { return };
        if let Some(other) = self.intake.get_mut(first) {
            // Honest peers relay what they receive, and send a message once.
            let twice: Vec<PeerId> = known
                .sources
                .iter()
                .map(|source| source.peer)
                .filter(|peer| other.is_from(peer))
                .collect();
            other.merge(&known.sources);
            twice.iter().for_each(|peer| self.breach(now, peer, 1.0));
        }
        self.intake.finish(now, known, name);
    }

    /// Handles a copy of a message whose name is known.
    fn copy(&mut self, now: Instant, peer: &PeerId, topic: Topic, id: Id) {
        match self.seen.get(&id) {
            Some(State::Judging(entry)) => {
                self.intake.add_source(entry, *peer);
            }
            _ => {
                if self.intake.add_late_source(&id, *peer) {
                    self.judged_copy(now, peer, topic, &id);
                }
                self.cancel(now, peer, &id);
            }
        }
        for promised in self.promises.fulfil(&id) {
            if let Some(known) = self.peers.get_mut(&promised).filter(|_| promised == *peer) {
                known.ids.keep();
            }
        }
    }

    /// Applies the verdict on a message to one of its senders.
    fn judged_copy(&mut self, now: Instant, peer: &PeerId, topic: Topic, id: &Id) {
        match self.seen.get(id) {
            Some(State::Accepted(at)) => {
                // A late copy is a delivery too, for example by a peer whose ids differ from ours.
                if let Some(known) = self.peers.get_mut(peer) {
                    known.ids.has_delivered = true;
                }
                if let Some(scores) = &mut self.scores
                    && now.since(at) <= scores.window()
                {
                    scores.in_mesh_delivery(peer, topic);
                }
                self.cancel(now, peer, id);
            }
            Some(State::Rejected) => self.invalid(now, peer, topic),
            Some(State::Ignored | State::Judging(_)) | None => {}
        }
    }

    /// Sends IDONTWANT for a message to the mesh peers, except to those that have the message.
    pub(super) fn say_idontwant(&mut self, topic: Topic, id: Id, sources: &[PeerId]) {
        let Some(link) = self.link(topic) else { return };
        let members: Vec<PeerId> =
            link.mesh().filter(|peer| !sources.contains(peer)).copied().collect();
        for peer in members {
            if let Some(known) = self.peers.get_mut(&peer).filter(|known| known.has_idontwant()) {
                known.outbox.add_idontwant(id);
                self.announce(&peer);
            }
        }
    }

    pub(super) fn verdict(&mut self, now: Instant, entry: EntryId, verdict: Acceptance) {
        let Some(Stage::Judging(name)) = self.intake.get(entry).map(|entry| entry.stage) else {
            return;
        };
        let Some(known) = self.intake.remove(entry) else { return };
        let topic = known.topic;
        let is_ours = self.seen.get(&name) != Some(State::Judging(entry));
        let sources: Vec<PeerId> = known.sources.iter().map(|source| source.peer).collect();
        let data = known.data.clone();
        self.intake.finish(now, known, name);
        if is_ours {
            // Published by ourselves in the meantime, or forgotten after a long wait.
            return;
        }
        match verdict {
            Acceptance::Accept => {
                self.seen.set(now, name, State::Accepted(now));
                self.reward(now, topic, &sources);
                let Some(link) = self.link(topic) else { return };
                let frame = Frame::message(&link.name, data);
                self.cache.insert(name, topic, frame.clone());
                self.forward(now, topic, name, &frame, &sources);
            }
            Acceptance::Reject => {
                self.seen.set(now, name, State::Rejected);
                sources.iter().for_each(|peer| self.invalid(now, peer, topic));
            }
            Acceptance::Ignore => self.seen.set(now, name, State::Ignored),
        }
    }

    /// Rewards the senders of an accepted message, the first one most.
    fn reward(&mut self, now: Instant, topic: Topic, sources: &[PeerId]) {
        if let Some(scores) = &mut self.scores {
            scores.tick(now);
            for (at, peer) in sources.iter().enumerate() {
                match at {
                    0 => scores.first(peer, topic),
                    _ => scores.in_mesh_delivery(peer, topic),
                }
            }
        }
        for (at, peer) in sources.iter().enumerate() {
            if let Some(known) = self.peers.get_mut(peer) {
                known.ids.has_delivered = true;
                known.firsts = known.firsts.saturating_add(u32::from(at == 0));
            }
        }
    }

    fn forward(&mut self, now: Instant, topic: Topic, id: Id, frame: &Frame, sources: &[PeerId]) {
        let Some(link) = self.link(topic) else { return };
        let mut targets: Vec<PeerId> = link.mesh().copied().collect();
        targets.extend(self.flooded(now, topic));
        for peer in targets {
            let wants = !sources.contains(&peer)
                && self
                    .peers
                    .get(&peer)
                    .is_some_and(|known| !known.unwanted.contains(self.key, &id));
            if wants {
                self.send(now, &peer, id, frame, Kind::Forward);
            }
        }
    }

    /// Returns the peers whose version has no mesh. They get every message.
    pub(super) fn flooded(&self, now: Instant, topic: Topic) -> Vec<PeerId> {
        let suits = |peer: &PeerId, known: &crate::mesh::peers::Peer| {
            known.spoken == Some(Version::Floodsub)
                && known.subscriptions.contains(topic)
                && self.score(now, peer) >= self.config.thresholds.publish
        };
        self.peers
            .iter()
            .filter(|(peer, known)| suits(peer, known))
            .map(|(peer, _)| *peer)
            .collect()
    }

    /// Gives up messages whose job or verdict never came. The name stays known for its usual time,
    /// so that no message is judged twice within it.
    pub(super) fn forget_stuck(&mut self, now: Instant) {
        for entry in self.intake.stuck(now, SEEN_TTL) {
            let Some(known) = self.intake.remove(entry) else { continue };
            if let Stage::Judging(name) = known.stage
                && self.seen.get(&name) == Some(State::Judging(entry))
            {
                self.seen.set(now, name, State::Ignored);
            }
        }
    }
}
