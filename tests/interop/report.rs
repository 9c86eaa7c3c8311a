//! Cost of our nodes and of the reference's, measured side by side in one run: `cargo all-tests --
//! side-by-side`.
//!
//! Each kind is measured among its own, on the same blocks, in alternation. The printed values are
//! medians and their ratios: machines differ, and few are idle.

use crate::foreign::{self, Foreign};
use crate::go_stranger::GoStranger;
use crate::op_node::{OpNode, OpNodes, Setup};
use crate::ours::{chain_of, config, fill, message, signer, sized, until};
use alloy_primitives::{B256, hex};
use libp2p::Multiaddr;
use opp2p::devnet::{BlockMaker, unix_seconds};
use opp2p_core::chain::{BlockId, ChainConfig, ChainEvent};
use opp2p_core::gossip::{Rules, SeenBlocks, Signers, Unpacked, block_topic, validate};
use opp2p_core::node::{Event, SyncConfig};
use opp2p_core::payload::{Envelope, PayloadVersion};
use opp2p_core::peers::Scoring;
use opp2p_core::sync::ServerConfig;
use opp2p_node::host::{Host, HostConfig, HostEventKind};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::process::Command;
use tokio::time::sleep;

const VERSION: PayloadVersion = PayloadVersion::V4;

/// Runs all measurements and prints the results.
pub(crate) fn print() -> ExitCode {
    if foreign::programs().is_none() {
        eprintln!(
            "The report needs the reference's programs; `cargo all-tests -- side-by-side` builds \
             and runs it."
        );
        return ExitCode::FAILURE;
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads");
    runtime.block_on(async {
        validation().await;
        latency().await;
        sync().await;
        memory().await;
    });
    ExitCode::SUCCESS
}

/// Prints a table row: the quantity, theirs, ours, and the factor by which ours is better.
fn line(what: &str, theirs: f64, ours: f64, unit: &str, ratio: f64) {
    println!("| {what} | {theirs:.1} {unit} | {ours:.1} {unit} | {ratio:.1} |");
}

fn heading(title: &str) {
    println!("\n### {title}\n\n| | op-node | opp2p | times better |\n|---|---:|---:|---:|");
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

async fn validation() {
    heading("Validation of a gossip message, microseconds on one thread");
    let (chain, now, nodes) = (chain_of(VERSION), unix_seconds(), OpNodes::start());
    let rollup: Value = serde_json::from_str(&chain.to_rollup_json()).unwrap();
    let signers = Signers { current: Some(signer().address()), previous: None };
    let rules = Rules::new(&chain, signers);
    let topic = block_topic(chain.chain_id, VERSION);
    for (what, bytes, count) in
        [("a block of 2.6 kB", 2_600, 200), ("of 61 kB", 61_000, 100), ("of 1 MB", 1_000_000, 10)]
    {
        let mut maker = BlockMaker::new(&chain, 1);
        let messages: Vec<Vec<u8>> =
            (0..count).map(|_| message(&chain, &sized(&mut maker, now, bytes))).collect();
        let params = json!({
            "rollup": rollup, "signer": signer().address(), "version": VERSION.index(), "now": now,
            "threshold": 60, "rounds": 5,
            "messages": messages.iter().map(hex::encode).collect::<Vec<_>>(),
        });
        let (mut theirs, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..5 {
            theirs.push(nodes.call::<f64>("time_judgment", params.clone()).await / 1e3);
            let mut seen = SeenBlocks::default();
            let started = Instant::now();
            for data in &messages {
                let unpacked = Unpacked::new(data);
                // Their function computes the id elsewhere, and that time is not counted.
                std::hint::black_box(unpacked.message_id(&topic));
                let block = validate(&rules, VERSION, unpacked, now).unwrap().block;
                seen.admit(VERSION, block.number(), block.hash()).unwrap();
            }
            ours.push(started.elapsed().as_secs_f64() * 1e6 / f64::from(count));
        }
        let (theirs, ours) = (median(theirs), median(ours));
        line(what, theirs, ours, "µs", theirs / ours);
    }
    println!(
        "\nOurs includes the message's id, for which theirs decompresses once more in another \
         function."
    );
}

/// Number of blocks that are published one after the other, and the pause between them.
const BLOCKS: usize = 100;
const PAUSE: Duration = Duration::from_millis(30);

async fn latency() {
    heading("From publication to the last node's acceptance, milliseconds");
    for (what, nodes) in [("over one hop", 2), ("in a mesh of ten", 10)] {
        let theirs = their_latency(nodes).await;
        let ours = our_latency(nodes).await;
        for (name, part) in [("median", 0.5), ("99th percentile", 0.99)] {
            let at = |values: &[f64]| values[((values.len() - 1) as f64 * part).round() as usize];
            let (theirs, ours) = (at(&theirs), at(&ours));
            line(&format!("{what}, {name}"), theirs, ours, "ms", theirs / ours);
        }
    }
    println!(
        "\nEach kind alone, all its nodes in one process; {BLOCKS} blocks, most of 3 to 80 kB. Of \
         ten, each dials the three before it."
    );
}

/// Returns a generator of the blocks that both kinds publish.
fn published(chain: &ChainConfig) -> impl FnMut() -> Envelope {
    let mut maker = BlockMaker::new(chain, 8);
    move || maker.next(unix_seconds())
}

async fn their_latency(count: usize) -> Vec<f64> {
    let (chain, process) = (chain_of(VERSION), OpNodes::start());
    let mut nodes: Vec<OpNode> = Vec::new();
    for at in 0..count {
        let node = process.node(&chain, Setup { sequencer: at == 0, ..Setup::default() }).await;
        for other in nodes.iter().rev().take(3) {
            node.connect(&other.address).await;
        }
        nodes.push(node);
    }
    let (topic, wanted) = (block_topic(chain.chain_id, VERSION), 3.min(count - 1));
    for node in &nodes {
        while node.heard().await.mesh.get(&topic).is_none_or(|mesh| mesh.len() < wanted) {
            sleep(Duration::from_millis(50)).await;
        }
    }
    let mut taken: Vec<_> = nodes[1..].iter().map(OpNode::taken).collect();
    let (mut next, mut latencies) = (published(&chain), Vec::new());
    for _ in 0..BLOCKS {
        let sent: Value =
            nodes[0].call("publish", json!({ "block": crate::op_node::encoded(&next()) })).await;
        let mut last = 0;
        for taken in &mut taken {
            last = last.max(taken.next().await.at);
        }
        latencies.push((last - sent["at"].as_u64().unwrap()) as f64 / 1e6);
        sleep(PAUSE).await;
    }
    latencies.sort_by(f64::total_cmp);
    latencies
}

async fn our_latency(count: usize) -> Vec<f64> {
    let (chain, directory) = (chain_of(VERSION), tempfile::tempdir().unwrap());
    let mut hosts: Vec<Host> = Vec::new();
    for at in 0..count {
        let static_peers = hosts.iter().rev().take(3).map(|host| host.address()).collect();
        let sequencer = (at == 0).then(|| signer().into());
        let config = HostConfig { static_peers, sequencer, ..config(&directory, &chain) };
        hosts.push(Host::start(config).await.unwrap());
    }
    for host in &hosts {
        until(host, |status| status.mesh >= 3.min(count - 1)).await;
    }
    let mut events: Vec<_> = hosts[1..].iter().map(|host| host.events()).collect();
    let (mut next, mut latencies) = (published(&chain), Vec::new());
    for _ in 0..BLOCKS {
        let block = next();
        let sent = Instant::now();
        hosts[0].publish(block).await.unwrap().unwrap();
        let mut last = sent;
        for events in &mut events {
            last = last.max(accepted(events).await);
        }
        latencies.push((last - sent).as_secs_f64() * 1e3);
        sleep(PAUSE).await;
    }
    for host in hosts {
        host.stop().await;
    }
    latencies.sort_by(f64::total_cmp);
    latencies
}

/// Returns the time at which the next block was accepted.
async fn accepted(
    events: &mut tokio::sync::broadcast::Receiver<opp2p_node::host::HostEvent>,
) -> Instant {
    loop {
        let event = events.recv().await.unwrap();
        if let HostEventKind::Verdict(verdict) = event.kind {
            verdict.result.unwrap();
            return event.at;
        }
    }
}

async fn sync() {
    heading("Sync by number with all limits lifted, blocks per second");
    for (what, bytes, count) in [("blocks of 2.4 kB", 2_400, 4_000), ("of 62 kB", 62_000, 1_000)] {
        // The last block has the current time.
        let mut chain = chain_of(VERSION);
        chain.block_time = 1;
        chain.genesis.time = unix_seconds() - count - 1;
        let mut maker = BlockMaker::new(&chain, 3);
        let blocks: Vec<Envelope> = (1..=count)
            .map(|number| sized(&mut maker, chain.timestamp_of(number).unwrap(), bytes))
            .collect();
        let (mut theirs, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            theirs.push(their_sync(&chain, &blocks).await);
            ours.push(our_sync(&chain, &blocks).await);
        }
        let (theirs, ours) = (median(theirs), median(ours));
        line(what, theirs, ours, "/s", ours / theirs);
    }
    println!(
        "\nClient and server of a kind in one process. Theirs has its blocks in memory, and its \
         limits are lifted by a library in place of that which keeps them; it is asked again every \
         2 ms, since it fetches 128 blocks at a time. Ours reads them from its store and stores \
         them again."
    );
}

async fn their_sync(chain: &ChainConfig, blocks: &[Envelope]) -> f64 {
    let nodes = OpNodes::start_lifted();
    let server = nodes.node(chain, Setup::default()).await;
    let client = nodes.node(chain, Setup::default()).await;
    for some in blocks.chunks(200) {
        server.hold(some).await;
    }
    client.connect(&server.address).await;
    let reference = |number: u64, hash: B256, parent: B256| {
        json!({
            "hash": hash, "number": number, "parentHash": parent, "timestamp": 0,
            "l1origin": { "hash": hash, "number": 0 }, "sequenceNumber": 0,
        })
    };
    let start = reference(0, chain.genesis.hash, B256::ZERO);
    let started = Instant::now();
    let mut taken = 0;
    while taken < blocks.len() {
        // Blocks are accepted from the last one downwards. At most 128 are fetched at a time, and
        // the rest of a request is forgotten: a client that wants all blocks must ask again, as
        // op-node itself does every few seconds.
        let above = blocks.len() - taken;
        let (number, parent) = (above as u64 + 1, blocks[above - 1].payload.block_hash);
        let hash = blocks.get(above).map_or(B256::ZERO, |block| block.payload.block_hash);
        let _: Value = client
            .call("request", json!({ "start": start, "end": reference(number, hash, parent) }))
            .await;
        sleep(Duration::from_millis(2)).await;
        taken = client.call("quiet", json!({ "quiet": true })).await;
        assert!(started.elapsed() < Duration::from_secs(300), "op-node fetched {taken} blocks");
    }
    blocks.len() as f64 / started.elapsed().as_secs_f64()
}

async fn our_sync(chain: &ChainConfig, blocks: &[Envelope]) -> f64 {
    let directory = tempfile::tempdir().unwrap();
    let unlimited = || {
        let mut config = config(&directory, chain);
        config.from_genesis = true;
        config.retention.max_bytes = u64::MAX;
        config.retention.max_age = Duration::from_secs(1 << 30);
        config.sync =
            Some(SyncConfig { serve: ServerConfig::unlimited(), ..SyncConfig::default() });
        config
    };
    let serving = unlimited();
    fill(&serving, blocks);
    let server = Host::start(serving).await.unwrap();
    let following = HostConfig { static_peers: vec![server.address()], ..unlimited() };
    let (follower, mut events) = Host::start_heard(following).await.unwrap();
    until(&follower, |status| status.peers == 1).await;
    let last = &blocks[blocks.len() - 1].payload;
    let started = Instant::now();
    follower.fetch_range(BlockId::new(last.block_number, last.block_hash)).await.unwrap().unwrap();
    // More events may arrive at once than are kept for a listener: then the head shows the
    // progress.
    while follower.status().borrow().head.is_none_or(|head| head.number < last.block_number) {
        match events.recv().await {
            Ok(event) => match event.kind {
                HostEventKind::Core(Event::Chain(ChainEvent::Extended(block)))
                    if block.number() == last.block_number =>
                {
                    break;
                }
                _ => {}
            },
            Err(_) => sleep(Duration::from_millis(1)).await,
        }
    }
    let rate = blocks.len() as f64 / started.elapsed().as_secs_f64();
    follower.stop().await;
    server.stop().await;
    rate
}

/// Number of peers of the node whose memory is measured, and number of blocks that they publish.
const PEERS: usize = 50;
const GOSSIPED: usize = 50;

async fn memory() {
    heading("Memory of a node with 50 peers, megabytes");
    let chain = chain_of(VERSION);
    let their_process = OpNodes::start();
    // With scores, this many peers from one address would all be penalised.
    let args =
        ["--p2p.peers.lo=60", "--p2p.peers.hi=80", "--p2p.scoring=none", "--p2p.ban.peers=false"];
    let args = args.map(str::to_owned).to_vec();
    let node = their_process.node(&chain, Setup { args, ..Setup::default() }).await;
    let theirs = laden(&chain, &node.address, their_process.process().process().unwrap()).await;

    let mut command = Command::new(std::env::current_exe().unwrap());
    let our_process = Foreign::start("opp2p", command.arg(LONE_NODE));
    let address: Multiaddr =
        serde_json::from_value(our_process.call("address", json!({})).await).unwrap();
    let ours = laden(&chain, &address, our_process.process().unwrap()).await;
    for (what, theirs, ours) in [
        ("without peers", theirs.idle, ours.idle),
        ("with 50", theirs.connected, ours.connected),
        ("after 50 blocks of 62 kB", theirs.after, ours.after),
        ("at most", theirs.peak, ours.peak),
    ] {
        line(what, theirs, ours, "MB", theirs / ours);
    }
    println!(
        "\nResident memory of the process. All 50 peers are go-libp2p's, in another process, in \
         the topic."
    );
}

/// Resident memory in megabytes.
struct Memory {
    idle: f64,
    connected: f64,
    after: f64,
    peak: f64,
}

async fn laden(chain: &ChainConfig, address: &Multiaddr, process: u32) -> Memory {
    let idle = resident(process, "VmRSS");
    let (topic, others) = (block_topic(chain.chain_id, VERSION), OpNodes::start());
    let mut strangers = Vec::new();
    for _ in 0..PEERS {
        let stranger =
            GoStranger::start(&others, chain, &["noise"], &["yamux"], std::slice::from_ref(&topic))
                .await;
        stranger.connect(address).await.unwrap();
        strangers.push(stranger);
    }
    sleep(Duration::from_secs(5)).await;
    let connected = resident(process, "VmRSS");
    let mut maker = BlockMaker::new(chain, 4);
    for at in 0..GOSSIPED {
        let data = message(chain, &sized(&mut maker, unix_seconds(), 62_000));
        strangers[at % PEERS].send(&topic, &data).await;
        sleep(Duration::from_millis(100)).await;
    }
    sleep(Duration::from_secs(5)).await;
    Memory { idle, connected, after: resident(process, "VmRSS"), peak: resident(process, "VmHWM") }
}

/// Returns a field of the operating system's report on a process's memory, in megabytes.
fn resident(process: u32, field: &str) -> f64 {
    let status =
        std::fs::read_to_string(format!("/proc/{process}/status")).expect("a Linux that tells");
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("it tells this");
    let kilobytes =
        line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<f64>().unwrap();
    kilobytes * 1024.0 / 1e6
}

/// Argument that makes this program one of our nodes, to be measured from outside.
pub(crate) const LONE_NODE: &str = "--lone-node";

/// Runs one of our nodes until standard input ends. It answers each call with its address.
pub(crate) fn lone_node() -> ExitCode {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads");
    runtime.block_on(async {
        let directory = tempfile::tempdir().unwrap();
        let mut config = config(&directory, &chain_of(VERSION));
        (config.peers.connections.low, config.peers.connections.high) = (60, 80);
        config.peers.scoring = Scoring::None;
        let host = Host::start(config).await.unwrap();
        let mut lines =
            tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(tokio::io::stdin()));
        while let Ok(Some(line)) = lines.next_line().await {
            let asked: Value = serde_json::from_str(&line).unwrap();
            println!("{}", json!({ "id": asked["id"], "result": host.address() }));
        }
        host.stop().await;
    });
    ExitCode::SUCCESS
}
