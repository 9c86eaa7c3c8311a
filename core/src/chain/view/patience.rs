//! Time limits for gaps that hold up the head.

use std::time::Duration;

use super::{ChainBlock, ChainView, GapId, SkipReason};
use crate::time::Instant;

impl<B: ChainBlock> ChainView<B> {
    /// Records that the caller has the blocks of a gap and is inserting them. No gap is given up
    /// until the patience has passed from `now` on.
    pub fn delay_skips(&mut self, now: Instant) {
        self.patient_since = self.patient_since.max(now);
    }

    /// Records that a missing block of this gap was found, which restarts the gap's clock. The
    /// caller inserts the blocks later.
    pub fn progressed(&mut self, now: Instant, gap: GapId) {
        if self.runs.get(gap).is_some_and(|run| run.since.is_some_and(|since| since < now)) {
            self.runs.edit(gap, |run| run.since = Some(now));
        }
    }

    /// Returns the time since which this open gap has waited: when it opened, or when a block of it
    /// was last found.
    pub fn waiting_since(&self, gap: GapId) -> Option<Instant> {
        self.runs.get(gap)?.since
    }

    /// Returns [`ChainViewConfig::gap_patience`](super::ChainViewConfig::gap_patience).
    pub const fn gap_patience(&self) -> Option<Duration> {
        self.config.gap_patience
    }

    /// Sets the time for which gaps may hold up the head from now on, capped at
    /// [`ChainViewConfig::gap_patience`](super::ChainViewConfig::gap_patience). Use less while no
    /// known source can fill gaps.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = self.config.gap_patience.map(|longest| longest.min(patience));
    }

    /// Moves to the branch that the sequencer is signing, if the move is due. Then gives up the
    /// lowest gap, which holds up the head, if it is too long or its clock has run for the
    /// patience, and the next gap if the same is true for it. Therefore the view skips no held
    /// block, and no gap makes another one wait longer.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        self.follow_rivals(now);
        while let Some((lowest, _, reason)) = self.gap_ends().filter(|(_, due, _)| *due <= now) {
            self.skip(now, lowest, reason);
            self.settle();
        }
    }

    /// Returns the time of the next call of [`handle_timeout`](Self::handle_timeout), unless
    /// something happens before, or `None` if nothing is scheduled.
    pub fn next_wakeup(&self) -> Option<Instant> {
        self.gap_ends().map(|(_, due, _)| due).into_iter().chain(self.rivals_due()).min()
    }

    /// Returns the lowest gap, the time at which it is skipped, and the reason.
    fn gap_ends(&self) -> Option<(GapId, Instant, SkipReason)> {
        let lowest = self.runs.lowest_open()?;
        let run = self.runs.get(lowest)?;
        let opened = run.since?;
        // The number of missing blocks; zero for a branch that hangs below the head, which does not
        // hold the head while it moves.
        let missing = self.head().map_or(0, |head| run.wanted.number.saturating_sub(head.number));
        // Blocks that do not link may belong to an abandoned branch, as long as the shown branch
        // grows.
        let live_until = self.rivals.live_until();
        if self.config.max_gap.is_some_and(|most| missing > most) {
            return Some((lowest, opened.max(live_until), SkipReason::TooLong));
        }
        let patience = self.patience?;
        let since = opened.max(self.patient_since);
        let holds = self.head().is_none_or(|head| run.wanted.number > head.number);
        let since = if holds { since } else { since.max(self.last_progress) };
        // The first missing block was due some intervals before the block that revealed the gap. A
        // long gap shows that this node was offline, so its sources get the full time.
        let missing = u32::try_from(missing).unwrap_or(u32::MAX);
        let late = self.rivals.interval().saturating_mul(missing);
        let patience = if late > patience / 2 { patience } else { patience - late };
        Some((lowest, (since + patience).max(live_until), SkipReason::Patience))
    }
}
