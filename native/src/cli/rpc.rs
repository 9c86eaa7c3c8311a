//! Flags about the RPC.

use super::values::port;
use super::{Failure, path, remark};
use crate::host::Host;
use crate::rpc::{RpcConfig, RpcServer, Token};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "RPC")]
pub(super) struct RpcArgs {
    /// Answer questions about the node by JSON-RPC over HTTP and WebSocket.
    #[arg(
        id = "rpc_enabled", long = "rpc.enabled", env = "OPP2P_RPC_ENABLED", default_value_t = true,
        default_missing_value = "true", num_args = 0..=1, require_equals = true,
        action = clap::ArgAction::Set, value_name = "BOOL"
    )]
    enabled: bool,
    /// IP address to answer on. All who reach it may look.
    #[arg(
        id = "rpc_addr",
        long = "rpc.addr",
        env = "OP_NODE_RPC_ADDR",
        default_value = "127.0.0.1",
        value_name = "IP"
    )]
    addr: IpAddr,
    /// TCP port to answer on; 0 lets the system choose.
    #[arg(
        id = "rpc_port", long = "rpc.port", env = "OP_NODE_RPC_PORT", default_value_t = 9545,
        value_name = "PORT", value_parser = port
    )]
    port: u16,
    /// Let all who reach the port change something too: block, ban, connect and disconnect peers.
    #[arg(
        id = "rpc_enable_admin", long = "rpc.enable-admin", env = "OP_NODE_RPC_ENABLE_ADMIN",
        default_value_t = false, default_missing_value = "true", num_args = 0..=1, require_equals = true,
        action = clap::ArgAction::Set, value_name = "BOOL"
    )]
    enable_admin: bool,
    /// File with a token; who sends it (Authorization: Bearer TOKEN) may change something.
    #[arg(
        id = "rpc_token_path", long = "rpc.token.path", env = "OPP2P_RPC_TOKEN_PATH", value_name = "FILE",
        value_parser = path()
    )]
    token_path: Option<PathBuf>,
    /// Names by which this machine is called, besides localhost and its IP addresses, separated by commas; * for any.
    /// Requests for other names are refused, so that no web page can pose as one.
    #[arg(
        id = "rpc_hosts",
        long = "rpc.hosts",
        env = "OPP2P_RPC_HOSTS",
        value_name = "NAMES",
        value_delimiter = ','
    )]
    hosts: Vec<String>,
}

impl RpcArgs {
    /// As [`Self::config`], and the port is free.
    pub(super) fn load(&self) -> Result<Option<RpcConfig>, Failure> {
        let config = self.config()?;
        if let Some(config) = &config {
            // So that nothing is made or opened for a node that would not start.
            TcpListener::bind(config.listen).map_err(|error| config.refused(error))?;
        }
        Ok(config)
    }

    /// What to serve, if anything; the token is read.
    pub(super) fn config(&self) -> Result<Option<RpcConfig>, Failure> {
        if !self.enabled {
            return Ok(None);
        }
        let mut config = RpcConfig::new(SocketAddr::new(self.addr, self.port));
        config.enable_admin = self.enable_admin;
        let hosts = self.hosts.iter().map(|name| name.trim()).filter(|name| !name.is_empty());
        config.hosts = hosts.map(String::from).collect();
        // An empty environment variable is one that is not set.
        if let Some(path) = self.token_path.as_deref().filter(|path| !path.as_os_str().is_empty()) {
            let file = Token::load(path)?;
            if file.open_to_others {
                let path = path.display();
                remark(format_args!("warning: others can read or write the token file {path}; chmod 600 it"));
            }
            config.token = Some(file.token);
        }
        Ok(Some(config))
    }
}

/// Serves the RPC, if it is asked for.
pub(super) async fn serve(config: Option<RpcConfig>, host: &Host) -> Result<Option<RpcServer>, Failure> {
    let Some(config) = config else { return Ok(None) };
    let (is_open, has_token) = (config.enable_admin, config.token.is_some());
    let rpc = RpcServer::start(config, host.handle()).await?;
    let address = rpc.address();
    tracing::info!(%address, "RPC is served");
    if is_open && !address.ip().is_loopback() {
        tracing::warn!(%address, "all who reach the RPC may ban and disconnect peers");
    }
    if is_open && has_token {
        tracing::warn!("--rpc.enable-admin lets everybody do what the token is for");
    }
    Ok(Some(rpc))
}
