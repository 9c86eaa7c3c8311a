//! Notices of large messages that are on their way: those that peers send us, and ours. See
//! [`send`](crate::mesh::send) for their use and bounds.
//!
//! A peer gets notices once it has said that it understands them, in the frame with its
//! subscriptions. It has to say so once for each connection, and again if it begins a new stream
//! with subscriptions.

use super::Router;
use crate::mesh::budget::Good;
use crate::mesh::peers::Peer;
use crate::mesh::send::{LARGE, MAX_BROKEN};
use crate::mesh::wire::{ControlWriter, Rpc, Transfer};
use crate::mesh::{Frame, Id};
use crate::peers::PeerId;
use crate::sorted::SortedSet;
use crate::time::Instant;

impl Router {
    /// Applies the notices of a frame, as far as the sender can pay for them.
    pub(super) fn transfers(&mut self, now: Instant, peer: &PeerId, rpc: &Rpc<'_>) {
        let is_heard = self.score(now, peer) >= self.config.thresholds.graylist;
        for transfer in rpc.transfers() {
            if !self.charge(now, peer, Good::ControlEntries, 1) {
                self.charge_rest(now, peer, rpc);
                return;
            }
            match transfer {
                Transfer::Speaks(speaks) => {
                    if let Some(known) = self.peers.get_mut(peer) {
                        known.speaks |= speaks;
                    }
                }
                Transfer::Sending(id) => {
                    if let Some(id) = self.read_id(id).filter(|_| is_heard) {
                        self.on_sending(now, peer, id);
                    }
                }
                Transfer::Receiving(id) => {
                    if let Some(id) = self.read_id(id).filter(|_| is_heard) {
                        self.on_receiving(now, peer, &id);
                    }
                }
                Transfer::Received(id) => {
                    if let Some(id) = self.read_id(id).filter(|_| is_heard) {
                        self.on_received(now, peer, &id);
                    }
                }
            }
        }
    }

    /// Handles the notice that a peer begins to send us a message: the others in the mesh need not
    /// send it.
    fn on_sending(&mut self, now: Instant, peer: &PeerId, id: Id) {
        // No node relies on a browser, and one attacker can open many of them.
        let is_believed = self.peers.get(peer).is_some_and(Peer::is_believed);
        if !is_believed || self.seen.get(&id).is_some() {
            return;
        }
        let is_member = self.links.iter().any(|link| link.is_joined && link.has(peer));
        if !is_member && !self.promises.is_asked(&id, peer) {
            return;
        }
        if self.incoming.begin(now, id, *peer) {
            self.say_receiving(peer, id);
        }
    }

    /// Tells all mesh peers that we are receiving a message from `sender`.
    fn say_receiving(&mut self, sender: &PeerId, id: Id) {
        let mut members: SortedSet<PeerId> = SortedSet::new();
        for link in &self.links {
            members.extend(link.mesh().filter(|member| *member != sender).copied());
        }
        for member in members.iter() {
            if let Some(known) = self.peers.get_mut(member).filter(|known| known.takes_notices()) {
                known.outbox.add_receiving(id);
                self.announce(member);
            }
        }
    }

    /// Handles the notice that a peer is receiving a message from another: ours waits.
    fn on_receiving(&mut self, now: Instant, peer: &PeerId, id: &Id) {
        let Some(known) = self.peers.get_mut(peer).filter(|known| known.speaks) else { return };
        if known.outbox.peer_receives(now, id) {
            self.uplink.revoke(peer, id);
        }
    }

    /// Handles the acknowledgement of a large message that we sent.
    fn on_received(&mut self, now: Instant, peer: &PeerId, id: &Id) {
        if let Some(known) = self.peers.get_mut(peer).filter(|known| known.speaks) {
            known.outbox.was_received(id);
            self.uplink.acknowledged(now, peer, id, known.round_trip);
        }
    }

    /// Returns the frame that announces a large message to a peer, if the peer understands it and
    /// has not had it.
    pub(super) fn sending_notice(&mut self, peer: &PeerId, id: &Id) -> Option<Frame> {
        let known = self.peers.get_mut(peer)?;
        if !known.takes_notices() || !known.outbox.is_untold(id) {
            return None;
        }
        let mut writer = ControlWriter::default();
        writer.sending([id]);
        let frame = writer.finish()?;
        known.outbox.told = Some((*id, frame.len()));
        self.counts.notices += 1;
        Some(frame)
    }

    /// Ends the transfers of a message of this length, which `sources` delivered, and acknowledges
    /// it to those that announced it. Only large messages make up for broken notices: small ones
    /// cost their sender nothing.
    pub(super) fn arrived(&mut self, id: &Id, length: usize, sources: &[PeerId]) {
        for peer in self.incoming.arrived(id) {
            if !sources.contains(&peer) {
                continue;
            }
            let Some(known) = self.peers.get_mut(&peer) else { continue };
            if length >= LARGE {
                known.broken = known.broken.saturating_sub(1);
            }
            if known.takes_notices() {
                known.outbox.add_received(*id);
                self.announce(&peer);
            }
        }
    }

    /// Counts the announced messages that did not come. A message that waits for its name has come.
    pub(super) fn count_broken_notices(&mut self, now: Instant) {
        let intake = &self.intake;
        let broken = self.incoming.broken(now, |peer, end| intake.owes_name(peer, end));
        for peer in broken {
            self.counts.broken += 1;
            if let Some(known) = self.peers.get_mut(&peer) {
                known.broken = (known.broken + 1).min(MAX_BROKEN);
            }
        }
    }

    /// Forgets what a peer promised and announced, because we may have lost it.
    pub(super) fn excuse(&mut self, peer: &PeerId) {
        self.promises.void(peer);
        self.incoming.void(peer);
    }
}
