//! Blocks for peers that our own store lacks.

use super::client::EngineClient;
use super::run::EngineSetup;
use crate::http::{HttpConfig, HttpError};
use opp2p_core::chain::ChainConfig;
use opp2p_core::payload::Block;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Blocks that are asked for at once. A peer whose turn does not come gets none.
pub const LOOKUPS: usize = 4;
/// Time for one block: a peer waits for 10 s in all.
const TIMEOUT: Duration = Duration::from_secs(5);

/// An engine that is asked for blocks by number.
#[derive(Clone, Debug)]
pub struct EngineSource {
    client: EngineClient,
    turns: Arc<Semaphore>,
}

impl EngineSource {
    /// Nobody is asked yet.
    ///
    /// # Errors
    /// What is wrong with the endpoint.
    pub fn new(setup: &EngineSetup) -> Result<Self, HttpError> {
        let http = HttpConfig { timeout: TIMEOUT, ..setup.http.clone() };
        Ok(Self {
            client: EngineClient::new(&http, Some(setup.jwt))?,
            turns: Arc::new(Semaphore::new(LOOKUPS)),
        })
    }

    /// The engine's canonical block of this number; its hash is true.
    ///
    /// # Errors
    /// In one sentence, why the engine is of no help.
    pub async fn block(&self, chain: &ChainConfig, number: u64) -> Result<Option<Block>, String> {
        let turn = self.turns.try_acquire();
        let Ok(_turn) = turn else { return Err("too many blocks are asked for at once".into()) };
        self.client.block(chain, number).await.map_err(|failure| failure.to_string())
    }
}
