//! Wrong engines and secrets, and blocks submitted over RPC.

use crate::geth::{Genesis, Geth};
use crate::support::{Node, rich, rollup, unix_seconds};
use alloy_primitives::B256;
use serde_json::json;

fn genesis() -> Genesis {
    Genesis { chain_id: 901, time: unix_seconds() - 2, isthmus: None, rich: rich().address() }
}

pub(crate) async fn a_wrong_secret_or_chain_is_reported_before_anything_starts() {
    let directory = tempfile::tempdir().unwrap();
    let genesis = genesis();
    let geth = Geth::start(directory.path(), "geth", &genesis).await;
    let hash = geth.genesis_hash().await.to_string();
    let secret = directory.path().join("wrong.hex").display().to_string();
    std::fs::write(&secret, "11".repeat(32)).unwrap();
    let other_chain = Genesis { chain_id: 902, ..genesis.clone() };
    let other_genesis = B256::repeat_byte(9).to_string();
    let cases = [
        (
            "secret",
            rollup(&genesis, &hash),
            Some(secret.as_str()),
            "both must have the same JWT secret",
        ),
        (
            "chain",
            rollup(&other_chain, &hash),
            None,
            "it executes chain 901, and this node follows chain 902",
        ),
        ("genesis", rollup(&genesis, &other_genesis), None, "it was set up with another genesis"),
    ];
    for (name, rollup, secret, says) in cases {
        let secret = secret.map_or_else(|| geth.secret(), str::to_owned);
        let arguments = [format!("--l2={}", geth.engine()), format!("--l2.jwt-secret={secret}")];
        let arguments = [arguments[0].as_str(), &arguments[1]];
        let mut node = Node::new(directory.path(), name, &rollup, &arguments);
        node.start();
        let lines = node.process.take().unwrap().fails().await;
        let last = lines.last().cloned().unwrap_or_default();
        assert!(last.contains(says) && last.contains("--l2"), "{name}: {lines:#?}");
        assert!(!directory.path().join(name).join("data").exists(), "{name} left files behind");
    }
}

/// An engine with different forks is detected at the first block at which they differ: it rejects
/// the version of the call.
pub(crate) async fn an_engine_of_another_fork_is_reported_and_gets_nothing_more() {
    let directory = tempfile::tempdir().unwrap();
    let never = Genesis { isthmus: Some(u32::MAX.into()), ..genesis() };
    // The chain does not have Isthmus, but this engine expects it in six seconds.
    let early = Genesis { isthmus: Some(never.time + 6), ..never.clone() };
    let building = Geth::start(directory.path(), "building", &never).await;
    let other = Geth::start(directory.path(), "other", &early).await;
    let mut rollup = rollup(&never, &building.genesis_hash().await.to_string());
    for fork in ["isthmus_time", "jovian_time"] {
        rollup[fork] = json!(u32::MAX);
    }
    let mut sequencer = Node::new(directory.path(), "sequencer", &rollup, &["--sequencer.enabled"])
        .with_engine(&building)
        .sequencing();
    sequencer.start();
    let address = sequencer.address().await;
    let mut node =
        Node::new(directory.path(), "node", &rollup, &[&format!("--p2p.static={address}")])
            .with_engine(&other);
    node.start();
    let line = node.process().says(&["is not the one for this chain"]).await;
    assert!(line.contains("its fork schedule is not this chain's"), "{line}");
    let before = other.head().await;
    building.reaches(before + 6).await;
    assert!((1..=6).contains(&before) && other.head().await == before, "{before}");
    let status = node.status().await;
    assert_eq!(status["engine"]["activity"], "mismatched", "{status:#}");
    assert!(status["head"]["number"].as_u64() > Some(before), "{status:#}");
    assert!(status["problems"].to_string().contains("fork schedule"), "{status:#}");
    let lines = node.process().lines();
    let about_it = lines.iter().filter(|line| line.contains("not the one for this chain"));
    assert_eq!(about_it.count(), 1, "{lines:#?}");
}

pub(crate) async fn submitted_blocks_are_published_or_inserted_and_false_ones_refused() {
    let directory = tempfile::tempdir().unwrap();
    let genesis = genesis();
    let geth = Geth::start(directory.path(), "geth", &genesis).await;
    let rollup = rollup(&genesis, &geth.genesis_hash().await.to_string());
    // One node builds alone; the test passes its blocks to the two others.
    let mut builder = Node::new(directory.path(), "builder", &rollup, &["--sequencer.enabled"])
        .with_engine(&geth)
        .sequencing();
    builder.start();
    geth.reaches(5).await;
    let mut publisher = Node::new(directory.path(), "publisher", &rollup, &[]).sequencing();
    publisher.start();
    let address = publisher.address().await;
    let mut follower =
        Node::new(directory.path(), "follower", &rollup, &[&format!("--p2p.static={address}")]);
    follower.start();
    publisher.until("it is heard", |status| status["peers"]["subscribers"] == 1).await;
    let envelope = |block: &serde_json::Value, transactions: Vec<String>| {
        json!({
            "parentBeaconBlockRoot": block["parentBeaconBlockRoot"],
            "executionPayload": {
                "parentHash": block["parentHash"],
                "feeRecipient": block["miner"], "stateRoot": block["stateRoot"],
                "receiptsRoot": block["receiptsRoot"], "logsBloom": block["logsBloom"],
                "prevRandao": block["mixHash"], "blockNumber": block["number"],
                "gasLimit": block["gasLimit"],
                "gasUsed": block["gasUsed"], "timestamp": block["timestamp"],
                "extraData": block["extraData"],
                "baseFeePerGas": block["baseFeePerGas"], "blockHash": block["hash"],
                "transactions": transactions,
                "withdrawals": [], "blobGasUsed": block["blobGasUsed"],
                "excessBlobGas": block["excessBlobGas"],
                "withdrawalsRoot": block["withdrawalsRoot"],
            },
        })
    };
    let mut envelopes = Vec::new();
    for height in 1..=5_u64 {
        let block = geth.block(height).await;
        let hash = block["transactions"][0].as_str().unwrap().to_owned();
        let raw = geth.call("eth_getRawTransactionByHash", json!([hash])).await;
        envelopes.push(envelope(&block, vec![raw.as_str().unwrap().to_owned()]));
    }
    let hash = |envelope: &serde_json::Value| envelope["executionPayload"]["blockHash"].clone();
    for envelope in &envelopes[..3] {
        let published = publisher.call("opp2p_publishPayload", json!([envelope])).await;
        assert_eq!(published, Ok(hash(envelope)));
    }
    follower.until("it has what was published", |status| status["head"]["number"] == 3).await;
    // The block is added to the node's own chain and not gossiped.
    assert_eq!(
        follower.call("admin_postUnsafePayload", json!([envelopes[3]])).await,
        Ok(json!(null))
    );
    follower.until("it has what was posted", |status| status["head"]["number"] == 4).await;
    assert_eq!(publisher.status().await["head"]["number"], 3);
    // Another state root under the same hash.
    let mut false_one = envelopes[4].clone();
    false_one["executionPayload"]["stateRoot"] = json!(B256::repeat_byte(1));
    for method in ["admin_postUnsafePayload", "opp2p_publishPayload"] {
        let refused = publisher.call(method, json!([false_one])).await.unwrap_err();
        assert!(refused.contains("hash"), "{method}: {refused}");
        let refused = publisher.call(method, json!([{"executionPayload": {}}])).await.unwrap_err();
        assert!(refused.contains("a block is expected"), "{method}: {refused}");
    }
    let refused = follower.call("opp2p_publishPayload", json!([envelopes[4]])).await.unwrap_err();
    assert!(refused.contains("no p2p signer"), "{refused}");
    assert_eq!(publisher.status().await["head"]["number"], 3);
}
