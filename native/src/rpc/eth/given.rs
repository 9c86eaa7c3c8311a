//! Arguments of read methods: hashes, numbers and block tags.

use crate::rpc::error::CallError;
use crate::rpc::params::{Arguments, wrong};
use alloy_primitives::B256;
use alloy_primitives::hex::FromHex;
use opp2p_core::chain::BlockTag;
use serde_json::Value;

/// A position in the chain, as a caller names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rpc) enum Place {
    /// A block number.
    Number(u64),
    /// A block tag.
    Tag(BlockTag),
}

/// Length of a hash as text, in characters.
const HASH_TEXT: usize = 66;

/// Parses a hash of 32 bytes.
pub(in crate::rpc) fn hash(given: &Arguments, place: usize) -> Result<B256, CallError> {
    let text =
        given.at(place)?.as_str().filter(|text| text.len() == HASH_TEXT && text.starts_with("0x"));
    text.and_then(|text| B256::from_hex(text).ok())
        .ok_or_else(|| wrong(place, "a hash is expected, which is 0x and 64 hexadecimal digits"))
}

/// Parses a number in the execution API's format: hexadecimal without leading zeros.
pub(in crate::rpc) fn quantity(given: &Arguments, place: usize) -> Result<u64, CallError> {
    let text = given.at(place)?.as_str();
    text.and_then(number).ok_or_else(|| {
        wrong(place, "a number is expected: 0x and hexadecimal digits without leading zeros")
    })
}

/// Parses a block number or tag.
pub(in crate::rpc) fn place(given: &Arguments, place: usize) -> Result<Place, CallError> {
    let found = match given.at(place)? {
        Value::String(text) => {
            number(text).map(Place::Number).or_else(|| BlockTag::from_name(text).map(Place::Tag))
        }
        _ => None,
    };
    found.ok_or_else(|| {
        wrong(
            place,
            "a block's number is expected, such as 0x1b4, or one of latest, pending, safe, \
             finalized and earliest",
        )
    })
}

fn number(text: &str) -> Option<u64> {
    let digits = text.strip_prefix("0x")?;
    // `from_str_radix` would accept a sign.
    let is_written_so = digits == "0" || !digits.starts_with(['0', '+', '-']);
    is_written_so.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(value: &Value) -> Arguments {
        Arguments::read(Some(&json!([value]).to_string()), 1).unwrap()
    }

    #[test]
    fn numbers_are_accepted_in_one_form_only() {
        for (text, expected) in [
            ("0x0", Some(0)),
            ("0x1b4", Some(436)),
            ("0xFF", Some(255)),
            ("0xffffffffffffffff", Some(u64::MAX)),
            ("0x", None),
            ("", None),
            ("1", None),
            ("0x01", None),
            ("0x00", None),
            ("0X1", None),
            ("0x+1", None),
            ("0x-1", None),
            ("0x1 ", None),
            ("0xg", None),
            ("0x10000000000000000", None),
        ] {
            assert_eq!(number(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_block_is_given_by_number_or_tag() {
        assert_eq!(place(&of(&json!("0x7")), 0), Ok(Place::Number(7)));
        assert_eq!(place(&of(&json!("latest")), 0), Ok(Place::Tag(BlockTag::Latest)));
        for wrong in [json!("newest"), json!(7), json!(null), json!({}), json!("7"), json!("")] {
            let error = place(&of(&wrong), 0).unwrap_err();
            assert!(
                error.code() == -32602 && error.message().contains("latest"),
                "{wrong}: {error:?}"
            );
        }
        assert!(place(&of(&json!("latest")), 1).unwrap_err().message().contains("missing value"));
    }

    #[test]
    fn a_hash_has_32_bytes() {
        let text = format!("0x{}", "aB".repeat(32));
        assert_eq!(hash(&of(&json!(text)), 0), Ok(B256::repeat_byte(0xab)));
        let long = format!("{text}00");
        for wrong in [&text[2..], &text[..64], &long, "", "0x", &"0x".repeat(33)] {
            let error = hash(&of(&json!(wrong)), 0).unwrap_err();
            assert!(error.code() == -32602 && error.message().contains("64"), "{wrong}: {error:?}");
        }
        for wrong in [json!(7), json!(null), json!([])] {
            assert_eq!(hash(&of(&wrong), 0).unwrap_err().code(), -32602, "{wrong}");
        }
    }
}
