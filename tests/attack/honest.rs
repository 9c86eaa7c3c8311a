//! The honest network around an attacked node: a sequencer, an observer that gets blocks only
//! through the attacked node, and a newcomer.

pub(crate) use crate::kit::signer;

use crate::kit;
use alloy_primitives::{Address, B256};
use libp2p::Multiaddr;
use opp2p::devnet::{BlockMaker, unix_seconds};
use opp2p_core::chain::{ChainConfig, ChainEvent, Fork};
use opp2p_core::gossip::{Unpacked, block_topic};
use opp2p_core::node::Event;
use opp2p_core::payload::{Envelope, PayloadVersion, snappy};
use opp2p_core::sequencer::LocalSigner;
use opp2p_node::host::{Host, HostConfig, HostEvent, HostEventKind};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::broadcast;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// Maximum wait for anything that should happen soon.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Chain id.
pub(crate) const CHAIN_ID: u64 = 901;

pub(crate) fn chain() -> ChainConfig {
    let genesis = B256::repeat_byte(9);
    let chain = ChainConfig::development(
        CHAIN_ID,
        genesis,
        1_700_000_000,
        2,
        Fork::Jovian,
        signer().address(),
    );
    // The command requires all fields of a real chain's configuration.
    ChainConfig { l1_chain_id: 900, system_config: Some(Address::repeat_byte(3)), ..chain }
}

/// Returns the configuration of one of our honest nodes.
fn config(directory: &TempDir, static_peers: Vec<Multiaddr>) -> HostConfig {
    let mut config = kit::config(directory, &chain());
    config.static_peers = static_peers;
    config
}

/// Delays from the publication by the sequencer to the delivery by the observer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Delays(Vec<Duration>);

impl Delays {
    /// Returns the delay below which this share of all delays lies.
    pub(crate) fn at(&self, part: f64) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort();
        let last = sorted.len().saturating_sub(1);
        sorted.get((last as f64 * part).ceil() as usize).copied().unwrap_or_default()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// The sequencer and the chain that it makes.
pub(crate) struct Sequencer {
    host: Host,
    maker: BlockMaker,
    /// Number of the latest block.
    pub(crate) head: u64,
    ids: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Sequencer {
    pub(crate) async fn start(directory: &TempDir) -> Self {
        let config =
            HostConfig { sequencer: Some(signer().into()), ..config(directory, Vec::new()) };
        Self {
            host: Host::start(config).await.unwrap(),
            maker: BlockMaker::new(&chain(), 5),
            head: 0,
            ids: Arc::default(),
        }
    }

    pub(crate) fn address(&self) -> Multiaddr {
        self.host.address()
    }

    pub(crate) fn peer_id(&self) -> String {
        self.host.peer_id().to_string()
    }

    /// Waits until the attacked node is subscribed.
    pub(crate) async fn until_heard(&self) {
        let mut status = self.host.status();
        let heard = status.wait_for(|status| status.mesh >= 1);
        timeout(PATIENCE, heard).await.expect("the node joins the sequencer's mesh").unwrap();
    }

    /// Returns the ids of the sequencer's messages so far.
    pub(crate) fn ids(&self) -> Arc<Mutex<Vec<Vec<u8>>>> {
        Arc::clone(&self.ids)
    }

    /// Publishes a block. Returns its hash and the time.
    pub(crate) async fn publish(&mut self) -> (B256, Instant) {
        let block = self.maker.next(unix_seconds());
        self.head = block.payload.block_number;
        self.ids.lock().unwrap().push(id(&block));
        let (hash, at) = (block.payload.block_hash, Instant::now());
        self.host.publish(block).await.unwrap().expect("the sequencer's block goes out");
        (hash, at)
    }
}

/// Returns the compressed gossip message of a block, signed by `signer`.
pub(crate) fn message(signer: &LocalSigner, block: &Envelope) -> Vec<u8> {
    snappy::compress(&signer.sign_block(CHAIN_ID, block).unwrap().1)
}

/// Returns the id of the sequencer's message with this block.
fn id(block: &Envelope) -> Vec<u8> {
    let topic = block_topic(CHAIN_ID, PayloadVersion::V4);
    Unpacked::new(&message(&signer(), block)).message_id(&topic).to_vec()
}

/// A node that is connected only to the attacked one.
pub(crate) struct Observer {
    pub(crate) host: Host,
    events: broadcast::Receiver<HostEvent>,
}

impl Observer {
    pub(crate) async fn start(directory: &TempDir, through: &Multiaddr) -> Self {
        Self::start_as(config(directory, vec![through.clone()])).await
    }

    async fn start_as(config: HostConfig) -> Self {
        let (host, events) = Host::start_heard(config).await.unwrap();
        let mut status = host.status();
        let heard = status.wait_for(|status| status.mesh >= 1);
        timeout(PATIENCE, heard)
            .await
            .expect("an honest node joins the attacked one's mesh")
            .unwrap();
        Self { host, events }
    }

    /// Returns the next block that the observer delivers, and the time.
    async fn next(&mut self) -> (u64, B256, Instant) {
        loop {
            let event = self.events.recv().await.expect("the observer keeps up");
            if let HostEventKind::Core(Event::Chain(ChainEvent::Extended(block))) = event.kind {
                return (block.number(), block.hash(), event.at);
            }
        }
    }

    /// Waits until the observer has a block published from now on. A block that is sent before the
    /// attacked node knows that the observer is in the mesh does not reach it; the next block
    /// reveals the gap.
    pub(crate) async fn expect_next_block(&mut self, sequencer: &mut Sequencer) {
        for _ in 0..PATIENCE.as_secs() / 3 {
            sequencer.publish().await;
            let reached = async { while self.next().await.0 < sequencer.head {} };
            if timeout(Duration::from_secs(3), reached).await.is_ok() {
                return;
            }
        }
        self.until(sequencer.head).await;
    }

    /// Waits until the observer has this block.
    async fn until(&mut self, number: u64) {
        let reached = async { while self.next().await.0 < number {} };
        if timeout(PATIENCE, reached).await.is_err() {
            let status = self.host.status().borrow().clone();
            panic!(
                "an honest node does not get block {number} through the attacked one: {status:?}"
            );
        }
    }
}

/// Publishes `count` blocks, one every `every`, and waits until the observer has all of them.
///
/// # Panics
/// If one of them does not arrive.
pub(crate) async fn publish(
    sequencer: &mut Sequencer,
    observer: &mut Observer,
    count: usize,
    every: Duration,
) -> Delays {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut sent: HashMap<B256, Instant> = HashMap::new();
    let mut came: Vec<(B256, Instant)> = Vec::new();
    let mut left = count;
    let mut last = Instant::now();
    while came.len() < count {
        tokio::select! {
            _ = ticks.tick(), if left > 0 => {
                let (hash, at) = sequencer.publish().await;
                sent.insert(hash, at);
                left -= 1;
                last = Instant::now();
            }
            (_, hash, at) = observer.next() => came.push((hash, at)),
            () = tokio::time::sleep(Duration::from_secs(1)) => {
                let missing = count - left - came.len();
                assert!(
                    last.elapsed() < PATIENCE,
                    "{missing} of {count} honest blocks do not arrive"
                );
            }
        }
    }
    let delay = |(hash, at): (B256, Instant)| {
        sent.get(&hash).map(|sent| at.saturating_duration_since(*sent))
    };
    Delays(came.into_iter().filter_map(delay).collect())
}

/// Runs a new node: it connects, gets the next block, is away for three, and fetches those by
/// number.
pub(crate) async fn newcomer(
    directory: &TempDir,
    sequencer: &mut Sequencer,
    observer: &mut Observer,
    through: &Multiaddr,
) {
    let again = || {
        let mut config = config(directory, vec![through.clone()]);
        config.store = directory.path().join("newcomer");
        config
    };
    let (first, second) = (again(), again());
    let mut newcomer = Observer::start_as(first).await;
    newcomer.expect_next_block(sequencer).await;
    newcomer.host.stop().await;
    for _ in 0..3 {
        sequencer.publish().await;
    }
    let mut newcomer = Observer::start_as(second).await;
    newcomer.expect_next_block(sequencer).await;
    newcomer.host.stop().await;
    observer.until(sequencer.head).await;
}
