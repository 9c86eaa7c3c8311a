//! Routing between the chain view, the gap filler, the payload server and the driver. Two rules are
//! here, because they concern several of them: which signed blocks wait in the pending area, and
//! whether the store writes a canonical block or promotes a pending one.

use std::time::Duration;

use alloy_primitives::Bytes;

use super::job::Work;
use super::{Event, Node, Output, RangeOutput, Running, StoreChange};
use crate::chain::{BlockId, ChainEvent, Inserted, Origin};
use crate::payload::Block;
use crate::peers::PeerId;
use crate::sync::fill::patience::{highest_possible, unserved};
use crate::sync::{
    AnswerError, FillStep, GapFiller, RangeError, RangeId, Recalled, RequestFailure, RequestId,
    ServeId, ServeStep, SyncEvent,
};
use crate::time::Now;

impl Node {
    /// Takes a block that the sequencer signed.
    pub(super) fn extend(&mut self, now: Now, block: &Block) {
        self.troubles.took_block(now, block);
        if let Some(filler) = &mut self.filler {
            filler.is_signed(block);
        }
        let inserted = self.view.insert(now.monotonic, block.clone(), Origin::Signed);
        // This includes a competitor: if the chain goes on above it, no other node may have kept
        // it.
        if let Some(filler) = &mut self.filler
            && matches!(inserted, Inserted::Pending | Inserted::Dropped | Inserted::Competitor)
        {
            filler.waits(block);
        }
        self.drain_view();
    }

    pub(super) fn requested(&mut self, now: Now, from: PeerId, id: ServeId, number: u64) {
        match &mut self.server {
            Some(server) => server.request(now.monotonic, from, id, number),
            None => {
                let code = crate::sync::ResultCode::UnknownError;
                self.outputs.push_back(Output::Refuse { id, code });
            }
        }
    }

    pub(super) fn responded(&mut self, now: Now, id: ServeId) {
        if let Some(server) = &mut self.server {
            server.finished(now.monotonic, id);
        }
    }

    pub(super) fn response(
        &mut self,
        now: Now,
        id: RequestId,
        result: Result<Bytes, RequestFailure>,
    ) {
        if let Some(filler) = &mut self.filler {
            filler.received(now.monotonic, id, result);
        }
    }

    pub(super) fn checked(&mut self, now: Now, id: RequestId, result: Result<Block, AnswerError>) {
        if let Some(filler) = &mut self.filler {
            filler.checked(now.monotonic, id, result, &self.view);
        }
    }

    pub(super) fn loaded(&mut self, now: Now, blocks: Vec<Option<Block>>) {
        if let Some(filler) = &mut self.filler {
            filler.loaded(now.monotonic, blocks, &mut self.view);
        }
    }

    pub(super) fn recalled(&mut self, from: BlockId, mut blocks: Vec<Recalled>) {
        if self.storing.is_behind() {
            // The store does not know yet that the view left the chain.
            blocks.iter_mut().for_each(|recalled| recalled.is_canonical = false);
        }
        if let Some(filler) = &mut self.filler {
            filler.recalled(from, blocks, &self.chain);
        }
    }

    pub(super) fn fetch_range(&mut self, now: Now, id: RangeId, to: BlockId) {
        match &mut self.filler {
            Some(filler) => filler.request(now, id, to, &mut self.view, &self.chain),
            None => {
                let event = SyncEvent::Range { id, result: Err(RangeError::Off) };
                self.outputs.push_back(Output::Event(Event::Sync(event)));
            }
        }
    }

    /// Runs everything that follows for the chain, its gaps and its requesters.
    pub(super) fn settle_sync(&mut self, now: Now) {
        loop {
            // The filler comes first: it knows whether the view should be patient.
            self.drain_view();
            if let Some(filler) = &mut self.filler {
                filler.store_fails(self.storing.is_refusing());
                filler.settle(now, &mut self.view, &self.chain);
            }
            while let Some(step) = self.filler.as_mut().and_then(GapFiller::poll) {
                self.fill_step(now, step);
            }
            self.delay_skips(now);
            self.view.handle_timeout(now.monotonic);
            if !self.drain_view() {
                break;
            }
        }
        self.filler_wakeup =
            self.filler.as_ref().and_then(|filler| filler.next_wakeup(now.monotonic));
        let exists = self.chain.genesis.number..=highest_possible(now, &self.view, &self.chain);
        while let Some(step) =
            self.server.as_mut().and_then(|server| server.poll(now.monotonic, &exists))
        {
            self.outputs.push_back(match step {
                ServeStep::Serve { id, number, .. } => {
                    Output::Serve { id, number, held: self.view.canonical(number).cloned() }
                }
                ServeStep::Refuse { id, code, .. } => Output::Refuse { id, code },
            });
        }
    }

    /// Sets how long the view waits for gaps: see [`patience`](crate::sync::fill::patience).
    fn delay_skips(&mut self, now: Now) {
        let could_fill = self
            .filler
            .as_ref()
            .is_some_and(|filler| filler.could_fill(now, &self.view, &self.chain));
        let patience = if could_fill { Duration::MAX } else { unserved(now, &self.chain) };
        self.view.set_patience(patience);
    }

    fn fill_step(&mut self, now: Now, step: FillStep) {
        let output = match step {
            FillStep::Ask { id, peer, number, limit } => {
                Output::Request { id, to: peer, number, limit }
            }
            FillStep::AskEndpoint { id, endpoint, number, body, limit } => {
                Output::RequestRpc { id, endpoint, number, body, limit }
            }
            FillStep::Check(id, work) => return self.start(Work::Check(work), Running::Check(id)),
            FillStep::Open { id, peer, request } => {
                Output::Range(RangeOutput::Open { id, to: peer, request })
            }
            FillStep::Receive { id, limit } => Output::Range(RangeOutput::Receive { id, limit }),
            FillStep::Cancel(id) => Output::Range(RangeOutput::Cancel(id)),
            FillStep::CheckChunk(id, work) => {
                return self.start(Work::CheckChunk(work), Running::CheckChunk(id));
            }
            FillStep::Hold(block) => return self.hold(block),
            FillStep::Release(ids) => return self.release(ids),
            FillStep::Prepend(block) => return self.prepend(block),
            FillStep::Load(ids) => Output::Load(ids),
            FillStep::Recall(id) => Output::Recall(id),
            FillStep::Event(event) => {
                if let SyncEvent::Conduct { peer, conduct } = &event {
                    self.peers.conduct(now, peer, *conduct);
                }
                Output::Event(Event::Sync(event))
            }
        };
        self.outputs.push_back(output);
    }

    /// Reports the events of the chain view. Returns `true` if there were any.
    pub(super) fn drain_view(&mut self) -> bool {
        let mut happened = false;
        while let Some(event) = self.view.poll_event() {
            happened = true;
            match &event {
                ChainEvent::Extended(block) => {
                    let id = BlockId::of(block);
                    let is_stored = self.filler.as_mut().is_some_and(|filler| {
                        filler.extended(block);
                        filler.became_canonical(&id)
                    });
                    let change = if is_stored {
                        StoreChange::Promote(id)
                    } else {
                        StoreChange::Extend(block.clone())
                    };
                    let below = block.number().checked_sub(1);
                    let parent = below.map(|number| BlockId::new(number, block.parent_hash()));
                    self.store_chain(change, parent);
                }
                ChainEvent::Reorg { ancestor, .. } => {
                    self.store_chain(StoreChange::Rewind(*ancestor), Some(*ancestor));
                }
                ChainEvent::GapOpened(_)
                | ChainEvent::GapChanged(_)
                | ChainEvent::GapClosed { .. } => {
                    if let Some(filler) = &mut self.filler {
                        filler.gaps_changed();
                    }
                }
                ChainEvent::Skipped { detached: true, .. } => {
                    if let Some(filler) = &mut self.filler {
                        filler.detached();
                    }
                    self.store_chain(StoreChange::Detach, None);
                }
                ChainEvent::Equivocation { .. }
                | ChainEvent::Skipped { .. }
                | ChainEvent::Contended { .. } => {}
            }
            self.outputs.push_back(Output::Event(Event::Chain(event)));
        }
        happened
    }
}
