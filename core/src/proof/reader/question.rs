//! One question to the endpoints: the order of the attempts, and the error if all fail.
//!
//! # Bounds
//! One attempt for each endpoint.

use std::time::Duration;

use super::config::ReaderConfig;
use super::endpoints::Endpoints;
use super::error::{Cause, Causes, ReadError};
use super::need::Need;
use super::output::ReadId;
use crate::time::Instant;

/// First pause before a lagging endpoint is asked again. It doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(150);
/// Maximum pause before a lagging endpoint is asked again.
const LONGEST_PAUSE: Duration = Duration::from_millis(1200);

/// State of the question at one endpoint.
#[derive(Clone, Debug)]
pub(super) enum Attempt {
    Untried,
    /// It was asked. `is_last` after it claimed to have the block: a further refusal is final.
    Asked {
        is_last: bool,
    },
    /// It refused for this reason, and then was asked for its newest block.
    Probed {
        reason: String,
    },
    /// It lags, and is asked again at `until`.
    Paused {
        until: Instant,
        head: u64,
    },
    Lags {
        head: u64,
    },
    Absent,
    Failed(String),
    /// It refused with this error.
    Refused(ReadError),
}

/// A question of a read.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) read: ReadId,
    pub(super) need: Need,
    /// By endpoint.
    pub(super) attempts: Vec<Attempt>,
    /// Maximum number of requests in flight.
    width: usize,
    /// Time at which `width` grows by one.
    widens_at: Option<Instant>,
    /// Pause before the next attempt at a lagging endpoint.
    pause: Duration,
    /// Time until which a lagging endpoint is asked again.
    lag_until: Instant,
}

impl Question {
    pub(super) fn new(
        read: ReadId,
        need: Need,
        config: &ReaderConfig,
        (now, lag_until): (Instant, Instant),
        distrusted: &[usize],
    ) -> Self {
        let is_for_all = need.is_for_all();
        let mut attempts = vec![Attempt::Untried; config.endpoints];
        for endpoint in distrusted {
            if let Some(attempt) = attempts.get_mut(*endpoint) {
                *attempt = Attempt::Failed("it names a block that is not on the chain".into());
            }
        }
        Self {
            read,
            need,
            attempts,
            width: if is_for_all { config.endpoints } else { config.race.max(1) },
            widens_at: (!is_for_all).then(|| now + config.hedge),
            pause: FIRST_PAUSE,
            lag_until,
        }
    }

    fn in_flight(&self) -> usize {
        let in_flight =
            |attempt: &&Attempt| matches!(attempt, Attempt::Asked { .. } | Attempt::Probed { .. });
        self.attempts.iter().filter(in_flight).count()
    }

    fn untried(&self) -> impl Iterator<Item = usize> + '_ {
        let each = self.attempts.iter().enumerate();
        each.filter(|(_, attempt)| matches!(attempt, Attempt::Untried)).map(|(index, _)| index)
    }

    /// Returns the endpoint to ask now, if any.
    pub(super) fn next(
        &mut self,
        now: Instant,
        endpoints: &Endpoints,
        hedge: Duration,
    ) -> Option<usize> {
        if self.widens_at.is_some_and(|at| at <= now) {
            self.width = self.width.saturating_add(1).min(endpoints.len());
            self.widens_at = (self.width < endpoints.len()).then(|| now + hedge);
        }
        let is_due =
            |attempt: &Attempt| matches!(attempt, Attempt::Paused { until, .. } if *until <= now);
        let mut each = self.attempts.iter().enumerate();
        let due = each.find(|(index, attempt)| is_due(attempt) && !endpoints.is_dropped(*index));
        if let Some((due, _)) = due {
            return Some(due);
        }
        if self.in_flight() >= self.width {
            return None;
        }
        endpoints.best(self.untried(), now)
    }

    /// Notes that the endpoint lags. It is asked again later, unless the waiting time is over.
    pub(super) fn lags(&mut self, endpoint: usize, head: u64, now: Instant) {
        let until = now + self.pause;
        self.attempts[endpoint] = if until <= self.lag_until {
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
            Attempt::Paused { until, head }
        } else {
            Attempt::Lags { head }
        };
    }

    /// Returns `true` if no endpoint remains to be asked or to answer.
    pub(super) fn is_over(&self, endpoints: &Endpoints) -> bool {
        self.attempts.iter().enumerate().all(|(index, attempt)| match attempt {
            Attempt::Asked { .. } | Attempt::Probed { .. } => false,
            Attempt::Untried | Attempt::Paused { .. } => endpoints.is_dropped(index),
            _ => true,
        })
    }

    /// Returns the time of the next attempt, unless an answer comes first.
    pub(super) fn deadline(&self, endpoints: &Endpoints) -> Option<Instant> {
        let each = self.attempts.iter().enumerate();
        let pauses = each.filter_map(|(index, attempt)| match attempt {
            Attempt::Paused { until, .. } if !endpoints.is_dropped(index) => Some(*until),
            _ => None,
        });
        let widens_at = self.widens_at.filter(|_| self.untried().next().is_some());
        pauses.chain(widens_at).min()
    }

    /// Returns the highest block number that a lagging endpoint claims to have.
    pub(super) fn newest(&self) -> Option<u64> {
        let each = self.attempts.iter();
        each.filter_map(|attempt| match attempt {
            Attempt::Lags { head } | Attempt::Paused { head, .. } => Some(*head),
            _ => None,
        })
        .max()
    }

    /// Returns `true` if an endpoint claims not to have the data.
    pub(super) fn is_absent(&self) -> bool {
        self.attempts.iter().any(|attempt| matches!(attempt, Attempt::Absent))
    }

    /// Returns the error for a question without a true answer.
    pub(super) fn error(&self, endpoints: &Endpoints) -> ReadError {
        let refused = self.attempts.iter().find_map(|attempt| match attempt {
            Attempt::Refused(error) => Some(error.clone()),
            _ => None,
        });
        if let Some(refused) = refused {
            return refused;
        }
        let causes = self.attempts.iter().enumerate().map(|(index, attempt)| match attempt {
            _ if endpoints.is_dropped(index) => Cause::Dropped,
            Attempt::Lags { head } | Attempt::Paused { head, .. } => Cause::Lags { head: *head },
            Attempt::Absent => Cause::Absent,
            Attempt::Failed(reason) | Attempt::Probed { reason } => Cause::Failed(reason.clone()),
            Attempt::Untried | Attempt::Asked { .. } | Attempt::Refused(_) => {
                Cause::Failed("it did not answer in time".into())
            }
        });
        let causes: Vec<_> = causes.collect();
        let working = || causes.iter().filter(|cause| **cause != Cause::Dropped);
        if !causes.is_empty() && working().next().is_none() {
            return ReadError::AllDropped;
        }
        let all_lag = working().all(|cause| matches!(cause, Cause::Lags { .. }));
        match (self.need.executed(), self.newest()) {
            (Some(number), Some(newest)) if all_lag => ReadError::Lagging { number, newest },
            _ => {
                let method = self.need.method().into_owned();
                ReadError::Failed { method, causes: Causes(causes) }
            }
        }
    }
}
