//! Counters of what was served or fetched, for the operator.

use super::wire::End;

/// Names of the ways in which requests end: those that an answer names, then those without one.
pub const ENDINGS: [&str; 14] = [
    "complete",
    "no_more",
    "never_had",
    "limited",
    "other_chain",
    "refused",
    "invalid",
    "failed",
    "unknown",
    "false",
    "silent",
    "reset",
    "lost",
    "unsupported",
];

/// Way in which a request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The answer names its end.
    Named(End),
    /// The answer breaks the layout, is cut, or holds a wrong block.
    False,
    /// No data arrived for too long.
    Silent,
    /// The server reset the stream: as a client it is told so, as a server it does so because the
    /// requester does not read.
    Reset,
    /// The connection was lost, or the requester cancelled the request.
    Lost,
    /// The server does not support the protocol.
    Unsupported,
}

impl Ending {
    const fn index(self) -> usize {
        match self {
            Self::Named(End::Complete) => 0,
            Self::Named(End::NoMore { .. }) => 1,
            Self::Named(End::NeverHad { .. }) => 2,
            Self::Named(End::Limited { .. }) => 3,
            Self::Named(End::OtherChain { .. }) => 4,
            Self::Named(End::Refused) => 5,
            Self::Named(End::Invalid) => 6,
            Self::Named(End::Failed) => 7,
            Self::Named(End::Unknown { .. }) => 8,
            Self::False => 9,
            Self::Silent => 10,
            Self::Reset => 11,
            Self::Lost => 12,
            Self::Unsupported => 13,
        }
    }
}

/// Counts of ranges since the start, of one role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RangeCounts {
    /// Number of blocks: sent, or received and proved.
    pub blocks: u64,
    /// Number of bytes on the streams of answers.
    pub bytes: u64,
    ends: [u64; ENDINGS.len()],
}

impl RangeCounts {
    /// Returns the number of requests that ended, by the names of [`ENDINGS`]. Requests that this
    /// client cancelled itself are left out.
    pub fn ends(&self) -> impl Iterator<Item = (&'static str, u64)> {
        ENDINGS.into_iter().zip(self.ends)
    }

    pub(super) const fn ended(&mut self, how: Ending) {
        self.ends[how.index()] += 1;
    }

    pub(super) const fn sent(&mut self, blocks: u64, bytes: usize) {
        self.blocks = self.blocks.saturating_add(blocks);
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }
}
