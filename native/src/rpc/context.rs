//! The state that the methods work on, with the places for slow or large answers.

use super::error::{BUSY, CallError};
use super::eth::Eth;
use super::feeds::Feeds;
use super::hooks::{LogLevel, Reload, RpcObserver};
use super::l1::Optimism;
use super::limits::CALL_TIME;
use super::params::{Answer, failed};
use super::proofs::Proofs;
use super::recent::Recent;
use crate::sequencer::SequencerHandle;
use opp2p_core::gossip::TIMESTAMP_AHEAD;
use opp2p_core::sequencer::{ATTEMPT_TIMEOUT, RETRY_INTERVAL};
use opp2p_node::host::HostHandle;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Maximum number of large answers that are built or waiting to be sent at once.
pub(super) const LARGE_AT_ONCE: usize = 4;
/// Maximum number of calls that wait to build one. Further calls are refused.
pub(super) const LARGE_WAITING: usize = 64;
/// The same limit for calls that read blocks, which is higher because web3 clients send a hundred
/// at once. Each holds its request.
pub(super) const BLOCKS_WAITING: usize = 256;
/// Time for the answer of a publication that has ended.
const BLOCK_MARGIN: Duration = Duration::from_secs(10);

/// State that the methods work on.
#[derive(Clone, Debug)]
pub(super) struct Rpc {
    pub(super) host: HostHandle,
    pub(super) recent: Recent,
    pub(super) observer: Option<Arc<dyn RpcObserver>>,
    pub(super) eth: Eth,
    pub(super) optimism: Optimism,
    pub(super) admin: Admin,
    pub(super) feeds: Feeds,
    /// Handle to the prover, or `None` without an endpoint for proved reads.
    pub(super) proofs: Option<Proofs>,
    pub(super) large: Places,
    pub(super) blocks: Places,
}

/// Places for slow or large answers, and a bounded queue for them.
#[derive(Clone, Debug)]
pub(super) struct Places {
    places: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Places {
    fn new(waiting: usize) -> Self {
        let [places, waiting] =
            [LARGE_AT_ONCE, waiting].map(|places| Arc::new(Semaphore::new(places)));
        Self { places, waiting }
    }

    /// Waits for a place. Returns `None` if too many calls already wait, or if the wait takes too
    /// long.
    async fn take(&self) -> Option<OwnedSemaphorePermit> {
        let waiting = self.waiting.try_acquire().ok()?;
        let place = timeout(CALL_TIME, Arc::clone(&self.places).acquire_owned()).await;
        drop(waiting);
        place.ok()?.ok()
    }
}

/// State of the `admin` namespace.
#[derive(Clone, Debug, Default)]
pub(super) struct Admin {
    /// Starts and stops block building; `None` without an execution client.
    pub(super) sequencer: Option<SequencerHandle>,
    pub(super) log_level: Option<Arc<dyn LogLevel>>,
    pub(super) reload: Option<Arc<dyn Reload>>,
}

impl Admin {
    pub(super) fn is_sequencing(&self) -> bool {
        self.sequencer.as_ref().is_some_and(SequencerHandle::is_active)
    }
}

impl Rpc {
    pub(super) fn new(
        host: HostHandle,
        recent: Recent,
        observer: Option<Arc<dyn RpcObserver>>,
        eth: Eth,
        optimism: Optimism,
        admin: Admin,
        feeds: Feeds,
    ) -> Self {
        Self {
            host,
            recent,
            observer,
            eth,
            optimism,
            admin,
            feeds,
            proofs: None,
            large: Places::new(LARGE_WAITING),
            blocks: Places::new(BLOCKS_WAITING),
        }
    }

    /// Sets the handle to the prover.
    pub(super) fn with_proofs(self, proofs: Option<Proofs>) -> Self {
        Self { proofs, ..self }
    }

    /// Returns the time limit of a block's publication.
    pub(super) fn block_limit(&self) -> Duration {
        outlasting(self.host.core(|node, _| node.timestamp_threshold()))
    }

    /// Builds a small answer from blocks, which may have to be read from the disk.
    pub(super) async fn read_blocks(
        &self,
        look: impl FnOnce(&Self) -> Answer + Send + 'static,
    ) -> Answer {
        self.apart(&self.blocks, look).await.0
    }

    /// Builds the answer on a blocking thread once a place is free.
    pub(super) async fn apart(
        &self,
        places: &Places,
        look: impl FnOnce(&Self) -> Answer + Send + 'static,
    ) -> (Answer, Option<OwnedSemaphorePermit>) {
        let Some(place) = places.take().await else {
            let text = "too many calls with large answers at once: try again";
            return (Err(CallError::new(BUSY, text)), None);
        };
        let rpc = self.clone();
        let answer = tokio::task::spawn_blocking(move || look(&rpc)).await;
        (answer.unwrap_or_else(|_| Err(failed("the call failed unexpectedly"))), Some(place))
    }
}

/// Returns the maximum time that a block's publication can take by itself, and a margin, where the
/// network accepts blocks up to this age. A block's timestamp may be ahead of the clock, and the
/// last attempt to publish it may begin just before it is too old.
fn outlasting(accepted: Duration) -> Duration {
    [TIMESTAMP_AHEAD, RETRY_INTERVAL, ATTEMPT_TIMEOUT, BLOCK_MARGIN]
        .into_iter()
        .fold(accepted, Duration::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publication_ends_before_its_time_limit() {
        for accepted in [1, 60, 3600].map(Duration::from_secs) {
            let latest = accepted + TIMESTAMP_AHEAD + RETRY_INTERVAL + ATTEMPT_TIMEOUT;
            assert!(outlasting(accepted) >= latest + BLOCK_MARGIN);
        }
        assert!(
            outlasting(opp2p_core::gossip::TIMESTAMP_THRESHOLD) < crate::rpc::limits::ANSWER_TIME
        );
    }
}
