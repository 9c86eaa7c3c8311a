//! Execution clients for the devnet: one builds the sequencer's blocks, and one executes those of
//! the first follower.
//!
//! Each is a process with its own files in the devnet's directory. They end with [`Engines`].

use super::{CHAIN_ID, Member, Network, unix_seconds};
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
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// Time limit for a client to answer after its start.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Time limit of one call at the start.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum length of an answer at the start, in bytes.
const MAX_ANSWER: usize = 1 << 20;
/// Time between two looks at a client that starts.
const LOOK: Duration = Duration::from_millis(100);
/// Maximum length of a line of a client's log in an error, in characters.
const MAX_WORDS: usize = 300;
/// Number of lines of its log that tell why a client ended.
const LAST_LINES: usize = 3;
/// The genesis without chain id, time and accounts. The extra data has denominator 250, elasticity
/// 6 and a minimum base fee of zero.
const GENESIS: &str = include_str!("engines/genesis.json");
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
    /// The client ended before it answered.
    #[error("{name} does not start: {reason}")]
    Start {
        /// The program.
        name: &'static str,
        /// The end of its log.
        reason: String,
    },
    /// The client runs, but does not answer.
    #[error("no answer from {name} within {seconds} s: {words}")]
    Silent {
        /// The program.
        name: &'static str,
        /// The time limit.
        seconds: f64,
        /// The end of its log.
        words: String,
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
    /// answer when this returns. Dropping the future ends what it has started.
    ///
    /// # Errors
    /// If a client can't be started.
    pub async fn start(program: &Program, directory: &Path) -> Result<Self, EnginesError> {
        // Some blocks are due at once, which the builder makes up for.
        let time = unix_seconds().saturating_sub(2);
        let genesis = genesis_json(time);
        let start =
            |member, name: &str| Process::start(program, member, directory.join(name), &genesis);
        let mut builder = start(Member::Sequencer, "engine-sequencer").await?;
        let mut follower = start(Member::Follower(0), "engine-follower-1").await?;
        let hash = builder.genesis_hash(START_TIMEOUT).await?;
        follower.genesis_hash(START_TIMEOUT).await?;
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

    /// Returns one sentence about a client that has ended by itself, with the end of its log;
    /// `None` while both run.
    pub fn ended(&mut self) -> Option<String> {
        [&mut self.builder, &mut self.follower].into_iter().find_map(Process::ended)
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
    /// The node that it belongs to.
    member: Member,
    directory: PathBuf,
    running: Running,
    http: u16,
    auth: u16,
    secret: JwtSecret,
}

/// A running program. Dropping it ends the program.
#[derive(Debug)]
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    async fn start(
        program: &Program,
        member: Member,
        directory: PathBuf,
        genesis: &Value,
    ) -> Result<Self, EnginesError> {
        let name = program.name();
        let secret = SecretKey::generate()?.to_hex();
        let started = Self::spawn(program, &directory, genesis, &secret).await;
        let (running, [http, auth]) = started.map_err(|source| EnginesError::SetUp {
            name,
            path: directory.clone(),
            source,
        })?;
        let secret = JwtSecret::from_hex(secret.as_str()).expect("a key has 32 bytes");
        Ok(Self { name, member, directory, running, http, auth, secret })
    }

    /// Writes the client's files and starts it. Returns its ports for JSON-RPC and for the Engine
    /// API.
    async fn spawn(
        program: &Program,
        directory: &Path,
        genesis: &Value,
        secret: &str,
    ) -> io::Result<(Running, [u16; 2])> {
        std::fs::create_dir_all(directory)?;
        std::fs::write(directory.join("genesis.json"), genesis.to_string())?;
        std::fs::write(directory.join("jwt.hex"), secret)?;
        let log = File::create(directory.join("log"))?;
        if program.kind == Kind::Geth {
            let arguments = ["--datadir=data", "init", "--state.scheme=hash", "genesis.json"];
            let init = Command::new(&program.path)
                .args(arguments)
                .current_dir(directory)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log.try_clone()?)
                .spawn()?;
            // Dropping it ends the process if the start is cancelled.
            let mut init = Running(init);
            let status = loop {
                match init.0.try_wait()? {
                    Some(status) => break status,
                    None => sleep(LOOK).await,
                }
            };
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
        Ok((Running(child), [http, auth]))
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

    /// Waits until the client answers, no longer than this, and returns the hash of its first
    /// block.
    async fn genesis_hash(&mut self, patience: Duration) -> Result<B256, EnginesError> {
        let client = HttpClient::new(&HttpConfig::new(&self.url(), CALL_TIMEOUT))?;
        let begun = Instant::now();
        loop {
            let asked = client.call("eth_getBlockByNumber", json!(["0x0", false]), MAX_ANSWER);
            let hash = asked.await.ok().and_then(|block| block["hash"].as_str()?.parse().ok());
            if let Some(hash) = hash {
                return Ok(hash);
            }
            if self.status().is_some() {
                return Err(EnginesError::Start { name: self.name, reason: self.last_words(1) });
            }
            if begun.elapsed() > patience {
                let (seconds, words) = (patience.as_secs_f64(), self.last_words(1));
                return Err(EnginesError::Silent { name: self.name, seconds, words });
            }
            sleep(LOOK).await;
        }
    }

    /// Returns how the client ended; `None` while it runs.
    fn status(&mut self) -> Option<ExitStatus> {
        self.running.0.try_wait().ok().flatten()
    }

    /// Returns one sentence about the client's end; `None` while it runs.
    fn ended(&mut self) -> Option<String> {
        let status = self.status()?;
        let (Self { member, name, .. }, words) = (&*self, self.last_words(LAST_LINES));
        Some(format!("{member}: {name} ended ({status}): {words}"))
    }

    /// Returns the last lines of the client's log, up to this many, on one line.
    fn last_words(&self, lines: usize) -> String {
        let log = std::fs::read(self.directory.join("log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let newest = log.lines().rev().filter(|line| !line.trim().is_empty()).take(lines);
        let shown = |line: &str| -> String {
            line.chars().filter(|c| !c.is_control()).take(MAX_WORDS).collect()
        };
        let mut words: Vec<String> = newest.map(shown).collect();
        if words.is_empty() {
            return "it says nothing".into();
        }
        words.reverse();
        words.join(" | ")
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
    let mut genesis: Value = serde_json::from_str(GENESIS).expect("bundled file");
    genesis["config"]["chainId"] = json!(CHAIN_ID);
    genesis["timestamp"] = json!(format!("{time:#x}"));
    genesis["alloc"] = json!({ FUNDED.to_string(): { "balance": "0xd3c21bcecceda1000000" } });
    genesis
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use tokio::sync::Mutex;

    /// Held by each test that runs a script. A process that starts while the script of another
    /// test is written keeps it open for a moment, and a script that is open can't be run.
    static TURN: Mutex<()> = Mutex::const_new(());

    /// Writes a stand-in for op-geth into this folder.
    fn fake(folder: &Path, script: &str) -> Program {
        let path = folder.join("op-geth");
        std::fs::write(&path, format!("#!/bin/sh\n{script}")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        Program::find(&[folder.to_path_buf()]).unwrap()
    }

    /// Starts a stand-in in this folder, whose first step succeeds.
    async fn started(folder: &Path, script: &str) -> Process {
        let program = fake(folder, &format!("[ \"$2\" = init ] && exit 0\n{script}"));
        let (directory, genesis) = (folder.join("one"), json!({}));
        Process::start(&program, Member::Sequencer, directory, &genesis).await.unwrap()
    }

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
        let _turn = TURN.lock().await;
        let directory = tempfile::tempdir().unwrap();
        let program = fake(directory.path(), "echo 'Fatal: no memory' >&2\n[ \"$2\" = init ]\n");
        let error = Engines::start(&program, directory.path()).await.unwrap_err();
        assert_eq!(error.to_string(), "op-geth does not start: Fatal: no memory");
    }

    #[tokio::test]
    async fn a_program_that_does_not_answer_is_not_said_to_have_ended() {
        let _turn = TURN.lock().await;
        let directory = tempfile::tempdir().unwrap();
        let mut process = started(directory.path(), "exec sleep 30\n").await;
        let error = process.genesis_hash(Duration::from_millis(500)).await.unwrap_err();
        assert_eq!(error.to_string(), "no answer from op-geth within 0.5 s: it says nothing");
        assert_eq!(process.ended(), None);
    }

    #[tokio::test]
    async fn the_end_of_a_program_is_reported_with_its_last_lines() {
        let _turn = TURN.lock().await;
        let directory = tempfile::tempdir().unwrap();
        let script = "for n in 1 2 3 4; do echo \"line $n\"; echo; done >&2\nexit 3\n";
        let mut process = started(directory.path(), script).await;
        let begun = Instant::now();
        let end = loop {
            if let Some(end) = process.ended() {
                break end;
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "it does not end");
            sleep(Duration::from_millis(10)).await;
        };
        assert_eq!(end, "sequencer: op-geth ended (exit status: 3): line 2 | line 3 | line 4");
    }

    #[tokio::test]
    async fn a_start_that_nobody_waits_for_leaves_no_process() {
        let _turn = TURN.lock().await;
        let directory = tempfile::tempdir().unwrap();
        let program = fake(directory.path(), "echo $$ > pid\nexec sleep 30\n");
        let file = directory.path().join("engine-sequencer/pid");
        let written = async {
            loop {
                let pid = std::fs::read_to_string(&file).unwrap_or_default();
                if pid.ends_with('\n') {
                    return pid.trim().to_owned();
                }
                sleep(Duration::from_millis(10)).await;
            }
        };
        let pid = tokio::select! {
            started = Engines::start(&program, directory.path()) => panic!("{started:?}"),
            pid = written => pid,
            () = sleep(Duration::from_secs(30)) => panic!("it does not start"),
        };
        let signal = format!("kill -0 {pid} 2> /dev/null");
        let runs = Command::new("sh").args(["-c", &signal]).status().unwrap().success();
        assert!(!runs, "{pid}");
    }
}
