//! Troubles that come from what a node depends on: disk, remote signer, L1, execution client,
//! labels and NATS.

#[allow(dead_code, reason = "the other suite uses all of it")]
#[path = "../host_suite/fake_rpc.rs"]
pub(crate) mod fake_rpc;

use crate::chain::{Blocks, GENESIS_HASH, SEQUENCER_KEY, signer};
use crate::support::{Place, free_port};
use crate::troubles::{Node, PATIENCE, arguments, follower, jovian, node, sequencer, until};
use alloy_primitives::{Address, B256, hex, keccak256};
use fake_rpc::{Answer, FakeRpc};
use opp2p_core::gossip::{BLOCK_DOMAIN, signing_hash};
use opp2p_core::l1::SIGNER_SLOT;
use opp2p_core::sequencer::LocalSigner;
use opp2p_core::trouble::TroubleKind;
use serde_json::{Value, json};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A switch of a fake server: whether it fails.
type Fails = Arc<AtomicBool>;

fn fails(from_the_start: bool) -> (Fails, Fails) {
    let fails = Arc::new(AtomicBool::new(from_the_start));
    (Arc::clone(&fails), fails)
}

/// Starts an L1 node that knows the signer.
fn l1(fails: Fails) -> FakeRpc {
    FakeRpc::start(move |method, params| {
        let hash = B256::repeat_byte(0xb1);
        match method {
            _ if fails.load(Ordering::SeqCst) => Err((-32000, "out of order".into())),
            "eth_chainId" => Ok(json!("0x384")),
            "eth_blockNumber" => Ok(json!("0x64")),
            "eth_getBlockByNumber" => Ok(json!({ "number": params[0], "hash": hash })),
            "eth_getStorageAt" => {
                assert_eq!(params[1], json!(SIGNER_SLOT));
                Ok(json!(signer().into_word()))
            }
            _ => Err((-32601, "no such method".into())),
        }
    })
}

#[test]
fn a_failing_l1_and_an_unknown_signer_are_reported() {
    let place = Place::new();
    let (l1_fails, fails) = fails(true);
    let l1 = l1(fails);
    let mut rollup = jovian();
    rollup["l1_system_config_address"] = json!(Address::repeat_byte(0x5c));
    let url = l1.url();
    let more = ["--l1", &url, "--l1.runtime-config-reload-interval", "1s"];
    let node = Node::start(place.opp2p(&arguments(&place, "node", &rollup, &more)));
    node.told(&place, TroubleKind::SignerUnknown);
    node.is_not_ready("signer");
    l1_fails.store(false, Ordering::SeqCst);
    node.over(TroubleKind::SignerUnknown);
    // The signer stays in force now, but nobody would see its rotation.
    l1_fails.store(true, Ordering::SeqCst);
    let text = node.told(&place, TroubleKind::L1);
    assert!(text.contains("out of order"), "{text}");
    l1_fails.store(false, Ordering::SeqCst);
    node.over(TroubleKind::L1);
    node.daemon.end("TERM");
}

/// Starts a remote signer with the sequencer's key, which knows the newer of the two methods.
fn remote_signer(fails: Fails) -> FakeRpc {
    let key: [u8; 32] = hex::decode(SEQUENCER_KEY).unwrap().try_into().unwrap();
    let signer = LocalSigner::from_bytes(&key).unwrap();
    FakeRpc::start(move |method, params| match method {
        "health_status" => Ok(json!("v1")),
        _ if fails.load(Ordering::SeqCst) => Err((-32011, "refused by policy".into())),
        "opsigner_signBlockPayloadV2" => {
            let hash: B256 = serde_json::from_value(params[0]["payloadHash"].clone()).unwrap();
            let signature = signer.sign(&signing_hash(BLOCK_DOMAIN, 100.into(), hash));
            Ok(json!(hex::encode_prefixed(signature)))
        }
        _ => Err((-32601, format!("the method {method} does not exist"))),
    })
}

#[test]
fn a_refusing_remote_signer_is_reported_at_the_first_block() {
    let place = Place::new();
    let (signer_fails, fails) = fails(true);
    let remote = remote_signer(fails);
    let (url, address) = (remote.url(), signer().to_string());
    let mut first = node(
        &place,
        "first",
        &[
            "--publish.stdin",
            "--signer.endpoint",
            &url,
            "--signer.address",
            &address,
            "--signer.tls.enabled=false",
        ],
    );
    let second = follower(&place, "second", &[&first], &[]);
    first.daemon.wait_for(0, PATIENCE, |line| line.contains("\"msg\":\"connected\""));
    first.is_ready();
    let block = Blocks::new().next(10);
    first.publish(&block);
    let text = first.told(&place, TroubleKind::Signing);
    assert!(text.contains("refused by policy"), "{text}");
    first.is_not_ready("sign");
    signer_fails.store(false, Ordering::SeqCst);
    second.has(&block);
    first.over(TroubleKind::Signing);
    first.is_ready();
    for node in [first, second] {
        node.daemon.end("TERM");
    }
}

/// Starts an execution client that takes every block, or calls every one invalid.
fn engine(refuses: Fails) -> FakeRpc {
    let head = std::sync::Mutex::new((0_u64, GENESIS_HASH));
    let numbers = std::sync::Mutex::new(std::collections::BTreeMap::new());
    FakeRpc::start(move |method, params| -> Answer {
        let status = |status: &str, hash: Value| {
            let error = (status == "INVALID").then_some("wrong state root");
            json!({"status": status, "latestValidHash": hash, "validationError": error})
        };
        match method {
            "eth_chainId" => Ok(json!("0x64")),
            "engine_exchangeCapabilities" => {
                Ok(json!(["engine_newPayloadV4", "engine_forkchoiceUpdatedV3"]))
            }
            "eth_getBlockByNumber" => {
                let (number, hash) = match params[0].as_str().unwrap() {
                    "latest" => *head.lock().unwrap(),
                    "0x0" => (0, GENESIS_HASH),
                    tag @ ("safe" | "finalized") => {
                        return Err((-39001, format!("{tag} block not found")));
                    }
                    _ => return Ok(Value::Null),
                };
                Ok(json!({
                    "number": format!("{number:#x}"), "hash": hash, "timestamp": "0x1",
                    "gasLimit": "0x1",
                }))
            }
            "engine_newPayloadV4" if refuses.load(Ordering::SeqCst) => {
                Ok(status("INVALID", json!(head.lock().unwrap().1)))
            }
            "engine_newPayloadV4" => {
                let hash: B256 = serde_json::from_value(params[0]["blockHash"].clone()).unwrap();
                let number = params[0]["blockNumber"].as_str().unwrap().trim_start_matches("0x");
                let number = u64::from_str_radix(number, 16).unwrap();
                numbers.lock().unwrap().insert(hash, number);
                Ok(status("VALID", json!(hash)))
            }
            "engine_forkchoiceUpdatedV3" => {
                let hash: B256 =
                    serde_json::from_value(params[0]["headBlockHash"].clone()).unwrap();
                if let Some(number) = numbers.lock().unwrap().get(&hash) {
                    *head.lock().unwrap() = (*number, hash);
                }
                Ok(json!({"payloadStatus": status("VALID", json!(hash)), "payloadId": null}))
            }
            _ => Err((-32601, "no such method".into())),
        }
    })
}

#[test]
fn an_execution_client_that_refuses_blocks_makes_the_node_not_ready() {
    let place = Place::new();
    let (engine_refuses, refuses) = fails(false);
    let engine = engine(refuses);
    let (url, secret) = (engine.url(), "11".repeat(32));
    let labels = format!("http://127.0.0.1:{}", free_port());
    let mut first = sequencer(&place, "first", &[]);
    let more = ["--l2", &url, "--l2.jwt-secret.raw", &secret, "--l2.labels", &labels];
    let second = follower(&place, "second", &[&first], &more);
    first.daemon.wait_for(0, PATIENCE, |line| line.contains("\"msg\":\"connected\""));
    let mut blocks = Blocks::new();
    let good = blocks.next(10);
    first.publish(&good);
    second.has(&good);
    second.is_ready();
    second.told(&place, TroubleKind::Labels);
    engine_refuses.store(true, Ordering::SeqCst);
    let bad = blocks.next(10);
    first.publish(&bad);
    let text = second.told(&place, TroubleKind::Engine);
    assert!(text.contains(&format!("block {}", bad.number)), "{text}");
    second.is_not_ready("execution client");
    for node in [first, second] {
        node.daemon.end("TERM");
    }
}

#[test]
fn an_absent_execution_client_is_reported_until_it_returns() {
    let place = Place::new();
    let port = free_port();
    let (url, secret) = (format!("http://127.0.0.1:{port}"), "11".repeat(32));
    let node = node(&place, "node", &["--l2", &url, "--l2.jwt-secret.raw", &secret]);
    let text = node.told(&place, TroubleKind::Engine);
    assert!(text.contains("execution client"), "{text}");
    node.is_not_ready("execution client");
    node.daemon.end("TERM");
}

#[test]
fn a_missing_stream_is_reported() {
    let place = Place::new();
    let url = format!("nats://127.0.0.1:{}", free_port());
    let mut first = sequencer(&place, "first", &["--feed.nats", &url]);
    let second = follower(&place, "second", &[&first], &[]);
    first.daemon.wait_for(0, PATIENCE, |line| line.contains("\"msg\":\"connected\""));
    let block = Blocks::new().next(10);
    first.publish(&block);
    first.told(&place, TroubleKind::Feed);
    // It relays and stores all the same.
    second.has(&block);
    first.is_ready();
    for node in [first, second] {
        node.daemon.end("TERM");
    }
}

/// Returns bytes that can't be compressed.
fn noise(seed: u8, bytes: usize) -> Vec<u8> {
    let mut hash = keccak256([seed]);
    let mut noise = vec![0x02];
    while noise.len() < bytes {
        noise.extend(hash);
        hash = keccak256(hash);
    }
    noise
}

/// A limit on the size of files stands for the full disk. It is raised while the node runs.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_reported_until_there_is_room() {
    let place = Place::new();
    let mut first = sequencer(&place, "first", &[]);
    let signer = signer().to_string();
    let more = ["--signer", &signer, "--p2p.static", &first.address];
    let plain = place.opp2p(&arguments(&place, "second", &jovian(), &more));
    // The signal must be ignored so that the call fails instead of the process.
    let script = "trap '' XFSZ; ulimit -S -f 6144 && exec \"$0\" \"$@\"";
    let mut limited = Command::new("sh");
    limited.args(["-c", script]).arg(plain.get_program()).args(plain.get_args());
    limited.current_dir(plain.get_current_dir().unwrap());
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    let second = Node::start(limited);
    first.daemon.wait_for(0, PATIENCE, |line| line.contains("\"msg\":\"connected\""));
    let mut blocks = Blocks::new();
    let mut seed = 0;
    until("a full disk", || {
        seed += 1;
        let block = blocks.with(noise(seed, 900_000));
        first.publish(&block);
        second.has(&block);
        let (_, health) = second.get("/healthz");
        let troubles = health["troubles"].as_array().unwrap();
        troubles.iter().any(|trouble| trouble["kind"] == "store").then_some(())
    });
    second.told(&place, TroubleKind::Store);
    second.is_not_ready("store");
    let pid = second.daemon.id().to_string();
    let raised = Command::new("prlimit").args(["--pid", &pid, "--fsize=unlimited"]).status();
    assert!(raised.unwrap().success());
    let block = blocks.next(10);
    first.publish(&block);
    second.has(&block);
    second.over(TroubleKind::Store);
    second.is_ready();
    for node in [first, second] {
        node.daemon.end("TERM");
    }
}
