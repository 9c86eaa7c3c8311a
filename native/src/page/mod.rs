//! The observer page's server: serves the page's files and its configuration over HTTP.
//!
//! [`PageFiles`] is the content, held in memory; [`PageStart`] becomes `config.json`, which the
//! page reads first and which is up to date at that moment ([`Refresh`]); [`Page`] is the running
//! server. It answers `GET` and `HEAD` for the names that it has, and no other path: no request
//! reaches the disk.
//!
//! # Bounds
//! * **Connections**: [`CONNECTIONS`], of them [`CONNECTIONS_PER_ADDRESS`] from one address that is
//!   not loopback, where a reverse proxy acts for many clients. Further connections are closed on
//!   arrival.
//! * **A connection**: 16 kB and 100 lines of headers, [`HEADER_TIME`] for each request's headers
//!   and between two requests, and [`CONNECTION_TIME`] in all. Request bodies are not read.
//! * **Files**: a folder is read at the start, and again when its `index.html` changes, up to
//!   64 MiB and 4096 files. Answers share that memory.

mod answer;
mod error;
mod files;
mod reload;

pub use error::PageError;
pub use files::PageFiles;
pub use opp2p_node::http::{CONNECTION_TIME, CONNECTIONS, CONNECTIONS_PER_ADDRESS, HEADER_TIME};

use alloy_primitives::Address;
use answer::Site;
use futures::FutureExt;
use opp2p_core::chain::{ChainConfig, networks};
use serde_json::{Value, json};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The page's configuration: its `config.json`.
#[derive(Clone, Debug)]
pub struct PageStart {
    /// The chain. A built-in one is named, any other is given in full.
    pub chain: ChainConfig,
    /// The unsafe-block signer in force, if it differs from the chain's own or the chain has no
    /// built-in signer.
    pub signer: Option<Address>,
    /// Addresses for browsers: multiaddrs of WebSocket listeners that end in the peer's id. Their
    /// host may be `{host}`, which stands for the host that served the page. If the list is empty,
    /// the page asks for them.
    pub peers: Vec<String>,
    /// Whether observers follow the chain from its genesis.
    pub from_genesis: bool,
    /// The page's name for the network.
    pub name: String,
}

impl PageStart {
    /// Returns the contents of `config.json`.
    pub fn to_json(&self) -> String {
        let built_in = networks::by_chain_id(self.chain.chain_id);
        let network = match built_in.filter(|network| network.config() == self.chain) {
            Some(network) => Value::from(network.slug),
            // The core writes valid JSON.
            None => serde_json::from_str(&self.chain.to_rollup_json()).unwrap_or_default(),
        };
        let own = built_in
            .and_then(|network| network.unsafe_block_signer)
            .filter(|_| network.is_string());
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

/// Brings the configuration up to date, for each request of `config.json`: it gets the one of the
/// start. It must not block.
pub type Refresh = Arc<dyn Fn(&mut PageStart) + Send + Sync>;

/// Settings of a page's server.
pub struct PageConfig {
    /// Address and port to listen on; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// The files to serve.
    pub files: PageFiles,
    /// Folder that `files` were read from, to be read again when its `index.html` changes; `None`
    /// if the files do not change.
    pub folder: Option<PathBuf>,
    /// The page's configuration.
    pub start: PageStart,
    /// Changes `start` for each request; `None` if it does not change.
    pub refresh: Option<Refresh>,
}

impl fmt::Debug for PageConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { listen, files, folder, start, .. } = self;
        f.debug_struct("PageConfig")
            .field("listen", listen)
            .field("files", files)
            .field("folder", folder)
            .field("start", start)
            .finish_non_exhaustive()
    }
}

/// A running server. Dropping it stops it at once.
#[derive(Debug)]
pub struct Page {
    address: SocketAddr,
    server: JoinHandle<()>,
    watch: Option<JoinHandle<()>>,
}

impl Page {
    /// Starts to listen and serve.
    ///
    /// # Errors
    /// [`PageError::Listen`].
    pub async fn start(config: PageConfig) -> Result<Self, PageError> {
        let PageConfig { listen, files, folder, start, refresh } = config;
        let refused = |source| PageError::Listen { address: listen, source };
        let listener = TcpListener::bind(listen).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let site = Arc::new(Site::new(files, move || match &refresh {
            Some(refresh) => {
                let mut start = start.clone();
                refresh(&mut start);
                start.to_json()
            }
            None => start.to_json(),
        }));
        let watch = folder.map(|folder| reload::start(folder, Arc::clone(&site)));
        let answer = move |request: &hyper::Request<hyper::body::Incoming>| {
            let answer = site.answer(request.method(), request.uri().path(), request.headers());
            std::future::ready(answer).boxed()
        };
        let server = opp2p_node::http::start("server of the page", listener, Arc::new(answer));
        Ok(Self { address, server, watch })
    }

    /// Returns the address that it listens on.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the URL to open in a browser on this machine.
    pub fn url(&self) -> String {
        let ip = match self.address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => "127.0.0.1".to_owned(),
            IpAddr::V6(ip) if ip.is_unspecified() => "[::1]".to_owned(),
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        };
        format!("http://{ip}:{}/", self.address.port())
    }

    fn abort(&self) {
        self.server.abort();
        if let Some(watch) = &self.watch {
            watch.abort();
        }
    }

    /// Closes the listener and all connections.
    pub async fn stop(mut self) {
        self.abort();
        // Cancellation is expected here.
        let _ = (&mut self.server).await;
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::B256;
    use opp2p_core::chain::Fork;

    fn told(start: &PageStart) -> Value {
        serde_json::from_str(&start.to_json()).unwrap()
    }

    #[test]
    fn a_built_in_network_is_named_without_its_signer() {
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
        let mut chain =
            ChainConfig::development(901, B256::repeat_byte(1), 9000, 2, Fork::Jovian, signer);
        chain.l1_chain_id = 900;
        let start = PageStart {
            chain: chain.clone(),
            signer: None,
            peers: Vec::new(),
            from_genesis: true,
            name: "devnet".into(),
        };
        let told = told(&start);
        assert_eq!(
            (&told["signer"], &told["fromGenesis"]),
            (&json!(signer.to_string()), &json!(true))
        );
        let read = ChainConfig::from_rollup_json(&told["network"].to_string()).unwrap();
        assert_eq!((read.chain_id, read.forks, read.genesis), (901, chain.forks, chain.genesis));
    }

    #[test]
    fn a_built_in_network_with_changes_is_given_in_full() {
        let mut chain = networks::find("op-mainnet").unwrap().config();
        chain.block_time = 1;
        let start = PageStart {
            chain,
            signer: None,
            peers: Vec::new(),
            from_genesis: false,
            name: String::new(),
        };
        let told = told(&start);
        assert_eq!(told["network"]["block_time"], json!(1));
        assert!(told["signer"].is_string());
    }
}
