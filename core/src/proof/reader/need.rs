//! Needs of a read: the endpoint request for each, and the check of its answer.

use std::borrow::Cow;
use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes};
use serde_json::{Value, json};

use super::error::ReadError;
use super::execute::{self, Wanted};
use super::show;
use crate::chain::BlockId;
use crate::payload::{Block, RebuildError};
use crate::proof::json::read_code;
use crate::proof::{
    AccountAnswer, BlockHeader, CodeError, ProvedAccount, ProvedReceipts, ReceiptAnswer,
    TransactionId, prove_code, prove_receipts,
};

/// A fact that a read needs. An endpoint's answer must prove it, except for claims, hints and
/// unverified methods.
#[derive(Clone, Debug)]
pub(super) enum Need {
    /// An account with storage slots, proved against a block's state root.
    Account { block: BlockId, state_root: B256, address: Address, slots: Vec<B256> },
    /// The code with this hash.
    Code { block: BlockId, address: Address, hash: B256 },
    /// The header with this hash.
    Header { hash: B256 },
    /// The whole block with this hash.
    Body { hash: B256 },
    /// The receipts of a block.
    Receipts { block: Block },
    /// The block that contains a transaction. The answer is a claim, which the read verifies.
    Claim { transaction: B256 },
    /// Acceptance of a transaction. Not verified.
    Sent { raw: Bytes, hash: B256 },
    /// The accounts and slots that a call touches in the state of a block. Not verified: a wrong
    /// answer costs requests, and nothing depends on it.
    Hint { block: BlockId, call: Value },
    /// The answer to an unverified method.
    Passed { method: String, params: Value },
}

/// Key of a fact, unique within one read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Account(B256, Address, Vec<B256>),
    Code(B256),
    Header(B256),
    Body(B256),
    Receipts(B256),
    Claim(B256),
    Sent,
    Hint(B256),
    Passed,
}

/// An endpoint's claim that a block contains a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) endpoint: usize,
    pub(super) block: BlockId,
    pub(super) index: u64,
    /// The whole answer, compared with the block's transaction later.
    pub(super) answer: Arc<Value>,
}

/// The result for a need. It is proved, unless it is a claim, a hint or a value.
#[derive(Clone, Debug)]
pub(super) enum Fact {
    Account(Arc<(AccountAnswer, ProvedAccount)>),
    Code(Bytes),
    Header(Arc<BlockHeader>),
    Body(Block),
    Receipts(Arc<ProvedReceipts>),
    /// The matching logs of a block, instead of its receipts.
    Logs(Vec<Value>),
    Claim(Claim),
    /// What an endpoint says that a call touches.
    Hint(Arc<Wanted>),
    Value(Value),
    /// No endpoint has it. The error is the answer of a read that requires it.
    Absent(ReadError),
    /// No endpoint gave a true answer.
    Failed(ReadError),
}

/// Result of checking an answer.
#[derive(Clone, Debug)]
pub(super) enum Checked {
    Fact(Fact),
    /// The endpoint claims not to have the data.
    Absent,
    /// The answer can't be used, possibly through no fault of the endpoint.
    Unusable(String),
    /// This part of the answer is false.
    False(String),
}

fn is_false(error: &dyn std::fmt::Display) -> Checked {
    Checked::False(error.to_string())
}

/// Returns the block parameter of a state method (EIP-1898).
fn at(block: BlockId) -> Value {
    json!({ "blockHash": block.hash })
}

impl Need {
    pub(super) fn key(&self) -> Key {
        match self {
            Self::Account { block, address, slots, .. } => {
                Key::Account(block.hash, *address, slots.clone())
            }
            Self::Code { hash, .. } => Key::Code(*hash),
            Self::Header { hash } => Key::Header(*hash),
            Self::Body { hash } => Key::Body(*hash),
            Self::Receipts { block } => Key::Receipts(block.hash()),
            Self::Claim { transaction } => Key::Claim(*transaction),
            Self::Sent { .. } => Key::Sent,
            Self::Hint { block, .. } => Key::Hint(block.hash),
            Self::Passed { .. } => Key::Passed,
        }
    }

    pub(super) fn method(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Account { .. } => "eth_getProof",
            Self::Code { .. } => "eth_getCode",
            Self::Header { .. } | Self::Body { .. } => "eth_getBlockByHash",
            Self::Receipts { .. } => "eth_getBlockReceipts",
            Self::Claim { .. } => "eth_getTransactionByHash",
            Self::Sent { .. } => "eth_sendRawTransaction",
            Self::Hint { .. } => "eth_createAccessList",
            Self::Passed { method, .. } => return Cow::Owned(method.clone()),
        })
    }

    pub(super) fn params(&self) -> Value {
        match self {
            Self::Account { block, address, slots, .. } => json!([address, slots, at(*block)]),
            Self::Code { block, address, .. } => json!([address, at(*block)]),
            Self::Header { hash } => json!([hash, false]),
            Self::Body { hash } => json!([hash, true]),
            Self::Receipts { block } => json!([block.hash()]),
            Self::Claim { transaction } => json!([transaction]),
            Self::Sent { raw, .. } => json!([raw]),
            Self::Hint { block, call } => json!([call, at(*block)]),
            Self::Passed { params, .. } => params.clone(),
        }
    }

    /// Returns the number of the block that an endpoint must have executed to answer.
    pub(super) fn executed(&self) -> Option<u64> {
        match self {
            Self::Account { block, .. } | Self::Code { block, .. } | Self::Hint { block, .. } => {
                Some(block.number)
            }
            Self::Receipts { block } => Some(block.number()),
            _ => None,
        }
    }

    /// Returns `true` if every endpoint is asked, even after the first success.
    pub(super) const fn is_for_all(&self) -> bool {
        matches!(self, Self::Sent { .. })
    }

    /// Checks an endpoint's answer.
    pub(super) fn check(&self, endpoint: usize, answer: &Value) -> Checked {
        if answer.is_null() && !matches!(self, Self::Passed { .. }) {
            return Checked::Absent;
        }
        match self {
            Self::Account { state_root, address, slots, .. } => {
                account(answer, *state_root, *address, slots)
            }
            Self::Code { hash, .. } => code(answer, *hash),
            Self::Header { hash } => match header(answer, *hash) {
                Ok(header) => Checked::Fact(Fact::Header(Arc::new(header))),
                Err(part) => Checked::False(part),
            },
            Self::Body { hash } => body(answer, *hash),
            Self::Receipts { block } => receipts(answer, block),
            Self::Claim { transaction } => claim(answer, endpoint, *transaction),
            Self::Sent { hash, .. } => match answer.as_str() {
                Some(text) if text.eq_ignore_ascii_case(&hash.to_string()) => {
                    Checked::Fact(Fact::Value(json!(hash)))
                }
                _ => Checked::False(format!("the transaction's hash is not {hash}")),
            },
            Self::Hint { .. } => match execute::hint(answer) {
                Some(hint) => Checked::Fact(Fact::Hint(Arc::new(hint))),
                None => Checked::Unusable("its answer is not an access list".into()),
            },
            Self::Passed { .. } => Checked::Fact(Fact::Value(answer.clone())),
        }
    }
}

fn account(answer: &Value, root: B256, address: Address, slots: &[B256]) -> Checked {
    let read = match AccountAnswer::from_json(answer) {
        Ok(read) => read,
        Err(error) => return is_false(&error),
    };
    match read.verify(root, address, slots) {
        Ok(proved) => Checked::Fact(Fact::Account(Arc::new((read, proved)))),
        Err(error) => is_false(&error),
    }
}

fn code(answer: &Value, hash: B256) -> Checked {
    let code = match read_code(answer) {
        Ok(code) => code,
        Err(error) => return is_false(&error),
    };
    match prove_code(hash, &code) {
        Ok(()) => Checked::Fact(Fact::Code(code)),
        Err(error @ CodeError::TooLarge(_)) => Checked::Unusable(error.to_string()),
        Err(error) => is_false(&error),
    }
}

fn header(answer: &Value, hash: B256) -> Result<BlockHeader, String> {
    let header = BlockHeader::from_json(answer).map_err(|error| error.to_string())?;
    header.verify(hash).map_err(|error| error.to_string())?;
    match show::contradiction(&json!({ "hash": hash }), answer) {
        Some(part) => Err(part),
        None => Ok(header),
    }
}

fn body(answer: &Value, hash: B256) -> Checked {
    if let Err(part) = header(answer, hash) {
        return Checked::False(part);
    }
    match Block::from_json(answer) {
        Ok(block) if block.hash() == hash => match show::false_block(&block, answer) {
            Some(part) => Checked::False(part),
            None => Checked::Fact(Fact::Body(block)),
        },
        Ok(_) => Checked::False(format!("the hash is not {hash}")),
        Err(RebuildError::Hash) => {
            Checked::False("the transactions don't match the header's root".into())
        }
        Err(error @ RebuildError::Json(_)) => is_false(&error),
        Err(error) => Checked::Unusable(error.to_string()),
    }
}

fn receipts(answer: &Value, block: &Block) -> Checked {
    let answers = match ReceiptAnswer::list_from_json(answer) {
        Ok(answers) => answers,
        Err(error) => return is_false(&error),
    };
    let transactions = match TransactionId::of_block(block) {
        Ok(transactions) => transactions,
        Err(error) => return Checked::Unusable(error.to_string()),
    };
    let proved = match prove_receipts(&BlockHeader::of_block(block), &transactions, answers) {
        Ok(proved) => proved,
        Err(error) => return is_false(&error),
    };
    match show::false_receipt(block, &proved, answer) {
        Some(part) => Checked::False(part),
        None => Checked::Fact(Fact::Receipts(Arc::new(proved))),
    }
}

/// Maximum size of a transaction's claim in bytes: no transaction of a real chain comes near, and
/// the block beside it still fits into [`MAX_READ_BYTES`](super::MAX_READ_BYTES).
const MAX_CLAIM_BYTES: usize = 8 << 20;

/// Parses the position of a transaction. A pending transaction is absent.
fn claim(answer: &Value, endpoint: usize, transaction: B256) -> Checked {
    let wrong = |field: &str| Checked::False(format!("{field} does not match the request"));
    if show::value_size(answer) > MAX_CLAIM_BYTES {
        return Checked::Unusable("its answer is too large".into());
    }
    if !answer.is_object() {
        return wrong("the answer");
    }
    let part = |field: &str| answer.get(field).unwrap_or(&Value::Null);
    let hash = |field: &str| part(field).as_str().and_then(|text| text.parse::<B256>().ok());
    if hash("hash") != Some(transaction) {
        return wrong("hash");
    }
    if part("blockHash").is_null() {
        return Checked::Absent;
    }
    let number = |field: &str| super::params::number(part(field));
    match (hash("blockHash"), number("blockNumber"), number("transactionIndex")) {
        (Some(block), Some(number), Some(index)) => {
            let block = BlockId::new(number, block);
            let answer = Arc::new(answer.clone());
            Checked::Fact(Fact::Claim(Claim { endpoint, block, index, answer }))
        }
        (None, ..) => wrong("blockHash"),
        (_, None, _) => wrong("blockNumber"),
        _ => wrong("transactionIndex"),
    }
}

impl Fact {
    /// Returns the approximate size of the fact, in bytes.
    pub(super) fn size(&self) -> usize {
        let data = match self {
            Self::Account(proved) => {
                let nodes =
                    |nodes: &[Bytes]| nodes.iter().map(|node| node.len() + 32).sum::<usize>();
                let slots = &proved.0.storage_proof;
                let slots = slots.iter().map(|slot| 96 + nodes(&slot.proof)).sum::<usize>();
                slots + nodes(&proved.0.account_proof)
            }
            Self::Code(code) => code.len(),
            Self::Header(_) => size_of::<BlockHeader>(),
            Self::Body(block) => block.body().len(),
            Self::Receipts(receipts) => show::receipts_size(receipts),
            Self::Logs(logs) => logs.iter().map(show::log_size).sum(),
            Self::Value(value) => show::value_size(value),
            Self::Claim(claim) => show::value_size(&claim.answer),
            Self::Hint(hint) => hint.iter().map(|(_, slots)| 48 + 32 * slots.len()).sum(),
            Self::Absent(_) | Self::Failed(_) => 0,
        };
        data + 256
    }
}
