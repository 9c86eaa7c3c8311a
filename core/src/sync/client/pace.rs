//! The pace of requests to one server: as fast as it serves, and no faster.
//!
//! A server of the reference delays a request that comes too early, and serves no other peer
//! meanwhile. So the aim is never to come too early, without knowing the server's limits. A
//! [`Pace`] starts with the default limits of the reference and keeps its own copy of the server's
//! token bucket. When that copy is empty, it occasionally sends one request all the same: the
//! *probe*. If the probe is answered as quickly as others, twice in a row because the network may
//! have reordered two requests, the server is not at its limit, and the rate is doubled. If it is
//! late, the limit is reached, and the next probe waits longer. The number of requests in flight
//! grows while answers are quick and is halved when they are slow, so that a server that is busy
//! for any other reason is also given time. Requests that were in flight before the last such step
//! are not evidence about it.
//!
//! # Recovery
//! Nothing that a pace learns lasts, since losses and jitter look like limits:
//! * A rate below the default limits rises with each quick answer: the more of them came in a row,
//!   the faster. It needs no probes, and therefore no second request in flight.
//! * An answer is slow in comparison with the quickest one, and with the jitter between successive
//!   answers, to which a growing queue at the server adds nothing. Slow answers to single requests
//!   are not our fault: after a few of them, they are the usual ones.
//! * A limit that was not met again for [`LIMIT_TTL`] counts no more: the rate may double again.
//! * After [`EVIDENCE_TTL`] without a request, a server is like a new one.

use std::time::Duration;

use super::RequestId;
use crate::sync::rate::{Rate, TokenBucket};
use crate::time::Instant;

/// Rate that a server of the reference allows each peer by default (`op-node/p2p/sync.go`).
pub(super) const ASSUMED: Rate = Rate::per_second(4, 15);
/// Shortest interval that is tried.
const SHORTEST_INTERVAL: Duration = Duration::from_micros(10);
/// Longest interval, for a server that is far slower than the reference.
const LONGEST_INTERVAL: Duration = Duration::from_secs(8);
/// Wait after a late probe; it doubles with each further one.
const FIRST_PROBE_WAIT: Duration = Duration::from_secs(4);
/// Longest wait between two probes.
const LONGEST_PROBE_WAIT: Duration = Duration::from_secs(60);
/// Tolerance beyond twice the quickest answer and [`JITTERS`] times the jitter: an answer that took
/// longer is slow. A missing token costs a server of the reference 250 ms.
const SLOW: Duration = Duration::from_millis(150);
const JITTERS: u32 = 4;
/// Maximum jitter that counts: the smoothed excess over the answer before.
const LARGEST_JITTER: Duration = Duration::from_millis(100);
/// Time for which a limit counts after it was last met: longer than the longest wait of a probe.
const LIMIT_TTL: Duration = Duration::from_secs(2 * 60);
/// Time without a request after which nothing that was learnt counts. By then, all tokens are saved
/// up again even at the longest interval.
const EVIDENCE_TTL: Duration = Duration::from_secs(3 * 60);

/// Number of successive quick probes that raise the rate.
const QUICK_PROBES: u32 = 2;
/// Number of successive quick answers after which a low rate recovers twice as fast as before.
const RECOVERY_RUN: u32 = 4;

/// Permission to send a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Permit {
    /// Within the known limits of the server.
    Token,
    /// Beyond the known limits, to explore them.
    Probe,
}

/// Pace of requests to one server.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    bucket: TokenBucket,
    /// When the last request was sent.
    sent: Instant,
    /// Duration of an answer that meets no other request of ours, and the last request that was
    /// sent while no other one was in flight.
    base: Option<Duration>,
    alone: Option<RequestId>,
    /// Duration of the last answer, and how much longer and how much shorter than the one before
    /// an answer is, smoothed.
    last: Option<Duration>,
    ups: Duration,
    downs: Duration,
    /// Smoothed duration of recent answers.
    typical: Duration,
    /// Time of the last answer, and smoothed interval between two answers.
    answered: Instant,
    between: Duration,
    /// Maximum number of requests in flight.
    window: usize,
    largest_window: usize,
    probe: Option<RequestId>,
    next_probe: Instant,
    probe_wait: Duration,
    /// Number of successive quick probes.
    quick: u32,
    /// When an answer was last found slow. Answers to requests sent before that time do not count
    /// as slow again.
    slowed: Instant,
    /// Whether no later request was answered quickly since then: a second slow answer is no
    /// accident.
    is_warned: bool,
    /// Number of quick answers since then.
    run: u32,
    /// When a limit was last found. Without one the rate doubles, otherwise it grows in small
    /// steps.
    limited: Option<Instant>,
    /// Whether the operator set the rate: then it is neither raised nor lowered.
    is_fixed: bool,
}

impl Pace {
    pub(super) fn new(largest_window: usize) -> Self {
        Self {
            bucket: TokenBucket::new(ASSUMED),
            sent: Instant::default(),
            base: None,
            alone: None,
            last: None,
            ups: Duration::ZERO,
            downs: Duration::ZERO,
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
            run: 0,
            limited: None,
            is_fixed: false,
        }
    }

    /// Creates a pace of at most `rate`, independent of the answers.
    pub(super) fn fixed(rate: Rate, largest_window: usize) -> Self {
        Self { bucket: TokenBucket::new(rate), is_fixed: true, ..Self::new(largest_window) }
    }

    /// Returns a permit for one more request while `in_flight` are under way, or `None` if it must
    /// wait.
    pub(super) fn permit(&self, now: Instant, in_flight: usize) -> Option<Permit> {
        if in_flight >= self.window {
            None
        } else if self.bucket.available(now) {
            Some(Permit::Token)
        } else {
            self.may_probe(now).then_some(Permit::Probe)
        }
    }

    /// Returns when [`Self::permit`] grants a request if none of those in flight is answered
    /// before, or `None` if it depends on an answer.
    pub(super) fn ready_at(&self, now: Instant, in_flight: usize) -> Option<Instant> {
        if in_flight >= self.window {
            return None;
        }
        Some(self.bucket.next_at(now))
    }

    /// Records that a request was sent on `permit`, while `in_flight` others were under way.
    pub(super) fn sent(&mut self, now: Instant, id: RequestId, permit: Permit, in_flight: usize) {
        if !self.is_fixed && now.since(self.sent) >= EVIDENCE_TTL {
            *self = Self::new(self.largest_window);
        }
        self.sent = now;
        if in_flight == 0 {
            self.alone = Some(id);
        }
        self.bucket.take_ahead(now);
        if permit == Permit::Probe {
            self.probe = Some(id);
        }
    }

    /// Records that a request was answered, with whatever result, after `took`.
    pub(super) fn answered(&mut self, now: Instant, id: RequestId, took: Duration) {
        let is_slow = self.is_slow(took, self.alone == Some(id));
        let is_probe = self.probe == Some(id);
        self.between = (self.between * 15 + now.since(self.answered).min(took)) / 16;
        self.answered = now;
        if is_probe {
            self.probe = None;
            // A missing token costs up to one interval.
            if took <= self.typical * 5 / 4 + self.bucket.rate().interval / 4 {
                self.quick += 1;
                if self.quick >= QUICK_PROBES {
                    self.faster(now);
                }
            } else {
                self.limit_found(now);
            }
        }
        if !is_slow {
            self.window = self.window.saturating_add(1).min(self.largest_window);
            // Only a request that was sent since then says anything about the lower rate.
            if now.since(self.slowed) >= took {
                self.is_warned = false;
                self.run = self.run.saturating_add(1);
                self.recover(now);
            }
        } else if !is_probe {
            self.slower(now, took);
        }
        if !is_probe {
            self.typical =
                if self.typical.is_zero() { took } else { (self.typical * 7 + took) / 8 };
        }
    }

    /// Records that a request was not answered within `took`, or that the server rejected, or may
    /// have rejected, it as too early.
    pub(super) fn lost(&mut self, now: Instant, id: RequestId, took: Duration) {
        if self.probe == Some(id) {
            self.probe = None;
            self.limit_found(now);
        } else {
            self.slower(now, took);
        }
        self.window = 1;
    }

    /// Returns `true` if the server is asked faster than the reference allows by default.
    pub(super) fn is_beyond_assumed(&self) -> bool {
        self.bucket.rate().interval < ASSUMED.interval
    }

    /// Returns `true` if a probe may be sent: right after a token was taken, when the next one is
    /// far off and its absence is noticeable.
    fn may_probe(&self, now: Instant) -> bool {
        if self.is_fixed {
            return false;
        }
        let is_far = self.bucket.next_at(now).since(now) >= self.bucket.rate().interval * 3 / 4;
        is_far && !self.typical.is_zero() && self.probe.is_none() && self.next_probe <= now
    }

    /// Takes the duration of an answer, and returns `true` if it is a long one.
    fn is_slow(&mut self, took: Duration, is_alone: bool) -> bool {
        let base = self.base.unwrap_or(took).min(took);
        let extra = took - base;
        // A queue that grows only adds to the one, and a queue that shrinks to the other.
        let jitter = self.ups.min(self.downs).min(LARGEST_JITTER);
        let last = self.last.replace(took).unwrap_or(took);
        self.ups = (self.ups * 15 + took.saturating_sub(last)) / 16;
        self.downs = (self.downs * 15 + last.saturating_sub(took)) / 16;
        let is_slow = extra > base + SLOW + jitter * JITTERS;
        // A server at its limit is no longer slow when it is asked so rarely.
        let is_rare = self.bucket.rate().interval >= extra * 4;
        self.base = Some(if is_slow && is_alone && is_rare { base + extra / 8 } else { base });
        is_slow
    }

    /// Raises a rate below that of the reference: by 1/32, or up to 1/4 after many quick answers.
    fn recover(&mut self, now: Instant) {
        let Rate { interval, burst } = self.bucket.rate();
        if interval > ASSUMED.interval && !self.is_fixed {
            let step = interval / (32 >> (self.run / RECOVERY_RUN).min(3));
            let interval = (interval - step).max(ASSUMED.interval);
            self.bucket.set_rate(now, Rate { interval, burst });
        }
    }

    fn faster(&mut self, now: Instant) {
        let Rate { interval, burst } = self.bucket.rate();
        let is_limited = self.limited.is_some_and(|found| now.since(found) < LIMIT_TTL);
        let interval = if is_limited { interval * 4 / 5 } else { interval / 2 };
        if interval >= SHORTEST_INTERVAL {
            self.bucket.set_rate(now, Rate { interval, burst });
        }
        self.quick = 0;
        self.probe_wait = FIRST_PROBE_WAIT;
        // The tokens that a server has saved up hide its limit for a while.
        self.next_probe = if is_limited { now + FIRST_PROBE_WAIT } else { now };
    }

    fn limit_found(&mut self, now: Instant) {
        self.limited = Some(now);
        self.quick = 0;
        self.next_probe = now + self.probe_wait;
        self.probe_wait = (self.probe_wait * 2).min(LONGEST_PROBE_WAIT);
    }

    /// Halves the number of requests in flight. If that was not enough, also lowers the rate by a
    /// fifth, or to the rate of the answers; below the reference's limit only if even one request
    /// at a time is too fast.
    fn slower(&mut self, now: Instant, took: Duration) {
        if now.since(self.slowed) < took {
            return;
        }
        self.slowed = now;
        self.run = 0;
        let is_alone = self.window == 1;
        self.window = (self.window / 2).max(1);
        if std::mem::replace(&mut self.is_warned, true) && !self.is_fixed {
            let Rate { interval, burst } = self.bucket.rate();
            let longest = if is_alone { LONGEST_INTERVAL } else { interval.max(ASSUMED.interval) };
            self.bucket.set_rate(
                now,
                Rate { interval: (interval * 5 / 4).max(self.between).min(longest), burst },
            );
            // The server has not saved up tokens after all.
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

    /// A server that delays requests by its bucket, at the end of a path with jitter.
    struct Path {
        pace: Pace,
        server: TokenBucket,
        /// Time of an answer without delay, in milliseconds: from, and below.
        round_trip: (u64, u64),
        /// Maximum number of requests in flight.
        most: usize,
        now: u64,
        in_flight: Vec<(Instant, Instant, RequestId)>,
        next: u64,
        random: u64,
    }

    impl Path {
        fn new(limit: Rate, round_trip: (u64, u64), most: usize) -> Self {
            let (pace, server) = (Pace::new(64), TokenBucket::new(limit));
            let (now, in_flight, next, random) = (0, Vec::new(), 0, 1);
            Self { pace, server, round_trip, most, now, in_flight, next, random }
        }

        const fn took(&mut self) -> Duration {
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            let (from, below) = self.round_trip;
            Duration::from_millis(from + self.random % (below - from))
        }

        /// Sends as many requests as allowed for `seconds`. Returns the number of served requests
        /// and the total delay.
        fn run(&mut self, seconds: u64) -> (u64, Duration) {
            let (mut served, mut waited) = (0, Duration::ZERO);
            for now in (self.now..self.now + seconds * 1000).map(at) {
                let pace = &mut self.pace;
                self.in_flight.retain(|(due, sent, id)| {
                    if *due <= now {
                        served += 1;
                        pace.answered(now, *id, now.since(*sent));
                    }
                    *due > now
                });
                while self.in_flight.len() < self.most
                    && let Some(permit) = self.pace.permit(now, self.in_flight.len())
                {
                    let id = RequestId(self.next);
                    self.next += 1;
                    self.pace.sent(now, id, permit, self.in_flight.len());
                    let turn = self.server.next_at(now);
                    self.server.take_ahead(now);
                    waited += turn.since(now);
                    let due = turn + self.took();
                    self.in_flight.push((due, now, id));
                }
            }
            self.now += seconds * 1000;
            (served, waited)
        }

        /// Nothing is answered for `seconds`.
        fn fail(&mut self, seconds: u64) {
            let end = self.now + seconds * 1000;
            let late = self.in_flight.drain(..).map(|(.., id)| id).collect::<Vec<_>>();
            late.into_iter().for_each(|id| self.pace.lost(at(self.now), id, 10 * SECOND));
            while self.now < end {
                if let Some(permit) = self.pace.permit(at(self.now), 0) {
                    self.pace.sent(at(self.now), RequestId(self.next), permit, 0);
                    self.now += 10_000;
                    self.pace.lost(at(self.now), RequestId(self.next), 10 * SECOND);
                    self.next += 1;
                }
                self.now += 10;
            }
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    fn run(limit: Rate, seconds: u64, round_trip: u64) -> (u64, Duration) {
        Path::new(limit, (round_trip, round_trip + 1), 64).run(seconds)
    }

    #[test]
    fn a_server_at_reference_limits_is_neither_tripped_nor_idle() {
        let (served, waited) = run(ASSUMED, 120, 40);
        assert!(served >= 15 + 4 * 119, "{served} of 491 were asked for");
        assert!(waited < Duration::from_secs(4), "requests waited {waited:?} in 120 s");
    }

    #[test]
    fn an_unlimited_server_is_asked_as_fast_as_it_answers() {
        let (served, _) = run(Rate::UNLIMITED, 20, 40);
        // 64 in flight and 40 ms are 1,600 per second, once the pace is found.
        assert!(served > 1_600 * 15, "{served}");
    }

    #[test]
    fn an_unknown_limit_is_exceeded_at_most_twofold_for_a_while() {
        for per_second in [1, 2, 10, 50] {
            let mut path = Path::new(Rate::per_second(per_second, 20), (40, 41), 64);
            for minutes in [2, 2, 30, 30] {
                let (served, waited) = path.run(60 * minutes);
                let possible = u64::from(per_second) * 60 * minutes;
                assert!(served >= possible * 2 / 3, "{served} of {possible} at {per_second}/s");
                // On average a few requests wait at a slow server, never many.
                assert!(waited.as_secs() < 4 * 60 * minutes, "{waited:?} at {per_second}/s");
            }
        }
    }

    #[test]
    fn the_pace_recovers_from_losses_even_with_one_request_at_a_time() {
        for (round_trip, most) in [(40, 64), (40, 1), (600, 64), (600, 1)] {
            let mut path = Path::new(ASSUMED, (round_trip, round_trip + 1), most);
            path.run(10);
            path.fail(300);
            assert!(path.pace.bucket.rate().interval > 4 * SECOND, "the losses lower the pace");
            path.run(90);
            let (served, _) = path.run(60);
            let possible = (most as u64 * 60_000 / round_trip).min(4 * 60);
            assert!(served >= possible * 9 / 10, "{served} of {possible}, {most} at a time");
        }
    }

    #[test]
    fn jitter_is_not_taken_for_a_limit() {
        for (most, limit) in [(64, ASSUMED), (1, ASSUMED), (64, Rate::UNLIMITED)] {
            let mut path = Path::new(limit, (2, 602), most);
            let served: u64 = (0..10).map(|_| path.run(60).0).sum();
            // Its mean is 302 ms.
            let possible = (most as u64 * 600_000 / 302).min(4 * 600);
            assert!(served >= possible * 8 / 10, "{served} of {possible}, {most} at a time");
        }
    }

    #[test]
    fn a_longer_round_trip_soon_becomes_the_norm() {
        let mut path = Path::new(ASSUMED, (40, 41), 64);
        path.run(60);
        path.round_trip = (1000, 1001);
        path.run(180);
        let (served, _) = path.run(60);
        assert!(served >= 4 * 54, "{served} of 240");
    }

    #[test]
    fn a_lifted_limit_is_forgotten() {
        let mut path = Path::new(Rate::per_second(20, 20), (40, 41), 64);
        path.run(120);
        path.server = TokenBucket::new(Rate::UNLIMITED);
        path.run(180);
        let (served, _) = path.run(20);
        // 64 in flight and 40 ms are 1,600 per second.
        assert!(served > 1000 * 20, "{served}");
    }

    #[test]
    fn a_server_not_asked_for_long_is_treated_as_new() {
        let mut path = Path::new(ASSUMED, (40, 41), 64);
        path.run(10);
        path.fail(300);
        path.now += 180_000;
        assert!(path.run(10).0 >= 15 + 4 * 9);
    }

    #[test]
    fn a_lost_probe_counts_as_late() {
        let mut pace = Pace::new(8);
        for id in 0..15 {
            pace.sent(at(0), RequestId(id), Permit::Token, 0);
            pace.answered(at(0), RequestId(id), Duration::from_millis(1));
        }
        assert_eq!(pace.permit(at(0), 0), Some(Permit::Probe));
        pace.sent(at(0), RequestId(15), Permit::Probe, 0);
        assert_eq!(pace.permit(at(0), 1), None);
        pace.lost(at(10), RequestId(15), Duration::from_millis(10));
        assert_eq!(pace.permit(at(10), 0), None);
        assert!(!pace.is_beyond_assumed());
    }

    #[test]
    fn the_usual_time_of_an_answer_follows_by_an_eighth() {
        let mut pace = Pace::new(8);
        let mut now = 0;
        for (id, took, usual) in [(1, 80, 80), (2, 160, 90), (3, 90, 90), (4, 10, 80)] {
            now += 1_000;
            pace.sent(at(now), RequestId(id), Permit::Token, 0);
            now += took;
            pace.answered(at(now), RequestId(id), Duration::from_millis(took));
            assert_eq!(pace.typical, Duration::from_millis(usual), "{id}");
        }
    }
}
