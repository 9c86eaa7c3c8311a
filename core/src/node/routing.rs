//! The gossip router within the node: its messages go to the validator, and the verdicts back; its
//! jobs are the node's; what it learns about peers goes to the peer manager.
//!
//! Scores are counted once. The router counts how peers gossip, and the peer manager reads that at
//! every heartbeat, and at once when a penalty grew.
//!
//! # Bounds
//! Those of the [router](crate::mesh), and one entry for each message that the validator judges or
//! keeps waiting.

use super::config::{MeshSettings, NodeConfig};
use super::job::{Outcome, Work};
use super::{Node, Output, Running};
use crate::gossip::{Acceptance, MessageId, Verdict, block_topic};
use crate::mesh::{
    self, Class, EntryId, Frame, MAX_TOPICS, MeshConfig, Misconduct, Router, StreamAction,
    StreamEvent, Topic,
};
use crate::payload::PayloadVersion;
use crate::peers::{DisconnectReason, PeerId};
use crate::sequencer::{PublishId, SendOutcome};
use crate::sorted::SortedMap;
use crate::time::{Instant, Now};
use alloy_primitives::Bytes;
use std::time::Duration;

/// The router, and what connects it with the rest of the node.
#[derive(Debug)]
pub(super) struct Routing {
    router: Router,
    /// The router's numbers of the messages that the validator judges, and when they arrived.
    judging: SortedMap<MessageId, (EntryId, Instant)>,
    /// Time of the router's next wake-up, as of the last call.
    wakeup: Instant,
    /// Number of heartbeats after which the scores were last read.
    read_after: u64,
}

/// Sizes of the gossip on one topic, as the node's own router knows them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TopicSizes {
    /// Connected nodes that are subscribed to the topic, without browsers.
    pub subscribers: usize,
    /// Nodes in the mesh.
    pub nodes: usize,
    /// Browsers in the mesh.
    pub browsers: usize,
}

/// Returns the router's topic of a version: topics are in the order of the versions.
fn topic_of(version: PayloadVersion) -> Option<Topic> {
    Topic::new(version.index())
}

fn version_of(topic: Topic) -> Option<PayloadVersion> {
    PayloadVersion::ALL.get(topic.index()).copied()
}

impl Routing {
    /// Creates a router that has joined the chain's topics of all versions.
    pub(super) fn new(now: Now, config: &NodeConfig, settings: MeshSettings) -> Self {
        let topics = PayloadVersion::ALL.map(|version| block_topic(config.chain.chain_id, version));
        let mut router = Router::new(
            now.monotonic,
            MeshConfig {
                mesh: settings.sizes,
                score: config.peers.scoring.params(config.chain.block_time),
                browsers_suffice: settings.browsers_suffice,
                ..MeshConfig::new(topics.into(), config.seed ^ settings.secret)
            },
        );
        for topic in PayloadVersion::ALL.into_iter().filter_map(topic_of) {
            router.handle(now.monotonic, mesh::Input::Join(topic));
        }
        let wakeup = router.next_wakeup(now.monotonic);
        Self { router, judging: SortedMap::new(), wakeup, read_after: 0 }
    }

    pub(super) const fn next_wakeup(&self) -> Instant {
        self.wakeup
    }

    /// Returns the number of messages that the validator judges.
    #[cfg(test)]
    pub(super) fn judging(&self) -> usize {
        self.judging.len()
    }

    /// Passes a verdict to the router, and completes it by the time at which the message arrived.
    pub(super) fn judged(&mut self, now: Instant, verdict: &mut Verdict) {
        if let Some((entry, arrived)) = self.judging.remove(&verdict.id) {
            verdict.arrived = arrived;
            self.router.handle(now, mesh::Input::Verdict(entry, verdict.acceptance()));
        }
    }

    /// Counts a message against a peer after its verdict.
    pub(super) fn blame(&mut self, now: Instant, peer: &PeerId, version: PayloadVersion) {
        if let Some(topic) = topic_of(version) {
            self.router.handle(now, mesh::Input::Blame(*peer, topic));
        }
    }

    pub(super) fn set_live(&mut self, now: Instant, live: [bool; PayloadVersion::ALL.len()]) {
        let mut topics = [false; MAX_TOPICS];
        topics.iter_mut().zip(live).for_each(|(topic, live)| *topic = live);
        self.router.handle(now, mesh::Input::Live(topics));
    }

    pub(super) fn pinged(&mut self, now: Instant, peer: PeerId, round_trip: Duration) {
        self.router.handle(now, mesh::Input::Pinged(peer, round_trip));
    }

    pub(super) fn set_application_score(&mut self, now: Instant, peer: PeerId, score: f64) {
        self.router.handle(now, mesh::Input::ApplicationScore(peer, score));
    }

    /// Returns the number of nodes in the mesh of each topic, by version.
    fn sizes(&self) -> [usize; PayloadVersion::ALL.len()] {
        PayloadVersion::ALL
            .map(|version| topic_of(version).map_or(0, |topic| self.router.nodes_in_mesh(topic)))
    }
}

impl Node {
    /// Returns the gossip router, if the node has one.
    pub fn router(&self) -> Option<&Router> {
        self.mesh.as_ref().map(|mesh| &mesh.router)
    }

    /// Returns the sizes of the gossip on the topic of `version`, or `None` if the node has no
    /// router.
    pub fn topic_sizes(&self, version: PayloadVersion) -> Option<TopicSizes> {
        let router = self.router()?;
        let topic = topic_of(version)?;
        let is_node = |peer: &&PeerId| {
            self.peers.is_static(peer) || self.peers.is_browser(peer) != Some(true)
        };
        let nodes = router.nodes_in_mesh(topic);
        let subscribed = |peer: &&PeerId| router.is_subscribed(peer, topic);
        Some(TopicSizes {
            subscribers: self.peers.connected_peers().filter(is_node).filter(subscribed).count(),
            nodes,
            browsers: router.mesh_of(topic).count().saturating_sub(nodes),
        })
    }

    /// Returns the next frame to write to a peer's gossip stream, or `None` if no frame that fits
    /// into `window` waits: see [`Router::transmit`].
    pub fn transmit(&mut self, now: Now, peer: &PeerId, window: usize) -> Option<Frame> {
        let mesh = self.mesh.as_mut()?;
        let frame = mesh.router.transmit(now.monotonic, peer, window);
        mesh.wakeup = mesh.router.next_wakeup(now.monotonic);
        frame
    }

    /// Handles an event of a peer's streams.
    pub(super) fn stream_event(&mut self, now: Now, event: StreamEvent) {
        let Some(mesh) = self.mesh.as_mut() else { return };
        let peer = *event.peer();
        let is_frame = matches!(event, StreamEvent::Frame(..));
        mesh.router.handle(now.monotonic, event.into());
        if !is_frame {
            return;
        }
        for version in PayloadVersion::ALL {
            let is_subscribed =
                topic_of(version).is_some_and(|topic| mesh.router.is_subscribed(&peer, topic));
            if is_subscribed != self.peers.is_subscribed(&peer, version) {
                self.peers.subscribed(&peer, version, is_subscribed);
            }
        }
        self.peers.heard(now, &peer);
    }

    /// Tells the router that a peer has connected.
    pub(super) fn join_mesh(&mut self, now: Now, peer: PeerId) {
        let Some(mesh) = self.mesh.as_mut() else { return };
        let is_browser = self.peers.is_browser(&peer) == Some(true);
        // The operator's nodes are nodes, whatever door they take.
        let class = match (self.peers.is_static(&peer), is_browser) {
            (true, _) => Class::Static,
            (false, true) => Class::Browser,
            (false, false) => Class::Node,
        };
        let is_outbound = self.peers.is_inbound(&peer) == Some(false);
        let ips = self.peers.remote_ips(&peer).collect();
        let connected = mesh::Input::Connected { peer, class, is_outbound, ips };
        mesh.router.handle(now.monotonic, connected);
        self.read_score(now, &peer);
    }

    /// Tells the router that a peer is gone.
    pub(super) fn leave_mesh(&mut self, now: Now, peer: &PeerId) {
        // Its last score is remembered.
        if self.peers.is_inbound(peer).is_some() {
            self.read_score(now, peer);
        }
        if let Some(mesh) = self.mesh.as_mut() {
            mesh.router.handle(now.monotonic, mesh::Input::Disconnected(*peer));
        }
    }

    /// Handles the result of a naming job.
    pub(super) fn named(&mut self, now: Now, entry: EntryId, outcome: Outcome) {
        let input = match outcome {
            Outcome::Named(named) => mesh::Input::Named(named),
            _ => mesh::Input::NamingFailed(entry),
        };
        if let Some(mesh) = self.mesh.as_mut() {
            mesh.router.handle(now.monotonic, input);
        }
    }

    /// Begins to send a message of our own: a job compresses it, unless no peer would take it.
    pub(super) fn pack(
        &mut self,
        now: Now,
        id: PublishId,
        version: PayloadVersion,
        contents: Bytes,
    ) {
        let subscribed = topic_of(version).zip(self.mesh.as_ref());
        if subscribed.is_none_or(|(topic, mesh)| mesh.router.subscribed(topic) == 0) {
            return self.queue.sent(now, id, SendOutcome::NoPeers);
        }
        let topic = block_topic(self.chain.chain_id, version);
        self.start(Work::Pack { topic, contents }, Running::Pack(id, version));
    }

    /// Publishes a message of our own, if its turn is not over.
    pub(super) fn packed(
        &mut self,
        now: Now,
        id: PublishId,
        version: PayloadVersion,
        outcome: Outcome,
    ) {
        let (Some(mesh), Some(topic)) = (self.mesh.as_mut(), topic_of(version)) else { return };
        match outcome {
            Outcome::Packed(name, data) if self.queue.is_sending(id) => {
                let publish = mesh::Input::Publish { id, topic, name, data };
                mesh.router.handle(now.monotonic, publish);
            }
            Outcome::Packed(..) => {}
            _ => {
                let why = "the job that compresses the block panicked";
                self.queue.sent(now, id, SendOutcome::Failed(why.into()));
            }
        }
    }

    /// Does what is due in the router, and everything that follows. Returns `true` if there was
    /// something.
    pub(super) fn settle_mesh(&mut self, now: Now) -> bool {
        let Some(mesh) = self.mesh.as_mut() else { return false };
        if mesh.wakeup <= now.monotonic {
            mesh.router.handle(now.monotonic, mesh::Input::Wake);
        }
        let mut happened = false;
        while let Some(output) = self.mesh.as_mut().and_then(|mesh| mesh.router.poll()) {
            self.router_output(now, output);
            happened = true;
        }
        happened |= self.read_changed_scores(now);
        if let Some(mesh) = self.mesh.as_mut() {
            mesh.wakeup = mesh.router.next_wakeup(now.monotonic);
            self.troubles.mesh = Some(mesh.sizes());
        }
        happened
    }

    fn router_output(&mut self, now: Now, output: mesh::Output) {
        let action = match output {
            mesh::Output::OpenWriter(peer) => StreamAction::OpenWriter(peer),
            mesh::Output::CloseWriter(peer) => StreamAction::CloseWriter(peer),
            mesh::Output::ResetReader(peer) => StreamAction::ResetReader(peer),
            mesh::Output::Transmit(peer) => StreamAction::Transmit(peer),
            mesh::Output::Name(job) => return self.outputs.push_back(Output::Job(job.into())),
            mesh::Output::Validate { entry, from, topic, name, contents, arrived } => {
                let Some((mesh, version)) = self.mesh.as_mut().zip(version_of(topic)) else {
                    return;
                };
                let Ok(id) = MessageId::try_from(name.as_bytes()) else {
                    let ignored = mesh::Input::Verdict(entry, Acceptance::Ignore);
                    return mesh.router.handle(now.monotonic, ignored);
                };
                mesh.judging.insert(id, (entry, arrived));
                self.validator.receive(now, from, version, id, contents);
                return self.follow_validator(now);
            }
            mesh::Output::Published { id, outcome, .. } => {
                return self.queue.sent(now, id, outcome);
            }
            mesh::Output::Ban(peer, misconduct) => {
                let why = match misconduct {
                    Misconduct::Flood => DisconnectReason::Flooding,
                    Misconduct::Deaf => DisconnectReason::Deaf,
                };
                return self.peers.misbehaved(now, &peer, why);
            }
            mesh::Output::Mesh { peer, topic, is_member } => {
                if let Some(version) = version_of(topic) {
                    self.peers.mesh(now, &peer, version, is_member);
                }
                return;
            }
        };
        self.outputs.push_back(Output::Mesh(action));
    }

    /// Reads the scores of all peers at a heartbeat, and otherwise of those whose penalties grew.
    /// Returns `true` if any was read.
    fn read_changed_scores(&mut self, now: Now) -> bool {
        let Some(mesh) = self.mesh.as_mut() else { return false };
        let mut fallen = Vec::new();
        while let Some(peer) = mesh.router.poll_fallen() {
            fallen.push(peer);
        }
        let is_heartbeat = mesh.router.heartbeats() != mesh.read_after;
        mesh.read_after = mesh.router.heartbeats();
        fallen.iter().for_each(|peer| self.read_score(now, peer));
        if is_heartbeat {
            self.read_scores(now);
        }
        is_heartbeat || !fallen.is_empty()
    }

    /// Reads the scores of all connected peers, if a router counts them.
    pub(super) fn read_scores(&mut self, now: Now) {
        if self.mesh.as_ref().is_some() {
            let peers: Vec<PeerId> = self.peers.connected_peers().copied().collect();
            peers.iter().for_each(|peer| self.read_score(now, peer));
        }
    }

    fn read_score(&mut self, now: Now, peer: &PeerId) {
        if let Some(mesh) = self.mesh.as_ref() {
            let conduct = mesh.router.conduct_of(now.monotonic, peer);
            self.peers.routed(now, peer, conduct);
        }
    }
}
