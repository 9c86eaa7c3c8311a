//! `opp2p node`: joins a network and follows it until told to end.

use super::chain::ChainArgs;
use super::logging::LogArgs;
use super::{Failure, asked_to_end, key, runtime};
use crate::host::{Host, HostConfig, HostEvent, HostEventKind, Retention};
use crate::key::SecretKey;
use alloy_primitives::{Address, hex};
use libp2p::Multiaddr;
use opp2p_core::chain::ChainConfig;
use opp2p_core::node::Event;
use opp2p_core::payload::{Block, Envelope, PayloadVersion};
use opp2p_core::sequencer::LocalSigner;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::broadcast::error::RecvError;

/// Longest line of a block in hexadecimal: twice the largest message, and a little.
const MAX_LINE: usize = (10 << 20) * 2 + 1024;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    chain: ChainArgs,
    #[command(flatten)]
    log: LogArgs,
    /// IP address to listen on.
    #[arg(
        long = "p2p.listen.ip",
        env = "OP_NODE_P2P_LISTEN_IP",
        default_value = "0.0.0.0",
        value_name = "IP"
    )]
    listen_ip: IpAddr,
    /// TCP port to listen on; 0 lets the system choose.
    #[arg(
        long = "p2p.listen.tcp", env = "OP_NODE_P2P_LISTEN_TCP_PORT", default_value_t = 9222,
        value_name = "PORT", value_parser = port
    )]
    listen_tcp: u16,
    /// File with the node's private key in hexadecimal; made if it does not exist.
    #[arg(
        long = "p2p.priv.path",
        env = "OP_NODE_P2P_PRIV_PATH",
        default_value = "opnode_p2p_priv.txt",
        value_name = "FILE"
    )]
    priv_path: PathBuf,
    /// Peers to be connected to for ever: multiaddrs that end in /p2p/ID, separated by commas.
    #[arg(long = "p2p.static", env = "OP_NODE_P2P_STATIC", value_name = "ADDRS", value_delimiter = ',')]
    static_peers: Vec<String>,
    /// What this node calls itself.
    #[arg(long = "p2p.useragent", env = "OP_NODE_P2P_AGENT", value_name = "AGENT")]
    useragent: Option<String>,
    /// Address of the unsafe-block signer, in place of the chain configuration's.
    #[arg(long, env = "OPP2P_SIGNER", value_name = "ADDR")]
    signer: Option<Address>,
    /// Private key to sign blocks with, in hexadecimal: this node is the sequencer.
    #[arg(
        long = "p2p.sequencer.key",
        env = "OP_NODE_P2P_SEQUENCER_KEY",
        value_name = "HEX",
        hide_env_values = true,
        conflicts_with = "sequencer_key_path"
    )]
    sequencer_key: Option<String>,
    /// File with that key.
    #[arg(long = "p2p.sequencer.key.path", env = "OPP2P_P2P_SEQUENCER_KEY_PATH", value_name = "FILE")]
    sequencer_key_path: Option<PathBuf>,
    /// How old a gossiped block may be, in seconds.
    #[arg(
        long = "p2p.gossip.timestamp.threshold",
        env = "OP_NODE_P2P_GOSSIP_TIMESTAMP_THRESHOLD",
        default_value_t = 60,
        value_name = "SECONDS"
    )]
    timestamp_threshold: u64,
    /// Publish blocks that come in on standard input, one a line: the bytes that are signed (parent
    /// beacon block root where the fork has one, then the SSZ payload) in hexadecimal.
    #[arg(long = "publish.stdin")]
    publish_stdin: bool,
    /// Directory for what the node keeps.
    #[arg(long = "data-dir", env = "OPP2P_DATA_DIR", default_value = "opp2p-data", value_name = "DIR")]
    data_dir: PathBuf,
    /// Most blocks that are kept.
    #[arg(long = "store.blocks", env = "OPP2P_STORE_BLOCKS", default_value_t = 86_400, value_name = "N")]
    store_blocks: u64,
    /// Oldest block that is kept, in hours.
    #[arg(long = "store.hours", env = "OPP2P_STORE_HOURS", default_value_t = 168, value_name = "HOURS")]
    store_hours: u64,
}

/// The reference's rule for ports (`p2p/cli/load_config.go`).
fn port(text: &str) -> Result<u16, String> {
    match text.parse::<u64>() {
        Ok(port @ 1..=1023) => Err(format!("port {port} is reserved for system")),
        Ok(port) => u16::try_from(port).map_err(|_| format!("port {port} is out of range")),
        Err(error) => Err(error.to_string()),
    }
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    args.log.start()?;
    let config = configure(args)?;
    let publish = args.publish_stdin;
    if publish && config.sequencer.is_none() {
        return Err(Failure::new(
            "--publish.stdin needs a key to sign with: give --p2p.sequencer.key or --p2p.sequencer.key.path",
        ));
    }
    runtime()?.block_on(follow(config, publish))
}

fn configure(args: &Args) -> Result<HostConfig, Failure> {
    let chain = args.chain.load(None)?;
    let mut static_peers = Vec::new();
    for text in args.static_peers.iter().map(|text| text.trim()).filter(|text| !text.is_empty()) {
        let address: Multiaddr = text
            .parse()
            .map_err(|error| Failure::new(format!("--p2p.static: {text:?} is no multiaddr ({error})")))?;
        static_peers.push(address);
    }
    let sequencer = match (&args.sequencer_key, &args.sequencer_key_path) {
        (Some(text), _) => {
            let key: Result<SecretKey, _> = text.parse();
            Some(key.map_err(|error| Failure::new(format!("--p2p.sequencer.key: {error}")))?)
        }
        (None, Some(path)) => Some(key::load(path)?),
        (None, None) => None,
    };
    let signer = args.signer.or(chain.unsafe_block_signer);
    if signer.is_none_or(|signer| signer.is_zero()) {
        tracing::warn!("no unsafe-block signer is known: every block will be ignored; give --signer ADDR");
    }
    if let (Some(key), Some(signer)) = (&sequencer, signer)
        && key.address() != signer
    {
        return Err(Failure::new(format!(
            "the sequencer key signs as {}, but the chain's unsafe-block signer is {signer}: \
             give the right key, or --signer",
            key.address()
        )));
    }
    let key = SecretKey::load_or_create(&args.priv_path)?;
    key::warn_if_open(&key, &args.priv_path);
    if key.created {
        tracing::info!(file = %args.priv_path.display(), peer_id = %key.key.peer_id(), "made a new node key");
    }
    let store = args.data_dir.join(chain.chain_id.to_string()).join("blocks.redb");
    let mut config = HostConfig::new(chain, key.key, store);
    config.signer = args.signer;
    config.listen_ip = args.listen_ip;
    config.listen_tcp = args.listen_tcp;
    config.static_peers = static_peers;
    if let Some(agent) = &args.useragent {
        config.agent.clone_from(agent);
    }
    config.sequencer = sequencer.map(|key| LocalSigner::from_bytes(key.secret_bytes())).transpose()?;
    config.timestamp_threshold = Duration::from_secs(args.timestamp_threshold);
    config.retention = Retention {
        max_blocks: args.store_blocks,
        max_age: Duration::from_secs(args.store_hours.saturating_mul(3600)),
    };
    Ok(config)
}

async fn follow(config: HostConfig, publish: bool) -> Result<ExitCode, Failure> {
    let chain = config.chain.clone();
    let host = Host::start(config).await?;
    let mut events = host.events();
    tracing::info!(
        chain = %chain.name, chain_id = chain.chain_id, address = %host.address(),
        head = host.status().borrow().head.map_or(0, |head| head.number), "started"
    );
    let mut lines = BufReader::new(tokio::io::stdin());
    let mut publishing = publish;
    loop {
        tokio::select! {
            () = asked_to_end() => break,
            event = events.recv() => match event {
                Ok(event) => log(&event),
                Err(RecvError::Lagged(missed)) => tracing::warn!(missed, "the log is behind and left events out"),
                Err(RecvError::Closed) => return Err(Failure::new("the node ended unexpectedly; see the log")),
            },
            line = next_line(&mut lines), if publishing => match line {
                Some(line) => publish_line(&host, &chain, &line).await,
                None => publishing = false,
            },
        }
    }
    tracing::info!("stopping");
    host.stop().await;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// The next line of at most [`MAX_LINE`] bytes; longer ones come in pieces that are no blocks.
async fn next_line(input: &mut BufReader<tokio::io::Stdin>) -> Option<Vec<u8>> {
    use tokio::io::AsyncReadExt;
    let mut line = Vec::new();
    match input.take(MAX_LINE as u64).read_until(b'\n', &mut line).await {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(line),
    }
}

async fn publish_line(host: &Host, chain: &ChainConfig, line: &[u8]) {
    let text = line.trim_ascii();
    if text.is_empty() {
        return;
    }
    let Some(envelope) = hex::decode(text).ok().and_then(|body| envelope(chain, &body)) else {
        tracing::error!("a line on standard input is no block of any fork in hexadecimal");
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

/// One line for what people follow; peers' garbage only at the debug level, so that no peer writes
/// the log.
fn log(event: &HostEvent) {
    match &event.kind {
        HostEventKind::Core(Event::Block(block)) => log_block(block),
        HostEventKind::Core(Event::Reorg { ancestor, abandoned, adopted }) => tracing::warn!(
            ancestor = %ancestor, abandoned = abandoned.len(), adopted = adopted.len(), "reorg"
        ),
        HostEventKind::Core(Event::Equivocation { number, first, second }) => tracing::warn!(
            number, first = %first.hash, second = %second.hash, "the sequencer signed two blocks of one number"
        ),
        HostEventKind::Core(Event::GapOpened(gap)) => {
            tracing::info!(
                after = gap.after.number,
                before = gap.before.number,
                missing = gap.missing,
                "gap"
            );
        }
        HostEventKind::Core(Event::GapClosed { end, .. }) => tracing::info!(?end, "gap closed"),
        HostEventKind::Core(Event::Skipped { from, to, .. }) => tracing::warn!(
            from = from.number,
            to = to.number,
            "the blocks between were not received and are left out"
        ),
        HostEventKind::Core(Event::SignerChanged { current, .. }) => {
            tracing::info!(?current, "unsafe-block signer changed");
        }
        HostEventKind::Core(Event::GapChanged(_) | Event::Published { .. }) => {}
        HostEventKind::Verdict(verdict) => {
            if let Err(reason) = verdict.result {
                tracing::debug!(topic = %verdict.topic, %reason, "message not accepted");
            }
        }
        HostEventKind::Connected { peer, address } => tracing::info!(%peer, %address, "connected"),
        HostEventKind::Disconnected { peer } => tracing::info!(%peer, "disconnected"),
        HostEventKind::DialFailed { peer, error } => tracing::info!(%peer, %error, "could not connect"),
        HostEventKind::Identified { peer, agent } => tracing::debug!(%peer, agent, "identified"),
        HostEventKind::Stored(block) => tracing::debug!(number = block.number, "stored"),
        HostEventKind::StoreFailed(error) => tracing::error!(%error, "a block was not stored"),
    }
}

fn log_block(block: &Block) {
    let payload = block.payload();
    let age = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let age = u64::try_from(age).unwrap_or(u64::MAX).saturating_sub(block.timestamp().saturating_mul(1000));
    tracing::info!(
        number = block.number(), hash = %block.hash(), txs = payload.transaction_count(),
        bytes = payload.as_bytes().len(), gas = payload.gas_used(), age_ms = age, "block"
    );
}
