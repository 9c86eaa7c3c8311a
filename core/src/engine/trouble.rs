//! Handling of failed calls and of recovery from them.
//!
//! | answer | action |
//! |---|---|
//! | none, or an error without special handling | pauses that double |
//! | -38002, invalid forkchoice state | one retry with the head alone; then pauses |
//! | -38005, unsupported fork; -32601, no such method | the neighbouring method; then pauses |
//! | INVALID | the block is not offered again, see `follow.rs` |
//!
//! After [`FORK_REFUSALS`] answers of -38005 the engine is considered to have another fork
//! schedule, and is checked again every [`MISMATCH_PAUSE`]. No failure stops the feeding for good.

use super::methods::Method;
use super::{
    Activity, Engine, EngineEvent, EngineFailure, FIRST_PAUSE, FORK_REFUSALS, LONGEST_PAUSE,
    MISMATCH_PAUSE, Mismatch, Phase,
};
use crate::chain::Labels;
use crate::time::Now;

/// Kind of call. A failure of one kind ends when a call of that kind succeeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Read,
    Offer,
    Choose,
    Build,
}

/// Reason why the engine is not being fed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    what: What,
    call: Call,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Away(EngineFailure),
    Mismatch(Mismatch),
}

impl Trouble {
    pub(super) fn activity(&self) -> Activity {
        match &self.what {
            What::Away(failure) => Activity::Away(failure.clone()),
            What::Mismatch(mismatch) => Activity::Mismatched(mismatch.clone()),
        }
    }
}

impl Engine {
    /// Handles a successful call.
    pub(super) fn succeeded(&mut self, call: Call) {
        if call != Call::Read {
            self.fork_refusals = 0;
        }
        if self.trouble.as_ref().is_some_and(|trouble| trouble.call != call) {
            return;
        }
        self.pause = FIRST_PAUSE;
        let had_trouble = self.trouble.take().is_some();
        if !self.is_ready || had_trouble {
            self.is_ready = true;
            if let Some(tip) = self.tip {
                self.tell(EngineEvent::Ready(tip.id));
            }
        }
    }

    /// Ends the failure of an offer or choice: the engine answers, and there is nothing to offer or
    /// to choose, so the failed call is no longer needed.
    pub(super) fn settled(&mut self) {
        if let Some(call @ (Call::Offer | Call::Choose)) =
            self.trouble.as_ref().map(|trouble| trouble.call)
        {
            self.failed_at = None;
            self.succeeded(call);
        }
    }

    pub(super) fn failed(&mut self, now: Now, call: Call, failure: EngineFailure) {
        self.may_have_restarted |= matches!(failure, EngineFailure::Unreachable(_));
        self.phase = Phase::Pause { until: now.monotonic + self.pause };
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        // A failure of the same kind with a different text is not reported again.
        let is_news = !matches!(
            &self.trouble,
            Some(Trouble { what: What::Away(before), .. })
                if std::mem::discriminant(before) == std::mem::discriminant(&failure)
        );
        self.trouble = Some(Trouble { what: What::Away(failure.clone()), call });
        if is_news {
            self.tell(EngineEvent::Failed(failure));
        }
    }

    /// Handles a failed call of this method.
    pub(super) fn failed_method(
        &mut self,
        now: Now,
        call: Call,
        method: Method,
        failure: EngineFailure,
    ) {
        match failure {
            EngineFailure::OtherFork(_) | EngineFailure::NoMethod(_)
                if self.methods.refuse(method) =>
            {
                // The next method is called at once.
                self.phase = Phase::Idle;
            }
            EngineFailure::OtherFork(why) => {
                self.fork_refusals = self.fork_refusals.saturating_add(1);
                if self.fork_refusals < FORK_REFUSALS {
                    self.failed(now, call, EngineFailure::OtherFork(why));
                } else {
                    self.mismatched(now, call, Mismatch::Forks(why));
                }
            }
            failure => self.failed(now, call, failure),
        }
    }

    /// Handles the engine's refusal (-38002) of these labels, or of a head without labels.
    pub(super) fn failed_labels(
        &mut self,
        now: Now,
        call: Call,
        labels: Option<Labels>,
        reason: String,
    ) {
        let Some(labels) = labels else {
            return self.failed(now, call, EngineFailure::Forkchoice(reason));
        };
        (self.refused_labels, self.is_bare) = (Some(labels), true);
        // The engine accepts its own labels; they are used until the source reports labels again.
        self.has_source = false;
        self.phase = Phase::Pause { until: now.monotonic + FIRST_PAUSE };
        if !self.told_labels {
            self.told_labels = true;
            self.tell(EngineEvent::LabelsRefused { reason });
        }
    }

    /// Handles the engine's acceptance of a head with these labels, or without labels.
    pub(super) const fn took_labels(&mut self, labels: Option<Labels>) {
        self.is_bare = false;
        if labels.is_some() {
            (self.refused_labels, self.told_labels) = (None, false);
        }
    }

    pub(super) fn mismatched(&mut self, now: Now, call: Call, mismatch: Mismatch) {
        self.phase = Phase::Pause { until: now.monotonic + MISMATCH_PAUSE };
        let what = What::Mismatch(mismatch.clone());
        let is_news = self.trouble.as_ref().is_none_or(|trouble| trouble.what != what);
        self.trouble = Some(Trouble { what, call });
        if is_news {
            self.tell(EngineEvent::Mismatched(mismatch));
        }
    }
}
