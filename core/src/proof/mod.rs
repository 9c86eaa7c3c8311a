//! Proofs of what untrusted RPC servers say about the state, by a verified block.
//!
//! Gossip delivers blocks that the sequencer signed, and the hash of each is verified. So their
//! headers are known: the roots of the state, the transactions and the receipts. A server's answer
//! about such a block is proved or refused here:
//!
//! | answer | proved by | items |
//! |---|---|---|
//! | `eth_getProof` | state root | [`AccountAnswer`], [`prove_account`], [`prove_slot`] |
//! | `eth_getCode` | code hash of a proved account | [`prove_code`] |
//! | `eth_getBlockReceipts` | receipts root, transactions | [`ReceiptAnswer`], [`prove_receipts`] |
//! | L1 fees of receipts | transactions | [`L1Prices`], [`L1Fees`] |
//! | `eth_getLogs` | bloom filter of the header, then the receipts | [`LogFilter`] |
//! | transactions | transactions root | [`prove_transactions`] |
//! | older headers | parent hashes | [`prove_headers`], [`prove_raw_headers`] |
//! | withdrawals | withdrawals root (Isthmus) | [`AccountAnswer::verify_message_passer`] |
//! | calls | the proved state that they read | [`call`], which another crate executes |
//!
//! The functions are pure. An error names the false part: the node of a proof, the field of a
//! receipt, the header of a chain. [`json`] reads the answers as servers write them; the
//! verification itself knows no format.
//!
//! # Trust
//! A proof by a block shows what that block contains. The sequencer vouches for the block, and the
//! block's age is the caller's concern.
//!
//! # Bounds
//! Work and memory are proportional to the answer, and each kind of answer has a limit: [`trie`]
//! for proofs, [`MAX_CODE_SIZE`], [`MAX_RECEIPTS_SIZE`], [`MAX_TRANSACTIONS_SIZE`],
//! [`MAX_HEADERS`].
//!
//! # Example
//!
//! A wallet asks an untrusted server for a balance, and proves it by a block from gossip:
//!
//! ```
//! use alloy_primitives::{B256, U256, address, b256, hex, keccak256};
//! use opp2p_core::proof::{AccountAnswer, AccountError, BlockHeader};
//! use serde_json::json;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let alice = address!("00000000000000000000000000000000000a11ce");
//!
//! // The state has one account, so that the trie is one leaf.
//! # let fields = hex!("0788016345785d8a0000");
//! # let mut account = vec![0xf8, 0x4c];
//! # account.extend_from_slice(&fields);
//! # account.push(0xa0);
//! # account.extend_from_slice(opp2p_core::payload::trie::EMPTY_ROOT.as_slice());
//! # account.push(0xa0);
//! # account.extend_from_slice(keccak256("").as_slice());
//! # let mut leaf = vec![0xf8, 0x72, 0xa1, 0x20];
//! # leaf.extend_from_slice(keccak256(alice).as_slice());
//! # leaf.extend_from_slice(&[0xb8, 0x4e]);
//! # leaf.extend_from_slice(&account);
//! # let root = keccak256(&leaf);
//! # let leaf = hex::encode_prefixed(&leaf);
//! // From gossip: `BlockHeader::of_block(&block)`.
//! let head = BlockHeader { state_root: root, ..BlockHeader::default() };
//! // From a server: the result of `eth_getProof`.
//! let mut result = json!({
//!     "address": alice,
//!     "nonce": "0x7",
//!     "balance": "0x16345785d8a0000",
//!     "storageHash": "0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421",
//!     "codeHash": "0xc5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470",
//!     "accountProof": [leaf],
//!     "storageProof": []
//! });
//!
//! let proved = AccountAnswer::from_json(&result)?.verify(head.state_root, alice, &[])?;
//! let account = proved.account.expect("the account exists");
//! assert_eq!(account.balance, U256::from(100_000_000_000_000_000_u64));
//!
//! // The server lies about the balance.
//! result["balance"] = json!("0x16345785d8a0001");
//! let lie = AccountAnswer::from_json(&result)?.verify(head.state_root, alice, &[]);
//! assert_eq!(lie, Err(AccountError::Field("balance")));
//! # Ok(())
//! # }
//! ```

mod account;
pub mod call;
mod fast_lz;
mod fees;
mod header;
pub mod json;
mod logs;
pub mod reader;
mod receipts;
#[cfg(test)]
pub(in crate::proof) mod tests;
mod transactions;
pub mod trie;

pub use account::{
    Account, AccountAnswer, AccountError, CodeError, EMPTY_CODE_HASH, MAX_CODE_SIZE,
    MESSAGE_PASSER, ProvedAccount, SlotAnswer, SlotError, prove_account, prove_code, prove_slot,
    sent_message_slot,
};
pub use fees::{BlobPrices, FeeScalar, Footprint, L1Fees, L1Prices, OperatorFee};
pub use header::{
    BlockHeader, ChainError, HeaderError, MAX_HEADER_SIZE, MAX_HEADERS, prove_headers,
    prove_raw_headers,
};
pub use logs::{FilterBlooms, LogFilter, MAX_FILTER_ENTRIES, ProvedLog};
pub use receipts::{
    DEPOSIT, DepositFields, LogAnswer, MAX_RECEIPTS_SIZE, MAX_TOPICS, ProvedReceipt,
    ProvedReceipts, Receipt, ReceiptAnswer, ReceiptError, ReceiptsError, prove_receipts,
};
pub use transactions::{
    MAX_TRANSACTIONS_SIZE, TransactionId, TransactionsError, prove_transactions,
};
