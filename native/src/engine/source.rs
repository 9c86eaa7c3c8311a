//! Blocks that peers request and that only the engine has.

use super::client::EngineClient;
use super::run::EngineSetup;
use futures::FutureExt;
use futures::future::BoxFuture;
use opp2p_core::payload::Block;
use opp2p_node::host::BlockSource;
use opp2p_node::http::{HttpConfig, HttpError};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Maximum number of concurrent block lookups. Further ones are refused.
pub const LOOKUPS: usize = 4;
/// Timeout of one lookup: a peer waits 10 s in all.
const TIMEOUT: Duration = Duration::from_secs(5);

/// An engine as a source of blocks by number.
#[derive(Clone, Debug)]
pub struct EngineSource {
    client: EngineClient,
    turns: Arc<Semaphore>,
}

impl EngineSource {
    /// Creates a source without connecting.
    ///
    /// # Errors
    /// If the endpoint is invalid.
    pub fn new(setup: &EngineSetup) -> Result<Self, HttpError> {
        let http = HttpConfig { timeout: TIMEOUT.min(setup.http.timeout), ..setup.http.clone() };
        Ok(Self {
            client: EngineClient::new(&http, Some(setup.jwt))?,
            turns: Arc::new(Semaphore::new(LOOKUPS)),
        })
    }

    /// Returns the engine's canonical block of this number, with a verified hash.
    ///
    /// # Errors
    /// The reason why the engine gave no result, as one sentence.
    pub async fn block(&self, number: u64) -> Result<Option<Block>, String> {
        let turn = self.turns.try_acquire();
        let Ok(_turn) = turn else { return Err("too many blocks are asked for at once".into()) };
        self.client.block(number).await.map_err(|failure| failure.to_string())
    }
}

impl BlockSource for EngineSource {
    fn block(&self, number: u64) -> BoxFuture<'_, Result<Option<Block>, String>> {
        Self::block(self, number).boxed()
    }
}
