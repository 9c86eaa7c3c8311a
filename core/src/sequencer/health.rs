//! Health of publishing: the newest failure to sign and to send our own blocks, until an attempt
//! succeeds.

use crate::time::Instant;
use std::time::Duration;

/// Time without another attempt after which a failure is forgotten.
pub const FAILURE_TTL: Duration = Duration::from_secs(600);

/// Newest failures of the publish queue: see [`PublishQueue::health`].
///
/// [`PublishQueue::health`]: super::PublishQueue::health
#[derive(Clone, Debug, Default)]
pub struct PublishHealth {
    signing: Option<Failure>,
    sending: Option<Failure>,
}

#[derive(Clone, Debug)]
struct Failure {
    text: String,
    at: Instant,
}

impl Failure {
    fn end(&self) -> Instant {
        self.at + FAILURE_TTL
    }
}

impl PublishHealth {
    pub(super) const fn new() -> Self {
        Self { signing: None, sending: None }
    }

    /// Returns the reason why the last attempt to sign a block failed, as one clause.
    pub fn signing(&self, now: Instant) -> Option<&str> {
        newest(self.signing.as_ref(), now)
    }

    /// Returns the reason why the last attempt to send a block failed, as one clause.
    pub fn sending(&self, now: Instant) -> Option<&str> {
        newest(self.sending.as_ref(), now)
    }

    /// Returns the time at which the next failure is forgotten.
    pub(crate) fn next_wakeup(&self, now: Instant) -> Option<Instant> {
        let failures = [&self.signing, &self.sending];
        failures.into_iter().flatten().map(Failure::end).filter(|end| now < *end).min()
    }

    pub(super) fn not_signed(&mut self, now: Instant, text: String) {
        self.signing = Some(Failure { text, at: now });
    }

    pub(super) fn signed(&mut self) {
        self.signing = None;
    }

    pub(super) fn not_sent(&mut self, now: Instant, text: String) {
        self.sending = Some(Failure { text, at: now });
    }

    pub(super) fn sent(&mut self) {
        self.sending = None;
    }
}

fn newest(failure: Option<&Failure>, now: Instant) -> Option<&str> {
    failure.filter(|failure| now < failure.end()).map(|failure| failure.text.as_str())
}
