//! The gossip score of peers, and its terms (`go-libp2p-pubsub/score.go`).
//!
//! Our own counters are time in the mesh, first deliveries, rejected messages, and peers at one
//! address. A gossip library sees more (protocol breaches, and further peers that send an already
//! rejected message), but reveals only its total. The amount by which its total is below ours is
//! kept as the *unseen penalty*, which decays until the library reports again. Without a library,
//! as in the simulator, there is no unseen penalty.

use super::{Decays, MAX_SCORED_PEERS, ScoreParams, decayed};
use crate::payload::PayloadVersion;
use crate::peers::PeerId;
use crate::sorted::SortedMap;
use crate::time::Instant;
use core::net::IpAddr;
use serde::{Deserialize, Serialize};
use std::time::Duration;

#[cfg(test)]
mod tests;

/// Maximum number of addresses at which one peer is counted.
pub const MAX_IPS_PER_PEER: usize = 4;

/// Number of block topics.
const TOPICS: usize = PayloadVersion::ALL.len();

/// Unseen penalty, in points, that timing alone may cause, without any protocol breach. The library
/// decays its counters at other moments than we do, which accounts for 0.7 points per topic, and
/// judges a delivery slightly later, which accounts for 0.8. Breaches cost 16 points as soon as
/// they cost anything.
const CLOCK_SKEW: f64 = -2.0;

/// A peer's gossip score and its components (`gossip` in the score book).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GossipSnapshot {
    /// The total score, which includes all components.
    pub total: f64,
    /// Counters of the block topics, live or not.
    pub blocks: BlocksSnapshot,
    /// P6, before its weight is applied: the squared number of surplus peers, summed over the
    /// peer's addresses.
    #[serde(rename = "IPColocationFactor")]
    pub ip_colocation_factor: f64,
    /// P7, before its threshold and weight are applied: protocol breaches, decayed. Derived from
    /// the amount by which the library's total is below ours, so 0 as long as the breaches cost
    /// nothing.
    #[serde(rename = "behavioralPenalty")]
    pub behavioural_penalty: f64,
}

/// Counters of all block topics together (`blocks` in the score book).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BlocksSnapshot {
    /// Time in the mesh, in seconds, for the topic with the longest time.
    pub time_in_mesh: f64,
    /// Number of valid messages that the peer delivered first, decayed.
    pub first_message_deliveries: f64,
    /// Always 0: we don't see the duplicates of a message, and they have no weight.
    pub mesh_message_deliveries: f64,
    /// Number of rejected messages that the peer delivered, decayed.
    pub invalid_message_deliveries: f64,
}

/// The gossip score of each peer.
///
/// Counters decay only while a peer is connected. A peer that leaves with a positive score is
/// forgotten; otherwise its counters are frozen for the retention time, so that a peer can't shed a
/// bad score by leaving.
///
/// # Bounds
///
/// [`MAX_SCORED_PEERS`] peers with [`MAX_IPS_PER_PEER`] addresses each; those that left longest ago
/// are forgotten first.
#[derive(Clone, Debug)]
pub struct GossipScores {
    params: ScoreParams,
    live: [bool; TOPICS],
    peers: SortedMap<PeerId, Peer>,
    /// Number of peers at each address, including peers with frozen counters.
    at_ip: SortedMap<IpAddr, usize>,
    connected: usize,
    decays: Decays,
    limit: usize,
}

#[derive(Clone, Debug, Default)]
struct Peer {
    /// Time when the peer left, or `None` while it is connected.
    left: Option<Instant>,
    topics: [Topic; TOPICS],
    ips: Vec<IpAddr>,
    /// The unseen penalty: the library's total minus ours if that is negative, otherwise 0.
    unseen: f64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Topic {
    in_mesh_since: Option<Instant>,
    first_deliveries: f64,
    invalid_deliveries: f64,
}

impl Topic {
    fn time_in_mesh(&self, now: Instant) -> Duration {
        self.in_mesh_since.map(|since| now.since(since)).unwrap_or_default()
    }
}

impl GossipScores {
    /// Creates scores without any peers or live topics.
    pub const fn new(params: ScoreParams) -> Self {
        Self {
            params,
            live: [false; TOPICS],
            peers: SortedMap::new(),
            at_ip: SortedMap::new(),
            connected: 0,
            decays: Decays { next: None },
            limit: MAX_SCORED_PEERS,
        }
    }

    /// Returns the scoring parameters.
    pub const fn params(&self) -> &ScoreParams {
        &self.params
    }

    /// Sets which topics carry blocks from now on, indexed by [`PayloadVersion::index`].
    pub const fn set_live(&mut self, live: [bool; TOPICS]) {
        self.live = live;
    }

    /// Records a connection to `peer`, from the address `ip` if known. A peer with several
    /// connections is counted at each of its addresses; addresses that are loopback or belong to
    /// relays are not counted.
    pub fn connected(&mut self, now: Instant, peer: PeerId, ip: Option<IpAddr>) {
        self.tick(now);
        self.drop_expired(now);
        if !self.peers.contains_key(&peer) && !self.make_room() {
            return;
        }
        let known =
            self.peers.get_or_insert_with(peer, || Peer { left: Some(now), ..Peer::default() });
        if known.left.take().is_some() {
            self.connected += 1;
            self.decays.start(now, self.params.decay_interval);
            // The peer's earlier addresses no longer apply.
            for ip in std::mem::take(&mut known.ips) {
                self.at_ip.decrement(&ip);
            }
        }
        let ip = ip.map(|ip| ip.to_canonical()).filter(|ip| !ip.is_loopback());
        if let Some(ip) = ip
            && known.ips.len() < MAX_IPS_PER_PEER
            && !known.ips.contains(&ip)
        {
            known.ips.push(ip);
            *self.at_ip.get_or_insert_with(ip, || 0) += 1;
        }
    }

    /// Records that the last connection to `peer` was closed; `application` is the peer's
    /// application score.
    pub fn disconnected(&mut self, now: Instant, peer: &PeerId, application: f64) {
        self.tick(now);
        if self.peers.get(peer).is_none_or(|known| known.left.is_some()) {
            return;
        }
        let score = self.snapshot(now, peer, application).total;
        if score > 0.0 {
            self.remove(peer);
        } else if let Some(known) = self.peers.get_mut(peer) {
            known.left = Some(now);
            for topic in &mut known.topics {
                topic.in_mesh_since = None;
                topic.first_deliveries = 0.0;
            }
        }
        self.connected -= 1;
        if self.connected == 0 {
            self.decays.stop();
        }
    }

    /// Records that `peer` entered (`in_mesh`) or left our mesh of this topic.
    pub fn mesh(&mut self, now: Instant, peer: &PeerId, topic: PayloadVersion, in_mesh: bool) {
        if let Some(known) = self.peers.get_mut(peer).filter(|known| known.left.is_none()) {
            let since = &mut known.topics[topic.index()].in_mesh_since;
            *since = if in_mesh { since.or(Some(now)) } else { None };
        }
    }

    /// Records that `peer` was the first to deliver a valid message.
    pub fn delivered(&mut self, peer: &PeerId, topic: PayloadVersion) {
        let cap = self.params.topic(self.live[topic.index()]).first_message_deliveries_cap;
        if let Some(known) = self.peers.get_mut(peer).filter(|known| known.left.is_none()) {
            let count = &mut known.topics[topic.index()].first_deliveries;
            *count = (*count + 1.0).min(cap);
        }
    }

    /// Records that `peer` delivered a message that was rejected. Also counts if the peer has left
    /// in the meantime: a peer that was forgotten is remembered again, as if it had just left.
    pub fn rejected(&mut self, now: Instant, peer: &PeerId, topic: PayloadVersion) {
        if !self.peers.contains_key(peer) && !self.make_room() {
            return;
        }
        let known =
            self.peers.get_or_insert_with(*peer, || Peer { left: Some(now), ..Peer::default() });
        known.topics[topic.index()].invalid_deliveries += 1.0;
    }

    /// Takes the gossip library's own total for `peer`; `application` is the application score that
    /// was reported to the library.
    pub fn set_library_total(&mut self, now: Instant, peer: &PeerId, application: f64, total: f64) {
        let Some(known) = self.peers.get(peer).filter(|known| known.left.is_none()) else { return };
        let unseen = (total - self.seen(now, known, application)).min(0.0);
        // NaN or infinity would spoil every sum.
        if !unseen.is_finite() {
            return;
        }
        if let Some(known) = self.peers.get_mut(peer) {
            known.unseen = unseen;
        }
    }

    /// Decays the counters of the connected peers, once per elapsed interval, and forgets peers
    /// that left too long ago.
    pub fn tick(&mut self, now: Instant) {
        let times = self.decays.take(now, self.params.decay_interval);
        if times == 0 {
            return;
        }
        let (params, live, floor) = (&self.params, &self.live, self.params.decay_to_zero);
        for peer in self.peers.values_mut().filter(|peer| peer.left.is_none()) {
            for (topic, live) in peer.topics.iter_mut().zip(live) {
                let of = params.topic(*live);
                topic.first_deliveries = decayed(
                    topic.first_deliveries,
                    of.first_message_deliveries_decay,
                    times,
                    floor,
                );
                topic.invalid_deliveries = decayed(
                    topic.invalid_deliveries,
                    of.invalid_message_deliveries_decay,
                    times,
                    floor,
                );
            }
            peer.unseen = -decayed(-peer.unseen, params.behaviour_penalty_decay, times, floor);
        }
        self.drop_expired(now);
    }

    /// Returns the time at which [`Self::tick`] next has something to do.
    pub const fn next_wakeup(&self) -> Option<Instant> {
        self.decays.next
    }

    /// Returns the score of `peer`, whose application score is `application`. The total of an
    /// unknown peer consists of the application score alone.
    pub fn snapshot(&self, now: Instant, peer: &PeerId, application: f64) -> GossipSnapshot {
        let Some(known) = self.peers.get(peer).filter(|known| !self.is_expired(now, known)) else {
            let total = application * self.params.application_weight;
            return GossipSnapshot { total, ..GossipSnapshot::default() };
        };
        let mut blocks = BlocksSnapshot::default();
        for topic in &known.topics {
            blocks.time_in_mesh = blocks.time_in_mesh.max(topic.time_in_mesh(now).as_secs_f64());
            blocks.first_message_deliveries += topic.first_deliveries;
            blocks.invalid_message_deliveries += topic.invalid_deliveries;
        }
        GossipSnapshot {
            total: self.seen(now, known, application) + known.unseen,
            blocks,
            ip_colocation_factor: self.ip_colocation_factor(known),
            behavioural_penalty: self.behavioural_penalty(known),
        }
    }

    /// Applies the formula to our own counters.
    fn seen(&self, now: Instant, peer: &Peer, application: f64) -> f64 {
        let mut topics = 0.0;
        for (topic, live) in peer.topics.iter().zip(&self.live) {
            let of = self.params.topic(*live);
            let quanta =
                topic.time_in_mesh(now).as_nanos() / of.time_in_mesh_quantum.as_nanos().max(1);
            let score = (quanta as f64).min(of.time_in_mesh_cap) * of.time_in_mesh_weight
                + topic.first_deliveries * of.first_message_deliveries_weight
                + topic.invalid_deliveries
                    * topic.invalid_deliveries
                    * of.invalid_message_deliveries_weight;
            topics += score * of.topic_weight;
        }
        if self.params.topic_score_cap > 0.0 {
            topics = topics.min(self.params.topic_score_cap);
        }
        topics
            + application * self.params.application_weight
            + self.ip_colocation_factor(peer) * self.params.ip_colocation_weight
    }

    fn ip_colocation_factor(&self, peer: &Peer) -> f64 {
        let mut factor = 0.0;
        for ip in &peer.ips {
            let peers = self.at_ip.get(ip).map_or(0.0, |peers| *peers as f64);
            let surplus = (peers - self.params.ip_colocation_threshold).max(0.0);
            factor += surplus * surplus;
        }
        factor
    }

    /// Returns the P7 counter that would cause the unseen penalty.
    fn behavioural_penalty(&self, peer: &Peer) -> f64 {
        let (weight, threshold) =
            (self.params.behaviour_penalty_weight, self.params.behaviour_penalty_threshold);
        if peer.unseen > CLOCK_SKEW || weight >= 0.0 {
            return 0.0;
        }
        threshold + (peer.unseen / weight).sqrt()
    }

    fn is_expired(&self, now: Instant, peer: &Peer) -> bool {
        peer.left.is_some_and(|left| left + self.params.retain_score < now)
    }

    fn drop_expired(&mut self, now: Instant) {
        let expired: Vec<PeerId> = self
            .peers
            .iter()
            .filter(|(_, known)| self.is_expired(now, known))
            .map(|(peer, _)| *peer)
            .collect();
        expired.iter().for_each(|peer| self.remove(peer));
    }

    /// Makes room for one more peer, if necessary by forgetting the one that left longest ago.
    /// Returns `false` if that is impossible.
    fn make_room(&mut self) -> bool {
        if self.peers.len() < self.limit {
            return true;
        }
        let gone =
            self.peers.iter().filter_map(|(peer, known)| known.left.map(|left| (left, *peer)));
        let oldest = gone.min();
        if let Some((_, oldest)) = oldest {
            self.remove(&oldest);
        }
        oldest.is_some()
    }

    fn remove(&mut self, peer: &PeerId) {
        if let Some(known) = self.peers.remove(peer) {
            known.ips.iter().for_each(|ip| self.at_ip.decrement(ip));
        }
    }
}
