//! The consequences of a peer's score: reports of it, bans, and dropped connections.

use super::{DisconnectReason, PeerEvent, PeerManager, PeerStep};
use crate::peers::PeerId;
use crate::time::Now;
use core::net::IpAddr;

impl PeerManager {
    /// Handles a possible change of a peer's score: reports it to gossip and to the
    /// connection manager, and applies the ban policy.
    pub(super) fn changed(&mut self, now: Now, peer: &PeerId) {
        if !self.connected.contains_key(peer) {
            return;
        }
        self.report_application_score(peer);
        let score = self.score(now, peer);
        self.connection_manager.set_score(peer, score);
        self.judge(now, peer, score);
    }

    /// Bans a peer if its score is too low.
    pub(super) fn judge(&mut self, now: Now, peer: &PeerId, score: f64) {
        if !self.gossip.is_on() || self.gate.holds(now, peer, &[]) {
            return;
        }
        if let Some(until) =
            self.config.bans.judge(now.unix_seconds(), score, self.is_protected(peer))
        {
            if self.connected.contains_key(peer) {
                self.note(now, peer);
            }
            self.ban(*peer, until, Some(score));
        }
    }

    /// Adjusts to a wall-clock jump of `seconds`.
    pub(crate) fn clock_jumped(&mut self, seconds: i64) {
        self.gate.clock_jumped(seconds);
    }

    pub(super) fn report_application_score(&mut self, peer: &PeerId) {
        let application = self.application.score(peer);
        if let Some(connected) = self.connected.get_mut(peer)
            && connected.told != application
        {
            connected.told = application;
            self.steps.push_back(PeerStep::ApplicationScore(*peer, application));
        }
    }

    pub(super) fn ban(&mut self, peer: PeerId, until: u64, score: Option<f64>) {
        self.gate.ban_peer(peer, until);
        self.steps.push_back(PeerStep::Event(PeerEvent::Banned { peer, score, until }));
        self.drop_peer(peer, DisconnectReason::Banned);
    }

    /// Disconnects all peers that are now blocked or banned.
    pub(super) fn drop_refused(&mut self, now: Now, why: DisconnectReason) {
        let peers: Vec<PeerId> = self.connected.keys().copied().collect();
        for peer in peers {
            let ips: Vec<IpAddr> = self.ips(&peer).collect();
            if self.gate.holds(now, &peer, &ips) {
                self.drop_peer(peer, why);
            }
        }
    }

    pub(super) fn drop_peer(&mut self, peer: PeerId, why: DisconnectReason) {
        if self.connected.contains_key(&peer) {
            self.steps.push_back(PeerStep::Event(PeerEvent::Dropped { peer, why }));
            self.steps.push_back(PeerStep::Disconnect(peer));
        }
    }
}
