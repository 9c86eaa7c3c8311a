//! The bytes of `payload_by_number`: one request and one answer per stream (`op-node/p2p/sync.go`,
//! `specs/protocol/rollup-node-p2p.md`).
//!
//! A request is a block number, 8 bytes little-endian, after which the writing side is closed. An answer is a
//! result code; if that is zero, a version (4 bytes little-endian) and the block's SSZ in snappy frames follow
//! until the end of the stream. Version 0 is a bare payload (v1, v2), version 1 an envelope (v3, v4): a new
//! version was specified for v4, but nobody sends it.
//!
//! A server that fails after it began to answer appends a code to what it wrote: that is a broken frame.
//!
//! # Bounds
//! An answer is at most [`MAX_RESPONSE_SIZE`] bytes on the stream and, separately, decompressed.

use std::fmt;

use crate::chain::ForkSchedule;
use crate::payload::snappy::{FrameDecoder, FrameError, encode_frames};
use crate::payload::{Block, PayloadVersion};

/// Bytes of a request.
pub const REQUEST_SIZE: usize = 8;
/// Most bytes of an answer, as it comes and decompressed.
pub const MAX_RESPONSE_SIZE: usize = 10 << 20;
/// Bytes in front of the frames: result code and version.
pub const RESPONSE_HEADER_SIZE: usize = 5;

/// The protocol's name, as the reference registers and dials it.
pub fn protocol_id(chain_id: u64) -> String {
    format!("/opstack/req/payload_by_number/{chain_id}/0")
}

/// The protocol's name as the specification has it. Nobody dials it but who followed the text; it is served too.
pub fn spec_protocol_id(chain_id: u64) -> String {
    format!("{}/", protocol_id(chain_id))
}

/// The chain of such a protocol, by either name; `None` for other protocols.
pub fn chain_of_protocol(protocol: &str) -> Option<u64> {
    let rest = protocol.strip_prefix("/opstack/req/payload_by_number/")?;
    let (chain_id, version) = rest.split_once('/')?;
    chain_id.parse().ok().filter(|_| version.trim_end_matches('/') == "0")
}

/// The request for a block.
pub const fn encode_request(number: u64) -> [u8; REQUEST_SIZE] {
    number.to_le_bytes()
}

/// A request that has not 8 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a request has {REQUEST_SIZE} bytes, this has {0}")]
pub struct InvalidRequest(pub usize);

/// The number that is asked for.
///
/// # Errors
/// If there are not 8 bytes.
pub fn decode_request(bytes: &[u8]) -> Result<u64, InvalidRequest> {
    bytes.try_into().map(u64::from_le_bytes).map_err(|_| InvalidRequest(bytes.len()))
}

/// How a request ended, in the server's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResultCode {
    /// The block follows.
    Success,
    /// The server does not have it.
    NotFound,
    /// There is no such block.
    InvalidRequest,
    /// Anything else, a rate limit among them.
    UnknownError,
}

impl ResultCode {
    /// The byte on the stream.
    pub const fn byte(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::NotFound => 1,
            Self::InvalidRequest => 2,
            Self::UnknownError => 3,
        }
    }

    /// The code of a byte, if it is one.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Success,
            1 => Self::NotFound,
            2 => Self::InvalidRequest,
            3 => Self::UnknownError,
            _ => return None,
        })
    }
}

impl fmt::Display for ResultCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(code_text(self.byte()))
    }
}

/// What the reference calls a code.
pub(super) const fn code_text(byte: u8) -> &'static str {
    match ResultCode::from_byte(byte) {
        Some(ResultCode::Success) => "success",
        Some(ResultCode::NotFound) => "not found",
        Some(ResultCode::InvalidRequest) => "invalid request",
        Some(ResultCode::UnknownError) => "unknown error",
        None => "invalid code",
    }
}

/// What an answer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResponseVersion {
    /// A payload, v1 or v2.
    Bare,
    /// The parent beacon block root and a payload, v3 or v4.
    Envelope,
}

impl ResponseVersion {
    /// The number on the stream.
    pub const fn number(self) -> u32 {
        match self {
            Self::Bare => 0,
            Self::Envelope => 1,
        }
    }

    /// The version that carries such a payload.
    pub const fn of(payload: PayloadVersion) -> Self {
        if payload.has_beacon_root() { Self::Envelope } else { Self::Bare }
    }

    /// The payload's version, from the time that the requested block has by its number; `None` if no block of
    /// that time comes in such an answer.
    pub fn payload_version(self, forks: &ForkSchedule, timestamp: u64) -> Option<PayloadVersion> {
        let version = PayloadVersion::at(forks, timestamp);
        (Self::of(version) == self).then_some(version)
    }
}

/// Why an answer can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResponseError {
    /// The stream ended before a result code.
    #[error("the answer is empty")]
    Empty,
    /// The server refused with this code.
    #[error("peer failed to serve request with code {0}: {text}", text = code_text(*.0))]
    Refused(u8),
    /// The stream ended within the version.
    #[error("the answer ends within its version")]
    Truncated,
    /// A version that nobody sends.
    #[error("unrecognized version: {0}")]
    UnknownVersion(u32),
    /// The frames are broken.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// The answer that holds `block`.
pub fn encode_response(block: &Block) -> Vec<u8> {
    let mut response = Vec::with_capacity(RESPONSE_HEADER_SIZE + block.body().len() / 2);
    response.push(ResultCode::Success.byte());
    response.extend_from_slice(&ResponseVersion::of(block.version()).number().to_le_bytes());
    encode_frames(block.body(), &mut response);
    response
}

/// What a server sends for the result of looking a block up.
pub fn answer<E>(found: &Result<Option<Block>, E>) -> (ResultCode, Vec<u8>) {
    let code = match found {
        Ok(Some(block)) => return (ResultCode::Success, encode_response(block)),
        Ok(None) => ResultCode::NotFound,
        Err(_) => ResultCode::UnknownError,
    };
    (code, vec![code.byte()])
}

/// The version of an answer and its decompressed contents, which are at most `limit` bytes.
///
/// # Errors
/// A refusal, or the first thing that is wrong.
pub fn decode_response(bytes: &[u8], limit: usize) -> Result<(ResponseVersion, Vec<u8>), ResponseError> {
    let (code, rest) = bytes.split_first().ok_or(ResponseError::Empty)?;
    if *code != ResultCode::Success.byte() {
        return Err(ResponseError::Refused(*code));
    }
    let (version, frames) = rest.split_first_chunk().ok_or(ResponseError::Truncated)?;
    let version = match u32::from_le_bytes(*version) {
        0 => ResponseVersion::Bare,
        1 => ResponseVersion::Envelope,
        other => return Err(ResponseError::UnknownVersion(other)),
    };
    let mut decoder = FrameDecoder::new(limit);
    decoder.push(frames)?;
    Ok((version, decoder.finish()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::Fork;
    use crate::fixtures;
    use proptest::prelude::*;

    #[test]
    fn a_protocol_tells_its_chain() {
        for chain_id in [10, 8453, u64::MAX] {
            assert_eq!(chain_of_protocol(&protocol_id(chain_id)), Some(chain_id));
            assert_eq!(chain_of_protocol(&spec_protocol_id(chain_id)), Some(chain_id));
        }
        for other in [
            "/meshsub/1.1.0",
            "/opstack/req/payload_by_number/x/0",
            "/opstack/req/payload_by_number/10/1",
            "",
        ] {
            assert_eq!(chain_of_protocol(other), None, "{other}");
        }
    }

    #[test]
    fn the_names_are_the_references_and_the_specifications() {
        assert_eq!(protocol_id(10), "/opstack/req/payload_by_number/10/0");
        assert_eq!(spec_protocol_id(8453), "/opstack/req/payload_by_number/8453/0/");
    }

    #[test]
    fn a_request_is_eight_bytes_little_endian() {
        assert_eq!(encode_request(0x0102), [2, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(decode_request(&encode_request(u64::MAX)), Ok(u64::MAX));
        assert_eq!(decode_request(&[0; 7]), Err(InvalidRequest(7)));
        assert_eq!(decode_request(&[0; 9]), Err(InvalidRequest(9)));
    }

    #[test]
    fn each_code_has_the_references_text() {
        let texts =
            ["success", "not found", "invalid request", "unknown error", "invalid code", "invalid code"];
        for (code, text) in [0, 1, 2, 3, 4, 255].into_iter().zip(texts) {
            let error = ResponseError::Refused(code).to_string();
            assert_eq!(error, format!("peer failed to serve request with code {code}: {text}"));
            assert_eq!(crate::sync::AnswerError::Refused(code).to_string(), error);
        }
        assert_eq!(ResponseError::UnknownVersion(2).to_string(), "unrecognized version: 2");
    }

    #[test]
    fn blocks_of_every_version_come_back() {
        for block in fixtures::blocks() {
            let block = block.to_block();
            let bytes = encode_response(&block);
            let (version, body) = decode_response(&bytes, MAX_RESPONSE_SIZE).expect("ours");
            assert_eq!(&body, block.body());
            assert_eq!(version.number(), u32::from(block.version() >= PayloadVersion::V3));
            assert_eq!(bytes[..5], [0, version.number() as u8, 0, 0, 0]);
            assert_eq!(decode_response(&bytes, body.len()), Ok((version, body.clone())));
            let short = decode_response(&bytes, body.len() - 1);
            assert_eq!(short, Err(FrameError::TooLong(body.len() - 1).into()));
        }
    }

    #[test]
    fn the_payloads_version_follows_the_fork_of_the_requested_block() {
        let forks = ForkSchedule::default()
            .with(Fork::Canyon, Some(10))
            .with(Fork::Ecotone, Some(20))
            .with(Fork::Isthmus, Some(30));
        let both = |time| {
            [ResponseVersion::Bare, ResponseVersion::Envelope].map(|v| v.payload_version(&forks, time))
        };
        assert_eq!(both(9), [Some(PayloadVersion::V1), None]);
        assert_eq!(both(10), [Some(PayloadVersion::V2), None]);
        assert_eq!(both(20), [None, Some(PayloadVersion::V3)]);
        assert_eq!(both(30), [None, Some(PayloadVersion::V4)]);
    }

    #[test]
    fn partial_and_stray_bytes_are_errors() {
        let block = fixtures::blocks().remove(0).to_block();
        let whole = encode_response(&block);
        for end in 0..whole.len() {
            // Cut between two chunks it is a shorter text, which is no payload.
            let decoded = decode_response(&whole[..end], MAX_RESPONSE_SIZE);
            assert!(decoded.is_ok_and(|(_, body)| body.is_empty()) == (end == 15), "{end} bytes");
        }
        for stray in 0..=3 {
            let mut bytes = whole.clone();
            bytes.push(stray);
            assert_eq!(decode_response(&bytes, MAX_RESPONSE_SIZE), Err(FrameError::Truncated.into()));
            let mut broken = whole[..whole.len() / 2].to_vec();
            broken.push(stray);
            assert!(decode_response(&broken, MAX_RESPONSE_SIZE).is_err());
        }
        // Whatever follows a refusal is ignored.
        assert_eq!(decode_response(&[1, 7, 7], MAX_RESPONSE_SIZE), Err(ResponseError::Refused(1)));
    }

    #[test]
    fn a_lookup_decides_the_code() {
        let block = fixtures::blocks().remove(0).to_block();
        assert_eq!(answer::<()>(&Ok(Some(block.clone()))), (ResultCode::Success, encode_response(&block)));
        assert_eq!(answer::<()>(&Ok(None)), (ResultCode::NotFound, vec![1]));
        assert_eq!(answer(&Err("disk")), (ResultCode::UnknownError, vec![3]));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic_nor_exceed_the_limit(
            mut bytes in prop::collection::vec(any::<u8>(), 0..400),
            is_success in any::<bool>(), limit in 0_usize..500,
        ) {
            if is_success {
                bytes.splice(0..0, [0, 1, 0, 0, 0, 0xff, 6, 0, 0, b's', b'N', b'a', b'P', b'p', b'Y']);
            }
            if let Ok((_, body)) = decode_response(&bytes, limit) {
                prop_assert!(body.len() <= limit);
            }
        }
    }
}
