//! Blocks as kona reads, signs and judges them.

use alloy_primitives::{Address, Signature};
use alloy_rpc_types_engine::{ExecutionPayloadV1, ExecutionPayloadV2, ExecutionPayloadV3};
use k256::ecdsa::SigningKey;
use kona_genesis::RollupConfig;
use kona_p2p::{BlockHandler, Handler};
use libp2p::gossipsub::{IdentTopic, Message, MessageAcceptance};
use op_alloy_rpc_types_engine::{
    OpExecutionPayload, OpExecutionPayloadEnvelope, OpExecutionPayloadV4, OpNetworkPayloadEnvelope,
};
use serde::Deserialize;
use serde_json::{Value, json};
use ssz::Decode;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tokio::sync::watch;

/// A block in SSZ: only the payload up to version 1; from version 2 on, the parent beacon block
/// root before it.
#[derive(Deserialize)]
pub(crate) struct Encoded {
    version: u8,
    ssz: String,
}

/// Decodes hexadecimal digits.
pub(crate) fn bytes(digits: &str) -> Result<Vec<u8>, String> {
    hex::decode(digits).map_err(|error| format!("this is not hexadecimal: {error}"))
}

/// Returns kona's form of the rollup.json that op-node reads. Kona requires fields that don't
/// matter here; op-node and our nodes read missing ones as zero.
pub(crate) fn rollup(given: &Value) -> Result<RollupConfig, String> {
    let mut all =
        serde_json::to_value(RollupConfig::default()).map_err(|error| error.to_string())?;
    merge_json(&mut all, given);
    serde_json::from_value(all)
        .map_err(|error| format!("kona can't read the rollup configuration: {error}"))
}

fn merge_json(under: &mut Value, over: &Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (name, value) in over {
                merge_json(under.entry(name).or_insert(Value::Null), value);
            }
        }
        (under, over) => under.clone_from(over),
    }
}

impl Encoded {
    /// Decodes the block with kona's decoders.
    pub(crate) fn decoded(&self) -> Result<OpExecutionPayloadEnvelope, String> {
        let ssz = bytes(&self.ssz)?;
        let broken = |error: ssz::DecodeError| format!("kona can't read the block: {error:?}");
        let (root, payload) = match (self.version, ssz.split_at_checked(32)) {
            (0 | 1, _) => (None, &ssz[..]),
            (_, Some((root, payload))) => {
                (Some(root.try_into().map_err(|_| "not a root")?), payload)
            }
            (_, None) => return Err("the block is too short".into()),
        };
        let execution_payload = match self.version {
            0 => {
                OpExecutionPayload::V1(ExecutionPayloadV1::from_ssz_bytes(payload).map_err(broken)?)
            }
            1 => {
                OpExecutionPayload::V2(ExecutionPayloadV2::from_ssz_bytes(payload).map_err(broken)?)
            }
            2 => {
                OpExecutionPayload::V3(ExecutionPayloadV3::from_ssz_bytes(payload).map_err(broken)?)
            }
            3 => OpExecutionPayload::V4(
                OpExecutionPayloadV4::from_ssz_bytes(payload).map_err(broken)?,
            ),
            version => return Err(format!("there is no version {version} of blocks")),
        };
        Ok(OpExecutionPayloadEnvelope { parent_beacon_block_root: root, execution_payload })
    }
}

/// Returns the block, signed as kona's local signer would do it. That signer is in another crate of
/// kona, which has all dependencies for L1; the data to sign is made here.
pub(crate) fn signed(
    block: OpExecutionPayloadEnvelope,
    key: &SigningKey,
    chain_id: u64,
) -> Result<OpNetworkPayloadEnvelope, String> {
    let payload_hash = block.payload_hash();
    let message = payload_hash.signature_message(chain_id);
    let signature =
        key.sign_prehash_recoverable(message.as_slice()).map_err(|error| error.to_string())?;
    Ok(OpNetworkPayloadEnvelope {
        payload: block.execution_payload,
        signature: Signature::from(signature),
        payload_hash,
        parent_beacon_block_root: block.parent_beacon_block_root,
    })
}

/// Messages of a topic, and the signer whose blocks are valid.
#[derive(Deserialize)]
pub(crate) struct Judge {
    rollup: Value,
    signer: Address,
    version: u8,
    messages: Vec<String>,
}

/// Passes messages to kona's handler, one after another. Returns its verdicts, each with the reason
/// given by its validator.
pub(crate) fn judge(params: &Judge) -> Result<Value, String> {
    let (_signer, known) = watch::channel(params.signer);
    let rollup = rollup(&params.rollup)?;
    let topic =
        IdentTopic::new(format!("/optimism/{}/{}/blocks", rollup.l2_chain_id.id(), params.version));
    let mut handler = BlockHandler::new(rollup, known);
    let mut told = Vec::new();
    for message in &params.messages {
        let data = bytes(message)?;
        let why = catch_unwind(AssertUnwindSafe(|| why(handler.clone(), params.version, &data)));
        let message = Message { source: None, data, sequence_number: None, topic: topic.hash() };
        let verdict = match catch_unwind(AssertUnwindSafe(|| handler.handle(message).0)) {
            Ok(MessageAcceptance::Accept) => "accept",
            Ok(MessageAcceptance::Ignore) => "ignore",
            Ok(MessageAcceptance::Reject) => "reject",
            Err(_) => "panic",
        };
        told.push(json!({ "verdict": verdict, "why": why.unwrap_or_else(|_| "it panics".into()) }));
    }
    Ok(told.into())
}

/// Returns the validator's objection to a message; empty if it accepts it.
fn why(mut handler: BlockHandler, version: u8, data: &[u8]) -> String {
    let decoded = match version {
        0 => OpNetworkPayloadEnvelope::decode_v1(data),
        1 => OpNetworkPayloadEnvelope::decode_v2(data),
        2 => OpNetworkPayloadEnvelope::decode_v3(data),
        _ => OpNetworkPayloadEnvelope::decode_v4(data),
    };
    match decoded {
        Ok(envelope) => {
            handler.block_valid(&envelope).err().map(|error| error.to_string()).unwrap_or_default()
        }
        Err(error) => error.to_string(),
    }
}
