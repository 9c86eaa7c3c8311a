//! Execution clients for the devnet: one builds the sequencer's blocks, and one executes those of
//! the first follower.
//!
//! Each is a process with its own files in the devnet's directory. They end with [`Engines`].

use super::{CHAIN_ID, Network, unix_seconds};
use crate::engine::{EngineLink, EngineSetup, StartError, TIMEOUT};
use crate::sequencer::SequencerHandle;
use alloy_primitives::{Address, B256, keccak256};
use alloy_rpc_types_engine::JwtSecret;
use opp2p_core::chain::BlockId;
use opp2p_core::engine::DevelopmentL1;
use opp2p_node::host::HostHandle;
use opp2p_node::http::{HttpClient, HttpConfig, HttpError};
use opp2p_node::key::{KeyError, SecretKey};
use serde_json::{Value, json};
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// Time limit for a client to answer after its start.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Time limit of one call at the start.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum length of an answer at the start, in bytes.
const MAX_ANSWER: usize = 1 << 20;
/// Maximum length of a client's own words in an error, in characters.
const MAX_WORDS: usize = 300;
/// The account that has ether from the first block on. Its key is that of the first account of
/// anvil and of hardhat, which everybody knows.
pub const FUNDED: Address = alloy_primitives::address!("f39Fd6e51aad88F6F4ce6aB8827279cffFb92266");

/// An execution client's program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    path: PathBuf,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Geth,
    Reth,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Geth => "op-geth",
            Self::Reth => "op-reth",
        }
    }
}

impl Program {
    /// Returns the first of op-geth and op-reth that is in one of these folders.
    pub fn find(folders: &[PathBuf]) -> Option<Self> {
        [Kind::Geth, Kind::Reth].into_iter().find_map(|kind| {
            let mut paths = folders.iter().map(|folder| folder.join(kind.name()));
            paths.find(|path| path.is_file()).map(|path| Self { path, kind })
        })
    }

    /// Returns its name.
    pub const fn name(&self) -> &'static str {
        self.kind.name()
    }
}

/// Reasons why the execution clients can't be used. Each message is one sentence.
#[derive(Debug, thiserror::Error)]
pub enum EnginesError {
    /// The files of a client can't be written, or its program can't be started.
    #[error("can't set up {name} in {}: {source}", path.display())]
    SetUp {
        /// The program.
        name: &'static str,
        /// The client's folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The client ended, or does not answer.
    #[error("{name} does not start: {reason}")]
    Start {
        /// The program.
        name: &'static str,
        /// The end of its log.
        reason: String,
    },
    /// A secret can't be made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The client's address is invalid.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// A node can't use its client.
    #[error(transparent)]
    Link(#[from] StartError),
}

/// The running clients and the genesis of their chain.
#[derive(Debug)]
pub struct Engines {
    name: &'static str,
    builder: Process,
    follower: Process,
    genesis: (B256, u64),
}

/// The links of nodes to their clients. Dropping them ends the links.
#[derive(Debug)]
pub struct Links {
    builder: EngineLink,
    follower: Option<EngineLink>,
}

impl Links {
    /// Returns the handle that stops the building of blocks.
    pub fn sequencer(&self) -> SequencerHandle {
        self.builder.sequencer()
    }

    /// Ends the links, and abandons calls in progress.
    pub async fn stop(self) {
        if let Some(follower) = self.follower {
            follower.stop().await;
        }
        self.builder.stop().await;
    }
}

impl Engines {
    /// Starts two clients with a new chain, whose files are in folders of this directory. They
    /// answer when this returns.
    ///
    /// # Errors
    /// If a client can't be started.
    pub async fn start(program: &Program, directory: &Path) -> Result<Self, EnginesError> {
        // Some blocks are due at once, which the builder makes up for.
        let time = unix_seconds().saturating_sub(2);
        let genesis = genesis_json(time);
        let start = |name: &str| Process::start(program, directory.join(name), &genesis);
        let (mut builder, mut follower) = (start("engine-sequencer")?, start("engine-follower-1")?);
        let hash = builder.genesis_hash().await?;
        follower.genesis_hash().await?;
        Ok(Self { name: program.name(), builder, follower, genesis: (hash, time) })
    }

    /// Returns the hash and the time of the chain's genesis.
    pub const fn genesis(&self) -> (B256, u64) {
        self.genesis
    }

    /// Returns the clients' name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the URLs of the clients' public JSON-RPC: the builder's and the follower's.
    pub fn urls(&self) -> [String; 2] {
        [self.builder.url(), self.follower.url()]
    }

    /// Lets the sequencer's blocks be built by one client, and sends those of the first follower to
    /// the other.
    ///
    /// # Errors
    /// If a link can't be started.
    pub fn link(&self, network: &Network) -> Result<Links, EnginesError> {
        let (hash, timestamp) = self.genesis;
        // As the `rollup.json` that others join with.
        let origin = BlockId::new(0, keccak256(hash));
        let l1 = DevelopmentL1 { origin, timestamp, batcher: Address::ZERO };
        let link = |host: HostHandle, process: &Process, sequencer| {
            EngineLink::start(host, &process.setup(sequencer)).map(|(link, _)| link)
        };
        let follower = network.follower_handle(0);
        let follower = follower.map(|host| link(host, &self.follower, None)).transpose()?;
        let builder = link(network.sequencer_handle(), &self.builder, Some(l1))?;
        Ok(Links { builder, follower })
    }
}

/// One client. Dropping it ends its process.
#[derive(Debug)]
struct Process {
    name: &'static str,
    directory: PathBuf,
    child: Child,
    http: u16,
    auth: u16,
    secret: JwtSecret,
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    fn start(program: &Program, directory: PathBuf, genesis: &Value) -> Result<Self, EnginesError> {
        let name = program.name();
        let secret = SecretKey::generate()?.to_hex();
        let started = Self::spawn(program, &directory, genesis, &secret);
        let (child, [http, auth]) = started.map_err(|source| EnginesError::SetUp {
            name,
            path: directory.clone(),
            source,
        })?;
        let secret = JwtSecret::from_hex(secret.as_str()).expect("a key has 32 bytes");
        Ok(Self { name, directory, child, http, auth, secret })
    }

    /// Writes the client's files and starts it. Returns its ports for JSON-RPC and for the Engine
    /// API.
    fn spawn(
        program: &Program,
        directory: &Path,
        genesis: &Value,
        secret: &str,
    ) -> io::Result<(Child, [u16; 2])> {
        std::fs::create_dir_all(directory)?;
        std::fs::write(directory.join("genesis.json"), genesis.to_string())?;
        std::fs::write(directory.join("jwt.hex"), secret)?;
        let log = File::create(directory.join("log"))?;
        if program.kind == Kind::Geth {
            let arguments = ["--datadir=data", "init", "--state.scheme=hash", "genesis.json"];
            let status = Command::new(&program.path)
                .args(arguments)
                .current_dir(directory)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log.try_clone()?)
                .status()?;
            if !status.success() {
                return Err(io::Error::other("it refuses the chain's genesis"));
            }
        }
        let [http, auth] = [free_port()?, free_port()?];
        let child = Command::new(&program.path)
            .args(arguments(program.kind))
            .arg(format!("--http.port={http}"))
            .arg(format!("--authrpc.port={auth}"))
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        Ok((child, [http, auth]))
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.http)
    }

    fn setup(&self, sequencer: Option<DevelopmentL1>) -> EngineSetup {
        EngineSetup {
            http: HttpConfig::new(&format!("http://127.0.0.1:{}", self.auth), TIMEOUT),
            jwt: self.secret,
            labels: None,
            sequencer,
            stopped: false,
        }
    }

    /// Waits until the client answers, and returns the hash of its first block.
    async fn genesis_hash(&mut self) -> Result<B256, EnginesError> {
        let client = HttpClient::new(&HttpConfig::new(&self.url(), CALL_TIMEOUT))?;
        let begun = Instant::now();
        loop {
            let asked = client.call("eth_getBlockByNumber", json!(["0x0", false]), MAX_ANSWER);
            let hash = asked.await.ok().and_then(|block| block["hash"].as_str()?.parse().ok());
            if let Some(hash) = hash {
                return Ok(hash);
            }
            let has_ended = self.child.try_wait().is_ok_and(|status| status.is_some());
            if has_ended || begun.elapsed() > START_TIMEOUT {
                return Err(EnginesError::Start { name: self.name, reason: self.last_words() });
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Returns the last line of the client's log.
    fn last_words(&self) -> String {
        let log = std::fs::read(self.directory.join("log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let last = log.lines().rev().find(|line| !line.trim().is_empty());
        let words = last.unwrap_or("it says nothing").chars();
        words.filter(|c| !c.is_control()).take(MAX_WORDS).collect()
    }
}

/// Returns a client's arguments, without its ports.
const fn arguments(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Geth => &[
            "--datadir=data",
            "--state.scheme=hash",
            "--gcmode=archive",
            "--syncmode=full",
            "--nodiscover",
            "--maxpeers=0",
            "--port=0",
            "--ipcdisable",
            "--http",
            "--http.addr=127.0.0.1",
            "--http.api=eth,net,web3",
            "--authrpc.addr=127.0.0.1",
            "--authrpc.jwtsecret=jwt.hex",
            "--rollup.disabletxpoolgossip",
            "--cache=64",
        ],
        Kind::Reth => &[
            "node",
            "--chain=genesis.json",
            "--datadir=data",
            "--disable-discovery",
            "--port=0",
            "--ipcdisable",
            "--http",
            "--http.addr=127.0.0.1",
            "--http.api=eth,net,web3",
            "--authrpc.addr=127.0.0.1",
            "--authrpc.jwtsecret=jwt.hex",
            "--rollup.disable-tx-pool-gossip",
        ],
    }
}

/// Returns a port on loopback that was free a moment ago.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Returns the clients' genesis: all forks up to Jovian, and one account with ether.
fn genesis_json(time: u64) -> Value {
    let mut config = json!({
        "chainId": CHAIN_ID,
        "terminalTotalDifficulty": 0,
        "terminalTotalDifficultyPassed": true,
        "bedrockBlock": 0,
        "optimism": {
            "eip1559Elasticity": 6,
            "eip1559Denominator": 50,
            "eip1559DenominatorCanyon": 250,
        },
    });
    for block in [
        "homestead",
        "eip150",
        "eip155",
        "eip158",
        "byzantium",
        "constantinople",
        "petersburg",
        "istanbul",
        "muirGlacier",
        "berlin",
        "london",
        "arrowGlacier",
        "grayGlacier",
        "mergeNetsplit",
    ] {
        config[format!("{block}Block")] = json!(0);
    }
    for fork in [
        "shanghai", "cancun", "prague", "regolith", "canyon", "ecotone", "fjord", "granite",
        "holocene", "isthmus", "jovian",
    ] {
        config[format!("{fork}Time")] = json!(0);
    }
    json!({
        "config": config,
        "timestamp": format!("{time:#x}"),
        // Denominator 250 and elasticity 6, and a minimum base fee of zero.
        "extraData": "0x01000000fa000000060000000000000000",
        "gasLimit": "0x1c9c380",
        "difficulty": "0x0",
        "baseFeePerGas": "0x3b9aca00",
        "alloc": { FUNDED.to_string(): { "balance": "0xd3c21bcecceda1000000" } },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn op_geth_comes_before_op_reth_and_any_folder_will_do() {
        let directory = tempfile::tempdir().unwrap();
        let folders = ["one", "two"].map(|name| directory.path().join(name));
        for folder in &folders {
            std::fs::create_dir(folder).unwrap();
        }
        assert_eq!(Program::find(&folders), None);
        std::fs::write(folders[0].join("op-reth"), "").unwrap();
        assert_eq!(Program::find(&folders).map(|found| found.name()), Some("op-reth"));
        // A folder of that name is not the program.
        std::fs::create_dir(folders[0].join("op-geth")).unwrap();
        std::fs::write(folders[1].join("op-geth"), "").unwrap();
        let found = Program::find(&folders).unwrap();
        assert_eq!((found.name(), found.path), ("op-geth", folders[1].join("op-geth")));
    }

    #[test]
    fn the_genesis_has_every_fork_and_the_funded_account() {
        let genesis = genesis_json(0x1234);
        assert_eq!(genesis["timestamp"], "0x1234");
        let config = &genesis["config"];
        assert_eq!((&config["jovianTime"], &config["chainId"]), (&json!(0), &json!(901)));
        assert!(genesis["alloc"][FUNDED.to_string()]["balance"].is_string());
    }

    #[tokio::test]
    async fn a_program_that_ends_is_quoted() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("op-geth");
        std::fs::write(&path, "#!/bin/sh\necho 'Fatal: no memory' >&2\n[ \"$2\" = init ]\n")
            .unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let program = Program::find(&[directory.path().to_path_buf()]).unwrap();
        let error = Engines::start(&program, directory.path()).await.unwrap_err();
        assert_eq!(error.to_string(), "op-geth does not start: Fatal: no memory");
    }
}
