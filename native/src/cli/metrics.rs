//! Flags about metrics.

use crate::host::HostHandle;
use crate::metrics::{Metrics, MetricsConfig, MetricsError, Source};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;

#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Metrics")]
pub(super) struct MetricsArgs {
    /// Serve metrics for Prometheus over HTTP, at /metrics.
    #[arg(
        long = "metrics.enabled",
        env = "OP_NODE_METRICS_ENABLED",
        default_value = "false",
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        action = clap::ArgAction::Set,
        value_name = "BOOL",
        value_parser = boolean
    )]
    enabled: bool,
    /// IP address to serve metrics on, or a name of one. They can only be read, and hold no secret.
    #[arg(
        id = "metrics_addr", long = "metrics.addr", env = "OP_NODE_METRICS_ADDR", default_value = "0.0.0.0",
        value_name = "IP", value_parser = address
    )]
    addr: IpAddr,
    /// Port to serve metrics on; 0 lets the system choose.
    #[arg(
        id = "metrics_port", long = "metrics.port", env = "OP_NODE_METRICS_PORT", default_value = "7300",
        value_name = "PORT", value_parser = port
    )]
    port: u16,
}

/// An empty environment variable is one that is not set, which leaves the default.
fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "" | "false" | "0" | "f" | "F" | "FALSE" | "False" => Ok(false),
        "true" | "1" | "t" | "T" | "TRUE" | "True" => Ok(true),
        _ => Err("use true or false".into()),
    }
}

fn address(text: &str) -> Result<IpAddr, String> {
    if text.is_empty() {
        return Ok(Ipv4Addr::UNSPECIFIED.into());
    }
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let is_name = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
    // The reference takes names too. What else there is may be a typo, and asking for it takes long.
    let found: Vec<SocketAddr> =
        if is_name { (text, 0).to_socket_addrs().into_iter().flatten().collect() } else { Vec::new() };
    let first = found.iter().find(|address| address.is_ipv4()).or(found.first());
    first
        .map(SocketAddr::ip)
        .ok_or_else(|| "use an IP address, such as 127.0.0.1, or a name that this machine knows".into())
}

fn port(text: &str) -> Result<u16, String> {
    // Unlike the p2p flags, the reference's takes the ports that the system reserves.
    let text = if text.is_empty() { "7300" } else { text };
    text.parse().map_err(|_| "a port is a number up to 65535, or 0 for any that is free".into())
}

impl MetricsArgs {
    /// Whether they are to be served.
    pub(super) const fn enabled(&self) -> bool {
        self.enabled
    }

    /// Refuses an address that can't be listened on, before anything is made or opened for a node that would not start.
    pub(super) fn check(&self) -> Result<(), MetricsError> {
        if !self.enabled {
            return Ok(());
        }
        let listen = self.listen();
        match std::net::TcpListener::bind(listen) {
            Ok(_) => Ok(()),
            Err(source) if source.kind() == std::io::ErrorKind::AddrInUse => Err(MetricsError::InUse(listen)),
            Err(source) => Err(MetricsError::Listen { address: listen, source }),
        }
    }

    const fn listen(&self) -> SocketAddr {
        SocketAddr::new(self.addr, self.port)
    }

    /// Serves them, if that is asked for.
    pub(super) async fn start(
        &self,
        host: HostHandle,
        sources: Vec<Arc<dyn Source>>,
    ) -> Result<Option<Metrics>, MetricsError> {
        if !self.enabled {
            return Ok(None);
        }
        let config = MetricsConfig { sources, ..MetricsConfig::new(self.listen()) };
        let metrics = Metrics::start(config, host).await?;
        tracing::info!(url = format!("http://{}/metrics", metrics.address()), "serving metrics");
        Ok(Some(metrics))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_variable_is_one_that_is_not_set() {
        assert_eq!((boolean(""), port("")), (Ok(false), Ok(7300)));
        assert_eq!(address(""), Ok(IpAddr::from([0, 0, 0, 0])));
        assert!(boolean("maybe").is_err() && address("a b").is_err() && port("65536").is_err());
    }

    #[test]
    fn what_the_reference_takes_is_taken() {
        assert_eq!((address("localhost"), port("80")), (Ok(Ipv4Addr::LOCALHOST.into()), Ok(80)));
        assert_eq!((boolean("TRUE"), boolean("0")), (Ok(true), Ok(false)));
    }
}
