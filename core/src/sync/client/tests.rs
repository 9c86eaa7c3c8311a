//! Tests of the client alone, with scripted peers.

mod hostile;
mod parts;

use super::*;
use crate::chain::{ChainBlock, ChainConfig, Fork};
use crate::gossip::tests::support::{decoded, sealed};
use crate::payload::{Envelope, ExecutionPayload, PayloadVersion};
use crate::sync::{Rate, ResultCode, encode_response};
use alloy_primitives::{Address, B256};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// The fixture of the reference's tests: chain 1234, genesis at 9000, a block every two seconds,
/// Ecotone at half of the blocks.
fn config(blocks: u64) -> ChainConfig {
    let genesis = B256::repeat_byte(1);
    let mut chain =
        ChainConfig::development(1234, genesis, 9000, 2, Fork::Canyon, Address::repeat_byte(2));
    let ecotone = 9000 + blocks / 2 * 2;
    for fork in [Fork::Delta, Fork::Ecotone] {
        chain.forks = chain.forks.with(fork, Some(ecotone));
    }
    chain
}

/// Linked blocks 0 to `last`, v2 below Ecotone and v3 from there.
fn blocks(chain: &ChainConfig, last: u64, salt: u8, bytes: usize) -> Vec<Block> {
    let mut made: Vec<Block> = Vec::new();
    for number in 0..=last {
        let timestamp = chain.timestamp_of(number).expect("in range");
        let version = PayloadVersion::at(&chain.forks, timestamp);
        let payload = ExecutionPayload {
            parent_hash: made.last().map_or(B256::ZERO, Block::hash),
            block_number: number,
            timestamp,
            extra_data: vec![salt].into(),
            transactions: vec![vec![3; bytes].into()],
            withdrawals: Some(Vec::new()),
            blob_gas_used: version.has_beacon_root().then_some(0),
            excess_blob_gas: version.has_beacon_root().then_some(0),
            ..ExecutionPayload::default()
        };
        let parent_beacon_block_root = version.has_beacon_root().then_some(B256::repeat_byte(4));
        made.push(decoded(&sealed(Envelope { parent_beacon_block_root, payload })));
    }
    made
}

fn peer(byte: u8) -> PeerId {
    PeerId::try_from(&[byte; 39][..]).expect("39 bytes")
}

fn at(millis: u64) -> Instant {
    Instant::from_start(Duration::from_millis(millis))
}

/// A client, its pending requests, and its results.
struct World {
    client: RangeClient,
    now: u64,
    asked: Vec<(RequestId, u8, u64, usize)>,
    posted: Vec<(RequestId, usize, u64, String, usize)>,
    proved: Vec<Block>,
    conduct: Vec<(u8, Conduct)>,
    answered: Vec<(u8, u64, Result<u64, AnswerError>)>,
}

impl World {
    fn new(peers: impl IntoIterator<Item = u8>) -> Self {
        let mut client = RangeClient::new(ClientConfig::default());
        for byte in peers {
            client.connected(peer(byte), false);
        }
        let (asked, posted, proved, conduct, answered) = Default::default();
        Self { client, now: 0, asked, posted, proved, conduct, answered }
    }

    fn aim(&mut self, wanted: &Block, lowest: u64) {
        self.client.aim(at(self.now), Some(Range { wanted: BlockId::of(wanted), lowest }));
        self.drain();
    }

    fn drain(&mut self) {
        self.client.settle_charges(at(self.now), |_| false);
        while let Some(step) = self.client.poll(at(self.now)) {
            match step {
                ClientStep::Ask { id, peer, number, limit } => {
                    self.asked.push((id, peer.as_bytes()[0], number, limit));
                }
                ClientStep::Check(id, work) => {
                    self.client.checked(at(self.now), id, work.run(), |_| false);
                }
                ClientStep::AskEndpoint { id, endpoint, number, body, limit } => {
                    self.posted.push((id, endpoint, number, body, limit));
                }
                ClientStep::Proved(block, _) => self.proved.push(block),
                ClientStep::Conduct(peer, conduct) => {
                    self.conduct.push((peer.as_bytes()[0], conduct));
                }
                ClientStep::Answered(Answered { source, number, result, .. }) => {
                    let who = source.peer().map_or(0, |peer| peer.as_bytes()[0]);
                    self.answered.push((who, number, result.map(|id| id.number)));
                }
            }
        }
    }

    /// Answers the oldest request with `answer`, ten milliseconds after it was sent.
    fn answer(&mut self, answer: impl Fn(u8, u64) -> Result<Vec<u8>, RequestFailure>) -> bool {
        if self.asked.is_empty() {
            return false;
        }
        let (id, peer, number, limit) = self.asked.remove(0);
        self.now += 10;
        let result = answer(peer, number).and_then(|bytes| {
            if bytes.len() > limit { Err(RequestFailure::TooLong) } else { Ok(bytes.into()) }
        });
        self.client.received(at(self.now), id, result);
        self.drain();
        true
    }

    /// Runs until no request is pending, for at most `millis`.
    fn run(&mut self, millis: u64, answer: impl Fn(u8, u64) -> Result<Vec<u8>, RequestFailure>) {
        let end = self.now + millis;
        while self.now < end {
            if !self.answer(&answer) {
                let Some(due) = self.client.next_wakeup(at(self.now)) else { break };
                self.now = self.now.max(due.since_start().as_millis() as u64 + 1);
                self.drain();
            }
        }
    }

    fn proved_numbers(&self) -> Vec<u64> {
        self.proved.iter().map(Block::number).collect()
    }
}

fn not_found() -> Result<Vec<u8>, RequestFailure> {
    Ok(vec![ResultCode::NotFound.byte()])
}

/// TestSinglePeerSync: the range between 10 and 20.
#[test]
fn one_peer_serves_a_range_in_descending_order_with_roots_from_ecotone() {
    let chain = config(25);
    let made = blocks(&chain, 25, 0, 10);
    let mut world = World::new([1]);
    world.aim(&made[19], 11);
    world.run(60_000, |_, number| Ok(encode_response(&made[number as usize])));
    assert_eq!(world.proved_numbers(), (11..20).rev().collect::<Vec<_>>());
    for block in &world.proved {
        assert_eq!(block.hash(), made[block.number() as usize].hash());
        assert_eq!(block.parent_beacon_block_root().is_some(), block.number() >= 12);
    }
    assert_eq!(world.client.range(), None);
    assert_eq!(world.conduct, vec![(1, Conduct::ValidResponse); 9]);
}

/// An answer that is being checked can't be late any more, so nothing has to wake up for it.
#[test]
fn only_requests_without_an_answer_become_late() {
    let chain = config(25);
    let made = blocks(&chain, 25, 0, 10);
    let mut client = RangeClient::new(ClientConfig { in_flight: 1, ..ClientConfig::default() });
    client.connected(peer(1), false);
    client.aim(at(0), Some(Range { wanted: BlockId::of(&made[19]), lowest: 11 }));
    let Some(ClientStep::Ask { id, .. }) = client.poll(at(0)) else { panic!("no request") };
    assert!(client.poll(at(0)).is_none());
    assert_eq!(client.next_wakeup(at(0)), Some(at(0) + LATE));
    client.received(at(10), id, Ok(encode_response(&made[19]).into()));
    assert!(matches!(client.poll(at(10)), Some(ClientStep::Check(..))));
    assert!(client.poll(at(10)).is_none());
    assert_eq!(client.next_wakeup(at(10)), None);
}

/// TestMultiPeerSync: two servers with limits, then a block that neither of them has for a while.
#[test]
fn a_block_that_no_server_has_is_requested_again_and_nothing_else_is_lost() {
    let chain = config(100);
    let made = blocks(&chain, 100, 0, 10);
    let mut world = World::new([1, 2]);
    world.aim(&made[89], 11);
    world.run(120_000, |_, number| Ok(encode_response(&made[number as usize])));
    assert_eq!(world.proved_numbers(), (11..90).rev().collect::<Vec<_>>());

    world.proved.clear();
    world.aim(&made[29], 21);
    let lacking = |_, number| {
        if number == 25 { not_found() } else { Ok(encode_response(&made[number as usize])) }
    };
    world.run(20_000, lacking);
    assert_eq!(world.proved_numbers(), [29, 28, 27, 26]);
    assert_eq!(
        world.client.range().map(|range| range.wanted.number),
        Some(25),
        "the range is not cancelled"
    );
    assert!(
        world.conduct.iter().all(|(_, conduct)| *conduct == Conduct::ValidResponse),
        "nobody is blamed"
    );
    let before = world.answered.len();
    world.run(60_000, |_, number| Ok(encode_response(&made[number as usize])));
    assert_eq!(world.proved_numbers(), (21..30).rev().collect::<Vec<_>>());
    // The blocks below it had come already.
    assert_eq!(world.answered[before..].iter().filter(|(_, _, result)| result.is_ok()).count(), 1);
}

/// TestNetworkNotifyAddPeerAndRemovePeer; also checks that a second connection is not a second
/// server.
#[test]
fn connected_peers_are_counted_as_servers_once() {
    let mut world = World::new([1, 2]);
    world.client.connected(peer(1), false);
    assert_eq!(world.client.servers(), 2);
    world.client.disconnected(&peer(1));
    world.client.disconnected(&peer(9));
    assert_eq!(world.client.servers(), 1);
    world.client.connected(peer(1), false);
    assert_eq!(world.client.servers(), 2);
}

#[test]
fn with_only_static_peers_no_others_are_asked() {
    let chain = config(10);
    let made = blocks(&chain, 10, 0, 10);
    let mut world = World::new([]);
    world.client = RangeClient::new(ClientConfig { only_static: true, ..ClientConfig::default() });
    world.client.connected(peer(1), false);
    world.aim(&made[9], 5);
    assert!(world.asked.is_empty());
    world.client.connected(peer(2), true);
    world.drain();
    assert!(!world.asked.is_empty() && world.asked.iter().all(|(_, peer, ..)| *peer == 2));
}

/// The reference fetches from a peer before it knows of any work (3.6), and evicts honest blocks
/// (3.8).
#[test]
fn a_window_of_answers_without_the_one_above_them_blames_no_server() {
    let chain = config(400);
    let made = blocks(&chain, 400, 0, 10);
    let mut world = World::new(1..=8);
    world.aim(&made[399], 1);
    // The newest block is never served; everything below waits for it.
    let lacking = |_, number| {
        if number == 399 { not_found() } else { Ok(encode_response(&made[number as usize])) }
    };
    world.run(120_000, lacking);
    assert!(world.proved.is_empty() && world.conduct.is_empty());
    assert!(world.client.slots() <= 256);
    world.run(300_000, |_, number| Ok(encode_response(&made[number as usize])));
    assert_eq!(world.proved.len(), 399);
}

#[test]
fn a_block_of_another_branch_is_blamed_only_once_the_right_one_arrives() {
    let chain = config(30);
    let (made, forked) = (blocks(&chain, 30, 0, 10), blocks(&chain, 30, 7, 10));
    let mut world = World::new([1]);
    world.aim(&made[20], 20);
    world.run(3_000, |_, number| Ok(encode_response(&forked[number as usize])));
    assert!(world.conduct.is_empty(), "an honest server of another branch would say the same");
    world.client.connected(peer(2), false);
    world.drain();
    world.run(300_000, |peer, number| {
        Ok(encode_response(if peer == 2 {
            &made[number as usize]
        } else {
            &forked[number as usize]
        }))
    });
    assert_eq!(world.proved_numbers(), [20]);
    assert_eq!(world.conduct, [(2, Conduct::ValidResponse), (1, Conduct::RejectedPayload)]);
}

#[test]
fn a_large_block_is_fetched_with_a_larger_limit_and_no_server_is_blamed() {
    let chain = config(4);
    let mut made = blocks(&chain, 4, 0, 10);
    // Noise, so that it does not shrink on the stream.
    let noise: Vec<u8> =
        (0..2_u32 << 20).map(|at| at.wrapping_mul(0x9e37_79b9).to_be_bytes()[1]).collect();
    let below = made[1].hash();
    let mut envelope = made[2].to_envelope();
    envelope.payload.parent_hash = below;
    envelope.payload.transactions = vec![noise.into()];
    made[2] = decoded(&sealed(envelope));
    let mut world = World::new([1]);
    world.aim(&made[2], 1);
    world.run(60_000, |_, number| Ok(encode_response(&made[number as usize])));
    assert_eq!(world.proved_numbers(), [2, 1]);
    assert_eq!(world.conduct, vec![(1, Conduct::ValidResponse); 2]);
    assert!(
        world.answered.iter().any(|(_, _, result)| result == &Err(RequestFailure::TooLong.into()))
    );
}

#[test]
fn a_late_request_is_repeated_to_one_other_peer() {
    let chain = config(4);
    let made = blocks(&chain, 4, 0, 10);
    let mut world = World::new([1, 2, 3]);
    world.aim(&made[3], 3);
    assert_eq!(world.asked.len(), 1);
    world.now = 999;
    world.drain();
    assert_eq!(world.asked.len(), 1);
    world.now = 1_000;
    world.drain();
    assert_eq!(world.asked.len(), 2);
    assert_ne!(world.asked[0].1, world.asked[1].1);
    world.now = 9_000;
    world.drain();
    assert_eq!(world.asked.len(), 2, "never three for one number");
}

#[derive(Clone, Debug)]
enum Event {
    Answer(usize, u8),
    Wait(u64),
    Aim(u64, u64),
    Connect(u8),
    Disconnect(u8),
    Hurry,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (0_usize..64, 0_u8..9).prop_map(|(which, how)| Event::Answer(which, how)),
        2 => (0_u64..3_000).prop_map(Event::Wait),
        1 => (0_u64..60, 0_u64..60).prop_map(|(wanted, lowest)| Event::Aim(wanted, lowest)),
        1 => (0_u8..8).prop_map(Event::Connect),
        1 => (0_u8..8).prop_map(Event::Disconnect),
        1 => Just(Event::Hurry),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_interleaving_exceeds_the_bounds(
        events in prop::collection::vec(event(), 1..300),
        in_flight in 1_usize..20, window in 1_usize..40, servers in 1_usize..6,
    ) {
        let chain = config(60);
        let (made, forked) = (blocks(&chain, 60, 0, 500), blocks(&chain, 60, 9, 500));
        let mut world = World::new([]);
        let config = ClientConfig { in_flight, window, servers, ..ClientConfig::default() };
        world.client = RangeClient::new(config);
        for event in events {
            match event {
                Event::Answer(which, how) if !world.asked.is_empty() => {
                    let (id, _, number, limit) = world.asked.remove(which % world.asked.len());
                    let right = || encode_response(&made[number as usize]);
                    let result = match how {
                        0..=2 => Ok(right()),
                        3 => not_found(),
                        4 => Ok(encode_response(&forked[number as usize])),
                        5 => Ok(encode_response(&made[number as usize / 2])),
                        6 => Err(RequestFailure::Timeout),
                        7 => Ok(vec![0, 1, 0, 0, 0, 9]),
                        _ => Err(RequestFailure::TooLong),
                    };
                    prop_assert!(limit <= MAX_RESPONSE_SIZE);
                    world.client.received(at(world.now), id, result.map(Into::into));
                }
                Event::Answer(..) => {}
                Event::Wait(millis) => world.now += millis,
                Event::Aim(wanted, lowest) => {
                    let range = Range { wanted: BlockId::of(&made[wanted as usize]), lowest };
                    world.client.aim(at(world.now), Some(range));
                }
                Event::Connect(byte) => world.client.connected(peer(byte), false),
                Event::Disconnect(byte) => world.client.disconnected(&peer(byte)),
                Event::Hurry => world.client.expedite(at(world.now)),
            }
            world.drain();
            prop_assert!(world.client.in_flight() <= in_flight);
            prop_assert!(world.client.slots() <= window);
            prop_assert!(world.client.bytes() <= ClientConfig::default().bytes);
            prop_assert!(world.client.servers() <= servers);
            prop_assert_eq!(world.client.in_flight(), world.asked.len());
            let mut under_way = BTreeSet::new();
            for (_, peer, number, _) in &world.asked {
                prop_assert!(under_way.insert((*peer, *number)), "one peer is asked twice at once");
            }
            for number in 0..60 {
                prop_assert!(world.asked.iter().filter(|(_, _, of, _)| *of == number).count() <= 2);
            }
        }
        // Every proved block is the chain's, whichever peer sent it.
        for block in &world.proved {
            prop_assert_eq!(block.hash(), made[block.number() as usize].hash());
            prop_assert!(block.size() > 0);
        }
    }
}

/// Blocks of another branch, which starts above `ancestor`.
fn branch(made: &[Block], ancestor: usize) -> Vec<Block> {
    let mut branch = made[..=ancestor].to_vec();
    for block in &made[ancestor + 1..] {
        let mut envelope = block.to_envelope();
        envelope.payload.parent_hash = branch[branch.len() - 1].hash();
        envelope.payload.gas_used = 7;
        branch.push(decoded(&sealed(envelope)));
    }
    branch
}

#[test]
fn a_reorg_while_filling_is_not_blamed_on_honest_servers() {
    let made = blocks(&config(300), 300, 0, 100);
    let other = branch(&made, 200);
    // Time of the sequencer's reorg, and latency of the slow server.
    for (reorg, slow) in [(300, 900), (700, 900), (700, 2_000), (1_500, 700)] {
        let mut world = World::new(1..=3);
        for byte in 1..=3 {
            world.client.heard(at(0), &peer(byte), 300);
        }
        world.aim(&made[295], 1);
        let mut due: Vec<(u64, RequestId, Vec<u8>)> = Vec::new();
        while world.now < 20_000 {
            for (id, peer, number, _) in std::mem::take(&mut world.asked) {
                // The answer is the canonical block at the time of the request. The third server is
                // far away.
                let chain = if world.now >= reorg { &other } else { &made };
                let latency = [20, 40, slow][usize::from(peer) - 1];
                due.push((world.now + latency, id, encode_response(&chain[number as usize])));
            }
            let now = world.now;
            let (ready, rest): (Vec<_>, Vec<_>) = due.into_iter().partition(|(at, ..)| *at <= now);
            due = rest;
            for (_, id, bytes) in ready {
                world.client.received(at(now), id, Ok(bytes.into()));
                world.drain();
            }
            if now == reorg {
                world.aim(&other[300], 1);
            }
            world.now += 10;
            world.drain();
        }
        let blamed = world.conduct.iter().filter(|(_, c)| *c != Conduct::ValidResponse).count();
        assert_eq!(blamed, 0, "reorg at {reorg} ms, {slow} ms");
        assert_eq!(world.proved_numbers().last(), Some(&1));
    }
}

#[test]
fn a_peer_that_gossips_near_the_wanted_block_is_asked_first() {
    let made = blocks(&config(3000), 3000, 0, 10);
    for near in 1..=3 {
        let mut world = World::new(1..=3);
        for byte in 1..=3 {
            world.client.heard(at(0), &peer(byte), if byte == near { 3000 } else { 100 });
        }
        world.aim(&made[2999], 2990);
        assert_eq!(world.asked.first().map(|asked| (asked.1, asked.2)), Some((near, 2999)));
    }
}

#[test]
fn a_server_is_blamed_once_for_many_blocks() {
    let made = blocks(&config(300), 300, 0, 100);
    let forked = blocks(&config(300), 300, 9, 100);
    let mut world = World::new(1..=4);
    world.aim(&made[299], 1);
    world.run(600_000, |peer, number| {
        let chain = if peer == 1 { &forked } else { &made };
        Ok(encode_response(&chain[number as usize]))
    });
    assert_eq!(world.proved.len(), 299);
    let blamed: Vec<_> =
        world.conduct.iter().filter(|(_, c)| *c != Conduct::ValidResponse).collect();
    assert_eq!(blamed, [&(1, Conduct::RejectedPayload)]);
}

#[test]
fn after_a_too_long_answer_other_peers_are_asked_first() {
    let made = blocks(&config(60), 60, 0, 100);
    let mut world = World::new(1..=3);
    world.aim(&made[60], 60);
    let (id, first, ..) = world.asked.remove(0);
    world.client.received(at(10), id, Err(RequestFailure::TooLong));
    world.drain();
    assert!(world.asked.iter().all(|(_, peer, ..)| *peer != first), "{:?}", world.asked);
    assert!(!world.asked.is_empty());
}

#[test]
fn an_endpoint_is_asked_at_its_configured_rate() {
    let made = blocks(&config(400), 400, 0, 10);
    let endpoint_rate = Rate::per_second(5, 10);
    let mut world = World::new([]);
    world.client =
        RangeClient::new(ClientConfig { endpoints: 1, endpoint_rate, ..ClientConfig::default() });
    world.aim(&made[399], 1);
    let mut posted = 0;
    while world.now < 20_000 {
        for (id, _, number, body, _) in std::mem::take(&mut world.posted) {
            posted += 1;
            let is_frontier = body.contains(&made[number as usize].hash().to_string());
            assert!(is_frontier || body.contains(&format!("{number:#x}")), "{body}");
            let raw = crate::payload::rebuild::to_rlp(&made[number as usize]);
            let raw = alloy_primitives::hex::encode(raw);
            let answer = format!(r#"{{"jsonrpc":"2.0","id":0,"result":"0x{raw}"}}"#);
            world.client.received(at(world.now), id, Ok(answer.into_bytes().into()));
        }
        world.now += 10;
        world.drain();
    }
    assert!((100..=106).contains(&posted), "{posted} requests");
    assert!(world.proved.len() >= 90, "{} blocks", world.proved.len());
    assert!(world.conduct.is_empty());
}
