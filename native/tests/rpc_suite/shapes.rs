//! The answers, field by field as recorded from the reference.

use crate::support::{CHAIN_ID, Node, chain, looking, same_shape};
use opp2p::devnet::BlockMaker;
use opp2p::rpc::RpcObserver;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The scores of the reference's peer info.
fn scores() -> Value {
    json!({
        "gossip": {
            "total": 0.0,
            "blocks": {
                "timeInMesh": 0.0,
                "firstMessageDeliveries": 0.0,
                "meshMessageDeliveries": 0.0,
                "invalidMessageDeliveries": 0.0,
            },
            "IPColocationFactor": 0.0,
            "behavioralPenalty": 0.0,
        },
        "reqResp": {"validResponses": 0.0, "errorResponses": 0.0, "rejectedPayloads": 0.0},
    })
}

fn texts(value: &Value) -> BTreeSet<String> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// Returns the node id in hexadecimal, from the node's peer id.
fn node_id(node: &Node) -> String {
    let bytes = node.host.peer_id().to_bytes();
    let key = libp2p::identity::PublicKey::try_decode_protobuf(&bytes[2..]).unwrap();
    let point = key.try_into_secp256k1().unwrap().to_bytes_uncompressed();
    alloy_primitives::hex::encode(alloy_primitives::keccak256(&point[1..]))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_shows_itself_as_others_see_it() {
    let node = Node::start(looking(), &[]).await;
    let own = node.call("opp2p_self", json!([])).await;
    let others = [
        "/floodsub/1.0.0",
        "/ipfs/id/1.0.0",
        "/ipfs/id/push/1.0.0",
        "/ipfs/ping/1.0.0",
        "/meshsub/1.0.0",
        "/meshsub/1.1.0",
        "/meshsub/1.2.0",
    ];
    let requests = ["", "/"].map(|end| format!("/opstack/req/payload_by_number/901/0{end}"));
    let ranges = ["/opp2p/req/payloads/1"];
    let protocols = others.into_iter().chain(ranges).map(String::from);
    let expected = json!({
        "peerID": node.id(),
        "nodeID": node_id(&node),
        "userAgent": concat!("opp2p/", env!("CARGO_PKG_VERSION")),
        "protocolVersion": "",
        "ENR": "",
        "addresses": [node.host.address().to_string()],
        "protocols": protocols.chain(requests).collect::<Vec<_>>(),
        "connectedness": 0,
        "direction": 0,
        "protected": false,
        "chainID": CHAIN_ID,
        "latency": 0,
        "gossipBlocks": true,
        "scores": scores(),
    });
    assert_eq!(own, expected);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_are_shown_in_full_from_both_sides() {
    let first = Node::start(looking(), &[]).await;
    let second = Node::start(looking(), &[&first]).await;
    first.until(|status| status.mesh == 1).await;
    second.until(|status| status.mesh == 1).await;

    for (asked, other, direction) in [(&first, &second, 1), (&second, &first, 2)] {
        let id = other.id();
        let path = format!("/peers/{id}");
        let known = |dump: &Value| {
            dump.pointer(&path).is_some_and(|peer| {
                !peer["protocols"].is_null()
                    && peer["gossipBlocks"] == true
                    && peer["latency"] != 0
                    && peer["protected"] == true
            })
        };
        let mut dump = asked.until_answer("opp2p_peers", json!([true]), known).await;
        let mut peer = dump["peers"].as_object_mut().unwrap().remove(&id).unwrap();
        let empty = json!({"totalConnected": 1, "peers": {}, "bannedPeers": [], "bannedIPS": [],
            "bannedSubnets": []});
        assert_eq!(dump, empty);

        let own = other.call("opp2p_self", json!([])).await;
        // Identify reports what the other node reports about itself.
        assert_eq!(texts(&peer["protocols"]), texts(&own["protocols"]));
        let addresses = texts(&peer["addresses"]);
        assert!(addresses.contains(&other.host.address().to_string()), "{addresses:?}");
        assert!(
            addresses.iter().all(|address| address.ends_with(&format!("/p2p/{id}"))),
            "{addresses:?}"
        );
        // Nanoseconds: a round trip on loopback takes more than a thousand and less than a minute.
        let latency = peer["latency"].as_u64().unwrap();
        assert!((1_000..60_000_000_000).contains(&latency), "{latency}");
        same_shape(&peer["scores"], &scores());
        for volatile in ["protocols", "addresses", "latency", "scores"] {
            peer[volatile] = Value::Null;
        }
        let expected = json!({
            "peerID": id,
            "nodeID": node_id(other),
            "userAgent": concat!("opp2p/", env!("CARGO_PKG_VERSION")),
            "protocolVersion": "",
            "ENR": "",
            "addresses": null,
            "protocols": null,
            "connectedness": 1,
            "direction": direction,
            "protected": true,
            "chainID": 0,
            "latency": null,
            "gossipBlocks": true,
            "scores": null,
        });
        assert_eq!(peer, expected);
    }

    // All known peers, including this node.
    let dump = first.call("opp2p_peers", json!([false])).await;
    let names: BTreeSet<_> = dump["peers"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(names, BTreeSet::from([first.id(), second.id()]));
    assert_eq!(dump["totalConnected"], json!(1));
    let mut own = first.call("opp2p_self", json!([])).await;
    own["gossipBlocks"] = json!(false);
    assert_eq!(dump["peers"][first.id()], own);

    // A peer that left is remembered as not connected.
    let second_id = second.id();
    second.stop().await;
    first.until(|status| status.peers == 0).await;
    let dump = first.call("opp2p_peers", json!([false])).await;
    let peer = &dump["peers"][&second_id];
    let states =
        ["connectedness", "direction", "gossipBlocks", "protected"].map(|name| &peer[name]);
    assert_eq!(states, [&json!(0), &json!(0), &json!(false), &json!(false)]);
    let dump = first.call("opp2p_peers", json!([true])).await;
    assert_eq!((&dump["totalConnected"], &dump["peers"]), (&json!(0), &json!({})));
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_are_counted() {
    let first = Node::start(looking(), &[]).await;
    let second = Node::start(looking(), &[&first]).await;
    let all = |stats: &Value| stats["blocksTopicV4"] == 1 && stats["blocksTopic"] == 1;
    let stats = first.until_answer("opp2p_peerStats", json!([]), all).await;
    let expected = json!({
        "connected": 1, "table": 0, "blocksTopic": 1, "blocksTopicV2": 1, "blocksTopicV3": 1,
        "blocksTopicV4": 1, "banned": 0, "known": 2,
    });
    assert_eq!(stats, expected);
    let expected = json!({"connectedDiscovery": null, "connectedGossip": 1});
    assert_eq!(first.call("opp2p_peerCount", json!([])).await, expected);
    let disabled = (-32000, "discovery disabled".to_owned());
    assert_eq!(first.fails("opp2p_discoveryTable", json!([])).await, disabled);
    let version = json!(env!("CARGO_PKG_VERSION"));
    let op_version = json!(concat!("v", env!("CARGO_PKG_VERSION"), "-opp2p"));
    assert_eq!(first.call("optimism_version", json!([])).await, op_version);
    assert_eq!(first.call("health_status", json!(null)).await, version);
    second.stop().await;
    first.stop().await;
}

/// Returns the shape of a node's status when it has blocks, and nothing to report.
fn status_of_blocks() -> Value {
    let id = json!({"number": 3, "hash": ""});
    json!({
        "version": "", "userAgent": "", "network": "", "chainID": 0, "peerID": "",
        "addresses": [""], "engine": null,
        "schedule": {"doubt": null, "unknownForks": []},
        "uptime": 0, "head": {"number": 0, "hash": "", "timestamp": 0, "age": 0, "ageMs": 0},
        "highest": id, "stored": id, "problems": [], "troubles": [], "gaps": [],
        "sync": {
            "wanted": null, "history": null, "left": 0, "pending": 0, "inFlight": 0, "servers": 0,
            "endpoints": 0, "landing": 0,
        },
        "peers": {
            "connected": 0, "inbound": 0, "browsers": 0, "subscribers": 0, "mesh": 0,
            "browserMesh": 0, "known": 0, "missing": 0,
        },
        "messages": {"accepted": 0, "ignored": 0, "rejected": 0, "reasons": {}}, "served": 0,
        "bandwidth": {"in": 0, "out": 0},
        "rates": {
            "over": 0, "blocks": 0.0, "messages": 0.0, "served": 0.0,
            "bytesIn": 0.0, "bytesOut": 0.0,
        },
        "signer": {
            "current": "", "previous": null, "origin": "", "l1Block": null, "l1Error": null,
        },
        "ready": true, "notReady": [],
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_and_the_verdicts_show_blocks() {
    let first = Node::sequencer(looking()).await;
    let second = Node::start(looking(), &[&first]).await;
    let mut maker = BlockMaker::new(&chain(), 1);
    first.until(|status| status.mesh == 1).await;
    // One by one: blocks that arrive together are judged together.
    for count in 1..=3 {
        first.publish(&mut maker, 1).await;
        second.until(|status| status.accepted == count).await;
    }
    let stored = |status: &Value| status["stored"]["number"] == 3 && status["rates"]["over"] != 0;
    let status = second.until_answer("opp2p_nodeStatus", json!([]), stored).await;
    let signer = chain().unsafe_block_signer.unwrap();
    same_shape(&status, &status_of_blocks());
    assert_eq!(status["head"]["number"], json!(3));
    assert_eq!(status["peerID"], json!(second.id()));
    assert_eq!(status["chainID"], json!(CHAIN_ID));
    let expected = json!({
        "current": format!("{signer:#x}"), "previous": null, "origin": "chain configuration",
        "l1Block": null, "l1Error": null,
    });
    assert_eq!(status["signer"], expected);
    assert_eq!(status["messages"]["accepted"], json!(3));
    assert_eq!((&status["ready"], &status["notReady"]), (&json!(true), &json!([])));
    assert!(status["bandwidth"]["in"].as_u64() > Some(0), "{status}");

    let verdicts = second.call("opp2p_recentVerdicts", json!([])).await;
    let verdicts = verdicts.as_array().unwrap();
    let numbers: Vec<_> = verdicts.iter().map(|verdict| &verdict["block"]["number"]).collect();
    assert_eq!(numbers, [3, 2, 1]);
    let block = verdicts[0]["block"].clone();
    assert_eq!(block["hash"], status["head"]["hash"]);
    let expected = json!({
        "at": verdicts[0]["at"], "atMs": verdicts[0]["atMs"], "peerID": first.id(), "topic": "v4",
        "verdict": "accept", "block": block,
        "reason": null, "text": null, "signer": format!("{signer:#x}"),
    });
    assert_eq!(verdicts[0], expected);
    let [at, at_ms] = ["at", "atMs"].map(|name| verdicts[0][name].as_u64().unwrap());
    assert!(at == at_ms / 1000 && at > 1_700_000_000, "{at} {at_ms}");
    assert_eq!(second.call("opp2p_recentVerdicts", json!([1])).await.as_array().unwrap().len(), 1);

    let scored = |book: &Value| !book[first.id()].is_null();
    let book = second.until_answer("opp2p_scoreBook", json!([]), scored).await;
    same_shape(&book[first.id()], &json!({"lastUpdate": 0, "peerScores": scores()}));
    assert!(
        book[first.id()]["peerScores"]["gossip"]["blocks"]["firstMessageDeliveries"].as_f64()
            > Some(0.0)
    );
    assert_eq!(second.call("opp2p_bans", json!([])).await, json!({"peers": [], "addresses": []}));
    second.stop().await;
    first.stop().await;
}

#[derive(Debug, Default)]
struct Heard(Mutex<Vec<(&'static str, bool)>>);

impl RpcObserver for Heard {
    fn answered(&self, method: &'static str, _: Duration, is_ok: bool) {
        self.0.lock().unwrap().push((method, is_ok));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_calls_of_existing_methods_are_observed() {
    let heard = Arc::new(Heard::default());
    let mut config = looking();
    config.observer = Some(heard.clone());
    let node = Node::start(config, &[]).await;
    node.call("opp2p_self", json!([])).await;
    assert_eq!(node.fails("opp2p_selfie", json!([])).await.0, -32601);
    assert_eq!(node.fails("opp2p_peers", json!([7])).await.0, -32602);
    assert_eq!(node.fails("opp2p_blockPeer", json!([])).await.0, -32000);
    let expected = [("opp2p_self", true), ("opp2p_peers", false), ("opp2p_blockPeer", false)];
    assert_eq!(*heard.0.lock().unwrap(), expected);
    assert!(expected.iter().all(|(name, _)| opp2p::rpc::names().any(|known| known == *name)));
    node.stop().await;
}
