//! A fake execution client beside a node: the calls that it gets, and the effects of its answers.
//! `tests/execution` has the answers of real ones.

use super::fake_rpc::{Answer, FakeRpc};
use super::support::*;
use alloy_primitives::{B256, U64};
use opp2p::devnet::{BlockMaker, unix_seconds};
use opp2p::engine::{EngineClient, EngineLink, EngineSetup, EngineSource};
use opp2p::json::EnvelopeJson;
use opp2p_core::engine::{Activity, EngineEvent, EngineFailure, EngineStatus, PayloadStatus};
use opp2p_core::payload::{Block, Envelope, PayloadVersion};
use opp2p_node::host::Host;
use opp2p_node::http::HttpConfig;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::timeout;

pub(super) const TIME: Duration = Duration::from_secs(20);

/// The methods that op-reth lists since it knows Karst.
const CAPABILITIES: [&str; 13] = [
    "engine_forkchoiceUpdatedV1",
    "engine_forkchoiceUpdatedV2",
    "engine_forkchoiceUpdatedV3",
    "engine_getClientVersionV1",
    "engine_getPayloadV2",
    "engine_getPayloadV3",
    "engine_getPayloadV4",
    "engine_getPayloadV5",
    "engine_newPayloadV2",
    "engine_newPayloadV3",
    "engine_newPayloadV4",
    "engine_getPayloadBodiesByHashV1",
    "engine_getPayloadBodiesByRangeV1",
];

/// The state of an engine.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) head: (u64, B256),
    pub(super) known: BTreeMap<String, u64>,
    /// Its answer to payloads, in place of the usual one.
    pub(super) says: Option<Answer>,
    /// Its answer to heads with labels, in place of the usual one.
    pub(super) says_of_labels: Option<Answer>,
    /// Its answer about the first block, in place of the usual one.
    pub(super) says_of_genesis: Option<Answer>,
    /// Hashes of blocks that it calls invalid, each with the last valid one below.
    pub(super) invalid: BTreeMap<String, String>,
    /// Its safe block.
    pub(super) safe: Option<(u64, B256)>,
    /// Maker of its blocks, if it builds, which counts the blocks handed out.
    pub(super) maker: Option<BlockMaker>,
    /// The attributes of the last build request.
    pub(super) attributes: Value,
    /// Full blocks that it returns by number.
    pub(super) blocks: BTreeMap<u64, Value>,
}

impl Engine {
    fn new() -> Self {
        let genesis = chain().genesis.hash;
        Self {
            head: (0, genesis),
            known: BTreeMap::from([(genesis.to_string(), 0)]),
            says: None,
            says_of_labels: None,
            says_of_genesis: None,
            invalid: BTreeMap::new(),
            safe: None,
            maker: None,
            attributes: Value::Null,
            blocks: BTreeMap::new(),
        }
    }

    fn place(&self, tag: &str) -> Answer {
        let (number, hash) = match (tag, self.safe) {
            ("latest", _) => self.head,
            ("0x0", _) => match &self.says_of_genesis {
                Some(says) => return says.clone(),
                None => (0, chain().genesis.hash),
            },
            ("safe", Some(safe)) => safe,
            ("safe" | "finalized", _) => return Err((-39001, format!("{tag} block not found"))),
            _ => return Ok(Value::Null),
        };
        let timestamp = format!("{:#x}", unix_seconds());
        let number = format!("{number:#x}");
        Ok(json!({"number": number, "hash": hash, "timestamp": timestamp, "gasLimit": "0x1"}))
    }

    pub(super) fn answer(&mut self, method: &str, params: &Value) -> Answer {
        match method {
            "eth_chainId" => Ok(json!(format!("{CHAIN_ID:#x}"))),
            "engine_exchangeCapabilities" => Ok(json!(CAPABILITIES)),
            "eth_getBlockByNumber" if params[1] == true => {
                let number = params[0].as_str().unwrap().trim_start_matches("0x");
                let number = u64::from_str_radix(number, 16).unwrap();
                Ok(self.blocks.get(&number).cloned().unwrap_or_default())
            }
            "eth_getBlockByNumber" => self.place(params[0].as_str().unwrap()),
            "engine_newPayloadV4" => self.offered(params),
            "engine_forkchoiceUpdatedV3" => self.chosen(params),
            "engine_getPayloadV4" if self.maker.is_some() => {
                Err((-38005, "Unsupported fork".into()))
            }
            "engine_getPayloadV5" if self.maker.is_some() => Ok(self.built()),
            _ => Err((-32601, "the method does not exist".into())),
        }
    }

    fn offered(&mut self, params: &Value) -> Answer {
        if let Some(says) = &self.says {
            return says.clone();
        }
        let payload = &params[0];
        assert_eq!((&params[1], &params[3]), (&json!([]), &json!([])), "{params}");
        let [hash, parent] =
            ["blockHash", "parentHash"].map(|name| payload[name].as_str().unwrap());
        let refusal = |valid: &str, why: &str| {
            Ok(json!({"status": "INVALID", "latestValidHash": valid, "validationError": why}))
        };
        if let Some(valid) = self.invalid.get(hash) {
            return refusal(valid, "mismatched block state root");
        }
        if let Some(valid) = self.invalid.get(parent).cloned() {
            self.invalid.insert(hash.to_owned(), valid.clone());
            return refusal(&valid, "links to previously rejected block");
        }
        if !self.known.contains_key(parent) {
            return Ok(status("SYNCING"));
        }
        let number = payload["blockNumber"].as_str().unwrap().trim_start_matches("0x");
        self.known.insert(hash.to_owned(), u64::from_str_radix(number, 16).unwrap());
        Ok(status("VALID"))
    }

    fn chosen(&mut self, params: &Value) -> Answer {
        let hash = params[0]["headBlockHash"].as_str().unwrap();
        let number = self.known.get(hash).copied();
        if let Some(number) = number {
            // As reth does, even when the labels are refused.
            self.head = (number, hash.parse().unwrap());
        }
        let labels = [&params[0]["safeBlockHash"], &params[0]["finalizedBlockHash"]];
        if let Some(says) = &self.says_of_labels
            && labels != [&json!(B256::ZERO); 2]
        {
            return says.clone();
        }
        let id = params[1].is_object().then_some("0x0100000000000000");
        if id.is_some() {
            self.attributes = params[1].clone();
        }
        let payload = status(if number.is_some() { "VALID" } else { "SYNCING" });
        Ok(json!({"payloadStatus": payload, "payloadId": id}))
    }

    fn built(&mut self) -> Value {
        let time = self.attributes["timestamp"].as_str().unwrap().trim_start_matches("0x");
        let time = u64::from_str_radix(time, 16).unwrap();
        let envelope = self.maker.as_mut().unwrap().next(time);
        let mut built = serde_json::to_value(EnvelopeJson::try_from(&envelope).unwrap()).unwrap();
        built["blockValue"] = json!("0x0");
        built["blobsBundle"] = json!({"commitments": [], "proofs": [], "blobs": []});
        built["shouldOverrideBuilder"] = json!(false);
        built["executionRequests"] = json!([]);
        built
    }
}

pub(super) fn status(status: &str) -> Value {
    json!({"status": status, "latestValidHash": null, "validationError": null})
}

/// Serves an engine whose state can be changed meanwhile.
pub(super) fn served() -> (Arc<Mutex<Engine>>, FakeRpc) {
    let engine = Arc::new(Mutex::new(Engine::new()));
    let behind = Arc::clone(&engine);
    (engine, FakeRpc::start(move |method, params| behind.lock().unwrap().answer(method, params)))
}

pub(super) fn setup(rpc: &FakeRpc) -> EngineSetup {
    setup_at(&rpc.url())
}

pub(super) fn setup_at(url: &str) -> EngineSetup {
    let jwt = "11".repeat(32).parse().unwrap();
    let http = HttpConfig::new(url, TIME);
    EngineSetup { http, jwt, labels: None, sequencer: None, stopped: false }
}

pub(super) async fn until_engine(
    link: &EngineLink,
    wanted: impl FnMut(&EngineStatus) -> bool,
) -> EngineStatus {
    let mut status = link.status();
    let reached = timeout(TIME, status.wait_for(wanted)).await;
    reached.unwrap_or_else(|_| panic!("not in time: {:?}", link.status().borrow())).unwrap().clone()
}

/// Starts a node that makes its own blocks, without peers.
pub(super) async fn alone(directory: &std::path::Path) -> (Host, BlockMaker) {
    let mut config = config(directory, "alone", &[]);
    config.from_genesis = true;
    (Host::start(config).await.unwrap(), BlockMaker::new(&chain(), 1))
}

pub(super) async fn grow(host: &Host, maker: &mut BlockMaker, count: usize) -> Vec<Envelope> {
    let mut grown = Vec::new();
    for _ in 0..count {
        let envelope = maker.next(unix_seconds());
        host.insert(envelope.clone()).await.unwrap().unwrap();
        grown.push(envelope);
    }
    grown
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_is_fed_with_a_token_per_call_and_its_errors_are_survived() {
    let directory = tempfile::tempdir().unwrap();
    let (host, mut maker) = alone(directory.path()).await;
    let (engine, rpc) = served();
    let (link, mut events) = EngineLink::start(host.handle(), &setup(&rpc)).unwrap();
    grow(&host, &mut maker, 3).await;
    let status =
        until_engine(&link, |status| status.head.is_some_and(|head| head.number == 3)).await;
    assert_eq!((status.activity, status.behind), (Activity::Following, 0));
    assert_eq!(host.engine().and_then(|engine| engine.head), status.head);
    for (head, body) in rpc.asked.lock().unwrap().iter() {
        let head = head.to_lowercase();
        assert_eq!(head.matches("authorization: bearer ey").count(), 1, "{body}: {head}");
    }
    // An error of its own: the block is offered again afterwards.
    engine.lock().unwrap().says = Some(Err((-32000, "the database is locked".into())));
    grow(&host, &mut maker, 2).await;
    until_engine(&link, |status| {
        matches!(status.activity, Activity::Away(EngineFailure::Other(_)))
    })
    .await;
    engine.lock().unwrap().says = None;
    until_engine(&link, |status| status.head.is_some_and(|head| head.number == 5)).await;
    let mut failed = 0;
    while let Ok(event) = events.try_recv() {
        if let EngineEvent::Failed(failure) = event {
            assert!(failure.to_string().contains("the database is locked"), "{failure}");
            failed += 1;
        }
    }
    assert_eq!(failed, 1);
    link.stop().await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_come_from_their_source_and_a_silent_source_delays_no_block() {
    let directory = tempfile::tempdir().unwrap();
    let (host, mut maker) = alone(directory.path()).await;
    let (_engine, rpc) = served();
    let blocks = grow(&host, &mut maker, 4).await;
    let safe = blocks[1].payload.block_hash;
    let source = FakeRpc::start(move |method, params| match params[0].as_str() {
        _ if method == "eth_chainId" => Ok(json!(U64::from(chain().chain_id))),
        Some("safe") => {
            Ok(json!({"number": "0x2", "hash": safe, "timestamp": "0x1", "gasLimit": "0x1"}))
        }
        _ => Err((-39001, "finalized block not found".into())),
    });
    let labels = Some(HttpConfig::new(&source.url(), TIME));
    let (link, _) =
        EngineLink::start(host.handle(), &EngineSetup { labels, ..setup(&rpc) }).unwrap();
    until_engine(&link, |status| status.labels.safe.is_some_and(|safe| safe.number == 2)).await;
    grow(&host, &mut maker, 1).await;
    until_engine(&link, |status| status.head.is_some_and(|head| head.number == 5)).await;
    let asked = rpc.asked.lock().unwrap().clone();
    let (_, last) =
        asked.iter().rfind(|(_, body)| body["method"] == "engine_forkchoiceUpdatedV3").unwrap();
    assert_eq!(last["params"][0]["safeBlockHash"], json!(safe));
    assert_eq!(last["params"][0]["finalizedBlockHash"], json!(B256::ZERO));
    link.stop().await;

    // Nothing answers there: a listener that never accepts.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let labels = Some(HttpConfig::new(&url, TIME));
    let (link, _) =
        EngineLink::start(host.handle(), &EngineSetup { labels, ..setup(&rpc) }).unwrap();
    grow(&host, &mut maker, 3).await;
    let begun = std::time::Instant::now();
    until_engine(&link, |status| status.head.is_some_and(|head| head.number == 8)).await;
    assert!(begun.elapsed() < TIME / 2);
    link.stop().await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_from_an_engine_is_rebuilt_and_its_hash_is_checked() {
    let (engine, rpc) = served();
    let source = EngineSource::new(&setup(&rpc)).unwrap();
    let envelope = BlockMaker::new(&chain(), 1).next(unix_seconds());
    let payload = serde_json::to_value(EnvelopeJson::try_from(&envelope).unwrap()).unwrap();
    let payload = &payload["executionPayload"];
    let mut block = json!({
        "hash": payload["blockHash"], "parentHash": payload["parentHash"],
        "miner": payload["feeRecipient"],
        "sha3Uncles": "0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347",
        "stateRoot": payload["stateRoot"], "receiptsRoot": payload["receiptsRoot"],
        "transactionsRoot": B256::ZERO, "logsBloom": payload["logsBloom"],
        "mixHash": payload["prevRandao"],
        "number": payload["blockNumber"], "gasLimit": payload["gasLimit"],
        "gasUsed": payload["gasUsed"],
        "timestamp": payload["timestamp"], "extraData": payload["extraData"], "difficulty": "0x0",
        "nonce": "0x0000000000000000", "baseFeePerGas": payload["baseFeePerGas"],
        "withdrawalsRoot": payload["withdrawalsRoot"], "blobGasUsed": payload["blobGasUsed"],
        "excessBlobGas": payload["excessBlobGas"],
        "parentBeaconBlockRoot": envelope.parent_beacon_block_root,
        "uncles": [], "transactions": [], "withdrawals": [],
        // The hash of no requests, which headers have since Isthmus.
        "requestsHash": "0xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    });
    // Without its transactions it is another block.
    engine.lock().unwrap().blocks.insert(1, block.clone());
    let refused = source.block(1).await.unwrap_err();
    assert!(refused.contains("does not have the hash of its header"), "{refused}");
    assert_eq!(source.block(2).await.map(|block| block.is_some()), Ok(false));
    // One that has none.
    let mut empty = envelope.clone();
    empty.payload.transactions.clear();
    empty.payload.seal(empty.parent_beacon_block_root).unwrap();
    block["hash"] = json!(empty.payload.block_hash);
    engine.lock().unwrap().blocks.insert(1, block);
    let found = source.block(1).await.unwrap().unwrap();
    assert_eq!(found.to_envelope(), empty);
    // A block of another number than requested counts as none.
    let one = engine.lock().unwrap().blocks[&1].clone();
    engine.lock().unwrap().blocks.insert(7, one);
    assert_eq!(source.block(7).await.map(|block| block.is_some()), Ok(false));
}

#[tokio::test(flavor = "multi_thread")]
async fn engine_answers_are_distinguished() {
    let (engine, rpc) = served();
    let client = EngineClient::new(&setup(&rpc).http, Some(setup(&rpc).jwt)).unwrap();
    let mut body = Vec::new();
    BlockMaker::new(&chain(), 1).next(unix_seconds()).encode(&mut body).unwrap();
    let block = Block::decode(PayloadVersion::V4, None, body.into()).unwrap();
    let offer = async |says: Answer| {
        engine.lock().unwrap().says = Some(says);
        client.new_payload(&block, "engine_newPayloadV4").await
    };
    let status = |status: &str, why: Value| {
        Ok(json!({"status": status, "latestValidHash": B256::ZERO, "validationError": why}))
    };
    let error = |code, text: &str| Err((code, text.to_owned()));
    assert_eq!(offer(status("VALID", Value::Null)).await, Ok(PayloadStatus::Valid));
    assert_eq!(offer(status("ACCEPTED", Value::Null)).await, Ok(PayloadStatus::Accepted));
    assert_eq!(offer(status("SYNCING", Value::Null)).await, Ok(PayloadStatus::Syncing));
    let latest_valid = Some(B256::ZERO);
    let invalid = PayloadStatus::Invalid { reason: "a wrong root".into(), latest_valid };
    assert_eq!(offer(status("INVALID", json!("a wrong\u{7} root"))).await, Ok(invalid));
    let failure = offer(error(-38005, "Unsupported fork")).await;
    assert_eq!(failure, Err(EngineFailure::OtherFork("Unsupported fork".into())));
    let failure = offer(error(-38002, "Invalid forkchoice state")).await;
    assert_eq!(failure, Err(EngineFailure::Forkchoice("Invalid forkchoice state".into())));
    let failure = offer(error(-32601, "no")).await.unwrap_err();
    assert!(matches!(failure, EngineFailure::NoMethod(_)));
    assert!(failure.to_string().contains("Engine API"), "{failure}");
    let failure = offer(error(4444, "pruned history unavailable")).await;
    assert_eq!(failure, Err(EngineFailure::Pruned("pruned history unavailable".into())));
    assert!(matches!(offer(Ok(json!([1, 2]))).await, Err(EngineFailure::Other(_))));
    let host = rpc.host().to_owned();
    drop(rpc);
    let gone = client.new_payload(&block, "engine_newPayloadV4").await;
    assert!(
        matches!(&gone, Err(EngineFailure::Unreachable(text)) if text.contains(&host)),
        "{gone:?}"
    );
}
