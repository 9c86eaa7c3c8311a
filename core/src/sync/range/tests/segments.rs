//! The client with hand-written answers, and single reads of a store.

use super::server::noise;
use super::*;
use crate::chain::BlockId;
use crate::peers::Conduct;
use crate::sync::client::Range;
use std::convert::Infallible;

/// Returns a client that fetches blocks 1 to the last from these peers.
fn client(chain: &[Block], servers: usize, peers: &[u8]) -> SegmentClient {
    let config = SegmentClientConfig { servers, ..SegmentClientConfig::new(1) };
    let mut client = SegmentClient::new(config);
    peers.iter().for_each(|byte| client.connected(peer(*byte)));
    let wanted = BlockId::of(chain.last().expect("a block"));
    client.aim(at(0), Some(Range { wanted, lowest: 1 }));
    client
}

/// Runs the client's checks, and returns its other steps.
fn steps(client: &mut SegmentClient, now: u64) -> Vec<SegmentStep> {
    let mut steps = Vec::new();
    while let Some(step) = client.poll(at(now)) {
        match step {
            SegmentStep::Check(id, work) => client.checked(at(now), id, work.run()),
            step => steps.push(step),
        }
    }
    steps
}

fn opened(steps: &[SegmentStep]) -> Vec<(StreamId, PeerId, Request)> {
    let open = |step: &SegmentStep| match step {
        SegmentStep::Open { id, peer, request } => Some((*id, *peer, *request)),
        _ => None,
    };
    steps.iter().filter_map(open).collect()
}

/// Returns a chunk with `count` blocks from `first` downwards.
fn chunk(chain: &[Block], first: u64, count: u64) -> Vec<u8> {
    let blocks = (first + 1 - count..=first).rev().map(|number| &chain[number as usize]);
    packed(blocks).frame.to_vec()
}

fn is_blamed(steps: &[SegmentStep], from: PeerId) -> bool {
    steps.iter().any(|step| match step {
        SegmentStep::Conduct(peer, Conduct::ErrorResponse) => *peer == from,
        _ => false,
    })
}

#[test]
fn the_first_request_is_for_the_default_number_of_blocks() {
    let chain = chain(300, 0, 100);
    let mut client = client(&chain, 8, &[1]);
    let request = opened(&steps(&mut client, 0))[0].2;
    assert_eq!(request.first, First::Block(BlockId::of(&chain[300])));
    assert_eq!(request.blocks, FIRST_BLOCKS);
}

#[test]
fn a_server_is_praised_once_for_many_blocks_and_at_the_end() {
    let chain = chain(130, 0, 100);
    let mut client = client(&chain, 8, &[1]);
    let mut praises = Vec::new();
    let mut proved = 0;
    for now in 1..100 {
        let steps = steps(&mut client, now);
        for step in &steps {
            match step {
                SegmentStep::Proved(..) => proved += 1,
                SegmentStep::Conduct(_, Conduct::ValidResponse) => praises.push(proved),
                _ => {}
            }
        }
        for (id, _, request) in opened(&steps) {
            let count = u64::from(request.blocks);
            client.received(at(now), id, &chunk(&chain, request.first.number(), count));
            client.received(at(now), id, &End::Complete.encode());
            client.closed(at(now), id, StreamClose::Finished);
        }
    }
    assert_eq!((proved, client.range()), (130, None));
    assert_eq!(praises, [PRAISE, 2 * PRAISE, 130]);
}

#[test]
fn a_server_that_sends_more_blocks_than_requested_in_several_chunks_is_at_fault() {
    let chain = chain(300, 0, 100);
    let mut client = client(&chain, 8, &[1, 2]);
    let (id, from, request) = opened(&steps(&mut client, 0))[0];
    let (first, count) = (request.first.number(), u64::from(request.blocks));
    client.received(at(10), id, &chunk(&chain, first, count - 1));
    assert!(!is_blamed(&steps(&mut client, 10), from), "it may send one more");
    client.received(at(20), id, &chunk(&chain, first + 1 - count, 2));
    assert!(is_blamed(&steps(&mut client, 20), from));
}

#[test]
fn a_server_that_sends_more_bytes_than_requested_in_several_chunks_is_at_fault() {
    let chain = noise(200, 30_000);
    let mut client = client(&chain, 8, &[1, 2]);
    let open = opened(&steps(&mut client, 0));
    let is_lower = |(_, _, request): &&(_, _, Request)| request.first.number() < 200;
    let (id, from, request) = open.iter().find(is_lower).expect("a segment below the frontier");
    let (mut next, mut sent) = (request.first.number(), 0);
    while sent <= request.bytes {
        assert!(!is_blamed(&steps(&mut client, 10), *from), "after {sent} bytes");
        client.received(at(10), *id, &chunk(&chain, next, 8));
        (next, sent) = (next - 8, sent + 8 * 30_000);
    }
    let count = request.first.number() - next;
    assert!(count <= request.blocks.into(), "the number of blocks is not the reason");
    assert!(is_blamed(&steps(&mut client, 10), *from));
}

#[test]
fn blocks_that_wait_for_the_frontier_count_with_their_size() {
    let chain = noise(200, 5000);
    let mut client = client(&chain, 8, &[1, 2]);
    let open = opened(&steps(&mut client, 0));
    let is_lower = |(_, _, request): &&(_, _, Request)| request.first.number() < 200;
    let (id, _, request) = open.iter().find(is_lower).expect("a segment below the frontier");
    let before = client.bytes();
    client.received(at(10), *id, &chunk(&chain, request.first.number(), 10));
    assert!(opened(&steps(&mut client, 10)).is_empty());
    assert!(client.bytes() >= before + 10 * 5000, "{} after {before}", client.bytes());
}

#[test]
fn a_full_table_of_servers_forgets_one_that_left_and_no_connected_one() {
    let chain = chain(300, 0, 100);
    let mut client = client(&chain, 3, &[1, 2, 3]);
    client.disconnected(at(0), &peer(2));
    client.connected(peer(4));
    client.connected(peer(5));
    let asked: Vec<PeerId> = opened(&steps(&mut client, 0)).iter().map(|open| open.1).collect();
    assert_eq!(client.servers(), 3);
    for byte in [1, 3, 4] {
        assert!(asked.contains(&peer(byte)), "{byte} is not asked");
    }
    assert!(!asked.contains(&peer(5)), "there is no place for it");
}

#[test]
fn a_silent_server_keeps_the_frontier_for_four_seconds_while_no_other_is_proven() {
    let chain = chain(10, 0, 100);
    let mut client = client(&chain, 8, &[1, 2]);
    let mut now = 0;
    assert_eq!(opened(&steps(&mut client, now)).len(), 1, "ten blocks are one segment");
    let mut asked = Vec::new();
    while now < STALL.as_millis() as u64 {
        let due = client.next_wakeup(at(now)).expect("a silent server is not waited for for ever");
        assert!(due > at(now));
        now = due.since_start().as_millis() as u64;
        let open = opened(&steps(&mut client, now));
        asked.extend(open.iter().map(|(_, whom, _)| (now, *whom)));
    }
    let (first_pause, other) = (asked[0].0, asked[0].1);
    assert_eq!(first_pause, 4_000, "{asked:?}");
    // The other one is silent too, so the first has its turn again.
    assert!(asked[1..].iter().any(|(_, whom)| *whom != other), "{asked:?}");
}

/// A store with the blocks of a chain.
struct Stored<'a>(&'a [Block]);

impl EncodedBlocks for Stored<'_> {
    type Body = Vec<u8>;
    type Error = Infallible;

    fn canonical(&mut self, number: u64) -> Result<Option<Encoded<Vec<u8>>>, Infallible> {
        let block = self.0.iter().find(|block| block.number() == number);
        Ok(block.map(|block| Encoded {
            hash: block.hash(),
            parent_hash: block.parent_hash(),
            version: block.version(),
            body: block.body().to_vec(),
        }))
    }

    fn numbers(&mut self) -> Result<Option<(u64, u64)>, Infallible> {
        Ok(self.0.first().zip(self.0.last()).map(|(low, high)| (low.number(), high.number())))
    }
}

#[test]
fn a_read_goes_on_from_blocks_in_memory_to_those_of_the_store() {
    let chain = chain(20, 0, 100);
    let held = vec![chain[20].clone(), chain[19].clone()];
    let first = First::Block(BlockId::of(&chain[20]));
    let order = ReadOrder { first, blocks: 5, bytes: u64::MAX, held };
    let Ok(done) = order.run(&mut Stored(&chain[..=18]));
    let Some(packed) = &done.packed else { panic!("{done:?}") };
    assert_eq!((packed.blocks, done.next), (5, Next::Block(First::Block(BlockId::of(&chain[15])))));

    let Ok(done) = ReadOrder { blocks: 1, ..order }.run(&mut Stored(&[]));
    let next = Next::Block(First::Block(BlockId::of(&chain[19])));
    assert_eq!((done.packed.map(|packed| packed.blocks), done.next), (Some(1), next));
}

#[test]
fn a_read_above_the_store_is_not_taken_for_one_below() {
    let chain = chain(20, 0, 100);
    let mut store = Stored(&chain[5..]);
    let mut read = |number| {
        let first = First::Canonical(number);
        let order = ReadOrder { first, blocks: 3, bytes: u64::MAX, held: Vec::new() };
        let Ok(done) = order.run(&mut store);
        (done.packed.map_or(0, |packed| packed.blocks), done.next)
    };
    assert_eq!(read(21), (0, Next::NeverHad { highest: 20 }));
    assert_eq!(read(4), (0, Next::NoMore { lowest: 5 }));
    assert_eq!(read(6), (2, Next::NoMore { lowest: 5 }));
}

/// A server with 1 MB/s.
fn slow_server() -> RangeServer {
    let bytes = CostRate { per_second: 1_000_000, burst: 0 };
    let total = Limits { bytes, ..Limits::UNLIMITED };
    let wait = Duration::MAX;
    RangeServer::new(RangeServerConfig { total, longest_wait: wait, ..RangeServerConfig::new(1) })
}

#[test]
fn a_browser_that_comes_later_gets_its_share_from_then_on() {
    let blocks = noise(300, 20_000);
    let mut server = slow_server();
    let request =
        |first| Request { chain_id: 1, first, blocks: 300, bytes: u64::MAX, codecs: CODECS };
    let ask = |server: &mut RangeServer, now, byte: u8, class| {
        let request = Ok(request(First::Canonical(300)));
        server.request(at(now), peer(byte), class, RangeServeId(byte.into()), request);
    };
    ask(&mut server, 0, 1, Class::Node);
    ask(&mut server, 0, 2, Class::Node);
    let mut written = [0_usize; 2];
    for now in (0..7000).step_by(10) {
        if now == 4000 {
            written = [0; 2];
            ask(&mut server, now, 100, Class::Browser);
        }
        while let Some(step) = server.poll(at(now)) {
            match step {
                RangeServeStep::Read { id, first, blocks: count, bytes } => {
                    let done = super::server::read(&blocks, 0, (first, count, bytes));
                    server.read(at(now), id, done);
                }
                RangeServeStep::Write { id, frame } => {
                    written[usize::from(id == RangeServeId(100))] += frame.len();
                    server.written(at(now), id);
                }
                step => panic!("no answer is over yet: {step:?}"),
            }
        }
    }
    let share = written[1] * 100 / (written[0] + written[1]);
    assert!((10..=40).contains(&share), "{share} % of {written:?}");
}

#[test]
fn a_peer_that_does_not_read_fills_a_quarter_of_the_buffer() {
    let blocks = noise(100, 20_000);
    let config =
        RangeServerConfig { streams_per_peer: 64, buffer: 4 << 20, ..RangeServerConfig::new(1) };
    let mut server = RangeServer::new(config);
    for id in 1..=64 {
        let (first, codecs) = (First::Canonical(100), CODECS);
        let request = Request { chain_id: 1, first, blocks: 100, bytes: u64::MAX, codecs };
        server.request(at(0), peer(1), Class::Node, RangeServeId(id), Ok(request));
    }
    while let Some(step) = server.poll(at(0)) {
        if let RangeServeStep::Read { id, first, blocks: count, bytes } = step {
            server.read(at(0), id, super::server::read(&blocks, 0, (first, count, bytes)));
        }
    }
    // A read that began below the limit may end above it.
    let most = config.buffer / 4 + config.reads * CHUNK_CONTENTS * 2;
    assert!((config.buffer / 8..=most).contains(&server.buffered()), "{}", server.buffered());
}
