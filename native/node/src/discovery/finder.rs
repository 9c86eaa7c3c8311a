//! Discovery's access to the node: the number of missing peers, and a way to report found ones.

use futures::future::BoxFuture;
use opp2p_core::peers::{PeerId, PeerNews};
use opp2p_core::time::{Instant, Now};
use std::fmt::Debug;
use std::sync::Arc;

/// The node that discovery searches for.
pub(crate) trait Seeker: Debug + Send + Sync {
    /// Returns the current time of the node's clocks.
    fn now(&self) -> Now;

    /// Converts an instant of the core's clock to the runtime's.
    fn instant(&self, at: Instant) -> tokio::time::Instant;

    /// Returns the number of peers that are missing below the low mark.
    fn missing(&self) -> usize;

    /// Reports a found peer to the driver, and waits until the driver's queue has room.
    fn found(&self, peer: PeerId, news: PeerNews) -> BoxFuture<'_, ()>;
}

/// Shared access to the node.
#[derive(Clone, Debug)]
pub(crate) struct Finder(Arc<dyn Seeker>);

impl Finder {
    pub(crate) fn new(seeker: impl Seeker + 'static) -> Self {
        Self(Arc::new(seeker))
    }

    /// Returns access to a node of this chain that does not run.
    #[cfg(test)]
    pub(super) fn of_chain(_: &opp2p_core::chain::ChainConfig) -> Self {
        Self::new(tests::Stopped(std::time::Instant::now()))
    }

    pub(super) fn now(&self) -> Now {
        self.0.now()
    }

    pub(super) fn instant(&self, at: Instant) -> tokio::time::Instant {
        self.0.instant(at)
    }

    pub(super) fn missing(&self) -> usize {
        self.0.missing()
    }

    pub(super) async fn found(&self, peer: PeerId, news: PeerNews) {
        self.0.found(peer, news).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opp2p_core::peers::ConnectionManagerConfig;

    /// A node that has no peers and does not run. It has the clock that started then.
    #[derive(Debug)]
    pub(super) struct Stopped(pub(super) std::time::Instant);

    impl Seeker for Stopped {
        fn now(&self) -> Now {
            Now::new(self.0.elapsed(), crate::clock::since_epoch())
        }

        fn instant(&self, at: Instant) -> tokio::time::Instant {
            tokio::time::Instant::from_std(self.0 + at.since_start())
        }

        fn missing(&self) -> usize {
            ConnectionManagerConfig::default().low
        }

        fn found(&self, _: PeerId, _: PeerNews) -> BoxFuture<'_, ()> {
            Box::pin(std::future::ready(()))
        }
    }
}
