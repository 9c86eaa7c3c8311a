//! Tests of the record, with events made by hand.

use super::*;
use crate::devnet::BlockMaker;
use crate::devnet::latency::Figures;
use crate::devnet::tally::State;
use alloy_primitives::{Address, Bytes};
use opp2p_core::chain::{ChainConfig, ChainEvent, ChainView, ChainViewConfig, Origin, SkipReason};
use opp2p_core::payload::Block;
use opp2p_core::sequencer::{PublishError, PublishId};
use opp2p_core::time::Instant;
use serde_json::{Value, json};

/// Returns a record with two followers.
pub(in crate::devnet) fn report() -> Report {
    let node = |index: u16| NodeInfo {
        peer_id: format!("16Uiu2HAmJs8DPmkCTVkvCDnCZsF3HPUBTJ7Cx5vXpN2JQ2nZ{index:04}"),
        port: 9000 + index,
    };
    Report::new(Setup {
        chain_id: 901,
        fork: Fork::Jovian,
        block_time: ms(500),
        sequencer: node(0),
        followers: vec![node(1), node(2)],
        web: None,
    })
}

pub(in crate::devnet) const BOTH: [Member; 2] = [Member::Follower(0), Member::Follower(1)];

pub(in crate::devnet) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(in crate::devnet) fn block(number: u64) -> BlockId {
    BlockId::new(number, B256::repeat_byte(number as u8))
}

fn other(number: u64) -> BlockId {
    BlockId::new(number, B256::repeat_byte(0xee))
}

/// Publishes a block at `number` seconds.
pub(in crate::devnet) fn publish(report: &mut Report, number: u64) {
    report.published(block(number), 20, 30_000, ms(1000 * number));
    report.delivered(Member::Sequencer, block(number));
}

/// Accepts a block `latency` milliseconds after [`publish`], and delivers it.
pub(in crate::devnet) fn receive(report: &mut Report, member: Member, number: u64, latency: u64) {
    report.verdict(member, Ok(block(number)), ms(1000 * number + latency));
    report.delivered(member, block(number));
}

pub(in crate::devnet) fn in_order(report: &Report) -> [bool; 2] {
    [0, 1].map(|index| report.is_in_order(&report.followers[index]))
}

pub(in crate::devnet) fn states(report: &Report) -> [State; 2] {
    [0, 1].map(|index| report.followers[index].state(report.totals.newest))
}

fn figures(report: &Report) -> Option<Figures> {
    report.followers[0].latencies.figures()
}

pub(in crate::devnet) fn lines(report: &mut Report, now: Duration) -> Vec<String> {
    std::iter::from_fn(|| report.next_line(now)).collect()
}

#[test]
fn a_complete_run_is_ok_and_its_json_has_the_documented_shape() {
    let mut report = report();
    for number in 1..=4 {
        publish(&mut report, number);
        BOTH.into_iter().for_each(|member| receive(&mut report, member, number, number * 10));
    }
    report.verdict(BOTH[1], Err(Reason::AlreadySeen), ms(5000));
    report.peers(BOTH[0], 3);
    let text = serde_json::to_string(&report.summary(ms(6_250))).unwrap();
    let first = concat!(
        r#"{"ok":true,"blocks":4,"followers":["#,
        r#"{"peer_id":"16Uiu2HAmJs8DPmkCTVkvCDnCZsF3HPUBTJ7Cx5vXpN2JQ2nZ0001","#,
        r#""head":4,"received":4,"in_order":true,"latency_ms":{"p50":20.0,"p99":40.0,"max":40.0}"#
    );
    assert_eq!(&text[..first.len()], first);
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["followers"].as_array().map(Vec::len), Some(2));
    assert_eq!(json["followers"][0]["peers"], 3);
    assert_eq!(
        json["followers"][1]["verdicts"],
        json!({"accept": 4, "ignore": 1, "reject": 0, "reasons": {"already_seen": 1}})
    );
    assert_eq!(json["sequencer"]["head"], 4);
    assert_eq!(
        [
            &json["chain_id"],
            &json["fork"],
            &json["block_time"],
            &json["duration_s"],
            &json["bytes"]
        ],
        [&json!(901), &json!("jovian"), &json!(0.5), &json!(6.25), &json!(120_000)]
    );
}

#[test]
fn a_follower_without_blocks_has_null_head_and_latency_and_fails_the_run() {
    let mut report = report();
    publish(&mut report, 1);
    receive(&mut report, BOTH[0], 1, 5);
    let json = serde_json::to_value(report.summary(ms(2000))).unwrap();
    assert_eq!(json["ok"], false);
    let follower = &json["followers"][1];
    assert_eq!([&follower["head"], &follower["latency_ms"]], [&Value::Null, &Value::Null]);
    assert_eq!([&follower["received"], &follower["in_order"]], [&json!(0), &json!(false)]);
}

#[test]
fn missing_repeated_swapped_and_wrong_blocks_are_out_of_order() {
    let run = |numbers: &[BlockId]| {
        let mut report = report();
        (1..=3).for_each(|number| publish(&mut report, number));
        for id in numbers {
            report.verdict(BOTH[0], Ok(*id), ms(4000));
            report.delivered(BOTH[0], *id);
        }
        in_order(&report)[0]
    };
    assert!(run(&[block(1), block(2), block(3)]));
    assert!(!run(&[]));
    assert!(!run(&[block(1), block(2)]), "the last is missing");
    assert!(!run(&[block(2), block(3)]), "the first is missing");
    assert!(!run(&[block(1), block(3)]), "one between is missing");
    assert!(!run(&[block(1), block(2), block(2), block(3)]), "one comes twice");
    assert!(!run(&[block(1), block(3), block(2)]), "two are swapped");
    assert!(!run(&[block(1), other(2), block(3)]), "one has another hash");
    assert!(!run(&[block(0), block(1), block(2), block(3)]), "one was never published");
    assert!(!run(&[block(1), block(2), block(3), block(4)]), "one was never published");
}

#[test]
fn accepting_every_block_is_not_enough_to_be_in_order() {
    let mut report = report();
    publish(&mut report, 1);
    report.verdict(BOTH[0], Ok(block(1)), ms(1001));
    assert_eq!(report.followers[0].received, 1);
    assert_eq!(in_order(&report), [false, false]);
}

#[test]
fn a_follower_may_report_a_block_before_its_publisher() {
    let mut report = report();
    receive(&mut report, BOTH[0], 1, 7);
    report.verdict(BOTH[1], Ok(other(1)), ms(1003));
    report.delivered(BOTH[1], other(1));
    assert_eq!(report.followers[0].received, 0);
    publish(&mut report, 1);
    assert_eq!(in_order(&report), [true, false]);
    assert_eq!(figures(&report).map(|figures| figures.max), Some(ms(7)));
    assert_eq!(report.followers[1].received, 0);
    assert_eq!(report.followers[1].latencies.figures(), None);
}

#[test]
fn duplicate_reports_count_a_block_once_per_follower() {
    let mut report = report();
    publish(&mut report, 1);
    report.verdict(BOTH[0], Ok(block(1)), ms(1004));
    report.delivered(BOTH[0], block(1));
    report.verdict(BOTH[0], Ok(block(1)), ms(1900));
    report.published(other(1), 1, 1, ms(1950));
    assert_eq!((report.followers[0].received, report.totals.blocks), (1, 1));
    assert_eq!(figures(&report).map(|figures| figures.max), Some(ms(4)));
    assert!(in_order(&report)[0]);
}

#[test]
fn an_unknown_follower_and_a_clock_set_back_do_no_harm() {
    let mut report = report();
    publish(&mut report, 1);
    for number in [0, 1, u64::MAX] {
        report.verdict(Member::Follower(9), Ok(block(number)), ms(0));
        report.delivered(Member::Follower(usize::MAX), block(number));
    }
    report.verdict(BOTH[0], Ok(block(1)), ms(0));
    assert_eq!(figures(&report).map(|figures| figures.max), Some(Duration::ZERO));
    assert_eq!(Member::Follower(usize::MAX).to_string(), format!("follower {}", usize::MAX));
}

#[test]
fn reports_of_long_runs_stay_small_and_correct() {
    let mut report = report();
    let blocks = 3 * BLOCKS as u64;
    for number in 1..=blocks {
        publish(&mut report, number);
        receive(&mut report, BOTH[0], number, number);
        if number == blocks / 2 {
            report.verdict(BOTH[1], Err(Reason::TooOld), ms(1));
        }
        report.event(
            BOTH[1],
            &Event::SignerChanged {
                current: Some(Address::left_padding_from(&number.to_be_bytes())),
                previous: None,
            },
            ms(number),
        );
        lines(&mut report, ms(1000 * number));
    }
    assert_eq!((report.blocks.len(), report.notes.len()), (BLOCKS, NOTES));
    assert_eq!(in_order(&report), [true, false]);
    assert_eq!(report.followers[0].received, blocks);
    assert_eq!(
        report.followers[0].latencies.figures().map(|figures| figures.max),
        Some(ms(blocks))
    );
    // A forgotten block can't be checked any more.
    report.delivered(BOTH[1], block(1));
    assert_eq!(states(&report)[1], State::Disordered);
    report.published(block(1), 1, 1, ms(0));
    assert_eq!(report.totals.blocks, blocks);
}

#[test]
fn a_block_line_waits_for_its_followers_for_a_bounded_time() {
    let mut report = report();
    publish(&mut report, 1);
    publish(&mut report, 2);
    assert!(lines(&mut report, ms(2100)).is_empty());
    BOTH.into_iter().for_each(|member| receive(&mut report, member, 2, 4));
    receive(&mut report, BOTH[0], 1, 1500);
    // Block 2 is finished, but comes after block 1.
    assert!(lines(&mut report, ms(2999)).is_empty());
    assert_eq!(
        lines(&mut report, ms(3000)),
        [
            "block 1      0x01010101    20 txs   30.0 kB  1/2 followers  slowest 1500 ms",
            "block 2      0x02020202    20 txs   30.0 kB  2/2 followers  slowest 4.00 ms",
        ]
    );
    publish(&mut report, 3);
    assert_eq!(
        lines(&mut report, Duration::MAX),
        ["block 3      0x03030303    20 txs   30.0 kB  0/2 followers"]
    );
    assert!(lines(&mut report, Duration::MAX).is_empty());
}

#[test]
fn problems_are_noted_once_and_routine_verdicts_are_not() {
    let mut report = report();
    report.verdict(BOTH[0], Err(Reason::AlreadySeen), ms(1));
    report.verdict(BOTH[0], Err(Reason::WrongSigner), ms(2));
    report.verdict(BOTH[0], Err(Reason::WrongSigner), ms(3));
    report.verdict(BOTH[1], Err(Reason::WrongSigner), ms(4));
    report.verdict(BOTH[1], Err(Reason::Throttled), ms(5));
    let refused = |acceptance| [0, 1].map(|index| report.followers[index].refused(acceptance));
    assert_eq!((refused(Acceptance::Ignore), refused(Acceptance::Reject)), ([1, 1], [2, 1]));
    assert_eq!(
        lines(&mut report, ms(6)),
        [
            "follower 1: reject: signed by another key than the unsafe block signer's (2 times)",
            "follower 2: reject: signed by another key than the unsafe block signer's",
            "follower 2: ignore: validation is saturated",
        ]
    );
}

/// Returns the events of a view that gets blocks 1 and 4, then 3 and 2.
fn gap_events() -> Vec<Event> {
    let chain = ChainConfig::development(
        901,
        B256::ZERO,
        1_750_000_000,
        2,
        Fork::Jovian,
        Address::repeat_byte(2),
    );
    let mut maker = BlockMaker::new(&chain, 1);
    let blocks: Vec<Block> = (0..4)
        .map(|_| {
            let mut body = Vec::new();
            let version = maker.next(1_750_000_000).encode(&mut body).unwrap();
            Block::decode(version, None, Bytes::from(body)).unwrap()
        })
        .collect();
    let mut view = ChainView::new(ChainViewConfig::default());
    let mut events = Vec::new();
    for index in [0, 3, 2, 1] {
        let _ = view.insert(Instant::default(), blocks[index].clone(), Origin::Signed);
        while let Some(event) = view.poll_event() {
            use ChainEvent::{Extended, GapChanged, GapClosed, GapOpened};
            let expected =
                matches!(event, Extended(_) | GapOpened(_) | GapChanged(_) | GapClosed { .. });
            assert!(expected, "{event:?}");
            events.push(Event::Chain(event));
        }
    }
    events
}

#[test]
fn a_gap_is_shown_until_filled_and_its_blocks_are_reported() {
    let (mut report, events) = (report(), gap_events());
    for event in &events {
        if let Event::Chain(ChainEvent::Extended(block)) = event {
            report.published(BlockId::of(block), 1, block.body().len(), ms(0));
        }
    }
    let mut seen = Vec::new();
    for event in &events {
        report.event(BOTH[0], event, ms(10));
        if seen.last() != Some(&states(&report)[0]) {
            seen.push(states(&report)[0]);
        }
    }
    use State::{Behind, Gap, InSync};
    assert_eq!(seen, [Behind(3), Gap(2), Gap(1), Behind(3), Behind(2), Behind(1), InSync]);
    assert_eq!(in_order(&report), [true, false]);
    assert_eq!((report.followers[0].gaps_opened, report.followers[0].gaps.len()), (1, 0));
    let notes: Vec<&str> = report.notes.iter().map(|note| note.text.as_str()).collect();
    assert_eq!(notes, ["gap: 2 blocks missing below 4", "gap closed: filled"]);
}

#[test]
fn reorgs_equivocations_skips_and_failures_are_counted_and_noted() {
    let mut report = report();
    (1..=3).for_each(|number| publish(&mut report, number));
    (1..=3).for_each(|number| receive(&mut report, BOTH[0], number, 1));
    let reorg = Event::Chain(ChainEvent::Reorg {
        ancestor: block(2),
        abandoned: vec![block(3)],
        adopted: vec![other(3), other(4)],
    });
    report.event(BOTH[0], &reorg, ms(1));
    assert_eq!(report.followers[0].head, Some(block(2)));
    report.event(
        BOTH[0],
        &Event::Chain(ChainEvent::Equivocation { number: 3, first: block(3), second: other(3) }),
        ms(2),
    );
    let skipped = Event::Chain(ChainEvent::Skipped {
        from: block(3),
        to: other(9),
        reason: SkipReason::Patience,
        detached: false,
    });
    report.event(BOTH[0], &skipped, ms(3));
    let failed = Event::Published { id: PublishId(1), result: Err(PublishError::NoSigner) };
    report.event(Member::Sequencer, &failed, ms(4));
    report.event(
        Member::Sequencer,
        &Event::Published { id: PublishId(2), result: Ok(B256::ZERO) },
        ms(5),
    );
    report.delivered(BOTH[0], other(3));
    let summary = report.summary(ms(6));
    assert_eq!(
        (summary.reorgs, summary.equivocations, summary.followers[0].in_order),
        (1, 1, false)
    );
    assert_eq!(
        lines(&mut report, ms(6)),
        [
            "follower 1: reorg: 1 block above 2 replaced by 2",
            "follower 1: equivocation: block 3 is 0x03030303 and 0xeeeeeeee",
            "follower 1: left out: blocks 4 to 8",
            "sequencer: not published: node has no p2p signer, the block cannot be published",
        ]
    );
}

#[test]
fn the_table_has_a_row_per_node_and_names_the_failed_ones() {
    let mut report = report();
    for number in 1..=3 {
        publish(&mut report, number);
        receive(&mut report, BOTH[0], number, 5);
    }
    let text = report.summary(ms(1500)).to_string();
    assert!(text.starts_with(
        "devnet, chain 901, jovian, block time 0.5 s: 3 blocks, 60 transactions, 90.0 kB in 1.5 s\n"
    ));
    let row = |name: &str| {
        text.lines()
            .find(|line| line.starts_with(name))
            .unwrap()
            .split_whitespace()
            .skip(3)
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(row("follower 1"), "3 3 yes 3/0/0 5.00/5.00/5.00");
    assert_eq!(row("follower 2"), "- 0 NO 0/0/0 -");
    assert!(text.ends_with("not ok: 1 of 2 followers lack blocks or got them out of order"));
    for number in 1..=3 {
        receive(&mut report, BOTH[1], number, 5);
    }
    assert!(
        report
            .summary(ms(1500))
            .to_string()
            .ends_with("ok: every follower holds every block, in order")
    );
}

#[test]
fn the_page_address_is_printed_first_once_and_is_in_the_summary() {
    let url = "http://127.0.0.1:8080/".to_owned();
    let mut report = report();
    report.setup.web = Some(url.clone());
    publish(&mut report, 1);
    assert_eq!(report.next_line(ms(0)).unwrap(), format!("observer page: {url}"));
    assert!(report.next_line(Duration::MAX).unwrap().starts_with("block 1 "));
    assert_eq!(report.next_line(Duration::MAX), None);
    assert_eq!(report.summary(ms(0)).web, Some(url));
}
