//! A small chain with its states and receipts, and the answers of a truthful server.

use std::cell::RefCell;
use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, Bloom, Bytes, Log, U256, keccak256};
use serde_json::{Value, json};

use super::transactions::{Call, deposit, sender, transaction};
use crate::chain::BlockId;
use crate::payload::shown::{self, Transactions};
use crate::payload::{Block, Envelope, ExecutionPayload};
use crate::proof::reader::FetchFailure;
use crate::proof::reader::locate::HISTORY;
use crate::proof::tests::builder::{Trie, list, string};
use crate::proof::{Account, DepositFields, MESSAGE_PASSER, Receipt};

/// An account with a balance and a nonce that grow with each block.
pub(super) const ALICE: Address = Address::repeat_byte(0xa1);
/// A contract with code and slots.
pub(super) const TOKEN: Address = Address::repeat_byte(0x70);
/// An address without an account.
pub(super) const NEWCOMER: Address = Address::repeat_byte(0x99);
/// The token's code.
pub(super) const CODE: [u8; 5] = [0x60, 0, 0x60, 0, 0xfd];
/// The topic of the token's logs.
pub(super) const TRANSFER: B256 = B256::repeat_byte(0xdd);
/// The block with a transaction of each type.
pub(super) const FULL: u64 = 33;

/// The state after a block.
#[derive(Clone, Debug, Default)]
struct State {
    accounts: BTreeMap<Address, Account>,
    slots: BTreeMap<Address, BTreeMap<B256, U256>>,
}

fn storage(slots: Option<&BTreeMap<B256, U256>>) -> Trie {
    let mut trie = Trie::default();
    for (slot, value) in slots.into_iter().flatten() {
        trie.insert(keccak256(slot).as_slice(), alloy_rlp::encode(value));
    }
    trie
}

impl State {
    fn set(&mut self, address: Address, slot: u64, value: U256) {
        self.slots.entry(address).or_default().insert(U256::from(slot).into(), value);
        let storage_root = storage(self.slots.get(&address)).root();
        self.accounts.entry(address).or_insert(Account::ABSENT).storage_root = storage_root;
    }

    fn trie(&self) -> Trie {
        let mut trie = Trie::default();
        for (address, account) in &self.accounts {
            let value = list(&[
                alloy_rlp::encode(account.nonce),
                alloy_rlp::encode(account.balance),
                string(account.storage_root.as_slice()),
                string(account.code_hash.as_slice()),
            ]);
            trie.insert(keccak256(address).as_slice(), value);
        }
        trie
    }

    fn proof(&self, address: Address, slots: &[Value]) -> Value {
        let account = self.accounts.get(&address).copied().unwrap_or(Account::ABSENT);
        let hex = |nodes: Vec<Vec<u8>>| nodes.into_iter().map(Bytes::from).collect::<Vec<_>>();
        let trie = storage(self.slots.get(&address));
        let values = slots.iter().map(|slot| {
            let key = super::super::params::slot(slot).expect("a slot");
            let value = self.slots.get(&address).and_then(|slots| slots.get(&key));
            let proof = hex(trie.proof(keccak256(key).as_slice(), false));
            json!({ "key": slot, "value": value.copied().unwrap_or_default(), "proof": proof })
        });
        json!({
            "address": address,
            "accountProof": hex(self.trie().proof(keccak256(address).as_slice(), false)),
            "balance": account.balance,
            "codeHash": account.code_hash,
            "nonce": format!("{:#x}", account.nonce),
            "storageHash": account.storage_root,
            "storageProof": values.collect::<Vec<_>>(),
        })
    }
}

/// The chain: blocks from 0, with the state and the receipts of each.
#[derive(Debug)]
pub(super) struct World {
    pub(super) blocks: Vec<Block>,
    states: Vec<State>,
    pub(super) receipts: Vec<Vec<Value>>,
    /// Cache of proofs, by their parameters.
    proofs: RefCell<BTreeMap<String, Value>>,
}

/// A receipt without its position in the block.
fn receipts_of(number: u64, raws: &[Bytes]) -> Vec<Receipt> {
    let mut gas = 0;
    raws.iter()
        .enumerate()
        .map(|(index, raw)| {
            let kind = if raw[0] >= 0xc0 { 0 } else { raw[0] };
            gas += 21_000 + index as u64;
            let topics = vec![TRANSFER, B256::with_last_byte(index as u8)];
            // Every third block has logs.
            let log = Log::new_unchecked(TOKEN, topics, vec![number as u8; 40].into());
            let logs =
                if number.is_multiple_of(3) && index > 0 { vec![log; 2] } else { Vec::new() };
            Receipt {
                kind,
                is_success: index != 2,
                cumulative_gas_used: gas,
                logs_bloom: logs.iter().collect(),
                logs,
                deposit: (kind == 0x7e).then_some(DepositFields { nonce: number, version: 1 }),
            }
        })
        .collect()
}

/// Returns the transactions of a block.
fn raws_of(number: u64) -> Vec<Bytes> {
    let calls = (0_u8..6).map(|index| Call {
        kind: [0, 1, 2, 4, 0, 2][usize::from(index)],
        nonce: 10 * number + u64::from(index),
        to: (index < 4).then_some(TOKEN),
        chain: super::transactions::CHAIN,
    });
    let count = if number == FULL { 6 } else { 1 + number as usize % 2 };
    let skipped = if number == FULL { 0 } else { number as usize % 4 };
    let deposits = match number {
        0 => vec![],
        FULL => vec![deposit(number, Some(NEWCOMER)), deposit(number + 1000, None)],
        _ => vec![deposit(number, Some(NEWCOMER))],
    };
    let calls = calls.skip(skipped).take(count).map(|call| transaction(&call));
    deposits.into_iter().chain(calls).collect()
}

impl World {
    /// Creates the chain up to this block. From block `isthmus` on, the state holds block hashes.
    pub(super) fn new(last: u64, isthmus: u64) -> Self {
        let mut world = Self {
            blocks: Vec::new(),
            states: Vec::new(),
            receipts: Vec::new(),
            proofs: RefCell::default(),
        };
        for _ in 0..=last {
            world.grow(isthmus, 0);
        }
        world
    }

    /// Appends a block. `salt` makes it differ from the block at its height on another branch.
    pub(super) fn grow(&mut self, isthmus: u64, salt: u64) {
        let number = self.blocks.len() as u64;
        let parent_hash = self.blocks.last().map_or(B256::ZERO, Block::hash);
        let mut state = self.states.last().cloned().unwrap_or_default();
        let alice = state.accounts.entry(ALICE).or_insert(Account::ABSENT);
        alice.nonce = number;
        alice.balance = U256::from(1_000_000 + number);
        let mut token = Account { code_hash: keccak256(CODE), nonce: 1, ..Account::ABSENT };
        token.balance = U256::from(salt);
        state.accounts.entry(TOKEN).or_insert(token).balance = U256::from(salt);
        state.set(TOKEN, 3, U256::from(number + 1));
        state.set(TOKEN, 4, U256::from(1) << 200);
        state.set(MESSAGE_PASSER, 0, U256::from(7));
        let is_isthmus = number >= isthmus;
        if is_isthmus && number > 0 {
            state.set(HISTORY, (number - 1) % 8191, parent_hash.into());
        }
        let raws = raws_of(number);
        let receipts = receipts_of(number, &raws);
        let encoded: Vec<Vec<u8>> = receipts
            .iter()
            .map(|receipt| {
                let mut out = Vec::new();
                receipt.encode(&mut out);
                out
            })
            .collect();
        let mut logs_bloom = Bloom::ZERO;
        receipts.iter().for_each(|receipt| logs_bloom.accrue_bloom(&receipt.logs_bloom));
        let mut payload = ExecutionPayload {
            parent_hash,
            block_number: number,
            timestamp: 1_700_000_000 + 2 * number,
            state_root: state.trie().root(),
            receipts_root: alloy_trie::root::ordered_trie_root_with_encoder(
                &encoded,
                |bytes: &Vec<u8>, out| out.extend_from_slice(bytes),
            ),
            logs_bloom,
            gas_limit: 30_000_000,
            gas_used: receipts.last().map_or(0, |receipt| receipt.cumulative_gas_used),
            base_fee_per_gas: U256::from(1_000_000_000),
            transactions: raws,
            withdrawals: Some(Vec::new()),
            blob_gas_used: Some(0),
            excess_blob_gas: Some(0),
            withdrawals_root: is_isthmus.then(|| storage(state.slots.get(&MESSAGE_PASSER)).root()),
            ..Default::default()
        };
        let root = Some(B256::with_last_byte(number as u8));
        payload.seal(root).expect("a payload");
        let mut body = Vec::new();
        let envelope = Envelope { parent_beacon_block_root: root, payload };
        let version = envelope.encode(&mut body).expect("a payload");
        let block = Block::decode(version, None, body.into()).expect("a block");
        assert!(block.has_true_hash());
        self.receipts.push(shown_receipts(&block, &receipts));
        self.blocks.push(block);
        self.states.push(state);
    }

    /// Returns a chain that branches off after this block.
    pub(super) fn fork(&self, at: u64, isthmus: u64, last: u64) -> Self {
        let keep = at as usize + 1;
        let mut world = Self {
            blocks: self.blocks[..keep].to_vec(),
            states: self.states[..keep].to_vec(),
            receipts: self.receipts[..keep].to_vec(),
            proofs: RefCell::default(),
        };
        for _ in at..last {
            world.grow(isthmus, 5);
        }
        world
    }

    pub(super) fn id(&self, number: u64) -> BlockId {
        BlockId::of(&self.blocks[number as usize])
    }

    fn by_hash(&self, hash: &Value) -> Option<&Block> {
        self.blocks.iter().find(|block| json!(block.hash()) == *hash)
    }

    fn with_transaction(&self, hash: &Value) -> Option<(&Block, usize)> {
        self.blocks.iter().find_map(|block| {
            let mut raws = block.payload().transactions();
            raws.position(|raw| json!(keccak256(raw)) == *hash).map(|index| (block, index))
        })
    }

    /// Returns a transaction as a server shows it, which has the receipts too.
    pub(super) fn transaction(&self, block: &Block, index: usize) -> Value {
        let raw = block.payload().transaction(index).expect("it is there");
        let mut shown = shown::transaction(block, index, raw);
        let receipt = &self.receipts[block.number() as usize][index];
        if let Some(nonce) = receipt.get("depositNonce") {
            shown["nonce"] = nonce.clone();
            shown["depositReceiptVersion"] = receipt["depositReceiptVersion"].clone();
        }
        shown
    }

    /// Returns the state after a block, if the server has it.
    fn state(&self, height: u64, place: &Value) -> Result<&State, FetchFailure> {
        let block = self.by_hash(&place["blockHash"]).filter(|block| block.number() <= height);
        let block = block.ok_or_else(|| FetchFailure::Refused {
            code: -32000,
            message: "header not found".into(),
            data: Value::Null,
        })?;
        Ok(&self.states[block.number() as usize])
    }

    /// Answers truthfully about the blocks up to `height`.
    pub(super) fn answer(
        &self,
        height: u64,
        method: &str,
        params: &Value,
    ) -> Result<Value, FetchFailure> {
        let known = |hash: &Value| self.by_hash(hash).filter(|block| block.number() <= height);
        Ok(match method {
            "eth_blockNumber" => json!(format!("{height:#x}")),
            "eth_getProof" => {
                let state = self.state(height, &params[2])?;
                let mut proofs = self.proofs.borrow_mut();
                let proof = proofs.entry(params.to_string()).or_insert_with(|| {
                    let address = serde_json::from_value(params[0].clone()).expect("an address");
                    state.proof(address, params[1].as_array().expect("slots"))
                });
                proof.clone()
            }
            "eth_getCode" => {
                let hash = self.state(height, &params[1])?.accounts[&TOKEN].code_hash;
                assert_eq!((params[0].clone(), hash), (json!(TOKEN), keccak256(CODE)));
                json!(Bytes::from_static(&CODE))
            }
            "eth_getBlockByHash" => match known(&params[0]) {
                Some(block) => shown_block(block, params[1] == true),
                None => Value::Null,
            },
            "eth_getBlockReceipts" => match known(&params[0]) {
                Some(block) => self.receipts[block.number() as usize].clone().into(),
                None => Value::Null,
            },
            "eth_getTransactionByHash" => match self.with_transaction(&params[0]) {
                Some((block, index)) if block.number() <= height => self.transaction(block, index),
                _ => Value::Null,
            },
            "eth_sendRawTransaction" => {
                let raw: Bytes = serde_json::from_value(params[0].clone()).expect("bytes");
                json!(keccak256(raw))
            }
            "eth_createAccessList" => {
                self.state(height, &params[1])?;
                let slots = [B256::with_last_byte(3)];
                json!({
                    "accessList": [{ "address": TOKEN, "storageKeys": slots }],
                    "gasUsed": "0x5208",
                })
            }
            "eth_gasPrice" => json!("0x5"),
            _ => {
                let message = format!("the method {method} does not exist");
                return Err(FetchFailure::Refused { code: -32601, message, data: Value::Null });
            }
        })
    }
}

pub(super) fn shown_block(block: &Block, is_full: bool) -> Value {
    let form = if is_full { Transactions::Whole } else { Transactions::Hashes };
    serde_json::from_str(&shown::block(block, form, 1 << 24).expect("short")).expect("JSON")
}

/// Returns the receipts in a client's JSON format.
fn shown_receipts(block: &Block, receipts: &[Receipt]) -> Vec<Value> {
    let (mut gas, mut log_index) = (0, 0);
    let each = receipts.iter().zip(block.payload().transactions()).enumerate();
    each.map(|(index, (receipt, raw))| {
        let place = |own: Value| {
            let mut all = json!({
                "blockHash": block.hash(),
                "blockNumber": format!("{:#x}", block.number()),
                "transactionHash": keccak256(raw),
                "transactionIndex": format!("{index:#x}"),
            });
            let own = own.as_object().expect("an object").clone();
            all.as_object_mut().expect("an object").extend(own);
            all
        };
        let logs = receipt.logs.iter().map(|log| {
            log_index += 1;
            place(json!({
                "address": log.address,
                "topics": log.topics(),
                "data": log.data.data,
                "blockTimestamp": format!("{:#x}", block.timestamp()),
                "logIndex": format!("{:#x}", log_index - 1),
                "removed": false,
            }))
        });
        let logs: Vec<Value> = logs.collect();
        let transaction = shown::transaction(block, index, raw);
        let nonce = receipt.deposit.map_or_else(
            || super::super::params::number(&transaction["nonce"]).expect("a nonce"),
            |deposit| deposit.nonce,
        );
        let from =
            if receipt.kind == 0x7e { Address::repeat_byte(0xde) } else { sender().address() };
        let created = transaction["to"].is_null().then(|| from.create(nonce));
        let price = match receipt.kind {
            0x7e => 0_u64,
            2 | 4 => 1_000_002_000,
            _ => 3_000_000_000,
        };
        let gas_used = receipt.cumulative_gas_used - gas;
        gas = receipt.cumulative_gas_used;
        let mut all = place(json!({
            "type": format!("{:#x}", receipt.kind),
            "status": if receipt.is_success { "0x1" } else { "0x0" },
            "cumulativeGasUsed": format!("{:#x}", receipt.cumulative_gas_used),
            "gasUsed": format!("{gas_used:#x}"),
            "logsBloom": receipt.logs_bloom,
            "logs": logs,
            "from": from,
            "to": if created.is_some() { Value::Null } else { transaction["to"].clone() },
            "contractAddress": created,
            "effectiveGasPrice": format!("{price:#x}"),
        }));
        if let Some(deposit) = receipt.deposit {
            all["depositNonce"] = json!(format!("{:#x}", deposit.nonce));
            all["depositReceiptVersion"] = json!("0x1");
        }
        all
    })
    .collect()
}
