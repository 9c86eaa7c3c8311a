//! A behaviour for connections of one kind: browsers', or all others.
//!
//! Gossipsub keeps one mesh for all its peers, and browsers need one of their own; so there are two of it, each in an
//! [`Only`]. A peer may have connections of both kinds: then both know it, each by its own.
//!
//! # Bounds
//! The id of each connection of the kind: as many as the door lets in.

use super::is_browser;
use either::Either;
use libp2p::core::transport::PortUse;
use libp2p::core::{ConnectedPoint, Endpoint};
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};
use std::collections::HashMap;
use std::fmt;
use std::task::{Context, Poll, ready};

/// Which of two meshes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mesh {
    /// That of the nodes: of all connections but browsers'.
    Nodes,
    /// That of the browsers: of inbound connections over a WebSocket.
    Browsers,
}

impl Mesh {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Nodes, Self::Browsers];
}

/// Which connections an [`Only`] takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    All,
    These(Mesh),
}

/// Shows its inner behaviour the connections of one kind, and nothing of the others, which get a handler that does
/// nothing. Its events say which mesh they come from.
///
/// The inner behaviour must close connections one by one, if at all: who closes all of a peer's, closes those of the
/// other kind too.
pub struct Only<B> {
    inner: B,
    takes: Takes,
    connections: HashMap<PeerId, Vec<ConnectionId>>,
}

impl<B> fmt::Debug for Only<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { takes, connections, .. } = self;
        f.debug_struct("Only").field("takes", takes).field("connections", connections).finish_non_exhaustive()
    }
}

impl<B> Only<B> {
    /// For the connections of one mesh, where there are two.
    pub fn of(mesh: Mesh, inner: B) -> Self {
        Self { inner, takes: Takes::These(mesh), connections: HashMap::new() }
    }

    /// For all connections: there is but the mesh of the nodes.
    pub fn all(inner: B) -> Self {
        Self { inner, takes: Takes::All, connections: HashMap::new() }
    }

    /// The behaviour inside.
    pub const fn inner(&self) -> &B {
        &self.inner
    }

    /// The behaviour inside.
    pub const fn inner_mut(&mut self) -> &mut B {
        &mut self.inner
    }

    /// Whether a peer has a connection of the kind.
    pub fn has(&self, peer: &PeerId) -> bool {
        self.connections.contains_key(peer)
    }

    /// Peers with a connection of the kind.
    pub fn peers(&self) -> impl ExactSizeIterator<Item = &PeerId> {
        self.connections.keys()
    }

    const fn mesh(&self) -> Mesh {
        match self.takes {
            Takes::All => Mesh::Nodes,
            Takes::These(mesh) => mesh,
        }
    }

    fn takes(&self, is_of_browser: bool) -> bool {
        match self.takes {
            Takes::All => true,
            Takes::These(mesh) => is_of_browser == (mesh == Mesh::Browsers),
        }
    }

    fn takes_inbound(&self, local: &Multiaddr, remote: &Multiaddr) -> bool {
        self.takes(is_browser(local) || is_browser(remote))
    }

    fn takes_endpoint(&self, endpoint: &ConnectedPoint) -> bool {
        match endpoint {
            ConnectedPoint::Dialer { .. } => self.takes(false),
            ConnectedPoint::Listener { local_addr, send_back_addr } => {
                self.takes_inbound(local_addr, send_back_addr)
            }
        }
    }

    /// Counts a connection; how many others of its kind the peer has.
    fn came(&mut self, peer: PeerId, connection: ConnectionId) -> usize {
        let connections = self.connections.entry(peer).or_default();
        connections.push(connection);
        connections.len() - 1
    }

    /// Counts a connection no more; how many others of its kind the peer has.
    fn went(&mut self, peer: &PeerId, connection: ConnectionId) -> usize {
        let Some(connections) = self.connections.get_mut(peer) else { return 0 };
        connections.retain(|id| *id != connection);
        let left = connections.len();
        if left == 0 {
            self.connections.remove(peer);
        }
        left
    }
}

/// Whoever means any connection of a peer means one of the kind: no other handler would understand it. `None` if there
/// is none any more.
fn notify_any<E, H>(
    connections: &HashMap<PeerId, Vec<ConnectionId>>,
    step: ToSwarm<E, H>,
) -> Option<ToSwarm<E, H>> {
    match step {
        ToSwarm::NotifyHandler { peer_id, handler: NotifyHandler::Any, event } => {
            let connection = connections.get(&peer_id)?.first()?;
            Some(ToSwarm::NotifyHandler { peer_id, handler: NotifyHandler::One(*connection), event })
        }
        step => Some(step),
    }
}

impl<B: NetworkBehaviour> NetworkBehaviour for Only<B> {
    type ConnectionHandler = Either<THandler<B>, dummy::ConnectionHandler>;
    type ToSwarm = (Mesh, B::ToSwarm);

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        if self.takes_inbound(local, remote) {
            self.inner.handle_pending_inbound_connection(id, local, remote)
        } else {
            Ok(())
        }
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if self.takes_inbound(local, remote) {
            self.inner.handle_established_inbound_connection(id, peer, local, remote).map(Either::Left)
        } else {
            Ok(Either::Right(dummy::ConnectionHandler))
        }
    }

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        if self.takes(false) {
            self.inner.handle_pending_outbound_connection(id, peer, addresses, role)
        } else {
            Ok(Vec::new())
        }
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if self.takes(false) {
            let handler =
                self.inner.handle_established_outbound_connection(id, peer, address, role, port_use);
            handler.map(Either::Left)
        } else {
            Ok(Either::Right(dummy::ConnectionHandler))
        }
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        let event = match event {
            FromSwarm::ConnectionEstablished(established) => {
                if !self.takes_endpoint(established.endpoint) {
                    return;
                }
                let other_established = self.came(established.peer_id, established.connection_id);
                FromSwarm::ConnectionEstablished(ConnectionEstablished { other_established, ..established })
            }
            FromSwarm::ConnectionClosed(closed) => {
                if !self.takes_endpoint(closed.endpoint) {
                    return;
                }
                let remaining_established = self.went(&closed.peer_id, closed.connection_id);
                FromSwarm::ConnectionClosed(ConnectionClosed { remaining_established, ..closed })
            }
            FromSwarm::AddressChange(change) if !self.takes_endpoint(change.old) => return,
            FromSwarm::DialFailure(_) if !self.takes(false) => return,
            FromSwarm::ListenFailure(failure)
                if !self.takes_inbound(failure.local_addr, failure.send_back_addr) =>
            {
                return;
            }
            event => event,
        };
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {
            Either::Left(event) => self.inner.on_connection_handler_event(peer, connection, event),
            Either::Right(never) => match never {},
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        let mesh = self.mesh();
        loop {
            let step = ready!(self.inner.poll(cx));
            if let Some(step) = notify_any(&self.connections, step) {
                return Poll::Ready(step.map_out(|event| (mesh, event)).map_in(Either::Left));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a helper of a test may fail like the test")]

    use super::*;
    use libp2p::swarm::behaviour::{AddressChange, ExternalAddrConfirmed};
    use std::collections::VecDeque;
    use std::convert::Infallible;

    /// Writes down what it is told, and says what it is given.
    #[derive(Default)]
    struct Inner {
        heard: Vec<String>,
        says: VecDeque<ToSwarm<u8, Infallible>>,
    }

    impl NetworkBehaviour for Inner {
        type ConnectionHandler = dummy::ConnectionHandler;
        type ToSwarm = u8;

        fn handle_established_inbound_connection(
            &mut self,
            id: ConnectionId,
            _: PeerId,
            _: &Multiaddr,
            _: &Multiaddr,
        ) -> Result<THandler<Self>, ConnectionDenied> {
            self.heard.push(format!("in {id}"));
            Ok(dummy::ConnectionHandler)
        }

        fn handle_established_outbound_connection(
            &mut self,
            id: ConnectionId,
            _: PeerId,
            _: &Multiaddr,
            _: Endpoint,
            _: PortUse,
        ) -> Result<THandler<Self>, ConnectionDenied> {
            self.heard.push(format!("out {id}"));
            Ok(dummy::ConnectionHandler)
        }

        fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
            self.heard.push(match event {
                FromSwarm::ConnectionEstablished(event) => {
                    format!("established {} +{}", event.connection_id, event.other_established)
                }
                FromSwarm::ConnectionClosed(event) => {
                    format!("closed {} +{}", event.connection_id, event.remaining_established)
                }
                FromSwarm::AddressChange(event) => format!("moved {}", event.connection_id),
                _ => "else".into(),
            });
        }

        fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: Infallible) {
            match event {}
        }

        fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<u8, Infallible>> {
            self.says.pop_front().map_or(Poll::Pending, Poll::Ready)
        }
    }

    fn address(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    fn endpoint(way: &str) -> ConnectedPoint {
        match way {
            "out" => ConnectedPoint::Dialer {
                address: address("/ip4/10.0.0.1/tcp/1/ws"),
                role_override: Endpoint::Dialer,
                port_use: PortUse::New,
            },
            way => ConnectedPoint::Listener {
                local_addr: address(&format!("/ip4/10.0.0.1/tcp/1{way}")),
                send_back_addr: address(&format!("/ip4/10.0.0.2/tcp/2{way}")),
            },
        }
    }

    /// One connection of a peer for its whole life, as the swarm tells of it.
    struct Life {
        peer: PeerId,
        id: ConnectionId,
        way: ConnectedPoint,
    }

    impl Life {
        fn new(peer: PeerId, id: usize, way: &str) -> Self {
            Self { peer, id: ConnectionId::new_unchecked(id), way: endpoint(way) }
        }

        fn begin(&self, only: &mut Only<Inner>, other_established: usize) -> bool {
            let handler = match &self.way {
                ConnectedPoint::Dialer { address, role_override, port_use } => only
                    .handle_established_outbound_connection(
                        self.id,
                        self.peer,
                        address,
                        *role_override,
                        *port_use,
                    ),
                ConnectedPoint::Listener { local_addr, send_back_addr } => {
                    only.handle_established_inbound_connection(self.id, self.peer, local_addr, send_back_addr)
                }
            };
            only.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id: self.peer,
                connection_id: self.id,
                endpoint: &self.way,
                failed_addresses: &[],
                other_established,
            }));
            handler.unwrap().is_left()
        }

        fn moves(&self, only: &mut Only<Inner>) {
            let (peer_id, connection_id) = (self.peer, self.id);
            only.on_swarm_event(FromSwarm::AddressChange(AddressChange {
                peer_id,
                connection_id,
                old: &self.way,
                new: &self.way,
            }));
        }

        fn end(&self, only: &mut Only<Inner>, remaining_established: usize) {
            only.on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed {
                peer_id: self.peer,
                connection_id: self.id,
                endpoint: &self.way,
                cause: None,
                remaining_established,
            }));
        }
    }

    #[test]
    fn each_mesh_sees_its_own_connections_and_counts_only_those() {
        let peer = PeerId::random();
        let ways = ["/ws", "", "out", "/wss", ""];
        let lives: Vec<_> = ways.iter().enumerate().map(|(id, way)| Life::new(peer, id, way)).collect();
        let mut heard = Vec::new();
        for mesh in Mesh::ALL {
            let mut only = Only::of(mesh, Inner::default());
            for (others, life) in lives.iter().enumerate() {
                let is_browser = matches!(ways[others], "/ws" | "/wss");
                assert_eq!(life.begin(&mut only, others), is_browser == (mesh == Mesh::Browsers));
                life.moves(&mut only);
            }
            assert!(only.has(&peer) && only.peers().len() == 1);
            for (left, life) in lives.iter().enumerate() {
                life.end(&mut only, lives.len() - 1 - left);
            }
            assert!(!only.has(&peer) && only.peers().len() == 0, "{only:?}");
            heard.push(std::mem::take(&mut only.inner_mut().heard).join(", "));
        }
        assert_eq!(
            heard,
            [
                "in 1, established 1 +0, moved 1, out 2, established 2 +1, moved 2, in 4, established 4 +2, \
                 moved 4, closed 1 +2, closed 2 +1, closed 4 +0",
                "in 0, established 0 +0, moved 0, in 3, established 3 +1, moved 3, closed 0 +1, closed 3 +0",
            ]
        );
    }

    #[test]
    fn without_a_mesh_apart_all_connections_are_the_nodes() {
        let peer = PeerId::random();
        let mut only = Only::all(Inner::default());
        assert!(Life::new(peer, 1, "/ws").begin(&mut only, 0) && Life::new(peer, 2, "").begin(&mut only, 1));
        assert_eq!(only.inner().heard, ["in 1", "established 1 +0", "in 2", "established 2 +1"]);
    }

    #[test]
    fn what_does_not_concern_a_connection_is_told_to_both() {
        for mesh in Mesh::ALL {
            let mut only = Only::of(mesh, Inner::default());
            let addr = &address("/ip4/10.0.0.1/tcp/1");
            only.on_swarm_event(FromSwarm::ExternalAddrConfirmed(ExternalAddrConfirmed { addr }));
            assert_eq!(only.inner().heard, ["else"]);
        }
    }

    /// Says what no handler of [`Inner`]'s can hear, so that only the way to it is looked at.
    fn notify(peer: PeerId, handler: NotifyHandler) -> ToSwarm<u8, u8> {
        ToSwarm::NotifyHandler { peer_id: peer, handler, event: 7 }
    }

    #[test]
    fn a_word_to_any_connection_goes_to_one_of_the_kind() {
        let peer = PeerId::random();
        let mut only = Only::of(Mesh::Browsers, Inner::default());
        Life::new(peer, 1, "").begin(&mut only, 0);
        let connections = |only: &Only<Inner>| only.connections.clone();
        assert!(notify_any(&connections(&only), notify(peer, NotifyHandler::Any)).is_none());
        Life::new(peer, 2, "/ws").begin(&mut only, 1);
        let step = notify_any(&connections(&only), notify(peer, NotifyHandler::Any)).unwrap();
        let ToSwarm::NotifyHandler { handler: NotifyHandler::One(id), event: 7, .. } = step else {
            panic!("{step:?}")
        };
        assert_eq!(id, ConnectionId::new_unchecked(2));
    }

    #[test]
    fn events_say_which_mesh_they_come_from() {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        for (mut only, mesh) in [
            (Only::of(Mesh::Browsers, Inner::default()), Mesh::Browsers),
            (Only::of(Mesh::Nodes, Inner::default()), Mesh::Nodes),
            (Only::all(Inner::default()), Mesh::Nodes),
        ] {
            only.inner_mut().says.push_back(ToSwarm::GenerateEvent(7));
            let Poll::Ready(ToSwarm::GenerateEvent(said)) = only.poll(&mut cx) else { panic!("it speaks") };
            assert_eq!(said, (mesh, 7));
            assert!(only.poll(&mut cx).is_pending());
        }
    }
}
