//! The four payload containers as SSZ types of `ssz_rs`: the canonical encoding, and the reference
//! for the tests of [`PayloadView`](super::PayloadView).
//!
//! The library's own lists process bytes one by one, so the byte fields use custom types that move
//! whole slices. The library handles the containers, their offsets and their order.

use super::layout::{MAX_EXTRA_DATA, MAX_TRANSACTIONS, MAX_WITHDRAWALS, OFFSET_SIZE};
use super::{EncodeError, ExecutionPayload, PayloadVersion};
use alloy_primitives::{Address, B256, Bloom, Bytes, U256};
use ssz_rs::prelude::*;

/// `N` bytes of fixed length: hashes, addresses, the bloom filter, and 256-bit numbers
/// (little-endian).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FixedBytes<const N: usize>(pub [u8; N]);

impl<const N: usize> Default for FixedBytes<N> {
    fn default() -> Self {
        Self([0; N])
    }
}

impl<const N: usize> ssz_rs::Sized for FixedBytes<N> {
    fn is_variable_size() -> bool {
        false
    }

    fn size_hint() -> usize {
        N
    }
}

impl<const N: usize> Serialize for FixedBytes<N> {
    fn serialize(&self, buffer: &mut Vec<u8>) -> Result<usize, SerializeError> {
        buffer.extend_from_slice(&self.0);
        Ok(N)
    }
}

impl<const N: usize> Deserialize for FixedBytes<N> {
    fn deserialize(encoding: &[u8]) -> Result<Self, DeserializeError> {
        let provided = encoding.len();
        match encoding.try_into() {
            Ok(bytes) => Ok(Self(bytes)),
            Err(_) if provided < N => {
                Err(DeserializeError::ExpectedFurtherInput { provided, expected: N })
            }
            Err(_) => Err(DeserializeError::AdditionalInput { provided, expected: N }),
        }
    }
}

impl<const N: usize> Merkleized for FixedBytes<N> {
    fn hash_tree_root(&mut self) -> Result<Node, MerkleizationError> {
        let bytes = Vector::<u8, N>::try_from(self.0.to_vec());
        bytes.map_err(|(_, _)| MerkleizationError::InputExceedsLimit(N))?.hash_tree_root()
    }
}

impl<const N: usize> SimpleSerialize for FixedBytes<N> {}

/// Up to 32 bytes of extra data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtraData(pub Bytes);

impl ssz_rs::Sized for ExtraData {
    fn is_variable_size() -> bool {
        true
    }

    fn size_hint() -> usize {
        0
    }
}

impl Serialize for ExtraData {
    /// Also writes more than 32 bytes, like the reference, although its decoder rejects them.
    fn serialize(&self, buffer: &mut Vec<u8>) -> Result<usize, SerializeError> {
        buffer.extend_from_slice(&self.0);
        Ok(self.0.len())
    }
}

impl Deserialize for ExtraData {
    fn deserialize(encoding: &[u8]) -> Result<Self, DeserializeError> {
        if encoding.len() > MAX_EXTRA_DATA {
            return Err(
                InstanceError::Bounded { bound: MAX_EXTRA_DATA, provided: encoding.len() }.into()
            );
        }
        Ok(Self(Bytes::copy_from_slice(encoding)))
    }
}

impl Merkleized for ExtraData {
    fn hash_tree_root(&mut self) -> Result<Node, MerkleizationError> {
        let bytes = List::<u8, MAX_EXTRA_DATA>::try_from(self.0.to_vec());
        bytes.map_err(|_| MerkleizationError::InputExceedsLimit(MAX_EXTRA_DATA))?.hash_tree_root()
    }
}

impl SimpleSerialize for ExtraData {}

/// Up to 2^20 transactions as raw bytes, each of any length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transactions(pub Vec<Bytes>);

impl ssz_rs::Sized for Transactions {
    fn is_variable_size() -> bool {
        true
    }

    fn size_hint() -> usize {
        0
    }
}

impl Serialize for Transactions {
    fn serialize(&self, buffer: &mut Vec<u8>) -> Result<usize, SerializeError> {
        let start = buffer.len();
        let mut offset = self.0.len() * OFFSET_SIZE;
        for transaction in &self.0 {
            let fits = u32::try_from(offset);
            let fits = fits.map_err(|_| SerializeError::MaximumEncodedLengthReached(offset))?;
            buffer.extend_from_slice(&fits.to_le_bytes());
            offset += transaction.len();
        }
        for transaction in &self.0 {
            buffer.extend_from_slice(transaction);
        }
        Ok(buffer.len() - start)
    }
}

impl Deserialize for Transactions {
    fn deserialize(encoding: &[u8]) -> Result<Self, DeserializeError> {
        if encoding.is_empty() {
            return Ok(Self::default());
        }
        let length = encoding.len();
        let short =
            |expected| DeserializeError::ExpectedFurtherInput { provided: length, expected };
        let first = encoding.get(..OFFSET_SIZE).ok_or(short(OFFSET_SIZE))?;
        let first = u32::deserialize(first)? as usize;
        if first == 0 || !first.is_multiple_of(OFFSET_SIZE) {
            return Err(DeserializeError::InvalidOffsetsLength(first));
        }
        let table = encoding.get(..first).ok_or(short(first))?;
        let count = first / OFFSET_SIZE;
        if count > MAX_TRANSACTIONS {
            return Err(InstanceError::Bounded { bound: MAX_TRANSACTIONS, provided: count }.into());
        }
        let mut ends = table.chunks_exact(OFFSET_SIZE).skip(1);
        let mut transactions = Vec::with_capacity(count);
        let mut start = first;
        for _ in 0..count {
            let end = ends
                .next()
                .map_or(Ok(length), |end| u32::deserialize(end).map(|end| end as usize))?;
            if end < start {
                return Err(DeserializeError::OffsetNotIncreasing { start, end });
            }
            transactions.push(Bytes::copy_from_slice(encoding.get(start..end).ok_or(short(end))?));
            start = end;
        }
        Ok(Self(transactions))
    }
}

impl Merkleized for Transactions {
    fn hash_tree_root(&mut self) -> Result<Node, MerkleizationError> {
        /// The consensus layer's limit on the size of one transaction. It only determines the depth
        /// of the tree.
        const BYTES_PER_TRANSACTION: usize = 1 << 30;
        let bytes =
            |transaction: &Bytes| List::<u8, BYTES_PER_TRANSACTION>::try_from(transaction.to_vec());
        let items: Result<Vec<_>, _> = self.0.iter().map(bytes).collect();
        let items =
            items.map_err(|_| MerkleizationError::InputExceedsLimit(BYTES_PER_TRANSACTION))?;
        let list = List::<_, MAX_TRANSACTIONS>::try_from(items);
        list.map_err(|_| MerkleizationError::InputExceedsLimit(MAX_TRANSACTIONS))?.hash_tree_root()
    }
}

impl SimpleSerialize for Transactions {}

/// A withdrawal, 44 bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, SimpleSerialize)]
pub struct Withdrawal {
    /// Index of the withdrawal, counted over all blocks.
    pub index: u64,
    /// Index of the validator that withdrew.
    pub validator_index: u64,
    /// Receiving address.
    pub address: FixedBytes<20>,
    /// Amount in gwei.
    pub amount: u64,
}

/// Declares the containers, which share their first fields, and their conversions.
macro_rules! containers {
    ($(
        $(#[$doc:meta])*
        $name:ident { $($field:ident: $type:ty = $from:expr => $into:expr),* $(,)? }
    )*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, SimpleSerialize)]
        #[allow(
            missing_docs,
            reason = "the fields are those of ExecutionPayload, documented there"
        )]
        pub struct $name {
            pub parent_hash: FixedBytes<32>,
            pub fee_recipient: FixedBytes<20>,
            pub state_root: FixedBytes<32>,
            pub receipts_root: FixedBytes<32>,
            pub logs_bloom: FixedBytes<256>,
            pub prev_randao: FixedBytes<32>,
            pub block_number: u64,
            pub gas_limit: u64,
            pub gas_used: u64,
            pub timestamp: u64,
            pub extra_data: ExtraData,
            pub base_fee_per_gas: FixedBytes<32>,
            pub block_hash: FixedBytes<32>,
            pub transactions: Transactions,
            $(pub $field: $type,)*
        }

        impl From<&ExecutionPayload> for $name {
            /// Omits fields that the container lacks, and sets fields that the payload lacks to
            /// zero.
            fn from(payload: &ExecutionPayload) -> Self {
                Self {
                    parent_hash: FixedBytes(payload.parent_hash.0),
                    fee_recipient: FixedBytes(payload.fee_recipient.into_array()),
                    state_root: FixedBytes(payload.state_root.0),
                    receipts_root: FixedBytes(payload.receipts_root.0),
                    logs_bloom: FixedBytes(payload.logs_bloom.into_array()),
                    prev_randao: FixedBytes(payload.prev_randao.0),
                    block_number: payload.block_number,
                    gas_limit: payload.gas_limit,
                    gas_used: payload.gas_used,
                    timestamp: payload.timestamp,
                    extra_data: ExtraData(payload.extra_data.clone()),
                    base_fee_per_gas: FixedBytes(payload.base_fee_per_gas.to_le_bytes()),
                    block_hash: FixedBytes(payload.block_hash.0),
                    transactions: Transactions(payload.transactions.clone()),
                    $($field: ($from)(payload),)*
                }
            }
        }

        impl From<$name> for ExecutionPayload {
            fn from(container: $name) -> Self {
                #[allow(unused_mut, reason = "v1 has no field to add")]
                let mut payload = Self {
                    parent_hash: B256::new(container.parent_hash.0),
                    fee_recipient: Address::new(container.fee_recipient.0),
                    state_root: B256::new(container.state_root.0),
                    receipts_root: B256::new(container.receipts_root.0),
                    logs_bloom: Bloom::new(container.logs_bloom.0),
                    prev_randao: B256::new(container.prev_randao.0),
                    block_number: container.block_number,
                    gas_limit: container.gas_limit,
                    gas_used: container.gas_used,
                    timestamp: container.timestamp,
                    extra_data: container.extra_data.0,
                    base_fee_per_gas: U256::from_le_bytes(container.base_fee_per_gas.0),
                    block_hash: B256::new(container.block_hash.0),
                    transactions: container.transactions.0,
                    withdrawals: None,
                    blob_gas_used: None,
                    excess_blob_gas: None,
                    withdrawals_root: None,
                };
                $(($into)(&mut payload, &container.$field);)*
                payload
            }
        }
    )*};
}

containers! {
    /// Payload v1, before Canyon.
    ExecutionPayloadV1 {}
    /// Payload v2, introduced by Canyon.
    ExecutionPayloadV2 {
        withdrawals: List<Withdrawal, MAX_WITHDRAWALS> = withdrawals => set_withdrawals,
    }
    /// Payload v3, introduced by Ecotone.
    ExecutionPayloadV3 {
        withdrawals: List<Withdrawal, MAX_WITHDRAWALS> = withdrawals => set_withdrawals,
        blob_gas_used: u64 = blob_gas_used => set_blob_gas_used,
        excess_blob_gas: u64 = excess_blob_gas => set_excess_blob_gas,
    }
    /// Payload v4, introduced by Isthmus.
    ExecutionPayloadV4 {
        withdrawals: List<Withdrawal, MAX_WITHDRAWALS> = withdrawals => set_withdrawals,
        blob_gas_used: u64 = blob_gas_used => set_blob_gas_used,
        excess_blob_gas: u64 = excess_blob_gas => set_excess_blob_gas,
        withdrawals_root: FixedBytes<32> = withdrawals_root => set_withdrawals_root,
    }
}

fn withdrawals(payload: &ExecutionPayload) -> List<Withdrawal, MAX_WITHDRAWALS> {
    let list = payload.withdrawals.iter().flatten().map(|withdrawal| Withdrawal {
        index: withdrawal.index,
        validator_index: withdrawal.validator_index,
        address: FixedBytes(withdrawal.address.into_array()),
        amount: withdrawal.amount,
    });
    // `encode` has already rejected longer lists.
    list.take(MAX_WITHDRAWALS).collect::<Vec<_>>().try_into().unwrap_or_default()
}

fn set_withdrawals(payload: &mut ExecutionPayload, list: &List<Withdrawal, MAX_WITHDRAWALS>) {
    let list = list.iter().map(|withdrawal| super::Withdrawal {
        index: withdrawal.index,
        validator_index: withdrawal.validator_index,
        address: Address::new(withdrawal.address.0),
        amount: withdrawal.amount,
    });
    payload.withdrawals = Some(list.collect());
}

fn blob_gas_used(payload: &ExecutionPayload) -> u64 {
    payload.blob_gas_used.unwrap_or_default()
}

fn set_blob_gas_used(payload: &mut ExecutionPayload, used: &u64) {
    payload.blob_gas_used = Some(*used);
}

fn excess_blob_gas(payload: &ExecutionPayload) -> u64 {
    payload.excess_blob_gas.unwrap_or_default()
}

fn set_excess_blob_gas(payload: &mut ExecutionPayload, excess: &u64) {
    payload.excess_blob_gas = Some(*excess);
}

fn withdrawals_root(payload: &ExecutionPayload) -> FixedBytes<32> {
    FixedBytes(payload.withdrawals_root.unwrap_or_default().0)
}

fn set_withdrawals_root(payload: &mut ExecutionPayload, root: &FixedBytes<32>) {
    payload.withdrawals_root = Some(B256::new(root.0));
}

/// Appends the encoding of `payload` as `version` to `out`. The caller has checked that the payload
/// has the fields of the version and fits the layout.
pub(super) fn encode(
    version: PayloadVersion,
    payload: &ExecutionPayload,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let written = match version {
        PayloadVersion::V1 => ExecutionPayloadV1::from(payload).serialize(out),
        PayloadVersion::V2 => ExecutionPayloadV2::from(payload).serialize(out),
        PayloadVersion::V3 => ExecutionPayloadV3::from(payload).serialize(out),
        PayloadVersion::V4 => ExecutionPayloadV4::from(payload).serialize(out),
    };
    written.map(|_| ()).map_err(|error| match error {
        SerializeError::MaximumEncodedLengthReached(length) => EncodeError::TooLarge(length),
        SerializeError::InvalidInstance(_) | SerializeError::InvalidType(_) => {
            EncodeError::TooManyWithdrawals(payload.withdrawals.as_ref().map_or(0, Vec::len))
        }
    })
}

/// Decodes with the canonical types alone.
///
/// This is slower than [`PayloadView`](super::PayloadView), and the library's errors are coarser.
/// It allows a comparison of two decoders that share no code.
///
/// # Errors
/// The library's error for the bytes.
pub fn decode(version: PayloadVersion, bytes: &[u8]) -> Result<ExecutionPayload, DeserializeError> {
    // If an offset lies past the end, the derived decoder subtracts it from the length to report
    // the error, which would underflow. Therefore such offsets are rejected first.
    for at in variable_offsets(version) {
        let offset = bytes.get(*at..*at + OFFSET_SIZE).map(u32::deserialize).transpose()?;
        if let Some(offset) = offset.filter(|offset| *offset as usize > bytes.len()) {
            return Err(DeserializeError::ExpectedFurtherInput {
                provided: bytes.len(),
                expected: offset as usize,
            });
        }
    }
    Ok(match version {
        PayloadVersion::V1 => ExecutionPayloadV1::deserialize(bytes)?.into(),
        PayloadVersion::V2 => ExecutionPayloadV2::deserialize(bytes)?.into(),
        PayloadVersion::V3 => ExecutionPayloadV3::deserialize(bytes)?.into(),
        PayloadVersion::V4 => ExecutionPayloadV4::deserialize(bytes)?.into(),
    })
}

fn variable_offsets(version: PayloadVersion) -> &'static [usize] {
    use super::layout::{EXTRA_DATA_OFFSET, TRANSACTIONS_OFFSET, WITHDRAWALS_OFFSET};
    let all = &[EXTRA_DATA_OFFSET, TRANSACTIONS_OFFSET, WITHDRAWALS_OFFSET];
    if version.has_withdrawals() { all } else { &all[..2] }
}
