//! The range client: fetches blocks by number, downwards from a block with a known hash.
//!
//! Its state consists of a *range*, which is the hash of the next block to prove (the **frontier**)
//! and the lowest number to fetch; a **window** of numbers at and below the frontier, each
//! requested, answered or waiting; and a record of each server. It asks several servers for several
//! numbers at once, newest first. The number and the hash of an answer are checked on arrival. The
//! answer is *proved*, and passed on as [`ClientStep::Proved`], when the block above it is proved,
//! whose parent hash it must have. So blocks leave in descending order, each linked to the one
//! before, and at most one unproved block is held per height.
//!
//! # Faults of servers
//!
//! * Not having a block, refusing a number, limiting us, not supporting the protocol, or hitting
//!   our own bounds: no penalty. The server rests for a moment and another one is asked. A peer
//!   that serves nothing is soon not asked any more: see `servers`.
//! * An error, an unreadable answer, or no answer in time: [`Conduct::ErrorResponse`].
//! * A block of another number or with a false hash: [`Conduct::RejectedPayload`].
//! * A block that is consistent but does not link: [`Conduct::RejectedPayload`], not before the
//!   right block is proved, and [`CHARGE_HELD`] later, since the server may be an honest one on a
//!   branch that the sequencer left. Several such blocks of one server in that time count as one.
//!   The server is then asked once more, and is not penalised if it has left that branch. Nor is it
//!   penalised if the caller knows the block, or gets to know the branch, as the sequencer's, or if
//!   the block was requested before the aim moved to what may be another branch.
//! * A proved block: [`Conduct::ValidResponse`].
//!
//! # Endpoints
//!
//! The operator may name JSON-RPC endpoints ([`ClientConfig::endpoints`]). They are one more kind
//! of source. They are asked when no peer has delivered for [`ENDPOINT_GRACE`], or for
//! [`GOSSIP_GRACE`] if no peer can be asked, within [`ClientConfig::endpoint_rate`]. Their answers
//! are rebuilt and proved like a peer's blocks, so a lying endpoint costs only time. It then rests
//! for 30 s, and longer each time.
//!
//! # Bounds
//!
//! * Requests in flight: [`ClientConfig::in_flight`]; at most two for one number, the first of
//!   which is late.
//! * Window: [`ClientConfig::window`] numbers.
//! * Bytes: each request has a limit for its answer, raw and decompressed, and both are reserved
//!   before it is sent. Together with the blocks in the window they never exceed
//!   [`ClientConfig::bytes`]. The frontier has separate room for the largest possible answer, so a
//!   full window can't block it. So have late requests that were sent again: one silent server
//!   takes no room from the others. The limit follows the size of proved blocks; a larger answer is
//!   requested again with the largest limit, without a penalty.
//! * Servers: see `servers`. Servers asked for a number in vain: at most one entry per server in
//!   each slot.
//! * Steps: those of one call.

mod charges;
mod fault;
mod pace;
mod recheck;
mod servers;
mod source;
#[cfg(test)]
mod tests;
mod types;
mod verdicts;
mod window;

use std::collections::VecDeque;
use std::time::Duration;

use alloy_primitives::{B256, Bytes};

use super::check::{AnswerError, CheckWork, RequestFailure};
use super::wire::{MAX_RESPONSE_SIZE, ResultCode};
use crate::chain::BlockId;
use crate::payload::Block;
use crate::peers::{Conduct, PeerId};
use crate::sorted::SortedMap;
use crate::time::Instant;
pub use charges::CHARGE_HELD;
pub(super) use charges::{Accused, Charges};
use pace::Permit;
use recheck::Recheck;
use servers::{Rest, Servers};
use source::Wanted;
pub use source::{MAX_RPC_ANSWER, RpcMethod, Source};
pub use types::{Answered, ClientConfig, ClientStep, Range, RequestId};
use window::{Answer, Window};

/// Smallest limit of an answer, in bytes.
const SMALLEST_LIMIT: usize = 128 << 10;
/// Time after which a request is late, for any server.
const LATE: Duration = Duration::from_secs(1);
/// Time without a delivery by peers after which endpoints are asked.
pub const ENDPOINT_GRACE: Duration = Duration::from_secs(3);
/// Time after which endpoints are asked if no peer can be asked; gossip may still bring the block
/// until then.
pub const GOSSIP_GRACE: Duration = Duration::from_secs(1);

/// A request in flight, or whose answer is being checked.
#[derive(Debug)]
struct Flight {
    source: Source,
    number: u64,
    sent: Instant,
    /// Reserved bytes.
    reserved: usize,
    limit: usize,
    permit: Permit,
    /// Whether another request for the number was sent in its place.
    is_replaced: bool,
    is_answered: bool,
    /// See [`Answer::is_current`].
    is_current: bool,
    /// Method of a request to an endpoint, and the requested hash if it was known.
    rpc: Option<(RpcMethod, Option<B256>)>,
}

/// A request to send.
struct Order {
    source: Source,
    number: u64,
    /// Maximum sizes in bytes: of the block, of the raw answer, and the sum to reserve.
    limit: usize,
    raw: usize,
    reserved: usize,
    permit: Permit,
    rpc: Option<(RpcMethod, Option<B256>)>,
}

/// Fetches a range of blocks from several servers: see the [module's documentation](self).
#[derive(Debug)]
pub struct RangeClient {
    config: ClientConfig,
    servers: Servers,
    charges: Charges,
    window: Window,
    range: Option<Range>,
    flights: SortedMap<RequestId, Flight>,
    /// The test of a charge that waits for its answer.
    recheck: Option<Recheck>,
    next_id: u64,
    /// Bytes reserved for flights.
    reserved: usize,
    /// Decaying maximum of the sizes of recent blocks, in bytes.
    typical: usize,
    is_paused: bool,
    /// Size of the largest answer, raw and decompressed, in bytes.
    largest: usize,
    /// Time when a peer's block was last proved, or when fetching began after there was nothing to
    /// fetch.
    delivered: Instant,
    steps: VecDeque<ClientStep>,
}

impl RangeClient {
    /// Creates a client with nothing to fetch.
    pub fn new(config: ClientConfig) -> Self {
        let largest = if config.endpoints > 0 { MAX_RPC_ANSWER } else { MAX_RESPONSE_SIZE }
            + MAX_RESPONSE_SIZE;
        let config = ClientConfig {
            in_flight: config.in_flight.max(1),
            window: config.window.max(1),
            // The largest answer twice, one of them late, and a few small ones beside them.
            bytes: config.bytes.max(2 * largest + 4 * SMALLEST_LIMIT),
            servers: config.servers.max(1),
            ..config
        };
        Self {
            servers: Servers::new(&config),
            charges: Charges::new(config.servers),
            window: Window::default(),
            range: None,
            flights: SortedMap::new(),
            recheck: None,
            next_id: 0,
            reserved: 0,
            typical: 0,
            is_paused: false,
            largest,
            delivered: Instant::default(),
            steps: VecDeque::new(),
            config,
        }
    }

    /// Sets the seed: nodes with different seeds ask different servers first.
    #[must_use]
    pub const fn with_seed(mut self, seed: u64) -> Self {
        self.servers.set_seed(seed);
        self
    }

    /// Records the first connection to a peer.
    pub fn connected(&mut self, peer: PeerId, is_static: bool) {
        self.servers.connected(peer, is_static);
    }

    /// Sets whether a connected peer is one of the operator's.
    pub fn set_static(&mut self, peer: &PeerId, is_static: bool) {
        self.servers.set_static(peer, is_static);
    }

    /// Records that the last connection to a peer was closed. The driver must still report the
    /// results of its requests.
    pub fn disconnected(&mut self, peer: &PeerId) {
        self.servers.disconnected(peer);
    }

    /// Records whether a peer lists this protocol among those that it supports.
    pub fn speaks(&mut self, peer: &PeerId, speaks: bool) {
        self.servers.speaks(peer, speaks);
    }

    /// Records that a peer gossiped the block of this number, so it may have those below.
    pub fn heard(&mut self, now: Instant, peer: &PeerId, number: u64) {
        self.servers.heard(now, peer, number);
    }

    /// Returns the range that is left to fetch.
    pub const fn range(&self) -> Option<Range> {
        self.range
    }

    /// Fetches this range from now on. Those parts of the window that fit are kept.
    pub fn aim(&mut self, now: Instant, range: Option<Range>) {
        let range = range.filter(|range| range.wanted.number >= range.lowest);
        if range == self.range {
            return;
        }
        if range.map(|range| range.wanted) != self.range.map(|range| range.wanted) {
            // The new range may be on another branch, which was unknown to all servers that were
            // asked before.
            self.window.pardon();
            for flight in self.flights.values_mut() {
                flight.is_current = false;
            }
        }
        if self.range.is_none() {
            self.delivered = now;
        }
        self.range = range;
        self.fit_window();
        self.advance(now, &|_| false);
    }

    /// Sends no further requests while `paused`; requests in flight continue.
    pub const fn pause(&mut self, paused: bool) {
        self.is_paused = paused;
    }

    /// Allows servers that lacked blocks or failed to be asked again at once, to end a stall.
    pub fn expedite(&mut self, now: Instant) {
        self.servers.expedite(now);
        self.window.expedite(now);
    }

    /// Returns the next step, oldest first. If there is none, sends requests as far as possible.
    pub fn poll(&mut self, now: Instant) -> Option<ClientStep> {
        if self.steps.is_empty() && !self.is_paused {
            self.ask(now);
        }
        self.steps.pop_front()
    }

    /// Takes the complete answer to a request, or the reason why none will come.
    pub fn received(&mut self, now: Instant, id: RequestId, result: Result<Bytes, RequestFailure>) {
        if self.recheck_received(id, &result) {
            return;
        }
        let Some(flight) = self.flights.get_mut(&id).filter(|flight| !flight.is_answered) else {
            return;
        };
        flight.is_answered = true;
        let (took, number, limit) = (now.since(flight.sent), flight.number, flight.limit);
        let rpc = flight.rpc;
        let work = result.map_err(AnswerError::Request).and_then(|bytes| match rpc {
            Some((method, hash)) => Ok(CheckWork::of_rpc(bytes, number, method, hash)),
            None => CheckWork::begin(bytes, number, limit),
        });
        if let Some(server) = self.servers.get_mut(&flight.source) {
            server.in_flight = server.in_flight.saturating_sub(1);
            server.checking += usize::from(rpc.is_some());
            match &work {
                // A refusal is quick, and no sign of a quick server: see `failed`.
                Err(AnswerError::Refused(code)) if *code == ResultCode::UnknownError.byte() => {}
                Err(AnswerError::Request(failure)) if *failure != RequestFailure::TooLong => {
                    server.pace.lost(now, id, took);
                }
                _ => server.pace.answered(now, id, took),
            }
        }
        match work {
            Ok(work) => self.steps.push_back(ClientStep::Check(id, work)),
            Err(error) => self.failed(now, id, error),
        }
    }

    /// Takes the result of a check. `knows` returns `true` if the caller knows the block as the
    /// sequencer's.
    pub fn checked(
        &mut self,
        now: Instant,
        id: RequestId,
        result: Result<Block, AnswerError>,
        knows: impl Fn(&BlockId) -> bool,
    ) {
        if self.recheck_ended(id, result.as_ref(), &knows) {
            return;
        }
        let block = match result {
            Ok(block) => block,
            Err(error) => return self.failed(now, id, error),
        };
        let Some(flight) = self.take_flight(id) else { return };
        self.tell(now, &flight, Ok(BlockId::of(&block)));
        let Flight { source, is_current, .. } = flight;
        if let Some(server) = self.servers.get_mut(&source) {
            server.served(block.number());
        }
        self.window.answered(id, Answer { block, source, is_current });
        self.advance(now, &knows);
    }

    /// Returns when [`Self::poll`] next has something to do, unless something happens before.
    pub fn next_wakeup(&self, now: Instant) -> Option<Instant> {
        let charge = self.charges.next_due().filter(|_| self.may_recheck());
        self.next_request(now).into_iter().chain(charge).min()
    }

    fn next_request(&self, now: Instant) -> Option<Instant> {
        self.range.filter(|_| !self.is_paused)?;
        let late =
            self.flights.values().filter(|flight| !flight.is_replaced && !flight.is_answered);
        let late = late.map(|flight| flight.sent + LATE).find(|late| *late > now);
        if self.flights.len() >= self.config.in_flight {
            return late;
        }
        // The numbers below are requested along with these, so the first few suffice to tell when a
        // server is ready.
        let due_numbers = self.due_numbers(now).take(8).filter_map(|number| {
            self.servers.ready_at(now, |peer| self.window.may_ask_at(number, peer))
        });
        // A request that could have been sent by now lacks room, which the next answer frees.
        due_numbers.filter(|at| *at > now).chain(late).min()
    }

    /// Returns the number of requests in flight or being checked.
    pub fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// Returns the number of bytes reserved for answers, plus those of blocks that wait to be
    /// proved.
    pub fn bytes(&self) -> usize {
        self.reserved.saturating_add(self.window.bytes())
    }

    /// Returns the number of heights with state: at most [`ClientConfig::window`].
    pub fn slots(&self) -> usize {
        self.window.len()
    }

    /// Returns `true` if a peer is connected, whether or not it may be asked.
    pub fn has_peers(&self) -> bool {
        self.servers.has_peers()
    }

    /// Returns the number of connected peers that may be asked.
    pub fn servers(&self) -> usize {
        self.servers.usable()
    }

    /// Returns the number of endpoints that may be asked and do not rest because they lied or
    /// failed.
    pub fn endpoints(&self, now: Instant) -> usize {
        self.servers.ready_endpoints(now)
    }

    /// Adapts the window to the range.
    fn fit_window(&mut self) {
        let span = self.range.map(|range| {
            let reach = (self.config.window as u64).saturating_sub(1);
            range.wanted.number.saturating_sub(reach).max(range.lowest)..=range.wanted.number
        });
        self.window.fit(span);
        // A number that left the window and came back may still have a request in flight.
        for (id, flight) in self.flights.iter() {
            self.window.adopt(flight.number, *id, &flight.source);
        }
    }

    /// Passes on all answers that can be proved.
    fn advance(&mut self, now: Instant, knows: &dyn Fn(&BlockId) -> bool) {
        while let Some(range) = self.range {
            let Some(answer) = self.window.take_answer(range.wanted.number) else { break };
            let Answer { block, source, is_current } = answer;
            if block.hash() != range.wanted.hash {
                // Either the server lies or it follows another branch of the sequencer's.
                let is_innocent = !is_current || knows(&BlockId::of(&block));
                let accused = (!is_innocent).then(|| Accused::of(&block, range.wanted.hash));
                self.window.conflict(now, range.wanted.number, &source, accused);
                if let Some(server) = self.servers.get_mut(&source).filter(|_| is_current) {
                    server.rest(now, Rest::Unproved);
                }
                continue;
            }
            self.judge(now, range.wanted.number, block.body().len());
            if let Some(server) = self.servers.get_mut(&source) {
                server.proved();
            }
            if let Source::Peer(peer) = source {
                self.delivered = now;
                self.steps.push_back(ClientStep::Conduct(peer, Conduct::ValidResponse));
            }
            self.step_down(range, &block);
            self.steps.push_back(ClientStep::Proved(block, source));
        }
    }

    /// Goes on below the wanted block of this range, which is proved.
    fn step_down(&mut self, range: Range, block: &Block) {
        self.typical = block.body().len().max(self.typical - self.typical / 16);
        let parent = block.parent_hash();
        self.is_signed(range.wanted, parent);
        self.range = range
            .wanted
            .number
            .checked_sub(1)
            .filter(|below| *below >= range.lowest)
            .map(|below| Range { wanted: BlockId::new(below, parent), ..range });
        self.fit_window();
    }

    /// Records that a peer's block was proved by another client. If it is the wanted one, the range
    /// goes on below it. `knows` as for [`Self::checked`].
    pub fn proved_elsewhere(
        &mut self,
        now: Instant,
        block: &Block,
        knows: impl Fn(&BlockId) -> bool,
    ) {
        let Some(range) = self.range.filter(|range| range.wanted == BlockId::of(block)) else {
            return;
        };
        self.delivered = now;
        self.judge(now, range.wanted.number, block.body().len());
        self.step_down(range, block);
        self.advance(now, &knows);
    }

    /// Returns the numbers that need a request, newest first.
    fn due_numbers(&self, now: Instant) -> impl Iterator<Item = u64> + '_ {
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

    /// Sends requests as long as there is a number to ask for, a server to ask, and room for the
    /// answer.
    fn ask(&mut self, now: Instant) {
        let Some(range) = self.range else { return };
        let grace = if self.servers.usable() == 0 { GOSSIP_GRACE } else { ENDPOINT_GRACE };
        self.servers.endpoints_from(self.delivered + grace);
        if self.flights.len() >= self.config.in_flight || !self.servers.any_ready(now) {
            return;
        }
        let due_numbers: Vec<u64> = self.due_numbers(now).take(self.config.in_flight).collect();
        for number in due_numbers {
            if self.flights.len() >= self.config.in_flight || !self.servers.any_ready(now) {
                break;
            }
            let window = &self.window;
            let may =
                |source: &Source| window.may_ask_at(number, source).is_some_and(|at| at <= now);
            let Some((source, permit)) = self.servers.pick(now, number, may) else { continue };
            let limit = self.limit(number);
            let rpc = match source {
                Source::Peer(_) => None,
                Source::Endpoint(_) => {
                    let hash = (number == range.wanted.number).then_some(range.wanted.hash);
                    Some((self.servers.method(now, &source), hash))
                }
            };
            // Raw and decompressed.
            let raw = rpc.map_or(limit, |(method, _)| method.answer_limit(limit));
            let reserved = raw.saturating_add(limit.min(raw));
            // Room of the frontier: the largest answer, compressed and decompressed.
            let others = if number == range.wanted.number { 0 } else { 2 * MAX_RESPONSE_SIZE };
            let used = self.bytes_without_late(now, number);
            let room = self.config.bytes - self.largest;
            if used.saturating_add(reserved).saturating_add(others) > room {
                // Another number may need less.
                continue;
            }
            self.send(now, &Order { source, number, limit, raw, reserved, permit, rpc });
        }
    }

    /// Returns the bytes in use, without the room for one answer of late requests: those that were
    /// replaced, and those that a request for `number` would replace.
    fn bytes_without_late(&self, now: Instant, number: u64) -> usize {
        let late = self.flights.values().filter(|flight| {
            let is_late = flight.number == number && now.since(flight.sent) >= LATE;
            !flight.is_answered && (flight.is_replaced || is_late)
        });
        let late = late.fold(0_usize, |sum, flight| sum.saturating_add(flight.reserved));
        self.bytes().saturating_sub(late.min(self.largest))
    }

    fn send(&mut self, now: Instant, order: &Order) {
        let Order { source, number, limit, raw, reserved, permit, rpc } = *order;
        let id = RequestId(self.next_id);
        self.next_id = self.next_id.saturating_add(1);
        self.reserved = self.reserved.saturating_add(reserved);
        self.servers.sent(now, &source, id, permit);
        for before in self.window.sent(number, id, &source) {
            if let Some(flight) = self.flights.get_mut(&before) {
                flight.is_replaced = true;
            }
        }
        let flight = Flight {
            source,
            number,
            sent: now,
            reserved,
            limit,
            permit,
            is_replaced: false,
            is_answered: false,
            is_current: true,
            rpc,
        };
        self.flights.insert(id, flight);
        self.steps.push_back(match (source, rpc) {
            (Source::Endpoint(endpoint), Some((method, hash))) => {
                let wanted = hash
                    .map_or(Wanted::Number(number), |hash| Wanted::Block(BlockId { number, hash }));
                let body = method.request(id.0, wanted);
                ClientStep::AskEndpoint { id, endpoint, number, body, limit: raw }
            }
            (Source::Endpoint(_), None) => return,
            (Source::Peer(peer), _) => ClientStep::Ask { id, peer, number, limit },
        });
    }

    /// Returns the limit of an answer: four times the typical block size, or the maximum if that
    /// was too little.
    fn limit(&self, number: u64) -> usize {
        if self.window.is_large(number) {
            MAX_RESPONSE_SIZE
        } else {
            self.typical.saturating_mul(4).clamp(SMALLEST_LIMIT, MAX_RESPONSE_SIZE)
        }
    }

    fn take_flight(&mut self, id: RequestId) -> Option<Flight> {
        let flight = self.flights.remove(&id)?;
        if let Some(server) = self.servers.get_mut(&flight.source).filter(|_| flight.rpc.is_some())
        {
            server.checking = server.checking.saturating_sub(1);
        }
        self.reserved = self.reserved.saturating_sub(flight.reserved);
        Some(flight)
    }

    fn tell(&mut self, now: Instant, flight: &Flight, result: Result<BlockId, AnswerError>) {
        let (source, number) = (flight.source, flight.number);
        let took = now.since(flight.sent);
        self.steps.push_back(ClientStep::Answered(Answered { source, number, took, result }));
    }
}
