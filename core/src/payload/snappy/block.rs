//! The block format: a length, followed by literals and copies.

/// Upper bound of the format's compression ratio: an element of three bytes copies at most 64
/// bytes.
const BEST_RATIO: usize = 22;

/// Error of decompressing a snappy block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// The length is missing or exceeds 32 bits.
    #[error("the snappy length header is invalid")]
    Header,
    /// The announced length exceeds the limit.
    #[error("announces {announced} bytes, at most {limit} are allowed")]
    TooLong {
        /// The length in the header, in bytes.
        announced: usize,
        /// The caller's limit, in bytes.
        limit: usize,
    },
    /// The body does not decompress to the announced length.
    #[error("the snappy body is invalid")]
    Body,
}

/// Returns the length in bytes that the header announces. The length is not verified.
///
/// # Errors
/// [`BlockError::Header`], also for empty input.
pub fn announced_length(compressed: &[u8]) -> Result<usize, BlockError> {
    // The library reads empty input as a length of zero; the reference's parser reports an error.
    if compressed.is_empty() {
        return Err(BlockError::Header);
    }
    snap::raw::decompress_len(compressed).map_err(|_| BlockError::Header)
}

/// Decompresses a block.
///
/// # Errors
/// Any [`BlockError`]. At most `limit` bytes are allocated, and no more than about 22 times the
/// input.
pub fn decompress(compressed: &[u8], limit: usize) -> Result<Vec<u8>, BlockError> {
    let announced = announced_length(compressed)?;
    if announced > limit {
        return Err(BlockError::TooLong { announced, limit });
    }
    if announced / BEST_RATIO > compressed.len() {
        return Err(BlockError::Body);
    }
    let mut out = vec![0; announced];
    snap::raw::Decoder::new().decompress(compressed, &mut out).map_err(|_| BlockError::Body)?;
    Ok(out)
}

/// Compresses `bytes` into the block format.
///
/// # Panics
/// Never for inputs below 2^32 / 7 bytes; messages are far smaller.
pub fn compress(bytes: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new()
        .compress_vec(bytes)
        .expect("messages are far below the format's 4 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT: usize = 10 << 20;

    #[test]
    fn empty_input_is_an_invalid_header_and_a_zero_is_an_empty_block() {
        assert_eq!(decompress(&[], LIMIT), Err(BlockError::Header));
        assert_eq!(decompress(&[0], LIMIT), Ok(vec![]));
    }

    #[test]
    fn an_announced_length_over_the_limit_is_refused_before_allocation() {
        // 4 GiB - 1, in seven bytes.
        let bomb = [0xff, 0xff, 0xff, 0xff, 0x0f, 0x00, 0x00];
        let announced = u32::MAX as usize;
        assert_eq!(decompress(&bomb, LIMIT), Err(BlockError::TooLong { announced, limit: LIMIT }));
        assert_eq!(announced_length(&[0xff; 5]), Err(BlockError::Header));
    }

    #[test]
    fn a_length_that_the_body_cannot_reach_is_refused() {
        // Announces 10 MiB, but the body has two bytes.
        assert_eq!(decompress(&[0x80, 0x80, 0x80, 0x05, 0x00, 0x00], LIMIT), Err(BlockError::Body));
    }

    #[test]
    fn the_best_possible_compression_passes_the_ratio() {
        for length in [0, 1, 63, 64, 65, 1000, 65_535, 65_536, 65_537, 1 << 20, LIMIT] {
            let zeros = vec![0; length];
            assert_eq!(decompress(&compress(&zeros), LIMIT).as_deref(), Ok(&zeros[..]), "{length}");
        }
    }

    proptest! {
        #[test]
        fn contents_survive(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            prop_assert_eq!(decompress(&compress(&bytes), LIMIT).expect("own output"), bytes);
        }

        #[test]
        fn arbitrary_bytes_never_exceed_the_limit(
            bytes in prop::collection::vec(any::<u8>(), 0..200), limit in 0_usize..2000,
        ) {
            if let Ok(out) = decompress(&bytes, limit) {
                prop_assert!(out.len() <= limit);
            }
        }
    }
}
