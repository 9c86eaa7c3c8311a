//! A node that is far behind, and the servers that it fetches the blocks from.

use crate::host::{Fetched, Setup};
use crate::nodes::{Kind, Lines, Nodes, members};
use opp2p::devnet::unix_seconds;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// Rate of each line in Mbit/s, and the time of one way.
const MBIT: f64 = 100.0;
const ONE_WAY: Duration = Duration::from_millis(50);
/// Maximum time until the follower is connected to all servers.
const PATIENCE: Duration = Duration::from_secs(20);
/// Blocks to fetch: how many, and their size in bytes.
const CHAINS: [(u64, usize); 2] = [(10_000, 2_400), (1_500, 62_000)];

/// One measurement.
#[derive(Debug)]
pub(crate) struct Range {
    /// Number of servers.
    pub(crate) servers: usize,
    /// Share of packets that get lost.
    pub(crate) loss: f64,
    /// Number of blocks, and the size of each in bytes.
    pub(crate) blocks: (u64, usize),
    /// Seconds from the request to the last block.
    pub(crate) seconds: f64,
    /// Bytes that the follower received meanwhile, with all headers.
    pub(crate) received: u64,
    /// Seconds of processor time, all nodes together.
    pub(crate) processor: f64,
}

impl Range {
    /// Returns the share of the follower's line that carried something.
    pub(crate) fn share(&self) -> f64 {
        self.received as f64 * 8.0 / (MBIT * 1e6) / self.seconds
    }

    /// Returns the rate of blocks before compression, as a share of the line.
    pub(crate) fn goodput(&self) -> f64 {
        let (count, size) = self.blocks;
        (count * size as u64) as f64 * 8.0 / (MBIT * 1e6) / self.seconds
    }
}

/// Returns what is measured: servers, loss and blocks.
pub(crate) fn plans() -> Vec<(usize, f64, (u64, usize))> {
    let mut plans = Vec::new();
    for blocks in CHAINS {
        for loss in [0.0, 0.005] {
            plans.extend([1, 4].map(|servers| (servers, loss, blocks)));
        }
    }
    plans
}

/// Measures one follower.
pub(crate) async fn run(
    servers: usize,
    loss: f64,
    blocks: (u64, usize),
    seed: u64,
) -> Result<Range, String> {
    let count = servers + 1;
    let delays = vec![vec![ONE_WAY; count]; count];
    let lines = Lines { mbit: MBIT, queue: Duration::from_millis(300), delays, loss, seed };
    let nodes = Nodes::start(&vec![Kind::Ours; count], &lines).await?;
    let genesis_time = unix_seconds() - blocks.0 - 10;
    let mut top = Value::Null;
    // The last node dials all others, and fetches.
    let members = members(count, servers, seed);
    for (index, (node, member)) in nodes.all.iter().zip(&members).enumerate() {
        let setup = member.setup(genesis_time);
        let is_server = index < servers;
        let has = is_server.then_some(blocks);
        let mut setup = Setup { has, fetches: true, ..setup };
        if is_server {
            setup.dials.clear();
        }
        let setup = serde_json::to_value(setup).map_err(|error| error.to_string())?;
        let started = node.ask("start", setup).await?;
        if is_server {
            top = started["top"].clone();
        }
    }
    let follower = &nodes.all[servers];
    let start = Instant::now();
    while follower.ask("peers", json!({})).await?["peers"] != servers {
        if start.elapsed() > PATIENCE {
            return Err("the follower does not reach its servers".into());
        }
        sleep(Duration::from_millis(50)).await;
    }
    // Every connection has told its protocols by then.
    sleep(Duration::from_secs(2)).await;
    let (before, spent) = (nodes.counted().await?, nodes.processor_time());
    let fetched = follower.ask("fetch", top).await?;
    let (after, now_spent) = (nodes.counted().await?, nodes.processor_time());
    let fetched: Fetched = serde_json::from_value(fetched).map_err(|error| error.to_string())?;
    Ok(Range {
        servers,
        loss,
        blocks,
        seconds: fetched.seconds,
        received: after.received[servers] - before.received[servers],
        processor: now_spent - spent,
    })
}
