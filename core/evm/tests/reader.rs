//! The reader and the executor together: a call over a state that an endpoint proves.

use std::time::Duration;

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use opp2p_core::chain::{ChainConfig, Fork};
use opp2p_core::payload::{Block, Envelope, ExecutionPayload};
use opp2p_core::proof::call::RuleSchedule;
use opp2p_core::proof::reader::{FetchFailure, ReadError, Reader, ReaderConfig, ReaderOutput};
use opp2p_core::time::Instant;
use opp2p_evm::execute;
use serde_json::{Value, json};

const CHAIN: u64 = 901;
/// The only account of the state.
const CONTRACT: Address = Address::repeat_byte(0xc0);
/// Returns the sum of slot 7 and the input's first word, and reverts without input.
const CODE: [u8; 24] = [
    0x36, 0x60, 0x09, 0x57, 0x60, 0x00, 0x60, 0x00, 0xfd, 0x5b, 0x60, 0x07, 0x54, 0x60, 0x00, 0x35,
    0x01, 0x60, 0x00, 0x52, 0x60, 0x20, 0x60, 0x00,
];

fn code() -> Bytes {
    // Ends with RETURN.
    [&CODE[..], &[0xf3]].concat().into()
}

/// Returns the only node of a trie with one value, and its root.
fn leaf(key: &[u8], value: Vec<u8>) -> (Bytes, B256) {
    let path = [&[0x20], keccak256(key).as_slice()].concat();
    let node = alloy_rlp::encode(vec![Bytes::from(path), Bytes::from(value)]);
    let root = keccak256(&node);
    (node.into(), root)
}

struct World {
    block: Block,
    account: Bytes,
    slot: Bytes,
    storage_root: B256,
}

impl World {
    fn new() -> Self {
        let key = B256::with_last_byte(7);
        let (slot, storage_root) = leaf(key.as_slice(), alloy_rlp::encode(U256::from(40)));
        let fields: [Bytes; 4] = [
            Bytes::from_static(&[1]),
            Bytes::new(),
            storage_root.0.into(),
            keccak256(code()).0.into(),
        ];
        let value = alloy_rlp::encode(fields.to_vec());
        let (account, state_root) = leaf(CONTRACT.as_slice(), value);
        let mut payload = ExecutionPayload {
            block_number: 5,
            timestamp: 1_700_000_000,
            state_root,
            gas_limit: 30_000_000,
            base_fee_per_gas: U256::from(7),
            withdrawals: Some(Vec::new()),
            ..Default::default()
        };
        payload.seal(None).expect("a payload");
        let envelope = Envelope { parent_beacon_block_root: None, payload };
        let mut body = Vec::new();
        let version = envelope.encode(&mut body).expect("a payload");
        let block = Block::decode(version, None, body.into()).expect("a block");
        Self { block, account, slot, storage_root }
    }

    fn answer(&self, method: &str, params: &Value) -> Result<Value, FetchFailure> {
        match method {
            "eth_getProof" => Ok(self.proof(params)),
            "eth_getCode" => Ok(json!(code())),
            _ => Err(FetchFailure::Refused {
                code: -32601,
                message: "the method does not exist".into(),
                data: Value::Null,
            }),
        }
    }

    fn proof(&self, params: &Value) -> Value {
        let is_contract = params[0] == json!(CONTRACT);
        let slots = params[1].as_array().expect("slots").iter().map(|slot| {
            assert!(is_contract && *slot == json!(B256::with_last_byte(7)));
            json!({ "key": slot, "value": "0x28", "proof": [self.slot] })
        });
        let slots: Vec<Value> = slots.collect();
        let (hash, root, nonce) = match is_contract {
            true => (keccak256(code()), self.storage_root, "0x1"),
            false => (B256::ZERO, B256::ZERO, "0x0"),
        };
        json!({
            "address": params[0],
            "accountProof": [self.account],
            "balance": "0x0",
            "codeHash": hash,
            "nonce": nonce,
            "storageHash": root,
            "storageProof": slots,
        })
    }

    /// Asks a reader. Returns the answer and the number of executions.
    fn ask(&self, method: &str, params: &Value) -> (Result<Value, ReadError>, usize) {
        let signer = Address::ZERO;
        let chain = ChainConfig::development(CHAIN, B256::ZERO, 0, 2, Fork::Canyon, signer);
        let calls = Some(RuleSchedule::of(&chain));
        let mut reader = Reader::new(ReaderConfig { calls, ..ReaderConfig::new(CHAIN, 1) });
        let now = Instant::from_start(Duration::ZERO);
        reader.head(&self.block, now);
        let read = reader.request(method, params, now);
        let mut executions = 0;
        while let Some(output) = reader.poll() {
            match output {
                ReaderOutput::Fetch { id, method, params, .. } => {
                    reader.fetched(id, self.answer(&method, &params), now);
                }
                ReaderOutput::Execute { id, job } => {
                    executions += 1;
                    reader.executed(id, Ok(execute(&job)), now);
                }
                ReaderOutput::Answer { read: answered, result, block, is_verified } => {
                    assert!(answered == read && is_verified);
                    assert_eq!(block.is_some(), result.is_ok());
                    return (result, executions);
                }
                ReaderOutput::Cancel { .. } => {}
                ReaderOutput::Dropped { part, .. } => panic!("{part}"),
            }
        }
        panic!("no answer");
    }
}

#[test]
fn a_call_is_answered_over_proved_state() {
    let world = World::new();
    let input = B256::with_last_byte(2);
    let call = json!([{ "to": CONTRACT, "input": input }]);
    let (result, executions) = world.ask("eth_call", &call);
    // The first execution finds the slot.
    assert_eq!((result, executions), (Ok(json!(B256::with_last_byte(42))), 2));
    let (result, _) = world.ask("eth_estimateGas", &call);
    let gas = result.expect("it succeeds");
    let gas = u64::from_str_radix(gas.as_str().expect("a number").trim_start_matches("0x"), 16);
    assert!(gas.is_ok_and(|gas| (23_000..25_000).contains(&gas)));
    let (result, _) = world.ask("eth_createAccessList", &call);
    let list = result.expect("it succeeds");
    let expected = json!([{ "address": CONTRACT, "storageKeys": [B256::with_last_byte(7)] }]);
    assert_eq!(list["accessList"], expected);
}

#[test]
fn a_revert_is_an_error_with_code_3() {
    let (result, _) = World::new().ask("eth_call", &json!([{ "to": CONTRACT }]));
    let error = result.expect_err("it is reverted");
    assert_eq!((error.code(), error.data()), (3, &json!("0x")));
    let poor = json!([{ "to": CONTRACT, "value": "0x1" }]);
    let error = World::new().ask("eth_call", &poor).0.expect_err("there are no funds");
    assert!(error.code() == -32000 && error.to_string().starts_with("insufficient funds"));
}
