//! Blocks that come neither from gossip nor by number: an engine built them, or an administrator
//! submits them (`admin_postUnsafePayload`).

use crate::payload::{Block, DecodeError, EncodeError, Envelope};
use alloy_primitives::B256;

/// Reason for refusing a block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InsertError {
    /// The block can't be encoded.
    #[error("the block can't be encoded: {0}")]
    Encode(#[from] EncodeError),
    /// Peers could not decode the block's encoding.
    #[error("no peer could decode the block: {0}")]
    Decode(#[from] DecodeError),
    /// The claimed hash is not the hash of the header.
    #[error("payload block hash {0} does not match: it is the hash of other contents")]
    Hash(B256),
}

/// Returns the block of an envelope if its hash is correct. The block's fields decide its version,
/// whatever our fork schedule says. This takes as long as validation without a signature, so a
/// driver runs it on another thread.
///
/// # Errors
/// The defect of the envelope.
pub fn vouched(envelope: &Envelope) -> Result<Block, InsertError> {
    let mut body = Vec::new();
    let version = envelope.encode(&mut body)?;
    let block = Block::decode(version, None, body.into())?;
    if block.has_true_hash() { Ok(block) } else { Err(InsertError::Hash(block.hash())) }
}
