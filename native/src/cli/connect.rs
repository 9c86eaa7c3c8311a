//! Flags for connection setup.

use super::values::duration;
use opp2p_node::host::{Muxer, Security};
use std::fmt::Debug;
use std::str::FromStr;
use std::time::Duration;

#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Connections")]
pub(super) struct ConnectArgs {
    /// Security protocols of connections: noise and tls, separated by commas, in order of
    /// preference; or none, for debugging.
    #[arg(
        long = "p2p.security",
        env = "OP_NODE_P2P_SECURITY",
        default_value = "noise",
        value_name = "LIST"
    )]
    security: String,
    /// Stream multiplexers of connections: yamux and mplex, separated by commas, in order of
    /// preference.
    #[arg(long = "p2p.mux", env = "OP_NODE_P2P_MUX", default_value = "yamux", value_name = "LIST")]
    mux: String,
    /// Time limit for setting up a dialled connection.
    #[arg(
        long = "p2p.timeout.dial", env = "OP_NODE_P2P_TIMEOUT_DIAL", default_value = "10s",
        value_name = "TIME", value_parser = time
    )]
    pub(super) dial_timeout: Duration,
    /// Time limit for setting up an accepted connection.
    #[arg(
        long = "p2p.timeout.accept", env = "OP_NODE_P2P_TIMEOUT_ACCEPT", default_value = "10s",
        value_name = "TIME", value_parser = time
    )]
    pub(super) accept_timeout: Duration,
    /// Time limit for agreeing on a security protocol, and again on a multiplexer.
    #[arg(
        long = "p2p.timeout.negotiation", env = "OP_NODE_P2P_TIMEOUT_NEGOTIATION",
        default_value = "10s",
        value_name = "TIME", value_parser = time
    )]
    pub(super) negotiation_timeout: Duration,
}

impl ConnectArgs {
    /// Returns the security protocols in order of preference; an error is one sentence.
    pub(super) fn security(&self) -> Result<Vec<Security>, String> {
        let list = list("--p2p.security", &self.security)?;
        if list.len() > 1 && list.contains(&Security::Plaintext) {
            return Err(
                "--p2p.security has none beside others: give none alone, or leave it out".into()
            );
        }
        Ok(list)
    }

    /// Returns the multiplexers in order of preference; an error is one sentence.
    pub(super) fn mux(&self) -> Result<Vec<Muxer>, String> {
        list("--p2p.mux", &self.mux)
    }
}

/// Returns the items of a list in order, without duplicates.
fn list<T: FromStr<Err = String> + PartialEq>(flag: &str, text: &str) -> Result<Vec<T>, String> {
    let mut items = Vec::new();
    for text in text.split(',').filter(|text| !text.trim().is_empty()) {
        let item =
            text.parse().map_err(|what: String| format!("{flag} has {:?}: {what}", text.trim()))?;
        if !items.contains(&item) {
            items.push(item);
        }
    }
    if items.is_empty() {
        return Err(format!("{flag} is empty: name at least one, or leave the flag out"));
    }
    Ok(items)
}

fn time(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        time if time.is_zero() => Err("give it some time, such as 10s".into()),
        time => Ok(time),
    }
}
