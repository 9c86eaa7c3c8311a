//! A follower that is killed, starts again and catches up: what the books keep of it.
//!
//! What the follower had on its disk counts as before. What it had only in memory is lost: it may be
//! handed on again, and is held only when it has come again. Until its head is the newest published block,
//! nothing that comes to it is a sample of latency.
//!
//! # Bounds
//! One [`Outage`] for each follower, the last.

use super::report::{Member, Report, Row};
use super::tally::{Mark, Tally};
use crate::text::count;
use opp2p_core::chain::BlockId;
use std::time::Duration;

/// What became of a follower that was killed. Times are since the run's start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outage {
    killed_at: Duration,
    restarted_at: Option<Duration>,
    /// When its head was the newest published block again.
    level_at: Option<Duration>,
    /// Published blocks that were not on its disk when it started again.
    missed: u64,
    /// Blocks between its head and the highest that it knows of.
    to_go: u64,
}

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It does not run.
    Down,
    /// It runs, and has so many blocks to go; 0 until it knows of one.
    CatchingUp(u64),
    /// It has caught up.
    Live,
}

impl Outage {
    pub(super) fn phase(&self) -> Phase {
        match (self.restarted_at, self.level_at) {
            (None, _) => Phase::Down,
            (Some(_), None) => Phase::CatchingUp(self.to_go),
            (Some(_), Some(_)) => Phase::Live,
        }
    }

    pub(super) fn missed(&self) -> u64 {
        self.missed
    }

    /// From being killed to the start; `None` as long as it is down.
    pub(super) fn down(&self) -> Option<Duration> {
        Some(self.restarted_at?.saturating_sub(self.killed_at))
    }

    /// From the start to the newest published block; `None` as long as it has not caught up.
    pub(super) fn catching_up(&self) -> Option<Duration> {
        Some(self.level_at?.saturating_sub(self.restarted_at?))
    }

    /// A block was published at `at`.
    pub(super) fn published(&mut self, at: Duration) {
        self.missed += u64::from(self.restarted_at.is_none_or(|restarted| at < restarted));
    }
}

impl Report {
    /// A follower was killed, and `stored` is the block that it resumes from. All that it told before has
    /// been told here.
    pub fn killed(&mut self, member: Member, stored: Option<BlockId>, at: Duration) {
        let Member::Follower(index) = member else { return };
        let Some(tally) = self.followers.get_mut(index) else { return };
        let stored_number = stored.map(|stored| stored.number);
        tally.head = stored;
        tally.peers = 0;
        tally.gaps.clear();
        tally.order.resume(stored_number);
        let (mut lost, mut lost_late) = (0, 0);
        for (_, row) in self.blocks.range_mut(stored_number.map_or(0, |number| number.saturating_add(1))..) {
            let published = row.published;
            let Some(mark) = row.marks.get_mut(index) else { continue };
            if published.is_some_and(|published| mark.holds(published.hash)) {
                lost += 1;
                lost_late += u64::from(mark.late);
            }
            *mark = Mark::default();
        }
        tally.received = tally.received.saturating_sub(lost);
        tally.caught_up = tally.caught_up.saturating_sub(lost_late);
        let above = self.totals.newest.map(|newest| newest.saturating_sub(stored_number.unwrap_or_default()));
        tally.outage = Some(Outage {
            killed_at: at,
            restarted_at: None,
            level_at: None,
            // What an earlier run published is not this run's.
            missed: above.unwrap_or_default().min(self.totals.blocks),
            to_go: 0,
        });
        let disk = stored_number.map_or_else(|| "nothing".to_owned(), |number| format!("block {number}"));
        self.note(member, format!("down: killed with {disk} as its stored head"), at);
    }

    /// A follower that was killed runs again.
    pub fn restarted(&mut self, member: Member, at: Duration) {
        let Some(outage) = self.outage(member) else { return };
        outage.restarted_at = Some(at);
        let missed = count(outage.missed, "block");
        self.note(member, format!("catching up: started again, {missed} missed"), at);
        self.level(member, at);
    }

    /// A follower's own view of how far it is: its head, and the highest block that it knows of.
    pub fn heights(&mut self, member: Member, head: Option<u64>, highest: Option<u64>) {
        if let Some(outage) = self.outage(member) {
            outage.to_go = highest.unwrap_or_default().saturating_sub(head.unwrap_or_default());
        }
    }

    /// Looks whether a follower that was behind has caught up at `at`, with nothing left out.
    pub(super) fn level(&mut self, member: Member, at: Duration) {
        let newest = self.totals.newest;
        let Some(tally) = self.tally(member) else { return };
        let head = tally.head.map(|head| head.number);
        if head < newest || tally.order.is_broken() {
            return;
        }
        let caught_up = tally.caught_up;
        let Some(outage) = tally.outage.as_mut() else { return };
        if !matches!(outage.phase(), Phase::CatchingUp(_)) {
            return;
        }
        outage.level_at = Some(at);
        let seconds = outage.catching_up().unwrap_or_default().as_secs_f64();
        self.note(member, format!("live: {} caught up in {seconds:.2} s", count(caught_up, "block")), at);
    }

    /// Whether nothing more is to come: every follower holds every published block, in order, and those
    /// that were killed have caught up or do not run.
    pub fn is_settled(&self) -> bool {
        let settled = |tally: &Tally| match tally.phase() {
            Some(Phase::Down) => true,
            _ => !tally.is_away() && self.is_in_order(tally),
        };
        self.followers.iter().all(settled)
    }

    /// Whether a follower was killed and runs, but has not caught up.
    pub fn is_catching_up(&self) -> bool {
        self.followers.iter().any(|tally| matches!(tally.phase(), Some(Phase::CatchingUp(_))))
    }

    /// Whether a follower lacks a published block that it should be about to get.
    pub(super) fn is_awaited(&self, number: u64) -> bool {
        let Some(Row { published: Some(published), marks }) = self.blocks.get(&number) else { return false };
        marks.iter().zip(&self.followers).any(|(mark, tally)| !mark.holds(published.hash) && !tally.is_away())
    }

    /// The end of a block's line in the log: who is away, and how far from being back.
    pub(super) fn away(&self) -> String {
        let away = self.followers.iter().enumerate().filter(|(_, tally)| tally.is_away());
        let newest = self.totals.newest;
        away.map(|(index, tally)| format!("  {}: {}", Member::Follower(index), tally.state(newest))).collect()
    }

    fn outage(&mut self, member: Member) -> Option<&mut Outage> {
        self.tally(member)?.outage.as_mut()
    }
}

#[cfg(test)]
pub(super) mod tests;
