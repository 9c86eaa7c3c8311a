//! Publications whose block does not get out.

use crate::support::{Node, chain, open, signer};
use opp2p::devnet::{BlockMaker, unix_seconds};
use opp2p::json::EnvelopeJson;
use serde_json::{Value, json};
use std::time::Duration;

/// Returns the next block as a caller sends it.
fn block(maker: &mut BlockMaker, timestamp: u64) -> Value {
    let envelope = maker.next(timestamp);
    serde_json::to_value(EnvelopeJson::try_from(&envelope).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_reaches_no_peer_is_answered_with_the_cause() {
    let node = Node::start_as(open(), &[], |config| {
        config.sequencer = Some(signer().into());
        config.timestamp_threshold = Duration::from_secs(10);
    })
    .await;
    let block = block(&mut BlockMaker::new(&chain(), 1), unix_seconds());
    let (code, text) = node.fails("opp2p_publishPayload", json!([block])).await;
    assert!(code == -32000 && text.contains("grew too old before it could be sent"), "{text}");
    assert!(text.contains("no peer is subscribed to the topic"), "{text}");
    node.stop().await;
}
