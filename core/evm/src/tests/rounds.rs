//! The missing parts of the state, and the rounds that they take.

use alloy_primitives::{B256, Bytes, U256, keccak256};
use opp2p_core::proof::call::{Job, Missing, Outcome, Report, Rules};
use revm::bytecode::opcode::{
    ADD, BALANCE, BLOCKHASH, EXTCODESIZE, GAS, NUMBER, PUSH1, PUSH2, STATICCALL, SUB,
};

use super::world::*;
use crate::execute;

fn missing(job: &Job) -> Missing {
    match execute(job) {
        Report::Missing(missing) => missing,
        Report::Done(outcome) => panic!("{outcome:?}"),
    }
}

#[test]
fn accounts_then_code_then_slots_are_asked_for() {
    let code = returning(&[load(1), load(2), vec![ADD]].concat());
    let world = World::new().code(FIRST, code.clone()).slot(FIRST, 1, 5).slot(FIRST, 2, 6);
    let mut job = job(Rules::Jovian, call(FIRST));
    let first = missing(&job);
    assert_eq!(first.accounts, [(ALICE, vec![]), (FIRST, vec![])]);
    world.reveal(&mut job.state, &first);
    let second = missing(&job);
    assert_eq!(second.codes, [(FIRST, keccak256(&code))]);
    assert!(second.accounts.is_empty());
    world.reveal(&mut job.state, &second);
    let third = missing(&job);
    // Both slots in one round, although the first is not known yet.
    let slots = vec![B256::with_last_byte(1), B256::with_last_byte(2)];
    assert_eq!(third.accounts, [(FIRST, slots)]);
    world.reveal(&mut job.state, &third);
    assert_eq!(execute(&job), Report::Done(Outcome::Returned(word(11))));
}

#[test]
fn a_slot_of_an_account_without_storage_is_zero_without_a_proof() {
    let world = World::new().code(FIRST, returning(&load(1)));
    let (outcome, rounds) = world.rounds(job(Rules::Jovian, call(FIRST)));
    assert_eq!((outcome, rounds), (Outcome::Returned(word(0)), 3));
}

#[test]
fn a_proved_slot_of_zero_is_not_asked_for_again() {
    let world = World::new().code(FIRST, returning(&load(9))).slot(FIRST, 1, 5);
    assert_eq!(world.run(job(Rules::Jovian, call(FIRST))), Outcome::Returned(word(0)));
}

#[test]
fn code_is_asked_for_only_where_it_is_read() {
    let balance = [push(BOB), vec![BALANCE]].concat();
    let world = World::new()
        .code(FIRST, returning(&balance))
        .code(BOB, vec![0; 100])
        .with(BOB, |bob| bob.balance = U256::from(77));
    let mut job = job(Rules::Jovian, call(FIRST));
    let mut codes = 0;
    while let Report::Missing(missing) = execute(&job) {
        codes += missing.codes.len();
        world.reveal(&mut job.state, &missing);
    }
    assert_eq!(codes, 1);
    let size = [push(BOB), vec![EXTCODESIZE]].concat();
    let world = world.code(FIRST, returning(&size));
    job.state = Default::default();
    assert_eq!(world.run(job), Outcome::Returned(word(100)));
}

#[test]
fn a_block_hash_is_asked_for_within_256_blocks() {
    let below = |distance: u16| {
        let [high, low] = distance.to_be_bytes();
        World::new()
            .code(FIRST, returning(&[PUSH2, high, low, NUMBER, SUB, BLOCKHASH]))
            .rounds(job(Rules::Jovian, call(FIRST)))
    };
    let hash = |number| Outcome::Returned(Bytes::from(block_hash(number)));
    assert_eq!(below(1), (hash(999), 4));
    assert_eq!(below(256), (hash(744), 4));
    assert_eq!(below(257), (Outcome::Returned(word(0)), 3));
    assert_eq!(below(0), (Outcome::Returned(word(0)), 3));
}

#[test]
fn no_answer_rests_on_a_part_that_is_missing() {
    // The balance decides which slot is read.
    let world = World::new()
        .code(FIRST, returning(&[push(BOB), vec![BALANCE, revm::bytecode::opcode::SLOAD]].concat()))
        .slot(FIRST, 0, 111)
        .slot(FIRST, 7, 222)
        .with(BOB, |bob| bob.balance = U256::from(7));
    assert_eq!(world.run(job(Rules::Jovian, call(FIRST))), Outcome::Returned(word(222)));
}

#[test]
fn calls_through_several_contracts_take_a_few_rounds() {
    let inner = |to| {
        let arguments = [PUSH1, 32, PUSH1, 0, PUSH1, 0, PUSH1, 0];
        let ending = [GAS, STATICCALL, PUSH1, 0, revm::bytecode::opcode::MLOAD, ADD];
        returning(&[&arguments[..], &push(to), &ending].concat())
    };
    let third = alloy_primitives::address!("00000000000000000000000000000000000c0de3");
    let world = World::new()
        .code(FIRST, inner(SECOND))
        .code(SECOND, inner(third))
        .code(third, returning(&load(4)))
        .slot(third, 4, 40);
    let (outcome, rounds) = world.rounds(job(Rules::Jovian, call(FIRST)));
    assert_eq!(outcome, Outcome::Returned(word(42)));
    assert!(rounds <= 9, "{rounds}");
}

#[test]
fn one_report_names_a_bounded_number_of_parts() {
    let loads: Vec<u8> = (0..=255).flat_map(|slot| [load(slot), load(slot)].concat()).collect();
    let far: Vec<u8> = (0..=255).flat_map(|slot| [PUSH2, 1, slot, 0x54]).collect();
    let world = World::new().code(FIRST, [loads, far].concat()).slot(FIRST, 1, 5);
    let mut job = job(Rules::Jovian, call(FIRST));
    let mut most = 0_usize;
    while let Report::Missing(missing) = execute(&job) {
        let slots = missing.accounts.iter().map(|(_, slots)| slots.len());
        most = most.max(slots.sum::<usize>());
        world.reveal(&mut job.state, &missing);
    }
    assert_eq!(most, 256);
}

#[test]
fn jobs_and_reports_are_written_as_json() {
    let world = World::new().code(FIRST, returning(&load(1))).slot(FIRST, 1, 5);
    let mut job = job(Rules::Jovian, with_input(FIRST, vec![1, 2]));
    loop {
        let text = serde_json::to_string(&job).expect("it is plain data");
        assert_eq!(serde_json::from_str::<Job>(&text).expect("it was written so"), job);
        let report = execute(&job);
        let text = serde_json::to_string(&report).expect("it is plain data");
        assert_eq!(serde_json::from_str::<Report>(&text).expect("it was written so"), report);
        match report {
            Report::Missing(missing) => world.reveal(&mut job.state, &missing),
            Report::Done(outcome) => return assert_eq!(outcome, Outcome::Returned(word(5))),
        }
    }
}
