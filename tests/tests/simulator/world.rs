//! A network in virtual time: nodes, liars, what travels between them, and what holds of every run.

use super::chain;
use super::liar::Liar;
use super::plan::{Fault, Plan};
use super::rng::Rng;
use super::store::Disk;
use alloy_primitives::B256;
use opp2p_core::chain::{BlockId, ChainEvent};
use opp2p_core::gossip::{Unpacked, block_topic};
use opp2p_core::node::{Event, Input, JobResult, Node, NodeConfig, Output, StoreChange, SyncConfig};
use opp2p_core::payload::{Block, PayloadVersion};
use opp2p_core::peers::{Conduct, PeerId};
use opp2p_core::sync::{RangeId, RequestFailure, RequestId, ServeId, SyncEvent, answer};
use opp2p_core::time::{Instant, Now};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

const MS: u64 = 1_000_000;
/// What the protocol gives a whole answer.
const DEADLINE: u64 = 10_000 * MS;

/// A node, and what the simulator knows of it.
pub(crate) struct Member {
    node: Option<Node>,
    pub(crate) disk: Disk,
    /// Counts its lives: what was meant for an earlier one is lost.
    life: u64,
    wake: Option<u64>,
    heard: BTreeSet<B256>,
    /// The chain as it was handed on, lowest first.
    pub(crate) told: Vec<BlockId>,
    skipped: bool,
    writes_until: u64,
    full_until: u64,
    connected: BTreeSet<usize>,
    serving: BTreeMap<ServeId, (usize, u64, RequestId)>,
    /// Requests that it waits for: when they were sent.
    asking: BTreeMap<RequestId, u64>,
    pub(crate) conduct: BTreeMap<(usize, Conduct), u64>,
    pub(crate) asked: u64,
}

enum Happening {
    Tick,
    Gossip { to: usize, from: usize, block: Rc<Signed> },
    Job { to: usize, life: u64, result: Box<JobResult> },
    Written { to: usize, life: u64, change: Box<StoreChange>, done: bool },
    Read { to: usize, life: u64, ids: Vec<BlockId> },
    Request { to: usize, from: usize, life: u64, id: RequestId, number: u64 },
    Response { to: usize, life: u64, id: RequestId, result: Result<Vec<u8>, RequestFailure> },
    Responded { to: usize, life: u64, id: ServeId },
    Wake { to: usize, life: u64 },
    Fault(usize),
    Restart { node: usize, keeps_disk: bool },
    Heal { nodes: Vec<usize> },
}

/// A block and its message.
pub(crate) struct Signed {
    block: Block,
    message: Unpacked,
}

/// The network.
pub(crate) struct World {
    pub(crate) plan: Plan,
    rng: Rng,
    /// Nanoseconds.
    pub(crate) now: u64,
    queue: BTreeMap<(u64, u64), Happening>,
    next: u64,
    pub(crate) members: Vec<Member>,
    /// All blocks of all branches that the sequencer ever followed.
    made: BTreeMap<B256, Block>,
    /// The branch that it follows now; block 1 comes first.
    pub(crate) branch: Vec<Rc<Signed>>,
    ticks: u64,
    is_calm: bool,
    cut: BTreeSet<usize>,
    next_serve: u64,
    /// Over everything that every node said: two runs of one seed agree in it.
    pub(crate) digest: u64,
    pub(crate) most_memory: usize,
    pub(crate) landed: usize,
    pub(crate) range_results: Vec<Result<(), opp2p_core::sync::RangeError>>,
    /// The hashes of the blocks below the branch, for runs whose blocks nobody keeps: they are made again when they
    /// are read.
    history: Vec<B256>,
    /// What every node has already when the run begins.
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

impl World {
    pub(crate) fn new(plan: Plan) -> Self {
        Self::build(plan, None)
    }

    /// A network whose chain has `count` blocks already, which only `holders` have.
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
            is_calm: false,
            cut: BTreeSet::new(),
            next_serve: 0,
            digest: 0xcbf2_9ce4_8422_2325,
            most_memory: 0,
            landed: 0,
            range_results: Vec::new(),
            history: Vec::new(),
            base: 0,
            plan,
        };
        if let Some((count, _)) = history {
            world.now = count * chain::BLOCK_TIME * 1000 * MS;
            world.extend_chain(count);
        }
        for index in 0..world.plan.honest {
            let disk = Disk::new(world.plan.disks_forget);
            world.members.push(Member {
                node: None,
                disk,
                life: 0,
                wake: None,
                heard: BTreeSet::new(),
                told: Vec::new(),
                skipped: false,
                writes_until: 0,
                full_until: 0,
                connected: BTreeSet::new(),
                serving: BTreeMap::new(),
                asking: BTreeMap::new(),
                conduct: BTreeMap::new(),
                asked: 0,
            });
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
        world.at(world.now + chain::BLOCK_TIME * 1000 * MS, Happening::Tick);
        world
    }

    /// Everything up to the plan's last block, and then until all nodes agree with the sequencer. Answers how long
    /// the second part took.
    pub(crate) fn run(&mut self) -> Duration {
        while self.ticks < self.plan.blocks {
            self.step();
        }
        self.catch_up()
    }

    /// No more faults; waits for all nodes.
    pub(crate) fn catch_up(&mut self) -> Duration {
        self.is_calm = true;
        self.queue.retain(|_, happening| !matches!(happening, Happening::Fault(_)));
        let start = self.now;
        let end = self.now + self.plan.patience * MS;
        while !self.all_agree() {
            assert!(self.now < end, "not caught up: {}", self.state());
            self.step();
        }
        Duration::from_nanos(self.now - start)
    }

    /// One thing happens. A network is never idle: the sequencer goes on.
    pub(crate) fn step(&mut self) {
        let ((at, _), happening) = self.queue.pop_first().expect("the sequencer goes on");
        self.now = at;
        self.happen(happening);
    }

    pub(crate) fn clock(&self) -> Now {
        let now = Duration::from_nanos(self.now);
        Now::new(now, Duration::from_secs(chain::GENESIS_TIME) + now)
    }

    pub(crate) fn tip(&self) -> Option<BlockId> {
        self.branch.last().map(|signed| BlockId::of(&signed.block))
    }

    /// How far a node's chain was handed on.
    pub(crate) fn told(&self, node: usize) -> u64 {
        self.members[node].told.last().map_or(0, |told| told.number)
    }

    /// Blocks in a node's pending area.
    pub(crate) fn pending(&self, node: usize) -> usize {
        let status = self.members[node].node.as_ref().and_then(Node::sync_status);
        status.map_or(0, |status| status.pending)
    }

    /// Takes a block off a node's disk and out of its mind.
    pub(crate) fn lose(&mut self, node: usize, number: u64) -> BlockId {
        self.stop(node);
        let hash = self.members[node].disk.canonical(number).expect("it has it");
        self.members[node].disk.lose(number);
        self.start(node);
        BlockId::new(number, hash)
    }

    pub(crate) fn agrees(&self, node: usize) -> bool {
        let head = self.members[node].node.as_ref().and_then(|node| node.view().head());
        let tip = self.tip();
        // A block that is on its way is no lag.
        let before = self.branch.len().checked_sub(2).map(|at| BlockId::of(&self.branch[at].block));
        self.members[node].node.is_some()
            && (head == tip || (self.ticks > self.plan.blocks + 2 && head == before))
    }

    fn all_agree(&self) -> bool {
        self.ticks > self.plan.blocks + 2 && (0..self.plan.honest).all(|node| self.agrees(node))
    }

    fn state(&self) -> String {
        let each = self.members.iter().enumerate().map(|(index, member)| {
            let node = member.node.as_ref();
            let head = node.and_then(|node| node.view().head()).map(|head| head.number);
            let gap = node.and_then(|node| node.view().gap());
            format!("{index}: head {head:?}, {:?}, {gap:?}\n", node.and_then(Node::sync_status))
        });
        format!("tip {:?} at {} ms\n{}", self.tip(), self.now / MS, each.collect::<String>())
    }

    fn at(&mut self, when: u64, happening: Happening) {
        self.queue.insert((when.max(self.now), self.next), happening);
        self.next += 1;
    }

    fn latency(&mut self) -> u64 {
        let (low, high) = self.plan.latency;
        self.rng.range(low * MS, high * MS + 1)
    }

    /// Whether something between these two is lost.
    fn is_lost(&mut self, from: usize, to: usize) -> bool {
        self.is_cut(from, to) || (!self.is_calm && self.rng.chance(self.plan.lost))
    }

    fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cut.contains(&from) != self.cut.contains(&to)
    }

    // ---- what happens ----

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Tick => self.tick(),
            Happening::Gossip { to, from, block } => {
                if self.members[to].node.is_none() || !self.members[to].heard.insert(block.block.hash()) {
                    return;
                }
                let version = PayloadVersion::V4;
                let id = block.message.message_id(&block_topic(chain::CHAIN_ID, version));
                let message = block.message.clone();
                self.tell(to, Input::Gossip { from: peer(from), topic: version, id, message });
            }
            Happening::Job { to, life, result } => self.tell_life(to, life, Input::JobDone(*result)),
            Happening::Written { to, life, change, done } => self.written(to, life, &change, done),
            Happening::Read { to, life, ids } => {
                let blocks = ids.iter().map(|id| self.read(to, id)).collect();
                self.tell_life(to, life, Input::Loaded(blocks));
            }
            Happening::Request { to, from, life, id, number } => self.request(to, from, life, id, number),
            Happening::Response { to, life, id, result } => {
                if self.members[to].life == life && self.members[to].asking.remove(&id).is_some() {
                    self.tell(to, Input::Response { id, result: result.map(Into::into) });
                }
            }
            Happening::Responded { to, life, id } => {
                if self.members[to].life == life {
                    self.members[to].serving.remove(&id);
                    self.tell(to, Input::Responded(id));
                }
            }
            Happening::Wake { to, life } => {
                if self.members[to].life == life && self.members[to].wake.is_some_and(|wake| wake <= self.now)
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
        }
    }

    fn tick(&mut self) {
        self.ticks += 1;
        self.extend_chain(1);
        let block = Rc::clone(self.branch.last().expect("just made"));
        // The sequencer's own node has it at once, from nobody.
        self.at(self.now, Happening::Gossip { to: 0, from: 255, block });
        self.at(self.now + chain::BLOCK_TIME * 1000 * MS, Happening::Tick);
    }

    /// Makes blocks without telling anybody.
    pub(crate) fn extend_chain(&mut self, count: u64) {
        for _ in 0..count {
            let below = self.tip().map(|tip| tip.hash).or(self.history.last().copied());
            let parent = below.unwrap_or(chain::config().genesis.hash);
            let number = (self.base + self.branch.len()) as u64 + 1;
            if self.plan.disks_forget && self.ticks == 0 {
                self.history.push(chain::block(number, parent, 0, self.plan.block_bytes).hash());
                self.base = self.history.len();
                continue;
            }
            let block = chain::block(number, parent, self.branch_salt(), self.plan.block_bytes);
            self.made.insert(block.hash(), block.clone());
            let message = chain::message(&block);
            self.branch.push(Rc::new(Signed { block, message }));
        }
    }

    /// A branch's blocks differ from another's of the same numbers.
    fn branch_salt(&self) -> u64 {
        self.made.len() as u64
    }

    /// Puts a node's disk at a state that it could have come to by itself.
    pub(crate) fn give_blocks(&mut self, node: usize, up_to: usize) {
        for (at, hash) in self.history.iter().take(up_to).enumerate() {
            self.members[node].disk.put_name(BlockId::new(at as u64 + 1, *hash));
        }
        for signed in self.branch.iter().take(up_to) {
            self.members[node].disk.apply(&StoreChange::Extend(signed.block.clone()));
        }
    }

    fn fault(&mut self, fault: Fault) {
        match fault {
            Fault::Crash { node, milliseconds, keeps_disk } => {
                if self.members[node].node.is_none() {
                    return;
                }
                self.stop(node);
                self.at(self.now + milliseconds * MS, Happening::Restart { node, keeps_disk });
            }
            Fault::Partition { nodes, milliseconds } => {
                self.cut.extend(&nodes);
                self.connect_all();
                self.at(self.now + milliseconds * MS, Happening::Heal { nodes });
            }
            Fault::Reorg { depth } => {
                let kept = self.branch.len().saturating_sub(depth);
                self.branch.truncate(kept);
            }
            Fault::FullDisk { node, milliseconds } => {
                self.members[node].full_until = self.now + milliseconds * MS;
            }
        }
    }

    pub(crate) fn stop(&mut self, node: usize) {
        let member = &mut self.members[node];
        member.node = None;
        member.life += 1;
        member.wake = None;
        member.heard.clear();
        member.serving.clear();
        member.asking.clear();
        self.connect_all();
    }

    pub(crate) fn start(&mut self, node: usize) {
        if self.members[node].node.is_some() {
            return;
        }
        let member = &mut self.members[node];
        member.life += 1;
        member.writes_until = self.now;
        member.skipped = false;
        let head = member.disk.head();
        member.told = match head {
            Some(head) => (1..=head.number)
                .filter_map(|number| member.disk.canonical(number).map(|hash| BlockId::new(number, hash)))
                .collect(),
            None => Vec::new(),
        };
        let mut fill = self.plan.fill;
        fill.client.seed ^= node as u64;
        let config = NodeConfig {
            head,
            from_genesis: true,
            recent: member.disk.recent(),
            pending: member.disk.pending(),
            view: self.plan.view,
            sync: Some(SyncConfig { fill, serve: self.plan.server }),
            ..NodeConfig::new(chain::config())
        };
        let started = Node::new(self.clock(), config).expect("a good configuration");
        self.members[node].node = Some(started);
        self.drain(node);
        self.connect_all();
    }

    /// Makes every node know whom it is connected to.
    fn connect_all(&mut self) {
        let all = self.plan.honest + self.plan.liars.len();
        for node in 0..self.members.len() {
            if self.members[node].node.is_none() {
                self.members[node].connected.clear();
                continue;
            }
            for other in (0..all).filter(|other| *other != node) {
                let is_up = self.members.get(other).is_none_or(|member| member.node.is_some());
                let clock = self.clock();
                let holds = |of: &Node| of.peers().gate().holds(clock, &peer(other), &[]);
                let is_refused = self.members[node].node.as_ref().is_some_and(holds);
                let wanted = is_up && !is_refused && !self.is_cut(node, other);
                if wanted && self.members[node].connected.insert(other) {
                    self.tell(node, Input::Connected(peer(other)));
                } else if !wanted && self.members[node].connected.remove(&other) {
                    self.tell(node, Input::Disconnected(peer(other)));
                }
            }
        }
    }

    // ---- nodes ----

    fn tell_life(&mut self, to: usize, life: u64, input: Input) {
        if self.members[to].life == life {
            self.tell(to, input);
        }
    }

    pub(crate) fn tell(&mut self, to: usize, input: Input) {
        let now = self.clock();
        let Some(node) = self.members[to].node.as_mut() else { return };
        node.handle(now, input);
        self.drain(to);
    }

    pub(crate) fn fetch_range(&mut self, node: usize, to: BlockId) {
        self.tell(node, Input::FetchRange { id: RangeId(1), to });
    }

    fn drain(&mut self, at: usize) {
        while let Some(output) = self.members[at].node.as_mut().and_then(Node::poll) {
            self.perform(at, output);
        }
        let Some(node) = self.members[at].node.as_ref() else { return };
        let status = node.sync_status().expect("it fetches");
        assert!(status.in_flight <= self.plan.fill.client.in_flight);
        assert!(status.slots <= self.plan.fill.client.window);
        assert!(status.pending <= self.plan.fill.pending_blocks.saturating_add(self.plan.fill.client.window));
        self.most_memory = self.most_memory.max(status.memory);
        if let Some(due) = node.next_wakeup() {
            let due =
                u64::try_from(due.since(Instant::default()).as_nanos()).unwrap_or(u64::MAX).max(self.now);
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

    fn perform(&mut self, at: usize, output: Output) {
        let life = self.members[at].life;
        match output {
            Output::Job(job) => {
                let took = self.rng.range(0, self.plan.job * MS);
                let result = Box::new(job.run());
                self.at(self.now + took, Happening::Job { to: at, life, result });
            }
            Output::Verdict(verdict) => {
                self.note(at, verdict.result);
                if let Ok(id) = verdict.result {
                    self.relay(at, index(&verdict.from), id);
                }
            }
            Output::Store(change) => self.store(at, change),
            Output::Load(ids) => {
                let when = self.members[at].writes_until + self.rng.range(0, self.plan.write * MS);
                self.at(when, Happening::Read { to: at, life, ids });
            }
            Output::Request { id, to, number, limit } => self.send_request(at, id, index(&to), number, limit),
            Output::Serve { id, number, held } => {
                let canonical = self.members[at].disk.canonical(number);
                let found = held.or_else(|| self.read(at, &BlockId::new(number, canonical?)));
                let (_, response) = answer::<()>(&Ok(found));
                self.respond(at, id, response);
            }
            Output::Refuse { id, code } => self.respond(at, id, vec![code.byte()]),
            Output::Event(event) => self.event(at, event),
            Output::Disconnect(whom) => {
                let who = index(&whom);
                assert!(who >= self.plan.honest, "node {at} turns out the honest node {who}");
                self.members[at].connected.remove(&who);
                self.tell(at, Input::Disconnected(whom));
            }
            Output::ApplicationScore(..)
            | Output::LiveTopics(_)
            | Output::TakeScores
            | Output::ReadSigner
            | Output::Remember(_) => {}
            Output::Dial(_) | Output::Send { .. } | Output::Sign(_) => panic!("nobody asked for {output:?}"),
        }
    }

    /// A block from a node's disk.
    fn read(&self, node: usize, id: &BlockId) -> Option<Block> {
        let disk = &self.members[node].disk;
        let is_forgotten = self.plan.disks_forget && disk.has(&id.hash);
        disk.get(&id.hash).or_else(|| if is_forgotten { self.remake(id.number) } else { None })
    }

    /// A block of the history, made again.
    fn remake(&self, number: u64) -> Option<Block> {
        let at = usize::try_from(number).ok()?.checked_sub(1)?;
        if at >= self.history.len() {
            let signed = self.branch.get(at - self.base)?;
            return Some(signed.block.clone());
        }
        let parent = at.checked_sub(1).map_or(chain::config().genesis.hash, |below| self.history[below]);
        Some(chain::block(number, parent, 0, self.plan.block_bytes))
    }

    fn relay(&mut self, at: usize, from: usize, id: BlockId) {
        let block = self.made[&id.hash].clone();
        let place = (id.number as usize - 1).checked_sub(self.base);
        let signed = place.and_then(|at| self.branch.get(at)).filter(|signed| signed.block.hash() == id.hash);
        let message = signed.map_or_else(|| chain::message(&block), |signed| signed.message.clone());
        let signed = Rc::new(Signed { block, message });
        for to in (0..self.plan.honest).filter(|to| *to != at && *to != from) {
            let copies = 1 + u64::from(!self.is_calm && self.rng.chance(self.plan.doubled));
            for _ in 0..copies {
                if !self.is_lost(at, to) {
                    let when = self.now + self.latency();
                    self.at(when, Happening::Gossip { to, from: at, block: Rc::clone(&signed) });
                }
            }
        }
    }

    fn store(&mut self, at: usize, change: StoreChange) {
        let took = self.rng.range(0, self.plan.write * MS);
        let member = &mut self.members[at];
        member.writes_until = member.writes_until.max(self.now) + took;
        let is_pending = matches!(change, StoreChange::Hold(_));
        let done = !(is_pending && self.now < member.full_until);
        let (when, life) = (member.writes_until, member.life);
        self.at(when, Happening::Written { to: at, life, change: Box::new(change), done });
    }

    fn written(&mut self, to: usize, life: u64, change: &StoreChange, done: bool) {
        if self.members[to].life != life {
            return;
        }
        if done {
            self.members[to].disk.apply(change);
        }
        if let StoreChange::Hold(block) = change {
            self.tell(to, Input::Held { id: BlockId::of(block), is_held: done });
        }
    }

    fn send_request(&mut self, at: usize, id: RequestId, to: usize, number: u64, limit: usize) {
        self.note(at, (id, to, number, limit));
        let life = self.members[at].life;
        self.members[at].asking.insert(id, limit as u64);
        self.members[at].asked += 1;
        self.at(
            self.now + DEADLINE,
            Happening::Response { to: at, life, id, result: Err(RequestFailure::Timeout) },
        );
        if self.is_lost(at, to) {
            return;
        }
        let when = self.now + self.latency();
        self.at(when, Happening::Request { to, from: at, life, id, number });
    }

    fn request(&mut self, to: usize, from: usize, life: u64, id: RequestId, number: u64) {
        if let Some(liar) = to.checked_sub(self.plan.honest).and_then(|at| self.plan.liars.get(at)).copied() {
            return self.lie(liar, to, from, life, id, number);
        }
        if self.members[to].node.is_none() {
            let result = Err(RequestFailure::Closed);
            let when = self.now + self.latency();
            return self.at(when, Happening::Response { to: from, life, id, result });
        }
        let serve = ServeId(self.next_serve);
        self.next_serve += 1;
        self.members[to].serving.insert(serve, (from, life, id));
        // Whoever asked closes the stream when it has waited long enough.
        let (when, server_life) = (self.now + DEADLINE, self.members[to].life);
        self.at(when, Happening::Responded { to, life: server_life, id: serve });
        self.tell(to, Input::Requested { from: peer(from), id: serve, number });
    }

    fn lie(&mut self, liar: Liar, to: usize, from: usize, life: u64, id: RequestId, number: u64) {
        let branch: Vec<Block> = self.branch.iter().map(|signed| signed.block.clone()).collect();
        let base = self.base;
        let real = |number: u64| branch.get(usize::try_from(number).ok()?.checked_sub(1 + base)?).cloned();
        let (after, result) = liar.answer(&mut self.rng, number, real);
        self.send_response(to, from, life, id, result, after);
    }

    fn respond(&mut self, at: usize, id: ServeId, response: Vec<u8>) {
        let life = self.members[at].life;
        let Some((from, from_life, request)) = self.members[at].serving.get(&id).copied() else { return };
        self.note(at, (id, response.len()));
        self.send_response(at, from, from_life, request, Ok(response), Duration::ZERO);
        self.at(self.now + MS, Happening::Responded { to: at, life, id });
    }

    fn send_response(
        &mut self,
        at: usize,
        to: usize,
        life: u64,
        id: RequestId,
        result: Result<Vec<u8>, RequestFailure>,
        after: Duration,
    ) {
        if self.is_lost(at, to) || self.members[to].life != life {
            return;
        }
        let limit = self.members[to].asking.get(&id).copied().unwrap_or(0);
        let result = result.and_then(|bytes| {
            if bytes.len() as u64 > limit { Err(RequestFailure::TooLong) } else { Ok(bytes) }
        });
        let when = self.now + self.latency() + after.as_nanos() as u64;
        self.at(when, Happening::Response { to, life, id, result });
    }

    // ---- what holds ----

    fn event(&mut self, at: usize, event: Event) {
        match event {
            Event::Chain(ChainEvent::Extended(block)) => {
                self.note(at, (block.number(), block.hash()));
                self.extended(at, &block);
            }
            Event::Chain(ChainEvent::Reorg { ancestor, abandoned, .. }) => {
                self.note(at, ancestor);
                let member = &mut self.members[at];
                let kept = member.told.len() - abandoned.len();
                assert_eq!(member.told.split_off(kept), abandoned, "node {at}");
            }
            Event::Chain(ChainEvent::Skipped { from, to, reason }) => {
                self.note(at, (from, to, reason));
                assert!(
                    self.plan.may_skip,
                    "node {at} left out what lies between {from} and {to}: {reason:?}"
                );
                let member = &mut self.members[at];
                member.told.retain(|told| told.number < to.number);
                member.skipped = true;
            }
            Event::Sync(SyncEvent::Conduct { peer, conduct }) => {
                let who = index(&peer);
                self.note(at, (who, conduct));
                *self.members[at].conduct.entry((who, conduct)).or_default() += 1;
                let is_fair = match conduct {
                    Conduct::ValidResponse => true,
                    Conduct::RejectedPayload => who >= self.plan.honest || self.plan.has_reorgs(),
                    Conduct::ErrorResponse => who >= self.plan.honest || !self.plan.is_clean(),
                };
                assert!(is_fair, "node {at} blames the honest node {who}: {conduct:?}");
            }
            Event::Sync(SyncEvent::Landing { blocks, .. }) => self.landed += blocks,
            Event::Sync(SyncEvent::Range { result, .. }) => self.range_results.push(result),
            _ => {}
        }
    }

    fn extended(&mut self, at: usize, block: &Block) {
        let id = BlockId::of(block);
        if let Some(hash) = self.history.get(id.number as usize - 1) {
            assert_eq!(*hash, id.hash, "node {at} hands on a false block");
        } else {
            let real =
                self.made.get(&id.hash).unwrap_or_else(|| panic!("node {at} hands on a false block {id}"));
            assert_eq!(real.body(), block.body(), "node {at} hands on other contents for {id}");
        }
        let member = &mut self.members[at];
        if !std::mem::take(&mut member.skipped) {
            let parent = member.told.last().map_or(chain::config().genesis.hash, |told| told.hash);
            assert_eq!(block.parent_hash(), parent, "node {at} hands on {id} out of order");
        }
        member.told.push(id);
    }
}
