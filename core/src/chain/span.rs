//! Runs of consecutive blocks of one branch, as reported to consumers.

use super::BlockId;

/// Consecutive blocks of one branch in ascending order: a list of ids, or the bounds of a long run.
///
/// It holds at most [`Span::MAX_LISTED`] ids, for any number of blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Span {
    /// The ids of all blocks, lowest first.
    Listed(Vec<BlockId>),
    /// More than [`Span::MAX_LISTED`] blocks.
    Range {
        /// Number of blocks.
        count: u64,
        /// The lowest block.
        lowest: BlockId,
        /// The highest block.
        highest: BlockId,
    },
}

impl Span {
    /// Maximum number of blocks that are listed individually.
    pub const MAX_LISTED: usize = 256;

    /// Returns the span of these blocks, given lowest first.
    pub fn of(ids: &[BlockId]) -> Self {
        match ids {
            [lowest, .., highest] if ids.len() > Self::MAX_LISTED => {
                Self::Range { count: ids.len() as u64, lowest: *lowest, highest: *highest }
            }
            _ => Self::Listed(ids.to_vec()),
        }
    }

    /// Returns the number of blocks.
    pub fn count(&self) -> u64 {
        match self {
            Self::Listed(ids) => ids.len() as u64,
            Self::Range { count, .. } => *count,
        }
    }

    /// Returns `true` if the span has no blocks.
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// Returns the lowest block, or `None` if there are no blocks.
    pub fn lowest(&self) -> Option<BlockId> {
        match self {
            Self::Listed(ids) => ids.first().copied(),
            Self::Range { lowest, .. } => Some(*lowest),
        }
    }

    /// Returns the highest block, or `None` if there are no blocks.
    pub fn highest(&self) -> Option<BlockId> {
        match self {
            Self::Listed(ids) => ids.last().copied(),
            Self::Range { highest, .. } => Some(*highest),
        }
    }

    /// Returns the ids, or `None` if the span is a range.
    pub fn listed(&self) -> Option<&[BlockId]> {
        match self {
            Self::Listed(ids) => Some(ids),
            Self::Range { .. } => None,
        }
    }
}

impl Default for Span {
    fn default() -> Self {
        Self::Listed(Vec::new())
    }
}

/// Builder of a [`Span`] from blocks in descending order, as in a walk from child to parent.
#[derive(Clone, Debug, Default)]
pub struct Descent {
    /// The highest blocks: at most one more than [`Span::MAX_LISTED`].
    ids: Vec<BlockId>,
    count: u64,
    lowest: Option<BlockId>,
}

impl Descent {
    /// Adds the next block, which is one below the last one.
    pub fn push(&mut self, id: BlockId) {
        self.count = self.count.saturating_add(1);
        self.lowest = Some(id);
        if self.ids.len() <= Span::MAX_LISTED {
            self.ids.push(id);
        }
    }

    /// Returns the number of added blocks.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Returns the span of the added blocks.
    pub fn finish(mut self) -> Span {
        if self.ids.len() <= Span::MAX_LISTED {
            self.ids.reverse();
            return Span::Listed(self.ids);
        }
        match (self.ids.first(), self.lowest) {
            (Some(highest), Some(lowest)) => {
                Span::Range { count: self.count, lowest, highest: *highest }
            }
            _ => Span::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::B256;

    fn ids(count: u64) -> Vec<BlockId> {
        (1..=count).map(|number| BlockId::new(number, B256::repeat_byte(number as u8))).collect()
    }

    #[test]
    fn a_long_span_keeps_only_its_bounds() {
        for count in [0, 1, 2, 255, 256, 257, 20_000] {
            let ids = ids(count);
            let span = Span::of(&ids);
            assert_eq!(span.count(), count);
            assert_eq!(
                (span.lowest(), span.highest()),
                (ids.first().copied(), ids.last().copied())
            );
            assert_eq!(span.listed(), (count <= 256).then_some(&ids[..]));
            let mut descent = Descent::default();
            ids.iter().rev().for_each(|id| descent.push(*id));
            assert_eq!(descent.finish(), span);
        }
    }
}
