//! Index of transactions by hash: finds the block that holds a transaction.
//!
//! It is built on demand from the canonical chain, from the head downwards; later queries read only
//! new blocks. A block that can't be read ends it, and is tried again by the next query. A node
//! that is never asked for transactions spends nothing on it. Blocks abandoned by a reorg are not
//! in it.
//!
//! # Bounds
//! A run of blocks without a hole below the head: at most [`SPAN`] by their timestamps, [`BYTES`]
//! in all, [`BLOCKS`] blocks, and [`TRANSACTIONS`] transactions of 16 bytes each. Transactions of
//! older blocks are found by block and place only. The first query reads those blocks, and other
//! block reads may have to wait a second or so for it; later queries read the new blocks.

use alloy_primitives::{B256, keccak256};
use opp2p_core::chain::BlockId;
use opp2p_core::payload::Block;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Time before the head within which transactions are found by hash.
pub const SPAN: Duration = Duration::from_secs(2048);
/// Maximum size in bytes of the indexed blocks in all.
pub const BYTES: usize = 256 << 20;
/// Maximum number of indexed blocks: those of [`SPAN`] at 200 ms.
pub const BLOCKS: usize = 10_240;
/// Maximum number of indexed transactions.
pub const TRANSACTIONS: usize = 1 << 19;

/// The index, shared by all callers.
#[derive(Debug, Default)]
pub(super) struct Index(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Head of the last update; `None` if that update failed.
    head: Option<B256>,
    /// The blocks, newest first.
    order: Vec<B256>,
    blocks: HashMap<B256, Entry>,
}

/// One block's transactions.
#[derive(Debug)]
struct Entry {
    parent: B256,
    /// The block's time in unix milliseconds.
    time: u64,
    /// Size of the block in bytes.
    size: usize,
    /// The first eight bytes of each hash and the transaction's place, sorted.
    transactions: Box<[(u64, u32)]>,
}

fn short(hash: &B256) -> u64 {
    u64::from_be_bytes(*hash.first_chunk().unwrap_or(&[0; 8]))
}

impl Entry {
    /// Indexes the first transactions of a block, at most `most`.
    fn of(block: &Block, most: usize) -> Self {
        let each = block.payload().transactions().take(most).zip(0..);
        let mut transactions: Box<[_]> =
            each.map(|(raw, place)| (short(&keccak256(raw)), place)).collect();
        transactions.sort_unstable();
        Self {
            parent: block.parent_hash(),
            time: block.timestamp_ms(),
            size: block.body().len(),
            transactions,
        }
    }

    /// Returns the places of the transactions that may have this hash.
    fn places(&self, hash: &B256) -> impl Iterator<Item = usize> + '_ {
        let wanted = short(hash);
        let start = self.transactions.partition_point(|(short, _)| *short < wanted);
        let alike =
            self.transactions.iter().skip(start).take_while(move |(short, _)| *short == wanted);
        alike.filter_map(|(_, place)| usize::try_from(*place).ok())
    }
}

impl Inner {
    /// Moves the index to `head`, and drops blocks that are no longer among the newest. Returns the
    /// error that ended it early, if any.
    fn update<E>(
        &mut self,
        head: BlockId,
        source: impl Fn(B256) -> Result<Option<Block>, E>,
    ) -> Option<E> {
        if self.head == Some(head.hash) {
            return None;
        }
        let mut before = std::mem::take(&mut self.blocks);
        self.order.clear();
        self.head = None;
        let (mut next, mut left, mut bytes) = (head.hash, TRANSACTIONS, BYTES);
        let mut newest = None;
        let failure = loop {
            if self.order.len() >= BLOCKS || left == 0 || bytes == 0 {
                break None;
            }
            let entry = match before.remove(&next) {
                Some(entry) if entry.transactions.len() <= left => entry,
                _ => match source(next) {
                    Ok(Some(block)) => Entry::of(&block, left),
                    Ok(None) => break None,
                    Err(error) => break Some(error),
                },
            };
            let age = newest.get_or_insert(entry.time).saturating_sub(entry.time);
            if Duration::from_millis(age) >= SPAN {
                break None;
            }
            left -= entry.transactions.len();
            bytes = bytes.saturating_sub(entry.size);
            self.order.push(next);
            let parent = entry.parent;
            self.blocks.insert(next, entry);
            next = parent;
        };
        if failure.is_none() {
            self.head = Some(head.hash);
        }
        failure
    }
}

impl Index {
    /// Returns the newest block of the chain up to `head` that has the transaction, and its place
    /// there. `source` reads blocks by hash.
    ///
    /// # Errors
    /// If the transaction is not in the blocks that can be read, and one block can't be read.
    pub(super) fn find<E>(
        &self,
        head: BlockId,
        hash: &B256,
        source: impl Fn(B256) -> Result<Option<Block>, E>,
    ) -> Result<Option<(Block, usize)>, E> {
        let (candidates, mut failure): (Vec<(B256, usize)>, _) = {
            let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let failure = inner.update(head, &source);
            let of = |block: &B256| {
                inner.blocks.get(block).into_iter().flat_map(|entry| entry.places(hash))
            };
            let found = inner.order.iter().flat_map(|block| of(block).map(|place| (*block, place)));
            (found.take(CANDIDATES).collect(), failure)
        };
        for (id, place) in candidates {
            match source(id) {
                Ok(Some(block))
                    if block
                        .payload()
                        .transaction(place)
                        .is_some_and(|raw| keccak256(raw) == *hash) =>
                {
                    return Ok(Some((block, place)));
                }
                Ok(_) => {}
                Err(error) => failure = Some(error),
            }
        }
        failure.map_or(Ok(None), Err)
    }
}

/// Maximum number of checked transactions with the same first eight bytes of their hashes: a pair
/// takes 2^32 attempts to make.
const CANDIDATES: usize = 16;

#[cfg(test)]
#[cfg(feature = "devnet")]
mod tests {
    use super::*;
    use crate::devnet::BlockMaker;
    use alloy_primitives::Address;
    use opp2p_core::chain::{ChainConfig, Fork};
    use std::cell::RefCell;
    use std::convert::Infallible;

    /// Blocks, and the numbers of those that were read.
    #[derive(Default)]
    struct World {
        blocks: HashMap<B256, Block>,
        read: RefCell<Vec<u64>>,
    }

    impl World {
        fn add(&mut self, maker: &mut BlockMaker) -> Block {
            self.add_at(maker, 1_750_000_000)
        }

        fn add_at(&mut self, maker: &mut BlockMaker, time: u64) -> Block {
            let envelope = maker.next(time);
            let mut body = Vec::new();
            let version = envelope.encode(&mut body).unwrap();
            let block = Block::decode(version, None, body.into()).unwrap();
            self.blocks.insert(block.hash(), block.clone());
            block
        }

        fn source(&self) -> impl Fn(B256) -> Result<Option<Block>, Infallible> + '_ {
            |hash| {
                let found = self.blocks.get(&hash).cloned();
                self.read.borrow_mut().extend(found.as_ref().map(Block::number));
                Ok(found)
            }
        }

        fn find(&self, index: &Index, head: &Block, hash: B256) -> Option<(u64, usize)> {
            let Ok(found) = index.find(BlockId::of(head), &hash, self.source());
            found.map(|(block, place)| (block.number(), place))
        }
    }

    fn maker(seed: u64) -> BlockMaker {
        let genesis = B256::repeat_byte(9);
        let signer = Address::repeat_byte(1);
        BlockMaker::new(
            &ChainConfig::development(901, genesis, 1_700_000_000, 2, Fork::Jovian, signer),
            seed,
        )
    }

    fn last_hash(block: &Block) -> (B256, usize) {
        let place = block.payload().transaction_count() - 1;
        (keccak256(block.payload().transaction(place).unwrap()), place)
    }

    #[test]
    fn new_blocks_are_read_once_and_abandoned_ones_are_forgotten() {
        let (mut world, index, mut maker) = (World::default(), Index::default(), maker(1));
        let blocks: Vec<_> = (0..5).map(|_| world.add(&mut maker)).collect();
        let nobodys = B256::repeat_byte(0xee);
        assert_eq!(world.find(&index, &blocks[4], nobodys), None);
        assert_eq!(world.read.take(), [5, 4, 3, 2, 1]);
        assert_eq!(world.find(&index, &blocks[4], nobodys), None);
        assert_eq!(world.read.take(), [0; 0]);

        // The same transaction may be in several of the devnet's blocks; the newest counts.
        let (hash, place) = last_hash(&blocks[4]);
        assert_eq!(world.find(&index, &blocks[4], hash), Some((5, place)));
        world.read.take();

        // A branch from the second block on.
        let mut other = self::maker(2);
        other.resume(BlockId::of(&blocks[1]), blocks[1].timestamp());
        let branch: Vec<_> = (0..4).map(|_| world.add(&mut other)).collect();
        assert_eq!(world.find(&index, &branch[3], nobodys), None);
        assert_eq!(world.read.take(), [6, 5, 4, 3]);
        assert_eq!(index.0.lock().unwrap().blocks.len(), 6);
        let (hash, place) = last_hash(&branch[0]);
        let found = world.find(&index, &branch[3], hash).unwrap();
        assert!(found.0 > 3 || found == (3, place), "{found:?}");
    }

    #[test]
    fn all_blocks_within_the_time_span_are_read() {
        let (mut world, index, mut maker) = (World::default(), Index::default(), maker(4));
        let start = 1_750_000_000;
        let span = SPAN.as_secs();
        // Several blocks share a timestamp.
        let blocks: Vec<_> = [0, 1, 1, 1, span, span, span + 1]
            .map(|after| world.add_at(&mut maker, start + after))
            .into();
        assert_eq!(world.find(&index, &blocks[5], B256::ZERO), None);
        assert_eq!(world.read.take(), [6, 5, 4, 3, 2, 1]);
        assert_eq!(index.0.lock().unwrap().order.len(), 5);
        assert_eq!(world.find(&index, &blocks[6], B256::ZERO), None);
        assert_eq!(world.read.take(), [7]);
        assert_eq!(index.0.lock().unwrap().order.len(), 3);
    }

    #[test]
    fn a_search_ends_at_a_hole_and_at_the_bounds() {
        let (mut world, index, mut maker) = (World::default(), Index::default(), maker(3));
        let blocks: Vec<_> = (0..6).map(|_| world.add(&mut maker)).collect();
        world.blocks.remove(&blocks[2].hash());
        assert_eq!(world.find(&index, &blocks[5], B256::ZERO), None);
        assert_eq!(world.read.take(), [6, 5, 4]);
        let count = blocks[5].payload().transaction_count();
        assert_eq!(Entry::of(&blocks[5], 3).transactions.len(), 3.min(count));
    }

    #[test]
    fn an_unreadable_block_does_not_hide_newer_ones() {
        let (mut world, index, mut maker) = (World::default(), Index::default(), maker(5));
        let blocks: Vec<_> = (0..6).map(|_| world.add(&mut maker)).collect();
        let bad = blocks[2].hash();
        let is_bad = RefCell::new(true);
        let find = |hash| {
            let source = |id| match id == bad && *is_bad.borrow() {
                true => Err("damaged"),
                false => Ok(world.blocks.get(&id).cloned()),
            };
            let found = index.find(BlockId::of(&blocks[5]), &hash, source);
            found.map(|found| found.map(|(block, place)| (block.number(), place)))
        };
        let (hash, place) = last_hash(&blocks[5]);
        assert_eq!(find(hash), Ok(Some((6, place))));
        // It might be in the block that can't be read, or below it.
        assert_eq!(find(B256::repeat_byte(0xee)), Err("damaged"));
        *is_bad.borrow_mut() = false;
        assert_eq!(find(B256::repeat_byte(0xee)), Ok(None));
        assert_eq!(index.0.lock().unwrap().order.len(), 6);
    }
}
