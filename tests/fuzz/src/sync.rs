//! Blocks by number: the client and the server.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use opp2p_core::chain::BlockId;
use opp2p_core::payload::Block;
use opp2p_core::payload::rebuild::to_rlp;
use opp2p_core::sync::{
    CheckWork, ClientConfig, ClientStep, MAX_RESPONSE_SIZE, PayloadServer, Range, RangeClient,
    Rate, RequestFailure, RequestId, ServeId, ServeStep, ServerConfig, encode_response,
};

use alloy_primitives::hex;
use opp2p_core::time::Now;

use crate::material::{Clock, POOL, any_peer, any_span, chain, peer, play};

const PEERS: u8 = 6;

/// Runs the client with servers whose answers are right, wrong, late or never arrive.
pub(crate) fn client(bytes: &[u8]) {
    play(bytes, |from| {
        let config = ClientConfig {
            in_flight: from.int_in_range(0..=9)?,
            window: from.int_in_range(0..=20)?,
            bytes: if from.arbitrary()? { 0 } else { 64 << 20 },
            servers: from.int_in_range(0..=7)?,
            only_static: from.ratio(1, 8)?,
            asks_peers: !from.ratio(1, 8)?,
            endpoints: from.int_in_range(0..=2)?,
            endpoint_rate: Rate::per_second(4, 4),
        };
        let most_bytes = config.bytes.max(128 << 20);
        let mut client = RangeClient::new(config).with_seed(from.arbitrary()?);
        let mut clock = Clock::new();
        let mut asked: BTreeMap<RequestId, u64> = BTreeMap::new();
        let mut checks: Vec<(RequestId, CheckWork)> = Vec::new();
        let mut used = BTreeSet::new();
        let mut posted = BTreeSet::new();
        let mut wanted: Option<BlockId> = None;
        let mut numbers = BTreeSet::new();
        while !from.is_empty() {
            let at = clock.at();
            match from.int_in_range(0..=15)? {
                0 => client.connected(any_peer(from, PEERS)?, from.arbitrary()?),
                1 => client.disconnected(&any_peer(from, PEERS)?),
                2 if from.ratio(1, 4)? => client.speaks(&any_peer(from, PEERS)?, from.arbitrary()?),
                2 => client.heard(at, &any_peer(from, PEERS)?, u64::from(from.arbitrary::<u16>()?)),
                3 | 4 => {
                    let target = from.choose(&POOL)?;
                    let below = u64::from(from.int_in_range::<u8>(0..=20)?);
                    let lowest = target.block.number().saturating_sub(below);
                    wanted = Some(BlockId::of(&target.block));
                    client.aim(at, Some(Range { wanted: BlockId::of(&target.block), lowest }));
                }
                5 if from.ratio(1, 4)? => {
                    client.aim(at, None);
                    wanted = None;
                }
                6 => client.pause(from.arbitrary()?),
                7 => client.expedite(at),
                // The answer of an honest server.
                8..=10 if !asked.is_empty() => {
                    let (id, number) = pick(from, &asked)?;
                    asked.remove(&id);
                    let blocks: Vec<_> =
                        POOL.iter().filter(|pooled| pooled.block.number() == number).collect();
                    let answer = match (blocks.is_empty(), posted.contains(&id)) {
                        (true, true) => br#"{"result":null}"#.to_vec(),
                        (true, false) => vec![1],
                        (false, false) => encode_response(&from.choose(&blocks)?.block),
                        (false, true) => {
                            let raw = hex::encode(to_rlp(&from.choose(&blocks)?.block));
                            format!(r#"{{"result":"0x{raw}"}}"#).into_bytes()
                        }
                    };
                    client.received(at, id, Ok(answer.into()));
                }
                // The answer of another server.
                11 if !asked.is_empty() => {
                    let (id, _) = pick(from, &asked)?;
                    // The driver answers once; a second answer must have no effect.
                    if from.ratio(3, 4)? {
                        asked.remove(&id);
                    }
                    let mut answer = encode_response(&from.choose(&POOL)?.block);
                    if from.arbitrary()? {
                        let place = from.choose_index(answer.len())?;
                        answer[place] ^= from.arbitrary::<u8>()?;
                    }
                    client.received(at, id, Ok(answer.into()));
                }
                12 if !asked.is_empty() => {
                    let (id, _) = pick(from, &asked)?;
                    asked.remove(&id);
                    let failures = [
                        RequestFailure::Timeout,
                        RequestFailure::Closed,
                        RequestFailure::Unsupported,
                        RequestFailure::TooLong,
                    ];
                    client.received(at, id, Err(*from.choose(&failures)?));
                }
                13 | 14 if !checks.is_empty() => {
                    let (id, work) = checks.swap_remove(from.choose_index(checks.len())?);
                    let knows_all = from.ratio(1, 8)?;
                    client.checked(at, id, work.run(), |_| knows_all);
                }
                _ => clock.pass(any_span(from)?),
            }
            // The caller ends charges when they are due.
            client.settle_charges(clock.at(), |_| false);
            for turn in 0.. {
                assert!(turn < 2000, "it has ever more to do");
                match client.poll(clock.at()) {
                    Some(ClientStep::Ask { id, number, limit, .. }) => {
                        assert!(used.insert(id), "the name of an earlier request");
                        assert!(limit <= MAX_RESPONSE_SIZE);
                        // A charge is tested by a request for a number that was asked before.
                        let is_wanted = client.range().is_some_and(|range| {
                            (range.lowest..=range.wanted.number).contains(&number)
                        });
                        assert!(is_wanted || numbers.contains(&number), "{number} is not wanted");
                        numbers.insert(number);
                        asked.insert(id, number);
                    }
                    Some(ClientStep::AskEndpoint { id, number, endpoint, .. }) => {
                        assert!(used.insert(id), "the name of an earlier request");
                        assert!(endpoint < config.endpoints);
                        posted.insert(id);
                        asked.insert(id, number);
                    }
                    Some(ClientStep::Check(id, work)) => {
                        assert!(checks.iter().all(|(other, _)| *other != id));
                        checks.push((id, work));
                    }
                    Some(ClientStep::Proved(block, _)) => prove(&mut wanted, &block),
                    Some(ClientStep::Conduct(..) | ClientStep::Answered(_)) => {}
                    None => break,
                }
            }
            assert!(client.in_flight() <= config.in_flight.max(1));
            assert!(client.slots() <= config.window.max(1), "{} slots", client.slots());
            assert!(client.bytes() <= most_bytes, "{} bytes", client.bytes());
            assert!(client.servers() <= config.servers.max(1));
            assert!(client.charges() <= config.servers.max(1) + 1);
            assert!(
                client.next_wakeup(clock.at()).is_none_or(|due| due > clock.at()),
                "it is late"
            );
        }
        Ok(())
    });
}

/// Checks that a proved block is the next one that the range wanted, by its hash.
fn prove(wanted: &mut Option<BlockId>, block: &Block) {
    let expected = wanted.expect("a block is proved while a range is fetched");
    assert_eq!(BlockId::of(block), expected, "a block without proof");
    assert!(block.has_true_hash());
    *wanted = expected.number.checked_sub(1).map(|below| BlockId::new(below, block.parent_hash()));
}

fn pick(
    from: &mut arbitrary::Unstructured<'_>,
    asked: &BTreeMap<RequestId, u64>,
) -> arbitrary::Result<(RequestId, u64)> {
    let at = from.choose_index(asked.len())?;
    let (id, number) = asked.iter().nth(at).expect("an index below the length");
    Ok((*id, *number))
}

/// Runs the server with peers that request many blocks, and do not read the answers.
pub(crate) fn server(bytes: &[u8]) {
    play(bytes, |from| {
        let chain = chain();
        let exists = |now: Now| {
            let highest = chain.highest_number_at(now.unix).unwrap_or(0);
            chain.genesis.number..=highest
        };
        let rate = |from: &mut arbitrary::Unstructured<'_>| {
            let (tokens, burst) = (from.int_in_range(1..=30)?, from.int_in_range(1..=40)?);
            Ok(if from.ratio(1, 6)? { Rate::UNLIMITED } else { Rate::per_second(tokens, burst) })
        };
        let config = ServerConfig {
            total: rate(from)?,
            per_peer: rate(from)?,
            waiting_per_peer: from.int_in_range(1..=4)?,
            waiting: from.int_in_range(1..=12)?,
            active_per_peer: from.int_in_range(1..=4)?,
            active: from.int_in_range(1..=8)?,
            peers: from.int_in_range(1..=9)?,
            longest_wait: any_span(from)?,
        };
        let mut server = PayloadServer::new(config);
        let mut clock = Clock::new();
        let mut next = 0;
        let (mut unanswered, mut active) = (BTreeSet::new(), BTreeSet::new());
        while !from.is_empty() {
            match from.int_in_range(0..=7)? {
                0..=3 => {
                    let who = peer(from.int_in_range(0..=15)?);
                    let number = match from.int_in_range(0..=3)? {
                        0 => from.arbitrary()?,
                        _ => 1000 + u64::from(from.int_in_range::<u8>(0..=30)?),
                    };
                    for _ in 0..from.int_in_range(1..=5)? {
                        unanswered.insert(ServeId(next));
                        server.request(clock.at(), who, ServeId(next), number);
                        next += 1;
                    }
                }
                4 | 5 if !active.is_empty() => {
                    let at = from.choose_index(active.len())?;
                    let id: ServeId = *active.iter().nth(at).expect("an index below the length");
                    active.remove(&id);
                    server.finished(clock.at(), id);
                }
                // The requester left before it was answered, or never existed.
                6 => {
                    let id = ServeId(from.int_in_range(0..=next)?);
                    server.finished(clock.at(), id);
                    unanswered.remove(&id);
                    active.remove(&id);
                }
                _ => clock.pass(any_span(from)?),
            }
            while let Some(step) = server.poll(clock.at(), &exists(clock.0)) {
                let (ServeStep::Serve { id, .. } | ServeStep::Refuse { id, .. }) = step;
                assert!(
                    unanswered.remove(&id),
                    "a second answer, or one without a request: {step:?}"
                );
                if let ServeStep::Serve { number, .. } = step {
                    assert!(exists(clock.0).contains(&number), "a block of the future");
                    active.insert(id);
                }
            }
            assert_eq!(server.active(), active.len());
            assert_eq!(server.waiting(), unanswered.len(), "a request is lost");
            assert!(server.active() <= config.active && server.waiting() <= config.waiting);
            assert!(server.peers() <= config.peers, "{} peers", server.peers());
            assert!(server.next_wakeup().is_none_or(|at| at > clock.at()), "it is late");
        }
        // Waiting requests are answered or refused in time, as long as the served peers continue to
        // read.
        clock.pass(config.longest_wait + Duration::from_secs(1));
        for id in std::mem::take(&mut active) {
            server.finished(clock.at(), id);
        }
        for _ in 0..1000 {
            let Some(step) = server.poll(clock.at(), &exists(clock.0)) else { break };
            let (ServeStep::Serve { id, .. } | ServeStep::Refuse { id, .. }) = step;
            assert!(unanswered.remove(&id));
        }
        assert_eq!(unanswered, BTreeSet::new(), "requests without an answer");
        Ok(())
    });
}
