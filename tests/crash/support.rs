//! A sequencer and observers in this process, and victims in processes of their own.

pub(crate) use crate::kit::{PATIENCE, until};

use crate::kit;
use alloy_primitives::{B256, Bytes, hex};
use opp2p::devnet::{BlockMaker, unix_seconds};
use opp2p_core::chain::{BlockId, ChainConfig, Fork};
use opp2p_core::node::SyncConfig;
use opp2p_core::payload::Envelope;
use opp2p_core::sequencer::LocalSigner;
use opp2p_core::sync::ServerConfig;
use opp2p_node::host::{Host, HostConfig};
use opp2p_store::{Store, StoreConfig};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The sequencer's key.
const SIGNER: [u8; 32] = *b"the sequencer's key of the tests";

/// Returns the key in the form of a key file.
pub(crate) fn signer_hex() -> String {
    hex::encode(SIGNER)
}

pub(crate) fn signer() -> LocalSigner {
    LocalSigner::from_bytes(&SIGNER).unwrap()
}

pub(crate) fn chain() -> ChainConfig {
    // Young enough that missing blocks are requested. Old enough for more blocks than the chain's
    // block time allows by now: these tests make many blocks a second, and no node serves a block
    // that can't exist yet.
    let genesis = unix_seconds() - 6 * 60 * 60;
    let hash = B256::repeat_byte(0x11);
    let chain = ChainConfig::development(901, hash, genesis, 2, Fork::Jovian, signer().address());
    ChainConfig { l1_chain_id: 900, ..chain }
}

/// Numbers derived from a seed. The seed is printed so that a run can be reproduced.
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % limit
    }
}

/// Returns the configuration of a node in this process, without limits on serving.
pub(crate) fn config(directory: &Path, name: &str, chain: &ChainConfig) -> HostConfig {
    let mut config = kit::config(directory, chain);
    config.store = directory.join(name);
    config.sync = Some(SyncConfig { serve: ServerConfig::unlimited(), ..SyncConfig::default() });
    config
}

/// A sequencer, and the chain that it makes.
#[derive(Debug)]
pub(crate) struct Sequencer {
    pub(crate) host: Host,
    pub(crate) chain: ChainConfig,
    maker: BlockMaker,
    /// The hash of each block, from the first one on.
    pub(crate) hashes: Vec<B256>,
    /// The timestamp of each block.
    times: Vec<u64>,
    pub(crate) directory: TempDir,
}

impl Sequencer {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut HostConfig)) -> Self {
        let directory = tempfile::Builder::new().prefix("opp2p-crash-").tempdir().unwrap();
        let chain = chain();
        let mut config = config(directory.path(), "sequencer", &chain);
        config.sequencer = Some(signer().into());
        config.from_genesis = true;
        change(&mut config);
        let host = Host::start(config).await.unwrap();
        Self {
            host,
            maker: BlockMaker::new(&chain, 1),
            chain,
            hashes: Vec::new(),
            times: Vec::new(),
            directory,
        }
    }

    /// Starts a node that gets its blocks from these peers.
    pub(crate) async fn observer(&self, name: &str, peers: &[String]) -> Host {
        let mut config = config(self.directory.path(), name, &self.chain);
        config.static_peers = peers.iter().map(|peer| peer.parse().unwrap()).collect();
        Host::start(config).await.unwrap()
    }

    /// Makes the next block, of mainnet's typical size plus `bytes`.
    pub(crate) fn make(&mut self, bytes: usize) -> Envelope {
        let mut envelope = self.maker.next(unix_seconds());
        if bytes > 0 {
            // Varied bytes, which compression can reduce, but not by much.
            let filling = (0..bytes as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8);
            envelope.payload.transactions.push(Bytes::from_iter(filling));
            envelope.payload.seal(envelope.parent_beacon_block_root).unwrap();
        }
        let payload = &envelope.payload;
        self.maker
            .resume(BlockId::new(payload.block_number, payload.block_hash), payload.timestamp);
        self.hashes.push(payload.block_hash);
        self.times.push(payload.timestamp);
        envelope
    }

    /// Reverts the last blocks: the next ones are on another branch, if they differ. The network
    /// learns of the branch once it is the longer one.
    pub(crate) fn fork(&mut self, depth: usize) {
        let left = self.hashes.len() - depth;
        self.hashes.truncate(left);
        self.times.truncate(left);
        let ancestor = BlockId::new(left as u64, self.hashes[left - 1]);
        self.maker.resume(ancestor, self.times[left - 1]);
    }

    /// Makes a block, and waits until it is published.
    pub(crate) async fn publish(&mut self, bytes: usize) -> BlockId {
        let envelope = self.make(bytes);
        let id = BlockId::new(envelope.payload.block_number, envelope.payload.block_hash);
        let published = timeout(PATIENCE, self.host.publish(envelope)).await.expect("in time");
        published.expect("it runs").expect("it goes out");
        id
    }

    /// Publishes until the node has the newest block: a node without a head starts with the first
    /// block that it receives once it is connected.
    pub(crate) async fn reach(&mut self, host: &Host) {
        let begun = Instant::now();
        loop {
            let number = self.publish(0).await.number;
            let mut status = host.status();
            let has_it =
                status.wait_for(|status| status.head.is_some_and(|head| head.number >= number));
            if timeout(Duration::from_secs(2), has_it).await.is_ok() {
                return;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "nothing reaches the node: {:?}",
                host.status().borrow()
            );
        }
    }

    pub(crate) fn head(&self) -> u64 {
        self.hashes.len() as u64
    }
}

/// Waits until the node has delivered the block of this number or a higher one.
pub(crate) async fn until_head(host: &Host, number: u64) {
    until(host, |status| status.head.is_some_and(|head| head.number >= number)).await;
}

/// Waits for a condition that no event reports.
pub(crate) async fn until_true(what: &str, wanted: impl AsyncFnMut() -> bool) {
    kit::until_true(what, PATIENCE, wanted).await;
}

/// Lines that a process has logged so far.
#[derive(Debug, Default)]
struct Said {
    lines: Mutex<Vec<String>>,
    /// Whether the process will log no more.
    ended: AtomicBool,
    more: Condvar,
}

/// `opp2p node` in a process of its own, which ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Victim {
    process: Child,
    said: Arc<Said>,
    reading: Option<std::thread::JoinHandle<()>>,
    pub(crate) begun: Instant,
    pub(crate) data: PathBuf,
}

/// Directory and command line of a node.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) directory: PathBuf,
    pub(crate) arguments: Vec<String>,
    /// Shell words before the program, which set limits.
    pub(crate) limits: String,
    pub(crate) environment: Vec<(&'static str, String)>,
    /// File to which standard output is appended. Discarded by default.
    pub(crate) stdout: Option<PathBuf>,
}

impl Place {
    /// Prepares a node of the sequencer's chain that connects to these peers.
    pub(crate) fn new(sequencer: &Sequencer, name: &str, peers: &[String]) -> Self {
        let directory = sequencer.directory.path().join(name);
        std::fs::create_dir_all(&directory).unwrap();
        let rollup = directory.join("rollup.json");
        std::fs::write(&rollup, sequencer.chain.to_rollup_json()).unwrap();
        let path = |name: &str| directory.join(name).display().to_string();
        let fixed = [
            ("rollup.config", rollup.display().to_string()),
            ("p2p.listen.ip", "127.0.0.1".to_owned()),
            ("p2p.listen.tcp", "0".to_owned()),
            ("p2p.priv.path", path("p2p.key")),
            ("data-dir", path("data")),
            ("signer", signer().address().to_string()),
            ("rpc.port", "0".to_owned()),
            ("metrics.port", "0".to_owned()),
            ("metrics.addr", "127.0.0.1".to_owned()),
            ("p2p.static", peers.join(",")),
            ("log.level", "debug".to_owned()),
            ("log.color", "false".to_owned()),
        ];
        let mut arguments: Vec<String> = fixed
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| format!("--{name}={value}"))
            .collect();
        arguments.extend(["--p2p.no-discovery".to_owned(), "--metrics.enabled".to_owned()]);
        Self { directory, arguments, limits: String::new(), environment: Vec::new(), stdout: None }
    }

    pub(crate) fn start(&self) -> Victim {
        let program = std::env::current_exe().unwrap();
        let mut command = if self.limits.is_empty() {
            Command::new(program)
        } else {
            let mut shell = Command::new("sh");
            shell.args(["-c", &format!("{} && exec \"$0\" \"$@\"", self.limits)]).arg(program);
            shell
        };
        command.arg("node").args(&self.arguments).current_dir(&self.directory);
        for (name, _) in std::env::vars_os() {
            let is_setting = |name: &str| name.starts_with("OP_NODE") || name.starts_with("OPP2P");
            if name.to_str().is_some_and(is_setting) {
                command.env_remove(name);
            }
        }
        command
            .env("RUST_BACKTRACE", "0")
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        let begun = Instant::now();
        let open =
            |path: &PathBuf| std::fs::File::options().create(true).append(true).open(path).unwrap();
        let stdout = self.stdout.as_ref().map(open).map_or_else(Stdio::null, Stdio::from);
        let mut process =
            command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(process.stderr.take().unwrap());
        let said = Arc::new(Said::default());
        let heard = Arc::clone(&said);
        let reading = std::thread::spawn(move || {
            for line in stderr.split(b'\n').map_while(Result::ok) {
                heard.lines.lock().unwrap().push(String::from_utf8_lossy(&line).into_owned());
                heard.more.notify_all();
            }
            heard.ended.store(true, Ordering::SeqCst);
            heard.more.notify_all();
        });
        Victim { process, said, reading: Some(reading), begun, data: self.directory.join("data") }
    }
}

impl Victim {
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Returns all lines logged so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.said.lines.lock().unwrap().clone()
    }

    /// Waits for the first line that contains all of these parts.
    #[track_caller]
    pub(crate) fn wait_for(&self, parts: &[&str]) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = self.said.lines.lock().unwrap();
        loop {
            if let Some(line) =
                lines.iter().find(|line| parts.iter().all(|part| line.contains(part)))
            {
                return line.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let has_ended = self.said.ended.load(Ordering::SeqCst);
            assert!(!left.is_zero() && !has_ended, "{parts:?} is not said: {lines:#?}");
            let wait = left.min(Duration::from_millis(200));
            lines = self.said.more.wait_timeout(lines, wait).unwrap().0;
        }
    }

    /// Waits until the node runs. Returns its address and its head at that moment.
    #[track_caller]
    pub(crate) fn started(&self) -> (String, Option<u64>) {
        let line = self.wait_for(&[" started "]);
        (field(&line, "address"), field(&line, "head").parse().ok())
    }

    /// Returns the time that the opening of the store took, as logged.
    #[track_caller]
    pub(crate) fn opening_took(&self) -> Duration {
        Duration::from_millis(field(&self.wait_for(&[" started "]), "store_ms").parse().unwrap())
    }

    /// Returns the address of the node's RPC.
    #[track_caller]
    pub(crate) fn rpc(&self) -> SocketAddr {
        field(&self.wait_for(&["RPC server listening"]), "address").parse().unwrap()
    }

    #[track_caller]
    pub(crate) fn metrics(&self) -> SocketAddr {
        let url = field(&self.wait_for(&["serving metrics"]), "url");
        url.trim_matches('"')
            .trim_start_matches("http://")
            .trim_end_matches("/metrics")
            .parse()
            .unwrap()
    }

    /// Returns the value of one of the node's metrics, by its full name.
    pub(crate) async fn metric(&self, name: &str) -> Option<f64> {
        let text = get(self.metrics(), "/metrics").await.1;
        let line = text
            .lines()
            .find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    /// Returns the result of a call.
    pub(crate) async fn call(&self, method: &str) -> Value {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":[]}}"#);
        let head = format!(
            "POST / HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {}",
            body.len()
        );
        let text = ask(self.rpc(), &head, &body).await.1;
        let answer = serde_json::from_str::<Value>(&text);
        answer.unwrap_or_else(|error| panic!("{error}: {text}"))["result"].take()
    }

    /// Returns the numbers of the blocks that the node reported as stored on the disk.
    pub(crate) fn stored(&self) -> Vec<u64> {
        let lines = self.said.lines.lock().unwrap();
        let stored = lines.iter().filter(|line| line.contains(" stored "));
        // The last line may be cut off by the kill.
        stored.filter_map(|line| line.split_once(" number=")?.1.trim().parse().ok()).collect()
    }

    /// Kills the process, and waits until its whole log has been read.
    pub(crate) fn kill(&mut self) {
        assert_eq!(
            self.process.try_wait().unwrap(),
            None,
            "it ended by itself: {:#?}",
            self.lines()
        );
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        if let Some(reading) = self.reading.take() {
            reading.join().unwrap();
        }
    }

    /// Asks the process to end, which it must do without an error. Returns its log lines.
    #[track_caller]
    pub(crate) fn end(mut self) -> Vec<String> {
        let kill = format!("kill -TERM {}", self.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        let deadline = Instant::now() + PATIENCE;
        while self.process.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "it does not end: {:#?}", self.lines());
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(self.process.wait().unwrap().success(), "{:#?}", self.lines());
        if let Some(reading) = self.reading.take() {
            reading.join().unwrap();
        }
        self.lines()
    }

    /// Returns the path of the node's store.
    pub(crate) fn file(&self) -> PathBuf {
        self.data.join("901").join("blocks.redb")
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Returns the value of a field of a log line.
#[track_caller]
fn field(line: &str, name: &str) -> String {
    let (_, value) =
        line.split_once(&format!(" {name}=")).unwrap_or_else(|| panic!("no {name}: {line}"));
    value.split(' ').next().unwrap().to_owned()
}

/// Opens a store as the nodes of this chain do.
pub(crate) fn open(path: &Path, chain: &ChainConfig) -> Store {
    Store::open(StoreConfig {
        path: path.to_path_buf(),
        chain_id: chain.chain_id,
        genesis_hash: chain.genesis.hash,
        max_blocks: 1_000_000,
        max_bytes: u64::MAX,
        max_age: Duration::from_secs(1 << 30),
    })
    .unwrap()
}

/// Returns the status and the body of a GET request.
pub(crate) async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    ask(address, &format!("GET {path} HTTP/1.1"), "").await
}

async fn ask(address: SocketAddr, head: &str, body: &str) -> (u16, String) {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let text = format!("{head}\r\nConnection: close\r\nHost: localhost\r\n\r\n{body}");
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    };
    let text = timeout(PATIENCE, exchange).await.expect("an answer in time");
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    (
        head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default(),
        body.to_owned(),
    )
}
