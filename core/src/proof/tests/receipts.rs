//! Receipts and logs.

use alloy_primitives::{Address, B256, Bloom, Bytes, Log};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::builder::{list, string};
use super::lies;
use crate::fixtures;
use crate::proof::{
    BlockHeader, DepositFields, LogFilter, ProvedReceipts, ReceiptAnswer, ReceiptError,
    ReceiptsError, TransactionId, prove_receipts,
};

/// A receipt of the sample block, before positions and gas follow from the others.
#[derive(Clone, Debug)]
struct Sample {
    kind: u8,
    is_success: bool,
    gas_used: u64,
    logs: Vec<Log>,
    nonce: Option<u64>,
    version: Option<u64>,
}

/// A block with its receipts, encoded without the code under test.
struct Sampled {
    header: BlockHeader,
    transactions: Vec<TransactionId>,
    answer: Value,
}

fn log(contract: u8, topics: &[u8], data: &[u8]) -> Log {
    let topics = topics.iter().map(|topic| B256::repeat_byte(*topic)).collect();
    Log::new_unchecked(Address::repeat_byte(contract), topics, Bytes::copy_from_slice(data))
}

fn samples() -> Vec<Sample> {
    let plain = |kind, is_success, gas_used, logs| Sample {
        kind,
        is_success,
        gas_used,
        logs,
        nonce: None,
        version: None,
    };
    let deposit = |nonce, logs| Sample {
        nonce: Some(nonce),
        version: Some(1),
        ..plain(0x7e, true, 46_000, logs)
    };
    vec![
        deposit(15_559_368, vec![]),
        deposit(0, vec![log(1, &[1, 2, 3, 4], &[7; 90])]),
        plain(0, true, 21_000, vec![log(2, &[1], &[]), log(1, &[1, 5], &[1])]),
        plain(1, false, 50_000, vec![]),
        plain(2, true, 70_000, vec![log(3, &[], &[5; 32])]),
        plain(4, true, 300_000, vec![log(2, &[9, 2], &[6; 64])]),
    ]
}

fn rlp<T: alloy_rlp::Encodable>(value: T) -> Vec<u8> {
    alloy_rlp::encode(value)
}

fn encoding(sample: &Sample, cumulative: u64, bloom: &Bloom) -> Vec<u8> {
    let logs: Vec<Vec<u8>> = sample
        .logs
        .iter()
        .map(|log| {
            let topics: Vec<_> = log.topics().iter().map(|one| string(one.as_slice())).collect();
            list(&[string(log.address.as_slice()), list(&topics), string(&log.data.data)])
        })
        .collect();
    let status = if sample.is_success { vec![1] } else { vec![0x80] };
    let mut fields = vec![status, rlp(cumulative), string(bloom.as_slice()), list(&logs)];
    // Only from Canyon on.
    if let (Some(nonce), Some(version)) = (sample.nonce, sample.version) {
        fields.extend([rlp(nonce), rlp(version)]);
    }
    let kind: &[u8] = if sample.kind == 0 { &[] } else { std::slice::from_ref(&sample.kind) };
    [kind, &list(&fields)].concat()
}

fn block(samples: &[Sample]) -> Sampled {
    let raw = samples.iter().enumerate().map(|(index, sample)| match sample.kind {
        0 => vec![0xc1, index as u8],
        kind => vec![kind, 0xc1, index as u8],
    });
    let transactions: Vec<_> = raw.map(|raw| TransactionId::of(&raw).expect("a type")).collect();
    let mut gas_used = 0;
    let mut logs_bloom = Bloom::ZERO;
    let encodings: Vec<(Bloom, u64, Vec<u8>)> = samples
        .iter()
        .map(|sample| {
            gas_used += sample.gas_used;
            let bloom = sample.logs.iter().collect();
            logs_bloom.accrue_bloom(&bloom);
            (bloom, gas_used, encoding(sample, gas_used, &bloom))
        })
        .collect();
    let header = BlockHeader {
        number: 77,
        gas_used,
        logs_bloom,
        receipts_root: alloy_trie::root::ordered_trie_root_with_encoder(
            &encodings,
            |(_, _, bytes), out| out.extend_from_slice(bytes),
        ),
        ..BlockHeader::default()
    };
    let hash = header.hash().expect("a header");
    let mut log_index = 0;
    let receipts = samples.iter().zip(&transactions).zip(&encodings).enumerate();
    let answer = receipts
        .map(|(index, ((sample, transaction), (bloom, cumulative, _)))| {
            let place = json!({
                "blockHash": hash, "blockNumber": "0x4d", "transactionHash": transaction.hash,
                "transactionIndex": format!("{index:#x}"),
            });
            let logs = sample.logs.iter().map(|log| {
                log_index += 1;
                let own = json!({
                    "address": log.address, "topics": log.topics(), "data": log.data.data,
                    "logIndex": format!("{:#x}", log_index - 1), "removed": false,
                });
                merged(&place, &own)
            });
            let own = json!({
                "type": format!("{:#x}", sample.kind),
                "status": if sample.is_success { "0x1" } else { "0x0" },
                "cumulativeGasUsed": format!("{cumulative:#x}"),
                "gasUsed": format!("{:#x}", sample.gas_used),
                "logsBloom": bloom,
                "logs": logs.collect::<Vec<_>>(),
                "depositNonce": sample.nonce.map(|nonce| format!("{nonce:#x}")),
                "depositReceiptVersion": sample.version.map(|version| format!("{version:#x}")),
                "contractAddress": null,
            });
            merged(&place, &own)
        })
        .collect();
    Sampled { header, transactions, answer: Value::Array(answer) }
}

fn merged(first: &Value, second: &Value) -> Value {
    let mut fields = first.as_object().expect("an object").clone();
    fields.extend(second.as_object().expect("an object").clone());
    Value::Object(fields)
}

impl Sampled {
    fn verify(&self, answer: &Value) -> Result<ProvedReceipts, String> {
        let answers = ReceiptAnswer::list_from_json(answer).map_err(|error| error.to_string())?;
        prove_receipts(&self.header, &self.transactions, answers).map_err(|error| error.to_string())
    }
}

#[test]
fn true_receipts_are_proved_with_their_positions() {
    let samples = samples();
    let block = block(&samples);
    let proved = block.verify(&block.answer).expect("they are true");
    assert_eq!(Ok(proved.block_hash), block.header.hash());
    assert_eq!(proved.block_number, 77);
    for (receipt, sample) in proved.receipts.iter().zip(&samples) {
        assert_eq!(receipt.gas_used, sample.gas_used);
        assert_eq!(receipt.receipt.logs, sample.logs);
        assert_eq!(receipt.receipt.is_success, sample.is_success);
        let deposit = sample.nonce.map(|nonce| DepositFields { nonce, version: 1 });
        assert_eq!(receipt.receipt.deposit, deposit);
    }
    let firsts: Vec<u64> = proved.receipts.iter().map(|receipt| receipt.first_log).collect();
    assert_eq!(firsts, [0, 0, 1, 3, 3, 4]);
    let positions: Vec<_> =
        proved.logs().map(|log| (log.log_index, log.transaction_index)).collect();
    assert_eq!(positions, [(0, 1), (1, 2), (2, 2), (3, 4), (4, 5)]);
    for log in proved.logs() {
        let transaction = block.transactions[log.transaction_index as usize];
        assert_eq!(log.transaction_hash, transaction.hash);
    }
}

#[test]
fn the_receipt_of_a_real_block_is_proved() {
    // The block has one transaction, so that its receipt follows from the header: the L1 attributes
    // deposit has no logs. The nonce counts the blocks since Bedrock, and an upgrade transaction of
    // Ecotone.
    let real = fixtures::blocks()
        .into_iter()
        .find(|real| real.envelope.payload.block_number == 120_794_432);
    let block = real.expect("a bundled block").to_block();
    let header = BlockHeader::of_block(&block);
    let transactions = TransactionId::of_block(&block).expect("they have types");
    assert_eq!(transactions.len(), 1);
    let answer = ReceiptAnswer {
        transaction_hash: transactions[0].hash,
        transaction_index: 0,
        block_hash: block.hash(),
        block_number: block.number(),
        kind: 0x7e,
        is_success: true,
        cumulative_gas_used: header.gas_used,
        gas_used: header.gas_used,
        logs_bloom: Bloom::ZERO,
        logs: Vec::new(),
        deposit_nonce: Some(120_794_432 - 105_235_063),
        deposit_receipt_version: Some(1),
    };
    let proved = prove_receipts(&header, &transactions, vec![answer.clone()]);
    assert_eq!(proved.map(|proved| proved.receipts.len()), Ok(1));
    for lie in [
        ReceiptAnswer { deposit_nonce: Some(1), ..answer.clone() },
        ReceiptAnswer { deposit_receipt_version: None, ..answer.clone() },
        ReceiptAnswer { is_success: false, ..answer },
    ] {
        let result = prove_receipts(&header, &transactions, vec![lie]);
        assert!(matches!(result, Err(ReceiptsError::Root { .. })), "{result:?}");
    }
}

#[test]
fn every_lie_in_the_receipts_is_named() {
    let block = block(&samples());
    let lies = lies(&block.answer);
    assert!(lies.len() > 100);
    for (pointer, lie) in lies {
        let error = block.verify(&lie).expect_err(&pointer);
        let parts: Vec<&str> = pointer.split('/').skip(1).collect();
        let names = match parts[..] {
            // A list that is longer or shorter.
            [""] | [] => vec!["receipts of 6 transactions".into(), "[6]".into()],
            [_, "logs"] => vec!["logsBloom is false".into(), "logs[".into(), "logIndex".into()],
            [_, "logs", _, "topics"] => vec![
                "logsBloom is false".into(),
                ".topics".into(),
                // Another log of the receipt has the same topic.
                "the receipts have the root".into(),
            ],
            // Which of these is false can't be seen, because only the root commits to them.
            [_, "status" | "depositNonce" | "depositReceiptVersion"] | [_, "logs", _, "data"] => {
                vec!["the receipts have the root".into()]
            }
            [index, "cumulativeGasUsed"] => vec![
                format!("receipt {index}: gasUsed is false"),
                format!("receipt {index}: cumulativeGasUsed is false"),
            ],
            [index, "logs", _, "address"] | [index, "logs", _, "topics", _] => {
                vec![format!("receipt {index}: logsBloom is false")]
            }
            [index, "logs", at, field] => vec![format!("receipt {index}: log {at}: {field} is")],
            [index, field] => vec![format!("receipt {index}: {field} is false")],
            _ => panic!("{pointer}"),
        };
        assert!(names.iter().any(|name| error.contains(name)), "{pointer}: {error}");
    }
}

#[test]
fn receipts_that_agree_with_each_other_must_agree_with_the_header() {
    let whole = block(&samples());
    for change in 0..4 {
        let mut samples = samples();
        match change {
            0 => samples[5].gas_used += 1,
            1 => samples[4].logs[0].address = Address::repeat_byte(9),
            2 => samples[4].logs[0].data.data = Bytes::from_static(&[5; 31]),
            _ => samples.swap(0, 1),
        }
        // The liar knows the block's hash, and writes it everywhere.
        let mut answers =
            ReceiptAnswer::list_from_json(&block(&samples).answer).expect("the shape");
        let hash = whole.header.hash().expect("a header");
        for (answer, transaction) in answers.iter_mut().zip(&whole.transactions) {
            answer.block_hash = hash;
            answer.transaction_hash = transaction.hash;
            for log in &mut answer.logs {
                log.block_hash = hash;
                log.transaction_hash = transaction.hash;
            }
        }
        let error = prove_receipts(&whole.header, &whole.transactions, answers);
        let is_named = match change {
            0 => matches!(
                error,
                Err(ReceiptsError::GasUsed { expected: 533_000, computed: 533_001 })
            ),
            1 => error == Err(ReceiptsError::LogsBloom),
            _ => matches!(error, Err(ReceiptsError::Root { .. })),
        };
        assert!(is_named, "{change}: {error:?}");
    }
}

#[test]
fn the_fields_of_deposits_are_those_of_the_fork() {
    let deposit = |nonce, version| {
        let mut samples = samples();
        samples.truncate(1);
        samples[0].nonce = nonce;
        samples[0].version = version;
        let block = block(&samples);
        block.verify(&block.answer).map(|proved| proved.receipts[0].receipt.deposit)
    };
    // Bedrock, and Regolith: the nonce is in the answer, but not in the encoding.
    assert_eq!(deposit(None, None), Ok(None));
    assert_eq!(deposit(Some(5), None), Ok(None));
    // Canyon.
    assert_eq!(deposit(Some(5), Some(1)), Ok(Some(DepositFields { nonce: 5, version: 1 })));
    assert_eq!(deposit(None, Some(1)), Err("receipt 0: depositNonce is false".into()));

    let whole = block(&samples());
    for field in ["depositNonce", "depositReceiptVersion"] {
        let mut lie = whole.answer.clone();
        lie[2][field] = json!("0x1");
        assert_eq!(whole.verify(&lie), Err(format!("receipt 2: {field} is false")));
    }
}

#[test]
fn a_block_without_transactions_has_no_receipts() {
    let empty = block(&[]);
    assert_eq!(empty.verify(&empty.answer).map(|proved| proved.receipts.len()), Ok(0));
    let other = block(&samples());
    let answers = ReceiptAnswer::list_from_json(&other.answer).expect("the shape");
    let result = prove_receipts(&empty.header, &[], answers.clone());
    assert_eq!(result, Err(ReceiptsError::Count { transactions: 0, receipts: 6 }));
    let mut five = answers;
    five.pop();
    let result = prove_receipts(&other.header, &other.transactions, five);
    assert_eq!(result, Err(ReceiptsError::Count { transactions: 6, receipts: 5 }));
}

#[test]
fn a_decreasing_cumulative_gas_is_named() {
    let block = block(&samples());
    let mut lie = block.answer.clone();
    lie[3]["cumulativeGasUsed"] = json!("0x1");
    let answers = ReceiptAnswer::list_from_json(&lie).expect("the shape");
    let error = ReceiptError::Field("cumulativeGasUsed");
    let result = prove_receipts(&block.header, &block.transactions, answers);
    assert_eq!(result, Err(ReceiptsError::Receipt { index: 3, error }));
}

#[test]
fn filters_read_as_wallets_write_them() {
    let (a, t) = (Address::repeat_byte(1), B256::repeat_byte(2));
    let read = |filter: Value| LogFilter::from_json(&filter).map_err(|error| error.path);
    let filter = |addresses: &[Address], topics: &[&[B256]]| LogFilter {
        addresses: addresses.to_vec(),
        topics: topics.iter().map(|any| any.to_vec()).collect(),
    };
    assert_eq!(read(json!({})), Ok(LogFilter::default()));
    assert_eq!(read(json!({ "address": null, "topics": null })), Ok(LogFilter::default()));
    assert_eq!(read(json!({ "address": a })), Ok(filter(&[a], &[])));
    assert_eq!(read(json!({ "address": [a, a] })), Ok(filter(&[a, a], &[])));
    let topics = json!({ "topics": [null, t, [t, t], []] });
    assert_eq!(read(topics), Ok(filter(&[], &[&[], &[t], &[t, t], &[]])));
    assert_eq!(read(json!({ "topics": [null, null, null, null, null] })), Err("topics".into()));
    assert_eq!(read(json!({ "topics": [null, ["0x1"]] })), Err("topics[1][0]".into()));
    assert_eq!(read(json!({ "address": 1 })), Err("address".into()));
}

fn any_filter() -> impl Strategy<Value = LogFilter> {
    let addresses = prop::collection::vec((1_u8..5).prop_map(Address::repeat_byte), 0..3);
    let any = prop::collection::vec((1_u8..7).prop_map(B256::repeat_byte), 0..3);
    (addresses, prop::collection::vec(any, 0..4))
        .prop_map(|(addresses, topics)| LogFilter { addresses, topics })
}

fn any_log() -> impl Strategy<Value = Log> {
    (1_u8..5, prop::collection::vec(1_u8..7, 0..5), prop::collection::vec(any::<u8>(), 0..70))
        .prop_map(|(contract, topics, data)| log(contract, &topics, &data))
}

fn any_sample() -> impl Strategy<Value = Sample> {
    let kinds = prop::sample::select(vec![0, 1, 2, 4, 0x7d, 0x7e]);
    let logs = prop::collection::vec(any_log(), 0..4);
    (kinds, any::<bool>(), 0..1_000_000_u64, logs, any::<u64>(), any::<bool>()).prop_map(
        |(kind, is_success, gas_used, logs, nonce, is_canyon)| Sample {
            kind,
            is_success,
            gas_used,
            logs,
            nonce: (kind == 0x7e).then_some(nonce),
            version: (kind == 0x7e && is_canyon).then_some(1),
        },
    )
}

proptest! {
    #[test]
    fn any_receipts_are_proved_and_filtered(
        samples in prop::collection::vec(any_sample(), 0..20),
        filter in any_filter(),
    ) {
        let block = block(&samples);
        let proved = block.verify(&block.answer).map_err(TestCaseError::fail)?;
        let logs: Vec<&Log> = samples.iter().flat_map(|sample| &sample.logs).collect();
        prop_assert_eq!(proved.logs().map(|log| log.log).collect::<Vec<_>>(), logs.clone());

        // The rule of the filter, in other words.
        let expected: Vec<&Log> = logs.into_iter().filter(|log| {
            let is_there = |at: usize| log.topics().get(at).is_some_and(|topic| {
                filter.topics[at].is_empty() || filter.topics[at].contains(topic)
            });
            (filter.addresses.is_empty() || filter.addresses.contains(&log.address))
                && (0..filter.topics.len()).all(is_there)
        }).collect();
        let selected: Vec<&Log> = filter.select(&proved).map(|log| log.log).collect();
        prop_assert_eq!(&selected, &expected);
        let may_match = filter.blooms().may_match(&block.header.logs_bloom);
        prop_assert!(may_match || expected.is_empty());
    }

    #[test]
    fn a_bloom_filter_excludes_what_it_does_not_contain(filter in any_filter()) {
        let is_open = filter.addresses.is_empty() && filter.topics.iter().all(Vec::is_empty);
        prop_assert_eq!(filter.blooms().may_match(&Bloom::ZERO), is_open);
        let all = Bloom::repeat_byte(0xff);
        prop_assert!(filter.blooms().may_match(&all));
        let other = log(0xee, &[0xee], &[]);
        prop_assert!(!filter.matches(&other) || is_open);
    }
}
