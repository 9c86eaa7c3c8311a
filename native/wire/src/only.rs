//! A wrapper that restricts a behaviour to peers of one kind: browsers, or all others.
//!
//! Gossipsub keeps one mesh for all its peers, and browsers need one of their own, so there are two
//! gossipsubs, each in an [`Only`]. The gatekeeper decides which mesh a connection joins, the same
//! for all connections of a peer: a gossipsub announces its subscriptions only once, on any of its
//! connections, so one instance must see everything that a peer sends.
//!
//! For the same reason, a browser that connects again needs a fresh start: its page was reloaded,
//! or lost the line, so it has no state of the older connection, which may be dead. The inner
//! behaviour is told that the older connections are closed before it sees the new one.
//!
//! # Bounds
//! One entry for each connected peer and for each connection; the door bounds their number.

use crate::{Meshes, is_browser};
use either::Either;
use libp2p::core::transport::PortUse;
use libp2p::core::{ConnectedPoint, Endpoint};
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};
use opp2p_core::gossip::Mesh;
use std::collections::HashMap;
use std::fmt;
use std::task::{Context, Poll};

/// Connections that an [`Only`] takes.
#[derive(Clone, Debug)]
enum Takes {
    All,
    These(Mesh, Meshes),
}

/// Shows its inner behaviour the peers of one kind, and hides all others, whose connections get a
/// handler that does nothing. Its events carry their mesh.
///
/// Connection attempts are passed on for all peers, since their kind is not known yet.
pub struct Only<B> {
    inner: B,
    takes: Takes,
    /// Connected peers, and whether each is of this kind.
    peers: HashMap<PeerId, bool>,
    /// Connections that the inner behaviour knows.
    shown: HashMap<PeerId, Vec<(ConnectionId, ConnectedPoint)>>,
    /// Number of connected peers of this kind.
    count: usize,
    /// Number of received RPCs, if the inner behaviour is gossipsub.
    #[cfg(feature = "metrics")]
    rpcs: u64,
}

impl<B> fmt::Debug for Only<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { takes, peers, .. } = self;
        f.debug_struct("Only").field("takes", takes).field("peers", peers).finish_non_exhaustive()
    }
}

impl<B> Only<B> {
    /// Wraps a behaviour for the peers of one of two meshes, as `meshes` has them.
    pub fn of(mesh: Mesh, inner: B, meshes: Meshes) -> Self {
        Self::new(inner, Takes::These(mesh, meshes))
    }

    /// Wraps a behaviour for all peers; the nodes' mesh is then the only one.
    pub fn all(inner: B) -> Self {
        Self::new(inner, Takes::All)
    }

    fn new(inner: B, takes: Takes) -> Self {
        Self {
            inner,
            takes,
            peers: HashMap::new(),
            shown: HashMap::new(),
            count: 0,
            #[cfg(feature = "metrics")]
            rpcs: 0,
        }
    }

    /// Returns the number of RPCs that peers sent, if the inner behaviour is gossipsub.
    #[cfg(feature = "metrics")]
    pub const fn rpcs(&self) -> u64 {
        self.rpcs
    }

    /// Returns the inner behaviour.
    pub const fn inner(&self) -> &B {
        &self.inner
    }

    /// Returns the inner behaviour.
    pub const fn inner_mut(&mut self) -> &mut B {
        &mut self.inner
    }

    /// Returns `true` if a peer is connected and of this kind.
    pub fn has(&self, peer: &PeerId) -> bool {
        self.peers.get(peer).is_some_and(|is_of_kind| *is_of_kind)
    }

    /// Returns the number of connected peers of this kind.
    pub const fn count(&self) -> usize {
        self.count
    }

    const fn mesh(&self) -> Mesh {
        match &self.takes {
            Takes::All => Mesh::Nodes,
            Takes::These(mesh, _) => *mesh,
        }
    }

    /// Returns `true` if a connection is shown.
    fn takes(&self, connection: ConnectionId) -> bool {
        match &self.takes {
            Takes::All => true,
            Takes::These(mesh, meshes) => meshes.of(connection) == Some(*mesh),
        }
    }
}

impl<B: NetworkBehaviour> Only<B> {
    /// Passes the end of a connection on, if the inner behaviour knows the connection.
    fn closed(&mut self, event: ConnectionClosed<'_>) {
        let Some(shown) = self.shown.get_mut(&event.peer_id) else { return };
        let Some(place) = shown.iter().position(|(id, _)| *id == event.connection_id) else {
            return;
        };
        shown.remove(place);
        let remaining_established = shown.len();
        if remaining_established == 0 {
            self.shown.remove(&event.peer_id);
        }
        let event = ConnectionClosed { remaining_established, ..event };
        self.inner.on_swarm_event(FromSwarm::ConnectionClosed(event));
    }

    /// Has the inner behaviour forget the connections of a browser that connects again.
    fn supersede(&mut self, peer: PeerId) {
        let all_of_browser = self
            .shown
            .get(&peer)
            .is_some_and(|shown| shown.iter().all(|(_, endpoint)| is_browser_connection(endpoint)));
        if !matches!(self.takes, Takes::These(Mesh::Browsers, _)) || !all_of_browser {
            return;
        }
        let older = self.shown.remove(&peer).unwrap_or_default();
        for (place, (connection_id, endpoint)) in older.iter().enumerate() {
            self.inner.on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed {
                peer_id: peer,
                connection_id: *connection_id,
                endpoint,
                cause: None,
                remaining_established: older.len() - 1 - place,
            }));
        }
    }
}

/// Returns `true` if only browsers connect this way: inbound, over a WebSocket.
fn is_browser_connection(endpoint: &ConnectedPoint) -> bool {
    match endpoint {
        ConnectedPoint::Dialer { .. } => false,
        ConnectedPoint::Listener { local_addr, send_back_addr } => {
            is_browser(local_addr) || is_browser(send_back_addr)
        }
    }
}

/// Returns `true` if an event of gossipsub's handler is a received RPC. Its type can't be named
/// outside the library, but it implements `Debug`, so the printed name of the variant is compared;
/// nothing after the name is formatted.
#[cfg(feature = "metrics")]
fn is_rpc(event: &impl fmt::Debug) -> bool {
    struct Head(&'static str);
    impl fmt::Write for Head {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let Some(rest) = self.0.strip_prefix(text) else { return Err(fmt::Error) };
            self.0 = rest;
            // Enough was read; an error stops the formatting.
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
        if self.takes(id) {
            if is_browser(local) || is_browser(remote) {
                self.supersede(peer);
            }
            self.inner
                .handle_established_inbound_connection(id, peer, local, remote)
                .map(Either::Left)
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
        if self.takes(id) {
            let handler = self
                .inner
                .handle_established_outbound_connection(id, peer, address, role, port_use);
            handler.map(Either::Left)
        } else {
            Ok(Either::Right(dummy::ConnectionHandler))
        }
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(event) => {
                let takes = self.takes(event.connection_id);
                if self.peers.insert(event.peer_id, takes).is_none() && takes {
                    self.count += 1;
                }
                if takes {
                    let shown = self.shown.entry(event.peer_id).or_default();
                    let other_established = shown.len();
                    shown.push((event.connection_id, event.endpoint.clone()));
                    let event = ConnectionEstablished { other_established, ..event };
                    self.inner.on_swarm_event(FromSwarm::ConnectionEstablished(event));
                }
                return;
            }
            FromSwarm::ConnectionClosed(event) => {
                if event.remaining_established == 0
                    && self.peers.remove(&event.peer_id) == Some(true)
                {
                    self.count -= 1;
                }
                self.closed(event);
                return;
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
                #[cfg(feature = "metrics")]
                if is_rpc(&event) {
                    self.rpcs += 1;
                }
                self.inner.on_connection_handler_event(peer, connection, event);
            }
            Either::Right(never) => match never {},
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
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

    /// Records the events it gets, and emits the given ones.
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

    /// The events of a handler are recognised by their printed form.
    #[cfg(feature = "metrics")]
    #[test]
    fn only_rpcs_are_counted_and_their_contents_are_not_printed() {
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

    /// One connection of a peer, with the swarm's events over its whole life.
    struct Life {
        peer: PeerId,
        id: ConnectionId,
        way: ConnectedPoint,
        mesh: Mesh,
    }

    impl Life {
        fn new(peer: PeerId, id: usize, way: &str, mesh: Mesh) -> Self {
            Self { peer, id: ConnectionId::new_unchecked(id), way: endpoint(way), mesh }
        }

        fn begin(&self, only: &mut Only<Inner>, other_established: usize) -> bool {
            if let Takes::These(_, meshes) = &only.takes {
                meshes.set(self.id, self.mesh);
            }
            let handler = match &self.way {
                ConnectedPoint::Dialer { address, role_override, port_use } => only
                    .handle_established_outbound_connection(
                        self.id,
                        self.peer,
                        address,
                        *role_override,
                        *port_use,
                    ),
                ConnectedPoint::Listener { local_addr, send_back_addr } => only
                    .handle_established_inbound_connection(
                        self.id,
                        self.peer,
                        local_addr,
                        send_back_addr,
                    ),
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

    /// Returns what both meshes see of a peer of this mesh whose connections come these ways.
    fn heard(ways: &[&str], joined: Mesh) -> [String; 2] {
        let peer = PeerId::random();
        let lives: Vec<_> =
            ways.iter().enumerate().map(|(id, way)| Life::new(peer, id, way, joined)).collect();
        Mesh::ALL.map(|mesh| {
            let mut only = Only::of(mesh, Inner::default(), Meshes::default());
            for (others, life) in lives.iter().enumerate() {
                let is_shown = life.begin(&mut only, others);
                life.moves(&mut only);
                assert_eq!(
                    (only.has(&peer), only.count()),
                    (is_shown, usize::from(is_shown)),
                    "{only:?}"
                );
            }
            for (left, life) in (0..lives.len()).rev().zip(&lives) {
                life.end(&mut only, left);
            }
            assert!(!only.has(&peer) && only.count() == 0 && only.peers.is_empty(), "{only:?}");
            std::mem::take(&mut only.inner_mut().heard).join(", ")
        })
    }

    #[test]
    fn each_mesh_sees_only_its_own_peers() {
        let inbound = "in 0, established 0 +0, moved 0, closed 0 +0";
        let outbound = "out 0, established 0 +0, moved 0, closed 0 +0";
        assert_eq!(heard(&["/ws"], Mesh::Browsers), ["", inbound]);
        assert_eq!(heard(&["/wss"], Mesh::Browsers), ["", inbound]);
        assert_eq!(heard(&[""], Mesh::Nodes), [inbound, ""]);
        assert_eq!(heard(&["out"], Mesh::Nodes), [outbound, ""]);
    }

    #[test]
    fn a_peer_that_comes_by_both_ways_is_seen_by_the_mesh_that_it_joined() {
        let all = "in 0, established 0 +0, moved 0, in 1, established 1 +1, moved 1, out 2, \
                   established 2 +2, moved 2, closed 0 +2, closed 1 +1, closed 2 +0";
        for ways in [["/ws", "", "out"], ["", "/ws", "out"]] {
            assert_eq!(heard(&ways, Mesh::Browsers), ["", all]);
            assert_eq!(heard(&ways, Mesh::Nodes), [all, ""]);
        }
    }

    /// A gossipsub that kept what it knew of the older connection would neither announce its
    /// subscriptions on the new one nor have the browser in its mesh.
    #[test]
    fn a_browser_that_connects_again_starts_afresh() {
        let peer = PeerId::random();
        let [old, new, newest] = [0, 1, 2].map(|id| Life::new(peer, id, "/ws", Mesh::Browsers));
        let mut only = Only::of(Mesh::Browsers, Inner::default(), Meshes::default());
        let mut heard = |step: &dyn Fn(&mut Only<Inner>)| {
            step(&mut only);
            let count = only.count();
            (std::mem::take(&mut only.inner_mut().heard).join(", "), count)
        };
        type Step<'a> = &'a dyn Fn(&mut Only<Inner>);
        let cases: [(Step<'_>, &str, usize); 6] = [
            (&|only| assert!(old.begin(only, 0)), "in 0, established 0 +0", 1),
            (&|only| assert!(new.begin(only, 1)), "closed 0 +0, in 1, established 1 +0", 1),
            // The newer one ends first; the older one is still being closed.
            (&|only| new.end(only, 1), "closed 1 +0", 1),
            (&|only| assert!(newest.begin(only, 1)), "in 2, established 2 +0", 1),
            (&|only| old.end(only, 1), "", 1),
            (&|only| newest.end(only, 0), "closed 2 +0", 0),
        ];
        for (step, expected, count) in cases {
            assert_eq!(heard(step), (expected.to_owned(), count));
        }
        assert!(only.shown.is_empty() && only.peers.is_empty());
    }

    #[test]
    fn a_peer_that_left_may_join_the_other_mesh() {
        let peer = PeerId::random();
        let mut only = Only::of(Mesh::Nodes, Inner::default(), Meshes::default());
        for (mesh, is_shown) in
            [(Mesh::Browsers, false), (Mesh::Nodes, true), (Mesh::Browsers, false)]
        {
            let life = Life::new(peer, 1, "/ws", mesh);
            assert_eq!(life.begin(&mut only, 0), is_shown);
            life.end(&mut only, 0);
        }
    }

    #[test]
    fn with_one_mesh_all_connections_join_it() {
        let peer = PeerId::random();
        let mut only = Only::all(Inner::default());
        assert!(
            Life::new(peer, 1, "/ws", Mesh::Browsers).begin(&mut only, 0)
                && Life::new(peer, 2, "", Mesh::Browsers).begin(&mut only, 1)
        );
        assert_eq!(only.inner().heard, ["in 1", "established 1 +0", "in 2", "established 2 +1"]);
    }

    #[test]
    fn an_event_of_no_connection_is_told_to_both() {
        for mesh in Mesh::ALL {
            let mut only = Only::of(mesh, Inner::default(), Meshes::default());
            let addr = &address("/ip4/10.0.0.1/tcp/1");
            only.on_swarm_event(FromSwarm::ExternalAddrConfirmed(ExternalAddrConfirmed { addr }));
            assert_eq!(only.inner().heard, ["else"]);
        }
    }

    #[test]
    fn events_carry_their_mesh() {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        for (mut only, mesh) in [
            (Only::of(Mesh::Browsers, Inner::default(), Meshes::default()), Mesh::Browsers),
            (Only::of(Mesh::Nodes, Inner::default(), Meshes::default()), Mesh::Nodes),
            (Only::all(Inner::default()), Mesh::Nodes),
        ] {
            only.inner_mut().says.push_back(ToSwarm::GenerateEvent(7));
            let Poll::Ready(ToSwarm::GenerateEvent(said)) = only.poll(&mut cx) else {
                panic!("it speaks")
            };
            assert_eq!(said, (mesh, 7));
            assert!(only.poll(&mut cx).is_pending());
        }
    }
}
