//! Flags for missing blocks: their sources, and the time to wait for them.

use super::Failure;
use super::values::{boolean, duration, reach};
use opp2p_core::chain::ChainConfig;
use opp2p_core::node::SyncConfig;
use opp2p_core::sync::range::{CostRate, Limits};
use opp2p_core::sync::{HistoryConfig, Rate, Reach};
use opp2p_node::clock::since_epoch;
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
    /// Fetch history below the first head, as far as peers serve it: down to the block with this
    /// NUMBER, or, for an AGE such as 12h, 30m or 2d, to the first block that is this much older
    /// than the head.
    #[arg(
        long = "sync.from", env = "OPP2P_SYNC_FROM", value_name = "NUMBER|AGE",
        allow_negative_numbers = true, value_parser = reach
    )]
    sync_from: Option<Reach>,
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
    /// Returns the settings that the flags ask for, with a store that keeps blocks for this many
    /// hours. Warns if it does not keep all of the history that they ask for. An offline node has
    /// no peers.
    ///
    /// # Errors
    /// If an endpoint is invalid, or the history can't be fetched or kept.
    pub(super) fn plan(
        &self,
        chain: &ChainConfig,
        hours: u64,
        is_offline: bool,
    ) -> Result<SyncPlan, Failure> {
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
        let now = since_epoch();
        if is_offline && self.sync_from.is_some() && endpoints.is_empty() {
            return Err(Failure::new(
                "--sync.from fetches history from peers, and --p2p.disable leaves the node without \
                 any: leave out one, or give --sync.rpc",
            ));
        }
        config.fill.history = self.history(!endpoints.is_empty(), hours)?;
        if let Some(Reach::Number(number)) = self.sync_from
            && let Some(highest) = chain.highest_number_at(now)
            && number > highest
        {
            return Err(Failure::new(format!(
                "--sync.from asks for history down to block {number}, and the chain can't have \
                 more than {highest} blocks yet: give a lower number"
            )));
        }
        if let Some(caution) = self.caution(chain, hours, now) {
            tracing::warn!("{caution}");
        }
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

    fn history(&self, has_endpoints: bool, hours: u64) -> Result<Option<HistoryConfig>, Failure> {
        let Some(reach) = self.sync_from else { return Ok(None) };
        let asks_peers = self.sync_req_resp && self.syncmode_req_resp;
        if !asks_peers && !has_endpoints {
            return Err(Failure::new(
                "--sync.from has no source of blocks: let peers be asked (--p2p.sync.req-resp, \
                 --syncmode.req-resp), give --sync.rpc, or leave it out",
            ));
        }
        if let Reach::Age(age) = reach
            && age > kept(hours)
        {
            return Err(Failure::new(format!(
                "--sync.from asks for {} h of history, and --store.hours keeps {hours}: raise \
                 --store.hours, or ask for less",
                age.as_secs().div_ceil(3600)
            )));
        }
        Ok(Some(HistoryConfig::new(reach)))
    }

    /// Returns a warning if the block that the history is to reach is older than the store keeps.
    fn caution(&self, chain: &ChainConfig, hours: u64, now: Duration) -> Option<String> {
        let Some(Reach::Number(number)) = self.sync_from else { return None };
        let made = chain.timestamp_of(number.max(chain.genesis.number))?;
        let age = now.saturating_sub(Duration::from_secs(made));
        (age > kept(hours)).then(|| {
            format!(
                "--sync.from asks for block {number}, which is about {} h old, and --store.hours \
                 keeps {hours}: history ends there; raise --store.hours to have all of it",
                age.as_secs() / 3600
            )
        })
    }
}

/// Returns the age up to which a store keeps blocks.
const fn kept(hours: u64) -> Duration {
    Duration::from_secs(hours.saturating_mul(3600))
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
    use opp2p_core::chain::networks;

    #[derive(clap::Parser)]
    struct Args {
        #[command(flatten)]
        sync: SyncArgs,
    }

    fn parsed(args: &[&str]) -> SyncArgs {
        Args::parse_from([&["opp2p"], args].concat()).sync
    }

    /// Returns the plan with a store that keeps blocks for two days.
    fn planned(args: &[&str]) -> Result<SyncPlan, Failure> {
        parsed(args).plan(&chain(), 48, false)
    }

    fn plan(args: &[&str]) -> SyncPlan {
        planned(args).expect("the flags are sound")
    }

    fn chain() -> ChainConfig {
        networks::by_chain_id(10).expect("OP Mainnet is built in").config()
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

    #[test]
    fn history_goes_back_to_a_number_or_an_age() {
        let history = |args: &[&str]| plan(args).config.and_then(|config| config.fill.history);
        assert_eq!(history(&[]), None);
        let number = HistoryConfig::new(Reach::Number(120_000_000));
        assert_eq!(history(&["--sync.from=120000000"]), Some(number));
        let age = HistoryConfig::new(Reach::Age(Duration::from_secs(2 * 86_400)));
        assert_eq!(history(&["--sync.from=2d"]), Some(age));
    }

    #[test]
    fn history_that_cannot_be_fetched_or_kept_is_refused_by_name() {
        let refused = |args: &[&str], parts: &[&str]| {
            let Failure(why) = planned(args).expect_err("refused");
            assert!(parts.iter().all(|part| why.contains(part)), "{why}");
        };
        refused(&["--sync.from=49h"], &["--sync.from", "49 h", "--store.hours keeps 48"]);
        refused(&["--sync.from=99999999999"], &["--sync.from", "can't have more than", "lower"]);
        for off in ["--p2p.sync.req-resp=false", "--syncmode.req-resp=false"] {
            refused(&["--sync.from=5", off], &["--sync.from", "--sync.rpc"]);
            plan(&["--sync.from=5", off, "--sync.rpc=http://127.0.0.1:1"]);
        }
    }

    #[test]
    fn an_offline_node_has_history_from_endpoints_only() {
        let offline = |args: &[&str]| parsed(args).plan(&chain(), 48, true);
        let Failure(why) = offline(&["--sync.from=5"]).expect_err("refused");
        assert!(why.contains("--sync.from") && why.contains("--p2p.disable"), "{why}");
        offline(&[]).expect("no history is asked for");
        offline(&["--sync.from=5", "--sync.rpc=http://127.0.0.1:1"]).expect("an endpoint is asked");
    }

    #[test]
    fn a_block_that_the_store_does_not_keep_causes_a_warning() {
        let chain = chain();
        let first = chain.genesis.number;
        let caution = |number: u64, hours: u64| {
            let age = Duration::from_secs(hours * 3600);
            let now = Duration::from_secs(chain.genesis.time) + age;
            parsed(&[&format!("--sync.from={number}")]).caution(&chain, 48, now)
        };
        assert_eq!((caution(first, 48), caution(first + 1800, 49)), (None, None));
        for number in [0, first] {
            let why = caution(number, 50).expect("a warning");
            assert!(why.contains("about 50 h") && why.contains("--store.hours keeps 48"), "{why}");
        }
    }
}
