//! Ids of recent messages, and their states. Not to be confused with
//! [`gossip::SeenBlocks`](crate::gossip::SeenBlocks), which counts blocks by height.
//!
//! # Bounds
//! [`MAX_SEEN`] ids for [`SEEN_TTL`]. If there are more, the oldest go. Each entry costs its sender
//! tokens and a job, so only many peers together can fill it, and a forgotten id means that a
//! message is judged again.

use super::Id;
use crate::gossip::SEEN_TTL;
use crate::time::Instant;
use std::collections::{BTreeMap, VecDeque};

/// Maximum number of ids kept.
pub const MAX_SEEN: usize = 65_536;

/// State of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It is being validated, as this entry of the intake.
    Judging(super::EntryId),
    /// It was accepted at this time, or is our own.
    Accepted(Instant),
    Rejected,
    Ignored,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    states: BTreeMap<Id, State>,
    /// Oldest first.
    ends: VecDeque<(Instant, Id)>,
}

impl Seen {
    pub(super) fn get(&self, id: &Id) -> Option<State> {
        self.states.get(id).copied()
    }

    /// Records a new state. The time for which an id is kept begins with its first state.
    pub(super) fn set(&mut self, now: Instant, id: Id, state: State) {
        if self.states.insert(id, state).is_none() {
            self.ends.push_back((now + SEEN_TTL, id));
            if self.ends.len() > MAX_SEEN {
                self.forget_oldest();
            }
        }
    }

    pub(super) fn expire(&mut self, now: Instant) {
        while self.ends.front().is_some_and(|(end, _)| *end <= now) {
            self.forget_oldest();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.states.len()
    }

    fn forget_oldest(&mut self) {
        if let Some((_, id)) = self.ends.pop_front() {
            self.states.remove(&id);
        }
    }
}
