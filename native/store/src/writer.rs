//! A thread for all writes to the store, so that nothing else waits for the disk.
//!
//! Batches are queued. The thread takes all queued batches up to a limit, commits them with one
//! wait for the disk, and then calls each batch's callback, in order. `Ok` is reported only after
//! the commit is durable.
//!
//! A batch that can't be written is returned to its owner with the error, and the thread continues
//! with the next one: when a full disk has room again, writing resumes. After most failures the
//! store has to check its file again, which the thread does at once, since readers wait for it. It
//! then pauses in proportion to the duration of that check, while the queue fills up to its bound.
//!
//! A *patient* writer ([`Writer::start_patient`]) keeps the batches that the disk refuses, in
//! order, and retries them at intervals of at least two seconds until they are written: a disk
//! outage then loses nothing that fits into the queue. Its health callback is called at each failed
//! attempt, and when writing works again. When the writer stops, the first failure ends everything
//! that is still queued. Between batches it checks every [`LOOKING`] that the file is still at its
//! path, and reports that too.
//!
//! # Bounds
//!
//! The queue is bounded by [`WriterConfig::max_batches`] and [`WriterConfig::max_bytes`]. The
//! caller fills it with accepted blocks and the core's memory. When it is full, [`Writer::submit`]
//! returns the batch and the caller decides. A block that is not stored is fetched from a peer when
//! it is needed, so the chain loses no block. A single batch larger than `max_bytes` is accepted
//! when the queue is empty, since it could otherwise never be written.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use alloy_primitives::B256;

use super::{Batch, Store, StoreError, StoredBlock};

/// Maximum size of the batches in one commit, in bytes of messages and memory. A commit has at
/// least one batch, whatever its size.
const GROUP_BYTES: usize = 16 * 1024 * 1024;

/// Number of reads that may be queued beyond the limit for batches.
const MAX_LOADS: usize = 16;

/// Pause after a failed commit, as a multiple of the time to open the file again.
const PAUSE_FACTOR: u32 = 8;

/// Maximum pause after a failed commit. The store is readable during the pause, so this must be
/// longer than the opening of a large file on a slow disk.
const MAX_PAUSE: Duration = Duration::from_secs(10 * 60);

/// Interval between two checks of the file's path while nothing is written.
const LOOKING: Duration = Duration::from_secs(2);

/// Minimum pause before a failed commit is retried.
const MIN_RETRY: Duration = Duration::from_secs(2);

/// Bounds of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriterConfig {
    /// Maximum number of batches. Small ones are cheap: a gap of small blocks is written as fast as
    /// it is fetched only if thousands fit.
    pub max_batches: usize,
    /// Maximum size of the batches, in bytes of messages and memory.
    pub max_bytes: usize,
}

impl Default for WriterConfig {
    fn default() -> Self {
        Self { max_batches: 8192, max_bytes: 64 * 1024 * 1024 }
    }
}

/// A batch that was not written.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{error}")]
pub struct WriteFailed {
    /// The batch, to submit again or to drop.
    pub batch: Batch,
    /// Reason why it was not written.
    #[source]
    pub error: StoreError,
}

/// The queue has no room for this batch now. The callback was dropped without being called.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the block store's queue is full: the disk is slower than the blocks come in")]
pub struct QueueFull {
    /// The batch, to submit again or to drop.
    pub batch: Batch,
}

/// Callback that gets the error of each failed attempt, and `None` when an attempt succeeds after
/// that.
type Health = Box<dyn Fn(Option<&StoreError>) + Send + Sync>;
type Done = Box<dyn FnOnce(Result<(), Box<WriteFailed>>) + Send>;
/// A read. It gets the error that ended the writer, if that came first.
type Read = Box<dyn FnOnce(Result<&Store, StoreError>) + Send>;

enum Job {
    Write(Batch, Done),
    /// A read that does not wait for commits that fail.
    Load(Read),
    /// A read that always sees what was submitted before.
    Ordered(Read),
}

/// Next task of the thread.
enum Work {
    Commit(Vec<Batch>, Vec<Done>),
    Read(Read),
    /// Nothing was queued for a while.
    Look,
}

/// Error: too many jobs are queued to take another read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the block store's queue is full: the disk is slower than it is asked")]
pub struct LoadRefused;

/// A handle to the writing thread. Dropping it writes the queued batches and waits for that, as
/// [`stop`](Self::stop) does.
pub struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    config: WriterConfig,
    /// Health callback of a patient writer.
    health: Option<Health>,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    bytes: usize,
    /// The last commit failed and is being retried: batch by batch, and reads do not wait for it.
    failing: bool,
    stopping: bool,
}

impl Queue {
    fn has_room(&self, size: usize, config: &WriterConfig) -> bool {
        let fits = self.jobs.len() < config.max_batches
            && self.bytes.saturating_add(size) <= config.max_bytes;
        fits || self.jobs.is_empty()
    }

    /// Returns the position of the first read that need not wait for the commits before it, since
    /// they fail.
    fn free_load(&self) -> Option<usize> {
        let is_load = |job: &Job| matches!(job, Job::Load(_));
        self.jobs.iter().position(is_load).filter(|_| self.failing && !self.stopping)
    }

    fn take_free_load(&mut self) -> Option<Read> {
        let at = self.free_load()?;
        match self.jobs.remove(at)? {
            Job::Load(read) => Some(read),
            Job::Write(..) | Job::Ordered(_) => None,
        }
    }
}

impl Writer {
    /// Starts the thread. Every commit also removes blocks beyond the store's limits.
    ///
    /// # Errors
    ///
    /// If the system can't start a thread.
    pub fn start(store: Store, config: WriterConfig) -> io::Result<Self> {
        Self::start_with(store, config, None)
    }

    /// Starts the thread of a patient writer, which retries batches that the disk refuses. A batch
    /// is returned only if the writer stops, the store is damaged, or the batch contradicts the
    /// store. `health` is called with the error of each failed attempt, and with `None` at the
    /// first success after that. It runs on the writer's thread, so it should return quickly.
    ///
    /// # Errors
    ///
    /// If the system can't start a thread.
    pub fn start_patient(
        store: Store,
        config: WriterConfig,
        health: impl Fn(Option<&StoreError>) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        Self::start_with(store, config, Some(Box::new(health)))
    }

    fn start_with(store: Store, config: WriterConfig, health: Option<Health>) -> io::Result<Self> {
        let shared =
            Arc::new(Shared { queue: Mutex::default(), changed: Condvar::new(), config, health });
        let for_thread = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("block-store".to_owned())
            .spawn(move || run(&store, &for_thread))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Queues a batch without waiting. `done` is called exactly once, on the writer's thread, in
    /// the order of submission; it should return quickly.
    ///
    /// # Errors
    ///
    /// [`QueueFull`] returns the batch; `done` is then not called.
    pub fn submit(
        &self,
        batch: Batch,
        done: impl FnOnce(Result<(), Box<WriteFailed>>) + Send + 'static,
    ) -> Result<(), Box<QueueFull>> {
        let size = batch.size();
        let mut queue = self.shared.queue();
        if !queue.has_room(size, &self.shared.config) {
            return Err(Box::new(QueueFull { batch }));
        }
        queue.bytes = queue.bytes.saturating_add(size);
        queue.jobs.push_back(Job::Write(batch, Box::new(done)));
        drop(queue);
        self.shared.changed.notify_one();
        Ok(())
    }

    /// Queues the reading of these blocks, after everything submitted before is on the disk; while
    /// commits fail, reads do not wait for them. `done` is called exactly once, on the writer's
    /// thread; `None` means that a block is missing or damaged.
    ///
    /// # Errors
    ///
    /// [`LoadRefused`] if the queue is full; `done` is then not called.
    pub fn load(
        &self,
        hashes: Vec<B256>,
        done: impl FnOnce(Result<Vec<Option<StoredBlock>>, StoreError>) + Send + 'static,
    ) -> Result<(), LoadRefused> {
        self.read(Job::Load(Box::new(move |store: Result<&Store, StoreError>| {
            done(store.and_then(|store| store.blocks_by_hash(&hashes)));
        })))
    }

    /// Queues a read of the store in the state that everything submitted before leaves it in. It
    /// waits for that even while commits fail. `read` is called exactly once, on the writer's
    /// thread, with the error of the commits if the writer stops before they succeed.
    ///
    /// # Errors
    ///
    /// [`LoadRefused`] if the queue is full; `read` is then not called.
    pub fn read_in_order(
        &self,
        read: impl FnOnce(Result<&Store, StoreError>) + Send + 'static,
    ) -> Result<(), LoadRefused> {
        self.read(Job::Ordered(Box::new(read)))
    }

    fn read(&self, job: Job) -> Result<(), LoadRefused> {
        let mut queue = self.shared.queue();
        // Beyond the limit for batches, so that writing never starves reading.
        if queue.jobs.len() >= self.shared.config.max_batches.saturating_add(MAX_LOADS) {
            return Err(LoadRefused);
        }
        queue.jobs.push_back(job);
        drop(queue);
        self.shared.changed.notify_one();
        Ok(())
    }

    /// Returns the number of queued batches and reads, without those in progress.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.shared.queue().jobs.len()
    }

    /// Writes the queued batches, calls the callbacks, ends the thread, and waits for all of that.
    pub fn stop(self) {
        // `Drop` does all of it.
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.queue().stopping = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // The thread contains every panic of a callback.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("config", &self.shared.config)
            .field("queued", &self.queued())
            .finish()
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing that can panic runs while the queue is locked.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for work; returns `None` when everything is done and the writer is stopping.
    fn next_work(&self) -> Option<Work> {
        let queue = self.queue();
        let is_idle = |queue: &mut Queue| queue.jobs.is_empty() && !queue.stopping;
        let waited = self.changed.wait_timeout_while(queue, LOOKING, is_idle);
        let mut queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        if is_idle(&mut queue) {
            return Some(Work::Look);
        }
        let one_by_one = queue.failing && !queue.stopping;
        if let Some(read) = queue.take_free_load() {
            return Some(Work::Read(read));
        }
        let (mut batches, mut dones) = (Vec::new(), Vec::new());
        let mut taken = 0usize;
        loop {
            if one_by_one && !batches.is_empty() {
                break;
            }
            match queue.jobs.pop_front() {
                Some(Job::Write(batch, done)) => {
                    let size = batch.size();
                    if !batches.is_empty() && taken.saturating_add(size) > GROUP_BYTES {
                        queue.jobs.push_front(Job::Write(batch, done));
                        break;
                    }
                    taken = taken.saturating_add(size);
                    queue.bytes = queue.bytes.saturating_sub(size);
                    batches.push(batch);
                    dones.push(done);
                }
                Some(Job::Load(read) | Job::Ordered(read)) if batches.is_empty() => {
                    return Some(Work::Read(read));
                }
                Some(read) => {
                    queue.jobs.push_front(read);
                    break;
                }
                None => break,
            }
        }
        (!batches.is_empty()).then_some(Work::Commit(batches, dones))
    }

    /// Puts batches that could not be written back at the front of the queue. Returns `false`, and
    /// leaves them, if the writer is stopping: then it does not retry.
    fn put_back(&self, batches: &mut Vec<Batch>, dones: &mut Vec<Done>) -> bool {
        let mut queue = self.queue();
        if queue.stopping {
            return false;
        }
        queue.failing = true;
        for (batch, done) in batches.drain(..).zip(dones.drain(..)).rev() {
            queue.bytes = queue.bytes.saturating_add(batch.size());
            queue.jobs.push_front(Job::Write(batch, done));
        }
        true
    }

    /// Fails all queued jobs if the writer is stopping: each further attempt would open and check
    /// the whole file, and a process that is shutting down does not have that time.
    fn give_up_if_stopping(&self, error: &StoreError) {
        let mut queue = self.queue();
        if !queue.stopping {
            return;
        }
        let jobs = std::mem::take(&mut queue.jobs);
        queue.bytes = 0;
        drop(queue);
        for job in jobs {
            match job {
                Job::Write(batch, done) => {
                    tell(done, Err(Box::new(WriteFailed { batch, error: error.clone() })));
                }
                Job::Load(read) | Job::Ordered(read) => run_read(Err(error.clone()), read),
            }
        }
    }

    /// Reports that the file is gone while nothing is written, and that it is back.
    fn looked(&self, place: Result<(), StoreError>) {
        match place {
            Ok(()) => self.recovered(),
            Err(error) => {
                if self.health.is_some() && !std::mem::replace(&mut self.queue().failing, true) {
                    self.report_health(Some(&error));
                }
            }
        }
    }

    /// Reports the first success after failures.
    fn recovered(&self) {
        if std::mem::take(&mut self.queue().failing) {
            self.report_health(None);
        }
    }

    fn report_health(&self, error: Option<&StoreError>) {
        if let Some(health) = &self.health {
            // A panic in the callback is its owner's responsibility.
            let _ = panic::catch_unwind(AssertUnwindSafe(|| health(error)));
        }
    }

    /// Waits for `pause`, or less if the writer is stopping. Reads that need not wait for failing
    /// commits are served meanwhile.
    fn pause(&self, store: &Store, pause: Duration) {
        let until = Instant::now() + pause;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let waits = |queue: &mut Queue| !queue.stopping && queue.free_load().is_none();
            let waited = self.changed.wait_timeout_while(self.queue(), left, waits);
            let mut queue = waited.unwrap_or_else(PoisonError::into_inner).0;
            if queue.stopping {
                return;
            }
            let Some(read) = queue.take_free_load() else { return };
            drop(queue);
            run_read(Ok(store), read);
        }
    }
}

/// Runs a read. A panic in it is its owner's responsibility.
fn run_read(store: Result<&Store, StoreError>, read: Read) {
    let _ = panic::catch_unwind(AssertUnwindSafe(|| read(store)));
}

fn run(store: &Store, shared: &Shared) {
    while let Some(work) = shared.next_work() {
        let (mut batches, mut dones) = match work {
            Work::Commit(batches, dones) => (batches, dones),
            Work::Read(read) => {
                run_read(Ok(store), read);
                continue;
            }
            Work::Look => {
                shared.looked(store.check_place());
                continue;
            }
        };
        match store.commit_group(&batches, true) {
            Ok(committed) => {
                shared.recovered();
                for ((done, outcome), batch) in
                    dones.into_iter().zip(committed.batches).zip(batches)
                {
                    tell(
                        done,
                        outcome.map_err(|refused| {
                            Box::new(WriteFailed { batch, error: refused.into() })
                        }),
                    );
                }
            }
            Err(error)
                if shared.health.is_some() && is_outage(&error) && {
                    shared.report_health(Some(&error));
                    shared.put_back(&mut batches, &mut dones)
                } =>
            {
                shared.pause(store, recover(store).clamp(MIN_RETRY, MAX_PAUSE));
            }
            Err(error) => {
                for (done, batch) in dones.into_iter().zip(batches) {
                    tell(done, Err(Box::new(WriteFailed { batch, error: error.clone() })));
                }
                if is_outage(&error) {
                    shared.give_up_if_stopping(&error);
                }
                if !shared.queue().stopping {
                    shared.pause(store, recover(store).min(MAX_PAUSE));
                }
            }
        }
    }
}

/// Opens the store again after a failure, unless it stayed open. Returns the pause before the next
/// attempt.
fn recover(store: &Store) -> Duration {
    if store.is_open() {
        return Duration::ZERO;
    }
    // The next attempt finds the same error.
    let _ = store.reopen();
    store.opening_took() * PAUSE_FACTOR
}

/// Returns `true` for errors of the disk, which may pass, as opposed to errors in its content.
const fn is_outage(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::DiskFull { .. }
            | StoreError::NotWritable { .. }
            | StoreError::Directory { .. }
            | StoreError::Gone { .. }
            | StoreError::Locked { .. }
            | StoreError::Io { .. }
    )
}

/// Calls a callback. A panic in it is its owner's responsibility, and must not end the thread, on
/// which others rely.
fn tell(done: Done, outcome: Result<(), Box<WriteFailed>>) {
    let _ = panic::catch_unwind(AssertUnwindSafe(|| done(outcome)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outages_are_retried_and_damage_is_not() {
        let path = || std::path::PathBuf::from("blocks");
        let source = || Arc::new(io::Error::other("a test"));
        // Another process may hold the file for a moment while this one opens it again.
        assert!(is_outage(&StoreError::Locked { path: path() }));
        assert!(is_outage(&StoreError::Gone { path: path(), what: "removed" }));
        assert!(is_outage(&StoreError::DiskFull { path: path(), source: source() }));
        assert!(is_outage(&StoreError::Io { path: path(), doing: "writing", source: source() }));
        assert!(!is_outage(&StoreError::Corrupted { path: path(), detail: String::new() }));
    }

    #[test]
    fn a_read_overtakes_only_failing_commits() {
        let mut queue = Queue::default();
        let write = || Job::Write(Batch::default(), Box::new(drop));
        let load = || Job::Load(Box::new(|_| ()));
        let ordered = || Job::Ordered(Box::new(|_| ()));
        queue.jobs.extend([ordered(), write(), load(), write()]);
        assert_eq!(queue.free_load(), None);
        queue.failing = true;
        assert!(queue.take_free_load().is_some());
        assert_eq!((queue.free_load(), queue.jobs.len()), (None, 3));
        queue.jobs.push_back(load());
        queue.stopping = true;
        assert_eq!(queue.free_load(), None);
    }
}
