//! What a feed into a stream tells of itself: numbers for Prometheus, and a sentence while nothing goes through.

use crate::metrics::{Exposition, Kind, Source};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// How the feed is doing.
#[derive(Debug, Default)]
pub struct FeedMeter {
    published: AtomicU64,
    behind: AtomicU64,
    problem: Mutex<Option<String>>,
}

impl FeedMeter {
    /// Blocks that are known to be in the stream since the start.
    pub fn published(&self) -> u64 {
        self.published.load(Ordering::Relaxed)
    }

    /// Numbers from what is in the stream to the stored head.
    pub fn behind(&self) -> u64 {
        self.behind.load(Ordering::Relaxed)
    }

    /// One sentence on why nothing goes through; `None` if it does.
    pub fn problem(&self) -> Option<String> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set(&self, published: u64, behind: u64, problem: Option<String>) {
        self.published.store(published, Ordering::Relaxed);
        self.behind.store(behind, Ordering::Relaxed);
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }
}

impl Source for FeedMeter {
    fn write(&self, text: &mut Exposition) {
        text.own("opp2p_feed_published_total", Kind::Counter, "Blocks that the feed put into its stream")
            .value(self.published());
        text.own(
            "opp2p_feed_behind_blocks",
            Kind::Gauge,
            "Blocks on the disk that are not in the feed's stream yet",
        )
        .value(self.behind());
        text.own("opp2p_feed_failing", Kind::Gauge, "Whether the feed can't put anything into its stream")
            .value(u8::from(self.problem().is_some()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feed_tells_how_far_it_is_behind_and_whether_it_fails() {
        let meter = FeedMeter::default();
        meter.set(3, 9, Some("nobody listens".into()));
        let mut text = Exposition::new("op_node_default");
        meter.write(&mut text);
        let text = text.finish();
        for line in ["opp2p_feed_published_total 3", "opp2p_feed_behind_blocks 9", "opp2p_feed_failing 1"] {
            assert!(text.lines().any(|found| found == line), "{text}");
        }
    }
}
