//! The attacked node: the command `opp2p node` in a process of its own, so that its cost is
//! separate from that of its attackers.

use opp2p_core::chain::ChainConfig;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::honest::PATIENCE;
use libp2p::Multiaddr;

/// Resources that a process uses, as reported by the operating system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Resident memory, in kB.
    pub(crate) memory: u64,
    pub(crate) threads: u64,
    /// Open file descriptors.
    pub(crate) descriptors: u64,
}

impl Usage {
    /// Returns the maximum of each resource.
    pub(crate) fn most(self, other: Self) -> Self {
        Self {
            memory: self.memory.max(other.memory),
            threads: self.threads.max(other.threads),
            descriptors: self.descriptors.max(other.descriptors),
        }
    }
}

/// A running node. Dropping it kills the process.
#[derive(Debug)]
pub(crate) struct Victim {
    process: Child,
    log: Arc<Mutex<Vec<String>>>,
    /// Address for nodes, over TCP.
    pub(crate) tcp: Multiaddr,
    /// Address for browsers, over WebSocket.
    pub(crate) ws: Multiaddr,
    pub(crate) rpc: SocketAddr,
    pub(crate) metrics: SocketAddr,
    /// Directory of the node's files, kept until the node ends.
    _directory: TempDir,
}

impl Victim {
    /// Starts a node of the chain that keeps itself connected to `sequencer`, and waits until all
    /// of its listeners are open.
    pub(crate) async fn start(chain: &ChainConfig, sequencer: &Multiaddr) -> Self {
        let directory = tempfile::Builder::new().prefix("opp2p-attack-").tempdir().unwrap();
        let rollup = directory.path().join("rollup.json");
        fs::write(&rollup, chain.to_rollup_json()).unwrap();
        let signer = crate::honest::signer().address().to_string();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg("node").current_dir(directory.path()).env_clear();
        for (flag, value) in [
            ("--rollup.config", "rollup.json"),
            ("--p2p.listen.ip", "127.0.0.1"),
            ("--p2p.listen.tcp", "0"),
            ("--p2p.listen.ws", "0"),
            ("--p2p.priv.path", "p2p.key"),
            ("--data-dir", "data"),
            ("--signer", &signer),
            ("--p2p.static", &sequencer.to_string()),
            ("--rpc.port", "0"),
            ("--metrics.port", "0"),
        ] {
            command.args([flag, value]);
        }
        command.args(["--p2p.no-discovery", "--metrics.enabled"]);
        let mut process = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (lines, said) = (process.stderr.take().unwrap(), Arc::clone(&log));
        // The thread ends with the process.
        std::thread::spawn(move || {
            for line in BufReader::new(lines).lines().map_while(Result::ok) {
                said.lock().unwrap().push(line);
            }
        });
        let mut found = Vec::new();
        for (line, field) in [
            (" started ", "address"),
            ("browsers can connect", "address"),
            ("RPC server listening", "address"),
            ("serving metrics", "url"),
        ] {
            found.push(said_in(&log, line, field).await);
        }
        let metrics =
            found[3].strip_prefix("http://").and_then(|url| url.strip_suffix("/metrics")).unwrap();
        Self {
            tcp: found[0].parse().unwrap(),
            ws: found[1].parse().unwrap(),
            rpc: found[2].parse().unwrap(),
            metrics: metrics.parse().unwrap(),
            process,
            log,
            _directory: directory,
        }
    }

    /// Returns host and port of a listener.
    pub(crate) fn socket(address: &Multiaddr) -> SocketAddr {
        use libp2p::multiaddr::Protocol::{Ip4, Tcp};
        let parts: Vec<_> = address.iter().collect();
        let [Ip4(ip), Tcp(port), ..] = parts[..] else { panic!("{address} is not by TCP") };
        (ip, port).into()
    }

    /// Returns the node's current usage. The node must be running.
    pub(crate) fn usage(&self) -> Usage {
        let process = format!("/proc/{}", self.process.id());
        let status = fs::read_to_string(format!("{process}/status")).expect("the node runs");
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()?.parse().ok())
                .expect("the node runs")
        };
        let descriptors =
            fs::read_dir(format!("{process}/fd")).expect("the node runs").count() as u64;
        Usage { memory: number("VmRSS:"), threads: number("Threads:"), descriptors }
    }

    /// Returns the processor time that the node has used.
    pub(crate) fn processor(&self) -> Duration {
        let stat =
            fs::read_to_string(format!("/proc/{}/stat", self.process.id())).expect("the node runs");
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let ticks: u64 = fields
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|ticks| ticks.parse::<u64>().unwrap())
            .sum();
        // Linux reports hundredths of a second to every program.
        Duration::from_millis(ticks * 10)
    }

    /// Returns the lines that the node has logged.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// Returns the result of an RPC call.
    pub(crate) async fn call(&self, method: &str, params: Value) -> Value {
        let body =
            json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
        let request = format!(
            "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: \
             application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        // While the RPC is under attack, all slots may be in use.
        let started = Instant::now();
        loop {
            let answer = exchange(self.rpc, request.as_bytes()).await;
            if let Some(answer) = answer.split_once("\r\n\r\n").map(|(_, body)| body)
                && let Ok(mut answer) = serde_json::from_str::<Value>(answer)
                && answer.get("result").is_some()
            {
                return answer["result"].take();
            }
            assert!(started.elapsed() < PATIENCE, "{method} is not answered: {answer}");
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Returns the ids of banned peers.
    pub(crate) async fn banned(&self) -> Vec<String> {
        let bans = self.call("opp2p_bans", json!([])).await;
        let peers = bans["peers"].as_array().unwrap();
        peers.iter().map(|ban| ban["peerID"].as_str().unwrap().to_owned()).collect()
    }

    /// Returns the ids of connected peers.
    pub(crate) async fn connected(&self) -> Vec<String> {
        let peers = self.call("opp2p_peers", json!([true])).await;
        peers["peers"].as_object().unwrap().keys().cloned().collect()
    }

    /// Returns the number of entries in the node's score book.
    pub(crate) async fn remembered(&self) -> usize {
        let book = self.call("opp2p_scoreBook", json!([])).await;
        book.as_object().map_or_else(|| book.as_array().map_or(0, Vec::len), serde_json::Map::len)
    }

    /// Returns the status and the body of a GET request.
    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let answer = exchange(self.rpc, request.as_bytes()).await;
        let status =
            answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
        (status, answer)
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // The node may have ended, which the test has already noticed.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            let log = self.log();
            eprintln!("The node's last lines:");
            log[log.len().saturating_sub(40)..].iter().for_each(|line| eprintln!("  {line}"));
        }
    }
}

/// Waits for a line that contains `words`, and returns the value of `field` in it.
async fn said_in(log: &Mutex<Vec<String>>, words: &str, field: &str) -> String {
    let started = Instant::now();
    loop {
        let lines = log.lock().unwrap().clone();
        let line = lines.iter().find(|line| line.contains(words));
        if let Some((_, value)) = line.and_then(|line| line.split_once(&format!("{field}="))) {
            return value.split(' ').next().unwrap().trim_matches('"').to_owned();
        }
        assert!(started.elapsed() < PATIENCE, "the node does not say {words:?}: {lines:#?}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Sends a request and reads until the other side closes. After a failure, the result is what was
/// received so far.
pub(crate) async fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let mut answer = Vec::new();
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(request).await?;
        stream.read_to_end(&mut answer).await
    };
    // A failure or a timeout shows in the result.
    let _ = timeout(Duration::from_secs(5), exchange).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// Pseudo-random bytes that are the same in every run (SplitMix64).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> =
            (0..count.div_ceil(8)).flat_map(|_| self.number().to_le_bytes()).collect();
        bytes.truncate(count);
        bytes
    }
}
