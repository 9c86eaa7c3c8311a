//! The embedded block store of the native node: signed blocks by hash, the canonical chain by
//! number, and the core's memory of its peers.
//!
//! It keeps what a restart and the payload server need: the gossip bytes of accepted blocks, and
//! which of them are canonical. It decides nothing: each [`Batch`] says which blocks are canonical.
//! The memory is opaque to it: keys and values are bytes that only the core can read.
//!
//! # Promises
//!
//! * A batch is written whole or not at all. When [`Store::commit`] returns `Ok`, the batch is on
//!   the disk, and neither `kill -9` nor a power cut loses it.
//! * [`Store::open`] changes no byte of a file before it has verified that the file is the store of
//!   this chain, written by this program, with every page intact. Everything else is refused, with
//!   one [`StoreError`] variant per reason.
//! * Damage is an error, never a panic and never a wrong block: redb's checksums cover every page
//!   when the store is opened, and each block's record carries its own checksum. One byte of the
//!   file's header, which selects the current one of the last two commits, has no checksum: damage
//!   there can bring back the state one commit earlier.
//! * If the disk is full, the current batch fails, and later batches succeed once there is room.
//!   The first failure makes the store reopen and check its file once; after that, the store stays
//!   readable while the disk stays full. A patient [`Writer`], which nodes use, keeps the batch and
//!   retries it.
//! * If the file is removed or replaced while it is open, each batch fails until it is back.
//!
//! # Why redb
//!
//! redb keeps everything in one file, makes a transaction durable before it returns, is pure Rust,
//! has a stable file format, and starts no threads. The load is up to five blocks a second, or
//! batches of hundreds during a sync, and readers never wait for the writer. fjall, a
//! log-structured store, takes many small writes faster, at the price of a directory of files and
//! background compaction threads, which this load does not need.
//!
//! Each commit uses redb's two phases: the pages are durable before the header points to them, so
//! even a failed fsync leaves the last acknowledged state in place. The whole file is checked when
//! it is opened (about a third of a second per gigabyte in the page cache), so that a clean start,
//! a start after `kill -9` and a start on a damaged file take the same code path.
//!
//! # Bounds
//!
//! On disk:
//!
//! * Blocks: up to [`StoreConfig::max_blocks`], [`StoreConfig::max_bytes`] and
//!   [`StoreConfig::max_age`], whichever is reached first. Beyond that, the blocks with the lowest
//!   numbers are removed; following the head does not need them.
//! * The pending area, which the caller bounds. Only the sequencer can fill the pending area and
//!   the blocks, since only signed blocks, or blocks linked to signed ones, are stored.
//! * The memory: keys of at most [`MAX_MEMORY_KEY`] and values of at most [`MAX_MEMORY_VALUE`]
//!   bytes. The caller must bound their number, since strangers can cause entries. Retention never
//!   touches them.
//!
//! Freed pages are reused; only closing the store truncates its file.
//!
//! In RAM: a page cache of 16 MiB, and the data that the caller reads.

mod chain;
mod config;
mod damage;
mod error;
mod examine;
mod fault;
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod fuzz;
mod held;
mod ids;
mod linked;
pub mod new_file;
mod open;
mod place;
mod range;
mod read;
mod record;
mod reopening;
mod room;
mod salvage;
mod schema;
pub mod transfer;
mod types;
mod weight;
mod write;
mod writer;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use alloy_primitives::B256;
use opp2p_core::chain::BlockId as ChainId;
use opp2p_core::feed::{Page, Query};
use opp2p_core::sync::range::{ReadDone, ReadOrder};
use redb::{Database, ReadableDatabase, ReadableTableMetadata};

pub use config::{MAX_MEMORY_KEY, MAX_MEMORY_VALUE, MemoryEntry, StoreConfig};
pub use error::{BatchError, StoreError};
pub use examine::{Defect, Info, Verified};
pub use record::{BlockId, MAX_MESSAGE_BYTES, StoredBlock};
pub use salvage::Salvaged;
pub use types::{Batch, Committed, PendingBlock, Pruned};
pub use writer::{LoadRefused, QueueFull, WriteFailed, Writer, WriterConfig};

use damage::Damage;
use fault::{Fault, contained};
use place::Place;
use reopening::Reopening;
use room::Room;
use write::Tables;

/// Minimum limit on the number of blocks that one commit may remove. A commit that adds more
/// removes up to twice the number it adds, so removal always overtakes growth.
const PRUNE_LIMIT: u64 = 1024;

/// Name of a read operation in errors.
const READING: &str = "reading";

/// Name of a write operation in errors.
const WRITING: &str = "writing";

/// An open store. Clones share it; the file is closed when the last clone is dropped.
///
/// All calls block: writes on the disk, reads at most briefly. Write on a thread of its own, as
/// [`Writer`] does. Readers see the last commit and never wait for a commit in progress.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: StoreConfig,
    /// `None` after a failure that redb can't recover from; the next call opens the file again.
    open: RwLock<Option<Database>>,
    /// Number of times that the file was opened again. Changes while `open` is locked for writing.
    generation: AtomicU64,
    reopening: Reopening,
    place: Place,
    room: Room,
    damage: Damage,
}

impl Store {
    /// Opens the store at the configured path, or creates an empty one if no file exists.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`] except `Refused`; a file that is not accepted is left unchanged.
    pub fn open(config: StoreConfig) -> Result<Self, StoreError> {
        let start = Instant::now();
        let open = RwLock::new(Some(open::open_or_create(&config)?));
        let (reopening, place) = (Reopening::default(), Place::default());
        reopening.note(start);
        place.opened(&config.path);
        let generation = AtomicU64::new(0);
        let (room, damage) = (Room::default(), Damage::default());
        let inner = Inner { config, open, generation, reopening, place, room, damage };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Returns the chain id and the genesis block's hash of the store in this file, or `None` if no
    /// file exists. Its pages are not checked, and no byte of it changes.
    ///
    /// # Errors
    ///
    /// If the file is not a store that this program can open.
    pub fn owner(path: &Path) -> Result<Option<(u64, B256)>, StoreError> {
        open::owner(path)
    }

    /// Writes one batch; it is durable when this returns `Ok`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Refused`] if the batch contradicts itself or the store. After any other error
    /// the batch may be committed again: whether or not its bytes reached the disk, storing it
    /// twice does no harm.
    pub fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        let committed = self.commit_group(std::slice::from_ref(batch), false)?;
        committed.batches.into_iter().try_for_each(|outcome| outcome.map_err(StoreError::Refused))
    }

    /// Writes several batches in order with one wait for the disk, each of them whole or not at
    /// all. The accepted ones are durable when this returns `Ok`. With `prune`, blocks beyond the
    /// limits are removed in the same transaction, and blocks below the chain that would be are
    /// refused.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`] except `Refused`; no batch was stored then.
    pub fn commit_group(&self, batches: &[Batch], prune: bool) -> Result<Committed, StoreError> {
        let size = batches.iter().map(Batch::size).fold(0, usize::saturating_add);
        self.check_place()?;
        self.inner.room.look(self.path(), size, self.opening_took())?;
        let outcome = self.with(WRITING, |database| self.write(database, batches, prune));
        self.inner.room.committed(size, &outcome);
        let committed = outcome?;
        let written = batches.iter().zip(&committed.batches).filter(|(_, result)| result.is_ok());
        let blocks = written.flat_map(|(batch, _)| batch.blocks.iter().chain(&batch.pending));
        self.inner.damage.written(blocks.map(|block| &block.hash));
        let damaged = self.inner.damage.all();
        if committed.pruned.removed > 0 && !damaged.is_empty() {
            let present = self.with(READING, |database| read::present(database, &damaged))?;
            let gone = damaged.iter().filter(|hash| !present.contains(hash));
            self.inner.damage.written(gone);
        }
        Ok(committed)
    }

    fn write(
        &self,
        database: &Database,
        batches: &[Batch],
        prune: bool,
    ) -> Result<Committed, Fault> {
        let mut committed = Committed::default();
        let mut transaction = database.begin_write()?;
        transaction.set_two_phase_commit(true);
        {
            let mut tables = Tables::open(&transaction)?;
            let mut added = 0u64;
            for batch in batches {
                let limits = prune.then_some(&self.inner.config);
                let outcome = tables.put(batch, limits)?;
                if outcome.is_ok() {
                    let put = batch.blocks.len() + batch.pending.len();
                    added = added.saturating_add(put as u64);
                }
                committed.batches.push(outcome);
            }
            if prune {
                let limit = PRUNE_LIMIT.max(added.saturating_mul(2));
                committed.pruned = tables.prune(&self.inner.config, limit)?;
            }
            tables.finish()?;
        }
        let unchanged =
            committed.pruned.removed == 0 && committed.batches.iter().all(Result::is_err);
        if unchanged {
            transaction.abort()?;
        } else {
            transaction.commit()?;
        }
        Ok(committed)
    }

    /// Checks that the file is still at its path, where the next start will look for it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Gone`].
    pub fn check_place(&self) -> Result<(), StoreError> {
        self.inner.place.check(self.path())
    }

    /// Removes blocks beyond the configured count, bytes or age, lowest numbers first, at most 1024
    /// per call.
    ///
    /// A block's age is its distance from the head, by their timestamps: a wall clock that is wrong
    /// for a moment must not empty the store. A block exactly at the age limit stays.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`] except `Refused`; nothing was removed then.
    pub fn prune(&self) -> Result<Pruned, StoreError> {
        Ok(self.commit_group(&[], true)?.pruned)
    }

    /// Returns the block with this hash, canonical or not.
    ///
    /// # Errors
    ///
    /// [`StoreError::CorruptedBlock`] if its bytes are damaged; any other variant if the store
    /// can't be read.
    pub fn block_by_hash(&self, hash: B256) -> Result<Option<StoredBlock>, StoreError> {
        self.with(READING, |database| read::block(database, &hash))
    }

    /// Returns the canonical block with this number.
    ///
    /// # Errors
    ///
    /// As [`block_by_hash`](Self::block_by_hash).
    pub fn canonical_by_number(&self, number: u64) -> Result<Option<StoredBlock>, StoreError> {
        self.with(READING, |database| read::canonical(database, number))
    }

    /// Returns the identity of the highest canonical block that is stored.
    ///
    /// # Errors
    ///
    /// As [`block_by_hash`](Self::block_by_hash).
    pub fn head(&self) -> Result<Option<BlockId>, StoreError> {
        self.with(READING, read::head)
    }

    /// Returns the highest canonical position, from which a restart resumes. Its block is missing
    /// after a rewind to a block that retention has removed.
    ///
    /// # Errors
    ///
    /// If the store can't be read.
    pub fn canonical_head(&self) -> Result<Option<ChainId>, StoreError> {
        self.with(READING, read::canonical_head)
    }

    /// Returns up to `limit` canonical positions from number `from` downwards, highest first,
    /// whether or not their blocks are stored. Numbers that the chain lacks are missing. The store
    /// remembers 262,144 positions.
    ///
    /// # Errors
    ///
    /// If the store can't be read.
    pub fn canonical_ids(&self, from: u64, limit: usize) -> Result<Vec<ChainId>, StoreError> {
        self.with(READING, |database| read::canonical_ids(database, from, limit))
    }

    /// Returns the highest canonical position and the canonical block with this number, from one
    /// snapshot, so that both belong to the same chain.
    ///
    /// # Errors
    ///
    /// As [`block_by_hash`](Self::block_by_hash).
    pub fn canonical_at(
        &self,
        number: u64,
    ) -> Result<(Option<ChainId>, Option<StoredBlock>), StoreError> {
        self.with(READING, |database| read::canonical_at(database, number))
    }

    /// Reads canonical blocks downwards into one chunk, from one snapshot. A block whose record is
    /// damaged counts as missing.
    ///
    /// # Errors
    ///
    /// If the store can't be read.
    pub fn read_range(&self, order: &ReadOrder) -> Result<ReadDone, StoreError> {
        let (done, damaged) = self.with(READING, |database| {
            let mut snapshot = range::Snapshot::open(database)?;
            Ok((order.run(&mut snapshot)?, snapshot.damaged))
        })?;
        if let Some(hash) = damaged {
            self.inner.damage.met(hash);
        }
        Ok(done)
    }

    /// Returns the lowest canonical block that is still stored.
    ///
    /// # Errors
    ///
    /// As [`block_by_hash`](Self::block_by_hash).
    pub fn lowest(&self) -> Result<Option<StoredBlock>, StoreError> {
        self.with(READING, read::lowest)
    }

    /// Returns the lowest canonical block from which every number up to the highest one is stored.
    ///
    /// # Errors
    ///
    /// As [`block_by_hash`](Self::block_by_hash).
    pub fn lowest_linked(&self) -> Result<Option<StoredBlock>, StoreError> {
        self.with(READING, read::lowest_linked)
    }

    /// Returns the highest canonical position and the lowest canonical block that is stored, from
    /// one snapshot.
    ///
    /// # Errors
    ///
    /// As [`block_by_hash`](Self::block_by_hash).
    pub fn lowest_at(&self) -> Result<(Option<ChainId>, Option<StoredBlock>), StoreError> {
        self.with(READING, read::lowest_at)
    }

    /// Returns the blocks with these hashes, in this order; `None` for each that is missing or
    /// damaged.
    ///
    /// # Errors
    ///
    /// If the store can't be read.
    pub fn blocks_by_hash(&self, hashes: &[B256]) -> Result<Vec<Option<StoredBlock>>, StoreError> {
        self.with(READING, |database| read::blocks(database, hashes))
    }

    /// Returns the blocks of the pending area, lowest number first.
    ///
    /// # Errors
    ///
    /// If the store can't be read.
    pub fn pending(&self) -> Result<Vec<PendingBlock>, StoreError> {
        self.with(READING, read::pending)
    }

    /// Returns the whole memory, by key. All of it is read into RAM; the caller must bound the
    /// number of entries.
    ///
    /// # Errors
    ///
    /// If the store can't be read.
    pub fn memory(&self) -> Result<Vec<MemoryEntry>, StoreError> {
        self.with(READING, read::memory)
    }

    /// Returns the identities of the highest `count` canonical blocks, lowest first. Numbers may be
    /// skipped.
    ///
    /// # Errors
    ///
    /// As [`block_by_hash`](Self::block_by_hash).
    pub fn recent(&self, count: usize) -> Result<Vec<BlockId>, StoreError> {
        self.with(READING, |database| read::recent(database, count, record::decode_id))
    }

    /// Returns the highest `count` canonical blocks, lowest first, with their messages, which may
    /// be large. Numbers may be skipped.
    ///
    /// # Errors
    ///
    /// As [`block_by_hash`](Self::block_by_hash).
    pub fn recent_blocks(&self, count: usize) -> Result<Vec<StoredBlock>, StoreError> {
        self.with(READING, |database| read::recent(database, count, record::decode))
    }

    /// Returns the page of blocks that the feed requests, from one snapshot. It ends before a block
    /// whose record is damaged. If that block is the first one, the page begins above it.
    ///
    /// # Errors
    ///
    /// If the store can't be read.
    pub fn page(&self, query: Query) -> Result<Page<StoredBlock>, StoreError> {
        self.page_of(query, |_, found| {
            let size = found.as_ref()?.message.len();
            found.map(|block| (block, size))
        })
    }

    /// Returns the page that the feed requests, like [`page`](Self::page), with contents made by
    /// `make`. `make` gets the hash of each block with its record, or `None` if the record is
    /// damaged, and returns the page's item with its size in bytes. A block for which it returns
    /// `None` counts as damaged.
    ///
    /// # Errors
    ///
    /// If the store can't be read.
    pub fn page_of<T>(
        &self,
        query: Query,
        make: impl Fn(B256, Option<StoredBlock>) -> Option<(T, usize)>,
    ) -> Result<Page<T>, StoreError> {
        let (page, unread) = self.with(READING, |database| read::page(database, query, &make))?;
        unread.into_iter().for_each(|hash| self.inner.damage.met(hash));
        Ok(page)
    }

    /// Returns the hashes of stored blocks that were found damaged since the store was opened: up
    /// to 64, without those that were written again or removed.
    #[must_use]
    pub fn damaged(&self) -> Vec<B256> {
        self.inner.damage.all()
    }

    /// Returns the number of stored blocks, canonical or not.
    ///
    /// # Errors
    ///
    /// If the store can't be read.
    pub fn len(&self) -> Result<u64, StoreError> {
        self.with(READING, |database| {
            Ok(database.begin_read()?.open_table(schema::HEIGHTS)?.len()?)
        })
    }

    /// Returns `true` if no block is stored.
    ///
    /// # Errors
    ///
    /// If the store can't be read.
    pub fn is_empty(&self) -> Result<bool, StoreError> {
        Ok(self.len()? == 0)
    }

    /// Returns the size of the store's file, in bytes.
    ///
    /// # Errors
    ///
    /// If the file's size can't be read.
    pub fn size_on_disk(&self) -> Result<u64, StoreError> {
        let path = self.path();
        std::fs::metadata(path)
            .map(|file| file.len())
            .map_err(|error| Fault::from(error).at(path, "reading"))
    }

    /// Returns the id of the store's chain, and the hash of its genesis block.
    #[must_use]
    pub fn chain(&self) -> (u64, B256) {
        (self.inner.config.chain_id, self.inner.config.genesis_hash)
    }

    /// Returns the path of the store's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.inner.config.path
    }

    /// Returns how long the last opening took. Each failure costs that much, because the file is
    /// then opened and checked again.
    #[must_use]
    pub fn opening_took(&self) -> Duration {
        self.inner.reopening.took()
    }

    /// Returns `true` unless a failure has closed the file.
    pub(crate) fn is_open(&self) -> bool {
        self.inner.open.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Opens and checks the file again if a failure has closed it. The writer calls this, so that
    /// readers don't have to.
    ///
    /// # Errors
    ///
    /// If the file can't be opened.
    pub(crate) fn reopen(&self) -> Result<(), StoreError> {
        self.with("opening", |_| Ok(()))
    }

    /// Runs `work` on the open database. redb refuses all work after its first I/O error and can't
    /// be trusted after a panic, so the file is closed after either, and the next call opens it
    /// again.
    fn with<T>(
        &self,
        doing: &'static str,
        work: impl Fn(&Database) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let path = self.path();
        let mut is_first = true;
        loop {
            let open = self.inner.open.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(database) = open.as_ref() {
                let generation = self.inner.generation.load(Ordering::Acquire);
                let result = contained(|| work(database));
                drop(open);
                let fault = match result {
                    Ok(done) => return Ok(done),
                    Err(fault) => fault,
                };
                // Another call caused the failure, and this one only met its consequence.
                let is_bystander = fault.is_from_another_call() && std::mem::take(&mut is_first);
                let is_usable = fault.leaves_database_usable();
                let error = fault.at(path, doing);
                if let StoreError::CorruptedBlock { hash, .. } = &error {
                    self.inner.damage.met(*hash);
                }
                if !is_usable {
                    self.close(error.clone(), generation);
                }
                if is_bystander {
                    continue;
                }
                return Err(error);
            }
            drop(open);
            self.inner.reopening.run(doing == READING, || self.open_again())?;
        }
    }

    fn open_again(&self) -> Result<(), StoreError> {
        if self.is_open() {
            return Ok(());
        }
        // No lock is held during the opening: nothing else opens the file.
        let opened = open::open_again(&self.inner.config)?;
        self.inner.place.opened(self.path());
        let mut open = self.inner.open.write().unwrap_or_else(PoisonError::into_inner);
        self.inner.generation.fetch_add(1, Ordering::Release);
        *open = Some(opened);
        Ok(())
    }

    /// Closes the file, unless it has been opened again since this generation.
    fn close(&self, cause: StoreError, generation: u64) {
        let mut open = self.inner.open.write().unwrap_or_else(PoisonError::into_inner);
        if self.inner.generation.load(Ordering::Acquire) != generation {
            return;
        }
        self.inner.reopening.closed(cause);
        // Closing may fail or panic for the same reason; everything acknowledged is durable.
        let _ = contained(|| {
            drop(open.take());
            Ok(())
        });
    }
}
