//! JSON form of an event, and the position after a log's last event.

use crate::json::EnvelopeJson;
use crate::json::{Id, Ids};
use alloy_primitives::B256;
use opp2p_core::chain::BlockId;
use opp2p_core::feed::{FeedEvent, Position, Tip};
use opp2p_core::payload::Block;
use serde::{Deserialize, Serialize};

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum Line {
    Block {
        number: u64,
        hash: B256,
        parent_hash: B256,
        timestamp: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        timestamp_ms: Option<u64>,
        envelope: Option<Box<EnvelopeJson>>,
    },
    Reorg {
        ancestor: Id,
        abandoned: Ids,
        adopted: Vec<Id>,
    },
    Skipped {
        from: Option<Id>,
        to: Id,
        /// First and last skipped number; both are absent if no number is skipped or `from` is
        /// unknown.
        #[serde(skip_serializing_if = "Option::is_none")]
        first: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        last: Option<u64>,
        fork: bool,
    },
}

/// Returns an event as one line of JSON, without the line break.
pub fn json(event: &FeedEvent<Block>) -> String {
    let ids = |list: &[BlockId]| list.iter().copied().map(Id::from).collect();
    let line = match event {
        FeedEvent::Block(block) => Line::Block {
            number: block.number(),
            hash: block.hash(),
            parent_hash: block.parent_hash(),
            timestamp: block.timestamp(),
            timestamp_ms: block.base_time().map(|_| block.timestamp_ms()),
            // A decoded block always has the fields of its version.
            envelope: EnvelopeJson::try_from(&block.to_envelope()).ok().map(Box::new),
        },
        FeedEvent::Reorg { ancestor, abandoned, adopted } => Line::Reorg {
            ancestor: (*ancestor).into(),
            abandoned: abandoned.clone().into(),
            adopted: ids(adopted),
        },
        FeedEvent::Skipped { from, to, is_fork } => {
            let left_out = from.and_then(|from| from.between(to));
            let [first, last] = [left_out.as_ref().map(|n| *n.start()), left_out.map(|n| *n.end())];
            Line::Skipped {
                from: from.map(Into::into),
                to: (*to).into(),
                first,
                last,
                fork: *is_fork,
            }
        }
    };
    // No map here has keys that are not text, which is the only possible failure.
    serde_json::to_string(&line).unwrap_or_default()
}

#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum LogLine {
    Block { number: u64, hash: B256, parent_hash: B256 },
    Reorg { ancestor: Id },
    Skipped { from: Option<Id>, to: Id },
}

/// Returns the position after this last line of a log; `None` if the line is not from a feed.
pub fn position(line: &[u8]) -> Option<Position> {
    let id = |id: Id| BlockId::new(id.number, id.hash);
    Some(match serde_json::from_slice(line).ok()? {
        LogLine::Block { number, hash, parent_hash } => {
            Position::At(Tip { id: BlockId::new(number, hash), parent: Some(parent_hash) })
        }
        LogLine::Reorg { ancestor } => Position::At(Tip::new(id(ancestor))),
        LogLine::Skipped { from, to } => Position::Before { from: from.map(id), to: id(to) },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::{Bytes, U256};
    use opp2p_core::chain::Span;
    use opp2p_core::payload::{BaseTime, Envelope, PayloadVersion};
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
    fn a_block_line_has_the_engine_api_format() {
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
            let parsed: alloy_rpc_types_engine::ExecutionPayloadV1 =
                serde_json::from_str(&text).unwrap();
            assert_eq!((parsed.block_number, parsed.block_hash), (7, block.hash()));
            let again: EnvelopeJson = serde_json::from_value(value["envelope"].clone()).unwrap();
            assert_eq!(Envelope::from(again), block.to_envelope());
        }
    }

    #[test]
    fn a_block_with_milliseconds_is_shown_with_its_exact_time() {
        let plain = block(PayloadVersion::V4);
        let line = |block| serde_json::from_str::<Value>(&super::json(&FeedEvent::Block(block)));
        assert_eq!(line(plain.clone()).unwrap().get("timestampMs"), None);
        let mut envelope = plain.to_envelope();
        let deposit = BaseTime::of_block(7, 800).to_transaction();
        envelope.payload.transactions.push(Bytes::copy_from_slice(&deposit));
        envelope.payload.seal(envelope.parent_beacon_block_root).unwrap();
        let mut body = Vec::new();
        let version = envelope.encode(&mut body).unwrap();
        let line = line(Block::decode(version, None, body.into()).unwrap()).unwrap();
        assert_eq!(line["timestamp"], json!(1_700_000_000));
        assert_eq!(line["timestampMs"], json!(1_700_000_000_800_u64));
        assert!(position(line.to_string().as_bytes()).is_some());
    }

    #[test]
    fn a_line_gives_the_position_in_the_log() {
        let id = |number: u8| BlockId::new(number.into(), [number; 32].into());
        let block = block(PayloadVersion::V4);
        for event in [
            FeedEvent::Block(block),
            FeedEvent::Reorg {
                ancestor: id(3),
                abandoned: Span::of(&[id(4)]),
                adopted: vec![id(5), id(6)],
            },
            FeedEvent::Reorg {
                ancestor: id(3),
                abandoned: Span::of(&[id(4); 300]),
                adopted: Vec::new(),
            },
            FeedEvent::Skipped { from: Some(id(3)), to: id(9), is_fork: true },
            FeedEvent::Skipped { from: None, to: id(9), is_fork: false },
        ] {
            let line = super::json(&event);
            assert_eq!(position(line.as_bytes()), Some(event.position()), "{line}");
        }
        for foreign in ["", "{}", "[1]", r#"{"event":"block"}"#, r#"{"event":"other","number":1}"#]
        {
            assert_eq!(position(foreign.as_bytes()), None, "{foreign}");
        }
    }
}
