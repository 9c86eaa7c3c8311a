//! Peers that are of no use, each in its own way.

use super::chain;
use super::rng::Rng;
use alloy_primitives::B256;
use opp2p_core::payload::Block;
use opp2p_core::sync::{RequestFailure, ResultCode, encode_response};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Liar {
    /// A block of its own making, sound in itself.
    WrongBlock,
    /// The real contents under another parent, sound in itself.
    WrongLink,
    /// The real block of another number.
    WrongNumber,
    /// The real block with a byte changed.
    FalseHash,
    /// Bytes.
    Garbage,
    /// Half of the real answer, and a stray code.
    Truncated,
    /// More bytes than anybody reads.
    Endless,
    /// Nothing.
    Silent,
    /// Always: it does not have it.
    NotFound,
    /// Always an error.
    Error,
    /// Lets everybody wait.
    ZeroRate,
    /// Does not speak the protocol.
    Mute,
    /// One of the others each time, or the truth.
    Moody,
}

pub(crate) const LIARS: [Liar; 13] = [
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
    Liar::Moody,
];

/// What a peer answers, and after how long.
pub(crate) type Answer = (Duration, Result<Vec<u8>, RequestFailure>);

impl Liar {
    /// Its answer to a request for `number`, given the real chain.
    pub(crate) fn answer(self, rng: &mut Rng, number: u64, real: impl Fn(u64) -> Option<Block>) -> Answer {
        const SOON: Duration = Duration::from_millis(1);
        let not_found = || vec![ResultCode::NotFound.byte()];
        let truth = |number| real(number).map_or_else(not_found, |block| encode_response(&block));
        match self {
            Self::WrongBlock => {
                let parent = B256::from(alloy_primitives::U256::from(rng.next()));
                (SOON, Ok(encode_response(&chain::block(number, parent, rng.next(), 100))))
            }
            Self::WrongLink => {
                let parent = real(number.saturating_sub(2)).map_or(B256::ZERO, |block| block.hash());
                (SOON, Ok(encode_response(&chain::block(number, parent, 0, 100))))
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
            Self::ZeroRate => (Duration::from_millis(9_900), Ok(vec![ResultCode::UnknownError.byte()])),
            Self::Mute => (SOON, Err(RequestFailure::Unsupported)),
            Self::Moody => match rng.range(0, LIARS.len() as u64 * 2) as usize {
                at if at < LIARS.len() - 1 => LIARS[at].answer(rng, number, real),
                _ => (SOON, Ok(truth(number))),
            },
        }
    }
}
