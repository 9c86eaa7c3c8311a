//! P1 to P7: every counter of the gossip score, counted once, where it arises.
//!
//! The formula and the meaning of the parameters are those of
//! [`peers::score`](crate::peers::score); here the counters are complete, because the router sees
//! events that a gossip library does not report: copies (P3), deficits at a prune (P3b), the copies
//! of a rejected message (P4), and breaches of the protocol (P7).
//!
//! Counters decay only while a peer is connected. A peer that leaves with a positive score is
//! forgotten; otherwise its counters are frozen for the retention time. A browser shares its
//! address with others behind the same proxy, so P6 counts nodes only.
//!
//! # Bounds
//! [`MAX_SCORED_PEERS`] peers with [`MAX_IPS_PER_PEER`] addresses each; those that left longest ago
//! are forgotten first. If all of them are connected, a new one is not counted and scores 0.

use super::{Class, MAX_TOPICS, Topic};
use crate::peers::PeerId;
use crate::peers::score::{
    BlocksSnapshot, GossipSnapshot, MAX_IPS_PER_PEER, MAX_SCORED_PEERS, ScoreParams, TopicParams,
};
use crate::sorted::{SortedMap, SortedSet};
use crate::time::Instant;
use core::net::IpAddr;
use std::time::Duration;

/// The scores of all peers.
#[derive(Clone, Debug)]
pub(super) struct Scores {
    params: ScoreParams,
    live: [bool; MAX_TOPICS],
    peers: SortedMap<PeerId, Scored>,
    at_ip: SortedMap<IpAddr, usize>,
    /// Peers whose penalties grew since the owner last asked.
    fallen: SortedSet<PeerId>,
    next_decay: Instant,
}

#[derive(Clone, Debug)]
struct Scored {
    /// Time when the peer left, or `None` while it is connected.
    left: Option<Instant>,
    topics: [Counters; MAX_TOPICS],
    ips: Vec<IpAddr>,
    application: f64,
    behaviour: f64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counters {
    in_mesh_since: Option<Instant>,
    first_deliveries: f64,
    mesh_deliveries: f64,
    mesh_failures: f64,
    invalid: f64,
}

impl Counters {
    /// Returns the square of the missing deliveries of a peer that is long enough in the mesh.
    fn deficit(&self, now: Instant, of: &TopicParams) -> f64 {
        let Some(since) = self.in_mesh_since else { return 0.0 };
        if now.since(since) <= of.mesh_message_deliveries_activation {
            return 0.0;
        }
        let missing = (of.mesh_message_deliveries_threshold - self.mesh_deliveries).max(0.0);
        missing * missing
    }

    /// Applies the formula, with or without P1.
    fn score(&self, now: Instant, of: &TopicParams, time_counts: bool) -> f64 {
        let since = self.in_mesh_since.filter(|_| time_counts);
        let time = since.map(|since| now.since(since)).unwrap_or_default();
        let quanta = time.as_nanos() / of.time_in_mesh_quantum.as_nanos().max(1);
        of.topic_weight
            * ((quanta as f64).min(of.time_in_mesh_cap) * of.time_in_mesh_weight
                + self.first_deliveries * of.first_message_deliveries_weight
                + self.deficit(now, of) * of.mesh_message_deliveries_weight
                + self.mesh_failures * of.mesh_failure_penalty_weight
                + self.invalid * self.invalid * of.invalid_message_deliveries_weight)
    }

    fn decay(&mut self, of: &TopicParams, times: i32, floor: f64) {
        decay(&mut self.first_deliveries, of.first_message_deliveries_decay, times, floor);
        decay(&mut self.mesh_deliveries, of.mesh_message_deliveries_decay, times, floor);
        decay(&mut self.mesh_failures, of.mesh_failure_penalty_decay, times, floor);
        decay(&mut self.invalid, of.invalid_message_deliveries_decay, times, floor);
    }

    fn leave_mesh(&mut self, now: Instant, of: &TopicParams) {
        self.mesh_failures += self.deficit(now, of);
        self.in_mesh_since = None;
    }
}

impl Scored {
    fn new(left: Option<Instant>) -> Self {
        Self {
            left,
            topics: [Counters::default(); MAX_TOPICS],
            ips: Vec::new(),
            application: 0.0,
            behaviour: 0.0,
        }
    }
}

fn decay(counter: &mut f64, factor: f64, times: i32, floor: f64) {
    *counter *= factor.powi(times);
    if *counter < floor {
        *counter = 0.0;
    }
}

impl Scores {
    pub(super) fn new(now: Instant, params: ScoreParams) -> Self {
        Self {
            next_decay: now + params.decay_interval,
            params,
            live: [false; MAX_TOPICS],
            peers: SortedMap::new(),
            at_ip: SortedMap::new(),
            fallen: SortedSet::new(),
        }
    }

    pub(super) const fn set_live(&mut self, live: [bool; MAX_TOPICS]) {
        self.live = live;
    }

    pub(super) fn connected(&mut self, peer: PeerId, class: Class, ips: &[IpAddr]) {
        if !self.peers.contains_key(&peer) && !self.make_room() {
            return;
        }
        let scored = self.peers.get_or_insert_with(peer, || Scored::new(None));
        scored.left = None;
        for ip in std::mem::take(&mut scored.ips) {
            self.at_ip.decrement(&ip);
        }
        if class.is_browser() {
            return;
        }
        for ip in ips.iter().map(IpAddr::to_canonical).filter(|ip| !ip.is_loopback()) {
            if scored.ips.len() < MAX_IPS_PER_PEER && !scored.ips.contains(&ip) {
                scored.ips.push(ip);
                *self.at_ip.get_or_insert_with(ip, || 0) += 1;
            }
        }
    }

    pub(super) fn disconnected(&mut self, now: Instant, peer: &PeerId) {
        if self.peers.get(peer).is_none_or(|scored| scored.left.is_some()) {
            return;
        }
        if self.score(now, peer) > 0.0 {
            self.remove(peer);
            return;
        }
        let (live, params) = (self.live, &self.params);
        if let Some(scored) = self.peers.get_mut(peer) {
            scored.left = Some(now);
            for (counters, live) in scored.topics.iter_mut().zip(live) {
                counters.leave_mesh(now, params.topic(live));
                counters.first_deliveries = 0.0;
            }
        }
    }

    pub(super) fn set_application(&mut self, peer: &PeerId, score: f64) {
        if let Some(scored) = self.peers.get_mut(peer).filter(|_| score.is_finite()) {
            scored.application = score;
        }
    }

    pub(super) fn mesh(&mut self, now: Instant, peer: &PeerId, topic: Topic, in_mesh: bool) {
        let of = *self.params.topic(self.live[topic.index()]);
        if let Some(counters) = self.counters(peer, topic) {
            if in_mesh {
                counters.in_mesh_since.get_or_insert(now);
            } else {
                counters.leave_mesh(now, &of);
            }
        }
    }

    /// Counts an accepted message for the first peer that sent it.
    pub(super) fn first(&mut self, peer: &PeerId, topic: Topic) {
        let of = *self.params.topic(self.live[topic.index()]);
        if let Some(counters) = self.counters(peer, topic) {
            let cap = of.first_message_deliveries_cap;
            counters.first_deliveries = (counters.first_deliveries + 1.0).min(cap);
        }
        self.in_mesh_delivery(peer, topic);
    }

    /// Counts a copy of an accepted message that arrived in time. Once per message and peer.
    pub(super) fn in_mesh_delivery(&mut self, peer: &PeerId, topic: Topic) {
        let cap = self.params.topic(self.live[topic.index()]).mesh_message_deliveries_cap;
        if let Some(counters) = self.counters(peer, topic).filter(|c| c.in_mesh_since.is_some()) {
            counters.mesh_deliveries = (counters.mesh_deliveries + 1.0).min(cap);
        }
    }

    /// Counts a rejected message, also for a peer that has left in the meantime: if it was
    /// forgotten, it is remembered again.
    pub(super) fn invalid(&mut self, now: Instant, peer: &PeerId, topic: Topic) {
        if !self.peers.contains_key(peer) && !self.make_room() {
            return;
        }
        let scored = self.peers.get_or_insert_with(*peer, || Scored::new(Some(now)));
        scored.topics[topic.index()].invalid += 1.0;
        self.fallen.insert(*peer);
    }

    /// Counts breaches of the protocol.
    pub(super) fn breach(&mut self, peer: &PeerId, count: f64) {
        if let Some(scored) = self.peers.get_mut(peer) {
            scored.behaviour += count;
            self.fallen.insert(*peer);
        }
    }

    /// Returns a peer whose penalties grew since it was last returned.
    pub(super) fn poll_fallen(&mut self) -> Option<PeerId> {
        self.fallen.pop_first()
    }

    pub(super) fn score(&self, now: Instant, peer: &PeerId) -> f64 {
        let Some(scored) = self.peers.get(peer) else { return 0.0 };
        self.total(now, scored, scored.application, true)
    }

    /// Returns the score without P1: the time in the mesh, which a peer gains without doing
    /// anything.
    pub(super) fn merit(&self, now: Instant, peer: &PeerId) -> f64 {
        let Some(scored) = self.peers.get(peer) else { return 0.0 };
        self.total(now, scored, scored.application, false)
    }

    /// Applies the formula, with this application score, and with or without P1.
    fn total(&self, now: Instant, scored: &Scored, application: f64, time_counts: bool) -> f64 {
        let mut topics = 0.0;
        for (counters, live) in scored.topics.iter().zip(self.live) {
            topics += counters.score(now, self.params.topic(live), time_counts);
        }
        if self.params.topic_score_cap > 0.0 {
            topics = topics.min(self.params.topic_score_cap);
        }
        let excess = (scored.behaviour - self.params.behaviour_penalty_threshold).max(0.0);
        topics
            + application * self.params.application_weight
            + self.colocation(scored) * self.params.ip_colocation_weight
            + excess * excess * self.params.behaviour_penalty_weight
    }

    pub(super) fn snapshot(&self, now: Instant, peer: &PeerId) -> GossipSnapshot {
        let Some(scored) = self.peers.get(peer) else { return GossipSnapshot::default() };
        let mut blocks = BlocksSnapshot::default();
        for counters in &scored.topics {
            let time = counters.in_mesh_since.map(|since| now.since(since)).unwrap_or_default();
            blocks.time_in_mesh = blocks.time_in_mesh.max(time.as_secs_f64());
            blocks.first_message_deliveries += counters.first_deliveries;
            blocks.mesh_message_deliveries += counters.mesh_deliveries;
            blocks.invalid_message_deliveries += counters.invalid;
        }
        GossipSnapshot {
            total: self.score(now, peer),
            blocks,
            ip_colocation_factor: self.colocation(scored),
            behavioural_penalty: scored.behaviour,
        }
    }

    /// Returns the snapshot with the application's part left out of the total.
    pub(super) fn conduct(&self, now: Instant, peer: &PeerId) -> GossipSnapshot {
        let total = self.peers.get(peer).map_or(0.0, |scored| self.total(now, scored, 0.0, true));
        GossipSnapshot { total, ..self.snapshot(now, peer) }
    }

    /// Time within which a copy of an accepted message still counts as delivered.
    pub(super) const fn window(&self) -> Duration {
        self.params.live.mesh_message_deliveries_window
    }

    /// Decays the counters of connected peers once per elapsed interval.
    pub(super) fn tick(&mut self, now: Instant) {
        if now < self.next_decay {
            return;
        }
        let interval = self.params.decay_interval.max(Duration::from_millis(1));
        let missed = now.since(self.next_decay).as_nanos() / interval.as_nanos();
        let times = i32::try_from(missed + 1).unwrap_or(i32::MAX);
        let passed = interval.saturating_mul(u32::try_from(times).unwrap_or(u32::MAX));
        self.next_decay = (self.next_decay + passed).max(now);
        let (live, params) = (self.live, &self.params);
        for scored in self.peers.values_mut().filter(|scored| scored.left.is_none()) {
            for (counters, live) in scored.topics.iter_mut().zip(live) {
                counters.decay(params.topic(live), times, params.decay_to_zero);
            }
            let factor = params.behaviour_penalty_decay;
            decay(&mut scored.behaviour, factor, times, params.decay_to_zero);
        }
        let retain = params.retain_score;
        let expired = |scored: &Scored| scored.left.is_some_and(|left| left + retain < now);
        let gone: Vec<PeerId> = self
            .peers
            .iter()
            .filter(|(_, scored)| expired(scored))
            .map(|(peer, _)| *peer)
            .collect();
        gone.iter().for_each(|peer| self.remove(peer));
    }

    pub(super) fn len(&self) -> usize {
        self.peers.len()
    }

    fn counters(&mut self, peer: &PeerId, topic: Topic) -> Option<&mut Counters> {
        self.peers.get_mut(peer).map(|scored| &mut scored.topics[topic.index()])
    }

    fn colocation(&self, scored: &Scored) -> f64 {
        let surplus = |ip| {
            let peers = self.at_ip.get(ip).map_or(0.0, |peers| *peers as f64);
            (peers - self.params.ip_colocation_threshold).max(0.0)
        };
        scored.ips.iter().map(|ip| surplus(ip) * surplus(ip)).sum()
    }

    fn make_room(&mut self) -> bool {
        if self.peers.len() < MAX_SCORED_PEERS {
            return true;
        }
        let gone = self.peers.iter().filter_map(|(peer, scored)| Some((scored.left?, *peer))).min();
        if let Some((_, peer)) = gone {
            self.remove(&peer);
        }
        gone.is_some()
    }

    fn remove(&mut self, peer: &PeerId) {
        if let Some(scored) = self.peers.remove(peer) {
            scored.ips.iter().for_each(|ip| self.at_ip.decrement(ip));
        }
        self.fallen.remove(peer);
    }
}
