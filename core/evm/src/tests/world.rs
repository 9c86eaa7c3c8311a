//! A small world, and code to live in it.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, Bytes, U256, address, keccak256};
use opp2p_core::proof::EMPTY_CODE_HASH;
use opp2p_core::proof::call::{
    AccountFacts, BlockFacts, Call, Job, Missing, Outcome, ProvedState, Purpose, Report, Rules,
};
use revm::bytecode::opcode::{
    CALLDATACOPY, CALLDATASIZE, MSTORE, PUSH1, PUSH20, RETURN, REVERT, SLOAD, SSTORE,
};

use crate::execute;

pub(super) const ALICE: Address = address!("00000000000000000000000000000000000a11ce");
pub(super) const BOB: Address = address!("0000000000000000000000000000000000000b0b");
pub(super) const FIRST: Address = address!("00000000000000000000000000000000000c0de1");
pub(super) const SECOND: Address = address!("00000000000000000000000000000000000c0de2");
pub(super) const FEE_VAULT: Address = address!("4200000000000000000000000000000000000011");

pub(super) const BLOCK: BlockFacts = BlockFacts {
    number: 1000,
    timestamp: 1_700_000_000,
    beneficiary: FEE_VAULT,
    gas_limit: 30_000_000,
    base_fee: 7,
    mix_hash: B256::repeat_byte(0x4d),
};

#[derive(Clone, Debug, Default)]
pub(super) struct Account {
    pub(super) nonce: u64,
    pub(super) balance: U256,
    pub(super) code: Bytes,
    pub(super) slots: BTreeMap<B256, U256>,
}

/// The whole state. A job has a part of it.
#[derive(Clone, Debug, Default)]
pub(super) struct World(pub(super) BTreeMap<Address, Account>);

impl World {
    pub(super) fn new() -> Self {
        Self::default().with(ALICE, |alice| alice.balance = U256::from(1_000_000))
    }

    pub(super) fn with(mut self, address: Address, change: impl FnOnce(&mut Account)) -> Self {
        change(self.0.entry(address).or_default());
        self
    }

    pub(super) fn code(self, address: Address, code: impl Into<Bytes>) -> Self {
        self.with(address, |account| account.code = code.into())
    }

    pub(super) fn slot(self, address: Address, slot: u8, value: u64) -> Self {
        self.with(address, |account| {
            account.slots.insert(B256::with_last_byte(slot), U256::from(value));
        })
    }

    pub(super) fn facts(&self, address: Address, slots: &[B256]) -> AccountFacts {
        let account = self.0.get(&address).cloned().unwrap_or_default();
        let value = |slot: &B256| account.slots.get(slot).copied().unwrap_or_default();
        AccountFacts {
            address,
            nonce: account.nonce,
            balance: account.balance,
            code_hash: match account.code.is_empty() {
                true => EMPTY_CODE_HASH,
                false => keccak256(&account.code),
            },
            has_storage: !account.slots.is_empty(),
            slots: slots.iter().map(|slot| (*slot, value(slot))).collect(),
        }
    }

    /// Adds what is missing.
    pub(super) fn reveal(&self, state: &mut ProvedState, missing: &Missing) {
        for (address, slots) in &missing.accounts {
            state.accounts.push(self.facts(*address, slots));
        }
        for (owner, hash) in &missing.codes {
            let code = self.0[owner].code.clone();
            assert_eq!(keccak256(&code), *hash);
            state.codes.push((*hash, code));
        }
        let hashes = missing.block_hashes.iter();
        state.block_hashes.extend(hashes.map(|number| (*number, block_hash(*number))));
    }

    /// Executes a job until nothing is missing. Returns the outcome and the number of executions.
    pub(super) fn rounds(&self, mut job: Job) -> (Outcome, usize) {
        for round in 1..100 {
            match execute(&job) {
                Report::Done(outcome) => return (outcome, round),
                Report::Missing(missing) => self.reveal(&mut job.state, &missing),
            }
        }
        panic!("something is always missing");
    }

    pub(super) fn run(&self, job: Job) -> Outcome {
        self.rounds(job).0
    }

    pub(super) fn estimate(&self, job: Job) -> u64 {
        match self.run(Job { purpose: Purpose::Estimate, ..job }) {
            Outcome::Estimate(gas) => gas,
            other => panic!("{other:?}"),
        }
    }
}

pub(super) fn block_hash(number: u64) -> B256 {
    keccak256(number.to_be_bytes())
}

pub(super) fn job(rules: Rules, call: Call) -> Job {
    Job {
        purpose: Purpose::Call,
        chain_id: 10,
        rules,
        block: BLOCK,
        call,
        state: ProvedState::default(),
    }
}

pub(super) fn call(to: Address) -> Call {
    Call { from: ALICE, to: Some(to), ..Call::default() }
}

pub(super) fn with_input(to: Address, input: impl Into<Bytes>) -> Call {
    Call { input: input.into(), ..call(to) }
}

pub(super) fn word(number: u64) -> Bytes {
    U256::from(number).to_be_bytes::<32>().into()
}

/// Returns the word at the top of the stack.
pub(super) const RETURN_TOP: [u8; 8] = [PUSH1, 0, MSTORE, PUSH1, 32, PUSH1, 0, RETURN];

pub(super) fn returning(code: &[u8]) -> Vec<u8> {
    [code, &RETURN_TOP].concat()
}

pub(super) fn load(slot: u8) -> Vec<u8> {
    vec![PUSH1, slot, SLOAD]
}

pub(super) fn store(slot: u8, value: u8) -> Vec<u8> {
    vec![PUSH1, value, PUSH1, slot, SSTORE]
}

pub(super) fn push(address: Address) -> Vec<u8> {
    [&[PUSH20], address.as_slice()].concat()
}

/// Reverts with the input as the reason.
pub(super) const REVERT_INPUT: [u8; 10] =
    [CALLDATASIZE, PUSH1, 0, PUSH1, 0, CALLDATACOPY, CALLDATASIZE, PUSH1, 0, REVERT];
