//! Two nodes of each built-in chain: one publishes and serves blocks of each era, the other
//! follows.
//!
//! The configuration is the built-in one, except for the signer. The blocks have the shape that the
//! chain had at their time: the payload's version, the extra data, blob gas since Jovian, and the
//! BaseTime deposit since Denim.

use super::*;
use crate::chain::networks;
use crate::payload::{BaseTime, ExecutionPayload};
use crate::sync::{FillConfig, RangeId, RequestId, ServeId, SyncEvent, answer};
use alloy_primitives::{Bytes, U256};
use std::collections::{BTreeMap, VecDeque};

/// 2026-11-29 04:00:00 UTC: the present moment of these tests.
const PRESENT: u64 = 1_795_924_800;

/// Returns a block as the chain's sequencer makes it.
fn block_of(chain: &ChainConfig, number: u64, parent_hash: B256) -> Envelope {
    let schedule = chain.schedule();
    let timestamp = schedule.timestamp_of(number).expect("in range");
    let is_active = |fork| chain.forks.is_active(fork, timestamp);
    let extra_data: &[u8] = match (is_active(Fork::Jovian), is_active(Fork::Holocene)) {
        (true, _) => &[1, 0, 0, 0, 250, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, 1],
        (false, true) => &[0, 0, 0, 0, 250, 0, 0, 0, 6],
        (false, false) => &[],
    };
    let mut transactions =
        vec![Bytes::from_static(&[0x7e, 1, 2, 3]), Bytes::from_static(&[0x02; 100])];
    if schedule.first_with_base_time().is_some_and(|first| first <= number) {
        let millis = schedule.millis_of(number).expect("in range");
        let deposit = BaseTime::of_block(number, millis).to_transaction();
        transactions.insert(1, Bytes::copy_from_slice(&deposit));
    }
    let blob_gas = if is_active(Fork::Jovian) { 40_000 } else { 0 };
    let payload = ExecutionPayload {
        parent_hash,
        state_root: B256::repeat_byte(0x33),
        receipts_root: B256::repeat_byte(0x44),
        prev_randao: B256::repeat_byte(0x55),
        block_number: number,
        gas_limit: 60_000_000,
        gas_used: 50_000,
        timestamp,
        extra_data: Bytes::copy_from_slice(extra_data),
        base_fee_per_gas: U256::from(7),
        transactions,
        withdrawals: is_active(Fork::Canyon).then(Vec::new),
        blob_gas_used: is_active(Fork::Ecotone).then_some(blob_gas),
        excess_blob_gas: is_active(Fork::Ecotone).then_some(0),
        withdrawals_root: is_active(Fork::Isthmus).then_some(B256::repeat_byte(0x66)),
        ..ExecutionPayload::default()
    };
    let root = is_active(Fork::Ecotone).then_some(B256::repeat_byte(0x77));
    sealed(Envelope { parent_beacon_block_root: root, payload })
}

/// Returns `count` blocks from `first` on, each the child of the one before.
fn run_of(chain: &ChainConfig, first: u64, count: u64) -> Vec<Envelope> {
    let mut parent = B256::repeat_byte(0x99);
    let blocks = (first..first + count).map(|number| {
        let envelope = block_of(chain, number, parent);
        parent = envelope.payload.block_hash;
        envelope
    });
    blocks.collect()
}

fn decoded(envelope: &Envelope) -> Block {
    vouched(envelope).expect("its hash is true")
}

/// Returns the first block at or after each moment that changed the shape of blocks, and the
/// present one.
fn eras(chain: &ChainConfig) -> Vec<u64> {
    let schedule = chain.schedule();
    let first_at = |time: u64| {
        let found = schedule.highest_number_at(Duration::from_secs(time));
        let number = found.unwrap_or(chain.genesis.number).max(chain.genesis.number + 2);
        let is_before = schedule.timestamp_of(number).is_some_and(|found| found < time);
        if is_before { number + 1 } else { number }
    };
    let forks = Fork::ALL.into_iter().filter_map(|fork| chain.forks.activation(fork));
    let times = forks.filter(|time| *time <= PRESENT - 60).chain([0, PRESENT - 60]);
    let mut numbers: Vec<u64> = times.map(first_at).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// Both nodes, and the network between them.
struct Pair {
    chain: ChainConfig,
    now: Now,
    nodes: [Node; 2],
    /// Contents of the first node's store.
    store: BTreeMap<u64, Block>,
    requests: BTreeMap<u64, RequestId>,
    verdicts: Vec<Result<BlockId, Reason>>,
    extended: Vec<BlockId>,
    ranges: Vec<String>,
    published: usize,
}

impl Pair {
    /// Creates both nodes with `head` as their head, at this moment of the wall clock.
    fn new(chain: &ChainConfig, head: &Envelope, unix: Duration) -> Self {
        let now = Now::new(Duration::from_secs(5000), unix);
        let head = decoded(head);
        let node = |can_sign| {
            let sync = SyncConfig {
                fill: FillConfig { max_age: None, ..FillConfig::default() },
                ..SyncConfig::default()
            };
            let config = NodeConfig {
                can_sign,
                head: Some(BlockId::of(&head)),
                recent: vec![head.clone()],
                sync: Some(sync),
                ..NodeConfig::new(chain.clone())
            };
            Node::new(now, config).expect("a good configuration")
        };
        let nodes = [node(true), node(false)];
        let mut pair = Self {
            chain: chain.clone(),
            now,
            nodes,
            store: BTreeMap::new(),
            requests: BTreeMap::new(),
            verdicts: Vec::new(),
            extended: Vec::new(),
            ranges: Vec::new(),
            published: 0,
        };
        pair.tell(0, Input::Connected(peer(1)));
        pair.tell(1, Input::Connected(peer(0)));
        pair
    }

    /// Passes an input to one of them, and carries out everything that follows.
    fn tell(&mut self, node: usize, input: Input) {
        let mut inputs = VecDeque::from([(node, input)]);
        loop {
            for node in [0, 1] {
                while let Some(output) = self.nodes[node].poll() {
                    inputs.extend(self.perform(node, output));
                }
            }
            let Some((node, input)) = inputs.pop_front() else { break };
            self.nodes[node].handle(self.now, input);
        }
    }

    fn perform(&mut self, node: usize, output: Output) -> Vec<(usize, Input)> {
        match output {
            Output::Job(job) => vec![(node, Input::JobDone(job.run()))],
            Output::Sign(SignRequest { id, signing_hash, .. }) => {
                let result = Ok(sequencer().sign(&signing_hash));
                vec![(node, Input::Signed { id, result })]
            }
            Output::Send { id, topic, contents } => {
                self.published += 1;
                let message = Unpacked::from_contents(&contents);
                let mut name = [0; 20];
                name[..8].copy_from_slice(&self.published.to_be_bytes());
                let heard = Input::Gossip { from: peer(0), topic, id: name, message };
                vec![(node, Input::Sent { id, outcome: SendOutcome::Sent }), (1, heard)]
            }
            Output::Verdict(verdict) => {
                self.verdicts.push(verdict.result);
                Vec::new()
            }
            Output::Request { id, number, .. } => {
                self.requests.insert(number, id);
                let id = ServeId(number);
                vec![(0, Input::Requested { from: peer(1), id, number })]
            }
            Output::Serve { id, number, held } => {
                let found = held.or_else(|| self.store.get(&number).cloned());
                let (_, bytes) = answer::<()>(&Ok(found));
                self.answered(number, id, bytes)
            }
            Output::Refuse { id, code } => self.answered(id.0, id, vec![code.byte()]),
            Output::Store { id, .. } => vec![(node, Input::Stored { id, is_stored: true })],
            Output::Event(Event::Chain(ChainEvent::Extended(block))) if node == 1 => {
                self.extended.push(BlockId::of(&block));
                Vec::new()
            }
            Output::Event(Event::Sync(SyncEvent::Range { result, .. })) => {
                self.ranges.push(format!("{result:?}"));
                Vec::new()
            }
            Output::Event(Event::ScheduleInDoubt(doubt)) => {
                panic!("{}: {doubt}", self.chain.name)
            }
            Output::Event(Event::Peers(crate::peers::PeerEvent::Banned { .. })) => {
                panic!("{}: a peer is banned", self.chain.name)
            }
            Output::Disconnect(_) => panic!("{}: a peer is dropped", self.chain.name),
            _ => Vec::new(),
        }
    }

    fn answered(&mut self, number: u64, id: ServeId, bytes: Vec<u8>) -> Vec<(usize, Input)> {
        let request = self.requests.remove(&number).expect("it was asked for");
        let response = Input::Response { id: request, result: Ok(bytes.into()) };
        vec![(0, Input::Responded(id)), (1, response)]
    }

    /// Lets a node work until nothing is due within a minute.
    fn wait(&mut self) {
        let end = self.now.monotonic + Duration::from_secs(60);
        loop {
            let due = self.nodes.iter().filter_map(Node::next_wakeup).min();
            let Some(due) = due.filter(|due| *due <= end && self.ranges.is_empty()) else { break };
            let elapsed = due.since(self.now.monotonic);
            self.now =
                Now { monotonic: self.now.monotonic + elapsed, unix: self.now.unix + elapsed };
            for node in [0, 1] {
                self.tell(node, Input::Wake);
            }
        }
    }

    fn assert_healthy(&self) {
        for (node, other) in [(0, 1), (1, 0)] {
            let score = self.nodes[node].peers().score(self.now, &peer(other));
            assert!(score >= 0.0, "{}: node {node} gives {score}", self.chain.name);
            assert_eq!(self.nodes[node].schedule_doubt(), None, "{}", self.chain.name);
        }
    }
}

/// Returns the chains with a signer whose key this test has.
fn chains() -> impl Iterator<Item = ChainConfig> {
    networks::all().map(|network| ChainConfig {
        unsafe_block_signer: Some(sequencer().address()),
        ..network.config()
    })
}

/// Returns the time of a block since the Unix epoch.
fn time_of(chain: &ChainConfig, number: u64) -> Duration {
    Duration::from_millis(chain.schedule().time_of(number).expect("in range"))
}

#[test]
fn blocks_of_each_era_are_accepted_by_gossip_on_every_built_in_chain() {
    for chain in chains() {
        for number in eras(&chain) {
            // Across the edge: the last block before, and the first two of the era.
            let blocks = run_of(&chain, number - 2, 4);
            let now = time_of(&chain, number + 1) + Duration::from_millis(50);
            let mut pair = Pair::new(&chain, &blocks[0], now);
            for (id, envelope) in blocks[1..].iter().enumerate() {
                let publication = Publication::Envelope(Box::new(envelope.clone()));
                pair.tell(0, Input::Publish { id: PublishId(id as u64), publication });
            }
            let expected: Vec<BlockId> = blocks[1..].iter().map(id).collect();
            let accepted: Vec<_> = expected.iter().copied().map(Ok).collect();
            assert_eq!(pair.verdicts, accepted, "{} at {number}", chain.name);
            assert_eq!(pair.extended, expected, "{} at {number}", chain.name);
            pair.assert_healthy();
        }
    }
}

#[test]
fn blocks_of_each_era_are_accepted_by_number_on_every_built_in_chain() {
    for chain in chains() {
        for number in eras(&chain) {
            let blocks = run_of(&chain, number - 2, 4);
            let mut pair = Pair::new(&chain, &blocks[0], Duration::from_secs(PRESENT));
            pair.store = blocks.iter().map(decoded).map(|block| (block.number(), block)).collect();
            let to = id(&blocks[3]);
            pair.tell(1, Input::FetchRange { id: RangeId(1), to });
            pair.wait();
            assert_eq!(pair.ranges, ["Ok(())"], "{} at {number}", chain.name);
            let expected: Vec<BlockId> = blocks[1..].iter().map(id).collect();
            assert_eq!(pair.extended, expected, "{} at {number}", chain.name);
            pair.assert_healthy();
        }
    }
}

#[test]
fn the_eras_of_base_and_world_chain_have_the_expected_shapes() {
    let shapes = |name: &str| -> Vec<(PayloadVersion, bool, bool)> {
        let network = networks::find(name).expect("built in");
        let chain = network.config();
        let mut shapes: Vec<_> = eras(&chain)
            .into_iter()
            .map(|number| {
                let block = decoded(&block_of(&chain, number, B256::ZERO));
                let has_blob_gas = block.payload().blob_gas_used().is_some_and(|gas| gas > 0);
                (block.version(), has_blob_gas, block.base_time().is_some())
            })
            .collect();
        shapes.dedup();
        shapes
    };
    let before = [(V1, false, false), (V2, false, false), (V3, false, false)];
    let base = [&before[..], &[(V4, false, false), (V4, true, false), (V4, true, true)]].concat();
    assert_eq!(shapes("base"), base);
    let world = shapes("world-chain-mainnet");
    assert_eq!(world[world.len() - 2..], [(V4, false, false), (V4, true, false)]);
}
