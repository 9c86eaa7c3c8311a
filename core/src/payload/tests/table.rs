//! Tests of the layout against an encoder that follows the reference's table of offsets
//! (`op-service/eth/ssz.go`) and shares no code with the encoder under test.

use super::*;

/// Encodes each field at its numeric offset, followed by the variable parts.
pub(super) fn by_hand(version: PayloadVersion, payload: &ExecutionPayload) -> Vec<u8> {
    let fixed: usize = match version {
        PayloadVersion::V1 => 508,
        PayloadVersion::V2 => 512,
        PayloadVersion::V3 => 528,
        PayloadVersion::V4 => 560,
    };
    let mut transactions = Vec::new();
    let mut start = 4 * payload.transactions.len();
    for transaction in &payload.transactions {
        transactions.extend((start as u32).to_le_bytes());
        start += transaction.len();
    }
    for transaction in &payload.transactions {
        transactions.extend(transaction);
    }
    let transactions_at = fixed + payload.extra_data.len();
    let withdrawals_at = transactions_at + transactions.len();

    let mut bytes = vec![0; fixed];
    put(&mut bytes, 0, payload.parent_hash.as_slice());
    put(&mut bytes, 32, payload.fee_recipient.as_slice());
    put(&mut bytes, 52, payload.state_root.as_slice());
    put(&mut bytes, 84, payload.receipts_root.as_slice());
    put(&mut bytes, 116, payload.logs_bloom.as_slice());
    put(&mut bytes, 372, payload.prev_randao.as_slice());
    put(&mut bytes, 404, &payload.block_number.to_le_bytes());
    put(&mut bytes, 412, &payload.gas_limit.to_le_bytes());
    put(&mut bytes, 420, &payload.gas_used.to_le_bytes());
    put(&mut bytes, 428, &payload.timestamp.to_le_bytes());
    put_u32(&mut bytes, 436, fixed as u32);
    let mut base_fee: [u8; 32] = payload.base_fee_per_gas.to_be_bytes();
    base_fee.reverse();
    put(&mut bytes, 440, &base_fee);
    put(&mut bytes, 472, payload.block_hash.as_slice());
    put_u32(&mut bytes, 504, transactions_at as u32);
    if fixed >= 512 {
        put_u32(&mut bytes, 508, withdrawals_at as u32);
    }
    if fixed >= 528 {
        put(&mut bytes, 512, &payload.blob_gas_used.expect("v3 has it").to_le_bytes());
        put(&mut bytes, 520, &payload.excess_blob_gas.expect("v3 has it").to_le_bytes());
    }
    if fixed >= 560 {
        put(&mut bytes, 528, payload.withdrawals_root.expect("v4 has it").as_slice());
    }
    bytes.extend(&payload.extra_data);
    bytes.extend(transactions);
    for withdrawal in payload.withdrawals.iter().flatten() {
        bytes.extend(withdrawal.index.to_le_bytes());
        bytes.extend(withdrawal.validator_index.to_le_bytes());
        bytes.extend(withdrawal.address);
        bytes.extend(withdrawal.amount.to_le_bytes());
    }
    bytes
}

#[test]
fn every_field_is_where_the_table_says() {
    for version in PayloadVersion::ALL {
        let payload = sample(version);
        let bytes = by_hand(version, &payload);
        assert_eq!(encoded(&payload), bytes, "{version}");
        assert_eq!(ExecutionPayload::decode(version, &bytes).as_ref(), Ok(&payload), "{version}");
        assert_eq!(ssz::decode(version, &bytes).expect("canonical"), payload, "{version}");
    }
}

#[test]
fn the_fixed_part_alone_is_an_empty_block() {
    for (version, size) in PayloadVersion::ALL.into_iter().zip([508, 512, 528, 560]) {
        let bytes = Parts::empty(version).bytes();
        assert_eq!((bytes.len(), version.fixed_size()), (size, size));
        let payload = ExecutionPayload::decode(version, &bytes).expect("decodes");
        assert_eq!(payload.version(), Ok(version));
        assert!(payload.extra_data.is_empty() && payload.transactions.is_empty());
        assert_eq!(payload.withdrawals, version.has_withdrawals().then(Vec::new));
        assert_eq!(encoded(&payload), bytes);
    }
}

#[test]
fn a_version_has_exactly_its_own_fields() {
    // withdrawals, blob gas used, excess blob gas, withdrawals root
    let expected = [
        [false, false, false, false],
        [true, false, false, false],
        [true, true, true, false],
        [true, true, true, true],
    ];
    for (version, expected) in PayloadVersion::ALL.into_iter().zip(expected) {
        let bytes = encoded(&sample(version));
        let view = PayloadView::parse(version, &bytes).expect("decodes");
        let present = [
            view.withdrawals().is_some(),
            view.blob_gas_used().is_some(),
            view.excess_blob_gas().is_some(),
            view.withdrawals_root().is_some(),
        ];
        assert_eq!(present, expected, "{version}");
        assert_eq!(view.withdrawal_count(), expected[0].then_some(2));
    }
}

#[test]
fn the_view_reads_each_field_in_place() {
    for version in PayloadVersion::ALL {
        let payload = sample(version);
        let bytes = encoded(&payload);
        let view = PayloadView::parse(version, &bytes).expect("decodes");
        assert_eq!(view.version(), version);
        assert_eq!(view.as_bytes(), &bytes[..]);
        assert_eq!(view.parent_hash(), payload.parent_hash);
        assert_eq!(view.fee_recipient(), payload.fee_recipient);
        assert_eq!(view.state_root(), payload.state_root);
        assert_eq!(view.receipts_root(), payload.receipts_root);
        assert_eq!(view.logs_bloom(), &payload.logs_bloom.into_array());
        assert_eq!(view.prev_randao(), payload.prev_randao);
        assert_eq!(view.block_number(), payload.block_number);
        assert_eq!(view.gas_limit(), payload.gas_limit);
        assert_eq!(view.gas_used(), payload.gas_used);
        assert_eq!(view.timestamp(), payload.timestamp);
        assert_eq!(view.extra_data(), &payload.extra_data[..]);
        assert_eq!(view.base_fee_per_gas(), payload.base_fee_per_gas);
        assert_eq!(view.block_hash(), payload.block_hash);
        assert_eq!(view.blob_gas_used(), payload.blob_gas_used);
        assert_eq!(view.excess_blob_gas(), payload.excess_blob_gas);
        assert_eq!(view.withdrawals_root(), payload.withdrawals_root);
        assert_eq!(view.withdrawals().map(Iterator::collect), payload.withdrawals);
        assert_eq!(view.transaction_count(), 4);
        for (index, transaction) in payload.transactions.iter().enumerate() {
            assert_eq!(view.transaction(index), Some(&transaction[..]));
        }
        assert_eq!(view.transaction(4), None);
        assert!(
            view.transactions().eq(payload.transactions.iter().map(|transaction| &transaction[..]))
        );
        assert_eq!(view.layout().view(&bytes), view);
    }
}

#[test]
#[should_panic(expected = "a layout belongs to the bytes that it was checked over")]
fn a_layout_refuses_bytes_of_another_length() {
    let bytes = encoded(&sample(PayloadVersion::V3));
    let layout = PayloadLayout::check(PayloadVersion::V3, &bytes).expect("decodes");
    layout.view(&bytes[..bytes.len() - 1]);
}

#[test]
fn a_block_keeps_the_bytes_it_was_decoded_from() {
    for version in PayloadVersion::ALL {
        let envelope =
            Envelope { parent_beacon_block_root: root_of(version), payload: sample(version) };
        let mut body = Vec::new();
        envelope.encode(&mut body).expect("encodes");
        let body = Bytes::from(body);
        let block = Block::decode(version, Some([9; 65]), body.clone()).expect("decodes");
        assert_eq!(block.number(), envelope.payload.block_number);
        assert_eq!(block.hash(), envelope.payload.block_hash);
        assert_eq!(block.parent_hash(), envelope.payload.parent_hash);
        assert_eq!(block.timestamp(), envelope.payload.timestamp);
        assert_eq!(block.version(), version);
        assert_eq!(block.signature(), Some(&[9; 65]));
        assert_eq!(block.body(), &body);
        assert_eq!(block.parent_beacon_block_root(), envelope.parent_beacon_block_root);
        assert_eq!(block.to_envelope(), envelope);
        assert_eq!(block.payload().to_payload(), envelope.payload);
        assert!(crate::chain::ChainBlock::size(&block) >= body.len());
    }
}

proptest! {
    #[test]
    fn every_payload_matches_the_hand_written_encoding((version, payload) in any_payload()) {
        prop_assert_eq!(encoded(&payload), by_hand(version, &payload));
    }
}
