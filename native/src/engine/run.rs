//! The task that carries out the outputs of the core's state machine.

use super::client::EngineClient;
use crate::sequencer::SequencerHandle;
use alloy_rpc_types_engine::JwtSecret;
use futures::FutureExt;
use futures::future::{BoxFuture, OptionFuture};
use opp2p_core::chain::ChainConfig;
use opp2p_core::engine::{
    DevelopmentL1, Engine, EngineConfig, EngineEvent, EngineFailure, EngineInput, EngineOutput,
    EngineState, EngineStatus, LabelsFailure, Mismatch, Sequencing,
};
use opp2p_core::payload::{Block, Envelope};
use opp2p_core::time::Now;
use opp2p_node::host::{HostHandle, Stopped};
use opp2p_node::http::{HttpConfig, HttpError};
use opp2p_node::panics::guard;
use std::convert::Infallible;
use std::fmt;
use std::time::Duration;
use tokio::sync::{broadcast, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep_until;

/// Timeout of the first call, at the start of a node.
pub const FIRST_TIMEOUT: Duration = Duration::from_secs(5);
/// Number of events kept for a slow listener; beyond that, it misses some.
const EVENTS_KEPT: usize = 256;

/// The engine's endpoint, and its purposes.
#[derive(Clone)]
pub struct EngineSetup {
    /// Endpoint of the Engine API (`--l2`), and the timeout of a call.
    pub http: HttpConfig,
    /// Secret that the engine shares with this node (`--l2.jwt-secret`).
    pub jwt: JwtSecret,
    /// An RPC that reports the safe and finalized blocks in place of the engine itself
    /// (`--l2.labels`).
    pub labels: Option<HttpConfig>,
    /// L1 as seen by a development chain's sequencer; `None` builds no blocks.
    pub sequencer: Option<DevelopmentL1>,
    /// Whether to build blocks only on request (`--sequencer.stopped`).
    pub stopped: bool,
}

impl fmt::Debug for EngineSetup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { http, labels, sequencer, stopped, .. } = self;
        f.debug_struct("EngineSetup")
            .field("http", http)
            .field("labels", labels)
            .field("sequencer", sequencer)
            .field("stopped", stopped)
            .finish_non_exhaustive()
    }
}

/// Reasons why an engine can't be used from the start. Each message is one sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The endpoint is invalid.
    #[error("the address of the execution client is wrong: {0}")]
    Endpoint(HttpError),
    /// The endpoint for labels is invalid.
    #[error("the address of the node that reports labels is wrong: {0}")]
    Labels(HttpError),
    /// The node that reports the labels can't be used.
    #[error("the node that reports labels can't be used: {0}")]
    NoLabels(LabelsFailure),
    /// The engine belongs to another chain.
    #[error("the engine is not the one for this chain: {0}")]
    Mismatch(Mismatch),
    /// The engine refuses the calls.
    #[error("can't use the execution client: {0}")]
    Refused(EngineFailure),
}

impl EngineSetup {
    /// Reads the engine's state before a node starts. Returns `None` if the engine can't be
    /// reached: it may start later.
    ///
    /// # Errors
    /// If the engine, or the node that reports the labels, answers but can't be used for this
    /// chain.
    pub async fn first_look(
        &self,
        chain: &ChainConfig,
        now: Now,
    ) -> Result<Option<EngineState>, StartError> {
        if let Some(labels) = &self.labels {
            let timeout = FIRST_TIMEOUT.min(labels.timeout);
            let http = HttpConfig { timeout, ..labels.clone() };
            let source = EngineClient::new(&http, None).map_err(StartError::Labels)?;
            match source.foreign_labels(chain.chain_id).await {
                // Another failure may be temporary.
                Ok(_) | Err(LabelsFailure::NoAnswer(_)) => {}
                Err(failure) => return Err(StartError::NoLabels(failure)),
            }
        }
        let timeout = FIRST_TIMEOUT.min(self.http.timeout);
        let http = HttpConfig { timeout, ..self.http.clone() };
        let client = EngineClient::new(&http, Some(self.jwt)).map_err(StartError::Endpoint)?;
        match client.state(chain, None).await {
            Ok(state) => match opp2p_core::engine::mismatch(chain, now, &state) {
                Some(mismatch) => Err(StartError::Mismatch(mismatch)),
                None => Ok(Some(state)),
            },
            Err(EngineFailure::Unreachable(_)) => Ok(None),
            Err(failure) => Err(StartError::Refused(failure)),
        }
    }
}

/// The running link to an engine. Dropping it stops the task.
#[derive(Debug)]
pub struct EngineLink {
    status: watch::Receiver<EngineStatus>,
    events: broadcast::Sender<EngineEvent>,
    sequencer: SequencerHandle,
    alive: oneshot::Sender<Infallible>,
    task: JoinHandle<Option<()>>,
}

impl EngineLink {
    /// Starts to send the chain of a running node to the engine. The receiver gets all events, from
    /// the first on.
    ///
    /// # Errors
    /// If an endpoint is invalid.
    pub fn start(
        host: HostHandle,
        setup: &EngineSetup,
    ) -> Result<(Self, broadcast::Receiver<EngineEvent>), StartError> {
        let client =
            EngineClient::new(&setup.http, Some(setup.jwt)).map_err(StartError::Endpoint)?;
        let labels = setup.labels.as_ref().map(|http| EngineClient::new(http, None)).transpose();
        let labels = labels.map_err(StartError::Labels)?;
        let chain = host.core(|node, _| node.chain().clone());
        let config = EngineConfig {
            chain: chain.clone(),
            sequencer: setup.sequencer,
            reads_labels: labels.is_some(),
        };
        let mut engine = Engine::new(host.now(), config);
        if setup.stopped {
            engine.handle(host.now(), EngineInput::Sequence(false));
        }
        let (wanted, commands) = watch::channel(!setup.stopped);
        let (sequencing, state) = watch::channel(engine.sequencing());
        let sequencer = SequencerHandle { host: host.clone(), wanted, state };
        let (told, status) = watch::channel(engine.status());
        let (events, heard) = broadcast::channel(EVENTS_KEPT);
        host.set_engine(status.clone());
        let (alive, end) = oneshot::channel();
        let task = Task {
            engine,
            client,
            labels,
            chain,
            host,
            status: told,
            sequencing,
            commands,
            events: events.clone(),
        };
        let task = tokio::spawn(guard("engine", task.run(end)));
        Ok((Self { status, events, sequencer, alive, task }, heard))
    }

    /// Returns the engine's status and its changes.
    pub fn status(&self) -> watch::Receiver<EngineStatus> {
        self.status.clone()
    }

    /// Returns a handle that starts and stops block building.
    pub fn sequencer(&self) -> SequencerHandle {
        self.sequencer.clone()
    }

    /// Returns a receiver of the events from now on.
    pub fn events(&self) -> broadcast::Receiver<EngineEvent> {
        self.events.subscribe()
    }

    /// Stops the task, and abandons any call in progress.
    pub async fn stop(self) {
        drop(self.alive);
        // The task contains its own panics.
        let _ = self.task.await;
    }
}

struct Task {
    engine: Engine,
    client: EngineClient,
    labels: Option<EngineClient>,
    chain: ChainConfig,
    host: HostHandle,
    status: watch::Sender<EngineStatus>,
    sequencing: watch::Sender<Sequencing>,
    /// Whether the operator wants blocks to be built.
    commands: watch::Receiver<bool>,
    events: broadcast::Sender<EngineEvent>,
}

impl Task {
    async fn run(mut self, mut end: oneshot::Receiver<Infallible>) {
        let mut node = self.host.status();
        if let Some(head) = node.borrow_and_update().head {
            self.engine.handle(self.host.now(), EngineInput::Head(head));
        }
        let mut call: OptionFuture<BoxFuture<'static, EngineInput>> = None.into();
        let mut is_calling = false;
        let mut reading: OptionFuture<BoxFuture<'static, EngineInput>> = None.into();
        let mut is_reading = false;
        loop {
            while let Some(output) = self.engine.poll() {
                match output {
                    EngineOutput::Event(event) => {
                        // Having no listener is not an error.
                        let _ = self.events.send(event);
                    }
                    EngineOutput::ReadLabels => {
                        let read = self.read_labels();
                        (is_reading, reading) = (read.is_some(), read.into());
                    }
                    output => (call, is_calling) = (Some(self.carry_out(output)).into(), true),
                }
            }
            let status = self.engine.status();
            self.status.send_if_modified(|before| {
                let is_news = *before != status;
                *before = status;
                is_news
            });
            self.sequencing.send_if_modified(|before| {
                let now = self.engine.sequencing();
                std::mem::replace(before, now) != now
            });
            let wakeup = self.engine.next_wakeup().map(|at| self.host.instant(at));
            let input = tokio::select! {
                _ = &mut end => return,
                changed = node.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    node.borrow_and_update().head.map(EngineInput::Head)
                }
                // The sender is dropped with the last handle.
                Ok(()) = self.commands.changed() => {
                    Some(EngineInput::Sequence(*self.commands.borrow_and_update()))
                }
                answer = &mut call, if is_calling => {
                    is_calling = false;
                    answer
                }
                said = &mut reading, if is_reading => {
                    is_reading = false;
                    said
                }
                () = sleep_until(wakeup.unwrap_or_else(tokio::time::Instant::now)),
                if wakeup.is_some() => {
                    Some(EngineInput::Wake)
                }
            };
            if let Some(input) = input {
                self.engine.handle(self.host.now(), input);
            }
        }
    }

    /// Reads the labels of another node; `None` without one.
    fn read_labels(&self) -> Option<BoxFuture<'static, EngineInput>> {
        let (source, chain_id) = (self.labels.clone()?, self.chain.chain_id);
        let reading = async move {
            match source.foreign_labels(chain_id).await {
                Ok(labels) => EngineInput::Labels(labels),
                Err(failure) => EngineInput::LabelsFailed(failure),
            }
        };
        Some(reading.boxed())
    }

    fn carry_out(&self, output: EngineOutput) -> BoxFuture<'static, EngineInput> {
        let (client, chain, host) = (self.client.clone(), self.chain.clone(), self.host.clone());
        async move {
            match output {
                EngineOutput::ReadState { at } => {
                    EngineInput::State(client.state(&chain, at).await)
                }
                EngineOutput::Load(number) => EngineInput::Loaded(canonical(host, number).await),
                EngineOutput::NewPayload { block, method } => {
                    EngineInput::NewPayload(client.new_payload(&block, method).await)
                }
                EngineOutput::ForkchoiceUpdated(choice) => {
                    let updated = client.forkchoice_updated(&choice, None).await;
                    EngineInput::ForkchoiceUpdated(updated.map(|(status, _)| status))
                }
                EngineOutput::Build(choice, attributes) => {
                    let updated = client.forkchoice_updated(&choice, Some(&attributes)).await;
                    EngineInput::Building(updated.and_then(|(status, id)| {
                        id.ok_or_else(|| {
                            EngineFailure::Other(format!("it builds nothing: {status:?}"))
                        })
                    }))
                }
                EngineOutput::GetPayload { id, method, version } => {
                    let built = client.get_payload(&id, method, version).await;
                    EngineInput::Built(built.map(Box::new))
                }
                EngineOutput::Publish(envelope) => publish(host, *envelope).await,
                EngineOutput::Event(_) | EngineOutput::ReadLabels => EngineInput::Wake,
            }
        }
        .boxed()
    }
}

/// Returns the canonical block of a number, or `None`. A store that can't be read also gives
/// `None`: that error is reported elsewhere.
async fn canonical(host: HostHandle, number: u64) -> Option<Block> {
    let read = tokio::task::spawn_blocking(move || host.canonical_block(number).ok().flatten());
    read.await.ok().flatten()
}

/// Inserts a built block into our own chain and starts to publish it, without waiting for the
/// result: a sequencer without peers continues. A block that can't be published is reported as a
/// trouble.
async fn publish(host: HostHandle, envelope: Envelope) -> EngineInput {
    let inserted: Result<_, Stopped> = host.insert(envelope.clone()).await;
    match inserted {
        Ok(Ok(_)) => {
            tokio::spawn(async move {
                let number = envelope.payload.block_number;
                if let Ok(Err(error)) = host.publish(envelope).await {
                    tracing::debug!(target: "opp2p::engine", number, %error, "not published");
                }
            });
        }
        Ok(Err(error)) => {
            tracing::warn!(
                target: "opp2p::engine", %error,
                "a block that the engine built is not taken"
            );
        }
        Err(Stopped) => {}
    }
    EngineInput::Wake
}
