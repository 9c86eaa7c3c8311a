//! Checks 13 to 21: the fields that each version must and must not have.
//!
//! Six of them can't fail once the payload has decoded as the topic's version, because the layout
//! fixes the fields. Their tests show exactly that: bytes that would break the rule do not decode.

use super::*;
use crate::payload::{Block, PayloadView, Withdrawal};

/// The bare payload of a valid block of `version`.
fn payload_bytes(version: PayloadVersion) -> Vec<u8> {
    let mut bytes = Vec::new();
    block(version).payload.encode(&mut bytes).expect("encodes");
    bytes
}

/// A body with the payload of one version, framed for the topic of another.
fn framed_for(topic: PayloadVersion, payload: PayloadVersion) -> Vec<u8> {
    let root = if topic.has_beacon_root() { vec![0x34; 32] } else { Vec::new() };
    signed_by(&sequencer(), &[root, payload_bytes(payload)].concat())
}

#[test]
fn row_13_withdrawals_are_absent_on_v1() {
    for payload in [V2, V3, V4] {
        assert_rejected(&rules(V1), V1, &framed_for(V1, payload), Reason::Payload);
    }
    let bytes = payload_bytes(V1);
    assert!(PayloadView::parse(V1, &bytes).expect("decodes").withdrawal_count().is_none());
}

#[test]
fn row_14_withdrawals_are_present_from_v2_on() {
    for topic in [V2, V3, V4] {
        assert_rejected(&rules(topic), topic, &framed_for(topic, V1), Reason::Payload);
        let bytes = payload_bytes(topic);
        assert!(PayloadView::parse(topic, &bytes).expect("decodes").withdrawal_count().is_some());
    }
}

#[test]
fn row_15_withdrawals_are_empty() {
    for version in [V2, V3, V4] {
        for count in [1, 16] {
            let some = changed(version, |payload| {
                payload.withdrawals = Some(vec![Withdrawal::default(); count]);
            });
            assert_rejected(&rules(version), version, &signed(&some), Reason::WithdrawalsNotEmpty);
        }
    }
}

#[test]
fn row_16_blob_gas_used_is_absent_up_to_v2() {
    for topic in [V1, V2] {
        for payload in [V3, V4] {
            assert_rejected(&rules(topic), topic, &framed_for(topic, payload), Reason::Payload);
        }
        let bytes = payload_bytes(topic);
        assert!(PayloadView::parse(topic, &bytes).expect("decodes").blob_gas_used().is_none());
    }
}

#[test]
fn row_17_excess_blob_gas_is_absent_up_to_v2() {
    for topic in [V1, V2] {
        let bytes = payload_bytes(topic);
        assert!(PayloadView::parse(topic, &bytes).expect("decodes").excess_blob_gas().is_none());
        // Both fields lie beyond the end of these versions' payloads.
        let longer = [bytes, vec![0; 16]].concat();
        let contents = signed_by(&sequencer(), &longer);
        assert!(judge(&rules(topic), topic, &contents).is_some());
    }
}

#[test]
fn row_19_excess_blob_gas_is_zero_even_under_jovian() {
    for version in [V3, V4] {
        let jovian = Rules { forks: forks(V4).with(Fork::Jovian, Some(0)), ..rules(version) };
        for excess in [1, u64::MAX] {
            let contents =
                signed(&changed(version, |payload| payload.excess_blob_gas = Some(excess)));
            assert_rejected(&rules(version), version, &contents, Reason::ExcessBlobGas);
            assert_rejected(&jovian, version, &contents, Reason::ExcessBlobGas);
        }
    }
}

#[test]
fn row_20_the_beacon_root_is_present_from_v3_on() {
    for version in [V3, V4] {
        let rootless = signed_by(&sequencer(), &payload_bytes(version));
        assert_rejected(&rules(version), version, &rootless, Reason::Payload);
        let body = body(&block(version));
        let decoded = Block::decode(version, None, body.into()).expect("decodes");
        assert!(decoded.parent_beacon_block_root().is_some());
    }
    for version in [V1, V2] {
        let rooted = signed_by(&sequencer(), &[vec![0x34; 32], payload_bytes(version)].concat());
        assert_rejected(&rules(version), version, &rooted, Reason::Payload);
    }
}

#[test]
fn row_21_the_withdrawals_root_is_present_only_on_v4() {
    assert_rejected(&rules(V4), V4, &framed_for(V4, V3), Reason::Payload);
    assert_rejected(&rules(V3), V3, &framed_for(V3, V4), Reason::Payload);
    for version in PayloadVersion::ALL {
        let bytes = payload_bytes(version);
        let view = PayloadView::parse(version, &bytes).expect("decodes");
        assert_eq!(view.withdrawals_root().is_some(), version == V4);
    }
}

#[test]
fn row_21_any_withdrawals_root_is_accepted_on_v4() {
    for root in [B256::ZERO, crate::payload::trie::EMPTY_ROOT, B256::repeat_byte(0xff)] {
        assert_accepted(
            &rules(V4),
            V4,
            &signed(&changed(V4, |payload| payload.withdrawals_root = Some(root))),
        );
    }
}

#[test]
fn no_check_depends_on_the_fork_at_the_timestamp() {
    // A block of an older layout passes on its own topic, if the sequencer signed it.
    for version in PayloadVersion::ALL {
        for now_active in PayloadVersion::ALL {
            assert_accepted(&rules(now_active), version, &signed(&block(version)));
        }
    }
}

#[test]
fn an_unknown_fork_excuses_what_a_fork_may_change_and_nothing_else() {
    let excused = Reason::ALL.iter().filter(|reason| reason.may_change_by_fork()).count();
    assert_eq!(excused, 14);
    let since = |from| Rules { unknown_from: Some(from), ..rules(PayloadVersion::V4) };
    let undecodable = [&[1; 65][..], &[2; 200]].concat();
    let foreign = signed_by(&key(9), &body(&block(PayloadVersion::V4)));
    for (contents, known, unknown) in [
        (&undecodable, Reason::Payload, Reason::UnknownFork),
        (&foreign, Reason::WrongSigner, Reason::WrongSigner),
    ] {
        assert_eq!(judge(&since(NOW), PayloadVersion::V4, contents), Some(unknown));
        assert_eq!(judge(&since(NOW + 1), PayloadVersion::V4, contents), Some(known));
    }
}
