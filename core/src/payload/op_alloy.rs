//! Conversions between this crate's payloads and those of op-alloy, for programs that use both,
//! such as execution clients.
//!
//! [`ExecutionPayload`] and [`OpExecutionPayload`], and [`Envelope`] and
//! [`OpExecutionPayloadEnvelope`], become each other. op-alloy's types name the version, ours
//! derive it from the fields that are present. Sizes are not checked: only an encoding has limits.

use super::{EncodeError, Envelope, ExecutionPayload, PayloadVersion, Withdrawal};
use alloy_eips::eip4895::Withdrawal as AlloyWithdrawal;
use alloy_rpc_types_engine::{ExecutionPayloadV1, ExecutionPayloadV2, ExecutionPayloadV3};
use op_alloy_rpc_types_engine::{
    OpExecutionPayload, OpExecutionPayloadEnvelope, OpExecutionPayloadV4,
};

impl From<Withdrawal> for AlloyWithdrawal {
    fn from(withdrawal: Withdrawal) -> Self {
        let Withdrawal { index, validator_index, address, amount } = withdrawal;
        Self { index, validator_index, address, amount }
    }
}

impl From<AlloyWithdrawal> for Withdrawal {
    fn from(withdrawal: AlloyWithdrawal) -> Self {
        let AlloyWithdrawal { index, validator_index, address, amount } = withdrawal;
        Self { index, validator_index, address, amount }
    }
}

impl TryFrom<ExecutionPayload> for OpExecutionPayload {
    type Error = EncodeError;

    /// Moves the parts of a payload.
    ///
    /// # Errors
    /// If the payload's fields match no version.
    fn try_from(payload: ExecutionPayload) -> Result<Self, EncodeError> {
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
            extra_data: payload.extra_data,
            base_fee_per_gas: payload.base_fee_per_gas,
            block_hash: payload.block_hash,
            transactions: payload.transactions,
        };
        if version == PayloadVersion::V1 {
            return Ok(Self::V1(first));
        }
        let withdrawals = payload.withdrawals.unwrap_or_default();
        let withdrawals = withdrawals.into_iter().map(Into::into).collect();
        let second = ExecutionPayloadV2 { payload_inner: first, withdrawals };
        if version == PayloadVersion::V2 {
            return Ok(Self::V2(second));
        }
        let third = ExecutionPayloadV3 {
            payload_inner: second,
            blob_gas_used: payload.blob_gas_used.unwrap_or_default(),
            excess_blob_gas: payload.excess_blob_gas.unwrap_or_default(),
        };
        Ok(match payload.withdrawals_root {
            Some(withdrawals_root) if version == PayloadVersion::V4 => {
                Self::V4(OpExecutionPayloadV4 { payload_inner: third, withdrawals_root })
            }
            _ => Self::V3(third),
        })
    }
}

impl From<OpExecutionPayload> for ExecutionPayload {
    fn from(payload: OpExecutionPayload) -> Self {
        let (third, withdrawals_root) = match payload {
            OpExecutionPayload::V1(first) => return from_first(first),
            OpExecutionPayload::V2(second) => return from_second(second),
            OpExecutionPayload::V3(third) => (third, None),
            OpExecutionPayload::V4(fourth) => (fourth.payload_inner, Some(fourth.withdrawals_root)),
        };
        Self {
            blob_gas_used: Some(third.blob_gas_used),
            excess_blob_gas: Some(third.excess_blob_gas),
            withdrawals_root,
            ..from_second(third.payload_inner)
        }
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
    let withdrawals = payload.withdrawals.into_iter().map(Into::into).collect();
    ExecutionPayload { withdrawals: Some(withdrawals), ..from_first(payload.payload_inner) }
}

impl TryFrom<Envelope> for OpExecutionPayloadEnvelope {
    type Error = EncodeError;

    /// Moves the parts of an envelope.
    ///
    /// # Errors
    /// If the payload's fields match no version.
    fn try_from(envelope: Envelope) -> Result<Self, EncodeError> {
        Ok(Self {
            parent_beacon_block_root: envelope.parent_beacon_block_root,
            execution_payload: envelope.payload.try_into()?,
        })
    }
}

impl From<OpExecutionPayloadEnvelope> for Envelope {
    fn from(envelope: OpExecutionPayloadEnvelope) -> Self {
        Self {
            parent_beacon_block_root: envelope.parent_beacon_block_root,
            payload: envelope.execution_payload.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::{Address, B256, Bytes, U256, keccak256};

    /// Payloads of every version, each field different.
    fn payloads() -> Vec<ExecutionPayload> {
        let first = ExecutionPayload {
            parent_hash: B256::repeat_byte(1),
            fee_recipient: Address::repeat_byte(2),
            state_root: B256::repeat_byte(3),
            receipts_root: B256::repeat_byte(4),
            logs_bloom: alloy_primitives::Bloom::repeat_byte(5),
            prev_randao: B256::repeat_byte(6),
            block_number: 7,
            gas_limit: 8,
            gas_used: 9,
            timestamp: 10,
            extra_data: Bytes::from_static(&[11]),
            base_fee_per_gas: U256::from(12),
            block_hash: B256::repeat_byte(13),
            transactions: vec![Bytes::from_static(&[14, 15]), Bytes::new()],
            ..ExecutionPayload::default()
        };
        let withdrawal =
            Withdrawal { index: 16, validator_index: 17, address: Address::ZERO, amount: 18 };
        let second = ExecutionPayload { withdrawals: Some(vec![withdrawal]), ..first.clone() };
        let third = ExecutionPayload {
            blob_gas_used: Some(19),
            excess_blob_gas: Some(20),
            withdrawals: Some(Vec::new()),
            ..second.clone()
        };
        let fourth =
            ExecutionPayload { withdrawals_root: Some(B256::repeat_byte(21)), ..third.clone() };
        vec![first, second, third, fourth]
    }

    #[test]
    fn every_version_becomes_op_alloys_and_comes_back() {
        for (version, payload) in (1..).zip(payloads()) {
            for parent_beacon_block_root in [None, Some(B256::repeat_byte(22))] {
                let envelope = Envelope { parent_beacon_block_root, payload: payload.clone() };
                let theirs = OpExecutionPayloadEnvelope::try_from(envelope.clone()).unwrap();
                let named = match &theirs.execution_payload {
                    OpExecutionPayload::V1(_) => 1,
                    OpExecutionPayload::V2(_) => 2,
                    OpExecutionPayload::V3(_) => 3,
                    OpExecutionPayload::V4(_) => 4,
                };
                assert_eq!(named, version);
                assert_eq!(Envelope::from(theirs), envelope);
            }
        }
    }

    #[test]
    fn op_alloy_computes_the_hash_that_the_sequencer_signs() {
        for payload in payloads() {
            let root = payload.blob_gas_used.map(|_| B256::repeat_byte(23));
            let envelope = Envelope { parent_beacon_block_root: root, payload };
            let mut signed = Vec::new();
            envelope.encode(&mut signed).unwrap();
            let theirs = OpExecutionPayloadEnvelope::try_from(envelope).unwrap();
            assert_eq!(theirs.payload_hash().0, keccak256(&signed));
        }
    }

    #[test]
    fn a_payload_of_no_version_is_an_error() {
        let mixed = ExecutionPayload { blob_gas_used: Some(0), ..payloads().remove(0) };
        assert!(OpExecutionPayload::try_from(mixed).is_err());
    }
}
