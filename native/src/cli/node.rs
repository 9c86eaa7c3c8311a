//! `opp2p node`: joins a network and follows it until told to end.

use super::chain::ChainArgs;
use super::connect::ConnectArgs;
use super::discovery::DiscoveryArgs;
use super::engine::{self, EngineArgs};
use super::feed::{FeedArgs, FeedPlan};
use super::gossip::GossipArgs;
use super::logging::LogArgs;
use super::metrics::MetricsArgs;
use super::peers::PeerArgs;
use super::rpc::{self, RpcArgs};
use super::settings::{self, CONFIG};
use super::signer::{SignerArgs, Signing};
use super::stdin::Lines;
use super::values::{duration, port};
use super::web::{Web, WebArgs};
use super::ws::WsArgs;
use super::{End, Failure, key, log_events, path, runtime};
use crate::discovery::DiscoveryConfig;
use crate::engine::{EngineLink, EngineSetup, EngineSource};
use crate::host::{Host, HostConfig, HostEventKind, L1News, Muxer, Peerstore, Retention, Security, WsConfig};
use crate::key::SecretKey;
use crate::metrics::{RpcMeter, Source};
use crate::page::{Page, PageStart};
use crate::panics;
use crate::rpc::RpcConfig;
use alloy_primitives::hex;
use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use opp2p_core::chain::ChainConfig;
use opp2p_core::engine::{EngineEvent, EngineState};
use opp2p_core::gossip::MeshParams;
use opp2p_core::node::SyncConfig;
use opp2p_core::payload::{Envelope, PayloadVersion};
use opp2p_core::peers::PeersConfig;
use opp2p_core::time::Now;
use std::io::ErrorKind;
use std::net::{IpAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Configuration file: TOML, with the flags' names as keys. Flags and the environment count more.
    #[arg(id = CONFIG, long = "config", env = "OPP2P_CONFIG", value_name = "FILE", value_parser = path())]
    config: Option<PathBuf>,
    #[command(flatten)]
    chain: ChainArgs,
    #[command(flatten)]
    signer: SignerArgs,
    #[command(flatten)]
    engine: EngineArgs,
    /// Join no network at all: listen nowhere, dial nobody, discover nothing.
    #[arg(
        long = "p2p.disable", env = "OP_NODE_P2P_DISABLE", default_value_t = false,
        default_missing_value = "true", num_args = 0..=1, require_equals = true,
        action = clap::ArgAction::Set, value_name = "BOOL", help_heading = "Network"
    )]
    disable: bool,
    /// IP address to listen on.
    #[arg(
        long = "p2p.listen.ip",
        env = "OP_NODE_P2P_LISTEN_IP",
        default_value = "0.0.0.0",
        value_name = "IP",
        help_heading = "Network"
    )]
    listen_ip: IpAddr,
    /// TCP port to listen on; 0 lets the system choose.
    #[arg(
        long = "p2p.listen.tcp", env = "OP_NODE_P2P_LISTEN_TCP_PORT", default_value_t = 9222,
        value_name = "PORT", value_parser = port, help_heading = "Network"
    )]
    listen_tcp: u16,
    /// File with the node's private key in hexadecimal; made if it does not exist.
    #[arg(
        long = "p2p.priv.path",
        env = "OP_NODE_P2P_PRIV_PATH",
        default_value = "opnode_p2p_priv.txt",
        value_name = "FILE",
        value_parser = path(),
        help_heading = "Network"
    )]
    priv_path: PathBuf,
    /// The node's private key itself, in hexadecimal, in place of a file.
    #[arg(
        long = "p2p.priv.raw",
        env = "OP_NODE_P2P_PRIV_RAW",
        value_name = "HEX",
        hide_env_values = true,
        help_heading = "Network"
    )]
    priv_raw: Option<String>,
    /// Peers to be connected to for ever: multiaddrs that end in /p2p/ID, separated by commas.
    #[arg(
        long = "p2p.static",
        env = "OP_NODE_P2P_STATIC",
        value_name = "ADDRS",
        value_delimiter = ',',
        help_heading = "Network"
    )]
    static_peers: Vec<String>,
    /// What this node calls itself.
    #[arg(long = "p2p.useragent", env = "OP_NODE_P2P_AGENT", value_name = "AGENT", help_heading = "Network")]
    useragent: Option<String>,
    #[command(flatten)]
    discovery: DiscoveryArgs,
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    ws: WsArgs,
    #[command(flatten)]
    peers: PeerArgs,
    #[command(flatten)]
    gossip: GossipArgs,
    /// Fetch missing blocks from peers by number, and serve them to peers.
    #[arg(
        long = "p2p.sync.req-resp",
        env = "OP_NODE_P2P_SYNC_REQ_RESP",
        default_value_t = true,
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        action = clap::ArgAction::Set,
        value_name = "BOOL",
        help_heading = "Missing blocks"
    )]
    sync_req_resp: bool,
    /// Fetch missing blocks from static peers only.
    #[arg(
        long = "p2p.sync.onlyreqtostatic",
        env = "OP_NODE_P2P_SYNC_ONLYREQTOSTATIC",
        default_value_t = false,
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        action = clap::ArgAction::Set,
        value_name = "BOOL",
        help_heading = "Missing blocks"
    )]
    sync_only_static: bool,
    /// Fetch what is missing only if the head is not older than this; 0 for whatever its age.
    #[arg(
        long = "sync.max-age", env = "OPP2P_SYNC_MAX_AGE", default_value = "12h", value_name = "TIME",
        value_parser = duration, help_heading = "Missing blocks"
    )]
    sync_max_age: Duration,
    /// Leave missing blocks out when no peer had one of them for this long; 0 for never.
    #[arg(
        long = "sync.patience", env = "OPP2P_SYNC_PATIENCE", default_value = "10m", value_name = "TIME",
        value_parser = duration, help_heading = "Missing blocks"
    )]
    sync_patience: Duration,
    /// Publish blocks that come in on standard input, one a line: the bytes that are signed (parent
    /// beacon block root where the fork has one, then the SSZ payload) in hexadecimal.
    #[arg(long = "publish.stdin", help_heading = "Sequencer")]
    publish_stdin: bool,
    /// Directory for what the node keeps.
    #[arg(
        long = "data-dir",
        env = "OPP2P_DATA_DIR",
        default_value = "opp2p-data",
        value_name = "DIR",
        help_heading = "Storage"
    )]
    data_dir: PathBuf,
    /// Most blocks that are kept.
    #[arg(
        long = "store.blocks",
        env = "OPP2P_STORE_BLOCKS",
        default_value_t = 86_400,
        value_name = "N",
        help_heading = "Storage"
    )]
    store_blocks: u64,
    /// Oldest block that is kept, in hours.
    #[arg(
        long = "store.hours",
        env = "OPP2P_STORE_HOURS",
        default_value_t = 168,
        value_name = "HOURS",
        help_heading = "Storage"
    )]
    store_hours: u64,
    /// File for what is known of peers, or memory to forget it at the end; by default it is kept with the blocks.
    #[arg(
        long = "p2p.peerstore.path", env = "OP_NODE_P2P_PEERSTORE_PATH", value_name = "FILE",
        value_parser = path(), help_heading = "Storage"
    )]
    peerstore: Option<PathBuf>,
    #[command(flatten)]
    web: WebArgs,
    #[command(flatten)]
    rpc: RpcArgs,
    #[command(flatten)]
    metrics: MetricsArgs,
    #[command(flatten)]
    feed: FeedArgs,
    #[command(flatten)]
    log: LogArgs,
}

/// The flags about the feed.
#[cfg(test)]
pub(super) const fn feed(args: &Args) -> &FeedArgs {
    &args.feed
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    // Held to the end: it says what was left out of the log.
    let _log = args.log.start()?;
    panics::watch();
    for variable in settings::unread_variables() {
        tracing::warn!(variable, "no setting has this environment variable: is there a typo in it?");
    }
    // Before anything is made or opened for a node that would not start.
    let web = args.web.load()?;
    args.metrics.check()?;
    let rpc = args.rpc.load()?;
    let plan = plan(args)?;
    let feed = args.feed.plan(plan.chain.chain_id)?;
    let engine = plan.engine.clone();
    runtime()?.block_on(async {
        let config = configure(args, plan).await?;
        let extras = Extras { web, rpc, engine, feed, publish: args.publish_stdin };
        follow(config, extras, &args.metrics).await
    })
}

/// Says what is wrong with the settings, as a start would, and makes nothing.
pub(super) fn check(args: &Args) -> Result<(), Failure> {
    args.web.load()?;
    args.rpc.config()?;
    let plan = plan(args)?;
    args.feed.plan(plan.chain.chain_id).map(drop)
}

/// How blocks are fetched and served, if they are.
fn sync(args: &Args) -> Option<SyncConfig> {
    let mut sync = SyncConfig::default();
    let unless_zero = |time: Duration| (!time.is_zero()).then_some(time);
    sync.fill.client.only_static = args.sync_only_static;
    sync.fill.max_age = unless_zero(args.sync_max_age);
    sync.fill.patience = unless_zero(args.sync_patience);
    args.sync_req_resp.then_some(sync)
}

/// What the settings come to.
struct Plan {
    chain: ChainConfig,
    static_peers: Vec<Multiaddr>,
    signing: Signing,
    discovery: Option<DiscoveryConfig>,
    ws: Option<WsConfig>,
    mesh: MeshParams,
    peers: PeersConfig,
    security: Vec<Security>,
    mux: Vec<Muxer>,
    engine: Option<EngineSetup>,
    /// The key itself, if it is given.
    key: Option<SecretKey>,
}

/// Reads and checks the settings; nothing is made or opened for good.
fn plan(args: &Args) -> Result<Plan, Failure> {
    let chain = args.chain.load(None)?;
    let texts = args.static_peers.iter().map(|text| text.trim()).filter(|text| !text.is_empty());
    let static_peers: Vec<Multiaddr> = texts.map(static_peer).collect::<Result<_, _>>()?;
    if args.disable && !static_peers.is_empty() {
        return Err(Failure::new("both --p2p.static and --p2p.disable are specified: leave out one"));
    }
    let signing = args.signer.load(&chain)?;
    if args.publish_stdin && !signing.is_sequencer() {
        return Err(Failure::new(
            "--publish.stdin needs something to sign with: give --p2p.sequencer.key, --p2p.sequencer.key.path \
             or --signer.endpoint",
        ));
    }
    let rollup = args.chain.rollup()?;
    let engine = args.engine.load(&chain, rollup.as_deref(), signing.is_sequencer())?;
    let ws = args.ws.config(args.listen_tcp).map_err(Failure::new)?;
    let raw = args.priv_raw.as_deref().filter(|text| !text.is_empty());
    let key = raw.map(str::parse).transpose().map_err(|error| {
        Failure::new(format!("--p2p.priv.raw is no key: {error}; opp2p key generate makes one"))
    })?;
    if args.peerstore.as_ref().is_some_and(|path| path.as_os_str().is_empty()) {
        return Err(Failure::new(
            "--p2p.peerstore.path is empty: name a file, or memory, or leave the flag out",
        ));
    }
    let data = args.data_dir.join(chain.chain_id.to_string());
    Ok(Plan {
        discovery: args.discovery.config(&data).map_err(Failure::new)?,
        static_peers,
        signing,
        ws: ws.filter(|_| !args.disable),
        mesh: args.gossip.mesh().map_err(Failure::new)?,
        peers: args.peers.config(args.ws.limits()).map_err(Failure::new)?,
        security: args.connect.security().map_err(Failure::new)?,
        mux: args.connect.mux().map_err(Failure::new)?,
        engine,
        key,
        chain,
    })
}

/// Reads or makes the node's key, and asks a remote signer whether it is there.
async fn configure(args: &Args, plan: Plan) -> Result<HostConfig, Failure> {
    let Plan { chain, static_peers, signing, discovery, ws, mesh, peers, security, mux, engine, key } = plan;
    if !args.disable {
        check_port(args.listen_ip, args.listen_tcp, "--p2p.listen.tcp")?;
    }
    if let Some(ws) = &ws {
        check_port(args.listen_ip, ws.port, "--p2p.listen.ws")?;
    }
    let key = match key {
        Some(key) => key,
        None => {
            let key = SecretKey::load_or_create(&args.priv_path)?;
            key::warn_if_open(&key, &args.priv_path);
            if key.created {
                let file = args.priv_path.display();
                tracing::info!(%file, peer_id = %key.key.peer_id(), "made a new node key");
            }
            key.key
        }
    };
    let store = args.data_dir.join(chain.chain_id.to_string()).join("blocks.redb");
    let engine = look_at(engine.as_ref(), &chain).await?;
    let mut config = HostConfig::new(chain, key, store);
    config.offline = args.disable;
    config.signer = signing.signer;
    config.l1.clone_from(&signing.l1);
    config.listen_ip = args.listen_ip;
    config.listen_tcp = args.listen_tcp;
    config.discovery = discovery;
    config.ws = ws;
    config.static_peers = static_peers;
    if let Some(agent) = args.useragent.as_ref().filter(|agent| !agent.is_empty()) {
        config.agent.clone_from(agent);
    }
    config.sequencer = signing.block_signer().await?;
    config.mesh = mesh;
    config.timestamp_threshold = args.gossip.timestamp_threshold;
    config.peers = peers;
    config.nat = args.peers.nat && !args.disable;
    config.ping = args.peers.ping;
    config.security = security;
    config.mux = mux;
    config.dial_timeout = args.connect.dial_timeout;
    config.accept_timeout = args.connect.accept_timeout;
    config.negotiation_timeout = args.connect.negotiation_timeout;
    config.sync = sync(args);
    config.peerstore = match &args.peerstore {
        None => Peerstore::WithBlocks,
        Some(path) if path == Path::new("memory") => Peerstore::Memory,
        Some(path) => Peerstore::File(path.clone()),
    };
    if let Some((state, source)) = engine {
        (config.engine, config.source) = (state, Some(source));
    }
    config.retention = Retention {
        max_blocks: args.store_blocks,
        max_age: Duration::from_secs(args.store_hours.saturating_mul(3600)),
    };
    Ok(config)
}

/// How the engine stands, if there is one that answers, and how it is asked for blocks.
async fn look_at(
    engine: Option<&EngineSetup>,
    chain: &ChainConfig,
) -> Result<Option<(Option<EngineState>, EngineSource)>, Failure> {
    let Some(engine) = engine else { return Ok(None) };
    let source = EngineSource::new(engine).map_err(|error| Failure::new(format!("--l2: {error}")))?;
    let now = Now::new(Duration::ZERO, crate::clock::since_epoch());
    let state = engine.first_look(chain, now).await?;
    match &state {
        Some(state) => tracing::info!(head = state.head.number, "the execution client answers"),
        None => tracing::warn!("the execution client of --l2 does not answer yet; it is fed when it does"),
    }
    Ok(Some((state, source)))
}

fn static_peer(text: &str) -> Result<Multiaddr, Failure> {
    let wrong = |what: &str| {
        Failure::new(format!("--p2p.static: {text:?} {what}: write it as /ip4/ADDRESS/tcp/PORT/p2p/PEER-ID"))
    };
    let address: Multiaddr = text.parse().map_err(|_| wrong("is no multiaddr"))?;
    let parts: Vec<_> = address.iter().collect();
    let (Some(Protocol::P2p(_)), way) = (parts.last(), parts.as_slice()) else {
        return Err(wrong("does not end in the peer's id"));
    };
    use Protocol::{Dns, Dns4, Dns6, Dnsaddr, Ip4, Ip6, Tcp};
    match way {
        [Ip4(_) | Ip6(_) | Dns(_) | Dns4(_) | Dns6(_), Tcp(_), ..] | [Dnsaddr(_), ..] => Ok(address),
        _ => Err(wrong("does not lead anywhere over TCP")),
    }
}

/// Refuses a port that somebody listens on.
///
/// libp2p would not notice: it listens in a way in which two processes of one user can share a port,
/// and each of them then gets some of the connections.
fn check_port(ip: IpAddr, port: u16, flag: &str) -> Result<(), Failure> {
    if port == 0 {
        return Ok(());
    }
    let Err(error) = TcpListener::bind((ip, port)) else { return Ok(()) };
    Err(Failure::new(match error.kind() {
        ErrorKind::AddrInUse => format!(
            "port {port} of {ip} is in use: end the process that listens there, \
             or choose another port with {flag}"
        ),
        ErrorKind::AddrNotAvailable => format!(
            "this machine has no address {ip}: choose one of its own with --p2p.listen.ip, or 0.0.0.0 for all"
        ),
        _ => format!(
            "can't listen on port {port} of {ip}: {error}; \
             choose others with --p2p.listen.ip and {flag}"
        ),
    }))
}

/// What runs beside the node.
struct Extras {
    web: Option<Web>,
    rpc: Option<RpcConfig>,
    engine: Option<EngineSetup>,
    feed: FeedPlan,
    /// Whether blocks come in on standard input.
    publish: bool,
}

async fn follow(config: HostConfig, extras: Extras, metrics: &MetricsArgs) -> Result<ExitCode, Failure> {
    let Extras { web, rpc, engine, feed, publish } = extras;
    let mut end = End::listen()?;
    let chain = config.chain.clone();
    let start = web.as_ref().map(|_| page_start(&config));
    let on_all = config.listen_ip.is_unspecified()
        && config.ws.as_ref().is_some_and(|browsers| browsers.advertise.is_empty());
    let start_host = async {
        if metrics.enabled() { Host::start_measured(config).await } else { Host::start_heard(config).await }
    };
    let (host, mut events) = tokio::select! {
        started = start_host => started?,
        () = end.asked() => return Ok(ExitCode::SUCCESS),
    };
    let head = host.status().borrow().head;
    tracing::info!(
        chain = %chain.name, chain_id = chain.chain_id, address = %host.address(),
        store_ms = u64::try_from(host.store_opening_took().as_millis()).unwrap_or(u64::MAX),
        head = %head.map_or_else(|| "none".into(), |head| head.number.to_string()), "started"
    );
    let (signer, from) = (host.signers().current, host.signer_report().borrow().origin.name());
    match signer {
        Some(signer) => tracing::info!(%signer, from, "whose blocks count"),
        None => tracing::info!("whose blocks count is not known yet"),
    }
    if let Some(record) = host.local_enr() {
        tracing::info!(record, "looking for peers, who find this node by its record");
    }
    for address in host.browser_addresses() {
        tracing::info!(%address, "browsers can connect");
    }
    let engine = match engine.map(|setup| EngineLink::start(host.handle(), &setup)).transpose() {
        Ok(engine) => engine,
        Err(error) => {
            host.stop().await;
            return Err(error.into());
        }
    };
    let (engine, mut engine_events) = engine.unzip();
    let start = start.map(|start| PageStart { peers: doors(&host.browser_addresses(), on_all), ..start });
    let page = match serve(web.zip(start)).await {
        Ok(page) => page,
        Err(failure) => {
            host.stop().await;
            return Err(failure);
        }
    };
    let calls = RpcMeter::new(crate::rpc::names());
    let rpc = rpc.map(|config| RpcConfig { observer: Some(Arc::clone(&calls) as _), ..config });
    let mut sources: Vec<Arc<dyn Source>> = if rpc.is_some() { vec![calls] } else { Vec::new() };
    let stream = feed.start(host.handle());
    sources.extend(stream.as_ref().map(|stream| stream.meter() as _));
    let rpc = match rpc::serve(rpc, &host).await {
        Ok(rpc) => rpc,
        Err(failure) => {
            host.stop().await;
            return Err(failure);
        }
    };
    let metrics = match metrics.start(host.handle(), sources).await {
        Ok(metrics) => metrics,
        Err(error) => {
            host.stop().await;
            return Err(error.into());
        }
    };
    // Boxed so that it can be dropped before the node that it borrows.
    let mut publishing = Box::pin(publish_lines(&host, &chain));
    let mut published = !publish;
    let mut l1_signer = None;
    let mut lines = Box::pin(feed.lines(host.handle()));
    let failure = loop {
        tokio::select! {
            () = end.asked() => break None,
            event = events.recv() => match event {
                Ok(event) => {
                    log_events::log(&event);
                    if let HostEventKind::L1(L1News::Read { signer: Some(signer), block }) = &event.kind
                        && l1_signer.replace(*signer) != Some(*signer)
                    {
                        tracing::info!(%signer, from = "L1", l1_block = block, "whose blocks count");
                    }
                    if let HostEventKind::L1(L1News::GaveUp(error)) = &event.kind
                        && host.signers().current.is_none()
                    {
                        break Some(Failure::new(format!(
                            "nobody knows who signs this chain's blocks, and L1 does not tell: {error}"
                        )));
                    }
                }
                Err(RecvError::Lagged(missed)) => {
                    log_events::missed(missed);
                }
                Err(RecvError::Closed) => {
                    return Err(Failure::new("the node ended unexpectedly: see the log, and start it again"));
                }
            },
            Some(event) = heard(&mut engine_events) => engine::log(&event),
            failure = &mut lines, if feed.has_lines() => break Some(failure),
            result = &mut publishing, if !published => {
                result?;
                published = true;
                tracing::info!("standard input has ended; the node goes on without");
            }
        }
    };
    drop(publishing);
    drop(lines);
    tracing::info!("stopping");
    if let Some(engine) = engine {
        engine.stop().await;
    }
    if let Some(stream) = stream {
        stream.stop().await;
    }
    if let Some(rpc) = rpc {
        rpc.stop().await;
    }
    if let Some(page) = page {
        page.stop().await;
    }
    if let Some(metrics) = metrics {
        metrics.stop().await;
    }
    tokio::select! {
        () = host.stop() => tracing::info!("stopped"),
        () = end.asked() => tracing::warn!("asked twice: ending without waiting for the disk"),
    }
    failure.map_or(Ok(ExitCode::SUCCESS), Err)
}

/// The next event of the engine, if there is one; for ever none if there is no engine any more.
async fn heard(events: &mut Option<Receiver<EngineEvent>>) -> Option<EngineEvent> {
    loop {
        let Some(receiver) = events else { return std::future::pending().await };
        match receiver.recv().await {
            Ok(event) => return Some(event),
            Err(RecvError::Lagged(missed)) => log_events::missed(missed),
            Err(RecvError::Closed) => *events = None,
        }
    }
}

/// What the page is told of a node, but for its addresses.
fn page_start(config: &HostConfig) -> PageStart {
    let HostConfig { chain, signer, from_genesis, .. } = config;
    let name = chain.name.clone().into_owned();
    PageStart { chain: chain.clone(), signer: *signer, peers: Vec::new(), from_genesis: *from_genesis, name }
}

/// What the page is told to dial: these addresses, or, where a node listens on all addresses of its machine, the host
/// that the page came from. A visitor has reached that one, and knows nothing of the others.
fn doors(addresses: &[Multiaddr], on_all: bool) -> Vec<String> {
    let mut doors = Vec::new();
    for address in addresses {
        let mut parts = address.iter();
        let is_ip = matches!(parts.next(), Some(Protocol::Ip4(_) | Protocol::Ip6(_)));
        let door = match on_all && is_ip {
            true => format!("/dns4/{{host}}{}", parts.collect::<Multiaddr>()),
            false => address.to_string(),
        };
        if !doors.contains(&door) {
            doors.push(door);
        }
    }
    doors
}

/// Serves the page, if one is asked for.
async fn serve(web: Option<(Web, PageStart)>) -> Result<Option<Page>, Failure> {
    let Some((web, start)) = web else { return Ok(None) };
    let page = web.start(start).await?;
    tracing::info!(url = page.url(), "serving the observer page");
    Ok(Some(page))
}

/// Publishes what comes in on standard input, one block after the other, until its end.
async fn publish_lines(host: &Host, chain: &ChainConfig) -> Result<(), Failure> {
    let mut lines = Lines::start()?;
    while let Some(line) = lines.next().await {
        publish_line(host, chain, &line).await;
    }
    Ok(())
}

async fn publish_line(host: &Host, chain: &ChainConfig, line: &[u8]) {
    let text = line.trim_ascii();
    if text.is_empty() {
        return;
    }
    let Some(envelope) = hex::decode(text).ok().and_then(|body| envelope(chain, &body)) else {
        tracing::error!(
            bytes = text.len(),
            "a line on standard input is no block of this chain's forks in hexadecimal"
        );
        return;
    };
    let number = envelope.payload.block_number;
    match host.publish(envelope).await {
        Ok(Ok(hash)) => tracing::info!(number, %hash, "published"),
        Ok(Err(error)) => tracing::error!(number, %error, "not published"),
        Err(stopped) => tracing::error!(number, error = %stopped, "not published"),
    }
}

/// The block in `body`, whose version is that of the fork at its own timestamp.
fn envelope(chain: &ChainConfig, body: &[u8]) -> Option<Envelope> {
    PayloadVersion::ALL
        .into_iter()
        .filter_map(|version| Some((version, Envelope::decode(version, body).ok()?)))
        .find(|(version, envelope)| PayloadVersion::at(&chain.forks, envelope.payload.timestamp) == *version)
        .map(|(_, envelope)| envelope)
}

#[cfg(test)]
mod tests {
    use super::super::{Cli, Command};
    use super::*;
    use clap::Parser;
    use opp2p_core::peers::Scoring;

    #[test]
    fn the_page_dials_the_host_that_it_came_from_where_a_node_listens_on_all() {
        let id = "16Uiu2HAmJs8DPmkCTVkvCDnCZsF3HPUBTJ7Cx5vXpN2JQ2nZvHFn";
        let addresses =
            ["/ip4/127.0.0.1/tcp/9223/ws", "/ip4/10.0.0.7/tcp/9223/ws", "/dns4/gw.example/tcp/443/wss"];
        let addresses = addresses.map(|way| format!("{way}/p2p/{id}"));
        let parsed: Vec<Multiaddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
        assert_eq!(doors(&parsed, false), addresses);
        let host = format!("/dns4/{{host}}/tcp/9223/ws/p2p/{id}");
        assert_eq!(doors(&parsed, true), [host, addresses[2].clone()]);
    }

    /// What a node is started with for these arguments.
    fn configured(arguments: &[&str]) -> HostConfig {
        let line = ["opp2p", "node", "--network", "base"].iter().chain(arguments);
        let Command::Node(args) = Cli::try_parse_from(line).expect("good arguments").command else {
            panic!("it is a node's")
        };
        let plan = plan(&args).unwrap_or_else(|Failure(why)| panic!("{why}"));
        let configuring =
            async { configure(&args, plan).await.unwrap_or_else(|Failure(why)| panic!("{why}")) };
        runtime().unwrap_or_else(|Failure(why)| panic!("{why}")).block_on(configuring)
    }

    #[test]
    fn every_flag_reaches_the_node() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name).display().to_string();
        let (key, data, peers) = (path("key"), path("data"), path("peers"));
        let friend = "/ip4/127.0.0.1/tcp/9/p2p/16Uiu2HAm3cuhhRL2msUuLF62KRSfneFDx94RsuouyW25Ho42cFMq";
        let before = configured(&["--p2p.priv.path", &key, "--p2p.listen.tcp", "0"]);
        assert_eq!(before.mesh, MeshParams::default());
        assert_eq!((before.security, before.mux), (vec![Security::Noise], vec![Muxer::Yamux]));
        assert_eq!(
            (before.listen_ip.to_string(), before.peerstore),
            ("0.0.0.0".into(), Peerstore::WithBlocks)
        );
        assert!(before.ping && !before.nat && !before.offline && before.sync.is_some());
        let raw = "00000000000000000000000000000000000000000000000000000000000000ff";
        let config = configured(&[
            "--p2p.listen.ip=127.0.0.1",
            "--p2p.listen.tcp=0",
            "--p2p.priv.raw",
            raw,
            "--p2p.static",
            friend,
            "--p2p.useragent=me",
            "--p2p.security=tls,noise",
            "--p2p.mux=mplex",
            "--p2p.timeout.dial=1s",
            "--p2p.timeout.accept=2s",
            "--p2p.timeout.negotiation=3s",
            "--p2p.listen.ws=0",
            "--p2p.scoring=none",
            "--p2p.ban.peers=false",
            "--p2p.ban.threshold=-3.5",
            "--p2p.ban.duration=4m",
            "--p2p.peers.lo=5",
            "--p2p.peers.hi=6",
            "--p2p.peers.grace=7s",
            "--p2p.nat",
            "--p2p.ping=false",
            "--p2p.gossip.timestamp.threshold=8s",
            "--p2p.gossip.mesh.d=9",
            "--p2p.gossip.mesh.lo=8",
            "--p2p.gossip.mesh.dhi=11",
            "--p2p.gossip.mesh.dlazy=12",
            "--p2p.gossip.mesh.floodpublish",
            "--p2p.sync.onlyreqtostatic",
            "--p2p.peerstore.path",
            &peers,
            "--data-dir",
            &data,
            "--store.blocks=13",
            "--store.hours=14",
            "--l1=http://127.0.0.1:1",
            "--verifier.l1-confs=15",
            "--l1.runtime-config-reload-interval=16m",
        ]);
        let seconds = Duration::from_secs;
        assert_eq!((config.listen_ip.to_string().as_str(), config.listen_tcp), ("127.0.0.1", 0));
        assert_eq!(*config.key.secret_bytes(), raw.parse::<SecretKey>().expect("a key").secret_bytes()[..]);
        assert_eq!(config.static_peers[0].to_string(), friend);
        assert_eq!(config.agent, "me");
        assert_eq!((config.security, config.mux), (vec![Security::Tls, Security::Noise], vec![Muxer::Mplex]));
        assert_eq!((config.dial_timeout, config.accept_timeout), (seconds(1), seconds(2)));
        assert_eq!(config.negotiation_timeout, seconds(3));
        assert!(config.ws.is_some() && config.nat && !config.ping);
        assert_eq!(config.peers.scoring, Scoring::None);
        let bans = config.peers.bans;
        assert_eq!((bans.is_enabled, bans.threshold, bans.duration), (false, -3.5, seconds(240)));
        let tide = config.peers.tide;
        assert_eq!((tide.low, tide.high, tide.grace), (5, 6, seconds(7)));
        assert_eq!(config.timestamp_threshold, seconds(8));
        let mesh = MeshParams { d: 9, low: 8, high: 11, lazy: 12, flood_publish: true };
        assert_eq!(config.mesh, mesh);
        assert!(config.sync.expect("it fetches").fill.client.only_static);
        assert_eq!(config.peerstore, Peerstore::File(peers.into()));
        assert_eq!(config.store, Path::new(&data).join("8453").join("blocks.redb"));
        assert_eq!((config.retention.max_blocks, config.retention.max_age), (13, seconds(14 * 3600)));
        let l1 = config.l1.expect("L1 is read").config;
        assert_eq!((l1.chain_id, l1.confirmations, l1.reload), (1, 15, Some(seconds(960))));
        assert_eq!(Some(l1.contract), config.chain.system_config);
        let config = configured(&[
            "--p2p.disable",
            "--p2p.priv.path",
            &key,
            "--p2p.sync.req-resp=false",
            "--p2p.peerstore.path=memory",
            "--l1.runtime-config-reload-interval=-1s",
            "--l1=http://127.0.0.1:1",
        ]);
        assert!(config.offline && config.sync.is_none());
        assert_eq!(config.peerstore, Peerstore::Memory);
        assert_eq!(config.l1.expect("L1 is read").config.reload, None);
        let signer = "0x0000000000000000000000000000000000000011";
        let config =
            configured(&["--p2p.disable", "--p2p.priv.path", &key, "--signer", signer, "--l1=http://h"]);
        assert_eq!(config.signer.map(|signer| signer.to_string()).as_deref(), Some(signer));
        assert!(config.l1.is_none());
    }

    #[test]
    fn static_peers_name_the_peer_and_a_way_over_tcp() {
        let id = "16Uiu2HAm3cuhhRL2msUuLF62KRSfneFDx94RsuouyW25Ho42cFMq";
        for way in ["/ip4/1.2.3.4/tcp/9", "/ip6/::1/tcp/9", "/dns4/example.com/tcp/9", "/dnsaddr/example.com"]
        {
            assert!(static_peer(&format!("{way}/p2p/{id}")).is_ok(), "{way}");
            assert!(static_peer(way).is_err(), "{way}");
        }
        for way in ["", "/ip4/1.2.3.4/udp/9/quic-v1", "/tcp/9"] {
            assert!(static_peer(&format!("{way}/p2p/{id}")).is_err(), "{way}");
        }
    }
}
