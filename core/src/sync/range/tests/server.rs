//! The server, with a store of blocks in memory and peers that read at their own pace.

use super::*;
use crate::chain::BlockId;
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};

/// Reads as a driver does.
pub(super) fn read(
    blocks: &[Block],
    lowest: u64,
    (first, count, bytes): (First, u32, u64),
) -> ReadDone {
    let highest = blocks.len() as u64 - 1;
    let found = blocks.get(first.number() as usize);
    let is_it = found.is_some_and(|block| first.hash().is_none_or(|hash| hash == block.hash()));
    if first.number() < lowest {
        return ReadDone { packed: None, next: Next::NoMore { lowest } };
    }
    if !is_it {
        return ReadDone { packed: None, next: Next::NeverHad { highest } };
    }
    let (mut packer, mut number, mut taken) = (Packer::new(bytes), first.number(), 0);
    let next = loop {
        let block = &blocks[number as usize];
        if taken == count || !packer.add(block.version(), block.body()) {
            let is_too_large = taken == 0;
            let id = First::Block(BlockId::of(block));
            break if is_too_large { Next::TooLarge } else { Next::Block(id) };
        }
        taken += 1;
        if number == lowest {
            break Next::NoMore { lowest };
        }
        number -= 1;
    };
    ReadDone { packed: packer.finish(), next }
}

fn request(first: u64, blocks: u32) -> Request {
    Request { chain_id: 1, first: First::Canonical(first), blocks, bytes: u64::MAX, codecs: CODECS }
}

/// A server, its store, and what it wrote.
struct World {
    server: RangeServer,
    blocks: Vec<Block>,
    lowest: u64,
    now: u64,
    /// Peers that do not read.
    deaf: Vec<RangeServeId>,
    written: BTreeMap<RangeServeId, usize>,
    ends: BTreeMap<RangeServeId, Option<End>>,
    order: Vec<RangeServeId>,
}

impl World {
    fn new(config: RangeServerConfig) -> Self {
        Self {
            server: RangeServer::new(config),
            blocks: chain(400, 0, 5000),
            lowest: 0,
            now: 0,
            deaf: Vec::new(),
            written: BTreeMap::new(),
            ends: BTreeMap::new(),
            order: Vec::new(),
        }
    }

    fn ask(&mut self, from: u8, id: u64, request: Request) {
        let class = if from >= 100 { Class::Browser } else { Class::Node };
        self.server.request(at(self.now), peer(from), class, RangeServeId(id), Ok(request));
    }

    /// Executes at most this many steps.
    fn run(&mut self, steps: usize) {
        let mut reads = VecDeque::new();
        for _ in 0..steps {
            let now = at(self.now);
            match self.server.poll(now) {
                Some(RangeServeStep::Read { id, first, blocks, bytes }) => {
                    reads.push_back((id, (first, blocks, bytes)));
                }
                Some(RangeServeStep::Write { id, frame }) => {
                    *self.written.entry(id).or_default() += frame.len();
                    self.order.push(id);
                    if !self.deaf.contains(&id) {
                        self.server.written(now, id);
                    }
                }
                Some(RangeServeStep::End { id, end, .. }) => {
                    assert!(self.ends.insert(id, Some(end)).is_none(), "a second end");
                }
                Some(RangeServeStep::Reset { id, .. }) => {
                    assert!(self.ends.insert(id, None).is_none(), "a second end");
                }
                None => {
                    let Some((id, order)) = reads.pop_front() else { break };
                    self.server.read(now, id, read(&self.blocks, self.lowest, order));
                }
            }
        }
        for (id, order) in reads {
            self.server.read(at(self.now), id, read(&self.blocks, self.lowest, order));
        }
    }

    /// Lets time pass in steps of 10 ms.
    fn pass(&mut self, millis: u64) {
        for _ in 0..millis / 10 {
            self.now += 10;
            self.run(1000);
        }
    }

    fn end(&self, id: u64) -> Option<End> {
        self.ends.get(&RangeServeId(id)).copied().flatten()
    }

    fn bytes(&self, id: u64) -> usize {
        self.written.get(&RangeServeId(id)).copied().unwrap_or(0)
    }
}

#[test]
fn each_request_ends_for_its_reason() {
    let mut world = World::new(RangeServerConfig::new(1));
    world.lowest = 10;
    let unknown = First::Block(BlockId::new(20, B256::repeat_byte(9)));
    world.ask(1, 1, request(400, 200));
    world.ask(2, 2, request(12, 9));
    world.ask(3, 3, request(9, 1));
    world.ask(4, 4, request(401, 1));
    world.ask(5, 5, Request { first: unknown, ..request(0, 1) });
    world.ask(6, 6, Request { chain_id: 2, ..request(20, 1) });
    world.ask(7, 7, Request { bytes: 100, ..request(20, 1) });
    world.ask(8, 8, Request { bytes: 12_000, ..request(20, 9) });
    let invalid = Err(RequestError::Nothing);
    world.server.request(at(0), peer(9), Class::Node, RangeServeId(9), invalid);
    world.run(1000);
    world.server.turn_off(true);
    world.ask(1, 10, request(20, 1));
    world.run(1000);
    let expected = [
        End::Complete,
        End::NoMore { lowest: 10 },
        End::NoMore { lowest: 10 },
        End::NeverHad { highest: 400 },
        End::NeverHad { highest: 400 },
        End::OtherChain { chain_id: 1 },
        End::Complete,
        End::Complete,
        End::Invalid,
        End::Refused,
    ];
    for (id, end) in (1..).zip(expected) {
        assert_eq!(world.end(id), Some(end), "request {id}");
    }
    assert_eq!((world.bytes(7), world.server.streams(), world.server.peers()), (0, 0, 0));
    assert!(world.bytes(8) > 0, "two of the blocks fit");
}

#[test]
fn what_is_written_is_the_whole_range() {
    let mut world = World::new(RangeServerConfig::new(1));
    world.ask(1, 1, request(400, 401));
    let (mut decoder, mut number, mut hash) = (AnswerDecoder::new(MAX_CONTENTS), 400, None);
    let mut proved = 0;
    while let Some(step) = world.server.poll(at(0)) {
        let bytes = match step {
            RangeServeStep::Read { id, first, blocks, bytes } => {
                world.server.read(at(0), id, read(&world.blocks, 0, (first, blocks, bytes)));
                continue;
            }
            RangeServeStep::Write { id, frame } => {
                world.server.written(at(0), id);
                frame.to_vec()
            }
            RangeServeStep::End { end, .. } => end.encode().to_vec(),
            RangeServeStep::Reset { .. } => panic!("it was read"),
        };
        if let Ok(Some(Frame::Chunk(chunk))) = decoder.next(&mut &bytes[..]) {
            let checked = ChunkWork::new(chunk, number, hash).run();
            assert_eq!(checked.fault, None);
            proved += checked.blocks.len();
            let last = checked.blocks.last().expect("a chunk has blocks");
            (number, hash) = (last.number().saturating_sub(1), Some(last.parent_hash()));
        }
    }
    assert_eq!((proved, decoder.finish()), (401, Ok(())));
}

#[test]
fn one_peer_gets_everything_and_many_get_the_same() {
    let bytes = CostRate { per_second: 1_000_000, burst: 300_000 };
    let total = Limits { bytes, ..Limits::UNLIMITED };
    let config =
        RangeServerConfig { total, longest_wait: Duration::MAX, ..RangeServerConfig::new(1) };
    let incompressible = |world: &mut World| {
        // The blocks of a chain compress too well to reach a limit.
        world.blocks = noise(300, 20_000);
    };
    let mut alone = World::new(config);
    incompressible(&mut alone);
    alone.ask(1, 1, request(300, 300));
    alone.pass(4000);
    assert!((4_000_000..4_900_000).contains(&alone.bytes(1)), "{}", alone.bytes(1));

    // One of them uses three streams.
    let mut many = World::new(config);
    incompressible(&mut many);
    for (from, id) in [(1, 1), (2, 2), (3, 3), (4, 4), (4, 5), (4, 6)] {
        many.ask(from, id, request(300, 300));
    }
    many.pass(4000);
    let of_last = many.bytes(4) + many.bytes(5) + many.bytes(6);
    for bytes in [many.bytes(1), many.bytes(2), many.bytes(3), of_last] {
        assert!((700_000..1_600_000).contains(&bytes), "{bytes}");
    }
    assert_eq!(many.bytes(6), 0, "the oldest stream of a peer comes first");
}

#[test]
fn browsers_have_their_share_and_no_more() {
    let bytes = CostRate { per_second: 1_000_000, burst: 0 };
    let total = Limits { bytes, ..Limits::UNLIMITED };
    let config =
        RangeServerConfig { total, longest_wait: Duration::MAX, ..RangeServerConfig::new(1) };
    let mut world = World::new(config);
    world.blocks = noise(300, 20_000);
    for id in 1..=2 {
        world.ask(id as u8, id, request(300, 300));
    }
    for id in 100..=119 {
        world.ask(id as u8, id, request(300, 300));
    }
    world.pass(8000);
    let nodes = world.bytes(1) + world.bytes(2);
    let browsers: usize = (100..=119).map(|id| world.bytes(id)).sum();
    let share = browsers * 100 / (nodes + browsers);
    assert!((15..=35).contains(&share), "{share} %");
}

#[test]
fn a_limit_of_one_peer_delays_no_other() {
    let reads = CostRate { per_second: 2, burst: 10 };
    let per_peer = Limits { reads, ..Limits::UNLIMITED };
    let mut world = World::new(RangeServerConfig { per_peer, ..RangeServerConfig::new(1) });
    world.ask(1, 1, request(400, 400));
    world.run(1000);
    assert_eq!(world.order.len(), 1, "the first read overdraws");
    world.ask(2, 2, request(400, 5));
    world.run(1000);
    assert_eq!(world.end(2), Some(End::Complete));
    assert!(world.server.next_wakeup().is_some_and(|due| due > at(0)));
    world.pass(11_000);
    let Some(End::Limited { retry }) = world.end(1) else { panic!("{:?}", world.end(1)) };
    assert!(retry >= Duration::from_secs(1));
}

#[test]
fn a_peer_that_does_not_read_loses_its_stream_and_delays_no_other() {
    let config = RangeServerConfig { streams_per_peer: 64, ..RangeServerConfig::new(1) };
    let mut world = World::new(config);
    world.deaf = (1..=64).map(RangeServeId).collect();
    for id in 1..=64 {
        world.ask(1, id, request(400, 400));
    }
    world.run(100_000);
    assert!(world.server.buffered() <= config.buffer);
    world.ask(2, 99, request(400, 400));
    world.run(100_000);
    assert_eq!(world.end(99), Some(End::Complete));
    world.pass(21_000);
    assert_eq!((world.server.streams(), world.server.buffered()), (0, 0));
    assert_eq!(world.ends.get(&RangeServeId(1)), Some(&None));
}

#[test]
fn requests_that_are_cancelled_at_once_start_no_further_reads() {
    let config = RangeServerConfig::new(1);
    let mut world = World::new(config);
    let mut orders = Vec::new();
    for id in 1..=1000 {
        world.ask(1, id, request(400, 400));
        while let Some(step) = world.server.poll(at(0)) {
            let RangeServeStep::Read { id, first, blocks, bytes } = step else {
                panic!("{step:?}")
            };
            orders.push((id, (first, blocks, bytes)));
        }
        world.server.cancelled(at(0), RangeServeId(id));
    }
    assert_eq!((orders.len(), world.server.reads()), (config.reads, config.reads));
    for (id, order) in orders {
        world.server.read(at(0), id, read(&world.blocks, 0, order));
    }
    assert_eq!((world.server.streams(), world.server.reads()), (0, 0));
    world.ask(1, 2000, request(400, 400));
    world.run(1000);
    assert_eq!(world.end(2000), Some(End::Complete));
}

#[test]
fn nothing_is_read_or_written_while_gossip_comes_first() {
    let mut world = World::new(RangeServerConfig::new(1));
    world.ask(1, 1, request(400, 400));
    let first = world.server.poll(at(0));
    let Some(RangeServeStep::Read { id, first, blocks, bytes }) = first else {
        panic!("{first:?}")
    };
    world.server.hold(true);
    world.server.read(at(0), id, read(&world.blocks, 0, (first, blocks, bytes)));
    assert_eq!(world.server.poll(at(0)), None);
    world.server.hold(false);
    world.run(1000);
    assert_eq!(world.end(1), Some(End::Complete));
}

#[test]
fn the_numbers_of_streams_and_peers_are_bounded() {
    let reads = CostRate { per_second: 1, burst: 1 };
    let per_peer = Limits { reads, ..Limits::UNLIMITED };
    let config = RangeServerConfig::new(1);
    let config =
        RangeServerConfig { streams: 6, streams_per_peer: 4, peers: 3, per_peer, ..config };
    let mut world = World::new(config);
    for id in 1..=5 {
        world.ask(1, id, request(400, 400));
    }
    assert_eq!((world.server.streams(), world.server.peers()), (4, 1));
    for id in 11..=20 {
        world.ask(id as u8, id, request(400, 400));
    }
    assert_eq!((world.server.streams(), world.server.peers()), (6, 3));
    world.run(1000);
    let limited = End::Limited { retry: Duration::from_secs(1) };
    assert_eq!((world.end(5), world.end(20)), (Some(limited), Some(limited)));
    for id in 1..=20 {
        world.server.cancelled(at(0), RangeServeId(id));
    }
    assert_eq!((world.server.streams(), world.server.reads()), (0, 0));
    // Their debts are remembered until they are paid.
    assert!(world.server.peers() > 0);
    world.now = 10_000_000;
    world.ask(30, 30, request(400, 1));
    assert_eq!(world.server.peers(), 1);
}

/// Linked blocks whose transactions do not compress.
pub(super) fn noise(last: u64, bytes: usize) -> Vec<Block> {
    let (mut made, mut state): (Vec<Block>, u64) = (Vec::new(), 1);
    for number in 0..=last {
        let mut transaction = Vec::with_capacity(bytes + 8);
        while transaction.len() < bytes {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            transaction.extend((state ^ state >> 33).to_le_bytes());
        }
        made.push(sealed_block(ExecutionPayload {
            parent_hash: made.last().map_or(B256::ZERO, Block::hash),
            block_number: number,
            transactions: vec![transaction.into()],
            withdrawals: Some(Vec::new()),
            ..ExecutionPayload::default()
        }));
    }
    made
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_order_of_events_keeps_the_bounds(
        events in prop::collection::vec((0_u8..8, any::<u8>(), any::<u16>()), 1..120),
    ) {
        let blocks = chain(40, 0, 9000);
        let reads = CostRate { per_second: 200, burst: 30 };
        let config = RangeServerConfig {
            per_peer: Limits { reads, ..Limits::UNLIMITED },
            streams: 7, streams_per_peer: 3, reads: 2, buffer: 100_000, peers: 4,
            ..RangeServerConfig::new(1)
        };
        let mut server = RangeServer::new(config);
        let (mut now, mut next, mut orders, mut writes) = (0, 0, Vec::new(), Vec::new());
        let mut open = std::collections::BTreeSet::new();
        for (event, who, value) in events {
            match event {
                0..=2 => {
                    let class = if who % 2 == 0 { Class::Node } else { Class::Browser };
                    let first = u64::from(value % 45);
                    let request = request(first, u32::from(value) + 1);
                    open.insert(RangeServeId(next));
                    server.request(at(now), peer(who % 6), class, RangeServeId(next), Ok(request));
                    next += 1;
                }
                3 if !orders.is_empty() => {
                    let (id, order) = orders.swap_remove(usize::from(who) % orders.len());
                    server.read(at(now), id, read(&blocks, 3, order));
                }
                4 if !writes.is_empty() => {
                    let id = writes.swap_remove(usize::from(who) % writes.len());
                    server.written(at(now), id);
                }
                5 => {
                    let id = RangeServeId(u64::from(value) % (next + 1));
                    server.cancelled(at(now), id);
                    open.remove(&id);
                }
                6 => server.hold(who % 2 == 0),
                _ => now += u64::from(value) % 3000,
            }
            for turn in 0.. {
                prop_assert!(turn < 1000, "it has ever more to do");
                match server.poll(at(now)) {
                    Some(RangeServeStep::Read { id, first, blocks, bytes }) => {
                        orders.push((id, (first, blocks, bytes)));
                    }
                    Some(RangeServeStep::Write { id, .. }) => writes.push(id),
                    Some(RangeServeStep::End { id, .. } | RangeServeStep::Reset { id, .. }) => {
                        prop_assert!(open.remove(&id), "a second end");
                    }
                    None => break,
                }
            }
            prop_assert_eq!(server.streams(), open.len());
            prop_assert!(server.streams() <= 7 && server.reads() <= 2 && server.peers() <= 4);
            prop_assert!(server.buffered() <= 100_000 + 2 * 300_000);
            if let Some(due) = server.next_wakeup() {
                prop_assert!(due > at(now), "it is late");
            }
        }
    }
}
