//! The observer page's server: the page's files and what it has to know of the node, over HTTP.
//!
//! [`PageFiles`] is what is served, all of it in memory; [`PageStart`] becomes `config.json`, which the page reads
//! first; [`Page`] is the running server. It answers `GET` and `HEAD` for names that it has, and knows no other
//! path: nothing in a request leads to the disk.
//!
//! # Bounds
//! * **Connections**: [`CONNECTIONS`], of them [`CONNECTIONS_PER_ADDRESS`] from one address that is not
//!   loopback, where a reverse proxy stands for many. The next is closed as it comes.
//! * **A connection**: 16 kB and 100 lines of headers, [`HEADER_TIME`] to send them or to ask for more, and
//!   [`CONNECTION_TIME`] in all. Request bodies are not read.
//! * **Files**: a folder is read once, at the start, up to 64 MiB and 4096 files. Answers share that memory.

mod answer;
mod files;

pub use crate::http::{CONNECTION_TIME, CONNECTIONS, CONNECTIONS_PER_ADDRESS, HEADER_TIME};
pub use files::PageFiles;

use answer::Site;
use opp2p_core::chain::{ChainConfig, networks};
use serde_json::{Value, json};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What the page is told of the node: its `config.json`.
#[derive(Clone, Debug)]
pub struct PageStart {
    /// The chain. A built-in one is named, another is given in full.
    pub chain: ChainConfig,
    /// The unsafe-block signer in force, if it is another than the chain's own or the chain has none built in.
    pub signer: Option<alloy_primitives::Address>,
    /// Where browsers join: multiaddrs of WebSocket listeners that end in the peer's id. The host of one may be
    /// `{host}`, which stands for the host that the page came from. With none, the page asks for them.
    pub peers: Vec<String>,
    /// Whether observers follow the chain from its genesis on.
    pub from_genesis: bool,
    /// What the page calls the network.
    pub name: String,
}

impl PageStart {
    /// The contents of `config.json`.
    pub fn to_json(&self) -> String {
        let built_in = networks::by_chain_id(self.chain.chain_id);
        let network = match built_in.filter(|network| network.config() == self.chain) {
            Some(network) => Value::from(network.slug),
            // What the core has written is JSON.
            None => serde_json::from_str(&self.chain.to_rollup_json()).unwrap_or_default(),
        };
        let own = built_in.and_then(|network| network.unsafe_block_signer).filter(|_| network.is_string());
        let signer = self.signer.or(self.chain.unsafe_block_signer);
        let signer = signer.filter(|signer| own != Some(*signer));
        json!({
            "name": self.name,
            "network": network,
            "peers": self.peers,
            "signer": signer.map(|signer| signer.to_string()),
            "fromGenesis": self.from_genesis,
        })
        .to_string()
    }
}

/// What a page's server is started with.
#[derive(Debug)]
pub struct PageConfig {
    /// Address and port to listen on; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// What is served.
    pub files: PageFiles,
    /// What the page is told.
    pub start: PageStart,
}

/// Why the page can't be served. Each message is one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// The binary has no page in it.
    #[error(
        "this binary was built without the page: run `cargo web-page` and build again, or give --web.root DIR"
    )]
    NotEmbedded,
    /// The folder can't be read.
    #[error("can't read the page's folder: {}: {source}; give another --web.root", path.display())]
    Read {
        /// What could not be read.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The folder holds no page.
    #[error("the page's folder {} has no index.html; give the folder that `cargo web-page` made as --web.root", .0.display())]
    NoIndex(PathBuf),
    /// A link in the folder leads out of it.
    #[error("{} leads out of the page's folder; put the file itself there", .0.display())]
    LeadsOut(PathBuf),
    /// There is far more in the folder than a page.
    #[error("the page's folder {} holds more than 64 MiB or 4096 files; give one that holds only the page", .0.display())]
    TooMuch(PathBuf),
    /// The address can't be listened on.
    #[error("can't serve the page on {address}: {source}; choose another address or port with --web.listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
}

/// A running server. Dropping it ends it at once.
#[derive(Debug)]
pub struct Page {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Page {
    /// Listens and serves.
    ///
    /// # Errors
    /// [`PageError::Listen`].
    pub async fn start(config: PageConfig) -> Result<Self, PageError> {
        let PageConfig { listen, files, start } = config;
        let refused = |source| PageError::Listen { address: listen, source };
        let listener = TcpListener::bind(listen).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let site = Site::new(files, start.to_json());
        let answer = move |request: &hyper::Request<hyper::body::Incoming>| {
            site.answer(request.method(), request.uri().path(), request.headers())
        };
        Ok(Self { address, task: crate::http::start("server of the page", listener, Arc::new(answer)) })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What to open in a browser on this machine.
    pub fn url(&self) -> String {
        let ip = match self.address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => "127.0.0.1".to_owned(),
            IpAddr::V6(ip) if ip.is_unspecified() => "[::1]".to_owned(),
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        };
        format!("http://{ip}:{}/", self.address.port())
    }

    /// Closes the listener and all connections.
    pub async fn stop(mut self) {
        self.task.abort();
        // Cancelled is what was asked for.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::{Address, B256};
    use opp2p_core::chain::Fork;

    fn told(start: &PageStart) -> Value {
        serde_json::from_str(&start.to_json()).unwrap()
    }

    #[test]
    fn a_built_in_network_is_named_and_its_signer_left_out() {
        let chain = networks::find("op-mainnet").unwrap().config();
        let own = chain.unsafe_block_signer;
        let mut start = PageStart {
            chain,
            signer: None,
            peers: vec!["/dns4/{host}/tcp/9223/ws".into()],
            from_genesis: false,
            name: "OP Mainnet".into(),
        };
        let expected = json!({
            "name": "OP Mainnet", "network": "op-mainnet", "peers": ["/dns4/{host}/tcp/9223/ws"],
            "signer": null, "fromGenesis": false,
        });
        assert_eq!(told(&start), expected);
        start.signer = own;
        assert_eq!(told(&start), expected);
        start.signer = Some(Address::repeat_byte(7));
        assert_eq!(told(&start)["signer"], json!(Address::repeat_byte(7).to_string()));
    }

    #[test]
    fn another_chain_is_given_in_full_with_its_signer() {
        let signer = Address::repeat_byte(2);
        let mut chain = ChainConfig::development(901, B256::repeat_byte(1), 9000, 2, Fork::Jovian, signer);
        chain.l1_chain_id = 900;
        let start = PageStart {
            chain: chain.clone(),
            signer: None,
            peers: Vec::new(),
            from_genesis: true,
            name: "devnet".into(),
        };
        let told = told(&start);
        assert_eq!((&told["signer"], &told["fromGenesis"]), (&json!(signer.to_string()), &json!(true)));
        let read = ChainConfig::from_rollup_json(&told["network"].to_string()).unwrap();
        assert_eq!((read.chain_id, read.forks, read.genesis), (901, chain.forks, chain.genesis));
    }

    #[test]
    fn a_built_in_network_with_changes_is_given_in_full() {
        let mut chain = networks::find("op-mainnet").unwrap().config();
        chain.block_time = 1;
        let start =
            PageStart { chain, signer: None, peers: Vec::new(), from_genesis: false, name: String::new() };
        let told = told(&start);
        assert_eq!(told["network"]["block_time"], json!(1));
        assert!(told["signer"].is_string());
    }
}
