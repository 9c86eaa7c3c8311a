//! Members of our mesh: GRAFT, PRUNE, back-offs, joining and leaving a topic.

use super::{MAX_BACKOFF, PRUNE_BACKOFF, Router, SLACK, UNSUBSCRIBE_BACKOFF};
use crate::mesh::io::Output;
use crate::mesh::send::Say;
use crate::mesh::{Class, Topic};
use crate::peers::PeerId;
use crate::sorted::SortedSet;
use crate::time::Instant;
use std::time::Duration;

/// A GRAFT that comes this early after a PRUNE counts twice.
const GRAFT_FLOOD: Duration = Duration::from_secs(10);

impl Router {
    pub(super) fn join(&mut self, now: Instant, topic: Topic) {
        let Some(link) = self.link_mut(topic) else { return };
        if std::mem::replace(&mut link.is_joined, true) {
            return;
        }
        let fanout: Vec<PeerId> = link.fanout.iter().copied().collect();
        link.fanout = SortedSet::new();
        link.fanout_used = None;
        self.say_subscription(topic, true);
        let wanted = self.config.mesh.d;
        for peer in fanout.iter().take(wanted) {
            if self.may_graft(now, topic, peer, self.score(now, peer)) {
                self.graft(now, topic, peer);
            }
        }
        self.fill_mesh(now, topic, wanted, |_, _| true);
    }

    pub(super) fn leave(&mut self, now: Instant, topic: Topic) {
        let Some(link) = self.link_mut(topic) else { return };
        if !std::mem::replace(&mut link.is_joined, false) {
            return;
        }
        let members: Vec<PeerId> = link.mesh().copied().collect();
        // Requested messages are no longer accepted.
        self.held.retain(|held| held.topic != topic);
        self.promises.void_all();
        self.incoming.void_all();
        self.say_subscription(topic, false);
        for peer in members {
            self.prune(now, topic, &peer, UNSUBSCRIBE_BACKOFF);
        }
    }

    fn say_subscription(&mut self, topic: Topic, subscribes: bool) {
        let peers: Vec<PeerId> = self.peers.keys().copied().collect();
        for peer in peers {
            if let Some(known) = self.peers.get_mut(&peer).filter(|known| known.spoken.is_some()) {
                known.outbox.subscriptions[topic.index()] = Some(subscribes);
                self.announce(&peer);
            }
        }
    }

    /// Grafts a peer at once if it has just become useful and the mesh is too small: a
    /// node that starts should not wait for its heartbeat.
    pub(super) fn graft_if_needed(&mut self, now: Instant, topic: Topic, peer: &PeerId) {
        let Some(link) = self.link(topic) else { return };
        let is_needed = link.is_joined && link.nodes.len() < self.config.mesh.low;
        if is_needed && self.may_graft(now, topic, peer, self.score(now, peer)) {
            self.graft(now, topic, peer);
        }
    }

    /// Returns `true` if we may choose this peer, whose score is given, for the mesh.
    pub(super) fn may_graft(&self, now: Instant, topic: Topic, peer: &PeerId, score: f64) -> bool {
        let slack = self.config.heartbeat * SLACK;
        self.peers.get(peer).is_some_and(|known| !known.class.is_browser())
            && self.accepts_graft(now, topic, peer, score, slack)
    }

    /// Returns `true` if this peer, whose score is given, should accept a GRAFT. A back-off
    /// counts until `slack` after its end.
    pub(super) fn accepts_graft(
        &self,
        now: Instant,
        topic: Topic,
        peer: &PeerId,
        score: f64,
        slack: Duration,
    ) -> bool {
        let (Some(link), Some(known)) = (self.link(topic), self.peers.get(peer)) else {
            return false;
        };
        known.subscriptions.contains(topic)
            && known.has_mesh()
            && score >= 0.0
            && !link.has(peer)
            && link.backoffs.end(peer).is_none_or(|end| end + slack <= now)
    }

    /// Grafts random peers until the mesh has `size` nodes.
    pub(super) fn fill_mesh(
        &mut self,
        now: Instant,
        topic: Topic,
        size: usize,
        suits: impl Fn(&PeerId, &crate::mesh::peers::Peer) -> bool,
    ) {
        let Some(link) = self.link(topic) else { return };
        let missing = size.saturating_sub(link.nodes.len());
        if missing == 0 {
            return;
        }
        let candidates: Vec<PeerId> = self
            .peers
            .iter()
            .filter(|(peer, known)| {
                suits(peer, known) && self.may_graft(now, topic, peer, known.score)
            })
            .map(|(peer, _)| *peer)
            .collect();
        for peer in self.random.choose(candidates, missing) {
            self.graft(now, topic, &peer);
        }
    }

    pub(super) fn graft(&mut self, now: Instant, topic: Topic, peer: &PeerId) {
        self.add_to_mesh(now, topic, peer);
        if let Some(known) = self.peers.get_mut(peer) {
            known.outbox.mesh[topic.index()] = Some(Say::Graft);
            self.announce(peer);
        }
    }

    fn add_to_mesh(&mut self, now: Instant, topic: Topic, peer: &PeerId) {
        let Some(class) = self.peers.get(peer).map(|known| known.class) else { return };
        let Some(link) = self.link_mut(topic) else { return };
        link.fanout.remove(peer);
        if link.set_of(class).insert(*peer) {
            self.counts.grafts += 1;
            if let Some(scores) = &mut self.scores {
                scores.mesh(now, peer, topic, true);
            }
            self.outputs.push_back(Output::Mesh { peer: *peer, topic, is_member: true });
        }
    }

    /// Removes a peer from the mesh, and tells it for how long it must not come back.
    pub(super) fn prune(&mut self, now: Instant, topic: Topic, peer: &PeerId, backoff: Duration) {
        self.count_prune(now, topic, peer);
        if let Some(link) = self.link_mut(topic) {
            link.backoffs.set(*peer, now + backoff);
        }
        if let Some(known) = self.peers.get_mut(peer).filter(|known| known.spoken.is_some()) {
            known.outbox.mesh[topic.index()] = Some(Say::Prune(backoff.as_secs()));
            self.announce(peer);
        }
    }

    fn count_prune(&mut self, now: Instant, topic: Topic, peer: &PeerId) {
        if self.drop_from_mesh(now, topic, peer) {
            self.counts.prunes += 1;
        }
    }

    /// Removes a peer from the mesh without a PRUNE. A waiting GRAFT is no longer sent. Returns
    /// `true` if the peer was in the mesh.
    pub(super) fn drop_from_mesh(&mut self, now: Instant, topic: Topic, peer: &PeerId) -> bool {
        if let Some(known) = self.peers.get_mut(peer) {
            known.outbox.mesh[topic.index()].take_if(|say| *say == Say::Graft);
        }
        let Some(link) = self.link_mut(topic) else { return false };
        let was_in_mesh = link.nodes.remove(peer) || link.browsers.remove(peer);
        if was_in_mesh {
            if let Some(scores) = &mut self.scores {
                scores.mesh(now, peer, topic, false);
            }
            self.outputs.push_back(Output::Mesh { peer: *peer, topic, is_member: false });
        }
        was_in_mesh
    }

    /// Handles the end of a peer's subscription. The peer leaves the mesh and needs no PRUNE.
    pub(super) fn unsubscribed(&mut self, now: Instant, topic: Topic, peer: &PeerId) {
        let Some(link) = self.link_mut(topic) else { return };
        link.fanout.remove(peer);
        if link.has(peer) {
            link.backoffs.set(*peer, now + UNSUBSCRIBE_BACKOFF);
            self.count_prune(now, topic, peer);
        }
    }

    pub(super) fn on_graft(&mut self, now: Instant, topic: Topic, peer: &PeerId) {
        let (Some(link), Some(known)) = (self.link(topic), self.peers.get(peer)) else { return };
        if !link.is_joined || link.has(peer) {
            return;
        }
        let backoff = link.backoffs.end(peer).filter(|end| now < *end);
        let high = self.config.mesh.high;
        let has_room = known.class == Class::Static
            || known.class.is_browser()
            || link.nodes.len() < high
            || known.is_outbound && link.nodes.len() < 2 * high;
        let is_subscribed = known.subscriptions.contains(topic);
        let is_welcome =
            is_subscribed && has_room && backoff.is_none() && self.score(now, peer) >= 0.0;
        // rust-libp2p may send a GRAFT after its own unsubscription, which caused this back-off.
        if let Some(end) = backoff.filter(|_| is_subscribed) {
            // Within the first seconds of a back-off it is a flood rather than a misunderstanding.
            let is_flood = now + PRUNE_BACKOFF < end + GRAFT_FLOOD;
            self.breach(now, peer, if is_flood { 2.0 } else { 1.0 });
        }
        if is_welcome {
            self.add_to_mesh(now, topic, peer);
        } else {
            self.prune(now, topic, peer, PRUNE_BACKOFF);
        }
    }

    /// Handles a PRUNE. It counts only for topics that we joined: otherwise a peer could make us
    /// remember any number of names.
    pub(super) fn on_prune(&mut self, now: Instant, topic: Topic, peer: &PeerId, seconds: u64) {
        let backoff = match seconds {
            0 => PRUNE_BACKOFF,
            _ => Duration::from_secs(seconds).min(MAX_BACKOFF),
        };
        let Some(link) = self.link_mut(topic).filter(|link| link.is_joined) else { return };
        link.backoffs.set(*peer, now + backoff);
        self.count_prune(now, topic, peer);
    }
}
