//! Doubt about our fork schedule: the sequencer signed a block that breaks one of its rules. Then
//! the schedule is wrong, because the sequencer decides which fork a block belongs to.
//!
//! # Bounds
//! Holds one doubt, which counts blocks.

use crate::chain::Fork;
use crate::gossip::{ScheduleBreach, ScheduleRule, remedy};
use crate::payload::PayloadVersion;
use crate::time::{Instant, Now};
use std::fmt;
use std::time::Duration;

/// Minimum time between two reports of the same doubt.
pub const SCHEDULE_REPORT_EVERY: Duration = Duration::from_secs(60);
/// Time without a block that breaks the schedule after which the doubt ends.
pub const SCHEDULE_DOUBT_TTL: Duration = Duration::from_secs(600);
/// Number of consecutive signed blocks that keep to the schedule after which the doubt ends.
pub const SCHEDULE_DOUBT_BLOCKS: u64 = 1000;

/// Signed blocks of the sequencer break a rule of our fork schedule. The display text is one
/// sentence for the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScheduleDoubt {
    /// The rule that the newest such block breaks.
    pub rule: ScheduleRule,
    /// The fork whose time in our schedule is in doubt.
    pub fork: Fork,
    /// Activation time of the fork in our schedule, in Unix seconds, or `None` if our schedule
    /// lacks it.
    pub activation: Option<u64>,
    /// Arrival of the first such block, in Unix seconds.
    pub since: u64,
    /// Arrival of the newest such block, in Unix seconds.
    pub last: u64,
    /// Number of such blocks.
    pub blocks: u64,
}

impl ScheduleDoubt {
    /// Returns a remedy for the operator, as one clause.
    pub fn remedy(&self) -> String {
        remedy(self.rule, self.fork)
    }
}

impl fmt::Display for ScheduleDoubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, fork, activation, since, last, blocks } = self;
        let (times, broke) = (if *blocks == 1 { "block" } else { "blocks" }, rule.name());
        write!(f, "{blocks} signed {times} broke our fork schedule ({broke}) ")?;
        write!(f, "from {since} to {last} (Unix seconds), ")?;
        match activation {
            Some(time) => write!(f, "which has {fork} at {time}: ")?,
            None => write!(f, "which lacks {fork}: ")?,
        }
        f.write_str(&self.remedy())
    }
}

/// Watches whether the sequencer's blocks keep to our schedule.
#[derive(Debug, Default)]
pub(super) struct ScheduleWatch(Option<Current>);

#[derive(Debug)]
struct Current {
    doubt: ScheduleDoubt,
    last: Instant,
    reported: Instant,
    /// Signed blocks since the last one that broke the schedule.
    agreeing: u64,
    /// The topics of such blocks.
    topics: [bool; PayloadVersion::ALL.len()],
}

impl Current {
    fn end(&self) -> Instant {
        self.last + SCHEDULE_DOUBT_TTL
    }
}

impl ScheduleWatch {
    /// Returns the doubt, if there is one.
    pub(super) fn doubt(&self) -> Option<ScheduleDoubt> {
        self.0.as_ref().map(|current| current.doubt)
    }

    /// Returns the time at which the doubt ends if no further block breaks the schedule.
    pub(super) fn next_wakeup(&self) -> Option<Instant> {
        self.0.as_ref().map(Current::end)
    }

    /// Returns `true` if blocks arrive on the topic although our schedule says otherwise.
    pub(super) fn is_live(&self, topic: PayloadVersion) -> bool {
        self.0.as_ref().is_some_and(|current| current.topics[topic.index()])
    }

    /// Counts a signed block that keeps to the schedule.
    pub(super) const fn agrees(&mut self) {
        if let Some(current) = &mut self.0 {
            current.agreeing += 1;
        }
    }

    /// Counts a signed block that breaks the schedule. Returns the doubt if it must be reported
    /// now.
    pub(super) fn disagrees(
        &mut self,
        now: Now,
        topic: PayloadVersion,
        breach: ScheduleBreach,
    ) -> Option<ScheduleDoubt> {
        let ScheduleBreach { rule, fork, activation, .. } = breach;
        let unix = now.unix_seconds();
        let is_new = self.0.is_none();
        let current = self.0.get_or_insert_with(|| Current {
            doubt: ScheduleDoubt { rule, fork, activation, since: unix, last: unix, blocks: 0 },
            last: now.monotonic,
            reported: now.monotonic,
            agreeing: 0,
            topics: Default::default(),
        });
        let blocks = current.doubt.blocks.saturating_add(1);
        current.doubt =
            ScheduleDoubt { rule, fork, activation, last: unix, blocks, ..current.doubt };
        (current.last, current.agreeing) = (now.monotonic, 0);
        current.topics[topic.index()] = true;
        let is_due = now.monotonic.since(current.reported) >= SCHEDULE_REPORT_EVERY;
        (is_new || is_due).then(|| {
            current.reported = now.monotonic;
            current.doubt
        })
    }

    /// Ends the doubt if it is over, and returns it.
    pub(super) fn end(&mut self, now: Now) -> Option<ScheduleDoubt> {
        let is_over = |current: &Current| {
            current.agreeing >= SCHEDULE_DOUBT_BLOCKS || current.end() <= now.monotonic
        };
        self.0.take_if(|current| is_over(current)).map(|current| current.doubt)
    }
}
