//! One call of JSON-RPC 2.0.

use super::{HttpClient, HttpError};
use serde::Deserialize;
use serde_json::{Value, json};

/// Characters of a server's own words that are repeated.
const MAX_MESSAGE: usize = 300;

/// Why a call has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// There is no answer.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The server refuses.
    #[error("{message} (code {code})")]
    Refused {
        /// Its code.
        code: i64,
        /// Its words, shortened, without control characters.
        message: String,
    },
    /// The answer is none of JSON-RPC.
    #[error("the answer is none of JSON-RPC")]
    Nonsense,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    result: Value,
    #[serde(default)]
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    code: i64,
    #[serde(default)]
    message: String,
}

impl HttpClient {
    /// Calls a method with these parameters. The answer has at most `limit` bytes.
    ///
    /// # Errors
    /// If there is no result.
    pub async fn call(&self, method: &str, params: Value, limit: usize) -> Result<Value, CallError> {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let answer = self.post(body.to_string().into(), limit).await?;
        let answer: Answer = serde_json::from_slice(&answer).map_err(|_| CallError::Nonsense)?;
        match answer.error {
            None => Ok(answer.result),
            Some(Refusal { code, message }) => {
                let message = message.chars().filter(|c| !c.is_control()).take(MAX_MESSAGE).collect();
                Err(CallError::Refused { code, message })
            }
        }
    }
}
