//! The accounts and slots that an execution touches.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, B256};
use opp2p_core::proof::call::Access;
use revm::Inspector;
use revm::bytecode::opcode;
use revm::interpreter::Interpreter;
use revm::interpreter::interpreter_types::{InputsTr, Jumps};

/// The accounts and slots that an execution touches, in ascending order.
///
/// Parts of the execution that are reverted count as well, as in op-geth.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Touched {
    /// Accounts that are warm anyway. They are listed only if slots of theirs are touched.
    excluded: BTreeSet<Address>,
    list: BTreeMap<Address, BTreeSet<B256>>,
}

impl Touched {
    pub(crate) fn new(excluded: BTreeSet<Address>, list: &[Access]) -> Self {
        let mut touched = Self { excluded, list: BTreeMap::new() };
        for access in list {
            touched.account(access.address);
            for slot in &access.storage_keys {
                touched.slot(access.address, *slot);
            }
        }
        touched
    }

    pub(crate) fn list(&self) -> Vec<Access> {
        let each = self.list.iter();
        each.map(|(address, slots)| Access {
            address: *address,
            storage_keys: slots.iter().copied().collect(),
        })
        .collect()
    }

    fn account(&mut self, address: Address) {
        if !self.excluded.contains(&address) {
            self.list.entry(address).or_default();
        }
    }

    fn slot(&mut self, address: Address, slot: B256) {
        self.list.entry(address).or_default().insert(slot);
    }
}

impl<CTX> Inspector<CTX> for Touched {
    fn step(&mut self, interpreter: &mut Interpreter, _: &mut CTX) {
        let stack = interpreter.stack.data();
        let from_top = |index: usize| stack.len().checked_sub(index + 1).map(|at| stack[at]);
        let address = |word| Address::from_word(B256::from(word));
        match interpreter.bytecode.opcode() {
            opcode::SLOAD | opcode::SSTORE => {
                if let Some(slot) = from_top(0) {
                    self.slot(interpreter.input.target_address(), slot.into());
                }
            }
            opcode::EXTCODECOPY
            | opcode::EXTCODEHASH
            | opcode::EXTCODESIZE
            | opcode::BALANCE
            | opcode::SELFDESTRUCT => {
                if let Some(word) = from_top(0) {
                    self.account(address(word));
                }
            }
            opcode::CALL | opcode::CALLCODE | opcode::DELEGATECALL | opcode::STATICCALL
                if stack.len() >= 5 =>
            {
                if let Some(word) = from_top(1) {
                    self.account(address(word));
                }
            }
            _ => {}
        }
    }
}
