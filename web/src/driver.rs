//! The event loop of an observer: feeds the core with inputs and carries out its outputs.
//!
//! It runs on the thread that started it, validation included. After 8 ms of work without a
//! pause, it yields to the browser. [`Wire`] does the network's part.
//!
//! # Bounds
//! * The bounds of the core, of [`PendingArea`] and of [`Arrivals`]. No message waits for
//!   validation: each is judged as it arrives.
//! * Reports to the page are handed over at once.

mod arrivals;
mod blocks;
mod commands;
mod events;
mod known;
mod peers;
mod reading;
mod reads;
mod timing;
mod wanted;

use crate::clock::Clock;
use crate::endpoints::{Answered, Asked, Endpoints, Post};
use crate::options::Plan;
use crate::pending::PendingArea;
use crate::settings::{PING_INTERVAL, node_config, swarm_config};
use crate::tell::{Arrival, CountersJs, GapJs, HeadJs, Hex, Told};
use crate::transport::Senders;
use alloy_primitives::Address;
use arrivals::Arrivals;
pub(crate) use commands::{Command, StartError};
use futures::channel::mpsc;
use futures::{FutureExt, StreamExt, select_biased};
use futures_timer::Delay;
use known::Known;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::identity::Keypair;
use libp2p::swarm::SwarmEvent;
use libp2p::{PeerId, Swarm};
use opp2p_core::chain::BlockId;
use opp2p_core::gossip::HEARTBEAT;
use opp2p_core::node::{Input, Node, Output};
use opp2p_core::peers::PeerNews;
use opp2p_core::sync::{ServeId, answer};
use opp2p_wire::{
    Bandwidth, Behaviour, Config, Core, Event, Notice, RangeUse, Response, Wire, to_libp2p,
};
pub(crate) use reads::{Execute, Question};
use reads::{Executed, Reads};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
pub(crate) use wanted::Wanted;
use web_time::Instant;

/// Time that gateways have to close their connections when the observer stops.
const CLOSE_HANDSHAKE_TIMEOUT: Duration = Duration::from_millis(500);

/// Function that takes reports: a [`Told`], and for a block its payload.
pub(crate) type PageListener = Box<dyn Fn(&Told, Option<&[u8]>)>;

/// The transport, and its records.
pub(crate) type Network = (Boxed<(PeerId, StreamMuxerBox)>, Arc<Bandwidth>, Senders);

/// A running observer.
pub(crate) struct Driver {
    core: Core<Arc<Clock>>,
    chain_id: u64,
    wire: Wire,
    bandwidth: Arc<Bandwidth>,
    senders: Senders,
    peers: BTreeMap<PeerId, Known>,
    pending: PendingArea,
    endpoints: Endpoints,
    /// Wallets' reads, if the page enabled them.
    reads: Option<Reads>,
    /// Whether the page stores knowledge of peers for the next visit.
    remembers: bool,
    /// Whether the page can read the signer.
    reads_signer: bool,
    /// The network's own signer.
    own_signer: Option<Address>,
    /// When to ask the page for the signer, while none is known.
    signer_due: Option<Instant>,
    arrivals: Arrivals,
    counters: CountersJs,
    /// The newest verified block as last reported.
    head: Option<(BlockId, HeadJs)>,
    /// How far the gap that is being fetched is filled, if that was not reported yet.
    progress: Option<GapJs>,
    status_due: Instant,
    status_told: Instant,
    status_changed: bool,
    heartbeat: Instant,
    slice_start: Instant,
    tell: PageListener,
}

impl Driver {
    /// Creates an observer with this identity and network.
    pub(crate) fn new(
        plan: Plan,
        keypair: &Keypair,
        (transport, bandwidth, senders): Network,
        tell: PageListener,
        (post, execute): (Post, Execute),
    ) -> Result<Self, StartError> {
        let own = keypair.public().to_peer_id();
        let clock = Arc::new(Clock::start());
        let config = node_config(&plan, own, getrandom::u64()?);
        let core = Core::new(Node::new(clock.now(), config)?, clock);
        let wiring = Config {
            chain_id: plan.chain.chain_id,
            agent: concat!("opp2p-web/", env!("CARGO_PKG_VERSION")).into(),
            payloads: true,
            ranges: RangeUse::Asks,
            ping: Some(PING_INTERVAL),
            gatekeeper: Some(core.gatekeeper()),
        };
        let mut behaviour = Behaviour::new(keypair, &wiring);
        behaviour.farewell.listen();
        let swarm = Swarm::new(transport, behaviour, own, swarm_config());
        let peers = plan.peers.into_iter().filter(|(peer, _)| *peer != own);
        let now = Instant::now();
        let mut arrivals = Arrivals::default();
        if let (Some(block), Some(received_at)) = (&plan.kept, plan.kept_at) {
            let arrival = Arrival { is_gossip: true, peer: None, received_at, validation: None };
            arrivals.insert(block.hash(), arrival);
        }
        Ok(Self {
            core,
            chain_id: wiring.chain_id,
            wire: Wire::new(swarm),
            bandwidth,
            senders,
            peers: peers.map(|(peer, addresses)| (peer, Known::new(addresses))).collect(),
            pending: PendingArea::new(usize::try_from(plan.gap_memory).unwrap_or(usize::MAX)),
            remembers: plan.memory.is_some(),
            reads: plan.reads.map(|config| Reads::new(config, execute)),
            endpoints: Endpoints::new(plan.endpoints, post),
            reads_signer: plan.reads_signer,
            own_signer: plan.chain.unsafe_block_signer,
            signer_due: plan.signer.is_none().then_some(now),
            arrivals,
            counters: CountersJs::default(),
            head: None,
            progress: None,
            status_due: now,
            status_told: now,
            status_changed: true,
            heartbeat: now + HEARTBEAT,
            slice_start: now,
            tell,
        })
    }

    /// Runs until it is told to stop or the handle is dropped.
    pub(crate) async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        let stopped = loop {
            self.act();
            self.breathe().await;
            let mut wait = Delay::new(self.next_wait()).fuse();
            let next = {
                let clock = &self.core.clock;
                let answered = self.endpoints.answered(|| clock.now().unix_seconds()).fuse();
                let event = self.wire.next().fuse();
                let reads = self.reads.as_mut();
                let executed = async {
                    let executions = reads.map(|reads| &mut reads.executions);
                    match executions.filter(|executions| !executions.is_empty()) {
                        Some(executions) => executions.next().await,
                        None => std::future::pending().await,
                    }
                }
                .fuse();
                futures::pin_mut!(answered, event, executed);
                // The first has priority. The core bounds the number of answers that are due.
                select_biased! {
                    answer = answered => Next::Answer(answer),
                    executed = executed => Next::Executed(executed),
                    event = event => Next::Event(Box::new(event)),
                    command = commands.next() => Next::Command(command),
                    () = wait => Next::Time,
                }
            };
            match next {
                Next::Event(event) => self.on_swarm(*event),
                Next::Answer(answer) => self.on_answer(answer),
                Next::Executed(executed) => executed.into_iter().for_each(|it| self.executed(it)),
                Next::Command(None) => break None,
                Next::Command(Some(Command::NetworkChanged)) => self.feed(Input::NetworkChanged),
                Next::Command(Some(Command::SignerRead(signer))) => self.signer_read(signer),
                Next::Command(Some(Command::Block(wanted, answer))) => self.answer(wanted, answer),
                Next::Command(Some(Command::Read(question, answer))) => {
                    self.read(question, answer);
                }
                Next::Command(Some(Command::CancelRead(ticket))) => self.cancel_read(ticket),
                Next::Command(Some(Command::Stop(stopped))) => break Some(stopped),
                Next::Time => self.on_time(),
            }
        };
        self.wire.close(CLOSE_HANDSHAKE_TIMEOUT).await;
        if let Some(stopped) = stopped {
            // The caller may be gone.
            let _ = stopped.send(());
        }
    }

    fn feed(&mut self, input: Input) {
        self.core.feed(input);
    }

    fn tell(&self, told: &Told) {
        (self.tell)(told, None);
    }

    /// Carries out all pending outputs of the core.
    fn act(&mut self) {
        while let Some(output) = self.core.poll() {
            if let Output::Dial { peer, .. } = &output {
                self.dialled(peer);
            }
            match self.wire.carry_out(output) {
                Ok(None) => {}
                Ok(Some(input)) => self.feed(input),
                Err(output) => self.carry_out(output),
            }
        }
        let core = &self.core;
        self.wire.write(|peer, window| core.transmit(peer, window));
        self.follow_head();
        self.act_for_reads();
    }

    /// Carries out an output that does not concern the network.
    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Job(job) => {
                let result = job.run();
                self.feed(Input::JobDone(result));
            }
            Output::Verdict(verdict) => self.on_verdict(&verdict),
            Output::ReadSigner => self.tell(&Told::ReadSigner),
            Output::Store { id, change } => self.store(id, change),
            Output::Load(ids) => {
                let blocks = ids.iter().map(|id| self.pending.get(id)).collect();
                self.feed(Input::Loaded(blocks));
            }
            // An observer fetches no history.
            Output::Recall(from) => self.feed(Input::Recalled { from, blocks: Vec::new() }),
            Output::RequestRpc { id, endpoint, body, limit, .. } => {
                self.endpoints.post(Asked::Sync(id), endpoint, &body, limit);
            }
            Output::Serve { id, held, .. } => {
                let (_, response) = answer(&Ok::<_, Infallible>(held));
                self.respond(id, response);
            }
            Output::Remember(changes) if self.remembers => {
                let changes = changes.into_iter();
                let changes = changes.map(|change| (Hex(change.key), change.value.map(Hex)));
                self.tell(&Told::Remember(changes.collect()));
            }
            Output::Event(event) => self.on_core(event),
            // An observer signs nothing and persists nothing. The others are the network's, see
            // `Wire::carry_out`; or those of a node without a router.
            Output::Sign(_)
            | Output::Remember(_)
            | Output::Mesh(_)
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

    fn respond(&mut self, id: ServeId, response: Response) {
        if let Some(gone) = self.wire.respond(id, response) {
            self.feed(gone);
        }
    }

    fn on_answer(&mut self, Answered { id, result, told }: Answered) {
        if let Some(told) = told {
            self.tell(&told);
        }
        match id {
            Asked::Sync(id) => {
                let result = result.map_err(|failed| failed.failure);
                self.feed(Input::Response { id, result });
            }
            Asked::Read(id) => self.fetched(id, result),
        }
    }

    fn on_swarm(&mut self, event: SwarmEvent<Event>) {
        let told = match self.wire.notice(&event) {
            Some(Notice::Connected { peer, .. }) => {
                self.connected(&peer);
                Some(("connected", peer))
            }
            Some(Notice::Disconnected { peer, cause, is_replaced }) => {
                self.disconnected(&peer, cause, is_replaced);
                Some(("disconnected", peer))
            }
            Some(Notice::DialFailed { peer, error, .. }) => {
                self.unreachable(&peer, error);
                Some(("unreachable", peer))
            }
            None => None,
        };
        if let Some(input) = self.wire.on_swarm(event) {
            self.on_input(input);
        }
        if let Some((what, peer)) = told {
            self.send_peer_event(what, &peer);
        }
    }

    /// Feeds an input from the network.
    fn on_input(&mut self, input: Input) {
        let mut identified = None;
        if let Input::Peer(peer, news) = &input {
            let peer = to_libp2p(peer);
            self.learn(peer.as_ref(), news);
            identified = peer.filter(|_| matches!(news, PeerNews::Identified(_)));
        }
        self.feed(input);
        if let Some(peer) = identified {
            self.send_peer_event("identified", &peer);
        }
    }
}

/// Cause of the loop's next step.
enum Next {
    Event(Box<SwarmEvent<Event>>),
    Answer(Answered),
    /// An execution ended.
    Executed(Option<Executed>),
    Command(Option<Command>),
    Time,
}
