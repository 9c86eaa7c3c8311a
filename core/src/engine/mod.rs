//! Driving an execution engine: feeding it blocks in order and, on a development chain, building
//! blocks with it.
//!
//! [`Engine`] decides which Engine API calls to make to an execution client, one at a time; its
//! driver makes the calls (`op-node/rollup/engine`, `op-node/rollup/clsync`, and for building
//! `op-node/rollup/sequencing`).
//!
//! # Following
//! The engine state machine keeps no queue. It tracks the engine's head and the head of our chain,
//! and asks its driver for the canonical block above the engine's head, which comes from the chain
//! view or from the store. Therefore an outage of hours costs nothing, and after a restart of
//! either side it continues at the engine's head.
//!
//! If that block does not link to the engine's head, or the engine lacks its parent, the state
//! machine searches for a block that the engine knows, in growing steps down to [`MAX_DESCENT`]
//! blocks below, and feeds upwards from there. If our own chain lacks these blocks, the engine is
//! given the head and fetches the rest by itself. Meanwhile it is given a new head every
//! [`SYNC_PAUSE`], and is sometimes offered the block above its own head, in case no peer serves it
//! the rest.
//!
//! When our chain moves to a lower head, or to another block of the same height, the engine is
//! given that head too: it must not stay on a branch that the sequencer left. An engine above our
//! head is left alone as long as our head is on its chain.
//!
//! A block that the engine calls invalid is reported once and not offered again: the engine stays
//! below it until our chain changes. The verdict applies to that block alone; another block of the
//! same height is offered as usual.
//!
//! # Building
//! With [`EngineConfig::sequencer`], the engine is asked to build on our head whenever it has that
//! head, and to return the block when the block is due. Our own chain takes the block, and the
//! engine receives it back like any other.
//!
//! # When calls fail
//! Pauses double up to [`LONGEST_PAUSE`]. A failure is over when the call that failed succeeds, not
//! merely when the engine answers another call, so a repeated failure is reported once. See
//! `trouble.rs` for the failures that are handled specially.
//!
//! # Bounds
//! One call and one block in flight, beside one read of labels from another node;
//! [`MAX_INVALID`] ids of invalid blocks, the oldest dropped
//! first; [`methods::MAX_LISTED`] method names. Only the operator's engine and the sequencer's
//! signed chain add to this state.

pub mod attributes;
mod build;
mod errors;
mod follow;
pub mod methods;
mod state;
#[cfg(test)]
mod tests;
mod trouble;
mod types;

pub use attributes::{DevelopmentL1, PayloadAttributes};
pub use errors::is_missing_block;
pub use methods::ALL_METHODS;
pub use state::{first_head, mismatch};
pub use types::{
    Activity, EngineEvent, EngineFailure, EngineInput, EngineOutput, EngineState, EngineStatus,
    Forkchoice, LabelsFailure, Mismatch, PayloadStatus, Sequencing,
};

use crate::chain::{BlockId, ChainConfig, Labels};
use crate::time::{Instant, Now};
use alloy_primitives::{B256, Bytes};
use follow::{Descent, Refusal};
use methods::{Method, Methods};
use std::collections::VecDeque;
use std::time::Duration;
use trouble::Trouble;

/// Maximum number of blocks to search below a block that the engine can't place, for one that it
/// knows.
pub const MAX_DESCENT: u64 = 32_768;
/// Number of blocks fed in a row after which the engine is given its new head.
pub const CHOOSE_EVERY: u32 = 16;
/// Interval between checks of an engine that is syncing by itself.
pub const SYNC_PAUSE: Duration = Duration::from_secs(4);
/// Number of checks of a syncing engine per offer of the block above its head.
pub const OFFER_EVERY: u32 = 4;
/// First pause after a failure. Each further pause is twice as long.
pub const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Longest pause after a failure.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// Interval between checks of an engine that does not belong to this chain.
pub const MISMATCH_PAUSE: Duration = Duration::from_secs(30);
/// Interval between state requests while all is well: the engine may have been restarted, or
/// rewound by hand.
pub const REFRESH: Duration = Duration::from_secs(12);
/// Interval between two reads of the labels from another node.
pub const LABELS_EVERY: Duration = Duration::from_secs(12);
/// Maximum number of invalid blocks remembered.
pub const MAX_INVALID: usize = 64;
/// Number of consecutive refusals of a payload's fork after which the engine is considered to have
/// another fork schedule.
pub const FORK_REFUSALS: u32 = 3;
/// Time to wait for the next block while our own chain does not have it yet. Also the minimum
/// interval between checks of an engine that is above our head. A built block has five times as
/// long to become our head.
const BLOCK_PAUSE: Duration = Duration::from_secs(1);

/// Configuration of the state machine.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// The chain to follow.
    pub chain: ChainConfig,
    /// L1 data for building blocks of a development chain, or `None` to build none.
    pub sequencer: Option<DevelopmentL1>,
    /// Whether another node reports the safe and finalized blocks, which is then read every
    /// [`LABELS_EVERY`].
    pub reads_labels: bool,
}

/// The current activity. A phase with an `until` waits for that time; every other phase except the
/// first waits for an answer.
#[derive(Clone, Debug)]
enum Phase {
    /// Nothing is in flight, and there may be something to do.
    Idle,
    /// Pausing before the engine is asked for its state.
    Pause { until: Instant },
    /// Waiting for a block, or for the time to build one.
    Patience { until: Instant },
    /// The engine was asked for its state, and for its block at our head's number.
    Reading { ours: Option<BlockId> },
    /// Our own chain was asked for a block.
    Loading { number: u64, is_jump: bool },
    /// The engine was offered a block.
    Offering { offered: Tip, parent: B256, is_jump: bool, method: Method },
    /// The engine was given a head.
    Choosing { head: Tip, labels: Option<Labels>, method: Method },
    /// The engine was asked to build a block on its head; `due` is the block's time since the Unix
    /// epoch.
    Starting { due: Duration, labels: Option<Labels>, method: Method },
    /// The engine builds a block.
    Building { id: Bytes, timestamp: u64, until: Instant },
    /// The engine was asked for the block that it built.
    Fetching { id: Bytes, timestamp: u64, method: Method },
    /// The built block is to become our head.
    Publishing { until: Instant },
}

/// The parts of a block that the next one depends on.
#[derive(Clone, Copy, Debug)]
struct Tip {
    id: BlockId,
    timestamp: u64,
    gas_limit: u64,
}

/// The state machine: see the [module's documentation](self).
#[derive(Debug)]
pub struct Engine {
    config: EngineConfig,
    phase: Phase,
    /// Our head.
    target: Option<BlockId>,
    /// Highest block that the engine has executed for us.
    tip: Option<Tip>,
    /// The engine's own head, as far as it is known.
    head: Option<BlockId>,
    /// The search for a block that the engine knows.
    descent: Option<Descent>,
    /// Whether the last search found a block, but the engine has accepted none above it since.
    is_fruitless: bool,
    /// Whether the engine fetches blocks by itself.
    is_syncing: bool,
    /// Number of checks of an engine that fetches blocks by itself.
    looks: u32,
    /// Whether the engine's head is on a branch that our chain left, and not below our head.
    must_move: bool,
    /// Number of blocks since the engine was last given a head.
    unchosen: u32,
    labels: Labels,
    /// Whether a node other than the engine reports the safe and finalized blocks.
    has_source: bool,
    /// Reason why that node's last report failed, if it did.
    labels_failure: Option<LabelsFailure>,
    /// Labels that the engine refused; they are not sent again.
    refused_labels: Option<Labels>,
    /// Whether to send the next head without labels, because the engine refused the last one with
    /// them.
    is_bare: bool,
    /// Whether the refusal was reported.
    told_labels: bool,
    /// Time of the next read of the labels of another node; `None` without one, and during a read.
    labels_due: Option<Instant>,
    /// Time of the last such read.
    labels_read: Instant,
    methods: Methods,
    invalid: VecDeque<Refusal>,
    /// Lowest block that holds the engine back, and the last valid one below it, if the engine
    /// named one.
    stuck: Option<(BlockId, Option<B256>)>,
    /// The block that holds the engine back, until our chain changes.
    blocked: Option<BlockId>,
    pause: Duration,
    refresh: Option<Instant>,
    /// Time of the engine's last state report.
    read: Option<Instant>,
    trouble: Option<Trouble>,
    /// Number of the block whose offer failed, until the engine accepts it or a higher one.
    failed_at: Option<u64>,
    /// Whether a call went unanswered since the engine's last state report.
    may_have_restarted: bool,
    /// Number of refusals of a fork since a payload was last accepted.
    fork_refusals: u32,
    is_ready: bool,
    /// Whether blocks are built where [`EngineConfig::sequencer`] allows it.
    is_sequencing: bool,
    told_genesis: bool,
    outputs: VecDeque<EngineOutput>,
}

impl Engine {
    /// Creates a state machine that begins by asking the engine for its state.
    pub fn new(now: Now, config: EngineConfig) -> Self {
        let labels_due = config.reads_labels.then_some(now.monotonic);
        let mut engine = Self {
            config,
            phase: Phase::Idle,
            target: None,
            tip: None,
            head: None,
            descent: None,
            is_fruitless: false,
            is_syncing: false,
            looks: 0,
            must_move: false,
            unchosen: 0,
            labels: Labels::default(),
            has_source: false,
            labels_failure: None,
            refused_labels: None,
            is_bare: false,
            told_labels: false,
            labels_due,
            labels_read: now.monotonic,
            methods: Methods::default(),
            invalid: VecDeque::new(),
            stuck: None,
            blocked: None,
            pause: FIRST_PAUSE,
            refresh: None,
            read: None,
            trouble: None,
            failed_at: None,
            may_have_restarted: false,
            fork_refusals: 0,
            is_ready: false,
            is_sequencing: true,
            told_genesis: false,
            outputs: VecDeque::new(),
        };
        engine.go_on(now);
        engine.read_labels(now);
        engine
    }

    /// Handles an event that occurred at `now`. Ignores an answer without a matching request.
    pub fn handle(&mut self, now: Now, input: EngineInput) {
        match input {
            EngineInput::Head(head) => self.on_head(now, head),
            EngineInput::Labels(labels) => self.on_labels(labels),
            EngineInput::LabelsFailed(failure) => self.on_labels_failed(failure),
            EngineInput::Sequence(is_wanted) => self.on_sequence(is_wanted),
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
        self.read_labels(now);
    }

    /// Returns the next output, or `None` if nothing is left to do for now.
    pub fn poll(&mut self) -> Option<EngineOutput> {
        self.outputs.pop_front()
    }

    /// Returns the time at which to call [`Self::handle`] with [`EngineInput::Wake`] if nothing
    /// happens earlier.
    pub fn next_wakeup(&self) -> Option<Instant> {
        let of_phase = match self.phase {
            Phase::Pause { until }
            | Phase::Patience { until }
            | Phase::Building { until, .. }
            | Phase::Publishing { until } => Some(until),
            Phase::Idle => self.refresh,
            _ => None,
        };
        of_phase.into_iter().chain(self.labels_due).min()
    }

    /// Returns the status of the engine.
    pub fn status(&self) -> EngineStatus {
        let activity = match (&self.trouble, self.is_ready) {
            (Some(trouble), _) => trouble.activity(),
            (None, false) => Activity::Starting,
            (None, true) if self.is_syncing => Activity::Syncing,
            (None, true) => {
                self.stuck.map_or(Activity::Following, |(block, _)| Activity::Stuck(block))
            }
        };
        let number = |id: Option<BlockId>| id.map_or(0, |id| id.number);
        EngineStatus {
            head: self.head,
            activity,
            behind: number(self.target).saturating_sub(number(self.head)),
            labels: self.labels,
            labels_failure: self.labels_failure.clone(),
        }
    }

    /// Returns whether the engine is asked to build blocks.
    pub fn sequencing(&self) -> Sequencing {
        match (&self.config.sequencer, &self.phase) {
            (None, _) => Sequencing::Disabled,
            (Some(_), _) if self.is_sequencing => Sequencing::Active,
            (Some(_), Phase::Fetching { .. } | Phase::Publishing { .. }) => Sequencing::Stopping,
            (Some(_), _) => Sequencing::Stopped,
        }
    }

    /// Takes the labels reported by another node. That node never loses a label, so a missing label
    /// does not replace an earlier one.
    fn on_labels(&mut self, labels: Labels) {
        let before = if self.has_source { self.labels } else { Labels::default() };
        self.labels = Labels {
            safe: labels.safe.or(before.safe),
            finalized: labels.finalized.or(before.finalized),
        };
        (self.has_source, self.labels_failure) = (true, None);
        self.labels_were_read();
    }

    fn on_labels_failed(&mut self, failure: LabelsFailure) {
        self.labels_failure = Some(failure);
        self.labels_were_read();
    }

    /// Plans the next read of labels, [`LABELS_EVERY`] after the start of the last one.
    fn labels_were_read(&mut self) {
        self.labels_due = self.config.reads_labels.then(|| self.labels_read + LABELS_EVERY);
    }

    /// Reads the labels of another node if it is time.
    fn read_labels(&mut self, now: Now) {
        if self.labels_due.is_some_and(|due| due <= now.monotonic) {
            (self.labels_due, self.labels_read) = (None, now.monotonic);
            self.outputs.push_back(EngineOutput::ReadLabels);
        }
    }

    fn on_sequence(&mut self, is_wanted: bool) {
        self.is_sequencing = is_wanted;
        // A block that is not sealed yet is abandoned; the engine discards it by itself.
        if !is_wanted && matches!(self.phase, Phase::Building { .. }) {
            self.phase = Phase::Idle;
        }
    }

    /// Advances a phase whose deadline has passed.
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
                let (id, timestamp) = (id.clone(), *timestamp);
                self.fetch(id, timestamp);
            }
            Phase::Publishing { until } if *until <= now.monotonic => {
                self.phase = Phase::Idle;
                self.tell(EngineEvent::NotTaken);
            }
            _ => {}
        }
    }

    /// Starts the next action, if nothing is in flight.
    fn go_on(&mut self, now: Now) {
        if !matches!(self.phase, Phase::Idle) {
            return;
        }
        if self.refresh.is_none_or(|at| at <= now.monotonic) {
            let ours = self.target;
            let output = EngineOutput::ReadState { at: ours.map(|ours| ours.number) };
            return self.ask(Phase::Reading { ours }, output);
        }
        let Some(tip) = self.tip else { return };
        let target = self.target.unwrap_or(tip.id);
        if self.is_syncing && self.descent.is_none() {
            self.looks = self.looks.wrapping_add(1);
            if !self.looks.is_multiple_of(OFFER_EVERY) {
                return self.load(target.number, true);
            }
        }
        let is_elsewhere = self.must_move || self.is_syncing || self.descent.is_some();
        if target.number > tip.id.number || is_elsewhere {
            if self.unchosen >= CHOOSE_EVERY {
                return self.choose(tip);
            }
            if self.blocked.is_none() {
                let above = target.number.min(tip.id.number.saturating_add(1));
                let number = self.descent.as_ref().map_or(above, |descent| descent.next);
                self.load(number, false);
            } else if self.head != Some(tip.id) {
                self.choose(tip);
            } else {
                self.settled();
            }
            return;
        }
        if self.head != Some(tip.id) {
            return self.choose(tip);
        }
        self.settled();
        if target == tip.id
            && self.is_sequencing
            && let Some(l1) = self.config.sequencer
        {
            self.build(now, tip, l1);
        }
    }

    fn on_head(&mut self, now: Now, head: BlockId) {
        let before = self.target.replace(head);
        if before == Some(head) {
            return;
        }
        self.blocked = None;
        if let Some(tip) = self.tip
            && head.number <= tip.id.number
            && head != tip.id
        {
            if before.is_some_and(|before| head.number <= before.number) {
                // Our chain went back or sideways: the engine must not stay on the branch that our
                // chain left.
                self.must_move = true;
            } else if !self.must_move {
                // The engine is ahead of us, or on a branch that our chain does not follow: its own
                // block of that number decides which.
                let soon = self.read.map_or(now.monotonic, |read| read + BLOCK_PAUSE);
                self.refresh = self.refresh.map(|at| at.min(soon));
            }
        }
        if let Phase::Publishing { .. } | Phase::Patience { .. } = self.phase {
            self.phase = Phase::Idle;
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
