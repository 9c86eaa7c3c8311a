//! Threads that run the core's jobs, away from the task that drives the sockets.
//!
//! # Bounds
//! The core has at most 17 jobs of gossip under way (four for each topic, one of our own) and one for each answer
//! that is being checked, of which it bounds the number and the bytes, so neither queue can hold more.

use super::meter::Meter;
use opp2p_core::node::{Job, JobResult};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;
use tokio::sync::mpsc;

/// A fixed number of threads; they end when the pool is dropped.
#[derive(Debug)]
pub(super) struct Pool {
    jobs: Sender<Job>,
    results: mpsc::UnboundedReceiver<JobResult>,
}

impl Pool {
    /// Starts as many threads as the machine runs at once, at most four: a node validates a block a
    /// second, the threads are there for bursts.
    pub(super) fn start(meter: &Arc<Meter>) -> io::Result<Self> {
        let threads = thread::available_parallelism().map_or(1, |cores| cores.get().min(4));
        let (jobs, queue) = channel();
        let queue = Arc::new(Mutex::new(queue));
        let (done, results) = mpsc::unbounded_channel();
        for index in 0..threads {
            let (queue, done, meter) = (Arc::clone(&queue), done.clone(), Arc::clone(meter));
            let worker = move || work(&queue, &done, &meter);
            thread::Builder::new().name(format!("validate-{index}")).spawn(worker)?;
        }
        Ok(Self { jobs, results })
    }

    /// Hands a job to the next free thread.
    pub(super) fn run(&self, job: Job) {
        // The threads live as long as the pool, whatever a job does.
        let _ = self.jobs.send(job);
    }

    /// The next result.
    pub(super) async fn next(&mut self) -> JobResult {
        match self.results.recv().await {
            Some(result) => result,
            // All threads are gone, which only dropping the pool does.
            None => std::future::pending().await,
        }
    }
}

fn work(queue: &Mutex<Receiver<Job>>, done: &mpsc::UnboundedSender<JobResult>, meter: &Meter) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        let (id, kind, start) = (job.id(), job.kind(), Instant::now());
        let result = catch_unwind(AssertUnwindSafe(|| job.run()));
        meter.worked(kind, start.elapsed());
        if done.send(result.unwrap_or_else(|_| JobResult::panicked(id))).is_err() {
            return;
        }
    }
}
