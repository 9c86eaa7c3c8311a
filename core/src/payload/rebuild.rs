//! Blocks in the formats of execution clients: RLP (`debug_getRawBlock`) and JSON
//! (`eth_getBlockByNumber` with transactions).
//!
//! The hash is recomputed from the rebuilt payload, and decoding fails if it differs from the hash
//! of the given header. The caller checks that it is the requested hash.
//!
//! RLP carries transactions of any type unchanged. JSON has the fields of a transaction instead of
//! its bytes, so only the transaction types known here can be rebuilt from it.

mod json;
mod rlp;

pub use rlp::to_rlp;

use super::{Block, DecodeError, EncodeError, Envelope, ExecutionPayload};
use alloy_primitives::B256;
use serde_json::Value;

/// Error of rebuilding a block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RebuildError {
    /// The bytes are not a block in RLP.
    #[error("the bytes are not a block in RLP: {0}")]
    Rlp(alloy_rlp::Error),
    /// A field of the JSON is missing or has another type.
    #[error("the JSON is not a block: {0}")]
    Json(String),
    /// The JSON contains a transaction of a type with an unknown encoding.
    #[error("the block has a transaction of type {0:#04x}, which JSON can't carry; its RLP can")]
    TransactionType(u64),
    /// The block has uncles or withdrawals, which blocks of the OP Stack don't have.
    #[error("the block has {0}, which blocks of the OP Stack don't have")]
    Foreign(&'static str),
    /// No version has this combination of fields.
    #[error(transparent)]
    Fields(#[from] EncodeError),
    /// The payload does not decode.
    #[error(transparent)]
    Payload(#[from] DecodeError),
    /// The header's hash differs from that of the rebuilt block: a part is wrong, or blocks of the
    /// chain have a part that a payload does not carry.
    #[error("the rebuilt block does not have the hash of its header")]
    Hash,
}

impl Block {
    /// Rebuilds a block from the RLP of an execution client. Recomputes the hash.
    ///
    /// # Errors
    /// If the bytes are not a block in RLP, or if a payload can't represent the block.
    pub fn from_rlp(bytes: &[u8]) -> Result<Self, RebuildError> {
        sealed(&rlp::envelope(bytes)?)
    }

    /// Rebuilds a block from the JSON of an execution client, with full transactions. Recomputes
    /// the hash.
    ///
    /// # Errors
    /// If the JSON is not a block, or if a payload can't represent the block.
    pub fn from_json(value: &Value) -> Result<Self, RebuildError> {
        sealed(&json::envelope(value)?)
    }
}

fn sealed(envelope: &Envelope) -> Result<Block, RebuildError> {
    let mut body = Vec::new();
    let version = envelope.encode(&mut body)?;
    let block = Block::decode(version, None, body.into())?;
    if block.has_true_hash() { Ok(block) } else { Err(RebuildError::Hash) }
}

/// Optional fields of the header, which determine the payload's version.
struct Since {
    withdrawals_root: Option<B256>,
    blob_gas_used: Option<u64>,
    excess_blob_gas: Option<u64>,
    parent_beacon_block_root: Option<B256>,
    requests_hash: Option<B256>,
}

impl Since {
    /// Adds the fields to the payload and its envelope. The payload itself carries the withdrawals
    /// root only from Isthmus on, when headers have a requests hash.
    fn envelope(self, payload: ExecutionPayload) -> Envelope {
        let withdrawals_root = self.withdrawals_root.filter(|_| self.requests_hash.is_some());
        Envelope {
            parent_beacon_block_root: self.parent_beacon_block_root,
            payload: ExecutionPayload {
                withdrawals: self.withdrawals_root.map(|_| Vec::new()),
                blob_gas_used: self.blob_gas_used,
                excess_blob_gas: self.excess_blob_gas,
                withdrawals_root,
                ..payload
            },
        }
    }
}
