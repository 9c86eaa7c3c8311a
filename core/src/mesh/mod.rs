//! The gossip router: gossipsub 1.0 to 1.2 as a state machine.
//!
//! [`Router`] takes frames and returns frames. It decides which peers are in the mesh of each
//! topic, which peers get a message and in which order, which peers are asked for messages, and
//! which peers are blamed. It opens no stream and reads no clock: the shell reports streams and
//! whole frames ([`Input`]), carries out actions ([`Output`]), and asks for frames when a stream
//! accepts some ([`Router::transmit`]). Peers of go-libp2p-pubsub, rust-libp2p and js-libp2p are
//! served as they expect; peers that speak version 1.3 find a correct peer without extensions;
//! floodsub peers get every message.
//!
//! # A message
//!
//! 1. A frame is checked as a whole ([`wire`]). A malformed frame has no effect.
//! 2. A message in it is compared with recent ones by its raw bytes. A copy only adds a sender.
//! 3. New bytes cost the sender tokens and wait for a job, in an order that is fair to senders.
//!    [`NameJob`] decompresses the message once and computes its name.
//! 4. If the name is new, mesh peers are told not to send it ([`IDONTWANT_THRESHOLD`]), and the
//!    caller judges the message: [`Output::Validate`].
//! 5. An accepted message is relayed in the frame's own memory, and advertised to others later. A
//!    rejected one is charged to all its senders.
//!
//! # Differences from other routers
//!
//! * GRAFT and PRUNE are states: the newest one for a topic replaces one that waits.
//! * Large messages are sent to a few peers at a time: see [`send`]. A waiting message can be
//!   cancelled.
//! * Peers with our extension say which large messages are on their way, so that others don't send
//!   the same: see [`wire::Transfer`]. Other peers get no such notice.
//! * Each demand of a peer is charged to the peer's own budget before it is read. A peer that keeps
//!   overdrawing loses score and is banned.
//! * Browsers have meshes of their own, beside those of the nodes: they get every message, and no
//!   node relies on them.
//! * Peers that a PRUNE recommends are never dialled.
//!
//! # Bounds
//!
//! Each module documents its own bounds; [`Sizes`] has the present sizes. In total, the router
//! holds at most about 64 MiB of messages without a verdict, 12 MiB of recent ones, 64 MiB of
//! accepted ones (which share memory with both), and for each peer a record of a few kilobytes and
//! references to shared frames. The router's outputs must be drained after each input.
//!
//! [`IDONTWANT_THRESHOLD`]: crate::gossip::IDONTWANT_THRESHOLD

mod backoff;
mod budget;
mod cache;
mod config;
mod ids;
mod intake;
mod io;
mod links;
mod peers;
mod promises;
mod random;
mod router;
mod score;
mod seen;
pub mod send;
#[cfg(test)]
mod tests;
mod unwanted;
pub mod wire;

pub use backoff::MAX_BACKOFFS;
pub use budget::{FREE_BURSTS, LAST_STRIKE, WINDOW as OVERDRAFT_WINDOW};
pub use cache::{MAX_ASKERS, MAX_CACHED, MAX_CACHED_BYTES, RETRANSMISSIONS};
pub use config::{Allowance, Allowances, Class, MeshConfig};
pub use ids::{Id, MAX_ID, MAX_TOPICS, Topic};
pub use intake::{
    BYTES_PER_PEER, ENTRIES_PER_PEER, EntryId, JUDGING_AT_ONCE, MAX_BYTES, MAX_ENTRIES,
    MAX_SOURCES, NAMING_PER_PEER,
};
pub use io::{Input, Misconduct, NameJob, Named, Output, StreamAction, StreamEvent};
pub use peers::{
    FOREIGN_AFTER, MAX_READERS, MAX_REOPENED, OPEN_AFTER, READERS_WINDOW, REOPEN_WINDOW,
};
pub use promises::{MAX_PROMISES, PROMISE_TIME, PROMISES_PER_ID, PROMISES_PER_PEER};
pub use router::{
    Counts, MAX_BACKOFF, MAX_HELD, PRUNE_BACKOFF, Router, Sizes, UNSUBSCRIBE_BACKOFF,
};
pub use seen::MAX_SEEN;
pub use unwanted::MAX_UNWANTED;
pub use wire::{Frame, FrameReader, Malformed, Version};
