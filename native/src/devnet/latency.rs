//! Latencies of one follower: exact percentiles of the newest samples, and the overall maximum.
//!
//! # Bounds
//! The newest [`SAMPLES`] are kept, one per block: only the sequencer can cause them. Older ones
//! are dropped, so that a devnet that runs for days shows its current latency; the maximum is kept.

use std::collections::VecDeque;
use std::time::Duration;

/// Number of samples that percentiles cover.
pub(super) const SAMPLES: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct Latencies {
    newest: VecDeque<Duration>,
    max: Duration,
}

/// Figures of a row, see [`Latencies::figures`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Figures {
    /// The newest sample.
    pub(super) last: Duration,
    /// Median of the kept samples.
    pub(super) p50: Duration,
    /// 99th percentile of the kept samples.
    pub(super) p99: Duration,
    /// Maximum of all samples, kept or not.
    pub(super) max: Duration,
}

impl Latencies {
    pub(super) fn record(&mut self, sample: Duration) {
        if self.newest.len() == SAMPLES {
            self.newest.pop_front();
        }
        self.newest.push_back(sample);
        self.max = self.max.max(sample);
    }

    /// Returns the figures; `None` while there are no samples.
    pub(super) fn figures(&self) -> Option<Figures> {
        let last = *self.newest.back()?;
        let mut samples: Vec<Duration> = self.newest.iter().copied().collect();
        Some(Figures {
            last,
            p50: nearest_rank(&mut samples, 50)?,
            p99: nearest_rank(&mut samples, 99)?,
            max: self.max,
        })
    }
}

/// Returns the smallest sample such that at least `percent` in 100 of all samples are not larger.
/// Reorders the samples.
fn nearest_rank(samples: &mut [Duration], percent: usize) -> Option<Duration> {
    let rank = (samples.len() * percent).div_ceil(100);
    let index = rank.checked_sub(1)?;
    Some(*samples.select_nth_unstable(index).1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(millis: impl IntoIterator<Item = u64>) -> Latencies {
        let mut latencies = Latencies::default();
        millis.into_iter().for_each(|sample| latencies.record(Duration::from_millis(sample)));
        latencies
    }

    fn figures(millis: impl IntoIterator<Item = u64>) -> [u128; 4] {
        let Figures { last, p50, p99, max } = of(millis).figures().unwrap();
        [last, p50, p99, max].map(|figure| figure.as_millis())
    }

    #[test]
    fn percentiles_are_the_nearest_rank() {
        assert_eq!(figures([7]), [7, 7, 7, 7]);
        assert_eq!(figures([30, 10, 20]), [20, 20, 30, 30]);
        assert_eq!(figures([4, 3, 2, 1]), [1, 2, 4, 4]);
        assert_eq!(figures((1..=100).rev()), [1, 50, 99, 100]);
        assert_eq!(figures(1..=101), [101, 51, 100, 101]);
        assert_eq!(figures(1..=1000), [1000, 500, 990, 1000]);
    }

    #[test]
    fn without_samples_there_are_no_figures() {
        assert_eq!(Latencies::default().figures(), None);
    }

    #[test]
    fn old_samples_are_dropped_except_the_largest() {
        let samples = SAMPLES as u64;
        let latencies = of(std::iter::once(90_000).chain(1..=samples));
        assert_eq!(latencies.newest.len(), SAMPLES);
        let figures = latencies.figures().unwrap();
        assert_eq!(figures.p50, Duration::from_millis(samples / 2));
        assert_eq!(figures.p99, Duration::from_millis(samples * 99 / 100));
        assert_eq!(figures.max, Duration::from_secs(90));
    }
}
