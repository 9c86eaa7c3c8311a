//! The machine's wall clock, and a wall clock that tests can shift.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Returns the time since the Unix epoch, or zero if the clock is set to an earlier time. At zero
/// every block is too new, and none is too old.
pub fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Wall clock by which a node judges blocks. It is the machine's clock, with an offset that lets
/// tests make the clock jump. Clones share the offset.
#[derive(Clone, Debug, Default)]
pub struct WallClock {
    /// Offset from the machine's clock in seconds; negative if this clock is behind.
    ahead: Arc<AtomicI64>,
}

impl WallClock {
    /// Sets this clock ahead of the machine's by this many seconds, or behind it if negative.
    pub fn put_ahead(&self, seconds: i64) {
        self.ahead.store(seconds, Ordering::Relaxed);
    }

    /// Returns the current time of this clock since the Unix epoch.
    pub fn now(&self) -> Duration {
        let (now, ahead) = (since_epoch(), self.ahead.load(Ordering::Relaxed));
        let by = Duration::from_secs(ahead.unsigned_abs());
        if ahead < 0 { now.saturating_sub(by) } else { now.saturating_add(by) }
    }
}
