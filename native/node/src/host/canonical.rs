//! Canonical blocks by number, from the chain view and the store, which may lag behind it.
//!
//! The view changes at once; the store changes a little later, or much later while the disk takes
//! nothing. The view decides whether a stored block counts: see
//! [`ChainView::find`](opp2p_core::chain::ChainView::find). Any other stored block may be on a
//! branch that was left, and is not returned.

use super::persist;
use super::shared::Core;
use opp2p_core::chain::Position;
use opp2p_core::gossip::TIMESTAMP_THRESHOLD;
use opp2p_core::node::Node;
use opp2p_core::payload::Block;
use opp2p_core::time::Now;
use opp2p_store::{Store, StoreError};

/// Returns the answer of the view alone, if it has one.
fn answer(position: &Position<'_, Block>) -> Option<Option<Block>> {
    match position {
        Position::Above => Some(None),
        Position::Held(block) => Some(Some((*block).clone())),
        Position::Known(_) | Position::Deep => None,
    }
}

/// Returns the canonical block with this number.
pub(super) fn block(core: &Core, store: &Store, number: u64) -> Result<Option<Block>, StoreError> {
    if let Some(block) = answer(&core.lock().view().find(number)) {
        return Ok(block);
    }
    let (head, stored) = store.canonical_at(number)?;
    let found = stored.and_then(persist::loaded);
    let hash = {
        // Asks the view again: it may have moved since.
        let node = core.lock();
        let view = node.view();
        match view.find(number) {
            Position::Known(hash) => hash,
            Position::Deep => return Ok(found.filter(|_| view.agrees_with(head))),
            position => return Ok(answer(&position).flatten()),
        }
    };
    match found.filter(|block| block.hash() == hash) {
        Some(block) => Ok(Some(block)),
        None => Ok(store.block_by_hash(hash)?.and_then(persist::loaded)),
    }
}

/// Returns the lowest canonical block.
pub(super) fn lowest(core: &Core, store: &Store) -> Result<Option<Block>, StoreError> {
    let (head, stored) = store.lowest_at()?;
    let stored = stored.and_then(persist::loaded);
    let node = core.lock();
    let view = node.view();
    let held = view.recent().next().cloned();
    let stored = stored.filter(|block| {
        let is_below = view.head().is_some_and(|head| block.number() <= head.number);
        is_below && view.agrees_with(head)
    });
    Ok([stored, held].into_iter().flatten().min_by_key(Block::number))
}

/// Returns `true` if the node is up to date, by the age of its head.
pub(super) fn is_live(node: &Node, now: Now) -> bool {
    let head = node.view().head().and_then(|head| node.view().get(&head.hash));
    let age = head.map(|head| now.unix_seconds().saturating_sub(head.timestamp()));
    age.is_some_and(|age| age <= TIMESTAMP_THRESHOLD.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::WallClock;
    use crate::host::shared::Clock;
    use alloy_primitives::Address;
    use alloy_primitives::B256;
    use opp2p_core::chain::{BlockId, ChainConfig, Fork};
    use opp2p_core::node::{NodeConfig, StoreChange};
    use opp2p_core::payload::Envelope;
    use opp2p_store::StoreConfig;
    use std::time::Duration;

    /// Returns blocks 1 to `to` on a branch that forks from `below` above `from`.
    fn branch(below: &[Block], from: usize, to: usize, branch: u8) -> Vec<Block> {
        let mut blocks = below[..from].to_vec();
        for number in from + 1..=to {
            let mut envelope = Envelope::default();
            envelope.payload.block_number = number as u64;
            envelope.payload.parent_hash = blocks.last().map_or(B256::ZERO, Block::hash);
            envelope.payload.extra_data = vec![branch].into();
            envelope.payload.seal(None).unwrap();
            let mut body = Vec::new();
            let version = envelope.encode(&mut body).unwrap();
            blocks.push(Block::decode(version, None, body.into()).unwrap());
        }
        blocks
    }

    #[test]
    fn a_block_of_an_abandoned_branch_is_not_served() {
        let old = branch(&[], 0, 20, 1);
        let new = branch(&old, 5, 15, 2);
        let directory = tempfile::tempdir().unwrap();
        let chain =
            ChainConfig::development(901, B256::ZERO, 0, 2, Fork::Canyon, Address::repeat_byte(2));
        let store = Store::open(StoreConfig {
            path: directory.path().join("store"),
            chain_id: 901,
            genesis_hash: chain.genesis.hash,
            max_blocks: 1000,
            max_bytes: u64::MAX,
            max_age: Duration::MAX,
        })
        .unwrap();
        let put = |change: StoreChange| store.commit(&persist::batch(&change, 0)).unwrap();
        old.iter().for_each(|block| put(StoreChange::Extend(block.clone())));
        // The view has rewound to 5 and extended to 15; it holds 12 to 15 and knows 11.
        let clock = Clock::start(WallClock::default());
        let config = NodeConfig {
            head: new.last().map(BlockId::of),
            recent: new[11..].iter().rev().cloned().collect(),
            ..NodeConfig::new(chain)
        };
        let core = Core::new(Node::new(clock.now(), config).unwrap(), clock);
        let found = |number: u64| block(&core, &store, number).unwrap().map(|found| found.hash());
        assert_eq!(found(13), Some(new[12].hash()));
        for number in [3, 9, 11, 16, 20] {
            assert_eq!(found(number), None, "the store is behind the view at {number}");
        }
        assert_eq!(lowest(&core, &store).unwrap().map(|block| block.number()), Some(12));
        put(StoreChange::Rewind(BlockId::of(&new[4])));
        new[5..].iter().for_each(|block| put(StoreChange::Extend(block.clone())));
        for (number, expected) in (1..).zip(&new) {
            assert_eq!(found(number), Some(expected.hash()), "{number}");
        }
        assert_eq!(found(16), None);
        assert_eq!(lowest(&core, &store).unwrap().map(|block| block.number()), Some(1));
        // The store leaves the chain altogether, and the view has not moved yet.
        put(StoreChange::Detach);
        assert_eq!((found(3), found(11)), (None, Some(new[10].hash())));
    }
}
