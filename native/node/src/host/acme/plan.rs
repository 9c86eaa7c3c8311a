//! Schedules the attempts to obtain a certificate, without I/O.
//!
//! A certificate is renewed after two thirds of its validity. After failures, the pause doubles
//! from [`FIRST_RETRY`] to [`LAST_RETRY`]. This limits the first hour to five attempts, Let's
//! Encrypt's limit of failed validations per name and hour.
//!
//! A wrong clock must not cause repeated requests. After a success, the node makes no further
//! attempt for a third of the new certificate's validity by its clock, nor for that time or
//! [`LONGEST_REST`] by elapsed time. If the clock moves back, it was ahead when that time was set.
//! The time then follows from the certificate's own dates, so that a renewal is not late.

use std::time::Duration;

/// Pause after the first failure.
const FIRST_RETRY: Duration = Duration::from_secs(2 * 60);
/// Maximum pause after a failure.
const LAST_RETRY: Duration = Duration::from_secs(6 * 60 * 60);
/// Minimum time between two certificates, in seconds.
const SHORTEST_PAUSE: u64 = 10;
/// Maximum time for which the clock's jumps are ignored after a success. Let's Encrypt issues five
/// certificates of one name per week.
const LONGEST_REST: Duration = Duration::from_secs(2 * 24 * 60 * 60);
/// Maximum time between two readings of the clock, which may jump. A smaller step back is an
/// adjustment.
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

    /// Returns the time in seconds for which a new certificate is not replaced.
    const fn pause(&self) -> u64 {
        let pause = self.length() / 3;
        if pause < SHORTEST_PAUSE { SHORTEST_PAUSE } else { pause }
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
    /// Latest time that the clock showed since it last moved back.
    latest: u64,
    /// Failures since the last success.
    failures: u32,
}

impl Plan {
    /// Creates a plan from the certificate of an earlier run, if any.
    pub(super) const fn new(held: Option<Validity>) -> Self {
        Self { held, not_before: 0, latest: 0, failures: 0 }
    }

    /// Returns `true` if there is a certificate, expired or not.
    pub(super) const fn has_certificate(&self) -> bool {
        self.held.is_some()
    }

    /// Returns the time until the next call, or `None` if an attempt is due.
    pub(super) fn wait(&mut self, now: u64) -> Option<Duration> {
        let held = self.held?;
        if now.saturating_add(LOOK.as_secs()) < self.latest {
            self.not_before = self.not_before.min(held.from.saturating_add(held.pause()));
            self.latest = now;
        }
        self.latest = self.latest.max(now);
        let due = held.from.saturating_add(held.length() / 3 * 2).max(self.not_before);
        let wait = Duration::from_secs(due.saturating_sub(now));
        (!wait.is_zero()).then(|| wait.min(LOOK))
    }

    /// Notes a success, and returns the elapsed time before which there is no further attempt,
    /// whatever the clock shows.
    pub(super) fn obtained(&mut self, now: u64, validity: Validity) -> Duration {
        self.not_before = now.saturating_add(validity.pause());
        (self.held, self.latest, self.failures) = (Some(validity), now, 0);
        Duration::from_secs(validity.pause()).min(LONGEST_REST)
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
    fn due(plan: &mut Plan, mut now: u64) -> u64 {
        while let Some(wait) = plan.wait(now) {
            assert!(wait <= LOOK && !wait.is_zero());
            now += wait.as_secs();
        }
        now
    }

    #[test]
    fn without_a_certificate_one_is_asked_for_at_once() {
        let mut plan = Plan::new(None);
        assert_eq!(plan.wait(NOW), None);
        assert_eq!(plan.present(NOW), "there is no certificate yet");
    }

    #[test]
    fn a_certificate_is_renewed_after_two_thirds_of_its_time() {
        let mut plan = Plan::new(Some(days(0, 90)));
        assert_eq!(due(&mut plan, NOW + 5 * DAY), NOW + 60 * DAY);
        assert_eq!(plan.obtained(NOW + 60 * DAY, days(60, 150)), LONGEST_REST);
        assert_eq!(due(&mut plan, NOW + 60 * DAY), NOW + 120 * DAY);
        // One that lasts half a minute is renewed as well.
        let rest = plan.obtained(NOW, Validity { from: NOW, to: NOW + 30 });
        assert_eq!(rest, Duration::from_secs(10));
        assert_eq!(due(&mut plan, NOW), NOW + 20);
    }

    #[test]
    fn a_clock_that_was_ahead_does_not_delay_the_renewal() {
        for ahead in [1, 40, 80, 4000] {
            for later in [0, 1, 40, 59] {
                let mut plan = Plan::new(None);
                plan.obtained(NOW + ahead * DAY, days(0, 90));
                // The clock is right again after some days, in which the plan was looked at.
                plan.wait(NOW + (ahead + later) * DAY);
                assert_eq!(due(&mut plan, NOW + later * DAY), NOW + 60 * DAY, "{ahead}, {later}");
            }
        }
    }

    #[test]
    fn a_small_step_back_changes_nothing() {
        let mut plan = Plan::new(None);
        // The authority's clock is far behind.
        plan.obtained(NOW + 200 * DAY, days(0, 90));
        assert!(plan.wait(NOW + 200 * DAY - LOOK.as_secs()).is_some());
        assert_eq!(due(&mut plan, NOW + 200 * DAY), NOW + 230 * DAY);
    }

    #[test]
    fn a_certificate_that_expired_while_the_node_was_off_is_renewed_at_once() {
        let mut plan = Plan::new(Some(days(0, 90)));
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
