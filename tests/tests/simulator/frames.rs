//! Fifty nodes whose gossip is the router's own: whole cores that exchange its frames over lines
//! with latency and bandwidth, and a few peers that send rubbish in frames.
//!
//! Blocks are not fetched by number here, so that gossip alone must bring each of them. In every
//! run, every honest node delivers every block, in order and soon; no honest node is banned,
//! disconnected, or has a penalty; and every neighbour of a peer that sends rubbish bans it.

use super::chain::{self, Pace};
use super::rng::Rng;
use alloy_primitives::{B256, Bytes};
use opp2p_core::chain::{BlockId, ChainEvent};
use opp2p_core::gossip::block_topic;
use opp2p_core::mesh::wire::ControlWriter;
use opp2p_core::mesh::{Frame, StreamAction, StreamEvent, Version};
use opp2p_core::node::{Event, Input, JobResult, MeshSettings, Node, NodeConfig, Output, StoreId};
use opp2p_core::payload::{PayloadVersion, snappy};
use opp2p_core::peers::{ConnectionId, Door, Knock, PeerEvent, PeerId};
use opp2p_core::sequencer::{Publication, PublishId};
use opp2p_core::time::{Instant, Now};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1000 * MS;
const HONEST: usize = 50;
const VILLAINS: usize = 4;
/// Connections that each peer opens.
const DIALS: usize = 6;
const BLOCKS: u64 = 30;
/// Bytes per millisecond of each node's uplink: 50 Mbit/s.
const UPLINK: u64 = 6_250;
/// Bytes that a line takes at once.
const WINDOW: usize = 64 << 10;
/// Maximum time from a block's publication to its delivery by the last node.
const WITHIN: u64 = 3 * SECOND;

enum Happening {
    Tick,
    Join(usize),
    Attack(usize),
    Input {
        to: usize,
        input: Box<Input>,
    },
    /// As an input, from a peer to which there may be no connection any more.
    Frame {
        to: usize,
        from: usize,
        frame: Bytes,
    },
    Job {
        to: usize,
        result: Box<JobResult>,
    },
    Stored {
        to: usize,
        id: StoreId,
    },
    Wake(usize),
}

struct Member {
    node: Node,
    wake: Option<u64>,
    /// Time at which the uplink has sent all it was given.
    free: u64,
    neighbours: BTreeMap<usize, ConnectionId>,
    banned: BTreeSet<usize>,
    /// Delivery of each block.
    delivered: Vec<u64>,
}

/// What a run has shown.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Shown {
    pub(crate) digest: u64,
    /// Time from a block's publication to its last delivery, at most, in nanoseconds.
    pub(crate) slowest: u64,
    /// Copies of each block that a node received, on average.
    pub(crate) copies: f64,
}

pub(crate) struct Frames {
    rng: Rng,
    now: u64,
    queue: BTreeMap<(u64, u64), Happening>,
    next: u64,
    members: Vec<Member>,
    parent: B256,
    /// Each block, and the time of its publication.
    blocks: Vec<(BlockId, u64)>,
    connections: u64,
    copies: u64,
    digest: u64,
}

fn peer(index: usize) -> PeerId {
    let mut bytes = [5_u8; 39];
    bytes[38] = index as u8;
    PeerId::try_from(&bytes[..]).expect("39 bytes")
}

fn index(peer: &PeerId) -> usize {
    usize::from(peer.as_bytes()[38])
}

fn without_prefix(frame: &Frame) -> Bytes {
    let bytes: Bytes = frame.to_vec().into();
    let prefix = bytes.iter().take_while(|byte| **byte >= 0x80).count() + 1;
    bytes.slice(prefix..)
}

/// Returns the latency between two peers in nanoseconds: 5 to 150 ms, the same both ways.
const fn latency(one: usize, other: usize) -> u64 {
    let (low, high) = if one < other { (one, other) } else { (other, one) };
    (5 + (low * 37 % 73) as u64 + (high * 41 % 73) as u64) * MS
}

impl Frames {
    pub(crate) fn new(seed: u64) -> Self {
        let mut frames = Self {
            rng: Rng::new(seed ^ 0x66_7261_6d65),
            now: 0,
            queue: BTreeMap::new(),
            next: 0,
            members: Vec::new(),
            parent: chain::GENESIS_HASH,
            blocks: Vec::new(),
            connections: 0,
            copies: 0,
            digest: 0xcbf2_9ce4_8422_2325,
        };
        for at in 0..HONEST {
            let config = NodeConfig {
                seed: seed ^ at as u64,
                from_genesis: true,
                mesh: Some(MeshSettings::new(frames.rng.next())),
                ..NodeConfig::new(Pace::Slow.config())
            };
            frames.members.push(Member {
                node: Node::new(frames.clock(), config).expect("sound"),
                wake: None,
                free: 0,
                neighbours: BTreeMap::new(),
                banned: BTreeSet::new(),
                delivered: Vec::new(),
            });
        }
        for at in 0..HONEST + VILLAINS {
            let when = frames.rng.range(0, 2000) * MS;
            frames.at(when, Happening::Join(at));
        }
        frames.at(5 * SECOND, Happening::Tick);
        frames
    }

    /// Executes the whole run, and checks its properties.
    pub(crate) fn run(&mut self) -> Shown {
        let end = (5 + 2 * BLOCKS + 5) * SECOND;
        while let Some(((at, _), happening)) = self.queue.pop_first() {
            if at > end {
                break;
            }
            self.now = at;
            self.happen(happening);
        }
        let mut slowest = 0;
        for at in 0..HONEST {
            let delivered = &self.members[at].delivered;
            assert_eq!(delivered.len(), self.blocks.len(), "node {at} lacks blocks");
            for ((block, published), delivered) in self.blocks.iter().zip(delivered) {
                let took = delivered - published;
                assert!(took <= WITHIN, "{block} came to {at} after {} ms", took / MS);
                slowest = slowest.max(took);
            }
            self.check_peers(at);
        }
        let received = self.blocks.len() * (HONEST - 1);
        Shown { digest: self.digest, slowest, copies: self.copies as f64 / received as f64 }
    }

    fn check_peers(&self, at: usize) {
        let member = &self.members[at];
        for other in member.neighbours.keys() {
            assert!(*other < HONEST, "{at} keeps {other}, which sends rubbish");
            let score = member.node.peers().scores(self.clock(), &peer(*other)).gossip;
            assert!(score.total >= 0.0, "{at} holds something against {other}: {score:?}");
            assert_eq!(score.behavioural_penalty, 0.0, "{other} at {at}");
        }
        let sizes = member.node.router().expect("a router").sizes();
        assert_eq!((sizes.judging, member.node.waiting()), (0, 0));
        assert!((4..=14).contains(&sizes.mesh), "{at} has a mesh of {}", sizes.mesh);
    }

    fn clock(&self) -> Now {
        let now = Duration::from_nanos(self.now);
        Now::new(now, Duration::from_secs(chain::GENESIS_TIME) + now)
    }

    fn at(&mut self, when: u64, happening: Happening) {
        self.queue.insert((when.max(self.now), self.next), happening);
        self.next += 1;
    }

    fn later(&mut self, when: u64, to: usize, event: StreamEvent) {
        self.at(when, Happening::Input { to, input: Box::new(Input::Mesh(event)) });
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Tick => self.make_block(),
            Happening::Join(at) => self.join(at),
            Happening::Attack(who) => self.attack(who),
            Happening::Input { to, input } => self.tell(to, *input),
            Happening::Frame { to, from, frame } => {
                if self.members[to].neighbours.contains_key(&from) {
                    self.tell(to, Input::Mesh(StreamEvent::Frame(peer(from), frame)));
                }
            }
            Happening::Job { to, result } => self.tell(to, Input::JobDone(*result)),
            Happening::Stored { to, id } => self.tell(to, Input::Stored { id, is_stored: true }),
            Happening::Wake(at) => {
                if self.members[at].wake.is_some_and(|wake| wake <= self.now) {
                    self.members[at].wake = None;
                    self.tell(at, Input::Wake);
                }
            }
        }
    }

    /// The sequencer, which is the first node, publishes a block; now and then a large one.
    fn make_block(&mut self) {
        let number = self.blocks.len() as u64 + 1;
        let bytes = if number.is_multiple_of(5) { 200_000 } else { 2_000 };
        // Its timestamp is that of the chain's schedule, so publication is early or late by a bit.
        let block = chain::block(Pace::Slow, number, self.parent, 0, bytes);
        self.parent = block.hash();
        self.blocks.push((BlockId::of(&block), self.now));
        let contents = chain::message(&chain::signer(), &block).into_contents().expect("valid");
        let publication = Publication::Signed { version: PayloadVersion::V4, contents };
        self.tell(0, Input::Publish { id: PublishId(number), publication });
        if number < BLOCKS {
            self.at(self.now + 2 * SECOND, Happening::Tick);
        }
    }

    fn join(&mut self, at: usize) {
        for _ in 0..DIALS {
            let other = self.rng.range(0, HONEST as u64) as usize;
            let is_new = other != at && !self.members[other].neighbours.contains_key(&at);
            if is_new {
                self.connect(at, other, false);
                self.connect(other, at, true);
            }
        }
        if at >= HONEST {
            let begins = self.now + self.rng.range(500, 9000) * MS;
            self.at(begins, Happening::Attack(at));
        }
    }

    fn connect(&mut self, at: usize, other: usize, is_inbound: bool) {
        self.connections += 1;
        let (id, now) = (ConnectionId(self.connections), self.clock());
        let Some(member) = self.members.get_mut(at) else { return };
        let (door, peer) = (Door::Tcp, peer(other));
        let ip = Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, other as u8)));
        if is_inbound {
            let accept = Knock::Accept { id, door, ip };
            member.node.knock(now, &accept).expect("there is room");
        }
        let secured = Knock::Secured { id, door, peer, ip, is_inbound };
        member.node.knock(now, &secured).expect("there is room");
        member.neighbours.insert(other, id);
        self.tell(at, Input::Connected(peer));
        let identified = self.now + 2 * latency(at, other);
        self.later(identified, at, StreamEvent::Supports(peer));
    }

    /// A peer subscribes, and sends rubbish to all its neighbours.
    fn attack(&mut self, who: usize) {
        let topic = block_topic(chain::CHAIN_ID, PayloadVersion::V4);
        let targets: Vec<usize> =
            (0..HONEST).filter(|at| self.members[*at].neighbours.contains_key(&who)).collect();
        for to in targets {
            let mut writer = ControlWriter::default();
            writer.subscription(&topic, true);
            writer.graft(&topic);
            let words = writer.finish().expect("two");
            let length = self.rng.range(70, 3000);
            let rubbish: Vec<u8> = (0..length).map(|_| self.rng.next() as u8).collect();
            let rubbish = Frame::message(&topic, snappy::compress(&rubbish).into());
            let when = self.now + latency(who, to);
            for frame in [words, rubbish] {
                let frame = without_prefix(&frame);
                self.at(when, Happening::Frame { to, from: who, frame });
            }
        }
    }

    fn tell(&mut self, to: usize, input: Input) {
        let now = self.clock();
        self.members[to].node.handle(now, input);
        while let Some(output) = self.members[to].node.poll() {
            self.carry_out(to, output);
        }
        let wakeup = self.members[to].node.next_wakeup();
        let wakeup = wakeup.map(|at| at.since(Instant::default()).as_nanos() as u64);
        if let Some(wake) = wakeup
            && self.members[to].wake.is_none_or(|before| wake < before)
        {
            self.members[to].wake = Some(wake);
            self.at(wake, Happening::Wake(to));
        }
    }

    fn carry_out(&mut self, at: usize, output: Output) {
        match output {
            Output::Job(job) => {
                let when = self.now + self.rng.range(MS, 3 * MS);
                self.at(when, Happening::Job { to: at, result: Box::new(job.run()) });
            }
            Output::Mesh(action) => self.act(at, action),
            Output::Store { id, .. } => {
                let when = self.now + self.rng.range(MS, 20 * MS);
                self.at(when, Happening::Stored { to: at, id });
            }
            Output::Event(Event::Chain(ChainEvent::Extended(block))) => {
                let member = &mut self.members[at];
                let expected = self.blocks.get(member.delivered.len()).map(|(block, _)| *block);
                assert_eq!(Some(BlockId::of(&block)), expected, "node {at}");
                member.delivered.push(self.now);
                self.mix(at as u64);
            }
            Output::Event(Event::Chain(ChainEvent::Skipped { .. })) => {
                panic!("node {at} gives up a block")
            }
            Output::Event(Event::Peers(PeerEvent::Banned { peer, .. })) => {
                assert!(index(&peer) >= HONEST, "{at} bans the honest {}", index(&peer));
                self.members[at].banned.insert(index(&peer));
            }
            Output::Disconnect(whom) => self.part(at, index(&whom)),
            Output::Verdict(_) | Output::Event(_) | Output::Remember(_) => {}
            Output::ReadSigner => {}
            other => panic!("nobody asked for {other:?}"),
        }
    }

    fn part(&mut self, at: usize, whom: usize) {
        assert!(whom >= HONEST, "{at} turns out the honest {whom}");
        let Some(id) = self.members[at].neighbours.remove(&whom) else { return };
        let now = self.clock();
        self.members[at].node.knock(now, &Knock::Ended(id)).expect("it just ends");
        let gone = Box::new(Input::Disconnected(peer(whom)));
        self.at(self.now, Happening::Input { to: at, input: gone });
    }

    fn act(&mut self, at: usize, action: StreamAction) {
        match action {
            StreamAction::OpenWriter(whom) => {
                let (other, when) = (index(&whom), self.now + latency(at, index(&whom)));
                self.later(when, at, StreamEvent::WriterOpened(whom, Version::V1_2));
                if other < HONEST {
                    self.later(when, other, StreamEvent::ReaderOpened(peer(at)));
                }
            }
            StreamAction::Transmit(whom) => self.transmit(at, index(&whom)),
            StreamAction::CloseWriter(whom) | StreamAction::ResetReader(whom) => {
                assert!(index(&whom) >= HONEST, "{at} resets a stream of the honest {whom:?}");
            }
        }
    }

    /// Sends what the router has for a peer, over the uplink that all of them share.
    fn transmit(&mut self, at: usize, to: usize) {
        let now = self.clock();
        while let Some(frame) = self.members[at].node.transmit(now, &peer(to), WINDOW) {
            let member = &mut self.members[at];
            let takes = frame.len() as u64 * MS / UPLINK;
            member.free = member.free.max(self.now) + takes;
            let written = member.free;
            self.later(written, at, StreamEvent::Written(peer(to), frame.len()));
            if to < HONEST {
                self.copies += u64::from(!frame.data().is_empty());
                let (frame, when) = (without_prefix(&frame), written + latency(at, to));
                self.at(when, Happening::Frame { to, from: at, frame });
            }
        }
    }

    fn mix(&mut self, what: u64) {
        for word in [self.now, what] {
            self.digest = (self.digest ^ word).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
