//! Inputs and outputs of a [`Router`](super::Router).

use super::wire::Version;
use super::{Class, EntryId, Id, MAX_TOPICS, Topic};
use crate::gossip::{Acceptance, MAX_MESSAGE_SIZE, Unpacked};
use crate::payload::snappy;
use crate::peers::PeerId;
use crate::sequencer::{PublishId, SendOutcome};
use crate::time::Instant;
use alloy_primitives::Bytes;
use core::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// An input: an event outside the router.
#[derive(Clone, Debug)]
pub enum Input {
    /// The first connection to a peer is established.
    Connected {
        /// The peer.
        peer: PeerId,
        /// Its class.
        class: Class,
        /// Whether we dialled it.
        is_outbound: bool,
        /// Its addresses.
        ips: Vec<IpAddr>,
    },
    /// The last connection to a peer is closed.
    Disconnected(PeerId),
    /// The peer announced that it speaks gossipsub.
    Supports(PeerId),
    /// Answers [`Output::OpenWriter`]: the stream is open, with this version.
    WriterOpened(PeerId, Version),
    /// The stream on which we write to a peer was closed, or could not be opened.
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
    /// The bytes of a peer's stream are not gossipsub; the shell has reset the stream.
    Malformed(PeerId),
    /// The shell wrote this many bytes of the frames that
    /// [`Router::transmit`](super::Router::transmit) returned. A large frame is reported in several
    /// steps.
    Written(PeerId, usize),
    /// A [`NameJob`] ended.
    Named(Named),
    /// A [`NameJob`] ended without a result: it panicked, which would be a defect.
    NamingFailed(EntryId),
    /// Answers an [`Output::Validate`].
    Verdict(EntryId, Acceptance),
    /// A message of this peer turned out to be invalid only after its [`Self::Verdict`].
    Blame(PeerId, Topic),
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
    /// The topics that carry blocks, by position.
    Live([bool; MAX_TOPICS]),
    /// A ping of this peer took this long there and back. Near peers get large messages first.
    Pinged(PeerId, Duration),
    /// Only time has passed.
    Wake,
}

/// An event of a peer's streams, reported by the shell: the part of [`Input`] that does not come
/// from the router's owner.
#[derive(Clone, Debug)]
pub enum StreamEvent {
    /// See [`Input::Supports`].
    Supports(PeerId),
    /// See [`Input::WriterOpened`].
    WriterOpened(PeerId, Version),
    /// See [`Input::WriterClosed`].
    WriterClosed {
        /// The peer.
        peer: PeerId,
        /// Whether the peer refused every version.
        is_refused: bool,
    },
    /// See [`Input::ReaderOpened`].
    ReaderOpened(PeerId),
    /// See [`Input::Frame`].
    Frame(PeerId, Bytes),
    /// See [`Input::Malformed`].
    Malformed(PeerId),
    /// See [`Input::Written`].
    Written(PeerId, usize),
}

impl StreamEvent {
    /// Returns the peer.
    pub const fn peer(&self) -> &PeerId {
        match self {
            Self::Supports(peer)
            | Self::WriterOpened(peer, _)
            | Self::WriterClosed { peer, .. }
            | Self::ReaderOpened(peer)
            | Self::Frame(peer, _)
            | Self::Malformed(peer)
            | Self::Written(peer, _) => peer,
        }
    }
}

impl From<StreamEvent> for Input {
    fn from(event: StreamEvent) -> Self {
        match event {
            StreamEvent::Supports(peer) => Self::Supports(peer),
            StreamEvent::WriterOpened(peer, version) => Self::WriterOpened(peer, version),
            StreamEvent::WriterClosed { peer, is_refused } => {
                Self::WriterClosed { peer, is_refused }
            }
            StreamEvent::ReaderOpened(peer) => Self::ReaderOpened(peer),
            StreamEvent::Frame(peer, frame) => Self::Frame(peer, frame),
            StreamEvent::Malformed(peer) => Self::Malformed(peer),
            StreamEvent::Written(peer, bytes) => Self::Written(peer, bytes),
        }
    }
}

/// An action on a peer's streams: the part of [`Output`] that the shell carries out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamAction {
    /// See [`Output::OpenWriter`].
    OpenWriter(PeerId),
    /// See [`Output::CloseWriter`].
    CloseWriter(PeerId),
    /// See [`Output::ResetReader`].
    ResetReader(PeerId),
    /// See [`Output::Transmit`].
    Transmit(PeerId),
}

/// An output: an action for the driver.
#[derive(Clone, Debug)]
pub enum Output {
    /// Open a stream to write on, on the peer's oldest connection. Answered by
    /// [`Input::WriterOpened`] or [`Input::WriterClosed`].
    OpenWriter(PeerId),
    /// Reset the stream on which we write, because it is stuck. The router already treats it as
    /// closed and expects no answer.
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
        /// Time at which the first copy arrived.
        arrived: Instant,
    },
    /// Answers [`Input::Publish`]: the outcome, and the number of peers for which the message was
    /// queued.
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

/// Reason for a ban.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misconduct {
    /// It demanded far more than any implementation does, for longer than a burst.
    Flood,
    /// It stopped reading twice within ten minutes.
    Deaf,
}

/// Job that decompresses a message and computes its name. It is stateless, runs on any thread, and
/// takes at most some milliseconds.
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

    /// Returns the number of bytes to read or to produce, which determines the running time.
    pub fn size(&self) -> usize {
        let announced = snappy::announced_length(&self.data).unwrap_or_default();
        announced.min(MAX_MESSAGE_SIZE).max(self.data.len())
    }

    /// Runs the job.
    pub fn run(self) -> Named {
        let contents = Unpacked::new(&self.data);
        let name = contents.message_id(&self.topic).into();
        Named { entry: self.entry, name, contents }
    }
}
