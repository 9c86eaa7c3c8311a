//! The proved state as the EVM's database, and the record of what it lacks.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use alloy_primitives::{Address, B256, U256};
use opp2p_core::proof::EMPTY_CODE_HASH;
use opp2p_core::proof::call::{Missing, ProvedState};
use revm::Database;
use revm::bytecode::Bytecode;
use revm::state::AccountInfo;

/// Maximum number of missing parts that one report names.
const MAX_MISSING: usize = 256;

#[derive(Debug)]
struct KnownAccount {
    info: AccountInfo,
    has_storage: bool,
    slots: BTreeMap<U256, U256>,
}

impl KnownAccount {
    /// Returns `true` if the state trie lacks the account.
    fn is_absent(&self) -> bool {
        self.info.is_empty() && !self.has_storage
    }
}

/// The proved state.
///
/// A missing part is recorded and read as empty, so that one execution finds several of them. The
/// result of such an execution is worthless.
///
/// # Bounds
/// At most [`MAX_MISSING`] missing parts are recorded.
#[derive(Debug)]
pub(crate) struct State {
    accounts: BTreeMap<Address, KnownAccount>,
    codes: BTreeMap<B256, Bytecode>,
    block_hashes: BTreeMap<u64, B256>,
    /// An account for each code that is not known.
    owners: BTreeMap<B256, Address>,
    missing: Missing,
    /// The recorded parts, so that none is recorded twice.
    recorded: BTreeSet<Part>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Account(Address),
    Slot(Address, U256),
    Code(B256),
    BlockHash(u64),
}

impl State {
    pub(crate) fn new(proved: &ProvedState) -> Self {
        let codes = proved.codes.iter().map(|(hash, code)| (*hash, bytecode(code)));
        let mut state = Self {
            accounts: BTreeMap::new(),
            codes: codes.collect(),
            block_hashes: proved.block_hashes.iter().copied().collect(),
            owners: BTreeMap::new(),
            missing: Missing::default(),
            recorded: BTreeSet::new(),
        };
        for facts in &proved.accounts {
            let known = state.accounts.entry(facts.address).or_insert_with(|| KnownAccount {
                info: AccountInfo {
                    balance: facts.balance,
                    nonce: facts.nonce,
                    code_hash: facts.code_hash,
                    account_id: None,
                    code: None,
                },
                has_storage: facts.has_storage,
                slots: BTreeMap::new(),
            });
            let slots =
                facts.slots.iter().map(|(slot, value)| (U256::from_be_bytes(slot.0), *value));
            known.slots.extend(slots);
        }
        state
    }

    /// Returns the missing parts found so far, or `None` if nothing is missing.
    pub(crate) fn missing(&self) -> Option<Missing> {
        (!self.recorded.is_empty()).then(|| self.missing.clone())
    }

    /// Returns an account's balance.
    pub(crate) fn balance(&mut self, address: Address) -> U256 {
        self.account(address).map_or(U256::ZERO, |known| known.info.balance)
    }

    /// Returns an account's nonce.
    pub(crate) fn nonce(&mut self, address: Address) -> u64 {
        self.account(address).map_or(0, |known| known.info.nonce)
    }

    /// Returns `true` if an account has code.
    pub(crate) fn has_code(&mut self, address: Address) -> bool {
        self.account(address).is_some_and(|known| known.info.code_hash != EMPTY_CODE_HASH)
    }

    /// Records a part. Returns `false` if it is recorded already, or if there is no room.
    fn record(&mut self, part: Part) -> bool {
        self.recorded.len() < MAX_MISSING && self.recorded.insert(part)
    }

    fn account(&mut self, address: Address) -> Option<&KnownAccount> {
        if !self.accounts.contains_key(&address) && self.record(Part::Account(address)) {
            self.missing.accounts.push((address, Vec::new()));
        }
        self.accounts.get(&address)
    }
}

fn bytecode(code: &alloy_primitives::Bytes) -> Bytecode {
    // Code with the prefix of a delegation and another form runs: it fails at once.
    Bytecode::new_raw_checked(code.clone()).unwrap_or_else(|_| Bytecode::new_legacy(code.clone()))
}

impl Database for State {
    type Error = Infallible;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, Infallible> {
        let Some(known) = self.account(address).filter(|known| !known.is_absent()) else {
            return Ok(None);
        };
        let mut info = known.info.clone();
        info.code = if info.code_hash == EMPTY_CODE_HASH {
            Some(Bytecode::new())
        } else {
            self.codes.get(&info.code_hash).cloned()
        };
        if info.code.is_none() {
            self.owners.insert(info.code_hash, address);
        }
        Ok(Some(info))
    }

    fn code_by_hash(&mut self, hash: B256) -> Result<Bytecode, Infallible> {
        if let Some(code) = self.codes.get(&hash) {
            return Ok(code.clone());
        }
        let owner = self.owners.get(&hash).copied();
        if let Some(owner) = owner.filter(|_| self.record(Part::Code(hash))) {
            self.missing.codes.push((owner, hash));
        }
        Ok(Bytecode::new())
    }

    fn storage(&mut self, address: Address, slot: U256) -> Result<U256, Infallible> {
        let known = self.account(address);
        let value = known.and_then(|known| match known.has_storage {
            true => known.slots.get(&slot).copied(),
            false => Some(U256::ZERO),
        });
        if value.is_none() && self.record(Part::Slot(address, slot)) {
            let accounts = &mut self.missing.accounts;
            match accounts.iter_mut().find(|(account, _)| *account == address) {
                Some((_, slots)) => slots.push(slot.into()),
                None => accounts.push((address, vec![slot.into()])),
            }
        }
        Ok(value.unwrap_or_default())
    }

    fn block_hash(&mut self, number: u64) -> Result<B256, Infallible> {
        let hash = self.block_hashes.get(&number).copied();
        if hash.is_none() && self.record(Part::BlockHash(number)) {
            self.missing.block_hashes.push(number);
        }
        Ok(hash.unwrap_or_default())
    }
}
