//! Flags about how peers are found.

use super::path;
use super::values::port;
use crate::discovery::{Bootnode, DiscoveryConfig};
use opp2p_core::discovery::PaceConfig;
use opp2p_core::peers::Subnet;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Discovery")]
pub(super) struct DiscoveryArgs {
    /// Look for no peers: static ones, and those that come, are all there are.
    #[arg(
        long = "p2p.no-discovery", env = "OP_NODE_P2P_NO_DISCOVERY", default_value_t = false,
        default_missing_value = "true", num_args = 0..=1, require_equals = true,
        action = clap::ArgAction::Set, value_name = "BOOL"
    )]
    no_discovery: bool,
    /// UDP port to listen on; 0 for the number of the TCP port, or any that is free if that is taken.
    #[arg(
        long = "p2p.listen.udp", env = "OP_NODE_P2P_LISTEN_UDP_PORT", default_value_t = 0,
        value_name = "PORT", value_parser = port
    )]
    listen_udp: u16,
    /// IP address or host name to tell others, in place of where they see this node.
    #[arg(long = "p2p.advertise.ip", env = "OP_NODE_P2P_ADVERTISE_IP", value_name = "HOST")]
    advertise_ip: Option<String>,
    /// TCP port to tell others; 0 for the one that is listened on.
    #[arg(
        long = "p2p.advertise.tcp", env = "OP_NODE_P2P_ADVERTISE_TCP", default_value_t = 0,
        value_name = "PORT", value_parser = port
    )]
    advertise_tcp: u16,
    /// UDP port to tell others; 0 for the one that is listened on.
    #[arg(
        long = "p2p.advertise.udp", env = "OP_NODE_P2P_ADVERTISE_UDP", default_value_t = 0,
        value_name = "PORT", value_parser = port
    )]
    advertise_udp: u16,
    /// Nodes to ask first, in place of the network's: enr:RECORD or enode://KEY@HOST:PORT, separated by commas.
    #[arg(
        long = "p2p.bootnodes",
        env = "OP_NODE_P2P_BOOTNODES",
        value_name = "NODES",
        value_delimiter = ','
    )]
    bootnodes: Vec<String>,
    /// File for the nodes that were found, or memory to forget them at the end; by default in the data directory.
    #[arg(
        long = "p2p.discovery.path", env = "OP_NODE_P2P_DISCOVERY_PATH", value_name = "FILE",
        value_parser = path()
    )]
    table: Option<PathBuf>,
    /// Networks to look for peers in, such as 10.0.0.0/8, separated by commas. Static peers and those that dial this node
    /// may be elsewhere.
    #[arg(
        long = "p2p.netrestrict",
        env = "OP_NODE_P2P_NETRESTRICT",
        value_name = "NETS",
        value_delimiter = ','
    )]
    netrestrict: Vec<String>,
}

impl DiscoveryArgs {
    /// How to look for peers, if at all; an error is one sentence.
    pub(super) fn config(&self, data: &Path) -> Result<Option<DiscoveryConfig>, String> {
        let items = |list: &[String]| -> Vec<String> {
            let items = list.iter().map(|item| item.trim().to_owned());
            items.filter(|item| !item.is_empty()).collect()
        };
        let mut bootnodes: Vec<Bootnode> = Vec::new();
        for text in items(&self.bootnodes) {
            let shown: String = text.chars().take(60).collect();
            bootnodes
                .push(text.parse().map_err(|error| format!("--p2p.bootnodes: {shown:?} is none: {error}"))?);
        }
        let mut restriction: Vec<Subnet> = Vec::new();
        for text in items(&self.netrestrict) {
            restriction.push(
                text.parse()
                    .map_err(|error| format!("--p2p.netrestrict: {text:?} is no network: {error}"))?,
            );
        }
        let advertise_ip =
            self.advertise_ip.as_deref().filter(|host| !host.is_empty()).map(resolve).transpose()?;
        if self.no_discovery {
            return Ok(None);
        }
        let table = match self.table.as_deref().filter(|path| !path.as_os_str().is_empty()) {
            None => Some(data.join("discovery.txt")),
            Some(path) if path == Path::new("memory") => None,
            Some(path) => Some(path.to_owned()),
        };
        Ok(Some(DiscoveryConfig {
            listen_udp: self.listen_udp,
            advertise_ip,
            advertise_tcp: self.advertise_tcp,
            advertise_udp: self.advertise_udp,
            bootnodes: (!bootnodes.is_empty()).then_some(bootnodes),
            table,
            restriction,
            pace: PaceConfig::default(),
        }))
    }
}

/// An address, or the first IPv4 address of a name, as the reference takes it; else its first of any kind.
fn resolve(host: &str) -> Result<IpAddr, String> {
    if let Ok(ip) = host.parse() {
        return Ok(ip);
    }
    let found: Vec<IpAddr> = match (host, 0).to_socket_addrs() {
        Ok(found) => found.map(|at| at.ip()).collect(),
        Err(error) => {
            return Err(format!(
                "--p2p.advertise.ip: {host:?} is no IP address and can't be resolved: {error}"
            ));
        }
    };
    let first = found.iter().find(|ip| ip.is_ipv4()).or_else(|| found.first());
    first.copied().ok_or_else(|| format!("--p2p.advertise.ip: {host:?} has no IP address"))
}
