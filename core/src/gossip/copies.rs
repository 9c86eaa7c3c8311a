//! Recently received messages, for recognising copies by their bytes.
//!
//! Every peer of the mesh sends each message once, and peers relay the bytes that they received.
//! Decompressing and hashing a copy only to compute a known message id takes a hundred times as
//! long as comparing it with recent messages. Comparing whole messages also rules out confusing two
//! of them, which a short hash would allow if an attacker chose messages that collide. A message
//! that was compressed differently does not count as a copy here: its id is computed as for a new
//! message.
//!
//! # Bounds
//! Holds at most [`COPIES`] messages and [`COPIES_BYTES`] bytes in total, each message for
//! [`COPIES_AGE`]. A look-up compares at most all of these bytes.

use super::MessageId;
use crate::time::Instant;
use std::collections::VecDeque;
use std::time::Duration;

/// Maximum number of messages kept: more than a chain with a block time of 200 ms makes in
/// [`COPIES_AGE`].
pub const COPIES: usize = 64;
/// Maximum number of bytes kept, counted as received (compressed).
pub const COPIES_BYTES: usize = 12 << 20;
/// Time for which a message is kept. Most copies arrive within a second. Gossip itself remembers a
/// message id for far longer ([`SEEN_TTL`](super::SEEN_TTL)), and therefore drops a later copy.
pub const COPIES_AGE: Duration = Duration::from_secs(10);

/// The most recent messages and their ids.
#[derive(Debug, Default)]
pub struct Copies {
    /// Oldest first.
    messages: VecDeque<Kept>,
    bytes: usize,
}

#[derive(Debug)]
struct Kept {
    came: Instant,
    topic: String,
    data: Vec<u8>,
    id: MessageId,
}

impl Copies {
    /// Returns the id of the message on `topic` that arrived with the same `data`, or `None` if it
    /// is not kept.
    pub fn find(&mut self, now: Instant, topic: &str, data: &[u8]) -> Option<MessageId> {
        while self.messages.front().is_some_and(|oldest| now.since(oldest.came) >= COPIES_AGE) {
            self.forget_oldest();
        }
        // Copies arrive soon after the first message, so search the newest first.
        let mut newest_first = self.messages.iter().rev();
        newest_first.find(|kept| kept.data == data && kept.topic == topic).map(|kept| kept.id)
    }

    /// Keeps a message that is not a copy. Messages larger than [`COPIES_BYTES`] are not kept.
    pub fn insert(&mut self, now: Instant, topic: &str, data: Vec<u8>, id: MessageId) {
        if data.len() > COPIES_BYTES {
            return;
        }
        self.bytes += data.len();
        self.messages.push_back(Kept { came: now, topic: topic.to_owned(), data, id });
        while self.messages.len() > COPIES || self.bytes > COPIES_BYTES {
            self.forget_oldest();
        }
    }

    /// Returns the data of the message with this id on `topic`, or `None` if it is no longer kept.
    pub fn data(&self, topic: &str, id: &MessageId) -> Option<&[u8]> {
        self.messages
            .iter()
            .find(|kept| kept.id == *id && kept.topic == topic)
            .map(|kept| &kept.data[..])
    }

    fn forget_oldest(&mut self) {
        if let Some(oldest) = self.messages.pop_front() {
            self.bytes -= oldest.data.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_start(Duration::from_secs(seconds))
    }

    #[test]
    fn a_copy_matches_all_bytes_and_the_topic() {
        let mut copies = Copies::default();
        copies.insert(at(0), "v3", vec![1, 2, 3], [7; 20]);
        assert_eq!(copies.find(at(1), "v3", &[1, 2, 3]), Some([7; 20]));
        assert_eq!(copies.find(at(1), "v4", &[1, 2, 3]), None);
        assert_eq!(copies.find(at(1), "v3", &[1, 2, 4]), None);
        assert_eq!(copies.find(at(1), "v3", &[1, 2, 3, 4]), None);
        assert_eq!(copies.data("v3", &[7; 20]), Some(&[1, 2, 3][..]));
        assert_eq!(copies.data("v4", &[7; 20]), None);
    }

    #[test]
    fn a_message_is_kept_for_ten_seconds_regardless_of_copies() {
        let mut copies = Copies::default();
        copies.insert(at(0), "v3", vec![1], [1; 20]);
        assert!(copies.find(at(9), "v3", &[1]).is_some());
        assert!(copies.find(at(10), "v3", &[1]).is_none());
        assert_eq!((copies.messages.len(), copies.bytes), (0, 0));
    }

    #[test]
    fn messages_and_bytes_are_bounded_by_evicting_the_oldest() {
        let mut copies = Copies::default();
        for byte in 0..100_u8 {
            copies.insert(at(0), "v3", vec![byte], [byte; 20]);
        }
        assert_eq!((copies.messages.len(), copies.bytes), (COPIES, COPIES));
        let oldest = 100 - u8::try_from(COPIES).expect("few");
        assert!(copies.find(at(0), "v3", &[oldest - 1]).is_none());
        assert!(copies.find(at(0), "v3", &[oldest]).is_some());

        copies.insert(at(0), "v3", vec![0; COPIES_BYTES], [100; 20]);
        assert_eq!((copies.messages.len(), copies.bytes), (1, COPIES_BYTES));
        copies.insert(at(0), "v3", vec![0; COPIES_BYTES + 1], [101; 20]);
        assert_eq!((copies.messages.len(), copies.bytes), (1, COPIES_BYTES));
    }
}
