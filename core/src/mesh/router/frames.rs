//! Handling of one frame: subscriptions, then messages, then control messages, as in
//! go-libp2p-pubsub. Notices of transfers come after the subscriptions.

use super::Router;
use crate::mesh::budget::Good;
use crate::mesh::ids::Topics;
use crate::mesh::io::Output;
use crate::mesh::wire::Rpc;
use crate::peers::PeerId;
use crate::time::Instant;
use alloy_primitives::Bytes;

impl Router {
    pub(super) fn frame(&mut self, now: Instant, peer: &PeerId, frame: &Bytes) {
        let Some(known) = self.peers.get_mut(peer) else { return };
        let rpc = match Rpc::parse(frame) {
            Ok(rpc) => rpc,
            Err(_) => {
                self.outputs.push_back(Output::ResetReader(*peer));
                self.breach(now, peer, 1.0);
                return;
            }
        };
        let is_first = !std::mem::replace(&mut known.has_begun, true);
        let is_paid = self.charge(now, peer, Good::ControlBytes, rpc.overhead());
        if is_paid && rpc.has_subscriptions() {
            self.subscriptions(now, peer, &rpc, is_first);
        }
        if is_paid && rpc.has_transfers() {
            self.transfers(now, peer, &rpc);
        }
        // The subscriptions of a graylisted peer count, so that they are known when its score
        // recovers.
        if self.score(now, peer) < self.config.thresholds.graylist {
            return;
        }
        for message in rpc.messages() {
            self.message(now, peer, frame, message);
        }
        if is_paid && rpc.has_control() {
            self.control(now, peer, &rpc);
        }
        self.announce_if_words(peer);
    }

    /// Applies subscriptions. A new stream starts without any, if its first frame has some: the
    /// peer may have restarted behind the same connection. If it has none, the peer only reopened
    /// its stream, and some implementations don't repeat themselves then.
    fn subscriptions(&mut self, now: Instant, peer: &PeerId, rpc: &Rpc<'_>, is_first: bool) {
        let Some(known) = self.peers.get(peer) else { return };
        let before = known.subscriptions;
        let mut after = if is_first { Topics::default() } else { before };
        for subscription in rpc.subscriptions() {
            if !self.charge(now, peer, Good::ControlEntries, 1) {
                self.charge_rest(now, peer, rpc);
                break;
            }
            if let Some(topic) = self.find_topic(subscription.topic) {
                after.set(topic, subscription.subscribes);
            }
        }
        if let Some(known) = self.peers.get_mut(peer) {
            known.subscriptions = after;
            known.speaks &= !is_first;
        }
        for topic in before.iter().filter(|topic| !after.contains(*topic)) {
            self.unsubscribed(now, topic, peer);
        }
        for topic in after.iter().filter(|topic| !before.contains(*topic)) {
            self.graft_if_needed(now, topic, peer);
        }
    }

    fn announce_if_words(&mut self, peer: &PeerId) {
        if self.peers.get(peer).is_some_and(|known| known.outbox.has_words()) {
            self.announce(peer);
        }
    }
}
