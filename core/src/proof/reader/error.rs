//! Errors of reads, and of the endpoints that caused them.

use std::fmt;

use serde_json::Value;

use super::config::{
    MAX_CALL_ACCOUNTS, MAX_CALL_ROUNDS, MAX_CALL_SLOTS, MAX_LOG_BLOCKS, MAX_READ_BYTES, MAX_READS,
};
use crate::chain::Unlabelled;

/// Reason why one endpoint gave no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It refused the request, did not answer in time, or is unreachable: the reason in one
    /// sentence.
    Failed(String),
    /// Its newest block is below the block of the read.
    Lags {
        /// The number of its newest block, as it claims.
        head: u64,
    },
    /// It does not have the requested data.
    Absent,
    /// It was dropped for a false answer.
    Dropped,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(reason) => f.write_str(reason),
            Self::Lags { head } => write!(f, "its newest block is {head}"),
            Self::Absent => f.write_str("it does not have the data"),
            Self::Dropped => f.write_str("it was dropped for a false answer"),
        }
    }
}

/// The causes of all endpoints, by index.
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

/// Reason why a read has no result. Its text is one sentence for the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The method can't be verified, and is not listed as unverified.
    #[error(
        "{0} is refused, because its answer can't be verified: list it as unverified to trust an \
         endpoint's answer"
    )]
    NotVerifiable(String),
    /// A parameter is invalid.
    #[error("parameter {index}: {expected}")]
    BadParams {
        /// Index of the parameter.
        index: usize,
        /// The expected form, as a clause.
        expected: String,
    },
    /// There is no head yet.
    #[error("no block has arrived from gossip yet")]
    NoHead,
    /// The safe or finalized block is unknown.
    #[error(transparent)]
    Unlabelled(#[from] Unlabelled),
    /// The canonical chain has no such block, or not yet.
    #[error("unknown block: it is above the head, or not on this chain")]
    UnknownBlock,
    /// The block is too old to be linked to the head within the limits.
    #[error("block {number} is too old: the oldest provable block is {lowest}")]
    TooOld {
        /// Number of the block.
        number: u64,
        /// Number of the oldest provable block.
        lowest: u64,
    },
    /// The block range is too long, or its end is below its start.
    #[error("the range has {0} blocks: 1 to {MAX_LOG_BLOCKS} are allowed")]
    Range(u64),
    /// No endpoint gave a true answer.
    #[error("no endpoint answered {method}: {causes}")]
    Failed {
        /// The method of the endpoint requests.
        method: String,
        /// The endpoints' causes.
        causes: Causes,
    },
    /// Every endpoint was dropped for a false answer.
    #[error("every endpoint was dropped for a false answer")]
    AllDropped,
    /// No endpoint has the state of the block yet.
    #[error("no endpoint has block {number} yet: the newest available block is {newest}")]
    Lagging {
        /// Number of the block.
        number: u64,
        /// Number of the newest block that an endpoint claims to have.
        newest: u64,
    },
    /// The read did not finish within its timeout.
    #[error("the read timed out")]
    TimedOut,
    /// Too many reads are pending.
    #[error("{MAX_READS} reads are already pending: try again later")]
    TooManyReads,
    /// The facts of the read, or its answer, are too large.
    #[error("the read needs more than {MAX_READ_BYTES} bytes: request less data")]
    TooLarge,
    /// A contract reverted the call.
    #[error("{message}")]
    Reverted {
        /// The message, with the contract's reason if it gives one.
        message: String,
        /// The bytes that the contract gives as the reason.
        data: Value,
    },
    /// The call failed in another way, or is not valid.
    #[error("{0}")]
    CallFailed(String),
    /// The call reads too much state.
    #[error(
        "the call reads more than is proved for one call: at most {MAX_CALL_ACCOUNTS} accounts and \
         {MAX_CALL_SLOTS} slots, found in {MAX_CALL_ROUNDS} rounds"
    )]
    CallTooLarge,
    /// The rules of the chain or of its fork are not known. Contains its name.
    #[error("calls are refused, because the rules of {0} are not known here")]
    UnknownRules(String),
    /// The shell can't execute calls: the reason in one sentence.
    #[error("the call can't be executed: {0}")]
    NotExecuted(String),
    /// The error of an endpoint that rejected a transaction, or that failed an unverified method.
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
    /// Returns the JSON-RPC error code: of EIP-1474, or 3 for a reverted call, as in geth.
    pub const fn code(&self) -> i64 {
        match self {
            Self::Reverted { .. } => 3,
            Self::CallFailed(_) => -32000,
            Self::NotVerifiable(_) | Self::UnknownRules(_) => -32004,
            Self::BadParams { .. } | Self::Range(_) => -32602,
            Self::Unlabelled(_) | Self::UnknownBlock | Self::TooOld { .. } => -32001,
            Self::NoHead | Self::Lagging { .. } => -32002,
            Self::Failed { .. } | Self::AllDropped | Self::TimedOut | Self::NotExecuted(_) => {
                -32603
            }
            Self::TooManyReads | Self::TooLarge | Self::CallTooLarge => -32005,
            Self::Endpoint { code, .. } => *code,
        }
    }

    /// Returns the data of the JSON-RPC error, or null.
    pub const fn data(&self) -> &Value {
        match self {
            Self::Endpoint { data, .. } | Self::Reverted { data, .. } => data,
            _ => &Value::Null,
        }
    }
}
