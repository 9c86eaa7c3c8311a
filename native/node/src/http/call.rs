//! A JSON-RPC 2.0 call.

use super::{HttpClient, HttpError};
use opp2p_core::json_rpc::{Answer, Refusal};
use serde_json::{Value, json};

/// Maximum length of a server's message in an error, in characters.
const MAX_MESSAGE: usize = 300;

/// Reasons why a call has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The request failed.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The server answered with an error.
    #[error("{message} (code {code})")]
    Refused {
        /// JSON-RPC error code.
        code: i64,
        /// Error message, shortened, without control characters.
        message: String,
        /// Further data, or null.
        data: Value,
    },
    /// The answer is not JSON-RPC.
    #[error("the answer is not JSON-RPC")]
    InvalidResponse,
}

impl HttpClient {
    /// Calls a method with these parameters. An answer longer than `limit` bytes is an error.
    ///
    /// # Errors
    /// If the call has no result.
    pub async fn call(
        &self,
        method: &str,
        params: Value,
        limit: usize,
    ) -> Result<Value, CallError> {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let answer = self.post(body.to_string().into(), limit).await?;
        let answer = Answer::read(&answer).ok_or(CallError::InvalidResponse)?;
        match answer.error {
            None => Ok(answer.result),
            Some(Refusal { code, message, data }) => {
                let spaced = message.chars().map(|c| if c.is_control() { ' ' } else { c });
                let message = spaced.take(MAX_MESSAGE).collect();
                Err(CallError::Refused { code, message, data })
            }
        }
    }
}
