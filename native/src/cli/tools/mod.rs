//! Commands that ask a running node over its RPC: how it is, who its peers are, and that something be done about one.

pub(super) mod peers;
pub(super) mod status;
pub(super) mod watch;
mod watch_draw;

use super::{Failure, path};
use crate::http::{CallError, HttpClient, HttpConfig, HttpError};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longer than a node takes to connect to a peer.
const TIMEOUT: Duration = Duration::from_secs(40);
/// Bytes of a token's file.
const MAX_TOKEN: u64 = 4096;
/// Bytes of an answer: a node's whole peer book.
const MAX_ANSWER: usize = 32 << 20;

/// Which node is asked.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct NodeArgs {
    /// The node's RPC.
    #[arg(
        long = "rpc",
        env = "OPP2P_RPC",
        default_value = "http://127.0.0.1:9545",
        value_name = "URL",
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

/// A node that is asked.
#[derive(Debug)]
pub(super) struct Node {
    http: HttpClient,
}

impl NodeArgs {
    /// Ready to ask.
    pub(super) fn node(&self) -> Result<Node, Failure> {
        let mut config = HttpConfig::new(&self.url, TIMEOUT);
        if let Some(file) = self.token.as_ref().filter(|file| !file.as_os_str().is_empty()) {
            config.headers.push(("Authorization".into(), format!("Bearer {}", token(file)?)));
        }
        let http = HttpClient::new(&config)
            .map_err(|error| Failure::new(format!("--rpc can't be used: {error}")))?;
        Ok(Node { http })
    }
}

/// The word in a token's file.
fn token(file: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = std::fs::File::open(file).and_then(|file| file.take(MAX_TOKEN).read_to_string(&mut text));
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
    /// The answer to a method.
    pub(super) async fn call<T: DeserializeOwned>(&self, method: &str, params: Value) -> Result<T, Failure> {
        let strange = || {
            Failure::new(format!(
                "what answers {method} is no node of this program: name one's RPC with --rpc URL"
            ))
        };
        let answer = self.http.call(method, params, MAX_ANSWER).await.map_err(|error| match error {
            CallError::Http(HttpError::Unreached { host, why }) => Failure::new(format!(
                "no node answers at {host} ({why}): start one, or name its RPC with --rpc URL"
            )),
            CallError::Http(other) => Failure::new(format!("the node is not asked: {other}")),
            CallError::Refused { message, .. } => {
                Failure::new(format!("the node refuses {method}: {message}"))
            }
            CallError::Nonsense => strange(),
        })?;
        serde_json::from_value(answer).map_err(|_| strange())
    }
}
