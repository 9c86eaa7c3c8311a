//! Two `opp2p node` processes, as operators run them: a sequencer and its follower.

use crate::chain::{Blocks, GENESIS_HASH, Made, SEQUENCER_KEY, rollup_json, signer};
use crate::support::{Daemon, PATIENCE, Place, free_port};
use opp2p_core::chain::Fork;
use opp2p_store::{Store, StoreConfig};
use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Time limit for a block to get from one process to the other.
const ARRIVAL: Duration = Duration::from_secs(10);

/// Starts a node of the test chain in the directory of this name.
fn node(place: &Place, name: &str, more: &[&str]) -> Daemon {
    let rollup = place.file("rollup.json", rollup_json(100, Some(Fork::Jovian)).to_string());
    let (key, data) = (place.name_in(name, "p2p.key"), place.name_in(name, "data"));
    let signer = signer().to_string();
    let common = [
        "node",
        "--rollup.config",
        &rollup,
        "--p2p.listen.ip",
        "127.0.0.1",
        "--p2p.priv.path",
        &key,
        "--data-dir",
        &data,
        "--signer",
        &signer,
        "--log.level",
        "debug",
    ];
    Daemon::start(place.opp2p(&[&common, more].concat()), Stdio::null())
}

fn sequencer(place: &Place, port: u16) -> Daemon {
    let key = ["--publish.stdin", "--p2p.sequencer.key", SEQUENCER_KEY];
    node(place, "sequencer", &[&key[..], &["--p2p.listen.tcp", &port.to_string()]].concat())
}

fn follower(place: &Place, sequencer: &str) -> Daemon {
    node(place, "follower", &["--p2p.listen.tcp", "0", "--p2p.static", sequencer])
}

/// Returns the value of a field of a log line.
fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let (_, value) =
        line.split_once(&format!(" {name}=")).unwrap_or_else(|| panic!("no {name}: {line}"));
    value.split(' ').next().unwrap()
}

/// Returns the line that reports a node's start.
#[track_caller]
fn started(node: &Daemon) -> String {
    node.wait_for(0, PATIENCE, |line| line.contains(" started ")).0
}

fn publish(sequencer: &mut Daemon, blocks: &[Made]) {
    let stdin = sequencer.stdin.as_mut().unwrap();
    for block in blocks {
        writeln!(stdin, "{}", block.line).unwrap();
    }
    stdin.flush().unwrap();
}

/// Waits until the follower reports each block as received and as stored.
#[track_caller]
fn arrived(follower: &Daemon, blocks: &[Made]) {
    let mut from = 0;
    for block in blocks {
        let hash = block.hash.to_string();
        // In order: each line is searched after the previous one.
        let (line, next) = follower
            .wait_for(from, ARRIVAL, |line| line.contains(&hash) && line.contains(" block "));
        assert_eq!(field(&line, "number"), block.number.to_string());
        assert_eq!(field(&line, "txs"), "1");
        from = next;
    }
    for block in blocks {
        let number = format!(" number={}", block.number);
        follower.wait_for(0, ARRIVAL, |line| line.contains(" stored") && line.ends_with(&number));
    }
}

/// Returns the numbers of the blocks that the node reported as stored.
fn stored(lines: &[String]) -> Vec<u64> {
    let lines = lines.iter().filter(|line| line.contains(" stored "));
    lines.map(|line| field(line, "number").parse().unwrap()).collect()
}

#[test]
fn blocks_flow_and_a_restart_continues_at_the_stored_head() {
    let place = Place::new();
    let mut blocks = Blocks::new();
    let mut first = sequencer(&place, 0);
    let line = started(&first);
    assert_eq!(field(&line, "head"), "none");
    assert_eq!(field(&line, "chain_id"), "100");
    let address = field(&line, "address").to_string();

    let second = follower(&place, &address);
    assert_eq!(field(&started(&second), "head"), "none");
    // The first block alone: a follower without a head begins with the first block that it has
    // judged.
    let one = [blocks.next(100)];
    publish(&mut first, &one);
    arrived(&second, &one);
    // Small blocks, and lines far larger than any pipe's buffer, while other lines are logged.
    let made = [300_000, 5, 1_500_000, 20_000].map(|bytes| blocks.next(bytes));
    publish(&mut first, &made);
    arrived(&second, &made);
    for block in &made {
        let hash = block.hash.to_string();
        first.wait_for(0, ARRIVAL, |line| line.contains(" published ") && line.contains(&hash));
    }
    // Invalid input is reported and does no harm.
    writeln!(first.stdin.as_mut().unwrap(), "\nhello\n0x00").unwrap();
    let (_, next) =
        first.wait_for(0, ARRIVAL, |line| line.contains("not a block") && line.contains("bytes=5"));
    first.wait_for(next, ARRIVAL, |line| line.contains("not a block") && line.contains("bytes=4"));

    second.end("INT");
    let second = follower(&place, &address);
    assert_eq!(field(&started(&second), "head"), "5");
    let made = [10, 20].map(|bytes| blocks.next(bytes));
    publish(&mut first, &made);
    arrived(&second, &made);
    let said = second.end("TERM");
    let handed_on: Vec<&str> = said
        .iter()
        .filter(|line| line.contains(" block "))
        .map(|line| field(line, "number"))
        .collect();
    assert_eq!(handed_on, ["6", "7"], "{said:#?}");

    // With its standard input still open. The sequencer, too, continues where it stopped.
    first.end("TERM");
    let first = sequencer(&place, 0);
    assert_eq!(field(&started(&first), "head"), "7");
    first.end("INT");
}

#[test]
fn a_killed_follower_loses_no_block_that_it_reported_stored() {
    let place = Place::new();
    let mut blocks = Blocks::new();
    let mut first = sequencer(&place, 0);
    let address = field(&started(&first), "address").to_string();
    let second = follower(&place, &address);
    started(&second);
    let one = [blocks.next(10)];
    publish(&mut first, &one);
    arrived(&second, &one);
    let made: Vec<Made> = (0..60).map(|_| blocks.next(30_000)).collect();
    let hashes: Vec<_> = one.iter().chain(&made).map(|block| block.hash).collect();
    // The pipe holds few of them: the follower is killed while more are on their way.
    let mut stdin = first.stdin.take().unwrap();
    let feeding = std::thread::spawn(move || {
        // Ends with the sequencer.
        let _ = made.iter().try_for_each(|block| writeln!(stdin, "{}", block.line));
    });
    second.wait_for(0, PATIENCE, |line| line.contains(" stored ") && line.ends_with(" number=20"));
    let known = stored(&second.lines());
    second.kill();

    let path = place.path("follower/data/100/blocks.redb");
    let config = StoreConfig {
        path,
        chain_id: 100,
        genesis_hash: GENESIS_HASH,
        max_blocks: 1000,
        max_bytes: u64::MAX,
        max_age: Duration::from_secs(3600),
    };
    let store = Store::open(config).unwrap();
    assert_eq!(known, (1..=known.len() as u64).collect::<Vec<_>>());
    assert!(known.len() >= 20);
    for number in known {
        let block = store.canonical_by_number(number).unwrap().unwrap();
        assert_eq!(Some(&block.hash), hashes.get(number as usize - 1));
    }
    let head = store.head().unwrap().unwrap().number;
    drop(store);

    // It continues from there, and the sequencer with it.
    let second = follower(&place, &address);
    assert_eq!(field(&started(&second), "head"), head.to_string());
    second.wait_for(0, ARRIVAL, |line| line.contains(" connected "));
    second.end("TERM");
    first.kill();
    feeding.join().unwrap();
}

#[test]
fn a_returning_static_peer_is_found_again() {
    let place = Place::new();
    let mut blocks = Blocks::new();
    let port = free_port();
    // The sequencer's key is made here, so that its address is known before it runs.
    let made = place.run(&["key", "generate", &place.name_in("sequencer", "p2p.key")]);
    let peer = made.stdout.lines().next().unwrap().split_whitespace().last().unwrap().to_string();
    let address = format!("/ip4/127.0.0.1/tcp/{port}/p2p/{peer}");

    let start = Instant::now();
    let second = follower(&place, &address);
    // The first attempt fails, which is logged in one line.
    let (line, _) = second.wait_for(0, PATIENCE, |line| line.contains("could not connect"));
    assert!(
        line.contains(&format!(" peer={peer} error=\"{address}: Connection refused")),
        "{line}"
    );
    let mut first = sequencer(&place, port);
    assert_eq!(field(&started(&first), "address"), address);
    let (_, connected) =
        second.wait_for(0, Duration::from_secs(15), |line| line.contains(" connected "));
    // The first wait is five seconds, less a jitter of up to a quarter.
    assert!(start.elapsed() >= Duration::from_millis(3700), "{:?}", start.elapsed());
    let before = [blocks.next(10)];
    publish(&mut first, &before);
    arrived(&second, &before);

    first.end("TERM");
    let (_, gone) = second.wait_for(connected, ARRIVAL, |line| line.contains("disconnected"));
    let mut first = sequencer(&place, port);
    second.wait_for(gone, Duration::from_secs(15), |line| line.contains(" connected "));
    let after = [blocks.next(10)];
    publish(&mut first, &after);
    arrived(&second, &after);
    second.end("TERM");
    first.end("TERM");
}

#[test]
fn the_browser_address_is_logged_at_the_start_and_accepts_browsers() {
    let place = Place::new();
    let key = ["--publish.stdin", "--p2p.sequencer.key", SEQUENCER_KEY];
    let door = ["--p2p.listen.tcp", "0", "--p2p.listen.ws", "0"];
    let mut first = node(&place, "sequencer", &[&key[..], &door[..]].concat());
    let (line, _) = first.wait_for(0, PATIENCE, |line| line.contains("browsers can connect"));
    let address = field(&line, "address").to_owned();
    assert!(
        address.starts_with("/ip4/127.0.0.1/tcp/") && address.contains("/ws/p2p/"),
        "{address}"
    );
    let second = follower(&place, &address);
    second.wait_for(0, PATIENCE, |line| line.contains(" connected "));
    let block = [Blocks::new().next(10)];
    publish(&mut first, &block);
    arrived(&second, &block);
    second.end("TERM");
    first.end("TERM");

    let advertised = "/dns4/gw.example/tcp/443/wss";
    let more = ["--p2p.ws.advertise", advertised, "--p2p.ws.peers", "3"];
    let first = node(&place, "sequencer", &[&door[..], &more[..]].concat());
    let (line, _) = first.wait_for(0, PATIENCE, |line| line.contains("browsers can connect"));
    let peer = address.rsplit('/').next().unwrap();
    assert_eq!(field(&line, "address"), format!("{advertised}/p2p/{peer}"));
    first.end("TERM");
}

#[test]
fn environment_variables_replace_flags_and_flags_take_precedence() {
    let place = Place::new();
    let rollup = place.file("rollup.json", rollup_json(100, Some(Fork::Jovian)).to_string());
    let (port, unused) = (free_port(), free_port());
    let mut command = place.opp2p(&["node", "--p2p.listen.tcp", &port.to_string()]);
    command
        .env("OP_NODE_ROLLUP_CONFIG", rollup)
        .env("OP_NODE_P2P_LISTEN_IP", "127.0.0.1")
        .env("OP_NODE_P2P_LISTEN_TCP_PORT", unused.to_string())
        .env("OP_NODE_P2P_PRIV_PATH", place.name("environment.key"))
        .env("OP_NODE_P2P_STATIC", "")
        .env("OP_NODE_P2P_SEQUENCER_KEY", SEQUENCER_KEY)
        .env("OP_NODE_P2P_GOSSIP_TIMESTAMP_THRESHOLD", "1m30s")
        .env("OP_NODE_NETWORK", "")
        .env("OPP2P_SIGNER", signer().to_string())
        .env("OPP2P_DATA_DIR", place.name("environment"));
    let node = Daemon::start(command, Stdio::null());
    let line = started(&node);
    assert!(
        field(&line, "address").starts_with(&format!("/ip4/127.0.0.1/tcp/{port}/p2p/")),
        "{line}"
    );
    // A signal to a process and then to its group counts once.
    node.signal("INT");
    let said = node.end("TERM");
    assert!(!said.iter().any(|line| line.contains(" WARN ")), "{said:#?}");
    assert!(place.path("environment.key").is_file());
    assert!(place.path("environment/100/blocks.redb").is_file());

    let mut command = place.opp2p(&["node"]);
    command.env("OP_NODE_NETWORK", "op-mainnet").env("OP_NODE_P2P_LISTEN_TCP_PORT", "80");
    crate::support::run(command, b"").refused(&["--p2p.listen.tcp", "80", "reserved"]);
}

/// A log without a reader is not a reason to stop.
#[cfg(unix)]
#[test]
fn a_node_survives_the_end_of_its_log_reader() {
    let place = Place::new();
    let rollup = place.file("rollup.json", rollup_json(100, Some(Fork::Jovian)).to_string());
    let node =
        "\"$0\" node --rollup.config \"$1\" --p2p.listen.ip 127.0.0.1 --p2p.listen.tcp 0 2>&1";
    let script = format!(
        "exec 3>&1; {{ {node} & node=$!; sleep 1; kill -TERM $node; wait $node; echo $? >&3; }} | \
         head -1"
    );
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &script, env!("CARGO_BIN_EXE_opp2p"), &rollup]).current_dir(place.path(""));
    shell.env("OP_NODE_RPC_PORT", "0");
    let outcome = crate::support::run(shell, b"");
    assert_eq!(outcome.stdout.lines().last(), Some("0"), "{outcome:?}");
}
