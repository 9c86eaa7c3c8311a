//! Nodes with routers of their own, joined by the frames that they write: a shell in virtual time
//! whose lines take no time. Beside them are *strangers*, peers that the test plays itself.

use super::*;
use crate::mesh::wire::ControlWriter;
use crate::mesh::{Frame, StreamAction, StreamEvent, Version};
use crate::payload::snappy;
use crate::peers::{ConnectionId, Door, Knock, PeerEvent, PeerManager};
use alloy_primitives::Bytes;
use core::net::IpAddr;
use std::collections::{BTreeSet, VecDeque};

/// Bytes that a line takes at once.
pub(super) const WINDOW: usize = 64 << 10;
/// The first stranger's number.
const STRANGERS: usize = 100;

/// A node, and what it did.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) node: Node,
    /// Whether jobs of this kind are left in `jobs`.
    pub(super) holds: Option<JobKind>,
    pub(super) jobs: VecDeque<Job>,
    pub(super) verdicts: Vec<Verdict>,
    pub(super) events: Vec<Event>,
    /// The jobs that were run, by kind.
    pub(super) ran: Vec<JobKind>,
    /// Number of frames with a message that arrived.
    pub(super) messages: usize,
}

#[derive(Debug)]
pub(super) struct Net {
    pub(super) seats: Vec<Seat>,
    pub(super) now: Now,
    /// Pairs of connected peers, in both orders.
    links: BTreeSet<(usize, usize)>,
    /// Strangers that read nothing.
    pub(super) deaf: BTreeSet<usize>,
    inputs: VecDeque<(usize, Input)>,
}

pub(super) fn number(peer: &PeerId) -> usize {
    peer.as_bytes()[0].into()
}

pub(super) fn who(number: usize) -> PeerId {
    peer(u8::try_from(number).expect("small"))
}

pub(super) const fn stranger(number: usize) -> usize {
    STRANGERS + number
}

/// Returns the configuration of a node with a router, on a v4 chain.
pub(super) fn routing(seed: u64) -> NodeConfig {
    NodeConfig { seed, mesh: Some(MeshSettings::new(77)), ..config(V4) }
}

pub(super) fn topic() -> String {
    crate::gossip::block_topic(CHAIN_ID, V4)
}

/// Returns the data of a message with these contents.
pub(super) fn data(contents: &[u8]) -> Bytes {
    snappy::compress(contents).into()
}

/// Returns a frame's bytes without their length prefix.
pub(super) fn bytes_of(frame: &Frame) -> Bytes {
    let bytes: Bytes = frame.to_vec().into();
    let prefix = bytes.iter().take_while(|byte| **byte >= 0x80).count() + 1;
    bytes.slice(prefix..)
}

impl Net {
    pub(super) fn new(configs: impl IntoIterator<Item = NodeConfig>) -> Self {
        let now = Now::new(Duration::from_secs(5000), Duration::from_secs(NOW));
        let seat = |config| Seat {
            node: Node::new(now, config).expect("a good configuration"),
            holds: None,
            jobs: VecDeque::new(),
            verdicts: Vec::new(),
            events: Vec::new(),
            ran: Vec::new(),
            messages: 0,
        };
        let mut net = Self {
            seats: configs.into_iter().map(seat).collect(),
            now,
            links: BTreeSet::new(),
            deaf: BTreeSet::new(),
            inputs: VecDeque::new(),
        };
        net.carry_on();
        net
    }

    /// Returns this many nodes, each connected to the next one.
    pub(super) fn line(length: usize) -> Self {
        let mut net = Self::new((0..length as u64).map(routing));
        (1..length).for_each(|at| net.connect(at - 1, at));
        net.pass(2 * SECOND);
        net
    }

    pub(super) fn peers(&self, at: usize) -> &PeerManager {
        self.seats[at].node.peers()
    }

    pub(super) fn sizes(&self, at: usize) -> crate::mesh::Sizes {
        self.seats[at].node.router().expect("a router").sizes()
    }

    /// Has one peer dial another.
    pub(super) fn connect(&mut self, from: usize, to: usize) {
        self.connect_at(Door::Tcp, from, to);
    }

    /// Has one peer dial another, which listens at this door.
    pub(super) fn connect_at(&mut self, door: Door, from: usize, to: usize) {
        self.links.extend([(from, to), (to, from)]);
        for (at, other, is_inbound) in [(from, to, false), (to, from, true)] {
            let Some(seat) = self.seats.get_mut(at) else { continue };
            let ip = Some(IpAddr::from([10, 0, 0, other as u8]));
            let (id, peer) = (ConnectionId(other as u64), who(other));
            let door = if is_inbound { door } else { Door::Tcp };
            let knocks = [
                is_inbound.then_some(Knock::Accept { id, door, ip }),
                Some(Knock::Secured { id, door, peer, ip, is_inbound }),
            ];
            for knock in knocks.iter().flatten() {
                seat.node.knock(self.now, knock).expect("there is room");
            }
            self.inputs.push_back((at, Input::Connected(peer)));
            self.inputs.push_back((at, Input::Mesh(StreamEvent::Supports(peer))));
        }
        self.carry_on();
    }

    pub(super) fn disconnect(&mut self, one: usize, other: usize) {
        for (at, other) in [(one, other), (other, one)] {
            self.links.remove(&(at, other));
            if let Some(seat) = self.seats.get_mut(at) {
                let ended = Knock::Ended(ConnectionId(other as u64));
                seat.node.knock(self.now, &ended).expect("it just ends");
                self.inputs.push_back((at, Input::Disconnected(who(other))));
            }
        }
        self.carry_on();
    }

    pub(super) fn is_linked(&self, one: usize, other: usize) -> bool {
        self.links.contains(&(one, other))
    }

    pub(super) fn tell(&mut self, at: usize, input: Input) {
        self.inputs.push_back((at, input));
        self.carry_on();
    }

    /// Connects a stranger that is subscribed to the v4 topic.
    pub(super) fn meet(&mut self, from: usize, at: usize) {
        self.connect(from, at);
        self.say(from, at, |writer| writer.subscription(&topic(), true));
    }

    /// A stranger writes a frame of control.
    pub(super) fn say(&mut self, from: usize, at: usize, write: impl FnOnce(&mut ControlWriter)) {
        let mut writer = ControlWriter::default();
        write(&mut writer);
        let frame = bytes_of(&writer.finish().expect("something to say"));
        self.tell(at, Input::Mesh(StreamEvent::Frame(who(from), frame)));
    }

    /// A stranger sends a message on the v4 topic.
    pub(super) fn send(&mut self, from: usize, at: usize, contents: &[u8]) {
        let frame = bytes_of(&Frame::message(&topic(), data(contents)));
        self.tell(at, Input::Mesh(StreamEvent::Frame(who(from), frame)));
    }

    pub(super) fn publish(&mut self, at: usize, id: u64, block: &Envelope) {
        let publication = Publication::Envelope(Box::new(block.clone()));
        self.tell(at, Input::Publish { id: PublishId(id), publication });
    }

    pub(super) fn run_jobs(&mut self, at: usize) {
        while let Some(job) = self.seats[at].jobs.pop_front() {
            self.tell(at, Input::JobDone(job.run()));
        }
    }

    /// Lets time pass. Each node is woken exactly when it asked for it.
    pub(super) fn pass(&mut self, by: Duration) {
        let end = self.now.monotonic + by;
        loop {
            let wakeups = self.seats.iter().filter_map(|seat| seat.node.next_wakeup());
            let Some(due) = wakeups.min().filter(|due| *due <= end) else { break };
            self.move_to(due);
            for at in 0..self.seats.len() {
                if self.seats[at].node.next_wakeup().is_some_and(|wakeup| wakeup <= due) {
                    self.tell(at, Input::Wake);
                    let next = self.seats[at].node.next_wakeup();
                    assert!(next.is_none_or(|next| next > due), "woken at {due:?}, it asks again");
                }
            }
        }
        self.move_to(end);
    }

    fn move_to(&mut self, at: Instant) {
        let elapsed = at.since(self.now.monotonic);
        self.now = Now { monotonic: self.now.monotonic + elapsed, unix: self.now.unix + elapsed };
    }

    fn carry_on(&mut self) {
        loop {
            for at in 0..self.seats.len() {
                while let Some(output) = self.seats[at].node.poll() {
                    self.perform(at, output);
                }
            }
            let Some((at, input)) = self.inputs.pop_front() else { break };
            let Some(seat) = self.seats.get_mut(at) else { continue };
            seat.node.handle(self.now, input);
        }
    }

    fn perform(&mut self, at: usize, output: Output) {
        let seat = &mut self.seats[at];
        match output {
            Output::Job(job) if seat.holds == Some(job.kind()) => seat.jobs.push_back(job),
            Output::Job(job) => {
                seat.ran.push(job.kind());
                self.inputs.push_back((at, Input::JobDone(job.run())));
            }
            Output::Verdict(verdict) => seat.verdicts.push(verdict),
            Output::Mesh(action) => self.act(at, action),
            Output::Sign(SignRequest { id, signing_hash, .. }) => {
                let result = Ok(sequencer().sign(&signing_hash));
                self.inputs.push_back((at, Input::Signed { id, result }));
            }
            Output::Disconnect(peer) => self.disconnect(at, number(&peer)),
            Output::Store { id, .. } => {
                self.inputs.push_back((at, Input::Stored { id, is_stored: true }));
            }
            Output::Event(event) => seat.events.push(event),
            Output::Remember(_) | Output::ReadSigner | Output::Dial { .. } => {}
            other => panic!("{other:?} of a node with a router that fetches nothing"),
        }
    }

    fn act(&mut self, at: usize, action: StreamAction) {
        match action {
            StreamAction::OpenWriter(peer) => {
                let other = number(&peer);
                if self.is_linked(at, other) {
                    let opened = StreamEvent::WriterOpened(peer, Version::V1_2);
                    self.inputs.push_back((at, Input::Mesh(opened)));
                    let opened = StreamEvent::ReaderOpened(who(at));
                    self.inputs.push_back((other, Input::Mesh(opened)));
                }
            }
            StreamAction::CloseWriter(_) | StreamAction::ResetReader(_) => {}
            StreamAction::Transmit(peer) => self.transmit(at, number(&peer)),
        }
    }

    fn transmit(&mut self, at: usize, to: usize) {
        while let Some(frame) = self.seats[at].node.transmit(self.now, &who(to), WINDOW) {
            if self.deaf.contains(&to) {
                continue;
            }
            let written = StreamEvent::Written(who(to), frame.len());
            self.inputs.push_back((at, Input::Mesh(written)));
            if let Some(seat) = self.seats.get_mut(to) {
                seat.messages += usize::from(!frame.data().is_empty());
                let arrived = StreamEvent::Frame(who(at), bytes_of(&frame));
                self.inputs.push_back((to, Input::Mesh(arrived)));
            }
        }
    }
}

impl Seat {
    pub(super) fn head(&self) -> Option<BlockId> {
        self.node.view().head()
    }

    /// Returns the events about peers so far.
    pub(super) fn peer_events(&self) -> Vec<PeerEvent> {
        let events = self.events.iter().filter_map(|event| match event {
            Event::Peers(event) => Some(*event),
            _ => None,
        });
        events.collect()
    }

    pub(super) fn has_banned(&self, number: usize) -> bool {
        let banned = who(number);
        self.peer_events()
            .iter()
            .any(|event| matches!(event, PeerEvent::Banned { peer, .. } if *peer == banned))
    }
}
