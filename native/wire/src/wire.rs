//! The network of a node: libp2p's events become inputs of the core, and the core's outputs become
//! calls.
//!
//! # Bounds
//! * Dials in progress: those that the core and the operator request. Each ends with an event.
//! * Dials that failed at once: those of the outputs carried out since the last event.
//! * Peers that may take frames: connected ones.
//! * Those of `translate`.

use crate::translate::Translator;
use crate::{Behaviour, Event, Response, from_libp2p, to_libp2p};
use futures::StreamExt;
use futures::future::select;
use futures_timer::Delay;
use libp2p::core::ConnectedPoint;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionError, ConnectionId, DialError, NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm};
use opp2p_core::mesh::{Frame, StreamAction, StreamEvent};
use opp2p_core::node::{Input, Output};
use opp2p_core::peers;
use opp2p_core::sync::ServeId;
use opp2p_core::time::Instant;
use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::time::Duration;

/// Idle timeout of connections, which stands for never. Only mesh membership keeps a connection
/// busy, and a peer outside the mesh is idle for hours.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A behaviour that contains the wiring, and possibly other protocols.
pub trait Wired: NetworkBehaviour {
    /// Returns the wiring.
    fn wiring(&self) -> &Behaviour;

    /// Returns the wiring.
    fn wiring_mut(&mut self) -> &mut Behaviour;

    /// Returns the wiring's event, or `None` if the event is another protocol's.
    fn event_of_wiring(event: Self::ToSwarm) -> Option<Event>;
}

impl Wired for Behaviour {
    fn wiring(&self) -> &Behaviour {
        self
    }

    fn wiring_mut(&mut self) -> &mut Behaviour {
        self
    }

    fn event_of_wiring(event: Event) -> Option<Event> {
        Some(event)
    }
}

/// A change in whether a peer is connected.
#[derive(Debug)]
pub enum Notice<'a> {
    /// The first connection to a peer is established.
    Connected {
        /// Id of the peer.
        peer: PeerId,
        /// Address of the peer.
        address: &'a Multiaddr,
    },
    /// The last connection to a peer is closed.
    Disconnected {
        /// Id of the peer.
        peer: PeerId,
        /// Reason, if the connection failed or was closed by the peer.
        cause: Option<&'a ConnectionError>,
        /// Whether the peer announced that another connection of this node's identity replaces this
        /// one.
        is_replaced: bool,
    },
    /// A dial of a peer that is not connected failed.
    DialFailed {
        /// Id of the peer.
        peer: PeerId,
        /// Id of the dial.
        dial: ConnectionId,
        /// Reason.
        error: &'a DialError,
    },
}

impl Notice<'_> {
    fn input(&self) -> Option<Input> {
        Some(match self {
            Self::Connected { peer, .. } => Input::Connected(from_libp2p(peer)?),
            Self::Disconnected { peer, .. } => Input::Disconnected(from_libp2p(peer)?),
            Self::DialFailed { peer, .. } => Input::DialFailed(from_libp2p(peer)?),
        })
    }
}

/// The network of a node: see the [crate's documentation](crate) for its use.
pub struct Wire<B: Wired = Behaviour> {
    swarm: Swarm<B>,
    translator: Translator,
    /// Dials of this type in progress.
    dials: BTreeSet<ConnectionId>,
    /// Events of dials that failed at once.
    failed: VecDeque<SwarmEvent<B::ToSwarm>>,
    /// Peers whose streams may accept frames that wait for them.
    takers: BTreeSet<peers::PeerId>,
    /// Number of frames so far.
    frames: Frames,
}

/// Counters of gossip frames since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frames {
    /// Frames that came from peers.
    pub received: u64,
    /// Frames that were passed to peers' streams.
    pub sent: u64,
}

impl<B: Wired> fmt::Debug for Wire<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("translator", &self.translator).finish_non_exhaustive()
    }
}

impl<B: Wired> Wire<B> {
    /// Creates the network from a swarm.
    pub const fn new(swarm: Swarm<B>) -> Self {
        Self {
            swarm,
            translator: Translator::new(),
            dials: BTreeSet::new(),
            failed: VecDeque::new(),
            takers: BTreeSet::new(),
            frames: Frames { received: 0, sent: 0 },
        }
    }

    /// Returns the next event. No event is lost if the future is dropped early.
    pub async fn next(&mut self) -> SwarmEvent<B::ToSwarm> {
        match self.failed.pop_front() {
            Some(event) => event,
            None => self.swarm.select_next_some().await,
        }
    }

    /// Returns the change that an event of the swarm reports, for display. Must be called before
    /// [`Self::on_swarm`], which takes the event.
    pub fn notice<'e>(&self, event: &'e SwarmEvent<B::ToSwarm>) -> Option<Notice<'e>> {
        Some(match event {
            SwarmEvent::ConnectionEstablished { peer_id, num_established, endpoint, .. }
                if num_established.get() == 1 =>
            {
                let address = match endpoint {
                    ConnectedPoint::Dialer { address, .. } => address,
                    ConnectedPoint::Listener { send_back_addr, .. } => send_back_addr,
                };
                Notice::Connected { peer: *peer_id, address }
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, cause, .. } => {
                let is_replaced = self.wiring().farewell.has_replaced(peer_id);
                Notice::Disconnected { peer: *peer_id, cause: cause.as_ref(), is_replaced }
            }
            // A second dial that fails while a connection exists is not a failure.
            SwarmEvent::OutgoingConnectionError { peer_id: Some(peer), connection_id, error }
                if !self.is_connected(peer) =>
            {
                Notice::DialFailed { peer: *peer, dial: *connection_id, error }
            }
            _ => return None,
        })
    }

    /// Converts an event of the swarm to an input of the core, if the core needs it.
    pub fn on_swarm(&mut self, event: SwarmEvent<B::ToSwarm>) -> Option<Input> {
        if let SwarmEvent::ConnectionEstablished { connection_id, .. }
        | SwarmEvent::OutgoingConnectionError { connection_id, .. } = &event
        {
            self.dials.remove(connection_id);
        }
        if let Some(notice) = self.notice(&event) {
            return notice.input();
        }
        match event {
            SwarmEvent::Behaviour(event) => {
                let event = B::event_of_wiring(event)?;
                match &event {
                    Event::Mesh(StreamEvent::Frame(..)) => self.frames.received += 1,
                    // Once the core has handled this event, the peer's stream accepts more.
                    Event::Mesh(StreamEvent::Written(peer, _)) => {
                        self.takers.insert(*peer);
                    }
                    _ => {}
                }
                self.translator.input(event)
            }
            // The gatekeeper may have decided to close the peer's older connections.
            SwarmEvent::ConnectionEstablished { .. } => Some(Input::Wake),
            _ => None,
        }
    }

    /// Carries out an output that concerns the network. Returns the input that answers it, if that
    /// is known at once.
    ///
    /// # Errors
    /// Gives back the outputs that the driver must carry out.
    #[allow(clippy::result_large_err, reason = "the error is the argument, which is not a failure")]
    pub fn carry_out(&mut self, output: Output) -> Result<Option<Input>, Output> {
        let wiring = self.swarm.behaviour_mut().wiring_mut();
        match output {
            Output::Dial { peer, addresses } => self.dial(&peer, &addresses),
            Output::Disconnect(peer) => {
                if let Some(peer) = to_libp2p(&peer) {
                    // An error means that it is already disconnected.
                    let _ = self.swarm.disconnect_peer_id(peer);
                }
            }
            Output::Close(connection) => {
                // One that has ended is not found. The browser learns first that it is replaced.
                if let Some(connection) = wiring.admission.connection(connection)
                    && !wiring.farewell.begin(connection)
                {
                    self.swarm.close_connection(connection);
                }
            }
            Output::Mesh(action) => self.act_on_stream(action),
            Output::Request { id, to, number, limit } => {
                return Ok(self.translator.request(wiring, id, &to, number, limit));
            }
            Output::Refuse { id, code } => return Ok(self.respond(id, vec![code.byte()])),
            Output::Range(output) => {
                return wiring
                    .range(output)
                    .map(|input| input.map(Input::Range))
                    .map_err(Output::Range);
            }
            output => return Err(output),
        }
        Ok(None)
    }

    fn act_on_stream(&mut self, action: StreamAction) {
        let streams = &mut self.swarm.behaviour_mut().wiring_mut().streams;
        match action {
            StreamAction::OpenWriter(peer) => streams.open_writer(&peer),
            StreamAction::CloseWriter(peer) => streams.close_writer(&peer),
            StreamAction::ResetReader(peer) => streams.reset_reader(&peer),
            StreamAction::Transmit(peer) => {
                self.takers.insert(peer);
            }
        }
    }

    /// Writes frames of the core's router to the streams that accept some. `next` returns the next
    /// frame for a peer that fits into this number of bytes, as [`Core::transmit`] does. Call this
    /// when all outputs of the core are carried out.
    ///
    /// [`Core::transmit`]: crate::Core::transmit
    pub fn write(&mut self, mut next: impl FnMut(&peers::PeerId, usize) -> Option<Frame>) {
        let takers = std::mem::take(&mut self.takers);
        let streams = &mut self.swarm.behaviour_mut().wiring_mut().streams;
        for peer in &takers {
            streams.fill(peer, |window| {
                let frame = next(peer, window)?;
                self.frames.sent += 1;
                Some(frame)
            });
        }
    }

    /// Answers a peer's request. Returns an input at once if the stream is gone.
    pub fn respond(&mut self, id: ServeId, response: Response) -> Option<Input> {
        self.translator.respond(self.swarm.behaviour_mut().wiring_mut(), id, response)
    }

    /// Looks for streams that are due to be opened or given up. Call this at each
    /// [`HEARTBEAT`](opp2p_core::gossip::HEARTBEAT). `now` is the time of the core's clock.
    pub fn heartbeat(&mut self, now: Instant) {
        self.swarm.behaviour_mut().wiring_mut().streams.tick(now);
    }

    /// Dials a peer on request of the operator, independently of the core's own dials, which may
    /// use other addresses. Returns the id of the dial, with which the failure is reported.
    ///
    /// # Errors
    /// If the dial fails at once.
    pub fn connect(
        &mut self,
        peer: PeerId,
        addresses: Vec<Multiaddr>,
    ) -> Result<ConnectionId, DialError> {
        let (dial, result) = self.start_dial(peer, addresses, PeerCondition::Disconnected);
        result.map(|()| dial)
    }

    fn dial(&mut self, peer: &peers::PeerId, addresses: &[String]) {
        let Some(peer) = to_libp2p(peer) else { return };
        let addresses = addresses.iter().filter_map(|address| address.parse().ok()).collect();
        let condition = PeerCondition::DisconnectedAndNotDialing;
        match self.start_dial(peer, addresses, condition) {
            // If the peer is connected or being dialled already, an event will follow.
            (_, Ok(()) | Err(DialError::DialPeerConditionFalse(_))) => {}
            (connection_id, Err(error)) => {
                let peer_id = Some(peer);
                let event = SwarmEvent::OutgoingConnectionError { connection_id, peer_id, error };
                self.failed.push_back(event);
            }
        }
    }

    /// Dials from a newly allocated port. If two nodes dialled each other at once from their listen
    /// ports, TCP would merge both dials into one connection, and each side would wait for the
    /// other to be the listener.
    fn start_dial(
        &mut self,
        peer: PeerId,
        addresses: Vec<Multiaddr>,
        condition: PeerCondition,
    ) -> (ConnectionId, Result<(), DialError>) {
        let options = DialOpts::peer_id(peer)
            .addresses(addresses)
            .condition(condition)
            .allocate_new_port()
            .build();
        let dial = options.connection_id();
        let result = self.swarm.dial(options);
        if result.is_ok() {
            self.dials.insert(dial);
        }
        (dial, result)
    }

    /// Returns `true` if a dial that is in progress was begun here, and not by another protocol of
    /// the behaviour.
    pub fn is_own_dial(&self, dial: ConnectionId) -> bool {
        self.dials.contains(&dial)
    }

    /// Closes one connection. Has no effect on one that has ended.
    pub fn close_connection(&mut self, connection: ConnectionId) {
        self.swarm.close_connection(connection);
    }

    /// Replaces announced addresses.
    pub fn announce(&mut self, old: &[Multiaddr], new: Vec<Multiaddr>) {
        old.iter().for_each(|address| self.swarm.remove_external_address(address));
        new.into_iter().for_each(|address| self.swarm.add_external_address(address));
    }

    /// Closes all connections and waits until the last one is closed, or until `patience` is over:
    /// a peer may delay it.
    pub async fn close(mut self, patience: Duration) {
        let farewell = async {
            let peers: Vec<PeerId> = self.swarm.connected_peers().copied().collect();
            for peer in peers {
                // An error means that the peer is already disconnected.
                let _ = self.swarm.disconnect_peer_id(peer);
            }
            while self.swarm.connected_peers().next().is_some() {
                self.swarm.select_next_some().await;
            }
        };
        futures::pin_mut!(farewell);
        select(farewell, Delay::new(patience)).await;
    }

    fn wiring(&self) -> &Behaviour {
        self.swarm.behaviour().wiring()
    }

    /// Returns `true` if the peer is connected.
    pub fn is_connected(&self, peer: &PeerId) -> bool {
        self.swarm.is_connected(peer)
    }

    /// Returns the connected peers.
    pub fn connected_peers(&self) -> impl Iterator<Item = &PeerId> {
        self.swarm.connected_peers()
    }

    /// Returns the numbers of gossip frames so far.
    pub const fn frames(&self) -> Frames {
        self.frames
    }
}
