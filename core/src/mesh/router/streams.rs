//! Connections, and the two streams that gossip uses with each peer.
//!
//! Each side opens the stream on which it writes, and never writes on the other. So a peer's
//! version is that of the stream that we opened. Each new stream begins with all our subscriptions:
//! go forgets a peer's topics with its stream.

use super::Router;
use crate::mesh::ids::Topics;
use crate::mesh::io::Output;
use crate::mesh::peers::{MAX_READERS, Peer, READERS_WINDOW, Writer};
use crate::mesh::send::Outbox;
use crate::mesh::{Class, Topic, Version};
use crate::peers::PeerId;
use crate::time::Instant;
use core::net::IpAddr;
use std::time::Duration;

impl Router {
    pub(super) fn connected(
        &mut self,
        now: Instant,
        peer: PeerId,
        class: Class,
        is_outbound: bool,
        ips: &[IpAddr],
    ) {
        if self.peers.contains_key(&peer) {
            return;
        }
        if let Some(scores) = &mut self.scores {
            scores.tick(now);
            scores.connected(peer, class, ips);
        }
        let allowances = if class.is_browser() { &self.config.browser } else { &self.config.node };
        let mut known = Peer::new(now, class, is_outbound, allowances);
        known.score = self.scores.as_ref().map_or(0.0, |scores| scores.score(now, &peer));
        if let Writer::Closed(Some(at)) = known.writer {
            self.openings.insert((at, peer));
        }
        self.peers.insert(peer, known);
    }

    pub(super) fn disconnected(&mut self, now: Instant, peer: &PeerId) {
        self.leave_everything(now, peer);
        self.count_dropped(peer);
        if let Some(known) = self.peers.remove(peer)
            && let Writer::Closed(Some(at)) = known.writer
        {
            self.openings.remove(&(at, *peer));
        }
        self.excuse(peer);
        self.held.retain(|held| held.peer != *peer);
        self.uplink.forget(peer);
        if let Some(scores) = &mut self.scores {
            scores.tick(now);
            scores.disconnected(now, peer);
        }
    }

    pub(super) fn supports(&mut self, peer: &PeerId) {
        if let Some(known) = self.peers.get_mut(peer) {
            known.reopened.reset();
            self.open_writer(peer);
        }
    }

    /// Requests a stream, unless there is one.
    pub(super) fn open_writer(&mut self, peer: &PeerId) {
        let Some(known) = self.peers.get_mut(peer) else { return };
        let Writer::Closed(at) = known.writer else { return };
        known.writer = Writer::Opening;
        if let Some(at) = at {
            self.openings.remove(&(at, *peer));
        }
        self.outputs.push_back(Output::OpenWriter(*peer));
    }

    pub(super) fn writer_opened(&mut self, now: Instant, peer: &PeerId, version: Version) {
        let Some(known) = self.peers.get_mut(peer) else { return };
        if known.writer == Writer::Open {
            return;
        }
        if let Writer::Closed(Some(at)) = known.writer {
            self.openings.remove(&(at, *peer));
        }
        known.writer = Writer::Open;
        known.spoken = Some(version);
        known.outbox.progress = now;
        known.outbox.introduces = version.has_mesh();
        for (at, link) in self.links.iter().enumerate() {
            known.outbox.subscriptions[at] = link.is_joined.then_some(true);
        }
        let (topics, meshed) = (known.subscriptions, std::mem::take(&mut known.meshed));
        self.announce(peer);
        for topic in topics.iter() {
            self.graft_if_needed(now, topic, peer);
            if meshed.contains(topic) {
                self.graft_again(now, topic, peer);
            }
        }
    }

    /// Puts a peer back into the mesh in which it was before our stream to it failed. It may not
    /// have noticed the failure, and then still counts us in its own mesh.
    fn graft_again(&mut self, now: Instant, topic: Topic, peer: &PeerId) {
        let is_joined = self.link(topic).is_some_and(|link| link.is_joined);
        let score = self.score(now, peer);
        if is_joined && self.accepts_graft(now, topic, peer, score, Duration::ZERO) {
            self.graft(now, topic, peer);
        }
    }

    pub(super) fn writer_closed(&mut self, now: Instant, peer: &PeerId, is_refused: bool) {
        let is_known = self
            .peers
            .get(peer)
            .is_some_and(|known| matches!(known.writer, Writer::Open | Writer::Opening));
        if !is_known {
            return;
        }
        let mut meshed = Topics::default();
        for topic in Topic::all().take(self.links.len()) {
            meshed.set(topic, self.link(topic).is_some_and(|link| link.has(peer)));
        }
        self.leave_everything(now, peer);
        self.uplink.forget(peer);
        self.count_dropped(peer);
        // Requests may not have reached the peer.
        self.promises.void(peer);
        self.held.retain(|held| held.peer != *peer);
        let Some(known) = self.peers.get_mut(peer) else { return };
        // What waits is lost, and so is what the peer did not want.
        known.outbox = Outbox::new(now, known.class.is_browser());
        known.unwanted = Default::default();
        known.spoken = None;
        known.meshed = meshed;
        let at = (!is_refused).then(|| known.reopen_at(now));
        known.writer = Writer::Closed(at);
        if let Some(at) = at {
            self.openings.insert((at, *peer));
        }
    }

    pub(super) fn reader_opened(&mut self, now: Instant, peer: &PeerId) {
        let Some(known) = self.peers.get_mut(peer) else { return };
        known.has_begun = false;
        if known.readers.count(now, READERS_WINDOW) > MAX_READERS {
            self.outputs.push_back(Output::ResetReader(*peer));
            self.breach(now, peer, 1.0);
            return;
        }
        // A stream of its own shows that the peer speaks gossipsub. After failures, only time
        // helps.
        if matches!(known.writer, Writer::Closed(Some(_))) && known.reopened.is_clear() {
            self.open_writer(peer);
        }
    }

    /// Counts the messages that wait for a peer, and those for which it was too slow, as dropped.
    fn count_dropped(&mut self, peer: &PeerId) {
        if let Some(known) = self.peers.get_mut(peer) {
            let waiting = known.outbox.messages() as u64;
            self.counts.dropped += waiting;
            self.counts.add(known.outbox.take_tally());
        }
    }

    /// Removes a peer from all meshes and fanouts without a PRUNE.
    fn leave_everything(&mut self, now: Instant, peer: &PeerId) {
        for topic in Topic::all().take(self.links.len()) {
            self.drop_from_mesh(now, topic, peer);
            if let Some(link) = self.link_mut(topic) {
                link.fanout.remove(peer);
            }
        }
        self.want_large.remove(peer);
    }
}
