//! Half an hour in which peers and clients of one node come and go: `cargo all-tests -- soak-ours`.
//!
//! The node, in a process of its own, follows a chain with a block per second, while peers over TCP
//! and WebSocket, RPC clients and subscribers connect, stay for a few seconds and leave, some with
//! a farewell and some without. From time to time all of them are gone: then the process has no
//! more open descriptors, tasks and streams than before the first of them, and its memory does not
//! grow.

use crate::support::{PATIENCE, Place, Sequencer, Victim, config};
use opp2p_node::host::Host;
use opp2p_tests::report::{Row, Section};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Interval between two blocks.
const PACE: Duration = Duration::from_secs(1);
/// Time for which visitors come without a break.
const CHURN: Duration = Duration::from_secs(20);
/// Interval between two visitors.
const NEXT: Duration = Duration::from_millis(400);
/// Maximum time for the node to release everything. A half-closed connection has a timeout of
/// several seconds.
const SETTLING: Duration = Duration::from_secs(45);
/// Number of blocks that the store keeps: few, so that it reaches the bound soon.
const KEPT: usize = 120;
/// Maximum growth of the memory in the last third, in bytes. Until then it grows: the records of a
/// thousand strangers, and memory that the allocator keeps from their connections, take a while to
/// settle.
const GROWTH: f64 = 8e6;

/// Resources that a process holds.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Held {
    descriptors: f64,
    tasks: f64,
    streams: f64,
    memory: f64,
}

impl Held {
    async fn read(victim: &Victim) -> Self {
        let of = async |name| victim.metric(name).await.unwrap_or(f64::NAN);
        Self {
            descriptors: of("process_open_fds").await,
            tasks: of("opp2p_tasks").await,
            streams: of("op_node_default_p2p_stream_count").await,
            memory: of("process_resident_memory_bytes").await,
        }
    }

    /// Returns `true` if the process holds no more than before. Samples may catch a few background
    /// tasks at different moments.
    fn is_within(&self, before: &Self) -> bool {
        self.descriptors <= before.descriptors + 1.0
            && self.tasks <= before.tasks + 3.0
            && self.streams <= before.streams + 1.0
    }
}

pub(crate) async fn a_minute_of_churn_leaks_nothing() {
    let outcome = soak(Duration::from_secs(50)).await;
    println!("{outcome:#?}");
    assert!(outcome.leaks.is_empty(), "{outcome:#?}");
}

/// Runs for this many minutes, and writes a section of the report.
pub(crate) async fn run(minutes: f64) {
    let outcome = soak(Duration::from_secs_f64(minutes * 60.0)).await;
    let grown = outcome.grown(2);
    let megabytes = |bytes: f64| format!("{:.1} MB", bytes / 1e6);
    let (before, after) = (outcome.before, outcome.after());
    let count = |what: f64| format!("{what:.0}");
    Section {
        name: "60-soak".to_owned(),
        title: "Left alone for long".to_owned(),
        command: "cargo all-tests -- soak-ours".to_owned(),
        about: format!(
            "{minutes} minutes: `opp2p node` follows a block a second, with a store at its bound, \
             while peers by TCP and WebSocket, RPC clients and subscribers come and go, {} in all. \
             {} times all of them were gone.",
            outcome.visitors,
            outcome.quiet.len()
        ),
        rows: vec![
            Row::new("Blocks followed", outcome.blocks.to_string()),
            Row::new("File descriptors at the end", count(after.descriptors)).held_to(
                format!("{} at the start", count(before.descriptors)),
                after.is_within(&before),
            ),
            Row::new("Tasks at the end", count(after.tasks)).held_to(
                format!("{} at the start, and 3", count(before.tasks)),
                after.is_within(&before),
            ),
            Row::new("Streams at the end", count(after.streams)).held_to(
                format!("{} at the start", count(before.streams)),
                after.is_within(&before),
            ),
            Row::new("Resident memory at the end", megabytes(after.memory)),
            Row::new("Its growth in the second third", megabytes(outcome.grown(1))),
            Row::new("Its growth in the last third", megabytes(grown))
                .held_to(megabytes(GROWTH), grown <= GROWTH),
        ],
    }
    .tell()
    .expect("the report is written");
    assert!(outcome.leaks.is_empty(), "{outcome:#?}");
    assert!(grown <= GROWTH, "{outcome:#?}");
}

#[derive(Debug)]
struct Outcome {
    before: Held,
    /// Resources held each time all visitors were gone.
    quiet: Vec<Held>,
    /// Those of them that exceeded the ones before.
    leaks: Vec<Held>,
    visitors: u64,
    blocks: u64,
}

impl Outcome {
    fn after(&self) -> Held {
        *self.quiet.last().expect("it was quiet at least once")
    }

    /// Returns the growth of the memory in one third of the run; the thirds count from zero.
    fn grown(&self, third: usize) -> f64 {
        let at = |third: usize| self.quiet[((self.quiet.len() - 1) * third).div_ceil(3)].memory;
        at(third + 1) - at(third)
    }
}

async fn soak(time: Duration) -> Outcome {
    let mut sequencer = Sequencer::start().await;
    let mut place = Place::new(&sequencer, "victim", &[sequencer.host.address().to_string()]);
    place.arguments.retain(|argument| !argument.starts_with("--log.level"));
    place.arguments.extend(["--p2p.listen.ws=0".to_owned(), format!("--store.blocks={KEPT}")]);
    let victim = place.start();
    let (address, _) = victim.started();
    let browsers = victim.wait_for(&["browsers can connect"]);
    let browsers = browsers.split_once(" address=").unwrap().1.trim().to_owned();
    let rpc = victim.rpc();
    let mut visitors = JoinSet::new();
    // The first visitors come and go before the count starts: some resources are allocated once and
    // stay.
    for kind in 0..6 {
        let peer = if kind % 2 == 0 { &address } else { &browsers };
        visitors.spawn(visit(kind, visitor(&sequencer, kind), peer.clone(), rpc));
    }
    sequencer.publish(0).await;
    while visitors.join_next().await.is_some() {}
    sleep(Duration::from_secs(2)).await;
    let before = Held::read(&victim).await;

    let begun = Instant::now();
    let mut outcome =
        Outcome { before, quiet: Vec::new(), leaks: Vec::new(), visitors: 0, blocks: 0 };
    while begun.elapsed() < time || outcome.quiet.is_empty() {
        let (turn, mut next_block) = (Instant::now(), Instant::now());
        while turn.elapsed() < CHURN {
            let kind = outcome.visitors;
            let peer = if kind.is_multiple_of(2) { &address } else { &browsers };
            visitors.spawn(visit(kind, visitor(&sequencer, kind), peer.clone(), rpc));
            outcome.visitors += 1;
            if Instant::now() >= next_block {
                sequencer.publish(0).await;
                next_block += PACE;
            }
            sleep(NEXT).await;
            while visitors
                .try_join_next()
                .is_some_and(|ended| ended.map_err(|error| panic!("{error}")).is_ok())
            {}
        }
        while let Some(ended) = visitors.join_next().await {
            ended.expect("a visit ends well");
        }
        let (left, mut held) = (Instant::now(), Held::read(&victim).await);
        while !held.is_within(&before) && left.elapsed() < SETTLING {
            sleep(Duration::from_millis(500)).await;
            held = Held::read(&victim).await;
        }
        println!(
            "{:.0} s: {} visitors, {held:?}, settled in {:.1} s",
            begun.elapsed().as_secs_f64(),
            outcome.visitors,
            left.elapsed().as_secs_f64()
        );
        outcome.quiet.push(held);
        if !held.is_within(&before) {
            outcome.leaks.push(held);
        }
    }
    let head = sequencer.head();
    let behind = sequencer.observer("behind", &[address]).await;
    sequencer.reach(&behind).await;
    outcome.blocks = head + 1;
    let problems = victim.call("opp2p_nodeStatus").await["problems"].clone();
    assert_eq!(problems, serde_json::json!([]));
    victim.end();
    outcome
}

/// Returns the configuration of a visitor that is a node, as four of the six kinds are.
fn visitor(sequencer: &Sequencer, kind: u64) -> Option<opp2p_node::host::HostConfig> {
    (kind % 6 < 4)
        .then(|| {
            config(sequencer.directory.path(), &format!("visitor-{}", kind % 97), &sequencer.chain)
        })
        .map(|mut config| {
            // The content of the store does not matter, but it must not be that of an earlier
            // visitor.
            config.store =
                sequencer.directory.path().join(format!("visitors/{}", config.key.peer_id()));
            config
        })
}

/// Connects, stays for a while, and leaves: as a node over TCP or WebSocket, with or without a
/// farewell; as an RPC client; or as a subscriber.
async fn visit(
    kind: u64,
    node: Option<opp2p_node::host::HostConfig>,
    peer: String,
    rpc: SocketAddr,
) {
    let stay = Duration::from_millis(1_000 + kind % 7 * 700);
    if let Some(config) = node {
        let store = config.store.clone();
        let host = Host::start(config).await.unwrap();
        // It may be refused, since the number of slots is limited.
        let _ = host.connect(peer.parse().unwrap()).await;
        sleep(stay).await;
        if kind % 6 < 2 {
            host.stop().await;
        } else {
            let _ = host.kill().await;
        }
        let _ = std::fs::remove_file(store);
        return;
    }
    let talk = async {
        let mut stream = TcpStream::connect(rpc).await?;
        if kind.is_multiple_of(2) {
            let body = r#"{"jsonrpc":"2.0","id":1,"method":"opp2p_peers","params":[true]}"#;
            let length = body.len();
            for _ in 0..3 {
                let head =
                    "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
                stream
                    .write_all(format!("{head}Content-Length: {length}\r\n\r\n{body}").as_bytes())
                    .await?;
                let mut some = [0; 4096];
                let _ = stream.read(&mut some).await?;
                sleep(stay / 3).await;
            }
        } else {
            let head = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: \
                        Upgrade\r\n\
                        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: \
                        13\r\n\r\n";
            stream.write_all(head.as_bytes()).await?;
            let mut some = [0; 4096];
            let read = stream.read(&mut some).await?;
            assert!(
                some[..read].starts_with(b"HTTP/1.1 101"),
                "{}",
                String::from_utf8_lossy(&some[..read])
            );
            let body = r#"{"jsonrpc":"2.0","id":1,"method":"opp2p_subscribe","params":["heads"]}"#;
            // A short text frame, masked with zeros.
            let mut frame = vec![0x81, 0x80 | u8::try_from(body.len()).unwrap(), 0, 0, 0, 0];
            frame.extend_from_slice(body.as_bytes());
            stream.write_all(&frame).await?;
            // A ping may precede the answer.
            let answered = async {
                let mut said = String::new();
                while !said.contains("\"result\"") {
                    let read = stream.read(&mut some).await?;
                    assert!(read > 0, "no answer: {said}");
                    said.push_str(&String::from_utf8_lossy(&some[..read]));
                }
                Ok::<_, std::io::Error>(())
            };
            timeout(PATIENCE, answered).await.expect("an answer in time")?;
            let listening =
                async { while stream.read(&mut some).await.is_ok_and(|read| read > 0) {} };
            // It leaves without a close frame.
            let _ = timeout(stay, listening).await;
        }
        Ok::<_, std::io::Error>(())
    };
    talk.await.unwrap();
}
