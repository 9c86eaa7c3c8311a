//! Blocks through a mesh: when each node has them, and what that costs.

use crate::foreign::Foreign;
use crate::host::chain;
use crate::kit::{signed, sized};
use crate::nodes::{Kind, Lines, Nodes, members};
use alloy_primitives::hex;
use opp2p::devnet::{BlockMaker, unix_seconds};
use opp2p_core::chain::ChainConfig;
use opp2p_core::payload::snappy;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio::time::{sleep, sleep_until};

/// Round trips in milliseconds between Europe, America and Asia.
const ROUND_TRIPS: [[u64; 3]; 3] = [[12, 90, 160], [90, 12, 230], [160, 230, 20]];
/// Number of earlier nodes that each node dials.
const DIALS: usize = 3;
/// Time in which the mesh forms.
const FORMING: Duration = Duration::from_secs(8);
/// Number of blocks that are published before the measurement. TCP starts slowly on connections
/// that have carried little, and nodes learn about their peers.
const WARM_UP: u32 = 16;
/// Maximum wait for the last block, and time for copies of it that are still on their way.
const PATIENCE: Duration = Duration::from_secs(15);
const AFTERWARDS: Duration = Duration::from_secs(2);

/// What is published, and over which lines.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    /// A name for arguments and files.
    pub(crate) name: &'static str,
    /// A description.
    pub(crate) about: &'static str,
    /// Sizes of the blocks in bytes, in turn.
    pub(crate) sizes: &'static [usize],
    /// Time between blocks.
    pub(crate) every: Duration,
    /// Number of blocks.
    pub(crate) count: u32,
    /// Share of packets that get lost.
    pub(crate) loss: f64,
}

/// Results of one run.
#[derive(Debug, Default)]
pub(crate) struct Run {
    /// Each block's size, and the milliseconds after which each other node had it.
    pub(crate) blocks: Vec<(usize, Vec<f64>)>,
    /// The same for the first block of each size, of those before the measurement.
    pub(crate) cold: Vec<(usize, Vec<f64>)>,
    /// Blocks that a node did not get, all nodes together.
    pub(crate) missing: usize,
    /// Bytes of the blocks as messages, for each node that needed them.
    pub(crate) useful: u64,
    /// Bytes of the blocks before compression, for each node that needed them.
    pub(crate) uncompressed: u64,
    /// Bytes that all nodes sent, with all headers.
    pub(crate) sent: u64,
    /// Packets, and those that got lost, found a full queue, or came late.
    pub(crate) packets: [u64; 4],
    /// Seconds of processor time for each block, all nodes together.
    pub(crate) seconds_per_block: f64,
}

/// The lines between this many nodes. Each region has a third of them.
pub(crate) fn lines(count: usize, mbit: f64, loss: f64, seed: u64) -> Lines {
    let delay =
        |from: usize, to: usize| Duration::from_micros(ROUND_TRIPS[from % 3][to % 3] * 1000 / 2);
    let row = |from| (0..count).map(|to| delay(from, to)).collect();
    let delays = (0..count).map(row).collect();
    Lines { mbit, queue: Duration::from_millis(300), delays, loss, seed }
}

/// Runs one network of one kind.
pub(crate) async fn run(
    kind: Kind,
    scenario: &Scenario,
    count: usize,
    mbit: f64,
    seed: u64,
) -> Result<Run, String> {
    let nodes = Nodes::start(&vec![kind; count], &lines(count, mbit, scenario.loss, seed)).await?;
    let genesis_time = unix_seconds() - 10;
    for (index, member) in members(count, DIALS, seed).iter().enumerate() {
        nodes.all[index].ask("start", member.start(kind, index == 0, genesis_time)).await?;
    }
    sleep(FORMING).await;
    let heard: Vec<Heard> = nodes.all[1..].iter().map(|node| Heard::listen(node)).collect();
    let (chain, first) = (chain(genesis_time), &nodes.all[0]);
    let mut maker = BlockMaker::new(&chain, 8);
    let warm_up = publish(first, &chain, &mut maker, scenario, WARM_UP).await?;
    wait_for(&heard, warm_up.len()).await;
    let (before, spent) = (nodes.counted().await?, nodes.processor_time());
    let published = publish(first, &chain, &mut maker, scenario, scenario.count).await?;
    wait_for(&heard, warm_up.len() + published.len()).await;
    let (after, now_spent) = (nodes.counted().await?, nodes.processor_time());
    let mut run = Run {
        sent: after.sent.iter().sum::<u64>() - before.sent.iter().sum::<u64>(),
        packets: [after.packets, after.lost, after.overflowed, after.late],
        seconds_per_block: (now_spent - spent) / published.len() as f64,
        ..Run::default()
    };
    let took = |block: &Published| -> Vec<f64> {
        let at = |heard: &Heard| Some((heard.at(&block.hash)? - block.at as f64) / 1e6);
        heard.iter().filter_map(at).collect()
    };
    for block in warm_up {
        if run.cold.iter().all(|(size, _)| *size != block.size) {
            run.cold.push((block.size, took(&block)));
        }
    }
    for block in published {
        let took = took(&block);
        run.missing += count - 1 - took.len();
        run.useful += block.message * (count as u64 - 1);
        run.uncompressed += block.bytes * (count as u64 - 1);
        run.blocks.push((block.size, took));
    }
    Ok(run)
}

struct Published {
    size: usize,
    hash: String,
    /// Its bytes before compression, and as a message.
    bytes: u64,
    message: u64,
    /// Time of publication, in nanoseconds since the Unix epoch.
    at: u64,
}

/// Waits until all nodes have this many blocks, and for copies that are still on their way.
async fn wait_for(heard: &[Heard], blocks: usize) {
    let start = Instant::now();
    while start.elapsed() < PATIENCE && heard.iter().any(|heard| heard.count() < blocks) {
        sleep(Duration::from_millis(50)).await;
    }
    sleep(AFTERWARDS).await;
}

/// Publishes this many blocks at their times, whether or not the previous ones have arrived.
async fn publish(
    node: &Arc<Foreign>,
    chain: &ChainConfig,
    maker: &mut BlockMaker,
    scenario: &Scenario,
    count: u32,
) -> Result<Vec<Published>, String> {
    let mut calls = Vec::new();
    let start = Instant::now() + Duration::from_millis(100);
    for (index, size) in (0..count).zip(scenario.sizes.iter().cycle()) {
        let due = start + scenario.every * index;
        let early = Duration::from_millis(80);
        sleep_until((due.checked_sub(early).unwrap_or(due)).into()).await;
        let block = sized(maker, unix_seconds(), *size);
        let mut ssz = Vec::new();
        let version = block.encode(&mut ssz).map_err(|error| error.to_string())?;
        let message = snappy::compress(&signed(chain, &block)).len() as u64;
        let (bytes, hash) = (ssz.len() as u64, block.payload.block_hash.to_string());
        let encoded = json!({ "version": version.index(), "ssz": hex::encode(ssz) });
        let node = Arc::clone(node);
        sleep_until(due.into()).await;
        let call: JoinHandle<Result<Value, String>> = tokio::spawn(async move {
            node.ask("publish", json!({ "node": 1, "block": encoded })).await
        });
        calls.push((call, Published { size: *size, hash, bytes, message, at: 0 }));
    }
    let mut published = Vec::new();
    for (call, block) in calls {
        let answer = call.await.map_err(|error| error.to_string())??;
        let at = answer["at"].as_u64().ok_or("a publication has no time")?;
        published.push(Published { at, ..block });
    }
    Ok(published)
}

/// The blocks that a node accepted: the times by their hashes.
struct Heard {
    times: Arc<Mutex<HashMap<String, u64>>>,
    task: JoinHandle<()>,
}

impl Heard {
    fn listen(node: &Foreign) -> Self {
        let (times, mut events) = (Arc::new(Mutex::new(HashMap::new())), node.events());
        let noted = Arc::clone(&times);
        let task = tokio::spawn(async move {
            while let Ok(event) = events.recv().await {
                if event["event"] == "block"
                    && let (Some(hash), Some(at)) = (event["hash"].as_str(), event["at"].as_u64())
                {
                    noted.lock().expect("no panic").entry(hash.to_owned()).or_insert(at);
                }
            }
        });
        Self { times, task }
    }

    fn count(&self) -> usize {
        self.times.lock().expect("no panic").len()
    }

    fn at(&self, hash: &str) -> Option<f64> {
        self.times.lock().expect("no panic").get(hash).map(|at| *at as f64)
    }
}

impl Drop for Heard {
    fn drop(&mut self) {
        self.task.abort();
    }
}
