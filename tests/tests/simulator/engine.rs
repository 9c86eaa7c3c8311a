//! A node with an execution engine that is away at the wrong time.

use super::chain;
use super::plan::{Fault, Plan};
use super::world::World;
use alloy_primitives::B256;
use opp2p_core::chain::BlockId;
use opp2p_core::engine::{
    Engine, EngineConfig, EngineFailure, EngineInput, EngineOutput, EngineState, PayloadStatus,
};
use opp2p_core::time::{Instant, Now};
use std::collections::BTreeMap;

const SECOND: u64 = 1_000_000_000;
/// The node whose engine it is.
const OWNER: usize = 1;
/// Maximum time for which an engine that answers may be on another branch than its node, in
/// nanoseconds.
const WITHIN: u64 = 5 * SECOND;

/// An engine, with an execution client that executes every block whose parent it has.
struct Pair {
    engine: Engine,
    /// Position and parent of each block that the client has.
    known: BTreeMap<B256, (BlockId, B256)>,
    head: BlockId,
    is_down: bool,
    told: Option<BlockId>,
    /// Time since when the client's head is not on its node's chain, while it answers.
    astray: Option<u64>,
}

impl Pair {
    fn new(world: &World) -> Self {
        let config =
            EngineConfig { chain: world.plan.pace.config(), sequencer: None, reads_labels: false };
        let genesis = BlockId::new(0, chain::GENESIS_HASH);
        Self {
            engine: Engine::new(world.clock(OWNER), config),
            known: BTreeMap::from([(genesis.hash, (genesis, B256::ZERO))]),
            head: genesis,
            is_down: false,
            told: None,
            astray: None,
        }
    }

    /// Tells the engine what happened at its node, and carries out what it wants.
    fn follow(&mut self, world: &World) {
        let now = world.clock(OWNER);
        let head = world.members[OWNER].told.last().copied();
        if head != self.told
            && let Some(head) = head
        {
            self.told = Some(head);
            self.handle(world, now, EngineInput::Head(head));
        }
        if self.engine.next_wakeup().is_some_and(|due| due <= now.monotonic) {
            self.handle(world, now, EngineInput::Wake);
        }
        let chain = &world.members[OWNER].told;
        let is_astray = self.head.number > 0 && !self.is_down && !chain.contains(&self.head);
        self.astray = self.astray.filter(|_| is_astray).or(is_astray.then_some(world.now));
        let since = self.astray.map_or(0, |since| world.now - since);
        assert!(
            since <= WITHIN,
            "the engine is at {}, which its node left {} s ago for {:?}: {:?}",
            self.head,
            since / SECOND,
            self.told,
            self.engine.status()
        );
    }

    fn handle(&mut self, world: &World, now: Now, input: EngineInput) {
        self.engine.handle(now, input);
        while let Some(output) = self.engine.poll() {
            if let Some(answer) = self.answer(world, output) {
                self.engine.handle(now, answer);
            }
        }
    }

    fn answer(&mut self, world: &World, output: EngineOutput) -> Option<EngineInput> {
        let failure = || EngineFailure::Unreachable("it restarts".into());
        Some(match output {
            EngineOutput::Load(number) => {
                let told = &world.members[OWNER].told;
                let id = told.iter().rev().find(|id| id.number == number);
                EngineInput::Loaded(id.and_then(|id| world.made(&id.hash)))
            }
            EngineOutput::ReadState { .. } if self.is_down => EngineInput::State(Err(failure())),
            EngineOutput::NewPayload { .. } if self.is_down => {
                EngineInput::NewPayload(Err(failure()))
            }
            EngineOutput::ForkchoiceUpdated(_) if self.is_down => {
                EngineInput::ForkchoiceUpdated(Err(failure()))
            }
            EngineOutput::ReadState { at } => EngineInput::State(Ok(self.state(at))),
            EngineOutput::NewPayload { block, .. } => {
                let has_parent = self.known.contains_key(&block.parent_hash());
                if has_parent {
                    let id = BlockId::of(&block);
                    self.known.insert(id.hash, (id, block.parent_hash()));
                }
                let status = if has_parent { PayloadStatus::Valid } else { PayloadStatus::Syncing };
                EngineInput::NewPayload(Ok(status))
            }
            EngineOutput::ForkchoiceUpdated(choice) => {
                let known = self.known.get(&choice.head).map(|(id, _)| *id);
                self.head = known.unwrap_or(self.head);
                let status = known.map_or(PayloadStatus::Syncing, |_| PayloadStatus::Valid);
                EngineInput::ForkchoiceUpdated(Ok(status))
            }
            EngineOutput::Event(_) => return None,
            other => panic!("not requested: {other:?}"),
        })
    }

    fn state(&self, at: Option<u64>) -> EngineState {
        EngineState {
            chain_id: chain::CHAIN_ID,
            genesis: Some(chain::GENESIS_HASH),
            head: self.head,
            ours: at.and_then(|number| self.canonical(number)),
            head_timestamp: chain::GENESIS_TIME + 2 * self.head.number,
            gas_limit: 30_000_000,
            safe: None,
            finalized: None,
            methods: Vec::new(),
        }
    }

    fn canonical(&self, number: u64) -> Option<B256> {
        let mut at = self.head.hash;
        loop {
            let (id, parent) = self.known.get(&at)?;
            if id.number <= number {
                return (id.number == number).then_some(id.hash);
            }
            at = *parent;
        }
    }
}

/// The engine is away while the chain grows, and comes back when the chain has gone on far below,
/// on another branch.
pub(crate) fn an_engine_that_was_away_during_a_rewind() {
    for (seed, grown, depth, away) in
        [(600, 0, 20, 0), (601, 0, 20, 6), (602, 5, 25, 6), (603, 5, 25, 2), (604, 12, 30, 9)]
    {
        let mut plan = Plan::calm(seed, 3);
        plan.blocks = 80;
        let reorg_at = (35 + grown) * 2000 + 500;
        plan.faults = vec![(reorg_at, Fault::Reorg { depth })];
        let mut world = World::new(plan);
        let mut pair = Pair::new(&world);
        let start = Instant::default();
        assert_eq!(world.clock(OWNER).monotonic, start);
        while world.now < 150 * SECOND {
            world.step();
            // It is away from some blocks before the reorg, until its node has followed the reorg
            // and a little longer.
            let millis = world.now / 1_000_000;
            let followed = world.members[OWNER].reorgs.last().is_some();
            let returns = reorg_at + 12_000 + away * 1000;
            pair.is_down = millis >= reorg_at - grown * 2000 && (millis < returns || !followed);
            pair.follow(&world);
        }
        world.run();
        pair.follow(&world);
        let behind = world.told(OWNER).saturating_sub(pair.head.number);
        assert!(behind <= 1, "seed {seed}: the engine is {behind} behind");
    }
}
