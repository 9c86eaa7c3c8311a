//! Time, as it comes in. The core has no clock: each call carries a [`Now`] that the driver read.

use std::time::Duration;

/// A monotonic reading: time since some fixed moment of the driver's choice. Never goes back.
///
/// Timers and back-offs are measured with it. Two readings are comparable only within one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(Duration);

impl Instant {
    /// The reading that lies `since` after the driver's fixed moment.
    pub const fn from_start(since: Duration) -> Self {
        Self(since)
    }

    /// How long after the driver's fixed moment this is.
    pub const fn since_start(self) -> Duration {
        self.0
    }

    /// How much later than `earlier` this is; zero if it is not later.
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
    /// The wall clock, since the Unix epoch, for block timestamps. It may jump.
    pub unix: Duration,
}

impl Now {
    /// Both readings, each since its own start.
    pub const fn new(since_start: Duration, since_epoch: Duration) -> Self {
        Self { monotonic: Instant::from_start(since_start), unix: since_epoch }
    }

    /// Whole seconds of the wall clock, as block timestamps count.
    pub const fn unix_seconds(&self) -> u64 {
        self.unix.as_secs()
    }
}
