//! What a [`Validator`](super::Validator) is created with, and what it says.

#[cfg(doc)]
use super::Validator;
use super::{ScheduleDoubt, ValidationJob};
use crate::chain::BlockId;
use crate::gossip::{Acceptance, MessageId, Reason, Signers, TIMESTAMP_THRESHOLD};
use crate::payload::{Block, PayloadVersion};
use crate::peers::PeerId;
use crate::time::Instant;
use alloy_primitives::{Address, B256};
use std::time::Duration;

/// Settings of a [`Validator`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ValidatorConfig {
    /// Signer of unsafe blocks, in place of the chain configuration's.
    pub signer: Option<Address>,
    /// Maximum age of a block, in whole seconds.
    pub timestamp_threshold: Duration,
    /// Whether the signer can be read again when blocks of an unknown signer arrive, see
    /// [`ValidatorStep::ReadSigner`].
    pub reads_signer: bool,
}

impl Default for ValidatorConfig {
    /// Accepts the signer of the chain configuration, which can't be read again, and blocks of up
    /// to [`TIMESTAMP_THRESHOLD`].
    fn default() -> Self {
        Self { signer: None, timestamp_threshold: TIMESTAMP_THRESHOLD, reads_signer: false }
    }
}

/// Id of a block of our own, assigned by the caller of [`Validator::check_own`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OwnId(pub u64);

/// What the caller must do next, or should know.
#[derive(Clone, Debug)]
#[must_use = "the validator relies on its steps being carried out"]
#[non_exhaustive]
pub enum ValidatorStep {
    /// Run this job and pass its result to [`Validator::job_done`].
    Job(ValidationJob),
    /// Pass the verdict on a message to gossip. Exactly one answers each [`Validator::receive`].
    Verdict {
        /// The verdict.
        verdict: Verdict,
        /// The block that failed a check. `None` for a message that was throttled, and for a block
        /// that follows in a [`ValidatorStep::Block`].
        refused: Option<RefusedBlock>,
    },
    /// Count an earlier message against this peer: it was signed by another key, and the signer
    /// turned out not to have changed.
    Blame {
        /// The peer that sent the message.
        peer: PeerId,
        /// Payload version of the topic.
        topic: PayloadVersion,
    },
    /// A block that the sequencer signed, for the first time on its topic. This includes a block
    /// that only our fork schedule refuses, whose verdict is not to accept it.
    Block {
        /// The block.
        block: Block,
        /// Where it came from.
        source: BlockSource,
    },
    /// The result of a [`Validator::check_own`].
    Own {
        /// Id of the block.
        id: OwnId,
        /// The block's hash and timestamp (Unix seconds) if it may be sent, or the check that it
        /// failed.
        result: Result<(B256, u64), Reason>,
    },
    /// Blocks of an unknown signer arrive: read the signer now and call
    /// [`Validator::set_signer`], whether or not it has changed. Only with
    /// [`ValidatorConfig::reads_signer`].
    ReadSigner,
    /// The accepted signer has changed: the signers that are accepted now.
    SignerChanged(Signers),
    /// The wall clock has jumped by this many seconds since the last call.
    ClockJumped {
        /// Seconds; negative if the clock was set back.
        seconds: i64,
    },
    /// Blocks that the sequencer signed break our fork schedule. Reported with the first one, and
    /// then at most once a minute while such blocks arrive.
    ScheduleInDoubt(ScheduleDoubt),
    /// No such block arrived for a while, or many signed blocks in a row kept to the schedule.
    ScheduleDoubtEnded(ScheduleDoubt),
}

/// Source of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BlockSource {
    /// Gossip: this peer sent the first copy.
    Peer(PeerId),
    /// We made it, see [`Validator::check_own`].
    Own,
    /// The caller vouches for it, see [`Validator::vouched`].
    Vouched,
}

/// Verdict on one gossip message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The sender of the first copy.
    pub from: PeerId,
    /// Payload version of the topic.
    pub topic: PayloadVersion,
    /// Id of the message.
    pub id: MessageId,
    /// The block if it is accepted, else the check that failed.
    pub result: Result<BlockId, Reason>,
    /// The address that signed the message, if the checks came that far.
    pub signer: Option<Address>,
    /// Time at which the first copy arrived.
    pub arrived: Instant,
}

impl Verdict {
    /// Returns gossip's action for the message.
    pub fn acceptance(&self) -> Acceptance {
        self.result.map_or_else(Reason::acceptance, |_| Acceptance::Accept)
    }
}

/// What is known about the block of a message that failed a check. By such blocks, honest peers
/// reveal that the node's own clock or signer is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RefusedBlock {
    /// Number and hash, as the block says itself, if the payload was decoded.
    pub id: Option<BlockId>,
    /// Timestamp in Unix seconds, if the payload was decoded.
    pub timestamp: Option<u64>,
    /// Whether an accepted signer signed it, if the checks came that far.
    pub is_signed: bool,
}
