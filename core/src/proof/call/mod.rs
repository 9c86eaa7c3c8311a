//! Calls to be executed over proved state, as plain data.
//!
//! The core contains no EVM. A [`Job`] is a call together with all that its execution may read: the
//! rules of the chain, the fields of the block, and the part of the state that is proved so far. An
//! executor (the crate `opp2p-evm`) runs it and returns a [`Report`]: the outcome, or the names of
//! the parts of the state that are missing.
//!
//! All types can be written as JSON, because the page's executor is a WebAssembly module of its
//! own.

mod rules;

use alloy_primitives::{Address, B256, Bytes, U256};
use serde::{Deserialize, Serialize};

pub use rules::{RuleSchedule, Rules};

/// Maximum gas of one execution: op-geth's default for calls over RPC (`--rpc.gascap`).
pub const MAX_CALL_GAS: u64 = 50_000_000;

/// The question about a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// What it returns: `eth_call`.
    Call,
    /// The gas that it needs: `eth_estimateGas`.
    Estimate,
    /// The accounts and slots that it touches: `eth_createAccessList`.
    AccessList,
}

/// The price that a call offers for gas, in wei.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fees {
    /// No price, so that the execution is free.
    #[default]
    Free,
    /// A fixed price: `gasPrice`.
    Price(U256),
    /// `maxFeePerGas` and `maxPriorityFeePerGas`.
    Caps {
        /// Maximum price.
        max: U256,
        /// Maximum part of the price above the base fee.
        priority: U256,
    },
}

/// An account with slots in an access list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Access {
    /// Address of the account.
    pub address: Address,
    /// Its slots.
    pub storage_keys: Vec<B256>,
}

/// A signed permission to set an account's code (EIP-7702).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authorization {
    /// The chain's id, or zero for every chain.
    pub chain_id: U256,
    /// The contract whose code the account takes.
    pub address: Address,
    /// Nonce of the account that signed.
    pub nonce: u64,
    /// Parity of the signature: 0 or 1.
    pub y_parity: u8,
    /// The signature's `r`.
    pub r: U256,
    /// The signature's `s`.
    pub s: U256,
}

/// A call as a caller describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The account that calls. The zero address by default.
    pub from: Address,
    /// The account that is called. `None` creates a contract.
    pub to: Option<Address>,
    /// Maximum gas. By default, and at most, [`MAX_CALL_GAS`].
    pub gas: Option<u64>,
    /// The price of gas.
    pub fees: Fees,
    /// Amount of wei that is transferred.
    pub value: U256,
    /// The input, or a contract's initialization code.
    pub input: Bytes,
    /// Accounts and slots that are warm from the start.
    pub access_list: Vec<Access>,
    /// Accounts whose code is set first. An empty list is not the same as none: it is refused.
    pub authorizations: Option<Vec<Authorization>>,
}

/// The fields of a block that an execution may read. All are covered by the block's hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockFacts {
    /// The block's number.
    pub number: u64,
    /// Timestamp in Unix seconds.
    pub timestamp: u64,
    /// Receiver of the priority fees.
    pub beneficiary: Address,
    /// Maximum gas of the block.
    pub gas_limit: u64,
    /// Base fee per gas in wei.
    pub base_fee: u64,
    /// Randomness of the L1 origin.
    pub mix_hash: B256,
}

/// An account with the slots that are proved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountFacts {
    /// Address of the account.
    pub address: Address,
    /// Number of transactions sent, or of contracts created.
    pub nonce: u64,
    /// Balance in wei.
    pub balance: U256,
    /// Hash of the account's code.
    pub code_hash: B256,
    /// `false` if all slots are zero, because the storage root is that of an empty trie.
    pub has_storage: bool,
    /// Slots and their values.
    pub slots: Vec<(B256, U256)>,
}

/// The proved part of the state. An account may occur more than once, with other slots each time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvedState {
    /// The accounts.
    pub accounts: Vec<AccountFacts>,
    /// Codes by their hashes.
    pub codes: Vec<(B256, Bytes)>,
    /// Hashes of earlier blocks by their numbers.
    pub block_hashes: Vec<(u64, B256)>,
}

/// A call with all that its execution may read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The question.
    pub purpose: Purpose,
    /// The chain's id.
    pub chain_id: u64,
    /// The rules of the chain in the block.
    pub rules: Rules,
    /// The block. The execution sees the state after it.
    pub block: BlockFacts,
    /// The call.
    pub call: Call,
    /// The state.
    pub state: ProvedState,
}

/// The parts of the state that an execution needs and that the job lacks.
///
/// The first account, code or hash is needed for certain. The others were met afterwards, where the
/// missing part was taken as empty: most are needed as well.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// Accounts with slots. The slots may be those of an account that the job has.
    pub accounts: Vec<(Address, Vec<B256>)>,
    /// Codes: an account that has the code, and the code's hash.
    pub codes: Vec<(Address, B256)>,
    /// Numbers of blocks whose hashes are needed.
    pub block_hashes: Vec<u64>,
}

/// The result of a job whose state was complete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Of [`Purpose::Call`]: the bytes that the call returned.
    Returned(Bytes),
    /// Of [`Purpose::Estimate`]: the gas that the call needs.
    Estimate(u64),
    /// Of [`Purpose::AccessList`].
    AccessList {
        /// The accounts and slots that the call touches.
        list: Vec<Access>,
        /// Gas that the call uses with this access list.
        gas_used: u64,
        /// The reason why the call fails, if it does.
        error: Option<String>,
    },
    /// The call was reverted by a contract.
    Reverted {
        /// One sentence, with the contract's reason if it gives one.
        message: String,
        /// The bytes that the contract gives as the reason.
        output: Bytes,
    },
    /// The execution ended with another error, or was refused before its start: one sentence.
    Failed(String),
}

/// The result of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// The outcome. Every part of the state that it depends on is in the job.
    Done(Outcome),
    /// Parts of the state are missing. The job is to be repeated with them.
    Missing(Missing),
}
