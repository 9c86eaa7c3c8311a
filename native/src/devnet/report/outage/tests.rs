//! Tests of the record of a killed follower, with events made by hand.

use super::*;
use crate::devnet::report::tests::{
    BOTH, block, in_order, lines, ms, publish, receive, report, states,
};
use crate::devnet::tally::State;
use opp2p_core::gossip::Reason;
use serde_json::json;

const OTHER: Member = BOTH[0];
const KILLED: Member = BOTH[1];

/// Publishes five blocks for both followers, then kills the second and publishes blocks 6 to 9.
pub(in crate::devnet) fn killed(stored: u64) -> Report {
    let mut report = report();
    for number in 1..=5 {
        publish(&mut report, number);
        BOTH.into_iter().for_each(|member| receive(&mut report, member, number, 4));
    }
    report.killed(KILLED, Some(block(stored)), ms(5_500));
    for number in 6..=9 {
        publish(&mut report, number);
        receive(&mut report, OTHER, number, 4);
    }
    report
}

/// Returns the same record, after the follower's restart at 9.5 s.
pub(in crate::devnet) fn restarted(stored: u64) -> Report {
    let mut report = killed(stored);
    report.restarted(KILLED, ms(9_500));
    report
}

/// Delivers a block that was not accepted from gossip.
fn synced(report: &mut Report, number: u64, at: u64) {
    report.delivered(KILLED, block(number));
    report.level(KILLED, ms(at));
}

/// Returns the record after blocks 6 to 9 came by sync; 10 is published meanwhile, and comes by
/// gossip.
pub(in crate::devnet) fn caught_up() -> Report {
    let mut report = restarted(5);
    publish(&mut report, 10);
    receive(&mut report, OTHER, 10, 4);
    report.verdict(KILLED, Ok(block(10)), ms(10_700));
    (6..=10).for_each(|number| synced(&mut report, number, 10_700 + number));
    report
}

#[test]
fn a_killed_follower_is_down_then_catches_up_then_is_live() {
    let mut report = killed(5);
    assert_eq!(states(&report), [State::InSync, State::Down]);
    report.restarted(KILLED, ms(9_500));
    assert_eq!(states(&report)[1].to_string(), "catching up");
    report.heights(KILLED, Some(5), Some(42));
    assert_eq!(states(&report)[1].to_string(), "catching up: 37 to go");
    (6..=8).for_each(|number| synced(&mut report, number, 9_600));
    assert_eq!(states(&report)[1], State::CatchingUp(37), "its own word is the latest");
    synced(&mut report, 9, 9_700);
    assert_eq!(states(&report), [State::InSync, State::Live]);
    publish(&mut report, 10);
    assert_eq!(states(&report)[1], State::Behind(1));
}

#[test]
fn the_summary_shows_the_missed_blocks_and_the_catch_up_time() {
    let report = caught_up();
    let summary = report.summary(ms(12_000));
    let json = serde_json::to_value(&summary).unwrap();
    assert_eq!(json["ok"], true);
    assert_eq!(json["followers"][0]["outage"], json!(null));
    assert_eq!(json["followers"][0]["caught_up"], 0);
    let follower = &json["followers"][1];
    assert_eq!(follower["outage"], json!({"missed": 4, "down_s": 4.0, "catch_up_s": 1.21}));
    assert_eq!(
        follower["caught_up"], 5,
        "the four that it missed, and one that was published meanwhile"
    );
    assert_eq!((&follower["received"], &follower["in_order"]), (&json!(10), &json!(true)));
    let text = summary.to_string();
    let line = "follower 2 was killed, started again after 4.0 s, missed 4 blocks and caught up \
                1.21 s after its start\n";
    assert!(
        text.contains(line) && text.ends_with("ok: every follower holds every block, in order"),
        "{text}"
    );
}

#[test]
fn blocks_received_while_catching_up_are_not_latencies() {
    let mut report = caught_up();
    let figures = |report: &Report| report.followers[1].latencies.figures().unwrap();
    assert_eq!((figures(&report).last, figures(&report).max), (ms(4), ms(4)));
    // Nor does the line of a block show them.
    assert_eq!(report.newest_blocks().map(|line| line.slowest).max(), Some(Some(ms(4))));
    publish(&mut report, 11);
    receive(&mut report, KILLED, 11, 6);
    assert_eq!(figures(&report).last, ms(6));
    assert_eq!(report.followers[1].caught_up, 5);
}

#[test]
fn a_synced_block_is_not_a_latency_even_if_gossip_brings_it_later() {
    let mut report = report();
    for published_first in [true, false] {
        let number = if published_first { 1 } else { 2 };
        if published_first {
            publish(&mut report, number);
        }
        report.delivered(OTHER, block(number));
        report.verdict(OTHER, Ok(block(number)), ms(1000 * number + 900));
        if !published_first {
            publish(&mut report, number);
        }
    }
    let tally = &report.followers[0];
    assert_eq!((tally.received, tally.caught_up, tally.latencies.figures()), (2, 2, None));
    assert!(in_order(&report)[0]);
}

#[test]
fn blocks_lost_from_memory_may_be_repeated_but_stored_ones_may_not() {
    let again = |numbers: std::ops::RangeInclusive<u64>| {
        let mut report = restarted(3);
        assert_eq!(report.followers[1].received, 3);
        numbers.for_each(|number| synced(&mut report, number, 9_900));
        report
    };
    let whole = again(4..=9);
    assert!(in_order(&whole)[1] && whole.is_settled() && whole.summary(ms(10_000)).ok);
    assert_eq!(whole.followers[1].received, 9);
    assert_eq!(
        serde_json::to_value(whole.summary(ms(0))).unwrap()["followers"][1]["outage"]["missed"],
        6
    );
    for wrong in [again(3..=9), again(5..=9), again(6..=9), again(4..=8)] {
        assert!(!in_order(&wrong)[1] && !wrong.is_settled() && !wrong.summary(ms(10_000)).ok);
        assert_eq!(wrong.followers[1].outage.unwrap().catching_up(), None);
    }
    assert_eq!(states(&again(5..=9))[1], State::Disordered);
}

#[test]
fn a_synced_block_that_was_lost_counts_once() {
    let mut report = report();
    publish(&mut report, 1);
    synced(&mut report, 1, 1_100);
    assert_eq!((report.followers[1].received, report.followers[1].caught_up), (1, 1));
    report.killed(KILLED, None, ms(1_200));
    assert_eq!((report.followers[1].received, report.followers[1].caught_up), (0, 0));
    report.restarted(KILLED, ms(1_300));
    synced(&mut report, 1, 1_400);
    assert_eq!((report.followers[1].received, report.followers[1].caught_up), (1, 1));
    assert!(in_order(&report)[1]);
}

#[test]
fn a_store_with_undelivered_blocks_is_disorder() {
    let mut report = restarted(7);
    (8..=9).for_each(|number| synced(&mut report, number, 9_900));
    assert!(!in_order(&report)[1]);
}

#[test]
fn a_store_without_a_block_of_this_run_starts_from_the_first() {
    // Blocks 5 and 6 are this run's, 4 an earlier one's.
    for stored in [None, Some(block(4))] {
        let mut report = report();
        publish(&mut report, 5);
        receive(&mut report, KILLED, 5, 1);
        report.killed(KILLED, stored, ms(5_100));
        publish(&mut report, 6);
        report.restarted(KILLED, ms(6_100));
        assert_eq!(report.followers[1].outage.unwrap().missed(), 2, "{stored:?}");
        (5..=6).for_each(|number| synced(&mut report, number, 6_200));
        assert!(in_order(&report)[1], "{stored:?}");
        assert_eq!(report.followers[1].outage.unwrap().catching_up(), Some(ms(100)));
    }
}

#[test]
fn a_block_published_before_the_restart_is_missed_even_if_reported_later() {
    let mut report = restarted(5);
    report.published(block(10), 1, 1, ms(9_499));
    report.published(block(11), 1, 1, ms(9_501));
    assert_eq!(report.followers[1].outage.unwrap().missed(), 5);
}

#[test]
fn a_follower_that_missed_nothing_is_live_at_once() {
    let mut report = report();
    publish(&mut report, 1);
    BOTH.into_iter().for_each(|member| receive(&mut report, member, 1, 4));
    report.killed(KILLED, Some(block(1)), ms(1_100));
    assert!(!report.summary(ms(1_200)).ok, "it is down");
    report.restarted(KILLED, ms(1_300));
    assert_eq!(states(&report)[1], State::Live);
    assert!(report.is_settled() && report.summary(ms(1_400)).ok);
}

#[test]
fn a_run_that_ends_too_early_fails_and_shows_the_followers_progress() {
    let mut report = killed(5);
    assert!(report.is_settled(), "nothing more is to come");
    let text = report.summary(ms(10_000)).to_string();
    assert!(
        text.contains("\nfollower 2 was killed, missed 4 blocks and did not start again\n"),
        "{text}"
    );
    assert!(text.ends_with(
        "not ok: 1 of 2 followers lack blocks, have not caught up or got them out of order"
    ));
    report.restarted(KILLED, ms(9_500));
    assert!(!report.is_settled() && report.is_catching_up());
    let text = report.summary(ms(10_000)).to_string();
    assert!(
        text.contains("started again after 4.0 s, missed 4 blocks and did not catch up\n"),
        "{text}"
    );
}

#[test]
fn the_log_names_absent_followers_and_waits_only_for_the_others() {
    let mut report = killed(5);
    let now = ms(9_100);
    let told = lines(&mut report, now);
    assert_eq!(told[0], "follower 2: down: killed with block 5 as its stored head");
    assert_eq!(told.len(), 1 + 9);
    assert!(told[9].ends_with("1/2 followers  slowest 4.00 ms  follower 2: down"), "{told:#?}");
    report.restarted(KILLED, ms(9_500));
    report.heights(KILLED, Some(5), Some(10));
    publish(&mut report, 10);
    assert_eq!(
        lines(&mut report, ms(10_100)),
        ["follower 2: catching up: started again, 4 blocks missed"]
    );
    receive(&mut report, OTHER, 10, 4);
    let told = lines(&mut report, ms(10_100));
    assert!(told[0].ends_with("follower 2: catching up: 5 to go"), "{told:#?}");
    (6..=10).for_each(|number| synced(&mut report, number, 10_200));
    assert_eq!(lines(&mut report, ms(10_300)), ["follower 2: live: 5 blocks caught up in 0.70 s"]);
    publish(&mut report, 11);
    receive(&mut report, OTHER, 11, 4);
    assert_eq!(lines(&mut report, ms(11_100)), [""; 0], "it is waited for again");
}

#[test]
fn outage_events_of_unknown_or_running_members_are_ignored() {
    let mut report = report();
    publish(&mut report, 1);
    for member in [Member::Sequencer, Member::Follower(9), OTHER] {
        if member != OTHER {
            report.killed(member, None, ms(1));
        }
        report.restarted(member, ms(2));
        report.heights(member, Some(1), Some(9));
        report.level(member, ms(3));
    }
    assert!(report.followers.iter().all(|tally| tally.outage.is_none()));
    assert!(report.sequencer.outage.is_none() && report.notes.is_empty());
}

#[test]
fn verdicts_before_and_after_a_kill_add_up() {
    let mut report = caught_up();
    report.verdict(KILLED, Err(Reason::AlreadySeen), ms(11_000));
    let follower = &report.summary(ms(12_000)).followers[1];
    assert_eq!((follower.verdicts.accept, follower.verdicts.ignore), (6, 1));
}
