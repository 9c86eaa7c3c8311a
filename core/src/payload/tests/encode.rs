//! Tests of payloads that can't be encoded, and of the version that the present fields require.

use super::*;
use PayloadVersion::{V1, V2, V3, V4};

#[test]
fn the_present_fields_decide_the_version() {
    for version in PayloadVersion::ALL {
        assert_eq!(sample(version).version(), Ok(version));
    }
}

#[test]
fn a_present_withdrawals_root_makes_v4_even_if_it_is_the_empty_tries() {
    // The reference would encode this as v3, and its own v4 topic rejects that.
    let mut payload = sample(V4);
    payload.withdrawals_root = Some(trie::EMPTY_ROOT);
    assert_eq!(payload.version(), Ok(V4));
    assert_eq!(ExecutionPayload::decode(V4, &encoded(&payload)), Ok(payload));
}

#[test]
fn field_combinations_of_no_version_are_missing_data() {
    let lacking = |version, change: fn(&mut ExecutionPayload)| {
        let mut payload = sample(version);
        change(&mut payload);
        let mut out = vec![1, 2, 3];
        let error = payload.encode(&mut out).expect_err("can't be encoded");
        assert_eq!(out, [1, 2, 3], "nothing is appended");
        assert_eq!(payload.version(), Err(error));
        error
    };
    for version in [V3, V4] {
        assert_eq!(
            lacking(version, |p| p.withdrawals = None),
            EncodeError::MissingData("withdrawals")
        );
        assert_eq!(
            lacking(version, |p| p.blob_gas_used = None),
            EncodeError::MissingData("blobGasUsed")
        );
        assert_eq!(
            lacking(version, |p| p.excess_blob_gas = None),
            EncodeError::MissingData("excessBlobGas")
        );
    }
    for version in [V1, V2] {
        let with_root: fn(&mut ExecutionPayload) = |p| p.withdrawals_root = Some(B256::ZERO);
        assert_eq!(lacking(version, with_root), EncodeError::MissingData("blobGasUsed"));
    }
    assert_eq!(
        lacking(V1, |p| p.excess_blob_gas = Some(0)),
        EncodeError::MissingData("blobGasUsed")
    );
}

#[test]
fn a_beacon_root_before_v3_is_superfluous() {
    for version in [V1, V2] {
        let parent_beacon_block_root = Some(B256::ZERO);
        let envelope = Envelope { parent_beacon_block_root, payload: sample(version) };
        let mut out = vec![1];
        let error = EncodeError::Superfluous { field: "parentBeaconBlockRoot", version };
        assert_eq!(envelope.encode(&mut out), Err(error));
        assert_eq!(out, [1]);
    }
}

#[test]
fn a_failed_envelope_encoding_leaves_the_output_unchanged() {
    let mut payload = sample(V3);
    payload.withdrawals = Some(vec![withdrawal(1); 17]);
    let envelope = Envelope { parent_beacon_block_root: root_of(V3), payload };
    let mut out = vec![1];
    assert_eq!(envelope.encode(&mut out), Err(EncodeError::TooManyWithdrawals(17)));
    assert_eq!(out, [1]);
}

#[test]
fn more_transactions_than_a_decoder_accepts_are_not_encoded() {
    let mut payload = sample(V1);
    payload.transactions = vec![Bytes::new(); 1 << 20];
    assert_eq!(
        PayloadView::parse(V1, &encoded(&payload)).expect("decodes").transaction_count(),
        1 << 20
    );
    payload.transactions.push(Bytes::new());
    let mut out = Vec::new();
    assert_eq!(payload.encode(&mut out), Err(EncodeError::TooManyTransactions((1 << 20) + 1)));
    assert!(out.is_empty());
}

#[test]
fn a_payload_beyond_32_bit_offsets_is_too_large() {
    let limit = u32::MAX as usize;
    let size = |transactions: &[usize]| encoded_size(V4, 32, transactions.iter().copied(), 16);
    let rest = 560 + 32 + 16 * 44 + 4;
    assert_eq!(size(&[limit - rest]), Ok(limit));
    assert_eq!(size(&[limit - rest + 1]), Err(EncodeError::TooLarge(limit + 1)));
    assert_eq!(size(&[usize::MAX, usize::MAX]), Err(EncodeError::TooLarge(usize::MAX)));
}

#[test]
fn extra_data_that_no_decoder_accepts_cannot_be_sealed() {
    let mut payload = sample(V2);
    payload.extra_data = Bytes::from_static(&[1; 33]);
    assert_eq!(payload.seal(None), Err(EncodeError::ExtraDataTooLarge(33)));
    // It can still be encoded, as in the reference.
    assert_eq!(
        ExecutionPayload::decode(V2, &encoded(&payload)),
        Err(DecodeError::ExtraDataTooLong(33)),
        "and does not decode"
    );
}

#[test]
fn a_version_is_found_by_the_fork_at_the_timestamp() {
    use crate::chain::{Fork, ForkSchedule};
    let forks = ForkSchedule::default()
        .with(Fork::Canyon, Some(100))
        .with(Fork::Ecotone, Some(200))
        .with(Fork::Isthmus, Some(300));
    let expected =
        [(0, V1), (99, V1), (100, V2), (199, V2), (200, V3), (299, V3), (300, V4), (u64::MAX, V4)];
    for (timestamp, version) in expected {
        assert_eq!(PayloadVersion::at(&forks, timestamp), version, "at {timestamp}");
    }
}

#[test]
fn versions_are_numbered_from_1_to_4() {
    for (number, version) in (1..).zip(PayloadVersion::ALL) {
        assert_eq!(PayloadVersion::from_number(number), Some(version));
        assert_eq!((version.number(), version.index()), (number, usize::from(number) - 1));
        assert_eq!(version.to_string(), format!("v{number}"));
    }
    for number in [0, 5, 255] {
        assert_eq!(PayloadVersion::from_number(number), None);
    }
}

proptest! {
    #[test]
    fn the_announced_size_is_the_size((version, payload) in any_payload()) {
        let lengths = payload.transactions.iter().map(|transaction| transaction.len());
        let withdrawals = payload.withdrawals.as_ref().map_or(0, Vec::len);
        let size = encoded_size(version, payload.extra_data.len(), lengths, withdrawals);
        prop_assert_eq!(size, Ok(encoded(&payload).len()));
    }

    #[test]
    fn every_envelope_round_trips((version, payload) in any_payload(), root in any_hash()) {
        let parent_beacon_block_root = version.has_beacon_root().then_some(root);
        let envelope = Envelope { parent_beacon_block_root, payload };
        let mut bytes = vec![7];
        prop_assert_eq!(envelope.encode(&mut bytes), Ok(version));
        prop_assert_eq!(Envelope::decode(version, &bytes[1..]), Ok(envelope));
    }
}
