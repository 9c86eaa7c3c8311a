//! L1 attributes of a block, from the deposit at the start of each block (specs: `deposits.md`, "L1
//! attributes").
//!
//! As with everything in an unsafe block, only the sequencer vouches for them.

use alloy_primitives::B256;
use alloy_rlp::Header;

use crate::engine::attributes::{DEPOSIT_TYPE, DEPOSITOR, L1_BLOCK};

/// Selector of `setL1BlockValues`, Bedrock's ABI-encoded call.
const BEDROCK: [u8; 4] = [0x01, 0x5d, 0x8e, 0xb9];
/// Selectors of the packed calls: `setL1BlockValuesEcotone`, `…Isthmus` and `…Jovian`. The calls
/// differ only after the fields that are decoded here.
const PACKED: [[u8; 4]; 3] =
    [[0x44, 0x0a, 0x5e, 0x20], [0x09, 0x89, 0x99, 0xbe], [0x3d, 0xb6, 0xbe, 0x2b]];
/// Size in bytes of the shortest packed call, Ecotone's.
const PACKED_SIZE: usize = 164;
/// Size in bytes of Bedrock's call.
const BEDROCK_SIZE: usize = 260;
/// Number of fields of a deposit; the last is the calldata.
const DEPOSIT_FIELDS: usize = 8;

/// The L1 origin of an L2 block, and the block's position among the blocks with the same origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct L1Info {
    /// Number of the L1 block.
    pub number: u64,
    /// Timestamp of the L1 block, in Unix seconds.
    pub timestamp: u64,
    /// Hash of the L1 block.
    pub hash: B256,
    /// Number of earlier L2 blocks with the same L1 origin.
    pub sequence_number: u64,
}

impl L1Info {
    /// Decodes a block's first transaction. Returns `None` if it is not the L1 attributes deposit
    /// in one of the formats up to Jovian.
    pub fn from_transaction(transaction: &[u8]) -> Option<Self> {
        let [_source, from, to, .., data] = deposit_items(transaction)?;
        if from != DEPOSITOR.as_slice() || to != L1_BLOCK.as_slice() {
            return None;
        }
        Self::from_call(data)
    }

    /// Decodes the calldata.
    fn from_call(data: &[u8]) -> Option<Self> {
        let selector = data.first_chunk::<4>()?;
        if *selector == BEDROCK && data.len() == BEDROCK_SIZE {
            // The number is the last 8 of 32 bytes.
            let word = |index: usize| number(data, 4 + 32 * index + 24);
            return Some(Self {
                number: word(0)?,
                timestamp: word(1)?,
                hash: hash(data, 4 + 32 * 3)?,
                sequence_number: word(4)?,
            });
        }
        if !PACKED.contains(selector) || data.len() < PACKED_SIZE {
            return None;
        }
        Some(Self {
            sequence_number: number(data, 12)?,
            timestamp: number(data, 20)?,
            number: number(data, 28)?,
            hash: hash(data, 100)?,
        })
    }
}

/// Returns the fields of a deposit, without decoding them. The last one is the calldata.
pub(crate) fn deposit_items(transaction: &[u8]) -> Option<[&[u8]; DEPOSIT_FIELDS]> {
    let mut list = transaction.strip_prefix(&[DEPOSIT_TYPE])?;
    let mut fields = Header::decode_bytes(&mut list, true).ok()?;
    let mut items = [&[][..]; DEPOSIT_FIELDS];
    for item in &mut items {
        *item = Header::decode_bytes(&mut fields, false).ok()?;
    }
    (list.is_empty() && fields.is_empty()).then_some(items)
}

fn number(data: &[u8], at: usize) -> Option<u64> {
    data.get(at..)?.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

fn hash(data: &[u8], at: usize) -> Option<B256> {
    data.get(at..)?.first_chunk::<32>().map(B256::from)
}

#[cfg(test)]
mod tests {
    use alloy_primitives::Address;
    #[cfg(feature = "fixtures")]
    use alloy_primitives::b256;
    use proptest::prelude::*;

    use super::*;
    use crate::chain::{BlockId, ChainConfig, Fork};
    use crate::engine::DevelopmentL1;

    #[cfg(feature = "fixtures")]
    #[test]
    fn l1_info_is_read_from_real_blocks() {
        let found = crate::fixtures::blocks().into_iter().map(|block| {
            let payload = block.envelope.payload;
            let info = L1Info::from_transaction(&payload.transactions[0]).unwrap();
            (payload.block_number, info.number, info.timestamp, info.hash, info.sequence_number)
        });
        // Extracted from the files with an independent program.
        let expected = [
            (
                120_794_432,
                19_992_214,
                1_717_187_495,
                b256!("5346d208a396843018a2e666c8e7832067358433fb87ca421273c6a4e69f78d5"),
                3,
            ),
            (
                121_003_241,
                20_026_840,
                1_717_605_119,
                b256!("93a1359bf7a89d8b2b2073a153c47f9c399f8f7a864e4f25744d6832cb6fadd8"),
                4,
            ),
            (
                121_049_889,
                20_034_567,
                1_717_698_419,
                b256!("e885b088376fedbd0490a7991be47854872f6467c476d255eed3151d5f6a9594"),
                0,
            ),
            (
                121_057_303,
                20_035_799,
                1_717_713_251,
                b256!("c10a3bb5847ad354f9a70b56f253baaea1c3841647851c4c62e10b22fe4e8694"),
                1,
            ),
            (
                121_135_704,
                20_048_794,
                1_717_870_043,
                b256!("427035b1edf748d109f4a751c5e2e33122340b0e22961600d8b76cfde3c7a6b5"),
                7,
            ),
            (
                26_207_960,
                8_085_313,
                1_744_218_384,
                b256!("9244875342f5e0c1624d00f249b1a7996137b1eb44bdf16396f98f76a1bec6fa"),
                0,
            ),
            (
                26_207_961,
                8_085_313,
                1_744_218_384,
                b256!("9244875342f5e0c1624d00f249b1a7996137b1eb44bdf16396f98f76a1bec6fa"),
                1,
            ),
            (
                26_207_962,
                8_085_313,
                1_744_218_384,
                b256!("9244875342f5e0c1624d00f249b1a7996137b1eb44bdf16396f98f76a1bec6fa"),
                2,
            ),
            (
                26_207_963,
                8_085_313,
                1_744_218_384,
                b256!("9244875342f5e0c1624d00f249b1a7996137b1eb44bdf16396f98f76a1bec6fa"),
                3,
            ),
        ];
        assert_eq!(found.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn deposits_of_a_development_chain_are_read_in_every_fork() {
        let origin = BlockId::new(0x0102_0304_0506, B256::repeat_byte(0xab));
        let l1 = DevelopmentL1 { origin, timestamp: 1_700_000_000, batcher: Address::ZERO };
        for fork in Fork::ALL {
            let signer = Address::repeat_byte(1);
            let chain = ChainConfig::development(901, B256::ZERO, 9000, 2, fork, signer);
            let deposit = l1.deposit(&chain, 77, 9154);
            let expected = L1Info {
                number: origin.number,
                timestamp: l1.timestamp,
                hash: origin.hash,
                sequence_number: 77,
            };
            assert_eq!(L1Info::from_transaction(&deposit), Some(expected), "{fork}");
            // A truncated or extended deposit, or one from another sender, is not decoded.
            for length in 0..deposit.len() {
                assert_eq!(L1Info::from_transaction(&deposit[..length]), None);
            }
            assert_eq!(L1Info::from_transaction(&[&deposit[..], &[0]].concat()), None);
            let at = deposit.windows(20).position(|part| part == DEPOSITOR.as_slice()).unwrap();
            let mut other = deposit.to_vec();
            other[at] ^= 1;
            assert_eq!(L1Info::from_transaction(&other), None);
        }
    }

    #[test]
    fn a_call_of_unknown_form_yields_nothing() {
        let mut data = vec![0; 300];
        data[..4].copy_from_slice(&[0x12, 0x34, 0x56, 0x78]);
        assert_eq!(L1Info::from_call(&data), None);
        data[..4].copy_from_slice(&BEDROCK);
        assert_eq!(L1Info::from_call(&data), None);
        data[..4].copy_from_slice(&PACKED[0]);
        assert!(L1Info::from_call(&data).is_some());
        assert_eq!(L1Info::from_call(&data[..PACKED_SIZE - 1]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(data: Vec<u8>) {
            let _ = L1Info::from_transaction(&data);
            let _ = L1Info::from_transaction(&[&[DEPOSIT_TYPE][..], &data].concat());
            let _ = L1Info::from_call(&data);
        }
    }
}
