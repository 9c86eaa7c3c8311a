//! Settings that change while a node runs: at SIGHUP, and by RPC.

use crate::chain::{rollup_json, signer};
use crate::support::{Daemon, PATIENCE, Place};
use opp2p_core::chain::Fork;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;

const OTHER: &str = "16Uiu2HAm3cuhhRL2msUuLF62KRSfneFDx94RsuouyW25Ho42cFMq";

/// Starts a node with this configuration file and a log that shows debug lines if it is told to.
fn node(place: &Place, name: &str, more: &[&str]) -> Daemon {
    let rollup = place.file("rollup.json", rollup_json(100, Some(Fork::Jovian)).to_string());
    let config = place.name("opp2p.toml");
    let (key, data) = (place.name_in(name, "p2p.key"), place.name(&format!("{name}-data")));
    let signer = signer().to_string();
    let common = ["node", "--rollup.config", &rollup, "--signer", &signer, "--config", &config];
    let network = ["--p2p.listen.ip", "127.0.0.1", "--p2p.listen.tcp", "0"];
    let files = ["--p2p.priv.path", &key, "--data-dir", &data, "--rpc.enable-admin"];
    let arguments = [&common[..], &network, &files, more].concat();
    let node = Daemon::start(place.opp2p(&arguments), Stdio::null());
    node.wait_for(0, PATIENCE, |line| line.contains("RPC server listening"));
    node
}

/// Returns the value of a field of the first line with this text.
fn field(node: &Daemon, text: &str, name: &str) -> String {
    let (line, _) = node.wait_for(0, PATIENCE, |line| line.contains(text));
    let (_, after) = line.split_once(&format!("{name}=")).expect("the field");
    after.split_whitespace().next().expect("a value").trim_matches('"').to_owned()
}

fn call(node: &Daemon, method: &str, params: &str) -> Value {
    let host = field(node, "RPC server listening", "address");
    let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
    let mut stream = TcpStream::connect(&host).expect("it listens");
    write!(
        stream,
        "POST / HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    serde_json::from_str(body).expect("JSON")
}

/// Reloads by signal, and returns the line that tells of it.
fn hang_up(node: &Daemon) -> String {
    let from = node.lines().len();
    node.signal("HUP");
    node.wait_for(from, PATIENCE, |line| line.contains("reloaded")).0
}

#[test]
fn a_reload_changes_log_level_static_peers_and_block_lists_and_reports_it() {
    let place = Place::new();
    place.file("opp2p.toml", "p2p.blocked = '10.0.0.0/8'\n");
    let first = node(&place, "first", &[]);
    let address = field(&first, " started ", "address");
    let second = node(&place, "second", &[]);
    let own = field(&second, " started ", "address");
    let own = own.rsplit('/').next().expect("an id").to_owned();

    // The second one connects to the first as soon as its file names it.
    place.file(
        "opp2p.toml",
        format!(
            "log.level = 'debug'\n[p2p]\nstatic = ['{address}']\nblocked = ['1.2.3.4', '{OTHER}']\n"
        ),
    );
    let line = hang_up(&second);
    for part in ["log level debug", "1 static peer added", "2 blocked entries added, 1 removed"] {
        assert!(line.contains(part), "{part:?} is not in {line}");
    }
    second.wait_for(0, PATIENCE, |line| line.contains(" connected "));
    assert_eq!(call(&second, "opp2p_listBlockedAddrs", "[]")["result"][0], "1.2.3.4");
    assert_eq!(call(&second, "opp2p_listBlockedPeers", "[]")["result"][0], OTHER);
    assert_eq!(call(&second, "opp2p_listBlockedSubnets", "[]")["result"], serde_json::json!([]));
    assert!(hang_up(&second).contains("reloaded: no change"));

    // The first one blocks the second, whose connection ends, by RPC this time.
    place.file("opp2p.toml", format!("p2p.blocked = '{own}'\np2p.peers.hi = 40\n"));
    let answer = call(&first, "opp2p_reload", "[]");
    let result = &answer["result"];
    assert_eq!(
        (&result["blockedAdded"], &result["blockedRemoved"]),
        (&1.into(), &1.into()),
        "{answer}"
    );
    assert_eq!(result["needRestart"], serde_json::json!(["p2p.peers.hi"]), "{answer}");
    let summary = result["summary"].as_str().expect("a text");
    assert!(summary.contains("changed only after a restart: p2p.peers.hi"), "{summary}");
    first.wait_for(0, PATIENCE, |line| line.contains(summary));
    first.wait_for(0, PATIENCE, |line| line.contains(" disconnected "));
    first.end("TERM");
    second.end("TERM");
}

#[test]
fn an_invalid_file_at_a_reload_is_named_and_changes_nothing() {
    let place = Place::new();
    place.file("opp2p.toml", "p2p.blocked = '1.2.3.4'\n");
    let node = node(&place, "one", &[]);
    for (text, part) in [
        ("p2p.blocked = '5.6.7.8'\np2p.static = 'nonsense'\n", "nonsense"),
        ("p2p.blocked = '5.6.7.8, 1.2.3'\n", "1.2.3"),
        ("p2p.blocked = '5.6.7.8'\nlog.level = 'verbose'\n", "verbose"),
        ("p2p.blocked = '5.6.7.8'\np2p.peers.lo = 9\np2p.peers.hi = 3\n", "--p2p.peers.lo"),
        ("p2p.blocked = '5.6.7.8'\np2p.peeers.lo = 9\n", "p2p.peeers.lo"),
        ("p2p.blocked = '5.6.7.8'\n[", "line 2"),
    ] {
        place.file("opp2p.toml", text);
        let line = hang_up(&node);
        assert!(line.contains("not reloaded, and nothing is changed"), "{line}");
        assert!(line.contains(part), "{part:?} is not in {line}");
        let answer = call(&node, "opp2p_reload", "[]");
        let message = answer["error"]["message"].as_str().unwrap_or_default();
        assert!(message.contains(part), "{part:?} is not in {answer}");
        let blocked = call(&node, "opp2p_listBlockedAddrs", "[]");
        assert_eq!(blocked["result"], serde_json::json!(["1.2.3.4"]));
    }
    std::fs::remove_file(place.path("opp2p.toml")).expect("it is there");
    assert!(hang_up(&node).contains("can't read the configuration file"));
    node.end("QUIT");
}

#[test]
fn a_log_level_set_by_rpc_lasts_until_the_next_reload() {
    let place = Place::new();
    place.file("opp2p.toml", "");
    let node = node(&place, "one", &[]);
    assert_eq!(call(&node, "admin_setLogLevel", r#"["debug"]"#)["result"], Value::Null);
    assert_eq!(
        call(&node, "admin_setLogLevel", r#"["loud"]"#)["error"]["message"],
        "unknown level: loud"
    );
    assert!(hang_up(&node).contains("reloaded: log level info"));
    node.end("TERM");
}

#[test]
fn a_new_key_is_made_with_the_data_unless_one_is_in_the_working_directory() {
    let place = Place::new();
    let rollup = place.file("rollup.json", rollup_json(100, Some(Fork::Jovian)).to_string());
    let arguments =
        ["node", "--rollup.config", &rollup, "--data-dir", "kept", "--p2p.listen.tcp", "0"];
    let loopback = ["--p2p.listen.ip", "127.0.0.1"];
    let start = || Daemon::start(place.opp2p(&[&arguments[..], &loopback].concat()), Stdio::null());
    let peer = |node: &Daemon| {
        let address = field(node, " started ", "address");
        address.rsplit('/').next().expect("an id").to_owned()
    };
    let node = start();
    let made = peer(&node);
    node.end("TERM");
    assert!(place.path("kept/opnode_p2p_priv.txt").exists());
    assert!(!place.path("opnode_p2p_priv.txt").exists());
    let node = start();
    assert_eq!(peer(&node), made);
    node.end("TERM");
    // op-node's own key, where it made it.
    std::fs::write(place.path("opnode_p2p_priv.txt"), "11".repeat(32)).expect("written");
    let node = start();
    assert_ne!(peer(&node), made);
    node.end("TERM");
    let shown = place.run(&["config", "--network", "base", "--data-dir", "kept"]);
    assert!(
        shown.stdout.contains("# p2p.priv.path is not set; in force is \"opnode_p2p_priv.txt\"")
    );
}

#[test]
fn the_version_names_the_commit_if_it_is_known() {
    let shown = Place::new().run(&["--version"]);
    assert!(
        shown.stdout.starts_with(&format!("opp2p {} (", env!("CARGO_PKG_VERSION"))),
        "{shown:?}"
    );
}
