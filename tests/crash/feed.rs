//! The feed into a real NATS server, while the server and the node are killed and restarted, and
//! the chain is reorganised.
//!
//! The stream forgets the message ids after a tenth of a second, so that only the sequence numbers
//! can prevent duplicate blocks. The server comes from Debian's package `nats-server`, which
//! `cargo all-tests` installs first. Without it this test counts as ignored.

use crate::support::{Dice, PATIENCE, Place, Sequencer, Victim, get, until_true};
use alloy_primitives::B256;
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::{self, stream};
use opp2p::feed::position;
use opp2p_core::chain::BlockId;
use opp2p_core::feed::Position;
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::time::sleep;

const STREAM: &str = "CHAIN";
const SUBJECT: &str = "opp2p.901.blocks";
/// Interval between two blocks.
const PACE: Duration = Duration::from_millis(40);
/// One block in this many has about half a megabyte.
const LARGE: u64 = 20;

/// Returns the path of the server's program, if it is installed.
pub(crate) fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian installs it among the administrator's programs.
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    folders.map(|folder| folder.join("nats-server")).find(|path| path.is_file())
}

/// A server that ends with its test. Its port and files survive a restart.
#[derive(Debug)]
struct Server {
    program: PathBuf,
    config: PathBuf,
    port: u16,
    process: Option<Child>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Server {
    async fn create_stream(&self) {
        let config = stream::Config {
            name: STREAM.into(),
            subjects: vec!["opp2p.>".into()],
            storage: stream::StorageType::File,
            duplicate_window: Duration::from_millis(100),
            ..stream::Config::default()
        };
        self.context().await.create_stream(config).await.unwrap();
    }

    fn new(program: PathBuf, directory: &Path) -> Self {
        let port =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let config = directory.join("nats.conf");
        let store = directory.join("jetstream");
        let text = format!(
            "listen: 127.0.0.1:{port}\nmax_payload: 8MB\njetstream {{ store_dir: {:?} }}\n",
            store.display().to_string()
        );
        std::fs::write(&config, text).unwrap();
        Self { program, config, port, process: None }
    }

    fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    fn start(&mut self) {
        let mut command = Command::new(&self.program);
        command.arg("-c").arg(&self.config).stdout(Stdio::null()).stderr(Stdio::null());
        self.process = Some(command.spawn().unwrap());
    }

    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Returns a client of the stream, once the server answers.
    async fn context(&self) -> jetstream::Context {
        let begun = Instant::now();
        loop {
            if let Ok(client) = async_nats::connect(self.url()).await {
                let context = jetstream::new(client);
                match context.get_stream(STREAM).await.map_err(|error| error.kind()) {
                    Ok(_) | Err(GetStreamErrorKind::JetStream(_)) => return context,
                    // The server's JetStream is still reading its files.
                    Err(_) => {}
                }
            }
            assert!(begun.elapsed() < PATIENCE, "the server does not start");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Returns the number of the last message, and the position at the end of the log.
    async fn end(&self) -> Option<(u64, Position)> {
        let context = self.context().await;
        let stream = context.get_stream(STREAM).await.ok()?;
        let last = stream.get_last_raw_message_by_subject(SUBJECT).await.ok()?;
        Some((last.sequence, position(&last.payload).expect("a line of the feed")))
    }
}

/// A consumer of the stream that checks each message.
#[derive(Debug, Default)]
struct Consumer {
    chain: Vec<BlockId>,
    reorgs: usize,
    /// Number of messages whose id is just the hash of their block.
    plainly_named: usize,
}

impl Consumer {
    fn hear(&mut self, name: &str, line: &Value) {
        let id = |value: &Value| {
            let hash: B256 = serde_json::from_value(value["hash"].clone()).unwrap();
            BlockId::new(value["number"].as_u64().unwrap(), hash)
        };
        match line["event"].as_str() {
            Some("block") => {
                let block = id(line);
                if let Some(last) = self.chain.last() {
                    let parent: B256 = serde_json::from_value(line["parentHash"].clone()).unwrap();
                    assert_eq!(
                        (last.number + 1, last.hash),
                        (block.number, parent),
                        "a hole or a double"
                    );
                }
                let payload = &line["envelope"]["executionPayload"];
                assert_eq!(payload["blockHash"], line["hash"]);
                assert!(!payload["transactions"].as_array().unwrap().is_empty());
                self.plainly_named += usize::from(name == block.hash.to_string());
                self.chain.push(block);
            }
            Some("reorg") => {
                let ancestor = id(&line["ancestor"]);
                let place =
                    self.chain.iter().position(|held| *held == ancestor).expect("the ancestor");
                let abandoned: Vec<BlockId> =
                    line["abandoned"].as_array().unwrap().iter().map(id).collect();
                assert_eq!(self.chain[place + 1..], abandoned[..]);
                self.chain.truncate(place + 1);
                self.reorgs += 1;
            }
            _ => panic!("nothing was left out: {line}"),
        }
    }
}

/// A growing chain, with restarts of the server and the node.
struct Scene {
    sequencer: Sequencer,
    server: Server,
    place: Place,
    dice: Dice,
    kills: [usize; 2],
    outages: usize,
}

impl Scene {
    async fn grow(&mut self, blocks: u64) {
        for _ in 0..blocks {
            let bytes = if self.dice.below(LARGE) == 0 { 500_000 } else { 0 };
            self.sequencer.publish(bytes).await;
            sleep(PACE).await;
        }
    }

    /// Makes the sequencer's node revert its last blocks and make others.
    async fn switch_branch(&mut self, depth: usize) {
        self.sequencer.fork(depth);
        for block in 0..=depth {
            self.sequencer.publish(2_000 + block).await;
            sleep(PACE).await;
        }
        // A node stays on a longer branch until that is silent for some seconds. Before, the
        // sequencer's node has none of the new blocks for a node that asks for them by number.
        let head = self.sequencer.head();
        let status = self.sequencer.host.status().clone();
        until_true("the sequencer's node follows", async || {
            status.borrow().head.is_some_and(|id| id.number == head)
        })
        .await;
    }

    fn kill_server(&mut self) {
        self.server.kill();
        self.kills[0] += 1;
    }

    fn kill_node(&mut self, mut victim: Victim) -> Victim {
        victim.kill();
        self.kills[1] += 1;
        self.look_at(&victim);
        self.place.start()
    }

    /// Checks that an outage is reported exactly once.
    fn look_at(&mut self, victim: &Victim) {
        let lines = victim.lines();
        let count = |what: &str| lines.iter().filter(|line| line.contains(what)).count();
        let what = opp2p_core::trouble::TroubleKind::Feed.meaning();
        let ended = count(&format!("over: {what}"));
        let begun = count(what) - ended;
        assert!(
            begun == ended || begun == ended + 1,
            "{begun} outages, {ended} of them ended: {lines:#?}"
        );
        self.outages += begun;
    }

    /// Waits until the stream ends with the sequencer's head.
    async fn is_told(&self, victim: &Victim) {
        let head = self.sequencer.head();
        let hash = *self.sequencer.hashes.last().unwrap();
        let begun = Instant::now();
        loop {
            let end = self.server.end().await;
            if matches!(end, Some((_, Position::At(tip))) if tip.id == BlockId::new(head, hash)) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{end:?} is not {head}: {:#?}", tail(victim));
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Checks that a consumer has the canonical chain, and returns the number of its first block.
    fn check(&self, consumer: &Consumer) -> u64 {
        let first = consumer.chain.first().expect("blocks").number;
        let expected: Vec<BlockId> = (first..=self.sequencer.head())
            .map(|number| BlockId::new(number, self.sequencer.hashes[number as usize - 1]))
            .collect();
        assert_eq!(consumer.chain, expected);
        assert!(consumer.reorgs >= 3, "the chain has changed its mind: {}", consumer.reorgs);
        assert!(consumer.plainly_named >= expected.len(), "a block's name is its hash");
        first
    }

    /// Consumes the whole stream in order.
    async fn consume(&self) -> Consumer {
        let context = self.server.context().await;
        let mut stream = context.get_stream(STREAM).await.unwrap();
        let state = stream.info().await.unwrap().state.clone();
        assert_eq!((state.first_sequence, state.messages), (1, state.last_sequence));
        let (mut consumer, mut names) = (Consumer::default(), BTreeSet::new());
        for sequence in 1..=state.last_sequence {
            let message = stream.get_raw_message(sequence).await.unwrap();
            assert_eq!(message.subject.as_str(), SUBJECT);
            let name = message.headers.get("Nats-Msg-Id").expect("a name").to_string();
            consumer.hear(&name, &serde_json::from_slice(&message.payload).unwrap());
            assert!(names.insert(name), "a name comes twice");
        }
        consumer
    }
}

fn tail(victim: &Victim) -> Vec<String> {
    let lines = victim.lines();
    let feed = lines
        .iter()
        .filter(|line| line.contains("feed") || line.contains("WARN") || line.contains("ERROR"));
    feed.rev().take(20).cloned().collect()
}

async fn is_up_to_date(victim: &Victim) {
    until_true("nothing is behind", async || {
        victim.metric("opp2p_feed_failing").await == Some(0.0)
            && victim.metric("opp2p_feed_behind_blocks").await == Some(0.0)
            && victim.metric("opp2p_feed_published_total").await > Some(0.0)
    })
    .await;
}

/// Waits until the node notices that publishing fails, and reports it.
async fn is_failing(victim: &Victim) {
    until_true("the outage is told", async || {
        victim.metric("opp2p_feed_failing").await == Some(1.0)
            && victim.metric("opp2p_feed_behind_blocks").await > Some(0.0)
    })
    .await;
    until_true("the trouble is told", async || {
        get(victim.rpc(), "/healthz").await.1.contains("(stream CHAIN)")
    })
    .await;
}

pub(crate) async fn a_server_and_a_node_killed_mid_stream_lose_and_repeat_nothing() {
    let program = program().expect("Debian's package `nats-server` is installed");
    let seed = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
    println!("seed {seed}");
    let sequencer = Sequencer::start().await;
    let mut server = Server::new(program, sequencer.directory.path());
    server.start();
    server.create_stream().await;
    let mut place = Place::new(&sequencer, "fed", &[sequencer.host.address().to_string()]);
    let feed = [format!("--feed.nats={}", server.url()), format!("--feed.nats.stream={STREAM}")];
    place.arguments.extend(feed);
    let mut scene =
        Scene { sequencer, server, place, dice: Dice::new(seed), kills: [0; 2], outages: 0 };

    let mut victim = scene.place.start();
    victim.started();
    scene.grow(15).await;
    // Blocks flow before the first restart.
    until_true("something is in the stream", async || scene.server.end().await.is_some()).await;
    for round in 0..6 {
        // The server is killed while blocks arrive, and stays away for longer than it remembers
        // ids.
        let blocks = 3 + scene.dice.below(12);
        scene.grow(blocks).await;
        let leaves_branch = matches!(round, 1 | 3);
        if leaves_branch {
            scene.is_told(&victim).await;
        }
        scene.kill_server();
        if round == 3 {
            victim = scene.kill_node(victim);
        }
        if leaves_branch {
            // The stream now ends on a branch that the chain leaves.
            scene.switch_branch(round).await;
        }
        let blocks = 5 + scene.dice.below(15);
        scene.grow(blocks).await;
        match round {
            0 => is_failing(&victim).await,
            // The node is killed too.
            2 => victim = scene.kill_node(victim),
            _ => {}
        }
        scene.server.start();
        let blocks = scene.dice.below(10);
        scene.grow(blocks).await;
        if round >= 4 {
            // The node is killed while it catches up.
            victim = scene.kill_node(victim);
        }
    }
    scene.grow(5).await;
    scene.is_told(&victim).await;
    scene.switch_branch(2).await;
    scene.is_told(&victim).await;
    // Only the node is killed, while the stream is up to date.
    victim = scene.kill_node(victim);
    scene.grow(10).await;
    scene.is_told(&victim).await;
    is_up_to_date(&victim).await;
    let consumer = scene.consume().await;
    scene.look_at(&victim);
    victim.end();
    let first = scene.check(&consumer);
    // Short outages are not a trouble.
    assert!(scene.outages >= 1, "{} outages were told of", scene.outages);
    println!(
        "{} blocks from {first} on and {} reorgs in the stream, {} kills of the server and {} of \
         the node, {} outages told of: nothing is lost, nothing is there twice",
        consumer.chain.len(),
        consumer.reorgs,
        scene.kills[0],
        scene.kills[1],
        scene.outages,
    );
}

pub(crate) async fn standard_output_has_the_chain_from_the_requested_block() {
    let mut sequencer = Sequencer::start().await;
    let mut place = Place::new(&sequencer, "written", &[sequencer.host.address().to_string()]);
    let file = sequencer.directory.path().join("lines");
    place.stdout = Some(file.clone());
    place.arguments.extend(["--feed=stdout".to_owned(), "--feed.from=1".to_owned()]);
    let read = || std::fs::read_to_string(&file).unwrap_or_default();
    let mut expected = 0;
    for _ in 0..2 {
        let mut victim = place.start();
        victim.started();
        for _ in 0..10 {
            sequencer.publish(0).await;
            sleep(PACE).await;
        }
        let last = sequencer.hashes.last().unwrap().to_string();
        until_true("the head is written", async || {
            read().lines().last().is_some_and(|line| line.contains(&format!("\"hash\":\"{last}\"")))
        })
        .await;
        victim.kill();
        let mut consumer = Consumer::default();
        for line in read().lines().skip(expected) {
            let line: Value = serde_json::from_str(line).unwrap();
            if line["event"] == "skipped" {
                assert!(consumer.chain.is_empty() && line["from"].is_null());
            } else {
                consumer.hear("", &line);
            }
        }
        let first = consumer.chain[0].number as usize;
        assert!(
            consumer
                .chain
                .iter()
                .map(|id| id.hash)
                .eq(sequencer.hashes[first - 1..].iter().copied())
        );
        expected = read().lines().count();
    }
}
