//! The log of a real node: its formats, and that peers can't flood it. And its metrics, as the flags serve them.

use crate::chain::{rollup_json, signer};
use crate::support::{Daemon, PATIENCE, Place};
use opp2p::host::{Host, HostConfig, HostEventKind};
use opp2p::key::SecretKey;
use opp2p_core::chain::{ChainConfig, Fork};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::Stdio;

fn node(place: &Place, more: &[&str]) -> Daemon {
    let rollup = place.file("rollup.json", rollup_json(100, Some(Fork::Jovian)).to_string());
    let (key, data, signer) = (place.name("p2p.key"), place.name("data"), signer().to_string());
    let common = [
        "node",
        "--rollup.config",
        &rollup,
        "--p2p.listen.ip",
        "127.0.0.1",
        "--p2p.listen.tcp",
        "0",
        "--p2p.priv.path",
        &key,
        "--data-dir",
        &data,
        "--signer",
        &signer,
    ];
    Daemon::start(place.opp2p(&[&common, more].concat()), Stdio::null())
}

/// What follows `name=` or `"name":"` in a line.
fn value<'a>(line: &'a str, before: &str) -> &'a str {
    let (_, rest) = line.split_once(before).unwrap_or_else(|| panic!("no {before}: {line}"));
    rest.split([' ', '"']).next().unwrap()
}

/// Peers of another chain that come and go, each once, and connections that say nothing sensible.
fn flood(place: &Place, address: &str, peers: usize) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for number in 0..peers {
            let chain =
                ChainConfig::development(901, Default::default(), 1_700_000_000, 2, Fork::Jovian, signer());
            let key = SecretKey::generate().unwrap();
            let mut config = HostConfig::new(chain, key, place.path(&format!("stranger-{number}")));
            config.listen_ip = Ipv4Addr::LOCALHOST.into();
            config.listen_tcp = 0;
            config.static_peers = vec![address.parse().unwrap()];
            let (host, mut events) = Host::start_heard(config).await.unwrap();
            // Only then has the node seen the connection too.
            let identified = async {
                while !matches!(events.recv().await.unwrap().kind, HostEventKind::Identified { .. }) {}
            };
            tokio::time::timeout(PATIENCE, identified).await.expect("an answer in time");
            host.stop().await;
        }
    });
    let port = address.split('/').nth(4).unwrap();
    for _ in 0..200 {
        if let Ok(mut stream) = TcpStream::connect(format!("127.0.0.1:{port}")) {
            // It may be closed already.
            let _ = stream.write_all(b"\xff\xfe nonsense\r\n\x1b[31m t=1 lvl=error\r\n\r\n");
        }
    }
}

#[test]
fn peers_can_not_flood_the_log_and_what_is_left_out_is_counted() {
    let place = Place::new();
    let node = node(&place, &["--log.format", "logfmt"]);
    let (started, _) = node.wait_for(0, PATIENCE, |line| line.contains("msg=started"));
    assert!(started.starts_with("t=") && started.contains(" lvl=info "), "{started}");
    flood(&place, value(&started, "address="), 30);
    let lines = node.end("TERM");
    let shown =
        |message: &str| lines.iter().filter(|line| line.contains(&format!(" msg={message} "))).count();
    assert_eq!(shown("connected"), 20, "{lines:#?}");
    assert!(shown("disconnected") <= 20);
    // What is left out when the node ends is said then.
    let summary = |like: &str| {
        let of =
            |line: &&String| line.contains(&format!(" like={like}")) && line.contains(" more in the last ");
        lines.iter().filter(of).map(|line| value(line, "msg=\"").parse::<u64>().unwrap()).sum::<u64>()
    };
    assert_eq!(summary("connected"), 10, "{lines:#?}");
    assert!(lines.len() < 100, "{} lines", lines.len());
    // Nobody wrote a line of their own.
    assert!(lines.iter().all(|line| line.starts_with("t=2")), "{lines:#?}");
    assert!(lines.iter().all(|line| !line.contains('\u{1b}')), "{lines:#?}");
}

#[test]
fn each_format_says_the_same() {
    for (format, color, expected) in [
        ("text", "", " started "),
        ("terminal", "", " started "),
        ("terminal", "true", "started"),
        ("logfmt", "true", "msg=started "),
        ("json", "", "\"message\":\"started\""),
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
            assert_eq!(value["fields"]["chain_id"], 100);
        }
        node.kill();
    }
}

#[test]
fn the_flags_serve_metrics_and_a_used_port_is_one_sentence() {
    let place = Place::new();
    let flags = ["--metrics.enabled", "--metrics.addr", "127.0.0.1", "--metrics.port", "0"];
    let serving = node(&place, &flags);
    let (line, _) = serving.wait_for(0, PATIENCE, |line| line.contains("serving metrics"));
    let address = value(&line, "http://").strip_suffix("/metrics").unwrap().to_owned();
    let mut stream = TcpStream::connect(&address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    for part in ["op_node_default_up 1\n", "opp2p_build_info", "op_node_default_p2p_peer_count 0\n"] {
        assert!(answer.contains(part), "{part} is not in\n{answer}");
    }
    let port = address.rsplit(':').next().unwrap();
    let used = Place::new();
    let rollup = used.file("rollup.json", rollup_json(100, Some(Fork::Jovian)).to_string());
    let addr = ["--metrics.enabled", "--metrics.addr", "127.0.0.1", "--metrics.port", port];
    let outcome = used.run(&[&["node", "--rollup.config", &rollup], &addr[..]].concat());
    outcome.refused(&[&format!("127.0.0.1:{port}"), "another process listens", "--metrics.port"]);
    assert!(!used.path("opnode_p2p_priv.txt").exists(), "nothing is made for a node that does not start");
    // By the environment of an op-node, where an empty variable is none.
    let mut command = used.opp2p(&["node", "--rollup.config", &rollup, "--p2p.listen.tcp", "0"]);
    command.env("OP_NODE_METRICS_ENABLED", "true").env("OP_NODE_METRICS_ADDR", "127.0.0.1");
    command.env("OP_NODE_METRICS_PORT", "0").env("OP_NODE_LOG_FORMAT", "").env("OP_NODE_LOG_LEVEL", "");
    command.env("OP_NODE_LOG_COLOR", "").env("OP_NODE_P2P_LISTEN_IP", "127.0.0.1");
    let by_environment = Daemon::start(command, Stdio::null());
    by_environment.wait_for(0, PATIENCE, |line| line.contains("serving metrics"));
    by_environment.end("INT");
    serving.end("TERM");
}
