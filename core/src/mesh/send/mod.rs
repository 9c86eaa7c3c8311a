//! Queues of messages to send, and the order in which they are sent.
//!
//! No message is passed to a socket before the socket accepts it. Waiting messages are kept here,
//! where they can still be cancelled, replaced or given up. Each peer has an outbox. All share our
//! uplink, which lets only a few large messages travel at the same time: parallel copies would all
//! arrive late. A peer that usually has large messages from others first gets them late from us,
//! and often not at all. So does a peer that is receiving the message from another and says so.
//!
//! # Bounds
//!
//! * Subscriptions, GRAFT and PRUNE are states, and the newest counts: two for each topic and peer.
//! * Ids: [`MAX_IDONTWANT`] and [`MAX_IWANT`] for each peer. IHAVE is a mark for each topic; its
//!   ids are taken when it is written.
//! * Notices of large messages that are on their way: [`MAX_RECEIVING`] to send for each peer,
//!   [`HEARD`] of each peer, and [`MAX_INCOMING`] of all together.
//! * Messages: [`OUTBOUND_QUEUE`](crate::gossip::OUTBOUND_QUEUE) for a node, [`BROWSER_QUEUE`] for
//!   a browser, and [`MAX_QUEUED_BYTES`] beyond the first. A message in a queue is a reference to a
//!   shared frame. Each has a deadline.
//! * Acknowledgements of large messages: [`MAX_RECEIVING`] to send for each peer, and one message
//!   that is to be acknowledged.
//! * With the shell: one large frame and the words that announce it, or as many bytes as it said it
//!   accepts.

mod line;
mod notices;
mod outbox;
mod thrift;
mod uplink;

pub(super) use notices::Incoming;
pub use notices::{
    BROKEN_LIMIT, HEARD, MAX_BROKEN, MAX_INCOMING, MAX_RECEIVING, NOTICE_TIME, NOTICES_PER_PEER,
};
pub use outbox::{BROWSER_QUEUE, LARGE, MAX_IDONTWANT, MAX_IWANT, MAX_QUEUED_BYTES};
pub(super) use outbox::{Kind, Outbox, Say, Tally};
pub use thrift::{ECHOES, MAX_HOLD, TRACKED};
pub use uplink::{MIN_SPEED, PATIENCE, STUCK};
pub(super) use uplink::{Need, Uplink};
