//! Schedules the attempts to obtain a certificate, without I/O.
//!
//! A certificate is renewed after two thirds of its validity. After failures, the pause doubles
//! from [`FIRST_RETRY`] to [`LAST_RETRY`]. This limits the first hour to five attempts, Let's
//! Encrypt's limit of failed validations per name and hour.
//!
//! A wrong clock must not cause repeated requests. After a success, the node makes no further
//! attempt for a third of the new certificate's validity.

use std::time::Duration;

/// Pause after the first failure.
const FIRST_RETRY: Duration = Duration::from_secs(2 * 60);
/// Maximum pause after a failure.
const LAST_RETRY: Duration = Duration::from_secs(6 * 60 * 60);
/// Minimum time between two certificates, in seconds.
const SHORTEST_PAUSE: u64 = 10;
/// Maximum time between two readings of the clock, which may jump.
const LOOK: Duration = Duration::from_secs(60 * 60);

/// Validity of a certificate, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Validity {
    pub(super) from: u64,
    pub(super) to: u64,
}

impl Validity {
    const fn length(&self) -> u64 {
        self.to.saturating_sub(self.from)
    }

    /// Returns the remaining seconds, or 0 once the certificate has expired.
    const fn left(&self, now: u64) -> u64 {
        self.to.saturating_sub(now)
    }
}

/// Schedule of the next attempt. Times are in seconds since 1970.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    held: Option<Validity>,
    /// Earliest time of the next attempt after a success.
    not_before: u64,
    /// Failures since the last success.
    failures: u32,
}

impl Plan {
    /// Creates a plan from the certificate of an earlier run, if any.
    pub(super) const fn new(held: Option<Validity>) -> Self {
        Self { held, not_before: 0, failures: 0 }
    }

    /// Returns `true` if there is a certificate, expired or not.
    pub(super) const fn has_certificate(&self) -> bool {
        self.held.is_some()
    }

    /// Returns the time until the next call, or `None` if an attempt is due.
    pub(super) fn wait(&self, now: u64) -> Option<Duration> {
        let held = self.held?;
        let due = held.from.saturating_add(held.length() / 3 * 2).max(self.not_before);
        let wait = Duration::from_secs(due.saturating_sub(now));
        (!wait.is_zero()).then(|| wait.min(LOOK))
    }

    /// Notes a success.
    pub(super) const fn obtained(&mut self, now: u64, validity: Validity) {
        let pause = validity.length() / 3;
        let pause = if pause < SHORTEST_PAUSE { SHORTEST_PAUSE } else { pause };
        self.not_before = now.saturating_add(pause);
        self.held = Some(validity);
        self.failures = 0;
    }

    /// Notes a failure, and returns the pause before the next attempt.
    pub(super) fn failed(&mut self) -> Duration {
        let pause = FIRST_RETRY.saturating_mul(1 << self.failures.min(16)).min(LAST_RETRY);
        self.failures = self.failures.saturating_add(1);
        pause
    }

    /// Describes the current certificate as a clause for the operator.
    pub(super) fn present(&self, now: u64) -> String {
        const DAY: u64 = 24 * 60 * 60;
        match self.held.map(|held| held.left(now)) {
            None => "there is no certificate yet".to_owned(),
            Some(0) => "the present certificate has expired".to_owned(),
            Some(left) if left < 2 * DAY => {
                format!("the present certificate is valid for {} h", left.div_ceil(3600))
            }
            Some(left) => format!("the present certificate is valid for {} days", left / DAY),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DAY: u64 = 24 * 60 * 60;
    const NOW: u64 = 1_800_000_000;

    const fn days(from: u64, to: u64) -> Validity {
        Validity { from: NOW + from * DAY, to: NOW + to * DAY }
    }

    /// Returns the time at which a certificate is asked for if nothing happens before.
    fn due(plan: &Plan, mut now: u64) -> u64 {
        while let Some(wait) = plan.wait(now) {
            assert!(wait <= LOOK && !wait.is_zero());
            now += wait.as_secs();
        }
        now
    }

    #[test]
    fn without_a_certificate_one_is_asked_for_at_once() {
        let plan = Plan::new(None);
        assert_eq!(plan.wait(NOW), None);
        assert_eq!(plan.present(NOW), "there is no certificate yet");
    }

    #[test]
    fn a_certificate_is_renewed_after_two_thirds_of_its_time() {
        let mut plan = Plan::new(Some(days(0, 90)));
        assert_eq!(due(&plan, NOW + 5 * DAY), NOW + 60 * DAY);
        plan.obtained(NOW + 60 * DAY, days(60, 150));
        assert_eq!(due(&plan, NOW + 60 * DAY), NOW + 120 * DAY);
        // One that lasts half a minute is renewed as well.
        plan.obtained(NOW, Validity { from: NOW, to: NOW + 30 });
        assert_eq!(due(&plan, NOW), NOW + 20);
    }

    #[test]
    fn a_certificate_that_expired_while_the_node_was_off_is_renewed_at_once() {
        let plan = Plan::new(Some(days(0, 90)));
        assert_eq!(plan.wait(NOW + 91 * DAY), None);
        assert_eq!(plan.present(NOW + 91 * DAY), "the present certificate has expired");
    }

    #[test]
    fn failures_double_the_pause_up_to_six_hours() {
        let mut plan = Plan::new(None);
        let minutes: Vec<u64> = (0..10).map(|_| plan.failed().as_secs() / 60).collect();
        assert_eq!(minutes, [2, 4, 8, 16, 32, 64, 128, 256, 360, 360]);
        let in_first_hour = minutes
            .iter()
            .scan(0, |at, pause| {
                *at += pause;
                Some(*at)
            })
            .filter(|at| *at < 60)
            .count();
        assert_eq!(1 + in_first_hour, 5, "attempts");
        plan.obtained(NOW, days(0, 90));
        assert_eq!(plan.failed(), FIRST_RETRY);
    }

    #[test]
    fn the_operator_learns_how_long_the_present_certificate_lasts() {
        let plan = Plan::new(Some(days(0, 90)));
        assert_eq!(plan.present(NOW + 70 * DAY), "the present certificate is valid for 20 days");
        assert_eq!(plan.present(NOW + 89 * DAY), "the present certificate is valid for 24 h");
    }

    proptest! {
        #[test]
        fn whatever_the_clock_shows_a_new_certificate_is_not_replaced_at_once(
            from in 0..4 * NOW, length in 0_u64..400 * DAY, now in 0..4 * NOW, part in 0.0..1.0,
        ) {
            let mut plan = Plan::new(None);
            plan.obtained(now, Validity { from, to: from + length });
            let pause = (length / 3).max(SHORTEST_PAUSE);
            let later = now + (part * pause as f64) as u64;
            prop_assert!(plan.wait(later).is_some_and(|wait| wait <= LOOK));
        }

        #[test]
        fn pauses_never_overflow(failures in 0_u32..100_000) {
            let mut plan = Plan { failures, ..Plan::new(None) };
            let pause = plan.failed();
            prop_assert!((FIRST_RETRY..=LAST_RETRY).contains(&pause));
        }
    }
}
