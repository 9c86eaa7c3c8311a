//! Compression between gossipsub and the core: one decompression for a message's id and its rules.

use libp2p::gossipsub::{DataTransform, Message, RawMessage, TopicHash};
use opp2p_core::gossip::Unpacked;
use opp2p_core::payload::snappy;
use std::io;

/// Turns a message's data into the core's marked buffer, and back.
///
/// Data that does not decompress is no error here: it goes on with a mark that says so, gets the id
/// that the network gives it, and the verdict from the core like any other.
#[derive(Clone, Copy, Debug, Default)]
pub struct BlockTransform;

impl DataTransform for BlockTransform {
    fn inbound_transform(&self, raw: RawMessage) -> Result<Message, io::Error> {
        Ok(Message {
            source: raw.source,
            data: Unpacked::new(&raw.data).into_marked(),
            sequence_number: raw.sequence_number,
            topic: raw.topic,
        })
    }

    fn outbound_transform(&self, _topic: &TopicHash, marked: Vec<u8>) -> Result<Vec<u8>, io::Error> {
        Ok(snappy::compress(Unpacked::contents_of_marked(&marked)))
    }
}
