//! Record of a follower that is killed, restarts and catches up.
//!
//! Blocks that the follower had on its disk still count. Blocks that it had only in memory are
//! lost: they may be delivered again, and count as held only once they have arrived again. Until
//! the follower's head is the newest published block, arrivals are not latency samples.
//!
//! # Bounds
//! One [`Outage`] per follower: the last one.

use super::super::outage::{Outage, Phase};
use super::super::tally::{Mark, Tally};
use super::{Member, Report, Row};
use crate::text::count;
use opp2p_core::chain::BlockId;
use std::time::Duration;

impl Report {
    /// Records that a follower was killed; `stored` is the block from which it will resume. Its
    /// earlier events must have been recorded already.
    pub fn killed(&mut self, member: Member, stored: Option<BlockId>, at: Duration) {
        let Member::Follower(index) = member else { return };
        let Some(tally) = self.followers.get_mut(index) else { return };
        let stored_number = stored.map(|stored| stored.number);
        tally.head = stored;
        tally.peers = 0;
        tally.gaps.clear();
        tally.order.resume(stored_number);
        let (mut lost, mut lost_late) = (0, 0);
        for (_, row) in
            self.blocks.range_mut(stored_number.map_or(0, |number| number.saturating_add(1))..)
        {
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
        let above = self
            .totals
            .newest
            .map(|newest| newest.saturating_sub(stored_number.unwrap_or_default()));
        tally.outage = Some(Outage {
            killed_at: at,
            restarted_at: None,
            level_at: None,
            // Blocks of an earlier run don't count for this run.
            missed: above.unwrap_or_default().min(self.totals.blocks),
            to_go: 0,
        });
        let disk =
            stored_number.map_or_else(|| "nothing".to_owned(), |number| format!("block {number}"));
        self.note(member, format!("down: killed with {disk} as its stored head"), at);
    }

    /// Records that a killed follower runs again.
    pub fn restarted(&mut self, member: Member, at: Duration) {
        let Some(outage) = self.outage(member) else { return };
        outage.restarted_at = Some(at);
        let missed = count(outage.missed, "block");
        self.note(member, format!("catching up: started again, {missed} missed"), at);
        self.level(member, at);
    }

    /// Records a follower's own head, and the highest block that it knows.
    pub fn heights(&mut self, member: Member, head: Option<u64>, highest: Option<u64>) {
        if let Some(outage) = self.outage(member) {
            outage.to_go = highest.unwrap_or_default().saturating_sub(head.unwrap_or_default());
        }
    }

    /// Checks whether a follower that was behind has caught up at `at`, without a missing block.
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
        self.note(
            member,
            format!("live: {} caught up in {seconds:.2} s", count(caught_up, "block")),
            at,
        );
    }

    /// Returns `true` if no more events are expected: every follower holds every published block,
    /// in order, and killed followers have caught up or do not run.
    pub fn is_settled(&self) -> bool {
        let settled = |tally: &Tally| match tally.phase() {
            Some(Phase::Down) => true,
            _ => !tally.is_away() && self.is_in_order(tally),
        };
        self.followers.iter().all(settled)
    }

    /// Returns `true` if a follower was killed and runs again, but has not caught up.
    pub fn is_catching_up(&self) -> bool {
        self.followers.iter().any(|tally| matches!(tally.phase(), Some(Phase::CatchingUp(_))))
    }

    /// Returns `true` if a follower lacks a published block that should reach it soon.
    pub(super) fn is_awaited(&self, number: u64) -> bool {
        let Some(Row { published: Some(published), marks }) = self.blocks.get(&number) else {
            return false;
        };
        marks
            .iter()
            .zip(&self.followers)
            .any(|(mark, tally)| !mark.holds(published.hash) && !tally.is_away())
    }

    /// Returns the end of a block's log line: the absent followers and their states.
    pub(super) fn away(&self) -> String {
        let away = self.followers.iter().enumerate().filter(|(_, tally)| tally.is_away());
        let newest = self.totals.newest;
        away.map(|(index, tally)| format!("  {}: {}", Member::Follower(index), tally.state(newest)))
            .collect()
    }

    fn outage(&mut self, member: Member) -> Option<&mut Outage> {
        self.tally(member)?.outage.as_mut()
    }
}

#[cfg(test)]
pub(in crate::devnet) mod tests;
