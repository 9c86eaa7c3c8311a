//! What can be wrong with an encoding, and with a payload that is to be encoded.

use super::PayloadVersion;

/// Why bytes are not an execution payload: one variant for each rule of the reference's decoder
/// (`op-service/eth/ssz.go`). `scope` is the number of bytes available.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Fewer bytes than the fixed part has.
    #[error(
        "scope too small to decode execution payload: {scope}, a {version} payload has at least {minimum}"
    )]
    TooShort {
        /// Bytes available.
        scope: usize,
        /// Bytes of the fixed part.
        minimum: usize,
        /// Layout that was expected.
        version: PayloadVersion,
    },
    /// The first offset does not point at the end of the fixed part: another version's body.
    #[error("offset of extra data is {found}, a {version} payload has {expected}")]
    BadExtraDataOffset {
        /// Offset in the bytes.
        found: u32,
        /// The only valid one.
        expected: usize,
        /// Layout that was expected.
        version: PayloadVersion,
    },
    /// Transactions would begin before the extra data.
    #[error("offset of transactions is {found}, which lies before the extra data at {extra_data}")]
    BadTransactionOffset {
        /// Offset in the bytes.
        found: u32,
        /// Offset of the extra data.
        extra_data: usize,
    },
    /// Withdrawals would begin before the transactions.
    #[error("offset of withdrawals is {found}, which lies before the transactions at {transactions}")]
    BadWithdrawalsOffset {
        /// Offset in the bytes.
        found: u32,
        /// Offset of the transactions.
        transactions: u32,
    },
    /// Withdrawals would begin behind the end.
    #[error("offset of withdrawals is {found}, which lies behind the end at {scope}")]
    WithdrawalsOutOfScope {
        /// Offset in the bytes.
        found: u32,
        /// Bytes available.
        scope: usize,
    },
    /// More than 32 bytes of extra data.
    #[error("extra data has {0} bytes, at most 32 are allowed")]
    ExtraDataTooLong(usize),
    /// Transactions would begin behind the end.
    #[error("offset of transactions is {found}, which lies behind the end at {scope}")]
    TransactionsOutOfScope {
        /// Offset in the bytes.
        found: u32,
        /// Bytes available.
        scope: usize,
    },
    /// The transaction list has bytes, but not enough for one offset.
    #[error("transaction list of {0} bytes can't hold an offset")]
    TransactionListTooShort(usize),
    /// The first transaction offset is zero although the list has bytes. The reference's old
    /// decoder took this for "no transactions" and ignored the rest; its newest rejects it.
    #[error("first transaction offset is zero in a list of {0} bytes")]
    FirstTransactionOffsetZero(usize),
    /// The first transaction offset is not a whole number of offsets.
    #[error("first transaction offset {0} is not a multiple of 4")]
    FirstTransactionOffsetUnaligned(u32),
    /// The first transaction offset points behind the list.
    #[error("first transaction offset {found} lies behind the list's {length} bytes")]
    FirstTransactionOffsetOutOfScope {
        /// Offset in the bytes.
        found: u32,
        /// Bytes of the transaction list.
        length: usize,
    },
    /// More than 2^20 transactions.
    #[error("{0} transactions, at most 1048576 are allowed")]
    TooManyTransactions(usize),
    /// A transaction would end before it begins.
    #[error("offset of transaction {index} is {found}, less than the one before, {previous}")]
    TransactionOffsetDecreasing {
        /// Which transaction.
        index: usize,
        /// Its offset.
        found: u32,
        /// The offset before.
        previous: u32,
    },
    /// A transaction would begin behind the list.
    #[error("offset of transaction {index} is {found}, behind the list's {length} bytes")]
    TransactionOffsetOutOfScope {
        /// Which transaction.
        index: usize,
        /// Its offset.
        found: u32,
        /// Bytes of the transaction list.
        length: usize,
    },
    /// The withdrawal list is not a whole number of withdrawals.
    #[error("withdrawal list of {0} bytes is not a multiple of 44")]
    WithdrawalsUnaligned(usize),
    /// More than 16 withdrawals.
    #[error("{0} withdrawals, at most 16 are allowed")]
    TooManyWithdrawals(usize),
    /// Too few bytes for the parent beacon block root in front of a payload.
    #[error("scope too small to decode execution payload envelope: {0}")]
    EnvelopeTooShort(usize),
}

/// Why a payload can't be encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The envelope lacks a field that its payload's version needs
    /// (`ErrMissingData` of the reference).
    #[error("execution payload envelope is missing data: {0}")]
    MissingData(&'static str),
    /// A field is present that the payload's version does not have.
    #[error("execution payload has {field}, which a {version} payload can't carry")]
    Superfluous {
        /// The field.
        field: &'static str,
        /// The version that the other fields ask for.
        version: PayloadVersion,
    },
    /// The extra data does not fit behind a 32-bit offset (`ErrExtraDataTooLarge` of the reference).
    #[error("extra data too large: {0} bytes")]
    ExtraDataTooLarge(usize),
    /// The whole encoding does not fit behind 32-bit offsets.
    #[error("execution payload too large: {0} bytes")]
    TooLarge(usize),
    /// More than 2^20 transactions.
    #[error("{0} transactions, at most 1048576 are allowed")]
    TooManyTransactions(usize),
    /// More than 16 withdrawals.
    #[error("{0} withdrawals, at most 16 are allowed")]
    TooManyWithdrawals(usize),
}
