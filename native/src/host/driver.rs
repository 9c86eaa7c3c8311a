//! The loop: feeds the core with what happens, and does what it says.

use super::event::{HostEvent, HostEventKind, NatEvent, Status};
use super::meter::Meter;
use super::native::{DialBacks, Native, NativeEvent};
use super::persist;
use super::pool::Pool;
use super::requests::Requests;
use super::shared::Core;
use super::signer::{BlockSigner, SignerOrigin, SignerReport};
use super::ws::Listening;
use crate::store::{Batch, Writer};
use crate::swarm;
use alloy_primitives::{Address, B256};
use futures::StreamExt;
use libp2p::core::ConnectedPoint;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, identify};
use opp2p_core::chain::{BlockId, ChainConfig};
use opp2p_core::gossip::{HEARTBEAT, Signature};
use opp2p_core::node::{Event, Input, Output, SignRequest, StoreChange};
use opp2p_core::payload::{Block, PayloadVersion};
use opp2p_core::peers::{CommandId, ListFull, MemoryChange, PeerCommand, PeerNews, ScoreParams};
use opp2p_core::sequencer::{Publication, PublishError, PublishId};
use opp2p_core::sync::{RangeError, RangeId, RequestId, ResultCode, ServeId, SyncEvent};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, broadcast, mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval, sleep_until};

/// What the handle asks for.
#[derive(Debug)]
pub(super) enum Command {
    Publish { publication: Publication, answer: oneshot::Sender<Result<B256, PublishError>> },
    SetSigner { signer: Option<Address>, l1_block: Option<u64> },
    Found(opp2p_core::peers::PeerId, PeerNews),
    Insert { block: Block, answer: oneshot::Sender<()> },
    FetchRange { to: BlockId, answer: oneshot::Sender<Result<(), RangeError>> },
    Peer { command: PeerCommand, answer: oneshot::Sender<Result<(), ListFull>> },
    Connect { peer: PeerId, address: Multiaddr, answer: oneshot::Sender<Result<(), String>> },
}

pub(super) struct Driver {
    pub(super) core: Core,
    pub(super) chain: ChainConfig,
    /// Nothing if peers are not scored.
    pub(super) scoring: Option<ScoreParams>,
    pub(super) swarm: Swarm<Native>,
    pub(super) pool: Pool,
    pub(super) writer: Writer,
    /// How the disk is: why it takes nothing, or that it takes blocks again. At most once a second.
    pub(super) disk: mpsc::UnboundedReceiver<Option<String>>,
    /// The lowest number of the chain for which the store's queue had no room.
    pub(super) unqueued: Option<u64>,
    pub(super) memory: PeerMemory,
    pub(super) is_online: bool,
    pub(super) signer: Option<BlockSigner>,
    /// Signatures as they come.
    pub(super) signed: (mpsc::Sender<Signed>, mpsc::Receiver<Signed>),
    /// Rung when blocks of an unknown signer come.
    pub(super) hurry: Arc<Notify>,
    pub(super) report: watch::Sender<SignerReport>,
    pub(super) static_peers: BTreeMap<PeerId, Vec<Multiaddr>>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) events: broadcast::Sender<HostEvent>,
    pub(super) status: watch::Sender<Status>,
    /// Who waits for which publication. Bounded by the core's queue: each is answered once.
    pub(super) publications: BTreeMap<PublishId, oneshot::Sender<Result<B256, PublishError>>>,
    pub(super) next_publication: u64,
    pub(super) requests: Requests,
    /// Who waits for which range. The core refuses all but one at a time, and answers each.
    pub(super) ranges: BTreeMap<RangeId, oneshot::Sender<Result<(), RangeError>>>,
    pub(super) next_range: u64,
    /// Who waits for which wish about a peer. Each is answered in the same turn.
    pub(super) wishes: BTreeMap<CommandId, oneshot::Sender<Result<(), ListFull>>>,
    pub(super) next_wish: u64,
    /// Who waits for a connection that was asked for. Bounded by the commands under way.
    pub(super) connecting: Vec<Connecting>,
    pub(super) translator: swarm::Translator,
    pub(super) listening: Listening,
    /// What happened before the driver ran.
    pub(super) early: Vec<SwarmEvent<NativeEvent>>,
    pub(super) dial_backs: DialBacks,
    pub(super) meter: Arc<Meter>,
}

/// Somebody waits for a connection that was asked for.
#[derive(Debug)]
pub(super) struct Connecting {
    peer: PeerId,
    attempt: ConnectionId,
    answer: oneshot::Sender<Result<(), String>>,
}

/// Which publication was signed, and the signature or one sentence on why there is none.
pub(super) type Signed = (PublishId, Result<Signature, String>);

/// Where what is known of peers goes.
#[derive(Debug)]
pub(super) enum PeerMemory {
    Gone,
    WithBlocks,
    Apart(Writer),
}

/// What the store's thread says.
#[derive(Debug)]
pub(super) enum StoreResult {
    /// The chain's new head is on the disk, or one sentence on why not.
    Chain(Result<BlockId, String>),
    /// A block is in the pending area, or is not.
    Held(BlockId, bool),
    /// Blocks of the pending area.
    Loaded(Vec<Option<Block>>),
}

impl Driver {
    /// Runs until the other half of `end` is dropped.
    pub(super) async fn run(mut self, mut end: oneshot::Receiver<Infallible>) {
        // The library's heartbeat sleeps on a quiet node: its timer is reset without being polled.
        // Waking up at its interval polls it, and is when the mesh changes.
        let mut heartbeat = interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let (stored, mut store_results) = mpsc::unbounded_channel();
        for event in std::mem::take(&mut self.early) {
            self.on_swarm(event);
        }
        loop {
            self.act(&stored);
            let wakeup = self.core.lock().next_wakeup().map(|at| self.core.clock.instant(at));
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_swarm(event),
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
                Some(error) = self.disk.recv() => self.on_disk(error),
                (id, response) = self.requests.answered() => self.respond(id, response),
                Some((id, result)) = self.signed.1.recv() => self.feed(Input::Signed { id, result }),
                () = sleep_until(wakeup.unwrap_or_else(far_away)), if wakeup.is_some() => {
                    self.feed(Input::Wake);
                }
                _ = heartbeat.tick() => {
                    self.watch_mesh();
                    self.refresh_mesh();
                    self.meter.heard(self.swarm.behaviour().wire.gossip_rpcs());
                }
            }
        }
        self.feed(Input::Stopping);
        self.act(&stored);
        self.close().await;
    }

    /// Closes connections, then waits for the disk.
    async fn close(self) {
        let Self { swarm: mut network, writer, memory, requests, .. } = self;
        // A peer that does not answer must not keep us.
        let _ = tokio::time::timeout(Duration::from_secs(1), swarm::farewell(&mut network)).await;
        let _ = tokio::task::spawn_blocking(|| {
            writer.stop();
            if let PeerMemory::Apart(writer) = memory {
                writer.stop();
            }
            drop(requests);
        })
        .await;
    }

    fn feed(&mut self, input: Input) {
        let now = self.core.clock.now();
        self.core.lock().handle(now, input);
    }

    fn tell(&self, kind: HostEventKind) {
        self.meter.told(&kind);
        // Nobody listening is no error.
        let _ = self.events.send(HostEvent { at: Instant::now(), kind });
    }

    /// Does all that the core says.
    fn act(&mut self, stored: &mpsc::UnboundedSender<StoreResult>) {
        let mut changed = false;
        while let Some(output) = self.core.poll() {
            match output {
                Output::Job(job) => {
                    if let Some(result) = self.pool.run(job) {
                        self.feed(Input::JobDone(result));
                    }
                }
                Output::Verdict(verdict) => {
                    // A block above a gap can be the highest, and no event says so.
                    changed = true;
                    self.swarm.behaviour_mut().wire.report(&verdict);
                    self.status.send_modify(|status| match verdict.result {
                        Ok(_) => status.accepted += 1,
                        Err(reason) => *status.refused.entry(reason).or_default() += 1,
                    });
                    let accepted = verdict.result.ok();
                    let timestamp = accepted.and_then(|id| self.timestamp_of(&id.hash));
                    self.meter.judged(&verdict, timestamp);
                    self.tell(HostEventKind::Verdict(verdict));
                }
                Output::Sign(request) => self.sign(request),
                Output::Send { id, topic, contents } => {
                    let wire = &mut self.swarm.behaviour_mut().wire;
                    let outcome = wire.publish(self.chain.chain_id, topic, &contents);
                    self.meter.sent();
                    self.feed(Input::Sent { id, outcome });
                }
                Output::Dial(peer) => self.dial(&peer),
                Output::Disconnect(peer) => {
                    if let Some(peer) = swarm::to_libp2p(&peer) {
                        // That nothing stands any more is as good.
                        let _ = self.swarm.disconnect_peer_id(peer);
                    }
                }
                Output::ApplicationScore(peer, score) => {
                    self.swarm.behaviour_mut().wire.set_application_score(&peer, score);
                }
                Output::LiveTopics(live) => {
                    if let Some(params) = &self.scoring {
                        let wire = &mut self.swarm.behaviour_mut().wire;
                        wire.set_live_topics(self.chain.chain_id, params, live);
                    }
                }
                Output::ReadSigner => self.hurry.notify_one(),
                Output::TakeScores => {
                    let scores = self.swarm.behaviour().wire.scores(self.swarm.connected_peers());
                    self.feed(Input::GossipScores(scores));
                    self.measure_scores();
                }
                Output::Remember(changes) => self.remember(changes),
                Output::Store(change) => self.store(&change, stored),
                Output::Load(ids) => self.load(&ids, stored),
                Output::Request { id, to, number, limit } => self.request(id, &to, number, limit),
                Output::Serve { id, number, held } => self.requests.look_up(id, number, held),
                Output::Refuse { id, code } => self.respond(id, vec![code.byte()]),
                Output::Event(event) => {
                    changed = true;
                    self.on_core(event);
                }
            }
        }
        if changed {
            let (head, highest, sync) = {
                let node = self.core.lock();
                (node.view().head(), node.view().highest(), node.sync_status())
            };
            self.status.send_modify(|status| {
                status.head = head;
                status.highest = highest;
                status.sync = sync;
            });
        }
    }

    /// The timestamp of a block that is held.
    fn timestamp_of(&self, hash: &B256) -> Option<u64> {
        self.core.lock().view().get(hash).map(Block::timestamp)
    }

    /// Counts the scores of all connected peers, as often as the core takes them.
    fn measure_scores(&self) {
        let now = self.core.clock.now();
        let node = self.core.lock();
        if self.scoring.is_some() {
            let peers = node.peers();
            peers.connected_peers().for_each(|peer| self.meter.scored(&peers.scores(now, peer)));
        }
    }

    fn on_core(&mut self, event: Event) {
        if let Event::Published { id, result } = &event
            && let Some(answer) = self.publications.remove(id)
        {
            // Whoever asked may have stopped waiting.
            let _ = answer.send(result.clone());
        }
        if let Event::Sync(SyncEvent::Range { id, result }) = &event
            && let Some(answer) = self.ranges.remove(id)
        {
            let _ = answer.send(*result);
        }
        if let Event::Commanded { id, result } = &event
            && let Some(answer) = self.wishes.remove(id)
        {
            let _ = answer.send(*result);
        }
        self.tell(HostEventKind::Core(event));
    }

    /// Has a block signed. A signer elsewhere takes its time.
    fn sign(&mut self, request: SignRequest) {
        let id = request.id;
        match &self.signer {
            Some(BlockSigner::Local(signer)) => {
                let result = Ok(signer.sign(&request.signing_hash));
                self.feed(Input::Signed { id, result });
            }
            Some(BlockSigner::Remote(signer)) => {
                let (signer, answer) = (Arc::clone(signer), self.signed.0.clone());
                tokio::spawn(async move {
                    let result = signer.sign(&request).await.map_err(|error| error.to_string());
                    // The node may have stopped meanwhile.
                    let _ = answer.send((id, result)).await;
                });
            }
            None => self.feed(Input::Signed { id, result: Err("this node has no signer".into()) }),
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Publish { publication, answer } => {
                let id = PublishId(self.next_publication);
                self.next_publication += 1;
                self.publications.insert(id, answer);
                self.feed(Input::Publish { id, publication });
            }
            Command::SetSigner { signer, l1_block } => {
                self.feed(Input::SetSigner(signer));
                self.report.send_modify(|report| match l1_block {
                    Some(_) => {
                        *report = SignerReport { origin: SignerOrigin::L1, l1_block, l1_error: None };
                    }
                    None => report.origin = SignerOrigin::Caller,
                });
            }
            Command::Peer { command, answer } => {
                let id = CommandId(self.next_wish);
                self.next_wish += 1;
                self.wishes.insert(id, answer);
                self.feed(Input::Command { id, command });
            }
            Command::Insert { block, answer } => {
                self.feed(Input::Insert(block));
                // Whoever asked may have stopped waiting.
                let _ = answer.send(());
            }
            Command::Found(peer, news) => self.feed(Input::Peer(peer, news)),
            Command::Connect { peer, address, answer } => self.connect(peer, address, answer),
            Command::FetchRange { to, answer } => {
                let id = RangeId(self.next_range);
                self.next_range += 1;
                self.ranges.insert(id, answer);
                self.feed(Input::FetchRange { id, to });
            }
        }
    }

    /// Dials a peer, as [`Self::connect`] does, from a port of its own. If two nodes dialled each other at once
    /// from the ports that they listen on, TCP would make one connection of both dials, and either side would
    /// wait for the other to be the one that was dialled.
    fn dial(&mut self, peer: &opp2p_core::peers::PeerId) {
        if !self.is_online {
            return self.feed(Input::DialFailed(*peer));
        }
        let Some(id) = swarm::to_libp2p(peer) else { return };
        let options = DialOpts::peer_id(id)
            .addresses(self.known_addresses(id))
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .allocate_new_port()
            .build();
        match self.swarm.dial(options) {
            // Connected or being dialled already: the event will come.
            Ok(()) | Err(DialError::DialPeerConditionFalse(_)) => {}
            Err(error) => self.dial_failed(id, &error),
        }
    }

    /// Where the operator says that a peer is, else where it may be.
    fn known_addresses(&self, peer: PeerId) -> Vec<Multiaddr> {
        let remembered = || swarm::from_libp2p(&peer).map(|peer| self.remembered(&peer)).unwrap_or_default();
        self.static_peers.get(&peer).cloned().unwrap_or_else(remembered)
    }

    /// Where a peer that was met before may be.
    fn remembered(&self, peer: &opp2p_core::peers::PeerId) -> Vec<Multiaddr> {
        let now = self.core.clock.now();
        let node = self.core.lock();
        node.peers().addresses(now, peer).filter_map(|address| address.parse().ok()).collect()
    }

    /// Connects to a peer that somebody named.
    fn connect(&mut self, peer: PeerId, address: Multiaddr, answer: oneshot::Sender<Result<(), String>>) {
        if self.swarm.is_connected(&peer) || !self.is_online {
            let result =
                if self.is_online { Ok(()) } else { Err("this node is offline (p2p.disable)".into()) };
            let _ = answer.send(result);
            return;
        }
        // An id alone means wherever the peer is known to be.
        let is_only_id = address.iter().count() == 1;
        let addresses = if is_only_id { self.known_addresses(peer) } else { vec![address] };
        // Beside any attempt of the node's own, which may lead elsewhere.
        let options = DialOpts::peer_id(peer)
            .addresses(addresses)
            .condition(PeerCondition::Disconnected)
            .allocate_new_port()
            .build();
        let attempt = options.connection_id();
        match self.swarm.dial(options) {
            Ok(()) => self.connecting.push(Connecting { peer, attempt, answer }),
            Err(error) => {
                let _ = answer.send(Err(swarm::dial_failure(&error)));
            }
        }
    }

    /// Tells those who wait for this.
    fn connect_ended(&mut self, ended: impl Fn(&Connecting) -> bool, result: &Result<(), String>) {
        let (over, waiting) = std::mem::take(&mut self.connecting).into_iter().partition(ended);
        self.connecting = waiting;
        for Connecting { answer, .. } in over {
            let _ = answer.send(result.clone());
        }
    }

    fn remember(&self, changes: Vec<MemoryChange>) {
        let writer = match &self.memory {
            PeerMemory::Gone => return,
            PeerMemory::WithBlocks => &self.writer,
            PeerMemory::Apart(writer) => writer,
        };
        let memory = changes.into_iter().map(|change| (change.key, change.value)).collect();
        let batch = Batch { memory, ..Batch::default() };
        let events = self.events.clone();
        // Peers are met again; what matters is that the operator hears of a disk that takes nothing.
        let failed = move |error: String| {
            let _ = events.send(HostEvent { at: Instant::now(), kind: HostEventKind::StoreFailed(error) });
        };
        let queued = writer.submit(batch, {
            let failed = failed.clone();
            move |result| {
                if let Err(error) = result {
                    failed(error.to_string());
                }
            }
        });
        if let Err(full) = queued {
            failed(full.to_string());
        }
    }

    fn dial_failed(&mut self, peer: PeerId, error: &DialError) {
        self.tell(HostEventKind::DialFailed { peer, error: swarm::dial_failure(error) });
        if let Some(peer) = swarm::from_libp2p(&peer) {
            self.feed(Input::DialFailed(peer));
        }
    }

    fn store(&mut self, change: &StoreChange, stored: &mpsc::UnboundedSender<StoreResult>) {
        let received = self.core.clock.now().unix.as_millis();
        let received = u64::try_from(received).unwrap_or(u64::MAX);
        let Some(mut batch) = persist::batch(change, received) else { return };
        let (id, is_held) = match change {
            StoreChange::Extend(block) => (Some(BlockId::of(block)), false),
            StoreChange::Promote(id) => (Some(*id), false),
            StoreChange::Hold(block) => (Some(BlockId::of(block)), true),
            StoreChange::Rewind(_) | StoreChange::Release(_) => (None, false),
        };
        let on_chain = id.filter(|_| !is_held);
        // Not while the disk refuses: it would be made, and refused, for each block anew.
        let missed = on_chain.zip(self.unqueued).filter(|_| self.status.borrow().store_error.is_none());
        if let Some((id, from)) = missed {
            self.catch_up(&mut batch, from, id.number, received);
        }
        let answer = stored.clone();
        let queued = self.writer.submit(batch, move |result| {
            let result = result.map_err(|failed| failed.to_string());
            let _ = match (id, is_held) {
                (Some(id), true) => answer.send(StoreResult::Held(id, result.is_ok())),
                (Some(id), false) => answer.send(StoreResult::Chain(result.map(|()| id))),
                // What was to be released and was not is found again at the next start.
                (None, _) => Ok(()),
            };
        });
        match queued {
            Ok(()) if missed.is_some() => self.unqueued = None,
            Ok(()) => {}
            Err(full) => {
                if let Some(id) = on_chain {
                    self.unqueued = Some(self.unqueued.map_or(id.number, |from| from.min(id.number)));
                }
                let _ = match (id, is_held) {
                    (Some(id), true) => stored.send(StoreResult::Held(id, false)),
                    _ => stored.send(StoreResult::Chain(Err(full.to_string()))),
                };
            }
        }
    }

    /// Adds the chain from `from` up to below `to` to a batch, as far as it is held: what the queue had no room for.
    fn catch_up(&self, batch: &mut Batch, from: u64, to: u64, received: u64) {
        let node = self.core.lock();
        let missed = node.view().recent().filter(|block| (from..to).contains(&block.number()));
        for block in missed {
            batch.canonical.push((block.number(), block.hash()));
            batch.blocks.push(persist::stored(block, received));
        }
    }

    /// The disk began to refuse, still does, or takes blocks again.
    fn on_disk(&self, error: Option<String>) {
        self.status.send_modify(|status| status.store_error.clone_from(&error));
        self.tell(error.map_or(HostEventKind::StoreRecovered, HostEventKind::StoreFailed));
    }

    fn load(&self, ids: &[BlockId], stored: &mpsc::UnboundedSender<StoreResult>) {
        let (answer, count) = (stored.clone(), ids.len());
        let hashes = ids.iter().map(|id| id.hash).collect();
        let queued = self.writer.load(hashes, move |found| {
            // What can't be read is fetched again.
            let blocks = found.map_or_else(
                |_| vec![None; count],
                |found| found.into_iter().map(|record| record.and_then(persist::loaded)).collect(),
            );
            let _ = answer.send(StoreResult::Loaded(blocks));
        });
        if queued.is_err() {
            let _ = stored.send(StoreResult::Loaded(vec![None; count]));
        }
    }

    fn on_stored(&mut self, result: StoreResult) {
        match result {
            StoreResult::Chain(Ok(id)) => {
                self.status.send_modify(|status| {
                    status.stored = Some(id);
                    status.store_error = None;
                });
                self.tell(HostEventKind::Stored(id));
            }
            StoreResult::Chain(Err(error)) => {
                self.status.send_modify(|status| status.store_error = Some(error.clone()));
                self.tell(HostEventKind::StoreFailed(error));
            }
            StoreResult::Held(id, is_held) => self.feed(Input::Held { id, is_held }),
            StoreResult::Loaded(blocks) => self.feed(Input::Loaded(blocks)),
        }
    }

    fn request(&mut self, id: RequestId, to: &opp2p_core::peers::PeerId, number: u64, limit: usize) {
        let wire = &mut self.swarm.behaviour_mut().wire;
        if let Some(failed) = self.translator.request(wire, id, to, number, limit) {
            self.feed(failed);
        }
    }

    fn respond(&mut self, id: ServeId, response: swarm::Response) {
        self.meter.answered(id, response.first().copied());
        if response.first() == Some(&ResultCode::Success.byte()) {
            self.status.send_modify(|status| status.served += 1);
        }
        let wire = &mut self.swarm.behaviour_mut().wire;
        if let Some(gone) = self.translator.respond(wire, id, response) {
            self.feed(gone);
        }
    }

    fn on_wire(&mut self, event: swarm::Event) {
        if let swarm::Event::Identify(event) = &event
            && let identify::Event::Received { peer_id, info, .. } = &**event
        {
            self.tell(HostEventKind::Identified { peer: *peer_id, agent: info.agent_version.clone() });
        }
        let wire = &mut self.swarm.behaviour_mut().wire;
        if let Some(input) = self.translator.input(wire, event) {
            match input {
                Input::Requested { id, number, .. } => self.meter.requested(id, number),
                Input::Responded(id) => self.meter.gone(id),
                _ => {}
            }
            let is_subscription = matches!(input, Input::Peer(_, PeerNews::Subscribed(..)));
            self.feed(input);
            if is_subscription {
                self.refresh_mesh();
            }
        }
    }

    fn on_swarm(&mut self, event: SwarmEvent<NativeEvent>) {
        self.listening.heard(&event);
        if let SwarmEvent::ConnectionEstablished {
            peer_id, connection_id, endpoint, num_established, ..
        } = &event
        {
            self.dial_backs.connected(*peer_id, *connection_id, endpoint, num_established.get());
        }
        if matches!(event, SwarmEvent::ConnectionEstablished { .. } | SwarmEvent::ConnectionClosed { .. }) {
            self.count_peers();
        }
        match event {
            SwarmEvent::Behaviour(NativeEvent::Wire(event)) => self.on_wire(event),
            SwarmEvent::Behaviour(NativeEvent::Upnp(event)) => {
                self.tell(HostEventKind::Nat(NatEvent::from(event)));
            }
            SwarmEvent::Behaviour(NativeEvent::Autonat(event)) => {
                if let Some(connection) = self.dial_backs.on_event(&event) {
                    self.swarm.close_connection(connection);
                }
            }
            SwarmEvent::ConnectionEstablished { peer_id, num_established, endpoint, .. }
                if num_established.get() == 1 =>
            {
                let address = match endpoint {
                    ConnectedPoint::Dialer { address, .. } => address,
                    ConnectedPoint::Listener { send_back_addr, .. } => send_back_addr,
                };
                self.connected(peer_id, true);
                self.connect_ended(|waiting| waiting.peer == peer_id, &Ok(()));
                self.tell(HostEventKind::Connected { peer: peer_id, address });
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, cause, .. } => {
                self.connected(peer_id, false);
                self.tell(HostEventKind::Disconnected { peer: peer_id });
                if let Some(error) = cause.and_then(|cause| swarm::refused_late(&cause)) {
                    self.tell(HostEventKind::DialFailed { peer: peer_id, error });
                }
            }
            // Mostly a want of file descriptors. The transport tries again a little later.
            SwarmEvent::ListenerError { error, .. } => {
                tracing::warn!(target: "opp2p::peers", %error, "connections can't be accepted at present");
            }
            // A second dial that lost against a connection that stands is no failure.
            SwarmEvent::OutgoingConnectionError { peer_id: Some(peer), error, connection_id }
                if !self.swarm.is_connected(&peer) =>
            {
                self.connect_ended(
                    |waiting| waiting.attempt == connection_id,
                    &Err(swarm::dial_failure(&error)),
                );
                self.dial_failed(peer, &error);
            }
            _ => {}
        }
    }

    /// Puts the numbers of peers into the status.
    fn count_peers(&self) {
        let browsers = self.swarm.behaviour().wire.browser_count();
        let peers = self.swarm.connected_peers().count().saturating_sub(browsers);
        self.status.send_if_modified(|status| {
            let changed = (status.peers, status.browsers) != (peers, browsers);
            (status.peers, status.browsers) = (peers, browsers);
            changed
        });
    }

    fn connected(&mut self, peer: PeerId, connected: bool) {
        if let Some(peer) = swarm::from_libp2p(&peer) {
            self.feed(if connected { Input::Connected(peer) } else { Input::Disconnected(peer) });
        }
        self.refresh_mesh();
    }

    /// Tells the core who entered or left the mesh.
    fn watch_mesh(&mut self) {
        for change in self.translator.mesh_changes(&self.swarm.behaviour().wire) {
            self.feed(change);
        }
    }

    /// Puts the sizes of the present fork's topic into the status.
    fn refresh_mesh(&self) {
        let chain = &self.chain;
        let version = PayloadVersion::at(&chain.forks, self.core.clock.now().unix_seconds());
        let wire = &self.swarm.behaviour().wire;
        let subscribers = wire.subscribers(chain.chain_id, version);
        let mesh = wire.mesh_size(chain.chain_id, version);
        let browser_mesh = wire.browser_mesh_size(chain.chain_id, version);
        self.status.send_if_modified(|status| {
            let present = (subscribers, mesh, browser_mesh);
            let changed = (status.subscribers, status.mesh, status.browser_mesh) != present;
            (status.subscribers, status.mesh, status.browser_mesh) = present;
            changed
        });
    }
}

/// Stands in for a moment that never comes; the branch that holds it is switched off.
fn far_away() -> tokio::time::Instant {
    tokio::time::Instant::now() + Duration::from_secs(60 * 60)
}
