//! A method's arguments and its answer. Arguments are positional, as in the reference's RPC, with
//! the reference's error texts.

use super::error::{CallError, FAILED, INVALID_PARAMS};
use super::types::IpNet;
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use libp2p::Multiaddr;
use opp2p_core::peers::{PeerId, Subnet};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use std::net::IpAddr;
use std::time::Duration;

/// Go's base64: trailing bits that belong to no byte are ignored.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// Result of a call: the answer as JSON, or the error.
pub(super) type Answer = Result<Box<RawValue>, CallError>;

/// Serializes a result.
pub(super) fn raw(value: &impl Serialize) -> Answer {
    to_raw_value(value).map_err(failed)
}

/// Returns the error of a method that can't do what it is asked.
pub(super) fn failed(text: impl std::fmt::Display) -> CallError {
    failure(&text)
}

fn failure(text: &dyn std::fmt::Display) -> CallError {
    CallError::new(FAILED, text.to_string())
}

fn invalid(text: impl Into<String>) -> CallError {
    CallError::new(INVALID_PARAMS, text)
}

/// Returns the reference's error for a value that is present but empty.
fn invalid_request() -> CallError {
    failed("invalid request")
}

/// Arguments of one call, bounded by the request's body.
#[derive(Debug)]
pub(super) struct Arguments(Vec<Value>);

impl Arguments {
    /// Parses the arguments, at most `most` of them.
    pub(super) fn read(text: Option<&str>, most: usize) -> Result<Self, CallError> {
        let all: Vec<Value> = match text {
            None | Some("null") => Vec::new(),
            Some(text) => serde_json::from_str(text).map_err(|_| invalid("non-array args"))?,
        };
        if all.len() > most {
            return Err(invalid(format!("too many arguments, want at most {most}")));
        }
        Ok(Self(all))
    }

    /// Returns the arguments as a list.
    pub(super) fn to_list(&self) -> Value {
        Value::Array(self.0.clone())
    }

    /// Returns the number of arguments.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn at(&self, place: usize) -> Result<&Value, CallError> {
        self.0
            .get(place)
            .ok_or_else(|| invalid(format!("missing value for required argument {place}")))
    }

    /// Returns a text. An empty text and `null` are `invalid request`.
    fn text(&self, place: usize) -> Result<&str, CallError> {
        match self.at(place)? {
            Value::String(text) if !text.is_empty() => Ok(text),
            Value::String(_) | Value::Null => Err(invalid_request()),
            _ => Err(wrong(place, "text is expected")),
        }
    }

    /// Deserializes the first argument as an object of this type.
    pub(super) fn into_object<T: DeserializeOwned>(self, what: &str) -> Result<T, CallError> {
        let Some(value) = self.0.into_iter().next() else {
            return Err(invalid("missing value for required argument 0"));
        };
        serde_json::from_value(value).map_err(|error| {
            // The message may quote the argument.
            wrong(0, format_args!("{what} is expected: {}", short(&error.to_string())))
        })
    }

    /// Returns a boolean; `null` is `false`, as in Go.
    pub(super) fn bool(&self, place: usize) -> Result<bool, CallError> {
        match self.at(place)? {
            Value::Bool(is_so) => Ok(*is_so),
            Value::Null => Ok(false),
            _ => Err(wrong(place, "true or false is expected")),
        }
    }

    /// Returns an optional number.
    pub(super) fn number(&self, place: usize) -> Result<Option<u64>, CallError> {
        match self.0.get(place) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => {
                value.as_u64().map(Some).ok_or_else(|| wrong(place, "a whole number is expected"))
            }
        }
    }

    /// Returns a duration given in seconds.
    pub(super) fn seconds(&self, place: usize) -> Result<Duration, CallError> {
        self.at(place)?;
        Ok(Duration::from_secs(self.number(place)?.ok_or_else(invalid_request)?))
    }

    /// Returns a peer id, given in base58 or as a CID.
    pub(super) fn peer(&self, place: usize) -> Result<PeerId, CallError> {
        let text = match self.at(place)? {
            Value::String(text) => text.as_str(),
            // Go reads `null` as an empty text, and an empty peer id is invalid.
            Value::Null => "",
            _ => return Err(wrong(place, "text is expected")),
        };
        let failed = |why: &dyn std::fmt::Display| {
            wrong(place, format_args!("failed to parse peer ID: {why}"))
        };
        let peer = match of_cid(text) {
            Some(peer) => peer,
            None if text.is_empty() => return Err(failed(&"it is empty")),
            None => text.parse().map_err(|error: libp2p::identity::ParseError| failed(&error))?,
        };
        opp2p_wire::from_libp2p(&peer).ok_or_else(|| failed(&"it is too long"))
    }

    pub(super) fn ip(&self, place: usize) -> Result<IpAddr, CallError> {
        let text = self.text(place)?;
        text.parse().map_err(|_| wrong(place, format_args!("invalid IP address: {}", short(text))))
    }

    /// Returns a network, given in Go's form or as `1.2.0.0/16`.
    pub(super) fn subnet(&self, place: usize) -> Result<Subnet, CallError> {
        // A missing argument equals `null`: the reference takes a pointer here.
        let fields = match self.0.get(place) {
            None | Some(Value::Null) => return Err(invalid_request()),
            Some(Value::Object(fields)) => fields,
            _ => return self.text(place)?.parse().map_err(|error| wrong(place, error)),
        };
        // Field names in any case, as in Go.
        let named = |name: &str| {
            let alike = || fields.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            fields.get(name).or_else(|| alike().map(|(_, value)| value))
        };
        let field = |name| match named(name) {
            Some(Value::String(text)) if !text.is_empty() => Ok(text.as_str()),
            None | Some(Value::Null | Value::String(_)) => Err(invalid_request()),
            Some(_) => Err(wrong(place, format_args!("{name} is not a string"))),
        };
        let (ip, mask) = (field("IP")?, field("Mask")?);
        let ip: IpAddr = ip
            .parse()
            .map_err(|_| wrong(place, format_args!("invalid IP address: {}", short(ip))))?;
        let mask = BASE64.decode(mask).map_err(|_| wrong(place, "the mask is not base64"))?;
        let length = prefix(ip, &mask).ok_or_else(|| {
            wrong(place, "a mask has 4 or 16 bytes that fit the address, and its ones come first")
        })?;
        Subnet::new(ip, length).map_err(|error| wrong(place, error))
    }

    /// Returns a multiaddr, or the reference's error text.
    pub(super) fn address(&self, place: usize) -> Result<Multiaddr, CallError> {
        let text = match self.at(place)? {
            Value::String(text) => text.as_str(),
            Value::Null => "",
            _ => return Err(wrong(place, "text is expected")),
        };
        if text.is_empty() {
            return Err(failed("bad peer address: it is empty"));
        }
        text.parse().map_err(|error| failed(format_args!("bad peer address: {error}")))
    }

    /// Returns the argument, or `None` if it is missing or `null`.
    pub(super) fn optional(&self, place: usize) -> Option<&Value> {
        self.0.get(place).filter(|value| !value.is_null())
    }

    /// Returns a word.
    pub(super) fn word(&self, place: usize) -> Result<&str, CallError> {
        self.text(place)
    }
}

pub(super) fn wrong(place: usize, why: impl std::fmt::Display) -> CallError {
    invalid(format!("invalid argument {place}: {why}"))
}

/// Decodes a peer id in the form that libp2p's specification prefers: a CID of version 1 in base32,
/// for a libp2p key.
fn of_cid(text: &str) -> Option<libp2p::PeerId> {
    let (mut bits, mut held) = (0_u32, 0);
    let mut bytes = Vec::new();
    for digit in text.strip_prefix('b')?.bytes() {
        let value = match digit {
            b'a'..=b'z' => digit - b'a',
            b'2'..=b'7' => digit - b'2' + 26,
            _ => return None,
        };
        bits = (bits << 5 | u32::from(value)) & 0xfff;
        held += 5;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    match bytes.as_slice() {
        [1, 0x72, multihash @ ..] => libp2p::PeerId::from_bytes(multihash).ok(),
        _ => None,
    }
}

/// Returns the part of a text that an error may repeat: its first 64 characters.
fn short(text: &str) -> String {
    text.chars().take(64).collect()
}

/// Returns the prefix length of a mask. For an IPv4 address, the last 4 of 16 bytes count, as in
/// Go.
fn prefix(ip: IpAddr, mask: &[u8]) -> Option<u8> {
    let mask = match (ip, mask.len()) {
        (IpAddr::V4(_), 4) | (IpAddr::V6(_), 16) => mask,
        (IpAddr::V4(_), 16) => mask.get(12..)?,
        _ => return None,
    };
    let ones: u32 = mask.iter().map(|byte| byte.count_ones()).sum();
    let mut bits = mask.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1));
    let is_prefix = bits.by_ref().take_while(|bit| *bit).count() == usize::try_from(ones).ok()?;
    is_prefix.then(|| u8::try_from(ones).ok()).flatten()
}

impl From<Subnet> for IpNet {
    fn from(subnet: Subnet) -> Self {
        let length = u32::from(subnet.length());
        let mask = match subnet.network() {
            IpAddr::V4(_) => {
                let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
                BASE64.encode(mask.to_be_bytes())
            }
            IpAddr::V6(_) => {
                let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
                BASE64.encode(mask.to_be_bytes())
            }
        };
        Self { ip: subnet.network(), mask }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(values: &Value) -> Arguments {
        Arguments::read(Some(&values.to_string()), 3).unwrap()
    }

    #[track_caller]
    fn refused<T: std::fmt::Debug>(result: Result<T, CallError>, code: i32, text: &str) {
        let error = result.unwrap_err();
        assert_eq!(error.code(), code, "{error:?}");
        assert!(error.message().contains(text), "{error:?}");
    }

    #[test]
    fn positional_arguments_are_checked_for_count_and_type() {
        assert!(Arguments::read(None, 0).is_ok() && Arguments::read(Some("[]"), 0).is_ok());
        refused(Arguments::read(Some("{}"), 1), -32602, "non-array args");
        refused(Arguments::read(Some("[1,2]"), 1), -32602, "too many arguments, want at most 1");
        refused(of(&json!([true])).bool(1), -32602, "missing value for required argument 1");
        refused(of(&json!([1])).bool(0), -32602, "invalid argument 0");
        assert_eq!(of(&json!([true])).bool(0), Ok(true));
        assert_eq!(of(&json!([null])).bool(0), Ok(false));
        assert_eq!(of(&json!([])).number(0), Ok(None));
        assert_eq!(of(&json!([7])).number(0), Ok(Some(7)));
        refused(of(&json!([-1])).number(0), -32602, "whole number");
    }

    #[test]
    fn peers_are_read_in_base58() {
        let id = "16Uiu2HAm3cuhhRL2msUuLF62KRSfneFDx94RsuouyW25Ho42cFMq";
        let peer = of(&json!([id])).peer(0).unwrap();
        assert_eq!(opp2p_wire::to_libp2p(&peer).unwrap().to_string(), id);
        for nothing in [json!([""]), json!([null])] {
            refused(of(&nothing).peer(0), -32602, "invalid argument 0: failed to parse peer ID: ");
        }
        for wrong in [
            json!(["peer"]),
            json!([id.to_owned() + "x"]),
            json!(["é"]),
            json!([7]),
            json!([{}]),
            json!(["b"]),
            json!(["baeaq"]),
            json!(["bé"]),
        ] {
            refused(of(&wrong).peer(0), -32602, "invalid argument 0");
        }
        refused(of(&json!([])).peer(0), -32602, "missing value for required argument 0");
    }

    #[test]
    fn peers_are_read_as_cids_too() {
        // The same id in both forms, as go-libp2p writes them.
        let id = "12D3KooWRYhdCRGTbNkNDzs1pWF1EN4LdNUHXN1VHcYxGNcXGMbW";
        let cid = "bafzaajaiaejcb2nxwjvszahvn77bgjd5l2o6sewilbxdcrnpjurf4jj4r54kjplz";
        assert_eq!(of(&json!([cid])).peer(0), of(&json!([id])).peer(0));
    }

    #[test]
    fn networks_are_read_in_the_form_of_go_and_in_cidr_notation() {
        for (given, expected) in [
            (json!({"IP": "1.2.0.0", "Mask": "//8AAA=="}), "1.2.0.0/16"),
            (json!({"IP": "1.2.3.4", "Mask": "//8AAA=="}), "1.2.0.0/16"),
            (json!({"IP": "1.2.3.4", "Mask": BASE64.encode([255; 16])}), "1.2.3.4/32"),
            (json!({"IP": "2001:db8::", "Mask": "/////wAAAAAAAAAAAAAAAA=="}), "2001:db8::/32"),
            (json!({"IP": "0.0.0.0", "Mask": "AAAAAA=="}), "0.0.0.0/0"),
            (json!({"ip": "1.2.0.0", "MASK": "//8AAA=="}), "1.2.0.0/16"),
            (json!("10.0.0.0/8"), "10.0.0.0/8"),
        ] {
            assert_eq!(of(&json!([given])).subnet(0), Ok(expected.parse().unwrap()), "{given}");
        }
        for nothing in [
            json!(null),
            json!({}),
            json!({"IP": "1.2.0.0"}),
            json!({"Mask": "//8AAA=="}),
            json!(""),
        ] {
            refused(of(&json!([nothing])).subnet(0), -32000, "invalid request");
        }
        refused(of(&json!([])).subnet(0), -32000, "invalid request");
        for wrong in [
            json!({"IP": "1.2.0.0", "Mask": "//8A"}),
            json!({"IP": "1.2.0.0", "Mask": "/wD/AA=="}),
            json!({"IP": "1.2.0.0", "Mask": "*"}),
            json!({"IP": "2001:db8::", "Mask": "//8AAA=="}),
            json!({"IP": 7, "Mask": "//8AAA=="}),
            json!({"IP": "x", "Mask": "//8AAA=="}),
            json!("1.2.0.0/33"),
            json!(7),
        ] {
            refused(of(&json!([wrong])).subnet(0), -32602, "invalid argument 0");
        }
    }

    #[test]
    fn networks_are_written_in_the_form_of_go() {
        for (subnet, expected) in [
            ("1.2.0.0/16", json!({"IP": "1.2.0.0", "Mask": "//8AAA=="})),
            ("0.0.0.0/0", json!({"IP": "0.0.0.0", "Mask": "AAAAAA=="})),
            ("2001:db8::/32", json!({"IP": "2001:db8::", "Mask": "/////wAAAAAAAAAAAAAAAA=="})),
        ] {
            let subnet: Subnet = subnet.parse().unwrap();
            let written = serde_json::to_value(IpNet::from(subnet)).unwrap();
            assert_eq!(written, expected);
            assert_eq!(of(&json!([written])).subnet(0), Ok(subnet));
        }
    }
}
