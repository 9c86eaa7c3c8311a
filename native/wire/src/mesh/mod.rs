//! The streams that carry the frames of a gossip [`Router`] over libp2p.
//!
//! [`Streams`] opens, accepts and resets streams, and moves bytes. It makes no decisions: the
//! router does, and its owner passes events and outputs between the two. Nothing here decompresses
//! or hashes.
//!
//! # Streams
//!
//! * We write on one stream for each peer, on its oldest connection, and open it when the router
//!   requests it. It proposes all [`Version::SPOKEN`], newest first. A peer never writes on it: a
//!   byte or an end from there means that the peer gave it up.
//! * We read one stream on each connection, the newest. An older one is reset. It is never written
//!   to, nor half-closed. A peer usually has one connection. If it has several, libp2p's gossipsub
//!   writes on all of them in turn. It treats a reset stream as a failure, and stops sending after
//!   five.
//! * A peer supports gossip if identify lists one of our versions. A stream that it opens shows the
//!   same.
//! * If the connection with our stream closes and another one is left, the router is told that the
//!   stream is closed, and requests a new one there.
//!
//! # Usage
//!
//! The owner of the router and of the swarm:
//!
//! 1. passes each event of [`Streams`], a [`StreamEvent`], to [`Router::handle`], and then drains
//!    [`Router::poll`];
//! 2. calls [`Streams::open_writer`], [`Streams::close_writer`] and [`Streams::reset_reader`] as
//!    those outputs say;
//! 3. calls [`Streams::fill`] with [`Router::transmit`] at each [`Output::Transmit`], and after
//!    each [`StreamEvent::Written`];
//! 4. calls [`Streams::tick`] at each heartbeat.
//!
//! Connections and their classes are not reported here: the owner knows them from the swarm.
//!
//! ```
//! use opp2p_core::mesh::{Output, Router, StreamEvent};
//! use opp2p_core::time::Instant;
//! use opp2p_wire::mesh::Streams;
//!
//! /// Passes one event of `streams` to `router`. Returns outputs that concern no stream.
//! fn pass(
//!     router: &mut Router,
//!     streams: &mut Streams,
//!     now: Instant,
//!     event: StreamEvent,
//! ) -> Vec<Output> {
//!     let written = if let StreamEvent::Written(peer, _) = &event { Some(*peer) } else { None };
//!     router.handle(now, event.into());
//!     let mut others = Vec::new();
//!     let mut ready = Vec::from_iter(written);
//!     while let Some(output) = router.poll() {
//!         match output {
//!             Output::OpenWriter(peer) => streams.open_writer(&peer),
//!             Output::CloseWriter(peer) => streams.close_writer(&peer),
//!             Output::ResetReader(peer) => streams.reset_reader(&peer),
//!             Output::Transmit(peer) => ready.push(peer),
//!             other => others.push(other),
//!         }
//!     }
//!     for peer in ready {
//!         streams.fill(&peer, |window| router.transmit(now, &peer, window));
//!     }
//!     others
//! }
//! ```
//!
//! [`Wire`](crate::Wire) does this for a [`Node`](opp2p_core::node::Node) that owns its router.
//!
//! # Bounds
//!
//! * To a peer: [`WINDOW`] bytes that its stream has not accepted, and one control frame beyond; or
//!   one larger frame, and the words that announce it. Their memory is shared with the router and
//!   with other peers.
//! * From a connection: one unfinished frame, as [`wire`] bounds it, and 16 KiB behind it. Reading
//!   pauses while [`MAX_WAITING`] complete frames, or [`MAX_WAITING_BYTES`], wait for the owner; or
//!   [`MAX_UNTAKEN`] bytes from all peers together.
//! * Events for the owner: those frames, and a few reports for each stream.
//!
//! [`Router`]: opp2p_core::mesh::Router
//! [`Router::handle`]: opp2p_core::mesh::Router::handle
//! [`Router::poll`]: opp2p_core::mesh::Router::poll
//! [`Router::transmit`]: opp2p_core::mesh::Router::transmit
//! [`StreamEvent`]: opp2p_core::mesh::StreamEvent
//! [`StreamEvent::Written`]: opp2p_core::mesh::StreamEvent::Written
//! [`Output::Transmit`]: opp2p_core::mesh::Output::Transmit
//! [`Version::SPOKEN`]: opp2p_core::mesh::Version::SPOKEN
//! [`wire`]: opp2p_core::mesh::wire

mod handler;
mod link;
mod reader;
mod streams;
#[cfg(test)]
mod tests;
mod writer;

pub use handler::{Handler, Report};
pub use link::{MAX_UNTAKEN, MAX_WAITING, MAX_WAITING_BYTES, WINDOW};
pub use streams::Streams;
