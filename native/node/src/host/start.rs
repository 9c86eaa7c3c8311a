//! The start of a node: opens the stores, listens, and runs the driver.

use super::Host;
use super::acme::Issuing;
use super::advertised::Advertised;
use super::commands::{Callers, Command};
use super::config::{HostConfig, Retention};
use super::driver::Driver;
use super::endpoints::Endpoints;
use super::ends::OffRuntime;
use super::error::HostError;
use super::event::{HostEvent, Status};
use super::finder::ForDiscovery;
use super::handle::HostHandle;
use super::identity::Identity;
use super::key_file;
use super::memory::DiskErrors;
use super::meter::Meter;
use super::native::DialBacks;
use super::network::{Bound, Network, tcp_port};
use super::persist::{self, Resumed};
use super::pool::Pool;
use super::reports::Reporter;
use super::requests::Requests;
use super::shared::{Clock, Core};
use super::signer::{SignerOrigin, SignerReport};
use super::storage::{Storage, Writers};
use crate::discovery::{Discovery, DiscoveryInputs, Finder, Known};
use crate::panics::guard;
use opp2p_core::chain::BlockId;
use opp2p_core::node::{MeshSettings, Node, NodeConfig, SyncConfig};
use opp2p_core::peers::ScoreParams;
use opp2p_store::Store;
use opp2p_wire::Wire;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{Notify, broadcast, mpsc, oneshot, watch};

/// Number of events that a slow listener may be behind before it misses some.
const EVENTS_KEPT: usize = 1024;
/// Maximum number of commands queued for the driver.
const COMMANDS_KEPT: usize = 64;
/// Maximum number of signatures queued for the driver. The core has one block signed at a time.
const SIGNATURES_KEPT: usize = 4;

impl Host {
    /// Opens the store, listens, and resumes the chain from the stored head.
    ///
    /// # Errors
    /// If anything can't be opened; nothing is overwritten then.
    pub async fn start(config: HostConfig) -> Result<Self, HostError> {
        Ok(Self::start_heard(config).await?.0)
    }

    /// Like [`Self::start`], but also returns all events from the start on: a static peer can be
    /// connected before this returns.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_heard(
        mut config: HostConfig,
    ) -> Result<(Self, broadcast::Receiver<HostEvent>), HostError> {
        config.chain.check()?;
        config.mesh.check()?;
        if config.offline {
            (config.ws, config.discovery) = (None, None);
            config.static_peers.clear();
        }
        let identity = Identity::of(&config)?;
        let storage = Storage::open(&config)?;
        let scoring = config.peers.scoring.params(config.chain.block_time);
        let (core, head) = resume(&config, &identity, &storage)?;
        let mut network = Network::new(&config, &identity, &core)?;
        let bound = network.listen(&config, &identity.advertised).await?;
        let (meter, store) = (Arc::new(Meter::default()), storage.blocks.clone());
        let (threads, ended) = Threads::start(&mut config, &core, storage, &meter)?;
        let parts = Parts { core, head, scoring, store, network, bound, meter, threads };
        let Wired { driver, mut handle, events, driver_ends, lost_key, no_certificate } =
            parts.wire(&mut config, &identity);
        if let Err(error) = read_l1(&config, &driver, &handle, driver_ends) {
            return Err(abandoned(driver, ended, error).await);
        }
        let reached_at = outside_port(&config, &handle);
        let discovery = match discover(&mut config, &identity, &handle).await {
            Ok(discovery) => discovery,
            Err(error) => return Err(abandoned(driver, ended, error).await),
        };
        let (discovery, known) = discovery.unzip();
        handle.known = known;
        issue(&config, &identity, &handle, reached_at, no_certificate);
        if let Some(file) = config.key_file {
            let looking = key_file::watch(file, lost_key, handle.status.clone());
            tokio::spawn(guard("watch on the key's file", looking));
        }
        let (alive, end) = oneshot::channel();
        let task = tokio::spawn(driver.run(end));
        Ok((Self { handle, discovery, alive, task, ended }, events))
    }
}

/// Creates the core of a node in its stored state. Returns it with its head.
fn resume(
    config: &HostConfig,
    identity: &Identity,
    storage: &Storage,
) -> Result<(Core, Option<BlockId>), HostError> {
    let memory = storage.memory()?;
    let clock = Clock::start(config.clock.clone());
    let Resumed { head, recent, remembered } = storage.resume(config, clock.now())?;
    let pending = persist::pending(&storage.blocks)?;
    let lowest = persist::lowest(&storage.blocks, head)?;
    let endpoints = config.endpoints.len();
    let sync = config.sync.map(|sync| fitted(sync, &config.retention, endpoints));
    let node = Node::new(
        clock.now(),
        NodeConfig {
            seed: opp2p_wire::from_libp2p(&identity.peer_id).map_or(0, |own| own.seed()),
            offline: config.offline,
            signer: config.signer,
            timestamp_threshold: config.timestamp_threshold,
            view: config.view,
            static_peers: identity.static_peers.clone(),
            blocked: config.blocked.clone(),
            can_sign: config.sequencer.is_some(),
            reads_signer: config.l1.is_some() && origin(config).reads_l1(),
            head,
            recent,
            remembered,
            from_genesis: config.from_genesis,
            sync,
            pending,
            lowest,
            peers: config.peers.clone(),
            memory,
            role: config.role.unwrap_or_else(|| config.own_role()),
            mesh: Some(mesh_settings(config)?),
            ..NodeConfig::new(config.chain.clone())
        },
    )?;
    Ok((Core::new(node, clock), head))
}

/// Returns the settings of the gossip router.
fn mesh_settings(config: &HostConfig) -> Result<MeshSettings, HostError> {
    let secret = getrandom::u64()
        .map_err(|source| HostError::System { what: "randomness", source: source.into() })?;
    Ok(MeshSettings {
        sizes: config.mesh,
        browsers_suffice: config.ws.as_ref().is_some_and(|ws| ws.suffices),
        secret,
    })
}

/// Adds the bounds of the node's own store.
fn fitted(mut sync: SyncConfig, retention: &Retention, endpoints: usize) -> SyncConfig {
    let kept = usize::try_from(retention.max_blocks).unwrap_or(usize::MAX);
    sync.fill.pending_blocks = sync.fill.pending_blocks.min(kept);
    sync.fill.client.endpoints = endpoints;
    if let Some(history) = &mut sync.fill.history {
        history.keep_blocks = retention.max_blocks;
        history.keep_age = retention.max_age;
    }
    sync
}

/// The threads that work for the driver.
struct Threads {
    pool: Pool,
    endpoints: Endpoints,
    requests: OffRuntime<Requests>,
    writers: Writers,
}

impl Threads {
    /// Starts them. The channel closes when those have ended that hold the store open.
    fn start(
        config: &mut HostConfig,
        core: &Core,
        storage: Storage,
        meter: &Arc<Meter>,
    ) -> Result<(Self, mpsc::Receiver<Infallible>), HostError> {
        let refused = |source| HostError::System { what: "a thread", source };
        let pool = Pool::start(meter).map_err(refused)?;
        let endpoints = Endpoints::new(&config.endpoints).map_err(HostError::Endpoint)?;
        let requests =
            Requests::start(core, &storage.blocks, config.source.take()).map_err(refused)?;
        let (ends, ended) = mpsc::channel(1);
        let requests = OffRuntime::new(requests, &ends);
        let writers = storage.start_writers(&ends)?;
        Ok((Self { pool, endpoints, requests, writers }, ended))
    }
}

/// The parts of a node before they are connected.
struct Parts {
    core: Core,
    head: Option<BlockId>,
    scoring: Option<ScoreParams>,
    store: Store,
    network: Network,
    bound: Bound,
    meter: Arc<Meter>,
    threads: Threads,
}

/// A driver that does not run yet, and everything that is connected to it.
struct Wired {
    driver: Driver,
    handle: HostHandle,
    /// All events, from the first on.
    events: broadcast::Receiver<HostEvent>,
    /// Ends with the driver.
    driver_ends: oneshot::Receiver<Infallible>,
    /// Takes the path of the key's file while that is gone.
    lost_key: watch::Sender<Option<String>>,
    /// Takes the reason why no certificate for browsers could be obtained or stored.
    no_certificate: watch::Sender<Option<String>>,
}

/// The driver's ends of the channels to its handles and helpers.
struct Ends {
    commands: mpsc::Receiver<Command>,
    events: broadcast::Sender<HostEvent>,
    status: watch::Sender<Status>,
    report: watch::Sender<SignerReport>,
    reads_l1: oneshot::Sender<Infallible>,
    lost_key: watch::Receiver<Option<String>>,
    no_certificate: watch::Receiver<Option<String>>,
}

impl Parts {
    /// Connects the parts by channels.
    fn wire(self, config: &mut HostConfig, identity: &Identity) -> Wired {
        let (command_sender, commands) = mpsc::channel(COMMANDS_KEPT);
        let (event_sender, events) = broadcast::channel(EVENTS_KEPT);
        let head = self.head;
        let (status_sender, status) =
            watch::channel(Status { head, stored: head, ..Status::default() });
        let report = SignerReport { origin: origin(config), ..SignerReport::default() };
        let (report, signer) = watch::channel(report);
        let (reads_l1, driver_ends) = oneshot::channel();
        let (lost_key, lost_key_receiver) = watch::channel(None);
        let (no_certificate, no_certificate_receiver) = watch::channel(None);
        let Network { agent, protocols, bandwidth, streams, .. } = &self.network;
        let handle = HostHandle {
            peer_id: identity.peer_id,
            agent: Arc::clone(agent),
            protocols: Arc::clone(protocols),
            address: self.bound.address.clone(),
            advertised: Advertised::new(identity.advertised.clone()),
            listening: self.bound.listening.clone(),
            store: self.store.clone(),
            core: self.core.clone(),
            bandwidth: Arc::clone(bandwidth),
            streams: streams.clone(),
            meter: Arc::clone(&self.meter),
            commands: command_sender,
            events: event_sender.downgrade(),
            status,
            signer,
            feed: Arc::default(),
            proofs: Arc::default(),
            known: None,
            engine: Arc::default(),
            certificate: identity.certificate.clone().filter(|_| !obtains(config)),
        };
        let ends = Ends {
            commands,
            events: event_sender,
            status: status_sender,
            report,
            reads_l1,
            lost_key: lost_key_receiver,
            no_certificate: no_certificate_receiver,
        };
        let driver = self.driver(config, &handle, ends);
        Wired { driver, handle, events, driver_ends, lost_key, no_certificate }
    }

    fn driver(self, config: &mut HostConfig, handle: &HostHandle, ends: Ends) -> Driver {
        let Self { core, scoring, store, network, bound, meter, threads, .. } = self;
        let Threads { pool, endpoints, requests, writers } = threads;
        let (engine, feed, proofs) = (&handle.engine, &handle.feed, &handle.proofs);
        let signer = handle.signer.clone();
        let reporter = Reporter::new(engine, feed, proofs, signer, network.twins);
        Driver {
            core,
            scores_peers: scoring.is_some(),
            measure_due: Instant::now(),
            wire: Wire::new(network.swarm),
            pool,
            writer: writers.blocks,
            disk: writers.health,
            disk_errors: DiskErrors::default(),
            memory: writers.memory,
            is_online: !config.offline,
            signer: config.sequencer.take(),
            signed: mpsc::channel(SIGNATURES_KEPT),
            hurry: Arc::new(Notify::new()),
            reads_l1: ends.reads_l1,
            report: ends.report,
            commands: ends.commands,
            callers: Callers::default(),
            events: ends.events,
            status: ends.status,
            requests,
            endpoints,
            listening: bound.listening,
            early: bound.early,
            dial_backs: DialBacks::default(),
            meter,
            reporter: reporter.with_files(store, ends.lost_key, ends.no_certificate),
        }
    }
}

/// Returns the origin of the signer that is in force at the start.
const fn origin(config: &HostConfig) -> SignerOrigin {
    SignerOrigin::at_start(config.signer, config.chain.unsafe_block_signer)
}

/// Starts to read the signer from L1, unless the operator has named it.
fn read_l1(
    config: &HostConfig,
    driver: &Driver,
    handle: &HostHandle,
    driver_ends: oneshot::Receiver<Infallible>,
) -> Result<(), HostError> {
    let Some(l1) = config.l1.as_ref().filter(|_| origin(config).reads_l1()) else { return Ok(()) };
    let (hurry, report) = (Arc::clone(&driver.hurry), driver.report.clone());
    let (clock, commands) = (handle.core.clock.clone(), handle.commands.downgrade());
    let reading =
        l1.start(clock, hurry, commands, handle.events.clone(), report).map_err(HostError::L1)?;
    tokio::spawn(guard("reader of L1", reading.run(driver_ends)));
    Ok(())
}

/// Starts discovery, if it is enabled.
async fn discover(
    config: &mut HostConfig,
    identity: &Identity,
    handle: &HostHandle,
) -> Result<Option<(Discovery, watch::Receiver<Known>)>, HostError> {
    let Some(discovery) = config.discovery.take() else { return Ok(None) };
    let (core, commands) = (handle.core.clone(), handle.commands.downgrade());
    let around = DiscoveryInputs {
        secret: identity.secret.clone(),
        listen: config.listen_ip,
        bound_tcp: tcp_port(&handle.address).unwrap_or_default(),
        finder: Finder::new(ForDiscovery { core, commands }),
    };
    Ok(Some(Discovery::start(discovery, &config.chain, around).await?))
}

/// Returns the node's public TCP port: the advertised one, or else the bound one.
fn outside_port(config: &HostConfig, handle: &HostHandle) -> u16 {
    let advertised = config.discovery.as_ref().map(|discovery| discovery.advertise_tcp);
    let bound = || tcp_port(&handle.address).unwrap_or_default();
    advertised.filter(|port| *port != 0).unwrap_or_else(bound)
}

/// Returns `true` if the node obtains its certificate by ACME. A reload does not replace such a
/// certificate.
fn obtains(config: &HostConfig) -> bool {
    config.ws.as_ref().is_some_and(|ws| ws.acme.is_some())
}

/// Starts the task that obtains certificates for browsers, if it is configured.
fn issue(
    config: &HostConfig,
    identity: &Identity,
    handle: &HostHandle,
    reached_at: u16,
    problem: watch::Sender<Option<String>>,
) {
    let Some(ws) = &config.ws else { return };
    let (Some(acme), Some(certificate)) = (&ws.acme, &identity.certificate) else { return };
    let door = handle.listening.door().first().and_then(tcp_port);
    let issuing = Issuing {
        config: acme.clone(),
        key: identity.keypair.clone(),
        peer_id: identity.peer_id,
        certificate: Arc::clone(certificate),
        held: identity.validity,
        ports: (reached_at, door.unwrap_or_default()),
        clock: config.clock.clone(),
        known: handle.known.clone(),
        commands: handle.commands.downgrade(),
        advertised: ws.advertise.is_empty().then(|| handle.advertised.clone()),
        problem,
    };
    let status = handle.status.clone();
    tokio::spawn(guard("obtaining of certificates", issuing.run(status)));
}

/// Ends a driver that never ran, and waits until the store is closed: the caller may start again.
async fn abandoned(
    driver: Driver,
    mut ended: mpsc::Receiver<Infallible>,
    error: HostError,
) -> HostError {
    drop(driver);
    while ended.recv().await.is_some() {}
    error
}
