//! The semantics of `eth_estimateGas`.

use alloy_primitives::{Bytes, U256};
use opp2p_core::proof::call::{Access, Call, Fees, Job, Outcome, Purpose, Rules};
use revm::bytecode::opcode::*;

use super::world::*;

fn estimated(world: &World, call: Call) -> Outcome {
    world.run(Job { purpose: Purpose::Estimate, ..job(Rules::Jovian, call) })
}

fn estimate(world: &World, call: Call) -> u64 {
    world.estimate(job(Rules::Jovian, call))
}

/// Checks that a call succeeds with the estimated gas, which is not much more than it needs.
fn check(world: &World, call: &Call) -> u64 {
    let gas = estimate(world, call.clone());
    let succeeds = |gas| {
        let outcome = world.run(job(Rules::Jovian, Call { gas: Some(gas), ..call.clone() }));
        matches!(outcome, Outcome::Returned(_))
    };
    assert!(succeeds(gas), "{gas}");
    assert!(!succeeds(gas - gas / 50), "{gas}");
    gas
}

#[test]
fn a_transfer_needs_21000() {
    let world = World::new();
    let transfer = Call { value: U256::from(5), ..call(BOB) };
    assert_eq!(estimate(&world, transfer.clone()), 21_000);
    // An access list makes it dearer.
    let access_list = vec![Access { address: BOB, storage_keys: vec![] }];
    let gas = estimate(&world, Call { access_list, ..transfer });
    assert!((23_400..23_800).contains(&gas), "{gas}");
}

#[test]
fn a_contract_needs_what_it_uses() {
    let world = World::new().code(FIRST, store(1, 1));
    let gas = check(&world, &call(FIRST));
    assert!((43_106..44_000).contains(&gas), "{gas}");
    // The refund is paid only after the execution.
    let world = World::new().code(FIRST, store(1, 0)).slot(FIRST, 1, 5);
    check(&world, &call(FIRST));
    let create = Call { from: ALICE, input: store(1, 1).into(), ..Call::default() };
    check(&World::new(), &create);
}

#[test]
fn a_call_inside_needs_a_64th_more() {
    // Succeeds only if the inner call does.
    let arguments = [PUSH1, 0, PUSH1, 0, PUSH1, 0, PUSH1, 0, PUSH1, 0];
    let rest = [GAS, CALL, PUSH1, 44, JUMPI, PUSH1, 0, PUSH1, 0, REVERT, JUMPDEST, STOP];
    let outer = [&arguments[..], &push(SECOND), &rest].concat();
    let target = outer.len() - 2;
    let mut outer = outer;
    outer[34] = u8::try_from(target).expect("the code is short");
    let stores: Vec<u8> = (0..20).flat_map(|slot| store(slot, 1)).collect();
    let world = World::new().code(FIRST, outer).code(SECOND, stores);
    let gas = check(&world, &call(FIRST));
    assert!(gas > 20 * 22_100 + 21_000, "{gas}");
}

#[test]
fn a_failure_is_returned_instead() {
    let world = World::new().code(FIRST, REVERT_INPUT.to_vec()).code(SECOND, vec![INVALID]);
    let output = Bytes::from_static(&[1, 2, 3]);
    let reverted = Outcome::Reverted { message: "execution reverted".into(), output };
    assert_eq!(estimated(&world, with_input(FIRST, vec![1, 2, 3])), reverted);
    let invalid = Outcome::Failed("invalid opcode".into());
    assert_eq!(estimated(&world, call(SECOND)), invalid);
}

#[test]
fn the_allowance_is_named_if_it_is_too_low() {
    let world = World::new().code(FIRST, store(1, 1)).code(SECOND, vec![JUMPDEST, PUSH1, 0, JUMP]);
    let exceeds = |gas| Outcome::Failed(format!("gas required exceeds allowance ({gas})"));
    let low = Call { gas: Some(30_000), ..call(FIRST) };
    assert_eq!(estimated(&world, low), exceeds(30_000));
    assert_eq!(estimated(&world, call(SECOND)), exceeds(50_000_000));
    // The balance pays for 100,000 gas.
    let paid = Call { fees: Fees::Price(U256::from(10)), ..call(SECOND) };
    assert_eq!(estimated(&world, paid), exceeds(100_000));
    let poor = Call { fees: Fees::Price(U256::from(1000)), ..call(FIRST) };
    assert_eq!(estimated(&world, poor), exceeds(1000));
    let all = Call { value: U256::from(1_000_000), fees: Fees::Price(U256::from(10)), ..call(BOB) };
    let text = "insufficient funds for transfer";
    assert_eq!(estimated(&world, all), Outcome::Failed(text.into()));
    let karst = job(Rules::Karst, call(SECOND));
    let karst = world.run(Job { purpose: Purpose::Estimate, ..karst });
    assert_eq!(karst, exceeds(1 << 24));
}
