//! Blocks that are handed in: to be published, or to be taken into this node's own chain.

use super::methods::{Answer, Rpc, raw, stopped};
use super::params::{Arguments, failed};
use crate::engine::EnvelopeJson;
use futures::FutureExt;
use futures::future::BoxFuture;
use jsonrpsee::types::ErrorObjectOwned;
use opp2p_core::payload::Envelope;

/// `opp2p_publishPayload`: signs a block and has it gossiped. Answered with its hash once it is on its way to a peer.
pub(super) fn publish(rpc: Rpc, given: Arguments) -> BoxFuture<'static, Answer> {
    async move {
        let envelope = envelope(given).await?;
        let hash = rpc.host.publish(envelope).await.map_err(stopped)?.map_err(failed)?;
        raw(&hash)
    }
    .boxed()
}

/// `admin_postUnsafePayload`: takes a block into this node's chain, as if the sequencer had signed it, and gossips it to
/// nobody. Answered with null.
pub(super) fn post_unsafe(rpc: Rpc, given: Arguments) -> BoxFuture<'static, Answer> {
    async move {
        let envelope = envelope(given).await?;
        rpc.host.insert(envelope).await.map_err(stopped)?.map_err(failed)?;
        raw(&())
    }
    .boxed()
}

/// The block, read on another thread: it may have megabytes.
async fn envelope(given: Arguments) -> Result<Envelope, ErrorObjectOwned> {
    let read = tokio::task::spawn_blocking(move || given.into_object::<EnvelopeJson>("a block"));
    let read = read.await.unwrap_or_else(|_| Err(failed("the call failed unexpectedly")));
    read.map(Envelope::from)
}
