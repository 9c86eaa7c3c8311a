//! Encoder of frames.

use super::proto::{varint_length, write_bytes, write_number, write_varint};
use super::transfers::{RECEIVED, RECEIVING, SENDING, SPEAKS, TRANSFERS};
use crate::mesh::Id;
use alloy_primitives::Bytes;

/// Maximum length of a control frame that we write. rust-libp2p closes the stream at 16 KiB.
pub const MAX_CONTROL_WRITTEN: usize = 16_000;

/// A frame as it is written to a stream, with its length prefix.
///
/// A message frame refers to the message's data where it was received. So clones are cheap,
/// relaying copies no data, and a message that waits for a hundred peers is in memory once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    head: Bytes,
    data: Bytes,
    tail: Bytes,
}

impl Frame {
    /// Creates the frame of one message: the topic and the data, and no other field.
    pub fn message(topic: &str, data: Bytes) -> Self {
        let mut tail = Vec::with_capacity(topic.len() + 3);
        write_bytes(&mut tail, 4, topic.as_bytes());
        let message = 1 + varint_length(data.len() as u64) + data.len() + tail.len();
        let rpc = 1 + varint_length(message as u64) + message;
        let mut head = Vec::with_capacity(16);
        write_varint(&mut head, rpc as u64);
        head.push(2 << 3 | 2);
        write_varint(&mut head, message as u64);
        head.push(2 << 3 | 2);
        write_varint(&mut head, data.len() as u64);
        Self { head: head.into(), data, tail: tail.into() }
    }

    /// Returns the parts, to be written one after the other.
    pub fn parts(&self) -> [&Bytes; 3] {
        [&self.head, &self.data, &self.tail]
    }

    /// Returns the message's data; empty in a control frame.
    pub const fn data(&self) -> &Bytes {
        &self.data
    }

    /// Returns the length in bytes, including the length prefix.
    pub fn len(&self) -> usize {
        self.head.len() + self.data.len() + self.tail.len()
    }

    /// Returns `true` if there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns a copy in one piece.
    pub fn to_vec(&self) -> Vec<u8> {
        self.parts().map(|part| &part[..]).concat()
    }
}

/// Collects subscriptions, control and notices of transfers for one frame.
#[derive(Clone, Debug, Default)]
pub struct ControlWriter {
    subscriptions: Vec<u8>,
    control: Vec<u8>,
    transfers: Vec<u8>,
}

impl ControlWriter {
    /// Adds a subscription, or its end. Both fields are always written.
    pub fn subscription(&mut self, topic: &str, subscribes: bool) {
        let mut entry = Vec::with_capacity(topic.len() + 5);
        write_number(&mut entry, 1, subscribes.into());
        write_bytes(&mut entry, 2, topic.as_bytes());
        write_bytes(&mut self.subscriptions, 1, &entry);
    }

    /// Adds a GRAFT.
    pub fn graft(&mut self, topic: &str) {
        let mut entry = Vec::with_capacity(topic.len() + 3);
        write_bytes(&mut entry, 1, topic.as_bytes());
        write_bytes(&mut self.control, 3, &entry);
    }

    /// Adds a PRUNE, with a back-off in seconds for peers that understand it. Never recommends
    /// peers.
    pub fn prune(&mut self, topic: &str, backoff: Option<u64>) {
        let mut entry = Vec::with_capacity(topic.len() + 6);
        write_bytes(&mut entry, 1, topic.as_bytes());
        if let Some(seconds) = backoff {
            write_number(&mut entry, 3, seconds);
        }
        write_bytes(&mut self.control, 4, &entry);
    }

    /// Adds an IHAVE. Nothing is written without ids.
    pub fn ihave<'a>(&mut self, topic: &str, ids: impl IntoIterator<Item = &'a Id>) {
        let mut entry = Vec::new();
        write_bytes(&mut entry, 1, topic.as_bytes());
        let without_ids = entry.len();
        ids.into_iter().for_each(|id| write_bytes(&mut entry, 2, id.as_bytes()));
        if entry.len() > without_ids {
            write_bytes(&mut self.control, 1, &entry);
        }
    }

    /// Adds an IWANT. Nothing is written without ids.
    pub fn iwant<'a>(&mut self, ids: impl IntoIterator<Item = &'a Id>) {
        self.ids(2, ids);
    }

    /// Adds an IDONTWANT. Nothing is written without ids.
    pub fn idontwant<'a>(&mut self, ids: impl IntoIterator<Item = &'a Id>) {
        self.ids(5, ids);
    }

    /// Says that we understand notices of transfers.
    pub fn speaks(&mut self) {
        write_number(&mut self.transfers, SPEAKS, 1);
    }

    /// Says that we begin to send these messages to the peer.
    pub fn sending<'a>(&mut self, ids: impl IntoIterator<Item = &'a Id>) {
        ids.into_iter().for_each(|id| write_bytes(&mut self.transfers, SENDING, id.as_bytes()));
    }

    /// Says that we are receiving these messages from another peer.
    pub fn receiving<'a>(&mut self, ids: impl IntoIterator<Item = &'a Id>) {
        ids.into_iter().for_each(|id| write_bytes(&mut self.transfers, RECEIVING, id.as_bytes()));
    }

    /// Acknowledges these messages, which the peer sent.
    pub fn received<'a>(&mut self, ids: impl IntoIterator<Item = &'a Id>) {
        ids.into_iter().for_each(|id| write_bytes(&mut self.transfers, RECEIVED, id.as_bytes()));
    }

    fn ids<'a>(&mut self, field: u8, ids: impl IntoIterator<Item = &'a Id>) {
        let mut entry = Vec::new();
        ids.into_iter().for_each(|id| write_bytes(&mut entry, 1, id.as_bytes()));
        if !entry.is_empty() {
            write_bytes(&mut self.control, field, &entry);
        }
    }

    /// Returns the number of further bytes that fit into the frame.
    pub fn room(&self) -> usize {
        let written = self.subscriptions.len() + self.control.len() + self.transfers.len();
        MAX_CONTROL_WRITTEN.saturating_sub(written + 16)
    }

    /// Returns `true` if there is any control.
    pub fn has_control(&self) -> bool {
        !self.control.is_empty()
    }

    /// Returns the frame, or `None` if there is nothing to say: an empty RPC is never written.
    pub fn finish(self) -> Option<Frame> {
        let mut rpc = self.subscriptions;
        if !self.control.is_empty() {
            write_bytes(&mut rpc, 3, &self.control);
        }
        if !self.transfers.is_empty() {
            write_varint(&mut rpc, u64::from(TRANSFERS) << 3 | 2);
            write_varint(&mut rpc, self.transfers.len() as u64);
            rpc.extend_from_slice(&self.transfers);
        }
        if rpc.is_empty() {
            return None;
        }
        let mut head = Vec::with_capacity(rpc.len() + 3);
        write_varint(&mut head, rpc.len() as u64);
        head.extend_from_slice(&rpc);
        Some(Frame { head: head.into(), data: Bytes::new(), tail: Bytes::new() })
    }
}
