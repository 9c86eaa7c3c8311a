//! Web pages: those that the operator lists may call, and no others.

use crate::subscriptions::Socket;
use crate::support::{Answer, Node, looking, open, post, request};
use opp2p::rpc::{Origins, RpcConfig, Token};
use serde_json::json;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::Error;

const PAGE: &str = "https://app.example";
const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}"#;

fn listing(origins: &[&str]) -> Origins {
    Origins::new(origins.iter().copied()).unwrap()
}

/// Returns the value of a header; `None` if it is not there.
fn header(answer: &Answer, name: &str) -> Option<String> {
    let start = format!("{name}: ");
    answer.head.lines().find_map(|line| line.strip_prefix(&start)).map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn listed_pages_may_call_over_both_transports_and_others_may_not() {
    let origins = listing(&[PAGE, "http://Localhost:3000", "HTTP://[::1]:80"]);
    let node = Node::start(RpcConfig { origins, ..looking() }, &[]).await;
    let address = node.rpc.address();
    for origin in [PAGE, "http://localhost:3000", "http://[::1]"] {
        let answer = post(address, &[("Origin", origin)], CALL).await;
        assert_eq!(answer.json()["result"], json!("0x385"), "{answer:?}");
        assert_eq!(header(&answer, "access-control-allow-origin").as_deref(), Some(origin));
        assert_eq!(header(&answer, "vary").as_deref(), Some("origin"));
        let mut handshake = format!("ws://{address}/ws").into_client_request().unwrap();
        handshake.headers_mut().insert("origin", origin.parse().unwrap());
        let mut socket = Socket::new(connect_async(handshake).await.unwrap().0);
        assert_eq!(socket.ask(CALL).await["result"], json!("0x385"));
    }
    for origin in [
        "http://app.example",
        "https://app.example:8443",
        "https://app.example.evil.example",
        "http://localhost",
        "http://localhost:3001",
        "null",
    ] {
        let answer = post(address, &[("Origin", origin)], CALL).await;
        assert!(answer.status == 403 && answer.body.contains("the setting rpc.cors"), "{answer:?}");
        assert_eq!(header(&answer, "access-control-allow-origin"), None);
        let mut handshake = format!("ws://{address}").into_client_request().unwrap();
        handshake.headers_mut().insert("origin", origin.parse().unwrap());
        match connect_async(handshake).await {
            Err(Error::Http(answer)) => assert_eq!(answer.status(), 403),
            other => panic!("{origin}: {other:?}"),
        }
    }
    // A program, which sends no origin, is answered as before.
    let answer = post(address, &[], CALL).await;
    assert_eq!((answer.status, header(&answer, "access-control-allow-origin")), (200, None));
    assert_eq!(header(&answer, "vary").as_deref(), Some("origin"));
    // A listed page must name this machine all the same.
    let answer = post(address, &[("Origin", PAGE), ("Host", "evil.example")], CALL).await;
    assert_eq!(answer.status, 403);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn preflight_requests_are_answered() {
    const SECRET: &str = "0123456789abcdef";
    let token = Some(Token::new(SECRET));
    let config = RpcConfig { origins: listing(&[PAGE]), token, ..looking() };
    let node = Node::start(config, &[]).await;
    let address = node.rpc.address();
    let preflight = async |path: &str, origin: &str| {
        let headers = [
            ("Origin", origin),
            ("Access-Control-Request-Method", "POST"),
            ("Access-Control-Request-Headers", "authorization,content-type"),
        ];
        request(address, &format!("OPTIONS {path}"), &headers, "").await
    };
    for path in ["/", "/readyz"] {
        let answer = preflight(path, PAGE).await;
        assert_eq!((answer.status, answer.body.as_str()), (204, ""), "{answer:?}");
        let told = |name: &str| header(&answer, &format!("access-control-{name}")).unwrap();
        assert_eq!(told("allow-origin"), PAGE);
        assert_eq!(told("allow-methods"), "get, post");
        assert_eq!(told("allow-headers"), "authorization, content-type");
        assert!(told("max-age").parse::<u32>().is_ok());
    }
    assert_eq!(preflight("/", "https://evil.example").await.status, 403);
    // Not a preflight.
    assert_eq!(request(address, "OPTIONS /", &[("Origin", PAGE)], "").await.status, 405);
    // The page can read errors too, and may change something with the token only.
    let block = r#"{"jsonrpc":"2.0","id":1,"method":"opp2p_blockAddr","params":["192.0.2.1"]}"#;
    let right = format!("Bearer {SECRET}");
    for (bearer, status, code) in
        [("Bearer 1", 401, None), (right.as_str(), 200, Some("null")), ("", 401, None)]
    {
        let answer = post(address, &[("Origin", PAGE), ("Authorization", bearer)], block).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(header(&answer, "access-control-allow-origin").as_deref(), Some(PAGE));
        assert_eq!(code, answer.json().get("result").map(|_| "null"));
    }
    let answer = post(address, &[("Origin", PAGE)], block).await;
    assert_eq!(answer.json()["error"]["code"], json!(-32000), "{answer:?}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_star_admits_every_page() {
    let node = Node::start(RpcConfig { origins: listing(&["*"]), ..open() }, &[]).await;
    for origin in ["null", "https://anything.example", "http://localhost"] {
        let answer = post(node.rpc.address(), &[("Origin", origin)], CALL).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(header(&answer, "access-control-allow-origin").as_deref(), Some("*"));
    }
    node.stop().await;
}
