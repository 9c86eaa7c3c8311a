//! Messages of our own.
//!
//! Only nodes carry a message to the rest of the network, so it may be published again until a node
//! has taken it. Browsers that have it are then left out, unless they suffice
//! ([`MeshConfig::browsers_suffice`]).
//!
//! [`MeshConfig::browsers_suffice`]: crate::mesh::MeshConfig::browsers_suffice

use super::{Router, Untaken};
use crate::gossip::IDONTWANT_THRESHOLD;
use crate::mesh::io::Output;
use crate::mesh::seen::State;
use crate::mesh::send::Kind;
use crate::mesh::wire::MAX_FRAME;
use crate::mesh::{Frame, Id, Topic};
use crate::peers::PeerId;
use crate::sequencer::{PublishId, SendOutcome};
use crate::time::Instant;
use alloy_primitives::Bytes;

impl Router {
    pub(super) fn publish(
        &mut self,
        now: Instant,
        publication: PublishId,
        topic: Topic,
        name: Id,
        data: &Bytes,
    ) {
        let (outcome, peers) = self.send_own(now, topic, name, data);
        self.outputs.push_back(Output::Published { id: publication, outcome, peers });
    }

    fn send_own(
        &mut self,
        now: Instant,
        topic: Topic,
        name: Id,
        data: &Bytes,
    ) -> (SendOutcome, usize) {
        self.seen.expire(now);
        let is_known = matches!(self.seen.get(&name), Some(State::Accepted(_)));
        let untaken = self.untaken.filter(|untaken| is_known && untaken.name == name);
        if is_known && untaken.is_none() {
            return (SendOutcome::AlreadySent, 0);
        }
        let browsers_have = untaken.is_some_and(|untaken| untaken.browsers_have);
        let Some(link) = self.link(topic) else {
            return (SendOutcome::Failed("no such topic".into()), 0);
        };
        let frame = Frame::message(&link.name, data.clone());
        if frame.len() > MAX_FRAME {
            let why = "the compressed block is larger than a gossip message may be";
            return (SendOutcome::Failed(why.into()), 0);
        }
        let mut targets = self.targets(now, topic);
        targets.retain(|peer| {
            self.peers.get(peer).is_some_and(|known| {
                let has = browsers_have && known.class.is_browser();
                !has && !known.unwanted.contains(self.key, &name)
            })
        });
        if targets.is_empty() {
            return (SendOutcome::NoPeers, 0);
        }
        if untaken.is_none() {
            self.keep_own(now, topic, name, data, &frame);
        }
        let (mut nodes, mut browsers) = (0, 0);
        for peer in targets {
            let is_browser = self.peers.get(&peer).is_some_and(|known| known.class.is_browser());
            let is_sent = self.send(now, &peer, name, &frame, Kind::Own);
            *(if is_browser { &mut browsers } else { &mut nodes }) += usize::from(is_sent);
        }
        let is_over = nodes > 0 || browsers > 0 && self.config.browsers_suffice;
        let browsers_have = browsers_have || browsers > 0;
        self.untaken = (!is_over).then_some(Untaken { name, browsers_have });
        (if is_over { SendOutcome::Sent } else { SendOutcome::NoPeers }, nodes + browsers)
    }

    /// Remembers a message of our own before it is sent: its copies will come back.
    fn keep_own(&mut self, now: Instant, topic: Topic, name: Id, data: &Bytes, frame: &Frame) {
        self.arrived(&name, data.len(), &[]);
        self.seen.set(now, name, State::Accepted(now));
        self.intake.keep_own(now, self.key, topic, data.clone(), name);
        self.cache.insert(name, topic, frame.clone());
        if data.len() >= IDONTWANT_THRESHOLD {
            self.say_idontwant(topic, name, &[]);
        }
    }

    /// Returns the peers that get a message of our own: the mesh, and random others if it is too
    /// small; or the fanout of a topic that we have not joined; or everybody.
    fn targets(&mut self, now: Instant, topic: Topic) -> Vec<PeerId> {
        let size = self.config.mesh.d;
        let Some(link) = self.link(topic) else { return Vec::new() };
        if self.config.mesh.flood_publish {
            return self.publishable(now, topic, |_| true);
        }
        let mut targets: Vec<PeerId>;
        if link.is_joined {
            targets = link.mesh().copied().collect();
            let missing = size.saturating_sub(link.nodes.len());
            let is_node =
                |peer: &PeerId| self.peers.get(peer).is_some_and(|known| !known.class.is_browser());
            let others =
                self.publishable(now, topic, |peer| is_node(peer) && !targets.contains(peer));
            targets.extend(self.random.choose(others, missing));
        } else {
            self.fill_fanout(now, topic);
            let Some(link) = self.link_mut(topic) else { return Vec::new() };
            link.fanout_used = Some(now);
            targets = link.fanout.iter().copied().collect();
        }
        for peer in self.flooded(now, topic) {
            if !targets.contains(&peer) {
                targets.push(peer);
            }
        }
        targets
    }

    /// Fills the fanout of a topic up to D.
    pub(super) fn fill_fanout(&mut self, now: Instant, topic: Topic) {
        let size = self.config.mesh.d;
        let Some(link) = self.link(topic) else { return };
        let missing = size.saturating_sub(link.fanout.len());
        if missing == 0 {
            return;
        }
        let others = self.publishable(now, topic, |peer| !link.fanout.contains(peer));
        let chosen = self.random.choose(others, missing);
        if let Some(link) = self.link_mut(topic) {
            link.fanout.extend(chosen);
        }
    }

    /// Returns the subscribed peers that may get messages of ours outside the mesh.
    pub(super) fn publishable(
        &self,
        now: Instant,
        topic: Topic,
        suits: impl Fn(&PeerId) -> bool,
    ) -> Vec<PeerId> {
        let mut peers = Vec::new();
        for (peer, known) in self.peers.iter() {
            if known.spoken.is_some()
                && known.subscriptions.contains(topic)
                && suits(peer)
                && self.score(now, peer) >= self.config.thresholds.publish
            {
                peers.push(*peer);
            }
        }
        peers
    }
}
