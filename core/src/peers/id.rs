//! A peer's name as bytes. The core compares and remembers it, and never looks inside.

use std::fmt;

/// Longest peer id that libp2p makes: an identity multihash over a 42-byte key.
const CAPACITY: usize = 44;

/// A libp2p peer id in its binary (multihash) form.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId {
    length: u8,
    bytes: [u8; CAPACITY],
}

/// The bytes are not those of a peer id: empty, or longer than any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a peer id has 1 to {CAPACITY} bytes, this has {0}")]
pub struct InvalidPeerId(pub usize);

impl PeerId {
    /// The binary form, as `libp2p::PeerId::to_bytes` gives it.
    pub const fn as_bytes(&self) -> &[u8] {
        self.bytes.split_at(self.length as usize).0
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
