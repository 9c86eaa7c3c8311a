//! The loop: feeds the core with what happens, and does what it says.

use super::event::{HostEvent, HostEventKind, Status};
use super::persist;
use super::pool::Pool;
use crate::clock::since_epoch;
use crate::store::Writer;
use crate::swarm::{self, Behaviour, gossip_input};
use alloy_primitives::{Address, B256};
use futures::StreamExt;
use libp2p::core::ConnectedPoint;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{DialError, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, gossipsub, identify};
use opp2p_core::chain::BlockId;
use opp2p_core::gossip::HEARTBEAT;
use opp2p_core::node::{Event, Input, Node, Output, StoreChange};
use opp2p_core::payload::PayloadVersion;
use opp2p_core::sequencer::{LocalSigner, Publication, PublishError, PublishId};
use opp2p_core::time::{Instant as CoreInstant, Now};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval, sleep_until};

/// Both clocks, the monotonic one counted from the start of the node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    start: Instant,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self { start: Instant::now() }
    }

    pub(super) fn now(&self) -> Now {
        Now::new(self.start.elapsed(), since_epoch())
    }

    fn instant(&self, at: CoreInstant) -> tokio::time::Instant {
        tokio::time::Instant::from_std(self.start + at.since_start())
    }
}

/// What the handle asks for.
#[derive(Debug)]
pub(super) enum Command {
    Publish { publication: Publication, answer: oneshot::Sender<Result<B256, PublishError>> },
    SetSigner(Option<Address>),
}

pub(super) struct Driver {
    pub(super) clock: Clock,
    pub(super) node: Node,
    pub(super) swarm: Swarm<Behaviour>,
    pub(super) pool: Pool,
    pub(super) writer: Writer,
    pub(super) signer: Option<LocalSigner>,
    pub(super) static_peers: BTreeMap<PeerId, Vec<Multiaddr>>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) events: broadcast::Sender<HostEvent>,
    pub(super) status: watch::Sender<Status>,
    /// Who waits for which publication. Bounded by the core's queue: each is answered once.
    pub(super) publications: BTreeMap<PublishId, oneshot::Sender<Result<B256, PublishError>>>,
    pub(super) next_publication: u64,
}

impl Driver {
    /// Runs until the handle is dropped.
    pub(super) async fn run(mut self) {
        // The library's heartbeat sleeps on a quiet node: its timer is reset without being polled.
        // Waking up at its interval polls it. The branch does nothing else, on purpose.
        let mut heartbeat = interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let (stored, mut store_results) = mpsc::unbounded_channel();
        loop {
            self.act(&stored);
            let wakeup = self.node.next_wakeup().map(|at| self.clock.instant(at));
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_swarm(event),
                result = self.pool.next() => self.feed(Input::JobDone(result)),
                command = self.commands.recv() => match command {
                    Some(command) => self.on_command(command),
                    None => break,
                },
                Some(result) = store_results.recv() => self.on_stored(result),
                () = sleep_until(wakeup.unwrap_or_else(far_away)), if wakeup.is_some() => {
                    self.feed(Input::Wake);
                }
                _ = heartbeat.tick() => self.refresh_mesh(),
            }
        }
        self.close().await;
    }

    /// Closes connections, then waits for the disk.
    async fn close(self) {
        let Self { mut swarm, writer, .. } = self;
        let peers: Vec<PeerId> = swarm.connected_peers().copied().collect();
        for peer in peers {
            let _ = swarm.disconnect_peer_id(peer);
        }
        let farewell = async {
            while swarm.connected_peers().next().is_some() {
                swarm.select_next_some().await;
            }
        };
        // A peer that does not answer must not keep us.
        let _ = tokio::time::timeout(Duration::from_secs(1), farewell).await;
        let _ = tokio::task::spawn_blocking(|| writer.stop()).await;
    }

    fn feed(&mut self, input: Input) {
        self.node.handle(self.clock.now(), input);
    }

    fn tell(&self, kind: HostEventKind) {
        // Nobody listening is no error.
        let _ = self.events.send(HostEvent { at: Instant::now(), kind });
    }

    /// Does all that the core says.
    fn act(&mut self, stored: &mpsc::UnboundedSender<Result<BlockId, String>>) {
        let mut changed = false;
        while let Some(output) = self.node.poll() {
            match output {
                Output::Job(job) => self.pool.run(job),
                Output::Verdict(verdict) => {
                    // A block above a gap can be the highest, and no event says so.
                    changed = true;
                    self.swarm.behaviour_mut().report(&verdict);
                    self.status.send_modify(|status| match verdict.result {
                        Ok(_) => status.accepted += 1,
                        Err(reason) => *status.refused.entry(reason).or_default() += 1,
                    });
                    self.tell(HostEventKind::Verdict(verdict));
                }
                Output::Sign(request) => {
                    let result = match &self.signer {
                        Some(signer) => Ok(signer.sign(&request.signing_hash)),
                        None => Err("this node has no signer".into()),
                    };
                    self.feed(Input::Signed { id: request.id, result });
                }
                Output::Send { id, topic, contents } => {
                    let chain_id = self.node.chain().chain_id;
                    let outcome = self.swarm.behaviour_mut().publish(chain_id, topic, &contents);
                    self.feed(Input::Sent { id, outcome });
                }
                Output::Dial(peer) => self.dial(&peer),
                Output::Store(change) => self.store(&change, stored),
                Output::Event(event) => {
                    changed = true;
                    self.on_core(event);
                }
            }
        }
        if changed {
            let (head, highest) = (self.node.view().head(), self.node.view().highest());
            self.status.send_modify(|status| {
                status.head = head;
                status.highest = highest;
            });
        }
    }

    fn on_core(&mut self, event: Event) {
        if let Event::Published { id, result } = &event
            && let Some(answer) = self.publications.remove(id)
        {
            // Whoever asked may have stopped waiting.
            let _ = answer.send(result.clone());
        }
        self.tell(HostEventKind::Core(event));
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Publish { publication, answer } => {
                let id = PublishId(self.next_publication);
                self.next_publication += 1;
                self.publications.insert(id, answer);
                self.feed(Input::Publish { id, publication });
            }
            Command::SetSigner(signer) => self.feed(Input::SetSigner(signer)),
        }
    }

    fn dial(&mut self, peer: &opp2p_core::peers::PeerId) {
        let Some(id) = swarm::to_libp2p(peer) else { return };
        let addresses = self.static_peers.get(&id).cloned().unwrap_or_default();
        let options = DialOpts::peer_id(id)
            .addresses(addresses)
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .build();
        match self.swarm.dial(options) {
            // Connected or being dialled already: the event will come.
            Ok(()) | Err(DialError::DialPeerConditionFalse(_)) => {}
            Err(error) => self.dial_failed(id, &error),
        }
    }

    fn dial_failed(&mut self, peer: PeerId, error: &DialError) {
        self.tell(HostEventKind::DialFailed { peer, error: reason(error) });
        if let Some(peer) = swarm::from_libp2p(&peer) {
            self.feed(Input::DialFailed(peer));
        }
    }

    fn store(&self, change: &StoreChange, stored: &mpsc::UnboundedSender<Result<BlockId, String>>) {
        let received = self.clock.now().unix.as_millis();
        let Some(batch) = persist::batch(change, u64::try_from(received).unwrap_or(u64::MAX)) else { return };
        let id = batch.canonical.last().map(|(number, hash)| BlockId::new(*number, *hash));
        let answer = stored.clone();
        let queued = self.writer.submit(batch, move |result| {
            if let Some(id) = id {
                let _ = answer.send(result.map(|()| id).map_err(|failed| failed.to_string()));
            }
        });
        if let Err(full) = queued {
            let _ = stored.send(Err(full.to_string()));
        }
    }

    fn on_stored(&mut self, result: Result<BlockId, String>) {
        match result {
            Ok(id) => {
                self.status.send_modify(|status| status.stored = Some(id));
                self.tell(HostEventKind::Stored(id));
            }
            Err(error) => self.tell(HostEventKind::StoreFailed(error)),
        }
    }

    fn on_swarm(&mut self, event: SwarmEvent<swarm::Event>) {
        match event {
            SwarmEvent::Behaviour(swarm::Event::Gossipsub(event)) => self.on_gossipsub(*event),
            SwarmEvent::Behaviour(swarm::Event::Identify(event)) => {
                if let identify::Event::Received { peer_id, info, .. } = *event {
                    self.tell(HostEventKind::Identified { peer: peer_id, agent: info.agent_version });
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
                self.tell(HostEventKind::Connected { peer: peer_id, address });
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, .. } => {
                self.connected(peer_id, false);
                self.tell(HostEventKind::Disconnected { peer: peer_id });
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

    fn on_gossipsub(&mut self, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Message { propagation_source, message_id, message } => {
                let chain_id = self.node.chain().chain_id;
                if let Some(input) = gossip_input(chain_id, propagation_source, &message_id, message) {
                    self.feed(input);
                }
            }
            gossipsub::Event::Subscribed { .. } | gossipsub::Event::Unsubscribed { .. } => {
                self.refresh_mesh();
            }
            gossipsub::Event::SlowPeer { peer_id, .. } => {
                tracing::debug!(peer = %peer_id, "a peer takes messages slower than they come");
            }
            gossipsub::Event::GossipsubNotSupported { peer_id } => {
                tracing::debug!(peer = %peer_id, "a peer does not speak gossipsub");
            }
        }
    }

    fn connected(&mut self, peer: PeerId, connected: bool) {
        let peers = self.swarm.connected_peers().count();
        self.status.send_modify(|status| status.peers = peers);
        if let Some(peer) = swarm::from_libp2p(&peer) {
            self.feed(if connected { Input::Connected(peer) } else { Input::Disconnected(peer) });
        }
        self.refresh_mesh();
    }

    /// Puts the sizes of the present fork's topic into the status.
    fn refresh_mesh(&self) {
        let chain = self.node.chain();
        let version = PayloadVersion::at(&chain.forks, self.clock.now().unix_seconds());
        let subscribers = self.swarm.behaviour().subscribers(chain.chain_id, version);
        let mesh = self.swarm.behaviour().mesh_size(chain.chain_id, version);
        self.status.send_if_modified(|status| {
            let changed = (status.subscribers, status.mesh) != (subscribers, mesh);
            (status.subscribers, status.mesh) = (subscribers, mesh);
            changed
        });
    }
}

/// What a person can make of a failed dial: the last cause, which is what the system said, for each
/// address. libp2p's own text repeats every layer, over several lines.
fn reason(error: &DialError) -> String {
    fn last(mut error: &dyn std::error::Error) -> String {
        while let Some(cause) = error.source() {
            error = cause;
        }
        error.to_string()
    }
    let text = match error {
        DialError::Transport(failures) => {
            let each = failures.iter().map(|(address, error)| format!("{address}: {}", last(error)));
            each.collect::<Vec<_>>().join("; ")
        }
        other => last(other),
    };
    // A name with several addresses has a list of causes, one a line.
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Stands in for a moment that never comes; the branch that holds it is switched off.
fn far_away() -> tokio::time::Instant {
    tokio::time::Instant::now() + Duration::from_secs(60 * 60)
}
