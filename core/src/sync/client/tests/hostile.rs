//! Servers that hold others up, and honest ones that must not pay for a change of the chain.

use super::*;

/// Answers after a latency: when each is due, the request, and the answer.
type Due = Vec<(u64, RequestId, Result<Vec<u8>, RequestFailure>)>;

/// Delivers all answers that are due.
fn deliver(world: &mut World, due: &mut Due) {
    let now = world.now;
    let (ready, rest): (Due, Due) =
        std::mem::take(due).into_iter().partition(|(at, ..)| *at <= now);
    *due = rest;
    for (_, id, result) in ready {
        world.client.received(at(now), id, result.map(Into::into));
        world.drain();
    }
}

#[test]
fn with_large_answers_one_silent_server_does_not_stop_the_others() {
    let chain = config(60);
    let blocks = blocks(&chain, 60, 0, 100);
    let mut world = World::new(1..=6);
    world.aim(&blocks[60], 1);
    // The server that is asked for the frontier answers with too many bytes. The next one that is
    // asked for it says nothing.
    let first = world.asked.iter().position(|(_, _, number, _)| *number == 60).expect("asked");
    let (id, long, ..) = world.asked.remove(first);
    world.now += 10;
    world.client.received(at(world.now), id, Err(RequestFailure::TooLong));
    world.drain();
    let is_held = |(_, _, number, limit): &(RequestId, u8, u64, usize)| {
        *number == 60 && *limit == MAX_RESPONSE_SIZE
    };
    let mut due = Due::new();
    let mut held = None;
    while world.now < 9_000 {
        if held.is_none() {
            held = world.asked.iter().position(is_held).map(|at| world.asked.remove(at));
        }
        for (id, _, number, _) in std::mem::take(&mut world.asked) {
            due.push((world.now + 50, id, Ok(encode_response(&blocks[number as usize]))));
        }
        deliver(&mut world, &mut due);
        assert!(world.client.bytes() <= ClientConfig::default().bytes);
        world.now += 10;
        world.drain();
    }
    let (_, silent, ..) = held.expect("the frontier is asked for with a larger limit");
    assert_ne!(silent, long, "another server is asked first");
    assert_eq!(world.proved.len(), 60, "the request that says nothing is still in flight");
}

/// Lets the sequencer leave 95 blocks behind while a gap of 295 is filled by three servers that
/// always serve its present chain, one of them slowly. Returns the penalties.
fn penalties_of_a_reorg(slow: u64) -> usize {
    let chain = config(300);
    let old = blocks(&chain, 300, 0, 100);
    let mut new: Vec<Block> = old[..=200].to_vec();
    for block in &old[201..] {
        let mut envelope = block.to_envelope();
        envelope.payload.parent_hash = new.last().expect("one").hash();
        envelope.payload.gas_used = 7;
        new.push(decoded(&sealed(envelope)));
    }
    let mut world = World::new(1..=3);
    for byte in 1..=3 {
        world.client.heard(at(0), &peer(byte), 300);
    }
    world.aim(&old[295], 1);
    let (mut due, mut is_left) = (Due::new(), false);
    while world.now < 20_000 {
        for (id, peer, number, _) in std::mem::take(&mut world.asked) {
            let chain = if is_left { &new } else { &old };
            let latency = [20, 40, slow][usize::from(peer) - 1];
            due.push((world.now + latency, id, Ok(encode_response(&chain[number as usize]))));
        }
        deliver(&mut world, &mut due);
        if !is_left && world.now == 700 {
            is_left = true;
            world.aim(&new[300], 1);
        }
        world.now += 10;
        world.drain();
    }
    assert!(world.proved.iter().any(|block| block.hash() == new[1].hash()), "all is fetched");
    world.conduct.iter().filter(|(_, conduct)| *conduct != Conduct::ValidResponse).count()
}

#[test]
fn honest_servers_do_not_pay_for_a_reorg_while_a_gap_is_filled() {
    for slow in [20, 300, 900] {
        assert_eq!(penalties_of_a_reorg(slow), 0, "latency {slow} ms");
    }
}

#[test]
fn a_server_that_leaves_after_a_bad_answer_is_blamed_for_it() {
    let chain = config(20);
    let blocks = blocks(&chain, 20, 0, 100);
    let other = encode_response(&blocks[3]);
    for (answer, expected) in [
        (Ok(other), vec![(1, Conduct::RejectedPayload)]),
        (Ok(vec![0, 1, 2, 3]), vec![(1, Conduct::ErrorResponse)]),
        // It left instead of answering.
        (Err(RequestFailure::Closed), vec![]),
        (Err(RequestFailure::Timeout), vec![]),
    ] {
        let mut world = World::new([1]);
        world.aim(&blocks[20], 15);
        let (id, ..) = world.asked[0];
        world.now += 10;
        if answer.is_err() {
            world.client.disconnected(&peer(1));
        }
        world.client.received(at(world.now), id, answer.map(Into::into));
        // An answer is still being checked.
        world.client.disconnected(&peer(1));
        world.drain();
        assert_eq!(world.conduct, expected);
    }
}
