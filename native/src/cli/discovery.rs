//! Flags for discovery.

use super::values::{boolean, port, unmapped};
use super::{beside_a_folder, path};
use opp2p_core::discovery::PaceConfig;
use opp2p_core::peers::Subnet;
use opp2p_node::discovery::{Bootnode, DiscoveryConfig};
use std::io::Read;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

/// Maximum size of a boot nodes file in bytes.
const MAX_BOOTNODES_FILE: u64 = 1 << 20;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Discovery")]
pub(super) struct DiscoveryArgs {
    /// Do not look for peers, and do not dial those of an earlier run: static peers, and peers that
    /// dial this node, are the only ones.
    #[arg(
        long = "p2p.no-discovery", env = "OP_NODE_P2P_NO_DISCOVERY", default_value_t = false,
        default_missing_value = "true", num_args = 0..=1, require_equals = true,
        action = clap::ArgAction::Set, value_name = "BOOL", value_parser = boolean
    )]
    no_discovery: bool,
    /// UDP port to listen on; 0 for the number of the TCP port, or any that is free if that is
    /// taken.
    #[arg(
        long = "p2p.listen.udp", env = "OP_NODE_P2P_LISTEN_UDP_PORT", default_value_t = 0,
        value_name = "PORT", value_parser = port
    )]
    listen_udp: u16,
    /// IP address or host name to advertise, in place of the one at which others see this node.
    #[arg(long = "p2p.advertise.ip", env = "OP_NODE_P2P_ADVERTISE_IP", value_name = "HOST")]
    advertise_ip: Option<String>,
    /// TCP port to advertise; 0 for the listening port.
    #[arg(
        long = "p2p.advertise.tcp", env = "OP_NODE_P2P_ADVERTISE_TCP", default_value_t = 0,
        value_name = "PORT", value_parser = port
    )]
    advertise_tcp: u16,
    /// UDP port to advertise; 0 for the listening port.
    #[arg(
        long = "p2p.advertise.udp", env = "OP_NODE_P2P_ADVERTISE_UDP", default_value_t = 0,
        value_name = "PORT", value_parser = port
    )]
    advertise_udp: u16,
    /// Bootnodes, in place of the network's own: enr:RECORD or enode://KEY@HOST:PORT, separated by
    /// commas.
    #[arg(
        long = "p2p.bootnodes",
        env = "OP_NODE_P2P_BOOTNODES",
        value_name = "NODES",
        value_delimiter = ','
    )]
    bootnodes: Vec<String>,
    /// File with more bootnodes, one per line or separated by commas.
    #[arg(
        long = "p2p.bootnodes-file", env = "OP_NODE_P2P_BOOTNODES_FILE", value_name = "FILE",
        value_parser = path()
    )]
    bootnodes_file: Option<PathBuf>,
    /// File for the nodes that were found, or memory to forget them at the end; by default in the
    /// data directory.
    #[arg(
        long = "p2p.discovery.path", env = "OP_NODE_P2P_DISCOVERY_PATH", value_name = "FILE",
        value_parser = path()
    )]
    table: Option<PathBuf>,
    /// Networks to look for peers in, such as 10.0.0.0/8, separated by commas. Static peers and
    /// those that dial this node may be elsewhere.
    #[arg(
        long = "p2p.netrestrict",
        env = "OP_NODE_P2P_NETRESTRICT",
        value_name = "NETS",
        value_delimiter = ','
    )]
    netrestrict: Vec<String>,
}

/// Returns the items of a list without empty ones.
fn items(list: &[String]) -> Vec<String> {
    let items = list.iter().map(|item| item.trim().to_owned());
    items.filter(|item| !item.is_empty()).collect()
}

impl DiscoveryArgs {
    /// Returns `true` unless discovery is off.
    pub(super) const fn is_on(&self) -> bool {
        !self.no_discovery
    }

    /// Returns the discovery settings of a node that listens on this address; `None` if discovery
    /// is off. An error is one sentence.
    pub(super) fn config(
        &self,
        data: &Path,
        listen: IpAddr,
    ) -> Result<Option<DiscoveryConfig>, String> {
        let mut bootnodes: Vec<Bootnode> = Vec::new();
        let mut given = items(&self.bootnodes);
        given.extend(items(&self.listed_in_file()?));
        for text in given {
            let shown: String = text.chars().take(60).collect();
            let node: Bootnode = text.parse().map_err(|error| {
                format!("--p2p.bootnodes: {shown:?} is not a bootnode: {error}")
            })?;
            if let Some(why) = node.obstacle(listen).filter(|_| !self.no_discovery) {
                tracing::warn!(node = shown, "this boot node can't be asked for peers: {why}");
            }
            bootnodes.push(node);
        }
        let restriction = self.restriction()?;
        let advertise_ip = self.advertised_ip()?;
        if self.no_discovery {
            return Ok(None);
        }
        let table = match self.table.as_deref().filter(|path| !path.as_os_str().is_empty()) {
            None => Some(data.join("discovery.txt")),
            Some(path) if path == Path::new("memory") => None,
            Some(path) => Some(beside_a_folder(path, "--p2p.discovery.path")),
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

impl DiscoveryArgs {
    /// Returns the address of `--p2p.advertise.ip`. An error is one sentence.
    pub(super) fn advertised_ip(&self) -> Result<Option<IpAddr>, String> {
        let host = self.advertise_ip.as_deref().filter(|host| !host.is_empty());
        host.map(resolve).transpose()
    }

    /// Returns the networks of `--p2p.netrestrict`. They also hold without discovery. An error is
    /// one sentence.
    pub(super) fn restriction(&self) -> Result<Vec<Subnet>, String> {
        let parsed = |text: String| {
            text.parse::<Subnet>()
                .map_err(|error| format!("--p2p.netrestrict: {text:?} is not a network: {error}"))
        };
        items(&self.netrestrict).into_iter().map(parsed).collect()
    }

    /// Returns the lines of the boot nodes file, if there is one.
    fn listed_in_file(&self) -> Result<Vec<String>, String> {
        let path = self.bootnodes_file.as_deref().filter(|path| !path.as_os_str().is_empty());
        let Some(path) = path else { return Ok(Vec::new()) };
        let mut text = String::new();
        let read = std::fs::File::open(path)
            .and_then(|file| file.take(MAX_BOOTNODES_FILE).read_to_string(&mut text));
        read.map_err(|error| {
            format!("--p2p.bootnodes-file: can't read {}: {error}", path.display())
        })?;
        let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        Ok(lines.flat_map(|line| line.split(',')).map(str::to_owned).collect())
    }
}

/// Returns an address, or the first IPv4 address of a host name, as in the reference; without one,
/// the name's first address of any kind.
fn resolve(host: &str) -> Result<IpAddr, String> {
    if let Ok(ip) = unmapped(host) {
        return Ok(ip);
    }
    let found: Vec<IpAddr> = match (host, 0).to_socket_addrs() {
        Ok(found) => found.map(|at| at.ip()).collect(),
        Err(error) => {
            return Err(format!(
                "--p2p.advertise.ip: {host:?} is not an IP address and can't be resolved: {error}"
            ));
        }
    };
    let first = found.iter().find(|ip| ip.is_ipv4()).or_else(|| found.first());
    first.copied().ok_or_else(|| format!("--p2p.advertise.ip: {host:?} has no IP address"))
}
