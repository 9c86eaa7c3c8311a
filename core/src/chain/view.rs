//! The unsafe chain view: which of the blocks that the sequencer signed form the chain, in which order.
//!
//! [`ChainView`] takes blocks that are already validated (hash recomputed, signature checked) in any order and
//! hands a follower one linked chain: [`ChainEvent::Extended`] in ascending order, exactly once per canonical
//! position. What it holds:
//!
//! * the **window**: the newest canonical blocks, up to the head. Directly below it lies the **floor**: a
//!   canonical position of which only number and hash are remembered;
//! * **competitors**: blocks that link to the window or the floor, but are not canonical;
//! * **pending** blocks: their ancestors are missing. They are grouped in runs: all blocks that wait for the same
//!   missing parent, with their descendants. A run that reaches above the head is a [`Gap`].
//!
//! # Rules
//!
//! 1. The first block, or the head given to [`ChainView::resume`], anchors the view.
//! 2. The first block wins a height. The view moves to another branch only when that branch links to a canonical
//!    position it remembers and reaches strictly above the head; then [`ChainEvent::Reorg`] precedes the blocks
//!    of the branch. Among branches that link at one moment the one that reaches highest wins, and of equals the
//!    one whose tip arrived first. So the head's number never falls.
//! 3. Each further block of one height is an [`ChainEvent::Equivocation`], whether it links or not.
//! 4. A gap is announced when it opens, when its missing parent changes, and when it ends. It is filled by
//!    [`ChainView::insert`], in any order.
//! 5. Positions are left out only with a [`ChainEvent::Skipped`] that says why: see [`SkipReason`].
//!
//! # What signs a block
//!
//! A block counts as the sequencer's if it is signed, or if it is reached from a signed one by parent hashes
//! ([`Origin`]). An unsigned block is refused unless the view sees a pending block that names it as its parent, or
//! it builds on a held block below a height that a signed block has reached; in the second case the caller vouches
//! for the link upwards. No branch can therefore win by unsigned blocks above the signed ones.
//!
//! # Bounds
//!
//! * **Blocks held** (window, competitors and pending together): [`ChainViewConfig::max_blocks`] and
//!   [`ChainViewConfig::max_bytes`], exact after every call. Only the sequencer's key can fill them. When one is
//!   exceeded, these are dropped, in this order, until both hold:
//!   1. the lowest blocks of the window, as long as it is longer than `keep_depth` or takes more than half of
//!      `max_bytes`. They were handed on; what is lost is the depth of a reorg that can be followed. Competitors
//!      that link below the new floor go with them, as they can't be adopted any more;
//!   2. the lowest competitors that were signed, each with all that builds on it. If such a branch grows above the
//!      head after all, its next block opens a gap and the branch is fetched again;
//!   3. runs that do not reach above the head, lowest first: they hold nothing up;
//!   4. of the runs that do, what [`OnFull`] says. Dropped blocks lie directly below a held one whose parent hash
//!      proves them when they are fetched again. If room is left for none of a run, the next block of the
//!      sequencer opens the gap again;
//!   5. the lowest competitors that were fetched: whoever fetches a branch is about to bring the rest of it.
//! * **Events**: what one call produced, at most one `Extended` for each block held before it and the new one.
//!   The caller drains them before the next call.
//! * **Runs and indices**: at most one entry of a few hundred bytes for each block held.
//! * **Reported equivocations**: the 1,024 highest at or above the floor. A forgotten one may be reported again,
//!   if the same block comes again.
//! * A block with a number more than [`ChainViewConfig::max_ahead`] above the head is not held at all.
//!
//! # Cost
//!
//! O(log n) comparisons amortised for each block, n being the blocks held, and in each of a few sorted lists the
//! entries behind it are moved: microseconds for 1,024 blocks. Joining two runs relabels the shorter one, and a
//! reorg costs the length of what it abandons and adopts. Only where all room is taken by blocks that wait, and the
//! sequencer signed several of the lowest height, does dropping one cost O(n). Nothing recurses.

mod canonical;
mod config;
mod runs;
mod settle;
mod store;
mod types;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use alloy_primitives::B256;

use crate::sorted::SortedSet;
use crate::time::Instant;
use canonical::Canonical;
pub use config::{ChainViewConfig, OnFull};
use runs::{Run, Runs, Tip};
use store::{Place, Store};
pub use types::{
    BlockId, ChainBlock, ChainEvent, Gap, GapEnd, GapId, Inserted, Origin, SkipReason, Standing,
};

/// How many reported equivocations are remembered, so that none is reported twice.
const REPORTED_MAX: usize = 1024;

/// The unsafe chain as far as it is known: see the [module's documentation](self).
///
/// What its user must do:
///
/// 1. Give [`insert`](Self::insert) only blocks whose hash was recomputed and whose origin is true.
/// 2. After every `insert` and `handle_timeout`, drain [`poll_event`](Self::poll_event).
/// 3. Call [`handle_timeout`](Self::handle_timeout) when [`next_wakeup`](Self::next_wakeup) has come.
#[derive(Debug)]
pub struct ChainView<B> {
    config: ChainViewConfig,
    canonical: Canonical,
    store: Store<B>,
    runs: Runs,
    events: VecDeque<ChainEvent<B>>,
    /// Blocks counted as they came, so that "first" has a meaning.
    arrivals: u64,
    /// Linked blocks are taken below this number: that of the highest block that the sequencer is known to have
    /// signed.
    linked_below: u64,
    /// When the head last moved by a link, not by a skip.
    last_progress: Instant,
    reported: SortedSet<(u64, B256)>,
    /// Runs whose gap may have to be announced at the end of the call.
    touched: SortedSet<GapId>,
}

/// Where a new block stands, by its parent.
enum Link {
    Connected,
    Pending(GapId),
    Unknown,
    Wrong,
}

impl<B: ChainBlock> ChainView<B> {
    /// An empty view: the first signed block anchors it.
    pub fn new(config: ChainViewConfig) -> Self {
        Self {
            config: config.normalised(),
            canonical: Canonical::default(),
            store: Store::default(),
            runs: Runs::default(),
            events: VecDeque::new(),
            arrivals: 0,
            linked_below: 0,
            last_progress: Instant::default(),
            reported: SortedSet::new(),
            touched: SortedSet::new(),
        }
    }

    /// A view that goes on at `head`, which was handed on before: no event repeats it.
    ///
    /// `recent` are the blocks up to the head, **newest first and the head itself foremost**, as a store reads
    /// them. It is read until a block does not link to the one above it or the bounds are reached. The deeper it
    /// goes, the deeper a reorg can be followed; if it is empty, the view can only extend the head.
    pub fn resume(config: ChainViewConfig, head: BlockId, recent: impl IntoIterator<Item = B>) -> Self {
        let mut view = Self::new(config);
        view.linked_below = head.number;
        view.canonical.reset(Some(head));
        for block in recent {
            let floor = view.canonical.floor();
            if floor != Some(BlockId::of(&block)) || !view.has_room_for(block.size()) {
                break;
            }
            let (number, hash) = (block.number(), block.hash());
            let below = number.checked_sub(1).map(|n| BlockId::new(n, block.parent_hash()));
            view.add(block, Place::Canonical, Origin::Signed);
            view.canonical.push_front(hash, below);
            if below.is_none() {
                break;
            }
        }
        view
    }

    /// Takes one block. `now` is the monotonic clock; what happened is the answer, and in detail the events.
    pub fn insert(&mut self, now: Instant, block: B, origin: Origin) -> Inserted {
        let id = BlockId::of(&block);
        let parent = block.parent_hash();
        let Some(head) = self.canonical.head() else {
            return self.anchor(now, block, origin);
        };
        let floor = self.canonical.floor();
        if self.store.get(&id.hash).is_some() || floor.is_some_and(|floor| floor.hash == id.hash) {
            return Inserted::Known;
        }
        if id.number == 0 || floor.is_some_and(|floor| id.number <= floor.number) {
            if let Some(floor) = floor.filter(|floor| floor.number == id.number && origin == Origin::Signed) {
                self.report_equivocation(floor, id);
            }
            return Inserted::TooOld;
        }
        if id.number.saturating_sub(head.number) > self.config.max_ahead {
            return Inserted::TooFar;
        }
        let link = self.link(id.number, parent);
        if matches!(link, Link::Wrong) {
            return Inserted::Mislinked;
        }
        match origin {
            Origin::Signed => self.linked_below = self.linked_below.max(id.number),
            Origin::Linked => {
                let vouched = !matches!(link, Link::Unknown) && id.number < self.linked_below;
                if !vouched && self.runs.wanting(id).is_none() {
                    return Inserted::Unlinked;
                }
            }
        }

        if let Some(first) = self.first_at(id.number) {
            self.report_equivocation(first, id);
        }
        let events_before = self.events.len();
        let arrived = self.add(block, Place::Branch, origin);
        // Whoever names this hash as the parent of a number that does not follow is no block of a chain.
        for run in self.runs.wanting_at_another_number(id) {
            self.drop_run(run, GapEnd::Mislinked);
        }
        let tip = Tip::new(id, arrived);
        let outcome = match link {
            Link::Connected => self.connect(now, tip),
            Link::Pending(_) | Link::Unknown | Link::Wrong => {
                let run = if let Link::Pending(run) = link { Some(run) } else { None };
                // `number` is not zero: that was too old above.
                self.hold_pending(now, tip, BlockId::new(id.number.saturating_sub(1), parent), run);
                Inserted::Pending
            }
        };
        self.settle();
        self.outcome_after_settling(outcome, id, events_before)
    }

    /// Leaves the canonical chain and goes on with `block`, as if it linked to the head: for a caller that fetched
    /// the signed chain down to `block` and can't, or will not, go on to a position that the view remembers.
    ///
    /// `block` must be reached from a signed one, as for [`Origin::Linked`]. [`ChainEvent::Skipped`] comes first.
    pub fn skip_to(&mut self, now: Instant, block: B, reason: SkipReason) -> Inserted {
        let id = BlockId::of(&block);
        let Some(from) = self.head() else { return Inserted::Unlinked };
        let Some(below) = id.number.checked_sub(1) else { return Inserted::TooOld };
        let waits = self.store.get(&id.hash).map(|held| held.place);
        if matches!(waits, Some(Place::Canonical | Place::Branch)) {
            return Inserted::Known;
        }
        if id.number >= self.linked_below {
            return Inserted::Unlinked;
        }
        if let Some(Place::Pending(run)) = waits {
            self.skip(run, reason);
            self.settle();
            return Inserted::Reanchored;
        }
        let parent = BlockId::new(below, block.parent_hash());
        self.leave_chain(parent);
        self.events.push_back(ChainEvent::Skipped { from, to: id, reason });
        self.insert(now, block, Origin::Linked)
    }

    /// The caller knows by other means that the sequencer signed `id`: linked blocks are taken up to it.
    pub fn trust(&mut self, id: BlockId) {
        self.linked_below = self.linked_below.max(id.number.saturating_add(1));
    }

    /// Something is being done about the gaps: their patience counts from `now` on.
    pub fn be_patient(&mut self, now: Instant) {
        self.last_progress = self.last_progress.max(now);
    }

    /// What is known of a position.
    pub fn standing(&self, id: &BlockId) -> Standing {
        if self.canonical.id_at(id.number) == Some(*id) {
            return Standing::Linked;
        }
        match self.store.get(&id.hash) {
            Some(held) if held.number != id.number => Standing::Unreachable,
            Some(held) => match held.place {
                Place::Canonical | Place::Branch => Standing::Linked,
                Place::Pending(run) => {
                    self.runs.get(run).map_or(Standing::Unknown, |run| Standing::Waits(run.wanted))
                }
            },
            None if id.number == 0 => Standing::Unreachable,
            None if self.canonical.floor().is_some_and(|floor| id.number <= floor.number) => {
                Standing::Unreachable
            }
            None => Standing::Unknown,
        }
    }

    /// Gives up on gaps that have waited for [`ChainViewConfig::gap_patience`] without progress.
    ///
    /// From the lowest gap upwards, so that no block that is held is left out, until none that has waited too
    /// long is left.
    pub fn handle_timeout(&mut self, now: Instant) {
        while self.next_wakeup().is_some_and(|due| due <= now) {
            let Some(lowest) = self.runs.lowest_open() else { break };
            self.skip(lowest, SkipReason::Patience);
            self.settle();
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do, unless something happens before.
    pub fn next_wakeup(&self) -> Option<Instant> {
        let patience = self.config.gap_patience?;
        Some(self.runs.oldest_since()?.max(self.last_progress) + patience)
    }

    /// The next thing that happened, oldest first.
    pub fn poll_event(&mut self) -> Option<ChainEvent<B>> {
        self.events.pop_front()
    }

    /// The newest canonical block; `None` before the first one.
    pub fn head(&self) -> Option<BlockId> {
        self.canonical.head()
    }

    /// The position directly below the lowest canonical block held: a reorg can start here, not deeper.
    pub fn floor(&self) -> Option<BlockId> {
        self.canonical.floor()
    }

    /// The highest block known, linked or not.
    pub fn highest(&self) -> Option<BlockId> {
        self.runs.highest_open().or_else(|| self.head())
    }

    /// The lowest open gap: the one that holds up the head.
    pub fn gap(&self) -> Option<Gap> {
        self.gaps().next()
    }

    /// All open gaps, lowest first, as they are now.
    pub fn gaps(&self) -> impl Iterator<Item = Gap> + '_ {
        self.runs.open().filter_map(|(id, run)| self.describe(id, run))
    }

    /// The canonical block of this number, if it is held.
    pub fn canonical(&self, number: u64) -> Option<&B> {
        self.canonical.hash_at(number).and_then(|hash| self.get(&hash))
    }

    /// The hash of the canonical block of this number: of every block held and of the floor.
    pub fn canonical_hash(&self, number: u64) -> Option<B256> {
        self.canonical.id_at(number).map(|id| id.hash)
    }

    /// The canonical block with this hash, if it is held.
    pub fn canonical_by_hash(&self, hash: &B256) -> Option<&B> {
        self.store.get(hash).filter(|held| held.place == Place::Canonical).map(|held| &held.block)
    }

    /// The block with this hash, if it is held: canonical, competitor or pending.
    pub fn get(&self, hash: &B256) -> Option<&B> {
        self.store.get(hash).map(|held| &held.block)
    }

    /// The canonical blocks held, lowest first.
    pub fn recent(&self) -> impl DoubleEndedIterator<Item = &B> {
        self.canonical.hashes().filter_map(|hash| self.get(hash))
    }

    /// How many blocks are held: at most [`ChainViewConfig::max_blocks`].
    pub fn blocks(&self) -> usize {
        self.store.len()
    }

    /// The sum of the sizes of the blocks held: at most [`ChainViewConfig::max_bytes`].
    pub fn bytes(&self) -> usize {
        usize::try_from(self.store.bytes()).unwrap_or(usize::MAX)
    }

    /// Of the blocks held, those whose ancestors are missing: how many, and the sum of their sizes. Takes time in
    /// proportion to the number of blocks held.
    pub fn pending(&self) -> (usize, usize) {
        let (blocks, bytes) = self.store.pending();
        (blocks, usize::try_from(bytes).unwrap_or(usize::MAX))
    }

    fn anchor(&mut self, now: Instant, block: B, origin: Origin) -> Inserted {
        if origin == Origin::Linked {
            return Inserted::Unlinked;
        }
        let id = BlockId::of(&block);
        self.linked_below = id.number;
        self.last_progress = now;
        self.canonical.reset(id.number.checked_sub(1).map(|n| BlockId::new(n, block.parent_hash())));
        self.add(block, Place::Branch, origin);
        self.adopt(&[id.hash]);
        self.settle();
        Inserted::Anchored
    }

    fn add(&mut self, block: B, place: Place, origin: Origin) -> u64 {
        let arrived = self.arrivals;
        self.arrivals = self.arrivals.saturating_add(1);
        self.store.add(block, arrived, place, origin == Origin::Linked);
        arrived
    }

    fn link(&self, number: u64, parent: B256) -> Link {
        let (parent_number, link) = match (self.canonical.floor(), self.store.get(&parent)) {
            (Some(floor), _) if floor.hash == parent => (floor.number, Link::Connected),
            (_, Some(held)) => match held.place {
                Place::Canonical | Place::Branch => (held.number, Link::Connected),
                Place::Pending(run) => (held.number, Link::Pending(run)),
            },
            (_, None) => return Link::Unknown,
        };
        if parent_number.checked_add(1) == Some(number) { link } else { Link::Wrong }
    }

    /// The block that has this height: the canonical one, or of the others the first that arrived.
    fn first_at(&self, number: u64) -> Option<BlockId> {
        self.canonical.id_at(number).or_else(|| self.store.first_at(number))
    }

    fn report_equivocation(&mut self, first: BlockId, second: BlockId) {
        if self.reported.insert((second.number, second.hash)) {
            self.events.push_back(ChainEvent::Equivocation { number: second.number, first, second });
            if self.reported.len() > REPORTED_MAX {
                self.reported.pop_first();
            }
        }
    }

    /// `tip` links to the canonical chain or a competitor, and with it the run that waited for it.
    fn connect(&mut self, now: Instant, tip: Tip) -> Inserted {
        let mut best = tip;
        if let Some(run) = self.runs.wanting(tip.id()).and_then(|run| self.take_run(run, GapEnd::Filled)) {
            best = run.best;
            self.place_members(&run, Place::Branch);
        }
        if self.head().is_some_and(|head| best.number <= head.number) {
            return Inserted::Competitor;
        }
        self.last_progress = now;
        self.move_to(best)
    }

    /// Makes `tip`, which links, the head.
    fn move_to(&mut self, tip: Tip) -> Inserted {
        let (path, ancestor) = self.path_to_canonical(tip.hash);
        // Without an ancestor nothing links, and nothing that does not link is handed on.
        let Some(ancestor) = ancestor else { return Inserted::Competitor };
        if self.head() == Some(ancestor) {
            self.adopt(&path);
            return Inserted::Extended;
        }
        let mut abandoned = Vec::new();
        while let Some(head) = self.head().filter(|head| head.number > ancestor.number) {
            self.canonical.pop_back();
            self.store.set_place(&head.hash, Place::Branch);
            abandoned.push(head);
        }
        abandoned.reverse();
        let adopted = path.iter().filter_map(|hash| self.store.id(hash)).collect();
        self.events.push_back(ChainEvent::Reorg { ancestor, abandoned, adopted });
        self.adopt(&path);
        Inserted::Reorganised
    }

    /// The hashes of the branch that ends in `tip`, lowest first, and the canonical position it starts from.
    fn path_to_canonical(&self, tip: B256) -> (Vec<B256>, Option<BlockId>) {
        let mut path = Vec::new();
        let mut at = tip;
        let mut ancestor = None;
        // Ends: numbers fall by one with each link.
        while let Some(held) = self.store.get(&at) {
            if held.place == Place::Canonical {
                ancestor = Some(BlockId::new(held.number, at));
                break;
            }
            path.push(at);
            at = held.parent;
            if let Some(floor) = self.canonical.floor().filter(|floor| floor.hash == at) {
                ancestor = Some(floor);
                break;
            }
        }
        path.reverse();
        (path, ancestor)
    }

    fn adopt(&mut self, path: &[B256]) {
        for hash in path {
            self.store.set_place(hash, Place::Canonical);
            self.canonical.push_back(*hash);
            if let Some(held) = self.store.get(hash) {
                self.events.push_back(ChainEvent::Extended(held.block.clone()));
            }
        }
    }

    /// Puts a block that does not link into the run of its parent, and below it the run that waited for it.
    fn hold_pending(&mut self, now: Instant, tip: Tip, wanted: BlockId, of_parent: Option<GapId>) {
        let own = of_parent.or_else(|| self.runs.wanting(wanted));
        let own = match own {
            Some(run) => {
                self.runs.edit(run, |run| run.join(tip));
                run
            }
            None => self.runs.start(wanted, tip),
        };
        self.store.set_place(&tip.hash, Place::Pending(own));
        let mut run = own;
        if let Some(above) = self.runs.wanting(tip.id())
            && let Some(merged) = self.runs.merge(own, above)
        {
            for hash in &merged.relabelled {
                self.store.set_place(hash, Place::Pending(merged.survivor));
            }
            if merged.announced {
                self.events.push_back(ChainEvent::GapClosed { id: merged.gone, end: GapEnd::Merged });
            }
            run = merged.survivor;
        }
        if self.head().is_some_and(|head| self.runs.get(run).is_some_and(|run| run.best.number > head.number))
        {
            self.runs.edit(run, |run| run.since = run.since.or(Some(now)));
        }
        self.touched.insert(run);
    }

    fn place_members(&mut self, run: &Run, place: Place) {
        for (_, hash) in run.members.iter() {
            self.store.set_place(hash, place);
        }
    }

    /// Takes the run out of the pending ones; its blocks stay held, and the caller gives them a new place.
    fn take_run(&mut self, id: GapId, end: GapEnd) -> Option<Run> {
        let run = self.runs.take(id)?;
        if run.announced.is_some() {
            self.events.push_back(ChainEvent::GapClosed { id, end });
        }
        Some(run)
    }

    fn drop_run(&mut self, id: GapId, end: GapEnd) {
        if let Some(run) = self.take_run(id, end) {
            for (_, hash) in run.members.iter() {
                self.store.remove(hash);
            }
        }
    }

    /// Leaves the canonical chain and goes on with the run, as if its lowest block linked to the head.
    fn skip(&mut self, id: GapId, reason: SkipReason) {
        let Some(from) = self.head() else { return };
        let Some(run) = self.take_run(id, GapEnd::Skipped) else { return };
        self.leave_chain(run.wanted);
        self.place_members(&run, Place::Branch);
        let (path, _) = self.path_to_canonical(run.best.hash);
        if let Some(to) = path.first().and_then(|hash| self.store.id(hash)) {
            self.events.push_back(ChainEvent::Skipped { from, to, reason });
        }
        self.adopt(&path);
    }

    /// Forgets what links, so that the chain can go on above `floor`.
    fn leave_chain(&mut self, floor: BlockId) {
        for hash in self.canonical.reset(Some(floor)) {
            self.store.remove(&hash);
        }
        while let Some(lowest) = self.store.lowest_branch() {
            self.store.remove(&lowest.hash);
        }
    }

    fn announce(&mut self, id: GapId) {
        let Some(run) = self.runs.get(id) else { return };
        if run.since.is_none() || run.announced == Some(run.wanted) {
            return;
        }
        let (wanted, is_new) = (run.wanted, run.announced.is_none());
        if let Some(gap) = self.describe(id, run) {
            self.runs.edit(id, |run| run.announced = Some(wanted));
            self.events.push_back(if is_new {
                ChainEvent::GapOpened(gap)
            } else {
                ChainEvent::GapChanged(gap)
            });
        }
    }

    fn describe(&self, id: GapId, run: &Run) -> Option<Gap> {
        let before = *run.lowest().first()?;
        let head = self.head()?;
        let after = match self.canonical.id_at(run.wanted.number) {
            Some(ours) => ours,
            None => {
                self.store.highest_below(before.number).filter(|b| b.number > head.number).unwrap_or(head)
            }
        };
        let missing = run.wanted.number.saturating_sub(after.number);
        Some(Gap { id, after, before, wanted: run.wanted, highest: run.best.id(), missing })
    }

    /// What became of a block that was pending or a competitor before bounds and skips were looked at.
    fn outcome_after_settling(&self, outcome: Inserted, id: BlockId, events_before: usize) -> Inserted {
        if !matches!(outcome, Inserted::Pending | Inserted::Competitor) {
            return outcome;
        }
        match self.store.get(&id.hash).map(|held| held.place) {
            Some(Place::Pending(_)) => Inserted::Pending,
            Some(Place::Branch) => Inserted::Competitor,
            Some(Place::Canonical) => Inserted::Reanchored,
            None => {
                let delivered = self
                    .events
                    .iter()
                    .skip(events_before)
                    .any(|event| matches!(event, ChainEvent::Extended(block) if block.hash() == id.hash));
                if delivered { Inserted::Reanchored } else { Inserted::Dropped }
            }
        }
    }
}
