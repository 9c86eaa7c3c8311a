//! Peers that the operator wants connected for ever, and when to dial them
//! (`op-node/p2p/host.go`; the back-off is the newer reference's).

use super::PeerId;
use crate::time::Instant;
use std::collections::BTreeMap;
use std::time::Duration;

/// Wait after the first failure; each further one waits half as long again.
pub const FIRST_BACKOFF: Duration = Duration::from_secs(5);
/// Longest wait between two attempts.
pub const LONGEST_BACKOFF: Duration = Duration::from_secs(5 * 60);

/// The static peers and the state of each. Bounded by the operator's list.
#[derive(Clone, Debug, Default)]
pub struct StaticPeers {
    peers: BTreeMap<PeerId, State>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Connected,
    Dialling { backoff: Duration },
    Waiting { until: Instant, backoff: Duration },
}

impl StaticPeers {
    /// All of `peers`, to be dialled at once.
    pub fn new(peers: impl IntoIterator<Item = PeerId>, now: Instant) -> Self {
        let state = State::Waiting { until: now, backoff: FIRST_BACKOFF };
        Self { peers: peers.into_iter().map(|peer| (peer, state)).collect() }
    }

    /// Whether `peer` is one of them.
    pub fn contains(&self, peer: &PeerId) -> bool {
        self.peers.contains_key(peer)
    }

    /// A connection to `peer` stands, whoever dialled.
    pub fn connected(&mut self, peer: &PeerId) {
        if let Some(state) = self.peers.get_mut(peer) {
            *state = State::Connected;
        }
    }

    /// The last connection to `peer` is gone: it is dialled again after the first wait.
    pub fn disconnected(&mut self, now: Instant, peer: &PeerId) {
        if let Some(state) = self.peers.get_mut(peer) {
            *state = State::Waiting { until: now + FIRST_BACKOFF, backoff: FIRST_BACKOFF };
        }
    }

    /// An attempt at `peer` failed.
    pub fn dial_failed(&mut self, now: Instant, peer: &PeerId) {
        if let Some(state) = self.peers.get_mut(peer)
            && let State::Dialling { backoff } = *state
        {
            let longer = (backoff * 3 / 2).min(LONGEST_BACKOFF);
            *state = State::Waiting { until: now + backoff, backoff: longer };
        }
    }

    /// The next peer to dial at `now`. It counts as being dialled from here on, until one of the
    /// calls above says what became of it.
    pub fn poll(&mut self, now: Instant) -> Option<PeerId> {
        self.peers.iter_mut().find_map(|(peer, state)| match *state {
            State::Waiting { until, backoff } if until <= now => {
                *state = State::Dialling { backoff };
                Some(*peer)
            }
            _ => None,
        })
    }

    /// When [`Self::poll`] has a peer to dial next.
    pub fn next_wakeup(&self) -> Option<Instant> {
        let waits = self.peers.values().filter_map(|state| match state {
            State::Waiting { until, .. } => Some(*until),
            State::Connected | State::Dialling { .. } => None,
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

    fn at(millis: u64) -> Instant {
        Instant::from_start(Duration::from_millis(millis))
    }

    #[test]
    fn all_are_dialled_at_once_and_each_only_once() {
        let mut peers = StaticPeers::new([peer(1), peer(2)], at(0));
        assert_eq!(peers.next_wakeup(), Some(at(0)));
        assert_eq!(
            [peers.poll(at(0)), peers.poll(at(0)), peers.poll(at(0))],
            [Some(peer(1)), Some(peer(2)), None]
        );
    }

    #[test]
    fn waits_grow_by_half_from_5_seconds_to_5_minutes() {
        let mut peers = StaticPeers::new([peer(1)], at(0));
        let mut now = Instant::default();
        let mut waits = Vec::new();
        for _ in 0..13 {
            assert_eq!(peers.poll(now), Some(peer(1)));
            peers.dial_failed(now, &peer(1));
            let next = peers.next_wakeup().expect("waits");
            assert_eq!(peers.poll(Instant::from_start(next.since_start() - Duration::from_nanos(1))), None);
            waits.push(next.since(now).as_millis());
            now = next;
        }
        assert_eq!(waits[..4], [5000, 7500, 11_250, 16_875]);
        assert_eq!(waits[12], 300_000);
    }

    #[test]
    fn a_connection_resets_the_wait() {
        let mut peers = StaticPeers::new([peer(1)], at(0));
        for _ in 0..5 {
            peers.poll(at(0));
            peers.dial_failed(at(0), &peer(1));
        }
        peers.connected(&peer(1));
        assert_eq!((peers.poll(at(1_000_000)), peers.next_wakeup()), (None, None));
        peers.disconnected(at(1_000_000), &peer(1));
        assert_eq!(peers.next_wakeup(), Some(at(1_005_000)));
    }

    #[test]
    fn others_are_none_of_its_business() {
        let mut peers = StaticPeers::new([peer(1)], at(0));
        peers.connected(&peer(2));
        peers.disconnected(at(0), &peer(2));
        peers.dial_failed(at(0), &peer(2));
        assert!(!peers.contains(&peer(2)));
        assert!(peers.contains(&peer(1)));
    }
}
