//! The vocabulary: what the engine is asked, what it answers, what is told of it.

use crate::chain::{BlockId, Labels};
use crate::engine::attributes::PayloadAttributes;
use crate::payload::{Block, Envelope, PayloadVersion};
use alloy_primitives::{B256, Bytes};

/// What an engine says of a payload or of a head (`PayloadStatusV1`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PayloadStatus {
    /// It is executed, with all before it.
    Valid,
    /// It breaks the chain's rules, or hangs on a block that does.
    Invalid(String),
    /// The engine lacks blocks before it, or is fetching them.
    Syncing,
    /// It is beside the engine's own chain and was not executed.
    Accepted,
}

/// Why there is no answer from the engine, or none that means anything.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineFailure {
    /// There is nobody, or nobody answers in time.
    #[error("it can't be reached: {0}")]
    Unreachable(String),
    /// It refuses our token.
    #[error(
        "it refuses our token: both must have the same JWT secret (--l2.jwt-secret), and clocks that agree"
    )]
    Unauthorized,
    /// It has another opinion on the safe or the finalized block, or on which follows which.
    #[error("it refuses the safe or finalized block: {0}")]
    Forkchoice(String),
    /// It takes no payload of this fork at this time.
    #[error("its fork schedule is another: {0}")]
    OtherFork(String),
    /// It does not know the payload that it was building.
    #[error("it does not know the payload any more: {0}")]
    UnknownPayload(String),
    /// Any other error.
    #[error("{0}")]
    Other(String),
}

/// Why an engine is not ours to feed. Nothing is sent to it; it is looked at again now and then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// It executes another chain.
    #[error(
        "it executes chain {found}, and this node follows chain {expected}; point --l2 at that chain's engine"
    )]
    ChainId {
        /// This node's.
        expected: u64,
        /// The engine's.
        found: u64,
    },
    /// Its chain begins with another block.
    #[error(
        "its block {number} is {found}, and this chain's is {expected}; it was set up with another genesis"
    )]
    Genesis {
        /// Number of the first block.
        number: u64,
        /// This node's.
        expected: B256,
        /// The engine's.
        found: B256,
    },
    /// It does not know a method that blocks of now need.
    #[error("it lacks {method}, which blocks of now need; it is too old, or no engine of the OP Stack")]
    Method {
        /// The method.
        method: String,
    },
    /// It refuses blocks of this fork.
    #[error("its fork schedule is not this chain's: {0}")]
    Forks(String),
}

/// How an engine stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineState {
    /// The chain that it executes.
    pub chain_id: u64,
    /// Its block of the chain's first number, if it has that.
    pub genesis: Option<B256>,
    /// Its head (`latest`).
    pub head: BlockId,
    /// The head's timestamp, unix seconds.
    pub head_timestamp: u64,
    /// The head's gas limit.
    pub gas_limit: u64,
    /// Its safe block, if it has one.
    pub safe: Option<BlockId>,
    /// Its finalized block, if it has one.
    pub finalized: Option<BlockId>,
    /// Names of the Engine API's methods that it knows; empty if it does not tell.
    pub methods: Vec<String>,
}

/// What the engine is told of the chain (`ForkchoiceStateV1`); zero where nothing is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forkchoice {
    /// The unsafe head.
    pub head: B256,
    /// The safe block.
    pub safe: B256,
    /// The finalized block.
    pub finalized: B256,
    /// Version of the payloads at the time of the head, which decides on the method.
    pub version: PayloadVersion,
}

/// Something that happened outside.
#[derive(Clone, Debug)]
pub enum EngineInput {
    /// The contiguous unsafe head is this block now.
    Head(BlockId),
    /// Whoever derives the chain says which blocks are safe and finalized. From then on this counts rather than what the
    /// engine itself says.
    Labels(Labels),
    /// Answers [`EngineOutput::ReadState`].
    State(Result<EngineState, EngineFailure>),
    /// Answers [`EngineOutput::Load`]: the canonical block of that number, if this node has it.
    Loaded(Option<Block>),
    /// Answers [`EngineOutput::NewPayload`].
    NewPayload(Result<PayloadStatus, EngineFailure>),
    /// Answers [`EngineOutput::ForkchoiceUpdated`].
    ForkchoiceUpdated(Result<PayloadStatus, EngineFailure>),
    /// Answers [`EngineOutput::Build`]: the name of the payload under way.
    Building(Result<Bytes, EngineFailure>),
    /// Answers [`EngineOutput::GetPayload`].
    Built(Result<Box<Envelope>, EngineFailure>),
    /// Nothing but time passed.
    Wake,
}

/// Something to do. There is one call at a time: the next one comes when that is answered.
#[derive(Clone, Debug)]
pub enum EngineOutput {
    /// Ask the engine how it stands.
    ReadState,
    /// Look up the canonical block of this number.
    Load(u64),
    /// `engine_newPayload`, by the version of [`new_payload_method`](super::new_payload_method).
    NewPayload(Block),
    /// `engine_forkchoiceUpdated` without attributes.
    ForkchoiceUpdated(Forkchoice),
    /// `engine_forkchoiceUpdated` with these attributes: begin to build on the head.
    Build(Forkchoice, Box<PayloadAttributes>),
    /// `engine_getPayload` of what is being built.
    GetPayload {
        /// Its name.
        id: Bytes,
        /// Version of the payload.
        version: PayloadVersion,
    },
    /// This block was built: put it into our own chain, then publish it.
    Publish(Box<Envelope>),
    /// Tell whoever is interested.
    Event(EngineEvent),
}

/// Something worth telling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineEvent {
    /// The engine answers, is ours to feed, and stands there.
    Ready(BlockId),
    /// The engine has executed the chain up to there.
    Followed(BlockId),
    /// The engine fetches blocks by itself; it is told of the head now and then.
    Syncing {
        /// Where it stands.
        at: BlockId,
        /// The head that it was told of.
        to: BlockId,
    },
    /// The engine refuses a block that the sequencer signed. It is never offered again.
    Invalid {
        /// The block.
        block: BlockId,
        /// What the engine says.
        reason: String,
    },
    /// The engine does not answer, or not as it should. Told once until it is ready again, unless the reason changes.
    Failed(EngineFailure),
    /// This is not the engine for this chain.
    Mismatched(Mismatch),
    /// A block that was built did not become the head of our own chain. The next attempt comes by itself.
    NotTaken,
}

/// How the engine is doing, as of the last call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineStatus {
    /// The highest block that the engine is known to have executed as its head.
    pub head: Option<BlockId>,
    /// What it is doing.
    pub activity: Activity,
    /// How many blocks our head is above its.
    pub behind: u64,
    /// Which blocks are safe and finalized.
    pub labels: Labels,
}

/// What an engine is doing, in one word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Activity {
    /// It was not heard from yet.
    Starting,
    /// It takes our blocks as they come.
    Following,
    /// It fetches blocks by itself.
    Syncing,
    /// It does not answer, or not as it should.
    Away(EngineFailure),
    /// It is not the engine for this chain.
    Mismatched(Mismatch),
    /// It refuses this block of our chain, and waits for another chain.
    Stuck(BlockId),
}

impl Activity {
    /// The word for it.
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
