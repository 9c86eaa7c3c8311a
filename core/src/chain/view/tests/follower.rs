//! Test helpers: a block without content, a follower that checks every event against the rules, and
//! a check of the view's invariants between calls.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::super::*;

/// A block with a hash that encodes its branch and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) id: BlockId,
    pub(super) parent: B256,
    pub(super) size: usize,
}

impl ChainBlock for Block {
    fn number(&self) -> u64 {
        self.id.number
    }
    fn hash(&self) -> B256 {
        self.id.hash
    }
    fn parent_hash(&self) -> B256 {
        self.parent
    }
    fn size(&self) -> usize {
        self.size
    }
}

pub(super) fn id(branch: u8, number: u64) -> BlockId {
    let mut hash = [0; 32];
    hash[0] = branch;
    hash[24..].copy_from_slice(&number.to_be_bytes());
    BlockId::new(number, hash.into())
}

/// Returns block `number` of branch `branch`, 100 bytes long, on the block below it on the same
/// branch.
pub(super) fn block(branch: u8, number: u64) -> Block {
    on(id(branch, number.wrapping_sub(1)), branch, number)
}

/// Returns block `number` of branch `branch` on `parent`.
pub(super) fn on(parent: BlockId, branch: u8, number: u64) -> Block {
    Block { id: id(branch, number), parent: parent.hash, size: 100 }
}

pub(super) fn at(seconds: u64) -> Instant {
    Instant::from_start(Duration::from_secs(seconds))
}

/// The state of a follower that sees only events. It panics if an event breaks a rule.
#[derive(Debug, Default)]
pub(super) struct Follower {
    pub(super) chain: Vec<BlockId>,
    pub(super) gaps: BTreeMap<GapId, Gap>,
    pub(super) used: BTreeSet<GapId>,
    pub(super) events: Vec<ChainEvent<Block>>,
    pub(super) skips: Vec<(BlockId, BlockId, SkipReason)>,
    pub(super) reorgs: usize,
    pub(super) equivocations: BTreeSet<BlockId>,
    pub(super) adopted: VecDeque<BlockId>,
    pub(super) skip_to: Option<BlockId>,
    /// The position at which the last adopted branch leaves the previous one, until its first block
    /// arrives.
    pub(super) branch_point: Option<BlockId>,
}

impl Follower {
    pub(super) fn at(head: BlockId) -> Self {
        Self { chain: vec![head], ..Self::default() }
    }

    pub(super) fn head(&self) -> Option<BlockId> {
        self.chain.last().copied()
    }

    /// Drains all events and returns them.
    pub(super) fn drain(&mut self, view: &mut ChainView<Block>) -> Vec<ChainEvent<Block>> {
        let events: Vec<_> = std::iter::from_fn(|| view.poll_event()).collect();
        for event in &events {
            self.take(event);
        }
        self.events.extend(events.iter().cloned());
        assert!(
            self.adopted.is_empty() && self.skip_to.is_none(),
            "promised blocks did not follow"
        );
        assert_eq!(self.head(), view.head());
        let told: BTreeMap<_, _> = self.gaps.values().map(|gap| (gap.id, gap.wanted)).collect();
        let real: BTreeMap<_, _> = view.gaps().map(|gap| (gap.id, gap.wanted)).collect();
        assert_eq!(told, real);
        view.assert_consistent();
        events
    }

    fn take(&mut self, event: &ChainEvent<Block>) {
        match event {
            ChainEvent::Extended(block) => self.extend(block),
            ChainEvent::Reorg { ancestor, abandoned, adopted } => {
                assert!(!adopted.is_empty() && self.adopted.is_empty());
                let tail = self.chain.len().saturating_sub(abandoned.len());
                assert_eq!(self.chain.split_off(tail), *abandoned);
                // The position below the very first block, or below the first block after a skip,
                // is known by hash but was never delivered.
                if self.head() != Some(*ancestor) {
                    assert!(self.head().is_none_or(|head| head.number < ancestor.number));
                }
                self.branch_point = Some(*ancestor);
                self.adopted.extend(adopted);
                self.reorgs += 1;
            }
            ChainEvent::Equivocation { number, first, second } => {
                assert_eq!([first.number, second.number], [*number; 2]);
                assert_ne!(first.hash, second.hash);
                assert!(self.equivocations.insert(*second), "told twice");
            }
            ChainEvent::GapOpened(gap) => {
                check_gap(gap);
                assert!(self.used.insert(gap.id), "the name of an earlier gap");
                assert_eq!(self.gaps.insert(gap.id, *gap), None);
            }
            ChainEvent::GapChanged(gap) => {
                check_gap(gap);
                let old = self.gaps.insert(gap.id, *gap);
                assert!(old.is_some_and(|old| old.wanted != gap.wanted));
            }
            ChainEvent::GapClosed { id, .. } => assert!(self.gaps.remove(id).is_some()),
            ChainEvent::Contended { shown, other } => {
                assert_eq!(self.head(), Some(*shown));
                assert_ne!(shown, other);
            }
            ChainEvent::Skipped { from, to, reason, detached } => {
                assert_eq!(self.head(), Some(*from));
                if *detached {
                    self.chain.clear();
                }
                self.chain.retain(|id| id.number < to.number);
                if to.number <= from.number {
                    // The view forgets reports below the floor, which can fall here.
                    self.equivocations.clear();
                }
                self.skips.push((*from, *to, *reason));
                self.skip_to = Some(*to);
            }
        }
    }

    fn extend(&mut self, block: &Block) {
        if let Some(expected) = self.adopted.pop_front() {
            assert_eq!(block.id, expected);
        }
        if let Some(to) = self.skip_to.take() {
            assert_eq!(block.id, to);
        } else if let Some(head) = self.branch_point.take().or(self.head()) {
            assert_eq!(
                (Some(block.id.number), block.parent),
                (head.number.checked_add(1), head.hash)
            );
        }
        self.chain.push(block.id);
    }
}

fn check_gap(gap: &Gap) {
    assert_eq!(gap.wanted.number + 1, gap.before.number);
    assert!(gap.after.number < gap.before.number);
    assert_eq!(gap.missing, gap.before.number - gap.after.number - 1);
    assert_eq!(gap.is_fork(), gap.after.number == gap.wanted.number);
}

impl ChainView<Block> {
    /// Checks the invariants that hold between calls for any input.
    pub(super) fn assert_consistent(&self) {
        self.store.assert_consistent();
        assert!(self.blocks() <= self.config.max_blocks, "{} blocks", self.blocks());
        assert!(self.bytes() <= self.config.max_bytes, "{} bytes", self.bytes());
        assert!(self.reported.len() <= REPORTED_MAX);
        assert_eq!(self.touched.len(), 0);
        let Some(head) = self.head() else {
            assert_eq!(self.blocks(), 0);
            return;
        };

        assert!(self.floor().is_none_or(|floor| !floor.hash.is_zero()));
        let mut below = self.window_floor();
        for hash in self.canonical.window() {
            let held = self.store.get(hash).expect("canonical blocks are held");
            assert_eq!(held.place, Place::Canonical);
            assert_eq!(held.number, below.map_or(0, |below| below.number + 1));
            assert!(below.is_none_or(|below| below.hash == held.parent));
            assert_eq!(self.canonical_hash(held.number), Some(*hash));
            below = Some(BlockId::new(held.number, *hash));
        }
        assert_eq!(below, Some(head));

        let mut in_runs = 0;
        for (id, run) in self.runs.assert_consistent() {
            assert!(self.store.get(&run.wanted.hash).is_none());
            assert!(self.floor().is_none_or(|floor| run.wanted.number > floor.number));
            assert_eq!(run.since.is_some(), run.best.number > self.bar());
            assert_eq!(run.announced, run.since.map(|_| run.wanted));
            assert_eq!(run.members.last().map(|last| last.0), Some(run.best.number));
            assert!(run.members.contains(&(run.best.number, run.best.hash)));
            assert!(run.members.iter().all(|(_, hash)| {
                self.store.get(hash).is_some_and(|held| held.place == Place::Pending(id))
            }));
            in_runs += run.members.len();
        }

        for (hash, held) in self.store.iter() {
            let parent = self.store.get(&held.parent).filter(|_| held.number > 0);
            let is_remembered = held.number > 0
                && self.canonical.contains(&BlockId::new(held.number - 1, held.parent));
            assert!(is_remembered || parent.is_none_or(|parent| parent.number + 1 == held.number));
            match held.place {
                Place::Canonical => assert_eq!(self.canonical.hash_at(held.number), Some(*hash)),
                Place::Branch => {
                    let parent = parent.map(|parent| parent.place);
                    assert!(
                        is_remembered || matches!(parent, Some(Place::Canonical | Place::Branch))
                    );
                }
                Place::Pending(id) => {
                    in_runs -= 1;
                    let run = self.runs.get(id).expect("each pending block has a run");
                    match parent {
                        Some(parent) => assert_eq!(parent.place, held.place),
                        None => assert_eq!(run.wanted, BlockId::new(held.number - 1, held.parent)),
                    }
                }
            }
        }
        assert_eq!(in_runs, 0);
    }
}
