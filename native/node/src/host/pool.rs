//! Execution of the core's jobs: small ones at once on the driver's task, others on threads.
//!
//! Waking a thread and being woken by it costs about as much as validating a small block, so a job
//! of up to [`SMALL`] bytes runs on the spot, as long as such jobs take little of the driver's
//! time: see [`Spare`]. A large block never does, so nothing waits behind it.
//!
//! Jobs of gossip go before answers to requests: there are hundreds of these while a gap is filled.
//!
//! # Bounds
//! The core has at most 17 jobs of gossip in progress (four for each topic, one of our own), and
//! one for each answer that is being checked, whose number and bytes it bounds. Neither queue can
//! hold more.

use super::meter::Meter;
use opp2p_core::gossip::Threads;
use opp2p_core::node::{Job, JobResult};
use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Maximum size of a job that runs on the spot, in bytes: most blocks, and less than a millisecond.
const SMALL: usize = 128 << 10;

/// A fixed number of threads, which end when the pool is dropped, and the driver's spare time.
#[derive(Debug)]
pub(super) struct Pool {
    queue: Arc<Queue>,
    results: mpsc::UnboundedReceiver<JobResult>,
    spare: Spare,
    meter: Arc<Meter>,
}

impl Pool {
    /// Starts as many threads as the machine runs at once, at most four: a node validates a block a
    /// second, and the threads are there for bursts.
    pub(super) fn start(meter: &Arc<Meter>) -> io::Result<Self> {
        let threads = thread::available_parallelism().map_or(1, |cores| cores.get().min(4));
        let queue = Arc::new(Queue::default());
        let (done, results) = mpsc::unbounded_channel();
        let spare = Spare::full(Instant::now());
        // Dropping it ends the threads already started if a later one can't be.
        let pool = Self { queue: Arc::clone(&queue), results, spare, meter: Arc::clone(meter) };
        for index in 0..threads {
            let (queue, done, meter) = (Arc::clone(&queue), done.clone(), Arc::clone(meter));
            let worker = move || {
                while let Some(job) = queue.take() {
                    if done.send(work(job, &meter).0).is_err() {
                        return;
                    }
                }
            };
            thread::Builder::new().name(format!("validate-{index}")).spawn(worker)?;
        }
        Ok(pool)
    }

    /// Runs a job at once and returns its result, or queues it for a thread; its result then comes
    /// from [`Self::next`].
    pub(super) fn run(&mut self, job: Job) -> Option<JobResult> {
        let is_urgent = job.kind().is_urgent();
        if is_urgent && job.size() <= SMALL && self.spare.has_some(Instant::now()) {
            let (result, took) = work(job, &self.meter);
            self.spare.spend(took);
            return Some(result);
        }
        self.queue.put(job, is_urgent);
        None
    }

    /// Returns the next result of a thread.
    pub(super) async fn next(&mut self) -> JobResult {
        match self.results.recv().await {
            Some(result) => result,
            // All threads have ended, which happens only when the pool is dropped.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.queue.end();
    }
}

/// Runs a job and returns its result and duration.
fn work(job: Job, meter: &Meter) -> (JobResult, Duration) {
    let (id, kind, start) = (job.id(), job.kind(), Instant::now());
    let result = catch_unwind(AssertUnwindSafe(|| {
        #[cfg(test)]
        tests::fail_if_asked();
        job.run_on(&Scoped)
    }));
    let took = start.elapsed();
    meter.worked(kind, took);
    (result.unwrap_or_else(|_| JobResult::panicked(id)), took)
}

/// Starts an additional thread while there is work for two. Starting one takes a few dozen
/// microseconds, so the core asks for it only where it saves milliseconds. If the system refuses a
/// thread, as it does at its limit, the work is done in turn.
struct Scoped;

impl Threads for Scoped {
    fn both<A: Send, B: Send>(
        &self,
        one: impl FnOnce() -> A + Send,
        other: impl FnOnce() -> B + Send,
    ) -> (A, B) {
        both_on(thread::Builder::new(), one, other)
    }
}

/// Runs `other` on a thread that `thread` describes, and `one` on this one meanwhile.
fn both_on<A: Send, B: Send>(
    thread: thread::Builder,
    one: impl FnOnce() -> A + Send,
    other: impl FnOnce() -> B + Send,
) -> (A, B) {
    // A refused thread takes its closure with it, so the work stays here.
    let other = Mutex::new(Some(other));
    let take = || other.lock().unwrap_or_else(PoisonError::into_inner).take();
    thread::scope(|scope| {
        let helper = thread.spawn_scoped(scope, || take().map(|other| other()));
        let one = one();
        // A panic on that thread is this job's.
        let done =
            helper.ok().and_then(|helper| helper.join().unwrap_or_else(|p| resume_unwind(p)));
        let other = done.or_else(|| take().map(|other| other()));
        (one, other.expect("the thread has taken the work and done it, or it is done here"))
    })
}

/// Jobs that wait for a thread.
#[derive(Debug, Default)]
struct Queue {
    jobs: Mutex<Jobs>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Jobs {
    urgent: VecDeque<Job>,
    others: VecDeque<Job>,
    is_over: bool,
}

impl Queue {
    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, job: Job, is_urgent: bool) {
        let mut jobs = self.jobs();
        let queue = if is_urgent { &mut jobs.urgent } else { &mut jobs.others };
        queue.push_back(job);
        drop(jobs);
        self.changed.notify_one();
    }

    /// Waits for the next job; returns `None` when the pool ends.
    fn take(&self) -> Option<Job> {
        let waits =
            |jobs: &mut Jobs| !jobs.is_over && jobs.urgent.is_empty() && jobs.others.is_empty();
        let mut jobs =
            self.changed.wait_while(self.jobs(), waits).unwrap_or_else(PoisonError::into_inner);
        if jobs.is_over {
            return None;
        }
        jobs.urgent.pop_front().or_else(|| jobs.others.pop_front())
    }

    fn end(&self) {
        self.jobs().is_over = true;
        self.changed.notify_all();
    }
}

/// The driver's time for jobs: a quarter of it, at most [`Spare::MOST`] in one piece. A flood of
/// small messages, which any peer can send, therefore goes mostly to the threads, and the sockets
/// are served.
#[derive(Clone, Copy, Debug)]
struct Spare {
    /// Time left, in nanoseconds; below zero if the last job took longer than what was left.
    left: i64,
    as_of: Instant,
}

impl Spare {
    /// Maximum time in one piece. A job may begin while anything is left, so the longest small job
    /// can come on top.
    const MOST: Duration = Duration::from_millis(3);

    const fn full(now: Instant) -> Self {
        Self { left: Self::MOST.as_nanos() as i64, as_of: now }
    }

    fn has_some(&mut self, now: Instant) -> bool {
        let gained = now.saturating_duration_since(self.as_of) / 4;
        self.as_of = self.as_of.max(now);
        self.left = self.left.saturating_add(nanos(gained)).min(nanos(Self::MOST));
        self.left > 0
    }

    fn spend(&mut self, took: Duration) {
        self.left = self.left.saturating_sub(nanos(took));
    }
}

fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a helper of a test may fail like the test")]

    use super::*;
    use crate::panics;
    use alloy_primitives::{Address, B256};
    use opp2p_core::chain::{ChainConfig, Fork};
    use opp2p_core::gossip::{Reason, Unpacked};
    use opp2p_core::node::{Event, Input, Node, NodeConfig, Output};
    use opp2p_core::payload::{Envelope, ExecutionPayload, PayloadVersion};
    use opp2p_core::peers::PeerId;
    use opp2p_core::sequencer::{LocalSigner, Publication, PublishError, PublishId};
    use opp2p_core::time::Now;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// Makes the next job that runs in this process panic.
    static FAIL: AtomicBool = AtomicBool::new(false);
    /// Held by each test that runs jobs, because of `FAIL`.
    static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

    pub(super) fn fail_if_asked() {
        assert!(!FAIL.swap(false, Ordering::SeqCst), "as the test wants it");
    }

    /// Returns the job that validates an invalid message of `bytes` bytes.
    fn job(node: &mut Node, bytes: usize) -> Job {
        let now = Now::new(Duration::ZERO, Duration::from_secs(1_700_000_000));
        let from = PeerId::try_from(&[0, 3, 1, 2, 3][..]).unwrap();
        let message = Unpacked::from_contents(&vec![0; bytes]);
        let id = message.message_id("topic");
        node.handle(now, Input::Gossip { from, topic: PayloadVersion::V2, id, message });
        loop {
            if let Output::Job(job) = node.poll().expect("there is a slot") {
                break job;
            }
        }
    }

    /// Returns a result to the core, which must give a verdict.
    fn judged(node: &mut Node, result: JobResult) {
        node.handle(Now::default(), Input::JobDone(result));
        while !matches!(node.poll().expect("a verdict"), Output::Verdict(_)) {}
    }

    #[tokio::test]
    async fn small_jobs_run_inline_while_time_is_spare_and_large_ones_never() {
        let _alone = ALONE.lock().await;
        let (genesis, signer) = (B256::repeat_byte(9), Address::repeat_byte(1));
        let chain = ChainConfig::development(901, genesis, 1_600_000_000, 2, Fork::Canyon, signer);
        let mut node = Node::new(Now::default(), NodeConfig::new(chain)).unwrap();
        let mut pool = Pool::start(&Arc::default()).unwrap();
        let small = job(&mut node, 1000);
        let result = pool.run(small).expect("it is done at once");
        judged(&mut node, result);
        let large = job(&mut node, SMALL + 1);
        assert!(pool.run(large).is_none());
        pool.spare.spend(Duration::from_secs(100));
        let small = job(&mut node, 1000);
        assert!(pool.run(small).is_none());
        for _ in 0..2 {
            judged(&mut node, pool.next().await);
        }
    }

    /// Returns the job for a sequencer's own block.
    fn own_job(node: &mut Node, now: Now, number: u64) -> Job {
        let mut payload = ExecutionPayload {
            block_number: number,
            timestamp: now.unix_seconds(),
            withdrawals: Some(Vec::new()),
            ..Default::default()
        };
        payload.seal(None).unwrap();
        let envelope = Box::new(Envelope { parent_beacon_block_root: None, payload });
        node.handle(
            now,
            Input::Publish { id: PublishId(number), publication: Publication::Envelope(envelope) },
        );
        std::iter::from_fn(|| node.poll())
            .find_map(|output| match output {
                Output::Job(job) => Some(job),
                _ => None,
            })
            .unwrap()
    }

    #[tokio::test]
    async fn a_panicking_job_fails_alone_and_is_counted() {
        let _alone = ALONE.lock().await;
        panics::watch();
        let signer = LocalSigner::from_bytes(&[7; 32]).unwrap();
        let chain =
            ChainConfig::development(901, Default::default(), 0, 2, Fork::Canyon, signer.address());
        let now = Now::new(Duration::ZERO, Duration::from_secs(1_700_000_000));
        let new = || {
            Node::new(now, NodeConfig { can_sign: true, ..NodeConfig::new(chain.clone()) }).unwrap()
        };
        let mut pool = Pool::start(&Arc::default()).unwrap();
        let before = panics::count();
        // More jobs than threads, in case each panic ended one. Every other job runs on the spot.
        for number in 1..=16 {
            pool.spare = Spare::full(Instant::now());
            if number % 2 == 0 {
                pool.spare.spend(Duration::from_secs(100));
            }
            let (mut failing, mut working) = (new(), new());
            FAIL.store(true, Ordering::SeqCst);
            let failed = match pool.run(own_job(&mut failing, now, number)) {
                Some(failed) => failed,
                None => pool.next().await,
            };
            failing.handle(now, Input::JobDone(failed));
            let outputs = std::iter::from_fn(|| failing.poll()).collect::<Vec<_>>();
            let failed = |output: &Output| {
                let error = PublishError::Refused(Reason::Panicked);
                matches!(
                    output,
                    Output::Event(Event::Published { result: Err(why), .. }) if *why == error
                )
            };
            assert!(outputs.iter().any(failed), "{outputs:?}");
            let done = match pool.run(own_job(&mut working, now, number)) {
                Some(done) => done,
                None => pool.next().await,
            };
            working.handle(now, Input::JobDone(done));
            let outputs = std::iter::from_fn(|| working.poll()).collect::<Vec<_>>();
            assert!(outputs.iter().any(|output| matches!(output, Output::Sign(_))), "{outputs:?}");
        }
        assert!(panics::count() >= before + 16);
    }

    #[test]
    fn work_for_two_threads_runs_in_sequence_if_no_thread_can_be_made() {
        // No system has room for such a stack.
        let refused = || thread::Builder::new().stack_size(usize::MAX / 4);
        assert!(refused().spawn(|| {}).is_err());
        for thread in [thread::Builder::new, refused] {
            assert_eq!(both_on(thread(), || 1, || "two"), (1, "two"));
        }
        for thread in [thread::Builder::new, refused] {
            let both = || both_on(thread(), || 1, || panic!("as the test wants it"));
            let panicked = catch_unwind(both).map(|(_, ()): (i32, ())| ());
            assert!(panicked.is_err(), "a panic of either part is the job's");
        }
    }

    #[test]
    fn a_quarter_of_the_time_is_spare_for_inline_jobs() {
        let start = Instant::now();
        let (mut now, mut spare, mut spent) = (start, Spare::full(start), Duration::ZERO);
        let job = Duration::from_micros(500);
        for _ in 0..10_000 {
            if spare.has_some(now) {
                spare.spend(job);
                spent += job;
                now += job;
            } else {
                now += Duration::from_micros(10);
            }
        }
        let quarter = (now - start) / 4;
        assert!(
            spent >= quarter && spent <= quarter + Spare::MOST + job,
            "{spent:?} of {quarter:?}"
        );
    }

    #[test]
    fn unused_spare_time_is_not_saved_up() {
        let start = Instant::now();
        let mut spare = Spare::full(start);
        let later = start + Duration::from_secs(3600);
        let mut jobs = 0;
        while spare.has_some(later) {
            spare.spend(Duration::from_millis(1));
            jobs += 1;
        }
        assert_eq!(jobs, 3);
        assert!(!spare.has_some(start), "a clock that goes back gives nothing");
        assert!(spare.has_some(later + Duration::from_millis(1)));
    }
}
