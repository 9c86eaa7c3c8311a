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

/// Contents of a message's data field, in one buffer that clones share.
///
/// The driver creates one for each received copy, takes the message id from it, and passes the same
/// buffer to the [`Node`](crate::node::Node), so that a message is decompressed only once. The
/// first byte of the buffer is a mark. Some gossip libraries pass only plain bytes from their
/// decoder to their events. For their drivers, [`Self::into_marked`] returns the buffer, and
/// [`Self::from_marked`] restores the value from it.
#[derive(Clone, PartialEq, Eq)]
pub struct Unpacked {
    /// `[mark] ++ contents`; the contents are the decompressed bytes, or the raw data if
    /// decompression failed.
    marked: Bytes,
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

const VALID: u8 = 1;
/// Marks of data that is not a valid snappy block, by the check that fails.
const FAILURES: [(u8, Reason); 4] = [
    (2, Reason::SnappyHeader),
    (3, Reason::AnnouncedTooLong),
    (4, Reason::AnnouncedTooShort),
    (5, Reason::SnappyBody),
];

impl Unpacked {
    /// Decompresses a message's data field.
    ///
    /// Allocates no more than the data can decompress to, and never more than
    /// [`MAX_MESSAGE_SIZE`] bytes.
    pub fn new(data: &[u8]) -> Self {
        let failure = match snappy::decompress(data, MAX_MESSAGE_SIZE, 1) {
            Ok(mut marked) => {
                marked[0] = VALID;
                return Self { marked: marked.into() };
            }
            Err(BlockError::Header) => Reason::SnappyHeader,
            Err(BlockError::TooLong { .. }) => Reason::AnnouncedTooLong,
            // The length is checked before the body.
            Err(BlockError::Body) => match snappy::announced_length(data) {
                Ok(length) if length < MIN_MESSAGE_SIZE => Reason::AnnouncedTooShort,
                _ => Reason::SnappyBody,
            },
        };
        let mark = FAILURES
            .iter()
            .find(|(_, reason)| *reason == failure)
            .map_or(FAILURES[0].0, |(mark, _)| *mark);
        let mut marked = Vec::with_capacity(1 + data.len());
        marked.push(mark);
        marked.extend_from_slice(data);
        Self { marked: marked.into() }
    }

    /// Wraps our own contents, which need no decompression.
    pub fn from_contents(contents: &[u8]) -> Self {
        let mut marked = Vec::with_capacity(1 + contents.len());
        marked.push(VALID);
        marked.extend_from_slice(contents);
        Self { marked: marked.into() }
    }

    /// Returns the contents of a buffer from [`Self::into_marked`]: the decompressed bytes, or the
    /// raw data if decompression failed.
    pub fn contents_of_marked(marked: &[u8]) -> &[u8] {
        marked.get(1..).unwrap_or_default()
    }

    /// Returns the buffer, including the mark. Copies it if clones exist.
    pub fn into_marked(self) -> Vec<u8> {
        self.marked.0.into()
    }

    /// Restores the value from a buffer of [`Self::into_marked`], or returns `None` if the mark is
    /// unknown.
    pub fn from_marked(marked: Vec<u8>) -> Option<Self> {
        let mark = *marked.first()?;
        let known = mark == VALID || FAILURES.iter().any(|(failure, _)| *failure == mark);
        known.then(|| Self { marked: marked.into() })
    }

    /// Returns the decompressed bytes without copying.
    ///
    /// # Errors
    /// The validation check that the data fails: one of the first four reasons.
    pub fn into_contents(self) -> Result<Bytes, Reason> {
        match self.failure() {
            Some(reason) => Err(reason),
            None => Ok(self.marked.slice(1..)),
        }
    }

    /// Returns the size of the buffer in bytes, including the mark.
    pub fn size(&self) -> usize {
        self.marked.len()
    }

    /// Returns the message id on `topic`:
    /// `sha256(domain ++ u64le(length of topic) ++ topic ++ contents)[..20]`.
    ///
    /// The id includes the topic, unlike in the public spec, because the running network includes
    /// it.
    pub fn message_id(&self, topic: &str) -> MessageId {
        Self::message_id_of_marked(&self.marked, topic)
    }

    /// Returns the message id for a borrowed buffer of [`Self::into_marked`].
    pub fn message_id_of_marked(marked: &[u8], topic: &str) -> MessageId {
        let (mark, contents) = marked.split_first().unwrap_or((&0, &[]));
        let domain = [u8::from(*mark == VALID), 0, 0, 0];
        let mut hasher = Sha256::new();
        hasher.update(domain);
        hasher.update((topic.len() as u64).to_le_bytes());
        hasher.update(topic.as_bytes());
        hasher.update(contents);
        let digest: [u8; 32] = hasher.finalize().into();
        let mut id = [0; 20];
        id.copy_from_slice(&digest[..20]);
        id
    }

    fn failure(&self) -> Option<Reason> {
        let mark = self.marked.first();
        let failure =
            FAILURES.iter().find(|(failure, _)| Some(failure) == mark).map(|(_, reason)| *reason);
        // Our own contents carry no announced length, so their actual length is checked.
        failure.or_else(|| match self.marked.len() - 1 {
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
        assert_eq!(unpacked.size(), 1 + bomb.len());
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
        fn a_marked_buffer_round_trips(
            data in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let unpacked = Unpacked::new(&data);
            prop_assert_eq!(Unpacked::from_marked(unpacked.clone().into_marked()), Some(unpacked));
        }

        #[test]
        fn own_contents_get_the_same_id_as_received_ones(
            contents in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let received = Unpacked::new(&snappy::compress(&contents));
            prop_assert_eq!(received, Unpacked::from_contents(&contents));
        }
    }
}
