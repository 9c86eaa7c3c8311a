//! Troubles, provoked on real nodes, and everything that operators look at: log, `/healthz`,
//! `/readyz`, metrics and `opp2p status`.

use crate::chain::{Blocks, Made, SEQUENCER_KEY, rollup_json, signer};
use crate::support::{Daemon, Place, free_port};
use opp2p_core::chain::Fork;
use opp2p_core::sequencer::LocalSigner;
use opp2p_core::trouble::TroubleKind;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Time limit of any wait: the longest trouble takes a minute to show.
pub(super) const PATIENCE: Duration = Duration::from_secs(150);
/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// Key of another sequencer.
const OTHER_KEY: &str = "0000000000000000000000000000000000000000000000000000000000000008";

/// A running node, and where it is looked at.
pub(super) struct Node {
    pub(super) daemon: Daemon,
    rpc: String,
    metrics: String,
    pub(super) address: String,
}

/// Returns the arguments of a node of the test chain in the directory of this name, which has its
/// own key.
pub(super) fn arguments(place: &Place, name: &str, rollup: &Value, more: &[&str]) -> Vec<String> {
    let rollup = place.file(&format!("{name}/rollup.json"), rollup.to_string());
    let (key, data) = (place.name_in(name, "p2p.key"), place.name_in(name, "data"));
    let common = [
        "node",
        "--rollup.config",
        &rollup,
        "--p2p.listen.ip",
        "127.0.0.1",
        "--p2p.listen.tcp",
        "0",
        "--data-dir",
        &data,
        "--log.format",
        "json",
        "--metrics.enabled",
        "--metrics.addr",
        "127.0.0.1",
        "--metrics.port",
        "0",
    ];
    // A test may give another key.
    let key = ["--p2p.priv.path", &key];
    let key = if more.contains(&"--p2p.priv.path") { &[][..] } else { &key };
    [&common, key, more].concat().into_iter().map(str::to_owned).collect()
}

pub(super) fn jovian() -> Value {
    rollup_json(100, Some(Fork::Jovian))
}

/// Starts a node that knows the signer.
pub(super) fn node(place: &Place, name: &str, more: &[&str]) -> Node {
    let signer = signer().to_string();
    let more = [&["--signer", &signer], more].concat();
    Node::start(place.opp2p(&arguments(place, name, &jovian(), &more)))
}

/// Starts a node that signs blocks.
pub(super) fn sequencer(place: &Place, name: &str, more: &[&str]) -> Node {
    let signing = ["--publish.stdin", "--p2p.sequencer.key", SEQUENCER_KEY];
    node(place, name, &[&signing, more].concat())
}

pub(super) fn follower(place: &Place, name: &str, of: &[&Node], more: &[&str]) -> Node {
    let addresses: Vec<&str> = of.iter().map(|node| node.address.as_str()).collect();
    let addresses = addresses.join(",");
    node(place, name, &[&["--p2p.static", &addresses], more].concat())
}

/// Repeats `look` until it finds something.
#[track_caller]
pub(super) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not in time: {what}");
        sleep(LOOK);
    }
}

impl Node {
    pub(super) fn start(command: Command) -> Self {
        let daemon = Daemon::start(command, Stdio::null());
        let line = |message: &str| {
            let message = format!("\"msg\":\"{message}\"");
            let (line, _) = daemon.wait_for(0, PATIENCE, |line| line.contains(&message));
            serde_json::from_str::<Value>(&line).unwrap()
        };
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let address = text(&line("started")["address"]);
        let rpc = text(&line("RPC server listening")["address"]);
        let url = text(&line("serving metrics")["url"]);
        let metrics = url.trim_start_matches("http://").trim_end_matches("/metrics").to_owned();
        Self { daemon, rpc, metrics, address }
    }

    /// Returns the lines of the log about a kind of trouble.
    fn lines(&self, kind: TroubleKind) -> Vec<Value> {
        let lines = self.daemon.lines();
        let lines = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["trouble"] == kind.name()).collect()
    }

    /// Returns the status code and the body of `GET path` on the RPC's port.
    pub(super) fn get(&self, path: &str) -> (u16, Value) {
        let (status, body) = get(&self.rpc, path);
        (status, serde_json::from_str(&body).unwrap())
    }

    /// Returns the trouble of this kind in `/healthz`.
    pub(super) fn trouble(&self, kind: TroubleKind) -> Option<Value> {
        let (status, health) = self.get("/healthz");
        assert_eq!(status, 200, "{health}");
        let troubles = health["troubles"].as_array().unwrap();
        troubles.iter().find(|trouble| trouble["kind"] == kind.name()).cloned()
    }

    fn metric(&self, series: &str) -> Option<f64> {
        let (_, text) = get(&self.metrics, "/metrics");
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map(|value| value.parse().unwrap())
    }

    /// Waits until the node has this trouble, asserts that it is told everywhere, and returns its
    /// sentence.
    #[track_caller]
    pub(super) fn told(&self, place: &Place, kind: TroubleKind) -> String {
        let trouble = until(kind.name(), || self.trouble(kind));
        let text = trouble["text"].as_str().unwrap().to_owned();
        let remedy = trouble["remedy"].as_str().unwrap();
        assert!(text.ends_with(remedy), "{text}: {remedy}");
        let (since, last) = (trouble["since"].as_u64(), trouble["last"].as_u64());
        assert!(since > Some(1_700_000_000) && last >= since, "{trouble}");
        let (_, health) = self.get("/healthz");
        let problems = health["problems"].as_array().unwrap();
        assert!(problems.iter().any(|text| text.as_str().unwrap().ends_with(remedy)), "{health}");
        // The log, which is written by another task.
        let lines = until("a line", || Some(self.lines(kind)).filter(|lines| !lines.is_empty()));
        let line = lines.last().unwrap();
        assert_eq!(line["lvl"], "warn", "{lines:?}");
        assert!(line["msg"].as_str().unwrap().contains(remedy), "{line}");
        let series = format!("opp2p_trouble{{kind=\"{kind}\"}}");
        // All who ask within a tenth of a second get one text.
        until(&series, || (self.metric(&series) == Some(1.0)).then_some(()));
        let url = format!("http://{}", self.rpc);
        let status = place.run(&["status", "--rpc", &url]).stdout;
        let told = status
            .lines()
            .any(|line| line.starts_with("trouble since 20") && line.contains(remedy));
        assert!(told, "{status}");
        text
    }

    /// Waits until the node no longer has this trouble, and asserts that each of its beginnings and
    /// ends had one line.
    #[track_caller]
    pub(super) fn over(&self, kind: TroubleKind) {
        until(kind.name(), || self.trouble(kind).is_none().then_some(()));
        let lines = until("a line", || {
            let lines = self.lines(kind);
            (lines.last()?["lvl"] == "info").then_some(lines)
        });
        for (at, line) in lines.iter().enumerate() {
            assert_eq!(line["lvl"], if at % 2 == 0 { "warn" } else { "info" }, "{lines:?}");
        }
        let line = lines.last().unwrap();
        assert!(line["msg"].as_str().unwrap().starts_with("over: "), "{line}");
        assert!(line["lasted_s"].is_u64() && line["cause"].is_string(), "{line}");
        let series = format!("opp2p_trouble{{kind=\"{kind}\"}}");
        until(&series, || (self.metric(&series) == Some(0.0)).then_some(()));
    }

    /// Waits until `/readyz` and the metric say no, with a reason that contains `part`.
    #[track_caller]
    pub(super) fn is_not_ready(&self, part: &str) {
        until(part, || {
            let (status, body) = self.get("/readyz");
            let reasons = body["reasons"].as_array().unwrap();
            let is_named = reasons.iter().any(|reason| reason.as_str().unwrap().contains(part));
            (status == 503 && is_named).then_some(())
        });
        until("opp2p_ready", || (self.metric("opp2p_ready") == Some(0.0)).then_some(()));
    }

    #[track_caller]
    pub(super) fn is_ready(&self) {
        until("ready", || (self.get("/readyz").0 == 200).then_some(()));
    }

    pub(super) fn publish(&mut self, block: &Made) {
        let stdin = self.daemon.stdin.as_mut().unwrap();
        writeln!(stdin, "{}", block.line).unwrap();
        stdin.flush().unwrap();
    }

    /// Waits for the block's line in the log.
    #[track_caller]
    pub(super) fn has(&self, block: &Made) {
        let hash = block.hash.to_string();
        let is_it = |line: &str| line.contains("\"msg\":\"block\"") && line.contains(&hash);
        self.daemon.wait_for(0, PATIENCE, is_it);
    }

    /// Asserts that no trouble was ever told.
    #[track_caller]
    pub(super) fn is_well(&self) {
        let (_, health) = self.get("/healthz");
        assert_eq!(health["troubles"], serde_json::json!([]));
        let lines = self.daemon.lines();
        assert!(!lines.iter().any(|line| line.contains("\"trouble\":")), "{lines:#?}");
    }
}

fn get(address: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

#[test]
fn a_quiet_network_reports_nothing() {
    let place = Place::new();
    let mut first = sequencer(&place, "first", &[]);
    let second = follower(&place, "second", &[&first], &[]);
    let third = follower(&place, "third", &[&first, &second], &[]);
    let mut blocks = Blocks::new();
    let end = Instant::now() + Duration::from_secs(60);
    let mut last = blocks.next(100);
    first.publish(&last);
    while Instant::now() < end {
        sleep(Duration::from_secs(2));
        last = blocks.next(10_000);
        first.publish(&last);
    }
    let nodes = [first, second, third];
    for node in &nodes {
        node.has(&last);
        node.is_ready();
        node.is_well();
    }
    for node in nodes {
        node.daemon.end("TERM");
    }
}

#[test]
fn blocks_of_another_signer_are_reported_with_both_addresses() {
    let place = Place::new();
    let mut key = [0; 32];
    key[31] = 8;
    let other = LocalSigner::from_bytes(&key).unwrap().address().to_string();
    let signing = ["--signer", &other, "--publish.stdin", "--p2p.sequencer.key", OTHER_KEY];
    let mut first = Node::start(place.opp2p(&arguments(&place, "first", &jovian(), &signing)));
    let second = follower(&place, "second", &[&first], &[]);
    first.daemon.wait_for(0, PATIENCE, |line| line.contains("\"msg\":\"connected\""));
    let mut blocks = Blocks::new();
    // The node may need more than one block to be sure.
    until("the trouble", || {
        first.publish(&blocks.next(10));
        sleep(Duration::from_millis(400));
        second.trouble(TroubleKind::SignerWrong).map(drop)
    });
    let text = second.told(&place, TroubleKind::SignerWrong).to_lowercase();
    for address in [other, signer().to_string()] {
        assert!(text.contains(&address.to_lowercase()), "{text}");
    }
    second.is_not_ready("signer");
    for node in [first, second] {
        node.daemon.end("TERM");
    }
}

#[test]
fn a_lone_node_reports_missing_peers_until_it_has_one() {
    let place = Place::new();
    let alone = node(&place, "alone", &[]);
    alone.is_not_ready("peer");
    alone.told(&place, TroubleKind::NoPeers);
    let second = follower(&place, "second", &[&alone], &[]);
    alone.over(TroubleKind::NoPeers);
    for node in [alone, second] {
        node.daemon.end("TERM");
    }
}

#[test]
fn a_sequencer_without_peers_is_ready_and_reports_unsent_blocks() {
    let place = Place::new();
    let mut first = sequencer(&place, "first", &[]);
    first.is_ready();
    let block = Blocks::new().next(10);
    first.publish(&block);
    let text = first.told(&place, TroubleKind::Publishing);
    assert!(text.contains("no peer is subscribed"), "{text}");
    let second = follower(&place, "second", &[&first], &[]);
    second.has(&block);
    first.over(TroubleKind::Publishing);
    first.is_ready();
    for node in [first, second] {
        node.daemon.end("TERM");
    }
}

#[test]
fn a_stale_fork_schedule_and_an_unknown_fork_are_reported_once() {
    let place = Place::new();
    let mut first = sequencer(&place, "first", &[]);
    let mut rollup = rollup_json(100, Some(Fork::Isthmus));
    rollup["atlas_time"] = 1_700_000_000.into();
    let signer = signer().to_string();
    let more = ["--signer", &signer, "--p2p.static", &first.address];
    let second = Node::start(place.opp2p(&arguments(&place, "second", &rollup, &more)));
    let text = second.told(&place, TroubleKind::UnknownFork);
    assert!(text.contains("atlas_time"), "{text}");
    first.daemon.wait_for(0, PATIENCE, |line| line.contains("\"msg\":\"connected\""));
    let mut blocks = Blocks::new();
    let made = [blocks.next(10), blocks.next(10), blocks.next(10)];
    made.iter().for_each(|block| first.publish(block));
    second.has(&made[2]);
    let text = second.told(&place, TroubleKind::ScheduleInDoubt);
    assert!(text.contains("correct the time of jovian"), "{text}");
    let lines = second.lines(TroubleKind::ScheduleInDoubt);
    assert_eq!(lines.len(), 1);
    assert!(lines[0]["msg"].as_str().unwrap().ends_with(" (--override.jovian)"), "{lines:?}");
    for node in [first, second] {
        node.daemon.end("TERM");
    }
}

#[test]
fn two_nodes_with_one_key_report_it() {
    let place = Place::new();
    let key = place.file("shared.key", OTHER_KEY);
    let first = node(&place, "first", &["--p2p.priv.path", &key]);
    // The second has the first's address, from the time when that had another key.
    let (address, _) = first.address.rsplit_once('/').unwrap();
    let stale = format!("{address}/16Uiu2HAm3cuhhRL2msUuLF62KRSfneFDx94RsuouyW25Ho42cFMq");
    let second = node(&place, "second", &["--p2p.priv.path", &key, "--p2p.static", &stale]);
    assert_eq!(second.address.rsplit('/').next(), first.address.rsplit('/').next());
    let text = second.told(&place, TroubleKind::KeyInUse);
    let (way, _) = address.split_once("/p2p").unwrap();
    assert!(text.contains(way), "{text}");
    // The other one notices it too. The dialler's port tells it nothing.
    let text = first.told(&place, TroubleKind::KeyInUse);
    assert!(text.contains("at /ip4/127.0.0.1:"), "{text}");
    for node in [first, second] {
        node.daemon.end("TERM");
    }
}

#[test]
fn unavailable_blocks_and_silence_are_reported() {
    let place = Place::new();
    // No node serves blocks, and the endpoint that might have some is away.
    let serves_nothing = ["--p2p.sync.req-resp=false"];
    let mut first = sequencer(&place, "first", &serves_nothing);
    let endpoint = format!("http://127.0.0.1:{}", free_port());
    let patient = ["--sync.rpc", &endpoint, "--sync.patience", "1h"];
    let second = follower(&place, "second", &[&first], &patient);
    first.daemon.wait_for(0, PATIENCE, |line| line.contains("\"msg\":\"connected\""));
    let mut blocks = Blocks::new();
    let one = blocks.next(10);
    first.publish(&one);
    second.has(&one);
    second.daemon.end("TERM");
    let missed = [blocks.next(10), blocks.next(10)];
    missed.iter().for_each(|block| first.publish(block));
    // They leave while another follower listens.
    let third = follower(&place, "third", &[&first], &serves_nothing);
    third.has(&missed[1]);
    let second = follower(&place, "second", &[&first], &patient);
    second.daemon.wait_for(0, PATIENCE, |line| line.contains("\"msg\":\"connected\""));
    until("the gap", || {
        first.publish(&blocks.next(10));
        sleep(Duration::from_secs(1));
        second.trouble(TroubleKind::Gap).map(drop)
    });
    let text = second.told(&place, TroubleKind::Gap);
    assert!(text.contains("Blocks 2 to "), "{text}");
    // Nothing is published any more.
    third.told(&place, TroubleKind::NoBlocks);
    first.publish(&blocks.next(10));
    third.over(TroubleKind::NoBlocks);
    for node in [first, second, third] {
        node.daemon.end("TERM");
    }
}

#[test]
fn a_follower_reports_two_sequencers_with_one_key() {
    let place = Place::new();
    let mut one = sequencer(&place, "one", &[]);
    let mut two = sequencer(&place, "two", &[]);
    let third = follower(&place, "third", &[&one, &two], &[]);
    for node in [&one, &two] {
        node.daemon.wait_for(0, PATIENCE, |line| line.contains("\"msg\":\"connected\""));
    }
    let (mut left, mut right) = (Blocks::new(), Blocks::new());
    until("two branches", || {
        one.publish(&left.next(10));
        two.publish(&right.next(20));
        sleep(Duration::from_secs(1));
        third.trouble(TroubleKind::TwoSequencers).map(drop)
    });
    third.told(&place, TroubleKind::TwoSequencers);
    for node in [one, two, third] {
        node.daemon.end("TERM");
    }
}
