//! Reading blocks for an answer, which drivers do on the thread of their store.

use alloy_primitives::B256;

use super::chunk::Packer;
use super::server::{Next, ReadDone};
use super::wire::First;
use crate::chain::BlockId;
use crate::payload::{Block, PayloadVersion};

/// A block as a store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded<Body> {
    /// Its hash.
    pub hash: B256,
    /// Hash of its parent.
    pub parent_hash: B256,
    /// Version of its payload.
    pub version: PayloadVersion,
    /// Its bytes.
    pub body: Body,
}

/// The encoded canonical blocks of a store. A read of several numbers should see one state of it.
pub trait EncodedBlocks {
    /// The bytes of a block: the parent beacon block root if the version has one, then the payload.
    type Body: AsRef<[u8]>;
    /// Reason why the store can't be read.
    type Error;

    /// Returns the canonical block of this number, or `None` if the store lacks it.
    ///
    /// # Errors
    /// If the store can't be read.
    fn canonical(&mut self, number: u64) -> Result<Option<Encoded<Self::Body>>, Self::Error>;

    /// Returns the lowest and the highest number of the canonical blocks, or `None` if there are
    /// none.
    ///
    /// # Errors
    /// If the store can't be read.
    fn numbers(&mut self) -> Result<Option<(u64, u64)>, Self::Error>;
}

/// A store without blocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoBlocks;

impl EncodedBlocks for NoBlocks {
    type Body = [u8; 0];
    type Error = std::convert::Infallible;

    fn canonical(&mut self, _: u64) -> Result<Option<Encoded<Self::Body>>, Self::Error> {
        Ok(None)
    }

    fn numbers(&mut self) -> Result<Option<(u64, u64)>, Self::Error> {
        Ok(None)
    }
}

/// Order to read blocks downwards into one chunk.
#[derive(Clone, Debug)]
pub struct ReadOrder {
    /// First block to read.
    pub first: First,
    /// Maximum number of blocks, at least 1.
    pub blocks: u32,
    /// Maximum size of the chunk's contents in bytes.
    pub bytes: u64,
    /// The first of these blocks as far as they are in memory, highest first, each the parent of
    /// the one before. The store may not have them yet.
    pub held: Vec<Block>,
}

impl ReadOrder {
    /// Carries out the order with the blocks of a store: 256 KiB at most, or one block.
    ///
    /// # Errors
    /// If the store can't be read. The answer is then [`ReadDone::failed`].
    pub fn run<S: EncodedBlocks>(&self, store: &mut S) -> Result<ReadDone, S::Error> {
        let mut packer = Packer::new(self.bytes);
        let next = self.fill(&mut packer, store)?;
        Ok(ReadDone { packed: packer.finish(), next })
    }

    fn fill<S: EncodedBlocks>(&self, packer: &mut Packer, store: &mut S) -> Result<Next, S::Error> {
        let (mut first, mut taken) = (self.first, 0);
        for block in &self.held {
            if taken == self.blocks || !packer.add(block.version(), block.body()) {
                return Ok(not_added(taken, First::Block(BlockId::of(block))));
            }
            taken += 1;
            let Some(below) = block.number().checked_sub(1) else {
                return Ok(Next::NoMore { lowest: 0 });
            };
            first = First::Block(BlockId::new(below, block.parent_hash()));
        }
        // Terminates: each turn has a lower number.
        loop {
            let number = first.number();
            if taken == self.blocks {
                return Ok(Next::Block(first));
            }
            let Some(block) = store.canonical(number)? else {
                return Ok(ends(first, taken, store.numbers()?));
            };
            if first.hash().is_some_and(|wanted| wanted != block.hash) {
                // Below others it is due to a change of the chain that the store does not have yet.
                // It may have it at the next read.
                return if taken == 0 { never_had(store) } else { Ok(Next::Block(first)) };
            }
            if !packer.add(block.version, block.body.as_ref()) {
                return Ok(not_added(taken, First::Block(BlockId::new(number, block.hash))));
            }
            taken += 1;
            let Some(below) = number.checked_sub(1) else {
                return Ok(Next::NoMore { lowest: 0 });
            };
            first = First::Block(BlockId::new(below, block.parent_hash));
        }
    }
}

/// Returns what follows when the store lacks `first`, below `taken` others. It may be a hole, with
/// blocks below that do not link.
fn ends(first: First, taken: u32, numbers: Option<(u64, u64)>) -> Next {
    let number = first.number();
    let (lowest, highest) = numbers.unwrap_or_default();
    if number <= highest || (taken > 0 && numbers.is_none()) {
        Next::NoMore { lowest: lowest.max(number.saturating_add(1)) }
    } else if taken > 0 {
        // The store is behind: it may have the block at the next read.
        Next::Block(first)
    } else {
        Next::NeverHad { highest }
    }
}

fn never_had<S: EncodedBlocks>(store: &mut S) -> Result<Next, S::Error> {
    let highest = store.numbers()?.map_or(0, |(_, highest)| highest);
    Ok(Next::NeverHad { highest })
}

/// Returns what follows when a block did not fit after `taken` others.
const fn not_added(taken: u32, block: First) -> Next {
    if taken == 0 { Next::TooLarge } else { Next::Block(block) }
}
