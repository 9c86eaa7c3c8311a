//! The connections of each peer, and whether they make it a browser.

use super::{Connected, PeerManager, Secured};
use crate::peers::PeerId;
use crate::time::Now;
use core::net::IpAddr;

impl PeerManager {
    pub(super) fn connections(&self, peer: &PeerId) -> impl Iterator<Item = &Secured> {
        self.secured.values().filter(move |secured| secured.peer == *peer)
    }

    /// Returns the addresses of a peer's connections.
    pub(super) fn ips(&self, peer: &PeerId) -> impl Iterator<Item = IpAddr> {
        self.connections(peer).filter_map(|secured| secured.ip)
    }

    /// Returns the addresses of a peer's connections, except for browser connections, which do not
    /// count towards the number of peers at one address.
    pub(super) fn node_ips(&self, peer: &PeerId) -> impl Iterator<Item = IpAddr> {
        self.connections(peer)
            .filter(|secured| !secured.is_browser_connection)
            .filter_map(|secured| secured.ip)
    }

    pub(super) fn has_browser_connections_only(&self, peer: &PeerId) -> bool {
        let mut connections = self.connections(peer).peekable();
        connections.peek().is_some() && connections.all(|secured| secured.is_browser_connection)
    }

    /// Recounts a connected peer that gained or lost a connection: a browser may have taken one of
    /// the nodes' places, or have left it.
    pub(super) fn sort(&mut self, now: Now, peer: &PeerId) {
        // The peer's last connection ended: the driver is about to call `disconnected`.
        if self.connections(peer).next().is_none() {
            return;
        }
        let takes_browser_places_only = self.has_browser_connections_only(peer);
        let Some(connected) = self.connected.get_mut(peer) else { return };
        let is_counted = !connected.is_browser || !takes_browser_places_only;
        if connected.is_counted == is_counted {
            return;
        }
        connected.is_counted = is_counted;
        let Connected { is_inbound, topics, meshes, .. } = *connected;
        if !is_counted {
            self.connection_manager.disconnected(peer);
            return;
        }
        let ip = self.node_ips(peer).next();
        self.gossip.connected(now.monotonic, *peer, ip);
        let is_inbound = is_inbound && self.connections(peer).all(|secured| secured.is_inbound);
        self.connection_manager.connected(
            now.monotonic,
            *peer,
            is_inbound,
            self.is_protected(peer),
        );
        self.connection_manager.set_mesh(peer, meshes.count_ones() as usize);
        self.connection_manager.set_gossips(peer, topics != 0);
        self.connection_manager.set_score(peer, self.score(now, peer));
    }
}
