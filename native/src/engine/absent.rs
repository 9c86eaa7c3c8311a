//! Stand-in for the link to an execution client in builds without the feature `engine`. Its types
//! have no values.

use crate::sequencer::SequencerHandle;
use futures::future::BoxFuture;
use opp2p_core::chain::ChainConfig;
use opp2p_core::engine::{EngineEvent, EngineState};
use opp2p_core::payload::Block;
use opp2p_core::time::Now;
use opp2p_node::host::{BlockSource, HostHandle};
use opp2p_node::http::HttpError;
use tokio::sync::broadcast;

/// Settings of an engine.
#[derive(Clone, Debug)]
pub enum EngineSetup {}

impl EngineSetup {
    /// Reads the engine's state.
    ///
    /// # Errors
    /// Never.
    pub async fn first_look(
        &self,
        _: &ChainConfig,
        _: Now,
    ) -> Result<Option<EngineState>, HttpError> {
        match *self {}
    }
}

/// A running link.
#[derive(Debug)]
pub enum EngineLink {}

impl EngineLink {
    /// Starts a link.
    ///
    /// # Errors
    /// Never.
    pub fn start(
        _: HostHandle,
        setup: &EngineSetup,
    ) -> Result<(Self, broadcast::Receiver<EngineEvent>), HttpError> {
        match *setup {}
    }

    /// Returns a handle that starts and stops block building.
    pub fn sequencer(&self) -> SequencerHandle {
        match *self {}
    }

    /// Stops the link.
    pub async fn stop(self) {
        match self {}
    }
}

/// An engine as a source of blocks by number.
#[derive(Clone, Debug)]
pub enum EngineSource {}

impl EngineSource {
    /// Creates a source.
    ///
    /// # Errors
    /// Never.
    pub fn new(setup: &EngineSetup) -> Result<Self, HttpError> {
        match *setup {}
    }
}

impl BlockSource for EngineSource {
    fn block(&self, _: u64) -> BoxFuture<'_, Result<Option<Block>, String>> {
        match *self {}
    }
}
