//! Record of scenarios, and of branches that the sequencer leaves.
//!
//! When the sequencer leaves some of its blocks, they no longer count: followers must replace them
//! by the blocks of the other branch.

use super::super::scenario::Scenario;
use super::{BLOCKS, Member, NOTES, Played, Published, Report};
use std::time::Duration;

impl Report {
    /// Records that a scenario begins; `text` says what happens.
    pub fn began(&mut self, scenario: Scenario, text: &str, at: Duration) {
        if self.scenarios.len() == NOTES {
            self.scenarios.pop_front();
        }
        self.scenarios.push_back(Played { scenario, at, block: self.totals.newest });
        self.remark(scenario, text, at);
    }

    /// Records something else about a scenario.
    pub fn remark(&mut self, scenario: Scenario, text: &str, at: Duration) {
        self.note(None::<Member>, format!("scenario {scenario}: {text}"), at);
    }

    /// Returns `true` if this scenario is among the newest that began.
    pub fn has_played(&self, scenario: Scenario) -> bool {
        self.scenarios.iter().any(|played| played.scenario == scenario)
    }

    /// Records that the sequencer left its blocks above the number `base`. The next one that it
    /// publishes builds on the block with that number, which was published in this run.
    pub fn branched(&mut self, base: u64) {
        let next = base.saturating_add(1);
        for (number, row) in self.blocks.split_off(&next) {
            let Some(Published { hash, transactions, bytes, at }) = row.published else { continue };
            self.left.insert((number, hash));
            self.totals.blocks = self.totals.blocks.saturating_sub(1);
            self.totals.transactions = self.totals.transactions.saturating_sub(transactions as u64);
            self.totals.bytes = self.totals.bytes.saturating_sub(bytes as u64);
            for (mark, tally) in row.marks.iter().zip(&mut self.followers) {
                if mark.holds(hash) {
                    let is_late = mark.latency(hash, at).is_none();
                    tally.received = tally.received.saturating_sub(1);
                    tally.caught_up = tally.caught_up.saturating_sub(u64::from(is_late));
                }
            }
        }
        while self.left.len() > BLOCKS {
            self.left.pop_first();
        }
        self.totals.newest = self.totals.newest.map(|newest| newest.min(base));
        self.next_in_log = self.next_in_log.map(|number| number.min(next));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{BOTH, block, in_order, lines, ms, publish, receive, report};
    use super::super::{BlockId, ChainEvent, Event};
    use super::*;
    use alloy_primitives::B256;

    /// Returns a record of blocks 1 to 5 at both followers, and of a branch that replaces the last
    /// two by the blocks 4 to `last`.
    fn branched(last: u64) -> (Report, Vec<BlockId>) {
        let mut report = report();
        for number in 1..=5 {
            publish(&mut report, number);
            BOTH.into_iter().for_each(|member| receive(&mut report, member, number, 4));
        }
        lines(&mut report, Duration::MAX);
        report.began(Scenario::Reorg, "other blocks", ms(5_500));
        report.branched(3);
        let branch: Vec<_> =
            (4..=last).map(|number| BlockId::new(number, B256::repeat_byte(0xb0))).collect();
        for id in &branch {
            report.published(*id, 20, 30_000, ms(1000 * id.number + 2000));
        }
        (report, branch)
    }

    #[test]
    fn followers_that_replace_the_left_blocks_are_in_order() {
        let (mut report, branch) = branched(6);
        assert_eq!((report.totals.blocks, report.totals.bytes), (6, 180_000));
        assert_eq!(in_order(&report), [false, false]);
        for member in BOTH {
            for id in &branch {
                report.verdict(member, Ok(*id), ms(1000 * id.number + 2005));
            }
            let reorg = ChainEvent::Reorg {
                ancestor: block(3),
                abandoned: vec![block(4), block(5)],
                adopted: branch.clone(),
            };
            report.event(member, &Event::Chain(reorg), ms(9_000));
            branch.iter().for_each(|id| report.delivered(member, *id));
        }
        assert_eq!(in_order(&report), [true, true]);
        let summary = report.summary(ms(9_500));
        assert_eq!((summary.ok, summary.reorgs, summary.followers[0].caught_up), (true, 2, 0));
        assert_eq!(summary.scenarios.len(), 1);
        let lines = lines(&mut report, Duration::MAX);
        assert_eq!(lines[0], "scenario reorg: other blocks");
        assert!(lines.iter().any(|line| line.starts_with("block 4      0xb0b0b0b0")), "{lines:?}");
        assert!(report.has_played(Scenario::Reorg) && !report.has_played(Scenario::Fast));
    }

    #[test]
    fn a_follower_that_stays_on_the_left_blocks_is_not_in_order() {
        let (mut report, branch) = branched(5);
        for id in &branch {
            report.verdict(BOTH[0], Ok(*id), ms(1000 * id.number + 2005));
        }
        // It has delivered as many blocks as there are, and holds all of them.
        assert_eq!((report.followers[0].received, report.totals.blocks), (5, 5));
        assert_eq!(in_order(&report), [false, false]);
    }

    #[test]
    fn a_left_block_that_is_reported_late_does_no_harm() {
        let (mut report, branch) = branched(6);
        let [follower, _] = BOTH;
        report.verdict(follower, Ok(block(5)), ms(5_900));
        let reorg = ChainEvent::Reorg {
            ancestor: block(3),
            abandoned: vec![block(4), block(5)],
            adopted: branch.clone(),
        };
        report.event(follower, &Event::Chain(reorg), ms(9_000));
        for id in branch {
            report.verdict(follower, Ok(id), ms(1000 * id.number + 2005));
            report.delivered(follower, id);
        }
        assert_eq!(in_order(&report), [true, false]);
    }
}
