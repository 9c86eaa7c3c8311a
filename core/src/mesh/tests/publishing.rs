//! Messages of our own that no node takes at first, and what the router tells its owner.

use super::*;

fn outcome(bench: &mut Bench, data: &Bytes) -> SendOutcome {
    bench.publish(data).0
}

#[test]
fn a_message_that_only_browsers_took_is_published_again_until_a_node_has_it() {
    let mut bench = Bench::new();
    bench.connect_as(1, Class::Browser, false, Version::V1_2);
    bench.hello(1);
    bench.say(1, |writer| writer.graft(BLOCKS));
    let data = block(1, 2000);
    assert_eq!(outcome(&mut bench, &data), SendOutcome::NoPeers);
    assert_eq!(bench.receivers(&data), [1]);
    assert_eq!(outcome(&mut bench, &data), SendOutcome::NoPeers);
    assert!(bench.receivers(&data).is_empty(), "it has it");
    bench.connect(2);
    assert_eq!(outcome(&mut bench, &data), SendOutcome::Sent);
    assert_eq!(bench.receivers(&data), [2]);
    assert_eq!(outcome(&mut bench, &data), SendOutcome::AlreadySent);
}

#[test]
fn browsers_suffice_where_there_are_no_nodes() {
    let mut bench = Bench::with(|config| config.browsers_suffice = true);
    bench.connect_as(1, Class::Browser, false, Version::V1_2);
    bench.hello(1);
    bench.say(1, |writer| writer.graft(BLOCKS));
    let data = block(1, 2000);
    assert_eq!(outcome(&mut bench, &data), SendOutcome::Sent);
    assert_eq!(outcome(&mut bench, &data), SendOutcome::AlreadySent);
}

#[test]
fn a_message_for_which_no_queue_has_room_is_not_taken_for_sent() {
    let mut bench = Bench::new();
    bench.reads = false;
    bench.connect(1);
    let others: Vec<Bytes> =
        (0..crate::gossip::OUTBOUND_QUEUE as u64).map(|seed| block(1000 + seed, 100)).collect();
    for data in &others {
        assert_eq!(outcome(&mut bench, data), SendOutcome::Sent);
    }
    let data = block(1, 2000);
    for _ in 0..2 {
        assert_eq!(outcome(&mut bench, &data), SendOutcome::NoPeers);
    }
    while let Some(frame) = bench.pull(1) {
        bench.wrote(1, frame.len());
    }
    assert_eq!(outcome(&mut bench, &data), SendOutcome::Sent);
}

#[test]
fn a_message_that_fits_into_no_frame_is_refused() {
    let mut bench = Bench::new();
    bench.connect(1);
    let data: Bytes = vec![0; wire::MAX_FRAME].into();
    assert!(matches!(outcome(&mut bench, &data), SendOutcome::Failed(_)));
    assert_eq!(bench.router.sizes().cached, 0);
}

#[test]
fn a_message_that_could_not_be_named_stays_unseen() {
    let mut bench = Bench::new();
    bench.names = false;
    bench.connect(1);
    let data = block(1, 2000);
    bench.send(1, &data);
    let entry = bench.jobs[0].entry();
    for _ in 0..2 {
        bench.input(Input::NamingFailed(entry));
        assert_eq!(bench.router.sizes().judging, 0);
    }
    bench.input(Input::Named(bench.jobs[0].clone().run()));
    assert_eq!(bench.router.sizes().seen, 0, "the result comes too late");
    bench.send(1, &data);
    assert_eq!(bench.jobs.len(), 2);
    bench.input(Input::Named(bench.jobs[1].clone().run()));
    assert_eq!(bench.router.sizes().cached, 1);
}

#[test]
fn the_owner_learns_at_once_whose_penalties_grew() {
    let mut bench = Bench::new();
    (1..=2).for_each(|number| bench.connect(number));
    assert_eq!(bench.router.poll_fallen(), None);
    bench.input(Input::Malformed(peer(2)));
    assert_eq!(bench.router.poll_fallen(), Some(peer(2)));
    bench.input(Input::Blame(peer(1), topic(0)));
    bench.input(Input::Disconnected(peer(1)));
    assert_eq!(bench.router.poll_fallen(), Some(peer(1)), "also if it has left");
    assert_eq!(bench.router.poll_fallen(), None);
    assert_eq!(bench.invalid(1), 1.0);
    // Without the application's part.
    bench.input(Input::ApplicationScore(peer(2), 9.0));
    let conduct = bench.router.conduct_of(bench.now, &peer(2));
    let whole = bench.router.score_of(bench.now, &peer(2));
    assert_eq!((whole.total - conduct.total, conduct.behavioural_penalty), (9.0, 1.0));
}

#[test]
fn a_large_message_follows_when_the_words_before_it_are_written() {
    let mut bench = Bench::new();
    bench.connect(1);
    bench.reads = false;
    let data = block(1, 100_000);
    assert_eq!(outcome(&mut bench, &data), SendOutcome::Sent);
    let words = bench.pull(1).expect("that we have it");
    assert!(words.data().is_empty());
    assert_eq!(bench.pull(1), None, "one after the other");
    bench.outputs.clear();
    bench.wrote(1, words.len());
    assert!(matches!(bench.outputs[..], [Output::Transmit(to)] if to == peer(1)));
    assert_eq!(bench.pull(1).map(|frame| frame.data().clone()), Some(data));
}
