//! Calls of the RPC that change something or are refused, answered by our node and by the
//! reference.

use crate::op_node::{OpNodes, Setup};
use crate::ours::{chain_of, config};
use crate::rpc::{Found, STRANGER, Server, exactly, named};
use opp2p_core::payload::PayloadVersion;
use opp2p_node::host::Host;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Beginnings of messages that end with the words of a parser or dialler, which may differ.
const PREFIXES: [&str; 5] = [
    "invalid argument 0: failed to parse peer ID: ",
    "invalid argument 0: invalid IP address: ",
    "invalid argument 0: ",
    "bad peer address: ",
    "failed to dial: ",
];

/// Returns an answer as one line: a list without its order, or the code and text of the error.
fn line(answer: &Value) -> String {
    if let Some(error) = answer.get("error") {
        let fields: Vec<_> = error.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(fields, ["code", "message"], "{answer}");
        let (code, text) = (error["code"].as_i64().unwrap(), error["message"].as_str().unwrap());
        let shown =
            PREFIXES.iter().find(|prefix| text.starts_with(**prefix)).copied().unwrap_or(text);
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

/// Intended differences in changes and refusals, by call.
const CHANGES: &[(&str, &str, &str, &str)] = &[
    (
        "peers [true] for the 2nd time",
        "1 connected",
        "0 connected",
        "ours closes the connections of blocked peers, as an operator would expect",
    ),
    ("blockSubnet [\"1.6.0.0/16\"]", "-32602 invalid argument 0:", "null", CIDR_NOTATION),
    ("unblockSubnet [\"1.6.0.0/16\"]", "-32602 invalid argument 0:", "null", CIDR_NOTATION),
    (SHORT_MASK[0], "null", "-32602 invalid argument 0:", NO_PREFIX),
    (SHORT_MASK[1], "null", "-32602 invalid argument 0:", NO_PREFIX),
    (MASK_WITH_HOLES[0], "null", "-32602 invalid argument 0:", NO_PREFIX),
    (MASK_WITH_HOLES[1], "null", "-32602 invalid argument 0:", NO_PREFIX),
    (
        "listBlockedSubnets [] for the 3rd time",
        "[{\"IP\":\"1.2.0.0\",\"Mask\":\"//8A\"},{\"IP\":\"1.2.0.0\",\"Mask\":\"/wD/AA==\"},\
         {\"IP\":\"1.2.3.4\",\"Mask\":\"//8AAA==\"}]",
        "[{\"IP\":\"1.2.0.0\",\"Mask\":\"//8AAA==\"},{\"IP\":\"1.6.0.0\",\"Mask\":\"//8AAA==\"}]",
        "what was taken as above; and a network has one name here, where the reference keeps \
         1.2.3.4/16 beside 1.2.0.0/16",
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
const CIDR_NOTATION: &str = "ours takes a network as people write it, too";
const NO_PREFIX: &str = "the reference lists a mask that fits no address or has holes, and no one \
     is blocked by the first";

/// A method and its parameters.
type Call = (&'static str, Value);

/// A mask of 16 bits, as Go writes it.
const MASK16: &str = "//8AAA==";

fn calls() -> Vec<Call> {
    let first = ("discoveryTable", json!([]));
    let table = std::iter::once(first).chain(list_changes()).chain(connection_changes());
    table.chain(refusals()).chain(refused_peers()).chain(refused_addresses()).collect()
}

/// Calls that change a list.
fn list_changes() -> Vec<Call> {
    let v4 = json!({ "IP": "1.2.0.0", "Mask": MASK16 });
    let v6 = json!({ "IP": "2001:db8::", "Mask": "/////wAAAAAAAAAAAAAAAA==" });
    let ed25519 = "12D3KooWRYhdCRGTbNkNDzs1pWF1EN4LdNUHXN1VHcYxGNcXGMbW";
    vec![
        ("blockPeer", json!([STRANGER])),
        ("blockPeer", json!([STRANGER])),
        ("blockPeer", json!([ed25519])),
        ("listBlockedPeers", json!([])),
        ("unblockPeer", json!([ed25519])),
        ("unblockPeer", json!([STRANGER])),
        ("unblockPeer", json!([STRANGER])),
        ("listBlockedPeers", json!([])),
        (
            "blockPeer",
            json!(["bafzaajiiaijccazrvdbk5uhwp5swqkpldixlh2gstzrsqkdaxxvzglhvkkjmy3ok5u"]),
        ),
        ("listBlockedPeers", json!(null)),
        ("disconnectPeer", json!(["16Uiu2HAmFzqacrvjHj7E27ShMS3s6ytsbqGQk6pyu49AE1M7y1Sc"])),
        // Disconnecting a peer unblocks it, whether or not it was connected.
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
        ("blockSubnet", json!([{ "ip": "1.3.0.0", "mask": MASK16 }])),
        ("blockSubnet", json!([{ "IP": "1.4.0.0", "Mask": MASK16, "more": 1 }])),
        ("listBlockedSubnets", json!([])),
        ("unblockSubnet", json!([v4])),
        ("unblockSubnet", json!([v6])),
        ("unblockSubnet", json!([v6])),
        ("unblockSubnet", json!([{ "IP": "1.3.0.0", "Mask": MASK16 }])),
        ("unblockSubnet", json!([{ "IP": "1.4.0.0", "Mask": MASK16 }])),
        ("listBlockedSubnets", json!([])),
    ]
}

/// Calls that change connections, or that lists keep from changing them.
fn connection_changes() -> Vec<Call> {
    vec![
        ("protectPeer", json!([STRANGER])),
        ("unprotectPeer", json!([STRANGER])),
        ("unprotectPeer", json!([STRANGER])),
        ("disconnectPeer", json!([STRANGER])),
        ("connectPeer", json!(["<other>"])),
        ("connectPeer", json!(["<other>"])),
        ("connectPeer", json!(["<other id>"])),
        ("disconnectPeer", json!(["<other id>"])),
        // A peer that is blocked in any way is not dialled.
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
        // The same for a connected peer.
        ("blockPeer", json!(["<other id>"])),
        ("peers", json!([true])),
        ("unblockPeer", json!(["<other id>"])),
        ("connectPeer", json!(["<other>"])),
        ("peers", json!([true])),
    ]
}

/// Calls that are refused, and calls with unusual parameters.
fn refusals() -> Vec<Call> {
    let at = |place: &str| json!([format!("{place}/p2p/{STRANGER}")]);
    vec![
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
    ]
}

/// Wrong peers for every method that takes one.
fn refused_peers() -> Vec<Call> {
    let mut calls = Vec::new();
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
            calls.push((method, params));
        }
    }
    calls
}

/// Wrong addresses and subnets for every method that takes one, and the lists after them.
fn refused_addresses() -> Vec<Call> {
    let v4 = json!({ "IP": "1.2.0.0", "Mask": MASK16 });
    let mut calls = Vec::new();
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
            calls.push((method, params));
        }
    }
    calls.push(("listBlockedAddrs", json!([])));
    for method in ["blockSubnet", "unblockSubnet"] {
        for params in [
            json!([]),
            json!([null]),
            json!([{}]),
            json!([{ "IP": "1.2.0.0" }]),
            json!([{ "Mask": MASK16 }]),
            json!([{ "IP": "", "Mask": MASK16 }]),
            json!([{ "IP": "x", "Mask": MASK16 }]),
            json!([{ "IP": 7, "Mask": MASK16 }]),
            json!([{ "IP": "1.2.0.0", "Mask": "*" }]),
            json!([{ "IP": "1.2.0.0", "Mask": 7 }]),
            json!([{ "IP": "1.2.0.0", "Mask": "//8A" }]),
            json!([{ "IP": "1.2.0.0", "Mask": "/wD/AA==" }]),
            json!([{ "IP": "1.2.3.4", "Mask": MASK16 }]),
            json!(["x"]),
            json!(["1.6.0.0/16"]),
            json!([7]),
            json!([v4, v4]),
        ] {
            calls.push((method, params));
        }
        calls.push(("listBlockedSubnets", json!([])));
    }
    calls
}

pub(crate) async fn changes_are_made_and_refused_in_the_same_way() {
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
    for (method, params) in calls() {
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
