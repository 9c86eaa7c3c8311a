//! Nodes that know one boot node and find each other by [`Search`].
//!
//! Every node is a whole core beside a search. The model of discv5 is small: a table of bounded
//! size, walks that ask the known nodes closest to a target, and strangers in the same network:
//! nodes of another chain, and records with an address that leads nowhere. Nodes connect only where
//! their core dials, at an address that their search found. In every run, each node has enough
//! peers in the end, all of its own chain, and every block.

use super::chain::{self, Pace};
use super::rng::Rng;
use alloy_primitives::{B256, keccak256};
use opp2p_core::chain::BlockId;
use opp2p_core::discovery::{
    AddressPolicy, Advertised, Filter, FoundNode, LocalConfig, OpStackEntry, PaceConfig, Record,
    Restriction, Search, SearchConfig, SearchStep, SearchView,
};
use opp2p_core::gossip::{MessageId, Unpacked, block_topic};
use opp2p_core::node::{Event, Input, JobResult, Node, NodeConfig, Output, SyncConfig};
use opp2p_core::payload::{Block, PayloadVersion};
use opp2p_core::peers::{
    ConnectionId, ConnectionManagerConfig, Door, Knock, PeerEvent, PeerId, PeersConfig,
};
use opp2p_core::sync::{RequestId, answer};
use opp2p_core::time::{Instant, Now};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1000 * MS;
/// Number of nodes of the chain.
const NODES: usize = 24;
/// Participants after the nodes: nodes of another chain, and nodes whose records name a private
/// address.
const STRANGERS: usize = 10;
/// The boot node, which follows no chain.
const BOOTNODE: usize = NODES + STRANGERS;
/// Maximum number of nodes in a table.
const TABLE: usize = 24;
/// Low mark of the number of peers.
const LOW: usize = 4;
/// Duration of a run, in seconds.
const MIN_RUN_DURATION: u64 = 240;
/// Time at which the boot node ends.
const BOOTNODE_ENDS: u64 = 60 * SECOND;
/// Time at which the last node joins, which knows the table of an earlier life.
const LATE: u64 = 90 * SECOND;

enum Happening {
    Tick,
    Start(usize),
    Job { to: usize, result: Box<JobResult> },
    Wake { to: usize },
    Search { at: usize },
    Walked { at: usize, found: BTreeSet<usize> },
    AskedBootnode { at: usize },
    Pinged { at: usize, from: Option<usize> },
    Dialled { from: usize, to: usize },
    Response { to: usize, id: RequestId, bytes: Vec<u8> },
    Gossip { to: usize, from: usize, message: Rc<Message> },
}

struct Message {
    id: MessageId,
    contents: Unpacked,
}

struct Member {
    node: Node,
    search: Search,
    table: BTreeSet<usize>,
    wake: Option<u64>,
    seen: BTreeSet<MessageId>,
    judged: BTreeMap<MessageId, Rc<Message>>,
    lines: BTreeMap<usize, ConnectionId>,
    is_walking: bool,
    walks: usize,
    /// Endpoint that its record has in the end.
    advertised: Option<Advertised>,
}

struct Net {
    rng: Rng,
    now: u64,
    seed: u64,
    queue: BTreeMap<(u64, u64), Happening>,
    next: u64,
    members: BTreeMap<usize, Member>,
    /// Nodes that the boot node knows.
    bootnode: BTreeSet<usize>,
    blocks: Vec<Block>,
    connections: u64,
    /// Targets of all walks.
    targets: BTreeSet<B256>,
    told: usize,
}

fn peer(index: usize) -> PeerId {
    PeerId::try_from(&[9, index as u8][..]).expect("2 bytes")
}

fn index(peer: &PeerId) -> usize {
    usize::from(peer.as_bytes()[1])
}

/// Returns the id of a participant in the network of discv5.
fn node_id(index: usize) -> B256 {
    keccak256([index as u8])
}

/// Returns the address in a participant's record.
fn ip(index: usize) -> Ipv4Addr {
    match index {
        // Each in a network of its own.
        0..NODES => Ipv4Addr::new(50, 1, index as u8, 1),
        NODES..BOOTNODE if index.is_multiple_of(2) => Ipv4Addr::new(10, 0, 0, index as u8),
        _ => Ipv4Addr::new(60, 1, index as u8, 1),
    }
}

/// Returns the chain in a participant's record: half of the strangers follow another chain.
fn entry(index: usize) -> Option<Vec<u8>> {
    let chain_id = match index {
        0..NODES => chain::CHAIN_ID,
        BOOTNODE => return None,
        _ if index.is_multiple_of(2) => chain::CHAIN_ID,
        _ => chain::CHAIN_ID + 1,
    };
    Some(OpStackEntry::new(chain_id).encode())
}

/// Returns the participants of `among` whose ids are closest to the target.
fn closest(among: &BTreeSet<usize>, target: &B256, count: usize) -> Vec<usize> {
    let mut all: Vec<usize> = among.iter().copied().collect();
    all.sort_by_key(|index| node_id(*index) ^ *target);
    all.truncate(count);
    all
}

fn search(now: Instant, index: usize, seed: u64) -> Search {
    let listen = IpAddr::from([0, 0, 0, 0]);
    let local = LocalConfig {
        listen,
        bound_tcp: 9222,
        bound_udp: 9222,
        advertise_ip: None,
        advertise_tcp: 0,
        advertise_udp: 0,
    };
    let policy = AddressPolicy::new(listen, []);
    let filter = Filter { chain_id: chain::CHAIN_ID, policy, restriction: Restriction::default() };
    let config = SearchConfig {
        own: peer(index),
        filter,
        advertised: Advertised::new(&local).expect("no address is given"),
        pace: PaceConfig::default(),
        seed: keccak256([seed.to_be_bytes(), (index as u64).to_be_bytes()].concat()),
    };
    Search::new(now, config)
}

impl Net {
    fn new(seed: u64) -> Self {
        let mut net = Self {
            rng: Rng::new(seed ^ 0x0066_6f75_6e64),
            now: 0,
            seed,
            queue: BTreeMap::new(),
            next: 0,
            members: BTreeMap::new(),
            bootnode: (NODES..BOOTNODE).collect(),
            blocks: Vec::new(),
            connections: 0,
            targets: BTreeSet::new(),
            told: 0,
        };
        for index in 0..NODES - 1 {
            let when = net.rng.range(0, 20) * SECOND;
            net.at(if index == 0 { 0 } else { when }, Happening::Start(index));
        }
        net.at(LATE, Happening::Start(NODES - 1));
        net.at(Pace::Slow.interval() * MS, Happening::Tick);
        net
    }

    fn run(&mut self) {
        while let Some(((at, _), happening)) = self.queue.pop_first() {
            if at > MIN_RUN_DURATION * SECOND {
                break;
            }
            self.now = at;
            self.happen(happening);
        }
        let tip = self.blocks.last().map(BlockId::of);
        let before = self.blocks.get(self.blocks.len() - 2).map(BlockId::of);
        assert_eq!(self.members.len(), NODES);
        for (index, member) in &self.members {
            let head = member.node.view().head();
            let peers = member.lines.len();
            assert!(peers >= LOW, "seed {}: node {index} has {peers} peers", self.seed);
            assert!(head == tip || head == before, "seed {}: node {index} lacks blocks", self.seed);
            assert!(member.walks > 4, "node {index} walked {} times", member.walks);
            // All others see it at one address, and it learns that.
            let advertised = member.advertised.expect("enough nodes answered");
            assert_eq!(advertised.ip, Some(IpAddr::V4(ip(*index))), "node {index}");
        }
        let walks: usize = self.members.values().map(|member| member.walks).sum();
        assert_eq!(self.targets.len(), walks, "no two walks have one target");
        assert!(self.told >= NODES * LOW, "{} peers were found", self.told);
    }

    fn at(&mut self, when: u64, happening: Happening) {
        self.queue.insert((when.max(self.now), self.next), happening);
        self.next += 1;
    }

    fn soon(&mut self) -> u64 {
        self.now + self.rng.range(10 * MS, 100 * MS)
    }

    fn clock(&self) -> Now {
        let now = Duration::from_nanos(self.now);
        Now::new(now, Duration::from_secs(chain::GENESIS_TIME) + now)
    }

    fn member(&mut self, index: usize) -> &mut Member {
        self.members.get_mut(&index).expect("it has started")
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Tick => self.tick(),
            Happening::Start(index) => self.start(index),
            Happening::Job { to, result } => self.tell(to, Input::JobDone(*result)),
            Happening::Wake { to } => {
                let now = self.now;
                if self.member(to).wake.is_some_and(|wake| wake <= now) {
                    self.member(to).wake = None;
                    self.tell(to, Input::Wake);
                }
            }
            Happening::Search { at } => self.wake_search(at),
            Happening::Walked { at, found } => {
                found.into_iter().for_each(|index| self.meet(at, index));
                let member = self.member(at);
                member.is_walking = false;
                member.search.walked(member.table.len());
                self.carry_out(at);
            }
            Happening::AskedBootnode { at } => {
                if self.now < BOOTNODE_ENDS {
                    self.bootnode.insert(at);
                    self.meet(at, BOOTNODE);
                }
                self.member(at).search.asked_bootnodes();
                self.carry_out(at);
            }
            Happening::Pinged { at, from } => {
                let now = self.clock().monotonic;
                let seen = SocketAddr::from((ip(at), 9222));
                let answer = from.map(|from| (IpAddr::V4(ip(from)), seen));
                self.member(at).search.pinged(now, answer);
                self.carry_out(at);
            }
            Happening::Dialled { from, to } => self.dialled(from, to),
            Happening::Response { to, id, bytes } => {
                self.tell(to, Input::Response { id, result: Ok(bytes.into()) });
            }
            Happening::Gossip { to, from, message } => self.hear(to, from, &message),
        }
    }

    fn start(&mut self, index: usize) {
        let config = NodeConfig {
            seed: peer(index).seed(),
            from_genesis: true,
            sync: Some(SyncConfig::default()),
            peers: PeersConfig {
                connections: ConnectionManagerConfig {
                    low: LOW,
                    high: 2 * LOW,
                    ..ConnectionManagerConfig::default()
                },
                ..PeersConfig::default()
            },
            ..NodeConfig::new(Pace::Slow.config())
        };
        let now = self.clock();
        let node = Node::new(now, config).expect("a good configuration");
        let mut member = Member {
            node,
            search: search(now.monotonic, index, self.seed),
            table: BTreeSet::new(),
            wake: None,
            seen: BTreeSet::new(),
            judged: BTreeMap::new(),
            lines: BTreeMap::new(),
            is_walking: false,
            walks: 0,
            advertised: None,
        };
        let missing = member.node.peers().missing();
        if now.monotonic.since_start() >= Duration::from_nanos(LATE) {
            self.members.insert(index, member);
            (1..6).for_each(|known| self.meet(index, known));
            self.member(index).search.restored(now.monotonic, missing);
        } else {
            member.search.restored(now.monotonic, missing);
            self.members.insert(index, member);
        }
        self.carry_out(index);
        self.act(index);
        self.at(self.now, Happening::Search { at: index });
    }

    // ---- the model of discv5 ----

    fn is_up(&self, index: usize) -> bool {
        match index {
            BOOTNODE => self.now < BOOTNODE_ENDS,
            0..NODES => self.members.contains_key(&index),
            _ => true,
        }
    }

    fn table_of(&self, index: usize) -> BTreeSet<usize> {
        match index {
            BOOTNODE => self.bootnode.clone(),
            0..NODES => self.members[&index].table.clone(),
            _ => (NODES..=BOOTNODE).collect(),
        }
    }

    /// Adds a record to a node's table, and as a candidate.
    fn meet(&mut self, at: usize, other: usize) {
        let (now, entry) = (self.clock().monotonic, entry(other));
        let member = self.member(at);
        if other == at {
            return;
        }
        let record = Record {
            entry: entry.as_deref(),
            ip4: Some(ip(other)),
            tcp4: Some(9222),
            ..Record::default()
        };
        let node = FoundNode { peer: peer(other), sequence: 1, record };
        member.search.found(now, &node, || format!("enr:{other}"));
        if member.search.may_contact(IpAddr::V4(ip(other))) && member.table.len() < TABLE {
            member.table.insert(other);
        }
    }

    fn wake_search(&mut self, at: usize) {
        let table = self.member(at).table.clone();
        let answering = table.iter().filter(|other| self.is_up(**other)).count();
        let now = self.clock().monotonic;
        let member = self.member(at);
        let view =
            SearchView { missing: member.node.peers().missing(), known: table.len(), answering };
        member.search.wake(now, view);
        let next = member.search.next_wakeup(now, view.missing);
        assert!(next > now, "it would never end");
        self.carry_out(at);
        self.at(next.since_start().as_nanos() as u64, Happening::Search { at });
    }

    fn carry_out(&mut self, at: usize) {
        while let Some(step) = self.member(at).search.poll() {
            match step {
                SearchStep::Walk(target) => self.walk(at, target),
                SearchStep::AskBootnodes => {
                    let when = self.soon();
                    self.at(when, Happening::AskedBootnode { at });
                }
                SearchStep::Ping(nodes) => {
                    let table: Vec<usize> = self.member(at).table.iter().copied().collect();
                    for node in nodes {
                        let from = table.get(node).copied().filter(|other| self.is_up(*other));
                        let when = self.soon();
                        self.at(when, Happening::Pinged { at, from });
                    }
                }
                SearchStep::Advertise(advertised) => {
                    self.member(at).advertised = Some(advertised);
                }
                SearchStep::Keep => {}
                SearchStep::Tell(whom, news) => {
                    assert!(index(&whom) < NODES, "a stranger is told: {news:?}");
                    self.told += 1;
                    self.tell(at, Input::Peer(whom, news));
                }
            }
        }
    }

    /// Walks: three rounds of questions to the closest known nodes. Each node that is asked learns
    /// our record.
    fn walk(&mut self, at: usize, target: B256) {
        self.targets.insert(target);
        let member = self.member(at);
        assert!(!member.is_walking, "two walks at once");
        member.is_walking = true;
        member.walks += 1;
        let mut known = member.table.clone();
        let (mut asked, mut took) = (BTreeSet::new(), 0);
        for _ in 0..3 {
            let candidates: BTreeSet<usize> = known.difference(&asked).copied().collect();
            for other in closest(&candidates, &target, 3) {
                asked.insert(other);
                if !self.is_up(other) {
                    took += 2 * SECOND;
                    continue;
                }
                took += 50 * MS;
                known.extend(closest(&self.table_of(other), &target, 16));
                match other {
                    BOOTNODE => drop(self.bootnode.insert(at)),
                    0..NODES => self.meet(other, at),
                    _ => {}
                }
            }
        }
        let when = self.now + took;
        self.at(when, Happening::Walked { at, found: known });
    }

    // ---- connections and gossip ----

    fn dialled(&mut self, from: usize, to: usize) {
        if self.member(from).lines.contains_key(&to) {
            return;
        }
        self.connections += 1;
        let (id, now) = (ConnectionId(self.connections), self.clock());
        let remote = |at: usize| Some(IpAddr::V4(ip(at)));
        let secured = |of: usize, is_inbound| Knock::Secured {
            id,
            door: Door::Tcp,
            peer: peer(of),
            ip: remote(of),
            is_inbound,
        };
        let accept = Knock::Accept { id, door: Door::Tcp, ip: remote(from) };
        let mut knock = |at: usize, knock: &Knock| self.member(at).node.knock(now, knock).is_ok();
        let is_in = knock(from, &Knock::DialPeer(peer(to)))
            && knock(to, &accept)
            && knock(to, &secured(from, true))
            && knock(from, &secured(to, false));
        if !is_in {
            return self.tell(from, Input::DialFailed(peer(to)));
        }
        for (at, other) in [(from, to), (to, from)] {
            self.member(at).lines.insert(other, id);
            self.tell(at, Input::Connected(peer(other)));
        }
    }

    fn part(&mut self, one: usize, other: usize) {
        let now = self.clock();
        for (at, other) in [(one, other), (other, one)] {
            if let Some(id) = self.member(at).lines.remove(&other) {
                self.member(at).node.knock(now, &Knock::Ended(id)).expect("it just ends");
                self.tell(at, Input::Disconnected(peer(other)));
            }
        }
    }

    fn tick(&mut self) {
        let parent = self.blocks.last().map_or(chain::GENESIS_HASH, Block::hash);
        let block = chain::block(Pace::Slow, self.blocks.len() as u64 + 1, parent, 0, 0);
        let contents = chain::message(&chain::signer(), &block);
        let id = contents.message_id(&block_topic(chain::CHAIN_ID, PayloadVersion::V4));
        self.blocks.push(block);
        self.hear(0, 0, &Rc::new(Message { id, contents }));
        self.at(self.now + Pace::Slow.interval() * MS, Happening::Tick);
    }

    fn hear(&mut self, to: usize, from: usize, message: &Rc<Message>) {
        let is_linked = from == to || self.member(to).lines.contains_key(&from);
        let member = self.member(to);
        if !is_linked || !member.seen.insert(message.id) {
            return;
        }
        member.judged.insert(message.id, Rc::clone(message));
        let (id, contents) = (message.id, message.contents.clone());
        let topic = PayloadVersion::V4;
        self.tell(to, Input::Gossip { from: peer(from), topic, id, message: contents });
    }

    fn tell(&mut self, to: usize, input: Input) {
        let now = self.clock();
        self.member(to).node.handle(now, input);
        self.act(to);
    }

    fn act(&mut self, at: usize) {
        while let Some(output) = self.member(at).node.poll() {
            match output {
                Output::Job(job) => {
                    let when = self.now + MS;
                    self.at(when, Happening::Job { to: at, result: Box::new(job.run()) });
                }
                Output::Verdict(verdict) => {
                    let member = self.member(at);
                    let message = member.judged.remove(&verdict.id).expect("it was judged");
                    let to: Vec<usize> = member.lines.keys().copied().collect();
                    for to in to.into_iter().filter(|_| verdict.result.is_ok()) {
                        let (when, message) = (self.soon(), Rc::clone(&message));
                        self.at(when, Happening::Gossip { to, from: at, message });
                    }
                }
                Output::Store { id, .. } => self.tell(at, Input::Stored { id, is_stored: true }),
                Output::Dial { peer: whom, .. } => {
                    let to = index(&whom);
                    let now = self.clock();
                    let node = &self.members[&at].node;
                    let known: Vec<&str> = node.peers().addresses(now, &whom).collect();
                    assert_eq!(known, [format!("/ip4/{}/tcp/9222", ip(to))], "node {at}");
                    let when = self.soon();
                    self.at(when, Happening::Dialled { from: at, to });
                }
                Output::Request { id, to, number, .. } => {
                    let head = self.members[&index(&to)].node.view().head();
                    let has_it = head.is_some_and(|head| number <= head.number);
                    let block = self.blocks.get(number as usize - 1).filter(|_| has_it).cloned();
                    let (when, bytes) = (self.soon(), answer(&Ok::<_, ()>(block)).1);
                    self.at(when, Happening::Response { to: at, id, bytes });
                }
                Output::Load(ids) => {
                    let blocks = ids.iter().map(|id| self.blocks.get(id.number as usize - 1));
                    let blocks = blocks.map(Option::<&Block>::cloned).collect();
                    self.tell(at, Input::Loaded(blocks));
                }
                Output::Disconnect(whom) => self.part(at, index(&whom)),
                Output::Event(Event::Peers(PeerEvent::Banned { peer, .. })) => {
                    panic!("node {at} bans {}", index(&peer));
                }
                _ => {}
            }
        }
        let wakeup = self.member(at).node.next_wakeup();
        let Some(wake) = wakeup.map(|at| at.since_start().as_nanos() as u64) else { return };
        if self.member(at).wake.is_none_or(|before| wake < before) {
            self.member(at).wake = Some(wake);
            self.at(wake, Happening::Wake { to: at });
        }
    }
}

/// Two dozen nodes that know nothing but a boot node find each other; the boot node ends, and a
/// node that comes later finds the others by its table alone.
pub(crate) fn nodes_find_each_other_through_one_boot_node() {
    for seed in 0..4 {
        Net::new(seed).run();
    }
}
