//! Connects the driver to the reader: passes questions, heads and endpoint answers in, and executes
//! the outputs.

use super::Driver;
use super::reads::{Executed, Question, Waiting, failure, opened, shown};
use crate::endpoints::{Asked, Failed};
use crate::tell::{LieJs, Told};
use alloy_primitives::Bytes;
use futures::channel::oneshot;
use opp2p_core::chain::{BlockId, ChainEvent};
use opp2p_core::payload::Block;
use opp2p_core::proof::reader::{FetchId, ReaderOutput};
use serde_json::json;

impl Driver {
    /// Takes a wallet's question.
    pub(super) fn read(&mut self, question: Question, answer: oneshot::Sender<String>) {
        let now = self.core.clock.now().monotonic;
        // The scripts only ask a node with reads enabled. Without them, the sender is dropped.
        let Some(reads) = &mut self.reads else { return };
        let Question { ticket, method, params } = question;
        let read = reads.reader.request(&method, &params, now);
        reads.waiting.push(Waiting { read, ticket, answer });
    }

    /// Cancels the read with this ticket.
    pub(super) fn cancel_read(&mut self, ticket: u32) {
        let now = self.core.clock.now().monotonic;
        let Some(reads) = &mut self.reads else { return };
        let found = reads.waiting.iter().position(|waiting| waiting.ticket == ticket);
        let Some(position) = found else { return };
        let Waiting { read, .. } = reads.waiting.swap_remove(position);
        reads.reader.cancel(read, now);
    }

    /// Passes an endpoint's answer to the reader.
    pub(super) fn fetched(&mut self, id: FetchId, result: Result<Bytes, Failed>) {
        let now = self.core.clock.now().monotonic;
        if let Some(reads) = &mut self.reads {
            reads.reader.fetched(id, result.map_err(failure).and_then(|bytes| opened(&bytes)), now);
        }
    }

    /// Passes the report of an execution to the reader.
    pub(super) fn executed(&mut self, (id, report): Executed) {
        let now = self.core.clock.now().monotonic;
        if let Some(reads) = &mut self.reads {
            reads.reader.executed(id, report, now);
        }
    }

    pub(super) fn wake_reads(&mut self) {
        let now = self.core.clock.now().monotonic;
        if let Some(reads) = &mut self.reads {
            reads.reader.wake(now);
        }
    }

    /// Passes the chain's next block to the reader, unless the reader is ahead after a gap.
    pub(super) fn lead_reads(&mut self, block: &Block) {
        let now = self.core.clock.now().monotonic;
        let Some(reads) = &mut self.reads else { return };
        let newest = reads.reader.newest();
        if newest.is_none_or(|newest| newest.hash == block.parent_hash()) {
            reads.reader.head(block, now);
        }
    }

    /// Passes the newest verified block to the reader, unless it is the reader's head.
    pub(super) fn jump_reads(&mut self, block: &Block) {
        let now = self.core.clock.now().monotonic;
        let Some(reads) = &mut self.reads else { return };
        if reads.reader.newest() != Some(BlockId::of(block)) {
            reads.reader.head(block, now);
        }
    }

    /// Passes a reorg to the reader, before its new blocks.
    pub(super) fn turn_reads(&mut self, reorg: &ChainEvent<Block>) {
        let now = self.core.clock.now().monotonic;
        if let Some(reads) = &mut self.reads {
            reads.reader.follow(reorg, now);
        }
    }

    /// Executes the reader's outputs.
    pub(super) fn act_for_reads(&mut self) {
        while let Some(output) = self.reads.as_mut().and_then(|reads| reads.reader.poll()) {
            match output {
                ReaderOutput::Fetch { id, endpoint, method, params, limit } => {
                    let body =
                        json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
                    self.endpoints.post(Asked::Read(id), endpoint, &body.to_string(), limit);
                }
                ReaderOutput::Cancel { id } => self.endpoints.cancel(Asked::Read(id)),
                ReaderOutput::Execute { id, job } => {
                    if let Some(reads) = &mut self.reads {
                        reads.execute(id, &job);
                    }
                }
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
