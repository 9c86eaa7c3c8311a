//! How fast one server is asked: as fast as it serves, and no faster.
//!
//! A server of the reference lets a request that comes too early wait, and until it is served nobody else is. So
//! the aim is never to come too early, without knowing the server's limits. A [`Pace`] starts with the limits that
//! the reference has by default and keeps its own copy of the server's token bucket. When that copy is empty, one
//! request now and then is sent all the same: the *probe*. If it is answered as quickly as others, twice in a row
//! as the network may have turned two requests round, the limit is not there, and the rate is doubled; if it is
//! late, it is, and the next probe waits longer. The number of requests in flight grows while answers are quick
//! and is halved when they are slow, so that a server that is busy for any other reason is left time as well. What
//! was on its way before the last such step says nothing about it.

use std::time::Duration;

use super::RequestId;
use crate::sync::rate::{Rate, TokenBucket};
use crate::time::Instant;

/// What a server of the reference allows each peer by default (`op-node/p2p/sync.go`).
pub(super) const ASSUMED: Rate = Rate::per_second(4, 15);
/// The shortest interval that is tried.
const SHORTEST_INTERVAL: Duration = Duration::from_micros(10);
/// The longest interval, for a server that is far slower than the reference.
const LONGEST_INTERVAL: Duration = Duration::from_secs(8);
/// Wait after a probe that was late; each further one waits twice as long.
const FIRST_PROBE_WAIT: Duration = Duration::from_secs(4);
/// The longest wait between two probes.
const LONGEST_PROBE_WAIT: Duration = Duration::from_secs(60);
/// An answer that took this much longer than three times the quickest is slow: networks are no clockworks, and a
/// token that is missing costs a server of the reference 250 ms.
const SLOW: Duration = Duration::from_millis(150);

/// Probes that must be quick before it becomes faster.
const QUICK_PROBES: u32 = 2;

/// May a request be sent?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Permit {
    /// Within what the server is known to allow.
    Token,
    /// Beyond it, to find out.
    Probe,
}

/// The pace of one server.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    bucket: TokenBucket,
    /// The quickest answer.
    base: Option<Duration>,
    /// What answers take of late.
    typical: Duration,
    /// When the last answer came, and what lies between two of them of late.
    answered: Instant,
    between: Duration,
    /// Requests that may be in flight.
    window: usize,
    largest_window: usize,
    probe: Option<RequestId>,
    next_probe: Instant,
    probe_wait: Duration,
    /// Probes in a row that were quick.
    quick: u32,
    /// When an answer was last found slow, of those that were asked for after the one before.
    slowed: Instant,
    /// Whether that was the last that is known: a second one is no accident.
    is_warned: bool,
    /// Whether a limit was ever found. Until then the rate doubles, later it is felt for.
    is_limited: bool,
}

impl Pace {
    pub(super) fn new(largest_window: usize) -> Self {
        Self {
            bucket: TokenBucket::new(ASSUMED),
            base: None,
            typical: Duration::ZERO,
            answered: Instant::default(),
            between: Duration::ZERO,
            window: 1,
            largest_window: largest_window.max(1),
            probe: None,
            next_probe: Instant::default(),
            probe_wait: FIRST_PROBE_WAIT,
            quick: 0,
            slowed: Instant::default(),
            is_warned: false,
            is_limited: false,
        }
    }

    /// Whether a request may be sent while `in_flight` are under way.
    pub(super) fn permit(&self, now: Instant, in_flight: usize) -> Option<Permit> {
        if in_flight >= self.window {
            None
        } else if self.bucket.available(now) {
            Some(Permit::Token)
        } else {
            self.may_probe(now).then_some(Permit::Probe)
        }
    }

    /// When [`Self::permit`] gives one, if none of those in flight is answered before; `None` if it needs that.
    pub(super) fn ready_at(&self, now: Instant, in_flight: usize) -> Option<Instant> {
        if in_flight >= self.window {
            return None;
        }
        Some(self.bucket.next_at(now))
    }

    /// A request was sent on `permit`.
    pub(super) fn sent(&mut self, now: Instant, id: RequestId, permit: Permit) {
        self.bucket.take_ahead(now);
        if permit == Permit::Probe {
            self.probe = Some(id);
        }
    }

    /// It was answered, in whatever words, after `took`.
    pub(super) fn answered(&mut self, now: Instant, id: RequestId, took: Duration) {
        let base = self.base.map_or(took, |base| base.min(took));
        let extra = took.saturating_sub(base);
        let is_probe = self.probe == Some(id);
        self.between = (self.between * 15 + now.since(self.answered).min(took)) / 16;
        self.answered = now;
        if is_probe {
            self.probe = None;
            // A token that was missing costs up to an interval.
            if took <= self.typical * 5 / 4 + self.bucket.rate().interval / 4 {
                self.quick += 1;
                if self.quick >= QUICK_PROBES {
                    self.faster(now);
                }
            } else {
                self.limit_found(now);
            }
        }
        if extra <= base * 2 + SLOW {
            self.window = self.window.saturating_add(1).min(self.largest_window);
            self.is_warned &= now.since(self.slowed) < took;
        } else if !is_probe {
            self.slower(now, took);
        }
        // A path that became longer is not slow for ever.
        self.base = Some(took.min(base + base / 1024));
        if !is_probe {
            self.typical = if self.typical.is_zero() { took } else { (self.typical * 7 + took) / 8 };
        }
    }

    /// It was not answered within `took`, or the server said, or may have said, that it was too fast.
    pub(super) fn lost(&mut self, now: Instant, id: RequestId, took: Duration) {
        if self.probe == Some(id) {
            self.probe = None;
            self.limit_found(now);
        } else {
            self.slower(now, took);
        }
        self.window = 1;
    }

    /// Whether it is asked faster than the reference allows by default.
    pub(super) fn is_beyond_assumed(&self) -> bool {
        self.bucket.rate().interval < ASSUMED.interval
    }

    /// Right after a token was taken: then the next one is far, and its lack shows.
    fn may_probe(&self, now: Instant) -> bool {
        let is_far = self.bucket.next_at(now).since(now) >= self.bucket.rate().interval * 3 / 4;
        is_far && !self.typical.is_zero() && self.probe.is_none() && self.next_probe <= now
    }

    fn faster(&mut self, now: Instant) {
        let Rate { interval, burst } = self.bucket.rate();
        let interval = if self.is_limited { interval * 4 / 5 } else { interval / 2 };
        if interval >= SHORTEST_INTERVAL {
            self.bucket.set_rate(now, Rate { interval, burst });
        }
        self.quick = 0;
        self.probe_wait = FIRST_PROBE_WAIT;
        // What a server has saved up hides its limit for a while.
        self.next_probe = if self.is_limited { now + FIRST_PROBE_WAIT } else { now };
    }

    fn limit_found(&mut self, now: Instant) {
        self.is_limited = true;
        self.quick = 0;
        self.next_probe = now + self.probe_wait;
        self.probe_wait = (self.probe_wait * 2).min(LONGEST_PROBE_WAIT);
    }

    /// Half as many at once, and if that was not enough a fifth slower, or as slow as answers come; below what the reference allows only if one
    /// at a time is too fast.
    fn slower(&mut self, now: Instant, took: Duration) {
        if now.since(self.slowed) < took {
            return;
        }
        self.slowed = now;
        let is_alone = self.window == 1;
        self.window = (self.window / 2).max(1);
        if std::mem::replace(&mut self.is_warned, true) {
            let Rate { interval, burst } = self.bucket.rate();
            let longest = if is_alone { LONGEST_INTERVAL } else { interval.max(ASSUMED.interval) };
            self.bucket
                .set_rate(now, Rate { interval: (interval * 5 / 4).max(self.between).min(longest), burst });
            // What seemed to be saved up is not there.
            self.bucket.drain(now);
            self.limit_found(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_start(Duration::from_millis(millis))
    }

    /// Sends as much as allowed for `seconds` to a server that lets requests wait for its bucket, and
    /// answers how many it served and for how long requests waited there in total.
    fn run(limit: Rate, seconds: u64, round_trip: u64) -> (u64, Duration) {
        let mut pace = Pace::new(64);
        let mut server = TokenBucket::new(limit);
        let mut in_flight: Vec<(Instant, Instant, RequestId)> = Vec::new();
        let (mut served, mut waited, mut next) = (0, Duration::ZERO, 0);
        for now in (0..seconds * 1000).map(at) {
            in_flight.retain(|(due, sent, id)| {
                if *due <= now {
                    served += 1;
                    pace.answered(now, *id, now.since(*sent));
                }
                *due > now
            });
            while let Some(permit) = pace.permit(now, in_flight.len()) {
                let id = RequestId(next);
                next += 1;
                pace.sent(now, id, permit);
                let turn = server.next_at(now);
                server.take_ahead(now);
                waited += turn.since(now);
                in_flight.push((turn.max(now) + Duration::from_millis(round_trip), now, id));
            }
        }
        (served, waited)
    }

    #[test]
    fn a_server_with_the_reference_limits_is_neither_tripped_nor_left_idle() {
        let (served, waited) = run(ASSUMED, 120, 40);
        assert!(served >= 15 + 4 * 119, "{served} of 491 were asked for");
        assert!(waited < Duration::from_secs(4), "requests waited {waited:?} in 120 s");
    }

    #[test]
    fn a_server_without_limits_is_asked_as_fast_as_it_answers() {
        let (served, _) = run(Rate::UNLIMITED, 20, 40);
        // 64 in flight and 40 ms are 1,600 a second, once the pace is found.
        assert!(served > 1_600 * 15, "{served}");
    }

    #[test]
    fn a_server_with_other_limits_is_asked_at_most_twice_as_fast_for_a_while() {
        for per_second in [1, 2, 10, 50] {
            let limit = Rate::per_second(per_second, 20);
            let (served, waited) = run(limit, 120, 40);
            assert!(served >= u64::from(per_second) * 80, "{served} at {per_second}/s");
            // On average a slow server holds a few requests; it is never sent many that wait.
            assert!(waited < Duration::from_secs(4 * 120), "{waited:?} at {per_second}/s");
        }
    }

    #[test]
    fn a_lost_probe_counts_as_a_late_one() {
        let mut pace = Pace::new(8);
        for id in 0..15 {
            pace.sent(at(0), RequestId(id), Permit::Token);
            pace.answered(at(0), RequestId(id), Duration::from_millis(1));
        }
        assert_eq!(pace.permit(at(0), 0), Some(Permit::Probe));
        pace.sent(at(0), RequestId(15), Permit::Probe);
        assert_eq!(pace.permit(at(0), 1), None);
        pace.lost(at(10), RequestId(15), Duration::from_millis(10));
        assert_eq!(pace.permit(at(10), 0), None);
        assert!(!pace.is_beyond_assumed());
    }
}
