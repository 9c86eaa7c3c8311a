//! Histograms: counts of observations by range.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Default bounds of Go's client library, in seconds; the reference uses them for durations.
pub const DEFAULT_BOUNDS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Counter of observations by range, usable from any thread. Its size depends only on the number of
/// bounds.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    counts: Mutex<(Vec<u64>, f64)>,
}

impl Histogram {
    /// Creates an empty histogram. `bounds` must ascend; observations above the last bound are
    /// counted too.
    pub fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: Mutex::new((vec![0; bounds.len() + 1], 0.0)) }
    }

    /// Counts one observation. NaN is ignored.
    pub fn observe(&self, value: f64) {
        if value.is_nan() {
            return;
        }
        let range = self.bounds.partition_point(|bound| *bound < value);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let (ranges, sum) = &mut *counts;
        if let Some(count) = ranges.get_mut(range) {
            *count += 1;
            *sum += value;
        }
    }

    /// Counts a duration as one observation, in seconds.
    pub fn took(&self, time: Duration) {
        self.observe(time.as_secs_f64());
    }

    /// Returns the bounds.
    pub const fn bounds(&self) -> &'static [f64] {
        self.bounds
    }

    /// Returns the number of observations in each range, and the sum of all observations. A range
    /// reaches from above the previous bound up to and including its own; the last one is above all
    /// bounds.
    pub fn read(&self) -> (Vec<u64>, f64) {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the number of observations.
    pub fn count(&self) -> u64 {
        self.read().0.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_inclusive_upper_limits() {
        let histogram = Histogram::new(&[-1.0, 0.0, 2.0]);
        for value in [-1.5, -1.0, 0.0, 0.5, 2.0, 2.5, f64::INFINITY, f64::NAN] {
            histogram.observe(value);
        }
        let (counts, sum) = histogram.read();
        assert_eq!((counts, histogram.count()), (vec![2, 1, 2, 2], 7));
        assert!(sum.is_infinite());
        histogram.took(Duration::from_millis(1500));
        assert_eq!(histogram.read().0[2], 3);
    }
}
