//! Notice of a gateway to a browser whose connection it closes in favour of a newer one.
//!
//! A gateway serves one connection of a browser's identity: the newest. Two observers with one
//! identity therefore take the gateway from each other, and each should learn why. Before the
//! gateway closes the older connection, it opens a stream on it with the protocol [`REPLACED`]. The
//! stream carries no data: its opening is the message. It is closed with the connection.
//!
//! A browser that connects again has given up its older connection, and receives no notice there.
//! Other implementations refuse the stream, and are closed at once.
//!
//! # Bounds
//! * Older connections that are being told: [`MAX_FAREWELLS`], for [`FAREWELL_TIME`] each. Any
//!   further one is closed without being told.
//! * One entry for each connection, and one for each peer that said [`REPLACED`] since it was last
//!   connected.

use futures::future::{Ready, ready};
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::ReadyUpgrade;
use libp2p::core::{Endpoint, UpgradeInfo, upgrade::InboundUpgrade};
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished};
use libp2p::swarm::handler::ConnectionEvent;
use libp2p::swarm::{
    CloseConnection, ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId,
    FromSwarm, NetworkBehaviour, NotifyHandler, Stream, SubstreamProtocol, THandler,
    THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, StreamProtocol};
use std::collections::{HashMap, HashSet, VecDeque};
use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::Duration;

/// The protocol whose stream says that a newer connection of the same identity takes the place of
/// this one.
pub const REPLACED: StreamProtocol = StreamProtocol::new("/opp2p/replaced/1");

/// Maximum number of connections that are told at a time.
const MAX_FAREWELLS: usize = 64;

/// Time to tell a browser. The older connection is often dead.
const FAREWELL_TIME: Duration = Duration::from_secs(1);

/// Tells browsers that they are replaced, and listens for it.
#[derive(Debug, Default)]
pub struct Farewell {
    listens: bool,
    connections: HashMap<ConnectionId, PeerId>,
    /// Connections that are being told.
    told: HashSet<ConnectionId>,
    /// Peers that said [`REPLACED`] since they were last connected.
    replaced: HashSet<PeerId>,
    steps: VecDeque<ToSwarm<Infallible, Tell>>,
}

impl Farewell {
    /// Listens for [`REPLACED`] on all later connections, as a browser does.
    pub const fn listen(&mut self) {
        self.listens = true;
    }

    /// Returns `true` if the peer said that it closes the connection in favour of a newer one. It
    /// is known until the peer is connected again.
    pub fn has_replaced(&self, peer: &PeerId) -> bool {
        self.replaced.contains(peer)
    }

    /// Tells the other side that this connection is replaced, and then closes it. Returns `false`
    /// if that can't be done, and the caller has to close it.
    pub(super) fn begin(&mut self, connection: ConnectionId) -> bool {
        let Some(&peer_id) = self.connections.get(&connection) else { return false };
        if self.told.contains(&connection) {
            return true;
        }
        if self.told.len() == MAX_FAREWELLS {
            return false;
        }
        self.told.insert(connection);
        let handler = NotifyHandler::One(connection);
        self.steps.push_back(ToSwarm::NotifyHandler { peer_id, handler, event: Tell });
        true
    }
}

/// The handler's task: to tell the other side.
#[derive(Clone, Copy, Debug)]
pub struct Tell;

/// What a handler reports.
#[derive(Clone, Copy, Debug)]
pub enum Said {
    /// The other side was told, or can't be told.
    Told,
    /// The other side said [`REPLACED`].
    Replaced,
}

/// The inbound side of [`REPLACED`], if this node listens for it.
#[derive(Clone, Copy, Debug)]
pub struct Listening(bool);

impl UpgradeInfo for Listening {
    type Info = StreamProtocol;
    type InfoIter = std::option::IntoIter<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.then_some(REPLACED).into_iter()
    }
}

impl InboundUpgrade<Stream> for Listening {
    type Output = ();
    type Error = Infallible;
    type Future = Ready<Result<(), Infallible>>;

    fn upgrade_inbound(self, _: Stream, _: StreamProtocol) -> Self::Future {
        ready(Ok(()))
    }
}

/// One connection.
#[derive(Debug)]
pub struct Handler {
    listens: bool,
    tells: bool,
    said: Option<Said>,
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Tell;
    type ToBehaviour = Said;
    type InboundProtocol = Listening;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Listening> {
        SubstreamProtocol::new(Listening(self.listens), ())
    }

    fn on_behaviour_event(&mut self, Tell: Tell) {
        self.tells = true;
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Listening, Self::OutboundProtocol>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(_) => self.said = Some(Said::Replaced),
            ConnectionEvent::FullyNegotiatedOutbound(_) | ConnectionEvent::DialUpgradeError(_) => {
                self.said = Some(Said::Told);
            }
            _ => {}
        }
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, (), Said>> {
        if let Some(said) = self.said.take() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(said));
        }
        if std::mem::take(&mut self.tells) {
            let protocol = SubstreamProtocol::new(ReadyUpgrade::new(REPLACED), ());
            let protocol = protocol.with_timeout(FAREWELL_TIME);
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        Poll::Pending
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<Option<Said>> {
        Poll::Ready(self.said.take())
    }
}

impl NetworkBehaviour for Farewell {
    type ConnectionHandler = Handler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler { listens: self.listens, tells: false, said: None })
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler { listens: self.listens, tells: false, said: None })
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id,
                connection_id,
                ..
            }) => {
                self.connections.insert(connection_id, peer_id);
                self.replaced.remove(&peer_id);
            }
            FromSwarm::ConnectionClosed(ConnectionClosed { connection_id, .. }) => {
                self.connections.remove(&connection_id);
                self.told.remove(&connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer_id: PeerId,
        connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {
            Said::Replaced => {
                self.replaced.insert(peer_id);
            }
            Said::Told => {
                let connection = CloseConnection::One(connection);
                self.steps.push_back(ToSwarm::CloseConnection { peer_id, connection });
            }
        }
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        self.steps.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libp2p::core::ConnectedPoint;

    #[test]
    fn only_so_many_are_told_at_a_time_and_the_rest_is_closed_at_once() {
        let mut farewell = Farewell::default();
        let address: Multiaddr = "/memory/1".parse().expect("an address");
        let endpoint =
            ConnectedPoint::Listener { local_addr: address.clone(), send_back_addr: address };
        let id = |number: usize| ConnectionId::new_unchecked(number);
        let peer_id = PeerId::random();
        for number in 0..=MAX_FAREWELLS {
            farewell.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id,
                connection_id: id(number),
                endpoint: &endpoint,
                failed_addresses: &[],
                other_established: number,
            }));
        }
        assert!((0..MAX_FAREWELLS).all(|number| farewell.begin(id(number))));
        assert!(!farewell.begin(id(MAX_FAREWELLS)), "there are enough");
        assert!(farewell.begin(id(0)), "it is being told already");
        assert!(!farewell.begin(id(1000)), "it has ended");
        assert_eq!(farewell.steps.len(), MAX_FAREWELLS, "each is told once");
        for number in 0..=MAX_FAREWELLS {
            farewell.on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed {
                peer_id,
                connection_id: id(number),
                endpoint: &endpoint,
                cause: None,
                remaining_established: MAX_FAREWELLS - number,
            }));
        }
        assert!(farewell.connections.is_empty() && farewell.told.is_empty());
    }
}
