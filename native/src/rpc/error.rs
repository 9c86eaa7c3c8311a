//! Errors of calls, with the codes that this server uses, and of the start of a server.

use opp2p_node::http::HttpError;
use serde::Serialize;
use serde_json::Value;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// JSON-RPC: the text is not JSON.
pub(super) const PARSE: i32 = -32700;
/// JSON-RPC: the JSON is not a call.
pub(super) const INVALID_REQUEST: i32 = -32600;
/// JSON-RPC: the method does not exist.
pub(super) const NOT_FOUND: i32 = -32601;
/// JSON-RPC: the arguments are wrong.
pub(super) const INVALID_PARAMS: i32 = -32602;
/// A contract reverted the call, as in geth.
pub(super) const REVERTED: i32 = 3;
/// The method can't do what it is asked, for example because the caller has no permission.
pub(super) const FAILED: i32 = -32000;
/// A subscription over HTTP, as in geth.
pub(super) const NEEDS_SOCKET: i32 = -32001;
/// The call took too long, as in geth.
pub(super) const TIMEOUT: i32 = -32002;
/// Too many calls at once: JSON-RPC's code for an exceeded limit.
pub(super) const BUSY: i32 = -32005;
/// No endpoint gave a provable answer. This is JSON-RPC's code for an internal error.
pub(super) const UNPROVED: i32 = -32603;
/// The connection has too many subscriptions.
pub(super) const TOO_MANY_SUBSCRIPTIONS: i32 = -32006;
/// The request is too long.
pub(super) const REQUEST_TOO_LONG: i32 = -32007;
/// The answer is too long.
pub(super) const ANSWER_TOO_LONG: i32 = -32008;
/// The batch has too many calls.
pub(super) const BATCH_TOO_LONG: i32 = -32010;
/// The batch's answers are too long in all.
pub(super) const BATCH_ANSWER_TOO_LONG: i32 = -32011;

/// Error of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct CallError {
    code: i32,
    message: String,
    #[serde(skip_serializing_if = "Value::is_null")]
    data: Value,
}

impl CallError {
    /// Creates an error with this code. The message is one sentence.
    pub(crate) fn new(code: i32, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: Value::Null }
    }

    /// Adds further data, such as the bytes that a contract gives as the reason of a revert.
    pub(super) fn with_data(self, data: Value) -> Self {
        Self { data, ..self }
    }

    /// Returns the code.
    #[cfg(test)]
    pub(crate) const fn code(&self) -> i32 {
        self.code
    }

    /// Returns the message.
    #[cfg(any(test, feature = "fuzz"))]
    pub(crate) fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (code {})", self.message, self.code)
    }
}

/// Returns geth's error for an unknown method: some callers match its text.
pub(super) fn not_found(method: &str) -> CallError {
    let method: String = method.chars().take(64).collect();
    CallError::new(NOT_FOUND, format!("the method {method} does not exist/is not available"))
}

/// Reasons why the RPC can't run. Each message is one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum RpcError {
    /// The port is taken.
    #[error(
        "port {} of {} is in use: end the process that listens there, or choose another port",
        .0.port(), .0.ip()
    )]
    InUse(SocketAddr),
    /// The address can't be listened on.
    #[error("can't serve the RPC on {address}: {source}; choose another address or port")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// The token's file can't be used.
    #[error("the token file {} {why}", path.display())]
    Token {
        /// The token file.
        path: PathBuf,
        /// The defect, and its remedy.
        why: String,
    },
    /// The HTTP client of an endpoint for proved reads can't be set up.
    #[error("the endpoint for proved reads can't be used: {0}")]
    Proofs(HttpError),
    /// The L1 client can't be set up.
    #[error("L1 can't be read: {0}")]
    L1(HttpError),
}
