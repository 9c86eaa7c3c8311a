//! Control of the number of peers: below a low mark the node seeks more, above a high mark it drops
//! the least valuable ones (`op-node/p2p/config.go`, libp2p's `connmgr.go`).
//!
//! The reference counts connections and checks once a minute; this implementation counts peers and
//! acts at once. As in the reference, static peers and peers in the mesh are counted.
//!
//! # Bounds
//!
//! One entry per connected peer. Remote peers add entries by connecting, and the driver admits a
//! limited number (`ConnectionLimits`). The number may exceed the high mark while newcomers are in
//! their grace period. Facts about a peer that is not connected are ignored; the driver repeats all
//! of them when the peer connects.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::time::Duration;

use super::PeerId;
use crate::sorted::{SortedMap, SortedSet};
use crate::time::Instant;

/// Settings of a [`ConnectionManager`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionManagerConfig {
    /// Low mark: with fewer peers, the node seeks more (`p2p.peers.lo`).
    pub low: usize,
    /// High mark: with more peers, the node drops some, down to `low` (`p2p.peers.hi`). At least
    /// `low`.
    pub high: usize,
    /// Grace period: time after a peer connects during which it is not dropped
    /// (`p2p.peers.grace`).
    pub grace: Duration,
    /// Interval at which [`ConnectionManagerStep::Seek`] is repeated while peers are missing.
    pub seek_interval: Duration,
}

/// Error for a low mark above the high mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the low mark of {low} peers is above the high mark of {high}")]
pub struct InvalidMarks {
    /// The low mark.
    pub low: usize,
    /// The high mark.
    pub high: usize,
}

impl ConnectionManagerConfig {
    /// Checks that the marks fit together.
    ///
    /// # Errors
    /// If the low mark is above the high mark.
    pub const fn check(&self) -> Result<(), InvalidMarks> {
        let Self { low, high, .. } = *self;
        if low > high { Err(InvalidMarks { low, high }) } else { Ok(()) }
    }
}

impl Default for ConnectionManagerConfig {
    /// Returns marks of 20 and 30 peers, a grace period of 30 s, and a seek interval of 5 s.
    fn default() -> Self {
        Self {
            low: 20,
            high: 30,
            grace: Duration::from_secs(30),
            seek_interval: Duration::from_secs(5),
        }
    }
}

/// An action that a [`ConnectionManager`] requests from its driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionManagerStep {
    /// Find and dial this many more peers; zero means to stop seeking.
    Seek {
        /// Number of peers missing below the low mark.
        missing: usize,
    },
    /// Close all connections to this peer.
    Drop(PeerId),
}

/// The connected peers, and the order in which surplus ones are dropped. Protected peers and peers
/// in their grace period are never dropped; the others are dropped in this order:
///
/// 1. those with a negative score, the lowest first,
/// 2. those that are neither in the mesh nor subscribed to a topic of blocks,
/// 3. those that are subscribed but not in the mesh,
/// 4. those in the mesh of one topic, then of two, and so on.
///
/// Among equals, inbound peers are dropped before outbound ones, which an attacker can't choose,
/// and recently connected peers before those that have been connected for long. If fewer peers may
/// be dropped than are surplus, these are dropped at once, and the others when their grace period
/// is over.
///
/// Peers in their grace period do not displace others: in addition to them, the node keeps as many
/// settled peers as the low mark requires. Otherwise a stranger that connects often enough would
/// displace all of the node's peers in seconds. Instead, the strangers are dropped when their grace
/// period is over.
#[derive(Clone, Debug, Default)]
pub struct ConnectionManager {
    config: ConnectionManagerConfig,
    peers: SortedMap<PeerId, State>,
    /// Number of peers that are still connected after their [`ConnectionManagerStep::Drop`].
    leaving: usize,
    /// Peers chosen to be dropped, in order, for which no step was issued yet.
    to_drop: VecDeque<PeerId>,
    /// Last reported number of missing peers, and the time of the report.
    sought: Option<(usize, Instant)>,
    /// Whether repeating [`ConnectionManagerStep::Seek`] is useless.
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

/// Sort key of a peer. Peers with the lowest key are dropped first.
type Worth = (usize, i64, Reverse<bool>, Reverse<Instant>);

impl State {
    const fn may_be_trimmed(&self) -> bool {
        !self.is_protected && !self.is_leaving
    }

    /// Returns the end of the grace period, which is in the past for protected peers.
    fn settles_at(&self, grace: Duration) -> Instant {
        if self.is_protected { Instant::default() } else { self.since + grace }
    }

    /// Returns the sort key for the order that [`ConnectionManager`] describes.
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

/// Maps negative numbers to integers of the same order (see [`f64::total_cmp`]).
const fn by_size(negative: f64) -> i64 {
    negative.to_bits() as i64 ^ i64::MAX
}

impl ConnectionManager {
    /// Creates a manager without peers. Its first step is to seek some.
    pub fn new(config: ConnectionManagerConfig) -> Self {
        Self {
            config: ConnectionManagerConfig { high: config.high.max(config.low), ..config },
            ..Self::default()
        }
    }

    /// Returns the marks and intervals.
    pub const fn config(&self) -> &ConnectionManagerConfig {
        &self.config
    }

    /// Records a connection to a peer, its first or a further one. A new peer is not in the mesh,
    /// is not subscribed, and has a score of zero.
    ///
    /// With a further connection, a peer counts as outbound if any of its connections is outbound.
    /// A peer for which a [`ConnectionManagerStep::Drop`] was issued counts as new.
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

    /// Records that the last connection to a peer was closed.
    pub fn disconnected(&mut self, peer: &PeerId) {
        if let Some(state) = self.peers.remove(peer) {
            self.leaving -= usize::from(state.is_leaving);
        }
    }

    /// Sets whether a connected peer is protected: static, or protected by the operator.
    pub fn set_protected(&mut self, peer: &PeerId, is_protected: bool) {
        if let Some(state) = self.peers.get_mut(peer) {
            state.is_protected = is_protected;
        }
    }

    /// Sets the number of topics in whose mesh a connected peer is.
    pub fn set_mesh(&mut self, peer: &PeerId, topics: usize) {
        if let Some(state) = self.peers.get_mut(peer) {
            state.mesh = topics;
        }
    }

    /// Sets whether a connected peer is subscribed to a topic of blocks.
    pub fn set_gossips(&mut self, peer: &PeerId, gossips: bool) {
        if let Some(state) = self.peers.get_mut(peer) {
            state.gossips = gossips;
        }
    }

    /// Sets the score of a connected peer.
    pub fn set_score(&mut self, peer: &PeerId, score: f64) {
        if let Some(state) = self.peers.get_mut(peer) {
            state.score = score;
        }
    }

    /// Returns the number of connected peers, excluding those that are about to be dropped.
    pub fn len(&self) -> usize {
        self.peers.len() - self.leaving
    }

    /// Returns `true` if [`Self::len`] is zero.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sets whether more peers might be found. If not, [`ConnectionManagerStep::Seek`] is not
    /// repeated until the number of missing peers changes.
    pub const fn set_may_find_more(&mut self, is_there: bool) {
        self.is_hopeless = !is_there;
    }

    /// Returns the next step, or `None` if there is nothing to do.
    pub fn poll(&mut self, now: Instant) -> Option<ConnectionManagerStep> {
        if self.to_drop.is_empty() && self.len() > self.config.high {
            self.choose(now);
        }
        while let Some(peer) = self.to_drop.pop_front() {
            // Other peers may have left in the meantime, and the state of this peer may have
            // changed.
            let is_enough = self.settled(now) <= self.config.low;
            if let Some(state) = self.peers.get_mut(&peer)
                && state.may_be_trimmed()
                && state.settles_at(self.config.grace) <= now
                && !is_enough
            {
                state.is_leaving = true;
                self.leaving += 1;
                return Some(ConnectionManagerStep::Drop(peer));
            }
        }
        let missing = self.missing();
        let is_due = self.seek_at(missing).is_some_and(|at| at <= now);
        is_due.then(|| {
            self.sought = Some((missing, now));
            ConnectionManagerStep::Seek { missing }
        })
    }

    /// Returns the time at which [`Self::poll`] next has something to do if nothing changes. It may
    /// be in the past.
    pub fn next_wakeup(&self) -> Option<Instant> {
        if !self.to_drop.is_empty() {
            return Some(Instant::default());
        }
        let drop_at = if self.len() > self.config.high { self.drop_at() } else { None };
        [drop_at, self.seek_at(self.missing())].into_iter().flatten().min()
    }

    /// Returns the time at which the next peer may be dropped, which requires that more than `low`
    /// peers have settled and that one of them may be dropped.
    fn drop_at(&self) -> Option<Instant> {
        let stay = self.peers.iter().filter(|(_, state)| !state.is_leaving);
        let settle: SortedSet<(Instant, PeerId)> =
            stay.map(|(peer, state)| (state.settles_at(self.config.grace), *peer)).collect();
        let may_be_trimmed = self.peers.values().filter(|state| state.may_be_trimmed());
        let first = may_be_trimmed.map(|state| state.settles_at(self.config.grace)).min()?;
        settle.iter().nth(self.config.low).map(|(enough, _)| first.max(*enough))
    }

    /// Returns the number of settled peers, excluding those that are about to be dropped.
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

    /// Chooses the peers to drop such that `low` settled peers remain.
    fn choose(&mut self, now: Instant) {
        let grace = self.config.grace;
        let candidates = self
            .peers
            .iter()
            .filter(|(_, state)| state.may_be_trimmed() && state.settles_at(grace) <= now);
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

    fn small() -> ConnectionManager {
        ConnectionManager::new(ConnectionManagerConfig {
            low: 2,
            high: 4,
            ..ConnectionManagerConfig::default()
        })
    }

    #[test]
    fn marks_that_contradict_each_other_are_refused() {
        let config = |low, high| ConnectionManagerConfig { low, high, ..Default::default() };
        assert_eq!(config(2, 2).check(), Ok(()));
        assert_eq!(config(3, 2).check(), Err(InvalidMarks { low: 3, high: 2 }));
    }

    /// Connects unprotected inbound peers, all at the same time.
    fn connect(
        manager: &mut ConnectionManager,
        now: Instant,
        peers: impl IntoIterator<Item = u32>,
    ) {
        peers.into_iter().for_each(|number| manager.connected(now, peer(number), true, false));
    }

    fn steps(manager: &mut ConnectionManager, now: Instant) -> Vec<ConnectionManagerStep> {
        std::iter::from_fn(|| manager.poll(now)).collect()
    }

    fn dropped(manager: &mut ConnectionManager, now: Instant) -> Vec<PeerId> {
        let steps = steps(manager, now).into_iter();
        steps
            .filter_map(|step| match step {
                ConnectionManagerStep::Drop(peer) => Some(peer),
                ConnectionManagerStep::Seek { .. } => None,
            })
            .collect()
    }

    fn seek(missing: usize) -> Vec<ConnectionManagerStep> {
        vec![ConnectionManagerStep::Seek { missing }]
    }

    #[test]
    fn missing_peers_are_requested_on_change_and_every_5_seconds() {
        let mut manager = ConnectionManager::new(ConnectionManagerConfig::default());
        assert_eq!(manager.next_wakeup(), Some(at(0)));
        assert_eq!(steps(&mut manager, at(0)), seek(20));
        assert_eq!((steps(&mut manager, at(4)), manager.next_wakeup()), (vec![], Some(at(5))));
        assert_eq!(steps(&mut manager, at(5)), seek(20));
        connect(&mut manager, at(6), 0..19);
        assert_eq!((steps(&mut manager, at(6)), manager.next_wakeup()), (seek(1), Some(at(11))));
        connect(&mut manager, at(7), [19]);
        assert_eq!((steps(&mut manager, at(7)), manager.next_wakeup()), (seek(0), None));
        connect(&mut manager, at(8), 20..30);
        assert_eq!((steps(&mut manager, at(100)), manager.next_wakeup()), (vec![], None));
        (0..11).for_each(|number| manager.disconnected(&peer(number)));
        assert_eq!(steps(&mut manager, at(101)), seek(1));
    }

    #[test]
    fn above_the_high_mark_peers_are_trimmed_to_the_low_mark_and_reported_once() {
        let mut manager = ConnectionManager::new(ConnectionManagerConfig::default());
        connect(&mut manager, at(0), 0..30);
        assert_eq!((steps(&mut manager, at(60)), manager.next_wakeup()), (vec![], None));
        connect(&mut manager, at(60), [30]);
        let gone = dropped(&mut manager, at(60));
        assert_eq!((gone.len(), manager.len()), (10, 21));
        assert!(!gone.contains(&peer(30)), "it is in its time of grace");
        assert_eq!((steps(&mut manager, at(1000)), manager.next_wakeup()), (vec![], None));
        gone.iter().for_each(|peer| manager.disconnected(peer));
        assert_eq!((steps(&mut manager, at(1000)), manager.len()), (vec![], 21));

        let mut manager = ConnectionManager::new(ConnectionManagerConfig::default());
        connect(&mut manager, at(0), 0..31);
        assert_eq!(
            (dropped(&mut manager, at(30)).len(), manager.len(), manager.next_wakeup()),
            (11, 20, None)
        );
    }

    #[test]
    fn no_peer_is_dropped_in_its_grace_period() {
        let mut manager = small();
        connect(&mut manager, at(0), 0..2);
        connect(&mut manager, at(10), 2..6);
        // Two peers may be dropped from 30 s on, but the others are newcomers.
        assert_eq!((dropped(&mut manager, at(39)), manager.next_wakeup()), (vec![], Some(at(40))));
        assert_eq!(dropped(&mut manager, at(40)), [2, 3, 4, 5].map(peer));

        let mut manager = small();
        connect(&mut manager, at(0), 0..3);
        connect(&mut manager, at(10), 3..8);
        assert_eq!((dropped(&mut manager, at(29)), manager.next_wakeup()), (vec![], Some(at(30))));
        // Only one peer may be dropped, which is fewer than the surplus.
        assert_eq!(dropped(&mut manager, at(30)), [peer(0)]);
        assert_eq!((dropped(&mut manager, at(39)), manager.next_wakeup()), (vec![], Some(at(40))));
        assert_eq!(dropped(&mut manager, at(40)).len(), 5);
        assert_eq!((manager.len(), manager.next_wakeup()), (2, None));
    }

    #[test]
    fn a_flood_of_newcomers_displaces_no_peer() {
        let mut manager = ConnectionManager::new(ConnectionManagerConfig::default());
        (0..25).for_each(|number| connect(&mut manager, at(number.into()), [number]));
        let mut gone = Vec::new();
        for second in 100..400 {
            connect(&mut manager, at(second), (0..3).map(|n| 1000 + 3 * second as u32 + n));
            for peer in dropped(&mut manager, at(second)) {
                manager.disconnected(&peer);
                gone.push(peer);
            }
        }
        assert!((0..20).all(|number| manager.peers.contains_key(&peer(number))));
        assert!(gone.len() > 800 && manager.len() <= 30 + 3 * 31);
    }

    #[test]
    fn protected_peers_count_but_are_never_trimmed() {
        let mut manager = small();
        (0..6).for_each(|number| manager.connected(at(0), peer(number), true, true));
        assert_eq!((steps(&mut manager, at(100)), manager.next_wakeup()), (vec![], None));
        connect(&mut manager, at(0), [6]);
        assert_eq!(dropped(&mut manager, at(100)), [peer(6)]);
        manager.set_protected(&peer(3), false);
        assert_eq!(manager.next_wakeup(), Some(at(30)));
        assert_eq!(dropped(&mut manager, at(100)), [peer(3)]);
        assert_eq!(manager.len(), 5);
    }

    #[test]
    fn a_peer_protected_after_it_was_chosen_stays() {
        let mut manager = small();
        connect(&mut manager, at(0), 0..5);
        assert_eq!(manager.poll(at(30)), Some(ConnectionManagerStep::Drop(peer(0))));
        assert_eq!(manager.next_wakeup(), Some(at(0)));
        manager.set_protected(&peer(1), true);
        manager.disconnected(&peer(4));
        assert_eq!(dropped(&mut manager, at(30)), [peer(2)]);
        assert_eq!(manager.len(), 2);
    }

    #[test]
    fn the_least_valuable_peers_are_trimmed_first_and_the_mesh_last() {
        let mut manager = ConnectionManager::new(ConnectionManagerConfig {
            low: 0,
            high: 9,
            ..ConnectionManagerConfig::default()
        });
        // The peers are numbered in the order in which they are dropped.
        connect(&mut manager, at(0), [0, 1]);
        manager.set_score(&peer(0), -50.0);
        manager.set_score(&peer(1), -0.5);
        manager.set_mesh(&peer(1), 2);
        connect(&mut manager, at(1), [2]);
        connect(&mut manager, at(0), [3]);
        manager.connected(at(2), peer(4), false, false);
        manager.connected(at(0), peer(5), false, false);
        connect(&mut manager, at(2), [6, 7]);
        manager.set_gossips(&peer(6), true);
        manager.set_gossips(&peer(7), true);
        // A second connection, dialled by this node, is worth as much as a first one.
        manager.connected(at(9), peer(7), false, false);
        connect(&mut manager, at(3), [8, 9]);
        manager.set_mesh(&peer(8), 1);
        manager.set_mesh(&peer(9), 2);
        let all: Vec<_> = (0..10).map(peer).collect();
        assert_eq!(dropped(&mut manager, at(100)), all);
    }

    #[test]
    fn a_returning_peer_is_treated_as_new() {
        let mut manager = small();
        connect(&mut manager, at(0), 0..5);
        assert_eq!(dropped(&mut manager, at(30)), [peer(0), peer(1), peer(2)]);
        // The peer's new connection was established before the old one was closed.
        connect(&mut manager, at(31), [0]);
        manager.disconnected(&peer(1));
        connect(&mut manager, at(31), [1, 5]);
        assert_eq!((manager.len(), manager.leaving), (5, 1));
        assert_eq!((dropped(&mut manager, at(60)), manager.next_wakeup()), (vec![], Some(at(61))));
        assert_eq!(dropped(&mut manager, at(61)), [0, 1, 5].map(peer));
    }

    #[test]
    fn peers_that_are_not_static_have_no_effect() {
        let mut manager = ConnectionManager::default();
        manager.set_score(&peer(1), -1.0);
        manager.set_mesh(&peer(1), 1);
        manager.set_gossips(&peer(1), true);
        manager.set_protected(&peer(1), true);
        manager.disconnected(&peer(1));
        assert!(manager.is_empty());
    }

    #[test]
    fn negative_numbers_keep_their_order() {
        let sorted = [f64::NEG_INFINITY, -1e9, -2.0, -1.5, -1e-9, -0.0];
        assert!(sorted.is_sorted_by_key(|score| by_size(*score)));
    }

    proptest! {
        #[test]
        fn the_high_mark_is_exceeded_only_by_peers_that_may_not_be_trimmed(
            steps in prop::collection::vec((0_u32..30, 0_u8..7, any::<i8>()), 0..300),
        ) {
            let config = ConnectionManagerConfig::default();
            let config = ConnectionManagerConfig { low: 4, high: 8, ..config };
            let mut manager = ConnectionManager::new(config);
            let mut told = std::collections::BTreeSet::new();
            let mut now = 0;
            for (number, action, value) in steps {
                let name = peer(number);
                match action {
                    0..=2 => {
                        manager.connected(at(now), name, value % 2 == 0, value % 8 == 0);
                        told.remove(&name);
                    }
                    3 => {
                        manager.disconnected(&name);
                        told.remove(&name);
                    }
                    4 => manager.set_score(&name, value.into()),
                    5 => manager.set_mesh(&name, value.unsigned_abs().into()),
                    _ => now += u64::from(value.unsigned_abs()) / 8,
                }
                let before = manager.clone();
                while let Some(step) = manager.poll(at(now)) {
                    match step {
                        ConnectionManagerStep::Drop(peer) => {
                            let state = before.peers.get(&peer).expect("it was there");
                            prop_assert!(told.insert(peer), "told twice");
                            let grace = state.since + Duration::from_secs(30);
                            prop_assert!(!state.is_protected && at(now) >= grace);
                            prop_assert!(before.len() > 8 && manager.settled(at(now)) >= 4);
                        }
                        ConnectionManagerStep::Seek { missing } => prop_assert_eq!(
                            missing, 4_usize.saturating_sub(manager.len())
                        ),
                    }
                }
                prop_assert_eq!(manager.leaving, told.len());
                let wakes = manager.next_wakeup();
                prop_assert!(wakes.is_none_or(|wakes| wakes > at(now)));
                let stays = |state: &State| {
                    !state.may_be_trimmed() || at(now) < state.since + Duration::from_secs(30)
                };
                let is_enough = manager.settled(at(now)) <= 4;
                prop_assert!(manager.len() <= 8 || is_enough || manager.peers.values().all(stays));
            }
        }
    }
}
