//! Who gets what, and when.

use super::*;

const BIG: usize = 200_000;

/// Returns the peers whose next frame is this large message.
fn offered(bench: &mut Bench, numbers: std::ops::RangeInclusive<u16>, data: &Bytes) -> Vec<u16> {
    let mut got = Vec::new();
    for number in numbers {
        while let Some(frame) = bench.pull(number) {
            if frame.data() == data {
                got.push(number);
                break;
            }
            bench.wrote(number, frame.len());
        }
    }
    got
}

fn length(data: &Bytes) -> usize {
    Frame::message(BLOCKS, data.clone()).len()
}

/// Returns a bench with members of the mesh that have heard everything.
fn bench_of(members: u16) -> Bench {
    let mut bench = Bench::new();
    for number in 1..=members {
        bench.connect(number);
        bench.say(number, |writer| writer.graft(BLOCKS));
    }
    bench.reads = false;
    bench
}

#[test]
fn a_large_message_goes_to_two_peers_at_a_time() {
    let mut bench = bench_of(9);
    let data = block(1, BIG);
    bench.send(9, &data);
    let first = offered(&mut bench, 1..=8, &data);
    assert_eq!(first.len(), 2);
    assert_eq!(offered(&mut bench, 1..=8, &data), [0_u16; 0]);
    // The next peer's turn comes when a copy is written.
    bench.wrote(first[0], length(&data) - 1);
    assert_eq!(offered(&mut bench, 1..=8, &data), [0_u16; 0]);
    bench.wrote(first[0], 1);
    let next = offered(&mut bench, 1..=8, &data);
    assert_eq!(next.len(), 1);
    assert!(!first.contains(&next[0]));
}

#[test]
fn small_messages_and_control_overtake_large_ones() {
    let mut bench = bench_of(9);
    let (large, small) = (block(1, BIG), block(2, 500));
    bench.send(9, &large);
    bench.send(9, &small);
    for number in 1..=8 {
        let mut frames = Vec::new();
        while let Some(frame) = bench.pull(number) {
            frames.push(frame);
        }
        assert!(frames.iter().any(|frame| frame.data() == &small), "{number}");
        assert!(frames.iter().all(|frame| frame.data() != &large), "only when all is written");
    }
}

#[test]
fn the_fastest_peers_come_first() {
    let mut bench = bench_of(9);
    let first = block(1, BIG);
    bench.send(9, &first);
    // Peer n takes n times 40 ms.
    let mut waiting: Vec<(u16, Instant)> = Vec::new();
    for _ in 0..400 {
        for number in offered(&mut bench, 1..=8, &first) {
            waiting.push((number, bench.now + millis(40) * u32::from(number)));
        }
        bench.pass(millis(10));
        let now = bench.now;
        let (done, rest): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|(_, end)| *end <= now);
        waiting = rest;
        done.iter().for_each(|(number, _)| bench.wrote(*number, length(&first)));
    }
    let second = block(2, BIG);
    bench.send(9, &second);
    let mut order = Vec::new();
    for _ in 0..8 {
        let next = offered(&mut bench, 1..=8, &second);
        next.iter().for_each(|number| bench.wrote(*number, length(&second)));
        order.extend(next);
    }
    assert_eq!(order.len(), 8);
    let place = |number| order.iter().position(|at| *at == number).expect("all got it");
    assert!(place(1) < place(4) && place(1) < place(8) && place(2) < place(8), "{order:?}");
}

#[test]
fn among_equals_those_come_first_that_have_no_other_source() {
    let mut bench = bench_of(9);
    // Peers 1 to 5 are usually ahead of us.
    for number in 1..=5_u16 {
        for seed in 0..4 {
            bench.send(number, &block(100 * u64::from(number) + seed, 500));
        }
    }
    let data = block(1, BIG);
    bench.send(9, &data);
    let mut first = offered(&mut bench, 1..=8, &data);
    bench.wrote(first[0], length(&data));
    first.extend(offered(&mut bench, 1..=8, &data));
    first.sort_unstable();
    assert_eq!(first, [6, 7, 8]);
}

#[test]
fn a_peer_that_has_it_in_the_meantime_is_not_sent_it() {
    for by_copy in [false, true] {
        let mut bench = bench_of(9);
        let data = block(1, BIG);
        bench.send(9, &data);
        let first = offered(&mut bench, 1..=8, &data);
        let others: Vec<u16> = (1..=8).filter(|number| !first.contains(number)).collect();
        for number in &others[1..] {
            if by_copy {
                bench.send(*number, &data);
            } else {
                bench.say(*number, |writer| writer.idontwant(&[name(&data)]));
            }
        }
        first.iter().for_each(|number| bench.wrote(*number, length(&data)));
        assert_eq!(offered(&mut bench, 1..=8, &data), [others[0]]);
    }
}

#[test]
fn a_turn_that_is_cancelled_goes_to_another() {
    let mut bench = bench_of(9);
    let data = block(1, BIG);
    bench.send(9, &data);
    // Nothing was pulled yet, so two have their turns, unknown which.
    for number in 1..=7 {
        bench.say(number, |writer| writer.idontwant(&[name(&data)]));
    }
    assert_eq!(offered(&mut bench, 1..=8, &data), [8]);
}

#[test]
fn slow_peers_delay_no_other() {
    let mut bench = bench_of(9);
    let data = block(1, BIG);
    bench.send(9, &data);
    let first = offered(&mut bench, 1..=8, &data);
    bench.pass(PATIENCE_BUT);
    assert_eq!(offered(&mut bench, 1..=8, &data), [0_u16; 0]);
    // Progress keeps a turn.
    bench.wrote(first[0], 1000);
    bench.pass(millis(1));
    let next = offered(&mut bench, 1..=8, &data);
    assert_eq!(next.len(), 1);
    bench.pass(send::PATIENCE);
    assert_eq!(offered(&mut bench, 1..=8, &data).len(), 2);
}

#[test]
fn peers_that_read_a_few_bytes_now_and_then_delay_no_other() {
    let mut bench = bench_of(9);
    let data = block(1, BIG);
    bench.send(9, &data);
    let first = offered(&mut bench, 1..=8, &data);
    for _ in 0..3 {
        bench.pass(millis(100));
        first.iter().for_each(|number| bench.wrote(*number, 100));
    }
    assert_eq!(offered(&mut bench, 1..=8, &data).len(), 2);
}

#[test]
fn a_slow_uplink_of_ours_is_no_fault_of_the_others() {
    let mut bench = bench_of(9);
    for seed in 0..30 {
        let data = block(seed, BIG);
        bench.send(9, &data);
        let first = offered(&mut bench, 1..=8, &data);
        // The copies take so long that the others' are not worth sending any more.
        for _ in 0..9 {
            bench.pass(millis(240));
            first.iter().for_each(|number| bench.wrote(*number, BIG / 10));
        }
        bench.pass(millis(10));
        first.iter().for_each(|number| bench.wrote(*number, BIG));
        bench.pass(secs(2));
    }
    assert_eq!(bench.mesh().len(), 9);
}

const PATIENCE_BUT: Duration = Duration::from_millis(249);

#[test]
fn what_is_stale_is_not_sent() {
    let mut bench = bench_of(2);
    let (relayed, own) = (block(1, 500), block(2, 500));
    bench.send(2, &relayed);
    bench.publish(&own);
    bench.pass(secs(3));
    let frames: Vec<Frame> = std::iter::from_fn(|| bench.pull(1)).collect();
    assert!(frames.iter().any(|frame| frame.data() == &own));
    assert!(!frames.iter().any(|frame| frame.data() == &relayed));
}

#[test]
fn a_queue_drops_the_oldest_of_what_is_not_ours() {
    let mut bench = bench_of(1);
    bench.connect_as(2, Class::Browser, false, Version::V1_2);
    bench.hello(2);
    bench.say(2, |writer| writer.graft(BLOCKS));
    let own = block(1000, 100);
    bench.publish(&own);
    let blocks: Vec<Bytes> = (0..30).map(|seed| block(seed, 100)).collect();
    blocks.iter().for_each(|data| bench.send(1, data));
    let frames: Vec<Frame> = std::iter::from_fn(|| bench.pull(2)).collect();
    let got: Vec<&Bytes> = frames.iter().map(Frame::data).filter(|data| !data.is_empty()).collect();
    assert_eq!(got.len(), send::BROWSER_QUEUE);
    assert_eq!(got[0], &own, "and our own goes first");
    assert_eq!(got[1..], blocks[15..].iter().collect::<Vec<_>>());
}

#[test]
fn queues_are_bounded_in_bytes() {
    let mut bench = bench_of(2);
    for seed in 0..12 {
        bench.send(1, &block(seed, 1_000_000));
        bench.pass(millis(100));
    }
    let sizes = bench.router.sizes();
    assert!(sizes.outbox_bytes <= send::MAX_QUEUED_BYTES + 1_001_000, "{}", sizes.outbox_bytes);
}

#[test]
fn a_peer_that_reads_nothing_has_its_stream_reset_and_then_is_banned() {
    let mut bench = bench_of(1);
    bench.publish(&block(1, 500));
    assert!(bench.pull(1).is_some());
    bench.pass(secs(31));
    let closed = |bench: &Bench| {
        bench.outputs.iter().filter(|o| matches!(o, Output::CloseWriter(_))).count()
    };
    assert_eq!(closed(&bench), 1);
    bench.input(Input::WriterOpened(peer(1), Version::V1_2));
    assert!(bench.pull(1).is_some());
    bench.pass(secs(31));
    assert!(bench.is_banned(1, Misconduct::Deaf));
    assert_eq!(closed(&bench), 1);
}

#[test]
fn a_peer_that_is_too_slow_for_the_mesh_is_pruned() {
    let mut bench = bench_of(2);
    // It reads a byte now and then of what the shell has taken.
    bench.publish(&block(1000, 20_000));
    while bench.pull(1).is_some() {}
    for seed in 0..40 {
        bench.send(2, &block(seed, 500));
        bench.pass(millis(1500));
        bench.wrote(1, 1);
    }
    bench.pass(secs(10));
    assert!(!bench.mesh().contains(&1));
}

#[test]
fn the_window_is_respected_for_small_messages() {
    let mut bench = bench_of(2);
    while let Some(frame) = bench.pull(1) {
        bench.wrote(1, frame.len());
    }
    (0..10).for_each(|seed| bench.send(2, &block(seed, 10_000)));
    let mut taken = 0;
    while let Some(frame) = bench.router.transmit(bench.now, &peer(1), 64_000 - taken) {
        taken += frame.len();
    }
    assert!((60_000..=64_000).contains(&taken), "{taken}");
    bench.outputs.clear();
    bench.wrote(1, taken);
    let again = bench.outputs.iter().any(|o| matches!(o, Output::Transmit(p) if *p == peer(1)));
    assert!(again, "the shell is told of the rest");
}

#[test]
fn browsers_that_never_read_delay_no_node_and_share_one_frame() {
    let mut bench = bench_of(9);
    for number in 20..=60 {
        bench.connect_as(number, Class::Browser, false, Version::V1_2);
        bench.hello(number);
        bench.say(number, |writer| writer.graft(BLOCKS));
    }
    let mut all_nodes_get = |data: &Bytes| {
        bench.send(9, data);
        // The browsers' streams take the message, and nothing comes of it.
        let browsers = offered(&mut bench, 20..=60, data);
        let mut nodes = 0;
        while nodes < 8 {
            let next = offered(&mut bench, 1..=8, data);
            assert!(!next.is_empty(), "after {nodes}");
            nodes += next.len();
            next.iter().for_each(|number| bench.wrote(*number, length(data)));
        }
        browsers.len()
    };
    assert_eq!(all_nodes_get(&block(1, BIG)), 16);
    assert_eq!(all_nodes_get(&block(2, BIG)), 0, "those that have their turns");
    // The others have their turns when patience is over, and refer to the same memory.
    bench.pass(send::PATIENCE);
    let frames: Vec<Frame> = (20..=60).filter_map(|number| bench.pull(number)).collect();
    let data: Vec<_> = frames.iter().filter(|f| f.len() > BIG).map(|f| f.data().as_ptr()).collect();
    assert_eq!(data.len(), 16);
    assert!(data.iter().all(|pointer| *pointer == data[0]));
}
