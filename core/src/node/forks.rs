//! Forks of the configuration that this software does not know: from such a fork's time on, blocks
//! may follow other rules.
//!
//! # Bounds
//! Holds two times. The configuration holds the forks.

use super::{Event, Node, Output};
use crate::time::{Instant, Now};
use std::time::Duration;

/// A fork of the configuration that this software does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownFork {
    /// The configuration field that holds its time (`interop_time`).
    pub name: String,
    /// Its activation, in Unix seconds.
    pub time: u64,
    /// Whether that time has passed.
    pub is_active: bool,
}

/// Reports unknown forks at the start, and again when their time has come.
#[derive(Debug, Default)]
pub(super) struct ForkWatch {
    /// Unix seconds up to which activations were reported, or `None` before the start.
    told_until: Option<u64>,
    /// Activation of the next unknown fork, as of the last call.
    next: Option<Instant>,
}

impl ForkWatch {
    pub(super) const fn next_wakeup(&self) -> Option<Instant> {
        self.next
    }
}

impl Node {
    /// Returns the forks of the configuration that this software does not know, as of `now`.
    pub fn unknown_forks(&self, now: Now) -> impl Iterator<Item = UnknownFork> + '_ {
        let unix = now.unix_seconds();
        self.chain.unknown_forks.iter().map(move |(name, &time)| UnknownFork {
            name: name.clone(),
            time,
            is_active: time <= unix,
        })
    }

    /// Reports the unknown forks whose time has come.
    pub(super) fn settle_forks(&mut self, now: Now) {
        let unix = now.unix_seconds();
        let told = self.forks.told_until;
        let is_due = |time| told.is_none_or(|told| told < time && time <= unix);
        for (name, &time) in self.chain.unknown_forks.iter().filter(|(_, time)| is_due(**time)) {
            let fork = UnknownFork { name: name.clone(), time, is_active: time <= unix };
            self.outputs.push_back(Output::Event(Event::UnknownFork(fork)));
        }
        // A clock that is set back does not make the same fork activate twice.
        self.forks.told_until = told.max(Some(unix));
        let next = self.chain.unknown_forks.values().copied().filter(|time| *time > unix).min();
        self.forks.next =
            next.map(|time| now.monotonic + Duration::from_secs(time).saturating_sub(now.unix));
    }
}
