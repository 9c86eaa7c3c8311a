//! The health endpoints, as a load balancer asks them.

use crate::support::{Node, PATIENCE, chain, get, looking, request};
use opp2p::devnet::BlockMaker;
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
        json!({"status": "running", "version": env!("CARGO_PKG_VERSION"), "problems": []})
    );
    assert!(alive.head.contains("content-type: application/json"), "{alive:?}");

    let ready = get(address, "/readyz").await;
    assert_eq!(ready.status, 503);
    let reasons = ["no peer is connected", "the head's age is not known"];
    assert_eq!(ready.json(), json!({"ready": false, "reasons": reasons}));

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

    // The head is as fresh as before, and nobody could bring the next.
    first.stop().await;
    second.until(|status| status.peers == 0).await;
    let ready = get(address, "/readyz").await;
    assert_eq!((ready.status, &ready.json()["reasons"]), (503, &json!(["no peer is connected"])));

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
async fn other_paths_and_methods_are_refused() {
    let node = Node::start(looking(), &[]).await;
    let address = node.rpc.address();
    for (line, status) in
        [("POST /healthz", 405), ("GET /metrics", 404), ("GET /", 405), ("DELETE /", 405), ("GET /../x", 404)]
    {
        assert_eq!(request(address, line, &[], "").await.status, status, "{line}");
    }
    node.stop().await;
}
