//! Limits that the operator sets.

use crate::subscriptions::Socket;
use crate::support::{Node, get, looking, post};
use opp2p::rpc::{RpcConfig, RpcLimits};
use serde_json::{Value, json};

fn call(method: &str, params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
}

async fn with(limits: RpcLimits) -> Node {
    Node::start(RpcConfig { limits, ..looking() }, &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limits_of_the_operator_apply() {
    let node = with(RpcLimits {
        subscriptions: 2,
        feeds: 1,
        batch: 3,
        request: 2000,
        ..RpcLimits::default()
    })
    .await;
    let address = node.rpc.address();
    let batch =
        |count: usize| Value::from(vec![call("eth_chainId", &json!([])); count]).to_string();
    let mut socket = Socket::open(address).await;
    for (count, code) in [(3, None), (4, Some(-32010))] {
        let over_http = post(address, &[], &batch(count)).await.json();
        for answer in [over_http, socket.ask(&batch(count)).await] {
            assert_eq!(answer["error"]["code"].as_i64(), code, "{answer}");
            assert_eq!(answer.as_array().map(Vec::len), code.is_none().then_some(3));
        }
    }
    let feed = call("opp2p_subscribe", &json!(["feed"])).to_string();
    let gaps = call("opp2p_subscribe", &json!(["gaps"])).to_string();
    for (kind, code) in [(&feed, None), (&feed, Some(-32005)), (&gaps, None), (&gaps, Some(-32006))]
    {
        let answer = socket.ask(kind).await;
        assert_eq!(answer["error"]["code"].as_i64(), code, "{answer}");
    }
    let long = call("opp2p_blockAddr", &json!(["x".repeat(2000)])).to_string();
    let answer = post(address, &[], &long).await;
    assert!(answer.status == 413 && answer.body.contains("2000"), "{answer:?}");
    let answer = socket.ask(&long).await;
    assert_eq!(answer["error"]["code"], json!(-32007), "{answer}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn larger_limits_apply_too() {
    let node = with(RpcLimits {
        subscriptions: 20,
        batch: 1001,
        request: 1 << 20,
        ..RpcLimits::default()
    })
    .await;
    let address = node.rpc.address();
    let many = Value::from(vec![call("eth_chainId", &json!([])); 1001]).to_string();
    let answers = post(address, &[], &many).await.json();
    assert_eq!(answers.as_array().map(Vec::len), Some(1001));
    let mut socket = Socket::open(address).await;
    let long = call("eth_chainId", &json!(["x".repeat(500_000)])).to_string();
    assert_eq!(socket.ask(&long).await["error"]["code"], json!(-32602));
    for _ in 0..20 {
        let answer = socket.ask(&call("opp2p_subscribe", &json!(["gaps"])).to_string()).await;
        assert!(answer["result"].is_string(), "{answer}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_answered_while_all_connections_are_taken() {
    let node = with(RpcLimits { connections: 2, ..RpcLimits::default() }).await;
    let address = node.rpc.address();
    let held = [Socket::open(address).await, Socket::open(address).await];
    assert_eq!(get(address, "/healthz").await.status, 200);
    assert_eq!(get(address, "/readyz").await.status, 503);
    let answer = post(address, &[], &call("eth_chainId", &json!([])).to_string()).await;
    assert!(answer.status == 503 && answer.body.contains("try again"), "{answer:?}");
    drop(held);
    node.stop().await;
}
