//! Methods that take a block: to publish it, or to insert it into this node's own chain.

use super::context::Rpc;
use super::error::CallError;
use super::params::{Answer, Arguments, failed, raw};
use crate::json::EnvelopeJson;
use futures::FutureExt;
use futures::future::BoxFuture;
use opp2p_core::payload::Envelope;

/// Implements `opp2p_publishPayload`: signs a block and gossips it. Answers with its hash once it
/// is on its way to a peer.
pub(super) fn publish(rpc: Rpc, given: Arguments) -> BoxFuture<'static, Answer> {
    async move {
        let envelope = envelope(given).await?;
        let hash = rpc.host.publish(envelope).await.map_err(failed)?.map_err(failed)?;
        raw(&hash)
    }
    .boxed()
}

/// Implements `admin_postUnsafePayload`: inserts a block into this node's chain, as if the
/// sequencer had signed it, without gossiping it. Answers `null`.
pub(super) fn post_unsafe(rpc: Rpc, given: Arguments) -> BoxFuture<'static, Answer> {
    async move {
        let envelope = envelope(given).await?;
        rpc.host.insert(envelope).await.map_err(failed)?.map_err(failed)?;
        raw(&())
    }
    .boxed()
}

/// Parses the block on another thread: it may have megabytes.
async fn envelope(given: Arguments) -> Result<Envelope, CallError> {
    let read = tokio::task::spawn_blocking(move || given.into_object::<EnvelopeJson>("a block"));
    let read = read.await.unwrap_or_else(|_| Err(failed("the call failed unexpectedly")));
    read.map(Envelope::from)
}
