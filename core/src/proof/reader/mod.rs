//! Answers a wallet's JSON-RPC requests from gossip and from untrusted endpoints.
//!
//! [`Reader`] decides which endpoint requests a method needs, and verifies each answer against a
//! block of the canonical chain. Its shell performs the requests. The reader drops an endpoint that
//! gives a false answer, and asks the next one.
//!
//! # Use
//! The shell
//!
//! 1. passes each canonical block to [`Reader::head`] (or each chain event to [`Reader::follow`]),
//!    each wallet request to [`Reader::request`], each endpoint result to [`Reader::fetched`], and
//!    each report of an executor to [`Reader::executed`];
//! 2. drains [`Reader::poll`] after each input, and executes the outputs;
//! 3. calls [`Reader::wake`] at [`Reader::deadline`].
//!
//! # Methods
//! From gossip alone, for recent blocks: `eth_chainId`, `net_version`, `eth_blockNumber`,
//! `eth_syncing`, `eth_getBlockByNumber`, `eth_getBlockByHash`,
//! `eth_getBlockTransactionCountByNumber`, `…ByHash`, `eth_getTransactionByBlockNumberAndIndex`,
//! `…ByBlockHashAndIndex`, `eth_getTransactionByHash`.
//!
//! With proofs: `eth_getBalance`, `eth_getTransactionCount`, `eth_getCode`, `eth_getStorageAt`,
//! `eth_getProof` (state root); `eth_getTransactionReceipt`, `eth_getBlockReceipts`, `eth_getLogs`
//! (receipts root; the header's bloom filter rules out blocks without a matching log).
//!
//! By execution, if [`ReaderConfig::calls`] is set: `eth_call`, `eth_estimateGas`,
//! `eth_createAccessList`. The shell runs an executor, which reports the accounts and slots that it
//! lacks. The reader proves them, and the execution is repeated until it lacks nothing. An
//! endpoint's `eth_createAccessList` hints at what to prove first. Overrides are refused.
//!
//! `eth_sendRawTransaction` goes to all endpoints. The reader computes the hash in the answer. An
//! endpoint's claim that it accepted the transaction is not verified.
//!
//! The reader refuses other methods, unless they are [listed](ReaderConfig::unverified). The answer
//! to a listed method comes from one endpoint, and is marked as not verified.
//!
//! # Blocks
//! * `latest` is the head at the time of the request. So is `pending`: only the sequencer knows the
//!   next block. `safe` and `finalized` fail unless the shell reports them ([`Reader::labels`]).
//!   `earliest` is block 0.
//! * Every answer refers to a block of the canonical chain. The hash of any other block is unknown.
//! * Blocks older than the received ones are fetched. The block hashes in the head's state
//!   (EIP-2935) prove the last [`HISTORY_BLOCKS`]. Without that history, such as before Isthmus,
//!   the reader follows up to [`MAX_LINKS`] parent hashes.
//! * The answer for an unknown block or transaction is `null`. The absence of a transaction can't
//!   be proved: `null` means that no recent block contains it, and that no endpoint names a block
//!   that does.
//!
//! # Form
//! Answers have op-geth's form.
//!
//! * Receipts have the L1 fees if [`ReaderConfig::forks`] is set. They are computed from the
//!   block's transactions. If the prices in the first transaction can't be read, `l1Fee`,
//!   `l1GasUsed` and `l1GasPrice` are null.
//! * A deposit that is read as a single transaction has the nonce of its receipt, which an endpoint
//!   must prove. Without a proof, and in a whole block, the nonce is 0 as in gossip.
//! * The receipts root does not commit to a deposit's nonce before Canyon. Receipts omit it.
//!
//! # Endpoints
//! A question goes to [`race`](ReaderConfig::race) endpoints at once, fastest first. One more is
//! asked after each failure or [`hedge`](ReaderConfig::hedge). The first true answer wins. If an
//! endpoint refuses a question about a block's state, the reader asks for its newest block. If that
//! block is older, the endpoint lags, and [`LagPolicy`] applies. An endpoint whose answer is
//! malformed, or false in any part, is dropped ([`ReaderOutput::Dropped`]) until
//! [`Reader::restore`].
//!
//! # Bounds
//! * Reads: [`MAX_READS`], each for at most [`ReaderConfig::read_timeout`].
//! * Each read: [`MAX_QUESTIONS`] pending questions and [`MAX_READ_BYTES`] of facts.
//! * Each call: [`MAX_CALL_ROUNDS`] executions over [`MAX_CALL_ACCOUNTS`] proofs with
//!   [`MAX_CALL_SLOTS`] slots. [`MAX_EXECUTIONS`] are in progress at once.
//! * Requests in flight: [`MAX_FETCHES`], with answers of at most [`MAX_FETCH_BYTES`].
//! * Recent blocks: [`MAX_RECENT_HEADERS`] headers, and [`MAX_RECENT_BYTES`] of whole blocks.
//! * Caches: four, of [`MAX_CACHE_BYTES`] each.

mod cache;
mod call;
mod chain;
mod config;
mod drive;
mod endpoints;
mod error;
mod execute;
mod locate;
mod need;
mod output;
mod params;
mod question;
mod request;
mod show;
mod step;
#[cfg(test)]
mod tests;

pub use config::{
    HISTORY_BLOCKS, LAG_WAIT, LagPolicy, MAX_CACHE_BYTES, MAX_CALL_ACCOUNTS, MAX_CALL_ROUNDS,
    MAX_CALL_SLOTS, MAX_ENDPOINTS, MAX_EXECUTIONS, MAX_FETCH_BYTES, MAX_FETCHES, MAX_LINKS,
    MAX_LOG_BLOCKS, MAX_QUESTIONS, MAX_READ_BYTES, MAX_READS, MAX_RECENT_BYTES, MAX_RECENT_HEADERS,
    MAX_SENT_BYTES, ReaderConfig,
};
pub use error::{Cause, Causes, ReadError};
pub use output::{ExecutionId, FetchFailure, FetchId, ReadId, ReaderOutput};

use std::collections::VecDeque;

use serde_json::Value;

use crate::chain::{BlockId, ChainEvent, Labels};
use crate::payload::Block;
use crate::proof::call::Report;
use crate::sorted::SortedMap;
use crate::time::Instant;
use chain::Chain;
use endpoints::Endpoints;
use execute::Execution;
use locate::Caches;
use need::{Fact, Key};
use question::Question;
use request::Request;

/// A pending request of the wallet.
#[derive(Debug)]
struct Read {
    request: Request,
    /// The block that `latest` names, and whose state proves older blocks. It is the head at the
    /// time of the request, or a block below it if the endpoints lag.
    anchor: Option<BlockId>,
    facts: SortedMap<Key, Fact>,
    execution: Execution,
    /// Approximate size of the facts, in bytes.
    bytes: usize,
    /// Endpoints whose claims are ignored: each named a block that is not on the chain.
    distrusted: Vec<usize>,
    /// Time until which lagging endpoints are asked again.
    lag_until: Instant,
    /// Time at which the read fails.
    until: Instant,
    /// Time at which the read fails if there is no head yet.
    head_until: Instant,
}

impl Read {
    /// Forgets where endpoints say that a transaction is.
    fn forget_claims(&mut self) {
        let bytes = &mut self.bytes;
        self.facts.retain(|key, fact| {
            let is_claim = matches!(key, Key::Claim(_));
            if is_claim {
                *bytes -= fact.size();
            }
            !is_claim
        });
    }
}

/// An endpoint request in flight.
#[derive(Clone, Copy, Debug)]
struct Fetch {
    question: u64,
    endpoint: usize,
    since: Instant,
    until: Instant,
}

/// Answers a wallet's requests: see the [module's documentation](self).
#[derive(Debug)]
pub struct Reader {
    config: ReaderConfig,
    chain: Chain,
    caches: Caches,
    endpoints: Endpoints,
    reads: SortedMap<ReadId, Read>,
    questions: SortedMap<u64, Question>,
    fetches: SortedMap<FetchId, Fetch>,
    /// Executions without a report. That of a read which has ended keeps its place until its report
    /// arrives, because the shell can't stop it.
    executing: Vec<ExecutionId>,
    outputs: VecDeque<ReaderOutput>,
    /// The last id of a read, question, fetch or execution.
    next: u64,
}

impl Reader {
    /// Creates a reader without a head. Endpoints beyond [`MAX_ENDPOINTS`] are ignored.
    pub fn new(mut config: ReaderConfig) -> Self {
        config.endpoints = config.endpoints.min(MAX_ENDPOINTS);
        Self {
            endpoints: Endpoints::new(config.endpoints),
            config,
            chain: Chain::default(),
            caches: Caches::default(),
            reads: SortedMap::new(),
            questions: SortedMap::new(),
            fetches: SortedMap::new(),
            executing: Vec::new(),
            outputs: VecDeque::new(),
            next: 0,
        }
    }

    /// Takes the next canonical block. The caller has verified its hash and signature.
    ///
    /// If its parent is a recent block below the head, the blocks above the parent leave the chain.
    /// If its parent is unknown, the chain restarts with it.
    pub fn head(&mut self, block: &Block, now: Instant) {
        self.chain.extend(block);
        self.moved(now);
    }

    /// Takes an event of the [chain view](crate::chain::ChainView). Events that don't change the
    /// canonical chain are ignored.
    pub fn follow(&mut self, event: &ChainEvent<Block>, now: Instant) {
        match event {
            ChainEvent::Extended(block) => self.head(block, now),
            ChainEvent::Reorg { ancestor, .. } => {
                self.chain.rewind(Some(*ancestor));
                self.moved(now);
            }
            ChainEvent::Skipped { to, detached, .. } => {
                let is_below = self.chain.head().is_some_and(|head| to.number <= head.number);
                if *detached || is_below {
                    self.chain.rewind(None);
                    self.moved(now);
                }
            }
            _ => {}
        }
    }

    /// Sets the safe and finalized blocks, which another program derived from L1.
    pub fn labels(&mut self, labels: Labels) {
        self.chain.labels = labels;
    }

    /// Starts a read. An [answer](ReaderOutput::Answer) always follows, unless the read is
    /// [cancelled](Self::cancel).
    ///
    /// `params` is a list, or null for an empty one. The caller bounds its size.
    pub fn request(&mut self, method: &str, params: &Value, now: Instant) -> ReadId {
        let id = ReadId(self.id());
        match Request::read(method, params, &self.config) {
            Ok(_) if self.reads.len() >= MAX_READS => {
                self.refuse(id, ReadError::TooManyReads);
            }
            Ok(request) => {
                self.begin(id, request, now);
                self.run(now);
            }
            Err(error) => self.refuse(id, error),
        }
        id
    }

    /// Takes the result of an endpoint request: the `result` of the JSON-RPC response, or the
    /// failure.
    pub fn fetched(&mut self, id: FetchId, result: Result<Value, FetchFailure>, now: Instant) {
        self.take(id, result, now);
        self.run(now);
    }

    /// Handles the report of an execution, or the reason in one sentence why it did not take place.
    /// Each execution needs one of the two, even if its read has ended.
    pub fn executed(&mut self, id: ExecutionId, result: Result<Report, String>, now: Instant) {
        self.take_report(id, result, now);
        self.run(now);
    }

    /// Cancels a read. No answer follows.
    pub fn cancel(&mut self, id: ReadId, now: Instant) {
        self.end(id);
        self.run(now);
    }

    /// Handles expired timeouts, and asks further endpoints.
    pub fn wake(&mut self, now: Instant) {
        self.expire(now);
        self.run(now);
    }

    /// Uses a dropped endpoint again, at the operator's command.
    pub fn restore(&mut self, endpoint: usize) {
        self.endpoints.restore(endpoint);
    }

    /// Returns the next action or report, or `None` if nothing is left to do for now.
    pub fn poll(&mut self) -> Option<ReaderOutput> {
        self.outputs.pop_front()
    }

    /// Returns the time at which to call [`Self::wake`], unless another input comes first.
    pub fn deadline(&self) -> Option<Instant> {
        let fetches = self.fetches.values().map(|fetch| fetch.until);
        let reads = self.reads.values().map(|read| match read.anchor {
            None if !read.request.is_constant() => read.until.min(read.head_until),
            _ => read.until,
        });
        // Without room for a request, questions wait until one ends.
        let has_room = self.fetches.len() < MAX_FETCHES;
        let questions = self.questions.values().filter(|_| has_room);
        let questions = questions.filter_map(|question| question.deadline(&self.endpoints));
        fetches.chain(reads).chain(questions).min()
    }

    /// Returns the head.
    pub fn newest(&self) -> Option<BlockId> {
        self.chain.head()
    }

    /// Returns the number of pending reads.
    pub fn pending_reads(&self) -> usize {
        self.reads.len()
    }

    /// Returns the number of endpoint requests in flight.
    pub fn pending_fetches(&self) -> usize {
        self.fetches.len()
    }

    /// Returns the approximate size of the blocks, the caches and the reads' facts, in bytes.
    pub fn bytes(&self) -> usize {
        let caches = &self.caches;
        let cached = caches.headers.bytes()
            + caches.blocks.bytes()
            + caches.receipts.bytes()
            + caches.code.bytes();
        let reads = self.reads.values().map(|read| read.bytes).sum::<usize>();
        self.chain.bytes() + self.chain.len() * 1024 + cached + reads
    }

    /// Returns `true` if the endpoint was dropped for a false answer.
    pub fn is_dropped(&self, endpoint: usize) -> bool {
        self.endpoints.is_dropped(endpoint)
    }
}
