//! The two clocks of a browser: a monotonic one, and the wall clock to the microsecond.

use opp2p_core::time::{Instant as CoreInstant, Now};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use web_time::{Instant, SystemTime, UNIX_EPOCH};

/// Maximum error of the interpolated wall clock before it is read again: the wall clock counts in
/// milliseconds, and jumps when the machine slept or its time was set.
const TOLERANCE: Duration = Duration::from_millis(20);

/// Both clocks. The monotonic one counts from the start.
#[derive(Debug)]
pub(crate) struct Clock {
    start: Instant,
    /// Wall-clock time at the start in microseconds, by the last reading.
    epoch: AtomicU64,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let clock = Self { start: Instant::now(), epoch: AtomicU64::new(0) };
        clock.unix();
        clock
    }

    /// Returns the time since 1970. Between two jumps it advances with the monotonic clock, which
    /// counts microseconds.
    fn unix(&self) -> Duration {
        let passed = self.start.elapsed();
        let coarse = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let fine = Duration::from_micros(self.epoch.load(Ordering::Relaxed)) + passed;
        if fine.abs_diff(coarse) <= TOLERANCE {
            return fine;
        }
        // The reading is truncated to a millisecond: the middle of that millisecond is the best
        // guess.
        let epoch = (coarse + Duration::from_micros(500)).saturating_sub(passed);
        self.epoch.store(u64::try_from(epoch.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        epoch + passed
    }

    pub(crate) fn now(&self) -> Now {
        Now::new(self.start.elapsed(), self.unix())
    }

    /// Returns the wall-clock time in milliseconds since 1970.
    pub(crate) fn unix_millis(&self) -> f64 {
        self.unix().as_secs_f64() * 1000.0
    }

    /// Returns the time left until `at`, or zero if it has passed.
    pub(crate) fn until(&self, at: CoreInstant) -> Duration {
        at.since_start().saturating_sub(self.start.elapsed())
    }
}

impl opp2p_wire::Clock for Clock {
    fn now(&self) -> Now {
        self.now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_follows_the_wall_clock_with_finer_resolution() {
        let clock = Clock::start();
        let day = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        assert!(clock.now().unix.abs_diff(day()) <= TOLERANCE + Duration::from_secs(1));
        // The wall clock is set back by an hour: ours follows at the next reading.
        clock.epoch.fetch_add(3_600_000_000, Ordering::Relaxed);
        assert!(clock.now().unix.abs_diff(day()) <= TOLERANCE + Duration::from_secs(1));
        let (first, second) = (clock.now(), clock.now());
        assert!(second.monotonic >= first.monotonic && second.unix >= first.unix);
    }
}
