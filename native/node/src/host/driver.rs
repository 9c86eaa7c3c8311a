//! The driver's loop: feeds events to the core and carries out its outputs.
//!
//! [`Wire`] does the network's part. This file has the loop and the outputs; each submodule handles
//! one kind of input or output.

mod command;
mod count;
mod remember;
mod report;
mod sign;
mod store;
mod swarm;

use super::commands::{Callers, Command};
use super::endpoints::Endpoints;
use super::ends::OffRuntime;
use super::event::{HostEvent, HostEventKind, Status};
use super::memory::{Disk, DiskErrors, PeerMemory};
use super::meter::Meter;
use super::native::{DialBacks, Native, NativeEvent};
use super::pool::Pool;
use super::reports::Reporter;
use super::requests::{Answered, Requests};
use super::shared::Core;
use super::signer::{BlockSigner, SignerReport};
use super::storing::StoreResult;
use super::ws::Listening;
use libp2p::swarm::SwarmEvent;
use opp2p_core::gossip::{HEARTBEAT, Signature};
use opp2p_core::node::{Event, Input, JobKind, Output, RangeInput, RangeOutput};
use opp2p_core::peers::SNAPSHOT_INTERVAL;
use opp2p_core::sequencer::PublishId;
use opp2p_core::sync::range::{RangeServeId, ReadDone};
use opp2p_core::sync::{ResultCode, ServeId};
use opp2p_store::Writer;
use opp2p_wire::{Response, Wire};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, broadcast, mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval, sleep_until};

/// Time that peers have to close their connections when the node stops.
const CLOSE_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(1);

/// Id of a publication, with its signature, or the reason in one sentence why there is none.
pub(super) type Signed = (PublishId, Result<Signature, String>);

/// A running node: the core, and everything that carries out its outputs.
pub(super) struct Driver {
    pub(super) core: Core,
    /// Whether peers are scored.
    pub(super) scores_peers: bool,
    /// When the scores are to be recorded next.
    pub(super) measure_due: Instant,
    pub(super) wire: Wire<Native>,
    pub(super) pool: Pool,
    pub(super) writer: OffRuntime<Writer>,
    /// State of a disk: the error while it fails, or `None` when it takes data again. At most once
    /// a second for each.
    pub(super) disk: mpsc::UnboundedReceiver<(Disk, Option<String>)>,
    pub(super) disk_errors: DiskErrors,
    pub(super) memory: PeerMemory,
    pub(super) is_online: bool,
    pub(super) signer: Option<BlockSigner>,
    /// Channel of finished signatures.
    pub(super) signed: (mpsc::Sender<Signed>, mpsc::Receiver<Signed>),
    /// Notified when blocks of an unknown signer arrive.
    pub(super) hurry: Arc<Notify>,
    /// Ends the reader of L1 when it is dropped with the driver.
    pub(super) reads_l1: oneshot::Sender<Infallible>,
    pub(super) report: watch::Sender<SignerReport>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) callers: Callers,
    pub(super) events: broadcast::Sender<HostEvent>,
    pub(super) status: watch::Sender<Status>,
    pub(super) requests: OffRuntime<Requests>,
    pub(super) endpoints: Endpoints,
    pub(super) listening: Listening,
    /// Events from before the driver ran.
    pub(super) early: Vec<SwarmEvent<NativeEvent>>,
    pub(super) dial_backs: DialBacks,
    pub(super) meter: Arc<Meter>,
    pub(super) reporter: Reporter,
}

impl Driver {
    /// Runs until the other half of `end` is dropped.
    pub(super) async fn run(mut self, mut end: oneshot::Receiver<Infallible>) {
        let mut heartbeat = interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let (stored, mut store_results) = mpsc::unbounded_channel();
        for event in std::mem::take(&mut self.early) {
            self.on_swarm(event);
        }
        loop {
            self.act(&stored);
            let wakeup = self.core.next_wakeup().map(|at| self.core.clock.instant(at));
            tokio::select! {
                event = self.wire.next() => self.on_swarm(event),
                result = self.pool.next() => self.feed(Input::JobDone(result)),
                Some(command) = self.commands.recv() => self.on_command(command),
                _ = &mut end => break,
                Some(result) = store_results.recv() => {
                    self.on_stored(result);
                    // A commit answers for many blocks at once.
                    while let Ok(result) = store_results.try_recv() {
                        self.on_stored(result);
                    }
                }
                Some((disk, error)) = self.disk.recv() => self.on_disk(disk, error),
                answered = self.requests.answered() => match answered {
                    Answered::Block(id, response) => self.respond(id, response),
                    Answered::Range(id, done) => self.on_range_read(id, done),
                },
                (id, result) = self.endpoints.answered() => {
                    self.feed(Input::Response { id, result });
                }
                Some((id, result)) = self.signed.1.recv() => {
                    self.meter.signed_elsewhere(result.is_ok());
                    self.feed(Input::Signed { id, result });
                }
                () = sleep_until(wakeup.unwrap_or_else(far_future)), if wakeup.is_some() => {
                    self.feed(Input::Wake);
                }
                _ = heartbeat.tick() => self.on_heartbeat(),
            }
        }
        self.feed(Input::Stopping);
        self.act(&stored);
        self.write_all_memory();
        self.close().await;
    }

    /// Closes connections, then waits for the disk.
    async fn close(self) {
        let Self { wire, writer, memory, requests, reads_l1, .. } = self;
        drop(reads_l1);
        wire.close(CLOSE_HANDSHAKE_TIMEOUT).await;
        // Each of them writes what is queued, and waits for that.
        let _ = tokio::task::spawn_blocking(|| {
            [Some(writer), memory.place.into_writer()]
                .into_iter()
                .flatten()
                .for_each(OffRuntime::end);
            requests.end();
        })
        .await;
    }

    pub(super) fn feed(&mut self, input: Input) {
        self.core.feed(input);
    }

    pub(super) fn tell(&self, kind: HostEventKind) {
        self.meter.told(&kind);
        // Having no listener is not an error.
        let _ = self.events.send(HostEvent { at: Instant::now(), kind });
    }

    /// Carries out all outputs of the core.
    fn act(&mut self, stored: &mpsc::UnboundedSender<StoreResult>) {
        let mut changed = false;
        while let Some(output) = self.core.poll() {
            match &output {
                Output::Job(job) if job.kind() == JobKind::Pack => self.meter.sent(),
                Output::Refuse { id, code } => self.meter.answered(*id, Some(code.byte())),
                // A block above a gap can be the highest, and no event says so.
                Output::Verdict(_) | Output::Event(_) => changed = true,
                _ => {}
            }
            match self.wire.carry_out(output) {
                Ok(None) => {}
                Ok(Some(input)) => self.feed(input),
                Err(output) => self.carry_out(output, stored),
            }
        }
        let core = &self.core;
        self.wire.write(|peer, window| core.transmit(peer, window));
        self.write_memory(stored);
        if changed {
            self.refresh_chain();
        }
    }

    /// Carries out an output that does not concern the network.
    fn carry_out(&mut self, output: Output, stored: &mpsc::UnboundedSender<StoreResult>) {
        match output {
            Output::Job(job) => {
                if let Some(result) = self.pool.run(job) {
                    self.feed(Input::JobDone(result));
                }
            }
            Output::Verdict(verdict) => self.on_verdict(verdict),
            Output::Sign(request) => self.sign(request),
            Output::ReadSigner => self.hurry.notify_one(),
            Output::Remember(changes) => self.remember(changes),
            Output::Store { id, change } => self.store(id, &change, stored),
            Output::Load(ids) => self.load(&ids, stored),
            Output::Recall(from) => self.recall(from, stored),
            Output::RequestRpc { id, endpoint, body, limit, .. } => {
                self.endpoints.post(id, endpoint, body, limit);
            }
            Output::Serve { id, number, held } => self.requests.look_up(id, number, held),
            Output::Range(RangeOutput::Read { id, order }) => self.requests.read(id, order),
            Output::Event(event) => self.on_core(event),
            // The network's, see `Wire::carry_out`; or those of a node without a router.
            Output::Mesh(_)
            | Output::Send { .. }
            | Output::Dial { .. }
            | Output::Disconnect(_)
            | Output::Close(_)
            | Output::ApplicationScore(..)
            | Output::LiveTopics(_)
            | Output::TakeScores
            | Output::Request { .. }
            | Output::Range(_)
            | Output::Refuse { .. } => {}
        }
    }

    fn on_core(&mut self, event: Event) {
        self.callers.on_core(&event);
        self.tell(HostEventKind::Core(event));
    }

    fn on_heartbeat(&mut self) {
        self.memory.retry();
        self.wire.heartbeat(self.core.clock.now().monotonic);
        let now = Instant::now();
        if self.measure_due <= now {
            self.measure_due = now + SNAPSHOT_INTERVAL;
            self.measure_scores();
        }
        self.refresh_mesh();
        self.report();
        self.meter.heard(self.wire.frames());
    }

    fn respond(&mut self, id: ServeId, response: Response) {
        self.meter.answered(id, response.first().copied());
        if response.first() == Some(&ResultCode::Success.byte()) {
            self.status.send_modify(|status| status.served += 1);
        }
        if let Some(gone) = self.wire.respond(id, response) {
            self.feed(gone);
        }
    }

    fn on_range_read(&mut self, id: RangeServeId, done: ReadDone) {
        if let Some(packed) = &done.packed {
            self.status.send_modify(|status| status.served += u64::from(packed.blocks));
        }
        self.feed(Input::Range(RangeInput::Read { id, done }));
    }
}

/// Returns a placeholder for the wakeup; the branch that waits for it is disabled.
fn far_future() -> tokio::time::Instant {
    tokio::time::Instant::now() + Duration::from_secs(60 * 60)
}
