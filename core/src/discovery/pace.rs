//! How often to look for nodes: fast while peers are missing, slowly else.

use crate::time::Instant;
use std::time::Duration;

/// Time between two walks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PaceConfig {
    /// While peers are missing.
    pub fast: Duration,
    /// While none are.
    pub slow: Duration,
}

impl Default for PaceConfig {
    /// The reference's 5 s and 20 s.
    fn default() -> Self {
        Self { fast: Duration::from_secs(5), slow: Duration::from_secs(20) }
    }
}

/// When to walk: at once, then at an even pace.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    config: PaceConfig,
    last: Option<Instant>,
}

impl Pace {
    /// A pace whose first step is due at once.
    pub const fn new(config: PaceConfig) -> Self {
        Self { config, last: None }
    }

    /// Whether a walk is due now that so many peers are missing below the low mark of the
    /// [`Tide`](crate::peers::Tide). If so, the next one is due an interval later.
    pub fn poll(&mut self, now: Instant, missing: usize) -> bool {
        let is_due = self.next(missing) <= now;
        if is_due {
            self.last = Some(now);
        }
        is_due
    }

    /// When the next walk is due if so many peers are missing. It may have passed.
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
    fn it_is_fast_while_peers_are_missing_and_slow_else() {
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
