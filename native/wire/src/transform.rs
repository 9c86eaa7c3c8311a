//! Compression between gossipsub and the core: one decompression and one hash for a message's id
//! and its rules, and neither for its copies.

use libp2p::gossipsub::{self, DataTransform, Message, RawMessage, TopicHash};
use opp2p_core::gossip::{Copies, MessageId, Unpacked};
use opp2p_core::payload::snappy;
use opp2p_core::time::Instant;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Converts a message's data to the core's marked buffer, and back.
///
/// Data that does not decompress is not an error here: it is passed on with a mark that says so,
/// gets the id that the network gives it, and is validated by the core like any other message.
///
/// A copy of a message is passed on without contents: the library asks for its id, sees that it is
/// a copy, and drops it. Clones share their state.
#[derive(Clone, Debug)]
pub struct BlockTransform(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    start: web_time::Instant,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    copies: Copies,
    /// Number and id of the latest message. Messages of this network have no sequence number, so
    /// the library's field for it carries this number from here to [`BlockTransform::id`].
    last: (u64, MessageId),
    /// Name under which the library knows the message that is being published again.
    alias: Option<gossipsub::MessageId>,
}

impl BlockTransform {
    /// Creates a transform that knows no messages.
    pub fn new() -> Self {
        Self(Arc::new(Shared { start: web_time::Instant::now(), known: Mutex::default() }))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // A panic leaves nothing half done.
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the id of a message that was received here, or that is to be published.
    pub fn id(&self, message: &Message) -> gossipsub::MessageId {
        let (number, id) = {
            let known = self.known();
            if let Some(alias) = known.alias.as_ref().filter(|_| message.sequence_number.is_none())
            {
                return alias.clone();
            }
            known.last
        };
        let id = if message.sequence_number == Some(number) {
            id
        } else {
            Unpacked::message_id_of_marked(&message.data, message.topic.as_str())
        };
        gossipsub::MessageId(id.to_vec())
    }

    /// Gives the messages that are published from now on another name than that of their contents,
    /// or ends that.
    pub(super) fn set_alias(&self, alias: Option<gossipsub::MessageId>) {
        self.known().alias = alias;
    }

    /// Returns a message's contents, from its data. The contents of a copy are unpacked again: the
    /// library remembers messages longer than they are kept here, and passes on a copy only if it
    /// refused the first message.
    pub fn unpack(&self, id: &MessageId, message: Message) -> Option<Unpacked> {
        if message.data.is_empty() {
            return self.known().copies.data(message.topic.as_str(), id).map(Unpacked::new);
        }
        Unpacked::from_marked(message.data)
    }
}

impl Default for BlockTransform {
    fn default() -> Self {
        Self::new()
    }
}

impl DataTransform for BlockTransform {
    fn inbound_transform(&self, raw: RawMessage) -> Result<Message, io::Error> {
        let now = Instant::from_start(self.0.start.elapsed());
        let topic = raw.topic.as_str();
        let mut known = self.known();
        let (data, id) = match known.copies.find(now, topic, &raw.data) {
            Some(id) => (Vec::new(), id),
            None => {
                let unpacked = Unpacked::new(&raw.data);
                let id = unpacked.message_id(topic);
                known.copies.insert(now, topic, raw.data, id);
                (unpacked.into_marked(), id)
            }
        };
        let number = known.last.0.wrapping_add(1);
        known.last = (number, id);
        Ok(Message { source: raw.source, data, sequence_number: Some(number), topic: raw.topic })
    }

    fn outbound_transform(
        &self,
        _topic: &TopicHash,
        marked: Vec<u8>,
    ) -> Result<Vec<u8>, io::Error> {
        Ok(snappy::compress(Unpacked::contents_of_marked(&marked)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(topic: &str, data: &[u8]) -> RawMessage {
        RawMessage {
            source: None,
            data: data.to_vec(),
            sequence_number: None,
            topic: TopicHash::from_raw(topic),
            signature: None,
            key: None,
            validated: false,
        }
    }

    fn id(transform: &BlockTransform, message: &Message) -> MessageId {
        MessageId::try_from(&transform.id(message).0[..]).expect("20 bytes")
    }

    #[test]
    fn a_copy_has_the_id_of_the_first_without_contents() {
        let transform = BlockTransform::new();
        let contents = [9; 1000];
        let expected = Unpacked::from_contents(&contents);
        let data = snappy::compress(&contents);
        let ids = [(); 3].map(|()| {
            let message = transform.inbound_transform(raw("v4", &data)).expect("never fails");
            (id(&transform, &message), message.data.len())
        });
        let name = expected.message_id("v4");
        assert_eq!(ids, [(name, 1 + contents.len()), (name, 0), (name, 0)]);
        let other = transform.inbound_transform(raw("v3", &data)).expect("never fails");
        assert_eq!(id(&transform, &other), expected.message_id("v3"));
        assert_eq!(transform.unpack(&expected.message_id("v3"), other), Some(expected));
    }

    #[test]
    fn a_copy_that_the_library_treats_as_new_gets_its_contents_back() {
        let transform = BlockTransform::new();
        for data in [snappy::compress(&[9; 1000]), vec![0xff; 7]] {
            let first = transform.inbound_transform(raw("v4", &data)).expect("never fails");
            let copy = transform.inbound_transform(raw("v4", &data)).expect("never fails");
            let id = id(&transform, &copy);
            assert_eq!(transform.unpack(&id, copy), transform.unpack(&id, first));
            assert_eq!(Unpacked::new(&data).message_id("v4"), id);
        }
    }

    #[test]
    fn a_published_message_is_identified_by_its_contents() {
        let transform = BlockTransform::new();
        let data = Unpacked::from_contents(&[7; 100]).into_marked();
        let message =
            Message { source: None, data, sequence_number: None, topic: TopicHash::from_raw("v4") };
        assert_eq!(id(&transform, &message), Unpacked::from_contents(&[7; 100]).message_id("v4"));
    }
}
