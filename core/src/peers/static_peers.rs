//! Peers that the operator wants connected for ever, and when to dial them
//! (`op-node/p2p/host.go`; the back-off is the newer reference's).

use super::PeerId;
use crate::sorted::SortedMap;
use crate::time::Instant;
use std::time::Duration;

/// How long to wait before a static peer is dialled again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Wait after a connection was lost and after the first failure; each further failure waits half as long again.
    pub first: Duration,
    /// Longest wait between two attempts.
    pub longest: Duration,
    /// Nodes with different seeds wait up to a quarter less, each another part of it, so that those who lost one
    /// peer together do not come back together. Zero: the exact time.
    pub seed: u64,
}

impl Default for Backoff {
    /// The reference's 5 seconds to 5 minutes, exactly.
    fn default() -> Self {
        Self { first: Duration::from_secs(5), longest: Duration::from_secs(5 * 60), seed: 0 }
    }
}

impl Backoff {
    /// A wait as this node waits it, for the `attempt`th time.
    fn spread(&self, wait: Duration, attempt: u32) -> Duration {
        if self.seed == 0 {
            return wait;
        }
        // One step of SplitMix64: neighbouring seeds and attempts are far apart.
        let mut bits = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(u64::from(attempt) + 1));
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let less = u32::try_from((bits ^ (bits >> 31)) % 1024).unwrap_or(0);
        wait - wait / 4 * less / 1024
    }
}

/// The static peers and the state of each. Bounded by the operator's list.
#[derive(Clone, Debug, Default)]
pub struct StaticPeers {
    backoff: Backoff,
    attempts: u32,
    peers: SortedMap<PeerId, State>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Connected,
    Dialling { backoff: Duration },
    Waiting { until: Instant, backoff: Duration },
}

/// How a static peer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// A connection stands.
    Connected,
    /// An attempt is under way.
    Dialling,
    /// It is dialled again at this moment.
    Waiting {
        /// When.
        until: Instant,
    },
}

impl StaticPeers {
    /// All of `peers`, to be dialled at once, and again by this back-off.
    pub fn new(peers: impl IntoIterator<Item = PeerId>, now: Instant, backoff: Backoff) -> Self {
        let state = State::Waiting { until: now, backoff: backoff.first };
        Self { backoff, attempts: 0, peers: peers.into_iter().map(|peer| (peer, state)).collect() }
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
        let first = self.backoff.first;
        let until = now + self.next_wait(first);
        if let Some(state) = self.peers.get_mut(peer) {
            *state = State::Waiting { until, backoff: first };
        }
    }

    fn next_wait(&mut self, wait: Duration) -> Duration {
        self.attempts = self.attempts.wrapping_add(1);
        self.backoff.spread(wait, self.attempts)
    }

    /// There may be a network again, or another one: who waits is dialled at once, by a back-off that starts anew.
    pub fn hurry(&mut self, now: Instant) {
        let first = self.backoff.first;
        for state in self.peers.values_mut() {
            if matches!(state, State::Waiting { .. }) {
                *state = State::Waiting { until: now, backoff: first };
            }
        }
    }

    /// How `peer` stands; `None` if it is none of them.
    pub fn stage(&self, peer: &PeerId) -> Option<Stage> {
        self.peers.get(peer).map(|state| match *state {
            State::Connected => Stage::Connected,
            State::Dialling { .. } => Stage::Dialling,
            State::Waiting { until, .. } => Stage::Waiting { until },
        })
    }

    /// An attempt at `peer` failed.
    pub fn dial_failed(&mut self, now: Instant, peer: &PeerId) {
        if let Some(&State::Dialling { backoff }) = self.peers.get(peer) {
            let longer = (backoff * 3 / 2).min(self.backoff.longest);
            let until = now + self.next_wait(backoff);
            self.peers.insert(*peer, State::Waiting { until, backoff: longer });
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
        let mut peers = StaticPeers::new([peer(1), peer(2)], at(0), Backoff::default());
        assert_eq!(peers.next_wakeup(), Some(at(0)));
        assert_eq!(
            [peers.poll(at(0)), peers.poll(at(0)), peers.poll(at(0))],
            [Some(peer(1)), Some(peer(2)), None]
        );
    }

    #[test]
    fn waits_grow_by_half_from_5_seconds_to_5_minutes() {
        let mut peers = StaticPeers::new([peer(1)], at(0), Backoff::default());
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
        let mut peers = StaticPeers::new([peer(1)], at(0), Backoff::default());
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
    fn seeds_set_nodes_apart_and_only_shorten_the_wait() {
        let backoff = |seed| Backoff { seed, ..Backoff::default() };
        let waits = |seed| {
            let mut peers = StaticPeers::new([peer(1)], at(0), backoff(seed));
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
    fn in_a_hurry_who_waits_is_dialled_at_once() {
        let mut peers = StaticPeers::new([peer(1), peer(2), peer(3)], at(0), Backoff::default());
        peers.connected(&peer(2));
        while peers.poll(at(0)).is_some() {}
        peers.dial_failed(at(0), &peer(1));
        assert_eq!(peers.stage(&peer(1)), Some(Stage::Waiting { until: at(5000) }));
        peers.hurry(at(100));
        assert_eq!((peers.poll(at(100)), peers.poll(at(100))), (Some(peer(1)), None));
        assert_eq!(peers.stage(&peer(2)), Some(Stage::Connected));
        assert_eq!((peers.stage(&peer(3)), peers.stage(&peer(4))), (Some(Stage::Dialling), None));
    }

    #[test]
    fn others_are_none_of_its_business() {
        let mut peers = StaticPeers::new([peer(1)], at(0), Backoff::default());
        peers.connected(&peer(2));
        peers.disconnected(at(0), &peer(2));
        peers.dial_failed(at(0), &peer(2));
        assert!(!peers.contains(&peer(2)));
        assert!(peers.contains(&peer(1)));
    }
}
