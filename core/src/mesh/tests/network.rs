//! Fifty routers on a network with latency, bandwidth and no loss.

use super::*;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

const NODES: u16 = 50;
/// Connections that each node opens.
const DIALS: u16 = 6;
/// Bytes per millisecond of each node's uplink: 50 Mbit/s.
const UPLINK: u64 = 6_250;

#[derive(Debug)]
enum Event {
    Arrive { to: u16, from: u16, frame: Frame },
    Written { at: u16, to: u16, bytes: usize },
    Judge { at: u16, entry: EntryId },
    Name { at: u16, job: NameJob },
}

struct Network {
    now: Instant,
    routers: Vec<Router>,
    events: BTreeMap<u64, Event>,
    queue: BinaryHeap<Reverse<(Instant, u64)>>,
    serial: u64,
    random: Random,
    /// When each node's uplink is free.
    free: Vec<Instant>,
    /// Times at which each node accepted each message.
    accepted: BTreeMap<Id, BTreeMap<u16, Instant>>,
    copies: usize,
}

impl Network {
    fn new(seed: u64) -> Self {
        let now = Instant::from_start(secs(1));
        let config = |n: u16| MeshConfig::new(vec![BLOCKS.into()], seed * 1000 + u64::from(n));
        let mut network = Self {
            now,
            routers: (0..NODES).map(|n| Router::new(now, config(n))).collect(),
            events: BTreeMap::new(),
            queue: BinaryHeap::new(),
            serial: 0,
            random: Random::new(seed),
            free: vec![now; NODES.into()],
            accepted: BTreeMap::new(),
            copies: 0,
        };
        for node in 0..NODES {
            network.input(node, Input::Join(topic(0)));
        }
        for node in 0..NODES {
            for _ in 0..DIALS {
                let other = network.random.below(NODES.into()) as u16;
                if other != node {
                    network.connect(node, other);
                    network.connect(other, node);
                }
            }
        }
        network
    }

    fn connect(&mut self, node: u16, other: u16) {
        let is_outbound = node < other;
        let peer = peer(other);
        let ips = Vec::new();
        self.input(node, Input::Connected { peer, class: Class::Node, is_outbound, ips });
        self.input(node, Input::WriterOpened(peer, Version::V1_2));
        self.input(node, Input::ReaderOpened(peer));
    }

    /// 5 to 150 ms, the same for a pair in both directions.
    fn latency(a: u16, b: u16) -> Duration {
        millis(5 + u64::from(a.min(b)) * 37 % 73 + u64::from(a.max(b)) * 41 % 73)
    }

    fn at(&mut self, time: Instant, event: Event) {
        self.serial += 1;
        self.events.insert(self.serial, event);
        self.queue.push(Reverse((time, self.serial)));
    }

    fn input(&mut self, node: u16, input: Input) {
        let now = self.now;
        self.routers[usize::from(node)].handle(now, input);
        while let Some(output) = self.routers[usize::from(node)].poll() {
            match output {
                Output::Transmit(to) => self.transmit(node, number(&to)),
                Output::Name(job) => self.at(now + millis(2), Event::Name { at: node, job }),
                Output::Validate { entry, .. } => {
                    self.at(now + millis(3), Event::Judge { at: node, entry });
                }
                Output::Ban(..) | Output::ResetReader(_) | Output::CloseWriter(_) => {
                    panic!("{output:?} among honest nodes");
                }
                Output::OpenWriter(_) | Output::Mesh { .. } | Output::Published { .. } => {}
            }
        }
    }

    fn transmit(&mut self, node: u16, to: u16) {
        while let Some(frame) =
            self.routers[usize::from(node)].transmit(self.now, &peer(to), WINDOW)
        {
            let length = frame.len();
            let free = &mut self.free[usize::from(node)];
            *free = (*free).max(self.now) + Duration::from_micros(length as u64 * 1000 / UPLINK);
            let written = *free;
            self.at(written, Event::Written { at: node, to, bytes: length });
            self.at(written + Self::latency(node, to), Event::Arrive { to, from: node, frame });
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let wakeups = self.routers.iter().map(|router| router.next_wakeup(self.now));
            let wakeup = wakeups.min().expect("routers");
            let event = self.queue.peek().map(|Reverse((at, _))| *at);
            let next = event.map_or(wakeup, |at| at.min(wakeup));
            if next > end {
                break;
            }
            self.now = self.now.max(next);
            if event == Some(next) {
                let Reverse((_, serial)) = self.queue.pop().expect("peeked");
                let event = self.events.remove(&serial).expect("queued");
                self.happen(event);
            } else {
                for node in 0..NODES {
                    if self.routers[usize::from(node)].next_wakeup(self.now) <= self.now {
                        self.input(node, Input::Wake);
                    }
                }
            }
        }
        self.now = end;
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive { to, from, frame } => {
                self.copies += usize::from(!frame.data().is_empty());
                let bytes: Bytes = frame.to_vec().into();
                let prefix = bytes.iter().take_while(|byte| **byte >= 0x80).count() + 1;
                self.input(to, Input::Frame(peer(from), bytes.slice(prefix..)));
            }
            Event::Written { at, to, bytes } => self.input(at, Input::Written(peer(to), bytes)),
            Event::Name { at, job } => {
                let named = job.run();
                self.accepted.entry(named.name).or_default().entry(at).or_insert(self.now);
                self.input(at, Input::Named(named));
            }
            Event::Judge { at, entry } => self.input(at, Input::Verdict(entry, Acceptance::Accept)),
        }
    }

    fn publish(&mut self, node: u16, data: &Bytes) {
        let (id, name) = (PublishId(1), name(data));
        self.accepted.entry(name).or_default().insert(node, self.now);
        self.input(node, Input::Publish { id, topic: topic(0), name, data: data.clone() });
    }

    /// Returns the number of nodes that have a message, and how long the last waited.
    fn spread(&self, data: &Bytes) -> (usize, Duration) {
        let times = &self.accepted[&name(data)];
        let (first, last) = (times.values().min(), times.values().max());
        (times.len(), last.expect("times").since(*first.expect("times")))
    }
}

fn number(peer: &PeerId) -> u16 {
    u16::from_be_bytes(peer.as_bytes().try_into().expect("two bytes"))
}

#[test]
fn fifty_nodes_receive_everything_in_a_mesh_of_the_right_size() {
    let mut network = Network::new(11);
    network.run(secs(10));
    for (node, router) in network.routers.iter().enumerate() {
        let degree = router.mesh_of(topic(0)).count();
        assert!((4..=12).contains(&degree), "node {node} has {degree}");
        for member in router.mesh_of(topic(0)) {
            let other = &network.routers[usize::from(number(member))];
            let back = other.mesh_of(topic(0)).any(|peer| usize::from(number(peer)) == node);
            assert!(back, "{node} and {member:?} disagree");
        }
    }
    let (mut small, mut large, mut blocks) = (0, 0, Vec::new());
    for seed in 0..20 {
        let is_large = seed % 5 == 0;
        let data = block(seed, if is_large { 300_000 } else { 3_000 });
        network.copies = 0;
        network.publish((seed % 7) as u16, &data);
        network.run(secs(2));
        *(if is_large { &mut large } else { &mut small }) += network.copies;
        blocks.push(data);
    }
    network.run(secs(5));
    for data in &blocks {
        let (nodes, time) = network.spread(data);
        assert_eq!(nodes, usize::from(NODES));
        assert!(time < secs(2), "{time:?}");
    }
    // Each link of the mesh carries a small message once or twice. For large ones, there is time to
    // say that they have arrived.
    let per_node = |copies: usize, blocks: f64| copies as f64 / blocks / f64::from(NODES);
    let (small, large) = (per_node(small, 16.0), per_node(large, 4.0));
    assert!(small < 8.0, "{small} copies of a small message for each node");
    assert!(large < 5.0, "{large} copies of a large message for each node");
    for (at, router) in network.routers.iter().enumerate() {
        for peer in (0..NODES).map(peer) {
            let score = router.score_of(network.now, &peer);
            assert_eq!(score.behavioural_penalty, 0.0, "{peer:?} at {at}");
            assert!(score.total >= 0.0);
        }
    }
}

#[test]
fn a_node_that_was_cut_off_is_grafted_again_and_gets_what_it_missed() {
    let mut network = Network::new(12);
    network.run(secs(5));
    let peers: Vec<PeerId> = network.routers[0].mesh_of(topic(0)).copied().collect();
    // All its neighbours leave and come back: nothing but the cache has what is published
    // meanwhile.
    for other in &peers {
        network.input(0, Input::Disconnected(*other));
        network.input(number(other), Input::Disconnected(peer(0)));
    }
    let data = block(1, 3_000);
    network.publish(30, &data);
    network.run(millis(500));
    for other in &peers {
        network.connect(0, number(other));
        network.connect(number(other), 0);
    }
    network.run(secs(5));
    assert_eq!(network.spread(&data).0, usize::from(NODES));
    assert!(network.routers[0].mesh_of(topic(0)).count() >= 4);
}
