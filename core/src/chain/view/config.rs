//! The bounds of the chain view and what it does when they are reached.

use std::time::Duration;

/// What to do when blocks that wait for their ancestors take all the room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnFull {
    /// Drop the lowest of them and wait on: for a node that fills gaps from its peers. It fetches them again.
    #[default]
    DropLowest,
    /// Leave the missing positions out and go on with the oldest blocks that are held: for a node that can't hold a
    /// whole gap and wants the live chain.
    Reanchor,
}

/// Configuration of a [`ChainView`](super::ChainView).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainViewConfig {
    /// The most blocks held at once. Raised to 2 if less.
    pub max_blocks: usize,
    /// The most bytes that the held blocks take, as [`ChainBlock::size`](super::ChainBlock::size) counts. Should be
    /// at least twice the largest block: a gap is noticed only by a block that finds room, and the window may take
    /// half of it.
    pub max_bytes: usize,
    /// How many canonical blocks are kept for reorgs even if competitors and pending blocks want the room. At least
    /// 1, at most half of `max_blocks`, and never more than half of `max_bytes`.
    pub keep_depth: usize,
    /// How far above the head a block may be, in blocks. A number beyond that is nonsense, and to wait for what
    /// lies between would be as well.
    pub max_ahead: u64,
    /// How long a gap may go without progress, while the head makes none either, before the missing positions are
    /// left out. `None`: forever.
    pub gap_patience: Option<Duration>,
    /// What to do when blocks that wait take all the room.
    pub on_full: OnFull,
}

impl Default for ChainViewConfig {
    /// 1,024 blocks, 32 MiB, 64 blocks for reorgs, 2^30 blocks ahead; waits forever and drops the lowest.
    fn default() -> Self {
        Self {
            max_blocks: 1024,
            max_bytes: 32 * 1024 * 1024,
            keep_depth: 64,
            max_ahead: 1 << 30,
            gap_patience: None,
            on_full: OnFull::DropLowest,
        }
    }
}

impl ChainViewConfig {
    pub(super) fn normalised(mut self) -> Self {
        self.max_blocks = self.max_blocks.max(2);
        self.keep_depth = self.keep_depth.clamp(1, self.max_blocks / 2);
        self
    }
}
