//! Flags for the RPC.

use super::logging::caution;
use super::values::{address, any_port, boolean};
use super::{Failure, path};
use crate::rpc::{Origins, RpcConfig, RpcLimits, RpcServer, Token};
use opp2p_core::proof::reader::MAX_ENDPOINTS;
use opp2p_node::host::Host;
use opp2p_node::http::HttpConfig;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// Timeout of a request to an endpoint for proved reads.
const PROOF_ENDPOINT_TIME: Duration = Duration::from_secs(15);

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "RPC")]
pub(super) struct RpcArgs {
    /// Serve JSON-RPC about the node over HTTP and WebSocket.
    #[arg(
        id = "rpc_enabled", long = "rpc.enabled", env = "OPP2P_RPC_ENABLED", default_value_t = true,
        default_missing_value = "true", num_args = 0..=1, require_equals = true,
        action = clap::ArgAction::Set, value_name = "BOOL", value_parser = boolean
    )]
    enabled: bool,
    /// IP address to listen on, or a host name for it. Everyone who reaches it may read.
    #[arg(
        id = "rpc_addr",
        long = "rpc.addr",
        env = "OP_NODE_RPC_ADDR",
        default_value = "127.0.0.1",
        value_name = "IP",
        value_parser = address
    )]
    addr: IpAddr,
    /// TCP port to listen on; 0 lets the system choose.
    #[arg(
        id = "rpc_port", long = "rpc.port", alias = "port", env = "OP_NODE_RPC_PORT",
        default_value_t = 9545, value_name = "PORT", value_parser = any_port
    )]
    port: u16,
    /// Also let everyone who reaches the port make changes: block, ban, connect and disconnect
    /// peers.
    #[arg(
        id = "rpc_enable_admin", long = "rpc.enable-admin", env = "OP_NODE_RPC_ENABLE_ADMIN",
        default_value_t = false, default_missing_value = "true", num_args = 0..=1,
        require_equals = true,
        action = clap::ArgAction::Set, value_name = "BOOL", value_parser = boolean
    )]
    enable_admin: bool,
    /// File with a token; callers that send it (Authorization: Bearer TOKEN) may make changes.
    #[arg(
        id = "rpc_token_path", long = "rpc.token.path", env = "OPP2P_RPC_TOKEN_PATH",
        value_name = "FILE",
        value_parser = path()
    )]
    token_path: Option<PathBuf>,
    /// Host names of this machine, besides localhost and its IP addresses, separated by commas; *
    /// for any. Requests for other names are refused, so that no web page can pose as one.
    #[arg(
        id = "rpc_hosts",
        long = "rpc.hosts",
        env = "OPP2P_RPC_HOSTS",
        value_name = "NAMES",
        value_delimiter = ','
    )]
    hosts: Vec<String>,
    /// Origins of web pages that may call, such as https://app.example.org, separated by commas; *
    /// for any page. Without it, requests from web pages are refused.
    #[arg(
        id = "rpc_cors",
        long = "rpc.cors",
        env = "OPP2P_RPC_CORS",
        value_name = "ORIGINS",
        value_delimiter = ','
    )]
    cors: Vec<String>,
    /// Maximum number of open connections.
    #[arg(
        id = "rpc_max_connections", long = "rpc.max-connections",
        env = "OPP2P_RPC_MAX_CONNECTIONS",
        default_value_t = RpcLimits::default().connections, value_name = "N",
        value_parser = |text: &str| within(text, RpcLimits::CONNECTIONS)
    )]
    max_connections: u32,
    /// Maximum number of connections from one address; loopback has no such limit.
    #[arg(
        id = "rpc_max_connections_per_ip", long = "rpc.max-connections-per-ip",
        env = "OPP2P_RPC_MAX_CONNECTIONS_PER_IP",
        default_value_t = RpcLimits::default().connections_per_address, value_name = "N",
        value_parser = |text: &str| within(text, RpcLimits::CONNECTIONS)
    )]
    max_connections_per_ip: u32,
    /// Maximum number of subscriptions of one WebSocket.
    #[arg(
        id = "rpc_max_subscriptions", long = "rpc.max-subscriptions",
        env = "OPP2P_RPC_MAX_SUBSCRIPTIONS",
        default_value_t = RpcLimits::default().subscriptions, value_name = "N",
        value_parser = |text: &str| within(text, RpcLimits::SUBSCRIPTIONS)
    )]
    max_subscriptions: u32,
    /// Maximum number of feed subscriptions of all WebSockets.
    #[arg(
        id = "rpc_max_feeds", long = "rpc.max-feeds",
        env = "OPP2P_RPC_MAX_FEEDS",
        default_value_t = RpcLimits::default().feeds, value_name = "N",
        value_parser = |text: &str| within(text, RpcLimits::FEEDS)
    )]
    max_feeds: u32,
    /// Maximum number of calls in one batch.
    #[arg(
        id = "rpc_max_batch", long = "rpc.max-batch",
        env = "OPP2P_RPC_MAX_BATCH",
        default_value_t = RpcLimits::default().batch, value_name = "N",
        value_parser = |text: &str| within(text, RpcLimits::BATCH)
    )]
    max_batch: u32,
    /// Maximum size of a request in bytes; callers that may make changes can send 24 MiB over HTTP.
    #[arg(
        id = "rpc_max_request_bytes", long = "rpc.max-request-bytes",
        env = "OPP2P_RPC_MAX_REQUEST_BYTES",
        default_value_t = RpcLimits::default().request, value_name = "N",
        value_parser = |text: &str| within(text, RpcLimits::REQUEST)
    )]
    max_request_bytes: u32,
    /// RPC endpoints of execution clients, separated by commas. The RPC then serves balances, code,
    /// storage, receipts and logs from them. They need not be trusted: this node verifies each
    /// answer against its blocks.
    #[arg(
        id = "l2_proofs",
        long = "l2.proofs",
        env = "OPP2P_L2_PROOFS",
        value_name = "URLS",
        value_delimiter = ',',
        hide_env_values = true
    )]
    proofs: Vec<String>,
}

impl RpcArgs {
    /// Returns the address to listen on, if the RPC is enabled.
    pub(super) fn listen(&self) -> Option<SocketAddr> {
        self.enabled.then(|| SocketAddr::new(self.addr, self.port))
    }

    /// Checks the settings like [`Self::config`], and also that the port is free.
    pub(super) fn load(&self) -> Result<Option<RpcConfig>, Failure> {
        let config = self.config()?;
        if let Some(config) = &config {
            // Before anything is created or opened for a node that could not start.
            TcpListener::bind(config.listen).map_err(|error| config.refused(error))?;
        }
        Ok(config)
    }

    /// Returns the server's settings, if it is enabled. Reads the token.
    pub(super) fn config(&self) -> Result<Option<RpcConfig>, Failure> {
        if !self.enabled && self.enable_admin {
            return Err(Failure::new(
                "--rpc.enable-admin has no effect with --rpc.enabled=false: leave out one",
            ));
        }
        let proofs = self.proofs()?;
        if !self.enabled && !proofs.is_empty() {
            return Err(Failure::new(
                "--l2.proofs has no effect with --rpc.enabled=false: leave out one",
            ));
        }
        if !self.enabled {
            return Ok(None);
        }
        let mut config = RpcConfig::new(SocketAddr::new(self.addr, self.port));
        config.proofs = proofs;
        config.enable_admin = self.enable_admin;
        let hosts = self.hosts.iter().map(|name| name.trim()).filter(|name| !name.is_empty());
        config.hosts = hosts.map(host).collect::<Result<_, _>>()?;
        let origins = self.cors.iter().map(|origin| origin.trim());
        config.origins = Origins::new(origins.filter(|origin| !origin.is_empty()))
            .map_err(|error| Failure::new(format!("--rpc.cors: {error}")))?;
        config.limits = self.limits();
        // An empty environment variable counts as unset.
        if let Some(path) = self.token_path.as_deref().filter(|path| !path.as_os_str().is_empty()) {
            let file = Token::load(path)?;
            if file.open_to_others {
                let path = path.display();
                caution(&format!("others can read or write the token file {path}; chmod 600 it"));
            }
            config.token = Some(file.token);
        }
        Ok(Some(config))
    }

    /// Checks and returns the endpoints for proved reads.
    fn proofs(&self) -> Result<Vec<HttpConfig>, Failure> {
        let urls = self.proofs.iter().map(|url| url.trim()).filter(|url| !url.is_empty());
        let endpoints: Vec<_> = urls.map(|url| HttpConfig::new(url, PROOF_ENDPOINT_TIME)).collect();
        if endpoints.len() > MAX_ENDPOINTS {
            return Err(Failure::new(format!(
                "--l2.proofs: {} endpoints are given, and at most {MAX_ENDPOINTS} are asked: leave \
                 some out",
                endpoints.len()
            )));
        }
        for endpoint in &endpoints {
            endpoint
                .check()
                .map_err(|error| Failure::new(format!("--l2.proofs can't be used: {error}")))?;
        }
        Ok(endpoints)
    }

    const fn limits(&self) -> RpcLimits {
        RpcLimits {
            connections: self.max_connections,
            connections_per_address: self.max_connections_per_ip,
            subscriptions: self.max_subscriptions,
            feeds: self.max_feeds,
            batch: self.max_batch,
            request: self.max_request_bytes,
        }
    }
}

/// Parses a whole number in a range.
fn within(text: &str, range: RangeInclusive<u32>) -> Result<u32, String> {
    text.parse()
        .ok()
        .filter(|number| range.contains(number))
        .ok_or_else(|| format!("use a whole number from {} to {}", range.start(), range.end()))
}

/// Checks a host name. A URL, or a name with a port, would never match a request.
fn host(name: &str) -> Result<String, Failure> {
    let is_char = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '*');
    let is_ip = name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    if is_ip || name.chars().all(is_char) {
        return Ok(name.to_owned());
    }
    Err(Failure::new(format!(
        "--rpc.hosts: {name:?} is not a host name: write it without http:// and without a port, or \
         * for any"
    )))
}

/// Starts the RPC server, if it is enabled.
pub(super) async fn serve(
    config: Option<RpcConfig>,
    host: &Host,
) -> Result<Option<RpcServer>, Failure> {
    let Some(config) = config else { return Ok(None) };
    let (is_open, has_token) = (config.enable_admin, config.token.is_some());
    let is_for_all_pages = config.origins.is_any();
    let rpc = RpcServer::start(config, host.handle()).await?;
    let address = rpc.address();
    tracing::info!(%address, "RPC server listening");
    if is_open && !address.ip().is_loopback() {
        tracing::warn!(%address, "everyone who reaches the RPC may ban and disconnect peers");
    }
    if is_open && is_for_all_pages {
        tracing::warn!(
            "every web page that a browser on this network shows may ban and disconnect peers: \
             name origins in --rpc.cors, or leave out --rpc.enable-admin"
        );
    }
    if is_open && has_token {
        tracing::warn!("--rpc.enable-admin lets everyone do what the token is for");
    }
    Ok(Some(rpc))
}
