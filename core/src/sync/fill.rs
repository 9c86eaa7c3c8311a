//! Filling gaps: decides what is fetched, keeps what came, and hands it to the chain view in order.
//!
//! The [`GapFiller`] aims the [`RangeClient`] at the gap of the chain view whose blocks reach highest, since that is
//! where the sequencer's chain goes. Each block that is proved goes to the **pending area** of the driver's store
//! as it comes, and so does each signed block that waits for its ancestors: whatever the view has no room for need
//! not be fetched again, and a restart finds it. When the way down reaches the canonical chain, the pending blocks
//! *land*: they are put into the view lowest first, which hands them on.
//!
//! # When the way down does not reach the chain
//! * The pending area is full, or the chain that the sequencer signed leaves ours below all that the view
//!   remembers: the chain goes on at the lowest pending block, with a [`ChainEvent::Skipped`] that says so.
//! * The head is older than [`FillConfig::max_age`]: nothing is asked for, and the view's patience decides.
//! * Nobody has the next block: it is asked for again and again, other gaps in turn with it, until
//!   [`FillConfig::patience`] without a single block of the gap has passed; then the view's patience decides.
//!
//! # Bounds
//! * Blocks that are fetched: see [`RangeClient`].
//! * The pending area: [`FillConfig::pending_blocks`] entries of about 150 bytes in memory, and
//!   [`FillConfig::pending_bytes`] on the disk. The sequencer's chain fills it. In memory are of its blocks those that the
//!   store has not confirmed, at which fetching pauses when they are 8 MiB, and 4 MiB more, the lowest.
//! * Landing: 40 bytes for each block that lands, and at most [`LOAD_BLOCKS`] or [`LOAD_BYTES`] at once in memory.
//! * One commanded range at a time.
//!
//! [`ChainEvent::Skipped`]: crate::chain::ChainEvent::Skipped

mod types;

use std::collections::VecDeque;
use std::time::Duration;

use alloy_primitives::{B256, Bytes};

use super::check::{AnswerError, RequestFailure};
use super::client::{ClientStep, Range, RangeClient, RequestId};
use super::pending::{PendingArea, PendingBlock, UNSAVED_BYTES};
use crate::chain::{BlockId, ChainConfig, ChainView, Gap, GapId, Inserted, Origin, SkipReason, Standing};
use crate::payload::Block;
use crate::sorted::{SortedMap, SortedSet};
use crate::time::{Instant, Now};
pub use types::{FillConfig, FillStep, RangeError, RangeId, SyncEvent, SyncStatus};

/// Most blocks that are loaded at once.
pub const LOAD_BLOCKS: usize = 64;
/// Bytes of blocks that are loaded at once, if it is more than one.
pub const LOAD_BYTES: usize = 4 << 20;
/// How far below the head a branch is looked for at a time, in blocks.
const FORK_STEP: u64 = 16;
/// Pause after the store failed.
const STORE_PAUSE: Duration = Duration::from_secs(5);
/// The shortest stall.
const SHORTEST_STALL: Duration = Duration::from_secs(2);

/// What is being fetched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aim {
    Gap(GapId),
    Command(RangeId),
}

/// A way that is complete, on its way into the view.
#[derive(Debug)]
struct Landing {
    aim: Aim,
    /// Lowest first.
    path: VecDeque<BlockId>,
    /// Whether the first one is put in without a link, and why.
    skip: Option<SkipReason>,
    is_loading: bool,
}

/// A range that was asked for.
#[derive(Clone, Copy, Debug)]
struct Command {
    id: RangeId,
    to: BlockId,
}

/// The filler: see the [module's documentation](self).
#[derive(Debug)]
pub struct GapFiller {
    config: FillConfig,
    client: RangeClient,
    pending: PendingArea,
    landing: Option<Landing>,
    command: Option<Command>,
    aim: Option<Aim>,
    /// How often each gap stalled, and the command under `None`.
    stalls: SortedMap<Option<GapId>, u32>,
    /// Gaps that are known to be too old.
    refused: SortedSet<GapId>,
    /// When a block was last proved, or the aim became another.
    last_progress: Instant,
    next_stall: Instant,
    paused_until: Instant,
    must_plan: bool,
    steps: VecDeque<FillStep>,
}

/// Where the way down from a block leads, as far as it is known.
enum Way {
    /// To a position that the chain view can link to.
    Meets,
    /// To a block that has to be fetched.
    GoesOn(BlockId),
    /// To where no block can link any more.
    Ends,
}

impl GapFiller {
    /// A filler that finds `stored` in the pending area.
    pub fn new(now: Instant, config: FillConfig, stored: impl IntoIterator<Item = PendingBlock>) -> Self {
        Self {
            client: RangeClient::new(config.client),
            pending: PendingArea::new(stored),
            landing: None,
            command: None,
            aim: None,
            stalls: SortedMap::new(),
            refused: SortedSet::new(),
            last_progress: now,
            next_stall: now,
            paused_until: now,
            must_plan: false,
            steps: VecDeque::new(),
            config,
        }
    }

    /// The client, to tell it of peers.
    pub const fn client_mut(&mut self) -> &mut RangeClient {
        &mut self.client
    }

    /// How it stands.
    pub fn status(&self) -> SyncStatus {
        SyncStatus {
            wanted: self.client.range().map(|range| range.wanted),
            pending: self.pending.len(),
            in_flight: self.client.in_flight(),
            servers: self.client.servers(),
            landing: self.landing.as_ref().map_or(0, |landing| landing.path.len()),
            slots: self.client.slots(),
            memory: self.client.bytes().saturating_add(self.pending.memory()),
        }
    }

    /// The gaps of the view are others than before.
    pub const fn gaps_changed(&mut self) {
        self.must_plan = true;
    }

    /// A signed block that is not canonical: it goes to the pending area, in case the view has to drop it.
    pub fn waits(&mut self, block: &Block) {
        self.hold(block);
        self.must_plan = true;
    }

    /// A block became canonical. Whether the pending area has it for sure, so that it need not be written again.
    pub fn became_canonical(&mut self, id: &BlockId) -> bool {
        self.pending.remove(id) == Some(true)
    }

    /// The store put a block into the pending area, or failed to.
    pub fn held(&mut self, now: Instant, id: &BlockId, is_held: bool) {
        if is_held {
            self.pending.saved(id);
        } else if self.pending.remove(id).is_some() {
            self.paused_until = now + STORE_PAUSE;
            self.must_plan = true;
        }
    }

    /// An answer to a request came, or it is known that none will.
    pub fn received(
        &mut self,
        now: Instant,
        id: RequestId,
        result: Result<Bytes, RequestFailure>,
        chain: &ChainConfig,
    ) {
        self.client.received(now, id, result, chain);
    }

    /// A check ended.
    pub fn checked(
        &mut self,
        now: Instant,
        id: RequestId,
        result: Result<Block, AnswerError>,
        view: &ChainView<Block>,
    ) {
        self.client.checked(now, id, result, |hash: &B256| view.get(hash).is_some());
    }

    /// What [`FillStep::Load`] asked for, in its order; `None` for each that can't be read.
    pub fn loaded(&mut self, now: Instant, blocks: Vec<Option<Block>>, view: &mut ChainView<Block>) {
        let Some(landing) = self.landing.as_mut().filter(|landing| landing.is_loading) else { return };
        landing.is_loading = false;
        for block in blocks {
            let next = self.landing.as_ref().and_then(|landing| landing.path.front().copied());
            let Some(next) = next else { return };
            let Some(block) = block.filter(|block| BlockId::of(block) == next) else {
                self.pending.remove(&next);
                self.steps.push_back(FillStep::Release(vec![next]));
                self.paused_until = now + STORE_PAUSE;
                return self.abandon();
            };
            if !self.put(now, view, block) {
                return;
            }
        }
    }

    /// Fetches everything down from `to` as if the sequencer had signed it: the caller vouches for its hash.
    pub fn request(
        &mut self,
        now: Now,
        id: RangeId,
        to: BlockId,
        view: &mut ChainView<Block>,
        chain: &ChainConfig,
    ) {
        let refused = match view.head() {
            _ if to.hash.is_zero() => Some(RangeError::NoEnd),
            None => Some(RangeError::NoStart),
            Some(head) if to.number <= head.number => Some(RangeError::NothingMissing(to.number)),
            Some(_) => self.too_old(now, view, chain).or(self.command.is_some().then_some(RangeError::Busy)),
        };
        if let Some(error) = refused {
            self.event(SyncEvent::Range { id, result: Err(error) });
            return;
        }
        view.trust(to);
        self.command = Some(Command { id, to });
        self.must_plan = true;
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<FillStep> {
        self.steps.pop_front()
    }

    /// When [`Self::settle`] is to be called if nothing happens before.
    pub fn next_wakeup(&self, now: Instant) -> Option<Instant> {
        let stall = (self.aim.is_some() && self.landing.is_none()).then_some(self.next_stall);
        let pause = (self.aim.is_some() && self.paused_until > now).then_some(self.paused_until);
        [self.client.next_wakeup(now), stall, pause].into_iter().flatten().min()
    }

    /// Does everything that follows from what it was told, and from the time.
    pub fn settle(&mut self, now: Now, view: &mut ChainView<Block>, chain: &ChainConfig) {
        let at = now.monotonic;
        self.handle_stall(at, chain);
        loop {
            let pause = self.pending.unsaved() >= UNSAVED_BYTES || self.paused_until > at;
            self.client.pause(pause || self.landing.is_some());
            while let Some(step) = self.client.poll(at) {
                self.client_step(at, step, view, chain);
            }
            if self.landing.is_some() {
                if !self.land(at, view) {
                    break;
                }
            } else if self.must_plan {
                self.plan(now, view, chain);
            } else {
                break;
            }
        }
        if self.is_at_work(at) {
            view.be_patient(at);
        }
    }

    /// Whether blocks may still come, so that nobody should give up on them.
    fn is_at_work(&self, now: Instant) -> bool {
        let is_patient = self.config.patience.is_none_or(|patience| now.since(self.last_progress) < patience);
        self.landing.is_some() || (self.aim.is_some() && is_patient && self.client.servers() > 0)
    }

    fn handle_stall(&mut self, now: Instant, chain: &ChainConfig) {
        let Some(aim) = self.aim.filter(|_| self.landing.is_none() && now >= self.next_stall) else { return };
        self.client.hurry(now);
        self.next_stall = now + stall(chain);
        let stalls = self.stalls.get_or_insert_with(gap_of(aim), || 0);
        *stalls = stalls.saturating_add(1);
        self.must_plan = true;
        let is_patient = self.config.patience.is_none_or(|patience| now.since(self.last_progress) < patience);
        if let (Aim::Command(id), false) = (aim, is_patient) {
            let wanted = self.client.range().map_or(0, |range| range.wanted.number);
            self.end_command(id, Err(RangeError::NotFound(wanted)));
        }
    }

    fn client_step(&mut self, now: Instant, step: ClientStep, view: &ChainView<Block>, chain: &ChainConfig) {
        match step {
            ClientStep::Ask { id, peer, number, limit } => {
                self.steps.push_back(FillStep::Ask { id, peer, number, limit });
            }
            ClientStep::Check(id, work) => self.steps.push_back(FillStep::Check(id, work)),
            ClientStep::Conduct(peer, conduct) => self.event(SyncEvent::Conduct { peer, conduct }),
            ClientStep::Answered(answered) => self.event(SyncEvent::Answered(answered)),
            ClientStep::Proved(block, _) => {
                self.last_progress = now;
                self.next_stall = now + stall(chain);
                self.hold(&block);
                let below = block.number().checked_sub(1).map(|n| BlockId::new(n, block.parent_hash()));
                self.must_plan |= self.is_full()
                    || self.client.range().is_none()
                    || below.is_none_or(|below| {
                        view.standing(&below) != Standing::Unknown || self.pending.parent(&below).is_some()
                    });
            }
        }
    }

    fn hold(&mut self, block: &Block) {
        if self.pending.insert(block) {
            self.steps.push_back(FillStep::Hold(block.clone()));
        }
    }

    fn event(&mut self, event: SyncEvent) {
        self.steps.push_back(FillStep::Event(event));
    }

    fn is_full(&self) -> bool {
        self.pending.is_full(self.config.pending_blocks, self.config.pending_bytes)
    }

    /// Decides what is fetched, and whether a way is complete.
    fn plan(&mut self, now: Now, view: &ChainView<Block>, chain: &ChainConfig) {
        self.must_plan = false;
        if let Some(Command { id, to }) = self.command
            && view.standing(&to) == Standing::Linked
        {
            self.end_command(id, Ok(()));
        }
        let Some((aim, wanted)) = self.choose(now, view, chain) else {
            self.aim_at(now.monotonic, None, chain);
            self.client.aim(now.monotonic, None);
            return self.tidy(view);
        };
        self.aim_at(now.monotonic, Some(aim), chain);
        let mut range = None;
        match self.way(view, chain, wanted) {
            Way::Meets => self.begin_landing(aim, wanted, None, view),
            Way::Ends => self.begin_landing(aim, wanted, Some(SkipReason::Unreachable), view),
            Way::GoesOn(_) if self.is_full() && !self.make_room(view, wanted) => {
                self.begin_landing(aim, wanted, Some(SkipReason::Full), view);
            }
            Way::GoesOn(next) => {
                range = Some(Range { wanted: next, lowest: lowest(view, chain, next.number) });
            }
        }
        self.client.aim(now.monotonic, range);
    }

    /// The gap that reaches highest, or the commanded range; whichever stalled less often.
    fn choose(&mut self, now: Now, view: &ChainView<Block>, chain: &ChainConfig) -> Option<(Aim, BlockId)> {
        let gaps: Vec<Gap> = view.gaps().collect();
        self.stalls.retain(|gap, _| gap.is_none_or(|gap| gaps.iter().any(|open| open.id == gap)));
        self.refused.retain(|gap| gaps.iter().any(|open| open.id == *gap));
        let too_old = self.too_old(now, view, chain);
        if let Some(error) = too_old {
            for gap in gaps {
                if self.refused.insert(gap.id) {
                    self.event(SyncEvent::Refused { gap: gap.id, error });
                }
            }
            if let Some(Command { id, .. }) = self.command {
                self.end_command(id, Err(error));
            }
            return None;
        }
        let stalls = |gap: Option<GapId>| self.stalls.get(&gap).copied().unwrap_or(0);
        let gaps = gaps.iter().map(|gap| (stalls(Some(gap.id)), gap.highest, Aim::Gap(gap.id), gap.wanted));
        let command = self.command.map(|Command { id, to }| (stalls(None), to, Aim::Command(id), to));
        let best =
            gaps.chain(command).min_by_key(|(stalls, highest, ..)| (*stalls, std::cmp::Reverse(*highest)));
        best.map(|(_, _, aim, wanted)| (aim, wanted))
    }

    /// By the head's own timestamp where the block is held.
    fn too_old(&self, now: Now, view: &ChainView<Block>, chain: &ChainConfig) -> Option<RangeError> {
        let limit = self.config.max_age?.as_secs();
        let number = view.head()?.number;
        let timestamp = match view.canonical(number) {
            Some(block) => block.timestamp(),
            None => chain.timestamp_of(number)?,
        };
        let age = now.unix_seconds().saturating_sub(timestamp);
        (age > limit).then_some(RangeError::TooOld { number, age, limit })
    }

    fn aim_at(&mut self, now: Instant, aim: Option<Aim>, chain: &ChainConfig) {
        if self.aim != aim {
            self.aim = aim;
            self.last_progress = now;
            self.next_stall = now + stall(chain);
        }
    }

    /// Walks down from `from` over what is held.
    fn way(&self, view: &ChainView<Block>, chain: &ChainConfig, from: BlockId) -> Way {
        let mut at = from;
        // Ends: numbers fall with each step.
        loop {
            at = match (view.standing(&at), self.pending.parent(&at)) {
                (Standing::Linked, _) => return Way::Meets,
                (Standing::Unreachable, _) => return Way::Ends,
                (_, Some(parent)) => parent,
                (Standing::Waits(wanted), None) => wanted,
                (Standing::Unknown, None) if at.number <= chain.genesis.number => return Way::Ends,
                (Standing::Unknown, None) => return Way::GoesOn(at),
            }
        }
    }

    /// The pending blocks on the way down from `from`, lowest first.
    fn path(&self, view: &ChainView<Block>, from: BlockId) -> VecDeque<BlockId> {
        let mut path = VecDeque::new();
        let mut at = from;
        loop {
            at = match (view.standing(&at), self.pending.parent(&at)) {
                (Standing::Linked | Standing::Unreachable, _) | (Standing::Unknown, None) => return path,
                (_, Some(parent)) => {
                    path.push_front(at);
                    parent
                }
                (Standing::Waits(wanted), None) => wanted,
            }
        }
    }

    fn begin_landing(
        &mut self,
        aim: Aim,
        wanted: BlockId,
        skip: Option<SkipReason>,
        view: &ChainView<Block>,
    ) {
        let path = self.path(view, wanted);
        let (Some(lowest), Some(highest)) = (path.front(), path.back().copied()) else {
            // There is nothing to hand on: the view decides what becomes of the gap.
            if let Aim::Command(id) = aim {
                self.end_command(id, Err(RangeError::Unlinked));
            }
            return;
        };
        let after = self.pending.parent(lowest).unwrap_or(*lowest);
        self.event(SyncEvent::Landing { after, highest, blocks: path.len() });
        self.landing = Some(Landing { aim, path, skip, is_loading: false });
    }

    /// Puts what is in memory into the view and asks for the rest. `false`: nothing more to do now.
    fn land(&mut self, now: Instant, view: &mut ChainView<Block>) -> bool {
        loop {
            let Some(landing) = self.landing.as_mut().filter(|landing| !landing.is_loading) else {
                return false;
            };
            let Some(next) = landing.path.front().copied() else {
                self.abandon();
                return true;
            };
            if let Some(block) = self.pending.block(&next).cloned() {
                if !self.put(now, view, block) {
                    return true;
                }
            } else if self.pending.parent(&next).is_some() {
                landing.is_loading = true;
                let chunk = self.chunk();
                self.steps.push_back(FillStep::Load(chunk));
                return false;
            } else if view.standing(&next) == Standing::Linked {
                // It came some other way.
                landing.path.pop_front();
            } else {
                self.abandon();
                return true;
            }
        }
    }

    /// The next blocks to load: those that are not in memory.
    fn chunk(&self) -> Vec<BlockId> {
        let Some(landing) = &self.landing else { return Vec::new() };
        let mut bytes = 0_usize;
        let missing = landing.path.iter().take(LOAD_BLOCKS).take_while(|id| {
            let fits = bytes == 0 || bytes.saturating_add(self.pending.size(id)) <= LOAD_BYTES;
            bytes = bytes.saturating_add(self.pending.size(id));
            fits && self.pending.block(id).is_none() && self.pending.parent(id).is_some()
        });
        missing.copied().collect()
    }

    /// Puts the next block of the landing into the view. `false` if that ended the landing.
    fn put(&mut self, now: Instant, view: &mut ChainView<Block>, block: Block) -> bool {
        let Some(landing) = &mut self.landing else { return false };
        let Some(id) = landing.path.pop_front() else { return false };
        let (aim, skip) = (landing.aim, landing.skip.take());
        let highest = landing.path.back().copied().unwrap_or(id);
        self.last_progress = now;
        let below = id.number.checked_sub(1).map(|number| BlockId::new(number, block.parent_hash()));
        if skip.is_none() && below.is_none_or(|below| view.standing(&below) != Standing::Linked) {
            // The view held what lies between, and had to drop it: that is fetched again.
            self.abandon();
            return false;
        }
        let inserted = match skip {
            Some(reason) => view.skip_to(now, block, reason),
            None => view.insert(now, block, Origin::Linked),
        };
        match inserted {
            Inserted::Anchored
            | Inserted::Extended
            | Inserted::Reorganised
            | Inserted::Reanchored
            | Inserted::Competitor
            | Inserted::Known => true,
            // A branch that leaves the chain deeper than the view has room for.
            Inserted::Dropped | Inserted::TooOld if skip.is_none() => {
                self.landing = None;
                self.begin_landing(aim, highest, Some(SkipReason::Unreachable), view);
                false
            }
            _ => {
                // The view can't use it: forget it, and try another gap first.
                self.pending.remove(&id);
                self.steps.push_back(FillStep::Release(vec![id]));
                let stalls = self.stalls.get_or_insert_with(gap_of(aim), || 0);
                *stalls = stalls.saturating_add(1);
                self.paused_until = now + STORE_PAUSE;
                self.abandon();
                false
            }
        }
    }

    /// Ends a landing, complete or not, and thinks again.
    fn abandon(&mut self) {
        self.landing = None;
        self.must_plan = true;
    }

    fn end_command(&mut self, id: RangeId, result: Result<(), RangeError>) {
        self.command = None;
        self.stalls.remove(&None);
        self.event(SyncEvent::Range { id, result });
    }

    /// Without anything to fetch, whatever the view can no longer link to will never be needed.
    fn tidy(&mut self, view: &ChainView<Block>) {
        let is_idle = view.gap().is_none() && self.command.is_none();
        if let Some(floor) = view.floor().filter(|_| is_idle) {
            self.release(|id| id.number <= floor.number);
        }
    }

    /// Drops what is not on the way down from `wanted`. Whether there is room now.
    fn make_room(&mut self, view: &ChainView<Block>, wanted: BlockId) -> bool {
        // Lowest first, hence sorted.
        let path = self.path(view, wanted);
        self.release(|id| path.binary_search(id).is_err());
        !self.is_full()
    }

    fn release(&mut self, unwanted: impl Fn(&BlockId) -> bool) {
        let gone = self.pending.clear(unwanted);
        if !gone.is_empty() {
            self.steps.push_back(FillStep::Release(gone));
        }
    }
}

/// The lowest number worth asking for, on a way that has come down to `number`: down to the head; below it a few
/// at a time, as the branch may link any moment.
fn lowest(view: &ChainView<Block>, chain: &ChainConfig, number: u64) -> u64 {
    let floor = view.floor().map_or(0, |floor| floor.number).max(chain.genesis.number).saturating_add(1);
    let head = view.head().map_or(0, |head| head.number);
    let lowest = if number > head { head.saturating_add(1) } else { number.saturating_sub(FORK_STEP - 1) };
    lowest.max(floor).min(number)
}

/// Two block times without a block.
fn stall(chain: &ChainConfig) -> Duration {
    Duration::from_secs(chain.block_time.saturating_mul(2)).max(SHORTEST_STALL)
}

const fn gap_of(aim: Aim) -> Option<GapId> {
    match aim {
        Aim::Gap(id) => Some(id),
        Aim::Command(_) => None,
    }
}
