//! An event as JSON, and where a log ends that ends in one.

use crate::engine::EnvelopeJson;
use crate::rpc::types::Id;
use alloy_primitives::B256;
use opp2p_core::chain::BlockId;
use opp2p_core::feed::{FeedEvent, Position, Tip};
use opp2p_core::payload::Block;
use serde::{Deserialize, Serialize};

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum Line {
    Block { number: u64, hash: B256, parent_hash: B256, timestamp: u64, envelope: Option<Box<EnvelopeJson>> },
    Reorg { ancestor: Id, abandoned: Vec<Id>, adopted: Vec<Id> },
    Skipped { from: Option<Id>, to: Id },
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
            // What was decoded has the fields of its version.
            envelope: EnvelopeJson::try_from(&block.to_envelope()).ok().map(Box::new),
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
    use alloy_primitives::{Bytes, U256};
    use opp2p_core::payload::{Envelope, PayloadVersion};
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
            let again: EnvelopeJson = serde_json::from_value(value["envelope"].clone()).unwrap();
            assert_eq!(Envelope::from(again), block.to_envelope());
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
