//! Messages: named once, judged once, relayed after the verdict.

use super::*;

#[test]
fn nothing_is_relayed_before_the_verdict_and_only_what_is_accepted() {
    for (verdict, receivers) in [
        (Acceptance::Accept, vec![2, 3]),
        (Acceptance::Ignore, vec![]),
        (Acceptance::Reject, vec![]),
    ] {
        let mut bench = Bench::new();
        (1..=3).for_each(|number| bench.connect(number));
        bench.verdict = None;
        let data = block(1, 5000);
        bench.send(1, &data);
        assert_eq!(bench.receivers(&data), [0_u16; 0]);
        let (entry, from, named) = bench.validations.remove(0);
        assert_eq!((from, named), (peer(1), name(&data)));
        bench.input(Input::Verdict(entry, verdict));
        let mut got = bench.receivers(&data);
        got.sort_unstable();
        assert_eq!(got, receivers, "{verdict:?}");
        // A second verdict, and one for nothing.
        bench.input(Input::Verdict(entry, Acceptance::Accept));
        bench.input(Input::Verdict(EntryId(99), Acceptance::Reject));
        assert_eq!(bench.receivers(&data), [0_u16; 0]);
    }
}

#[test]
fn copies_in_flight_are_joined_and_named_once() {
    let mut bench = Bench::new();
    (1..=4).for_each(|number| bench.connect(number));
    bench.names = false;
    let data = block(1, 5000);
    (1..=3).for_each(|number| bench.send(number, &data));
    assert_eq!(bench.jobs.len(), 1);
    let job = bench.jobs.remove(0);
    assert_eq!((job.topic(), job.data()), (BLOCKS, &data));
    bench.input(Input::Named(job.run()));
    assert_eq!(bench.receivers(&data), [4], "everybody else sent it");
    // And after the verdict.
    bench.send(4, &data);
    assert!(bench.jobs.is_empty());
    let first = |bench: &Bench, number| {
        bench.router.score_of(bench.now, &peer(number)).blocks.first_message_deliveries
    };
    assert_eq!(
        (1..=4).map(|number| first(&bench, number)).collect::<Vec<_>>(),
        [1.0, 0.0, 0.0, 0.0]
    );
}

/// Returns two encodings of the same contents.
fn two_encodings() -> [Bytes; 2] {
    let contents = vec![7; 200];
    let literal = [&[200, 1, 0xf0, 199][..], &contents].concat();
    let both = [Bytes::from(literal), snappy::compress(&contents).into()];
    assert_eq!(name(&both[0]), name(&both[1]));
    assert_ne!(both[0], both[1]);
    both
}

#[test]
fn another_encoding_is_joined_by_its_name_and_judged_once() {
    let mut bench = Bench::new();
    (1..=3).for_each(|number| bench.connect(number));
    bench.verdict = None;
    let [first, second] = two_encodings();
    bench.send(1, &first);
    bench.send(2, &second);
    assert_eq!(bench.validations.len(), 1);
    bench.input(Input::Verdict(bench.validations[0].0, Acceptance::Reject));
    assert_eq!((1..=3).map(|n| bench.invalid(n)).collect::<Vec<_>>(), [1.0, 1.0, 0.0]);
    // Each may come again.
    bench.send(3, &second);
    assert_eq!((bench.validations.len(), bench.invalid(3)), (1, 1.0));
}

#[test]
fn one_peer_that_sends_two_encodings_is_at_fault() {
    let mut bench = Bench::new();
    (1..=2).for_each(|number| bench.connect(number));
    bench.verdict = None;
    let [first, second] = two_encodings();
    bench.send(1, &first);
    bench.send(2, &first);
    bench.send(1, &second);
    assert_eq!((bench.breaches(1), bench.breaches(2)), (1.0, 0.0));
}

#[test]
fn an_author_a_number_a_signature_and_a_key_are_forbidden_even_if_empty() {
    for field in [1_u8, 3, 5, 6] {
        let mut bench = Bench::new();
        bench.connect(1);
        let plain = Frame::message(BLOCKS, block(1, 80)).to_vec();
        let message = &plain[plain.len() - plain[2] as usize..];
        let with = [message, &[field << 3 | 2, 0]].concat();
        let mut frame = vec![with.len() as u8 + 2, 0x12, with.len() as u8];
        frame.extend(with);
        bench.receive(1, &frame);
        assert_eq!(bench.invalid(1), 1.0, "field {field}");
        assert!(bench.validations.is_empty() && bench.jobs.is_empty());
    }
}

#[test]
fn a_bomb_that_announces_too_much_is_rejected_without_a_job() {
    let mut bench = Bench::new();
    bench.connect(1);
    bench.names = false;
    bench.send(1, &Bytes::from_static(&[0x81, 0x80, 0x80, 5, 0]));
    assert_eq!((bench.jobs.len(), bench.invalid(1)), (0, 1.0));
}

#[test]
fn all_senders_of_a_rejected_message_pay_also_the_late_and_the_gone() {
    let mut bench = Bench::new();
    (1..=4).for_each(|number| bench.connect(number));
    bench.verdict = None;
    let data = block(1, 500);
    bench.send(1, &data);
    bench.send(2, &data);
    bench.input(Input::ApplicationScore(peer(2), 5.0));
    bench.input(Input::Disconnected(peer(2)));
    bench.input(Input::Verdict(bench.validations[0].0, Acceptance::Reject));
    bench.send(3, &data);
    bench.send(3, &data);
    assert_eq!((1..=4).map(|n| bench.invalid(n)).collect::<Vec<_>>(), [1.0, 1.0, 1.0, 0.0]);
    bench.connect(2);
    assert!(bench.score(2) < -100.0);
    // Also when the raw bytes are forgotten.
    bench.pass(secs(20));
    bench.send(4, &data);
    assert_eq!((bench.invalid(4), bench.validations.len()), (1.0, 1));
}

#[test]
fn an_ignored_message_stays_ignored_for_a_minute() {
    let mut bench = Bench::new();
    (1..=2).for_each(|number| bench.connect(number));
    bench.verdict = None;
    let data = block(1, 500);
    bench.send(1, &data);
    bench.input(Input::Verdict(bench.validations[0].0, Acceptance::Ignore));
    for _ in 0..3 {
        bench.pass(secs(20));
        bench.send(2, &data);
    }
    assert_eq!(bench.validations.len(), 1);
    bench.pass(secs(11));
    bench.send(2, &data);
    assert_eq!(bench.validations.len(), 2);
    assert_eq!((bench.invalid(1), bench.invalid(2)), (0.0, 0.0));
}

#[test]
fn our_own_message_that_comes_back_is_a_copy() {
    let mut bench = Bench::new();
    (1..=3).for_each(|number| bench.connect(number));
    bench.names = false;
    let data = block(1, 5000);
    assert_eq!(bench.publish(&data), (SendOutcome::Sent, 3));
    assert_eq!(bench.receivers(&data).len(), 3);
    bench.send(1, &data);
    bench.send(2, &data);
    assert!(bench.jobs.is_empty());
    assert_eq!((bench.receivers(&data), bench.invalid(1)), (vec![], 0.0));
    assert_eq!(bench.publish(&data), (SendOutcome::AlreadySent, 0));
}

#[test]
fn what_was_published_while_it_was_judged_is_sent_once() {
    let mut bench = Bench::new();
    (1..=3).for_each(|number| bench.connect(number));
    bench.verdict = None;
    let data = block(1, 5000);
    bench.send(1, &data);
    bench.publish(&data);
    bench.receivers(&data);
    bench.input(Input::Verdict(bench.validations[0].0, Acceptance::Accept));
    assert_eq!(bench.receivers(&data), [0_u16; 0]);
}

#[test]
fn own_messages_reach_d_peers_or_all_and_wait_without_any() {
    let mut bench = Bench::new();
    let data = block(1, 500);
    assert_eq!(bench.publish(&data), (SendOutcome::NoPeers, 0));
    (1..=20).for_each(|number| bench.connect(number));
    assert_eq!(bench.publish(&data), (SendOutcome::Sent, 8), "the same once more");
    let mut flood = Bench::with(|config| config.mesh.flood_publish = true);
    (1..=20).for_each(|number| flood.connect(number));
    assert_eq!(flood.publish(&data), (SendOutcome::Sent, 20));
}

#[test]
fn a_topic_that_we_left_has_a_fanout_for_a_while() {
    let mut bench = Bench::new();
    (1..=20).for_each(|number| bench.connect(number));
    bench.input(Input::Leave(topic(0)));
    let first = block(1, 500);
    assert_eq!(bench.publish(&first), (SendOutcome::Sent, 8));
    let mut chosen = bench.receivers(&first);
    let second = block(2, 500);
    bench.publish(&second);
    let mut again = bench.receivers(&second);
    chosen.sort_unstable();
    again.sort_unstable();
    assert_eq!(chosen, again);
    bench.pass(secs(12));
    bench.input(Input::Join(topic(0)));
    assert!(bench.mesh().iter().all(|number| (1..=20).contains(number)));
    assert!(chosen.iter().filter(|number| bench.mesh().contains(number)).count() >= 8);
    bench.input(Input::Leave(topic(0)));
    bench.publish(&block(3, 500));
    assert_eq!(bench.router.sizes().fanout, 8);
    bench.pass(secs(30));
    assert_eq!(bench.router.sizes().fanout, 0);
}

#[test]
fn one_frame_may_hold_dozens_of_messages() {
    let mut bench = Bench::new();
    bench.connect(1);
    bench.verdict = None;
    let messages: Vec<Vec<u8>> = (0..60)
        .map(|n| {
            let frame = Frame::message(BLOCKS, block(n, 1000)).to_vec();
            frame[2..].to_vec()
        })
        .collect();
    bench.input(Input::Frame(peer(1), messages.concat().into()));
    assert_eq!(bench.validations.len(), 60);
    assert_eq!(bench.breaches(1), 0.0);
}

#[test]
fn bombs_of_one_peer_do_not_delay_the_messages_of_others() {
    let mut bench = Bench::new();
    (1..=2).for_each(|number| bench.connect(number));
    bench.names = false;
    for seed in 0..10 {
        bench.send(1, &block(seed, 500_000));
    }
    let small = block(100, 500);
    bench.send(2, &small);
    assert_eq!(bench.jobs.len(), 3, "two of a peer at a time");
    assert_eq!(bench.jobs[2].data(), &small);
    let job = bench.jobs.remove(0);
    bench.input(Input::Named(job.run()));
    assert_eq!(bench.jobs.len(), 3);
}

#[test]
fn a_job_whose_result_never_comes_does_not_hold_its_place_for_ever() {
    let mut bench = Bench::new();
    (1..=2).for_each(|number| bench.connect(number));
    bench.names = false;
    bench.send(1, &block(1, 500));
    bench.verdict = None;
    bench.pass(secs(70));
    assert_eq!(bench.router.sizes().judging, 0);
    let late = bench.jobs.remove(0);
    bench.input(Input::Named(late.run()));
    assert!(bench.validations.is_empty());
}

#[test]
fn a_bad_score_survives_a_reconnect_and_a_good_one_does_not() {
    let mut bench = Bench::new();
    (1..=2).for_each(|number| bench.connect(number));
    bench.send(1, &block(1, 500));
    assert!(bench.score(1) > 0.0);
    bench.verdict = Some(Acceptance::Reject);
    bench.send(2, &block(2, 500));
    let before = bench.score(2);
    (1..=2).for_each(|number| bench.input(Input::Disconnected(peer(number))));
    bench.pass(secs(60));
    (1..=2).for_each(|number| bench.connect(number));
    assert!(bench.score(1) == 0.0 && bench.score(2) <= before + 20.0);
    // Until it is forgotten.
    bench.input(Input::Disconnected(peer(2)));
    bench.pass(secs(1300));
    assert_eq!(bench.router.sizes().scored, 1);
}

#[test]
fn relaying_copies_no_data() {
    let mut bench = Bench::new();
    (1..=3).for_each(|number| bench.connect(number));
    bench.reads = false;
    let data = block(1, 5000);
    let frame: Bytes = Frame::message(BLOCKS, data).to_vec().split_off(2).into();
    bench.input(Input::Frame(peer(1), frame.clone()));
    let sent: Vec<Frame> = std::iter::from_fn(|| bench.pull(2)).collect();
    let sent = sent.last().expect("relayed").data();
    let within = frame.as_ptr_range();
    assert!(within.contains(&sent.as_ptr()), "the memory of the frame that came");
}
