//! Blocks in RLP: `[header, transactions, uncles, withdrawals]`, with withdrawals only since
//! Canyon.

use super::{RebuildError, Since};
use crate::payload::header::header_rlp;
use crate::payload::{Block, Envelope, ExecutionPayload};
use alloy_primitives::{B64, B256, Bloom, Bytes, U256, keccak256};
use alloy_rlp::{Decodable, Encodable, Header};

impl From<alloy_rlp::Error> for RebuildError {
    fn from(error: alloy_rlp::Error) -> Self {
        Self::Rlp(error)
    }
}

/// Returns the block in the encoding of an execution client, as `debug_getRawBlock` returns it.
pub fn to_rlp(block: &Block) -> Vec<u8> {
    let payload = block.payload();
    let root = block.parent_beacon_block_root();
    let mut parts = header_rlp(&payload, block.transactions_root(), root);
    let mut transactions = Vec::with_capacity(block.body().len());
    for raw in payload.transactions() {
        match raw.first() {
            // A transaction without a type is already a list.
            Some(0xc0..) => transactions.extend_from_slice(raw),
            _ => raw.encode(&mut transactions),
        }
    }
    list(&transactions, &mut parts);
    list(&[], &mut parts);
    if payload.withdrawals().is_some() {
        list(&[], &mut parts);
    }
    let mut out = Vec::with_capacity(parts.len() + 5);
    list(&parts, &mut out);
    out
}

fn list(payload: &[u8], out: &mut Vec<u8>) {
    Header { list: true, payload_length: payload.len() }.encode(out);
    out.extend_from_slice(payload);
}

pub(super) fn envelope(mut bytes: &[u8]) -> Result<Envelope, RebuildError> {
    let mut block = Header::decode_bytes(&mut bytes, true)?;
    if !bytes.is_empty() {
        return Err(alloy_rlp::Error::Custom("bytes follow the block").into());
    }
    let start = block;
    let header = Header::decode_bytes(&mut block, true)?;
    let hash = keccak256(&start[..start.len() - block.len()]);
    let transactions = transactions(Header::decode_bytes(&mut block, true)?)?;
    if !Header::decode_bytes(&mut block, true)?.is_empty() {
        return Err(RebuildError::Foreign("uncles"));
    }
    if !block.is_empty() && !Header::decode_bytes(&mut block, true)?.is_empty() {
        return Err(RebuildError::Foreign("withdrawals"));
    }
    let envelope = fields(header, hash)?;
    let payload = ExecutionPayload { transactions, ..envelope.payload };
    Ok(Envelope { payload, ..envelope })
}

/// Returns the raw transactions. A list is a transaction without a type, and a string contains one
/// with a type.
fn transactions(mut items: &[u8]) -> Result<Vec<Bytes>, RebuildError> {
    let mut transactions = Vec::new();
    while !items.is_empty() {
        let start = items;
        let header = Header::decode(&mut items)?;
        let Some(rest) = items.get(header.payload_length..) else {
            return Err(alloy_rlp::Error::InputTooShort.into());
        };
        let raw = if header.list {
            &start[..start.len() - rest.len()]
        } else {
            &items[..header.payload_length]
        };
        transactions.push(Bytes::copy_from_slice(raw));
        items = rest;
    }
    Ok(transactions)
}

/// Decodes the header's fields. The hash verifies the fields that a payload does not carry (the
/// hash of the uncles and similar ones).
fn fields(mut header: &[u8], block_hash: B256) -> Result<Envelope, RebuildError> {
    let from = &mut header;
    let parent_hash = B256::decode(from)?;
    let _ommers = B256::decode(from)?;
    let fee_recipient = Decodable::decode(from)?;
    let state_root = B256::decode(from)?;
    let _transactions_root = B256::decode(from)?;
    let receipts_root = B256::decode(from)?;
    let logs_bloom = Bloom::decode(from)?;
    let _difficulty = U256::decode(from)?;
    let block_number = u64::decode(from)?;
    let gas_limit = u64::decode(from)?;
    let gas_used = u64::decode(from)?;
    let timestamp = u64::decode(from)?;
    let extra_data = Bytes::decode(from)?;
    let prev_randao = B256::decode(from)?;
    let _nonce = B64::decode(from)?;
    let base_fee_per_gas = U256::decode(from)?;
    let since = Since {
        withdrawals_root: optional(from)?,
        blob_gas_used: optional(from)?,
        excess_blob_gas: optional(from)?,
        parent_beacon_block_root: optional(from)?,
        requests_hash: optional(from)?,
    };
    Ok(since.envelope(ExecutionPayload {
        parent_hash,
        fee_recipient,
        state_root,
        receipts_root,
        logs_bloom,
        prev_randao,
        block_number,
        gas_limit,
        gas_used,
        timestamp,
        extra_data,
        base_fee_per_gas,
        block_hash,
        ..ExecutionPayload::default()
    }))
}

/// Decodes the next field, or returns `None` at the end of the header.
fn optional<T: Decodable>(from: &mut &[u8]) -> Result<Option<T>, RebuildError> {
    if from.is_empty() { Ok(None) } else { Ok(Some(T::decode(from)?)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;
    use proptest::prelude::*;

    #[test]
    fn real_blocks_round_trip_through_rlp() {
        for real in fixtures::blocks() {
            let block = real.to_block();
            let rlp = to_rlp(&block);
            let rebuilt = Block::from_rlp(&rlp).expect("ours");
            assert_eq!(rebuilt.hash(), real.block_hash);
            assert_eq!(rebuilt.body(), block.body());
            assert_eq!(rebuilt.version(), block.version());
            assert_eq!(
                rlp.len(),
                crate::payload::block_rlp_size(&block.payload(), block.parent_beacon_block_root())
            );
        }
    }

    #[test]
    fn transactions_of_unknown_types_pass_through() {
        for version in crate::payload::PayloadVersion::ALL {
            let root = version.has_beacon_root().then_some(B256::repeat_byte(7));
            let mut payload = crate::payload::tests::sample(version);
            payload.withdrawals = payload.withdrawals.map(|_| Vec::new());
            payload.block_number = 5;
            payload.transactions = [&[0x7e, 1, 2][..], &[0x79, 0xc0], &[0x7d, 9], &[0xc1, 0x80]]
                .map(Bytes::from_static)
                .to_vec();
            payload.seal(root).expect("complete");
            let mut body = Vec::new();
            Envelope { parent_beacon_block_root: root, payload }.encode(&mut body).expect("ours");
            let block = Block::decode(version, None, body.into()).expect("ours");
            assert_eq!(Block::from_rlp(&to_rlp(&block)).expect("ours").body(), block.body());
        }
    }

    #[test]
    fn a_truncated_extended_or_changed_block_is_refused() {
        let block = fixtures::blocks().remove(0).to_block();
        let rlp = to_rlp(&block);
        assert!(Block::from_rlp(&rlp[..rlp.len() - 1]).is_err());
        assert!(Block::from_rlp(&[&rlp[..], &[0]].concat()).is_err());
        // The last byte of the last transaction, before the empty lists.
        let mut other = rlp;
        let at = other.len() - 3;
        other[at] ^= 1;
        assert_eq!(Block::from_rlp(&other).map(|_| ()), Err(RebuildError::Hash));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_refused_or_a_block_with_its_true_hash(
            at in any::<prop::sample::Index>(), byte in any::<u8>(),
            cut in any::<prop::sample::Index>(),
            noise in prop::collection::vec(any::<u8>(), 0..80),
        ) {
            let mut rlp = to_rlp(&fixtures::blocks().remove(0).to_block());
            let at = at.index(rlp.len());
            rlp[at] = byte;
            let mut cut_off = rlp.clone();
            cut_off.truncate(cut.index(rlp.len()));
            for bytes in [rlp, cut_off, noise] {
                if let Ok(block) = Block::from_rlp(&bytes) {
                    prop_assert!(block.has_true_hash());
                }
            }
        }
    }
}
