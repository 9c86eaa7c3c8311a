//! Reads of wallets: hands questions, heads and endpoints' answers to the core's [`Reader`], and
//! carries out its outputs. The core decides what is asked, what is proved and what is refused.
//!
//! # Bounds
//! Those of the reader. A question waits here as long as the reader works on it.

use super::Driver;
use crate::endpoints::{Asked, Failed};
use crate::tell::{Id, LieJs, Told};
use alloy_primitives::Bytes;
use futures::channel::oneshot;
use opp2p_core::chain::{BlockId, ChainEvent};
use opp2p_core::json_rpc::Answer;
use opp2p_core::payload::Block;
use opp2p_core::proof::reader::{
    FetchFailure, FetchId, ReadError, ReadId, Reader, ReaderConfig, ReaderOutput,
};
use opp2p_core::sync::RequestFailure;
use opp2p_core::time::Instant;
use serde_json::{Value, json};

/// A wallet's question.
#[derive(Debug)]
pub(crate) struct Question {
    /// Names the question for its cancellation.
    pub(crate) ticket: u32,
    pub(crate) method: String,
    pub(crate) params: Value,
}

/// A question that waits for its answer.
struct Waiting {
    read: ReadId,
    ticket: u32,
    answer: oneshot::Sender<String>,
}

/// The reader, and the questions that it works on.
pub(super) struct Reads {
    reader: Reader,
    /// So few that a list does.
    waiting: Vec<Waiting>,
}

impl Reads {
    pub(super) fn new(config: ReaderConfig) -> Self {
        Self { reader: Reader::new(config), waiting: Vec::new() }
    }

    /// Returns when the reader wants to be woken.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.reader.deadline()
    }

    fn answered(&mut self, read: ReadId, text: String) {
        if let Some(position) = self.waiting.iter().position(|waiting| waiting.read == read) {
            // The page may be gone.
            let _ = self.waiting.swap_remove(position).answer.send(text);
        }
    }
}

impl Driver {
    /// Takes a wallet's question.
    pub(super) fn read(&mut self, question: Question, answer: oneshot::Sender<String>) {
        let now = self.core.clock.now().monotonic;
        // The scripts only ask a node that was started for reads. The sender is dropped.
        let Some(reads) = &mut self.reads else { return };
        let Question { ticket, method, params } = question;
        let read = reads.reader.request(&method, &params, now);
        reads.waiting.push(Waiting { read, ticket, answer });
    }

    /// Ends the read with this ticket.
    pub(super) fn cancel_read(&mut self, ticket: u32) {
        let now = self.core.clock.now().monotonic;
        let Some(reads) = &mut self.reads else { return };
        let found = reads.waiting.iter().position(|waiting| waiting.ticket == ticket);
        let Some(position) = found else { return };
        let Waiting { read, .. } = reads.waiting.swap_remove(position);
        reads.reader.cancel(read, now);
    }

    /// Hands an endpoint's answer to the reader.
    pub(super) fn fetched(&mut self, id: FetchId, result: Result<Bytes, Failed>) {
        let now = self.core.clock.now().monotonic;
        if let Some(reads) = &mut self.reads {
            reads.reader.fetched(id, result.map_err(failure).and_then(|bytes| opened(&bytes)), now);
        }
    }

    pub(super) fn wake_reads(&mut self) {
        let now = self.core.clock.now().monotonic;
        if let Some(reads) = &mut self.reads {
            reads.reader.wake(now);
        }
    }

    /// Hands the chain's next block to the reader, unless the reader is ahead because the blocks
    /// below its head were missing.
    pub(super) fn lead_reads(&mut self, block: &Block) {
        let now = self.core.clock.now().monotonic;
        let Some(reads) = &mut self.reads else { return };
        let newest = reads.reader.newest();
        if newest.is_none_or(|newest| newest.hash == block.parent_hash()) {
            reads.reader.head(block, now);
        }
    }

    /// Hands the newest verified block to the reader, unless it has it.
    pub(super) fn jump_reads(&mut self, block: &Block) {
        let now = self.core.clock.now().monotonic;
        let Some(reads) = &mut self.reads else { return };
        if reads.reader.newest() != Some(BlockId::of(block)) {
            reads.reader.head(block, now);
        }
    }

    /// Hands a reorg to the reader, before the blocks that it brings.
    pub(super) fn turn_reads(&mut self, reorg: &ChainEvent<Block>) {
        let now = self.core.clock.now().monotonic;
        if let Some(reads) = &mut self.reads {
            reads.reader.follow(reorg, now);
        }
    }

    /// Carries out the outputs of the reader.
    pub(super) fn act_for_reads(&mut self) {
        while let Some(output) = self.reads.as_mut().and_then(|reads| reads.reader.poll()) {
            match output {
                ReaderOutput::Fetch { id, endpoint, method, params, limit } => {
                    let body =
                        json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
                    self.endpoints.post(Asked::Read(id), endpoint, &body.to_string(), limit);
                }
                ReaderOutput::Cancel { id } => self.endpoints.cancel(Asked::Read(id)),
                ReaderOutput::Answer { read, result, block, is_verified } => {
                    let text = shown(result, block, is_verified);
                    if let Some(reads) = &mut self.reads {
                        reads.answered(read, text);
                    }
                }
                ReaderOutput::Dropped { endpoint, method, part } => {
                    let endpoint = self.endpoints.host(endpoint).to_owned();
                    let method = method.into_owned();
                    self.tell(&Told::Lie(LieJs { endpoint, method, part }));
                }
            }
        }
    }
}

/// Returns the answer as the scripts read it.
fn shown(result: Result<Value, ReadError>, block: Option<BlockId>, verified: bool) -> String {
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

/// Opens the envelope of an endpoint's answer.
fn opened(bytes: &[u8]) -> Result<Value, FetchFailure> {
    let answer = Answer::read(bytes)
        .ok_or_else(|| FetchFailure::Transport("its answer is not JSON-RPC".into()))?;
    match answer.error {
        Some(refusal) => Err(FetchFailure::Refused {
            code: refusal.code,
            message: refusal.message,
            data: Value::Null,
        }),
        None => Ok(answer.result),
    }
}

fn failure(failed: Failed) -> FetchFailure {
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
