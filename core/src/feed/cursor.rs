//! Where a consumer's log ends, and what comes next.

use crate::chain::{BlockId, ChainBlock, ChainView};
use alloy_primitives::B256;

/// The block in which a log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tip {
    /// The block.
    pub id: BlockId,
    /// Its parent's hash, where it is known. It finds the way back if the store does not have the block.
    pub parent: Option<B256>,
}

impl Tip {
    /// A tip of which no more is known.
    pub const fn new(id: BlockId) -> Self {
        Self { id, parent: None }
    }
}

/// Where a log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// It is empty. It begins with the lowest block that there is, or with this number; if the store has not so low a block
    /// any more, that is said.
    Start {
        /// The number that was asked for.
        from: Option<u64>,
    },
    /// In a block, or in a reorg that took all above it back.
    At(Tip),
    /// In the word that positions are left out.
    Before {
        /// The block before that; `None` if there is none.
        from: Option<BlockId>,
        /// The block that is to come.
        to: BlockId,
    },
}

impl Position {
    /// The number of the highest block that is in the log, or would be if it were not left out.
    pub fn number(&self) -> Option<u64> {
        match self {
            Self::Start { from } => from.and_then(|from| from.checked_sub(1)),
            Self::At(tip) => Some(tip.id.number),
            Self::Before { to, .. } => to.number.checked_sub(1),
        }
    }
}

/// What a consumer is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedEvent<B> {
    /// The next block.
    Block(B),
    /// The blocks above `ancestor` are not canonical any more, or one that was announced above it. Those that are follow.
    Reorg {
        /// The highest block that stays.
        ancestor: BlockId,
        /// What is taken back, lowest first; nothing if it was only announced.
        abandoned: Vec<BlockId>,
        /// What takes its place, as far as it was known at that moment, lowest first; one block more than `abandoned` at
        /// most. Each comes as a block after this.
        adopted: Vec<BlockId>,
    },
    /// The next block is `to`, which is not the child of the one before.
    Skipped {
        /// The block before; `None` if nothing was told yet.
        from: Option<BlockId>,
        /// The block that comes next.
        to: BlockId,
    },
}

impl<B: ChainBlock> FeedEvent<B> {
    /// Where a log ends that ends in this.
    pub fn position(&self) -> Position {
        match self {
            Self::Block(block) => {
                Position::At(Tip { id: BlockId::of(block), parent: Some(block.parent_hash()) })
            }
            Self::Reorg { ancestor, .. } => Position::At(Tip::new(*ancestor)),
            Self::Skipped { from, to } => Position::Before { from: *from, to: *to },
        }
    }

    /// A name that is the same whenever the same is told at the same place: a block's is its hash. One thing can be told
    /// again later, if the chain goes back to a branch that it left.
    pub fn name(&self) -> String {
        match self {
            Self::Block(block) => block.hash().to_string(),
            Self::Reorg { ancestor, abandoned, .. } => {
                let tip = abandoned.last().unwrap_or(ancestor);
                format!("reorg:{}:{}", tip.hash, ancestor.hash)
            }
            Self::Skipped { from: Some(from), to } => format!("skipped:{}:{}", from.hash, to.hash),
            Self::Skipped { from: None, to } => format!("skipped::{}", to.hash),
        }
    }

    /// About how many bytes it holds.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Block(block) => block.size(),
            Self::Reorg { abandoned, adopted, .. } => {
                (abandoned.len() + adopted.len()) * size_of::<BlockId>()
            }
            Self::Skipped { .. } => size_of::<Self>(),
        }
    }
}

/// What to read from the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Query {
    /// The canonical blocks of this number and above.
    From(u64),
    /// The canonical blocks above this one; if it is not canonical, those above the highest of its ancestors that is.
    After(Tip),
}

/// What was read from the store, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<B> {
    /// The highest canonical block.
    pub head: Option<BlockId>,
    /// For [`Query::After`]: the block itself and its ancestors that are not canonical, highest first.
    pub abandoned: Vec<BlockId>,
    /// For [`Query::After`]: the block itself or the highest of its ancestors that is canonical; `None` if the way there
    /// can't be found, or is longer than [`LONGEST_BRANCH`](super::LONGEST_BRANCH).
    pub ancestor: Option<BlockId>,
    /// The canonical blocks above that, or above the query's number, lowest first; without an ancestor, from the lowest on.
    /// A page holds some of them.
    pub blocks: Vec<B>,
}

impl<B: ChainBlock> Page<B> {
    /// Cuts off what would be told too early: blocks above positions that the store does not have yet, and will. `view` is
    /// the node's.
    pub fn settle(&mut self, view: &ChainView<B>) {
        let mut below = self.ancestor;
        let unsettled = |block: &B| {
            let id = BlockId::of(block);
            let below = below.replace(id);
            below.is_some_and(|below| !links(below, block) && !is_settled(view, below, id))
        };
        if let Some(first) = self.blocks.iter().position(unsettled) {
            self.blocks.truncate(first);
            // The rest comes when more is stored, not at once.
            let last = self.blocks.last().map(BlockId::of);
            self.head = last.or(self.ancestor).or(self.head);
        }
    }
}

/// What comes next, by what was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken<B> {
    /// What to tell, in order.
    pub events: Vec<FeedEvent<B>>,
    /// Whether there is more to read at once. If not, there is when something more is stored.
    pub more: bool,
}

/// Follows the chain for one consumer: see the [module's documentation](super).
#[derive(Clone, Copy, Debug)]
pub struct Cursor {
    position: Position,
}

impl Cursor {
    /// Goes on where a log ends.
    pub const fn new(position: Position) -> Self {
        Self { position }
    }

    /// Where the log ends when all that was given out is told.
    pub const fn position(&self) -> Position {
        self.position
    }

    /// What to read next.
    pub fn query(&self) -> Query {
        match self.position {
            Position::Start { from } => Query::From(from.unwrap_or_default()),
            Position::At(tip) => Query::After(tip),
            Position::Before { to, .. } => Query::From(to.number),
        }
    }

    /// What to tell, by what [`Self::query`] found.
    pub fn take<B: ChainBlock>(&mut self, page: Page<B>) -> Taken<B> {
        let Page { head, abandoned, ancestor, blocks } = page;
        let mut events = Vec::with_capacity(blocks.len() + 1);
        let first = blocks.first().map(BlockId::of);
        // What the next block has to be the child of; `None` if it may be any.
        let mut below = match self.position {
            Position::Start { from } => {
                if let (Some(from), Some(to)) = (from, first)
                    && to.number > from
                {
                    events.push(FeedEvent::Skipped { from: None, to });
                }
                None
            }
            Position::Before { to, .. } if first == Some(to) => None,
            // The block that was announced is not there any more: that is taken back.
            Position::Before { from: Some(ancestor), .. } => {
                self.position = Position::At(Tip::new(ancestor));
                events.push(FeedEvent::Reorg { ancestor, abandoned: Vec::new(), adopted: Vec::new() });
                return Taken { events, more: true };
            }
            Position::Before { from: None, .. } => {
                self.position = Position::Start { from: Some(0) };
                return Taken { events, more: true };
            }
            Position::At(tip) => match ancestor {
                Some(ancestor) if ancestor == tip.id => Some(ancestor),
                Some(ancestor) => {
                    let adopted = blocks.iter().take(abandoned.len() + 1).map(BlockId::of).collect();
                    let abandoned = abandoned.into_iter().rev().collect();
                    events.push(FeedEvent::Reorg { ancestor, abandoned, adopted });
                    Some(ancestor)
                }
                // The log is ahead of this store, which may come to know the block.
                None if head.is_none_or(|head| head.number < tip.id.number) => {
                    return Taken { events, more: false };
                }
                None => Some(tip.id),
            },
        };
        for block in blocks {
            let id = BlockId::of(&block);
            if let Some(from) = below
                && !links(from, &block)
            {
                events.push(FeedEvent::Skipped { from: Some(from), to: id });
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

/// Whether what the store has above `below`, which is not its child, will stay so: the positions between were left out.
/// If the view knows better, the store is behind, as after a disk that took no blocks for a while, and will have the blocks
/// between when it has caught up.
fn is_settled<B: ChainBlock>(view: &ChainView<B>, below: BlockId, above: BlockId) -> bool {
    let is_changed = view.canonical_hash(below.number).is_some_and(|hash| hash != below.hash);
    let is_between = |block: &B| below.number < block.number() && block.number() < above.number;
    !is_changed && !view.recent().any(is_between)
}
