//! Batches to write, and the results of writing.

use alloy_primitives::B256;

use super::error::BatchError;
use super::record::StoredBlock;

/// One step of the chain, written whole or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Blocks to put. A block that is already stored is written again.
    pub blocks: Vec<StoredBlock>,
    /// First number of the canonical entries to remove before all other changes; their blocks stay.
    /// With 0 no stored block stays canonical.
    pub cut: Option<u64>,
    /// Numbers and hashes that become canonical. Each must name a block of this batch or a stored
    /// one. Numbers may be skipped, and filled later. A block that replaces another removes the
    /// entries above it, and a block that does not build on the one below it removes all entries
    /// below it: two branches never count as one chain.
    pub canonical: Vec<(u64, B256)>,
    /// Whether the blocks extend the chain downwards: each canonical entry must be the parent of a
    /// canonical block that is stored. Otherwise the batch is refused, and the chain can't get a
    /// hole or a foreign lower end.
    pub is_below: bool,
    /// Blocks that do not link to the chain yet, to put into the pending area. Canonical ones are
    /// not marked as pending.
    pub pending: Vec<StoredBlock>,
    /// Numbers and hashes to remove from the pending area. The blocks are deleted unless they are,
    /// or once were, canonical; unknown ones are skipped.
    pub release: Vec<(u64, B256)>,
    /// The new head: canonical entries above it are removed, their blocks stay. It must be
    /// canonical after this batch. `None` leaves the head at the highest canonical number.
    pub head: Option<u64>,
    /// Memory entries to put, replacing the value of that key, or to remove, if the value is
    /// `None`; missing keys are skipped. They apply in order, so the last of several entries with
    /// one key wins. Keys have at most [`MAX_MEMORY_KEY`](super::MAX_MEMORY_KEY) bytes, values
    /// [`MAX_MEMORY_VALUE`](super::MAX_MEMORY_VALUE).
    pub memory: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Batch {
    /// Returns the size of this batch in the queue, in bytes of messages and memory.
    pub(super) fn size(&self) -> usize {
        let messages = self.blocks.iter().chain(&self.pending).map(|block| block.message.len());
        let entry = |(key, value): &(Vec<u8>, Option<Vec<u8>>)| {
            key.len() + value.as_ref().map_or(0, Vec::len)
        };
        messages.chain(self.memory.iter().map(entry)).fold(0, usize::saturating_add)
    }
}

/// A block in the pending area, without its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingBlock {
    /// L2 block number.
    pub number: u64,
    /// Block hash.
    pub hash: B256,
    /// The parent's block hash.
    pub parent_hash: B256,
    /// Length of the message, in bytes.
    pub size: u64,
}

/// Result of [`Store::prune`](super::Store::prune).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Number of removed blocks.
    pub removed: u64,
    /// `true` if more blocks are to be removed, by another call.
    pub more: bool,
}

/// Result of [`Store::commit_group`](super::Store::commit_group).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// Outcome of each batch, in order: stored, or the reason why it was refused.
    pub batches: Vec<Result<(), BatchError>>,
    /// Blocks removed in the same transaction.
    pub pruned: Pruned,
}
