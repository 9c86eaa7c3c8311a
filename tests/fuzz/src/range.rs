//! Ranges of blocks in one stream: the reader of answers, the server and the client.

use std::collections::{BTreeMap, BTreeSet};

use arbitrary::Unstructured;
use opp2p_core::chain::BlockId;
use opp2p_core::payload::Block;
use opp2p_core::sync::Range;
use opp2p_core::sync::range::{
    AnswerDecoder, CODECS, CheckId, ChunkWork, Class, CostRate, End, First, Frame, Limits, Next,
    Packer, RangeServeId, RangeServeStep, RangeServer, RangeServerConfig, ReadDone, Request,
    SegmentClient, SegmentClientConfig, SegmentStep, StreamClose, StreamError, StreamId,
};

use crate::material::{CHAIN_ID, Clock, POOL, any_peer, any_span, peer, play};

const PEERS: u8 = 5;

/// Input: a limit, sizes of pieces, and the bytes of a request and an answer.
pub(crate) fn answer(bytes: &[u8]) {
    let Some((&[limit, piece], bytes)) = bytes.split_first_chunk() else { return };
    let limit = usize::from(limit) * 512;
    if let Ok(request) = Request::decode(bytes) {
        assert_eq!(Request::decode(&request.encode()), Ok(request));
    }
    let whole = read(bytes, limit, bytes.len().max(1));
    assert_eq!(read(bytes, limit, usize::from(piece) + 1), whole, "the pieces matter");
    for frame in whole.0 {
        let Frame::Chunk(chunk) = frame else { continue };
        assert!(chunk.contents <= limit);
        let announced = usize::from(chunk.blocks);
        let checked = ChunkWork::new(chunk, 1000, None).run();
        assert!(checked.blocks.len() <= announced);
        assert_eq!(checked.fault.is_none(), checked.blocks.len() == announced);
        for pair in checked.blocks.windows(2) {
            assert_eq!(pair[0].parent_hash(), pair[1].hash());
        }
        assert!(checked.blocks.iter().all(Block::has_true_hash));
    }
}

fn read(bytes: &[u8], limit: usize, size: usize) -> (Vec<Frame>, Result<(), StreamError>) {
    let (mut decoder, mut frames, mut seen) = (AnswerDecoder::new(limit), Vec::new(), 0);
    for mut piece in bytes.chunks(size) {
        seen += piece.len();
        loop {
            match decoder.next(&mut piece) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Err(error)),
            }
        }
        assert!(decoder.bytes() <= 2 * seen + 64);
    }
    let result = decoder.finish();
    (frames, result)
}

pub(crate) fn answer_seeds() -> Vec<Vec<u8>> {
    let chunk = packed(&chain()[..3]);
    let end = End::NoMore { lowest: 1000 }.encode();
    let skipped = [0x80, 2, 0, 0, 0, 1, 2];
    let first = First::Block(BlockId::of(chain()[0]));
    let request = Request { chain_id: CHAIN_ID, first, blocks: 3, bytes: 1 << 20, codecs: CODECS };
    vec![
        [&[255, 20][..], &chunk, &end].concat(),
        [&[1, 3][..], &skipped, &chunk[..40], &end].concat(),
        [&[255, 20][..], &skipped, &end].concat(),
        [&[0, 0][..], &request.encode()].concat(),
    ]
}

/// Returns the pool's chain, highest first.
fn chain() -> Vec<&'static Block> {
    POOL[..16].iter().rev().map(|pooled| &pooled.block).collect()
}

fn packed(blocks: &[&Block]) -> Vec<u8> {
    let mut packer = Packer::new(u64::MAX);
    for block in blocks {
        packer.add(block.version(), block.body());
    }
    packer.finish().map(|packed| packed.frame.to_vec()).unwrap_or_default()
}

/// Sequences of events that the fuzzer can begin with.
pub(crate) fn event_seeds() -> Vec<Vec<u8>> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut seed = |length: usize| {
        let mut seed = Vec::with_capacity(length);
        for _ in 0..length {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            seed.push((state >> 56) as u8);
        }
        seed
    };
    [100, 400, 1000].map(&mut seed).to_vec()
}

/// Runs the server with peers that ask for anything, and a store that answers in any order.
pub(crate) fn server(bytes: &[u8]) {
    play(bytes, |from| {
        let rate = |from: &mut Unstructured<'_>| {
            let (per_second, burst) = (from.int_in_range(1..=2000)?, from.int_in_range(0..=5000)?);
            Ok(if from.arbitrary()? { CostRate::UNLIMITED } else { CostRate { per_second, burst } })
        };
        let total = Limits { bytes: rate(from)?, reads: rate(from)? };
        let config = RangeServerConfig {
            total,
            per_peer: Limits { bytes: rate(from)?, reads: rate(from)? },
            streams: from.int_in_range(1..=8)?,
            streams_per_peer: from.int_in_range(1..=4)?,
            reads: from.int_in_range(1..=3)?,
            buffer: from.int_in_range(1..=100_000)?,
            peers: from.int_in_range(1..=6)?,
            ..RangeServerConfig::new(CHAIN_ID)
        };
        let mut server = RangeServer::new(config);
        let mut clock = Clock::new();
        let (mut next, mut open) = (0, BTreeSet::new());
        let (mut reads, mut writes) = (Vec::new(), Vec::new());
        while !from.is_empty() {
            match from.int_in_range(0..=8)? {
                0..=2 => {
                    let class = if from.arbitrary()? { Class::Node } else { Class::Browser };
                    let first = First::Canonical(995 + u64::from(from.int_in_range::<u8>(0..=25)?));
                    let (blocks, bytes) = (from.int_in_range(1..=30)?, from.arbitrary()?);
                    let request =
                        Request { chain_id: CHAIN_ID, first, blocks, bytes, codecs: CODECS };
                    let request = Request::decode(&request.encode());
                    open.insert(RangeServeId(next));
                    let who = peer(from.int_in_range(0..=9)?);
                    server.request(clock.at(), who, class, RangeServeId(next), request);
                    next += 1;
                }
                3 | 4 if !reads.is_empty() => {
                    let (id, first, blocks, bytes) =
                        reads.swap_remove(from.choose_index(reads.len())?);
                    server.read(clock.at(), id, load(first, blocks, bytes));
                }
                5 if !writes.is_empty() => {
                    let id = writes.swap_remove(from.choose_index(writes.len())?);
                    server.written(clock.at(), id);
                }
                6 => {
                    let id = RangeServeId(from.int_in_range(0..=next)?);
                    server.cancelled(clock.at(), id);
                    open.remove(&id);
                }
                7 => server.hold(from.arbitrary()?),
                _ => clock.pass(any_span(from)?),
            }
            for turn in 0.. {
                assert!(turn < 2000, "it has ever more to do");
                match server.poll(clock.at()) {
                    Some(RangeServeStep::Read { id, first, blocks, bytes }) => {
                        assert!(open.contains(&id) && blocks > 0);
                        reads.push((id, first, blocks, bytes));
                    }
                    Some(RangeServeStep::Write { id, .. }) => writes.push(id),
                    Some(RangeServeStep::End { id, .. } | RangeServeStep::Reset { id, .. }) => {
                        assert!(open.remove(&id), "a second end");
                    }
                    None => break,
                }
            }
            assert_eq!(server.streams(), open.len());
            assert!(server.streams() <= config.streams && server.peers() <= config.peers);
            assert!(server.reads() <= config.reads);
            assert!(server.next_wakeup().is_none_or(|due| due > clock.at()), "it is late");
        }
        Ok(())
    });
}

/// Reads the pool's chain as a store does.
fn load(first: First, blocks: u32, bytes: u64) -> ReadDone {
    let chain = chain();
    let Some(at) = chain.iter().position(|block| block.number() == first.number()) else {
        let lowest = chain.last().map_or(0, |block| block.number());
        let next = if first.number() < lowest {
            Next::NoMore { lowest }
        } else {
            Next::NeverHad { highest: lowest + 15 }
        };
        return ReadDone { packed: None, next };
    };
    let mut packer = Packer::new(bytes);
    let wanted = chain[at..].iter().take(blocks as usize);
    let count = wanted.take_while(|block| packer.add(block.version(), block.body())).count();
    let next = match chain.get(at + count) {
        Some(_) if count == 0 => Next::TooLarge,
        Some(block) => Next::Block(First::Block(BlockId::of(*block))),
        None => Next::NoMore { lowest: 1000 },
    };
    ReadDone { packed: packer.finish(), next }
}

/// Runs the client with servers whose answers are right, wrong, cut, late or never come.
pub(crate) fn client(bytes: &[u8]) {
    play(bytes, |from| {
        let config = SegmentClientConfig {
            bytes: from.int_in_range(0..=96 << 20)?,
            streams_per_server: from.int_in_range(1..=3)?,
            servers: from.int_in_range(1..=6)?,
            ..SegmentClientConfig::new(CHAIN_ID)
        };
        let most = config.bytes.max(opp2p_core::sync::range::FRONTIER_RESERVE);
        let mut client = SegmentClient::new(config);
        let mut clock = Clock::new();
        let mut open: BTreeMap<StreamId, Request> = BTreeMap::new();
        let mut checks: Vec<(CheckId, ChunkWork)> = Vec::new();
        let mut wanted: Option<BlockId> = None;
        while !from.is_empty() {
            let at = clock.at();
            match from.int_in_range(0..=13)? {
                0 | 1 => client.connected(any_peer(from, PEERS)?),
                2 => client.disconnected(at, &any_peer(from, PEERS)?),
                3 | 4 => {
                    let target = from.choose(&POOL)?;
                    let below = u64::from(from.int_in_range::<u8>(0..=20)?);
                    let lowest = target.block.number().saturating_sub(below);
                    wanted = Some(BlockId::of(&target.block));
                    client.aim(at, wanted.map(|wanted| Range { wanted, lowest }));
                }
                5 => client.pause(at, from.arbitrary()?),
                6..=9 if !open.is_empty() => {
                    let index = from.choose_index(open.len())?;
                    let (id, request) = open.iter().nth(index).expect("an index below the length");
                    let (id, request) = (*id, *request);
                    let piece = piece(from, &request)?;
                    let credit = client.credit(id);
                    client.received(at, id, &piece[..piece.len().min(credit)]);
                }
                10 if !open.is_empty() => {
                    let index = from.choose_index(open.len())?;
                    let id = *open.keys().nth(index).expect("an index below the length");
                    open.remove(&id);
                    let how = [
                        StreamClose::Finished,
                        StreamClose::Reset,
                        StreamClose::Lost,
                        StreamClose::Unsupported,
                    ];
                    client.closed(at, id, *from.choose(&how)?);
                }
                11 | 12 if !checks.is_empty() => {
                    let (id, work) = checks.swap_remove(from.choose_index(checks.len())?);
                    client.checked(at, id, work.run());
                }
                _ => clock.pass(any_span(from)?),
            }
            client.settle_charges(clock.at(), |_| false, |_| false);
            for turn in 0.. {
                assert!(turn < 2000, "it has ever more to do");
                match client.poll(clock.at()) {
                    Some(SegmentStep::Open { id, request, .. }) => {
                        let range = client.range().expect("it asks for a range");
                        let lowest = request.first.number() + 1 - u64::from(request.blocks);
                        assert!(range.lowest <= lowest, "{lowest} is not wanted");
                        assert!(open.insert(id, request).is_none(), "the id of an earlier stream");
                    }
                    Some(SegmentStep::Cancel(id)) => drop(open.remove(&id)),
                    Some(SegmentStep::Check(id, work)) => checks.push((id, work)),
                    Some(SegmentStep::Proved(block, _)) => {
                        let expected = wanted.expect("a block is proved while a range is fetched");
                        assert_eq!(BlockId::of(&block), expected, "a block without a link");
                        let below = expected.number.checked_sub(1);
                        wanted = below.map(|below| BlockId::new(below, block.parent_hash()));
                    }
                    Some(SegmentStep::Conduct(..)) => {}
                    None => break,
                }
            }
            assert!(client.bytes() <= most, "{} bytes", client.bytes());
            let streams = usize::from(PEERS) * (config.streams_per_server + 1);
            assert!(client.streams() <= streams && client.segments() <= 2 * streams + 20);
            assert!(client.servers() <= config.servers && client.charges() <= config.servers + 1);
            assert!(
                client.next_wakeup(clock.at()).is_none_or(|due| due > clock.at()),
                "it is late"
            );
        }
        Ok(())
    });
}

/// Returns a piece of an answer: an honest one, blocks of the pool, an end, or any bytes.
fn piece(from: &mut Unstructured<'_>, request: &Request) -> arbitrary::Result<Vec<u8>> {
    Ok(match from.int_in_range(0..=7)? {
        0..=3 => {
            let count = from.int_in_range(1..=request.blocks.clamp(1, 20))?;
            let done = load(request.first, count, request.bytes);
            done.packed.map(|packed| packed.frame.to_vec()).unwrap_or_default()
        }
        4 => {
            let start = from.choose_index(POOL.len())?;
            let count = from.int_in_range(1..=6)?;
            let blocks: Vec<&Block> =
                POOL[start..].iter().take(count).map(|pooled| &pooled.block).collect();
            packed(&blocks)
        }
        5 | 6 => {
            let (reason, value) = (from.int_in_range(0..=9)?, from.arbitrary::<u16>()?);
            End::from_parts(reason, u64::from(value)).encode().to_vec()
        }
        _ => {
            let length = from.int_in_range(0..=40)?;
            from.bytes(length)?.to_vec()
        }
    })
}
