//! A whole chain on real execution clients: one builds the blocks, our gossip carries them, others
//! execute them.

use crate::geth::{Genesis, Geth, number};
use crate::liar::Liar;
use crate::support::{Node, rich, rollup, transfer, unix_seconds};
use alloy_primitives::Address;
use serde_json::{Value, json};
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::sleep;

/// Minimum number of blocks of the chain at the end.
const BLOCKS: u64 = 100;

pub(crate) struct World {
    pub(crate) directory: TempDir,
    pub(crate) genesis: Genesis,
    pub(crate) rollup: Value,
    pub(crate) sequencing: Geth,
    sequencer: Node,
    pub(crate) address: String,
}

impl World {
    /// Starts a chain with a block per second, and the node that builds it.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts such a chain, with more flags for the sequencer's node.
    async fn start_with(flags: &[&str]) -> Self {
        let directory = tempfile::Builder::new().prefix("opp2p-execution-").tempdir().unwrap();
        let genesis = Genesis {
            chain_id: 901,
            time: unix_seconds() - 2,
            isthmus: None,
            rich: rich().address(),
        };
        let sequencing = Geth::start(directory.path(), "sequencing", &genesis).await;
        let rollup = rollup(&genesis, &sequencing.genesis_hash().await.to_string());
        let flags = [&["--sequencer.enabled"], flags].concat();
        let mut sequencer = Node::new(directory.path(), "sequencer", &rollup, &flags)
            .with_engine(&sequencing)
            .sequencing();
        sequencer.start();
        let address = sequencer.address().await;
        Self { directory, genesis, rollup, sequencing, sequencer, address }
    }

    async fn engine(&self, name: &str) -> Geth {
        Geth::start(self.directory.path(), name, &self.genesis).await
    }

    fn node(&self, name: &str, peers: &str) -> Node {
        let peers = format!("--p2p.static={peers}");
        Node::new(self.directory.path(), name, &self.rollup, &[&peers])
    }

    fn follower(&self, name: &str, geth: &Geth, peers: &str) -> Node {
        let mut node = self.node(name, peers).with_engine(geth);
        node.start();
        node
    }
}

pub(crate) async fn a_chain_is_built_gossiped_and_executed_despite_outages() {
    let mut world = World::start().await;
    let (mut first, second) = (world.engine("first").await, world.engine("second").await);
    let mut one = world.follower("one", &first, &world.address);
    let mut two = world.node("two", &world.address).with_engine_over_ws(&second);
    two.start();
    one.until("it follows", |status| status["engine"]["activity"] == "following").await;
    let to = Address::repeat_byte(0x42);
    let mut nonce = 0;
    let mut sent = 0;
    let mut down = None;
    loop {
        let head = world.sequencing.head().await;
        if head >= BLOCKS {
            break;
        }
        for _ in 0..3 {
            let raw = transfer(world.genesis.chain_id, nonce, to, 1000 + nonce);
            world.sequencing.call("eth_sendRawTransaction", json!([raw])).await;
            sent += 1000 + nonce;
            nonce += 1;
        }
        match down {
            // A follower's engine is down for 20 blocks.
            None if head >= 20 => {
                first.stop();
                down = Some(head);
            }
            Some(since) if since > 0 && head >= since + 20 => {
                let status = one.status().await;
                assert_eq!(status["engine"]["activity"], "away", "{status:#}");
                assert!(status["problems"].to_string().contains("can't be reached"), "{status:#}");
                first.resume().await;
                down = Some(0);
                // Then our other node goes down.
                two.process.take().unwrap().kill();
                sleep(Duration::from_secs(3)).await;
                two.start();
            }
            _ => {}
        }
        sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(down, Some(0), "there was no outage");
    first.reaches(BLOCKS).await;
    second.reaches(BLOCKS).await;
    let mut transfers = 0;
    for height in 1..=BLOCKS {
        let [built, by_one, by_two] = [
            world.sequencing.block(height).await,
            first.block(height).await,
            second.block(height).await,
        ];
        for field in ["hash", "stateRoot", "receiptsRoot", "transactionsRoot"] {
            assert!(built[field].is_string(), "block {height}: {built}");
            assert_eq!(built[field], by_one[field], "block {height}");
            assert_eq!(built[field], by_two[field], "block {height}");
        }
        // The first transaction is the L1 info deposit.
        transfers += built["transactions"].as_array().unwrap().len() - 1;
    }
    assert!(transfers >= 100, "{transfers} transfers in {BLOCKS} blocks");
    for geth in [&world.sequencing, &first, &second] {
        let nonce_there = number(
            &geth.call("eth_getTransactionCount", json!([rich().address(), "latest"])).await,
        );
        assert!(nonce_there >= transfers as u64);
    }
    // The latest transfers may not be in a block yet.
    let balance = number(&second.call("eth_getBalance", json!([to, format!("{BLOCKS:#x}")])).await);
    assert!(balance > 100_000 && balance <= sent, "{balance}");
    println!("{BLOCKS} blocks with {transfers} transfers, alike on three engines");
    let status = world.sequencer.status().await;
    assert_eq!(status["engine"]["activity"], "following", "{status:#}");
    // The same in the output for operators.
    let shown = one.shown().await;
    assert!(shown.lines().any(|line| line.starts_with("engine    following at ")), "{shown}");
}

pub(crate) async fn an_engine_serves_missing_blocks_and_a_fresh_one_catches_up() {
    let mut world = World::start().await;
    let middle = world.engine("middle").await;
    let mut between = world.follower("between", &middle, &world.address);
    middle.reaches(30).await;
    // Its store is deleted; its engine still has the blocks.
    between.process.take().unwrap().kill();
    std::fs::remove_dir_all(world.directory.path().join("between").join("data")).unwrap();
    between.start();
    let through = between.address().await;
    let fresh = world.engine("fresh").await;
    let mut last = world.follower("last", &fresh, &through);
    fresh.reaches(40).await;
    let status = last.until("it follows", |status| status["engine"]["behind"] == 0).await;
    assert_eq!(status["engine"]["activity"], "following", "{status:#}");
    assert_eq!(status["peers"]["connected"], 1, "{status:#}");
    let served = between.status().await["served"].as_u64().unwrap();
    assert!(served >= 20, "{served}");
    for height in [1, 15, 29, 40] {
        assert_eq!(fresh.block(height).await["hash"], world.sequencing.block(height).await["hash"]);
    }
    world.sequencer.process().says(&["the execution client is ready"]).await;
}

/// The node's only peer serves no blocks, as op-node does since 1.20.
pub(crate) async fn a_gap_without_servers_is_filled_by_an_engine_beside_an_endpoint_that_lies() {
    let world = World::start_with(&["--p2p.sync.req-resp=false"]).await;
    let liar = Liar::start(&world.sequencing).await;
    let endpoints = format!("--sync.rpc={},{}", liar.url(), world.sequencing.url());
    let static_peer = format!("--p2p.static={}", world.address);
    let flags = [static_peer.as_str(), endpoints.as_str()];
    let mut node = Node::new(world.directory.path(), "light", &world.rollup, &flags);
    node.start();
    let head = |status: &Value| status["head"]["number"].as_u64();
    let first = node.until("it has a head", |status| head(status).is_some()).await;
    let from = head(&first).unwrap();
    let mut nonce = 0;
    for outage in 1..=2 {
        node.process.take().unwrap().kill();
        let missed = world.sequencing.head().await + 10;
        // Blocks with transactions of users: their encoding is rebuilt from the parts.
        while world.sequencing.head().await < missed {
            let raw = transfer(world.genesis.chain_id, nonce, Address::repeat_byte(0x42), 1);
            world.sequencing.call("eth_sendRawTransaction", json!([raw])).await;
            nonce += 1;
            sleep(Duration::from_millis(300)).await;
        }
        node.start();
        node.until("the gap is filled", |status| head(status) > Some(missed)).await;
        assert!(liar.lies() >= outage, "{} lies", liar.lies());
    }
    let status = node.status().await;
    let to = head(&status).unwrap();
    assert!(to - from >= 20, "{from} to {to}");
    for height in from..=to {
        let ours = node.call("eth_getBlockByNumber", json!([format!("{height:#x}"), false])).await;
        assert_eq!(ours.unwrap()["hash"], world.sequencing.block(height).await["hash"]);
    }
    let lines = node.process().lines();
    let says = |part: &str| lines.iter().any(|line| line.contains(part));
    assert!(says("sent something else than the block"), "{lines:#?}");
    assert!(!says("are left out"), "{lines:#?}");
    // The peer that serves nothing is not penalised.
    assert_eq!(status["peers"]["connected"], 1, "{status:#}");
}
