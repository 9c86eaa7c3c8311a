//! Pace of the search for nodes: fast while peers are missing, slow otherwise.

use crate::time::Instant;
use std::time::Duration;

/// Intervals between two walks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PaceConfig {
    /// Interval while peers are missing.
    pub fast: Duration,
    /// Interval while no peers are missing.
    pub slow: Duration,
}

impl Default for PaceConfig {
    /// The reference's 5 s and 20 s.
    fn default() -> Self {
        Self { fast: Duration::from_secs(5), slow: Duration::from_secs(20) }
    }
}

/// Schedule of walks: the first one at once, the others at regular intervals.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    config: PaceConfig,
    last: Option<Instant>,
}

impl Pace {
    /// Creates a pace whose first walk is due at once.
    pub const fn new(config: PaceConfig) -> Self {
        Self { config, last: None }
    }

    /// Returns `true` if a walk is due, given that `missing` peers are missing below the low mark
    /// of the [`ConnectionManager`](crate::peers::ConnectionManager). If so, the next walk is due
    /// one interval later.
    pub fn poll(&mut self, now: Instant, missing: usize) -> bool {
        let is_due = self.next(missing) <= now;
        if is_due {
            self.last = Some(now);
        }
        is_due
    }

    /// Returns the time at which the next walk is due, given that `missing` peers are missing. It
    /// may be in the past.
    pub fn next(&self, missing: usize) -> Instant {
        let interval = if missing > 0 { self.config.fast } else { self.config.slow };
        self.last.map_or(Instant::default(), |last| last + interval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_start(Duration::from_secs(seconds))
    }

    #[test]
    fn it_is_fast_while_peers_are_missing_and_slow_otherwise() {
        let mut pace = Pace::new(PaceConfig::default());
        assert!(pace.poll(at(100), 1), "the first is due at once");
        assert_eq!(pace.next(1), at(105));
        assert!(!pace.poll(at(104), 1));
        assert!(pace.poll(at(105), 1));
        assert_eq!(pace.next(0), at(125));
        assert!(!pace.poll(at(110), 0));
        assert!(pace.poll(at(111), 3), "a peer that leaves is missed at once");
    }
}
