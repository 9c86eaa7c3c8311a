//! Blocks by number, asked of the reference's nodes and by them.

use crate::op_node::{GoStranger, OpNode, OpNodes, Setup};
use crate::ours::{PATIENCE, chain, config, fill, until};
use alloy_primitives::B256;
use opp2p::devnet::{BlockMaker, unix_seconds};
use opp2p::host::{Host, HostConfig, HostEvent, HostEventKind};
use opp2p::swarm::from_libp2p;
use opp2p_core::chain::{BlockId, ChainConfig, ChainEvent, Fork, ForkSchedule};
use opp2p_core::node::{Event, SyncConfig};
use opp2p_core::payload::{Envelope, PayloadVersion};
use opp2p_core::peers::{Conduct, PeerId};
use opp2p_core::sync::{AnswerError, ServerConfig, SyncEvent, protocol_id};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::broadcast;
use tokio::time::{sleep, timeout};

/// Blocks of the chain, the last of which is of now. No more than a server of the reference gives away at once.
const BLOCKS: u64 = 15;

/// A chain of a block a second that gets Canyon, Ecotone and Isthmus on the way, and its blocks.
fn across_forks() -> (ChainConfig, Vec<Envelope>) {
    let genesis = unix_seconds() - BLOCKS;
    let forks = [(Fork::Delta, 4), (Fork::Holocene, 8), (Fork::Isthmus, 12)];
    let activation = |fork: Fork| {
        let (_, number) = forks.iter().find(|(last, _)| fork <= *last)?;
        Some(genesis + number)
    };
    let schedule =
        Fork::ALL.into_iter().fold(ForkSchedule::default(), |all, fork| all.with(fork, activation(fork)));
    let mut chain = chain(schedule);
    chain.block_time = 1;
    chain.genesis.time = genesis;
    let mut maker = BlockMaker::new(&chain, 1);
    let blocks: Vec<_> = (1..=BLOCKS).map(|number| maker.next(chain.timestamp_of(number).unwrap())).collect();
    let versions: Vec<_> = blocks.iter().map(|block| block.payload.version().unwrap()).collect();
    assert!(PayloadVersion::ALL.iter().all(|version| versions.contains(version)), "{versions:?}");
    (chain, blocks)
}

fn last(blocks: &[Envelope]) -> BlockId {
    let payload = &blocks[blocks.len() - 1].payload;
    BlockId::new(payload.block_number, payload.block_hash)
}

/// A node of ours that follows the chain from its genesis, and what it tells from the start.
async fn follower(
    directory: &TempDir,
    chain: &ChainConfig,
    servers: &[&OpNode],
) -> (Host, broadcast::Receiver<HostEvent>) {
    let static_peers = servers.iter().map(|node| node.address.clone()).collect();
    let config = HostConfig { from_genesis: true, static_peers, ..config(directory, chain) };
    let (host, events) = Host::start_heard(config).await.unwrap();
    until(&host, |status| status.peers == servers.len()).await;
    (host, events)
}

/// A node of ours that has these blocks.
async fn server(directory: &TempDir, chain: &ChainConfig, blocks: &[Envelope], serve: ServerConfig) -> Host {
    let config = HostConfig {
        from_genesis: true,
        sync: Some(SyncConfig { serve, ..SyncConfig::default() }),
        ..config(directory, chain)
    };
    fill(&config, chain, blocks);
    Host::start(config).await.unwrap()
}

/// The next event that is of interest.
async fn next<T>(
    events: &mut broadcast::Receiver<HostEvent>,
    mut interest: impl FnMut(Event) -> Option<T>,
) -> T {
    let next = async {
        loop {
            if let HostEventKind::Core(event) = events.recv().await.unwrap().kind
                && let Some(found) = interest(event)
            {
                break found;
            }
        }
    };
    timeout(PATIENCE, next).await.expect("in time")
}

/// The hashes of the blocks that the node hands on, as many as these.
async fn handed_on(events: &mut broadcast::Receiver<HostEvent>, count: usize) -> Vec<B256> {
    let mut hashes = Vec::new();
    while hashes.len() < count {
        hashes.push(
            next(events, |event| match event {
                Event::Chain(ChainEvent::Extended(block)) => Some(block.hash()),
                _ => None,
            })
            .await,
        );
    }
    hashes
}

fn hashes(blocks: &[Envelope]) -> Vec<B256> {
    blocks.iter().map(|block| block.payload.block_hash).collect()
}

/// Lets a node of theirs ask for all blocks up to the last, its hash being known.
async fn request(node: &OpNode, chain: &ChainConfig, blocks: &[Envelope]) {
    let last = last(blocks);
    let reference = |number: u64, hash: B256, parent: B256| {
        json!({
            "hash": hash, "number": number, "parentHash": parent, "timestamp": 0,
            "l1origin": { "hash": hash, "number": 0 }, "sequenceNumber": 0,
        })
    };
    let params = json!({
        "start": reference(0, chain.genesis.hash, B256::ZERO),
        "end": reference(last.number + 1, B256::ZERO, last.hash),
    });
    let _: Value = node.call("request", params).await;
}

/// The blocks that a node of theirs has, by number.
async fn held(node: &OpNode) -> BTreeMap<u64, B256> {
    let held: BTreeMap<String, B256> = node.call("holds", json!({ "first": 1, "last": BLOCKS })).await;
    held.into_iter().map(|(number, hash)| (number.parse().unwrap(), hash)).collect()
}

pub(crate) async fn we_fetch_from_them_across_forks() {
    let (directory, nodes) = (tempfile::tempdir().unwrap(), OpNodes::start());
    let (chain, blocks) = across_forks();
    let theirs = nodes.node(&chain, Setup::default()).await;
    theirs.hold(&blocks).await;
    let (ours, mut events) = follower(&directory, &chain, &[&theirs]).await;
    assert_eq!(ours.fetch_range(last(&blocks)).await, Ok(Ok(())));
    assert_eq!(handed_on(&mut events, blocks.len()).await, hashes(&blocks));
    let scores = ours.peers(|peers, now| peers.scores(now, &from_libp2p(&theirs.id).unwrap()));
    assert!(scores.req_resp.valid_responses > 0.0 && scores.req_resp.error_responses == 0.0, "{scores:?}");
    ours.stop().await;
}

pub(crate) async fn they_fetch_from_us_across_forks() {
    let (directory, nodes) = (tempfile::tempdir().unwrap(), OpNodes::start());
    let (chain, blocks) = across_forks();
    let ours = server(&directory, &chain, &blocks, ServerConfig::default()).await;
    let theirs = nodes.node(&chain, Setup::default()).await;
    theirs.connect(&ours.address()).await;
    request(&theirs, &chain, &blocks).await;
    let all: BTreeMap<u64, B256> = (1..).zip(hashes(&blocks)).collect();
    let started = Instant::now();
    while held(&theirs).await != all {
        assert!(started.elapsed() < PATIENCE, "they have {:?}", held(&theirs).await.keys());
        sleep(Duration::from_millis(50)).await;
    }
    let scores = theirs.scores(&ours.peer_id()).await;
    let answers = &scores.scores.req_resp;
    assert!(answers.valid_responses > 0.0, "{scores:?}");
    assert!(answers.error_responses == 0.0 && answers.rejected_payloads == 0.0, "{scores:?}");
    ours.stop().await;
}

pub(crate) async fn what_they_lack_we_blame_nobody_for() {
    let (directory, nodes) = (tempfile::tempdir().unwrap(), OpNodes::start());
    let (chain, blocks) = across_forks();
    let theirs = nodes.node(&chain, Setup::default()).await;
    let (ours, mut events) = follower(&directory, &chain, &[&theirs]).await;
    let fetched = ours.fetch_range(last(&blocks));
    let meanwhile = async {
        let refused = next(&mut events, |event| match event {
            Event::Sync(SyncEvent::Answered(answered)) => Some(answered.result),
            _ => None,
        });
        assert_eq!(refused.await, Err(AnswerError::Refused(1)));
        let scores = ours.peers(|peers, now| peers.scores(now, &from_libp2p(&theirs.id).unwrap()));
        assert_eq!(scores.req_resp.error_responses, 0.0);
        // And once it has them, it is asked again.
        theirs.hold(&blocks).await;
        assert_eq!(handed_on(&mut events, blocks.len()).await, hashes(&blocks));
    };
    assert_eq!(tokio::join!(fetched, meanwhile).0, Ok(Ok(())));
    ours.stop().await;
}

pub(crate) async fn what_we_lack_they_blame_nobody_for() {
    let (directory, nodes) = (tempfile::tempdir().unwrap(), OpNodes::start());
    let (chain, blocks) = across_forks();
    let ours = server(&directory, &chain, &[], ServerConfig::default()).await;
    let theirs = nodes.node(&chain, Setup::default()).await;
    theirs.connect(&ours.address()).await;
    request(&theirs, &chain, &blocks).await;
    let started = Instant::now();
    // The reference gives the whole range up at the first of these.
    while !theirs.log().contains("cancelling p2p sync range request") {
        assert!(started.elapsed() < PATIENCE, "they don't give up");
        sleep(Duration::from_millis(50)).await;
    }
    assert!(theirs.log().contains("peer failed to serve request with code 1"), "not found");
    let scores = theirs.scores(&ours.peer_id()).await;
    assert_eq!(scores.scores.req_resp.error_responses, 0.0, "{scores:?}");
    assert!(held(&theirs).await.is_empty());
    ours.stop().await;
}

pub(crate) async fn a_stranger_hears_the_same_from_both() {
    let (directory, nodes) = (tempfile::tempdir().unwrap(), OpNodes::start());
    let (mut chain, blocks) = across_forks();
    // So that there is something below genesis.
    chain.genesis.number = 5;
    chain.genesis.time += 5;
    let ours = server(&directory, &chain, &blocks[5..], ServerConfig::default()).await;
    let theirs = nodes.node(&chain, Setup::default()).await;
    theirs.hold(&blocks[5..]).await;
    let stranger = GoStranger::start(&nodes, &chain, &["noise"], &["yamux"], &[]).await;
    for address in [&ours.address(), &theirs.address] {
        stranger.connect(address).await.unwrap();
    }
    let ask = |number: u64| number.to_le_bytes().to_vec();
    let (below, above) = (ask(4), ask(1 << 40));
    let unknown = ask(5);
    for (what, data, code) in [
        ("a block", ask(9), Some(0)),
        ("a block of another fork", ask(14), Some(0)),
        ("a block and more", [ask(9), vec![1]].concat(), Some(0)),
        ("genesis, which nobody has", unknown, Some(1)),
        ("one below genesis", below, Some(2)),
        ("one that can't be yet", above, Some(2)),
    ] {
        let protocol = protocol_id(chain.chain_id);
        let from_us = stranger.request(&ours.peer_id(), &protocol, &data).await;
        let from_them = stranger.request(&theirs.id, &protocol, &data).await;
        let (from_us, from_them) = (from_us.unwrap(), from_them.unwrap());
        assert_eq!(from_them.first().copied(), code, "{what}: theirs");
        assert_eq!(from_us.first().copied(), code, "{what}: ours");
        // Snappy's frames may be cut and packed in more than one way; what is in them is the same.
        assert_eq!(read(&from_us), read(&from_them), "{what}");
    }
    // What is no request is no answer worth: theirs says so with a code, ours ends the stream.
    for data in [&[9, 0, 0][..], &[]] {
        let protocol = protocol_id(chain.chain_id);
        assert_eq!(stranger.request(&theirs.id, &protocol, data).await, Ok(vec![3]));
        let from_us = stranger.request(&ours.peer_id(), &protocol, data).await;
        assert!(from_us.as_ref().is_ok_and(Vec::is_empty) || from_us.is_err(), "{from_us:?}");
    }
    ours.stop().await;
}

/// An answer with what is in its frames, if it has any.
fn read(answer: &[u8]) -> (Vec<u8>, Option<Vec<u8>>) {
    match answer {
        [0, ..] => {
            let (_, body) = opp2p_core::sync::decode_response(answer, 10 << 20).unwrap();
            (answer[..5].to_vec(), Some(body))
        }
        _ => (answer.to_vec(), None),
    }
}

pub(crate) async fn a_wrong_block_of_theirs_costs_them_their_score() {
    let (directory, nodes) = (tempfile::tempdir().unwrap(), OpNodes::start());
    let (chain, blocks) = across_forks();
    let theirs = nodes.node(&chain, Setup::default()).await;
    // Well-formed, of the right numbers and times, and of another chain.
    let mut other = BlockMaker::new(&chain, 99);
    let wrong: Vec<_> = (1..=BLOCKS).map(|number| other.next(chain.timestamp_of(number).unwrap())).collect();
    theirs.hold(&wrong).await;
    let (ours, mut events) = follower(&directory, &chain, &[&theirs]).await;
    let mut conducts = ours.events();
    let fetched = ours.fetch_range(last(&blocks));
    let meanwhile = async {
        let wrong = next(&mut events, |event| match event {
            Event::Sync(SyncEvent::Answered(answered)) => Some(answered.result),
            _ => None,
        });
        assert_ne!(wrong.await.map(|block| block.hash), Ok(last(&blocks).hash));
        // Another one has the right ones.
        let honest = nodes.node(&chain, Setup::default()).await;
        honest.hold(&blocks).await;
        honest.connect(&ours.address()).await;
        assert_eq!(handed_on(&mut events, blocks.len()).await, hashes(&blocks));
    };
    assert_eq!(tokio::join!(fetched, meanwhile).0, Ok(Ok(())));
    // The static peer of ours is not banned, but thought less of.
    let id: PeerId = from_libp2p(&theirs.id).unwrap();
    let blamed = next(&mut conducts, |event| match event {
        Event::Sync(SyncEvent::Conduct { peer, conduct: Conduct::RejectedPayload }) => Some(peer),
        _ => None,
    });
    assert_eq!(blamed.await, id);
    let score = ours.peers(|peers, now| peers.score(now, &id));
    assert!(score < 0.0, "{score}");
    ours.stop().await;
}

pub(crate) async fn a_server_that_goes_is_replaced_by_another() {
    let (directory, nodes) = (tempfile::tempdir().unwrap(), OpNodes::start());
    let (chain, blocks) = across_forks();
    let theirs = [nodes.node(&chain, Setup::default()).await, nodes.node(&chain, Setup::default()).await];
    // The first has the upper half, and goes once it has served it.
    theirs[0].hold(&blocks[8..]).await;
    let (ours, mut events) = follower(&directory, &chain, &[&theirs[0]]).await;
    let fetched = ours.fetch_range(last(&blocks));
    let meanwhile = async {
        next(&mut events, |event| match event {
            Event::Sync(SyncEvent::Answered(answered)) if answered.result.is_err() => Some(()),
            _ => None,
        })
        .await;
        let [first, second] = theirs;
        first.stop().await;
        until(&ours, |status| status.peers == 0).await;
        second.hold(&blocks).await;
        second.connect(&ours.address()).await;
        assert_eq!(handed_on(&mut events, blocks.len()).await, hashes(&blocks));
    };
    assert_eq!(tokio::join!(fetched, meanwhile).0, Ok(Ok(())));
    ours.stop().await;
}

pub(crate) async fn both_let_a_hasty_peer_wait_alike() {
    let (directory, nodes) = (tempfile::tempdir().unwrap(), OpNodes::start());
    let (chain, blocks) = across_forks();
    let ours = server(&directory, &chain, &blocks, ServerConfig::default()).await;
    let theirs = nodes.node(&chain, Setup::default()).await;
    theirs.hold(&blocks).await;
    let stranger = GoStranger::start(&nodes, &chain, &["noise"], &["yamux"], &[]).await;
    for (who, id, address) in
        [("ours", ours.peer_id(), ours.address()), ("theirs", theirs.id, theirs.address.clone())]
    {
        stranger.connect(&address).await.unwrap();
        let (protocol, started) = (protocol_id(chain.chain_id), Instant::now());
        // 15 at once, and 4 a second.
        for at in 0..25_u64 {
            let number = (1 + at % BLOCKS).to_le_bytes();
            let answer = stranger.request(&id, &protocol, &number).await.unwrap();
            assert_eq!(answer[0], 0, "{who}: all are served in the end");
        }
        let took = started.elapsed();
        assert!(took >= Duration::from_millis(2_250), "{who} gave 25 away in {took:?}");
    }
    ours.stop().await;
}
