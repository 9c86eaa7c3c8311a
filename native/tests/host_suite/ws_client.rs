//! Requests over a WebSocket to misbehaving servers.

use super::fake_ws::{FakeWs, answer};
use opp2p_node::http::{HttpClient, HttpConfig, HttpError, TlsFiles};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_tungstenite::tungstenite::Message;

const TIME: Duration = Duration::from_secs(20);
const LIMIT: usize = 1 << 20;

fn client(url: &str) -> HttpClient {
    HttpClient::new(&HttpConfig::new(url, TIME)).unwrap()
}

fn question(method: &str) -> bytes::Bytes {
    json!({ "jsonrpc": "2.0", "id": "same", "method": method, "params": [] }).to_string().into()
}

/// Answers with the method's name.
fn echo(question: &Value) -> Vec<Message> {
    vec![answer(&question["id"], Ok(question["method"].clone()))]
}

async fn ask(client: &HttpClient, method: &str) -> Result<Value, HttpError> {
    let body = client.post(question(method), LIMIT).await?;
    let answer: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(answer["id"], "same");
    Ok(answer["result"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_match_their_requests_in_any_order_over_one_connection() {
    let held: Mutex<Vec<Value>> = Mutex::default();
    let server = FakeWs::start(None, move |question| {
        let mut held = held.lock().unwrap();
        held.push(question.clone());
        if held.len() < 8 {
            return Vec::new();
        }
        let mut messages = vec![
            Message::text("no JSON"),
            Message::text(r#"{"jsonrpc":"2.0","method":"eth_subscription","params":{}}"#),
            answer(&json!(999), Ok(json!("for no one"))),
            Message::Ping(vec![1].into()),
        ];
        messages.extend(held.drain(..).rev().flat_map(|question| echo(&question)));
        messages
    })
    .await;
    let client = client(&format!("ws://us%40er:pass@{}/key?x=1", server.host()));
    let names: Vec<String> = (0..8).map(|n| format!("method_{n}")).collect();
    let answers = futures::future::join_all(names.iter().map(|name| ask(&client, name))).await;
    let expected: Vec<_> = names.iter().map(|name| Ok(json!(name))).collect();
    assert_eq!(answers, expected);
    let who = Some("Basic dXNAZXI6cGFzcw==".to_owned());
    assert_eq!(server.upgrades(), [("/key?x=1".to_owned(), who)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_connection_is_reopened_with_the_next_request() {
    let server = FakeWs::start(None, echo).await;
    let client = client(&server.url());
    assert_eq!(ask(&client, "one").await, Ok(json!("one")));
    server.kick();
    // The end may be noticed only with a request, which then fails.
    for _ in 0..1500 {
        if ask(&client, "two").await == Ok(json!("two")) && server.upgrades().len() == 2 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{:?}", server.upgrades());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unanswered_request_ends_the_connection_if_nothing_else_arrived() {
    let server = FakeWs::start(None, |question| match question["method"].as_str() {
        Some("hangs") => Vec::new(),
        Some("notifies") => vec![Message::text("{}")],
        _ => echo(question),
    })
    .await;
    let patience = Duration::from_millis(300);
    let short = HttpClient::new(&HttpConfig::new(&server.url(), patience)).unwrap();
    let late = || HttpError::Timeout { host: server.host().to_owned(), after: patience };
    // Warms the connection up, so that the short time applies to the answer.
    while ask(&short, "one").await.is_err() {}
    let before = server.upgrades().len();
    assert_eq!(ask(&short, "notifies").await, Err(late()));
    assert_eq!(server.upgrades().len(), before);
    assert_eq!(ask(&short, "hangs").await, Err(late()));
    let mut answered = ask(&short, "two").await;
    while answered == Err(late()) {
        answered = ask(&short, "two").await;
    }
    assert_eq!(answered, Ok(json!("two")));
    assert!(server.upgrades().len() > before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_beyond_the_limit_is_refused() {
    let server = FakeWs::start(None, |question| {
        let length = if question["method"] == "long" { 5000 } else { 10 };
        vec![answer(&question["id"], Ok(json!("x".repeat(length))))]
    })
    .await;
    let client = client(&server.url());
    let too_long = |limit| HttpError::TooLong { host: server.host().to_owned(), limit };
    assert_eq!(client.post(question("long"), 1000).await, Err(too_long(1000)));
    assert!(client.post(question("short"), 1000).await.is_ok());
    // The connection's limit is higher than this caller's.
    assert!(client.post(question("long"), 10_000).await.is_ok());
    assert_eq!(client.post(question("long"), 1000).await, Err(too_long(1000)));
    assert!(client.post(question("long"), 10_000).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_beyond_the_limit_are_refused_at_once() {
    let server = FakeWs::start(None, |question| match question["method"].as_str() {
        Some("hangs") => Vec::new(),
        _ => echo(question),
    })
    .await;
    let client = client(&server.url());
    assert_eq!(ask(&client, "one").await, Ok(json!("one")));
    let refused = Arc::new(AtomicUsize::new(0));
    let waiting: Vec<_> = (0..64 + 5)
        .map(|_| {
            let (client, refused) = (client.clone(), Arc::clone(&refused));
            tokio::spawn(async move {
                let error = ask(&client, "hangs").await.unwrap_err();
                assert!(error.to_string().contains("too many questions"), "{error}");
                refused.fetch_add(1, Ordering::SeqCst);
            })
        })
        .collect();
    for _ in 0..500 {
        if refused.load(Ordering::SeqCst) == 5 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(refused.load(Ordering::SeqCst), 5);
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_match_those_of_http_and_connecting_is_not_retried_at_once() {
    let server = FakeWs::start(None, echo).await;
    *server.refuses.lock().unwrap() = 401;
    let (client, host) = (client(&server.url()), server.host().to_owned());
    let refused = Err(HttpError::Status { host: host.clone(), status: 401 });
    for _ in 0..20 {
        assert_eq!(ask(&client, "one").await, refused);
    }
    assert!(server.upgrades().len() < 10, "{}", server.upgrades().len());
    *server.refuses.lock().unwrap() = 0;
    for _ in 0..500 {
        if ask(&client, "one").await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(ask(&client, "two").await, Ok(json!("two")));

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    drop(listener);
    let config = HttpConfig::new(&format!("ws://u:secret@{host}/secret"), TIME);
    let client = HttpClient::new(&config).unwrap();
    let error = ask(&client, "one").await.unwrap_err();
    assert!(matches!(&error, HttpError::Unreached { host: named, .. } if *named == host));
    for shown in [error.to_string(), format!("{config:?}"), format!("{client:?}")] {
        assert!(!shown.contains("secret"), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wss_needs_a_certificate_that_is_trusted() {
    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    let server = FakeWs::start(Some(config.into()), echo).await;
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    std::fs::write(&ca, certified.cert.pem()).unwrap();
    let url = format!("wss://{}", server.host());
    let tls = Some(TlsFiles { ca: Some(ca), ..TlsFiles::default() });
    let trusting = HttpClient::new(&HttpConfig { tls, ..HttpConfig::new(&url, TIME) }).unwrap();
    assert_eq!(ask(&trusting, "one").await, Ok(json!("one")));
    let error = ask(&client(&url), "one").await.unwrap_err();
    assert!(matches!(&error, HttpError::Unreached { why, .. } if why.contains("certificate")));
}
