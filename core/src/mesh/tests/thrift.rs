//! Peers that have large messages from other peers first.

use super::*;
use crate::mesh::send::{ECHOES, MAX_HOLD};

const BIG: usize = 200_000;
/// The peer that has each message first.
const SOURCE: u16 = 1;
/// The peer that we would send each message to.
const PEER: u16 = 2;

fn bench() -> Bench {
    let mut bench = Bench::new();
    for number in [SOURCE, PEER] {
        bench.connect(number);
        bench.say(number, |writer| writer.graft(BLOCKS));
    }
    bench.said(PEER);
    bench
}

/// Delivers a large message. Returns whether it was sent to the peer within `wait`, and whether it
/// was sent after that, when the peer may have announced it.
fn relayed(bench: &mut Bench, seed: u64, wait: Duration, has: bool) -> (bool, bool) {
    let data = block(seed, BIG);
    let sent = |bench: &mut Bench| bench.said(PEER).contains(&Said::Message(data.clone()));
    bench.send(SOURCE, &data);
    bench.pass(wait);
    let early = sent(bench);
    if has {
        bench.say(PEER, |writer| writer.idontwant(&[name(&data)]));
    }
    bench.pass(secs(4));
    (early, sent(bench))
}

const WAIT: Duration = Duration::from_millis(100);

#[test]
fn a_peer_that_has_large_messages_before_is_sent_no_more_of_them() {
    let mut bench = bench();
    let early: Vec<bool> =
        (0..10).map(|seed| relayed(&mut bench, seed, WAIT, true)).map(|(early, _)| early).collect();
    assert!(early[..2].iter().all(|early| *early), "until it is known: {early:?}");
    assert!(early[2..].iter().all(|early| !early), "{early:?}");
    // Small messages are never held back.
    let small = block(50, 500);
    bench.send(SOURCE, &small);
    assert!(bench.said(PEER).contains(&Said::Message(small)));
}

#[test]
fn a_copy_that_is_needed_comes_late_once_and_then_at_once() {
    let mut bench = bench();
    (0..10).for_each(|seed| _ = relayed(&mut bench, seed, WAIT, true));
    // Its other source is gone.
    assert_eq!(relayed(&mut bench, 20, WAIT, false), (false, true));
    let after: Vec<_> = (21..24).map(|seed| relayed(&mut bench, seed, WAIT, false)).collect();
    assert!(after[1..].iter().all(|at| *at == (true, false)), "{after:?}");
}

#[test]
fn a_copy_is_held_back_for_a_second_at_most() {
    let mut bench = bench();
    // It always announces messages late.
    (0..2).for_each(|seed| _ = relayed(&mut bench, seed, secs(2), true));
    assert!(!relayed(&mut bench, 20, millis(900), true).0);
    assert!(relayed(&mut bench, 21, MAX_HOLD + millis(10), true).0);
}

#[test]
fn a_copy_in_return_counts_like_idontwant() {
    let mut bench = bench();
    for seed in 0..6 {
        let data = block(seed, BIG);
        bench.send(SOURCE, &data);
        bench.pass(WAIT);
        bench.send(PEER, &data);
        bench.pass(secs(1));
    }
    bench.said(PEER);
    assert!(!relayed(&mut bench, 20, WAIT, true).0);
}

#[test]
fn a_peer_that_can_not_say_so_gets_everything_at_once() {
    let mut bench = Bench::new();
    bench.connect(SOURCE);
    bench.connect_as(PEER, Class::Node, false, Version::V1_1);
    bench.hello(PEER);
    bench.say(PEER, |writer| writer.graft(BLOCKS));
    bench.said(PEER);
    for seed in 0..10 {
        assert!(relayed(&mut bench, seed, WAIT, true).0, "{seed}");
    }
}

#[test]
fn a_peer_that_says_idontwant_to_the_sender_too_gets_everything_at_once() {
    // We are its only source, and go-libp2p-pubsub up to 0.13 answers each of our copies.
    let mut bench = bench();
    let mut late = Vec::new();
    for seed in 0..60 {
        let data = block(seed, BIG);
        bench.send(SOURCE, &data);
        let mut waited = 0;
        while !bench.said(PEER).contains(&Said::Message(data.clone())) {
            bench.pass(millis(10));
            waited += 10;
        }
        if waited > 0 {
            late.push(seed);
        }
        bench.pass(millis(150));
        bench.say(PEER, |writer| writer.idontwant(&[name(&data)]));
        bench.pass(secs(2));
    }
    assert_eq!(late.len(), usize::from(ECHOES), "{late:?}");
    assert!(late.iter().all(|seed| *seed < 10), "{late:?}");
}

#[test]
fn our_own_messages_are_never_held_back() {
    let mut bench = bench();
    (0..10).for_each(|seed| _ = relayed(&mut bench, seed, WAIT, true));
    let own = block(100, BIG);
    bench.publish(&own);
    assert!(bench.said(PEER).contains(&Said::Message(own)));
}

#[test]
fn a_copy_that_is_asked_for_is_held_back_no_longer() {
    let mut bench = bench();
    (0..10).for_each(|seed| _ = relayed(&mut bench, seed, WAIT, true));
    let data = block(100, BIG);
    bench.send(SOURCE, &data);
    assert!(!bench.said(PEER).contains(&Said::Message(data.clone())));
    bench.say(PEER, |writer| writer.iwant(&[name(&data)]));
    assert!(bench.said(PEER).contains(&Said::Message(data)));
}

#[test]
fn copies_are_found_to_be_needed_at_five_large_messages_a_second() {
    let mut bench = bench();
    (0..10).for_each(|seed| _ = relayed(&mut bench, seed, WAIT, true));
    // Its other source is gone.
    let mut at_once = Vec::new();
    for seed in 100..150 {
        let data = block(seed, BIG);
        bench.send(SOURCE, &data);
        at_once.push(bench.said(PEER).contains(&Said::Message(data)));
        bench.pass(millis(200));
        bench.said(PEER);
    }
    assert!(!at_once[0]);
    assert!(at_once[25..].iter().all(|at_once| *at_once), "{at_once:?}");
}

/// Says that a peer speaks our extension, so that it acknowledges large messages.
fn speak(bench: &mut Bench) {
    bench.say(PEER, |writer| {
        writer.subscription(BLOCKS, true);
        writer.speaks();
    });
    bench.said(PEER);
}

/// Delivers a large message, and waits until it is sent to the peer. Returns how long that took.
fn late(bench: &mut Bench, seed: u64) -> Duration {
    let data = block(seed, BIG);
    let begin = bench.now;
    bench.send(SOURCE, &data);
    while !bench.said(PEER).contains(&Said::Message(data.clone())) {
        assert!(bench.now.since(begin) < secs(2));
        bench.pass(millis(10));
    }
    bench.now.since(begin)
}

#[test]
fn idontwant_of_a_peer_that_acknowledges_is_no_echo() {
    let mut bench = bench();
    speak(&mut bench);
    for seed in 0..20 {
        let held = late(&mut bench, seed);
        assert_eq!(held > Duration::ZERO, seed > 1, "{seed}: {held:?}");
        // Its other copy is always a little later than ours.
        bench.pass(millis(10));
        bench.say(PEER, |writer| writer.idontwant(&[name(&block(seed, BIG))]));
        bench.pass(secs(2));
    }
}

#[test]
fn an_acknowledged_copy_counts_as_needed_at_once() {
    let mut bench = bench();
    speak(&mut bench);
    (0..10).for_each(|seed| _ = relayed(&mut bench, seed, WAIT, true));
    assert!(late(&mut bench, 20) > Duration::ZERO);
    bench.say(PEER, |writer| writer.received(&[name(&block(20, BIG))]));
    assert_eq!(late(&mut bench, 21), Duration::ZERO, "less than three seconds later");
}
