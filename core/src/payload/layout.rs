//! Where the fields of an SSZ execution payload lie (`op-service/eth/ssz.go`; SSZ in general:
//! fixed-size fields first, variable ones by a 32-bit offset from the start).

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

/// Bytes of one offset.
pub(super) const OFFSET_SIZE: usize = 4;
/// Bytes of one withdrawal: index, validator index, address, amount.
pub(super) const WITHDRAWAL_SIZE: usize = 44;

/// Most transactions that a payload can have (2^20, the consensus layer's limit).
pub const MAX_TRANSACTIONS: usize = 1 << 20;
/// Most withdrawals that a payload can have.
pub const MAX_WITHDRAWALS: usize = 16;
/// Most bytes of extra data that decode.
pub const MAX_EXTRA_DATA: usize = 32;
