//! Configuration and limits of a reader.

use std::time::Duration;

use crate::chain::ForkSchedule;
use crate::proof::call::RuleSchedule;

/// Maximum number of pending reads. Further requests are refused.
pub const MAX_READS: usize = 256;
/// Maximum number of endpoint requests in flight. Further ones wait.
pub const MAX_FETCHES: usize = 64;
/// Maximum number of endpoints.
pub const MAX_ENDPOINTS: usize = 16;
/// Maximum size of an endpoint's answer, in bytes. The shell reads no more.
pub const MAX_FETCH_BYTES: usize = 32 << 20;
/// Maximum size of the facts that one read collects, and of its answer, in bytes.
pub const MAX_READ_BYTES: usize = 32 << 20;
/// Maximum number of pending questions of one read.
pub const MAX_QUESTIONS: usize = 8;
/// Maximum number of blocks in the range of `eth_getLogs`.
pub const MAX_LOG_BLOCKS: u64 = 1024;
/// Maximum size of a sent transaction, in bytes. Execution clients accept no larger one.
pub const MAX_SENT_BYTES: usize = 128 << 10;
/// Number of ancestors whose hashes a block's state holds, from Isthmus on (EIP-2935).
pub const HISTORY_BLOCKS: u64 = 8191;
/// Maximum number of parent hashes to follow where the state holds no block hashes.
pub const MAX_LINKS: u64 = 256;
/// Maximum number of recent headers in memory, of about 1 kB each.
pub const MAX_RECENT_HEADERS: usize = 4096;
/// Maximum size of the recent blocks held with their transactions, in bytes.
pub const MAX_RECENT_BYTES: usize = 32 << 20;
/// Maximum size of each cache (fetched headers, fetched blocks, receipts and code), in bytes.
pub const MAX_CACHE_BYTES: usize = 8 << 20;
/// Maximum number of executions of one call, each of which names what the next one needs.
pub const MAX_CALL_ROUNDS: usize = 64;
/// Maximum number of proofs that an executor asks for in one call, each of an account with at most
/// 64 slots. An endpoint's hint adds at most half as many.
pub const MAX_CALL_ACCOUNTS: usize = 512;
/// Maximum number of slots that an executor asks for in one call. An endpoint's hint adds at most
/// half as many.
pub const MAX_CALL_SLOTS: usize = 4096;
/// Maximum number of executions without a report. Further ones wait.
pub const MAX_EXECUTIONS: usize = 4;
/// Time for which a read of one particular block waits for an endpoint to catch up, and the default
/// of [`LagPolicy::Wait`].
pub const LAG_WAIT: Duration = Duration::from_secs(5);

/// How to answer a read of the head while no endpoint has the head's state.
///
/// Gossip is often faster than an endpoint's execution of the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LagPolicy {
    /// Wait for an endpoint to catch up, at most this long.
    Wait(Duration),
    /// Answer at the newest block that an endpoint has. The answer names the block.
    Newest {
        /// Maximum number of blocks below the head.
        max_blocks: u64,
    },
}

/// Configuration of a [`Reader`](super::Reader).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReaderConfig {
    /// Chain id.
    pub chain_id: u64,
    /// Number of endpoints, at most [`MAX_ENDPOINTS`]. Endpoints are identified by index.
    pub endpoints: usize,
    /// The chain's rules, if the shell [executes](super::ReaderOutput::Execute) calls. With `None`,
    /// the methods that execute a call are refused.
    pub calls: Option<RuleSchedule>,
    /// How to answer a read of the head while no endpoint has the head's state.
    pub lag: LagPolicy,
    /// Methods whose answers come from an endpoint without verification, and are marked so. Listing
    /// a method that can be verified has no effect.
    pub unverified: Vec<String>,
    /// Number of endpoints to ask the same question at once. The first true answer wins.
    pub race: usize,
    /// Time without an answer after which one more endpoint is asked.
    pub hedge: Duration,
    /// Timeout of one endpoint request.
    pub fetch_timeout: Duration,
    /// Timeout of a read.
    pub read_timeout: Duration,
    /// Time for which a read waits for the first head.
    pub head_timeout: Duration,
    /// The chain's forks, by which the [L1 fees](crate::proof::L1Prices) of receipts are computed.
    /// With `None`, receipts have no fees.
    pub forks: Option<ForkSchedule>,
}

impl ReaderConfig {
    /// Creates the default configuration: no calls, a race of two, [`LagPolicy::Wait`] with
    /// [`LAG_WAIT`], a hedge of 1 s, 10 s for a fetch, 30 s for a read, and 10 s for the first
    /// head.
    pub const fn new(chain_id: u64, endpoints: usize) -> Self {
        Self {
            chain_id,
            endpoints,
            calls: None,
            lag: LagPolicy::Wait(LAG_WAIT),
            unverified: Vec::new(),
            race: 2,
            hedge: Duration::from_secs(1),
            fetch_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
            head_timeout: Duration::from_secs(10),
            forks: None,
        }
    }
}
