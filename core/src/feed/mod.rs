//! The feed: the canonical chain for a consumer that keeps a log of it. No event is lost, and none
//! is reported twice.
//!
//! A feed reads the chain only from the store. Events of the node merely wake it, so a missed event
//! loses nothing; everything reported is already on disk; and the feed can continue from any point
//! of the chain at any time.
//!
//! * [`Cursor`] knows where the consumer's log ends, decides what to read from the store, and turns
//!   the result into [`FeedEvent`]s. It suffices for a consumer that is either connected or gone:
//!   standard output, a WebSocket.
//! * [`FeedSink`] adds support for a remote stream that outlives both sides (NATS JetStream): it
//!   starts at the end of the stream, tells the stream which message each event must follow, waits
//!   for each acknowledgement, and starts over whenever it can't be sure.
//!
//! # Events for a consumer
//! Blocks arrive in ascending order, each the child of the previous one. A [`FeedEvent::Reorg`]
//! removes the blocks above its `ancestor` as soon as the store has left them: the new branch may
//! end below the number that the old one had reached, and its blocks may arrive much later. A
//! [`FeedEvent::Skipped`] announces that the next block, `to`, is not the child of the previous
//! one: the positions in between are left out, and when `to` arrives, it replaces everything that
//! the consumer has at its number or above. So a consumer that truncates and appends has the
//! canonical chain, as far as it was reported, after each event. There is one exception, which
//! `is_fork` marks: `to` is on a different branch than the previous block, and their common
//! ancestor is unknown, so the blocks directly below `to` may be abandoned too.
//!
//! A log can end in a block that the store does not have. If the node is behind, as after a start,
//! the store may still learn of the block, and nothing is reported until it does or the node has
//! caught up. After that, or at once if the store's chain has another block at that number, the log
//! continues with a [`FeedEvent::Skipped`].
//!
//! # Exactly once
//! A publication names the message that it must follow by sequence number, and the stream refuses
//! the publication after any other message. A publication whose acknowledgement was lost can't be
//! stored twice: if the stream's end was read after it was stored, it is not published again; if
//! the end was read before, the second publication is refused. This does not depend on how long the
//! stream remembers the names of messages.
//!
//! In a stream that only the feed writes to, several publications are in flight at once, and each
//! identifies its predecessor by name. A predicted number would prove nothing: messages left over
//! from an earlier connection can still arrive and take it. A named message is the same wherever it
//! comes from, and so are its valid successors. In a stream that others write to, one publication
//! is in flight at a time.
//!
//! A server may store a message of a lost connection after it has told the next connection where
//! the stream ends. The next publication is then refused, which shows the message. Until then,
//! after a reorg, the stream may end in a block that is no longer canonical.
//!
//! # Bounds
//! At most [`PAGE_BLOCKS`] blocks of [`PAGE_BYTES`] bytes in total, or one larger block, wait to be
//! published; as many again are in flight, at most [`IN_FLIGHT`]. Everything else stays in the
//! store. An abandoned branch is followed down for at most [`LONGEST_BRANCH`] blocks, with memory
//! for [`Span::MAX_LISTED`](crate::chain::Span::MAX_LISTED) ids. A branch that is longer, or that
//! the store no longer remembers, is reported as skipped.

mod cursor;
mod sink;

#[cfg(test)]
mod tests;

pub use cursor::{Cursor, FeedEvent, Page, Position, Query, Taken, Tip, Way};
pub use sink::{Ack, FeedFailure, FeedSink, Follows, Refusal, SinkStep, StepId, StreamEnd};

use std::time::Duration;

/// Maximum number of blocks read from the store at once.
pub const PAGE_BLOCKS: usize = 32;
/// Maximum number of bytes of blocks read from the store at once; the first block is read
/// regardless of its size.
pub const PAGE_BYTES: usize = 16 << 20;
/// Maximum number of blocks followed down an abandoned branch: 6 days at 2 s, 14.5 hours at 200 ms.
pub const LONGEST_BRANCH: usize = 1 << 18;
/// Maximum number of publications without an acknowledgement.
pub const IN_FLIGHT: usize = 16;
/// Maximum time to wait for an acknowledgement.
pub const ACK_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum time to connect and find the stream's end.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// Delay from the first failure to the next attempt; it doubles with each failure.
pub const RETRY: Duration = Duration::from_millis(250);
/// Maximum delay from a failure to the next attempt.
pub const LONGEST_RETRY: Duration = Duration::from_secs(15);
