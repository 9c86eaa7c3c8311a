//! Tests of the payload module, and their shared parts: a payload with every field set, a
//! hand-written encoder, and strategies.

mod canonical;
mod encode;
mod header;
mod reference;
mod rules;
mod table;
mod version;

use super::*;
use proptest::prelude::*;

/// Returns a payload of `version` with distinct fields, none of them zero.
pub(super) fn sample(version: PayloadVersion) -> ExecutionPayload {
    let bloom = std::array::from_fn(|at| (at as u8).wrapping_mul(31) ^ 0x5a);
    ExecutionPayload {
        parent_hash: B256::repeat_byte(0x11),
        fee_recipient: Address::repeat_byte(0x12),
        state_root: B256::repeat_byte(0x13),
        receipts_root: B256::repeat_byte(0x14),
        logs_bloom: Bloom::new(bloom),
        prev_randao: B256::repeat_byte(0x15),
        block_number: 0x1617_1819_1a1b_1c1d,
        gas_limit: 0x2122_2324_2526_2728,
        gas_used: 0x3132_3334_3536_3738,
        timestamp: 0x4142_4344_4546_4748,
        extra_data: Bytes::from_static(b"extra"),
        base_fee_per_gas: U256::from_be_bytes([0x19; 32]),
        block_hash: B256::repeat_byte(0x1a),
        transactions: vec![
            Bytes::from_static(&[0x7e; 70]),
            Bytes::from_static(&[0x02; 3]),
            Bytes::new(),
            Bytes::from_static(&[0x7f]),
        ],
        withdrawals: version.has_withdrawals().then(|| vec![withdrawal(1), withdrawal(2)]),
        blob_gas_used: version.has_beacon_root().then_some(0x5152_5354_5556_5758),
        excess_blob_gas: version.has_beacon_root().then_some(0x6162_6364_6566_6768),
        withdrawals_root: version.has_withdrawals_root().then_some(B256::repeat_byte(0x1b)),
    }
}

pub(super) fn withdrawal(seed: u64) -> Withdrawal {
    Withdrawal {
        index: 0x0102_0304_0506_0700 + seed,
        validator_index: 0x1112_1314_1516_1700 + seed,
        address: Address::repeat_byte(seed as u8),
        amount: 0x2122_2324_2526_2700 + seed,
    }
}

pub(super) fn root_of(version: PayloadVersion) -> Option<B256> {
    version.has_beacon_root().then_some(B256::repeat_byte(0x12))
}

pub(super) fn encoded(payload: &ExecutionPayload) -> Vec<u8> {
    let mut bytes = Vec::new();
    payload.encode(&mut bytes).expect("encodes");
    bytes
}

pub(super) fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

pub(super) fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    put(bytes, at, &value.to_le_bytes());
}

/// The three variable parts of an encoding as bytes, valid or not, behind a fixed part with
/// matching offsets.
#[derive(Clone, Debug)]
pub(super) struct Parts {
    pub(super) version: PayloadVersion,
    pub(super) extra_data: Vec<u8>,
    pub(super) transactions: Vec<u8>,
    pub(super) withdrawals: Vec<u8>,
}

impl Parts {
    pub(super) const fn empty(version: PayloadVersion) -> Self {
        Self { version, extra_data: Vec::new(), transactions: Vec::new(), withdrawals: Vec::new() }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let fixed = [508, 512, 528, 560][self.version.index()];
        let transactions_at = fixed + self.extra_data.len();
        let withdrawals_at = transactions_at + self.transactions.len();
        let mut bytes = vec![0; fixed];
        put_u32(&mut bytes, 436, fixed as u32);
        put_u32(&mut bytes, 504, transactions_at as u32);
        if self.version != PayloadVersion::V1 {
            put_u32(&mut bytes, 508, withdrawals_at as u32);
        }
        bytes.extend(&self.extra_data);
        bytes.extend(&self.transactions);
        bytes.extend(&self.withdrawals);
        bytes
    }

    pub(super) fn check(&self) -> Result<usize, DecodeError> {
        Ok(PayloadView::parse(self.version, &self.bytes())?.transaction_count())
    }
}

/// Returns a transaction section: these offsets, followed by this many filler bytes.
pub(super) fn section(offsets: &[u32], filler: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = offsets.iter().flat_map(|offset| offset.to_le_bytes()).collect();
    bytes.resize(bytes.len() + filler, 0xab);
    bytes
}

pub(super) fn any_version() -> impl Strategy<Value = PayloadVersion> {
    prop::sample::select(&PayloadVersion::ALL)
}

pub(super) fn any_hash() -> impl Strategy<Value = B256> {
    any::<[u8; 32]>().prop_map(B256::new)
}

fn any_address() -> impl Strategy<Value = Address> {
    any::<[u8; 20]>().prop_map(Address::new)
}

/// Generates numbers of every length, because a number's encoding in a header depends on its
/// length.
fn any_number() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0_u32..64).prop_map(|(number, shift)| number >> shift)
}

fn any_bytes(length: impl Into<prop::collection::SizeRange>) -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), length).prop_map(Bytes::from)
}

fn any_withdrawal() -> impl Strategy<Value = Withdrawal> {
    (any_number(), any_number(), any_address(), any_number()).prop_map(
        |(index, validator_index, address, amount)| Withdrawal {
            index,
            validator_index,
            address,
            amount,
        },
    )
}

/// Generates any payload that can be encoded and decoded as `version`.
pub(super) fn payload_of(version: PayloadVersion) -> impl Strategy<Value = ExecutionPayload> {
    let hashes = [any_hash(), any_hash(), any_hash(), any_hash(), any_hash(), any_hash()];
    let numbers =
        [any_number(), any_number(), any_number(), any_number(), any_number(), any_number()];
    let bloom = prop::collection::vec(any::<u8>(), 256);
    let base_fee =
        (any::<[u8; 32]>(), 0_usize..256).prop_map(|(n, shift)| U256::from_be_bytes(n) >> shift);
    let transactions = prop::collection::vec(any_bytes(0..120), 0..12);
    let withdrawals = prop::collection::vec(any_withdrawal(), 0..=16);
    (hashes, any_address(), bloom, numbers, any_bytes(0..=32), base_fee, transactions, withdrawals)
        .prop_map(
            move |(
                hashes,
                fee_recipient,
                bloom,
                numbers,
                extra_data,
                base_fee,
                transactions,
                withdrawals,
            )| {
                let [
                    parent_hash,
                    state_root,
                    receipts_root,
                    prev_randao,
                    block_hash,
                    withdrawals_root,
                ] = hashes;
                let [block_number, gas_limit, gas_used, timestamp, blob_gas_used, excess_blob_gas] =
                    numbers;
                ExecutionPayload {
                    parent_hash,
                    fee_recipient,
                    state_root,
                    receipts_root,
                    logs_bloom: Bloom::from_slice(&bloom),
                    prev_randao,
                    block_number,
                    gas_limit,
                    gas_used,
                    timestamp,
                    extra_data,
                    base_fee_per_gas: base_fee,
                    block_hash,
                    transactions,
                    withdrawals: version.has_withdrawals().then_some(withdrawals),
                    blob_gas_used: version.has_beacon_root().then_some(blob_gas_used),
                    excess_blob_gas: version.has_beacon_root().then_some(excess_blob_gas),
                    withdrawals_root: version.has_withdrawals_root().then_some(withdrawals_root),
                }
            },
        )
}

pub(super) fn any_payload() -> impl Strategy<Value = (PayloadVersion, ExecutionPayload)> {
    any_version().prop_flat_map(|version| (Just(version), payload_of(version)))
}
