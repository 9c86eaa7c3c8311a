//! The semantics of `eth_call`.

use alloy_primitives::{Address, Bytes, U256};
use opp2p_core::proof::call::{Access, Authorization, Call, Fees, Outcome, Rules};
use opp2p_core::sequencer::LocalSigner;
use revm::bytecode::opcode::*;
use revm::context::transaction::Authorization as Unsigned;

use super::world::*;

fn failed(text: &str) -> Outcome {
    Outcome::Failed(text.into())
}

fn run(world: &World, call: Call) -> Outcome {
    world.run(job(Rules::Jovian, call))
}

fn price(price: u64) -> Fees {
    Fees::Price(U256::from(price))
}

fn caps(max: u64, priority: u64) -> Fees {
    Fees::Caps { max: U256::from(max), priority: U256::from(priority) }
}

#[test]
fn an_account_without_code_returns_nothing() {
    assert_eq!(run(&World::new(), call(BOB)), Outcome::Returned(Bytes::new()));
}

#[test]
fn the_block_and_the_call_are_visible() {
    let world = |code: &[u8]| World::new().code(FIRST, returning(code));
    for (code, expected) in [
        (NUMBER, U256::from(1000)),
        (TIMESTAMP, U256::from(1_700_000_000)),
        (GASLIMIT, U256::from(30_000_000)),
        (CHAINID, U256::from(10)),
        (COINBASE, U256::from_be_slice(FEE_VAULT.as_slice())),
        (DIFFICULTY, U256::from_be_bytes([0x4d; 32])),
        (CALLER, U256::from_be_slice(ALICE.as_slice())),
        (ORIGIN, U256::from_be_slice(ALICE.as_slice())),
        (BLOBBASEFEE, U256::from(1)),
        (SELFBALANCE, U256::ZERO),
    ] {
        let expected = Outcome::Returned(expected.to_be_bytes::<32>().into());
        assert_eq!(run(&world(&[code]), call(FIRST)), expected, "{code:#x}");
    }
}

#[test]
fn the_base_fee_is_zero_only_without_a_price() {
    let world = World::new()
        .code(FIRST, returning(&[BASEFEE]))
        .code(SECOND, returning(&[GASPRICE]))
        .with(ALICE, |alice| alice.balance = U256::MAX);
    let shown = |to, fees| run(&world, Call { fees, ..call(to) });
    let is = |number| Outcome::Returned(word(number));
    assert_eq!(shown(FIRST, Fees::Free), is(0));
    assert_eq!(shown(FIRST, price(0)), is(0));
    assert_eq!(shown(FIRST, caps(0, 0)), is(0));
    assert_eq!(shown(FIRST, price(7)), is(7));
    assert_eq!(shown(SECOND, price(9)), is(9));
    assert_eq!(shown(SECOND, caps(20, 2)), is(9));
    assert_eq!(shown(SECOND, caps(8, 5)), is(8));
    let low = failed("max fee per gas less than block base fee");
    assert_eq!(shown(FIRST, price(6)), low);
    assert_eq!(shown(FIRST, caps(6, 1)), low);
    let order = failed("max priority fee per gas higher than max fee per gas");
    assert_eq!(shown(FIRST, caps(8, 9)), order);
    assert_eq!(shown(FIRST, caps(0, 9)), order);
    let high = Fees::Price(U256::MAX);
    assert_eq!(shown(FIRST, high), failed("the fee per gas is too high"));
}

#[test]
fn the_balance_must_cover_the_value_and_the_fees() {
    let world = World::new().code(FIRST, returning(&[CALLVALUE]));
    let value = |value: u64| Call { value: U256::from(value), ..call(FIRST) };
    assert_eq!(run(&world, value(1_000_000)), Outcome::Returned(word(1_000_000)));
    let text = "insufficient funds for gas * price + value: have 1000000 want ";
    assert_eq!(run(&world, value(1_000_001)), failed(&format!("{text}1000001")));
    // Without a gas limit, the fees of the highest one are needed.
    let paid = Call { fees: price(10), ..call(FIRST) };
    assert_eq!(run(&world, paid.clone()), failed(&format!("{text}500000000")));
    let limited = Call { gas: Some(50_000), ..paid };
    assert_eq!(run(&world, limited), Outcome::Returned(word(0)));
    // Only the caller's own balance is reduced, and no account receives the fees.
    let seen = World::new().code(FIRST, returning(&[push(FEE_VAULT), vec![BALANCE]].concat()));
    let limited = Call { gas: Some(50_000), fees: price(10), ..call(FIRST) };
    assert_eq!(run(&seen, limited.clone()), Outcome::Returned(word(0)));
    let seen = World::new().code(FIRST, returning(&[CALLER, BALANCE]));
    assert_eq!(run(&seen, limited), Outcome::Returned(word(500_000)));
}

#[test]
fn neither_the_nonce_nor_the_code_of_the_caller_matters() {
    let world = World::new()
        .code(FIRST, returning(&[CALLER]))
        .code(ALICE, vec![STOP])
        .with(ALICE, |alice| alice.nonce = 7);
    let expected = U256::from_be_slice(ALICE.as_slice()).to_be_bytes::<32>();
    assert_eq!(run(&world, call(FIRST)), Outcome::Returned(expected.into()));
}

#[test]
fn a_revert_has_its_reason_and_data() {
    let world = World::new().code(FIRST, REVERT_INPUT.to_vec());
    let output = Bytes::from_static(&[1, 2, 3]);
    let reverted = Outcome::Reverted { message: "execution reverted".into(), output };
    assert_eq!(run(&world, with_input(FIRST, vec![1, 2, 3])), reverted);
}

#[test]
fn other_failures_are_named() {
    let ends = |code: &[u8]| run(&World::new().code(FIRST, code.to_vec()), call(FIRST));
    assert_eq!(ends(&[INVALID]), failed("invalid opcode"));
    assert_eq!(ends(&[0x0c]), failed("invalid opcode"));
    assert_eq!(ends(&[POP]), failed("stack underflow"));
    assert_eq!(ends(&[PUSH1, 9, JUMP]), failed("invalid jump destination"));
    assert_eq!(ends(&[JUMPDEST, PUSH1, 0, JUMP]), failed("out of gas"));
    let low = Call { gas: Some(20_999), ..call(BOB) };
    let text = "intrinsic gas too low: have 20999, want 21000";
    assert_eq!(run(&World::new(), low), failed(text));
    // The floor for input (EIP-7623): 40 gas for each byte that is not zero.
    let low = Call { gas: Some(24_999), ..with_input(BOB, vec![1; 100]) };
    let text = "insufficient gas for floor data gas cost: have 24999, want 25000";
    assert_eq!(run(&World::new(), low), failed(text));
}

#[test]
fn the_gas_is_capped() {
    let world = World::new().code(FIRST, returning(&[GAS]));
    let gas = |gas| match run(&world, Call { gas, ..call(FIRST) }) {
        Outcome::Returned(output) => U256::from_be_slice(&output),
        other => panic!("{other:?}"),
    };
    assert_eq!(gas(None), U256::from(50_000_000 - 21_000 - 2));
    assert_eq!(gas(Some(u64::MAX)), gas(None));
    assert_eq!(gas(Some(100_000)), U256::from(100_000 - 21_000 - 2));
}

#[test]
fn a_call_without_a_target_creates_a_contract() {
    // The initialization code returns one byte of code: STOP.
    let input = vec![PUSH1, 1, PUSH1, 0, RETURN];
    let create = Call { from: ALICE, input: input.into(), ..Call::default() };
    assert_eq!(run(&World::new(), create), Outcome::Returned(Bytes::from_static(&[0])));
    let create = Call { from: ALICE, input: vec![0; 49_153].into(), ..Call::default() };
    assert_eq!(run(&World::new(), create), failed("max initcode size exceeded"));
}

#[test]
fn an_access_list_makes_a_slot_cheaper() {
    // Returns the gas of one load.
    let code = [vec![GAS], load(1), vec![POP, GAS, SWAP1, SUB]].concat();
    let world = World::new().code(FIRST, returning(&code)).slot(FIRST, 1, 5);
    let cost = |access_list| run(&world, Call { access_list, ..call(FIRST) });
    assert_eq!(cost(Vec::new()), Outcome::Returned(word(2100 + 3 + 2 + 2)));
    let slot = alloy_primitives::B256::with_last_byte(1);
    let access = Access { address: FIRST, storage_keys: vec![slot] };
    assert_eq!(cost(vec![access]), Outcome::Returned(word(100 + 3 + 2 + 2)));
}

fn authorized(nonce: u64) -> (Address, Authorization) {
    let signer = LocalSigner::from_bytes(&[9; 32]).expect("the key is valid");
    let unsigned = Unsigned { chain_id: U256::from(10), address: FIRST, nonce };
    let signature = signer.sign(&unsigned.signature_hash());
    let authorization = Authorization {
        chain_id: unsigned.chain_id,
        address: FIRST,
        nonce,
        y_parity: signature[64],
        r: U256::from_be_slice(&signature[..32]),
        s: U256::from_be_slice(&signature[32..64]),
    };
    (signer.address(), authorization)
}

#[test]
fn an_authorization_sets_code() {
    let world = World::new().code(FIRST, returning(&[ADDRESS]));
    let (authority, authorization) = authorized(0);
    let own = Outcome::Returned(U256::from_be_slice(authority.as_slice()).to_be_bytes_vec().into());
    let with = |list| Call { authorizations: Some(list), ..call(authority) };
    assert_eq!(run(&world, with(vec![authorization.clone()])), own);
    // A wrong nonce makes it void.
    let (_, wrong) = authorized(1);
    assert_eq!(run(&world, with(vec![wrong])), Outcome::Returned(Bytes::new()));
    let empty = failed("EIP-7702 transaction with empty auth list");
    assert_eq!(run(&world, with(Vec::new())), empty);
    let early = world.run(job(Rules::Granite, with(vec![authorization])));
    assert_eq!(early, failed("transaction type not supported"));
    // An account that was delegated earlier has the delegation as its code.
    let delegation = [&[0xef, 0x01, 0x00], FIRST.as_slice()].concat();
    assert_eq!(run(&world.code(authority, delegation), call(authority)), own);
}
