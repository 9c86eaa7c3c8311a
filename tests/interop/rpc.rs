//! The RPC of our nodes beside the reference's: what is answered field by field, what is refused in what words, and the
//! reference's own client, which reads all that ours says.
//!
//! Where the two differ on purpose it stands in a table here, with the reason; the tables are held to be exact. Three
//! things are not in them. Lists have no order. A number is the same as `0` and as `0.0`: Go writes the first where we
//! write the second, and only the scores have such numbers. What follows `invalid argument 0: ` and the other
//! [`PREFIXES`] are the words of the parser that failed, and nobody's to keep.

use crate::op_node::{OpNode, OpNodes, Setup};
use crate::ours::{PATIENCE, chain_of, config};
use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use opp2p::host::{Host, HostConfig};
use opp2p::rpc::{RpcConfig, RpcServer};
use opp2p_core::payload::PayloadVersion;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// Somebody whom no node here knows.
const STRANGER: &str = "16Uiu2HAm3cuhhRL2msUuLF62KRSfneFDx94RsuouyW25Ho42cFMq";

/// A served RPC.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Server(SocketAddr);

impl Server {
    /// The reference's.
    pub(crate) fn of(node: &OpNode) -> Self {
        let url = node.rpc.as_ref().expect("it serves its RPC");
        Self(url.strip_prefix("http://").unwrap().parse().unwrap())
    }

    /// Ours, to all who look and change. It is served as long as what comes with it lives.
    pub(crate) async fn start(host: &Host) -> (Self, RpcServer) {
        let looking = RpcConfig::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let server =
            RpcServer::start(RpcConfig { enable_admin: true, ..looking }, host.handle()).await.unwrap();
        (Self(server.address()), server)
    }

    fn url(self) -> String {
        format!("http://{}", self.0)
    }

    /// What is answered to these bytes: the HTTP status, and the body.
    async fn post(self, body: &str) -> (u16, String) {
        // HTTP/1.0: the answer ends with the connection.
        let request = format!(
            "POST / HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
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

    /// What is answered to a call.
    async fn answer(self, method: &str, params: &Value) -> Value {
        let call = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
        let (status, body) = self.post(&call.to_string()).await;
        let answer: Value = serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"));
        assert_eq!((status, &answer["jsonrpc"], &answer["id"]), (200, &json!("2.0"), &json!(7)), "{answer}");
        answer
    }

    /// The result of a call that succeeds.
    pub(crate) async fn call(self, method: &str, params: Value) -> Value {
        let mut answer = self.answer(&format!("opp2p_{method}"), &params).await;
        assert!(answer.get("error").is_none(), "{method} {params}: {answer}");
        answer["result"].take()
    }

    /// The result of a call once that is as wanted.
    pub(crate) async fn until(self, method: &str, params: Value, wanted: impl Fn(&Value) -> bool) -> Value {
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

/// The differences that were found, by place: theirs, and ours.
type Found = BTreeMap<String, (String, String)>;

/// Compares two answers: the same fields, the same kinds of values, and the same values but where they are measured.
fn compare(place: &str, theirs: &Value, ours: &Value, found: &mut Found) {
    let mut differ = |theirs: &str, ours: &str| found.insert(place.into(), (theirs.into(), ours.into()));
    let is_score = place.contains("/scores/");
    match (theirs, ours) {
        (Value::Object(theirs), Value::Object(ours)) => {
            let names: BTreeSet<_> = theirs.keys().chain(ours.keys()).collect();
            for name in names {
                let place = format!("{place}/{name}");
                match (theirs.get(name), ours.get(name)) {
                    (Some(theirs), Some(ours)) => compare(&place, theirs, ours, found),
                    (theirs, ours) => {
                        let there = |value: Option<&Value>| if value.is_some() { "there" } else { "missing" };
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

/// Insists that these are the differences, no more and no fewer.
#[track_caller]
fn exactly(found: &Found, known: &[(&str, &str, &str, &str)]) {
    let known: Found = known
        .iter()
        .map(|(place, theirs, ours, _)| ((*place).into(), ((*theirs).into(), (*ours).into())))
        .collect();
    let unknown: Vec<_> = found.iter().filter(|entry| known.get(entry.0) != Some(entry.1)).collect();
    let vanished: Vec<_> = known.iter().filter(|entry| found.get(entry.0) != Some(entry.1)).collect();
    assert!(unknown.is_empty() && vanished.is_empty(), "new: {unknown:#?}\nnot any more: {vanished:#?}");
}

/// The value with other names for some texts in it.
fn named(value: &Value, names: &[(&str, &str)]) -> Value {
    let text = names.iter().fold(value.to_string(), |text, (from, to)| text.replace(from, to));
    serde_json::from_str(&text).unwrap()
}

fn tcp(address: &Multiaddr) -> String {
    let port = address.iter().find_map(|part| if let Protocol::Tcp(port) = part { Some(port) } else { None });
    format!("/tcp/{}/", port.unwrap())
}

fn texts(list: &Value) -> BTreeSet<&str> {
    list.as_array()
        .unwrap_or_else(|| panic!("no list: {list}"))
        .iter()
        .map(|text| text.as_str().unwrap())
        .collect()
}

/// What may differ in what nodes say of themselves and of others.
const DIFFERENCES: &[(&str, &str, &str, &str)] = &[
    (
        "self/userAgent",
        "\"\"",
        OUR_AGENT,
        "the reference looks itself up among its peers, where it never identified itself; ours says what it \
         tells others",
    ),
    ("self/protocols", "null", OUR_PROTOCOLS, "likewise"),
    ("self/chainID", "0", "901", "likewise: it is filled from others' records"),
    ("peers[false]/peers/<self>/userAgent", "\"\"", OUR_AGENT, "as in self"),
    ("peers[false]/peers/<self>/protocols", "null", OUR_PROTOCOLS, "as in self"),
    ("peers[false]/peers/<self>/chainID", "0", "901", "as in self"),
];

/// All of this workspace have one version.
const OUR_AGENT: &str = concat!("\"opp2p/", env!("CARGO_PKG_VERSION"), "\"");

const OUR_PROTOCOLS: &str = "[\"/ipfs/id/1.0.0\",\"/ipfs/id/push/1.0.0\",\"/ipfs/ping/1.0.0\",\
    \"/meshsub/1.0.0\",\"/meshsub/1.1.0\",\"/meshsub/1.2.0\",\"/meshsub/1.3.0\",\
    \"/opstack/req/payload_by_number/901/0\",\"/opstack/req/payload_by_number/901/0/\"]";

pub(crate) async fn nodes_tell_the_same_of_the_same_peers() {
    let directory = tempfile::tempdir().unwrap();
    let nodes = OpNodes::start();
    let chain = chain_of(PayloadVersion::V4);
    // One of each that is asked, and one of each that both see.
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

    // All three are connected, known, and in the mesh.
    let settled = |dump: &Value| {
        let peers = dump["peers"].as_object().unwrap();
        let is_settled = |peer: &Value| {
            !peer["protocols"].is_null() && peer["gossipBlocks"] == true && peer["protected"] == true
        };
        peers.len() == 3 && peers.values().all(is_settled)
    };
    let (their_id, our_id) = (theirs.id.to_string(), ours.peer_id().to_string());
    let (their_port, our_port) = (tcp(&theirs.address), tcp(&ours.address()));
    let mut found = Found::new();
    let mut dumps = Vec::new();
    for connected in [true, false] {
        for rpc in [their_rpc, our_rpc] {
            rpc.until("peers", json!([true]), settled).await;
        }
        let params = json!([connected]);
        dumps.push((their_rpc.call("peers", params.clone()).await, our_rpc.call("peers", params).await));
    }
    let own = (their_rpc.call("self", json!([])).await, our_rpc.call("self", json!([])).await);

    // What each says of the other is what the other says of itself, and the direction is mirrored.
    let (of_theirs, of_ours) = &dumps[0];
    let (theirs_of_us, ours_of_them) = (&of_theirs["peers"][&our_id], &of_ours["peers"][&their_id]);
    for (other, itself) in [(theirs_of_us, &own.1), (ours_of_them, &own.0)] {
        for name in ["peerID", "nodeID", "protocolVersion", "addresses"] {
            assert_eq!(other[name], itself[name], "{name}");
        }
        assert_eq!(other["nodeID"].as_str().unwrap().len(), 64);
    }
    assert_eq!(theirs_of_us["userAgent"], own.1["userAgent"]);
    assert_eq!(texts(&theirs_of_us["protocols"]), texts(&own.1["protocols"]));
    assert_eq!((&theirs_of_us["direction"], &ours_of_them["direction"]), (&json!(1), &json!(2)));
    // Of itself the reference says less; what it tells others is what another of its kind heard.
    seen_of_theirs.connect(&theirs.address).await;
    let identified: Value = seen_of_theirs.call("identified", json!({ "peer": their_id })).await;
    assert_eq!(ours_of_them["userAgent"], identified["agent"]);
    assert_eq!(ours_of_them["protocolVersion"], identified["protocol_version"]);
    assert_eq!(texts(&ours_of_them["protocols"]), texts(&identified["protocols"]));

    // With the same names for both, all the rest is the same.
    let as_self = |value: &Value, id: &str, node: &Value, port: &str| {
        named(value, &[(id, "<self>"), (node.as_str().unwrap(), "<node id>"), (port, "/tcp/<port>/")])
    };
    let (their_node, our_node) = (&own.0["nodeID"], &own.1["nodeID"]);
    let itself =
        (as_self(&own.0, &their_id, their_node, &their_port), as_self(&own.1, &our_id, our_node, &our_port));
    compare("self", &itself.0, &itself.1, &mut found);
    let as_other = |value: &Value, id: &str, node: &Value, port: &str| {
        named(value, &[(id, "<other>"), (node.as_str().unwrap(), "<other node>"), (port, "/tcp/<other>/")])
    };
    for (connected, (of_theirs, of_ours)) in [true, false].into_iter().zip(&dumps) {
        let of_theirs = as_self(of_theirs, &their_id, their_node, &their_port);
        let mut of_theirs = as_other(&of_theirs, &our_id, our_node, &our_port);
        let of_ours = as_self(of_ours, &our_id, our_node, &our_port);
        let mut of_ours = as_other(&of_ours, &their_id, their_node, &their_port);
        // These were looked at: they are of two different programs.
        for dump in [&mut of_theirs, &mut of_ours] {
            for name in ["userAgent", "protocols", "direction"] {
                dump["peers"]["<other>"][name] = Value::Null;
            }
        }
        compare(&format!("peers[{connected}]"), &of_theirs, &of_ours, &mut found);
    }
    let stats = (their_rpc.call("peerStats", json!([])).await, our_rpc.call("peerStats", json!([])).await);
    compare("peerStats", &stats.0, &stats.1, &mut found);
    let expected = json!({
        "connected": 3, "table": 0, "blocksTopic": 3, "blocksTopicV2": 3, "blocksTopicV3": 3, "blocksTopicV4": 3,
        "banned": 0, "known": 4,
    });
    assert_eq!(stats.1, expected);
    exactly(&found, DIFFERENCES);
    ours.stop().await;
    seen_of_ours.stop().await;
}

/// What stands before a parser's or a dialler's own words, which nobody has to keep.
const PREFIXES: [&str; 5] = [
    "invalid argument 0: failed to parse peer ID: ",
    "invalid argument 0: invalid IP address: ",
    "invalid argument 0: ",
    "bad peer address: ",
    "failed to dial: ",
];

/// An answer in a line: a list without its order, or the error's code and text.
fn line(answer: &Value) -> String {
    if let Some(error) = answer.get("error") {
        let fields: Vec<_> = error.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(fields, ["code", "message"], "{answer}");
        let (code, text) = (error["code"].as_i64().unwrap(), error["message"].as_str().unwrap());
        let shown = PREFIXES.iter().find(|prefix| text.starts_with(**prefix)).copied().unwrap_or(text);
        return format!("{code} {}", shown.trim_end());
    }
    match &answer["result"] {
        Value::Array(list) => {
            let mut list: Vec<_> = list.iter().map(Value::to_string).collect();
            list.sort();
            format!("[{}]", list.join(","))
        }
        Value::Object(fields) => match fields.get("totalConnected") {
            Some(connected) => format!("{connected} connected"),
            None => "an object".into(),
        },
        result => result.to_string(),
    }
}

/// What may differ in what is done and refused, by call.
const CHANGES: &[(&str, &str, &str, &str)] = &[
    (
        "peers [true] for the 2nd time",
        "1 connected",
        "0 connected",
        "ours closes what stands with whoever is blocked, as an operator would expect",
    ),
    ("blockSubnet [\"1.6.0.0/16\"]", "-32602 invalid argument 0:", "null", AS_PEOPLE_WRITE),
    ("unblockSubnet [\"1.6.0.0/16\"]", "-32602 invalid argument 0:", "null", AS_PEOPLE_WRITE),
    (SHORT_MASK[0], "null", "-32602 invalid argument 0:", NO_PREFIX),
    (SHORT_MASK[1], "null", "-32602 invalid argument 0:", NO_PREFIX),
    (MASK_WITH_HOLES[0], "null", "-32602 invalid argument 0:", NO_PREFIX),
    (MASK_WITH_HOLES[1], "null", "-32602 invalid argument 0:", NO_PREFIX),
    (
        "listBlockedSubnets [] for the 3rd time",
        "[{\"IP\":\"1.2.0.0\",\"Mask\":\"//8A\"},{\"IP\":\"1.2.0.0\",\"Mask\":\"/wD/AA==\"},\
         {\"IP\":\"1.2.3.4\",\"Mask\":\"//8AAA==\"}]",
        "[{\"IP\":\"1.2.0.0\",\"Mask\":\"//8AAA==\"},{\"IP\":\"1.6.0.0\",\"Mask\":\"//8AAA==\"}]",
        "what was taken as above; and a network has one name here, where the reference keeps 1.2.3.4/16 beside \
         1.2.0.0/16",
    ),
];

const SHORT_MASK: [&str; 2] = [
    "blockSubnet [{\"IP\":\"1.2.0.0\",\"Mask\":\"//8A\"}]",
    "unblockSubnet [{\"IP\":\"1.2.0.0\",\"Mask\":\"//8A\"}]",
];
const MASK_WITH_HOLES: [&str; 2] = [
    "blockSubnet [{\"IP\":\"1.2.0.0\",\"Mask\":\"/wD/AA==\"}]",
    "unblockSubnet [{\"IP\":\"1.2.0.0\",\"Mask\":\"/wD/AA==\"}]",
];
const AS_PEOPLE_WRITE: &str = "ours takes a network as people write it, too";
const NO_PREFIX: &str =
    "the reference lists a mask that fits no address or has holes, and nobody is blocked by the first";

fn changes() -> Vec<(&'static str, Value)> {
    let mask16 = "//8AAA==";
    let v4 = json!({ "IP": "1.2.0.0", "Mask": mask16 });
    let v6 = json!({ "IP": "2001:db8::", "Mask": "/////wAAAAAAAAAAAAAAAA==" });
    let ed25519 = "12D3KooWRYhdCRGTbNkNDzs1pWF1EN4LdNUHXN1VHcYxGNcXGMbW";
    let at = |place: &str| json!([format!("{place}/p2p/{STRANGER}")]);
    let mut steps = vec![
        ("discoveryTable", json!([])),
        // What is done.
        ("blockPeer", json!([STRANGER])),
        ("blockPeer", json!([STRANGER])),
        ("blockPeer", json!([ed25519])),
        ("listBlockedPeers", json!([])),
        ("unblockPeer", json!([ed25519])),
        ("unblockPeer", json!([STRANGER])),
        ("unblockPeer", json!([STRANGER])),
        ("listBlockedPeers", json!([])),
        ("blockPeer", json!(["bafzaajiiaijccazrvdbk5uhwp5swqkpldixlh2gstzrsqkdaxxvzglhvkkjmy3ok5u"])),
        ("listBlockedPeers", json!(null)),
        ("disconnectPeer", json!(["16Uiu2HAmFzqacrvjHj7E27ShMS3s6ytsbqGQk6pyu49AE1M7y1Sc"])),
        // Who is disconnected is unblocked, whether he was connected or not.
        ("listBlockedPeers", json!([])),
        ("blockAddr", json!(["10.1.2.3"])),
        ("blockAddr", json!(["2001:DB8::0:1"])),
        ("blockAddr", json!(["::ffff:10.9.9.9"])),
        ("listBlockedAddrs", json!([])),
        ("unblockAddr", json!(["10.1.2.3"])),
        ("unblockAddr", json!(["2001:db8::1"])),
        ("unblockAddr", json!(["10.9.9.9"])),
        ("unblockAddr", json!(["10.9.9.9"])),
        ("listBlockedAddrs", json!([])),
        ("blockSubnet", json!([v4])),
        ("blockSubnet", json!([v6])),
        ("blockSubnet", json!([{ "ip": "1.3.0.0", "mask": mask16 }])),
        ("blockSubnet", json!([{ "IP": "1.4.0.0", "Mask": mask16, "more": 1 }])),
        ("listBlockedSubnets", json!([])),
        ("unblockSubnet", json!([v4])),
        ("unblockSubnet", json!([v6])),
        ("unblockSubnet", json!([v6])),
        ("unblockSubnet", json!([{ "IP": "1.3.0.0", "Mask": mask16 }])),
        ("unblockSubnet", json!([{ "IP": "1.4.0.0", "Mask": mask16 }])),
        ("listBlockedSubnets", json!([])),
        ("protectPeer", json!([STRANGER])),
        ("unprotectPeer", json!([STRANGER])),
        ("unprotectPeer", json!([STRANGER])),
        ("disconnectPeer", json!([STRANGER])),
        ("connectPeer", json!(["<other>"])),
        ("connectPeer", json!(["<other>"])),
        ("connectPeer", json!(["<other id>"])),
        ("disconnectPeer", json!(["<other id>"])),
        // Who is blocked in one way or another is not dialled.
        ("blockPeer", json!(["<other id>"])),
        ("connectPeer", json!(["<other>"])),
        ("unblockPeer", json!(["<other id>"])),
        ("blockAddr", json!(["127.0.0.1"])),
        ("connectPeer", json!(["<other>"])),
        ("unblockAddr", json!(["127.0.0.1"])),
        ("blockSubnet", json!([{ "IP": "127.0.0.0", "Mask": "/wAAAA==" }])),
        ("connectPeer", json!(["<other>"])),
        ("unblockSubnet", json!([{ "IP": "127.0.0.0", "Mask": "/wAAAA==" }])),
        ("connectPeer", json!(["<other>"])),
        ("peers", json!([true])),
        // And who is connected already?
        ("blockPeer", json!(["<other id>"])),
        ("peers", json!([true])),
        ("unblockPeer", json!(["<other id>"])),
        ("connectPeer", json!(["<other>"])),
        ("peers", json!([true])),
        // What is refused.
        ("nothing", json!([])),
        ("connectPeer", json!([])),
        ("connectPeer", json!([null])),
        ("connectPeer", json!([""])),
        ("connectPeer", json!([7])),
        ("connectPeer", json!(["x"])),
        ("connectPeer", json!(["/ip4/127.0.0.1/tcp/1"])),
        ("connectPeer", json!(["/ip4/127.0.0.1/tcp/1/p2p/x"])),
        ("connectPeer", at("/ip4/300.0.0.1/tcp/1")),
        ("connectPeer", at("")),
        ("connectPeer", at("/ip4/127.0.0.1/tcp/1")),
        ("connectPeer", at("/ip4/127.0.0.1/udp/1")),
        ("connectPeer", at("/ip4/127.0.0.1/udp/1/quic-v1")),
        ("connectPeer", at("<other place>")),
        ("connectPeer", json!(["<self>"])),
        ("peers", json!([null])),
        ("peers", json!([1])),
        ("peers", json!(["true"])),
        ("peers", json!([true, 1])),
        ("peers", json!({ "connected": true })),
        ("self", json!(null)),
        ("self", json!([1])),
        ("self", json!({})),
        ("self", json!("x")),
        ("peerStats", json!([null])),
        ("listBlockedPeers", json!([1])),
    ];
    for method in ["blockPeer", "unblockPeer", "protectPeer", "unprotectPeer", "disconnectPeer"] {
        for params in [
            json!([]),
            json!([null]),
            json!([""]),
            json!([7]),
            json!([{}]),
            json!(["nonsense"]),
            json!(["0OIl"]),
            json!([format!("{STRANGER}x")]),
            json!([STRANGER, STRANGER]),
            json!({ "id": STRANGER }),
        ] {
            steps.push((method, params));
        }
    }
    for method in ["blockAddr", "unblockAddr"] {
        for params in [
            json!([]),
            json!([null]),
            json!([""]),
            json!([7]),
            json!([{}]),
            json!(["x"]),
            json!(["1.2.3"]),
            json!(["01.2.3.4"]),
            json!(["1.2.3.4/32"]),
            json!(["fe80::1%eth0"]),
            json!(["1.2.3.4", 7]),
        ] {
            steps.push((method, params));
        }
    }
    steps.push(("listBlockedAddrs", json!([])));
    for method in ["blockSubnet", "unblockSubnet"] {
        for params in [
            json!([]),
            json!([null]),
            json!([{}]),
            json!([{ "IP": "1.2.0.0" }]),
            json!([{ "Mask": mask16 }]),
            json!([{ "IP": "", "Mask": mask16 }]),
            json!([{ "IP": "x", "Mask": mask16 }]),
            json!([{ "IP": 7, "Mask": mask16 }]),
            json!([{ "IP": "1.2.0.0", "Mask": "*" }]),
            json!([{ "IP": "1.2.0.0", "Mask": 7 }]),
            json!([{ "IP": "1.2.0.0", "Mask": "//8A" }]),
            json!([{ "IP": "1.2.0.0", "Mask": "/wD/AA==" }]),
            json!([{ "IP": "1.2.3.4", "Mask": mask16 }]),
            json!(["x"]),
            json!(["1.6.0.0/16"]),
            json!([7]),
            json!([v4, v4]),
        ] {
            steps.push((method, params));
        }
        steps.push(("listBlockedSubnets", json!([])));
    }
    steps
}

pub(crate) async fn changes_are_made_and_refused_alike() {
    let directory = tempfile::tempdir().unwrap();
    let nodes = OpNodes::start();
    let chain = chain_of(PayloadVersion::V4);
    let theirs = nodes.node(&chain, Setup { rpc: true, ..Setup::default() }).await;
    let other = nodes.node(&chain, Setup::default()).await;
    let ours = Host::start(config(&directory, &chain)).await.unwrap();
    let (our_rpc, _serving) = Server::start(&ours).await;
    let other_place = other.address.to_string();
    let (other_place, _) = other_place.rsplit_once("/p2p/").unwrap();
    let (other_address, other_id) = (other.address.to_string(), other.id.to_string());
    let mut found = Found::new();
    let mut times: BTreeMap<String, u32> = BTreeMap::new();
    for (method, params) in changes() {
        let mut lines = Vec::new();
        for (rpc, itself) in [(Server::of(&theirs), &theirs.address), (our_rpc, &ours.address())] {
            let itself = itself.to_string();
            let names = [
                ("<self>", itself.as_str()),
                ("<other id>", &other_id),
                ("<other place>", other_place),
                ("<other>", &other_address),
            ];
            let answer = rpc.answer(&format!("opp2p_{method}"), &named(&params, &names)).await;
            lines.push(line(&answer));
        }
        let call = format!("{method} {params}");
        let time = times.entry(call.clone()).and_modify(|times| *times += 1).or_insert(1);
        if lines[0] != lines[1] {
            let call = match *time {
                1 => call,
                2 => format!("{call} for the 2nd time"),
                3 => format!("{call} for the 3rd time"),
                time => format!("{call} for the {time}th time"),
            };
            found.insert(call, (lines.remove(0), lines.remove(0)));
        }
    }
    exactly(&found, CHANGES);
    ours.stop().await;
}

/// What may differ in what is no call of one method.
const BODIES: &[(&str, &str, &str, &str)] = &[
    (
        "",
        "200 nothing",
        "400 -32700 for null",
        "geth takes it for a probe of its health, which ours has at /healthz",
    ),
    ("x", "200 -32700 for null", "400 -32700 for null", NOT_EVEN_A_START),
    ("null", "200 -32600 for null", "400 -32700 for null", NOT_EVEN_A_START),
    ("7", "200 -32600 for null", "400 -32700 for null", NOT_EVEN_A_START),
    ("\"x\"", "200 -32600 for null", "400 -32700 for null", NOT_EVEN_A_START),
    (
        "{}",
        "200 -32600 for null",
        "200 -32700 for null",
        "to our library, an object without any field of a call is no JSON-RPC",
    ),
    (
        "{\"id\":1.5,\"jsonrpc\":\"2.0\",\"method\":\"opp2p_listBlockedPeers\",\"params\":[]}",
        "200 [] for 1.5",
        "200 null for nothing",
        "to our library, what has no id that may be one is a notification",
    ),
    (
        "{\"id\":{},\"jsonrpc\":\"2.0\",\"method\":\"opp2p_listBlockedPeers\",\"params\":[]}",
        "200 -32600 for null",
        "200 null for nothing",
        "likewise",
    ),
    (
        "{\"id\":1,\"jsonrpc\":\"2.0\",\"method\":\"\",\"params\":[]}",
        "200 -32600 for 1",
        "200 -32601 for 1",
        "to ours, an empty name is one that no method has",
    ),
    (
        "{\"jsonrpc\":\"2.0\",\"method\":\"opp2p_listBlockedPeers\",\"params\":[]}",
        "200 nothing",
        "200 null for nothing",
        "a notification: our library writes null where there is nothing to say",
    ),
];

const NOT_EVEN_A_START: &str =
    "what does not begin as a call or a batch is refused by our library before it is read";

/// The HTTP status, and the result or the error's code with the id that it is for; for each of a batch.
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

pub(crate) async fn what_is_no_single_call_is_answered_alike() {
    let directory = tempfile::tempdir().unwrap();
    let nodes = OpNodes::start();
    let chain = chain_of(PayloadVersion::V4);
    let theirs = nodes.node(&chain, Setup { rpc: true, ..Setup::default() }).await;
    let ours = Host::start(config(&directory, &chain)).await.unwrap();
    let (our_rpc, _serving) = Server::start(&ours).await;
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "opp2p_listBlockedPeers", "params": [] });
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
        json!([call, { "jsonrpc": "2.0", "method": "opp2p_self" }, { "jsonrpc": "2.0", "id": 2, "method": "opp2p_x" }])
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

/// The same with all numbers of one kind.
fn loosely(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(list) => list.iter().map(loosely).collect(),
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), loosely(value))).collect(),
        other => other.clone(),
    }
}

pub(crate) async fn the_references_client_reads_all_that_ours_says() {
    let directory = tempfile::tempdir().unwrap();
    let nodes = OpNodes::start();
    let chain = chain_of(PayloadVersion::V4);
    let args = vec!["--p2p.advertise.ip=127.0.0.1".into()];
    let theirs = nodes.node(&chain, Setup { args, rpc: true, discovery: true, ..Setup::default() }).await;
    let other = nodes.node(&chain, Setup::default()).await;
    let discovery = crate::discovery::looking_from(theirs.enr.as_ref());
    let ours = HostConfig { discovery: Some(discovery), ..config(&directory, &chain) };
    let ours = Host::start(ours).await.unwrap();
    let (our_rpc, _serving) = Server::start(&ours).await;
    let mut told = Vec::new();
    for rpc in [Server::of(&theirs), our_rpc] {
        rpc.call("connectPeer", json!([other.address])).await;
        // They know each other's records, and both have met.
        rpc.until("discoveryTable", json!([]), |table| table.as_array().unwrap().len() == 1).await;
        let both = |dump: &Value| {
            dump["peers"].as_object().unwrap().values().all(|peer| !peer["protocols"].is_null())
        };
        rpc.until("peers", json!([true]), |dump| dump["totalConnected"] == 2 && both(dump)).await;
        let topics = ["blocksTopic", "blocksTopicV2", "blocksTopicV3", "blocksTopicV4"];
        let subscribed = |stats: &Value| topics.iter().all(|topic| stats[topic] == 2);
        rpc.until("peerStats", json!([]), subscribed).await;
        let (peer, address) = (other.id.to_string(), &other.address);
        let ask = json!({ "url": rpc.url(), "peer": peer, "address": address, "stranger": STRANGER });
        let steps: Vec<Value> = nodes.call("rpc_client", ask).await;
        for step in &steps {
            assert_eq!(step.get("error"), None, "{step}");
            // A method without a result has nothing to be read.
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
    // As the reference's client sees it, ours is back with the peer that it left.
    let last = &ours_said.last().unwrap()["read"];
    assert_eq!(last["totalConnected"], 2);
    let (peer, other_one) = (&last["peers"][other.id.to_string()], &last["peers"][theirs.id.to_string()]);
    assert_eq!((&peer["connectedness"], &peer["direction"]), (&json!(1), &json!(2)));
    // What discovery found is told in the reference's terms.
    assert_eq!((&other_one["chainID"], &other_one["ENR"]), (&json!(chain.chain_id), &json!(theirs.enr)));
    let own = &ours_said[0]["read"];
    assert_eq!(own["ENR"], json!(ours.local_enr()));
    ours.stop().await;
}
