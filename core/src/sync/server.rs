//! The payload server: decides which request for a block is answered, and when.
//!
//! A request waits for a token of its peer's bucket and one of the bucket that all peers share.
//! Both are taken together, and peers take turns, one answer each: the wait of one peer delays no
//! other, and no shared token is spent on a peer that is above its own rate. This state machine
//! looks up no blocks; its user does, and reports when an answer has been sent.
//!
//! The order of checks and the result codes are the reference's (`op-node/p2p/sync.go`), without
//! its defects: no lock is held while waiting, and no path can leave one locked.
//!
//! # Bounds
//! * Waiting requests: [`ServerConfig::waiting_per_peer`] of one peer, [`ServerConfig::waiting`] in
//!   all. Any connected peer can fill them. Then the peer with the most waiting requests gives up
//!   its last one for a peer with fewer; otherwise a further request is refused at once.
//! * Answers in progress: [`ServerConfig::active_per_peer`] and [`ServerConfig::active`]. Slow
//!   readers fill them, and the driver disconnects those. Further requests wait.
//! * Peers: [`ServerConfig::peers`]. A peer with a full bucket and without requests needs no entry.
//!   If the others fill the table, a new peer is refused; all of them asked within the last
//!   seconds, and there is room again as soon as one of them stops.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::rate::{Rate, TokenBucket};
use super::wire::ResultCode;
use crate::peers::PeerId;
use crate::sorted::{SortedMap, SortedSet};
use crate::time::Instant;

/// Limits of a [`PayloadServer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// Rate of the requests of all peers together.
    pub total: Rate,
    /// Rate of the requests of each peer.
    pub per_peer: Rate,
    /// Maximum number of waiting requests of one peer.
    pub waiting_per_peer: usize,
    /// Maximum number of waiting requests.
    pub waiting: usize,
    /// Maximum number of answers in progress to one peer.
    pub active_per_peer: usize,
    /// Maximum number of answers in progress.
    pub active: usize,
    /// Maximum number of remembered peers.
    pub peers: usize,
    /// Longest wait of a request; a request that would wait longer is refused.
    pub longest_wait: Duration,
}

impl Default for ServerConfig {
    /// The reference's rates (20/s with bursts of 40, and 4/s with bursts of 15 for each peer), its
    /// 20 s and its 1,000 peers; 16 waiting and 16 active for each peer, 256 and 64 in all.
    fn default() -> Self {
        Self {
            total: Rate::per_second(20, 40),
            per_peer: Rate::per_second(4, 15),
            waiting_per_peer: 16,
            waiting: 256,
            active_per_peer: 16,
            active: 64,
            peers: 1000,
            longest_wait: Duration::from_secs(20),
        }
    }
}

impl ServerConfig {
    /// Returns the maximum number of requests that wait or are being answered.
    pub const fn places(&self) -> usize {
        self.waiting + self.active
    }

    /// Returns limits that serve as fast as possible; only the numbers of concurrent requests and
    /// answers are bounded.
    pub fn unlimited() -> Self {
        Self {
            total: Rate::UNLIMITED,
            per_peer: Rate::UNLIMITED,
            waiting_per_peer: 256,
            active_per_peer: 64,
            ..Self::default()
        }
    }
}

/// The driver's id of a stream with a request. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServeId(pub u64);

/// Action for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServeStep {
    /// Look up the block and answer.
    Serve {
        /// Id of the request.
        id: ServeId,
        /// Peer that sent the request.
        from: PeerId,
        /// Number of the requested block.
        number: u64,
    },
    /// Answer with this code.
    Refuse {
        /// Id of the request.
        id: ServeId,
        /// Peer that sent the request.
        from: PeerId,
        /// Number of the requested block.
        number: u64,
        /// Reason of the refusal.
        code: ResultCode,
    },
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    id: ServeId,
    number: u64,
    deadline: Instant,
}

#[derive(Debug)]
struct Peer {
    bucket: TokenBucket,
    waiting: VecDeque<Waiting>,
    active: usize,
    /// Its key in `turns`, if it has one.
    turn: Option<(Instant, u64)>,
    /// Its key in `idle`, if it has one.
    idle: Option<Instant>,
}

/// Serves blocks by number to peers: see the [module's documentation](self).
#[derive(Debug)]
pub struct PayloadServer {
    config: ServerConfig,
    total: TokenBucket,
    peers: SortedMap<PeerId, Peer>,
    /// Peers with a waiting request and room for an answer, by the time from which they have a
    /// token, and by the order in which they joined.
    turns: SortedSet<(Instant, u64, PeerId)>,
    next_turn: u64,
    /// Peers without requests, by the time when their bucket is full.
    idle: SortedSet<(Instant, PeerId)>,
    deadlines: SortedSet<(Instant, ServeId)>,
    /// Peer of each request, waiting or active.
    requests: SortedMap<ServeId, PeerId>,
    waiting: usize,
    steps: VecDeque<ServeStep>,
}

impl PayloadServer {
    /// Creates a server without requests.
    pub fn new(config: ServerConfig) -> Self {
        Self {
            total: TokenBucket::new(config.total),
            peers: SortedMap::new(),
            turns: SortedSet::new(),
            next_turn: 0,
            idle: SortedSet::new(),
            deadlines: SortedSet::new(),
            requests: SortedMap::new(),
            waiting: 0,
            steps: VecDeque::new(),
            config,
        }
    }

    /// Takes a peer's request for a block.
    pub fn request(&mut self, now: Instant, from: PeerId, id: ServeId, number: u64) {
        let deadline = now + self.config.longest_wait;
        if !self.admit(now, from, deadline) {
            let code = ResultCode::UnknownError;
            self.steps.push_back(ServeStep::Refuse { id, from, number, code });
            return;
        }
        let Some(peer) = self.peers.get_mut(&from) else { return };
        peer.waiting.push_back(Waiting { id, number, deadline });
        self.waiting += 1;
        self.deadlines.insert((deadline, id));
        self.requests.insert(id, from);
        self.place(now, from);
    }

    /// Records that an answer was sent, could not be written, or has lost its recipient.
    pub fn finished(&mut self, now: Instant, id: ServeId) {
        let Some(from) = self.requests.remove(&id) else { return };
        let Some(peer) = self.peers.get_mut(&from) else { return };
        if let Some(at) = peer.waiting.iter().position(|waiting| waiting.id == id) {
            if let Some(gone) = peer.waiting.remove(at) {
                self.deadlines.remove(&(gone.deadline, id));
                self.waiting -= 1;
            }
        } else {
            peer.active -= 1;
        }
        self.place(now, from);
    }

    /// Returns the next step. `exists` contains the numbers that a block can have now; others are
    /// refused as invalid.
    pub fn poll(&mut self, now: Instant, exists: &RangeInclusive<u64>) -> Option<ServeStep> {
        if let Some(step) = self.steps.pop_front() {
            return Some(step);
        }
        // A request that gets a token at its deadline is still served.
        self.serve_next(now, exists).or_else(|| {
            let (_, id) =
                self.deadlines.first().filter(|(deadline, _)| *deadline <= now).copied()?;
            self.refuse_waiting(now, id)
        })
    }

    fn serve_next(&mut self, at: Instant, exists: &RangeInclusive<u64>) -> Option<ServeStep> {
        if self.active() >= self.config.active || !self.total.available(at) {
            return None;
        }
        let (_, _, from) = self.turns.first().filter(|(ready, ..)| *ready <= at).copied()?;
        let peer = self.peers.get_mut(&from)?;
        let Waiting { id, number, deadline } = peer.waiting.pop_front()?;
        self.waiting -= 1;
        self.deadlines.remove(&(deadline, id));
        peer.bucket.take_ahead(at);
        // Its next request takes a new turn, behind all peers that are ready.
        if let Some((ready, turn)) = peer.turn.take() {
            self.turns.remove(&(ready, turn, from));
        }
        self.total.take_ahead(at);
        let exists = exists.contains(&number);
        if exists {
            peer.active += 1;
        } else {
            self.requests.remove(&id);
        }
        self.place(at, from);
        Some(if exists {
            ServeStep::Serve { id, from, number }
        } else {
            ServeStep::Refuse { id, from, number, code: ResultCode::InvalidRequest }
        })
    }

    /// Returns when [`Self::poll`] next has something to do, unless something happens before.
    pub fn next_wakeup(&self) -> Option<Instant> {
        let turn = self.turns.first().filter(|_| self.active() < self.config.active);
        let turn = turn.map(|(ready, ..)| (*ready).max(self.total.ready_at()));
        turn.into_iter().chain(self.deadlines.first().map(|(deadline, _)| *deadline)).min()
    }

    /// Returns the number of waiting requests.
    pub const fn waiting(&self) -> usize {
        self.waiting
    }

    /// Returns the number of requests that were passed on to be served and are not finished.
    pub fn active(&self) -> usize {
        self.requests.len() - self.waiting
    }

    /// Returns the number of remembered peers.
    pub fn peers(&self) -> usize {
        self.peers.len()
    }

    /// Returns `true` if a request may wait, and creates an entry for its peer.
    fn admit(&mut self, now: Instant, from: PeerId, deadline: Instant) -> bool {
        while let Some((_, peer)) = self.idle.first().filter(|(full, _)| *full <= now).copied() {
            self.idle.pop_first();
            self.peers.remove(&peer);
        }
        if let Some(peer) = self.peers.get(&from) {
            // Its token comes after those of the earlier requests.
            let before = u32::try_from(peer.waiting.len()).unwrap_or(u32::MAX);
            let wait = peer.bucket.rate().interval.saturating_mul(before);
            return peer.waiting.len() < self.config.waiting_per_peer
                && peer.bucket.next_at(now) + wait <= deadline
                && self.make_room(now, &from);
        }
        if self.peers.len() >= self.config.peers || !self.make_room(now, &from) {
            return false;
        }
        let bucket = TokenBucket::new(self.config.per_peer);
        self.peers.insert(
            from,
            Peer { bucket, waiting: VecDeque::new(), active: 0, turn: None, idle: None },
        );
        true
    }

    /// Makes room for one more request of `from`: refuses the last one of the peer with the most
    /// waiting requests, if `from` still has fewer. Returns `true` if there is room.
    fn make_room(&mut self, now: Instant, from: &PeerId) -> bool {
        if self.waiting < self.config.waiting {
            return true;
        }
        let own = self.peers.get(from).map_or(0, |peer| peer.waiting.len());
        let most = self.peers.iter().max_by_key(|(_, peer)| peer.waiting.len());
        let last = most
            .filter(|(_, peer)| peer.waiting.len() > own + 1)
            .and_then(|(_, peer)| peer.waiting.back().map(|waiting| waiting.id));
        let refused = last.and_then(|last| self.refuse_waiting(now, last));
        let has_room = refused.is_some();
        self.steps.extend(refused);
        has_room
    }

    fn refuse_waiting(&mut self, now: Instant, id: ServeId) -> Option<ServeStep> {
        let from = *self.requests.get(&id)?;
        let waiting =
            self.peers.get(&from)?.waiting.iter().find(|waiting| waiting.id == id).copied()?;
        self.finished(now, id);
        Some(ServeStep::Refuse { id, from, number: waiting.number, code: ResultCode::UnknownError })
    }

    /// Updates the position of a peer after a change: among those that wait for a turn, or those
    /// that may be forgotten.
    fn place(&mut self, now: Instant, from: PeerId) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let wants = !peer.waiting.is_empty() && peer.active < self.config.active_per_peer;
        let ready = peer.bucket.ready_at();
        match peer.turn {
            // A peer keeps its turn until its token is gone.
            Some((at, _)) if wants && at >= ready => {}
            before => {
                if let Some((at, turn)) = before {
                    self.turns.remove(&(at, turn, from));
                }
                peer.turn = wants.then(|| {
                    self.next_turn += 1;
                    (ready.max(now), self.next_turn)
                });
                if let Some((at, turn)) = peer.turn {
                    self.turns.insert((at, turn, from));
                }
            }
        }
        if let Some(full) = peer.idle.take() {
            self.idle.remove(&(full, from));
        }
        if peer.waiting.is_empty() && peer.active == 0 {
            let full = peer.bucket.full_at();
            peer.idle = Some(full);
            self.idle.insert((full, from));
        }
    }
}
