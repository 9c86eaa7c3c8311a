//! Parses the parameters of the methods.

use alloy_primitives::{Address, B256, Bytes, U256, hex};
use serde_json::Value;

use super::error::ReadError;
use crate::chain::BlockTag;

/// A block parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Tag(BlockTag),
    Number(u64),
    Hash(B256),
}

impl Place {
    /// Returns `true` if the parameter names the head.
    pub(super) const fn is_head(self) -> bool {
        matches!(self, Self::Tag(BlockTag::Latest | BlockTag::Pending))
    }
}

const PLACE: &str = "a block is expected: latest, pending, safe, finalized, earliest, a number \
     such as 0x1b4, a hash, or an object with blockHash or blockNumber";

/// The list of parameters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Params<'a>(&'a [Value]);

type Read<T> = Result<T, ReadError>;

pub(super) fn wrong(index: usize, expected: impl Into<String>) -> ReadError {
    ReadError::BadParams { index, expected: expected.into() }
}

impl<'a> Params<'a> {
    /// Parses a list of at most `most` parameters. Null is an empty list.
    pub(super) fn read(params: &'a Value, most: usize) -> Read<Self> {
        let list = match params {
            Value::Array(list) => &list[..],
            Value::Null => &[],
            _ => return Err(wrong(0, "the parameters must be a list")),
        };
        match list.len() <= most {
            true => Ok(Self(list)),
            false => Err(wrong(most, format!("there are at most {most} parameters"))),
        }
    }

    pub(super) fn at(self, index: usize) -> &'a Value {
        self.0.get(index).unwrap_or(&Value::Null)
    }

    pub(super) fn address(self, index: usize) -> Read<Address> {
        fixed::<20>(self.at(index))
            .map(Address::from)
            .ok_or_else(|| wrong(index, "an address is expected: 0x and 40 hexadecimal digits"))
    }

    pub(super) fn hash(self, index: usize) -> Read<B256> {
        fixed::<32>(self.at(index))
            .map(B256::from)
            .ok_or_else(|| wrong(index, "a hash is expected: 0x and 64 hexadecimal digits"))
    }

    pub(super) fn quantity(self, index: usize) -> Read<u64> {
        number(self.at(index)).ok_or_else(|| {
            wrong(index, "a number is expected: 0x and hexadecimal digits without leading zeros")
        })
    }

    /// Parses a boolean. The default is `false`.
    pub(super) fn flag(self, index: usize) -> Read<bool> {
        match self.at(index) {
            Value::Null => Ok(false),
            Value::Bool(flag) => Ok(*flag),
            _ => Err(wrong(index, "true or false is expected")),
        }
    }

    pub(super) fn bytes(self, index: usize, most: usize) -> Read<Bytes> {
        let digits = self.at(index).as_str().and_then(|text| text.strip_prefix("0x"));
        digits
            .filter(|digits| digits.len() <= 2 * most)
            .and_then(|digits| hex::decode(digits).ok())
            .map(Bytes::from)
            .ok_or_else(|| {
                wrong(index, format!("at most {most} bytes are expected: 0x and two digits each"))
            })
    }

    pub(super) fn slot(self, index: usize) -> Read<B256> {
        slot(self.at(index))
            .ok_or_else(|| wrong(index, "a slot is expected: 0x and at most 64 hexadecimal digits"))
    }

    /// Parses a block. The default is `latest`.
    pub(super) fn place(self, index: usize) -> Read<Place> {
        place(self.at(index)).ok_or_else(|| wrong(index, PLACE))
    }
}

/// Parses a block: a tag, number, hash, or object (EIP-1898).
pub(super) fn place(value: &Value) -> Option<Place> {
    match value {
        Value::Null => Some(Place::Tag(BlockTag::Latest)),
        Value::String(text) => {
            let tag = BlockTag::from_name(text).map(Place::Tag);
            let hash = || fixed::<32>(value).map(|hash| Place::Hash(hash.into()));
            tag.or_else(hash).or_else(|| number(value).map(Place::Number))
        }
        Value::Object(fields) => match (fields.get("blockHash"), fields.get("blockNumber")) {
            (Some(hash), None) => fixed::<32>(hash).map(|hash| Place::Hash(hash.into())),
            (None, Some(number)) => place(number).filter(|_| number.is_string()),
            _ => None,
        },
        _ => None,
    }
}

/// Parses a slot: a number of at most 256 bits. Leading zeros are allowed.
pub(super) fn slot(value: &Value) -> Option<B256> {
    let digits = value.as_str()?.strip_prefix("0x")?;
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_short = (1..=64).contains(&digits.len());
    let slot = (is_hex && is_short).then(|| U256::from_str_radix(digits, 16).ok()).flatten()?;
    Some(slot.into())
}

/// Parses a number without leading zeros.
pub(super) fn number(value: &Value) -> Option<u64> {
    let digits = value.as_str()?.strip_prefix("0x")?;
    // `from_str_radix` would accept a sign.
    let is_written_so = digits == "0" || !digits.starts_with(['0', '+', '-']);
    is_written_so.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

pub(super) fn fixed<const N: usize>(value: &Value) -> Option<[u8; N]> {
    let digits = value.as_str()?.strip_prefix("0x").filter(|digits| digits.len() == 2 * N)?;
    let mut bytes = [0; N];
    hex::decode_to_slice(digits, &mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_block_is_named_by_tag_number_hash_or_object() {
        let hash = B256::repeat_byte(0xab);
        for (value, expected) in [
            (json!(null), Some(Place::Tag(BlockTag::Latest))),
            (json!("safe"), Some(Place::Tag(BlockTag::Safe))),
            (json!("0x0"), Some(Place::Number(0))),
            (json!("0x1b4"), Some(Place::Number(436))),
            (json!(hash), Some(Place::Hash(hash))),
            (json!({ "blockHash": hash }), Some(Place::Hash(hash))),
            (json!({ "blockHash": hash, "requireCanonical": true }), Some(Place::Hash(hash))),
            (json!({ "blockNumber": "0x7" }), Some(Place::Number(7))),
            (json!({ "blockNumber": null }), None),
            (json!({ "blockNumber": "0x7", "blockHash": hash }), None),
            (json!({}), None),
            (json!("newest"), None),
            (json!("0x01"), None),
            (json!("0x+1"), None),
            (json!("0x"), None),
            (json!(7), None),
            (json!([]), None),
        ] {
            assert_eq!(place(&value), expected, "{value}");
        }
    }

    #[test]
    fn a_slot_has_at_most_256_bits() {
        assert_eq!(slot(&json!("0x5")), Some(B256::with_last_byte(5)));
        assert_eq!(slot(&json!(B256::with_last_byte(5))), Some(B256::with_last_byte(5)));
        let long = format!("0x{}", "0".repeat(65));
        for wrong in [json!("0x"), json!("5"), json!(5), json!("0xg"), json!("0x+5"), json!(long)] {
            assert_eq!(slot(&wrong), None, "{wrong}");
        }
    }

    #[test]
    fn every_wrong_parameter_is_named_by_its_index() {
        let params = json!(["0x1", "0x1", "0x1", "0xz", 7]);
        let read = Params::read(&params, 5).expect("a list");
        let results = [
            read.address(0).err(),
            read.hash(1).err(),
            read.flag(2).err(),
            read.bytes(3, 9).err(),
            read.quantity(4).err(),
            read.slot(5).err(),
            Params::read(&params, 4).err(),
            Params::read(&json!({}), 4).err(),
        ];
        let expected = [0, 1, 2, 3, 4, 5, 4, 0];
        for (error, expected) in results.into_iter().zip(expected) {
            let error = error.expect("it is wrong");
            assert!(matches!(error, ReadError::BadParams { index, .. } if index == expected));
            assert_eq!(error.code(), -32602);
        }
    }
}
