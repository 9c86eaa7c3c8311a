//! Messages from the store's thread to the driver.

use opp2p_core::chain::BlockId;
use opp2p_core::node::{StoreChange, StoreId};
use opp2p_core::payload::Block;
use opp2p_core::sync::Recalled;
use opp2p_store::WriteFailed;

/// What a change of the store changes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stored {
    /// The head is now this block.
    Block(BlockId),
    /// The chain is cut back to this block, or all of it is left if `None`.
    Rewound(Option<BlockId>),
    /// Neither of them: the pending area, or history below the chain.
    Elsewhere,
}

impl Stored {
    pub(super) fn by(change: &StoreChange) -> Self {
        match change {
            StoreChange::Extend(block) => Self::Block(BlockId::of(block)),
            StoreChange::Promote(id) => Self::Block(*id),
            StoreChange::Rewind(to) => Self::Rewound(Some(*to)),
            StoreChange::Detach => Self::Rewound(None),
            StoreChange::Hold(_) | StoreChange::Release(_) | StoreChange::Prepend(_) => {
                Self::Elsewhere
            }
        }
    }
}

/// A message from the store's thread.
#[derive(Debug)]
pub(super) enum StoreResult {
    /// A change is on the disk, or the reason in one sentence why it is not.
    Written { id: StoreId, kind: Stored, result: Result<(), String> },
    /// A block of the history is not stored, because of the store's limits.
    NotKept(StoreId),
    /// Blocks loaded from the pending area.
    Loaded(Vec<Option<Block>>),
    /// This block and those below it that the store has.
    Recalled(BlockId, Vec<Recalled>),
    /// A batch of the memory of peers is on the disk, or it is not.
    Remembered(Result<(), Box<WriteFailed>>),
}
