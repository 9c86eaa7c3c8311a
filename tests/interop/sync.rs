//! Blocks by number between our nodes and the reference's, across the forks that change their
//! encoding.

use crate::go_stranger::GoStranger;
use crate::op_node::{OpNode, OpNodes, Setup};
use crate::ours::{PATIENCE, chain, config, until, until_true};
use alloy_primitives::B256;
use libp2p::{Multiaddr, PeerId};
use opp2p::devnet::{BlockMaker, unix_seconds};
use opp2p_core::chain::{BlockId, ChainConfig, ChainEvent, Fork, ForkSchedule};
use opp2p_core::node::Event;
use opp2p_core::payload::{Envelope, PayloadVersion};
use opp2p_core::peers::PeerCommand;
use opp2p_core::peers::score::Counters;
use opp2p_core::sync::{
    MAX_RESPONSE_SIZE, RangeError, ResultCode, decode_response, protocol_id, spec_protocol_id,
};
use opp2p_node::host::{Host, HostConfig, HostEvent, HostEventKind};
use opp2p_wire::from_libp2p;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::broadcast;
use tokio::time::timeout;

/// Height of the genesis block: not zero, so that there are numbers below it.
const GENESIS: u64 = 100;
/// Number of blocks after genesis. The last one has the current time.
const BLOCKS: u64 = 24;
/// The forks that change the encoding of blocks, each with the number of blocks before it.
const FORKS: [(Fork, u64); 4] =
    [(Fork::Canyon, 6), (Fork::Ecotone, 12), (Fork::Isthmus, 18), (Fork::Jovian, 22)];

/// Time for which our client searches for a block that no peer has, if it should give up.
const SOON: Duration = Duration::from_secs(10);

/// Returns a chain that began less than a minute ago and has passed all of these forks since.
fn grown_chain() -> ChainConfig {
    grown_chain_of(BLOCKS)
}

/// Returns such a chain with this many blocks.
fn grown_chain_of(blocks: u64) -> ChainConfig {
    let chain = chain(ForkSchedule::default());
    let mut genesis = chain.genesis;
    genesis.number = GENESIS;
    genesis.time = unix_seconds() - blocks * chain.block_time;
    // Forks in between activate together with the next listed one. Later ones, and those of another
    // lineage, never do.
    let forks = Fork::ALL.into_iter().fold(ForkSchedule::default(), |forks, fork| {
        let next = FORKS.into_iter().find(|(later, _)| later.includes(fork));
        forks.with(fork, next.map(|(_, after)| genesis.time + after * chain.block_time))
    });
    ChainConfig { genesis, forks, ..chain }
}

/// Returns the blocks of the chain. Each seed gives those of a different sequencer.
fn blocks(chain: &ChainConfig, seed: u64) -> Vec<Envelope> {
    blocks_of(chain, seed, BLOCKS)
}

fn blocks_of(chain: &ChainConfig, seed: u64, count: u64) -> Vec<Envelope> {
    let mut maker = BlockMaker::new(chain, seed);
    (GENESIS + 1..=GENESIS + count)
        .map(|number| maker.next(chain.timestamp_of(number).unwrap()))
        .collect()
}

fn id(block: &Envelope) -> BlockId {
    BlockId::new(block.payload.block_number, block.payload.block_hash)
}

fn ids(blocks: &[Envelope]) -> Vec<BlockId> {
    blocks.iter().map(id).collect()
}

/// Starts a node of the reference that has these blocks.
async fn server(nodes: &OpNodes, chain: &ChainConfig, blocks: &[Envelope]) -> OpNode {
    let node = nodes.node(chain, Setup::default()).await;
    node.hold(blocks).await;
    node
}

/// Starts one of our nodes, which has the genesis block and these peers.
async fn ours(
    directory: &TempDir,
    chain: &ChainConfig,
    peers: &[&OpNode],
    patience: Option<Duration>,
) -> (Host, broadcast::Receiver<HostEvent>) {
    let static_peers: Vec<Multiaddr> = peers.iter().map(|peer| peer.address.clone()).collect();
    let mut config = HostConfig { from_genesis: true, static_peers, ..config(directory, chain) };
    config.view.gap_patience = patience;
    let (host, events) = Host::start_heard(config).await.unwrap();
    until(&host, |status| status.peers == peers.len()).await;
    (host, events)
}

/// Starts one of our nodes that has these blocks, which it fetched from a reference node that is
/// gone.
async fn our_server(
    nodes: &OpNodes,
    directory: &TempDir,
    chain: &ChainConfig,
    blocks: &[Envelope],
) -> Host {
    let source = server(nodes, chain, blocks).await;
    let (host, _) = ours(directory, chain, &[&source], Some(SOON)).await;
    let last = id(blocks.last().unwrap());
    assert_eq!(host.fetch_range(last).await, Ok(Ok(())));
    until(&host, |status| status.stored == Some(last)).await;
    source.stop().await;
    until(&host, |status| status.peers == 0).await;
    host
}

/// Returns the next `count` blocks that our node delivers.
async fn handed_on(events: &mut broadcast::Receiver<HostEvent>, count: usize) -> Vec<BlockId> {
    let mut blocks = Vec::new();
    while blocks.len() < count {
        let event = timeout(PATIENCE, events.recv()).await;
        let event =
            event.unwrap_or_else(|_| panic!("{} of {count} blocks in time", blocks.len())).unwrap();
        if let HostEventKind::Core(Event::Chain(ChainEvent::Extended(block))) = event.kind {
            blocks.push(BlockId::of(&block));
        }
    }
    blocks
}

/// Returns our node's counts for a peer as a server.
fn counted(host: &Host, peer: &PeerId) -> Counters {
    let peer = from_libp2p(peer).unwrap();
    host.peers(|peers, now| peers.scores(now, &peer).req_resp)
}

/// Returns a block reference in the reference's JSON.
fn reference(number: u64, hash: B256, parent: B256, timestamp: u64) -> Value {
    json!({
        "hash": hash, "number": number, "parentHash": parent, "timestamp": timestamp,
        "l1origin": { "hash": B256::ZERO, "number": 0 }, "sequenceNumber": 0,
    })
}

/// Makes a node of the reference request all blocks from `first` up to the block before `end`.
async fn request(node: &OpNode, first: u64, end: &Envelope) {
    let payload = &end.payload;
    let start = reference(first - 1, B256::ZERO, B256::ZERO, 0);
    let end =
        reference(payload.block_number, payload.block_hash, payload.parent_hash, payload.timestamp);
    let _: Value = node.call("request", json!({ "start": start, "end": end })).await;
}

/// Returns the blocks that a reference node has in the range of these blocks.
async fn held(node: &OpNode, blocks: &[Envelope]) -> Vec<BlockId> {
    let range = json!({
        "first": blocks[0].payload.block_number,
        "last": blocks[blocks.len() - 1].payload.block_number,
    });
    let held: BTreeMap<u64, B256> = node.call("holds", range).await;
    held.into_iter().map(|(number, hash)| BlockId::new(number, hash)).collect()
}

/// Waits until the reference logs these words.
async fn told(nodes: &OpNodes, words: &str) {
    until_true(words, PATIENCE, async || nodes.process().log().contains(words)).await;
}

pub(crate) async fn our_client_fetches_all_versions_of_their_server() {
    let directory = tempfile::tempdir().unwrap();
    let (nodes, chain) = (OpNodes::start(), grown_chain());
    let blocks = blocks(&chain, 1);
    let versions =
        blocks.iter().map(|block| PayloadVersion::at(&chain.forks, block.payload.timestamp));
    assert_eq!(versions.collect::<BTreeSet<_>>(), PayloadVersion::ALL.into());
    let theirs = server(&nodes, &chain, &blocks).await;
    let (ours, mut events) = ours(&directory, &chain, &[&theirs], None).await;
    let last = id(&blocks[blocks.len() - 1]);
    assert_eq!(ours.fetch_range(last).await, Ok(Ok(())));
    assert_eq!(handed_on(&mut events, blocks.len()).await, ids(&blocks));
    until(&ours, |status| status.stored == Some(last)).await;
    for block in &blocks {
        let stored = ours.stored_block(block.payload.block_number).unwrap().unwrap();
        assert_eq!(stored.to_envelope(), *block);
    }
    let counted = counted(&ours, &theirs.id);
    assert!(counted.valid_responses > 0.0, "{counted:?}");
    assert_eq!((counted.error_responses, counted.rejected_payloads), (0.0, 0.0));
    ours.stop().await;
}

pub(crate) async fn their_client_fetches_all_versions_of_our_server() {
    let directory = tempfile::tempdir().unwrap();
    let (nodes, chain) = (OpNodes::start(), grown_chain());
    let blocks = blocks(&chain, 2);
    let ours = our_server(&nodes, &directory, &chain, &blocks).await;
    let theirs = nodes.node(&chain, Setup::default()).await;
    theirs.connect(&ours.address()).await;
    let mut taken = theirs.taken();
    // The end of the range is not requested.
    let (end, wanted) = blocks.split_last().unwrap();
    request(&theirs, GENESIS + 1, end).await;
    for block in wanted.iter().rev() {
        let taken = taken.next().await;
        assert_eq!(
            BlockId::new(taken.number, taken.hash),
            id(block),
            "they take them from the newest on"
        );
        assert_eq!(taken.from, ours.peer_id().to_string());
    }
    assert_eq!(held(&theirs, &blocks).await, ids(wanted));
    // Less than one for each block, since the count decays continuously.
    let scores =
        theirs.scored(&ours.peer_id(), |scores| scores.scores.req_resp.valid_responses > 1.0).await;
    assert_eq!(
        (scores.scores.req_resp.error_responses, scores.scores.req_resp.rejected_payloads),
        (0.0, 0.0)
    );
    assert_eq!(ours.status().borrow().served, wanted.len() as u64);
    ours.stop().await;
}

pub(crate) async fn a_block_that_they_lack_is_requested_again_without_blame() {
    let directory = tempfile::tempdir().unwrap();
    let (nodes, chain) = (OpNodes::start(), grown_chain());
    let blocks = blocks(&chain, 3);
    let (missing, rest) = (15, blocks.len() - 16);
    let theirs = nodes.node(&chain, Setup::default()).await;
    theirs.hold(&blocks[..missing]).await;
    theirs.hold(&blocks[missing + 1..]).await;
    let (ours, mut events) = ours(&directory, &chain, &[&theirs], Some(SOON)).await;
    let last = id(&blocks[blocks.len() - 1]);
    let lacking = id(&blocks[missing]);
    // All blocks above the missing one are proved, and no peer has the missing one.
    assert_eq!(ours.fetch_range(last).await, Ok(Err(RangeError::NotFound(lacking.number))));
    told(&nodes, "peer requested unknown block by number: not found").await;
    let counts = counted(&ours, &theirs.id);
    assert!(counts.valid_responses > 0.0, "{counts:?}");
    assert_eq!((counts.error_responses, counts.rejected_payloads), (0.0, 0.0));
    assert!(ours.status().borrow().sync.is_some_and(|sync| sync.pending >= rest));
    assert!(theirs.is_connected(&ours.peer_id()).await);

    theirs.hold(&blocks[missing..=missing]).await;
    assert_eq!(ours.fetch_range(last).await, Ok(Ok(())));
    assert_eq!(handed_on(&mut events, blocks.len()).await, ids(&blocks));
    ours.stop().await;
}

pub(crate) async fn a_block_that_we_lack_is_not_blamed_on_us() {
    let directory = tempfile::tempdir().unwrap();
    let (nodes, chain) = (OpNodes::start(), grown_chain());
    let blocks = blocks(&chain, 4);
    let (known, unknown) = blocks.split_at(10);
    let ours = our_server(&nodes, &directory, &chain, known).await;
    let theirs = nodes.node(&chain, Setup::default()).await;
    theirs.connect(&ours.address()).await;
    request(&theirs, unknown[0].payload.block_number, &unknown[2]).await;
    told(&nodes, "peer failed to serve request with code 1: not found").await;
    assert_eq!(held(&theirs, &blocks).await, []);
    let scores = theirs.scores(&ours.peer_id()).await.scores.req_resp;
    assert_eq!((scores.error_responses, scores.rejected_payloads), (0.0, 0.0));

    // They gave up on that range, and request others after some seconds.
    let mut taken = theirs.taken();
    request(&theirs, GENESIS + 1, &known[9]).await;
    for block in known[..9].iter().rev() {
        assert_eq!(taken.next().await.hash, block.payload.block_hash);
    }
    ours.stop().await;
}

pub(crate) async fn an_impossible_block_is_an_invalid_request_on_both_sides() {
    let directory = tempfile::tempdir().unwrap();
    let (nodes, chain) = (OpNodes::start(), grown_chain());
    let blocks = blocks(&chain, 5);
    let ours = our_server(&nodes, &directory, &chain, &blocks).await;
    let theirs = nodes.node(&chain, Setup::default()).await;
    assert_eq!(ours.connect(theirs.address.clone()).await, Ok(Ok(())));
    // Their client requests a block that can't exist yet. By their rules, our refusal counts as a
    // failure.
    let mut far = blocks[BLOCKS as usize - 1].clone();
    far.payload.block_number += 1_000_000;
    request(&theirs, far.payload.block_number - 1, &far).await;
    told(&nodes, "peer failed to serve request with code 2: invalid request").await;
    let scores =
        theirs.scored(&ours.peer_id(), |scores| scores.scores.req_resp.error_responses > 0.0).await;
    assert!(scores.scores.req_resp.error_responses <= 1.0, "{scores:?}");
    // Our node does not request such a block: they are not at fault for an operator's wrong number.
    let nowhere = BlockId::new(far.payload.block_number, B256::repeat_byte(1));
    let refused = ours.fetch_range(nowhere).await;
    assert!(matches!(refused, Ok(Err(RangeError::NotYet { .. }))), "{refused:?}");
    assert!(counted(&ours, &theirs.id).error_responses == 0.0);
    assert!(theirs.is_connected(&ours.peer_id()).await);
    ours.stop().await;
}

/// A server's answer: the block's decoding if there is one.
#[derive(Debug, PartialEq, Eq)]
enum Answered {
    Nothing,
    Code(u8),
    Block { version: u32, ssz: Vec<u8> },
    NoStream,
}

fn read(answer: &Result<Vec<u8>, String>) -> Answered {
    match answer.as_deref() {
        Ok([]) => Answered::Nothing,
        Ok([code]) => Answered::Code(*code),
        Ok(bytes) => {
            let (version, ssz) = decode_response(bytes, MAX_RESPONSE_SIZE).expect("an answer");
            Answered::Block { version: version.number(), ssz }
        }
        Err(error) if error.contains("protocols not supported") => Answered::NoStream,
        Err(error) => panic!("{error}"),
    }
}

pub(crate) async fn both_servers_give_a_stranger_the_same_answers() {
    let directory = tempfile::tempdir().unwrap();
    let (nodes, chain) = (OpNodes::start(), grown_chain());
    let blocks = blocks(&chain, 6);
    let held = &blocks[..BLOCKS as usize - 1];
    let ours = our_server(&nodes, &directory, &chain, held).await;
    let theirs = server(&nodes, &chain, held).await;
    let stranger = GoStranger::plain(&nodes, &chain).await;
    stranger.connect(&ours.address()).await.unwrap();
    stranger.connect(&theirs.address).await.unwrap();
    let ask = async |protocol: &str, said: &[u8]| {
        let ours = stranger.ask(&ours.peer_id(), protocol, said).await;
        (read(&ours), read(&stranger.ask(&theirs.id, protocol, said).await))
    };
    let name = protocol_id(chain.chain_id);
    // A block of each encoding. The compressed bytes may differ between the two.
    for (version, after) in [(0, 1), (0, 7), (1, 13), (1, 19), (1, 23)] {
        let (ours, theirs) = ask(&name, &(GENESIS + after).to_le_bytes()).await;
        assert_eq!(ours, theirs);
        let mut ssz = Vec::new();
        blocks[after as usize - 1].encode(&mut ssz).unwrap();
        assert_eq!(ours, Answered::Block { version, ssz });
    }
    let code = |code: ResultCode| Answered::Code(code.byte());
    for (number, expected) in [
        (GENESIS, ResultCode::NotFound),
        (GENESIS + BLOCKS, ResultCode::NotFound),
        (GENESIS - 1, ResultCode::InvalidRequest),
        (0, ResultCode::InvalidRequest),
        (GENESIS + 1_000_000, ResultCode::InvalidRequest),
        (u64::MAX, ResultCode::InvalidRequest),
    ] {
        assert_eq!(
            ask(&name, &number.to_le_bytes()).await,
            (code(expected), code(expected)),
            "{number}"
        );
    }
    // Neither reads beyond the eighth byte, nor waits for the end of the stream.
    let number = (GENESIS + 2).to_le_bytes();
    let (ours_long, theirs_long) = ask(&name, &[&number[..], b"and more"].concat()).await;
    assert_eq!(ours_long, theirs_long);
    assert!(matches!(ours_long, Answered::Block { version: 0, .. }), "{ours_long:?}");
    for peer in [ours.peer_id(), theirs.id] {
        let unended = stranger.ask_repeatedly(&peer, &name, &number, true, 1).await.remove(0);
        assert_eq!(read(&unended.result), theirs_long);
    }
    // Their server returns an error if a request ends too early; ours ends the stream, which means
    // the same.
    for short in [&number[..7], &[]] {
        assert_eq!(ask(&name, short).await, (Answered::Nothing, code(ResultCode::UnknownError)));
    }
    // Only ours supports the protocol's name in the specification. Neither supports that of another
    // chain.
    let (ours_spec, theirs_spec) = ask(&spec_protocol_id(chain.chain_id), &number).await;
    assert_eq!((ours_spec, theirs_spec), (theirs_long, Answered::NoStream));
    assert_eq!(ask(&protocol_id(10), &number).await, (Answered::NoStream, Answered::NoStream));
    ours.stop().await;
}

pub(crate) async fn a_branch_off_the_chain_is_refused_and_the_right_one_is_accepted() {
    let directory = tempfile::tempdir().unwrap();
    let (nodes, chain) = (OpNodes::start(), grown_chain());
    let (right, wrong) = (blocks(&chain, 7), blocks(&chain, 8));
    // The newest block is right, so that more blocks are requested from them.
    let theirs = server(&nodes, &chain, &wrong[..BLOCKS as usize - 1]).await;
    theirs.hold(&right[BLOCKS as usize - 1..]).await;
    let (ours, mut events) = ours(&directory, &chain, &[&theirs], Some(SOON)).await;
    let last = id(&right[BLOCKS as usize - 1]);
    assert_eq!(ours.fetch_range(last).await, Ok(Err(RangeError::NotFound(last.number - 1))));
    // They may be an honest server of an abandoned branch, until the right one is proved.
    assert_eq!(counted(&ours, &theirs.id).rejected_payloads, 0.0);
    let honest = server(&nodes, &chain, &right).await;
    assert_eq!(ours.connect(honest.address.clone()).await, Ok(Ok(())));
    assert_eq!(ours.fetch_range(last).await, Ok(Ok(())));
    assert_eq!(handed_on(&mut events, right.len()).await, ids(&right));
    // The charge is held for some minutes, in case the sequencer signed their branch after all. The
    // core's tests wait for its end.
    for server in [&theirs, &honest] {
        assert_eq!(counted(&ours, &server.id).rejected_payloads, 0.0);
    }
    ours.stop().await;
}

pub(crate) async fn a_block_with_a_false_hash_is_refused_and_costs_its_server() {
    let directory = tempfile::tempdir().unwrap();
    let (nodes, chain) = (OpNodes::start(), grown_chain());
    let right = blocks(&chain, 9);
    let mut forged = right.clone();
    forged[10].payload.gas_used += 1;
    let theirs = server(&nodes, &chain, &forged).await;
    let (ours, mut events) = ours(&directory, &chain, &[&theirs], Some(SOON)).await;
    let last = id(&right[BLOCKS as usize - 1]);
    // It is not asked again for a while. Therefore a block above may be missing too, if it had to
    // be requested again.
    let forged_number = right[10].payload.block_number;
    let result = ours.fetch_range(last).await;
    assert!(
        matches!(result, Ok(Err(RangeError::NotFound(number)))
            if (forged_number..=last.number).contains(&number)),
        "{result:?}"
    );
    let bad = counted(&ours, &theirs.id);
    assert!(bad.rejected_payloads > 0.0, "{bad:?}");
    assert_eq!(bad.error_responses, 0.0);
    let honest = server(&nodes, &chain, &right).await;
    assert_eq!(ours.connect(honest.address.clone()).await, Ok(Ok(())));
    assert_eq!(ours.fetch_range(last).await, Ok(Ok(())));
    assert_eq!(handed_on(&mut events, right.len()).await, ids(&right));
    ours.stop().await;
}

pub(crate) async fn serving_an_abandoned_branch_costs_us_as_their_rules_say() {
    let directory = tempfile::tempdir().unwrap();
    let (nodes, chain) = (OpNodes::start(), grown_chain());
    let (left, right) = (blocks(&chain, 10), blocks(&chain, 11));
    // A node that missed the reorg of the sequencer.
    let ours = our_server(&nodes, &directory, &chain, &left[..10]).await;
    let theirs = nodes.node(&chain, Setup::default()).await;
    theirs.connect(&ours.address()).await;
    request(&theirs, GENESIS + 9, &right[10]).await;
    theirs.scored(&ours.peer_id(), |scores| scores.scores.req_resp.valid_responses > 1.0).await;
    assert_eq!(held(&theirs, &right).await, [], "none of them is handed on");
    assert_eq!(theirs.scores(&ours.peer_id()).await.scores.req_resp.rejected_payloads, 0.0);
    // When the block above is proved, the blocks that our node served below it turn out to belong
    // to another branch.
    ours.command(PeerCommand::Disconnect(from_libp2p(&theirs.id).unwrap())).await.unwrap().unwrap();
    until(&ours, |status| status.peers == 0).await;
    let honest = server(&nodes, &chain, &right).await;
    theirs.connect(&honest.address).await;
    let mut taken = theirs.taken();
    request(&theirs, GENESIS + 11, &right[11]).await;
    assert_eq!(taken.next().await.hash, right[10].payload.block_hash);
    let scores = theirs
        .scored(&ours.peer_id(), |scores| scores.scores.req_resp.rejected_payloads > 0.0)
        .await;
    assert!(scores.scores.req_resp.rejected_payloads <= 1.0, "{scores:?}");
    assert_eq!(theirs.scores(&honest.id).await.scores.req_resp.rejected_payloads, 0.0);
    ours.stop().await;
}

pub(crate) async fn our_server_limits_a_greedy_client_as_theirs_does() {
    /// Number of requests that both serve at once, and requests per second after that.
    const BURST: usize = 15;
    const RATE: f64 = 4.0;
    const REQUESTS: usize = 25;
    let directory = tempfile::tempdir().unwrap();
    let (nodes, chain) = (OpNodes::start(), grown_chain());
    let blocks = blocks(&chain, 12);
    let ours = our_server(&nodes, &directory, &chain, &blocks).await;
    let theirs = server(&nodes, &chain, &blocks).await;
    let stranger = GoStranger::plain(&nodes, &chain).await;
    stranger.connect(&ours.address()).await.unwrap();
    stranger.connect(&theirs.address).await.unwrap();
    let number = (GENESIS + 3).to_le_bytes();
    let name = protocol_id(chain.chain_id);
    for peer in [ours.peer_id(), theirs.id] {
        let answers = stranger.ask_repeatedly(&peer, &name, &number, false, REQUESTS).await;
        assert_eq!(answers.len(), REQUESTS);
        for (before, answer) in answers.into_iter().enumerate() {
            let least = (before + 1).saturating_sub(BURST) as f64 / RATE;
            let after = answer.after.as_secs_f64();
            // Asking sooner does not make another token available. Both clocks may round.
            assert!(
                after > least - 0.01,
                "answer {before} of {peer} after {after} s, and not {least} s"
            );
            assert!(matches!(read(&answer.result), Answered::Block { .. }));
        }
    }
    ours.stop().await;
}

pub(crate) async fn the_rest_of_a_range_comes_from_another_server_if_one_leaves() {
    let directory = tempfile::tempdir().unwrap();
    // At the rate of one server, the range takes eight seconds.
    let (nodes, chain) = (OpNodes::start(), grown_chain_of(2 * BLOCKS));
    let blocks = blocks_of(&chain, 13, 2 * BLOCKS);
    let first = server(&nodes, &chain, &blocks).await;
    let (ours, mut events) = ours(&directory, &chain, &[&first], None).await;
    let last = id(&blocks[blocks.len() - 1]);
    let fetched = ours.fetch_range(last);
    let in_the_middle = async {
        until(&ours, |status| status.sync.is_some_and(|sync| sync.pending >= 5)).await;
        first.clone().stop().await;
        until(&ours, |status| status.peers == 0).await;
        let missing = ours.status().borrow().sync.map_or(0, |sync| blocks.len() - sync.pending);
        let second = server(&nodes, &chain, &blocks).await;
        assert_eq!(ours.connect(second.address.clone()).await, Ok(Ok(())));
        (second, missing)
    };
    let (fetched, (second, missing)) = tokio::join!(fetched, in_the_middle);
    assert_eq!(fetched, Ok(Ok(())));
    assert!(missing > 0, "it was stopped before all had come");
    assert_eq!(handed_on(&mut events, blocks.len()).await, ids(&blocks));
    for peer in [&first.id, &second.id] {
        let counted = counted(&ours, peer);
        assert!(counted.valid_responses > 0.0, "{peer}: {counted:?}");
        assert_eq!((counted.error_responses, counted.rejected_payloads), (0.0, 0.0), "{peer}");
    }
    ours.stop().await;
}
