//! The check of an answer: costly pure work, separate from the state machine that waits for it.

use alloy_primitives::{B256, Bytes};
use serde_json::Value;

use super::client::RpcMethod;
use super::wire::{ResponseError, decode_response};
use crate::json_rpc::{Answer, Refusal};
use crate::payload::{Block, DecodeError, RebuildError};

/// Maximum length of an endpoint's message that is kept, in characters.
const MESSAGE_LENGTH: usize = 200;

/// Reason why a request yielded no bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestFailure {
    /// The peer did not answer in time, or not completely.
    #[error("the peer did not answer in time")]
    Timeout,
    /// The connection or the stream was closed.
    #[error("the peer closed the connection or the stream")]
    Closed,
    /// The peer does not support the protocol.
    #[error("the peer does not serve blocks by number")]
    Unsupported,
    /// The answer is longer than the request's limit; the rest was not read.
    #[error("the answer is longer than its limit")]
    TooLong,
    /// The endpoint reports too many requests, for example with HTTP status 429.
    #[error("the endpoint limits requests")]
    Limited,
}

/// Reason why the answer of a JSON-RPC endpoint yields no block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RpcError {
    /// The endpoint does not have the block.
    #[error("the endpoint does not have the block")]
    NotFound,
    /// The endpoint does not offer the method.
    #[error("the endpoint does not offer the method: {0}")]
    Unsupported(String),
    /// The endpoint limits requests.
    #[error("the endpoint limits requests: {0}")]
    Limited(String),
    /// The endpoint refuses the request.
    #[error("the endpoint refuses: {message} (code {code})")]
    Refused {
        /// Error code of the endpoint.
        code: i64,
        /// Error message of the endpoint, shortened.
        message: String,
    },
    /// The answer is not JSON-RPC.
    #[error("the endpoint's answer is not JSON-RPC: {0}")]
    Nonsense(String),
    /// The contents of the answer are not a block.
    #[error(transparent)]
    Block(#[from] RebuildError),
}

/// Reason why a request yielded no valid block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// No bytes came.
    #[error(transparent)]
    Request(#[from] RequestFailure),
    /// The peer refused with this code.
    #[error(
        "peer failed to serve request with code {0}: {text}",
        text = super::wire::code_text(*.0)
    )]
    Refused(u8),
    /// The answer is unreadable.
    #[error(transparent)]
    Response(ResponseError),
    /// The bytes are not a payload of any version that this response version carries.
    #[error("response version {0} does not carry such a payload")]
    Version(u32),
    /// The answer holds no payload.
    #[error(transparent)]
    Payload(#[from] DecodeError),
    /// The answer holds another block than the requested one.
    #[error("the answer has block {found}, not {wanted}")]
    WrongNumber {
        /// Requested number.
        wanted: u64,
        /// Number of the block in the answer.
        found: u64,
    },
    /// The block does not have the hash that it claims, or the requested hash.
    #[error("the block does not have the hash that it claims")]
    BlockHash,
    /// The answer of a JSON-RPC endpoint yields no block.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// The check itself failed because of a bug of ours.
    #[error("the check of the answer failed")]
    Panicked,
}

impl AnswerError {
    /// Returns `true` if the server sent an answer, and that is at fault.
    pub(super) fn concerns_an_answer(&self) -> bool {
        self.is_too_long() || !matches!(self, Self::Request(_) | Self::Panicked)
    }

    /// Returns `true` if the only fault of the answer is that it exceeds the space reserved for it.
    pub(super) const fn is_too_long(&self) -> bool {
        matches!(
            self,
            Self::Request(RequestFailure::TooLong)
                | Self::Response(ResponseError::Frame(
                    crate::payload::snappy::FrameError::TooLong(_)
                ))
        )
    }
}

/// Check of an answer that may hold a block: decompresses, decodes and hashes it. Owns its data and
/// can run anywhere.
#[derive(Clone, Debug)]
pub struct CheckWork {
    bytes: Bytes,
    number: u64,
    form: Form,
}

/// Format of the bytes.
#[derive(Clone, Copy, Debug)]
enum Form {
    /// A peer's response, decompressed to at most `limit` bytes.
    Response { limit: usize },
    /// An endpoint's answer, and the requested hash.
    Rpc { method: RpcMethod, hash: Option<B256> },
}

impl CheckWork {
    /// Returns the size of the answer in bytes.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Creates the check of an answer to a request for `number`, unless the first bytes already
    /// show that it holds no block.
    ///
    /// # Errors
    /// [`AnswerError::Refused`], or [`ResponseError::Empty`].
    pub(super) fn begin(bytes: Bytes, number: u64, limit: usize) -> Result<Self, AnswerError> {
        match bytes.first() {
            None => Err(AnswerError::Response(ResponseError::Empty)),
            Some(0) => Ok(Self { bytes, number, form: Form::Response { limit } }),
            Some(code) => Err(AnswerError::Refused(*code)),
        }
    }

    /// Creates the check of an endpoint's answer to a request for `number`, or for the block of
    /// that number with this hash.
    pub(super) const fn of_rpc(
        bytes: Bytes,
        number: u64,
        method: RpcMethod,
        hash: Option<B256>,
    ) -> Self {
        Self { bytes, number, form: Form::Rpc { method, hash } }
    }

    /// Runs the check: a fifth of a millisecond for a block of 61 kB.
    ///
    /// # Errors
    /// The first fault found.
    pub fn run(self) -> Result<Block, AnswerError> {
        let number = self.number;
        let block = match self.form {
            Form::Response { limit } => self.response(limit)?,
            Form::Rpc { method, .. } => rpc_block(&self.bytes, method)?,
        };
        if block.number() != number {
            return Err(AnswerError::WrongNumber { wanted: number, found: block.number() });
        }
        let is_true = match self.form {
            Form::Response { .. } => block.has_true_hash(),
            Form::Rpc { hash, .. } => hash.is_none_or(|hash| block.hash() == hash),
        };
        if is_true { Ok(block) } else { Err(AnswerError::BlockHash) }
    }

    fn response(&self, limit: usize) -> Result<Block, AnswerError> {
        let (response, body) =
            decode_response(&self.bytes, limit).map_err(AnswerError::Response)?;
        let version =
            response.payload_version(&body).ok_or(AnswerError::Version(response.number()))?;
        Ok(Block::decode(version, None, body.into())?)
    }
}

fn rpc_block(bytes: &[u8], method: RpcMethod) -> Result<Block, RpcError> {
    let answer = Answer::read(bytes)
        .ok_or_else(|| RpcError::Nonsense(shortened(&String::from_utf8_lossy(head_of(bytes)))))?;
    if let Some(refusal) = answer.error {
        return Err(refused(refusal, method));
    }
    match (method, answer.result) {
        (_, Value::Null) => Err(RpcError::NotFound),
        (RpcMethod::Raw, Value::String(text)) => {
            let raw: Bytes = text.parse().map_err(|_| RpcError::Nonsense(shortened(&text)))?;
            if raw.is_empty() { Err(RpcError::NotFound) } else { Ok(Block::from_rlp(&raw)?) }
        }
        (RpcMethod::Parts, parts @ Value::Object(_)) => Ok(Block::from_json(&parts)?),
        (_, other) => Err(RpcError::Nonsense(shortened(&other.to_string()))),
    }
}

/// Classifies an endpoint's error by code and text, since endpoints have no common codes.
fn refused(Refusal { code, message, .. }: Refusal, method: RpcMethod) -> RpcError {
    let lower = message.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let message = shortened(&message);
    if matches!(code, 429 | -32005 | -32029) || says(&["rate limit", "too many", "limit exceeded"])
    {
        RpcError::Limited(message)
    } else if code != -32601 && !says(&["method"]) && says(&["not found", "unknown block"]) {
        RpcError::NotFound
    } else if method == RpcMethod::Raw {
        // Whatever the error means, the endpoint may still have the block by the method that every
        // endpoint offers.
        RpcError::Unsupported(message)
    } else {
        RpcError::Refused { code, message }
    }
}

fn head_of(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(MESSAGE_LENGTH)]
}

fn shortened(text: &str) -> String {
    let one_line = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    one_line.take(MESSAGE_LENGTH).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoints_error_lacks_the_block_only_if_it_does_not_speak_of_the_method() {
        let of = |code, message: &str, method| {
            refused(Refusal { code, message: message.into(), data: Value::Null }, method)
        };
        let not_found = RpcError::NotFound;
        for text in ["block not found", "Unknown block", "header NOT FOUND"] {
            assert_eq!(of(-32000, text, RpcMethod::Raw), not_found, "{text}");
            assert_eq!(of(-32000, text, RpcMethod::Parts), not_found, "{text}");
        }
        for (code, text) in [
            (-32601, "not found"),
            (-32000, "the method debug_getRawBlock is not found"),
            (-32601, "the method debug_getRawBlock is not found"),
            (-32000, "internal error"),
        ] {
            let unsupported = RpcError::Unsupported(text.into());
            assert_eq!(of(code, text, RpcMethod::Raw), unsupported);
            let refused = RpcError::Refused { code, message: text.into() };
            assert_eq!(of(code, text, RpcMethod::Parts), refused);
        }
        for (code, text) in [(429, ""), (-32005, "no"), (-32000, "Too many requests")] {
            assert_eq!(of(code, text, RpcMethod::Raw), RpcError::Limited(text.into()));
        }
    }
}
