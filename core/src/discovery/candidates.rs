//! Queue of discovered nodes, which are passed to the peer manager a few at a time.
//!
//! Keys cost nothing, so a stranger can create any number of records; addresses are not free. A
//! stranger must be able to fill neither the memory nor the [`PeerBook`](crate::peers::PeerBook),
//! in which each newcomer displaces the peer that was not seen for the longest time.
//!
//! # Bounds
//! * Waiting candidates: [`MAX_WAITING`]; further ones are dropped until discovery finds them
//!   again.
//! * Candidates passed on: [`FEED_FAST`] or [`FEED_SLOW`] per walk. The last [`MAX_PASSED_ON`] are
//!   remembered, and are not passed on again within [`REPEAT_AFTER`] unless their record is newer.
//! * Candidates per [`neighbourhood`](super::neighbourhood): [`NEIGHBOURS`], waiting and remembered
//!   ones together, and beyond that one new key per [`NEIGHBOUR_PAUSE`]. So a neighbour with many
//!   keys can't keep another node there from being passed on forever.

use super::multiaddr;
use crate::peers::{PeerId, PeerMetadata, PeerNews, Subnet};
use crate::sorted::SortedMap;
use crate::time::Instant;
use core::net::SocketAddr;
use std::collections::VecDeque;
use std::time::Duration;

/// Maximum number of waiting candidates.
pub const MAX_WAITING: usize = 256;
/// Maximum number of candidates that are remembered after they were passed on.
pub const MAX_PASSED_ON: usize = 1024;
/// Maximum number of candidates per neighbourhood.
pub const NEIGHBOURS: usize = 4;
/// Minimum time between a new key of a full neighbourhood being passed on and another one being
/// queued.
pub const NEIGHBOUR_PAUSE: Duration = Duration::from_secs(5 * 60);
/// Number of candidates passed on after a walk while peers are missing. Equal to the number of
/// concurrent dials of the peer manager.
pub const FEED_FAST: usize = crate::peers::DIALS_AT_ONCE;
/// Number of candidates passed on after a walk while no peers are missing. The reference also
/// remembers one node per walk.
pub const FEED_SLOW: usize = 1;
/// Interval at which a candidate is passed on again, so that its addresses don't expire.
pub const REPEAT_AFTER: Duration = Duration::from_secs(60 * 60);

/// A discovered node that the [`Filter`](super::Filter) admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its record, as text, and its chain.
    pub metadata: PeerMetadata,
    /// Sequence number of the record.
    pub sequence: u64,
    /// Addresses at which it can be dialled; not empty.
    pub addresses: Vec<SocketAddr>,
}

/// A candidate that was passed on.
#[derive(Clone, Copy, Debug)]
struct Told {
    sequence: u64,
    at: Instant,
    /// Time when it was first passed on, provided that it has been remembered since.
    first: Instant,
    around: Option<Subnet>,
}

/// Waiting candidates and those recently passed on: see [`MAX_WAITING`], [`MAX_PASSED_ON`] and
/// [`NEIGHBOURS`] for the bounds.
#[derive(Clone, Debug, Default)]
pub struct Candidates {
    waiting: SortedMap<PeerId, Candidate>,
    /// Waiting candidates in order of arrival; each of them is in `waiting`.
    order: VecDeque<PeerId>,
    told: SortedMap<PeerId, Told>,
}

impl Candidates {
    /// Creates an empty queue.
    pub const fn new() -> Self {
        Self { waiting: SortedMap::new(), order: VecDeque::new(), told: SortedMap::new() }
    }

    /// Returns the number of waiting candidates.
    pub const fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Returns `true` if no candidate is waiting.
    pub const fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Adds a discovered node. Returns `true` if it is now waiting.
    pub fn found(&mut self, now: Instant, peer: PeerId, candidate: Candidate) -> bool {
        if let Some(known) = self.waiting.get_mut(&peer) {
            if candidate.sequence > known.sequence {
                *known = candidate;
            }
            return true;
        }
        let is_known = self.told.get(&peer).is_some_and(|told| {
            candidate.sequence <= told.sequence && now.since(told.at) < REPEAT_AFTER
        });
        if is_known || self.waiting.len() >= MAX_WAITING || self.is_crowded(now, &peer, &candidate)
        {
            return false;
        }
        self.waiting.insert(peer, candidate);
        self.order.push_back(peer);
        true
    }

    /// Returns the next candidates, given that `missing` peers are missing. Must be called once per
    /// walk.
    pub fn take(&mut self, now: Instant, missing: usize) -> Vec<(PeerId, PeerNews)> {
        let room = if missing > 0 { FEED_FAST } else { FEED_SLOW };
        let mut next = Vec::new();
        while next.len() < room
            && let Some(peer) = self.order.pop_front()
        {
            let Some(Candidate { metadata, sequence, addresses }) = self.waiting.remove(&peer)
            else {
                continue;
            };
            let first = self.told.get(&peer).map_or(now, |told| told.first);
            self.tell(peer, Told { sequence, at: now, first, around: around(&addresses) });
            let addresses = addresses.into_iter().map(multiaddr).collect();
            next.push((peer, PeerNews::Discovered(metadata, addresses)));
        }
        next
    }

    fn tell(&mut self, peer: PeerId, told: Told) {
        self.told.retain(|_, told_before| told.at.since(told_before.at) < REPEAT_AFTER);
        if self.told.len() >= MAX_PASSED_ON {
            let oldest = self.told.iter().min_by_key(|(_, told)| told.at).map(|(peer, _)| *peer);
            if let Some(oldest) = oldest {
                self.told.remove(&oldest);
            }
        }
        self.told.insert(peer, told);
    }

    fn is_crowded(&self, now: Instant, peer: &PeerId, candidate: &Candidate) -> bool {
        // Each of the operator's own machines is a neighbourhood by itself, and any number of nodes
        // may share one address.
        let around =
            around(&candidate.addresses).filter(|around| !matches!(around.length(), 32 | 128));
        let Some(here) = around else { return false };
        let is_told =
            |peer: &PeerId| self.told.get(peer).is_some_and(|told| told.around == Some(here));
        // A newer record of a key that was already passed on takes no additional place.
        if is_told(peer) {
            return false;
        }
        let is_new = |(other, candidate): &(&PeerId, &Candidate)| {
            self::around(&candidate.addresses) == Some(here) && !is_told(other)
        };
        let new = self.waiting.iter().filter(is_new).count();
        let told = || self.told.values().filter(|told| told.around == Some(here));
        if new + told().count() < NEIGHBOURS {
            return false;
        }
        let newest = told().map(|told| told.first).max();
        new > 0 || newest.is_none_or(|newest| now.since(newest) < NEIGHBOUR_PAUSE)
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

    /// Returns a candidate in its own network.
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
    fn candidates_are_passed_on_in_order_and_more_of_them_while_peers_are_missing() {
        let mut candidates = Candidates::new();
        for number in 0..10 {
            assert!(candidates.found(at(0), peer(number), candidate(number)));
        }
        assert_eq!(names(&candidates.take(at(0), 0)), [peer(0)]);
        assert_eq!(names(&candidates.take(at(0), 7)), [peer(1), peer(2), peer(3), peer(4)]);
        assert_eq!(candidates.len(), 5);
        let [(_, PeerNews::Discovered(metadata, addresses))] = &candidates.take(at(0), 0)[..]
        else {
            panic!("one was expected")
        };
        assert_eq!((metadata.chain_id, addresses[0].as_str()), (10, "/ip4/50.0.5.1/tcp/9222"));
    }

    #[test]
    fn a_candidate_is_passed_on_again_after_an_hour_or_with_a_newer_record() {
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
    fn a_network_is_limited_to_four_candidates_and_loopback_is_not() {
        let mut candidates = Candidates::new();
        let crowd = (0..100).filter(|host| {
            let taken = candidates.found(at(0), peer(*host), in_network([9, 9, 9, *host as u8]));
            candidates.take(at(0), 0);
            taken
        });
        assert_eq!(crowd.count(), NEIGHBOURS);
        let own = (100..200)
            .filter(|host| candidates.found(at(0), peer(*host), in_network([127, 0, 0, 1])));
        assert_eq!(own.count(), 100);
    }

    #[test]
    fn a_neighbour_with_many_keys_does_not_hide_other_nodes() {
        for has_fresh_keys in [false, true] {
            let mut candidates = Candidates::new();
            let (mut victim, mut others, mut sequence) = (0, SortedMap::new(), 1);
            for second in (0..24 * 3600).step_by(5) {
                for key in 0..4 {
                    let key = if has_fresh_keys { 1000 + 4 * second as u32 + key } else { key };
                    let record = Candidate { sequence, ..in_network([9, 9, 9, 9]) };
                    // Discovery finds nodes in a random order.
                    if key % 7 < 5 {
                        candidates.found(at(second), peer(key), record);
                    }
                }
                sequence += u64::from(second % 600 == 0);
                candidates.found(at(second), peer(77), in_network([9, 9, 9, 200]));
                for (who, _) in candidates.take(at(second), 5) {
                    if who == peer(77) {
                        victim += 1;
                    } else {
                        others.insert(who, ());
                    }
                }
            }
            assert!(victim > 0, "fresh keys: {has_fresh_keys}");
            // Four per hour, and one more per five minutes.
            assert!(others.len() <= 24 * (NEIGHBOURS + 12), "{}", others.len());
        }
    }

    #[test]
    fn a_full_network_takes_one_more_key_after_a_pause() {
        let mut candidates = Candidates::new();
        let found = |candidates: &mut Candidates, seconds, host: u8| {
            candidates.found(at(seconds), peer(host.into()), in_network([9, 9, 9, host]))
        };
        for host in 0..4 {
            assert!(found(&mut candidates, 0, host));
        }
        candidates.take(at(0), 5);
        assert!(!found(&mut candidates, 299, 5));
        assert!(found(&mut candidates, 300, 5));
        assert!(!found(&mut candidates, 300, 6), "one waits already");
        candidates.take(at(300), 5);
        assert!(!found(&mut candidates, 599, 6));
        assert!(found(&mut candidates, 600, 6));
    }

    #[test]
    fn the_number_of_candidates_is_bounded() {
        let mut candidates = Candidates::new();
        for number in 0..2 * MAX_WAITING as u32 {
            candidates.found(at(0), peer(number), candidate(number));
        }
        assert_eq!(candidates.len(), MAX_WAITING);
        for number in 0..3 * MAX_PASSED_ON as u32 {
            candidates.found(at(0), peer(number), candidate(number));
            candidates.take(at(0), 1);
            assert!(candidates.told.len() <= MAX_PASSED_ON && candidates.len() <= MAX_WAITING);
        }
        assert_eq!(candidates.order.len(), candidates.len());
    }
}
