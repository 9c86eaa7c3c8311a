//! Execution payloads: their four versions, their SSZ encoding, and their block header.
//!
//! [`ExecutionPayload`] and [`Envelope`] own their parts, for a sequencer's input and an API's
//! output. [`PayloadView`] reads the encoding in place, for the hot path. [`Block`] is a validated
//! payload with its bytes. [`ssz`] holds the canonical types.
//!
//! Memory is proportional to the input, and inputs are bounded on arrival: a gossip message by
//! [`gossip::MAX_MESSAGE_SIZE`](crate::gossip::MAX_MESSAGE_SIZE), a response by the frame decoder's
//! limit.

mod base_time;
mod block;
mod error;
mod header;
mod l1_info;
mod layout;
#[cfg(feature = "op-alloy")]
mod op_alloy;
pub mod rebuild;
pub mod shown;
pub mod snappy;
pub mod ssz;
#[cfg(test)]
mod tests;
pub mod trie;
mod version;
mod view;

pub use base_time::{BASE_TIME_INDEX, BASE_TIME_SIZE, BaseTime};
pub use block::Block;
pub use error::{DecodeError, EncodeError};
pub use header::{
    BLOCK_NUMBER_LIMIT, EMPTY_OMMERS, EMPTY_REQUESTS_HASH, block_hash, block_rlp_size, header_hash,
    header_withdrawals_root, output_root, transactions_root, withdrawals_root,
};
pub use l1_info::L1Info;
#[cfg(feature = "proof")]
pub(crate) use l1_info::deposit_items;
pub use layout::{MAX_EXTRA_DATA, MAX_TRANSACTIONS, MAX_WITHDRAWALS};
pub use rebuild::RebuildError;
pub use version::PayloadVersion;
pub use view::{PayloadLayout, PayloadView};

use alloy_primitives::{Address, B256, Bloom, Bytes, U256};
use layout::OFFSET_SIZE;

/// Size in bytes of the parent beacon block root in front of a v3 or v4 payload.
pub const BEACON_ROOT_SIZE: usize = 32;

/// A withdrawal from the beacon chain (EIP-4895). The list of an L2 block is always empty, but the
/// layout has room for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Withdrawal {
    /// Index of the withdrawal, counted over all blocks.
    pub index: u64,
    /// Index of the validator that withdrew.
    pub validator_index: u64,
    /// Receiving address.
    pub address: Address,
    /// Amount in gwei.
    pub amount: u64,
}

/// An L2 block in the form of the Engine API and gossip (`protocol` name: ExecutionPayload V1–V4).
///
/// The optional fields that are present determine the version: see [`Self::version`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecutionPayload {
    /// Hash of the parent block.
    pub parent_hash: B256,
    /// Receiver of the priority fees.
    pub fee_recipient: Address,
    /// State root after this block.
    pub state_root: B256,
    /// Root of the receipts trie.
    pub receipts_root: B256,
    /// Bloom filter over the logs.
    pub logs_bloom: Bloom,
    /// Randomness of the L1 origin.
    pub prev_randao: B256,
    /// The block's number.
    pub block_number: u64,
    /// Maximum gas that the block may use.
    pub gas_limit: u64,
    /// Gas used by all transactions of the block.
    pub gas_used: u64,
    /// Timestamp in Unix seconds.
    pub timestamp: u64,
    /// Extra data, at most 32 bytes.
    pub extra_data: Bytes,
    /// Base fee per gas, in wei.
    pub base_fee_per_gas: U256,
    /// The block hash that the payload claims.
    pub block_hash: B256,
    /// Raw transactions (EIP-2718 envelopes), the deposits first.
    pub transactions: Vec<Bytes>,
    /// Withdrawals. From Canyon on: present and empty.
    pub withdrawals: Option<Vec<Withdrawal>>,
    /// Blob gas used. From Ecotone on: zero. From Jovian on: the data-availability footprint.
    pub blob_gas_used: Option<u64>,
    /// Excess blob gas. From Ecotone on: zero.
    pub excess_blob_gas: Option<u64>,
    /// Storage root of the message passer contract. Present from Isthmus on.
    pub withdrawals_root: Option<B256>,
}

impl ExecutionPayload {
    /// Returns the version that the present fields require.
    ///
    /// The reference encodes a payload as v3 if its withdrawals root equals the empty trie's, and
    /// its own v4 topic then rejects it. Here, only presence counts.
    ///
    /// # Errors
    /// [`EncodeError::MissingData`] if no version has this combination of fields.
    pub fn version(&self) -> Result<PayloadVersion, EncodeError> {
        let version = if self.withdrawals_root.is_some() {
            PayloadVersion::V4
        } else if self.blob_gas_used.is_some() || self.excess_blob_gas.is_some() {
            PayloadVersion::V3
        } else if self.withdrawals.is_some() {
            PayloadVersion::V2
        } else {
            PayloadVersion::V1
        };
        if version.has_beacon_root() && self.blob_gas_used.is_none() {
            return Err(EncodeError::MissingData("blobGasUsed"));
        }
        if version.has_beacon_root() && self.excess_blob_gas.is_none() {
            return Err(EncodeError::MissingData("excessBlobGas"));
        }
        if version.has_withdrawals() && self.withdrawals.is_none() {
            return Err(EncodeError::MissingData("withdrawals"));
        }
        Ok(version)
    }

    /// Appends the SSZ encoding to `out`, in the version that the present fields require.
    ///
    /// # Errors
    /// If no version has this combination of fields, or if the layout can't hold the payload. `out`
    /// is then unchanged.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<PayloadVersion, EncodeError> {
        let version = self.version()?;
        let lengths = self.transactions.iter().map(|transaction| transaction.len());
        let withdrawals = self.withdrawals.as_ref().map_or(0, Vec::len);
        let size = encoded_size(version, self.extra_data.len(), lengths, withdrawals)?;
        out.reserve(size);
        ssz::encode(version, self, out)?;
        Ok(version)
    }

    /// Decodes an SSZ encoding of `version`.
    ///
    /// # Errors
    /// The first violated rule of the decoder.
    pub fn decode(version: PayloadVersion, bytes: &[u8]) -> Result<Self, DecodeError> {
        Ok(PayloadView::parse(version, bytes)?.to_payload())
    }

    /// Sets `block_hash` to the hash of the block that the other fields describe, and returns it.
    ///
    /// # Errors
    /// As [`Self::encode`], or [`EncodeError::ExtraDataTooLarge`] for more than 32 bytes of extra
    /// data.
    pub fn seal(&mut self, parent_beacon_block_root: Option<B256>) -> Result<B256, EncodeError> {
        let mut bytes = Vec::new();
        let version = self.encode(&mut bytes)?;
        // More than 32 bytes of extra data can be encoded, but no decoder accepts them.
        let view = PayloadView::parse(version, &bytes)
            .map_err(|_| EncodeError::ExtraDataTooLarge(self.extra_data.len()))?;
        self.block_hash = block_hash(&view, parent_beacon_block_root);
        Ok(self.block_hash)
    }
}

/// Returns the size of an encoding in bytes.
///
/// # Errors
/// The reason why the payload can't be encoded.
pub(crate) fn encoded_size(
    version: PayloadVersion,
    extra_data: usize,
    transactions: impl ExactSizeIterator<Item = usize>,
    withdrawals: usize,
) -> Result<usize, EncodeError> {
    const LIMIT: usize = u32::MAX as usize;
    // The offset of the transactions must fit in 32 bits.
    if extra_data > LIMIT - version.fixed_size() {
        return Err(EncodeError::ExtraDataTooLarge(extra_data));
    }
    if transactions.len() > MAX_TRANSACTIONS {
        return Err(EncodeError::TooManyTransactions(transactions.len()));
    }
    if withdrawals > MAX_WITHDRAWALS {
        return Err(EncodeError::TooManyWithdrawals(withdrawals));
    }
    let offsets = transactions.len() * OFFSET_SIZE;
    let transactions = transactions.fold(offsets, usize::saturating_add);
    let size = version
        .fixed_size()
        .saturating_add(extra_data)
        .saturating_add(transactions)
        .saturating_add(withdrawals * layout::WITHDRAWAL_SIZE);
    // If no bytes follow the extra data, the last offset may be the largest possible one.
    if u32::try_from(size).is_ok() { Ok(size) } else { Err(EncodeError::TooLarge(size)) }
}

/// A payload with the parent beacon block root that precedes it from Ecotone on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    /// Root of the parent beacon block of the L1 origin. Present only on v3 and v4.
    pub parent_beacon_block_root: Option<B256>,
    /// The execution payload.
    pub payload: ExecutionPayload,
}

impl Envelope {
    /// Appends the signed bytes, which follow the signature in gossip: the root if the version has
    /// one, then the payload.
    ///
    /// # Errors
    /// If the root is missing or superfluous for the payload's version, or as
    /// [`ExecutionPayload::encode`].
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<PayloadVersion, EncodeError> {
        let version = self.payload.version()?;
        match self.parent_beacon_block_root {
            Some(root) if version.has_beacon_root() => {
                let before = out.len();
                out.extend_from_slice(root.as_slice());
                self.payload.encode(out).inspect_err(|_| out.truncate(before))
            }
            Some(_) => Err(EncodeError::Superfluous { field: "parentBeaconBlockRoot", version }),
            None if version.has_beacon_root() => {
                Err(EncodeError::MissingData("parentBeaconBlockRoot"))
            }
            None => self.payload.encode(out),
        }
    }

    /// Decodes the output of [`Self::encode`].
    ///
    /// # Errors
    /// Too few bytes for the root, or the first violated rule of the payload's decoder.
    pub fn decode(version: PayloadVersion, bytes: &[u8]) -> Result<Self, DecodeError> {
        let (parent_beacon_block_root, payload) = split_body(version, bytes)?;
        Ok(Self { parent_beacon_block_root, payload: ExecutionPayload::decode(version, payload)? })
    }

    /// Decodes the output of [`Self::encode`] for any version: the bytes themselves
    /// [determine](PayloadVersion::of_bytes) it.
    ///
    /// # Errors
    /// The first violated rule of the payload's decoder, or [`DecodeError::NoVersion`].
    pub fn decode_any(bytes: &[u8]) -> Result<Self, DecodeError> {
        let version = PayloadVersion::of_bytes(bytes).ok_or(DecodeError::NoVersion)?;
        Self::decode(version, bytes)
    }
}

/// Splits an envelope's encoding into the root, if the version has one, and the payload.
pub(crate) fn split_body(
    version: PayloadVersion,
    body: &[u8],
) -> Result<(Option<B256>, &[u8]), DecodeError> {
    if !version.has_beacon_root() {
        return Ok((None, body));
    }
    let (root, payload) = body
        .split_first_chunk::<BEACON_ROOT_SIZE>()
        .ok_or(DecodeError::EnvelopeTooShort(body.len()))?;
    Ok((Some(B256::new(*root)), payload))
}
