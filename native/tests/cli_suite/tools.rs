//! `opp2p status`, `peers` and `watch`, against running nodes.

use crate::chain::{Blocks, SEQUENCER_KEY, rollup_json, signer};
use crate::support::{Daemon, PATIENCE, Place};
use opp2p_core::chain::Fork;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;

/// A node and its addresses.
struct Node {
    daemon: Daemon,
    rpc: String,
    address: String,
}

/// Returns the value of a field in a line of the log.
fn field(line: &str, name: &str) -> String {
    let (_, after) = line.split_once(&format!("{name}=")).expect("the field");
    after.split_whitespace().next().expect("a value").trim_matches('"').to_owned()
}

fn node(place: &Place, name: &str, arguments: &[&str]) -> Node {
    let rollup = place.file("rollup.json", rollup_json(100, Some(Fork::Jovian)).to_string());
    let signer = signer().to_string();
    let (data, key) = (place.name(&format!("{name}-data")), place.name_in(name, "p2p.key"));
    let chain = ["node", "--rollup.config", &rollup, "--signer", &signer, "--rpc.port", "0"];
    let network = [
        "--p2p.listen.ip",
        "127.0.0.1",
        "--p2p.listen.tcp",
        "0",
        "--data-dir",
        &data,
        "--p2p.priv.path",
        &key,
    ];
    let daemon =
        Daemon::start(place.opp2p(&[&chain[..], &network, arguments].concat()), Stdio::null());
    let (started, _) = daemon.wait_for(0, PATIENCE, |line| line.contains("started"));
    let (served, _) = daemon.wait_for(0, PATIENCE, |line| line.contains("RPC server listening"));
    Node {
        daemon,
        rpc: format!("http://{}", field(&served, "address")),
        address: field(&started, "address"),
    }
}

fn id(address: &str) -> String {
    address.rsplit('/').next().expect("an id").to_owned()
}

#[test]
fn a_node_shows_its_status_and_its_peers() {
    let place = Place::new();
    let mut first =
        node(&place, "first", &["--p2p.sequencer.key", SEQUENCER_KEY, "--publish.stdin"]);
    let (line, _) = first.daemon.wait_for(0, PATIENCE, |line| line.contains("unsafe-block signer"));
    assert_eq!(
        (field(&line, "signer"), field(&line, "from")),
        (signer().to_string(), "operator".to_owned())
    );
    let alone = place.run(&["status", "--rpc", &first.rpc]);
    // A sequencer is ready without peers.
    assert_eq!(alone.code, Some(0), "{alone:#?}");
    assert!(alone.stdout.contains("ready     yes"), "{}", alone.stdout);
    assert_eq!(place.run(&["peers", "--rpc", &first.rpc]).stdout, "no peer is connected\n");

    let second =
        node(&place, "second", &["--p2p.static", &first.address, "--p2p.useragent", "the second"]);
    first.daemon.wait_for(0, PATIENCE, |line| line.contains(" connected "));
    let without_block = place.run(&["status", "--rpc", &second.rpc]);
    assert_eq!(without_block.code, Some(1), "{without_block:#?}");
    let line = "ready     no: No block has arrived yet";
    assert!(without_block.stdout.contains(line), "{}", without_block.stdout);
    let mut blocks = Blocks::new();
    let blocks = [blocks.next(10), blocks.next(20)];
    let stdin = first.daemon.stdin.as_mut().expect("open");
    for block in &blocks {
        writeln!(stdin, "{}", block.line).expect("it reads");
    }
    let last = format!("number={}", blocks[1].number);
    second.daemon.wait_for(0, PATIENCE, |line| line.contains(" block ") && line.contains(&last));

    let status = place.run(&["status", "--rpc", &second.rpc]);
    assert_eq!((status.code, status.stderr.as_str()), (Some(0), ""), "{status:#?}");
    for part in
        ["ready     yes", "peers     1 connected", "2 accepted", "from operator", "the second"]
    {
        assert!(status.stdout.contains(part), "{part:?} is not in {}", status.stdout);
    }
    let json = place.run(&["status", "--json", "--rpc", &second.rpc]);
    let json: Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!(json["head"]["number"], blocks[1].number);
    assert_eq!(json["peerID"], id(&second.address));

    let peers = place.run(&["peers", "--rpc", &first.rpc]);
    assert!(
        peers.stdout.contains(&id(&second.address)) && peers.stdout.contains("the second"),
        "{peers:#?}"
    );
    let json = place.run(&["peers", "--json", "--rpc", &first.rpc]);
    let json: Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!(json["totalConnected"], 1);
    // The environment names the node as well.
    let mut command = place.opp2p(&["peers"]);
    command.env("OPP2P_RPC", &first.rpc);
    assert!(crate::support::run(command, b"").stdout.contains(&id(&second.address)));

    // Without a terminal, a watcher prints a line for each head.
    let mut watch = place
        .opp2p(&["watch", "--rpc", &second.rpc])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut line = String::new();
    BufReader::new(watch.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
    assert!(line.starts_with(&format!("head {}  0x", blocks[1].number)), "{line}");
    watch.kill().expect("it runs");
    watch.wait().expect("it ends");
    first.daemon.end("TERM");
    second.daemon.end("TERM");
}

#[test]
fn only_authorised_callers_may_act_on_a_peer() {
    let place = Place::new();
    let token = place.file("token", "a-token-of-more-than-16-letters");
    let wrong = place.file("other", "a-token-that-is-wrong");
    let first = node(&place, "first", &["--rpc.token.path", &token]);
    let second = node(&place, "second", &[]);
    let peer = id(&second.address);
    let asked =
        |arguments: &[&str]| place.run(&[&["peers"], arguments, &["--rpc", &first.rpc]].concat());
    for arguments in [
        &["connect", &second.address][..],
        &["disconnect", &peer],
        &["block", &peer],
        &["unblock", "10.0.0.0/8"],
        &["ban", "1.2.3.4", "90s"],
        &["unban", &peer],
        &["protect", &peer],
        &["unprotect", &peer],
    ] {
        asked(arguments).refused(&["the node refuses opp2p_", "--rpc.token.path"]);
        asked(&[arguments, &["--rpc.token.path", &wrong]].concat()).refused(&["HTTP status 401"]);
    }
    let says = |arguments: &[&str], code: i32, parts: &[&str]| {
        let outcome = asked(&[arguments, &["--rpc.token.path", &token]].concat());
        assert_eq!(outcome.code, Some(code), "{outcome:#?}");
        for part in parts {
            assert!(outcome.stdout.contains(part), "{part:?}: {outcome:#?}");
        }
    };
    let with_token = |arguments: &[&str]| says(arguments, 0, &[]);
    with_token(&["connect", &second.address]);
    second.daemon.wait_for(0, PATIENCE, |line| line.contains(" connected "));
    says(&["ban", &peer, "1h"], 0, &[&peer, "is banned for "]);
    says(&["ban", &peer, "10m"], 0, &["is banned for ", "an earlier ban lasts longer"]);
    second.daemon.wait_for(0, PATIENCE, |line| line.contains("disconnected"));
    says(&["block", "10.0.0.0/8"], 0, &["10.0.0.0/8 is blocked"]);
    let banned = asked(&["banned"]).stdout;
    assert!(banned.contains(&format!("banned   {peer}  for ")), "{banned}");
    assert!(banned.contains("blocked  10.0.0.0/8"), "{banned}");
    asked(&["connect", &second.address, "--rpc.token.path", &token]).refused(&["banned until"]);
    says(&["unban", &peer], 0, &["is not banned any more"]);
    says(&["unban", &peer], 1, &["was not banned: nothing is changed"]);
    says(&["unblock", "10.0.0.0/8"], 0, &["10.0.0.0/8 is not blocked any more"]);
    says(&["unblock", "10.0.0.0/8"], 1, &["was not blocked"]);
    says(&["protect", &peer], 0, &["is protected"]);
    says(&["unprotect", &peer], 0, &["is not protected any more"]);
    assert_eq!(asked(&["banned"]).stdout, "nothing is banned or blocked\n");
    with_token(&["connect", &second.address]);
    first.daemon.end("TERM");
    second.daemon.end("TERM");
}

#[test]
fn a_node_finds_another_by_its_record_and_reports_it() {
    let place = Place::new();
    let first =
        node(&place, "first", &["--p2p.no-discovery=false", "--p2p.discovery.path", "memory"]);
    let asked = |node: &Node, method: &str| -> Value {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":[]}}"#);
        let (host, _) = node
            .rpc
            .strip_prefix("http://")
            .expect("http")
            .split_once('/')
            .unwrap_or((&node.rpc[7..], ""));
        let mut stream = TcpStream::connect(host).expect("it listens");
        let head = format!(
            "POST / HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\nconnection: \
             close\r\ncontent-length: {}\r\n\r\n\
             ",
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
        serde_json::from_str::<Value>(body.trim()).expect("JSON")
    };
    let record =
        asked(&first, "opp2p_self")["result"]["ENR"].as_str().expect("a record").to_owned();
    let (line, _) = first.daemon.wait_for(0, PATIENCE, |line| line.contains("looking for peers"));
    assert_eq!(field(&line, "record"), record);
    let second = node(&place, "second", &["--p2p.no-discovery=false", "--p2p.bootnodes", &record]);
    first.daemon.wait_for(0, PATIENCE, |line| line.contains(" connected "));
    let table = asked(&second, "opp2p_discoveryTable");
    assert_eq!(table["result"], serde_json::json!([record]));
    let kept = place.path("second-data/100/discovery.txt");
    second.daemon.end("TERM");
    assert!(std::fs::read_to_string(kept).expect("it is kept").contains(&record));
    first.daemon.end("TERM");
    // Without discovery the RPC says so, like the reference's.
    let alone = node(&place, "alone", &[]);
    assert_eq!(asked(&alone, "opp2p_discoveryTable")["error"]["message"], "discovery disabled");
    alone.daemon.end("TERM");
}

#[test]
fn an_unresponsive_node_and_a_server_that_is_not_a_node_are_reported() {
    let place = Place::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let host = listener.local_addr().expect("bound").to_string();
    drop(listener);
    for command in ["status", "peers", "watch"] {
        let url = format!("http://{host}");
        place.run(&[command, "--rpc", &url]).refused(&["no node answers at", &host, "--rpc URL"]);
        place.run(&[command, "--rpc", "nowhere"]).refused(&["--rpc", "http://HOST:PORT"]);
    }
    place
        .run(&["peers", "--rpc.token.path", &place.name("missing")])
        .refused(&["missing", "--rpc.token.path"]);
    let empty = place.file("empty", "\n");
    place.run(&["peers", "--rpc.token.path", &empty]).refused(&["no token in it"]);
}
