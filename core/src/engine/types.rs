//! Types of the engine's state machine: calls, answers, events and status.

use crate::chain::{BlockId, Labels};
use crate::engine::attributes::PayloadAttributes;
use crate::payload::{Block, Envelope, PayloadVersion};
use alloy_primitives::{B256, Bytes};

/// The engine's verdict on a payload or on a head (`PayloadStatusV1`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PayloadStatus {
    /// The block and all blocks before it are executed.
    Valid,
    /// The block breaks the chain's rules, or builds on a block that does.
    Invalid {
        /// The engine's explanation.
        reason: String,
        /// Last valid block below it, if the engine names one. If this is not the block's parent,
        /// the invalid block lies between the two.
        latest_valid: Option<B256>,
    },
    /// The engine lacks blocks before it, or is fetching them.
    Syncing,
    /// The block is not on the engine's own chain and was not executed.
    Accepted,
}

/// Reason why the engine gave no answer, or no useful one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineFailure {
    /// Nothing listens at the engine's address, or the answer did not arrive in time.
    #[error("it can't be reached: {0}")]
    Unreachable(String),
    /// The engine refuses our token.
    #[error("it refuses our token: both must have the same JWT secret, and clocks that agree")]
    Unauthorized,
    /// The engine disagrees about the safe or the finalized block, or about their order.
    #[error("it refuses the safe or finalized block: {0}")]
    Forkchoice(String),
    /// The engine accepts no payload of this fork at this time.
    #[error("its fork schedule is not this chain's: {0}")]
    OtherFork(String),
    /// The engine does not know the payload that it was building.
    #[error("it does not know the payload any more: {0}")]
    UnknownPayload(String),
    /// The engine does not know a method.
    #[error("it does not know {0}: give the address of its Engine API (usually port 8551)")]
    NoMethod(String),
    /// The engine has pruned the requested block.
    #[error("it no longer has that block: {0}")]
    Pruned(String),
    /// Any other error.
    #[error("{0}")]
    Other(String),
}

/// Reason why the source of labels, a node other than the engine, can't be used. Its earlier labels
/// remain in force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelsFailure {
    /// The source follows another chain.
    #[error("it is on chain {found}, and this node follows chain {expected}")]
    OtherChain {
        /// Chain id of this node.
        expected: u64,
        /// Chain id of the source.
        found: u64,
    },
    /// The source does not know a method.
    #[error("it does not know {0}: give the RPC of an execution client of this chain")]
    NoMethod(String),
    /// The source requires credentials, or refuses ours.
    #[error("it does not let this node in: give user:password@ in its address, if it needs them")]
    Unauthorized,
    /// The source did not answer, or gave no useful answer.
    #[error("{0}")]
    NoAnswer(EngineFailure),
}

impl From<EngineFailure> for LabelsFailure {
    fn from(failure: EngineFailure) -> Self {
        match failure {
            EngineFailure::NoMethod(method) => Self::NoMethod(method),
            EngineFailure::Unauthorized => Self::Unauthorized,
            failure => Self::NoAnswer(failure),
        }
    }
}

/// Reason why an engine must not be fed. It receives no blocks, and is checked again periodically.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// The engine executes another chain.
    #[error(
        "it executes chain {found}, and this node follows chain {expected}; give it an engine \
         of that chain"
    )]
    ChainId {
        /// Chain id of this node.
        expected: u64,
        /// Chain id of the engine.
        found: u64,
    },
    /// The engine's chain begins with a different block.
    #[error(
        "its block {number} is {found}, and this chain's is {expected}; it was set up with another \
         genesis"
    )]
    Genesis {
        /// Number of the first block.
        number: u64,
        /// Hash that this node expects.
        expected: B256,
        /// Hash that the engine has.
        found: B256,
    },
    /// The engine lacks a method that current blocks need.
    #[error(
        "it lacks {method}, which current blocks need; it is too old, or not made for the OP Stack"
    )]
    Method {
        /// Name of the method.
        method: String,
    },
    /// The engine refuses blocks of this fork.
    #[error("its fork schedule is not this chain's: {0}")]
    Forks(String),
}

/// State of an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineState {
    /// Id of the chain that it executes.
    pub chain_id: u64,
    /// Hash of its block at the number of the chain's first block, or `None` if it has pruned that
    /// block or does not have it yet.
    pub genesis: Option<B256>,
    /// Its head (`latest`).
    pub head: BlockId,
    /// Hash of its block at the number in [`EngineOutput::ReadState`], unless its head is below.
    pub ours: Option<B256>,
    /// Timestamp of the head, in Unix seconds.
    pub head_timestamp: u64,
    /// Gas limit of the head.
    pub gas_limit: u64,
    /// Its safe block, if it has one.
    pub safe: Option<BlockId>,
    /// Its finalized block, if it has one.
    pub finalized: Option<BlockId>,
    /// Names of the Engine API methods that it knows; empty if it does not list them.
    pub methods: Vec<String>,
}

/// The forkchoice for the engine (`ForkchoiceStateV1`); unknown hashes are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forkchoice {
    /// The unsafe head.
    pub head: B256,
    /// The safe block.
    pub safe: B256,
    /// The finalized block.
    pub finalized: B256,
    /// Name of the method to call.
    pub method: &'static str,
}

/// An input to the state machine.
#[derive(Clone, Debug)]
pub enum EngineInput {
    /// The contiguous unsafe head is now this block.
    Head(BlockId),
    /// Safe and finalized blocks, from a node that derives the chain. From now on they replace the
    /// engine's own labels.
    Labels(Labels),
    /// The source of labels failed to report them.
    LabelsFailed(LabelsFailure),
    /// The operator starts (`true`) or stops (`false`) block building.
    Sequence(bool),
    /// Answers [`EngineOutput::ReadState`].
    State(Result<EngineState, EngineFailure>),
    /// Answers [`EngineOutput::Load`]: the canonical block of that number, if this node has it.
    Loaded(Option<Block>),
    /// Answers [`EngineOutput::NewPayload`].
    NewPayload(Result<PayloadStatus, EngineFailure>),
    /// Answers [`EngineOutput::ForkchoiceUpdated`].
    ForkchoiceUpdated(Result<PayloadStatus, EngineFailure>),
    /// Answers [`EngineOutput::Build`]: the id of the payload that is being built.
    Building(Result<Bytes, EngineFailure>),
    /// Answers [`EngineOutput::GetPayload`].
    Built(Result<Box<Envelope>, EngineFailure>),
    /// Only time has passed.
    Wake,
}

/// An output. At most one call is in flight: the next one follows its answer. A read of labels
/// asks another node, and may run beside a call.
#[derive(Clone, Debug)]
pub enum EngineOutput {
    /// Ask the engine for its state.
    ReadState {
        /// Number of our head, see [`EngineState::ours`].
        at: Option<u64>,
    },
    /// Look up the canonical block of this number.
    Load(u64),
    /// `engine_newPayload`.
    NewPayload {
        /// The block.
        block: Block,
        /// Name of the method to call.
        method: &'static str,
    },
    /// `engine_forkchoiceUpdated` without attributes.
    ForkchoiceUpdated(Forkchoice),
    /// `engine_forkchoiceUpdated` with these attributes: start building on the head.
    Build(Forkchoice, Box<PayloadAttributes>),
    /// `engine_getPayload` of the payload that is being built.
    GetPayload {
        /// Id of the payload.
        id: Bytes,
        /// Name of the method to call.
        method: &'static str,
        /// Version of the payload.
        version: PayloadVersion,
    },
    /// Read the safe and finalized blocks that another node reports; answered by
    /// [`EngineInput::Labels`] or [`EngineInput::LabelsFailed`].
    ReadLabels,
    /// A block was built: add it to our own chain, then publish it.
    Publish(Box<Envelope>),
    /// Report this event.
    Event(EngineEvent),
}

/// An event to report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineEvent {
    /// The engine answers, is the one for this chain, and has this head.
    Ready(BlockId),
    /// The engine no longer has the chain's first block, which has this number, so this node can't
    /// check that the engine executes the right chain. Reported once.
    NoGenesis(u64),
    /// The engine has executed the chain up to this block.
    Followed(BlockId),
    /// The engine fetches blocks by itself; it is given a new head periodically.
    Syncing {
        /// The engine's head.
        at: BlockId,
        /// The head that it was given.
        to: BlockId,
    },
    /// The engine refuses a block that the sequencer signed. The block is not offered again until
    /// after the engine was unreachable. Blocks above it are not reported.
    Invalid {
        /// The block.
        block: BlockId,
        /// The engine's explanation.
        reason: String,
    },
    /// The engine refuses the safe or finalized block, and is given the head alone until they
    /// change. Not reported again until the engine has accepted labels.
    LabelsRefused {
        /// The engine's explanation.
        reason: String,
    },
    /// The engine does not answer, or answers incorrectly. Not reported again until the engine was
    /// ready, unless the reason changes.
    Failed(EngineFailure),
    /// The engine does not belong to this chain.
    Mismatched(Mismatch),
    /// A built block did not become the head of our own chain. Another attempt follows by itself.
    NotTaken,
}

/// Status of the engine, as of the last call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineStatus {
    /// Highest block that the engine is known to have executed as its head.
    pub head: Option<BlockId>,
    /// The current activity.
    pub activity: Activity,
    /// Number of blocks from the engine's head up to ours.
    pub behind: u64,
    /// The safe and finalized blocks.
    pub labels: Labels,
    /// Reason why the source of labels last failed to report them; `None` if it reported them or
    /// there is no source.
    pub labels_failure: Option<LabelsFailure>,
}

/// Whether an engine is asked to build blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sequencing {
    /// Never: the node was not started as a sequencer.
    Disabled,
    /// Whenever the engine has our head.
    Active,
    /// Building has stopped, but a block that is already built is still on its way into our own
    /// chain.
    Stopping,
    /// Not until the operator starts it again.
    Stopped,
}

/// Activity of an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Activity {
    /// The engine has not answered yet.
    Starting,
    /// The engine takes our blocks as they arrive.
    Following,
    /// The engine fetches blocks by itself.
    Syncing,
    /// The engine does not answer, or answers incorrectly.
    Away(EngineFailure),
    /// The engine does not belong to this chain.
    Mismatched(Mismatch),
    /// The engine refuses this block of our chain, and stays below it until our chain changes.
    Stuck(BlockId),
}

impl Activity {
    /// Returns the name of the activity, a single word.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Following => "following",
            Self::Syncing => "syncing",
            Self::Away(_) => "away",
            Self::Mismatched(_) => "mismatched",
            Self::Stuck(_) => "stuck",
        }
    }
}
