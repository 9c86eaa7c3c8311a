//! Commands that query or control a running node over its RPC: status, peers, and changes to a
//! peer.

pub(super) mod peers;
pub(super) mod status;
pub(super) mod watch;
#[cfg(feature = "tui")]
mod watch_draw;
mod watch_view;

use super::{Failure, path};
use crate::rpc::NOT_ALLOWED;
use opp2p_node::http::{CallError, HttpClient, HttpConfig, HttpError};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Timeout of a request that only reads: a node answers in milliseconds.
pub(super) const READ: Duration = Duration::from_secs(5);
/// Timeout of a request that changes something: longer than a node takes to connect to a peer.
pub(super) const CHANGE: Duration = Duration::from_secs(40);
/// Maximum size of a token file in bytes.
const MAX_TOKEN: u64 = 4096;
/// Maximum size of an answer in bytes: a node's whole peer book.
const MAX_ANSWER: usize = 32 << 20;

/// Selection of the node.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct NodeArgs {
    /// The node's RPC.
    #[arg(
        long = "rpc",
        env = "OPP2P_RPC",
        default_value = "http://127.0.0.1:9545",
        value_name = "URL",
        hide_env_values = true,
        global = true
    )]
    url: String,
    /// File with the token for methods that change something.
    #[arg(
        id = "tool_token",
        long = "rpc.token.path",
        env = "OPP2P_RPC_TOKEN_PATH",
        value_name = "FILE",
        value_parser = path(),
        global = true
    )]
    token: Option<PathBuf>,
}

/// Client of a node.
#[derive(Debug)]
pub(super) struct Node {
    http: HttpClient,
}

impl NodeArgs {
    /// Creates a client of the node with this timeout for each request.
    pub(super) fn node(&self, timeout: Duration) -> Result<Node, Failure> {
        check_port(&self.url)?;
        let mut config = HttpConfig::new(&self.url, timeout);
        if let Some(file) = self.token.as_ref().filter(|file| !file.as_os_str().is_empty()) {
            config.headers.push(("Authorization".into(), format!("Bearer {}", token(file)?)));
        }
        let http = HttpClient::new(&config)
            .map_err(|error| Failure::new(format!("--rpc can't be used: {error}")))?;
        Ok(Node { http })
    }
}

/// Refuses a URL whose port is not a port: the parser would take the usual one in its place.
fn check_port(url: &str) -> Result<(), Failure> {
    let place = url.split_once("://").map_or(url, |(_, rest)| rest);
    let place = place.split(['/', '?', '#']).next().unwrap_or_default();
    let place = place.rsplit('@').next().unwrap_or_default();
    let port = place.rsplit_once(']').map_or(place, |(_, rest)| rest);
    match port.rsplit_once(':') {
        Some((_, port)) if port.parse::<u16>().is_err() => Err(Failure::new(format!(
            "--rpc can't be used: {port:?} is not a port; write http://HOST:PORT with a number up \
             to 65535"
        ))),
        _ => Ok(()),
    }
}

/// Reads the word in a token file.
fn token(file: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read =
        std::fs::File::open(file).and_then(|file| file.take(MAX_TOKEN).read_to_string(&mut text));
    let word = text.trim();
    let why = match read {
        Err(error) => error.to_string(),
        Ok(_) if word.is_empty() || !word.bytes().all(|byte| byte.is_ascii_graphic()) => {
            "no token in it".into()
        }
        Ok(_) => return Ok(word.to_owned()),
    };
    let file = file.display();
    Err(Failure::new(format!(
        "can't use the token file {file} ({why}): give the node's own with --rpc.token.path"
    )))
}

impl Node {
    /// Calls a method and returns its result.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        method: &str,
        params: Value,
    ) -> Result<T, Failure> {
        let strange = || {
            Failure::new(format!(
                "the server that answers {method} is not an opp2p node: name a node's RPC with \
                 --rpc URL"
            ))
        };
        let answer =
            self.http.call(method, params, MAX_ANSWER).await.map_err(|error| match error {
                CallError::Http(HttpError::Unreached { host, why }) => Failure::new(format!(
                    "no node answers at {host} ({why}): start one, or name its RPC with --rpc URL"
                )),
                CallError::Http(HttpError::Timeout { host, after }) => Failure::new(format!(
                    "the node at {host} did not answer within {} s",
                    after.as_secs_f32()
                )),
                CallError::Http(other) => Failure::new(format!("can't ask the node: {other}")),
                CallError::Refused { message, .. } if message == NOT_ALLOWED => {
                    Failure::new(format!(
                        "the node refuses {method} without its token: give the token's file with \
                         --rpc.token.path, or start the node with --rpc.enable-admin"
                    ))
                }
                CallError::Refused { message, .. } => {
                    Failure::new(format!("the node refuses {method}: {message}"))
                }
                CallError::InvalidResponse => strange(),
            })?;
        serde_json::from_value(answer).map_err(|_| strange())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_port_is_refused_rather_than_ignored() {
        for url in ["http://127.0.0.1:99999", "http://u:p@h:x/y", "http://[::1]:65536", "h:"] {
            let Err(Failure(why)) = check_port(url) else { panic!("{url} passes") };
            assert!(why.contains("not a port") && !why.contains("u:p"), "{why}");
        }
        for url in ["http://127.0.0.1:9545", "http://host", "http://[::1]", "ws://u:p@h:1/a:b"] {
            assert!(check_port(url).is_ok(), "{url}");
        }
    }
}
