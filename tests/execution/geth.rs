//! Instances of op-geth, each in a process of its own.

use crate::support::{PATIENCE, Running, free_port};
use alloy_primitives::{B256, hex};
use opp2p_node::http::{HttpClient, HttpConfig};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// Key of the only funded account of the test chain.
pub(crate) const FUNDED_KEY: [u8; 32] = *b"who has all the money there is..";

/// The genesis of the devnet's engines, without chain id, time and accounts.
const DEVNET: &str = include_str!("../../native/src/devnet/engines/genesis.json");

/// The chain that engines and nodes are configured with.
#[derive(Clone, Debug)]
pub(crate) struct Genesis {
    pub(crate) chain_id: u64,
    pub(crate) time: u64,
    /// Time at which Isthmus and Jovian activate for the engine; `None` for the first block.
    pub(crate) isthmus: Option<u64>,
    pub(crate) rich: alloy_primitives::Address,
}

impl Genesis {
    fn to_json(&self) -> Value {
        let mut genesis: Value = serde_json::from_str(DEVNET).unwrap();
        let config = &mut genesis["config"];
        config["chainId"] = json!(self.chain_id);
        for fork in ["prague", "isthmus", "jovian"] {
            config[format!("{fork}Time")] = json!(self.isthmus.unwrap_or_default());
        }
        if self.isthmus.is_some() {
            // Before Jovian it has no minimum base fee.
            genesis["extraData"] = json!("0x00000000fa00000006");
        }
        genesis["timestamp"] = json!(format!("{:#x}", self.time));
        genesis["alloc"] =
            json!({ self.rich.to_string(): { "balance": "0xd3c21bcecceda1000000" } });
        genesis
    }
}

/// One engine, its files, and its command line.
#[derive(Debug)]
pub(crate) struct Geth {
    name: String,
    directory: PathBuf,
    http: u16,
    auth: u16,
    process: Option<Running>,
    client: HttpClient,
}

impl Geth {
    /// Sets up an engine and starts it.
    pub(crate) async fn start(directory: &Path, name: &str, genesis: &Genesis) -> Self {
        let directory = directory.join(name);
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("genesis.json"), genesis.to_json().to_string()).unwrap();
        let secret: B256 = alloy_primitives::keccak256(name);
        std::fs::write(directory.join("jwt.hex"), hex::encode(secret)).unwrap();
        let [http, auth] = [free_port(), free_port()];
        let url = format!("http://127.0.0.1:{http}");
        let client = HttpClient::new(&HttpConfig::new(&url, Duration::from_secs(10))).unwrap();
        let mut geth = Self { name: name.to_owned(), directory, http, auth, process: None, client };
        let made =
            geth.command().args(["init", "--state.scheme=hash", "genesis.json"]).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        geth.resume().await;
        geth
    }

    fn command(&self) -> Command {
        let mut command = Command::new(crate::programs().unwrap().join("op-geth"));
        command.current_dir(&self.directory).arg("--datadir=data");
        command
    }

    /// Starts or restarts it.
    pub(crate) async fn resume(&mut self) {
        let mut command = self.command();
        command.args([
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
            "--verbosity=3",
        ]);
        command
            .arg(format!("--http.port={}", self.http))
            .arg(format!("--authrpc.port={}", self.auth));
        self.process = Some(Running::start(&self.name, &mut command));
        let begun = Instant::now();
        while self.ask("eth_chainId", json!([])).await.is_none() {
            assert!(begun.elapsed() < PATIENCE, "{} does not start", self.name);
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Ends it as an operator does.
    pub(crate) fn stop(&mut self) {
        if let Some(process) = self.process.take() {
            process.end();
        }
    }

    /// Its public JSON-RPC, which has no debug methods.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.http)
    }

    pub(crate) fn engine(&self) -> String {
        format!("http://127.0.0.1:{}", self.auth)
    }

    pub(crate) fn secret(&self) -> String {
        self.directory.join("jwt.hex").display().to_string()
    }

    async fn ask(&self, method: &str, params: Value) -> Option<Value> {
        self.client.call(method, params, 64 << 20).await.ok()
    }

    pub(crate) async fn call(&self, method: &str, params: Value) -> Value {
        let called = self.client.call(method, params, 64 << 20).await;
        called.unwrap_or_else(|error| panic!("{}: {method}: {error}", self.name))
    }

    /// Returns a block without its transactions' contents; null if it has no block of that number.
    pub(crate) async fn block(&self, number: u64) -> Value {
        self.call("eth_getBlockByNumber", json!([format!("{number:#x}"), false])).await
    }

    pub(crate) async fn head(&self) -> u64 {
        number(&self.call("eth_blockNumber", json!([])).await)
    }

    pub(crate) async fn genesis_hash(&self) -> B256 {
        self.block(0).await["hash"].as_str().unwrap().parse().unwrap()
    }

    /// Waits until it has executed the block of this number.
    pub(crate) async fn reaches(&self, goal: u64) {
        let begun = Instant::now();
        loop {
            let head = self.head().await;
            if head >= goal {
                return;
            }
            assert!(begun.elapsed() < PATIENCE * 2, "{} is at {head} and not at {goal}", self.name);
            sleep(Duration::from_millis(200)).await;
        }
    }
}

/// Reads a quantity of JSON-RPC.
pub(crate) fn number(value: &Value) -> u64 {
    let text = value.as_str().unwrap_or_else(|| panic!("{value} is not a quantity"));
    u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap()
}
