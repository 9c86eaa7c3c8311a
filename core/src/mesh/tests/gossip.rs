//! IHAVE, IWANT, IDONTWANT, and the promises between them.

use super::*;

fn ids(count: u8) -> Vec<Id> {
    (1..=count).map(|n| Id::from([n; 20])).collect()
}

fn asked(said: &[Said]) -> Vec<Id> {
    said.iter()
        .flat_map(|said| match said {
            Said::IWant(ids) => ids.clone(),
            _ => Vec::new(),
        })
        .collect()
}

#[test]
fn what_others_advertise_is_asked_for_and_what_arrives_keeps_the_promise() {
    let mut bench = Bench::new();
    bench.connect(1);
    let data = block(1, 500);
    bench.say(1, |writer| writer.ihave(BLOCKS, &[name(&data)]));
    assert_eq!(asked(&bench.said(1)), [name(&data)]);
    bench.send(1, &data);
    bench.pass(secs(5));
    assert_eq!(bench.breaches(1), 0.0);
    bench.say(1, |writer| writer.ihave(BLOCKS, &[name(&data)]));
    assert_eq!(asked(&bench.said(1)), [], "it is known");
    // Topics that we did not join, and ids of another length.
    bench.say(1, |writer| writer.ihave(OTHER, &ids(1)));
    let short = Id::new(&[1; 8]).expect("short");
    bench.say(1, |writer| writer.ihave(BLOCKS, &[short]));
    assert_eq!(asked(&bench.said(1)), []);
}

#[test]
fn a_promise_that_is_not_kept_costs_after_three_seconds() {
    let mut bench = Bench::new();
    bench.connect(1);
    bench.say(1, |writer| writer.ihave(BLOCKS, &ids(5)));
    assert_eq!(asked(&bench.said(1)).len(), 5);
    bench.pass(millis(2_900));
    assert_eq!(bench.breaches(1), 0.0);
    bench.pass(millis(700));
    assert!(bench.breaches(1) > 4.0 && bench.breaches(1) <= 5.0);
    assert_eq!(bench.router.sizes().promises, 0);
}

#[test]
fn anybodys_copy_keeps_the_promises_of_all() {
    let mut bench = Bench::new();
    (1..=2).for_each(|number| bench.connect(number));
    let data = block(1, 500);
    bench.say(1, |writer| writer.ihave(BLOCKS, &[name(&data)]));
    bench.send(2, &data);
    bench.pass(secs(5));
    assert_eq!((bench.breaches(1), bench.router.sizes().promises), (0.0, 0));
}

/// Number of members of the mesh that are asked for one message.
const DOUBTFUL: usize = PROMISES_PER_ID / 2;

/// Connects a peer that does not want to be in our mesh.
fn connect_outside(bench: &mut Bench, number: u16) {
    bench.connect(number);
    bench.say(number, |writer| writer.prune(BLOCKS, Some(600)));
}

#[test]
fn a_silent_advertiser_does_not_keep_us_from_asking_another() {
    let mut bench = Bench::new();
    (1..=4).for_each(|number| connect_outside(&mut bench, number));
    let mut advertise = |number| {
        bench.say(number, |writer| writer.ihave(BLOCKS, &ids(1)));
        let count = asked(&bench.said(number)).len();
        bench.pass(millis(300));
        count
    };
    assert_eq!((advertise(1), advertise(2)), (1, 0), "not at once");
    assert_eq!((advertise(2), advertise(3)), (1, 0), "one after another");
    assert_eq!((advertise(3), advertise(4)), (1, 0), "one after another");
}

#[test]
fn members_of_the_mesh_that_advertise_first_do_not_keep_us_from_asking_others() {
    let mut bench = Bench::new();
    (1..=6).for_each(|number| bench.connect(number));
    connect_outside(&mut bench, 7);
    for number in 1..=6 {
        bench.say(number, |writer| writer.ihave(BLOCKS, &ids(1)));
    }
    bench.say(7, |writer| writer.ihave(BLOCKS, &ids(1)));
    assert_eq!(asked(&bench.said(7)).len(), 1);
    let members = (1..=6).filter(|number| !asked(&bench.said(*number)).is_empty()).count();
    assert_eq!(members, DOUBTFUL);
}

#[test]
fn liars_that_advertise_first_do_not_keep_us_from_asking_an_honest_peer() {
    let (liars, honest) = (1..=12, 13);
    let mut bench = Bench::new();
    liars.clone().chain([honest]).for_each(|number| connect_outside(&mut bench, number));
    // Each message is advertised in three heartbeats, by all liars before the honest peer.
    let arrived: Vec<bool> = (0..20)
        .map(|round| {
            let data = block(round, 500);
            let advertise = |bench: &mut Bench, number| {
                bench.say(number, |writer| writer.ihave(BLOCKS, &[name(&data)]));
            };
            let mut has_arrived = false;
            for _ in 0..3 {
                liars.clone().for_each(|liar| advertise(&mut bench, liar));
                bench.pass(millis(20));
                advertise(&mut bench, honest);
                if !asked(&bench.said(honest)).is_empty() {
                    bench.send(honest, &data);
                    has_arrived = true;
                }
                bench.pass(millis(480));
            }
            has_arrived
        })
        .collect();
    assert!(arrived[8..].iter().all(|arrived| *arrived), "{arrived:?}");
    assert_eq!(bench.breaches(honest), 0.0);
}

#[test]
fn a_long_sleep_breaks_no_promise() {
    let mut bench = Bench::new();
    bench.connect(1);
    bench.say(1, |writer| writer.ihave(BLOCKS, &ids(9)));
    bench.now = bench.now + secs(600);
    bench.input(Input::Wake);
    bench.pass(secs(5));
    assert_eq!(bench.breaches(1), 0.0);
}

#[test]
fn a_promise_waits_for_the_names_of_what_the_peer_sent() {
    let mut bench = Bench::new();
    bench.connect(1);
    let data = block(1, 500);
    bench.say(1, |writer| writer.ihave(BLOCKS, &[name(&data)]));
    bench.names = false;
    bench.send(1, &data);
    bench.pass(secs(5));
    assert_eq!(bench.breaches(1), 0.0);
    let job = bench.jobs.remove(0);
    bench.input(Input::Named(job.run()));
    bench.pass(secs(5));
    assert_eq!(bench.breaches(1), 0.0);
}

#[test]
fn nothing_is_asked_for_that_may_be_on_its_way_to_a_name() {
    let mut bench = Bench::new();
    (1..=2).for_each(|number| bench.connect(number));
    bench.names = false;
    let data = block(1, 500);
    bench.send(1, &data);
    bench.say(2, |writer| writer.ihave(BLOCKS, &[name(&data), Id::from([9; 20])]));
    assert_eq!(asked(&bench.said(2)), []);
    let job = bench.jobs.remove(0);
    bench.input(Input::Named(job.run()));
    assert_eq!(asked(&bench.said(2)), [Id::from([9; 20])]);
    // But no longer than a tenth of a second.
    bench.send(1, &block(2, 500));
    bench.say(2, |writer| writer.ihave(BLOCKS, &[Id::from([8; 20])]));
    bench.pass(millis(99));
    assert_eq!(asked(&bench.said(2)), []);
    bench.pass(millis(1));
    assert_eq!(asked(&bench.said(2)), [Id::from([8; 20])]);
}

#[test]
fn ids_of_another_kind_are_noticed_and_cost_nothing() {
    let mut bench = Bench::new();
    (1..=2).for_each(|number| bench.connect(number));
    for round in 0..10_u8 {
        // It delivers, and advertises by names that we can't know.
        bench.send(1, &block(round.into(), 500));
        bench.say(1, |writer| writer.ihave(BLOCKS, &[Id::from([round; 20])]));
        bench.pass(secs(4));
    }
    assert_eq!(bench.breaches(1), 0.0);
    bench.said(1);
    bench.say(1, |writer| writer.ihave(BLOCKS, &[Id::from([99; 20])]));
    assert_eq!(asked(&bench.said(1)), [], "no use in asking");
    // It is not told what it can't understand either.
    let data = block(100, 5000);
    bench.send(2, &data);
    assert_eq!(bench.said(1), [Said::Message(data)]);
}

#[test]
fn only_the_cache_is_advertised_and_only_outside_the_mesh() {
    let mut bench = Bench::new();
    (1..=20).for_each(|number| bench.connect(number));
    bench.pass(secs(1));
    let data = block(1, 500);
    bench.send(1, &data);
    bench.verdict = Some(Acceptance::Ignore);
    bench.send(1, &block(2, 500));
    (1..=20).for_each(|number| drop(bench.said(number)));
    bench.pass(millis(500));
    let wanted = Said::IHave(BLOCKS.into(), vec![name(&data)]);
    let mesh = bench.mesh();
    let told: Vec<u16> = (1..=20).filter(|n| bench.said(*n).contains(&wanted)).collect();
    assert!(told.len() >= 5 && told.len() <= 6, "Dlazy: {told:?}");
    assert!(told.iter().all(|number| !mesh.contains(number)));
    bench.pass(secs(2));
    (1..=20).for_each(|number| drop(bench.said(number)));
    bench.pass(secs(2));
    let late = (1..=20).any(|number| !bench.said(number).is_empty());
    assert!(!late, "after three heartbeats it is not advertised any more");
}

#[test]
fn what_is_asked_for_comes_from_the_cache_three_times() {
    let mut bench = Bench::new();
    (1..=2).for_each(|number| bench.connect(number));
    let data = block(1, 500);
    bench.send(1, &data);
    bench.said(2);
    let ask = |bench: &mut Bench| {
        bench.say(2, |writer| writer.iwant(&[name(&data), Id::from([5; 20])]));
        bench.said(2)
    };
    for _ in 0..3 {
        assert_eq!(ask(&mut bench), [Said::Message(data.clone())]);
    }
    assert_eq!(ask(&mut bench), []);
    bench.connect(3);
    bench.said(3);
    bench.pass(millis(5_000));
    bench.say(3, |writer| writer.iwant(&[name(&data)]));
    assert!(bench.said(3).contains(&Said::Message(data.clone())));
    bench.connect(4);
    bench.pass(secs(2));
    bench.said(4);
    bench.say(4, |writer| writer.iwant(&[name(&data)]));
    assert_eq!(bench.said(4), [], "after twelve heartbeats it is gone");
}

#[test]
fn what_a_peer_has_is_not_sent_to_it() {
    let mut bench = Bench::new();
    (1..=3).for_each(|number| bench.connect(number));
    let data = block(1, 5000);
    // Also when it says so in the frame that asks.
    bench.say(2, |writer| writer.idontwant(&[name(&data)]));
    bench.send(1, &data);
    assert_eq!(bench.receivers(&data), [3]);
    bench.say(2, |writer| {
        writer.iwant(&[name(&data)]);
        writer.idontwant(&[name(&data)]);
    });
    assert_eq!(bench.receivers(&data), [0_u16; 0]);
    // For three heartbeats.
    bench.pass(secs(2));
    bench.say(2, |writer| writer.iwant(&[name(&data)]));
    assert_eq!(bench.receivers(&data), [2]);
}

#[test]
fn large_messages_are_announced_before_their_verdict_to_those_without_them() {
    let mut bench = Bench::new();
    (1..=3).for_each(|number| bench.connect(number));
    (1..=3).for_each(|number| drop(bench.said(number)));
    bench.verdict = None;
    bench.names = false;
    let data = block(1, 5000);
    bench.send(1, &data);
    bench.send(2, &data);
    let job = bench.jobs.remove(0);
    bench.input(Input::Named(job.run()));
    let told = [1, 2, 3].map(|number| bench.said(number));
    assert_eq!(told, [vec![], vec![], vec![Said::IDontWant(vec![name(&data)])]]);
    bench.names = true;
    bench.send(1, &block(2, 500));
    assert_eq!(bench.said(3), [], "small ones are not");
}

#[test]
fn announcements_wait_for_each_other_rather_than_mute_our_gossip() {
    let mut bench = Bench::new();
    (1..=2).for_each(|number| bench.connect(number));
    bench.pass(millis(100));
    bench.said(2);
    bench.verdict = None;
    for seed in 0..30 {
        bench.send(1, &block(seed, 2000));
    }
    let frames = bench.control_frames(2);
    assert!(frames <= 7, "{frames}: go counts ten in a heartbeat");
    bench.pass(millis(600));
    assert_eq!(bench.router.sizes().judging, 30);
    let rest: usize = bench.control_frames(2);
    assert!(rest >= 1, "what waited follows");
}

#[test]
fn an_announcement_has_ten_ids_at_most() {
    let mut bench = Bench::new();
    (1..=2).for_each(|number| bench.connect(number));
    bench.said(2);
    bench.verdict = None;
    bench.reads = false;
    for seed in 0..25 {
        bench.send(1, &block(seed, 2000));
    }
    let mut counts = Vec::new();
    while let Some(frame) = bench.pull(2) {
        for said in super::said_in(&frame) {
            if let Said::IDontWant(ids) = said {
                counts.push(ids.len());
            }
        }
    }
    assert_eq!(counts, [10, 10, 5]);
}

#[test]
fn below_the_threshold_there_is_no_gossip_either_way() {
    let mut bench = Bench::new();
    (1..=2).for_each(|number| bench.connect(number));
    bench.say(2, |writer| writer.prune(BLOCKS, Some(60)));
    bench.input(Input::ApplicationScore(peer(2), -11.0));
    let data = block(1, 500);
    bench.send(1, &data);
    bench.said(2);
    bench.pass(secs(1));
    bench.say(2, |writer| writer.iwant(&[name(&data)]));
    bench.say(2, |writer| writer.ihave(BLOCKS, &ids(1)));
    assert_eq!(bench.said(2), []);
    assert_eq!(bench.breaches(2), 0.0);
}

#[test]
fn of_a_graylisted_peer_only_subscriptions_count() {
    let mut bench = Bench::new();
    bench.connect(1);
    bench.input(Input::ApplicationScore(peer(1), -41.0));
    bench.verdict = None;
    bench.send(1, &block(1, 500));
    assert!(bench.validations.is_empty());
    bench.say(1, |writer| writer.subscription(OTHER, true));
    assert_eq!(bench.router.subscribed(topic(1)), 1);
}

#[test]
fn late_copies_of_a_peer_with_other_ids_are_deliveries_too() {
    let mut bench = Bench::new();
    bench.connect(1);
    connect_outside(&mut bench, 2);
    for round in 0..20_u8 {
        let data = block(round.into(), 500);
        bench.send(1, &data);
        bench.say(2, |writer| writer.ihave(BLOCKS, &[Id::from([round; 20])]));
        bench.pass(millis(100));
        bench.send(2, &data);
        bench.pass(secs(4));
    }
    assert_eq!(bench.breaches(2), 0.0);
}

#[test]
fn what_was_asked_for_on_a_stream_that_failed_is_not_owed() {
    let mut bench = Bench::new();
    connect_outside(&mut bench, 1);
    bench.send(1, &block(1, 500));
    bench.say(1, |writer| writer.ihave(BLOCKS, &ids(5)));
    assert_eq!(asked(&bench.said(1)).len(), 5);
    bench.input(Input::WriterClosed { peer: peer(1), is_refused: false });
    bench.pass(secs(5));
    assert_eq!(bench.breaches(1), 0.0);
}
