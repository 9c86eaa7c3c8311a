//! JSON types that several interfaces share.

mod envelope;

pub use envelope::EnvelopeJson;

use alloy_primitives::B256;
use opp2p_core::chain::{BlockId, Span};
use serde::{Deserialize, Serialize};

/// A block by number and hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Id {
    /// Its number.
    pub number: u64,
    /// Its hash.
    pub hash: B256,
}

impl From<BlockId> for Id {
    fn from(id: BlockId) -> Self {
        Self { number: id.number, hash: id.hash }
    }
}

/// Consecutive blocks: a list, lowest first, or an object with the bounds of a run of more than
/// 256.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Ids {
    /// Every block, lowest first.
    Listed(Vec<Id>),
    /// A long run.
    Range {
        /// Number of blocks.
        count: u64,
        /// The lowest block.
        lowest: Id,
        /// The highest block.
        highest: Id,
    },
}

impl From<Span> for Ids {
    fn from(span: Span) -> Self {
        match span {
            Span::Listed(ids) => Self::Listed(ids.into_iter().map(Into::into).collect()),
            Span::Range { count, lowest, highest } => {
                Self::Range { count, lowest: lowest.into(), highest: highest.into() }
            }
        }
    }
}
