//! Blocks and transactions as the execution API writes them.
//!
//! A block's header has every field that its hash is made of, by fork: up to `baseFeePerGas` always, `withdrawalsRoot`
//! since Canyon, `blobGasUsed`, `excessBlobGas` and `parentBeaconBlockRoot` since Ecotone, `requestsHash` since Isthmus.
//! What is not in a payload is what every L2 header has there: no uncles, difficulty and nonce zero, no requests. The
//! transactions root is computed, as validation did.
//!
//! A transaction is written as op-geth writes it where it has no receipts. `from` is recovered from the signature; a
//! deposit names it, and has `sourceHash`, `mint` (`0x0` if nothing is minted), `isSystemTx` if it is one, a signature of
//! zeros, gas price and nonce zero: the nonce that it really had stands in its receipt, and so does
//! `depositReceiptVersion`, which is left out.
//!
//! # A transaction that can't be read
//! Gossip does not look into transactions, so that one may be of a type that this program does not know, be malformed, or
//! have no sender: no key made its signature. The block is answered all the same, and that one is an object with `hash`, which is
//! keccak256 of its bytes, `type` if its first byte is one, `input`, which is all of its bytes, `blockHash`, `blockNumber`
//! and `transactionIndex`, and nothing else: there is nothing else to say that would not be made up.
//!
//! # Bounds
//! Transactions are read one after the other while the answer is written, and [`bounded`] ends that as soon as the answer
//! is too long to be sent.

use crate::rpc::MAX_ANSWER;
use crate::rpc::params::failed;
use alloy_consensus::Transaction as _;
use alloy_consensus::crypto::SECP256K1N_HALF;
use alloy_consensus::transaction::Recovered;
use alloy_eips::eip2718::Decodable2718;
use alloy_primitives::{Address, B64, B256, Bloom, Bytes, U64, U256, keccak256};
use jsonrpsee::types::ErrorObjectOwned;
use op_alloy_consensus::OpTxEnvelope;
use opp2p_core::gossip::recover;
use opp2p_core::payload::{
    Block, EMPTY_OMMERS, EMPTY_REQUESTS_HASH, Withdrawal, block_rlp_size, header_withdrawals_root,
    transactions_root,
};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use std::io;

/// The code of an answer that is too long, which is jsonrpsee's.
const TOO_LONG: i32 = -32008;

const fn quantity(number: u64) -> U64 {
    U64::from_limbs([number])
}

/// A block's header, as `newHeads` tells it.
#[derive(Debug)]
pub(super) struct Header<'a>(pub(super) &'a Block);

impl Header<'_> {
    fn write<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        let payload = self.0.payload();
        map.serialize_entry("hash", &self.0.hash())?;
        map.serialize_entry("parentHash", &payload.parent_hash())?;
        map.serialize_entry("sha3Uncles", &EMPTY_OMMERS)?;
        map.serialize_entry("miner", &payload.fee_recipient())?;
        map.serialize_entry("stateRoot", &payload.state_root())?;
        map.serialize_entry("transactionsRoot", &transactions_root(&payload))?;
        map.serialize_entry("receiptsRoot", &payload.receipts_root())?;
        map.serialize_entry("logsBloom", &Bloom::new(*payload.logs_bloom()))?;
        map.serialize_entry("difficulty", &quantity(0))?;
        map.serialize_entry("number", &quantity(payload.block_number()))?;
        map.serialize_entry("gasLimit", &quantity(payload.gas_limit()))?;
        map.serialize_entry("gasUsed", &quantity(payload.gas_used()))?;
        map.serialize_entry("timestamp", &quantity(payload.timestamp()))?;
        map.serialize_entry("extraData", &Bytes::copy_from_slice(payload.extra_data()))?;
        map.serialize_entry("mixHash", &payload.prev_randao())?;
        map.serialize_entry("nonce", &B64::ZERO)?;
        map.serialize_entry("baseFeePerGas", &payload.base_fee_per_gas())?;
        if let Some(root) = header_withdrawals_root(&payload) {
            map.serialize_entry("withdrawalsRoot", &root)?;
        }
        if let Some((used, excess)) = payload.blob_gas_used().zip(payload.excess_blob_gas()) {
            map.serialize_entry("blobGasUsed", &quantity(used))?;
            map.serialize_entry("excessBlobGas", &quantity(excess))?;
            let root = self.0.parent_beacon_block_root().unwrap_or_default();
            map.serialize_entry("parentBeaconBlockRoot", &root)?;
        }
        if payload.withdrawals_root().is_some() {
            map.serialize_entry("requestsHash", &EMPTY_REQUESTS_HASH)?;
        }
        Ok(())
    }
}

impl Serialize for Header<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.write(&mut map)?;
        map.end()
    }
}

/// A block with its transactions, or with their hashes.
#[derive(Debug)]
pub(super) struct Whole<'a> {
    pub(super) block: &'a Block,
    /// Whether the transactions themselves are wanted.
    pub(super) is_full: bool,
}

impl Serialize for Whole<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let payload = self.block.payload();
        let mut map = serializer.serialize_map(None)?;
        Header(self.block).write(&mut map)?;
        let size = block_rlp_size(&payload, self.block.parent_beacon_block_root());
        map.serialize_entry("size", &quantity(size as u64))?;
        map.serialize_entry("uncles", &[(); 0])?;
        if let Some(withdrawals) = payload.withdrawals() {
            map.serialize_entry("withdrawals", &withdrawals.map(ShownWithdrawal::from).collect::<Vec<_>>())?;
        }
        map.serialize_entry("transactions", &Transactions(self))?;
        map.end()
    }
}

/// Written one after the other.
struct Transactions<'a>(&'a Whole<'a>);

impl Serialize for Transactions<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Whole { block, is_full } = *self.0;
        let transactions = block.payload().transactions();
        let mut list = serializer.serialize_seq(Some(transactions.len()))?;
        for (place, raw) in transactions.enumerate() {
            match is_full {
                true => list.serialize_element(&Transaction::of(block, place, raw))?,
                false => list.serialize_element(&keccak256(raw))?,
            }
        }
        list.end()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownWithdrawal {
    index: U64,
    validator_index: U64,
    address: Address,
    amount: U64,
}

impl From<Withdrawal> for ShownWithdrawal {
    fn from(withdrawal: Withdrawal) -> Self {
        Self {
            index: quantity(withdrawal.index),
            validator_index: quantity(withdrawal.validator_index),
            address: withdrawal.address,
            amount: quantity(withdrawal.amount),
        }
    }
}

/// A transaction of a block.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Transaction {
    /// One that was read.
    Read(Box<op_alloy_rpc_types::Transaction>),
    /// A deposit that is a system transaction, as there were before Regolith.
    System(serde_json::Value),
    /// One that can't be.
    Unread(Unread),
}

/// What is known of a transaction that can't be read.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Unread {
    hash: B256,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<U64>,
    input: Bytes,
    block_hash: B256,
    block_number: U64,
    transaction_index: U64,
}

impl Transaction {
    /// The transaction at a place of the block, which has these bytes.
    pub(super) fn of(block: &Block, place: usize, raw: &[u8]) -> Self {
        let hash = keccak256(raw);
        let place = place as u64;
        let Some((transaction, from)) = read(raw, hash) else {
            return Self::Unread(Unread {
                hash,
                kind: match raw.first() {
                    Some(kind @ ..0x80) => Some(quantity((*kind).into())),
                    // A list: one of before there were types.
                    Some(0xc0..) => Some(quantity(0)),
                    _ => None,
                },
                input: Bytes::copy_from_slice(raw),
                block_hash: block.hash(),
                block_number: quantity(block.number()),
                transaction_index: quantity(place),
            });
        };
        let price = price(&transaction, block.payload().base_fee_per_gas());
        let is_deposit = matches!(transaction, OpTxEnvelope::Deposit(_));
        let is_system = transaction.is_system_transaction();
        let read = op_alloy_rpc_types::Transaction {
            inner: alloy_rpc_types_eth::Transaction {
                inner: Recovered::new_unchecked(transaction, from),
                block_hash: Some(block.hash()),
                block_number: Some(block.number()),
                transaction_index: Some(place),
                effective_gas_price: Some(price),
                block_timestamp: None,
            },
            deposit_nonce: is_deposit.then_some(0),
            deposit_receipt_version: None,
        };
        if is_system && let Ok(mut value) = serde_json::to_value(&read) {
            // op-alloy writes a number, which op-geth's own client would not read.
            value["isSystemTx"] = true.into();
            return Self::System(value);
        }
        Self::Read(Box::new(read))
    }
}

/// The transaction in these bytes, and who sent it.
fn read(raw: &[u8], hash: B256) -> Option<(OpTxEnvelope, Address)> {
    let transaction = OpTxEnvelope::decode_2718_exact(raw).ok()?;
    // What would be written differently than it was read is not what stands in the block.
    if *transaction.tx_hash() != hash {
        return None;
    }
    let from = sender(&transaction)?;
    Some((transaction, from))
}

fn sender(transaction: &OpTxEnvelope) -> Option<Address> {
    let (signature, hash) = match transaction {
        OpTxEnvelope::Legacy(signed) => (signed.signature(), signed.signature_hash()),
        OpTxEnvelope::Eip2930(signed) => (signed.signature(), signed.signature_hash()),
        OpTxEnvelope::Eip1559(signed) => (signed.signature(), signed.signature_hash()),
        OpTxEnvelope::Eip7702(signed) => (signed.signature(), signed.signature_hash()),
        OpTxEnvelope::Deposit(deposit) => return Some(deposit.from),
        // Nobody sends these, and no chain has them yet.
        OpTxEnvelope::PostExec(_) => return None,
    };
    // No client takes the other half (EIP-2).
    if signature.s() > SECP256K1N_HALF {
        return None;
    }
    let mut bytes = [0; 65];
    bytes[..32].copy_from_slice(&signature.r().to_be_bytes::<32>());
    bytes[32..64].copy_from_slice(&signature.s().to_be_bytes::<32>());
    bytes[64] = signature.v().into();
    recover(&bytes, &hash).ok()
}

/// What was paid for a unit of gas, wei.
fn price(transaction: &OpTxEnvelope, base_fee: U256) -> u128 {
    transaction.gas_price().unwrap_or_else(|| {
        let tip = transaction.max_priority_fee_per_gas().unwrap_or_default();
        let base_fee = u128::try_from(base_fee).unwrap_or(u128::MAX);
        base_fee.saturating_add(tip).min(transaction.max_fee_per_gas())
    })
}

/// Takes what an answer may have, and no more.
struct Room {
    bytes: Vec<u8>,
    is_exceeded: bool,
}

impl io::Write for Room {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len().saturating_add(bytes.len()) > MAX_ANSWER as usize {
            self.is_exceeded = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An answer of [`MAX_ANSWER`] bytes at most.
///
/// # Errors
/// If it would be longer.
pub(super) fn bounded(value: &impl Serialize) -> Result<Box<RawValue>, ErrorObjectOwned> {
    let mut room = Room { bytes: Vec::new(), is_exceeded: false };
    match serde_json::to_writer(&mut room, value) {
        Ok(()) => {}
        Err(_) if room.is_exceeded => {
            let text = format!(
                "the answer would have more than {MAX_ANSWER} bytes: ask for the hashes of the block's \
                 transactions, or for one transaction at a time"
            );
            return Err(ErrorObjectOwned::owned(TOO_LONG, text, None::<()>));
        }
        Err(error) => return Err(failed(error)),
    }
    let text = String::from_utf8(room.bytes).map_err(failed)?;
    RawValue::from_string(text).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devnet::BlockMaker;
    use op_alloy_consensus::TxDeposit;
    use opp2p_core::chain::{ChainConfig, Fork, ForkSchedule};
    use opp2p_core::fixtures;
    use opp2p_core::payload::Envelope;
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use std::collections::BTreeMap;

    fn block(envelope: &Envelope) -> Block {
        let mut body = Vec::new();
        let version = envelope.encode(&mut body).unwrap();
        Block::decode(version, None, body.into()).unwrap()
    }

    fn maker(forks: ForkSchedule) -> BlockMaker {
        let signer = Address::repeat_byte(1);
        let chain = ChainConfig::development(901, B256::ZERO, 1_700_000_000, 2, Fork::Jovian, signer);
        BlockMaker::new(&ChainConfig { forks, ..chain }, 5)
    }

    /// Real blocks, and one of each fork.
    fn blocks() -> Vec<Block> {
        let real = fixtures::blocks().into_iter().map(|real| real.to_block());
        let schedules = Fork::ALL.into_iter().map(ForkSchedule::up_to);
        let schedules = std::iter::once(ForkSchedule::default()).chain(schedules);
        real.chain(schedules.map(|forks| block(&maker(forks).next(1_750_000_000)))).collect()
    }

    fn shown(block: &Block, is_full: bool) -> String {
        bounded(&Whole { block, is_full }).unwrap().get().to_owned()
    }

    /// Blocks of every fork: what is written here, the reader of an engine's answers puts together to the same bytes.
    #[test]
    fn what_is_written_of_a_block_is_enough_to_make_it_again() {
        for block in blocks() {
            let read: alloy_rpc_types_eth::Block<op_alloy_rpc_types::Transaction> =
                serde_json::from_str(&shown(&block, true)).unwrap();
            let mut body = Vec::new();
            crate::engine::payload::reassembled(&read, block.version()).encode(&mut body).unwrap();
            assert_eq!(body, block.body()[..], "{}", block.number());
        }
    }

    #[test]
    fn another_library_finds_the_hash_of_every_block_in_its_header() {
        for block in blocks() {
            for text in
                [shown(&block, true), shown(&block, false), bounded(&Header(&block)).unwrap().to_string()]
            {
                let header: alloy_consensus::Header = serde_json::from_str(&text).unwrap();
                assert_eq!(header.hash_slow(), block.hash(), "{text:.200}");
            }
        }
    }

    #[test]
    fn another_library_reads_every_block_and_finds_its_transactions_and_its_size() {
        type Read = alloy_rpc_types_eth::Block<op_alloy_rpc_types::Transaction>;
        let mut kinds = std::collections::BTreeSet::new();
        for block in blocks() {
            let full: Read = serde_json::from_str(&shown(&block, true)).unwrap();
            let raws: Vec<_> = block.payload().transactions().collect();
            let transactions: Vec<_> = full.transactions.as_transactions().unwrap().iter().collect();
            assert_eq!(transactions.len(), raws.len());
            for (place, (transaction, raw)) in transactions.iter().zip(&raws).enumerate() {
                use alloy_eips::eip2718::Encodable2718;
                assert_eq!(transaction.inner.inner.inner().encoded_2718(), *raw);
                let place_of =
                    (transaction.block_hash, transaction.block_number, transaction.transaction_index);
                assert_eq!(place_of, (Some(block.hash()), Some(block.number()), Some(place as u64)));
                kinds.insert(raw[0].min(0xc0));
            }
            let hashes: alloy_rpc_types_eth::Block = serde_json::from_str(&shown(&block, false)).unwrap();
            let expected: Vec<_> = raws.iter().map(keccak256).collect();
            assert_eq!(hashes.transactions.as_hashes().unwrap(), expected);

            // The whole block in the other library's encoding.
            let header: alloy_consensus::Header = serde_json::from_str(&shown(&block, false)).unwrap();
            let transactions = raws.iter().map(|raw| OpTxEnvelope::decode_2718_exact(raw).unwrap()).collect();
            let withdrawals = block.payload().withdrawals().map(|_| Default::default());
            let body = alloy_consensus::BlockBody { transactions, ommers: Vec::new(), withdrawals };
            let size = alloy_rlp::Encodable::length(&alloy_consensus::Block { header, body });
            assert_eq!(full.header.size, Some(U256::from(size)));
        }
        assert!(kinds.is_superset(&[0x02, 0x7e, 0xc0].into()), "{kinds:x?}");
    }

    #[test]
    fn senders_are_those_that_another_library_recovers() {
        use alloy_consensus::transaction::SignerRecoverable;
        for block in blocks() {
            for raw in block.payload().transactions() {
                let transaction = OpTxEnvelope::decode_2718_exact(raw).unwrap();
                assert_eq!(sender(&transaction), transaction.recover_signer().ok());
            }
        }
    }

    #[test]
    fn a_deposit_is_shown_as_one() {
        let block = &blocks()[0];
        let deposit: Value = serde_json::from_str(&shown(block, true)).unwrap();
        let deposit = deposit["transactions"][0].as_object().unwrap();
        let names: Vec<_> = deposit.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "blockHash",
                "blockNumber",
                "from",
                "gas",
                "gasPrice",
                "hash",
                "input",
                "mint",
                "nonce",
                "r",
                "s",
                "sourceHash",
                "to",
                "transactionIndex",
                "type",
                "v",
                "value",
                "yParity",
            ]
        );
        assert_eq!(deposit["from"], "0xdeaddeaddeaddeaddeaddeaddeaddeaddead0001");
        for zero in ["gasPrice", "mint", "nonce", "r", "s", "v", "value", "transactionIndex"] {
            assert_eq!(deposit[zero], "0x0", "{zero}");
        }
        assert_eq!(deposit["type"], "0x7e");
    }

    #[test]
    fn what_was_paid_is_bounded_by_what_was_offered() {
        for block in blocks() {
            let base_fee = block.payload().base_fee_per_gas();
            for raw in block.payload().transactions() {
                let transaction = OpTxEnvelope::decode_2718_exact(raw).unwrap();
                let paid = price(&transaction, base_fee);
                assert!(paid <= transaction.gas_price().unwrap_or_else(|| transaction.max_fee_per_gas()));
                if let Some(tip) = transaction.max_priority_fee_per_gas() {
                    assert!(paid <= u128::try_from(base_fee).unwrap() + tip);
                }
                assert_eq!(price(&transaction, U256::MAX), transaction.max_fee_per_gas());
            }
        }
    }

    #[test]
    fn what_can_not_be_read_is_shown_as_it_is_and_spoils_nothing() {
        let mut envelope = maker(ForkSchedule::up_to(Fork::Jovian)).next(1_750_000_000);
        let signed = envelope.payload.transactions.iter().find(|raw| raw[0] == 2).unwrap().clone();
        let count = envelope.payload.transactions.len();
        let mut forged = signed.to_vec();
        // The last bytes are those of s, of which the first half of all numbers is allowed.
        let at = forged.len() - 32;
        forged[at..].fill(0xff);
        let strange: [&[u8]; 6] = [&[], &[0x80], &[0x05, 0xc0], &[0x7e, 1, 2, 3], &[0xff; 9], &forged];
        envelope.payload.transactions.extend(strange.iter().map(|raw| Bytes::copy_from_slice(raw)));
        envelope.payload.seal(envelope.parent_beacon_block_root).unwrap();
        let block = block(&envelope);
        let full: Value = serde_json::from_str(&shown(&block, true)).unwrap();
        let hashes: Value = serde_json::from_str(&shown(&block, false)).unwrap();
        let kinds = [None, None, Some("0x5"), Some("0x7e"), Some("0x0"), Some("0x2")];
        for (place, (raw, kind)) in strange.iter().zip(kinds).enumerate() {
            let place = count + place;
            let mut expected = json!({
                "hash": keccak256(raw), "input": Bytes::copy_from_slice(raw), "blockHash": block.hash(),
                "blockNumber": "0x1", "transactionIndex": format!("{place:#x}"),
            });
            if let Some(kind) = kind {
                expected["type"] = kind.into();
            }
            assert_eq!(full["transactions"][place], expected);
            assert_eq!(hashes["transactions"][place], json!(keccak256(raw)));
        }
        assert!(full["transactions"][count - 1]["from"].is_string());
    }

    /// An object's fields, of which none may come twice.
    struct Fields(BTreeMap<String, Value>);

    impl<'de> serde::Deserialize<'de> for Fields {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Visitor;
            impl<'de> serde::de::Visitor<'de> for Visitor {
                type Value = Fields;

                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("an object")
                }

                fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                    let mut fields = BTreeMap::new();
                    while let Some((name, value)) = map.next_entry::<String, Value>()? {
                        assert_eq!(fields.insert(name, value), None);
                    }
                    Ok(Fields(fields))
                }
            }
            deserializer.deserialize_map(Visitor)
        }
    }

    /// A system transaction that mints something and makes a contract.
    fn system() -> Bytes {
        use alloy_eips::eip2718::Encodable2718;
        let deposit = TxDeposit { mint: 7, is_system_transaction: true, ..TxDeposit::default() };
        deposit.encoded_2718().into()
    }

    fn raws() -> Vec<Bytes> {
        let real = blocks()
            .into_iter()
            .flat_map(|block| block.payload().transactions().map(Bytes::copy_from_slice).collect::<Vec<_>>());
        real.chain([system()]).collect()
    }

    #[test]
    fn no_field_of_a_transaction_comes_twice() {
        let block = &blocks()[0];
        for raw in raws() {
            let text = bounded(&Transaction::of(block, 0, &raw)).unwrap();
            let Fields(fields) = serde_json::from_str(text.get()).unwrap();
            assert_eq!(fields["hash"], json!(keccak256(&raw)));
            assert!(fields.contains_key("from") && fields.contains_key("gasPrice"), "{text}");
        }
        let text = bounded(&Transaction::of(block, 0, &system())).unwrap();
        let system: Value = serde_json::from_str(text.get()).unwrap();
        let some = ["isSystemTx", "mint", "to", "depositReceiptVersion"].map(|name| system[name].clone());
        assert_eq!(some, [json!(true), json!("0x7"), Value::Null, Value::Null]);
    }

    #[test]
    fn one_that_nobody_sends_is_shown_as_it_is() {
        use alloy_eips::eip2718::Encodable2718;
        let entries = vec![op_alloy_consensus::SDMGasEntry { index: 3, gas_refund: 7 }];
        let raw = OpTxEnvelope::from(op_alloy_consensus::build_post_exec_tx(42, entries)).encoded_2718();
        assert!(matches!(Transaction::of(&blocks()[0], 0, &raw), Transaction::Unread(_)));
    }

    proptest! {
        #[test]
        fn whatever_the_bytes_are_they_are_shown(
            which in any::<prop::sample::Index>(),
            at in any::<prop::sample::Index>(),
            piece in prop::collection::vec(any::<u8>(), 0..12),
            length in 0..20_usize,
        ) {
            thread_local!(static POOL: (Block, Vec<Bytes>) = (blocks().remove(0), raws()));
            POOL.with(|(block, raws)| {
                let raw = which.get(raws);
                let at = at.index(raw.len());
                let end = (at + length).min(raw.len());
                let changed = [&raw[..at], &piece, &raw[end..]].concat();
                for bytes in [changed, piece] {
                    let text = bounded(&Transaction::of(block, 0, &bytes)).unwrap();
                    let Fields(fields) = serde_json::from_str(text.get()).unwrap();
                    assert_eq!(fields["hash"], json!(keccak256(&bytes)));
                    assert_eq!(fields["blockHash"], json!(block.hash()));
                }
            });
        }
    }

    #[test]
    fn an_answer_that_is_too_long_is_not_made() {
        let mut envelope = maker(ForkSchedule::up_to(Fork::Jovian)).next(1_750_000_000);
        envelope.payload.transactions = vec![Bytes::new(); 200_000];
        envelope.payload.seal(envelope.parent_beacon_block_root).unwrap();
        let block = block(&envelope);
        for is_full in [true, false] {
            let error = bounded(&Whole { block: &block, is_full }).unwrap_err();
            assert!(error.code() == TOO_LONG && error.message().contains("8388608"), "{error:?}");
        }
        assert!(bounded(&Header(&block)).is_ok());
    }
}
