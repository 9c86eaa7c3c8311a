//! The peers together: who may connect, what behaviour costs, who is kept, who is banned, what is remembered.
//!
//! [`PeerManager`] is made of the machines beside it, each usable alone, and routes between them:
//!
//! * the [`Gate`] and the [`ConnectionLimits`] answer each [`Knock`] at once, before any work is spent on it;
//! * [`ApplicationScores`] count how a peer serves blocks, [`GossipScores`] how it gossips; their sum decides, by the
//!   [`BanPolicy`](super::BanPolicy), whether the peer is banned the moment that it changes;
//! * the [`Tide`] keeps the number of peers between low and high, [`StaticPeers`] dials the operator's;
//! * the [`PeerBook`] remembers, and every change of it and of the gate leaves as a
//!   [`MemoryChange`](super::MemoryChange) for a store.
//!
//! # Who is exempt
//! *Static* peers (if they are [trusted](PeersConfig::trusts_static)) and those that the operator *protects* are never
//! banned by score nor dropped by the tide, and need no free place. Block lists and bans hold for them like for anybody:
//! the operator made the first and can lift both.
//!
//! # Browsers
//! A peer all of whose connections came in at the browsers' door is a *browser* for as long as that is so. It has the
//! same scores, and the same bans, but for peers at one address, which it shares with a household, an office or a
//! reverse proxy. It does not count in the tide, neither as a peer nor as one too many: the limits of its door bound it.
//! Nobody can dial it, so what it says of its addresses is left out, and it is remembered only if its score is below
//! zero: neither stored before, nor known after it left.
//!
//! # Bounds
//! * Connected peers: the limits' and what the driver dials. What is kept of each is in the part's documentation.
//! * Protected peers: [`MAX_PROTECTED`]; the operator fills them.
//! * Peers being dialled for lack of peers: [`DIALS_AT_ONCE`]. Those that are left alone for a while: as many as the
//!   book may have records; one more is not left alone.
//! * Steps: what one call produced; a peer leaves at most a few.

mod types;

pub use types::{CommandId, Farewell, Knock, PeerCommand, PeerEvent, PeerNews, PeerStep, PeersConfig};

use super::memory::{self, Entry};
use super::vigil::Vigil;
use super::{
    ApplicationScores, BlockEntry, Conduct, ConnectionId, ConnectionLimits, Denied, Door, Gate, GateConfig,
    GateCounts, GossipScores, ListFull, PeerBook, PeerId, PeerInfo, PeerMetadata, PeerScores, Stage,
    Standing, StaticPeers, Tide, TideStep,
};
use crate::payload::PayloadVersion;
use crate::sorted::{SortedMap, SortedSet};
use crate::time::{Instant, Now};
use core::net::IpAddr;
use std::collections::VecDeque;
use std::time::Duration;

/// Time between two snapshots of all scores, as in the reference.
pub const SNAPSHOT_INTERVAL: Duration = Duration::from_secs(15);
/// Time between two collections of what is too old.
pub const COLLECT_INTERVAL: Duration = Duration::from_secs(10 * 60);
/// Remembered peers that are dialled at once, as the reference's discovery has workers.
pub const DIALS_AT_ONCE: usize = 4;
/// Peers that an operator may protect.
pub const MAX_PROTECTED: usize = 1024;
/// Wait after a remembered peer could not be dialled; each further one is twice as long, up to [`LONGEST_REDIAL`].
pub const FIRST_REDIAL: Duration = Duration::from_secs(20);
/// A peer that left sooner than this after it came had no use for us, and is dialled as one that did not answer.
pub const SHORT_STAY: Duration = Duration::from_secs(5 * 60);
/// Longest wait between two attempts at a remembered peer.
pub const LONGEST_REDIAL: Duration = Duration::from_secs(60 * 60);

/// A connected peer.
#[derive(Clone, Debug, Default)]
struct Connected {
    since: Instant,
    is_inbound: bool,
    is_browser: bool,
    topics: u8,
    meshes: u8,
    /// The last application score that gossip was told.
    told: f64,
}

/// A connection whose handshake is done.
#[derive(Clone, Copy, Debug)]
struct Secured {
    peer: PeerId,
    ip: Option<IpAddr>,
    is_inbound: bool,
    is_of_browser: bool,
}

/// A remembered peer that could not be dialled.
#[derive(Clone, Copy, Debug)]
struct Redial {
    at: Instant,
    wait: Duration,
}

/// The manager: see the [module's documentation](self).
#[derive(Debug)]
pub struct PeerManager {
    config: PeersConfig,
    gate: Gate,
    limits: ConnectionLimits,
    application: ApplicationScores,
    /// Nothing at [`Scoring::None`](super::Scoring::None).
    gossip: Option<GossipScores>,
    tide: Tide,
    statics: StaticPeers,
    vigil: Vigil,
    protected: SortedSet<PeerId>,
    book: PeerBook,
    connected: SortedMap<PeerId, Connected>,
    /// Every connection whose handshake is done.
    secured: SortedMap<ConnectionId, Secured>,
    dialling: SortedSet<PeerId>,
    redials: SortedMap<PeerId, Redial>,
    missing: usize,
    /// While somebody is connected, and once after.
    next_snapshot: Option<Instant>,
    /// While anything is remembered.
    next_collect: Option<Instant>,
    steps: VecDeque<PeerStep>,
}

impl PeerManager {
    /// The peers at `now`, with what a store kept of them.
    pub fn new(
        now: Now,
        config: PeersConfig,
        block_time: u64,
        static_peers: impl IntoIterator<Item = PeerId>,
        memory: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>,
    ) -> Self {
        let params = config.scoring.params(block_time);
        let retention = params.as_ref().map_or(Duration::ZERO, |params| params.retain_score);
        let mut gate = Gate::new(GateConfig {
            min_score: config.min_score.filter(|_| params.is_some()),
            ..GateConfig::default()
        });
        let mut book = PeerBook::new(config.remembered, retention);
        let statics: Vec<PeerId> = static_peers.into_iter().collect();
        for peer in &statics {
            book.pin(*peer, true);
        }
        let (mut blocks, mut bans) = (Vec::new(), Vec::new());
        for (key, value) in memory {
            match memory::read(&key, &value) {
                Some(Entry::Peer(peer, record)) => book.restore(peer, *record),
                Some(Entry::Ban(who, until)) => bans.push((who, until)),
                Some(Entry::Block(entry)) => blocks.push(entry),
                None => {}
            }
        }
        // What finds no room was not kept by this version, whose bounds are the same.
        let _ = gate.restore(blocks, bans);
        let mut manager = Self {
            gate,
            limits: ConnectionLimits::new(config.limits),
            application: ApplicationScores::new(config.scoring, block_time),
            gossip: params.map(GossipScores::new),
            tide: Tide::new(config.tide),
            statics: StaticPeers::new(statics, now.monotonic, config.redial),
            vigil: Vigil::new(now.monotonic, config.silence),
            protected: SortedSet::new(),
            book,
            connected: SortedMap::new(),
            secured: SortedMap::new(),
            dialling: SortedSet::new(),
            redials: SortedMap::new(),
            missing: 0,
            next_snapshot: None,
            next_collect: Some(now.monotonic),
            steps: VecDeque::new(),
            config,
        };
        manager.settle(now);
        manager
    }

    // ---- at the door ----

    /// Whether a connection may go on. The one decision for dialling and accepting alike.
    ///
    /// # Errors
    /// Why it may not.
    pub fn knock(&mut self, now: Now, knock: &Knock) -> Result<(), Denied> {
        match *knock {
            Knock::DialPeer(peer) => self.gate.dial_peer(now, &peer, self.standing(now, &peer)),
            Knock::DialAddress(ip) => self.gate.dial_address(now, None, Some(ip)),
            Knock::Accept { id, door, ip } => {
                self.gate.accept(now, ip)?;
                self.limits.accept(id, door, ip)
            }
            Knock::Secured { id, door, peer, ip, is_inbound } => {
                let standing = self.standing(now, &peer);
                if let Err(denied) = self.gate.secured(now, &peer, ip, is_inbound, standing) {
                    self.limits.ended(id);
                    return Err(denied);
                }
                self.limits.established(id, door, peer, ip, is_inbound, standing.is_exempt)?;
                let is_of_browser = is_inbound && door == Door::Browser;
                self.secured.insert(id, Secured { peer, ip, is_inbound, is_of_browser });
                self.sort(now, &peer);
                Ok(())
            }
            Knock::Ended(id) => {
                self.limits.ended(id);
                if let Some(Secured { peer, .. }) = self.secured.remove(&id) {
                    self.sort(now, &peer);
                }
                Ok(())
            }
        }
    }

    fn standing(&self, now: Now, peer: &PeerId) -> Standing {
        Standing { score: self.score(now, peer), is_exempt: self.is_protected(peer) }
    }

    // ---- what happens ----

    /// The first connection to a peer stands.
    pub fn connected(&mut self, now: Now, peer: PeerId) {
        if self.connected.contains_key(&peer) {
            return;
        }
        let is_inbound = self.connections(&peer).next().is_some_and(|secured| secured.is_inbound);
        let is_browser = self.has_browser_connections_only(&peer);
        self.statics.connected(&peer);
        self.vigil.connected(now.monotonic, peer);
        self.dialling.remove(&peer);
        // What it did before counts on, if it is not too old.
        let remembered = self.book.scores(now.unix_seconds(), &peer);
        self.application.restore(peer, remembered.req_resp);
        self.book.connected(now.unix_seconds(), peer);
        self.application.connected(now.monotonic, peer);
        let ip = self.node_ips(&peer).next();
        if let Some(gossip) = &mut self.gossip {
            gossip.connected(now.monotonic, peer, ip);
        }
        let connected = Connected { since: now.monotonic, is_inbound, is_browser, ..Connected::default() };
        self.connected.insert(peer, connected);
        if !is_browser {
            self.tide.connected(now.monotonic, peer, is_inbound, self.is_protected(&peer));
        }
        self.next_snapshot.get_or_insert(now.monotonic + SNAPSHOT_INTERVAL);
        self.next_collect.get_or_insert(now.monotonic + COLLECT_INTERVAL);
        self.changed(now, &peer);
    }

    /// The last connection to a peer is gone.
    pub fn disconnected(&mut self, now: Now, peer: &PeerId) {
        self.statics.disconnected(now.monotonic, peer);
        self.vigil.disconnected(peer);
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
        // From here on the book has them.
        self.application.forget(peer);
        if let Some(gossip) = &mut self.gossip {
            gossip.disconnected(now.monotonic, peer, application);
        }
        self.tide.disconnected(peer);
        self.book.disconnected(now.unix_seconds(), peer);
        if connected.is_browser && score >= 0.0 {
            self.book.forget(peer);
        }
    }

    /// An attempt to connect to a peer failed.
    pub fn dial_failed(&mut self, now: Now, peer: &PeerId) {
        self.statics.dial_failed(now.monotonic, peer);
        if self.dialling.remove(peer) {
            self.redial_later(now, peer);
        }
    }

    /// Something came from a peer: it is there.
    pub fn heard(&mut self, now: Now, peer: &PeerId) {
        self.vigil.heard(now.monotonic, peer);
    }

    /// There may be a network again, or another one: static peers that wait are dialled at once.
    pub fn network_changed(&mut self, now: Now) {
        self.statics.hurry(now.monotonic);
    }

    /// How a peer served us.
    pub fn conduct(&mut self, now: Now, peer: &PeerId, conduct: Conduct) {
        self.application.record(peer, conduct);
        self.changed(now, peer);
    }

    /// A peer was the first to deliver a block that was accepted.
    pub fn delivered(&mut self, now: Now, peer: &PeerId, topic: PayloadVersion) {
        if let Some(gossip) = &mut self.gossip {
            gossip.delivered(peer, topic);
        }
        self.changed(now, peer);
    }

    /// A peer sent a message that was rejected.
    pub fn rejected(&mut self, now: Now, peer: &PeerId, topic: PayloadVersion) {
        if let Some(gossip) = &mut self.gossip {
            gossip.rejected(peer, topic);
        }
        self.changed(now, peer);
    }

    /// A peer entered or left the mesh of a topic.
    pub fn mesh(&mut self, now: Now, peer: &PeerId, topic: PayloadVersion, is_member: bool) {
        let Some(connected) = self.connected.get_mut(peer) else { return };
        let bit = 1 << topic.index();
        connected.meshes = if is_member { connected.meshes | bit } else { connected.meshes & !bit };
        self.tide.set_mesh(peer, connected.meshes.count_ones() as usize);
        if let Some(gossip) = &mut self.gossip {
            gossip.mesh(now.monotonic, peer, topic, is_member);
        }
    }

    /// A peer joined or left a topic.
    pub fn subscribed(&mut self, peer: &PeerId, topic: PayloadVersion, is_subscribed: bool) {
        let Some(connected) = self.connected.get_mut(peer) else { return };
        let bit = 1 << topic.index();
        connected.topics = if is_subscribed { connected.topics | bit } else { connected.topics & !bit };
        self.tide.set_gossips(peer, connected.topics != 0);
    }

    /// Which topics are live: those on which a block of now may come.
    pub const fn set_live(&mut self, topics: [bool; PayloadVersion::ALL.len()]) {
        if let Some(gossip) = &mut self.gossip {
            gossip.set_live(topics);
        }
    }

    /// Gossip's own scores, which know of what we can't see. Answers [`PeerStep::Snapshot`].
    pub fn gossip_scores(&mut self, now: Now, scores: impl IntoIterator<Item = (PeerId, f64)>) {
        for (peer, total) in scores {
            let Some(connected) = self.connected.get(&peer) else { continue };
            if let Some(gossip) = &mut self.gossip {
                gossip.set_library_total(now.monotonic, &peer, connected.told, total);
            }
            self.changed(now, &peer);
        }
        self.snapshot(now);
    }

    /// A peer said who it is.
    pub fn identified(&mut self, now: Now, peer: &PeerId, mut info: PeerInfo) {
        if let Some(connected) = self.connected.get(peer) {
            if connected.is_browser {
                info.addresses.clear();
            }
            self.book.identified(now.unix_seconds(), peer, info);
        }
    }

    /// A peer answered a ping.
    pub fn pinged(&mut self, peer: &PeerId, round_trip: Duration) {
        self.book.pinged(peer, round_trip);
    }

    /// Discovery found a peer of this chain.
    pub fn discovered(&mut self, now: Now, peer: &PeerId, metadata: PeerMetadata, addresses: Vec<String>) {
        self.book.discovered(now.unix_seconds(), peer, metadata, addresses);
    }

    /// An operator's wish.
    ///
    /// # Errors
    /// If the list that it would be put on is full.
    pub fn command(&mut self, now: Now, command: PeerCommand) -> Result<(), ListFull> {
        let until = |duration: Duration| now.unix_seconds().saturating_add(duration.as_secs().max(1));
        match command {
            PeerCommand::Block(entry) => {
                self.gate.block(entry)?;
                self.turn_out(now, Farewell::Blocked);
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
                self.turn_out(now, Farewell::Banned);
            }
            PeerCommand::UnbanIp(ip) => {
                self.gate.lift_ip_ban(ip);
            }
            PeerCommand::Protect(peer, is_protected) => {
                if is_protected && self.protected.len() >= MAX_PROTECTED {
                    return Err(ListFull(MAX_PROTECTED));
                }
                let changed =
                    if is_protected { self.protected.insert(peer) } else { self.protected.remove(&peer) };
                if changed {
                    self.book.pin(peer, self.is_protected(&peer));
                    self.tide.set_protected(&peer, self.is_protected(&peer));
                    self.changed(now, &peer);
                }
            }
            PeerCommand::Disconnect(peer) => {
                self.book.clear(&peer);
                self.gate.unblock(&BlockEntry::Peer(peer));
                self.turn_out_one(peer, Farewell::Asked);
            }
        }
        Ok(())
    }

    /// The last words before a stop: what the next start has to know.
    pub fn stopping(&mut self, now: Now) {
        self.snapshot(now);
    }

    // ---- what follows ----

    /// What is due at `now`.
    pub fn settle(&mut self, now: Now) {
        if let Some(gossip) = &mut self.gossip {
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
            if self.gossip.is_some() && !self.connected.is_empty() {
                self.steps.push_back(PeerStep::Snapshot);
            }
            self.remember();
        }
        if self.next_collect.is_some_and(|at| at <= now.monotonic) {
            self.book.collect(now.unix_seconds());
            self.next_collect = Some(now.monotonic + COLLECT_INTERVAL).filter(|_| !self.book.is_empty());
            let known = &self.book;
            self.redials.retain(|peer, _| known.get(peer).is_some());
        }
        while let Some(peer) = self.statics.poll(now.monotonic) {
            self.steps.push_back(PeerStep::Dial(peer));
        }
        while let Some(peer) = self.vigil.poll(now.monotonic) {
            self.turn_out_one(peer, Farewell::Silent);
        }
        self.tide.set_hope(self.book.len() > self.connected.len());
        while let Some(step) = self.tide.poll(now.monotonic) {
            match step {
                TideStep::Drop(peer) => self.turn_out_one(peer, Farewell::Surplus),
                TideStep::Seek { missing } => {
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

    /// The next thing to do; `None` when all is done for now.
    pub fn poll(&mut self) -> Option<PeerStep> {
        self.steps.pop_front()
    }

    /// When [`Self::settle`] has something to do, if nothing happens before.
    pub fn next_wakeup(&self) -> Option<Instant> {
        // Gossip's counters have no timer of their own: a decay that is late is made up for.
        let timers = [self.next_snapshot, self.next_collect, self.tide.next_wakeup()];
        let others = [self.statics.next_wakeup(), self.vigil.next_wakeup(), self.application.next_wakeup()];
        timers.into_iter().chain(others).flatten().min()
    }

    // ---- what is known ----

    /// Everything that is remembered.
    pub const fn book(&self) -> &PeerBook {
        &self.book
    }

    /// Block lists and bans.
    pub const fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Connections that stand or are being made.
    pub const fn limits(&self) -> &ConnectionLimits {
        &self.limits
    }

    /// What the gate decided until now.
    pub fn counts(&self) -> GateCounts {
        self.gate.counts()
    }

    /// How many peers are missing below the low mark.
    pub const fn missing(&self) -> usize {
        self.missing
    }

    /// Connected peers.
    pub fn connected_peers(&self) -> impl ExactSizeIterator<Item = &PeerId> {
        self.connected.keys()
    }

    /// Whether the peer is one of the operator's list.
    pub fn is_static(&self, peer: &PeerId) -> bool {
        self.statics.contains(peer)
    }

    /// How a static peer stands; `None` if it is none.
    pub fn stage(&self, peer: &PeerId) -> Option<Stage> {
        self.statics.stage(peer)
    }

    /// Whether the peer is never dropped nor banned by score: trusted static ones, and those that the operator
    /// protects.
    pub fn is_protected(&self, peer: &PeerId) -> bool {
        (self.config.trusts_static && self.statics.contains(peer)) || self.protected.contains(peer)
    }

    /// Whether the peer dialled us; `None` if it is not connected.
    pub fn is_inbound(&self, peer: &PeerId) -> Option<bool> {
        self.connected.get(peer).map(|connected| connected.is_inbound)
    }

    /// Whether all connections of the peer came in at the browsers' door; `None` if it is not connected.
    pub fn is_browser(&self, peer: &PeerId) -> Option<bool> {
        self.connected.get(peer).map(|connected| connected.is_browser)
    }

    /// Whether the peer is connected and joined the topic of this version.
    pub fn is_subscribed(&self, peer: &PeerId, topic: PayloadVersion) -> bool {
        self.connected.get(peer).is_some_and(|connected| connected.topics & (1 << topic.index()) != 0)
    }

    /// Whether the peer is in our mesh of the topic of this version.
    pub fn is_in_mesh(&self, peer: &PeerId, topic: PayloadVersion) -> bool {
        self.connected.get(peer).is_some_and(|connected| connected.meshes & (1 << topic.index()) != 0)
    }

    /// Addresses where a remembered peer may be dialled.
    pub fn addresses(&self, now: Now, peer: &PeerId) -> impl Iterator<Item = &str> {
        self.book.addresses(now.unix_seconds(), peer)
    }

    /// A peer's score, all parts together: of a connected one as it is, of others as it is remembered.
    pub fn score(&self, now: Now, peer: &PeerId) -> f64 {
        self.scores(now, peer).gossip.total
    }

    /// A peer's scores in parts.
    pub fn scores(&self, now: Now, peer: &PeerId) -> PeerScores {
        let Some(gossip) = &self.gossip else { return PeerScores::default() };
        if !self.connected.contains_key(peer) {
            return self.book.scores(now.unix_seconds(), peer);
        }
        let application = self.application.score(peer);
        PeerScores {
            gossip: gossip.snapshot(now.monotonic, peer, application),
            req_resp: self.application.counters(peer),
        }
    }

    // ---- inside ----

    fn connections(&self, peer: &PeerId) -> impl Iterator<Item = &Secured> {
        self.secured.values().filter(move |secured| secured.peer == *peer)
    }

    /// Addresses of a peer's connections.
    fn ips(&self, peer: &PeerId) -> impl Iterator<Item = IpAddr> {
        self.connections(peer).filter_map(|secured| secured.ip)
    }

    /// Those of them at which the peer counts as one of several: browsers' don't.
    fn node_ips(&self, peer: &PeerId) -> impl Iterator<Item = IpAddr> {
        self.connections(peer).filter(|secured| !secured.is_of_browser).filter_map(|secured| secured.ip)
    }

    fn has_browser_connections_only(&self, peer: &PeerId) -> bool {
        let mut connections = self.connections(peer).peekable();
        connections.peek().is_some() && connections.all(|secured| secured.is_of_browser)
    }

    /// A connected peer has a connection more or less: it may be a browser now that was none, or the reverse.
    fn sort(&mut self, now: Now, peer: &PeerId) {
        // Its last connection ended, of which `disconnected` is about to be told.
        if self.connections(peer).next().is_none() {
            return;
        }
        let is_browser = self.has_browser_connections_only(peer);
        let Some(connected) = self.connected.get_mut(peer).filter(|known| known.is_browser != is_browser)
        else {
            return;
        };
        connected.is_browser = is_browser;
        let Connected { is_inbound, topics, meshes, .. } = *connected;
        if is_browser {
            self.tide.disconnected(peer);
            return;
        }
        let ip = self.node_ips(peer).next();
        if let Some(gossip) = &mut self.gossip {
            gossip.connected(now.monotonic, *peer, ip);
        }
        let is_inbound = is_inbound && self.connections(peer).all(|secured| secured.is_inbound);
        self.tide.connected(now.monotonic, *peer, is_inbound, self.is_protected(peer));
        self.tide.set_mesh(peer, meshes.count_ones() as usize);
        self.tide.set_gossips(peer, topics != 0);
        self.tide.set_score(peer, self.score(now, peer));
    }

    /// A peer's score may be another one now: tells gossip and the tide, and judges.
    fn changed(&mut self, now: Now, peer: &PeerId) {
        if !self.connected.contains_key(peer) {
            return;
        }
        self.tell_application_score(peer);
        let score = self.score(now, peer);
        self.tide.set_score(peer, score);
        if self.gossip.is_none() || self.gate.holds(now, peer, &[]) {
            return;
        }
        if let Some(until) = self.config.bans.judge(now.unix_seconds(), score, self.is_protected(peer)) {
            self.note(now, peer);
            self.ban(*peer, until, Some(score));
        }
    }

    /// The wall clock has jumped by so many seconds.
    pub(crate) fn clock_jumped(&mut self, seconds: i64) {
        self.gate.clock_jumped(seconds);
    }

    fn tell_application_score(&mut self, peer: &PeerId) {
        let application = self.application.score(peer);
        if let Some(connected) = self.connected.get_mut(peer)
            && connected.told != application
        {
            connected.told = application;
            self.steps.push_back(PeerStep::ApplicationScore(*peer, application));
        }
    }

    fn ban(&mut self, peer: PeerId, until: u64, score: Option<f64>) {
        self.gate.ban_peer(peer, until);
        self.steps.push_back(PeerStep::Event(PeerEvent::Banned { peer, score, until }));
        self.turn_out_one(peer, Farewell::Banned);
    }

    /// Closes whatever stands and would not be let in any more.
    fn turn_out(&mut self, now: Now, why: Farewell) {
        let peers: Vec<PeerId> = self.connected.keys().copied().collect();
        for peer in peers {
            let ips: Vec<IpAddr> = self.ips(&peer).collect();
            if self.gate.holds(now, &peer, &ips) {
                self.turn_out_one(peer, why);
            }
        }
    }

    fn turn_out_one(&mut self, peer: PeerId, why: Farewell) {
        if self.connected.contains_key(&peer) {
            self.steps.push_back(PeerStep::Event(PeerEvent::Dropped { peer, why }));
            self.steps.push_back(PeerStep::Disconnect(peer));
        }
    }

    /// Leaves a remembered peer alone for a while, longer each time.
    fn redial_later(&mut self, now: Now, peer: &PeerId) {
        if self.redials.len() >= self.config.remembered {
            let known = &self.book;
            self.redials.retain(|peer, redial| redial.at > now.monotonic && known.get(peer).is_some());
        }
        if self.redials.len() < self.config.remembered {
            let wait = self.redials.get(peer).map_or(FIRST_REDIAL, |before| before.wait * 2);
            let wait = wait.min(LONGEST_REDIAL);
            self.redials.insert(*peer, Redial { at: now.monotonic + wait, wait });
        }
    }

    /// Dials remembered peers, those with the best score first.
    fn seek(&mut self, now: Now, missing: usize) {
        let room = DIALS_AT_ONCE.saturating_sub(self.dialling.len()).min(missing);
        if room == 0 {
            return;
        }
        let unix = now.unix_seconds();
        // Best first: by score, then whoever was seen last. No more than there is room for.
        let mut best: Vec<(f64, u64, PeerId)> = Vec::new();
        for (peer, record) in self.book.iter() {
            let is_busy = self.connected.contains_key(peer)
                || self.dialling.contains(peer)
                || self.statics.contains(peer)
                || self.redials.get(peer).is_some_and(|redial| redial.at > now.monotonic)
                || self.gate.holds(now, peer, &[]);
            if is_busy || self.book.addresses(unix, peer).next().is_none() {
                continue;
            }
            let score = self.score(now, peer);
            if self.config.min_score.is_none_or(|least| score >= least) {
                let at = best.partition_point(|(other, seen_at, name)| {
                    let order = other.total_cmp(&score).then(seen_at.cmp(&record.seen_at));
                    order.then(peer.cmp(name)).is_gt()
                });
                if at < room {
                    best.insert(at, (score, record.seen_at, *peer));
                    best.truncate(room);
                }
            }
        }
        for (.., peer) in best {
            self.dialling.insert(peer);
            self.steps.push_back(PeerStep::Dial(peer));
        }
    }

    /// Puts a peer's present scores into the book.
    fn note(&mut self, now: Now, peer: &PeerId) {
        let scores = self.scores(now, peer);
        self.book.scored(now.unix_seconds(), peer, scores);
    }

    fn snapshot(&mut self, now: Now) {
        let peers: Vec<PeerId> = self.connected.keys().copied().collect();
        for peer in peers {
            self.note(now, &peer);
        }
        self.remember();
    }

    fn remember(&mut self) {
        let mut changes = Vec::new();
        while let Some((peer, record)) = self.book.poll_changed() {
            let is_browser = self.connected.get(&peer).is_some_and(|connected| connected.is_browser);
            if is_browser && record.is_some_and(|record| record.scores.gossip.total >= 0.0) {
                continue;
            }
            changes.push(memory::peer_change(&peer, record));
        }
        if !changes.is_empty() {
            self.steps.push_back(PeerStep::Remember(changes));
        }
    }
}
