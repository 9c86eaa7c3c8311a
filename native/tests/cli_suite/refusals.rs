//! `opp2p node` with invalid settings: one sentence, exit code 2, nothing overwritten.

use crate::chain::{GENESIS_HASH, SEQUENCER_KEY, node_arguments, rollup_json, signer};
use crate::support::{Daemon, Outcome, PATIENCE, Place, free_port};
use alloy_primitives::B256;
use opp2p_core::chain::Fork;
use opp2p_store::{Store, StoreConfig};
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

/// Returns the arguments of a node that would start, with a flag changed or added.
fn changed(place: &Place, flag: &str, value: &str) -> Vec<String> {
    let mut arguments = node_arguments(place, &[]);
    match arguments.iter().position(|argument| argument == flag) {
        Some(at) => arguments[at + 1] = value.into(),
        None => arguments.extend([flag.into(), value.into()]),
    }
    arguments
}

/// Asserts the refusal, and that nothing was stored.
#[track_caller]
fn refused(place: &Place, outcome: &Outcome, parts: &[&str]) {
    outcome.refused(parts);
    assert!(!place.path("data").exists(), "a data directory was made");
}

fn store(path: &Path, chain_id: u64, genesis_hash: B256) -> StoreConfig {
    let max_age = Duration::from_secs(1 << 40);
    StoreConfig {
        path: path.to_path_buf(),
        chain_id,
        genesis_hash,
        max_blocks: 1000,
        max_bytes: u64::MAX,
        max_age,
    }
}

#[test]
fn a_port_in_use_is_reported_even_if_another_node_uses_it() {
    let place = Place::new();
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let outcome = place.run(&changed(&place, "--p2p.listen.tcp", &port));
    refused(&place, &outcome, &[&port, "in use", "--p2p.listen.tcp"]);
    drop(taken);

    let other = Place::new();
    let port = free_port().to_string();
    let node =
        Daemon::start(other.opp2p(&changed(&other, "--p2p.listen.tcp", &port)), Stdio::null());
    node.wait_for(0, PATIENCE, |line| line.contains("started"));
    let outcome = place.run(&changed(&place, "--p2p.listen.tcp", &port));
    refused(&place, &outcome, &[&port, "in use", "--p2p.listen.tcp"]);
    node.end("TERM");
}

#[test]
fn an_rpc_that_cannot_be_served_is_refused_before_anything_is_created() {
    let place = Place::new();
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let run = |flag, value: &str| place.run(&changed(&place, flag, value));
    refused(&place, &run("--rpc.port", &port), &[&port, "127.0.0.1", "in use", "--rpc.port"]);
    refused(&place, &run("--rpc.addr", "192.0.2.1"), &["192.0.2.1", "--rpc.addr"]);
    run("--rpc.addr", "a b").refused(&["--rpc.addr", "'a b'", "127.0.0.1"]);
    run("--rpc.port", "65536").refused(&["--rpc.port", "65536", "up to 65535"]);
    let missing = place.name("missing");
    refused(&place, &run("--rpc.token.path", &missing), &[&missing, "can't be read"]);
    let short = place.file("short", "secret");
    let outcome = run("--rpc.token.path", &short);
    refused(&place, &outcome, &[&short, "16"]);
    assert!(!outcome.stderr.contains("secret"), "{outcome:?}");
    assert!(!place.path("p2p.key").exists(), "a key was made for nothing");
}

#[test]
fn ports_and_addresses_that_cannot_be_listened_on_are_reported() {
    let place = Place::new();
    let run = |flag, value| place.run(&changed(&place, flag, value));
    for port in ["80", "1", "1023"] {
        let outcome = run("--p2p.listen.tcp", port);
        refused(&place, &outcome, &["--p2p.listen.tcp", port, "reserved", "1024"]);
    }
    // An address for documentation, which no machine has.
    let mut elsewhere = changed(&place, "--p2p.listen.ip", "192.0.2.1");
    let port = elsewhere.iter().position(|argument| argument == "--p2p.listen.tcp").unwrap();
    elsewhere[port + 1] = free_port().to_string();
    refused(&place, &place.run(&elsewhere), &["192.0.2.1", "--p2p.listen.ip"]);
    // The system would choose the port, so the node fails only during its start.
    run("--p2p.listen.ip", "192.0.2.1").refused(&["192.0.2.1", "choose another address"]);
}

#[test]
fn errors_in_the_browser_settings_are_named() {
    let place = Place::new();
    let door = |more: &[&str]| {
        let arguments = changed(&place, "--p2p.listen.ws", "0").into_iter();
        place.run(&arguments.chain(more.iter().map(|text| (*text).to_owned())).collect::<Vec<_>>())
    };
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let outcome = place.run(&changed(&place, "--p2p.listen.ws", &port));
    refused(&place, &outcome, &[&port, "in use", "--p2p.listen.ws"]);
    let free = free_port().to_string();
    let both =
        [changed(&place, "--p2p.listen.tcp", &free), vec!["--p2p.listen.ws".into(), free.clone()]];
    refused(
        &place,
        &place.run(&both.concat()),
        &[&free, "--p2p.listen.ws", "--p2p.listen.tcp", "own"],
    );
    for (flag, value) in [
        ("--p2p.ws.tls.cert", "cert.pem"),
        ("--p2p.ws.tls.key", "key.pem"),
        ("--p2p.ws.tls.acme", "gw.example"),
        ("--p2p.ws.advertise", "/dns4/gw.example/tcp/443/wss"),
        ("--p2p.ws.peers", "7"),
    ] {
        refused(&place, &place.run(&changed(&place, flag, value)), &[flag, "--p2p.listen.ws PORT"]);
    }
    let alone = [changed(&place, "--p2p.listen.tcp", "0"), vec!["--p2p.ws.suffices".into()]];
    refused(&place, &place.run(&alone.concat()), &["--p2p.ws.suffices", "--p2p.listen.ws PORT"]);
    refused(
        &place,
        &door(&["--p2p.ws.tls.cert", "cert.pem"]),
        &["--p2p.ws.tls.cert", "--p2p.ws.tls.key"],
    );
    refused(
        &place,
        &door(&["--p2p.ws.tls.key", "key.pem"]),
        &["--p2p.ws.tls.key", "--p2p.ws.tls.cert"],
    );
    refused(
        &place,
        &door(&["--p2p.ws.tls.acme", "10.0.0.1"]),
        &["--p2p.ws.tls.acme", "10.0.0.1", "gw.example.org"],
    );
    let address = "/dns4/gw.example/tcp/443";
    refused(
        &place,
        &door(&["--p2p.ws.advertise", address]),
        &["--p2p.ws.advertise", address, "/wss"],
    );
    let (cert, key) = (place.name("cert.pem"), place.file("key.pem", "no key"));
    let files = ["--p2p.ws.tls.cert", &cert, "--p2p.ws.tls.key", &key];
    refused(&place, &door(&files), &["cert.pem", "can't be read", "check the path"]);
    place.file("cert.pem", "no certificate");
    refused(&place, &door(&files), &["cert.pem", "no certificate", "PEM"]);
    let other =
        "/dns4/gw.example/tcp/443/wss/p2p/16Uiu2HAm3cuhhRL2msUuLF62KRSfneFDx94RsuouyW25Ho42cFMq";
    refused(&place, &door(&["--p2p.ws.advertise", other]), &[other, "another node"]);
}

#[test]
fn without_a_known_chain_no_node_starts() {
    let place = Place::new();
    let data = place.name("data");
    let run = |more: &[&str]| place.run(&[&["node", "--data-dir", data.as_str()], more].concat());
    refused(&place, &run(&[]), &["--network", "--rollup.config"]);
    refused(&place, &run(&["--network", "op-mainet"]), &["op-mainet", "op-mainnet"]);
    let missing = place.name("missing.json");
    refused(&place, &run(&["--rollup.config", &missing]), &[&missing]);
    let bad = place.file("bad.json", "{}");
    refused(&place, &run(&["--rollup.config", &bad]), &[&bad, "`genesis`"]);
    assert!(!place.path("opnode_p2p_priv.txt").exists(), "a key was made for nothing");
}

#[test]
fn a_bad_static_peer_is_named() {
    let place = Place::new();
    let id = "16Uiu2HAm3cuhhRL2msUuLF62KRSfneFDx94RsuouyW25Ho42cFMq";
    let good = format!("/ip4/127.0.0.1/tcp/9222/p2p/{id}");
    let list = format!("{good}, /ip4/127.0.0.1/tcp/9223");
    for (peers, bad) in [
        ("/ip4/127.0.0.1/tcp/9222", "/ip4/127.0.0.1/tcp/9222"),
        ("127.0.0.1:9222", "127.0.0.1:9222"),
        ("/ip4/127.0.0.1/tcp/99999/p2p/x", "99999"),
        (&good[..good.len() - 1], "multiaddr"),
        (&good["/ip4/127.0.0.1/tcp/9222".len()..], "TCP"),
        (&good.replace("tcp", "udp"), "TCP"),
        (list.as_str(), "tcp/9223"),
    ] {
        let outcome = place.run(&changed(&place, "--p2p.static", peers));
        refused(&place, &outcome, &["--p2p.static", bad, "/p2p/"]);
    }
    assert!(!place.path("p2p.key").exists(), "a key was made for nothing");
}

#[test]
fn an_unusable_key_file_is_named_and_left_unchanged() {
    let place = Place::new();
    let run = |path: &str| place.run(&changed(&place, "--p2p.priv.path", path));
    let bad = place.file("bad.key", "this is not a key");
    refused(&place, &run(&bad), &[&bad, "holds no key"]);
    assert_eq!(std::fs::read_to_string(&bad).unwrap(), "this is not a key");
    refused(&place, &run(&place.name("")), &["is a directory"]);
    let nowhere = place.name("missing/p2p.key");
    refused(&place, &run(&nowhere), &[&nowhere]);
    refused(&place, &run(&format!("{bad}/p2p.key")), &["bad.key/p2p.key"]);
    refused(&place, &run(""), &["path", "empty"]);
}

#[test]
fn an_unusable_data_directory_is_named() {
    let place = Place::new();
    let file = place.file("file", "mine");
    let outcome = place.run(&changed(&place, "--data-dir", &format!("{file}/data")));
    refused(&place, &outcome, &["file/data", "data directory"]);
    let outcome = place.run(&changed(&place, "--data-dir", &file));
    refused(&place, &outcome, &[&file, "data directory"]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
    place.run(&changed(&place, "--data-dir", "/proc/nowhere")).refused(&["/proc/nowhere"]);
}

#[test]
fn a_foreign_file_in_place_of_the_store_is_left_unchanged() {
    let place = Place::new();
    let long = vec![0x5a; 100_000];
    let database_of_another = {
        let path = place.path("another.redb");
        drop(Store::open(store(&path, 999, GENESIS_HASH)).unwrap());
        let mut bytes = std::fs::read(path).unwrap();
        // The beginning of a database, followed by garbage.
        bytes[9..].fill(0x5a);
        bytes
    };
    for contents in [&b""[..], b"a diary", &long, &database_of_another] {
        let file = place.file("data/100/blocks.redb", contents);
        place.run(&node_arguments(&place, &[])).refused(&[&file]);
        assert!(std::fs::read(&file).unwrap() == contents, "changed: {} bytes", contents.len());
        let others: Vec<_> = std::fs::read_dir(place.path("data/100")).unwrap().collect();
        assert_eq!(others.len(), 1, "{others:?}");
    }
    std::fs::remove_file(place.path("data/100/blocks.redb")).unwrap();
    std::fs::create_dir(place.path("data/100/blocks.redb")).unwrap();
    place.run(&node_arguments(&place, &[])).refused(&["blocks.redb", "is a directory"]);
}

#[test]
fn the_store_of_another_chain_is_left_unchanged() {
    let place = Place::new();
    let path = place.path("data/100/blocks.redb");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    for (chain_id, genesis, part) in
        [(101, GENESIS_HASH, "belongs to chain 101"), (100, B256::repeat_byte(0x55), "0x5555")]
    {
        drop(Store::open(store(&path, chain_id, genesis)).unwrap());
        let before = std::fs::read(&path).unwrap();
        place.run(&node_arguments(&place, &[])).refused(&["blocks.redb", part, "data directory"]);
        assert!(std::fs::read(&path).unwrap() == before, "changed");
        std::fs::remove_file(&path).unwrap();
    }
}

#[test]
fn a_second_node_on_the_same_store_is_refused_and_the_first_continues() {
    let place = Place::new();
    let first = Daemon::start(place.opp2p(&node_arguments(&place, &[])), Stdio::null());
    first.wait_for(0, PATIENCE, |line| line.contains("started"));
    let second = place.run(&node_arguments(&place, &[]));
    second.refused(&["blocks.redb", "in use by another process"]);
    first.end("TERM");
}

#[test]
fn a_sequencer_key_that_cannot_publish_is_refused() {
    let place = Place::new();
    let run = |flag, value| place.run(&changed(&place, flag, value));
    let one = format!("{}1", "0".repeat(63));
    let its_address = "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf";
    let outcome = run("--p2p.sequencer.key", &one);
    refused(&place, &outcome, &[its_address, &signer().to_string(), "--signer"]);
    let outcome = run("--p2p.sequencer.key", "1234");
    refused(&place, &outcome, &["--p2p.sequencer.key", "64 hex digits"]);
    assert!(!outcome.stderr.contains("1234"), "{outcome:?}");
    let file = place.file("sequencer.key", "none");
    refused(&place, &run("--p2p.sequencer.key.path", &file), &[&file, "holds no key"]);
    let missing = place.name("missing.key");
    refused(&place, &run("--p2p.sequencer.key.path", &missing), &[&missing]);
    assert!(!Path::new(&missing).exists(), "only a node's own key is made");

    let mut both = changed(&place, "--p2p.sequencer.key", SEQUENCER_KEY);
    both.extend(["--p2p.sequencer.key.path".into(), file]);
    refused(&place, &place.run(&both), &["--p2p.sequencer.key", "--p2p.sequencer.key.path"]);

    let rollup = place.name("rollup.json");
    let unsigned = ["node", "--rollup.config", &rollup, "--p2p.sequencer.key", SEQUENCER_KEY];
    refused(
        &place,
        &place.run(&unsigned),
        &["no unsafe-block signer", &format!("--signer {}", signer())],
    );

    let mut publishing = node_arguments(&place, &[]);
    publishing.push("--publish.stdin".into());
    refused(&place, &place.run(&publishing), &["--publish.stdin", "--p2p.sequencer.key"]);
}

#[test]
fn contradictory_or_invalid_peer_settings_are_named() {
    for (flag, value, parts) in [
        ("--p2p.scoring", "heavy", &["--p2p.scoring", "unknown p2p scoring level: heavy"][..]),
        ("--p2p.ban.threshold", "5", &["--p2p.ban.threshold", "0 or less"]),
        ("--p2p.ban.threshold", "nan", &["--p2p.ban.threshold", "0 or less"]),
        ("--p2p.ban.duration", "soon", &["--p2p.ban.duration", "number of seconds"]),
        ("--p2p.peers.lo", "31", &["--p2p.peers.lo is 31", "--p2p.peers.hi is 30"]),
        ("--p2p.peers.hi", "0", &["--p2p.peers.hi", "from 1 on"]),
        ("--p2p.peers.inbound", "many", &["--p2p.peers.inbound", "from 1 on"]),
        ("--p2p.timeout.dial", "0", &["--p2p.timeout.dial", "some time", "10s"]),
    ] {
        let place = Place::new();
        let arguments = changed(&place, flag, value);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        refused(&place, &place.run(&arguments), parts);
    }
}

#[test]
fn an_l1_of_another_chain_as_the_only_signer_source_ends_the_node() {
    use std::io::{Read, Write};
    let place = Place::new();
    let mut rollup = rollup_json(901, Some(Fork::Jovian));
    let file = place.file("without.json", rollup.to_string());
    place.run(&["node", "--rollup.config", &file, "--l1", "http://127.0.0.1:1"]).refused(&[
        "no SystemConfig contract",
        "l1_system_config_address",
        "--signer",
    ]);
    rollup["l1_system_config_address"] = format!("0x{}", "5c".repeat(20)).into();
    let rollup = place.file("rollup.json", rollup.to_string());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://user:s3cr3t@{}/s3cr3t", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 4096];
        let read = stream.read(&mut request).unwrap();
        assert!(String::from_utf8_lossy(&request[..read]).starts_with("POST /s3cr3t"));
        let body = r#"{"jsonrpc":"2.0","id":0,"result":"0x5"}"#;
        let head = format!(
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + body).as_bytes()).unwrap();
    });
    let arguments =
        ["node", "--rollup.config", &rollup, "--l1", &url, "--p2p.listen.ip", "127.0.0.1"];
    let outcome = place.run(&[&arguments[..], &["--p2p.listen.tcp", "0"]].concat());
    server.join().unwrap();
    outcome.refused(&["unsafe-block signer is not known", "is on chain 5", "--l1"]);
    assert!(!outcome.stderr.contains("s3cr3t"), "{outcome:#?}");
}

#[test]
fn invalid_execution_client_flags_are_named() {
    let place = Place::new();
    let good = place.file("jwt.hex", "22".repeat(32));
    let bad = place.file("bad.hex", "0x22");
    let missing = place.name("missing.hex");
    let url = "http://127.0.0.1:1";
    for (flags, parts) in [
        (&["--sequencer.enabled"][..], &["--sequencer.enabled", "without --l2"][..]),
        (&["--l2.jwt-secret", &good], &["--l2.jwt-secret", "without --l2"]),
        (&["--l2.labels", url], &["--l2.labels", "without --l2"]),
        (&["--l2", url], &["--l2", "without --l2.jwt-secret"]),
        (&["--l2", url, "--l2.jwt-secret", &missing], &["--l2.jwt-secret", "missing.hex"]),
        (&["--l2", url, "--l2.jwt-secret", &bad], &["bad.hex", "32 bytes"]),
        (&["--l2", "ftp://127.0.0.1:1", "--l2.jwt-secret", &good], &["--l2", "ftp://"]),
        (
            &["--l2", url, "--l2.jwt-secret", &good, "--l2.labels", "here"],
            &["--l2.labels", "not a URL"],
        ),
        (
            &["--l2", url, "--l2.jwt-secret", &good, "--sequencer.enabled"],
            &["--sequencer.enabled", "sign with"],
        ),
    ] {
        let arguments = node_arguments(&place, &[]);
        let arguments: Vec<&str> =
            arguments.iter().map(String::as_str).chain(flags.iter().copied()).collect();
        refused(&place, &place.run(&arguments), parts);
    }
    // The node does not build blocks of a production chain.
    let arguments =
        ["node", "--network", "base", "--l2", url, "--l2.jwt-secret", &good, "--sequencer.enabled"];
    refused(&place, &place.run(&arguments), &["--sequencer.enabled", "development chains"]);
}

#[test]
fn invalid_endpoints_for_proofs_are_named() {
    let place = Place::new();
    let url = "http://127.0.0.1:1";
    let many = vec![url; 17].join(",");
    for (flags, parts) in [
        (&["--l2.proofs", "here"][..], &["--l2.proofs", "not a URL"][..]),
        (&["--l2.proofs", "http://127.0.0.1:1,ftp://127.0.0.1:1"], &["--l2.proofs", "ftp://"]),
        (&["--l2.proofs", &many], &["--l2.proofs", "17 endpoints", "at most 16"]),
        (&["--l2.proofs", url, "--rpc.enabled=false"], &["--l2.proofs", "--rpc.enabled=false"]),
    ] {
        let arguments = node_arguments(&place, &[]);
        let arguments: Vec<&str> =
            arguments.iter().map(String::as_str).chain(flags.iter().copied()).collect();
        refused(&place, &place.run(&arguments), parts);
    }
}
