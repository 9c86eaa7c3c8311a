//! The reasons why a read has no result.

use std::fmt;

use serde_json::Value;

use super::config::{MAX_LOG_BLOCKS, MAX_READ_BYTES, MAX_READS};
use crate::chain::Unlabelled;

/// The reason why one endpoint gave no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It refused the request, did not answer in time, or could not be reached: one sentence.
    Failed(String),
    /// Its newest block is below the block of the read.
    Lags {
        /// The number that it names as its newest block.
        head: u64,
    },
    /// It does not have what the request names.
    Absent,
    /// It was dropped for a false answer.
    Dropped,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(reason) => f.write_str(reason),
            Self::Lags { head } => write!(f, "it has only the blocks up to {head}"),
            Self::Absent => f.write_str("it does not have this"),
            Self::Dropped => f.write_str("it was dropped for a false answer"),
        }
    }
}

/// The causes of all endpoints, by their indices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Causes(pub Vec<Cause>);

impl fmt::Display for Causes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no endpoint is configured");
        }
        for (index, cause) in self.0.iter().enumerate() {
            let comma = if index > 0 { "; " } else { "" };
            write!(f, "{comma}endpoint {index}: {cause}")?;
        }
        Ok(())
    }
}

/// The reason why a read has no result. Its text is one sentence for the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The method can't be verified, and is not listed as unverified.
    #[error(
        "{0} is refused, because its answer can't be verified: list it as unverified to trust an \
         endpoint's answer"
    )]
    NotVerifiable(String),
    /// The parameters are wrong.
    #[error("parameter {index}: {expected}")]
    BadParams {
        /// Index of the parameter.
        index: usize,
        /// What is expected there.
        expected: String,
    },
    /// There is no head yet.
    #[error("there is no block yet: the first one from gossip is awaited")]
    NoHead,
    /// The safe or finalized block is not known.
    #[error(transparent)]
    Unlabelled(#[from] Unlabelled),
    /// The chain has no such block, or not yet.
    #[error("the block is not known: it is above the head, or not of this chain")]
    UnknownBlock,
    /// The block is so old that nothing links it to the head within the limits.
    #[error("block {number} is too old: it can be proved down to block {lowest}")]
    TooOld {
        /// Number of the block.
        number: u64,
        /// The lowest number that can be proved.
        lowest: u64,
    },
    /// The range of blocks is too long, or its end is below its start.
    #[error("the range has {0} blocks, and 1 to {MAX_LOG_BLOCKS} are accepted")]
    Range(u64),
    /// No endpoint gave a true answer.
    #[error("no endpoint answered {method}: {causes}")]
    Failed {
        /// The method that the endpoints were asked for.
        method: String,
        /// The endpoints' causes.
        causes: Causes,
    },
    /// Every endpoint was dropped for a false answer.
    #[error("every endpoint was dropped for a false answer")]
    AllDropped,
    /// No endpoint has the state of the block yet.
    #[error("no endpoint has block {number} yet: the newest that one has is {newest}")]
    Lagging {
        /// Number of the block.
        number: u64,
        /// The newest block that an endpoint has, as it says.
        newest: u64,
    },
    /// The read took too long.
    #[error("the read took too long")]
    TimedOut,
    /// Too many reads wait for their answer.
    #[error("{MAX_READS} reads wait for an answer already: try again later")]
    TooManyReads,
    /// The read or its answer is too large.
    #[error("the read needs more than {MAX_READ_BYTES} bytes: ask for less")]
    TooLarge,
    /// The endpoint's own error: of a transaction that was not accepted, or of a method that is
    /// not verified.
    #[error("{message}")]
    Endpoint {
        /// Error code.
        code: i64,
        /// Error message.
        message: String,
        /// Further data, or null.
        data: Value,
    },
}

impl ReadError {
    /// Returns the JSON-RPC error code (EIP-1474).
    pub const fn code(&self) -> i64 {
        match self {
            Self::NotVerifiable(_) => -32004,
            Self::BadParams { .. } | Self::Range(_) => -32602,
            Self::Unlabelled(_) | Self::UnknownBlock | Self::TooOld { .. } => -32001,
            Self::NoHead | Self::Lagging { .. } => -32002,
            Self::Failed { .. } | Self::AllDropped | Self::TimedOut => -32603,
            Self::TooManyReads | Self::TooLarge => -32005,
            Self::Endpoint { code, .. } => *code,
        }
    }

    /// Returns the data of the JSON-RPC error, or null.
    pub const fn data(&self) -> &Value {
        match self {
            Self::Endpoint { data, .. } => data,
            _ => &Value::Null,
        }
    }
}
