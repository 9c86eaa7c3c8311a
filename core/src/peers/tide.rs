//! How many peers to have: more are sought below a low mark, and the least valuable are let go above
//! a high one (`op-node/p2p/config.go`, libp2p's `connmgr.go`).
//!
//! The reference counts connections and looks once a minute; this counts peers and acts at once.
//! Static peers and those in the mesh count as in the reference.
//!
//! # Bounds
//!
//! Whoever connects fills it: one entry for each connected peer, of which the driver admits a limited
//! number (`ConnectionLimits`), above the high mark too while newcomers have their time of grace. What is told of a peer that is not connected is dropped; the driver tells all of it when
//! the peer connects.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::time::Duration;

use super::PeerId;
use crate::sorted::{SortedMap, SortedSet};
use crate::time::Instant;

/// The marks of a [`Tide`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TideConfig {
    /// With fewer peers, more are sought (`p2p.peers.lo`).
    pub low: usize,
    /// With more peers, some are dropped, down to `low` (`p2p.peers.hi`). At least `low`.
    pub high: usize,
    /// How long after it connected no peer is dropped (`p2p.peers.grace`).
    pub grace: Duration,
    /// How often it is said again that peers are missing.
    pub seek_interval: Duration,
}

impl Default for TideConfig {
    /// 20 to 30 peers, 30 s of grace, and a reminder every 5 s.
    fn default() -> Self {
        Self { low: 20, high: 30, grace: Duration::from_secs(30), seek_interval: Duration::from_secs(5) }
    }
}

/// What the driver is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TideStep {
    /// Find and dial this many peers more. Zero: stop seeking.
    Seek {
        /// Peers below the low mark.
        missing: usize,
    },
    /// Close all connections of this peer.
    Drop(PeerId),
}

/// The connected peers, and which of them to let go when they are too many: never protected ones,
/// nor any in its time of grace, and of the others in this order
///
/// 1. those with a negative score, the lowest first,
/// 2. those that neither are in the mesh nor subscribed to a topic of blocks,
/// 3. those that are subscribed but not in the mesh,
/// 4. those in the mesh of one topic, then of two, and so on.
///
/// Among equals inbound peers go before outbound ones, whom an attacker cannot choose, and the
/// youngest before those who have been there for long. When fewer may go than are too many, these go
/// at once, and the others when their time of grace is over.
///
/// Peers in their time of grace do not push out others: as many as the low mark says stay besides
/// them. Otherwise a stranger who connects often enough would empty the node of all its peers in
/// seconds; so it is the strangers that go, when their time is over.
#[derive(Clone, Debug, Default)]
pub struct Tide {
    config: TideConfig,
    peers: SortedMap<PeerId, State>,
    /// Peers told to go.
    leaving: usize,
    /// Peers about to be told.
    to_drop: VecDeque<PeerId>,
    /// What was said last about missing peers, and when.
    sought: Option<(usize, Instant)>,
    /// Whether it is of no use to seek again.
    is_hopeless: bool,
}

#[derive(Clone, Copy, Debug)]
struct State {
    since: Instant,
    is_inbound: bool,
    is_protected: bool,
    is_leaving: bool,
    gossips: bool,
    mesh: usize,
    score: f64,
}

/// What compares first goes first.
type Worth = (usize, i64, Reverse<bool>, Reverse<Instant>);

impl State {
    const fn may_go(&self) -> bool {
        !self.is_protected && !self.is_leaving
    }

    /// From when on it is no newcomer.
    fn settles_at(&self, grace: Duration) -> Instant {
        if self.is_protected { Instant::default() } else { self.since + grace }
    }

    /// The order that [`Tide`] describes.
    fn worth(&self) -> Worth {
        let (class, score) = match (self.mesh, self.gossips) {
            _ if self.score < 0.0 => (0, by_size(self.score)),
            (0, false) => (1, 0),
            (0, true) => (2, 0),
            (mesh, _) => (mesh.saturating_add(2), 0),
        };
        (class, score, Reverse(self.is_inbound), Reverse(self.since))
    }
}

/// Negative numbers as integers in the same order (see [`f64::total_cmp`]).
const fn by_size(negative: f64) -> i64 {
    negative.to_bits() as i64 ^ i64::MAX
}

impl Tide {
    /// No peers yet, so that the first step is to seek.
    pub fn new(config: TideConfig) -> Self {
        Self { config: TideConfig { high: config.high.max(config.low), ..config }, ..Self::default() }
    }

    /// The marks.
    pub const fn config(&self) -> &TideConfig {
        &self.config
    }

    /// A connection with a peer stands: its first or a further one. Nothing else is known of a peer
    /// that is new: it is not in the mesh, not subscribed, and has a score of zero.
    ///
    /// With a further connection, a peer counts as outbound if one of them is. If it was told to go,
    /// it is a new one.
    pub fn connected(&mut self, now: Instant, peer: PeerId, is_inbound: bool, is_protected: bool) {
        let known = self.peers.remove(&peer);
        let state = match known {
            Some(state) if !state.is_leaving => {
                State { is_inbound: state.is_inbound && is_inbound, is_protected, ..state }
            }
            _ => State {
                since: now,
                is_inbound,
                is_protected,
                is_leaving: false,
                gossips: false,
                mesh: 0,
                score: 0.0,
            },
        };
        self.leaving -= usize::from(known.is_some_and(|state| state.is_leaving));
        self.peers.insert(peer, state);
    }

    /// The last connection with a peer is gone.
    pub fn disconnected(&mut self, peer: &PeerId) {
        if let Some(state) = self.peers.remove(peer) {
            self.leaving -= usize::from(state.is_leaving);
        }
    }

    /// Whether a connected peer is static or protected by the operator.
    pub fn set_protected(&mut self, peer: &PeerId, is_protected: bool) {
        if let Some(state) = self.peers.get_mut(peer) {
            state.is_protected = is_protected;
        }
    }

    /// In the mesh of how many topics a connected peer is.
    pub fn set_mesh(&mut self, peer: &PeerId, topics: usize) {
        if let Some(state) = self.peers.get_mut(peer) {
            state.mesh = topics;
        }
    }

    /// Whether a connected peer is subscribed to a topic of blocks.
    pub fn set_gossips(&mut self, peer: &PeerId, gossips: bool) {
        if let Some(state) = self.peers.get_mut(peer) {
            state.gossips = gossips;
        }
    }

    /// The score of a connected peer.
    pub fn set_score(&mut self, peer: &PeerId, score: f64) {
        if let Some(state) = self.peers.get_mut(peer) {
            state.score = score;
        }
    }

    /// The connected peers that were not told to go.
    pub fn len(&self) -> usize {
        self.peers.len() - self.leaving
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether anybody could be found: if not, seeking is not repeated until the number of peers changes.
    pub const fn set_hope(&mut self, is_there: bool) {
        self.is_hopeless = !is_there;
    }

    /// The next thing to do, until there is none.
    pub fn poll(&mut self, now: Instant) -> Option<TideStep> {
        if self.to_drop.is_empty() && self.len() > self.config.high {
            self.choose(now);
        }
        while let Some(peer) = self.to_drop.pop_front() {
            // Others may have left meanwhile, and this one may be another than it was.
            let is_enough = self.settled(now) <= self.config.low;
            if let Some(state) = self.peers.get_mut(&peer)
                && state.may_go()
                && state.settles_at(self.config.grace) <= now
                && !is_enough
            {
                state.is_leaving = true;
                self.leaving += 1;
                return Some(TideStep::Drop(peer));
            }
        }
        let missing = self.missing();
        let is_due = self.seek_at(missing).is_some_and(|at| at <= now);
        is_due.then(|| {
            self.sought = Some((missing, now));
            TideStep::Seek { missing }
        })
    }

    /// When [`Self::poll`] has something to do next, as things are. It may have passed.
    pub fn next_wakeup(&self) -> Option<Instant> {
        if !self.to_drop.is_empty() {
            return Some(Instant::default());
        }
        let drop_at = if self.len() > self.config.high { self.drop_at() } else { None };
        [drop_at, self.seek_at(self.missing())].into_iter().flatten().min()
    }

    /// From when on somebody may go: when more than `low` have settled, and one of them may.
    fn drop_at(&self) -> Option<Instant> {
        let stay = self.peers.iter().filter(|(_, state)| !state.is_leaving);
        let settle: SortedSet<(Instant, PeerId)> =
            stay.map(|(peer, state)| (state.settles_at(self.config.grace), *peer)).collect();
        let may_go = self.peers.values().filter(|state| state.may_go());
        let first = may_go.map(|state| state.settles_at(self.config.grace)).min()?;
        settle.iter().nth(self.config.low).map(|(enough, _)| first.max(*enough))
    }

    /// How many have settled and were not told to go.
    fn settled(&self, now: Instant) -> usize {
        let stay = self.peers.values().filter(|state| !state.is_leaving);
        stay.filter(|state| state.settles_at(self.config.grace) <= now).count()
    }

    fn missing(&self) -> usize {
        self.config.low.saturating_sub(self.len())
    }

    fn seek_at(&self, missing: usize) -> Option<Instant> {
        match (missing, self.sought) {
            (0, None | Some((0, _))) => None,
            (missing, Some((told, at))) if told == missing => {
                (!self.is_hopeless).then(|| at + self.config.seek_interval)
            }
            _ => Some(Instant::default()),
        }
    }

    /// Picks who goes so that `low` of those remain that have settled.
    fn choose(&mut self, now: Instant) {
        let grace = self.config.grace;
        let candidates =
            self.peers.iter().filter(|(_, state)| state.may_go() && state.settles_at(grace) <= now);
        let candidates: SortedSet<(Worth, PeerId)> =
            candidates.map(|(peer, state)| (state.worth(), *peer)).collect();
        let too_many = self.settled(now).saturating_sub(self.config.low);
        self.to_drop = candidates.into_iter().take(too_many).map(|(_, peer)| peer).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn peer(number: u32) -> PeerId {
        PeerId::try_from(&number.to_be_bytes()[..]).expect("4 bytes")
    }

    fn at(seconds: u64) -> Instant {
        Instant::from_start(Duration::from_secs(seconds))
    }

    fn small() -> Tide {
        Tide::new(TideConfig { low: 2, high: 4, ..TideConfig::default() })
    }

    /// Inbound peers without protection, all at once.
    fn connect(tide: &mut Tide, now: Instant, peers: impl IntoIterator<Item = u32>) {
        peers.into_iter().for_each(|number| tide.connected(now, peer(number), true, false));
    }

    fn steps(tide: &mut Tide, now: Instant) -> Vec<TideStep> {
        std::iter::from_fn(|| tide.poll(now)).collect()
    }

    fn dropped(tide: &mut Tide, now: Instant) -> Vec<PeerId> {
        let steps = steps(tide, now).into_iter();
        steps
            .filter_map(|step| match step {
                TideStep::Drop(peer) => Some(peer),
                TideStep::Seek { .. } => None,
            })
            .collect()
    }

    fn seek(missing: usize) -> Vec<TideStep> {
        vec![TideStep::Seek { missing }]
    }

    #[test]
    fn missing_peers_are_sought_when_they_change_and_every_5_seconds() {
        let mut tide = Tide::new(TideConfig::default());
        assert_eq!(tide.next_wakeup(), Some(at(0)));
        assert_eq!(steps(&mut tide, at(0)), seek(20));
        assert_eq!((steps(&mut tide, at(4)), tide.next_wakeup()), (vec![], Some(at(5))));
        assert_eq!(steps(&mut tide, at(5)), seek(20));
        connect(&mut tide, at(6), 0..19);
        assert_eq!((steps(&mut tide, at(6)), tide.next_wakeup()), (seek(1), Some(at(11))));
        connect(&mut tide, at(7), [19]);
        assert_eq!((steps(&mut tide, at(7)), tide.next_wakeup()), (seek(0), None));
        connect(&mut tide, at(8), 20..30);
        assert_eq!((steps(&mut tide, at(100)), tide.next_wakeup()), (vec![], None));
        (0..11).for_each(|number| tide.disconnected(&peer(number)));
        assert_eq!(steps(&mut tide, at(101)), seek(1));
    }

    #[test]
    fn above_the_high_mark_all_down_to_the_low_one_go_and_none_is_told_twice() {
        let mut tide = Tide::new(TideConfig::default());
        connect(&mut tide, at(0), 0..30);
        assert_eq!((steps(&mut tide, at(60)), tide.next_wakeup()), (vec![], None));
        connect(&mut tide, at(60), [30]);
        let gone = dropped(&mut tide, at(60));
        assert_eq!((gone.len(), tide.len()), (10, 21));
        assert!(!gone.contains(&peer(30)), "it is in its time of grace");
        assert_eq!((steps(&mut tide, at(1000)), tide.next_wakeup()), (vec![], None));
        gone.iter().for_each(|peer| tide.disconnected(peer));
        assert_eq!((steps(&mut tide, at(1000)), tide.len()), (vec![], 21));

        let mut tide = Tide::new(TideConfig::default());
        connect(&mut tide, at(0), 0..31);
        assert_eq!((dropped(&mut tide, at(30)).len(), tide.len(), tide.next_wakeup()), (11, 20, None));
    }

    #[test]
    fn nobody_goes_in_its_time_of_grace() {
        let mut tide = small();
        connect(&mut tide, at(0), 0..2);
        connect(&mut tide, at(10), 2..6);
        // Two may go from 30 s on, but the others are newcomers.
        assert_eq!((dropped(&mut tide, at(39)), tide.next_wakeup()), (vec![], Some(at(40))));
        assert_eq!(dropped(&mut tide, at(40)), [2, 3, 4, 5].map(peer));

        let mut tide = small();
        connect(&mut tide, at(0), 0..3);
        connect(&mut tide, at(10), 3..8);
        assert_eq!((dropped(&mut tide, at(29)), tide.next_wakeup()), (vec![], Some(at(30))));
        // One may go, which is not as many as are too many.
        assert_eq!(dropped(&mut tide, at(30)), [peer(0)]);
        assert_eq!((dropped(&mut tide, at(39)), tide.next_wakeup()), (vec![], Some(at(40))));
        assert_eq!(dropped(&mut tide, at(40)).len(), 5);
        assert_eq!((tide.len(), tide.next_wakeup()), (2, None));
    }

    #[test]
    fn a_flood_of_newcomers_pushes_nobody_out() {
        let mut tide = Tide::new(TideConfig::default());
        (0..25).for_each(|number| connect(&mut tide, at(number.into()), [number]));
        let mut gone = Vec::new();
        for second in 100..400 {
            connect(&mut tide, at(second), (0..3).map(|n| 1000 + 3 * second as u32 + n));
            for peer in dropped(&mut tide, at(second)) {
                tide.disconnected(&peer);
                gone.push(peer);
            }
        }
        assert!((0..20).all(|number| tide.peers.contains_key(&peer(number))));
        assert!(gone.len() > 800 && tide.len() <= 30 + 3 * 31);
    }

    #[test]
    fn protected_peers_count_but_never_go() {
        let mut tide = small();
        (0..6).for_each(|number| tide.connected(at(0), peer(number), true, true));
        assert_eq!((steps(&mut tide, at(100)), tide.next_wakeup()), (vec![], None));
        connect(&mut tide, at(0), [6]);
        assert_eq!(dropped(&mut tide, at(100)), [peer(6)]);
        tide.set_protected(&peer(3), false);
        assert_eq!(tide.next_wakeup(), Some(at(30)));
        assert_eq!(dropped(&mut tide, at(100)), [peer(3)]);
        assert_eq!(tide.len(), 5);
    }

    #[test]
    fn a_peer_that_is_protected_after_it_was_chosen_stays() {
        let mut tide = small();
        connect(&mut tide, at(0), 0..5);
        assert_eq!(tide.poll(at(30)), Some(TideStep::Drop(peer(0))));
        assert_eq!(tide.next_wakeup(), Some(at(0)));
        tide.set_protected(&peer(1), true);
        tide.disconnected(&peer(4));
        assert_eq!(dropped(&mut tide, at(30)), [peer(2)]);
        assert_eq!(tide.len(), 2);
    }

    #[test]
    fn the_least_valuable_go_first_and_the_mesh_last() {
        let mut tide = Tide::new(TideConfig { low: 0, high: 9, ..TideConfig::default() });
        // In the order in which they go.
        connect(&mut tide, at(0), [0, 1]);
        tide.set_score(&peer(0), -50.0);
        tide.set_score(&peer(1), -0.5);
        tide.set_mesh(&peer(1), 2);
        connect(&mut tide, at(1), [2]);
        connect(&mut tide, at(0), [3]);
        tide.connected(at(2), peer(4), false, false);
        tide.connected(at(0), peer(5), false, false);
        connect(&mut tide, at(2), [6, 7]);
        tide.set_gossips(&peer(6), true);
        tide.set_gossips(&peer(7), true);
        // A second connection, by this node, is worth as much as a first.
        tide.connected(at(9), peer(7), false, false);
        connect(&mut tide, at(3), [8, 9]);
        tide.set_mesh(&peer(8), 1);
        tide.set_mesh(&peer(9), 2);
        let all: Vec<_> = (0..10).map(peer).collect();
        assert_eq!(dropped(&mut tide, at(100)), all);
    }

    #[test]
    fn a_peer_that_comes_back_is_a_new_one() {
        let mut tide = small();
        connect(&mut tide, at(0), 0..5);
        assert_eq!(dropped(&mut tide, at(30)), [peer(0), peer(1), peer(2)]);
        // Its new connection came before the old one was closed.
        connect(&mut tide, at(31), [0]);
        tide.disconnected(&peer(1));
        connect(&mut tide, at(31), [1, 5]);
        assert_eq!((tide.len(), tide.leaving), (5, 1));
        assert_eq!((dropped(&mut tide, at(60)), tide.next_wakeup()), (vec![], Some(at(61))));
        assert_eq!(dropped(&mut tide, at(61)), [0, 1, 5].map(peer));
    }

    #[test]
    fn others_are_none_of_its_business() {
        let mut tide = Tide::default();
        tide.set_score(&peer(1), -1.0);
        tide.set_mesh(&peer(1), 1);
        tide.set_gossips(&peer(1), true);
        tide.set_protected(&peer(1), true);
        tide.disconnected(&peer(1));
        assert!(tide.is_empty());
    }

    #[test]
    fn negative_numbers_keep_their_order() {
        let sorted = [f64::NEG_INFINITY, -1e9, -2.0, -1.5, -1e-9, -0.0];
        assert!(sorted.is_sorted_by_key(|score| by_size(*score)));
    }

    proptest! {
        #[test]
        fn peers_never_stay_above_the_high_mark_when_they_may_go(
            steps in prop::collection::vec((0_u32..30, 0_u8..7, any::<i8>()), 0..300),
        ) {
            let mut tide = Tide::new(TideConfig { low: 4, high: 8, ..TideConfig::default() });
            let mut told = std::collections::BTreeSet::new();
            let mut now = 0;
            for (number, action, value) in steps {
                let name = peer(number);
                match action {
                    0..=2 => {
                        tide.connected(at(now), name, value % 2 == 0, value % 8 == 0);
                        told.remove(&name);
                    }
                    3 => {
                        tide.disconnected(&name);
                        told.remove(&name);
                    }
                    4 => tide.set_score(&name, value.into()),
                    5 => tide.set_mesh(&name, value.unsigned_abs().into()),
                    _ => now += u64::from(value.unsigned_abs()) / 8,
                }
                let before = tide.clone();
                while let Some(step) = tide.poll(at(now)) {
                    match step {
                        TideStep::Drop(peer) => {
                            let state = before.peers.get(&peer).expect("it was there");
                            prop_assert!(told.insert(peer), "told twice");
                            prop_assert!(!state.is_protected && at(now) >= state.since + Duration::from_secs(30));
                            prop_assert!(before.len() > 8 && tide.settled(at(now)) >= 4);
                        }
                        TideStep::Seek { missing } => prop_assert_eq!(missing, 4_usize.saturating_sub(tide.len())),
                    }
                }
                prop_assert_eq!(tide.leaving, told.len());
                let wakes = tide.next_wakeup();
                prop_assert!(wakes.is_none_or(|wakes| wakes > at(now)));
                let stays = |state: &State| !state.may_go() || at(now) < state.since + Duration::from_secs(30);
                let is_enough = tide.settled(at(now)) <= 4;
                prop_assert!(tide.len() <= 8 || is_enough || tide.peers.values().all(stays));
            }
        }
    }
}
