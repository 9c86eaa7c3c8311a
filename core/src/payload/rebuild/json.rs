//! Blocks in JSON, as `eth_getBlockByNumber` returns them with full transactions.

use super::{RebuildError, Since};
use crate::payload::{Envelope, ExecutionPayload};
use alloy_primitives::{Address, B256, Bloom, Bytes, U64, U256};
use alloy_rlp::{Encodable, Header};
use serde::Deserialize;
use serde_json::Value;

const LEGACY: u64 = 0;
const ACCESS_LIST: u64 = 1;
const DYNAMIC_FEE: u64 = 2;
const SET_CODE: u64 = 4;
const POST_EXECUTION: u64 = 0x7d;
const DEPOSIT: u64 = 0x7e;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonBlock {
    hash: B256,
    parent_hash: B256,
    miner: Address,
    state_root: B256,
    receipts_root: B256,
    logs_bloom: Bloom,
    mix_hash: B256,
    number: U64,
    gas_limit: U64,
    gas_used: U64,
    timestamp: U64,
    extra_data: Bytes,
    base_fee_per_gas: U256,
    withdrawals_root: Option<B256>,
    blob_gas_used: Option<U64>,
    excess_blob_gas: Option<U64>,
    parent_beacon_block_root: Option<B256>,
    requests_hash: Option<B256>,
    transactions: Vec<Transaction>,
}

/// The fields of a transaction of any type. The type determines the required fields.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Transaction {
    #[serde(rename = "type", default)]
    kind: U64,
    chain_id: Option<U64>,
    nonce: Option<U64>,
    gas: Option<U64>,
    gas_price: Option<U256>,
    max_priority_fee_per_gas: Option<U256>,
    max_fee_per_gas: Option<U256>,
    from: Option<Address>,
    to: Option<Address>,
    value: Option<U256>,
    input: Bytes,
    access_list: Option<Vec<Access>>,
    authorization_list: Option<Vec<Authorization>>,
    v: Option<U256>,
    y_parity: Option<U256>,
    r: Option<U256>,
    s: Option<U256>,
    source_hash: Option<B256>,
    mint: Option<U256>,
    is_system_tx: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Access {
    address: Address,
    storage_keys: Vec<B256>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Authorization {
    chain_id: U256,
    address: Address,
    nonce: U64,
    y_parity: U64,
    r: U256,
    s: U256,
}

pub(super) fn envelope(value: &Value) -> Result<Envelope, RebuildError> {
    let block =
        JsonBlock::deserialize(value).map_err(|error| RebuildError::Json(error.to_string()))?;
    let transactions = block.transactions.iter().map(Transaction::raw).collect::<Result<_, _>>()?;
    let since = Since {
        withdrawals_root: block.withdrawals_root,
        blob_gas_used: block.blob_gas_used.map(|used| used.to()),
        excess_blob_gas: block.excess_blob_gas.map(|excess| excess.to()),
        parent_beacon_block_root: block.parent_beacon_block_root,
        requests_hash: block.requests_hash,
    };
    Ok(since.envelope(ExecutionPayload {
        parent_hash: block.parent_hash,
        fee_recipient: block.miner,
        state_root: block.state_root,
        receipts_root: block.receipts_root,
        logs_bloom: block.logs_bloom,
        prev_randao: block.mix_hash,
        block_number: block.number.to(),
        gas_limit: block.gas_limit.to(),
        gas_used: block.gas_used.to(),
        timestamp: block.timestamp.to(),
        extra_data: block.extra_data,
        base_fee_per_gas: block.base_fee_per_gas,
        block_hash: block.hash,
        transactions,
        ..ExecutionPayload::default()
    }))
}

/// The encoded items of an RLP list.
#[derive(Default)]
struct List(Vec<u8>);

impl List {
    fn put(&mut self, item: &impl Encodable) -> &mut Self {
        item.encode(&mut self.0);
        self
    }

    /// Appends an address, or an empty string for `None`.
    fn put_address(&mut self, address: Option<Address>) -> &mut Self {
        match address {
            Some(address) => self.put(&address),
            None => self.put(&Bytes::new()),
        }
    }

    fn put_list(&mut self, list: &Self) -> &mut Self {
        list.write(&mut self.0);
        self
    }

    fn write(&self, out: &mut Vec<u8>) {
        Header { list: true, payload_length: self.0.len() }.encode(out);
        out.extend_from_slice(&self.0);
    }
}

/// Returns a required field of the transaction's type.
///
/// # Errors
/// If the field is missing.
fn need<T>(part: Option<T>, name: &str) -> Result<T, RebuildError> {
    part.ok_or_else(|| RebuildError::Json(format!("a transaction lacks {name}")))
}

impl Transaction {
    /// Returns the transaction's encoding (EIP-2718).
    fn raw(&self) -> Result<Bytes, RebuildError> {
        let kind = self.kind.to::<u64>();
        let mut list = List::default();
        match kind {
            LEGACY => {
                list.put(&need(self.nonce, "nonce")?)
                    .put(&need(self.gas_price, "gasPrice")?)
                    .put(&need(self.gas, "gas")?)
                    .put_address(self.to)
                    .put(&need(self.value, "value")?)
                    .put(&self.input)
                    .put(&need(self.v, "v")?);
                self.put_rs(&mut list)?;
            }
            ACCESS_LIST => {
                list.put(&need(self.chain_id, "chainId")?)
                    .put(&need(self.nonce, "nonce")?)
                    .put(&need(self.gas_price, "gasPrice")?);
                self.put_call(&mut list)?;
                self.put_signature(&mut list)?;
            }
            DYNAMIC_FEE | SET_CODE => {
                list.put(&need(self.chain_id, "chainId")?)
                    .put(&need(self.nonce, "nonce")?)
                    .put(&need(self.max_priority_fee_per_gas, "maxPriorityFeePerGas")?)
                    .put(&need(self.max_fee_per_gas, "maxFeePerGas")?);
                self.put_call(&mut list)?;
                if kind == SET_CODE {
                    list.put_list(&self.authorizations()?);
                }
                self.put_signature(&mut list)?;
            }
            DEPOSIT => {
                list.put(&need(self.source_hash, "sourceHash")?)
                    .put(&need(self.from, "from")?)
                    .put_address(self.to)
                    .put(&self.mint.unwrap_or_default())
                    .put(&need(self.value, "value")?)
                    .put(&need(self.gas, "gas")?)
                    .put(&self.is_system_tx.unwrap_or_default())
                    .put(&self.input);
            }
            POST_EXECUTION => {
                return Ok([&[POST_EXECUTION as u8][..], &self.input].concat().into());
            }
            other => return Err(RebuildError::TransactionType(other)),
        }
        let mut raw = Vec::with_capacity(list.0.len() + 5);
        if kind != LEGACY {
            // All types handled above fit in a byte.
            raw.push(kind as u8);
        }
        list.write(&mut raw);
        Ok(raw.into())
    }

    /// Appends the fields that all types between legacy and deposit share: the call and its access
    /// list.
    fn put_call(&self, list: &mut List) -> Result<(), RebuildError> {
        let mut accesses = List::default();
        for access in self.access_list.iter().flatten() {
            let (mut entry, mut keys) = (List::default(), List::default());
            for key in &access.storage_keys {
                keys.put(key);
            }
            entry.put(&access.address).put_list(&keys);
            accesses.put_list(&entry);
        }
        list.put(&need(self.gas, "gas")?)
            .put_address(self.to)
            .put(&need(self.value, "value")?)
            .put(&self.input)
            .put_list(&accesses);
        Ok(())
    }

    fn authorizations(&self) -> Result<List, RebuildError> {
        let mut all = List::default();
        for one in need(self.authorization_list.as_ref(), "authorizationList")? {
            let mut entry = List::default();
            entry.put(&one.chain_id).put(&one.address).put(&one.nonce);
            entry.put(&one.y_parity).put(&one.r).put(&one.s);
            all.put_list(&entry);
        }
        Ok(all)
    }

    fn put_signature(&self, list: &mut List) -> Result<(), RebuildError> {
        list.put(&need(self.y_parity.or(self.v), "yParity")?);
        self.put_rs(list)
    }

    fn put_rs(&self, list: &mut List) -> Result<(), RebuildError> {
        list.put(&need(self.r, "r")?).put(&need(self.s, "s")?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::{b256, hex, keccak256};
    use serde_json::json;

    fn raw(value: &Value) -> Bytes {
        Transaction::deserialize(value).expect("a transaction").raw().expect("known")
    }

    #[test]
    fn a_base_time_deposit_has_the_hash_of_its_chain() {
        // Base's block 53556128, the second block with 200 ms.
        let input = [&hex!("86bdf394")[..], &[0; 30], &[0, 200]].concat();
        let found = raw(&json!({
            "type": "0x7e", "from": "0xdeaddeaddeaddeaddeaddeaddeaddeaddead0001",
            "to": "0x4200000000000000000000000000000000000030", "value": "0x0", "gas": "0xf4240",
            "sourceHash": "0xfcdd244deecb482cd1d3ffbf23efc224600f3cf97156779dce3e5cb32f27d930",
            "input": Bytes::from(input), "mint": null, "nonce": "0x5",
            "isSystemTx": false,
        }));
        assert_eq!(found.len(), 122);
        assert_eq!(
            keccak256(&found),
            b256!("307d72aaea9895b2516bea6bff3a96dfe1e579e38670dd4ccf55a25ba6fe158a")
        );
    }

    #[test]
    fn a_post_execution_transaction_is_its_type_followed_by_its_input() {
        let found = raw(&json!({"type": "0x7d", "input": "0xc80164c5c4018201f4"}));
        assert_eq!(found[..], hex!("7dc80164c5c4018201f4"));
        assert_eq!(
            keccak256(&found),
            b256!("5fee0c256c7ec28b5416a65289f0d1c4fb95d52d4a37a61ebbc2aa4b49f56772")
        );
    }

    #[test]
    fn an_unknown_transaction_type_is_refused() {
        let found: Transaction =
            serde_json::from_value(json!({"type": "0x79", "input": "0x"})).expect("parts");
        assert_eq!(found.raw(), Err(RebuildError::TransactionType(0x79)));
    }

    #[test]
    fn a_missing_part_is_named() {
        let found: Transaction =
            serde_json::from_value(json!({"type": "0x2", "input": "0x"})).expect("parts");
        assert_eq!(
            found.raw().map_err(|error| error.to_string()),
            Err("the JSON is not a block: a transaction lacks chainId".into())
        );
        assert!(matches!(envelope(&json!({"hash": 7})), Err(RebuildError::Json(_))));
    }
}
