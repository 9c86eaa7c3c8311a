//! Places for the feeds of all connections.

use super::error::{BUSY, CallError};
use super::limits::FEED_READS;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Places for feeds, shared by all connections.
#[derive(Clone, Debug)]
pub(super) struct Feeds {
    /// A permit for each feed.
    all: Arc<Semaphore>,
    /// Number of these permits.
    most: u32,
    /// A permit for each feed that holds blocks.
    pub(super) reads: Arc<Semaphore>,
}

impl Feeds {
    /// Creates places for `most` feeds.
    pub(super) fn new(most: u32) -> Self {
        let all = usize::try_from(most).unwrap_or(Semaphore::MAX_PERMITS);
        let [all, reads] = [all, FEED_READS].map(|places| Arc::new(Semaphore::new(places)));
        Self { all, most, reads }
    }

    pub(super) fn take(&self) -> Result<OwnedSemaphorePermit, CallError> {
        Arc::clone(&self.all).try_acquire_owned().map_err(|_| {
            CallError::new(BUSY, format!("there are {} feeds already: try again later", self.most))
        })
    }
}
