//! A hundred nodes, twenty of which misbehave: checks who is banned, how soon, and who is never
//! banned.
//!
//! Honest nodes are whole cores, connected at random, that relay accepted messages. Villains send
//! bad messages to every honest node that they are connected to, and reconnect after a disconnect.
//! In every run, each honest neighbour of a villain that gossips rubbish bans it within a minute of
//! its first message and keeps it out; no honest node is ever disconnected; every honest node has
//! every block.

use super::chain::{self, Pace};
use super::rng::Rng;
use super::villain::{KINDS, Villain};
use alloy_primitives::B256;
use opp2p_core::chain::BlockId;
use opp2p_core::gossip::{
    BLOCK_DOMAIN, MessageId, Unpacked, block_topic, payload_hash, signing_hash,
};
use opp2p_core::node::{Event, Input, JobResult, Node, NodeConfig, Output, StoreId, SyncConfig};
use opp2p_core::payload::{Block, PayloadVersion};
use opp2p_core::peers::{ConnectionId, DisconnectReason, Door, Knock, PeerEvent, PeerId, PeerNews};
use opp2p_core::sequencer::LocalSigner;
use opp2p_core::sync::{RequestFailure, RequestId, ServeId, answer};
use opp2p_core::time::{Instant, Now};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::Duration;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1000 * MS;
const HONEST: usize = 80;
const VILLAINS: usize = 20;
/// Number of blocks that exist before the run begins.
const BEFORE: u64 = 100;
/// Number of blocks made during the run, one every two seconds.
const BLOCKS: u64 = 35;
/// Maximum time from a villain's first message to its ban by an honest node, in nanoseconds.
const WITHIN: u64 = 60 * SECOND;

struct Message {
    topic: PayloadVersion,
    id: MessageId,
    contents: Unpacked,
}

enum Happening {
    Tick,
    Join(usize),
    Deliver { to: usize, from: usize, message: Rc<Message> },
    Job { to: usize, result: Box<JobResult> },
    Wake { to: usize },
    Attack(usize),
    Knock { villain: usize, at: usize },
    Leave { villain: usize, at: usize },
    Stored { to: usize, id: StoreId },
    Load { to: usize, ids: Vec<BlockId> },
    Request { to: usize, from: usize, id: RequestId, number: u64 },
    Response { to: usize, id: RequestId, result: Result<Vec<u8>, RequestFailure> },
    Responded { to: usize, id: ServeId },
}

struct Honest {
    node: Node,
    wake: Option<u64>,
    seen: BTreeSet<MessageId>,
    judged: BTreeMap<MessageId, Rc<Message>>,
    /// Neighbours, and our id for the connection.
    neighbours: BTreeMap<usize, ConnectionId>,
    serving: BTreeMap<ServeId, (usize, RequestId)>,
    banned: BTreeMap<usize, u64>,
    remembered: usize,
}

pub(crate) struct Crowd {
    rng: Rng,
    now: u64,
    queue: BTreeMap<(u64, u64), Happening>,
    next: u64,
    nodes: Vec<Honest>,
    villains: Vec<Villain>,
    /// Time of each villain's first attack.
    begins: Vec<u64>,
    /// Honest nodes that each villain was ever connected to.
    victims: Vec<BTreeSet<usize>>,
    blocks: Vec<Block>,
    messages: Vec<Rc<Message>>,
    connections: u64,
    pub(crate) digest: u64,
    pub(crate) slowest: u64,
}

fn peer(index: usize) -> PeerId {
    let mut bytes = [3_u8; 39];
    bytes[38] = index as u8;
    PeerId::try_from(&bytes[..]).expect("39 bytes")
}

fn index(peer: &PeerId) -> usize {
    usize::from(peer.as_bytes()[38])
}

fn ip(index: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, index as u8))
}

fn message(topic: PayloadVersion, contents: Unpacked) -> Rc<Message> {
    let id = contents.message_id(&block_topic(chain::CHAIN_ID, topic));
    Rc::new(Message { topic, id, contents })
}

fn signed_by(key: &LocalSigner, body: &[u8]) -> Unpacked {
    Unpacked::from_contents(&key.sign_body(chain::CHAIN_ID, body))
}

impl Crowd {
    pub(crate) fn new(seed: u64) -> Self {
        let mut crowd = Self {
            rng: Rng::new(seed ^ 0x63_726f_7764),
            now: BEFORE * Pace::Slow.interval() * MS,
            queue: BTreeMap::new(),
            next: 0,
            nodes: Vec::new(),
            villains: Vec::new(),
            begins: Vec::new(),
            victims: vec![BTreeSet::new(); VILLAINS],
            blocks: Vec::new(),
            messages: Vec::new(),
            connections: 0,
            digest: 0xcbf2_9ce4_8422_2325,
            slowest: 0,
        };
        for _ in 0..BEFORE {
            crowd.make_block();
        }
        let tip = BlockId::of(crowd.blocks.last().expect("some"));
        for at in 0..HONEST {
            let config = NodeConfig {
                seed: seed ^ at as u64,
                head: Some(tip),
                sync: Some(SyncConfig::default()),
                ..NodeConfig::new(Pace::Slow.config())
            };
            crowd.nodes.push(Honest {
                node: Node::new(crowd.clock(), config).expect("sound"),
                wake: None,
                seen: BTreeSet::new(),
                judged: BTreeMap::new(),
                neighbours: BTreeMap::new(),
                serving: BTreeMap::new(),
                banned: BTreeMap::new(),
                remembered: 0,
            });
        }
        for at in 0..HONEST {
            // The first is the sequencer's; a few join late and have blocks to fetch.
            let late =
                if at > 0 && crowd.rng.chance(10) { crowd.rng.range(5, 25) * SECOND } else { 0 };
            crowd.at(crowd.now + late, Happening::Join(at));
        }
        for villain in 0..VILLAINS {
            crowd.villains.push(KINDS[villain % KINDS.len()]);
            let begins = crowd.now + crowd.rng.range(100, 5000) * MS;
            crowd.begins.push(begins);
            crowd.at(begins, Happening::Attack(villain));
            for _ in 0..16 {
                let at = crowd.rng.range(0, HONEST as u64) as usize;
                crowd.at(crowd.now, Happening::Knock { villain, at });
            }
        }
        crowd.at(crowd.now + Pace::Slow.interval() * MS, Happening::Tick);
        crowd
    }

    /// Executes the whole run, and checks its properties.
    pub(crate) fn run(&mut self) {
        // The last blocks have time to arrive.
        let end = self.now + (BLOCKS + 15) * Pace::Slow.interval() * MS;
        while let Some(((at, _), happening)) = self.queue.pop_first() {
            if at > end {
                break;
            }
            self.now = at;
            self.happen(happening);
        }
        let tip = self.blocks.last().map(BlockId::of);
        for (at, honest) in self.nodes.iter().enumerate() {
            assert_eq!(
                honest.node.view().head(),
                tip,
                "node {at} lacks blocks: {:?}",
                honest.node.view().gap()
            );
            assert!(
                honest.banned.keys().all(|whom| *whom >= HONEST),
                "node {at} banned an honest one"
            );
            assert!(honest.remembered > 0, "node {at} remembers no peer");
        }
        for (villain, kind) in self.villains.iter().enumerate() {
            for victim in &self.victims[villain] {
                let honest = &self.nodes[*victim];
                match honest.banned.get(&(HONEST + villain)) {
                    Some(when) => {
                        assert!(kind.is_bannable(), "{kind:?} was banned for nothing that it did");
                        let after = when.saturating_sub(self.begins[villain]);
                        assert!(
                            after <= WITHIN,
                            "{kind:?} stayed at {victim} for {} s",
                            after / SECOND
                        );
                        self.slowest = self.slowest.max(after);
                        assert!(
                            !honest.neighbours.contains_key(&(HONEST + villain)),
                            "a banned one came back"
                        );
                    }
                    None => assert!(!kind.is_bannable(), "{kind:?} was never banned by {victim}"),
                }
            }
        }
    }

    fn clock(&self) -> Now {
        let now = Duration::from_nanos(self.now);
        Now::new(now, Duration::from_secs(chain::GENESIS_TIME) + now)
    }

    fn at(&mut self, when: u64, happening: Happening) {
        self.queue.insert((when.max(self.now), self.next), happening);
        self.next += 1;
    }

    fn soon(&mut self) -> u64 {
        self.now + self.rng.range(10 * MS, 100 * MS)
    }

    fn make_block(&mut self) {
        let parent = self.blocks.last().map_or(chain::GENESIS_HASH, Block::hash);
        let block = chain::block(Pace::Slow, self.blocks.len() as u64 + 1, parent, 0, 0);
        self.messages.push(message(PayloadVersion::V4, chain::message(&chain::signer(), &block)));
        self.blocks.push(block);
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Tick => {
                self.make_block();
                let message = Rc::clone(self.messages.last().expect("just made"));
                self.deliver(0, 0, &message);
                if (self.blocks.len() as u64) < BEFORE + BLOCKS {
                    self.at(self.now + Pace::Slow.interval() * MS, Happening::Tick);
                }
            }
            Happening::Join(at) => {
                let mut others: BTreeSet<usize> = BTreeSet::new();
                while others.len() < 4 {
                    others.insert(self.rng.range(0, HONEST as u64) as usize);
                }
                for other in others {
                    self.connect(at, other);
                }
                self.act(at);
            }
            Happening::Deliver { to, from, message } => {
                if self.nodes[to].neighbours.contains_key(&from) {
                    self.deliver(to, from, &message);
                }
            }
            Happening::Job { to, result } => self.tell(to, Input::JobDone(*result)),
            Happening::Wake { to } => {
                if self.nodes[to].wake.is_some_and(|wake| wake <= self.now) {
                    self.nodes[to].wake = None;
                    self.tell(to, Input::Wake);
                }
            }
            Happening::Attack(villain) => self.attack(villain),
            Happening::Knock { villain, at } => self.knock(villain, at),
            Happening::Leave { villain, at } => self.part(at, HONEST + villain),
            Happening::Stored { to, id } => {
                self.tell(to, Input::Stored { id, is_stored: true });
            }
            Happening::Load { to, ids } => {
                let blocks =
                    ids.iter().map(|id| self.blocks.get(id.number as usize - 1).cloned()).collect();
                self.tell(to, Input::Loaded(blocks));
            }
            Happening::Request { to, from, id, number } => self.request(to, from, id, number),
            Happening::Response { to, id, result } => {
                self.tell(to, Input::Response { id, result: result.map(Into::into) });
            }
            Happening::Responded { to, id } => self.tell(to, Input::Responded(id)),
        }
    }

    /// Connects two honest nodes, unless they are connected already.
    fn connect(&mut self, from: usize, to: usize) {
        if from == to || self.nodes[from].neighbours.contains_key(&to) {
            return;
        }
        assert!(
            self.may_pass(to, from, true) && self.may_pass(from, to, false),
            "honest nodes are let in"
        );
    }

    /// Returns whether `at` admits a connection with `with`.
    fn may_pass(&mut self, at: usize, with: usize, is_inbound: bool) -> bool {
        self.connections += 1;
        let (id, now) = (ConnectionId(self.connections), self.clock());
        let node = &mut self.nodes[at].node;
        let (door, remote) = (Door::Tcp, Some(ip(with)));
        let first = if is_inbound {
            Knock::Accept { id, door, ip: remote }
        } else {
            Knock::DialPeer(peer(with))
        };
        let second = Knock::Secured { id, door, peer: peer(with), ip: remote, is_inbound };
        if node.knock(now, &first).is_err() {
            return false;
        }
        if node.knock(now, &second).is_err() {
            return false;
        }
        self.nodes[at].neighbours.insert(with, id);
        self.tell(at, Input::Connected(peer(with)));
        for version in PayloadVersion::ALL {
            self.tell(at, Input::Peer(peer(with), PeerNews::Subscribed(version, true)));
            self.tell(at, Input::Peer(peer(with), PeerNews::Mesh(version, true)));
        }
        true
    }

    fn knock(&mut self, villain: usize, at: usize) {
        let who = HONEST + villain;
        if self.nodes[at].neighbours.contains_key(&who) {
            return;
        }
        let is_in = self.may_pass(at, who, true);
        assert_ne!(
            is_in,
            self.nodes[at].banned.contains_key(&who),
            "who is banned stays out, others may come"
        );
        if is_in {
            self.victims[villain].insert(at);
            self.act(at);
        } else {
            let again = self.now + 5 * SECOND;
            self.at(again, Happening::Knock { villain, at });
        }
    }

    fn attack(&mut self, villain: usize) {
        let who = HONEST + villain;
        let targets: Vec<usize> =
            (0..HONEST).filter(|at| self.nodes[*at].neighbours.contains_key(&who)).collect();
        for to in targets {
            let Some(message) = self.rubbish(self.villains[villain]) else { break };
            let when = self.soon();
            self.at(when, Happening::Deliver { to, from: who, message });
            if self.villains[villain] == Villain::Runner {
                self.at(when, Happening::Leave { villain, at: to });
            }
        }
        let again = self.now + self.rng.range(500, 2000) * MS;
        self.at(again, Happening::Attack(villain));
    }

    fn rubbish(&mut self, kind: Villain) -> Option<Rc<Message>> {
        let newest = self.blocks.last().expect("some").clone();
        let salt = self.rng.next();
        let parent = B256::from(alloy_primitives::U256::from(salt));
        match kind {
            Villain::Forger | Villain::Runner => {
                let key = LocalSigner::from_bytes(&[9; 32]).expect("a key");
                let block = chain::block(Pace::Slow, newest.number() + 1, parent, salt, 0);
                Some(message(PayloadVersion::V4, signed_by(&key, block.body())))
            }
            Villain::Stale => {
                let old = self.rng.range(0, BEFORE - 60) as usize;
                Some(Rc::clone(&self.messages[old]))
            }
            Villain::Garbage => {
                let length = self.rng.range(1, 700);
                let bytes: Vec<u8> = (0..length).map(|_| self.rng.next() as u8).collect();
                Some(message(PayloadVersion::V4, Unpacked::from_contents(&bytes)))
            }
            Villain::WrongTopic => {
                let topic =
                    self.rng.pick(&[PayloadVersion::V1, PayloadVersion::V2, PayloadVersion::V3]);
                Some(message(topic, chain::message(&chain::signer(), &newest)))
            }
            Villain::Tamperer => {
                let mut body = newest.body().to_vec();
                let at = self.rng.range(0, body.len() as u64) as usize;
                body[at] ^= 1 + (salt % 255) as u8;
                // The signature is that of the real block.
                let mut contents = Vec::new();
                let hash =
                    signing_hash(BLOCK_DOMAIN, chain::CHAIN_ID.into(), payload_hash(newest.body()));
                contents.extend_from_slice(&chain::signer().sign(&hash));
                contents.extend_from_slice(&body);
                Some(message(PayloadVersion::V4, Unpacked::from_contents(&contents)))
            }
            Villain::Useless | Villain::Silent => None,
        }
    }

    fn deliver(&mut self, to: usize, from: usize, message: &Rc<Message>) {
        let honest = &mut self.nodes[to];
        if !honest.seen.insert(message.id) {
            return;
        }
        honest.judged.insert(message.id, Rc::clone(message));
        let input = Input::Gossip {
            from: peer(from),
            topic: message.topic,
            id: message.id,
            message: message.contents.clone(),
        };
        self.tell(to, input);
    }

    fn request(&mut self, to: usize, from: usize, id: RequestId, number: u64) {
        let when = self.soon();
        if to >= HONEST {
            let result = match self.villains[to - HONEST] {
                Villain::Silent => Err(RequestFailure::Timeout),
                _ => Ok(vec![0, self.rng.next() as u8, 1, 2, 3]),
            };
            let when = if result.is_err() { when + 10 * SECOND } else { when };
            self.at(when, Happening::Response { to: from, id, result });
            return;
        }
        self.connections += 1;
        let serve = ServeId(self.connections);
        self.nodes[to].serving.insert(serve, (from, id));
        self.tell(to, Input::Requested { from: peer(from), id: serve, number });
    }

    fn respond(&mut self, at: usize, id: ServeId, bytes: Vec<u8>) {
        if let Some((to, request)) = self.nodes[at].serving.remove(&id) {
            let when = self.soon();
            self.at(when, Happening::Response { to, id: request, result: Ok(bytes) });
            self.at(when, Happening::Responded { to: at, id });
        }
    }

    fn tell(&mut self, to: usize, input: Input) {
        let now = self.clock();
        self.nodes[to].node.handle(now, input);
        self.act(to);
    }

    fn act(&mut self, at: usize) {
        while let Some(output) = self.nodes[at].node.poll() {
            match output {
                Output::Job(job) => {
                    let when = self.now + self.rng.range(MS, 3 * MS);
                    self.at(when, Happening::Job { to: at, result: Box::new(job.run()) });
                }
                Output::Verdict(verdict) => {
                    let message = self.nodes[at].judged.remove(&verdict.id).expect("it was judged");
                    if verdict.result.is_ok() {
                        let others: Vec<usize> =
                            self.nodes[at].neighbours.keys().copied().collect();
                        for to in others
                            .into_iter()
                            .filter(|to| *to < HONEST && *to != index(&verdict.from))
                        {
                            let when = self.soon();
                            let message = Rc::clone(&message);
                            self.at(when, Happening::Deliver { to, from: at, message });
                        }
                    }
                }
                Output::Store { id, .. } => {
                    let when = self.soon();
                    self.at(when, Happening::Stored { to: at, id });
                }
                Output::Load(ids) => {
                    let when = self.soon();
                    self.at(when, Happening::Load { to: at, ids });
                }
                Output::Request { id, to, number, .. } => {
                    let when = self.soon();
                    self.at(when, Happening::Request { to: index(&to), from: at, id, number });
                }
                Output::Serve { id, number, held } => {
                    let head = self.nodes[at].node.view().head().map_or(0, |head| head.number);
                    let stored =
                        || self.blocks.get(number as usize - 1).filter(|_| number <= head).cloned();
                    let bytes = answer(&Ok::<_, ()>(held.or_else(stored))).1;
                    self.respond(at, id, bytes);
                }
                Output::Refuse { id, code } => self.respond(at, id, vec![code.byte()]),
                Output::Disconnect(whom) => self.disconnect(at, index(&whom)),
                Output::Remember(changes) => self.nodes[at].remembered += changes.len(),
                Output::Event(Event::Peers(event)) => self.peer_event(at, event),
                Output::TakeScores | Output::ReadSigner | Output::Range(_) => {}
                Output::Event(_) | Output::ApplicationScore(..) | Output::LiveTopics(_) => {}
                Output::Dial { .. }
                | Output::Send { .. }
                | Output::Sign(_)
                | Output::Close(_)
                | Output::Mesh(_)
                | Output::Recall(_)
                | Output::RequestRpc { .. } => {
                    panic!("not requested: {output:?}")
                }
            }
        }
        let wakeup = self.nodes[at]
            .node
            .next_wakeup()
            .map(|at| at.since(Instant::default()).as_nanos() as u64);
        if let Some(wake) = wakeup
            && self.nodes[at].wake.is_none_or(|before| wake < before)
        {
            self.nodes[at].wake = Some(wake);
            self.at(wake, Happening::Wake { to: at });
        }
    }

    fn peer_event(&mut self, at: usize, event: PeerEvent) {
        match event {
            PeerEvent::Banned { peer, .. } => {
                let whom = index(&peer);
                assert!(whom >= HONEST, "{at} bans the honest {whom}: {event:?}");
                self.nodes[at].banned.insert(whom, self.now);
                self.mix(at as u64, whom as u64);
            }
            PeerEvent::Dropped { why, .. } => {
                assert_eq!(why, DisconnectReason::Banned, "{at}: {event:?}");
            }
            PeerEvent::Lacking(_) | PeerEvent::OtherChain { .. } => {}
        }
    }

    fn disconnect(&mut self, at: usize, whom: usize) {
        assert!(whom >= HONEST, "{at} turns out the honest {whom}");
        self.part(at, whom);
    }

    /// Ends the connection of a villain, which comes back after a second.
    fn part(&mut self, at: usize, whom: usize) {
        let Some(id) = self.nodes[at].neighbours.remove(&whom) else { return };
        let now = self.clock();
        self.nodes[at].node.knock(now, &Knock::Ended(id)).expect("it just ends");
        self.tell(at, Input::Disconnected(peer(whom)));
        let again = self.now + SECOND;
        self.at(again, Happening::Knock { villain: whom - HONEST, at });
    }

    fn mix(&mut self, what: u64, which: u64) {
        for word in [self.now, what, which] {
            self.digest = (self.digest ^ word).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
