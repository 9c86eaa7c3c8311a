//! The stored form of one block: [`StoredBlock`], its identity [`BlockId`], and its encoding on
//! disk.
//!
//! A record is one stream in snappy's framing format: the head of [`HEAD_BYTES`] bytes, then the
//! message. The format carries a CRC-32C of every 64 KiB of content, so a changed byte anywhere in
//! the record is detected when it is read. The hash and the message's length in the head detect a
//! record under the wrong key and a stream that ends early at a chunk's border, which no checksum
//! covers.
//!
//! Head, integers big-endian: layout (1), topic version (1), number (8), hash (32), parent hash
//! (32), timestamp (8), received (8), message length (4).
//!
//! # Bounds
//! A message has at most [`MAX_MESSAGE_BYTES`]. This is checked before it is written and again
//! before memory is allocated to read it.

use std::fmt;
use std::io::{self, Read, Write};

use alloy_primitives::B256;
use opp2p_core::gossip::SIGNATURE_SIZE;
use opp2p_core::payload::Block;
use snap::read::FrameDecoder;
use snap::write::FrameEncoder;

/// Maximum length of a stored message, in bytes: a payload of 10 MiB, the protocol's limit for one
/// answer to a block request, after the signature and the root.
pub const MAX_MESSAGE_BYTES: usize = 10 * 1024 * 1024 + 65 + 32;

/// Record layout that this program writes and reads.
const LAYOUT: u8 = 1;

/// Length of a record's head before compression, in bytes.
const HEAD_BYTES: usize = 1 + 1 + 8 + 32 + 32 + 8 + 8 + 4;

/// Identity of a block and its place in the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockId {
    /// L2 block number.
    pub number: u64,
    /// Block hash.
    pub hash: B256,
    /// The parent's block hash.
    pub parent_hash: B256,
    /// The block's own timestamp, Unix seconds.
    pub timestamp: u64,
}

/// One signed block as received from the network. `Debug` shows only the length of the message.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredBlock {
    /// L2 block number.
    pub number: u64,
    /// Block hash.
    pub hash: B256,
    /// The parent's block hash.
    pub parent_hash: B256,
    /// The block's own timestamp, Unix seconds.
    pub timestamp: u64,
    /// Time at which this node received it, Unix milliseconds.
    pub received_unix_ms: u64,
    /// Version of the topic whose layout `message` has, 1 to 4 (protocol.md §1.5).
    pub version: u8,
    /// Uncompressed message: signature (65 bytes), parent beacon block root (32 bytes, from version
    /// 3 on), then the SSZ payload.
    pub message: Vec<u8>,
}

impl StoredBlock {
    /// Creates the record of a block. Zeros take the place of a signature that it lacks.
    #[must_use]
    pub fn new(block: &Block, received_unix_ms: u64) -> Self {
        let mut message = Vec::with_capacity(SIGNATURE_SIZE + block.body().len());
        message.extend_from_slice(block.signature().unwrap_or(&[0; SIGNATURE_SIZE]));
        message.extend_from_slice(block.body());
        Self {
            number: block.number(),
            hash: block.hash(),
            parent_hash: block.parent_hash(),
            timestamp: block.timestamp(),
            received_unix_ms,
            version: block.version().number(),
            message,
        }
    }

    /// Returns the block's identity, without its message.
    #[must_use]
    pub fn id(&self) -> BlockId {
        BlockId {
            number: self.number,
            hash: self.hash,
            parent_hash: self.parent_hash,
            timestamp: self.timestamp,
        }
    }
}

impl fmt::Debug for StoredBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredBlock")
            .field("id", &self.id())
            .field("received_unix_ms", &self.received_unix_ms)
            .field("version", &self.version)
            .field("message_bytes", &self.message.len())
            .finish()
    }
}

/// Encodes a block as a record. The caller has checked that its message is at most
/// [`MAX_MESSAGE_BYTES`].
pub(super) fn encode(block: &StoredBlock) -> io::Result<Vec<u8>> {
    let length = u32::try_from(block.message.len()).map_err(io::Error::other)?;
    // Room for the usual compression ratio of about one half; the `Vec` grows if a block compresses
    // worse.
    let mut stream = FrameEncoder::new(Vec::with_capacity(HEAD_BYTES + block.message.len() / 2));
    stream.write_all(&[LAYOUT, block.version])?;
    stream.write_all(&block.number.to_be_bytes())?;
    stream.write_all(block.hash.as_slice())?;
    stream.write_all(block.parent_hash.as_slice())?;
    stream.write_all(&block.timestamp.to_be_bytes())?;
    stream.write_all(&block.received_unix_ms.to_be_bytes())?;
    stream.write_all(&length.to_be_bytes())?;
    stream.write_all(&block.message)?;
    stream.into_inner().map_err(|error| io::Error::other(error.to_string()))
}

/// Decodes the whole record stored under `hash`, or describes its defect.
pub(super) fn decode(hash: &B256, record: &[u8]) -> Result<StoredBlock, String> {
    let mut stream = FrameDecoder::new(record);
    let block = read_block(Some(hash), &mut stream)?;
    match stream.read(&mut [0]) {
        Ok(0) => Ok(block),
        Ok(_) => Err("bytes follow its message".to_owned()),
        Err(error) => Err(format!("its end can't be read: {error}")),
    }
}

/// Decodes the record at the start of `bytes`, or describes its defect. Other bytes may follow it.
pub(super) fn decode_found(bytes: &mut impl Read) -> Result<StoredBlock, String> {
    read_block(None, &mut FrameDecoder::new(bytes))
}

fn read_block(key: Option<&B256>, stream: &mut impl Read) -> Result<StoredBlock, String> {
    let head = read_head(key, stream)?;
    let mut message = vec![0; head.message_len];
    stream
        .read_exact(&mut message)
        .map_err(|error| format!("its message can't be read: {error}"))?;
    Ok(StoredBlock {
        number: head.id.number,
        hash: head.id.hash,
        parent_hash: head.id.parent_hash,
        timestamp: head.id.timestamp,
        received_unix_ms: head.received_unix_ms,
        version: head.version,
        message,
    })
}

/// Decodes only the identity from the record stored under `hash`.
pub(super) fn decode_id(hash: &B256, record: &[u8]) -> Result<BlockId, String> {
    read_head(Some(hash), &mut FrameDecoder::new(record)).map(|head| head.id)
}

struct Head {
    id: BlockId,
    received_unix_ms: u64,
    version: u8,
    message_len: usize,
}

/// Reads the head of a record. If `key` is given, it must be the hash of the block.
fn read_head(key: Option<&B256>, stream: &mut impl Read) -> Result<Head, String> {
    let [layout, version] = read(stream)?;
    if layout != LAYOUT {
        return Err(format!("its record has layout {layout}, not {LAYOUT}"));
    }
    let number = u64::from_be_bytes(read(stream)?);
    let hash = B256::from(read::<32>(stream)?);
    let parent_hash = B256::from(read::<32>(stream)?);
    let timestamp = u64::from_be_bytes(read(stream)?);
    let received_unix_ms = u64::from_be_bytes(read(stream)?);
    let length = u32::from_be_bytes(read(stream)?);
    if key.is_some_and(|key| *key != hash) {
        return Err(format!("its record is that of block {hash}"));
    }
    let message_len = usize::try_from(length).unwrap_or(usize::MAX);
    if message_len > MAX_MESSAGE_BYTES {
        return Err(format!("its message claims {length} bytes"));
    }
    Ok(Head {
        id: BlockId { number, hash, parent_hash, timestamp },
        received_unix_ms,
        version,
        message_len,
    })
}

fn read<const N: usize>(stream: &mut impl Read) -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).map_err(|error| format!("its head can't be read: {error}"))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn block(message: Vec<u8>) -> StoredBlock {
        StoredBlock {
            number: 7,
            hash: B256::repeat_byte(7),
            parent_hash: B256::repeat_byte(6),
            timestamp: 1_700_000_000,
            received_unix_ms: 1_700_000_000_123,
            version: 3,
            message,
        }
    }

    #[test]
    fn a_record_returns_the_block_it_was_made_of() {
        for length in [0, 1, 65_535, 65_536, 200_000] {
            let block =
                block((0..length).map(|i| u8::try_from(i % 251).expect("below 251")).collect());
            let record = encode(&block).expect("encodes");
            assert_eq!(decode(&block.hash, &record), Ok(block.clone()));
            assert_eq!(decode_id(&block.hash, &record), Ok(block.id()));
        }
    }

    #[test]
    fn a_record_under_another_hash_is_noticed() {
        let record = encode(&block(vec![1; 100])).expect("encodes");
        let error = decode(&B256::ZERO, &record).expect_err("wrong key");
        assert!(error.contains("0x0707"), "{error}");
    }

    #[test]
    fn every_single_bit_flip_and_every_truncation_is_noticed() {
        let block = block((0..300).map(|i| u8::try_from(i % 256).expect("a byte")).collect());
        let record = encode(&block).expect("encodes");
        for at in 0..record.len() {
            assert!(decode(&block.hash, &record[..at]).is_err(), "cut at {at}");
            for bit in 0..8 {
                let mut changed = record.clone();
                changed[at] ^= 1 << bit;
                // A flip may turn a chunk into one that the format tells readers to skip. The
                // result must then be too short and refused, or be the same block.
                if let Ok(read) = decode(&block.hash, &changed) {
                    assert_eq!(read, block, "flip of bit {bit} at {at}");
                }
            }
        }
    }

    #[test]
    fn a_truncation_at_a_chunk_border_is_noticed() {
        let block = block(vec![9; 3 * 65_536]);
        let record = encode(&block).expect("encodes");
        // Walk the chunks: one byte of type, three of length.
        let mut at = 0;
        while at < record.len() {
            let header = &record[at..at + 4];
            at += 4
                + usize::from(header[1])
                + (usize::from(header[2]) << 8)
                + (usize::from(header[3]) << 16);
            assert_eq!(
                decode(&block.hash, &record[..at]).is_ok(),
                at == record.len(),
                "cut at {at}"
            );
        }
    }

    #[test]
    fn a_claimed_length_beyond_the_limit_is_refused_before_allocation() {
        let mut stream = FrameEncoder::new(Vec::new());
        stream.write_all(&[LAYOUT, 3]).expect("writes");
        stream.write_all(&[7; 8]).expect("writes");
        stream.write_all(&[7; 64]).expect("writes");
        stream.write_all(&[7; 16]).expect("writes");
        stream.write_all(&u32::MAX.to_be_bytes()).expect("writes");
        let record = stream.into_inner().expect("flushes");
        let error = decode(&B256::repeat_byte(7), &record).expect_err("too long");
        assert!(error.contains("4294967295"), "{error}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..400)
        ) {
            let _ = decode(&B256::ZERO, &bytes);
        }

        #[test]
        fn any_block_survives_the_round_trip(
            number: u64, timestamp: u64, received_unix_ms: u64, version: u8,
            hash: [u8; 32], parent: [u8; 32],
            message in proptest::collection::vec(any::<u8>(), 0..2000),
        ) {
            let block = StoredBlock {
                number, hash: hash.into(), parent_hash: parent.into(), timestamp, received_unix_ms,
                version, message,
            };
            let record = encode(&block).expect("encodes");
            prop_assert_eq!(decode(&block.hash, &record), Ok(block));
        }
    }
}
