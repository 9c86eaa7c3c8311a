//! Detection of wall-clock jumps, and protection of honest peers from their effects.
//!
//! The wall clock decides whether a block is timely, and a peer that sends an untimely block is
//! banned for an hour. When the clock jumps (it was set, or the machine woke up), every honest
//! block looks untimely, and every honest peer looks like a liar. The monotonic clock reveals this.
//! Untimely blocks are ignored rather than rejected while the distance between the two clocks
//! differs from the distance at which the last block was accepted. Before the first accepted
//! block, the clock is in doubt: a machine without a battery clock, or a virtual machine that
//! starts before its time is set, starts with a wrong one. Strangers gain little by this, because
//! the sequencer must sign such blocks. The doubt ends when the clock is back where it was, or a
//! block is accepted by the new time, and not just barely: by a clock that is a few seconds behind,
//! a block that comes late looks timely, and the next one that comes at once looks too new.
//!
//! Trust ends a minute after the last block that confirmed the clock. Both clocks usually share an
//! oscillator, so their distance does not show a drift. A process that was stopped finds old blocks
//! in its sockets.
//!
//! Bans end by the wall clock, because they outlive the process. Bans of this run are moved along
//! with a jump, so that each lasts as long as intended. Bans of earlier runs are not: their ends
//! were computed from a clock that may have been right all along.

use crate::time::{Instant, Now};
use std::time::Duration;

/// Minimum step, and minimum distance from the trusted time, that counts as a jump, in
/// milliseconds. A smaller change is an adjustment of the clock, and blocks are judged as before.
const JUMP: i64 = 2_000;

/// Time without a confirming block after which the clock is in doubt: the maximum age of a block.
const TRUST: Duration = Duration::from_secs(60);

/// Maximum number of seconds by which the timestamp of a block may be ahead of a clock that it
/// confirms: a sequencer publishes a block at its time, or a little before.
const AHEAD: i64 = 1;
/// Maximum age, in seconds, of a block that confirms the clock: half of the default limit.
const AGE: i64 = 30;

/// Watches the distance between the two clocks.
#[derive(Debug)]
pub(super) struct ClockWatch {
    /// Milliseconds from the monotonic to the wall clock, as of the last call.
    distance: i64,
    /// The distance when the wall clock was last known to agree with the sequencer's, and that
    /// time; `None` before the first accepted block.
    trusted: Option<(i64, Instant)>,
    /// Time of the last call.
    seen: Instant,
    jumps: u64,
}

/// State of the clock when a validation began.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClockMark {
    is_in_doubt: bool,
    jumps: u64,
}

fn distance(now: Now) -> i64 {
    let millis = |time: std::time::Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    millis(now.unix).saturating_sub(millis(now.monotonic.since_start()))
}

impl ClockWatch {
    /// Creates a watch of a clock that is in doubt.
    pub(super) fn new(now: Now) -> Self {
        Self { distance: distance(now), trusted: None, seen: now.monotonic, jumps: 0 }
    }

    /// Takes a reading. Returns by how many seconds the wall clock has jumped since the last one,
    /// if it has.
    pub(super) fn observe(&mut self, now: Now) -> Option<i64> {
        let step = distance(now).saturating_sub(self.distance);
        self.distance = distance(now);
        self.seen = now.monotonic;
        let jumped = step.saturating_abs() >= JUMP;
        self.jumps += u64::from(jumped);
        jumped.then(|| step.saturating_add(step.signum() * 500) / 1000)
    }

    /// Returns `true` if the wall clock may be wrong.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.trusted.is_none_or(|(trusted, at)| {
            self.distance.saturating_sub(trusted).saturating_abs() >= JUMP
                || self.seen.since(at) >= TRUST
        })
    }

    /// Returns a mark to keep while something is judged by the wall clock.
    pub(super) fn mark(&self) -> ClockMark {
        ClockMark { is_in_doubt: self.is_in_doubt(), jumps: self.jumps }
    }

    /// Returns `true` if the wall clock may be wrong, or may have been at any moment since `mark`.
    pub(super) fn is_in_doubt_since(&self, mark: ClockMark) -> bool {
        mark.is_in_doubt || mark.jumps != self.jumps || self.is_in_doubt()
    }

    /// Handles a timely block that the sequencer signed, judged by the clock at `mark`: if the
    /// clock has not jumped since, and the block is far from both limits, the clock is right.
    pub(super) fn confirm(&mut self, now: Now, mark: ClockMark, timestamp: u64) {
        let seconds = |time: u64| i64::try_from(time).unwrap_or(i64::MAX);
        let age = seconds(now.unix_seconds()).saturating_sub(seconds(timestamp));
        if mark.jumps == self.jumps && (-AHEAD..=AGE).contains(&age) {
            self.trusted = Some((self.distance, now.monotonic));
        }
    }
}
