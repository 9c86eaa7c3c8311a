//! GRAFT, PRUNE, back-offs, and the shape of the mesh.

use super::*;

fn grafted(said: &[Said]) -> bool {
    said.contains(&Said::Graft(BLOCKS.into()))
}

fn pruned(said: &[Said]) -> Option<u64> {
    said.iter().find_map(|said| match said {
        Said::Prune(topic, backoff) if topic == BLOCKS => Some(*backoff),
        _ => None,
    })
}

#[test]
fn a_starting_node_does_not_wait_for_its_heartbeat() {
    let mut bench = Bench::new();
    (1..=10).for_each(|number| bench.connect(number));
    assert_eq!(bench.mesh().len(), 6);
    for number in 1..=10 {
        let said = bench.said(number);
        assert_eq!(said[0], Said::Subscribe(BLOCKS.into(), true));
        assert_eq!(grafted(&said), bench.mesh().contains(&number));
    }
    bench.pass(secs(2));
    assert_eq!(bench.mesh().len(), 6);
}

#[test]
fn a_small_mesh_is_filled_up_to_d() {
    let mut bench = Bench::new();
    (1..=10).for_each(|number| bench.connect(number));
    let members: Vec<u16> = bench.mesh().into_iter().collect();
    bench.input(Input::Disconnected(peer(members[0])));
    bench.pass(secs(1));
    assert_eq!(bench.mesh().len(), 8);
}

#[test]
fn no_peer_is_grafted_within_a_backoff() {
    let mut bench = Bench::new();
    bench.connect(1);
    assert!(grafted(&bench.said(1)));
    bench.say(1, |writer| writer.prune(BLOCKS, Some(30)));
    assert!(bench.mesh().is_empty());
    bench.pass(millis(30_900));
    assert!(!grafted(&bench.said(1)), "two heartbeats of slack");
    bench.pass(millis(1_100));
    assert!(grafted(&bench.said(1)));
    // Nor when the peer comes back.
    bench.say(1, |writer| writer.prune(BLOCKS, Some(30)));
    bench.input(Input::Disconnected(peer(1)));
    bench.connect(1);
    bench.pass(secs(20));
    assert!(!grafted(&bench.said(1)));
}

#[test]
fn a_prune_without_a_time_means_a_minute_and_one_without_end_an_hour() {
    for (backoff, seconds) in [(None, 60), (Some(0), 60), (Some(u64::MAX), 3600), (Some(7), 7)] {
        let mut bench = Bench::new();
        bench.connect(1);
        bench.said(1);
        bench.say(1, |writer| writer.prune(BLOCKS, backoff));
        bench.pass(secs(seconds));
        assert!(!grafted(&bench.said(1)), "{backoff:?}");
        bench.pass(secs(2));
        assert!(grafted(&bench.said(1)), "{backoff:?}");
    }
}

#[test]
fn a_shorter_backoff_does_not_replace_a_longer_one() {
    let mut bench = Bench::new();
    bench.connect(1);
    bench.say(1, |writer| writer.prune(BLOCKS, Some(60)));
    bench.say(1, |writer| writer.prune(BLOCKS, Some(1)));
    bench.said(1);
    bench.pass(secs(50));
    assert!(!grafted(&bench.said(1)));
}

#[test]
fn an_early_graft_is_refused_costs_and_starts_the_minute_again() {
    let mut bench = Bench::new();
    bench.connect(1);
    bench.input(Input::Leave(topic(0)));
    bench.input(Input::Join(topic(0)));
    assert_eq!(pruned(&bench.said(1)), Some(10));
    let mut graft = |wait: Duration| {
        bench.pass(wait);
        let before = bench.breaches(1);
        bench.say(1, |writer| writer.graft(BLOCKS));
        assert_eq!(pruned(&bench.said(1)), Some(60));
        (bench.breaches(1) - before).round()
    };
    assert_eq!(graft(secs(1)), 1.0);
    assert_eq!(graft(millis(500)), 2.0, "a flood counts twice");
    assert_eq!(graft(secs(11)), 1.0);
    assert_eq!(graft(secs(59)), 1.0);
    assert!(bench.mesh().is_empty());
}

#[test]
fn leaving_a_topic_prunes_briefly_and_joining_again_waits_as_well() {
    let mut bench = Bench::new();
    bench.connect(1);
    bench.said(1);
    bench.input(Input::Leave(topic(0)));
    let left = [Said::Subscribe(BLOCKS.into(), false), Said::Prune(BLOCKS.into(), 10)];
    assert_eq!(bench.said(1), left);
    bench.input(Input::Join(topic(0)));
    bench.pass(secs(10));
    assert_eq!(bench.said(1), [Said::Subscribe(BLOCKS.into(), true)]);
    bench.pass(secs(2));
    assert_eq!(bench.said(1), [Said::Graft(BLOCKS.into())]);
}

#[test]
fn a_graft_gets_no_answer_but_a_refusal() {
    let mut bench = Bench::new();
    (1..=7).for_each(|number| bench.connect(number));
    bench.said(7);
    bench.say(7, |writer| writer.graft(BLOCKS));
    assert!(bench.mesh().contains(&7));
    bench.say(7, |writer| writer.graft(BLOCKS));
    assert_eq!(bench.said(7), []);
    // A topic that we did not join, and an unknown one.
    bench.say(7, |writer| {
        writer.graft(OTHER);
        writer.graft("unknown");
        writer.prune(OTHER, Some(9));
        writer.prune("unknown", Some(9));
    });
    assert_eq!(bench.said(7), [], "never a PRUNE for a topic that we are not in");
    assert_eq!(bench.router.sizes().backoffs, 0);
    // A peer without a subscription would think that it is in our mesh.
    bench.connect_as(8, Class::Node, false, Version::V1_2);
    bench.said(8);
    bench.say(8, |writer| writer.graft(BLOCKS));
    assert_eq!(bench.said(8), [Said::Prune(BLOCKS.into(), 60)]);
    assert_eq!(bench.router.subscribed(topic(0)), 7, "a GRAFT is not a subscription");
    assert_eq!(bench.breaches(8), 0.0);
}

#[test]
fn a_full_mesh_takes_those_we_dialled_static_peers_and_browsers() {
    let mut bench = Bench::new();
    for number in 1..=12 {
        bench.connect(number);
        bench.say(number, |writer| writer.graft(BLOCKS));
    }
    let mut graft = |number, class, outbound| {
        bench.connect_as(number, class, outbound, Version::V1_2);
        bench.hello(number);
        bench.say(number, |writer| writer.graft(BLOCKS));
        bench.mesh().contains(&number)
    };
    assert!(!graft(13, Class::Node, false));
    assert!(graft(14, Class::Node, true));
    assert!(graft(15, Class::Static, false));
    (16..=40).for_each(|number| assert!(graft(number, Class::Browser, false)));
    bench.pass(secs(1));
    let mesh = bench.mesh();
    let nodes = mesh.iter().filter(|number| **number <= 15).count();
    assert_eq!(nodes, 8, "too large a mesh is trimmed to D");
    assert!(mesh.contains(&14) && mesh.contains(&15));
    assert_eq!(mesh.len() - nodes, 25, "browsers stay");
}

#[test]
fn many_browsers_do_not_make_a_node_well_connected() {
    let mut bench = Bench::new();
    for number in 1..=20 {
        bench.connect_as(number, Class::Browser, false, Version::V1_2);
        bench.hello(number);
        bench.say(number, |writer| writer.graft(BLOCKS));
    }
    (21..=30).for_each(|number| bench.connect(number));
    let nodes = bench.mesh().into_iter().filter(|number| *number > 20).count();
    assert_eq!(nodes, 6);
}

#[test]
fn outbound_peers_are_added_to_a_mesh_without() {
    let mut bench = Bench::new();
    (1..=8).for_each(|number| bench.connect(number));
    for number in 11..=13 {
        bench.connect_as(number, Class::Node, true, Version::V1_2);
        bench.hello(number);
    }
    bench.pass(secs(1));
    let outbound = bench.mesh().into_iter().filter(|number| *number > 10).count();
    assert_eq!(outbound, 2);
}

#[test]
fn a_bad_peer_leaves_the_mesh_and_is_not_grafted() {
    let mut bench = Bench::new();
    bench.connect(1);
    bench.said(1);
    bench.verdict = Some(Acceptance::Reject);
    bench.send(1, &block(1, 100));
    bench.pass(secs(1));
    assert_eq!(bench.said(1), [Said::Prune(BLOCKS.into(), 60)]);
    bench.pass(secs(100));
    assert_eq!(bench.said(1), [], "its score is still negative");
    bench.say(1, |writer| writer.graft(BLOCKS));
    assert!(bench.mesh().is_empty());
}

#[test]
fn a_peer_that_unsubscribes_is_dropped_without_a_word() {
    let mut bench = Bench::new();
    bench.connect(1);
    bench.said(1);
    bench.say(1, |writer| writer.subscription(BLOCKS, false));
    assert!(bench.mesh().is_empty());
    bench.say(1, |writer| writer.subscription(BLOCKS, true));
    bench.pass(secs(10));
    assert_eq!(bench.said(1), []);
    bench.pass(secs(2));
    assert_eq!(bench.said(1), [Said::Graft(BLOCKS.into())]);
}

#[test]
fn a_low_median_brings_better_peers() {
    let mut bench = Bench::with(|config| {
        config.score.as_mut().expect("scored").live.time_in_mesh_weight = 0.0;
    });
    (1..=9).for_each(|number| bench.connect(number));
    assert_eq!(bench.mesh(), (1..=6).collect());
    bench.input(Input::ApplicationScore(peer(8), 5.0));
    bench.pass(secs(31));
    assert_eq!(bench.mesh(), (1..=6).chain([8]).collect());
}

#[test]
fn a_mesh_of_silent_peers_takes_those_that_deliver() {
    let mut bench = Bench::new();
    (1..=6).for_each(|number| bench.connect(number));
    bench.pass(secs(25));
    // By their time in the mesh alone, they are above the threshold.
    let threshold = crate::peers::Thresholds::REFERENCE.opportunistic_graft;
    assert!(
        (1..=6).all(|number| bench.mesh().contains(&number) && bench.score(number) > threshold)
    );
    (9..=11).for_each(|number| bench.connect(number));
    (9..=10).for_each(|number| bench.send(number, &block(number.into(), 100)));
    assert!((9..=11).all(|number| !bench.mesh().contains(&number)));
    bench.pass(secs(10));
    assert!(bench.mesh().contains(&9) && bench.mesh().contains(&10), "{:?}", bench.mesh());
    assert!(!bench.mesh().contains(&11));
}
