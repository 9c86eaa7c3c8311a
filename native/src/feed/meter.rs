//! Progress of a feed into a stream: metrics for Prometheus, and the current problem as a sentence.

use opp2p_node::measure::{Exposition, Kind, Source};
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;

/// Progress of a feed.
#[derive(Debug, Default)]
pub struct FeedMeter {
    published: AtomicU64,
    behind: AtomicU64,
    problem: watch::Sender<Option<String>>,
}

impl FeedMeter {
    /// Returns the number of blocks that have reached the stream since the start.
    pub fn published(&self) -> u64 {
        self.published.load(Ordering::Relaxed)
    }

    /// Returns the number of blocks by which the stream is behind the stored head.
    pub fn behind(&self) -> u64 {
        self.behind.load(Ordering::Relaxed)
    }

    /// Returns the reason why the feed is stuck, as one clause; `None` if it is not.
    pub fn problem(&self) -> Option<String> {
        self.problem.borrow().clone()
    }

    /// Returns the current problem and its changes, as [`Self::problem`].
    pub(super) fn problems(&self) -> watch::Receiver<Option<String>> {
        self.problem.subscribe()
    }

    pub(super) fn set(&self, published: u64, behind: u64, problem: Option<String>) {
        self.published.store(published, Ordering::Relaxed);
        self.behind.store(behind, Ordering::Relaxed);
        self.problem.send_replace(problem);
    }
}

impl Source for FeedMeter {
    fn write(&self, text: &mut Exposition) {
        text.own(
            "opp2p_feed_published_total",
            Kind::Counter,
            "Blocks that the feed put into its stream",
        )
        .value(self.published());
        text.own(
            "opp2p_feed_behind_blocks",
            Kind::Gauge,
            "Blocks on the disk that are not in the feed's stream yet",
        )
        .value(self.behind());
        text.own(
            "opp2p_feed_failing",
            Kind::Gauge,
            "Whether the feed can't put anything into its stream",
        )
        .value(u8::from(self.problem().is_some()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn feed_metrics_show_progress_lag_and_failure() {
        let meter = FeedMeter::default();
        meter.set(3, 9, Some("nobody listens".into()));
        let mut text = Exposition::new("op_node_default");
        meter.write(&mut text);
        let text = text.finish();
        for line in
            ["opp2p_feed_published_total 3", "opp2p_feed_behind_blocks 9", "opp2p_feed_failing 1"]
        {
            assert!(text.lines().any(|found| found == line), "{text}");
        }
    }
}
