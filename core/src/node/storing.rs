//! Changes of the store and their results. A change that the store refused is issued again.
//!
//! The store lags behind the chain, and it may refuse a change: the disk is full, or the driver's
//! queue is. A refused change leaves the stored chain wrong from one number on. The node then
//! issues no later change of the chain, so that their order holds. It remembers only that number,
//! and takes the blocks above it from the chain view, lowest first. It tries one change each
//! [`STORE_RETRY`]; as soon as the store takes one, the others follow.
//!
//! # Bounds
//! * Changes without a result: [`UNSTORED`] of the chain, and as many blocks of the pending area
//!   and of the history as the [`GapFiller`](crate::sync::GapFiller) holds at once. The driver
//!   fills this; further changes of the chain wait in the view.
//! * Changes that are issued again: [`REISSUED`] without a result. They share the view's blocks.
//! * Blocks that the view drops while the store refuses them are not stored. Peers and restarts see
//!   them as missing, and they can be fetched again. Keeping them would let a full disk fill the
//!   memory.

use super::{Node, Output, StoreChange};
use crate::chain::{BlockId, ChainView};
use crate::payload::Block;
use crate::sorted::SortedMap;
use crate::time::{Instant, Now};
use std::time::Duration;

/// Identifies a change of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreId(pub u64);

/// Maximum number of changes of the chain that wait for their results. It is larger than the queue
/// that a driver needs, so that the driver's limit is the one that applies.
pub const UNSTORED: usize = 4096;
/// Maximum number of changes that are issued again and wait for their results.
pub const REISSUED: usize = 64;
/// Time between two attempts while the store refuses changes.
pub const STORE_RETRY: Duration = Duration::from_secs(2);

/// The effect of a change that waits for its result.
#[derive(Clone, Copy, Debug)]
enum Effect {
    /// The stored chain changes above this block; `None` stands for the whole chain.
    Chain { above: Option<BlockId>, is_again: bool },
    /// The pending area has this block.
    Held(BlockId),
    /// The stored chain has this block below the others.
    Prepended(BlockId),
    /// The pending area lacks some blocks.
    Released,
}

/// The part of the chain that is not stored.
#[derive(Clone, Copy, Debug)]
struct Unstored {
    /// The last block below it; `None` if the whole chain is not stored.
    above: Option<BlockId>,
    /// Whether everything that the store has above that block has been removed from its chain.
    is_cut: bool,
}

/// Changes of the store: see the [module's documentation](self).
#[derive(Debug, Default)]
pub(super) struct Storing {
    next: u64,
    waiting: SortedMap<StoreId, Effect>,
    unstored: Option<Unstored>,
    /// Time before which nothing is issued again.
    retry: Option<Instant>,
    /// Whether the last result was a refusal.
    is_refusing: bool,
}

/// Returns the number of the lowest block above `below`.
fn lowest(below: Option<BlockId>) -> u64 {
    below.map_or(0, |id| id.number.saturating_add(1))
}

impl Storing {
    fn wait(&mut self, effect: Effect) -> StoreId {
        let id = StoreId(self.next);
        self.next += 1;
        self.waiting.insert(id, effect);
        id
    }

    /// Returns the number of waiting changes that `counts` selects.
    fn count(&self, counts: impl Fn(&Effect) -> bool) -> usize {
        self.waiting.values().filter(|effect| counts(effect)).count()
    }

    /// Takes a change of the chain above this block. Returns its id if it is issued now.
    fn change(&mut self, above: Option<BlockId>) -> Option<StoreId> {
        let is_full = self.waiting.len() >= UNSTORED
            && self.count(|effect| matches!(effect, Effect::Chain { .. })) >= UNSTORED;
        if self.unstored.is_some() || is_full {
            self.is_unstored(above);
            return None;
        }
        Some(self.wait(Effect::Chain { above, is_again: false }))
    }

    /// Records that the stored chain is wrong above this block.
    fn is_unstored(&mut self, above: Option<BlockId>) {
        if self.unstored.is_none_or(|unstored| lowest(above) < lowest(unstored.above)) {
            self.unstored = Some(Unstored { above, is_cut: false });
        }
    }

    /// Handles the result of a change. Returns its effect if that concerns the gap filler.
    fn result(&mut self, now: Instant, id: StoreId, is_stored: bool) -> Option<Effect> {
        match self.waiting.remove(&id)? {
            effect @ (Effect::Held(_) | Effect::Prepended(_)) => return Some(effect),
            Effect::Released => return None,
            Effect::Chain { .. } if is_stored => (self.retry, self.is_refusing) = (None, false),
            Effect::Chain { above, .. } => {
                self.is_unstored(above);
                (self.retry, self.is_refusing) = (Some(now + STORE_RETRY), true);
            }
        }
        None
    }

    /// Returns the next change that is issued again.
    fn poll(&mut self, now: Instant, view: &ChainView<Block>) -> Option<(StoreId, StoreChange)> {
        let unstored = self.unstored?;
        let most = if self.is_refusing { 1 } else { REISSUED };
        let is_again = |effect: &Effect| matches!(effect, Effect::Chain { is_again: true, .. });
        if self.retry.is_some_and(|retry| now < retry) || self.count(is_again) >= most {
            return None;
        }
        let from = lowest(unstored.above);
        let next = || view.recent().find(|block| block.number() > from);
        let block = view.canonical(from).or_else(next);
        let above = unstored.above;
        let change = match block {
            // This also removes what the store has above the block.
            Some(block) if block.number() == from || unstored.is_cut => {
                let id = BlockId::of(block);
                let is_last = view.head().is_none_or(|head| head.number <= id.number);
                self.unstored = Some(Unstored { above: Some(id), is_cut: true });
                self.unstored = self.unstored.filter(|_| !is_last);
                StoreChange::Extend(block.clone())
            }
            other => {
                self.unstored = other.map(|_| Unstored { is_cut: true, ..unstored });
                above.map_or(StoreChange::Detach, StoreChange::Rewind)
            }
        };
        // One attempt, until its result is known.
        self.retry = self.retry.filter(|_| !self.is_refusing);
        Some((self.wait(Effect::Chain { above, is_again: true }), change))
    }

    /// Returns `true` if the store refused the last change of the chain.
    pub(super) const fn is_refusing(&self) -> bool {
        self.is_refusing
    }

    /// Returns `true` if the store lacks a change of the chain that was not issued.
    pub(super) const fn is_behind(&self) -> bool {
        self.unstored.is_some()
    }

    /// Returns the time of the next attempt.
    pub(super) fn next_wakeup(&self) -> Option<Instant> {
        self.retry.filter(|_| self.unstored.is_some())
    }

    /// Makes the last attempts before the node stops.
    pub(super) const fn stopping(&mut self) {
        (self.retry, self.is_refusing) = (None, false);
    }
}

impl Node {
    /// Issues a change of the stored chain above this block, now or once the store takes changes.
    pub(super) fn store_chain(&mut self, change: StoreChange, above: Option<BlockId>) {
        if let Some(id) = self.storing.change(above) {
            self.outputs.push_back(Output::Store { id, change });
        }
    }

    /// Issues a block for the pending area.
    pub(super) fn hold(&mut self, block: Block) {
        let id = self.storing.wait(Effect::Held(BlockId::of(&block)));
        self.outputs.push_back(Output::Store { id, change: StoreChange::Hold(block) });
    }

    /// Issues a block of the history.
    pub(super) fn prepend(&mut self, block: Block) {
        let id = self.storing.wait(Effect::Prepended(BlockId::of(&block)));
        self.outputs.push_back(Output::Store { id, change: StoreChange::Prepend(block) });
    }

    /// Issues the removal of blocks from the pending area.
    pub(super) fn release(&mut self, ids: Vec<BlockId>) {
        let id = self.storing.wait(Effect::Released);
        self.outputs.push_back(Output::Store { id, change: StoreChange::Release(ids) });
    }

    /// Handles the result of a change of the store.
    pub(super) fn stored(&mut self, now: Now, id: StoreId, is_stored: bool) {
        let at = now.monotonic;
        match (self.storing.result(at, id, is_stored), &mut self.filler) {
            (Some(Effect::Held(block)), Some(filler)) => filler.held(at, &block, is_stored),
            (Some(Effect::Prepended(block)), Some(filler)) => {
                filler.prepended(at, &block, is_stored);
            }
            _ => {}
        }
    }

    /// Handles a change that the store's limits don't allow.
    pub(super) fn not_kept(&mut self, now: Now, id: StoreId) {
        let effect = self.storing.result(now.monotonic, id, false);
        if let (Some(Effect::Prepended(block)), Some(filler)) = (effect, &mut self.filler) {
            filler.not_kept(&block);
        }
    }

    /// Issues again what the store refused.
    pub(super) fn settle_store(&mut self, now: Now) {
        while let Some((id, change)) = self.storing.poll(now.monotonic, &self.view) {
            self.outputs.push_back(Output::Store { id, change });
        }
    }
}
