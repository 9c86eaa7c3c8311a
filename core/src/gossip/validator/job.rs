//! Validation of one message, as a job that runs on any thread.

use crate::chain::BlockId;
use crate::gossip::{Check, Judged, OneThread, Reason, Refusal, Rules, Threads, Unpacked};
use crate::payload::PayloadVersion;
use std::sync::Arc;

/// Id of a validation, assigned by the [`Validator`](super::Validator) and never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValidationId(pub(super) u64);

/// The stateless checks of one message: they own their data, run on any thread, and always end.
///
/// Run the job and pass its result to [`Validator::job_done`](super::Validator::job_done). If the
/// job panics, which would be a defect, pass [`ValidationResult::panicked`] instead. A job whose
/// result never arrives holds its slot for ever.
#[derive(Clone, Debug)]
#[must_use = "a job holds its slot until its result is passed to the validator"]
pub struct ValidationJob {
    pub(super) id: ValidationId,
    pub(super) rules: Arc<Rules>,
    pub(super) topic: PayloadVersion,
    pub(super) message: Unpacked,
    /// Unix seconds.
    pub(super) now: u64,
    /// Whether its transactions may be hashed before the signature is known to be good.
    pub(super) is_trusting: bool,
    /// Whether the signer is wanted even if the timestamp is refused.
    pub(super) names_untimely: bool,
}

impl ValidationJob {
    /// Returns the id of the validation.
    pub const fn id(&self) -> ValidationId {
        self.id
    }

    /// Returns the number of bytes to process, which determines the running time.
    pub fn size(&self) -> usize {
        self.message.size()
    }

    /// Runs the checks: at most a few milliseconds for the largest message.
    pub fn run(self) -> ValidationResult {
        self.run_on(&OneThread)
    }

    /// Runs the checks, in less time for a large block if there is more than one of `threads`.
    pub fn run_on(self, threads: &impl Threads) -> ValidationResult {
        let Self { id, rules, topic, message, now, is_trusting, names_untimely } = self;
        let threads = is_trusting.then_some(threads);
        let check = Check { threads, rules: &rules, version: topic, message, now, names_untimely };
        ValidationResult { id, judged: check.judge() }
    }
}

/// Result of a [`ValidationJob`].
#[derive(Clone, Debug)]
#[must_use = "the validator waits for the result"]
pub struct ValidationResult {
    pub(super) id: ValidationId,
    pub(super) judged: Result<Judged, Refusal>,
}

impl ValidationResult {
    /// Returns the result of a job that panicked: the message is ignored, see
    /// [`Reason::Panicked`].
    pub fn panicked(id: ValidationId) -> Self {
        Self { id, judged: Err(Reason::Panicked.into()) }
    }

    /// Returns the block if it passed all checks.
    pub fn verified(&self) -> Option<BlockId> {
        let judged = self.judged.as_ref().ok().filter(|judged| judged.doubt().is_none())?;
        Some(BlockId::of(&judged.verified.block))
    }
}
