//! Costly pure work, as values that can be carried to another thread.

use crate::chain::BlockId;
use crate::gossip::{
    BLOCK_DOMAIN, OneThread, Reason, Rules, SIGNATURE_SIZE, Threads, Unpacked, Verified, payload_hash,
    signing_hash, validate_on,
};
use crate::payload::{Block, Envelope, PayloadVersion};
use crate::sequencer::{PublishError, Sealed};
use crate::sync::{AnswerError, CheckWork};
use std::sync::Arc;

/// Names a job; handed out by the [`Node`](super::Node).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub(super) u64);

/// Work without state: owns what it needs, runs on any thread, always ends.
///
/// The driver runs it and gives the result back as [`Input::JobDone`](super::Input::JobDone). If it
/// panics, which would be a defect, the driver gives back [`JobResult::panicked`] instead; a job
/// whose result never comes holds its slot for ever.
#[derive(Clone, Debug)]
pub struct Job {
    pub(super) id: JobId,
    pub(super) work: Work,
}

#[derive(Clone, Debug)]
pub(super) enum Work {
    Validate {
        rules: Arc<Rules>,
        version: PayloadVersion,
        message: Unpacked,
        now: u64,
        /// Whether its transactions may be hashed before its signature is known to be good.
        is_trusting: bool,
    },
    Seal {
        chain_id: u64,
        envelope: Box<Envelope>,
    },
    Check(CheckWork),
}

/// What a job is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JobKind {
    /// To judge a message of gossip, or a block of our own before it goes out.
    Validate,
    /// To encode a block of our own.
    Seal,
    /// To check an answer to a request for a block.
    Check,
}

impl JobKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Validate, Self::Seal, Self::Check];

    /// `validate`, `seal` or `check`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Validate => "validate",
            Self::Seal => "seal",
            Self::Check => "check",
        }
    }
}

/// What came of a job.
#[derive(Clone, Debug)]
pub struct JobResult {
    pub(super) id: JobId,
    pub(super) outcome: Outcome,
}

#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Validated(Result<Verified, Reason>),
    Sealed(Result<Sealed, PublishError>),
    Checked(Result<Block, AnswerError>),
    Panicked,
}

impl Job {
    /// Which job this is.
    pub const fn id(&self) -> JobId {
        self.id
    }

    /// What it is for.
    pub const fn kind(&self) -> JobKind {
        match self.work {
            Work::Validate { .. } => JobKind::Validate,
            Work::Seal { .. } => JobKind::Seal,
            Work::Check(_) => JobKind::Check,
        }
    }

    /// About how many bytes it works on, which say how long it takes.
    pub fn size(&self) -> usize {
        match &self.work {
            Work::Validate { message, .. } => message.size(),
            Work::Seal { envelope, .. } => envelope.payload.transactions.iter().map(|raw| raw.len()).sum(),
            Work::Check(work) => work.size(),
        }
    }

    /// Does the work: at most a few milliseconds for the largest message.
    pub fn run(self) -> JobResult {
        self.run_on(&OneThread)
    }

    /// The same, in less time for a large block if `threads` are more than one.
    pub fn run_on(self, threads: &impl Threads) -> JobResult {
        let outcome = match self.work {
            Work::Validate { rules, version, message, now, is_trusting } => {
                let threads = is_trusting.then_some(threads);
                Outcome::Validated(validate_on(threads, &rules, version, message, now))
            }
            Work::Seal { chain_id, envelope } => Outcome::Sealed(seal(chain_id, &envelope)),
            Work::Check(work) => Outcome::Checked(work.run()),
        };
        JobResult { id: self.id, outcome }
    }
}

impl JobResult {
    /// The result of a job that panicked: a message counts as invalid, as the reference's guard
    /// around its validator has it.
    pub const fn panicked(id: JobId) -> Self {
        Self { id, outcome: Outcome::Panicked }
    }

    /// The block that a validation found good, if this is one.
    pub fn verified(&self) -> Option<BlockId> {
        match &self.outcome {
            Outcome::Validated(Ok(verified)) => Some(BlockId::of(&verified.block)),
            _ => None,
        }
    }
}

fn seal(chain_id: u64, envelope: &Envelope) -> Result<Sealed, PublishError> {
    let mut contents = vec![0; SIGNATURE_SIZE];
    let version = envelope.encode(&mut contents)?;
    let payload_hash = payload_hash(&contents[SIGNATURE_SIZE..]);
    let signing_hash = signing_hash(BLOCK_DOMAIN, chain_id.into(), payload_hash);
    Ok(Sealed { version, contents, payload_hash, signing_hash })
}
