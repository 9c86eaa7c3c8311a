//! Flags for metrics.

use crate::metrics::{Metrics, MetricsConfig, MetricsError, Source};
use opp2p_node::host::HostHandle;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
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
    /// IP address to serve metrics on, or a host name for it. Metrics are read-only and contain no
    /// secrets.
    #[arg(
        id = "metrics_addr", long = "metrics.addr", env = "OP_NODE_METRICS_ADDR",
        default_value = "0.0.0.0",
        value_name = "IP", value_parser = address
    )]
    addr: IpAddr,
    /// Port to serve metrics on; 0 lets the system choose.
    #[arg(
        id = "metrics_port", long = "metrics.port", env = "OP_NODE_METRICS_PORT",
        default_value = "7300",
        value_name = "PORT", value_parser = port
    )]
    port: u16,
}

/// Parses a boolean. An empty environment variable counts as unset, which leaves the default.
fn boolean(text: &str) -> Result<bool, String> {
    if text.is_empty() { Ok(false) } else { super::values::boolean(text) }
}

fn address(text: &str) -> Result<IpAddr, String> {
    if text.is_empty() { Ok(Ipv4Addr::UNSPECIFIED.into()) } else { super::values::address(text) }
}

fn port(text: &str) -> Result<u16, String> {
    // Unlike its p2p flags, the reference's metrics flag accepts ports that the system reserves.
    let text = if text.is_empty() { "7300" } else { text };
    super::values::any_port(text)
}

impl MetricsArgs {
    /// Refuses an address that can't be listened on, before anything is created or opened for a
    /// node that could not start.
    pub(super) fn check(&self) -> Result<(), MetricsError> {
        if !self.enabled {
            return Ok(());
        }
        let listen = self.listen();
        match std::net::TcpListener::bind(listen) {
            Ok(_) => Ok(()),
            Err(source) if source.kind() == std::io::ErrorKind::AddrInUse => {
                Err(MetricsError::InUse(listen))
            }
            Err(source) => Err(MetricsError::Listen { address: listen, source }),
        }
    }

    /// Returns the address to listen on, if metrics are enabled.
    pub(super) fn listening(&self) -> Option<SocketAddr> {
        self.enabled.then(|| self.listen())
    }

    const fn listen(&self) -> SocketAddr {
        SocketAddr::new(self.addr, self.port)
    }

    /// Starts the metrics server, if it is enabled.
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
    fn an_empty_variable_counts_as_unset() {
        assert_eq!((boolean(""), port("")), (Ok(false), Ok(7300)));
        assert_eq!(address(""), Ok(IpAddr::from([0, 0, 0, 0])));
        assert!(boolean("maybe").is_err() && address("a b").is_err() && port("65536").is_err());
    }

    #[test]
    fn values_the_reference_accepts_are_accepted() {
        assert_eq!((address("localhost"), port("80")), (Ok(Ipv4Addr::LOCALHOST.into()), Ok(80)));
        assert_eq!((boolean("TRUE"), boolean("0")), (Ok(true), Ok(false)));
    }
}
