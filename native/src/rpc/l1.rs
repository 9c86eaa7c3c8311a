//! L1's newest blocks, which `optimism_syncStatus` shows.
//!
//! # Bounds
//! The three blocks are read at most once per [`L1_EVERY`], however often callers ask, and each
//! read has [`L1_TIME`].

use futures::future::join3;
use opp2p_core::l1::{L1Block, MAX_ANSWER};
use opp2p_node::http::{HttpClient, HttpConfig, HttpError};
use serde_json::value::RawValue;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// Minimum interval between two reads of L1.
const L1_EVERY: Duration = Duration::from_secs(4);
/// Timeout of a request to L1.
const L1_TIME: Duration = Duration::from_secs(4);
/// State of the `optimism` namespace.
#[derive(Clone, Debug, Default)]
pub(super) struct Optimism {
    /// The operator's `rollup.json`, verbatim.
    pub(super) rollup: Option<Arc<RawValue>>,
    pub(super) l1: Option<Arc<L1>>,
}

/// Reader of L1's newest blocks, with the last result.
#[derive(Debug)]
pub(super) struct L1 {
    client: HttpClient,
    last: Mutex<(Option<Instant>, L1Heads)>,
}

/// L1's newest blocks, as far as they are known.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct L1Heads {
    pub(super) latest: L1Block,
    pub(super) safe: L1Block,
    pub(super) finalized: L1Block,
}

impl L1 {
    /// Creates a reader of this L1 node.
    pub(super) fn new(node: &HttpConfig) -> Result<Self, HttpError> {
        let node = HttpConfig { timeout: L1_TIME, ..node.clone() };
        Ok(Self { client: HttpClient::new(&node)?, last: Mutex::default() })
    }

    /// Returns L1's newest blocks. A block that can't be read now keeps its last value.
    pub(super) async fn heads(&self) -> L1Heads {
        let mut last = self.last.lock().await;
        let (at, mut heads) = *last;
        if at.is_some_and(|at| at.elapsed() < L1_EVERY) {
            return heads;
        }
        let read = join3(self.read("latest"), self.read("safe"), self.read("finalized"));
        let (latest, safe, finalized) = read.await;
        heads.latest = latest.unwrap_or(heads.latest);
        heads.safe = safe.unwrap_or(heads.safe);
        heads.finalized = finalized.unwrap_or(heads.finalized);
        *last = (Some(Instant::now()), heads);
        heads
    }

    async fn read(&self, label: &str) -> Option<L1Block> {
        let answer = self.client.post(L1Block::request(label).into(), MAX_ANSWER).await;
        L1Block::from_answer(&answer.ok()?).ok()?
    }
}
