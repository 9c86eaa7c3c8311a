//! The swarm's events: those that only a native node has are handled here, and [`Wire`] translates
//! the others for the core.
//!
//! [`Wire`]: opp2p_wire::Wire

use super::super::event::{HostEventKind, NatEvent};
use super::super::native::NativeEvent;
use super::Driver;
use libp2p::swarm::SwarmEvent;
use opp2p_core::node::Input;
use opp2p_core::peers::PeerNews;
use opp2p_wire::{Notice, dial_failure, refused_late, to_libp2p};

impl Driver {
    /// Handles an event of the swarm.
    pub(super) fn on_swarm(&mut self, event: SwarmEvent<NativeEvent>) {
        self.listening.heard(&event);
        self.watch_for_twins(&event);
        match event {
            SwarmEvent::Behaviour(NativeEvent::Upnp(event)) => {
                self.tell(HostEventKind::Nat(NatEvent::from(event)));
            }
            SwarmEvent::Behaviour(NativeEvent::Autonat(event)) => {
                if let Some(connection) = self.dial_backs.on_event(&event) {
                    self.wire.close_connection(connection);
                }
            }
            // Usually too few file descriptors. The transport tries again a little later.
            SwarmEvent::ListenerError { error, .. } => {
                tracing::warn!(
                    target: "opp2p::peers", %error,
                    "connections can't be accepted at present"
                );
            }
            event => self.on_network(event),
        }
    }

    /// Passes an event of the network to the core, and the news in it to the subscribers.
    fn on_network(&mut self, event: SwarmEvent<NativeEvent>) {
        let news = self.wire.notice(&event).map_or_else(Vec::new, |notice| news(&notice));
        let (mut is_connection, mut failed) = (false, None);
        match &event {
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                is_connection = true;
                let is_own = self.wire.is_own_dial(*connection_id);
                let surplus = self.dial_backs.connected(*peer_id, *connection_id, endpoint, is_own);
                if let Some(connection) = surplus {
                    self.wire.close_connection(connection);
                }
            }
            SwarmEvent::ConnectionClosed { .. } => is_connection = true,
            SwarmEvent::OutgoingConnectionError { connection_id, .. } => {
                failed = Some(*connection_id);
            }
            _ => {}
        }
        if let Some(input) = self.wire.on_swarm(event) {
            self.on_input(input);
        }
        if is_connection {
            self.count_peers();
            self.refresh_mesh();
        }
        for kind in news {
            match (&kind, failed) {
                (HostEventKind::Connected { peer, .. }, _) => self.callers.connected(*peer),
                (HostEventKind::DialFailed { error, .. }, Some(dial)) => {
                    self.callers.dial_failed(dial, error);
                }
                _ => {}
            }
            self.tell(kind);
        }
    }

    /// Feeds an input from the network.
    fn on_input(&mut self, input: Input) {
        match &input {
            Input::Requested { id, number, .. } => self.meter.requested(*id, *number),
            Input::Responded(id) => self.meter.gone(*id),
            Input::Peer(peer, PeerNews::Identified(info)) => {
                if let Some(peer) = to_libp2p(peer) {
                    self.tell(HostEventKind::Identified { peer, agent: info.agent.clone() });
                }
            }
            _ => {}
        }
        self.feed(input);
    }
}

/// Returns what a change tells subscribers.
fn news(notice: &Notice<'_>) -> Vec<HostEventKind> {
    match *notice {
        Notice::Connected { peer, address } => {
            vec![HostEventKind::Connected { peer, address: address.clone() }]
        }
        Notice::Disconnected { peer, cause, .. } => {
            let refused = cause.and_then(refused_late);
            let refused = refused.map(|error| HostEventKind::DialFailed { peer, error });
            [Some(HostEventKind::Disconnected { peer }), refused].into_iter().flatten().collect()
        }
        Notice::DialFailed { peer, error, .. } => {
            vec![HostEventKind::DialFailed { peer, error: dial_failure(error) }]
        }
    }
}
