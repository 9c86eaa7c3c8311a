//! Detection of the branch that the sequencer is signing.
//!
//! The view shows one branch. A signed block outside it makes a **rival**: the chain may continue
//! with the rival's branch. [`Rivals`] remembers the blocks that were signed since the shown branch
//! last grew, and determines the time at which the view should move.
//!
//! # Bounds
//!
//! Two rivals, and [`LEFT_MAX`] blocks of branches that the view has left. Only the sequencer's key
//! can fill them.

use std::time::Duration;

use alloy_primitives::B256;

use super::types::{BlockId, OffBranch};
use crate::sorted::SortedSet;
use crate::time::Instant;

/// Maximum number of remembered blocks of branches that were left. The highest are kept.
pub(super) const LEFT_MAX: usize = 16_384;
/// Minimum time without a block after which a branch counts as silent.
const MIN_SILENCE: Duration = Duration::from_secs(3);
/// Number of blocks by which a lower branch must have grown before the view follows it.
const LOWER_GROWTH: u32 = 3;
/// The same, but after [`LONG_SILENCE_FACTOR`] times the silence.
const LOWER_GROWTH_LATE: u32 = 2;
const LONG_SILENCE_FACTOR: u32 = 4;
/// Maximum number of blocks that a reorg may revert after only a short silence.
const SHALLOW: u64 = 2;
/// Number of turns that the two branches must take before they count as contended.
const CONTENDED_TURNS: u32 = 3;

/// A branch that the sequencer signs in parallel to the shown one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rival {
    /// Highest block of the branch.
    pub(super) tip: BlockId,
    /// Number of the lowest block that arrived since the branch became a rival.
    pub(super) lowest: u64,
    /// Number of blocks of the shown branch above the common ancestor, or `None` while the ancestor
    /// is unknown.
    depth: Option<u64>,
    /// Number of blocks by which the branch grew since the shown branch last grew.
    grown: u32,
    /// Times of the first and last growth since then.
    since: Instant,
    last: Instant,
}

/// State of the detection: see the [module's documentation](self).
#[derive(Debug)]
pub(super) struct Rivals {
    interval: Duration,
    /// Time at which the shown branch last grew.
    shown_at: Instant,
    /// Time at which the shown branch last grew by a signed block.
    live_at: Instant,
    /// Time of the last signed block above the head that does not link. It may belong to either
    /// branch.
    above_at: Instant,
    /// A branch that the view has not left before.
    fresh: Option<Rival>,
    /// A branch that the view has left before.
    returning: Option<Rival>,
    left: SortedSet<(u64, B256)>,
    /// Number of turns that the rival and the shown branch took, and whether the rival grew last.
    turns: u32,
    rival_was_last: bool,
    is_contended: bool,
}

impl Rivals {
    pub(super) fn new(interval: Duration) -> Self {
        Self {
            interval,
            shown_at: Instant::default(),
            live_at: Instant::default(),
            above_at: Instant::default(),
            fresh: None,
            returning: None,
            left: SortedSet::new(),
            turns: 0,
            rival_was_last: false,
            is_contended: false,
        }
    }

    pub(super) const fn set_interval(&mut self, interval: Duration) {
        self.interval = interval;
    }

    pub(super) const fn interval(&self) -> Duration {
        self.interval
    }

    /// Returns the silence of the shown branch that is needed before a deep reorg, or before a
    /// reorg to a lower head.
    fn quiet(&self) -> Duration {
        self.interval.saturating_mul(4).max(MIN_SILENCE)
    }

    /// Returns the silence of the shown branch that is needed before a shallow reorg.
    fn calm(&self) -> Duration {
        self.interval.saturating_mul(3) / 2
    }

    /// Records that a signed block extended the head.
    pub(super) const fn shown_is_live(&mut self, now: Instant) {
        self.live_at = now;
    }

    /// Returns the time until which the shown branch counts as growing, unless it grows again.
    pub(super) fn live_until(&self) -> Instant {
        self.live_at + self.calm()
    }

    /// Records a signed block above the head that does not link. It most likely reveals a gap in
    /// the shown branch. If not, fetching its ancestors will show that.
    pub(super) const fn above_grew(&mut self, now: Instant) {
        self.above_at = now;
    }

    /// Records that the shown branch grew.
    pub(super) fn shown_grew(&mut self, now: Instant) {
        if self.rival_was_last {
            self.rival_was_last = false;
            self.turns = self.turns.saturating_add(1);
        }
        let quiet = self.quiet();
        self.shown_at = now;
        for slot in [&mut self.fresh, &mut self.returning] {
            *slot = slot
                .filter(|rival| now.since(rival.last) < quiet.saturating_mul(LONG_SILENCE_FACTOR));
            if let Some(rival) = slot {
                (rival.grown, rival.since) = (0, now);
            }
        }
        if self.fresh.is_none() && self.returning.is_none() {
            self.forget_turns();
        }
    }

    /// Records that the sequencer signed `id`, which does not belong to the shown branch. `is_left`
    /// is `true` if it belongs to a branch that was left. Returns `true` if the two branches are
    /// contended from now on.
    pub(super) fn rival_grew(&mut self, now: Instant, id: BlockId, is_left: bool) -> bool {
        let patience = self.quiet();
        let slot = if is_left { &mut self.returning } else { &mut self.fresh };
        match slot {
            Some(rival) if id.number > rival.tip.number => {
                rival.tip = id;
                rival.depth = None;
                rival.lowest = rival.lowest.min(id.number);
                rival.since = if rival.grown == 0 { now } else { rival.since };
                rival.grown = rival.grown.saturating_add(1);
                rival.last = now;
            }
            Some(rival) if rival.tip == id => {}
            // A late block, or a lower branch, which counts once the other one is silent.
            Some(rival) if now.since(rival.last) < patience => return false,
            _ => {
                let (tip, lowest) = (id, id.number);
                let rival = Rival { tip, lowest, depth: None, grown: 1, since: now, last: now };
                *slot = Some(rival);
            }
        }
        self.rival_was_last = true;
        let begins = !self.is_contended && self.turns >= CONTENDED_TURNS;
        self.is_contended |= begins;
        begins
    }

    /// Records that the rival with this tip links, and that the shown branch has `depth` blocks
    /// above the common ancestor.
    pub(super) fn links(&mut self, now: Instant, tip: BlockId, depth: u64, is_left: bool) {
        let slot = if is_left { &mut self.returning } else { &mut self.fresh };
        match slot {
            Some(rival) if rival.tip.number > tip.number => {}
            Some(rival) => {
                if rival.grown == 0 {
                    (rival.grown, rival.since) = (1, now);
                }
                if rival.tip != tip {
                    rival.last = now;
                }
                (rival.tip, rival.depth) = (tip, Some(depth));
            }
            None => {
                let (lowest, depth) = (tip.number, Some(depth));
                *slot = Some(Rival { tip, lowest, depth, grown: 1, since: now, last: now });
            }
        }
    }

    /// Returns the time at which the view may move to a branch that reverts `depth` blocks and
    /// reaches above the head, unless the shown branch grows.
    pub(super) fn higher_due(&self, depth: Option<u64>, is_left: bool) -> Instant {
        if self.interval.is_zero() {
            return self.shown_at;
        }
        let is_shallow = !is_left && depth.is_some_and(|depth| depth <= SHALLOW);
        self.shown_at + if is_shallow { self.calm() } else { self.quiet() }
    }

    /// Returns the rival to which the view should move, and the time, unless something happens
    /// before.
    pub(super) fn next(&self, head: BlockId) -> Option<(Instant, Rival)> {
        let fresh = self.fresh.and_then(|rival| Some((self.due(&rival, head, false)?, rival)));
        let back = self.returning.and_then(|rival| Some((self.due(&rival, head, true)?, rival)));
        fresh.into_iter().chain(back).min_by_key(|(due, _)| *due)
    }

    fn due(&self, rival: &Rival, head: BlockId, is_left: bool) -> Option<Instant> {
        if rival.grown == 0 || rival.last < self.shown_at {
            return None;
        }
        if rival.tip.number > head.number {
            // While the common ancestor is unknown, the branch is a gap like any other.
            return rival.depth.map(|_| self.higher_due(rival.depth, is_left));
        }
        if is_left || self.interval.is_zero() {
            return None;
        }
        let (quiet, silent_since) = (self.quiet(), self.shown_at.max(self.above_at));
        // Late blocks arrive soon after the others, but a sequencer continues.
        let goes_on = rival.last.since(silent_since) >= quiet / 2;
        if rival.grown >= LOWER_GROWTH && goes_on {
            return Some(silent_since + quiet);
        }
        let is_enough = rival.grown >= LOWER_GROWTH_LATE;
        is_enough.then(|| silent_since + quiet.saturating_mul(LONG_SILENCE_FACTOR))
    }

    /// Returns the blocks that were signed in parallel to the shown branch since it last grew, or
    /// recently if the two are contended.
    pub(super) fn off_branch(&self) -> Option<OffBranch> {
        let contended = self.is_contended;
        let rivals = self.fresh.iter().chain(&self.returning);
        let active = rivals.filter(|rival| rival.grown > 0 || contended);
        active.max_by_key(|rival| rival.last).map(|rival| OffBranch {
            highest: rival.tip,
            since: rival.since,
            blocks: rival.grown,
            contended,
        })
    }

    /// Returns `true` if another branch may still take over.
    pub(super) const fn any(&self) -> bool {
        self.fresh.is_some() || self.returning.is_some()
    }

    /// Records that the view left these blocks and moved to another branch.
    pub(super) fn moved(&mut self, now: Instant, left: &[BlockId]) {
        let highest = &left[left.len().saturating_sub(LEFT_MAX)..];
        self.left.extend(highest.iter().map(|id| (id.number, id.hash)));
        self.bound_left();
        (self.fresh, self.returning) = (None, None);
        self.shown_at = now;
    }

    /// Adds a block that builds on a branch that was left.
    pub(super) fn leave(&mut self, id: BlockId) {
        self.left.insert((id.number, id.hash));
        self.bound_left();
    }

    /// Removes a block that is canonical again.
    pub(super) fn take_back(&mut self, id: BlockId) {
        self.left.remove(&(id.number, id.hash));
    }

    pub(super) fn was_abandoned(&self, id: BlockId) -> bool {
        self.left.contains(&(id.number, id.hash))
    }

    /// Returns `true` if a branch that was left has a block of this number or above.
    pub(super) fn left_from(&self, number: u64) -> bool {
        self.left.last().is_some_and(|(highest, _)| *highest >= number)
    }

    fn bound_left(&mut self) {
        while self.left.len() > LEFT_MAX {
            self.left.pop_first();
        }
    }

    fn forget_turns(&mut self) {
        (self.turns, self.is_contended) = (0, false);
    }
}
