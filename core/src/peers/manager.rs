//! The peer manager: admits peers, scores and bans them, controls their number, and remembers them.
//!
//! [`PeerManager`] consists of the other types of the parent module, each of which is also usable
//! alone, and passes events between them:
//!
//! * The [`Gate`] and the [`ConnectionLimits`] answer each [`Knock`] at once, before any work is
//!   spent on the connection.
//! * [`ApplicationScores`] score how a peer serves blocks,
//!   [`GossipScores`](super::GossipScores) how it gossips, unless the node's router counts that.
//!   Whenever their sum changes, the [`BanPolicy`](super::BanPolicy) decides whether the peer is
//!   banned.
//! * The [`ConnectionManager`] keeps the number of peers between the low and the high mark;
//!   [`StaticPeers`] dials the operator's peers.
//! * The [`PeerBook`] remembers peers. Every change of the book and of the gate becomes a
//!   [`MemoryChange`](super::MemoryChange) for a store.
//!
//! # Exempt peers
//! *Static* peers (if they are [trusted](PeersConfig::trusts_static)) and peers that the operator
//! *protects* are never banned by score nor dropped as surplus, and need no free place. Block
//! lists and bans apply to them as to any peer: the operator made the block lists, and can lift
//! both.
//!
//! # Browsers
//! A peer is a *browser* if its first connection came in at the browsers' door, and stays one until
//! its last connection ends. The router treats it as a [browser](crate::mesh::Class::Browser). The
//! first connection decides, because a peer announces its topics only once, on any of its
//! connections, so all of them must join the same mesh.
//!
//! A browser has the same scores and bans as other peers, except for the penalty on peers at one
//! address, because it shares its address with a household, an office or a reverse proxy. It counts
//! neither as a peer nor as surplus; the limits of its door bound the number of browsers. Browsers
//! can't be dialled, so the addresses that they claim are ignored. A browser is remembered only if
//! its score is below zero: otherwise its record is neither stored while it is connected nor kept
//! after it leaves.
//!
//! A browser may open another connection at the nodes' door, and then takes one of the nodes'
//! places. While that connection stands, it counts as a peer, and its address counts like a node's.
//!
//! A browser has one connection. When it connects again, its older connection is closed and gives
//! up its place at once: the browser may have changed its network, or may have been reloaded, and
//! nothing tells this node that the old connection is dead.
//!
//! # Bounds
//! * Connected peers: bounded by the connection limits and by the driver's number of dials. Each
//!   part documents what it keeps per peer.
//! * Protected peers: [`MAX_PROTECTED`]; only the operator adds them.
//! * Peers dialled because peers are missing: [`DIALS_AT_ONCE`]. Peers waiting for a redial: at
//!   most as many as the book may have records; further peers get no back-off.
//! * Steps: those of one call, at most a few per peer.

mod absent;
mod configure;
mod connections;
mod counting;
mod judge;
mod knock;
mod read;
mod remember;
mod seek;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_configure;
#[cfg(test)]
mod tests_restart;
mod types;

pub use configure::{PeerLists, PeerListsChange};
pub use seek::{FIRST_REDIAL, LONGEST_REDIAL};
pub use types::{
    CommandId, DisconnectReason, Knock, PeerCommand, PeerEvent, PeerNews, PeerStep, PeersConfig,
};

use super::claims::may_claim;
use super::memory::{self, Entry};
use super::silence::SilenceMonitor;
use super::{
    ApplicationScores, BlockEntry, Conduct, ConnectionId, ConnectionLimits, ConnectionManager,
    ConnectionManagerStep, Gate, GateConfig, ListFull, PeerBook, PeerId, PeerInfo, PeerMetadata,
    StaticPeer, StaticPeers,
};
use crate::payload::PayloadVersion;
use crate::sorted::{SortedMap, SortedSet};
use crate::time::{Instant, Now};
use core::net::IpAddr;
use counting::GossipPart;
use seek::Redial;
use std::collections::VecDeque;
use std::time::Duration;

/// Interval between two snapshots of all scores, as in the reference.
pub const SNAPSHOT_INTERVAL: Duration = Duration::from_secs(15);
/// Interval between two collections of expired records.
pub const COLLECT_INTERVAL: Duration = Duration::from_secs(10 * 60);
/// Maximum number of remembered peers dialled at once, equal to the number of dial workers of the
/// reference's discovery.
pub const DIALS_AT_ONCE: usize = 4;
/// Maximum number of peers that an operator may protect.
pub const MAX_PROTECTED: usize = 1024;
/// Minimum duration of a useful connection. A peer that left sooner had no use for us; that counts
/// as a failed dial.
pub const SHORT_STAY: Duration = Duration::from_secs(5 * 60);

/// A connected peer.
#[derive(Clone, Debug, Default)]
struct Connected {
    since: Instant,
    is_inbound: bool,
    is_browser: bool,
    /// Whether the connection manager counts it.
    is_counted: bool,
    topics: u8,
    meshes: u8,
    /// The application score that was last reported to gossip.
    told: f64,
}

/// A connection whose handshake is done.
#[derive(Clone, Copy, Debug)]
struct Secured {
    peer: PeerId,
    ip: Option<IpAddr>,
    is_inbound: bool,
    /// Whether it came in at the browsers' door.
    is_browser_connection: bool,
    /// Whether the peer counts as a browser: the same for all connections of a peer.
    is_browser: bool,
}

/// Admission, scores, bans and memory of all peers: see the [module's documentation](self).
#[derive(Debug)]
pub struct PeerManager {
    config: PeersConfig,
    gate: Gate,
    limits: ConnectionLimits,
    application: ApplicationScores,
    gossip: GossipPart,
    connection_manager: ConnectionManager,
    statics: StaticPeers,
    silence: SilenceMonitor,
    protected: SortedSet<PeerId>,
    book: PeerBook,
    connected: SortedMap<PeerId, Connected>,
    /// All connections whose handshake is done.
    secured: SortedMap<ConnectionId, Secured>,
    dialling: SortedSet<PeerId>,
    redials: SortedMap<PeerId, Redial>,
    missing: usize,
    /// `None` while no peer is connected, after one last snapshot.
    next_snapshot: Option<Instant>,
    /// `None` while nothing is remembered.
    next_collect: Option<Instant>,
    steps: VecDeque<PeerStep>,
}

impl PeerManager {
    /// Creates a manager at `now`, with the entries `memory` from a store.
    pub fn new(
        now: Now,
        config: PeersConfig,
        block_time: u64,
        static_peers: impl IntoIterator<Item = StaticPeer>,
        memory: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>,
    ) -> Self {
        let params = config.scoring.params(block_time);
        let retention = params.as_ref().map_or(Duration::ZERO, |params| params.retain_score);
        let mut gate = Gate::new(GateConfig {
            min_score: config.min_score.filter(|_| params.is_some()),
            ..GateConfig::default()
        });
        let mut book = PeerBook::new(config.remembered, retention);
        let statics = StaticPeers::new(static_peers, now.monotonic, config.redial);
        for peer in statics.iter() {
            book.pin(*peer, true);
        }
        let (mut blocks, mut bans) = (Vec::new(), Vec::new());
        for (key, value) in memory {
            match memory::read(&key, &value) {
                Some(Entry::Peer(peer, record)) => {
                    // The static list was our only reason to know this peer, and the operator
                    // removed it from the list.
                    let is_removed = record.only_static && !statics.contains(&peer);
                    book.restore(peer, *record);
                    if is_removed {
                        book.clear(&peer);
                    }
                }
                Some(Entry::Ban(who, until)) => bans.push((who, until)),
                Some(Entry::Block(entry)) => blocks.push(entry),
                None => {}
            }
        }
        // This version has the same bounds, so it can't have written entries for which there is no
        // room.
        let _ = gate.restore(blocks, bans);
        let mut manager = Self {
            gate,
            limits: ConnectionLimits::new(config.limits),
            application: ApplicationScores::new(config.scoring, block_time),
            gossip: GossipPart::new(params),
            connection_manager: ConnectionManager::new(config.connections),
            statics,
            silence: SilenceMonitor::new(now.monotonic, config.silence),
            protected: SortedSet::new(),
            book,
            connected: SortedMap::new(),
            secured: SortedMap::new(),
            dialling: SortedSet::new(),
            redials: SortedMap::new(),
            missing: 0,
            next_snapshot: None,
            // A machine without a battery clock sets its time after the start, and what is expired
            // by a wrong time is lost.
            next_collect: Some(now.monotonic + COLLECT_INTERVAL),
            steps: VecDeque::new(),
            config,
        };
        manager.settle(now);
        manager
    }

    /// Sets the seed of the jitter of static peers' dials: see [`StaticPeers::with_seed`].
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.statics = self.statics.with_seed(seed);
        self
    }

    // ---- what happens ----

    /// Records that the first connection to a peer was established.
    pub fn connected(&mut self, now: Now, peer: PeerId) {
        if self.connected.contains_key(&peer) {
            return;
        }
        let is_inbound = self.connections(&peer).next().is_some_and(|secured| secured.is_inbound);
        let is_browser = self.came_as_browser(&peer) == Some(true);
        let is_counted = !is_browser || !self.has_browser_connections_only(&peer);
        self.statics.connected(now.monotonic, &peer);
        self.silence.connected(now.monotonic, peer);
        self.dialling.remove(&peer);
        // Its earlier conduct still counts, unless that is too long ago.
        let remembered = self.book.scores(now.unix_seconds(), &peer);
        self.application.restore(peer, remembered.req_resp);
        let is_new = self.book.get(&peer).is_none();
        self.book.connected(now.unix_seconds(), peer);
        if is_new && self.statics.contains(&peer) {
            self.book.known_as_static(&peer);
        }
        self.application.connected(now.monotonic, peer);
        let ip = self.node_ips(&peer).next();
        self.gossip.connected(now.monotonic, peer, ip);
        let since = now.monotonic;
        let connected =
            Connected { since, is_inbound, is_browser, is_counted, ..Connected::default() };
        self.connected.insert(peer, connected);
        if is_counted {
            self.connection_manager.connected(
                now.monotonic,
                peer,
                is_inbound,
                self.is_protected(&peer),
            );
        }
        self.next_snapshot.get_or_insert(now.monotonic + SNAPSHOT_INTERVAL);
        self.next_collect.get_or_insert(now.monotonic + COLLECT_INTERVAL);
        self.changed(now, &peer);
    }

    /// Records that the last connection to a peer was closed.
    pub fn disconnected(&mut self, now: Now, peer: &PeerId) {
        self.statics.disconnected(now.monotonic, peer);
        self.silence.disconnected(peer);
        if !self.connected.contains_key(peer) {
            return;
        }
        self.note(now, peer);
        let score = self.score(now, peer);
        let connected = self.connected.remove(peer).unwrap_or_default();
        if now.monotonic.since(connected.since) >= SHORT_STAY {
            self.redials.remove(peer);
        }
        if !connected.is_browser {
            self.redial_later(now, peer);
        }
        let application = self.application.score(peer);
        self.application.disconnected(now.monotonic, peer);
        // From now on, the book holds the counters.
        self.application.forget(peer);
        self.gossip.disconnected(now.monotonic, peer, application);
        self.connection_manager.disconnected(peer);
        self.book.disconnected(now.unix_seconds(), peer);
        self.forget_if_only_static(peer);
        if connected.is_browser && score >= 0.0 {
            self.book.forget(peer);
        }
    }

    /// Records that dialling a peer failed.
    pub fn dial_failed(&mut self, now: Now, peer: &PeerId) {
        self.statics.dial_failed(now.monotonic, peer);
        if self.dialling.remove(peer) {
            self.redial_later(now, peer);
        }
    }

    /// Records that the peer sent something, which shows that it is alive.
    pub fn heard(&mut self, now: Now, peer: &PeerId) {
        self.silence.heard(now.monotonic, peer);
    }

    /// Dials all waiting static peers at once, since the network may have come back or changed.
    /// Connected peers must soon be heard, or they count as silent.
    pub fn network_changed(&mut self, now: Now) {
        self.statics.expedite(now.monotonic);
        self.silence.probe(now.monotonic);
    }

    /// Records how a peer served one of our requests. Also counts if the peer has left in the
    /// meantime.
    pub fn conduct(&mut self, now: Now, peer: &PeerId, conduct: Conduct) {
        if !self.connected.contains_key(peer) {
            return self.absent_conduct(now, peer, Some(conduct));
        }
        self.application.record(peer, conduct);
        self.changed(now, peer);
    }

    /// Records that a peer was the first to deliver a block that was accepted.
    pub fn delivered(&mut self, now: Now, peer: &PeerId, topic: PayloadVersion) {
        if let Some(gossip) = self.gossip.counted() {
            gossip.delivered(peer, topic);
        }
        self.changed(now, peer);
    }

    /// Records that a peer sent a message that was rejected. Also counts if the peer has left in
    /// the meantime.
    pub fn rejected(&mut self, now: Now, peer: &PeerId, topic: PayloadVersion) {
        if let Some(gossip) = self.gossip.counted() {
            gossip.rejected(now.monotonic, peer, topic);
        }
        if !self.connected.contains_key(peer) {
            return self.absent_conduct(now, peer, None);
        }
        self.changed(now, peer);
    }

    /// Records that a peer entered or left the mesh of a topic.
    pub fn mesh(&mut self, now: Now, peer: &PeerId, topic: PayloadVersion, is_member: bool) {
        let Some(connected) = self.connected.get_mut(peer) else { return };
        let bit = 1 << topic.index();
        connected.meshes = if is_member { connected.meshes | bit } else { connected.meshes & !bit };
        self.connection_manager.set_mesh(peer, connected.meshes.count_ones() as usize);
        self.gossip.mesh(now.monotonic, peer, topic, is_member);
    }

    /// Records that a peer joined or left a topic.
    pub fn subscribed(&mut self, peer: &PeerId, topic: PayloadVersion, is_subscribed: bool) {
        let Some(connected) = self.connected.get_mut(peer) else { return };
        let bit = 1 << topic.index();
        connected.topics =
            if is_subscribed { connected.topics | bit } else { connected.topics & !bit };
        self.connection_manager.set_gossips(peer, connected.topics != 0);
    }

    /// Sets which topics are live: those that may carry a current block.
    pub fn set_live(&mut self, topics: [bool; PayloadVersion::ALL.len()]) {
        if let Some(gossip) = self.gossip.counted() {
            gossip.set_live(topics);
        }
    }

    /// Takes the gossip library's own scores, which reflect facts that this node can't see. This is
    /// the answer to [`PeerStep::Snapshot`].
    pub fn gossip_scores(&mut self, now: Now, scores: impl IntoIterator<Item = (PeerId, f64)>) {
        for (peer, total) in scores {
            let Some(connected) = self.connected.get(&peer) else { continue };
            if let Some(gossip) = self.gossip.counted() {
                gossip.set_library_total(now.monotonic, &peer, connected.told, total);
            }
            self.changed(now, &peer);
        }
        self.snapshot(now);
    }

    /// Records a peer's self-description. Of the addresses that it claims, names and addresses that
    /// would lead this node into its own network are ignored.
    pub fn identified(&mut self, now: Now, peer: &PeerId, mut info: PeerInfo) {
        if let Some(connected) = self.connected.get(peer) {
            let seen_at: Vec<IpAddr> = self.ips(peer).collect();
            let is_browser = connected.is_browser;
            info.addresses.retain(|address| !is_browser && may_claim(address, &seen_at));
            self.book.identified(now.unix_seconds(), peer, info);
        }
    }

    /// Records a peer's answer to a ping.
    pub fn pinged(&mut self, peer: &PeerId, round_trip: Duration) {
        self.book.pinged(peer, round_trip);
    }

    /// Records a peer of this chain that was found by discovery.
    pub fn discovered(
        &mut self,
        now: Now,
        peer: &PeerId,
        metadata: PeerMetadata,
        addresses: Vec<String>,
    ) {
        self.book.discovered(now.unix_seconds(), peer, metadata, addresses);
    }

    /// Executes an operator's command.
    ///
    /// # Errors
    /// If the list to which the command adds an entry is full.
    pub fn command(&mut self, now: Now, command: PeerCommand) -> Result<(), ListFull> {
        let until =
            |duration: Duration| now.unix_seconds().saturating_add(duration.as_secs().max(1));
        match command {
            PeerCommand::Block(entry) => {
                self.gate.block(entry)?;
                self.drop_refused(now, DisconnectReason::Blocked);
            }
            PeerCommand::Unblock(entry) => {
                self.gate.unblock(&entry);
            }
            PeerCommand::BanPeer(peer, duration) => self.ban(peer, until(duration), None),
            PeerCommand::UnbanPeer(peer) => {
                self.gate.lift_peer_ban(&peer);
            }
            PeerCommand::BanIp(ip, duration) => {
                self.gate.ban_ip(ip, until(duration));
                self.drop_refused(now, DisconnectReason::Banned);
            }
            PeerCommand::UnbanIp(ip) => {
                self.gate.lift_ip_ban(ip);
            }
            PeerCommand::Protect(peer, is_protected) => {
                if is_protected && self.protected.len() >= MAX_PROTECTED {
                    return Err(ListFull(MAX_PROTECTED));
                }
                let changed = if is_protected {
                    self.protected.insert(peer)
                } else {
                    self.protected.remove(&peer)
                };
                if changed {
                    self.book.pin(peer, self.is_protected(&peer));
                    self.connection_manager.set_protected(&peer, self.is_protected(&peer));
                    self.changed(now, &peer);
                }
            }
            PeerCommand::Disconnect(peer) => {
                self.book.clear(&peer);
                self.gate.unblock(&BlockEntry::Peer(peer));
                self.drop_peer(peer, DisconnectReason::Asked);
            }
        }
        Ok(())
    }

    /// Saves all scores before the node stops, for the next start.
    pub fn stopping(&mut self, now: Now) {
        self.snapshot(now);
    }

    // ---- outputs ----

    /// Performs everything that is due at `now`.
    pub fn settle(&mut self, now: Now) {
        if let Some(gossip) = self.gossip.counted() {
            gossip.tick(now.monotonic);
        }
        if self.application.next_wakeup().is_some_and(|at| at <= now.monotonic) {
            self.application.tick(now.monotonic);
            let peers: Vec<PeerId> = self.connected.keys().copied().collect();
            for peer in peers {
                self.changed(now, &peer);
            }
        }
        if self.next_snapshot.is_some_and(|at| at <= now.monotonic) {
            self.next_snapshot =
                Some(now.monotonic + SNAPSHOT_INTERVAL).filter(|_| !self.connected.is_empty());
            if self.gossip.is_on() && !self.connected.is_empty() {
                self.steps.push_back(PeerStep::Snapshot);
            }
            self.remember();
        }
        if self.next_collect.is_some_and(|at| at <= now.monotonic) {
            self.book.collect(now.unix_seconds());
            self.next_collect =
                Some(now.monotonic + COLLECT_INTERVAL).filter(|_| !self.book.is_empty());
            let known = &self.book;
            self.redials.retain(|peer, _| known.get(peer).is_some());
        }
        while let Some(peer) = self.statics.poll(now.monotonic) {
            self.dial(now, peer);
        }
        while let Some(peer) = self.silence.poll(now.monotonic) {
            self.statics.silent(&peer);
            self.drop_peer(peer, DisconnectReason::Silent);
        }
        self.connection_manager.set_may_find_more(self.book.len() > self.connected.len());
        while let Some(step) = self.connection_manager.poll(now.monotonic) {
            match step {
                ConnectionManagerStep::Drop(peer) => {
                    self.drop_peer(peer, DisconnectReason::Surplus);
                }
                ConnectionManagerStep::Seek { missing } => {
                    if (missing == 0) != (self.missing == 0) {
                        self.steps.push_back(PeerStep::Event(PeerEvent::Lacking(missing > 0)));
                    }
                    self.missing = missing;
                    self.seek(now, missing);
                }
            }
        }
        let mut changes = Vec::new();
        while let Some(change) = self.gate.poll_change() {
            changes.push(memory::gate_change(&change));
        }
        if !changes.is_empty() {
            self.steps.push_back(PeerStep::Remember(changes));
        }
    }

    /// Returns the next step, or `None` if nothing is left to do for now.
    pub fn poll(&mut self) -> Option<PeerStep> {
        self.steps.pop_front()
    }

    /// Returns the time at which to call [`Self::settle`] if nothing happens earlier.
    pub fn next_wakeup(&self) -> Option<Instant> {
        // Gossip's counters have no timer of their own: overdue decays are made up for later.
        let timers = [self.next_snapshot, self.next_collect, self.connection_manager.next_wakeup()];
        let others = [
            self.statics.next_wakeup(),
            self.silence.next_wakeup(),
            self.application.next_wakeup(),
        ];
        timers.into_iter().chain(others).flatten().min()
    }
}
