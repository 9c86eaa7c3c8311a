//! Wrong requests, and endpoints that fail.

use std::rc::Rc;
use std::time::Duration;

use alloy_primitives::{B256, U256, keccak256};
use serde_json::{Value, json};

use super::talk::{Manner, Talk, config};
use super::transactions::{CHAIN, Call, transaction};
use super::world::{ALICE, World};
use crate::chain::ChainEvent;
use crate::proof::reader::{
    Cause, FetchFailure, FetchId, MAX_FETCHES, MAX_LOG_BLOCKS, MAX_READS, MAX_SENT_BYTES,
    ReadError, ReadId, Reader, ReaderOutput,
};

fn world() -> Rc<World> {
    Rc::new(World::new(12, 0))
}

fn balance_at(number: u64) -> Result<Value, ReadError> {
    Ok(json!(U256::from(1_000_000 + number)))
}

#[test]
fn every_wrong_parameter_is_refused_without_a_question() {
    let mut talk = Talk::new(&world(), config(1), 5);
    let long = vec!["0x0"; 1025];
    for (method, params) in [
        ("eth_chainId", json!(["0x1"])),
        ("eth_blockNumber", json!({})),
        ("eth_getBalance", json!([])),
        ("eth_getBalance", json!(["0x12", "latest"])),
        ("eth_getBalance", json!([ALICE, "newest"])),
        ("eth_getBalance", json!([ALICE, "latest", 1])),
        ("eth_getStorageAt", json!([ALICE])),
        ("eth_getProof", json!([ALICE])),
        ("eth_getProof", json!([ALICE, ["x"]])),
        ("eth_getProof", json!([ALICE, long])),
        ("eth_getBlockByNumber", json!([])),
        ("eth_getBlockByNumber", json!([B256::ZERO, true])),
        ("eth_getBlockByNumber", json!(["latest", 1])),
        ("eth_getBlockByHash", json!(["latest", true])),
        ("eth_getBlockReceipts", json!([])),
        ("eth_getTransactionByHash", json!(["0x1"])),
        ("eth_getTransactionByBlockNumberAndIndex", json!(["latest", 1])),
        ("eth_getTransactionReceipt", json!([null])),
        ("eth_getLogs", json!([])),
        ("eth_getLogs", json!([{ "address": "0x1" }])),
        ("eth_getLogs", json!([{ "topics": ["0x1"] }])),
        ("eth_getLogs", json!([{ "fromBlock": 1 }])),
        ("eth_getLogs", json!([{ "blockHash": B256::ZERO, "fromBlock": "0x1" }])),
        ("eth_getLogs", json!([{ "blockHash": "0x1" }])),
        ("eth_getLogs", json!([{ "fromBlock": "0x5", "toBlock": "0x4" }])),
        ("eth_getLogs", json!([{ "fromBlock": "0x0", "toBlock": "0xffffffffffffffff" }])),
        ("eth_sendRawTransaction", json!([format!("0x{}", "00".repeat(MAX_SENT_BYTES + 1))])),
    ] {
        let error = talk.error(method, &params);
        assert_eq!(error.code(), -32602, "{method} {params}: {error}");
    }
    let last = 1 + MAX_LOG_BLOCKS;
    let filter = json!([{ "fromBlock": "0x1", "toBlock": format!("{last:#x}") }]);
    assert_eq!(talk.error("eth_getLogs", &filter), ReadError::Range(MAX_LOG_BLOCKS + 1));
    assert!(talk.asked.is_empty());
}

#[test]
fn a_read_waits_for_the_first_head_within_a_bound() {
    let world = world();
    let mut talk = Talk::new(&world, config(1), 13);
    assert_eq!(talk.proved("eth_chainId", &json!([])), "0x385");
    let error = talk.error("eth_getBalance", &json!([ALICE]));
    assert_eq!((&error, error.code()), (&ReadError::NoHead, -32002));
    assert_eq!(talk.now, Duration::from_secs(10));
    let reads = ["eth_getBalance", "eth_blockNumber"];
    let [balance, number] = reads.map(|method| {
        let params = if method == "eth_getBalance" { json!([ALICE]) } else { json!([]) };
        talk.begin(method, &params)
    });
    talk.reader.head(&world.blocks[12], talk.at());
    talk.drain();
    assert_eq!(talk.wait(balance).0, balance_at(12));
    assert_eq!(talk.wait(number).0, Ok(json!("0xc")));
}

#[test]
fn a_failing_endpoint_is_replaced_at_once() {
    for manner in [Manner::Gone, Manner::Refuses(-32000), Manner::Refuses(-32601)] {
        let mut config = config(3);
        config.race = 1;
        let mut talk = Talk::new(&world(), config, 5);
        talk.manners(&[manner.clone(), manner]);
        let (result, ..) = talk.ask("eth_getBalance", &json!([ALICE]));
        assert_eq!(result, balance_at(12));
        assert!(talk.now < Duration::from_millis(200), "{:?}", talk.now);
        assert_eq!(talk.dropped, []);
    }
}

#[test]
fn a_silent_endpoint_is_not_waited_for() {
    let mut config = config(2);
    config.race = 1;
    let mut talk = Talk::new(&world(), config.clone(), 5);
    talk.manners(&[Manner::Silent]);
    assert_eq!(talk.ask("eth_getBalance", &json!([ALICE])).0, balance_at(12));
    assert_eq!(talk.now, config.hedge + Duration::from_millis(20));
    assert_eq!(talk.reader.pending_fetches(), 0, "the slower request was cancelled");
}

#[test]
fn if_every_endpoint_fails_the_error_names_each_cause() {
    let mut talk = Talk::new(&world(), config(4), 5);
    talk.manners(&[Manner::Gone, Manner::Silent, Manner::Refuses(-5), Manner::Refuses(-32601)]);
    let error = talk.error("eth_getBalance", &json!([ALICE]));
    assert_eq!(error.code(), -32603);
    let text = error.to_string();
    let ReadError::Failed { method, causes } = error else { panic!("{text}") };
    assert_eq!((method.as_str(), causes.0.len()), ("eth_getProof", 4));
    for part in [
        "endpoint 0: the connection was refused",
        "endpoint 1: it did not answer within 10 s",
        "endpoint 2: it refused: not today (code -5)",
        "endpoint 3: it refused: not today (code -32601)",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let mut none = Talk::new(&world(), config(0), 5);
    let error = none.error("eth_getBalance", &json!([ALICE]));
    assert!(error.to_string().contains("no endpoint is configured"), "{error}");
}

#[test]
fn what_no_endpoint_has_is_an_error_if_the_chain_has_it() {
    let world = Rc::new(World::new(20, 0));
    let mut talk = Talk::new(&world, config(1), 20);
    talk.manners(&[Manner::Lies(Rc::new(|method, answer| match method {
        "eth_getBlockByHash" => Value::Null,
        _ => answer,
    }))]);
    let error = talk.error("eth_getBalance", &json!([ALICE, "0x3"]));
    let ReadError::Failed { method, causes } = error else { panic!("{error}") };
    assert_eq!((method.as_str(), causes.0), ("eth_getBlockByHash", vec![Cause::Absent]));
}

#[test]
fn a_read_that_takes_too_long_ends() {
    let mut config = config(1);
    config.fetch_timeout = Duration::from_secs(100);
    let mut talk = Talk::new(&world(), config, 5);
    talk.manners(&[Manner::Silent]);
    let error = talk.error("eth_getBalance", &json!([ALICE]));
    assert_eq!(error.code(), -32603);
    assert_eq!(talk.now, Duration::from_secs(30));
    assert_eq!((talk.reader.pending_fetches(), talk.reader.pending_reads()), (0, 0));
    assert_eq!(talk.reader.deadline(), None);
}

#[test]
fn too_many_reads_are_refused_and_their_requests_take_turns() {
    let mut talk = Talk::new(&world(), config(2), 5);
    let reads: Vec<ReadId> =
        (0..MAX_READS).map(|_| talk.begin("eth_getBalance", &json!([ALICE]))).collect();
    assert_eq!(talk.reader.pending_fetches(), MAX_FETCHES);
    assert_eq!(talk.error("eth_getBalance", &json!([ALICE])), ReadError::TooManyReads);
    for read in reads {
        assert_eq!(talk.wait(read).0, balance_at(12));
    }
    assert_eq!((talk.reader.pending_fetches(), talk.reader.pending_reads()), (0, 0));
}

#[test]
fn a_cancelled_read_has_no_answer_and_no_requests() {
    let mut talk = Talk::new(&world(), config(2), 5);
    let read = talk.begin("eth_getBalance", &json!([ALICE]));
    assert_eq!(talk.waiting.len(), 2);
    talk.reader.cancel(read, talk.at());
    talk.drain();
    assert!(talk.waiting.is_empty() && talk.answers.is_empty());
    assert_eq!(talk.reader.deadline(), None);
    // Unknown ids are ignored.
    talk.reader.cancel(read, talk.at());
    talk.reader.fetched(FetchId(999), Ok(json!(1)), talk.at());
    talk.reader.fetched(FetchId(998), Err(FetchFailure::TooLarge), talk.at());
    assert_eq!(talk.reader.poll(), None);
}

#[test]
fn an_answer_that_is_too_large_is_a_failure_of_the_endpoint() {
    let mut talk = Talk::new(&world(), config(1), 5);
    talk.begin("eth_getBalance", &json!([ALICE]));
    let (id, ..) = talk.waiting.pop_front().expect("a request");
    talk.reader.fetched(id, Err(FetchFailure::TooLarge), talk.at());
    talk.drain();
    let (result, ..) = talk.answers.pop_first().expect("an answer").1;
    assert!(result.expect_err("it failed").to_string().contains("too large"));
}

#[test]
fn a_transaction_is_refused_only_if_every_endpoint_refuses_it() {
    let raw = transaction(&Call { kind: 2, nonce: 1, to: None, chain: CHAIN });
    let params = json!([raw]);
    let mut talk = Talk::new(&world(), config(2), 5);
    talk.manners(&[Manner::Refuses(-32000)]);
    assert_eq!(talk.proved("eth_sendRawTransaction", &params), json!(keccak256(&raw)));
    talk.manners(&[Manner::Refuses(-32000), Manner::Gone]);
    let error = talk.error("eth_sendRawTransaction", &params);
    let message = "not today".into();
    assert_eq!(error, ReadError::Endpoint { code: -32000, message, data: json!("0x1234") });
    talk.manners(&[Manner::Lies(Rc::new(|_, _| json!(B256::ZERO))), Manner::Gone]);
    assert_eq!(talk.error("eth_sendRawTransaction", &params).code(), -32603);
    assert_eq!(talk.dropped.len(), 1);
}

#[test]
fn the_error_of_an_unverified_method_is_passed_on() {
    let mut talk = Talk::new(&world(), config(2), 5);
    talk.manners(&[Manner::Refuses(3), Manner::Refuses(3)]);
    let (result, _, is_verified) = talk.ask("eth_gasPrice", &json!([]));
    let error = result.expect_err("it is refused");
    assert!((error.code(), error.data(), is_verified) == (3, &json!("0x1234"), false));
    talk.manners(&[Manner::Refuses(-32601), Manner::True]);
    assert_eq!(talk.ask("eth_gasPrice", &json!([])).0, Ok(json!("0x5")));
}

#[test]
fn a_reorg_moves_a_read_to_the_new_head() {
    let world = world();
    let fork = Rc::new(world.fork(9, 0, 11));
    let mut talk = Talk::new(&fork, config(1), 13 - 1);
    talk.reader = Reader::new(config(1));
    for block in &world.blocks[5..] {
        talk.reader.head(block, talk.at());
    }
    let latest = talk.begin("eth_getBalance", &json!([ALICE]));
    let gone = talk.begin("eth_getBalance", &json!([ALICE, { "blockHash": world.id(12).hash }]));
    let event = ChainEvent::Reorg {
        ancestor: world.id(9),
        abandoned: vec![world.id(10), world.id(11), world.id(12)],
        adopted: vec![fork.id(10), fork.id(11)],
    };
    talk.reader.follow(&event, talk.at());
    assert_eq!(talk.reader.newest(), Some(fork.id(9)));
    for block in &fork.blocks[10..] {
        talk.reader.follow(&ChainEvent::Extended(block.clone()), talk.at());
    }
    talk.drain();
    let (result, id, _) = talk.wait(latest);
    assert_eq!(result, balance_at(id.expect("a block").number));
    assert!(fork.blocks.iter().any(|block| Some(block.hash()) == id.map(|id| id.hash)));
    assert_eq!(talk.wait(gone).0, Err(ReadError::UnknownBlock));
    assert_eq!(talk.proved("eth_blockNumber", &json!([])), "0xb");
    let block = talk.proved("eth_getBlockByHash", &json!([world.id(12).hash, false]));
    assert_eq!(block, Value::Null);
    // The same without events: the blocks show the reorg.
    let mut talk = Talk::new(&world, config(1), 5);
    for block in &fork.blocks[10..] {
        talk.reader.head(block, talk.at());
    }
    assert_eq!(talk.reader.newest(), Some(fork.id(11)));
}

#[test]
fn a_gap_begins_the_chain_again() {
    let world = Rc::new(World::new(20, 0));
    let mut talk = Talk::new(&world, config(1), 20);
    let mut reader = Reader::new(config(1));
    reader.head(&world.blocks[3], talk.at());
    reader.head(&world.blocks[20], talk.at());
    assert_eq!(reader.newest(), Some(world.id(20)));
    talk.reader = reader;
    // The blocks below it are proved like other older blocks.
    let (result, id, _) = talk.ask("eth_getBalance", &json!([ALICE, "0x3"]));
    assert_eq!((result, id), (balance_at(3), Some(world.id(3))));
    assert!(talk.count("eth_getBlockByHash") > 0);
    assert!(!matches!(talk.reader.poll(), Some(ReaderOutput::Fetch { .. })));
}
