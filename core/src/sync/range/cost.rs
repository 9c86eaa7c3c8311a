//! Token buckets for costs. The cost of a read is known only afterwards, so an estimate is taken in
//! advance and corrected later.

use std::time::Duration;

use super::server::Class;
use crate::time::Instant;

/// Limit of a cost, in units per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CostRate {
    /// Units per second. Zero counts as one.
    pub per_second: u64,
    /// Units that may be saved up.
    pub burst: u64,
}

impl CostRate {
    /// No limit.
    pub const UNLIMITED: Self = Self { per_second: u64::MAX, burst: u64::MAX };

    /// Returns the time in which `units` become available.
    fn time_of(self, units: u64) -> Duration {
        if self.per_second == u64::MAX {
            return Duration::ZERO;
        }
        let nanos = u128::from(units) * 1_000_000_000 / u128::from(self.per_second.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// A token bucket that may be overdrawn: represented by the time at which it will be full.
#[derive(Clone, Copy, Debug)]
pub(super) struct CostBucket {
    rate: CostRate,
    full_at: Instant,
}

impl CostBucket {
    pub(super) fn new(rate: CostRate) -> Self {
        Self { rate, full_at: Instant::default() }
    }

    /// Sets the rate from now on. An overdraft is not forgotten.
    pub(super) const fn set_rate(&mut self, rate: CostRate) {
        self.rate = rate;
    }

    /// Returns when the bucket is not overdrawn. The time may have passed.
    pub(super) fn ready_at(&self) -> Instant {
        let saved = self.rate.time_of(self.rate.burst);
        Instant::from_start(self.full_at.since_start().saturating_sub(saved))
    }

    /// Takes the cost of an operation.
    pub(super) fn take(&mut self, now: Instant, units: u64) {
        self.full_at = self.full_at.max(now) + self.rate.time_of(units);
    }

    /// Gives back units that were taken in advance and not needed.
    pub(super) fn give_back(&mut self, units: u64) {
        let since = self.full_at.since_start().saturating_sub(self.rate.time_of(units));
        self.full_at = Instant::from_start(since);
    }

    pub(super) fn is_full(&self, now: Instant) -> bool {
        self.full_at <= now
    }
}

/// Limits of the two costs of serving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes on the stream.
    pub bytes: CostRate,
    /// Blocks read from the store.
    pub reads: CostRate,
}

impl Limits {
    /// No limits.
    pub const UNLIMITED: Self = Self { bytes: CostRate::UNLIMITED, reads: CostRate::UNLIMITED };
}

/// Costs of a read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cost {
    pub(super) bytes: u64,
    pub(super) reads: u64,
}

/// The buckets of both costs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Purse {
    bytes: CostBucket,
    reads: CostBucket,
}

impl Purse {
    pub(super) fn new(limits: Limits) -> Self {
        Self { bytes: CostBucket::new(limits.bytes), reads: CostBucket::new(limits.reads) }
    }

    pub(super) const fn set_limits(&mut self, limits: Limits) {
        self.bytes.set_rate(limits.bytes);
        self.reads.set_rate(limits.reads);
    }

    pub(super) fn ready_at(&self) -> Instant {
        self.bytes.ready_at().max(self.reads.ready_at())
    }

    pub(super) fn take(&mut self, now: Instant, cost: Cost) {
        self.bytes.take(now, cost.bytes);
        self.reads.take(now, cost.reads);
    }

    pub(super) fn give_back(&mut self, cost: Cost) {
        self.bytes.give_back(cost.bytes);
        self.reads.give_back(cost.reads);
    }

    pub(super) fn is_full(&self, now: Instant) -> bool {
        self.bytes.is_full(now) && self.reads.is_full(now)
    }
}

/// Returns the share of a class in percent, if that of browsers is `browsers`.
pub(super) fn share(browsers: u8, class: Class) -> u64 {
    let browsers = u64::from(browsers);
    if class == Class::Browser { browsers } else { 100 - browsers }
}
