//! Choice of the next frame for a peer whose stream accepts data.

use super::Router;
use crate::gossip::MAX_IHAVE_IDS;
use crate::mesh::random::keyed_hash;
use crate::mesh::send::{LARGE, MAX_IDONTWANT, Need, Outbox, Say};
use crate::mesh::wire::ControlWriter;
use crate::mesh::{Frame, Id, Topic, Version};
use crate::peers::PeerId;
use crate::time::Instant;

/// Maximum number of ids in one IDONTWANT frame. go ignores further ones.
const IDONTWANT_IDS: usize = 10;
/// Maximum number of subscriptions in one frame.
const SUBSCRIPTIONS: usize = 100;
/// Number of control frames to a peer between two heartbeats after which an IDONTWANT waits for
/// others. go takes no IHAVE from a peer after ten control frames in one of *its* heartbeats.
const EAGER_CONTROL: usize = 4;

impl Router {
    /// Returns the next frame for a peer that fits into `window`, the number of bytes that the
    /// shell can take. Returns `None` if no such frame waits.
    ///
    /// A large frame is returned whole, but only when the shell has written all it was given
    /// before: report that with [`Input::Written`]. Only the words that announce it are returned
    /// right before it. After `None`, wait for [`Output::Transmit`] or, if the window was too
    /// small, for a larger window.
    ///
    /// [`Input::Written`]: crate::mesh::Input::Written
    /// [`Output::Transmit`]: crate::mesh::Output::Transmit
    pub fn transmit(&mut self, now: Instant, peer: &PeerId, window: usize) -> Option<Frame> {
        let frame = self.next_frame(now, peer, window);
        let known = self.peers.get_mut(peer)?;
        match &frame {
            Some(frame) => {
                if known.outbox.unwritten == 0 {
                    known.outbox.progress = now;
                }
                known.outbox.unwritten += frame.len();
            }
            None => known.outbox.is_announced = false,
        }
        frame
    }

    fn next_frame(&mut self, now: Instant, peer: &PeerId, window: usize) -> Option<Frame> {
        let known = self.peers.get_mut(peer)?;
        let version = known.spoken?;
        let room = if known.outbox.unwritten == 0 { window.max(LARGE) } else { window };
        if let Some(frame) = self.control_frame(peer, version) {
            return Some(frame);
        }
        let known = self.peers.get_mut(peer)?;
        if let Some(frame) = known.outbox.take_small(now, room) {
            return Some(frame);
        }
        let id = self.uplink.offered(peer).filter(|id| known.outbox.may_follow(id))?;
        if let Some(notice) = self.sending_notice(peer, &id) {
            return Some(notice);
        }
        let known = self.peers.get_mut(peer)?;
        let answers = known.takes_notices();
        let frame = known.outbox.take(&id);
        match frame {
            Some(_) => self.uplink.taken(now, peer, answers),
            None => self.uplink.revoke(peer, &id),
        }
        frame
    }

    /// Collects all control messages for a peer into one frame.
    fn control_frame(&mut self, peer: &PeerId, version: Version) -> Option<Frame> {
        let known = self.peers.get_mut(peer)?;
        let outbox = &mut known.outbox;
        if !outbox.has_words() && outbox.idontwant_waits() == 0 {
            return None;
        }
        let names: Vec<_> = self.links.iter().map(|link| link.name.clone()).collect();
        let mut writer = ControlWriter::default();
        let mut has_topics = false;
        let subscriptions = outbox.subscriptions.iter_mut().zip(&names).take(SUBSCRIPTIONS);
        for (subscribes, name) in subscriptions {
            if let Some(subscribes) = subscribes.take() {
                writer.subscription(name, subscribes);
                has_topics = true;
            }
        }
        if !version.has_mesh() {
            // Floodsub has no control messages.
            forget_control(outbox);
            return writer.finish();
        }
        if has_topics && std::mem::take(&mut outbox.introduces) {
            writer.speaks();
        }
        let (receiving, received) = (outbox.take_receiving(), outbox.take_received());
        self.counts.notices += (receiving.len() + received.len()) as u64;
        writer.receiving(&receiving);
        writer.received(&received);
        for (say, name) in outbox.mesh.iter_mut().zip(&names) {
            match say.take() {
                Some(Say::Graft) => writer.graft(name),
                Some(Say::Prune(seconds)) => {
                    writer.prune(name, version.has_backoff().then_some(seconds));
                }
                None => {}
            }
        }
        writer.iwant(&std::mem::take(&mut outbox.iwant));
        let advertised = std::mem::take(&mut outbox.ihave);
        let is_full = !outbox.has_room(LARGE);
        for topic in advertised.iter().filter(|_| !is_full) {
            self.advertise(&mut writer, peer, topic);
        }
        let known = self.peers.get_mut(peer)?;
        let outbox = &mut known.outbox;
        let waits = outbox.idontwant_waits();
        let is_eager = writer.has_control()
            || outbox.control_frames < EAGER_CONTROL
            || waits >= IDONTWANT_IDS.min(MAX_IDONTWANT);
        if waits > 0 && is_eager {
            writer.idontwant(&outbox.take_idontwant(IDONTWANT_IDS));
        }
        if writer.has_control() {
            outbox.control_frames += 1;
        }
        writer.finish()
    }

    /// Adds the IHAVE of a topic: the ids in the cache, in a different order for each peer.
    fn advertise(&mut self, writer: &mut ControlWriter, peer: &PeerId, topic: Topic) {
        let Some(link) = self.links.get(topic.index()) else { return };
        let has = |id: &Id| {
            self.intake.has(id, peer)
                || self.peers.get(peer).is_some_and(|known| known.unwanted.contains(self.key, id))
        };
        let ids: Vec<Id> = self.cache.advertised(topic).filter(|id| !has(id)).copied().collect();
        let fits = writer.room().saturating_sub(link.name.len() + 64) / (self.config.id_length + 2);
        let ids = self.random.choose(ids, MAX_IHAVE_IDS.min(fits));
        writer.ihave(&link.name, &ids);
    }

    pub(super) fn written(&mut self, now: Instant, peer: &PeerId, bytes: usize) {
        let Some(known) = self.peers.get_mut(peer) else { return };
        let outbox = &mut known.outbox;
        outbox.unwritten = outbox.unwritten.saturating_sub(bytes);
        outbox.progress = now;
        let is_all = outbox.unwritten == 0;
        let has_more = outbox.has_small() || outbox.has_words();
        self.uplink.written(now, peer, bytes, is_all);
        // It is the peer's turn, but something small was still on its way.
        let is_offered = is_all && self.uplink.offered(peer).is_some();
        if has_more || is_offered {
            self.announce(peer);
        }
    }

    /// Gives turns to the peers that need their large messages most.
    pub(super) fn take_turns(&mut self, now: Instant) {
        while !self.want_large.is_empty() {
            let Some((need, peer, id, length)) = self.neediest(now) else { return };
            self.uplink.begin(now, peer, need.is_browser, (id, length));
            if let Some(known) = self.peers.get_mut(&peer) {
                known.outbox.is_announced = false;
            }
            self.announce(&peer);
        }
    }

    fn neediest(&mut self, now: Instant) -> Option<(Need, PeerId, Id, usize)> {
        let (peers, uplink, key) = (&self.peers, &self.uplink, self.key);
        let is_node_free = uplink.is_free(now, false, self.config.large_at_once);
        let is_browser_free = uplink.is_free(now, true, self.config.browsers_at_once);
        if !is_node_free && !is_browser_free {
            return None;
        }
        self.want_large
            .retain(|peer| peers.get(peer).is_some_and(|known| known.outbox.has_large(now)));
        let needs = self.want_large.iter().filter_map(|peer| {
            let known = peers.get(peer)?;
            let is_browser = known.class.is_browser();
            let is_free = if is_browser { is_browser_free } else { is_node_free };
            let is_ready = known.spoken.is_some() && known.outbox.unwritten == 0;
            if !is_free || !is_ready || uplink.has_turn(peer) {
                return None;
            }
            let (kind, id, length) = known.outbox.next_large(now)?;
            let need = Need {
                kind,
                is_browser,
                slowness: uplink.slowness(peer, length, known.round_trip),
                independence: known.firsts.checked_ilog2().map_or(0, |log| log + 1),
                draw: keyed_hash(key, peer.as_bytes()) ^ keyed_hash(key, id.as_bytes()),
            };
            Some((need, *peer, id, length))
        });
        needs.min()
    }
}

impl Router {
    /// Returns the next time at which another large message may be sent.
    pub(super) fn next_turn(&self, now: Instant) -> Option<Instant> {
        if self.want_large.is_empty() {
            return None;
        }
        let peers = self.want_large.iter().filter_map(|peer| self.peers.get(peer));
        let begins = peers.filter_map(|known| known.outbox.next_large_at(now));
        begins.chain(self.uplink.next_wakeup(now)).min()
    }
}

fn forget_control(outbox: &mut Outbox) {
    outbox.mesh = Default::default();
    outbox.iwant.clear();
    outbox.ihave = Default::default();
    outbox.take_idontwant(MAX_IDONTWANT);
    outbox.take_receiving();
    outbox.take_received();
}
