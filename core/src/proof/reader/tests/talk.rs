//! Connects a reader to simulated servers, in virtual time.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};

use super::transactions::CHAIN;
use super::world::World;
use crate::chain::BlockId;
use crate::proof::call::{Job, Report};
use crate::proof::reader::{
    ExecutionId, FetchFailure, FetchId, ReadError, ReadId, Reader, ReaderConfig, ReaderOutput,
};
use crate::time::Instant;

/// Changes an answer, given the method.
pub(super) type Lie = Rc<dyn Fn(&str, Value) -> Value>;

/// How a server behaves.
#[derive(Clone)]
pub(super) enum Manner {
    True,
    Lies(Lie),
    /// It never answers.
    Silent,
    /// It is unreachable.
    Gone,
    /// It refuses with this code.
    Refuses(i64),
}

#[derive(Clone)]
pub(super) struct Server {
    pub(super) manner: Manner,
    /// Its newest block.
    pub(super) height: u64,
}

/// An answer, its block, and whether it is verified.
pub(super) type Answer = (Result<Value, ReadError>, Option<BlockId>, bool);

/// Executes a job.
pub(super) type Executor = fn(&Job) -> Result<Report, String>;

pub(super) struct Talk {
    pub(super) world: Rc<World>,
    pub(super) reader: Reader,
    pub(super) servers: Vec<Server>,
    pub(super) now: Duration,
    /// Requests in flight: id, endpoint, method, parameters.
    pub(super) waiting: VecDeque<(FetchId, usize, String, Value)>,
    pub(super) executor: Executor,
    /// Executions in progress.
    pub(super) executing: VecDeque<(ExecutionId, Box<Job>)>,
    /// Every job so far.
    pub(super) jobs: Vec<Job>,
    pub(super) answers: BTreeMap<ReadId, Answer>,
    pub(super) dropped: Vec<(usize, String, String)>,
    /// Every request so far: endpoint, method, parameters.
    pub(super) asked: Vec<(usize, String, Value)>,
}

impl fmt::Debug for Talk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Talk").field("asked", &self.asked).finish_non_exhaustive()
    }
}

pub(super) fn config(servers: usize) -> ReaderConfig {
    ReaderConfig { unverified: vec!["eth_gasPrice".into()], ..ReaderConfig::new(CHAIN, servers) }
}

impl Talk {
    /// Starts with truthful servers, and the blocks from `first` on.
    pub(super) fn new(world: &Rc<World>, config: ReaderConfig, first: u64) -> Self {
        let height = world.blocks.len() as u64 - 1;
        let server = Server { manner: Manner::True, height };
        let mut talk = Self {
            world: world.clone(),
            servers: vec![server; config.endpoints],
            reader: Reader::new(config),
            now: Duration::ZERO,
            waiting: VecDeque::new(),
            executor: |_| Err("there is no executor".into()),
            executing: VecDeque::new(),
            jobs: Vec::new(),
            answers: BTreeMap::new(),
            dropped: Vec::new(),
            asked: Vec::new(),
        };
        for block in &world.blocks[first as usize..] {
            talk.reader.head(block, talk.at());
        }
        talk
    }

    pub(super) fn at(&self) -> Instant {
        Instant::from_start(self.now)
    }

    pub(super) fn manners(&mut self, manners: &[Manner]) -> &mut Self {
        for (server, manner) in self.servers.iter_mut().zip(manners) {
            server.manner = manner.clone();
        }
        self
    }

    pub(super) fn heights(&mut self, heights: &[u64]) -> &mut Self {
        for (server, height) in self.servers.iter_mut().zip(heights) {
            server.height = *height;
        }
        self
    }

    pub(super) fn begin(&mut self, method: &str, params: &Value) -> ReadId {
        let id = self.reader.request(method, params, self.at());
        self.drain();
        id
    }

    /// Executes all outputs.
    pub(super) fn drain(&mut self) {
        while let Some(output) = self.reader.poll() {
            match output {
                ReaderOutput::Fetch { id, endpoint, method, params, limit } => {
                    assert!(limit > 0 && params.is_array());
                    self.asked.push((endpoint, method.to_string(), params.clone()));
                    self.waiting.push_back((id, endpoint, method.into_owned(), params));
                }
                ReaderOutput::Cancel { id } => {
                    let before = self.waiting.len();
                    self.waiting.retain(|(waiting, ..)| *waiting != id);
                    assert_eq!(self.waiting.len() + 1, before, "an unknown request");
                }
                ReaderOutput::Execute { id, job } => {
                    self.jobs.push((*job).clone());
                    self.executing.push_back((id, job));
                }
                ReaderOutput::Answer { read, result, block, is_verified } => {
                    let answer = (result, block, is_verified);
                    assert_eq!(self.answers.insert(read, answer), None, "two answers");
                }
                ReaderOutput::Dropped { endpoint, method, part } => {
                    self.dropped.push((endpoint, method.into_owned(), part));
                }
            }
        }
    }

    fn result(&self, endpoint: usize, method: &str, params: &Value) -> Option<Outcome> {
        let server = &self.servers[endpoint];
        let answer = self.world.answer(server.height, method, params);
        Some(match &server.manner {
            Manner::True => answer,
            Manner::Lies(lie) => answer.map(|answer| lie(method, answer)),
            Manner::Silent => return None,
            Manner::Gone => Err(FetchFailure::Transport("the connection was refused".into())),
            Manner::Refuses(code) => Err(FetchFailure::Refused {
                code: *code,
                message: "not today".into(),
                data: json!("0x1234"),
            }),
        })
    }

    /// Delivers the answer of the first server that has one, or advances the time to the next
    /// deadline. Returns `false` if nothing is left to do.
    pub(super) fn step(&mut self) -> bool {
        if self.execute() {
            return true;
        }
        // Each answer is computed once, since a server may lie only the first time.
        let is_silent = |at: &usize| matches!(self.servers[*at].manner, Manner::Silent);
        let found = self.waiting.iter().position(|(_, at, ..)| !is_silent(at));
        if let Some(found) = found {
            let (id, endpoint, method, params) = self.waiting.remove(found).expect("found");
            let result = self.result(endpoint, &method, &params).expect("it answers");
            self.now += Duration::from_millis(20);
            self.reader.fetched(id, result, self.at());
        } else if let Some(deadline) = self.reader.deadline() {
            self.now = deadline.since_start().max(self.now);
            self.reader.wake(self.at());
            let due = self.reader.deadline();
            assert!(due.is_none_or(|due| due > self.at()), "it is due again at once");
        } else {
            return false;
        }
        self.drain();
        true
    }

    /// Ends the first execution. Returns `false` if none is in progress.
    pub(super) fn execute(&mut self) -> bool {
        let Some((id, job)) = self.executing.pop_front() else { return false };
        self.reader.executed(id, (self.executor)(&job), self.at());
        self.drain();
        true
    }

    /// Waits for the answer to a read.
    pub(super) fn wait(&mut self, id: ReadId) -> Answer {
        for _ in 0..20_000 {
            if let Some(answer) = self.answers.remove(&id) {
                return answer;
            }
            assert!(self.step(), "nothing is left to do, and there is no answer");
        }
        panic!("no answer");
    }

    pub(super) fn ask(&mut self, method: &str, params: &Value) -> Answer {
        let id = self.begin(method, params);
        self.wait(id)
    }

    /// Returns the result, which must be verified.
    pub(super) fn proved(&mut self, method: &str, params: &Value) -> Value {
        let (result, _, is_verified) = self.ask(method, params);
        assert!(is_verified);
        result.unwrap_or_else(|error| panic!("{method} {params}: {error}"))
    }

    pub(super) fn error(&mut self, method: &str, params: &Value) -> ReadError {
        let (result, block, _) = self.ask(method, params);
        assert_eq!(block, None);
        result.expect_err(method)
    }

    /// Returns the number of requests for this method so far.
    pub(super) fn count(&self, method: &str) -> usize {
        self.asked.iter().filter(|(_, asked, _)| asked == method).count()
    }
}

type Outcome = Result<Value, FetchFailure>;
