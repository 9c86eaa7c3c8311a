//! Pacing of large messages by the acknowledgements of earlier ones.

use super::*;

const BIG: usize = 200_000;
/// Members of the mesh that get copies. Another one is the source.
const MEMBERS: std::ops::RangeInclusive<u16> = 1..=8;
const SOURCE: u16 = 9;

/// Returns a bench with nine members of the mesh. Those of `MEMBERS` speak our extension if
/// `speak`.
fn bench(speak: bool) -> Bench {
    let mut bench = Bench::new();
    for number in 1..=SOURCE {
        bench.connect(number);
        bench.say(number, |writer| {
            if speak && number != SOURCE {
                writer.subscription(BLOCKS, true);
                writer.speaks();
            }
            writer.graft(BLOCKS);
        });
    }
    bench.reads = false;
    bench
}

/// Takes and writes all that is handed out. Returns the peers that were handed this message: the
/// shell takes each at once.
fn taken(bench: &mut Bench, data: &Bytes) -> Vec<u16> {
    let mut got = Vec::new();
    loop {
        let before = got.len();
        for number in MEMBERS {
            while let Some(frame) = bench.pull(number) {
                if frame.data() == data {
                    got.push(number);
                }
                bench.wrote(number, frame.len());
            }
        }
        if got.len() == before {
            return got;
        }
    }
}

fn acknowledge(bench: &mut Bench, number: u16, data: &Bytes) {
    bench.say(number, |writer| writer.received(&[name(data)]));
}

/// Sends a message to all members. Our line carries one copy after the other, each in `time`.
/// Returns how long that took.
fn deliver(bench: &mut Bench, seed: u64, time: Duration) -> Duration {
    let data = block(seed, BIG);
    let begin = bench.now;
    bench.send(SOURCE, &data);
    let (mut count, mut travelling, mut free) = (0, Vec::new(), begin);
    while count < 8 || !travelling.is_empty() {
        assert!(bench.now.since(begin) < secs(2), "{count} of 8");
        let next = taken(bench, &data);
        count += next.len();
        for number in next {
            free = free.max(bench.now) + time;
            travelling.push((free, number));
        }
        bench.pass(millis(1));
        let now = bench.now;
        for (_, number) in travelling.extract_if(.., |(at, _)| *at <= now) {
            acknowledge(bench, number, &data);
        }
    }
    bench.now.since(begin)
}

#[test]
fn the_next_copy_waits_for_an_acknowledgement() {
    let mut bench = bench(true);
    let data = block(1, BIG);
    bench.send(SOURCE, &data);
    let first = taken(&mut bench, &data);
    assert_eq!(first.len(), 2, "although both are written");
    bench.pass(millis(20));
    assert_eq!(taken(&mut bench, &data), [0_u16; 0]);
    acknowledge(&mut bench, first[0], &block(2, BIG));
    assert_eq!(taken(&mut bench, &data), [0_u16; 0], "of another message");
    acknowledge(&mut bench, first[0], &data);
    assert_eq!(taken(&mut bench, &data).len(), 1);
}

#[test]
fn without_an_acknowledgement_the_next_copy_waits_for_an_assumed_time() {
    let mut bench = bench(true);
    let data = block(1, BIG);
    bench.send(SOURCE, &data);
    assert_eq!(taken(&mut bench, &data).len(), 2);
    // 8 MiB a second.
    bench.pass(millis(23));
    assert_eq!(taken(&mut bench, &data), [0_u16; 0]);
    bench.pass(millis(1));
    assert_eq!(taken(&mut bench, &data).len(), 2);
}

#[test]
fn copies_to_peers_that_never_acknowledge_are_not_held_up() {
    let mut bench = bench(false);
    let data = block(1, BIG);
    bench.send(SOURCE, &data);
    assert_eq!(taken(&mut bench, &data).len(), 8);
}

#[test]
fn a_measured_line_is_kept_busy_and_not_overloaded() {
    let mut bench = bench(true);
    deliver(&mut bench, 1, millis(20));
    // A quarter faster than 10 MB/s.
    let data = block(2, BIG);
    bench.send(SOURCE, &data);
    let mut times = Vec::new();
    let begin = bench.now;
    while times.len() < 8 {
        times.extend(taken(&mut bench, &data).iter().map(|_| bench.now.since(begin)));
        bench.pass(millis(1));
    }
    assert_eq!(times[..2], [Duration::ZERO; 2]);
    for (copy, time) in times.iter().enumerate().skip(2) {
        let due = millis(16) * (copy as u32 - 1);
        let late = time.as_millis().abs_diff(due.as_millis());
        assert!(late <= copy as u128 + 1, "copy {copy} at {time:?}, not {due:?}");
    }
}

#[test]
fn a_line_that_became_faster_or_slower_is_measured_again() {
    let mut bench = bench(true);
    let slow = deliver(&mut bench, 1, millis(80));
    (2..8).for_each(|seed| _ = deliver(&mut bench, seed, millis(8)));
    let fast = deliver(&mut bench, 8, millis(8));
    assert!(fast * 4 < slow, "{fast:?}, after {slow:?}");
    (9..16).for_each(|seed| _ = deliver(&mut bench, seed, millis(80)));
    let data = block(16, BIG);
    bench.send(SOURCE, &data);
    assert_eq!(taken(&mut bench, &data).len(), 2);
    bench.pass(millis(20));
    assert!(taken(&mut bench, &data).len() <= 1);
}

#[test]
fn acknowledgements_of_nothing_change_nothing() {
    let mut bench = bench(true);
    for number in MEMBERS {
        (50..60).for_each(|seed| acknowledge(&mut bench, number, &block(seed, 100)));
    }
    let data = block(1, BIG);
    bench.send(SOURCE, &data);
    let first = taken(&mut bench, &data);
    assert_eq!(first.len(), 2);
    for number in MEMBERS.filter(|number| !first.contains(number)) {
        acknowledge(&mut bench, number, &data);
    }
    assert_eq!(taken(&mut bench, &data), [0_u16; 0]);
}

#[test]
fn a_peer_that_leaves_keeps_the_line_busy_no_longer() {
    let mut bench = bench(true);
    let data = block(1, BIG);
    bench.send(SOURCE, &data);
    let first = taken(&mut bench, &data);
    bench.input(Input::Disconnected(peer(first[0])));
    assert_eq!(taken(&mut bench, &data).len(), 1);
}

#[test]
fn what_was_announced_and_came_is_acknowledged_once() {
    let mut bench = bench(true);
    bench.reads = true;
    let data = block(1, BIG);
    for number in [1, 2] {
        bench.said(number);
        bench.say(number, |writer| writer.sending(&[name(&data)]));
    }
    bench.send(1, &data);
    bench.send(2, &data);
    let received = Said::Received(name(&data));
    assert_eq!(bench.said(1).iter().filter(|said| **said == received).count(), 1);
    assert!(!bench.said(2).contains(&received), "a copy that came later");
    // Not announced.
    let data = block(2, BIG);
    bench.send(1, &data);
    assert!(!bench.said(1).contains(&Said::Received(name(&data))));
}
