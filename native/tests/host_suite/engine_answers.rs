//! Answers of current execution clients (op-reth, base's node and geth), and their effects. The
//! texts and codes are theirs (reth's `EngineApiError` and `EthApiError`, op-reth's list of
//! capabilities).

use super::engine::*;
use super::fake_rpc::SILENCE;
use super::fake_ws::FakeWs;
use super::support::*;
use alloy_primitives::{B256, U64};
use opp2p::devnet::{BlockMaker, unix_seconds};
use opp2p::engine::{EngineLink, EngineSetup, StartError};
use opp2p_core::chain::{BlockId, ChainConfig, Fork, ForkSchedule};
use opp2p_core::engine::{Activity, DevelopmentL1, EngineEvent, EngineFailure, Mismatch};
use opp2p_core::l1::{L1Config, SIGNER_SLOT};
use opp2p_core::time::Now;
use opp2p_node::host::{Host, L1Reader};
use opp2p_node::http::HttpConfig;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::broadcast::Receiver;
use tokio::time::timeout;

fn heard(events: &mut Receiver<EngineEvent>) -> Vec<EngineEvent> {
    std::iter::from_fn(|| events.try_recv().ok()).collect()
}

async fn until_head(link: &EngineLink, number: u64) {
    until_engine(link, |status| {
        status.activity == Activity::Following
            && status.head.is_some_and(|head| head.number == number)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_without_the_first_block_is_fed_and_one_with_another_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (host, mut maker) = alone(directory.path()).await;
    let (engine, rpc) = served();
    let now = Now::new(Duration::ZERO, Duration::from_secs(unix_seconds()));
    let pruned = [
        Err((4444, "pruned history unavailable".to_owned())),
        Err((4444, "pruned history unavailable: requested 0, earliest 1000".to_owned())),
        Err((-32000, "header not found".to_owned())),
        Err((-32000, "required historical state unavailable".to_owned())),
        Ok(Value::Null),
    ];
    for says in pruned {
        engine.lock().unwrap().says_of_genesis = Some(says.clone());
        let state = setup(&rpc).first_look(&chain(), now).await.unwrap().unwrap();
        assert_eq!((state.genesis, state.head.number), (None, 0), "{says:?}");
    }
    let (link, mut events) = EngineLink::start(host.handle(), &setup(&rpc)).unwrap();
    grow(&host, &mut maker, 3).await;
    until_head(&link, 3).await;
    let told = heard(&mut events);
    let no_genesis = told.iter().filter(|event| **event == EngineEvent::NoGenesis(0));
    assert_eq!(no_genesis.count(), 1, "{told:?}");
    link.stop().await;

    let hash = B256::repeat_byte(5);
    let place = json!({"number": "0x0", "hash": hash, "timestamp": "0x1", "gasLimit": "0x1"});
    engine.lock().unwrap().says_of_genesis = Some(Ok(place));
    let refused = setup(&rpc).first_look(&chain(), now).await.unwrap_err();
    assert!(matches!(refused, StartError::Mismatch(Mismatch::Genesis { .. })), "{refused}");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_is_fed_over_one_websocket_and_again_after_it_closed() {
    let directory = tempfile::tempdir().unwrap();
    let (host, mut maker) = alone(directory.path()).await;
    let (engine, _rpc) = served();
    let behind = Arc::clone(&engine);
    let ws = FakeWs::answering(move |method, params| behind.lock().unwrap().answer(method, params))
        .await;
    let (link, _events) = EngineLink::start(host.handle(), &setup_at(&ws.url())).unwrap();
    grow(&host, &mut maker, 5).await;
    until_head(&link, 5).await;
    assert_eq!(ws.upgrades().len(), 1);
    ws.kick();
    grow(&host, &mut maker, 2).await;
    until_head(&link, 7).await;
    let upgrades = ws.upgrades();
    assert!(upgrades.len() > 1);
    for (_, who) in upgrades {
        assert!(who.as_ref().is_some_and(|who| who.starts_with("Bearer ey")), "{who:?}");
    }
    // The secret is wrong.
    *ws.refuses.lock().unwrap() = 401;
    ws.kick();
    grow(&host, &mut maker, 1).await;
    until_engine(&link, |status| status.activity == Activity::Away(EngineFailure::Unauthorized))
        .await;
    link.stop().await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_and_the_signer_are_read_over_websockets() {
    let directory = tempfile::tempdir().unwrap();
    let contract = alloy_primitives::Address::repeat_byte(0x5c);
    let hash = B256::repeat_byte(0xb1);
    let l1 = FakeWs::answering(move |method, params| match method {
        "eth_chainId" => Ok(json!("0x384")),
        "eth_blockNumber" => Ok(json!("0x64")),
        "eth_getBlockByNumber" => Ok(json!({ "number": params[0], "hash": hash })),
        "eth_getStorageAt" => {
            assert_eq!(params[1], json!(SIGNER_SLOT));
            Ok(json!(signer().address().into_word()))
        }
        _ => Err((-32601, "no such method".into())),
    })
    .await;
    let mut config = config(directory.path(), "reader", &[]);
    config.chain.unsafe_block_signer = None;
    config.l1 = Some(L1Reader {
        http: HttpConfig::new(&l1.url(), TIME),
        config: L1Config { chain_id: 900, contract, confirmations: 0, reload: None },
    });
    let host = Host::start(config).await.unwrap();
    let mut report = host.signer_report();
    let known = report.wait_for(|report| report.l1_block == Some(100));
    timeout(TIME, known).await.expect("in time").unwrap();
    let known = host.handle().core(|node, _| node.signers().current);
    assert_eq!(known, Some(signer().address()));
    assert_eq!(l1.upgrades().len(), 1);
    host.stop().await;

    let (host, mut maker) = alone(directory.path()).await;
    let (_engine, rpc) = served();
    let safe = grow(&host, &mut maker, 4).await[1].payload.block_hash;
    let source = FakeWs::answering(move |method, params| match params[0].as_str() {
        _ if method == "eth_chainId" => Ok(json!(U64::from(chain().chain_id))),
        Some("safe") => {
            Ok(json!({"number": "0x2", "hash": safe, "timestamp": "0x1", "gasLimit": "0x1"}))
        }
        _ => Err((4444, "pruned history unavailable".into())),
    })
    .await;
    let labels = Some(HttpConfig::new(&source.url(), TIME));
    let (link, _) =
        EngineLink::start(host.handle(), &EngineSetup { labels, ..setup(&rpc) }).unwrap();
    let expected = Some(BlockId::new(2, safe));
    until_engine(&link, |status| status.labels.safe == expected).await;
    link.stop().await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_call_is_abandoned_and_reported_and_the_next_one_works() {
    let directory = tempfile::tempdir().unwrap();
    let (host, mut maker) = alone(directory.path()).await;
    let (engine, rpc) = served();
    let short = Duration::from_millis(500);
    let http = HttpConfig::new(&rpc.url(), short);
    let (link, mut events) =
        EngineLink::start(host.handle(), &EngineSetup { http, ..setup(&rpc) }).unwrap();
    grow(&host, &mut maker, 2).await;
    until_head(&link, 2).await;
    heard(&mut events);
    engine.lock().unwrap().says = Some(Err((SILENCE, String::new())));
    grow(&host, &mut maker, 3).await;
    let status = until_engine(&link, |status| matches!(status.activity, Activity::Away(_))).await;
    let Activity::Away(EngineFailure::Unreachable(why)) = &status.activity else {
        panic!("{status:?}")
    };
    assert!(why.contains("did not answer within 0.5 s"), "{why}");
    // Several failed attempts, and one line.
    let tries = || rpc.methods().iter().filter(|name| *name == "engine_newPayloadV4").count();
    let before = tries();
    timeout(TIME, async {
        while tries() < before + 2 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .expect("it is tried again");
    engine.lock().unwrap().says = None;
    until_head(&link, 5).await;
    let told = heard(&mut events);
    let failed = told.iter().filter(|event| matches!(event, EngineEvent::Failed(_)));
    assert_eq!(failed.count(), 1, "{told:?}");
    link.stop().await;
    host.stop().await;
}

/// reth while it backfills, and geth for a block whose parent's state it lacks.
#[tokio::test(flavor = "multi_thread")]
async fn a_syncing_or_accepting_engine_gets_the_head_and_is_followed_when_done() {
    let directory = tempfile::tempdir().unwrap();
    let (host, mut maker) = alone(directory.path()).await;
    let (engine, rpc) = served();
    for says in ["SYNCING", "ACCEPTED"] {
        let (link, mut events) = EngineLink::start(host.handle(), &setup(&rpc)).unwrap();
        engine.lock().unwrap().says = Some(Ok(status(says)));
        let blocks = grow(&host, &mut maker, 3).await;
        until_engine(&link, |status| status.activity == Activity::Syncing).await;
        let asked = rpc.asked.lock().unwrap().clone();
        let told: Vec<_> = asked
            .iter()
            .filter(|(_, body)| body["method"] == "engine_forkchoiceUpdatedV3")
            .map(|(_, body)| body["params"][0]["headBlockHash"].clone())
            .collect();
        assert!(blocks.iter().any(|block| told.contains(&json!(block.payload.block_hash))));
        // It has fetched all blocks except the last one by itself.
        {
            let mut engine = engine.lock().unwrap();
            engine.says = None;
            for block in &blocks {
                let payload = &block.payload;
                engine.known.insert(payload.block_hash.to_string(), payload.block_number);
            }
            let done = &blocks[1].payload;
            engine.head = (done.block_number, done.block_hash);
        }
        until_head(&link, blocks[2].payload.block_number).await;
        let told = heard(&mut events);
        let syncing = told.iter().filter(|event| matches!(event, EngineEvent::Syncing { .. }));
        assert_eq!(syncing.count(), 1, "{told:?}");
        link.stop().await;
    }
    host.stop().await;
}

/// Base, 2026-06-25: a sequencer's block that every engine refuses, a child of it, then its
/// sibling.
#[tokio::test(flavor = "multi_thread")]
async fn the_sibling_of_a_block_that_the_engine_refuses_is_offered_and_followed() {
    let directory = tempfile::tempdir().unwrap();
    let (host, mut maker) = alone(directory.path()).await;
    let (engine, rpc) = served();
    let (link, mut events) = EngineLink::start(host.handle(), &setup(&rpc)).unwrap();
    let valid = grow(&host, &mut maker, 3).await[2].payload.block_hash;
    until_head(&link, 3).await;
    let mut good = maker.clone();
    let bad = maker.next(unix_seconds());
    let bad_id = BlockId::new(4, bad.payload.block_hash);
    engine.lock().unwrap().invalid.insert(bad_id.hash.to_string(), valid.to_string());
    host.insert(bad).await.unwrap().unwrap();
    grow(&host, &mut maker, 2).await;
    until_engine(&link, |status| status.activity == Activity::Stuck(bad_id)).await;
    assert_eq!(link.status().borrow().head, Some(BlockId::new(3, valid)));
    let start = unix_seconds() + 1;
    for time in start..start + 4 {
        let envelope = good.next(time);
        assert_ne!(envelope.payload.block_hash, bad_id.hash);
        host.insert(envelope).await.unwrap().unwrap();
    }
    until_head(&link, 7).await;
    let told = heard(&mut events);
    let invalid: Vec<_> =
        told.iter().filter(|event| matches!(event, EngineEvent::Invalid { .. })).collect();
    let reason = "mismatched block state root".to_owned();
    assert_eq!(invalid, [&EngineEvent::Invalid { block: bad_id, reason }]);
    link.stop().await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_refuses_labels_gets_only_the_head() {
    let directory = tempfile::tempdir().unwrap();
    let (host, mut maker) = alone(directory.path()).await;
    let (engine, rpc) = served();
    {
        let mut engine = engine.lock().unwrap();
        engine.safe = Some((0, chain().genesis.hash));
        engine.says_of_labels = Some(Err((-38002, "Invalid forkchoice state".into())));
    }
    let (link, mut events) = EngineLink::start(host.handle(), &setup(&rpc)).unwrap();
    grow(&host, &mut maker, 3).await;
    until_head(&link, 3).await;
    // Blocks are fed and chosen whether the labels are accepted or not.
    grow(&host, &mut maker, 3).await;
    until_head(&link, 6).await;
    let told = heard(&mut events);
    assert!(!told.iter().any(|event| matches!(event, EngineEvent::Failed(_))), "{told:?}");
    let refused = told.iter().filter(|event| matches!(event, EngineEvent::LabelsRefused { .. }));
    assert_eq!(refused.count(), 1, "{told:?}");
    link.stop().await;
    host.stop().await;
}

/// reth under Osaka's rules: `engine_getPayloadV4` is of an unsupported fork.
#[tokio::test(flavor = "multi_thread")]
async fn blocks_of_karst_are_built_by_v5() {
    let directory = tempfile::tempdir().unwrap();
    let now = unix_seconds();
    let karst = ChainConfig { forks: ForkSchedule::up_to(Fork::Karst), ..chain() };
    let mut config = config(directory.path(), "karst", &[]);
    config.chain = karst.clone();
    config.sequencer = Some(signer().into());
    let host = Host::start(config).await.unwrap();
    let (engine, rpc) = served();
    let mut maker = BlockMaker::new(&karst, 1);
    // The chain's genesis is long ago, but its first block is recent.
    let first = maker.next(now);
    {
        let mut engine = engine.lock().unwrap();
        engine.head = (1, first.payload.block_hash);
        engine.known.insert(first.payload.block_hash.to_string(), 1);
        engine.maker = Some(maker);
    }
    host.insert(first).await.unwrap().unwrap();
    let origin = BlockId::new(7, B256::repeat_byte(0x71));
    let l1 = DevelopmentL1 { origin, timestamp: now, batcher: Default::default() };
    let setup = EngineSetup { sequencer: Some(l1), ..setup(&rpc) };
    let mut events = host.events();
    let (link, mut told) = EngineLink::start(host.handle(), &setup).unwrap();
    let blocks = blocks(&mut events, 2).await;
    assert_eq!(blocks.len(), 2);
    let methods = rpc.methods();
    assert!(methods.iter().any(|name| name == "engine_getPayloadV5"), "{methods:?}");
    assert!(!methods.iter().any(|name| name == "engine_getPayloadV4"), "{methods:?}");
    let failed = heard(&mut told).into_iter().find(|event| matches!(event, EngineEvent::Failed(_)));
    assert_eq!(failed, None);
    link.stop().await;
    host.stop().await;
}

/// Base since Denim: the attributes carry the milliseconds of the second transaction.
#[tokio::test(flavor = "multi_thread")]
async fn attributes_carry_milliseconds_where_the_chain_has_them() {
    let (engine, rpc) = served();
    let client = opp2p::engine::EngineClient::new(&setup(&rpc).http, Some(setup(&rpc).jwt));
    let forks = ForkSchedule::up_to(Fork::Jovian).with(Fork::Denim, Some(0));
    let chain = ChainConfig { forks, ..chain() };
    let l1 = DevelopmentL1 {
        origin: BlockId::new(7, B256::repeat_byte(0x71)),
        timestamp: 1_700_000_000,
        batcher: Default::default(),
    };
    let choice = opp2p_core::engine::Forkchoice {
        head: chain.genesis.hash,
        safe: B256::ZERO,
        finalized: B256::ZERO,
        method: "engine_forkchoiceUpdatedV3",
    };
    let asked: Arc<Mutex<Vec<Value>>> = Arc::default();
    for millis in [None, Some(0), Some(800)] {
        let attributes = l1.attributes(&chain, 5, 1_700_000_001, millis, 30_000_000);
        let client = client.as_ref().unwrap();
        let (_, id) = client.forkchoice_updated(&choice, Some(&attributes)).await.unwrap();
        assert!(id.is_some());
        asked.lock().unwrap().push(engine.lock().unwrap().attributes.clone());
    }
    let asked = asked.lock().unwrap();
    assert_eq!(asked[0].get("timestampMillisPart"), None);
    assert_eq!(asked[1]["timestampMillisPart"], "0x0");
    assert_eq!(asked[2]["timestampMillisPart"], "0x320");
    assert_eq!(asked[2]["timestamp"], "0x6553f101");
    assert_eq!(asked[2]["transactions"].as_array().map(Vec::len), Some(2));
}
