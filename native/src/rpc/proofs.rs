//! Proved reads: answers of untrusted endpoints, verified against the node's own blocks. This is
//! the shell of the core's [`Reader`].
//!
//! # Bounds
//! Those of the [reader](opp2p_core::proof::reader), and a queue of [`MAX_READS`] calls. One task
//! verifies the answers one after another.

use super::error::{ANSWER_TOO_LONG, BUSY, CallError, FAILED, INVALID_PARAMS, REVERTED, UNPROVED};
use super::eth::Eth;
use super::params::{Answer, failed, raw};
use futures::future::{AbortHandle, BoxFuture, abortable};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use opp2p_core::chain::BlockId;
use opp2p_core::node::Event;
#[cfg(feature = "evm")]
use opp2p_core::proof::call::RuleSchedule;
use opp2p_core::proof::call::{Job, Report};
use opp2p_core::proof::reader::{
    ExecutionId, FetchFailure, FetchId, MAX_READS, ReadError, ReadId, Reader, ReaderConfig,
    ReaderOutput,
};
use opp2p_node::host::{HostEvent, HostEventKind, HostHandle};
use opp2p_node::http::{self, HttpClient, HttpConfig, HttpError};
use serde_json::Value;
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::sleep_until;

/// Timeout of a proved call, which is longer than that of a read.
pub(super) const PROOF_TIME: Duration = Duration::from_secs(45);

type Proved = Result<Value, ReadError>;
type Executed = (ExecutionId, Result<Report, String>);
type Fetched = (FetchId, Option<Result<Value, FetchFailure>>);

/// A call of a proved method.
#[derive(Debug)]
struct Call {
    method: &'static str,
    params: Value,
    answer: oneshot::Sender<Proved>,
}

/// Handle to the prover. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Proofs(mpsc::Sender<Call>);

impl Proofs {
    /// Returns the proved result of a call.
    pub(super) async fn call(&self, method: &'static str, params: Value) -> Answer {
        let (answer, proved) = oneshot::channel();
        let ended = || failed("the node has stopped");
        self.0.send(Call { method, params, answer }).await.map_err(|_| ended())?;
        match proved.await.map_err(|_| ended())? {
            Ok(value) => raw(&value),
            Err(error) => {
                let data = error.data().clone();
                Err(CallError::new(code(&error), error.to_string()).with_data(data))
            }
        }
    }
}

/// Returns this server's error code for a failed read.
fn code(error: &ReadError) -> i32 {
    match error {
        ReadError::BadParams { .. } | ReadError::Range(_) => INVALID_PARAMS,
        ReadError::TooManyReads => BUSY,
        ReadError::TooLarge | ReadError::CallTooLarge => ANSWER_TOO_LONG,
        ReadError::Reverted { .. } => REVERTED,
        ReadError::Failed { .. } | ReadError::AllDropped | ReadError::TimedOut => UNPROVED,
        ReadError::Endpoint { code, .. } => i32::try_from(*code).unwrap_or(FAILED),
        _ => FAILED,
    }
}

/// State of the task that proves reads.
struct Prover {
    reader: Reader,
    endpoints: Vec<HttpClient>,
    host: HostHandle,
    eth: Eth,
    events: Receiver<HostEvent>,
    calls: mpsc::Receiver<Call>,
    waiting: HashMap<ReadId, oneshot::Sender<Proved>>,
    fetches: FuturesUnordered<BoxFuture<'static, Fetched>>,
    aborts: HashMap<FetchId, AbortHandle>,
    executions: FuturesUnordered<BoxFuture<'static, Executed>>,
    /// The false answers so far, for the trouble list.
    problem: watch::Sender<Option<String>>,
}

/// Sets up the prover, without connecting. Returns its handle, and its task, which ends with the
/// node.
///
/// # Errors
/// If an HTTP client can't be set up.
pub(super) fn start(
    endpoints: &[HttpConfig],
    host: &HostHandle,
    eth: &Eth,
) -> Result<(Proofs, impl Future<Output = ()> + Send + use<>), HttpError> {
    let clients = endpoints.iter().map(HttpClient::new);
    let (asking, calls) = mpsc::channel(MAX_READS);
    let (problem, told) = watch::channel(None);
    host.set_proofs(told);
    let config = host.core(|node, _| {
        let chain = node.chain();
        ReaderConfig {
            forks: Some(chain.forks),
            #[cfg(feature = "evm")]
            calls: Some(RuleSchedule::of(chain)),
            ..ReaderConfig::new(chain.chain_id, endpoints.len())
        }
    });
    let mut prover = Prover {
        reader: Reader::new(config),
        endpoints: clients.collect::<Result<_, _>>()?,
        // Subscribes before `catch_up` reads the blocks, so that none is missed.
        events: host.events(),
        host: host.clone(),
        eth: eth.clone(),
        calls,
        waiting: HashMap::new(),
        fetches: FuturesUnordered::new(),
        aborts: HashMap::new(),
        executions: FuturesUnordered::new(),
        problem,
    };
    prover.catch_up();
    Ok((Proofs(asking), prover.run()))
}

impl Prover {
    async fn run(mut self) {
        loop {
            self.carry_out();
            let deadline = self.reader.deadline().map(|at| self.host.instant(at));
            let due = async {
                match deadline {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                event = self.events.recv() => match event {
                    Ok(event) => self.take(&event.kind),
                    Err(RecvError::Lagged(_)) => self.catch_up(),
                    Err(RecvError::Closed) => return,
                },
                call = self.calls.recv() => match call {
                    Some(call) => self.begin(call),
                    None => return,
                },
                Some((id, result)) = self.fetches.next() => {
                    self.aborts.remove(&id);
                    if let Some(result) = result {
                        let now = self.host.now().monotonic;
                        self.reader.fetched(id, result, now);
                    }
                }
                Some((id, report)) = self.executions.next() => {
                    let now = self.host.now().monotonic;
                    self.reader.executed(id, report, now);
                }
                () = due => {
                    let now = self.host.now().monotonic;
                    self.reader.wake(now);
                }
            }
        }
    }

    fn take(&mut self, event: &HostEventKind) {
        if let HostEventKind::Core(Event::Chain(event)) = event {
            let now = self.host.now().monotonic;
            self.reader.follow(event, now);
        }
    }

    /// Passes the chain view's blocks to the reader, at the start and after missed events.
    fn catch_up(&mut self) {
        let blocks: Vec<_> = self.host.core(|node, _| node.view().recent().cloned().collect());
        let now = self.host.now().monotonic;
        let newest = self.reader.newest();
        let known = blocks.iter().position(|block| Some(BlockId::of(block)) == newest);
        for block in &blocks[known.map_or(0, |known| known + 1)..] {
            self.reader.head(block, now);
        }
    }

    fn begin(&mut self, call: Call) {
        let now = self.host.now().monotonic;
        // A caller that has gone away holds none of the reader's places.
        let gone: Vec<ReadId> =
            self.waiting.extract_if(|_, waiting| waiting.is_closed()).map(|(id, _)| id).collect();
        for id in gone {
            self.reader.cancel(id, now);
        }
        self.reader.labels(self.eth.labels(&self.host));
        let id = self.reader.request(call.method, &call.params, now);
        self.waiting.insert(id, call.answer);
    }

    /// Executes the reader's outputs.
    fn carry_out(&mut self) {
        while let Some(output) = self.reader.poll() {
            match output {
                ReaderOutput::Fetch { id, endpoint, method, params, limit } => {
                    let Some(client) = self.endpoints.get(endpoint).cloned() else { continue };
                    let (fetch, abort) = abortable(async move {
                        client.call(&method, params, limit).await.map_err(failure)
                    });
                    self.aborts.insert(id, abort);
                    self.fetches.push(fetch.map(move |result| (id, result.ok())).boxed());
                }
                ReaderOutput::Cancel { id } => {
                    if let Some(abort) = self.aborts.remove(&id) {
                        abort.abort();
                    }
                }
                ReaderOutput::Execute { id, job } => {
                    self.executions.push(execute(job).map(move |report| (id, report)).boxed());
                }
                ReaderOutput::Answer { read, result, .. } => {
                    if let Some(waiting) = self.waiting.remove(&read) {
                        // Fails if the caller has given up.
                        let _ = waiting.send(result);
                    }
                }
                ReaderOutput::Dropped { endpoint, method, part } => {
                    let host = self.endpoints.get(endpoint).map_or("", HttpClient::host);
                    let text = format!("{host}: {method}: {part}");
                    // The operator sees it in the node's trouble list.
                    self.problem.send_modify(|problem| {
                        let before = problem.take().map(|before| format!("{before}; "));
                        *problem = Some(before.unwrap_or_default() + &text);
                    });
                }
            }
        }
    }
}

/// Executes a job on a thread for blocking work.
#[cfg(feature = "evm")]
async fn execute(job: Box<Job>) -> Result<Report, String> {
    let work = tokio::task::spawn_blocking(move || opp2p_evm::execute(&job));
    work.await.map_err(|_| "the execution ended by a defect of the program".into())
}

/// Without an executor, the reader asks for no execution.
#[cfg(not(feature = "evm"))]
async fn execute(_: Box<Job>) -> Result<Report, String> {
    Err("this build has no executor".into())
}

fn failure(error: http::CallError) -> FetchFailure {
    match error {
        http::CallError::Http(HttpError::TooLong { .. }) => FetchFailure::TooLarge,
        http::CallError::Refused { code, message, data } => {
            FetchFailure::Refused { code, message, data }
        }
        error => FetchFailure::Transport(error.to_string()),
    }
}
