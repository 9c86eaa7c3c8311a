//! The gap filler: decides which blocks are fetched, keeps them, and passes them to the chain view
//! in order.
//!
//! The [`GapFiller`] aims two clients at the gap of the chain view whose blocks reach highest,
//! since the sequencer's chain leads there: the [`SegmentClient`], which fetches ranges from peers
//! that support them, and the [`RangeClient`], which asks for single blocks by number if the other
//! gets nowhere. Each proved block goes to the **pending area** of the driver's store at once, and
//! so does each signed block that waits for its ancestors: blocks for which the view has no room
//! need not be fetched again, and survive a restart. When the path down reaches the canonical
//! chain, the pending blocks *land*: they are inserted into the view lowest first, which passes
//! them on.
//!
//! # If the path down does not reach the chain
//! * The pending area is full, or the chain that the sequencer signed leaves ours below all blocks
//!   that the view remembers: the chain continues at the lowest pending block, with a
//!   [`ChainEvent::Skipped`] that reports this.
//! * The head is older than [`FillConfig::max_age`]: no requests are sent.
//! * No source has the next block: it is requested again and again, in turn with other gaps.
//!
//! In the last two cases the view's patience ends the gap: see [`patience`].
//!
//! # History
//! With [`FillConfig::history`], the blocks below the first head are fetched too, once there are
//! neither gaps nor a command: see [`history`].
//!
//! # Bounds
//! * Blocks being fetched: see [`RangeClient`] and [`SegmentClient`].
//! * Peers that support the range protocol: those that are connected.
//! * The pending area: [`FillConfig::pending_blocks`] entries of about 150 bytes in memory, and
//!   [`FillConfig::pending_bytes`] on disk. The sequencer's chain fills it. Its blocks in memory
//!   are those that the store has not confirmed, perhaps because its disk is full (fetching pauses
//!   when they reach 8 MiB), and the lowest 4 MiB of the confirmed ones.
//! * Landing: 40 bytes for each landing block, and at most [`LOAD_BLOCKS`] or [`LOAD_BYTES`] at
//!   once in memory.
//! * One commanded range at a time.
//! * History: see [`history`].
//! * Signed blocks that are of no use: at most `UNUSABLE` ids, the highest.
//!
//! [`ChainEvent::Skipped`]: crate::chain::ChainEvent::Skipped

pub mod history;
mod land;
pub mod patience;
mod recall;
mod segments;
mod signed;
mod store;
mod types;

use std::collections::VecDeque;
use std::time::Duration;

use alloy_primitives::Bytes;

use super::check::RequestFailure;
use super::client::{ClientStep, Range, RangeClient, RequestId};
use super::pending::{PendingArea, PendingBlock, UNSAVED_BYTES};
use super::range::{SegmentClient, StreamId};
use crate::chain::{BlockId, ChainConfig, ChainView, GapId, SkipReason, Standing};
use crate::payload::Block;
use crate::peers::PeerId;
use crate::sorted::{SortedMap, SortedSet};
use crate::time::{Instant, Now};
use history::History;
use land::Landing;
use patience::{Line, Stalls, beyond};
pub use types::{
    FillConfig, FillStep, HistoryConfig, HistoryEnd, Lowest, RangeError, RangeId, Reach, Recalled,
    SyncEvent, SyncStatus,
};

/// Maximum number of blocks loaded at once.
pub const LOAD_BLOCKS: usize = 64;
/// Maximum size of the blocks loaded at once, in bytes; a single block may be larger.
pub const LOAD_BYTES: usize = 4 << 20;
/// Number of blocks, at and below the head's height, that are fetched at a time to find where a
/// branch links.
const FORK_STEP: u64 = 16;
/// Pause of fetching after the store failed.
const STORE_PAUSE: Duration = Duration::from_secs(5);
/// Purpose of fetching.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aim {
    Gap(GapId),
    Command(RangeId),
    History,
}

/// A commanded range.
#[derive(Clone, Copy, Debug)]
struct Command {
    id: RangeId,
    to: BlockId,
    /// Time of the command, or of the last proved block, which may belong to the range or to a gap
    /// that went first.
    since: Instant,
}

/// Fills gaps and commanded ranges: see the [module's documentation](self).
#[derive(Debug)]
pub struct GapFiller {
    config: FillConfig,
    client: RangeClient,
    /// Fetches the same range from peers that support the range protocol.
    segments: SegmentClient,
    /// Connected peers that support it.
    speakers: SortedSet<PeerId>,
    /// The driver's streams, and whether it was told to read from each.
    streams: SortedMap<StreamId, bool>,
    pending: PendingArea,
    landing: Option<Landing>,
    command: Option<Command>,
    history: Option<History>,
    aim: Option<Aim>,
    /// Stalls of each gap, and of the command under `None`.
    stalls: SortedMap<Option<GapId>, Stalls>,
    /// Gaps that were refused because the head is too old.
    refused: SortedSet<GapId>,
    started: Instant,
    line: Line,
    next_stall: Instant,
    paused_until: Instant,
    /// When to try a complete path again because the view would not leave its branch yet.
    land_at: Option<Instant>,
    /// Blocks that the store failed to keep, and when it is asked again.
    unheld: SortedSet<BlockId>,
    hold_at: Instant,
    must_plan: bool,
    /// Blocks that the sequencer signed, and that were refused for another reason.
    unusable: SortedSet<BlockId>,
    steps: VecDeque<FillStep>,
}

/// Known end of the path down from a block.
enum Way {
    /// A position to which the chain view can link.
    Meets,
    /// A block that has to be fetched.
    GoesOn(BlockId),
    /// A position to which no block can link any more.
    Ends,
}

impl GapFiller {
    /// Creates a filler with the blocks `stored` in the pending area.
    pub fn new(
        now: Instant,
        config: FillConfig,
        stored: impl IntoIterator<Item = PendingBlock>,
    ) -> Self {
        Self {
            client: RangeClient::new(config.client),
            segments: SegmentClient::new(config.segments),
            speakers: SortedSet::new(),
            streams: SortedMap::new(),
            pending: PendingArea::new(stored),
            landing: None,
            command: None,
            history: config.history.map(History::new),
            aim: None,
            stalls: SortedMap::new(),
            refused: SortedSet::new(),
            started: now,
            line: Line::default(),
            next_stall: now,
            paused_until: now,
            land_at: None,
            unheld: SortedSet::new(),
            hold_at: now,
            must_plan: false,
            unusable: SortedSet::new(),
            steps: VecDeque::new(),
            config,
        }
    }

    /// Sets the seed of the clients: see [`RangeClient::with_seed`].
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.client = self.client.with_seed(seed);
        self.segments = self.segments.with_seed(seed);
        self
    }

    /// Returns the client of blocks by number, to report peers to it.
    pub const fn client_mut(&mut self) -> &mut RangeClient {
        &mut self.client
    }

    /// Returns the state of fetching.
    pub fn status(&self) -> SyncStatus {
        let (wanted, landing) = self.progress();
        SyncStatus {
            wanted,
            history: self.history.as_ref().and_then(History::wanted),
            pending: self.pending.len(),
            charges: self.client.charges() + self.segments.charges(),
            in_flight: self.client.in_flight(),
            streams: self.segments.streams(),
            servers: self.client.servers(),
            range_servers: self.segments.usable(),
            endpoints: self.config.client.endpoints,
            landing,
            slots: self.client.slots(),
            memory: self
                .client
                .bytes()
                .saturating_add(self.segments.bytes())
                .saturating_add(self.pending.memory())
                .saturating_add(self.history.as_ref().map_or(0, History::bytes)),
        }
    }

    /// Returns the number of steps of all walks over the pending area.
    #[cfg(test)]
    pub const fn steps(&self) -> usize {
        self.pending.steps()
    }

    /// Records that the gaps of the view have changed.
    pub const fn gaps_changed(&mut self) {
        self.must_plan = true;
    }

    /// Takes a signed block that is not canonical: it goes to the pending area, in case the view
    /// has to drop it.
    pub fn waits(&mut self, block: &Block) {
        self.hold(block);
        self.must_plan = true;
    }

    /// Records that a block became canonical. Returns `true` if the store has confirmed it in the
    /// pending area, so that it need not be written again.
    pub fn became_canonical(&mut self, id: &BlockId) -> bool {
        self.pending.remove(id) == Some(true)
    }

    /// Takes the answer to a request, or the reason why none will come.
    pub fn received(&mut self, now: Instant, id: RequestId, result: Result<Bytes, RequestFailure>) {
        self.client.received(now, id, result);
    }

    /// Takes the blocks that [`FillStep::Load`] requested, in its order; `None` for each unreadable
    /// one.
    pub fn loaded(
        &mut self,
        now: Instant,
        blocks: Vec<Option<Block>>,
        view: &mut ChainView<Block>,
    ) {
        let Some(landing) = self.landing.as_mut().filter(|landing| landing.is_loading) else {
            return;
        };
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

    /// Fetches all blocks down from `to` as if the sequencer had signed it: the caller vouches for
    /// its hash.
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
            Some(_) => beyond(now, to.number, view, chain)
                .or_else(|| self.too_old(now, view, chain))
                .or(self.command.is_some().then_some(RangeError::Busy)),
        };
        if let Some(error) = refused {
            self.event(SyncEvent::Range { id, result: Err(error) });
            return;
        }
        view.trust(to);
        self.command = Some(Command { id, to, since: now.monotonic });
        self.must_plan = true;
    }

    /// Returns the next step, or `None` if there is nothing to do.
    pub fn poll(&mut self) -> Option<FillStep> {
        self.steps.pop_front()
    }

    /// Returns when to call [`Self::settle`] if nothing happens before.
    pub fn next_wakeup(&self, now: Instant) -> Option<Instant> {
        let stall = (self.aim.is_some() && self.landing.is_none()).then_some(self.next_stall);
        let pause = (self.aim.is_some() && self.paused_until > now).then_some(self.paused_until);
        let hold = (!self.unheld.is_empty()).then_some(self.hold_at);
        let (client, segments) = (self.client.next_wakeup(now), self.segments.next_wakeup(now));
        let history = self.history.as_ref().and_then(History::next_wakeup);
        let times = [client, segments, stall, pause, self.land_at, hold, history];
        times.into_iter().flatten().min()
    }

    /// Does everything that follows from the calls so far, and from the time.
    pub fn settle(&mut self, now: Now, view: &mut ChainView<Block>, chain: &ChainConfig) {
        let (at, stall) = (now.monotonic, patience::stall(now, chain));
        self.handle_stall(now, view, chain);
        self.hold_again(at);
        self.settle_charges(at, view);
        self.settle_history(at, view, chain);
        if self.land_at.is_some_and(|due| due <= at) {
            self.land_at = None;
            self.must_plan = true;
        }
        loop {
            self.fetch(at, view, stall);
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
        self.read_on();
        if self.landing.is_some() {
            view.delay_skips(at);
        }
        self.stand_while_cut_off(now, view, chain);
    }

    fn client_step(
        &mut self,
        now: Instant,
        step: ClientStep,
        view: &mut ChainView<Block>,
        stall: Duration,
    ) {
        match step {
            ClientStep::Ask { id, peer, number, limit } => {
                self.steps.push_back(FillStep::Ask { id, peer, number, limit });
            }
            ClientStep::AskEndpoint { id, endpoint, number, body, limit } => {
                self.steps.push_back(FillStep::AskEndpoint { id, endpoint, number, body, limit });
            }
            ClientStep::Check(id, work) => self.steps.push_back(FillStep::Check(id, work)),
            ClientStep::Conduct(peer, conduct) => self.event(SyncEvent::Conduct { peer, conduct }),
            ClientStep::Answered(answered) => self.event(SyncEvent::Answered(answered)),
            ClientStep::Proved(block, _) => {
                self.segments.proved_elsewhere(now, &block);
                self.proved(now, &block, view, stall);
            }
        }
    }

    /// Takes a proved block.
    fn proved(
        &mut self,
        now: Instant,
        block: &Block,
        view: &mut ChainView<Block>,
        stall: Duration,
    ) {
        if self.proved_history(now, block, stall) {
            return;
        }
        self.next_stall = now + stall;
        self.progressed(now, view);
        if let Some(Aim::Gap(gap)) = self.aim {
            let (lowest, head) = (BlockId::of(block), view.head());
            let above = head.map_or(0, |head| head.number.saturating_add(1));
            let missing = lowest.number.saturating_sub(above);
            self.event(SyncEvent::Found { gap, lowest, missing });
        }
        self.hold(block);
        let below = block.number().checked_sub(1).map(|n| BlockId::new(n, block.parent_hash()));
        self.must_plan |= self.is_full()
            || self.client.range().is_none()
            || below.is_none_or(|below| {
                view.standing(&below) != Standing::Unknown || self.pending.parent(&below).is_some()
            });
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

    /// Decides which blocks are fetched, and whether a path is complete.
    fn plan(&mut self, now: Now, view: &mut ChainView<Block>, chain: &ChainConfig) {
        self.must_plan = false;
        if let Some(Command { id, to, .. }) = self.command
            && view.standing(&to) == Standing::Linked
        {
            self.end_command(id, Ok(()));
        }
        let Some((aim, wanted)) = self.choose(now, view, chain) else {
            self.plan_history(now, chain);
            return self.tidy(view);
        };
        self.aim_at(now, Some(aim), chain);
        let mut range = None;
        match self.way(view, chain, wanted) {
            Way::Meets => self.begin_landing(now.monotonic, aim, wanted, None, view),
            Way::Ends => {
                let skip = Some(SkipReason::Unreachable);
                self.begin_landing(now.monotonic, aim, wanted, skip, view);
            }
            Way::GoesOn(_) if self.is_full() && !self.make_room(view, wanted) => {
                self.begin_landing(now.monotonic, aim, wanted, Some(SkipReason::Full), view);
            }
            Way::GoesOn(next) => {
                range = Some(Range { wanted: next, lowest: lowest(view, chain, next.number) });
            }
        }
        self.aim_clients(now.monotonic, range);
    }

    fn aim_clients(&mut self, now: Instant, range: Option<Range>) {
        self.client.aim(now, range);
        self.segments.aim(now, range);
    }

    /// Walks down from `from` over held blocks.
    fn way(&mut self, view: &ChainView<Block>, chain: &ChainConfig, from: BlockId) -> Way {
        let mut at = from;
        // Terminates: numbers decrease with each step.
        loop {
            at = match (view.standing(&at), self.pending.parent(&at)) {
                (Standing::Linked, _) => return Way::Meets,
                (Standing::Unreachable, _) => return Way::Ends,
                (_, Some(_)) => self.pending.walk_down(at, |id| {
                    matches!(view.standing(id), Standing::Linked | Standing::Unreachable)
                }),
                (Standing::Waits(wanted), None) => wanted,
                (Standing::Unknown, None) if at.number <= chain.genesis.number => return Way::Ends,
                (Standing::Unknown, None) => return Way::GoesOn(at),
            }
        }
    }

    /// Returns the pending blocks on the path down from `from`, lowest first.
    fn path(&self, view: &ChainView<Block>, from: BlockId) -> VecDeque<BlockId> {
        let mut path = VecDeque::new();
        let mut at = from;
        loop {
            at = match (view.standing(&at), self.pending.parent(&at)) {
                (Standing::Linked | Standing::Unreachable, _) | (Standing::Unknown, None) => {
                    return path;
                }
                (_, Some(parent)) => {
                    path.push_front(at);
                    parent
                }
                (Standing::Waits(wanted), None) => wanted,
            }
        }
    }

    fn end_command(&mut self, id: RangeId, result: Result<(), RangeError>) {
        self.command = None;
        self.stalls.remove(&None);
        self.event(SyncEvent::Range { id, result });
    }

    /// If there is nothing to fetch, drops the blocks to which the view can't link any more, since
    /// they will never be needed.
    fn tidy(&mut self, view: &ChainView<Block>) {
        let is_idle = !view.is_unsettled() && self.command.is_none();
        if let Some(floor) = view.window_floor().filter(|_| is_idle) {
            self.release(|id| id.number <= floor.number);
        }
    }

    /// Drops all blocks that are not on the path down from `wanted`. Returns `true` if there is
    /// room now.
    fn make_room(&mut self, view: &ChainView<Block>, wanted: BlockId) -> bool {
        // Lowest first, and therefore sorted.
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

/// Returns the lowest number to ask for, on a path that has come down to `number`: above the head,
/// the block after it; below, a few at a time, as the branch may link at any point.
fn lowest(view: &ChainView<Block>, chain: &ChainConfig, number: u64) -> u64 {
    let floor =
        view.floor().map_or(0, |floor| floor.number).max(chain.genesis.number).saturating_add(1);
    let head = view.head().map_or(0, |head| head.number);
    let lowest =
        if number > head { head.saturating_add(1) } else { number.saturating_sub(FORK_STEP - 1) };
    lowest.max(floor).min(number)
}

const fn gap_of(aim: Aim) -> Option<GapId> {
    match aim {
        Aim::Gap(id) => Some(id),
        Aim::Command(_) | Aim::History => None,
    }
}
