//! Tests of validation: every check by its number and name, the order of the checks, the
//! reference's own tests, and properties over arbitrary bytes.

mod order;
mod properties;
mod reference;
mod rows;
mod rows_fields;
mod rows_schedule;
mod rows_seen;
pub(crate) mod support;

use super::*;
use crate::chain::Fork;
use crate::payload::{PayloadVersion, snappy};
use PayloadVersion::{V1, V2, V3, V4};
use alloy_primitives::B256;
use std::time::Duration;
use support::*;

/// Validates these contents on the topic of `version`, as a node that has seen no other message.
fn judge(rules: &Rules, version: PayloadVersion, contents: &[u8]) -> Option<Reason> {
    judge_data(rules, version, &snappy::compress(contents), NOW)
}

/// Validates a compressed data field at any time.
fn judge_data(rules: &Rules, version: PayloadVersion, data: &[u8], now: u64) -> Option<Reason> {
    let inspection = inspect(rules, version, data, now);
    let validated = validate(rules, version, Unpacked::new(data), now);
    assert_eq!(validated.as_ref().err(), inspection.reason.as_ref());
    let expected = inspection.reason.map_or(Acceptance::Accept, Reason::acceptance);
    assert_eq!(inspection.acceptance(), expected);
    if let Ok(verified) = validated {
        assert_eq!(Some(verified.signer), inspection.signer);
        assert_eq!(Some(verified.block.hash()), inspection.block.map(|block| block.hash()));
    }
    inspection.reason
}

#[track_caller]
fn assert_accepted(rules: &Rules, version: PayloadVersion, contents: &[u8]) {
    assert_eq!(judge(rules, version, contents), None, "on {version}");
}

#[track_caller]
fn assert_rejected(rules: &Rules, version: PayloadVersion, contents: &[u8], reason: Reason) {
    assert_eq!(judge(rules, version, contents), Some(reason), "on {version}");
    assert_eq!(reason.acceptance(), Acceptance::Reject);
}

#[test]
fn a_plain_block_of_every_version_is_accepted() {
    for version in PayloadVersion::ALL {
        assert_accepted(&rules(version), version, &signed(&block(version)));
    }
}

#[test]
fn the_reasons_that_do_not_blame_the_sender_are_listed() {
    let ignored: Vec<Reason> = Reason::ALL
        .iter()
        .copied()
        .filter(|reason| reason.acceptance() == Acceptance::Ignore)
        .collect();
    // The last two apply to messages that this node did not validate.
    assert_eq!(
        ignored,
        [
            Reason::NoSigner,
            Reason::TooOldHere,
            Reason::ClockInDoubt,
            Reason::SignerInDoubt,
            Reason::HashInDoubt,
            Reason::ForkBlobGas,
            Reason::ForkBaseTimeEarly,
            Reason::ForkBaseTimeMissing,
            Reason::ForkTimestamp,
            Reason::ForkMillis,
            Reason::ForkBaseTimeSource,
            Reason::UnknownFork,
            Reason::AlreadySeen,
            Reason::Throttled,
            Reason::Panicked
        ]
    );
    assert!(Reason::ALL.iter().all(|reason| reason.acceptance() != Acceptance::Accept));
}

#[test]
fn reasons_have_unique_names_and_follow_the_order_of_the_checks() {
    assert!(Reason::ALL.is_sorted());
    let mut names: Vec<&str> = Reason::ALL.iter().map(|reason| reason.name()).collect();
    let lower_case =
        |name: &&str| name.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase());
    assert!(names.iter().all(lower_case));
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Reason::ALL.len());
    let texts: Vec<String> = Reason::ALL.iter().map(ToString::to_string).collect();
    assert!(texts.iter().all(|text| !text.is_empty()));
    assert_eq!(Acceptance::Ignore.to_string(), "ignore");
    assert_eq!([Acceptance::Accept.name(), Acceptance::Reject.name()], ["accept", "reject"]);
}
