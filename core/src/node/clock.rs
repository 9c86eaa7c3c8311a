//! What a jump of the wall clock does, and to whom it is not to be done.
//!
//! Whether a block is timely is told by the wall clock, and who brings one that is not is banned for an hour. A clock that
//! jumps (somebody sets it, a machine wakes up) makes every honest block look untimely, and so every honest peer look
//! like a liar. The monotonic clock shows it: while the distance of the two is not the one at which the last block was
//! accepted, or at which the node started, untimely blocks are ignored rather than rejected. Sequencers sign them, so no
//! stranger gains much by it. The doubt ends when the clock is where it was, or a block is accepted by the new time.
//!
//! Bans end by the wall clock, since they outlive the process. Those set in this run are moved along with a jump, so
//! that each lasts as long as it was set for. Those of earlier runs are not: their ends were read off a clock that may
//! have been right all along.

use crate::time::Now;

/// The least step, and the least distance from the time that is trusted, that counts as a jump, milliseconds. Below it a
/// clock is being adjusted, and blocks pass as they did.
const JUMP: i64 = 2_000;

/// Watches the distance of the two clocks.
#[derive(Debug)]
pub(super) struct ClockWatch {
    /// Milliseconds from the monotonic to the wall clock, as of the last call.
    distance: i64,
    /// The same when the wall clock was last known to agree with the sequencer's.
    trusted: i64,
    jumps: u64,
}

/// How the clock was when a validation began.
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
    pub(super) fn new(now: Now) -> Self {
        Self { distance: distance(now), trusted: distance(now), jumps: 0 }
    }

    /// Takes a reading; by how many seconds the wall clock has jumped since the last one, if it has.
    pub(super) fn observe(&mut self, now: Now) -> Option<i64> {
        let step = distance(now).saturating_sub(self.distance);
        self.distance = distance(now);
        let jumped = step.saturating_abs() >= JUMP;
        self.jumps += u64::from(jumped);
        jumped.then(|| step.saturating_add(step.signum() * 500) / 1000)
    }

    const fn is_in_doubt(&self) -> bool {
        self.distance.saturating_sub(self.trusted).saturating_abs() >= JUMP
    }

    /// To be kept while something is judged by the wall clock.
    pub(super) const fn mark(&self) -> ClockMark {
        ClockMark { is_in_doubt: self.is_in_doubt(), jumps: self.jumps }
    }

    /// Whether the wall clock may be wrong, or may have been at some moment since `mark`.
    pub(super) const fn is_in_doubt_since(&self, mark: ClockMark) -> bool {
        mark.is_in_doubt || mark.jumps != self.jumps || self.is_in_doubt()
    }

    /// A block that the sequencer signed was timely, by the clock as it was at `mark`: if it is the same still, it is
    /// right.
    pub(super) const fn confirm(&mut self, mark: ClockMark) {
        if mark.jumps == self.jumps {
            self.trusted = self.distance;
        }
    }
}
