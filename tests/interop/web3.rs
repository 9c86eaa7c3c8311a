//! Plain web3 clients, viem and ethers, which read the unsafe chain from one of our nodes. They run
//! in the program in the folder `web3`.
//!
//! They have no special knowledge of our node. The values that they compute themselves (hashes of
//! headers and transactions, senders) are compared with our answers.

use crate::foreign::{self, Foreign};
use crate::ours::{self, ANY_AGE, chain_of, config, until};
use alloy_primitives::{Address, B256, Bytes, keccak256};
use opp2p::devnet::{BlockMaker, unix_seconds};
use opp2p::rpc::{RpcConfig, RpcServer};
use opp2p_core::chain::BlockId;
use opp2p_core::fixtures;
use opp2p_core::payload::{Envelope, PayloadVersion};
use opp2p_node::host::{Host, HostConfig};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::sync::broadcast;
use tokio::time::timeout;

/// Returns `true` if the clients and their dependencies are present.
pub(crate) fn is_built() -> bool {
    foreign::programs().is_some_and(|programs| programs.join("web3/node_modules/.stamp").exists())
}

/// The ways to read: a client, and a URL scheme.
const WAYS: [(&str, &str); 5] = [
    ("viem", "http"),
    ("viem", "ws"),
    ("viem-op-stack", "http"),
    ("ethers", "http"),
    ("ethers", "ws"),
];

/// A growing chain, one of our nodes that follows it, and the clients that read from that node.
struct Reading {
    sequencer: Host,
    follower: Host,
    rpc: RpcServer,
    clients: Foreign,
    maker: BlockMaker,
    blocks: Vec<Envelope>,
    _directory: TempDir,
}

/// A transaction as read by a client, with the values that the client computes.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Read {
    hash: B256,
    from: Address,
    number: u64,
    index: usize,
    #[serde(rename = "type")]
    kind: u8,
    source_hash: Option<B256>,
    /// Hash of the transaction as the client encodes it.
    hash_of: Option<B256>,
    /// Signer as the client recovers it.
    signer: Option<Address>,
}

impl Reading {
    /// Starts a chain of [`real`] blocks with some generated ones on top.
    async fn start(version: PayloadVersion) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let chain = chain_of(version);
        let config = |sequencer| {
            let config = config(&directory, &chain);
            HostConfig { timestamp_threshold: ANY_AGE, sequencer, ..config }
        };
        let sequencer = Host::start(config(Some(ours::signer().into()))).await.unwrap();
        let static_peers = vec![sequencer.address()];
        let follower = Host::start(HostConfig { static_peers, ..config(None) }).await.unwrap();
        until(&sequencer, |status| status.mesh == 1).await;
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let rpc = RpcServer::start(RpcConfig::new(local), follower.handle()).await.unwrap();
        let program = foreign::programs().unwrap().join("web3/main.mjs");
        let clients = Foreign::start("web3", Command::new("node").arg(program));
        let maker = BlockMaker::new(&chain, 7);
        let blocks = Vec::new();
        let mut reading =
            Self { sequencer, follower, rpc, clients, maker, blocks, _directory: directory };
        for block in real(version) {
            reading.publish(block).await;
        }
        reading.grow(3).await;
        reading
    }

    async fn publish(&mut self, block: Envelope) {
        let id = BlockId::new(block.payload.block_number, block.payload.block_hash);
        self.sequencer.publish(block.clone()).await.unwrap().unwrap();
        until(&self.follower, |status| status.head == Some(id)).await;
        self.maker.resume(id, block.payload.timestamp);
        self.blocks.push(block);
    }

    async fn grow(&mut self, count: usize) {
        for _ in 0..count {
            let block = self.maker.next(unix_seconds());
            self.publish(block).await;
        }
    }

    /// Returns the client's answer, or its error.
    async fn try_to_ask(
        &self,
        way: (&str, &str),
        method: &str,
        mut params: Value,
    ) -> Result<Value, String> {
        let (client, scheme) = way;
        params["client"] = client.into();
        params["url"] = format!("{scheme}://{}", self.rpc.address()).into();
        self.clients.ask(method, params).await
    }

    async fn ask(&self, way: (&str, &str), method: &str, params: Value) -> Value {
        let answer = self.try_to_ask(way, method, params).await;
        answer.unwrap_or_else(|error| panic!("{way:?} answers to {method}: {error}"))
    }

    async fn stop(self) {
        drop(self.clients);
        self.rpc.stop().await;
        self.follower.stop().await;
        self.sequencer.stop().await;
    }
}

/// Returns the longest run of consecutive bundled blocks of this version.
fn real(version: PayloadVersion) -> Vec<Envelope> {
    let mut runs: Vec<Vec<Envelope>> = Vec::new();
    for block in fixtures::blocks().into_iter().filter(|block| block.version == version) {
        let parent = block.envelope.payload.parent_hash;
        match runs
            .last_mut()
            .filter(|run| run.last().is_some_and(|last| last.payload.block_hash == parent))
        {
            Some(run) => run.push(block.envelope),
            None => runs.push(vec![block.envelope]),
        }
    }
    runs.into_iter().max_by_key(Vec::len).unwrap_or_default()
}

pub(crate) async fn blocks_are_read_by_number_hash_and_tag() {
    let reading = Reading::start(PayloadVersion::V3).await;
    assert!(reading.blocks.len() >= 7, "{} blocks", reading.blocks.len());
    let head = &reading.blocks.last().unwrap().payload;
    for way in WAYS {
        assert_eq!(reading.ask(way, "chainId", json!({})).await, json!(901), "{way:?}");
        assert_eq!(
            reading.ask(way, "blockNumber", json!({})).await,
            json!(head.block_number),
            "{way:?}"
        );
        for envelope in &reading.blocks {
            let payload = &envelope.payload;
            let expected = json!({
                "number": payload.block_number, "hash": payload.block_hash,
                "parentHash": payload.parent_hash,
                "timestamp": payload.timestamp,
                "transactions": payload.transactions.iter().map(keccak256).collect::<Vec<_>>(),
            });
            for block in [json!(payload.block_number), json!(payload.block_hash)] {
                assert_eq!(
                    reading.ask(way, "block", json!({ "block": block })).await,
                    expected,
                    "{way:?}"
                );
            }
            if payload.block_hash == head.block_hash {
                assert_eq!(
                    reading.ask(way, "block", json!({"block": "latest"})).await,
                    expected,
                    "{way:?}"
                );
            }
        }
        let earliest = reading.ask(way, "block", json!({"block": "earliest"})).await;
        // For ethers this is block 0, whether or not the node has it.
        let expected = if way.0 == "ethers" {
            Value::Null
        } else {
            json!(reading.blocks[0].payload.block_hash)
        };
        assert_eq!(earliest["hash"], expected, "{way:?}");
        // As many requests at once as a client may send.
        let hashes: Vec<_> = reading.blocks.iter().map(|block| block.payload.block_hash).collect();
        let many = reading.ask(way, "many", json!({"count": 100, "blocks": hashes})).await;
        assert_eq!(many, json!(100), "{way:?}");
        // An unknown block is also an error for the client, with our text.
        let error =
            reading.try_to_ask(way, "block", json!({"block": "finalized"})).await.unwrap_err();
        assert!(error.contains("the finalized block is not known"), "{way:?}: {error}");
    }
    reading.stop().await;
}

pub(crate) async fn transactions_are_read_whole_with_their_senders() {
    let reading = Reading::start(PayloadVersion::V3).await;
    let mut kinds = BTreeSet::new();
    for way in WAYS {
        for envelope in &reading.blocks {
            let payload = &envelope.payload;
            let read =
                reading.ask(way, "transactions", json!({ "block": payload.block_hash })).await;
            let read: Vec<Read> = serde_json::from_value(read).unwrap();
            assert_eq!(read.len(), payload.transactions.len(), "{way:?}");
            for (place, (read, raw)) in read.iter().zip(&payload.transactions).enumerate() {
                let hash = keccak256(raw);
                let found = (read.hash, read.number, read.index);
                assert_eq!(found, (hash, payload.block_number, place), "{way:?}");
                let is_deposit = raw[0] == 0x7e;
                assert_eq!(read.kind, if raw[0] < 0x80 { raw[0] } else { 0 }, "{way:?}");
                let computed = (read.hash_of, read.signer);
                assert_eq!(
                    computed,
                    if is_deposit { (None, None) } else { (Some(hash), Some(read.from)) }
                );
                if is_deposit && way.0.starts_with("viem") {
                    assert!(read.source_hash.is_some(), "{way:?}");
                }
                kinds.insert(read.kind);
            }
        }
        for raw in &reading.blocks.last().unwrap().payload.transactions {
            let read = reading.ask(way, "transaction", json!({ "hash": keccak256(raw) })).await;
            let read: Read = serde_json::from_value(read).unwrap();
            assert_eq!(read.hash, keccak256(raw), "{way:?}");
        }
    }
    assert!(kinds.is_superset(&[0, 2, 0x7e].into()), "{kinds:?}");
    reading.stop().await;
}

pub(crate) async fn an_unreadable_transaction_spoils_no_block() {
    let mut reading = Reading::start(PayloadVersion::V4).await;
    let mut block = reading.maker.next(unix_seconds());
    block.payload.transactions.push(Bytes::from_static(&[0x05, 0xc0]));
    block.payload.seal(block.parent_beacon_block_root).unwrap();
    let hashes = json!(block.payload.transactions.iter().map(keccak256).collect::<Vec<_>>());
    let hash = block.payload.block_hash;
    reading.publish(block).await;
    for way in WAYS {
        let read = reading.ask(way, "block", json!({ "block": hash })).await;
        assert_eq!((&read["hash"], &read["transactions"]), (&json!(hash), &hashes), "{way:?}");
        let in_full = reading.try_to_ask(way, "inFull", json!({ "block": hash })).await;
        if way.0 == "ethers" {
            // ethers accepts no transaction without a sender, and the sender of this one is
            // unknown.
            assert!(
                in_full.as_ref().is_err_and(|error| error.contains("value.from")),
                "{way:?}: {in_full:?}"
            );
        } else {
            assert_eq!(in_full, Ok(hashes.clone()), "{way:?}");
        }
    }
    reading.stop().await;
}

pub(crate) async fn they_compute_the_hash_of_every_block_from_its_header() {
    for version in PayloadVersion::ALL {
        let reading = Reading::start(version).await;
        for way in WAYS {
            for envelope in &reading.blocks {
                let expected = envelope.payload.block_hash;
                let params = json!({ "number": envelope.payload.block_number });
                let hashes = reading.ask(way, "hashes", params).await;
                assert_eq!(
                    hashes,
                    json!({"hash": expected, "computed": expected}),
                    "{version} {way:?}"
                );
            }
        }
        reading.stop().await;
    }
}

/// Returns the next head that is reported under this name.
async fn next(events: &mut broadcast::Receiver<Value>, name: &str) -> Value {
    let head = async {
        loop {
            let head = events.recv().await.unwrap();
            if head["watch"] == name {
                break head;
            }
        }
    };
    timeout(ours::PATIENCE, head).await.unwrap_or_else(|_| panic!("{name} hears of a head in time"))
}

pub(crate) async fn heads_are_watched_by_polling_and_by_subscription() {
    let mut reading = Reading::start(PayloadVersion::V4).await;
    let mut watches = Vec::new();
    for way in WAYS {
        let name = format!("{} by {}", way.0, way.1);
        let events = reading.clients.events();
        reading.ask(way, "watch", json!({ "name": name })).await;
        watches.push((name, events));
    }
    let mut subscription = reading.clients.events();
    reading.ask(("viem", "ws"), "subscribe", json!({"name": "newHeads"})).await;
    // Polling clients may first report the current head.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    for _ in 0..5 {
        // One at a time: when viem is notified by WebSocket, it requests the latest block, which
        // must not be a later one.
        reading.grow(1).await;
        let head = &reading.blocks.last().unwrap().payload;
        let (number, hash) = (head.block_number, head.block_hash);
        let told = next(&mut subscription, "newHeads").await;
        let expected = json!({"event": "head", "watch": "newHeads", "number": number, "hash": hash,
            "hashOf": hash});
        assert_eq!(told, expected);
        for (name, events) in &mut watches {
            let told = loop {
                let told = next(events, name).await;
                assert!(told["error"].is_null(), "{name}: {told}");
                if told["number"].as_u64() >= Some(number) {
                    break told;
                }
            };
            assert_eq!(told["number"], json!(number), "{name}");
            // ethers reports only numbers.
            assert!(told["hash"].is_null() || told["hash"] == json!(hash), "{name}: {told}");
        }
    }
    reading.stop().await;
}

pub(crate) async fn after_a_reorg_they_read_the_adopted_blocks() {
    let reading = Reading::start(PayloadVersion::V4).await;
    let mut subscription = reading.clients.events();
    reading.ask(("viem", "ws"), "subscribe", json!({"name": "newHeads"})).await;
    let [first, left @ ..] = &reading.blocks[..] else { panic!("no block") };
    let mut other = BlockMaker::new(&chain_of(PayloadVersion::V4), 8);
    other.resume(
        BlockId::new(first.payload.block_number, first.payload.block_hash),
        first.payload.timestamp,
    );
    let adopted: Vec<_> = (0..=left.len()).map(|_| other.next(unix_seconds())).collect();
    for block in &adopted {
        reading.sequencer.publish(block.clone()).await.unwrap().unwrap();
    }
    let head = adopted.last().map(|block| block.payload.block_hash);
    until(&reading.follower, |status| status.head.map(|id| id.hash) == head).await;
    for block in &adopted {
        let (number, hash) = (block.payload.block_number, block.payload.block_hash);
        assert_eq!(next(&mut subscription, "newHeads").await["hash"], json!(hash));
        for way in WAYS {
            let read = reading.ask(way, "block", json!({ "block": number })).await;
            assert_eq!(read["hash"], json!(hash), "{way:?}");
        }
    }
    for block in left {
        let (number, hash) = (block.payload.block_number, block.payload.block_hash);
        for way in WAYS {
            let read = reading.ask(way, "block", json!({ "block": hash })).await;
            assert_eq!(read["number"], json!(number), "{way:?}");
        }
    }
    reading.stop().await;
}
