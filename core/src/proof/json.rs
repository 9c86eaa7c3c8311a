//! Answers in JSON, as RPC servers write them.
//!
//! Unknown fields are ignored. A known field must have exactly its shape: a quantity or bytes in
//! hex with `0x`, a list, `true` or `false`. Nothing here is verified.
//!
//! # Bounds
//! The reader of the response bounds its size. Memory is proportional to it, and the lists and
//! byte strings have the limits of their verification.

use alloy_primitives::{Address, B256, Bloom, Bytes, FixedBytes, Log, U256, hex};
use serde_json::Value;

use super::account::{AccountAnswer, MAX_CODE_SIZE, SlotAnswer};
use super::header::{BlockHeader, MAX_HEADER_SIZE, MAX_HEADERS};
use super::logs::{LogFilter, MAX_FILTER_ENTRIES};
use super::receipts::{LogAnswer, MAX_RECEIPTS_SIZE, MAX_TOPICS, ReceiptAnswer};
use super::trie::{MAX_NODE_SIZE, MAX_NODES};
use crate::payload::MAX_TRANSACTIONS;

/// Maximum number of slots in an answer to `eth_getProof`.
pub const MAX_SLOTS: usize = 1024;

/// A part of an answer that has another shape than required.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer's part {path:?} is not {expected}")]
pub struct JsonError {
    /// Position of the part: for example `storageProof[2].proof[0]`. It is empty for the whole
    /// answer.
    pub path: String,
    /// The required shape.
    pub expected: &'static str,
}

impl JsonError {
    const fn new(expected: &'static str) -> Self {
        Self { path: String::new(), expected }
    }

    fn within(mut self, parent: &str) -> Self {
        if !self.path.is_empty() && !self.path.starts_with('[') {
            self.path.insert(0, '.');
        }
        self.path.insert_str(0, parent);
        self
    }
}

type Read<T> = Result<T, JsonError>;

impl AccountAnswer {
    /// Reads the result of `eth_getProof`.
    ///
    /// # Errors
    /// The first part with a wrong shape.
    pub fn from_json(value: &Value) -> Result<Self, JsonError> {
        Ok(Self {
            address: field(value, "address", address)?,
            nonce: field(value, "nonce", quantity)?,
            balance: field(value, "balance", word)?,
            storage_hash: field(value, "storageHash", hash)?,
            code_hash: field(value, "codeHash", hash)?,
            account_proof: field(value, "accountProof", nodes)?,
            storage_proof: field(value, "storageProof", |slots| list(slots, MAX_SLOTS, slot))?,
        })
    }
}

fn slot(value: &Value) -> Read<SlotAnswer> {
    Ok(SlotAnswer {
        // Servers write the slot as a quantity, or as 32 bytes.
        key: field(value, "key", word)?.into(),
        value: field(value, "value", word)?,
        proof: field(value, "proof", nodes)?,
    })
}

fn nodes(value: &Value) -> Read<Vec<Bytes>> {
    list(value, MAX_NODES, |node| bytes(node, MAX_NODE_SIZE))
}

impl BlockHeader {
    /// Reads the result of `eth_getBlockByNumber` or `eth_getHeaderByNumber`. The hash in the
    /// answer is ignored.
    ///
    /// # Errors
    /// The first part with a wrong shape.
    pub fn from_json(value: &Value) -> Result<Self, JsonError> {
        Ok(Self {
            parent_hash: field(value, "parentHash", hash)?,
            ommers_hash: field(value, "sha3Uncles", hash)?,
            beneficiary: field(value, "miner", address)?,
            state_root: field(value, "stateRoot", hash)?,
            transactions_root: field(value, "transactionsRoot", hash)?,
            receipts_root: field(value, "receiptsRoot", hash)?,
            logs_bloom: field(value, "logsBloom", bloom)?,
            difficulty: field(value, "difficulty", word)?,
            number: field(value, "number", quantity)?,
            gas_limit: field(value, "gasLimit", quantity)?,
            gas_used: field(value, "gasUsed", quantity)?,
            timestamp: field(value, "timestamp", quantity)?,
            extra_data: field(value, "extraData", |data| bytes(data, MAX_HEADER_SIZE))?,
            mix_hash: field(value, "mixHash", hash)?,
            nonce: field(value, "nonce", fixed::<8>)?.0.into(),
            base_fee_per_gas: optional(value, "baseFeePerGas", word)?,
            withdrawals_root: optional(value, "withdrawalsRoot", hash)?,
            blob_gas_used: optional(value, "blobGasUsed", quantity)?,
            excess_blob_gas: optional(value, "excessBlobGas", quantity)?,
            parent_beacon_block_root: optional(value, "parentBeaconBlockRoot", hash)?,
            requests_hash: optional(value, "requestsHash", hash)?,
        })
    }
}

impl ReceiptAnswer {
    /// Reads a receipt: the result of `eth_getTransactionReceipt`, or an item of
    /// `eth_getBlockReceipts`. A missing type is read as 0.
    ///
    /// # Errors
    /// The first part with a wrong shape.
    pub fn from_json(value: &Value) -> Result<Self, JsonError> {
        Ok(Self {
            transaction_hash: field(value, "transactionHash", hash)?,
            transaction_index: field(value, "transactionIndex", quantity)?,
            block_hash: field(value, "blockHash", hash)?,
            block_number: field(value, "blockNumber", quantity)?,
            kind: optional(value, "type", kind)?.unwrap_or_default(),
            is_success: field(value, "status", status)?,
            cumulative_gas_used: field(value, "cumulativeGasUsed", quantity)?,
            gas_used: field(value, "gasUsed", quantity)?,
            logs_bloom: field(value, "logsBloom", bloom)?,
            logs: field(value, "logs", |logs| list(logs, usize::MAX, LogAnswer::from_json))?,
            deposit_nonce: optional(value, "depositNonce", quantity)?,
            deposit_receipt_version: optional(value, "depositReceiptVersion", quantity)?,
        })
    }

    /// Reads the result of `eth_getBlockReceipts`.
    ///
    /// # Errors
    /// The first part with a wrong shape.
    pub fn list_from_json(value: &Value) -> Result<Vec<Self>, JsonError> {
        list(value, MAX_TRANSACTIONS, Self::from_json)
    }
}

impl LogAnswer {
    /// Reads a log of a receipt.
    ///
    /// # Errors
    /// The first part with a wrong shape.
    pub fn from_json(value: &Value) -> Result<Self, JsonError> {
        let topics = field(value, "topics", |topics| list(topics, MAX_TOPICS, hash))?;
        let data = field(value, "data", |data| bytes(data, MAX_RECEIPTS_SIZE))?;
        Ok(Self {
            log: Log::new_unchecked(field(value, "address", address)?, topics, data),
            block_hash: field(value, "blockHash", hash)?,
            block_number: field(value, "blockNumber", quantity)?,
            transaction_hash: field(value, "transactionHash", hash)?,
            transaction_index: field(value, "transactionIndex", quantity)?,
            log_index: field(value, "logIndex", quantity)?,
            is_removed: optional(value, "removed", boolean)?.unwrap_or_default(),
        })
    }
}

impl LogFilter {
    /// Reads `address` and `topics` of a filter, as a wallet writes it: one address or a list; for
    /// each position a topic, a list, or null.
    ///
    /// # Errors
    /// The first part with a wrong shape.
    pub fn from_json(value: &Value) -> Result<Self, JsonError> {
        let topics = |positions: &Value| {
            list(positions, MAX_TOPICS, |any| {
                if any.is_null() { Ok(Vec::new()) } else { one_or_many(any, hash) }
            })
        };
        Ok(Self {
            addresses: optional(value, "address", |any| one_or_many(any, address))?
                .unwrap_or_default(),
            topics: optional(value, "topics", topics)?.unwrap_or_default(),
        })
    }
}

/// Reads the result of `eth_getCode`.
///
/// # Errors
/// If it is not bytes in hex, or more than [`MAX_CODE_SIZE`] bytes.
pub fn read_code(value: &Value) -> Result<Bytes, JsonError> {
    bytes(value, MAX_CODE_SIZE)
}

/// Reads a list of results of `debug_getRawHeader`.
///
/// # Errors
/// The first part with a wrong shape.
pub fn read_raw_headers(value: &Value) -> Result<Vec<Bytes>, JsonError> {
    list(value, MAX_HEADERS, |header| bytes(header, MAX_HEADER_SIZE))
}

fn field<T>(object: &Value, name: &str, read: impl Fn(&Value) -> Read<T>) -> Read<T> {
    if !object.is_object() {
        return Err(JsonError::new("an object"));
    }
    read(object.get(name).unwrap_or(&Value::Null)).map_err(|error| error.within(name))
}

/// Reads a field that may be missing or null.
fn optional<T>(object: &Value, name: &str, read: impl Fn(&Value) -> Read<T>) -> Read<Option<T>> {
    field(object, name, |value| if value.is_null() { Ok(None) } else { read(value).map(Some) })
}

fn list<T>(value: &Value, limit: usize, read: impl Fn(&Value) -> Read<T>) -> Read<Vec<T>> {
    let items = value.as_array().ok_or(JsonError::new("a list"))?;
    if items.len() > limit {
        return Err(JsonError::new("a list within its limit"));
    }
    let items = items.iter().enumerate();
    items
        .map(|(index, item)| read(item).map_err(|error| error.within(&format!("[{index}]"))))
        .collect()
}

fn one_or_many<T>(value: &Value, read: impl Fn(&Value) -> Read<T>) -> Read<Vec<T>> {
    if value.is_array() {
        list(value, MAX_FILTER_ENTRIES, read)
    } else {
        read(value).map(|one| vec![one])
    }
}

fn boolean(value: &Value) -> Read<bool> {
    value.as_bool().ok_or(JsonError::new("true or false"))
}

/// Returns the digits after `0x`, or `None` if there are other characters than hex digits.
fn digits(value: &Value) -> Option<&str> {
    let digits = value.as_str()?.strip_prefix("0x")?;
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(digits)
}

fn word(value: &Value) -> Read<U256> {
    let digits = digits(value).filter(|digits| (1..=64).contains(&digits.len()));
    digits
        .and_then(|digits| U256::from_str_radix(digits, 16).ok())
        .ok_or(JsonError::new("a quantity of at most 256 bits"))
}

fn quantity(value: &Value) -> Read<u64> {
    let word = word(value).ok().and_then(|word| u64::try_from(word).ok());
    word.ok_or(JsonError::new("a quantity of at most 64 bits"))
}

fn kind(value: &Value) -> Read<u8> {
    let kind = quantity(value).ok().and_then(|kind| u8::try_from(kind).ok());
    kind.filter(|kind| *kind < 0x80).ok_or(JsonError::new("a transaction type"))
}

fn status(value: &Value) -> Read<bool> {
    match quantity(value) {
        Ok(status @ 0..=1) => Ok(status == 1),
        _ => Err(JsonError::new("a status: 0x0 or 0x1")),
    }
}

fn bytes(value: &Value, limit: usize) -> Read<Bytes> {
    let digits = digits(value).ok_or(JsonError::new("bytes in hex"))?;
    if digits.len() / 2 > limit {
        return Err(JsonError::new("bytes within their limit"));
    }
    hex::decode(digits).map(Bytes::from).map_err(|_| JsonError::new("bytes in hex"))
}

fn fixed<const N: usize>(value: &Value) -> Read<FixedBytes<N>> {
    let mut bytes = FixedBytes::<N>::ZERO;
    let digits = digits(value).filter(|digits| digits.len() == 2 * N);
    digits
        .and_then(|digits| hex::decode_to_slice(digits, bytes.as_mut_slice()).ok())
        .ok_or(JsonError::new("bytes of the required size in hex"))?;
    Ok(bytes)
}

fn hash(value: &Value) -> Read<B256> {
    fixed(value)
}

fn address(value: &Value) -> Read<Address> {
    fixed(value).map(Address)
}

fn bloom(value: &Value) -> Read<Bloom> {
    fixed(value).map(Bloom)
}
