//! Invalid requests, oversized requests, and too many clients.

use crate::subscriptions::Socket;
use crate::support::{Node, PATIENCE, get, looking, post, raw, request};
use opp2p::rpc::{CONNECTIONS, MAX_BATCH, MAX_REQUEST, SPARE};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

fn call(method: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": []})
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_gets_an_error_and_the_next_call_is_answered() {
    let node = Node::start(looking(), &[]).await;
    let address = node.rpc.address();
    let deep = "[".repeat(100_000);
    let deep_params = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"opp2p_peers","params":{}{}}}"#,
        "[".repeat(10_000),
        "]".repeat(10_000)
    );
    for body in [
        "x",
        "{",
        "{}",
        "[]",
        "[{}]",
        "null",
        "7",
        "\"opp2p_self\"",
        "{\"jsonrpc\":\"2.0\"}",
        "\u{0}",
        "[[]]",
        r#"{"jsonrpc":"1.0","id":1,"method":"opp2p_self"}"#,
        r#"{"jsonrpc":"2.0","id":{},"method":"opp2p_self"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":7}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"opp2p_peers","params":"x"}"#,
        &deep,
        &deep_params,
    ] {
        let answer = post(address, &[], body).await;
        let start: String = body.chars().take(40).collect();
        assert!((200..500).contains(&answer.status), "{start}: {answer:?}");
        if answer.status == 200 {
            let answer = answer.json();
            let error = &answer.get(0).unwrap_or(&answer)["error"];
            assert!(error["code"].is_i64(), "{start}: {answer}");
        }
        assert_eq!(node.call("opp2p_listBlockedPeers", json!([])).await, json!([]));
    }
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"GET\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\
          \r\n0\r\n\r\n\
          ",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let answer = raw(address, bytes).await;
        assert_ne!(answer.status, 200, "{answer:?}");
        assert_eq!(get(address, "/healthz").await.status, 200);
    }
    let untyped = raw(address, b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert_eq!(untyped.status, 403, "{untyped:?}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_are_answered_in_order_and_bounded() {
    let node = Node::start(looking(), &[]).await;
    let address = node.rpc.address();
    let many = |count: usize| Value::from(vec![call("opp2p_peerCount"); count]).to_string();
    let answers = post(address, &[], &many(MAX_BATCH as usize)).await.json();
    assert_eq!(answers.as_array().unwrap().len(), MAX_BATCH as usize);
    let answer = post(address, &[], &many(MAX_BATCH as usize + 1)).await.json();
    assert_eq!(answer["error"]["code"], json!(-32010), "{answer}");
    let mixed =
        json!([call("opp2p_peerCount"), 7, call("opp2p_nothing"), call("opp2p_peers")]).to_string();
    let answers = post(address, &[], &mixed).await.json();
    let codes: Vec<_> =
        answers.as_array().unwrap().iter().map(|answer| answer["error"]["code"].clone()).collect();
    assert_eq!(codes, [json!(null), json!(-32600), json!(-32601), json!(-32602)]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn oversized_requests_are_refused_over_both_transports() {
    let node = Node::start(looking(), &[]).await;
    let address = node.rpc.address();
    let text = "x".repeat(MAX_REQUEST as usize);
    let long = json!({"jsonrpc": "2.0", "id": 1, "method": "opp2p_blockAddr", "params": [text]});
    let answer = post(address, &[], &long.to_string()).await;
    assert_eq!(answer.status, 413, "{answer:?}");
    // A declared but unsent body is refused as well.
    let announced = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: \
         application/json\r\nContent-Length: {}\r\n\r\n\
         ",
        1_u64 << 40
    );
    assert_eq!(raw(address, announced.as_bytes()).await.status, 413);
    let mut socket = Socket::open(address).await;
    let answer = socket.ask(&long.to_string()).await;
    assert_eq!(answer["error"]["code"], json!(-32007), "{answer}");
    assert_eq!(socket.next().await, None, "the rest of the message can't be skipped");
    let answer = request(address, "GET /healthz", &[("X-Long", &"x".repeat(20_000))], "").await;
    assert!(matches!(answer.status, 0 | 400..=499), "{answer:?}");
    assert_eq!(get(address, "/healthz").await.status, 200);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_connections_fill_the_places_and_free_them_again() {
    let node = Node::start(looking(), &[]).await;
    let address = node.rpc.address();
    let mut held = Vec::new();
    for _ in 0..1000 {
        held.push(TcpStream::connect(address).await.unwrap());
    }
    // The first connections have the places. The newest of the others are told so, and the rest are
    // closed silently.
    let (mut served, mut refused) = (0, 0);
    for stream in &mut held {
        let request = b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let mut start = [0; 12];
        let asked = async {
            stream.write_all(request).await.is_ok() && stream.read_exact(&mut start).await.is_ok()
        };
        if timeout(PATIENCE, asked).await.unwrap() {
            served += usize::from(start.ends_with(b"404"));
            refused += usize::from(start.ends_with(b"503"));
        }
    }
    assert_eq!(served, CONNECTIONS as usize);
    assert!(refused <= SPARE, "{refused}");
    drop(held);
    let served = async {
        while get(address, "/nowhere").await.status != 404 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, served).await.unwrap();

    // WebSockets hold their places while they are open.
    let mut sockets = Vec::new();
    let filled = async {
        while sockets.len() < CONNECTIONS as usize {
            match tokio_tungstenite::connect_async(format!("ws://{address}")).await {
                Ok((socket, _)) => sockets.push(socket),
                // An earlier place is not free yet.
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    timeout(PATIENCE, filled).await.unwrap();
    // Idle connections beyond the limits give way to health checks.
    let mut idle = Vec::new();
    for _ in 0..SPARE * 2 {
        idle.push(TcpStream::connect(address).await.unwrap());
    }
    for _ in 0..SPARE * 2 {
        assert_eq!(get(address, "/healthz").await.status, 200);
        assert_eq!(get(address, "/readyz").await.status, 503);
    }
    let answer = post(address, &[], &call("eth_chainId").to_string()).await;
    assert!(answer.status == 503 && answer.body.contains("try again"), "{answer:?}");
    let page = request(address, "GET /healthz", &[("Origin", "http://evil.example")], "").await;
    assert_eq!(page.status, 403);
    drop(idle);
    drop(sockets);
    let served = async {
        while post(address, &[], &call("eth_chainId").to_string()).await.status != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, served).await.unwrap();
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_floods_and_reads_nothing_is_not_read_from() {
    let node = Node::start(looking(), &[]).await;
    let mut socket = TcpStream::connect(node.rpc.address()).await.unwrap();
    let handshake = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: \
        websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    socket.write_all(handshake.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    socket.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 101");
    // Masked text frames of a call whose answer is far longer, until the server reads no more.
    let body = call("opp2p_self").to_string();
    let length = u8::try_from(body.len()).unwrap();
    assert!(length < 126);
    let mut frame = vec![0x81, 0x80 | length, 0, 0, 0, 0];
    frame.extend_from_slice(body.as_bytes());
    let burst = frame.repeat(1000);
    let flood = async {
        let mut sent = 0_usize;
        while timeout(Duration::from_secs(2), socket.write_all(&burst))
            .await
            .is_ok_and(|sent| sent.is_ok())
        {
            sent += burst.len();
            assert!(sent < 256 << 20, "it takes all that comes");
        }
    };
    timeout(Duration::from_secs(120), flood).await.unwrap();
    assert_eq!(node.call("opp2p_listBlockedPeers", json!([])).await, json!([]));
    drop(socket);
    node.stop().await;
}
