//! The reference's own tests of this encoding (`op-service/eth/ssz_test.go`), under their names.

use super::*;
use PayloadVersion::{V1, V2, V3, V4};

#[test]
fn execution_payload_unmarshal_malicious_data_is_an_error() {
    // 512 bytes of v2, well-formed except for the offset of the withdrawals.
    let mut bytes = Parts::empty(V2).bytes();
    assert_eq!(bytes.len(), 512);
    for found in [513, 0x0f0e_0d0c, 0x7fff_ffff, 0xffff_fffe, u32::MAX] {
        put_u32(&mut bytes, 508, found);
        let error = DecodeError::WithdrawalsOutOfScope { found, scope: 512 };
        assert_eq!(ExecutionPayload::decode(V2, &bytes), Err(error));
    }
    for found in 0..512 {
        put_u32(&mut bytes, 508, found);
        let error = DecodeError::BadWithdrawalsOffset { found, transactions: 512 };
        assert_eq!(ExecutionPayload::decode(V2, &bytes), Err(error));
    }
}

/// Returns a v1 body of 540 bytes with these two offsets: the fixed part and 32 bytes of extra
/// data.
fn obp01_body(extra_data: u32, transactions: u32) -> Vec<u8> {
    let mut bytes = Parts { extra_data: vec![0; 32], ..Parts::empty(V1) }.bytes();
    assert_eq!(bytes.len(), 540);
    put_u32(&mut bytes, 436, extra_data);
    put_u32(&mut bytes, 504, transactions);
    bytes
}

#[test]
fn fuzz_obp01_only_the_genuine_pair_of_offsets_decodes() {
    // For transaction offsets from 508 to 536, the old reference accepted a tail of zeros as "no
    // transactions", because of its handling of a zero first offset.
    for transactions in 0..=600 {
        let decoded = ExecutionPayload::decode(V1, &obp01_body(508, transactions));
        assert_eq!(decoded.is_ok(), transactions == 540, "offset of transactions {transactions}");
    }
    for extra_data in 0..=600 {
        let decoded = ExecutionPayload::decode(V1, &obp01_body(extra_data, 540));
        assert_eq!(decoded.is_ok(), extra_data == 508, "offset of extra data {extra_data}");
    }
}

#[test]
fn opb01_transactions_offset_zero_is_a_bad_transaction_offset() {
    let mut bytes = encoded(&sample(V1));
    put_u32(&mut bytes, 504, 0);
    let error = DecodeError::BadTransactionOffset { found: 0, extra_data: 508 };
    assert_eq!(ExecutionPayload::decode(V1, &bytes), Err(error));
}

#[test]
fn opb04_extra_data_one_byte_over_32_bits_is_too_large() {
    // Checked only with sizes, because the bytes would take 4 GiB.
    let size = |version, extra_data| encoded_size(version, extra_data, std::iter::empty(), 0);
    for version in PayloadVersion::ALL {
        let most = u32::MAX as usize - version.fixed_size();
        assert_eq!(size(version, most), Ok(u32::MAX as usize), "{version}");
        assert_eq!(
            size(version, most + 1),
            Err(EncodeError::ExtraDataTooLarge(most + 1)),
            "{version}"
        );
        assert_eq!(size(version, usize::MAX), Err(EncodeError::ExtraDataTooLarge(usize::MAX)));
    }
}

#[test]
fn marshal_unmarshal_withdrawals() {
    for version in [V2, V3, V4] {
        for count in [0, 1, 16] {
            let mut payload = sample(version);
            payload.withdrawals = Some((0..count).map(withdrawal).collect());
            assert_eq!(ExecutionPayload::decode(version, &encoded(&payload)), Ok(payload));
        }
    }
    for count in [0, 1] {
        let mut payload = sample(V2);
        payload.withdrawals = Some((0..count).map(withdrawal).collect());
        let error = DecodeError::BadExtraDataOffset { found: 512, expected: 508, version: V1 };
        assert_eq!(ExecutionPayload::decode(V1, &encoded(&payload)), Err(error), "v2 as v1");
    }
    let mut payload = sample(V2);
    payload.withdrawals = Some((0..17).map(withdrawal).collect());
    assert_eq!(payload.encode(&mut Vec::new()), Err(EncodeError::TooManyWithdrawals(17)));
    let parts = Parts { withdrawals: vec![0; 17 * 44], ..Parts::empty(V2) };
    assert_eq!(parts.check(), Err(DecodeError::TooManyWithdrawals(17)));
}

#[test]
fn marshal_unmarshal_execution_payload_envelopes() {
    for version in [V3, V4] {
        let envelope =
            Envelope { parent_beacon_block_root: root_of(version), payload: sample(version) };
        let mut bytes = Vec::new();
        assert_eq!(envelope.encode(&mut bytes), Ok(version));
        assert_eq!(bytes[..32], root_of(version).expect("v3 has one")[..]);
        assert_eq!(bytes[32..], encoded(&sample(version)));
        assert_eq!(Envelope::decode(version, &bytes), Ok(envelope));

        let rootless = Envelope { parent_beacon_block_root: None, payload: sample(version) };
        let error = rootless.encode(&mut Vec::new()).expect_err("no root");
        assert_eq!(error, EncodeError::MissingData("parentBeaconBlockRoot"));
        assert!(error.to_string().contains("execution payload envelope is missing data"));
    }
    // "Missing payload" in the reference is a nil pointer; a payload without fields is the closest
    // case here.
    let hollow =
        Envelope { parent_beacon_block_root: root_of(V3), payload: ExecutionPayload::default() };
    let error = EncodeError::Superfluous { field: "parentBeaconBlockRoot", version: V1 };
    assert_eq!(hollow.encode(&mut Vec::new()), Err(error));
}

#[test]
fn fails_to_deserialize_too_little_data() {
    for version in [V3, V4] {
        let error = Envelope::decode(version, &[0]).expect_err("one byte");
        assert_eq!(error.to_string(), "scope too small to decode execution payload envelope: 1");
    }
}

proptest! {
    #[test]
    fn fuzz_execution_payload_unmarshal_never_panics(
        version in any_version(), bytes in prop::collection::vec(any::<u8>(), 0..1000),
    ) {
        let _ = ExecutionPayload::decode(version, &bytes);
        let _ = Envelope::decode(version, &bytes);
    }

    #[test]
    fn fuzz_execution_payload_marshal_unmarshal_v1(payload in payload_of(V1)) {
        prop_assert_eq!(ExecutionPayload::decode(V1, &encoded(&payload)), Ok(payload));
    }

    #[test]
    fn fuzz_execution_payload_marshal_unmarshal_v2(payload in payload_of(V2)) {
        prop_assert_eq!(ExecutionPayload::decode(V2, &encoded(&payload)), Ok(payload));
    }

    #[test]
    fn fuzz_execution_payload_marshal_unmarshal_v3(payload in payload_of(V3)) {
        prop_assert_eq!(ExecutionPayload::decode(V3, &encoded(&payload)), Ok(payload));
    }

    #[test]
    fn fuzz_execution_payload_marshal_unmarshal_v4(payload in payload_of(V4)) {
        prop_assert_eq!(ExecutionPayload::decode(V4, &encoded(&payload)), Ok(payload));
    }

    #[test]
    fn fuzz_obp01(extra_data in any::<u32>(), transactions in any::<u32>()) {
        let genuine = (extra_data, transactions) == (508, 540);
        let offsets = [(extra_data, transactions), (508, transactions), (extra_data, 540)];
        for (extra_data, transactions) in offsets {
            let decoded = ExecutionPayload::decode(V1, &obp01_body(extra_data, transactions));
            prop_assert_eq!(decoded.is_ok(), genuine || (extra_data, transactions) == (508, 540));
        }
    }
}
