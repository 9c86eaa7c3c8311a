//! The wire format of `payload_by_number`: one request and one answer per stream
//! (`op-node/p2p/sync.go`, `specs/protocol/rollup-node-p2p.md`).
//!
//! A request is a block number, 8 bytes little-endian, after which the requester closes its side of
//! the stream. An answer is a result code; if that is zero, a version (4 bytes little-endian) and
//! the block's SSZ in snappy frames follow until the end of the stream. Version 0 is a bare payload
//! (v1, v2), version 1 an envelope (v3, v4): a new version was specified for v4, but no
//! implementation sends it.
//!
//! A server that fails after the start of an answer appends a code to it, which the reader sees as
//! a broken frame.
//!
//! # Bounds
//! An answer is at most [`MAX_RESPONSE_SIZE`] bytes on the stream and, separately, decompressed.

use std::fmt;
use std::time::Duration;

use crate::payload::snappy::{FrameDecoder, FrameError, encode_frames};
use crate::payload::{Block, PayloadVersion};

/// Size of a request, in bytes.
pub const REQUEST_SIZE: usize = 8;
/// Maximum size of an answer, in bytes, both compressed and decompressed.
pub const MAX_RESPONSE_SIZE: usize = 10 << 20;
/// Size of the header before the frames, in bytes: result code and version.
pub const RESPONSE_HEADER_SIZE: usize = 5;

/// Deadline for writing a request, for reading one, and for transferring an answer, each, as in the
/// reference.
pub const STREAM_DEADLINE: Duration = Duration::from_secs(10);
/// Maximum lifetime of a stream, whatever it waits for: the longest wait of a request for its turn,
/// and all deadlines.
pub const STREAM_LIFE: Duration = Duration::from_secs(50);
/// Maximum number of streams of the protocol on one connection, whichever side opened them.
pub const MAX_STREAMS: usize = 192;

/// Returns the protocol's name, as the reference registers and dials it.
pub fn protocol_id(chain_id: u64) -> String {
    format!("/opstack/req/payload_by_number/{chain_id}/0")
}

/// Returns the protocol's name according to the specification. Only implementations that follow its
/// text literally dial it; it is served as well.
pub fn spec_protocol_id(chain_id: u64) -> String {
    format!("{}/", protocol_id(chain_id))
}

/// Returns the chain id in a name of the protocol, of either form, or `None` for other protocols.
pub fn chain_of_protocol(protocol: &str) -> Option<u64> {
    let rest = protocol.strip_prefix("/opstack/req/payload_by_number/")?;
    let (chain_id, version) = rest.split_once('/')?;
    chain_id.parse().ok().filter(|_| version.trim_end_matches('/') == "0")
}

/// Encodes the request for a block.
pub const fn encode_request(number: u64) -> [u8; REQUEST_SIZE] {
    number.to_le_bytes()
}

/// Error for a request that does not have 8 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a request has {REQUEST_SIZE} bytes, this has {0}")]
pub struct InvalidRequest(pub usize);

/// Decodes the requested number.
///
/// # Errors
/// If there are not 8 bytes.
pub fn decode_request(bytes: &[u8]) -> Result<u64, InvalidRequest> {
    bytes.try_into().map(u64::from_le_bytes).map_err(|_| InvalidRequest(bytes.len()))
}

/// Result of a request, as reported by the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResultCode {
    /// The block follows.
    Success,
    /// The server does not have the block.
    NotFound,
    /// There is no such block.
    InvalidRequest,
    /// Any other error, including a rate limit.
    UnknownError,
}

impl ResultCode {
    /// Returns the code's byte on the stream.
    pub const fn byte(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::NotFound => 1,
            Self::InvalidRequest => 2,
            Self::UnknownError => 3,
        }
    }

    /// Returns the code of a byte, or `None` if it is unknown.
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

/// Returns the reference's text for a code.
pub(super) const fn code_text(byte: u8) -> &'static str {
    match ResultCode::from_byte(byte) {
        Some(ResultCode::Success) => "success",
        Some(ResultCode::NotFound) => "not found",
        Some(ResultCode::InvalidRequest) => "invalid request",
        Some(ResultCode::UnknownError) => "unknown error",
        None => "invalid code",
    }
}

/// Format of an answer's contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResponseVersion {
    /// A payload, v1 or v2.
    Bare,
    /// The parent beacon block root and a payload, v3 or v4.
    Envelope,
}

impl ResponseVersion {
    /// Returns the version's number on the stream.
    pub const fn number(self) -> u32 {
        match self {
            Self::Bare => 0,
            Self::Envelope => 1,
        }
    }

    /// Returns the response version that carries payloads of this version.
    pub const fn of(payload: PayloadVersion) -> Self {
        if payload.has_beacon_root() { Self::Envelope } else { Self::Bare }
    }

    /// Returns the version of the payload in `body`, read from its own bytes, or `None` if this
    /// response version carries no such payload.
    pub fn payload_version(self, body: &[u8]) -> Option<PayloadVersion> {
        match self {
            Self::Bare => PayloadVersion::of_bare(body),
            Self::Envelope => PayloadVersion::of_envelope(body),
        }
    }
}

/// Reason why an answer is unreadable.
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
    /// The version is unknown.
    #[error("unrecognized version: {0}")]
    UnknownVersion(u32),
    /// The frames are malformed.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// Encodes the answer that holds `block`.
pub fn encode_response(block: &Block) -> Vec<u8> {
    let mut response = Vec::with_capacity(RESPONSE_HEADER_SIZE + block.body().len() / 2);
    response.push(ResultCode::Success.byte());
    response.extend_from_slice(&ResponseVersion::of(block.version()).number().to_le_bytes());
    encode_frames(block.body(), &mut response);
    response
}

/// Returns the answer of a server for the result of a block lookup.
pub fn answer<E>(found: &Result<Option<Block>, E>) -> (ResultCode, Vec<u8>) {
    let code = match found {
        Ok(Some(block)) => return (ResultCode::Success, encode_response(block)),
        Ok(None) => ResultCode::NotFound,
        Err(_) => ResultCode::UnknownError,
    };
    (code, vec![code.byte()])
}

/// Decodes an answer. Returns its version and its decompressed contents of at most `limit` bytes.
///
/// # Errors
/// A refusal, or the first fault found.
pub fn decode_response(
    bytes: &[u8],
    limit: usize,
) -> Result<(ResponseVersion, Vec<u8>), ResponseError> {
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
    let mut contents = decoder.finish()?;
    // It grew by doubling, and may be held for long: its users count its length only.
    contents.shrink_to_fit();
    Ok((version, contents))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;
    use proptest::prelude::*;

    #[test]
    fn a_protocol_id_gives_its_chain() {
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
    fn protocol_names_match_the_reference_and_the_specification() {
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
    fn each_code_has_the_reference_text() {
        let texts = [
            "success",
            "not found",
            "invalid request",
            "unknown error",
            "invalid code",
            "invalid code",
        ];
        for (code, text) in [0, 1, 2, 3, 4, 255].into_iter().zip(texts) {
            let error = ResponseError::Refused(code).to_string();
            assert_eq!(error, format!("peer failed to serve request with code {code}: {text}"));
            assert_eq!(crate::sync::AnswerError::Refused(code).to_string(), error);
        }
        assert_eq!(ResponseError::UnknownVersion(2).to_string(), "unrecognized version: 2");
    }

    #[test]
    fn blocks_of_every_version_round_trip() {
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
    fn the_payloads_version_is_read_from_its_bytes() {
        for block in fixtures::blocks() {
            let block = block.to_block();
            let both = [ResponseVersion::Bare, ResponseVersion::Envelope]
                .map(|response| response.payload_version(block.body()));
            let version = block.version();
            let expected = if version.has_beacon_root() {
                [None, Some(version)]
            } else {
                [Some(version), None]
            };
            assert_eq!(both, expected);
        }
        assert_eq!(ResponseVersion::Bare.payload_version(&[0; 600]), None);
        assert_eq!(ResponseVersion::Envelope.payload_version(&[0; 467]), None);
    }

    #[test]
    fn partial_and_stray_bytes_are_errors() {
        let block = fixtures::blocks().remove(0).to_block();
        let whole = encode_response(&block);
        for end in 0..whole.len() {
            // Cut between two chunks, it decodes to a shorter text, which is not a payload.
            let decoded = decode_response(&whole[..end], MAX_RESPONSE_SIZE);
            assert!(decoded.is_ok_and(|(_, body)| body.is_empty()) == (end == 15), "{end} bytes");
        }
        for stray in 0..=3 {
            let mut bytes = whole.clone();
            bytes.push(stray);
            assert_eq!(
                decode_response(&bytes, MAX_RESPONSE_SIZE),
                Err(FrameError::Truncated.into())
            );
            let mut broken = whole[..whole.len() / 2].to_vec();
            broken.push(stray);
            assert!(decode_response(&broken, MAX_RESPONSE_SIZE).is_err());
        }
        // Bytes after a refusal are ignored.
        assert_eq!(decode_response(&[1, 7, 7], MAX_RESPONSE_SIZE), Err(ResponseError::Refused(1)));
    }

    #[test]
    fn a_stream_lives_for_the_longest_wait_and_all_deadlines() {
        let longest_wait = crate::sync::ServerConfig::default().longest_wait;
        assert_eq!(STREAM_LIFE, longest_wait + 3 * STREAM_DEADLINE);
    }

    #[test]
    fn a_lookup_decides_the_code() {
        let block = fixtures::blocks().remove(0).to_block();
        assert_eq!(
            answer::<()>(&Ok(Some(block.clone()))),
            (ResultCode::Success, encode_response(&block))
        );
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
                let header = [0, 1, 0, 0, 0, 0xff, 6, 0, 0];
                    bytes.splice(0..0, [&header[..], b"sNaPpY"].concat());
            }
            if let Ok((_, body)) = decode_response(&bytes, limit) {
                prop_assert!(body.len() <= limit);
            }
        }
    }
}
