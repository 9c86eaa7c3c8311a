//! Limits of the server: the fixed ones, and those that the operator can set.

use std::ops::RangeInclusive;
use std::time::Duration;

/// Maximum number of open connections, unless the settings say otherwise.
pub const CONNECTIONS: u32 = 128;
/// Maximum number of connections from one address other than loopback, unless the settings say
/// otherwise.
pub const CONNECTIONS_PER_ADDRESS: u32 = 32;
/// Maximum number of connections beyond those limits that may ask for the node's health.
pub const SPARE: usize = 16;
/// Time limit for such a connection.
pub const SPARE_TIME: Duration = Duration::from_secs(5);
/// Time limit for a request's headers, and for the pause between two requests.
pub const HEADER_TIME: Duration = Duration::from_secs(15);
/// Time limit for a request's body.
pub const REQUEST_TIME: Duration = Duration::from_secs(60);
/// Time limit for a call, except for publications: `opp2p_connectPeer` takes up to 30 s.
pub const CALL_TIME: Duration = Duration::from_secs(60);
/// Minimum time limit for the answer to a request over HTTP, which may be a batch.
pub const ANSWER_TIME: Duration = Duration::from_secs(120);
/// Maximum size of a request's body, or of a WebSocket message, in bytes, unless the settings say
/// otherwise.
pub const MAX_REQUEST: u32 = 256 * 1024;
/// Maximum size, in bytes, of a request from a caller with permission to change something, over
/// HTTP and with a declared length: a block of 10 MB in hexadecimal.
pub const MAX_BLOCK_REQUEST: u32 = 24 << 20;
/// Maximum number of such requests that are read or answered at once.
pub const BLOCK_REQUESTS: usize = 4;
/// Maximum size of an answer in bytes.
pub const MAX_ANSWER: u32 = 8 << 20;
/// Maximum number of calls in one batch, which are answered in turn, unless the settings say
/// otherwise: as many as geth takes.
pub const MAX_BATCH: u32 = 1000;
/// Maximum number of subscriptions per connection, unless the settings say otherwise.
pub const SUBSCRIPTIONS: u32 = 8;
/// Maximum number of feeds in all, unless the settings say otherwise.
pub const FEEDS: u32 = 64;
/// Maximum number of feeds that hold blocks at a time.
pub const FEED_READS: usize = 8;
/// Maximum number of answers that wait for one WebSocket.
pub const MESSAGES: u32 = 4;
/// Maximum size of a request's headers in bytes.
pub(super) const HEADER_BYTES: usize = 16 * 1024;

/// Limits of the server that the operator can set. The [module's documentation](super) describes
/// the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RpcLimits {
    /// Maximum number of open connections.
    pub connections: u32,
    /// Maximum number of connections from one address other than loopback.
    pub connections_per_address: u32,
    /// Maximum number of subscriptions per connection.
    pub subscriptions: u32,
    /// Maximum number of feeds in all.
    pub feeds: u32,
    /// Maximum number of calls in one batch.
    pub batch: u32,
    /// Maximum size of a request's body, or of a WebSocket message, in bytes.
    pub request: u32,
}

impl Default for RpcLimits {
    fn default() -> Self {
        Self {
            connections: CONNECTIONS,
            connections_per_address: CONNECTIONS_PER_ADDRESS,
            subscriptions: SUBSCRIPTIONS,
            feeds: FEEDS,
            batch: MAX_BATCH,
            request: MAX_REQUEST,
        }
    }
}

impl RpcLimits {
    /// Accepted numbers of open connections, in all and from one address.
    pub const CONNECTIONS: RangeInclusive<u32> = 1..=65_536;
    /// Accepted numbers of subscriptions per connection; 0 permits none.
    pub const SUBSCRIPTIONS: RangeInclusive<u32> = 0..=1024;
    /// Accepted numbers of feeds; 0 permits none.
    pub const FEEDS: RangeInclusive<u32> = 0..=65_536;
    /// Accepted numbers of calls in one batch.
    pub const BATCH: RangeInclusive<u32> = 1..=100_000;
    /// Accepted sizes of a request in bytes.
    pub const REQUEST: RangeInclusive<u32> = 1024..=MAX_BLOCK_REQUEST;
}
