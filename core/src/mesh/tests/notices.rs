//! Notices of large messages that are on their way.

use super::*;
use crate::mesh::send::{HEARD, MAX_INCOMING, MAX_RECEIVING, NOTICE_TIME, NOTICES_PER_PEER};
use std::ops::RangeInclusive;

const BIG: usize = 200_000;
/// The peer that has each message first.
const SOURCE: u16 = 1;
/// The peer that we would send each message to.
const PEER: u16 = 2;
/// Time for which such a message is held back: 250 ms, and a second for each megabyte.
const HOLD: Duration = Duration::from_millis(450);
/// Our extension, if all that it says is that we speak it.
const SPEAKS: [u8; 7] = [0x92, 0x83, 0xee, 0x1b, 2, 8, 1];

/// Connects a member of the mesh that speaks the extension.
fn join_as(bench: &mut Bench, number: u16, class: Class) {
    bench.connect_as(number, class, false, Version::V1_2);
    bench.say(number, |writer| {
        writer.subscription(BLOCKS, true);
        writer.speaks();
        writer.graft(BLOCKS);
    });
}

fn join(bench: &mut Bench, number: u16) {
    join_as(bench, number, Class::Node);
}

/// Returns a bench with a source and a peer of this class.
fn bench_with(class: Class) -> Bench {
    let mut bench = Bench::new();
    join(&mut bench, SOURCE);
    join_as(&mut bench, PEER, class);
    bench.said(PEER);
    bench
}

fn bench() -> Bench {
    bench_with(Class::Node)
}

fn sending(bench: &mut Bench, number: u16, id: Id) {
    bench.say(number, |writer| writer.sending(&[id]));
}

fn receiving(bench: &mut Bench, number: u16, id: Id) {
    bench.say(number, |writer| writer.receiving(&[id]));
}

/// Returns whether the peer was sent a message since it was last looked for.
fn got(bench: &mut Bench, data: &Bytes) -> bool {
    bench.said(PEER).contains(&Said::Message(data.clone()))
}

/// Returns which of these peers were told that we are receiving a message.
fn told(bench: &mut Bench, numbers: RangeInclusive<u16>, id: Id) -> Vec<u16> {
    numbers.filter(|number| bench.said(*number).contains(&Said::Receiving(id))).collect()
}

/// Takes and writes all that waits for these peers. Returns those that were handed a message.
fn handed(bench: &mut Bench, numbers: RangeInclusive<u16>, data: &Bytes) -> Vec<u16> {
    let mut got = Vec::new();
    for number in numbers {
        while let Some(frame) = bench.pull(number) {
            if frame.data() == data {
                got.push(number);
            }
            bench.wrote(number, frame.len());
        }
    }
    got
}

/// Returns how many messages notices held back and spared, up to the next heartbeat.
fn held_and_spared(bench: &mut Bench) -> (u64, u64) {
    bench.pass(secs(1));
    let counts = bench.router.counts();
    (counts.held, counts.spared)
}

fn id(number: u8) -> Id {
    Id::from([number; 20])
}

/// Returns a bench whose large message was announced to `PEER` and is not written yet, with that
/// message and its notice.
fn announced() -> (Bench, Bytes, Frame) {
    let mut bench = bench();
    bench.reads = false;
    let data = block(1, BIG);
    bench.publish(&data);
    let words = bench.pull(PEER).expect("that we have it");
    bench.wrote(PEER, words.len());
    let notice = bench.pull(PEER).expect("a notice");
    (bench, data, notice)
}

#[test]
fn each_new_stream_says_once_that_we_speak() {
    for (class, version, speaks) in [
        (Class::Node, Version::Floodsub, false),
        (Class::Node, Version::V1_0, true),
        (Class::Static, Version::V1_2, true),
        (Class::Browser, Version::V1_2, true),
    ] {
        let mut bench = Bench::new();
        bench.reads = false;
        bench.connect_as(1, class, false, version);
        let hello = bench.pull(1).expect("our subscriptions").to_vec();
        assert_eq!(hello.ends_with(&SPEAKS), speaks, "{class:?}, {version:?}");
        bench.input(Input::Join(topic(1)));
        let next = bench.pull(1).expect("another subscription").to_vec();
        assert!(!next.ends_with(&SPEAKS));
        bench.input(Input::WriterClosed { peer: peer(1), is_refused: false });
        bench.pass(millis(200));
        bench.input(Input::WriterOpened(peer(1), version));
        let hello = bench.pull(1).expect("our subscriptions").to_vec();
        assert_eq!(hello.ends_with(&SPEAKS), speaks, "{class:?}, {version:?}");
    }
}

#[test]
fn a_large_message_is_announced_right_before_it_is_sent() {
    for class in [Class::Node, Class::Browser] {
        let mut bench = bench_with(class);
        bench.reads = false;
        let data = block(1, BIG);
        bench.publish(&data);
        let words = bench.pull(PEER).expect("that we have it");
        assert_eq!(said_in(&words), [Said::IDontWant(vec![name(&data)])]);
        assert_eq!(bench.pull(PEER), None, "one after the other");
        bench.wrote(PEER, words.len());
        let notice = bench.pull(PEER).expect("a notice");
        assert_eq!(said_in(&notice), [Said::Sending(name(&data))]);
        let message = bench.pull(PEER).expect("at once");
        assert_eq!(message.data(), &data);
        assert_eq!(bench.pull(PEER), None);
        // The turn lasts until both are written.
        let turns = bench.router.sizes().turns;
        bench.wrote(PEER, message.len());
        assert_eq!(bench.router.sizes().turns, turns);
        bench.wrote(PEER, notice.len());
        assert_eq!(bench.router.sizes().turns, turns - 1);
    }
}

#[test]
fn other_words_between_a_notice_and_its_message_are_written_first() {
    let (mut bench, data, notice) = announced();
    bench.input(Input::Join(topic(1)));
    let words = bench.pull(PEER).expect("a subscription");
    assert_eq!(bench.pull(PEER), None);
    bench.outputs.clear();
    bench.wrote(PEER, notice.len() + words.len());
    let is_told =
        bench.outputs.iter().any(|output| matches!(output, Output::Transmit(to) if *to == peer(2)));
    assert!(is_told, "the shell is told that it may go on");
    assert_eq!(bench.pull(PEER).expect("the message").data(), &data, "without a second notice");
}

#[test]
fn small_messages_are_not_announced_and_not_held_back() {
    let mut bench = bench();
    let data = block(1, 10_000);
    receiving(&mut bench, PEER, name(&data));
    bench.send(SOURCE, &data);
    let said = bench.said(PEER);
    assert!(said.contains(&Said::Message(data)));
    assert!(!said.iter().any(|said| matches!(said, Said::Sending(_))));
}

#[test]
fn peers_that_do_not_speak_get_no_notice() {
    let mut bench = bench();
    bench.connect(3);
    bench.say(3, |writer| writer.graft(BLOCKS));
    bench.said(3);
    let data = block(1, BIG);
    bench.send(SOURCE, &data);
    sending(&mut bench, SOURCE, id(1));
    let said = bench.said(PEER);
    assert!(said.contains(&Said::Sending(name(&data))) && said.contains(&Said::Receiving(id(1))));
    let said = bench.said(3);
    assert!(said.contains(&Said::Message(data)));
    assert!(!said.iter().any(|said| matches!(said, Said::Sending(_) | Said::Receiving(_))));
}

#[test]
fn a_message_that_comes_after_the_notice_is_held_back_for_the_rest_of_the_time() {
    for (class, is_own) in
        [(Class::Node, false), (Class::Node, true), (Class::Browser, false), (Class::Browser, true)]
    {
        let mut bench = bench_with(class);
        let data = block(1, BIG);
        receiving(&mut bench, PEER, name(&data));
        bench.pass(millis(100));
        if is_own {
            assert_eq!(bench.publish(&data), (SendOutcome::Sent, 2));
        } else {
            bench.send(SOURCE, &data);
        }
        bench.pass(HOLD - millis(110));
        assert!(!got(&mut bench, &data), "{class:?}, {is_own}");
        bench.pass(millis(20));
        assert!(got(&mut bench, &data), "{class:?}, {is_own}");
        assert_eq!(held_and_spared(&mut bench), (1, 0));
    }
}

#[test]
fn a_notice_is_forgotten_when_it_is_old() {
    let mut bench = bench();
    let data = block(1, BIG);
    receiving(&mut bench, PEER, name(&data));
    bench.pass(secs(1));
    bench.send(SOURCE, &data);
    assert!(got(&mut bench, &data));
}

#[test]
fn turns_that_were_not_taken_go_to_others_after_a_notice() {
    let mut bench = bench();
    (3..=4).for_each(|number| join(&mut bench, number));
    bench.reads = false;
    let data = block(1, BIG);
    bench.send(SOURCE, &data);
    (2..=3).for_each(|number| receiving(&mut bench, number, name(&data)));
    assert_eq!(handed(&mut bench, 2..=4, &data), [4]);
    // A second notice has no effect.
    bench.pass(HOLD - millis(10));
    receiving(&mut bench, 2, name(&data));
    assert_eq!(handed(&mut bench, 2..=4, &data), [0_u16; 0]);
    bench.pass(millis(20));
    assert_eq!(handed(&mut bench, 2..=4, &data), [2, 3]);
}

#[test]
fn a_turn_that_was_announced_and_not_taken_is_announced_again() {
    let (mut bench, data, notice) = announced();
    receiving(&mut bench, PEER, name(&data));
    assert_eq!(bench.pull(PEER), None);
    bench.wrote(PEER, notice.len());
    bench.pass(HOLD + millis(10));
    assert_eq!(bench.pull(PEER), Some(notice));
    assert_eq!(bench.pull(PEER).expect("the message").data(), &data);
}

#[test]
fn a_message_that_the_peer_had_from_another_is_not_sent() {
    for by_copy in [false, true] {
        let mut bench = bench();
        let data = block(1, BIG);
        receiving(&mut bench, PEER, name(&data));
        bench.send(SOURCE, &data);
        bench.pass(millis(200));
        if by_copy {
            bench.send(PEER, &data);
        } else {
            bench.say(PEER, |writer| writer.idontwant(&[name(&data)]));
        }
        bench.pass(secs(4));
        assert!(!got(&mut bench, &data), "{by_copy}");
        assert_eq!(held_and_spared(&mut bench), (1, 1));
    }
}

#[test]
fn what_a_peer_asks_for_is_not_held_back() {
    let mut bench = bench();
    let data = block(1, BIG);
    receiving(&mut bench, PEER, name(&data));
    bench.send(SOURCE, &data);
    assert!(!got(&mut bench, &data));
    bench.say(PEER, |writer| writer.iwant(&[name(&data)]));
    assert!(got(&mut bench, &data));
    // An answer to a peer outside the mesh.
    join(&mut bench, 3);
    bench.say(3, |writer| writer.prune(BLOCKS, Some(600)));
    bench.reads = false;
    bench.say(3, |writer| writer.iwant(&[name(&data)]));
    receiving(&mut bench, 3, name(&data));
    assert_eq!(handed(&mut bench, 3..=3, &data), [3]);
}

#[test]
fn holding_a_message_back_makes_it_no_staler() {
    for (more, expected) in [(10, vec![PEER]), (120, vec![])] {
        let mut bench = bench();
        bench.reads = false;
        let data = block(1, BIG);
        bench.send(SOURCE, &data);
        bench.pass(millis(1900));
        receiving(&mut bench, PEER, name(&data));
        bench.pass(HOLD + millis(more));
        assert_eq!(handed(&mut bench, PEER..=PEER, &data), expected, "{more} ms");
    }
}

#[test]
fn the_hold_is_as_long_as_the_peer_usually_takes() {
    let mut bench = bench();
    for seed in 0..4 {
        let data = block(seed, BIG);
        bench.send(SOURCE, &data);
        bench.pass(millis(600));
        bench.say(PEER, |writer| writer.idontwant(&[name(&data)]));
        bench.pass(secs(4));
    }
    bench.said(PEER);
    let own = block(9, BIG);
    receiving(&mut bench, PEER, name(&own));
    bench.publish(&own);
    // One and a half times as long, and 20 ms.
    bench.pass(millis(910));
    assert!(!got(&mut bench, &own));
    bench.pass(millis(20));
    assert!(got(&mut bench, &own));
}

/// Relays a message, of which the peer says after a while that it has it. Returns whether it was
/// sent to the peer before.
fn relayed(bench: &mut Bench, seed: u64, is_noticed: bool, after: Duration) -> bool {
    let data = block(seed, BIG);
    if is_noticed {
        receiving(bench, PEER, name(&data));
    }
    bench.send(SOURCE, &data);
    bench.pass(after);
    let is_sent = got(bench, &data);
    bench.say(PEER, |writer| writer.idontwant(&[name(&data)]));
    bench.pass(secs(2));
    is_sent
}

#[test]
fn spared_copies_leave_the_statistics_alone() {
    let mut bench = bench();
    assert!((0..10).all(|seed| !relayed(&mut bench, seed, true, millis(100))));
    assert!(relayed(&mut bench, 10, false, millis(100)), "nothing is known about the peer");
    // It turns out to have messages first. That stays known.
    (20..30).for_each(|seed| _ = relayed(&mut bench, seed, false, millis(100)));
    assert!(!relayed(&mut bench, 30, false, millis(100)));
    assert!((40..50).all(|seed| !relayed(&mut bench, seed, true, millis(100))));
    assert!(!relayed(&mut bench, 50, false, millis(100)));
}

#[test]
fn a_hold_that_was_too_short_is_no_echo() {
    let mut bench = bench();
    (0..10).for_each(|seed| _ = relayed(&mut bench, seed, false, millis(100)));
    assert!((10..20).all(|seed| relayed(&mut bench, seed, true, HOLD + millis(50))));
    assert!(!relayed(&mut bench, 20, false, millis(100)));
}

#[test]
fn the_rest_of_the_mesh_is_told_once_what_we_are_receiving() {
    let mut bench = bench();
    (3..=4).for_each(|number| join(&mut bench, number));
    sending(&mut bench, SOURCE, id(1));
    assert_eq!(told(&mut bench, 1..=4, id(1)), [2, 3, 4]);
    // The same again, and one that crosses it.
    sending(&mut bench, SOURCE, id(1));
    sending(&mut bench, 3, id(1));
    assert_eq!(told(&mut bench, 1..=4, id(1)), [0_u16; 0]);
    bench.pass(NOTICE_TIME + secs(1));
    assert_eq!(bench.router.sizes().incoming, 0);
    sending(&mut bench, PEER, id(1));
    assert_eq!(told(&mut bench, 1..=4, id(1)), [1, 3, 4]);
}

#[test]
fn only_nodes_that_should_send_a_message_are_believed() {
    let mut bench = bench();
    bench.connect(3);
    bench.say(3, |writer| writer.graft(BLOCKS));
    join_as(&mut bench, 4, Class::Browser);
    join(&mut bench, 5);
    bench.say(5, |writer| writer.prune(BLOCKS, Some(600)));
    // One that does not speak, a browser, and one outside the mesh.
    for number in 3..=5 {
        sending(&mut bench, number, id(1));
        assert_eq!(told(&mut bench, 1..=5, id(1)), [0_u16; 0], "{number}");
    }
    bench.say(5, |writer| writer.ihave(BLOCKS, &[id(1)]));
    assert!(bench.said(5).contains(&Said::IWant(vec![id(1)])));
    sending(&mut bench, 5, id(1));
    assert_eq!(told(&mut bench, 1..=5, id(1)), [1, 2, 4], "it was asked for");
    let data = block(1, 500);
    bench.send(SOURCE, &data);
    sending(&mut bench, SOURCE, name(&data));
    assert_eq!(told(&mut bench, 1..=5, name(&data)), [0_u16; 0], "it is there");
    // An id of another length.
    let short = Id::new(&[1; 8]).expect("short");
    sending(&mut bench, SOURCE, short);
    assert_eq!(told(&mut bench, 1..=5, short), [0_u16; 0]);
}

#[test]
fn a_peer_speaks_until_its_connection_ends_or_it_begins_anew() {
    let mut bench = bench();
    let is_told = |bench: &mut Bench, number| {
        sending(bench, SOURCE, id(number));
        told(bench, PEER..=PEER, id(number)) == [PEER]
    };
    bench.input(Input::WriterClosed { peer: peer(PEER), is_refused: false });
    bench.pass(millis(200));
    bench.input(Input::WriterOpened(peer(PEER), Version::V1_2));
    assert!(is_told(&mut bench, 1));
    bench.input(Input::ReaderOpened(peer(PEER)));
    bench.say(PEER, |writer| writer.graft(BLOCKS));
    assert!(is_told(&mut bench, 2), "it only opened its stream again");
    // Another process behind the same connection.
    bench.input(Input::ReaderOpened(peer(PEER)));
    bench.hello(PEER);
    assert!(!is_told(&mut bench, 3));
    bench.say(PEER, ControlWriter::speaks);
    assert!(is_told(&mut bench, 4));
    bench.input(Input::Disconnected(peer(PEER)));
    bench.connect(PEER);
    bench.say(PEER, |writer| writer.graft(BLOCKS));
    assert!(!is_told(&mut bench, 5));
}

/// Announces what never comes. Returns whether we believed it.
fn lies(bench: &mut Bench, number: u8) -> bool {
    sending(bench, SOURCE, id(number));
    let is_believed = told(bench, PEER..=PEER, id(number)) == [PEER];
    bench.pass(NOTICE_TIME + secs(1));
    is_believed
}

#[test]
fn a_peer_whose_notices_are_broken_is_not_believed_for_a_while() {
    let mut bench = bench();
    let believed: Vec<bool> = (1..=5).map(|number| lies(&mut bench, number)).collect();
    assert_eq!(believed, [true, true, true, false, false]);
    assert_eq!((bench.router.counts().broken, bench.breaches(SOURCE)), (3, 0.0));
    // A minute makes up for one.
    bench.pass(secs(60));
    assert_eq!([6, 7].map(|number| lies(&mut bench, number)), [true, false]);
    assert!(bench.score(SOURCE) >= 0.0 && bench.mesh().contains(&SOURCE));
}

#[test]
fn large_messages_that_come_make_up_for_broken_notices() {
    for (length, is_believed) in [(BIG, true), (500, false)] {
        let mut bench = bench();
        assert!(lies(&mut bench, 1) && lies(&mut bench, 2));
        let data = block(1, length);
        sending(&mut bench, SOURCE, name(&data));
        bench.send(SOURCE, &data);
        assert!(lies(&mut bench, 3));
        assert_eq!(lies(&mut bench, 4), is_believed, "{length} bytes");
    }
}

#[test]
fn a_message_from_another_breaks_no_notice_and_a_slow_job_neither() {
    let mut bench = bench();
    let (first, second, own) = (block(1, BIG), block(2, BIG), block(3, BIG));
    for data in [&first, &second, &own] {
        sending(&mut bench, SOURCE, name(data));
    }
    bench.send(PEER, &first);
    bench.publish(&own);
    bench.names = false;
    bench.send(SOURCE, &second);
    bench.pass(NOTICE_TIME + secs(2));
    assert_eq!((bench.router.counts().broken, bench.router.sizes().incoming), (0, 1));
    let job = bench.jobs.remove(0);
    bench.input(Input::Named(job.run()));
    bench.pass(secs(1));
    assert_eq!((bench.router.counts().broken, bench.router.sizes().incoming), (0, 0));
}

#[test]
fn what_a_peer_announced_goes_with_it() {
    let mut bench = bench();
    sending(&mut bench, SOURCE, id(1));
    bench.said(PEER);
    bench.input(Input::Disconnected(peer(SOURCE)));
    assert_eq!(bench.router.sizes().incoming, 0);
    join(&mut bench, 3);
    sending(&mut bench, 3, id(1));
    assert_eq!(told(&mut bench, PEER..=PEER, id(1)), [PEER], "it may be told again");
}

#[test]
fn floods_of_notices_fill_no_memory() {
    let mut bench = Bench::new();
    (1..=12).for_each(|number| join(&mut bench, number));
    bench.reads = false;
    for number in 1..=12_u16 {
        let ids: Vec<Id> = (0..40_u8)
            .map(|at| {
                let mut bytes = [at; 20];
                bytes[..2].copy_from_slice(&number.to_be_bytes());
                Id::from(bytes)
            })
            .collect();
        bench.say(number, |writer| writer.sending(&ids));
        let sizes = bench.router.sizes();
        let expected = (NOTICES_PER_PEER * usize::from(number)).min(MAX_INCOMING);
        assert_eq!(sizes.incoming, expected);
        assert!(sizes.notices <= MAX_RECEIVING);
        bench.say(number, |writer| writer.receiving(&ids));
        assert!(bench.router.sizes().notices <= HEARD);
    }
    // The newest are sent.
    let newest = std::iter::from_fn(|| bench.pull(12)).flat_map(|frame| said_in(&frame));
    let notices = newest.filter(|said| matches!(said, Said::Receiving(_))).count();
    assert_eq!(notices, MAX_RECEIVING);
}
