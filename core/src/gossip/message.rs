//! A gossip message between the wire and the rules: decompressed once, named once.

use super::Reason;
use crate::payload::snappy::{self, BlockError};
use alloy_primitives::Bytes;
use sha2::{Digest, Sha256};
use std::fmt;

/// Most bytes of a gossip message, on the wire and decompressed (`maxGossipSize`).
pub const MAX_MESSAGE_SIZE: usize = 10 << 20;
/// Fewest bytes of a decompressed message: a signature and something signed (`minGossipSize`).
pub const MIN_MESSAGE_SIZE: usize = 66;

/// First 20 bytes of a SHA-256: what gossipsub calls a message by.
pub type MessageId = [u8; 20];

/// What a message's data field turned out to be, in one buffer. Clones share it.
///
/// The driver makes it once for each copy that arrives, takes the message id from it, and hands the
/// same buffer to the [`Node`](crate::node::Node), so that a message is decompressed once. The
/// buffer's first byte is a mark; for drivers whose library carries plain bytes from its decoder to
/// its event, [`Self::into_marked`] and [`Self::from_marked`] give and take the buffer as it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Unpacked {
    /// `[mark] ++ contents`; contents are decompressed bytes, or the raw data if that failed.
    marked: Bytes,
}

impl fmt::Debug for Unpacked {
    /// Without the contents, which may have 10 MiB.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unpacked").field("failure", &self.failure()).field("size", &self.size()).finish()
    }
}

const VALID: u8 = 1;
/// Marks of data that is no snappy block, by the check that says so.
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
            // The length is judged before the body is looked at.
            Err(BlockError::Body) => match snappy::announced_length(data) {
                Ok(length) if length < MIN_MESSAGE_SIZE => Reason::AnnouncedTooShort,
                _ => Reason::SnappyBody,
            },
        };
        let mark =
            FAILURES.iter().find(|(_, reason)| *reason == failure).map_or(FAILURES[0].0, |(mark, _)| *mark);
        let mut marked = Vec::with_capacity(1 + data.len());
        marked.push(mark);
        marked.extend_from_slice(data);
        Self { marked: marked.into() }
    }

    /// The same for contents of our own, which need no decompression.
    pub fn from_contents(contents: &[u8]) -> Self {
        let mut marked = Vec::with_capacity(1 + contents.len());
        marked.push(VALID);
        marked.extend_from_slice(contents);
        Self { marked: marked.into() }
    }

    /// The contents in a buffer of [`Self::into_marked`]; the raw data if it did not decompress.
    pub fn contents_of_marked(marked: &[u8]) -> &[u8] {
        marked.get(1..).unwrap_or_default()
    }

    /// The buffer, mark and all; a copy of it if it has clones.
    pub fn into_marked(self) -> Vec<u8> {
        self.marked.0.into()
    }

    /// Takes a buffer of [`Self::into_marked`] back; `None` if it is none.
    pub fn from_marked(marked: Vec<u8>) -> Option<Self> {
        let mark = *marked.first()?;
        let known = mark == VALID || FAILURES.iter().any(|(failure, _)| *failure == mark);
        known.then(|| Self { marked: marked.into() })
    }

    /// The decompressed bytes, without copying; or the check of validation that the data fails.
    ///
    /// # Errors
    /// One of the first four reasons.
    pub fn into_contents(self) -> Result<Bytes, Reason> {
        match self.failure() {
            Some(reason) => Err(reason),
            None => Ok(self.marked.slice(1..)),
        }
    }

    /// Bytes held.
    pub fn size(&self) -> usize {
        self.marked.len()
    }

    /// The message id on `topic`
    /// (`sha256(domain ++ u64le(length of topic) ++ topic ++ contents)[..20]`).
    ///
    /// The topic is part of it, unlike in the public spec: the running network decides.
    pub fn message_id(&self, topic: &str) -> MessageId {
        Self::message_id_of_marked(&self.marked, topic)
    }

    /// The same for a buffer of [`Self::into_marked`] that somebody else owns.
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
        let failure = FAILURES.iter().find(|(failure, _)| Some(failure) == mark).map(|(_, reason)| *reason);
        // Contents of our own never announced their length to anybody.
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
    fn message_ids_are_the_references() {
        let snappy = hex!("05100102030405");
        assert_eq!(id(&snappy, TOPIC), "6d1aa2a16f4af124a51de0cd78e15b763f886e94");
        assert_eq!(id(&snappy, "/optimism/10/3/blocks"), "bf505bf25edfc5f008ccb4ba3179e1a2a5cc0ef3");
        assert_eq!(id(&[0xff; 5], TOPIC), "10bca51c0f7ac3221c7a9d6fc17c0c7ef4433654");
        assert_eq!(id(&[0], TOPIC), "cbccb9a3249b688e2c6f7d83122a0cad1a9cc8fd");
    }

    #[test]
    fn the_topic_is_part_of_the_id() {
        // The id by the public spec's rule, which the network does not know.
        assert_ne!(id(&hex!("05100102030405"), TOPIC), "316cb6b9c695764bf1bfe4e1b60cc0e88563cbf5");
    }

    #[test]
    fn no_data_is_invalid_and_differs_from_an_empty_block() {
        assert_ne!(id(&[], TOPIC), id(&[0], TOPIC));
        assert_eq!(Unpacked::new(&[]).into_contents(), Err(Reason::SnappyHeader));
        assert_eq!(Unpacked::new(&[0]).into_contents(), Err(Reason::AnnouncedTooShort));
    }

    #[test]
    fn a_bomb_is_named_by_its_raw_bytes_and_held_at_its_raw_size() {
        let bomb = hex!("ffffffff0f0000");
        let unpacked = Unpacked::new(&bomb);
        assert_eq!(unpacked.size(), 1 + bomb.len());
        assert_eq!(unpacked.into_contents(), Err(Reason::AnnouncedTooLong));
    }

    #[test]
    fn the_length_is_judged_before_the_body() {
        // Announces 65 and 66 bytes, brings a broken body.
        assert_eq!(Unpacked::new(&[65, 0xff, 0xff, 1]).into_contents(), Err(Reason::AnnouncedTooShort));
        assert_eq!(Unpacked::new(&[66, 0xff, 0xff, 1]).into_contents(), Err(Reason::SnappyBody));
    }

    #[test]
    fn contents_of_our_own_are_held_to_the_same_lengths() {
        let judged =
            |length| Unpacked::from_contents(&vec![0; length]).into_contents().map(|bytes| bytes.len());
        assert_eq!(judged(MIN_MESSAGE_SIZE - 1), Err(Reason::AnnouncedTooShort));
        assert_eq!(judged(MIN_MESSAGE_SIZE), Ok(MIN_MESSAGE_SIZE));
        assert_eq!(judged(MAX_MESSAGE_SIZE), Ok(MAX_MESSAGE_SIZE));
        assert_eq!(judged(MAX_MESSAGE_SIZE + 1), Err(Reason::AnnouncedTooLong));
    }

    proptest! {
        #[test]
        fn a_buffer_survives_the_way_through_a_library(data in prop::collection::vec(any::<u8>(), 0..300)) {
            let unpacked = Unpacked::new(&data);
            prop_assert_eq!(Unpacked::from_marked(unpacked.clone().into_marked()), Some(unpacked));
        }

        #[test]
        fn own_contents_are_named_like_received_ones(contents in prop::collection::vec(any::<u8>(), 0..300)) {
            let received = Unpacked::new(&snappy::compress(&contents));
            prop_assert_eq!(received, Unpacked::from_contents(&contents));
        }
    }
}
