//! Follows the store for a consumer that is there or gone.

use super::json;
use crate::host::{HostHandle, Status};
use crate::store::StoreError;
use opp2p_core::chain::BlockId;
use opp2p_core::feed::{Cursor, FeedEvent, Page, Position, Query, Tip};
use opp2p_core::payload::Block;
use std::io;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;

/// Why nothing more comes.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The node has stopped.
    #[error("the node has stopped")]
    Stopped,
    /// The store can't be read.
    #[error("blocks can't be read: {0}")]
    Store(#[from] StoreError),
    /// What is told goes nowhere.
    #[error("the feed can't be written: {0}")]
    Write(#[source] io::Error),
}

/// Reads what there is to tell, and waits for more.
#[derive(Debug)]
pub struct Follower {
    host: HostHandle,
    status: watch::Receiver<Status>,
    cursor: Cursor,
    /// The stored head when the store was read last and had no more.
    seen: Option<Option<BlockId>>,
}

impl Follower {
    /// Goes on at this position, or after the stored head.
    pub fn new(host: HostHandle, position: Option<Position>) -> Self {
        let status = host.status();
        let head = status.borrow().stored;
        let live = || head.map_or(Position::Start { from: None }, |head| Position::At(Tip::new(head)));
        let cursor = Cursor::new(position.unwrap_or_else(live));
        Self { host, status, cursor, seen: None }
    }

    /// The next events, at least one. Nothing is lost if this is dropped before it answers.
    ///
    /// # Errors
    /// If the store can't be read, which can be tried again, or the node has stopped.
    pub async fn next(&mut self) -> Result<Vec<FeedEvent<Block>>, FollowError> {
        loop {
            if let Some(seen) = self.seen {
                let changed = self.status.wait_for(|status| status.stored != seen).await;
                changed.map_err(|_| FollowError::Stopped)?;
                self.seen = None;
            }
            // Before the store is read, so that what is stored meanwhile is read next.
            let stored = self.status.borrow_and_update().stored;
            let page = read(self.host.clone(), self.cursor.query()).await?;
            let taken = self.cursor.take(page);
            if !taken.more {
                self.seen = Some(stored);
            }
            if !taken.events.is_empty() {
                return Ok(taken.events);
            }
        }
    }
}

/// Reads the store on a thread that may wait for the disk.
pub(super) async fn read(host: HostHandle, query: Query) -> Result<Page<Block>, FollowError> {
    let read = tokio::task::spawn_blocking(move || host.feed_page(query)).await;
    // It does not panic; what is left is a runtime that shuts down.
    Ok(read.map_err(|_| FollowError::Stopped)??)
}

/// Writes the feed as lines, until the node stops or nobody takes them any more.
///
/// # Errors
/// Why it ended.
pub async fn write_lines(
    host: HostHandle,
    position: Option<Position>,
    mut out: impl AsyncWrite + Unpin,
) -> Result<std::convert::Infallible, FollowError> {
    let mut follower = Follower::new(host, position);
    loop {
        for event in follower.next().await? {
            let mut line = json(&event);
            line.push('\n');
            out.write_all(line.as_bytes()).await.map_err(FollowError::Write)?;
        }
        out.flush().await.map_err(FollowError::Write)?;
    }
}
