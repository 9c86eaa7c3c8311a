//! Flags about metrics.

use crate::host::HostHandle;
use crate::metrics::{Metrics, MetricsConfig, MetricsError, Source};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

#[derive(Clone, Debug, clap::Args)]
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
    /// IP address to serve metrics on. They can only be read, and hold no secret.
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
    let text = if text.is_empty() { "0.0.0.0" } else { text };
    text.parse().map_err(|_| "use an IP address, such as 127.0.0.1".into())
}

fn port(text: &str) -> Result<u16, String> {
    super::node::port(if text.is_empty() { "7300" } else { text })
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
        assert!(boolean("maybe").is_err() && address("localhost").is_err() && port("80").is_err());
    }
}
