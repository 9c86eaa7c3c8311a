//! The four layouts of an execution payload, one for each gossip topic.

use crate::chain::{Fork, ForkSchedule};
use std::fmt;

/// Version of the execution payload's layout; also the number of the gossip topic that carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PayloadVersion {
    /// Before Canyon: no withdrawals.
    V1 = 1,
    /// Canyon: with an (empty) withdrawal list.
    V2 = 2,
    /// Ecotone: with blob gas fields, behind the parent beacon block root.
    V3 = 3,
    /// Isthmus: with the withdrawals root.
    V4 = 4,
}

impl PayloadVersion {
    /// All versions, oldest first.
    pub const ALL: [Self; 4] = [Self::V1, Self::V2, Self::V3, Self::V4];

    /// 1 to 4.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// 0 to 3: for tables with a row per version.
    pub const fn index(self) -> usize {
        self as usize - 1
    }

    /// The version with this number (1 to 4).
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::V1),
            2 => Some(Self::V2),
            3 => Some(Self::V3),
            4 => Some(Self::V4),
            _ => None,
        }
    }

    /// The version of blocks at `timestamp` (Unix seconds), and so the topic that they are published on.
    pub const fn at(forks: &ForkSchedule, timestamp: u64) -> Self {
        if forks.is_active(Fork::Isthmus, timestamp) {
            Self::V4
        } else if forks.is_active(Fork::Ecotone, timestamp) {
            Self::V3
        } else if forks.is_active(Fork::Canyon, timestamp) {
            Self::V2
        } else {
            Self::V1
        }
    }

    /// Bytes of the fixed part of the SSZ encoding; the variable parts begin there.
    pub const fn fixed_size(self) -> usize {
        match self {
            Self::V1 => 508,
            Self::V2 => 512,
            Self::V3 => 528,
            Self::V4 => 560,
        }
    }

    /// Whether the payload has a withdrawal list.
    pub const fn has_withdrawals(self) -> bool {
        self as u8 >= 2
    }

    /// Whether the payload has blob gas fields and travels behind a parent beacon block root.
    pub const fn has_beacon_root(self) -> bool {
        self as u8 >= 3
    }

    /// Whether the payload carries the withdrawals root itself.
    pub const fn has_withdrawals_root(self) -> bool {
        self as u8 >= 4
    }
}

impl fmt::Display for PayloadVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.number())
    }
}
