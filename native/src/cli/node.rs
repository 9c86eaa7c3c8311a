//! `opp2p node`: joins a network and follows it until it is told to end.

mod doors;
mod follow;
mod running;
#[cfg(test)]
mod tests;

use super::acme::NodePlace;
use super::chain::ChainArgs;
use super::connect::ConnectArgs;
use super::discovery::DiscoveryArgs;
use super::engine::EngineArgs;
use super::feed::FeedArgs;
use super::foreign::ForeignArgs;
use super::gossip::GossipArgs;
use super::listeners::{self, Listener};
use super::logging::{LogArgs, caution};
use super::metrics::MetricsArgs;
use super::peers::PeerArgs;
use super::reload::{Origin, ReloadPlan};
use super::rpc::RpcArgs;
use super::settings::CONFIG;
use super::signer::{SignerArgs, Signing};
use super::sync::{SyncArgs, SyncPlan};
use super::values::{Gigabytes, at_least_1, boolean, gigabytes, port, unmapped};
use super::web::WebArgs;
use super::ws::WsArgs;
use super::{Failure, beside_a_folder, engine_setup, key, path, runtime};
use crate::engine::{EngineSetup, EngineSource};
use crate::rpc::RpcConfig;
use follow::{Extras, follow};
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use opp2p_core::chain::ChainConfig;
use opp2p_core::discovery::Restriction;
use opp2p_core::engine::EngineState;
use opp2p_core::gossip::MeshParams;
use opp2p_core::peers::{BlockEntry, PeersConfig};
use opp2p_core::time::Now;
use opp2p_core::trouble::Role;
use opp2p_node::discovery::DiscoveryConfig;
use opp2p_node::host::{
    DEFAULT_AGENT, HostConfig, LiveSettings, Muxer, Peerstore, Retention, Security, WsConfig,
};
use opp2p_node::key::SecretKey;
use opp2p_node::panics;
use serde_json::value::RawValue;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// op-node's name of the key file.
const KEY_FILE: &str = "opnode_p2p_priv.txt";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Configuration file: TOML, with the flags' names as keys. Flags and the environment take
    /// precedence.
    #[arg(
        id = CONFIG, long = "config", env = "OPP2P_CONFIG",
        value_name = "FILE", value_parser = path()
    )]
    config: Option<PathBuf>,
    #[command(flatten)]
    chain: ChainArgs,
    #[command(flatten)]
    signer: SignerArgs,
    #[command(flatten)]
    engine: EngineArgs,
    /// Join no network at all: do not listen, dial or discover.
    #[arg(
        long = "p2p.disable", env = "OP_NODE_P2P_DISABLE", default_value_t = false,
        default_missing_value = "true", num_args = 0..=1, require_equals = true,
        action = clap::ArgAction::Set, value_name = "BOOL", value_parser = boolean,
        help_heading = "Network"
    )]
    disable: bool,
    /// IP address to listen on.
    #[arg(
        long = "p2p.listen.ip",
        env = "OP_NODE_P2P_LISTEN_IP",
        default_value = "0.0.0.0",
        value_name = "IP",
        value_parser = unmapped,
        help_heading = "Network"
    )]
    listen_ip: IpAddr,
    /// TCP port to listen on; 0 lets the system choose.
    #[arg(
        long = "p2p.listen.tcp", env = "OP_NODE_P2P_LISTEN_TCP_PORT", default_value_t = 9222,
        value_name = "PORT", value_parser = port, help_heading = "Network"
    )]
    listen_tcp: u16,
    /// File with the node's private key in hexadecimal; created if it does not exist [default:
    /// opnode_p2p_priv.txt in the working directory if it exists, else in the data directory].
    #[arg(
        long = "p2p.priv.path",
        env = "OP_NODE_P2P_PRIV_PATH",
        value_name = "FILE",
        value_parser = path(),
        help_heading = "Network"
    )]
    priv_path: Option<PathBuf>,
    /// The node's private key itself, in hexadecimal, in place of a file.
    #[arg(
        long = "p2p.priv.raw",
        env = "OP_NODE_P2P_PRIV_RAW",
        value_name = "HEX",
        hide_env_values = true,
        help_heading = "Network"
    )]
    priv_raw: Option<String>,
    /// Peers to stay connected to: multiaddrs that end in /p2p/ID, separated by commas.
    #[arg(
        long = "p2p.static",
        env = "OP_NODE_P2P_STATIC",
        value_name = "ADDRS",
        value_delimiter = ',',
        help_heading = "Network"
    )]
    static_peers: Vec<String>,
    /// Peers to refuse: peer ids, IP addresses, and subnets such as 10.0.0.0/8, separated by
    /// commas. Those that were blocked by RPC are refused as well.
    #[arg(
        long = "p2p.blocked",
        env = "OPP2P_P2P_BLOCKED",
        value_name = "LIST",
        value_delimiter = ',',
        help_heading = "Network"
    )]
    blocked: Vec<String>,
    /// Agent name that this node reports to peers.
    #[arg(
        long = "p2p.useragent",
        env = "OP_NODE_P2P_AGENT",
        value_name = "AGENT",
        help_heading = "Network"
    )]
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
    #[command(flatten)]
    sync: SyncArgs,
    /// Publish blocks that come in on standard input, one a line: the bytes that are signed (parent
    /// beacon block root where the fork has one, then the SSZ payload) in hexadecimal.
    #[arg(long = "publish.stdin", help_heading = "Sequencer")]
    publish_stdin: bool,
    /// Directory for the node's data.
    #[arg(
        long = "data-dir",
        env = "OPP2P_DATA_DIR",
        default_value = "opp2p-data",
        value_name = "DIR",
        help_heading = "Storage"
    )]
    data_dir: PathBuf,
    /// Maximum number of blocks to keep [default: as many as --store.hours and --store.gigabytes
    /// allow].
    #[arg(
        long = "store.blocks",
        env = "OPP2P_STORE_BLOCKS",
        value_name = "N",
        value_parser = at_least_1,
        help_heading = "Storage"
    )]
    store_blocks: Option<u64>,
    /// Maximum disk space for blocks, in gigabytes; fractions are allowed.
    #[arg(
        long = "store.gigabytes",
        env = "OPP2P_STORE_GIGABYTES",
        default_value = "20",
        value_parser = gigabytes,
        value_name = "GB",
        help_heading = "Storage"
    )]
    store_gigabytes: Gigabytes,
    /// Maximum age of a block to keep, in hours.
    #[arg(
        long = "store.hours",
        env = "OPP2P_STORE_HOURS",
        default_value_t = 48,
        value_name = "HOURS",
        value_parser = at_least_1,
        help_heading = "Storage"
    )]
    store_hours: u64,
    /// File for the node's memory of peers, or memory to forget it at the end; by default it is
    /// kept with the blocks.
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
    #[command(flatten)]
    foreign: ForeignArgs,
}

/// Returns the feed's flags.
#[cfg(test)]
pub(super) const fn feed(args: &Args) -> &FeedArgs {
    &args.feed
}

/// Runs a node until it is told to end.
pub(super) fn run(args: &Args, origin: Origin) -> Result<ExitCode, Failure> {
    let Origin { settings, cautions, unread, read_again } = origin;
    // Kept to the end: it reports suppressed log lines.
    let log = args.log.start()?;
    panics::watch();
    cautions.iter().for_each(|text| caution(text));
    for variable in unread {
        tracing::warn!(
            variable,
            "no setting has this environment variable: is there a typo in it?"
        );
    }
    // Before anything is created or opened for a node that could not start.
    listeners::check(&args.listeners())?;
    let web = args.web.load()?;
    if let Some(address) = args.web.listen() {
        listeners::check_port(address.ip(), address.port(), "--web.listen")?;
    }
    args.metrics.check()?;
    let plan = plan(args)?;
    let rpc = args.rpc.load()?.map(|config| RpcConfig {
        rollup: plan.rollup.clone(),
        l1: args.signer.l1_node(),
        log_level: Some(Arc::new(log.levels())),
        ..config
    });
    let feed = args.feed.plan(plan.chain.chain_id)?;
    let engine = plan.engine.clone();
    let runtime = runtime()?;
    let ended = runtime.block_on(async {
        let config = configure(args, plan).await?;
        let reload = ReloadPlan { levels: log.levels(), settings, read_again };
        let extras = Extras { web, rpc, engine, feed, publish: args.publish_stdin, reload };
        follow(config, extras, &args.metrics).await
    });
    // Everything that must be stored is stored. A write of the feed that waits for a reader who
    // does not read must not hold the process.
    runtime.shutdown_background();
    ended
}

/// Reports errors and warnings about the settings as a start would, without creating anything.
pub(super) fn check(args: &Args, cautions: &[String]) -> Result<(), Failure> {
    let _log = args.log.start()?;
    cautions.iter().for_each(|text| caution(text));
    listeners::check(&args.listeners())?;
    args.web.load()?;
    args.rpc.config()?;
    let plan = plan(args)?;
    args.feed.plan(plan.chain.chain_id).map(drop)
}

impl Args {
    /// Returns the file of the node's key. op-node's default is in the working directory, where an
    /// earlier run may have made one. A new key belongs with the data, which a container keeps.
    fn key_file(&self) -> PathBuf {
        if let Some(path) = &self.priv_path {
            return path.clone();
        }
        let here = PathBuf::from(KEY_FILE);
        if here.exists() { here } else { self.data_dir.join(KEY_FILE) }
    }

    /// Reads the node's key from its file, or makes both.
    fn key(&self) -> Result<SecretKey, Failure> {
        let path = self.key_file();
        if path.starts_with(&self.data_dir) {
            make_folder(&self.data_dir)?;
        }
        let key = SecretKey::load_or_create(&path)?;
        key::warn_if_open(&key, &path);
        if key.created {
            let file = path.display();
            tracing::info!(%file, peer_id = %key.key.peer_id(), "made a new node key");
        }
        Ok(key.key)
    }

    /// Returns the values of settings that were not given and follow from others.
    pub(super) fn derived(&self) -> Vec<(&'static str, String)> {
        let mut derived = Vec::new();
        if self.priv_raw.as_ref().is_none_or(String::is_empty) {
            derived.push(("p2p.priv.path", self.key_file().display().to_string()));
        }
        derived.push(("p2p.useragent", DEFAULT_AGENT.to_owned()));
        if self.ws.port().is_some() {
            derived.push(("p2p.ws.peers", self.ws.limits().inbound.to_string()));
        }
        if let Ok(chain) = self.chain.load(None, &|_| {}) {
            let chain_id = chain.chain_id;
            if self.discovery.is_on() {
                let table = self.data_dir.join(chain_id.to_string()).join("discovery.txt");
                derived.push(("p2p.discovery.path", table.display().to_string()));
            }
            derived.extend(self.feed.subject(chain_id).map(|text| ("feed.nats.subject", text)));
        }
        derived
    }

    /// Returns the addresses that the node is to listen on, over TCP.
    fn listeners(&self) -> Vec<Listener> {
        let p2p = |flag, port| Listener { flag, ip: self.listen_ip, port };
        let mut all = Vec::new();
        if !self.disable {
            all.push(p2p("--p2p.listen.tcp", self.listen_tcp));
            all.extend(self.ws.port().map(|port| p2p("--p2p.listen.ws", port)));
        }
        let others = [
            ("--rpc.port", self.rpc.listen()),
            ("--metrics.port", self.metrics.listening()),
            ("--web.listen", self.web.listen()),
        ];
        all.extend(others.into_iter().filter_map(|(flag, address)| {
            address.map(|address| Listener { flag, ip: address.ip(), port: address.port() })
        }));
        all
    }
}

/// Result of the settings.
struct Plan {
    chain: ChainConfig,
    static_peers: Vec<Multiaddr>,
    blocked: Vec<BlockEntry>,
    signing: Signing,
    discovery: Option<DiscoveryConfig>,
    ws: Option<WsConfig>,
    mesh: MeshParams,
    peers: PeersConfig,
    security: Vec<Security>,
    mux: Vec<Muxer>,
    engine: Option<EngineSetup>,
    sync: SyncPlan,
    /// The operator's `rollup.json`, if the chain comes from it.
    rollup: Option<Arc<RawValue>>,
    /// The key itself, if it is given.
    key: Option<SecretKey>,
}

/// Reads and checks the settings, without lasting effects.
fn plan(args: &Args) -> Result<Plan, Failure> {
    args.foreign.check()?;
    let chain = args.chain.load(None, &|text| tracing::warn!("{text}"))?;
    let texts = args.static_peers.iter().map(|text| text.trim()).filter(|text| !text.is_empty());
    let static_peers: Vec<Multiaddr> = texts.map(static_peer).collect::<Result<_, _>>()?;
    let blocked = args.blocked.iter().map(|text| text.trim()).filter(|text| !text.is_empty());
    let blocked: Vec<BlockEntry> = blocked.map(block_entry).collect::<Result<_, _>>()?;
    if args.disable && !static_peers.is_empty() {
        return Err(Failure::new(
            "both --p2p.static and --p2p.disable are specified: leave out one",
        ));
    }
    if args.disable && args.ws.port().is_some() {
        return Err(Failure::new(
            "both --p2p.listen.ws and --p2p.disable are specified: leave out one",
        ));
    }
    let signing = args.signer.load(&chain)?;
    if args.publish_stdin && !signing.is_sequencer() {
        return Err(Failure::new(
            "--publish.stdin needs something to sign with: give --p2p.sequencer.key, \
             --p2p.sequencer.key.path or --signer.endpoint",
        ));
    }
    let rollup = args.chain.rollup()?;
    let engine =
        engine_setup::load(&args.engine, &chain, rollup.as_deref(), signing.is_sequencer())?;
    let node = NodePlace {
        ip: args.discovery.advertised_ip().map_err(Failure::new)?,
        learns_ip: args.discovery.is_on(),
        data: &args.data_dir,
    };
    let ws = args.ws.config(args.listen_tcp, &node).map_err(Failure::new)?;
    let raw = args.priv_raw.as_deref().filter(|text| !text.is_empty());
    let key = raw.map(str::parse).transpose().map_err(|error| {
        Failure::new(format!("--p2p.priv.raw is not a key: {error}; opp2p key generate makes one"))
    })?;
    if args.peerstore.as_ref().is_some_and(|path| path.as_os_str().is_empty()) {
        return Err(Failure::new(
            "--p2p.peerstore.path is empty: name a file, or memory, or leave the flag out",
        ));
    }
    let data = args.data_dir.join(chain.chain_id.to_string());
    let restriction = Restriction::to(args.discovery.restriction().map_err(Failure::new)?);
    let discovers = args.discovery.is_on();
    let peers = args.peers.config(args.ws.limits(), discovers).map_err(Failure::new)?;
    Ok(Plan {
        discovery: args.discovery.config(&data, args.listen_ip).map_err(Failure::new)?,
        static_peers,
        blocked,
        signing,
        ws: ws.filter(|_| !args.disable),
        mesh: args.gossip.mesh().map_err(Failure::new)?,
        peers: PeersConfig { restriction, ..peers },
        security: args.connect.security().map_err(Failure::new)?,
        mux: args.connect.mux().map_err(Failure::new)?,
        engine,
        sync: args.sync.plan(&chain, args.store_hours, args.disable)?,
        rollup: args.chain.rollup_json()?.map(Arc::from),
        key,
        chain,
    })
}

/// Reads or creates the node's key, and checks that a remote signer answers.
async fn configure(args: &Args, plan: Plan) -> Result<HostConfig, Failure> {
    let Plan {
        chain,
        static_peers,
        blocked,
        signing,
        discovery,
        ws,
        mesh,
        peers,
        security,
        mux,
        engine,
        sync,
        rollup: _,
        key,
    } = plan;
    if !args.disable {
        listeners::check_port(args.listen_ip, args.listen_tcp, "--p2p.listen.tcp")?;
    }
    if let Some(ws) = &ws {
        listeners::check_port(args.listen_ip, ws.port, "--p2p.listen.ws")?;
        args.ws.tell_port();
    }
    let key_file = key.is_none().then(|| args.key_file());
    let key = match key {
        Some(key) => key,
        None => args.key()?,
    };
    let store = args.data_dir.join(chain.chain_id.to_string()).join("blocks.redb");
    let engine = look_at(engine.as_ref(), &chain).await?;
    let mut config = HostConfig::new(chain, key, store);
    config.key_file = key_file;
    config.offline = args.disable;
    config.signer = signing.signer;
    config.l1.clone_from(&signing.l1);
    config.listen_ip = args.listen_ip;
    config.listen_tcp = args.listen_tcp;
    config.discovery = discovery;
    config.ws = ws;
    config.static_peers = static_peers;
    config.blocked = blocked;
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
    config.sync = sync.config;
    config.endpoints = sync.endpoints;
    config.view.gap_patience = sync.patience;
    config.peerstore = match &args.peerstore {
        None => Peerstore::WithBlocks,
        Some(path) if path == Path::new("memory") => Peerstore::Memory,
        Some(path) => Peerstore::File(beside_a_folder(path, "--p2p.peerstore.path")),
    };
    if let Some((state, source)) = engine {
        config.engine = state;
        config.source = Some(Arc::new(source));
    }
    // A node that serves the page is a gateway, also without a door of its own.
    config.role = match config.own_role() {
        Role::Follower if args.web.listen().is_some() => Some(Role::Gateway),
        role => Some(role),
    };
    config.retention = Retention {
        max_blocks: args.store_blocks.unwrap_or(u64::MAX),
        max_bytes: args.store_gigabytes.0,
        max_age: Duration::from_secs(args.store_hours.saturating_mul(3600)),
    };
    Ok(config)
}

/// Reads the settings that can change while the node runs. Checks all of them as a start would,
/// without lasting effects; the second value is the log level.
pub(super) fn live(args: &Args) -> Result<(LiveSettings, String), Failure> {
    args.log.check()?;
    listeners::check(&args.listeners())?;
    args.rpc.config()?;
    let plan = plan(args)?;
    args.feed.plan(plan.chain.chain_id)?;
    let Plan { static_peers, blocked, ws, .. } = plan;
    let tls = ws.and_then(|ws| ws.tls);
    Ok((LiveSettings { static_peers, blocked, tls }, args.log.level().to_owned()))
}

/// Returns the engine's state, if it answers, and a source of its blocks.
async fn look_at(
    engine: Option<&EngineSetup>,
    chain: &ChainConfig,
) -> Result<Option<(Option<EngineState>, EngineSource)>, Failure> {
    let Some(engine) = engine else { return Ok(None) };
    let source =
        EngineSource::new(engine).map_err(|error| Failure::new(format!("--l2: {error}")))?;
    let now = Now::new(Duration::ZERO, opp2p_node::clock::since_epoch());
    let state = engine.first_look(chain, now).await?;
    match &state {
        Some(state) => tracing::info!(head = state.head.number, "the execution client answers"),
        None => tracing::warn!(
            "the execution client of --l2 does not answer yet; it is fed when it does"
        ),
    }
    Ok(Some((state, source)))
}

/// Parses a peer id, an IP address or a subnet to refuse.
fn block_entry(text: &str) -> Result<BlockEntry, Failure> {
    let wrong = |what: &str| {
        Failure::new(format!(
            "--p2p.blocked: {text:?} is not {what}: write a peer id, an IP address, or a subnet \
             such as 10.0.0.0/8"
        ))
    };
    if text.contains('/') {
        return text.parse().map(BlockEntry::Subnet).map_err(|_| wrong("a subnet"));
    }
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(BlockEntry::Ip(ip.to_canonical()));
    }
    let peer = text.parse::<PeerId>().ok().and_then(|peer| opp2p_wire::from_libp2p(&peer));
    peer.map(BlockEntry::Peer).ok_or_else(|| wrong("a peer id or an IP address"))
}

/// Makes the data directory, for the key in it.
fn make_folder(folder: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(folder).map_err(|error| {
        Failure::new(format!(
            "can't make the data directory {} ({error}): name another with --data-dir",
            folder.display()
        ))
    })
}

fn static_peer(text: &str) -> Result<Multiaddr, Failure> {
    let wrong = |what: &str| {
        Failure::new(format!(
            "--p2p.static: {text:?} {what}: write it as /ip4/ADDRESS/tcp/PORT/p2p/PEER-ID"
        ))
    };
    let address: Multiaddr = text.parse().map_err(|_| wrong("is not a multiaddr"))?;
    let parts: Vec<_> = address.iter().collect();
    let (Some(Protocol::P2p(_)), way) = (parts.last(), parts.as_slice()) else {
        return Err(wrong("does not end in the peer's id"));
    };
    use Protocol::{Dns, Dns4, Dns6, Dnsaddr, Ip4, Ip6, Tcp};
    match way {
        [Ip4(_) | Ip6(_) | Dns(_) | Dns4(_) | Dns6(_), Tcp(_), ..] | [Dnsaddr(_), ..] => {
            Ok(address)
        }
        _ => Err(wrong("does not lead anywhere over TCP")),
    }
}
