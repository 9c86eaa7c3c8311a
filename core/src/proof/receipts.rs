//! All receipts of a block, by the receipts root.
//!
//! A root commits to the encoding of each receipt, and the encoding contains neither the position
//! of the receipt nor its gas: both follow from the receipts before it. A server writes them out,
//! so they are compared as well.
//!
//! Not verified here: the sender, receiver, created contract and gas price of a receipt (they
//! follow from the transaction), and the L1 fee (it follows from the L1 attributes:
//! [`L1Prices`](super::L1Prices)).
//!
//! # Receipts of deposits
//! From Regolith on, clients store the nonce of a deposit. The consensus encoding contains it from
//! Canyon on, together with a version, which is 1. So the nonce of a deposit between the two forks
//! can't be proved, and [`Receipt::deposit`] is then `None`.
//!
//! # Bounds
//! The transactions bound the number of receipts, and their encoding has at most
//! [`MAX_RECEIPTS_SIZE`] bytes. Work and memory are proportional to the answer.

use alloy_primitives::{B256, Bloom, Log};
use alloy_rlp::{Encodable, Header as RlpHeader};

use super::header::{BlockHeader, HeaderError};
use super::transactions::TransactionId;
use crate::payload::{MAX_TRANSACTIONS, trie};

/// Maximum size of a block's receipts in their consensus encoding, in bytes.
pub const MAX_RECEIPTS_SIZE: usize = 1 << 26;

/// Type of a deposit transaction and of its receipt.
pub const DEPOSIT: u8 = 0x7e;

/// Maximum number of topics of a log.
pub const MAX_TOPICS: usize = 4;

/// The fields that the receipt of a deposit has in addition, from Canyon on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DepositFields {
    /// Nonce of the sender before the deposit.
    pub nonce: u64,
    /// Version of the receipt: 1.
    pub version: u64,
}

/// A receipt: the fields of its consensus encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Type of the transaction: 0 for a legacy one.
    pub kind: u8,
    /// `true` if the execution succeeded.
    pub is_success: bool,
    /// Gas used by this transaction and all earlier ones of the block.
    pub cumulative_gas_used: u64,
    /// Bloom filter over the logs.
    pub logs_bloom: Bloom,
    /// The logs.
    pub logs: Vec<Log>,
    /// The additional fields of a deposit from Canyon on.
    pub deposit: Option<DepositFields>,
}

impl Receipt {
    /// Appends the consensus encoding to `out`: the item of the receipts trie.
    pub fn encode(&self, out: &mut Vec<u8>) {
        if self.kind != 0 {
            out.push(self.kind);
        }
        let logs = self.logs.iter().map(Encodable::length).sum();
        let logs = RlpHeader { list: true, payload_length: logs };
        let deposit =
            self.deposit.map_or(0, |deposit| deposit.nonce.length() + deposit.version.length());
        let payload_length = self.is_success.length()
            + self.cumulative_gas_used.length()
            + self.logs_bloom.length()
            + logs.length_with_payload()
            + deposit;
        RlpHeader { list: true, payload_length }.encode(out);
        self.is_success.encode(out);
        self.cumulative_gas_used.encode(out);
        self.logs_bloom.encode(out);
        logs.encode(out);
        for log in &self.logs {
            log.encode(out);
        }
        if let Some(deposit) = self.deposit {
            deposit.nonce.encode(out);
            deposit.version.encode(out);
        }
    }
}

/// A receipt as a server writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptAnswer {
    /// Hash of the transaction.
    pub transaction_hash: B256,
    /// Index of the transaction in the block.
    pub transaction_index: u64,
    /// Hash of the block.
    pub block_hash: B256,
    /// Number of the block.
    pub block_number: u64,
    /// Type of the transaction: 0 for a legacy one.
    pub kind: u8,
    /// `true` if the execution succeeded.
    pub is_success: bool,
    /// Gas used by this transaction and all earlier ones of the block.
    pub cumulative_gas_used: u64,
    /// Gas used by this transaction.
    pub gas_used: u64,
    /// Bloom filter over the logs.
    pub logs_bloom: Bloom,
    /// The logs.
    pub logs: Vec<LogAnswer>,
    /// Nonce of a deposit's sender, from Regolith on.
    pub deposit_nonce: Option<u64>,
    /// Version of a deposit's receipt, from Canyon on.
    pub deposit_receipt_version: Option<u64>,
}

/// A log as a server writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogAnswer {
    /// The contract, the topics and the data.
    pub log: Log,
    /// Hash of the block.
    pub block_hash: B256,
    /// Number of the block.
    pub block_number: u64,
    /// Hash of the transaction.
    pub transaction_hash: B256,
    /// Index of the transaction in the block.
    pub transaction_index: u64,
    /// Index of the log in the block.
    pub log_index: u64,
    /// `true` for a log of a block that left the chain.
    pub is_removed: bool,
}

/// All receipts of a block, proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvedReceipts {
    /// Hash of the block.
    pub block_hash: B256,
    /// Number of the block.
    pub block_number: u64,
    /// The receipts, in the order of the transactions.
    pub receipts: Vec<ProvedReceipt>,
}

/// A proved receipt. Its index in [`ProvedReceipts::receipts`] is the index of the transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvedReceipt {
    /// Hash of the transaction.
    pub transaction_hash: B256,
    /// Gas used by the transaction.
    pub gas_used: u64,
    /// Index of the receipt's first log in the block: the number of logs of earlier receipts.
    pub first_log: u64,
    /// The receipt.
    pub receipt: Receipt,
}

/// The false part of a receipt. Fields have their names in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// A field contradicts the block, the transaction or the receipt's other fields.
    #[error("{0} is false")]
    Field(&'static str),
    /// A field of a log contradicts the block, the transaction or the log's position.
    #[error("log {index}: {field} is false")]
    Log {
        /// Index of the log in the receipt.
        index: usize,
        /// The false field.
        field: &'static str,
    },
}

/// The false part of a block's receipts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptsError {
    /// The header has no hash.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The answer has another number of receipts than the block has transactions.
    #[error("the answer has {receipts} receipts of {transactions} transactions")]
    Count {
        /// Number of transactions.
        transactions: usize,
        /// Number of receipts.
        receipts: usize,
    },
    /// A receipt is false.
    #[error("receipt {index}: {error}")]
    Receipt {
        /// Index of the receipt.
        index: usize,
        /// The false part.
        error: ReceiptError,
    },
    /// There are more than [`MAX_TRANSACTIONS`] receipts, or their encoding has more than
    /// [`MAX_RECEIPTS_SIZE`] bytes.
    #[error("the receipts are too many, or have more than {MAX_RECEIPTS_SIZE} bytes")]
    TooLarge,
    /// The receipts use another amount of gas than the header says.
    #[error("the receipts use {computed} gas instead of {expected}")]
    GasUsed {
        /// Gas used by the header.
        expected: u64,
        /// Cumulative gas of the last receipt.
        computed: u64,
    },
    /// The bloom filter over all logs differs from the header's.
    #[error("the logs have another bloom filter than the block")]
    LogsBloom,
    /// The receipts have another root than the header's. They agree with each other, so that the
    /// root does not show the false field: a status, a log's data, a deposit's nonce, or several.
    #[error("the receipts have the root {computed} instead of {expected}")]
    Root {
        /// Root in the header.
        expected: B256,
        /// Root of the given receipts.
        computed: B256,
    },
}

/// Verifies an answer to `eth_getBlockReceipts`: all receipts of the block with this header.
///
/// `transactions` are the block's own, proved by [`prove_transactions`](super::prove_transactions)
/// or taken from a block whose hash is verified.
///
/// # Errors
/// The false part.
pub fn prove_receipts(
    header: &BlockHeader,
    transactions: &[TransactionId],
    answers: Vec<ReceiptAnswer>,
) -> Result<ProvedReceipts, ReceiptsError> {
    if answers.len() != transactions.len() {
        let (transactions, receipts) = (transactions.len(), answers.len());
        return Err(ReceiptsError::Count { transactions, receipts });
    }
    if answers.len() > MAX_TRANSACTIONS {
        return Err(ReceiptsError::TooLarge);
    }
    let mut state = Walk {
        block_hash: header.hash()?,
        block_number: header.number,
        index: 0,
        gas: 0,
        logs: 0,
        bloom: Bloom::ZERO,
        encoded: Vec::new(),
        ends: Vec::with_capacity(answers.len()),
    };
    let mut receipts = Vec::with_capacity(answers.len());
    for (index, (answer, transaction)) in answers.into_iter().zip(transactions).enumerate() {
        let receipt = state
            .receipt(answer, *transaction)
            .map_err(|error| ReceiptsError::Receipt { index, error })?;
        state.encode(&receipt.receipt)?;
        receipts.push(receipt);
    }
    if state.gas != header.gas_used {
        return Err(ReceiptsError::GasUsed { expected: header.gas_used, computed: state.gas });
    }
    if state.bloom != header.logs_bloom {
        return Err(ReceiptsError::LogsBloom);
    }
    let computed = trie::ordered_root(receipts.len(), |index| state.encoding(index));
    if computed != header.receipts_root {
        return Err(ReceiptsError::Root { expected: header.receipts_root, computed });
    }
    Ok(ProvedReceipts { block_hash: state.block_hash, block_number: state.block_number, receipts })
}

/// The block's values up to the current receipt.
struct Walk {
    block_hash: B256,
    block_number: u64,
    index: u64,
    gas: u64,
    logs: u64,
    bloom: Bloom,
    /// The encodings of the receipts, one after another.
    encoded: Vec<u8>,
    /// The end of each encoding.
    ends: Vec<usize>,
}

impl Walk {
    fn receipt(
        &mut self,
        answer: ReceiptAnswer,
        transaction: TransactionId,
    ) -> Result<ProvedReceipt, ReceiptError> {
        self.check_fields(&answer, transaction)?;
        self.check_logs(&answer)?;
        let deposit = deposit_fields(&answer)?;
        let mut logs_bloom = Bloom::ZERO;
        for answer in &answer.logs {
            logs_bloom.accrue_log(&answer.log);
        }
        if answer.logs_bloom != logs_bloom {
            return Err(ReceiptError::Field("logsBloom"));
        }
        let proved = ProvedReceipt {
            transaction_hash: transaction.hash,
            gas_used: answer.gas_used,
            first_log: self.logs,
            receipt: Receipt {
                kind: answer.kind,
                is_success: answer.is_success,
                cumulative_gas_used: answer.cumulative_gas_used,
                logs_bloom,
                logs: answer.logs.into_iter().map(|answer| answer.log).collect(),
                deposit,
            },
        };
        self.index += 1;
        self.gas = answer.cumulative_gas_used;
        self.logs += proved.receipt.logs.len() as u64;
        self.bloom.accrue_bloom(&logs_bloom);
        Ok(proved)
    }

    fn check_fields(
        &self,
        answer: &ReceiptAnswer,
        transaction: TransactionId,
    ) -> Result<(), ReceiptError> {
        let gas_used = answer.cumulative_gas_used.checked_sub(self.gas);
        let checks = [
            (answer.block_hash == self.block_hash, "blockHash"),
            (answer.block_number == self.block_number, "blockNumber"),
            (answer.transaction_hash == transaction.hash, "transactionHash"),
            (answer.transaction_index == self.index, "transactionIndex"),
            (answer.kind == transaction.kind, "type"),
            (gas_used.is_some(), "cumulativeGasUsed"),
            (gas_used == Some(answer.gas_used), "gasUsed"),
        ];
        first_false(&checks).map_or(Ok(()), |field| Err(ReceiptError::Field(field)))
    }

    fn check_logs(&self, answer: &ReceiptAnswer) -> Result<(), ReceiptError> {
        for (index, log) in answer.logs.iter().enumerate() {
            let checks = [
                (log.block_hash == self.block_hash, "blockHash"),
                (log.block_number == self.block_number, "blockNumber"),
                (log.transaction_hash == answer.transaction_hash, "transactionHash"),
                (log.transaction_index == self.index, "transactionIndex"),
                (log.log_index == self.logs + index as u64, "logIndex"),
                (!log.is_removed, "removed"),
                (log.log.topics().len() <= MAX_TOPICS, "topics"),
            ];
            if let Some(field) = first_false(&checks) {
                return Err(ReceiptError::Log { index, field });
            }
        }
        Ok(())
    }

    fn encode(&mut self, receipt: &Receipt) -> Result<(), ReceiptsError> {
        receipt.encode(&mut self.encoded);
        self.ends.push(self.encoded.len());
        if self.encoded.len() <= MAX_RECEIPTS_SIZE { Ok(()) } else { Err(ReceiptsError::TooLarge) }
    }

    fn encoding(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.encoded[start..self.ends[index]]
    }
}

/// Returns the additional fields of a deposit that its encoding contains.
fn deposit_fields(answer: &ReceiptAnswer) -> Result<Option<DepositFields>, ReceiptError> {
    let is_deposit = answer.kind == DEPOSIT;
    match (answer.deposit_nonce, answer.deposit_receipt_version) {
        (Some(_), _) if !is_deposit => Err(ReceiptError::Field("depositNonce")),
        (_, Some(_)) if !is_deposit => Err(ReceiptError::Field("depositReceiptVersion")),
        (Some(nonce), Some(version)) => Ok(Some(DepositFields { nonce, version })),
        (None, Some(_)) => Err(ReceiptError::Field("depositNonce")),
        (_, None) => Ok(None),
    }
}

fn first_false(checks: &[(bool, &'static str)]) -> Option<&'static str> {
    checks.iter().find(|(is_true, _)| !is_true).map(|(_, field)| *field)
}
