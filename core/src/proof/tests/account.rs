//! Accounts, slots and code.

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use serde_json::{Value, json};

use super::builder::{Trie, list, string};
use super::lies;
use crate::payload::trie::EMPTY_ROOT;
use crate::proof::trie::TrieError;
use crate::proof::{
    Account, AccountAnswer, AccountError, BlockHeader, CodeError, EMPTY_CODE_HASH, MAX_CODE_SIZE,
    MESSAGE_PASSER, SlotError, prove_account, prove_code, prove_slot, sent_message_slot,
};

/// The contract in the state, beside 40 accounts without storage.
const CONTRACT: Address = Address::repeat_byte(0xcc);
const ABSENT: Address = Address::repeat_byte(0xab);

struct State {
    accounts: Trie,
    storage: Trie,
    contract: Account,
}

fn encoded<T: alloy_rlp::Encodable>(value: T) -> Vec<u8> {
    alloy_rlp::encode(value)
}

fn account_rlp(account: &Account) -> Vec<u8> {
    list(&[
        encoded(account.nonce),
        encoded(account.balance),
        encoded(account.storage_root),
        encoded(account.code_hash),
    ])
}

fn value_of(slot: u64) -> U256 {
    U256::from(slot + 1) << slot
}

fn state() -> State {
    let mut storage = Trie::default();
    for slot in 0..50 {
        let key = keccak256(B256::from(U256::from(slot)));
        storage.insert(key.as_slice(), encoded(value_of(slot)));
    }
    let contract = Account {
        nonce: 1,
        balance: U256::from(1_u64 << 60),
        storage_root: storage.root(),
        code_hash: keccak256([0x60, 0x00]),
    };
    let mut accounts = Trie::default();
    accounts.insert(keccak256(CONTRACT).as_slice(), account_rlp(&contract));
    for index in 0..40 {
        let account = Account { nonce: index, balance: U256::from(index), ..Account::ABSENT };
        let address = Address::repeat_byte(index as u8);
        accounts.insert(keccak256(address).as_slice(), account_rlp(&account));
    }
    State { accounts, storage, contract }
}

fn hex_nodes(nodes: Vec<Vec<u8>>) -> Vec<Bytes> {
    nodes.into_iter().map(Bytes::from).collect()
}

fn slot_json(storage: &Trie, slot: u64, value: U256) -> Value {
    let key = keccak256(B256::from(U256::from(slot)));
    let proof = hex_nodes(storage.proof(key.as_slice(), false));
    json!({ "key": format!("{slot:#x}"), "value": value, "proof": proof })
}

/// The answer about the contract, slots 3, 4 and the absent slot 1000.
fn answer(state: &State) -> Value {
    json!({
        "address": CONTRACT,
        "nonce": "0x1",
        "balance": state.contract.balance,
        "storageHash": state.contract.storage_root,
        "codeHash": state.contract.code_hash,
        "accountProof": hex_nodes(state.accounts.proof(keccak256(CONTRACT).as_slice(), false)),
        "storageProof": [
            slot_json(&state.storage, 3, value_of(3)),
            slot_json(&state.storage, 4, value_of(4)),
            slot_json(&state.storage, 1000, U256::ZERO),
        ],
        "unknown": { "field": 1 },
    })
}

const ASKED: [u64; 3] = [3, 4, 1000];

fn slots() -> Vec<B256> {
    ASKED.iter().map(|slot| U256::from(*slot).into()).collect()
}

fn verify(state: &State, answer: &Value) -> Result<Vec<U256>, String> {
    let answer = AccountAnswer::from_json(answer).map_err(|error| error.to_string())?;
    answer
        .verify(state.accounts.root(), CONTRACT, &slots())
        .map(|proved| {
            assert_eq!(proved.account, Some(state.contract));
            proved.values
        })
        .map_err(|error| error.to_string())
}

#[test]
fn a_true_answer_is_proved() {
    let state = state();
    let values = verify(&state, &answer(&state));
    assert_eq!(values, Ok(vec![value_of(3), value_of(4), U256::ZERO]));
}

#[test]
fn every_lie_in_an_answer_is_named() {
    let state = state();
    let lies = lies(&answer(&state));
    assert!(lies.len() > 20);
    for (pointer, lie) in lies {
        let error = verify(&state, &lie).expect_err(&pointer);
        let parts: Vec<&str> = pointer.split('/').skip(1).collect();
        let names: Vec<String> = match parts[..] {
            ["address"] => vec!["the account 0x".into()],
            [field @ ("nonce" | "balance" | "storageHash" | "codeHash")] => vec![field.into()],
            ["accountProof"] => vec!["account proof: node".into(), "accountProof[".into()],
            ["accountProof", node] => vec![format!("account proof: node {node} ")],
            ["storageProof"] => vec!["slots instead of 3".into(), "storageProof[3]".into()],
            ["storageProof", slot, "key"] => vec![format!("slot {slot}: the answer is about")],
            ["storageProof", slot, "value"] => vec![format!("slot {slot}: the value is")],
            ["storageProof", slot, "proof"] => vec![
                format!("slot {slot}: storage proof: node"),
                format!("storageProof[{slot}].proof["),
            ],
            ["storageProof", slot, "proof", node] => {
                vec![format!("slot {slot}: storage proof: node {node} ")]
            }
            _ => panic!("{pointer}"),
        };
        assert!(names.iter().any(|name| error.contains(name)), "{pointer}: {error}");
    }
}

#[test]
fn every_missing_field_and_wrong_shape_is_named() {
    let state = state();
    let whole = answer(&state);
    for name in ["address", "nonce", "balance", "storageHash", "codeHash", "accountProof"] {
        for wrong in [Value::Null, json!(1), json!("7"), json!("0x"), json!("0xzz"), json!({})] {
            let mut lie = whole.clone();
            lie[name] = wrong.clone();
            let error = AccountAnswer::from_json(&lie).expect_err(name);
            assert_eq!(error.path, name, "{wrong}");
        }
    }
    for wrong in [Value::Null, json!([]), json!("0x")] {
        assert_eq!(AccountAnswer::from_json(&wrong).expect_err("no object").path, "");
    }
    let mut lie = whole;
    lie["storageProof"][1]["proof"][0] = json!("0x123");
    let error = AccountAnswer::from_json(&lie).expect_err("half a byte");
    assert_eq!(error.path, "storageProof[1].proof[0]");
    lie["nonce"] = json!("0x10000000000000000");
    assert_eq!(AccountAnswer::from_json(&lie).expect_err("65 bits").path, "nonce");
    lie["nonce"] = json!("0x+1");
    assert_eq!(AccountAnswer::from_json(&lie).expect_err("a sign").path, "nonce");
}

#[test]
fn an_absent_account_is_proved_with_the_hashes_of_every_client() {
    let state = state();
    let proof = hex_nodes(state.accounts.proof(keccak256(ABSENT).as_slice(), false));
    for (storage_hash, code_hash) in
        [(EMPTY_ROOT, EMPTY_CODE_HASH), (EMPTY_ROOT, B256::ZERO), (B256::ZERO, B256::ZERO)]
    {
        let whole = json!({
            "address": ABSENT, "nonce": "0x0", "balance": "0x0",
            "storageHash": storage_hash, "codeHash": code_hash, "accountProof": proof,
            "storageProof": [{ "key": "0x5", "value": "0x0", "proof": [] }],
        });
        let asked = [B256::with_last_byte(5)];
        let verify = |answer: &Value| {
            let answer = AccountAnswer::from_json(answer).expect("the shape");
            answer.verify(state.accounts.root(), ABSENT, &asked)
        };
        let proved = verify(&whole).expect("it is true");
        assert_eq!((proved.account, proved.values), (None, vec![U256::ZERO]));
        for (field, lie) in [
            ("nonce", json!("0x1")),
            ("balance", json!("0x1")),
            ("storageHash", json!(B256::with_last_byte(1))),
            ("codeHash", json!(B256::with_last_byte(1))),
        ] {
            let mut answer = whole.clone();
            answer[field] = lie;
            assert_eq!(verify(&answer), Err(AccountError::Field(field)));
        }
    }
    // An account that exists can't have these hashes of zero.
    let address = Address::repeat_byte(7);
    let proof = hex_nodes(state.accounts.proof(keccak256(address).as_slice(), false));
    let answer = json!({
        "address": address, "nonce": "0x7", "balance": "0x7", "storageHash": B256::ZERO,
        "codeHash": EMPTY_CODE_HASH, "accountProof": proof, "storageProof": [],
    });
    let answer = AccountAnswer::from_json(&answer).expect("the shape");
    let result = answer.verify(state.accounts.root(), address, &[]);
    assert_eq!(result, Err(AccountError::Field("storageHash")));
}

#[test]
fn a_proved_value_must_be_an_account_or_a_nonzero_word() {
    let good = account_rlp(&Account::ABSENT);
    let long = [&good[..], &[0]].concat();
    let five = list(&[good[2..].to_vec(), encoded(1_u8)]);
    for value in [string(&[7]), list(&[]), long, good[..good.len() - 1].to_vec(), five] {
        let mut trie = Trie::default();
        trie.insert(keccak256(CONTRACT).as_slice(), value);
        let proof = trie.proof(keccak256(CONTRACT).as_slice(), false);
        let result = prove_account(trie.root(), CONTRACT, &proof);
        assert!(matches!(result, Err(AccountError::Value(_))), "{result:?}");
    }
    for value in [vec![0x80], vec![0], vec![0x81, 0x05], string(&[7; 33]), list(&[]), vec![1, 2]] {
        let mut trie = Trie::default();
        trie.insert(keccak256(B256::ZERO).as_slice(), value);
        let proof = trie.proof(keccak256(B256::ZERO).as_slice(), false);
        assert_eq!(prove_slot(trie.root(), B256::ZERO, &proof), Err(SlotError::Malformed));
    }
}

#[test]
fn the_withdrawals_root_proves_the_message_passer_only_from_isthmus_on() {
    let sent = sent_message_slot(B256::repeat_byte(0x77));
    let mut storage = Trie::default();
    storage.insert(keccak256(sent).as_slice(), vec![1]);
    for slot in 0..20_u8 {
        storage.insert(keccak256(B256::with_last_byte(slot)).as_slice(), vec![5]);
    }
    let header = BlockHeader {
        withdrawals_root: Some(storage.root()),
        requests_hash: Some(B256::ZERO),
        ..BlockHeader::default()
    };
    let proof = hex_nodes(storage.proof(keccak256(sent).as_slice(), false));
    let whole = json!({
        "address": MESSAGE_PASSER, "nonce": "0x1", "balance": "0x0",
        "storageHash": storage.root(), "codeHash": EMPTY_CODE_HASH, "accountProof": [],
        "storageProof": [{ "key": sent, "value": "0x1", "proof": proof }],
    });
    let read = |answer: &Value| AccountAnswer::from_json(answer).expect("the shape");
    let true_answer = read(&whole);
    assert_eq!(true_answer.verify_message_passer(&header, &[sent]), Ok(vec![U256::from(1)]));

    let other = AccountAnswer { address: CONTRACT, ..true_answer.clone() };
    let result = other.verify_message_passer(&header, &[sent]);
    assert_eq!(result, Err(AccountError::Address(CONTRACT)));
    let other = AccountAnswer { storage_hash: EMPTY_ROOT, ..true_answer.clone() };
    let result = other.verify_message_passer(&header, &[sent]);
    assert_eq!(result, Err(AccountError::Field("storageHash")));
    let mut lie = true_answer.clone();
    lie.storage_proof[0].value = U256::ZERO;
    assert!(lie.verify_message_passer(&header, &[sent]).is_err());

    // Before Isthmus the root is that of an empty list, which would "prove" that nothing was sent.
    let before = BlockHeader { withdrawals_root: Some(EMPTY_ROOT), requests_hash: None, ..header };
    let mut lie = AccountAnswer { storage_hash: EMPTY_ROOT, ..true_answer };
    lie.storage_proof[0].value = U256::ZERO;
    lie.storage_proof[0].proof = Vec::new();
    assert_eq!(lie.verify_message_passer(&before, &[sent]), Err(AccountError::BeforeIsthmus));
}

#[test]
fn code_has_its_hash() {
    let code = [0x60, 0x00, 0x60, 0x00, 0xfd];
    let expected = keccak256(code);
    assert_eq!(prove_code(expected, &code), Ok(()));
    assert_eq!(prove_code(EMPTY_CODE_HASH, &[]), Ok(()));
    for at in 0..code.len() {
        let mut lie = code;
        lie[at] ^= 1;
        let computed = keccak256(lie);
        assert_eq!(prove_code(expected, &lie), Err(CodeError::Hash { expected, computed }));
    }
    let large = vec![0; MAX_CODE_SIZE + 1];
    assert_eq!(prove_code(expected, &large), Err(CodeError::TooLarge(MAX_CODE_SIZE + 1)));
}

#[test]
fn a_proof_of_another_state_is_refused() {
    let state = state();
    let proof = state.accounts.proof(keccak256(CONTRACT).as_slice(), false);
    let result = prove_account(B256::ZERO, CONTRACT, &proof);
    assert!(matches!(result, Err(AccountError::Proof(TrieError::FalseNode { node: 0, .. }))));
}
