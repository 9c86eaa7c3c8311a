//! A chain, its sequencer and the gateways that browsers dial, all in one process on loopback,
//! controlled by a test: one JSON object per line on standard input, one answer per line on
//! standard output. It ends with its input.
//!
//! Commands and their answers:
//!
//! * `{"do":"chain"}`: the chain: `rollup` for `observe()`, `signer`, `chainId`.
//! * `{"do":"gateway","name":"a","tls":{"cert":…,"key":…},"room":…}`: a gateway's `address` and
//!   `peerId`, with room for that many browsers. A known gateway is left as it is, or restarted if
//!   it was killed.
//! * `{"do":"kill","name":"a"}`: ends a gateway without a farewell.
//! * `{"do":"publish","count":30,"every":200}`: the blocks: `number`, `hash`, `bytes`, and `at`,
//!   the time when the sequencer was given each.
//! * `{"do":"roots","state":"0x…","receipts":"0x…"}`: sets the roots of all further blocks, so that
//!   a test knows their state and receipts.
//! * `{"do":"seen","name":"a"}`: the time when the gateway's follower of the chain had each block:
//!   `number`, `hash`, `at`.
//! * `{"do":"liar","name":"x","lie":"forged"}`: the address of a gateway that publishes `forged`,
//!   `stale` or `garbage` messages.
//! * `{"do":"peers","name":"a"}`: the number of the gateway's peers: `nodes`, which include the
//!   sequencer, and `browsers`.
//! * `{"do":"served","name":"a"}`: the number of `blocks` that the gateway has served in ranges.
//! * `{"do":"certificate"}`: `cert` and `key`, files with a self-signed certificate for this
//!   machine.
//!
//! Times are milliseconds since 1970. The answer to a failed command has `error`.

mod gateway;
#[path = "../../kit/gossiper.rs"]
mod gossiper;
mod liar;

use alloy_primitives::{Address, B256, Bloom, b256};
use gateway::Gateway;
use liar::Liar;
use opp2p::devnet::{BlockMaker, unix_seconds};
use opp2p_core::chain::{BlockId, ChainConfig, Fork};
use opp2p_core::payload::Envelope;
use opp2p_core::sequencer::LocalSigner;
use opp2p_node::host::{Host, HostConfig};
use opp2p_node::key::SecretKey;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::error::Error;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncBufReadExt, BufReader};

const CHAIN_ID: u64 = 901;
/// No test takes longer.
const LIFE: Duration = Duration::from_secs(20 * 60);

type Failure = Box<dyn Error + Send + Sync>;

/// A certificate and its key, both PEM files.
#[derive(Clone, Debug, Deserialize)]
struct Tls {
    cert: PathBuf,
    key: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
enum Command {
    Chain,
    Gateway { name: String, tls: Option<Tls>, room: Option<usize> },
    Kill { name: String },
    Publish { count: usize, every: u64 },
    Roots { state: B256, receipts: B256 },
    Seen { name: String },
    Liar { name: String, lie: liar::Lie },
    Peers { name: String },
    Served { name: String },
    Certificate,
}

/// Returns the time in milliseconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64() * 1000.0
}

struct Lab {
    directory: PathBuf,
    chain: ChainConfig,
    signer: SecretKey,
    sequencer: Host,
    maker: BlockMaker,
    /// State root and receipts root of further blocks, if the test has set them.
    roots: Option<(B256, B256)>,
    gateways: BTreeMap<String, Gateway>,
    liars: BTreeMap<String, Liar>,
}

impl Lab {
    async fn start(directory: PathBuf) -> Result<Self, Failure> {
        let signer = SecretKey::generate()?;
        let genesis = b256!("6f707032702d6c61622d67656e657369732d626c6f636b2d68617368212121ff");
        // Long ago: blocks come faster than the chain's clock, and no node serves blocks of the
        // future.
        let time = unix_seconds() - 24 * 60 * 60;
        let chain =
            ChainConfig::development(CHAIN_ID, genesis, time, 1, Fork::Isthmus, signer.address());
        let mut config = HostConfig::new(
            chain.clone(),
            SecretKey::generate()?,
            directory.join("sequencer.redb"),
        );
        config.listen_ip = Ipv4Addr::LOCALHOST.into();
        config.listen_tcp = 0;
        config.from_genesis = true;
        config.sequencer = Some(LocalSigner::from_bytes(signer.secret_bytes())?.into());
        unlimited(&mut config);
        let sequencer = Host::start(config).await?;
        let maker = BlockMaker::new(&chain, 7);
        Ok(Self {
            directory,
            chain,
            signer,
            sequencer,
            maker,
            roots: None,
            gateways: BTreeMap::new(),
            liars: BTreeMap::new(),
        })
    }

    async fn carry_out(&mut self, command: Command) -> Result<Value, Failure> {
        Ok(match command {
            Command::Chain => json!({
                "rollup": rollup(&self.chain),
                "signer": self.signer.address().to_string(),
                "chainId": CHAIN_ID,
            }),
            Command::Gateway { name, tls, room } => {
                let gateway = match self.gateways.remove(&name) {
                    Some(known) => known.up().await?,
                    None => {
                        let sequencer = self.sequencer.address();
                        let directory = self.directory.join(&name);
                        Gateway::start(self.chain.clone(), directory, sequencer, tls, room).await?
                    }
                };
                let answer = json!({
                    "address": gateway.address()?.to_string(),
                    "peerId": gateway.peer_id().to_string(),
                });
                self.gateways.insert(name, gateway);
                answer
            }
            Command::Kill { name } => {
                self.gateway(&name)?.kill().await?;
                json!({})
            }
            Command::Publish { count, every } => {
                json!({ "blocks": self.publish(count, every).await? })
            }
            Command::Roots { state, receipts } => {
                self.roots = Some((state, receipts));
                json!({})
            }
            Command::Seen { name } => json!({ "blocks": self.gateway(&name)?.seen() }),
            Command::Liar { name, lie } => {
                let liar = Liar::start(&self.chain, &self.signer, lie).await?;
                let answer = json!({ "address": liar.address.to_string(),
                    "peerId": liar.peer_id.to_string() });
                self.liars.insert(name, liar);
                answer
            }
            Command::Certificate => {
                let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
                let made = rcgen::generate_simple_self_signed(names)?;
                let [cert, key] = ["cert.pem", "key.pem"].map(|name| self.directory.join(name));
                std::fs::write(&cert, made.cert.pem())?;
                std::fs::write(&key, made.signing_key.serialize_pem())?;
                json!({ "cert": cert, "key": key })
            }
            Command::Peers { name } => self.gateway(&name)?.peers()?,
            Command::Served { name } => self.gateway(&name)?.served()?,
        })
    }

    fn gateway(&mut self, name: &str) -> Result<&mut Gateway, Failure> {
        self.gateways.get_mut(name).ok_or_else(|| format!("there is no gateway {name}").into())
    }

    fn next_block(&mut self) -> Result<Envelope, Failure> {
        let mut envelope = self.maker.next(unix_seconds());
        if let Some((state, receipts)) = self.roots {
            let payload = &mut envelope.payload;
            (payload.state_root, payload.receipts_root) = (state, receipts);
            // The blocks contain no logs.
            payload.logs_bloom = Bloom::ZERO;
            let hash = payload.seal(envelope.parent_beacon_block_root)?;
            let (number, timestamp) = (payload.block_number, payload.timestamp);
            self.maker.resume(BlockId::new(number, hash), timestamp);
        }
        Ok(envelope)
    }

    /// Publishes this many blocks, one every `every` milliseconds.
    async fn publish(&mut self, count: usize, every: u64) -> Result<Vec<Value>, Failure> {
        let mut blocks = Vec::new();
        let mut tick = tokio::time::interval(Duration::from_millis(every.max(1)));
        for _ in 0..count {
            tick.tick().await;
            let envelope = self.next_block()?;
            let (number, hash) = (envelope.payload.block_number, envelope.payload.block_hash);
            let size: usize = envelope.payload.transactions.iter().map(|raw| raw.len()).sum();
            let at = now();
            self.sequencer.publish(envelope).await??;
            blocks.push(
                json!({ "number": number, "hash": hash.to_string(), "bytes": size, "at": at }),
            );
        }
        Ok(blocks)
    }
}

/// Removes the limit on the age of fetched blocks: the genesis is long ago, and the first blocks
/// are new.
fn unlimited(config: &mut HostConfig) {
    if let Some(sync) = &mut config.sync {
        sync.fill.max_age = None;
    }
}

/// Returns the chain as `rollup.json`, with every fork at its genesis.
fn rollup(chain: &ChainConfig) -> Value {
    let genesis = &chain.genesis;
    json!({
        "genesis": {
            "l2": { "hash": genesis.hash.to_string(), "number": genesis.number },
            "l2_time": genesis.time,
            "system_config": { "batcherAddr": Address::ZERO.to_string() },
        },
        "block_time": chain.block_time,
        // A development chain has none, but every rollup.json has one.
        "l1_chain_id": 900,
        "l2_chain_id": chain.chain_id,
        "regolith_time": 0, "canyon_time": 0, "delta_time": 0, "ecotone_time": 0, "fjord_time": 0,
        "granite_time": 0, "holocene_time": 0, "isthmus_time": 0,
    })
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let directory = tempfile::tempdir()?;
    let mut lab = Lab::start(directory.path().to_path_buf()).await?;
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let commands = async {
        while let Some(line) = lines.next_line().await? {
            let answer = match serde_json::from_str::<Command>(&line) {
                Ok(command) => lab.carry_out(command).await.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            println!("{}", answer.unwrap_or_else(|error| json!({ "error": error })));
        }
        Ok::<_, Failure>(())
    };
    tokio::time::timeout(LIFE, commands).await?
}
