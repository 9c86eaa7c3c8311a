//! The servers that may be asked: the rate that each has proved to deliver, and its rests.
//!
//! # Bounds
//! As many records as the configuration allows. Connected peers add them; a peer that left is
//! remembered, so that a reconnect does not clear its record, and is the first to be forgotten.

use std::time::Duration;

use crate::peers::PeerId;
use crate::sorted::SortedMap;
use crate::time::Instant;

/// Time for which a server's claim about its lowest or highest block counts.
const HINT_LASTS: Duration = Duration::from_secs(30);

/// Number of answers without a block after which a server that never had one counts as one that
/// serves nothing. It is still asked, ever more rarely.
const MAX_VAIN: u32 = 3;

/// Reason why a server rests, which means that it is not asked for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// It does not have the block.
    Missed,
    /// It limits us for this time.
    Limited(Duration),
    /// It is slow, failed, or did not answer.
    Failed,
    /// Its blocks do not link: it lies, or follows another branch of the sequencer's.
    Unproved,
    /// It sent a wrong block.
    Wrong,
    /// It does not serve us at all.
    Unsupported,
}

impl Rest {
    /// Returns the shortest and the longest rest.
    fn range(self) -> (Duration, Duration) {
        let seconds = Duration::from_secs;
        match self {
            Self::Missed => (Duration::from_millis(250), seconds(30)),
            Self::Limited(retry) => {
                let retry = retry.clamp(Duration::from_millis(50), seconds(60));
                (retry, retry)
            }
            Self::Failed => (seconds(1), seconds(60)),
            Self::Unproved => (seconds(2), seconds(60)),
            Self::Wrong => (seconds(30), seconds(600)),
            Self::Unsupported => (seconds(600), seconds(600)),
        }
    }
}

/// Record of one server.
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) is_connected: bool,
    /// Number of its open streams.
    pub(super) streams: usize,
    /// Contents that it delivers, in bytes per second. Zero if it has not delivered any.
    pub(super) rate: u64,
    rests_until: Instant,
    /// Number of rests since its last proved block.
    rests: u32,
    /// Number of times that it had no block for us, until one of its blocks was proved; then
    /// `None`.
    vain: Option<u32>,
    /// Lowest and highest number that it claims to have, and until when that counts.
    lowest: Option<(u64, Instant)>,
    highest: Option<(u64, Instant)>,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            is_connected: false,
            streams: 0,
            rate: 0,
            rests_until: Instant::default(),
            rests: 0,
            vain: Some(0),
            lowest: None,
            highest: None,
        }
    }
}

impl Server {
    pub(super) fn rest(&mut self, now: Instant, rest: Rest) {
        let (shortest, longest) = rest.range();
        let time = shortest.saturating_mul(1 << self.rests.min(10)).min(longest);
        self.rests_until = self.rests_until.max(now + time);
        self.rests = self.rests.saturating_add(1);
        if !matches!(rest, Rest::Limited(_)) {
            self.vain = self.vain.map(|vain| vain.saturating_add(1));
        }
        if matches!(rest, Rest::Wrong | Rest::Unproved) {
            // The delivered blocks were worthless.
            self.rate = 0;
        }
    }

    pub(super) const fn proved(&mut self) {
        (self.rests, self.vain) = (0, None);
    }

    /// Revokes the blame for a block: it was the sequencer's.
    pub(super) const fn excuse(&mut self) {
        self.rests = self.rests.saturating_sub(1);
    }

    /// Returns `true` if it failed, or had no block for us, since its last proved block.
    pub(super) const fn has_failed(&self) -> bool {
        self.rests > 0
    }

    /// Takes a measurement: contents that it delivered within a time.
    pub(super) fn delivered(&mut self, bytes: u64, took: Duration) {
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
        let sample = (bytes.saturating_mul(1000) / millis).max(1);
        self.rate = if self.rate == 0 { sample } else { (self.rate * 3 + sample) / 4 };
    }

    pub(super) fn has_from(&mut self, now: Instant, lowest: u64) {
        self.lowest = Some((lowest, now + HINT_LASTS));
    }

    pub(super) fn has_to(&mut self, now: Instant, highest: u64) {
        self.highest = Some((highest, now + HINT_LASTS));
    }

    /// Returns when it may be asked for a block, given its rest and the numbers that it claims.
    fn ready_at(&self, number: u64) -> Instant {
        let low = self.lowest.filter(|(lowest, _)| number < *lowest).map(|(_, until)| until);
        let high = self.highest.filter(|(highest, _)| number > *highest).map(|(_, until)| until);
        self.rests_until.max(low.unwrap_or_default()).max(high.unwrap_or_default())
    }
}

/// Records of all servers.
#[derive(Debug, Default)]
pub(super) struct Servers {
    servers: SortedMap<PeerId, Server>,
    most: usize,
    /// Seed by which nodes with the same servers ask different ones first.
    seed: u64,
}

impl Servers {
    pub(super) fn new(most: usize) -> Self {
        Self { servers: SortedMap::new(), most: most.max(1), seed: 0 }
    }

    pub(super) const fn set_seed(&mut self, seed: u64) {
        self.seed = seed;
    }

    /// Returns the number of connected servers that are not known to serve nothing.
    pub(super) fn usable(&self) -> usize {
        let serves = |server: &&Server| {
            server.is_connected && server.vain.is_none_or(|vain| vain < MAX_VAIN)
        };
        self.servers.values().filter(serves).count()
    }

    pub(super) fn connected(&mut self, peer: PeerId) {
        if !self.servers.contains_key(&peer) && self.servers.len() >= self.most {
            let gone = self.servers.iter().find(|(_, server)| !server.is_connected);
            let Some(gone) = gone.map(|(gone, _)| *gone) else { return };
            self.servers.remove(&gone);
        }
        let server = self.servers.get_or_insert_with(peer, Server::default);
        server.is_connected = true;
        // It may have blocks by now.
        server.vain = server.vain.map(|vain| vain.min(MAX_VAIN - 1));
    }

    pub(super) fn get_mut(&mut self, peer: &PeerId) -> Option<&mut Server> {
        self.servers.get_mut(peer)
    }

    pub(super) fn get(&self, peer: &PeerId) -> Option<&Server> {
        self.servers.get(peer)
    }

    pub(super) fn len(&self) -> usize {
        self.servers.len()
    }

    pub(super) fn expedite(&mut self, now: Instant) {
        for server in self.servers.values_mut() {
            server.rests_until = server.rests_until.min(now);
            (server.lowest, server.highest) = (None, None);
        }
    }

    /// Returns the best server for a block with fewer than `streams` streams: the one with the
    /// fewest for a part of the gap that is far from the frontier, and otherwise the fastest. Among
    /// equals, one that rested less comes first: silent servers do not take turns for ever.
    pub(super) fn pick(
        &self,
        now: Instant,
        number: u64,
        streams: usize,
        is_frontier: bool,
        except: Option<&PeerId>,
    ) -> Option<(PeerId, u64)> {
        let usable = self.servers.iter().filter(|(peer, server)| {
            server.is_connected
                && server.streams < streams
                && server.ready_at(number) <= now
                && except != Some(*peer)
        });
        let worth = |(peer, server): &(&PeerId, &Server)| {
            let free = if is_frontier { 0 } else { usize::MAX - server.streams };
            let reliable = u32::MAX - server.rests;
            (free, server.rate, reliable, usize::MAX - server.streams, peer.mixed(self.seed))
        };
        usable.max_by_key(worth).map(|(peer, server)| (*peer, server.rate))
    }

    /// Returns when the next server with fewer than `streams` streams may be asked for a block.
    pub(super) fn next_ready(&self, number: u64, streams: usize) -> Option<Instant> {
        let usable = self.servers.values();
        let usable = usable.filter(|server| server.is_connected && server.streams < streams);
        usable.map(|server| server.ready_at(number)).min()
    }
}
