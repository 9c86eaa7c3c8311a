//! Order of the checks: a message that breaks several is refused by the first.

use super::*;
use crate::payload::Withdrawal;
use proptest::prelude::*;

/// Reasons that can apply to one message at the same time, in the order of the checks. Pairs
/// exclude each other: a length can't be both too long and too short, nor a block both too old and
/// too new.
const BREAKABLE: [Reason; 14] = [
    Reason::SnappyHeader,
    Reason::AnnouncedTooLong,
    Reason::AnnouncedTooShort,
    Reason::SnappyBody,
    Reason::NoSigner,
    Reason::Payload,
    Reason::TooOld,
    Reason::TooNew,
    Reason::WithdrawalsNotEmpty,
    Reason::ExcessBlobGas,
    Reason::Signature,
    Reason::WrongSigner,
    Reason::BlockHash,
    Reason::ForkBlobGas,
];

/// Returns a message of `version` that breaks exactly the checks in `broken`, and the rules for
/// validating it.
fn broken_message(version: PayloadVersion, broken: &[Reason]) -> (Rules, Vec<u8>) {
    let has = |reason| broken.contains(&reason);
    let mut envelope = changed(version, |payload| {
        if has(Reason::TooOld) {
            payload.timestamp = NOW - 61;
        } else if has(Reason::TooNew) {
            payload.timestamp = NOW + 6;
        }
        if has(Reason::WithdrawalsNotEmpty) {
            payload.withdrawals = Some(vec![Withdrawal::default()]);
        }
        if has(Reason::ForkBlobGas) {
            payload.blob_gas_used = Some(1);
        }
        if has(Reason::ExcessBlobGas) {
            payload.excess_blob_gas = Some(1);
        }
    });
    if has(Reason::BlockHash) {
        envelope.payload.block_hash.0[0] ^= 1;
    }
    let mut body = body(&envelope);
    if has(Reason::Payload) {
        let before = if version.has_beacon_root() { 32 } else { 0 };
        body[before + 436] ^= 1;
    }
    let signer = if has(Reason::WrongSigner) { key(8) } else { sequencer() };
    let mut contents = signed_by(&signer, &body);
    if has(Reason::Signature) {
        contents = with_v(&contents, 27);
    }
    let mut data = snappy::compress(&contents);
    let header = announcing(contents.len() as u64).len();
    if has(Reason::SnappyBody) {
        data.pop();
    }
    if has(Reason::SnappyHeader) {
        data.splice(..header, [0xff; 5]);
    } else if has(Reason::AnnouncedTooLong) {
        data.splice(..header, announcing(MAX_MESSAGE_SIZE as u64 + 1));
    } else if has(Reason::AnnouncedTooShort) {
        data.splice(..header, announcing(65));
    }
    let current = (!has(Reason::NoSigner)).then(|| sequencer().address());
    (rules_of(version, current, None), data)
}

/// Returns `true` if a message of `version` can fail the check.
fn applies(version: PayloadVersion, reason: Reason) -> bool {
    match reason {
        Reason::WithdrawalsNotEmpty => version.has_withdrawals(),
        Reason::ForkBlobGas | Reason::ExcessBlobGas => version.has_beacon_root(),
        _ => true,
    }
}

#[test]
fn each_failed_check_gives_its_own_reason() {
    for version in PayloadVersion::ALL {
        for reason in BREAKABLE.into_iter().filter(|reason| applies(version, *reason)) {
            let (rules, data) = broken_message(version, &[reason]);
            assert_eq!(judge_data(&rules, version, &data, NOW), Some(reason), "{version}");
        }
    }
}

#[test]
fn the_first_of_two_failed_checks_is_reported() {
    assert!(BREAKABLE.is_sorted());
    for version in PayloadVersion::ALL {
        for (index, first) in BREAKABLE.into_iter().enumerate() {
            for second in &BREAKABLE[index + 1..] {
                if applies(version, first) && applies(version, *second) {
                    let (rules, data) = broken_message(version, &[first, *second]);
                    let told = judge_data(&rules, version, &data, NOW);
                    assert_eq!(told, Some(first), "{version}: {first:?} and {second:?}");
                }
            }
        }
    }
}

#[test]
fn seen_blocks_are_checked_last_and_the_count_first() {
    let mut seen = SeenBlocks::default();
    let mut judge_all = |contents: &[u8]| {
        let verified = validate(&rules(V4), V4, Unpacked::from_contents(contents), NOW)?;
        seen.admit(V4, verified.block.number(), verified.block.hash())
    };
    let block = |nth, excess| {
        signed(&changed(V4, |payload| {
            payload.gas_used = nth;
            payload.excess_blob_gas = Some(excess);
        }))
    };
    for nth in 0..6 {
        assert_eq!(judge_all(&block(nth, 0)), Ok(()));
        if nth < 5 {
            assert_eq!(judge_all(&block(nth, 0)), Err(Reason::AlreadySeen));
        }
    }
    assert_eq!(judge_all(&block(0, 0)), Err(Reason::TooManyBlocks), "a repeat in a full height");
    assert_eq!(
        judge_all(&block(6, 1)),
        Err(Reason::ExcessBlobGas),
        "a full height and a bad field"
    );
}

proptest! {
    #[test]
    fn the_first_of_any_failed_checks_is_reported(
        version in prop::sample::select(&PayloadVersion::ALL),
        mut broken in prop::sample::subsequence(&BREAKABLE, 0..=BREAKABLE.len()),
    ) {
        broken.retain(|reason| applies(version, *reason));
        let (rules, data) = broken_message(version, &broken);
        prop_assert_eq!(judge_data(&rules, version, &data, NOW), broken.first().copied());
    }
}
