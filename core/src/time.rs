//! Time as an input. The core has no clock: the driver reads its clocks and passes a [`Now`] to
//! each call.

use std::time::Duration;

/// A monotonic reading: the time since a fixed moment of the driver's choice. It never decreases.
///
/// Timers and back-offs use it. Two readings are comparable only within one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(Duration);

impl Instant {
    /// Creates the reading at `since` after the driver's fixed moment.
    pub const fn from_start(since: Duration) -> Self {
        Self(since)
    }

    /// Returns the time since the driver's fixed moment.
    pub const fn since_start(self) -> Duration {
        self.0
    }

    /// Returns the time from `earlier` to this reading, or zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl std::ops::Add<Duration> for Instant {
    type Output = Self;

    fn add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(by))
    }
}

/// One reading of both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// The monotonic clock, for timers.
    pub monotonic: Instant,
    /// The wall clock, as time since the Unix epoch, for block timestamps. It may jump.
    pub unix: Duration,
}

impl Now {
    /// Creates a reading of both clocks, from the time since each clock's own start.
    pub const fn new(since_start: Duration, since_epoch: Duration) -> Self {
        Self { monotonic: Instant::from_start(since_start), unix: since_epoch }
    }

    /// Returns the whole seconds of the wall clock, the unit of block timestamps.
    pub const fn unix_seconds(&self) -> u64 {
        self.unix.as_secs()
    }
}
