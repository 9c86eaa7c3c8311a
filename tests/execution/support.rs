//! Processes, our nodes as a user starts them, and signed transfers.

use crate::geth::{FUNDED_KEY, Genesis, Geth};
use alloy_consensus::{SignableTransaction, TxEip1559};
use alloy_eips::Encodable2718;
use alloy_primitives::{Address, Signature, TxKind, U256, hex};
use opp2p_core::sequencer::LocalSigner;
use opp2p_node::http::{HttpClient, HttpConfig};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// Maximum wait for anything that should happen soon.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// The sequencer's key.
const SEQUENCER: [u8; 32] = *b"the sequencer's key of the tests";

pub(crate) fn sequencer() -> LocalSigner {
    LocalSigner::from_bytes(&SEQUENCER).unwrap()
}

/// Returns a port that was free a moment ago, outside the range that the system uses for outgoing
/// connections: an engine that is down for a while must be able to bind its port again.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const FIRST: u16 = 12_000;
    const PORTS: u16 = 18_000;
    let start = std::process::id() as u16;
    loop {
        let port = FIRST + start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % PORTS;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

pub(crate) fn unix_seconds() -> u64 {
    std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

/// A process and the lines of its standard error. Dropping it ends the process.
#[derive(Debug)]
pub(crate) struct Running {
    name: String,
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
}

impl Running {
    pub(crate) fn start(name: &str, command: &mut Command) -> Self {
        for (variable, _) in std::env::vars_os() {
            let is_setting = |name: &str| name.starts_with("OP_NODE") || name.starts_with("OPP2P_");
            if variable.to_str().is_some_and(is_setting) {
                command.env_remove(variable);
            }
        }
        let spawned =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.unwrap_or_else(|error| panic!("{name} can't be started: {error}"));
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let said = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&said);
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                heard.lock().unwrap().push(line);
            }
        });
        Self { name: name.to_owned(), child, said }
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }

    /// Waits for the first line that contains all of these parts.
    pub(crate) async fn says(&mut self, parts: &[&str]) -> String {
        let begun = Instant::now();
        loop {
            let found =
                self.lines().into_iter().find(|line| parts.iter().all(|part| line.contains(part)));
            if let Some(line) = found {
                return line;
            }
            let is_over = begun.elapsed() > PATIENCE || self.child.try_wait().unwrap().is_some();
            assert!(!is_over, "{} does not say {parts:?}: {:#?}", self.name, self.lines());
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until the process ends, which must be with a failure. Returns its lines.
    pub(crate) async fn fails(mut self) -> Vec<String> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert!(!status.success(), "{} ended well: {:#?}", self.name, self.lines());
                // The last lines may not have been read yet.
                sleep(Duration::from_millis(100)).await;
                return self.lines();
            }
            assert!(begun.elapsed() < PATIENCE, "{} goes on: {:#?}", self.name, self.lines());
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Ends the process as an operator does, and waits until it has ended.
    pub(crate) fn end(mut self) {
        let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let begun = Instant::now();
        while self.child.try_wait().unwrap().is_none() && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Kills the process with `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let lines = self.lines();
            println!(
                "--- {} said last:\n{}",
                self.name,
                lines[lines.len().saturating_sub(25)..].join("\n")
            );
        }
    }
}

/// Returns the chain's configuration for nodes: a block per second, with all forks from the first
/// block on.
pub(crate) fn rollup(genesis: &Genesis, hash: &str) -> Value {
    let mut rollup = json!({
        "genesis": {
            "l1": {"hash": format!("0x{}", "71".repeat(32)), "number": 7},
            "l2": {"hash": hash, "number": 0},
            "l2_time": genesis.time,
            "system_config": {
                "batcherAddr": "0x00000000000000000000000000000000000000b1",
                "overhead": format!("0x{}", "00".repeat(32)),
                "scalar": format!("0x{}", "00".repeat(32)),
                "gasLimit": 30_000_000,
            },
        },
        "block_time": 1,
        "l1_chain_id": 900,
        "l2_chain_id": genesis.chain_id,
    });
    for fork in [
        "regolith", "canyon", "delta", "ecotone", "fjord", "granite", "holocene", "isthmus",
        "jovian",
    ] {
        rollup[format!("{fork}_time")] = json!(0);
    }
    rollup
}

/// One of our nodes: its files and its command line.
#[derive(Debug)]
pub(crate) struct Node {
    name: String,
    directory: PathBuf,
    arguments: Vec<String>,
    pub(crate) process: Option<Running>,
}

impl Node {
    pub(crate) fn new(directory: &Path, name: &str, rollup: &Value, more: &[&str]) -> Self {
        let directory = directory.join(name);
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("rollup.json"), rollup.to_string()).unwrap();
        let fixed = [
            "node",
            "--rollup.config=rollup.json",
            "--p2p.listen.ip=127.0.0.1",
            "--p2p.listen.tcp=0",
            "--p2p.no-discovery",
            "--p2p.priv.path=key",
            "--data-dir=data",
            "--rpc.port=0",
            "--rpc.enable-admin",
            "--log.level=debug",
            "--log.color=false",
        ];
        let mut arguments: Vec<String> =
            fixed.iter().chain(more).map(|&text| text.to_owned()).collect();
        arguments.push(format!("--signer={}", sequencer().address()));
        Self { name: name.to_owned(), directory, arguments, process: None }
    }

    /// Connects the node to this engine.
    pub(crate) fn with_engine(mut self, geth: &Geth) -> Self {
        self.arguments.push(format!("--l2={}", geth.engine()));
        self.arguments.push(format!("--l2.jwt-secret={}", geth.secret()));
        self
    }

    /// Connects the node to this engine over a WebSocket.
    pub(crate) fn with_engine_over_ws(mut self, geth: &Geth) -> Self {
        self.arguments.push(format!("--l2={}", geth.engine().replacen("http://", "ws://", 1)));
        self.arguments.push(format!("--l2.jwt-secret={}", geth.secret()));
        self
    }

    /// Makes the node the sequencer.
    pub(crate) fn sequencing(mut self) -> Self {
        std::fs::write(self.directory.join("sequencer"), hex::encode(SEQUENCER)).unwrap();
        self.arguments.push("--p2p.sequencer.key.path=sequencer".to_owned());
        self
    }

    pub(crate) fn start(&mut self) {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(&self.arguments).current_dir(&self.directory).env("RUST_BACKTRACE", "0");
        self.process = Some(Running::start(&self.name, &mut command));
    }

    pub(crate) fn process(&mut self) -> &mut Running {
        self.process.as_mut().unwrap()
    }

    /// Returns the address that other nodes dial.
    pub(crate) async fn address(&mut self) -> String {
        field(&self.process().says(&[" started "]).await, "address")
    }

    /// Returns the result of a call, or its error.
    pub(crate) async fn call(&mut self, method: &str, params: Value) -> Result<Value, String> {
        let address = field(&self.process().says(&["RPC server listening"]).await, "address");
        let url = format!("http://{address}");
        let client = HttpClient::new(&HttpConfig::new(&url, Duration::from_secs(30))).unwrap();
        client.call(method, params, 64 << 20).await.map_err(|error| error.to_string())
    }

    /// Returns the node's status.
    pub(crate) async fn status(&mut self) -> Value {
        self.call("opp2p_nodeStatus", json!([])).await.unwrap()
    }

    /// Returns the output of `opp2p status` for the node.
    pub(crate) async fn shown(&mut self) -> String {
        let address = field(&self.process().says(&["RPC server listening"]).await, "address");
        let mut command = Command::new(std::env::current_exe().unwrap());
        let shown =
            command.args(["status", "--rpc", &format!("http://{address}")]).output().unwrap();
        String::from_utf8_lossy(&shown.stdout).into_owned()
    }

    /// Waits until the node's status meets a condition.
    pub(crate) async fn until(&mut self, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let status = self.status().await;
            if is_so(&status) {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "{}: not in time: {what}: {status:#}", self.name);
            sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Returns the value of a field of a log line.
fn field(line: &str, name: &str) -> String {
    let (_, value) =
        line.split_once(&format!(" {name}=")).unwrap_or_else(|| panic!("no {name}: {line}"));
    value.split(' ').next().unwrap().to_owned()
}

/// Returns the signer of the funded account.
pub(crate) fn rich() -> LocalSigner {
    LocalSigner::from_bytes(&FUNDED_KEY).unwrap()
}

/// Returns a signed transfer in its encoding.
pub(crate) fn transfer(chain_id: u64, nonce: u64, to: Address, wei: u64) -> String {
    let transaction = TxEip1559 {
        chain_id,
        nonce,
        gas_limit: 21_000,
        max_fee_per_gas: 10_000_000_000,
        max_priority_fee_per_gas: 1,
        to: TxKind::Call(to),
        value: U256::from(wei),
        ..TxEip1559::default()
    };
    let signature = rich().sign(&transaction.signature_hash());
    let signature = Signature::from_raw(&signature).unwrap();
    hex::encode_prefixed(transaction.into_signed(signature).encoded_2718())
}
