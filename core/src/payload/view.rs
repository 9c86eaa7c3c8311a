//! A borrowed view of an SSZ execution payload. It reads fields and iterates over transactions in
//! place.
//!
//! Parsing checks every rule of the reference's decoder once and stores a few numbers. After that,
//! each access is a plain read at a known offset. Nothing is copied or allocated, so the cost
//! depends on the number of transactions, but not on their size.

use super::layout::{
    self, MAX_EXTRA_DATA, MAX_TRANSACTIONS, MAX_WITHDRAWALS, OFFSET_SIZE, WITHDRAWAL_SIZE,
};
use super::{DecodeError, ExecutionPayload, PayloadVersion, Withdrawal};
use alloy_primitives::{Address, B256, Bloom, Bytes, U256};

/// The offsets of the variable parts of one checked payload. It is small and `Copy`, so an owner of
/// the bytes can keep it and recreate a [`PayloadView`] at no cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayloadLayout {
    version: PayloadVersion,
    length: usize,
    transactions_at: usize,
    withdrawals_at: usize,
    transaction_count: usize,
}

impl PayloadLayout {
    /// Checks `bytes` against all rules of the decoder, in the reference's order.
    ///
    /// # Errors
    /// The first violated rule.
    pub fn check(version: PayloadVersion, bytes: &[u8]) -> Result<Self, DecodeError> {
        let scope = bytes.len();
        let fixed = version.fixed_size();
        if scope < fixed {
            return Err(DecodeError::TooShort { scope, minimum: fixed, version });
        }
        let extra_data = read_u32(bytes, layout::EXTRA_DATA_OFFSET);
        if extra_data as usize != fixed {
            return Err(DecodeError::BadExtraDataOffset {
                found: extra_data,
                expected: fixed,
                version,
            });
        }
        let transactions = read_u32(bytes, layout::TRANSACTIONS_OFFSET);
        if transactions < extra_data {
            return Err(DecodeError::BadTransactionOffset {
                found: transactions,
                extra_data: fixed,
            });
        }
        let transactions_at = transactions as usize;
        let withdrawals_at = if version.has_withdrawals() {
            let found = read_u32(bytes, layout::WITHDRAWALS_OFFSET);
            if found < transactions {
                return Err(DecodeError::BadWithdrawalsOffset { found, transactions });
            }
            if found as usize > scope {
                return Err(DecodeError::WithdrawalsOutOfScope { found, scope });
            }
            found as usize
        } else {
            scope
        };
        if transactions_at > scope {
            return Err(DecodeError::TransactionsOutOfScope { found: transactions, scope });
        }
        if transactions_at - fixed > MAX_EXTRA_DATA {
            return Err(DecodeError::ExtraDataTooLong(transactions_at - fixed));
        }
        let transaction_count = check_transactions(&bytes[transactions_at..withdrawals_at])?;
        let withdrawals = scope - withdrawals_at;
        if !withdrawals.is_multiple_of(WITHDRAWAL_SIZE) {
            return Err(DecodeError::WithdrawalsUnaligned(withdrawals));
        }
        if withdrawals / WITHDRAWAL_SIZE > MAX_WITHDRAWALS {
            return Err(DecodeError::TooManyWithdrawals(withdrawals / WITHDRAWAL_SIZE));
        }
        Ok(Self { version, length: scope, transactions_at, withdrawals_at, transaction_count })
    }

    /// Returns the version for which the bytes were checked.
    pub const fn version(&self) -> PayloadVersion {
        self.version
    }

    /// Returns a view of the checked bytes.
    ///
    /// # Panics
    /// If the length of `bytes` differs from that of the checked bytes, because the caller mixed up
    /// two payloads.
    pub fn view(self, bytes: &[u8]) -> PayloadView<'_> {
        assert_eq!(
            bytes.len(),
            self.length,
            "a layout belongs to the bytes that it was checked over"
        );
        PayloadView { layout: self, bytes }
    }
}

/// Checks rule 6 of the decoder and returns the number of transactions.
fn check_transactions(list: &[u8]) -> Result<usize, DecodeError> {
    let length = list.len();
    if length == 0 {
        return Ok(0);
    }
    if length < OFFSET_SIZE {
        return Err(DecodeError::TransactionListTooShort(length));
    }
    let first = read_u32(list, 0);
    if first == 0 {
        return Err(DecodeError::FirstTransactionOffsetZero(length));
    }
    if !(first as usize).is_multiple_of(OFFSET_SIZE) {
        return Err(DecodeError::FirstTransactionOffsetUnaligned(first));
    }
    if first as usize > length {
        return Err(DecodeError::FirstTransactionOffsetOutOfScope { found: first, length });
    }
    let count = first as usize / OFFSET_SIZE;
    if count > MAX_TRANSACTIONS {
        return Err(DecodeError::TooManyTransactions(count));
    }
    let mut previous = first;
    for index in 1..count {
        let found = read_u32(list, index * OFFSET_SIZE);
        if found < previous {
            return Err(DecodeError::TransactionOffsetDecreasing { index, found, previous });
        }
        if found as usize > length {
            return Err(DecodeError::TransactionOffsetOutOfScope { index, found, length });
        }
        previous = found;
    }
    Ok(count)
}

/// A checked execution payload in borrowed bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayloadView<'a> {
    layout: PayloadLayout,
    bytes: &'a [u8],
}

impl<'a> PayloadView<'a> {
    /// Checks `bytes` as a payload of `version`.
    ///
    /// # Errors
    /// The first violated rule of the decoder.
    pub fn parse(version: PayloadVersion, bytes: &'a [u8]) -> Result<Self, DecodeError> {
        Ok(PayloadLayout::check(version, bytes)?.view(bytes))
    }

    /// Returns the layout, which the owner of the bytes can store.
    pub const fn layout(&self) -> PayloadLayout {
        self.layout
    }

    /// Returns the payload version.
    pub const fn version(&self) -> PayloadVersion {
        self.layout.version
    }

    /// Returns the whole SSZ encoding.
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Returns the hash of the parent block.
    pub fn parent_hash(&self) -> B256 {
        self.hash_at(layout::PARENT_HASH)
    }

    /// Returns the receiver of the priority fees.
    pub fn fee_recipient(&self) -> Address {
        Address::new(read(self.bytes, layout::FEE_RECIPIENT))
    }

    /// Returns the state root after this block.
    pub fn state_root(&self) -> B256 {
        self.hash_at(layout::STATE_ROOT)
    }

    /// Returns the root of the receipts trie.
    pub fn receipts_root(&self) -> B256 {
        self.hash_at(layout::RECEIPTS_ROOT)
    }

    /// Returns the bloom filter over the logs, 256 bytes.
    pub fn logs_bloom(&self) -> &'a [u8; 256] {
        self.bytes[layout::LOGS_BLOOM..].first_chunk().expect("the fixed part was checked")
    }

    /// Returns the randomness of the L1 origin.
    pub fn prev_randao(&self) -> B256 {
        self.hash_at(layout::PREV_RANDAO)
    }

    /// Returns the block number.
    pub fn block_number(&self) -> u64 {
        self.u64_at(layout::BLOCK_NUMBER)
    }

    /// Returns the maximum gas that the block may use.
    pub fn gas_limit(&self) -> u64 {
        self.u64_at(layout::GAS_LIMIT)
    }

    /// Returns the gas used by all transactions of the block.
    pub fn gas_used(&self) -> u64 {
        self.u64_at(layout::GAS_USED)
    }

    /// Returns the timestamp in Unix seconds.
    pub fn timestamp(&self) -> u64 {
        self.u64_at(layout::TIMESTAMP)
    }

    /// Returns the extra data, at most 32 bytes.
    pub fn extra_data(&self) -> &'a [u8] {
        &self.bytes[self.layout.version.fixed_size()..self.layout.transactions_at]
    }

    /// Returns the base fee per gas, in wei.
    pub fn base_fee_per_gas(&self) -> U256 {
        U256::from_le_bytes(read::<32>(self.bytes, layout::BASE_FEE_PER_GAS))
    }

    /// Returns the block hash that the payload claims.
    pub fn block_hash(&self) -> B256 {
        self.hash_at(layout::BLOCK_HASH)
    }

    /// Returns the number of transactions.
    pub const fn transaction_count(&self) -> usize {
        self.layout.transaction_count
    }

    /// Returns the raw bytes of transaction `index` (EIP-2718 envelope), or `None` if `index` is
    /// out of range.
    pub fn transaction(&self, index: usize) -> Option<&'a [u8]> {
        let count = self.layout.transaction_count;
        if index >= count {
            return None;
        }
        let list = &self.bytes[self.layout.transactions_at..self.layout.withdrawals_at];
        let start = read_u32(list, index * OFFSET_SIZE) as usize;
        let end = if index + 1 == count {
            list.len()
        } else {
            read_u32(list, (index + 1) * OFFSET_SIZE) as usize
        };
        Some(&list[start..end])
    }

    /// Returns the raw bytes of all transactions, in order.
    pub fn transactions(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        let view = *self;
        (0..view.transaction_count()).map(move |index| view.transaction(index).unwrap_or_default())
    }

    /// Returns the withdrawals, in order, or `None` if the version has no list.
    pub fn withdrawals(&self) -> Option<impl ExactSizeIterator<Item = Withdrawal> + use<'a>> {
        self.version().has_withdrawals().then(|| {
            self.withdrawal_bytes().chunks_exact(WITHDRAWAL_SIZE).map(|bytes| Withdrawal {
                index: u64::from_le_bytes(read(bytes, 0)),
                validator_index: u64::from_le_bytes(read(bytes, 8)),
                address: Address::new(read(bytes, 16)),
                amount: u64::from_le_bytes(read(bytes, 36)),
            })
        })
    }

    /// Returns the number of withdrawals, or `None` if the version has no list.
    pub fn withdrawal_count(&self) -> Option<usize> {
        self.version().has_withdrawals().then(|| self.withdrawal_bytes().len() / WITHDRAWAL_SIZE)
    }

    /// Returns the blob gas used, or `None` before v3. It is zero before Jovian, and the
    /// data-availability footprint from Jovian on.
    pub fn blob_gas_used(&self) -> Option<u64> {
        self.version().has_beacon_root().then(|| self.u64_at(layout::BLOB_GAS_USED))
    }

    /// Returns the excess blob gas, or `None` before v3. It is always zero on an L2.
    pub fn excess_blob_gas(&self) -> Option<u64> {
        self.version().has_beacon_root().then(|| self.u64_at(layout::EXCESS_BLOB_GAS))
    }

    /// Returns the storage root of the message passer contract, or `None` before v4.
    pub fn withdrawals_root(&self) -> Option<B256> {
        self.version().has_withdrawals_root().then(|| self.hash_at(layout::WITHDRAWALS_ROOT))
    }

    /// Copies the payload into an owned value.
    pub fn to_payload(&self) -> ExecutionPayload {
        ExecutionPayload {
            parent_hash: self.parent_hash(),
            fee_recipient: self.fee_recipient(),
            state_root: self.state_root(),
            receipts_root: self.receipts_root(),
            logs_bloom: Bloom::new(*self.logs_bloom()),
            prev_randao: self.prev_randao(),
            block_number: self.block_number(),
            gas_limit: self.gas_limit(),
            gas_used: self.gas_used(),
            timestamp: self.timestamp(),
            extra_data: Bytes::copy_from_slice(self.extra_data()),
            base_fee_per_gas: self.base_fee_per_gas(),
            block_hash: self.block_hash(),
            transactions: self.transactions().map(Bytes::copy_from_slice).collect(),
            withdrawals: self.withdrawals().map(Iterator::collect),
            blob_gas_used: self.blob_gas_used(),
            excess_blob_gas: self.excess_blob_gas(),
            withdrawals_root: self.withdrawals_root(),
        }
    }

    fn withdrawal_bytes(&self) -> &'a [u8] {
        &self.bytes[self.layout.withdrawals_at..]
    }

    fn hash_at(&self, at: usize) -> B256 {
        B256::new(read(self.bytes, at))
    }

    fn u64_at(&self, at: usize) -> u64 {
        u64::from_le_bytes(read(self.bytes, at))
    }
}

/// Reads `N` bytes at `at`. The caller has checked that they exist.
fn read<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    *bytes[at..].first_chunk().expect("the caller checked the length")
}

fn read_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(read(bytes, at))
}
