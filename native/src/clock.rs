//! The wall clock of this machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Time since the Unix epoch; zero where the clock stands before it, by which every block is too new
/// and nothing is old.
pub(crate) fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The wall clock by which a node judges blocks: this machine's, or, to see what becomes of a node whose clock jumps, one
/// that goes wrong when told to. A clone is the same clock.
#[derive(Clone, Debug, Default)]
pub struct WallClock {
    /// Seconds that it is ahead.
    ahead: Arc<AtomicI64>,
}

impl WallClock {
    /// Puts the clock this many seconds ahead of the machine's, or behind it.
    pub fn put_ahead(&self, seconds: i64) {
        self.ahead.store(seconds, Ordering::Relaxed);
    }

    /// What it shows, since the Unix epoch.
    pub fn now(&self) -> Duration {
        let (now, ahead) = (since_epoch(), self.ahead.load(Ordering::Relaxed));
        let by = Duration::from_secs(ahead.unsigned_abs());
        if ahead < 0 { now.saturating_sub(by) } else { now.saturating_add(by) }
    }
}
