//! Nodes with an RPC, and a client that shows raw answers.

pub(crate) use super::kit::{CHAIN_ID, PATIENCE, chain, signer};

use super::kit;
use opp2p::devnet::{BlockMaker, unix_seconds};
use opp2p::rpc::{RpcConfig, RpcServer};
use opp2p_node::host::{Host, HostConfig, Status};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A node and its RPC.
pub(crate) struct Node {
    pub(crate) host: Host,
    pub(crate) rpc: RpcServer,
    pub(crate) _directory: TempDir,
}

/// Settings for read access by all callers.
pub(crate) fn looking() -> RpcConfig {
    RpcConfig::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
}

/// Settings for read and write access by all callers.
pub(crate) fn open() -> RpcConfig {
    RpcConfig { enable_admin: true, ..looking() }
}

impl Node {
    pub(crate) async fn start(rpc: RpcConfig, peers: &[&Self]) -> Self {
        Self::start_as(rpc, peers, |_| {}).await
    }

    /// Starts a node that signs blocks.
    pub(crate) async fn sequencer(rpc: RpcConfig) -> Self {
        Self::start_as(rpc, &[], |config| config.sequencer = Some(signer().into())).await
    }

    pub(crate) async fn start_as(
        rpc: RpcConfig,
        peers: &[&Self],
        change: impl FnOnce(&mut HostConfig),
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let peers = peers.iter().map(|peer| peer.host.address()).collect();
        let mut config = kit::config(directory.path().join("blocks"), peers);
        change(&mut config);
        let host = Host::start(config).await.unwrap();
        let rpc = RpcServer::start(rpc, host.handle()).await.unwrap();
        Self { host, rpc, _directory: directory }
    }

    pub(crate) fn id(&self) -> String {
        self.host.peer_id().to_string()
    }

    pub(crate) async fn until(&self, wanted: impl FnMut(&Status) -> bool) {
        kit::until(&self.host, wanted).await;
    }

    /// Publishes the next `count` blocks.
    pub(crate) async fn publish(&self, maker: &mut BlockMaker, count: usize) {
        for _ in 0..count {
            self.host.publish(maker.next(unix_seconds())).await.unwrap().unwrap();
        }
    }

    /// Returns the result of a call that succeeds.
    #[track_caller]
    pub(crate) fn call(&self, method: &str, params: Value) -> impl Future<Output = Value> + use<> {
        let answer = self.answer(method, params);
        let method = method.to_owned();
        async move {
            let mut answer = answer.await;
            assert_eq!((&answer["jsonrpc"], &answer["id"]), (&json!("2.0"), &json!(7)), "{answer}");
            assert!(answer.get("error").is_none(), "{method}: {answer}");
            answer["result"].take()
        }
    }

    /// Returns the code and message of a call that fails.
    pub(crate) fn fails(
        &self,
        method: &str,
        params: Value,
    ) -> impl Future<Output = (i64, String)> + use<> {
        let answer = self.answer(method, params);
        let method = method.to_owned();
        async move {
            let answer = answer.await;
            let error = &answer["error"];
            let code = error["code"]
                .as_i64()
                .unwrap_or_else(|| panic!("{method} does not fail: {answer}"));
            (code, error["message"].as_str().unwrap().to_owned())
        }
    }

    pub(crate) fn answer(
        &self,
        method: &str,
        params: Value,
    ) -> impl Future<Output = Value> + use<> {
        let mut body = json!({"jsonrpc": "2.0", "id": 7, "method": method});
        body["params"] = params;
        let body = body.to_string();
        let address = self.rpc.address();
        async move {
            let answer = post(address, &[], &body).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            answer.json()
        }
    }

    /// Waits until a call's result is as wanted.
    pub(crate) async fn until_answer(
        &self,
        method: &str,
        params: Value,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        let asking = async {
            loop {
                let answer = self.call(method, params.clone()).await;
                if wanted(&answer) {
                    return answer;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let reached = timeout(PATIENCE, asking).await;
        match reached {
            Ok(answer) => answer,
            Err(_) => {
                panic!("{method} is not as wanted in time: {}", self.call(method, params).await)
            }
        }
    }

    pub(crate) async fn stop(self) {
        self.rpc.stop().await;
        self.host.stop().await;
    }
}

/// A raw answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// In lower case.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Sends bytes and reads until the connection is closed.
pub(crate) async fn raw(address: SocketAddr, request: &[u8]) -> Answer {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // A server that refuses early need not read everything.
        let _ = stream.write_all(request).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    };
    let text = timeout(PATIENCE, exchange).await.expect("an answer in time");
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

/// Sends a request with this first line, and with `Host: localhost` unless another is given.
pub(crate) async fn request(
    address: SocketAddr,
    first_line: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let mut text = format!("{first_line} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        text += "Host: localhost\r\n";
    }
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() {
        text += &format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    }
    raw(address, format!("{text}\r\n{body}").as_bytes()).await
}

pub(crate) async fn post(address: SocketAddr, headers: &[(&str, &str)], body: &str) -> Answer {
    request(address, "POST /", headers, body).await
}

pub(crate) async fn get(address: SocketAddr, path: &str) -> Answer {
    request(address, &format!("GET {path}"), &[], "").await
}

/// Asserts that `value` has exactly the fields and value types of `recorded`. A `null` in the
/// record stands for a value that may be null.
#[track_caller]
pub(crate) fn same_shape(value: &Value, recorded: &Value) {
    match (value, recorded) {
        (Value::Object(value), Value::Object(recorded)) => {
            let names = |object: &serde_json::Map<String, Value>| {
                object.keys().cloned().collect::<Vec<_>>()
            };
            assert_eq!(names(value), names(recorded));
            value.iter().for_each(|(name, value)| same_shape(value, &recorded[name]));
        }
        (Value::Array(values), Value::Array(recorded)) => {
            values.iter().for_each(|value| same_shape(value, &recorded[0]));
        }
        (Value::Number(value), Value::Number(recorded)) => {
            assert!(recorded.is_f64() || value.is_u64(), "{value} where {recorded} was recorded");
        }
        (value, recorded) => {
            assert_eq!(
                std::mem::discriminant(value),
                std::mem::discriminant(recorded),
                "{value} {recorded}"
            );
        }
    }
}
