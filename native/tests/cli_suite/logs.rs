//! The log of a real node: its formats, and its rate limit for peers. Also its metrics, as the
//! flags serve them.

use crate::chain::{node_arguments, rollup_json, signer};
use crate::support::{Daemon, PATIENCE, Place};
use opp2p_core::chain::{ChainConfig, Fork};
use opp2p_node::host::{Host, HostConfig, HostEventKind};
use opp2p_node::key::SecretKey;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::Stdio;

fn node(place: &Place, more: &[&str]) -> Daemon {
    Daemon::start(place.opp2p(&node_arguments(place, more)), Stdio::null())
}

/// Returns the text after `name=` or `"name":"` in a line.
fn value<'a>(line: &'a str, before: &str) -> &'a str {
    let (_, rest) = line.split_once(before).unwrap_or_else(|| panic!("no {before}: {line}"));
    rest.split([' ', '"']).next().unwrap()
}

/// Connects and disconnects peers of another chain, each once, and sends garbage.
fn flood(place: &Place, address: &str, peers: usize) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for number in 0..peers {
            let chain = ChainConfig::development(
                901,
                Default::default(),
                1_700_000_000,
                2,
                Fork::Jovian,
                signer(),
            );
            let key = SecretKey::generate().unwrap();
            let mut config = HostConfig::new(chain, key, place.path(&format!("stranger-{number}")));
            config.listen_ip = Ipv4Addr::LOCALHOST.into();
            config.listen_tcp = 0;
            config.static_peers = vec![address.parse().unwrap()];
            let (host, mut events) = Host::start_heard(config).await.unwrap();
            // Only then has the node seen the connection too.
            let identified = async {
                while !matches!(events.recv().await.unwrap().kind, HostEventKind::Identified { .. })
                {
                }
            };
            tokio::time::timeout(PATIENCE, identified).await.expect("an answer in time");
            host.stop().await;
        }
    });
    let port = address.split('/').nth(4).unwrap();
    for _ in 0..200 {
        if let Ok(mut stream) = TcpStream::connect(format!("127.0.0.1:{port}")) {
            // It may already be closed.
            let _ = stream.write_all(b"\xff\xfe nonsense\r\n\x1b[31m t=1 lvl=error\r\n\r\n");
        }
    }
}

#[test]
fn peers_cannot_flood_the_log_and_omitted_lines_are_counted() {
    let place = Place::new();
    let node = node(&place, &["--log.format", "logfmt"]);
    let (started, _) = node.wait_for(0, PATIENCE, |line| line.contains("msg=started"));
    assert!(started.starts_with("t=") && started.contains(" lvl=info "), "{started}");
    flood(&place, value(&started, "address="), 30);
    let lines = node.end("TERM");
    let shown = |message: &str| {
        lines.iter().filter(|line| line.contains(&format!(" msg={message} "))).count()
    };
    assert_eq!(shown("connected"), 20, "{lines:#?}");
    assert!(shown("disconnected") <= 20);
    // The end of the node reports suppressed lines.
    let summary = |like: &str| {
        let of = |line: &&String| {
            line.contains(&format!(" like={like}")) && line.contains(" more in the last ")
        };
        lines
            .iter()
            .filter(of)
            .map(|line| value(line, "msg=\"").parse::<u64>().unwrap())
            .sum::<u64>()
    };
    assert_eq!(summary("connected"), 10, "{lines:#?}");
    assert!(lines.len() < 100, "{} lines", lines.len());
    // No peer could inject a line.
    assert!(lines.iter().all(|line| line.starts_with("t=2")), "{lines:#?}");
    assert!(lines.iter().all(|line| !line.contains('\u{1b}')), "{lines:#?}");
}

#[test]
fn each_log_format_has_the_same_content() {
    for (format, color, expected) in [
        ("text", "", " started "),
        ("terminal", "", " started "),
        ("terminal", "true", "started"),
        ("logfmt", "true", "msg=started "),
        ("json", "", "\"msg\":\"started\""),
        ("json-pretty", "", "\"msg\": \"started\""),
    ] {
        let place = Place::new();
        let color = format!("--log.color={color}");
        let node = node(&place, &["--log.format", format, &color, "--log.level", "INFO"]);
        let (line, _) = node.wait_for(0, PATIENCE, |line| line.contains(expected));
        assert_eq!(
            line.contains('\u{1b}'),
            (format, color.as_str()) == ("terminal", "--log.color=true"),
            "{line}"
        );
        if format == "json" {
            let value: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!((&value["chain_id"], &value["lvl"]), (&100.into(), &"info".into()));
            assert!(value["t"].is_string(), "{line}");
        }
        node.kill();
    }
}

#[test]
fn metrics_flags_work_and_a_used_port_is_reported_in_one_sentence() {
    let place = Place::new();
    let flags = ["--metrics.enabled", "--metrics.addr", "127.0.0.1", "--metrics.port", "0"];
    let serving = node(&place, &flags);
    let (line, _) = serving.wait_for(0, PATIENCE, |line| line.contains("serving metrics"));
    let address = value(&line, "http://").strip_suffix("/metrics").unwrap().to_owned();
    let mut stream = TcpStream::connect(&address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    for part in ["op_node_default_up 1\n", "opp2p_build_info", "op_node_default_p2p_peer_count 0\n"]
    {
        assert!(answer.contains(part), "{part} is not in\n{answer}");
    }
    let port = address.rsplit(':').next().unwrap();
    let used = Place::new();
    let rollup = used.file("rollup.json", rollup_json(100, Some(Fork::Jovian)).to_string());
    let addr = ["--metrics.enabled", "--metrics.addr", "127.0.0.1", "--metrics.port", port];
    let outcome = used.run(&[&["node", "--rollup.config", &rollup], &addr[..]].concat());
    outcome.refused(&[&format!("127.0.0.1:{port}"), "another process listens", "--metrics.port"]);
    assert!(
        !used.path("opnode_p2p_priv.txt").exists(),
        "nothing is made for a node that does not start"
    );
    // Configured by an op-node's environment, where an empty variable counts as unset.
    let mut command = used.opp2p(&["node", "--rollup.config", &rollup, "--p2p.listen.tcp", "0"]);
    command.env("OP_NODE_METRICS_ENABLED", "true").env("OP_NODE_METRICS_ADDR", "127.0.0.1");
    command
        .env("OP_NODE_METRICS_PORT", "0")
        .env("OP_NODE_LOG_FORMAT", "")
        .env("OP_NODE_LOG_LEVEL", "");
    command.env("OP_NODE_LOG_COLOR", "").env("OP_NODE_P2P_LISTEN_IP", "127.0.0.1");
    let by_environment = Daemon::start(command, Stdio::null());
    by_environment.wait_for(0, PATIENCE, |line| line.contains("serving metrics"));
    by_environment.end("INT");
    serving.end("TERM");
}

/// Asserts that each line is one JSON object with a time, a level and a message.
#[track_caller]
fn pure<S: AsRef<str>>(lines: &[S]) {
    for line in lines.iter().map(AsRef::as_ref) {
        let value: serde_json::Value = serde_json::from_str(line).expect(line);
        for key in ["t", "lvl", "msg"] {
            assert!(value[key].is_string(), "no {key}: {line}");
        }
    }
}

#[test]
fn a_machine_readable_log_has_only_lines_of_its_format() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let open = |path: &str| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).unwrap();
    };
    let key = "0000000000000000000000000000000000000000000000000000000000000009";
    open(&place.file("p2p.key", key));
    let config = place.file("opp2p.toml", "l1 = 'http://127.0.0.1:1'\n");
    open(&config);
    let token = place.file("token", "a-token-of-good-length");
    open(&token);
    let flags =
        ["--log.format=json", "--config", &config, "--rpc.token.path", &token, "--log.level=debug"];
    let running = node(&place, &flags);
    running.wait_for(0, PATIENCE, |line| line.contains("\"started\""));
    let lines = running.end("TERM");
    pure(&lines);
    let warned =
        |what: &str| lines.iter().any(|line| line.contains("\"warn\"") && line.contains(what));
    for what in ["key file", "token file", "configuration file"] {
        assert!(warned(what), "{what}: {lines:#?}");
    }
    // A node that does not start.
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let mut failing = node(&place, &["--log.format=json", "--rpc.port", &port]);
    assert_eq!(failing.wait(PATIENCE), Some(2));
    failing.wait_for(0, PATIENCE, |line| line.contains("\"error\"") && line.contains("in use"));
    pure(&failing.lines());
    let mut failing = node(&place, &["--log.format=logfmt", "--rpc.port", &port]);
    assert_eq!(failing.wait(PATIENCE), Some(2));
    failing.wait_for(0, PATIENCE, |line| line.contains("lvl=error") && line.contains("in use"));
    assert!(failing.lines().iter().all(|line| line.starts_with("t=2")), "{:?}", failing.lines());
}
