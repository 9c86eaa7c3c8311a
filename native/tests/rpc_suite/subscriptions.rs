//! Notifications over WebSocket.

use crate::support::{Node, PATIENCE, chain, looking, post, same_shape};
use futures::{SinkExt, StreamExt};
use opp2p::devnet::{BlockMaker, unix_seconds};
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// A client's WebSocket.
pub(crate) struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    pub(crate) const fn new(stream: WebSocketStream<MaybeTlsStream<TcpStream>>) -> Self {
        Self(stream)
    }

    pub(crate) async fn open(address: SocketAddr) -> Self {
        Self(connect_async(format!("ws://{address}")).await.unwrap().0)
    }

    pub(crate) async fn say(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    /// Returns the next message; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        self.next_text().await.map(|text| serde_json::from_str(&text).unwrap())
    }

    /// Returns the text of the next message; `None` at the end.
    pub(crate) async fn next_text(&mut self) -> Option<String> {
        let next = async {
            loop {
                match self.0.next().await {
                    Some(Ok(Message::Text(text))) => return Some(text.to_string()),
                    Some(Ok(_)) => {}
                    None | Some(Err(_)) => return None,
                }
            }
        };
        timeout(PATIENCE, next).await.expect("a message in time")
    }

    pub(crate) async fn ask(&mut self, body: &str) -> Value {
        self.say(body).await;
        self.next().await.unwrap()
    }

    async fn call(&mut self, method: &str, params: Value) -> Value {
        self.ask(
            &json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string(),
        )
        .await
    }

    async fn subscribe(&mut self, kind: &str) -> Value {
        let mut answer = self.call("opp2p_subscribe", json!([kind])).await;
        assert!(answer.get("error").is_none(), "{answer}");
        answer["result"].take()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_arrive_in_order_until_unsubscribed() {
    let node = Node::sequencer(looking()).await;
    let other = Node::start(looking(), &[&node]).await;
    node.until(|status| status.mesh == 1).await;
    let mut socket = Socket::open(other.rpc.address()).await;
    let id = socket.subscribe("heads").await;
    let mut maker = BlockMaker::new(&chain(), 1);
    let mut parent = Value::Null;
    for number in 1..=5_u64 {
        node.publish(&mut maker, 1).await;
        let news = socket.next().await.unwrap();
        let head = &news["params"]["result"];
        let zero = "0x";
        same_shape(
            &news,
            &json!({"jsonrpc": "2.0", "method": "", "params": {"subscription": "", "result": {
                "number": 0, "hash": zero, "parentHash": zero, "timestamp": 0,
                "transactions": 0, "size": 0,
                "gasUsed": 0,
            }}}),
        );
        assert_eq!(news["method"], json!("opp2p_subscription"));
        assert_eq!(news["params"]["subscription"], id);
        assert_eq!(head["number"], json!(number));
        if number > 1 {
            assert_eq!(head["parentHash"], parent);
        }
        parent = head["hash"].clone();
    }
    let answer = socket.call("opp2p_unsubscribe", json!([id])).await;
    assert_eq!(answer["result"], json!(true));
    for unknown in [json!([id]), json!(["0x1"])] {
        let answer = socket.call("opp2p_unsubscribe", unknown).await;
        let expected = json!({"code": -32000, "message": "subscription not found"});
        assert_eq!(answer["error"], expected, "{answer}");
    }
    // A subscription ends by its own namespace's method only.
    let gaps = socket.subscribe("gaps").await;
    let answer = socket.call("eth_unsubscribe", json!([gaps])).await;
    assert_eq!(answer["error"]["code"], json!(-32000), "{answer}");
    node.publish(&mut maker, 1).await;
    other.until(|status| status.stored.is_some_and(|stored| stored.number == 6)).await;
    // The next message is an answer, not the head.
    assert_eq!(socket.call("opp2p_peerCount", json!([])).await["id"], json!(1));
    other.stop().await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_starts_at_any_block_and_continues_without_a_gap() {
    let node = Node::sequencer(looking()).await;
    let other = Node::start(looking(), &[&node]).await;
    node.until(|status| status.mesh == 1).await;
    let mut maker = BlockMaker::new(&chain(), 1);
    node.publish(&mut maker, 5).await;
    other.until(|status| status.stored.is_some_and(|stored| stored.number == 5)).await;
    let mut sockets = Vec::new();
    for arguments in [json!(["feed", {"from": 2}]), json!(["feed"]), json!(["feed", {"from": 8}])] {
        let mut socket = Socket::open(other.rpc.address()).await;
        let answer = socket.call("opp2p_subscribe", arguments).await;
        assert!(answer.get("error").is_none(), "{answer}");
        sockets.push(socket);
    }
    // They come while the first ones are read from the store.
    node.publish(&mut maker, 5).await;
    let mut hashes = Vec::new();
    for (socket, first) in sockets.iter_mut().zip([2_u64, 6, 8]) {
        let mut parent = Value::Null;
        hashes.clear();
        for number in first..=10 {
            let news = socket.next().await.unwrap();
            let line = &news["params"]["result"];
            assert_eq!((&line["event"], &line["number"]), (&json!("block"), &json!(number)));
            assert_eq!(line["envelope"]["executionPayload"]["blockHash"], line["hash"]);
            assert!(parent.is_null() || line["parentHash"] == parent);
            parent = line["hash"].clone();
            hashes.push(parent.clone());
        }
    }
    // A returning subscriber continues after its last block.
    let mut socket = Socket::open(other.rpc.address()).await;
    let after = json!(["feed", {"after": {"number": 9, "hash": hashes[1]}}]);
    assert!(socket.call("opp2p_subscribe", after).await.get("error").is_none());
    let news = socket.next().await.unwrap();
    assert_eq!(news["params"]["result"]["number"], json!(10));
    let wrong = socket.call("opp2p_subscribe", json!(["feed", {"since": 3}])).await;
    assert_eq!(wrong["error"]["code"], json!(-32602), "{wrong}");
    drop(sockets);
    other.stop().await;
    node.stop().await;
}

/// Such a subscriber would wait in vain.
#[tokio::test(flavor = "multi_thread")]
async fn a_feed_far_above_the_chain_is_refused() {
    let node = Node::sequencer(looking()).await;
    let other = Node::start(looking(), &[&node]).await;
    node.until(|status| status.mesh == 1).await;
    node.publish(&mut BlockMaker::new(&chain(), 1), 2).await;
    other.until(|status| status.stored.is_some_and(|stored| stored.number == 2)).await;
    let mut socket = Socket::open(other.rpc.address()).await;
    let hash = format!("0x{}", "ab".repeat(32));
    for begin in [
        json!({"after": {"number": 1_000_000, "hash": hash}}),
        json!({"from": 1_000_000}),
        json!({"from": u64::MAX}),
    ] {
        let answer = socket.call("opp2p_subscribe", json!(["feed", begin])).await;
        let text = answer["error"]["message"].as_str().unwrap();
        assert!(answer["error"]["code"] == -32000 && text.contains("far ahead"), "{answer}");
        assert!(text.contains("blocks up to 2"), "{answer}");
    }
    for begin in [json!({"from": 1000}), json!({"after": {"number": 1000, "hash": hash}})] {
        let answer = socket.call("opp2p_subscribe", json!(["feed", begin])).await;
        assert!(answer["result"].is_string(), "{answer}");
    }
    other.stop().await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_is_reported_when_it_opens_and_closes() {
    let node = Node::sequencer(looking()).await;
    let mut maker = BlockMaker::new(&chain(), 1);
    // A first peer takes the blocks that the second misses.
    let first = Node::start(looking(), &[&node]).await;
    node.until(|status| status.mesh == 1).await;
    node.publish(&mut maker, 1).await;
    first.until(|status| status.stored.is_some_and(|stored| stored.number == 1)).await;
    let second = Node::start(looking(), &[&node]).await;
    let mut socket = Socket::open(second.rpc.address()).await;
    let id = socket.subscribe("gaps").await;
    node.until(|status| status.mesh == 2).await;
    second.until(|status| status.mesh == 1).await;
    node.host.publish(maker.next(unix_seconds())).await.unwrap().unwrap();
    let opened = socket.next().await.unwrap();
    assert_eq!(opened["params"]["subscription"], id);
    let gap = &opened["params"]["result"];
    let block = json!({"number": 0, "hash": ""});
    same_shape(
        gap,
        &json!({
            "event": "", "id": 0, "after": block, "before": block, "highest": block, "missing": 0,
        }),
    );
    assert_eq!((&gap["event"], &gap["missing"]), (&json!("opened"), &json!(1)));
    assert_eq!((&gap["after"]["number"], &gap["before"]["number"]), (&json!(0), &json!(2)));
    let number = gap["id"].clone();
    let closed = loop {
        let news = socket.next().await.unwrap();
        if news["params"]["result"]["event"] == "closed" {
            break news;
        }
    };
    assert_eq!(closed["params"]["result"], json!({"event": "closed", "id": number}));
    for node in [second, first, node] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_are_bounded_and_need_a_websocket() {
    let node = Node::start(looking(), &[]).await;
    let subscribe = |kind: &str| {
        json!({"jsonrpc": "2.0", "id": 1, "method": "opp2p_subscribe", "params": [kind]})
            .to_string()
    };
    for body in [subscribe("heads"), format!("[{}]", subscribe("heads"))] {
        let answer = post(node.rpc.address(), &[], &body).await.json();
        let answer = answer.get(0).unwrap_or(&answer);
        let text = answer["error"]["message"].as_str().unwrap();
        assert!(answer["error"]["code"] == -32001 && text.contains("WebSocket"), "{answer}");
    }
    let mut socket = Socket::open(node.rpc.address()).await;
    for _ in 0..opp2p::rpc::SUBSCRIPTIONS {
        socket.subscribe("reorgs").await;
    }
    let answer = socket.ask(&subscribe("heads")).await;
    assert_eq!(answer["error"]["code"], json!(-32006), "{answer}");
    let answer = socket.ask(&subscribe("tails")).await;
    assert!(answer["error"].is_object(), "{answer}");
    // A subscriber with room that asks for an unknown kind gets the list of kinds.
    let mut socket = Socket::open(node.rpc.address()).await;
    let answer = socket.ask(&subscribe("tails")).await;
    assert_eq!(answer["error"]["code"], json!(-32602), "{answer}");
    assert!(
        answer["error"]["message"]
            .as_str()
            .unwrap()
            .contains("heads, reorgs, gaps, troubles or feed"),
        "{answer}"
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_node_is_reported_and_the_server_closes_its_sockets() {
    let node = Node::start(looking(), &[]).await;
    let mut socket = Socket::open(node.rpc.address()).await;
    let id = socket.subscribe("heads").await;
    let mut idle = Socket::open(node.rpc.address()).await;
    let Node { host, rpc, .. } = node;
    host.stop().await;
    let last = socket.next().await.unwrap();
    assert_eq!(last["params"], json!({"subscription": id, "error": "the node has stopped"}));
    rpc.stop().await;
    assert_eq!(idle.next().await, None);
    assert_eq!(socket.next().await, None);
}
