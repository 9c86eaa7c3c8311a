//! Sources of settings, and `opp2p config`, which shows them.

use crate::support::{Daemon, Outcome, PATIENCE, Place, run};
use serde_json::Value;
use std::process::Stdio;

/// Returns the settings that `opp2p config` prints with these arguments in this environment.
fn settings(place: &Place, arguments: &[&str], variables: &[(&str, &str)]) -> Value {
    let mut command = place.opp2p(&[&["config", "--json"], arguments].concat());
    command.envs(variables.iter().copied());
    let outcome = run(command, b"");
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    serde_json::from_str(&outcome.stdout).expect("JSON")
}

fn one<'a>(settings: &'a Value, name: &str) -> (&'a Value, &'a str) {
    (&settings[name]["value"], settings[name]["source"].as_str().expect("a source"))
}

#[test]
fn flags_override_the_environment_and_the_environment_the_file() {
    let place = Place::new();
    let file = place.file(
        "opp2p.toml",
        "network = 'base'\n[p2p]\nlisten.tcp = 9301\npeers.lo = 3\nping = false\n",
    );
    let arguments = ["--config", &file, "--p2p.listen.tcp", "9303"];
    let found = settings(
        &place,
        &arguments,
        &[("OP_NODE_P2P_LISTEN_TCP_PORT", "9302"), ("OP_NODE_P2P_PEERS_LO", "4")],
    );
    assert_eq!(one(&found, "p2p.listen.tcp"), (&"9303".into(), "flag"));
    assert_eq!(one(&found, "p2p.peers.lo"), (&"4".into(), "environment"));
    assert_eq!(one(&found, "p2p.ping"), (&"false".into(), "file"));
    assert_eq!(one(&found, "network"), (&"base".into(), "file"));
    assert_eq!(one(&found, "p2p.peers.hi"), (&"30".into(), "default"));
    assert_eq!(one(&found, "p2p.static"), (&Value::Null, "default"));
    assert_eq!(found["p2p.peers.lo"]["variable"], "OP_NODE_P2P_PEERS_LO");
    // The environment may name the file as well, and an empty variable counts as unset.
    let found =
        settings(&place, &[], &[("OPP2P_CONFIG", &file), ("OP_NODE_P2P_LISTEN_TCP_PORT", "")]);
    assert_eq!(one(&found, "p2p.listen.tcp"), (&"9301".into(), "file"));
}

#[test]
fn a_printed_configuration_reads_back_the_same() {
    let place = Place::new();
    let arguments = [
        "--network",
        "op-mainnet",
        "--p2p.static",
        "/ip4/1.2.3.4/tcp/9/p2p/16Uiu2HAm3cuhhRL2msUuLF62KRSfneFDx94RsuouyW25Ho42cFMq",
        "--l1.runtime-config-reload-interval",
        "90s",
        "--p2p.ban.threshold=-5.5",
        "--p2p.useragent",
        "a \"b\"",
    ];
    let printed = place.run(&[&["config"], &arguments[..]].concat());
    assert_eq!((printed.code, printed.stderr.as_str()), (Some(0), ""));
    let file = place.file("again.toml", &printed.stdout);
    let (before, after) =
        (settings(&place, &arguments, &[]), settings(&place, &["--config", &file], &[]));
    for (name, setting) in before.as_object().unwrap() {
        assert_eq!(setting["value"], after[name]["value"], "{name}");
    }
}

#[test]
fn no_secret_is_shown() {
    let place = Place::new();
    let key = "11".repeat(32);
    let file = place.file(
        "opp2p.toml",
        format!("p2p.priv.raw = '{key}'\nl1 = 'http://u:s3cr3t@127.0.0.1:1/s3cr3t'\n"),
    );
    for format in [&[][..], &["--json"]] {
        let mut command =
            place.opp2p(&[&["config", "--network", "base", "--config", &file], format].concat());
        command.env("OP_NODE_SIGNER_HEADER", "X-Key=s3cr3t");
        let outcome = run(command, b"");
        assert!(outcome.stdout.contains("p2p.priv.raw"), "{outcome:#?}");
        for secret in [key.as_str(), "s3cr3t"] {
            assert!(
                !outcome.stdout.contains(secret) && !outcome.stderr.contains(secret),
                "{outcome:#?}"
            );
        }
    }
}

#[test]
fn a_readable_file_with_a_secret_causes_a_warning() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let warned = |text: &str, mode: u32| {
        let file = place.file("opp2p.toml", text);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let outcome = place.run(&["config", "--network", "base", "--config", &file]);
        assert_eq!(outcome.code, Some(0), "{outcome:#?}");
        outcome.stderr.contains("chmod 600")
    };
    let secret = format!("p2p.priv.raw = '{}'", "11".repeat(32));
    assert!(warned(&secret, 0o644));
    assert!(!warned(&secret, 0o600));
    assert!(!warned("p2p.peers.lo = 3", 0o644));
}

#[test]
fn a_file_with_an_unknown_setting_is_refused_by_name() {
    let place = Place::new();
    for (text, parts) in [
        ("p2p.listen.tcpp = 9", &["p2p.listen.tcpp", "not a setting", "p2p.listen.tcp"][..]),
        ("[p2p]\nwhatever = 1", &["p2p.whatever"]),
        ("config = 'other.toml'", &["config", "can't name another"]),
        ("help = true", &["help", "not a setting"]),
        ("p2p.listen.tcp = 'http'", &["'http'", "--p2p.listen.tcp", "1024 to 65535"]),
        ("p2p.listen.tcp = [9301, 9302]", &["p2p.listen.tcp", "one value", "2"]),
        ("p2p.listen.tcp = 2020-01-01", &["p2p.listen.tcp", "should be a text"]),
        ("p2p.ping = 'maybe'", &["'maybe'", "--p2p.ping"]),
        ("publish.stdin = 1", &["publish.stdin", "true or false"]),
        ("p2p.peers.lo = 1\np2p.peers.lo = 2", &["line 2", "duplicate"]),
        ("'p2p.ping' = true\n[p2p]\nping = false", &["p2p.ping", "twice"]),
        ("l1 = 'http://x'\nl1.runtime-config-reload-interval = '1m'", &["line 2", "quotes"]),
        ("[p2p", &["line 1"]),
        ("\u{0}", &["line 1"]),
    ] {
        let file = place.file("opp2p.toml", text);
        let all = [&[file.as_str(), "is refused"], parts].concat();
        place.run(&["config", "--network", "base", "--config", &file]).refused(&all);
        place.run(&["node", "--network", "base", "--config", &file]).refused(&all);
    }
    let file = place.file("opp2p.toml", b"\xff\xfe");
    place.run(&["node", "--config", &file]).refused(&[&file, "UTF-8"]);
    let file = place.file("opp2p.toml", vec![b'#'; 1 << 21]);
    place.run(&["node", "--config", &file]).refused(&[&file, "1 MiB"]);
    let missing = place.name("missing.toml");
    place.run(&["node", "--config", &missing]).refused(&[&missing, "--config"]);
    place
        .run(&["node", "--config", &place.name("")])
        .refused(&["can't read the configuration file"]);
}

#[test]
fn settings_that_contradict_each_other_are_refused_by_name() {
    let place = Place::new();
    let peer = "/ip4/1.2.3.4/tcp/9/p2p/16Uiu2HAm3cuhhRL2msUuLF62KRSfneFDx94RsuouyW25Ho42cFMq";
    let key = "11".repeat(32);
    for (arguments, parts) in [
        (
            &["--p2p.disable", "--p2p.static", peer][..],
            &["both --p2p.static and --p2p.disable are specified"][..],
        ),
        (&["--p2p.disable", "--sync.from", "2d"], &["--sync.from", "--p2p.disable leaves"]),
        (
            &["--p2p.peers.lo", "9", "--p2p.peers.hi", "8"],
            &["--p2p.peers.lo is 9", "--p2p.peers.hi is 8"],
        ),
        (
            &["--p2p.gossip.mesh.lo", "9"],
            &["--p2p.gossip.mesh.lo, ", "9, 8 and 12", "growing order"],
        ),
        (&["--p2p.gossip.mesh.d", "0"], &["--p2p.gossip.mesh.d", "1 to 1000"]),
        (&["--p2p.gossip.mesh.dlazy", "1001"], &["--p2p.gossip.mesh.dlazy", "1 to 1000"]),
        (&["--p2p.security", "noise,none"], &["--p2p.security", "none alone"]),
        (&["--p2p.security", "noise,xtls"], &["--p2p.security", "\"xtls\"", "noise, tls, or none"]),
        (&["--p2p.mux", "spdy"], &["--p2p.mux", "\"spdy\"", "yamux or mplex"]),
        (&["--p2p.mux", ","], &["--p2p.mux", "empty"]),
        (&["--p2p.timeout.dial", "0"], &["--p2p.timeout.dial", "10s"]),
        (&["--p2p.scoring="], &["--p2p.scoring is empty"]),
        (&["--p2p.scoring", "heavy"], &["'heavy'", "unknown p2p scoring level"]),
        (&["--p2p.peerstore.path="], &["--p2p.peerstore.path is empty"]),
        (&["--p2p.priv.raw", "12"], &["--p2p.priv.raw", "64 hex digits"]),
        (
            &["--signer.endpoint", "http://127.0.0.1:1"],
            &["--signer.endpoint", "without --signer.address"],
        ),
        (
            &["--signer.address", "0x0000000000000000000000000000000000000001"],
            &["--signer.address", "without --signer.endpoint"],
        ),
        (
            &["--signer.endpoint", "http://127.0.0.1:1", "--p2p.sequencer.key", &key],
            &["a sequencer key and --signer.endpoint"],
        ),
        (
            &[
                "--signer.endpoint",
                "http://h",
                "--signer.address",
                "0x0000000000000000000000000000000000000001",
                "--signer.header",
                "x",
            ],
            &["--signer.header", "NAME=VALUE"],
        ),
        (&["--p2p.bootnodes", "enr:-x"], &["--p2p.bootnodes", "enr:-x"]),
        (
            &["--p2p.bootnodes", "enode://12@1.2.3.4:5"],
            &["--p2p.bootnodes", "128 hexadecimal digits"],
        ),
        (&["--p2p.netrestrict", "10.0.0.0/8,x"], &["--p2p.netrestrict", "\"x\""]),
        (
            &["--p2p.advertise.ip", "no-such-name.invalid"],
            &["--p2p.advertise.ip", "no-such-name.invalid"],
        ),
        (&["--p2p.advertise.tcp", "80"], &["--p2p.advertise.tcp", "reserved for system"]),
        (&["--p2p.listen.udp", "65536"], &["--p2p.listen.udp", "65536"]),
        (&["--l1", "localhost:8545"], &["--l1", "http://HOST:PORT"]),
        (&["--l1", "ftp://localhost:8545"], &["--l1", "ftp://", "http://", "ws://"]),
        (&["--override.jovian", "5"], &["--override.jovian", "`jovian_time` is 5", "isthmus_time"]),
        (&["--override.jovian", "soon"], &["'soon'", "--override.jovian <UNIX>"]),
        (&["--conductor.rpc", "http://c"], &["--conductor.rpc is refused", "two sequencers"]),
        (&["--p2p.bootnodes-file", "none"], &["--p2p.bootnodes-file", "can't read none"]),
    ] {
        let arguments = [&["--network", "base"], arguments].concat();
        place.run(&[&["node"], &arguments[..]].concat()).refused(parts);
        let Outcome { code, stderr, .. } = place.run(&[&["config"], &arguments[..]].concat());
        assert_eq!(code, Some(2), "{arguments:?}");
        assert!(parts.iter().all(|part| stderr.contains(part)), "{stderr}");
    }
}

#[test]
fn flags_that_op_node_removed_are_accepted_with_a_warning() {
    let place = Place::new();
    let arguments = [
        "--network",
        "base",
        "--p2p.scoring=",
        "--p2p.scoring.topics",
        "none",
        "--p2p.score.bands",
        "-40:0",
    ];
    let outcome = place.run(&[&["config", "--log.level", "warn"], &arguments[..]].concat());
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    let mut node = place.opp2p(&["node", "--p2p.listen.ip", "127.0.0.1", "--p2p.listen.tcp", "0"]);
    node.args(arguments);
    let node = Daemon::start(node, Stdio::null());
    for flag in ["p2p.scoring.topics", "p2p.score.bands"] {
        node.wait_for(0, PATIENCE, |line| line.contains(flag) && line.contains("op-node removed"));
    }
    node.wait_for(0, PATIENCE, |line| line.contains("started"));
    node.end("TERM");
}

#[test]
fn a_fork_time_of_the_operator_overrides_the_file_and_the_table() {
    let place = Place::new();
    let found = settings(
        &place,
        &["--network", "base", "--override.denim", "1793901700"],
        &[("OP_NODE_OVERRIDE_LAGOON", "1900000000"), ("OP_NODE_OVERRIDE_KARST", "1900000000")],
    );
    assert_eq!(one(&found, "override.denim"), (&"1793901700".into(), "flag"));
    assert_eq!(one(&found, "override.lagoon"), (&"1900000000".into(), "environment"));
    assert_eq!(one(&found, "override.jovian"), (&Value::Null, "default"));
    // Every fork has an override.
    for fork in opp2p_core::chain::Fork::ALL {
        assert!(found.get(format!("override.{}", fork.name())).is_some(), "{fork}");
    }
    let told = place.run(&["config", "--network", "base", "--override.denim", "1793901700"]).stderr;
    assert!(told.contains("denim") && told.contains("1793901600"), "{told}");
}

#[test]
fn the_last_of_a_repeated_flag_counts() {
    let place = Place::new();
    let arguments =
        ["--network", "base", "--p2p.peers.lo=3", "--p2p.peers.lo=4", "--p2p.ping", "--p2p.ping=F"];
    let found = settings(&place, &arguments, &[]);
    assert_eq!(one(&found, "p2p.peers.lo"), (&"4".into(), "flag"));
    assert_eq!(one(&found, "p2p.ping"), (&"false".into(), "flag"));
}

#[test]
fn useless_bootnodes_cause_a_warning_and_the_others_are_asked() {
    let place = Place::new();
    // A signed record with only a key.
    let key = enr::CombinedKey::generate_secp256k1();
    let bare = discv5::Enr::builder().build(&key).expect("a record").to_base64();
    let url = "enode://ca2774c3c401325850b2477fd7d0f27911efbf79b1e8b335066516e2bd8c4c9e\
               0ba9696a94b1cb030a88eac582305ff55e905e64fb77fe0edcd70a4e5296d3ec\
               @[2001:db8::1]:30305";
    let file = place.file("nodes.txt", format!("# more\n{url}\n\n"));
    let mut command = place.opp2p(&[
        "config",
        "--network",
        "base",
        "--p2p.bootnodes",
        &bare,
        "--p2p.bootnodes-file",
        &file,
    ]);
    command.env("OP_NODE_P2P_NO_DISCOVERY", "false");
    let outcome = run(command, b"");
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    let warnings: Vec<_> =
        outcome.stderr.lines().filter(|line| line.contains("can't be asked for peers")).collect();
    assert_eq!(warnings.len(), 2, "{outcome:#?}");
    assert!(warnings[0].contains("it has no address") && warnings[0].contains(&bare[..60]));
    assert!(warnings[1].contains("IPv6 alone"), "{outcome:#?}");
}

#[test]
fn databases_of_the_reference_are_left_alone() {
    let place = Place::new();
    place.file("discovery_db/CURRENT", "x");
    place.file("peerstore_db/CURRENT", "x");
    let (discovery, peers) = (place.name("discovery_db"), place.name("peerstore_db"));
    let mut command = place.opp2p(&[
        "node",
        "--network",
        "base",
        "--p2p.listen.ip",
        "127.0.0.1",
        "--p2p.listen.tcp",
        "0",
        "--p2p.discovery.path",
        &discovery,
        "--p2p.peerstore.path",
        &peers,
        "--p2p.disable",
    ]);
    command.env("OP_NODE_P2P_NO_DISCOVERY", "false");
    let node = Daemon::start(command, Stdio::null());
    node.wait_for(0, PATIENCE, |line| line.contains("started"));
    let lines = node.end("TERM");
    for path in [discovery, peers] {
        let told = |line: &&String| line.contains("is left alone") && line.contains(&path);
        assert_eq!(lines.iter().filter(told).count(), 1, "{lines:#?}");
    }
    assert!(place.path("peerstore_db.opp2p").is_file());
    assert!(place.path("peerstore_db/CURRENT").is_file());
}

#[test]
fn an_unused_variable_is_reported() {
    let place = Place::new();
    let mut node = place.opp2p(&["node", "--network", "base", "--p2p.disable"]);
    node.env("OP_NODE_P2P_LISTEN_PORT", "9")
        .env("BASE_NODE_P2P_LISTEN_IP", "127.0.0.1")
        .env("OPP2P_SINGER", "x")
        .env("OP_NODE_P2P_SERVICE_HOST", "10.0.0.1");
    let node = Daemon::start(node, Stdio::null());
    node.wait_for(0, PATIENCE, |line| line.contains("started"));
    let told: Vec<String> =
        node.end("TERM").into_iter().filter(|line| line.contains("environment variable")).collect();
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(
        told[0].contains("OPP2P_SINGER") && told[1].contains("OP_NODE_P2P_LISTEN_PORT"),
        "{told:#?}"
    );
}

#[test]
fn completions_and_manual_pages_cover_every_command() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let outcome = place.run(&["completions", shell]);
        assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
        assert!(outcome.stdout.contains("p2p.gossip.mesh.dlazy"), "{shell}");
    }
    let page = place.run(&["man"]).stdout;
    assert!(page.starts_with(".ie") && page.contains("opp2p\\-node"), "{page}");
    assert_eq!(place.run(&["man", &place.name("man1")]).code, Some(0));
    let node = std::fs::read_to_string(place.path("man1/opp2p-node.1")).unwrap();
    assert!(node.contains("p2p.listen.tcp") && node.contains("OP_NODE_P2P_LISTEN_TCP_PORT"));
    let file = place.file("taken", "");
    place.run(&["man", &file]).refused(&["taken", "another folder"]);
}
