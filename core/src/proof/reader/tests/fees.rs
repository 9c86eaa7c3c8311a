//! L1 fees in receipts, and the fields of deposits that only receipts have.

use std::rc::Rc;

use alloy_primitives::{B256, Bloom, Bytes};
use serde_json::{Map, Value, json};

use super::super::show;
use super::talk::{Manner, Talk, config};
use super::world::{FULL, World, shown_block};
use crate::chain::{Fork, ForkSchedule};
use crate::payload::{Block, Envelope, ExecutionPayload};
use crate::proof::reader::ReaderConfig;
use crate::proof::tests::builder::{list, string};
use crate::proof::tests::fees::{ECOTONE, ISTHMUS, JOVIAN, bedrock, packed, payer};
use crate::proof::{DEPOSIT, ProvedReceipt, ProvedReceipts, Receipt};

/// Returns the L1 attributes deposit with this calldata.
fn attributes(call: &[u8]) -> Bytes {
    let zero = alloy_rlp::encode(0_u64);
    let fields = [
        string(&[1; 32]),
        string(&[0xde; 20]),
        string(&[0x15; 20]),
        zero.clone(),
        zero.clone(),
        zero,
        alloy_rlp::encode(false),
        string(call),
    ];
    [&[DEPOSIT][..], &list(&fields)].concat().into()
}

/// Returns a block of the deposit and a transaction that pays.
fn block(call: &[u8]) -> Block {
    let mut payload = ExecutionPayload {
        block_number: 7,
        timestamp: 1000,
        gas_limit: 30_000_000,
        transactions: vec![attributes(call), payer().into()],
        withdrawals: Some(Vec::new()),
        blob_gas_used: Some(0),
        excess_blob_gas: Some(0),
        ..Default::default()
    };
    let root = Some(B256::ZERO);
    payload.seal(root).expect("a payload");
    let mut body = Vec::new();
    let envelope = Envelope { parent_beacon_block_root: root, payload };
    let version = envelope.encode(&mut body).expect("a payload");
    Block::decode(version, None, body.into()).expect("a block")
}

/// Returns the L1 fee fields of the two receipts.
fn shown(call: &[u8], forks: Option<&ForkSchedule>) -> [Value; 2] {
    let block = block(call);
    let proved = |kind| ProvedReceipt {
        transaction_hash: B256::ZERO,
        gas_used: 21_000,
        first_log: 0,
        receipt: Receipt {
            kind,
            is_success: true,
            cumulative_gas_used: 21_000,
            logs_bloom: Bloom::ZERO,
            logs: Vec::new(),
            deposit: None,
        },
    };
    let receipts = ProvedReceipts {
        block_hash: block.hash(),
        block_number: 7,
        receipts: vec![proved(DEPOSIT), proved(2)],
    };
    [0, 1].map(|index| {
        let receipt = show::receipt(&block, &receipts, index, forks).expect("it is there");
        let fields = receipt.as_object().expect("an object").iter();
        let fees = fields.filter(|(name, _)| is_fee(name));
        fees.map(|(name, field)| (name.clone(), field.clone())).collect::<Map<_, _>>().into()
    })
}

fn is_fee(name: &str) -> bool {
    ["l1", "operator", "da", "blob"].iter().any(|start| name.starts_with(*start))
}

#[test]
fn a_receipt_has_the_l1_fees_of_its_fork() {
    let bedrock_fees = json!({
        "l1GasPrice": "0x3b9aca07", "l1GasUsed": "0x19b4", "l1Fee": "0x417e7d19711",
        "l1FeeScalar": "0.684",
    });
    let packed_fees = |added: Value| {
        let mut fees = json!({
            "l1GasPrice": "0x3b9aca07", "l1GasUsed": "0xb74", "l1Fee": "0x5307067bd",
            "l1BlobBaseFee": "0x3039", "l1BaseFeeScalar": "0x1db0",
            "l1BlobBaseFeeScalar": "0xd2730",
        });
        let added = added.as_object().expect("an object").clone();
        fees.as_object_mut().expect("an object").extend(added);
        fees
    };
    let unknown = json!({ "l1GasPrice": null, "l1GasUsed": null, "l1Fee": null });
    for (fork, call, expected) in [
        (Fork::Canyon, bedrock(), bedrock_fees.clone()),
        (Fork::Ecotone, bedrock(), bedrock_fees),
        (
            Fork::Ecotone,
            packed(ECOTONE),
            packed_fees(json!({ "l1GasUsed": "0x18f8", "l1Fee": "0xb4fcca3b7" })),
        ),
        (Fork::Fjord, packed(ECOTONE), packed_fees(json!({}))),
        (
            Fork::Isthmus,
            packed(ISTHMUS),
            packed_fees(json!({ "operatorFeeScalar": "0x11170", "operatorFeeConstant": "0x5" })),
        ),
        (
            Fork::Jovian,
            packed(JOVIAN),
            packed_fees(json!({
                "operatorFeeScalar": "0x11170", "operatorFeeConstant": "0x5",
                "daFootprintGasScalar": "0x190", "blobGasUsed": "0x11df0",
            })),
        ),
        (Fork::Jovian, vec![7; 178], unknown),
    ] {
        let shown_fees = shown(&call, Some(&ForkSchedule::up_to(fork)));
        assert_eq!(shown_fees, [json!({}), expected], "{fork}");
        assert_eq!(shown(&call, None), [json!({}), json!({})], "{fork}");
    }
}

#[test]
fn fees_are_null_where_the_first_transaction_has_no_prices() {
    let world = Rc::new(World::new(40, 0));
    let forks = Some(ForkSchedule::up_to(Fork::Jovian));
    let mut talk = Talk::new(&world, ReaderConfig { forks, ..config(2) }, 30);
    let mut expected = json!(world.receipts[FULL as usize]);
    for receipt in expected.as_array_mut().expect("receipts") {
        if receipt["type"] != "0x7e" {
            for name in ["l1GasPrice", "l1GasUsed", "l1Fee"] {
                receipt[name] = Value::Null;
            }
        }
    }
    let place = json!([format!("{FULL:#x}")]);
    assert_eq!(talk.proved("eth_getBlockReceipts", &place), expected);
    let last = expected.as_array().and_then(|all| all.last()).expect("a receipt");
    let hash = json!([last["transactionHash"]]);
    assert_eq!(talk.proved("eth_getTransactionReceipt", &hash), *last);
    assert_eq!(talk.dropped, []);
}

#[test]
fn a_deposit_has_the_nonce_of_its_receipt_if_an_endpoint_proves_it() {
    let world = Rc::new(World::new(40, 0));
    let gossiped = shown_block(&world.blocks[40], true)["transactions"][0].clone();
    assert_eq!((&gossiped["type"], &gossiped["nonce"]), (&json!("0x7e"), &json!("0x0")));
    let known = world.transaction(&world.blocks[40], 0);
    let added = (&known["nonce"], &known["depositReceiptVersion"]);
    assert_eq!(added, (&json!("0x28"), &json!("0x1")));
    let params = json!(["latest", "0x0"]);
    let method = "eth_getTransactionByBlockNumberAndIndex";
    let mut talk = Talk::new(&world, config(0), 30);
    assert_eq!(talk.proved(method, &params), gossiped);
    let mut talk = Talk::new(&world, config(1), 30);
    for manner in [Manner::Gone, Manner::Refuses(-32601)] {
        talk.manners(&[manner]);
        assert_eq!(talk.proved(method, &params), gossiped);
    }
    // A transaction of a user needs no receipt.
    assert_eq!(
        talk.proved(method, &json!(["latest", "0x1"])),
        world.transaction(&world.blocks[40], 1)
    );
    talk.manners(&[Manner::True]);
    assert_eq!(talk.proved(method, &params), known);
    assert_eq!(talk.proved("eth_getTransactionByHash", &json!([known["hash"]])), known);
}
