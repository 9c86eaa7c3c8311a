//! Record of one outage of a follower, and its stages.

use std::time::Duration;

/// Record of one outage of a follower. Times are since the start of the run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outage {
    pub(super) killed_at: Duration,
    pub(super) restarted_at: Option<Duration>,
    /// Time when its head was again the newest published block.
    pub(super) level_at: Option<Duration>,
    /// Number of published blocks that were not on its disk when it restarted.
    pub(super) missed: u64,
    /// Number of blocks between its head and the highest block that it knows.
    pub(super) to_go: u64,
}

/// Stage of an outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The follower does not run.
    Down,
    /// The follower runs, and is this number of blocks behind; 0 until it knows of a block.
    CatchingUp(u64),
    /// The follower has caught up.
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

    /// Returns the time from the kill to the restart; `None` while it is down.
    pub(super) fn down(&self) -> Option<Duration> {
        Some(self.restarted_at?.saturating_sub(self.killed_at))
    }

    /// Returns the time from the restart until the follower caught up; `None` until then.
    pub(super) fn catching_up(&self) -> Option<Duration> {
        Some(self.level_at?.saturating_sub(self.restarted_at?))
    }

    /// Records a block that was published at `at`.
    pub(super) fn published(&mut self, at: Duration) {
        self.missed += u64::from(self.restarted_at.is_none_or(|restarted| at < restarted));
    }
}
