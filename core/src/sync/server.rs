//! The payload server: decides which request for a block is answered, and when.
//!
//! A request waits for a token of its peer's bucket and one of the bucket that all share. They are taken together,
//! and peers take turns: one peer's waiting delays nobody else, and no shared token is spent on a peer that is
//! above its own rate. The machine looks nothing up; its user does, and says when the answer is out.
//!
//! The order of checks and the codes are the reference's (`op-node/p2p/sync.go`). Of its defects none is kept: there
//! is no lock to hold while waiting, and no path on which one could stay locked.
//!
//! # Bounds
//! * Waiting requests: [`ServerConfig::waiting_per_peer`] of one peer, [`ServerConfig::waiting`] in all. Anyone who
//!   is connected can fill them; one more is refused at once.
//! * Answers under way: [`ServerConfig::active_per_peer`] and [`ServerConfig::active`]. Slow readers fill them, and
//!   the driver cuts those off. Further requests wait.
//! * Peers: [`ServerConfig::peers`]. A peer whose bucket is full and that has nothing under way needs no entry. If
//!   the others fill the table, a new peer is refused; they are all peers that asked within the last seconds, and it
//!   will find room as soon as one of them stops.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use super::rate::{Rate, TokenBucket};
use super::wire::ResultCode;
use crate::chain::ChainConfig;
use crate::peers::PeerId;
use crate::sorted::{SortedMap, SortedSet};
use crate::time::{Instant, Now};

/// Limits of a [`PayloadServer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// Requests of all peers.
    pub total: Rate,
    /// Requests of each peer.
    pub per_peer: Rate,
    /// Requests of one peer that wait.
    pub waiting_per_peer: usize,
    /// Requests that wait.
    pub waiting: usize,
    /// Answers to one peer that are under way.
    pub active_per_peer: usize,
    /// Answers that are under way.
    pub active: usize,
    /// Peers that are remembered.
    pub peers: usize,
    /// A request that would wait longer is refused.
    pub longest_wait: Duration,
}

impl Default for ServerConfig {
    /// The reference's rates, 20/s with 40 at once and 4/s with 15 at once for each peer, and its 20 s and 1,000
    /// peers; 16 waiting and 16 active for each peer, 256 and 64 in all.
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
    /// Serves as fast as it can; only what is held at once is bounded.
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

/// The driver's name for a stream on which a request came. Not used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServeId(pub u64);

/// What to do with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServeStep {
    /// Look the block up and answer.
    Serve {
        /// Which request.
        id: ServeId,
        /// Whose.
        from: PeerId,
        /// Which block.
        number: u64,
    },
    /// Answer with this code.
    Refuse {
        /// Which request.
        id: ServeId,
        /// Whose.
        from: PeerId,
        /// Which block.
        number: u64,
        /// Why.
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
    /// Its place in the order of turns, if it has one.
    turn: Option<(Instant, u64)>,
    /// Its place among those that may be forgotten, if it has one.
    idle: Option<Instant>,
}

/// The server: see the [module's documentation](self).
#[derive(Debug)]
pub struct PayloadServer {
    config: ServerConfig,
    total: TokenBucket,
    peers: SortedMap<PeerId, Peer>,
    /// Peers with a waiting request and room for an answer: from when on they have a token, and since when they wait
    /// for their turn.
    turns: SortedSet<(Instant, u64, PeerId)>,
    next_turn: u64,
    /// Peers with nothing under way, by when their bucket is full.
    idle: SortedSet<(Instant, PeerId)>,
    deadlines: SortedSet<(Instant, ServeId)>,
    /// Whose request it is, waiting or active.
    requests: SortedMap<ServeId, PeerId>,
    waiting: usize,
    steps: VecDeque<ServeStep>,
}

impl PayloadServer {
    /// A server that has heard nothing yet.
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

    /// A peer asks for a block.
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

    /// The answer is out, or could not be written, or whoever asked is gone.
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

    /// The next thing to do.
    pub fn poll(&mut self, now: Now, chain: &ChainConfig) -> Option<ServeStep> {
        if let Some(step) = self.steps.pop_front() {
            return Some(step);
        }
        // Whoever has a token in the last moment gets the block.
        self.serve_next(now, chain).or_else(|| {
            let at = now.monotonic;
            let (_, id) = self.deadlines.first().filter(|(deadline, _)| *deadline <= at).copied()?;
            self.refuse_waiting(at, id)
        })
    }

    fn serve_next(&mut self, now: Now, chain: &ChainConfig) -> Option<ServeStep> {
        let at = now.monotonic;
        if self.active() >= self.config.active || !self.total.available(at) {
            return None;
        }
        let (_, _, from) = self.turns.first().filter(|(ready, ..)| *ready <= at).copied()?;
        let peer = self.peers.get_mut(&from)?;
        let Waiting { id, number, deadline } = peer.waiting.pop_front()?;
        self.waiting -= 1;
        self.deadlines.remove(&(deadline, id));
        peer.bucket.take_ahead(at);
        self.total.take_ahead(at);
        let exists = number >= chain.genesis.number
            && chain.highest_number_at(now.unix_seconds()).is_some_and(|highest| number <= highest);
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

    /// When [`Self::poll`] has something to do, unless something happens before.
    pub fn next_wakeup(&self) -> Option<Instant> {
        let turn = self.turns.first().filter(|_| self.active() < self.config.active);
        let turn = turn.map(|(ready, ..)| (*ready).max(self.total.ready_at()));
        turn.into_iter().chain(self.deadlines.first().map(|(deadline, _)| *deadline)).min()
    }

    /// Requests that wait.
    pub const fn waiting(&self) -> usize {
        self.waiting
    }

    /// Requests that were handed out and are not finished.
    pub fn active(&self) -> usize {
        self.requests.len() - self.waiting
    }

    /// Peers that are remembered.
    pub fn peers(&self) -> usize {
        self.peers.len()
    }

    /// Whether a request may wait; makes an entry for its peer.
    fn admit(&mut self, now: Instant, from: PeerId, deadline: Instant) -> bool {
        while let Some((_, peer)) = self.idle.first().filter(|(full, _)| *full <= now).copied() {
            self.idle.pop_first();
            self.peers.remove(&peer);
        }
        if self.waiting >= self.config.waiting {
            return false;
        }
        if let Some(peer) = self.peers.get(&from) {
            // Its token comes after those of the requests before it.
            let before = u32::try_from(peer.waiting.len()).unwrap_or(u32::MAX);
            let wait = peer.bucket.rate().interval.saturating_mul(before);
            return peer.waiting.len() < self.config.waiting_per_peer
                && peer.bucket.next_at(now) + wait <= deadline;
        }
        if self.peers.len() >= self.config.peers {
            return false;
        }
        let bucket = TokenBucket::new(self.config.per_peer);
        self.peers.insert(from, Peer { bucket, waiting: VecDeque::new(), active: 0, turn: None, idle: None });
        true
    }

    fn refuse_waiting(&mut self, now: Instant, id: ServeId) -> Option<ServeStep> {
        let from = *self.requests.get(&id)?;
        let waiting = self.peers.get(&from)?.waiting.iter().find(|waiting| waiting.id == id).copied()?;
        self.finished(now, id);
        Some(ServeStep::Refuse { id, from, number: waiting.number, code: ResultCode::UnknownError })
    }

    /// Puts a peer where it belongs after a change: among those that wait for a turn, or those that may be
    /// forgotten.
    fn place(&mut self, now: Instant, from: PeerId) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let wants = !peer.waiting.is_empty() && peer.active < self.config.active_per_peer;
        let ready = peer.bucket.ready_at();
        match peer.turn {
            // Whoever has a turn keeps it until its token is gone.
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
