//! Between the core's payloads and those of alloy, whose JSON is the Engine API's.

use alloy_consensus::BlockHeader;
use alloy_eips::Encodable2718;
use alloy_eips::eip4895::Withdrawal as AlloyWithdrawal;
use alloy_primitives::{B256, Bytes, U256};
use alloy_rpc_types_engine::{ExecutionPayloadV1, ExecutionPayloadV2, ExecutionPayloadV3};
use alloy_rpc_types_eth::Block as RpcBlock;
use op_alloy_rpc_types::Transaction;
use op_alloy_rpc_types_engine::{OpExecutionPayload, OpExecutionPayloadV4};
use opp2p_core::payload::{EncodeError, Envelope, ExecutionPayload, PayloadVersion, Withdrawal};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// A block as the reference's RPC and the Engine API have it: `executionPayload`, and `parentBeaconBlockRoot` where its fork
/// has one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnvelopeJson {
    /// Parent beacon block root, from Ecotone on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_beacon_block_root: Option<B256>,
    /// The payload; its fields say which version it is. Fields of other chains are left out of account.
    #[serde(deserialize_with = "payload_of")]
    pub execution_payload: OpExecutionPayload,
}

/// Reads a payload as engines write it: with null for what a version lacks, and fields that are none of the OP Stack's. The
/// version follows from the fields that are there, from the first one on, of which alloy's own reader takes none.
pub(super) fn payload_of<'de, D: Deserializer<'de>>(from: D) -> Result<OpExecutionPayload, D::Error> {
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
    /// If the payload's fields are of no version.
    fn try_from(envelope: &Envelope) -> Result<Self, EncodeError> {
        Ok(Self {
            parent_beacon_block_root: envelope.parent_beacon_block_root,
            execution_payload: to_alloy(&envelope.payload)?,
        })
    }
}

impl From<EnvelopeJson> for Envelope {
    fn from(json: EnvelopeJson) -> Self {
        let payload = from_alloy(json.execution_payload);
        Self { parent_beacon_block_root: json.parent_beacon_block_root, payload }
    }
}

/// The payload in alloy's types.
///
/// # Errors
/// If its fields are of no version.
pub(crate) fn to_alloy(payload: &ExecutionPayload) -> Result<OpExecutionPayload, EncodeError> {
    let version = payload.version()?;
    let first = ExecutionPayloadV1 {
        parent_hash: payload.parent_hash,
        fee_recipient: payload.fee_recipient,
        state_root: payload.state_root,
        receipts_root: payload.receipts_root,
        logs_bloom: payload.logs_bloom,
        prev_randao: payload.prev_randao,
        block_number: payload.block_number,
        gas_limit: payload.gas_limit,
        gas_used: payload.gas_used,
        timestamp: payload.timestamp,
        extra_data: payload.extra_data.clone(),
        base_fee_per_gas: payload.base_fee_per_gas,
        block_hash: payload.block_hash,
        transactions: payload.transactions.clone(),
    };
    if version == PayloadVersion::V1 {
        return Ok(OpExecutionPayload::V1(first));
    }
    let withdrawals = payload.withdrawals.iter().flatten().map(|withdrawal| AlloyWithdrawal {
        index: withdrawal.index,
        validator_index: withdrawal.validator_index,
        address: withdrawal.address,
        amount: withdrawal.amount,
    });
    let second = ExecutionPayloadV2 { payload_inner: first, withdrawals: withdrawals.collect() };
    if version == PayloadVersion::V2 {
        return Ok(OpExecutionPayload::V2(second));
    }
    let third = ExecutionPayloadV3 {
        payload_inner: second,
        blob_gas_used: payload.blob_gas_used.unwrap_or_default(),
        excess_blob_gas: payload.excess_blob_gas.unwrap_or_default(),
    };
    Ok(match payload.withdrawals_root {
        Some(withdrawals_root) if version == PayloadVersion::V4 => {
            OpExecutionPayload::V4(OpExecutionPayloadV4 { payload_inner: third, withdrawals_root })
        }
        _ => OpExecutionPayload::V3(third),
    })
}

/// The payload out of alloy's types.
pub(crate) fn from_alloy(payload: OpExecutionPayload) -> ExecutionPayload {
    let (third, withdrawals_root) = match payload {
        OpExecutionPayload::V1(first) => return from_first(first),
        OpExecutionPayload::V2(second) => return from_second(second),
        OpExecutionPayload::V3(third) => (third, None),
        OpExecutionPayload::V4(fourth) => (fourth.payload_inner, Some(fourth.withdrawals_root)),
    };
    ExecutionPayload {
        blob_gas_used: Some(third.blob_gas_used),
        excess_blob_gas: Some(third.excess_blob_gas),
        withdrawals_root,
        ..from_second(third.payload_inner)
    }
}

fn from_first(payload: ExecutionPayloadV1) -> ExecutionPayload {
    ExecutionPayload {
        parent_hash: payload.parent_hash,
        fee_recipient: payload.fee_recipient,
        state_root: payload.state_root,
        receipts_root: payload.receipts_root,
        logs_bloom: payload.logs_bloom,
        prev_randao: payload.prev_randao,
        block_number: payload.block_number,
        gas_limit: payload.gas_limit,
        gas_used: payload.gas_used,
        timestamp: payload.timestamp,
        extra_data: payload.extra_data,
        base_fee_per_gas: payload.base_fee_per_gas,
        block_hash: payload.block_hash,
        transactions: payload.transactions,
        ..ExecutionPayload::default()
    }
}

fn from_second(payload: ExecutionPayloadV2) -> ExecutionPayload {
    let withdrawals = payload.withdrawals.into_iter().map(|withdrawal| Withdrawal {
        index: withdrawal.index,
        validator_index: withdrawal.validator_index,
        address: withdrawal.address,
        amount: withdrawal.amount,
    });
    ExecutionPayload { withdrawals: Some(withdrawals.collect()), ..from_first(payload.payload_inner) }
}

/// A block that `eth_getBlockByNumber` gave, with its transactions, put together again. Its hash is what it says and has to
/// be checked. `version` is that of its timestamp.
pub(crate) fn reassembled(block: &RpcBlock<Transaction>, version: PayloadVersion) -> Envelope {
    let transactions =
        block.transactions.txns().map(|transaction| Bytes::from(transaction.inner.inner.encoded_2718()));
    let header = &block.header;
    let payload = ExecutionPayload {
        parent_hash: header.parent_hash,
        fee_recipient: header.beneficiary,
        state_root: header.state_root,
        receipts_root: header.receipts_root,
        logs_bloom: header.logs_bloom,
        prev_randao: header.mix_hash().unwrap_or_default(),
        block_number: header.number,
        gas_limit: header.gas_limit,
        gas_used: header.gas_used,
        timestamp: header.timestamp,
        extra_data: header.extra_data.clone(),
        base_fee_per_gas: U256::from(header.base_fee_per_gas.unwrap_or_default()),
        block_hash: header.hash,
        transactions: transactions.collect(),
        withdrawals: version.has_withdrawals().then(Vec::new),
        blob_gas_used: header.blob_gas_used.filter(|_| version.has_beacon_root()),
        excess_blob_gas: header.excess_blob_gas.filter(|_| version.has_beacon_root()),
        withdrawals_root: header.withdrawals_root.filter(|_| version.has_withdrawals_root()),
    };
    let root = header.parent_beacon_block_root.filter(|_| version.has_beacon_root());
    Envelope { parent_beacon_block_root: root, payload }
}
