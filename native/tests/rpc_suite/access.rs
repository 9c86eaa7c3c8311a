//! Access control: who may call, and which methods.

use crate::support::{Node, PATIENCE, get, looking, open, post, request};
use opp2p::rpc::{RpcConfig, RpcError, RpcServer, Token};
use serde_json::{Value, json};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::Error;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const ID: &str = "16Uiu2HAm3cuhhRL2msUuLF62KRSfneFDx94RsuouyW25Ho42cFMq";
const CHANGES: [&str; 22] = [
    "opp2p_blockPeer",
    "opp2p_unblockPeer",
    "opp2p_blockAddr",
    "opp2p_unblockAddr",
    "opp2p_blockSubnet",
    "opp2p_unblockSubnet",
    "opp2p_protectPeer",
    "opp2p_unprotectPeer",
    "opp2p_connectPeer",
    "opp2p_disconnectPeer",
    "opp2p_banPeer",
    "opp2p_unbanPeer",
    "opp2p_banAddr",
    "opp2p_unbanAddr",
    "opp2p_publishPayload",
    "admin_postUnsafePayload",
    "admin_startSequencer",
    "admin_stopSequencer",
    "admin_overrideLeader",
    "admin_setLogLevel",
    "admin_resetDerivationPipeline",
    "opp2p_reload",
];

fn body(method: &str, params: &Value) -> String {
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn read_only_callers_change_nothing() {
    for config in [looking(), RpcConfig { token: Some(Token::new(TOKEN)), ..looking() }] {
        let node = Node::start(config, &[]).await;
        for method in CHANGES {
            let (code, text) = node.fails(method, json!([ID])).await;
            assert!(
                code == -32000 && text.contains("setting rpc.enable-admin"),
                "{method}: {code} {text}"
            );
        }
        for method in opp2p::rpc::names().filter(|name| !CHANGES.contains(name)) {
            let answer = node.answer(method, json!([])).await;
            assert!(!answer.to_string().contains("setting rpc.enable-admin"), "{method}: {answer}");
        }
        let batch = format!(
            "[{},{}]",
            body("opp2p_blockPeer", &json!([ID])),
            body("opp2p_self", &json!([]))
        );
        let answer = post(node.rpc.address(), &[], &batch).await.json();
        assert!(
            answer[0]["error"]["code"] == -32000 && answer[1]["result"].is_object(),
            "{answer}"
        );
        assert_eq!(node.call("opp2p_listBlockedPeers", json!([])).await, json!([]));
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_opens_the_changes_over_both_transports() {
    let node = Node::start(RpcConfig { token: Some(Token::new(TOKEN)), ..looking() }, &[]).await;
    let address = node.rpc.address();
    let block = body("opp2p_blockPeer", &json!([ID]));
    for wrong in ["Bearer 0123456789abcdef0123456789abcdeX", "Bearer", "Basic 0123", "x"] {
        let answer = post(address, &[("Authorization", wrong)], &block).await;
        assert!(answer.status == 401 && answer.body.contains("token"), "{answer:?}");
        assert!(!answer.body.contains(TOKEN));
    }
    let answer = post(address, &[("Authorization", &format!("Bearer {TOKEN}"))], &block).await;
    assert_eq!(answer.json(), json!({"jsonrpc": "2.0", "id": 1, "result": null}));
    assert_eq!(node.call("opp2p_listBlockedPeers", json!([])).await, json!([ID]));

    let unblock = body("opp2p_unblockPeer", &json!([ID]));
    let mut handshake = format!("ws://{address}").into_client_request().unwrap();
    handshake.headers_mut().insert("authorization", format!("Bearer {TOKEN}").parse().unwrap());
    let mut socket = crate::subscriptions::Socket::new(connect_async(handshake).await.unwrap().0);
    assert_eq!(socket.ask(&unblock).await["result"], Value::Null);
    assert_eq!(node.call("opp2p_listBlockedPeers", json!([])).await, json!([]));
    // A WebSocket without permission stays without it.
    let mut socket = crate::subscriptions::Socket::open(address).await;
    assert_eq!(socket.ask(&block).await["error"]["code"], json!(-32000));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_page_reaches_the_rpc() {
    let node = Node::start(open(), &[]).await;
    let address = node.rpc.address();
    let call = body("opp2p_self", &json!([]));
    let port = address.port();
    for host in
        ["evil.example".to_owned(), format!("evil.example:{port}"), "127.0.0.1.evil.example".into()]
    {
        let answer = post(address, &[("Host", &host)], &call).await;
        assert!(
            answer.status == 403 && answer.body.contains("the setting rpc.hosts"),
            "{answer:?}"
        );
        assert_eq!(request(address, "GET /healthz", &[("Host", &host)], "").await.status, 403);
    }
    for origin in [format!("http://localhost:{port}"), "https://evil.example".into(), "null".into()]
    {
        let answer = post(address, &[("Origin", &origin)], &call).await;
        assert!(answer.status == 403 && !answer.head.contains("access-control"), "{answer:?}");
        let preflight = request(address, "OPTIONS /", &[("Origin", &origin)], "").await;
        assert!(
            preflight.status == 403 && !preflight.head.contains("access-control"),
            "{preflight:?}"
        );
    }
    for host in [format!("localhost:{port}"), format!("127.0.0.1:{port}"), format!("[::1]:{port}")]
    {
        let answer = post(address, &[("Host", &host)], &call).await;
        assert!(answer.status == 200 && !answer.head.contains("access-control"), "{answer:?}");
    }
    // Only our own rule restricts a page's WebSocket; browsers apply no same-origin rule.
    for (name, value) in [("origin", "https://evil.example"), ("host", "evil.example")] {
        let mut handshake = format!("ws://{address}").into_client_request().unwrap();
        handshake.headers_mut().insert(name, value.parse().unwrap());
        match connect_async(handshake).await {
            Err(Error::Http(answer)) => assert_eq!(answer.status(), 403),
            other => panic!("{name} {value}: {other:?}"),
        }
    }
    node.stop().await;

    let named = RpcConfig { hosts: vec!["Op-Node".into()], ..looking() };
    let node = Node::start(named, &[]).await;
    assert_eq!(post(node.rpc.address(), &[("Host", "op-node:9545")], &call).await.status, 200);
    assert_eq!(post(node.rpc.address(), &[("Host", "other:9545")], &call).await.status, 403);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_one_clear_sentence_and_is_freed_by_stopping() {
    let node = Node::start(looking(), &[]).await;
    let address = node.rpc.address();
    let error = RpcServer::start(RpcConfig::new(address), node.host.handle()).await.unwrap_err();
    assert!(matches!(error, RpcError::InUse(_)), "{error:?}");
    let text = error.to_string();
    let port = address.port().to_string();
    assert!(text.contains(&port) && text.contains("choose another port"), "{text}");
    let Node { host, rpc, .. } = node;
    rpc.stop().await;
    let started = async {
        loop {
            // Earlier connections may linger for a moment.
            if let Ok(rpc) = RpcServer::start(RpcConfig::new(address), host.handle()).await {
                break rpc;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let rpc = tokio::time::timeout(PATIENCE, started).await.unwrap();
    assert_eq!(get(address, "/healthz").await.status, 200);
    rpc.stop().await;
    host.stop().await;
}
