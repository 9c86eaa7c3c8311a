//! Follows the store for a connected consumer.

use super::json;
use opp2p_core::chain::BlockId;
use opp2p_core::feed::{Cursor, FeedEvent, LONGEST_RETRY, Page, Position, Query, RETRY, Tip};
use opp2p_core::payload::Block;
use opp2p_node::host::{HostHandle, Status};
use opp2p_store::StoreError;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;

/// Reasons why a feed ends.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The node has stopped.
    #[error("the node has stopped")]
    Stopped,
    /// The store can't be read.
    #[error("blocks can't be read: {0}")]
    Store(#[from] StoreError),
    /// The output can't be written.
    #[error("the feed can't be written: {0}")]
    Write(#[source] io::Error),
}

/// Reads the feed's events from the store, and waits for more.
#[derive(Debug)]
pub struct Follower {
    host: HostHandle,
    status: watch::Receiver<Status>,
    cursor: Cursor,
    /// The stored head at the last read after which nothing was left to read.
    seen: Option<Option<BlockId>>,
}

impl Follower {
    /// Starts at this position, or after the stored head if `position` is `None`.
    pub fn new(host: HostHandle, position: Option<Position>) -> Self {
        let status = host.status();
        let head = status.borrow().stored;
        let live =
            || head.map_or(Position::Start { from: None }, |head| Position::At(Tip::new(head)));
        let cursor = Cursor::new(position.unwrap_or_else(live));
        Self { host, status, cursor, seen: None }
    }

    /// Returns the next events, at least one. No event is lost if the future is dropped.
    ///
    /// # Errors
    /// If the store can't be read, in which case the call may be repeated, or the node has stopped.
    pub async fn next(&mut self) -> Result<Vec<FeedEvent<Block>>, FollowError> {
        loop {
            self.ready().await?;
            let events = self.load().await?;
            if !events.is_empty() {
                return Ok(events);
            }
        }
    }

    /// Waits until there may be something to read.
    ///
    /// # Errors
    /// If the node has stopped.
    pub(crate) async fn ready(&mut self) -> Result<(), FollowError> {
        if let Some(seen) = self.seen {
            let changed = self.status.wait_for(|status| status.stored != seen).await;
            changed.map_err(|_| FollowError::Stopped)?;
            self.seen = None;
        }
        Ok(())
    }

    /// Reads the next events, possibly none. No event is lost if the future is dropped.
    ///
    /// # Errors
    /// If the store can't be read, in which case the call may be repeated.
    pub(crate) async fn load(&mut self) -> Result<Vec<FeedEvent<Block>>, FollowError> {
        // Noted before the store is read, so that a block stored meanwhile is read next.
        let stored = self.status.borrow_and_update().stored;
        let page = read(self.host.clone(), self.cursor.query()).await?;
        let taken = self.cursor.take(page);
        if !taken.more {
            self.seen = Some(stored);
        }
        Ok(taken.events)
    }

    /// Returns the end of the consumer's log once it has all events that were read.
    pub(crate) const fn position(&self) -> Position {
        self.cursor.position()
    }

    /// Moves back to this end of the consumer's log: later events will be read again.
    pub(crate) const fn resume(&mut self, position: Position) {
        self.cursor = Cursor::new(position);
        self.seen = None;
    }

    /// Does the same as [`Self::next`], but retries while the store can't be read.
    async fn next_at_last(&mut self) -> Result<Vec<FeedEvent<Block>>, FollowError> {
        let status = self.status.clone();
        let is_over = || status.has_changed().is_err();
        persistent(async || self.next().await, is_over, RETRY).await
    }
}

/// Calls `next` until it returns something other than a store error. A failed read must not end the
/// node: the store may recover.
async fn persistent<T>(
    mut next: impl AsyncFnMut() -> Result<T, FollowError>,
    is_over: impl Fn() -> bool,
    first_pause: Duration,
) -> Result<T, FollowError> {
    let mut pause = first_pause;
    loop {
        match next().await {
            Err(FollowError::Store(_)) if is_over() => return Err(FollowError::Stopped),
            Err(FollowError::Store(error)) => {
                if pause == first_pause {
                    tracing::warn!(
                        target: "opp2p::feed", %error,
                        "the feed can't read blocks from the store, and tries again"
                    );
                }
                tokio::time::sleep(pause).await;
                pause = pause.saturating_mul(2).min(LONGEST_RETRY);
            }
            result => return result,
        }
    }
}

/// Reads the store on a blocking thread.
pub(super) async fn read(host: HostHandle, query: Query) -> Result<Page<Block>, FollowError> {
    let read = tokio::task::spawn_blocking(move || host.feed_page(query)).await;
    // The closure does not panic; an error means that the runtime is shutting down.
    Ok(read.map_err(|_| FollowError::Stopped)??)
}

/// Writes the feed as lines, until the node stops or the output can't be written. While the store
/// can't be read, the feed waits.
///
/// # Errors
/// The reason why the feed ended.
pub async fn write_lines(
    host: HostHandle,
    position: Option<Position>,
    mut out: impl AsyncWrite + Unpin,
) -> Result<std::convert::Infallible, FollowError> {
    let mut follower = Follower::new(host, position);
    loop {
        for event in follower.next_at_last().await? {
            let mut line = json(&event);
            line.push('\n');
            out.write_all(line.as_bytes()).await.map_err(FollowError::Write)?;
        }
        out.flush().await.map_err(FollowError::Write)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_millis(1);

    fn unreadable() -> FollowError {
        let (path, hash) = ("blocks".into(), alloy_primitives::B256::ZERO);
        FollowError::Store(StoreError::CorruptedBlock { path, hash, detail: "damaged".into() })
    }

    #[tokio::test]
    async fn a_temporarily_unreadable_store_does_not_end_the_feed() {
        let mut failures = 5;
        let next = async || match failures {
            0 => Ok(7),
            _ => {
                failures -= 1;
                Err(unreadable())
            }
        };
        assert!(matches!(persistent(next, || false, PAUSE).await, Ok(7)));
        assert_eq!(failures, 0);
    }

    #[tokio::test]
    async fn a_feed_of_a_stopped_node_ends() {
        let next = async || Err::<(), _>(unreadable());
        assert!(matches!(persistent(next, || true, PAUSE).await, Err(FollowError::Stopped)));
        let next = async || Err::<(), _>(FollowError::Stopped);
        assert!(matches!(persistent(next, || false, PAUSE).await, Err(FollowError::Stopped)));
    }
}
