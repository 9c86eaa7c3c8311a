//! Expensive pure work, as values that can move to another thread.

use crate::chain::BlockId;
use crate::gossip::{
    BLOCK_DOMAIN, OneThread, SIGNATURE_SIZE, Threads, Unpacked, ValidationId, ValidationJob,
    ValidationResult, payload_hash, signing_hash,
};
use crate::mesh::{EntryId, Id, NameJob, Named};
use crate::payload::{Block, Envelope, snappy};
use crate::sequencer::{PublishError, Sealed};
use crate::sync::range::{Checked, ChunkWork};
use crate::sync::{AnswerError, CheckWork};
use alloy_primitives::Bytes;

/// Id of a job, assigned by the [`Node`](super::Node) and never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub(super) IdKind);

/// The machine that waits for the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum IdKind {
    Validator(ValidationId),
    Router(EntryId),
    Node(u64),
}

/// Stateless work: it owns its data, runs on any thread, and always ends.
///
/// The driver runs it and returns the result as [`Input::JobDone`](super::Input::JobDone). If the
/// job panics, which would be a defect, the driver returns [`JobResult::panicked`] instead. A job
/// whose result never arrives holds its slot for ever.
#[derive(Clone, Debug)]
#[must_use = "the node waits for the result of the job"]
pub struct Job {
    pub(super) id: JobId,
    pub(super) work: Work,
}

#[derive(Clone, Debug)]
pub(super) enum Work {
    Validate(ValidationJob),
    Seal { chain_id: u64, envelope: Box<Envelope> },
    Check(CheckWork),
    Name(NameJob),
    Pack { topic: String, contents: Bytes },
    CheckChunk(ChunkWork),
}

impl From<NameJob> for Job {
    fn from(job: NameJob) -> Self {
        Self { id: JobId(IdKind::Router(job.entry())), work: Work::Name(job) }
    }
}

impl From<ValidationJob> for Job {
    fn from(job: ValidationJob) -> Self {
        Self { id: JobId(IdKind::Validator(job.id())), work: Work::Validate(job) }
    }
}

/// Purpose of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum JobKind {
    /// Validates a gossip message, or a block of our own before it is published.
    Validate,
    /// Encodes a block of our own.
    Seal,
    /// Checks a response to a request for a block, or a chunk of a range.
    Check,
    /// Decompresses and names a gossip message.
    Name,
    /// Compresses and names a message of our own.
    Pack,
}

impl JobKind {
    /// All kinds.
    pub const ALL: [Self; 5] = [Self::Validate, Self::Seal, Self::Check, Self::Name, Self::Pack];

    /// Returns a short name for metrics, in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Validate => "validate",
            Self::Seal => "seal",
            Self::Check => "check",
            Self::Name => "name",
            Self::Pack => "pack",
        }
    }

    /// Returns `true` if a peer or a caller waits for the result. A driver runs such a job before
    /// one that checks a block of the past.
    pub const fn is_urgent(self) -> bool {
        !matches!(self, Self::Check)
    }
}

/// Result of a job.
#[derive(Clone, Debug)]
#[must_use = "the node waits for the result"]
pub struct JobResult {
    pub(super) id: JobId,
    pub(super) outcome: Outcome,
}

#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Validated(ValidationResult),
    Sealed(Result<Sealed, PublishError>),
    Checked(Result<Block, AnswerError>),
    Named(Named),
    /// The name, and the compressed message.
    Packed(Id, Bytes),
    CheckedChunk(Checked),
    Panicked,
}

impl Job {
    /// Returns the id of the job.
    pub const fn id(&self) -> JobId {
        self.id
    }

    /// Returns the purpose of the job.
    pub const fn kind(&self) -> JobKind {
        match self.work {
            Work::Validate(_) => JobKind::Validate,
            Work::Seal { .. } => JobKind::Seal,
            Work::Check(_) | Work::CheckChunk(_) => JobKind::Check,
            Work::Name(_) => JobKind::Name,
            Work::Pack { .. } => JobKind::Pack,
        }
    }

    /// Returns the approximate number of bytes to process, which determines the running time.
    pub fn size(&self) -> usize {
        match &self.work {
            Work::Validate(job) => job.size(),
            Work::Seal { envelope, .. } => {
                envelope.payload.transactions.iter().map(|raw| raw.len()).sum()
            }
            Work::Check(work) => work.size(),
            Work::Name(job) => job.size(),
            Work::Pack { contents, .. } => contents.len(),
            Work::CheckChunk(work) => work.size(),
        }
    }

    /// Runs the job: at most a few milliseconds for the largest message.
    pub fn run(self) -> JobResult {
        self.run_on(&OneThread)
    }

    /// Runs the job, in less time for a large block if there is more than one of `threads`.
    pub fn run_on(self, threads: &impl Threads) -> JobResult {
        let outcome = match self.work {
            Work::Validate(job) => Outcome::Validated(job.run_on(threads)),
            Work::Seal { chain_id, envelope } => Outcome::Sealed(seal(chain_id, &envelope)),
            Work::Check(work) => Outcome::Checked(work.run()),
            Work::Name(job) => Outcome::Named(job.run()),
            Work::Pack { topic, contents } => {
                let name = Unpacked::from_contents(&contents).message_id(&topic).into();
                Outcome::Packed(name, snappy::compress(&contents).into())
            }
            Work::CheckChunk(work) => Outcome::CheckedChunk(work.run()),
        };
        JobResult { id: self.id, outcome }
    }
}

impl JobResult {
    /// Returns the result of a job that panicked. A message is ignored then, see
    /// [`Reason::Panicked`](crate::gossip::Reason::Panicked).
    pub const fn panicked(id: JobId) -> Self {
        Self { id, outcome: Outcome::Panicked }
    }

    /// Returns the block if this is a validation that accepted it.
    pub fn verified(&self) -> Option<BlockId> {
        match &self.outcome {
            Outcome::Validated(result) => result.verified(),
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
