//! Latency of a block on its way through the network.

use crate::peer::{Peer, message_id};
use crate::world::{accepted, at, chain, config, fill, signed, signer, sized, until};
use libp2p::Multiaddr;
use opp2p::devnet::{BlockMaker, unix_seconds};
use opp2p_core::chain::{BlockId, ChainConfig};
use opp2p_core::node::SyncConfig;
use opp2p_core::payload::Envelope;
use opp2p_core::sync::ServerConfig;
use opp2p_node::host::{Host, HostConfig, HostEvent};
use opp2p_tests::report::{Row, Section};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use tokio::time::{sleep, sleep_until};

/// The parts of this measurement, by name.
pub(crate) const PARTS: &[&str] = &["hop", "node", "mesh", "syncing", "head-of-line", "publish"];

/// Blocks per second, and number of blocks, of each run.
const RATES: [(u32, usize); 3] = [(1, 20), (10, 150), (50, 500)];
/// Number of nodes in the mesh, and number of earlier nodes that each of them dials.
const MESH: usize = 20;
const DIALS: usize = 3;
/// Number of blocks that are fetched over and over while others come by gossip.
const FETCHED: u64 = 1_500;

/// Measures the parts that `words` names, and reports the section.
pub(crate) async fn measure(words: &[String]) {
    let wanted = |part: &str| words.iter().any(|word| word == part || word == "path");
    let mut rows = Vec::new();
    if wanted("hop") {
        for (rate, count) in RATES {
            let told = latency(2, rate, count).await;
            rows.extend(told.rows(&format!("One hop, {rate} blocks/s")));
        }
    }
    if wanted("node") {
        rows.extend(through_a_node().await);
    }
    if wanted("mesh") {
        for (rate, count) in RATES {
            let told = latency(MESH, rate, count).await;
            rows.extend(told.rows(&format!("Mesh of {MESH}, {rate} blocks/s")));
        }
    }
    if wanted("syncing") {
        rows.extend(syncing().await);
    }
    if wanted("head-of-line") {
        rows.extend(head_of_line().await);
    }
    if wanted("publish") {
        rows.extend(crate::publish::rows().await);
    }
    if rows.is_empty() {
        return;
    }
    let section = Section {
        name: "10-path".to_owned(),
        title: "A block's way".to_owned(),
        command: "cargo all-tests -- path".to_owned(),
        about: format!(
            "From a block's being handed to the sequencer to another node's acceptance, in \
             milliseconds. All nodes are in one process on loopback, their stores on the disk, and \
             the blocks the devnet's: most have 3 to 80 kB, one in a hundred about 1 MB. Of the \
             mesh of {MESH}, each node dials the {DIALS} before it."
        ),
        rows,
    };
    section.tell().expect("the report's folder can be written to");
}

/// Latencies of a run: sorted, in milliseconds.
struct Latency {
    /// Latency of each block at each node.
    each: Vec<f64>,
    /// Latency of each block at the last node that received it.
    last: Vec<f64>,
    /// Blocks per second, from the first publication to the last acceptance.
    reached: f64,
}

impl Latency {
    fn rows(&self, what: &str) -> Vec<Row> {
        let figures = |values: &[f64]| {
            let [median, late, most] = [0.5, 0.99, 1.0].map(|part| at(values, part));
            format!("{median:.2} / {late:.1} / {most:.1} ms")
        };
        let row = |who: &str, values| {
            Row::new(format!("{what}, {who}: p50 / p99 / most"), figures(values))
        };
        let mut rows = vec![row("each node", &self.each)];
        if self.each.len() > self.last.len() {
            rows.push(
                row("last node", &self.last).noted(format!("{:.1} blocks/s reached", self.reached)),
            );
        }
        rows
    }
}

/// Starts nodes, each of which dials some of the earlier ones. The first one is the sequencer.
async fn nodes(directory: &Path, chain: &ChainConfig, count: usize) -> Vec<Host> {
    let mut hosts: Vec<Host> = Vec::new();
    for at in 0..count {
        let static_peers = hosts.iter().rev().take(DIALS).map(|host| host.address()).collect();
        let sequencer = (at == 0).then(|| signer().into());
        let config = HostConfig { static_peers, sequencer, ..config(directory, chain) };
        hosts.push(Host::start(config).await.unwrap());
    }
    for host in &hosts {
        until(host, |status| status.mesh >= DIALS.min(count - 1)).await;
    }
    hosts
}

async fn latency(count: usize, rate: u32, blocks: usize) -> Latency {
    let (directory, chain) = (tempfile::tempdir().unwrap(), chain(Duration::ZERO));
    let hosts = nodes(directory.path(), &chain, count).await;
    let mut maker = BlockMaker::new(&chain, 8);
    let made: Vec<Envelope> = (0..blocks).map(|_| maker.next(unix_seconds())).collect();
    let others: Vec<&Host> = hosts[1..].iter().collect();
    let latency = publish(&hosts[0], &others, rate, made).await;
    for host in hosts {
        host.stop().await;
    }
    latency
}

/// Records the time at which a node accepted each block, by number.
fn record(
    mut events: broadcast::Receiver<HostEvent>,
    count: usize,
) -> JoinHandle<HashMap<u64, Instant>> {
    tokio::spawn(async move {
        let mut when = HashMap::new();
        while when.len() < count {
            let (block, at) = accepted(&mut events).await;
            when.insert(block.number, at);
        }
        when
    })
}

/// Publishes the blocks at their times, whether or not the previous ones have arrived.
async fn publish(sequencer: &Host, others: &[&Host], rate: u32, blocks: Vec<Envelope>) -> Latency {
    let count = blocks.len();
    let records: Vec<_> = others.iter().map(|host| record(host.events(), count)).collect();
    let (start, mut sent) = (Instant::now(), HashMap::new());
    for (at, block) in (0..).zip(blocks) {
        sleep_until((start + Duration::from_secs(1) * at / rate).into()).await;
        sent.insert(block.payload.block_number, Instant::now());
        sequencer.publish(block).await.unwrap().unwrap();
    }
    let (mut each, mut last, mut end) = (Vec::new(), HashMap::<u64, f64>::new(), start);
    for record in records {
        for (number, at) in record.await.unwrap() {
            let took = (at - sent[&number]).as_secs_f64() * 1e3;
            each.push(took);
            let most = last.entry(number).or_default();
            *most = most.max(took);
            end = end.max(at);
        }
    }
    let mut last: Vec<f64> = last.into_values().collect();
    each.sort_by(f64::total_cmp);
    last.sort_by(f64::total_cmp);
    Latency { each, last, reached: count as f64 / (end - start).as_secs_f64() }
}

/// Measures one node between a peer that sends and a peer that receives. Neither peer checks
/// anything.
async fn through_a_node() -> Vec<Row> {
    let (directory, chain) = (tempfile::tempdir().unwrap(), chain(Duration::ZERO));
    let host = Host::start(config(directory.path(), &chain)).await.unwrap();
    let from = Peer::start(chain.chain_id, &host.address()).await;
    let mut to = Peer::start(chain.chain_id, &host.address()).await;
    until(&host, |status| status.mesh == 2).await;
    let mut events = host.events();
    let mut maker = BlockMaker::new(&chain, 6);
    let mut rows = Vec::new();
    for (what, bytes, count) in
        [("2.6 kB", 2_600, 200), ("61 kB", 61_000, 200), ("1 MB", 1_000_000, 40)]
    {
        let (mut judged, mut relayed) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let contents = signed(&chain, &sized(&mut maker, unix_seconds(), bytes));
            let id = message_id(chain.chain_id, &contents);
            let sent = from.publish(contents);
            let (_, verdict) = accepted(&mut events).await;
            let (heard, at) = to.heard().await;
            assert_eq!(heard, id, "messages come in order");
            judged.push((verdict - sent.await.unwrap()).as_secs_f64() * 1e3);
            relayed.push(at.saturating_duration_since(verdict).as_secs_f64() * 1e3);
            sleep(Duration::from_millis(10)).await;
        }
        for (way, mut values) in
            [("to the verdict", judged), ("from there to the next peer", relayed)]
        {
            values.sort_by(f64::total_cmp);
            let (median, late) = (at(&values, 0.5), at(&values, 0.99));
            rows.push(Row::new(
                format!("Through one node, {what}, {way}: p50 / p99"),
                format!("{median:.2} / {late:.1} ms"),
            ));
        }
    }
    host.stop().await;
    rows
}

/// Measures a chain of three nodes, with and without a fourth one that fetches all blocks from the
/// middle one.
async fn syncing() -> Vec<Row> {
    let directory = tempfile::tempdir().unwrap();
    let chain = chain(Duration::from_secs(FETCHED + 5));
    let mut maker = BlockMaker::new(&chain, 9);
    let old: Vec<Envelope> =
        (1..=FETCHED).map(|number| maker.next(chain.timestamp_of(number).unwrap())).collect();
    let last = &old[old.len() - 1].payload;
    let top = BlockId::new(last.block_number, last.block_hash);
    let alone =
        |static_peers| HostConfig { sync: None, static_peers, ..config(directory.path(), &chain) };
    let sequencer =
        Host::start(HostConfig { sequencer: Some(signer().into()), ..alone(Vec::new()) })
            .await
            .unwrap();
    let serving = unlimited(directory.path(), &chain, sequencer.address());
    fill(&serving, &old);
    let middle = Host::start(serving).await.unwrap();
    let end = Host::start(alone(vec![middle.address()])).await.unwrap();
    until(&sequencer, |status| status.mesh == 1).await;
    until(&middle, |status| status.mesh == 2).await;

    let mut rows = Vec::new();
    let mut medians = Vec::new();
    for is_syncing in [false, true] {
        let fetching = if is_syncing {
            Some(Fetching::start(directory.path(), &chain, &middle, top).await)
        } else {
            None
        };
        let made: Vec<Envelope> = (0..150).map(|_| maker.next(unix_seconds())).collect();
        let told = publish(&sequencer, &[&middle, &end], 10, made).await;
        let what = match fetching {
            None => "Two hops, 10 blocks/s".to_owned(),
            Some(fetching) => {
                let rate = fetching.stop().await;
                format!("The same while the middle node serves a sync of {rate:.0} blocks/s")
            }
        };
        medians.push(at(&told.last, 0.5));
        rows.extend(told.rows(&what));
    }
    let times = medians[1] / medians[0];
    let row = Row::new(
        "Median at the last node while a sync runs, to that without",
        format!("{times:.1}"),
    );
    rows.push(row.held_to("2", times <= 2.0));
    for host in [end, middle, sequencer] {
        host.stop().await;
    }
    rows
}

/// Returns the configuration of a node that serves and fetches without limits.
fn unlimited(directory: &Path, chain: &ChainConfig, peer: Multiaddr) -> HostConfig {
    let mut config = HostConfig { static_peers: vec![peer], ..config(directory, chain) };
    config.from_genesis = true;
    config.retention.max_bytes = u64::MAX;
    config.retention.max_age = Duration::from_secs(1 << 30);
    config.sync = Some(SyncConfig { serve: ServerConfig::unlimited(), ..SyncConfig::default() });
    config
}

/// A series of nodes, each of which fetches the whole chain from one server.
struct Fetching<'a> {
    server: &'a Host,
    served: u64,
    started: Instant,
    is_over: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl<'a> Fetching<'a> {
    /// Starts the series, and waits until blocks arrive.
    async fn start(directory: &Path, chain: &ChainConfig, server: &'a Host, top: BlockId) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let (directory, chain, address) = (directory.to_owned(), chain.clone(), server.address());
        let over = Arc::clone(&is_over);
        let task = tokio::spawn(async move {
            while !over.load(Ordering::Relaxed) {
                let client =
                    Host::start(unlimited(&directory, &chain, address.clone())).await.unwrap();
                until(&client, |status| status.peers == 1).await;
                client.fetch_range(top).await.unwrap().unwrap();
                while !over.load(Ordering::Relaxed)
                    && client.status().borrow().head.is_none_or(|head| head.number < top.number)
                {
                    sleep(Duration::from_millis(5)).await;
                }
                client.stop().await;
            }
        });
        until(server, |status| status.served > 0).await;
        let served = server.status().borrow().served;
        Self { server, served, started: Instant::now(), is_over, task }
    }

    /// Ends the series. Returns the number of blocks served per second.
    async fn stop(self) -> f64 {
        let served = self.server.status().borrow().served - self.served;
        let rate = served as f64 / self.started.elapsed().as_secs_f64();
        self.is_over.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
        rate
    }
}

/// Measures small blocks from one peer while a large one comes from another.
async fn head_of_line() -> Vec<Row> {
    /// Number of small blocks after each large one, and the time between them.
    const SMALL: usize = 20;
    const PAUSE: Duration = Duration::from_millis(2);
    let (directory, chain) = (tempfile::tempdir().unwrap(), chain(Duration::ZERO));
    let middle = Host::start(config(directory.path(), &chain)).await.unwrap();
    let alone = HostConfig {
        sync: None,
        static_peers: vec![middle.address()],
        ..config(directory.path(), &chain)
    };
    let end = Host::start(alone).await.unwrap();
    let large = Peer::start(chain.chain_id, &middle.address()).await;
    let mut small = Peer::start(chain.chain_id, &middle.address()).await;
    until(&middle, |status| status.mesh == 3).await;
    let mut maker = BlockMaker::new(&chain, 7);
    let mut rows = Vec::new();
    let mut usual = [0.0; 2];
    for (what, bytes, rounds) in
        [("alone", 0, 15), ("behind 1 MB", 1_000_000, 15), ("behind 9 MB", 9_000_000, 15)]
    {
        let mut delays = [Vec::new(), Vec::new()];
        for _ in 0..rounds {
            let first =
                (bytes > 0).then(|| signed(&chain, &sized(&mut maker, unix_seconds(), bytes)));
            let blocks: Vec<(u64, Vec<u8>)> = (0..SMALL)
                .map(|_| {
                    let block = sized(&mut maker, unix_seconds(), 10_000);
                    (block.payload.block_number, signed(&chain, &block))
                })
                .collect();
            let count = SMALL + usize::from(first.is_some());
            let records = [&middle, &end].map(|host| record(host.events(), count));
            if let Some(first) = first {
                // Only the node's processing counts, so the block's departure is not awaited.
                drop(large.publish(first));
                sleep(PAUSE).await;
            }
            let mut sent = HashMap::new();
            for (number, contents) in blocks {
                sent.insert(number, small.publish(contents).await.unwrap());
                sleep(PAUSE).await;
            }
            for (delays, record) in delays.iter_mut().zip(records) {
                let when = record.await.unwrap();
                let took =
                    |(number, sent): (&u64, &Instant)| (when[number] - *sent).as_secs_f64() * 1e3;
                delays.extend(sent.iter().map(took));
            }
            small.forget();
        }
        for (at_node, (who, mut delays)) in
            ["the node itself", "one hop further"].into_iter().zip(delays).enumerate()
        {
            delays.sort_by(f64::total_cmp);
            let [median, late, most] = [0.5, 0.99, 1.0].map(|part| at(&delays, part));
            let row = Row::new(
                format!("Small blocks, 2 ms apart, {what}, {who}: p50 / p99 / most"),
                format!("{median:.2} / {late:.1} / {most:.1} ms"),
            );
            if bytes == 0 {
                usual[at_node] = late;
                rows.push(row);
                continue;
            }
            let times = late / usual[at_node];
            let bound = format!("p99 twice the {:.1} ms without", usual[at_node]);
            rows.push(row.held_to(bound, times <= 2.0).noted(format!("{times:.1} times")));
        }
    }
    for host in [end, middle] {
        host.stop().await;
    }
    rows
}
