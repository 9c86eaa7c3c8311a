//! Between the core's blocks and the store's records.

use crate::store::{Batch, Store, StoreError, StoredBlock};
use alloy_primitives::Bytes;
use opp2p_core::chain::BlockId;
use opp2p_core::feed::{Page, Query};
use opp2p_core::gossip::{SIGNATURE_SIZE, Signature};
use opp2p_core::node::StoreChange;
use opp2p_core::payload::{Block, PayloadVersion};
use opp2p_core::sync::PendingBlock;

/// A change as one batch: for `Extend` and `Promote` the new head; what was canonical above it is no longer.
///
/// A rewind needs none of its own: the blocks of the new branch follow it, and the first of them
/// removes the old branch. The ancestor itself may be older than what the store keeps.
pub(super) fn batch(change: &StoreChange, received_unix_ms: u64) -> Option<Batch> {
    let canonical = |id: BlockId| Batch {
        canonical: vec![(id.number, id.hash)],
        head: Some(id.number),
        ..Batch::default()
    };
    match change {
        StoreChange::Extend(block) => {
            Some(Batch { blocks: vec![stored(block, received_unix_ms)], ..canonical(BlockId::of(block)) })
        }
        StoreChange::Promote(id) => Some(canonical(*id)),
        StoreChange::Hold(block) => {
            Some(Batch { pending: vec![stored(block, received_unix_ms)], ..Batch::default() })
        }
        StoreChange::Release(ids) => {
            let release = ids.iter().map(|id| (id.number, id.hash)).collect();
            Some(Batch { release, ..Batch::default() })
        }
        StoreChange::Rewind(_) => None,
    }
}

/// What the core has to know of the pending area.
pub(super) fn pending(store: &Store) -> Result<Vec<PendingBlock>, StoreError> {
    let each = store.pending()?.into_iter().map(|block| PendingBlock {
        id: BlockId::new(block.number, block.hash),
        parent: block.parent_hash,
        size: usize::try_from(block.size).unwrap_or(usize::MAX),
    });
    Ok(each.collect())
}

/// The stored head, and the blocks up to it, newest first, as far as they read and link.
///
/// A record that does not read ends the list rather than the start: what lies above it is sound.
pub(super) fn resume(store: &Store, count: usize) -> Result<(Option<BlockId>, Vec<Block>), StoreError> {
    let Some(head) = store.head()? else { return Ok((None, Vec::new())) };
    let mut blocks: Vec<Block> = Vec::new();
    let mut next = Some(head.hash);
    while let Some(hash) = next.filter(|_| blocks.len() < count) {
        let Some(block) = store.block_by_hash(hash).ok().flatten().and_then(loaded) else { break };
        next = Some(block.parent_hash());
        blocks.push(block);
    }
    Ok((Some(BlockId::new(head.number, head.hash)), blocks))
}

/// The block in a record; `None` if the record holds none.
pub(super) fn loaded(record: StoredBlock) -> Option<Block> {
    let version = PayloadVersion::from_number(record.version)?;
    let message = Bytes::from(record.message);
    let signature: Signature = *message.first_chunk()?;
    // A block that came by number has no signature, and its place is zeros.
    let signature = (signature != [0; SIGNATURE_SIZE]).then_some(signature);
    let block = Block::decode(version, signature, message.slice(SIGNATURE_SIZE..)).ok()?;
    (block.hash() == record.hash).then_some(block)
}

/// What the store has for a feed.
pub(super) fn page(store: &Store, query: Query) -> Result<Page<Block>, StoreError> {
    let Page { head, abandoned, ancestor, blocks } = store.page(query)?;
    let whole = |record: StoredBlock| {
        let hash = record.hash;
        let detail = "its message is no block of that hash".to_owned();
        let path = store.path().to_path_buf();
        loaded(record).ok_or(StoreError::CorruptedBlock { path, hash, detail })
    };
    let blocks = blocks.into_iter().map(whole).collect::<Result<_, _>>()?;
    Ok(Page { head, abandoned, ancestor, blocks })
}

/// A block as the store keeps it.
pub(super) fn stored(block: &Block, received_unix_ms: u64) -> StoredBlock {
    let mut message = Vec::with_capacity(SIGNATURE_SIZE + block.body().len());
    message.extend_from_slice(block.signature().unwrap_or(&[0; SIGNATURE_SIZE]));
    message.extend_from_slice(block.body());
    StoredBlock {
        number: block.number(),
        hash: block.hash(),
        parent_hash: block.parent_hash(),
        timestamp: block.timestamp(),
        received_unix_ms,
        version: block.version().number(),
        message,
    }
}
