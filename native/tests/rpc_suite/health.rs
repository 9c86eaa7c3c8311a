//! The health endpoints, as a load balancer queries them.

use crate::support::{Node, PATIENCE, chain, get, looking, request};
use opp2p::devnet::BlockMaker;
use opp2p_core::chain::Fork;
use opp2p_node::host::Peerstore;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_alive_at_once_and_ready_with_a_peer_and_a_fresh_head() {
    let first = Node::sequencer(looking()).await;
    let second = Node::start(looking(), &[]).await;
    let address = second.rpc.address();
    let alive = get(address, "/healthz").await;
    assert_eq!(alive.status, 200);
    assert_eq!(
        alive.json(),
        json!({
            "status": "running", "version": env!("CARGO_PKG_VERSION"), "problems": [],
            "troubles": [],
        })
    );
    assert!(alive.head.contains("content-type: application/json"), "{alive:?}");

    let ready = get(address, "/readyz").await;
    assert_eq!(ready.status, 503);
    let said = ready.json();
    let [head, peer] = &said["reasons"].as_array().unwrap()[..] else { panic!("{said}") };
    assert!(head.as_str().unwrap().contains("60 s are allowed"), "{said}");
    assert_eq!((&said["ready"], peer), (&json!(false), &json!("No peer is connected")));

    second.host.connect(first.host.address()).await.unwrap().unwrap();
    first.until(|status| status.mesh == 1).await;
    first.publish(&mut BlockMaker::new(&chain(), 1), 1).await;
    let until_ready = async {
        while get(address, "/readyz").await.status != 200 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, until_ready).await.unwrap();
    assert_eq!(get(address, "/readyz").await.json(), json!({"ready": true, "reasons": []}));
    let head = request(address, "HEAD /readyz", &[], "").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));

    // The head is still fresh, but no peer could deliver the next one.
    first.stop().await;
    second.until(|status| status.peers == 0).await;
    let ready = get(address, "/readyz").await;
    assert_eq!((ready.status, &ready.json()["reasons"]), (503, &json!(["No peer is connected"])));

    // A server that outlives its node says so.
    let Node { host, rpc, .. } = second;
    host.stop().await;
    let alive = get(address, "/healthz").await;
    assert_eq!((alive.status, &alive.json()["status"]), (503, &json!("stopped")));
    let reasons = get(address, "/readyz").await.json();
    assert_eq!(reasons["reasons"][0], json!("the node has stopped"));
    rpc.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_fork_schedule_is_reported_with_the_remedy_without_blaming_peers() {
    let first = Node::sequencer(looking()).await;
    let second = Node::start_as(looking(), &[&first], |config| {
        config.chain.forks = config.chain.forks.with(Fork::Jovian, None);
        config.chain.unknown_forks = [("atlas_time".to_owned(), 1_777_593_600)].into();
    })
    .await;
    first.until(|status| status.mesh == 1).await;
    first.publish(&mut BlockMaker::new(&chain(), 1), 3).await;
    second.until(|status| status.head.is_some_and(|head| head.number == 3)).await;

    let alive = get(second.rpc.address(), "/healthz").await.json();
    let problems: Vec<&str> =
        alive["problems"].as_array().unwrap().iter().map(|each| each.as_str().unwrap()).collect();
    let [doubt, fork] = problems[..] else { panic!("{problems:?}") };
    for part in ["fork_blob_gas", "lacks jovian", "correct the time of jovian"] {
        assert!(doubt.contains(part), "{doubt}");
    }
    for part in ["atlas_time", "1777593600 (Unix seconds)", "newer version"] {
        assert!(fork.contains(part), "{fork}");
    }
    let status = second.call("opp2p_nodeStatus", json!([])).await;
    let doubt = &status["schedule"]["doubt"];
    assert_eq!((&doubt["rule"], &doubt["fork"]), (&json!("fork_blob_gas"), &json!("jovian")));
    let forks = &status["schedule"]["unknownForks"];
    assert_eq!(forks, &json!([{"name": "atlas_time", "time": 1_777_593_600, "active": true}]));
    assert_eq!(status["messages"]["rejected"], json!(0), "{status}");
    assert_eq!(status["peers"]["connected"], json!(1), "{status}");
    for node in [first, second] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn removed_files_are_reported_until_they_return() {
    let directory = tempfile::tempdir().unwrap();
    let [data, aside] = ["data", "aside"].map(|name| directory.path().join(name));
    std::fs::create_dir(&data).unwrap();
    let [store, peers, key] = ["blocks", "peers", "key"].map(|name| data.join(name));
    std::fs::write(&key, "a key").unwrap();
    let node = Node::start_as(looking(), &[], |config| {
        config.store.clone_from(&store);
        config.peerstore = Peerstore::File(peers);
        config.key_file = Some(key.clone());
    })
    .await;
    let address = node.rpc.address();
    let problems = async || get(address, "/healthz").await.json()["problems"].take();
    let until = async |wanted: &dyn Fn(&str) -> bool| {
        let told = async {
            while !wanted(&problems().await.to_string()) {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, told).await.unwrap();
    };
    assert_eq!(problems().await, json!([]));
    std::fs::rename(&data, &aside).unwrap();
    let names = |file: &std::path::Path| file.to_string_lossy().into_owned();
    until(&|text| text.contains(&names(&store)) && text.contains(&names(&key))).await;
    let reasons = get(address, "/readyz").await.json()["reasons"].to_string();
    assert!(reasons.contains(&names(&store)) && reasons.contains("was removed"), "{reasons}");
    std::fs::rename(&aside, &data).unwrap();
    until(&|text| text == "[]").await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_paths_and_methods_are_refused() {
    let node = Node::start(looking(), &[]).await;
    let address = node.rpc.address();
    for (line, status) in [
        ("POST /healthz", 405),
        ("GET /metrics", 404),
        ("GET /", 405),
        ("DELETE /", 405),
        ("GET /../x", 404),
    ] {
        assert_eq!(request(address, line, &[], "").await.status, status, "{line}");
    }
    node.stop().await;
}
