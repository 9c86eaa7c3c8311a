//! Position of a consumer's log, and the next events for the consumer.

use crate::chain::{BlockId, ChainBlock, ChainView, Span};
use alloy_primitives::B256;

/// The block at the end of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tip {
    /// The block.
    pub id: BlockId,
    /// Hash of its parent, if known. It leads back to the chain if the store does not have the
    /// block.
    pub parent: Option<B256>,
}

impl Tip {
    /// Creates a tip without a known parent.
    pub const fn new(id: BlockId) -> Self {
        Self { id, parent: None }
    }
}

/// The end of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// The log is empty. It begins with the lowest available block, or with the block of this
    /// number. If the store no longer has blocks that low, a [`FeedEvent::Skipped`] reports the
    /// gap.
    Start {
        /// The requested number.
        from: Option<u64>,
    },
    /// The log ends in a block, or in a reorg that removed all blocks above it.
    At(Tip),
    /// The log ends in an event that announces skipped positions.
    Before {
        /// The block before that event, or `None` before the first block.
        from: Option<BlockId>,
        /// The block that comes next.
        to: BlockId,
    },
}

impl Position {
    /// Returns the number of the highest block in the log, or of the highest block that the log
    /// left out.
    pub fn number(&self) -> Option<u64> {
        match self {
            Self::Start { from } => from.and_then(|from| from.checked_sub(1)),
            Self::At(tip) => Some(tip.id.number),
            Self::Before { to, .. } => to.number.checked_sub(1),
        }
    }
}

/// An event for a consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedEvent<B> {
    /// The next block.
    Block(B),
    /// The blocks above `ancestor` are no longer canonical. Their replacements follow.
    Reorg {
        /// Highest block that remains. The log may have left it out.
        ancestor: BlockId,
        /// The removed blocks. Empty if the log had only announced the block of a
        /// [`Self::Skipped`]. If the log begins above the ancestor, this includes blocks that the
        /// log never had, and the log ends up empty. It can also include positions that the log
        /// left out.
        abandoned: Span,
        /// The replacement blocks known at that moment, lowest first: at most one block more than
        /// `abandoned`, and at most [`PAGE_BLOCKS`](super::PAGE_BLOCKS). Empty if the chain now
        /// ends in the ancestor. Each of them follows as a block.
        adopted: Vec<BlockId>,
    },
    /// The next block is `to`, which is not the child of the previous one.
    Skipped {
        /// The previous block, or `None` if nothing was reported yet.
        from: Option<BlockId>,
        /// The block that comes next.
        to: BlockId,
        /// Whether `to` is known not to build on `from`, while the highest common block of both
        /// chains is unknown. In that case, the upper part of the blocks already reported below
        /// `to` may not be canonical either.
        is_fork: bool,
    },
}

impl<B: ChainBlock> FeedEvent<B> {
    /// Returns the end of a log whose last event is this one.
    pub fn position(&self) -> Position {
        match self {
            Self::Block(block) => {
                Position::At(Tip { id: BlockId::of(block), parent: Some(block.parent_hash()) })
            }
            Self::Reorg { ancestor, .. } => Position::At(Tip::new(*ancestor)),
            Self::Skipped { from, to, .. } => Position::Before { from: *from, to: *to },
        }
    }

    /// Returns a name that is the same for the same event at the same place; a block's name is its
    /// hash. The same event can occur again later, if the chain returns to a branch that it left.
    pub fn name(&self) -> String {
        match self {
            Self::Block(block) => block.hash().to_string(),
            Self::Reorg { ancestor, abandoned, .. } => {
                let tip = abandoned.highest().unwrap_or(*ancestor);
                format!("reorg:{}:{}", tip.hash, ancestor.hash)
            }
            Self::Skipped { from: Some(from), to, .. } => {
                format!("skipped:{}:{}", from.hash, to.hash)
            }
            Self::Skipped { from: None, to, .. } => format!("skipped::{}", to.hash),
        }
    }

    /// Returns the approximate size of the event in bytes.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Block(block) => block.size(),
            Self::Reorg { abandoned, adopted, .. } => {
                let listed = abandoned.listed().map_or(0, <[BlockId]>::len);
                (listed + adopted.len()) * size_of::<BlockId>()
            }
            Self::Skipped { .. } => size_of::<Self>(),
        }
    }
}

/// A query to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Query {
    /// The canonical blocks from this number on.
    From(u64),
    /// The canonical blocks above this one, or above its highest canonical ancestor if it is not
    /// canonical.
    After(Tip),
}

/// Relation of the block of a [`Query::After`] to the canonical chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// The query is not a [`Query::After`].
    NotAsked,
    /// The block is canonical, or one of its ancestors is.
    To {
        /// The block itself, or its highest canonical ancestor.
        ancestor: BlockId,
        /// The block and those of its ancestors that lie above that ancestor; empty if the block is
        /// canonical.
        abandoned: Span,
    },
    /// The block was canonical once and no longer is. The path to a canonical ancestor is unknown,
    /// or longer than [`LONGEST_BRANCH`](super::LONGEST_BRANCH).
    Lost,
    /// The store does not know the block.
    Unknown {
        /// Whether the store may still learn of it, because the store's head is lower and the node
        /// is behind.
        may_come: bool,
    },
}

/// The result of a query, from a consistent snapshot of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<B> {
    /// The highest canonical position.
    pub head: Option<BlockId>,
    /// Relation of the block of a [`Query::After`] to the canonical chain.
    pub way: Way,
    /// The canonical blocks above the ancestor or from the query's number on, lowest first; without
    /// an ancestor, from the lowest block on. A page holds only some of them.
    pub blocks: Vec<B>,
}

impl<B: ChainBlock> Page<B> {
    /// Removes blocks that can't be reported yet: those above positions that the store does not
    /// have yet but will have. `view` is the node's. `is_live` is whether the node is up to date:
    /// if so, the store does not learn of blocks above its head that other nodes already knew.
    pub fn settle(&mut self, view: &ChainView<B>, is_live: bool) {
        let is_current =
            self.head.is_some_and(|head| view.canonical_hash(head.number) == Some(head.hash));
        if let Way::Unknown { may_come } = &mut self.way {
            *may_come &= !(is_live && is_current);
        }
        let ancestor = match self.way {
            Way::To { ancestor, .. } => Some(ancestor),
            _ => None,
        };
        let mut below = ancestor;
        let unsettled = |block: &B| {
            let id = BlockId::of(block);
            let below = below.replace(id);
            below.is_some_and(|below| !links(below, block) && !is_settled(view, below, id))
        };
        if let Some(first) = self.blocks.iter().position(unsettled) {
            self.blocks.truncate(first);
            // The rest is read when more is stored, not immediately.
            let last = self.blocks.last().map(BlockId::of);
            self.head = last.or(ancestor).or(self.head);
        }
    }
}

/// The next events, derived from a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken<B> {
    /// Events to report, in order.
    pub events: Vec<FeedEvent<B>>,
    /// Whether to read more immediately. If not, the next read is due when more is stored.
    pub more: bool,
}

/// Follows the chain for one consumer: see the [module's documentation](super).
#[derive(Clone, Copy, Debug)]
pub struct Cursor {
    position: Position,
}

impl Cursor {
    /// Creates a cursor that continues at the end of a log.
    pub const fn new(position: Position) -> Self {
        Self { position }
    }

    /// Returns the end of the log after all returned events are reported.
    pub const fn position(&self) -> Position {
        self.position
    }

    /// Returns the next query.
    pub fn query(&self) -> Query {
        match self.position {
            Position::Start { from } => Query::From(from.unwrap_or_default()),
            Position::At(tip) => Query::After(tip),
            Position::Before { to, .. } => Query::From(to.number),
        }
    }

    /// Returns the events to report for the result of [`Self::query`].
    pub fn take<B: ChainBlock>(&mut self, page: Page<B>) -> Taken<B> {
        let Page { head, way, blocks } = page;
        let mut events = Vec::with_capacity(blocks.len() + 1);
        let first = blocks.first().map(BlockId::of);
        // Whether the previous block is known not to be canonical.
        let mut is_dead = false;
        // The required parent of the next block, or `None` if any parent is accepted.
        let mut below = match self.position {
            Position::Start { from } => {
                if let (Some(from), Some(to)) = (from, first)
                    && to.number > from
                {
                    events.push(FeedEvent::Skipped { from: None, to, is_fork: false });
                }
                None
            }
            Position::Before { to, .. } if first == Some(to) => None,
            // The announced block is gone: the announcement is withdrawn.
            Position::Before { from: Some(ancestor), .. } => {
                self.position = Position::At(Tip::new(ancestor));
                events.push(FeedEvent::Reorg {
                    ancestor,
                    abandoned: Span::default(),
                    adopted: Vec::new(),
                });
                return Taken { events, more: true };
            }
            Position::Before { from: None, .. } => {
                self.position = Position::Start { from: Some(0) };
                return Taken { events, more: true };
            }
            Position::At(tip) => match way {
                Way::To { ancestor, .. } if ancestor == tip.id => Some(ancestor),
                Way::To { ancestor, abandoned } => {
                    let most = usize::try_from(abandoned.count()).unwrap_or(usize::MAX);
                    let adopted = blocks.iter().take(most.saturating_add(1));
                    let adopted = adopted.map(BlockId::of).collect();
                    events.push(FeedEvent::Reorg { ancestor, abandoned, adopted });
                    Some(ancestor)
                }
                // The log is ahead of this store.
                Way::Unknown { may_come: true } => return Taken { events, more: false },
                Way::Lost => {
                    is_dead = true;
                    Some(tip.id)
                }
                Way::NotAsked | Way::Unknown { may_come: false } => Some(tip.id),
            },
        };
        for block in blocks {
            let id = BlockId::of(&block);
            if let Some(from) = below
                && !links(from, &block)
            {
                // The block at the next number is not its child.
                let is_replaced = id.number <= from.number.saturating_add(1);
                let is_fork = std::mem::take(&mut is_dead) || is_replaced;
                events.push(FeedEvent::Skipped { from: Some(from), to: id, is_fork });
            }
            below = Some(id);
            events.push(FeedEvent::Block(block));
        }
        if let Some(last) = events.last() {
            self.position = last.position();
        }
        let more = !events.is_empty() && below != head;
        Taken { events, more }
    }
}

fn links<B: ChainBlock>(below: BlockId, block: &B) -> bool {
    below.number.checked_add(1) == Some(block.number()) && below.hash == block.parent_hash()
}

/// Returns `true` if the store's next block above `below`, which is not the child of `below`, is
/// final: the positions in between were left out. If the view shows otherwise, the store is merely
/// behind, for example because the disk accepted no blocks for a while, and will have the blocks in
/// between when it has caught up.
fn is_settled<B: ChainBlock>(view: &ChainView<B>, below: BlockId, above: BlockId) -> bool {
    let is_changed = view.canonical_hash(below.number).is_some_and(|hash| hash != below.hash);
    let is_between = |block: &B| below.number < block.number() && block.number() < above.number;
    !is_changed && !view.recent().any(is_between)
}
