//! Offsets of the fields of an SSZ execution payload (`op-service/eth/ssz.go`). In SSZ, fixed-size
//! fields come first, and each variable-size field is referenced by a 32-bit offset from the start.

pub(super) const PARENT_HASH: usize = 0;
pub(super) const FEE_RECIPIENT: usize = 32;
pub(super) const STATE_ROOT: usize = 52;
pub(super) const RECEIPTS_ROOT: usize = 84;
pub(super) const LOGS_BLOOM: usize = 116;
pub(super) const PREV_RANDAO: usize = 372;
pub(super) const BLOCK_NUMBER: usize = 404;
pub(super) const GAS_LIMIT: usize = 412;
pub(super) const GAS_USED: usize = 420;
pub(super) const TIMESTAMP: usize = 428;
pub(super) const EXTRA_DATA_OFFSET: usize = 436;
pub(super) const BASE_FEE_PER_GAS: usize = 440;
pub(super) const BLOCK_HASH: usize = 472;
pub(super) const TRANSACTIONS_OFFSET: usize = 504;
pub(super) const WITHDRAWALS_OFFSET: usize = 508;
pub(super) const BLOB_GAS_USED: usize = 512;
pub(super) const EXCESS_BLOB_GAS: usize = 520;
pub(super) const WITHDRAWALS_ROOT: usize = 528;

/// Size of one offset in bytes.
pub(super) const OFFSET_SIZE: usize = 4;
/// Size of one withdrawal in bytes: index, validator index, address, amount.
pub(super) const WITHDRAWAL_SIZE: usize = 44;

/// Maximum number of transactions in a payload (2^20, the consensus layer's limit).
pub const MAX_TRANSACTIONS: usize = 1 << 20;
/// Maximum number of withdrawals in a payload.
pub const MAX_WITHDRAWALS: usize = 16;
/// Maximum number of bytes of extra data that the decoder accepts.
pub const MAX_EXTRA_DATA: usize = 32;
