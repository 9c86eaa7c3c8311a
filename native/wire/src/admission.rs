//! Asks a gatekeeper whether a connection is admitted.
//!
//! [`Admission`] holds no rules, only the admitted connections, so that it reports the end of each
//! to the gatekeeper exactly once. It must be the first field of a behaviour: no later field sees a
//! connection that is refused here.
//!
//! # Bounds
//! One entry for each admitted connection that has not ended. Remote peers cause them, so the
//! gatekeeper must limit their number.

use crate::from_libp2p;
use libp2p::Multiaddr;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::behaviour::{ConnectionClosed, DialFailure, ListenFailure};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm, dummy,
};
use opp2p_core::peers::{self, Denied, Door, Knock, PeerId};
use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Decides on connections. The dialler finds the reason of a refusal among the causes of its error.
/// It is called on the swarm's own task, so it must neither block nor panic.
///
/// [`Admission`] asks all [`Knock`]s except [`Knock::Begin`] and [`Knock::DialAddress`], which the
/// transport asks. It assigns the connections' ids, each once, from 0.
///
/// [`Knock::Ended`] is sent once for each admitted connection: an inbound one whose
/// [`Knock::Accept`], or an outbound one whose [`Knock::Secured`] was granted. Its answer is
/// ignored. When the whole swarm is dropped, it is not sent for connections that are still open.
pub type Gatekeeper = Arc<dyn Fn(&Knock) -> Result<(), Denied> + Send + Sync>;

/// The id of a remote peer is not one that the core accepts. This can't happen for ids that libp2p
/// creates.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("{0} is not a peer's id")]
struct InvalidPeer(libp2p::PeerId);

/// Asks a gatekeeper about each connection. Without one, every connection is admitted.
pub struct Admission {
    gatekeeper: Option<Gatekeeper>,
    /// Admitted connections that have not ended.
    inside: HashMap<ConnectionId, peers::ConnectionId>,
    next: u64,
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission").field("inside", &self.inside).finish_non_exhaustive()
    }
}

impl Admission {
    /// Creates the admission with this gatekeeper; `None` admits every connection.
    pub fn new(gatekeeper: Option<Gatekeeper>) -> Self {
        Self { gatekeeper, inside: HashMap::new(), next: 0 }
    }

    /// Returns libp2p's id of an admitted connection; `None` if it has ended. Takes time in
    /// proportion to the number of connections.
    pub fn connection(&self, id: peers::ConnectionId) -> Option<ConnectionId> {
        self.inside.iter().find(|(_, given)| **given == id).map(|(connection, _)| *connection)
    }

    /// Returns the core's id of an admitted connection; `None` if it has ended.
    pub fn id(&self, connection: ConnectionId) -> Option<peers::ConnectionId> {
        self.inside.get(&connection).copied()
    }

    /// Returns the number of admitted connections that have not ended.
    pub fn inside(&self) -> usize {
        self.inside.len()
    }

    fn ask(&self, knock: &Knock) -> Result<(), ConnectionDenied> {
        match &self.gatekeeper {
            Some(gatekeeper) => gatekeeper(knock).map_err(ConnectionDenied::new),
            None => Ok(()),
        }
    }

    /// Returns the core's id of a connection, which is assigned at the first call.
    fn id_for(&mut self, connection: ConnectionId) -> peers::ConnectionId {
        self.id(connection).unwrap_or_else(|| {
            let id = peers::ConnectionId(self.next);
            self.next += 1;
            id
        })
    }

    fn secured(
        &mut self,
        connection: ConnectionId,
        peer: libp2p::PeerId,
        is_inbound: bool,
        ip: Option<IpAddr>,
        door: Door,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let peer = known(&peer)?;
        let id = self.id_for(connection);
        self.ask(&Knock::Secured { id, door, peer, ip, is_inbound })?;
        self.inside.insert(connection, id);
        Ok(dummy::ConnectionHandler)
    }

    fn ended(&mut self, connection: ConnectionId) {
        if let Some(id) = self.inside.remove(&connection) {
            // The answer to `Ended` is ignored.
            let _ = self.ask(&Knock::Ended(id));
        }
    }
}

impl NetworkBehaviour for Admission {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        let id = self.id_for(connection);
        self.ask(&Knock::Accept { id, door: door_of([local, remote]), ip: ip_of(remote) })?;
        self.inside.insert(connection, id);
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: libp2p::PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.secured(connection, peer, true, ip_of(remote), door_of([local, remote]))
    }

    fn handle_pending_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: Option<libp2p::PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        if let Some(peer) = peer {
            self.ask(&Knock::DialPeer(known(&peer)?))?;
        }
        Ok(Vec::new())
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: libp2p::PeerId,
        address: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.secured(connection, peer, false, ip_of(address), door_of([address]))
    }

    // Events that end a connection (libp2p-swarm 0.48, `Swarm::handle_pool_event` and
    // `handle_transport_event`):
    // * Refused before the handshake, by this or a later behaviour, or failed in the handshake,
    //   including timeouts and our own peer id: one `ListenFailure` or one `DialFailure`.
    // * Refused after the handshake, by this or a later behaviour: again one `ListenFailure` or
    //   `DialFailure`, and no `ConnectionEstablished` or `ConnectionClosed`.
    // * Established: one `ConnectionClosed`, and neither failure.
    //
    // All of them are sent to every behaviour, also to the one that refused. So there is also a
    // failure for a connection that was refused here, and for a dial that failed before it was
    // secured, and the gatekeeper must not hear of either. `inside` tells them apart, and ensures
    // that no end is reported twice.
    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionClosed(ConnectionClosed { connection_id, .. })
            | FromSwarm::ListenFailure(ListenFailure { connection_id, .. })
            | FromSwarm::DialFailure(DialFailure { connection_id, .. }) => {
                self.ended(connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        _: libp2p::PeerId,
        _: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

/// Returns the first IP address in a multiaddress, an IPv4-mapped one as IPv4. Returns `None` if it
/// has none, such as a name or an address in memory.
pub fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    address.iter().find_map(|part| match part {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(IpAddr::from(ip).to_canonical()),
        _ => None,
    })
}

/// Returns `true` if the address is a WebSocket address, which only browsers need.
pub fn is_browser(address: &Multiaddr) -> bool {
    address.iter().any(|part| matches!(part, Protocol::Ws(_) | Protocol::Wss(_)))
}

/// Returns the door of a connection with these addresses.
fn door_of<const N: usize>(addresses: [&Multiaddr; N]) -> Door {
    if addresses.into_iter().any(is_browser) { Door::Browser } else { Door::Tcp }
}

fn known(peer: &libp2p::PeerId) -> Result<PeerId, ConnectionDenied> {
    from_libp2p(peer).ok_or_else(|| ConnectionDenied::new(InvalidPeer(*peer)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ip_of_an_address_is_canonical() {
        let ip = |address: &str| ip_of(&address.parse().expect("an address"));
        assert_eq!(ip("/ip4/10.1.2.3/tcp/1"), Some(IpAddr::from([10, 1, 2, 3])));
        assert_eq!(ip("/ip6/::ffff:10.1.2.3/tcp/1"), Some(IpAddr::from([10, 1, 2, 3])));
        assert_eq!(
            ip("/ip6/2001:db8::1/tcp/1/ws"),
            Some("2001:db8::1".parse().expect("an address"))
        );
        assert_eq!(ip("/dns4/example.org/tcp/1"), None);
        assert_eq!(ip("/memory/1"), None);
    }

    #[test]
    fn a_peer_over_a_websocket_is_a_browser() {
        let browser = |address: &str| is_browser(&address.parse().expect("an address"));
        assert!(browser("/ip4/10.1.2.3/tcp/1/ws"));
        assert!(browser("/dns4/example.org/tcp/443/wss"));
        assert!(browser("/ip4/10.1.2.3/tcp/1/tls/ws"));
        assert!(!browser("/ip4/10.1.2.3/tcp/1"));
    }
}
