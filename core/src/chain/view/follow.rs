//! Moving to another branch: the conditions, and the cleanup of the branch that is left.

use alloy_primitives::B256;

use super::ChainView;
use super::runs::Tip;
use super::store::Place;
use super::types::{BlockId, ChainBlock, ChainEvent, GapEnd, GapId, Inserted, Origin, SkipReason};
use crate::time::Instant;

impl<B: ChainBlock> ChainView<B> {
    /// Returns the number above which blocks that link become the chain. It is that of the head,
    /// unless the sequencer was rewound. In that case it lies below the branch that the sequencer
    /// is signing.
    pub(super) fn bar(&self) -> u64 {
        let head = self.head().map_or(0, |head| head.number);
        self.lowered_bar.map_or(head, |bar| bar.min(head))
    }

    /// Handles `tip`, which links to the canonical chain or a competitor, together with the run
    /// that waited for it.
    pub(super) fn connect(&mut self, now: Instant, tip: Tip) -> Inserted {
        let mut best = tip;
        let run = self.runs.wanting(tip.id()).and_then(|run| self.take_run(run, GapEnd::Filled));
        if let Some(run) = run {
            best = run.best;
            self.place_members(&run, Place::Branch);
        }
        if best.number <= self.bar() {
            return Inserted::Competitor;
        }
        let (path, ancestor) = self.path_to_canonical(best.hash);
        // Without an ancestor the branch does not link, and only blocks that link are delivered.
        let Some(ancestor) = ancestor else { return Inserted::Competitor };
        if self.head() == Some(ancestor) {
            self.last_progress = now;
            self.rivals.shown_grew(now);
            self.lowered_bar = None;
            self.adopt(&path);
            return Inserted::Extended;
        }
        let is_left = self.is_on_abandoned_branch(&path);
        if self.lowered_bar.is_none() && self.move_due(ancestor, is_left) > now {
            self.rivals.links(now, best.id(), self.depth_of(ancestor), is_left);
            return Inserted::Competitor;
        }
        self.move_to(now, &path, ancestor);
        Inserted::Reorganised
    }

    fn is_on_abandoned_branch(&self, path: &[B256]) -> bool {
        let ids = path.iter().filter_map(|hash| self.store.id(hash));
        ids.into_iter().any(|id| self.rivals.was_abandoned(id))
    }

    /// Returns the number of blocks that a branch reverts if it leaves the chain at `ancestor`.
    fn depth_of(&self, ancestor: BlockId) -> u64 {
        self.head().map_or(0, |head| head.number.saturating_sub(ancestor.number))
    }

    /// Returns the time at which the view may move to a branch that leaves at `ancestor` and
    /// reaches above the head.
    fn move_due(&self, ancestor: BlockId, is_left: bool) -> Instant {
        self.rivals.higher_due(Some(self.depth_of(ancestor)), is_left)
    }

    /// Makes the branch `path`, which leaves the chain at `ancestor`, canonical.
    fn move_to(&mut self, now: Instant, path: &[B256], ancestor: BlockId) {
        let adopted = path.iter().filter_map(|hash| self.store.id(hash)).collect();
        self.leave_above(now, ancestor, adopted);
        self.adopt(path);
    }

    /// Reverts the blocks above `ancestor`. The blocks `adopted` follow in their place.
    fn leave_above(&mut self, now: Instant, ancestor: BlockId, adopted: Vec<BlockId>) {
        let mut abandoned = Vec::new();
        for (id, was_handed_on) in self.canonical.cut_above(ancestor.number).into_iter().rev() {
            if was_handed_on {
                abandoned.push(id);
            }
            if self.store.get(&id.hash).is_some_and(|held| held.number == id.number) {
                self.store.set_place(&id.hash, Place::Branch);
            } else {
                self.drop_linked_children(id);
            }
        }
        for id in &adopted {
            self.rivals.take_back(*id);
        }
        self.rivals.moved(now, &abandoned);
        self.lowered_bar = None;
        self.last_progress = now;
        self.events.push_back(ChainEvent::Reorg { ancestor, abandoned, adopted });
    }

    /// Drops the blocks that link to `parent`, a position that was only remembered and is now
    /// forgotten.
    fn drop_linked_children(&mut self, parent: BlockId) {
        let children: Vec<_> = self.store.children(parent).collect();
        for child in children {
            let place = self.store.get(&child.hash).map(|held| held.place);
            if matches!(place, Some(Place::Canonical | Place::Branch)) {
                self.store.remove_subtree(&child.hash);
            }
        }
    }

    /// Moves the view to a branch that the caller has completely, from the child of `below`, which
    /// links, up to its highest block, if the move is due. The blocks above the ancestor are then
    /// reverted at once, and the caller inserts the branch in order, lowest first.
    ///
    /// `path` contains the blocks of the branch that the caller has, lowest first.
    ///
    /// # Errors
    /// The time at which to try again, if the sequencer may still be at work on the shown branch.
    pub fn begin_reorg(
        &mut self,
        now: Instant,
        below: BlockId,
        path: &[BlockId],
    ) -> Result<(), Instant> {
        let Some(highest) = path.last() else { return Ok(()) };
        let (own, ancestor) = self.path_to_canonical(below.hash);
        let ancestor = match ancestor {
            Some(ancestor) => ancestor,
            None if self.canonical.contains(&below) => below,
            None => return Ok(()),
        };
        if self.head() == Some(ancestor) {
            return Ok(());
        }
        let waiting = self.runs.wanting(*highest).and_then(|run| self.runs.get(run));
        let best = waiting.map_or(*highest, |run| run.best.id());
        let mut adopted: Vec<_> = own.iter().filter_map(|hash| self.store.id(hash)).collect();
        adopted.extend(path);
        let above = self.path_down_to(best, highest.number);
        adopted.extend(above);

        let is_left = adopted.iter().any(|id| self.rivals.was_abandoned(*id));
        let due = self.move_due(ancestor, is_left);
        if self.lowered_bar.is_none() && due > now {
            return Err(due);
        }
        self.leave_above(now, ancestor, adopted);
        self.adopt(&own);
        self.settle();
        Ok(())
    }

    /// Returns the held blocks above this number on the path down from `best`, lowest first.
    fn path_down_to(&self, best: BlockId, number: u64) -> Vec<BlockId> {
        let mut path = Vec::new();
        let mut at = best.hash;
        while let Some(held) = self.store.get(&at).filter(|held| held.number > number) {
            path.push(BlockId::new(held.number, at));
            at = held.parent;
        }
        path.reverse();
        path
    }

    /// Returns the hashes of the branch that ends in `tip`, lowest first, and the canonical
    /// position at which it starts.
    pub(super) fn path_to_canonical(&self, tip: B256) -> (Vec<B256>, Option<BlockId>) {
        let mut path = Vec::new();
        let mut at = tip;
        // Terminates, because numbers decrease by one with each link.
        while let Some(held) = self.store.get(&at) {
            if held.place == Place::Canonical {
                path.reverse();
                return (path, Some(BlockId::new(held.number, at)));
            }
            path.push(at);
            at = held.parent;
            let below = held.number.checked_sub(1).map(|number| BlockId::new(number, at));
            if let Some(below) = below.filter(|below| self.canonical.contains(below)) {
                path.reverse();
                return (path, Some(below));
            }
        }
        path.reverse();
        (path, None)
    }

    pub(super) fn adopt(&mut self, path: &[B256]) {
        for hash in path {
            self.store.set_place(hash, Place::Canonical);
            self.canonical.push_back(*hash);
            if let Some(held) = self.store.get(hash) {
                self.events.push_back(ChainEvent::Extended(held.block.clone()));
            }
        }
    }

    /// Records the sequencer's branch, according to a signed block.
    pub(super) fn note_signed(
        &mut self,
        now: Instant,
        id: BlockId,
        parent: B256,
        outcome: Inserted,
    ) {
        let is_above = id.number > self.bar();
        let fills_hole = !is_above && self.canonical.id_at(id.number).is_none();
        match outcome {
            Inserted::Extended => self.rivals.shown_is_live(now),
            // A late block for a skipped position.
            _ if fills_hole => {}
            Inserted::Pending if is_above && self.lowered_bar.is_none() => {
                self.rivals.above_grew(now);
            }
            Inserted::Competitor | Inserted::Pending => {
                let below = BlockId::new(id.number.saturating_sub(1), parent);
                let is_left = self.rivals.was_abandoned(below);
                if is_left {
                    self.rivals.leave(id);
                }
                if self.rivals.rival_grew(now, id, is_left)
                    && let Some(shown) = self.head()
                {
                    self.events.push_back(ChainEvent::Contended { shown, other: id });
                }
                if outcome == Inserted::Competitor {
                    self.note_depth(now, id, is_left);
                }
            }
            _ => {}
        }
    }

    fn note_depth(&mut self, now: Instant, tip: BlockId, is_left: bool) {
        if let (_, Some(ancestor)) = self.path_to_canonical(tip.hash) {
            self.rivals.links(now, tip, self.depth_of(ancestor), is_left);
        }
    }

    /// Returns the time at which the view moves to the branch that the sequencer is signing, unless
    /// something happens before.
    pub(super) fn rivals_due(&self) -> Option<Instant> {
        let due = self.rivals.next(self.head()?).map(|(due, _)| due);
        due.filter(|_| self.lowered_bar.is_none())
    }

    pub(super) fn follow_rivals(&mut self, now: Instant) {
        let Some(head) = self.head() else { return };
        let next = self.rivals.next(head).filter(|(due, _)| *due <= now);
        let Some((_, rival)) = next.filter(|_| self.lowered_bar.is_none()) else { return };
        match self.path_to_canonical(rival.tip.hash) {
            (path, Some(ancestor)) if !path.is_empty() => self.move_to(now, &path, ancestor),
            // Its ancestors are missing or had no room. They become the chain once they are
            // fetched.
            _ => {
                self.lowered_bar = Some(rival.lowest.saturating_sub(1));
            }
        }
        self.settle();
    }

    /// Handles block 0, or a block that is not above the floor. If the sequencer continues there,
    /// the chain restarts with one of its blocks.
    pub(super) fn insert_below_floor(
        &mut self,
        now: Instant,
        block: B,
        origin: Origin,
    ) -> Inserted {
        let id = BlockId::of(&block);
        if origin == Origin::Linked {
            return Inserted::TooOld;
        }
        if let Some(floor) = self.canonical.floor().filter(|floor| floor.number == id.number) {
            self.report_equivocation(floor, id);
        }
        let (Some(head), Some(below)) = (self.head(), id.number.checked_sub(1)) else {
            return Inserted::TooOld;
        };
        let grew = self.rivals.rival_grew(now, id, false);
        if grew {
            self.events.push_back(ChainEvent::Contended { shown: head, other: id });
        }
        let due = self.rivals.next(head).map(|(due, _)| due).filter(|due| *due <= now);
        if due.is_none() && self.lowered_bar.is_none_or(|bar| id.number <= bar) {
            return Inserted::TooOld;
        }
        let detached = self.leave_chain(now, BlockId::new(below, block.parent_hash()));
        self.rivals.take_back(id);
        let reason = SkipReason::Unreachable;
        self.events.push_back(ChainEvent::Skipped { from: head, to: id, reason, detached });
        self.linked_below = id.number;
        self.insert_above_floor(now, block, origin);
        Inserted::Reanchored
    }

    /// Leaves the canonical chain and continues with the run, as if its lowest block linked to the
    /// head.
    pub(super) fn skip(&mut self, now: Instant, id: GapId, reason: SkipReason) {
        let Some(from) = self.head() else { return };
        let Some(run) = self.take_run(id, GapEnd::Skipped) else { return };
        let detached = self.leave_chain(now, run.wanted);
        self.place_members(&run, Place::Branch);
        let (path, _) = self.path_to_canonical(run.best.hash);
        if let Some(to) = path.first().and_then(|hash| self.store.id(hash)) {
            self.events.push_back(ChainEvent::Skipped { from, to, reason, detached });
        }
        self.adopt(&path);
    }

    /// Drops the linked blocks, so that the chain can continue above `floor`. Returns `true` if
    /// `floor` differs from the canonical position at its height, or lies below all remembered
    /// positions.
    pub(super) fn leave_chain(&mut self, now: Instant, floor: BlockId) -> bool {
        let is_below = self.canonical.floor().is_some_and(|lowest| floor.number < lowest.number);
        let ours = self.canonical.id_at(floor.number);
        let detached = is_below || ours.is_some_and(|ours| ours != floor);
        let mut left = Vec::new();
        for (number, hash) in self.window_ids() {
            if number > floor.number || detached {
                left.push(BlockId::new(number, hash));
            }
        }
        let window = if detached {
            self.canonical.reset(Some(floor))
        } else {
            self.canonical.leap_to(floor, self.config.max_remembered)
        };
        for hash in window {
            self.store.remove(&hash);
        }
        while let Some(lowest) = self.store.lowest_branch() {
            self.store.remove(&lowest.hash);
        }
        self.canonical.forget_beyond(self.config.max_remembered);
        self.rivals.moved(now, &left);
        self.lowered_bar = None;
        detached
    }

    fn window_ids(&self) -> Vec<(u64, B256)> {
        let ids = self.canonical.window().filter_map(|hash| self.store.id(hash));
        ids.map(|id| (id.number, id.hash)).collect()
    }
}
