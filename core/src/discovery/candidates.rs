//! Those found, on their way to the peers: a few at a time.
//!
//! Keys cost nothing, so a stranger can make as many records as he likes; but addresses cost something. He must fill
//! neither memory nor the [`PeerBook`](crate::peers::PeerBook), in which each newcomer pushes out the one that was not
//! seen for the longest time.
//!
//! # Bounds
//! * Waiting: [`MAX_WAITING`]; who comes then is met again.
//! * Handed on: [`FEED_FAST`] or [`FEED_SLOW`] a walk. The last [`MAX_TOLD`] are remembered, and not handed on again
//!   for [`RETELL`], unless their record is a newer one.
//! * Of one [`neighbourhood`](super::neighbourhood): [`NEIGHBOURS`], of those that wait and are remembered together.

use super::multiaddr;
use crate::peers::{PeerId, PeerMetadata, PeerNews, Subnet};
use crate::sorted::SortedMap;
use crate::time::Instant;
use core::net::SocketAddr;
use std::collections::VecDeque;
use std::time::Duration;

/// Candidates that wait.
pub const MAX_WAITING: usize = 256;
/// Candidates that were handed on and are remembered.
pub const MAX_TOLD: usize = 1024;
/// Candidates of one neighbourhood.
pub const NEIGHBOURS: usize = 4;
/// Candidates that are handed on after a walk while peers are missing: as many as the peers dial at once.
pub const FEED_FAST: usize = crate::peers::DIALS_AT_ONCE;
/// The same while none are missing, as the reference remembers one node a walk.
pub const FEED_SLOW: usize = 1;
/// How soon a candidate is handed on again, so that its addresses don't grow old.
pub const RETELL: Duration = Duration::from_secs(60 * 60);

/// A node that was found and admitted by the [`Filter`](super::Filter).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its record, as text, and its chain.
    pub metadata: PeerMetadata,
    /// The record's sequence number.
    pub sequence: u64,
    /// Where it can be dialled; not empty.
    pub addresses: Vec<SocketAddr>,
}

/// A candidate that was handed on.
#[derive(Clone, Copy, Debug)]
struct Told {
    sequence: u64,
    at: Instant,
    around: Option<Subnet>,
}

/// The candidates, bounded as the constants beside it say.
#[derive(Clone, Debug, Default)]
pub struct Candidates {
    waiting: SortedMap<PeerId, Candidate>,
    /// In the order in which they came; each is in `waiting`.
    order: VecDeque<PeerId>,
    told: SortedMap<PeerId, Told>,
}

impl Candidates {
    /// None yet.
    pub const fn new() -> Self {
        Self { waiting: SortedMap::new(), order: VecDeque::new(), told: SortedMap::new() }
    }

    /// How many wait.
    pub const fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    pub const fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// A node was found. Whether it waits from now on.
    pub fn found(&mut self, now: Instant, peer: PeerId, candidate: Candidate) -> bool {
        if let Some(known) = self.waiting.get_mut(&peer) {
            if candidate.sequence > known.sequence {
                *known = candidate;
            }
            return true;
        }
        let is_known = self
            .told
            .get(&peer)
            .is_some_and(|told| candidate.sequence <= told.sequence && now.since(told.at) < RETELL);
        if is_known || self.waiting.len() >= MAX_WAITING || self.is_crowded(&peer, &candidate) {
            return false;
        }
        self.waiting.insert(peer, candidate);
        self.order.push_back(peer);
        true
    }

    /// The next ones for the peers, of which so many are missing; to be asked once a walk.
    pub fn take(&mut self, now: Instant, missing: usize) -> Vec<(PeerId, PeerNews)> {
        let room = if missing > 0 { FEED_FAST } else { FEED_SLOW };
        let mut next = Vec::new();
        while next.len() < room
            && let Some(peer) = self.order.pop_front()
        {
            let Some(Candidate { metadata, sequence, addresses }) = self.waiting.remove(&peer) else {
                continue;
            };
            self.tell(peer, Told { sequence, at: now, around: around(&addresses) });
            let addresses = addresses.into_iter().map(multiaddr).collect();
            next.push((peer, PeerNews::Discovered(metadata, addresses)));
        }
        next
    }

    fn tell(&mut self, peer: PeerId, told: Told) {
        self.told.retain(|_, told_before| told.at.since(told_before.at) < RETELL);
        if self.told.len() >= MAX_TOLD {
            let oldest = self.told.iter().min_by_key(|(_, told)| told.at).map(|(peer, _)| *peer);
            if let Some(oldest) = oldest {
                self.told.remove(&oldest);
            }
        }
        self.told.insert(peer, told);
    }

    fn is_crowded(&self, peer: &PeerId, candidate: &Candidate) -> bool {
        // Where the operator's own machines are, each address stands for itself, and any number may share one.
        let around = around(&candidate.addresses).filter(|around| !matches!(around.length(), 32 | 128));
        let Some(here) = around else { return false };
        let waiting = self.waiting.values().filter(|other| self::around(&other.addresses) == Some(here));
        let told = self.told.iter().filter(|(other, told)| *other != peer && told.around == Some(here));
        waiting.count() + told.count() >= NEIGHBOURS
    }
}

fn around(addresses: &[SocketAddr]) -> Option<Subnet> {
    addresses.first().and_then(|address| super::neighbourhood(address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_start(Duration::from_secs(seconds))
    }

    fn peer(number: u32) -> PeerId {
        PeerId::try_from(&number.to_be_bytes()[..]).expect("4 bytes")
    }

    /// Each in a network of its own.
    fn candidate(number: u32) -> Candidate {
        let [_, high, middle, low] = number.to_be_bytes();
        in_network([50 + high, middle, low, 1])
    }

    fn in_network(ip: [u8; 4]) -> Candidate {
        let metadata = PeerMetadata { enr: "enr:".into(), chain_id: 10 };
        Candidate { metadata, sequence: 1, addresses: vec![(ip, 9222).into()] }
    }

    fn names(fed: &[(PeerId, PeerNews)]) -> Vec<PeerId> {
        fed.iter().map(|(peer, _)| *peer).collect()
    }

    #[test]
    fn a_few_are_handed_on_in_their_order_more_while_peers_are_missing() {
        let mut candidates = Candidates::new();
        for number in 0..10 {
            assert!(candidates.found(at(0), peer(number), candidate(number)));
        }
        assert_eq!(names(&candidates.take(at(0), 0)), [peer(0)]);
        assert_eq!(names(&candidates.take(at(0), 7)), [peer(1), peer(2), peer(3), peer(4)]);
        assert_eq!(candidates.len(), 5);
        let [(_, PeerNews::Discovered(metadata, addresses))] = &candidates.take(at(0), 0)[..] else {
            panic!("one was expected")
        };
        assert_eq!((metadata.chain_id, addresses[0].as_str()), (10, "/ip4/50.0.5.1/tcp/9222"));
    }

    #[test]
    fn who_was_handed_on_comes_again_after_an_hour_or_with_a_newer_record() {
        let mut candidates = Candidates::new();
        let again = |candidates: &mut Candidates, seconds, sequence| {
            candidates.found(at(seconds), peer(1), Candidate { sequence, ..candidate(1) })
        };
        assert!(again(&mut candidates, 0, 1));
        candidates.take(at(0), 0);
        assert!(!again(&mut candidates, 10, 1));
        assert!(again(&mut candidates, 10, 2));
        candidates.take(at(10), 0);
        assert!(!again(&mut candidates, 3609, 2));
        assert!(again(&mut candidates, 3610, 2));
    }

    #[test]
    fn one_network_fills_four_places_and_a_machine_of_the_operator_any_number() {
        let mut candidates = Candidates::new();
        let crowd = (0..100).filter(|host| {
            let taken = candidates.found(at(0), peer(*host), in_network([9, 9, 9, *host as u8]));
            candidates.take(at(0), 0);
            taken
        });
        assert_eq!(crowd.count(), NEIGHBOURS);
        let own = (100..200).filter(|host| candidates.found(at(0), peer(*host), in_network([127, 0, 0, 1])));
        assert_eq!(own.count(), 100);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut candidates = Candidates::new();
        for number in 0..2 * MAX_WAITING as u32 {
            candidates.found(at(0), peer(number), candidate(number));
        }
        assert_eq!(candidates.len(), MAX_WAITING);
        for number in 0..3 * MAX_TOLD as u32 {
            candidates.found(at(0), peer(number), candidate(number));
            candidates.take(at(0), 1);
            assert!(candidates.told.len() <= MAX_TOLD && candidates.len() <= MAX_WAITING);
        }
        assert_eq!(candidates.order.len(), candidates.len());
    }
}
