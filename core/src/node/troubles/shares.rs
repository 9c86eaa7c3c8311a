//! The shares of accepted and refused messages in the last minute or so.
//!
//! Messages that say nothing about this node do not count: those already seen, those dropped for
//! lack of room, and those whose reason has a trouble of its own.
//!
//! # Bounds
//! Holds two periods, each with one counter for each reason and two senders.

use crate::gossip::{Acceptance, Reason};
use crate::peers::PeerId;
use crate::sorted::SortedMap;
use crate::time::Instant;
use crate::trouble::Trouble;
use std::time::Duration;

/// Minimum length of a period.
const PERIOD: Duration = Duration::from_secs(30);
/// The same, in block intervals.
const INTERVALS: u32 = 10;
/// Minimum number of messages for a judgement.
const MESSAGES: u64 = 20;
/// Minimum number of messages if none is accepted: a sender is banned after one or two.
const MESSAGES_WITHOUT_BLOCKS: u64 = 3;

/// The present period and the one before.
#[derive(Debug)]
pub(super) struct Shares {
    now: Period,
    before: Option<Period>,
    ends: Instant,
}

#[derive(Debug)]
struct Period {
    began: Instant,
    accepted: u64,
    refused: SortedMap<Reason, u64>,
    sender: Option<PeerId>,
    has_more_senders: bool,
}

impl Period {
    const fn new(began: Instant) -> Self {
        let refused = SortedMap::new();
        Self { began, accepted: 0, refused, sender: None, has_more_senders: false }
    }
}

/// Returns `true` if a refusal for this reason may show a fault of this node that no other trouble
/// names.
const fn counts(reason: Reason) -> bool {
    match reason {
        Reason::TooOldHere | Reason::HashInDoubt | Reason::UnknownFork | Reason::Panicked => true,
        _ => matches!(reason.acceptance(), Acceptance::Reject),
    }
}

impl Shares {
    pub(super) fn new(now: Instant, interval: Duration) -> Self {
        Self { now: Period::new(now), before: None, ends: now + length(interval) }
    }

    /// Begins a new period if the present one is over. Must be called before everything else, so
    /// that it does not matter how often the node wakes up.
    pub(super) fn turn(&mut self, now: Instant, interval: Duration) {
        while self.ends <= now {
            let ended = std::mem::replace(&mut self.now, Period::new(self.ends));
            let length = length(interval);
            let is_long_over = now.since(self.ends) >= length;
            self.before = Some(ended).filter(|_| !is_long_over);
            self.ends = if is_long_over { now + length } else { self.ends + length };
        }
    }

    /// Counts a message that was accepted.
    pub(super) const fn accepted(&mut self) {
        self.now.accepted = self.now.accepted.saturating_add(1);
    }

    /// Counts a message that was not accepted.
    pub(super) fn refused(&mut self, from: PeerId, reason: Reason) {
        if !counts(reason) {
            return;
        }
        let number = self.now.refused.get_or_insert_with(reason, || 0);
        *number = number.saturating_add(1);
        let sender = *self.now.sender.get_or_insert(from);
        self.now.has_more_senders |= sender != from;
    }

    /// Returns the trouble if too many messages are refused while too few are accepted, where
    /// `peers` are connected, and the time at which that changes if nothing happens before.
    pub(super) fn judge(
        &mut self,
        now: Instant,
        interval: Duration,
        peers: usize,
    ) -> (Option<Trouble>, Option<Instant>) {
        self.turn(now, interval);
        let periods = || self.before.iter().chain([&self.now]);
        let accepted: u64 = periods().map(|period| period.accepted).sum();
        let mut reasons: SortedMap<Reason, u64> = SortedMap::new();
        for (reason, number) in periods().flat_map(|period| period.refused.iter()) {
            *reasons.get_or_insert_with(*reason, || 0) += number;
        }
        let Some((_, reason)) = reasons.iter().map(|(reason, number)| (*number, *reason)).max()
        else {
            return (None, None);
        };
        let all: u64 = reasons.iter().map(|(_, number)| number).sum();
        let began = self.before.as_ref().map_or(self.now.began, |period| period.began);
        // More than twice as many blocks were due.
        let intervals = u32::try_from(accepted.saturating_mul(2).saturating_add(1));
        let few_at = began + interval.saturating_mul(intervals.unwrap_or(u32::MAX));
        let mut senders = periods().filter_map(|period| period.sender);
        let first = senders.next();
        let are_of_many = peers <= 1
            || senders.any(|sender| Some(sender) != first)
            || periods().any(|period| period.has_more_senders);
        let is_high = all > accepted && accepted + all >= MESSAGES;
        let is_all = accepted == 0 && all >= MESSAGES_WITHOUT_BLOCKS;
        let trouble = Trouble::Refused { reason, refused: all, of: accepted + all };
        let is_refused = few_at <= now && are_of_many && (is_high || is_all);
        let next = if few_at <= now { self.ends } else { self.ends.min(few_at) };
        (Some(trouble).filter(|_| is_refused), Some(next))
    }
}

fn length(interval: Duration) -> Duration {
    PERIOD.max(interval * INTERVALS)
}
