//! Streams that open, close, fail and are refused.

use super::*;

fn opened(bench: &mut Bench) -> usize {
    let count = bench.outputs.iter().filter(|o| matches!(o, Output::OpenWriter(_))).count();
    bench.outputs.clear();
    count
}

#[test]
fn our_stream_is_opened_when_the_peer_shows_what_it_speaks_or_after_a_while() {
    let connect = |bench: &mut Bench| {
        let peer = peer(1);
        bench.input(Input::Connected {
            peer,
            class: Class::Node,
            is_outbound: true,
            ips: Vec::new(),
        });
        assert_eq!(opened(bench), 0);
    };
    let mut bench = Bench::new();
    connect(&mut bench);
    bench.input(Input::Supports(peer(1)));
    bench.input(Input::Supports(peer(1)));
    assert_eq!(opened(&mut bench), 1);
    let mut bench = Bench::new();
    connect(&mut bench);
    bench.input(Input::ReaderOpened(peer(1)));
    assert_eq!(opened(&mut bench), 1);
    let mut bench = Bench::new();
    connect(&mut bench);
    bench.pass(millis(2_999));
    assert_eq!(opened(&mut bench), 0, "go opens its stream after identify only");
    bench.pass(millis(1));
    assert_eq!(opened(&mut bench), 1);
    assert_eq!(bench.score(1), 0.0, "and is not judged before");
}

#[test]
fn each_new_stream_begins_with_our_subscriptions() {
    let mut bench = Bench::new();
    bench.connect(1);
    bench.say(1, |writer| writer.graft(BLOCKS));
    assert!(bench.said(1).contains(&Said::Subscribe(BLOCKS.into(), true)));
    bench.input(Input::WriterClosed { peer: peer(1), is_refused: false });
    assert!(bench.mesh().is_empty(), "a dead link is not a link");
    bench.pass(millis(100));
    assert_eq!(opened(&mut bench), 1 + 1);
    bench.input(Input::WriterOpened(peer(1), Version::V1_2));
    assert_eq!(bench.said(1)[0], Said::Subscribe(BLOCKS.into(), true));
}

#[test]
fn a_stream_that_fails_is_opened_again_a_few_times() {
    let mut bench = Bench::new();
    bench.connect(1);
    opened(&mut bench);
    let mut attempts = 0;
    for _ in 0..10 {
        bench.input(Input::WriterClosed { peer: peer(1), is_refused: false });
        bench.pass(secs(11));
        let again = opened(&mut bench);
        attempts += again;
        if again > 0 {
            bench.input(Input::WriterOpened(peer(1), Version::V1_2));
        }
        // Its own streams don't change that.
        bench.input(Input::ReaderOpened(peer(1)));
        attempts += opened(&mut bench);
    }
    assert_eq!(attempts, 4);
    // After many failures, the end of their window is the next time.
    bench.pass(REOPEN_WINDOW);
    assert_eq!(opened(&mut bench), 1);
    bench.input(Input::WriterClosed { peer: peer(1), is_refused: true });
    bench.input(Input::Supports(peer(1)));
    assert_eq!(opened(&mut bench), 1);
}

#[test]
fn a_refusal_lasts_until_the_peer_says_otherwise() {
    let mut bench = Bench::new();
    bench.input(Input::Connected {
        peer: peer(1),
        class: Class::Node,
        is_outbound: true,
        ips: Vec::new(),
    });
    bench.pass(secs(4));
    assert_eq!(opened(&mut bench), 1);
    bench.input(Input::WriterClosed { peer: peer(1), is_refused: true });
    bench.pass(secs(1000));
    assert_eq!(opened(&mut bench), 0);
    bench.input(Input::Supports(peer(1)));
    assert_eq!(opened(&mut bench), 1);
}

#[test]
fn subscriptions_outlive_a_stream_unless_the_next_brings_others() {
    let mut bench = Bench::new();
    bench.connect(1);
    // rust-libp2p reopens its stream and says nothing again.
    bench.input(Input::ReaderOpened(peer(1)));
    bench.say(1, |writer| writer.graft(BLOCKS));
    assert_eq!(bench.router.subscribed(topic(0)), 1);
    // Another process behind the same connection says what it wants.
    bench.input(Input::ReaderOpened(peer(1)));
    bench.say(1, |writer| writer.subscription(OTHER, true));
    assert_eq!((bench.router.subscribed(topic(0)), bench.router.subscribed(topic(1))), (0, 1));
    assert!(bench.mesh().is_empty());
}

#[test]
fn too_many_streams_of_a_peer_are_reset() {
    let mut bench = Bench::new();
    bench.connect(1);
    for _ in 0..4 {
        bench.input(Input::ReaderOpened(peer(1)));
    }
    let resets = |bench: &Bench| {
        bench.outputs.iter().filter(|o| matches!(o, Output::ResetReader(_))).count()
    };
    assert_eq!(resets(&bench), 0);
    bench.input(Input::ReaderOpened(peer(1)));
    assert_eq!(resets(&bench), 1);
    bench.pass(READERS_WINDOW);
    bench.input(Input::ReaderOpened(peer(1)));
    assert_eq!(resets(&bench), 1);
}

#[test]
fn a_malformed_frame_resets_the_stream_and_changes_nothing() {
    let mut bench = Bench::new();
    bench.connect(1);
    bench.said(1);
    // A subscription's end, then garbage.
    let mut writer = ControlWriter::default();
    writer.subscription(BLOCKS, false);
    let mut frame = writer.finish().expect("not empty").to_vec().split_off(1);
    frame.push(0x0b);
    bench.input(Input::Frame(peer(1), frame.into()));
    assert!(bench.outputs.iter().any(|o| matches!(o, Output::ResetReader(_))));
    assert_eq!(bench.router.subscribed(topic(0)), 1);
    assert_eq!(bench.breaches(1), 1.0);
}

#[test]
fn each_version_is_told_what_it_understands() {
    for (version, has_mesh, backoff, idontwant) in [
        (Version::Floodsub, false, 0, false),
        (Version::V1_0, true, 0, false),
        (Version::V1_1, true, 10, false),
        (Version::V1_2, true, 10, true),
        (Version::V1_3, true, 10, true),
    ] {
        let mut bench = Bench::new();
        bench.connect_as(1, Class::Node, false, version);
        bench.hello(1);
        bench.connect(2);
        let said = bench.said(1);
        assert_eq!(said.contains(&Said::Graft(BLOCKS.into())), has_mesh, "{version:?}");
        let data = block(1, 2000);
        bench.send(2, &data);
        let said = bench.said(1);
        assert!(said.contains(&Said::Message(data)), "{version:?} gets messages");
        assert_eq!(said.iter().any(|s| matches!(s, Said::IDontWant(_))), idontwant, "{version:?}");
        bench.input(Input::Leave(topic(0)));
        let said = bench.said(1);
        assert!(said.contains(&Said::Subscribe(BLOCKS.into(), false)));
        assert_eq!(said.contains(&Said::Prune(BLOCKS.into(), backoff)), has_mesh, "{version:?}");
    }
}

#[test]
fn a_peer_is_in_the_mesh_again_once_its_stream_is() {
    let mut bench = Bench::new();
    bench.connect_as(1, Class::Browser, false, Version::V1_2);
    bench.hello(1);
    bench.say(1, |writer| writer.graft(BLOCKS));
    bench.connect(2);
    let fail = |bench: &mut Bench, number| {
        bench.input(Input::WriterClosed { peer: peer(number), is_refused: false });
        assert!(!bench.mesh().contains(&number));
        bench.said(number);
        bench.pass(millis(200));
        bench.input(Input::WriterOpened(peer(number), Version::V1_2));
        bench.said(number).contains(&Said::Graft(BLOCKS.into()))
    };
    assert!(fail(&mut bench, 1) && fail(&mut bench, 2));
    assert_eq!(bench.mesh(), [1, 2].into());
    // One that wanted to leave stays out.
    bench.say(1, |writer| writer.prune(BLOCKS, Some(60)));
    assert!(!fail(&mut bench, 1));
    assert_eq!(bench.mesh(), [2].into());
}
