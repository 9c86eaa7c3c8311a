//! The door: asks a gatekeeper whether a connection may come to be.
//!
//! It holds no rules, only which connections were let in, so that the gatekeeper hears of the end of each
//! exactly once. It must be the first field of a behaviour: what is refused here, no later field has seen.
//!
//! # Bounds
//! A number for each connection that was let in and has not ended: as many as the gatekeeper lets in.
//! Remote peers cause them, so a gatekeeper must count.

use libp2p::Multiaddr;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::behaviour::{ConnectionClosed, DialFailure, ListenFailure};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm, dummy,
};
use opp2p_core::peers::{self, PeerId};
use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

/// What is asked at the door.
///
/// `connection` is a number that this [`Door`] gives out once, counted from 0; see [`Door::connection`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Knock {
    /// An inbound connection, before any handshake.
    Accept {
        /// Its number.
        connection: u64,
        /// Where it comes from, see [`ip_of`].
        ip: Option<IpAddr>,
        /// Whether it comes over a WebSocket.
        is_browser: bool,
    },
    /// A handshake ended, inbound or outbound: the peer has proved its id.
    Secured {
        /// Its number: for an inbound one, that of its [`Accept`](Self::Accept).
        connection: u64,
        /// Who it is.
        peer: PeerId,
        /// The other end, see [`ip_of`]. `None` for a peer that was dialled by a name: libp2p does not say
        /// what the name was resolved to.
        ip: Option<IpAddr>,
        /// Whether the peer came to us.
        is_inbound: bool,
        /// Whether it goes over a WebSocket.
        is_browser: bool,
    },
    /// A peer is to be dialled. Not asked if only an address is known.
    DialPeer {
        /// Who.
        peer: PeerId,
    },
    /// An address is to be dialled, resolved to an IP. The transport asks this, not the [`Door`].
    DialAddress {
        /// Where, IPv4-mapped addresses as IPv4.
        ip: IpAddr,
    },
    /// A connection that was let in failed or was closed: an inbound one whose `Accept`, an outbound one whose
    /// `Secured` was granted. Said once for each; the answer counts for nothing. When the whole swarm is
    /// dropped, what is still open goes unsaid.
    Ended {
        /// Its number.
        connection: u64,
    },
}

impl Knock {
    /// The same in the core's terms.
    pub const fn for_core(&self) -> peers::Knock {
        const fn door(is_browser: bool) -> peers::Door {
            if is_browser { peers::Door::Browser } else { peers::Door::Tcp }
        }
        match *self {
            Self::DialPeer { peer } => peers::Knock::DialPeer(peer),
            Self::DialAddress { ip } => peers::Knock::DialAddress(ip),
            Self::Accept { connection, ip, is_browser } => {
                peers::Knock::Accept { id: peers::ConnectionId(connection), door: door(is_browser), ip }
            }
            Self::Secured { connection, peer, ip, is_inbound, is_browser } => {
                let (id, door) = (peers::ConnectionId(connection), door(is_browser));
                peers::Knock::Secured { id, door, peer, ip, is_inbound }
            }
            Self::Ended { connection } => peers::Knock::Ended(peers::ConnectionId(connection)),
        }
    }
}

/// Who decides. An error is one sentence on why not; whoever dialled finds it in the cause of its error. It is
/// called from the swarm's own task, so it must neither wait nor panic.
pub type Gatekeeper = Arc<dyn Fn(&Knock) -> Result<(), String> + Send + Sync>;

/// The gatekeeper's sentence on why a connection was refused, as libp2p carries it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// Asks a gatekeeper for each connection. Without one, everybody may.
pub struct Door {
    gatekeeper: Option<Gatekeeper>,
    /// Connections that were let in and have not ended.
    inside: HashMap<ConnectionId, u64>,
    next: u64,
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").field("inside", &self.inside).finish_non_exhaustive()
    }
}

impl Door {
    /// A door with this gatekeeper; `None`: everybody may.
    pub fn new(gatekeeper: Option<Gatekeeper>) -> Self {
        Self { gatekeeper, inside: HashMap::new(), next: 0 }
    }

    /// The connection that has this number, to close it; `None` if it has ended. Takes time in proportion to
    /// the number of connections.
    pub fn connection(&self, number: u64) -> Option<ConnectionId> {
        self.inside.iter().find(|(_, given)| **given == number).map(|(id, _)| *id)
    }

    /// The number of a connection that is let in and has not ended.
    pub fn number(&self, connection: ConnectionId) -> Option<u64> {
        self.inside.get(&connection).copied()
    }

    /// How many connections are let in and have not ended.
    pub fn inside(&self) -> usize {
        self.inside.len()
    }

    fn ask(&self, knock: &Knock) -> Result<(), ConnectionDenied> {
        match &self.gatekeeper {
            Some(gatekeeper) => gatekeeper(knock).map_err(|why| ConnectionDenied::new(Refused(why))),
            None => Ok(()),
        }
    }

    fn number_for(&mut self, connection: ConnectionId) -> u64 {
        self.number(connection).unwrap_or_else(|| {
            let number = self.next;
            self.next += 1;
            number
        })
    }

    fn secured(
        &mut self,
        id: ConnectionId,
        peer: libp2p::PeerId,
        is_inbound: bool,
        ip: Option<IpAddr>,
        is_browser: bool,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let peer = known(&peer)?;
        let connection = self.number_for(id);
        self.ask(&Knock::Secured { connection, peer, ip, is_inbound, is_browser })?;
        self.inside.insert(id, connection);
        Ok(dummy::ConnectionHandler)
    }

    fn ended(&mut self, connection: ConnectionId) {
        if let Some(connection) = self.inside.remove(&connection) {
            // There is nothing to refuse.
            let _ = self.ask(&Knock::Ended { connection });
        }
    }
}

impl NetworkBehaviour for Door {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        let connection = self.number_for(id);
        let is_browser = is_browser(local) || is_browser(remote);
        self.ask(&Knock::Accept { connection, ip: ip_of(remote), is_browser })?;
        self.inside.insert(id, connection);
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: libp2p::PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.secured(id, peer, true, ip_of(remote), is_browser(local) || is_browser(remote))
    }

    fn handle_pending_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: Option<libp2p::PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        if let Some(peer) = peer {
            self.ask(&Knock::DialPeer { peer: known(&peer)? })?;
        }
        Ok(Vec::new())
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: libp2p::PeerId,
        address: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.secured(id, peer, false, ip_of(address), is_browser(address))
    }

    // Which events end a connection (libp2p-swarm 0.48, `Swarm::handle_pool_event` and
    // `handle_transport_event`):
    // * Refused before the handshake, by this or a later behaviour, or failed in the handshake, timeouts and
    //   our own peer id included: one `ListenFailure`, or one `DialFailure`.
    // * Refused after the handshake, by this or a later behaviour: again one `ListenFailure` or `DialFailure`,
    //   and no `ConnectionEstablished` or `ConnectionClosed`.
    // * Established: one `ConnectionClosed`, and neither failure.
    // All of them come to every behaviour, also to the one that refused. So a connection that this door
    // refused at once gets a failure too, of which the gatekeeper must not hear, nor of dials that failed before
    // they were secured: `inside` tells them apart, and makes sure that no end is said twice.
    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionClosed(ConnectionClosed { connection_id, .. })
            | FromSwarm::ListenFailure(ListenFailure { connection_id, .. })
            | FromSwarm::DialFailure(DialFailure { connection_id, .. }) => self.ended(connection_id),
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

/// The first IP address in a multiaddress, IPv4-mapped ones as IPv4; `None` if it has none, as a name or an
/// address in memory.
pub fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    address.iter().find_map(|part| match part {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(IpAddr::from(ip).to_canonical()),
        _ => None,
    })
}

/// Whether the address is a WebSocket's, which only browsers need.
pub fn is_browser(address: &Multiaddr) -> bool {
    address.iter().any(|part| matches!(part, Protocol::Ws(_) | Protocol::Wss(_)))
}

fn known(peer: &libp2p::PeerId) -> Result<PeerId, ConnectionDenied> {
    super::from_libp2p(peer).ok_or_else(|| ConnectionDenied::new(Refused(format!("{peer} is no peer's id"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ip_of_an_address_is_canonical() {
        let ip = |address: &str| ip_of(&address.parse().expect("an address"));
        assert_eq!(ip("/ip4/10.1.2.3/tcp/1"), Some(IpAddr::from([10, 1, 2, 3])));
        assert_eq!(ip("/ip6/::ffff:10.1.2.3/tcp/1"), Some(IpAddr::from([10, 1, 2, 3])));
        assert_eq!(ip("/ip6/2001:db8::1/tcp/1/ws"), Some("2001:db8::1".parse().expect("an address")));
        assert_eq!(ip("/dns4/example.org/tcp/1"), None);
        assert_eq!(ip("/memory/1"), None);
    }

    #[test]
    fn who_comes_over_a_websocket_is_a_browser() {
        let browser = |address: &str| is_browser(&address.parse().expect("an address"));
        assert!(browser("/ip4/10.1.2.3/tcp/1/ws"));
        assert!(browser("/dns4/example.org/tcp/443/wss"));
        assert!(browser("/ip4/10.1.2.3/tcp/1/tls/ws"));
        assert!(!browser("/ip4/10.1.2.3/tcp/1"));
    }
}
