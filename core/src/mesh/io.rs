//! Inputs and outputs of a [`Router`](super::Router).

use super::wire::Version;
use super::{Class, EntryId, Id, MAX_TOPICS, Topic};
use crate::gossip::{Acceptance, Unpacked};
use crate::peers::PeerId;
use crate::sequencer::{PublishId, SendOutcome};
use alloy_primitives::Bytes;
use core::net::IpAddr;
use std::sync::Arc;

/// An input: an event outside the router.
#[derive(Clone, Debug)]
pub enum Input {
    /// The first connection to a peer is established.
    Connected {
        /// The peer.
        peer: PeerId,
        /// What it is.
        class: Class,
        /// Whether we dialled it.
        is_outbound: bool,
        /// Its addresses.
        ips: Vec<IpAddr>,
    },
    /// The last connection to a peer is closed.
    Disconnected(PeerId),
    /// The peer said that it speaks gossipsub.
    Supports(PeerId),
    /// An [`Output::OpenWriter`] was carried out: the stream is open, in this version.
    WriterOpened(PeerId, Version),
    /// The stream on which we write to a peer is no more, or could not be opened.
    WriterClosed {
        /// The peer.
        peer: PeerId,
        /// Whether the peer refused every version.
        is_refused: bool,
    },
    /// A peer opened a stream on which it writes. It replaces an earlier one.
    ReaderOpened(PeerId),
    /// A whole frame arrived, without its length prefix.
    Frame(PeerId, Bytes),
    /// A peer's stream is not gossipsub's; the shell has reset it.
    Malformed(PeerId),
    /// The shell wrote this many bytes of what [`Router::transmit`](super::Router::transmit)
    /// returned, large frames in several steps.
    Written(PeerId, usize),
    /// A [`NameJob`] ended.
    Named(Named),
    /// Answers an [`Output::Validate`].
    Verdict(EntryId, Acceptance),
    /// Publish a message of our own. One [`Output::Published`] answers it.
    Publish {
        /// Id assigned by the caller.
        id: PublishId,
        /// The topic.
        topic: Topic,
        /// The message's name.
        name: Id,
        /// The data as it travels, compressed.
        data: Bytes,
    },
    /// Subscribe to a topic.
    Join(Topic),
    /// Unsubscribe from a topic.
    Leave(Topic),
    /// The application's score of a peer.
    ApplicationScore(PeerId, f64),
    /// Which topics carry blocks, by their position.
    Live([bool; MAX_TOPICS]),
    /// Only time passed.
    Wake,
}

/// An output: an action for the driver.
#[derive(Clone, Debug)]
pub enum Output {
    /// Open a stream to write on, on the peer's oldest connection. Answered by
    /// [`Input::WriterOpened`] or [`Input::WriterClosed`].
    OpenWriter(PeerId),
    /// Reset the stream on which we write, because it is stuck. The router knows that it is closed:
    /// no answer is due.
    CloseWriter(PeerId),
    /// Reset the stream on which the peer writes.
    ResetReader(PeerId),
    /// There is something to send: call [`Router::transmit`](super::Router::transmit) whenever the
    /// peer's stream accepts more, until it returns `None`.
    Transmit(PeerId),
    /// Run this job and return its result as [`Input::Named`].
    Name(NameJob),
    /// Judge this message, and return [`Input::Verdict`].
    Validate {
        /// The message's number.
        entry: EntryId,
        /// The sender of the first copy.
        from: PeerId,
        /// The topic.
        topic: Topic,
        /// The message's name.
        name: Id,
        /// The message's contents.
        contents: Unpacked,
    },
    /// A message of our own was queued for this many peers, or not at all.
    Published {
        /// Id of the publication.
        id: PublishId,
        /// The outcome.
        outcome: SendOutcome,
        /// Number of peers.
        peers: usize,
    },
    /// Close all connections to a peer and ban it.
    Ban(PeerId, Misconduct),
    /// A peer entered or left the mesh of a topic.
    Mesh {
        /// The peer.
        peer: PeerId,
        /// The topic.
        topic: Topic,
        /// Whether it is in the mesh now.
        is_member: bool,
    },
}

/// Why a peer is banned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misconduct {
    /// It demanded far more than any implementation does, for longer than a burst.
    Flood,
    /// It reads nothing, twice within ten minutes.
    Deaf,
}

/// Decompresses and names a message: stateless, on any thread, at most some milliseconds.
#[derive(Clone, Debug)]
pub struct NameJob {
    pub(super) entry: EntryId,
    pub(super) topic: Arc<str>,
    pub(super) data: Bytes,
}

/// Result of a [`NameJob`].
#[derive(Clone, Debug)]
pub struct Named {
    /// The message's number.
    pub entry: EntryId,
    /// The message's name.
    pub name: Id,
    /// The message's contents.
    pub contents: Unpacked,
}

impl NameJob {
    /// Returns the message's number.
    pub const fn entry(&self) -> EntryId {
        self.entry
    }

    /// Returns the topic's name.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Returns the data as received.
    pub const fn data(&self) -> &Bytes {
        &self.data
    }

    /// Runs the job.
    pub fn run(self) -> Named {
        let contents = Unpacked::new(&self.data);
        let name = contents.message_id(&self.topic).into();
        Named { entry: self.entry, name, contents }
    }
}
