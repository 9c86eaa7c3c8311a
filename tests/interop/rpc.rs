//! The RPC of our nodes compared with the reference's: answers field by field, error texts, and the
//! reference's own client, which reads all of our answers.
//!
//! A table here lists each intended difference with its reason, and the tables must be exact. They
//! do not cover three kinds of differences. The order of lists does not count. The numbers `0` and
//! `0.0` are equal: Go writes the first where we write the second, and only scores have such
//! numbers. The text after `invalid argument 0: ` and the like comes from the parser that failed,
//! and may differ.

use crate::op_node::{OpNode, OpNodes, Setup};
use crate::ours::{PATIENCE, chain_of, config};
use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use opp2p::rpc::{RpcConfig, RpcServer};
use opp2p_core::payload::PayloadVersion;
use opp2p_node::host::{Host, HostConfig};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// A peer that no node here knows.
pub(crate) const STRANGER: &str = "16Uiu2HAm3cuhhRL2msUuLF62KRSfneFDx94RsuouyW25Ho42cFMq";

/// The RPC server of a node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Server(SocketAddr);

impl Server {
    /// Returns the RPC of a reference node.
    pub(crate) fn of(node: &OpNode) -> Self {
        let url = node.rpc.as_ref().expect("it serves its RPC");
        Self(url.strip_prefix("http://").unwrap().parse().unwrap())
    }

    /// Serves the RPC of one of our nodes, including the admin methods, as long as the returned
    /// server lives.
    pub(crate) async fn start(host: &Host) -> (Self, RpcServer) {
        let looking = RpcConfig::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let server = RpcServer::start(RpcConfig { enable_admin: true, ..looking }, host.handle())
            .await
            .unwrap();
        (Self(server.address()), server)
    }

    fn url(self) -> String {
        format!("http://{}", self.0)
    }

    /// Returns the response to this request body: the HTTP status and the body.
    async fn post(self, body: &str) -> (u16, String) {
        // HTTP/1.0, so that the response ends with the connection.
        let request = format!(
            "POST / HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let exchange = async {
            let mut stream = TcpStream::connect(self.0).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let answer = timeout(PATIENCE, exchange).await.expect("an answer in time");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        (status.unwrap_or_else(|| panic!("{answer}")), body.to_owned())
    }

    /// Returns the answer to a call.
    pub(crate) async fn answer(self, method: &str, params: &Value) -> Value {
        let call = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
        let (status, body) = self.post(&call.to_string()).await;
        let answer: Value =
            serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"));
        assert_eq!(
            (status, &answer["jsonrpc"], &answer["id"]),
            (200, &json!("2.0"), &json!(7)),
            "{answer}"
        );
        answer
    }

    /// Returns the result of a call, which must succeed.
    pub(crate) async fn call(self, method: &str, params: Value) -> Value {
        let mut answer = self.answer(&format!("opp2p_{method}"), &params).await;
        assert!(answer.get("error").is_none(), "{method} {params}: {answer}");
        answer["result"].take()
    }

    /// Returns the result of a call once it meets a condition.
    pub(crate) async fn until(
        self,
        method: &str,
        params: Value,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        let started = Instant::now();
        loop {
            let result = self.call(method, params.clone()).await;
            if wanted(&result) {
                return result;
            }
            assert!(started.elapsed() < PATIENCE, "not in time: {result:#}");
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// The differences found, by place: the reference's value, and ours.
pub(crate) type Found = BTreeMap<String, (String, String)>;

/// Compares two answers: they must have the same fields, the same types of values, and the same
/// values unless these are measured.
fn compare(place: &str, theirs: &Value, ours: &Value, found: &mut Found) {
    let mut differ =
        |theirs: &str, ours: &str| found.insert(place.into(), (theirs.into(), ours.into()));
    let is_score = place.contains("/scores/");
    match (theirs, ours) {
        (Value::Object(theirs), Value::Object(ours)) => {
            let names: BTreeSet<_> = theirs.keys().chain(ours.keys()).collect();
            for name in names {
                let place = format!("{place}/{name}");
                match (theirs.get(name), ours.get(name)) {
                    (Some(theirs), Some(ours)) => compare(&place, theirs, ours, found),
                    (theirs, ours) => {
                        let there = |value: Option<&Value>| {
                            if value.is_some() { "there" } else { "missing" }
                        };
                        found.insert(place, (there(theirs).into(), there(ours).into()));
                    }
                }
            }
        }
        (Value::Array(theirs), Value::Array(ours)) => {
            let sorted = |list: &[Value]| {
                let mut list: Vec<_> = list.iter().map(Value::to_string).collect();
                list.sort();
                list.join(" ")
            };
            let (theirs, ours) = (sorted(theirs), sorted(ours));
            if theirs != ours {
                differ(&theirs, &ours);
            }
        }
        (Value::Number(_), Value::Number(_)) if is_score => {}
        (Value::Number(theirs), Value::Number(ours)) if place.ends_with("/latency") => {
            assert!(theirs.is_u64() && ours.is_u64(), "nanoseconds: {theirs} {ours}");
        }
        (theirs, ours) if theirs == ours => {}
        (theirs, ours) => {
            differ(&theirs.to_string(), &ours.to_string());
        }
    }
}

/// Checks that exactly these differences were found.
#[track_caller]
pub(crate) fn exactly(found: &Found, known: &[(&str, &str, &str, &str)]) {
    let known: Found = known
        .iter()
        .map(|(place, theirs, ours, _)| ((*place).into(), ((*theirs).into(), (*ours).into())))
        .collect();
    let unknown: Vec<_> =
        found.iter().filter(|entry| known.get(entry.0) != Some(entry.1)).collect();
    let vanished: Vec<_> =
        known.iter().filter(|entry| found.get(entry.0) != Some(entry.1)).collect();
    assert!(
        unknown.is_empty() && vanished.is_empty(),
        "new: {unknown:#?}\nnot any more: {vanished:#?}"
    );
}

/// Returns the value with some of its texts replaced.
pub(crate) fn named(value: &Value, names: &[(&str, &str)]) -> Value {
    let text = names.iter().fold(value.to_string(), |text, (from, to)| text.replace(from, to));
    serde_json::from_str(&text).unwrap()
}

/// The names of a node in answers.
struct Names {
    id: String,
    node: Value,
    port: String,
}

impl Names {
    /// Returns an answer with the names replaced by words for the node that gave it.
    fn as_self(&self, value: &Value) -> Value {
        self.replaced(value, ["<self>", "<node id>", "/tcp/<port>/"])
    }

    /// Returns an answer with the names replaced by words for another node.
    fn as_other(&self, value: &Value) -> Value {
        self.replaced(value, ["<other>", "<other node>", "/tcp/<other>/"])
    }

    fn replaced(&self, value: &Value, [id, node, port]: [&str; 3]) -> Value {
        let own = self.node.as_str().unwrap();
        named(value, &[(&self.id, id), (own, node), (&self.port, port)])
    }
}

fn tcp(address: &Multiaddr) -> String {
    let port = address
        .iter()
        .find_map(|part| if let Protocol::Tcp(port) = part { Some(port) } else { None });
    format!("/tcp/{}/", port.unwrap())
}

fn texts(list: &Value) -> BTreeSet<&str> {
    list.as_array()
        .unwrap_or_else(|| panic!("no list: {list}"))
        .iter()
        .map(|text| text.as_str().unwrap())
        .collect()
}

/// Intended differences in the nodes' reports about themselves and others.
const DIFFERENCES: &[(&str, &str, &str, &str)] = &[
    (
        "self/userAgent",
        "\"\"",
        OUR_AGENT,
        "the reference looks itself up among its peers, where it never identified itself; ours \
         says what it tells others",
    ),
    ("self/protocols", "null", OUR_PROTOCOLS, "likewise"),
    ("self/chainID", "0", "901", "likewise: it is filled from others' records"),
    ("peers[false]/peers/<self>/userAgent", "\"\"", OUR_AGENT, "as in self"),
    ("peers[false]/peers/<self>/protocols", "null", OUR_PROTOCOLS, "as in self"),
    ("peers[false]/peers/<self>/chainID", "0", "901", "as in self"),
];

/// All packages of this workspace have one version.
const OUR_AGENT: &str = concat!("\"opp2p/", env!("CARGO_PKG_VERSION"), "\"");

const OUR_PROTOCOLS: &str = "[\"/floodsub/1.0.0\",\
    \"/ipfs/id/1.0.0\",\"/ipfs/id/push/1.0.0\",\"/ipfs/ping/1.0.0\",\
    \"/meshsub/1.0.0\",\"/meshsub/1.1.0\",\"/meshsub/1.2.0\",\
    \"/opp2p/req/payloads/1\",\
    \"/opstack/req/payload_by_number/901/0\",\"/opstack/req/payload_by_number/901/0/\"]";

/// Returns `true` if all three peers are connected, known, and in the mesh.
fn are_settled(dump: &Value) -> bool {
    let peers = dump["peers"].as_object().unwrap();
    let is_settled = |peer: &Value| {
        !peer["protocols"].is_null() && peer["gossipBlocks"] == true && peer["protected"] == true
    };
    peers.len() == 3 && peers.values().all(is_settled)
}

/// Checks that each node reports about the other what the other reports about itself, with the
/// opposite direction.
fn each_reports_what_the_other_says(
    (theirs_of_us, ours_of_them): (&Value, &Value),
    own: &(Value, Value),
) {
    for (other, itself) in [(theirs_of_us, &own.1), (ours_of_them, &own.0)] {
        for name in ["peerID", "nodeID", "protocolVersion", "addresses"] {
            assert_eq!(other[name], itself[name], "{name}");
        }
        assert_eq!(other["nodeID"].as_str().unwrap().len(), 64);
    }
    assert_eq!(theirs_of_us["userAgent"], own.1["userAgent"]);
    assert_eq!(texts(&theirs_of_us["protocols"]), texts(&own.1["protocols"]));
    assert_eq!((&theirs_of_us["direction"], &ours_of_them["direction"]), (&json!(1), &json!(2)));
}

pub(crate) async fn nodes_report_the_same_about_the_same_peers() {
    let directory = tempfile::tempdir().unwrap();
    let nodes = OpNodes::start();
    let chain = chain_of(PayloadVersion::V4);
    // One node of each kind is asked, and another one of each kind is connected to both.
    let theirs = nodes.node(&chain, Setup { rpc: true, ..Setup::default() }).await;
    let seen_of_theirs = nodes.node(&chain, Setup::default()).await;
    let ours = Host::start(config(&directory, &chain)).await.unwrap();
    let seen_of_ours = Host::start(config(&directory, &chain)).await.unwrap();
    let their_rpc = Server::of(&theirs);
    let (our_rpc, _serving) = Server::start(&ours).await;
    let seen = [seen_of_theirs.address.to_string(), seen_of_ours.address().to_string()];
    for rpc in [their_rpc, our_rpc] {
        for address in &seen {
            assert_eq!(rpc.call("connectPeer", json!([address])).await, Value::Null);
        }
    }
    assert_eq!(our_rpc.call("connectPeer", json!([theirs.address])).await, Value::Null);

    let (their_id, our_id) = (theirs.id.to_string(), ours.peer_id().to_string());
    let mut found = Found::new();
    let mut dumps = Vec::new();
    for connected in [true, false] {
        for rpc in [their_rpc, our_rpc] {
            rpc.until("peers", json!([true]), are_settled).await;
        }
        let params = json!([connected]);
        dumps.push((
            their_rpc.call("peers", params.clone()).await,
            our_rpc.call("peers", params).await,
        ));
    }
    let own = (their_rpc.call("self", json!([])).await, our_rpc.call("self", json!([])).await);

    let (theirs_of_us, ours_of_them) =
        (&dumps[0].0["peers"][&our_id], &dumps[0].1["peers"][&their_id]);
    each_reports_what_the_other_says((theirs_of_us, ours_of_them), &own);
    // The reference reports less about itself. Another of its nodes has received the rest.
    seen_of_theirs.connect(&theirs.address).await;
    let identified: Value = seen_of_theirs.call("identified", json!({ "peer": their_id })).await;
    assert_eq!(ours_of_them["userAgent"], identified["agent"]);
    assert_eq!(ours_of_them["protocolVersion"], identified["protocol_version"]);
    assert_eq!(texts(&ours_of_them["protocols"]), texts(&identified["protocols"]));

    // After the same names are replaced in both, everything else is equal.
    let names = (
        Names { id: their_id, node: own.0["nodeID"].clone(), port: tcp(&theirs.address) },
        Names { id: our_id, node: own.1["nodeID"].clone(), port: tcp(&ours.address()) },
    );
    let itself = (names.0.as_self(&own.0), names.1.as_self(&own.1));
    compare("self", &itself.0, &itself.1, &mut found);
    for (connected, (of_theirs, of_ours)) in [true, false].into_iter().zip(&dumps) {
        let mut of_theirs = names.1.as_other(&names.0.as_self(of_theirs));
        let mut of_ours = names.0.as_other(&names.1.as_self(of_ours));
        // Checked above: these differ between the two programs.
        for dump in [&mut of_theirs, &mut of_ours] {
            for name in ["userAgent", "protocols", "direction"] {
                dump["peers"]["<other>"][name] = Value::Null;
            }
        }
        compare(&format!("peers[{connected}]"), &of_theirs, &of_ours, &mut found);
    }
    let stats =
        (their_rpc.call("peerStats", json!([])).await, our_rpc.call("peerStats", json!([])).await);
    compare("peerStats", &stats.0, &stats.1, &mut found);
    let expected = json!({
        "connected": 3, "table": 0,
        "blocksTopic": 3, "blocksTopicV2": 3, "blocksTopicV3": 3, "blocksTopicV4": 3,
        "banned": 0, "known": 4,
    });
    assert_eq!(stats.1, expected);
    exactly(&found, DIFFERENCES);
    ours.stop().await;
    seen_of_ours.stop().await;
}

/// Intended differences for requests that are not a single call.
const BODIES: &[(&str, &str, &str, &str)] = &[
    (
        "",
        "200 nothing",
        "200 -32700 for null",
        "geth takes it for a probe of its health, which ours has at /healthz",
    ),
    (
        "{\"id\":1,\"jsonrpc\":\"2.0\",\"method\":\"\",\"params\":[]}",
        "200 -32600 for 1",
        "200 -32601 for 1",
        "to ours, an empty name is one that no method has",
    ),
];

/// Returns the HTTP status, and the result or the error's code with its id; for a batch, those of
/// each call.
fn summary((status, body): (u16, String)) -> String {
    let each = |answer: &Value| {
        let id = answer.get("id").map_or_else(|| "nothing".to_owned(), Value::to_string);
        match answer.pointer("/error/code") {
            Some(code) => format!("{code} for {id}"),
            None => format!("{} for {id}", answer.get("result").unwrap_or(&Value::Null)),
        }
    };
    let answer = match serde_json::from_str(&body) {
        Ok(Value::Array(answers)) => answers.iter().map(each).collect::<Vec<_>>().join(", "),
        Ok(answer) => each(&answer),
        Err(_) if body.is_empty() => "nothing".into(),
        Err(error) => panic!("{error}: {body}"),
    };
    format!("{status} {answer}")
}

pub(crate) async fn malformed_and_batched_calls_are_answered_in_the_same_way() {
    let directory = tempfile::tempdir().unwrap();
    let nodes = OpNodes::start();
    let chain = chain_of(PayloadVersion::V4);
    let theirs = nodes.node(&chain, Setup { rpc: true, ..Setup::default() }).await;
    let ours = Host::start(config(&directory, &chain)).await.unwrap();
    let (our_rpc, _serving) = Server::start(&ours).await;
    let call =
        json!({ "jsonrpc": "2.0", "id": 1, "method": "opp2p_listBlockedPeers", "params": [] });
    let with = |name: &str, value: Value| {
        let mut call = call.clone();
        call[name] = value;
        call.to_string()
    };
    let without = |name: &str| {
        let mut call = call.clone();
        call.as_object_mut().unwrap().remove(name);
        call.to_string()
    };
    let mut found = Found::new();
    for body in [
        String::new(),
        "x".into(),
        "{".into(),
        "{}".into(),
        "null".into(),
        "7".into(),
        "\"x\"".into(),
        "[]".into(),
        "[{}]".into(),
        "[7]".into(),
        with("id", json!("a text")),
        with("id", json!(1.5)),
        with("id", json!(null)),
        with("id", json!({})),
        with("jsonrpc", json!("1.0")),
        with("method", json!(7)),
        with("method", json!("")),
        with("method", json!("self")),
        with("more", json!(true)),
        without("id"),
        without("jsonrpc"),
        without("method"),
        without("params"),
        json!([call, call]).to_string(),
        json!([call, { "jsonrpc": "2.0", "method": "opp2p_self" },
            { "jsonrpc": "2.0", "id": 2, "method": "opp2p_x" }])
        .to_string(),
    ] {
        let theirs = summary(Server::of(&theirs).post(&body).await);
        let ours = summary(our_rpc.post(&body).await);
        if theirs != ours {
            found.insert(body, (theirs, ours));
        }
    }
    exactly(&found, BODIES);
    ours.stop().await;
}

/// Returns the value with all numbers converted to one type.
fn loosely(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(list) => list.iter().map(loosely).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (name.clone(), loosely(value))).collect()
        }
        other => other.clone(),
    }
}

pub(crate) async fn the_reference_client_reads_all_our_answers() {
    let directory = tempfile::tempdir().unwrap();
    let nodes = OpNodes::start();
    let chain = chain_of(PayloadVersion::V4);
    let args = vec!["--p2p.advertise.ip=127.0.0.1".into()];
    let theirs =
        nodes.node(&chain, Setup { args, rpc: true, discovery: true, ..Setup::default() }).await;
    let other = nodes.node(&chain, Setup::default()).await;
    let discovery = crate::discovery::looking_from(theirs.enr.as_ref());
    let ours = HostConfig { discovery: Some(discovery), ..config(&directory, &chain) };
    let ours = Host::start(ours).await.unwrap();
    let (our_rpc, _serving) = Server::start(&ours).await;
    let mut told = Vec::new();
    for rpc in [Server::of(&theirs), our_rpc] {
        rpc.call("connectPeer", json!([other.address])).await;
        // Waits until they know each other's records, and have identified both peers.
        rpc.until("discoveryTable", json!([]), |table| table.as_array().unwrap().len() == 1).await;
        let both = |dump: &Value| {
            dump["peers"].as_object().unwrap().values().all(|peer| !peer["protocols"].is_null())
        };
        rpc.until("peers", json!([true]), |dump| dump["totalConnected"] == 2 && both(dump)).await;
        let topics = ["blocksTopic", "blocksTopicV2", "blocksTopicV3", "blocksTopicV4"];
        let subscribed = |stats: &Value| topics.iter().all(|topic| stats[topic] == 2);
        rpc.until("peerStats", json!([]), subscribed).await;
        let (peer, address) = (other.id.to_string(), &other.address);
        let ask =
            json!({ "url": rpc.url(), "peer": peer, "address": address, "stranger": STRANGER });
        let steps: Vec<Value> = nodes.call("rpc_client", ask).await;
        for step in &steps {
            assert_eq!(step.get("error"), None, "{step}");
            // The client reads nothing from a method without a result.
            let (came, read) = (&step["came"], &step["read"]);
            assert_eq!(loosely(came), loosely(read), "{}", step["method"]);
        }
        told.push(steps);
    }
    let [theirs_said, ours_said] = told.as_slice() else { unreachable!() };
    assert_eq!(theirs_said.len(), ours_said.len());
    for (theirs_said, ours_said) in theirs_said.iter().zip(ours_said) {
        let method = &ours_said["method"];
        assert_eq!(theirs_said["method"], *method);
        match method.as_str().unwrap() {
            "self" | "peers" | "discoveryTable" => {}
            _ => assert_eq!(theirs_said["read"], ours_said["read"], "{method}"),
        }
    }
    // The reference's client has reconnected our node to the peer that it disconnected.
    let last = &ours_said.last().unwrap()["read"];
    assert_eq!(last["totalConnected"], 2);
    let (peer, other_one) =
        (&last["peers"][other.id.to_string()], &last["peers"][theirs.id.to_string()]);
    assert_eq!((&peer["connectedness"], &peer["direction"]), (&json!(1), &json!(2)));
    // Results of discovery use the reference's terms.
    assert_eq!(
        (&other_one["chainID"], &other_one["ENR"]),
        (&json!(chain.chain_id), &json!(theirs.enr))
    );
    let own = &ours_said[0]["read"];
    assert_eq!(own["ENR"], json!(ours.local_enr()));
    ours.stop().await;
}
