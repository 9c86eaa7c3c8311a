//! Ids, results and outputs of a reader.

use std::borrow::Cow;

use serde_json::Value;

use super::error::ReadError;
use crate::chain::BlockId;

/// Id of a read, unique within one reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadId(pub u64);

/// Id of a request to an endpoint, unique within one reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FetchId(pub u64);

/// Reason why a request to an endpoint has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchFailure {
    /// The endpoint answered with a JSON-RPC error.
    Refused {
        /// Error code.
        code: i64,
        /// Error message.
        message: String,
        /// Further data, such as the reason of a reverted call, or null.
        data: Value,
    },
    /// No answer arrived, or it is not JSON-RPC: one sentence.
    Transport(String),
    /// The answer has more bytes than the [limit](ReaderOutput::Fetch::limit).
    TooLarge,
}

/// An action or report for the shell.
#[derive(Clone, Debug, PartialEq)]
pub enum ReaderOutput {
    /// Post this request to the endpoint, and pass the result to
    /// [`Reader::fetched`](super::Reader::fetched).
    Fetch {
        /// Id of the request.
        id: FetchId,
        /// Index of the endpoint.
        endpoint: usize,
        /// JSON-RPC method.
        method: Cow<'static, str>,
        /// Its parameters: a list.
        params: Value,
        /// Maximum number of bytes to read of the answer.
        limit: usize,
    },
    /// The request's result is not needed any longer. A result is ignored.
    Cancel {
        /// Id of the request.
        id: FetchId,
    },
    /// A read ended.
    Answer {
        /// Id of the read.
        read: ReadId,
        /// The result, or the reason why it is missing.
        result: Result<Value, ReadError>,
        /// The block by which the result was proved: for `latest`, the block whose state it shows;
        /// for logs, the last block of the range. `None` if the result depends on no block.
        block: Option<BlockId>,
        /// `false` for the answer of an endpoint to a method that is listed as
        /// [unverified](super::ReaderConfig::unverified).
        is_verified: bool,
    },
    /// An endpoint's answer was false. The endpoint is not asked any longer, and its requests are
    /// cancelled.
    Dropped {
        /// Index of the endpoint.
        endpoint: usize,
        /// The method of the false answer.
        method: Cow<'static, str>,
        /// The false part: a short sentence that names it.
        part: String,
    },
}
