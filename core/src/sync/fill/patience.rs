//! The order of fetching, and the time for which a gap may hold the head.
//!
//! # Patience
//! There is one setting,
//! [`ChainViewConfig::gap_patience`](crate::chain::ChainViewConfig::gap_patience), and the view
//! keeps a clock for each gap. The clock starts when the gap opens and restarts with each proved
//! block of that gap. Nothing else restarts it: no other gap, and no change of the aim. The lowest
//! gap holds the head; when its clock has run for the patience, the view leaves the missing blocks
//! out.
//!
//! While no source could fill a gap, waiting is only useful for the time that gossip needs to
//! repair a loss by itself. So the patience is then [`UNSERVED_INTERVALS`] block intervals, at
//! least [`SHORTEST_UNSERVED`]. This applies when the head is older than
//! [`FillConfig::max_age`](super::FillConfig::max_age), and when all connected peers serve nothing
//! and no endpoint can be asked. It does not apply right after the start, when peers that serve
//! blocks may not be connected yet, unless peers are not asked at all. A shorter patience of the
//! operator applies always.
//!
//! While this node is cut off, the clocks stand: no gap is left out before the patience has passed
//! from the next connection on. Otherwise a gap whose patience ran out meanwhile would be left out
//! just when the peer is back that has its blocks. A node is *cut off* while it has lost all peers
//! and no endpoint can be asked, if peers are asked at all. One that never had a peer is not: it
//! may get its blocks in another way. The limits on the head's age and on a gap's length apply
//! meanwhile.
//!
//! # Turns
//! A gap that made no progress for a *stall* (two block intervals) lets the others go first. Among
//! gaps with equally many stalls, the lowest one goes first if half of its patience is over, then
//! the one that is being fetched, then the one whose blocks reach highest. So a gap that opens for
//! a moment, because messages overtake each other, takes no turn from a long one. A gap that waited
//! for `LONGEST_TURN` stalls since its own last one goes first, and progress ends its stalls: new
//! gaps may open all the time, and must not keep it from being fetched.

use std::cmp::Reverse;
use std::time::Duration;

use super::{Aim, Command, GapFiller, gap_of};
use crate::chain::{BlockId, ChainConfig, ChainView, Gap, GapId};
use crate::payload::Block;
use crate::sync::{RangeError, SyncEvent};
use crate::time::{Instant, Now};

/// Number of block intervals for which a gap holds the head if no source could fill it. Gossip
/// repairs a loss by itself within two of its heartbeats of 0.5 s, so a block that did not arrive
/// by then will not arrive.
pub const UNSERVED_INTERVALS: u32 = 3;
/// Minimum of this time, for chains with short intervals.
pub const SHORTEST_UNSERVED: Duration = Duration::from_secs(2);
/// Number of stalls after which a gap that stalled has its turn again, whatever opened meanwhile.
const LONGEST_TURN: u32 = 2;
/// Minimum duration of a stall.
const SHORTEST_STALL: Duration = Duration::from_secs(2);
/// Maximum time by which the block of a command may be ahead of the clock.
const CLOCK_SLACK: Duration = Duration::from_secs(60);

/// Stalls of a gap since it last made progress.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stalls {
    count: u32,
    last: Instant,
}

/// Connection to the network, as of the last look.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Line {
    /// Whether a peer was ever connected.
    had_peers: bool,
    /// Whether the node is cut off.
    is_cut: bool,
}

/// Returns the time for which a gap may hold the head while no source could fill it.
pub fn unserved(now: Now, chain: &ChainConfig) -> Duration {
    chain.interval_at(now.unix).saturating_mul(UNSERVED_INTERVALS).max(SHORTEST_UNSERVED)
}

/// Returns the highest number that a block can have now: by the clock with some slack, or by the
/// blocks that the sequencer signed. The clock alone does not suffice, as it may be wrong, and so
/// may the schedule of the chain.
pub fn highest_possible(now: Now, view: &ChainView<Block>, chain: &ChainConfig) -> u64 {
    let schedule = chain.schedule();
    let slack = schedule.blocks_in(now.unix, CLOCK_SLACK);
    let by_clock = schedule.highest_number_at(now.unix).unwrap_or(chain.genesis.number);
    let seen = view.highest().map_or(0, |highest| highest.number);
    by_clock.max(seen).saturating_add(slack)
}

/// Returns the duration of a stall: two block intervals.
pub(super) fn stall(now: Now, chain: &ChainConfig) -> Duration {
    chain.interval_at(now.unix).saturating_mul(2).max(SHORTEST_STALL)
}

/// Returns the error of a command for this block if the block can't exist yet.
pub(super) fn beyond(
    now: Now,
    number: u64,
    view: &ChainView<Block>,
    chain: &ChainConfig,
) -> Option<RangeError> {
    let highest = highest_possible(now, view, chain);
    (number > highest).then_some(RangeError::NotYet { number, highest })
}

/// Returns the timestamp of a canonical block: its own if the view holds it, otherwise the one by
/// the schedule.
pub(super) fn time_of(number: u64, view: &ChainView<Block>, chain: &ChainConfig) -> Option<u64> {
    match view.canonical(number) {
        Some(block) => Some(block.timestamp()),
        None => chain.timestamp_of(number),
    }
}

impl GapFiller {
    /// Returns `true` if a source could fill the gaps, as far as is known: an endpoint, or a
    /// connected peer that is not known to serve nothing.
    pub fn could_fill(&self, now: Now, view: &ChainView<Block>, chain: &ChainConfig) -> bool {
        let at = now.monotonic;
        let has_source = self.client.servers() > 0
            || self.segments.usable() > 0
            || self.client.endpoints(at) > 0;
        // Peers that serve may still come, if peers are asked at all.
        let is_young = self.config.client.asks_peers
            && view.gap_patience().is_some_and(|patience| at.since(self.started) < patience);
        (has_source || is_young) && self.too_old(now, view, chain).is_none()
    }

    /// Has the view wait while this node is cut off, and from then on for a whole patience.
    pub(super) fn stand_while_cut_off(
        &mut self,
        now: Now,
        view: &mut ChainView<Block>,
        chain: &ChainConfig,
    ) {
        let at = now.monotonic;
        let has_peers = self.client.has_peers();
        self.line.had_peers |= has_peers;
        let is_cut = self.config.client.asks_peers
            && self.line.had_peers
            && !has_peers
            && self.client.endpoints(at) == 0
            && self.too_old(now, view, chain).is_none();
        // The first call after the connection counts too: the last one before may be long ago.
        if is_cut || self.line.is_cut {
            view.delay_skips(at);
        }
        self.line.is_cut = is_cut;
    }

    /// Returns the next block to fetch, without the history, and the number of landing blocks: as
    /// in [`Self::status`], but without a walk over the servers.
    pub fn progress(&self) -> (Option<BlockId>, usize) {
        let range = self.client.range().filter(|_| self.aim != Some(Aim::History));
        let wanted = range.map(|range| range.wanted);
        (wanted, self.landing.as_ref().map_or(0, |landing| landing.path.len()))
    }

    /// Records that a block was proved.
    pub(super) fn progressed(&mut self, now: Instant, view: &mut ChainView<Block>) {
        if let Some(aim) = self.aim {
            self.stalls.remove(&gap_of(aim));
        }
        if let Some(Aim::Gap(gap)) = self.aim {
            view.progressed(now, gap);
        }
        if let Some(command) = &mut self.command {
            command.since = now;
        }
    }

    /// Counts a stall.
    pub(super) fn stalled(&mut self, now: Instant, aim: Aim) {
        let stalls = self.stalls.get_or_insert_with(gap_of(aim), || Stalls { count: 0, last: now });
        *stalls = Stalls { count: stalls.count.saturating_add(1), last: now };
    }

    pub(super) fn handle_stall(&mut self, now: Now, view: &ChainView<Block>, chain: &ChainConfig) {
        let at = now.monotonic;
        let Some(aim) = self.aim.filter(|_| self.landing.is_none() && at >= self.next_stall) else {
            return;
        };
        self.client.expedite(at);
        self.segments.expedite(at);
        self.next_stall = at + stall(now, chain);
        self.must_plan = true;
        if aim == Aim::History {
            return self.stalled_history(at);
        }
        self.stalled(at, aim);
        if let (Some(Command { id, to, since }), Some(patience)) =
            (self.command, view.gap_patience())
            && at.since(since) >= patience
        {
            let range = self.client.range().filter(|_| aim == Aim::Command(id));
            let wanted = range.map_or(to.number, |range| range.wanted.number);
            self.end_command(id, Err(RangeError::NotFound(wanted)));
        }
    }

    /// Chooses the gap or command to fetch for now, and the block to begin at.
    pub(super) fn choose(
        &mut self,
        now: Now,
        view: &ChainView<Block>,
        chain: &ChainConfig,
    ) -> Option<(Aim, BlockId)> {
        let gaps: Vec<Gap> = view.gaps().collect();
        self.stalls.retain(|gap, _| gap.is_none_or(|gap| gaps.iter().any(|open| open.id == gap)));
        self.refused.retain(|gap| gaps.iter().any(|open| open.id == *gap));
        if let Some(error) = self.too_old(now, view, chain) {
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
        let urgent = view.gap_patience().and_then(|patience| {
            let lowest = gaps.first()?.id;
            let waited = now.monotonic.since(view.waiting_since(lowest)?);
            (waited >= patience / 2).then_some(lowest)
        });
        let longest = stall(now, chain).saturating_mul(LONGEST_TURN);
        // Whether it is not overdue, and its stalls.
        let stalls = |gap: Option<GapId>| match self.stalls.get(&gap) {
            Some(stalls) => (now.monotonic.since(stalls.last) < longest, stalls.count),
            None => (true, 0),
        };
        let gaps = gaps.iter().map(|gap| {
            (
                stalls(Some(gap.id)),
                urgent != Some(gap.id),
                self.aim != Some(Aim::Gap(gap.id)),
                gap.highest,
                Aim::Gap(gap.id),
                gap.wanted,
            )
        });
        let command = self
            .command
            .map(|Command { id, to, .. }| (stalls(None), true, true, to, Aim::Command(id), to));
        let best = gaps.chain(command).min_by_key(|(stalls, is_calm, is_new, highest, ..)| {
            (*stalls, *is_calm, *is_new, Reverse(*highest))
        });
        best.map(|(.., aim, wanted)| (aim, wanted))
    }

    /// Returns an error if the head is too old to fetch its successors. Its age is relative to its
    /// own timestamp if the view holds the block, otherwise to the schedule.
    pub(super) fn too_old(
        &self,
        now: Now,
        view: &ChainView<Block>,
        chain: &ChainConfig,
    ) -> Option<RangeError> {
        let limit = self.config.max_age?.as_secs();
        let number = view.head()?.number;
        let timestamp = time_of(number, view, chain)?;
        let age = now.unix_seconds().saturating_sub(timestamp);
        (age > limit).then_some(RangeError::TooOld { number, age, limit })
    }

    pub(super) fn aim_at(&mut self, now: Now, aim: Option<Aim>, chain: &ChainConfig) {
        if self.aim != aim {
            self.aim = aim;
            self.next_stall = now.monotonic + stall(now, chain);
        }
    }
}
