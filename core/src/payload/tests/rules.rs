//! Tests of the decoder's rules: each rule with an encoding that breaks only this rule, its own
//! error, and the boundary values that are still allowed.

use super::*;
use PayloadVersion::{V1, V2, V3, V4};

const WITH_WITHDRAWALS: [PayloadVersion; 3] = [V2, V3, V4];

#[test]
fn rule_1_fewer_bytes_than_the_fixed_part_are_too_short() {
    for version in PayloadVersion::ALL {
        let whole = Parts::empty(version).bytes();
        let minimum = whole.len();
        for scope in 0..minimum {
            assert_eq!(
                PayloadView::parse(version, &whole[..scope]).map(|_| ()),
                Err(DecodeError::TooShort { scope, minimum, version })
            );
        }
        assert!(PayloadView::parse(version, &whole).is_ok());
    }
    let error = PayloadView::parse(V3, &[0; 9]).map(|_| ()).expect_err("too short");
    assert_eq!(
        error.to_string(),
        "scope too small to decode execution payload: 9, a v3 payload has at least 528"
    );
}

#[test]
fn rule_2_extra_data_begins_right_after_the_fixed_part() {
    for version in PayloadVersion::ALL {
        let valid = encoded(&sample(version));
        let expected = version.fixed_size();
        let right = expected as u32;
        for found in
            [0, 1, right - 4, right - 1, right + 1, right + 4, valid.len() as u32, u32::MAX]
        {
            let mut bytes = valid.clone();
            put_u32(&mut bytes, 436, found);
            let error = DecodeError::BadExtraDataOffset { found, expected, version };
            assert_eq!(ExecutionPayload::decode(version, &bytes), Err(error));
        }
    }
}

#[test]
fn rule_2_refuses_every_other_versions_body() {
    for body in PayloadVersion::ALL {
        let bytes = encoded(&sample(body));
        for version in PayloadVersion::ALL.into_iter().filter(|version| *version != body) {
            let error = DecodeError::BadExtraDataOffset {
                found: body.fixed_size() as u32,
                expected: version.fixed_size(),
                version,
            };
            assert_eq!(
                ExecutionPayload::decode(version, &bytes),
                Err(error),
                "{body} as {version}"
            );
        }
    }
}

#[test]
fn rule_3_transactions_do_not_begin_before_the_extra_data() {
    for version in PayloadVersion::ALL {
        let extra_data = version.fixed_size();
        for found in [0, 1, 436, extra_data as u32 - 1] {
            let mut bytes = encoded(&sample(version));
            put_u32(&mut bytes, 504, found);
            let error = DecodeError::BadTransactionOffset { found, extra_data };
            assert_eq!(ExecutionPayload::decode(version, &bytes), Err(error));
        }
    }
}

#[test]
fn rule_4_withdrawals_do_not_begin_before_the_transactions() {
    for version in WITH_WITHDRAWALS {
        let payload = sample(version);
        let transactions = (version.fixed_size() + payload.extra_data.len()) as u32;
        for found in [0, 1, version.fixed_size() as u32, transactions - 1] {
            let mut bytes = encoded(&payload);
            put_u32(&mut bytes, 508, found);
            let error = DecodeError::BadWithdrawalsOffset { found, transactions };
            assert_eq!(ExecutionPayload::decode(version, &bytes), Err(error));
        }
    }
}

#[test]
fn rule_4_withdrawals_do_not_begin_past_the_end() {
    for version in WITH_WITHDRAWALS {
        let valid = Parts { transactions: section(&[4], 9), ..Parts::empty(version) }.bytes();
        let scope = valid.len();
        for found in [scope as u32 + 1, u32::MAX] {
            let mut bytes = valid.clone();
            put_u32(&mut bytes, 508, found);
            let error = DecodeError::WithdrawalsOutOfScope { found, scope };
            assert_eq!(ExecutionPayload::decode(version, &bytes), Err(error));
        }
        // Exactly at the end, the list is present and empty.
        assert_eq!(
            PayloadView::parse(version, &valid).expect("decodes").withdrawal_count(),
            Some(0)
        );
    }
}

#[test]
fn rule_4_v1_uses_the_end_as_the_withdrawals_offset() {
    let mut bytes = encoded(&sample(V1));
    // V1 has its extra data where later versions have the offset.
    put_u32(&mut bytes, 508, u32::MAX);
    let payload = ExecutionPayload::decode(V1, &bytes).expect("decodes");
    assert_eq!(payload.withdrawals, None);
    assert_eq!(payload.extra_data[..4], [0xff; 4]);
    assert_eq!(payload.transactions, sample(V1).transactions);
}

#[test]
fn rule_5_extra_data_has_at_most_32_bytes() {
    for version in PayloadVersion::ALL {
        for length in [0, 1, 31, 32] {
            let parts = Parts { extra_data: vec![7; length], ..Parts::empty(version) };
            let bytes = parts.bytes();
            assert_eq!(
                PayloadView::parse(version, &bytes).expect("decodes").extra_data(),
                vec![7; length]
            );
        }
        for length in [33, 34, 1000] {
            let parts = Parts { extra_data: vec![7; length], ..Parts::empty(version) };
            assert_eq!(parts.check(), Err(DecodeError::ExtraDataTooLong(length)));
        }
    }
}

#[test]
fn rule_5_transactions_do_not_begin_past_the_end() {
    let valid = Parts { extra_data: vec![7; 20], ..Parts::empty(V1) }.bytes();
    let scope = valid.len();
    for found in [scope as u32 + 1, scope as u32 + 12, u32::MAX] {
        let mut bytes = valid.clone();
        put_u32(&mut bytes, 504, found);
        let error = DecodeError::TransactionsOutOfScope { found, scope };
        assert_eq!(ExecutionPayload::decode(V1, &bytes), Err(error));
    }
    // From v2 on, the withdrawals offset lies between the two and is checked first.
    for version in WITH_WITHDRAWALS {
        let mut bytes = Parts { extra_data: vec![7; 20], ..Parts::empty(version) }.bytes();
        let scope = bytes.len();
        let found = scope as u32 + 1;
        put_u32(&mut bytes, 504, found);
        let before = DecodeError::BadWithdrawalsOffset { found: scope as u32, transactions: found };
        assert_eq!(ExecutionPayload::decode(version, &bytes), Err(before));
        put_u32(&mut bytes, 508, found);
        let behind = DecodeError::WithdrawalsOutOfScope { found, scope };
        assert_eq!(ExecutionPayload::decode(version, &bytes), Err(behind));
    }
}

#[test]
fn rule_6_an_empty_list_has_no_transactions() {
    for version in PayloadVersion::ALL {
        assert_eq!(Parts::empty(version).check(), Ok(0));
    }
}

/// Checks a transaction section in each version, with and without withdrawals after it.
fn transactions(section: &[u8]) -> Result<usize, DecodeError> {
    let mut results = PayloadVersion::ALL
        .into_iter()
        .map(|version| {
            let withdrawals = if version == V1 { Vec::new() } else { vec![1; 44] };
            Parts { transactions: section.to_vec(), withdrawals, ..Parts::empty(version) }.check()
        })
        .collect::<Vec<_>>();
    results.dedup();
    assert_eq!(results.len(), 1, "the versions differ over a transaction section: {results:?}");
    results.remove(0)
}

#[test]
fn rule_6_a_list_of_1_to_3_bytes_cannot_hold_an_offset() {
    for length in 1..=3 {
        assert_eq!(
            transactions(&vec![0; length]),
            Err(DecodeError::TransactionListTooShort(length))
        );
        assert_eq!(
            transactions(&vec![4; length]),
            Err(DecodeError::TransactionListTooShort(length))
        );
    }
}

#[test]
fn rule_6_a_first_offset_of_zero_is_refused() {
    for filler in [0, 1, 100] {
        let list = section(&[0], filler);
        assert_eq!(transactions(&list), Err(DecodeError::FirstTransactionOffsetZero(list.len())));
    }
    // The old reference read zeros as "no transactions" and ignored them.
    assert_eq!(transactions(&[0; 32]), Err(DecodeError::FirstTransactionOffsetZero(32)));
}

#[test]
fn rule_6_the_first_offset_is_a_multiple_of_4() {
    for first in [1, 2, 3, 5, 6, 7, 9, u32::MAX] {
        let unaligned = DecodeError::FirstTransactionOffsetUnaligned(first);
        assert_eq!(transactions(&section(&[first, 8], 20)), Err(unaligned));
    }
}

#[test]
fn rule_6_the_first_offset_lies_within_the_list() {
    for (first, length) in [(8, 4), (8, 7), (16, 12), (u32::MAX - 3, 40)] {
        let list = section(&[first], length - 4);
        let behind = DecodeError::FirstTransactionOffsetOutOfScope { found: first, length };
        assert_eq!(transactions(&list), Err(behind));
    }
    // Exactly at the end: one empty transaction.
    assert_eq!(transactions(&section(&[4], 0)), Ok(1));
}

#[test]
fn rule_6_at_most_2_to_the_20_transactions() {
    let empty = |count: u32| section(&vec![4 * count; count as usize], 0);
    assert_eq!(transactions(&empty(1 << 20)), Ok(1 << 20));
    assert_eq!(
        transactions(&empty((1 << 20) + 1)),
        Err(DecodeError::TooManyTransactions((1 << 20) + 1))
    );
    // The number of present offsets bounds the count, regardless of the first offset.
    let length = 4;
    let promised = DecodeError::FirstTransactionOffsetOutOfScope { found: 4 << 20, length };
    assert_eq!(transactions(&section(&[4 << 20], 0)), Err(promised));
}

#[test]
fn rule_6_no_offset_is_less_than_the_one_before() {
    for (offsets, index, found, previous) in [
        (&[12, 11, 20][..], 1, 11, 12),
        (&[12, 0, 20], 1, 0, 12),
        (&[12, 20, 19], 2, 19, 20),
        (&[16, 16, 17, 16], 3, 16, 17),
    ] {
        let decreasing = DecodeError::TransactionOffsetDecreasing { index, found, previous };
        assert_eq!(transactions(&section(offsets, 30)), Err(decreasing));
    }
}

#[test]
fn rule_6_no_offset_lies_past_the_list() {
    for (offsets, filler, index, found, length) in [
        (&[8, 19][..], 10, 1, 19, 18),
        (&[8, u32::MAX], 10, 1, u32::MAX, 18),
        (&[12, 13, 23], 10, 2, 23, 22),
    ] {
        let behind = DecodeError::TransactionOffsetOutOfScope { index, found, length };
        assert_eq!(transactions(&section(offsets, filler)), Err(behind));
    }
    assert_eq!(transactions(&section(&[8, 18], 10)), Ok(2));
}

#[test]
fn rule_6_transactions_may_be_empty_and_the_last_runs_to_the_end() {
    let parts = Parts { transactions: section(&[16, 16, 19, 19], 5), ..Parts::empty(V4) };
    let bytes = parts.bytes();
    let view = PayloadView::parse(V4, &bytes).expect("decodes");
    let found: Vec<usize> = view.transactions().map(<[u8]>::len).collect();
    assert_eq!(found, [0, 3, 0, 2]);
}

#[test]
fn rule_7_withdrawals_are_a_multiple_of_44_bytes() {
    for version in WITH_WITHDRAWALS {
        for length in [1, 43, 45, 87, 44 * 16 + 1, 44 * 17 - 1] {
            let parts = Parts { withdrawals: vec![1; length], ..Parts::empty(version) };
            assert_eq!(parts.check(), Err(DecodeError::WithdrawalsUnaligned(length)));
        }
    }
}

#[test]
fn rule_7_at_most_16_withdrawals() {
    for version in WITH_WITHDRAWALS {
        for count in [0, 1, 15, 16] {
            let bytes = Parts { withdrawals: vec![1; 44 * count], ..Parts::empty(version) }.bytes();
            let view = PayloadView::parse(version, &bytes).expect("decodes");
            assert_eq!(view.withdrawal_count(), Some(count));
            assert_eq!(view.withdrawals().expect("has a list").count(), count);
        }
        for count in [17, 18, 1000] {
            let parts = Parts { withdrawals: vec![1; 44 * count], ..Parts::empty(version) };
            assert_eq!(parts.check(), Err(DecodeError::TooManyWithdrawals(count)));
        }
    }
}

#[test]
fn rule_7_v1_counts_trailing_bytes_to_the_last_transaction() {
    let parts =
        Parts { transactions: section(&[4], 3), withdrawals: vec![1; 44], ..Parts::empty(V1) };
    let bytes = parts.bytes();
    let view = PayloadView::parse(V1, &bytes).expect("decodes");
    assert_eq!(view.transaction(0).map(<[u8]>::len), Some(3 + 44));
    assert!(view.withdrawals().is_none());
}

#[test]
fn rule_8_no_trailing_byte_is_ignored() {
    for version in PayloadVersion::ALL {
        let payload = sample(version);
        let mut bytes = encoded(&payload);
        bytes.push(0xff);
        match ExecutionPayload::decode(version, &bytes) {
            // The extra byte belongs to the last transaction.
            Ok(longer) => {
                assert_eq!(version, V1);
                assert_eq!(longer.transactions.last().expect("four")[..], [0x7f, 0xff]);
            }
            Err(error) => assert_eq!(error, DecodeError::WithdrawalsUnaligned(2 * 44 + 1)),
        }
    }
}

#[test]
fn rules_are_judged_in_order() {
    // Each encoding breaks the rule under test and the next one.
    let version = V3;
    let wrong_everywhere = Parts {
        version,
        extra_data: vec![7; 33],
        transactions: section(&[0], 0),
        withdrawals: vec![1; 44 * 17 + 1],
    };
    let mut bytes = wrong_everywhere.bytes();
    let scope = bytes.len();
    put_u32(&mut bytes, 436, 527);
    put_u32(&mut bytes, 504, 500);
    put_u32(&mut bytes, 508, 499);
    let decode = |bytes: &[u8]| ExecutionPayload::decode(version, bytes).map(|_| ());
    let expected = DecodeError::TooShort { scope: 527, minimum: 528, version };
    assert_eq!(decode(&bytes[..527]), Err(expected));
    let expected = DecodeError::BadExtraDataOffset { found: 527, expected: 528, version };
    assert_eq!(decode(&bytes), Err(expected));
    put_u32(&mut bytes, 436, 528);
    assert_eq!(
        decode(&bytes),
        Err(DecodeError::BadTransactionOffset { found: 500, extra_data: 528 })
    );
    put_u32(&mut bytes, 504, 561);
    assert_eq!(
        decode(&bytes),
        Err(DecodeError::BadWithdrawalsOffset { found: 499, transactions: 561 })
    );
    let found = scope as u32 + 1;
    put_u32(&mut bytes, 508, found);
    assert_eq!(decode(&bytes), Err(DecodeError::WithdrawalsOutOfScope { found, scope }));
    put_u32(&mut bytes, 508, 565);
    assert_eq!(decode(&bytes), Err(DecodeError::ExtraDataTooLong(33)));
    put_u32(&mut bytes, 504, 560);
    put_u32(&mut bytes, 508, 565);
    bytes.remove(528);
    put_u32(&mut bytes, 508, 564);
    assert_eq!(decode(&bytes), Err(DecodeError::FirstTransactionOffsetZero(4)));
    put_u32(&mut bytes, 560, 4);
    assert_eq!(decode(&bytes), Err(DecodeError::WithdrawalsUnaligned(44 * 17 + 1)));
    bytes.pop();
    assert_eq!(decode(&bytes), Err(DecodeError::TooManyWithdrawals(17)));
    bytes.truncate(bytes.len() - 44);
    assert_eq!(decode(&bytes), Ok(()));
}

#[test]
fn an_envelope_needs_room_for_its_root() {
    for version in [V3, V4] {
        for scope in 0..32 {
            let error = Envelope::decode(version, &vec![0; scope]).expect_err("too short");
            assert_eq!(error, DecodeError::EnvelopeTooShort(scope));
        }
        let minimum = version.fixed_size();
        let none_left = DecodeError::TooShort { scope: 0, minimum, version };
        assert_eq!(Envelope::decode(version, &[0; 32]), Err(none_left));
    }
    for version in [V1, V2] {
        let minimum = version.fixed_size();
        let short = DecodeError::TooShort { scope: 1, minimum, version };
        assert_eq!(Envelope::decode(version, &[0]), Err(short));
    }
}
