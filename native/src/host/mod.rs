//! A running node: sockets, threads, clock and disk around one [`opp2p_core::node::Node`].
//!
//! [`Host::start`] opens everything and spawns one task that drives the core; a [`Host`] is the
//! handle to it. Blocks are validated on threads of their own, the store is written by another.

mod driver;
mod event;
mod finder;
mod l1;
mod meter;
mod native;
mod persist;
mod pool;
mod requests;
mod shared;
mod signer;
mod streams;
mod transport;
mod upgrade;
mod ws;

pub use crate::clock::WallClock;
pub use event::{HostEvent, HostEventKind, L1News, NatEvent, Status};
pub(crate) use finder::Finder;
pub use l1::L1Reader;
pub(crate) use meter::{
    CODES, FAREWELLS, GAP_ENDS, LastBlock, Meter, PUBLISH_ERRORS, Requests, SCORE_PARTS, SKIP_REASONS,
};
pub use signer::{BlockSigner, SignerOrigin, SignerReport};
pub use upgrade::{Muxer, Security};
pub use ws::{WsConfig, WsTls};

use crate::discovery::{Discovery, DiscoveryConfig, DiscoveryError, Known, Surroundings};
use crate::engine::EngineSource;
use crate::feed::FeedMeter;
use crate::http::HttpError;
use crate::key::{KeyFormatError, SecretKey};
use crate::panics::guard;
use crate::store::{Store, StoreConfig, StoreError, Writer, WriterConfig};
use crate::swarm::{self, Bandwidth, Gatekeeper};
use alloy_primitives::{Address, B256};
use driver::{Command, Driver, PeerMemory};
use futures::{FutureExt, StreamExt};
use libp2p::core::transport::ListenerId;
use libp2p::metrics::Registry;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, PeerId, Swarm, TransportError};
use native::{DialBacks, Native, NativeEvent, protocols};
use opp2p_core::chain::{BlockId, ChainConfig, ChainViewConfig, ConfigError};
use opp2p_core::engine::{EngineState, EngineStatus, first_head};
use opp2p_core::feed::{Page, Query};
use opp2p_core::gossip::{MeshParams, Signers, TIMESTAMP_THRESHOLD};
use opp2p_core::node::{InsertError, Node, NodeConfig, SyncConfig, vouched};
use opp2p_core::payload::{Block, Envelope};
use opp2p_core::peers::{BlockEntry, ListFull, PeerCommand, PeerManager, PeersConfig};
use opp2p_core::sequencer::{Publication, PublishError};
use opp2p_core::sync::RangeError;
use opp2p_core::time::Now;
use shared::Core;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use streams::Streams;
use tokio::sync::{Notify, broadcast, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use transport::Setup;
use upgrade::{Muxers, Securities};
use ws::Listening;
use zeroize::Zeroizing;

/// Events that a slow listener may be behind before it misses some.
const EVENTS_KEPT: usize = 1024;
/// Commands that wait for the driver.
const COMMANDS_KEPT: usize = 64;
/// Signatures that wait for the driver. The core has one block signed at a time.
const SIGNATURES_KEPT: usize = 4;
/// Inbound streams of one connection that may be agreeing on their protocol at once. Others wait unread.
const NEGOTIATING_STREAMS: usize = 64;
/// The reference never closes an idle connection. A peer outside the mesh is idle for hours, and
/// costs nothing.
const IDLE_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Where the store is and what it keeps.
#[derive(Clone, Debug)]
pub struct Retention {
    /// Most blocks that are kept.
    pub max_blocks: u64,
    /// Oldest block that is kept.
    pub max_age: Duration,
}

impl Default for Retention {
    /// A day's blocks at 2 s, twice over; a week.
    fn default() -> Self {
        Self { max_blocks: 86_400, max_age: Duration::from_secs(7 * 24 * 60 * 60) }
    }
}

/// Where what is known of peers is kept: addresses, scores, bans.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Peerstore {
    /// In the block store's file.
    #[default]
    WithBlocks,
    /// Nowhere: it is gone at the end.
    Memory,
    /// In a file of its own.
    File(PathBuf),
}

/// What a node is started with.
#[derive(Debug)]
pub struct HostConfig {
    /// The chain to follow.
    pub chain: ChainConfig,
    /// Unsafe-block signer in place of the chain configuration's.
    pub signer: Option<Address>,
    /// Identity on the network.
    pub key: SecretKey,
    /// Address to listen on.
    pub listen_ip: IpAddr,
    /// TCP port to listen on; 0 lets the system choose.
    pub listen_tcp: u16,
    /// A WebSocket listener for browsers; `None`: they have no door.
    pub ws: Option<WsConfig>,
    /// How peers are found; `None`: they are not looked for.
    pub discovery: Option<DiscoveryConfig>,
    /// How connections may be secured, the preferred way first (`p2p.security`).
    pub security: Vec<Security>,
    /// How connections may carry their streams, the preferred way first (`p2p.mux`).
    pub mux: Vec<Muxer>,
    /// Time in which a connection that is dialled must be set up (`p2p.timeout.dial`).
    pub dial_timeout: Duration,
    /// Time in which a connection that is accepted must be set up (`p2p.timeout.accept`).
    pub accept_timeout: Duration,
    /// Time in which two sides must agree on a protocol, each time (`p2p.timeout.negotiation`).
    pub negotiation_timeout: Duration,
    /// Peers to be connected to for ever; each address ends in `/p2p/<peer id>`.
    pub static_peers: Vec<Multiaddr>,
    /// What identify calls this node.
    pub agent: String,
    /// Where the unsafe-block signer is read, unless it is named above; the chain configuration's counts until then.
    pub l1: Option<L1Reader>,
    /// What to sign blocks with, for a sequencer.
    pub sequencer: Option<BlockSigner>,
    /// File of the block store.
    pub store: PathBuf,
    /// What the store keeps.
    pub retention: Retention,
    /// Where what is known of peers is kept (`p2p.peerstore.path`).
    pub peerstore: Peerstore,
    /// Whether there is no network: nobody is listened for or dialled (`p2p.disable`).
    pub offline: bool,
    /// Sizes of the gossip mesh.
    pub mesh: MeshParams,
    /// How old a gossiped block may be.
    pub timestamp_threshold: Duration,
    /// Bounds and patience of the chain view.
    pub view: ChainViewConfig,
    /// Whether a node with an empty store follows the chain from its genesis on, rather than from
    /// the first block that comes.
    pub from_genesis: bool,
    /// Fetching and serving blocks by number; `None`: neither.
    pub sync: Option<SyncConfig>,
    /// How peers are kept in check.
    pub peers: PeersConfig,
    /// Whether connections are pinged every three minutes (`p2p.ping`).
    pub ping: bool,
    /// Whether the router is asked by UPnP to let connections in, and peers are told whether they can be
    /// reached, by AutoNAT (`p2p.nat`).
    pub nat: bool,
    /// The wall clock by which blocks are judged.
    pub clock: WallClock,
    /// How the engine stands that will be fed with this node's chain, which then begins there.
    pub engine: Option<EngineState>,
    /// An engine that is asked for blocks that peers want and the store lacks.
    pub source: Option<EngineSource>,
}

impl HostConfig {
    /// A node on `chain` with this identity and store, and the defaults for all else.
    pub fn new(chain: ChainConfig, key: SecretKey, store: PathBuf) -> Self {
        Self {
            chain,
            signer: None,
            key,
            listen_ip: IpAddr::from([0, 0, 0, 0]),
            listen_tcp: 9222,
            ws: None,
            discovery: None,
            security: vec![Security::Noise],
            mux: vec![Muxer::Yamux],
            dial_timeout: DIAL_TIMEOUT,
            accept_timeout: DIAL_TIMEOUT,
            negotiation_timeout: DIAL_TIMEOUT,
            static_peers: Vec::new(),
            l1: None,
            agent: concat!("opp2p/", env!("CARGO_PKG_VERSION")).into(),
            sequencer: None,
            store,
            retention: Retention::default(),
            peerstore: Peerstore::WithBlocks,
            offline: false,
            mesh: MeshParams::default(),
            timestamp_threshold: TIMESTAMP_THRESHOLD,
            view: ChainViewConfig { gap_patience: Some(GAP_PATIENCE), ..ChainViewConfig::default() },
            from_genesis: false,
            sync: Some(SyncConfig::default()),
            peers: PeersConfig::default(),
            ping: true,
            nat: false,
            clock: WallClock::default(),
            engine: None,
            source: None,
        }
    }
}

/// How long [`Host::connect`] waits, as the reference's `opp2p_connectPeer`.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// How long [`Host::command`] waits for a connection to close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why there is no connection to a peer that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The address does not name the peer.
    #[error("{0} does not end in /p2p/<peer id>; add the peer's id")]
    NoPeerId(Multiaddr),
    /// What the network or the gate says.
    #[error("{0}")]
    Failed(String),
    /// It takes too long.
    #[error("no connection within {} s", CONNECT_TIMEOUT.as_secs())]
    Timeout,
}

/// The reference's default, for all three.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a gap may stand before the chain goes on above it, if nobody is fetching it: as long as gossip could
/// still bring the blocks. While blocks are fetched by number, the core extends it.
const GAP_PATIENCE: Duration = TIMESTAMP_THRESHOLD;

/// Why a node can't start. Each message is one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The chain configuration is wrong.
    #[error("the chain configuration is wrong: {0}")]
    Chain(#[from] ConfigError),
    /// The store can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The gossip parameters contradict each other.
    #[error(transparent)]
    Gossip(#[from] swarm::InvalidConfig),
    /// The node's key is none.
    #[error("the node's key can't be used: {0}")]
    Key(#[from] KeyFormatError),
    /// The address can't be listened on.
    #[error("can't listen on {address}: {reason}; choose another address or port")]
    Listen {
        /// The address.
        address: Multiaddr,
        /// What the system says.
        reason: String,
    },
    /// The browsers' door has no usable certificate.
    #[error("{} {why}", .file.display())]
    Tls {
        /// The file.
        file: PathBuf,
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// An advertised address is another node's.
    #[error(
        "{0} is to be advertised and names another node; end it with this node's id, or leave the id out"
    )]
    Advertised(Multiaddr),
    /// Peers can't be looked for.
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
    /// L1 can't be asked.
    #[error("the L1 node can't be asked: {0}")]
    L1(#[source] HttpError),
    /// A static peer's address does not name the peer.
    #[error("static peer {0} does not end in /p2p/<peer id>; add the peer's id")]
    StaticPeer(Multiaddr),
    /// The system refused something that every node needs.
    #[error("the system refused {what}: {source}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// A running node. Dropping it stops the node; [`Host::stop`] also waits for that. All that can be asked of the node is
/// in its [`HostHandle`].
#[derive(Debug)]
pub struct Host {
    handle: HostHandle,
    discovery: Option<Discovery>,
    /// Dropped to stop the driver.
    alive: oneshot::Sender<Infallible>,
    task: JoinHandle<()>,
}

impl Deref for Host {
    type Target = HostHandle;

    fn deref(&self) -> &HostHandle {
        &self.handle
    }
}

/// What can be asked of a running node, for any number of those who ask. It does not keep the node running: when the
/// [`Host`] has stopped, commands answer [`Stopped`], and what is looked at is how it ended. It does keep the store's
/// file open.
#[derive(Clone, Debug)]
pub struct HostHandle {
    peer_id: PeerId,
    agent: Arc<str>,
    protocols: Arc<[String]>,
    address: Multiaddr,
    advertised: Vec<Multiaddr>,
    listening: Listening,
    store: Store,
    core: Core,
    bandwidth: Arc<Bandwidth>,
    streams: Streams,
    meter: Arc<Meter>,
    /// Gossipsub's own counters, if they are kept.
    gossip_counters: Option<Arc<Registry>>,
    commands: mpsc::Sender<Command>,
    /// Weak, so that who listens learns of the node's end.
    events: broadcast::WeakSender<HostEvent>,
    status: watch::Receiver<Status>,
    signer: watch::Receiver<SignerReport>,
    /// The feed into a stream, once it has begun.
    feed: Arc<OnceLock<Arc<FeedMeter>>>,
    /// What discovery knows, if there is one.
    known: Option<watch::Receiver<Known>>,
    /// How the engine does that is fed with this node's chain, if there is one.
    engine: Arc<OnceLock<watch::Receiver<EngineStatus>>>,
}

impl Host {
    /// Opens the store, listens, and starts to follow the chain where the store left it.
    ///
    /// # Errors
    /// Whatever can't be opened; nothing is overwritten then.
    pub async fn start(config: HostConfig) -> Result<Self, HostError> {
        Ok(Self::start_heard(config).await?.0)
    }

    /// As [`Self::start`], with everything that happens from the start on: a static peer can be connected
    /// before this returns.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_heard(
        config: HostConfig,
    ) -> Result<(Self, broadcast::Receiver<HostEvent>), HostError> {
        Self::start_with(config, swarm::Behaviour::new).await
    }

    /// As [`Self::start`], with gossipsub's own counters registered in `registry`.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_with_metrics(config: HostConfig, registry: &mut Registry) -> Result<Self, HostError> {
        let behaviour = |keypair: &_, wiring: &_| swarm::Behaviour::with_metrics(keypair, wiring, registry);
        Ok(Self::start_with(config, behaviour).await?.0)
    }

    /// As [`Self::start_heard`], with gossipsub's own counters kept for [`Metrics`](crate::metrics::Metrics).
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_measured(
        config: HostConfig,
    ) -> Result<(Self, broadcast::Receiver<HostEvent>), HostError> {
        let mut registry = Registry::default();
        let behaviour =
            |keypair: &_, wiring: &_| swarm::Behaviour::with_metrics(keypair, wiring, &mut registry);
        let (mut host, events) = Self::start_with(config, behaviour).await?;
        host.handle.gossip_counters = Some(Arc::new(registry));
        Ok((host, events))
    }

    async fn start_with(
        config: HostConfig,
        behaviour: impl FnOnce(
            &libp2p::identity::Keypair,
            &swarm::Config,
        ) -> Result<swarm::Behaviour, swarm::InvalidConfig>,
    ) -> Result<(Self, broadcast::Receiver<HostEvent>), HostError> {
        config.chain.check()?;
        let keypair = config.key.libp2p_keypair()?;
        let discovery = config.discovery.filter(|_| !config.offline);
        let discovery = discovery.map(|discovery| (discovery, Zeroizing::new(*config.key.secret_bytes())));
        let peer_id = keypair.public().to_peer_id();
        let is_online = !config.offline;
        let static_peers = static_peers(if is_online { &config.static_peers } else { &[] }, peer_id)?;
        let ws = config.ws.filter(|_| is_online);
        let advertised = ws::advertised(ws.as_ref().map_or(&[], |ws| &ws.advertise), peer_id)?;
        let tls = ws.as_ref().and_then(|ws| ws.tls.as_ref()).map(WsTls::load).transpose()?;

        let store = Store::open(StoreConfig {
            path: config.store,
            chain_id: config.chain.chain_id,
            genesis_hash: config.chain.genesis.hash,
            max_blocks: config.retention.max_blocks,
            max_age: config.retention.max_age,
        })?;
        let peerstore = match config.peerstore {
            Peerstore::WithBlocks => Some(store.clone()),
            Peerstore::Memory => None,
            Peerstore::File(path) => Some(Store::open(StoreConfig {
                path,
                chain_id: config.chain.chain_id,
                genesis_hash: config.chain.genesis.hash,
                max_blocks: 0,
                max_age: Duration::ZERO,
            })?),
        };
        let memory = peerstore.as_ref().map(Store::memory).transpose()?.unwrap_or_default();
        let clock = shared::Clock::start(config.clock);
        let (mut head, mut recent) = persist::resume(&store, config.view.keep_depth)?;
        if let Some(engine) = &config.engine {
            let max_age = config.sync.and_then(|sync| sync.fill.max_age);
            let first = first_head(head, engine, clock.now(), max_age);
            if first != head {
                (head, recent) = (first, Vec::new());
            }
        }

        let pending = persist::pending(&store)?;
        let sync = config.sync.map(|sync| fitted(sync, &config.retention, peer_id));

        let scoring = config.peers.scoring.params(config.chain.block_time);
        let node = Node::new(
            clock.now(),
            NodeConfig {
                signer: config.signer,
                timestamp_threshold: config.timestamp_threshold,
                view: config.view,
                static_peers: static_peers.keys().filter_map(swarm::from_libp2p).collect(),
                can_sign: config.sequencer.is_some(),
                reads_signer: config.l1.is_some() && config.signer.is_none(),
                head,
                recent,
                from_genesis: config.from_genesis,
                sync,
                pending,
                peers: config.peers,
                memory,
                ..NodeConfig::new(config.chain.clone())
            },
        )?;
        let core = Core::new(node, clock.clone());
        let gatekeeper: Gatekeeper = {
            let core = core.clone();
            Arc::new(move |knock| core.knock(knock).map_err(|denied| denied.to_string()))
        };
        let wiring = swarm::Config {
            chain_id: config.chain.chain_id,
            agent: config.agent,
            mesh: config.mesh,
            browsers: ws.is_some(),
            payloads: sync.is_some(),
            ping: config.ping.then_some(swarm::PING_INTERVAL),
            scoring,
            gatekeeper: Some(gatekeeper),
        };
        let agent = wiring.agent.as_str().into();
        let protocols = protocols(&wiring, config.nat).into();
        let behaviour = Native::new(behaviour(&keypair, &wiring)?, peer_id, config.nat);
        let bandwidth = Arc::new(Bandwidth::default());
        let (streams, meter) = (Streams::default(), Arc::new(Meter::default()));
        let setup = Setup {
            securities: Securities::new(&config.security, &keypair, config.negotiation_timeout)?,
            muxers: Muxers::new(&config.mux, config.negotiation_timeout, &streams),
            dial_timeout: config.dial_timeout,
            accept_timeout: config.accept_timeout,
        };
        let transport = transport::transport(setup, wiring.gatekeeper.as_ref(), &bandwidth, tls)?;
        let options = libp2p::swarm::Config::with_tokio_executor()
            .with_idle_connection_timeout(IDLE_TIMEOUT)
            .with_max_negotiating_inbound_streams(NEGOTIATING_STREAMS);
        let mut swarm = Swarm::new(transport, behaviour, peer_id, options);

        for address in &advertised {
            swarm.add_external_address(address.clone());
        }
        let tcp = Multiaddr::from(config.listen_ip).with(Protocol::Tcp(config.listen_tcp));
        let tcp_listener = if is_online { Some(listen(&mut swarm, &tcp)?) } else { None };
        let ws = match ws.map(|ws| ws.listen_address(config.listen_ip)) {
            Some(address) => Some((listen(&mut swarm, &address)?, address)),
            None => None,
        };
        let mut early = Vec::new();
        let bound = match tcp_listener {
            Some(listener) => until_bound(&mut swarm, listener, &tcp, &mut early).await?,
            None => Multiaddr::empty(),
        };
        if let Some((listener, address)) = &ws {
            until_bound(&mut swarm, *listener, address, &mut early).await?;
        }
        if let Some((discovery, _)) = &discovery
            && let Some(ip) = discovery.advertise_ip
        {
            let port = match discovery.advertise_tcp {
                0 => tcp_port(&bound).unwrap_or_default(),
                port => port,
            };
            swarm.add_external_address(Multiaddr::from(ip).with(Protocol::Tcp(port)));
        }
        // The other addresses of this machine, if it listens on all.
        while let Some(event) = swarm.select_next_some().now_or_never() {
            early.push(event);
        }
        let listening = Listening::default();
        early.iter().for_each(|event| listening.heard(event));

        let threads = |source| HostError::System { what: "a thread", source };
        let pool = pool::Pool::start(&meter).map_err(threads)?;
        let requests = requests::Requests::start(&store, config.source, &config.chain).map_err(threads)?;
        let (told, disk) = mpsc::unbounded_channel();
        let health = move |error: Option<&StoreError>| {
            // The node may have stopped meanwhile.
            let _ = told.send(error.map(ToString::to_string));
        };
        let writer =
            Writer::start_patient(store.clone(), WriterConfig::default(), health).map_err(threads)?;
        let memory = match peerstore {
            None => PeerMemory::Gone,
            Some(peerstore) if peerstore.path() == store.path() => PeerMemory::WithBlocks,
            Some(peerstore) => {
                PeerMemory::Apart(Writer::start(peerstore, WriterConfig::default()).map_err(threads)?)
            }
        };

        let origin = match (config.signer, config.chain.unsafe_block_signer) {
            (Some(_), _) => SignerOrigin::Operator,
            (None, Some(_)) => SignerOrigin::ChainConfig,
            (None, None) => SignerOrigin::Nobody,
        };
        let (report, signer) = watch::channel(SignerReport { origin, ..SignerReport::default() });
        let (commands, command_queue) = mpsc::channel(COMMANDS_KEPT);
        let (events, from_the_start) = broadcast::channel(EVENTS_KEPT);
        let (status_sender, status) = watch::channel(Status { head, stored: head, ..Status::default() });
        let driver = Driver {
            core: core.clone(),
            chain: config.chain,
            scoring,
            swarm,
            pool,
            writer,
            disk,
            unqueued: None,
            memory,
            is_online,
            signer: config.sequencer,
            signed: mpsc::channel(SIGNATURES_KEPT),
            hurry: Arc::new(Notify::new()),
            report,
            static_peers,
            commands: command_queue,
            events,
            status: status_sender,
            publications: BTreeMap::new(),
            next_publication: 0,
            requests,
            ranges: BTreeMap::new(),
            next_range: 0,
            wishes: BTreeMap::new(),
            next_wish: 0,
            connecting: Vec::new(),
            translator: swarm::Translator::new(wiring.chain_id),
            listening: listening.clone(),
            early,
            dial_backs: DialBacks::default(),
            meter: Arc::clone(&meter),
        };
        if let Some(l1) = config.l1.filter(|_| config.signer.is_none()) {
            let (hurry, report) = (Arc::clone(&driver.hurry), driver.report.clone());
            let events = driver.events.downgrade();
            let reading =
                l1.start(clock, hurry, commands.downgrade(), events, report).map_err(HostError::L1)?;
            tokio::spawn(guard("reader of L1", reading.run()));
        }
        let (discovery, known) = match discovery {
            None => (None, None),
            Some((discovery, secret)) => {
                let finder = Finder { core: core.clone(), commands: commands.downgrade() };
                let bound_tcp = tcp_port(&bound).unwrap_or_default();
                let around = Surroundings { secret, listen: config.listen_ip, bound_tcp, finder };
                let (discovery, known) = Discovery::start(discovery, &driver.chain, around).await?;
                (Some(discovery), Some(known))
            }
        };
        let (alive, end) = oneshot::channel();
        let events = driver.events.downgrade();
        let task = tokio::spawn(driver.run(end));
        let handle = HostHandle {
            peer_id,
            agent,
            protocols,
            address: bound,
            advertised,
            listening,
            store,
            core,
            bandwidth,
            streams,
            meter,
            gossip_counters: None,
            commands,
            events,
            status,
            signer,
            feed: Arc::default(),
            known,
            engine: Arc::default(),
        };
        Ok((Self { handle, discovery, alive, task }, from_the_start))
    }

    /// What others may hold who ask something of this node.
    pub fn handle(&self) -> HostHandle {
        self.handle.clone()
    }

    /// Closes all connections, writes what is still to be stored, and waits for both.
    pub async fn stop(self) {
        if let Some(discovery) = self.discovery {
            discovery.stop().await;
        }
        drop(self.alive);
        // The task contains its own panics nowhere; one would end the node and show here.
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the node ended unexpectedly");
        }
    }

    /// Ends the node at once and without a farewell, to see what survives that. The answer is the stored
    /// head, which a start on the same store resumes from; the store is closed and can be opened again.
    ///
    /// It is less than `kill -9` in two ways: blocks that were queued for the disk are still written, and
    /// the store's file is closed in order, where a killed process leaves one that the next start repairs.
    /// What the node had not queued is lost, and peers see the same, connections that end.
    ///
    /// # Errors
    /// If the store can't be read; the node has ended all the same.
    pub async fn kill(self) -> Result<Option<BlockId>, StoreError> {
        let Self { task, discovery, handle: HostHandle { store, .. }, .. } = self;
        if let Some(discovery) = discovery {
            discovery.abort();
        }
        task.abort();
        // Cancelled is what was asked for. All that the task owned is dropped when this answers.
        let _ = task.await;
        Ok(store.head()?.map(|head| BlockId::new(head.number, head.hash)))
    }
}

impl HostHandle {
    /// Who this node is.
    pub const fn peer_id(&self) -> PeerId {
        self.peer_id
    }

    /// What identify calls it.
    pub fn agent(&self) -> &str {
        &self.agent
    }

    /// The protocols that identify tells peers.
    pub fn protocols(&self) -> &[String] {
        &self.protocols
    }

    /// Everywhere it listens and what is advertised, each with its peer id.
    pub fn addresses(&self) -> Vec<Multiaddr> {
        let mut ways = self.listening.addresses();
        ways.extend(self.advertised.iter().filter(|way| !ways.contains(way)).cloned().collect::<Vec<_>>());
        ways.into_iter().map(|way| way.with(Protocol::P2p(self.peer_id))).collect()
    }

    /// The node records that discovery knows, as text; `None` if it is switched off.
    pub fn discovery_table(&self) -> Option<Vec<String>> {
        self.known.as_ref().map(|known| known.borrow().table.clone())
    }

    /// This node's own node record, as text; `None` if discovery is switched off.
    pub fn local_enr(&self) -> Option<String> {
        self.known.as_ref().map(|known| known.borrow().local.clone())
    }

    /// Whether the node has not stopped.
    pub fn is_running(&self) -> bool {
        !self.commands.is_closed()
    }

    /// Where it listens, with its peer id: what another node's list of static peers takes. If it is offline, the peer id
    /// alone.
    pub fn address(&self) -> Multiaddr {
        self.address.clone().with(Protocol::P2p(self.peer_id))
    }

    /// What a page dials, each with this node's peer id: what is advertised for browsers, else where their door
    /// listens. Empty if they have none.
    pub fn browser_addresses(&self) -> Vec<Multiaddr> {
        let ways = if self.advertised.is_empty() { self.listening.door() } else { self.advertised.clone() };
        ways.into_iter().map(|way| way.with(Protocol::P2p(self.peer_id))).collect()
    }

    /// Everything that happens from now on. Who falls more than 1024 events behind misses some, and is
    /// told how many; until then the blocks in them are held for it. It ends with the node.
    pub fn events(&self) -> broadcast::Receiver<HostEvent> {
        let ended = || broadcast::channel(1).1;
        self.events.upgrade().map_or_else(ended, |events| events.subscribe())
    }

    /// How the node is doing, now and whenever that changes.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Bytes received and bytes sent over all connections since the node started, with handshakes and
    /// framing: what went through the sockets.
    pub fn bandwidth(&self) -> (u64, u64) {
        self.bandwidth.totals()
    }

    /// Signs and publishes a block, and waits until it is on its way to at least one peer.
    ///
    /// # Errors
    /// What the publish queue says, see [`PublishError`]; [`Stopped`] if the node stops before.
    pub async fn publish(&self, envelope: Envelope) -> Result<Result<B256, PublishError>, Stopped> {
        let (answer, result) = oneshot::channel();
        let publication = Publication::Envelope(Box::new(envelope));
        self.commands.send(Command::Publish { publication, answer }).await.map_err(|_| Stopped)?;
        result.await.map_err(|_| Stopped)
    }

    /// Takes a block into the chain for which the caller vouches: it counts as one that the sequencer signed, but is not
    /// gossiped. It is taken when this answers; whether it is the head then depends on the blocks that are there.
    ///
    /// # Errors
    /// What is wrong with it, see [`InsertError`]; [`Stopped`] if the node has stopped.
    pub async fn insert(&self, envelope: Envelope) -> Result<Result<BlockId, InsertError>, Stopped> {
        let chain = self.core(|node, _| node.chain().clone());
        let vouched = tokio::task::spawn_blocking(move || vouched(&chain, &envelope)).await;
        let block = match vouched {
            Ok(Ok(block)) => block,
            Ok(Err(error)) => return Ok(Err(error)),
            // It was ended with the runtime.
            Err(_) => return Err(Stopped),
        };
        let id = BlockId::of(&block);
        let (answer, taken) = oneshot::channel();
        self.commands.send(Command::Insert { block, answer }).await.map_err(|_| Stopped)?;
        taken.await.map_err(|_| Stopped)?;
        Ok(Ok(id))
    }

    /// Tells this handle and all its clones of the engine that is fed with the node's chain. The first one stays.
    pub(crate) fn set_engine(&self, status: watch::Receiver<EngineStatus>) {
        // A second engine is nobody's: one node feeds one.
        let _ = self.engine.set(status);
    }

    /// How the engine does that is fed with this node's chain; `None` if there is none.
    pub fn engine(&self) -> Option<EngineStatus> {
        self.engine.get().map(|status| status.borrow().clone())
    }

    /// The node's clocks.
    pub(crate) fn now(&self) -> Now {
        self.core.clock.now()
    }

    /// A moment of the node's monotonic clock as the runtime has it.
    pub(crate) fn instant(&self, at: opp2p_core::time::Instant) -> tokio::time::Instant {
        self.core.clock.instant(at)
    }

    /// Puts another unsafe-block signer in force. The old one counts for a grace period.
    ///
    /// # Errors
    /// If the node has stopped.
    pub async fn set_signer(&self, signer: Option<Address>) -> Result<(), Stopped> {
        let command = Command::SetSigner { signer, l1_block: None };
        self.commands.send(command).await.map_err(|_| Stopped)
    }

    /// Whose signature counts now.
    pub fn signers(&self) -> Signers {
        self.core.lock().signers()
    }

    /// Why it is theirs.
    pub fn signer_report(&self) -> watch::Receiver<SignerReport> {
        self.signer.clone()
    }

    /// Fetches the chain up to `to` from peers, whose hash the caller vouches for, and waits until it is there.
    ///
    /// # Errors
    /// What is wrong with the range or kept it from being fetched, see [`RangeError`]; [`Stopped`] if the node stops
    /// before.
    pub async fn fetch_range(&self, to: BlockId) -> Result<Result<(), RangeError>, Stopped> {
        let (answer, result) = oneshot::channel();
        self.commands.send(Command::FetchRange { to, answer }).await.map_err(|_| Stopped)?;
        result.await.map_err(|_| Stopped)
    }

    /// Blocks, bans, protects or disconnects a peer, an address or a subnet; it is done when this answers. A peer that
    /// is named and that this turns out is gone by then, unless its connection takes more than a few seconds to close:
    /// who connects to it next gets a new one.
    ///
    /// # Errors
    /// If the list is full; [`Stopped`] if the node stops before.
    pub async fn command(&self, command: PeerCommand) -> Result<Result<(), ListFull>, Stopped> {
        let leaves = match command {
            PeerCommand::Disconnect(peer)
            | PeerCommand::Block(BlockEntry::Peer(peer))
            | PeerCommand::BanPeer(peer, _) => Some(peer),
            _ => None,
        };
        let mut events = self.events();
        let is_connected = |peer| self.peers(|peers, _| peers.is_inbound(&peer).is_some());
        let leaves = leaves.filter(|peer| is_connected(*peer));
        let (answer, result) = oneshot::channel();
        self.commands.send(Command::Peer { command, answer }).await.map_err(|_| Stopped)?;
        let result = result.await.map_err(|_| Stopped)?;
        if let (Some(peer), Ok(())) = (leaves, result) {
            let gone = async {
                loop {
                    match events.recv().await.map(|event| event.kind) {
                        Ok(HostEventKind::Disconnected { peer: gone })
                            if crate::swarm::from_libp2p(&gone) == Some(peer) =>
                        {
                            break;
                        }
                        Err(broadcast::error::RecvError::Closed) => break,
                        Err(broadcast::error::RecvError::Lagged(_)) if !is_connected(peer) => break,
                        _ => {}
                    }
                }
            };
            // One that never ends is the peer's doing, and no reason to wait for ever.
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, gone).await;
        }
        Ok(result)
    }

    /// Connects to a peer once, and waits for that.
    ///
    /// # Errors
    /// If the address does not end in `/p2p/<peer id>`, or one sentence on why there is no connection; [`Stopped`] if
    /// the node stops before.
    pub async fn connect(&self, address: Multiaddr) -> Result<Result<(), ConnectError>, Stopped> {
        let Some(Protocol::P2p(peer)) = address.iter().last() else {
            return Ok(Err(ConnectError::NoPeerId(address)));
        };
        let (answer, result) = oneshot::channel();
        self.commands.send(Command::Connect { peer, address, answer }).await.map_err(|_| Stopped)?;
        match tokio::time::timeout(CONNECT_TIMEOUT, result).await {
            Ok(result) => Ok(result.map_err(|_| Stopped)?.map_err(ConnectError::Failed)),
            Err(_) => Ok(Err(ConnectError::Timeout)),
        }
    }

    /// Streams that are open on all connections, whoever opened them.
    pub fn streams(&self) -> u64 {
        self.streams.open()
    }

    /// How long the last opening of the store took, with all its checks.
    pub fn store_opening_took(&self) -> Duration {
        self.store.opening_took()
    }

    /// Size of the store's file, bytes.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn store_size(&self) -> Result<u64, StoreError> {
        self.store.size_on_disk()
    }

    /// What the node counted.
    pub(crate) fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Gossipsub's own counters, if they are kept.
    pub(crate) fn gossip_counters(&self) -> Option<&Registry> {
        self.gossip_counters.as_deref()
    }

    /// Looks at the node's core as it is now. The node waits as long as `look` takes.
    pub fn core<R>(&self, look: impl FnOnce(&Node, Now) -> R) -> R {
        let now = self.core.clock.now();
        look(&self.core.lock(), now)
    }

    /// Looks at the peers as they are now. The node waits as long as `look` takes.
    pub fn peers<R>(&self, look: impl FnOnce(&PeerManager, Now) -> R) -> R {
        let now = self.core.clock.now();
        look(self.core.lock().peers(), now)
    }

    /// The canonical block of this number: of the chain view while it is young, of the store after that. Blocks on the disk.
    ///
    /// # Errors
    /// If the store can't be read.
    pub fn canonical_block(&self, number: u64) -> Result<Option<Block>, StoreError> {
        let (head, held) = self.core(|node, _| (node.view().head(), node.view().canonical(number).cloned()));
        match held {
            Some(block) => Ok(Some(block)),
            // Above the head nothing is canonical, whatever the store has not yet heard of.
            None if head.is_none_or(|head| number > head.number) => Ok(None),
            None => self.stored_block(number),
        }
    }

    /// The stored canonical block of this number. Blocks on the disk.
    ///
    /// # Errors
    /// If the store can't be read.
    pub fn stored_block(&self, number: u64) -> Result<Option<Block>, StoreError> {
        Ok(self.store.canonical_by_number(number)?.and_then(persist::loaded))
    }

    /// The stored block with this hash, canonical or not. Blocks on the disk.
    ///
    /// # Errors
    /// If the store can't be read.
    pub fn stored_block_by_hash(&self, hash: B256) -> Result<Option<Block>, StoreError> {
        Ok(self.store.block_by_hash(hash)?.and_then(persist::loaded))
    }

    /// The lowest canonical block that is stored. Blocks on the disk.
    ///
    /// # Errors
    /// If the store can't be read.
    pub fn lowest_stored_block(&self) -> Result<Option<Block>, StoreError> {
        Ok(self.store.lowest()?.and_then(persist::loaded))
    }

    /// What the store has for a feed, without what it does not have for good yet. Waits for the disk.
    ///
    /// # Errors
    /// If the store can't be read.
    pub fn feed_page(&self, query: Query) -> Result<Page<Block>, StoreError> {
        let mut page = persist::page(&self.store, query)?;
        page.settle(self.core.lock().view());
        Ok(page)
    }

    /// Who asks how the node is hears of this feed too. Only the first one counts.
    pub(crate) fn tell_of_feed(&self, feed: Arc<FeedMeter>) {
        // A second one is nobody's business: there is one sink for each node.
        let _ = self.feed.set(feed);
    }

    /// The feed into a stream, if there is one.
    pub(crate) fn feed(&self) -> Option<&FeedMeter> {
        self.feed.get().map(AsRef::as_ref)
    }

    /// The stored head. Blocks on the disk.
    ///
    /// # Errors
    /// If the store can't be read.
    pub fn stored_head(&self) -> Result<Option<BlockId>, StoreError> {
        Ok(self.store.head()?.map(|head| BlockId::new(head.number, head.hash)))
    }
}

/// The node has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node has stopped")]
pub struct Stopped;

/// The bounds that the node's own store sets, and a seed that no other node has.
fn fitted(mut sync: SyncConfig, retention: &Retention, peer_id: PeerId) -> SyncConfig {
    let kept = usize::try_from(retention.max_blocks).unwrap_or(usize::MAX);
    sync.fill.pending_blocks = sync.fill.pending_blocks.min(kept);
    let id = peer_id.to_bytes();
    sync.fill.client.seed = id.last_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    sync
}

/// The TCP port in an address.
pub(crate) fn tcp_port(address: &Multiaddr) -> Option<u16> {
    address.iter().find_map(|part| match part {
        Protocol::Tcp(port) => Some(port),
        _ => None,
    })
}

fn refused(address: &Multiaddr, reason: String) -> HostError {
    HostError::Listen { address: address.clone(), reason }
}

fn listen(swarm: &mut Swarm<Native>, address: &Multiaddr) -> Result<ListenerId, HostError> {
    swarm.listen_on(address.clone()).map_err(|error| match error {
        TransportError::Other(error) => refused(address, error.to_string()),
        TransportError::MultiaddrNotSupported(_) => refused(address, "not an IP address and TCP port".into()),
    })
}

/// Waits until something is listened on; the first address. What else happens goes to `early`.
async fn until_bound(
    swarm: &mut Swarm<Native>,
    listener: ListenerId,
    address: &Multiaddr,
    early: &mut Vec<SwarmEvent<NativeEvent>>,
) -> Result<Multiaddr, HostError> {
    let mut seen = 0;
    loop {
        while let Some(event) = early.get(seen) {
            seen += 1;
            match event {
                SwarmEvent::NewListenAddr { listener_id, address } if *listener_id == listener => {
                    return Ok(address.clone());
                }
                SwarmEvent::ListenerClosed { listener_id, reason, .. } if *listener_id == listener => {
                    let why = reason.as_ref().err().map_or("closed".into(), ToString::to_string);
                    return Err(refused(address, why));
                }
                SwarmEvent::ListenerError { listener_id, error } if *listener_id == listener => {
                    return Err(refused(address, error.to_string()));
                }
                _ => {}
            }
        }
        early.push(swarm.select_next_some().await);
    }
}

/// The addresses of each static peer. Our own id is left out, as the reference does.
fn static_peers(list: &[Multiaddr], own: PeerId) -> Result<BTreeMap<PeerId, Vec<Multiaddr>>, HostError> {
    let mut peers: BTreeMap<PeerId, Vec<Multiaddr>> = BTreeMap::new();
    for address in list {
        let Some(Protocol::P2p(peer)) = address.iter().last() else {
            return Err(HostError::StaticPeer(address.clone()));
        };
        if peer == own {
            tracing::info!(%address, "a static peer is this node itself and is left out");
        } else {
            peers.entry(peer).or_default().push(address.clone());
        }
    }
    Ok(peers)
}
