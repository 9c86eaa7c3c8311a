//! Messages as they came a moment ago, so that copies are known by their bytes.
//!
//! Each message comes once from every peer of the mesh, and peers pass on the bytes that they got. To decompress and hash a copy only
//! to learn a name that is known takes a hundred times as long as to compare it with what came before; and comparing
//! whole messages, no two of them can be mistaken for each other, as they might be by a short hash that somebody chose to match.
//! A copy that was compressed otherwise is none here, and gets its name as the first did.
//!
//! # Bounds
//! [`COPIES`] messages of [`COPIES_BYTES`] together, each for [`COPIES_AGE`]. A look-up compares at most all of the bytes.

use super::MessageId;
use crate::time::Instant;
use std::collections::VecDeque;
use std::time::Duration;

/// Most messages that are kept.
pub const COPIES: usize = 32;
/// Most bytes that are kept, as they came.
pub const COPIES_BYTES: usize = 12 << 20;
/// How long one is kept: most copies come within a second, and this is far less than gossip itself knows a message for
/// ([`SEEN_TTL`](super::SEEN_TTL)), which therefore drops the copy.
pub const COPIES_AGE: Duration = Duration::from_secs(10);

/// The messages that came last, and their ids.
#[derive(Debug, Default)]
pub struct Copies {
    /// The oldest first.
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
    /// The id of the message on `topic` that came with the same `data`, if it did.
    pub fn find(&mut self, now: Instant, topic: &str, data: &[u8]) -> Option<MessageId> {
        while self.messages.front().is_some_and(|oldest| now.since(oldest.came) >= COPIES_AGE) {
            self.forget_oldest();
        }
        // Copies follow soon.
        let mut newest_first = self.messages.iter().rev();
        newest_first.find(|kept| kept.data == data && kept.topic == topic).map(|kept| kept.id)
    }

    /// Keeps a message that is no copy.
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

    /// The data of the message with this id on `topic`, as long as it is kept.
    pub fn data(&self, topic: &str, id: &MessageId) -> Option<&[u8]> {
        self.messages.iter().find(|kept| kept.id == *id && kept.topic == topic).map(|kept| &kept.data[..])
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
    fn a_copy_has_all_bytes_and_the_topic_in_common() {
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
    fn a_message_is_kept_for_ten_seconds_which_copies_do_not_prolong() {
        let mut copies = Copies::default();
        copies.insert(at(0), "v3", vec![1], [1; 20]);
        assert!(copies.find(at(9), "v3", &[1]).is_some());
        assert!(copies.find(at(10), "v3", &[1]).is_none());
        assert_eq!((copies.messages.len(), copies.bytes), (0, 0));
    }

    #[test]
    fn messages_and_bytes_are_bounded_and_the_oldest_go() {
        let mut copies = Copies::default();
        for byte in 0..100_u8 {
            copies.insert(at(0), "v3", vec![byte], [byte; 20]);
        }
        assert_eq!((copies.messages.len(), copies.bytes), (COPIES, COPIES));
        assert!(copies.find(at(0), "v3", &[67]).is_none());
        assert!(copies.find(at(0), "v3", &[68]).is_some());

        copies.insert(at(0), "v3", vec![0; COPIES_BYTES], [100; 20]);
        assert_eq!((copies.messages.len(), copies.bytes), (1, COPIES_BYTES));
        copies.insert(at(0), "v3", vec![0; COPIES_BYTES + 1], [101; 20]);
        assert_eq!((copies.messages.len(), copies.bytes), (1, COPIES_BYTES));
    }
}
