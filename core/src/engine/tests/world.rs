//! A chain of our own, a simulated execution client, and the loop between them.

use super::*;
use crate::gossip::tests::support::{changed, decoded};
use crate::payload::{Block, Envelope, PayloadVersion};
use std::collections::BTreeMap;

/// The hash of block 0.
const GENESIS: B256 = B256::repeat_byte(0x99);

pub(super) fn chain() -> ChainConfig {
    let signer = sequencer().address();
    ChainConfig {
        forks: ForkSchedule::up_to(Fork::Isthmus),
        ..ChainConfig::development(CHAIN_ID, GENESIS, NOW - 1000, 2, Fork::Isthmus, signer)
    }
}

pub(super) fn genesis() -> BlockId {
    BlockId::new(0, GENESIS)
}

fn timestamp(number: u64) -> u64 {
    NOW - 1000 + 2 * number
}

fn make(parent: BlockId, salt: u64) -> Block {
    let envelope = changed(PayloadVersion::V4, |payload| {
        payload.parent_hash = parent.hash;
        payload.block_number = parent.number + 1;
        payload.timestamp = timestamp(parent.number + 1);
        payload.gas_used = salt;
    });
    decoded(&envelope)
}

/// Kinds of calls to a [`Client`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    State,
    Offer,
    Choose,
    Build,
    Fetch,
}

/// A block that a [`Client`] has.
#[derive(Clone, Copy, Debug)]
struct Known {
    id: BlockId,
    parent: B256,
    timestamp: u64,
}

/// An execution client that knows its blocks and behaves as configured.
#[derive(Debug)]
pub(super) struct Client {
    known: BTreeMap<B256, Known>,
    pub(super) head: BlockId,
    pub(super) safe: Option<BlockId>,
    pub(super) finalized: Option<BlockId>,
    /// Answer to every call, in place of the usual one.
    pub(super) down: Option<EngineFailure>,
    /// Answer to one kind of call.
    pub(super) broken: Option<(Call, EngineFailure)>,
    /// Failure of every offer of a block from this number on.
    pub(super) breaks_at: Option<(u64, EngineFailure)>,
    /// Blocks that it calls invalid, together with all blocks that build on them.
    pub(super) invalid: Vec<B256>,
    /// Refused blocks, each with the last valid block below it.
    rejected: BTreeMap<B256, B256>,
    /// Whether it names the last valid block below an invalid one.
    pub(super) names_valid: bool,
    /// Whether it executes blocks outside its own chain only when they are chosen.
    pub(super) is_lazy: bool,
    /// Whether it accepts no blocks at the moment, because it fetches blocks by itself.
    pub(super) is_busy: bool,
    /// Whether it fetches the blocks below a head that it was given, with a delay.
    pub(super) has_peers: bool,
    /// Whether it keeps its head when it is given a block of its own chain, like reth.
    pub(super) never_unwinds: bool,
    /// Whether it refuses a head that comes with labels (-38002).
    pub(super) refuses_labels: bool,
    /// Methods that it refuses as belonging to another fork (-38005).
    pub(super) other_fork: Vec<&'static str>,
    /// The methods that it lists.
    pub(super) methods: Vec<String>,
    /// The head that it is fetching.
    pub(super) fetches: Option<B256>,
    /// A false state to report in place of the true one.
    pub(super) claims: Option<EngineState>,
    /// The last forkchoice that it received.
    pub(super) told: Option<Forkchoice>,
    building: Option<(B256, PayloadAttributes)>,
    /// The calls that it received, abbreviated.
    pub(super) calls: Vec<String>,
}

impl Client {
    fn new() -> Self {
        let first = Known { id: genesis(), parent: B256::ZERO, timestamp: timestamp(0) };
        Self {
            known: BTreeMap::from([(GENESIS, first)]),
            head: genesis(),
            safe: None,
            finalized: None,
            down: None,
            broken: None,
            breaks_at: None,
            invalid: Vec::new(),
            rejected: BTreeMap::new(),
            names_valid: true,
            is_lazy: false,
            is_busy: false,
            has_peers: false,
            never_unwinds: false,
            refuses_labels: false,
            other_fork: Vec::new(),
            methods: Vec::new(),
            fetches: None,
            claims: None,
            told: None,
            building: None,
            calls: Vec::new(),
        }
    }

    pub(super) fn state(&self) -> EngineState {
        EngineState {
            chain_id: CHAIN_ID,
            genesis: Some(GENESIS),
            head: self.head,
            ours: None,
            head_timestamp: self.known.get(&self.head.hash).map_or(0, |head| head.timestamp),
            gas_limit: 30_000_000,
            safe: self.safe,
            finalized: self.finalized,
            methods: self.methods.clone(),
        }
    }

    /// Returns its block with this number, on the chain of its head.
    fn canonical(&self, number: u64) -> Option<B256> {
        let mut at = self.known.get(&self.head.hash)?;
        while at.id.number > number {
            at = self.known.get(&at.parent)?;
        }
        (at.id.number == number).then_some(at.id.hash)
    }

    /// Returns the failure of a call, or `None` if it succeeds.
    fn failure(&self, call: Call, method: &str) -> Option<EngineFailure> {
        if let Some(failure) = &self.down {
            return Some(failure.clone());
        }
        if self.other_fork.contains(&method) {
            return Some(EngineFailure::OtherFork("Unsupported fork".into()));
        }
        self.broken.clone().filter(|(kind, _)| *kind == call).map(|(_, failure)| failure)
    }

    fn offered(&mut self, block: &Block) -> PayloadStatus {
        let id = BlockId::of(block);
        let parent = self.known.get(&block.parent_hash()).copied();
        let is_parent_rejected = self.rejected.contains_key(&block.parent_hash());
        // A block can't be executed if its parent is missing.
        let is_bad = parent.is_some() && self.invalid.contains(&id.hash);
        if is_bad || is_parent_rejected || self.rejected.contains_key(&id.hash) {
            self.refuses(block);
            let reason = if is_bad { "a wrong state root" } else { "links to a rejected block" };
            let latest_valid = self.rejected.get(&id.hash).copied().filter(|_| self.names_valid);
            return PayloadStatus::Invalid { reason: reason.into(), latest_valid };
        }
        let Some(parent) = parent else { return PayloadStatus::Syncing };
        if self.is_busy && !self.known.contains_key(&id.hash) {
            return PayloadStatus::Syncing;
        }
        let known = Known { id, parent: block.parent_hash(), timestamp: block.timestamp() };
        self.known.insert(id.hash, known);
        if self.is_lazy && parent.id != self.head {
            return PayloadStatus::Accepted;
        }
        PayloadStatus::Valid
    }

    fn chosen(&mut self, choice: Forkchoice) -> Result<PayloadStatus, EngineFailure> {
        let has_labels = !(choice.safe.is_zero() && choice.finalized.is_zero());
        let known = self.known.get(&choice.head).copied();
        if let Some(known) = known
            && !(self.never_unwinds && self.canonical(known.id.number) == Some(choice.head))
        {
            // Like reth and geth, it moves the head even if it refuses the labels.
            self.head = known.id;
        }
        if self.refuses_labels && has_labels {
            return Err(EngineFailure::Forkchoice("Invalid forkchoice state".into()));
        }
        self.told = Some(choice);
        if known.is_none() {
            self.fetches = self.has_peers.then_some(choice.head);
            return Ok(PayloadStatus::Syncing);
        }
        Ok(PayloadStatus::Valid)
    }

    /// Makes it refuse this block, together with all blocks that build on it.
    pub(super) fn refuses(&mut self, block: &Block) {
        let parent = block.parent_hash();
        let valid = self.rejected.get(&parent).copied().unwrap_or(parent);
        self.rejected.entry(block.hash()).or_insert(valid);
    }

    /// Turns it into another version, which accepts the blocks that the previous one refused.
    pub(super) fn takes_all(&mut self) {
        self.invalid.clear();
        self.rejected.clear();
    }

    /// Gives it all of these blocks, as if from its own peers.
    pub(super) fn has(&mut self, blocks: &[Block]) {
        self.known.extend(blocks.iter().map(|block| {
            let (id, parent) = (BlockId::of(block), block.parent_hash());
            (block.hash(), Known { id, parent, timestamp: block.timestamp() })
        }));
    }

    /// Makes it forget all blocks above a number, as after a crash.
    pub(super) fn falls_back(&mut self, to: u64, chain: &[Block]) {
        self.known.retain(|_, known| known.id.number <= to);
        self.head = chain.iter().find(|block| block.number() == to).map_or(genesis(), BlockId::of);
    }

    pub(super) fn has_block(&self, id: BlockId) -> bool {
        self.known.contains_key(&id.hash)
    }
}

pub(super) struct World {
    pub(super) engine: Engine,
    pub(super) client: Client,
    /// Our canonical chain, from block 1 on.
    pub(super) chain: Vec<Block>,
    /// Lowest block number that we have.
    pub(super) lowest: u64,
    pub(super) events: Vec<EngineEvent>,
    pub(super) published: Vec<Envelope>,
    pub(super) millis: u64,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(None)
    }

    pub(super) fn with(sequencer: Option<DevelopmentL1>) -> Self {
        Self::on(chain(), sequencer)
    }

    pub(super) fn on(chain: ChainConfig, sequencer: Option<DevelopmentL1>) -> Self {
        Self::of(EngineConfig { chain, sequencer, reads_labels: false })
    }

    pub(super) fn of(config: EngineConfig) -> Self {
        let now = Now::new(Duration::ZERO, Duration::from_secs(NOW));
        Self {
            engine: Engine::new(now, config),
            client: Client::new(),
            chain: Vec::new(),
            lowest: 1,
            events: Vec::new(),
            published: Vec::new(),
            millis: 0,
        }
    }

    pub(super) fn now(&self) -> Now {
        let passed = Duration::from_millis(self.millis);
        Now::new(passed, Duration::from_secs(NOW) + passed)
    }

    pub(super) fn head(&self) -> BlockId {
        self.chain.last().map_or(genesis(), BlockId::of)
    }

    /// Grows our chain by `count` blocks, one at a time.
    pub(super) fn grow(&mut self, count: u64) {
        for _ in 0..count {
            self.extend(0);
            self.report_head();
            self.settle();
        }
    }

    pub(super) fn extend(&mut self, salt: u64) {
        let block = make(self.head(), salt);
        self.chain.push(block);
    }

    /// Replaces the last `depth` blocks by others, one more than before.
    pub(super) fn reorganise(&mut self, depth: usize, salt: u64) {
        let depth = depth.min(self.chain.len());
        self.chain.truncate(self.chain.len() - depth);
        (0..=depth).for_each(|_| self.extend(salt));
        self.report_head();
        self.settle();
    }

    /// Replaces the last `depth` blocks by a single block, at a lower or the same height.
    pub(super) fn rewind(&mut self, depth: usize, salt: u64) {
        let depth = depth.min(self.chain.len());
        self.chain.truncate(self.chain.len() - depth);
        self.extend(salt);
        self.report_head();
        self.settle();
    }

    pub(super) fn report_head(&mut self) {
        let head = self.head();
        self.engine.handle(self.now(), EngineInput::Head(head));
    }

    pub(super) fn wait(&mut self, time: Duration) {
        let end = self.millis + time.as_millis() as u64;
        loop {
            self.settle();
            let due = self.engine.next_wakeup().map(|at| at.since_start().as_millis() as u64);
            match due.filter(|due| *due <= end) {
                Some(due) => self.millis = self.millis.max(due),
                None => break,
            }
            self.engine.handle(self.now(), EngineInput::Wake);
        }
        self.millis = end;
        self.engine.handle(self.now(), EngineInput::Wake);
        self.settle();
    }

    /// Carries out all outputs.
    pub(super) fn settle(&mut self) {
        for _ in 0..100_000 {
            let Some(output) = self.engine.poll() else { return };
            let Some(answer) = self.answer(output) else { continue };
            self.engine.handle(self.now(), answer);
        }
        panic!(
            "it does not come to rest: {:?}",
            self.client.calls.iter().rev().take(20).collect::<Vec<_>>()
        );
    }

    fn answer(&mut self, output: EngineOutput) -> Option<EngineInput> {
        Some(match output {
            EngineOutput::ReadState { at } => {
                self.client.calls.push("state".into());
                let mut state = self.client.claims.clone().unwrap_or_else(|| self.client.state());
                state.ours = at.and_then(|at| self.client.canonical(at));
                let failure = self.client.failure(Call::State, "");
                EngineInput::State(failure.map_or(Ok(state), Err))
            }
            EngineOutput::Load(number) => {
                let index = number.checked_sub(1).filter(|_| number >= self.lowest);
                EngineInput::Loaded(index.and_then(|index| self.chain.get(index as usize)).cloned())
            }
            EngineOutput::NewPayload { block, method } => {
                self.client.calls.push(format!("new {}", block.number()));
                let breaks = self.client.breaks_at.clone();
                let late = breaks.filter(|(number, _)| *number <= block.number());
                let failure = self.client.failure(Call::Offer, method);
                EngineInput::NewPayload(match failure.or(late.map(|(_, failure)| failure)) {
                    Some(failure) => Err(failure),
                    None => Ok(self.client.offered(&block)),
                })
            }
            EngineOutput::ForkchoiceUpdated(choice) => {
                self.client.calls.push("choose".into());
                EngineInput::ForkchoiceUpdated(
                    match self.client.failure(Call::Choose, choice.method) {
                        Some(failure) => Err(failure),
                        None => self.client.chosen(choice),
                    },
                )
            }
            EngineOutput::Build(choice, attributes) => {
                self.client.calls.push("build".into());
                self.client.building = Some((choice.head, *attributes));
                let failure = self.client.failure(Call::Build, choice.method);
                EngineInput::Building(failure.map_or(Ok(Bytes::from_static(&[1; 8])), Err))
            }
            EngineOutput::GetPayload { id, method, version } => {
                self.client.calls.push(method.into());
                assert_eq!((id.as_ref(), version), (&[1; 8][..], PayloadVersion::V4));
                EngineInput::Built(match self.client.failure(Call::Fetch, method) {
                    Some(failure) => Err(failure),
                    None => Ok(Box::new(self.built())),
                })
            }
            EngineOutput::Publish(envelope) => {
                let block = decoded(&envelope);
                self.published.push(*envelope);
                assert_eq!(block.parent_hash(), self.head().hash);
                self.chain.push(block);
                EngineInput::Head(self.head())
            }
            EngineOutput::ReadLabels => {
                self.client.calls.push("labels".into());
                return None;
            }
            EngineOutput::Event(event) => {
                self.events.push(event);
                return None;
            }
        })
    }

    fn built(&mut self) -> Envelope {
        let (parent, attributes) = self.client.building.take().expect("it builds");
        let parent = self.client.known[&parent].id;
        changed(PayloadVersion::V4, |payload| {
            payload.parent_hash = parent.hash;
            payload.block_number = parent.number + 1;
            payload.timestamp = attributes.timestamp;
            payload.gas_limit = attributes.gas_limit;
            payload.transactions = attributes.transactions;
        })
    }

    /// Asserts that the client has our head as its own.
    #[track_caller]
    pub(super) fn assert_followed(&self) {
        assert_eq!(self.client.head, self.head(), "{:#?} {:?}", self.engine, self.client.calls);
        assert_eq!(self.engine.status().head, Some(self.head()));
        assert_eq!(self.engine.status().activity, Activity::Following);
        assert_eq!(self.engine.status().behind, 0);
    }

    pub(super) fn take_calls(&mut self) -> Vec<String> {
        std::mem::take(&mut self.client.calls)
    }
}
