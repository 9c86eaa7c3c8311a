//! Queries of the peer manager's state.

use super::PeerManager;
use crate::payload::PayloadVersion;
use crate::peers::claims::literal_ip;
use crate::peers::{ConnectionLimits, Gate, GateCounts, PeerBook, PeerId, PeerScores, Stage};
use crate::time::Now;

impl PeerManager {
    /// Returns the records of all remembered peers.
    pub const fn book(&self) -> &PeerBook {
        &self.book
    }

    /// Returns the block lists and bans.
    pub const fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Returns the established and pending connections, and their limits.
    pub const fn limits(&self) -> &ConnectionLimits {
        &self.limits
    }

    /// Returns the counts of the gate's decisions so far.
    pub fn counts(&self) -> GateCounts {
        self.gate.counts()
    }

    /// Returns the number of peers that are missing below the low mark.
    pub const fn missing(&self) -> usize {
        self.missing
    }

    /// Returns all connected peers.
    pub fn connected_peers(&self) -> impl ExactSizeIterator<Item = &PeerId> {
        self.connected.keys()
    }

    /// Returns the number of connected peers that are not browsers.
    pub fn nodes(&self) -> usize {
        self.connected.values().filter(|connected| !connected.is_browser).count()
    }

    /// Returns `true` if the peer is on the operator's list of static peers.
    pub fn is_static(&self, peer: &PeerId) -> bool {
        self.statics.contains(peer)
    }

    /// Returns the state of a static peer, or `None` if `peer` is not static.
    pub fn stage(&self, peer: &PeerId) -> Option<Stage> {
        self.statics.stage(peer)
    }

    /// Returns `true` if the peer is never dropped nor banned by score, as for trusted static peers
    /// and peers that the operator protects.
    pub fn is_protected(&self, peer: &PeerId) -> bool {
        (self.config.trusts_static && self.statics.contains(peer)) || self.protected.contains(peer)
    }

    /// Returns `true` if the peer dialled us, or `None` if it is not connected.
    pub fn is_inbound(&self, peer: &PeerId) -> Option<bool> {
        self.connected.get(peer).map(|connected| connected.is_inbound)
    }

    /// Returns whether the connections of a peer are a browser's, or `None` if the peer has no
    /// connection whose handshake is done. The first connection decides.
    pub(super) fn came_as_browser(&self, peer: &PeerId) -> Option<bool> {
        self.connections(peer).next().map(|secured| secured.is_browser)
    }

    /// Returns `true` if the peer is a [browser](super#browsers), or `None` if it is not connected.
    pub fn is_browser(&self, peer: &PeerId) -> Option<bool> {
        self.connected.get(peer).map(|connected| connected.is_browser)
    }

    /// Returns `true` if the peer is connected and has joined the topic of this version.
    pub fn is_subscribed(&self, peer: &PeerId, topic: PayloadVersion) -> bool {
        self.connected
            .get(peer)
            .is_some_and(|connected| connected.topics & (1 << topic.index()) != 0)
    }

    /// Returns `true` if the peer is in our mesh of the topic of this version.
    pub fn is_in_mesh(&self, peer: &PeerId, topic: PayloadVersion) -> bool {
        self.connected
            .get(peer)
            .is_some_and(|connected| connected.meshes & (1 << topic.index()) != 0)
    }

    /// Returns the addresses at which a remembered peer may be dialled: those within the networks
    /// to which this node is [restricted](crate::peers::PeersConfig::restriction).
    pub fn addresses(&self, now: Now, peer: &PeerId) -> impl Iterator<Item = &str> {
        let restriction = &self.config.restriction;
        self.book.addresses(now.unix_seconds(), peer).filter(|address| {
            restriction.networks().is_empty()
                || literal_ip(address).is_some_and(|ip| restriction.check(ip).is_ok())
        })
    }

    /// Returns the multiaddrs at which a peer is dialled: those of the operator's list if it has
    /// some, else the [remembered](Self::addresses) ones.
    pub fn dial_addresses(&self, now: Now, peer: &PeerId) -> impl Iterator<Item = &str> {
        let listed = self.statics.addresses(peer);
        let remembered = listed.is_empty().then(|| self.addresses(now, peer));
        listed.iter().map(String::as_str).chain(remembered.into_iter().flatten())
    }

    /// Returns the total score of a peer: the current score if it is connected, otherwise the
    /// remembered one.
    pub fn score(&self, now: Now, peer: &PeerId) -> f64 {
        self.scores(now, peer).gossip.total
    }

    /// Returns the components of a peer's score.
    pub fn scores(&self, now: Now, peer: &PeerId) -> PeerScores {
        if !self.gossip.is_on() {
            return PeerScores::default();
        }
        if !self.connected.contains_key(peer) {
            return self.book.scores(now.unix_seconds(), peer);
        }
        let application = self.application.score(peer);
        PeerScores {
            gossip: self.gossip.snapshot(now.monotonic, peer, application),
            req_resp: self.application.counters(peer),
        }
    }
}
