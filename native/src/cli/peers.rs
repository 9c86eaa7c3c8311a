//! Flags for peers: scores, bans, limits, and reachability.

use super::values::{boolean, duration};
use opp2p_core::peers::{
    BanPolicy, ConnectionManagerConfig, DoorLimits, LimitsConfig, PeersConfig, Scoring,
};
use std::str::FromStr;
use std::time::Duration;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Peers")]
pub(super) struct PeerArgs {
    /// Peer scoring: light, or none.
    #[arg(
        long = "p2p.scoring",
        env = "OP_NODE_P2P_PEER_SCORING",
        default_value = "light",
        value_name = "LEVEL",
        value_parser = level
    )]
    scoring: Level,
    /// As --p2p.scoring, which takes precedence unless it is empty. The reference removed it.
    #[arg(long = "p2p.scoring.peers", value_name = "LEVEL", value_parser = level, hide = true)]
    scoring_peers: Option<Level>,
    /// As --p2p.scoring.peers, which takes precedence.
    #[arg(long = "p2p.scoring.topics", value_name = "LEVEL", value_parser = level, hide = true)]
    scoring_topics: Option<Level>,
    /// No effect any more, as in the reference.
    #[arg(long = "p2p.score.bands", allow_hyphen_values = true, value_name = "BANDS", hide = true)]
    score_bands: Option<String>,
    /// Ban peers with a bad score.
    #[arg(
        long = "p2p.ban.peers", env = "OP_NODE_P2P_PEER_BANNING", default_value_t = true,
        default_missing_value = "true", num_args = 0..=1, require_equals = true,
        action = clap::ArgAction::Set, value_name = "BOOL", value_parser = boolean
    )]
    ban_peers: bool,
    /// Score below which a peer is banned.
    #[arg(
        long = "p2p.ban.threshold", env = "OP_NODE_P2P_PEER_BANNING_THRESHOLD",
        default_value_t = -100.0,
        allow_negative_numbers = true, value_name = "SCORE", value_parser = score
    )]
    ban_threshold: f64,
    /// Duration of a ban.
    #[arg(
        long = "p2p.ban.duration", env = "OP_NODE_P2P_PEER_BANNING_DURATION", default_value = "1h",
        value_name = "TIME", value_parser = duration
    )]
    ban_duration: Duration,
    /// Minimum number of peers; below it, the node looks for more.
    #[arg(
        long = "p2p.peers.lo", env = "OP_NODE_P2P_PEERS_LO", default_value_t = 20, value_name = "N",
        value_parser = at_least_one
    )]
    lo: usize,
    /// Maximum number of peers; above it, the least useful ones are disconnected.
    #[arg(
        long = "p2p.peers.hi", env = "OP_NODE_P2P_PEERS_HI", default_value_t = 30, value_name = "N",
        value_parser = at_least_one
    )]
    hi: usize,
    /// Time for which a new peer is not disconnected as surplus.
    #[arg(
        long = "p2p.peers.grace", env = "OP_NODE_P2P_PEERS_GRACE", default_value = "30s",
        value_name = "TIME", value_parser = duration
    )]
    grace: Duration,
    /// Maximum number of inbound connections; further ones are refused. Static peers are exempt.
    #[arg(
        long = "p2p.peers.inbound", env = "OPP2P_P2P_PEERS_INBOUND", default_value_t = 64,
        value_name = "N", value_parser = at_least_one
    )]
    inbound: usize,
    /// Maximum number of inbound connections before the end of their handshake.
    #[arg(
        long = "p2p.peers.pending", env = "OPP2P_P2P_PEERS_PENDING", default_value_t = 64,
        value_name = "N", value_parser = at_least_one
    )]
    pending: usize,
    /// Maximum number of connections from one IP address, or from one /64 of IPv6.
    #[arg(
        long = "p2p.peers.per-ip", env = "OPP2P_P2P_PEERS_PER_IP", default_value_t = 10,
        value_name = "N", value_parser = at_least_one
    )]
    per_ip: usize,
    /// Ask the router to let connections in (UPnP), and tell peers whether they can be reached
    /// (AutoNAT).
    #[arg(
        long = "p2p.nat", env = "OP_NODE_P2P_NAT", default_value_t = false,
        default_missing_value = "true", num_args = 0..=1, require_equals = true,
        action = clap::ArgAction::Set, value_name = "BOOL", value_parser = boolean
    )]
    pub(super) nat: bool,
    /// Ping every peer every three minutes.
    #[arg(
        long = "p2p.ping", env = "OP_NODE_P2P_PING", default_value_t = true,
        default_missing_value = "true", num_args = 0..=1, require_equals = true,
        action = clap::ArgAction::Set, value_name = "BOOL", value_parser = boolean
    )]
    pub(super) ping: bool,
}

impl PeerArgs {
    /// Returns the core's configuration with these limits for browsers; an error is one sentence.
    ///
    /// Without discovery, remembered peers are not dialled.
    pub(super) fn config(
        &self,
        browser: DoorLimits,
        discovers: bool,
    ) -> Result<PeersConfig, String> {
        let connections = ConnectionManagerConfig {
            low: self.lo,
            high: self.hi,
            grace: self.grace,
            ..ConnectionManagerConfig::default()
        };
        if connections.check().is_err() {
            return Err(format!(
                "--p2p.peers.lo is {} and --p2p.peers.hi is {}: the first must not be larger than \
                 the second",
                self.lo, self.hi
            ));
        }
        for (flag, is_given) in [
            ("p2p.scoring.peers", self.scoring_peers.is_some()),
            ("p2p.scoring.topics", self.scoring_topics.is_some()),
            ("p2p.score.bands", self.score_bands.is_some()),
        ] {
            if is_given {
                tracing::warn!(flag, "deprecated flag, which op-node removed: use --p2p.scoring");
            }
        }
        let levels = [Some(self.scoring), self.scoring_peers, self.scoring_topics];
        let Some(scoring) = levels.into_iter().flatten().find_map(|Level(scoring)| scoring) else {
            return Err("--p2p.scoring is empty: use light or none, or leave the flag out".into());
        };
        let tcp =
            DoorLimits { half_open: self.pending, inbound: self.inbound, per_address: self.per_ip };
        Ok(PeersConfig {
            scoring,
            bans: BanPolicy {
                is_enabled: self.ban_peers,
                threshold: self.ban_threshold,
                duration: self.ban_duration,
            },
            connections,
            limits: LimitsConfig { tcp, browser, ..LimitsConfig::default() },
            dials_remembered: discovers,
            ..PeersConfig::default()
        })
    }
}

/// A scoring level, or `None` if the value is empty.
#[derive(Clone, Copy, Debug)]
struct Level(Option<Scoring>);

fn level(text: &str) -> Result<Level, String> {
    if text.is_empty() {
        return Ok(Level(None));
    }
    text.parse()
        .map(|scoring| Level(Some(scoring)))
        .map_err(|error: <Scoring as FromStr>::Err| format!("{error}; use light or none"))
}

pub(super) fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("use a number from 1 on".into()),
        Ok(number) => Ok(number),
    }
}

fn score(text: &str) -> Result<f64, String> {
    let score: f64 = text.parse().map_err(|_| "a score is a number such as -100")?;
    if score.is_finite() && score <= 0.0 {
        Ok(score)
    } else {
        Err("a peer that did nothing has a score of 0: use 0 or less".into())
    }
}
