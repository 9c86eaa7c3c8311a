//! A whole chain on real execution clients: one builds its blocks, our gossip carries them, others execute them.

use crate::geth::{Genesis, Geth, number};
use crate::support::{Node, rich, rollup, transfer, unix_seconds};
use alloy_primitives::Address;
use serde_json::{Value, json};
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::sleep;

/// How many blocks the chain has at the end, at least.
const BLOCKS: u64 = 100;

struct World {
    directory: TempDir,
    genesis: Genesis,
    rollup: Value,
    sequencing: Geth,
    sequencer: Node,
    address: String,
}

impl World {
    /// A chain of a block a second, which is being built.
    async fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("opp2p-execution-").tempdir().unwrap();
        let genesis =
            Genesis { chain_id: 901, time: unix_seconds() - 2, isthmus: None, rich: rich().address() };
        let sequencing = Geth::start(directory.path(), "sequencing", &genesis).await;
        let rollup = rollup(&genesis, &sequencing.genesis_hash().await.to_string());
        let mut sequencer = Node::new(directory.path(), "sequencer", &rollup, &["--sequencer.enabled"])
            .with_engine(&sequencing)
            .sequencing();
        sequencer.start();
        let address = sequencer.address().await;
        Self { directory, genesis, rollup, sequencing, sequencer, address }
    }

    async fn engine(&self, name: &str) -> Geth {
        Geth::start(self.directory.path(), name, &self.genesis).await
    }

    fn follower(&self, name: &str, geth: &Geth, peers: &str) -> Node {
        let mut node =
            Node::new(self.directory.path(), name, &self.rollup, &[&format!("--p2p.static={peers}")])
                .with_engine(geth);
        node.start();
        node
    }
}

pub(crate) async fn a_chain_is_built_gossiped_and_executed_and_outages_are_made_up_for() {
    let mut world = World::start().await;
    let (mut first, second) = (world.engine("first").await, world.engine("second").await);
    let mut one = world.follower("one", &first, &world.address);
    let mut two = world.follower("two", &second, &world.address);
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
            // A follower's engine is ended, for 20 blocks.
            None if head >= 20 => {
                first.stop();
                down = Some(head);
            }
            Some(since) if since > 0 && head >= since + 20 => {
                let status = one.status().await;
                assert_eq!(status["engine"]["activity"], "away", "{status:#}");
                assert!(
                    status["problems"][0].as_str().is_some_and(|text| text.contains("can't be reached")),
                    "{status:#}"
                );
                first.resume().await;
                down = Some(0);
                // Then the other node of ours.
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
        let [built, by_one, by_two] =
            [world.sequencing.block(height).await, first.block(height).await, second.block(height).await];
        for field in ["hash", "stateRoot", "receiptsRoot", "transactionsRoot"] {
            assert!(built[field].is_string(), "block {height}: {built}");
            assert_eq!(built[field], by_one[field], "block {height}");
            assert_eq!(built[field], by_two[field], "block {height}");
        }
        // The first transaction tells of L1.
        transfers += built["transactions"].as_array().unwrap().len() - 1;
    }
    assert!(transfers >= 100, "{transfers} transfers in {BLOCKS} blocks");
    for geth in [&world.sequencing, &first, &second] {
        let nonce_there =
            number(&geth.call("eth_getTransactionCount", json!([rich().address(), "latest"])).await);
        assert!(nonce_there >= transfers as u64);
    }
    // The transfers of what was sent last may still be on their way.
    let balance = number(&second.call("eth_getBalance", json!([to, format!("{BLOCKS:#x}")])).await);
    assert!(balance > 100_000 && balance <= sent, "{balance}");
    println!("{BLOCKS} blocks with {transfers} transfers, alike on three engines");
    let status = world.sequencer.status().await;
    assert_eq!(status["engine"]["activity"], "following", "{status:#}");
    // The same as an operator sees it.
    let shown = one.shown().await;
    assert!(shown.lines().any(|line| line.starts_with("engine    following at ")), "{shown}");
}

pub(crate) async fn an_engine_serves_what_the_store_lacks_and_a_fresh_one_catches_up() {
    let mut world = World::start().await;
    let middle = world.engine("middle").await;
    let mut between = world.follower("between", &middle, &world.address);
    middle.reaches(30).await;
    // It forgets its blocks; its engine has them.
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
