//! The sources that may have blocks, and the choice of the next one to ask.
//!
//! # Peers that serve nothing
//! On today's networks, most peers serve nothing; they cost next to nothing. A peer whose identify
//! message does not list the protocol, or that refuses it, is not asked again while it is
//! connected. Neither is a peer that answered *not found* to [`MAX_LACKED`] different numbers, or
//! [`MAX_FRUITLESS`] times, and never served a block. A closed stream counts as *not found* there,
//! since some servers answer before they read. When such a peer gossips a block after
//! [`MIN_EXCLUSION`], it gets one more chance, then at ever longer intervals. None of this is
//! penalised.
//!
//! # Endpoints
//! A JSON-RPC endpoint is asked when peers don't deliver, from the time that the client sets. It
//! has a rate limit, and at most [`ENDPOINT_WINDOW`] requests in flight.
//!
//! # Bounds
//! [`ClientConfig::servers`](super::ClientConfig::servers) records of peers, and one for each
//! endpoint. Connected peers add them; the driver bounds their number. A peer that left is
//! remembered, so that a reconnect does not clear its record, and is the first to be forgotten when
//! room is needed. A peer without room for a record is not asked.

use std::time::Duration;

use super::pace::{Pace, Permit};
use super::source::RpcMethod;
use super::{ClientConfig, RequestId, Source};
use crate::peers::PeerId;
use crate::sorted::SortedMap;
use crate::time::Instant;

/// Maximum distance, in blocks, from a block to a peer's last gossiped or served block that counts
/// as nearby.
const NEARBY: u64 = 512;
/// Number of different blocks that a peer which never served one may lack before it is not asked
/// any more.
const MAX_LACKED: usize = 3;
/// Number of requests in vain to such a peer before it is not asked any more.
const MAX_FRUITLESS: u32 = 12;
/// Time after which a peer that is not asked any more gets another chance when it gossips a block.
/// It doubles each time. It is short at first: an honest server also lacks the newest blocks for a
/// moment, and a gap waits for it.
const MIN_EXCLUSION: Duration = Duration::from_secs(4);
const MAX_EXCLUSION: Duration = Duration::from_secs(8 * 60 * 60);
/// Time without a wrong block after which earlier ones no longer prolong a rest.
const WRONG_BLOCK_TTL: Duration = Duration::from_secs(60 * 60);
/// Maximum number of requests in flight to one endpoint.
const ENDPOINT_WINDOW: usize = 8;
/// Time for which an endpoint without the debug API is asked for the parts of blocks, before the
/// debug API is tried again.
const METHOD_RETRY_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// Reason why a server rests, which means that it is not asked for a while. Only `Wrong` resets the
/// count of its proved blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// It does not have the block.
    Missed,
    /// It limits our requests.
    Limited,
    /// It failed or did not answer.
    Failed,
    /// Its block does not link: it lies, or follows another branch of the sequencer's.
    Unproved,
    /// It sent a block that is not the chain's.
    Wrong,
}

impl Rest {
    /// Returns the shortest and the longest rest.
    const fn range(self) -> (Duration, Duration) {
        match self {
            Self::Missed => (Duration::from_millis(250), Duration::from_secs(30)),
            Self::Limited => (Duration::from_secs(1), Duration::from_secs(30)),
            Self::Failed => (Duration::from_secs(1), Duration::from_secs(60)),
            Self::Unproved => (Duration::from_secs(2), Duration::from_secs(60)),
            Self::Wrong => (Duration::from_secs(30), Duration::from_secs(600)),
        }
    }
}

/// Record of one server.
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) pace: Pace,
    pub(super) in_flight: usize,
    /// Number of answers of an endpoint that are being checked.
    pub(super) checking: usize,
    connected: bool,
    is_static: bool,
    /// Number of its blocks that were proved since its last wrong block.
    proved: u64,
    /// Number of the last block that it gossiped or served.
    near: Option<u64>,
    resting: Option<(Rest, Instant)>,
    /// Number of rests, except for wrong blocks, since its last proved block.
    rests: u32,
    /// Number of its wrong blocks, and time of the last one.
    wrongs: u32,
    wrong_at: Instant,
    last_asked: Instant,
    /// Whether it does not support the protocol on this connection.
    is_unsupported: bool,
    /// Whether it ever served a block, right or wrong.
    has_served: bool,
    /// Different numbers that it lacked, up to [`MAX_LACKED`], and number of all answers without
    /// a block.
    lacks: Vec<u64>,
    vain: u32,
    /// `Some` if it serves nothing: when it may be asked again if it gossips a block.
    excluded_until: Option<Instant>,
    times_excluded: u32,
    /// Method by which an endpoint is asked, and since when.
    method: RpcMethod,
    method_since: Instant,
}

/// Records of all servers.
#[derive(Clone, Debug)]
pub(super) struct Servers {
    servers: SortedMap<Source, Server>,
    /// Maximum number of records, endpoints included.
    most: usize,
    largest_window: usize,
    asks_peers: bool,
    only_static: bool,
    /// Seed by which nodes with the same servers ask different ones first.
    seed: u64,
    /// Time before which endpoints are not asked.
    endpoints_from: Instant,
}

impl Servers {
    pub(super) fn new(config: &ClientConfig) -> Self {
        let mut servers = SortedMap::new();
        for index in 0..config.endpoints {
            let pace = Pace::fixed(config.endpoint_rate, ENDPOINT_WINDOW.min(config.in_flight));
            servers.insert(Source::Endpoint(index), Server::new(pace, true));
        }
        Self {
            servers,
            most: config.servers.saturating_add(config.endpoints),
            largest_window: config.in_flight,
            asks_peers: config.asks_peers,
            only_static: config.only_static,
            seed: 0,
            endpoints_from: Instant::default(),
        }
    }

    pub(super) const fn set_seed(&mut self, seed: u64) {
        self.seed = seed;
    }

    pub(super) fn connected(&mut self, peer: PeerId, is_static: bool) {
        let source = Source::Peer(peer);
        if let Some(server) = self.servers.get_mut(&source) {
            server.connected = true;
            server.is_static = is_static;
            // The peer may run other software now.
            server.is_unsupported = false;
            if server.excluded_until.take().is_some() {
                server.reconsider();
            }
            return;
        }
        if self.servers.len() >= self.most && !self.forget_one() {
            return;
        }
        self.servers.insert(source, Server::new(Pace::new(self.largest_window), is_static));
    }

    /// Sets whether a peer is one of the operator's.
    pub(super) fn set_static(&mut self, peer: &PeerId, is_static: bool) {
        if let Some(server) = self.servers.get_mut(&Source::Peer(*peer)) {
            server.is_static = is_static;
        }
    }

    pub(super) fn disconnected(&mut self, peer: &PeerId) {
        if let Some(server) = self.servers.get_mut(&Source::Peer(*peer)) {
            server.connected = false;
        }
    }

    /// Records whether the peer claims or shows to support the protocol.
    pub(super) fn speaks(&mut self, peer: &PeerId, speaks: bool) {
        if let Some(server) = self.servers.get_mut(&Source::Peer(*peer)) {
            server.is_unsupported = !speaks;
        }
    }

    pub(super) fn is_connected(&self, source: &Source) -> bool {
        self.servers.get(source).is_some_and(|server| server.connected)
    }

    /// Sets the time before which endpoints are not asked.
    pub(super) const fn endpoints_from(&mut self, at: Instant) {
        self.endpoints_from = at;
    }

    /// Returns the number of endpoints that do not rest because they lied or failed.
    pub(super) fn ready_endpoints(&self, now: Instant) -> usize {
        let endpoints = self.servers.iter().filter(|(source, _)| source.peer().is_none());
        endpoints.filter(|(_, server)| !server.is_resting(now)).count()
    }

    /// Returns `true` if a peer is connected.
    pub(super) fn has_peers(&self) -> bool {
        self.servers.iter().any(|(source, server)| source.peer().is_some() && server.connected)
    }

    /// Returns the number of peers that may be asked at all.
    pub(super) fn usable(&self) -> usize {
        self.servers
            .iter()
            .filter(|(source, server)| source.peer().is_some() && self.is_usable(source, server))
            .count()
    }

    pub(super) fn get_mut(&mut self, source: &Source) -> Option<&mut Server> {
        self.servers.get_mut(source)
    }

    /// Records that the peer gossiped the block of this number.
    pub(super) fn heard(&mut self, now: Instant, peer: &PeerId, number: u64) {
        if let Some(server) = self.servers.get_mut(&Source::Peer(*peer)) {
            server.near = Some(number);
            if server.excluded_until.is_some_and(|until| until <= now) {
                server.excluded_until = None;
                server.reconsider();
            }
        }
    }

    /// Returns the method by which this endpoint is to be asked now.
    pub(super) fn method(&mut self, now: Instant, source: &Source) -> RpcMethod {
        let Some(server) = self.servers.get_mut(source) else { return RpcMethod::default() };
        if now.since(server.method_since) >= METHOD_RETRY_INTERVAL {
            server.method = RpcMethod::default();
        }
        server.method
    }

    /// Ends the rests of peers that did nothing wrong, so that every possible server can be asked.
    pub(super) fn expedite(&mut self, now: Instant) {
        for (source, server) in self.servers.iter_mut() {
            // An endpoint keeps its back-off: no other server waits for a turn there.
            if source.peer().is_none() {
                continue;
            }
            if let Some((
                why @ (Rest::Missed | Rest::Limited | Rest::Failed | Rest::Unproved),
                until,
            )) = server.resting
            {
                server.resting = Some((why, until.min(now)));
            }
        }
    }

    /// Picks the source to ask for `number`, among those for which `may` holds. Sources with proved
    /// blocks come first, then peers near the number, then unknown ones, last those that failed;
    /// among equals the least busy.
    pub(super) fn pick(
        &self,
        now: Instant,
        number: u64,
        may: impl Fn(&Source) -> bool,
    ) -> Option<(Source, Permit)> {
        let ready = self.servers.iter().filter_map(|(source, server)| {
            let permit = self.permit(now, source, server)?;
            may(source).then_some((source, server, permit))
        });
        let best = ready.min_by_key(|(source, server, permit)| {
            let near = server.near.is_some_and(|near| near.abs_diff(number) <= NEARBY);
            let class = match (server.rests, server.proved, near) {
                (0, 1.., _) => 0,
                // Endpoints are asked only when peers don't deliver.
                _ if source.peer().is_none() => 1,
                (0, 0, true) => 2,
                (0, 0, false) => 3,
                (_, 1.., _) => 4,
                (..) => 5_u8,
            };
            let is_probe = *permit == Permit::Probe;
            (class, is_probe, server.in_flight, server.last_asked, self.mixed(source))
        });
        best.map(|(source, _, permit)| (*source, permit))
    }

    /// Returns when the next server is ready, as far as `may_at` allows, if no request is answered
    /// before.
    pub(super) fn ready_at(
        &self,
        now: Instant,
        may_at: impl Fn(&Source) -> Option<Instant>,
    ) -> Option<Instant> {
        let usable = self.servers.iter().filter(|(source, server)| self.is_usable(source, server));
        let each = usable.filter_map(|(source, server)| {
            let pace = server.pace.ready_at(now, server.in_flight)?;
            let rest = server.resting.map_or(pace, |(_, until)| until.max(pace));
            let from = match source {
                Source::Peer(_) => rest,
                Source::Endpoint(_) => rest.max(self.endpoints_from),
            };
            Some(may_at(source)?.max(from))
        });
        each.min()
    }

    /// Returns `true` if any server could be sent a request now.
    pub(super) fn any_ready(&self, now: Instant) -> bool {
        self.servers.iter().any(|(source, server)| self.permit(now, source, server).is_some())
    }

    pub(super) fn sent(&mut self, now: Instant, source: &Source, id: RequestId, permit: Permit) {
        if let Some(server) = self.servers.get_mut(source) {
            server.last_asked = now;
            server.pace.sent(now, id, permit, server.in_flight);
            server.in_flight = server.in_flight.saturating_add(1);
        }
    }

    fn is_usable(&self, source: &Source, server: &Server) -> bool {
        match source {
            Source::Endpoint(_) => true,
            Source::Peer(_) => {
                self.asks_peers
                    && server.connected
                    && !server.is_unsupported
                    && server.excluded_until.is_none()
                    && (server.is_static || !self.only_static)
            }
        }
    }

    fn permit(&self, now: Instant, source: &Source, server: &Server) -> Option<Permit> {
        if !self.is_usable(source, server) || server.is_resting(now) {
            return None;
        }
        if source.peer().is_none() && now < self.endpoints_from {
            return None;
        }
        // One request at a time until one of its blocks was proved.
        if server.proved == 0 && server.in_flight + server.checking > 0 {
            return None;
        }
        server.pace.permit(now, server.in_flight)
    }

    /// Makes room by forgetting a server that left, preferably one without wrong blocks. Returns
    /// `false` if there is none.
    fn forget_one(&mut self) -> bool {
        let gone =
            self.servers.iter().filter(|(_, server)| !server.connected && server.in_flight == 0);
        let oldest = gone.min_by_key(|(_, server)| (server.wrongs > 0, server.last_asked));
        let Some(source) = oldest.map(|(source, _)| *source) else { return false };
        self.servers.remove(&source);
        true
    }

    fn mixed(&self, source: &Source) -> u64 {
        source.peer().map_or(0, |peer| peer.mixed(self.seed))
    }
}

impl Server {
    fn new(pace: Pace, is_static: bool) -> Self {
        Self {
            pace,
            in_flight: 0,
            checking: 0,
            connected: true,
            is_static,
            proved: 0,
            near: None,
            resting: None,
            rests: 0,
            wrongs: 0,
            wrong_at: Instant::default(),
            last_asked: Instant::default(),
            is_unsupported: false,
            has_served: false,
            lacks: Vec::new(),
            vain: 0,
            excluded_until: None,
            times_excluded: 0,
            method: RpcMethod::default(),
            method_since: Instant::default(),
        }
    }

    fn is_resting(&self, now: Instant) -> bool {
        self.resting.is_some_and(|(_, until)| until > now)
    }

    /// Records that it refused the protocol.
    pub(super) const fn refused_protocol(&mut self) {
        self.is_unsupported = true;
    }

    pub(super) const fn has_served(&self) -> bool {
        self.has_served
    }

    /// Records that it served a block, right or wrong.
    pub(super) fn served(&mut self, number: u64) {
        self.near = Some(number);
        self.has_served = true;
        self.lacks.clear();
        (self.vain, self.times_excluded) = (0, 0);
    }

    /// Records an answer without a block.
    pub(super) fn lacked(&mut self, now: Instant, number: u64) {
        if self.has_served {
            return;
        }
        self.vain = self.vain.saturating_add(1);
        if self.lacks.len() < MAX_LACKED && !self.lacks.contains(&number) {
            self.lacks.push(number);
        }
        if self.lacks.len() >= MAX_LACKED || self.vain >= MAX_FRUITLESS {
            let wait = MIN_EXCLUSION.saturating_mul(1 << self.times_excluded.min(13));
            self.excluded_until = Some(now + wait.min(MAX_EXCLUSION));
            self.times_excluded = self.times_excluded.saturating_add(1);
        }
    }

    /// Gives it one more chance: after one more answer in vain, it is not asked again.
    fn reconsider(&mut self) {
        self.lacks.truncate(MAX_LACKED - 1);
        self.vain = MAX_FRUITLESS - 1;
    }

    /// Takes a wrong block back: it was the sequencer's.
    pub(super) fn excuse(&mut self) {
        self.wrongs = self.wrongs.saturating_sub(1);
        self.resting = self.resting.filter(|(why, _)| *why != Rest::Wrong);
    }

    /// Records that the endpoint does not offer `debug_getRawBlock`.
    pub(super) const fn change_method(&mut self, now: Instant) {
        (self.method, self.method_since) = (RpcMethod::Parts, now);
    }

    /// Records that one of its blocks was proved to be the chain's.
    pub(super) fn proved(&mut self) {
        self.proved = self.proved.saturating_add(1);
        self.rests = 0;
        self.resting = None;
    }

    /// Lets it rest for a while, longer each time.
    pub(super) fn rest(&mut self, now: Instant, why: Rest) {
        let (first, longest) = why.range();
        let times = if why == Rest::Wrong {
            let is_old = now.since(self.wrong_at) >= WRONG_BLOCK_TTL;
            self.wrongs = if is_old { 1 } else { self.wrongs.saturating_add(1) };
            self.wrong_at = now;
            self.proved = 0;
            self.wrongs
        } else {
            self.rests = self.rests.saturating_add(1);
            self.rests
        };
        let length = first.saturating_mul(1 << times.saturating_sub(1).min(16)).min(longest);
        let until = now + length;
        if self.resting.is_none_or(|(_, before)| before < until) {
            self.resting = Some((why, until));
        }
    }
}
