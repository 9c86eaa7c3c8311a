//! The range client: fetches blocks by number, from a block whose hash is known downwards.
//!
//! What it holds: a *range*, that is the hash of the next block to prove (the **frontier**) and the lowest number
//! to fetch; a **window** of numbers at and below the frontier, each asked for, answered or waiting; and a record
//! of each server. It asks several servers for several numbers at once, newest first. An answer is checked for its
//! number and its hash as it comes; it is *proved*, and handed on as [`ClientStep::Proved`], when the block above
//! it is, whose parent hash it must have. So blocks leave in descending order, each linked to the one before, and
//! at most one block that may be wrong is held per height.
//!
//! # What is held against a server, and what is not
//!
//! * Not having a block, limiting us, and our own bounds: nothing. It rests a moment and another one is asked.
//! * An error, nonsense that can't be read, or no answer in time: [`Conduct::ErrorResponse`].
//! * A block of another number or with a false hash: [`Conduct::RejectedPayload`]. A block that is consistent but
//!   does not link: the same, once the right one is proved, since before that it could be an honest server of
//!   a branch that the sequencer left; and never if the caller knows the block as the sequencer's.
//! * A proved block: [`Conduct::ValidResponse`].
//!
//! # Bounds
//!
//! * Requests in flight: [`ClientConfig::in_flight`], at most two for one number, of which the first is late.
//! * Window: [`ClientConfig::window`] numbers.
//! * Bytes: each request may bring at most its limit, raw and decompressed, and both are set aside before it is
//!   sent; with the blocks in the window they never exceed [`ClientConfig::bytes`]. The frontier has room of its
//!   own for the largest answer there is, so a full window can't stop it. The limit follows the size of the blocks
//!   that were proved; an answer that is larger is asked for again with the largest limit, and nobody is blamed.
//! * Servers: see `servers`. Who was asked for a number in vain: at most one entry per server in each slot.
//! * Steps: what one call produced.

mod pace;
mod servers;
#[cfg(test)]
mod tests;
mod window;

use std::collections::VecDeque;
use std::time::Duration;

use alloy_primitives::{B256, Bytes};

use super::check::{AnswerError, CheckWork, RequestFailure};
use super::wire::{MAX_RESPONSE_SIZE, ResultCode};
use crate::chain::{BlockId, ChainConfig};
use crate::payload::Block;
use crate::peers::{Conduct, PeerId};
use crate::sorted::SortedMap;
use crate::time::Instant;
use pace::Permit;
use servers::{Rest, Servers};
use window::Window;

/// The least that a request may bring, bytes.
const SMALLEST_LIMIT: usize = 128 << 10;
/// A request is late after this much, whatever the server is like.
const LATE: Duration = Duration::from_secs(1);

/// Names a request; handed out by the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub(super) u64);

/// Bounds of a [`RangeClient`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientConfig {
    /// Requests in flight, all servers together, and for each of them.
    pub in_flight: usize,
    /// Numbers at and below the frontier that are fetched at once.
    pub window: usize,
    /// Bytes of answers: awaited, being checked, and waiting for the block above them. At least 22 MiB, as one
    /// answer may have 10 MiB and comes compressed.
    pub bytes: usize,
    /// Servers that are remembered.
    pub servers: usize,
    /// Ask only static peers (`--p2p.sync.onlyreqtostatic`).
    pub only_static: bool,
    /// Any number; nodes with different ones ask different servers first.
    pub seed: u64,
}

impl Default for ClientConfig {
    /// 64 requests, a window of 256 numbers, 32 MiB, 1,024 servers.
    fn default() -> Self {
        Self { in_flight: 64, window: 256, bytes: 32 << 20, servers: 1024, only_static: false, seed: 0 }
    }
}

/// What is to be fetched: `wanted`, whose hash is known, and everything below it down to `lowest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The next block to prove.
    pub wanted: BlockId,
    /// The lowest number to ask for.
    pub lowest: u64,
}

/// What became of a request, for counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// Whom was asked.
    pub peer: PeerId,
    /// For what.
    pub number: u64,
    /// From sending to the end of the check.
    pub took: Duration,
    /// The block, or why there is none.
    pub result: Result<BlockId, AnswerError>,
}

/// Something that the client wants done or tells.
#[derive(Clone, Debug)]
pub enum ClientStep {
    /// Send a request. [`RangeClient::received`] must follow, at the latest when it has timed out.
    Ask {
        /// Its name.
        id: RequestId,
        /// Whom.
        peer: PeerId,
        /// For what.
        number: u64,
        /// More bytes than this are not to be read, nor make sense decompressed.
        limit: usize,
    },
    /// Run this check and give its result to [`RangeClient::checked`].
    Check(RequestId, CheckWork),
    /// The next block downwards, linked to the one before.
    Proved(Block, PeerId),
    /// How a server behaved.
    Conduct(PeerId, Conduct),
    /// A request ended.
    Answered(Answered),
}

/// A request that is under way, or whose answer is being checked.
#[derive(Debug)]
struct Flight {
    peer: PeerId,
    number: u64,
    sent: Instant,
    /// Bytes set aside.
    reserved: usize,
    limit: usize,
    permit: Permit,
    /// Another one was sent in its place.
    is_replaced: bool,
    is_answered: bool,
}

/// The client: see the [module's documentation](self).
#[derive(Debug)]
pub struct RangeClient {
    config: ClientConfig,
    servers: Servers,
    window: Window,
    range: Option<Range>,
    flights: SortedMap<RequestId, Flight>,
    next_id: u64,
    /// Bytes set aside for flights.
    reserved: usize,
    /// Size of a large block of late.
    typical: usize,
    is_paused: bool,
    steps: VecDeque<ClientStep>,
}

impl RangeClient {
    /// A client with nothing to fetch.
    pub fn new(config: ClientConfig) -> Self {
        let config = ClientConfig {
            in_flight: config.in_flight.max(1),
            window: config.window.max(1),
            bytes: config.bytes.max(2 * MAX_RESPONSE_SIZE + 4 * SMALLEST_LIMIT),
            servers: config.servers.max(1),
            ..config
        };
        Self {
            servers: Servers::new(config.servers, config.in_flight, config.only_static, config.seed),
            window: Window::default(),
            range: None,
            flights: SortedMap::new(),
            next_id: 0,
            reserved: 0,
            typical: 0,
            is_paused: false,
            steps: VecDeque::new(),
            config,
        }
    }

    /// The first connection to a peer stands.
    pub fn connected(&mut self, peer: PeerId, is_static: bool) {
        self.servers.connected(peer, is_static);
    }

    /// The last connection to a peer is gone. Its requests are still to be answered by the driver.
    pub fn disconnected(&mut self, peer: &PeerId) {
        self.servers.disconnected(peer);
    }

    /// A peer gossiped the block of this number, so it may have those below.
    pub fn heard(&mut self, peer: &PeerId, number: u64) {
        self.servers.heard(peer, number);
    }

    /// What is being fetched, as it is now.
    pub const fn range(&self) -> Option<Range> {
        self.range
    }

    /// Fetches this range from now on. Whatever of the window fits is kept.
    pub fn aim(&mut self, now: Instant, range: Option<Range>) {
        let range = range.filter(|range| range.wanted.number >= range.lowest);
        if range == self.range {
            return;
        }
        self.range = range;
        self.fit_window();
        self.advance(now, &|_| false);
    }

    /// Sends no further requests while `paused`; what is under way goes on.
    pub const fn pause(&mut self, paused: bool) {
        self.is_paused = paused;
    }

    /// Asks again whoever did not have the blocks or failed: for a stall.
    pub fn hurry(&mut self, now: Instant) {
        self.servers.hurry(now);
        self.window.hurry(now);
    }

    /// The next step, oldest first; then sends requests as long as it makes sense.
    pub fn poll(&mut self, now: Instant) -> Option<ClientStep> {
        if self.steps.is_empty() && !self.is_paused {
            self.ask(now);
        }
        self.steps.pop_front()
    }

    /// An answer came whole, or it is known that none will.
    pub fn received(
        &mut self,
        now: Instant,
        id: RequestId,
        result: Result<Bytes, RequestFailure>,
        chain: &ChainConfig,
    ) {
        let Some(flight) = self.flights.get_mut(&id).filter(|flight| !flight.is_answered) else { return };
        flight.is_answered = true;
        let (took, number, limit) = (now.since(flight.sent), flight.number, flight.limit);
        if let Some(server) = self.servers.get_mut(&flight.peer) {
            server.in_flight = server.in_flight.saturating_sub(1);
            match result {
                Ok(_) | Err(RequestFailure::TooLong) => server.pace.answered(now, id, took),
                Err(_) => server.pace.lost(now, id, took),
            }
        }
        match result
            .map_err(AnswerError::Request)
            .and_then(|bytes| CheckWork::begin(bytes, number, limit, chain))
        {
            Ok(work) => self.steps.push_back(ClientStep::Check(id, work)),
            Err(error) => self.failed(now, id, error),
        }
    }

    /// A check ended. `knows` says whether the caller knows a block by this hash as the sequencer's.
    pub fn checked(
        &mut self,
        now: Instant,
        id: RequestId,
        result: Result<Block, AnswerError>,
        knows: impl Fn(&B256) -> bool,
    ) {
        let block = match result {
            Ok(block) => block,
            Err(error) => return self.failed(now, id, error),
        };
        let Some(flight) = self.take_flight(id) else { return };
        self.tell(now, &flight, Ok(BlockId::of(&block)));
        self.servers.heard(&flight.peer, block.number());
        self.window.answered(id, &flight.peer, block);
        self.advance(now, &knows);
    }

    /// When [`Self::poll`] has something to do, unless something happens before.
    pub fn next_wakeup(&self, now: Instant) -> Option<Instant> {
        self.range.filter(|_| !self.is_paused)?;
        let late = self.flights.values().filter(|flight| !flight.is_replaced && !flight.is_answered);
        let late = late.map(|flight| flight.sent + LATE).find(|late| *late > now);
        if self.flights.len() >= self.config.in_flight {
            return late;
        }
        // Those below are asked for when these are; a few tell when somebody is ready.
        let needy = self
            .needy(now)
            .take(8)
            .filter_map(|number| self.servers.ready_at(now, |peer| self.window.may_ask_at(number, peer)));
        // What is ready and yet not sent lacks room, which an answer brings.
        needy.filter(|at| *at > now).chain(late).min()
    }

    /// Requests that are under way or being checked.
    pub fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// Bytes set aside for answers, and of blocks that wait to be proved.
    pub fn bytes(&self) -> usize {
        self.reserved.saturating_add(self.window.bytes())
    }

    /// Numbers of which something is held: at most [`ClientConfig::window`].
    pub fn slots(&self) -> usize {
        self.window.len()
    }

    /// Connected servers that may be asked.
    pub fn servers(&self) -> usize {
        self.servers.usable()
    }

    /// Makes the window that of the range.
    fn fit_window(&mut self) {
        let span = self.range.map(|range| {
            let reach = (self.config.window as u64).saturating_sub(1);
            range.wanted.number.saturating_sub(reach).max(range.lowest)..=range.wanted.number
        });
        self.window.fit(span);
        // A number that left the window and came back may still be under way.
        for (id, flight) in self.flights.iter() {
            self.window.adopt(flight.number, *id, &flight.peer);
        }
    }

    /// Proves what can be proved.
    fn advance(&mut self, now: Instant, knows: &dyn Fn(&B256) -> bool) {
        while let Some(range) = self.range {
            let Some((block, peer)) = self.window.take_answer(range.wanted.number) else { break };
            if block.hash() != range.wanted.hash {
                // Either it lies or it follows another branch of the sequencer's.
                let is_known = knows(&block.hash());
                self.window.conflict(now, range.wanted.number, &peer, is_known);
                if let Some(server) = self.servers.get_mut(&peer) {
                    server.rest(now, Rest::Unproved);
                }
                continue;
            }
            for liar in self.window.suspects(range.wanted.number) {
                if let Some(server) = self.servers.get_mut(&liar) {
                    server.rest(now, Rest::Wrong);
                }
                self.steps.push_back(ClientStep::Conduct(liar, Conduct::RejectedPayload));
            }
            // What seemed larger than expected was not the block.
            for padder in self.window.padders(range.wanted.number, block.body().len()) {
                if let Some(server) = self.servers.get_mut(&padder) {
                    server.rest(now, Rest::Failed);
                }
                self.steps.push_back(ClientStep::Conduct(padder, Conduct::ErrorResponse));
            }
            if let Some(server) = self.servers.get_mut(&peer) {
                server.proved();
            }
            self.typical = block.body().len().max(self.typical - self.typical / 16);
            self.steps.push_back(ClientStep::Conduct(peer, Conduct::ValidResponse));
            let parent = block.parent_hash();
            self.steps.push_back(ClientStep::Proved(block, peer));
            self.range = range
                .wanted
                .number
                .checked_sub(1)
                .filter(|below| *below >= range.lowest)
                .map(|below| Range { wanted: BlockId::new(below, parent), ..range });
            self.fit_window();
        }
    }

    /// The numbers that somebody should be asked for, newest first.
    fn needy(&self, now: Instant) -> impl Iterator<Item = u64> + '_ {
        self.window.numbers().rev().filter(move |number| {
            let Some(asked) = self.window.asked(*number) else { return false };
            let is_late = |id: &RequestId| {
                self.flights
                    .get(id)
                    .is_none_or(|flight| !flight.is_answered && now.since(flight.sent) >= LATE)
            };
            asked.len() < 2 && asked.iter().all(is_late)
        })
    }

    /// Sends requests as long as there is a number to ask for, a server to ask, and room for the answer.
    fn ask(&mut self, now: Instant) {
        let Some(range) = self.range else { return };
        if self.flights.len() >= self.config.in_flight || !self.servers.any_ready(now) {
            return;
        }
        let needy: Vec<u64> = self.needy(now).take(self.config.in_flight).collect();
        for number in needy {
            if self.flights.len() >= self.config.in_flight || !self.servers.any_ready(now) {
                break;
            }
            let limit = self.limit(number);
            let reserved = limit.saturating_mul(2);
            // The frontier's room: the largest answer, compressed and decompressed.
            let others = if number == range.wanted.number { 0 } else { 2 * MAX_RESPONSE_SIZE };
            if self.bytes().saturating_add(reserved).saturating_add(others) > self.config.bytes {
                break;
            }
            let window = &self.window;
            let may = |peer: &PeerId| window.may_ask_at(number, peer).is_some_and(|at| at <= now);
            let Some((peer, permit)) = self.servers.pick(now, number, may) else { continue };
            self.send(now, peer, number, limit, permit);
        }
    }

    fn send(&mut self, now: Instant, peer: PeerId, number: u64, limit: usize, permit: Permit) {
        let id = RequestId(self.next_id);
        self.next_id = self.next_id.saturating_add(1);
        let reserved = limit.saturating_mul(2);
        self.reserved = self.reserved.saturating_add(reserved);
        self.servers.sent(now, &peer, id, permit);
        for before in self.window.sent(number, id, &peer) {
            if let Some(flight) = self.flights.get_mut(&before) {
                flight.is_replaced = true;
            }
        }
        let flight = Flight {
            peer,
            number,
            sent: now,
            reserved,
            limit,
            permit,
            is_replaced: false,
            is_answered: false,
        };
        self.flights.insert(id, flight);
        self.steps.push_back(ClientStep::Ask { id, peer, number, limit });
    }

    /// How much an answer may bring: some times what blocks had of late, or all there is if that was too little.
    fn limit(&self, number: u64) -> usize {
        if self.window.is_large(number) {
            MAX_RESPONSE_SIZE
        } else {
            self.typical.saturating_mul(4).clamp(SMALLEST_LIMIT, MAX_RESPONSE_SIZE)
        }
    }

    fn take_flight(&mut self, id: RequestId) -> Option<Flight> {
        let flight = self.flights.remove(&id)?;
        self.reserved = self.reserved.saturating_sub(flight.reserved);
        Some(flight)
    }

    fn failed(&mut self, now: Instant, id: RequestId, error: AnswerError) {
        let Some(flight) = self.take_flight(id) else { return };
        let (peer, number) = (flight.peer, flight.number);
        let is_ours = error.is_too_long() && flight.limit < MAX_RESPONSE_SIZE;
        let (rest, conduct) = if is_ours {
            (None, None)
        } else {
            match &error {
                AnswerError::Refused(code) if *code == ResultCode::NotFound.byte() => {
                    (Some(Rest::Missed), None)
                }
                // Beyond its default limits it may mean just that.
                AnswerError::Refused(code)
                    if *code == ResultCode::UnknownError.byte() && self.may_be_limited(&flight) =>
                {
                    (Some(Rest::Limited), None)
                }
                AnswerError::Request(RequestFailure::Unsupported) => (Some(Rest::Unsupported), None),
                AnswerError::WrongNumber { .. } | AnswerError::BlockHash => {
                    (Some(Rest::Wrong), Some(Conduct::RejectedPayload))
                }
                _ => (Some(Rest::Failed), Some(Conduct::ErrorResponse)),
            }
        };
        if let Some(server) = self.servers.get_mut(&peer) {
            if rest == Some(Rest::Limited) {
                server.pace.lost(now, id, now.since(flight.sent));
            }
            if let Some(rest) = rest {
                server.rest(now, rest);
            }
        }
        // Whoever left can't answer: that is no conduct.
        if let Some(conduct) = conduct.filter(|_| self.servers.is_connected(&peer)) {
            self.steps.push_back(ClientStep::Conduct(peer, conduct));
        }
        let longer_than = is_ours.then_some(flight.limit);
        self.window.failed(now, id, number, &peer, longer_than, rest == Some(Rest::Wrong));
        self.tell(now, &flight, Err(error));
    }

    fn may_be_limited(&mut self, flight: &Flight) -> bool {
        let server = self.servers.get_mut(&flight.peer);
        flight.permit == Permit::Probe
            || server.is_some_and(|server| server.in_flight > 0 || server.pace.is_beyond_assumed())
    }

    fn tell(&mut self, now: Instant, flight: &Flight, result: Result<BlockId, AnswerError>) {
        let (peer, number) = (flight.peer, flight.number);
        let took = now.since(flight.sent);
        self.steps.push_back(ClientStep::Answered(Answered { peer, number, took, result }));
    }
}
