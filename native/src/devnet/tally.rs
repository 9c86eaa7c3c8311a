//! What one node of the devnet has done so far.
//!
//! # Bounds
//! Counters, one for each reason that there is, and the gaps that are open in the node's chain view,
//! which bounds them. Latencies are bounded where they are kept.

use super::latency::Latencies;
use super::outage::{Outage, Phase};
use alloy_primitives::B256;
use opp2p_core::chain::{BlockId, GapId};
use opp2p_core::gossip::{Acceptance, Reason};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Counters of one node, the sequencer or a follower.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// The last block that was handed on.
    pub(super) head: Option<BlockId>,
    /// Peers it is connected to.
    pub(super) peers: usize,
    /// Messages accepted.
    pub(super) accepted: u64,
    /// Messages not accepted, by the check that decided.
    pub(super) refused: BTreeMap<Reason, u64>,
    /// Published blocks that it holds.
    pub(super) received: u64,
    /// Those of them that came by sync, or while it caught up.
    pub(super) caught_up: u64,
    /// Publish to accept, of the others.
    pub(super) latencies: Latencies,
    /// What was handed on, and whether in order.
    pub(super) order: Order,
    /// Open gaps, each with the number of blocks that are missing.
    pub(super) gaps: BTreeMap<GapId, u64>,
    /// Gaps that ever opened; two that became one count as one.
    pub(super) gaps_opened: u64,
    /// Reorgs.
    pub(super) reorgs: u64,
    /// Equivocations that it saw.
    pub(super) equivocations: u64,
    /// If it was killed.
    pub(super) outage: Option<Outage>,
}

impl Tally {
    /// It holds one more published block; `latency` if it came by gossip, as it should.
    pub(super) fn holds_another(&mut self, latency: Option<Duration>) {
        self.received += 1;
        match latency {
            Some(latency) => self.latencies.record(latency),
            None => self.caught_up += 1,
        }
    }

    /// Where it is on the way from being killed to having caught up; `None` if it was never killed.
    pub(super) fn phase(&self) -> Option<Phase> {
        self.outage.as_ref().map(Outage::phase)
    }

    /// Whether it was killed and has not caught up since.
    pub(super) fn is_away(&self) -> bool {
        matches!(self.phase(), Some(Phase::Down | Phase::CatchingUp(_)))
    }

    /// Messages not accepted that gossip does this with.
    pub(super) fn refused(&self, acceptance: Acceptance) -> u64 {
        self.refused
            .iter()
            .filter(|(reason, _)| reason.acceptance() == acceptance)
            .map(|(_, count)| count)
            .sum()
    }

    /// How it stands while the newest published block is `newest`.
    pub(super) fn state(&self, newest: Option<u64>) -> State {
        match self.phase() {
            Some(Phase::Down) => return State::Down,
            Some(Phase::CatchingUp(to_go)) if !self.order.broken => return State::CatchingUp(to_go),
            _ => {}
        }
        let behind = match (self.head, newest) {
            (Some(head), Some(newest)) => newest.saturating_sub(head.number),
            (None, _) => return State::Waiting,
            (Some(_), None) => 0,
        };
        match self.gaps.values().sum() {
            0 if self.order.broken => State::Disordered,
            0 if behind == 0 && self.outage.is_some() => State::Live,
            0 if behind == 0 => State::InSync,
            0 => State::Behind(behind),
            missing => State::Gap(missing),
        }
    }
}

/// How a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It handed on no block yet.
    Waiting,
    /// Its head is the newest published block.
    InSync,
    /// The same, for one that was killed and has caught up.
    Live,
    /// It was killed.
    Down,
    /// It is back, and has so many blocks to go to the highest that it knows of; 0 until it knows of one.
    CatchingUp(u64),
    /// So many blocks are still to come.
    Behind(u64),
    /// So many blocks are missing below those that it holds.
    Gap(u64),
    /// It skipped, repeated or replaced a block at some time.
    Disordered,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting => f.pad("waiting"),
            Self::InSync => f.pad("in sync"),
            Self::Live => f.pad("live"),
            Self::Down => f.pad("down"),
            Self::CatchingUp(0) => f.pad("catching up"),
            Self::CatchingUp(blocks) => f.pad(&format!("catching up: {blocks} to go")),
            Self::Behind(blocks) => f.pad(&format!("{blocks} behind")),
            Self::Gap(blocks) => f.pad(&format!("gap of {blocks}")),
            Self::Disordered => f.pad("disorder"),
        }
    }
}

/// Watches whether blocks are handed on in ascending order, each once and none left out.
#[derive(Debug, Default)]
pub(super) struct Order {
    first: Option<u64>,
    next: Option<u64>,
    count: u64,
    broken: bool,
}

impl Order {
    /// The block `number` was handed on.
    pub(super) fn delivered(&mut self, number: u64) {
        self.first.get_or_insert(number);
        self.broken |= self.next.is_some_and(|next| next != number);
        self.next = number.checked_add(1);
        self.count += 1;
    }

    /// The node starts again from its store, whose head is `stored`. What it handed on above that is
    /// handed on again, rightly; what is stored without having been handed on was left out.
    pub(super) fn resume(&mut self, stored: Option<u64>) {
        let kept = match (self.first, stored) {
            (Some(first), Some(stored)) => stored.saturating_add(1).saturating_sub(first),
            _ => 0,
        };
        self.broken |= kept > self.count;
        self.count = kept;
        self.first = self.first.filter(|_| kept > 0);
        self.next = self.first.and(stored).and_then(|stored| stored.checked_add(1));
    }

    /// A block was handed on that is not the published one of its number.
    pub(super) fn delivered_another(&mut self) {
        self.broken = true;
    }

    /// Whether a block was skipped, repeated or replaced at some time.
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Whether exactly the blocks from `first` on were handed on, `count` of them, in order.
    pub(super) fn is_exactly(&self, first: Option<u64>, count: u64) -> bool {
        !self.broken && self.first == first && self.count == count
    }
}

/// What one follower is known to have done with one block. The hashes are kept because a follower may
/// be heard of before the publisher is.
#[derive(Clone, Debug, Default)]
pub(super) struct Mark {
    /// The block that it accepted first at this number, and when.
    pub(super) accepted: Option<(B256, Duration)>,
    /// The block that it handed on at this number.
    pub(super) delivered: Option<B256>,
    /// It came by sync, or while the follower caught up: when it came says nothing about gossip.
    pub(super) late: bool,
}

impl Mark {
    /// Whether the follower has this block.
    pub(super) fn holds(&self, hash: B256) -> bool {
        self.delivered == Some(hash) || self.accepted.is_some_and(|(accepted, _)| accepted == hash)
    }

    /// How long after `published` the follower accepted this block; `None` if it came another way than by
    /// gossip in its time.
    pub(super) fn latency(&self, hash: B256, published: Duration) -> Option<Duration> {
        let (accepted, at) = self.accepted.filter(|_| !self.late)?;
        (accepted == hash).then(|| at.saturating_sub(published))
    }
}
