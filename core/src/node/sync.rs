//! Between the chain view, the gap filler, the payload server and the driver: routes, and decides nothing.

use alloy_primitives::Bytes;

use super::job::Work;
use super::{Event, Node, Output, Running, StoreChange};
use crate::chain::{BlockId, ChainEvent, Inserted, Origin};
use crate::payload::Block;
use crate::peers::PeerId;
use crate::sync::{
    AnswerError, FillStep, GapFiller, RangeError, RangeId, RequestFailure, RequestId, ServeId, ServeStep,
    SyncEvent,
};
use crate::time::Now;

impl Node {
    /// A peer gossiped a block of this number.
    pub(super) fn heard(&mut self, peer: &PeerId, number: u64) {
        if let Some(filler) = &mut self.filler {
            filler.client_mut().heard(peer, number);
        }
    }

    /// Takes a block that the sequencer signed.
    pub(super) fn extend(&mut self, now: Now, block: &Block) {
        let inserted = self.view.insert(now.monotonic, block.clone(), Origin::Signed);
        // A competitor as well: if the chain goes on above it, it may be that nobody else kept it.
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

    pub(super) fn response(&mut self, now: Now, id: RequestId, result: Result<Bytes, RequestFailure>) {
        if let Some(filler) = &mut self.filler {
            filler.received(now.monotonic, id, result, &self.chain);
        }
    }

    pub(super) fn checked(&mut self, now: Now, id: RequestId, result: Result<Block, AnswerError>) {
        if let Some(filler) = &mut self.filler {
            filler.checked(now.monotonic, id, result, &self.view);
        }
    }

    pub(super) fn held(&mut self, now: Now, id: &BlockId, is_held: bool) {
        if let Some(filler) = &mut self.filler {
            filler.held(now.monotonic, id, is_held);
        }
    }

    pub(super) fn loaded(&mut self, now: Now, blocks: Vec<Option<Block>>) {
        if let Some(filler) = &mut self.filler {
            filler.loaded(now.monotonic, blocks, &mut self.view);
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

    /// Everything that follows for the chain, its gaps and those who ask us.
    pub(super) fn settle_sync(&mut self, now: Now) {
        loop {
            // The filler first: it knows whether the view should be patient.
            self.drain_view();
            if let Some(filler) = &mut self.filler {
                filler.settle(now, &mut self.view, &self.chain);
            }
            while let Some(step) = self.filler.as_mut().and_then(GapFiller::poll) {
                self.fill_step(now, step);
            }
            self.view.handle_timeout(now.monotonic);
            if !self.drain_view() {
                break;
            }
        }
        self.filler_wakeup = self.filler.as_ref().and_then(|filler| filler.next_wakeup(now.monotonic));
        while let Some(step) = self.server.as_mut().and_then(|server| server.poll(now, &self.chain)) {
            self.outputs.push_back(match step {
                ServeStep::Serve { id, number, .. } => {
                    Output::Serve { id, number, held: self.view.canonical(number).cloned() }
                }
                ServeStep::Refuse { id, code, .. } => Output::Refuse { id, code },
            });
        }
    }

    fn fill_step(&mut self, now: Now, step: FillStep) {
        let output = match step {
            FillStep::Ask { id, peer, number, limit } => Output::Request { id, to: peer, number, limit },
            FillStep::Check(id, work) => return self.start(Work::Check(work), Running::Check(id)),
            FillStep::Hold(block) => Output::Store(StoreChange::Hold(block)),
            FillStep::Release(ids) => Output::Store(StoreChange::Release(ids)),
            FillStep::Load(ids) => Output::Load(ids),
            FillStep::Event(event) => {
                if let SyncEvent::Conduct { peer, conduct } = &event {
                    self.peers.conduct(now, peer, *conduct);
                }
                Output::Event(Event::Sync(event))
            }
        };
        self.outputs.push_back(output);
    }

    /// Hands on what happened to the chain. Whether anything did.
    pub(super) fn drain_view(&mut self) -> bool {
        let mut happened = false;
        while let Some(event) = self.view.poll_event() {
            happened = true;
            match &event {
                ChainEvent::Extended(block) => {
                    let id = BlockId::of(block);
                    let is_stored = self.filler.as_mut().is_some_and(|filler| filler.became_canonical(&id));
                    let change =
                        if is_stored { StoreChange::Promote(id) } else { StoreChange::Extend(block.clone()) };
                    self.outputs.push_back(Output::Store(change));
                }
                ChainEvent::Reorg { ancestor, .. } => {
                    self.outputs.push_back(Output::Store(StoreChange::Rewind(*ancestor)));
                }
                ChainEvent::GapOpened(_) | ChainEvent::GapChanged(_) | ChainEvent::GapClosed { .. } => {
                    if let Some(filler) = &mut self.filler {
                        filler.gaps_changed();
                    }
                }
                ChainEvent::Equivocation { .. } | ChainEvent::Skipped { .. } => {}
            }
            self.outputs.push_back(Output::Event(Event::Chain(event)));
        }
        happened
    }
}
