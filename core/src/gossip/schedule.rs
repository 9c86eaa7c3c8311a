//! Rules that depend on the chain's fork schedule.
//!
//! A schedule can be stale: a fork was scheduled after this software was built, or a configuration
//! file lacks one. Every honest block then breaks one of these rules, and every honest peer sends
//! such blocks. Therefore these rules never count against a sender. They are checked last, after
//! the block's signature and hash: at that point only the schedule can be wrong, because the
//! sequencer decides which fork a block belongs to.

use super::{Reason, Rules};
use crate::chain::Fork;
use crate::payload::{BaseTime, Block, PayloadVersion};
use std::fmt;

/// A rule that depends on the fork schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ScheduleRule {
    /// Blob gas used is zero before Jovian.
    BlobGas,
    /// No block has a [`BaseTime`] deposit before Denim.
    BaseTimeEarly,
    /// Each block has a [`BaseTime`] deposit from Denim on.
    BaseTimeMissing,
    /// From Denim on, the header's timestamp follows from the number.
    Timestamp,
    /// From Denim on, the milliseconds of the time follow from the number.
    Millis,
    /// The source hash of the [`BaseTime`] deposit follows from the number.
    BaseTimeSource,
    /// The payload's version follows from the timestamp. Nodes do not refuse a gossiped block for
    /// this: each decodes a message by the version of its topic.
    Version,
}

impl ScheduleRule {
    /// All rules, in the order of the checks.
    pub const ALL: [Self; 7] = [
        Self::BlobGas,
        Self::BaseTimeEarly,
        Self::BaseTimeMissing,
        Self::Timestamp,
        Self::Millis,
        Self::BaseTimeSource,
        Self::Version,
    ];

    /// Returns a short name for metrics and JSON: lower case, words joined by `_`.
    pub const fn name(self) -> &'static str {
        match self.reason() {
            Some(reason) => reason.name(),
            None => "fork_version",
        }
    }

    /// Returns the reason for ignoring a message that breaks the rule, or `None` if such messages
    /// are accepted.
    pub const fn reason(self) -> Option<Reason> {
        match self {
            Self::BlobGas => Some(Reason::ForkBlobGas),
            Self::BaseTimeEarly => Some(Reason::ForkBaseTimeEarly),
            Self::BaseTimeMissing => Some(Reason::ForkBaseTimeMissing),
            Self::Timestamp => Some(Reason::ForkTimestamp),
            Self::Millis => Some(Reason::ForkMillis),
            Self::BaseTimeSource => Some(Reason::ForkBaseTimeSource),
            Self::Version => None,
        }
    }
}

impl fmt::Display for ScheduleRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A rule of our fork schedule that a block breaks, although its hash is correct and the sequencer
/// signed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScheduleBreach {
    /// The broken rule.
    pub rule: ScheduleRule,
    /// The fork whose time in our schedule may be wrong.
    pub fork: Fork,
    /// Activation time of that fork in our schedule, in Unix seconds, or `None` if our schedule
    /// lacks the fork.
    pub activation: Option<u64>,
    /// The block's number.
    pub number: u64,
    /// Timestamp of the header, in Unix seconds.
    pub timestamp: u64,
    /// The block's value: the blob gas, the timestamp, the milliseconds, or the number of the
    /// payload's version; 0 for the other rules.
    pub found: u64,
    /// The value that our schedule requires, in the same unit.
    pub expected: u64,
}

impl ScheduleBreach {
    /// Returns the first rule that the block breaks, or `None` if it breaks none.
    pub fn of(rules: &Rules, block: &Block) -> Option<Self> {
        let breach = |rule, fork, found, expected| Self {
            rule,
            fork,
            activation: rules.forks.activation(fork),
            number: block.number(),
            timestamp: block.timestamp(),
            found,
            expected,
        };
        let used = block.payload().blob_gas_used().unwrap_or(0);
        if used != 0 && !rules.forks.is_active(Fork::Jovian, block.timestamp()) {
            return Some(breach(ScheduleRule::BlobGas, Fork::Jovian, used, 0));
        }
        if let Some((rule, found, expected)) = base_time(rules, block) {
            return Some(breach(rule, Fork::Denim, found, expected));
        }
        let found = block.version();
        let expected = PayloadVersion::at(&rules.forks, block.timestamp());
        // The newer of the two layouts identifies the fork: our time for it is too early or too
        // late.
        let fork = fork_of(found.max(expected));
        (found != expected).then(|| {
            breach(ScheduleRule::Version, fork, found.number().into(), expected.number().into())
        })
    }

    /// Returns the requirement of our schedule, as one clause.
    pub fn schedule_says(&self) -> String {
        let Self { fork, expected, number, .. } = self;
        let activation = match self.activation {
            Some(time) => format!("{fork} activates at {time}"),
            None => format!("{fork} is not planned"),
        };
        let detail = match self.rule {
            ScheduleRule::BlobGas => format!("and blob gas used is {expected} before it"),
            ScheduleRule::BaseTimeEarly => "and no block has a BaseTime deposit before it".into(),
            ScheduleRule::BaseTimeMissing => format!("and block {number} has a BaseTime deposit"),
            ScheduleRule::Timestamp => format!("and block {number} has the timestamp {expected}"),
            ScheduleRule::Millis => format!("and block {number} has {expected} milliseconds"),
            ScheduleRule::BaseTimeSource => {
                format!("and the source hash is {}", BaseTime::source_hash(self.number))
            }
            ScheduleRule::Version => {
                format!("and a block of this time is a v{expected} payload")
            }
        };
        format!("{activation}, {detail}")
    }

    /// Returns advice for the operator, as one clause.
    pub fn remedy(&self) -> String {
        remedy(self.rule, self.fork)
    }
}

/// Returns advice for the operator if honest blocks break this rule, as one clause.
pub(crate) fn remedy(rule: ScheduleRule, fork: Fork) -> String {
    match rule {
        ScheduleRule::BaseTimeSource => "install a newer version".into(),
        _ => format!("correct the time of {fork} in the settings, or install a newer version"),
    }
}

impl fmt::Display for ScheduleBreach {
    /// Describes the breach, as one clause.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { found, number, timestamp, .. } = self;
        write!(f, "block {number} of {timestamp} ")?;
        match self.rule {
            ScheduleRule::BlobGas => write!(f, "uses {found} blob gas"),
            ScheduleRule::BaseTimeEarly => f.write_str("has a BaseTime deposit"),
            ScheduleRule::BaseTimeMissing => f.write_str("has no BaseTime deposit"),
            ScheduleRule::Timestamp => {
                f.write_str("has a timestamp that does not match its number")
            }
            ScheduleRule::Millis => write!(f, "has {found} milliseconds"),
            ScheduleRule::BaseTimeSource => {
                f.write_str("has a BaseTime deposit with a wrong source hash")
            }
            ScheduleRule::Version => write!(f, "is a v{found} payload"),
        }
    }
}

/// Returns the fork that introduced the layout. Every chain begins with V1, so V1 maps to the next
/// fork.
const fn fork_of(version: PayloadVersion) -> Fork {
    match version {
        PayloadVersion::V1 | PayloadVersion::V2 => Fork::Canyon,
        PayloadVersion::V3 => Fork::Ecotone,
        PayloadVersion::V4 => Fork::Isthmus,
    }
}

/// Returns the first rule of Denim that the block breaks, the block's value and the expected value.
fn base_time(rules: &Rules, block: &Block) -> Option<(ScheduleRule, u64, u64)> {
    let schedule = &rules.schedule;
    let is_denim = schedule.first_with_base_time().is_some_and(|first| block.number() >= first);
    let Some(time) = block.base_time() else {
        return is_denim.then_some((ScheduleRule::BaseTimeMissing, 0, 0));
    };
    if !is_denim {
        return Some((ScheduleRule::BaseTimeEarly, 0, 0));
    }
    let timestamp = schedule.timestamp_of(block.number()).unwrap_or(u64::MAX);
    if timestamp != block.timestamp() {
        return Some((ScheduleRule::Timestamp, block.timestamp(), timestamp));
    }
    let millis = schedule.millis_of(block.number()).unwrap_or(u16::MAX);
    if millis != time.millis {
        return Some((ScheduleRule::Millis, time.millis.into(), millis.into()));
    }
    let is_of_block = time.source_hash == BaseTime::source_hash(block.number());
    (!is_of_block).then_some((ScheduleRule::BaseTimeSource, 0, 0))
}
