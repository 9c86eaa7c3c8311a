//! Settings, steps and results of the range client.

use std::time::Duration;

use super::source::Source;
use crate::chain::BlockId;
use crate::payload::Block;
use crate::peers::{Conduct, PeerId};
use crate::sync::check::{AnswerError, CheckWork};
use crate::sync::rate::Rate;

/// Identifies a request; assigned by the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub(in crate::sync) u64);

/// Settings and bounds of a [`RangeClient`](super::RangeClient).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientConfig {
    /// Maximum number of requests in flight, both for all servers together and for each.
    pub in_flight: usize,
    /// Number of heights, at and below the frontier, that are fetched at once.
    pub window: usize,
    /// Maximum size of all answers, in bytes: those awaited, being checked, and waiting for the
    /// block above them. At least 41 MiB, as one answer may have 10 MiB and is compressed, and
    /// another one may be late.
    pub bytes: usize,
    /// Maximum number of remembered peers.
    pub servers: usize,
    /// Whether peers are asked at all.
    pub asks_peers: bool,
    /// Number of JSON-RPC endpoints of the driver, which are identified by their position in its
    /// list.
    pub endpoints: usize,
    /// Maximum rate of requests to each endpoint.
    pub endpoint_rate: Rate,
    /// Ask only static peers (`--p2p.sync.onlyreqtostatic`).
    pub only_static: bool,
}

impl Default for ClientConfig {
    /// 64 requests, a window of 256 numbers, 52 MiB, 1,024 peers; no endpoints, 10 requests per
    /// second to each.
    fn default() -> Self {
        Self {
            in_flight: 64,
            window: 256,
            bytes: 52 << 20,
            servers: 1024,
            asks_peers: true,
            endpoints: 0,
            endpoint_rate: Rate::per_second(10, 20),
            only_static: false,
        }
    }
}

/// Blocks to fetch: `wanted`, whose hash is known, and everything below it down to `lowest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Next block to prove.
    pub wanted: BlockId,
    /// Lowest number to ask for.
    pub lowest: u64,
}

/// Result of a request, for statistics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The source that was asked.
    pub source: Source,
    /// The requested number.
    pub number: u64,
    /// Time from sending the request to the end of the check.
    pub took: Duration,
    /// The block, or why there is none.
    pub result: Result<BlockId, AnswerError>,
}

/// Action that the client requests from its caller, or a report.
#[derive(Clone, Debug)]
pub enum ClientStep {
    /// Send a request. [`RangeClient::received`](super::RangeClient::received) must follow, at the
    /// latest when the request has timed out.
    Ask {
        /// Id of the request.
        id: RequestId,
        /// Peer to ask.
        peer: PeerId,
        /// Number to ask for.
        number: u64,
        /// Maximum size of the answer in bytes, both as received and decompressed; more must not be
        /// read.
        limit: usize,
    },
    /// Post a JSON-RPC request to an endpoint.
    /// [`RangeClient::received`](super::RangeClient::received) must follow with the body of the
    /// answer.
    AskEndpoint {
        /// Id of the request.
        id: RequestId,
        /// Position of the endpoint in the driver's list.
        endpoint: usize,
        /// Number to ask for.
        number: u64,
        /// Body of the request.
        body: String,
        /// Maximum size of the answer in bytes; more must not be read.
        limit: usize,
    },
    /// Run this check and pass its result to [`RangeClient::checked`](super::RangeClient::checked).
    Check(RequestId, CheckWork),
    /// Next proved block downwards, linked to the one before, and its source.
    Proved(Block, Source),
    /// Conduct of a server.
    Conduct(PeerId, Conduct),
    /// A request ended.
    Answered(Answered),
}
