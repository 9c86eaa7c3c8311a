//! Block headers, and chains of them downward from a verified one.

use alloy_primitives::{Address, B64, B256, Bloom, Bytes, U256, keccak256};
use alloy_rlp::{Decodable, Encodable, Header as RlpHeader};

use crate::payload::{Block, EMPTY_OMMERS, EMPTY_REQUESTS_HASH, header_withdrawals_root};

/// Maximum size of a header in RLP, in bytes. With 32 bytes of extra data it has at most 720.
pub const MAX_HEADER_SIZE: usize = 1024;

/// Maximum number of headers in one chain. A longer chain continues from the last proved header.
pub const MAX_HEADERS: usize = 4096;

/// A block header with all of its fields.
///
/// From London on, each fork appends fields, so a present field requires all earlier ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockHeader {
    /// Hash of the parent block.
    pub parent_hash: B256,
    /// Hash of the list of uncles.
    pub ommers_hash: B256,
    /// Receiver of the priority fees.
    pub beneficiary: Address,
    /// State root after the block.
    pub state_root: B256,
    /// Root of the transactions trie.
    pub transactions_root: B256,
    /// Root of the receipts trie.
    pub receipts_root: B256,
    /// Bloom filter over the logs.
    pub logs_bloom: Bloom,
    /// Difficulty: zero since Bedrock.
    pub difficulty: U256,
    /// The block's number.
    pub number: u64,
    /// Maximum gas that the block may use.
    pub gas_limit: u64,
    /// Gas used by all transactions of the block.
    pub gas_used: u64,
    /// Timestamp in Unix seconds.
    pub timestamp: u64,
    /// Extra data.
    pub extra_data: Bytes,
    /// Randomness of the L1 origin.
    pub mix_hash: B256,
    /// Nonce of the seal: zero since Bedrock.
    pub nonce: B64,
    /// Base fee per gas in wei. Since Bedrock.
    pub base_fee_per_gas: Option<U256>,
    /// Root of the (empty) list of withdrawals. From Isthmus on, the storage root of the message
    /// passer. Since Canyon.
    pub withdrawals_root: Option<B256>,
    /// Blob gas used: zero. From Jovian on, the data-availability footprint. Since Ecotone.
    pub blob_gas_used: Option<u64>,
    /// Excess blob gas: zero. Since Ecotone.
    pub excess_blob_gas: Option<u64>,
    /// Root of the parent beacon block of the L1 origin. Since Ecotone.
    pub parent_beacon_block_root: Option<B256>,
    /// Hash of the (empty) list of requests. Since Isthmus.
    pub requests_hash: Option<B256>,
}

/// The false part of a header, or of a chain of headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The header has more than [`MAX_HEADER_SIZE`] bytes.
    #[error("the header has {0} bytes, and at most {MAX_HEADER_SIZE} are accepted")]
    TooLarge(usize),
    /// The bytes are not a header in RLP. The field is the first that can't be decoded.
    #[error("the header's {field} is malformed: {error}")]
    Malformed {
        /// Name of the field, as in JSON.
        field: &'static str,
        /// Error of the decoder.
        error: alloy_rlp::Error,
    },
    /// An optional field is present without all earlier ones.
    #[error("the header has fields after {0}, which is missing")]
    Gap(&'static str),
    /// The header has another hash than required: the hash in its child, if it is in a chain.
    #[error("the header has the hash {computed} instead of {expected}")]
    Hash {
        /// The required hash.
        expected: B256,
        /// Hash of the given header.
        computed: B256,
    },
    /// The header's number is not the one before its child's.
    #[error("the header has the number {number}, and its child {child}")]
    Number {
        /// Number of the child.
        child: u64,
        /// Number of the given header.
        number: u64,
    },
}

/// The false header of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// The chain has more than [`MAX_HEADERS`] headers.
    #[error("the chain has {0} headers, and at most {MAX_HEADERS} are accepted")]
    TooMany(usize),
    /// A header is false.
    #[error("header {index}: {error}")]
    Header {
        /// Index in the chain.
        index: usize,
        /// The false part.
        error: HeaderError,
    },
}

impl BlockHeader {
    /// Returns the header of a block. Its hash is the block's if the block
    /// [claims the true one](Block::has_true_hash), as every block from gossip does.
    pub fn of_block(block: &Block) -> Self {
        let payload = block.payload();
        let is_ecotone = payload.blob_gas_used().is_some();
        Self {
            parent_hash: payload.parent_hash(),
            ommers_hash: EMPTY_OMMERS,
            beneficiary: payload.fee_recipient(),
            state_root: payload.state_root(),
            transactions_root: block.transactions_root(),
            receipts_root: payload.receipts_root(),
            logs_bloom: Bloom::new(*payload.logs_bloom()),
            difficulty: U256::ZERO,
            number: payload.block_number(),
            gas_limit: payload.gas_limit(),
            gas_used: payload.gas_used(),
            timestamp: payload.timestamp(),
            extra_data: Bytes::copy_from_slice(payload.extra_data()),
            mix_hash: payload.prev_randao(),
            nonce: B64::ZERO,
            base_fee_per_gas: Some(payload.base_fee_per_gas()),
            withdrawals_root: header_withdrawals_root(&payload),
            blob_gas_used: payload.blob_gas_used(),
            excess_blob_gas: payload.excess_blob_gas(),
            parent_beacon_block_root: is_ecotone
                .then(|| block.parent_beacon_block_root().unwrap_or_default()),
            requests_hash: payload.withdrawals_root().map(|_| EMPTY_REQUESTS_HASH),
        }
    }

    /// Decodes a header in RLP. The encoding is unique, so [`hash`](Self::hash) is the hash of the
    /// bytes.
    ///
    /// # Errors
    /// If the bytes are too many, or not exactly a header with known fields.
    pub fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        if bytes.len() > MAX_HEADER_SIZE {
            return Err(HeaderError::TooLarge(bytes.len()));
        }
        let malformed = |error| HeaderError::Malformed { field: "list", error };
        let mut rest = bytes;
        let list = RlpHeader::decode_bytes(&mut rest, true).map_err(malformed)?;
        if !rest.is_empty() {
            return Err(malformed(alloy_rlp::Error::UnexpectedLength));
        }
        let mut fields = Fields(list);
        let header = Self {
            parent_hash: fields.next("parentHash")?,
            ommers_hash: fields.next("sha3Uncles")?,
            beneficiary: fields.next("miner")?,
            state_root: fields.next("stateRoot")?,
            transactions_root: fields.next("transactionsRoot")?,
            receipts_root: fields.next("receiptsRoot")?,
            logs_bloom: fields.next("logsBloom")?,
            difficulty: fields.next("difficulty")?,
            number: fields.next("number")?,
            gas_limit: fields.next("gasLimit")?,
            gas_used: fields.next("gasUsed")?,
            timestamp: fields.next("timestamp")?,
            extra_data: fields.next("extraData")?,
            mix_hash: fields.next("mixHash")?,
            nonce: fields.next("nonce")?,
            base_fee_per_gas: fields.next_if_any("baseFeePerGas")?,
            withdrawals_root: fields.next_if_any("withdrawalsRoot")?,
            blob_gas_used: fields.next_if_any("blobGasUsed")?,
            excess_blob_gas: fields.next_if_any("excessBlobGas")?,
            parent_beacon_block_root: fields.next_if_any("parentBeaconBlockRoot")?,
            requests_hash: fields.next_if_any("requestsHash")?,
        };
        if fields.0.is_empty() {
            Ok(header)
        } else {
            Err(malformed(alloy_rlp::Error::ListLengthMismatch { expected: 21, got: 22 }))
        }
    }

    /// Returns the RLP encoding.
    ///
    /// # Errors
    /// [`HeaderError::Gap`] if an optional field is present without all earlier ones, or
    /// [`HeaderError::TooLarge`].
    pub fn encode(&self) -> Result<Vec<u8>, HeaderError> {
        if self.extra_data.len() > MAX_HEADER_SIZE {
            return Err(HeaderError::TooLarge(self.extra_data.len()));
        }
        let mut fields = Vec::with_capacity(768);
        let out = &mut fields;
        self.parent_hash.encode(out);
        self.ommers_hash.encode(out);
        self.beneficiary.encode(out);
        self.state_root.encode(out);
        self.transactions_root.encode(out);
        self.receipts_root.encode(out);
        self.logs_bloom.encode(out);
        self.difficulty.encode(out);
        self.number.encode(out);
        self.gas_limit.encode(out);
        self.gas_used.encode(out);
        self.timestamp.encode(out);
        self.extra_data.encode(out);
        self.mix_hash.encode(out);
        self.nonce.encode(out);
        let mut missing = None;
        put(self.base_fee_per_gas, "baseFeePerGas", &mut missing, out)?;
        put(self.withdrawals_root, "withdrawalsRoot", &mut missing, out)?;
        put(self.blob_gas_used, "blobGasUsed", &mut missing, out)?;
        put(self.excess_blob_gas, "excessBlobGas", &mut missing, out)?;
        put(self.parent_beacon_block_root, "parentBeaconBlockRoot", &mut missing, out)?;
        put(self.requests_hash, "requestsHash", &mut missing, out)?;
        let mut header = Vec::with_capacity(fields.len() + 4);
        RlpHeader { list: true, payload_length: fields.len() }.encode(&mut header);
        header.extend_from_slice(&fields);
        if header.len() <= MAX_HEADER_SIZE {
            Ok(header)
        } else {
            Err(HeaderError::TooLarge(header.len()))
        }
    }

    /// Returns the block's hash.
    ///
    /// # Errors
    /// As [`Self::encode`]. A decoded header and a block's header have a hash.
    pub fn hash(&self) -> Result<B256, HeaderError> {
        Ok(keccak256(self.encode()?))
    }

    /// Checks that the header has this hash.
    ///
    /// # Errors
    /// If it has another hash, or none.
    pub fn verify(&self, expected: B256) -> Result<(), HeaderError> {
        let computed = self.hash()?;
        if computed == expected { Ok(()) } else { Err(HeaderError::Hash { expected, computed }) }
    }

    /// Returns the storage root of the [message passer](super::MESSAGE_PASSER) after the block, or
    /// `None` before Isthmus, when `withdrawals_root` is the root of an empty list.
    pub fn message_passer_root(&self) -> Option<B256> {
        self.requests_hash.and(self.withdrawals_root)
    }

    /// Checks that the number is the one before the child's.
    fn precedes(&self, child: &Self) -> Result<(), HeaderError> {
        if self.number.checked_add(1) == Some(child.number) {
            Ok(())
        } else {
            Err(HeaderError::Number { child: child.number, number: self.number })
        }
    }
}

/// The encoded fields that are not decoded yet.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn next<T: Decodable>(&mut self, field: &'static str) -> Result<T, HeaderError> {
        T::decode(&mut self.0).map_err(|error| HeaderError::Malformed { field, error })
    }

    fn next_if_any<T: Decodable>(&mut self, field: &'static str) -> Result<Option<T>, HeaderError> {
        if self.0.is_empty() { Ok(None) } else { self.next(field).map(Some) }
    }
}

/// Encodes an optional field. `missing` is the first one that is missing.
fn put<T: Encodable>(
    value: Option<T>,
    field: &'static str,
    missing: &mut Option<&'static str>,
    out: &mut Vec<u8>,
) -> Result<(), HeaderError> {
    match (value, *missing) {
        (Some(_), Some(missing)) => return Err(HeaderError::Gap(missing)),
        (Some(value), None) => value.encode(out),
        (None, _) => *missing = missing.or(Some(field)),
    }
    Ok(())
}

/// Verifies the headers below `head`, the newest first: the first must be `head`'s parent, each
/// following one the parent of the previous one.
///
/// `head` is a header whose hash is known to be right.
///
/// # Errors
/// The first false header.
pub fn prove_headers(head: &BlockHeader, headers: &[BlockHeader]) -> Result<(), ChainError> {
    if headers.len() > MAX_HEADERS {
        return Err(ChainError::TooMany(headers.len()));
    }
    let mut child = head;
    for (index, header) in headers.iter().enumerate() {
        header
            .verify(child.parent_hash)
            .and_then(|()| header.precedes(child))
            .map_err(|error| ChainError::Header { index, error })?;
        child = header;
    }
    Ok(())
}

/// Decodes the headers below `head` from RLP, and verifies them as [`prove_headers`].
///
/// # Errors
/// The first false header. No header is decoded before its hash is verified.
pub fn prove_raw_headers(
    head: &BlockHeader,
    headers: &[impl AsRef<[u8]>],
) -> Result<Vec<BlockHeader>, ChainError> {
    if headers.len() > MAX_HEADERS {
        return Err(ChainError::TooMany(headers.len()));
    }
    let mut proved: Vec<BlockHeader> = Vec::with_capacity(headers.len());
    for (index, bytes) in headers.iter().enumerate() {
        let child = proved.last().unwrap_or(head);
        let header = prove_parent(child, bytes.as_ref())
            .map_err(|error| ChainError::Header { index, error })?;
        proved.push(header);
    }
    Ok(proved)
}

fn prove_parent(child: &BlockHeader, bytes: &[u8]) -> Result<BlockHeader, HeaderError> {
    if bytes.len() > MAX_HEADER_SIZE {
        return Err(HeaderError::TooLarge(bytes.len()));
    }
    let computed = keccak256(bytes);
    if computed != child.parent_hash {
        return Err(HeaderError::Hash { expected: child.parent_hash, computed });
    }
    let header = BlockHeader::decode(bytes)?;
    header.precedes(child)?;
    Ok(header)
}
