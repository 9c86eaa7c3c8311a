//! Wallets' reads: the core's [`Reader`], and the pending questions. `reading` connects it to the
//! driver.
//!
//! # Bounds
//! Those of the reader. Each question here is a pending read.

use crate::endpoints::Failed;
use crate::tell::Id;
use futures::channel::oneshot;
use futures::future::LocalBoxFuture;
use futures::stream::FuturesUnordered;
use opp2p_core::chain::BlockId;
use opp2p_core::json_rpc::Answer;
use opp2p_core::proof::call::{Job, Report};
use opp2p_core::proof::reader::{
    ExecutionId, FetchFailure, ReadError, ReadId, Reader, ReaderConfig,
};
use opp2p_core::sync::RequestFailure;
use opp2p_core::time::Instant;
use serde_json::{Value, json};

/// A wallet's question.
#[derive(Debug)]
pub(crate) struct Question {
    /// Identifies the question for its cancellation.
    pub(crate) ticket: u32,
    pub(crate) method: String,
    pub(crate) params: Value,
}

/// A pending question.
pub(super) struct Waiting {
    pub(super) read: ReadId,
    pub(super) ticket: u32,
    pub(super) answer: oneshot::Sender<String>,
}

/// Executes a job, which is given as JSON.
pub(crate) type Execute = Box<dyn Fn(&str) -> LocalBoxFuture<'static, Result<String, String>>>;

/// The report of an execution.
pub(super) type Executed = (ExecutionId, Result<Report, String>);

/// The reader, and the pending questions.
pub(super) struct Reads {
    pub(super) reader: Reader,
    /// At most as many as the reader's pending reads.
    pub(super) waiting: Vec<Waiting>,
    execute: Execute,
    /// At most as many as the reader allows.
    pub(super) executions: FuturesUnordered<LocalBoxFuture<'static, Executed>>,
}

impl Reads {
    pub(super) fn new(config: ReaderConfig, execute: Execute) -> Self {
        let (waiting, executions) = (Vec::new(), FuturesUnordered::new());
        Self { reader: Reader::new(config), waiting, execute, executions }
    }

    /// Passes a job to the executor.
    pub(super) fn execute(&mut self, id: ExecutionId, job: &Job) {
        // Plain data can always be written. If not, the executor refuses the empty text.
        let job = serde_json::to_string(job).unwrap_or_default();
        let executed = (self.execute)(&job);
        self.executions.push(Box::pin(async move {
            let read = |text: String| {
                let report = serde_json::from_str(&text);
                report.map_err(|_| "the executor is of another version of opp2p".to_owned())
            };
            (id, executed.await.and_then(read))
        }));
    }

    /// Returns the reader's deadline.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.reader.deadline()
    }

    pub(super) fn answered(&mut self, read: ReadId, text: String) {
        if let Some(position) = self.waiting.iter().position(|waiting| waiting.read == read) {
            // Fails if the page is gone.
            let _ = self.waiting.swap_remove(position).answer.send(text);
        }
    }
}

/// Returns the answer as JSON for the scripts.
pub(super) fn shown(
    result: Result<Value, ReadError>,
    block: Option<BlockId>,
    verified: bool,
) -> String {
    let shown = match result {
        Ok(result) => {
            json!({ "result": result, "block": block.map(Id::from), "verified": verified })
        }
        Err(error) => {
            let (code, message) = (error.code(), error.to_string());
            match error.data() {
                Value::Null => json!({ "error": { "code": code, "message": message } }),
                data => json!({ "error": { "code": code, "message": message, "data": data } }),
            }
        }
    };
    shown.to_string()
}

/// Returns the result of an endpoint's JSON-RPC response.
pub(super) fn opened(bytes: &[u8]) -> Result<Value, FetchFailure> {
    let answer = Answer::read(bytes)
        .ok_or_else(|| FetchFailure::Transport("its answer is not JSON-RPC".into()))?;
    match answer.error {
        Some(refusal) => Err(FetchFailure::Refused {
            code: refusal.code,
            message: refusal.message,
            data: refusal.data,
        }),
        None => Ok(answer.result),
    }
}

pub(super) fn failure(failed: Failed) -> FetchFailure {
    match failed.failure {
        RequestFailure::TooLong => FetchFailure::TooLarge,
        _ => FetchFailure::Transport(failed.why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::B256;

    #[test]
    fn an_answer_is_shown_with_its_block_and_an_error_with_its_code() {
        let id = BlockId::new(7, B256::repeat_byte(0xab));
        let read = |text: String| serde_json::from_str::<Value>(&text).unwrap();
        let hash = id.hash.to_string();
        assert_eq!(
            read(shown(Ok(json!("0x5")), Some(id), true)),
            json!({ "result": "0x5", "block": { "number": 7, "hash": hash }, "verified": true })
        );
        assert_eq!(
            read(shown(Ok(Value::Null), None, false)),
            json!({ "result": null, "block": null, "verified": false })
        );
        let error = ReadError::UnknownBlock;
        let message = error.to_string();
        assert_eq!(
            read(shown(Err(error), None, true)),
            json!({ "error": { "code": -32001, "message": message } })
        );
        let error =
            ReadError::Endpoint { code: 3, message: "reverted".into(), data: json!("0x08") };
        assert_eq!(
            read(shown(Err(error), None, true)),
            json!({ "error": { "code": 3, "message": "reverted", "data": "0x08" } })
        );
    }

    #[test]
    fn an_answer_is_opened_and_every_failure_named() {
        assert_eq!(opened(br#"{"result":"0x1"}"#), Ok(json!("0x1")));
        assert_eq!(opened(br#"{"id":1}"#), Ok(Value::Null));
        let refused = opened(br#"{"error":{"code":-32000,"message":"no"}}"#);
        let expected =
            FetchFailure::Refused { code: -32000, message: "no".into(), data: Value::Null };
        assert_eq!(refused, Err(expected));
        assert!(matches!(opened(b"<html>"), Err(FetchFailure::Transport(_))));
        let failed = |failure| Failed { failure, why: "why".into() };
        assert_eq!(failure(failed(RequestFailure::TooLong)), FetchFailure::TooLarge);
        let timeout = failure(failed(RequestFailure::Timeout));
        assert_eq!(timeout, FetchFailure::Transport("why".into()));
    }
}
