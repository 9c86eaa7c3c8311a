//! The framing format: a stream of chunks, each with its own checksum.
//!
//! [`FrameDecoder`] accepts bytes in pieces, as they arrive. It holds at most one unfinished chunk
//! (65,536 bytes of contents; its body with the checksum is at most 76,494 bytes) and the contents
//! so far, which the limit bounds.

use snap::raw::{Decoder, Encoder, max_compress_len};

const STREAM_IDENTIFIER: [u8; 10] = [0xff, 6, 0, 0, b's', b'N', b'a', b'P', b'p', b'Y'];
const COMPRESSED: u8 = 0x00;
const UNCOMPRESSED: u8 = 0x01;
const HEADER_SIZE: usize = 4;
const CHECKSUM_SIZE: usize = 4;
/// Maximum size in bytes of the contents of one chunk.
const CHUNK_CONTENTS: usize = 1 << 16;
/// Maximum length in bytes of a chunk body with contents: a checksum, and the contents at the worst
/// compression ratio.
const LONGEST_CHUNK: usize = CHECKSUM_SIZE + 32 + CHUNK_CONTENTS + CHUNK_CONTENTS / 6;

/// Error of decompressing a framed stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The stream does not begin with the stream identifier.
    #[error("the stream identifier is missing")]
    MissingIdentifier,
    /// A stream identifier chunk has the wrong contents.
    #[error("the stream identifier is invalid")]
    InvalidIdentifier,
    /// A chunk has a reserved type that must not be skipped.
    #[error("chunk type {0:#04x} is reserved and can't be skipped")]
    ReservedChunk(u8),
    /// A chunk with contents is shorter than a checksum or longer than the maximum.
    #[error("a chunk of {0} bytes is too short or too long")]
    ChunkLength(usize),
    /// A chunk's contents exceed 65,536 bytes.
    #[error("a chunk holds {0} bytes, at most 65536 are allowed")]
    ChunkContents(usize),
    /// A compressed chunk does not decompress.
    #[error("a compressed chunk is invalid")]
    Chunk,
    /// A chunk's contents do not match the checksum in front of them.
    #[error("a chunk's checksum does not match")]
    Checksum,
    /// The contents are longer than the limit.
    #[error("the contents are longer than {0} bytes")]
    TooLong(usize),
    /// The stream ends within a chunk.
    #[error("the stream ends within a chunk")]
    Truncated,
}

/// Decompresses a framed stream that arrives in pieces.
///
/// After an error the decoder is unusable: further pushes return the same error.
#[derive(Debug)]
pub struct FrameDecoder {
    limit: usize,
    contents: Vec<u8>,
    /// The chunk being collected, including its header.
    pending: Vec<u8>,
    /// Remaining bytes of a chunk that is being skipped.
    to_skip: usize,
    identified: bool,
    failed: Option<FrameError>,
}

impl FrameDecoder {
    /// Creates a decoder that accepts at most `limit` bytes of contents.
    pub const fn new(limit: usize) -> Self {
        Self {
            limit,
            contents: Vec::new(),
            pending: Vec::new(),
            to_skip: 0,
            identified: false,
            failed: None,
        }
    }

    /// Accepts the next piece of the stream, of any size.
    ///
    /// # Errors
    /// The first error in the stream.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), FrameError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.take(piece).inspect_err(|error| self.failed = Some(*error))
    }

    /// Ends the stream and returns its contents.
    ///
    /// # Errors
    /// An earlier error, or a stream that ends within a chunk or before its identifier.
    pub fn finish(self) -> Result<Vec<u8>, FrameError> {
        match self.failed {
            Some(error) => Err(error),
            None if !self.pending.is_empty() || self.to_skip > 0 => Err(FrameError::Truncated),
            None if !self.identified => Err(FrameError::MissingIdentifier),
            None => Ok(self.contents),
        }
    }

    /// Returns the contents decoded so far.
    pub fn contents(&self) -> &[u8] {
        &self.contents
    }

    fn take(&mut self, mut piece: &[u8]) -> Result<(), FrameError> {
        while !piece.is_empty() {
            if self.to_skip > 0 {
                let skipped = self.to_skip.min(piece.len());
                self.to_skip -= skipped;
                piece = &piece[skipped..];
                continue;
            }
            piece = self.collect(piece, HEADER_SIZE);
            let Some(&[kind, low, middle, high]) = self.pending.first_chunk::<HEADER_SIZE>() else {
                break;
            };
            let length = u32::from_le_bytes([low, middle, high, 0]) as usize;
            self.check_header(kind, length)?;
            if matches!(kind, 0x80..=0xfe) {
                self.to_skip = length;
                self.pending.clear();
                continue;
            }
            piece = self.collect(piece, HEADER_SIZE + length);
            if self.pending.len() < HEADER_SIZE + length {
                break;
            }
            self.chunk(kind)?;
            self.pending.clear();
        }
        Ok(())
    }

    /// Moves bytes from the piece until `wanted` bytes are pending. Returns the rest of the piece.
    fn collect<'a>(&mut self, piece: &'a [u8], wanted: usize) -> &'a [u8] {
        let missing = wanted.saturating_sub(self.pending.len()).min(piece.len());
        self.pending.extend_from_slice(&piece[..missing]);
        &piece[missing..]
    }

    /// Checks a chunk's header before collecting its body.
    fn check_header(&self, kind: u8, length: usize) -> Result<(), FrameError> {
        if !self.identified && kind != STREAM_IDENTIFIER[0] {
            return Err(FrameError::MissingIdentifier);
        }
        match kind {
            COMPRESSED | UNCOMPRESSED if (CHECKSUM_SIZE..=LONGEST_CHUNK).contains(&length) => {
                Ok(())
            }
            COMPRESSED | UNCOMPRESSED => Err(FrameError::ChunkLength(length)),
            0x80..=0xfe => Ok(()),
            0xff if length + HEADER_SIZE == STREAM_IDENTIFIER.len() => Ok(()),
            0xff => Err(FrameError::InvalidIdentifier),
            reserved => Err(FrameError::ReservedChunk(reserved)),
        }
    }

    /// Handles one complete chunk.
    fn chunk(&mut self, kind: u8) -> Result<(), FrameError> {
        if kind == STREAM_IDENTIFIER[0] {
            if self.pending != STREAM_IDENTIFIER {
                return Err(FrameError::InvalidIdentifier);
            }
            self.identified = true;
            return Ok(());
        }
        let body = self.pending[HEADER_SIZE..].split_first_chunk::<CHECKSUM_SIZE>();
        let (checksum, data) = body.ok_or(FrameError::ChunkLength(0))?;
        let length = if kind == COMPRESSED {
            super::announced_length(data).map_err(|_| FrameError::Chunk)?
        } else {
            data.len()
        };
        if length > CHUNK_CONTENTS {
            return Err(FrameError::ChunkContents(length));
        }
        let start = self.contents.len();
        if length > self.limit - start {
            return Err(FrameError::TooLong(self.limit));
        }
        if kind == COMPRESSED {
            self.contents.resize(start + length, 0);
            let decompressed = Decoder::new().decompress(data, &mut self.contents[start..]);
            decompressed.map_err(|_| FrameError::Chunk)?;
        } else {
            self.contents.extend_from_slice(data);
        }
        if u32::from_le_bytes(*checksum) != masked_checksum(&self.contents[start..]) {
            return Err(FrameError::Checksum);
        }
        Ok(())
    }
}

/// Appends `contents` as a framed stream to `out`. For empty contents, the stream consists only of
/// the identifier.
pub fn encode(contents: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&STREAM_IDENTIFIER);
    let mut encoder = Encoder::new();
    let mut compressed = vec![0; max_compress_len(contents.len().min(CHUNK_CONTENTS))];
    for chunk in contents.chunks(CHUNK_CONTENTS) {
        // If a chunk does not shrink by an eighth, decompressing it is not worth the reader's time.
        let smaller =
            encoder.compress(chunk, &mut compressed).ok().filter(|n| *n < chunk.len() * 7 / 8);
        let (kind, data) =
            smaller.map_or((UNCOMPRESSED, chunk), |n| (COMPRESSED, &compressed[..n]));
        let length = (CHECKSUM_SIZE + data.len()) as u32;
        out.push(kind);
        out.extend_from_slice(&length.to_le_bytes()[..3]);
        out.extend_from_slice(&masked_checksum(chunk).to_le_bytes());
        out.extend_from_slice(data);
    }
}

/// Returns the CRC-32C, rotated and offset so that a checksum over data that contains checksums is
/// not degenerate (framing format, section 3).
fn masked_checksum(contents: &[u8]) -> u32 {
    crc32c::crc32c(contents).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::{Read, Write};

    const LIMIT: usize = 10 << 20;

    fn decode(stream: &[u8], limit: usize) -> Result<Vec<u8>, FrameError> {
        let mut decoder = FrameDecoder::new(limit);
        decoder.push(stream)?;
        decoder.finish()
    }

    fn by_library(contents: &[u8]) -> Vec<u8> {
        let mut writer = snap::write::FrameEncoder::new(Vec::new());
        writer.write_all(contents).expect("into memory");
        writer.into_inner().expect("into memory")
    }

    #[test]
    fn a_stream_with_a_missing_or_wrong_identifier_is_refused() {
        assert_eq!(decode(&[], LIMIT), Err(FrameError::MissingIdentifier));
        assert_eq!(decode(&[0, 5, 0, 0, 1, 2, 3, 4, 0], LIMIT), Err(FrameError::MissingIdentifier));
        let mut other = STREAM_IDENTIFIER;
        other[9] = b'y';
        assert_eq!(decode(&other, LIMIT), Err(FrameError::InvalidIdentifier));
        assert_eq!(decode(&[0xff, 7, 0, 0], LIMIT), Err(FrameError::InvalidIdentifier));
    }

    #[test]
    fn reserved_chunks_are_refused_and_skippable_ones_skipped() {
        for kind in 0x02..=0x7f {
            let mut stream = STREAM_IDENTIFIER.to_vec();
            stream.extend([kind, 1, 0, 0, 9]);
            assert_eq!(decode(&stream, LIMIT), Err(FrameError::ReservedChunk(kind)));
        }
        for kind in 0x80..=0xfe {
            let mut stream = STREAM_IDENTIFIER.to_vec();
            stream.extend([kind, 3, 0, 0, 9, 9, 9]);
            stream.extend_from_slice(&by_library(b"after"));
            assert_eq!(decode(&stream, LIMIT).as_deref(), Ok(&b"after"[..]));
        }
    }

    #[test]
    fn a_skippable_chunk_of_16_mib_is_never_held() {
        let mut decoder = FrameDecoder::new(LIMIT);
        decoder.push(&STREAM_IDENTIFIER).expect("identifier");
        decoder.push(&[0xfe, 0xff, 0xff, 0xff]).expect("padding");
        for _ in 0..0x00ff_ffff / 0xffff {
            decoder.push(&[7; 0xffff]).expect("padding");
            assert!(decoder.pending.capacity() <= 64);
        }
    }

    #[test]
    fn a_chunk_is_compressed_if_that_saves_an_eighth() {
        // Bytes that no encoder shrinks, and then zeros: the more zeros, the smaller the chunk.
        let noise = |at: usize| alloy_primitives::keccak256((at as u64).to_le_bytes())[0];
        for zeros in [0, 4_000, 12_000, 40_000, CHUNK_CONTENTS] {
            let contents: Vec<u8> =
                (0..CHUNK_CONTENTS).map(|at| if at < zeros { 0 } else { noise(at) }).collect();
            let mut stream = Vec::new();
            encode(&contents, &mut stream);
            let kind = stream[STREAM_IDENTIFIER.len()];
            assert_eq!(kind == COMPRESSED, zeros >= 12_000, "{zeros} zeros");
            assert!(stream.len() <= CHUNK_CONTENTS + 64, "{zeros} zeros: {}", stream.len());
            assert_eq!(decode(&stream, LIMIT), Ok(contents));
        }
    }

    #[test]
    fn a_wrong_checksum_is_refused() {
        let mut stream = by_library(b"some contents");
        stream[14] ^= 1;
        assert_eq!(decode(&stream, LIMIT), Err(FrameError::Checksum));
    }

    #[test]
    fn the_limit_is_exact() {
        let contents = vec![3; 100_000];
        let mut stream = Vec::new();
        encode(&contents, &mut stream);
        assert_eq!(decode(&stream, 100_000), Ok(contents));
        assert_eq!(decode(&stream, 99_999), Err(FrameError::TooLong(99_999)));
    }

    #[test]
    fn a_chunk_that_announces_too_much_is_refused_by_its_header() {
        let mut stream = STREAM_IDENTIFIER.to_vec();
        stream.extend([COMPRESSED, 0xff, 0xff, 0xff]);
        assert_eq!(decode(&stream, LIMIT), Err(FrameError::ChunkLength(0x00ff_ffff)));
        stream.truncate(10);
        // 16 bytes that announce 4 GiB - 1 of contents.
        stream.extend([COMPRESSED, 9, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f]);
        assert_eq!(decode(&stream, LIMIT), Err(FrameError::ChunkContents(u32::MAX as usize)));
    }

    proptest! {
        #[test]
        fn we_and_the_library_read_each_others_streams(
            contents in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..2000),
                (0_usize..200_000, any::<u8>()).prop_map(|(length, byte)| vec![byte; length]),
                (0_usize..200_000, any::<u32>()).prop_map(|(length, seed)| {
                    let byte = |at| u32::wrapping_mul(at ^ seed, 0x9e37_79b9).to_be_bytes()[0];
                    (0..length as u32).map(byte).collect()
                }),
            ],
            cut in 1_usize..100_000,
        ) {
            let mut ours = Vec::new();
            encode(&contents, &mut ours);
            let mut back = Vec::new();
            snap::read::FrameDecoder::new(&ours[..]).read_to_end(&mut back).expect("valid stream");
            if !contents.is_empty() {
                prop_assert_eq!(&back, &contents);
            }
            let mut decoder = FrameDecoder::new(LIMIT);
            for piece in by_library(&contents).chunks(cut) {
                decoder.push(piece).expect("valid stream");
            }
            match decoder.finish() {
                Ok(back) => prop_assert_eq!(back, contents),
                // The library writes nothing for empty contents.
                Err(error) => prop_assert!(
                    contents.is_empty() && error == FrameError::MissingIdentifier
                ),
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic_or_exceed_the_limit(
            bytes in prop::collection::vec(any::<u8>(), 0..300), limit in 0_usize..300,
            cut in 1_usize..50,
        ) {
            let mut stream = STREAM_IDENTIFIER.to_vec();
            stream.extend(bytes);
            let mut decoder = FrameDecoder::new(limit);
            for piece in stream.chunks(cut) {
                let _ = decoder.push(piece);
                prop_assert!(decoder.contents().len() <= limit);
            }
        }
    }
}
