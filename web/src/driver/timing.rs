//! The timers of an observer: heartbeats, statuses, questions for the signer, and pauses for the
//! browser.

use super::{Driver, Reads};
use crate::tell::Told;
use futures_timer::Delay;
use opp2p_core::gossip::HEARTBEAT;
use opp2p_core::node::Input;
use opp2p_core::peers::PeerNews;
use opp2p_wire::from_libp2p;
use std::time::Duration;
use web_time::Instant;

/// Maximum time of work without a pause: one frame at 120 Hz.
const SLICE: Duration = Duration::from_millis(8);
/// Interval between two statuses that are caused by time alone.
pub(super) const STATUS_INTERVAL: Duration = Duration::from_secs(1);
/// Minimum interval between two statuses.
const STATUS_PAUSE: Duration = Duration::from_millis(100);
/// Interval at which the page is asked for the signer while none is known.
const UNKNOWN_SIGNER_INTERVAL: Duration = Duration::from_secs(15);
impl Driver {
    /// Yields to the browser if [`SLICE`] has passed. This takes a timer, which starts a new task:
    /// a promise does not.
    pub(super) async fn breathe(&mut self) {
        if self.slice_start.elapsed() >= SLICE {
            Delay::new(Duration::ZERO).await;
            self.slice_start = Instant::now();
        }
    }

    /// Returns the time until the next timer is due.
    pub(super) fn next_wait(&self) -> Duration {
        let now = Instant::now();
        let status = if self.status_changed {
            self.status_due.min(self.status_told + STATUS_PAUSE)
        } else {
            self.status_due
        };
        let due = self.signer_due.unwrap_or(status).min(status).min(self.heartbeat);
        let own = due.saturating_duration_since(now);
        let reads = self.reads.as_ref().and_then(Reads::deadline);
        let machines = [self.core.next_wakeup(), reads].into_iter().flatten().min();
        machines.map_or(own, |at| self.core.clock.until(at).min(own))
    }

    /// Does what is due.
    pub(super) fn on_time(&mut self) {
        // A timer starts a new task, so the browser had its turn.
        let now = Instant::now();
        self.slice_start = now;
        if now >= self.heartbeat {
            self.heartbeat = now + HEARTBEAT;
            self.wire.heartbeat(self.core.clock.now().monotonic);
        }
        if self.signer_due.is_some_and(|due| now >= due) {
            self.signer_due = Some(now + UNKNOWN_SIGNER_INTERVAL);
            self.tell(&Told::ReadSigner);
        }
        // Before the core looks for silent peers.
        for peer in self.senders.take().iter().filter_map(from_libp2p) {
            self.feed(Input::Peer(peer, PeerNews::Received));
        }
        self.feed(Input::Wake);
        self.wake_reads();
        let is_due = now >= self.status_due
            || (self.status_changed && now >= self.status_told + STATUS_PAUSE);
        if is_due {
            self.send_status();
        }
    }
}
