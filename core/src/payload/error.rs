//! Errors of encoding and decoding payloads.

use super::PayloadVersion;

/// Error of decoding an execution payload: one variant for each rule of the reference's decoder
/// (`op-service/eth/ssz.go`). `scope` is the number of available bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes are shorter than the fixed part.
    #[error(
        "scope too small to decode execution payload: {scope}, a {version} payload has at least \
         {minimum}"
    )]
    TooShort {
        /// Number of available bytes.
        scope: usize,
        /// Size of the fixed part in bytes.
        minimum: usize,
        /// Expected layout.
        version: PayloadVersion,
    },
    /// The first offset does not point at the end of the fixed part: the body has another version.
    #[error("offset of extra data is {found}, a {version} payload has {expected}")]
    BadExtraDataOffset {
        /// The offset in the encoding.
        found: u32,
        /// The only valid offset.
        expected: usize,
        /// Expected layout.
        version: PayloadVersion,
    },
    /// The transactions would begin before the extra data.
    #[error("offset of transactions is {found}, which lies before the extra data at {extra_data}")]
    BadTransactionOffset {
        /// The offset in the encoding.
        found: u32,
        /// Offset of the extra data.
        extra_data: usize,
    },
    /// The withdrawals would begin before the transactions.
    #[error(
        "offset of withdrawals is {found}, which lies before the transactions at {transactions}"
    )]
    BadWithdrawalsOffset {
        /// The offset in the encoding.
        found: u32,
        /// Offset of the transactions.
        transactions: u32,
    },
    /// The withdrawals would begin after the end.
    #[error("offset of withdrawals is {found}, which lies behind the end at {scope}")]
    WithdrawalsOutOfScope {
        /// The offset in the encoding.
        found: u32,
        /// Number of available bytes.
        scope: usize,
    },
    /// The extra data is longer than 32 bytes.
    #[error("extra data has {0} bytes, at most 32 are allowed")]
    ExtraDataTooLong(usize),
    /// The transactions would begin after the end.
    #[error("offset of transactions is {found}, which lies behind the end at {scope}")]
    TransactionsOutOfScope {
        /// The offset in the encoding.
        found: u32,
        /// Number of available bytes.
        scope: usize,
    },
    /// The transaction list is not empty, but too short for one offset.
    #[error("transaction list of {0} bytes can't hold an offset")]
    TransactionListTooShort(usize),
    /// The first transaction offset is zero, although the list is not empty. The reference's old
    /// decoder read this as "no transactions" and ignored the rest; the newest one rejects it.
    #[error("first transaction offset is zero in a list of {0} bytes")]
    FirstTransactionOffsetZero(usize),
    /// The first transaction offset is not a multiple of the offset size.
    #[error("first transaction offset {0} is not a multiple of 4")]
    FirstTransactionOffsetUnaligned(u32),
    /// The first transaction offset points past the list.
    #[error("first transaction offset {found} lies behind the list's {length} bytes")]
    FirstTransactionOffsetOutOfScope {
        /// The offset in the encoding.
        found: u32,
        /// Size of the transaction list in bytes.
        length: usize,
    },
    /// There are more than 2^20 transactions.
    #[error("{0} transactions, at most 1048576 are allowed")]
    TooManyTransactions(usize),
    /// A transaction would end before it begins.
    #[error("offset of transaction {index} is {found}, less than the one before, {previous}")]
    TransactionOffsetDecreasing {
        /// Index of the transaction.
        index: usize,
        /// Its offset.
        found: u32,
        /// The previous offset.
        previous: u32,
    },
    /// A transaction would begin after the list.
    #[error("offset of transaction {index} is {found}, behind the list's {length} bytes")]
    TransactionOffsetOutOfScope {
        /// Index of the transaction.
        index: usize,
        /// Its offset.
        found: u32,
        /// Size of the transaction list in bytes.
        length: usize,
    },
    /// The size of the withdrawal list is not a multiple of a withdrawal's size.
    #[error("withdrawal list of {0} bytes is not a multiple of 44")]
    WithdrawalsUnaligned(usize),
    /// There are more than 16 withdrawals.
    #[error("{0} withdrawals, at most 16 are allowed")]
    TooManyWithdrawals(usize),
    /// The bytes are too short for the parent beacon block root in front of a payload.
    #[error("scope too small to decode execution payload envelope: {0}")]
    EnvelopeTooShort(usize),
    /// The layout is that of no version.
    #[error("the bytes have the layout of no payload version")]
    NoVersion,
}

/// Error of encoding a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A field that the payload's version needs is missing (`ErrMissingData` of the reference).
    #[error("execution payload envelope is missing data: {0}")]
    MissingData(&'static str),
    /// A field is present that the payload's version lacks.
    #[error("execution payload has {field}, which a {version} payload can't carry")]
    Superfluous {
        /// Name of the field.
        field: &'static str,
        /// The version that the other fields require.
        version: PayloadVersion,
    },
    /// The offset after the extra data does not fit in 32 bits (`ErrExtraDataTooLarge` of the
    /// reference), or the extra data exceeds the 32 bytes that
    /// [`seal`](super::ExecutionPayload::seal) accepts.
    #[error("extra data too large: {0} bytes")]
    ExtraDataTooLarge(usize),
    /// The whole encoding does not fit within 32-bit offsets.
    #[error("execution payload too large: {0} bytes")]
    TooLarge(usize),
    /// There are more than 2^20 transactions.
    #[error("{0} transactions, at most 1048576 are allowed")]
    TooManyTransactions(usize),
    /// There are more than 16 withdrawals.
    #[error("{0} withdrawals, at most 16 are allowed")]
    TooManyWithdrawals(usize),
}
