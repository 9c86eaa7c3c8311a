//! A chain of ours, a made-up execution client, and the loop between them.

use super::*;
use crate::gossip::tests::support::{body, changed};
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
    Block::decode(PayloadVersion::V4, None, body(&envelope).into()).expect("it was encoded just now")
}

/// An execution client that knows which blocks it has, and does what it is set to.
#[derive(Debug)]
pub(super) struct Client {
    known: BTreeMap<B256, (BlockId, u64)>,
    pub(super) head: BlockId,
    pub(super) safe: Option<BlockId>,
    pub(super) finalized: Option<BlockId>,
    /// What it answers instead of anything else.
    pub(super) down: Option<EngineFailure>,
    /// Blocks that it calls invalid.
    pub(super) invalid: Vec<B256>,
    /// Whether blocks beside its chain are executed only when they are chosen.
    pub(super) is_lazy: bool,
    /// Whether it fetches what lies before a head that it is told of, some time later.
    pub(super) has_peers: bool,
    /// What it is fetching.
    pub(super) fetches: Option<B256>,
    /// A bogus state, told instead of the true one.
    pub(super) claims: Option<EngineState>,
    /// The labels that it was told last.
    pub(super) told: Option<Forkchoice>,
    building: Option<(B256, PayloadAttributes)>,
    /// What it was asked, in short.
    pub(super) calls: Vec<String>,
}

impl Client {
    fn new() -> Self {
        Self {
            known: BTreeMap::from([(GENESIS, (genesis(), timestamp(0)))]),
            head: genesis(),
            safe: None,
            finalized: None,
            down: None,
            invalid: Vec::new(),
            is_lazy: false,
            has_peers: false,
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
            head_timestamp: timestamp(self.head.number),
            gas_limit: 30_000_000,
            safe: self.safe,
            finalized: self.finalized,
            methods: Vec::new(),
        }
    }

    fn offered(&mut self, block: &Block) -> PayloadStatus {
        let id = BlockId::of(block);
        if self.invalid.contains(&id.hash) {
            return PayloadStatus::Invalid("a wrong state root".into());
        }
        let Some((parent, _)) = self.known.get(&block.parent_hash()) else { return PayloadStatus::Syncing };
        if self.is_lazy && *parent != self.head {
            self.known.insert(id.hash, (id, block.timestamp()));
            return PayloadStatus::Accepted;
        }
        self.known.insert(id.hash, (id, block.timestamp()));
        PayloadStatus::Valid
    }

    fn chosen(&mut self, choice: Forkchoice) -> PayloadStatus {
        self.told = Some(choice);
        match self.known.get(&choice.head) {
            Some((id, _)) => {
                self.head = *id;
                PayloadStatus::Valid
            }
            None => {
                self.fetches = self.has_peers.then_some(choice.head);
                PayloadStatus::Syncing
            }
        }
    }

    /// It has all of these, by means of its own.
    pub(super) fn has(&mut self, blocks: &[Block]) {
        self.known.extend(blocks.iter().map(|block| (block.hash(), (BlockId::of(block), block.timestamp()))));
    }

    /// It forgets all above a number, as after a crash.
    pub(super) fn falls_back(&mut self, to: u64, chain: &[Block]) {
        self.known.retain(|_, (id, _)| id.number <= to);
        self.head = chain.iter().find(|block| block.number() == to).map_or(genesis(), BlockId::of);
    }

    pub(super) fn has_block(&self, id: BlockId) -> bool {
        self.known.contains_key(&id.hash)
    }
}

pub(super) struct World {
    pub(super) engine: Engine,
    pub(super) client: Client,
    /// Our canonical chain from block 1 on.
    pub(super) chain: Vec<Block>,
    /// The lowest number that we have.
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
        let now = Now::new(Duration::ZERO, Duration::from_secs(NOW));
        Self {
            engine: Engine::new(now, EngineConfig { chain: chain(), sequencer }),
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

    /// Our chain grows by so many blocks, one at a time.
    pub(super) fn grow(&mut self, count: u64) {
        for _ in 0..count {
            self.extend(0);
            self.tell_head();
            self.settle();
        }
    }

    pub(super) fn extend(&mut self, salt: u64) {
        let block = make(self.head(), salt);
        self.chain.push(block);
    }

    /// The last blocks are left for others, one more of them.
    pub(super) fn reorganise(&mut self, depth: usize, salt: u64) {
        let depth = depth.min(self.chain.len());
        self.chain.truncate(self.chain.len() - depth);
        (0..=depth).for_each(|_| self.extend(salt));
        self.tell_head();
        self.settle();
    }

    pub(super) fn tell_head(&mut self) {
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

    /// Does all that is asked.
    pub(super) fn settle(&mut self) {
        for _ in 0..100_000 {
            let Some(output) = self.engine.poll() else { return };
            let Some(answer) = self.answer(output) else { continue };
            self.engine.handle(self.now(), answer);
        }
        panic!("it does not come to rest: {:?}", self.client.calls.iter().rev().take(20).collect::<Vec<_>>());
    }

    fn answer(&mut self, output: EngineOutput) -> Option<EngineInput> {
        let down = self.client.down.clone();
        let checked = |status| down.clone().map_or(Ok(status), Err);
        Some(match output {
            EngineOutput::ReadState => {
                self.client.calls.push("state".into());
                let state = self.client.claims.clone().unwrap_or_else(|| self.client.state());
                EngineInput::State(down.map_or(Ok(state), Err))
            }
            EngineOutput::Load(number) => {
                let index = number.checked_sub(1).filter(|_| number >= self.lowest);
                EngineInput::Loaded(index.and_then(|index| self.chain.get(index as usize)).cloned())
            }
            EngineOutput::NewPayload(block) => {
                self.client.calls.push(format!("new {}", block.number()));
                let is_up = down.is_none();
                let status = if is_up { self.client.offered(&block) } else { PayloadStatus::Syncing };
                EngineInput::NewPayload(checked(status))
            }
            EngineOutput::ForkchoiceUpdated(choice) => {
                self.client.calls.push("choose".into());
                let is_up = down.is_none();
                let status = if is_up { self.client.chosen(choice) } else { PayloadStatus::Syncing };
                EngineInput::ForkchoiceUpdated(checked(status))
            }
            EngineOutput::Build(choice, attributes) => {
                self.client.calls.push("build".into());
                self.client.building = Some((choice.head, *attributes));
                EngineInput::Building(down.map_or(Ok(Bytes::from_static(&[1; 8])), Err))
            }
            EngineOutput::GetPayload { id, version } => {
                self.client.calls.push("get".into());
                assert_eq!((id.as_ref(), version), (&[1; 8][..], PayloadVersion::V4));
                let (parent, attributes) = self.client.building.take().expect("it builds");
                let parent = self.client.known[&parent].0;
                let envelope = changed(PayloadVersion::V4, |payload| {
                    payload.parent_hash = parent.hash;
                    payload.block_number = parent.number + 1;
                    payload.timestamp = attributes.timestamp;
                    payload.gas_limit = attributes.gas_limit;
                    payload.transactions = attributes.transactions;
                });
                EngineInput::Built(down.map_or(Ok(Box::new(envelope)), Err))
            }
            EngineOutput::Publish(envelope) => {
                let block = Block::decode(PayloadVersion::V4, None, body(&envelope).into()).expect("a block");
                self.published.push(*envelope);
                assert_eq!(block.parent_hash(), self.head().hash);
                self.chain.push(block);
                EngineInput::Head(self.head())
            }
            EngineOutput::Event(event) => {
                self.events.push(event);
                return None;
            }
        })
    }

    /// Its client has our head as its own.
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
