//! Answers with blocks and transactions, in the format of [`opp2p_core::payload::shown`].
//!
//! # Bounds
//! An answer has at most [`MAX_ANSWER`] bytes. A block is written one transaction at a time, and no
//! further than to that limit.

use crate::rpc::error::{ANSWER_TOO_LONG, CallError};
use crate::rpc::limits::MAX_ANSWER;
use crate::rpc::params::{Answer, failed, raw};
use opp2p_core::payload::Block;
use opp2p_core::payload::shown::{self, TooLong, Transactions};
use serde_json::value::RawValue;

/// Returns a block, or `null`, with its whole transactions or their hashes.
pub(super) fn block(block: Option<&Block>, is_full: bool) -> Answer {
    let Some(block) = block else { return raw(&()) };
    let form = if is_full { Transactions::Whole } else { Transactions::Hashes };
    checked(shown::block(block, form, MAX_ANSWER as usize))
}

/// Returns the transaction at a place of a block, or `null`.
pub(super) fn transaction(block: Option<&Block>, place: u64) -> Answer {
    let place = usize::try_from(place).unwrap_or(usize::MAX);
    let found = block.and_then(|block| Some((block, block.payload().transaction(place)?)));
    let Some((block, bytes)) = found else { return raw(&()) };
    // The text has more bytes than the transaction, which may be as long as a block.
    let limit = MAX_ANSWER as usize;
    let text = Some(bytes)
        .filter(|bytes| bytes.len() <= limit)
        .map(|bytes| shown::transaction(block, place, bytes).to_string());
    checked(text.filter(|text| text.len() <= limit).ok_or(TooLong(limit)))
}

/// Returns a header, in the format of `newHeads`.
pub(super) fn header(block: &Block) -> Answer {
    raw(&shown::header(block))
}

fn checked(text: Result<String, TooLong>) -> Answer {
    let text = text.map_err(|TooLong(limit)| {
        let text = format!(
            "the answer would have more than {limit} bytes: ask for the hashes of the block's \
             transactions, or for one transaction at a time"
        );
        CallError::new(ANSWER_TOO_LONG, text)
    })?;
    RawValue::from_string(text).map_err(failed)
}

#[cfg(test)]
#[cfg(feature = "devnet")]
mod tests {
    use super::{block as block_of, *};
    use crate::devnet::BlockMaker;
    use alloy_consensus::Transaction as _;
    use alloy_eips::eip2718::{Decodable2718, Encodable2718};
    use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
    use op_alloy_consensus::{OpTxEnvelope, TxDeposit};
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
        let chain =
            ChainConfig::development(901, B256::ZERO, 1_700_000_000, 2, Fork::Jovian, signer);
        BlockMaker::new(&ChainConfig { forks, ..chain }, 5)
    }

    /// Returns real blocks, and one of each fork.
    fn blocks() -> Vec<Block> {
        let real = fixtures::blocks().into_iter().map(|real| real.to_block());
        let schedules = Fork::ALL.into_iter().map(ForkSchedule::up_to);
        let schedules = std::iter::once(ForkSchedule::default()).chain(schedules);
        real.chain(schedules.map(|forks| block(&maker(forks).next(1_750_000_000)))).collect()
    }

    fn shown(block: &Block, is_full: bool) -> String {
        block_of(Some(block), is_full).unwrap().get().to_owned()
    }

    /// Returns the JSON of a transaction with these bytes.
    fn of(block: &Block, place: usize, raw: &[u8]) -> Value {
        shown::transaction(block, place, raw)
    }

    /// Blocks of every fork: the core rebuilds what is written here to the same bytes.
    #[test]
    fn the_core_rebuilds_a_block_from_its_parts() {
        for block in blocks() {
            let parts: Value = serde_json::from_str(&shown(&block, true)).unwrap();
            let rebuilt = Block::from_json(&parts).unwrap();
            assert_eq!(rebuilt.body(), block.body(), "{}", block.number());
            assert_eq!(rebuilt.hash(), block.hash());
        }
    }

    #[test]
    fn milliseconds_are_shown_for_blocks_that_carry_them() {
        let mut maker = maker(ForkSchedule::up_to(Fork::Denim));
        for (number, millis) in [(1_u64, 200), (2, 400), (3, 600), (4, 800), (5, 1000)] {
            let block = block(&maker.next(1_750_000_000));
            let time = format!("{:#x}", 1_700_000_000_000_u64 + millis);
            let second = format!("{:#x}", 1_700_000_000 + millis / 1000);
            let header: Value = serde_json::from_str(header(&block).unwrap().get()).unwrap();
            let whole: Value = serde_json::from_str(&shown(&block, true)).unwrap();
            assert_eq!(header["number"], format!("{number:#x}"));
            for shape in [&header, &whole] {
                assert_eq!(
                    (&shape["timestamp"], &shape["timestampMs"]),
                    (&json!(second), &json!(time))
                );
            }
            let transactions = whole["transactions"].as_array().unwrap();
            assert!(transactions.iter().all(|each| each["blockTimestampMs"] == json!(time)));
        }
        let jovian = block(&self::maker(ForkSchedule::up_to(Fork::Jovian)).next(1_750_000_000));
        let whole: Value = serde_json::from_str(&shown(&jovian, true)).unwrap();
        assert_eq!(whole.get("timestampMs"), None);
        assert_eq!(whole["transactions"][0].get("blockTimestampMs"), None);
    }

    #[test]
    fn another_library_finds_the_hash_of_every_block_in_its_header() {
        for block in blocks() {
            for text in
                [shown(&block, true), shown(&block, false), header(&block).unwrap().to_string()]
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
            let transactions: Vec<_> =
                full.transactions.as_transactions().unwrap().iter().collect();
            assert_eq!(transactions.len(), raws.len());
            for (place, (transaction, raw)) in transactions.iter().zip(&raws).enumerate() {
                assert_eq!(transaction.inner.inner.inner().encoded_2718(), *raw);
                let place_of = (
                    transaction.block_hash,
                    transaction.block_number,
                    transaction.transaction_index,
                );
                assert_eq!(
                    place_of,
                    (Some(block.hash()), Some(block.number()), Some(place as u64))
                );
                kinds.insert(raw[0].min(0xc0));
            }
            let hashes: alloy_rpc_types_eth::Block =
                serde_json::from_str(&shown(&block, false)).unwrap();
            let expected: Vec<_> = raws.iter().map(keccak256).collect();
            assert_eq!(hashes.transactions.as_hashes().unwrap(), expected);

            // The whole block in the other library's encoding.
            let header: alloy_consensus::Header =
                serde_json::from_str(&shown(&block, false)).unwrap();
            let transactions =
                raws.iter().map(|raw| OpTxEnvelope::decode_2718_exact(raw).unwrap()).collect();
            let withdrawals = block.payload().withdrawals().map(|_| Default::default());
            let body = alloy_consensus::BlockBody { transactions, ommers: Vec::new(), withdrawals };
            let size = alloy_rlp::Encodable::length(&alloy_consensus::Block { header, body });
            assert_eq!(full.header.size, Some(U256::from(size)));
        }
        assert!(kinds.is_superset(&[0x02, 0x7e, 0xc0].into()), "{kinds:x?}");
    }

    #[test]
    fn senders_match_those_recovered_by_another_library() {
        use alloy_consensus::transaction::SignerRecoverable;
        for block in blocks() {
            for raw in block.payload().transactions() {
                let transaction = OpTxEnvelope::decode_2718_exact(raw).unwrap();
                let sender = transaction.recover_signer().unwrap();
                assert_eq!(of(&block, 0, raw)["from"], json!(sender));
            }
        }
    }

    #[test]
    fn a_deposit_is_shown_with_its_own_fields() {
        let block = &blocks()[0];
        let deposit: Value = serde_json::from_str(&shown(block, true)).unwrap();
        let deposit = deposit["transactions"][0].as_object().unwrap();
        let names: Vec<_> = deposit.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "blockHash",
                "blockNumber",
                "blockTimestamp",
                "from",
                "gas",
                "gasPrice",
                "hash",
                "input",
                "nonce",
                "r",
                "s",
                "sourceHash",
                "to",
                "transactionIndex",
                "type",
                "v",
                "value",
            ]
        );
        assert_eq!(deposit["from"], "0xdeaddeaddeaddeaddeaddeaddeaddeaddead0001");
        for zero in ["gasPrice", "nonce", "r", "s", "v", "value", "transactionIndex"] {
            assert_eq!(deposit[zero], "0x0", "{zero}");
        }
        assert_eq!(deposit["type"], "0x7e");
    }

    #[test]
    fn the_price_paid_is_bounded_by_the_price_offered() {
        for block in blocks() {
            let base_fee = u128::try_from(block.payload().base_fee_per_gas()).unwrap();
            for raw in block.payload().transactions() {
                let transaction = OpTxEnvelope::decode_2718_exact(raw).unwrap();
                let shown = of(&block, 0, raw);
                let paid: U256 = shown["gasPrice"].as_str().unwrap().parse().unwrap();
                let paid = u128::try_from(paid).unwrap();
                let offered = transaction.gas_price().unwrap_or(transaction.max_fee_per_gas());
                assert!(paid <= offered);
                if let Some(tip) = transaction.max_priority_fee_per_gas() {
                    assert_eq!(paid, offered.min(base_fee + tip));
                }
            }
        }
    }

    #[test]
    fn an_unreadable_transaction_is_shown_raw_and_spoils_nothing() {
        let mut envelope = maker(ForkSchedule::up_to(Fork::Jovian)).next(1_750_000_000);
        let signed = envelope.payload.transactions.iter().find(|raw| raw[0] == 2).unwrap().clone();
        let count = envelope.payload.transactions.len();
        let mut forged = signed.to_vec();
        // The last bytes are those of s, whose valid values are the lower half.
        let at = forged.len() - 32;
        forged[at..].fill(0xff);
        let strange: [&[u8]; 6] =
            [&[], &[0x80], &[0x05, 0xc0], &[0x7e, 1, 2, 3], &[0xff; 9], &forged];
        envelope.payload.transactions.extend(strange.iter().map(|raw| Bytes::copy_from_slice(raw)));
        envelope.payload.seal(envelope.parent_beacon_block_root).unwrap();
        let block = block(&envelope);
        let full: Value = serde_json::from_str(&shown(&block, true)).unwrap();
        let hashes: Value = serde_json::from_str(&shown(&block, false)).unwrap();
        let kinds = [None, None, Some("0x5"), Some("0x7e"), Some("0x0"), Some("0x2")];
        for (place, (raw, kind)) in strange.iter().zip(kinds).enumerate() {
            let place = count + place;
            let mut expected = json!({
                "hash": keccak256(raw), "input": Bytes::copy_from_slice(raw),
                "blockHash": block.hash(),
                "blockNumber": "0x1", "transactionIndex": format!("{place:#x}"),
                "blockTimestamp": format!("{:#x}", block.timestamp()),
            });
            if let Some(kind) = kind {
                expected["type"] = kind.into();
            }
            assert_eq!(full["transactions"][place], expected);
            assert_eq!(hashes["transactions"][place], json!(keccak256(raw)));
        }
        assert!(full["transactions"][count - 1]["from"].is_string());
    }

    /// An object's fields; duplicate fields are an error.
    struct Fields(BTreeMap<String, Value>);

    impl<'de> serde::Deserialize<'de> for Fields {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Visitor;
            impl<'de> serde::de::Visitor<'de> for Visitor {
                type Value = Fields;

                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("an object")
                }

                fn visit_map<A: serde::de::MapAccess<'de>>(
                    self,
                    mut map: A,
                ) -> Result<Fields, A::Error> {
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

    /// Returns a system transaction that mints and creates a contract.
    fn system() -> Bytes {
        let deposit = TxDeposit { mint: 7, is_system_transaction: true, ..TxDeposit::default() };
        deposit.encoded_2718().into()
    }

    fn raws() -> Vec<Bytes> {
        let real = blocks().into_iter().flat_map(|block| {
            block.payload().transactions().map(Bytes::copy_from_slice).collect::<Vec<_>>()
        });
        real.chain([system()]).collect()
    }

    #[test]
    fn no_transaction_field_is_repeated() {
        let block = &blocks()[0];
        for raw in raws() {
            let text = of(block, 0, &raw).to_string();
            let Fields(fields) = serde_json::from_str(&text).unwrap();
            assert_eq!(fields["hash"], json!(keccak256(&raw)));
            assert!(fields.contains_key("from") && fields.contains_key("gasPrice"), "{text}");
        }
        let system = of(block, 0, &system());
        let some =
            ["isSystemTx", "mint", "to", "depositReceiptVersion"].map(|name| system[name].clone());
        assert_eq!(some, [json!(true), json!("0x7"), Value::Null, Value::Null]);
    }

    #[test]
    fn a_transaction_without_a_sender_is_shown_raw() {
        let entries = vec![op_alloy_consensus::SDMGasEntry { index: 3, gas_refund: 7 }];
        let raw =
            OpTxEnvelope::from(op_alloy_consensus::build_post_exec_tx(42, entries)).encoded_2718();
        let shown = of(&blocks()[0], 0, &raw);
        assert!(shown["input"] == json!(Bytes::from(raw)) && shown.get("from").is_none());
    }

    proptest! {
        #[test]
        fn any_transaction_bytes_are_shown(
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
                    let text = of(block, 0, &bytes).to_string();
                    let Fields(fields) = serde_json::from_str(&text).unwrap();
                    assert_eq!(fields["hash"], json!(keccak256(&bytes)));
                    assert_eq!(fields["blockHash"], json!(block.hash()));
                }
            });
        }
    }

    #[test]
    fn an_oversized_answer_is_not_built() {
        let mut envelope = maker(ForkSchedule::up_to(Fork::Jovian)).next(1_750_000_000);
        envelope.payload.transactions = vec![Bytes::new(); 200_000];
        envelope.payload.seal(envelope.parent_beacon_block_root).unwrap();
        let block = block(&envelope);
        for is_full in [true, false] {
            let error = block_of(Some(&block), is_full).unwrap_err();
            assert!(
                error.code() == ANSWER_TOO_LONG && error.message().contains("8388608"),
                "{error:?}"
            );
        }
        envelope.payload.transactions = vec![Bytes::from(vec![0x7e; 5 << 20])];
        envelope.payload.seal(envelope.parent_beacon_block_root).unwrap();
        let long = self::block(&envelope);
        assert_eq!(transaction(Some(&long), 0).unwrap_err().code(), ANSWER_TOO_LONG);
        assert_eq!(transaction(Some(&long), 1).unwrap().get(), "null");
        assert!(header(&block).is_ok());
    }
}
