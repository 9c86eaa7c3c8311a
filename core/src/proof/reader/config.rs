//! Configuration and limits of a reader.

use std::time::Duration;

/// Maximum number of reads that wait for an answer. A further request is refused.
pub const MAX_READS: usize = 256;
/// Maximum number of requests to endpoints in flight. Further ones wait for an answer.
pub const MAX_FETCHES: usize = 64;
/// Maximum number of endpoints.
pub const MAX_ENDPOINTS: usize = 16;
/// Maximum size of an endpoint's answer in bytes. The shell reads no more.
pub const MAX_FETCH_BYTES: usize = 32 << 20;
/// Maximum size of the facts that one read collects, and of its answer, in bytes.
pub const MAX_READ_BYTES: usize = 32 << 20;
/// Maximum number of questions that one read asks at the same time.
pub const MAX_QUESTIONS: usize = 8;
/// Maximum number of blocks in the range of `eth_getLogs`.
pub const MAX_LOG_BLOCKS: u64 = 1024;
/// Maximum size of a transaction that is sent, in bytes: no client's pool accepts a larger one.
pub const MAX_SENT_BYTES: usize = 128 << 10;
/// Number of blocks below a block whose hashes are in its state, from Isthmus on (EIP-2935).
pub const HISTORY_BLOCKS: u64 = 8191;
/// Maximum number of parent links that are followed where the state has no block hashes.
pub const MAX_LINKS: u64 = 256;
/// Maximum number of headers of recent blocks in memory: 1 kB each.
pub const MAX_RECENT_HEADERS: usize = 4096;
/// Maximum size of the recent blocks with their transactions in memory, in bytes.
pub const MAX_RECENT_BYTES: usize = 32 << 20;
/// Maximum size of each cache in bytes: fetched headers, fetched blocks, receipts and code.
pub const MAX_CACHE_BYTES: usize = 8 << 20;
/// Time that an endpoint has to catch up for a read of one particular block, and the default of
/// [`LagPolicy::Wait`].
pub const LAG_WAIT: Duration = Duration::from_secs(5);

/// What happens if no endpoint has the state of the head yet.
///
/// Gossip is often faster than an endpoint's execution of the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LagPolicy {
    /// The read waits for an endpoint to catch up, at most this long.
    Wait(Duration),
    /// The read is answered at the newest block that an endpoint has, at most this number of blocks
    /// below the head. The answer names the block.
    Newest {
        /// Maximum number of blocks below the head.
        max_blocks: u64,
    },
}

/// Configuration of a [`Reader`](super::Reader).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReaderConfig {
    /// The chain's id.
    pub chain_id: u64,
    /// Number of endpoints, at most [`MAX_ENDPOINTS`]. An endpoint is named by its index.
    pub endpoints: usize,
    /// What happens if no endpoint has the state of the head yet.
    pub lag: LagPolicy,
    /// Methods that pass through to an endpoint. Their answers are not verified, and marked so. A
    /// method that can be verified is verified even if it is listed here.
    pub unverified: Vec<String>,
    /// Number of endpoints that are asked the same question at once. The first true answer wins.
    pub race: usize,
    /// Time after which a further endpoint is asked, if no answer has arrived.
    pub hedge: Duration,
    /// Time that an endpoint has for an answer.
    pub fetch_timeout: Duration,
    /// Time that a read has in all.
    pub read_timeout: Duration,
    /// Time that a read waits for the first head.
    pub head_timeout: Duration,
}

impl ReaderConfig {
    /// Creates the default configuration for a chain and a number of endpoints: a race of two,
    /// [`LagPolicy::Wait`] with [`LAG_WAIT`].
    pub const fn new(chain_id: u64, endpoints: usize) -> Self {
        Self {
            chain_id,
            endpoints,
            lag: LagPolicy::Wait(LAG_WAIT),
            unverified: Vec::new(),
            race: 2,
            hedge: Duration::from_secs(1),
            fetch_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
            head_timeout: Duration::from_secs(10),
        }
    }
}
