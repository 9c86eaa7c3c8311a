//! Ids of calls, and notifications, as JSON-RPC 2.0 has them, over both transports.

use crate::subscriptions::Socket;
use crate::support::{Node, looking, open, post};
use serde_json::value::RawValue;
use serde_json::{Value, json};

const NOTE: &str = r#"{"jsonrpc":"2.0","method":"eth_chainId"}"#;
const LEGAL: [&str; 9] =
    ["1", "0", "-1", "1.5", "1e3", "18446744073709551616", r#""-1""#, r#""""#, "null"];

fn call(id: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"eth_chainId"}}"#)
}

fn invalid() -> Vec<String> {
    let twice = r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"eth_chainId"}"#.to_owned();
    vec![call("true"), call("{}"), call("[1]"), twice]
}

/// Sends the body over HTTP and over a WebSocket, and returns both answers.
async fn both(node: &Node, socket: &mut Socket, body: &str) -> [String; 2] {
    let answer = post(node.rpc.address(), &[], body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    socket.say(body).await;
    [answer.body, socket.next_text().await.unwrap()]
}

#[tokio::test(flavor = "multi_thread")]
async fn legal_ids_are_echoed_and_others_are_invalid_requests() {
    let node = Node::start(looking(), &[]).await;
    let mut socket = Socket::open(node.rpc.address()).await;
    for id in LEGAL {
        for answer in both(&node, &mut socket, &call(id)).await {
            // The text, since a parsed number may be another one.
            let expected = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":"0x385"}}"#);
            assert_eq!(answer, expected, "{id}");
        }
    }
    for body in invalid() {
        for answer in both(&node, &mut socket, &body).await {
            let answer: Value = serde_json::from_str(&answer).unwrap();
            assert_eq!((&answer["error"]["code"], &answer["id"]), (&json!(-32600), &Value::Null));
        }
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_call_of_a_batch_gets_its_own_id() {
    let node = Node::start(looking(), &[]).await;
    let mut socket = Socket::open(node.rpc.address()).await;
    let ids = ["-1", "1", r#""1""#, "0", "2.50", "{}", "null"];
    let calls: Vec<_> = ids.iter().map(|id| call(id)).chain([NOTE.to_owned()]).collect();
    for answer in both(&node, &mut socket, &format!("[{}]", calls.join(","))).await {
        let answers: Vec<&RawValue> = serde_json::from_str(&answer).unwrap();
        assert_eq!(answers.len(), ids.len(), "a notification has no answer: {answer:?}");
        for (id, answer) in ids.into_iter().zip(answers) {
            let answer = answer.get();
            match id {
                "{}" => assert!(answer.contains("-32600") && answer.contains(r#""id":null"#)),
                id => assert!(answer.contains(&format!(r#""id":{id},"#)), "{id}: {answer}"),
            }
        }
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn notifications_are_executed_without_an_answer() {
    const ID: &str = "16Uiu2HAm3cuhhRL2msUuLF62KRSfneFDx94RsuouyW25Ho42cFMq";
    let node = Node::start(open(), &[]).await;
    let mut socket = Socket::open(node.rpc.address()).await;
    let note =
        |method: &str| json!({"jsonrpc": "2.0", "method": method, "params": [ID]}).to_string();
    for body in [NOTE.to_owned(), format!("[{NOTE},{NOTE}]"), note("opp2p_blockPeer")] {
        let answer = post(node.rpc.address(), &[], &body).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{body}: {answer:?}");
    }
    assert_eq!(node.call("opp2p_listBlockedPeers", json!([])).await, json!([ID]));
    for body in [NOTE.to_owned(), format!("[{NOTE},{NOTE}]"), note("opp2p_unblockPeer")] {
        socket.say(&body).await;
    }
    let unblocked = |peers: &Value| peers.as_array().is_some_and(Vec::is_empty);
    node.until_answer("opp2p_listBlockedPeers", json!([]), unblocked).await;
    // Subscribing without an id has no effect: the subscription's id could not be told.
    for method in ["opp2p_subscribe", "eth_subscribe"] {
        socket.say(&note(method)).await;
    }
    assert_eq!(socket.ask(&call("-7")).await["id"], json!(-7), "the only answer");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_gets_the_id_of_its_caller_and_works_in_a_batch() {
    let node = Node::start(looking(), &[]).await;
    let mut socket = Socket::open(node.rpc.address()).await;
    let subscribe = |id: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"eth_subscribe","params":["newHeads"]}}"#)
    };
    let end = |id: &Value| {
        json!({"jsonrpc": "2.0", "id": 1, "method": "eth_unsubscribe", "params": [id]}).to_string()
    };
    for id in ["-1", "1.5", "18446744073709551616", r#""a""#] {
        socket.say(&subscribe(id)).await;
        let answer = socket.next_text().await.unwrap();
        assert!(answer.contains(&format!(r#""id":{id},"result":"0x"#)), "{answer}");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(socket.ask(&end(&answer["result"])).await["result"], json!(true));
    }
    let answers = socket.ask(&format!("[{},{}]", subscribe("-1"), call("2"))).await;
    assert_eq!(answers[1]["result"], json!("0x385"), "{answers}");
    assert_eq!(socket.ask(&end(&answers[0]["result"])).await["result"], json!(true));
    node.stop().await;
}
