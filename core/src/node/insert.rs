//! Blocks that come neither from gossip nor by number: an engine built them, or an administrator hands them in
//! (`admin_postUnsafePayload`).

use super::Node;
use crate::chain::ChainConfig;
use crate::payload::{Block, DecodeError, EncodeError, Envelope, PayloadVersion};
use crate::time::Now;
use alloy_primitives::B256;

/// Why a block can't be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InsertError {
    /// The block can't be encoded.
    #[error("the block can't be encoded: {0}")]
    Encode(#[from] EncodeError),
    /// Peers could not decode what its encoding is.
    #[error("the block can't be sent to anybody: {0}")]
    Decode(#[from] DecodeError),
    /// The block's fields are those of another fork than its timestamp's.
    #[error("the block is a {found} payload, but the fork at its timestamp takes {expected}")]
    WrongVersion {
        /// Version that the fields ask for.
        found: PayloadVersion,
        /// Version at the block's timestamp.
        expected: PayloadVersion,
    },
    /// The hash that it claims is not that of its header.
    #[error("payload block hash {0} does not match: it is the hash of other contents")]
    Hash(B256),
}

/// The block of an envelope, if it is one of this chain's and its hash is true. It takes as long as validation without a
/// signature, so that a driver does it on another thread.
///
/// # Errors
/// What is wrong with it.
pub fn vouched(chain: &ChainConfig, envelope: &Envelope) -> Result<Block, InsertError> {
    let mut body = Vec::new();
    let found = envelope.encode(&mut body)?;
    let expected = PayloadVersion::at(&chain.forks, envelope.payload.timestamp);
    if found != expected {
        return Err(InsertError::WrongVersion { found, expected });
    }
    let block = Block::decode(found, None, body.into())?;
    if block.has_true_hash() { Ok(block) } else { Err(InsertError::Hash(block.hash())) }
}

impl Node {
    /// Takes a block for which its bringer vouches. That gossip may bring it too, and has it relayed, is left as it is.
    pub(super) fn insert(&mut self, now: Now, block: &Block) {
        self.extend(now, block);
    }
}
