//! Peer ids as bytes. The core compares and stores them, but never parses them.

use std::fmt;

/// Length of the longest peer id that libp2p makes, in bytes: an identity multihash over a 42-byte
/// key.
const CAPACITY: usize = 44;

/// A libp2p peer id in its binary (multihash) form.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId {
    length: u8,
    bytes: [u8; CAPACITY],
}

/// Error for bytes that are not a peer id: either empty or too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a peer id has 1 to {CAPACITY} bytes, this has {0}")]
pub struct InvalidPeerId(pub usize);

impl PeerId {
    /// Returns the binary form, as `libp2p::PeerId::to_bytes` does.
    pub const fn as_bytes(&self) -> &[u8] {
        self.bytes.split_at(self.length as usize).0
    }

    /// Returns the seed of the node with this id: see
    /// [`NodeConfig::seed`](crate::node::NodeConfig::seed). It is never zero. Peers know the id, so
    /// they can compute the seed too.
    pub fn seed(&self) -> u64 {
        self.mixed(0).max(1)
    }

    /// Returns a number that depends on the id and on `seed`.
    pub(crate) fn mixed(&self, seed: u64) -> u64 {
        // FNV-1a: neighbouring ids must yield unrelated numbers, and nothing more is required.
        self.as_bytes().iter().fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        })
    }
}

impl TryFrom<&[u8]> for PeerId {
    type Error = InvalidPeerId;

    fn try_from(from: &[u8]) -> Result<Self, InvalidPeerId> {
        if from.is_empty() || from.len() > CAPACITY {
            return Err(InvalidPeerId(from.len()));
        }
        let mut bytes = [0; CAPACITY];
        bytes[..from.len()].copy_from_slice(from);
        Ok(Self { length: from.len() as u8, bytes })
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PeerId(")?;
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}
