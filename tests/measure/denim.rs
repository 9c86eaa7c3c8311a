//! Ten nodes on a chain with five blocks a second, as on Base since Denim. Checks that every node
//! has every block in order, and measures latency and cost of the blocks.
//!
//! One follower is killed and restarted, and one is cut off from all others for a while. Both keep
//! their stores and have to fetch the missed blocks from their peers.
//!
//! # Bounds
//! The records hold 4,096 individual blocks, which is 13 minutes.

use opp2p::devnet::{
    CHAIN_ID, Member, Network, NetworkConfig, NetworkEvent, Publication, Report, Setup, Summary,
    unix_seconds,
};
use opp2p_core::chain::{BlockId, Fork};
use opp2p_node::host::{HostEvent, HostEventKind};
use opp2p_tests::report::{Row, Section};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;
use tokio::time::sleep;

/// The name of this part.
pub(crate) const PART: &str = "denim";
/// Length of a run in minutes, if no number is given.
const MINUTES: f64 = 10.0;
const FOLLOWERS: usize = 9;
const INTERVAL: Duration = Duration::from_millis(200);
/// Index of the follower that is cut off. The last one is killed.
const CUT_OFF: usize = 4;
/// Maximum time for which it is cut off, and for which the killed one is down.
const CUT: Duration = Duration::from_secs(120);
const DOWN: Duration = Duration::from_secs(20);
/// Interval between two readings of all scores.
const LOOK: Duration = Duration::from_secs(5);
/// Maximum time for all nodes to have the last block.
const PATIENCE: Duration = Duration::from_secs(300);

/// Schedule of the events of a run.
struct Plan {
    blocks: u64,
    killed_at: Duration,
    cut_at: Duration,
    healed_at: Duration,
}

impl Plan {
    /// Makes the schedule for a run of this many minutes. A short run has a shorter outage.
    fn of(minutes: f64) -> Self {
        let length = Duration::from_secs_f64(minutes * 60.0);
        let cut_at = length.mul_f64(0.4);
        Self {
            blocks: u64::try_from(length.as_millis() / INTERVAL.as_millis()).unwrap(),
            killed_at: length.mul_f64(0.15),
            cut_at,
            healed_at: cut_at + CUT.min(length.mul_f64(0.3)),
        }
    }
}

/// Records of the run.
struct Books {
    start: Instant,
    report: Report,
    failures: Vec<String>,
}

impl Books {
    fn event(&mut self, member: Member, event: &NetworkEvent) {
        let since_start = |at: &Instant| at.saturating_duration_since(self.start);
        match event {
            NetworkEvent::Host(HostEvent { at, kind }) => match kind {
                HostEventKind::Verdict(verdict) => {
                    self.report.verdict(member, verdict.result, since_start(at));
                }
                HostEventKind::Core(event) => self.report.event(member, event, since_start(at)),
                HostEventKind::StoreFailed(error) => {
                    self.failures.push(format!("{member}: {error}"));
                }
                _ => {}
            },
            NetworkEvent::Missed => self.failures.push(format!("{member}: events were missed")),
            NetworkEvent::Killed { at, stored } => {
                self.report.killed(member, *stored, since_start(at));
            }
            NetworkEvent::Restarted { at } => self.report.restarted(member, since_start(at)),
        }
    }

    fn published(&mut self, publication: &Publication) {
        let Publication { block, transactions, bytes, at, result } = publication;
        match result {
            Ok(()) => {
                let at = at.saturating_duration_since(self.start);
                self.report.published(*block, *transactions, *bytes, at);
            }
            Err(error) => {
                self.failures.push(format!("block {} was not published: {error}", block.number));
            }
        }
    }
}

/// Records all events.
async fn keep_books(books: Arc<Mutex<Books>>, mut events: mpsc::Receiver<(Member, NetworkEvent)>) {
    while let Some((member, event)) = events.recv().await {
        books.lock().unwrap().event(member, &event);
    }
}

/// Makes each block when it is due.
async fn produce(network: &Network, books: &Mutex<Books>, blocks: u64) {
    let mut maker = network.maker(0).unwrap();
    for _ in 0..blocks {
        let due = maker.due().expect("the schedule gives each block its time");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        sleep(due.saturating_sub(now)).await;
        let publication = network.publish(maker.next(unix_seconds())).await;
        books.lock().unwrap().published(&publication);
    }
}

/// Kills one follower and cuts off another, as scheduled.
async fn disturb(network: &Network, plan: &Plan) {
    sleep(plan.killed_at).await;
    network.kill_last_follower().await.unwrap();
    sleep(DOWN.min(plan.killed_at)).await;
    network.restart_last_follower().await.unwrap();
    sleep(plan.cut_at.saturating_sub(plan.killed_at + DOWN.min(plan.killed_at))).await;
    network.cut_off(CUT_OFF, true).await;
    sleep(plan.healed_at - plan.cut_at).await;
    network.cut_off(CUT_OFF, false).await;
}

/// Records the lowest score that any node ever gave another.
async fn watch_scores(network: &Network, lowest: &Mutex<f64>) {
    loop {
        if let Some(score) = network.lowest_score() {
            let mut lowest = lowest.lock().unwrap();
            *lowest = lowest.min(score);
        }
        sleep(LOOK).await;
    }
}

/// Returns the processor time of this process in seconds, and the bytes that it caused to be
/// written to disk.
fn usage() -> (f64, f64) {
    /// Clock ticks per second, on every Linux that Rust's standard library supports.
    const TICKS: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(')').expect("the name is in parentheses");
    let ticks =
        fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<f64>().unwrap());
    let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let written = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    (ticks.sum::<f64>() / TICKS, written.and_then(|bytes| bytes.parse().ok()).unwrap_or(0.0))
}

/// Runs for this many minutes and reports the section. Fails if a node lacks a block or penalises
/// another.
pub(crate) async fn measure(minutes: Option<f64>) {
    let minutes = minutes.unwrap_or(MINUTES);
    let plan = Plan::of(minutes);
    let directory = tempfile::tempdir().unwrap();
    let config = NetworkConfig {
        followers: FOLLOWERS,
        block_time: INTERVAL,
        fork: Fork::Denim,
        directory: directory.path().to_path_buf(),
        browsers: None,
        genesis: None,
    };
    let (network, events) = Network::start(&config).await.unwrap();
    network.meshed().await.unwrap();
    let report = Report::new(Setup {
        chain_id: CHAIN_ID,
        fork: Fork::Denim,
        block_time: INTERVAL,
        sequencer: network.sequencer_info(),
        followers: network.follower_infos(),
        web: None,
    });
    let start = Instant::now();
    let books = Arc::new(Mutex::new(Books { start, report, failures: Vec::new() }));
    let reading = tokio::spawn(keep_books(Arc::clone(&books), events));

    let before = usage();
    let lowest = Mutex::new(f64::INFINITY);
    tokio::select! {
        _ = async {
            tokio::join!(produce(&network, &books, plan.blocks), disturb(&network, &plan))
        } => {}
        () = watch_scores(&network, &lowest) => {}
    }
    let after = usage();
    let took = start.elapsed();
    while !books.lock().unwrap().report.is_settled() && start.elapsed() < took + PATIENCE {
        if let Some(score) = network.lowest_score() {
            let mut lowest = lowest.lock().unwrap();
            *lowest = lowest.min(score);
        }
        sleep(Duration::from_millis(200)).await;
    }
    let settled = start.elapsed() - took;
    let disks = disks_agree(network).await;
    reading.await.unwrap();
    let mut books = books.lock().unwrap();
    books.failures.extend(disks);
    let summary = books.report.summary(took);
    let lowest = *lowest.lock().unwrap();
    let run = Run { minutes, summary: &summary, used: (after.0 - before.0, after.1 - before.1) };
    let section = run.section(lowest, settled);
    section.tell().expect("the report's folder can be written to");
    println!("{summary}");
    assert!(books.failures.is_empty(), "{:#?}", books.failures);
    assert!(summary.ok, "a node lacks blocks or got them out of order");
    assert!(summary.followers.iter().all(|follower| follower.verdicts.reject == 0));
    assert!(lowest >= 0.0, "a score of {lowest}");
}

/// Waits until all nodes have stored their blocks, and stops the network. Returns the followers
/// whose stored head differs from the sequencer's.
async fn disks_agree(mut network: Network) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut wanted: Option<BlockId> = None;
    for (member, host) in network.hosts() {
        let mut status = host.status();
        let head = *wanted.get_or_insert_with(|| host.stored_head().unwrap().expect("blocks"));
        let stored = status.wait_for(|status| status.stored == Some(head));
        if tokio::time::timeout(Duration::from_secs(30), stored).await.is_err() {
            wrong.push(format!("{member}: its stored head is not block {}", head.number));
        }
    }
    network.stop().await;
    wrong
}

/// A run and its figures.
struct Run<'a> {
    minutes: f64,
    summary: &'a Summary,
    /// Processor time in seconds, and bytes written.
    used: (f64, f64),
}

impl Run<'_> {
    fn section(&self, lowest: f64, settled: Duration) -> Section {
        let Self { minutes, summary, used: (seconds, written) } = self;
        let nodes = (FOLLOWERS + 1) as f64;
        let blocks = summary.blocks as f64;
        let latencies = summary.followers.iter().filter_map(|follower| follower.latency_ms);
        let range = |of: fn(&opp2p::devnet::LatencySummary) -> f64| {
            let values: Vec<f64> = latencies.clone().map(|each| of(&each)).collect();
            let ends = (
                values.iter().copied().fold(f64::INFINITY, f64::min),
                values.iter().copied().fold(0.0, f64::max),
            );
            format!("{:.1} to {:.1} ms", ends.0, ends.1)
        };
        let in_order = summary.followers.iter().filter(|follower| follower.in_order).count();
        let late: u64 = summary.followers.iter().map(|follower| follower.caught_up).sum();
        let rows = vec![
            Row::new("Followers with every block, in order", format!("{in_order} of {FOLLOWERS}"))
                .held_to("all", in_order == FOLLOWERS && summary.ok)
                .noted(format!(
                    "{late} blocks were fetched from peers; all had the last one {:.1} s after it",
                    settled.as_secs_f64()
                )),
            Row::new("Lowest score of any node at any other", format!("{lowest:.2}"))
                .held_to("0", lowest >= 0.0),
            Row::new("Publication to acceptance, p50 of each follower", range(|each| each.p50)),
            Row::new("The same, p99", range(|each| each.p99)),
            Row::new("The same, slowest", range(|each| each.max)),
            Row::new(
                "Processor time for a block at a node",
                format!("{:.2} ms", seconds * 1e3 / blocks / nodes),
            )
            .noted("the making of the blocks is a part of it"),
            Row::new(
                "Bytes to the disk for a byte of blocks",
                format!("{:.2}", written / summary.bytes as f64 / nodes),
            ),
        ];
        Section {
            name: "15-denim".to_owned(),
            title: "Five blocks a second".to_owned(),
            command: "cargo all-tests -- denim".to_owned(),
            about: format!(
                "Ten nodes in one process on loopback, {minutes} min, {} blocks of {:.0} kB on \
                 average, one each 200 ms, with the milliseconds of their time in a deposit. One \
                 follower is killed and started again, one is cut off for {:.0} s; their late \
                 blocks are not delays.",
                summary.blocks,
                summary.bytes as f64 / blocks / 1e3,
                (Plan::of(*minutes).healed_at - Plan::of(*minutes).cut_at).as_secs_f64(),
            ),
            rows,
        }
    }
}
