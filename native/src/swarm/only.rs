//! A behaviour for the peers of one kind: browsers, or all others.
//!
//! Gossipsub keeps one mesh for all its peers, and browsers need one of their own; so there are two of it, each in an
//! [`Only`]. A peer's first connection decides of which kind it is, until its last one ends: a gossipsub says but once
//! to what it is subscribed, on whichever connection, so one must see all that a peer says.
//!
//! # Bounds
//! A number for each connected peer: as many as the door lets in.

use super::is_browser;
use either::Either;
use libp2p::core::transport::PortUse;
use libp2p::core::{ConnectedPoint, Endpoint};
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};
use std::collections::HashMap;
use std::fmt;
use std::task::{Context, Poll};

/// Which of two meshes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mesh {
    /// That of the nodes: of all peers but browsers.
    Nodes,
    /// That of the browsers: of peers that came over a WebSocket.
    Browsers,
}

impl Mesh {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Nodes, Self::Browsers];
}

/// Which peers an [`Only`] takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    All,
    These(Mesh),
}

/// Shows its inner behaviour the peers of one kind, and nothing of the others, whose connections get a handler that does
/// nothing. Its events say which mesh they come from.
///
/// Of attempts it tells all: whose they are is not known yet.
pub struct Only<B> {
    inner: B,
    takes: Takes,
    /// Whether a connected peer is of the kind.
    peers: HashMap<PeerId, bool>,
    /// How many are.
    count: usize,
    /// RPCs that came, where the inner behaviour is gossipsub.
    #[cfg(feature = "node")]
    rpcs: u64,
}

impl<B> fmt::Debug for Only<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { takes, peers, .. } = self;
        f.debug_struct("Only").field("takes", takes).field("peers", peers).finish_non_exhaustive()
    }
}

impl<B> Only<B> {
    /// For the peers of one mesh, where there are two.
    pub fn of(mesh: Mesh, inner: B) -> Self {
        Self::new(inner, Takes::These(mesh))
    }

    /// For all peers: there is but the mesh of the nodes.
    pub fn all(inner: B) -> Self {
        Self::new(inner, Takes::All)
    }

    fn new(inner: B, takes: Takes) -> Self {
        Self {
            inner,
            takes,
            peers: HashMap::new(),
            count: 0,
            #[cfg(feature = "node")]
            rpcs: 0,
        }
    }

    /// RPCs that peers sent, if the inner behaviour is gossipsub.
    #[cfg(feature = "node")]
    pub const fn rpcs(&self) -> u64 {
        self.rpcs
    }

    /// The behaviour inside.
    pub const fn inner(&self) -> &B {
        &self.inner
    }

    /// The behaviour inside.
    pub const fn inner_mut(&mut self) -> &mut B {
        &mut self.inner
    }

    /// Whether a peer is connected and of the kind.
    pub fn has(&self, peer: &PeerId) -> bool {
        self.peers.get(peer).is_some_and(|is_of_kind| *is_of_kind)
    }

    /// How many connected peers are of the kind.
    pub const fn count(&self) -> usize {
        self.count
    }

    const fn mesh(&self) -> Mesh {
        match self.takes {
            Takes::All => Mesh::Nodes,
            Takes::These(mesh) => mesh,
        }
    }

    /// Whether a connection of the peer is to be shown, its first one if nothing is known of it.
    fn takes(&self, peer: &PeerId, is_of_browser: bool) -> bool {
        self.peers.get(peer).copied().unwrap_or_else(|| match self.takes {
            Takes::All => true,
            Takes::These(mesh) => is_of_browser == (mesh == Mesh::Browsers),
        })
    }
}

/// Whether only browsers connect so: they dial, and over a WebSocket.
fn is_of_browser(endpoint: &ConnectedPoint) -> bool {
    match endpoint {
        ConnectedPoint::Dialer { .. } => false,
        ConnectedPoint::Listener { local_addr, send_back_addr } => {
            is_browser(local_addr) || is_browser(send_back_addr)
        }
    }
}

/// Whether an event of gossipsub's handler is an RPC that came. Its type can't be named outside the library, but it
/// has to be printable, so its variant's name tells; nothing behind the name is written.
#[cfg(feature = "node")]
fn is_rpc(event: &impl fmt::Debug) -> bool {
    struct Head(&'static str);
    impl fmt::Write for Head {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let Some(rest) = self.0.strip_prefix(text) else { return Err(fmt::Error) };
            self.0 = rest;
            // Enough was read; an error ends the printing.
            if rest.is_empty() { Err(fmt::Error) } else { Ok(()) }
        }
    }
    let mut head = Head("Message");
    let _ = fmt::write(&mut head, format_args!("{event:?}"));
    head.0.is_empty()
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
        self.inner.handle_pending_inbound_connection(id, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if self.takes(&peer, is_browser(local) || is_browser(remote)) {
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
        self.inner.handle_pending_outbound_connection(id, peer, addresses, role)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if self.takes(&peer, false) {
            let handler =
                self.inner.handle_established_outbound_connection(id, peer, address, role, port_use);
            handler.map(Either::Left)
        } else {
            Ok(Either::Right(dummy::ConnectionHandler))
        }
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished { peer_id, endpoint, .. }) => {
                let takes = self.takes(&peer_id, is_of_browser(endpoint));
                if self.peers.insert(peer_id, takes).is_none() && takes {
                    self.count += 1;
                }
                if !takes {
                    return;
                }
            }
            FromSwarm::ConnectionClosed(ConnectionClosed { peer_id, remaining_established, .. }) => {
                let takes = self.has(&peer_id);
                if remaining_established == 0 && self.peers.remove(&peer_id).is_some() && takes {
                    self.count -= 1;
                }
                if !takes {
                    return;
                }
            }
            FromSwarm::AddressChange(change) if !self.has(&change.peer_id) => return,
            _ => {}
        }
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {
            Either::Left(event) => {
                #[cfg(feature = "node")]
                if is_rpc(&event) {
                    self.rpcs += 1;
                }
                self.inner.on_connection_handler_event(peer, connection, event);
            }
            Either::Right(never) => match never {},
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        let mesh = self.mesh();
        self.inner.poll(cx).map(|step| step.map_out(|event| (mesh, event)).map_in(Either::Left))
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

    /// By its handler's events, which it must be able to name by their printed form.
    #[cfg(feature = "node")]
    #[test]
    fn only_rpcs_are_counted_as_such_and_their_contents_are_not_printed() {
        struct Never;
        impl fmt::Debug for Never {
            fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
                panic!("it could be a megabyte")
            }
        }
        #[derive(Debug)]
        #[expect(dead_code, reason = "they are for printing")]
        enum HandlerEvent {
            Message { rpc: Never, invalid: Vec<Never> },
            MessageDropped(Never),
            Mess,
        }
        assert!(is_rpc(&HandlerEvent::Message { rpc: Never, invalid: vec![Never] }));
        assert!(!is_rpc(&HandlerEvent::MessageDropped(Never)) && !is_rpc(&HandlerEvent::Mess));
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

    /// A peer whose connections come these ways: what both meshes hear of it.
    fn heard(ways: &[&str]) -> [String; 2] {
        let peer = PeerId::random();
        let lives: Vec<_> = ways.iter().enumerate().map(|(id, way)| Life::new(peer, id, way)).collect();
        Mesh::ALL.map(|mesh| {
            let mut only = Only::of(mesh, Inner::default());
            for (others, life) in lives.iter().enumerate() {
                let is_shown = life.begin(&mut only, others);
                life.moves(&mut only);
                assert_eq!((only.has(&peer), only.count()), (is_shown, usize::from(is_shown)), "{only:?}");
            }
            for (left, life) in (0..lives.len()).rev().zip(&lives) {
                life.end(&mut only, left);
            }
            assert!(!only.has(&peer) && only.count() == 0 && only.peers.is_empty(), "{only:?}");
            std::mem::take(&mut only.inner_mut().heard).join(", ")
        })
    }

    #[test]
    fn each_mesh_sees_its_own_peers_and_nothing_of_others() {
        let inbound = "in 0, established 0 +0, moved 0, closed 0 +0";
        let outbound = "out 0, established 0 +0, moved 0, closed 0 +0";
        assert_eq!(heard(&["/ws"]), ["", inbound]);
        assert_eq!(heard(&["/wss"]), ["", inbound]);
        assert_eq!(heard(&[""]), [inbound, ""]);
        // Whom we dial over a WebSocket is no browser.
        assert_eq!(heard(&["out"]), [outbound, ""]);
    }

    #[test]
    fn a_peer_that_comes_by_both_ways_stays_where_it_was_first() {
        let all = "in 0, established 0 +0, moved 0, in 1, established 1 +1, moved 1, out 2, established 2 +2, \
                   moved 2, closed 0 +2, closed 1 +1, closed 2 +0";
        assert_eq!(heard(&["/ws", "", "out"]), ["", all]);
        assert_eq!(heard(&["", "/ws", "out"]), [all, ""]);
    }

    #[test]
    fn who_left_is_sorted_anew() {
        let peer = PeerId::random();
        let mut only = Only::of(Mesh::Nodes, Inner::default());
        for (way, is_shown) in [("/ws", false), ("", true), ("/ws", false)] {
            let life = Life::new(peer, 1, way);
            assert_eq!(life.begin(&mut only, 0), is_shown);
            life.end(&mut only, 0);
        }
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
