//! Transactions of every type, encoded without the code under test.

use alloy_primitives::{Address, Bytes, U256, keccak256};
use alloy_rlp::Encodable;

use crate::proof::tests::builder::{list, string};
use crate::sequencer::LocalSigner;

pub(super) const CHAIN: u64 = 901;

fn rlp(value: impl Encodable) -> Vec<u8> {
    alloy_rlp::encode(value)
}

/// The sender of all transactions that are not deposits.
pub(super) fn sender() -> LocalSigner {
    LocalSigner::from_bytes(&[7; 32]).expect("a key")
}

/// A transaction that the tests describe.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) kind: u8,
    pub(super) nonce: u64,
    pub(super) to: Option<Address>,
    pub(super) chain: u64,
}

fn to(target: Option<Address>) -> Vec<u8> {
    target.map_or_else(|| string(&[]), |target| string(target.as_slice()))
}

/// Signs fields as a transaction of this type.
fn signed(kind: u8, fields: &[Vec<u8>]) -> Bytes {
    let prefix: &[u8] = if kind == 0 { &[] } else { std::slice::from_ref(&kind) };
    let hash = keccak256([prefix, &list(fields)].concat());
    let signature = sender().sign(&hash);
    let word = |bytes: &[u8]| rlp(U256::from_be_slice(bytes));
    let mut all = fields.to_vec();
    all.extend([rlp(signature[64]), word(&signature[..32]), word(&signature[32..64])]);
    [prefix, &list(&all)].concat().into()
}

/// Returns a signed transaction.
pub(super) fn transaction(call: &Call) -> Bytes {
    let (nonce, chain) = (rlp(call.nonce), rlp(call.chain));
    let gas = [rlp(90_000_u64), to(call.to), rlp(5_u64), string(&[1, 2, 3])];
    let price = rlp(3_000_000_000_u64);
    let accesses = list(&[list(&[string(&[9; 20]), list(&[string(&[8; 32])])])]);
    match call.kind {
        0 => {
            let mut fields = vec![nonce, price];
            fields.extend(gas);
            let protected = [fields.clone(), vec![chain, string(&[]), string(&[])]].concat();
            let signature = sender().sign(&keccak256(list(&protected)));
            let v = u64::from(signature[64]) + 35 + 2 * call.chain;
            let word = |bytes: &[u8]| rlp(U256::from_be_slice(bytes));
            fields.extend([rlp(v), word(&signature[..32]), word(&signature[32..64])]);
            list(&fields).into()
        }
        1 => signed(1, &[vec![chain, nonce, price], gas.to_vec(), vec![accesses]].concat()),
        2 | 4 => {
            let fees = vec![chain.clone(), nonce, rlp(2_000_u64), price];
            let mut fields = [fees, gas.to_vec(), vec![accesses]].concat();
            if call.kind == 4 {
                let one = [chain, string(&[4; 20]), rlp(1_u64), rlp(1_u8), rlp(3_u64), rlp(4_u64)];
                fields.push(list(&[list(&one)]));
            }
            signed(call.kind, &fields)
        }
        kind => panic!("no transaction of type {kind}"),
    }
}

/// Returns the deposit at the start of block `number`.
pub(super) fn deposit(number: u64, target: Option<Address>) -> Bytes {
    let fields = [
        string(keccak256(number.to_be_bytes()).as_slice()),
        string(&[0xde; 20]),
        to(target),
        rlp(0_u64),
        rlp(0_u64),
        rlp(1_000_000_u64),
        rlp(false),
        string(&[number as u8; 40]),
    ];
    [&[0x7e][..], &list(&fields)].concat().into()
}
