//! Ids, results and outputs of a reader.

use std::borrow::Cow;

use serde_json::Value;

use super::error::ReadError;
use crate::chain::BlockId;
use crate::proof::call::Job;

/// Id of a read, unique within one reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadId(pub u64);

/// Id of a request to an endpoint, unique within one reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FetchId(pub u64);

/// Id of an execution, unique within one reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExecutionId(pub u64);

/// Reason why a request to an endpoint has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchFailure {
    /// The endpoint answered with a JSON-RPC error.
    Refused {
        /// Error code.
        code: i64,
        /// Error message.
        message: String,
        /// Further data, such as the revert reason of a call, or null.
        data: Value,
    },
    /// No answer arrived, or it is not JSON-RPC: the reason in one sentence.
    Transport(String),
    /// The answer has more bytes than the [limit](ReaderOutput::Fetch::limit).
    TooLarge,
}

/// An action or report for the shell.
#[derive(Clone, Debug, PartialEq)]
pub enum ReaderOutput {
    /// Send this request to the endpoint, and pass the result to
    /// [`Reader::fetched`](super::Reader::fetched).
    Fetch {
        /// Id of the request.
        id: FetchId,
        /// Index of the endpoint.
        endpoint: usize,
        /// JSON-RPC method.
        method: Cow<'static, str>,
        /// JSON-RPC parameters: a list, or an object for an unverified method.
        params: Value,
        /// Maximum size of the answer, in bytes.
        limit: usize,
    },
    /// The result of this request is no longer needed. A late result is ignored.
    Cancel {
        /// Id of the request.
        id: FetchId,
    },
    /// Execute this job, and pass the report to [`Reader::executed`](super::Reader::executed). An
    /// execution can take seconds, so it should not run on the thread of the reader. A late report
    /// is ignored, but it makes room for another execution.
    Execute {
        /// Id of the execution.
        id: ExecutionId,
        /// The call and the proved state.
        job: Box<Job>,
    },
    /// A read ended.
    Answer {
        /// Id of the read.
        read: ReadId,
        /// The result, or the reason why it is missing.
        result: Result<Value, ReadError>,
        /// The block that the result refers to. For logs, it is the last block of the range. `None`
        /// if the read failed, or if the result depends on no block.
        block: Option<BlockId>,
        /// `false` for an endpoint's answer to an
        /// [unverified](super::ReaderConfig::unverified) method.
        is_verified: bool,
    },
    /// An endpoint gave a false answer. It is not asked again, and its requests are cancelled.
    Dropped {
        /// Index of the endpoint.
        endpoint: usize,
        /// The method of the false answer.
        method: Cow<'static, str>,
        /// A short sentence that names the false part.
        part: String,
    },
}
