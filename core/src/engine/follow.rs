//! Feeding blocks to the engine: upwards from its head, or from the block where its chain and ours
//! diverge.
//!
//! # Bounds
//! The search for that block takes a number of requests that is logarithmic in [`MAX_DESCENT`].

use super::methods::{forkchoice_methods, new_payload_methods};
use super::trouble::Call;
use super::{
    BLOCK_PAUSE, Engine, EngineEvent, EngineFailure, EngineOutput, Forkchoice, MAX_DESCENT,
    MAX_INVALID, PayloadStatus, Phase, SYNC_PAUSE, Tip,
};
use crate::chain::{BlockId, Labels};
use crate::payload::Block;
use crate::time::Now;
use alloy_primitives::B256;

/// A block that the engine called invalid.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    block: BlockId,
    reason: String,
    latest_valid: Option<B256>,
    is_told: bool,
}

/// A search below a block that the engine can't place, for a block that the engine knows. An engine
/// that knows a block knows all blocks below it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Descent {
    /// Number at which the search began.
    from: u64,
    /// Lowest number that the engine could not place.
    unplaced: u64,
    /// Highest number below `unplaced` that our own chain lacks.
    absent: Option<u64>,
    /// Distance from the last number down to the next one.
    step: u64,
    /// Number to offer next.
    pub(super) next: u64,
}

impl Descent {
    const fn new(from: u64) -> Self {
        Self { from, unplaced: from, absent: None, step: 1, next: from }
    }

    /// Continues below the last number, because the engine can't place its block. Returns `None` if
    /// no lower number is worth trying. `bottom` is the highest number that the engine certainly
    /// has.
    fn below(mut self, bottom: u64) -> Option<Self> {
        self.unplaced = self.next;
        let lowest = bottom.saturating_add(1).max(self.from.saturating_sub(MAX_DESCENT));
        self.next = match self.absent {
            Some(absent) => absent.midpoint(self.unplaced),
            None => self.unplaced.saturating_sub(self.step),
        };
        self.next = self.next.max(lowest);
        self.step = self.step.saturating_mul(2);
        self.is_within().then_some(self)
    }

    /// Continues above the last number, because our own chain lacks its block.
    fn above(mut self) -> Option<Self> {
        self.absent = Some(self.next);
        self.next = self.next.midpoint(self.unplaced);
        self.is_within().then_some(self)
    }

    fn is_within(&self) -> bool {
        self.next < self.unplaced && self.absent.is_none_or(|absent| absent < self.next)
    }
}

impl Engine {
    pub(super) fn load(&mut self, number: u64, is_jump: bool) {
        self.ask(Phase::Loading { number, is_jump }, EngineOutput::Load(number));
    }

    pub(super) fn on_loaded(&mut self, now: Now, block: Option<Block>) {
        let Phase::Loading { number, is_jump } = self.phase else { return };
        self.phase = Phase::Idle;
        let Some(block) = block.filter(|block| block.number() == number) else {
            return self.absent(now, number);
        };
        let id = BlockId::of(&block);
        if self.invalid.iter().any(|refusal| refusal.block == id) {
            return self.hold_back(id);
        }
        let (timestamp, gas_limit) = (block.timestamp(), block.payload().gas_limit());
        let offered = Tip { id, timestamp, gas_limit };
        let parent = block.parent_hash();
        let method = self.methods.choose(new_payload_methods(block.version()));
        let output = EngineOutput::NewPayload { block, method: method.name };
        self.ask(Phase::Offering { offered, parent, is_jump, method }, output);
    }

    /// Handles a number whose block our own chain lacks.
    fn absent(&mut self, now: Now, number: u64) {
        if self.target.is_none_or(|target| target.number <= number) {
            self.phase = Phase::Patience { until: now.monotonic + BLOCK_PAUSE };
            return;
        }
        match self.descent.take().and_then(Descent::above) {
            Some(descent) => self.descent = Some(descent),
            None => self.jump(),
        }
    }

    pub(super) fn on_offered(&mut self, now: Now, status: Result<PayloadStatus, EngineFailure>) {
        let Phase::Offering { offered, parent, is_jump, method } = self.phase else { return };
        self.phase = Phase::Idle;
        let block = offered.id;
        // The engine accepts again the blocks that it accepted before. Only the block that failed
        // shows that the failure is over.
        if status.is_ok() && self.failed_at.is_none_or(|number| number <= block.number) {
            self.failed_at = None;
            self.succeeded(Call::Offer);
        }
        match status {
            Err(failure) => {
                self.failed_at = Some(block.number);
                self.failed_method(now, Call::Offer, method, failure);
            }
            Ok(PayloadStatus::Valid) => {
                self.tip = Some(offered);
                self.is_fruitless = self.descent.is_some();
                self.found();
                self.unchosen += 1;
                if self.target.is_none_or(|target| target.number <= block.number) {
                    self.choose(offered);
                }
            }
            // The forkchoice update makes the engine execute it.
            Ok(PayloadStatus::Accepted) => self.choose(offered),
            Ok(PayloadStatus::Syncing) if is_jump => self.choose(offered),
            Ok(PayloadStatus::Syncing) => self.descend(offered, parent),
            Ok(PayloadStatus::Invalid { reason, latest_valid }) => {
                self.remember(block, reason, latest_valid);
                let is_above =
                    latest_valid.is_some_and(|valid| !valid.is_zero() && valid != parent);
                if is_above && !is_jump {
                    // It builds on the invalid block, which may not have been offered yet, and the
                    // engine may have the blocks below that one.
                    self.descend(offered, parent);
                } else {
                    self.hold_back(block);
                }
            }
        }
    }

    /// Handles a block whose parent the engine lacks. We may have that parent.
    fn descend(&mut self, offered: Tip, parent: B256) {
        // The engine has the parent, but accepts no blocks at the moment.
        let is_busy = self.tip.is_some_and(|tip| tip.id.hash == parent)
            && (self.is_fruitless || self.is_syncing);
        let genesis = self.config.chain.genesis.number;
        // The labels of another node say nothing about the blocks that this engine has.
        let finalized = self.labels.finalized.filter(|_| !self.has_source);
        let finalized = finalized.map_or(0, |finalized| finalized.number);
        let descent = self.descent.take().unwrap_or(Descent::new(offered.id.number));
        match descent.below(finalized.max(genesis)).filter(|_| !is_busy) {
            Some(descent) => self.descent = Some(descent),
            None => self.jump(),
        }
    }

    /// Continues with our head: the engine fetches the blocks in between by itself.
    fn jump(&mut self) {
        self.descent = None;
        if let Some(target) = self.target {
            self.load(target.number, true);
        }
    }

    pub(super) fn choose(&mut self, head: Tip) {
        let method = self.methods.choose(forkchoice_methods());
        let (choice, labels) = self.forkchoice(&head, method.name);
        let output = EngineOutput::ForkchoiceUpdated(choice);
        self.ask(Phase::Choosing { head, labels, method }, output);
    }

    /// Returns the forkchoice, with no label above the head, and the labels that it contains, if
    /// any.
    pub(super) fn forkchoice(
        &self,
        head: &Tip,
        method: &'static str,
    ) -> (Forkchoice, Option<Labels>) {
        let is_withheld = self.is_bare || self.refused_labels == Some(self.labels);
        let known = |label: Option<BlockId>| {
            label
                .filter(|label| label.number <= head.id.number && !is_withheld)
                .map_or(B256::ZERO, |label| label.hash)
        };
        let (safe, finalized) = (known(self.labels.safe), known(self.labels.finalized));
        let has_labels = !(safe.is_zero() && finalized.is_zero());
        let choice = Forkchoice { head: head.id.hash, safe, finalized, method };
        (choice, has_labels.then_some(self.labels))
    }

    pub(super) fn on_chosen(&mut self, now: Now, status: Result<PayloadStatus, EngineFailure>) {
        let Phase::Choosing { head, labels, method } = self.phase else { return };
        self.phase = Phase::Idle;
        if status.is_ok() {
            self.succeeded(Call::Choose);
        }
        match status {
            Err(EngineFailure::Forkchoice(reason)) => {
                self.failed_labels(now, Call::Choose, labels, reason);
            }
            Err(failure) => self.failed_method(now, Call::Choose, method, failure),
            Ok(PayloadStatus::Valid) => {
                self.took_labels(labels);
                self.tip = Some(head);
                self.head = Some(head.id);
                self.unchosen = 0;
                self.is_fruitless |= self.descent.is_some();
                self.found();
                self.tell(EngineEvent::Followed(head.id));
            }
            Ok(PayloadStatus::Syncing | PayloadStatus::Accepted) => {
                if !self.is_syncing {
                    let at = self.head.unwrap_or(head.id);
                    self.tell(EngineEvent::Syncing { at, to: head.id });
                }
                self.is_syncing = true;
                self.phase = Phase::Pause { until: now.monotonic + SYNC_PAUSE };
            }
            Ok(PayloadStatus::Invalid { reason, latest_valid }) => {
                self.remember(head.id, reason, latest_valid);
                self.hold_back(head.id);
                // The engine's next state report shows where its head is now.
                (self.head, self.refresh) = (None, None);
            }
        }
    }

    /// Ends the search: the engine has the tip, so the last block that its chain and ours have in
    /// common is known.
    fn found(&mut self) {
        if self.blocked.is_none() {
            self.stuck = None;
        }
        self.end_search();
    }

    fn end_search(&mut self) {
        (self.descent, self.must_move, self.is_syncing) = (None, false, false);
    }

    /// Remembers that the engine calls a block of our chain invalid. The verdict applies to that
    /// block alone.
    fn remember(&mut self, block: BlockId, reason: String, latest_valid: Option<B256>) {
        if self.invalid.len() >= MAX_INVALID {
            self.invalid.pop_front();
        }
        self.invalid.push_back(Refusal { block, reason, latest_valid, is_told: false });
    }

    /// Keeps the engine below a block that it called invalid, until our chain changes.
    fn hold_back(&mut self, block: BlockId) {
        self.blocked = Some(block);
        self.end_search();
        let Some(refusal) = self.invalid.iter_mut().find(|refusal| refusal.block == block) else {
            return;
        };
        // A block above the one that blocks the engine is not reported: it builds on that one.
        let is_above = self.stuck.is_some_and(|(lowest, valid)| {
            let is_same =
                valid.is_none() || refusal.latest_valid.is_none() || valid == refusal.latest_valid;
            block.number > lowest.number && is_same
        });
        if is_above {
            return;
        }
        self.stuck = Some((block, refusal.latest_valid));
        if !refusal.is_told {
            refusal.is_told = true;
            let reason = refusal.reason.clone();
            self.tell(EngineEvent::Invalid { block, reason });
        }
    }
}
