//! Histograms: how often observations fell into which range.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The bounds that Go's client library takes where none are given, in seconds: those of the reference's durations.
pub const DEFAULT_BOUNDS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Counts observations by range; any thread may observe. It takes a number for each bound, whatever is observed.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    counts: Mutex<(Vec<u64>, f64)>,
}

impl Histogram {
    /// An empty one. `bounds` ascend; what lies above the last is counted too.
    pub fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: Mutex::new((vec![0; bounds.len() + 1], 0.0)) }
    }

    /// Counts one. What is not a number is left out.
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

    /// Counts a time, in seconds.
    pub fn took(&self, time: Duration) {
        self.observe(time.as_secs_f64());
    }

    /// The bounds.
    pub const fn bounds(&self) -> &'static [f64] {
        self.bounds
    }

    /// How many there are up to each bound and above the one before, those above the last one at the end; and the sum
    /// of all.
    pub fn read(&self) -> (Vec<u64>, f64) {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.read().0.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_the_range_below_it() {
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
