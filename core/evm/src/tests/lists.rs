//! The semantics of `eth_createAccessList`.

use alloy_primitives::{Address, B256, Bytes};
use opp2p_core::proof::call::{Access, Call, Job, Outcome, Purpose, Rules};
use revm::bytecode::opcode::*;

use super::world::*;

fn list(world: &World, call: Call) -> (Vec<Access>, u64, Option<String>) {
    match world.run(Job { purpose: Purpose::AccessList, ..job(Rules::Jovian, call) }) {
        Outcome::AccessList { list, gas_used, error } => (list, gas_used, error),
        other => panic!("{other:?}"),
    }
}

fn access(address: Address, slots: &[u8]) -> Access {
    let storage_keys = slots.iter().map(|slot| B256::with_last_byte(*slot)).collect();
    Access { address, storage_keys }
}

#[test]
fn touched_accounts_and_slots_are_listed() {
    let code = [
        load(3),
        store(1, 1),
        push(BOB),
        vec![BALANCE],
        push(SECOND),
        vec![EXTCODESIZE],
        push(ALICE),
        vec![BALANCE],
        push(Address::with_last_byte(2)),
        vec![EXTCODEHASH],
    ];
    let world = World::new().code(FIRST, code.concat()).code(SECOND, vec![STOP]).slot(FIRST, 1, 5);
    let (given, gas, error) = list(&world, call(FIRST));
    // The caller, the called contract and the precompile are warm anyway.
    assert_eq!(given, [access(BOB, &[]), access(FIRST, &[1, 3]), access(SECOND, &[])]);
    assert_eq!(error, None);
    // With the list, the same call uses the same gas.
    let (again, same, _) = list(&world, Call { access_list: given.clone(), ..call(FIRST) });
    assert_eq!((again, same), (given, gas));
}

#[test]
fn a_given_list_is_kept() {
    let world = World::new().code(FIRST, load(3)).slot(FIRST, 3, 5);
    let access_list = vec![access(FIRST, &[3, 4]), access(BOB, &[])];
    let (given, _, _) = list(&world, Call { access_list, ..call(FIRST) });
    assert_eq!(given, [access(BOB, &[]), access(FIRST, &[3, 4])]);
}

#[test]
fn calls_inside_count_even_if_they_are_reverted() {
    let arguments = [PUSH1, 0, PUSH1, 0, PUSH1, 0, PUSH1, 0];
    let outer = [&arguments[..], &push(SECOND), &[GAS, STATICCALL]].concat();
    let inner = [load(7), REVERT_INPUT.to_vec()].concat();
    let world = World::new().code(FIRST, outer).code(SECOND, inner).slot(SECOND, 7, 1);
    let (given, _, error) = list(&world, call(FIRST));
    assert_eq!((given, error), (vec![access(SECOND, &[7])], None));
}

#[test]
fn a_failing_call_has_a_list_and_an_error() {
    let world = World::new()
        .code(FIRST, [load(7), REVERT_INPUT.to_vec()].concat())
        .code(SECOND, vec![INVALID])
        .slot(FIRST, 7, 1);
    let (given, _, error) = list(&world, call(FIRST));
    assert_eq!((given, error.as_deref()), (vec![access(FIRST, &[7])], Some("execution reverted")));
    let (_, gas, error) = list(&world, call(SECOND));
    assert_eq!((gas, error.as_deref()), (50_000_000, Some("invalid opcode")));
    let poor = Call { value: alloy_primitives::U256::MAX, ..call(BOB) };
    let outcome = world.run(Job { purpose: Purpose::AccessList, ..job(Rules::Jovian, poor) });
    assert!(matches!(outcome, Outcome::Failed(text) if text.starts_with("insufficient funds")));
}

#[test]
fn a_created_contract_is_warm_anyway() {
    let input: Bytes = [vec![ADDRESS, BALANCE], load(1), push(BOB), vec![BALANCE]].concat().into();
    let create = Call { from: ALICE, input, ..Call::default() };
    let world = World::new().with(ALICE, |alice| alice.nonce = 3);
    let (given, _, _) = list(&world, create);
    let mut expected = [access(BOB, &[]), access(ALICE.create(3), &[1])];
    expected.sort_by_key(|access| access.address);
    assert_eq!(given, expected);
}
