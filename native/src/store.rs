//! The embedded block store of the native node: signed blocks by hash, the canonical chain by number, and what
//! the core remembers of its peers.
//!
//! It keeps what a restart and the payload server need: the gossip bytes of accepted blocks, and which of
//! them are canonical. It decides nothing: which block is canonical comes in with each [`Batch`]. The memory is
//! opaque to it: keys and values are bytes that only the core can read.
//!
//! # Promises
//!
//! * A batch is written whole or not at all. When [`Store::commit`] returns `Ok`, the batch is on the disk,
//!   and neither `kill -9` nor a power cut loses it.
//! * [`Store::open`] changes no byte of a file before that file has proved to be the store of this chain, by
//!   this program, sound in every page. Everything else is refused with an error of its own ([`StoreError`]).
//! * Damage is an error, never a panic and never a wrong block: redb's checksums cover every page when the
//!   store is opened, and each block's record carries its own. One byte of the header, which says which of
//!   the last two commits is current, has none: damage there can bring back the state one commit earlier.
//! * A full disk costs the batch that met it. The store stays readable, and a later batch that finds room is
//!   stored; a patient [`Writer`], as nodes have one, keeps the batch and gives it again.
//!
//! # Why redb
//!
//! One file; transactions that are durable when they return; pure Rust; a file format that its authors keep
//! stable; no threads of its own. The load is one block every second or two, or batches of hundreds during a
//! sync, and readers never wait for the writer. fjall, a log-structured store, takes many small writes
//! faster, at the price of a directory of files and background compaction threads that such a load has no use
//! for.
//!
//! Each commit uses redb's two phases: the pages are durable before the header points to them, so even a
//! failed fsync leaves the last acknowledged state in place. A file is checked whole when it is opened (about
//! a third of a second per gigabyte in the page cache), which makes a clean start, a start after `kill -9`
//! and a start on a damaged file the same code.
//!
//! # Bounds
//!
//! On disk: [`StoreConfig::max_blocks`] blocks of at most [`MAX_MESSAGE_BYTES`] bytes, and the pending area, which
//! whoever fills it bounds. The sequencer alone fills both, since only signed blocks, or blocks linked to signed
//! ones, come here. And the memory: keys of at most [`MAX_MEMORY_KEY`] and values of at most [`MAX_MEMORY_VALUE`]
//! bytes, whose number the caller bounds; strangers cause the entries, so it must. Retention never touches them.
//! Beyond the bound the blocks with the lowest numbers are removed, which nobody needs to follow
//! the head. Freed pages are used
//! again; only closing the store cuts a free end off its file. In RAM: a page cache of 16 MiB, and what the
//! caller reads.

mod error;
mod fault;
#[cfg(feature = "fuzz")]
pub(crate) mod fuzz;
mod held;
pub(crate) mod new_file;
mod open;
mod read;
mod record;
mod schema;
mod write;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use alloy_primitives::B256;
use opp2p_core::feed::{Page, Query};
use redb::{Database, ReadableDatabase, ReadableTableMetadata};

pub use error::{BatchError, StoreError};
pub use record::{BlockId, MAX_MESSAGE_BYTES, StoredBlock};
pub use writer::{LoadRefused, QueueFull, WriteFailed, Writer, WriterConfig};

use fault::{Fault, contained};
use write::Tables;

/// The least number of blocks that one commit may remove. A commit that adds more removes up to twice what it
/// adds, so removal always overtakes growth.
const PRUNE_LIMIT: u64 = 1024;

/// The longest key of an entry of the memory, bytes.
pub const MAX_MEMORY_KEY: usize = 256;

/// The longest value of an entry of the memory, bytes.
pub const MAX_MEMORY_VALUE: usize = 64 * 1024;

/// An entry of the memory: key and value.
pub type MemoryEntry = (Vec<u8>, Vec<u8>);

/// Where the store is, whose it is, and what it keeps.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// The store's file. Its directory is made if it is missing.
    pub path: PathBuf,
    /// L2 chain id.
    pub chain_id: u64,
    /// Hash of the chain's genesis block.
    pub genesis_hash: B256,
    /// How many blocks are kept, canonical or not. The head is kept whatever the limits say.
    pub max_blocks: u64,
    /// How old a block may be, by its own timestamp. The head is kept whatever the limits say.
    pub max_age: Duration,
}

/// One step of the chain, written whole or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Blocks to put. One that is stored already is written anew.
    pub blocks: Vec<StoredBlock>,
    /// Numbers and the hashes that become canonical there, replacing what was. Each must name a block of this
    /// batch or one that is stored. Numbers may be skipped, and filled later.
    pub canonical: Vec<(u64, B256)>,
    /// Blocks that do not link to the chain yet, to put into the pending area. One that is canonical is not
    /// marked.
    pub pending: Vec<StoredBlock>,
    /// Numbers and hashes that leave the pending area. Those that are not canonical are removed altogether;
    /// unknown ones are passed over.
    pub release: Vec<(u64, B256)>,
    /// The new head: canonical entries above it are removed, their blocks stay. It must be canonical after
    /// this batch. `None` leaves the head at the highest canonical number.
    pub head: Option<u64>,
    /// Entries of the memory to put, replacing what was under that key, or with `None` to remove; a key that
    /// is not there is passed over. They apply in order, so of several with one key the last counts. Keys
    /// have at most [`MAX_MEMORY_KEY`] bytes, values [`MAX_MEMORY_VALUE`].
    pub memory: Vec<(Vec<u8>, Option<Vec<u8>>)>,
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
    /// Length of the message, bytes.
    pub size: u64,
}

/// What [`Store::prune`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// How many blocks were removed.
    pub removed: u64,
    /// Whether there are more to remove, for another call.
    pub more: bool,
}

/// What [`Store::commit_group`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// For each batch, in order: stored, or why it was refused.
    pub batches: Vec<Result<(), BatchError>>,
    /// What was removed in the same transaction.
    pub pruned: Pruned,
}

/// What to keep, at one moment.
struct Retention {
    max_blocks: u64,
    /// Unix seconds; older blocks go.
    oldest: u64,
}

/// An open store. Clones share it; the file is closed with the last of them.
///
/// All calls block, on the disk for writing and at most briefly for reading: run writing on a thread of its
/// own, which [`Writer`] is. Readers see the last commit and never wait for one under way.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: StoreConfig,
    /// `None` after a failure that redb does not work beyond; the next call opens the file again.
    open: RwLock<Option<Database>>,
    /// How long the last opening took, milliseconds.
    opening_took: AtomicU64,
}

impl Store {
    /// Opens the store at the configured path, or makes an empty one there if nothing exists.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`] but `Refused`; a file that is refused is left as it was.
    pub fn open(config: StoreConfig) -> Result<Self, StoreError> {
        let start = Instant::now();
        let open = RwLock::new(Some(open::open_or_create(&config)?));
        Ok(Self {
            inner: Arc::new(Inner { config, open, opening_took: AtomicU64::new(millis_since(start)) }),
        })
    }

    /// Writes one batch; it is durable when this returns `Ok`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Refused`] if the batch contradicts itself or the store. After any other error the batch
    /// may be given again: whether or not its bytes reached the disk, storing it twice does no harm.
    pub fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        let committed = self.commit_group(std::slice::from_ref(batch), None)?;
        committed.batches.into_iter().try_for_each(|outcome| outcome.map_err(StoreError::Refused))
    }

    /// Writes several batches with one wait for the disk, each of them whole or not at all, in order; the
    /// accepted ones are durable when this returns `Ok`. With `prune_at`, unix seconds, old blocks are
    /// removed in the same transaction.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`] but `Refused`: then no batch was stored.
    pub fn commit_group(&self, batches: &[Batch], prune_at: Option<u64>) -> Result<Committed, StoreError> {
        self.with("writing", |database| {
            let mut committed = Committed::default();
            let mut transaction = database.begin_write()?;
            transaction.set_two_phase_commit(true);
            {
                let mut tables = Tables::open(&transaction)?;
                let mut added = 0u64;
                for batch in batches {
                    let outcome = tables.put(batch)?;
                    if outcome.is_ok() {
                        let put = batch.blocks.len() + batch.pending.len();
                        added = added.saturating_add(put as u64);
                    }
                    committed.batches.push(outcome);
                }
                if let Some(now) = prune_at {
                    let limit = PRUNE_LIMIT.max(added.saturating_mul(2));
                    committed.pruned = tables.prune(&self.retention(now), limit)?;
                }
            }
            let unchanged = committed.pruned.removed == 0 && committed.batches.iter().all(Result::is_err);
            if unchanged {
                transaction.abort()?;
            } else {
                transaction.commit()?;
            }
            Ok(committed)
        })
    }

    /// Removes blocks beyond the configured count or age, lowest numbers first, at most 1024 of them.
    ///
    /// `now_unix_s` is the wall clock in seconds. A block exactly at the age limit stays.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`] but `Refused`: then nothing was removed.
    pub fn prune(&self, now_unix_s: u64) -> Result<Pruned, StoreError> {
        Ok(self.commit_group(&[], Some(now_unix_s))?.pruned)
    }

    /// The block with this hash, canonical or not.
    ///
    /// # Errors
    ///
    /// [`StoreError::CorruptedBlock`] if its bytes are damaged; otherwise the store could not be read.
    pub fn block_by_hash(&self, hash: B256) -> Result<Option<StoredBlock>, StoreError> {
        self.with("reading", |database| read::block(database, &hash))
    }

    /// The canonical block at this number.
    ///
    /// # Errors
    ///
    /// As [`block_by_hash`](Self::block_by_hash).
    pub fn canonical_by_number(&self, number: u64) -> Result<Option<StoredBlock>, StoreError> {
        self.with("reading", |database| read::canonical(database, number))
    }

    /// The highest canonical block: where a restart resumes.
    ///
    /// # Errors
    ///
    /// As [`block_by_hash`](Self::block_by_hash).
    pub fn head(&self) -> Result<Option<BlockId>, StoreError> {
        self.with("reading", read::head)
    }

    /// The lowest canonical block that is still stored.
    ///
    /// # Errors
    ///
    /// As [`block_by_hash`](Self::block_by_hash).
    pub fn lowest(&self) -> Result<Option<StoredBlock>, StoreError> {
        self.with("reading", read::lowest)
    }

    /// The blocks with these hashes, in this order; `None` for each that is missing or damaged.
    ///
    /// # Errors
    ///
    /// The store could not be read.
    pub fn blocks_by_hash(&self, hashes: &[B256]) -> Result<Vec<Option<StoredBlock>>, StoreError> {
        self.with("reading", |database| read::blocks(database, hashes))
    }

    /// What is in the pending area, lowest number first.
    ///
    /// # Errors
    ///
    /// The store could not be read.
    pub fn pending(&self) -> Result<Vec<PendingBlock>, StoreError> {
        self.with("reading", read::pending)
    }

    /// The whole memory, by key. All of it is read into RAM: its number of entries is the caller's to bound.
    ///
    /// # Errors
    ///
    /// The store could not be read.
    pub fn memory(&self) -> Result<Vec<MemoryEntry>, StoreError> {
        self.with("reading", read::memory)
    }

    /// The highest `count` canonical blocks, lowest first, without their messages. Numbers may be skipped.
    ///
    /// # Errors
    ///
    /// As [`block_by_hash`](Self::block_by_hash).
    pub fn recent(&self, count: usize) -> Result<Vec<BlockId>, StoreError> {
        self.with("reading", |database| read::recent(database, count, record::decode_id))
    }

    /// The highest `count` canonical blocks, lowest first, with their messages, which may be large. Numbers
    /// may be skipped.
    ///
    /// # Errors
    ///
    /// As [`block_by_hash`](Self::block_by_hash).
    pub fn recent_blocks(&self, count: usize) -> Result<Vec<StoredBlock>, StoreError> {
        self.with("reading", |database| read::recent(database, count, record::decode))
    }

    /// What the feed asks for, as it is at one moment.
    ///
    /// # Errors
    ///
    /// As [`block_by_hash`](Self::block_by_hash).
    pub fn page(&self, query: Query) -> Result<Page<StoredBlock>, StoreError> {
        self.with("reading", |database| read::page(database, query))
    }

    /// How many blocks are stored, canonical or not.
    ///
    /// # Errors
    ///
    /// The store could not be read.
    pub fn len(&self) -> Result<u64, StoreError> {
        self.with("reading", |database| Ok(database.begin_read()?.open_table(schema::HEIGHTS)?.len()?))
    }

    /// Whether no block is stored.
    ///
    /// # Errors
    ///
    /// The store could not be read.
    pub fn is_empty(&self) -> Result<bool, StoreError> {
        Ok(self.len()? == 0)
    }

    /// Size of the store's file, bytes.
    ///
    /// # Errors
    ///
    /// The file's size could not be read.
    pub fn size_on_disk(&self) -> Result<u64, StoreError> {
        let path = self.path();
        std::fs::metadata(path).map(|file| file.len()).map_err(|error| Fault::from(error).at(path, "reading"))
    }

    /// The store's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.inner.config.path
    }

    /// How long the last opening took: what each failure costs, since the file is then opened and checked
    /// anew.
    pub(crate) fn opening_took(&self) -> Duration {
        Duration::from_millis(self.inner.opening_took.load(Ordering::Relaxed))
    }

    fn retention(&self, now: u64) -> Retention {
        let config = &self.inner.config;
        Retention { max_blocks: config.max_blocks, oldest: now.saturating_sub(config.max_age.as_secs()) }
    }

    /// Does work on the open database. redb refuses all work after its first I/O error, and can't be trusted
    /// after a panic, so after either the file is closed, and opened again by whoever comes next.
    fn with<T>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Database) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let path = self.path();
        loop {
            let open = self.inner.open.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(database) = open.as_ref() {
                let result = contained(|| work(database));
                drop(open);
                return result.map_err(|fault| {
                    if !fault.leaves_database_usable() {
                        self.close();
                    }
                    fault.at(path, doing)
                });
            }
            drop(open);
            self.open_again()?;
        }
    }

    fn open_again(&self) -> Result<(), StoreError> {
        let mut open = self.inner.open.write().unwrap_or_else(PoisonError::into_inner);
        if open.is_none() {
            let start = Instant::now();
            *open = Some(open::open_again(&self.inner.config)?);
            self.inner.opening_took.store(millis_since(start), Ordering::Relaxed);
        }
        Ok(())
    }

    fn close(&self) {
        let mut open = self.inner.open.write().unwrap_or_else(PoisonError::into_inner);
        // Closing may fail or panic for the reason that we close for; everything acknowledged is durable.
        let _ = contained(|| {
            drop(open.take());
            Ok(())
        });
    }
}

fn millis_since(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)
}
