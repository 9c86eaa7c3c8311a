//! The devnet's nodes: a sequencer and its followers, each a complete [`Host`] with its own key,
//! port and store, on loopback.

mod links;

use super::{BlockMaker, Member, NodeInfo};
use alloy_primitives::{Address, B256, b256};
use libp2p::Multiaddr;
use opp2p_core::chain::{BlockId, ChainConfig, Fork};
use opp2p_core::gossip::HEARTBEAT;
use opp2p_core::payload::Envelope;
use opp2p_core::sequencer::{InvalidSecretKey, LocalSigner, PublishError};
use opp2p_node::clock::since_epoch;
use opp2p_node::host::{
    BlockSigner, Host, HostConfig, HostError, HostEvent, Status, WsConfig, tcp_port,
};
use opp2p_node::key::{KeyError, KeyFormatError, SecretKey};
use opp2p_store::{Store, StoreConfig, StoreError};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinHandle;

/// The devnet's L2 chain id.
pub const CHAIN_ID: u64 = 901;
/// File name of a node's store in its directory.
pub(super) const STORE: &str = "blocks.redb";
/// File with the TCP port of a node's last run, in its directory: its address stays the same.
const PORT: &str = "tcp.port";
/// Chain id of an L1 that does not exist.
const L1_CHAIN_ID: u64 = 900;
/// Genesis hash of the devnet: any value, as long as it is the same in each run.
const GENESIS_HASH: B256 =
    b256!("6f707032702d6465766e65742d67656e657369732d626c6f636b2d6861736821");
const GENESIS_TIME: u64 = 1_700_000_000;
/// Time that the nodes get to start if the schedule determines each block's time, and the
/// additional time for each follower.
const START_TIME: Duration = Duration::from_secs(2);
const FOLLOWER_TIME: Duration = Duration::from_millis(300);
/// Time limit for the nodes to find each other.
const MESH_TIMEOUT: Duration = Duration::from_secs(30);
/// Time limit for a restarted follower to get its port.
const PORT_TIMEOUT: Duration = Duration::from_secs(10);

/// Reasons why the devnet can't start. Each message is one sentence.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// A node can't start.
    #[error("the {member} can't start: {source}")]
    Host {
        /// The node.
        member: Member,
        /// The cause.
        source: HostError,
    },
    /// A key file can't be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A key can't be used.
    #[error(transparent)]
    KeyFormat(#[from] KeyFormatError),
    /// A key can't sign.
    #[error(transparent)]
    Signer(#[from] InvalidSecretKey),
    /// A directory can't be created.
    #[error("can't make the directory {}: {source}; choose another", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The peer of [`Scenario::LyingPeer`](super::Scenario::LyingPeer) can't start.
    #[error("the lying peer can't start: {0}")]
    LyingPeer(#[source] HostError),
    /// The nodes did not connect to each other in time.
    #[error(
        "after 30 s only {0} of the followers are in the sequencer's mesh; is loopback blocked?"
    )]
    NoMesh(usize),
    /// A store can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Settings of a devnet.
#[derive(Clone, Debug)]
pub struct NetworkConfig {
    /// Number of followers.
    pub followers: usize,
    /// Time between two blocks.
    pub block_time: Duration,
    /// Newest active fork. It and all earlier ones are active from genesis.
    pub fork: Fork,
    /// Directory of keys and stores.
    pub directory: PathBuf,
    /// Port at which browsers join, at the first follower; 0 lets the system choose. `None` if they
    /// may not join.
    pub browsers: Option<u16>,
    /// Hash and time of the genesis, if execution clients build the blocks; `None` for made-up
    /// blocks.
    pub genesis: Option<(B256, u64)>,
}

/// The running nodes.
#[derive(Debug)]
pub struct Network {
    sequencer: Host,
    followers: Vec<Follower>,
    chain: ChainConfig,
    browser_addresses: Vec<Multiaddr>,
    events: mpsc::Sender<(Member, NetworkEvent)>,
    directory: PathBuf,
}

/// A follower, running or not.
#[derive(Debug)]
struct Follower {
    info: NodeInfo,
    plan: Plan,
    /// `None` while it is down. Locked only briefly.
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    host: Host,
    /// Forwards the host's events, and ends with them.
    forwarding: JoinHandle<()>,
}

/// Settings that are the same at each start of a node.
#[derive(Clone, Debug)]
struct Plan {
    chain: ChainConfig,
    directory: PathBuf,
    port: u16,
    ws: Option<WsConfig>,
    static_peers: Vec<Multiaddr>,
}

/// An event in the network.
#[derive(Debug)]
pub enum NetworkEvent {
    /// An event reported by a node.
    Host(HostEvent),
    /// The node's events came faster than they were read, and some are missing here.
    Missed,
    /// The node was killed. All of its own events precede this one.
    Killed {
        /// Time of the kill.
        at: Instant,
        /// The block from which it will resume; `None` if its store has no head.
        stored: Option<BlockId>,
    },
    /// The node runs again, with its previous directory, key and port.
    Restarted {
        /// Time of the restart.
        at: Instant,
    },
}

/// Result of publishing a block on the sequencer.
#[derive(Debug)]
pub struct Publication {
    /// The block.
    pub block: BlockId,
    /// Number of its transactions.
    pub transactions: usize,
    /// Size of its encoded envelope in bytes.
    pub bytes: usize,
    /// Time when the sequencer received it.
    pub at: Instant,
    /// The result.
    pub result: Result<(), PublishError>,
}

impl Network {
    /// Starts all nodes. Each follower has the sequencer and the previous follower as static peers,
    /// so that a block can arrive by more than one route. The receiver gets all events of the
    /// network, from the first on.
    ///
    /// The queue holds 1024 events. A slow reader delays the forwarding of events, so that the
    /// nodes' own bounded queues may drop some ([`NetworkEvent::Missed`]).
    ///
    /// # Errors
    /// If a node can't start.
    pub async fn start(
        config: &NetworkConfig,
    ) -> Result<(Self, mpsc::Receiver<(Member, NetworkEvent)>), NetworkError> {
        let signing_key = key(&config.directory, "sequencer.key")?;
        let chain = chain(config, signing_key.address())?;
        let (events, receiver) = mpsc::channel(1024);
        let plan = |name: &str, static_peers| {
            let directory = config.directory.join(name);
            let port = kept_port(&directory);
            Plan { chain: chain.clone(), directory, port, ws: None, static_peers }
        };
        let signer = LocalSigner::from_bytes(signing_key.secret_bytes())?;
        let (sequencer, heard) =
            plan("sequencer", Vec::new()).start(Member::Sequencer, Some(signer)).await?;
        tokio::spawn(forward(Member::Sequencer, heard, events.clone()));
        let mut followers: Vec<Follower> = Vec::new();
        let mut before: Option<Multiaddr> = None;
        let mut browser_addresses = Vec::new();
        for index in 0..config.followers {
            let peers = std::iter::once(sequencer.address()).chain(before).collect();
            let mut plan = plan(&format!("follower-{}", index + 1), peers);
            let door = config.browsers.filter(|_| index == 0);
            plan.ws = door.map(|port| WsConfig { port, ..WsConfig::default() });
            let member = Member::Follower(index);
            let (host, heard) = plan.start(member, None).await?;
            let info = info(&host);
            // A restart must use the address that the other nodes know.
            plan.port = info.port;
            let doors = host.browser_addresses();
            if let (Some(ws), Some(port)) = (&mut plan.ws, doors.iter().find_map(tcp_port)) {
                ws.port = port;
            }
            browser_addresses.extend(doors);
            before = Some(host.address());
            let running = Running::forwarded(member, host, heard, &events);
            followers.push(Follower { info, plan, running: Mutex::new(Some(running)) });
        }
        let directory = config.directory.clone();
        Ok((Self { sequencer, followers, chain, browser_addresses, events, directory }, receiver))
    }

    /// Returns the chain that the nodes follow.
    pub const fn chain(&self) -> &ChainConfig {
        &self.chain
    }

    /// Returns the directory of keys and stores.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the addresses for browsers, each of which ends in the first follower's peer id.
    /// Empty if browsers may not join.
    pub fn browser_addresses(&self) -> &[Multiaddr] {
        &self.browser_addresses
    }

    /// Returns the sequencer's peer id and port.
    pub fn sequencer_info(&self) -> NodeInfo {
        info(&self.sequencer)
    }

    /// Returns the followers' peer ids and ports.
    pub fn follower_infos(&self) -> Vec<NodeInfo> {
        self.followers.iter().map(|follower| follower.info.clone()).collect()
    }

    /// Returns the statuses of the running nodes, the sequencer first.
    pub fn statuses(&self) -> Vec<(Member, watch::Receiver<Status>)> {
        let followers = self.followers.iter().enumerate().filter_map(|(index, follower)| {
            let running = follower.lock();
            Some((Member::Follower(index), running.as_ref()?.host.status()))
        });
        std::iter::once((Member::Sequencer, self.sequencer.status())).chain(followers).collect()
    }

    /// Returns the running nodes, the sequencer first. This needs exclusive access; while another
    /// task may kill or restart a node, use [`Self::statuses`].
    pub fn hosts(&mut self) -> impl Iterator<Item = (Member, &Host)> {
        let followers = self.followers.iter_mut().enumerate().filter_map(|(index, follower)| {
            let running = follower.running.get_mut().unwrap_or_else(PoisonError::into_inner);
            Some((Member::Follower(index), &running.as_ref()?.host))
        });
        std::iter::once((Member::Sequencer, &self.sequencer)).chain(followers)
    }

    /// Kills the last follower, see [`Host::kill`]. Does nothing if it is already down.
    ///
    /// Waits until all events of the node are forwarded, so another task must read the events
    /// meanwhile.
    ///
    /// # Errors
    /// If its store can't be read afterwards.
    pub async fn kill_last_follower(&self) -> Result<(), NetworkError> {
        let Some((member, follower)) = self.last_follower() else { return Ok(()) };
        let Some(Running { host, forwarding }) = follower.lock().take() else { return Ok(()) };
        let at = Instant::now();
        let stored = host.kill().await?;
        // The task ends after the last event, and contains its own panics.
        let _ = forwarding.await;
        // Having no reader is not an error.
        let _ = self.events.send((member, NetworkEvent::Killed { at, stored })).await;
        Ok(())
    }

    /// Starts the last follower again after [`Self::kill_last_follower`], as the same node. Does
    /// nothing if it is running.
    ///
    /// # Errors
    /// If it can't start. If another process took the port meanwhile, this first waits up to 10 s
    /// for the port.
    pub async fn restart_last_follower(&self) -> Result<(), NetworkError> {
        let Some((member, follower)) = self.last_follower() else { return Ok(()) };
        if follower.lock().is_some() {
            return Ok(());
        }
        let deadline = Instant::now() + PORT_TIMEOUT;
        let (at, (host, heard)) = loop {
            let at = Instant::now();
            match follower.plan.start(member, None).await {
                Err(NetworkError::Host { source: HostError::Listen { .. }, .. })
                    if at < deadline =>
                {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                started => break (at, started?),
            }
        };
        // Sent before any event of the node.
        let _ = self.events.send((member, NetworkEvent::Restarted { at })).await;
        *follower.lock() = Some(Running::forwarded(member, host, heard, &self.events));
        Ok(())
    }

    fn last_follower(&self) -> Option<(Member, &Follower)> {
        let index = self.followers.len().checked_sub(1)?;
        Some((Member::Follower(index), self.followers.get(index)?))
    }

    /// Waits until the sequencer sees a subscription of each follower, and all meshes have formed.
    ///
    /// A graft takes effect when it arrives. A message published before that reaches the grafting
    /// node only through another relay, so this waits for one more heartbeat after the last graft.
    ///
    /// # Errors
    /// If that takes longer than 30 s.
    pub async fn meshed(&self) -> Result<(), NetworkError> {
        let deadline = Instant::now() + MESH_TIMEOUT;
        loop {
            let subscribed = self.sequencer.status().borrow().subscribers;
            let meshed = self.statuses().iter().all(|(_, status)| status.borrow().mesh > 0);
            if subscribed >= self.followers.len() && meshed {
                tokio::time::sleep(HEARTBEAT).await;
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(NetworkError::NoMesh(subscribed));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Returns a block generator that continues after the head of the sequencer's store.
    ///
    /// # Errors
    /// If the store can't be read.
    pub fn maker(&self, seed: u64) -> Result<BlockMaker, NetworkError> {
        let mut maker = BlockMaker::new(&self.chain, seed);
        if let Some(head) = self.sequencer.stored_head()? {
            let timestamp =
                self.sequencer.stored_block(head.number)?.map_or(0, |block| block.timestamp());
            maker.resume(head, timestamp);
        }
        Ok(maker)
    }

    /// Passes a block to the sequencer and waits until it is published.
    pub async fn publish(&self, envelope: Envelope) -> Publication {
        let payload = &envelope.payload;
        let block = BlockId::new(payload.block_number, payload.block_hash);
        let transactions = payload.transactions.len();
        let mut encoded = Vec::new();
        // The sequencer also rejects a block that can't be encoded.
        let bytes = envelope.encode(&mut encoded).map_or(0, |_| encoded.len());
        let at = Instant::now();
        let result = match self.sequencer.publish(envelope).await {
            Ok(result) => result.map(|_| ()),
            Err(_) => Err(PublishError::NoSigner),
        };
        Publication { block, transactions, bytes, at, result }
    }

    /// Stops all nodes and waits until their data is on the disk.
    pub async fn stop(self) {
        for follower in self.followers {
            let running = follower.running.into_inner().unwrap_or_else(PoisonError::into_inner);
            if let Some(Running { host, .. }) = running {
                host.stop().await;
            }
        }
        self.sequencer.stop().await;
    }
}

/// Returns the devnet's chain. It names an L1 that does not exist, since a `rollup.json` must name
/// one.
fn chain(config: &NetworkConfig, signer: Address) -> Result<ChainConfig, NetworkError> {
    // The configuration has whole seconds, but blocks may come faster.
    let block_time = config.block_time.as_secs_f64().ceil().max(1.0) as u64;
    let fork = config.fork;
    let (hash, time) = config.genesis.unwrap_or((GENESIS_HASH, GENESIS_TIME));
    let chain = ChainConfig::development(CHAIN_ID, hash, time, block_time, fork, signer);
    let mut chain = ChainConfig { name: "opp2p devnet".into(), l1_chain_id: L1_CHAIN_ID, ..chain };
    if chain.schedule().first_with_base_time().is_some() {
        // `rollup.json` keeps the block time from before Denim.
        chain.block_time = 2;
        chain.genesis.time = genesis_time(config, &chain)?;
    }
    Ok(chain)
}

/// Returns a genesis time that makes the next block due soon. The schedule ties times to block
/// numbers, so a devnet that was stopped gets a new genesis time on the next start, with the same
/// genesis hash.
fn genesis_time(config: &NetworkConfig, chain: &ChainConfig) -> Result<u64, NetworkError> {
    let path = config.directory.join("sequencer").join(STORE);
    let head = match path.exists() {
        true => Store::open(StoreConfig {
            path,
            chain_id: CHAIN_ID,
            genesis_hash: GENESIS_HASH,
            max_blocks: u64::MAX,
            max_bytes: u64::MAX,
            max_age: Duration::MAX,
        })?
        .head()?
        .map_or(0, |head| head.number),
        false => 0,
    };
    let start =
        since_epoch() + START_TIME + FOLLOWER_TIME * u32::try_from(config.followers).unwrap_or(0);
    let made = chain.schedule().shortest_interval().as_millis() * u128::from(head + 1);
    Ok(u64::try_from(start.as_millis().saturating_sub(made).div_ceil(1000)).unwrap_or_default())
}

impl Follower {
    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        // The value is replaced as a whole, so a panic elsewhere can't leave it inconsistent.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    fn forwarded(
        member: Member,
        host: Host,
        heard: broadcast::Receiver<HostEvent>,
        events: &mpsc::Sender<(Member, NetworkEvent)>,
    ) -> Self {
        Self { host, forwarding: tokio::spawn(forward(member, heard, events.clone())) }
    }
}

impl Plan {
    /// Starts the node. The receiver gets its events from the first on.
    async fn start(
        &self,
        member: Member,
        sequencer: Option<LocalSigner>,
    ) -> Result<(Host, broadcast::Receiver<HostEvent>), NetworkError> {
        let Self { chain, directory, port, ws, static_peers } = self;
        let mut host =
            HostConfig::new(chain.clone(), key(directory, "p2p.key")?, directory.join(STORE));
        host.listen_ip = Ipv4Addr::LOCALHOST.into();
        host.listen_tcp = *port;
        host.ws.clone_from(ws);
        host.from_genesis = true;
        // Any number of followers must be able to connect.
        host.peers.connections.high = usize::MAX;
        host.peers.limits.tcp.inbound = usize::MAX;
        host.peers.limits.tcp.half_open = usize::MAX;
        // The genesis is long ago, but the first blocks are recent.
        if let Some(sync) = &mut host.sync {
            sync.fill.max_age = None;
        }
        host.static_peers.clone_from(static_peers);
        host.sequencer = sequencer.map(BlockSigner::from);
        let started = Host::start_heard(host).await;
        let (host, heard) = started.map_err(|source| NetworkError::Host { member, source })?;
        if let Some(port) = tcp_port(&host.address()) {
            // If it can't be written, the next run has another port.
            let _ = std::fs::write(directory.join(PORT), port.to_string());
        }
        Ok((host, heard))
    }
}

/// Forwards a node's events until either side ends.
async fn forward(
    member: Member,
    mut heard: broadcast::Receiver<HostEvent>,
    events: mpsc::Sender<(Member, NetworkEvent)>,
) {
    loop {
        let event = match heard.recv().await {
            Ok(event) => NetworkEvent::Host(event),
            Err(RecvError::Lagged(_)) => NetworkEvent::Missed,
            Err(RecvError::Closed) => return,
        };
        if events.send((member, event)).await.is_err() {
            return;
        }
    }
}

/// Returns the current time in seconds since the Unix epoch.
pub fn unix_seconds() -> u64 {
    since_epoch().as_secs()
}

fn key(directory: &Path, name: &str) -> Result<SecretKey, NetworkError> {
    std::fs::create_dir_all(directory)
        .map_err(|source| NetworkError::Directory { path: directory.to_path_buf(), source })?;
    Ok(SecretKey::load_or_create(&directory.join(name))?.key)
}

/// Returns the port of the node's last run if it is free, else 0: any that is.
fn kept_port(directory: &Path) -> u16 {
    let kept = std::fs::read_to_string(directory.join(PORT)).ok();
    let port = kept.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_or(0, |_| port)
}

fn info(host: &Host) -> NodeInfo {
    let port = tcp_port(&host.address()).unwrap_or_default();
    NodeInfo { peer_id: host.peer_id().to_string(), port }
}

#[cfg(test)]
mod tests;
