//! Where the core's jobs run: small ones at once, on the task that drives the sockets; others on threads, away from it.
//!
//! To wake a thread and be woken by it costs about what it takes to judge a small block, so a job of up to
//! [`SMALL`] bytes is done on the spot, as long as such jobs take little of the driver's time: see [`Spare`]. A large
//! block never is, so nothing waits behind it.
//!
//! What gossip waits for goes before answers to requests, of which there are hundreds while a gap is filled.
//!
//! # Bounds
//! The core has at most 17 jobs of gossip under way (four for each topic, one of our own) and one for each answer
//! that is being checked, of which it bounds the number and the bytes, so neither queue can hold more.

use super::meter::Meter;
use opp2p_core::gossip::Threads;
use opp2p_core::node::{Job, JobKind, JobResult};
use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Most bytes of a job that is done on the spot: most blocks, and less than a millisecond.
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
    /// second, the threads are there for bursts.
    pub(super) fn start(meter: &Arc<Meter>) -> io::Result<Self> {
        let threads = thread::available_parallelism().map_or(1, |cores| cores.get().min(4));
        let queue = Arc::new(Queue::default());
        let (done, results) = mpsc::unbounded_channel();
        let spare = Spare::full(Instant::now());
        // It ends those that were started if one can't be.
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

    /// Does a job at once, or hands it to the next free thread, whose result comes by [`Self::next`].
    pub(super) fn run(&mut self, job: Job) -> Option<JobResult> {
        let is_urgent = job.kind() != JobKind::Check;
        if is_urgent && job.size() <= SMALL && self.spare.has_some(Instant::now()) {
            let (result, took) = work(job, &self.meter);
            self.spare.spend(took);
            return Some(result);
        }
        self.queue.put(job, is_urgent);
        None
    }

    /// The next result of a thread.
    pub(super) async fn next(&mut self) -> JobResult {
        match self.results.recv().await {
            Some(result) => result,
            // All threads are gone, which only dropping the pool does.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.queue.end();
    }
}

/// Does a job, and says how long it took.
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

/// A thread more for as long as there is work for two. To start one takes a few dozen microseconds, so the core asks for
/// it only where milliseconds are saved.
struct Scoped;

impl Threads for Scoped {
    fn both<A: Send, B: Send>(
        &self,
        one: impl FnOnce() -> A + Send,
        other: impl FnOnce() -> B + Send,
    ) -> (A, B) {
        thread::scope(|scope| {
            let other = scope.spawn(other);
            let one = one();
            // A panic over there is this job's.
            (one, other.join().unwrap_or_else(|panic| resume_unwind(panic)))
        })
    }
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

    /// The next job, when there is one; `None` at the end.
    fn take(&self) -> Option<Job> {
        let waits = |jobs: &mut Jobs| !jobs.is_over && jobs.urgent.is_empty() && jobs.others.is_empty();
        let mut jobs = self.changed.wait_while(self.jobs(), waits).unwrap_or_else(PoisonError::into_inner);
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

/// How much of its time the driver may give to jobs: a quarter, [`Spare::MOST`] of it in one piece. A flood of small
/// messages, which anybody can send, goes to the threads for the most part, and the sockets are looked after.
#[derive(Clone, Copy, Debug)]
struct Spare {
    /// Nanoseconds; what the last job took too long is below zero.
    left: i64,
    as_of: Instant,
}

impl Spare {
    /// A job may begin while anything is left, so one of the most that a small job takes can come on top.
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
    use opp2p_core::gossip::Unpacked;
    use opp2p_core::node::{Input, Node, NodeConfig, Output};
    use opp2p_core::payload::{Envelope, ExecutionPayload, PayloadVersion};
    use opp2p_core::peers::PeerId;
    use opp2p_core::sequencer::{LocalSigner, Publication, PublishId};
    use opp2p_core::time::Now;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// The next job that runs in this process panics.
    static FAIL: AtomicBool = AtomicBool::new(false);
    /// Held by each test that runs jobs, for that reason.
    static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

    pub(super) fn fail_if_asked() {
        assert!(!FAIL.swap(false, Ordering::SeqCst), "as the test wants it");
    }

    /// Has a message of so many bytes judged, of which nothing is right.
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

    /// Gives a result back, of which a verdict must come.
    fn judged(node: &mut Node, result: JobResult) {
        node.handle(Now::default(), Input::JobDone(result));
        while !matches!(node.poll().expect("a verdict"), Output::Verdict(_)) {}
    }

    #[tokio::test]
    async fn small_jobs_are_done_at_once_while_time_is_spare_and_large_ones_never() {
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

    /// A job of a sequencer's own block.
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
    async fn a_job_that_panics_fails_alone_and_is_counted_and_the_threads_go_on() {
        let _alone = ALONE.lock().await;
        panics::watch();
        let signer = LocalSigner::from_bytes(&[7; 32]).unwrap();
        let chain = ChainConfig::development(901, Default::default(), 0, 2, Fork::Canyon, signer.address());
        let now = Now::new(Duration::ZERO, Duration::from_secs(1_700_000_000));
        let new = || Node::new(now, NodeConfig { can_sign: true, ..NodeConfig::new(chain.clone()) }).unwrap();
        let mut pool = Pool::start(&Arc::default()).unwrap();
        let before = panics::count();
        // More than there are threads: each would be gone after one. Every other one is done on the spot.
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
            let told = format!("{:?}", std::iter::from_fn(|| failing.poll()).collect::<Vec<_>>());
            assert!(told.contains("Panicked"), "{told}");
            let done = match pool.run(own_job(&mut working, now, number)) {
                Some(done) => done,
                None => pool.next().await,
            };
            working.handle(now, Input::JobDone(done));
            let told = format!("{:?}", std::iter::from_fn(|| working.poll()).collect::<Vec<_>>());
            assert!(told.contains("Sign"), "{told}");
        }
        assert!(panics::count() >= before + 16);
    }

    #[test]
    fn a_quarter_of_the_time_is_spare() {
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
        assert!(spent >= quarter && spent <= quarter + Spare::MOST + job, "{spent:?} of {quarter:?}");
    }

    #[test]
    fn what_is_not_used_is_not_saved_up() {
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
