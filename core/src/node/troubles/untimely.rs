//! Signed blocks from another time: they show that the clock of this machine is wrong.
//!
//! A stranger can replay old blocks, and a sequencer that was down makes old blocks in a hurry.
//! Only blocks that come at the chain's pace, from several peers if there are several, and without
//! a timely block in between, are evidence.
//!
//! # Bounds
//! Holds one run of blocks, with two of its senders.

use crate::peers::PeerId;
use crate::time::{Instant, Now};
use std::time::Duration;

/// Minimum number of blocks in a run.
const BLOCKS: u64 = 3;
/// Minimum duration of a run.
const MIN_RUN_DURATION: Duration = Duration::from_secs(4);
/// Maximum number of seconds by which the blocks' times may run faster or slower than the clock.
const DRIFT: i64 = 3;
/// Time without such a block after which the run is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(120);

/// Untimely blocks since the last timely one.
#[derive(Debug, Default)]
pub(super) struct Untimely(Option<Run>);

#[derive(Debug)]
struct Run {
    /// Arrival and distance of the first block: seconds by which our clock is ahead.
    first: Instant,
    first_ahead: i64,
    last: Instant,
    ahead_ms: i64,
    blocks: u64,
    sender: PeerId,
    has_more_senders: bool,
}

impl Untimely {
    /// Takes an untimely block that the sequencer signed.
    pub(super) fn take(&mut self, now: Now, from: PeerId, timestamp: u64) {
        let millis = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1000);
        let unix = i64::try_from(now.unix.as_millis()).unwrap_or(i64::MAX);
        let ahead_ms = unix.saturating_sub(millis(timestamp));
        let ahead = ahead_ms / 1000;
        let is_at_pace = |run: &Run| ahead.abs_diff(run.first_ahead) <= DRIFT.unsigned_abs();
        match &mut self.0 {
            Some(run) if is_at_pace(run) => {
                run.blocks = run.blocks.saturating_add(1);
                run.has_more_senders |= run.sender != from;
                (run.last, run.ahead_ms) = (now.monotonic, ahead_ms);
            }
            other => {
                *other = Some(Run {
                    first: now.monotonic,
                    first_ahead: ahead,
                    last: now.monotonic,
                    ahead_ms,
                    blocks: 1,
                    sender: from,
                    has_more_senders: false,
                });
            }
        }
    }

    /// Forgets all blocks: a timely one arrived, or the clock was set.
    pub(super) fn forget(&mut self) {
        self.0 = None;
    }

    /// Returns by how many milliseconds the clock is ahead if there is enough evidence, where
    /// `peers` are connected.
    pub(super) fn ahead_ms(&mut self, now: Now, peers: usize) -> Option<i64> {
        self.0.take_if(|run| run.last + FORGOTTEN <= now.monotonic);
        let run = self.0.as_ref()?;
        let is_enough = run.blocks >= BLOCKS
            && run.last.since(run.first) >= MIN_RUN_DURATION
            && (run.has_more_senders || peers <= 1);
        is_enough.then_some(run.ahead_ms)
    }

    /// Returns when the run is forgotten.
    pub(super) fn next_change(&self) -> Option<Instant> {
        self.0.as_ref().map(|run| run.last + FORGOTTEN)
    }
}
