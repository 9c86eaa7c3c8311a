//! Both clocks of a browser: one that never goes back, and the time of day to the microsecond.

use opp2p_core::time::{Instant as CoreInstant, Now};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use web_time::{Instant, SystemTime, UNIX_EPOCH};

/// How far the day's time may be off before it is read anew: it counts in milliseconds, and jumps when the machine
/// slept or was set.
const TOLERANCE: Duration = Duration::from_millis(20);

/// The clocks, the monotonic one counted from the start.
#[derive(Debug)]
pub(crate) struct Clock {
    start: Instant,
    /// What the day's time was at the start, by the last reading of it, in microseconds.
    epoch: AtomicU64,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let clock = Self { start: Instant::now(), epoch: AtomicU64::new(0) };
        clock.unix();
        clock
    }

    /// Since 1970. Between two jumps it advances as the monotonic clock does, which counts microseconds.
    fn unix(&self) -> Duration {
        let passed = self.start.elapsed();
        let coarse = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let fine = Duration::from_micros(self.epoch.load(Ordering::Relaxed)) + passed;
        if fine.abs_diff(coarse) <= TOLERANCE {
            return fine;
        }
        // It is cut off to a millisecond: in the middle of that one it is least wrong.
        let epoch = (coarse + Duration::from_micros(500)).saturating_sub(passed);
        self.epoch.store(u64::try_from(epoch.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        epoch + passed
    }

    pub(crate) fn now(&self) -> Now {
        Now::new(self.start.elapsed(), self.unix())
    }

    /// Milliseconds since 1970.
    pub(crate) fn unix_millis(&self) -> f64 {
        self.unix().as_secs_f64() * 1000.0
    }

    /// How long until this moment; zero if it has passed.
    pub(crate) fn until(&self, at: CoreInstant) -> Duration {
        at.since_start().saturating_sub(self.start.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_the_day_and_counts_finer_than_it() {
        let clock = Clock::start();
        let day = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        assert!(clock.now().unix.abs_diff(day()) <= TOLERANCE + Duration::from_secs(1));
        // The day is set an hour back: it follows at the next reading.
        clock.epoch.fetch_add(3_600_000_000, Ordering::Relaxed);
        assert!(clock.now().unix.abs_diff(day()) <= TOLERANCE + Duration::from_secs(1));
        let (first, second) = (clock.now(), clock.now());
        assert!(second.monotonic >= first.monotonic && second.unix >= first.unix);
    }
}
