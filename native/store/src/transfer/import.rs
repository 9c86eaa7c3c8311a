//! Storing the blocks of a file.

use std::io::Read;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use alloy_primitives::B256;
use opp2p_core::chain::BlockId as ChainId;
use opp2p_core::payload::Block;
use opp2p_core::sync::range::{Checked, ChunkError};

use super::error::ImportError;
use super::input::{Item, Reader, check};
use super::{AHEAD, COMMIT_BYTES, Header};
use crate::{Batch, Store, StoreError, StoredBlock};

/// Maximum number of blocks in one commit.
const COMMIT_BLOCKS: usize = 4096;

/// Progress of an import.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// The highest block of the file.
    pub highest: Option<ChainId>,
    /// Number of the lowest block so far.
    pub lowest: Option<u64>,
    /// Number of blocks that were stored.
    pub new: u64,
    /// Number of blocks that the store had before. They stay as they were, with their signatures.
    pub known: u64,
    /// Whether the store has a block above the highest one of the file that names it as its parent,
    /// or had that one before.
    pub is_linked: bool,
}

impl Store {
    /// Stores the blocks of a file, and makes them canonical. Each is checked, see
    /// [`transfer`](crate::transfer). The limits of the store do not count: pruning comes later.
    ///
    /// A file that contradicts the stored chain is refused, so that no stored block leaves the
    /// chain. After any error, the blocks that `progress` counts are stored and right.
    ///
    /// # Errors
    ///
    /// The first fault.
    pub fn import(
        &self,
        input: &mut (impl Read + Send),
        expected: Option<B256>,
        progress: &mut Imported,
    ) -> Result<(), ImportError> {
        let header = Header::read(input)?;
        self.check_header(&header, expected)?;
        progress.highest = Some(header.highest);
        let threads = thread::available_parallelism().map_or(1, usize::from).min(AHEAD);
        let (checks, work) = sync_channel(AHEAD);
        let (items, found) = sync_channel(AHEAD);
        let work = Mutex::new(work);
        let reader = Reader::new(header.highest.number, checks, items);
        thread::scope(|scope| {
            scope.spawn(|| reader.run(input));
            for _ in 0..threads {
                scope.spawn(|| check(&work));
            }
            // At an error the channel closes, and the other threads end.
            Taker { store: self, wanted: header.highest, batch: Vec::new(), size: 0, progress }
                .run(found)
        })
    }

    fn check_header(&self, header: &Header, expected: Option<B256>) -> Result<(), ImportError> {
        let config = &self.inner.config;
        if header.chain_id != config.chain_id {
            let (found, expected) = (header.chain_id, config.chain_id);
            return Err(ImportError::OtherChain { found, expected });
        }
        if header.genesis_hash != config.genesis_hash {
            let (found, expected) = (header.genesis_hash, config.genesis_hash);
            return Err(ImportError::OtherGenesis { found, expected });
        }
        match expected.filter(|expected| *expected != header.highest.hash) {
            Some(expected) => Err(ImportError::OtherHead { found: header.highest.hash, expected }),
            None => Ok(()),
        }
    }

    /// Returns the parent that the store's canonical block of this number names, if it is stored.
    fn parent_at(&self, number: u64) -> Result<Option<B256>, StoreError> {
        Ok(self.canonical_by_number(number)?.map(|block| block.parent_hash))
    }
}

/// Takes checked blocks, highest first, and stores them.
struct Taker<'a> {
    store: &'a Store,
    /// Block that must come next.
    wanted: ChainId,
    batch: Vec<Block>,
    size: usize,
    progress: &'a mut Imported,
}

impl Taker<'_> {
    fn run(mut self, found: Receiver<Item>) -> Result<(), ImportError> {
        let mut outcome = Ok(());
        for item in found {
            outcome = self.take(item);
            if outcome.is_err() {
                break;
            }
        }
        // What was right before a fault is kept.
        let last = self.commit();
        outcome?;
        last?;
        if self.progress.lowest.is_none() { Err(ImportError::Empty) } else { Ok(()) }
    }

    fn take(&mut self, item: Item) -> Result<(), ImportError> {
        let checked = match item {
            Item::Fault(fault) => return Err(fault),
            Item::Blocks(checked) => checked.recv().unwrap_or_else(|_| Checked::panicked()),
        };
        for block in checked.blocks {
            let id = ChainId::of(&block);
            if id != self.wanted {
                return Err(self.fault(ChunkError::Link(id.number)));
            }
            let below = id.number.saturating_sub(1);
            self.wanted = ChainId::new(below, block.parent_hash());
            self.size += block.body().len();
            self.batch.push(block);
            if self.size >= COMMIT_BYTES || self.batch.len() >= COMMIT_BLOCKS {
                self.commit()?;
            }
        }
        checked.fault.map_or(Ok(()), |fault| Err(self.fault(fault)))
    }

    fn fault(&self, error: ChunkError) -> ImportError {
        ImportError::Block { above: self.wanted.number.saturating_add(1), error }
    }

    /// Stores the blocks that were taken.
    fn commit(&mut self) -> Result<(), ImportError> {
        let blocks = std::mem::take(&mut self.batch);
        self.size = 0;
        let Some(last) = blocks.last() else { return Ok(()) };
        let positions = self.positions(&blocks)?;
        let is_canonical = |block: &Block| positions.contains(&ChainId::of(block));
        let hashes: Vec<B256> = blocks.iter().map(Block::hash).collect();
        let present = self.store.blocks_by_hash(&hashes)?;
        let mut batch = Batch::default();
        let (mut new, mut known) = (0, 0);
        for (block, present) in blocks.iter().zip(&present) {
            match present {
                Some(_) => known += 1,
                None => {
                    new += 1;
                    // When it was received is unknown, so its own time is recorded.
                    let own_time = block.timestamp().saturating_mul(1000);
                    batch.blocks.push(StoredBlock::new(block, own_time));
                }
            }
            if present.is_none() || !is_canonical(block) {
                batch.canonical.push((block.number(), block.hash()));
            }
        }
        if !batch.canonical.is_empty() {
            self.store.commit(&batch)?;
        }
        self.progress.new += new;
        self.progress.known += known;
        self.progress.lowest = Some(last.number());
        Ok(())
    }

    /// Returns the positions of the store's chain at these blocks and around them.
    ///
    /// # Errors
    ///
    /// [`ImportError::OtherBranch`] if one of them contradicts the blocks.
    fn positions(&mut self, blocks: &[Block]) -> Result<Vec<ChainId>, ImportError> {
        let (Some(first), Some(last)) = (blocks.first(), blocks.last()) else {
            return Ok(Vec::new());
        };
        let above = first.number().saturating_add(1);
        let positions = self.store.canonical_ids(above, blocks.len() + 2)?;
        let below = last.number().checked_sub(1).map(|n| ChainId::new(n, last.parent_hash()));
        for id in below.into_iter().chain(blocks.iter().map(ChainId::of)) {
            let stored = positions.iter().find(|position| position.number == id.number);
            if let Some(stored) = stored.filter(|stored| **stored != id) {
                return Err(ImportError::OtherBranch { number: id.number, stored: stored.hash });
            }
        }
        if self.progress.lowest.is_none() {
            let parent = self.store.parent_at(above)?;
            if let Some(parent) = parent.filter(|parent| *parent != first.hash()) {
                return Err(ImportError::OtherBranch { number: first.number(), stored: parent });
            }
            self.progress.is_linked = parent.is_some() || positions.contains(&ChainId::of(first));
        }
        Ok(positions)
    }
}
