//! Cost of a node: processor time and memory, as the operating system counts them for a process.

use crate::peer::Peer;
use crate::world::{NODE, PATIENCE, at, chain, signed, sized};
use libp2p::Multiaddr;
use opp2p::devnet::{BlockMaker, unix_seconds};
use opp2p_core::chain::ChainConfig;
use opp2p_tests::report::{Row, Section};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

/// The parts of this measurement, by name.
pub(crate) const PARTS: &[&str] = &["idle", "blocks", "browsers"];

/// Time for which a node settles before it is measured, and time for which it is measured.
const SETTLE: Duration = Duration::from_secs(10);
const WATCH: Duration = Duration::from_secs(60);
/// Number of browsers connected to one node.
const BROWSERS: usize = 500;

/// Measures the parts that `words` names, and reports the section.
pub(crate) async fn measure(words: &[String]) {
    let wanted = |part: &str| words.iter().any(|word| word == part || word == "cost");
    let mut rows = Vec::new();
    if wanted("idle") {
        rows.extend(idle(&[0, 10, 50], Way::Tcp).await);
        rows.extend(idle(&[100, BROWSERS], Way::WebSocket).await);
    }
    if wanted("blocks") {
        rows.extend(blocks().await);
    }
    if wanted("browsers") {
        rows.extend(browsers().await);
    }
    if rows.is_empty() {
        return;
    }
    let section = Section {
        name: "20-cost".to_owned(),
        title: "What a node costs".to_owned(),
        command: "cargo all-tests -- cost".to_owned(),
        about: format!(
            "Of one node with its store, in a process of its own on loopback, as the system counts \
             it: processor time (100 % is one core; idle over {} s) and resident memory. Its peers \
             speak all that a node speaks, are in the mesh, and live in another process, on the \
             same processor.",
            WATCH.as_secs()
        ),
        rows,
    };
    section.tell().expect("the report's folder can be written to");
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Tcp,
    WebSocket,
}

/// A node in a process of its own. Dropping it ends the process.
struct Node {
    process: Child,
    tcp: Multiaddr,
    ws: Multiaddr,
}

impl Node {
    async fn start() -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .arg(NODE)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut address = async || -> Multiaddr {
            let line = timeout(PATIENCE, lines.next_line())
                .await
                .expect("the node starts in time")
                .unwrap();
            line.expect("it says where it is").parse().unwrap()
        };
        let (tcp, ws) = (address().await, address().await);
        Self { process, tcp, ws }
    }

    async fn peers(&self, chain: &ChainConfig, count: usize, way: Way) -> Vec<Peer> {
        let address = if way == Way::Tcp { &self.tcp } else { &self.ws };
        let mut peers = Vec::new();
        for _ in 0..count {
            peers.push(Peer::start(chain.chain_id, address).await);
        }
        peers
    }

    fn read(&self, file: &str) -> String {
        let id = self.process.id().expect("the node runs");
        std::fs::read_to_string(format!("/proc/{id}/{file}")).expect("a Linux that tells")
    }

    /// Returns a field of the process's status, in megabytes.
    fn memory(&self, field: &str) -> f64 {
        let status = self.read("status");
        let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("it tells this");
        let kilobytes =
            line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<f64>().unwrap();
        kilobytes * 1024.0 / 1e6
    }

    /// Returns the processor time so far, of all threads, in seconds.
    fn time(&self) -> f64 {
        /// Clock ticks per second, on every Linux that Rust's standard library supports.
        const TICKS: f64 = 100.0;
        let stat = self.read("stat");
        let (_, fields) = stat.rsplit_once(')').expect("the name is in parentheses");
        let ticks: Vec<f64> = fields
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|field| field.parse().unwrap())
            .collect();
        ticks.iter().sum::<f64>() / TICKS
    }
}

async fn idle(counts: &[usize], way: Way) -> Vec<Row> {
    let (chain, mut rows) = (chain(Duration::ZERO), Vec::new());
    let node = Node::start().await;
    let mut peers = Vec::new();
    let mut alone = None;
    for count in counts {
        peers.extend(node.peers(&chain, count - peers.len(), way).await);
        sleep(SETTLE).await;
        let before = node.time();
        sleep(WATCH).await;
        let share = (node.time() - before) / WATCH.as_secs_f64() * 100.0;
        let memory = node.memory("VmRSS");
        let who = match (count, way) {
            (0, _) => "no peer".to_owned(),
            (_, Way::Tcp) => format!("{count} peers by TCP"),
            (_, Way::WebSocket) => format!("{count} peers by WebSocket"),
        };
        let row = Row::new(format!("Idle, {who}"), format!("{share:.2} %, {memory:.1} MB"));
        rows.push(match alone {
            None => row,
            Some((first, with)) => {
                let each = (memory - first) * 1e3 / (count - with) as f64;
                row.noted(format!("{each:.0} kB for each of them beyond {with}"))
            }
        });
        alone.get_or_insert((memory, *count));
    }
    rows
}

/// Measures a node with ten peers that receives blocks of three sizes, at most one per second.
async fn blocks() -> Vec<Row> {
    let (chain, mut rows) = (chain(Duration::ZERO), Vec::new());
    let node = Node::start().await;
    let mut peers = node.peers(&chain, 10, Way::Tcp).await;
    sleep(SETTLE).await;
    let mut maker = BlockMaker::new(&chain, 5);
    for (what, bytes, count) in
        [("2.6 kB", 2_600, 300), ("61 kB", 61_000, 300), ("1 MB", 1_000_000, 50)]
    {
        let before = node.time();
        for _ in 0..count {
            let contents = signed(&chain, &sized(&mut maker, unix_seconds(), bytes));
            let (from, others) = peers.split_first_mut().expect("ten of them");
            drop(from.publish(contents));
            for other in others {
                other.heard().await;
            }
            sleep(Duration::from_millis(20)).await;
        }
        let each = (node.time() - before) / f64::from(count) * 1e3;
        let (memory, most) = (node.memory("VmRSS"), node.memory("VmHWM"));
        rows.push(
            Row::new(
                format!("A block of {what} from one to nine peers"),
                format!("{each:.2} ms of processor time"),
            )
            .noted(format!("{count} blocks; then {memory:.0} MB, {most:.0} at most")),
        );
    }
    rows
}

/// Measures a node that passes blocks from one peer to 500 browsers.
async fn browsers() -> Vec<Row> {
    let (chain, mut rows) = (chain(Duration::ZERO), Vec::new());
    let node = Node::start().await;
    let from = Peer::start(chain.chain_id, &node.tcp).await;
    let mut crowd = node.peers(&chain, BROWSERS, Way::WebSocket).await;
    sleep(SETTLE).await;
    let memory = node.memory("VmRSS");
    rows.push(Row::new(
        format!("{BROWSERS} browsers on one gateway, before any block"),
        format!("{memory:.0} MB"),
    ));
    let mut maker = BlockMaker::new(&chain, 4);
    for (what, bytes, count) in
        [("2.6 kB", 2_600, 60), ("61 kB", 61_000, 60), ("1 MB", 1_000_000, 5)]
    {
        let before = node.time();
        let (mut each, mut last) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let contents = signed(&chain, &sized(&mut maker, unix_seconds(), bytes));
            let sent = from.publish(contents);
            let mut when = Vec::new();
            for browser in &mut crowd {
                when.push(browser.heard().await.1);
            }
            let sent = sent.await.unwrap();
            let took: Vec<f64> = when.iter().map(|at| (*at - sent).as_secs_f64() * 1e3).collect();
            last.push(took.iter().copied().fold(0.0, f64::max));
            each.extend(took);
            sleep(Duration::from_millis(50)).await;
        }
        let time = (node.time() - before) / f64::from(count) * 1e3;
        let memory = node.memory("VmRSS");
        each.sort_by(f64::total_cmp);
        last.sort_by(f64::total_cmp);
        for (who, values) in [("each browser", &each), ("the last browser", &last)] {
            let (median, late) = (at(values, 0.5), at(values, 0.99));
            rows.push(Row::new(
                format!("A block of {what} to {who}: p50 / p99"),
                format!("{median:.1} / {late:.1} ms"),
            ));
        }
        rows.push(
            Row::new(
                format!("A block of {what} to all of them"),
                format!("{time:.1} ms of processor time"),
            )
            .noted(format!("then {memory:.0} MB, {:.0} at most", node.memory("VmHWM"))),
        );
    }
    rows
}
