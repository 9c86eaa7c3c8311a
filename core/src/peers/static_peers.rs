//! Peers to which the operator wants permanent connections, and the schedule of their dials
//! (`op-node/p2p/host.go`; the back-off is that of the newer reference).

use super::PeerId;
use crate::sorted::SortedMap;
use crate::time::Instant;
use std::time::Duration;

/// Minimum duration of a connection that resets the back-off.
pub const LASTING: Duration = Duration::from_secs(30);

/// Waits between two dials of a static peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Wait after a lost connection and after a first failure; each further failure increases it by
    /// half.
    pub first: Duration,
    /// Longest wait between two dials.
    pub longest: Duration,
}

impl Default for Backoff {
    /// Returns the reference's 5 seconds to 5 minutes.
    fn default() -> Self {
        Self { first: Duration::from_secs(5), longest: Duration::from_secs(5 * 60) }
    }
}

/// Returns the wait before the `attempt`th dial of a node with this seed: `wait` minus the jitter.
fn spread(seed: u64, wait: Duration, attempt: u32) -> Duration {
    if seed == 0 {
        return wait;
    }
    // One step of SplitMix64: neighbouring seeds and attempts yield unrelated values.
    let mut bits =
        seed.wrapping_add(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(u64::from(attempt) + 1));
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let less = u32::try_from((bits ^ (bits >> 31)) % 1024).unwrap_or(0);
    wait - wait / 4 * less / 1024
}

/// A peer on the operator's list, and the addresses that the list has for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticPeer {
    /// Id of the peer.
    pub id: PeerId,
    /// Multiaddrs of the peer. If the list is empty, the remembered addresses are dialled.
    pub addresses: Vec<String>,
}

impl From<PeerId> for StaticPeer {
    /// Returns a static peer without addresses.
    fn from(id: PeerId) -> Self {
        Self { id, addresses: Vec::new() }
    }
}

/// The static peers and their states. The operator's list bounds their number.
#[derive(Clone, Debug, Default)]
pub struct StaticPeers {
    backoff: Backoff,
    /// Seed of the jitter.
    seed: u64,
    attempts: u32,
    peers: SortedMap<PeerId, State>,
    /// Addresses of the peers for which the list has some.
    addresses: SortedMap<PeerId, Vec<String>>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Connected {
        since: Instant,
        backoff: Duration,
        /// Whether it fell silent, so that only its connection is known to be dead.
        is_silent: bool,
    },
    Dialling {
        backoff: Duration,
    },
    Waiting {
        until: Instant,
        backoff: Duration,
    },
}

impl State {
    /// Returns the wait before the next dial if this connection or dial fails.
    const fn backoff(&self) -> Duration {
        match *self {
            Self::Connected { backoff, .. }
            | Self::Dialling { backoff }
            | Self::Waiting { backoff, .. } => backoff,
        }
    }
}

/// State of a static peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The peer is connected.
    Connected,
    /// A dial is in progress.
    Dialling,
    /// The next dial is scheduled.
    Waiting {
        /// Time of the next dial.
        until: Instant,
    },
}

impl StaticPeers {
    /// Creates the states of all `peers`, which are to be dialled at `now` and redialled with this
    /// back-off.
    pub fn new(
        peers: impl IntoIterator<Item = StaticPeer>,
        now: Instant,
        backoff: Backoff,
    ) -> Self {
        let mut all = Self { backoff, ..Self::default() };
        peers.into_iter().for_each(|peer| all.add(peer, now, false));
        all
    }

    /// Shortens each wait by up to a quarter, depending on the seed, so that nodes that lost a peer
    /// at the same time do not all return at the same time. Zero disables this jitter.
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Adds a peer, to be dialled at `now` unless it is connected. For a peer that is already
    /// static, only the addresses are replaced.
    pub fn add(&mut self, StaticPeer { id, addresses }: StaticPeer, now: Instant, connected: bool) {
        if addresses.is_empty() {
            self.addresses.remove(&id);
        } else {
            self.addresses.insert(id, addresses);
        }
        if !self.contains(&id) {
            self.peers.insert(id, State::Waiting { until: now, backoff: self.backoff.first });
            if connected {
                self.connected(now, &id);
            }
        }
    }

    /// Removes a peer. It is no longer dialled.
    pub fn remove(&mut self, peer: &PeerId) {
        self.peers.remove(peer);
        self.addresses.remove(peer);
    }

    /// Returns the addresses that the operator's list has for a peer.
    pub fn addresses(&self, peer: &PeerId) -> &[String] {
        self.addresses.get(peer).map_or(&[], Vec::as_slice)
    }

    /// Returns all static peers in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = &PeerId> {
        self.peers.keys()
    }

    /// Returns `true` if `peer` is static.
    pub fn contains(&self, peer: &PeerId) -> bool {
        self.peers.contains_key(peer)
    }

    /// Records that `peer` is connected, regardless of which side dialled.
    pub fn connected(&mut self, now: Instant, peer: &PeerId) {
        if let Some(state) = self.peers.get_mut(peer) {
            let backoff = state.backoff();
            *state = State::Connected { since: now, backoff, is_silent: false };
        }
    }

    /// Records that a connected `peer` fell silent, and that its connections are being closed.
    pub fn silent(&mut self, peer: &PeerId) {
        if let Some(State::Connected { is_silent, .. }) = self.peers.get_mut(peer) {
            *is_silent = true;
        }
    }

    /// Records that the last connection to `peer` was closed. It is dialled again after a wait, or
    /// at once if a lasting connection fell silent: after a change of the network, the old
    /// connection is dead while the peer is well.
    pub fn disconnected(&mut self, now: Instant, peer: &PeerId) {
        let Some(&state) = self.peers.get(peer) else { return };
        let first = self.backoff.first;
        let (wait, backoff) = match state {
            State::Connected { since, is_silent, .. } if now.since(since) >= LASTING => {
                (if is_silent { Duration::ZERO } else { self.next_wait(first) }, first)
            }
            _ => (self.next_wait(state.backoff()), self.longer(state.backoff())),
        };
        self.peers.insert(*peer, State::Waiting { until: now + wait, backoff });
    }

    fn longer(&self, wait: Duration) -> Duration {
        (wait * 3 / 2).min(self.backoff.longest)
    }

    fn next_wait(&mut self, wait: Duration) -> Duration {
        self.attempts = self.attempts.wrapping_add(1);
        spread(self.seed, wait, self.attempts)
    }

    /// Schedules all waiting peers for an immediate dial and resets their back-off, since the
    /// network may have come back or changed.
    pub fn expedite(&mut self, now: Instant) {
        let first = self.backoff.first;
        for state in self.peers.values_mut() {
            if matches!(state, State::Waiting { .. }) {
                *state = State::Waiting { until: now, backoff: first };
            }
        }
    }

    /// Returns the state of a static peer, or `None` if `peer` is not static.
    pub fn stage(&self, peer: &PeerId) -> Option<Stage> {
        self.peers.get(peer).map(|state| match *state {
            State::Connected { .. } => Stage::Connected,
            State::Dialling { .. } => Stage::Dialling,
            State::Waiting { until, .. } => Stage::Waiting { until },
        })
    }

    /// Records that a dial of `peer` failed.
    pub fn dial_failed(&mut self, now: Instant, peer: &PeerId) {
        if let Some(&State::Dialling { backoff }) = self.peers.get(peer) {
            let until = now + self.next_wait(backoff);
            let longer = self.longer(backoff);
            self.peers.insert(*peer, State::Waiting { until, backoff: longer });
        }
    }

    /// Returns the next peer to dial at `now`. The peer counts as being dialled until one of the
    /// methods above reports the result.
    pub fn poll(&mut self, now: Instant) -> Option<PeerId> {
        self.peers.iter_mut().find_map(|(peer, state)| match *state {
            State::Waiting { until, backoff } if until <= now => {
                *state = State::Dialling { backoff };
                Some(*peer)
            }
            _ => None,
        })
    }

    /// Returns the time at which [`Self::poll`] next has a peer to dial.
    pub fn next_wakeup(&self) -> Option<Instant> {
        let waits = self.peers.values().filter_map(|state| match state {
            State::Waiting { until, .. } => Some(*until),
            State::Connected { .. } | State::Dialling { .. } => None,
        });
        waits.min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(byte: u8) -> PeerId {
        PeerId::try_from(&[byte; 39][..]).expect("39 bytes")
    }

    fn listed(byte: u8) -> StaticPeer {
        peer(byte).into()
    }

    fn at(millis: u64) -> Instant {
        Instant::from_start(Duration::from_millis(millis))
    }

    #[test]
    fn all_peers_are_dialled_at_once_and_only_once() {
        let mut peers = StaticPeers::new([1, 2].map(listed), at(0), Backoff::default());
        assert_eq!(peers.next_wakeup(), Some(at(0)));
        assert_eq!(
            [peers.poll(at(0)), peers.poll(at(0)), peers.poll(at(0))],
            [Some(peer(1)), Some(peer(2)), None]
        );
    }

    #[test]
    fn waits_grow_by_half_from_5_seconds_to_5_minutes() {
        let mut peers = StaticPeers::new([1].map(listed), at(0), Backoff::default());
        let mut now = Instant::default();
        let mut waits = Vec::new();
        for _ in 0..13 {
            assert_eq!(peers.poll(now), Some(peer(1)));
            peers.dial_failed(now, &peer(1));
            let next = peers.next_wakeup().expect("waits");
            assert_eq!(
                peers.poll(Instant::from_start(next.since_start() - Duration::from_nanos(1))),
                None
            );
            waits.push(next.since(now).as_millis());
            now = next;
        }
        assert_eq!(waits[..4], [5000, 7500, 11_250, 16_875]);
        assert_eq!(waits[12], 300_000);
    }

    #[test]
    fn a_lasting_connection_resets_the_wait() {
        let mut peers = StaticPeers::new([1].map(listed), at(0), Backoff::default());
        for _ in 0..5 {
            peers.poll(at(0));
            peers.dial_failed(at(0), &peer(1));
        }
        peers.connected(at(0), &peer(1));
        assert_eq!((peers.poll(at(1_000_000)), peers.next_wakeup()), (None, None));
        peers.disconnected(at(1_000_000), &peer(1));
        assert_eq!(peers.next_wakeup(), Some(at(1_005_000)));
    }

    /// A full gateway completes the handshake and closes the connection.
    #[test]
    fn short_connections_count_as_failures() {
        let mut peers = StaticPeers::new([1].map(listed), at(0), Backoff::default());
        let (mut now, mut waits) = (at(0), Vec::new());
        for _ in 0..13 {
            assert_eq!(peers.poll(now), Some(peer(1)));
            peers.connected(now, &peer(1));
            let closed = now + Duration::from_millis(29_999);
            peers.silent(&peer(1));
            peers.disconnected(closed, &peer(1));
            now = peers.next_wakeup().expect("waits");
            waits.push(now.since(closed).as_millis());
        }
        assert_eq!(waits[..4], [5000, 7500, 11_250, 16_875]);
        assert_eq!(waits[12], 300_000);
    }

    #[test]
    fn a_peer_whose_lasting_connection_fell_silent_is_redialled_at_once() {
        let mut peers = StaticPeers::new([1].map(listed), at(0), Backoff::default());
        peers.poll(at(0));
        peers.connected(at(0), &peer(1));
        peers.silent(&peer(1));
        assert_eq!(peers.stage(&peer(1)), Some(Stage::Connected));
        peers.disconnected(at(30_000), &peer(1));
        assert_eq!(peers.poll(at(30_000)), Some(peer(1)));
        // The peer itself is gone: each further dial waits.
        peers.dial_failed(at(34_000), &peer(1));
        assert_eq!(peers.next_wakeup(), Some(at(39_000)));
    }

    #[test]
    fn different_seeds_give_different_waits_that_are_never_longer() {
        let waits = |seed| {
            let peers = StaticPeers::new([1].map(listed), at(0), Backoff::default());
            let mut peers = peers.with_seed(seed);
            peers.poll(at(0));
            peers.dial_failed(at(0), &peer(1));
            peers.next_wakeup().expect("waits").since_start()
        };
        let mut all: Vec<_> = (1..=200).map(waits).collect();
        assert!(all.iter().all(|wait| (3750..=5000).contains(&wait.as_millis())), "{all:?}");
        all.sort();
        all.dedup();
        assert!(all.len() > 150, "{}", all.len());
        assert_eq!((waits(7), waits(0)), (waits(7), Duration::from_secs(5)));
    }

    #[test]
    fn waiting_peers_are_dialled_at_once_after_hurry() {
        let mut peers = StaticPeers::new([1, 2, 3].map(listed), at(0), Backoff::default());
        peers.connected(at(0), &peer(2));
        while peers.poll(at(0)).is_some() {}
        peers.dial_failed(at(0), &peer(1));
        assert_eq!(peers.stage(&peer(1)), Some(Stage::Waiting { until: at(5000) }));
        peers.expedite(at(100));
        assert_eq!((peers.poll(at(100)), peers.poll(at(100))), (Some(peer(1)), None));
        assert_eq!(peers.stage(&peer(2)), Some(Stage::Connected));
        assert_eq!((peers.stage(&peer(3)), peers.stage(&peer(4))), (Some(Stage::Dialling), None));
    }

    #[test]
    fn peers_that_are_not_static_have_no_effect() {
        let mut peers = StaticPeers::new([1].map(listed), at(0), Backoff::default());
        peers.connected(at(0), &peer(2));
        peers.disconnected(at(0), &peer(2));
        peers.dial_failed(at(0), &peer(2));
        assert!(!peers.contains(&peer(2)));
        assert!(peers.contains(&peer(1)));
    }
}
