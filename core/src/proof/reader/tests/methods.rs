//! Each method with truthful servers.

use std::rc::Rc;

use alloy_primitives::{B256, Bytes, U256, keccak256};
use serde_json::{Value, json};

use super::talk::{Manner, Talk, config};
use super::transactions::{CHAIN, Call, deposit, transaction};
use super::world::{ALICE, CODE, FULL, NEWCOMER, TOKEN, TRANSFER, World, shown_block};
use crate::chain::{BlockId, Labels};
use crate::proof::reader::ReadError;

fn world() -> Rc<World> {
    Rc::new(World::new(40, 0))
}

fn talk() -> Talk {
    Talk::new(&world(), config(2), 30)
}

fn number(number: u64) -> Value {
    json!(format!("{number:#x}"))
}

#[test]
fn the_chain_and_the_head_are_known_without_an_endpoint() {
    let mut talk = Talk::new(&world(), config(0), 30);
    assert_eq!(talk.proved("eth_chainId", &json!([])), "0x385");
    assert_eq!(talk.proved("net_version", &Value::Null), "901");
    assert_eq!(talk.proved("eth_blockNumber", &json!([])), "0x28");
    assert_eq!(talk.proved("eth_syncing", &json!([])), false);
    assert_eq!(talk.ask("eth_blockNumber", &json!([])).1, Some(talk.world.id(40)));
    assert!(talk.asked.is_empty());
}

#[test]
fn the_state_is_proved_at_every_kind_of_block() {
    let mut talk = talk();
    let hash = talk.world.id(35).hash;
    let old = talk.world.id(7).hash;
    for (block, at) in [
        (Value::Null, 40),
        (json!("latest"), 40),
        (json!("pending"), 40),
        (json!("0x23"), 35),
        (json!(hash), 35),
        (json!({ "blockHash": hash, "requireCanonical": true }), 35),
        (json!({ "blockNumber": "0x23" }), 35),
        (json!("0x7"), 7),
        (json!({ "blockHash": old }), 7),
        (json!("earliest"), 0),
    ] {
        let (result, id, _) = talk.ask("eth_getBalance", &json!([ALICE, block]));
        assert_eq!(result, Ok(json!(U256::from(1_000_000 + at))), "{block}");
        assert_eq!(id, Some(talk.world.id(at)), "{block}");
        assert_eq!(talk.proved("eth_getTransactionCount", &json!([ALICE, block])), number(at));
        let slot = talk.proved("eth_getStorageAt", &json!([TOKEN, "0x3", block]));
        assert_eq!(slot, json!(B256::from(U256::from(at + 1))));
        let code = talk.proved("eth_getCode", &json!([TOKEN, block]));
        assert_eq!(code, json!(Bytes::from_static(&CODE)));
    }
    // The code is the same at all blocks, so it is requested once from each endpoint of the race.
    assert_eq!(talk.count("eth_getCode"), 2);
    assert_eq!(talk.proved("eth_getBalance", &json!([NEWCOMER, "latest"])), "0x0");
    assert_eq!(talk.proved("eth_getCode", &json!([ALICE, "latest"])), "0x");
    assert_eq!(talk.dropped, []);
}

#[test]
fn a_proof_has_the_slots_as_the_caller_wrote_them() {
    let mut talk = talk();
    let word = B256::with_last_byte(4);
    let proof = talk.proved("eth_getProof", &json!([TOKEN, ["0x03", word, "0x9"], "latest"]));
    let params = json!([TOKEN, ["0x3", word, "0x9"], { "blockHash": talk.world.id(40).hash }]);
    assert_eq!(Ok(proof), talk.world.answer(40, "eth_getProof", &params));
    // The first zero of a word may be missing.
    let short = format!("0x{}", &word.to_string()[3..]);
    let proof = talk.proved("eth_getProof", &json!([TOKEN, [short], "latest"]));
    assert_eq!(proof["storageProof"][0]["key"], json!(word));
}

#[test]
fn the_proof_of_an_absent_account_has_op_geths_form() {
    let mut talk = talk();
    let params = json!([NEWCOMER, ["0x3", B256::ZERO], "latest"]);
    let mut expected = json!({
        "address": NEWCOMER,
        "balance": "0x0",
        "codeHash": B256::ZERO,
        "nonce": "0x0",
        "storageHash": B256::ZERO,
        "storageProof": [
            { "key": "0x3", "value": "0x0", "proof": [] },
            { "key": B256::ZERO, "value": "0x0", "proof": [] },
        ],
    });
    // Other clients show the hashes of an empty account, and prove an empty trie by its encoding.
    let other = |method: &str, mut answer: Value| {
        if method == "eth_getProof" {
            answer["storageProof"][0]["proof"] = json!(["0x80"]);
        }
        answer
    };
    for manner in [Manner::True, Manner::Lies(Rc::new(other))] {
        talk.manners(&[manner.clone(), manner]);
        let proof = talk.proved("eth_getProof", &params);
        assert!(!proof["accountProof"].as_array().expect("nodes").is_empty());
        expected["accountProof"] = proof["accountProof"].clone();
        assert_eq!(proof, expected);
    }
    assert_eq!(talk.dropped, []);
}

#[test]
fn labels_are_errors_until_they_are_known() {
    let mut talk = talk();
    for tag in ["safe", "finalized"] {
        let error = talk.error("eth_getBalance", &json!([ALICE, tag]));
        assert!(error.code() == -32001 && error.to_string().contains(tag), "{error}");
    }
    let labels = Labels { safe: Some(talk.world.id(33)), finalized: Some(talk.world.id(12)) };
    talk.reader.labels(labels);
    for (tag, at) in [("safe", 33), ("finalized", 12)] {
        let (result, id, _) = talk.ask("eth_getBalance", &json!([ALICE, tag]));
        assert_eq!(result, Ok(json!(U256::from(1_000_000 + at))));
        assert_eq!(id, Some(talk.world.id(at)));
        let block = talk.proved("eth_getBlockByNumber", &json!([tag, false]));
        assert_eq!(block["number"], number(at));
    }
}

#[test]
fn blocks_and_transactions_are_shown_as_they_are() {
    let mut talk = talk();
    let world = talk.world.clone();
    for at in [40, FULL, 30, 12, 1, 0] {
        let block = &world.blocks[at as usize];
        for is_full in [true, false] {
            let expected = shown_block(block, is_full);
            let params = json!([number(at), is_full]);
            assert_eq!(talk.proved("eth_getBlockByNumber", &params), expected);
            let params = json!([block.hash(), is_full]);
            assert_eq!(talk.proved("eth_getBlockByHash", &params), expected);
        }
        let raws: Vec<&[u8]> = block.payload().transactions().collect();
        for (count, place) in [("Number", number(at)), ("Hash", json!(block.hash()))] {
            let method = format!("eth_getBlockTransactionCountBy{count}");
            assert_eq!(talk.proved(&method, &json!([place])), number(raws.len() as u64));
            let method = format!("eth_getTransactionByBlock{count}AndIndex");
            for (index, raw) in raws.iter().enumerate() {
                let expected = world.transaction(block, index);
                let params = json!([place, number(index as u64)]);
                assert_eq!(talk.proved(&method, &params), expected);
                let (result, id, _) =
                    talk.ask("eth_getTransactionByHash", &json!([keccak256(raw)]));
                assert_eq!((result, id), (Ok(expected), Some(BlockId::of(block))));
            }
            let params = json!([place, number(raws.len() as u64)]);
            assert_eq!(talk.proved(&method, &params), Value::Null);
        }
    }
    assert_eq!(talk.dropped, []);
}

#[test]
fn what_is_not_known_is_null() {
    let mut talk = talk();
    let strange = B256::repeat_byte(0x55);
    for (method, params) in [
        ("eth_getBlockByNumber", json!(["0x29", false])),
        ("eth_getBlockByNumber", json!(["0xffffffffffffffff", false])),
        ("eth_getBlockByHash", json!([strange, true])),
        ("eth_getBlockTransactionCountByHash", json!([strange])),
        ("eth_getTransactionByBlockHashAndIndex", json!([strange, "0x0"])),
        ("eth_getTransactionByHash", json!([strange])),
        ("eth_getTransactionReceipt", json!([strange])),
        ("eth_getBlockReceipts", json!([strange])),
    ] {
        assert_eq!(talk.proved(method, &params), Value::Null, "{method}");
    }
    for place in [json!("0x29"), json!(strange)] {
        let error = talk.error("eth_getBalance", &json!([ALICE, place]));
        assert_eq!(error, ReadError::UnknownBlock);
    }
    let filter = json!([{ "fromBlock": "0x20", "toBlock": "0x29" }]);
    assert_eq!(talk.error("eth_getLogs", &filter), ReadError::UnknownBlock);
}

#[test]
fn receipts_are_proved_in_recent_and_older_blocks() {
    let mut talk = talk();
    let world = talk.world.clone();
    for at in [40, FULL, 30, 12, 1, 0] {
        let block = &world.blocks[at as usize];
        let expected = &world.receipts[at as usize];
        for place in [number(at), json!(block.hash())] {
            let (result, id, _) = talk.ask("eth_getBlockReceipts", &json!([place]));
            assert_eq!((result, id), (Ok(json!(expected)), Some(BlockId::of(block))));
        }
        for (raw, expected) in block.payload().transactions().zip(expected) {
            let params = json!([keccak256(raw)]);
            assert_eq!(talk.proved("eth_getTransactionReceipt", &params), *expected);
        }
    }
    let before = talk.asked.len();
    talk.proved("eth_getBlockReceipts", &json!(["0x28"]));
    assert_eq!(talk.asked.len(), before, "they are cached");
    assert_eq!(talk.dropped, []);
}

#[test]
fn logs_are_those_of_the_receipts() {
    let mut talk = talk();
    let world = talk.world.clone();
    let all = |first: u64, last: u64| {
        let receipts = world.receipts[first as usize..=last as usize].iter().flatten();
        receipts.flat_map(|receipt| receipt["logs"].as_array().expect("logs").clone())
    };
    for (first, last) in [(33, 33), (30, 40), (20, 40), (3, 9), (0, 40), (34, 35)] {
        let filter = json!([{ "fromBlock": number(first), "toBlock": number(last) }]);
        let (result, id, _) = talk.ask("eth_getLogs", &filter);
        assert_eq!(result, Ok(all(first, last).collect()), "{first} {last}");
        assert_eq!(id, Some(world.id(last)));
    }
    let latest = talk.proved("eth_getLogs", &json!([{ "address": TOKEN }]));
    assert_eq!(latest, all(40, 40).collect::<Value>());
    let filter = json!([{ "blockHash": world.id(33).hash, "topics": [TRANSFER, null] }]);
    assert_eq!(talk.proved("eth_getLogs", &filter), all(33, 33).collect::<Value>());
    let second = B256::with_last_byte(2);
    let filter = json!([{ "fromBlock": "0x0", "topics": [[TRANSFER], [second]] }]);
    let expected: Value = all(0, 40).filter(|log| log["topics"][1] == json!(second)).collect();
    assert_eq!(talk.proved("eth_getLogs", &filter), expected);
    assert!(!expected.as_array().expect("logs").is_empty());
    // The bloom filters rule out any matching log.
    let before = talk.count("eth_getBlockReceipts");
    let filter = json!([{ "fromBlock": "0x0", "address": ALICE }]);
    assert_eq!(talk.proved("eth_getLogs", &filter), json!([]));
    assert_eq!(talk.count("eth_getBlockReceipts"), before);
    assert_eq!(talk.dropped, []);
}

#[test]
fn a_transaction_goes_to_all_endpoints() {
    let mut talk = Talk::new(&world(), config(3), 30);
    for kind in [0, 1, 2, 4] {
        let call = Call { kind, nonce: 77, to: None, chain: CHAIN };
        let raw = transaction(&call);
        let before = talk.asked.len();
        let (result, block, _) = talk.ask("eth_sendRawTransaction", &json!([raw]));
        assert_eq!((result, block), (Ok(json!(keccak256(&raw))), None));
        assert_eq!(talk.asked.len(), before + 3, "{kind}");
        let other = transaction(&Call { chain: CHAIN + 1, ..call });
        let error = talk.error("eth_sendRawTransaction", &json!([other]));
        assert!(error.code() == -32602 && error.to_string().contains("901"), "{error}");
        let half = raw.slice(..raw.len() / 2);
        assert_eq!(talk.error("eth_sendRawTransaction", &json!([half])).code(), -32602);
    }
    for wrong in [json!(deposit(1, None)), json!("0x"), json!("0x03c0"), json!(null), json!("02")] {
        let error = talk.error("eth_sendRawTransaction", &json!([wrong]));
        assert_eq!(error.code(), -32602, "{wrong}");
    }
}

#[test]
fn unverified_methods_pass_only_if_they_are_listed_and_are_marked() {
    let mut talk = talk();
    let (result, block, is_verified) = talk.ask("eth_gasPrice", &json!([]));
    assert_eq!((result, block, is_verified), (Ok(json!("0x5")), None, false));
    let error = talk.error("eth_call", &json!([{}]));
    assert_eq!(error, ReadError::NotVerifiable("eth_call".into()));
    assert!(error.code() == -32004 && error.to_string().contains("eth_call"));
    // A listed method that can be verified is verified.
    let mut config = config(1);
    config.unverified.push("eth_getBalance".into());
    let mut talk = Talk::new(&world(), config, 30);
    talk.proved("eth_getBalance", &json!([ALICE]));
}

#[test]
fn older_blocks_are_proved_by_links_where_the_state_has_no_hashes() {
    for isthmus in [u64::MAX, 38] {
        let world = Rc::new(World::new(40, isthmus));
        let mut talk = Talk::new(&world, config(1), 39);
        let (result, id, _) = talk.ask("eth_getBalance", &json!([ALICE, "0x5"]));
        assert_eq!((result, id), (Ok(json!(U256::from(1_000_005))), Some(world.id(5))));
        assert_eq!(talk.count("eth_getBlockByHash"), 34);
        let filter = json!([{ "fromBlock": "0x6", "toBlock": "0x14" }]);
        let logs = talk.proved("eth_getLogs", &filter);
        assert!(!logs.as_array().expect("logs").is_empty());
    }
}

#[test]
fn blocks_beyond_the_links_are_too_old() {
    let world = Rc::new(World::new(300, u64::MAX));
    let mut talk = Talk::new(&world, config(1), 290);
    let error = talk.error("eth_getBalance", &json!([ALICE, "0x5"]));
    assert_eq!(error, ReadError::TooOld { number: 5, lowest: 34 });
    talk.proved("eth_getBalance", &json!([ALICE, "0x22"]));
}
