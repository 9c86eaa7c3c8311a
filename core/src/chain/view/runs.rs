//! Runs of pending blocks: for each missing block, the blocks that wait for it.
//!
//! A run is *open* if it reaches above the head, or if the view wants to move to its branch. The
//! head then needs the missing blocks. Otherwise it is *moot*: a competitor that does not link,
//! kept in case it grows.
//!
//! # Bounds
//!
//! Each run has at least one block that the view holds and counts, and each block is in one run.

use std::cmp::Reverse;

use alloy_primitives::B256;

use super::types::{BlockId, GapId};
use crate::sorted::{SortedMap, SortedSet};
use crate::time::Instant;

/// The end of a branch. Tips are ordered by height; at equal heights, the tip that arrived first is
/// the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tip {
    pub(super) number: u64,
    arrived: Reverse<u64>,
    pub(super) hash: B256,
}

impl Tip {
    pub(super) const fn new(id: BlockId, arrived: u64) -> Self {
        Self { number: id.number, arrived: Reverse(arrived), hash: id.hash }
    }

    pub(super) const fn id(&self) -> BlockId {
        BlockId::new(self.number, self.hash)
    }
}

/// The blocks that wait for one missing block: its held children and their descendants.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) wanted: BlockId,
    pub(super) members: SortedSet<(u64, B256)>,
    pub(super) best: Tip,
    /// Time at which the gap opened or last made progress, or `None` if the run is moot.
    pub(super) since: Option<Instant>,
    /// The missing block in the last announcement.
    pub(super) announced: Option<BlockId>,
}

impl Run {
    pub(super) fn join(&mut self, tip: Tip) {
        self.members.insert((tip.number, tip.hash));
        self.best = self.best.max(tip);
    }

    /// Returns the children of the missing block.
    pub(super) fn lowest(&self) -> Vec<BlockId> {
        let lowest = self.members.first().map(|(number, _)| *number);
        let members = self.members.iter().take_while(|(number, _)| Some(*number) == lowest);
        members.map(|(number, hash)| BlockId::new(*number, *hash)).collect()
    }
}

/// The changes that a merge made.
#[derive(Debug)]
pub(super) struct Merged {
    pub(super) survivor: GapId,
    pub(super) gone: GapId,
    /// Whether the removed gap was announced.
    pub(super) announced: bool,
    /// The blocks that now belong to the surviving run.
    pub(super) relabelled: Vec<B256>,
}

/// Sort key, lowest first. Among runs that wait at the same height, the one that reaches highest
/// comes first.
type Depth = (u64, Reverse<Tip>, GapId);

#[derive(Debug, Default)]
pub(super) struct Runs {
    runs: SortedMap<GapId, Run>,
    next: u64,
    by_wanted: SortedMap<(B256, u64), GapId>,
    by_depth: SortedSet<Depth>,
    moot: SortedSet<Depth>,
    open: SortedSet<Depth>,
    open_by_tip: SortedSet<(Tip, GapId)>,
}

impl Runs {
    pub(super) fn get(&self, id: GapId) -> Option<&Run> {
        self.runs.get(&id)
    }

    /// Starts a run with one block.
    pub(super) fn start(&mut self, wanted: BlockId, tip: Tip) -> GapId {
        let id = self.next_id();
        let members = SortedSet::from_iter([(tip.number, tip.hash)]);
        self.put(id, Run { wanted, members, best: tip, since: None, announced: None });
        id
    }

    /// Assigns a new id, which no gap had before, to the run and returns it.
    pub(super) fn rename(&mut self, id: GapId) -> Option<GapId> {
        let run = self.take(id)?;
        let new = self.next_id();
        self.put(new, run);
        Some(new)
    }

    const fn next_id(&mut self) -> GapId {
        let id = GapId(self.next);
        self.next = self.next.saturating_add(1);
        id
    }

    /// Returns the run that waits for this block.
    pub(super) fn wanting(&self, id: BlockId) -> Option<GapId> {
        self.by_wanted.get(&(id.hash, id.number)).copied()
    }

    /// Returns the runs that wait for this hash at another height.
    pub(super) fn wanting_at_another_number(&self, id: BlockId) -> Vec<GapId> {
        let all = self.by_wanted.range((id.hash, 0)..=(id.hash, u64::MAX));
        all.filter(|((_, number), _)| *number != id.number).map(|(_, run)| *run).collect()
    }

    /// Returns the runs that wait for blocks at or below this height.
    pub(super) fn wanting_not_above(&self, number: u64) -> Vec<GapId> {
        self.by_depth
            .iter()
            .take_while(|(wanted, ..)| *wanted <= number)
            .map(|(.., id)| *id)
            .collect()
    }

    /// Changes a run and keeps the indices consistent.
    pub(super) fn edit(&mut self, id: GapId, change: impl FnOnce(&mut Run)) {
        if let Some(mut run) = self.take(id) {
            change(&mut run);
            self.put(id, run);
        }
    }

    /// Merges `lower`, which waits for a missing block, with `upper`, which waits for a block of
    /// `lower`.
    pub(super) fn merge(&mut self, lower: GapId, upper: GapId) -> Option<Merged> {
        if lower == upper || !self.runs.contains_key(&lower) {
            return None;
        }
        let above = self.take(upper)?;
        let below = self.take(lower)?;
        let (wanted, since, best) = (below.wanted, below.since, below.best.max(above.best));
        // The shorter run is relabelled, so each block is relabelled at most log n times. If both
        // have the same length, the upper one keeps its id, because the lower one may be a single
        // new block.
        let (survivor, mut kept, gone, short) = if below.members.len() > above.members.len() {
            (lower, below, upper, above)
        } else {
            (upper, above, lower, below)
        };
        let relabelled = short.members.iter().map(|(_, hash)| *hash).collect();
        kept.members.extend(short.members);
        (kept.wanted, kept.since, kept.best) = (wanted, since, best);
        self.put(survivor, kept);
        Some(Merged { survivor, gone, announced: short.announced.is_some(), relabelled })
    }

    pub(super) fn take(&mut self, id: GapId) -> Option<Run> {
        let run = self.runs.remove(&id)?;
        self.by_wanted.remove(&(run.wanted.hash, run.wanted.number));
        let depth = depth(id, &run);
        self.by_depth.remove(&depth);
        match run.since {
            None => {
                self.moot.remove(&depth);
            }
            Some(_) => {
                self.open.remove(&depth);
                self.open_by_tip.remove(&(run.best, id));
            }
        }
        Some(run)
    }

    /// Returns the open runs, lowest first.
    pub(super) fn open(&self) -> impl Iterator<Item = (GapId, &Run)> {
        self.open.iter().filter_map(|(.., id)| self.get(*id).map(|run| (*id, run)))
    }

    pub(super) fn lowest_open(&self) -> Option<GapId> {
        self.open.first().map(|(.., id)| *id)
    }

    pub(super) fn lowest_moot(&self) -> Option<GapId> {
        self.moot.first().map(|(.., id)| *id)
    }

    /// Returns the runs that are not open and reach above this height.
    pub(super) fn moot_above(&self, number: u64) -> Vec<GapId> {
        let above = self.moot.iter().filter(|(_, Reverse(best), _)| best.number > number);
        above.map(|(.., id)| *id).collect()
    }

    /// Returns an open run that does not reach above this height.
    pub(super) fn open_not_above(&self, number: u64) -> Option<GapId> {
        self.open_by_tip.first().filter(|(tip, _)| tip.number <= number).map(|(_, id)| *id)
    }

    /// Returns the highest block of all open runs.
    pub(super) fn highest_open(&self) -> Option<BlockId> {
        self.open_by_tip.last().map(|(tip, _)| tip.id())
    }

    fn put(&mut self, id: GapId, run: Run) {
        self.by_wanted.insert((run.wanted.hash, run.wanted.number), id);
        let depth = depth(id, &run);
        self.by_depth.insert(depth);
        match run.since {
            None => {
                self.moot.insert(depth);
            }
            Some(_) => {
                self.open.insert(depth);
                self.open_by_tip.insert((run.best, id));
            }
        }
        self.runs.insert(id, run);
    }

    /// Checks that the indices match the runs, and returns the runs.
    #[cfg(test)]
    pub(super) fn assert_consistent(&self) -> impl Iterator<Item = (GapId, &Run)> {
        let open = self.runs.values().filter(|run| run.since.is_some()).count();
        assert_eq!(self.by_wanted.len(), self.runs.len());
        assert_eq!(self.by_depth.len(), self.runs.len());
        assert_eq!(self.moot.len(), self.runs.len() - open);
        assert_eq!([self.open.len(), self.open_by_tip.len()], [open; 2]);
        for (id, run) in self.runs.iter() {
            assert_eq!(self.wanting(run.wanted), Some(*id));
            assert!(self.by_depth.contains(&depth(*id, run)));
            match run.since {
                None => assert!(self.moot.contains(&depth(*id, run))),
                Some(_) => {
                    assert!(self.open.contains(&depth(*id, run)));
                    assert!(self.open_by_tip.contains(&(run.best, *id)));
                }
            }
        }
        self.runs.iter().map(|(id, run)| (*id, run))
    }
}

const fn depth(id: GapId, run: &Run) -> Depth {
    (run.wanted.number, Reverse(run.best), id)
}
