//! Stand-in for the feed into NATS in builds without the feature `nats`. Its types have no values.

use opp2p_node::host::HostHandle;
use opp2p_node::measure::Source;
use std::sync::Arc;

/// Destination of the feed.
#[derive(Clone, Debug)]
pub enum NatsConfig {}

/// A running feed.
#[derive(Debug)]
pub enum NatsFeed {}

impl NatsFeed {
    /// Starts the feed.
    pub fn start(config: NatsConfig, _: HostHandle) -> Self {
        match config {}
    }

    /// Returns the feed's progress.
    pub fn meter(&self) -> Arc<dyn Source> {
        match *self {}
    }

    /// Stops the feed.
    pub async fn stop(self) {
        match self {}
    }
}
