//! Flags for missing blocks: their sources, and the time to wait for them.

use super::Failure;
use super::values::{boolean, duration};
use opp2p_core::node::SyncConfig;
use opp2p_core::sync::Rate;
use opp2p_node::host::ENDPOINT_TIMEOUT;
use opp2p_node::http::HttpConfig;
use std::time::Duration;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Missing blocks")]
pub(super) struct SyncArgs {
    /// Fetch missing blocks from peers by number, and serve them to peers.
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
        Ok(SyncPlan {
            config: (self.sync_req_resp || !endpoints.is_empty()).then_some(config),
            endpoints,
            patience: unless_zero(self.sync_patience),
        })
    }
}
