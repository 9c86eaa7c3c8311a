//! Which block a transaction is in, by its hash.
//!
//! It is made when somebody asks, of the canonical chain from the head downwards, and asked again it looks only at what is
//! new; a node whose transactions nobody asks for spends nothing on it. What was left by a reorg is not in it.
//!
//! # Bounds
//! The newest [`BLOCKS`] blocks that are held without a hole below the head, and [`TRANSACTIONS`] transactions, newest first;
//! each takes 16 bytes. Those of older blocks are found by block and place only. The first question reads those blocks, a
//! second's work or so, for which others who read blocks may have to wait; later ones read what is new.

use alloy_primitives::{B256, keccak256};
use opp2p_core::chain::BlockId;
use opp2p_core::payload::Block;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Blocks of which the transactions are found by their hashes.
pub const BLOCKS: usize = 1024;
/// Transactions that are found by their hashes.
pub const TRANSACTIONS: usize = 1 << 19;

/// The index, shared by all who ask.
#[derive(Debug, Default)]
pub(super) struct Index(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// The head that it was last brought up to, if it was to the end.
    head: Option<B256>,
    /// The blocks, newest first.
    order: Vec<B256>,
    blocks: HashMap<B256, Entry>,
}

/// One block's transactions.
#[derive(Debug)]
struct Entry {
    parent: B256,
    /// The first eight bytes of each hash, and the transaction's place, in this order.
    transactions: Box<[(u64, u32)]>,
}

fn short(hash: &B256) -> u64 {
    u64::from_be_bytes(*hash.first_chunk().unwrap_or(&[0; 8]))
}

impl Entry {
    /// Of a block's first transactions, `most` at most.
    fn of(block: &Block, most: usize) -> Self {
        let each = block.payload().transactions().take(most).zip(0..);
        let mut transactions: Box<[_]> = each.map(|(raw, place)| (short(&keccak256(raw)), place)).collect();
        transactions.sort_unstable();
        Self { parent: block.parent_hash(), transactions }
    }

    /// The places of those that may have this hash.
    fn places(&self, hash: &B256) -> impl Iterator<Item = usize> + '_ {
        let wanted = short(hash);
        let start = self.transactions.partition_point(|(short, _)| *short < wanted);
        let alike = self.transactions.iter().skip(start).take_while(move |(short, _)| *short == wanted);
        alike.filter_map(|(_, place)| usize::try_from(*place).ok())
    }
}

impl Inner {
    /// Brings it up to `head`; what it has of blocks that are no longer among the newest goes.
    fn update<E>(
        &mut self,
        head: BlockId,
        source: impl Fn(B256) -> Result<Option<Block>, E>,
    ) -> Result<(), E> {
        if self.head == Some(head.hash) {
            return Ok(());
        }
        let mut before = std::mem::take(&mut self.blocks);
        self.order.clear();
        self.head = None;
        let (mut next, mut left) = (head.hash, TRANSACTIONS);
        let result = loop {
            if self.order.len() >= BLOCKS || left == 0 {
                break Ok(());
            }
            let entry = match before.remove(&next) {
                Some(entry) if entry.transactions.len() <= left => entry,
                _ => match source(next) {
                    Ok(Some(block)) => Entry::of(&block, left),
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error),
                },
            };
            left -= entry.transactions.len();
            self.order.push(next);
            let parent = entry.parent;
            self.blocks.insert(next, entry);
            next = parent;
        };
        if result.is_ok() {
            self.head = Some(head.hash);
        }
        result
    }
}

impl Index {
    /// The newest block of the chain up to `head` that has the transaction, and its place there. `source` gives blocks by
    /// their hashes.
    pub(super) fn find<E>(
        &self,
        head: BlockId,
        hash: &B256,
        source: impl Fn(B256) -> Result<Option<Block>, E>,
    ) -> Result<Option<(Block, usize)>, E> {
        let candidates: Vec<(B256, usize)> = {
            let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            inner.update(head, &source)?;
            let of = |block: &B256| inner.blocks.get(block).into_iter().flat_map(|entry| entry.places(hash));
            inner
                .order
                .iter()
                .flat_map(|block| of(block).map(|place| (*block, place)))
                .take(CANDIDATES)
                .collect()
        };
        for (id, place) in candidates {
            if let Some(block) = source(id)?
                && block.payload().transaction(place).is_some_and(|raw| keccak256(raw) == *hash)
            {
                return Ok(Some((block, place)));
            }
        }
        Ok(None)
    }
}

/// Transactions with the same first eight bytes of their hashes that are looked at: two of them take 2^32 attempts to make.
const CANDIDATES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devnet::BlockMaker;
    use alloy_primitives::Address;
    use opp2p_core::chain::{ChainConfig, Fork};
    use std::cell::RefCell;
    use std::convert::Infallible;

    /// Blocks, and which of them were read.
    #[derive(Default)]
    struct World {
        blocks: HashMap<B256, Block>,
        read: RefCell<Vec<u64>>,
    }

    impl World {
        fn add(&mut self, maker: &mut BlockMaker) -> Block {
            let envelope = maker.next(1_750_000_000);
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
        BlockMaker::new(&ChainConfig::development(901, genesis, 1_700_000_000, 2, Fork::Jovian, signer), seed)
    }

    fn last_hash(block: &Block) -> (B256, usize) {
        let place = block.payload().transaction_count() - 1;
        (keccak256(block.payload().transaction(place).unwrap()), place)
    }

    #[test]
    fn what_is_new_is_read_once_and_what_was_left_is_forgotten() {
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
    fn a_hole_ends_it_and_so_do_the_bounds() {
        let (mut world, index, mut maker) = (World::default(), Index::default(), maker(3));
        let blocks: Vec<_> = (0..6).map(|_| world.add(&mut maker)).collect();
        world.blocks.remove(&blocks[2].hash());
        assert_eq!(world.find(&index, &blocks[5], B256::ZERO), None);
        assert_eq!(world.read.take(), [6, 5, 4]);
        let count = blocks[5].payload().transaction_count();
        assert_eq!(Entry::of(&blocks[5], 3).transactions.len(), 3.min(count));
    }
}
