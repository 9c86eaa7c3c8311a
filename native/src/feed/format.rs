//! An event as JSON, and where a log ends that ends in one.

use crate::rpc::types::Id;
use alloy_primitives::{Address, B256, Bloom, Bytes, U64, U256};
use opp2p_core::chain::BlockId;
use opp2p_core::feed::{FeedEvent, Position, Tip};
use opp2p_core::payload::{Block, Envelope, ExecutionPayload, Withdrawal};
use serde::{Deserialize, Serialize};

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum Line {
    Block { number: u64, hash: B256, parent_hash: B256, timestamp: u64, envelope: EnvelopeJson },
    Reorg { ancestor: Id, abandoned: Vec<Id>, adopted: Vec<Id> },
    Skipped { from: Option<Id>, to: Id },
}

/// The reference's `ExecutionPayloadEnvelope`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EnvelopeJson {
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_beacon_block_root: Option<B256>,
    execution_payload: PayloadJson,
}

/// The Engine API's execution payload: what a fork does not have is left out.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PayloadJson {
    parent_hash: B256,
    fee_recipient: Address,
    state_root: B256,
    receipts_root: B256,
    logs_bloom: Bloom,
    prev_randao: B256,
    block_number: U64,
    gas_limit: U64,
    gas_used: U64,
    timestamp: U64,
    extra_data: Bytes,
    base_fee_per_gas: U256,
    block_hash: B256,
    transactions: Vec<Bytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    withdrawals: Option<Vec<WithdrawalJson>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    blob_gas_used: Option<U64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    excess_blob_gas: Option<U64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    withdrawals_root: Option<B256>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WithdrawalJson {
    index: U64,
    validator_index: U64,
    address: Address,
    amount: U64,
}

impl From<Withdrawal> for WithdrawalJson {
    fn from(withdrawal: Withdrawal) -> Self {
        Self {
            index: U64::from(withdrawal.index),
            validator_index: U64::from(withdrawal.validator_index),
            address: withdrawal.address,
            amount: U64::from(withdrawal.amount),
        }
    }
}

impl From<Envelope> for EnvelopeJson {
    fn from(envelope: Envelope) -> Self {
        let ExecutionPayload {
            parent_hash,
            fee_recipient,
            state_root,
            receipts_root,
            logs_bloom,
            prev_randao,
            block_number,
            gas_limit,
            gas_used,
            timestamp,
            extra_data,
            base_fee_per_gas,
            block_hash,
            transactions,
            withdrawals,
            blob_gas_used,
            excess_blob_gas,
            withdrawals_root,
        } = envelope.payload;
        Self {
            parent_beacon_block_root: envelope.parent_beacon_block_root,
            execution_payload: PayloadJson {
                parent_hash,
                fee_recipient,
                state_root,
                receipts_root,
                logs_bloom,
                prev_randao,
                block_number: U64::from(block_number),
                gas_limit: U64::from(gas_limit),
                gas_used: U64::from(gas_used),
                timestamp: U64::from(timestamp),
                extra_data,
                base_fee_per_gas,
                block_hash,
                transactions,
                withdrawals: withdrawals.map(|list| list.into_iter().map(Into::into).collect()),
                blob_gas_used: blob_gas_used.map(U64::from),
                excess_blob_gas: excess_blob_gas.map(U64::from),
                withdrawals_root,
            },
        }
    }
}

/// An event as one line of JSON, without the line's end.
pub fn json(event: &FeedEvent<Block>) -> String {
    let ids = |list: &[BlockId]| list.iter().copied().map(Id::from).collect();
    let line = match event {
        FeedEvent::Block(block) => Line::Block {
            number: block.number(),
            hash: block.hash(),
            parent_hash: block.parent_hash(),
            timestamp: block.timestamp(),
            envelope: block.to_envelope().into(),
        },
        FeedEvent::Reorg { ancestor, abandoned, adopted } => {
            Line::Reorg { ancestor: (*ancestor).into(), abandoned: ids(abandoned), adopted: ids(adopted) }
        }
        FeedEvent::Skipped { from, to } => Line::Skipped { from: from.map(Into::into), to: (*to).into() },
    };
    // These types have no maps with keys that are no text, and nothing else can fail.
    serde_json::to_string(&line).unwrap_or_default()
}

#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum Told {
    Block { number: u64, hash: B256, parent_hash: B256 },
    Reorg { ancestor: Id },
    Skipped { from: Option<Id>, to: Id },
}

/// Where a log ends that ends in this line; `None` if it is no line of a feed.
pub fn position(line: &[u8]) -> Option<Position> {
    let id = |id: Id| BlockId::new(id.number, id.hash);
    Some(match serde_json::from_slice(line).ok()? {
        Told::Block { number, hash, parent_hash } => {
            Position::At(Tip { id: BlockId::new(number, hash), parent: Some(parent_hash) })
        }
        Told::Reorg { ancestor } => Position::At(Tip::new(id(ancestor))),
        Told::Skipped { from, to } => Position::Before { from: from.map(id), to: id(to) },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use opp2p_core::payload::PayloadVersion;
    use serde_json::{Value, json};

    fn block(version: PayloadVersion) -> Block {
        let mut envelope = Envelope::default();
        envelope.payload.block_number = 7;
        envelope.payload.timestamp = 1_700_000_000;
        envelope.payload.base_fee_per_gas = U256::from(1000);
        envelope.payload.transactions = vec![Bytes::from_static(&[0x7e, 1])];
        if version >= PayloadVersion::V2 {
            envelope.payload.withdrawals = Some(Vec::new());
        }
        if version >= PayloadVersion::V3 {
            envelope.parent_beacon_block_root = Some(B256::repeat_byte(9));
            (envelope.payload.blob_gas_used, envelope.payload.excess_blob_gas) = (Some(0), Some(0));
        }
        if version >= PayloadVersion::V4 {
            envelope.payload.withdrawals_root = Some(B256::repeat_byte(8));
        }
        envelope.payload.seal(envelope.parent_beacon_block_root).unwrap();
        let mut body = Vec::new();
        assert_eq!(envelope.encode(&mut body).unwrap(), version);
        Block::decode(version, None, body.into()).unwrap()
    }

    #[test]
    fn a_block_s_line_is_what_the_engine_api_takes() {
        for (version, root, fields) in [
            (PayloadVersion::V1, false, 14),
            (PayloadVersion::V2, false, 15),
            (PayloadVersion::V3, true, 17),
            (PayloadVersion::V4, true, 18),
        ] {
            let block = block(version);
            let line = super::json(&FeedEvent::Block(block.clone()));
            assert!(!line.contains('\n'));
            let value: Value = serde_json::from_str(&line).unwrap();
            assert_eq!(value["event"], "block");
            assert_eq!((&value["number"], &value["timestamp"]), (&json!(7), &json!(1_700_000_000)));
            assert_eq!(value["hash"], json!(block.hash()));
            assert_eq!(value["envelope"].get("parentBeaconBlockRoot").is_some(), root);
            let payload = value["envelope"]["executionPayload"].as_object().unwrap();
            assert_eq!(payload.len(), fields, "{payload:?}");
            assert_eq!(
                (&payload["blockNumber"], &payload["baseFeePerGas"]),
                (&json!("0x7"), &json!("0x3e8"))
            );
            assert_eq!(payload["transactions"], json!(["0x7e01"]));
            let text = serde_json::to_string(payload).unwrap();
            let parsed: alloy_rpc_types_engine::ExecutionPayloadV1 = serde_json::from_str(&text).unwrap();
            assert_eq!((parsed.block_number, parsed.block_hash), (7, block.hash()));
        }
    }

    #[test]
    fn a_line_says_where_the_log_ends() {
        let id = |number: u8| BlockId::new(number.into(), [number; 32].into());
        let block = block(PayloadVersion::V4);
        for event in [
            FeedEvent::Block(block),
            FeedEvent::Reorg { ancestor: id(3), abandoned: vec![id(4)], adopted: vec![id(5), id(6)] },
            FeedEvent::Skipped { from: Some(id(3)), to: id(9) },
            FeedEvent::Skipped { from: None, to: id(9) },
        ] {
            let line = super::json(&event);
            assert_eq!(position(line.as_bytes()), Some(event.position()), "{line}");
        }
        for foreign in ["", "{}", "[1]", r#"{"event":"block"}"#, r#"{"event":"other","number":1}"#] {
            assert_eq!(position(foreign.as_bytes()), None, "{foreign}");
        }
    }
}
