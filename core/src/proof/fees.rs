//! The L1 fee fields of receipts.
//!
//! No root commits to these fields: an execution client derives them from the block's transactions.
//! The first one, the L1 attributes deposit, contains the prices. The rest follows from the bytes
//! of the transaction that pays. So the transactions root proves the fields.
//!
//! | since | prices | the fee depends on |
//! |---|---|---|
//! | Bedrock | L1 base fee, overhead and scalar | the bytes as L1 calldata |
//! | Ecotone | L1 base fee, blob base fee and a scalar for each | the bytes as L1 calldata |
//! | Fjord | the same | the [compressed](super::fast_lz) size |
//! | Isthmus | in addition the operator fee, which is not part of the L1 fee | the same |
//! | Jovian | in addition the scalar of the data's footprint | the same |
//!
//! The first block of Ecotone, Isthmus and Jovian still has the deposit of the fork before. The
//! forms and the exceptions are op-geth's (`core/types/rollup_cost.go` and `receipt_opstack.go`),
//! except that Regolith counts as active: no chain of today has a block from before it.
//!
//! # Bounds
//! Work is proportional to the transaction. No result overflows.

use std::cmp::Ordering;
use std::fmt;

use alloy_primitives::U256;
use alloy_primitives::aliases::U1024;

use super::fast_lz::compressed_size;
use crate::chain::{Fork, ForkSchedule};
use crate::payload::{Block, deposit_items};

/// Selector of `setL1BlockValues`, Bedrock's ABI-encoded call.
const BEDROCK: [u8; 4] = [0x01, 0x5d, 0x8e, 0xb9];
/// Selector of `setL1BlockValuesEcotone`.
const ECOTONE: [u8; 4] = [0x44, 0x0a, 0x5e, 0x20];
/// Selector of `setL1BlockValuesJovian`.
const JOVIAN: [u8; 4] = [0x3d, 0xb6, 0xbe, 0x2b];
/// Minimum size of Bedrock's call: the selector and eight words.
const BEDROCK_SIZE: usize = 260;
/// Size of Ecotone's call.
const ECOTONE_SIZE: usize = 164;
/// Minimum size of Isthmus's call.
const ISTHMUS_SIZE: usize = 176;

/// Gas of a zero byte of L1 calldata.
const ZERO_BYTE_GAS: u64 = 4;
/// Gas of any other byte.
const BYTE_GAS: u64 = 16;
/// Fjord's estimate of a transaction's share of a batch, in millionths of a byte: the factor of the
/// compressed size, what is subtracted from it, and the minimum.
const SIZE_FACTOR: u64 = 836_500;
const SIZE_OFFSET: u64 = 42_585_600;
const MIN_SIZE: u64 = 100_000_000;
const MILLION: u64 = 1_000_000;

/// The prices since Ecotone, beside the L1 base fee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobPrices {
    /// `l1BlobBaseFee`: L1's blob base fee, in wei.
    pub blob_base_fee: U256,
    /// `l1BaseFeeScalar`, in millionths.
    pub base_fee_scalar: u32,
    /// `l1BlobBaseFeeScalar`, in millionths.
    pub blob_base_fee_scalar: u32,
}

/// The operator fee since Isthmus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperatorFee {
    /// `operatorFeeScalar`, by which gas is multiplied.
    pub scalar: u32,
    /// `operatorFeeConstant`, in wei.
    pub constant: u64,
}

/// The footprint of a transaction's data since Jovian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// `daFootprintGasScalar`: gas per byte.
    pub scalar: u16,
    /// The footprint in gas. Its field has the name `blobGasUsed`.
    pub gas: u64,
}

/// Bedrock's scalar in millionths, which is shown as a decimal number of at most ten digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeeScalar(pub U256);

/// The rule for the fee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    Bedrock { overhead: U256, scalar: U256 },
    Ecotone(BlobPrices),
    Fjord(BlobPrices),
}

/// The prices of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct L1Prices {
    base_fee: U256,
    rule: Rule,
    operator: Option<OperatorFee>,
    footprint_scalar: Option<u16>,
}

/// The L1 fee fields of a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct L1Fees {
    /// `l1GasPrice`: L1's base fee, in wei.
    pub gas_price: U256,
    /// `l1GasUsed`.
    pub gas_used: U1024,
    /// `l1Fee`, in wei.
    pub fee: U1024,
    /// `l1FeeScalar`, up to the first block of Ecotone.
    pub scalar: Option<FeeScalar>,
    /// The fields since Ecotone.
    pub blobs: Option<BlobPrices>,
    /// The fields since Isthmus. They are missing if both are zero.
    pub operator: Option<OperatorFee>,
    /// The fields since Jovian.
    pub footprint: Option<Footprint>,
}

impl L1Prices {
    /// Returns the prices of a block, or `None` if it does not begin with an L1 attributes deposit
    /// in the form of its fork.
    pub fn of_block(forks: &ForkSchedule, block: &Block) -> Option<Self> {
        let [.., call] = deposit_items(block.payload().transaction(0)?)?;
        Self::of_call(forks, block.timestamp(), call)
    }

    /// Reads the prices from the deposit's calldata.
    pub(super) fn of_call(forks: &ForkSchedule, timestamp: u64, call: &[u8]) -> Option<Self> {
        let is_active = |fork| forks.is_active(fork, timestamp);
        let selector = array::<4>(call, 0);
        let has_other = |than: [u8; 4]| selector.is_some_and(|selector| selector != than);
        let footprint_scalar = if is_active(Fork::Jovian) {
            if selector != Some(JOVIAN) {
                return None;
            }
            Some(u16::from_be_bytes(array(call, 176)?))
        } else {
            None
        };
        if is_active(Fork::Isthmus) && has_other(ECOTONE) {
            if call.len() < ISTHMUS_SIZE {
                return None;
            }
            let scalar = u32::from_be_bytes(array(call, 164)?);
            let constant = u64::from_be_bytes(array(call, 168)?);
            let operator = OperatorFee { scalar, constant };
            return Some(Self {
                base_fee: word(call, 36)?,
                rule: Rule::Fjord(BlobPrices::read(call)?),
                operator: (scalar != 0 || constant != 0).then_some(operator),
                footprint_scalar,
            });
        }
        let (base_fee, rule) = if is_active(Fork::Ecotone) && has_other(BEDROCK) {
            if call.len() != ECOTONE_SIZE {
                return None;
            }
            let prices = BlobPrices::read(call)?;
            let is_fjord = is_active(Fork::Fjord);
            let rule = if is_fjord { Rule::Fjord(prices) } else { Rule::Ecotone(prices) };
            (word(call, 36)?, rule)
        } else {
            if call.len() < BEDROCK_SIZE {
                return None;
            }
            let argument = |index: usize| word(call, 4 + 32 * index);
            (argument(2)?, Rule::Bedrock { overhead: argument(6)?, scalar: argument(7)? })
        };
        Some(Self { base_fee, rule, operator: None, footprint_scalar })
    }

    /// Returns the fields of the receipt of a transaction with these bytes. Deposits have none.
    pub fn fees(&self, raw: &[u8]) -> L1Fees {
        let million = U1024::from(MILLION);
        let base_fee = U1024::from(self.base_fee);
        // At most 769 bits: gas with an overhead of 256 bits, a price and a scalar.
        let (gas_used, fee) = match self.rule {
            Rule::Bedrock { overhead, scalar } => {
                let gas = U1024::from(calldata_gas(raw)) + U1024::from(overhead);
                (gas, gas * base_fee * U1024::from(scalar) / million)
            }
            Rule::Ecotone(prices) => {
                let gas = U1024::from(calldata_gas(raw));
                let byte_gas = U1024::from(BYTE_GAS);
                (gas, gas * prices.per_byte(base_fee) / (byte_gas * million))
            }
            Rule::Fjord(prices) => {
                let size = U1024::from(estimated_size(raw));
                let fee = size * prices.per_byte(base_fee) / (million * million);
                (size * U1024::from(BYTE_GAS) / million, fee)
            }
        };
        let (scalar, blobs) = match self.rule {
            Rule::Bedrock { scalar, .. } => (Some(FeeScalar(scalar)), None),
            Rule::Ecotone(prices) | Rule::Fjord(prices) => (None, Some(prices)),
        };
        let footprint = self.footprint_scalar.map(|scalar| {
            let bytes = estimated_size(raw) / MILLION;
            Footprint { scalar, gas: bytes.saturating_mul(scalar.into()) }
        });
        let (gas_price, operator) = (self.base_fee, self.operator);
        L1Fees { gas_price, gas_used, fee, scalar, blobs, operator, footprint }
    }
}

impl BlobPrices {
    /// Reads the prices from a packed call.
    fn read(call: &[u8]) -> Option<Self> {
        Some(Self {
            base_fee_scalar: u32::from_be_bytes(array(call, 4)?),
            blob_base_fee_scalar: u32::from_be_bytes(array(call, 8)?),
            blob_base_fee: word(call, 68)?,
        })
    }

    /// Returns the price of a byte of a batch, in millionths of a wei.
    fn per_byte(&self, base_fee: U1024) -> U1024 {
        let calldata = U1024::from(BYTE_GAS) * base_fee * U1024::from(self.base_fee_scalar);
        calldata + U1024::from(self.blob_base_fee) * U1024::from(self.blob_base_fee_scalar)
    }
}

/// Returns the gas of these bytes as L1 calldata.
fn calldata_gas(raw: &[u8]) -> u64 {
    raw.iter().map(|byte| if *byte == 0 { ZERO_BYTE_GAS } else { BYTE_GAS }).sum()
}

/// Returns the estimated size of a transaction in a batch, in millionths of a byte (Fjord).
fn estimated_size(raw: &[u8]) -> u64 {
    let size = (compressed_size(raw) as u64).saturating_mul(SIZE_FACTOR);
    size.saturating_sub(SIZE_OFFSET).max(MIN_SIZE)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn word(bytes: &[u8], at: usize) -> Option<U256> {
    array::<32>(bytes, at).map(U256::from_be_bytes::<32>)
}

/// As Go shows a floating-point number with ten significant digits: with an exponent if the number
/// is below 0.0001, or has more than ten digits before the point.
impl fmt::Display for FeeScalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Maximum number of significant digits.
        const DIGITS: usize = 10;
        if self.0.is_zero() {
            return f.write_str("0");
        }
        let dropped = self.0.to_string().len().saturating_sub(DIGITS);
        let unit = U256::from(10).pow(U256::from(dropped));
        let (mut kept, rest) = self.0.div_rem(unit);
        // The nearest number, and an even one of two that are equally near.
        match (rest * U256::from(2)).cmp(&unit) {
            Ordering::Greater => kept += U256::ONE,
            Ordering::Equal if kept.bit(0) => kept += U256::ONE,
            _ => {}
        }
        let text = kept.to_string();
        let digits = text.trim_end_matches('0');
        // The first digit is worth ten to this power: the number is in millionths.
        let exponent = (text.len() + dropped) as isize - 7;
        if !(-4..DIGITS as isize).contains(&exponent) {
            let (first, rest) = digits.split_at(1);
            let point = if rest.is_empty() { "" } else { "." };
            let sign = if exponent < 0 { '-' } else { '+' };
            return write!(f, "{first}{point}{rest}e{sign}{:02}", exponent.unsigned_abs());
        }
        if exponent < 0 {
            let zeros = exponent.unsigned_abs() - 1;
            return write!(f, "0.{}{digits}", "0".repeat(zeros));
        }
        let whole = exponent.unsigned_abs() + 1;
        if digits.len() <= whole {
            write!(f, "{digits:0<whole$}")
        } else {
            let (whole, rest) = digits.split_at(whole);
            write!(f, "{whole}.{rest}")
        }
    }
}
