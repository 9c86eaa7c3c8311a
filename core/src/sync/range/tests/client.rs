//! The client and servers over a network in virtual time: honest servers, and ones that lie, stall,
//! truncate or are slow.

use super::server::{noise, read};
use super::*;
use crate::chain::BlockId;
use crate::peers::Conduct;
use crate::sync::client::{CHARGE_HELD, Range};
use alloy_primitives::B256;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Length of a tick, in milliseconds.
const TICK: u64 = 10;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// Serves the chain at this rate, in bytes per second.
    Honest(usize),
    /// Accepts requests and says nothing.
    Silent,
    /// Sends blocks with a false hash.
    Forger,
    /// Serves a chain of its own that is consistent.
    Brancher,
    /// Sends a valid block without a parent.
    Orphaner,
    /// Ends after three blocks, without a reason to.
    Truncator,
    /// Closes the stream within a chunk.
    Cutter,
    /// Sends bytes that mean nothing.
    Babbler,
    /// Always says that it is at its limit.
    Limiter,
    /// Says that nothing fits.
    Denier,
    /// Sends skippable frames for ever.
    Filler,
    /// Does not support the protocol.
    Stranger,
}

const LIARS: [Kind; 11] = [
    Kind::Silent,
    Kind::Forger,
    Kind::Brancher,
    Kind::Orphaner,
    Kind::Truncator,
    Kind::Cutter,
    Kind::Babbler,
    Kind::Limiter,
    Kind::Denier,
    Kind::Filler,
    Kind::Stranger,
];

/// A stream as its server sees it: when it reaches the server, and what is left to send.
struct Open {
    id: StreamId,
    server: u8,
    request: Request,
    arrives: u64,
    has_arrived: bool,
    bytes: Vec<u8>,
    sent: usize,
    is_over: bool,
    is_endless: bool,
}

struct Sim {
    client: SegmentClient,
    chain: Vec<Block>,
    branch: Vec<Block>,
    kinds: BTreeMap<u8, Kind>,
    servers: BTreeMap<u8, RangeServer>,
    opens: Vec<Open>,
    latency: u64,
    now: u64,
    proved: Vec<Block>,
    conduct: Vec<(PeerId, Conduct)>,
    most_bytes: usize,
    limit: usize,
    is_excused: bool,
    /// Whether the node remembers the blocks that it proved.
    remembers: bool,
    /// Number of requests.
    asked: usize,
}

impl Sim {
    fn new(blocks: u64, size: usize, kinds: &[Kind], limit: usize) -> Self {
        let config = SegmentClientConfig { bytes: limit, ..SegmentClientConfig::new(1) };
        let mut sim = Self {
            client: SegmentClient::new(config),
            chain: chain(blocks, 0, size),
            branch: chain(blocks, 9, size),
            kinds: (1..).zip(kinds.iter().copied()).collect(),
            servers: BTreeMap::new(),
            opens: Vec::new(),
            latency: 50,
            now: 0,
            proved: Vec::new(),
            conduct: Vec::new(),
            most_bytes: 0,
            limit: limit.max(FRONTIER_RESERVE),
            is_excused: false,
            remembers: true,
            asked: 0,
        };
        for server in sim.kinds.keys() {
            sim.client.connected(peer(*server));
            sim.servers.insert(*server, RangeServer::new(RangeServerConfig::new(1)));
        }
        let wanted = BlockId::of(&sim.chain[blocks as usize]);
        sim.client.aim(at(sim.now), Some(Range { wanted, lowest: 1 }));
        sim
    }

    /// Runs until everything is proved, or for this many milliseconds.
    fn run(&mut self, millis: u64) {
        let end = self.now + millis;
        while self.now < end && self.client.range().is_some() {
            self.turn();
            self.now += TICK;
        }
        self.drain();
    }

    /// Goes on for this many milliseconds, even if nothing is fetched.
    fn run_on(&mut self, millis: u64) {
        let end = self.now + millis;
        while self.now < end {
            self.turn();
            self.now += TICK;
        }
    }

    fn turn(&mut self) {
        self.drain();
        let mut room: BTreeMap<u8, usize> = BTreeMap::new();
        for (server, kind) in &self.kinds {
            let rate = if let Kind::Honest(rate) = kind { *rate } else { 1_000_000 };
            room.insert(*server, rate * TICK as usize / 1000);
        }
        for at in 0..self.opens.len() {
            if self.opens[at].arrives > self.now {
                continue;
            }
            if !self.opens[at].has_arrived {
                self.opens[at].has_arrived = true;
                self.arrive(at);
            }
        }
        self.serve();
        let mut closed = Vec::new();
        for open in &mut self.opens {
            let room = room.get_mut(&open.server).expect("a server");
            if open.is_endless && open.bytes.len() - open.sent < 1000 {
                let frame = [0x80, 10, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0];
                open.bytes.extend(frame.repeat(200));
            }
            let left = open.bytes.len() - open.sent;
            let size = left.min(*room).min(self.client.credit(open.id));
            *room -= size;
            if size > 0 {
                let piece = open.bytes[open.sent..open.sent + size].to_vec();
                open.sent += size;
                self.client.received(at(self.now), open.id, &piece);
            }
            if open.is_over && open.sent == open.bytes.len() {
                let is_strange = self.kinds[&open.server] == Kind::Stranger;
                let how = if is_strange { StreamClose::Unsupported } else { StreamClose::Finished };
                closed.push((open.id, how));
            }
        }
        for (id, how) in closed {
            self.opens.retain(|open| open.id != id);
            self.client.closed(at(self.now), id, how);
        }
        self.drain();
    }

    /// Lets honest servers write, as far as what they wrote before has left.
    fn serve(&mut self) {
        for (number, server) in &mut self.servers {
            for open in self.opens.iter().filter(|open| open.server == *number) {
                if open.sent == open.bytes.len() {
                    server.written(at(self.now), RangeServeId(open.id.0));
                }
            }
            while let Some(step) = server.poll(at(self.now)) {
                let (id, bytes, is_over) = match step {
                    RangeServeStep::Read { id, first, blocks, bytes } => {
                        let done = read(&self.chain, 0, (first, blocks, bytes));
                        server.read(at(self.now), id, done);
                        continue;
                    }
                    RangeServeStep::Write { id, frame } => (id, frame.to_vec(), false),
                    RangeServeStep::End { id, end, .. } => (id, end.encode().to_vec(), true),
                    RangeServeStep::Reset { id, .. } => (id, Vec::new(), true),
                };
                if let Some(open) = self.opens.iter_mut().find(|open| open.id.0 == id.0) {
                    open.bytes.extend(bytes);
                    open.is_over |= is_over;
                }
            }
        }
    }

    /// Decides what a server answers to a request.
    fn arrive(&mut self, index: usize) {
        let (chain, branch, now) = (&self.chain, &self.branch, self.now);
        let open = &mut self.opens[index];
        let first = open.request.first;
        let some = |blocks: &[Block], count: u32| {
            let done = read(blocks, 0, (First::Canonical(first.number()), count, u64::MAX));
            done.packed.map(|packed| packed.frame.to_vec()).unwrap_or_default()
        };
        let end = |end: End| end.encode().to_vec();
        let count = open.request.blocks;
        open.is_over = true;
        open.bytes = match self.kinds[&open.server] {
            Kind::Honest(_) => {
                open.is_over = false;
                let decoded = Request::decode(&open.request.encode());
                let (server, id) = (open.server, RangeServeId(open.id.0));
                let machine = self.servers.get_mut(&server).expect("a server");
                machine.request(at(now), peer(77), Class::Node, id, decoded);
                Vec::new()
            }
            Kind::Silent => {
                open.is_over = false;
                Vec::new()
            }
            Kind::Forger => {
                let block = &chain[first.number() as usize];
                let mut body = block.body().to_vec();
                let last = body.len() - 1;
                body[last] ^= 1;
                let mut packer = Packer::new(u64::MAX);
                packer.add(block.version(), &body);
                packer.finish().expect("one").frame.to_vec()
            }
            Kind::Brancher => [some(branch, count), end(End::Complete)].concat(),
            Kind::Orphaner => {
                let mut envelope = chain[first.number() as usize].to_envelope();
                envelope.payload.parent_hash = B256::ZERO;
                envelope.payload.seal(envelope.parent_beacon_block_root).expect("complete");
                let mut body = Vec::new();
                let version = envelope.encode(&mut body).expect("complete");
                let mut packer = Packer::new(u64::MAX);
                packer.add(version, &body);
                packer.finish().expect("one").frame.to_vec()
            }
            Kind::Truncator => {
                let lowest = first.number().saturating_sub(2);
                [some(chain, 3), end(End::NoMore { lowest })].concat()
            }
            Kind::Cutter => {
                let mut bytes = some(chain, count);
                bytes.truncate(bytes.len() / 2);
                bytes
            }
            Kind::Babbler => vec![0x55; 500],
            Kind::Limiter => end(End::Limited { retry: Duration::from_millis(300) }),
            Kind::Denier => end(End::Complete),
            Kind::Filler => {
                (open.is_over, open.is_endless) = (false, true);
                Vec::new()
            }
            Kind::Stranger => Vec::new(),
        };
    }

    /// Executes all steps of the client.
    fn drain(&mut self) {
        let (is_excused, remembers) = (self.is_excused, self.remembers);
        let chain: Vec<_> = self.chain.iter().map(BlockId::of).collect();
        let knows = |id: &BlockId| remembers && chain.contains(id);
        self.client.settle_charges(at(self.now), |_| is_excused, knows);
        for turn in 0.. {
            assert!(turn < 100_000, "it has ever more to do");
            let Some(step) = self.client.poll(at(self.now)) else { break };
            self.most_bytes = self.most_bytes.max(self.client.bytes());
            match step {
                SegmentStep::Open { id, peer: to, request } => {
                    self.asked += 1;
                    let server = to.as_bytes()[0];
                    let arrives = self.now + self.latency;
                    self.opens.push(Open {
                        id,
                        server,
                        request,
                        arrives,
                        has_arrived: false,
                        bytes: Vec::new(),
                        sent: 0,
                        is_over: false,
                        is_endless: false,
                    });
                    let open = self.opens.iter().filter(|open| open.server == server).count();
                    assert!(open <= 7, "{open} streams to one server");
                }
                SegmentStep::Cancel(id) => {
                    self.opens.retain(|open| open.id != id);
                    for server in self.servers.values_mut() {
                        server.cancelled(at(self.now), RangeServeId(id.0));
                    }
                }
                SegmentStep::Check(id, work) => {
                    self.client.checked(at(self.now), id, work.run());
                }
                SegmentStep::Proved(block, _) => self.proved.push(block),
                SegmentStep::Conduct(peer, conduct) => self.conduct.push((peer, conduct)),
            }
        }
        assert!(self.client.bytes() <= self.limit, "{} bytes", self.client.bytes());
        let due = self.client.next_wakeup(at(self.now));
        assert!(due.is_none_or(|due| due > at(self.now)), "it is late");
    }

    fn assert_complete(&self) {
        let numbers: Vec<u64> = self.proved.iter().map(Block::number).collect();
        let expected: Vec<u64> = (1..self.chain.len() as u64).rev().collect();
        assert_eq!(numbers.len(), expected.len(), "after {} ms", self.now);
        assert_eq!(numbers, expected);
        let is_it = |block: &Block| block.hash() == self.chain[block.number() as usize].hash();
        assert!(self.proved.iter().all(is_it));
    }

    fn faults(&self, server: u8) -> Vec<Conduct> {
        let of_it = self.conduct.iter().filter(|(who, _)| *who == peer(server));
        of_it.map(|(_, what)| *what).filter(|what| *what != Conduct::ValidResponse).collect()
    }
}

#[test]
fn one_server_delivers_everything_and_is_praised() {
    let mut sim = Sim::new(3000, 300, &[Kind::Honest(10_000_000)], 96 << 20);
    sim.run(60_000);
    sim.assert_complete();
    assert!(sim.now < 5_000, "{} ms", sim.now);
    assert_eq!(sim.faults(1), []);
    assert!(sim.conduct.len() >= 40);
    assert_eq!((sim.client.streams(), sim.client.segments()), (0, 0));
}

#[test]
fn several_servers_share_the_work() {
    let one = |kinds: &[Kind]| {
        let mut sim = Sim::new(3000, 300, kinds, 96 << 20);
        sim.run(120_000);
        sim.assert_complete();
        sim.now
    };
    let alone = one(&[Kind::Honest(60_000)]);
    let four = one(&[Kind::Honest(60_000); 4]);
    assert!(four * 2 < alone, "{four} ms instead of {alone}");
}

#[test]
fn one_honest_server_suffices_beside_any_liars() {
    for liar in LIARS {
        let kinds = [liar, liar, Kind::Honest(100_000), liar, liar];
        let mut sim = Sim::new(1500, 300, &kinds, 64 << 20);
        sim.run(300_000);
        sim.assert_complete();
        assert_eq!(sim.faults(3), [], "beside {liar:?}");
        let expected = match liar {
            Kind::Forger => Some(Conduct::RejectedPayload),
            Kind::Cutter | Kind::Babbler | Kind::Filler => Some(Conduct::ErrorResponse),
            _ => None,
        };
        if let Some(expected) = expected {
            assert!(sim.faults(1).contains(&expected), "{liar:?}: {:?}", sim.faults(1));
        }
        if matches!(liar, Kind::Limiter | Kind::Stranger | Kind::Truncator) {
            assert!([1, 2, 4, 5].iter().all(|server| sim.faults(*server).is_empty()), "{liar:?}");
        }
    }
}

#[test]
fn a_silent_server_is_penalised_even_if_it_lost_the_frontier() {
    let mut sim = Sim::new(1500, 300, &[Kind::Silent, Kind::Honest(4_000)], 64 << 20);
    sim.run(300_000);
    sim.assert_complete();
    assert!(sim.faults(1).contains(&Conduct::ErrorResponse));
}

#[test]
fn a_branch_is_held_against_its_server_unless_it_is_excused() {
    for is_excused in [false, true] {
        let mut sim = branched(is_excused);
        let asked = sim.asked;
        sim.run_on(5_000);
        assert_eq!(sim.client.charges(), 0);
        let expected = vec![Conduct::RejectedPayload; usize::from(!is_excused)];
        assert_eq!(sim.faults(2), expected);
        assert_eq!(sim.asked - asked, usize::from(!is_excused), "it is tested once");
    }
}

#[test]
fn a_server_that_left_its_branch_is_honest() {
    for kind in [Kind::Honest(20_000), Kind::Limiter, Kind::Stranger] {
        let mut sim = branched(false);
        sim.kinds.insert(2, kind);
        let asked = sim.asked;
        sim.run_on(5_000);
        assert_eq!((sim.client.charges(), sim.asked - asked), (0, 1));
        assert_eq!(sim.faults(2), [], "now {kind:?}");
    }
}

#[test]
fn a_server_that_left_its_branch_is_honest_even_if_nobody_remembers_the_block() {
    for (kind, faults) in [(Kind::Honest(20_000), 0), (Kind::Brancher, 1)] {
        let mut sim = branched(false);
        sim.kinds.insert(2, kind);
        // So it is with history, which goes straight to the store.
        sim.remembers = false;
        sim.run_on(5_000);
        assert_eq!(sim.faults(2), vec![Conduct::RejectedPayload; faults], "now {kind:?}");
    }
}

#[test]
fn a_signed_block_above_what_a_server_sent_drops_its_charge() {
    let mut sim = branched(false);
    // Block by block upwards, as the sequencer's branch becomes known.
    for block in sim.branch.clone() {
        sim.client.is_signed(BlockId::of(&block), block.parent_hash());
    }
    assert_eq!(sim.client.charges(), 0);
    sim.run_on(5_000);
    assert_eq!(sim.faults(2), []);
}

#[test]
fn a_charge_counts_untested_if_its_server_left_and_tests_end() {
    let mut gone = branched(false);
    gone.client.disconnected(at(gone.now), &peer(2));
    gone.run_on(100);
    assert_eq!(gone.faults(2), [Conduct::RejectedPayload]);
    // Lost in the middle of its test, a server could not answer.
    let mut lost = branched(false);
    lost.run_on(20);
    let still_counts = (lost.client.streams(), lost.client.charges());
    assert_eq!(still_counts, (1, 1), "a charge is there until its test has ended");
    lost.client.disconnected(at(lost.now), &peer(2));
    lost.run_on(100);
    assert_eq!((lost.faults(2), lost.client.streams()), (vec![], 0));
}

/// Runs up to the time when the charge against server 2, which served another branch, is due.
fn branched(is_excused: bool) -> Sim {
    let mut sim = Sim::new(1500, 300, &[Kind::Honest(20_000), Kind::Brancher], 96 << 20);
    sim.is_excused = is_excused;
    sim.run(300_000);
    sim.assert_complete();
    assert_eq!((sim.faults(2), sim.client.charges()), (vec![], 1));
    sim.now += CHARGE_HELD.as_millis() as u64;
    sim
}

#[test]
fn a_far_slower_server_loses_the_frontier_without_a_penalty() {
    let mut sim = Sim::new(2000, 3000, &[Kind::Honest(1_000), Kind::Honest(500_000)], 96 << 20);
    sim.run(300_000);
    sim.assert_complete();
    assert_eq!(sim.faults(1), []);
    assert!(sim.now < 60_000, "{} ms", sim.now);
}

#[test]
fn memory_is_bounded_for_any_gap() {
    // All lower segments arrive long before the frontier moves.
    let kinds = [Kind::Silent, Kind::Honest(50_000_000), Kind::Honest(50_000_000)];
    let limit = FRONTIER_RESERVE + 12 * (1 << 20);
    let mut sim = Sim::new(3000, 10_000, &kinds, limit);
    sim.run(120_000);
    sim.assert_complete();
    assert!(sim.most_bytes <= limit);
    let mut small = Sim::new(3000, 300, &[Kind::Honest(50_000_000)], 0);
    small.run(60_000);
    small.assert_complete();
}

#[test]
fn a_connection_that_is_lost_keeps_what_came() {
    let kinds = [Kind::Honest(30_000), Kind::Honest(30_000)];
    let mut sim = Sim::new(2000, 300, &kinds, 96 << 20);
    sim.run(1_500);
    let before = sim.proved.len();
    assert!(before > 0);
    sim.client.disconnected(at(sim.now), &peer(1));
    sim.opens.retain(|open| open.server != 1);
    sim.run(60_000);
    sim.assert_complete();
    assert_eq!((sim.faults(1), sim.faults(2)), (vec![], vec![]));
}

#[test]
fn another_aim_cancels_and_a_pause_waits() {
    let mut sim = Sim::new(2000, 300, &[Kind::Honest(50_000)], 96 << 20);
    sim.run(500);
    sim.client.pause(at(sim.now), true);
    let before = sim.proved.len();
    for _ in 0..3000 {
        sim.turn();
        sim.now += TICK;
    }
    assert_eq!((sim.proved.len(), sim.faults(1)), (before, vec![]));
    sim.client.pause(at(sim.now), false);
    let wanted = BlockId::of(&sim.chain[900]);
    sim.client.aim(at(sim.now), Some(Range { wanted, lowest: 800 }));
    sim.proved.clear();
    sim.run(60_000);
    let numbers: Vec<u64> = sim.proved.iter().map(Block::number).collect();
    assert_eq!(numbers, (800..=900).rev().collect::<Vec<_>>());
    assert_eq!((sim.faults(1), sim.opens.len()), (vec![], 0));
}

#[test]
fn a_block_larger_than_a_lower_segment_allows_arrives_at_the_frontier() {
    let mut sim = Sim::new(200, 300, &[Kind::Honest(9_000_000); 2], 96 << 20);
    let mut blocks = sim.chain[..50].to_vec();
    for number in 50..=200_u64 {
        let size = if number == 60 { 3 << 20 } else { 300 };
        let mut envelope = sim.chain[number as usize].to_envelope();
        envelope.payload.parent_hash = blocks.last().expect("one").hash();
        envelope.payload.transactions = vec![vec![7; size].into()];
        blocks.push(decoded(&sealed(envelope)));
    }
    sim.chain = blocks;
    sim.client.aim(at(sim.now), Some(Range { wanted: BlockId::of(&sim.chain[200]), lowest: 1 }));
    sim.run(60_000);
    sim.assert_complete();
    assert_eq!((sim.faults(1), sim.faults(2)), (vec![], vec![]));
}

/// Returns the share of the line that is used, in percent, for blocks that do not compress. A round
/// trip takes 100 ms.
fn share_of(rate: usize, kinds: &[Kind]) -> usize {
    let mut sim = Sim::new(1000, 300, kinds, 96 << 20);
    (sim.chain, sim.branch) = (noise(1000, 20_000), noise(1000, 10_000));
    sim.latency = 100;
    sim.client.aim(at(sim.now), Some(Range { wanted: BlockId::of(&sim.chain[1000]), lowest: 1 }));
    sim.run(300_000);
    sim.assert_complete();
    let bytes: usize = sim.chain[1..].iter().map(|block| block.body().len()).sum();
    bytes * 100 * 1000 / (rate * sim.now as usize)
}

#[test]
fn the_line_is_used() {
    let rate = 2_000_000;
    let alone = share_of(rate, &[Kind::Honest(rate)]);
    assert!(alone >= 90, "{alone} % with one server");
    let four = share_of(rate, &[Kind::Honest(rate / 4); 4]);
    assert!(four >= 75, "{four} % with four servers");
    for liar in [Kind::Silent, Kind::Brancher, Kind::Forger] {
        let share = share_of(rate, &[liar, liar, Kind::Honest(rate), liar, liar]);
        assert!(share >= 70, "{share} % with one honest server of five, beside {liar:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_mixture_with_an_honest_server_recovers(
        liars in prop::collection::vec(0_usize..LIARS.len(), 0..6),
        rate in 30_000_usize..2_000_000, latency in 0_u64..200, mebibytes in 0_usize..64,
    ) {
        let mut kinds: Vec<Kind> = liars.into_iter().map(|liar| LIARS[liar]).collect();
        kinds.push(Kind::Honest(rate));
        let honest = kinds.len() as u8;
        let mut sim = Sim::new(700, 300, &kinds, FRONTIER_RESERVE + (mebibytes << 20));
        sim.latency = latency;
        sim.run(600_000);
        sim.assert_complete();
        prop_assert_eq!(sim.faults(honest), vec![]);
    }
}
