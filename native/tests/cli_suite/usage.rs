//! `opp2p`'s help, and its answers to command lines that it can't parse.

use crate::support::Place;

/// The commands and every flag of each, as promised by the README and the issue.
const FLAGS: [(&[&str], &[&str]); 15] = [
    (
        &[],
        &[
            "devnet",
            "node",
            "status",
            "peers",
            "watch",
            "inspect",
            "config",
            "chains",
            "store",
            "key",
            "completions",
            "man",
            "--help",
            "--version",
        ],
    ),
    (
        &["devnet"],
        &[
            "--followers",
            "--blocks",
            "--block-time",
            "--fork",
            "--kill-follower-for",
            "--scenario",
            "--print-config",
            "--engines",
            "--json",
            "--p2p.listen.ws",
            "--web.listen",
            "--web.root",
            "--no-web",
            "--data-dir",
            "--help",
        ],
    ),
    (&["node"], NODE),
    (
        &["inspect"],
        &[
            "--network",
            "--rollup.config",
            "--override.canyon",
            "--override.delta",
            "--override.ecotone",
            "--override.fjord",
            "--override.granite",
            "--override.holocene",
            "--override.isthmus",
            "--override.jovian",
            "--override.karst",
            "--override.lagoon",
            "--override.azul",
            "--override.beryl",
            "--override.cobalt",
            "--override.denim",
            "--topic",
            "--now",
            "--signer",
            "--hex",
            "--json",
            "<FILE>",
            "--help",
        ],
    ),
    (&["chains"], &["[NAME]", "--json", "--help"]),
    (&["store", "info"], &["--json", "--data-dir", "--network", "--rollup.config", "--help"]),
    (&["store", "verify"], &["--json", "--data-dir", "--network", "--rollup.config", "--help"]),
    (
        &["store", "export"],
        &["<FILE>", "--from", "--to", "--data-dir", "--network", "--rollup.config", "--help"],
    ),
    (
        &["store", "import"],
        &["<FILE>", "--hash", "--data-dir", "--network", "--rollup.config", "--help"],
    ),
    (
        &["store", "prune"],
        &[
            "--store.blocks",
            "--store.gigabytes",
            "--store.hours",
            "--data-dir",
            "--network",
            "--rollup.config",
            "--help",
        ],
    ),
    (&["key", "generate"], &["[FILE]", "--help"]),
    (&["key", "show"], &["[FILE]", "--json", "--help"]),
    (&["key", "genkey"], &["--help"]),
    (&["key", "priv2id"], &["--help"]),
    (&["key", "pub2id"], &["--help"]),
];

/// The flags of a node.
const NODE: &[&str] = &[
    "--override.canyon",
    "--override.delta",
    "--override.ecotone",
    "--override.fjord",
    "--override.granite",
    "--override.holocene",
    "--override.isthmus",
    "--override.jovian",
    "--override.karst",
    "--override.lagoon",
    "--override.azul",
    "--override.beryl",
    "--override.cobalt",
    "--override.denim",
    "--l2.jwt-secret.raw",
    "--p2p.bootnodes-file",
    "--sequencer.stopped",
    "--signer.tls.enabled",
    "--syncmode.req-resp",
    "--p2p.netrestrict",
    "--p2p.discovery.path",
    "--p2p.bootnodes",
    "--p2p.advertise.udp",
    "--p2p.advertise.tcp",
    "--p2p.advertise.ip",
    "--p2p.listen.udp",
    "--p2p.no-discovery",
    "--metrics.addr",
    "--metrics.enabled",
    "--metrics.port",
    "--config",
    "--data-dir",
    "--feed",
    "--feed.after",
    "--feed.from",
    "--feed.nats",
    "--feed.nats.creds",
    "--feed.nats.stream",
    "--feed.nats.subject",
    "--l1",
    "--l2",
    "--l2.jwt-secret",
    "--l2.labels",
    "--l2.proofs",
    "--l1.runtime-config-reload-interval",
    "--log.color",
    "--log.format",
    "--log.level",
    "--network",
    "--p2p.ban.duration",
    "--p2p.ban.peers",
    "--p2p.ban.threshold",
    "--p2p.disable",
    "--p2p.gossip.mesh.d",
    "--p2p.gossip.mesh.dhi",
    "--p2p.gossip.mesh.dlazy",
    "--p2p.gossip.mesh.floodpublish",
    "--p2p.gossip.mesh.lo",
    "--p2p.gossip.timestamp.threshold",
    "--p2p.listen.ip",
    "--p2p.listen.tcp",
    "--p2p.listen.ws",
    "--p2p.mux",
    "--p2p.nat",
    "--p2p.peers.grace",
    "--p2p.peers.hi",
    "--p2p.peers.inbound",
    "--p2p.peers.lo",
    "--p2p.peers.pending",
    "--p2p.peers.per-ip",
    "--p2p.peerstore.path",
    "--p2p.ping",
    "--p2p.priv.path",
    "--p2p.priv.raw",
    "--p2p.scoring",
    "--p2p.security",
    "--p2p.sequencer.key",
    "--p2p.sequencer.key.path",
    "--p2p.static",
    "--p2p.sync.onlyreqtostatic",
    "--p2p.sync.req-resp",
    "--p2p.timeout.accept",
    "--p2p.timeout.dial",
    "--p2p.timeout.negotiation",
    "--p2p.useragent",
    "--p2p.ws.advertise",
    "--p2p.ws.peers",
    "--p2p.ws.suffices",
    "--p2p.ws.tls.acme",
    "--p2p.ws.tls.acme.ca",
    "--p2p.ws.tls.acme.contact",
    "--p2p.ws.tls.acme.directory",
    "--p2p.ws.tls.auto",
    "--p2p.ws.tls.auto.broker",
    "--p2p.ws.tls.auto.domain",
    "--p2p.ws.tls.cert",
    "--p2p.ws.tls.key",
    "--publish.stdin",
    "--rollup.config",
    "--rpc.addr",
    "--p2p.blocked",
    "--rpc.cors",
    "--rpc.enable-admin",
    "--rpc.enabled",
    "--rpc.hosts",
    "--rpc.max-batch",
    "--rpc.max-connections",
    "--rpc.max-connections-per-ip",
    "--rpc.max-feeds",
    "--rpc.max-request-bytes",
    "--rpc.max-subscriptions",
    "--rpc.port",
    "--rpc.token.path",
    "--sequencer.enabled",
    "--signer",
    "--signer.address",
    "--signer.endpoint",
    "--signer.header",
    "--signer.tls.ca",
    "--signer.tls.cert",
    "--signer.tls.key",
    "--store.blocks",
    "--store.gigabytes",
    "--store.hours",
    "--sync.from",
    "--sync.max-age",
    "--sync.patience",
    "--sync.rpc",
    "--sync.rpc.rate",
    "--sync.serve.bytes",
    "--sync.serve.peer-bytes",
    "--sync.serve.reads",
    "--verifier.l1-confs",
    "--web.listen",
    "--web.root",
    "--help",
];

/// Returns the words of a text; for `--flag[=<BOOL>]` only the flag.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let each = text.split(|c: char| c.is_whitespace() || c == ',');
    each.map(|word| word.split_once("[=").map_or(word, |(flag, _)| flag))
}

#[test]
fn help_lists_every_flag_and_writes_nothing_to_standard_error() {
    let place = Place::new();
    for (command, flags) in FLAGS {
        for help in ["--help", "-h"] {
            let outcome = place.run(&[command, &[help]].concat());
            assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{command:?}");
            for flag in flags {
                let mut words = words(&outcome.stdout);
                assert!(
                    words.any(|word| word == *flag),
                    "{flag} is not in the help of {command:?}"
                );
            }
            // A flag that is not listed above would not be documented.
            let lines = outcome.stdout.lines().map(str::trim).filter(|line| line.starts_with('-'));
            let shown = lines.flat_map(words).filter(|word| word.starts_with("--"));
            let unlisted: Vec<_> = shown.filter(|flag| !flags.contains(flag)).collect();
            assert!(unlisted.is_empty(), "{command:?} has {unlisted:?}");
        }
    }
}

#[test]
fn the_config_command_accepts_all_flags_of_the_node() {
    let place = Place::new();
    let node = place.run(&["node", "--help"]).stdout;
    let config = place.run(&["config", "--help"]).stdout;
    let flags = |help: &str| -> Vec<String> {
        let lines = help.lines().map(str::trim).filter(|line| line.starts_with('-'));
        lines.flat_map(words).filter(|word| word.starts_with("--")).map(str::to_owned).collect()
    };
    let (node, mut config) = (flags(&node), flags(&config));
    config.retain(|flag| flag != "--json");
    assert_eq!(node, config);
}

/// Variables of the reference that this program reads too, and its own.
const VARIABLES: &[&str] = &[
    "OP_NODE_P2P_LISTEN_IP",
    "OP_NODE_P2P_NETRESTRICT",
    "OP_NODE_P2P_DISCOVERY_PATH",
    "OP_NODE_P2P_BOOTNODES",
    "OP_NODE_P2P_ADVERTISE_UDP",
    "OP_NODE_P2P_ADVERTISE_TCP",
    "OP_NODE_P2P_ADVERTISE_IP",
    "OP_NODE_P2P_LISTEN_UDP_PORT",
    "OP_NODE_P2P_NO_DISCOVERY",
    "OP_NODE_P2P_LISTEN_TCP_PORT",
    "OP_NODE_P2P_LISTEN_WS_PORT",
    "OP_NODE_P2P_WS_TLS_CERT",
    "OP_NODE_P2P_WS_TLS_KEY",
    "OP_NODE_P2P_WS_ADVERTISE",
    "OP_NODE_P2P_WS_PEERS",
    "OP_NODE_P2P_PRIV_PATH",
    "OP_NODE_P2P_STATIC",
    "OP_NODE_P2P_AGENT",
    "OP_NODE_P2P_SEQUENCER_KEY",
    "OP_NODE_P2P_GOSSIP_TIMESTAMP_THRESHOLD",
    "OP_NODE_P2P_SYNC_REQ_RESP",
    "OP_NODE_P2P_PEER_SCORING",
    "OP_NODE_P2P_PEER_BANNING",
    "OP_NODE_P2P_PEER_BANNING_THRESHOLD",
    "OP_NODE_P2P_PEER_BANNING_DURATION",
    "OP_NODE_P2P_PEERS_LO",
    "OP_NODE_P2P_PEERS_HI",
    "OP_NODE_P2P_PEERS_GRACE",
    "OP_NODE_P2P_NAT",
    "OP_NODE_P2P_PING",
    "OP_NODE_P2P_TIMEOUT_DIAL",
    "OP_NODE_P2P_SYNC_ONLYREQTOSTATIC",
    "OP_NODE_P2P_DISABLE",
    "OP_NODE_P2P_PRIV_RAW",
    "OP_NODE_P2P_SECURITY",
    "OP_NODE_P2P_MUX",
    "OP_NODE_P2P_TIMEOUT_ACCEPT",
    "OP_NODE_P2P_TIMEOUT_NEGOTIATION",
    "OP_NODE_P2P_GOSSIP_MESH_D",
    "OP_NODE_P2P_GOSSIP_MESH_DLO",
    "OP_NODE_P2P_GOSSIP_MESH_DHI",
    "OP_NODE_P2P_GOSSIP_MESH_DLAZY",
    "OP_NODE_P2P_GOSSIP_FLOOD_PUBLISH",
    "OP_NODE_P2P_PEERSTORE_PATH",
    "OP_NODE_SIGNER_ENDPOINT",
    "OP_NODE_SIGNER_ADDRESS",
    "OP_NODE_SIGNER_HEADER",
    "OP_NODE_SIGNER_TLS_CA",
    "OP_NODE_SIGNER_TLS_CERT",
    "OP_NODE_SIGNER_TLS_KEY",
    "OP_NODE_L1_ETH_RPC",
    "OP_NODE_VERIFIER_L1_CONFS",
    "OP_NODE_L1_RUNTIME_CONFIG_RELOAD_INTERVAL",
    "OP_NODE_NETWORK",
    "OP_NODE_ROLLUP_CONFIG",
    "OP_NODE_RPC_ADDR",
    "OP_NODE_RPC_PORT",
    "OP_NODE_RPC_ENABLE_ADMIN",
    "OPP2P_RPC_ENABLED",
    "OPP2P_RPC_TOKEN_PATH",
    "OPP2P_RPC_HOSTS",
    "OPP2P_RPC_CORS",
    "OPP2P_RPC_MAX_CONNECTIONS",
    "OPP2P_RPC_MAX_CONNECTIONS_PER_IP",
    "OPP2P_RPC_MAX_SUBSCRIPTIONS",
    "OPP2P_RPC_MAX_FEEDS",
    "OPP2P_RPC_MAX_BATCH",
    "OPP2P_RPC_MAX_REQUEST_BYTES",
    "OP_NODE_WEB_LISTEN",
    "OP_NODE_WEB_ROOT",
    "OP_NODE_LOG_LEVEL",
    "OP_NODE_LOG_FORMAT",
    "OP_NODE_LOG_COLOR",
    "OP_NODE_METRICS_ENABLED",
    "OP_NODE_METRICS_ADDR",
    "OP_NODE_METRICS_PORT",
];

#[test]
fn the_help_names_every_variable_of_the_reference() {
    let help = Place::new().run(&["node", "--help"]).stdout;
    for name in VARIABLES {
        assert!(help.contains(name), "{name}");
    }
}

#[test]
fn no_secret_of_the_environment_is_shown_in_the_help() {
    let place = Place::new();
    let mut command = place.opp2p(&["node", "--help"]);
    let secrets = ["P2P_SEQUENCER_KEY", "P2P_PRIV_RAW", "L1_ETH_RPC", "SIGNER_HEADER"];
    for secret in secrets {
        command.env(format!("OP_NODE_{secret}"), "5ec7e7");
    }
    let outcome = crate::support::run(command, b"");
    assert_eq!(outcome.code, Some(0));
    assert!(!outcome.stdout.contains("5ec7e7"));
}

#[test]
fn the_version_is_one_line() {
    let outcome = Place::new().run(&["--version"]);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
    let start = concat!("opp2p ", env!("CARGO_PKG_VERSION"), " (");
    assert!(outcome.stdout.starts_with(start), "{}", outcome.stdout);
    assert!(outcome.stdout.ends_with(")\n") && outcome.stdout.lines().count() == 1);
}

#[test]
fn without_a_command_the_help_is_shown_as_an_error() {
    let place = Place::new();
    for command in [&[][..], &["key"]] {
        let outcome = place.run::<&str>(command);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(2), ""));
        assert!(outcome.stderr.contains("Usage: opp2p"), "{outcome:?}");
    }
}

#[test]
fn a_command_line_error_is_reported_in_one_sentence() {
    let place = Place::new();
    let run = |arguments: &[&str]| place.run(arguments);
    run(&["nod"]).refused(&["'nod'", "'node'", "--help"]);
    run(&["node", "--datadir", "x"]).refused(&["'--datadir'", "'--data-dir'", "--help"]);
    run(&["node", "--network"]).refused(&["a value is required", "--network <NAME>"]);
    run(&["node", "--p2p.listen.tcp", "http"]).refused(&[
        "--p2p.listen.tcp",
        "'http'",
        "1024 to 65535",
    ]);
    run(&["node", "--p2p.listen.tcp", "65536"]).refused(&["65536", "1024 to 65535"]);
    run(&["node", "--p2p.listen.ws", "http"]).refused(&[
        "--p2p.listen.ws",
        "'http'",
        "up to 65535",
    ]);
    run(&["node", "--p2p.ws.peers", "0"]).refused(&["--p2p.ws.peers", "from 1 on"]);
    run(&["node", "--p2p.listen.ip", "localhost"]).refused(&["--p2p.listen.ip", "localhost"]);
    run(&["node", "--store.blocks", "many"]).refused(&["--store.blocks", "many"]);
    run(&["node", "--log.format", "xml"]).refused(&[
        "--log.format",
        "xml",
        "text, terminal, logfmt, json or json-pretty",
    ]);
    run(&["node", "--log.color=maybe"]).refused(&["--log.color", "maybe", "true or false"]);
    run(&["node", "--metrics.enabled=maybe"]).refused(&["--metrics.enabled", "true or false"]);
    run(&["node", "--metrics.addr", "a b"]).refused(&["--metrics.addr", "'a b'", "127.0.0.1"]);
    run(&["node", "--metrics.port", "65536"]).refused(&["--metrics.port", "65536", "up to 65535"]);
    run(&["node", "--log.level", "verbose"]).refused(&["--log.level", "verbose", "debug"]);
    run(&["node", "--p2p.gossip.timestamp.threshold", "soon"]).refused(&["soon", "1m30s"]);
    run(&["key", "show", "--hex"]).refused(&["'--hex'"]);
}

/// A standard output that can't be written causes no panic.
#[cfg(target_os = "linux")]
#[test]
fn unwritable_standard_output_is_an_error_and_a_closed_pipe_is_not() {
    let place = Place::new();
    let binary = env!("CARGO_BIN_EXE_opp2p");
    let shell = |script: &str| {
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", script, binary]).current_dir(place.path(""));
        crate::support::run(shell, b"")
    };
    shell("exec \"$0\" key generate > /dev/full").refused(&["standard output", "space"]);
    let closed = shell("{ sleep 0.2; \"$0\" key generate; echo $? >&2; } | true");
    assert_eq!(closed.stderr, "0\n");
}
