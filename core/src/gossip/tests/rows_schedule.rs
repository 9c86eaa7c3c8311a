//! Rules that depend on the fork schedule, and rules for the BaseTime deposit.

use super::*;
use crate::chain::{BlockSchedule, ForkSchedule, Genesis};
use crate::payload::{BASE_TIME_INDEX, BASE_TIME_SIZE, BaseTime, Envelope, ExecutionPayload};
use alloy_primitives::Bytes;
use proptest::prelude::*;

/// Validates a block at the block's own time.
fn judge_denim(rules: &Rules, envelope: &Envelope) -> Option<Reason> {
    let data = snappy::compress(&signed(envelope));
    judge_data(rules, V4, &data, envelope.payload.timestamp)
}

/// Returns the rules of [`denim`] without this fork and those that build on it.
fn denim_without(fork: Fork) -> Rules {
    let mut forks = denim().forks;
    for later in Fork::ALL.into_iter().filter(|later| later.includes(fork)) {
        forks = forks.with(later, None);
    }
    Rules { forks, schedule: schedule(&forks), ..denim() }
}

/// Replaces the BaseTime deposit.
fn deposit(payload: &mut ExecutionPayload, transaction: &[u8]) {
    payload.transactions[BASE_TIME_INDEX] = Bytes::copy_from_slice(transaction);
}

#[test]
fn row_18_blob_gas_used_is_zero_before_jovian() {
    for version in [V3, V4] {
        assert_accepted(&rules(version), version, &signed(&block(version)));
        for used in [1, 131_072, u64::MAX] {
            let with_blobs =
                signed(&changed(version, |payload| payload.blob_gas_used = Some(used)));
            assert_eq!(judge(&rules(version), version, &with_blobs), Some(Reason::ForkBlobGas));
        }
    }
    assert_eq!(Reason::ForkBlobGas.acceptance(), Acceptance::Ignore);
}

#[test]
fn row_18_any_blob_gas_used_is_accepted_from_jovian_on() {
    for version in [V3, V4] {
        // The rule depends on the block's timestamp, not on the clock.
        let jovian = Rules { forks: forks(V4).with(Fork::Jovian, Some(NOW)), ..rules(version) };
        let at = |timestamp, used| {
            signed(&changed(version, |payload| {
                payload.timestamp = timestamp;
                payload.blob_gas_used = Some(used);
            }))
        };
        for used in [1, u64::MAX] {
            let reason = judge(&jovian, version, &at(NOW - 1, used));
            assert_eq!(reason, Some(Reason::ForkBlobGas));
            assert_accepted(&jovian, version, &at(NOW, used));
            assert_accepted(&jovian, version, &at(NOW + 1, used));
        }
        assert_accepted(&jovian, version, &at(NOW - 1, 0));
        assert_accepted(&jovian, version, &at(NOW, 0));
    }
}

#[test]
fn a_forged_or_corrupt_block_is_rejected_regardless_of_the_schedule() {
    let envelope = changed(V4, |payload| payload.blob_gas_used = Some(1));
    let foreign = signed_by(&key(8), &body(&envelope));
    assert_rejected(&rules(V4), V4, &foreign, Reason::WrongSigner);
    let mut corrupt = envelope;
    corrupt.payload.block_hash.0[0] ^= 1;
    assert_rejected(&rules(V4), V4, &signed(&corrupt), Reason::BlockHash);
}

#[test]
fn the_block_number_decides_where_base_time_deposits_start() {
    let first = first_of_denim();
    for number in [first - 2, first - 1, first, first + 1, first + 4, first + 5] {
        assert_eq!(judge_denim(&denim(), &denim_block(number, |_| {})), None, "{number}");
    }
    let early = denim_block(first - 1, |payload| {
        let deposit = BaseTime::of_block(first - 1, 0).to_transaction();
        payload.transactions.insert(BASE_TIME_INDEX, Bytes::copy_from_slice(&deposit));
    });
    assert_eq!(judge_denim(&denim(), &early), Some(Reason::ForkBaseTimeEarly));
    let missing =
        |number| denim_block(number, |payload| drop(payload.transactions.remove(BASE_TIME_INDEX)));
    assert_eq!(judge_denim(&denim(), &missing(first)), Some(Reason::ForkBaseTimeMissing));
    let none = denim_block(first, |payload| payload.transactions.truncate(1));
    assert_eq!(judge_denim(&denim(), &none), Some(Reason::ForkBaseTimeMissing));
}

#[test]
fn the_timestamp_and_the_milliseconds_follow_from_the_number() {
    let number = first_of_denim() + 3;
    for seconds in [-1, 1] {
        let other = denim_block(number, |payload| {
            payload.timestamp = payload.timestamp.wrapping_add_signed(seconds);
        });
        assert_eq!(judge_denim(&denim(), &other), Some(Reason::ForkTimestamp));
    }
    for millis in [0, 400, 599, 601, 800, 999] {
        let other = denim_block(number, |payload| {
            deposit(payload, &BaseTime::of_block(number, millis).to_transaction());
        });
        // This includes values that are not multiples of 200: a later fork may change the interval
        // again.
        assert_eq!(judge_denim(&denim(), &other), Some(Reason::ForkMillis), "{millis}");
    }
    // Before Denim the timestamp is not checked, as on any chain without it.
    let odd = denim_block(first_of_denim() - 1, |payload| payload.timestamp += 1);
    assert_eq!(judge_denim(&denim(), &odd), None);
}

#[test]
fn a_base_time_deposit_that_no_schedule_explains_is_rejected() {
    let number = first_of_denim() + 3;
    let rejected = |change: &dyn Fn(&mut ExecutionPayload), reason| {
        let envelope = denim_block(number, |payload| change(payload));
        assert_eq!(judge_denim(&denim(), &envelope), Some(reason));
        assert_eq!(reason.acceptance(), Acceptance::Reject);
        // Without Denim in our schedule, these transactions have no known meaning.
        let told = judge_denim(&denim_without(Fork::Denim), &envelope);
        assert!(told.is_none_or(|reason| reason.acceptance() == Acceptance::Ignore), "{told:?}");
    };
    for millis in [1000, u16::MAX] {
        rejected(
            &|payload| deposit(payload, &BaseTime::of_block(number, millis).to_transaction()),
            Reason::BaseTimeMillis,
        );
    }
    let mut more_gas = BaseTime::of_block(number, 600).to_transaction();
    more_gas[82] ^= 1;
    rejected(&|payload| deposit(payload, &more_gas), Reason::BaseTimeForm);
    for at in [0, 2] {
        let again = BaseTime::of_block(number, 600).to_transaction();
        let again = Bytes::copy_from_slice(&again);
        rejected(
            &|payload| match at {
                0 => payload.transactions[0] = again.clone(),
                _ => payload.transactions.push(again.clone()),
            },
            Reason::BaseTimeTwice,
        );
    }
}

#[test]
fn a_differing_source_hash_does_not_blame_the_sender() {
    let number = first_of_denim() + 3;
    let other = denim_block(number, |payload| {
        deposit(payload, &BaseTime::of_block(number + 1, 600).to_transaction());
    });
    assert_eq!(judge_denim(&denim(), &other), Some(Reason::ForkBaseTimeSource));
}

#[test]
fn blocks_of_a_fork_missing_from_the_schedule_are_ignored_with_a_remedy() {
    let block = denim_block(first_of_denim() + 1, |_| {});
    for (fork, rule, named) in [
        (Fork::Jovian, ScheduleRule::BlobGas, "jovian"),
        (Fork::Denim, ScheduleRule::BaseTimeEarly, "denim"),
    ] {
        let rules = denim_without(fork);
        let now = block.payload.timestamp;
        let inspection = inspect(&rules, V4, &snappy::compress(&signed(&block)), now);
        assert_eq!(inspection.reason, rule.reason());
        let breach = inspection.breach.expect("a rule of the schedule");
        assert_eq!((breach.rule, breach.activation), (rule, None));
        assert!(breach.schedule_says().starts_with(&format!("{named} is not planned, ")));
        assert!(breach.remedy().contains(&format!("the time of {named}")));
        let json = serde_json::to_value(&inspection).expect("JSON");
        assert_eq!(json["verdict"], "ignore");
        assert_eq!(json["schedule_rule"], rule.name());
        assert_eq!(json["schedule_says"], breach.schedule_says());
        assert_eq!(json["remedy"], breach.remedy());
        assert_eq!(json["timestamp_ms"], block.payload.timestamp * 1000 + 200);
    }
}

#[test]
fn a_version_that_differs_from_the_schedule_is_accepted_and_noted() {
    for (ours, found, fork) in
        [(V3, V4, Fork::Isthmus), (V4, V3, Fork::Isthmus), (V1, V2, Fork::Canyon)]
    {
        let data = snappy::compress(&signed(&block(found)));
        let inspection = inspect(&rules(ours), found, &data, NOW);
        assert_eq!(inspection.reason, None);
        let breach = inspection.breach.expect("it is noticed");
        assert_eq!((breach.rule, breach.fork), (ScheduleRule::Version, fork));
        let numbers = (u64::from(found.number()), u64::from(ours.number()));
        assert_eq!((breach.found, breach.expected), numbers);
    }
}

#[test]
fn each_rule_has_its_reasons_name_and_one_line_texts() {
    for rule in ScheduleRule::ALL {
        match rule.reason() {
            Some(reason) => {
                assert_eq!(reason.name(), rule.name());
                assert_eq!(reason.acceptance(), Acceptance::Ignore);
            }
            None => assert_eq!(rule, ScheduleRule::Version),
        }
        let breach = ScheduleBreach {
            rule,
            fork: Fork::Denim,
            activation: Some(5),
            number: 7,
            timestamp: 14,
            found: 3,
            expected: 4,
        };
        for text in [breach.to_string(), breach.schedule_says(), breach.remedy()] {
            assert!(!text.is_empty() && !text.contains('\n'), "{text}");
        }
    }
}

proptest! {
    #[test]
    fn an_honest_chain_never_breaks_its_own_schedule(
        block_time in 1..12_u64, genesis in 0..1_u64 << 33, first in 0..1_u64 << 40,
        denim in 0..1_u64 << 34, blocks in 0..1_u64 << 34,
    ) {
        let forks = ForkSchedule::up_to(Fork::Denim).with(Fork::Denim, Some(denim));
        let start = Genesis { number: first, hash: B256::ZERO, time: genesis };
        let schedule = BlockSchedule::new(&start, block_time, &forks);
        let rules = Rules { forks, schedule, ..rules(V4) };
        let number = first + blocks;
        let millis = schedule.millis_of(number).expect("in range");
        let envelope = changed(V4, |payload| {
            payload.block_number = number;
            payload.timestamp = schedule.timestamp_of(number).expect("in range");
            if schedule.first_with_base_time().is_some_and(|act| act <= number) {
                let deposit = BaseTime::of_block(number, millis).to_transaction();
                payload.transactions.insert(1, Bytes::copy_from_slice(&deposit));
            }
        });
        prop_assert_eq!(judge_denim(&rules, &envelope), None);
    }

    #[test]
    fn a_changed_deposit_byte_gives_the_verdict_of_its_field(
        at in 0..BASE_TIME_SIZE, flip in 1..=255_u8, nth in 0..400_u64,
    ) {
        let number = first_of_denim() + nth;
        let envelope = denim_block(number, |payload| {
            let mut bytes = payload.transactions[BASE_TIME_INDEX].to_vec();
            bytes[at] ^= flip;
            deposit(payload, &bytes);
        });
        let changed = &envelope.payload.transactions[BASE_TIME_INDEX];
        let expected = match at {
            4..36 => Reason::ForkBaseTimeSource,
            120.. => match u16::from_be_bytes([changed[120], changed[121]]) {
                1000.. => Reason::BaseTimeMillis,
                _ => Reason::ForkMillis,
            },
            // Sender, contract and type decide whether it calls the contract.
            _ if BaseTime::is_addressed_by(changed) => Reason::BaseTimeForm,
            _ => Reason::ForkBaseTimeMissing,
        };
        prop_assert_eq!(judge_denim(&denim(), &envelope), Some(expected));
    }
}
