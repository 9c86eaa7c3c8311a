//! Flags about how connections are set up.

use super::values::duration;
use crate::host::{Muxer, Security};
use std::fmt::Debug;
use std::str::FromStr;
use std::time::Duration;

#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Connections")]
pub(super) struct ConnectArgs {
    /// How connections may be secured: noise and tls, separated by commas, the preferred one first; or none, for
    /// debugging.
    #[arg(long = "p2p.security", env = "OP_NODE_P2P_SECURITY", default_value = "noise", value_name = "LIST")]
    security: String,
    /// How connections may carry their streams: yamux and mplex, separated by commas, the preferred one first.
    #[arg(long = "p2p.mux", env = "OP_NODE_P2P_MUX", default_value = "yamux", value_name = "LIST")]
    mux: String,
    /// Time in which a connection that is dialled must be set up.
    #[arg(
        long = "p2p.timeout.dial", env = "OP_NODE_P2P_TIMEOUT_DIAL", default_value = "10s",
        value_name = "TIME", value_parser = time
    )]
    pub(super) dial_timeout: Duration,
    /// Time in which a connection that is accepted must be set up.
    #[arg(
        long = "p2p.timeout.accept", env = "OP_NODE_P2P_TIMEOUT_ACCEPT", default_value = "10s",
        value_name = "TIME", value_parser = time
    )]
    pub(super) accept_timeout: Duration,
    /// Time in which two sides must agree on how it is secured, and again on how it carries streams.
    #[arg(
        long = "p2p.timeout.negotiation", env = "OP_NODE_P2P_TIMEOUT_NEGOTIATION", default_value = "10s",
        value_name = "TIME", value_parser = time
    )]
    pub(super) negotiation_timeout: Duration,
}

impl ConnectArgs {
    /// How connections may be secured; an error is one sentence.
    pub(super) fn security(&self) -> Result<Vec<Security>, String> {
        let list = list("--p2p.security", &self.security)?;
        if list.len() > 1 && list.contains(&Security::Plaintext) {
            return Err("--p2p.security has none beside others: give none alone, or leave it out".into());
        }
        Ok(list)
    }

    /// How connections may carry their streams; an error is one sentence.
    pub(super) fn mux(&self) -> Result<Vec<Muxer>, String> {
        list("--p2p.mux", &self.mux)
    }
}

/// The items of a list, each once, in its order.
fn list<T: FromStr<Err = String> + PartialEq>(flag: &str, text: &str) -> Result<Vec<T>, String> {
    let mut items = Vec::new();
    for text in text.split(',').filter(|text| !text.trim().is_empty()) {
        let item = text.parse().map_err(|what: String| format!("{flag} has {:?}: {what}", text.trim()))?;
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
