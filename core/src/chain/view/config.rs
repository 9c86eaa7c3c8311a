//! The bounds of the chain view, and its behaviour when they are reached.

use std::time::Duration;

/// Behaviour when the waiting blocks take all the room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnFull {
    /// Drop the lowest waiting blocks and keep waiting: for a node that fills gaps from its peers.
    /// It fetches the blocks again.
    #[default]
    DropLowest,
    /// Skip the missing positions and continue with the oldest held blocks: for a node that can't
    /// hold a whole gap and wants the live chain.
    Reanchor,
}

/// Configuration of a [`ChainView`](super::ChainView).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainViewConfig {
    /// Maximum number of held blocks. Values below 2 are raised to 2.
    pub max_blocks: usize,
    /// Maximum size of the held blocks in bytes, as counted by
    /// [`ChainBlock::size`](super::ChainBlock::size). It should be at least twice the largest
    /// block: only a block that finds room reveals a gap, and the window may take half of the room.
    pub max_bytes: usize,
    /// Number of canonical blocks kept for reorgs even if competitors and pending blocks need the
    /// room. At least 1, at most half of `max_blocks`, and never more than half of `max_bytes`.
    pub keep_depth: usize,
    /// Maximum number of canonical positions remembered below the window, as hashes only (32 bytes
    /// each). A branch that leaves the chain there finds its ancestor.
    pub max_remembered: usize,
    /// Interval between two blocks of the chain. It determines the time after which the view leaves
    /// a branch: see the [module's documentation](super). It can change later:
    /// [`ChainView::set_interval`](super::ChainView::set_interval). Zero disables the waiting: the
    /// longest branch becomes the chain at once, and a lower one never does.
    pub interval: Duration,
    /// Maximum height of a block above the head, in blocks. A higher number is implausible, and the
    /// view would wait in vain for the blocks in between.
    pub max_ahead: u64,
    /// Time for which a gap may hold up the head while none of its blocks is found, before the
    /// missing positions are skipped. `None`: for ever.
    /// [`set_patience`](super::ChainView::set_patience) may shorten it temporarily.
    pub gap_patience: Option<Duration>,
    /// Maximum number of blocks that a gap which holds the head may miss. A longer gap is skipped
    /// as soon as the shown branch has stopped growing. `None` for no maximum.
    pub max_gap: Option<u64>,
    /// Behaviour when the waiting blocks take all the room.
    pub on_full: OnFull,
}

impl Default for ChainViewConfig {
    /// 1,024 blocks, 32 MiB, 64 blocks for reorgs, 2^18 positions remembered below the window (8
    /// MiB), and 2^30 blocks ahead. Gaps are never given up, and the lowest blocks are dropped. The
    /// interval is zero, so the view follows a branch at once when it grows longer.
    fn default() -> Self {
        Self {
            max_blocks: 1024,
            max_bytes: 32 * 1024 * 1024,
            keep_depth: 64,
            max_remembered: 1 << 18,
            interval: Duration::ZERO,
            max_ahead: 1 << 30,
            gap_patience: None,
            max_gap: None,
            on_full: OnFull::DropLowest,
        }
    }
}

/// Default time for which a gap may hold up the head while none of its blocks is found. It allows
/// some ten requests to peers, and one to an endpoint. On today's networks most peers serve
/// nothing, so waiting longer seldom helps.
pub const GAP_PATIENCE: Duration = Duration::from_secs(10);

/// The interval for which the default limits are chosen.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(2);

impl ChainViewConfig {
    /// Returns the default for a node on a chain with this `interval`, with a patience of
    /// [`GAP_PATIENCE`]. If the interval is shorter than 2 s, the bounds are scaled to the same
    /// time: 2,048 s of blocks, including 128 s that are kept for reorgs. The limit on bytes stays
    /// the same, and the numbers of blocks are at most 16 times the default's.
    pub fn for_interval(interval: Duration) -> Self {
        let times = DEFAULT_INTERVAL.as_millis() / interval.as_millis().max(1);
        let times = usize::try_from(times).unwrap_or(usize::MAX).clamp(1, 16);
        let default = Self::default();
        Self {
            max_blocks: default.max_blocks * times,
            keep_depth: default.keep_depth * times,
            interval,
            gap_patience: Some(GAP_PATIENCE),
            ..default
        }
    }

    pub(super) fn normalised(mut self) -> Self {
        self.max_blocks = self.max_blocks.max(2);
        self.keep_depth = self.keep_depth.clamp(1, self.max_blocks / 2);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_bounds_mean_the_same_time_at_any_interval() {
        let default = ChainViewConfig::default();
        let bounds = |millis| {
            let config = ChainViewConfig::for_interval(Duration::from_millis(millis));
            assert_eq!(config.max_bytes, default.max_bytes);
            (config.max_blocks, config.keep_depth)
        };
        for millis in [1500, 2000, 12_000, u64::MAX] {
            assert_eq!(bounds(millis), (1024, 64));
        }
        assert_eq!(bounds(1000), (2048, 128));
        assert_eq!(bounds(200), (10_240, 640));
        assert_eq!(bounds(0), (16_384, 1024));
    }
}
