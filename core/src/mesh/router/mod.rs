//! The router: its inputs and outputs, and the connections between its parts.

mod beat;
mod control;
mod counts;
mod flow;
mod frames;
mod membership;
mod notices;
mod publish;
mod sending;
mod streams;

use super::budget::{Charge, Good};
use super::cache::Cache;
use super::intake::Intake;
use super::io::{Input, Misconduct, Output};
use super::links::Link;
use super::peers::Peer;
use super::promises::Promises;
use super::random::Random;
use super::score::Scores;
use super::seen::Seen;
use super::send::{Incoming, Uplink};
use super::{Id, MeshConfig, Topic};
use crate::gossip::HEARTBEAT_INITIAL_DELAY;
use crate::peers::PeerId;
use crate::peers::score::GossipSnapshot;
use crate::sorted::{SortedMap, SortedSet};
use crate::time::Instant;
pub use counts::Counts;
use std::collections::VecDeque;
use std::time::Duration;

/// Time for which a peer that was pruned must not graft, and for which we don't graft it.
pub const PRUNE_BACKOFF: Duration = Duration::from_secs(60);
/// The same after we unsubscribed.
pub const UNSUBSCRIBE_BACKOFF: Duration = Duration::from_secs(10);
/// Longest back-off that a peer can ask for.
pub const MAX_BACKOFF: Duration = Duration::from_secs(3600);
/// Number of heartbeats that we wait beyond a back-off.
const SLACK: u32 = 2;
/// Maximum number of advertised ids that wait for a message to be named.
pub const MAX_HELD: usize = 1024;

/// An id that a peer advertised while received messages had no name yet.
#[derive(Clone, Copy, Debug)]
struct Held {
    until: Instant,
    since: Instant,
    peer: PeerId,
    topic: Topic,
    id: Id,
}

/// A message of our own that no node has taken yet.
#[derive(Clone, Copy, Debug)]
struct Untaken {
    name: Id,
    browsers_have: bool,
}

/// The gossipsub router. See the [module's documentation](super) for its contract and bounds.
#[derive(Debug)]
pub struct Router {
    config: MeshConfig,
    random: Random,
    /// Key of the keyed hashes.
    key: u64,
    peers: SortedMap<PeerId, Peer>,
    links: Vec<Link>,
    scores: Option<Scores>,
    intake: Intake,
    seen: Seen,
    cache: Cache,
    promises: Promises,
    /// Large messages that peers have begun to send us.
    incoming: Incoming,
    held: VecDeque<Held>,
    uplink: Uplink,
    /// Peers with large messages in their outboxes.
    want_large: SortedSet<PeerId>,
    /// Times at which streams are to be opened.
    openings: SortedSet<(Instant, PeerId)>,
    next_heartbeat: Instant,
    next_opportunistic: Instant,
    next_minute: Instant,
    heartbeats: u64,
    /// The last message of our own, if no node has taken it yet.
    untaken: Option<Untaken>,
    counts: Counts,
    outputs: VecDeque<Output>,
}

/// Sizes of a router's containers, for metrics and tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Connected peers.
    pub peers: usize,
    /// Scored peers, connected or not.
    pub scored: usize,
    /// Messages without a verdict.
    pub judging: usize,
    /// Size of these messages in bytes, as received or announced.
    pub judging_bytes: usize,
    /// Bytes of messages with a verdict, kept to recognise copies.
    pub copies_bytes: usize,
    /// Ids of recent messages.
    pub seen: usize,
    /// Accepted messages, to be advertised and requested.
    pub cached: usize,
    /// Size of these messages in bytes.
    pub cached_bytes: usize,
    /// Requested messages.
    pub promises: usize,
    /// Announced transfers of large messages to us.
    pub incoming: usize,
    /// Most notices of transfers that wait for one peer, or that one peer has sent.
    pub notices: usize,
    /// Advertised ids that wait for names.
    pub held: usize,
    /// Back-offs of all topics.
    pub backoffs: usize,
    /// Most messages in one outbox.
    pub outbox: usize,
    /// Most bytes in one outbox.
    pub outbox_bytes: usize,
    /// Most ids that one peer does not want.
    pub unwanted: usize,
    /// Large messages on their way.
    pub turns: usize,
    /// Most nodes in one mesh.
    pub mesh: usize,
    /// Most peers in one fanout.
    pub fanout: usize,
}

impl Router {
    /// Creates a router without peers, which has joined no topic.
    pub fn new(now: Instant, config: MeshConfig) -> Self {
        let mut random = Random::new(config.seed);
        Self {
            key: random.next(),
            random,
            links: config.topic_names().map(|name| Link::new(name)).collect(),
            scores: config.score.map(|params| Scores::new(now, params)),
            peers: SortedMap::new(),
            intake: Intake::default(),
            seen: Seen::default(),
            cache: Cache::default(),
            promises: Promises::default(),
            incoming: Incoming::default(),
            held: VecDeque::new(),
            uplink: Uplink::default(),
            want_large: SortedSet::new(),
            openings: SortedSet::new(),
            next_heartbeat: now + HEARTBEAT_INITIAL_DELAY,
            next_opportunistic: now + beat::OPPORTUNISTIC_INTERVAL,
            next_minute: now + beat::MINUTE,
            heartbeats: 0,
            untaken: None,
            counts: Counts::default(),
            outputs: VecDeque::new(),
            config,
        }
    }

    /// Handles an input. Drain [`Self::poll`] after each call.
    pub fn handle(&mut self, now: Instant, input: Input) {
        match input {
            Input::Connected { peer, class, is_outbound, ips } => {
                self.connected(now, peer, class, is_outbound, &ips);
            }
            Input::Disconnected(peer) => self.disconnected(now, &peer),
            Input::Supports(peer) => self.supports(&peer),
            Input::WriterOpened(peer, version) => self.writer_opened(now, &peer, version),
            Input::WriterClosed { peer, is_refused } => self.writer_closed(now, &peer, is_refused),
            Input::ReaderOpened(peer) => self.reader_opened(now, &peer),
            Input::Frame(peer, frame) => self.frame(now, &peer, &frame),
            Input::Malformed(peer) => self.breach(now, &peer, 1.0),
            Input::Written(peer, bytes) => self.written(now, &peer, bytes),
            Input::Named(named) => self.named(now, named),
            Input::NamingFailed(entry) => self.naming_failed(entry),
            Input::Verdict(entry, verdict) => self.verdict(now, entry, verdict),
            Input::Blame(peer, topic) => self.invalid(now, &peer, topic),
            Input::Publish { id, topic, name, data } => self.publish(now, id, topic, name, &data),
            Input::Join(topic) => self.join(now, topic),
            Input::Leave(topic) => self.leave(now, topic),
            Input::ApplicationScore(peer, score) => {
                if let Some(scores) = &mut self.scores {
                    scores.set_application(&peer, score);
                }
            }
            Input::Live(live) => {
                if let Some(scores) = &mut self.scores {
                    scores.set_live(live);
                }
            }
            Input::Pinged(peer, round_trip) => {
                if let Some(known) = self.peers.get_mut(&peer) {
                    known.round_trip = round_trip;
                }
            }
            Input::Wake => {}
        }
        self.wake(now);
    }

    /// Returns the next action, or `None` if nothing is to be done until the next input.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Returns the time of the next [`Input::Wake`], unless another input comes before.
    pub fn next_wakeup(&self, now: Instant) -> Instant {
        let others = [
            self.openings.first().map(|(at, _)| *at),
            self.held.front().map(|held| held.until),
            self.next_turn(now),
        ];
        others.into_iter().flatten().fold(self.next_heartbeat, Instant::min)
    }

    /// Returns the score of a peer, and its components.
    pub fn score_of(&self, now: Instant, peer: &PeerId) -> GossipSnapshot {
        self.scores.as_ref().map(|scores| scores.snapshot(now, peer)).unwrap_or_default()
    }

    /// Returns the same without the application's part: its total is that of gossip alone.
    pub fn conduct_of(&self, now: Instant, peer: &PeerId) -> GossipSnapshot {
        self.scores.as_ref().map(|scores| scores.conduct(now, peer)).unwrap_or_default()
    }

    /// Returns a peer whose penalties grew since it was last returned, connected or not. Other
    /// changes of scores are smaller, and are best read once in a [heartbeat](Self::heartbeats).
    pub fn poll_fallen(&mut self) -> Option<PeerId> {
        self.scores.as_mut().and_then(Scores::poll_fallen)
    }

    /// Returns the number of heartbeats so far.
    pub const fn heartbeats(&self) -> u64 {
        self.heartbeats
    }

    /// Returns totals since the start.
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Returns the number of nodes in our mesh of a topic.
    pub fn nodes_in_mesh(&self, topic: Topic) -> usize {
        self.link(topic).map_or(0, |link| link.nodes.len())
    }

    /// Returns the peers in our mesh of a topic: nodes, then browsers.
    pub fn mesh_of(&self, topic: Topic) -> impl Iterator<Item = &PeerId> {
        self.links.get(topic.index()).into_iter().flat_map(Link::mesh)
    }

    /// Returns `true` if the peer is connected and subscribed to a topic.
    pub fn is_subscribed(&self, peer: &PeerId, topic: Topic) -> bool {
        self.peers.get(peer).is_some_and(|known| known.subscriptions.contains(topic))
    }

    /// Returns the number of connected peers that are subscribed to a topic.
    pub fn subscribed(&self, topic: Topic) -> usize {
        self.peers.values().filter(|peer| peer.subscriptions.contains(topic)).count()
    }

    /// Returns the sizes of all containers.
    pub fn sizes(&self) -> Sizes {
        let peers = || self.peers.values();
        let links = || self.links.iter();
        Sizes {
            peers: self.peers.len(),
            scored: self.scores.as_ref().map_or(0, Scores::len),
            judging: self.intake.len(),
            judging_bytes: self.intake.bytes(),
            copies_bytes: self.intake.done_bytes(),
            seen: self.seen.len(),
            cached: self.cache.len(),
            cached_bytes: self.cache.bytes(),
            promises: self.promises.len(),
            incoming: self.incoming.len(),
            notices: peers().map(|peer| peer.outbox.notices()).max().unwrap_or_default(),
            held: self.held.len(),
            backoffs: links().map(|link| link.backoffs.len()).sum(),
            outbox: peers().map(|peer| peer.outbox.messages()).max().unwrap_or_default(),
            outbox_bytes: peers().map(|peer| peer.outbox.bytes()).max().unwrap_or_default(),
            unwanted: peers().map(|peer| peer.unwanted.len()).max().unwrap_or_default(),
            turns: self.uplink.len(),
            mesh: links().map(|link| link.nodes.len()).max().unwrap_or_default(),
            fanout: links().map(|link| link.fanout.len()).max().unwrap_or_default(),
        }
    }

    /// Does what is due.
    fn wake(&mut self, now: Instant) {
        while let Some((at, peer)) = self.openings.first().copied().filter(|(at, _)| *at <= now) {
            self.openings.remove(&(at, peer));
            self.open_writer(&peer);
        }
        if self.next_heartbeat <= now {
            self.heartbeat(now);
        }
        self.release_held(now);
        self.start_naming();
        self.take_turns(now);
    }

    fn score(&self, now: Instant, peer: &PeerId) -> f64 {
        self.scores.as_ref().map_or(0.0, |scores| scores.score(now, peer))
    }

    /// Counts a breach of the protocol (P7).
    fn breach(&mut self, now: Instant, peer: &PeerId, count: f64) {
        if let Some(scores) = &mut self.scores {
            scores.tick(now);
            scores.breach(peer, count);
        }
    }

    /// Counts a rejected message (P4).
    fn invalid(&mut self, now: Instant, peer: &PeerId, topic: Topic) {
        if let Some(scores) = &mut self.scores {
            scores.tick(now);
            scores.invalid(now, peer, topic);
        }
    }

    /// Charges a peer. Returns `true` if it can pay.
    fn charge(&mut self, now: Instant, peer: &PeerId, good: Good, amount: usize) -> bool {
        let Some(known) = self.peers.get_mut(peer) else { return false };
        let charge = known.budget.charge(now, good, amount);
        match charge {
            Charge::Paid => return true,
            Charge::Skipped => {}
            Charge::Strike => self.breach(now, peer, 1.0),
            Charge::Out => {
                self.breach(now, peer, 1.0);
                self.outputs.push_back(Output::Ban(*peer, Misconduct::Flood));
            }
        }
        false
    }

    /// Tells the shell that there is something to send to a peer.
    fn announce(&mut self, peer: &PeerId) {
        if let Some(known) = self.peers.get_mut(peer)
            && known.writer == super::peers::Writer::Open
            && !known.outbox.is_announced
        {
            known.outbox.is_announced = true;
            self.outputs.push_back(Output::Transmit(*peer));
        }
    }

    fn find_topic(&self, name: &[u8]) -> Option<Topic> {
        let at = self.links.iter().position(|link| link.name.as_bytes() == name)?;
        Topic::new(at)
    }

    fn link(&self, topic: Topic) -> Option<&Link> {
        self.links.get(topic.index())
    }

    fn link_mut(&mut self, topic: Topic) -> Option<&mut Link> {
        self.links.get_mut(topic.index())
    }
}
