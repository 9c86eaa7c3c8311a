//! The calls of op-conductor, op-batcher, op-proposer and proxyd to a rollup node, in op-node's
//! shapes and with its texts.

use crate::support::{Node, looking, open};
use alloy_primitives::{Address, B256, keccak256};
use opp2p::devnet::{BlockMaker, unix_seconds};
use opp2p::engine::{EngineLink, EngineSetup};
use opp2p::rpc::{LogLevel, RpcConfig, RpcServer};
use opp2p_core::chain::{BlockId, Fork, ForkSchedule, Labels};
use opp2p_core::engine::DevelopmentL1;
use opp2p_core::payload::{Block, L1Info};
use opp2p_node::http::HttpConfig;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Returns a block in the format of op-node's sync status.
fn l2_ref(block: &Block) -> Value {
    let first = block.payload().transaction(0).expect("a deposit");
    let info = L1Info::from_transaction(first).expect("it tells of L1");
    json!({
        "hash": block.hash(),
        "number": block.number(),
        "parentHash": block.parent_hash(),
        "timestamp": block.timestamp(),
        "l1origin": { "hash": info.hash, "number": info.number },
        "sequenceNumber": info.sequence_number,
    })
}

/// Returns an unknown block in that format.
fn no_l2() -> Value {
    json!({
        "hash": B256::ZERO, "number": 0, "parentHash": B256::ZERO, "timestamp": 0,
        "l1origin": { "hash": B256::ZERO, "number": 0 }, "sequenceNumber": 0,
    })
}

fn l1_ref(number: u64) -> Value {
    let hash = if number == 0 { B256::ZERO } else { B256::with_last_byte(number as u8) };
    let parent = B256::with_last_byte(number.saturating_sub(1) as u8);
    json!({
        "hash": hash, "number": number, "parentHash": parent,
        "timestamp": if number == 0 { 0 } else { 1_700_000_000 + 12 * number },
    })
}

/// Extends the chain of a node without peers.
async fn grow(node: &Node, maker: &mut BlockMaker, count: usize) {
    let mut last = 0;
    for _ in 0..count {
        let block = maker.next(unix_seconds());
        last = block.payload.block_number;
        node.host.insert(block).await.unwrap().unwrap();
    }
    node.until(|status| status.head.is_some_and(|head| head.number == last)).await;
}

/// Starts an L1 node that knows blocks 50 (finalized), 60 (safe) and 70, and returns its URL.
async fn l1() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = vec![0; 4096];
                let mut length = 0;
                while let Ok(read @ 1..) = stream.read(&mut request[length..]).await {
                    length += read;
                    let text = String::from_utf8_lossy(&request[..length]);
                    let Some((label, number)) = [("latest", 70), ("safe", 60), ("finalized", 50)]
                        .into_iter()
                        .find(|(label, _)| text.contains(label))
                    else {
                        continue;
                    };
                    assert!(text.contains("eth_getBlockByNumber"), "{label}: {text}");
                    let block = l1_ref(number);
                    let result = json!({
                        "hash": block["hash"], "number": format!("{number:#x}"),
                        "parentHash": block["parentHash"],
                        "timestamp": format!("{:#x}", block["timestamp"].as_u64().unwrap()),
                    });
                    let body = json!({ "jsonrpc": "2.0", "id": 1, "result": result }).to_string();
                    let answer = format!(
                        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: \
                         {}\r\n\r\n{body}",
                        body.len()
                    );
                    stream.write_all(answer.as_bytes()).await.unwrap();
                    length = 0;
                }
            });
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sync_status_has_every_field_and_zeros_where_nothing_is_known() {
    let node = Node::start_as(looking(), &[], |config| config.from_genesis = false).await;
    let names = [
        "current_l1",
        "current_l1_finalized",
        "head_l1",
        "safe_l1",
        "finalized_l1",
        "unsafe_l2",
        "safe_l2",
        "finalized_l2",
        "pending_safe_l2",
        "local_safe_l2",
    ];
    let nothing: serde_json::Map<String, Value> = names
        .iter()
        .map(|name| {
            let value = if name.ends_with("_l2") { no_l2() } else { l1_ref(0) };
            ((*name).to_owned(), value)
        })
        .collect();
    assert_eq!(node.call("optimism_syncStatus", json!([])).await, Value::Object(nothing.clone()));
    let mut maker = BlockMaker::new(&crate::support::chain(), 1);
    grow(&node, &mut maker, 3).await;
    let status = node.call("optimism_syncStatus", json!([])).await;
    let head = node.host.canonical_block(3).unwrap().unwrap();
    let mut expected = nothing;
    expected["unsafe_l2"] = l2_ref(&head);
    assert_eq!(status, Value::Object(expected));
    // Numbers are JSON numbers, and the origin is written in lower case.
    assert!(status["unsafe_l2"]["l1origin"]["number"].as_u64().is_some_and(|number| number > 0));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_and_l1_fill_the_sync_status() {
    let node = Node::start(looking(), &[]).await;
    let mut maker = BlockMaker::new(&crate::support::chain(), 1);
    grow(&node, &mut maker, 3).await;
    let block = |number| node.host.canonical_block(number).unwrap().unwrap();
    // The finalized block is not held here.
    let finalized = BlockId::new(0, B256::repeat_byte(9));
    let labels = Labels { safe: Some(BlockId::of(&block(2))), finalized: Some(finalized) };
    let (_keep, labels) = watch::channel(labels);
    let l1 = Some(HttpConfig::new(&l1().await, Duration::from_secs(5)));
    let config = RpcConfig { labels: Some(labels), l1, ..looking() };
    let rpc = RpcServer::start(config, node.host.handle()).await.unwrap();
    let node = Node { rpc, ..node };
    let status = node.call("optimism_syncStatus", json!([])).await;
    let block = |number| node.host.canonical_block(number).unwrap().unwrap();
    assert_eq!(status["unsafe_l2"], l2_ref(&block(3)));
    for safe in ["safe_l2", "local_safe_l2"] {
        assert_eq!(status[safe], l2_ref(&block(2)), "{safe}");
    }
    let mut genesis = no_l2();
    (genesis["hash"], genesis["timestamp"]) = (json!(finalized.hash), json!(1_700_000_000));
    assert_eq!(status["finalized_l2"], genesis);
    for (name, number) in [
        ("current_l1", 0),
        ("head_l1", 70),
        ("safe_l1", 60),
        ("finalized_l1", 50),
        ("current_l1_finalized", 50),
    ] {
        assert_eq!(status[name], l1_ref(number), "{name}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn output_roots_are_served_from_isthmus_on() {
    let node = Node::start(looking(), &[]).await;
    let mut maker = BlockMaker::new(&crate::support::chain(), 1);
    grow(&node, &mut maker, 2).await;
    let output = node.call("optimism_outputAtBlock", json!(["0x1"])).await;
    let block = node.host.canonical_block(1).unwrap().unwrap();
    let (state, storage) =
        (block.payload().state_root(), block.payload().withdrawals_root().unwrap());
    let preimage = [B256::ZERO, state, storage, block.hash()].concat();
    let expected = json!({
        "version": B256::ZERO,
        "outputRoot": keccak256(preimage),
        "blockRef": l2_ref(&block),
        "withdrawalStorageRoot": storage,
        "stateRoot": state,
        "syncStatus": node.call("optimism_syncStatus", json!([])).await,
    });
    assert_eq!(output, expected);
    let (code, text) = node.fails("optimism_outputAtBlock", json!(["0x7"])).await;
    assert!(code == -32000 && text.contains("not found"), "{code} {text}");
    assert_eq!(node.fails("optimism_outputAtBlock", json!([7])).await.0, -32602);
    assert_eq!(node.fails("optimism_outputAtBlock", json!([])).await.0, -32602);
    node.stop().await;

    let node = Node::start_as(looking(), &[], |config| {
        config.chain.forks = ForkSchedule::up_to(Fork::Holocene);
    })
    .await;
    let chain = node.host.handle().core(|node, _| node.chain().clone());
    grow(&node, &mut BlockMaker::new(&chain, 1), 1).await;
    let (code, text) = node.fails("optimism_outputAtBlock", json!(["0x1"])).await;
    assert!(code == -32000 && text.contains("Isthmus") && !text.contains("not found"), "{text}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rollup_config_is_returned_as_the_operator_wrote_it() {
    let text = r#"{ "l2_chain_id": 901,  "whatever": [1.50, null], "seq_window_size": 3600 }"#;
    let rollup = RawValue::from_string(text.to_owned()).unwrap();
    let node = Node::start(RpcConfig { rollup: Some(Arc::from(rollup)), ..looking() }, &[]).await;
    let body = json!({"jsonrpc": "2.0", "id": 7, "method": "optimism_rollupConfig"}).to_string();
    let answer = crate::support::post(node.rpc.address(), &[], &body).await;
    assert!(answer.body.contains(text), "{answer:?}");
    node.stop().await;
    // Without a file, or if derivation is needed, the method does not exist.
    let node = Node::start(looking(), &[]).await;
    for method in [
        "optimism_rollupConfig",
        "optimism_safeHeadAtL1Block",
        "admin_sdmStatus",
        "superroot_atTimestamp",
    ] {
        let (code, text) = node.fails(method, json!([])).await;
        assert_eq!(code, -32601, "{method}: {text}");
        assert!(text.contains(method) && text.contains("does not exist"), "{text}");
    }
    node.stop().await;
}

#[derive(Debug, Default)]
struct Levels(Mutex<Vec<String>>);

impl LogLevel for Levels {
    fn set(&self, level: &str) -> Result<(), String> {
        if level == "loud" {
            return Err("unknown level: loud".into());
        }
        self.0.lock().unwrap().push(level.to_owned());
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_builds_no_blocks_answers_like_the_reference() {
    let levels = Arc::new(Levels::default());
    let config = RpcConfig { log_level: Some(Arc::clone(&levels) as _), ..open() };
    let node = Node::start(config, &[]).await;
    for question in ["admin_sequencerActive", "admin_conductorEnabled"] {
        assert_eq!(node.call(question, json!([])).await, json!(false), "{question}");
    }
    let hash = json!([B256::repeat_byte(1)]);
    for (method, params) in [
        ("admin_startSequencer", hash),
        ("admin_stopSequencer", json!([])),
        ("admin_overrideLeader", json!([])),
    ] {
        let expected = (-32000, "sequencer is not enabled".to_owned());
        assert_eq!(node.fails(method, params).await, expected, "{method}");
    }
    assert_eq!(node.fails("admin_startSequencer", json!([])).await.0, -32602);
    assert_eq!(node.call("admin_resetDerivationPipeline", json!([])).await, Value::Null);
    assert_eq!(node.call("admin_setLogLevel", json!(["debug"])).await, Value::Null);
    let expected = (-32000, "unknown level: loud".to_owned());
    assert_eq!(node.fails("admin_setLogLevel", json!(["loud"])).await, expected);
    assert_eq!(*levels.0.lock().unwrap(), ["debug"]);
    node.stop().await;
    // A caller with read access may query, but not change anything.
    let node = Node::start(looking(), &[]).await;
    assert_eq!(node.call("admin_sequencerActive", json!([])).await, json!(false));
    for method in ["admin_stopSequencer", "admin_setLogLevel", "admin_resetDerivationPipeline"] {
        let (code, text) = node.fails(method, json!([])).await;
        assert!(code == -32000 && text.contains("setting rpc.enable-admin"), "{method}: {text}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn building_is_started_and_stopped_with_the_head_that_both_know() {
    let node = Node::start(open(), &[]).await;
    grow(&node, &mut BlockMaker::new(&crate::support::chain(), 1), 1).await;
    let head = node.host.status().borrow().head.unwrap().hash;
    let origin = BlockId::new(1, B256::repeat_byte(1));
    let l1 = DevelopmentL1 { origin, timestamp: unix_seconds(), batcher: Address::ZERO };
    // The endpoint is unreachable, but the wanted state is known.
    let setup = EngineSetup {
        http: HttpConfig::new("http://127.0.0.1:9", Duration::from_secs(5)),
        jwt: "11".repeat(32).parse().unwrap(),
        labels: None,
        sequencer: Some(l1),
        stopped: true,
    };
    let (link, _events) = EngineLink::start(node.host.handle(), &setup).unwrap();
    let config = RpcConfig { sequencer: Some(link.sequencer()), ..open() };
    let rpc = RpcServer::start(config, node.host.handle()).await.unwrap();
    let node = Node { rpc, ..node };
    let failed = |text: String| (-32000, text);
    assert_eq!(node.call("admin_sequencerActive", json!([])).await, json!(false));
    let stop = node.fails("admin_stopSequencer", json!([])).await;
    assert_eq!(stop, failed("sequencer not running".into()));
    let other = B256::repeat_byte(7);
    let start = node.fails("admin_startSequencer", json!([other])).await;
    assert_eq!(start, failed(format!("block hash does not match: head {head}, received {other}")));
    assert_eq!(node.call("admin_startSequencer", json!([head])).await, Value::Null);
    assert_eq!(node.call("admin_sequencerActive", json!([])).await, json!(true));
    let start = node.fails("admin_startSequencer", json!([head])).await;
    assert_eq!(start, failed("sequencer already running".into()));
    assert_eq!(node.call("admin_overrideLeader", json!([])).await, Value::Null);
    assert_eq!(node.call("admin_stopSequencer", json!([])).await, json!(head));
    assert_eq!(node.call("admin_sequencerActive", json!([])).await, json!(false));
    link.stop().await;
    node.stop().await;
}
