//! The behaviour that manages the streams of all peers.

use super::handler::{Handler, Report, Told};
use super::link::{Link, Memory, Place};
use crate::{from_libp2p, to_libp2p};
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::behaviour::{
    ConnectionClosed, ConnectionEstablished, DialFailure, ListenFailure,
};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};
use opp2p_core::mesh::{Frame, StreamEvent};
use opp2p_core::peers;
use opp2p_core::time::Instant;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll};

/// The streams of gossip with all peers. See the [module's documentation](super).
#[derive(Debug, Default)]
pub struct Streams {
    pub(super) memory: Arc<Memory>,
    /// Connections that other behaviours may still refuse.
    pub(super) pending: HashMap<ConnectionId, Arc<Link>>,
    pub(super) peers: HashMap<PeerId, Peer>,
    events: VecDeque<Event>,
    /// Number of writers so far.
    writers: u64,
}

#[derive(Debug)]
pub(super) struct Peer {
    id: peers::PeerId,
    /// Oldest first.
    pub(super) connections: Vec<(ConnectionId, Arc<Link>)>,
    writer: Option<Stream>,
    /// At most one for each connection.
    readers: Vec<Stream>,
}

impl Peer {
    fn reads(&self, number: u64) -> bool {
        self.readers.iter().any(|reader| reader.number == number)
    }

    fn writes(&self, number: u64) -> bool {
        self.writer.as_ref().is_some_and(|writer| writer.number == number)
    }
}

/// A stream's number, and its connection.
#[derive(Debug)]
struct Stream {
    number: u64,
    connection: ConnectionId,
    link: Arc<Link>,
}

#[derive(Debug)]
struct Event {
    told: StreamEvent,
    /// The place of a frame, which is freed when the owner takes the event.
    _place: Option<Place>,
}

impl Streams {
    /// Creates a behaviour without streams.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the time. Call this about twice a second, for example at each heartbeat, so that frames
    /// that don't end are found. A leap of the time, as after a sleep, counts as two seconds.
    pub fn tick(&mut self, now: Instant) {
        self.memory.lock().tick(now);
    }

    /// Carries out [`Output::OpenWriter`](opp2p_core::mesh::Output::OpenWriter): opens a stream on
    /// the peer's oldest connection.
    pub fn open_writer(&mut self, peer: &peers::PeerId) {
        self.close_writer(peer);
        self.writers += 1;
        let number = self.writers;
        let known = to_libp2p(peer).and_then(|peer| self.peers.get_mut(&peer));
        let oldest = known.and_then(|known| Some((known.connections.first()?.clone(), known)));
        match oldest {
            Some(((connection, link), known)) => {
                link.set_writer(Some(number));
                known.writer = Some(Stream { number, connection, link });
            }
            None => self.tell(StreamEvent::WriterClosed { peer: *peer, is_refused: false }),
        }
    }

    /// Carries out [`Output::CloseWriter`](opp2p_core::mesh::Output::CloseWriter): resets our
    /// stream to a peer, and reports no further event of it.
    pub fn close_writer(&mut self, peer: &peers::PeerId) {
        let known = to_libp2p(peer).and_then(|peer| self.peers.get_mut(&peer));
        if let Some(writer) = known.and_then(|known| known.writer.take()) {
            writer.link.set_writer(None);
        }
        let is_writers = |told: &StreamEvent| {
            matches!(
                told,
                StreamEvent::WriterOpened(..)
                    | StreamEvent::WriterClosed { .. }
                    | StreamEvent::Written(..)
            )
        };
        self.events.retain(|event| event.told.peer() != peer || !is_writers(&event.told));
    }

    /// Carries out [`Output::ResetReader`](opp2p_core::mesh::Output::ResetReader): resets the
    /// streams on which a peer writes, and reports no further event of them.
    pub fn reset_reader(&mut self, peer: &peers::PeerId) {
        let known = to_libp2p(peer).and_then(|peer| self.peers.get_mut(&peer));
        let readers = known.map(|known| std::mem::take(&mut known.readers)).unwrap_or_default();
        readers.iter().for_each(|reader| reader.link.reset(reader.number));
        let is_readers = |told: &StreamEvent| {
            matches!(
                told,
                StreamEvent::ReaderOpened(_) | StreamEvent::Frame(..) | StreamEvent::Malformed(_)
            )
        };
        self.events.retain(|event| event.told.peer() != peer || !is_readers(&event.told));
    }

    /// Takes frames for a peer from `next`, as long as its stream accepts some. `next` gets the
    /// number of bytes that it accepts: pass them to
    /// [`Router::transmit`](opp2p_core::mesh::Router::transmit).
    ///
    /// Call this at [`Output::Transmit`](opp2p_core::mesh::Output::Transmit), and when the router
    /// has handled an [`StreamEvent::Written`] of the peer: the stream accepts more then.
    pub fn fill(&mut self, peer: &peers::PeerId, mut next: impl FnMut(usize) -> Option<Frame>) {
        let known = to_libp2p(peer).and_then(|peer| self.peers.get(&peer));
        let Some(writer) = known.and_then(|known| known.writer.as_ref()) else { return };
        loop {
            let window = writer.link.window();
            if window == 0 {
                return;
            }
            let Some(frame) = next(window) else { return };
            writer.link.push(frame);
        }
    }

    fn tell(&mut self, told: StreamEvent) {
        self.events.push_back(Event { told, _place: None });
    }

    fn handler(&mut self, connection: ConnectionId) -> Handler {
        let link = Arc::<Link>::default();
        self.pending.insert(connection, link.clone());
        Handler::new(link, self.memory.clone())
    }

    fn connected(&mut self, peer: PeerId, connection: ConnectionId) {
        let Some(link) = self.pending.remove(&connection) else { return };
        let Some(id) = from_libp2p(&peer) else { return };
        let new = Peer { id, connections: Vec::new(), writer: None, readers: Vec::new() };
        self.peers.entry(peer).or_insert(new).connections.push((connection, link));
    }

    fn closed(&mut self, peer: PeerId, connection: ConnectionId) {
        let Some(known) = self.peers.get_mut(&peer) else { return };
        let id = known.id;
        known.connections.retain(|(other, _)| *other != connection);
        if known.connections.is_empty() {
            self.peers.remove(&peer);
            self.events.retain(|event| *event.told.peer() != id);
            return;
        }
        known.readers.retain(|reader| reader.connection != connection);
        if known.writer.take_if(|writer| writer.connection == connection).is_some() {
            self.tell(StreamEvent::WriterClosed { peer: id, is_refused: false });
        }
    }

    fn told(&mut self, peer: PeerId, connection: ConnectionId, told: Told) {
        let Some(known) = self.peers.get_mut(&peer) else { return };
        let id = known.id;
        match told {
            Told::Supports => self.tell(StreamEvent::Supports(id)),
            Told::WriterOpened(number, version) if known.writes(number) => {
                self.tell(StreamEvent::WriterOpened(id, version));
            }
            Told::WriterClosed { writer: number, is_refused } if known.writes(number) => {
                if let Some(writer) = known.writer.take() {
                    writer.link.set_writer(None);
                }
                self.tell(StreamEvent::WriterClosed { peer: id, is_refused });
            }
            Told::Written(number, bytes) if known.writes(number) => {
                self.tell(StreamEvent::Written(id, bytes));
            }
            Told::ReaderOpened(number) => self.reader_opened(peer, connection, number),
            Told::ReaderClosed(number) => {
                known.readers.retain(|reader| reader.number != number);
            }
            Told::Frame(number, frame, place) if known.reads(number) => {
                let told = StreamEvent::Frame(id, frame);
                self.events.push_back(Event { told, _place: Some(place) });
            }
            Told::Malformed(number) if known.reads(number) => {
                known.readers.retain(|reader| reader.number != number);
                self.tell(StreamEvent::Malformed(id));
            }
            // The report is about a stream that no longer exists.
            _ => {}
        }
    }

    fn reader_opened(&mut self, peer: PeerId, connection: ConnectionId, number: u64) {
        let Some(known) = self.peers.get_mut(&peer) else { return };
        let mut connections = known.connections.iter();
        let Some((_, link)) = connections.find(|(other, _)| *other == connection) else { return };
        let reader = Stream { number, connection, link: link.clone() };
        // The handler has dropped an earlier one.
        known.readers.retain(|reader| reader.connection != connection);
        known.readers.push(reader);
        let id = known.id;
        self.tell(StreamEvent::ReaderOpened(id));
    }
}

impl NetworkBehaviour for Streams {
    type ConnectionHandler = Handler;
    type ToSwarm = StreamEvent;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(connection))
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(connection))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id,
                connection_id,
                ..
            }) => self.connected(peer_id, connection_id),
            FromSwarm::ConnectionClosed(ConnectionClosed { peer_id, connection_id, .. }) => {
                self.closed(peer_id, connection_id);
            }
            FromSwarm::DialFailure(DialFailure { connection_id, .. })
            | FromSwarm::ListenFailure(ListenFailure { connection_id, .. }) => {
                self.pending.remove(&connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        Report(told): THandlerOutEvent<Self>,
    ) {
        self.told(peer, connection, told);
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<StreamEvent, THandlerInEvent<Self>>> {
        let event = self.events.pop_front();
        event.map_or(Poll::Pending, |event| Poll::Ready(ToSwarm::GenerateEvent(event.told)))
    }
}
