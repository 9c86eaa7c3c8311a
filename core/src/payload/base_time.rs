//! The deposit that carries the milliseconds of a block's time on Base.
//!
//! A header contains whole seconds. From Denim on, the second transaction of each block is a
//! deposit of 122 bytes that sets the millisecond part. Only two fields differ between blocks: the
//! source hash, which follows from the block's number, and the milliseconds.
//!
//! Source: Base's "200ms blocks" documentation and its client's `base_time.rs`.

use alloy_primitives::{Address, B256, address, keccak256};

/// Type byte of a deposit transaction.
const DEPOSIT: u8 = 0x7e;
/// Sender of the system's deposits.
const DEPOSITOR: Address = address!("deaddeaddeaddeaddeaddeaddeaddeaddead0001");
/// The contract that holds the millisecond part.
const CONTRACT: Address = address!("4200000000000000000000000000000000000030");
/// Domain of the source hashes of these deposits.
const SOURCE_DOMAIN: u8 = 3;

/// Size of the raw transaction in bytes.
pub const BASE_TIME_SIZE: usize = 122;
/// Index of the deposit among the block's transactions.
pub const BASE_TIME_INDEX: usize = 1;

/// Type byte, list header and header of the source hash.
const BEFORE_SOURCE: [u8; 4] = [DEPOSIT, 0xf8, 0x77, 0xa0];
/// The bytes from the sender to the last zero before the milliseconds: sender, contract, mint,
/// value, gas (1,000,000), not a system transaction, calldata of `setTimestampMillisPart(uint16)`.
const AFTER_SOURCE: [u8; 84] = after_source();
const SOURCE_AT: usize = BEFORE_SOURCE.len();
const AFTER_AT: usize = SOURCE_AT + 32;
const MILLIS_AT: usize = BASE_TIME_SIZE - 2;

const fn after_source() -> [u8; 84] {
    let mut bytes = [0; 84];
    let (sender, contract) = (DEPOSITOR.0.0, CONTRACT.0.0);
    bytes[0] = 0x94;
    bytes[21] = 0x94;
    let mut at = 0;
    while at < 20 {
        bytes[1 + at] = sender[at];
        bytes[22 + at] = contract[at];
        at += 1;
    }
    let rest = [0x80, 0x80, 0x83, 0x0f, 0x42, 0x40, 0x80, 0xa4, 0x86, 0xbd, 0xf3, 0x94];
    let mut at = 0;
    while at < rest.len() {
        bytes[42 + at] = rest[at];
        at += 1;
    }
    bytes
}

/// The fields of the deposit that differ between blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BaseTime {
    /// The milliseconds beyond the header's timestamp.
    pub millis: u16,
    /// The deposit's source hash; [`source_hash`](Self::source_hash) returns the required one.
    pub source_hash: B256,
}

impl BaseTime {
    /// Returns the deposit of the block with this number and this millisecond part.
    pub fn of_block(number: u64, millis: u16) -> Self {
        Self { millis, source_hash: Self::source_hash(number) }
    }

    /// Returns the source hash of the deposit in the block with this number.
    pub fn source_hash(number: u64) -> B256 {
        let word = |value: u64| {
            let mut word = [0; 32];
            word[24..].copy_from_slice(&value.to_be_bytes());
            word
        };
        let inner = keccak256(word(number));
        let mut outer = [0; 64];
        outer[..32].copy_from_slice(&word(SOURCE_DOMAIN.into()));
        outer[32..].copy_from_slice(inner.as_slice());
        keccak256(outer)
    }

    /// Decodes a raw transaction. Returns `None` unless it equals such a deposit in every byte
    /// outside the two fields.
    pub fn read(transaction: &[u8]) -> Option<Self> {
        let bytes: &[u8; BASE_TIME_SIZE] = transaction.try_into().ok()?;
        let (source_hash, rest) = bytes.strip_prefix(&BEFORE_SOURCE)?.split_first_chunk::<32>()?;
        let millis: &[u8; 2] = rest.strip_prefix(&AFTER_SOURCE)?.try_into().ok()?;
        Some(Self { millis: u16::from_be_bytes(*millis), source_hash: B256::new(*source_hash) })
    }

    /// Encodes the deposit as a raw transaction.
    pub fn to_transaction(self) -> [u8; BASE_TIME_SIZE] {
        let mut bytes = [0; BASE_TIME_SIZE];
        bytes[..SOURCE_AT].copy_from_slice(&BEFORE_SOURCE);
        bytes[SOURCE_AT..AFTER_AT].copy_from_slice(self.source_hash.as_slice());
        bytes[AFTER_AT..MILLIS_AT].copy_from_slice(&AFTER_SOURCE);
        bytes[MILLIS_AT..].copy_from_slice(&self.millis.to_be_bytes());
        bytes
    }

    /// Returns `true` if a raw transaction is a deposit from the system's sender to the contract
    /// that holds the millisecond part, with any contents otherwise. A block has exactly one.
    pub fn is_addressed_by(transaction: &[u8]) -> bool {
        let Some((&DEPOSIT, list)) = transaction.split_first() else { return false };
        // The RLP list header, short or long.
        let header = match list.first() {
            Some(long @ 0xf8..) => 1 + usize::from(long - 0xf7),
            Some(0xc0..) => 1,
            _ => return false,
        };
        let parties = list.get(header..).and_then(|fields| fields.get(33..75));
        parties == Some(&AFTER_SOURCE[..42])
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{b256, hex};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_two_deposits_of_base_are_known() {
        for (number, millis, source_hash, hash) in [
            (
                53_556_127,
                0,
                b256!("732c0e3790ffb8b0c2c505631185452a46004ee3b97d48b751ca5b653363f46d"),
                b256!("68e75820baabd1e8fea5dd4261da8d8324743ba8e1bd99d228d979dbddf594f9"),
            ),
            (
                53_556_128,
                200,
                b256!("fcdd244deecb482cd1d3ffbf23efc224600f3cf97156779dce3e5cb32f27d930"),
                b256!("307d72aaea9895b2516bea6bff3a96dfe1e579e38670dd4ccf55a25ba6fe158a"),
            ),
        ] {
            let deposit = BaseTime::of_block(number, millis);
            assert_eq!(deposit.source_hash, source_hash);
            let bytes = deposit.to_transaction();
            assert_eq!(keccak256(bytes), hash);
            assert_eq!(BaseTime::read(&bytes), Some(deposit));
            assert!(BaseTime::is_addressed_by(&bytes));
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_template() {
        let bytes = BaseTime { millis: 0x0320, source_hash: B256::repeat_byte(0x5a) };
        let expected = [
            "7ef877a0",
            &"5a".repeat(32),
            "94deaddeaddeaddeaddeaddeaddeaddeaddead0001",
            "944200000000000000000000000000000000000030",
            "8080830f424080a486bdf394",
            &"00".repeat(30),
            "0320",
        ];
        assert_eq!(hex::encode(bytes.to_transaction()), expected.concat());
    }

    #[test]
    fn a_longer_deposit_to_the_contract_is_noticed() {
        let mut bytes = BaseTime::of_block(1, 200).to_transaction().to_vec();
        bytes.push(0);
        bytes.splice(1..3, [0xf9, 0x01, 0x78]);
        assert_eq!(BaseTime::read(&bytes), None);
        assert!(BaseTime::is_addressed_by(&bytes));
        for other in
            [&[][..], &[DEPOSIT], &[DEPOSIT, 0xf8], &[DEPOSIT, 0xff, 0x77, 0xa0], &[2; 122]]
        {
            assert!(!BaseTime::is_addressed_by(other));
        }
    }

    proptest! {
        #[test]
        fn any_other_byte_makes_it_another_transaction(
            at in 0..BASE_TIME_SIZE, flip in 1..=255_u8
        ) {
            let deposit = BaseTime::of_block(7, 400);
            let mut bytes = deposit.to_transaction();
            bytes[at] ^= flip;
            let read = BaseTime::read(&bytes);
            let is_field = (SOURCE_AT..AFTER_AT).contains(&at) || at >= MILLIS_AT;
            prop_assert_eq!(read.is_some(), is_field);
            prop_assert_ne!(read, Some(deposit));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = (BaseTime::read(&bytes), BaseTime::is_addressed_by(&bytes));
        }
    }
}
