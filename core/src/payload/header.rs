//! The L2 block header of a payload, and its hash (`op-service/eth/types.go`, `CheckBlockHash`).
//!
//! Transactions are used as raw bytes: the block hash does not require decoding them.

use super::{PayloadView, Withdrawal, trie};
use alloy_primitives::{B64, B256, U256, b256, keccak256};
use alloy_rlp::{Encodable, Header as RlpHeader};

/// Hash of an empty list of uncles, which is part of every header.
pub const EMPTY_OMMERS: B256 =
    b256!("1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347");

/// Requests hash of every block from Isthmus on: `sha256("")`. It is not transmitted.
pub const EMPTY_REQUESTS_HASH: B256 =
    b256!("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");

/// First block number that becomes negative in the reference's conversion, so that its hash can't
/// be correct there.
pub const BLOCK_NUMBER_LIMIT: u64 = 1 << 63;

/// Returns the hash of the block that `payload` describes, computed from its contents. The claimed
/// hash is ignored.
///
/// `parent_beacon_block_root` comes from the envelope (v3, v4). It is ignored before v3, where the
/// header has no field for it.
pub fn block_hash(payload: &PayloadView<'_>, parent_beacon_block_root: Option<B256>) -> B256 {
    header_hash(payload, transactions_root(payload), parent_beacon_block_root)
}

/// Returns the trie root of the payload's transactions.
pub fn transactions_root(payload: &PayloadView<'_>) -> B256 {
    trie::ordered_root(payload.transaction_count(), |index| {
        payload.transaction(index).unwrap_or_default()
    })
}

/// Returns the trie root of a list of withdrawals.
pub fn withdrawals_root(withdrawals: impl Iterator<Item = Withdrawal>) -> B256 {
    let encoded: Vec<Vec<u8>> = withdrawals.map(Withdrawal::to_rlp).collect();
    trie::ordered_root(encoded.len(), |index| &encoded[index])
}

/// Returns the withdrawals root of the header: `None` before Canyon, then the root of the (empty)
/// list, and the payload's own root from Isthmus on.
pub fn header_withdrawals_root(payload: &PayloadView<'_>) -> Option<B256> {
    match (payload.withdrawals_root(), payload.withdrawals()) {
        // From Isthmus on, the header has the payload's root, not the trie root of the (empty)
        // list.
        (Some(root), _) => Some(root),
        (None, Some(withdrawals)) => Some(withdrawals_root(withdrawals)),
        (None, None) => None,
    }
}

/// Returns the output root at this block, version 0 (specs: `proposals.md`), which op-proposer
/// writes to L1. Returns `None` before Isthmus, when the storage root of the withdrawals contract
/// is only in the state.
pub fn output_root(payload: &PayloadView<'_>) -> Option<B256> {
    let version = B256::ZERO;
    let parts = [version, payload.state_root(), payload.withdrawals_root()?, payload.block_hash()];
    Some(keccak256(parts.concat()))
}

/// Returns the hash of the header with this `transactions_root` and the payload's fields.
pub fn header_hash(
    payload: &PayloadView<'_>,
    transactions_root: B256,
    parent_beacon_block_root: Option<B256>,
) -> B256 {
    keccak256(header_rlp(payload, transactions_root, parent_beacon_block_root))
}

/// Returns the size in bytes of the whole block in RLP: header, transactions, an empty list of
/// uncles, and, from Canyon on, the withdrawals. Execution clients report this as a block's size.
pub fn block_rlp_size(payload: &PayloadView<'_>, parent_beacon_block_root: Option<B256>) -> usize {
    // The size does not depend on the root's value.
    let header = header_rlp(payload, B256::ZERO, parent_beacon_block_root).len();
    let transactions = payload.transactions().map(|raw| match raw.first() {
        // A transaction without a type is already a list.
        Some(0xc0..) => raw.len(),
        _ => raw.length(),
    });
    let transactions = list_size(transactions.sum());
    let uncles = list_size(0);
    let withdrawals = payload.withdrawals();
    let withdrawals =
        withdrawals.map_or(0, |each| list_size(each.map(|one| one.to_rlp().len()).sum()));
    list_size(header + transactions + uncles + withdrawals)
}

fn list_size(payload_length: usize) -> usize {
    RlpHeader { list: true, payload_length }.length_with_payload()
}

pub(super) fn header_rlp(
    payload: &PayloadView<'_>,
    transactions_root: B256,
    parent_beacon_block_root: Option<B256>,
) -> Vec<u8> {
    let withdrawals_root = header_withdrawals_root(payload);
    let since_ecotone = payload
        .blob_gas_used()
        .zip(payload.excess_blob_gas())
        .map(|(used, excess)| (used, excess, parent_beacon_block_root.unwrap_or_default()));
    let requests_hash = payload.withdrawals_root().map(|_| EMPTY_REQUESTS_HASH);

    // 20 fields and a 256-byte bloom: between 500 and 720 bytes.
    let mut fields = Vec::with_capacity(768);
    let out = &mut fields;
    payload.parent_hash().encode(out);
    EMPTY_OMMERS.encode(out);
    payload.fee_recipient().encode(out);
    payload.state_root().encode(out);
    transactions_root.encode(out);
    payload.receipts_root().encode(out);
    payload.logs_bloom().as_slice().encode(out);
    U256::ZERO.encode(out); // difficulty
    payload.block_number().encode(out);
    payload.gas_limit().encode(out);
    payload.gas_used().encode(out);
    payload.timestamp().encode(out);
    payload.extra_data().encode(out);
    payload.prev_randao().encode(out);
    B64::ZERO.encode(out); // nonce
    payload.base_fee_per_gas().encode(out);
    if let Some(root) = withdrawals_root {
        root.encode(out);
    }
    if let Some((used, excess, beacon_root)) = since_ecotone {
        used.encode(out);
        excess.encode(out);
        beacon_root.encode(out);
    }
    if let Some(hash) = requests_hash {
        hash.encode(out);
    }
    let mut header = Vec::with_capacity(fields.len() + 4);
    RlpHeader { list: true, payload_length: fields.len() }.encode(&mut header);
    header.extend_from_slice(&fields);
    header
}

impl Withdrawal {
    /// Returns the RLP encoding, as in the withdrawals trie (EIP-4895).
    fn to_rlp(self) -> Vec<u8> {
        let mut fields = Vec::with_capacity(64);
        self.index.encode(&mut fields);
        self.validator_index.encode(&mut fields);
        self.address.encode(&mut fields);
        self.amount.encode(&mut fields);
        let mut out = Vec::with_capacity(fields.len() + 1);
        RlpHeader { list: true, payload_length: fields.len() }.encode(&mut out);
        out.extend_from_slice(&fields);
        out
    }
}
