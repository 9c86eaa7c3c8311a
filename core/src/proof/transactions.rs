//! The transactions of a block.
//!
//! A block from gossip has all transactions, and its hash commits to them. For an older block, an
//! RPC server sends either the raw transactions, which [`prove_transactions`] verifies, or the
//! whole block as JSON or RLP, which [`Block::from_json`] and [`Block::from_rlp`] rebuild.

use alloy_primitives::{B256, keccak256};

use crate::gossip::MAX_MESSAGE_SIZE;
use crate::payload::{Block, MAX_TRANSACTIONS, trie};

/// Maximum size of a block's transactions in bytes: gossip does not carry larger blocks.
pub const MAX_TRANSACTIONS_SIZE: usize = MAX_MESSAGE_SIZE;

/// A transaction's hash and type, which its receipt must agree with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionId {
    /// Hash of the transaction.
    pub hash: B256,
    /// Type (EIP-2718): 0 for a legacy transaction, 0x7e for a deposit.
    pub kind: u8,
}

/// The false part of a list of transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransactionsError {
    /// The list has more than [`MAX_TRANSACTIONS`] transactions.
    #[error("there are {0} transactions, and at most {MAX_TRANSACTIONS} are accepted")]
    TooMany(usize),
    /// The transactions have more than [`MAX_TRANSACTIONS_SIZE`] bytes.
    #[error("the transactions have more than {MAX_TRANSACTIONS_SIZE} bytes")]
    TooLarge,
    /// The bytes don't begin as a transaction: with a type, or as a list.
    #[error("transaction {0} begins with no type and no list")]
    Malformed(usize),
    /// The transactions have another root than the header's. A root does not show the false
    /// transaction.
    #[error("the transactions have the root {computed} instead of {expected}")]
    Root {
        /// Root in the header.
        expected: B256,
        /// Root of the given transactions.
        computed: B256,
    },
}

impl TransactionId {
    /// Returns the id of a raw transaction, or `None` if its first byte is neither a type nor the
    /// begin of a list.
    pub fn of(raw: &[u8]) -> Option<Self> {
        let kind = match raw.first()? {
            kind @ 1..=0x7f => *kind,
            0xc0.. => 0,
            _ => return None,
        };
        Some(Self { hash: keccak256(raw), kind })
    }

    /// Returns the ids of a block's transactions.
    ///
    /// # Errors
    /// The index of the first transaction that begins with no type and no list.
    pub fn of_block(block: &Block) -> Result<Vec<Self>, TransactionsError> {
        ids(block.payload().transactions())
    }
}

/// Verifies all raw transactions of a block by the header's root, and returns their ids.
///
/// # Errors
/// If the root differs, or if the transactions are too many to be hashed.
pub fn prove_transactions(
    transactions_root: B256,
    raw: &[impl AsRef<[u8]>],
) -> Result<Vec<TransactionId>, TransactionsError> {
    if raw.len() > MAX_TRANSACTIONS {
        return Err(TransactionsError::TooMany(raw.len()));
    }
    let size = raw.iter().map(|one| one.as_ref().len()).fold(0, usize::saturating_add);
    if size > MAX_TRANSACTIONS_SIZE {
        return Err(TransactionsError::TooLarge);
    }
    let computed = trie::ordered_root(raw.len(), |index| raw[index].as_ref());
    if computed != transactions_root {
        return Err(TransactionsError::Root { expected: transactions_root, computed });
    }
    ids(raw.iter().map(AsRef::as_ref))
}

fn ids<'a>(raw: impl Iterator<Item = &'a [u8]>) -> Result<Vec<TransactionId>, TransactionsError> {
    raw.enumerate()
        .map(|(index, one)| TransactionId::of(one).ok_or(TransactionsError::Malformed(index)))
        .collect()
}
