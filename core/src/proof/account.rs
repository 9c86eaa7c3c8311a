//! Accounts and storage: the answers to `eth_getProof`, and code.

use alloy_primitives::{Address, B256, Bytes, U256, address, b256, keccak256};
use alloy_rlp::Decodable;

use super::header::BlockHeader;
use super::trie::{self, TrieError};
use crate::payload::trie::EMPTY_ROOT;

/// Hash of empty code: `keccak256("")`.
pub const EMPTY_CODE_HASH: B256 =
    b256!("c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470");

/// The contract whose storage holds all withdrawals. From Isthmus on, the header contains its
/// storage root.
pub const MESSAGE_PASSER: Address = address!("4200000000000000000000000000000000000016");

/// Maximum size of code in bytes. Ethereum's limit is 24,576 bytes (EIP-170), and chains may raise
/// it.
pub const MAX_CODE_SIZE: usize = 1 << 18;

/// An account in the state trie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// Number of transactions sent, or of contracts created.
    pub nonce: u64,
    /// Balance in wei.
    pub balance: U256,
    /// Root of the account's storage trie.
    pub storage_root: B256,
    /// Hash of the account's code.
    pub code_hash: B256,
}

impl Account {
    /// An account that is absent from the state.
    pub const ABSENT: Self = Self {
        nonce: 0,
        balance: U256::ZERO,
        storage_root: EMPTY_ROOT,
        code_hash: EMPTY_CODE_HASH,
    };

    fn read(mut bytes: &[u8]) -> alloy_rlp::Result<Self> {
        let mut list = alloy_rlp::Header::decode_bytes(&mut bytes, true)?;
        let fields = &mut list;
        let account = Self {
            nonce: u64::decode(fields)?,
            balance: U256::decode(fields)?,
            storage_root: B256::decode(fields)?,
            code_hash: B256::decode(fields)?,
        };
        if !list.is_empty() || !bytes.is_empty() {
            return Err(alloy_rlp::Error::UnexpectedLength);
        }
        Ok(account)
    }
}

/// The false part of an answer about an account.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// The answer is about another address.
    #[error("the answer is about the account {0}")]
    Address(Address),
    /// A node of the account's proof is false.
    #[error("account proof: {0}")]
    Proof(TrieError),
    /// The proof is right, but the trie's value is not an account.
    #[error("the proved value is not an account: {0}")]
    Value(alloy_rlp::Error),
    /// A field, by its name in JSON, differs from the proved account.
    #[error("the account's {0} differs from the proved one")]
    Field(&'static str),
    /// The answer has another number of slots than the question.
    #[error("the answer has {given} slots instead of {asked}")]
    SlotCount {
        /// Number of slots in the question.
        asked: usize,
        /// Number of slots in the answer.
        given: usize,
    },
    /// A slot's part of the answer is false.
    #[error("slot {index}: {error}")]
    Slot {
        /// Index of the slot in the answer.
        index: usize,
        /// The false part.
        error: SlotError,
    },
    /// The header contains no storage root of the message passer: the block is older than Isthmus.
    #[error("the header has no storage root of the message passer: it is older than Isthmus")]
    BeforeIsthmus,
}

/// The false part of an answer about a slot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SlotError {
    /// The answer is about another slot.
    #[error("the answer is about the slot {0}")]
    Key(B256),
    /// A node of the slot's proof is false.
    #[error("storage proof: {0}")]
    Proof(#[from] TrieError),
    /// The proof is right, but the trie's value is not a nonzero integer.
    #[error("the proved value is not a nonzero integer")]
    Malformed,
    /// The value differs from the proved one.
    #[error("the value is {given} instead of {proved}")]
    Value {
        /// Value in the answer.
        given: U256,
        /// Value that the proof shows.
        proved: U256,
    },
}

/// Returns the account at this address, or `None` if the proof shows that it is absent.
///
/// # Errors
/// The false part of the proof.
pub fn prove_account(
    state_root: B256,
    address: Address,
    nodes: &[impl AsRef<[u8]>],
) -> Result<Option<Account>, AccountError> {
    let key = keccak256(address);
    let value = trie::prove(state_root, key.as_slice(), nodes).map_err(AccountError::Proof)?;
    value.map(Account::read).transpose().map_err(AccountError::Value)
}

/// Returns the value of a slot. It is zero if the proof shows that the slot is absent.
///
/// # Errors
/// The false part of the proof.
pub fn prove_slot(
    storage_root: B256,
    slot: B256,
    nodes: &[impl AsRef<[u8]>],
) -> Result<U256, SlotError> {
    let key = keccak256(slot);
    let Some(bytes) = trie::prove(storage_root, key.as_slice(), nodes)? else {
        return Ok(U256::ZERO);
    };
    match alloy_rlp::decode_exact(bytes) {
        Ok(value) if value != U256::ZERO => Ok(value),
        _ => Err(SlotError::Malformed),
    }
}

/// The false part of an answer to `eth_getCode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// The code has more than [`MAX_CODE_SIZE`] bytes.
    #[error("the code has {0} bytes, and at most {MAX_CODE_SIZE} are accepted")]
    TooLarge(usize),
    /// The code has another hash than the account's.
    #[error("the code has the hash {computed} instead of {expected}")]
    Hash {
        /// Code hash of the proved account.
        expected: B256,
        /// Hash of the given code.
        computed: B256,
    },
}

/// Checks that `code` has the code hash of a proved account.
///
/// # Errors
/// If the hash differs, or if the code is too large to be hashed.
pub fn prove_code(code_hash: B256, code: &[u8]) -> Result<(), CodeError> {
    if code.len() > MAX_CODE_SIZE {
        return Err(CodeError::TooLarge(code.len()));
    }
    let computed = keccak256(code);
    if computed == code_hash {
        Ok(())
    } else {
        Err(CodeError::Hash { expected: code_hash, computed })
    }
}

/// An answer to `eth_getProof`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountAnswer {
    /// Address of the account.
    pub address: Address,
    /// Nonce of the account.
    pub nonce: u64,
    /// Balance in wei.
    pub balance: U256,
    /// Storage root. Servers answer zero or the empty root for an absent account.
    pub storage_hash: B256,
    /// Code hash. Servers answer zero or the hash of empty code for an absent account.
    pub code_hash: B256,
    /// Nodes from the state root to the account.
    pub account_proof: Vec<Bytes>,
    /// The slots, in the order of the question.
    pub storage_proof: Vec<SlotAnswer>,
}

/// A slot in an answer to `eth_getProof`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotAnswer {
    /// The slot.
    pub key: B256,
    /// Its value.
    pub value: U256,
    /// Nodes from the storage root to the slot.
    pub proof: Vec<Bytes>,
}

/// What a true answer to `eth_getProof` shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvedAccount {
    /// The account, or `None` if it is absent from the state.
    pub account: Option<Account>,
    /// The values of the slots, in the order of the question.
    pub values: Vec<U256>,
}

impl AccountAnswer {
    /// Verifies every field of the answer to the question about `address` and `slots`.
    ///
    /// # Errors
    /// The false part.
    pub fn verify(
        &self,
        state_root: B256,
        address: Address,
        slots: &[B256],
    ) -> Result<ProvedAccount, AccountError> {
        if self.address != address {
            return Err(AccountError::Address(self.address));
        }
        let account = prove_account(state_root, address, &self.account_proof)?;
        self.verify_fields(account)?;
        let storage_root = account.unwrap_or(Account::ABSENT).storage_root;
        Ok(ProvedAccount { account, values: self.verify_slots(storage_root, slots)? })
    }

    /// Verifies the slots of an answer about the [message passer](MESSAGE_PASSER) by the
    /// withdrawals root of a header from Isthmus on. Returns their values.
    ///
    /// The account's proof is not needed, and not read: the nonce, balance and code hash of the
    /// answer are not verified.
    ///
    /// # Errors
    /// The false part, or [`AccountError::BeforeIsthmus`].
    pub fn verify_message_passer(
        &self,
        header: &BlockHeader,
        slots: &[B256],
    ) -> Result<Vec<U256>, AccountError> {
        let storage_root = header.message_passer_root().ok_or(AccountError::BeforeIsthmus)?;
        if self.address != MESSAGE_PASSER {
            return Err(AccountError::Address(self.address));
        }
        if self.storage_hash != storage_root {
            return Err(AccountError::Field("storageHash"));
        }
        self.verify_slots(storage_root, slots)
    }

    fn verify_fields(&self, account: Option<Account>) -> Result<(), AccountError> {
        let or_zero = |claim: B256| account.is_none() && claim == B256::ZERO;
        let proved = account.unwrap_or(Account::ABSENT);
        let is_storage = self.storage_hash == proved.storage_root || or_zero(self.storage_hash);
        let is_code = self.code_hash == proved.code_hash || or_zero(self.code_hash);
        let checks = [
            (self.nonce == proved.nonce, "nonce"),
            (self.balance == proved.balance, "balance"),
            (is_storage, "storageHash"),
            (is_code, "codeHash"),
        ];
        match checks.into_iter().find(|(is_true, _)| !is_true) {
            Some((_, field)) => Err(AccountError::Field(field)),
            None => Ok(()),
        }
    }

    fn verify_slots(&self, storage_root: B256, slots: &[B256]) -> Result<Vec<U256>, AccountError> {
        let given = self.storage_proof.len();
        if given != slots.len() {
            return Err(AccountError::SlotCount { asked: slots.len(), given });
        }
        let answers = self.storage_proof.iter().zip(slots).enumerate();
        answers
            .map(|(index, (answer, slot))| {
                answer
                    .verify(storage_root, *slot)
                    .map_err(|error| AccountError::Slot { index, error })
            })
            .collect()
    }
}

impl SlotAnswer {
    /// Verifies the answer to the question about `slot`, and returns the slot's value.
    ///
    /// # Errors
    /// The false part.
    pub fn verify(&self, storage_root: B256, slot: B256) -> Result<U256, SlotError> {
        if self.key != slot {
            return Err(SlotError::Key(self.key));
        }
        let proved = prove_slot(storage_root, slot, &self.proof)?;
        if self.value == proved {
            Ok(proved)
        } else {
            Err(SlotError::Value { given: self.value, proved })
        }
    }
}

/// Returns the slot of the [message passer](MESSAGE_PASSER) that is 1 if the withdrawal with this
/// hash was sent: an entry of the contract's first mapping, `sentMessages`.
pub fn sent_message_slot(withdrawal_hash: B256) -> B256 {
    keccak256([withdrawal_hash, B256::ZERO].concat())
}
