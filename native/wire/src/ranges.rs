//! Ranges of blocks over libp2p ([`PROTOCOL`]): one stream for each request.
//!
//! The bytes, the limits and all decisions are the core's ([`opp2p_core::sync::range`]). This
//! module handles the streams. Each connection's handler reads and writes on the task of its
//! connection: it reads from a stream of ours only what the core asks for, and writes one chunk at
//! a time to a stream of a peer, so that both sides of a slow line hold little.
//!
//! # Bounds
//! * Streams of ours on one connection: those that the core opens.
//! * Streams of a peer on one connection: [`limits::MAX_INCOMING`], those that are being closed
//!   included. Further ones are reset.
//! * Bytes: of a request, [`MAX_REQUEST_SIZE`] within [`limits::REQUEST_TIME`]. Of an answer of
//!   ours, one chunk. Of an answer to us, one piece of at most [`PIECE`] bytes for each stream.
//! * An end is written within [`limits::END_TIME`].
//!
//! [`MAX_REQUEST_SIZE`]: opp2p_core::sync::range::MAX_REQUEST_SIZE

mod handler;
mod limits;
mod stream;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler, THandler,
    THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};
use opp2p_core::node::{RangeInput, RangeOutput};
use opp2p_core::sync::range::{RangeServeId, StreamClose, StreamId};

use crate::{from_libp2p, to_libp2p};
use handler::{Handler, Order, Report};
use limits::PIECE;

/// How the protocol is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RangeUse {
    /// Not at all.
    #[default]
    Off,
    /// Peers are asked, and none is served.
    Asks,
    /// Peers are asked and served.
    Serves,
}

/// The streams of all connections.
#[derive(Debug)]
pub struct Ranges {
    /// Whether peers may open streams.
    serves: bool,
    /// Connections of each peer, oldest first.
    connections: HashMap<PeerId, Vec<ConnectionId>>,
    /// Streams of ours, and where they are.
    outgoing: BTreeMap<StreamId, (PeerId, ConnectionId)>,
    /// Streams of peers, and where they are.
    incoming: BTreeMap<RangeServeId, (PeerId, ConnectionId)>,
    /// Id of the next stream of a peer.
    next: Arc<AtomicU64>,
    steps: VecDeque<ToSwarm<RangeInput, Order>>,
}

impl Ranges {
    /// Creates the behaviour for a use, unless it is off.
    pub(super) fn for_use(of: RangeUse) -> Option<Self> {
        match of {
            RangeUse::Off => None,
            RangeUse::Asks => Some(Self::new(false)),
            RangeUse::Serves => Some(Self::new(true)),
        }
    }

    /// Creates the behaviour. Peers may ask only if it serves.
    pub fn new(serves: bool) -> Self {
        Self {
            serves,
            connections: HashMap::new(),
            outgoing: BTreeMap::new(),
            incoming: BTreeMap::new(),
            next: Arc::default(),
            steps: VecDeque::new(),
        }
    }

    /// Carries out an action. Returns the input that answers it, if that is known at once.
    ///
    /// # Errors
    /// Gives back an order to read blocks, which is the driver's.
    #[allow(clippy::result_large_err, reason = "the error is the argument, which is not a failure")]
    pub fn carry_out(&mut self, output: RangeOutput) -> Result<Option<RangeInput>, RangeOutput> {
        match output {
            RangeOutput::Open { id, to, request } => {
                let peer = to_libp2p(&to);
                let place = peer.and_then(|peer| {
                    self.connections.get(&peer)?.first().map(|connection| (peer, *connection))
                });
                let Some(place) = place else {
                    return Ok(Some(RangeInput::Closed { id, close: StreamClose::Lost }));
                };
                self.outgoing.insert(id, place);
                self.order(place, Order::Open(id, request.encode()));
            }
            RangeOutput::Receive { id, limit } => {
                // A stream that is no longer known was reported as closed.
                if let Some(place) = self.outgoing.get(&id) {
                    self.order(*place, Order::Receive(id, limit.min(PIECE)));
                }
            }
            RangeOutput::Cancel(id) => {
                if let Some(place) = self.outgoing.remove(&id) {
                    self.order(place, Order::Cancel(id));
                }
            }
            RangeOutput::Write { id, frame } => match self.incoming.get(&id) {
                Some(place) => self.order(*place, Order::Write(id, frame)),
                None => return Ok(Some(RangeInput::Cancelled(id))),
            },
            RangeOutput::End { id, end } => {
                if let Some(place) = self.incoming.remove(&id) {
                    self.order(place, Order::End(id, end.encode().to_vec()));
                }
            }
            RangeOutput::Reset(id) => {
                if let Some(place) = self.incoming.remove(&id) {
                    self.order(place, Order::Reset(id));
                }
            }
            output @ RangeOutput::Read { .. } => return Err(output),
        }
        Ok(None)
    }

    fn order(&mut self, (peer_id, connection): (PeerId, ConnectionId), event: Order) {
        let handler = NotifyHandler::One(connection);
        self.steps.push_back(ToSwarm::NotifyHandler { peer_id, handler, event });
    }

    fn report(&mut self, input: RangeInput) {
        self.steps.push_back(ToSwarm::GenerateEvent(input));
    }

    fn handler(&self) -> Handler {
        Handler::new(self.serves, Arc::clone(&self.next))
    }

    /// Ends all streams of a connection.
    fn lost(&mut self, connection: ConnectionId) {
        let ours = self.outgoing.iter().filter(|(_, (_, on))| *on == connection);
        let ours: Vec<_> = ours.map(|(id, _)| *id).collect();
        for id in ours {
            self.outgoing.remove(&id);
            self.report(RangeInput::Closed { id, close: StreamClose::Lost });
        }
        let theirs = self.incoming.iter().filter(|(_, (_, on))| *on == connection);
        let theirs: Vec<_> = theirs.map(|(id, _)| *id).collect();
        for id in theirs {
            self.incoming.remove(&id);
            self.report(RangeInput::Cancelled(id));
        }
    }
}

impl NetworkBehaviour for Ranges {
    type ConnectionHandler = Handler;
    type ToSwarm = RangeInput;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler())
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id,
                connection_id,
                ..
            }) => self.connections.entry(peer_id).or_default().push(connection_id),
            FromSwarm::ConnectionClosed(ConnectionClosed { peer_id, connection_id, .. }) => {
                if let Some(connections) = self.connections.get_mut(&peer_id) {
                    connections.retain(|id| *id != connection_id);
                    if connections.is_empty() {
                        self.connections.remove(&peer_id);
                    }
                }
                self.lost(connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        let input = match event {
            // No event of a stream that was cancelled meanwhile is reported.
            Report::Received(id, bytes) if self.outgoing.contains_key(&id) => {
                RangeInput::Received { id, bytes }
            }
            Report::Closed(id, close) if self.outgoing.remove(&id).is_some() => {
                RangeInput::Closed { id, close }
            }
            Report::Written(id) if self.incoming.contains_key(&id) => RangeInput::Written(id),
            Report::Gone(id) if self.incoming.remove(&id).is_some() => RangeInput::Cancelled(id),
            Report::Requested(id, request) => {
                let Some(from) = from_libp2p(&peer) else { return };
                self.incoming.insert(id, (peer, connection));
                RangeInput::Requested { from, id, request }
            }
            _ => return,
        };
        self.report(input);
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<RangeInput, THandlerInEvent<Self>>> {
        self.steps.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}
