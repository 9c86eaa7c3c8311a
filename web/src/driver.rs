//! The loop of an observer: feeds the core with what happens, and does what it says.
//!
//! It runs on the thread that started it, validation included. Between two pieces of work that together took longer
//! than [`BREATH`], it lets the browser have its turn.
//!
//! # Bounds
//! * The core's own, and [`PendingArea`]'s. Messages that wait for validation: none, each is judged as it comes.
//! * Arrivals of messages under validation: as many as the core has under way. Arrivals of blocks that are not handed
//!   on yet: [`ARRIVALS_KEPT`]; of one more, the oldest is forgotten, which only costs the page its "from whom".
//! * What is told: handed over at once.

use crate::clock::Clock;
use crate::options::{Code, Plan, Refusal};
use crate::pending::PendingArea;
use crate::tell::{
    self, Arrival, BlockTold, CountersTold, GapTold, HeadTold, PeerEventTold, PeerTold, RejectedTold,
    StatusTold, Told,
};
use alloy_primitives::B256;
use futures::StreamExt;
use futures::channel::{mpsc, oneshot};
use futures::future::{Either, select};
use futures_timer::Delay;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::identity::Keypair;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{DialError, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm};
use opp2p::swarm::{self, Bandwidth, Behaviour, Translator};
use opp2p_core::chain::{BlockId, ChainEvent, ChainViewConfig, ConfigError};
use opp2p_core::gossip::{Acceptance, HEARTBEAT, MeshParams, MessageId, Reason};
use opp2p_core::node::{Event, Input, Node, NodeConfig, Output, StoreChange, SyncConfig, Verdict};
use opp2p_core::payload::Block;
use opp2p_core::peers::{
    Backoff, Farewell, PeerEvent, PeerNews, PeersConfig, ScoreParams, Stage, TideConfig,
};
use opp2p_core::sync::{ClientConfig, FillConfig, SyncEvent, answer};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use web_time::Instant;

/// Work that may be done in one go: a frame at 120 Hz.
const BREATH: Duration = Duration::from_millis(8);
/// Between two pings of a gateway.
const PING_INTERVAL: Duration = Duration::from_millis(1500);
/// How long a gateway may say nothing: two pings and a slow network.
const SILENCE: Duration = Duration::from_millis(3750);
/// When a gateway is dialled again: soon, as somebody is watching.
const FIRST_REDIAL: Duration = Duration::from_secs(1);
const LONGEST_REDIAL: Duration = Duration::from_secs(30);
/// Between two statuses that nothing but time caused.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);
/// Between any two.
const STATUS_PAUSE: Duration = Duration::from_millis(100);
/// Blocks whose arrival is remembered until they are handed on.
const ARRIVALS_KEPT: usize = 4096;
/// Canonical blocks that are kept for reorgs, and their bytes with all that waits.
const KEPT_BLOCKS: usize = 64;
const VIEW_BYTES: usize = 24 << 20;

/// Takes what is told: the JSON of a [`Told`], and a block's payload.
pub(crate) type Teller = Box<dyn Fn(&Told, Option<&[u8]>)>;

/// What the handle asks for.
#[derive(Debug)]
pub(crate) enum Command {
    /// There may be a network again.
    NetworkChanged,
    /// Close everything, then say so.
    Stop(oneshot::Sender<()>),
}

/// A peer of the page's list.
#[derive(Clone, Debug, Default)]
struct Known {
    addresses: Vec<Multiaddr>,
    agent: Option<String>,
    round_trip: Option<Duration>,
    delivered: u64,
    rejected: u64,
    reason: Option<String>,
    /// What the core said when it had it disconnected.
    farewell: Option<Farewell>,
}

/// The core, shared with the door: the network asks it while it is polled, on this same thread. It must not be held
/// while the swarm is called.
type Core = Arc<Mutex<Node>>;

fn lock(core: &Core) -> MutexGuard<'_, Node> {
    core.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why an observer can't start, beyond its options.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("the chain configuration is wrong: {0}")]
    Chain(#[from] ConfigError),
    #[error(transparent)]
    Gossip(#[from] swarm::InvalidConfig),
}

pub(crate) struct Driver {
    core: Core,
    clock: Arc<Clock>,
    chain_id: u64,
    scoring: Option<ScoreParams>,
    swarm: Swarm<Behaviour>,
    translator: Translator,
    bandwidth: Arc<Bandwidth>,
    peers: BTreeMap<PeerId, Known>,
    pending: PendingArea,
    /// When the messages came that are being judged.
    judging: BTreeMap<MessageId, f64>,
    arrivals: BTreeMap<B256, Arrival>,
    /// Their keys, oldest first.
    arrival_order: VecDeque<B256>,
    counters: CountersTold,
    head: Option<HeadTold>,
    /// Whether the head moved since it was last told.
    head_moved: bool,
    status_due: Instant,
    status_told: Instant,
    status_changed: bool,
    heartbeat: Instant,
    breath: Instant,
    tell: Teller,
}

impl Driver {
    /// An observer with this identity, by this transport.
    pub(crate) fn new(
        plan: Plan,
        keypair: &Keypair,
        transport: Boxed<(PeerId, StreamMuxerBox)>,
        bandwidth: Arc<Bandwidth>,
        tell: Teller,
    ) -> Result<Self, StartError> {
        let own = keypair.public().to_peer_id();
        let chain_id = plan.chain.chain_id;
        let clock = Arc::new(Clock::start());
        let config = node_config(&plan, own);
        let scoring = config.peers.scoring.params(plan.chain.block_time);
        let core = Arc::new(Mutex::new(Node::new(clock.now(), config)?));
        let gatekeeper: swarm::Gatekeeper = {
            let (core, clock) = (Arc::clone(&core), Arc::clone(&clock));
            Arc::new(move |knock| {
                let now = clock.now();
                lock(&core).knock(now, &knock.for_core()).map_err(|denied| denied.to_string())
            })
        };
        let wiring = swarm::Config {
            chain_id,
            agent: concat!("opp2p-web/", env!("CARGO_PKG_VERSION")).into(),
            mesh: MeshParams::default(),
            browsers: false,
            payloads: true,
            ping: Some(PING_INTERVAL),
            scoring,
            gatekeeper: Some(gatekeeper),
        };
        let behaviour = Behaviour::new(keypair, &wiring)?;
        // Only the mesh keeps a connection busy, and who is not in it is idle for hours.
        let idle = Duration::from_secs(365 * 24 * 60 * 60);
        let options = swarm_config().with_idle_connection_timeout(idle);
        let swarm = Swarm::new(transport, behaviour, own, options);
        let peers = plan.peers.into_iter().filter(|(peer, _)| *peer != own);
        let now = Instant::now();
        Ok(Self {
            core,
            clock,
            chain_id,
            scoring,
            swarm,
            translator: Translator::new(chain_id),
            bandwidth,
            peers: peers.map(|(peer, addresses)| (peer, Known { addresses, ..Known::default() })).collect(),
            pending: PendingArea::new(usize::try_from(plan.gap_memory).unwrap_or(usize::MAX)),
            judging: BTreeMap::new(),
            arrivals: BTreeMap::new(),
            arrival_order: VecDeque::new(),
            counters: CountersTold::default(),
            head: None,
            head_moved: false,
            status_due: now,
            status_told: now,
            status_changed: true,
            heartbeat: now + HEARTBEAT,
            breath: now,
            tell,
        })
    }

    /// Runs until it is told to stop, or the handle is gone.
    pub(crate) async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        let stopped = loop {
            self.act();
            self.breathe().await;
            let wait = Delay::new(self.next_wait());
            let next = {
                let happens = select(self.swarm.next(), commands.next());
                match select(happens, wait).await {
                    Either::Left((Either::Left((event, _)), _)) => Next::Event(event.map(Box::new)),
                    Either::Left((Either::Right((command, _)), _)) => Next::Command(command),
                    Either::Right(_) => Next::Time,
                }
            };
            match next {
                Next::Event(Some(event)) => self.on_swarm(*event),
                // The swarm never ends.
                Next::Event(None) | Next::Command(None) => break None,
                Next::Command(Some(Command::NetworkChanged)) => self.feed(Input::NetworkChanged),
                Next::Command(Some(Command::Stop(stopped))) => break Some(stopped),
                Next::Time => self.on_time(),
            }
        };
        self.close().await;
        if let Some(stopped) = stopped {
            // Whoever asked may have gone.
            let _ = stopped.send(());
        }
    }

    /// Closes all connections; a peer that does not answer must not keep us.
    async fn close(self) {
        let mut network = self.swarm;
        let farewell = swarm::farewell(&mut network);
        futures::pin_mut!(farewell);
        select(farewell, Delay::new(Duration::from_millis(500))).await;
    }

    /// Lets the browser have its turn if it has waited: a timer is a turn, a promise is none.
    async fn breathe(&mut self) {
        if self.breath.elapsed() >= BREATH {
            Delay::new(Duration::ZERO).await;
            self.breath = Instant::now();
        }
    }

    fn next_wait(&self) -> Duration {
        let now = Instant::now();
        let status = if self.status_changed {
            self.status_due.min(self.status_told + STATUS_PAUSE)
        } else {
            self.status_due
        };
        let own = status.min(self.heartbeat).saturating_duration_since(now);
        let core = lock(&self.core).next_wakeup().map(|at| self.clock.until(at));
        core.map_or(own, |core| core.min(own))
    }

    fn on_time(&mut self) {
        // A timer is a turn.
        let now = Instant::now();
        self.breath = now;
        if now >= self.heartbeat {
            // The library's heartbeat sleeps on a quiet node: its timer is reset without being polled. Waking up at its
            // interval polls it, and is when the mesh changes.
            self.heartbeat = now + HEARTBEAT;
            for change in self.translator.mesh_changes(self.swarm.behaviour()) {
                self.status_changed = true;
                self.feed(change);
            }
        }
        self.feed(Input::Wake);
        let is_due =
            now >= self.status_due || (self.status_changed && now >= self.status_told + STATUS_PAUSE);
        if is_due {
            self.tell_status();
        }
    }

    fn feed(&mut self, input: Input) {
        let now = self.clock.now();
        lock(&self.core).handle(now, input);
    }

    fn tell(&self, told: &Told) {
        (self.tell)(told, None);
    }

    fn poll(&self) -> Option<Output> {
        lock(&self.core).poll()
    }

    /// Does all that the core says.
    fn act(&mut self) {
        while let Some(output) = self.poll() {
            match output {
                Output::Job(job) => {
                    let result = job.run();
                    self.feed(Input::JobDone(result));
                }
                Output::Verdict(verdict) => self.on_verdict(&verdict),
                Output::Dial(peer) => self.dial(&peer),
                Output::Disconnect(peer) => {
                    if let Some(peer) = swarm::to_libp2p(&peer) {
                        // That nothing stands any more is as good.
                        let _ = self.swarm.disconnect_peer_id(peer);
                    }
                }
                Output::ApplicationScore(peer, score) => {
                    self.swarm.behaviour_mut().set_application_score(&peer, score);
                }
                Output::LiveTopics(live) => {
                    if let Some(params) = &self.scoring {
                        self.swarm.behaviour_mut().set_live_topics(self.chain_id, params, live);
                    }
                }
                // A page has nobody to ask.
                Output::ReadSigner => {}
                Output::TakeScores => {
                    let scores = self.swarm.behaviour().scores(self.swarm.connected_peers());
                    self.feed(Input::GossipScores(scores));
                }
                Output::Store(change) => self.store(change),
                Output::Load(ids) => {
                    let blocks = ids.iter().map(|id| self.pending.get(id)).collect();
                    self.feed(Input::Loaded(blocks));
                }
                Output::Request { id, to, number, limit } => {
                    let wire = self.swarm.behaviour_mut();
                    if let Some(failed) = self.translator.request(wire, id, &to, number, limit) {
                        self.feed(failed);
                    }
                }
                Output::Serve { id, held, .. } => {
                    let (_, response) = answer(&Ok::<_, std::convert::Infallible>(held));
                    self.respond(id, response);
                }
                Output::Refuse { id, code } => self.respond(id, vec![code.byte()]),
                // An observer has nothing to publish, and remembers nothing.
                Output::Sign(_) | Output::Send { .. } | Output::Remember(_) => {}
                Output::Event(event) => self.on_core(event),
            }
        }
        if std::mem::take(&mut self.head_moved)
            && let Some(head) = self.head.clone()
        {
            self.tell(&Told::Head(head));
        }
    }

    fn respond(&mut self, id: opp2p_core::sync::ServeId, response: swarm::Response) {
        let wire = self.swarm.behaviour_mut();
        if let Some(gone) = self.translator.respond(wire, id, response) {
            self.feed(gone);
        }
    }

    /// What a disk would do: only blocks that do not link yet are kept, as long as there is room.
    fn store(&mut self, change: StoreChange) {
        match change {
            StoreChange::Hold(block) => {
                let is_held = self.pending.hold(&block);
                self.feed(Input::Held { id: BlockId::of(&block), is_held });
            }
            StoreChange::Promote(id) => self.pending.release(&id),
            StoreChange::Release(ids) => {
                for id in ids {
                    self.pending.release(&id);
                }
            }
            StoreChange::Extend(_) | StoreChange::Rewind(_) => {}
        }
    }

    fn on_verdict(&mut self, verdict: &Verdict) {
        self.swarm.behaviour_mut().report(verdict);
        self.status_changed = true;
        let now = self.clock.unix_millis();
        let received_at = self.judging.remove(&verdict.id).unwrap_or(now);
        let from = swarm::to_libp2p(&verdict.from);
        let name = || from.map(|peer| peer.to_string());
        match verdict.result {
            Ok(block) => {
                self.counters.accepted += 1;
                if let Some(known) = from.and_then(|peer| self.peers.get_mut(&peer)) {
                    known.delivered += 1;
                }
                let validation = Some(now - received_at);
                let arrival = Arrival { is_gossip: true, peer: name(), received_at, validation };
                self.arrived(block.hash, arrival);
            }
            Err(reason) => self.refused(verdict, reason, received_at),
        }
    }

    fn refused(&mut self, verdict: &Verdict, reason: Reason, at: f64) {
        let from = swarm::to_libp2p(&verdict.from);
        let rules = match reason.acceptance() {
            Acceptance::Reject => {
                if let Some(known) = from.and_then(|peer| self.peers.get_mut(&peer)) {
                    known.rejected += 1;
                }
                &mut self.counters.rejected
            }
            _ => &mut self.counters.ignored,
        };
        let count = rules.entry(reason.name()).or_default();
        *count += 1;
        // One liar among honest peers is no news; if nobody has brought a block that counts, it is the signer.
        let all_by_another = reason == Reason::WrongSigner && *count == 1 && self.counters.accepted == 0;
        let name = from.map(|peer| peer.to_string()).unwrap_or_default();
        self.tell(&Told::Rejected(RejectedTold::new(reason, name, verdict.topic, at)));
        if all_by_another {
            let signer = lock(&self.core).signers().current.unwrap_or_default();
            let message = format!(
                "no block was signed by {signer} so far, and the first one was signed by somebody else: check the network and `signer`, unless it is this one peer that lies"
            );
            self.tell(&Told::Error(Refusal { code: Code::WrongSigner, message }));
        }
    }

    /// Remembers how a block came until it is handed on. Who came first stays.
    fn arrived(&mut self, hash: B256, arrival: Arrival) {
        if self.arrivals.contains_key(&hash) {
            return;
        }
        self.arrivals.insert(hash, arrival);
        self.arrival_order.push_back(hash);
        if self.arrival_order.len() > ARRIVALS_KEPT
            && let Some(oldest) = self.arrival_order.pop_front()
        {
            self.arrivals.remove(&oldest);
        }
    }

    fn on_core(&mut self, event: Event) {
        self.status_changed = true;
        match event {
            Event::Chain(ChainEvent::Extended(block)) => self.hand_on(&block),
            Event::Chain(event) => {
                if let Some(told) = tell::chain_event(&event) {
                    self.tell(&told);
                }
            }
            Event::Sync(SyncEvent::Refused { gap, error }) => {
                self.tell(&Told::Gap(GapTold::refused(gap, error)));
            }
            Event::Sync(SyncEvent::Answered(answered)) => {
                if let Ok(block) = answered.result {
                    self.counters.fetched += 1;
                    let peer = swarm::to_libp2p(&answered.peer).map(|peer| peer.to_string());
                    let received_at = self.clock.unix_millis();
                    self.arrived(
                        block.hash,
                        Arrival { is_gossip: false, peer, received_at, validation: None },
                    );
                }
            }
            Event::Peers(event) => self.on_peers(event),
            Event::Sync(_)
            | Event::Commanded { .. }
            | Event::Published { .. }
            | Event::SignerChanged { .. } => {}
        }
    }

    fn hand_on(&mut self, block: &Block) {
        let arrival = self.arrivals.remove(&block.hash()).unwrap_or_else(|| Arrival {
            is_gossip: block.signature().is_some(),
            peer: None,
            received_at: self.clock.unix_millis(),
            validation: None,
        });
        // What was handed on needs no order; it is nearly always the oldest.
        if self.arrival_order.front() == Some(&block.hash()) {
            self.arrival_order.pop_front();
        } else {
            self.arrival_order.retain(|hash| *hash != block.hash());
        }
        self.counters.blocks += 1;
        self.head = Some(HeadTold {
            id: BlockId::of(block).into(),
            timestamp: block.timestamp(),
            received_at: arrival.received_at,
        });
        self.head_moved = true;
        let root = if block.parent_beacon_block_root().is_some() { 32 } else { 0 };
        let told = Told::Block(Box::new(BlockTold::new(block, arrival)));
        (self.tell)(&told, Some(&block.body()[root..]));
    }

    fn on_peers(&mut self, event: PeerEvent) {
        match event {
            PeerEvent::Banned { peer, .. } => {
                if let Some(peer) = swarm::to_libp2p(&peer) {
                    if let Some(known) = self.peers.get_mut(&peer) {
                        known.reason = Some("it broke the rules of the network".into());
                    }
                    self.tell_peer("banned", &peer);
                }
            }
            PeerEvent::Dropped { peer, why } => {
                let Some(peer) = swarm::to_libp2p(&peer) else { return };
                if let Some(known) = self.peers.get_mut(&peer) {
                    known.farewell = Some(why);
                }
                if why == Farewell::Silent {
                    let reason = format!("it said nothing for {} s", SILENCE.as_secs_f32());
                    self.because(&peer, reason);
                    self.tell_peer("silent", &peer);
                }
            }
            PeerEvent::OtherChain { peer, chain_id } => {
                let peer = swarm::to_libp2p(&peer).map(|peer| peer.to_string()).unwrap_or_default();
                let message = format!("{peer} is on chain {chain_id}, not on chain {}", self.chain_id);
                self.tell(&Told::Error(Refusal { code: Code::WrongNetwork, message }));
            }
            PeerEvent::Lacking(_) => {}
        }
    }

    fn because(&mut self, peer: &PeerId, reason: String) {
        if let Some(known) = self.peers.get_mut(peer) {
            known.reason = Some(reason);
        }
    }

    fn dial(&mut self, peer: &opp2p_core::peers::PeerId) {
        let Some(id) = swarm::to_libp2p(peer) else { return };
        let addresses = self.peers.get(&id).map(|known| known.addresses.clone()).unwrap_or_default();
        let options = DialOpts::peer_id(id)
            .addresses(addresses)
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .build();
        self.tell_peer("dialling", &id);
        match self.swarm.dial(options) {
            // Connected or being dialled already: the event will come.
            Ok(()) | Err(DialError::DialPeerConditionFalse(_)) => {}
            Err(error) => self.dial_failed(id, &error),
        }
    }

    fn dial_failed(&mut self, peer: PeerId, error: &DialError) {
        self.because(&peer, swarm::dial_failure(error));
        if let Some(peer) = swarm::from_libp2p(&peer) {
            self.feed(Input::DialFailed(peer));
        }
        self.tell_peer("unreachable", &peer);
    }

    fn on_swarm(&mut self, event: SwarmEvent<swarm::Event>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_wire(event),
            SwarmEvent::ConnectionEstablished { peer_id, num_established, .. }
                if num_established.get() == 1 =>
            {
                if let Some(known) = self.peers.get_mut(&peer_id) {
                    (known.farewell, known.round_trip, known.reason) = (None, None, None);
                }
                self.met(&peer_id, Input::Connected);
                self.tell_peer("connected", &peer_id);
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, cause, .. } => {
                let is_explained = self.peers.get(&peer_id).is_some_and(|known| known.farewell.is_some());
                if !is_explained {
                    let reason =
                        cause.map_or("it closed the connection".into(), |cause| swarm::last_cause(&cause));
                    self.because(&peer_id, reason);
                }
                self.met(&peer_id, Input::Disconnected);
                self.tell_peer("disconnected", &peer_id);
            }
            // A second dial that lost against a connection that stands is no failure.
            SwarmEvent::OutgoingConnectionError { peer_id: Some(peer), error, .. }
                if !self.swarm.is_connected(&peer) =>
            {
                self.dial_failed(peer, &error);
            }
            _ => {}
        }
    }

    fn met(&mut self, peer: &PeerId, input: fn(opp2p_core::peers::PeerId) -> Input) {
        if let Some(peer) = swarm::from_libp2p(peer) {
            self.feed(input(peer));
        }
    }

    fn on_wire(&mut self, event: swarm::Event) {
        let received_at = self.clock.unix_millis();
        let Some(input) = self.translator.input(self.swarm.behaviour_mut(), event) else { return };
        let mut identified = None;
        match &input {
            Input::Gossip { id, .. } => {
                self.judging.insert(*id, received_at);
            }
            Input::Peer(peer, news) => {
                let peer = swarm::to_libp2p(peer);
                if let Some(known) = peer.and_then(|peer| self.peers.get_mut(&peer)) {
                    match news {
                        PeerNews::Identified(info) => {
                            known.agent = Some(info.agent.clone());
                            identified = peer;
                        }
                        PeerNews::Pinged(round_trip) => known.round_trip = Some(*round_trip),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        self.feed(input);
        if let Some(peer) = identified {
            self.tell_peer("identified", &peer);
        }
    }

    fn peer(&self, id: &PeerId, known: &Known) -> PeerTold {
        let now = self.clock.now();
        let core = lock(&self.core);
        let manager = core.peers();
        let peer = swarm::from_libp2p(id);
        let stage = peer.and_then(|peer| manager.stage(&peer));
        let banned_until = peer.and_then(|peer| manager.gate().ban_of(&peer));
        let banned_until = banned_until.filter(|until| *until > now.unix_seconds());
        let state = match (stage, banned_until) {
            (_, Some(_)) => "banned",
            (Some(Stage::Connected), _) => "connected",
            (Some(Stage::Dialling), _) => "dialling",
            _ => "waiting",
        };
        PeerTold {
            id: id.to_string(),
            address: known.addresses.first().map(ToString::to_string).unwrap_or_default(),
            state,
            agent: known.agent.clone(),
            score: peer.map_or(0.0, |peer| manager.score(now, &peer)),
            round_trip: known.round_trip.map(|time| time.as_secs_f64() * 1000.0),
            in_mesh: self.translator.is_in_mesh(id),
            delivered: known.delivered,
            rejected: known.rejected,
            banned_until,
            reason: known.reason.clone(),
        }
    }

    fn tell_peer(&mut self, what: &'static str, id: &PeerId) {
        self.status_changed = true;
        if let Some(known) = self.peers.get(id) {
            let peer = self.peer(id, known);
            self.tell(&Told::Peer(PeerEventTold { what, peer }));
        }
    }

    fn tell_status(&mut self) {
        let now = Instant::now();
        (self.status_told, self.status_due, self.status_changed) = (now, now + STATUS_INTERVAL, false);
        (self.counters.bytes_in, self.counters.bytes_out) = self.bandwidth.totals();
        let highest = lock(&self.core).view().highest().map(Into::into);
        let status = StatusTold {
            head: self.head.clone(),
            highest,
            peers: self.peers.iter().map(|(id, known)| self.peer(id, known)).collect(),
            counters: self.counters.clone(),
        };
        self.tell(&Told::Status(status));
    }
}

/// What made the loop go on.
enum Next {
    Event(Option<Box<SwarmEvent<swarm::Event>>>),
    Command(Option<Command>),
    Time,
}

#[cfg(target_arch = "wasm32")]
fn swarm_config() -> libp2p::swarm::Config {
    libp2p::swarm::Config::with_wasm_executor()
}

#[cfg(not(target_arch = "wasm32"))]
fn swarm_config() -> libp2p::swarm::Config {
    libp2p::swarm::Config::without_executor()
}

fn node_config(plan: &Plan, own: PeerId) -> NodeConfig {
    let seed = own.to_bytes().last_chunk().map_or(1, |bytes| u64::from_be_bytes(*bytes));
    let fill = FillConfig {
        client: ClientConfig { seed, ..ClientConfig::default() },
        // Half of the room may be taken by blocks whose answers are still being checked.
        pending_bytes: plan.gap_memory / 2,
        patience: Some(plan.gap_patience),
        // A development chain's genesis may be long ago, and its first block of now.
        max_age: FillConfig::default().max_age.filter(|_| !plan.from_genesis),
        ..FillConfig::default()
    };
    NodeConfig {
        signer: Some(plan.signer),
        view: ChainViewConfig {
            max_bytes: VIEW_BYTES,
            keep_depth: KEPT_BLOCKS,
            gap_patience: Some(plan.gap_patience),
            ..ChainViewConfig::default()
        },
        static_peers: plan.peers.keys().filter(|peer| **peer != own).filter_map(swarm::from_libp2p).collect(),
        from_genesis: plan.from_genesis,
        sync: Some(SyncConfig { fill, ..SyncConfig::default() }),
        peers: PeersConfig {
            // Nobody else is to be sought.
            tide: TideConfig { low: 0, high: usize::MAX, ..TideConfig::default() },
            remembered: crate::options::MAX_PEERS,
            trusts_static: false,
            redial: Backoff { first: FIRST_REDIAL, longest: LONGEST_REDIAL, seed: seed | 1 },
            silence: Some(SILENCE),
            ..PeersConfig::default()
        },
        ..NodeConfig::new(plan.chain.clone())
    }
}
