//! The unsafe chain view: the chain formed by the blocks that the sequencer signed, and their
//! order.
//!
//! [`ChainView`] accepts validated blocks (hash recomputed, signature checked) in any order and
//! delivers one linked chain to a follower: [`ChainEvent::Extended`] in ascending order, exactly
//! once per canonical position. It holds:
//!
//! * the **window**: the newest canonical blocks, up to the head;
//! * **remembered positions**: canonical positions below the window, with only their hashes, so
//!   that a branch that leaves the chain far down still finds its ancestor. The lowest of them is
//!   the **floor**;
//! * **competitors**: blocks that link to a canonical position but are not canonical;
//! * **pending** blocks: blocks with missing ancestors. They are grouped in runs. A run is all
//!   blocks that wait for the same missing parent, with their descendants. A run that reaches above
//!   the head is a [`Gap`].
//!
//! # Rules
//!
//! 1. The first block, or the head given to [`ChainView::resume`], anchors the view.
//! 2. The view follows the branch that the sequencer is signing. It stays on the branch that it
//!    shows as long as that branch grows. It moves to another branch, with [`ChainEvent::Reorg`]
//!    before the blocks of that branch, when the sequencer signs there and has stopped signing
//!    here:
//!    * to a branch that reaches above the head and reverts at most two blocks, after a silence of
//!      one and a half block intervals; if it reverts more, after a silence of four intervals, at
//!      least 3 s;
//!    * to a branch that does not reach above the head (the sequencer was rewound), after the same
//!      longer silence, if three of its blocks arrived and it kept growing through that time, or
//!      after four times the silence, if two arrived;
//!    * back to a branch that it has left, only if that branch reaches above the head, and after
//!      the longer silence.
//!
//!    Late, repeated and replayed blocks of a branch that was left therefore have no effect while
//!    the sequencer is at work. If both branches keep growing, two sequencers are signing: the view
//!    stays and reports [`ChainEvent::Contended`]. Among branches that link at the same moment, the
//!    one that reaches highest wins; if they are equally high, the one with the tip that arrived
//!    first.
//! 3. Each further block of one height is an [`ChainEvent::Equivocation`], whether it links or not.
//! 4. A gap is announced when it opens, when its missing parent changes, and when it ends.
//!    [`ChainView::insert`] fills it, in any order. A branch that does not link and does not reach
//!    above the head becomes a gap only when the view wants to move there.
//! 5. Positions are skipped only with a [`ChainEvent::Skipped`] that gives the reason: see
//!    [`SkipReason`].
//!
//! # Origin of a block
//!
//! A block counts as the sequencer's if it is signed, or if it is reached from a signed one by
//! parent hashes ([`Origin`]). An unsigned block is rejected unless a pending block names it as its
//! parent, or it builds on a held block below a height that a signed block has reached. In the
//! second case the caller vouches for the link upwards. Therefore no branch can win by unsigned
//! blocks above the signed ones.
//!
//! # Example
//!
//! The second of three blocks comes last:
//!
//! ```
//! use opp2p_core::chain::{ChainBlock, ChainEvent, ChainView, ChainViewConfig, Origin};
//! use opp2p_core::time::Instant;
//! use alloy_primitives::B256;
//!
//! /// The number of a block whose hash is its number.
//! #[derive(Clone)]
//! struct Number(u64);
//!
//! impl ChainBlock for Number {
//!     fn number(&self) -> u64 { self.0 }
//!     fn hash(&self) -> B256 { B256::left_padding_from(&self.0.to_be_bytes()) }
//!     fn parent_hash(&self) -> B256 { Number(self.0 - 1).hash() }
//!     fn size(&self) -> usize { size_of::<Self>() }
//! }
//!
//! let mut view = ChainView::new(ChainViewConfig::default());
//! for number in [1, 3, 2] {
//!     view.insert(Instant::default(), Number(number), Origin::Signed);
//! }
//! let mut told = Vec::new();
//! while let Some(event) = view.poll_event() {
//!     told.push(match event {
//!         ChainEvent::Extended(Number(number)) => format!("block {number}"),
//!         ChainEvent::GapOpened(gap) => format!("{} is missing", gap.wanted.number),
//!         ChainEvent::GapClosed { .. } => "nothing is missing".to_owned(),
//!         _ => continue,
//!     });
//! }
//! assert_eq!(told, ["block 1", "2 is missing", "nothing is missing", "block 2", "block 3"]);
//! ```
//!
//! # Bounds
//!
//! * **Held blocks** (window, competitors and pending together): [`ChainViewConfig::max_blocks`]
//!   and [`ChainViewConfig::max_bytes`], exact after every call. Only the sequencer's key can fill
//!   them. When one is exceeded, blocks are dropped in this order until both hold:
//!   1. the lowest blocks of the window, as long as it is longer than `keep_depth` or takes more
//!      than half of `max_bytes`. They were already delivered, and their hashes stay remembered.
//!      Competitors of the same heights are dropped with them, unless a branch may still take over;
//!   2. the lowest signed competitors, each with all blocks that build on it. If such a branch
//!      grows above the head later, its next block opens a gap and the branch is fetched again;
//!   3. runs that do not reach above the head, lowest first: the head does not wait for them;
//!   4. runs that do, as [`OnFull`] specifies. Dropped blocks lie directly below a held block, and
//!      its parent hash verifies them when they are fetched again. If a run has no room at all, the
//!      sequencer's next block opens the gap again;
//!   5. the lowest fetched competitors. They come last because the rest of such a branch is about
//!      to arrive.
//! * **Events**: those of one call, with at most one `Extended` for each block held before it and
//!   one for the new block. The caller drains them before the next call.
//! * **Remembered positions** below the window: [`ChainViewConfig::max_remembered`], 32 bytes each.
//! * **Rivals**: see `rivals`.
//! * **Runs and indices**: at most one entry of a few hundred bytes for each held block.
//! * **Reported equivocations**: the 1,024 highest at or above the floor. A forgotten one may be
//!   reported again if the same block arrives again.
//! * A block with a number more than [`ChainViewConfig::max_ahead`] above the head is not held.
//!
//! # Cost
//!
//! O(log n) comparisons amortised for each block, where n is the number of held blocks. In each of
//! a few sorted lists, the entries behind the block are moved: microseconds for 1,024 blocks.
//! Joining two runs relabels the shorter one. The cost of a reorg is proportional to the number of
//! blocks that it abandons and adopts. Dropping a block costs O(n) only if waiting blocks take all
//! the room and the sequencer signed several blocks of the lowest height. Nothing recurses.

mod canonical;
mod config;
mod follow;
mod patience;
mod read;
mod rivals;
mod runs;
mod settle;
mod store;
mod types;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use alloy_primitives::B256;

use crate::sorted::SortedSet;
use crate::time::Instant;
use canonical::Canonical;
pub use config::{ChainViewConfig, GAP_PATIENCE, OnFull};
pub use read::Position;
use rivals::Rivals;
use runs::{Run, Runs, Tip};
use store::{Place, Store};
pub use types::{
    BlockId, ChainBlock, ChainEvent, Gap, GapEnd, GapId, Inserted, OffBranch, Origin, SkipReason,
    Standing,
};

/// Maximum number of remembered equivocations. They are remembered so that each is reported only
/// once.
const REPORTED_MAX: usize = 1024;

/// The unsafe chain as far as it is known: see the [module's documentation](self).
///
/// The caller must:
///
/// 1. Call [`insert`](Self::insert) only with blocks that have a recomputed hash and a true origin.
/// 2. Drain [`poll_event`](Self::poll_event) after every `insert` and `handle_timeout`.
/// 3. Call [`handle_timeout`](Self::handle_timeout) at the time that
///    [`next_wakeup`](Self::next_wakeup) returns.
#[derive(Debug)]
pub struct ChainView<B> {
    config: ChainViewConfig,
    canonical: Canonical,
    store: Store<B>,
    runs: Runs,
    rivals: Rivals,
    /// Set when the view has decided to leave the head for blocks above this number: see
    /// [`Self::bar`].
    lowered_bar: Option<u64>,
    events: VecDeque<ChainEvent<B>>,
    /// Number of blocks added so far, which orders blocks by arrival.
    arrivals: u64,
    /// Linked blocks are accepted below this number: that of the highest block that the sequencer
    /// is known to have signed.
    linked_below: u64,
    /// Time given by the last `insert` or `handle_timeout`.
    now: Instant,
    /// Time at which the head last moved by a link, not by a skip.
    last_progress: Instant,
    /// Time for which a gap may currently hold up the head: the configured patience, or less.
    patience: Option<Duration>,
    /// Time of the last [`Self::delay_skips`], when the caller was inserting the blocks of a gap.
    patient_since: Instant,
    reported: SortedSet<(u64, B256)>,
    /// Runs with a gap that may have to be announced at the end of the call.
    touched: SortedSet<GapId>,
}

/// The relation of a new block to the held blocks, determined by its parent.
enum Link {
    Connected,
    Pending(GapId),
    Unknown,
    Wrong,
}

impl<B: ChainBlock> ChainView<B> {
    /// Creates an empty view. The first signed block anchors it.
    pub fn new(config: ChainViewConfig) -> Self {
        Self {
            config: config.normalised(),
            canonical: Canonical::default(),
            store: Store::default(),
            runs: Runs::default(),
            rivals: Rivals::new(config.interval),
            lowered_bar: None,
            events: VecDeque::new(),
            arrivals: 0,
            linked_below: 0,
            now: Instant::default(),
            last_progress: Instant::default(),
            patience: config.gap_patience,
            patient_since: Instant::default(),
            reported: SortedSet::new(),
            touched: SortedSet::new(),
        }
    }

    /// Creates a view that continues at `head`, which was delivered before: no event repeats it.
    ///
    /// `recent` yields the blocks up to the head, **newest first, beginning with the head**, as a
    /// store reads them. It is read until a block does not link to the one above it or the bounds
    /// are reached. `remembered` yields canonical positions below those blocks, newest first; it
    /// can have holes. The deeper it reaches, the deeper a reorg can be followed.
    pub fn resume(
        now: Instant,
        config: ChainViewConfig,
        head: BlockId,
        recent: impl IntoIterator<Item = B>,
        remembered: impl IntoIterator<Item = BlockId>,
    ) -> Self {
        let mut view = Self::new(config);
        view.linked_below = head.number;
        view.canonical.reset(Some(head));
        view.rivals.moved(now, &[]);
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
        for position in remembered.into_iter().take(view.config.max_remembered) {
            view.canonical.remember_below(position);
        }
        view.canonical.forget_beyond(view.config.max_remembered);
        view
    }

    /// Changes the interval between two blocks.
    pub const fn set_interval(&mut self, interval: Duration) {
        self.rivals.set_interval(interval);
    }

    /// Inserts one block. `now` is the monotonic clock. Returns the outcome for the block; the
    /// events have the details.
    pub fn insert(&mut self, now: Instant, block: B, origin: Origin) -> Inserted {
        self.now = now;
        let id = BlockId::of(&block);
        let Some(head) = self.canonical.head() else {
            return self.anchor(now, block, origin);
        };
        if self.store.get(&id.hash).is_some() || self.canonical.contains(&id) {
            return Inserted::Known;
        }
        let floor = self.canonical.floor();
        if id.number == 0 || floor.is_some_and(|floor| id.number <= floor.number) {
            return self.insert_below_floor(now, block, origin);
        }
        if id.number.saturating_sub(head.number) > self.config.max_ahead {
            return Inserted::TooFar;
        }
        self.insert_above_floor(now, block, origin)
    }

    fn insert_above_floor(&mut self, now: Instant, block: B, origin: Origin) -> Inserted {
        let (id, parent) = (BlockId::of(&block), block.parent_hash());
        let link = self.link(id.number, parent);
        if matches!(link, Link::Wrong) {
            return Inserted::Mislinked;
        }
        match origin {
            // Replayed. If the branch is wanted again, the block is fetched.
            Origin::Signed if self.rivals.was_abandoned(id) && self.runs.wanting(id).is_none() => {
                return Inserted::Known;
            }
            Origin::Signed => self.linked_below = self.linked_below.max(id.number),
            Origin::Linked => {
                let vouched = !matches!(link, Link::Unknown) && id.number < self.linked_below;
                if !vouched && self.runs.wanting(id).is_none() {
                    return Inserted::Unlinked;
                }
            }
        }

        let window_floor = self.canonical.window_floor().map_or(0, |floor| floor.number);
        if let Some(first) = self.first_at(id.number)
            && (origin == Origin::Signed || id.number > window_floor)
        {
            self.report_equivocation(first, id);
        }
        let events_before = self.events.len();
        let arrived = self.add(block, Place::Branch, origin);
        // Blocks that name this hash as their parent at another height are invalid.
        for run in self.runs.wanting_at_another_number(id) {
            self.drop_run(run, GapEnd::Mislinked);
        }
        let tip = Tip::new(id, arrived);
        let outcome = match link {
            Link::Connected => self.connect(now, tip),
            Link::Pending(_) | Link::Unknown | Link::Wrong => {
                let run = if let Link::Pending(run) = link { Some(run) } else { None };
                // `number` is not zero: `insert` handles block 0 below the floor.
                self.hold_pending(now, tip, BlockId::new(id.number.saturating_sub(1), parent), run);
                Inserted::Pending
            }
        };
        if origin == Origin::Signed {
            self.note_signed(now, id, parent, outcome);
        }
        self.settle();
        self.outcome_after_settling(outcome, id, events_before)
    }

    /// Leaves the canonical chain and continues with `block`, as if it linked to the head. This is
    /// for a caller that fetched the signed chain down to `block` and can't, or should not,
    /// continue down to a position that the view remembers.
    ///
    /// `block` must have been reached from a signed block, as for [`Origin::Linked`].
    /// [`ChainEvent::Skipped`] comes first.
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
            self.skip(now, run, reason);
            self.settle();
            return Inserted::Reanchored;
        }
        let parent = BlockId::new(below, block.parent_hash());
        let detached = self.leave_chain(now, parent);
        self.events.push_back(ChainEvent::Skipped { from, to: id, reason, detached });
        self.insert(now, block, Origin::Linked)
    }

    /// Records that the sequencer signed `id`, which the caller knows by other means. Linked blocks
    /// are then accepted up to it.
    pub fn trust(&mut self, id: BlockId) {
        self.linked_below = self.linked_below.max(id.number.saturating_add(1));
    }

    /// Returns the state of a position.
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

    /// Returns the next event, oldest first.
    pub fn poll_event(&mut self) -> Option<ChainEvent<B>> {
        self.events.pop_front()
    }

    fn anchor(&mut self, now: Instant, block: B, origin: Origin) -> Inserted {
        if origin == Origin::Linked {
            return Inserted::Unlinked;
        }
        let id = BlockId::of(&block);
        self.linked_below = id.number;
        self.last_progress = now;
        self.rivals.moved(now, &[]);
        self.canonical
            .reset(id.number.checked_sub(1).map(|n| BlockId::new(n, block.parent_hash())));
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
        let below = number.checked_sub(1).map(|below| BlockId::new(below, parent));
        if below.is_some_and(|below| self.canonical.contains(&below)) {
            return Link::Connected;
        }
        // The parent hash is known, but at another height.
        if self.canonical.floor().is_some_and(|floor| floor.hash == parent) {
            return Link::Wrong;
        }
        let Some(held) = self.store.get(&parent) else { return Link::Unknown };
        if held.number.checked_add(1) != Some(number) {
            return Link::Wrong;
        }
        match held.place {
            Place::Canonical | Place::Branch => Link::Connected,
            Place::Pending(run) => Link::Pending(run),
        }
    }

    /// Returns the first block of this height: the canonical block if there is one, otherwise the
    /// held block that arrived first.
    fn first_at(&self, number: u64) -> Option<BlockId> {
        self.canonical.id_at(number).or_else(|| self.store.first_at(number))
    }

    fn report_equivocation(&mut self, first: BlockId, second: BlockId) {
        if self.reported.insert((second.number, second.hash)) {
            self.events.push_back(ChainEvent::Equivocation {
                number: second.number,
                first,
                second,
            });
            if self.reported.len() > REPORTED_MAX {
                self.reported.pop_first();
            }
        }
    }

    /// Puts a block that does not link into the run of its parent. Merges the run that waited for
    /// the block into it.
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
                self.events
                    .push_back(ChainEvent::GapClosed { id: merged.gone, end: GapEnd::Merged });
            }
            run = merged.survivor;
        }
        if self.runs.get(run).is_some_and(|run| run.best.number > self.bar()) {
            self.runs.edit(run, |run| run.since = run.since.or(Some(now)));
        }
        self.touched.insert(run);
    }

    fn place_members(&mut self, run: &Run, place: Place) {
        for (_, hash) in run.members.iter() {
            self.store.set_place(hash, place);
        }
    }

    /// Removes the run from the pending runs. Its blocks stay held, and the caller must assign them
    /// a new place.
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
                let pending = self.store.highest_below(before.number);
                let pending = pending.filter(|below| below.number > head.number);
                let known = || self.canonical.highest_not_above(run.wanted.number);
                pending.or_else(known).unwrap_or(head)
            }
        };
        let missing = run.wanted.number.saturating_sub(after.number);
        Some(Gap { id, after, before, wanted: run.wanted, highest: run.best.id(), missing })
    }

    /// Returns the final outcome, after settling, for a block that was pending or a competitor
    /// before the bounds and skips were applied.
    fn outcome_after_settling(
        &self,
        outcome: Inserted,
        id: BlockId,
        events_before: usize,
    ) -> Inserted {
        if !matches!(outcome, Inserted::Pending | Inserted::Competitor) {
            return outcome;
        }
        match self.store.get(&id.hash).map(|held| held.place) {
            Some(Place::Pending(_)) => Inserted::Pending,
            Some(Place::Branch) => Inserted::Competitor,
            Some(Place::Canonical) => Inserted::Reanchored,
            None => {
                let delivered = self.events.iter().skip(events_before).any(
                    |event| matches!(event, ChainEvent::Extended(block) if block.hash() == id.hash),
                );
                if delivered { Inserted::Reanchored } else { Inserted::Dropped }
            }
        }
    }
}
