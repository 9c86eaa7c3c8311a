//! One of our nodes in a process of its own. It takes calls on standard input and reports blocks as
//! the program around op-node's package does, and ends with its input.

use crate::kit::{SIGNER, fill, signer, sized};
use alloy_primitives::{B256, hex};
use libp2p::Multiaddr;
use opp2p::devnet::BlockMaker;
use opp2p_core::chain::{BlockId, ChainConfig, Fork};
use opp2p_core::node::SyncConfig;
use opp2p_core::payload::{Envelope, PayloadVersion};
use opp2p_core::sequencer::LocalSigner;
use opp2p_core::sync::ServerConfig;
use opp2p_node::host::{Host, HostConfig, HostEvent, HostEventKind};
use opp2p_node::key::SecretKey;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::broadcast;

/// Argument that makes this program a node.
pub(crate) const ROLE: &str = "--node";

/// Settings of a node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Setup {
    /// Address on which it listens.
    pub(crate) ip: Ipv4Addr,
    /// Port on which it listens.
    pub(crate) port: u16,
    /// Its private key, in hexadecimal.
    pub(crate) key: String,
    /// Peers that it dials.
    pub(crate) dials: Vec<Multiaddr>,
    /// Whether it signs blocks.
    pub(crate) publishes: bool,
    /// Unix time of the chain's genesis.
    pub(crate) genesis_time: u64,
    /// Blocks that it has from the start: how many, and their size in bytes.
    pub(crate) has: Option<(u64, usize)>,
    /// Whether it begins at the genesis, and fetches and serves without limits.
    pub(crate) fetches: bool,
}

/// Result of fetching a range.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Fetched {
    /// Seconds from the request to the last block.
    pub(crate) seconds: f64,
}

/// Returns the chain of all nodes.
pub(crate) fn chain(genesis_time: u64) -> ChainConfig {
    let genesis = B256::repeat_byte(9);
    let signer = signer().address();
    let chain = ChainConfig::development(901, genesis, genesis_time, 1, Fork::Jovian, signer);
    ChainConfig { block_time: 1, ..chain }
}

/// Runs a node until standard input ends.
pub(crate) async fn run() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut host = None;
    while let Ok(Some(line)) = lines.next_line().await {
        let call: Value = serde_json::from_str(&line).expect("a call");
        let method = call["method"].as_str().unwrap_or_default();
        let mut answer = json!({ "id": call["id"] });
        match carry_out(folder.path(), &mut host, method, &call["params"]).await {
            Ok(result) => answer["result"] = result,
            Err(error) => answer["error"] = error.into(),
        }
        println!("{answer}");
    }
    if let Some(host) = host {
        host.stop().await;
    }
}

async fn carry_out(
    folder: &Path,
    running: &mut Option<Host>,
    method: &str,
    params: &Value,
) -> Result<Value, String> {
    let Some(host) = running.as_ref() else {
        if method != "start" {
            return Err("the node is not started".into());
        }
        let setup: Setup = serde_json::from_value(params.clone()).map_err(|e| e.to_string())?;
        let (host, top) = start(folder, setup).await?;
        tokio::spawn(report(host.events()));
        *running = Some(host);
        return Ok(json!({ "top": top }));
    };
    match method {
        "publish" => publish(host, &params["block"]).await,
        "peers" => {
            let status = host.status().borrow().clone();
            Ok(json!({ "peers": status.peers, "mesh": status.mesh }))
        }
        "fetch" => {
            let hash = serde_json::from_value(params["hash"].clone()).map_err(|e| e.to_string())?;
            let number = params["number"].as_u64().ok_or("a number is missing")?;
            fetch(host, BlockId::new(number, hash)).await
        }
        _ => Err(format!("the node knows no method {method}")),
    }
}

/// Starts a node. Returns its highest block as well.
async fn start(folder: &Path, setup: Setup) -> Result<(Host, Option<Value>), String> {
    let bytes: [u8; 32] = hex::decode_to_array(&setup.key).map_err(|e| e.to_string())?;
    let key = SecretKey::from_bytes(&bytes).map_err(|e| e.to_string())?;
    let chain = chain(setup.genesis_time);
    let mut config = HostConfig::new(chain.clone(), key, folder.join("store"));
    config.listen_ip = setup.ip.into();
    config.listen_tcp = setup.port;
    config.static_peers = setup.dials;
    if setup.publishes {
        let signer = LocalSigner::from_bytes(&SIGNER).map_err(|e| e.to_string())?;
        config.sequencer = Some(signer.into());
    }
    if setup.fetches {
        config.from_genesis = true;
        config.retention.max_bytes = u64::MAX;
        config.retention.max_age = Duration::from_secs(1 << 30);
        let serve = ServerConfig::unlimited();
        config.sync = Some(SyncConfig { serve, ..SyncConfig::default() });
    }
    let mut top = None;
    if let Some((count, bytes)) = setup.has {
        let mut maker = BlockMaker::new(&chain, 9);
        let time = |number| chain.timestamp_of(number).expect("the chain has a time for it");
        let blocks: Vec<Envelope> =
            (1..=count).map(|number| sized(&mut maker, time(number), bytes)).collect();
        fill(&config, &blocks);
        top = blocks.last().map(|block| {
            json!({ "number": block.payload.block_number, "hash": block.payload.block_hash })
        });
    }
    let host = Host::start(config).await.map_err(|error| error.to_string())?;
    Ok((host, top))
}

/// Publishes a block. Returns the time at which this began, in nanoseconds since the Unix epoch.
async fn publish(host: &Host, block: &Value) -> Result<Value, String> {
    let bytes =
        hex::decode(block["ssz"].as_str().unwrap_or_default()).map_err(|e| e.to_string())?;
    let envelope =
        Envelope::decode(PayloadVersion::V4, &bytes).map_err(|error| error.to_string())?;
    let at = unix_nanoseconds();
    let published = host.publish(envelope).await.map_err(|error| error.to_string())?;
    let hash = published.map_err(|error| error.to_string())?;
    Ok(json!({ "at": at, "hash": hash }))
}

/// Fetches the blocks up to this one.
async fn fetch(host: &Host, top: BlockId) -> Result<Value, String> {
    let start = Instant::now();
    let fetching = host.fetch_range(top).await.map_err(|error| error.to_string())?;
    fetching.map_err(|error| error.to_string())?;
    let mut status = host.status();
    let is_there = status
        .wait_for(|status| status.head.is_some_and(|head| head.number >= top.number))
        .await
        .is_ok();
    if !is_there {
        return Err("the node ended".into());
    }
    serde_json::to_value(Fetched { seconds: start.elapsed().as_secs_f64() })
        .map_err(|error| error.to_string())
}

/// Reports each accepted block.
async fn report(mut events: broadcast::Receiver<HostEvent>) {
    loop {
        let HostEvent { at, kind } = match events.recv().await {
            Ok(event) => event,
            Err(broadcast::error::RecvError::Lagged(missed)) => {
                println!("{}", json!({ "event": "missed", "events": missed }));
                continue;
            }
            Err(broadcast::error::RecvError::Closed) => return,
        };
        let HostEventKind::Verdict(verdict) = kind else { continue };
        if let Ok(block) = verdict.result {
            let at = unix_nanoseconds() - at.elapsed().as_nanos() as u64;
            let (number, hash) = (block.number, block.hash);
            println!("{}", json!({ "event": "block", "number": number, "hash": hash, "at": at }));
        }
    }
}

fn unix_nanoseconds() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("the clock is later than 1970").as_nanos() as u64
}
