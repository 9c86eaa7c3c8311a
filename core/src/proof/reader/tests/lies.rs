//! Changes every part of every answer, one at a time. No false value reaches the caller, and each
//! false part is named.

use std::cell::Cell;
use std::rc::Rc;

use alloy_primitives::{B256, keccak256};
use serde_json::{Value, json};

use super::talk::{Lie, Manner, Talk, config};
use super::transactions::{CHAIN, Call, transaction};
use super::world::{ALICE, FULL, TOKEN, World};
use crate::proof::reader::{ReadError, ReaderConfig};
use crate::proof::tests::lies;

fn one_at_a_time(endpoints: usize) -> ReaderConfig {
    ReaderConfig { race: 1, ..config(endpoints) }
}

/// Returns reads that need every kind of answer.
fn reads(world: &World) -> Vec<(&'static str, Value)> {
    let hash = |number: usize, index: usize| {
        keccak256(world.blocks[number].payload().transaction(index).expect("it is there"))
    };
    let raw = transaction(&Call { kind: 2, nonce: 1, to: None, chain: CHAIN });
    vec![
        ("eth_getBalance", json!([ALICE, "latest"])),
        ("eth_getCode", json!([TOKEN, "latest"])),
        ("eth_getStorageAt", json!([TOKEN, "0x3", "0x9"])),
        ("eth_getProof", json!([TOKEN, ["0x3", "0x4", "0x99"], "latest"])),
        ("eth_getBlockReceipts", json!([format!("{FULL:#x}")])),
        ("eth_getTransactionReceipt", json!([hash(8, 1)])),
        ("eth_getTransactionByHash", json!([hash(FULL as usize, 3)])),
        ("eth_getTransactionByHash", json!([hash(FULL as usize, 0)])),
        ("eth_getLogs", json!([{ "fromBlock": "0x5", "toBlock": "0x9" }])),
        ("eth_sendRawTransaction", json!([raw])),
    ]
}

/// Fields without a commitment, or that are never read. Their values never reach the caller.
fn is_unread(method: &str, params: &Value, pointer: &str) -> bool {
    let parts: Vec<&str> = pointer.split('/').skip(1).collect();
    match (method, &parts[..]) {
        // Only the header is read.
        ("eth_getBlockByHash", ["transactions" | "size" | "uncles" | "withdrawals", ..]) => {
            params[1] == false || parts[0] != "transactions"
        }
        _ => false,
    }
}

/// False values with another possible cause: the answer is not used, but the endpoint is kept.
fn is_excusable(method: &str, answer: &Value, pointer: &str) -> bool {
    let parts: Vec<&str> = pointer.split('/').skip(1).collect();
    match (method, &parts[..]) {
        // A transaction of an unknown type.
        ("eth_getBlockByHash", ["transactions", _, "type"]) => true,
        // These fields of a deposit are only in its receipt.
        ("eth_getBlockByHash", ["transactions", index, "nonce"]) => {
            answer["transactions"][index.parse::<usize>().expect("an index")]["type"] == "0x7e"
        }
        ("eth_getTransactionByHash", ["nonce" | "depositReceiptVersion"]) => {
            answer["type"] == "0x7e"
        }
        // A block of another branch.
        ("eth_getTransactionByHash", ["blockHash"]) => true,
        _ => false,
    }
}

/// Returns servers of which one lies once, in the first answer that `lie` changes. All other
/// answers are true.
fn one_lie(lie: impl Fn(&str, &Value) -> Option<Value> + 'static) -> [Manner; 2] {
    let is_told = Cell::new(false);
    let lie: Lie = Rc::new(move |method, answer| match lie(method, &answer) {
        Some(lie) if !is_told.replace(true) => lie,
        _ => answer,
    });
    [Manner::Lies(lie.clone()), Manner::Lies(lie)]
}

/// An endpoint that was dropped, the method, and the false part.
type Dropped = (usize, String, String);

/// Runs a read in which `lie` replaces `answer` once.
fn run(
    world: &Rc<World>,
    first: u64,
    (read, params): (&str, &Value),
    (answer, lie): (&Value, &Value),
) -> (Result<Value, ReadError>, Vec<Dropped>) {
    let mut talk = Talk::new(world, one_at_a_time(2), first);
    let (answer, lie) = (answer.clone(), lie.clone());
    talk.manners(&one_lie(move |_, told| (*told == answer).then(|| lie.clone())));
    let (result, ..) = talk.ask(read, params);
    (result, talk.dropped)
}

#[test]
fn every_lie_is_detected_and_named_and_never_reaches_the_caller() {
    let world = Rc::new(World::new(FULL + 2, 0));
    let first = FULL + 1;
    let mut count = 0;
    for (read, params) in reads(&world) {
        let mut truthful = Talk::new(&world, one_at_a_time(1), first);
        let truth = truthful.ask(read, &params).0;
        assert!(truth.is_ok(), "{truth:?}");
        for (_, method, asked) in &truthful.asked {
            let answer = world.answer(FULL + 2, method, asked).expect("the truth");
            let wrapped = json!([answer]);
            // The whole answer may be a string, so it counts as a part.
            for (pointer, lie) in lies(&wrapped) {
                let Some(pointer) = pointer.strip_prefix("/0") else { continue };
                let case = format!("{read}: {method}{pointer}");
                let (result, dropped) = run(&world, first, (read, &params), (&answer, &lie[0]));
                assert_eq!(result, truth, "{case}");
                count += 1;
                if is_unread(method, asked, pointer) {
                    continue;
                }
                match &dropped[..] {
                    [] => assert!(is_excusable(method, &answer, pointer), "{case}"),
                    [(_, named, part)] => {
                        assert_eq!(named, method, "{case}");
                        assert!(!part.is_empty() && part.len() < 400, "{case}: {part}");
                    }
                    other => panic!("{case}: {other:?}"),
                }
            }
        }
    }
    assert!(count > 1000, "{count}");
}

#[test]
fn no_shape_of_an_answer_reaches_the_caller_or_panics() {
    let world = Rc::new(World::new(FULL + 2, 0));
    let first = FULL + 1;
    let shapes = [Value::Null, json!(7), json!("0x"), json!([[]]), json!({})];
    for (read, params) in reads(&world) {
        let mut truthful = Talk::new(&world, one_at_a_time(1), first);
        let truth = truthful.ask(read, &params).0;
        for (_, method, asked) in &truthful.asked {
            let answer = world.answer(FULL + 2, method, asked).expect("the truth");
            let fields = answer.as_object().into_iter().flatten().map(|(name, _)| Some(name));
            for field in std::iter::once(None).chain(fields) {
                for shape in &shapes {
                    let mut lie = answer.clone();
                    match field {
                        Some(field) => lie[field] = shape.clone(),
                        None => lie = shape.clone(),
                    }
                    let result = run(&world, first, (read, &params), (&answer, &lie)).0;
                    assert_eq!(result, truth, "{read}: {method} {field:?} {shape}");
                }
            }
        }
    }
}

#[test]
fn the_false_part_is_named() {
    let world = Rc::new(World::new(FULL + 2, 0));
    for (method, pointer, lie, named) in [
        ("eth_getProof", "/balance", json!("0x1"), "balance"),
        ("eth_getProof", "/nonce", json!("0x5"), "nonce"),
        ("eth_getProof", "/accountProof/0", json!("0xc0"), "account proof: node 0"),
        ("eth_getProof", "/storageProof/0/value", json!("0x1"), "slot 0: the value is 1"),
        ("eth_getBlockReceipts", "/2/from", json!(ALICE), "receipt 2: from"),
        ("eth_getBlockReceipts", "/3/logs/0/blockTimestamp", json!("0x1"), "receipt 3: log 0"),
        ("eth_getBlockReceipts", "/1/contractAddress", json!(ALICE), "contractAddress"),
        ("eth_getBlockReceipts", "/0/status", json!("0x0"), "root"),
    ] {
        let mut talk = Talk::new(&world, one_at_a_time(2), FULL);
        talk.manners(&one_lie(move |asked, told| {
            let mut changed = told.clone();
            *changed.pointer_mut(pointer)? = lie.clone();
            (asked == method).then_some(changed)
        }));
        talk.proved("eth_getStorageAt", &json!([TOKEN, "0x3"]));
        talk.proved("eth_getBlockReceipts", &json!([format!("{FULL:#x}")]));
        let [(_, asked, part)] = &talk.dropped[..] else { panic!("{:?}", talk.dropped) };
        assert!(asked == method && part.contains(named), "{part} {named}");
    }
}

#[test]
fn if_every_endpoint_lies_nothing_is_answered() {
    let world = Rc::new(World::new(5, 0));
    let mut talk = Talk::new(&world, config(2), 2);
    let lie = Manner::Lies(Rc::new(|_, mut answer: Value| {
        answer["balance"] = json!("0xffffff");
        answer
    }));
    talk.manners(&[lie.clone(), lie]);
    let error = talk.error("eth_getBalance", &json!([ALICE]));
    assert_eq!((&error, error.code()), (&ReadError::AllDropped, -32603));
    assert_eq!(talk.dropped.iter().map(|(endpoint, ..)| *endpoint).sum::<usize>(), 1);
    assert_eq!(talk.error("eth_getBalance", &json!([ALICE])), ReadError::AllDropped);
    assert_eq!(talk.error("eth_gasPrice", &json!([])), ReadError::AllDropped);
    assert_eq!(talk.proved("eth_blockNumber", &json!([])), "0x5");
    // The operator may restore one of them.
    talk.manners(&[Manner::True]);
    talk.reader.restore(0);
    assert_eq!(talk.proved("eth_getBalance", &json!([ALICE])), "0xf4245");
}

#[test]
fn a_transaction_is_not_found_where_a_liar_says() {
    let world = Rc::new(World::new(FULL + 2, 0));
    let hash = keccak256(world.blocks[8].payload().transaction(1).expect("it is there"));
    let truth = world.receipts[8][1].clone();
    for (field, lie, drops) in [
        ("blockHash", json!(world.id(9).hash), 1),
        ("transactionIndex", json!("0x0"), 1),
        ("transactionIndex", json!("0x7"), 1),
        ("blockNumber", json!("0x9"), 1),
        ("blockHash", json!(B256::repeat_byte(1)), 0),
    ] {
        let mut talk = Talk::new(&world, one_at_a_time(2), FULL);
        let lies = move |method: &str, mut told: Value| {
            if method == "eth_getTransactionByHash" {
                told[field] = lie.clone();
            }
            told
        };
        talk.manners(&[Manner::Lies(Rc::new(lies))]);
        assert_eq!(talk.proved("eth_getTransactionReceipt", &json!([hash])), truth);
        assert_eq!(talk.dropped.len(), drops, "{field}: {:?}", talk.dropped);
    }
    // Only one endpoint hides it.
    let mut talk = Talk::new(&world, one_at_a_time(2), FULL);
    talk.manners(&[Manner::Lies(Rc::new(|_, _| Value::Null))]);
    assert_eq!(talk.proved("eth_getTransactionReceipt", &json!([hash])), truth);
}

#[test]
fn claims_that_are_padded_do_not_end_a_read() {
    let world = Rc::new(World::new(FULL + 2, 0));
    let hash = keccak256(world.blocks[8].payload().transaction(1).expect("it is there"));
    let truth = world.receipts[8][1].clone();
    for megabytes in [7, 9] {
        let mut talk = Talk::new(&world, one_at_a_time(7), FULL);
        let padded = move |method: &str, mut told: Value| {
            if method == "eth_getTransactionByHash" {
                told["blockHash"] = json!(B256::repeat_byte(1));
                told["padding"] = json!("x".repeat(megabytes << 20));
            }
            told
        };
        talk.manners(&vec![Manner::Lies(Rc::new(padded)); 6]);
        assert_eq!(talk.proved("eth_getTransactionReceipt", &json!([hash])), truth);
    }
}
