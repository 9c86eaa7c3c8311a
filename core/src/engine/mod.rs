//! The execution engine: blocks go into it in their order, and on a development chain come out of it.
//!
//! [`Engine`] decides what an execution client is asked over the Engine API, one call at a time; its driver makes the calls
//! (`op-node/rollup/engine`, `op-node/rollup/clsync`, and for building `op-node/rollup/sequencing`).
//!
//! # How it follows
//! It keeps no queue. It knows where the engine stands and where our chain ends, and asks its driver for the canonical block
//! above the engine's, which comes from the chain view or from the store: an outage of hours costs nothing, and after a
//! restart of either side it goes on where the engine is. If that block does not link to the engine's head, or the engine
//! lacks its parent, it goes down until the engine knows a block, at most [`MAX_DESCENT`]; then up. If our own chain has no
//! block there, or the way down is longer, the engine is told of the head and fetches the rest by itself; while it does, it
//! is told of a new head once in [`SYNC_PAUSE`].
//!
//! A block that the engine calls invalid is told once and never offered again: the engine stays below it until the chain
//! goes another way.
//!
//! # How it builds
//! With [`EngineConfig::sequencer`], whenever the engine has our head, it is asked to build on it, and is asked for the
//! block when its time has come. Our own chain takes the block, and the engine gets it back like any other.
//!
//! # Bounds
//! One call and one block under way; [`MAX_INVALID`] names of invalid blocks, the oldest of which is forgotten first. Only
//! the operator's engine and the sequencer's signed chain can make it hold anything.

pub mod attributes;
#[cfg(test)]
mod tests;
mod types;

pub use attributes::{DevelopmentL1, PayloadAttributes};
pub use types::{
    Activity, EngineEvent, EngineFailure, EngineInput, EngineOutput, EngineState, EngineStatus, Forkchoice,
    Mismatch, PayloadStatus,
};

use crate::chain::{BlockId, ChainConfig, Labels};
use crate::payload::{Block, Envelope, PayloadVersion};
use crate::time::{Instant, Now};
use alloy_primitives::{B256, Bytes};
use std::collections::VecDeque;
use std::time::Duration;

/// How far below its head it is looked for a block that the engine knows.
pub const MAX_DESCENT: u64 = 256;
/// Blocks of a long way up after which the engine is told of its new head.
pub const CHOOSE_EVERY: u32 = 16;
/// From one look at an engine that syncs by itself to the next.
pub const SYNC_PAUSE: Duration = Duration::from_secs(4);
/// First pause after a failure. Each further one is twice as long.
pub const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Longest pause after a failure.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// From one look at an engine of another chain to the next.
pub const MISMATCH_PAUSE: Duration = Duration::from_secs(30);
/// How often the engine is asked how it stands while all is well: it may have been restarted, or set back by hand.
pub const REFRESH: Duration = Duration::from_secs(12);
/// Invalid blocks that are remembered.
pub const MAX_INVALID: usize = 64;
/// How long it is waited for a block that our own chain lacks at its end, or that was built and did not get there.
const BLOCK_PAUSE: Duration = Duration::from_secs(1);
/// Least time that an engine gets for a block whose time has come already.
const LEAST_BUILD: Duration = Duration::from_millis(100);

/// What the machine is started with.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// The chain to follow.
    pub chain: ChainConfig,
    /// To build blocks of a development chain, what it knows of L1; `None`: none are built.
    pub sequencer: Option<DevelopmentL1>,
}

/// What is under way. Where there is an `until`, time is awaited; else, but for the first, an answer.
#[derive(Clone, Debug)]
enum Phase {
    /// Nothing, and there may be something to do.
    Idle,
    /// Nothing until then, when the engine is asked how it stands.
    Pause {
        until: Instant,
    },
    /// Nothing until then, for lack of a block.
    Patience {
        until: Instant,
    },
    Reading,
    Loading {
        number: u64,
        is_jump: bool,
    },
    Offering {
        block: BlockId,
        is_jump: bool,
    },
    Choosing {
        head: BlockId,
    },
    /// The engine was asked to build on its head.
    Starting {
        timestamp: u64,
    },
    /// The engine builds until then.
    Building {
        id: Bytes,
        timestamp: u64,
        until: Instant,
    },
    Fetching,
    /// The block that was built is to become our head.
    Publishing {
        until: Instant,
    },
}

/// Where the engine's head is and what follows from it.
#[derive(Clone, Copy, Debug)]
struct Tip {
    id: BlockId,
    timestamp: u64,
    gas_limit: u64,
}

/// The machine: see the [module's documentation](self).
#[derive(Debug)]
pub struct Engine {
    config: EngineConfig,
    phase: Phase,
    /// Our head.
    target: Option<BlockId>,
    /// The highest block that the engine has executed for us.
    tip: Option<Tip>,
    /// The engine's own head, as far as it said so.
    head: Option<BlockId>,
    /// The block that was offered last, should it be valid.
    offered: Option<Tip>,
    /// The number to offer next on the way down.
    descent: Option<u64>,
    /// Whether the engine fetches blocks by itself.
    is_syncing: bool,
    /// Whether our chain left the engine's head without growing above it.
    must_move: bool,
    /// Blocks since the engine was last told of a head.
    unchosen: u32,
    labels: Labels,
    /// Whether somebody else than the engine says which blocks are safe.
    has_source: bool,
    invalid: VecDeque<BlockId>,
    stuck: Option<BlockId>,
    /// The block that keeps the engine back, until our chain changes.
    blocked: Option<BlockId>,
    pause: Duration,
    refresh: Option<Instant>,
    trouble: Option<Trouble>,
    is_ready: bool,
    outputs: VecDeque<EngineOutput>,
}

/// Why the engine is not fed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Trouble {
    Away(EngineFailure),
    Mismatch(Mismatch),
}

impl Engine {
    /// A machine that begins by asking the engine how it stands.
    pub fn new(now: Now, config: EngineConfig) -> Self {
        let mut engine = Self {
            config,
            phase: Phase::Idle,
            target: None,
            tip: None,
            head: None,
            offered: None,
            descent: None,
            is_syncing: false,
            must_move: false,
            unchosen: 0,
            labels: Labels::default(),
            has_source: false,
            invalid: VecDeque::new(),
            stuck: None,
            blocked: None,
            pause: FIRST_PAUSE,
            refresh: None,
            trouble: None,
            is_ready: false,
            outputs: VecDeque::new(),
        };
        engine.go_on(now);
        engine
    }

    /// Takes something that happened at `now`. An answer to something that was not asked is ignored.
    pub fn handle(&mut self, now: Now, input: EngineInput) {
        match input {
            EngineInput::Head(head) => self.on_head(head),
            EngineInput::Labels(labels) => (self.labels, self.has_source) = (labels, true),
            EngineInput::State(state) => self.on_state(now, state),
            EngineInput::Loaded(block) => self.on_loaded(now, block),
            EngineInput::NewPayload(status) => self.on_offered(now, status),
            EngineInput::ForkchoiceUpdated(status) => self.on_chosen(now, status),
            EngineInput::Building(id) => self.on_building(now, id),
            EngineInput::Built(envelope) => self.on_built(now, envelope),
            EngineInput::Wake => {}
        }
        self.on_time(now);
        self.go_on(now);
    }

    /// The next thing to do; `None` when all is done for now.
    pub fn poll(&mut self) -> Option<EngineOutput> {
        self.outputs.pop_front()
    }

    /// When to call [`Self::handle`] with [`EngineInput::Wake`] if nothing happens before.
    pub fn next_wakeup(&self) -> Option<Instant> {
        match self.phase {
            Phase::Pause { until }
            | Phase::Patience { until }
            | Phase::Building { until, .. }
            | Phase::Publishing { until } => Some(until),
            Phase::Idle => self.refresh,
            _ => None,
        }
    }

    /// How the engine is doing.
    pub fn status(&self) -> EngineStatus {
        let activity = match (&self.trouble, self.is_ready) {
            (Some(Trouble::Away(failure)), _) => Activity::Away(failure.clone()),
            (Some(Trouble::Mismatch(mismatch)), _) => Activity::Mismatched(mismatch.clone()),
            (None, false) => Activity::Starting,
            (None, true) if self.is_syncing => Activity::Syncing,
            (None, true) => self.stuck.map_or(Activity::Following, Activity::Stuck),
        };
        let number = |id: Option<BlockId>| id.map_or(0, |id| id.number);
        EngineStatus {
            head: self.head,
            activity,
            behind: number(self.target).saturating_sub(number(self.head)),
            labels: self.labels,
        }
    }

    /// What happens when its time has come.
    fn on_time(&mut self, now: Now) {
        match &self.phase {
            Phase::Pause { until } | Phase::Patience { until } if *until <= now.monotonic => {
                let is_pause = matches!(self.phase, Phase::Pause { .. });
                self.phase = Phase::Idle;
                if is_pause {
                    self.refresh = None;
                }
            }
            Phase::Building { id, timestamp, until } if *until <= now.monotonic => {
                let version = PayloadVersion::at(&self.config.chain.forks, *timestamp);
                let output = EngineOutput::GetPayload { id: id.clone(), version };
                self.ask(Phase::Fetching, output);
            }
            Phase::Publishing { until } if *until <= now.monotonic => {
                self.phase = Phase::Idle;
                self.tell(EngineEvent::NotTaken);
            }
            _ => {}
        }
    }

    /// Begins whatever is to be done, if nothing is under way.
    fn go_on(&mut self, now: Now) {
        if !matches!(self.phase, Phase::Idle) {
            return;
        }
        if self.refresh.is_none_or(|at| at <= now.monotonic) {
            return self.ask(Phase::Reading, EngineOutput::ReadState);
        }
        let Some(tip) = self.tip else { return };
        let target = self.target.unwrap_or(tip.id);
        if self.is_syncing {
            return self.load(target.number, true);
        }
        if target.number > tip.id.number || self.must_move || self.descent.is_some() {
            if self.unchosen >= CHOOSE_EVERY {
                return self.choose(tip);
            }
            if self.blocked.is_none() {
                let number =
                    self.descent.unwrap_or_else(|| target.number.min(tip.id.number.saturating_add(1)));
                self.load(number, false);
            } else if self.head != Some(tip.id) {
                self.choose(tip);
            }
            return;
        }
        if self.head != Some(tip.id) {
            return self.choose(tip);
        }
        if target == tip.id
            && let Some(l1) = self.config.sequencer
        {
            self.build(now, tip, l1);
        }
    }

    fn on_head(&mut self, head: BlockId) {
        let Some(before) = self.target.replace(head) else { return };
        if before == head {
            return;
        }
        self.blocked = None;
        // A chain that went elsewhere without growing: the engine must not stay on what was left.
        let had_it = self.tip.is_some_and(|tip| tip.id == before);
        self.must_move |= had_it && head.number <= before.number;
        if let Phase::Publishing { .. } | Phase::Patience { .. } = self.phase {
            self.phase = Phase::Idle;
        }
    }

    fn on_state(&mut self, now: Now, state: Result<EngineState, EngineFailure>) {
        if !matches!(self.phase, Phase::Reading) {
            return;
        }
        self.phase = Phase::Idle;
        let state = match state {
            Ok(state) => state,
            Err(failure) => return self.failed(now, failure),
        };
        if let Some(mismatch) = mismatch(&self.config.chain, now, &state) {
            return self.mismatched(now, mismatch);
        }
        self.refresh = Some(now.monotonic + REFRESH);
        if !self.has_source {
            self.labels = Labels { safe: state.safe, finalized: state.finalized };
        }
        let tip = Tip { id: state.head, timestamp: state.head_timestamp, gas_limit: state.gas_limit };
        // What it was not told to choose yet is above its head, and not lost.
        let is_unchanged = self.head == Some(tip.id) && self.is_ready && self.trouble.is_none();
        if is_unchanged && !self.is_syncing {
            return;
        }
        let has_moved = self.head != Some(tip.id);
        self.head = Some(tip.id);
        self.tip = Some(tip);
        self.unchosen = 0;
        (self.descent, self.must_move) = (None, false);
        // That it answers is not yet that it does what failed.
        if !self.is_ready || !matches!(self.trouble, Some(Trouble::Away(EngineFailure::Other(_)))) {
            self.recovered();
        }
        // It came along by itself: maybe our next block is the one that it needs.
        if has_moved {
            self.is_syncing = false;
        }
    }

    /// It does what it is asked.
    fn recovered(&mut self) {
        self.pause = FIRST_PAUSE;
        let had_trouble = self.trouble.take().is_some();
        if !self.is_ready || had_trouble {
            self.is_ready = true;
            if let Some(tip) = self.tip {
                self.tell(EngineEvent::Ready(tip.id));
            }
        }
    }

    fn load(&mut self, number: u64, is_jump: bool) {
        self.ask(Phase::Loading { number, is_jump }, EngineOutput::Load(number));
    }

    fn on_loaded(&mut self, now: Now, block: Option<Block>) {
        let Phase::Loading { number, is_jump } = self.phase else { return };
        self.phase = Phase::Idle;
        let Some(block) = block.filter(|block| block.number() == number) else {
            let is_end = self.target.is_none_or(|target| target.number <= number);
            return if is_end {
                self.phase = Phase::Patience { until: now.monotonic + BLOCK_PAUSE };
            } else {
                // Nobody here has what the engine needs.
                self.jump();
            };
        };
        let id = BlockId::of(&block);
        if self.invalid.contains(&id) {
            return self.hold_back(id);
        }
        self.stuck = None;
        let gas_limit = block.payload().gas_limit();
        self.offered = Some(Tip { id, timestamp: block.timestamp(), gas_limit });
        self.ask(Phase::Offering { block: id, is_jump }, EngineOutput::NewPayload(block));
    }

    fn on_offered(&mut self, now: Now, status: Result<PayloadStatus, EngineFailure>) {
        let Phase::Offering { block, is_jump } = self.phase else { return };
        self.phase = Phase::Idle;
        let Some(offered) = self.offered else { return };
        if status.is_ok() {
            self.recovered();
        }
        match status {
            Err(failure) => self.failed(now, failure),
            Ok(PayloadStatus::Valid) => {
                self.tip = Some(offered);
                self.end_search();
                self.unchosen += 1;
                if self.target.is_none_or(|target| target.number <= block.number) {
                    self.choose(offered);
                }
            }
            // Executing it is what the choice is for.
            Ok(PayloadStatus::Accepted) => self.choose(offered),
            Ok(PayloadStatus::Syncing) if is_jump => self.choose(offered),
            Ok(PayloadStatus::Syncing) => self.descend(block.number),
            Ok(PayloadStatus::Invalid(reason)) => self.refused(block, reason),
        }
    }

    /// The engine lacks the parent of the block of this number: maybe we have that.
    fn descend(&mut self, number: u64) {
        let top = self.tip.map_or(number, |tip| tip.id.number.saturating_add(1));
        let bottom = self.labels.finalized.map_or(0, |finalized| finalized.number);
        let next = number.saturating_sub(1);
        if next <= bottom.max(self.config.chain.genesis.number) || next + MAX_DESCENT < top {
            self.jump();
        } else {
            self.descent = Some(next);
        }
    }

    /// Goes on with the head: the engine fetches what lies between by itself.
    fn jump(&mut self) {
        self.descent = None;
        if let Some(target) = self.target {
            self.load(target.number, true);
        }
    }

    fn choose(&mut self, tip: Tip) {
        let forkchoice = self.forkchoice(&tip);
        self.ask(Phase::Choosing { head: tip.id }, EngineOutput::ForkchoiceUpdated(forkchoice));
    }

    /// What the engine is told, with no label above the head.
    fn forkchoice(&self, tip: &Tip) -> Forkchoice {
        let known = |label: Option<BlockId>| {
            label.filter(|label| label.number <= tip.id.number).map_or(B256::ZERO, |label| label.hash)
        };
        Forkchoice {
            head: tip.id.hash,
            safe: known(self.labels.safe),
            finalized: known(self.labels.finalized),
            version: PayloadVersion::at(&self.config.chain.forks, tip.timestamp),
        }
    }

    fn on_chosen(&mut self, now: Now, status: Result<PayloadStatus, EngineFailure>) {
        let Phase::Choosing { head } = self.phase else { return };
        self.phase = Phase::Idle;
        if status.is_ok() {
            self.recovered();
        }
        match status {
            Err(failure) => self.failed(now, failure),
            Ok(PayloadStatus::Valid) => {
                let chosen = [self.offered, self.tip].into_iter().flatten().find(|tip| tip.id == head);
                self.tip = chosen.or(self.tip);
                self.head = Some(head);
                self.unchosen = 0;
                self.end_search();
                self.tell(EngineEvent::Followed(head));
            }
            Ok(PayloadStatus::Syncing | PayloadStatus::Accepted) => {
                if !self.is_syncing {
                    let at = self.head.unwrap_or(head);
                    self.tell(EngineEvent::Syncing { at, to: head });
                }
                self.is_syncing = true;
                self.phase = Phase::Pause { until: now.monotonic + SYNC_PAUSE };
            }
            Ok(PayloadStatus::Invalid(reason)) => self.refused(head, reason),
        }
    }

    /// It is known where the engine and our chain meet.
    fn end_search(&mut self) {
        (self.descent, self.must_move, self.is_syncing) = (None, false, false);
    }

    /// The engine stays below a block that it called invalid, until our chain changes.
    fn hold_back(&mut self, block: BlockId) {
        (self.blocked, self.stuck) = (Some(block), Some(block));
        self.end_search();
    }

    /// The engine calls a block of our chain invalid.
    fn refused(&mut self, block: BlockId, reason: String) {
        if self.invalid.len() >= MAX_INVALID {
            self.invalid.pop_front();
        }
        self.invalid.push_back(block);
        self.hold_back(block);
        self.tell(EngineEvent::Invalid { block, reason });
    }

    fn failed(&mut self, now: Now, failure: EngineFailure) {
        if let EngineFailure::OtherFork(why) = failure {
            return self.mismatched(now, Mismatch::Forks(why));
        }
        if let EngineFailure::Forkchoice(_) = failure {
            // Its own labels are ones that it takes, until somebody says others again.
            self.has_source = false;
        }
        self.phase = Phase::Pause { until: now.monotonic + self.pause };
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        let trouble = Trouble::Away(failure.clone());
        let is_news = match (&self.trouble, &trouble) {
            // The same trouble in other words is no news.
            (Some(Trouble::Away(before)), Trouble::Away(failure)) => {
                std::mem::discriminant(before) != std::mem::discriminant(failure)
            }
            _ => true,
        };
        self.trouble = Some(trouble);
        if is_news {
            self.tell(EngineEvent::Failed(failure));
        }
    }

    fn mismatched(&mut self, now: Now, mismatch: Mismatch) {
        self.phase = Phase::Pause { until: now.monotonic + MISMATCH_PAUSE };
        let trouble = Trouble::Mismatch(mismatch.clone());
        if self.trouble.as_ref() != Some(&trouble) {
            self.trouble = Some(trouble);
            self.tell(EngineEvent::Mismatched(mismatch));
        }
    }

    /// Has the engine begin with the next block, no earlier than one block time before that is due.
    fn build(&mut self, now: Now, tip: Tip, l1: DevelopmentL1) {
        let timestamp = tip.timestamp.saturating_add(self.config.chain.block_time);
        let due = self.until(now, timestamp);
        let begins = due.saturating_sub(Duration::from_secs(self.config.chain.block_time));
        if !begins.is_zero() {
            self.phase = Phase::Patience { until: now.monotonic + begins };
            return;
        }
        let attributes = l1.attributes(&self.config.chain, tip.id.number, timestamp, tip.gas_limit);
        let forkchoice = Forkchoice {
            version: PayloadVersion::at(&self.config.chain.forks, timestamp),
            ..self.forkchoice(&tip)
        };
        let output = EngineOutput::Build(forkchoice, Box::new(attributes));
        self.ask(Phase::Starting { timestamp }, output);
    }

    /// How long it is until a moment of the wall clock.
    fn until(&self, now: Now, unix_seconds: u64) -> Duration {
        Duration::from_secs(unix_seconds).saturating_sub(now.unix)
    }

    fn on_building(&mut self, now: Now, id: Result<Bytes, EngineFailure>) {
        let Phase::Starting { timestamp } = self.phase else { return };
        self.phase = Phase::Idle;
        match id {
            Ok(id) => {
                let until = now.monotonic + self.until(now, timestamp).max(LEAST_BUILD);
                self.phase = Phase::Building { id, timestamp, until };
            }
            Err(failure) => self.failed(now, failure),
        }
    }

    fn on_built(&mut self, now: Now, envelope: Result<Box<Envelope>, EngineFailure>) {
        if !matches!(self.phase, Phase::Fetching) {
            return;
        }
        self.phase = Phase::Idle;
        match envelope {
            Ok(envelope) => {
                self.recovered();
                let until = now.monotonic + BLOCK_PAUSE * 5;
                self.ask(Phase::Publishing { until }, EngineOutput::Publish(envelope));
            }
            Err(failure) => self.failed(now, failure),
        }
    }

    fn ask(&mut self, phase: Phase, output: EngineOutput) {
        self.phase = phase;
        self.outputs.push_back(output);
    }

    fn tell(&mut self, event: EngineEvent) {
        self.outputs.push_back(EngineOutput::Event(event));
    }
}

/// Why an engine that stands so is not the one for this chain; `None` if nothing speaks against it.
pub fn mismatch(chain: &ChainConfig, now: Now, state: &EngineState) -> Option<Mismatch> {
    if state.chain_id != chain.chain_id {
        return Some(Mismatch::ChainId { expected: chain.chain_id, found: state.chain_id });
    }
    let expected = chain.genesis.hash;
    if let Some(found) = state.genesis.filter(|found| *found != expected) {
        return Some(Mismatch::Genesis { number: chain.genesis.number, expected, found });
    }
    let version = PayloadVersion::at(&chain.forks, now.unix_seconds());
    let method = new_payload_method(version);
    let is_lacking = !state.methods.is_empty() && !state.methods.iter().any(|known| known == method);
    is_lacking.then(|| Mismatch::Method { method: method.to_owned() })
}

/// The head with which a node begins whose engine stands at `engine`, and whose own store ends at `stored`; `None`: with
/// the first block that comes.
///
/// It is the engine's, so that what lies above is fetched and fed. A store that goes on above the engine's head is kept: the
/// engine gets what is in it. So is one that has another block there, since the sequencer signed what is in it. An engine
/// whose head is older than `max_age` (that of what is fetched from peers) says nothing: it fetches blocks by itself once
/// it is told of a head.
pub fn first_head(
    stored: Option<BlockId>,
    engine: &EngineState,
    now: Now,
    max_age: Option<Duration>,
) -> Option<BlockId> {
    let age = now.unix.saturating_sub(Duration::from_secs(engine.head_timestamp));
    let is_fresh = max_age.is_none_or(|max_age| age <= max_age);
    match stored {
        Some(stored) if stored.number >= engine.head.number || !is_fresh => Some(stored),
        _ => is_fresh.then_some(engine.head),
    }
}

/// The method that takes a payload of this version (`op-node/rollup/types.go`, `NewPayloadVersion`).
pub const fn new_payload_method(version: PayloadVersion) -> &'static str {
    match version {
        PayloadVersion::V1 | PayloadVersion::V2 => "engine_newPayloadV2",
        PayloadVersion::V3 => "engine_newPayloadV3",
        PayloadVersion::V4 => "engine_newPayloadV4",
    }
}

/// The method that tells of a head of this version (`ForkchoiceUpdatedVersion`).
pub const fn forkchoice_method(version: PayloadVersion) -> &'static str {
    match version {
        PayloadVersion::V1 => "engine_forkchoiceUpdatedV1",
        PayloadVersion::V2 => "engine_forkchoiceUpdatedV2",
        PayloadVersion::V3 | PayloadVersion::V4 => "engine_forkchoiceUpdatedV3",
    }
}

/// The method that hands out a payload of this version (`GetPayloadVersion`).
pub const fn get_payload_method(version: PayloadVersion) -> &'static str {
    match version {
        PayloadVersion::V1 | PayloadVersion::V2 => "engine_getPayloadV2",
        PayloadVersion::V3 => "engine_getPayloadV3",
        PayloadVersion::V4 => "engine_getPayloadV4",
    }
}
