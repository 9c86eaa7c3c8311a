//! Flags about peers: scores, bans, how many there are, and how they are reached.

use super::node::duration;
use opp2p_core::peers::{BanPolicy, DoorLimits, LimitsConfig, PeersConfig, Scoring, TideConfig};
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub(super) struct PeerArgs {
    /// How peers are scored: light, or none for not at all.
    #[arg(
        long = "p2p.scoring",
        env = "OP_NODE_P2P_PEER_SCORING",
        default_value = "light",
        value_name = "LEVEL"
    )]
    scoring: Scoring,
    /// Ban peers with a bad score.
    #[arg(
        long = "p2p.ban.peers", env = "OP_NODE_P2P_PEER_BANNING", default_value_t = true,
        default_missing_value = "true", num_args = 0..=1, require_equals = true,
        action = clap::ArgAction::Set, value_name = "BOOL"
    )]
    ban_peers: bool,
    /// Score below which a peer is banned.
    #[arg(
        long = "p2p.ban.threshold", env = "OP_NODE_P2P_PEER_BANNING_THRESHOLD", default_value_t = -100.0,
        allow_negative_numbers = true, value_name = "SCORE", value_parser = score
    )]
    ban_threshold: f64,
    /// How long a ban lasts.
    #[arg(
        long = "p2p.ban.duration", env = "OP_NODE_P2P_PEER_BANNING_DURATION", default_value = "1h",
        value_name = "TIME", value_parser = duration
    )]
    ban_duration: Duration,
    /// Fewest peers: with less, more are looked for.
    #[arg(
        long = "p2p.peers.lo", env = "OP_NODE_P2P_PEERS_LO", default_value_t = 20, value_name = "N",
        value_parser = at_least_one
    )]
    lo: usize,
    /// Most peers: with more, those of the least use are disconnected.
    #[arg(
        long = "p2p.peers.hi", env = "OP_NODE_P2P_PEERS_HI", default_value_t = 30, value_name = "N",
        value_parser = at_least_one
    )]
    hi: usize,
    /// How long a new peer is left in peace.
    #[arg(
        long = "p2p.peers.grace", env = "OP_NODE_P2P_PEERS_GRACE", default_value = "30s",
        value_name = "TIME", value_parser = duration
    )]
    grace: Duration,
    /// Most connections from outside at once; one more is refused. Static peers need no place.
    #[arg(
        long = "p2p.peers.inbound", env = "OPP2P_P2P_PEERS_INBOUND", default_value_t = 64,
        value_name = "N", value_parser = at_least_one
    )]
    inbound: usize,
    /// Most connections from outside whose handshake is not done.
    #[arg(
        long = "p2p.peers.pending", env = "OPP2P_P2P_PEERS_PENDING", default_value_t = 64,
        value_name = "N", value_parser = at_least_one
    )]
    pending: usize,
    /// Most connections from one IP address, or from one /64 of IPv6.
    #[arg(
        long = "p2p.peers.per-ip", env = "OPP2P_P2P_PEERS_PER_IP", default_value_t = 10,
        value_name = "N", value_parser = at_least_one
    )]
    per_ip: usize,
    /// Ask the router to let connections in (UPnP), and tell peers whether they can be reached (AutoNAT).
    #[arg(
        long = "p2p.nat", env = "OP_NODE_P2P_NAT", default_value_t = false,
        default_missing_value = "true", num_args = 0..=1, require_equals = true,
        action = clap::ArgAction::Set, value_name = "BOOL"
    )]
    pub(super) nat: bool,
    /// Ping every peer each three minutes.
    #[arg(
        long = "p2p.ping", env = "OP_NODE_P2P_PING", default_value_t = true,
        default_missing_value = "true", num_args = 0..=1, require_equals = true,
        action = clap::ArgAction::Set, value_name = "BOOL"
    )]
    pub(super) ping: bool,
    /// Time in which a connection must be set up.
    #[arg(
        long = "p2p.timeout.dial", env = "OP_NODE_P2P_TIMEOUT_DIAL", default_value = "10s",
        value_name = "TIME", value_parser = duration
    )]
    pub(super) dial_timeout: Duration,
}

impl PeerArgs {
    /// The core's configuration, with these places for browsers; an error is one sentence.
    pub(super) fn config(&self, browser: DoorLimits) -> Result<PeersConfig, String> {
        if self.lo > self.hi {
            return Err(format!(
                "--p2p.peers.lo is {} and --p2p.peers.hi is {}: the first must not be larger than the second",
                self.lo, self.hi
            ));
        }
        if self.dial_timeout.is_zero() {
            return Err("--p2p.timeout.dial is 0: give a connection some time, such as 10s".into());
        }
        let tcp = DoorLimits { half_open: self.pending, inbound: self.inbound, per_address: self.per_ip };
        Ok(PeersConfig {
            scoring: self.scoring,
            bans: BanPolicy {
                is_enabled: self.ban_peers,
                threshold: self.ban_threshold,
                duration: self.ban_duration,
            },
            tide: TideConfig { low: self.lo, high: self.hi, grace: self.grace, ..TideConfig::default() },
            limits: LimitsConfig { tcp, browser, ..LimitsConfig::default() },
            ..PeersConfig::default()
        })
    }
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
        Err("whoever did nothing has a score of 0: use 0 or less".into())
    }
}
