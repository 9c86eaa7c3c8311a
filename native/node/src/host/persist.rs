//! Conversion between the core's blocks and the store's records.

use alloy_primitives::{B256, Bytes};
use opp2p_core::chain::BlockId;
use opp2p_core::feed::{Page, Query};
use opp2p_core::gossip::{SIGNATURE_SIZE, Signature};
use opp2p_core::node::StoreChange;
use opp2p_core::payload::{Block, PayloadVersion};
use opp2p_core::sync::{LOAD_BLOCKS, LOAD_BYTES, Lowest, PendingBlock, Recalled};
use opp2p_store::{Batch, Store, StoreError, StoredBlock};

/// Converts a change to one batch. `Extend` and `Promote` set the new head; canonical blocks above
/// it are no longer canonical.
///
/// A rewind is a batch of its own: the blocks of the new branch can come much later, and until then
/// the chain ends in the ancestor.
pub(super) fn batch(change: &StoreChange, received_unix_ms: u64) -> Batch {
    let canonical = |id: BlockId| Batch {
        canonical: vec![(id.number, id.hash)],
        head: Some(id.number),
        ..Batch::default()
    };
    match change {
        StoreChange::Extend(block) => Batch {
            blocks: vec![StoredBlock::new(block, received_unix_ms)],
            ..canonical(BlockId::of(block))
        },
        StoreChange::Promote(id) => canonical(*id),
        StoreChange::Hold(block) => {
            Batch { pending: vec![StoredBlock::new(block, received_unix_ms)], ..Batch::default() }
        }
        StoreChange::Release(ids) => {
            let release = ids.iter().map(|id| (id.number, id.hash)).collect();
            Batch { release, ..Batch::default() }
        }
        StoreChange::Rewind(to) => {
            Batch { cut: Some(to.number.saturating_add(1)), ..Batch::default() }
        }
        StoreChange::Detach => Batch { cut: Some(0), ..Batch::default() },
        StoreChange::Prepend(block) => Batch {
            blocks: vec![StoredBlock::new(block, received_unix_ms)],
            canonical: vec![(block.number(), block.hash())],
            is_below: true,
            ..Batch::default()
        },
    }
}

/// Returns the pending area in the form that the core needs.
pub(super) fn pending(store: &Store) -> Result<Vec<PendingBlock>, StoreError> {
    let each = store.pending()?.into_iter().map(|block| PendingBlock {
        id: BlockId::new(block.number, block.hash),
        parent: block.parent_hash,
        size: usize::try_from(block.size).unwrap_or(usize::MAX),
    });
    Ok(each.collect())
}

/// State from which the node resumes.
#[derive(Debug, Default)]
pub(super) struct Resumed {
    /// The stored head.
    pub(super) head: Option<BlockId>,
    /// Blocks up to the head, newest first, as long as they can be read and are linked. A damaged
    /// record ends the list rather than preventing the start: the blocks above it are sound.
    pub(super) recent: Vec<Block>,
    /// Canonical positions below those, newest first.
    pub(super) remembered: Vec<BlockId>,
}

/// Returns the stored head with up to `count` blocks below it, and up to `positions` canonical
/// positions below those.
pub(super) fn resume(store: &Store, count: usize, positions: usize) -> Result<Resumed, StoreError> {
    let Some(head) = store.canonical_head()? else { return Ok(Resumed::default()) };
    let mut recent: Vec<Block> = Vec::new();
    let mut next = Some(head.hash);
    while let Some(hash) = next.filter(|_| recent.len() < count) {
        let Some(block) = store.block_by_hash(hash).ok().flatten().and_then(loaded) else { break };
        next = Some(block.parent_hash());
        recent.push(block);
    }
    let lowest = recent.last().map_or(head.number, Block::number);
    let remembered = match lowest.checked_sub(1) {
        Some(below) => store.canonical_ids(below, positions)?,
        None => Vec::new(),
    };
    Ok(Resumed { head: Some(head), recent, remembered })
}

/// Returns the lowest stored block from which the chain up to the head has no hole. Returns `None`
/// if the store does not have that head, or can't read the block: history then begins again below
/// the head.
pub(super) fn lowest(store: &Store, head: Option<BlockId>) -> Result<Option<Lowest>, StoreError> {
    let Some(head) = head else { return Ok(None) };
    if store.canonical_ids(head.number, 1)?.first() != Some(&head) {
        return Ok(None);
    }
    let lowest = store.lowest_linked().ok().flatten();
    Ok(lowest.map(|StoredBlock { number, parent_hash, timestamp, .. }| Lowest {
        number,
        parent: parent_hash,
        timestamp,
    }))
}

/// Returns this block and those below it that the store has, as far as they can be read.
pub(super) fn recall(store: &Store, from: BlockId) -> Result<Vec<Recalled>, StoreError> {
    let found = store.linked(from.hash, LOAD_BLOCKS, LOAD_BYTES)?.into_iter();
    let each = found.map_while(|(record, is_canonical)| {
        Some(Recalled { block: loaded(record)?, is_canonical })
    });
    Ok(each.collect())
}

/// Returns the state for another head than the stored one: the store counts only if it has that
/// head.
pub(super) fn resume_at(
    store: &Store,
    head: Option<BlockId>,
    positions: usize,
) -> Result<Resumed, StoreError> {
    let ids = match head {
        Some(head) => store.canonical_ids(head.number, positions.saturating_add(1))?,
        None => Vec::new(),
    };
    let remembered = match ids.split_first() {
        Some((first, below)) if Some(*first) == head => below.to_vec(),
        _ => Vec::new(),
    };
    Ok(Resumed { head, recent: Vec::new(), remembered })
}

/// Decodes the block of a record; `None` if the record has no valid block.
pub(super) fn loaded(record: StoredBlock) -> Option<Block> {
    let version = PayloadVersion::from_number(record.version)?;
    let message = Bytes::from(record.message);
    let signature: Signature = *message.first_chunk()?;
    // A block that was fetched by number has no signature; zeros take its place.
    let signature = (signature != [0; SIGNATURE_SIZE]).then_some(signature);
    let block = Block::decode(version, signature, message.slice(SIGNATURE_SIZE..)).ok()?;
    (block.hash() == record.hash).then_some(block)
}

/// Returns the store's page for a feed. `held` is asked for each block whose record is damaged.
pub(super) fn page(
    store: &Store,
    query: Query,
    held: impl Fn(&B256) -> Option<Block>,
) -> Result<Page<Block>, StoreError> {
    store.page_of(query, |hash, record| {
        let block = record.and_then(loaded).or_else(|| held(&hash))?;
        let size = block.body().len();
        Some((block, size))
    })
}
