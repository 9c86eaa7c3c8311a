//! A reader answers a wallet's JSON-RPC requests by gossip and by untrusted endpoints.
//!
//! [`Reader`] decides which requests to endpoints a method needs, and proves each answer by a block
//! of the canonical chain. Its shell carries out the requests. An endpoint whose answer is false is
//! dropped, and the next one is asked.
//!
//! # Use
//! The shell
//!
//! 1. passes each canonical block to [`Reader::head`] (or each chain event to [`Reader::follow`]),
//!    each call of the wallet to [`Reader::request`], and each result of an endpoint to
//!    [`Reader::fetched`];
//! 2. drains [`Reader::poll`] after each input, and executes the outputs;
//! 3. calls [`Reader::wake`] at [`Reader::deadline`].
//!
//! # Methods
//! By gossip alone, for recent blocks: `eth_chainId`, `net_version`, `eth_blockNumber`,
//! `eth_syncing`, `eth_getBlockByNumber`, `eth_getBlockByHash`,
//! `eth_getBlockTransactionCountByNumber`, `…ByHash`, `eth_getTransactionByBlockNumberAndIndex`,
//! `…ByBlockHashAndIndex`, `eth_getTransactionByHash`.
//!
//! By proofs: `eth_getBalance`, `eth_getTransactionCount`, `eth_getCode`, `eth_getStorageAt`,
//! `eth_getProof` (state root); `eth_getTransactionReceipt`, `eth_getBlockReceipts`, `eth_getLogs`
//! (receipts root; the bloom filters of the headers show which blocks have no matching log).
//!
//! `eth_sendRawTransaction` goes to all endpoints. The hash in the answer is computed here; that an
//! endpoint accepted the transaction is its own word, until a block contains it.
//!
//! Every other method is refused, unless it is [listed](ReaderConfig::unverified): then the answer
//! of one endpoint is passed on, and marked as not verified.
//!
//! # Blocks
//! * `latest` is the head at the time of the request. `pending` is the same: only the sequencer
//!   knows the next block. `safe` and `finalized` are known only if the shell reports them
//!   ([`Reader::labels`]), and an error otherwise. `earliest` is block 0.
//! * Every answer is about a block of the canonical chain. A hash of another block is unknown.
//! * Older blocks than those received are fetched, and proved by the block hashes in the state of
//!   the head (EIP-2935), the last [`HISTORY_BLOCKS`]. Where the state has none, before Isthmus,
//!   parent hashes are followed, at most [`MAX_LINKS`].
//! * A block or transaction that is not known is `null`. No proof shows that the chain does not
//!   contain a transaction: `null` means that the recent blocks don't, and that no endpoint names
//!   a block that does.
//!
//! # Fields that are left out
//! A receipt has no fees for L1 data, and a deposit before Canyon has no nonce: the receipts root
//! does not commit to them. A deposit as a transaction has the nonce 0, as in gossip.
//!
//! # Endpoints
//! A question goes to [`race`](ReaderConfig::race) endpoints at once, the fastest first, and to one
//! more after each failure or [`hedge`](ReaderConfig::hedge). The first true answer wins. An
//! endpoint that refuses a question about the state of a block is asked for its newest block: if
//! that is older, it lags, and [`LagPolicy`] applies. An answer with a false part, or with another
//! shape than the method has, causes the endpoint to be dropped for good
//! ([`ReaderOutput::Dropped`]), until [`Reader::restore`].
//!
//! # Bounds
//! [`MAX_READS`] reads. Each asks [`MAX_QUESTIONS`] questions at once and collects
//! [`MAX_READ_BYTES`]; [`MAX_FETCHES`] requests in flight, with answers of [`MAX_FETCH_BYTES`];
//! [`MAX_RECENT_HEADERS`] headers and [`MAX_RECENT_BYTES`] of recent blocks; four caches of
//! [`MAX_CACHE_BYTES`]. A read ends within [`ReaderConfig::read_timeout`].

mod cache;
mod chain;
mod config;
mod drive;
mod endpoints;
mod error;
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
    HISTORY_BLOCKS, LAG_WAIT, LagPolicy, MAX_CACHE_BYTES, MAX_ENDPOINTS, MAX_FETCH_BYTES,
    MAX_FETCHES, MAX_LINKS, MAX_LOG_BLOCKS, MAX_QUESTIONS, MAX_READ_BYTES, MAX_READS,
    MAX_RECENT_BYTES, MAX_RECENT_HEADERS, MAX_SENT_BYTES, ReaderConfig,
};
pub use error::{Cause, Causes, ReadError};
pub use output::{FetchFailure, FetchId, ReadId, ReaderOutput};

use std::collections::VecDeque;

use serde_json::Value;

use crate::chain::{BlockId, ChainEvent, Labels};
use crate::payload::Block;
use crate::sorted::SortedMap;
use crate::time::Instant;
use chain::Chain;
use endpoints::Endpoints;
use locate::Caches;
use need::{Fact, Key};
use question::Question;
use request::Request;

/// A request that waits for its answer.
#[derive(Debug)]
struct Read {
    request: Request,
    /// The block that `latest` means, and by whose state older blocks are found. The head at the
    /// time of the request, or a block below it if the endpoints lag.
    anchor: Option<BlockId>,
    facts: SortedMap<Key, Fact>,
    /// Size of the facts.
    bytes: usize,
    /// Endpoints whose claims can't be used.
    distrusted: Vec<usize>,
    lag_until: Instant,
    until: Instant,
    /// Until then, the read waits for the first head.
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

/// A request to an endpoint in flight.
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
    outputs: VecDeque<ReaderOutput>,
    /// The next id of a read, question or fetch.
    next: u64,
}

impl Reader {
    /// Creates a reader without a head. Endpoints above [`MAX_ENDPOINTS`] are not asked.
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
            outputs: VecDeque::new(),
            next: 0,
        }
    }

    /// Takes the next canonical block, whose hash and signature are verified.
    ///
    /// If its parent is a recent block below the head, the blocks above the parent leave the chain.
    /// If its parent is not known, the chain begins again with it.
    pub fn head(&mut self, block: &Block, now: Instant) {
        self.chain.extend(block);
        self.moved(now);
    }

    /// Takes a change of the canonical chain, as the [chain view](crate::chain::ChainView) reports
    /// it. Events that don't change the canonical chain are ignored.
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

    /// Sets the safe and finalized blocks, which another program read from L1.
    pub fn labels(&mut self, labels: Labels) {
        self.chain.labels = labels;
    }

    /// Starts a read. Its [answer](ReaderOutput::Answer) follows in every case, unless it is
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

    /// Takes the result of a request to an endpoint: the `result` of the JSON-RPC response, or the
    /// reason why it is missing.
    pub fn fetched(&mut self, id: FetchId, result: Result<Value, FetchFailure>, now: Instant) {
        self.take(id, result, now);
        self.run(now);
    }

    /// Ends a read without an answer.
    pub fn cancel(&mut self, id: ReadId, now: Instant) {
        self.end(id);
        self.run(now);
    }

    /// Handles everything that is due.
    pub fn wake(&mut self, now: Instant) {
        self.expire(now);
        self.run(now);
    }

    /// Asks a dropped endpoint again, at the operator's command.
    pub fn restore(&mut self, endpoint: usize) {
        self.endpoints.restore(endpoint);
    }

    /// Returns the next action or report, or `None` if nothing is left to do for now.
    pub fn poll(&mut self) -> Option<ReaderOutput> {
        self.outputs.pop_front()
    }

    /// Returns the time of the next [`Self::wake`] if nothing happens earlier.
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

    /// Returns the newest canonical block.
    pub fn newest(&self) -> Option<BlockId> {
        self.chain.head()
    }

    /// Returns the number of reads that wait for their answer.
    pub fn pending_reads(&self) -> usize {
        self.reads.len()
    }

    /// Returns the number of requests to endpoints in flight.
    pub fn pending_fetches(&self) -> usize {
        self.fetches.len()
    }

    /// Returns the size in bytes, approximately, of the blocks, the caches and the facts of the
    /// reads.
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
