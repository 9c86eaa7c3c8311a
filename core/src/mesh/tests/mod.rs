//! Conversations with a router, in virtual time.

mod flow;
mod gossip;
mod limits;
mod membership;
mod network;
mod notices;
mod pacing;
mod properties;
mod publishing;
mod sending;
mod streams;
mod thrift;

use super::random::Random;
use super::wire::{Control, ControlWriter, Rpc, Subscription, Transfer};
use super::*;
use crate::gossip::Acceptance;
use crate::payload::snappy;
use crate::peers::PeerId;
use crate::sequencer::{PublishId, SendOutcome};
use crate::time::Instant;
use alloy_primitives::Bytes;
use std::collections::BTreeSet;
use std::time::Duration;

pub(super) const BLOCKS: &str = "blocks";
pub(super) const OTHER: &str = "other";
/// Bytes that a shell takes at once in these tests.
const WINDOW: usize = 64 << 10;

pub(super) fn topic(index: usize) -> Topic {
    Topic::new(index).expect("small")
}

pub(super) fn peer(number: u16) -> PeerId {
    PeerId::try_from(&number.to_be_bytes()[..]).expect("two bytes")
}

pub(super) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Returns a message's data of about `length` bytes, which don't compress.
pub(super) fn block(seed: u64, length: usize) -> Bytes {
    let mut random = Random::new(seed);
    let contents: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
    snappy::compress(&contents).into()
}

pub(super) fn name(data: &Bytes) -> Id {
    crate::gossip::Unpacked::new(data).message_id(BLOCKS).into()
}

/// Something that the router said to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Subscribe(String, bool),
    Graft(String),
    Prune(String, u64),
    IHave(String, Vec<Id>),
    IWant(Vec<Id>),
    IDontWant(Vec<Id>),
    Sending(Id),
    Receiving(Id),
    Received(Id),
    Message(Bytes),
}

fn said_in(frame: &Frame) -> Vec<Said> {
    let bytes: Bytes = frame.to_vec().into();
    let prefix = bytes.iter().take_while(|byte| **byte >= 0x80).count() + 1;
    let rpc = Rpc::parse(&bytes[prefix..]).expect("we write valid frames");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    let ids = |ids: wire::Ids<'_>| ids.filter_map(Id::new).collect::<Vec<_>>();
    let subscriptions = rpc.subscriptions();
    let mut said: Vec<Said> = subscriptions
        .map(|Subscription { subscribes, topic }| Said::Subscribe(text(topic), subscribes))
        .collect();
    said.extend(rpc.messages().map(|message| Said::Message(message.data.to_vec().into())));
    said.extend(rpc.control().map(|control| match control {
        Control::Graft(topic) => Said::Graft(text(topic)),
        Control::Prune { topic, backoff } => Said::Prune(text(topic), backoff),
        Control::IHave { topic, ids: list } => Said::IHave(text(topic), ids(list)),
        Control::IWant(list) => Said::IWant(ids(list)),
        Control::IDontWant(list) => Said::IDontWant(ids(list)),
    }));
    said.extend(rpc.transfers().filter_map(|transfer| match transfer {
        Transfer::Speaks(_) => None,
        Transfer::Sending(id) => Id::new(id).map(Said::Sending),
        Transfer::Receiving(id) => Id::new(id).map(Said::Receiving),
        Transfer::Received(id) => Id::new(id).map(Said::Received),
    }));
    assert!(!said.is_empty(), "an empty frame");
    said
}

/// One router, and the hands that a shell would be.
pub(super) struct Bench {
    pub(super) router: Router,
    pub(super) now: Instant,
    /// Whether naming jobs run at once.
    pub(super) names: bool,
    /// The verdict on every message, or `None` if the test gives them.
    pub(super) verdict: Option<Acceptance>,
    /// Whether frames are pulled and written at once.
    pub(super) reads: bool,
    pub(super) jobs: Vec<NameJob>,
    pub(super) validations: Vec<(EntryId, PeerId, Id)>,
    pub(super) outputs: Vec<Output>,
    frames: Vec<(PeerId, Frame)>,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(super) fn with(change: impl FnOnce(&mut MeshConfig)) -> Self {
        let mut config = MeshConfig::new(vec![BLOCKS.into(), OTHER.into()], 7);
        change(&mut config);
        let now = Instant::from_start(secs(1));
        let mut bench = Self {
            router: Router::new(now, config),
            now,
            names: true,
            verdict: Some(Acceptance::Accept),
            reads: true,
            jobs: Vec::new(),
            validations: Vec::new(),
            outputs: Vec::new(),
            frames: Vec::new(),
        };
        let mut live = [false; MAX_TOPICS];
        live[0] = true;
        bench.input(Input::Live(live));
        bench.input(Input::Join(topic(0)));
        bench
    }

    pub(super) fn input(&mut self, input: Input) {
        self.router.handle(self.now, input);
        while let Some(output) = self.router.poll() {
            match output {
                Output::Name(job) if self.names => {
                    self.router.handle(self.now, Input::Named(job.run()));
                }
                Output::Name(job) => self.jobs.push(job),
                Output::Validate { entry, from, name, .. } => match self.verdict {
                    Some(verdict) => self.router.handle(self.now, Input::Verdict(entry, verdict)),
                    None => self.validations.push((entry, from, name)),
                },
                Output::Transmit(peer) if self.reads => while self.pull_from(&peer) {},
                other => self.outputs.push(other),
            }
        }
    }

    fn pull_from(&mut self, peer: &PeerId) -> bool {
        let Some(frame) = self.router.transmit(self.now, peer, WINDOW) else { return false };
        let length = frame.len();
        self.frames.push((*peer, frame));
        self.router.handle(self.now, Input::Written(*peer, length));
        true
    }

    /// Takes one frame for a peer, and reports nothing about it.
    pub(super) fn pull(&mut self, number: u16) -> Option<Frame> {
        self.router.transmit(self.now, &peer(number), WINDOW)
    }

    pub(super) fn wrote(&mut self, number: u16, bytes: usize) {
        self.input(Input::Written(peer(number), bytes));
    }

    /// Lets time pass, with all wake-ups on the way.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let next = self.router.next_wakeup(self.now);
            if next > end {
                break;
            }
            self.now = self.now.max(next);
            self.input(Input::Wake);
        }
        self.now = end;
    }

    pub(super) fn connect_as(
        &mut self,
        number: u16,
        class: Class,
        outbound: bool,
        version: Version,
    ) {
        let peer = peer(number);
        self.input(Input::Connected { peer, class, is_outbound: outbound, ips: Vec::new() });
        self.input(Input::Supports(peer));
        self.input(Input::WriterOpened(peer, version));
        self.input(Input::ReaderOpened(peer));
    }

    /// Connects a node that is subscribed to the blocks.
    pub(super) fn connect(&mut self, number: u16) {
        self.connect_as(number, Class::Node, false, Version::V1_2);
        self.hello(number);
    }

    pub(super) fn hello(&mut self, number: u16) {
        self.say(number, |writer| writer.subscription(BLOCKS, true));
    }

    pub(super) fn say(&mut self, number: u16, write: impl FnOnce(&mut ControlWriter)) {
        let mut writer = ControlWriter::default();
        write(&mut writer);
        let frame = writer.finish().expect("something to say").to_vec();
        self.receive(number, &frame);
    }

    pub(super) fn send(&mut self, number: u16, data: &Bytes) {
        let frame = Frame::message(BLOCKS, data.clone()).to_vec();
        self.receive(number, &frame);
    }

    /// Receives a frame with its prefix.
    pub(super) fn receive(&mut self, number: u16, frame: &[u8]) {
        let prefix = frame.iter().take_while(|byte| **byte >= 0x80).count() + 1;
        self.input(Input::Frame(peer(number), frame[prefix..].to_vec().into()));
    }

    /// Returns what was said to a peer since the last call.
    pub(super) fn said(&mut self, number: u16) -> Vec<Said> {
        let to = peer(number);
        let (theirs, others): (Vec<_>, Vec<_>) =
            self.frames.drain(..).partition(|(peer, _)| *peer == to);
        self.frames = others;
        theirs.iter().flat_map(|(_, frame)| said_in(frame)).collect()
    }

    /// Returns the number of frames with control that a peer got since the last call.
    pub(super) fn control_frames(&mut self, number: u16) -> usize {
        let to = peer(number);
        let theirs = self.frames.iter().filter(|(peer, _)| *peer == to);
        let count = theirs
            .filter(|(_, frame)| {
                !said_in(frame)
                    .iter()
                    .all(|said| matches!(said, Said::Subscribe(..) | Said::Message(_)))
            })
            .count();
        self.said(number);
        count
    }

    /// Returns the peers that got a message since the last call, in order.
    pub(super) fn receivers(&mut self, data: &Bytes) -> Vec<u16> {
        let message = Said::Message(data.clone());
        let got = self.frames.iter().filter(|(_, frame)| said_in(frame).contains(&message));
        let numbers =
            got.map(|(peer, _)| u16::from_be_bytes(peer.as_bytes().try_into().expect("two bytes")));
        let numbers = numbers.collect();
        self.frames.clear();
        numbers
    }

    pub(super) fn mesh(&self) -> BTreeSet<u16> {
        self.router
            .mesh_of(topic(0))
            .map(|peer| u16::from_be_bytes(peer.as_bytes().try_into().expect("two bytes")))
            .collect()
    }

    pub(super) fn score(&self, number: u16) -> f64 {
        self.router.score_of(self.now, &peer(number)).total
    }

    /// Returns the breaches that are counted (P7).
    pub(super) fn breaches(&self, number: u16) -> f64 {
        self.router.score_of(self.now, &peer(number)).behavioural_penalty
    }

    /// Returns the rejected messages that are counted (P4).
    pub(super) fn invalid(&self, number: u16) -> f64 {
        self.router.score_of(self.now, &peer(number)).blocks.invalid_message_deliveries
    }

    pub(super) fn publish(&mut self, data: &Bytes) -> (SendOutcome, usize) {
        let (id, topic, name) = (PublishId(1), topic(0), name(data));
        self.input(Input::Publish { id, topic, name, data: data.clone() });
        let published = self.outputs.iter().rev().find_map(|output| match output {
            Output::Published { outcome, peers, .. } => Some((outcome.clone(), *peers)),
            _ => None,
        });
        published.expect("an answer")
    }

    /// Returns `true` if this peer was banned.
    pub(super) fn is_banned(&self, number: u16, reason: Misconduct) -> bool {
        let wanted = peer(number);
        self.outputs.iter().any(
            |output| matches!(output, Output::Ban(peer, why) if *peer == wanted && *why == reason),
        )
    }
}
