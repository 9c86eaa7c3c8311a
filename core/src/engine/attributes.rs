//! Attributes of a development chain's blocks, and the deposit with which every block begins
//! (specs: `derivation.md`, `deposits.md`, and `exec-engine.md` of Holocene and Jovian).
//!
//! A development chain has no L1 behind it. All its blocks belong to the epoch of the L1 block that
//! its `rollup.json` names, and their sequence numbers count from the first block on.

use crate::chain::{BlockId, ChainConfig, ConfigError, Fork};
use crate::payload::BaseTime;
use alloy_primitives::{Address, B64, B256, Bytes, U256, address, b256, keccak256};
use alloy_rlp::{Encodable, Header};
use serde::Deserialize;

/// Recipient of the priority fees (`SequencerFeeVault`).
pub const FEE_VAULT: Address = address!("4200000000000000000000000000000000000011");
/// Sender of the L1 info deposit (`L1 attributes depositor`).
pub const DEPOSITOR: Address = address!("deaddeaddeaddeaddeaddeaddeaddeaddead0001");
/// Contract that the deposit calls (`L1Block`).
pub const L1_BLOCK: Address = address!("4200000000000000000000000000000000000015");
/// EIP-2718 type of a deposit.
pub const DEPOSIT_TYPE: u8 = 0x7e;
/// Gas limit of the deposit.
const DEPOSIT_GAS: u64 = 1_000_000;
/// Domain of the source hash of an L1 info deposit.
const L1_INFO_DOMAIN: B256 =
    b256!("0000000000000000000000000000000000000000000000000000000000000001");
/// Default footprint gas scalar (Jovian), for system configurations without one.
const FOOTPRINT_GAS_SCALAR: u16 = 400;

/// Attributes from which an engine builds a block (`PayloadAttributesV1` to `V3` of the OP Stack).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadAttributes {
    /// Timestamp in Unix seconds.
    pub timestamp: u64,
    /// Randomness of the L1 origin.
    pub prev_randao: B256,
    /// Recipient of the priority fees.
    pub fee_recipient: Address,
    /// Whether the block has a list of withdrawals, always empty (Canyon).
    pub has_withdrawals: bool,
    /// Parent beacon block root of the L1 origin (Ecotone).
    pub parent_beacon_block_root: Option<B256>,
    /// Encoded transactions with which the block begins.
    pub transactions: Vec<Bytes>,
    /// Gas limit of the block.
    pub gas_limit: u64,
    /// EIP-1559 denominator and elasticity; zeros select the chain's own (Holocene).
    pub eip_1559_params: Option<B64>,
    /// Minimum base fee (Jovian).
    pub min_base_fee: Option<u64>,
    /// Milliseconds beyond the timestamp, which the second transaction also contains (Denim).
    pub timestamp_millis_part: Option<u16>,
}

/// L1 data of a development chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DevelopmentL1 {
    /// The L1 block to which all epochs belong.
    pub origin: BlockId,
    /// Timestamp of that block, in Unix seconds.
    pub timestamp: u64,
    /// Address of the batch submitter.
    pub batcher: Address,
}

/// The fields of a `rollup.json` that concern L1.
#[derive(Deserialize)]
struct Rollup {
    genesis: RollupGenesis,
}

#[derive(Deserialize)]
struct RollupGenesis {
    l1: RollupId,
    l2_time: u64,
    system_config: Option<RollupSystem>,
}

#[derive(Deserialize)]
struct RollupId {
    hash: B256,
    number: u64,
}

#[derive(Deserialize)]
struct RollupSystem {
    #[serde(rename = "batcherAddr")]
    batcher: Address,
}

impl DevelopmentL1 {
    /// Reads the L1 data from a `rollup.json`: `genesis.l1`, and the batcher of
    /// `genesis.system_config`. The origin's timestamp is that of the chain's first block.
    ///
    /// # Errors
    /// If the file does not name the L1 block.
    pub fn from_rollup_json(json: &str) -> Result<Self, ConfigError> {
        let read = serde_json::from_str::<Rollup>(json);
        let Rollup { genesis } = read.map_err(|error| ConfigError::Json {
            within: "rollup.json",
            reason: error.to_string(),
        })?;
        Ok(Self {
            origin: BlockId::new(genesis.l1.number, genesis.l1.hash),
            timestamp: genesis.l2_time,
            batcher: genesis.system_config.map(|system| system.batcher).unwrap_or_default(),
        })
    }

    /// Returns the attributes of the block with this number. `millis` is the millisecond part of
    /// its time, on a chain whose blocks carry it. `gas_limit` is the parent's.
    pub fn attributes(
        &self,
        chain: &ChainConfig,
        number: u64,
        timestamp: u64,
        millis: Option<u16>,
        gas_limit: u64,
    ) -> PayloadAttributes {
        let is_active = |fork| chain.forks.is_active(fork, timestamp);
        let sequence = number.saturating_sub(chain.genesis.number);
        let mut transactions = vec![self.deposit(chain, sequence, timestamp)];
        transactions.extend(millis.map(|millis| {
            Bytes::copy_from_slice(&BaseTime::of_block(number, millis).to_transaction())
        }));
        PayloadAttributes {
            timestamp,
            prev_randao: B256::ZERO,
            fee_recipient: FEE_VAULT,
            has_withdrawals: is_active(Fork::Canyon),
            parent_beacon_block_root: is_active(Fork::Ecotone).then_some(B256::ZERO),
            transactions,
            gas_limit,
            eip_1559_params: is_active(Fork::Holocene).then_some(B64::ZERO),
            min_base_fee: is_active(Fork::Jovian).then_some(0),
            timestamp_millis_part: millis,
        }
    }

    /// Returns the encoded deposit of the block with this sequence number.
    pub fn deposit(&self, chain: &ChainConfig, sequence: u64, timestamp: u64) -> Bytes {
        let mut preimage = self.origin.hash.to_vec();
        preimage.extend(U256::from(sequence).to_be_bytes::<32>());
        let deposit_id = keccak256(preimage);
        let source = keccak256([L1_INFO_DOMAIN.as_slice(), deposit_id.as_slice()].concat());
        let data = Bytes::from(self.call(chain, sequence, timestamp));
        let zero = U256::ZERO;
        // Since Regolith, the deposit is not a system transaction.
        let fields: [&dyn Encodable; 8] =
            [&source, &DEPOSITOR, &L1_BLOCK, &zero, &zero, &DEPOSIT_GAS, &false, &data];
        let payload_length = fields.iter().map(Encodable::length).sum();
        let mut encoded = vec![DEPOSIT_TYPE];
        Header { list: true, payload_length }.encode(&mut encoded);
        fields.iter().for_each(|field| field.encode(&mut encoded));
        encoded.into()
    }

    /// Returns the call data: ABI-encoded for Bedrock, packed for later forks.
    fn call(&self, chain: &ChainConfig, sequence: u64, timestamp: u64) -> Vec<u8> {
        let is_active = |fork| chain.forks.is_active(fork, timestamp);
        let base_fee = U256::from(1_000_000_000u64);
        let batcher = self.batcher.into_word();
        if !is_active(Fork::Ecotone) {
            let words = [
                U256::from(self.origin.number).into(),
                U256::from(self.timestamp).into(),
                base_fee.into(),
                self.origin.hash,
                U256::from(sequence).into(),
                batcher,
                B256::ZERO,
                B256::ZERO,
            ];
            return [&[0x01, 0x5d, 0x8e, 0xb9][..], words.concat().as_slice()].concat();
        }
        let is_isthmus = is_active(Fork::Isthmus);
        let is_jovian = is_active(Fork::Jovian);
        let mut data = match (is_isthmus, is_jovian) {
            (_, true) => vec![0x3d, 0xb6, 0xbe, 0x2b],
            (true, false) => vec![0x09, 0x89, 0x99, 0xbe],
            (false, false) => vec![0x44, 0x0a, 0x5e, 0x20],
        };
        // The scalars of the base fee and of the blob base fee are zero: transactions pay nothing
        // for L1.
        data.extend([0; 8]);
        data.extend(sequence.to_be_bytes());
        data.extend(self.timestamp.to_be_bytes());
        data.extend(self.origin.number.to_be_bytes());
        data.extend(base_fee.to_be_bytes::<32>());
        data.extend(U256::ONE.to_be_bytes::<32>());
        data.extend(self.origin.hash);
        data.extend(batcher);
        if is_isthmus {
            // The operator fee's scalar and constant.
            data.extend([0; 12]);
        }
        if is_jovian {
            data.extend(FOOTPRINT_GAS_SCALAR.to_be_bytes());
        }
        data
    }
}
