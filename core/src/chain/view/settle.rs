//! Cleanup after every change: closes gaps that have ended, leaves branches that can never link,
//! and enforces the bounds.

use super::runs::Tip;
use super::store::Place;
use super::{ChainBlock, ChainEvent, ChainView, GapEnd, GapId, OnFull, SkipReason};

impl<B: ChainBlock> ChainView<B> {
    /// Restores the invariants after a change: closes gaps that the head has passed, leaves
    /// branches that can never link, drops blocks beyond the bounds, and announces gaps.
    pub(super) fn settle(&mut self) {
        loop {
            self.close_outrun();
            self.open_above_bar();
            if self.leave_unreachable() {
                continue;
            }
            if !self.is_over() || !self.shed() {
                break;
            }
        }
        let floor = self.canonical.floor().map_or(0, |floor| floor.number);
        while self.reported.first().is_some_and(|(number, _)| *number < floor) {
            self.reported.pop_first();
        }
        for id in std::mem::take(&mut self.touched) {
            self.announce(id);
        }
    }

    fn close_outrun(&mut self) {
        let bar = self.bar();
        while let Some(id) = self.runs.open_not_above(bar) {
            let announced = self.runs.get(id).is_some_and(|run| run.announced.is_some());
            self.runs.edit(id, |run| {
                run.since = None;
                run.announced = None;
            });
            if announced {
                self.events.push_back(ChainEvent::GapClosed { id, end: GapEnd::Outrun });
                self.rename_run(id);
            }
        }
    }

    /// Opens the runs that reach above the bar after it was lowered, but did not before.
    fn open_above_bar(&mut self) {
        let now = self.now;
        for id in self.runs.moot_above(self.bar()) {
            self.runs.edit(id, |run| run.since = Some(now));
            self.touched.insert(id);
        }
    }

    /// Renames a run with a gap that was reported as closed: it must not open again under the same
    /// id.
    fn rename_run(&mut self, id: GapId) {
        let Some(new) = self.runs.rename(id) else { return };
        let hashes: Vec<_> = self
            .runs
            .get(new)
            .into_iter()
            .flat_map(|run| run.members.iter().map(|(_, hash)| *hash))
            .collect();
        for hash in &hashes {
            self.store.set_place(hash, Place::Pending(new));
        }
    }

    /// Handles runs with a missing parent that is not above the floor. They can never link, because
    /// the position to which they would link is forgotten. They are dropped, unless one is open:
    /// then the sequencer has left the chain that the view holds, and the view continues with the
    /// highest open one. Returns `true` in that case.
    fn leave_unreachable(&mut self) -> bool {
        let Some(floor) = self.canonical.floor() else { return false };
        let mut best: Option<(Tip, GapId)> = None;
        for id in self.runs.wanting_not_above(floor.number) {
            match self.runs.get(id) {
                Some(run) if run.since.is_some() => best = best.max(Some((run.best, id))),
                _ => self.drop_run(id, GapEnd::Dropped),
            }
        }
        let Some((_, id)) = best else { return false };
        self.skip(self.now, id, SkipReason::Unreachable);
        true
    }

    pub(super) fn has_room_for(&self, size: usize) -> bool {
        self.store.len() < self.config.max_blocks
            && self.store.bytes().saturating_add(size as u128) <= self.config.max_bytes as u128
    }

    fn is_over(&self) -> bool {
        self.store.len() > self.config.max_blocks
            || self.store.bytes() > self.config.max_bytes as u128
    }

    /// Drops the next item in the order of the module's documentation. Returns `false` if nothing
    /// is left to drop.
    fn shed(&mut self) -> bool {
        let window_is_large = self.canonical.held() > self.config.keep_depth
            || self.store.canonical_bytes() > (self.config.max_bytes / 2) as u128;
        if window_is_large && self.raise_floor() {
            return true;
        }
        if let Some(lowest) = self.store.lowest_signed_branch() {
            self.store.remove_subtree(&lowest.hash);
            return true;
        }
        if let Some(moot) = self.runs.lowest_moot() {
            self.drop_run(moot, GapEnd::Dropped);
            return true;
        }
        match (self.runs.lowest_open(), self.config.on_full) {
            (Some(id), OnFull::Reanchor) => {
                self.skip(self.now, id, SkipReason::Full);
                true
            }
            (Some(id), OnFull::DropLowest) => {
                self.drop_lowest(id);
                true
            }
            (None, _) => match self.store.lowest_linked_branch() {
                Some(lowest) => {
                    self.store.remove_subtree(&lowest.hash);
                    true
                }
                None => false,
            },
        }
    }

    /// Drops the lowest canonical block but keeps its position. Also drops the competitors that are
    /// not higher; those above the floor stay while a branch may take over, because they can belong
    /// to it.
    fn raise_floor(&mut self) -> bool {
        let Some(lowest) = self.canonical.release_lowest() else { return false };
        self.store.remove(&lowest.hash);
        self.canonical.forget_beyond(self.config.max_remembered);
        let floor = match self.rivals.any() {
            true => self.canonical.floor(),
            false => Some(lowest),
        };
        let floor = floor.map_or(0, |floor| floor.number);
        while let Some(branch) = self.store.lowest_branch().filter(|id| id.number <= floor) {
            self.store.remove_subtree(&branch.hash);
        }
        true
    }

    /// Drops the lowest block of a run. If several blocks have that height, it first drops all but
    /// the ancestor of the run's tip, with the blocks that build on them, so that the run stays
    /// connected.
    fn drop_lowest(&mut self, id: GapId) {
        let Some(run) = self.runs.get(id) else { return };
        let (best, roots) = (run.best.hash, run.lowest());
        self.touched.insert(id);
        let (root, gone) = match roots.as_slice() {
            [] => return,
            [root] => (Some(*root), vec![*root]),
            _ => {
                let keep = self.path_to_canonical(best).0.first().copied();
                let lost = roots.into_iter().filter(|root| Some(root.hash) != keep);
                (None, lost.flat_map(|root| self.store.subtree(&root.hash)).collect())
            }
        };
        if root.is_some() && self.runs.get(id).is_some_and(|run| run.members.len() == 1) {
            self.drop_run(id, GapEnd::Dropped);
            return;
        }
        self.runs.edit(id, |run| {
            for block in &gone {
                run.members.remove(&(block.number, block.hash));
            }
            run.wanted = root.unwrap_or(run.wanted);
        });
        for block in &gone {
            self.store.remove(&block.hash);
        }
    }
}
