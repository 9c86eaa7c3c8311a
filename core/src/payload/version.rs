//! The four layouts of an execution payload, one for each gossip topic.

use super::BEACON_ROOT_SIZE;
use super::layout::{EXTRA_DATA_OFFSET, OFFSET_SIZE};
use crate::chain::{Fork, ForkSchedule};
use std::fmt;

/// Version of the execution payload's layout, and of the gossip topic that carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PayloadVersion {
    /// Before Canyon: no withdrawals.
    V1 = 1,
    /// Canyon: with an (empty) withdrawal list.
    V2 = 2,
    /// Ecotone: with blob gas fields, after the parent beacon block root.
    V3 = 3,
    /// Isthmus: with the withdrawals root.
    V4 = 4,
}

impl PayloadVersion {
    /// All versions, in ascending order.
    pub const ALL: [Self; 4] = [Self::V1, Self::V2, Self::V3, Self::V4];

    /// Returns the version number, 1 to 4.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Returns an index from 0 to 3, for tables with one row for each version.
    pub const fn index(self) -> usize {
        self as usize - 1
    }

    /// Returns the version with this number (1 to 4), or `None` for another number.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::V1),
            2 => Some(Self::V2),
            3 => Some(Self::V3),
            4 => Some(Self::V4),
            _ => None,
        }
    }

    /// Returns the version of blocks at `timestamp` (Unix seconds). It also determines the topic on
    /// which they are published.
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

    /// Returns the version of a signed body (the parent beacon block root if the version has one,
    /// then the payload), or `None` if no version has such a body.
    ///
    /// The first offset in a payload points at the end of its fixed part, and the length of that
    /// part differs between versions. The decoder accepts no other offset, so the result is certain
    /// for every body that decodes, and no fork times are needed.
    pub fn of_bytes(body: &[u8]) -> Option<Self> {
        // Try the envelope first. An envelope has its block number where a bare payload has that
        // offset, and the number may look like one. The reverse would take a base fee of 2^233 wei.
        Self::of_envelope(body).or_else(|| Self::of_bare(body))
    }

    /// Returns the version of a payload without a parent beacon block root (v1 or v2), by its first
    /// offset.
    pub fn of_bare(payload: &[u8]) -> Option<Self> {
        Self::by_first_offset(payload).filter(|version| !version.has_beacon_root())
    }

    /// Returns the version of a payload after a parent beacon block root (v3 or v4), by its first
    /// offset.
    pub fn of_envelope(body: &[u8]) -> Option<Self> {
        let payload = body.get(BEACON_ROOT_SIZE..)?;
        Self::by_first_offset(payload).filter(|version| version.has_beacon_root())
    }

    fn by_first_offset(payload: &[u8]) -> Option<Self> {
        let offset = payload.get(EXTRA_DATA_OFFSET..)?.first_chunk::<OFFSET_SIZE>()?;
        let offset = u32::from_le_bytes(*offset) as usize;
        Self::ALL.into_iter().find(|version| version.fixed_size() == offset)
    }

    /// Returns the size in bytes of the fixed part of the SSZ encoding, where the variable parts
    /// begin.
    pub const fn fixed_size(self) -> usize {
        match self {
            Self::V1 => 508,
            Self::V2 => 512,
            Self::V3 => 528,
            Self::V4 => 560,
        }
    }

    /// Returns `true` if the payload has a withdrawal list.
    pub const fn has_withdrawals(self) -> bool {
        self as u8 >= 2
    }

    /// Returns `true` if the payload has blob gas fields and is preceded by a parent beacon block
    /// root.
    pub const fn has_beacon_root(self) -> bool {
        self as u8 >= 3
    }

    /// Returns `true` if the payload carries the withdrawals root itself, and not only the list.
    pub const fn has_withdrawals_root(self) -> bool {
        self as u8 >= 4
    }
}

impl fmt::Display for PayloadVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.number())
    }
}
