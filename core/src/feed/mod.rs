//! The feed: the canonical chain told to somebody who keeps a log of it, nothing lost and nothing told twice.
//!
//! A feed reads the chain from the store and nowhere else. What happens in the node only wakes it, so nothing that is
//! missed can be lost; what is told is on the disk before; and it can go on from any point of the chain at any time.
//!
//! * [`Cursor`] knows where the consumer's log ends, says what to read from the store, and turns what was read into
//!   [`FeedEvent`]s. It is all that a consumer needs who is there or gone: standard output, a WebSocket.
//! * [`FeedSink`] adds what a stream elsewhere needs that outlives both sides (NATS JetStream): it begins where the stream
//!   ends, gives each event the number of the message that it must follow, waits for each to be acknowledged, and begins
//!   anew whenever it can't be sure.
//!
//! # What a consumer is told
//! Blocks in ascending order, each the child of the one before. A [`FeedEvent::Reorg`] takes the blocks above its
//! `ancestor` back. A [`FeedEvent::Skipped`] says that the next block, `to`, is not the child of the one before: the
//! positions between are left out, and when `to` comes, what the consumer has at its number or above, if anything, is
//! taken back. So whoever cuts off and appends has the canonical chain, as far as it was told, after each event.
//!
//! # Exactly once
//! A publication names the message that it must follow, by its sequence number, and the stream refuses it after any other. One
//! whose acknowledgement was lost can't be stored again: either the stream's end was read after it was stored, and then it
//! is not published again, or it was read before, and then the second one is refused. It does not depend on how long the
//! stream remembers the names of messages.
//!
//! In a stream of the feed's own several publications are on their way at once, each of which names the one before by its
//! name. A number could be foretold, and would be no proof: what is left of a connection before can still arrive and take it.
//! What has a name is the same wherever it comes from, and so is what may follow it. In a stream that others write to, one
//! publication is on its way at a time.
//!
//! # Bounds
//! [`PAGE_BLOCKS`] blocks of [`PAGE_BYTES`] bytes wait to be published, or one that is larger; as many more are on their
//! way, [`IN_FLIGHT`] at most. What else there is to tell stays in the store. A reorg names at most [`LONGEST_BRANCH`]
//! abandoned blocks; a branch that is longer, or of which blocks were removed from the store, is told as skipped.

mod cursor;
mod sink;

#[cfg(test)]
mod tests;

pub use cursor::{Cursor, FeedEvent, Page, Position, Query, Taken, Tip};
pub use sink::{Ack, FeedFailure, FeedSink, Follows, Refusal, SinkStep, StepId, StreamEnd};

use std::time::Duration;

/// Blocks that are read from the store at once.
pub const PAGE_BLOCKS: usize = 32;
/// Bytes of blocks that are read from the store at once; the first block is read whatever its size.
pub const PAGE_BYTES: usize = 16 << 20;
/// Blocks that are followed down an abandoned branch.
pub const LONGEST_BRANCH: usize = 4096;
/// Publications that are not acknowledged yet.
pub const IN_FLIGHT: usize = 16;
/// Time for an acknowledgement.
pub const ACK_TIMEOUT: Duration = Duration::from_secs(10);
/// Time to connect and find the stream's end.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// From a failure to the next attempt, at first; each time twice as long.
pub const RETRY: Duration = Duration::from_millis(250);
/// The longest time from a failure to the next attempt.
pub const LONGEST_RETRY: Duration = Duration::from_secs(15);
