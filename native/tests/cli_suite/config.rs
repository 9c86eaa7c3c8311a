//! Where settings come from, and `opp2p config`, which tells.

use crate::support::{Daemon, Outcome, PATIENCE, Place, run};
use serde_json::Value;
use std::process::Stdio;

/// What `opp2p config` with these arguments, in this environment, says of each setting.
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
fn a_flag_counts_more_than_the_environment_and_that_more_than_the_file() {
    let place = Place::new();
    let file =
        place.file("opp2p.toml", "network = 'base'\n[p2p]\nlisten.tcp = 9301\npeers.lo = 3\nping = false\n");
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
    // The environment names the file as well, and a variable that is empty is one that is not set.
    let found = settings(&place, &[], &[("OPP2P_CONFIG", &file), ("OP_NODE_P2P_LISTEN_TCP_PORT", "")]);
    assert_eq!(one(&found, "p2p.listen.tcp"), (&"9301".into(), "file"));
}

#[test]
fn what_is_printed_is_a_file_that_says_the_same() {
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
    let (before, after) = (settings(&place, &arguments, &[]), settings(&place, &["--config", &file], &[]));
    for (name, setting) in before.as_object().unwrap() {
        assert_eq!(setting["value"], after[name]["value"], "{name}");
    }
}

#[test]
fn no_secret_is_shown() {
    let place = Place::new();
    let key = "11".repeat(32);
    let file = place
        .file("opp2p.toml", format!("p2p.priv.raw = '{key}'\nl1 = 'http://u:s3cr3t@127.0.0.1:1/s3cr3t'\n"));
    for format in [&[][..], &["--json"]] {
        let mut command =
            place.opp2p(&[&["config", "--network", "base", "--config", &file], format].concat());
        command.env("OP_NODE_SIGNER_HEADER", "X-Key=s3cr3t");
        let outcome = run(command, b"");
        assert!(outcome.stdout.contains("p2p.priv.raw"), "{outcome:#?}");
        for secret in [key.as_str(), "s3cr3t"] {
            assert!(!outcome.stdout.contains(secret) && !outcome.stderr.contains(secret), "{outcome:#?}");
        }
    }
}

#[test]
fn a_file_that_others_can_read_and_that_holds_a_secret_is_warned_of() {
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
fn a_file_with_anything_that_is_no_setting_is_refused_by_name() {
    let place = Place::new();
    for (text, parts) in [
        ("p2p.listen.tcpp = 9", &["p2p.listen.tcpp", "no setting", "p2p.listen.tcp"][..]),
        ("[p2p]\nwhatever = 1", &["p2p.whatever"]),
        ("config = 'other.toml'", &["config", "no setting"]),
        ("help = true", &["help", "no setting"]),
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
    place.run(&["node", "--config", &place.name("")]).refused(&["can't read the configuration file"]);
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
        (&["--p2p.peers.lo", "9", "--p2p.peers.hi", "8"], &["--p2p.peers.lo is 9", "--p2p.peers.hi is 8"]),
        (&["--p2p.gossip.mesh.lo", "9"], &["--p2p.gossip.mesh.lo is 9", "growing order"]),
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
        (&["--signer.endpoint", "http://127.0.0.1:1"], &["--signer.endpoint", "without --signer.address"]),
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
        (&["--p2p.bootnodes", "enode://12@1.2.3.4:5"], &["--p2p.bootnodes", "128 hexadecimal digits"]),
        (&["--p2p.netrestrict", "10.0.0.0/8,x"], &["--p2p.netrestrict", "\"x\""]),
        (&["--p2p.advertise.ip", "no-such-name.invalid"], &["--p2p.advertise.ip", "no-such-name.invalid"]),
        (&["--p2p.advertise.tcp", "80"], &["--p2p.advertise.tcp", "reserved for system"]),
        (&["--p2p.listen.udp", "65536"], &["--p2p.listen.udp", "65536"]),
        (&["--l1", "localhost:8545"], &["--l1", "http://HOST:PORT"]),
        (&["--l1", "ws://localhost:8545"], &["--l1", "ws://", "http://"]),
        (&["--rollup.config", "x.json"], &["--network and --rollup.config"]),
    ] {
        let arguments = [&["--network", "base"], arguments].concat();
        place.run(&[&["node"], &arguments[..]].concat()).refused(parts);
        let Outcome { code, stderr, .. } = place.run(&[&["config"], &arguments[..]].concat());
        assert_eq!(code, Some(2), "{arguments:?}");
        assert!(parts.iter().all(|part| stderr.contains(part)), "{stderr}");
    }
}

#[test]
fn what_the_reference_gave_up_is_taken_with_a_word() {
    let place = Place::new();
    let arguments =
        ["--network", "base", "--p2p.scoring=", "--p2p.scoring.topics", "none", "--p2p.score.bands", "-40:0"];
    let outcome = place.run(&[&["config", "--log.level", "warn"], &arguments[..]].concat());
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    let mut node = place.opp2p(&["node", "--p2p.listen.ip", "127.0.0.1", "--p2p.listen.tcp", "0"]);
    node.args(arguments);
    let node = Daemon::start(node, Stdio::null());
    for flag in ["p2p.scoring.topics", "p2p.score.bands"] {
        node.wait_for(0, PATIENCE, |line| line.contains(flag) && line.contains("given up"));
    }
    node.wait_for(0, PATIENCE, |line| line.contains("started"));
    node.end("TERM");
}

#[test]
fn a_variable_that_nobody_reads_is_told_of() {
    let place = Place::new();
    let mut node = place.opp2p(&["node", "--network", "base", "--p2p.disable"]);
    node.env("OP_NODE_P2P_LISTEN_PORT", "9")
        .env("OPP2P_SINGER", "x")
        .env("OP_NODE_P2P_SERVICE_HOST", "10.0.0.1");
    let node = Daemon::start(node, Stdio::null());
    node.wait_for(0, PATIENCE, |line| line.contains("started"));
    let told: Vec<String> =
        node.end("TERM").into_iter().filter(|line| line.contains("environment variable")).collect();
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(told[0].contains("OPP2P_SINGER") && told[1].contains("OP_NODE_P2P_LISTEN_PORT"), "{told:#?}");
}

#[test]
fn shells_and_man_are_told_of_every_command() {
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
