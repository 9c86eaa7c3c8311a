//! Counters of one devnet node.
//!
//! # Bounds
//! A fixed set of counters, one for each possible reason, and the open gaps of the node's chain
//! view, which limits their number. Latencies are bounded in their own module.

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
    /// The last block that was delivered.
    pub(super) head: Option<BlockId>,
    /// Number of connected peers.
    pub(super) peers: usize,
    /// Number of accepted messages.
    pub(super) accepted: u64,
    /// Number of messages that were not accepted, by the deciding check.
    pub(super) refused: BTreeMap<Reason, u64>,
    /// Number of published blocks that it holds.
    pub(super) received: u64,
    /// Number of those that came by sync, or while the node caught up.
    pub(super) caught_up: u64,
    /// Latencies from publication to acceptance of the other blocks.
    pub(super) latencies: Latencies,
    /// Order of the delivered blocks.
    pub(super) order: Order,
    /// Open gaps with their numbers of missing blocks.
    pub(super) gaps: BTreeMap<GapId, u64>,
    /// Number of gaps ever opened; two that merged count as one.
    pub(super) gaps_opened: u64,
    /// Number of reorgs.
    pub(super) reorgs: u64,
    /// Number of equivocations that it saw.
    pub(super) equivocations: u64,
    /// Number of peers that it banned for their scores.
    pub(super) bans: u64,
    /// Its last outage, if it was killed.
    pub(super) outage: Option<Outage>,
}

impl Tally {
    /// Records one more published block that the node holds; `latency` is set if the block came by
    /// gossip in time.
    pub(super) fn holds_another(&mut self, latency: Option<Duration>) {
        self.received += 1;
        match latency {
            Some(latency) => self.latencies.record(latency),
            None => self.caught_up += 1,
        }
    }

    /// Returns the stage of the node's outage; `None` if it was never killed.
    pub(super) fn phase(&self) -> Option<Phase> {
        self.outage.as_ref().map(Outage::phase)
    }

    /// Returns `true` if the node was killed and has not caught up since.
    pub(super) fn is_away(&self) -> bool {
        matches!(self.phase(), Some(Phase::Down | Phase::CatchingUp(_)))
    }

    /// Returns the number of messages that were refused with this acceptance.
    pub(super) fn refused(&self, acceptance: Acceptance) -> u64 {
        self.refused
            .iter()
            .filter(|(reason, _)| reason.acceptance() == acceptance)
            .map(|(_, count)| count)
            .sum()
    }

    /// Returns the node's state while the newest published block is `newest`.
    pub(super) fn state(&self, newest: Option<u64>) -> State {
        match self.phase() {
            Some(Phase::Down) => return State::Down,
            Some(Phase::CatchingUp(to_go)) if !self.order.broken => {
                return State::CatchingUp(to_go);
            }
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

/// State of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The node has not delivered a block yet.
    Waiting,
    /// The node's head is the newest published block.
    InSync,
    /// The node's head is the newest published block, after it was killed and caught up.
    Live,
    /// The node was killed.
    Down,
    /// The node is back, and is this number of blocks behind the highest that it knows; 0 until it
    /// knows of a block.
    CatchingUp(u64),
    /// This number of blocks has yet to arrive.
    Behind(u64),
    /// This number of blocks is missing below those that the node holds.
    Gap(u64),
    /// The node skipped, repeated or replaced a block at some time.
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

/// Checker that blocks are delivered in ascending order, each once, without omissions.
#[derive(Debug, Default)]
pub(super) struct Order {
    first: Option<u64>,
    next: Option<u64>,
    count: u64,
    broken: bool,
}

impl Order {
    /// Records that the block `number` was delivered.
    pub(super) fn delivered(&mut self, number: u64) {
        self.first.get_or_insert(number);
        self.broken |= self.next.is_some_and(|next| next != number);
        self.next = number.checked_add(1);
        self.count += 1;
    }

    /// Records a restart from the store, whose head is `stored`, or a reorg with that common
    /// ancestor. Blocks above it may be delivered again. A block up to it that was never delivered
    /// counts as skipped.
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

    /// Records a block other than the one published at its number.
    pub(super) fn delivered_another(&mut self) {
        self.broken = true;
    }

    /// Returns `true` if a block was skipped, repeated or replaced at some time.
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Returns `true` if exactly `count` blocks from `first` on were delivered, in order.
    pub(super) fn is_exactly(&self, first: Option<u64>, count: u64) -> bool {
        !self.broken && self.first == first && self.count == count
    }
}

/// State of one block at one follower. The hashes are kept because a follower's event may arrive
/// before the publisher's.
#[derive(Clone, Debug, Default)]
pub(super) struct Mark {
    /// The first block that it accepted at this number, and the time.
    pub(super) accepted: Option<(B256, Duration)>,
    /// The block that it delivered at this number.
    pub(super) delivered: Option<B256>,
    /// Whether the block came by sync, or while the follower caught up: its arrival time then says
    /// nothing about gossip.
    pub(super) late: bool,
}

impl Mark {
    /// Returns `true` if the follower has this block.
    pub(super) fn holds(&self, hash: B256) -> bool {
        self.delivered == Some(hash) || self.accepted.is_some_and(|(accepted, _)| accepted == hash)
    }

    /// Returns the time from `published` until the follower accepted this block; `None` if the
    /// block did not come by gossip in time.
    pub(super) fn latency(&self, hash: B256, published: Duration) -> Option<Duration> {
        let (accepted, at) = self.accepted.filter(|_| !self.late)?;
        (accepted == hash).then(|| at.saturating_sub(published))
    }
}
