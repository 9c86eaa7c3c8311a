//! Budgets: what a peer may demand, and what happens when it persists.

use super::*;

fn flood(bench: &mut Bench, times: usize, mut write: impl FnMut(usize, &mut ControlWriter)) {
    for time in 0..times {
        bench.say(1, |writer| write(time, writer));
    }
}

fn id(number: usize) -> Id {
    let mut id = [0; 20];
    id[..8].copy_from_slice(&number.to_le_bytes());
    Id::from(id)
}

#[test]
fn floods_of_every_kind_are_skipped_then_cost_and_end_in_a_ban() {
    type Write = fn(usize, &mut ControlWriter);
    let kinds: [(&str, Write); 9] = [
        ("IDONTWANT", |n, w| w.idontwant(&(0..500).map(|i| id(n * 500 + i)).collect::<Vec<_>>())),
        ("IWANT", |n, w| w.iwant(&(0..500).map(|i| id(n * 500 + i)).collect::<Vec<_>>())),
        ("IHAVE", |n, w| w.ihave(BLOCKS, &(0..500).map(|i| id(n * 500 + i)).collect::<Vec<_>>())),
        ("GRAFT", |_, w| (0..500).for_each(|_| w.graft("somebody else's"))),
        ("PRUNE", |n, w| (0..500).for_each(|i| w.prune(&format!("{n} {i}"), Some(u64::MAX)))),
        ("sending", |n, w| w.sending(&(0..500).map(|i| id(n * 500 + i)).collect::<Vec<_>>())),
        ("receiving", |n, w| w.receiving(&(0..500).map(|i| id(n * 500 + i)).collect::<Vec<_>>())),
        ("received", |n, w| w.received(&(0..500).map(|i| id(n * 500 + i)).collect::<Vec<_>>())),
        ("topics", |n, w| (0..500).for_each(|i| w.subscription(&format!("{n} {i}"), true))),
    ];
    for (kind, write) in kinds {
        let mut bench = Bench::new();
        bench.connect(1);
        flood(&mut bench, 3, write);
        let is_quiet = bench.outputs.iter().all(|output| !matches!(output, Output::Ban(..)));
        assert!(is_quiet, "{kind}: a burst is not a flood");
        flood(&mut bench, 600, write);
        assert!(bench.breaches(1) >= 9.0, "{kind}");
        assert!(bench.is_banned(1, Misconduct::Flood), "{kind}");
        let sizes = bench.router.sizes();
        assert!(sizes.unwanted <= MAX_UNWANTED && sizes.promises <= PROMISES_PER_PEER, "{kind}");
        assert_eq!(sizes.backoffs, 0, "{kind}");
    }
}

#[test]
fn a_flood_of_messages_is_skipped_unseen() {
    let mut bench = Bench::new();
    (1..=2).for_each(|number| bench.connect(number));
    for seed in 0..1200 {
        bench.send(1, &block(seed, 100));
    }
    let judged = bench.router.sizes().seen;
    assert_eq!(judged, 1024, "a full bucket");
    // Another peer brings what was skipped.
    let last = block(1199, 100);
    bench.said(1);
    bench.send(2, &last);
    assert!(bench.said(1).contains(&Said::Message(last)));
    // And the peer itself, when it has tokens again.
    bench.pass(secs(2));
    bench.send(1, &block(1100, 100));
    assert_eq!(bench.router.sizes().seen, 1026);
}

#[test]
fn a_burst_after_a_hole_is_no_offence() {
    let mut bench = Bench::new();
    bench.connect(1);
    // A minute without reception, then twelve seconds' worth of five blocks a second at once.
    for round in 0..4 {
        for seed in 0..60 {
            bench.send(1, &block(1000 * round + seed, 20_000));
        }
        bench.pass(secs(12));
    }
    assert_eq!(bench.breaches(1), 0.0);
}

#[test]
fn the_honest_maximum_of_every_implementation_is_far_from_the_limits() {
    let mut bench = Bench::new();
    (1..=2).for_each(|number| bench.connect(number));
    // Five blocks a second by a peer that announces and advertises each, every half second, to a
    // router that has them already, and that says everything in frames of its own.
    for beat in 0..240_u64 {
        for each in 0..3 {
            let data = block(beat * 3 + each, 3000);
            bench.send(2, &data);
            bench.say(1, |writer| writer.idontwant(&[name(&data)]));
            bench.send(1, &data);
        }
        let recent: Vec<Id> =
            (0..9).map(|n| name(&block((beat * 3 + 2).saturating_sub(n), 3000))).collect();
        bench.say(1, |writer| writer.ihave(BLOCKS, &recent));
        bench.say(1, |writer| writer.iwant(&recent[..3]));
        bench.pass(millis(500));
    }
    assert_eq!(bench.breaches(1), 0.0);
    assert!(bench.score(1) > 0.0 && bench.score(2) > 0.0);
}

#[test]
fn answers_to_iwant_have_a_budget_of_bytes() {
    let mut bench = Bench::new();
    (1..=2).for_each(|number| bench.connect(number));
    let data: Vec<Bytes> = (0..10).map(|seed| block(seed, 3_000_000)).collect();
    for data in &data {
        bench.send(2, data);
        bench.pass(secs(1) / 4);
    }
    // Gone from the outbox either way.
    bench.said(1);
    for _ in 0..8 {
        bench.say(1, |writer| writer.iwant(&data.iter().map(name).collect::<Vec<_>>()));
    }
    assert_eq!(bench.said(1).len(), 6, "of 3 MB, within 20 MiB");
}

#[test]
fn advertisements_are_heard_ten_times_and_asked_for_sixty_four_times_in_a_heartbeat() {
    let asked = |bench: &mut Bench| {
        let said = bench.said(1);
        said.iter()
            .map(|said| if let Said::IWant(ids) = said { ids.len() } else { 0 })
            .sum::<usize>()
    };
    let mut bench = Bench::new();
    bench.connect(1);
    flood(&mut bench, 12, |n, writer| writer.ihave(BLOCKS, &[id(n)]));
    assert_eq!(asked(&mut bench), 10);
    bench.pass(millis(500));
    flood(&mut bench, 1, |_, writer| {
        writer.ihave(BLOCKS, &(100..400).map(id).collect::<Vec<_>>());
    });
    assert_eq!(asked(&mut bench), PROMISES_PER_PEER - 10);
}

#[test]
fn a_browser_has_smaller_budgets() {
    let mut bench = Bench::new();
    bench.connect_as(1, Class::Browser, false, Version::V1_2);
    bench.hello(1);
    for seed in 0..100 {
        bench.send(1, &block(seed, 100));
    }
    assert_eq!(bench.router.sizes().seen, 32);
}

/// Returns a router whose intake eight of twenty peers filled with messages of this many bytes.
fn full_intake(bytes: usize) -> Bench {
    let mut bench = Bench::with(|config| {
        config.node.messages = Allowance { per_second: 1, burst: 10_000 };
    });
    (1..=20).for_each(|number| bench.connect(number));
    bench.names = false;
    for number in 1..=8 {
        for seed in 0..70 {
            bench.send(number, &block(u64::from(number) * 1000 + seed, bytes));
        }
    }
    assert_eq!(bench.router.sizes().judging, MAX_ENTRIES, "64 of each");
    bench
}

#[test]
fn the_intake_makes_room_at_the_expense_of_the_peer_that_has_most() {
    let mut bench = full_intake(2000);
    let small = block(1, 100);
    bench.send(9, &small);
    assert_eq!(bench.router.sizes().judging, MAX_ENTRIES);
    for _ in 0..MAX_ENTRIES {
        if bench.jobs.is_empty() {
            break;
        }
        let job = bench.jobs.remove(0);
        if *job.data() == small {
            return;
        }
        bench.input(Input::Named(job.run()));
    }
    panic!("the newcomer's message was dropped");
}

#[test]
fn tiny_messages_make_room_for_a_large_one() {
    let mut bench = full_intake(20);
    let large = block(1, 500_000);
    bench.send(9, &large);
    let bytes = bench.router.sizes().judging_bytes;
    assert!(bytes > 500_000, "{bytes}");
}
