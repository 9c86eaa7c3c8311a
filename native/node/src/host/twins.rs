//! Connections whose other side has this node's own id. It is another node with the same key, or
//! this node itself: a connection of the node with itself fails at both of its ends, and the end
//! that was accepted may fail before it sees the id.
//!
//! The security handshake notices the id, see [`OwnKey`], so that both sides of such a connection
//! do. The transport notes each dial at once, since the swarm reports no dial that it abandons for
//! one to another address.
//!
//! # Bounds
//! [`TWINS`] failed connections of each direction.

use libp2p::Multiaddr;
use libp2p::core::transport::TransportError;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{DialError, ListenError, SwarmEvent};
use opp2p_wire::find_cause;
use std::collections::VecDeque;
use std::error::Error;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Maximum number of failed connections of one direction that wait for their other end.
const TWINS: usize = 16;
/// Time in which the other end of a connection with ourselves shows up.
const OTHER_END_TIMEOUT: Duration = Duration::from_secs(2);

/// The other side of a connection has this node's own key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node there has this node's own key, or is this node itself")]
pub(super) struct OwnKey;

impl OwnKey {
    /// Returns `true` if this is the cause of an error.
    fn caused(error: &(dyn Error + 'static)) -> bool {
        find_cause::<Self>(error).is_some()
    }
}

/// Times of the latest dials whose other side showed our own id, shared with the transport.
#[derive(Clone, Debug, Default)]
pub(super) struct OwnDials(Arc<Mutex<VecDeque<Instant>>>);

impl OwnDials {
    /// Notes such a dial.
    pub(super) fn note(&self, now: Instant) {
        let mut times = self.lock();
        if times.len() >= TWINS {
            times.pop_front();
        }
        times.push_back(now);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Instant>> {
        // Nothing that can panic runs while it is locked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One end of a failed connection, with the time and the address of the other side. Without an
/// address, an accepted connection did not get as far as to show its id, and a dialled one was not
/// reported by the swarm.
type End = (Instant, Option<Multiaddr>);

/// The failed connections whose other end has not shown up.
#[derive(Debug, Default)]
pub(super) struct Twins {
    dials: OwnDials,
    dialled: VecDeque<End>,
    accepted: VecDeque<End>,
}

impl Twins {
    /// Returns where the transport notes its dials.
    pub(super) fn dials(&self) -> OwnDials {
        self.dials.clone()
    }

    /// Takes note of the failed connections of an event.
    pub(super) fn watch<E>(&mut self, now: Instant, event: &SwarmEvent<E>) {
        self.take_dials();
        let is_own = |error: &TransportError<io::Error>| OwnKey::caused(error);
        match event {
            SwarmEvent::OutgoingConnectionError {
                error: DialError::Transport(failures), ..
            }
            | SwarmEvent::ConnectionEstablished {
                concurrent_dial_errors: Some(failures), ..
            } => {
                let own = failures.iter().filter(|(_, error)| is_own(error));
                own.for_each(|(address, _)| self.name_dial(address));
            }
            SwarmEvent::IncomingConnectionError { error, send_back_addr, .. } => {
                let shows = matches!(error, ListenError::Transport(error) if is_own(error));
                // Its port is that of one connection and tells nothing.
                let is_host = |part: &Protocol<'_>| !matches!(part, Protocol::Tcp(_));
                let host = || send_back_addr.iter().take_while(is_host).collect();
                self.note(now, shows.then(host), false);
            }
            _ => {}
        }
    }

    /// Returns the addresses of connections whose other end did not show up.
    pub(super) fn seen(&mut self, now: Instant) -> Vec<String> {
        self.take_dials();
        let mut seen = Vec::new();
        for ends in [&mut self.dialled, &mut self.accepted] {
            while ends.front().is_some_and(|(at, _)| now.duration_since(*at) >= OTHER_END_TIMEOUT) {
                let address = ends.pop_front().and_then(|(_, address)| address);
                seen.extend(address.map(|address| address.to_string()));
            }
        }
        seen
    }

    fn take_dials(&mut self) {
        let dials = std::mem::take(&mut *self.dials.lock());
        dials.into_iter().for_each(|at| self.note(at, None, true));
    }

    /// Adds the address of a dial that was noted before, unless that has found its other end.
    fn name_dial(&mut self, address: &Multiaddr) {
        if let Some((_, place)) = self.dialled.iter_mut().find(|(_, address)| address.is_none()) {
            let parts = address.iter().filter(|part| !matches!(part, Protocol::P2p(_)));
            *place = Some(parts.collect());
        }
    }

    /// Takes note of one end of a failed connection.
    fn note(&mut self, now: Instant, address: Option<Multiaddr>, is_dialled: bool) {
        let (own, other) = match is_dialled {
            true => (&mut self.dialled, &mut self.accepted),
            false => (&mut self.accepted, &mut self.dialled),
        };
        // An older one is of another connection.
        let is_other_end = |(at, _): &End| now.duration_since(*at) < OTHER_END_TIMEOUT;
        if let Some(place) = other.iter().position(is_other_end) {
            other.remove(place);
            return;
        }
        own.push_back((now, address));
        if own.len() > TWINS {
            own.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libp2p::swarm::ConnectionId;

    type Event = SwarmEvent<()>;

    fn failure() -> TransportError<io::Error> {
        // As the layers of a transport wrap it.
        TransportError::Other(io::Error::other(io::Error::other(OwnKey)))
    }

    fn address() -> Multiaddr {
        "/ip4/10.0.0.7/tcp/9222".parse().expect("an address")
    }

    fn dial_failed() -> Event {
        let id = libp2p::PeerId::random();
        let error = DialError::Transport(vec![(address().with(Protocol::P2p(id)), failure())]);
        let connection_id = ConnectionId::new_unchecked(1);
        SwarmEvent::OutgoingConnectionError { connection_id, peer_id: Some(id), error }
    }

    fn accept_failed(shows_id: bool) -> Event {
        let other = || TransportError::Other(io::ErrorKind::ConnectionReset.into());
        SwarmEvent::IncomingConnectionError {
            connection_id: ConnectionId::new_unchecked(2),
            local_addr: address(),
            send_back_addr: "/ip4/10.0.0.8/tcp/40111".parse().expect("an address"),
            error: ListenError::Transport(if shows_id { failure() } else { other() }),
            peer_id: None,
        }
    }

    fn nothing() -> Vec<String> {
        Vec::new()
    }

    #[test]
    fn both_directions_reveal_where_the_other_node_is() {
        let (mut twins, start) = (Twins::default(), Instant::now());
        let end = start + OTHER_END_TIMEOUT;
        twins.dials().note(start);
        twins.watch(start, &dial_failed());
        assert_eq!(twins.seen(start), nothing());
        assert_eq!(twins.seen(end), [address().to_string()]);
        twins.watch(start, &accept_failed(true));
        assert_eq!(twins.seen(start), nothing());
        assert_eq!(twins.seen(end), ["/ip4/10.0.0.8"]);
        assert_eq!(twins.seen(end), nothing());
    }

    #[test]
    fn a_connection_with_ourselves_is_not_another_node() {
        let (mut twins, start) = (Twins::default(), Instant::now());
        for shows_id in [true, false] {
            twins.dials().note(start);
            twins.watch(start, &dial_failed());
            twins.watch(start, &accept_failed(shows_id));
            // The accepted end may be the first to fail.
            twins.watch(start, &accept_failed(shows_id));
            twins.dials().note(start);
            twins.watch(start, &dial_failed());
        }
        // The swarm may have abandoned the dial for another address.
        twins.watch(start, &accept_failed(true));
        twins.dials().note(start);
        assert_eq!(twins.seen(start + OTHER_END_TIMEOUT), nothing());
        // An accepted connection that failed otherwise is nothing by itself, and neither is a dial
        // that failed otherwise.
        twins.watch(start, &accept_failed(false));
        twins.watch(start, &dial_failed());
        assert_eq!(twins.seen(start + OTHER_END_TIMEOUT), nothing());
    }

    #[test]
    fn only_the_newest_twins_are_kept() {
        let (mut twins, start) = (Twins::default(), Instant::now());
        (0..3 * TWINS).for_each(|_| twins.watch(start, &accept_failed(true)));
        assert_eq!(twins.seen(start + OTHER_END_TIMEOUT).len(), TWINS);
        (0..3 * TWINS).for_each(|_| twins.dials().note(start));
        assert_eq!(twins.dials.lock().len(), TWINS);
    }

    #[test]
    fn other_errors_are_not_taken_for_key_errors() {
        let error: TransportError<io::Error> =
            TransportError::Other(io::Error::other("the peer went away"));
        assert!(!OwnKey::caused(&error));
        assert!(OwnKey::caused(&failure()));
    }
}
