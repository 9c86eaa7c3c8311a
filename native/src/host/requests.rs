//! Answers to requests for blocks by number: looked up and compressed on threads of their own.
//!
//! # Bounds
//! Those of the core: it bounds the requests of peers that are answered. [`READERS`] threads make the answers. What an
//! engine is asked for is bounded by [`EngineSource`].

use super::persist;
use crate::engine::EngineSource;
use crate::store::Store;
use crate::swarm::Response;
use opp2p_core::chain::ChainConfig;
use opp2p_core::payload::Block;
use opp2p_core::sync::{ResultCode, ServeId, answer};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

/// Threads that read and compress. One may wait for the disk while the other works.
const READERS: usize = 2;

/// A block to answer with: found already, or to be looked for.
type Question = (ServeId, u64, Option<Block>);

/// The threads, and what goes to and fro.
#[derive(Debug)]
pub(super) struct Requests {
    /// `None` only while this is being dropped.
    questions: Option<Sender<Question>>,
    readers: Vec<JoinHandle<()>>,
    answered: mpsc::UnboundedReceiver<(ServeId, Response)>,
}

impl Requests {
    /// Starts the threads; dropping this ends them and waits for that, since they hold the store open.
    pub(super) fn start(
        store: &Store,
        engine: Option<EngineSource>,
        chain: &ChainConfig,
    ) -> io::Result<Self> {
        let elsewhere =
            engine.map(|engine| Elsewhere { engine, chain: chain.clone(), runtime: Handle::current() });
        let (questions, queue) = channel();
        let queue = Arc::new(Mutex::new(queue));
        let (answers, answered) = mpsc::unbounded_channel();
        let mut readers = Vec::new();
        for index in 0..READERS {
            let (store, queue, answers) = (store.clone(), Arc::clone(&queue), answers.clone());
            let elsewhere = elsewhere.clone();
            let reader = move || look_up(&store, elsewhere.as_ref(), &queue, &answers);
            readers.push(thread::Builder::new().name(format!("serve-{index}")).spawn(reader)?);
        }
        Ok(Self { questions: Some(questions), readers, answered })
    }

    /// Has the answer to a request made on another thread: reading and compressing take their time.
    pub(super) fn look_up(&self, id: ServeId, number: u64, held: Option<Block>) {
        // The threads live as long as this.
        if let Some(questions) = &self.questions {
            let _ = questions.send((id, number, held));
        }
    }

    /// The next answer that is ready.
    pub(super) async fn answered(&mut self) -> (ServeId, Response) {
        match self.answered.recv().await {
            Some(answer) => answer,
            // The threads are gone, which only dropping this does.
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

/// Where a block may be that the store lacks.
#[derive(Clone, Debug)]
struct Elsewhere {
    engine: EngineSource,
    chain: ChainConfig,
    runtime: Handle,
}

impl Elsewhere {
    /// Asks there, and answers whatever comes of it. No thread waits for that.
    fn look_up(&self, id: ServeId, number: u64, answers: mpsc::UnboundedSender<(ServeId, Response)>) {
        let (engine, chain) = (self.engine.clone(), self.chain.clone());
        self.runtime.spawn(async move {
            let found = engine.block(&chain, number).await;
            if let Err(why) = &found {
                tracing::debug!(target: "opp2p::engine", number, why, "the engine has no block for a peer");
            }
            // Compressing takes its time.
            let made = tokio::task::spawn_blocking(move || answer(&found).1).await;
            let response = made.unwrap_or_else(|_| vec![ResultCode::UnknownError.byte()]);
            // The node may have stopped meanwhile.
            let _ = answers.send((id, response));
        });
    }
}

fn look_up(
    store: &Store,
    elsewhere: Option<&Elsewhere>,
    queue: &Mutex<Receiver<Question>>,
    answers: &mpsc::UnboundedSender<(ServeId, Response)>,
) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((id, number, held)) = next else { return };
        let made = catch_unwind(AssertUnwindSafe(|| {
            let found = match held {
                Some(block) => Ok(Some(block)),
                None => store.canonical_by_number(number).map(|record| record.and_then(persist::loaded)),
            };
            match (&found, elsewhere) {
                (Ok(None), Some(elsewhere)) => {
                    elsewhere.look_up(id, number, answers.clone());
                    None
                }
                _ => Some(answer(&found).1),
            }
        }));
        let Some(response) = made.unwrap_or_else(|_| Some(vec![ResultCode::UnknownError.byte()])) else {
            continue;
        };
        if answers.send((id, response)).is_err() {
            return;
        }
    }
}
