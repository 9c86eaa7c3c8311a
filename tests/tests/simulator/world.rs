//! A network in virtual time: nodes, liars, messages between them, and the properties checked in
//! every run.

mod checks;
mod members;
mod observers;
mod ranges;
mod read;
mod traffic;

use super::chain;
use super::liar::Liar;
use super::plan::Plan;
use super::rng::Rng;
use super::store::Disk;
use alloy_primitives::{Address, B256};
use opp2p_core::chain::BlockId;
use opp2p_core::gossip::{Signature, Unpacked, block_topic};
use opp2p_core::node::{Input, JobResult, Node, StoreChange, StoreId};
use opp2p_core::payload::{Block, PayloadVersion};
use opp2p_core::peers::{Conduct, ConnectionId, PeerId};
use opp2p_core::sequencer::{Publication, PublishId};
use opp2p_core::sync::client::CHARGE_HELD;
use opp2p_core::sync::range::{RangeServeId, StreamId};
use opp2p_core::sync::{RangeId, RequestFailure, RequestId, STREAM_DEADLINE, ServeId};
use opp2p_core::time::Instant;
use ranges::{OnStream, Served, Stream};
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

const MS: u64 = 1_000_000;
/// The protocol's time limit for a whole answer, in nanoseconds.
const DEADLINE: u64 = STREAM_DEADLINE.as_nanos() as u64;
/// Number of requests that a greedy peer keeps waiting at each node.
const GREEDY_REQUESTS: u64 = 16;

/// A node, and the simulator's records of it.
pub(crate) struct Member {
    pub(crate) node: Option<Node>,
    pub(crate) disk: Disk,
    /// Number of starts: inputs for an earlier life are lost.
    life: u64,
    wake: Option<u64>,
    heard: BTreeSet<B256>,
    /// The chain as it was delivered, lowest first.
    pub(crate) told: Vec<BlockId>,
    /// The numbers that were reported as left out.
    pub(crate) left_out: Vec<u64>,
    skipped: bool,
    /// The reorgs that it reported in this life: the ancestor, and the number of abandoned blocks.
    pub(crate) reorgs: Vec<(BlockId, usize)>,
    writes_until: u64,
    full_until: u64,
    /// Number of changes that its disk refused.
    pub(crate) refused: u64,
    connected: BTreeSet<usize>,
    /// Connections between observers and gateways, by peer.
    pub(crate) lines: BTreeMap<usize, ConnectionId>,
    serving: BTreeMap<ServeId, (usize, u64, RequestId)>,
    /// Requests that it waits for, with the maximum bytes of each answer, and the peer.
    asking: BTreeMap<RequestId, (u64, Option<usize>)>,
    /// Streams of ranges: those that it opened, and those that it serves.
    streams: BTreeMap<StreamId, Stream>,
    served_streams: BTreeMap<RangeServeId, Served>,
    pub(crate) conduct: BTreeMap<(usize, Conduct), u64>,
    /// Seconds by which its wall clock is ahead.
    clock: i64,
    /// Commands that are not answered yet.
    commands: BTreeSet<RangeId>,
    /// Open requests of greedy peers.
    greedy: BTreeMap<ServeId, usize>,
    /// Peers that it banned, of those that are not honest.
    pub(crate) banned: BTreeSet<usize>,
    pub(crate) asked: u64,
    /// Number of requests to endpoints.
    pub(crate) posted: u64,
}

impl Member {
    /// Creates a node that has not started, with its clock ahead by some seconds.
    fn new(disk: Disk, clock: i64) -> Self {
        Self {
            node: None,
            disk,
            life: 0,
            wake: None,
            heard: BTreeSet::new(),
            told: Vec::new(),
            left_out: Vec::new(),
            skipped: false,
            reorgs: Vec::new(),
            writes_until: 0,
            full_until: 0,
            refused: 0,
            connected: BTreeSet::new(),
            lines: BTreeMap::new(),
            serving: BTreeMap::new(),
            asking: BTreeMap::new(),
            streams: BTreeMap::new(),
            served_streams: BTreeMap::new(),
            conduct: BTreeMap::new(),
            clock,
            commands: BTreeSet::new(),
            greedy: BTreeMap::new(),
            banned: BTreeSet::new(),
            asked: 0,
            posted: 0,
        }
    }
}

enum Happening {
    Tick,
    Gossip { to: usize, from: usize, block: Rc<Signed> },
    Job { to: usize, life: u64, result: Box<JobResult> },
    Written { to: usize, life: u64, id: StoreId, change: Box<StoreChange>, done: bool },
    Read { to: usize, life: u64, ids: Vec<BlockId> },
    Request { to: usize, from: usize, life: u64, id: RequestId, number: u64 },
    Response { to: usize, life: u64, id: RequestId, result: Result<Vec<u8>, RequestFailure> },
    Responded { to: usize, life: u64, id: ServeId },
    Stream { to: usize, life: u64, event: OnStream },
    Wake { to: usize, life: u64 },
    Fault(usize),
    Restart { node: usize, keeps_disk: bool },
    Heal { nodes: Vec<usize> },
    SignerRead { to: usize, life: u64, signer: Address, as_of: u64 },
    Signed { life: u64, id: PublishId, signature: Signature },
    Back { liar: usize },
    Greed { liar: usize },
    Dial { from: usize, life: u64, to: usize },
    Ping { from: usize, life: u64 },
}

/// A block and its message, which is made when it is needed first.
pub(crate) struct Signed {
    block: Block,
    is_by_next_signer: bool,
    message: OnceCell<Unpacked>,
}

impl Signed {
    fn message(&self) -> &Unpacked {
        self.message.get_or_init(|| {
            let key = if self.is_by_next_signer { chain::next_signer() } else { chain::signer() };
            chain::message(&key, &self.block)
        })
    }

    /// Returns the block's timestamp, in Unix seconds.
    pub(crate) fn timestamp(&self) -> u64 {
        self.block.timestamp()
    }
}

/// The network.
pub(crate) struct World {
    pub(crate) plan: Plan,
    rng: Rng,
    /// In nanoseconds.
    pub(crate) now: u64,
    queue: BTreeMap<(u64, u64), Happening>,
    next: u64,
    pub(crate) members: Vec<Member>,
    /// All blocks of all branches that the sequencer ever followed.
    made: BTreeMap<B256, Block>,
    /// The branch that it follows now, from block 1 on.
    pub(crate) branch: Vec<Rc<Signed>>,
    ticks: u64,
    /// Number of blocks that the sequencer makes at once while it is behind its schedule, if it was
    /// rewound.
    burst: Option<u64>,
    is_calm: bool,
    cut: BTreeSet<usize>,
    next_serve: u64,
    next_connection: u64,
    next_command: u64,
    /// Liars that are away from all nodes.
    away: BTreeSet<usize>,
    /// Number of open requests of each greedy peer at each node.
    greedy: BTreeMap<(usize, usize), u64>,
    /// Time since when the sequencer signs with another key.
    rotated: Option<u64>,
    /// Blocks that it signed with that key.
    by_next_signer: BTreeSet<B256>,
    /// Number of requests for the signature of each block.
    pub(crate) signings: BTreeMap<PublishId, u64>,
    /// Number of blocks that were published.
    pub(crate) published: u64,
    /// Digest of every node's outputs: equal for two runs of one seed.
    pub(crate) digest: u64,
    pub(crate) most_memory: usize,
    pub(crate) landed: usize,
    pub(crate) range_results: Vec<Result<(), opp2p_core::sync::RangeError>>,
    /// The hashes of the blocks below the branch, for runs in which no block is kept: they are made
    /// again when they are read.
    history: Vec<B256>,
    /// Number of blocks that every node has when the run begins.
    base: usize,
}

fn peer(index: usize) -> PeerId {
    let mut bytes = [7_u8; 39];
    bytes[38] = index as u8;
    PeerId::try_from(&bytes[..]).expect("39 bytes")
}

fn index(peer: &PeerId) -> usize {
    usize::from(peer.as_bytes()[38])
}

/// Returns the seconds by which a node's clock is ahead at its first start.
fn clock_of(plan: &Plan, node: usize) -> i64 {
    plan.clocks.iter().find(|(of, _)| *of == node).map_or(0, |(_, seconds)| *seconds)
}

impl World {
    pub(crate) fn new(plan: Plan) -> Self {
        Self::build(plan, None)
    }

    /// Creates a network whose chain already has `count` blocks, which only `holders` have.
    pub(crate) fn with_history(plan: Plan, count: u64, holders: &[usize]) -> Self {
        Self::build(plan, Some((count, holders)))
    }

    fn build(plan: Plan, history: Option<(u64, &[usize])>) -> Self {
        let mut world = Self {
            rng: Rng::new(plan.seed),
            now: 0,
            queue: BTreeMap::new(),
            next: 0,
            members: Vec::new(),
            made: BTreeMap::new(),
            branch: Vec::new(),
            ticks: 0,
            burst: None,
            is_calm: false,
            cut: BTreeSet::new(),
            next_serve: 0,
            next_connection: 0,
            next_command: 0,
            away: BTreeSet::new(),
            greedy: BTreeMap::new(),
            rotated: None,
            by_next_signer: BTreeSet::new(),
            signings: BTreeMap::new(),
            published: 0,
            digest: 0xcbf2_9ce4_8422_2325,
            most_memory: 0,
            landed: 0,
            range_results: Vec::new(),
            history: Vec::new(),
            base: 0,
            plan,
        };
        if let Some((count, _)) = history {
            world.now = count * world.plan.pace.interval() * MS;
            world.extend_chain(count);
        }
        for index in 0..world.plan.honest {
            let disk = Disk::new(world.plan.disks_forget);
            world.members.push(Member::new(disk, clock_of(&world.plan, index)));
            let had = history.filter(|(_, holders)| holders.contains(&index));
            if let Some((count, _)) = had {
                world.give_blocks(index, count as usize);
            }
        }
        for index in 0..world.plan.honest {
            world.start(index);
        }
        for (at, (when, _)) in world.plan.faults.clone().into_iter().enumerate() {
            world.at(world.now + when * MS, Happening::Fault(at));
        }
        for (at, liar) in world.plan.liars.clone().into_iter().enumerate() {
            if liar == Liar::Greedy {
                let liar = world.plan.honest + at;
                world.at(world.now, Happening::Greed { liar });
            }
        }
        world.at(world.now + world.plan.pace.interval() * MS, Happening::Tick);
        world
    }

    /// Runs up to the plan's last block, and then until all nodes agree with the sequencer. Returns
    /// the duration of the second part.
    pub(crate) fn run(&mut self) -> Duration {
        while self.ticks < self.plan.blocks {
            self.step();
        }
        let took = self.catch_up();
        self.settle_disks();
        took
    }

    /// Ends all faults, and waits for all nodes, and until all commands are answered.
    pub(crate) fn catch_up(&mut self) -> Duration {
        self.is_calm = true;
        self.queue.retain(|_, happening| !matches!(happening, Happening::Fault(_)));
        for member in &mut self.members {
            member.clock = 0;
        }
        let start = self.now;
        let end = self.now + self.plan.patience * MS;
        while !self.all_agree() || self.members.iter().any(|member| !member.commands.is_empty()) {
            assert!(self.now < end, "not caught up: {}", self.state());
            self.step();
        }
        Duration::from_nanos(self.now - start)
    }

    /// Goes on until every charge against a peer counts or has been dropped.
    pub(crate) fn settle_charges(&mut self) {
        let end = self.now + 2 * CHARGE_HELD.as_nanos() as u64;
        while (0..self.members.len()).any(|node| self.status(node).charges > 0) {
            assert!(self.now < end, "a charge is held for ever: {}", self.state());
            self.step();
        }
    }

    /// Processes one event. A network is never idle: the sequencer goes on.
    pub(crate) fn step(&mut self) {
        let ((at, _), happening) = self.queue.pop_first().expect("the sequencer goes on");
        self.now = at;
        self.happen(happening);
    }

    /// Removes a block from a node's disk and memory.
    pub(crate) fn lose(&mut self, node: usize, number: u64) -> BlockId {
        self.stop(node);
        let hash = self.members[node].disk.canonical(number).expect("it has it");
        self.members[node].disk.lose(number);
        self.start(node);
        BlockId::new(number, hash)
    }

    fn at(&mut self, when: u64, happening: Happening) {
        self.queue.insert((when.max(self.now), self.next), happening);
        self.next += 1;
    }

    fn latency(&mut self) -> u64 {
        let (low, high) = self.plan.latency;
        self.rng.range(low * MS, high * MS + 1)
    }

    /// Returns whether a message between these two is lost.
    fn is_lost(&mut self, from: usize, to: usize) -> bool {
        self.is_cut(from, to) || (!self.is_calm && self.rng.chance(self.plan.lost))
    }

    fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cut.contains(&from) != self.cut.contains(&to)
    }

    // ---- events ----

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Tick => self.tick(),
            Happening::Gossip { to, from, block } => {
                if self.members[to].node.is_none()
                    || !self.members[to].heard.insert(block.block.hash())
                {
                    return;
                }
                let version = PayloadVersion::V4;
                let message = block.message().clone();
                let id = message.message_id(&block_topic(chain::CHAIN_ID, version));
                self.tell(to, Input::Gossip { from: peer(from), topic: version, id, message });
            }
            Happening::Job { to, life, result } => {
                self.tell_life(to, life, Input::JobDone(*result));
            }
            Happening::Written { to, life, id, change, done } => {
                self.written(to, life, id, &change, done);
            }
            Happening::Read { to, life, ids } => {
                let blocks = ids.iter().map(|id| self.read(to, id)).collect();
                self.tell_life(to, life, Input::Loaded(blocks));
            }
            Happening::Request { to, from, life, id, number } => {
                self.request(to, from, life, id, number);
            }
            Happening::Response { to, life, id, result } => {
                if self.members[to].life == life
                    && let Some((_, from)) = self.members[to].asking.remove(&id)
                {
                    self.tell(to, Input::Response { id, result: result.map(Into::into) });
                    if self.plan.liars_leave && from.is_some_and(|from| from >= self.plan.honest) {
                        self.leave(from.unwrap_or_default());
                    }
                }
            }
            Happening::Responded { to, life, id } => {
                if self.members[to].life == life {
                    self.members[to].serving.remove(&id);
                    self.tell(to, Input::Responded(id));
                }
            }
            Happening::Stream { to, life, event } => self.on_stream(to, life, event),
            Happening::Wake { to, life } => {
                if self.members[to].life == life
                    && self.members[to].wake.is_some_and(|wake| wake <= self.now)
                {
                    self.members[to].wake = None;
                    self.tell(to, Input::Wake);
                }
            }
            Happening::Fault(at) => self.fault(self.plan.faults[at].1.clone()),
            Happening::Restart { node, keeps_disk } => {
                if !keeps_disk {
                    self.members[node].disk = Disk::new(self.plan.disks_forget);
                }
                self.start(node);
            }
            Happening::Heal { nodes } => {
                for node in nodes {
                    self.cut.remove(&node);
                }
                self.connect_all();
            }
            Happening::SignerRead { to, life, signer, as_of } => {
                self.tell_life(to, life, Input::SignerRead { signer: Some(signer), as_of });
            }
            Happening::Signed { life, id, signature } => {
                self.tell_life(0, life, Input::Signed { id, result: Ok(signature) });
            }
            Happening::Back { liar } => {
                self.away.remove(&liar);
                self.connect_all();
            }
            Happening::Greed { liar } => self.send_greedy_requests(liar),
            Happening::Dial { from, life, to } => self.dial(from, life, to),
            Happening::Ping { from, life } => self.ping(from, life),
        }
    }

    fn tick(&mut self) {
        self.ticks += 1;
        for _ in 0..self.blocks_now() {
            self.extend_chain(1);
            let block = Rc::clone(self.branch.last().expect("just made"));
            // The sequencer's own node has it at once. A block that is too old for gossip is
            // inserted by the operator's tools.
            if block.timestamp() + 60 < self.clock(0).unix_seconds() {
                self.tell(0, Input::Insert(block.block.clone()));
            } else if self.plan.signing.is_some() {
                let envelope = Box::new(block.block.to_envelope());
                let (id, publication) =
                    (PublishId(block.block.number()), Publication::Envelope(envelope));
                self.tell(0, Input::Publish { id, publication });
            } else {
                self.at(self.now, Happening::Gossip { to: 0, from: 255, block });
            }
        }
        self.check_peers();
        self.at(self.now + self.plan.pace.interval() * MS, Happening::Tick);
    }

    /// Makes the sequencer fail over: it drops its newest blocks, and then makes up to `burst`
    /// blocks each block time until it has caught up with its schedule.
    pub(crate) fn rewind(&mut self, depth: usize, burst: u64) {
        let kept = self.branch.len() - depth;
        self.branch.truncate(kept);
        self.burst = Some(burst);
    }

    fn blocks_now(&self) -> u64 {
        let Some(burst) = self.burst else { return 1 };
        let due = self.now / (self.plan.pace.interval() * MS);
        let tip = self.tip().map_or(0, |tip| tip.number);
        due.saturating_sub(tip).min(burst)
    }

    /// Returns whether the sequencer keeps to its schedule.
    pub(crate) fn is_on_schedule(&self) -> bool {
        self.blocks_now() <= 1
    }

    /// Makes blocks without publishing them.
    pub(crate) fn extend_chain(&mut self, count: u64) {
        for _ in 0..count {
            let below = self.tip().map(|tip| tip.hash).or(self.history.last().copied());
            let parent = below.unwrap_or(chain::GENESIS_HASH);
            let number = (self.base + self.branch.len()) as u64 + 1;
            if self.plan.disks_forget && self.ticks == 0 {
                self.history.push(
                    chain::block(self.plan.pace, number, parent, 0, self.plan.block_bytes).hash(),
                );
                self.base = self.history.len();
                continue;
            }
            let (pace, bytes) = (self.plan.pace, self.plan.block_bytes);
            let block = chain::block(pace, number, parent, self.branch_salt(), bytes);
            self.made.insert(block.hash(), block.clone());
            if self.rotated.is_some() {
                self.by_next_signer.insert(block.hash());
            }
            self.branch.push(Rc::new(self.sign(block)));
        }
    }

    /// Signs a block with the key that the sequencer had when it made the block.
    fn sign(&self, block: Block) -> Signed {
        let is_by_next_signer = self.by_next_signer.contains(&block.hash());
        Signed { block, is_by_next_signer, message: OnceCell::new() }
    }

    /// Returns a salt that makes a branch's blocks differ from another's of the same numbers.
    fn branch_salt(&self) -> u64 {
        self.made.len() as u64
    }

    // ---- nodes ----

    fn tell_life(&mut self, to: usize, life: u64, input: Input) {
        if self.members[to].life == life {
            self.tell(to, input);
        }
    }

    pub(crate) fn tell(&mut self, to: usize, input: Input) {
        let now = self.clock(to);
        let Some(node) = self.members[to].node.as_mut() else { return };
        node.handle(now, input);
        self.drain(to);
    }

    fn drain(&mut self, at: usize) {
        while let Some(output) = self.members[at].node.as_mut().and_then(Node::poll) {
            self.perform(at, output);
        }
        let Some(node) = self.members[at].node.as_ref() else { return };
        let status = node.sync_status().expect("it fetches");
        assert!(status.in_flight <= self.plan.fill.client.in_flight);
        assert!(status.slots <= self.plan.fill.client.window);
        assert!(
            status.pending
                <= self.plan.fill.pending_blocks.saturating_add(self.plan.fill.client.window)
        );
        self.most_memory = self.most_memory.max(status.memory);
        if let Some(due) = node.next_wakeup() {
            let due = u64::try_from(due.since(Instant::default()).as_nanos())
                .unwrap_or(u64::MAX)
                .max(self.now);
            if self.members[at].wake.is_none_or(|wake| due < wake) {
                self.members[at].wake = Some(due);
                let life = self.members[at].life;
                self.at(due, Happening::Wake { to: at, life });
            }
        }
    }

    fn note(&mut self, at: usize, text: impl std::fmt::Debug) {
        for byte in format!("{at} {} {text:?}", self.now).bytes() {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
