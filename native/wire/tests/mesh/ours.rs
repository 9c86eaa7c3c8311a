//! Our side: the router, its streams, and the loop that owns both.

use crate::{TOPIC, core_id, transport};
use libp2p::swarm::{ConnectionId, NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, identify, identity::Keypair};
use opp2p_core::gossip::Acceptance;
use opp2p_core::mesh::{
    Class, Input, MAX_TOPICS, MeshConfig, Misconduct, Output, Router, Topic, Version,
};
use opp2p_core::peers;
use opp2p_core::sequencer::PublishId;
use opp2p_core::time::Instant;
use opp2p_wire::mesh::Streams;
use std::task::{Context, Poll};
use std::time::Duration;

#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    streams: Streams,
    identify: identify::Behaviour,
}

pub(crate) struct Ours {
    pub(crate) swarm: Swarm<Behaviour>,
    pub(crate) router: Router,
    pub(crate) peer: PeerId,
    start: std::time::Instant,
    /// Time that is said to have passed beyond what has.
    pub(crate) skew: Duration,
    /// Open connections, oldest first.
    pub(crate) connections: Vec<ConnectionId>,
    /// Contents of messages, in order.
    pub(crate) received: Vec<Vec<u8>>,
    /// Versions of writers that were opened, in order.
    pub(crate) opened: Vec<Version>,
    pub(crate) refused: usize,
    pub(crate) malformed: usize,
    pub(crate) bans: Vec<Misconduct>,
    /// Most bytes that a stream was reported to have accepted at once.
    pub(crate) largest_step: usize,
}

pub(crate) fn topic() -> Topic {
    Topic::new(0).unwrap()
}

impl Ours {
    pub(crate) fn new(change: impl FnOnce(&mut MeshConfig)) -> Self {
        let key = Keypair::generate_secp256k1();
        let peer = key.public().to_peer_id();
        let identify = identify::Config::new("/test".into(), key.public());
        let behaviour =
            Behaviour { streams: Streams::new(), identify: identify::Behaviour::new(identify) };
        let mut config = MeshConfig::new(vec![TOPIC.into()], 7);
        config.heartbeat = Duration::from_millis(200);
        change(&mut config);
        let mut ours = Self {
            swarm: transport::swarm(&key, behaviour),
            router: Router::new(Instant::from_start(Duration::from_secs(1)), config),
            peer,
            start: std::time::Instant::now(),
            skew: Duration::from_secs(1),
            connections: Vec::new(),
            received: Vec::new(),
            opened: Vec::new(),
            refused: 0,
            malformed: 0,
            bans: Vec::new(),
            largest_step: 0,
        };
        let mut live = [false; MAX_TOPICS];
        live[0] = true;
        ours.input(Input::Live(live));
        ours.input(Input::Join(topic()));
        ours
    }

    pub(crate) fn now(&self) -> Instant {
        Instant::from_start(self.start.elapsed() + self.skew)
    }

    pub(crate) fn dial(&mut self, address: &Multiaddr) {
        self.swarm.dial(address.clone()).unwrap();
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self) {
        let now = self.now();
        self.swarm.behaviour_mut().streams.tick(now);
        if self.router.next_wakeup(now) <= now {
            self.input(Input::Wake);
        }
    }

    pub(crate) fn publish(&mut self, contents: &[u8]) {
        let data = crate::compressed(contents);
        let name = crate::name(&data);
        self.input(Input::Publish { id: PublishId(1), topic: topic(), name, data: data.into() });
    }

    pub(crate) fn mesh(&self) -> Vec<peers::PeerId> {
        self.router.mesh_of(topic()).copied().collect()
    }

    /// Returns the breaches that are counted against a peer (P7).
    pub(crate) fn breaches(&self, peer: PeerId) -> f64 {
        self.router.score_of(self.now(), &core_id(peer)).behavioural_penalty
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(event)) =
            futures::Stream::poll_next(std::pin::Pin::new(&mut self.swarm), cx)
        {
            self.on_event(event);
        }
    }

    fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match &event {
            SwarmEvent::ConnectionEstablished { connection_id, .. } => {
                self.connections.push(*connection_id);
            }
            SwarmEvent::ConnectionClosed { connection_id, .. } => {
                self.connections.retain(|other| other != connection_id);
            }
            _ => {}
        }
        match event {
            SwarmEvent::ConnectionEstablished { peer_id, num_established, endpoint, .. }
                if num_established.get() == 1 =>
            {
                self.input(Input::Connected {
                    peer: core_id(peer_id),
                    class: Class::Node,
                    is_outbound: endpoint.is_dialer(),
                    ips: Vec::new(),
                });
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, .. } => {
                self.input(Input::Disconnected(core_id(peer_id)));
            }
            SwarmEvent::Behaviour(BehaviourEvent::Streams(event)) => self.input(event.into()),
            _ => {}
        }
    }

    fn input(&mut self, input: Input) {
        let mut accepts_more = None;
        match &input {
            Input::Written(peer, bytes) => {
                accepts_more = Some(*peer);
                self.largest_step = self.largest_step.max(*bytes);
            }
            Input::WriterOpened(_, version) => self.opened.push(*version),
            Input::WriterClosed { is_refused: true, .. } => self.refused += 1,
            Input::Malformed(_) => self.malformed += 1,
            _ => {}
        }
        self.handle(input);
        if let Some(peer) = accepts_more {
            self.fill(&peer);
        }
    }

    fn handle(&mut self, input: Input) {
        let now = self.now();
        self.router.handle(now, input);
        while let Some(output) = self.router.poll() {
            let streams = &mut self.swarm.behaviour_mut().streams;
            match output {
                Output::OpenWriter(peer) => streams.open_writer(&peer),
                Output::CloseWriter(peer) => streams.close_writer(&peer),
                Output::ResetReader(peer) => streams.reset_reader(&peer),
                Output::Transmit(peer) => self.fill(&peer),
                Output::Name(job) => self.router.handle(now, Input::Named(job.run())),
                Output::Validate { entry, contents, .. } => {
                    self.received.push(contents.into_contents().unwrap().to_vec());
                    self.router.handle(now, Input::Verdict(entry, Acceptance::Accept));
                }
                Output::Ban(_, reason) => self.bans.push(reason),
                Output::Published { .. } | Output::Mesh { .. } => {}
            }
        }
    }

    fn fill(&mut self, peer: &peers::PeerId) {
        let (now, router) = (self.now(), &mut self.router);
        let streams = &mut self.swarm.behaviour_mut().streams;
        streams.fill(peer, |window| router.transmit(now, peer, window));
    }
}
