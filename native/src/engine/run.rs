//! The task that does what the core's machine says.

use super::client::EngineClient;
use super::{FIRST_TIMEOUT, LABELS_EVERY, TIMEOUT};
use crate::host::{HostHandle, Stopped};
use crate::http::{HttpConfig, HttpError};
use crate::panics::guard;
use alloy_rpc_types_engine::JwtSecret;
use futures::FutureExt;
use futures::future::{BoxFuture, OptionFuture};
use opp2p_core::chain::{ChainConfig, Labels};
use opp2p_core::engine::{
    DevelopmentL1, Engine, EngineConfig, EngineEvent, EngineFailure, EngineInput, EngineOutput, EngineState,
    EngineStatus, Mismatch,
};
use opp2p_core::payload::{Block, Envelope};
use opp2p_core::time::Now;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{broadcast, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep_until};

/// Events that a slow listener may be behind before it misses some.
const EVENTS_KEPT: usize = 256;

/// Which engine, and what it is for.
#[derive(Clone)]
pub struct EngineSetup {
    /// Where its Engine API is (`--l2`).
    pub http: HttpConfig,
    /// The secret that it shares with this node (`--l2.jwt-secret`).
    pub jwt: JwtSecret,
    /// An RPC that says which blocks are safe and finalized, in place of the engine itself (`--l2.labels`).
    pub labels: Option<HttpConfig>,
    /// To build blocks of a development chain, what it knows of L1.
    pub sequencer: Option<DevelopmentL1>,
}

impl fmt::Debug for EngineSetup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { http, labels, sequencer, .. } = self;
        f.debug_struct("EngineSetup")
            .field("http", http)
            .field("labels", labels)
            .field("sequencer", sequencer)
            .finish_non_exhaustive()
    }
}

/// Why an engine is of no use from the start. Each message is one sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The endpoint is none.
    #[error("--l2: {0}")]
    Endpoint(HttpError),
    /// The endpoint for labels is none.
    #[error("--l2.labels: {0}")]
    Labels(HttpError),
    /// It is another chain's.
    #[error("the engine at --l2 is not the one for this chain: {0}")]
    Mismatch(Mismatch),
    /// It does not let us in.
    #[error("the engine at --l2 is of no use: {0}")]
    Refused(EngineFailure),
}

impl EngineSetup {
    /// Asks the engine how it stands, before a node starts. `None` if nobody answers: it may come later.
    ///
    /// # Errors
    /// If it is there and is not the engine for this chain.
    pub async fn first_look(&self, chain: &ChainConfig, now: Now) -> Result<Option<EngineState>, StartError> {
        let http = HttpConfig { timeout: FIRST_TIMEOUT, ..self.http.clone() };
        let client = EngineClient::new(&http, Some(self.jwt)).map_err(StartError::Endpoint)?;
        match client.state(chain).await {
            Ok(state) => match opp2p_core::engine::mismatch(chain, now, &state) {
                Some(mismatch) => Err(StartError::Mismatch(mismatch)),
                None => Ok(Some(state)),
            },
            Err(EngineFailure::Unreachable(_)) => Ok(None),
            Err(failure) => Err(StartError::Refused(failure)),
        }
    }
}

/// An engine that is being fed. Dropping it ends that.
#[derive(Debug)]
pub struct EngineLink {
    status: watch::Receiver<EngineStatus>,
    events: broadcast::Sender<EngineEvent>,
    alive: oneshot::Sender<Infallible>,
    task: JoinHandle<Option<()>>,
}

impl EngineLink {
    /// Begins to feed the engine with the chain of a node that runs. What happens from the start on is heard by the
    /// receiver.
    ///
    /// # Errors
    /// If an endpoint is none.
    pub fn start(
        host: HostHandle,
        setup: &EngineSetup,
    ) -> Result<(Self, broadcast::Receiver<EngineEvent>), StartError> {
        let http = HttpConfig { timeout: TIMEOUT, ..setup.http.clone() };
        let client = EngineClient::new(&http, Some(setup.jwt)).map_err(StartError::Endpoint)?;
        let labels = setup.labels.as_ref().map(|http| EngineClient::new(http, None)).transpose();
        let labels = labels.map_err(StartError::Labels)?;
        let chain = host.core(|node, _| node.chain().clone());
        let config = EngineConfig { chain: chain.clone(), sequencer: setup.sequencer };
        let engine = Engine::new(host.now(), config);
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
            events: events.clone(),
            is_lonely: Arc::default(),
        };
        let task = tokio::spawn(guard("engine", task.run(end)));
        Ok((Self { status, events, alive, task }, heard))
    }

    /// How the engine is doing, now and whenever that changes.
    pub fn status(&self) -> watch::Receiver<EngineStatus> {
        self.status.clone()
    }

    /// What happens from now on.
    pub fn events(&self) -> broadcast::Receiver<EngineEvent> {
        self.events.subscribe()
    }

    /// Ends it; a call under way is given up.
    pub async fn stop(self) {
        drop(self.alive);
        // It contains its own panics.
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
    events: broadcast::Sender<EngineEvent>,
    /// The last block that was built did not reach anybody.
    is_lonely: Arc<AtomicBool>,
}

impl Task {
    async fn run(mut self, mut end: oneshot::Receiver<Infallible>) {
        let mut node = self.host.status();
        if let Some(head) = node.borrow_and_update().head {
            self.engine.handle(self.host.now(), EngineInput::Head(head));
        }
        let mut call: OptionFuture<BoxFuture<'static, EngineInput>> = None.into();
        let mut is_calling = false;
        let mut reading: OptionFuture<BoxFuture<'static, Option<Labels>>> = None.into();
        let mut is_reading = false;
        let mut labels = interval(LABELS_EVERY);
        labels.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            while let Some(output) = self.engine.poll() {
                match output {
                    EngineOutput::Event(event) => {
                        // Nobody listening is no error.
                        let _ = self.events.send(event);
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
            let wakeup = self.engine.next_wakeup().map(|at| self.host.instant(at));
            let input = tokio::select! {
                _ = &mut end => return,
                changed = node.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    node.borrow_and_update().head.map(EngineInput::Head)
                }
                answer = &mut call, if is_calling => {
                    is_calling = false;
                    answer
                }
                _ = labels.tick(), if self.labels.is_some() && !is_reading => {
                    (reading, is_reading) = (self.read_labels().into(), true);
                    None
                }
                said = &mut reading, if is_reading => {
                    is_reading = false;
                    said.flatten().map(EngineInput::Labels)
                }
                () = sleep_until(wakeup.unwrap_or_else(tokio::time::Instant::now)), if wakeup.is_some() => {
                    Some(EngineInput::Wake)
                }
            };
            if let Some(input) = input {
                self.engine.handle(self.host.now(), input);
            }
        }
    }

    /// What somebody else says; nothing if he does not answer: then what he said before still holds.
    fn read_labels(&self) -> Option<BoxFuture<'static, Option<Labels>>> {
        let source = self.labels.clone()?;
        Some(async move { source.labels().await.ok() }.boxed())
    }

    fn carry_out(&self, output: EngineOutput) -> BoxFuture<'static, EngineInput> {
        let (client, chain, host) = (self.client.clone(), self.chain.clone(), self.host.clone());
        let is_lonely = Arc::clone(&self.is_lonely);
        async move {
            match output {
                EngineOutput::ReadState => EngineInput::State(client.state(&chain).await),
                EngineOutput::Load(number) => EngineInput::Loaded(canonical(host, number).await),
                EngineOutput::NewPayload(block) => EngineInput::NewPayload(client.new_payload(&block).await),
                EngineOutput::ForkchoiceUpdated(choice) => {
                    let updated = client.forkchoice_updated(&choice, None).await;
                    EngineInput::ForkchoiceUpdated(updated.map(|(status, _)| status))
                }
                EngineOutput::Build(choice, attributes) => {
                    let updated = client.forkchoice_updated(&choice, Some(&attributes)).await;
                    EngineInput::Building(updated.and_then(|(status, id)| {
                        id.ok_or_else(|| EngineFailure::Other(format!("it builds nothing: {status:?}")))
                    }))
                }
                EngineOutput::GetPayload { id, version } => {
                    EngineInput::Built(client.get_payload(&id, version).await.map(Box::new))
                }
                EngineOutput::Publish(envelope) => publish(host, *envelope, is_lonely).await,
                EngineOutput::Event(_) => EngineInput::Wake,
            }
        }
        .boxed()
    }
}

/// The canonical block of a number; none if the store can't be read, which is told elsewhere.
async fn canonical(host: HostHandle, number: u64) -> Option<Block> {
    let read = tokio::task::spawn_blocking(move || host.canonical_block(number).ok().flatten());
    read.await.ok().flatten()
}

/// Puts a block that was built into our own chain, and sends it on its way. That it gets there is not waited for: who has
/// no peers sequences all the same.
async fn publish(host: HostHandle, envelope: Envelope, is_lonely: Arc<AtomicBool>) -> EngineInput {
    let inserted: Result<_, Stopped> = host.insert(envelope.clone()).await;
    match inserted {
        Ok(Ok(_)) => {
            tokio::spawn(async move {
                let number = envelope.payload.block_number;
                match host.publish(envelope).await {
                    Ok(Ok(_)) => is_lonely.store(false, Ordering::Relaxed),
                    // Once: a chain that is built without any peer has a block every second or two.
                    Ok(Err(error)) if !is_lonely.swap(true, Ordering::Relaxed) => {
                        tracing::warn!(target: "opp2p::engine", number, %error, "blocks that are built are not published");
                    }
                    Ok(Err(_)) | Err(Stopped) => {}
                }
            });
        }
        Ok(Err(error)) => {
            tracing::warn!(target: "opp2p::engine", %error, "a block that the engine built is not taken");
        }
        Err(Stopped) => {}
    }
    EngineInput::Wake
}
