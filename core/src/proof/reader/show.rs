//! Converts proved facts to the JSON of the execution API, and finds false parts of answers.

use alloy_primitives::{Address, B256, Bytes, U256, hex, keccak256};
use serde_json::{Map, Value, json};

use crate::chain::ForkSchedule;
use crate::payload::trie::EMPTY_ROOT;
use crate::payload::{Block, shown};
use crate::proof::{
    Account, AccountAnswer, DEPOSIT, L1Prices, ProvedAccount, ProvedLog, ProvedReceipt,
    ProvedReceipts,
};

pub(super) fn quantity(number: u64) -> Value {
    format!("{number:#x}").into()
}

fn data(bytes: impl AsRef<[u8]>) -> Value {
    hex::encode_prefixed(bytes).into()
}

/// Returns the result of `eth_getProof` as op-geth does. `keys` are the slots in the caller's form.
///
/// Both hashes of an absent account are zero. An empty storage trie is proved by no node.
pub(super) fn proof(answer: &AccountAnswer, proved: &ProvedAccount, keys: &[Value]) -> Value {
    let absent = Account { storage_root: B256::ZERO, code_hash: B256::ZERO, ..Account::ABSENT };
    let account = proved.account.unwrap_or(absent);
    let nodes = |nodes: &[Bytes]| nodes.iter().map(data).collect::<Vec<_>>();
    let has_storage = ![B256::ZERO, EMPTY_ROOT].contains(&account.storage_root);
    let slots = answer.storage_proof.iter().zip(&proved.values).zip(keys);
    let slots = slots.map(|((slot, value), key)| {
        let proof = if has_storage { nodes(&slot.proof) } else { Vec::new() };
        json!({ "key": key, "value": format!("{value:#x}"), "proof": proof })
    });
    json!({
        "address": data(answer.address),
        "accountProof": nodes(&answer.account_proof),
        "balance": format!("{:#x}", account.balance),
        "codeHash": account.code_hash,
        "nonce": quantity(account.nonce),
        "storageHash": account.storage_root,
        "storageProof": slots.collect::<Vec<_>>(),
    })
}

/// Returns a receipt with the fields that follow from its transaction, and the L1 fees if the
/// chain's forks are given.
pub(super) fn receipt(
    block: &Block,
    receipts: &ProvedReceipts,
    index: usize,
    forks: Option<&ForkSchedule>,
) -> Option<Value> {
    let proved = receipts.receipts.get(index)?;
    let raw = block.payload().transaction(index)?;
    let first_log = proved.first_log;
    let logs = proved.receipt.logs.iter().zip(first_log..).map(|(one, log_index)| {
        let transaction_index = index as u64;
        let transaction_hash = proved.transaction_hash;
        log(block, &ProvedLog { log: one, transaction_hash, transaction_index, log_index })
    });
    let mut all = json!({
        "transactionHash": proved.transaction_hash,
        "transactionIndex": quantity(index as u64),
        "blockHash": block.hash(),
        "blockNumber": quantity(block.number()),
        "type": quantity(proved.receipt.kind.into()),
        "status": quantity(proved.receipt.is_success.into()),
        "cumulativeGasUsed": quantity(proved.receipt.cumulative_gas_used),
        "gasUsed": quantity(proved.gas_used),
        "logsBloom": data(proved.receipt.logs_bloom),
        "logs": logs.collect::<Vec<_>>(),
    });
    let fields = all.as_object_mut()?;
    if let Some(deposit) = proved.receipt.deposit {
        fields.insert("depositNonce".into(), quantity(deposit.nonce));
        fields.insert("depositReceiptVersion".into(), quantity(deposit.version));
    }
    fields.extend(derived(block, proved, raw));
    if let Some(forks) = forks.filter(|_| proved.receipt.kind != DEPOSIT) {
        fields.extend(fees(L1Prices::of_block(forks, block), raw));
    }
    Some(all)
}

/// Returns the L1 fee fields of a receipt. Without prices three of them are null, as in op-geth.
fn fees(prices: Option<L1Prices>, raw: &[u8]) -> Map<String, Value> {
    let named = |(name, field): (&str, Value)| (name.to_owned(), field);
    let Some(fees) = prices.map(|prices| prices.fees(raw)) else {
        let unknown = ["l1GasPrice", "l1GasUsed", "l1Fee"].map(|name| (name, Value::Null));
        return unknown.into_iter().map(named).collect();
    };
    let mut all = vec![
        ("l1GasPrice", Value::from(format!("{:#x}", fees.gas_price))),
        ("l1GasUsed", format!("{:#x}", fees.gas_used).into()),
        ("l1Fee", format!("{:#x}", fees.fee).into()),
    ];
    if let Some(scalar) = fees.scalar {
        all.push(("l1FeeScalar", scalar.to_string().into()));
    }
    if let Some(prices) = fees.blobs {
        all.extend([
            ("l1BlobBaseFee", format!("{:#x}", prices.blob_base_fee).into()),
            ("l1BaseFeeScalar", quantity(prices.base_fee_scalar.into())),
            ("l1BlobBaseFeeScalar", quantity(prices.blob_base_fee_scalar.into())),
        ]);
    }
    if let Some(operator) = fees.operator {
        all.extend([
            ("operatorFeeScalar", quantity(operator.scalar.into())),
            ("operatorFeeConstant", quantity(operator.constant)),
        ]);
    }
    if let Some(footprint) = fees.footprint {
        all.extend([
            ("daFootprintGasScalar", quantity(footprint.scalar.into())),
            ("blobGasUsed", quantity(footprint.gas)),
        ]);
    }
    all.into_iter().map(named).collect()
}

/// Adds the fields of a deposit that only its receipt has.
pub(super) fn add_deposit_fields(shown: &mut Value, receipts: &ProvedReceipts, index: u64) {
    let receipt = usize::try_from(index).ok().and_then(|index| receipts.receipts.get(index));
    let deposit = receipt.and_then(|proved| proved.receipt.deposit);
    if let (Some(deposit), Some(fields)) = (deposit, shown.as_object_mut()) {
        fields.insert("nonce".into(), quantity(deposit.nonce));
        fields.insert("depositReceiptVersion".into(), quantity(deposit.version));
    }
}

/// Returns the fields of a receipt that follow from its transaction, or no fields if the
/// transaction's type is unknown.
fn derived(block: &Block, proved: &ProvedReceipt, raw: &[u8]) -> Map<String, Value> {
    let mut fields = Map::new();
    let Some(shown) = shown::read(raw, block.payload().base_fee_per_gas()) else { return fields };
    let part = |name: &str| shown.get(name).cloned().unwrap_or_default();
    fields.insert("from".into(), part("from"));
    fields.insert("to".into(), part("to"));
    fields.insert("effectiveGasPrice".into(), part("gasPrice"));
    // The consensus encoding contains a deposit's nonce from Canyon on.
    let nonce = match proved.receipt.kind {
        DEPOSIT => proved.receipt.deposit.map(|deposit| deposit.nonce),
        _ => super::params::number(&part("nonce")),
    };
    let from = part("from").as_str().and_then(|text| text.parse::<Address>().ok());
    match (part("to"), from, nonce) {
        (Value::Null, Some(from), Some(nonce)) => {
            fields.insert("contractAddress".into(), data(from.create(nonce)));
        }
        (Value::Null, ..) => {}
        _ => {
            fields.insert("contractAddress".into(), Value::Null);
        }
    }
    fields
}

/// Returns the first part of a receipts answer that contradicts the block. The receipts root does
/// not commit to these parts.
pub(super) fn false_receipt(
    block: &Block,
    proved: &ProvedReceipts,
    answer: &Value,
) -> Option<String> {
    let payload = block.payload();
    let time = json!({ "blockTimestamp": quantity(block.timestamp()) });
    let each = proved.receipts.iter().zip(payload.transactions()).enumerate();
    each.zip(answer.as_array()?).find_map(|((index, (receipt, raw)), answer)| {
        let ours = derived(block, receipt, raw).into();
        let logs = answer.get("logs").and_then(Value::as_array).into_iter().flatten();
        let logs = logs.enumerate().map(|(at, log)| (format!("log {at}: "), &time, log));
        let parts = std::iter::once((String::new(), &ours, answer)).chain(logs);
        let mut parts = parts.map(|(at, ours, theirs)| (at, contradiction(ours, theirs)));
        let (at, part) = parts.find_map(|(at, part)| Some((at, part?)))?;
        Some(format!("receipt {index}: {at}{part}"))
    })
}

/// Returns the first part of a block answer that contradicts the block. The block hash does not
/// commit to these parts.
pub(super) fn false_block(block: &Block, answer: &Value) -> Option<String> {
    let header = Value::from(shown::header(block));
    let transactions = answer.get("transactions").and_then(Value::as_array)?;
    let mut each = block.payload().transactions().zip(transactions).enumerate();
    contradiction(&header, answer).or_else(|| {
        each.find_map(|(index, (raw, answer))| {
            let part = false_transaction(&shown::transaction(block, index, raw), answer)?;
            Some(format!("transaction {index}: {part}"))
        })
    })
}

/// Returns the first field of a transaction answer that contradicts ours.
pub(super) fn false_transaction(ours: &Value, answer: &Value) -> Option<String> {
    let fields = ours.as_object()?.iter();
    // Only the receipt contains a deposit's nonce.
    let is_deposit = ours.get("type") == Some(&quantity(DEPOSIT.into()));
    let fields = fields.filter(|(name, _)| !(is_deposit && *name == "nonce"));
    let fields: Map<String, Value> =
        fields.map(|(name, field)| (name.clone(), field.clone())).collect();
    contradiction(&fields.into(), answer)
}

/// Returns the first field that differs from ours. Fields that either side lacks are not compared.
pub(super) fn contradiction(ours: &Value, theirs: &Value) -> Option<String> {
    let differing = ours.as_object()?.iter().find(|(name, ours)| {
        let theirs = theirs.get(*name).unwrap_or(&Value::Null);
        !theirs.is_null() && !is_same(ours, theirs)
    });
    differing.map(|(name, _)| format!("{name} is false"))
}

/// Compares values. The case and leading zeros of hexadecimal digits are ignored.
fn is_same(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::String(ours), Value::String(theirs)) => {
            let digits = |text: &str| {
                let digits = text.strip_prefix("0x").map(|digits| digits.trim_start_matches('0'));
                digits.unwrap_or(text).to_ascii_lowercase()
            };
            digits(ours) == digits(theirs)
        }
        (Value::Array(ours), Value::Array(theirs)) => {
            ours.len() == theirs.len()
                && ours.iter().zip(theirs).all(|(ours, theirs)| is_same(ours, theirs))
        }
        (Value::Object(_), Value::Object(_)) => contradiction(ours, theirs).is_none(),
        _ => ours == theirs,
    }
}

/// Returns a log as `eth_getLogs` does.
pub(super) fn log(block: &Block, proved: &ProvedLog<'_>) -> Value {
    json!({
        "address": data(proved.log.address),
        "topics": proved.log.topics(),
        "data": data(&proved.log.data.data),
        "blockHash": block.hash(),
        "blockNumber": quantity(block.number()),
        "blockTimestamp": quantity(block.timestamp()),
        "transactionHash": proved.transaction_hash,
        "transactionIndex": quantity(proved.transaction_index),
        "logIndex": quantity(proved.log_index),
        "removed": false,
    })
}

/// Returns the approximate size of receipts in memory, in bytes.
pub(super) fn receipts_size(receipts: &ProvedReceipts) -> usize {
    let each = receipts.receipts.iter();
    each.map(|proved| {
        let logs = proved.receipt.logs.iter();
        size_of::<ProvedReceipt>() + logs.map(|log| 256 + log.data.data.len()).sum::<usize>()
    })
    .sum()
}

/// Returns the approximate size of a log's JSON, in bytes.
pub(super) fn log_size(log: &Value) -> usize {
    1024 + log.get("data").and_then(Value::as_str).map_or(0, str::len)
}

/// Returns the approximate size of a value in memory, in bytes.
pub(super) fn value_size(value: &Value) -> usize {
    let own = size_of::<Value>();
    own + match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(value_size).sum(),
        Value::Object(fields) => {
            fields.iter().map(|(name, field)| 64 + name.len() + value_size(field)).sum()
        }
        _ => 0,
    }
}

/// Returns the index of a transaction in a block.
pub(super) fn index_of(block: &Block, transaction: &B256) -> Option<usize> {
    block.payload().transactions().position(|raw| keccak256(raw) == *transaction)
}

/// Returns a storage word as 64 hexadecimal digits.
pub(super) fn word(value: U256) -> Value {
    json!(B256::from(value))
}
