//! A node other than the engine that reports the safe and finalized blocks.

use super::engine::*;
use super::fake_rpc::{Answer, FakeRpc};
use super::support::*;
use alloy_primitives::U64;
use opp2p::devnet::unix_seconds;
use opp2p::engine::{EngineLink, EngineSetup, StartError};
use opp2p_core::chain::BlockId;
use opp2p_core::engine::LabelsFailure;
use opp2p_core::time::Now;
use opp2p_node::http::HttpConfig;
use serde_json::json;
use std::time::Duration;

/// Starts a source that answers each request for a block with this.
fn source(chain_id: u64, answer: Answer) -> FakeRpc {
    FakeRpc::start(move |method, _| match method {
        "eth_chainId" => Ok(json!(U64::from(chain_id))),
        _ => answer.clone(),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_source_leaves_the_engines_labels_in_force_and_is_reported() {
    let directory = tempfile::tempdir().unwrap();
    let (host, mut maker) = alone(directory.path()).await;
    let (engine, rpc) = served();
    let safe = BlockId::new(0, chain().genesis.hash);
    engine.lock().unwrap().safe = Some((safe.number, safe.hash));
    grow(&host, &mut maker, 2).await;
    let own = chain().chain_id;
    for (chain_id, answer, expected) in [
        (own, Err((-32601, "no such method".into())), "it does not know eth_getBlockByNumber"),
        (own, Err((-32005, "rate limit".into())), "rate limit"),
        (own, Ok(json!({"number": "?"})), "eth_getBlockByNumber"),
        (own + 1, Ok(json!(null)), "it is on chain"),
    ] {
        let labels = source(chain_id, answer);
        let labels = Some(HttpConfig::new(&labels.url(), TIME));
        let setup = EngineSetup { labels, ..setup(&rpc) };
        let (link, _) = EngineLink::start(host.handle(), &setup).unwrap();
        let status = until_engine(&link, |status| {
            status.labels_failure.is_some() && status.labels.safe == Some(safe)
        })
        .await;
        let failure = status.labels_failure.unwrap().to_string();
        assert!(failure.contains(expected), "{failure}");
        link.stop().await;
    }
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unusable_source_is_refused_at_the_start() {
    let (_engine, rpc) = served();
    let own = chain().chain_id;
    let now = Now::new(Duration::ZERO, Duration::from_secs(unix_seconds()));
    let look = async |chain_id, answer| {
        let source = source(chain_id, answer);
        let labels = Some(HttpConfig::new(&source.url(), TIME));
        let setup = EngineSetup { labels, ..setup(&rpc) };
        let looked = setup.first_look(&chain(), now).await;
        looked.map(drop)
    };
    let other = LabelsFailure::OtherChain { expected: own, found: 7 };
    assert_eq!(look(7, Ok(json!(null))).await, Err(StartError::NoLabels(other)));
    let unknown = LabelsFailure::NoMethod("eth_getBlockByNumber".into());
    let refusal = Err((-32601, "no such method".into()));
    assert_eq!(look(own, refusal).await, Err(StartError::NoLabels(unknown)));
    // What may pass does not keep a node from its start.
    assert_eq!(look(own, Err((-32005, "rate limit".into()))).await, Ok(()));
    assert_eq!(look(own, Ok(json!(null))).await, Ok(()));
}
