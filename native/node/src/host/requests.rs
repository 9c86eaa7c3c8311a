//! Answers to requests for blocks, by number and of ranges, which are read and compressed on
//! threads of their own.
//!
//! # Bounds
//! Those of the core, which bounds the peers' requests that are being answered. [`READERS`] threads
//! make the answers. A [`BlockSource`] bounds what it is asked.

use super::canonical;
use super::shared::Core;
use futures::future::BoxFuture;
use opp2p_core::payload::Block;
use opp2p_core::sync::range::{RangeServeId, ReadDone, ReadOrder};
use opp2p_core::sync::{ResultCode, ServeId, answer};
use opp2p_store::Store;
use opp2p_wire::Response;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

/// Number of threads that read and compress. One may wait for the disk while the other works.
const READERS: usize = 2;

/// Source of blocks that the node does not hold. It bounds the number of requests in progress, and
/// their time.
pub trait BlockSource: fmt::Debug + Send + Sync {
    /// Returns the canonical block of this number, with a verified hash; an error is the reason why
    /// there is no result, as one sentence.
    fn block(&self, number: u64) -> BoxFuture<'_, Result<Option<Block>, String>>;
}

/// A request for the threads.
#[derive(Debug)]
enum Question {
    /// For a block, which may already be at hand.
    Block(ServeId, u64, Option<Block>),
    /// For a chunk of a range.
    Range(RangeServeId, ReadOrder),
}

/// An answer of the threads.
#[derive(Debug)]
pub(super) enum Answered {
    Block(ServeId, Response),
    Range(RangeServeId, ReadDone),
}

/// The threads, with the channels to and from them.
#[derive(Debug)]
pub(super) struct Requests {
    /// `None` only while this is being dropped.
    questions: Option<Sender<Question>>,
    readers: Vec<JoinHandle<()>>,
    answered: mpsc::UnboundedReceiver<Answered>,
}

impl Requests {
    /// Starts the threads. Dropping this ends them and waits for that, since they hold the store
    /// open.
    pub(super) fn start(
        core: &Core,
        store: &Store,
        source: Option<Arc<dyn BlockSource>>,
    ) -> io::Result<Self> {
        let elsewhere = source.map(|source| FallbackSource { source, runtime: Handle::current() });
        let (questions, queue) = channel();
        let queue = Arc::new(Mutex::new(queue));
        let (answers, answered) = mpsc::unbounded_channel();
        let mut readers = Vec::new();
        for index in 0..READERS {
            let (core, store, elsewhere) = (core.clone(), store.clone(), elsewhere.clone());
            let (queue, answers) = (Arc::clone(&queue), answers.clone());
            let reader = move || look_up(&core, &store, elsewhere.as_ref(), &queue, &answers);
            readers.push(thread::Builder::new().name(format!("serve-{index}")).spawn(reader)?);
        }
        Ok(Self { questions: Some(questions), readers, answered })
    }

    /// Queues a request for the threads, since reading and compressing take time.
    pub(super) fn look_up(&self, id: ServeId, number: u64, held: Option<Block>) {
        self.send(Question::Block(id, number, held));
    }

    /// Queues an order to read a part of a range.
    pub(super) fn read(&self, id: RangeServeId, order: ReadOrder) {
        self.send(Question::Range(id, order));
    }

    fn send(&self, question: Question) {
        // The threads live as long as this.
        if let Some(questions) = &self.questions {
            let _ = questions.send(question);
        }
    }

    /// Returns the next finished answer.
    pub(super) async fn answered(&mut self) -> Answered {
        match self.answered.recv().await {
            Some(answer) => answer,
            // The threads have ended, which happens only when this is dropped.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        self.questions = None;
        for reader in self.readers.drain(..) {
            // A reader contains its own panics.
            let _ = reader.join();
        }
    }
}

/// Source of blocks that the store lacks.
#[derive(Clone, Debug)]
struct FallbackSource {
    source: Arc<dyn BlockSource>,
    runtime: Handle,
}

impl FallbackSource {
    /// Asks the source, and sends the answer in every case. No thread waits for it.
    fn look_up(&self, id: ServeId, number: u64, answers: mpsc::UnboundedSender<Answered>) {
        let source = Arc::clone(&self.source);
        self.runtime.spawn(async move {
            let found = source.block(number).await;
            if let Err(why) = &found {
                tracing::debug!(
                    target: "opp2p::engine", number, why,
                    "the engine has no block for a peer"
                );
            }
            // Compression takes time.
            let made = tokio::task::spawn_blocking(move || answer(&found).1).await;
            let response = made.unwrap_or_else(|_| vec![ResultCode::UnknownError.byte()]);
            // The node may have stopped meanwhile.
            let _ = answers.send(Answered::Block(id, response));
        });
    }
}

fn look_up(
    core: &Core,
    store: &Store,
    elsewhere: Option<&FallbackSource>,
    queue: &Mutex<Receiver<Question>>,
    answers: &mpsc::UnboundedSender<Answered>,
) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let (id, number, held) = match next {
            Ok(Question::Block(id, number, held)) => (id, number, held),
            Ok(Question::Range(id, order)) => {
                if answers.send(Answered::Range(id, read(store, &order))).is_err() {
                    return;
                }
                continue;
            }
            Err(_) => return,
        };
        let made = catch_unwind(AssertUnwindSafe(|| {
            let found = match held {
                Some(block) => Ok(Some(block)),
                None => canonical::block(core, store, number),
            };
            match (&found, elsewhere) {
                (Ok(None), Some(elsewhere)) => {
                    elsewhere.look_up(id, number, answers.clone());
                    None
                }
                _ => Some(answer(&found).1),
            }
        }));
        let Some(response) = made.unwrap_or_else(|_| Some(vec![ResultCode::UnknownError.byte()]))
        else {
            continue;
        };
        if answers.send(Answered::Block(id, response)).is_err() {
            return;
        }
    }
}

fn read(store: &Store, order: &ReadOrder) -> ReadDone {
    let read = catch_unwind(AssertUnwindSafe(|| store.read_range(order)));
    read.ok().and_then(Result::ok).unwrap_or_else(ReadDone::failed)
}
