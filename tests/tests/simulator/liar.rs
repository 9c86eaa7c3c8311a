//! Useless peers of all kinds.

use super::chain::{self, Pace};
use super::rng::Rng;
use alloy_primitives::B256;
use opp2p_core::payload::Block;
use opp2p_core::sync::{MAX_RESPONSE_SIZE, RequestFailure, ResultCode, encode_response};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Liar {
    /// A block of its own making, valid in itself.
    WrongBlock,
    /// The real contents under another parent, valid in itself.
    WrongLink,
    /// The real block of another number.
    WrongNumber,
    /// The real block with a changed byte.
    FalseHash,
    /// Random bytes.
    Garbage,
    /// Half of the real answer, and a stray code.
    Truncated,
    /// More bytes than any node reads.
    Endless,
    /// No answer.
    Silent,
    /// Always: block not found.
    NotFound,
    /// Always an error.
    Error,
    /// Makes every requester wait.
    ZeroRate,
    /// Does not speak the protocol.
    Mute,
    /// An answer that is too long, if the limit is not the largest one, and then no answer.
    LongThenSilent,
    /// Serves nothing, and keeps as many requests of its own waiting at each node as it may.
    Greedy,
    /// One of the others each time, or the truth.
    Moody,
}

pub(crate) const LIARS: [Liar; 15] = [
    Liar::WrongBlock,
    Liar::WrongLink,
    Liar::WrongNumber,
    Liar::FalseHash,
    Liar::Garbage,
    Liar::Truncated,
    Liar::Endless,
    Liar::Silent,
    Liar::NotFound,
    Liar::Error,
    Liar::ZeroRate,
    Liar::Mute,
    Liar::LongThenSilent,
    Liar::Greedy,
    Liar::Moody,
];

/// A request, as a liar sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) pace: Pace,
    pub(crate) number: u64,
    /// Maximum size of the answer, in bytes.
    pub(crate) limit: u64,
}

/// Answer of a peer, and its delay.
pub(crate) type Answer = (Duration, Result<Vec<u8>, RequestFailure>);

impl Liar {
    /// Returns its answer to a request, given the real chain.
    pub(crate) fn answer(
        self,
        rng: &mut Rng,
        asked: Asked,
        real: impl Fn(u64) -> Option<Block>,
    ) -> Answer {
        const SOON: Duration = Duration::from_millis(1);
        let Asked { pace, number, limit } = asked;
        let not_found = || vec![ResultCode::NotFound.byte()];
        let truth = |number| real(number).map_or_else(not_found, |block| encode_response(&block));
        match self {
            Self::WrongBlock => {
                let parent = B256::from(alloy_primitives::U256::from(rng.next()));
                (SOON, Ok(encode_response(&chain::block(pace, number, parent, rng.next(), 100))))
            }
            Self::WrongLink => {
                let parent =
                    real(number.saturating_sub(2)).map_or(B256::ZERO, |block| block.hash());
                (SOON, Ok(encode_response(&chain::block(pace, number, parent, 0, 100))))
            }
            Self::WrongNumber => (SOON, Ok(truth(number.saturating_sub(1)))),
            Self::FalseHash => {
                let forged = real(number).map(|block| encode_response(&chain::forged(&block)));
                (SOON, Ok(forged.unwrap_or_else(not_found)))
            }
            Self::Garbage => {
                let length = rng.range(1, 200);
                let mut bytes: Vec<u8> = (0..length).map(|_| rng.next() as u8).collect();
                bytes[0] = if rng.chance(70) { 0 } else { bytes[0] };
                (SOON, Ok(bytes))
            }
            Self::Truncated => {
                let mut bytes = truth(number);
                bytes.truncate(bytes.len().div_ceil(2));
                bytes.push(ResultCode::UnknownError.byte());
                (SOON, Ok(bytes))
            }
            Self::Endless => (Duration::from_secs(2), Err(RequestFailure::TooLong)),
            Self::Silent => (Duration::from_secs(10), Err(RequestFailure::Timeout)),
            Self::NotFound => (SOON, Ok(not_found())),
            Self::Error => (SOON, Ok(vec![rng.pick(&[2, 3, 4, 255])])),
            Self::ZeroRate => {
                (Duration::from_millis(9_900), Ok(vec![ResultCode::UnknownError.byte()]))
            }
            Self::Mute | Self::Greedy => (SOON, Err(RequestFailure::Unsupported)),
            Self::LongThenSilent if limit < MAX_RESPONSE_SIZE as u64 => {
                (SOON, Err(RequestFailure::TooLong))
            }
            Self::LongThenSilent => (Duration::from_secs(10), Err(RequestFailure::Timeout)),
            Self::Moody => match rng.range(0, LIARS.len() as u64 * 2) as usize {
                at if at < LIARS.len() - 1 => LIARS[at].answer(rng, asked, real),
                _ => (SOON, Ok(truth(number))),
            },
        }
    }
}
