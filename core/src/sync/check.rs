//! Checking an answer: costly pure work, away from the machine that waits for it.

use alloy_primitives::Bytes;

use super::wire::{ResponseError, decode_response};
use crate::chain::{ChainConfig, ForkSchedule};
use crate::payload::{Block, DecodeError};

/// Why a request brought no bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestFailure {
    /// The peer did not answer in time, or not to the end.
    #[error("the peer did not answer in time")]
    Timeout,
    /// The connection or the stream was closed.
    #[error("the peer closed the connection or the stream")]
    Closed,
    /// The peer does not speak the protocol.
    #[error("the peer does not serve blocks by number")]
    Unsupported,
    /// The answer is longer than the request's limit; it was not read to the end.
    #[error("the answer is longer than its limit")]
    TooLong,
}

/// Why an answer is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Nothing came.
    #[error(transparent)]
    Request(#[from] RequestFailure),
    /// The peer answered with this code.
    #[error("peer failed to serve request with code {0}: {text}", text = super::wire::code_text(*.0))]
    Refused(u8),
    /// It can't be read.
    #[error(transparent)]
    Response(ResponseError),
    /// The version can't be that of the requested block.
    #[error("a block of this time can't come in response version {0}")]
    Version(u32),
    /// It holds no payload.
    #[error(transparent)]
    Payload(#[from] DecodeError),
    /// It holds another block than was asked for.
    #[error("the answer has block {found}, not {wanted}")]
    WrongNumber {
        /// What was asked for.
        wanted: u64,
        /// What came.
        found: u64,
    },
    /// The block does not have the hash that it claims.
    #[error("the block does not have the hash that it claims")]
    BlockHash,
    /// The check itself failed, which is a defect of ours.
    #[error("the check of the answer failed")]
    Panicked,
}

impl AnswerError {
    /// Whether the answer was only larger than what was set aside for it.
    pub(super) const fn is_too_long(&self) -> bool {
        matches!(
            self,
            Self::Request(RequestFailure::TooLong)
                | Self::Response(ResponseError::Frame(crate::payload::snappy::FrameError::TooLong(_)))
        )
    }
}

/// An answer that may hold a block: decompresses, decodes and hashes it. Owns what it needs, runs anywhere.
#[derive(Clone, Debug)]
pub struct CheckWork {
    bytes: Bytes,
    number: u64,
    /// Seconds, of the block with this number.
    timestamp: u64,
    limit: usize,
    forks: ForkSchedule,
}

impl CheckWork {
    /// Bytes of the answer.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The work for an answer to a request for `number`, unless the answer says at first sight that it has no block.
    ///
    /// # Errors
    /// [`AnswerError::Refused`] or what is wrong with the first bytes.
    pub(super) fn begin(
        bytes: Bytes,
        number: u64,
        limit: usize,
        chain: &ChainConfig,
    ) -> Result<Self, AnswerError> {
        match bytes.first() {
            None => Err(AnswerError::Response(ResponseError::Empty)),
            Some(0) => {
                // Every number that is asked for has a time; one that had not would fit no fork.
                let timestamp = chain.timestamp_of(number).unwrap_or(u64::MAX);
                Ok(Self { bytes, number, timestamp, limit, forks: chain.forks })
            }
            Some(code) => Err(AnswerError::Refused(*code)),
        }
    }

    /// Does the work: a fifth of a millisecond for a block of 61 kB.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn run(self) -> Result<Block, AnswerError> {
        let (response, body) = decode_response(&self.bytes, self.limit).map_err(AnswerError::Response)?;
        drop(self.bytes);
        let version = response
            .payload_version(&self.forks, self.timestamp)
            .ok_or(AnswerError::Version(response.number()))?;
        let block = Block::decode(version, None, body.into())?;
        if block.number() != self.number {
            return Err(AnswerError::WrongNumber { wanted: self.number, found: block.number() });
        }
        if !block.has_true_hash() {
            return Err(AnswerError::BlockHash);
        }
        Ok(block)
    }
}
