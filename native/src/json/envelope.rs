//! The JSON of blocks in the Engine API and in the reference's RPC, as engines write it.

use alloy_primitives::B256;
use op_alloy_rpc_types_engine::OpExecutionPayload;
use opp2p_core::payload::{EncodeError, Envelope};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// A block in the format of the reference's RPC and the Engine API: `executionPayload`, and
/// `parentBeaconBlockRoot` if its fork has one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnvelopeJson {
    /// Parent beacon block root, from Ecotone on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_beacon_block_root: Option<B256>,
    /// The payload; its fields determine its version. Fields of other chains are ignored.
    #[serde(deserialize_with = "payload_of")]
    pub execution_payload: OpExecutionPayload,
}

/// Reads a payload as engines write it: with nulls for fields that its version lacks, and with
/// fields that the OP Stack does not have. alloy's own reader does not accept these. The fields
/// that are present determine the version, which may be as low as the first.
fn payload_of<'de, D: Deserializer<'de>>(from: D) -> Result<OpExecutionPayload, D::Error> {
    let mut fields = Map::<String, Value>::deserialize(from)?;
    fields.retain(|_, value| !value.is_null());
    let has = |name: &str| fields.contains_key(name);
    let (fourth, third, second) = (has("withdrawalsRoot"), has("blobGasUsed"), has("withdrawals"));
    let fields = Value::Object(fields);
    let read = if fourth {
        serde_json::from_value(fields).map(OpExecutionPayload::V4)
    } else if third {
        serde_json::from_value(fields).map(OpExecutionPayload::V3)
    } else if second {
        serde_json::from_value(fields).map(OpExecutionPayload::V2)
    } else {
        serde_json::from_value(fields).map(OpExecutionPayload::V1)
    };
    read.map_err(D::Error::custom)
}

impl TryFrom<&Envelope> for EnvelopeJson {
    type Error = EncodeError;

    /// # Errors
    /// If the payload's fields match no version.
    fn try_from(envelope: &Envelope) -> Result<Self, EncodeError> {
        Ok(Self {
            parent_beacon_block_root: envelope.parent_beacon_block_root,
            execution_payload: envelope.payload.clone().try_into()?,
        })
    }
}

impl From<EnvelopeJson> for Envelope {
    fn from(json: EnvelopeJson) -> Self {
        Self {
            parent_beacon_block_root: json.parent_beacon_block_root,
            payload: json.execution_payload.into(),
        }
    }
}
