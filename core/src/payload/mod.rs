//! Execution payloads: their four versions, their SSZ encoding, the header they stand for.
//!
//! [`ExecutionPayload`] and [`Envelope`] own their parts: what a sequencer hands in, what an API
//! hands out. [`PayloadView`] reads the encoding in place: what the hot path works with.
//! [`Block`] is a payload that was judged, with its bytes. [`ssz`] holds the canonical types.
//!
//! Nothing here grows with anything but its input, and inputs are bounded where they come in: a
//! gossip message by [`gossip::MAX_MESSAGE_SIZE`](crate::gossip::MAX_MESSAGE_SIZE), a response by
//! the frame decoder's limit.

mod block;
mod error;
mod header;
mod layout;
pub mod snappy;
pub mod ssz;
#[cfg(test)]
mod tests;
pub mod trie;
mod version;
mod view;

pub use block::Block;
pub use error::{DecodeError, EncodeError};
pub use header::{
    BLOCK_NUMBER_LIMIT, EMPTY_OMMERS, EMPTY_REQUESTS_HASH, block_hash, block_rlp_size, header_hash,
    header_withdrawals_root, transactions_root, withdrawals_root,
};
pub use layout::{MAX_EXTRA_DATA, MAX_TRANSACTIONS, MAX_WITHDRAWALS};
pub use version::PayloadVersion;
pub use view::{PayloadLayout, PayloadView};

use alloy_primitives::{Address, B256, Bloom, Bytes, U256};
use layout::OFFSET_SIZE;

/// Bytes of the parent beacon block root in front of a v3 or v4 payload.
pub const BEACON_ROOT_SIZE: usize = 32;

/// A withdrawal from the beacon chain (EIP-4895). An L2 block's list is always empty; the layout
/// has room for it all the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Withdrawal {
    /// Number of the withdrawal.
    pub index: u64,
    /// Who withdrew.
    pub validator_index: u64,
    /// Where to.
    pub address: Address,
    /// How much, in gwei.
    pub amount: u64,
}

/// An L2 block as the Engine API and the gossip know it (`protocol` name: ExecutionPayload V1–V4).
///
/// Which version it is follows from the optional fields that are present: see [`Self::version`].
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
    /// Number of the block.
    pub block_number: u64,
    /// Gas limit.
    pub gas_limit: u64,
    /// Gas used.
    pub gas_used: u64,
    /// Unix seconds.
    pub timestamp: u64,
    /// At most 32 bytes.
    pub extra_data: Bytes,
    /// Base fee in wei.
    pub base_fee_per_gas: U256,
    /// Hash of the block that this payload claims to be.
    pub block_hash: B256,
    /// Raw transactions (EIP-2718 envelopes), the deposits first.
    pub transactions: Vec<Bytes>,
    /// Since Canyon: present and empty.
    pub withdrawals: Option<Vec<Withdrawal>>,
    /// Since Ecotone: zero; since Jovian the data-availability footprint.
    pub blob_gas_used: Option<u64>,
    /// Since Ecotone: zero.
    pub excess_blob_gas: Option<u64>,
    /// Since Isthmus: storage root of the message passer.
    pub withdrawals_root: Option<B256>,
}

impl ExecutionPayload {
    /// The version that the present fields ask for.
    ///
    /// The reference encodes a payload whose withdrawals root equals the empty trie's as v3, which
    /// its own v4 topic then rejects; here presence alone decides.
    ///
    /// # Errors
    /// [`EncodeError::MissingData`] for fields that no version has together.
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

    /// Appends the SSZ encoding to `out`, in the version that the present fields ask for.
    ///
    /// # Errors
    /// Fields that no version has together, or more than the layout can hold. `out` is then as
    /// before.
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
    /// The first rule of the decoder that is broken.
    pub fn decode(version: PayloadVersion, bytes: &[u8]) -> Result<Self, DecodeError> {
        Ok(PayloadView::parse(version, bytes)?.to_payload())
    }

    /// Sets `block_hash` to the hash of the block that the other fields describe.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn seal(&mut self, parent_beacon_block_root: Option<B256>) -> Result<B256, EncodeError> {
        let mut bytes = Vec::new();
        let version = self.encode(&mut bytes)?;
        // Extra data of more than 32 bytes encodes, but no decoder takes it.
        let view = PayloadView::parse(version, &bytes)
            .map_err(|_| EncodeError::ExtraDataTooLarge(self.extra_data.len()))?;
        self.block_hash = block_hash(&view, parent_beacon_block_root);
        Ok(self.block_hash)
    }
}

/// Bytes that an encoding takes, or why there is none.
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
    // With nothing behind the extra data, the last offset may be the largest that there is.
    if u32::try_from(size).is_ok() { Ok(size) } else { Err(EncodeError::TooLarge(size)) }
}

/// A payload with the parent beacon block root that travels in front of it since Ecotone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    /// Root of the L1 beacon block that the L1 origin builds on. Present on v3 and v4 only.
    pub parent_beacon_block_root: Option<B256>,
    /// The block.
    pub payload: ExecutionPayload,
}

impl Envelope {
    /// Appends what is signed and gossiped behind the signature: the root where there is one, then
    /// the payload.
    ///
    /// # Errors
    /// A root that is missing or superfluous for the payload's version, or as
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
            None if version.has_beacon_root() => Err(EncodeError::MissingData("parentBeaconBlockRoot")),
            None => self.payload.encode(out),
        }
    }

    /// Decodes what [`Self::encode`] writes.
    ///
    /// # Errors
    /// Too few bytes for the root, or the first rule of the payload's decoder that is broken.
    pub fn decode(version: PayloadVersion, bytes: &[u8]) -> Result<Self, DecodeError> {
        let (parent_beacon_block_root, payload) = split_body(version, bytes)?;
        Ok(Self { parent_beacon_block_root, payload: ExecutionPayload::decode(version, payload)? })
    }
}

/// Splits an envelope's encoding into the root, where the version has one, and the payload.
pub(crate) fn split_body(version: PayloadVersion, body: &[u8]) -> Result<(Option<B256>, &[u8]), DecodeError> {
    if !version.has_beacon_root() {
        return Ok((None, body));
    }
    let (root, payload) =
        body.split_first_chunk::<BEACON_ROOT_SIZE>().ok_or(DecodeError::EnvelopeTooShort(body.len()))?;
    Ok((Some(B256::new(*root)), payload))
}
