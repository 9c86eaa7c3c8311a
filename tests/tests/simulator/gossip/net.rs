//! The network: routers, lines with latency and bandwidth, and one queue of events.

use super::plan::Plan;
use super::record::Record;
use super::sybil::Bot;
use super::trace::Trace;
use super::{MS, SECOND, TOPIC};
use crate::rng::Rng;
use alloy_primitives::Bytes;
use opp2p_core::gossip::{Acceptance, Unpacked};
use opp2p_core::mesh::{
    Class, EntryId, Frame, Id, Input, MAX_TOPICS, MeshConfig, NameJob, Output, Router, Topic,
    Version,
};
use opp2p_core::payload::snappy;
use opp2p_core::peers::PeerId;
use opp2p_core::sequencer::PublishId;
use opp2p_core::time::Instant;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// Bytes that a line takes at once.
const WINDOW: usize = 64 << 10;
/// Bytes per millisecond of an uplink: 50 Mbit/s, and 1 Gbit/s for each fifth node.
const UPLINKS: [u64; 5] = [6_250, 6_250, 125_000, 6_250, 6_250];
/// Score below which a node bans a peer.
const BANNED_BELOW: f64 = -100.0;

pub(super) enum Event {
    Wake(u32),
    Input { to: u32, peer: u32, input: Box<Input> },
    Frame { to: u32, from: u32, frame: Bytes },
    Written { at: u32, to: u32, bytes: u32 },
    Name { at: u32, job: Box<NameJob> },
    Judge { at: u32, entry: EntryId, verdict: Acceptance },
    Publish,
    Start(u32),
    Dial(u32),
    Restart,
    Sybil(u32),
    Tick(u32),
    Sample,
}

struct Due {
    at: u64,
    order: u64,
    event: Event,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    /// The earliest is the greatest, because a heap returns the greatest first.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

/// Where a peer is: coordinates of 0 to 999, and the delay of its own line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) x: u64,
    pub(super) y: u64,
    line: u64,
}

/// An honest node.
pub(super) struct Member {
    pub(super) router: Router,
    wake: Option<u64>,
    /// Time at which the uplink has sent all it was given.
    free: u64,
    pub(super) links: BTreeSet<u32>,
    pub(super) banned: BTreeSet<u32>,
    /// Time of its start, while it runs.
    pub(super) since: Option<u64>,
    /// Source of each message that waits for a verdict.
    judging: BTreeMap<EntryId, (Id, u32)>,
}

pub(crate) struct Net {
    pub(super) plan: Plan,
    pub(super) rng: Rng,
    pub(super) now: u64,
    queue: BinaryHeap<Due>,
    order: u64,
    pub(super) places: Vec<Place>,
    pub(super) members: Vec<Member>,
    pub(super) bots: Vec<Bot>,
    pub(super) names: BTreeMap<Id, u32>,
    /// The names in order.
    pub(super) recent: Vec<Id>,
    pub(super) record: Record,
    pub(super) trace: Option<Trace>,
    pub(crate) digest: u64,
}

pub(super) fn peer(index: u32) -> PeerId {
    PeerId::try_from(&index.to_be_bytes()[..]).expect("four bytes")
}

pub(super) fn index(peer: &PeerId) -> u32 {
    u32::from_be_bytes(peer.as_bytes().try_into().expect("four bytes"))
}

pub(super) fn topic() -> Topic {
    Topic::new(0).expect("the first")
}

/// Returns the frame as a reader hands it on.
pub(super) fn without_prefix(frame: &Frame) -> Bytes {
    let bytes: Bytes = frame.to_vec().into();
    let prefix = bytes.iter().take_while(|byte| **byte >= 0x80).count() + 1;
    bytes.slice(prefix..)
}

/// Returns the number of the block in a frame with a message: the last bytes of its data state it,
/// and the topic's field follows.
pub(super) fn number_in(frame: &[u8]) -> Option<u32> {
    let data = frame.get(..frame.len().checked_sub(TOPIC.len() + 2)?)?;
    let (_, last) = data.split_last_chunk::<8>()?;
    let [a, b, c, d, mark @ ..] = *last;
    (mark == *MARK).then_some(u32::from_le_bytes([a, b, c, d]))
}

const MARK: &[u8; 4] = b"opp2";

impl Net {
    pub(crate) fn new(seed: u64, plan: Plan) -> Self {
        let mut rng = Rng::new(seed ^ 0x676f_7373_6970);
        let everybody = plan.nodes + plan.sybils;
        let place = |rng: &mut Rng| Place {
            x: rng.range(0, 1000),
            y: rng.range(0, 1000),
            line: rng.range(MS / 2, 8 * MS),
        };
        let places = (0..everybody).map(|_| place(&mut rng)).collect();
        let mut net = Self {
            plan,
            now: 0,
            queue: BinaryHeap::new(),
            order: 0,
            places,
            members: Vec::new(),
            bots: (0..plan.sybils).map(|_| Bot::default()).collect(),
            names: BTreeMap::new(),
            recent: Vec::new(),
            record: Record::new(&plan),
            trace: None,
            digest: 0xcbf2_9ce4_8422_2325,
            rng,
        };
        for at in 0..plan.nodes {
            let router = net.router();
            net.members.push(Member {
                router,
                wake: None,
                free: 0,
                links: BTreeSet::new(),
                banned: BTreeSet::new(),
                since: None,
                judging: BTreeMap::new(),
            });
            let when = net.rng.range(0, plan.start.max(1));
            net.at(when, Event::Start(at));
        }
        for bot in 0..plan.sybils {
            let when = plan.attack + net.rng.range(0, SECOND);
            net.at(when, Event::Sybil(plan.nodes + bot));
        }
        if let Some(every) = plan.churn {
            net.at(plan.first + every, Event::Restart);
        }
        net.at(plan.first, Event::Publish);
        net.at(SECOND, Event::Sample);
        net
    }

    fn router(&mut self) -> Router {
        let config = MeshConfig::new(vec![TOPIC.into()], self.rng.next());
        Router::new(self.clock(), config)
    }

    /// Lets everything happen, in order.
    pub(crate) fn run(&mut self) {
        let end = self.plan.end();
        while let Some(Due { at, event, .. }) = self.queue.pop() {
            if at > end {
                break;
            }
            self.now = at;
            self.happen(event);
        }
        self.now = end;
    }

    pub(super) fn clock(&self) -> Instant {
        Instant::from_start(Duration::from_nanos(self.now))
    }

    pub(super) fn at(&mut self, at: u64, event: Event) {
        let at = at.max(self.now);
        self.queue.push(Due { at, order: self.order, event });
        self.order += 1;
    }

    pub(super) const fn is_honest(&self, who: u32) -> bool {
        who < self.plan.nodes
    }

    /// Returns the latency between two peers: at most some 160 ms, the same both ways.
    pub(super) fn latency(&self, one: u32, other: u32) -> u64 {
        let (a, b) = (self.places[one as usize], self.places[other as usize]);
        let (x, y) = (a.x.abs_diff(b.x), a.y.abs_diff(b.y));
        a.line + b.line + (x * x + y * y).isqrt() * (MS / 10)
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Wake(at) => {
                let member = &mut self.members[at as usize];
                if member.wake.is_some_and(|wake| wake <= self.now) {
                    member.wake = None;
                    self.tell(at, Input::Wake);
                }
            }
            Event::Input { to, peer, input } => {
                if self.members[to as usize].links.contains(&peer) {
                    self.tell(to, *input);
                }
            }
            Event::Frame { to, from, frame } if self.is_honest(to) => {
                if self.members[to as usize].links.contains(&from) {
                    self.arrive(to, from, frame);
                }
            }
            Event::Frame { to, from, frame } => self.bot_hears(to, from, &frame),
            Event::Written { at, to, bytes } => {
                self.tell(at, Input::Written(peer(to), bytes as usize));
            }
            Event::Name { at, job } => self.tell(at, Input::Named(job.run())),
            Event::Judge { at, entry, verdict } => self.judge(at, entry, verdict),
            Event::Publish => self.publish(),
            Event::Start(at) => self.start(at),
            Event::Dial(at) => self.dial(at),
            Event::Restart => self.restart(),
            Event::Sybil(bot) => self.appear(bot),
            Event::Tick(bot) => self.bot_ticks(bot),
            Event::Sample => self.sample(),
        }
    }

    fn arrive(&mut self, to: u32, from: u32, frame: Bytes) {
        if let Some(number) = number_in(&frame) {
            self.record.copy(number, to);
            let took = self.latency(from, to);
            if let Some(trace) = &mut self.trace {
                trace.arrived(self.now, number, (from, to), took);
            }
        }
        self.tell(to, Input::Frame(peer(from), frame));
    }

    /// The sequencer, which is the first node, publishes a block: most are small, some are not.
    fn publish(&mut self) {
        let number = self.record.published.len() as u32;
        let length = match number {
            n if n % self.plan.large == self.plan.large / 2 => 60_000,
            n if n % 10 == 5 => self.rng.range(2_000, 20_000),
            _ => self.rng.range(200, 900),
        };
        let mut contents: Vec<u8> = (0..length).map(|_| self.rng.next() as u8).collect();
        contents.extend_from_slice(&number.to_le_bytes());
        contents.extend_from_slice(MARK);
        let data: Bytes = snappy::compress(&contents).into();
        let name: Id = Unpacked::new(&data).message_id(TOPIC).into();
        self.names.insert(name, number);
        self.recent.push(name);
        let now = self.now;
        let is_ready =
            |member: &Member| member.since.is_some_and(|since| since + 2 * SECOND <= now);
        let ready: Vec<bool> = self.members.iter().map(is_ready).collect();
        self.record.publish(now, &ready);
        if let Some(trace) = &mut self.trace {
            trace.published(now, number, data.len());
        }
        let id = PublishId(u64::from(number));
        self.tell(0, Input::Publish { id, topic: topic(), name, data });
        if number + 1 < self.plan.blocks {
            self.at(self.now + self.plan.interval, Event::Publish);
        }
    }

    fn judge(&mut self, at: u32, entry: EntryId, verdict: Acceptance) {
        let judged = self.members[at as usize].judging.remove(&entry);
        if let Some((name, from)) = judged
            && let Some(number) = self.names.get(&name).copied()
        {
            self.mix(u64::from(number) << 32 | u64::from(at));
            self.record.deliver(self.now, number, at, from);
            if let Some(trace) = &mut self.trace {
                trace.delivered(self.now, number, at, from);
            }
        }
        self.tell(at, Input::Verdict(entry, verdict));
    }

    fn start(&mut self, at: u32) {
        self.members[at as usize].since = Some(self.now);
        self.tell(at, Input::Live([true; MAX_TOPICS]));
        self.tell(at, Input::Join(topic()));
        self.at(self.now + self.plan.lateness, Event::Dial(at));
        if self.now >= self.plan.attack {
            self.bots_find(at);
        }
    }

    /// A node opens its connections.
    fn dial(&mut self, at: u32) {
        let nodes = u64::from(self.plan.nodes);
        let wanted = u64::from(self.plan.dials).min(nodes - 1);
        let (mut opened, mut tries) = (0, 0);
        while opened < wanted && tries < 20 * wanted {
            tries += 1;
            let other = self.rng.range(0, nodes) as u32;
            let is_new = other != at
                && self.members[other as usize].since.is_some()
                && !self.members[at as usize].links.contains(&other);
            if is_new {
                self.connect(at, other);
                opened += 1;
            }
        }
        // Those that start later are dialled when they are there.
        if opened < wanted && self.now < self.plan.start + self.plan.lateness + SECOND {
            self.at(self.now + SECOND, Event::Dial(at));
        }
    }

    /// One node is gone for ten seconds, and comes back with an empty router. The sequencer stays.
    fn restart(&mut self) {
        let at = self.rng.range(1, u64::from(self.plan.nodes)) as u32;
        let member = &mut self.members[at as usize];
        if member.since.take().is_some() {
            for other in std::mem::take(&mut member.links) {
                self.forget(other, at);
            }
            self.record.leave(self.now, at);
            let router = self.router();
            let member = &mut self.members[at as usize];
            (member.router, member.wake) = (router, None);
            member.judging.clear();
            self.at(self.now + 10 * SECOND, Event::Start(at));
        }
        if let Some(every) = self.plan.churn.filter(|_| self.record.has_more(&self.plan)) {
            self.at(self.now + every, Event::Restart);
        }
    }

    /// Connects two peers. The first one dials.
    pub(super) fn connect(&mut self, dialler: u32, other: u32) {
        let bans = |at: u32, whom: u32| {
            self.is_honest(at) && self.members[at as usize].banned.contains(&whom)
        };
        if bans(dialler, other) || bans(other, dialler) {
            return;
        }
        for (at, whom, is_outbound) in [(dialler, other, true), (other, dialler, false)] {
            if !self.is_honest(at) {
                self.bot_connects(at, whom);
                continue;
            }
            let (id, [a, b]) = (peer(whom), (whom as u16).to_be_bytes());
            let ips = vec![IpAddr::V4(Ipv4Addr::new(10, (whom >> 16) as u8, a, b))];
            self.members[at as usize].links.insert(whom);
            let class = Class::Node;
            self.tell(at, Input::Connected { peer: id, class, is_outbound, ips });
            let identified = self.now + 2 * self.latency(at, whom);
            self.later(identified, at, whom, Input::Supports(id));
        }
    }

    pub(super) fn later(&mut self, when: u64, to: u32, peer: u32, input: Input) {
        self.at(when, Event::Input { to, peer, input: Box::new(input) });
    }

    /// A peer learns that its connection to another is closed.
    fn forget(&mut self, at: u32, whom: u32) {
        if !self.is_honest(at) {
            self.bot_loses(at, whom);
        } else if self.members[at as usize].links.remove(&whom) {
            self.tell(at, Input::Disconnected(peer(whom)));
        }
    }

    fn ban(&mut self, at: u32, whom: u32) {
        if !self.members[at as usize].banned.insert(whom) {
            return;
        }
        self.mix(u64::from(at) << 32 | u64::from(whom));
        self.record.bans.push((self.now, at, whom));
        if let Some(trace) = &mut self.trace {
            trace.banned(self.now, at, whom);
        }
        self.forget(at, whom);
        self.forget(whom, at);
    }

    /// Hands an input to a node's router, and does what it wants.
    pub(super) fn tell(&mut self, to: u32, input: Input) {
        let now = self.clock();
        let member = &mut self.members[to as usize];
        if member.since.is_none() {
            return;
        }
        member.router.handle(now, input);
        while let Some(output) = self.members[to as usize].router.poll() {
            self.carry_out(to, output);
        }
        let member = &mut self.members[to as usize];
        let mut fallen = Vec::new();
        while let Some(peer) = member.router.poll_fallen() {
            if member.router.score_of(now, &peer).total < BANNED_BELOW {
                fallen.push(index(&peer));
            }
        }
        let wake = member.router.next_wakeup(now).since(Instant::default()).as_nanos() as u64;
        if member.wake.is_none_or(|before| wake < before) {
            member.wake = Some(wake);
            self.at(wake, Event::Wake(to));
        }
        fallen.into_iter().for_each(|whom| self.ban(to, whom));
    }

    fn carry_out(&mut self, at: u32, output: Output) {
        match output {
            Output::OpenWriter(whom) => {
                let (other, delay) = (index(&whom), self.latency(at, index(&whom)));
                let opened = Input::WriterOpened(whom, Version::V1_2);
                self.later(self.now + 2 * delay, at, other, opened);
                if self.is_honest(other) {
                    self.later(self.now + delay, other, at, Input::ReaderOpened(peer(at)));
                }
            }
            Output::Transmit(whom) => self.transmit(at, index(&whom)),
            Output::Name(job) => {
                let takes = MS / 10 + job.size() as u64 * 2 + self.rng.range(0, MS);
                self.at(self.now + takes, Event::Name { at, job: Box::new(job) });
            }
            Output::Validate { entry, from, name, .. } => {
                let is_valid = self.names.contains_key(&name);
                let verdict = if is_valid { Acceptance::Accept } else { Acceptance::Reject };
                self.members[at as usize].judging.insert(entry, (name, index(&from)));
                let when = self.now + self.rng.range(MS, 4 * MS);
                self.at(when, Event::Judge { at, entry, verdict });
            }
            Output::Ban(whom, _) => self.ban(at, index(&whom)),
            Output::Mesh { peer, is_member, .. } => {
                if let Some(trace) = &mut self.trace {
                    trace.meshed(self.now, at, index(&peer), is_member);
                }
            }
            Output::Published { .. } => {}
            Output::CloseWriter(whom) | Output::ResetReader(whom) => {
                assert!(!self.is_honest(index(&whom)), "{at} resets a stream of {whom:?}");
            }
        }
    }

    /// Sends what the router has for a peer, over the uplink that all of them share.
    fn transmit(&mut self, at: u32, to: u32) {
        let now = self.clock();
        while let Some(frame) = self.members[at as usize].router.transmit(now, &peer(to), WINDOW) {
            let bytes = frame.len() as u32;
            let takes = u64::from(bytes) * MS / UPLINKS[at as usize % UPLINKS.len()];
            let member = &mut self.members[at as usize];
            member.free = member.free.max(self.now) + takes;
            let written = member.free;
            self.record.sent += u64::from(bytes);
            self.at(written, Event::Written { at, to, bytes });
            let arrives = written + self.latency(at, to);
            self.at(arrives, Event::Frame { to, from: at, frame: without_prefix(&frame) });
        }
    }

    pub(super) fn mix(&mut self, what: u64) {
        for word in [self.now, what] {
            self.digest = (self.digest ^ word).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
