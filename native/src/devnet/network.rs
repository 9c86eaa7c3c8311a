//! The devnet's nodes: a sequencer and its followers, each a whole [`Host`] with a key, a port and a
//! store of its own, on loopback.

use super::{BlockMaker, Member, NodeInfo};
use crate::clock::since_epoch;
use crate::host::{BlockSigner, Host, HostConfig, HostError, HostEvent, Status, WsConfig, tcp_port};
use crate::key::{KeyError, KeyFormatError, SecretKey};
use crate::store::StoreError;
use alloy_primitives::{Address, B256, b256};
use libp2p::Multiaddr;
use opp2p_core::chain::{BlockId, ChainConfig, Fork};
use opp2p_core::gossip::HEARTBEAT;
use opp2p_core::payload::Envelope;
use opp2p_core::sequencer::{InvalidSecretKey, LocalSigner, PublishError};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinHandle;

/// The devnet's L2 chain id.
pub const CHAIN_ID: u64 = 901;
/// The id of an L1 that there is not.
const L1_CHAIN_ID: u64 = 900;
/// Its genesis: any hash and time will do, as long as the next run has the same.
const GENESIS_HASH: B256 = b256!("6f707032702d6465766e65742d67656e657369732d626c6f636b2d6861736821");
const GENESIS_TIME: u64 = 1_700_000_000;
/// How long the nodes may take to find each other.
const MESH_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a follower that starts again waits for its port.
const PORT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the devnet can't start. Each message is one sentence.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// A node can't start.
    #[error("the {member} can't start: {source}")]
    Host {
        /// Which node.
        member: Member,
        /// Why.
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
    /// A directory can't be made.
    #[error("can't make the directory {}: {source}; choose another --data-dir", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The nodes did not find each other in time.
    #[error("after 30 s only {0} of the followers are in the sequencer's mesh; is loopback blocked?")]
    NoMesh(usize),
    /// A store can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a devnet is made of.
#[derive(Clone, Debug)]
pub struct NetworkConfig {
    /// Number of followers.
    pub followers: usize,
    /// Time between two blocks.
    pub block_time: Duration,
    /// Newest active fork; it and all before it are active from genesis.
    pub fork: Fork,
    /// Where keys and stores are.
    pub directory: PathBuf,
    /// Whether browsers may join, at the first follower.
    pub browsers: bool,
}

/// The nodes.
#[derive(Debug)]
pub struct Network {
    sequencer: Host,
    followers: Vec<Follower>,
    chain: ChainConfig,
    browser_addresses: Vec<Multiaddr>,
    events: mpsc::Sender<(Member, NetworkEvent)>,
}

/// A follower, whether it runs or not.
#[derive(Debug)]
struct Follower {
    info: NodeInfo,
    plan: Plan,
    /// `None` while it is down. Locked for moments only.
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    host: Host,
    /// Hands its events on; ends when they do.
    forwarding: JoinHandle<()>,
}

/// What a node is started with, each time.
#[derive(Clone, Debug)]
struct Plan {
    chain: ChainConfig,
    directory: PathBuf,
    port: u16,
    ws: Option<WsConfig>,
    static_peers: Vec<Multiaddr>,
}

/// Something that happened in the network.
#[derive(Debug)]
pub enum NetworkEvent {
    /// A node told it.
    Host(HostEvent),
    /// A node's events came faster than they were read, and some are missing here.
    Missed,
    /// The node was killed. All that it had told comes before this.
    Killed {
        /// When.
        at: Instant,
        /// The block that it resumes from; `None` if its store has no head.
        stored: Option<BlockId>,
    },
    /// The node runs again, on the directory, with the key and at the port that it had.
    Restarted {
        /// When.
        at: Instant,
    },
}

/// A block that the sequencer published, or why not.
#[derive(Debug)]
pub struct Publication {
    /// The block.
    pub block: BlockId,
    /// Its transactions.
    pub transactions: usize,
    /// Bytes of its encoded envelope.
    pub bytes: usize,
    /// When the sequencer was given it.
    pub at: Instant,
    /// What became of it.
    pub result: Result<(), PublishError>,
}

impl Network {
    /// Starts all nodes. Each follower has the sequencer and the follower before it as static peers,
    /// so that there is more than one way for a block to come. With the network comes everything that
    /// happens in it from now on, as it happens.
    ///
    /// The queue of events is as long as its reader is slow; the nodes' own queues bound how much can be
    /// missed.
    ///
    /// # Errors
    /// If a node can't start.
    pub async fn start(
        config: &NetworkConfig,
    ) -> Result<(Self, mpsc::Receiver<(Member, NetworkEvent)>), NetworkError> {
        let signing_key = key(&config.directory, "sequencer.key")?;
        // The configuration counts in whole seconds; blocks may come faster all the same.
        let block_time = config.block_time.as_secs_f64().ceil().max(1.0) as u64;
        let chain = chain(block_time, config.fork, signing_key.address());
        let (events, receiver) = mpsc::channel(1024);
        let plan = |name: &str, static_peers| Plan {
            chain: chain.clone(),
            directory: config.directory.join(name),
            port: 0,
            ws: None,
            static_peers,
        };
        let signer = LocalSigner::from_bytes(signing_key.secret_bytes())?;
        let (sequencer, heard) = plan("sequencer", Vec::new()).start(Member::Sequencer, Some(signer)).await?;
        tokio::spawn(forward(Member::Sequencer, heard, events.clone()));
        let mut followers: Vec<Follower> = Vec::new();
        let mut before: Option<Multiaddr> = None;
        let mut browser_addresses = Vec::new();
        for index in 0..config.followers {
            let peers = std::iter::once(sequencer.address()).chain(before).collect();
            let mut plan = plan(&format!("follower-{}", index + 1), peers);
            plan.ws = (config.browsers && index == 0).then(WsConfig::default);
            let member = Member::Follower(index);
            let (host, heard) = plan.start(member, None).await?;
            let info = info(&host);
            // Where it is known to the others, should it have to start again.
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
        Ok((Self { sequencer, followers, chain, browser_addresses, events }, receiver))
    }

    /// The chain that the nodes follow.
    pub const fn chain(&self) -> &ChainConfig {
        &self.chain
    }

    /// Where browsers join: each address ends in the first follower's peer id. Empty if they may not.
    pub fn browser_addresses(&self) -> &[Multiaddr] {
        &self.browser_addresses
    }

    /// Who the sequencer is.
    pub fn sequencer_info(&self) -> NodeInfo {
        info(&self.sequencer)
    }

    /// Who the followers are.
    pub fn follower_infos(&self) -> Vec<NodeInfo> {
        self.followers.iter().map(|follower| follower.info.clone()).collect()
    }

    /// How the nodes are doing that run, the sequencer first.
    pub fn statuses(&self) -> Vec<(Member, watch::Receiver<Status>)> {
        let followers = self.followers.iter().enumerate().filter_map(|(index, follower)| {
            let running = follower.lock();
            Some((Member::Follower(index), running.as_ref()?.host.status()))
        });
        std::iter::once((Member::Sequencer, self.sequencer.status())).chain(followers).collect()
    }

    /// The nodes that run, the sequencer first. Not while another task may kill or restart one, for which
    /// there is [`Self::statuses`].
    pub fn hosts(&mut self) -> impl Iterator<Item = (Member, &Host)> {
        let followers = self.followers.iter_mut().enumerate().filter_map(|(index, follower)| {
            let running = follower.running.get_mut().unwrap_or_else(PoisonError::into_inner);
            Some((Member::Follower(index), &running.as_ref()?.host))
        });
        std::iter::once((Member::Sequencer, &self.sequencer)).chain(followers)
    }

    /// Kills the last follower, see [`Host::kill`]; nothing happens if it is down already.
    ///
    /// The events must be read meanwhile: this waits until all that the node told is on its way.
    ///
    /// # Errors
    /// If its store can't be read afterwards.
    pub async fn kill_last_follower(&self) -> Result<(), NetworkError> {
        let Some((member, follower)) = self.last_follower() else { return Ok(()) };
        let Some(Running { host, forwarding }) = follower.lock().take() else { return Ok(()) };
        let at = Instant::now();
        let stored = host.kill().await?;
        // It ends with the events that it forwards, and contains no panic of its own.
        let _ = forwarding.await;
        // Nobody reading any more is no error.
        let _ = self.events.send((member, NetworkEvent::Killed { at, stored })).await;
        Ok(())
    }

    /// Starts the last follower again after [`Self::kill_last_follower`], as the node that it was; nothing
    /// happens if it runs.
    ///
    /// # Errors
    /// If it can't start. A port that somebody else took meanwhile is waited for, 10 s at most.
    pub async fn restart_last_follower(&self) -> Result<(), NetworkError> {
        let Some((member, follower)) = self.last_follower() else { return Ok(()) };
        if follower.lock().is_some() {
            return Ok(());
        }
        let deadline = Instant::now() + PORT_TIMEOUT;
        let (at, (host, heard)) = loop {
            let at = Instant::now();
            match follower.plan.start(member, None).await {
                Err(NetworkError::Host { source: HostError::Listen { .. }, .. }) if at < deadline => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                started => break (at, started?),
            }
        };
        // Before anything that the node has told.
        let _ = self.events.send((member, NetworkEvent::Restarted { at })).await;
        *follower.lock() = Some(Running::forwarded(member, host, heard, &self.events));
        Ok(())
    }

    fn last_follower(&self) -> Option<(Member, &Follower)> {
        let index = self.followers.len().checked_sub(1)?;
        Some((Member::Follower(index), self.followers.get(index)?))
    }

    /// Waits until every follower is subscribed at the sequencer and all meshes have formed.
    ///
    /// A graft takes effect when it arrives, and what was published in between reaches its sender
    /// only if somebody else relays it: one heartbeat after the last one all is settled.
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

    /// A maker of blocks that goes on where the sequencer's store left off.
    ///
    /// # Errors
    /// If the store can't be read.
    pub fn maker(&self, seed: u64) -> Result<BlockMaker, NetworkError> {
        let mut maker = BlockMaker::new(&self.chain, seed);
        if let Some(head) = self.sequencer.stored_head()? {
            let timestamp = self.sequencer.stored_block(head.number)?.map_or(0, |block| block.timestamp());
            maker.resume(head, timestamp);
        }
        Ok(maker)
    }

    /// Gives the sequencer a block and waits until it is on its way.
    pub async fn publish(&self, envelope: Envelope) -> Publication {
        let payload = &envelope.payload;
        let block = BlockId::new(payload.block_number, payload.block_hash);
        let transactions = payload.transactions.len();
        let mut encoded = Vec::new();
        // A block that does not encode is refused by the sequencer just the same.
        let bytes = envelope.encode(&mut encoded).map_or(0, |_| encoded.len());
        let at = Instant::now();
        let result = match self.sequencer.publish(envelope).await {
            Ok(result) => result.map(|_| ()),
            Err(_) => Err(PublishError::NoSigner),
        };
        Publication { block, transactions, bytes, at, result }
    }

    /// Stops all nodes and waits until what they have is on the disk.
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

/// The devnet's chain. It has an L1 in name only, since a `rollup.json` must name one.
fn chain(block_time: u64, fork: Fork, signer: Address) -> ChainConfig {
    let chain = ChainConfig::development(CHAIN_ID, GENESIS_HASH, GENESIS_TIME, block_time, fork, signer);
    ChainConfig { name: "opp2p devnet".into(), l1_chain_id: L1_CHAIN_ID, ..chain }
}

impl Follower {
    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        // It is replaced whole, so a panic elsewhere can't leave it half changed.
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
    /// Starts the node, with all that it tells from the first on.
    async fn start(
        &self,
        member: Member,
        sequencer: Option<LocalSigner>,
    ) -> Result<(Host, broadcast::Receiver<HostEvent>), NetworkError> {
        let Self { chain, directory, port, ws, static_peers } = self;
        let mut host =
            HostConfig::new(chain.clone(), key(directory, "p2p.key")?, directory.join("blocks.redb"));
        host.listen_ip = Ipv4Addr::LOCALHOST.into();
        host.listen_tcp = *port;
        host.ws.clone_from(ws);
        host.from_genesis = true;
        // However many followers there are, all of them are wanted.
        host.peers.tide.high = usize::MAX;
        host.peers.limits.tcp.inbound = usize::MAX;
        host.peers.limits.tcp.half_open = usize::MAX;
        // The genesis is long ago, and the first blocks are of now.
        if let Some(sync) = &mut host.sync {
            sync.fill.max_age = None;
        }
        host.static_peers.clone_from(static_peers);
        host.sequencer = sequencer.map(BlockSigner::from);
        Host::start_heard(host).await.map_err(|source| NetworkError::Host { member, source })
    }
}

/// Hands a node's events on until there can be no more, or nobody wants them.
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

/// Seconds since the Unix epoch.
pub fn unix_seconds() -> u64 {
    since_epoch().as_secs()
}

fn key(directory: &Path, name: &str) -> Result<SecretKey, NetworkError> {
    std::fs::create_dir_all(directory)
        .map_err(|source| NetworkError::Directory { path: directory.to_path_buf(), source })?;
    Ok(SecretKey::load_or_create(&directory.join(name))?.key)
}

fn info(host: &Host) -> NodeInfo {
    let port = tcp_port(&host.address()).unwrap_or_default();
    NodeInfo { peer_id: host.peer_id().to_string(), port }
}

#[cfg(test)]
mod tests;
