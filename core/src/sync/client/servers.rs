//! The peers that may have blocks, and which of them is asked next.
//!
//! # Bounds
//! [`ClientConfig::servers`](super::ClientConfig::servers) records. Connected peers fill them; the driver bounds
//! those. A peer that left is remembered, so that coming back does not wipe out what it did, and is the first to
//! go when the room is needed. A peer that finds no room is not asked.

use std::time::Duration;

use super::RequestId;
use super::pace::{Pace, Permit};
use crate::peers::PeerId;
use crate::sorted::SortedMap;
use crate::time::Instant;

/// How far from a block a peer's last gossiped or served block may be to count as nearby, in blocks.
const NEARBY: u64 = 512;

/// Why a server is left alone for a while. None but `Wrong` is held against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// It does not have the block.
    Missed,
    /// It limits us.
    Limited,
    /// It failed or did not answer.
    Failed,
    /// Its block does not link. It lies, or follows another branch of the sequencer's.
    Unproved,
    /// It does not speak the protocol.
    Unsupported,
    /// It sent a block that is not the chain's.
    Wrong,
}

impl Rest {
    /// The first rest and the longest one.
    const fn range(self) -> (Duration, Duration) {
        match self {
            Self::Missed => (Duration::from_millis(250), Duration::from_secs(30)),
            Self::Limited => (Duration::from_secs(1), Duration::from_secs(30)),
            Self::Failed => (Duration::from_secs(1), Duration::from_secs(60)),
            Self::Unproved => (Duration::from_secs(2), Duration::from_secs(60)),
            Self::Unsupported => (Duration::from_secs(600), Duration::from_secs(600)),
            Self::Wrong => (Duration::from_secs(30), Duration::from_secs(600)),
        }
    }
}

/// One server.
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) pace: Pace,
    pub(super) in_flight: usize,
    connected: bool,
    is_static: bool,
    /// Blocks of its that were proved since it last failed.
    proved: u64,
    /// The last number that it gossiped or served.
    near: Option<u64>,
    resting: Option<(Rest, Instant)>,
    /// How often it had to rest since its last good answer.
    rests: u32,
    wrongs: u32,
    last_asked: Instant,
}

/// All of them.
#[derive(Clone, Debug)]
pub(super) struct Servers {
    servers: SortedMap<PeerId, Server>,
    most: usize,
    largest_window: usize,
    only_static: bool,
    /// Makes nodes that know the same servers ask different ones first.
    seed: u64,
}

impl Servers {
    pub(super) const fn new(most: usize, largest_window: usize, only_static: bool, seed: u64) -> Self {
        Self { servers: SortedMap::new(), most, largest_window, only_static, seed }
    }

    pub(super) fn connected(&mut self, peer: PeerId, is_static: bool) {
        if let Some(server) = self.servers.get_mut(&peer) {
            server.connected = true;
            server.is_static = is_static;
            // It may be another program now.
            if matches!(server.resting, Some((Rest::Unsupported, _))) {
                server.resting = None;
            }
            return;
        }
        if self.servers.len() >= self.most && !self.forget_one() {
            return;
        }
        let server = Server {
            pace: Pace::new(self.largest_window),
            in_flight: 0,
            connected: true,
            is_static,
            proved: 0,
            near: None,
            resting: None,
            rests: 0,
            wrongs: 0,
            last_asked: Instant::default(),
        };
        self.servers.insert(peer, server);
    }

    pub(super) fn disconnected(&mut self, peer: &PeerId) {
        if let Some(server) = self.servers.get_mut(peer) {
            server.connected = false;
        }
    }

    pub(super) fn is_connected(&self, peer: &PeerId) -> bool {
        self.servers.get(peer).is_some_and(|server| server.connected)
    }

    /// How many may be asked at all.
    pub(super) fn usable(&self) -> usize {
        self.servers.values().filter(|server| self.is_usable(server)).count()
    }

    pub(super) fn get_mut(&mut self, peer: &PeerId) -> Option<&mut Server> {
        self.servers.get_mut(peer)
    }

    /// The peer gossiped or served this number.
    pub(super) fn heard(&mut self, peer: &PeerId, number: u64) {
        if let Some(server) = self.servers.get_mut(peer) {
            server.near = Some(number);
        }
    }

    /// Ends the rests of those that did nothing wrong: the time has come to ask whoever there is.
    pub(super) fn hurry(&mut self, now: Instant) {
        for server in self.servers.values_mut() {
            if let Some((why @ (Rest::Missed | Rest::Limited | Rest::Failed | Rest::Unproved), until)) =
                server.resting
            {
                server.resting = Some((why, until.min(now)));
            }
        }
    }

    /// Who is asked for `number`, of those that `may` be: whoever has proved to have blocks, then whoever was
    /// near, then those that nothing is known of, last those that failed; of equals the least busy.
    pub(super) fn pick(
        &self,
        now: Instant,
        number: u64,
        may: impl Fn(&PeerId) -> bool,
    ) -> Option<(PeerId, Permit)> {
        let ready = self.servers.iter().filter_map(|(peer, server)| {
            let permit = self.permit(now, server)?;
            may(peer).then_some((peer, server, permit))
        });
        let best = ready.min_by_key(|(peer, server, permit)| {
            let near = server.near.is_some_and(|near| near.abs_diff(number) <= NEARBY);
            let class = match (server.rests, server.proved, near) {
                (0, 1.., _) => 0,
                (0, 0, true) => 1,
                (0, 0, false) => 2,
                (_, 1.., _) => 3,
                (..) => 4_u8,
            };
            (class, *permit == Permit::Probe, server.in_flight, server.last_asked, self.mixed(peer))
        });
        best.map(|(peer, _, permit)| (*peer, permit))
    }

    /// When the next server that `may` be asked is ready, if nothing is answered before.
    pub(super) fn ready_at(
        &self,
        now: Instant,
        may_at: impl Fn(&PeerId) -> Option<Instant>,
    ) -> Option<Instant> {
        let each =
            self.servers.iter().filter(|(_, server)| self.is_usable(server)).filter_map(|(peer, server)| {
                let pace = server.pace.ready_at(now, server.in_flight)?;
                let rest = server.resting.map_or(pace, |(_, until)| until.max(pace));
                Some(may_at(peer)?.max(rest))
            });
        each.min()
    }

    /// Whether any server could be sent a request now.
    pub(super) fn any_ready(&self, now: Instant) -> bool {
        self.servers.values().any(|server| self.permit(now, server).is_some())
    }

    pub(super) fn sent(&mut self, now: Instant, peer: &PeerId, id: RequestId, permit: Permit) {
        if let Some(server) = self.servers.get_mut(peer) {
            server.in_flight = server.in_flight.saturating_add(1);
            server.last_asked = now;
            server.pace.sent(now, id, permit);
        }
    }

    fn is_usable(&self, server: &Server) -> bool {
        server.connected && (server.is_static || !self.only_static)
    }

    fn permit(&self, now: Instant, server: &Server) -> Option<Permit> {
        if !self.is_usable(server) || server.resting.is_some_and(|(_, until)| until > now) {
            return None;
        }
        // One at a time until it has shown a block of the chain.
        if server.proved == 0 && server.in_flight > 0 {
            return None;
        }
        server.pace.permit(now, server.in_flight)
    }

    /// Makes room by forgetting whoever left; prefers those that nothing wrong is known of.
    fn forget_one(&mut self) -> bool {
        let gone = self.servers.iter().filter(|(_, server)| !server.connected && server.in_flight == 0);
        let oldest = gone.min_by_key(|(_, server)| (server.wrongs > 0, server.last_asked));
        let Some(peer) = oldest.map(|(peer, _)| *peer) else { return false };
        self.servers.remove(&peer);
        true
    }

    fn mixed(&self, peer: &PeerId) -> u64 {
        // FNV-1a: any spread will do.
        peer.as_bytes().iter().fold(self.seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        })
    }
}

impl Server {
    /// A block of its was proved to be the chain's.
    pub(super) fn proved(&mut self) {
        self.proved = self.proved.saturating_add(1);
        self.rests = 0;
        self.resting = None;
    }

    /// Leaves it alone for a while, longer each time.
    pub(super) fn rest(&mut self, now: Instant, why: Rest) {
        let (first, longest) = why.range();
        let times = if why == Rest::Wrong {
            self.wrongs = self.wrongs.saturating_add(1);
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
