//! Sources of blocks: peers, and JSON-RPC endpoints that the operator named.

use alloy_primitives::U64;
use serde_json::json;

use crate::chain::BlockId;
use crate::peers::PeerId;

/// Source of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// A peer, by `payload_by_number`.
    Peer(PeerId),
    /// A JSON-RPC endpoint, by its position in the operator's list.
    Endpoint(usize),
}

impl Source {
    /// Returns the peer, or `None` for an endpoint.
    pub const fn peer(self) -> Option<PeerId> {
        match self {
            Self::Peer(peer) => Some(peer),
            Self::Endpoint(_) => None,
        }
    }
}

/// Method by which an endpoint is asked for a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RpcMethod {
    /// `debug_getRawBlock`: the block in the form that is hashed, with transactions of any type.
    #[default]
    Raw,
    /// `eth_getBlockByHash` or `eth_getBlockByNumber`: the parts of the block, for endpoints
    /// without the debug API.
    Parts,
}

/// Block to request from an endpoint: by its hash if it is known, otherwise by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Block(BlockId),
    Number(u64),
}

impl RpcMethod {
    /// Returns the JSON-RPC request, as the body of an HTTP POST.
    pub(super) fn request(self, id: u64, wanted: Wanted) -> String {
        let (method, params) = match (self, wanted) {
            (Self::Raw, Wanted::Block(block)) => ("debug_getRawBlock", json!([block.hash])),
            (Self::Raw, Wanted::Number(number)) => {
                ("debug_getRawBlock", json!([U64::from(number)]))
            }
            (Self::Parts, Wanted::Block(block)) => {
                ("eth_getBlockByHash", json!([block.hash, true]))
            }
            (Self::Parts, Wanted::Number(number)) => {
                ("eth_getBlockByNumber", json!([U64::from(number), true]))
            }
        };
        json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string()
    }

    /// Returns the maximum size, in bytes, of an answer with a block of `limit` bytes: hexadecimal
    /// digits, and names in front of parts.
    pub(super) const fn answer_limit(self, limit: usize) -> usize {
        let limit = match self {
            Self::Raw => limit.saturating_mul(2),
            Self::Parts => limit.saturating_mul(8),
        };
        if limit < MAX_RPC_ANSWER { limit } else { MAX_RPC_ANSWER }
    }
}

/// Maximum size of an endpoint's answer, in bytes: 10 MiB in hexadecimal digits, and a margin.
pub const MAX_RPC_ANSWER: usize = 21 << 20;
