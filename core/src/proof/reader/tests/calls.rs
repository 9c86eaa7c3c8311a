//! Calls that an executor runs over proved state.

use std::rc::Rc;
use std::time::Duration;

use alloy_primitives::{Address, B256, Bytes, U256};
use serde_json::{Value, json};

use super::talk::{Executor, Lie, Manner, Talk, config};
use super::transactions::CHAIN;
use super::world::{ALICE, CODE, NEWCOMER, TOKEN, World};
use crate::chain::{ChainConfig, Fork};
use crate::proof::EMPTY_CODE_HASH;
use crate::proof::call::{
    Access, Fees, Job, Missing, Outcome, Purpose, Report, RuleSchedule, Rules,
};
use crate::proof::reader::{
    ExecutionId, LagPolicy, MAX_CALL_ROUNDS, MAX_EXECUTIONS, ReadError, ReaderConfig, ReaderOutput,
};

fn slot(number: u8) -> B256 {
    B256::with_last_byte(number)
}

fn value(job: &Job, address: Address, slot: B256) -> Option<U256> {
    let accounts = job.state.accounts.iter().filter(|account| account.address == address);
    let mut slots = accounts.flat_map(|account| &account.slots);
    slots.find(|(known, _)| *known == slot).map(|(_, value)| *value)
}

/// Returns slot 3 of the token, then slot 4, and the hash of the grandparent.
fn reads(job: &Job) -> Result<Report, String> {
    let lacks = |missing| Ok(Report::Missing(missing));
    for number in [3, 4] {
        if value(job, TOKEN, slot(number)).is_none() {
            let accounts = vec![(TOKEN, vec![slot(number)])];
            return lacks(Missing { accounts, ..Missing::default() });
        }
    }
    let grandparent = job.block.number - 2;
    let hashes = &job.state.block_hashes;
    let Some((_, hash)) = hashes.iter().find(|(number, _)| *number == grandparent) else {
        return lacks(Missing { block_hashes: vec![grandparent], ..Missing::default() });
    };
    let three = value(job, TOKEN, slot(3)).expect("it is known");
    let output = [&three.to_be_bytes::<32>()[..], hash.as_slice()].concat();
    Ok(Report::Done(Outcome::Returned(output.into())))
}

fn read_at(world: &World, number: u64) -> Value {
    let three = U256::from(number + 1).to_be_bytes::<32>();
    json!(Bytes::from([&three[..], world.id(number - 2).hash.as_slice()].concat()))
}

fn rules(fork: Fork) -> Option<RuleSchedule> {
    let genesis = Default::default();
    Some(RuleSchedule::of(&ChainConfig::development(CHAIN, genesis, 0, 2, fork, ALICE)))
}

fn calls(servers: usize) -> ReaderConfig {
    ReaderConfig { calls: rules(Fork::Jovian), ..config(servers) }
}

fn talk_with(config: ReaderConfig, executor: Executor) -> Talk {
    let mut talk = Talk::new(&Rc::new(World::new(40, 0)), config, 30);
    talk.executor = executor;
    talk
}

fn talk(executor: Executor) -> Talk {
    talk_with(calls(2), executor)
}

fn call() -> Value {
    json!([{ "from": ALICE, "to": TOKEN, "input": "0x1234" }])
}

#[test]
fn a_call_is_executed_until_nothing_is_missing() {
    let mut talk = talk(reads);
    let (result, block, is_verified) = talk.ask("eth_call", &call());
    assert_eq!(result, Ok(read_at(&talk.world, 40)));
    assert_eq!((block, is_verified), (Some(talk.world.id(40)), true));
    // The hint names slot 3. Slot 4 and the hash are found by executing.
    assert_eq!(talk.jobs.len(), 3);
    let job = &talk.jobs[0];
    assert_eq!((job.chain_id, job.rules, job.purpose), (CHAIN, Rules::Jovian, Purpose::Call));
    let header = talk.world.blocks[40].payload();
    assert_eq!((job.block.number, job.block.timestamp), (40, header.timestamp()));
    assert_eq!(job.block.base_fee, 1_000_000_000);
    assert_eq!(job.state.codes.len(), 1);
    assert_eq!(job.state.codes[0].1, Bytes::from_static(&CODE));
    let alice = job.state.accounts.iter().find(|account| account.address == ALICE);
    let alice = alice.expect("the caller is proved");
    assert_eq!((alice.nonce, alice.code_hash, alice.has_storage), (40, EMPTY_CODE_HASH, false));
    assert_eq!(talk.dropped, []);
}

#[test]
fn every_kind_of_block_is_executed() {
    let mut talk = talk(reads);
    let hash = talk.world.id(35).hash;
    for (block, at) in [
        (json!("latest"), 40),
        (json!("0x23"), 35),
        (json!({ "blockHash": hash }), 35),
        (json!("0x7"), 7),
    ] {
        let (result, id, _) = talk.ask("eth_call", &json!([call()[0], block]));
        assert_eq!(result, Ok(read_at(&talk.world, at)), "{block}");
        assert_eq!(id, Some(talk.world.id(at)));
    }
}

#[test]
fn a_hint_changes_only_the_number_of_rounds() {
    let wrong_slots = json!({ "accessList": [
        { "address": TOKEN, "storageKeys": (0..200_u8).map(slot).collect::<Vec<_>>() },
        { "address": NEWCOMER, "storageKeys": [slot(1)] },
    ] });
    for (hint, executions) in [
        (json!("nonsense"), 4),
        (json!({ "accessList": [{ "address": 7 }] }), 4),
        (Value::Null, 4),
        (json!({ "accessList": [] }), 4),
        (wrong_slots, 2),
    ] {
        let lie: Lie = Rc::new(move |method, answer| match method {
            "eth_createAccessList" => hint.clone(),
            _ => answer,
        });
        let mut talk = talk(reads);
        talk.manners(&[Manner::Lies(lie.clone()), Manner::Lies(lie)]);
        assert_eq!(talk.proved("eth_call", &call()), read_at(&talk.world, 40));
        assert_eq!(talk.jobs.len(), executions);
        assert_eq!(talk.dropped, []);
    }
}

#[test]
fn the_hint_is_asked_at_the_block_without_a_price() {
    let mut talk = talk(reads);
    let params = json!([{
        "from": ALICE, "to": TOKEN, "gas": "0x7530", "gasPrice": "0x9", "value": "0x1",
        "data": "0x12", "nonce": "0x5", "type": "0x0", "chainId": "0x385",
        "accessList": [{ "address": TOKEN, "storageKeys": [slot(3)] }],
    }]);
    talk.proved("eth_call", &params);
    let asked = talk.asked.iter().find(|(_, method, _)| method == "eth_createAccessList");
    let (_, _, asked) = asked.expect("it is asked for");
    let expected = json!([{
        "from": ALICE, "to": TOKEN, "gas": "0x7530", "value": "0x1", "input": "0x12",
        "accessList": [{ "address": TOKEN, "storageKeys": [slot(3)] }],
    }, { "blockHash": talk.world.id(40).hash }]);
    assert_eq!(*asked, expected);
    let call = &talk.jobs[0].call;
    assert_eq!((call.gas, call.fees), (Some(30_000), Fees::Price(U256::from(9))));
    assert_eq!(call.access_list, [Access { address: TOKEN, storage_keys: vec![slot(3)] }]);
}

#[test]
fn a_lie_about_the_state_does_not_reach_the_executor() {
    let lie: Lie = Rc::new(|method, mut answer| {
        if method == "eth_getProof" {
            answer["balance"] = json!("0xffffff");
        }
        answer
    });
    let mut talk = talk(reads);
    talk.manners(&[Manner::Lies(lie)]);
    assert_eq!(talk.proved("eth_call", &call()), read_at(&talk.world, 40));
    assert_eq!(talk.dropped.len(), 1);
    let lie: Lie = Rc::new(|method, answer| match method {
        "eth_getCode" => json!("0x6001"),
        _ => answer,
    });
    let mut talk = talk_with(calls(1), reads);
    talk.manners(&[Manner::Lies(lie)]);
    assert_eq!(talk.error("eth_call", &call()), ReadError::AllDropped);
    assert_eq!(talk.jobs, []);
}

#[test]
fn each_outcome_has_its_form() {
    let ends = |method: &str, executor: Executor| {
        let mut talk = talk(executor);
        talk.ask(method, &call()).0
    };
    let estimate = ends("eth_estimateGas", |job| {
        assert_eq!(job.purpose, Purpose::Estimate);
        Ok(Report::Done(Outcome::Estimate(21_000)))
    });
    assert_eq!(estimate, Ok(json!("0x5208")));
    let list = ends("eth_createAccessList", |job| {
        assert_eq!(job.purpose, Purpose::AccessList);
        let list = vec![Access { address: TOKEN, storage_keys: vec![slot(3)] }];
        let error = Some("execution reverted".into());
        Ok(Report::Done(Outcome::AccessList { list, gas_used: 7, error }))
    });
    let expected = json!({
        "accessList": [{ "address": TOKEN, "storageKeys": [slot(3)] }],
        "gasUsed": "0x7",
        "error": "execution reverted",
    });
    assert_eq!(list, Ok(expected));
    let reverted = ends("eth_call", |_| {
        let (message, output) = ("execution reverted: no".into(), vec![1, 2].into());
        Ok(Report::Done(Outcome::Reverted { message, output }))
    });
    let error = reverted.expect_err("it is reverted");
    assert_eq!((error.code(), error.to_string().as_str()), (3, "execution reverted: no"));
    assert_eq!(*error.data(), json!("0x0102"));
    let failed = ends("eth_call", |_| Ok(Report::Done(Outcome::Failed("out of gas".into()))));
    let error = failed.expect_err("it failed");
    assert_eq!((error.code(), error.to_string().as_str()), (-32000, "out of gas"));
    let error = ends("eth_call", |_| Err("the module is missing".into())).expect_err("no executor");
    assert_eq!(error, ReadError::NotExecuted("the module is missing".into()));
    assert_eq!(error.code(), -32603);
}

#[test]
fn wrong_calls_are_refused_with_the_wrong_field() {
    let mut talk = talk(reads);
    for (call, named) in [
        (json!(null), "an object"),
        (json!({ "to": "0x12" }), "to must be"),
        (json!({ "from": 7 }), "from must be"),
        (json!({ "gas": "0x05" }), "gas must be"),
        (json!({ "value": "5" }), "value must be"),
        (json!({ "value": format!("0x1{}", "0".repeat(64)) }), "value must be"),
        (json!({ "data": "0x1" }), "data must be"),
        (json!({ "data": "0x12", "input": "0x13" }), "input and data differ"),
        (json!({ "gasPrice": "0x1", "maxFeePerGas": "0x1" }), "gasPrice and"),
        (json!({ "nonce": -1 }), "nonce must be"),
        (json!({ "chainId": "0x1" }), "chainId must be"),
        (json!({ "type": "0x3" }), "no blob"),
        (json!({ "blobVersionedHashes": [] }), "no blob"),
        (json!({ "type": "0x7e" }), "type must be"),
        (json!({ "accessList": [{}] }), "accessList must be"),
        (json!({ "authorizationList": [{}], "to": TOKEN }), "authorizationList must be"),
        (json!({ "authorizationList": [] }), "needs the field to"),
    ] {
        let error = talk.error("eth_call", &json!([call]));
        assert!(error.code() == -32602 && error.to_string().contains(named), "{call} {error}");
    }
    assert_eq!((talk.asked.len(), talk.jobs.len()), (0, 0));
    for call in [json!({ "data": "0x12", "input": "0x12" }), json!({ "to": null })] {
        talk.proved("eth_call", &json!([call, "latest", {}, null]));
    }
    for params in [json!([{}, "latest", { "0x00": {} }]), json!([{}, "latest", null, [1]])] {
        let error = talk.error("eth_call", &params);
        assert!(error.to_string().contains("overrides"), "{error}");
    }
}

#[test]
fn calls_are_refused_without_an_executor_or_rules() {
    let mut talk = talk_with(config(2), reads);
    for method in ["eth_call", "eth_estimateGas", "eth_createAccessList"] {
        assert_eq!(talk.error(method, &call()), ReadError::NotVerifiable(method.into()));
    }
    let calls = rules(Fork::Beryl);
    let mut talk = talk_with(ReaderConfig { calls, ..config(2) }, reads);
    let error = talk.error("eth_call", &call());
    assert_eq!(error, ReadError::UnknownRules("the fork beryl".into()));
    assert_eq!((error.code(), talk.asked.len()), (-32004, 0));
    // A listed method is passed on where its rules are unknown, and only there.
    for (fork, is_passed) in [(Fork::Beryl, true), (Fork::Jovian, false)] {
        let unverified = vec!["eth_call".into()];
        let config = ReaderConfig { calls: rules(fork), unverified, ..config(2) };
        let mut talk = talk_with(config, reads);
        let (result, _, is_verified) = talk.ask("eth_call", &call());
        assert_eq!((result.is_err(), is_verified), (is_passed, !is_passed));
        assert_eq!(talk.count("eth_call") > 0, is_passed);
    }
}

#[test]
fn rounds_accounts_and_slots_are_bounded() {
    let mut talk = talk(|_| {
        let accounts = vec![(TOKEN, vec![slot(3)])];
        Ok(Report::Missing(Missing { accounts, ..Missing::default() }))
    });
    let error = talk.error("eth_call", &call());
    assert_eq!((&error, error.code()), (&ReadError::CallTooLarge, -32005));
    assert_eq!(talk.jobs.len(), MAX_CALL_ROUNDS);
    let mut talk = self::talk(|job| {
        let first = job.state.accounts.len() as u64 * 1000;
        let slots = (first..first + 1500).map(|slot| U256::from(slot).into()).collect();
        let accounts = vec![(TOKEN, slots)];
        Ok(Report::Missing(Missing { accounts, ..Missing::default() }))
    });
    assert_eq!(talk.error("eth_call", &call()), ReadError::CallTooLarge);
    assert_eq!(talk.jobs.len(), 3);
}

#[test]
fn a_few_executions_are_in_progress_at_once() {
    let mut talk = talk(reads);
    let reads: Vec<_> = (0..2 * MAX_EXECUTIONS).map(|_| talk.begin("eth_call", &call())).collect();
    let mut most = 0;
    for _ in 0..10_000 {
        most = most.max(talk.executing.len());
        // Executions end only when nothing else is left to do.
        let is_idle = talk.waiting.is_empty();
        if is_idle && !talk.execute() {
            break;
        }
        if !is_idle {
            let executing = std::mem::take(&mut talk.executing);
            talk.step();
            let more = std::mem::replace(&mut talk.executing, executing);
            talk.executing.extend(more);
        }
    }
    assert_eq!(most, MAX_EXECUTIONS);
    for read in reads {
        assert_eq!(talk.wait(read).0, Ok(read_at(&talk.world, 40)));
    }
    // One that is cancelled keeps its place until its report arrives.
    let reads: Vec<_> = (0..=MAX_EXECUTIONS).map(|_| talk.begin("eth_call", &call())).collect();
    while !talk.waiting.is_empty() {
        let executing = std::mem::take(&mut talk.executing);
        talk.step();
        let more = std::mem::replace(&mut talk.executing, executing);
        talk.executing.extend(more);
    }
    assert_eq!(talk.executing.len(), MAX_EXECUTIONS);
    talk.reader.cancel(reads[0], talk.at());
    talk.drain();
    assert_eq!(talk.executing.len(), MAX_EXECUTIONS);
    let before = talk.jobs.len();
    assert!(talk.execute());
    assert_eq!((talk.executing.len(), talk.jobs.len()), (MAX_EXECUTIONS, before + 1));
    // A report that nobody waits for changes nothing.
    talk.reader.executed(ExecutionId(u64::MAX), Err("unknown".into()), talk.at());
    talk.drain();
    assert_eq!(talk.executing.len(), MAX_EXECUTIONS);
}

#[test]
fn a_report_about_a_block_that_left_the_chain_is_ignored() {
    let mut talk = talk(reads);
    let read = talk.begin("eth_call", &call());
    while talk.executing.is_empty() {
        talk.step();
    }
    let fork = Rc::new(talk.world.fork(38, 0, 41));
    talk.world = fork.clone();
    talk.heights(&[41, 41]);
    for block in &fork.blocks[39..] {
        talk.reader.head(block, talk.at());
    }
    talk.drain();
    let (result, block, _) = talk.wait(read);
    let at = block.expect("it has a block").number;
    assert_eq!(block, Some(fork.id(at)));
    assert_eq!(result, Ok(read_at(&fork, at)));
}

#[test]
fn a_call_waits_for_endpoints_that_lag_or_moves() {
    let mut talk = talk(reads);
    talk.heights(&[39, 38]);
    let read = talk.begin("eth_call", &call());
    while talk.now < Duration::from_secs(1) {
        assert!(talk.step() && talk.answers.is_empty());
    }
    talk.heights(&[40, 38]);
    assert_eq!(talk.wait(read).1, Some(talk.world.id(40)));
    let lag = LagPolicy::Newest { max_blocks: 3 };
    let mut talk = talk_with(ReaderConfig { lag, ..calls(2) }, reads);
    talk.heights(&[38, 37]);
    let (result, block, _) = talk.ask("eth_call", &call());
    assert_eq!((result, block), (Ok(read_at(&talk.world, 38)), Some(talk.world.id(38))));
}

#[test]
fn a_read_that_ends_early_ignores_its_execution() {
    let mut talk = talk(reads);
    let read = talk.begin("eth_call", &call());
    while talk.executing.is_empty() {
        talk.step();
    }
    let executing = std::mem::take(&mut talk.executing);
    let (result, ..) = talk.wait(read);
    assert_eq!(result, Err(ReadError::TimedOut));
    talk.executing = executing;
    talk.execute();
    assert!(talk.answers.is_empty() && talk.reader.pending_reads() == 0);
    assert_eq!(talk.reader.poll(), None::<ReaderOutput>);
}
