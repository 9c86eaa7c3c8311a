//! Gossip messages after decompression and before validation.

use super::Reason;
use crate::payload::snappy::{self, BlockError};
use alloy_primitives::Bytes;
use sha2::{Digest, Sha256};
use std::fmt;

/// Maximum size of a gossip message in bytes, on the wire and decompressed (`maxGossipSize`).
pub const MAX_MESSAGE_SIZE: usize = 10 << 20;
/// Minimum size of a decompressed message in bytes: a signature and something signed
/// (`minGossipSize`).
pub const MIN_MESSAGE_SIZE: usize = 66;

/// Gossipsub message id: the first 20 bytes of a SHA-256 hash.
pub type MessageId = [u8; 20];

/// Contents of a message's data field, decompressed once. Clones share them.
#[derive(Clone, PartialEq, Eq)]
pub struct Unpacked {
    /// Reason why the data is not a valid snappy block.
    failure: Option<Reason>,
    /// The decompressed bytes, or the raw data after a failure.
    contents: Bytes,
}

impl fmt::Debug for Unpacked {
    /// Formats without the contents, which may be 10 MiB.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unpacked")
            .field("failure", &self.failure())
            .field("size", &self.size())
            .finish()
    }
}

impl Unpacked {
    /// Decompresses a message's data field.
    ///
    /// Allocates no more than the data can decompress to, and never more than
    /// [`MAX_MESSAGE_SIZE`] bytes.
    pub fn new(data: &[u8]) -> Self {
        let failure = match snappy::decompress(data, MAX_MESSAGE_SIZE) {
            Ok(contents) => return Self { failure: None, contents: contents.into() },
            Err(BlockError::Header) => Reason::SnappyHeader,
            Err(BlockError::TooLong { .. }) => Reason::AnnouncedTooLong,
            // The length is checked before the body.
            Err(BlockError::Body) => match snappy::announced_length(data) {
                Ok(length) if length < MIN_MESSAGE_SIZE => Reason::AnnouncedTooShort,
                _ => Reason::SnappyBody,
            },
        };
        Self { failure: Some(failure), contents: Bytes::copy_from_slice(data) }
    }

    /// Wraps our own contents, which need no decompression.
    pub fn from_contents(contents: &[u8]) -> Self {
        Self { failure: None, contents: Bytes::copy_from_slice(contents) }
    }

    /// Returns the decompressed bytes without copying.
    ///
    /// # Errors
    /// The validation check that the data fails: one of the first four reasons.
    pub fn into_contents(self) -> Result<Bytes, Reason> {
        match self.failure() {
            Some(reason) => Err(reason),
            None => Ok(self.contents),
        }
    }

    /// Returns the number of bytes that are kept: decompressed ones, or the raw data.
    pub fn size(&self) -> usize {
        self.contents.len()
    }

    /// Returns the message id on `topic`:
    /// `sha256(domain ++ u64le(length of topic) ++ topic ++ contents)[..20]`.
    ///
    /// The id includes the topic, unlike in the public spec, because the running network includes
    /// it.
    pub fn message_id(&self, topic: &str) -> MessageId {
        let domain = [u8::from(self.failure.is_none()), 0, 0, 0];
        let mut hasher = Sha256::new();
        hasher.update(domain);
        hasher.update((topic.len() as u64).to_le_bytes());
        hasher.update(topic.as_bytes());
        hasher.update(&self.contents);
        let digest: [u8; 32] = hasher.finalize().into();
        let mut id = [0; 20];
        id.copy_from_slice(&digest[..20]);
        id
    }

    fn failure(&self) -> Option<Reason> {
        // Our own contents carry no announced length, so their actual length is checked.
        self.failure.or_else(|| match self.contents.len() {
            0..MIN_MESSAGE_SIZE => Some(Reason::AnnouncedTooShort),
            MIN_MESSAGE_SIZE..=MAX_MESSAGE_SIZE => None,
            _ => Some(Reason::AnnouncedTooLong),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::hex;
    use proptest::prelude::*;

    const TOPIC: &str = "/optimism/10/2/blocks";

    fn id(data: &[u8], topic: &str) -> String {
        hex::encode(Unpacked::new(data).message_id(topic))
    }

    #[test]
    fn message_ids_match_the_reference() {
        let snappy = hex!("05100102030405");
        assert_eq!(id(&snappy, TOPIC), "6d1aa2a16f4af124a51de0cd78e15b763f886e94");
        assert_eq!(
            id(&snappy, "/optimism/10/3/blocks"),
            "bf505bf25edfc5f008ccb4ba3179e1a2a5cc0ef3"
        );
        assert_eq!(id(&[0xff; 5], TOPIC), "10bca51c0f7ac3221c7a9d6fc17c0c7ef4433654");
        assert_eq!(id(&[0], TOPIC), "cbccb9a3249b688e2c6f7d83122a0cad1a9cc8fd");
    }

    #[test]
    fn the_topic_is_part_of_the_id() {
        // The id by the public spec's rule, which the network does not use.
        assert_ne!(id(&hex!("05100102030405"), TOPIC), "316cb6b9c695764bf1bfe4e1b60cc0e88563cbf5");
    }

    #[test]
    fn an_empty_message_is_invalid_and_differs_from_an_empty_block() {
        assert_ne!(id(&[], TOPIC), id(&[0], TOPIC));
        assert_eq!(Unpacked::new(&[]).into_contents(), Err(Reason::SnappyHeader));
        assert_eq!(Unpacked::new(&[0]).into_contents(), Err(Reason::AnnouncedTooShort));
    }

    #[test]
    fn a_bomb_is_identified_by_its_raw_bytes_and_kept_compressed() {
        let bomb = hex!("ffffffff0f0000");
        let unpacked = Unpacked::new(&bomb);
        assert_eq!(unpacked.size(), bomb.len());
        assert_eq!(unpacked.into_contents(), Err(Reason::AnnouncedTooLong));
    }

    #[test]
    fn the_length_is_judged_before_the_body() {
        // Announces 65 and 66 bytes, followed by a broken body.
        assert_eq!(
            Unpacked::new(&[65, 0xff, 0xff, 1]).into_contents(),
            Err(Reason::AnnouncedTooShort)
        );
        assert_eq!(Unpacked::new(&[66, 0xff, 0xff, 1]).into_contents(), Err(Reason::SnappyBody));
    }

    #[test]
    fn own_contents_are_held_to_the_same_length_limits() {
        let judged = |length| {
            Unpacked::from_contents(&vec![0; length]).into_contents().map(|bytes| bytes.len())
        };
        assert_eq!(judged(MIN_MESSAGE_SIZE - 1), Err(Reason::AnnouncedTooShort));
        assert_eq!(judged(MIN_MESSAGE_SIZE), Ok(MIN_MESSAGE_SIZE));
        assert_eq!(judged(MAX_MESSAGE_SIZE), Ok(MAX_MESSAGE_SIZE));
        assert_eq!(judged(MAX_MESSAGE_SIZE + 1), Err(Reason::AnnouncedTooLong));
    }

    proptest! {
        #[test]
        fn own_contents_get_the_same_id_as_received_ones(
            contents in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let received = Unpacked::new(&snappy::compress(&contents));
            prop_assert_eq!(received, Unpacked::from_contents(&contents));
        }
    }
}
