//! Latency and failures of the endpoints, which decide the order in which they are asked.
//!
//! # Bounds
//! One record for each endpoint.

use std::time::Duration;

use crate::time::Instant;

/// Pause after an endpoint's first failure. It doubles with each further failure in a row.
const FIRST_REST: Duration = Duration::from_secs(1);
/// Maximum pause after a failure.
const LONGEST_REST: Duration = Duration::from_secs(64);

#[derive(Clone, Debug, Default)]
struct Endpoint {
    is_dropped: bool,
    /// Number of requests in flight.
    in_flight: usize,
    /// Moving average of the time to an answer. The newest answer has weight 1/4.
    latency: Duration,
    /// Number of failures in a row.
    failures: u32,
    /// Until then, the endpoint is asked only if no other one is left.
    rests_until: Instant,
}

/// The endpoints, by index.
#[derive(Clone, Debug)]
pub(super) struct Endpoints(Vec<Endpoint>);

impl Endpoints {
    pub(super) fn new(count: usize) -> Self {
        Self(vec![Endpoint::default(); count])
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_dropped(&self, endpoint: usize) -> bool {
        self.0.get(endpoint).is_none_or(|endpoint| endpoint.is_dropped)
    }

    pub(super) fn drop(&mut self, endpoint: usize) {
        if let Some(endpoint) = self.0.get_mut(endpoint) {
            endpoint.is_dropped = true;
        }
    }

    pub(super) fn restore(&mut self, endpoint: usize) {
        if let Some(endpoint) = self.0.get_mut(endpoint) {
            endpoint.is_dropped = false;
        }
    }

    pub(super) fn asked(&mut self, endpoint: usize) {
        if let Some(endpoint) = self.0.get_mut(endpoint) {
            endpoint.in_flight += 1;
        }
    }

    pub(super) fn cancelled(&mut self, endpoint: usize) {
        if let Some(endpoint) = self.0.get_mut(endpoint) {
            endpoint.in_flight = endpoint.in_flight.saturating_sub(1);
        }
    }

    /// Notes that an answer, or a JSON-RPC error, arrived after this time.
    pub(super) fn answered(&mut self, endpoint: usize, after: Duration) {
        self.cancelled(endpoint);
        if let Some(endpoint) = self.0.get_mut(endpoint) {
            endpoint.latency = (endpoint.latency * 3 + after) / 4;
            endpoint.failures = 0;
        }
    }

    /// Notes that a request failed.
    pub(super) fn failed(&mut self, endpoint: usize, now: Instant) {
        self.cancelled(endpoint);
        if let Some(endpoint) = self.0.get_mut(endpoint) {
            let rest = FIRST_REST * (1 << endpoint.failures.min(6));
            endpoint.rests_until = now + rest.min(LONGEST_REST);
            endpoint.failures = endpoint.failures.saturating_add(1);
        }
    }

    /// Returns the best of these endpoints: one that does not pause, with the lowest latency for
    /// its requests in flight. Dropped endpoints are excluded.
    pub(super) fn best(&self, of: impl Iterator<Item = usize>, now: Instant) -> Option<usize> {
        of.filter(|index| !self.is_dropped(*index)).min_by_key(|index| {
            let endpoint = &self.0[*index];
            let rests = endpoint.failures > 0 && endpoint.rests_until > now;
            (rests, endpoint.latency * (1 + endpoint.in_flight as u32), endpoint.in_flight, *index)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_start(Duration::from_secs(seconds))
    }

    #[test]
    fn the_fastest_idle_endpoint_that_works_is_best() {
        let mut endpoints = Endpoints::new(3);
        let best = |endpoints: &Endpoints, now| endpoints.best(0..3, at(now));
        assert_eq!(best(&endpoints, 0), Some(0));
        endpoints.asked(0);
        assert_eq!(best(&endpoints, 0), Some(1));
        endpoints.answered(0, Duration::from_millis(80));
        endpoints.asked(1);
        endpoints.answered(1, Duration::from_millis(40));
        endpoints.asked(2);
        endpoints.failed(2, at(0));
        assert_eq!(best(&endpoints, 0), Some(1));
        endpoints.drop(1);
        assert_eq!(best(&endpoints, 0), Some(0));
        endpoints.drop(0);
        assert_eq!(best(&endpoints, 0), Some(2));
        endpoints.drop(2);
        assert_eq!(best(&endpoints, 0), None);
        endpoints.restore(1);
        assert_eq!(best(&endpoints, 0), Some(1));
        assert!(endpoints.is_dropped(3));
    }

    #[test]
    fn the_rest_of_a_failing_endpoint_doubles_within_a_bound() {
        let mut endpoints = Endpoints::new(2);
        endpoints.asked(1);
        endpoints.answered(1, Duration::from_secs(9));
        for (failure, rest) in [1, 2, 4, 8, 16, 32, 64, 64, 64].into_iter().enumerate() {
            let now = 1000 * failure as u64;
            endpoints.failed(0, at(now));
            assert_eq!(endpoints.best(0..2, at(now + rest - 1)), Some(1), "{failure}");
            assert_eq!(endpoints.best(0..2, at(now + rest)), Some(0), "{failure}");
        }
    }
}
