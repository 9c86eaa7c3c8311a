//! Flags for missing blocks: their sources, and the time to wait for them.

use super::Failure;
use super::values::{boolean, duration};
use opp2p_core::node::SyncConfig;
use opp2p_core::sync::Rate;
use opp2p_core::sync::range::{CostRate, Limits};
use opp2p_node::host::ENDPOINT_TIMEOUT;
use opp2p_node::http::HttpConfig;
use std::time::Duration;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Missing blocks")]
pub(super) struct SyncArgs {
    /// Fetch missing blocks from peers, by number and in ranges, and serve them to peers.
    #[arg(
        long = "p2p.sync.req-resp",
        env = "OP_NODE_P2P_SYNC_REQ_RESP",
        default_value_t = true,
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        action = clap::ArgAction::Set,
        value_name = "BOOL",
        value_parser = boolean
    )]
    sync_req_resp: bool,
    /// Ask peers for missing blocks. If off, blocks are still served.
    #[arg(
        long = "syncmode.req-resp",
        env = "OP_NODE_SYNCMODE_REQ_RESP",
        default_value_t = true,
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        action = clap::ArgAction::Set,
        value_name = "BOOL",
        value_parser = boolean
    )]
    syncmode_req_resp: bool,
    /// Fetch missing blocks from static peers only.
    #[arg(
        long = "p2p.sync.onlyreqtostatic",
        env = "OP_NODE_P2P_SYNC_ONLYREQTOSTATIC",
        default_value_t = false,
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        action = clap::ArgAction::Set,
        value_name = "BOOL",
        value_parser = boolean
    )]
    sync_only_static: bool,
    /// JSON-RPC endpoints of execution clients, separated by commas, to ask for missing blocks when
    /// peers don't deliver them. They are not trusted: each block is verified by its hash.
    #[arg(
        long = "sync.rpc",
        env = "OPP2P_SYNC_RPC",
        value_name = "URL",
        value_delimiter = ',',
        hide_env_values = true
    )]
    sync_rpc: Vec<String>,
    /// Maximum number of requests per second to each of these endpoints.
    #[arg(
        long = "sync.rpc.rate", env = "OPP2P_SYNC_RPC_RATE", default_value_t = 10, value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=1000)
    )]
    sync_rpc_rate: u32,
    /// Maximum number of bytes per second of ranges of blocks that are sent to peers; 0 for any.
    #[arg(
        long = "sync.serve.bytes",
        env = "OPP2P_SYNC_SERVE_BYTES",
        default_value_t = 0,
        value_name = "N"
    )]
    sync_serve_bytes: u64,
    /// The same for each peer.
    #[arg(
        long = "sync.serve.peer-bytes",
        env = "OPP2P_SYNC_SERVE_PEER_BYTES",
        default_value_t = 0,
        value_name = "N"
    )]
    sync_serve_peer_bytes: u64,
    /// Maximum number of blocks per second that are read for ranges; 0 for any.
    #[arg(
        long = "sync.serve.reads",
        env = "OPP2P_SYNC_SERVE_READS",
        default_value_t = 0,
        value_name = "N"
    )]
    sync_serve_reads: u64,
    /// Fetch missing blocks only if the head is not older than this; 0 for any age.
    #[arg(
        long = "sync.max-age", env = "OPP2P_SYNC_MAX_AGE", default_value = "12h",
        value_name = "TIME",
        allow_negative_numbers = true, value_parser = duration
    )]
    sync_max_age: Duration,
    /// Skip missing blocks after they have held the head for this long without one of them being
    /// found; 0 for never. The time is three block intervals if no peer or endpoint could have
    /// them.
    #[arg(
        long = "sync.patience", env = "OPP2P_SYNC_PATIENCE", default_value = "10s",
        value_name = "TIME",
        allow_negative_numbers = true, value_parser = duration
    )]
    sync_patience: Duration,
}

/// Result of the flags.
#[derive(Debug)]
pub(super) struct SyncPlan {
    /// How blocks are fetched and served; `None` if they are not.
    pub(super) config: Option<SyncConfig>,
    pub(super) endpoints: Vec<HttpConfig>,
    /// Maximum time that a gap may hold the head.
    pub(super) patience: Option<Duration>,
}

impl SyncArgs {
    /// Returns the settings that the flags ask for.
    ///
    /// # Errors
    /// If an endpoint is invalid.
    pub(super) fn plan(&self) -> Result<SyncPlan, Failure> {
        let unless_zero = |time: Duration| (!time.is_zero()).then_some(time);
        let urls = self.sync_rpc.iter().map(|url| url.trim()).filter(|url| !url.is_empty());
        let endpoints: Vec<_> = urls.map(|url| HttpConfig::new(url, ENDPOINT_TIMEOUT)).collect();
        for endpoint in &endpoints {
            endpoint.check().map_err(|error| Failure::new(format!("--sync.rpc: {error}")))?;
        }
        let mut config = SyncConfig::default();
        config.fill.max_age = unless_zero(self.sync_max_age);
        config.fill.client.only_static = self.sync_only_static;
        config.fill.client.asks_peers = self.sync_req_resp && self.syncmode_req_resp;
        let rate = self.sync_rpc_rate;
        config.fill.client.endpoint_rate = Rate::per_second(rate, rate.saturating_mul(2));
        config.serves = self.sync_req_resp;
        config.ranges = self.sync_req_resp;
        config.serve_ranges.total =
            Limits { bytes: rate_of(self.sync_serve_bytes), reads: rate_of(self.sync_serve_reads) };
        config.serve_ranges.per_peer.bytes = rate_of(self.sync_serve_peer_bytes);
        Ok(SyncPlan {
            config: (self.sync_req_resp || !endpoints.is_empty()).then_some(config),
            endpoints,
            patience: unless_zero(self.sync_patience),
        })
    }
}

/// Returns the limit of a flag. Two seconds of it may be saved up.
const fn rate_of(per_second: u64) -> CostRate {
    match per_second {
        0 => CostRate::UNLIMITED,
        _ => CostRate { per_second, burst: per_second.saturating_mul(2) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(clap::Parser)]
    struct Args {
        #[command(flatten)]
        sync: SyncArgs,
    }

    fn plan(args: &[&str]) -> SyncPlan {
        let args = Args::parse_from([&["opp2p"], args].concat());
        args.sync.plan().expect("the flags are sound")
    }

    #[test]
    fn the_limits_of_serving_ranges_are_the_operators() {
        let config = plan(&[]).config.expect("it is on");
        assert!(config.ranges && config.serves);
        assert_eq!(config.serve_ranges.total, Limits::UNLIMITED);
        assert_eq!(config.serve_ranges.per_peer, Limits::UNLIMITED);
        let args = [
            "--sync.serve.bytes=1000000",
            "--sync.serve.peer-bytes=2000",
            "--sync.serve.reads=300",
        ];
        let limits = plan(&args).config.expect("it is on").serve_ranges;
        let rate = |per_second| CostRate { per_second, burst: 2 * per_second };
        assert_eq!(limits.total, Limits { bytes: rate(1_000_000), reads: rate(300) });
        let per_peer = Limits { bytes: rate(2000), reads: CostRate::UNLIMITED };
        assert_eq!(limits.per_peer, per_peer);
    }

    #[test]
    fn without_requests_there_are_no_ranges() {
        assert!(plan(&["--p2p.sync.req-resp=false"]).config.is_none());
        let args = ["--p2p.sync.req-resp=false", "--sync.rpc=http://127.0.0.1:1"];
        let config = plan(&args).config.expect("the endpoint is asked");
        assert!(!config.ranges && !config.serves);
        let config = plan(&["--syncmode.req-resp=false"]).config.expect("it serves");
        assert!(config.ranges && config.serves && !config.fill.client.asks_peers);
    }
}
