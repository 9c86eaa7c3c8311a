//! Headers and chains of them.

use alloy_primitives::{B64, B256, Bytes, U256, hex, keccak256};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::lies;
use crate::fixtures;
use crate::payload::Block;
use crate::proof::{
    BlockHeader, ChainError, HeaderError, MAX_HEADER_SIZE, MAX_HEADERS, TransactionId,
    TransactionsError, prove_headers, prove_raw_headers, prove_transactions,
};

fn header_json(header: &BlockHeader) -> Value {
    json!({
        "hash": B256::ZERO,
        "parentHash": header.parent_hash,
        "sha3Uncles": header.ommers_hash,
        "miner": header.beneficiary,
        "stateRoot": header.state_root,
        "transactionsRoot": header.transactions_root,
        "receiptsRoot": header.receipts_root,
        "logsBloom": header.logs_bloom,
        "difficulty": header.difficulty,
        "number": format!("{:#x}", header.number),
        "gasLimit": format!("{:#x}", header.gas_limit),
        "gasUsed": format!("{:#x}", header.gas_used),
        "timestamp": format!("{:#x}", header.timestamp),
        "extraData": header.extra_data,
        "mixHash": header.mix_hash,
        "nonce": header.nonce,
        "baseFeePerGas": header.base_fee_per_gas,
        "withdrawalsRoot": header.withdrawals_root,
        "blobGasUsed": header.blob_gas_used.map(|used| format!("{used:#x}")),
        "excessBlobGas": header.excess_blob_gas.map(|excess| format!("{excess:#x}")),
        "parentBeaconBlockRoot": header.parent_beacon_block_root,
        "requestsHash": header.requests_hash,
    })
}

/// Returns the four linked blocks of OP Sepolia, the newest first.
fn linked() -> Vec<Block> {
    let blocks = fixtures::blocks();
    let sepolia = blocks.iter().filter(|block| block.chain_id == 11_155_420);
    let mut linked: Vec<Block> = sepolia.map(fixtures::RealBlock::to_block).collect();
    linked.sort_by_key(|block| std::cmp::Reverse(block.number()));
    assert_eq!(linked.len(), 4);
    linked
}

fn chain() -> Vec<BlockHeader> {
    linked().iter().map(BlockHeader::of_block).collect()
}

#[test]
fn headers_of_real_blocks_have_their_hash_in_every_form() {
    let messages = fixtures::messages().len();
    assert!(messages > 0);
    for real in fixtures::blocks() {
        let header = BlockHeader::of_block(&real.to_block());
        assert_eq!(header.hash(), Ok(real.block_hash));
        let bytes = header.encode().expect("a header");
        assert_eq!(keccak256(&bytes), real.block_hash);
        assert_eq!(BlockHeader::decode(&bytes).as_ref(), Ok(&header));
        assert_eq!(BlockHeader::from_json(&header_json(&header)), Ok(header));
    }
}

#[test]
fn real_headers_are_proved_by_their_links() {
    let chain = chain();
    assert_eq!(prove_headers(&chain[0], &chain[1..]), Ok(()));
    let raw: Vec<Vec<u8>> = chain[1..].iter().flat_map(BlockHeader::encode).collect();
    assert_eq!(prove_raw_headers(&chain[0], &raw).as_deref(), Ok(&chain[1..]));
    assert_eq!(prove_headers(&chain[0], &[]), Ok(()));
}

#[test]
fn every_changed_byte_and_field_names_its_header() {
    let chain = chain();
    let raw: Vec<Vec<u8>> = chain[1..].iter().flat_map(BlockHeader::encode).collect();
    for index in 0..raw.len() {
        for at in 0..raw[index].len() {
            let mut lie = raw.clone();
            lie[index][at] ^= 1;
            let (expected, computed) = (keccak256(&raw[index]), keccak256(&lie[index]));
            let error = HeaderError::Hash { expected, computed };
            let result = prove_raw_headers(&chain[0], &lie);
            assert_eq!(result, Err(ChainError::Header { index, error }));
        }
    }
    for (pointer, lie) in lies(&header_json(&chain[1])) {
        let lie = BlockHeader::from_json(&lie).expect("the shape");
        let result = prove_headers(&chain[0], std::slice::from_ref(&lie));
        if pointer == "/hash" {
            assert_eq!(result, Ok(()), "the hash is computed, not read");
        } else {
            let error = result.expect_err(&pointer);
            let is_hash =
                matches!(error, ChainError::Header { index: 0, error: HeaderError::Hash { .. } });
            assert!(is_hash, "{pointer}: {error}");
        }
    }
}

#[test]
fn gaps_repetitions_and_other_orders_are_refused() {
    let chain = chain();
    let headers = |order: &[usize]| order.iter().map(|at| chain[*at].clone()).collect::<Vec<_>>();
    for (order, index) in [(&[2, 3][..], 0), (&[1, 3], 1), (&[1, 1], 1), (&[1, 2, 0], 2)] {
        let result = prove_headers(&chain[0], &headers(order));
        let is_named = matches!(
            result,
            Err(ChainError::Header { index: at, error: HeaderError::Hash { .. } }) if at == index
        );
        assert!(is_named, "{order:?}: {result:?}");
    }
    let many = vec![chain[1].clone(); MAX_HEADERS + 1];
    assert_eq!(prove_headers(&chain[0], &many), Err(ChainError::TooMany(MAX_HEADERS + 1)));
    let many = vec![[]; MAX_HEADERS + 1];
    assert_eq!(prove_raw_headers(&chain[0], &many), Err(ChainError::TooMany(MAX_HEADERS + 1)));
}

#[test]
fn a_linked_header_has_the_number_before() {
    for number in [0, 6, 8, u64::MAX] {
        let parent = BlockHeader { number, ..BlockHeader::default() };
        let parent_hash = parent.hash().expect("a header");
        let head = BlockHeader { parent_hash, number: 8, ..BlockHeader::default() };
        let error = HeaderError::Number { child: 8, number };
        let expected = ChainError::Header { index: 0, error };
        let raw = [parent.encode().expect("a header")];
        assert_eq!(prove_headers(&head, &[parent]), Err(expected));
        assert_eq!(prove_raw_headers(&head, &raw), Err(expected));
    }
}

#[test]
fn headers_with_gaps_or_too_much_data_have_no_hash() {
    let header = BlockHeader { blob_gas_used: Some(0), ..BlockHeader::default() };
    assert_eq!(header.hash(), Err(HeaderError::Gap("baseFeePerGas")));
    let header = BlockHeader { base_fee_per_gas: Some(U256::ZERO), ..header };
    assert_eq!(header.hash(), Err(HeaderError::Gap("withdrawalsRoot")));
    let extra_data = Bytes::from(vec![0; MAX_HEADER_SIZE]);
    let large = BlockHeader { extra_data, ..BlockHeader::default() };
    assert!(matches!(large.hash(), Err(HeaderError::TooLarge(_))));
    let bytes = vec![0xc0; MAX_HEADER_SIZE + 1];
    let too_large = HeaderError::TooLarge(MAX_HEADER_SIZE + 1);
    assert_eq!(BlockHeader::decode(&bytes), Err(too_large));
}

#[test]
fn the_first_malformed_field_is_named() {
    let header = chain().remove(0);
    let bytes = header.encode().expect("a header");
    let field = |bytes: &[u8]| match BlockHeader::decode(bytes) {
        Err(HeaderError::Malformed { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    assert_eq!(field(&[]), "list");
    assert_eq!(field(&[0x80]), "list");
    assert_eq!(field(&[0xc0]), "parentHash");
    assert_eq!(field(&[&bytes[..], &[0]].concat()), "list");
    let mut lie = bytes;
    lie[3] = 0xa1;
    assert_eq!(field(&lie), "parentHash");
    let mut fields = header.encode().expect("a header").split_off(3);
    fields.push(0x80);
    let more = [&hex!("f9")[..], &(fields.len() as u16).to_be_bytes(), &fields].concat();
    assert!(["list", "requestsHash"].contains(&field(&more)));
}

#[test]
fn the_transactions_root_proves_real_transactions() {
    for real in fixtures::blocks() {
        let block = real.to_block();
        let mut raw = real.envelope.payload.transactions.clone();
        let ids = prove_transactions(block.transactions_root(), &raw).expect("they are true");
        assert_eq!(Ok(&ids), TransactionId::of_block(&block).as_ref());
        assert_eq!((ids[0].kind, ids[0].hash), (0x7e, keccak256(&raw[0])));
        for index in 0..raw.len() {
            let mut lie = raw.clone();
            let mut bytes = lie[index].to_vec();
            *bytes.last_mut().expect("not empty") ^= 1;
            lie[index] = bytes.into();
            let result = prove_transactions(block.transactions_root(), &lie);
            assert!(matches!(result, Err(TransactionsError::Root { .. })), "{result:?}");
        }
        raw.pop();
        assert!(prove_transactions(block.transactions_root(), &raw).is_err());
    }
}

#[test]
fn a_transaction_begins_with_a_type_or_a_list() {
    for (raw, kind) in [(&[0xf8, 1][..], Some(0)), (&[2, 0xc0], Some(2)), (&[0x7f], Some(0x7f))] {
        assert_eq!(TransactionId::of(raw).map(|id| id.kind), kind);
    }
    for raw in [&[][..], &[0], &[0x80], &[0xbf, 1]] {
        assert_eq!(TransactionId::of(raw), None);
    }
}

fn any_header() -> impl Strategy<Value = BlockHeader> {
    let hash = || any::<[u8; 32]>().prop_map(B256::from);
    let number = any::<u64>;
    (hash(), hash(), number(), number(), 0..7_usize, prop::collection::vec(any::<u8>(), 0..33))
        .prop_map(|(first, second, number, gas, forks, extra)| {
            let since = |fork: usize| forks >= fork;
            BlockHeader {
                parent_hash: first,
                state_root: second,
                number,
                gas_limit: gas,
                difficulty: U256::from_be_bytes(first.0),
                nonce: B64::from_slice(&second[..8]),
                extra_data: extra.into(),
                base_fee_per_gas: since(1).then(|| U256::from(gas)),
                withdrawals_root: since(2).then_some(first),
                blob_gas_used: since(3).then_some(gas),
                excess_blob_gas: since(4).then_some(number),
                parent_beacon_block_root: since(5).then_some(second),
                requests_hash: since(6).then_some(first),
                ..BlockHeader::default()
            }
        })
}

proptest! {
    #[test]
    fn any_header_decodes_from_its_only_encoding(header in any_header(), at: prop::sample::Index) {
        let bytes = header.encode().expect("a header");
        prop_assert_eq!(BlockHeader::decode(&bytes), Ok(header.clone()));
        prop_assert_eq!(BlockHeader::from_json(&header_json(&header)), Ok(header.clone()));
        let mut other = bytes;
        let at = at.index(other.len());
        other[at] ^= 0x40;
        if let Ok(decoded) = BlockHeader::decode(&other) {
            prop_assert_ne!(&decoded, &header);
            prop_assert_eq!(decoded.encode(), Ok(other));
        }
    }
}
