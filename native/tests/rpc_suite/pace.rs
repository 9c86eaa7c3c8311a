//! The rate at which requests are read.

use crate::support::{Node, looking, post};
use opp2p::rpc::{MAX_BLOCK_REQUEST, MAX_REQUEST, RpcConfig, Token};
use serde_json::json;
use std::sync::atomic::{AtomicBool, Ordering};

fn call(method: &str, bytes: u32) -> String {
    let filler = "a".repeat(usize::try_from(bytes).unwrap() - 200);
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": [filler]}).to_string()
}

/// At the pace of other callers, the large request would take as long as 80 small ones.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_may_publish_is_not_slowed_down() {
    const SECRET: &str = "0123456789abcdef";
    let token = Some(Token::new(SECRET));
    let node = Node::start(RpcConfig { token, ..looking() }, &[]).await;
    let address = node.rpc.address();
    let is_done = AtomicBool::new(false);
    let publishing = async {
        let bearer = format!("Bearer {SECRET}");
        let body = call("opp2p_publishPayload", MAX_BLOCK_REQUEST / 24 * 16);
        let answer = post(address, &[("Authorization", &bearer)], &body).await;
        is_done.store(true, Ordering::Relaxed);
        answer
    };
    let looking = async {
        let mut count = 0;
        while !is_done.load(Ordering::Relaxed) {
            let answer = post(address, &[], &call("eth_chainId", MAX_REQUEST)).await;
            assert_eq!(answer.json()["error"]["code"], json!(-32602), "{answer:?}");
            count += 1;
        }
        count
    };
    let (answer, count) = tokio::join!(publishing, looking);
    assert_eq!(answer.json()["error"]["code"], json!(-32602), "{answer:?}");
    assert!(count < 40, "{count} other calls were answered meanwhile");
    node.stop().await;
}
