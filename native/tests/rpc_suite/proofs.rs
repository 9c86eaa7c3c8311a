//! Proved reads with simulated endpoints. The tests with op-geth cover proofs of states and
//! receipts.

use crate::support::{Node, PATIENCE, get, looking};
use alloy_primitives::{Address, B256};
use opp2p::devnet::BlockMaker;
use opp2p::rpc::RpcConfig;
use opp2p_node::http::HttpConfig;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;

const PROVED: [&str; 12] = [
    "eth_getBalance",
    "eth_getTransactionCount",
    "eth_getCode",
    "eth_getStorageAt",
    "eth_getProof",
    "eth_getTransactionReceipt",
    "eth_getBlockReceipts",
    "eth_getLogs",
    "eth_sendRawTransaction",
    "eth_call",
    "eth_estimateGas",
    "eth_createAccessList",
];

/// Settings with these endpoints for proved reads.
pub(crate) fn proving(urls: &[String]) -> RpcConfig {
    let endpoint = |url: &String| HttpConfig::new(url, Duration::from_secs(15));
    RpcConfig { proofs: urls.iter().map(endpoint).collect(), ..looking() }
}

/// Starts an endpoint that gives the same result to every request, and returns its URL.
async fn always(result: Value) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let body = json!({ "jsonrpc": "2.0", "id": 1, "result": result }).to_string();
            tokio::spawn(async move {
                let mut request = Vec::new();
                while !request.ends_with(b"}") {
                    match stream.read_buf(&mut request).await {
                        Ok(1..) if request.len() < 1 << 16 => {}
                        _ => return,
                    }
                }
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: \
                     close\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                // Fails if the client has given up.
                let _ = stream.write_all((head + &body).as_bytes()).await;
            });
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn methods_that_need_a_proof_do_not_exist_without_an_endpoint() {
    let node = Node::sequencer(looking()).await;
    for method in PROVED {
        let (code, text) = node.fails(method, json!([])).await;
        assert_eq!(code, -32601, "{method}: {text}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_false_answer_is_never_passed_on_and_is_a_trouble() {
    let urls = [always(json!("0x1")).await, always(json!({ "address": Address::ZERO })).await];
    let node = Node::sequencer(proving(&urls)).await;
    let hearer = Node::start(looking(), &[&node]).await;
    node.until(|status| status.mesh == 1).await;
    node.publish(&mut BlockMaker::new(&crate::support::chain(), 1), 2).await;
    node.until(|status| status.head.is_some_and(|head| head.number == 2)).await;
    let params = json!([Address::repeat_byte(1), "latest"]);
    let (code, text) = node.fails("eth_getBalance", params.clone()).await;
    assert!(code == -32603 && text.contains("false answer"), "{text}");
    let shown = async {
        loop {
            let health = get(node.rpc.address(), "/healthz").await.json();
            let mut troubles = health["troubles"].as_array().unwrap().iter();
            if let Some(trouble) = troubles.find(|trouble| trouble["kind"] == "proofs") {
                return trouble.to_string();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let trouble = timeout(PATIENCE, shown).await.expect("the trouble is shown");
    for part in ["127.0.0.1:", "eth_getProof", "replace the endpoint"] {
        assert!(trouble.contains(part), "{trouble}");
    }
    // Other methods still work.
    assert_eq!(node.call("eth_blockNumber", json!([])).await, "0x2");
    assert_eq!(node.fails("eth_getBalance", params).await.0, -32603);
    let (code, text) = node.fails("eth_getBalance", json!(["0x12"])).await;
    assert!(code == -32602 && text.contains("address"), "{text}");
    node.stop().await;
    hearer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_that_the_node_lacks_are_fetched_and_proved() {
    // Another node with the blocks serves as the endpoint.
    let holder = Node::sequencer(looking()).await;
    let hearer = Node::start(looking(), &[&holder]).await;
    holder.until(|status| status.mesh == 1).await;
    let mut maker = BlockMaker::new(&crate::support::chain(), 1);
    holder.publish(&mut maker, 4).await;
    holder.until(|status| status.head.is_some_and(|head| head.number == 4)).await;
    let url = format!("http://{}", holder.rpc.address());
    let node = Node::start_as(proving(&[url]), &[&holder], |config| {
        config.from_genesis = false;
    })
    .await;
    holder.until(|status| status.mesh == 2).await;
    holder.publish(&mut maker, 1).await;
    node.until(|status| status.head.is_some_and(|head| head.number == 5)).await;
    for number in ["0x1", "0x2", "0x4"] {
        let block = holder.call("eth_getBlockByNumber", json!([number, true])).await;
        assert_eq!(node.call("eth_getBlockByNumber", json!([number, true])).await, block);
        assert_eq!(node.call("eth_getBlockByHash", json!([block["hash"], true])).await, block);
        for transaction in block["transactions"].as_array().unwrap() {
            let params = json!([transaction["hash"]]);
            // The devnet repeats transactions, so another block may contain it too.
            let found = node.call("eth_getTransactionByHash", params).await;
            assert_eq!(
                (&found["hash"], &found["input"]),
                (&transaction["hash"], &transaction["input"])
            );
        }
    }
    let unknown = json!([B256::repeat_byte(7), false]);
    assert_eq!(node.call("eth_getBlockByHash", unknown).await, Value::Null);
    node.stop().await;
    holder.stop().await;
    hearer.stop().await;
}
