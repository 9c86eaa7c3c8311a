//! A thread that owns writing to the store, so that nothing else waits for the disk.
//!
//! Batches queue up; the thread takes all that is queued, up to a limit, commits it with one wait for the
//! disk, and then tells each batch's owner, in order. `Ok` is said only after the commit is durable.
//!
//! A batch that can't be written comes back to its owner with the error, and the thread goes on with the
//! next: when a full disk has room again, writing resumes by itself. After such a failure the store checks
//! its file anew, so the thread pauses in proportion to what that costs; the queue meanwhile fills up to its
//! bound.
//!
//! A *patient* writer ([`Writer::start_patient`]) keeps what the disk does not take, in order, and tries again, at
//! least a second later, until it does: an outage of the disk then loses nothing that the queue can hold. Somebody
//! is told when it begins to fail, with each attempt, and when it is over.
//!
//! # Bounds
//!
//! The queue: [`WriterConfig::max_batches`] and [`WriterConfig::max_bytes`]. The caller fills it with
//! accepted blocks and what the core remembers. When it is full, [`Writer::submit`] hands the batch back and the caller decides; a block
//! that is not stored is fetched from a peer when it is needed, so none is lost to the chain. A single batch
//! larger than `max_bytes` is taken when the queue is empty, as it could otherwise never be written.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use alloy_primitives::B256;

use super::{Batch, Store, StoreError, StoredBlock};
use crate::clock::since_epoch;

/// The most that one commit takes from the queue, bytes of messages and memory.
const GROUP_BYTES: usize = 16 * 1024 * 1024;

/// Reads that may be queued above the batches.
const MAX_LOADS: usize = 16;

/// After a failed commit, pause this many times what opening the file again costs.
const PAUSE_FACTOR: u32 = 8;

/// The longest pause after a failed commit.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// The shortest pause after a failed commit that is tried again.
const MIN_RETRY: Duration = Duration::from_secs(1);

/// How much may wait to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriterConfig {
    /// Batches.
    pub max_batches: usize,
    /// Bytes of messages and memory.
    pub max_bytes: usize,
}

impl Default for WriterConfig {
    fn default() -> Self {
        Self { max_batches: 1024, max_bytes: 64 * 1024 * 1024 }
    }
}

/// A batch that was not written.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{error}")]
pub struct WriteFailed {
    /// The batch, to give again or to drop.
    pub batch: Batch,
    /// Why it was not written.
    #[source]
    pub error: StoreError,
}

/// The queue has no room for this batch now. Its callback was dropped without a call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the block store's queue is full: the disk is slower than the blocks come in")]
pub struct QueueFull {
    /// The batch, to give again or to drop.
    pub batch: Batch,
}

/// Told of each failed attempt, and with `None` when an attempt succeeds after that.
type Health = Box<dyn Fn(Option<&StoreError>) + Send + Sync>;
type Done = Box<dyn FnOnce(Result<(), Box<WriteFailed>>) + Send>;
type Loaded = Box<dyn FnOnce(Result<Vec<Option<StoredBlock>>, StoreError>) + Send>;

enum Job {
    Write(Batch, Done),
    Load(Vec<B256>, Loaded),
}

/// What the thread does next.
enum Work {
    Commit(Vec<Batch>, Vec<Done>),
    Load(Vec<B256>, Loaded),
}

/// There are more reads queued than anybody can wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the block store's queue is full: the disk is slower than it is asked")]
pub struct LoadRefused;

/// The handle to the writing thread. Dropping it writes what is queued and waits for that, as
/// [`stop`](Self::stop) does.
pub struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    config: WriterConfig,
    /// Of a patient writer.
    health: Option<Health>,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    bytes: usize,
    /// The last commit failed, and is tried again: batch by batch, and reads need not wait for it.
    failing: bool,
    stopping: bool,
}

impl Writer {
    /// Starts the thread. It removes old blocks with every commit, by the system's wall clock.
    ///
    /// # Errors
    ///
    /// The system refused a thread.
    pub fn start(store: Store, config: WriterConfig) -> io::Result<Self> {
        Self::start_with(store, config, None)
    }

    /// The same for a patient writer: what the disk does not take is tried again until it does, and only the writer's
    /// end, or damage, or a batch that contradicts the store, brings it back. `health` is told of each failed attempt,
    /// and with `None` of the first that succeeds after that; on the writer's thread, so it should hand the news on.
    ///
    /// # Errors
    ///
    /// The system refused a thread.
    pub fn start_patient(
        store: Store,
        config: WriterConfig,
        health: impl Fn(Option<&StoreError>) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        Self::start_with(store, config, Some(Box::new(health)))
    }

    fn start_with(store: Store, config: WriterConfig, health: Option<Health>) -> io::Result<Self> {
        let shared = Arc::new(Shared { queue: Mutex::default(), changed: Condvar::new(), config, health });
        let for_thread = Arc::clone(&shared);
        let thread =
            thread::Builder::new().name("block-store".to_owned()).spawn(move || run(&store, &for_thread))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Queues a batch without waiting. `done` is called exactly once, on the writer's thread, in the order of
    /// submission; it should hand the news on rather than work.
    ///
    /// # Errors
    ///
    /// [`QueueFull`] hands the batch back; `done` is then not called.
    pub fn submit(
        &self,
        batch: Batch,
        done: impl FnOnce(Result<(), Box<WriteFailed>>) + Send + 'static,
    ) -> Result<(), Box<QueueFull>> {
        let size = size_of(&batch);
        let WriterConfig { max_batches, max_bytes } = self.shared.config;
        let mut queue = self.shared.queue();
        let fits = queue.jobs.len() < max_batches && queue.bytes.saturating_add(size) <= max_bytes;
        if !fits && !queue.jobs.is_empty() {
            return Err(Box::new(QueueFull { batch }));
        }
        queue.bytes = queue.bytes.saturating_add(size);
        queue.jobs.push_back(Job::Write(batch, Box::new(done)));
        drop(queue);
        self.shared.changed.notify_one();
        Ok(())
    }

    /// Queues the reading of these blocks: after everything that was submitted before is on the disk, so that it is
    /// found. `done` is called exactly once, on the writer's thread; `None` stands for a block that is missing or
    /// damaged.
    ///
    /// # Errors
    ///
    /// [`LoadRefused`] if the queue is full; `done` is then not called.
    pub fn load(
        &self,
        hashes: Vec<B256>,
        done: impl FnOnce(Result<Vec<Option<StoredBlock>>, StoreError>) + Send + 'static,
    ) -> Result<(), LoadRefused> {
        let mut queue = self.shared.queue();
        // Beyond what batches may take, so that writing never starves reading.
        if queue.jobs.len() >= self.shared.config.max_batches.saturating_add(MAX_LOADS) {
            return Err(LoadRefused);
        }
        queue.jobs.push_back(Job::Load(hashes, Box::new(done)));
        drop(queue);
        self.shared.changed.notify_one();
        Ok(())
    }

    /// How many batches wait, without those being written now.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.shared.queue().jobs.len()
    }

    /// Writes what is queued, tells the owners, ends the thread, and waits for all of that.
    pub fn stop(self) {
        // Dropping does it.
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.queue().stopping = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // The thread contains every panic that is not its own.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("config", &self.shared.config).field("queued", &self.queued()).finish()
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing that can panic runs while the queue is locked.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for work; `None` when all is done and the writer is stopping.
    fn next_work(&self) -> Option<Work> {
        let mut queue = self.queue();
        while queue.jobs.is_empty() && !queue.stopping {
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        let one_by_one = queue.failing && !queue.stopping;
        if one_by_one
            && let Some(at) = queue.jobs.iter().position(|job| matches!(job, Job::Load(..)))
            && let Some(Job::Load(hashes, done)) = queue.jobs.remove(at)
        {
            return Some(Work::Load(hashes, done));
        }
        let (mut batches, mut dones) = (Vec::new(), Vec::new());
        let mut taken = 0usize;
        loop {
            if one_by_one && !batches.is_empty() {
                break;
            }
            match queue.jobs.pop_front() {
                Some(Job::Write(batch, done)) => {
                    let size = size_of(&batch);
                    if !batches.is_empty() && taken.saturating_add(size) > GROUP_BYTES {
                        queue.jobs.push_front(Job::Write(batch, done));
                        break;
                    }
                    taken = taken.saturating_add(size);
                    queue.bytes = queue.bytes.saturating_sub(size);
                    batches.push(batch);
                    dones.push(done);
                }
                Some(Job::Load(hashes, done)) if batches.is_empty() => return Some(Work::Load(hashes, done)),
                Some(load) => {
                    queue.jobs.push_front(load);
                    break;
                }
                None => break,
            }
        }
        (!batches.is_empty()).then_some(Work::Commit(batches, dones))
    }

    /// Puts back what could not be written, to be tried again before all else. Whether it was: a writer that stops
    /// does not try again.
    fn put_back(&self, batches: &mut Vec<Batch>, dones: &mut Vec<Done>) -> bool {
        let mut queue = self.queue();
        if queue.stopping {
            return false;
        }
        queue.failing = true;
        for (batch, done) in batches.drain(..).zip(dones.drain(..)).rev() {
            queue.bytes = queue.bytes.saturating_add(size_of(&batch));
            queue.jobs.push_front(Job::Write(batch, done));
        }
        true
    }

    /// A commit has succeeded.
    fn recovered(&self) {
        if std::mem::take(&mut self.queue().failing) {
            self.tell_health(None);
        }
    }

    fn tell_health(&self, error: Option<&StoreError>) {
        if let Some(health) = &self.health {
            // A panic in it is its owner's.
            let _ = panic::catch_unwind(AssertUnwindSafe(|| health(error)));
        }
    }

    /// Waits for `pause`, or less if the writer is stopping.
    fn pause(&self, pause: Duration) {
        let queue = self.queue();
        let waited = self.changed.wait_timeout_while(queue, pause, |queue| !queue.stopping);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

fn run(store: &Store, shared: &Shared) {
    while let Some(work) = shared.next_work() {
        let (mut batches, mut dones) = match work {
            Work::Commit(batches, dones) => (batches, dones),
            Work::Load(hashes, done) => {
                let found = store.blocks_by_hash(&hashes);
                let _ = panic::catch_unwind(AssertUnwindSafe(|| done(found)));
                continue;
            }
        };
        match store.commit_group(&batches, Some(unix_now())) {
            Ok(committed) => {
                shared.recovered();
                for ((done, outcome), batch) in dones.into_iter().zip(committed.batches).zip(batches) {
                    tell(
                        done,
                        outcome.map_err(|refused| Box::new(WriteFailed { batch, error: refused.into() })),
                    );
                }
            }
            Err(error)
                if shared.health.is_some() && is_outage(&error) && {
                    shared.tell_health(Some(&error));
                    shared.put_back(&mut batches, &mut dones)
                } =>
            {
                shared.pause((store.opening_took() * PAUSE_FACTOR).clamp(MIN_RETRY, MAX_PAUSE));
            }
            Err(error) => {
                for (done, batch) in dones.into_iter().zip(batches) {
                    tell(done, Err(Box::new(WriteFailed { batch, error: error.clone() })));
                }
                shared.pause((store.opening_took() * PAUSE_FACTOR).min(MAX_PAUSE));
            }
        }
    }
}

/// Whether it is the disk's doing, which may pass, and not that of what is on it.
const fn is_outage(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::DiskFull { .. }
            | StoreError::NotWritable { .. }
            | StoreError::Directory { .. }
            | StoreError::Io { .. }
    )
}

/// Calls a callback. A panic in it is its owner's and must not end the thread that others rely on.
fn tell(done: Done, outcome: Result<(), Box<WriteFailed>>) {
    let _ = panic::catch_unwind(AssertUnwindSafe(|| done(outcome)));
}

/// What a batch weighs in the queue, bytes.
fn size_of(batch: &Batch) -> usize {
    let messages = batch.blocks.iter().chain(&batch.pending).map(|block| block.message.len());
    let entry = |(key, value): &(Vec<u8>, Option<Vec<u8>>)| key.len() + value.as_ref().map_or(0, Vec::len);
    messages.chain(batch.memory.iter().map(entry)).fold(0, usize::saturating_add)
}

/// Unix seconds; 0 for a clock before 1970, by which nothing is old.
fn unix_now() -> u64 {
    since_epoch().as_secs()
}
