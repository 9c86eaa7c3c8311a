//! Rates and token buckets, in integer arithmetic and with a single instant as state.

use std::time::Duration;

use crate::time::Instant;

/// Rate limit: one token per `interval`, of which at most `burst` are saved up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Time after which one more token is available.
    pub interval: Duration,
    /// Number of tokens in a full bucket, at least 1.
    pub burst: u32,
}

impl Rate {
    /// No limit.
    pub const UNLIMITED: Self = Self { interval: Duration::ZERO, burst: u32::MAX };

    /// Returns a rate of `tokens` per second, with `burst` of them at once. Zero tokens count as
    /// one in 584 years.
    pub const fn per_second(tokens: u32, burst: u32) -> Self {
        let interval = if tokens == 0 {
            Duration::from_nanos(u64::MAX)
        } else {
            Duration::from_nanos(1_000_000_000 / tokens as u64)
        };
        Self { interval, burst: if burst == 0 { 1 } else { burst } }
    }
}

/// A token bucket, represented by the time at which it will be full (the generic cell rate
/// algorithm).
#[derive(Clone, Copy, Debug)]
pub struct TokenBucket {
    rate: Rate,
    full_at: Instant,
}

impl TokenBucket {
    /// Creates a full bucket.
    pub fn new(rate: Rate) -> Self {
        Self { rate, full_at: Instant::default() }
    }

    /// Returns the current rate.
    pub const fn rate(&self) -> Rate {
        self.rate
    }

    /// Sets the rate from now on. The number of missing tokens stays the same.
    pub fn set_rate(&mut self, now: Instant, rate: Rate) {
        let missing = self.full_at.since(now).as_nanos();
        let old = self.rate.interval.as_nanos().max(1);
        let missing = missing.saturating_mul(rate.interval.as_nanos()) / old;
        self.full_at = now + Duration::from_nanos(u64::try_from(missing).unwrap_or(u64::MAX));
        self.rate = rate;
    }

    /// Empties the bucket.
    pub fn drain(&mut self, now: Instant) {
        self.full_at = now + self.rate.interval.saturating_mul(self.rate.burst);
    }

    /// Returns `true` if there is a token.
    pub fn available(&self, now: Instant) -> bool {
        self.next_at(now) <= now
    }

    /// Takes a token if there is one, and returns whether there was.
    pub fn take(&mut self, now: Instant) -> bool {
        let available = self.available(now);
        if available {
            self.take_ahead(now);
        }
        available
    }

    /// Takes a token, if necessary one that is not available yet.
    pub fn take_ahead(&mut self, now: Instant) {
        self.full_at = self.full_at.max(now) + self.rate.interval;
    }

    /// Returns when the next token is available: `now` if there is one.
    pub fn next_at(&self, now: Instant) -> Instant {
        self.ready_at().max(now)
    }

    /// Returns when the next token is available. The time may have passed.
    pub fn ready_at(&self) -> Instant {
        let saved = self.rate.interval.saturating_mul(self.rate.burst.saturating_sub(1));
        Instant::from_start(self.full_at.since_start().saturating_sub(saved))
    }

    /// Returns when the bucket is full. The time may have passed.
    pub const fn full_at(&self) -> Instant {
        self.full_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(millis: u64) -> Instant {
        Instant::from_start(Duration::from_millis(millis))
    }

    #[test]
    fn a_full_bucket_gives_its_burst_and_then_its_rate() {
        let mut bucket = TokenBucket::new(Rate::per_second(4, 15));
        let taken = (0..10_000).filter(|millis| bucket.take(at(1_000_000 + millis))).count();
        assert_eq!(taken, 15 + 4 * 10 - 1);
        assert_eq!(bucket.next_at(at(1_010_000)), at(1_010_000));
    }

    #[test]
    fn an_unlimited_bucket_always_grants() {
        let mut bucket = TokenBucket::new(Rate::UNLIMITED);
        assert!((0..100_000).all(|_| bucket.take(at(0))));
    }

    #[test]
    fn changing_the_rate_keeps_the_tokens() {
        let mut bucket = TokenBucket::new(Rate::per_second(4, 15));
        assert!((0..10).all(|_| bucket.take(at(0))));
        bucket.set_rate(at(0), Rate::per_second(1000, 15));
        assert_eq!((0..10).filter(|_| bucket.take(at(0))).count(), 5);
        assert!(bucket.take(at(1)) && !bucket.take(at(1)));
    }

    #[test]
    fn a_token_taken_ahead_is_missing_later() {
        let mut bucket = TokenBucket::new(Rate::per_second(4, 1));
        assert!(bucket.take(at(0)));
        bucket.take_ahead(at(0));
        assert_eq!(
            (bucket.next_at(at(0)), bucket.take(at(499)), bucket.take(at(500))),
            (at(500), false, true)
        );
    }

    proptest! {
        #[test]
        fn a_bucket_matches_a_token_counting_model(
            interval in 1_u64..50, burst in 1_u32..20,
            steps in prop::collection::vec(0_u64..60, 1..200),
        ) {
            let mut bucket =
                TokenBucket::new(Rate { interval: Duration::from_millis(interval), burst });
            // In fractions of a token, so that the model is exact.
            let full = u64::from(burst) * interval;
            let (mut now, mut parts) = (1_000_000, full);
            for step in steps {
                now += step;
                parts = (parts + step).min(full);
                let expected = parts >= interval;
                prop_assert_eq!(bucket.available(at(now)), expected);
                prop_assert_eq!(bucket.take(at(now)), expected);
                if expected {
                    parts -= interval;
                }
                prop_assert_eq!(bucket.full_at() <= at(now), parts == full);
            }
        }
    }
}
