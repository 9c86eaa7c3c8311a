//! The parameters of the methods that execute a call, and their results.

use alloy_primitives::{Address, B256, Bytes, U256, hex};
use serde_json::{Value, json};

use super::error::ReadError;
use super::params::{self, Params, wrong};
use super::show;
use crate::proof::call::{Access, Authorization, Call, Fees, Outcome};

/// Maximum size of a call's input in bytes: more costs too much gas.
const MAX_INPUT: usize = 1 << 20;
/// Maximum number of accounts, and of slots of one account, in a call's access list.
const MAX_LISTED: usize = 1024;
/// Maximum number of a call's authorizations.
const MAX_AUTHORIZATIONS: usize = 256;
/// Type of a blob transaction.
const BLOB: u64 = 3;
/// Fields of blob transactions, which the chain does not have.
const BLOB_FIELDS: [&str; 5] =
    ["maxFeePerBlobGas", "blobVersionedHashes", "blobs", "commitments", "proofs"];

type Read<T> = Result<T, ReadError>;

fn must_be(field: &str, expected: &str) -> ReadError {
    wrong(0, format!("the call's {field} must be {expected}"))
}

/// Reads a field that may be missing.
fn field<T>(
    call: &Value,
    name: &str,
    expected: &str,
    read: impl Fn(&Value) -> Option<T>,
) -> Read<Option<T>> {
    match call.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(given) => read(given).map(Some).ok_or_else(|| must_be(name, expected)),
    }
}

const NUMBER: &str = "a number: 0x and hexadecimal digits without leading zeros";

fn amount(value: &Value) -> Option<U256> {
    let digits = value.as_str()?.strip_prefix("0x")?;
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_written_so = digits == "0" || !digits.starts_with('0');
    let is_number = is_hex && is_written_so && (1..=64).contains(&digits.len());
    is_number.then(|| U256::from_str_radix(digits, 16).ok()).flatten()
}

/// Reads an address.
pub(super) fn address(value: &Value) -> Option<Address> {
    params::fixed::<20>(value).map(Address::from)
}

/// Reads 32 bytes.
pub(super) fn word(value: &Value) -> Option<B256> {
    params::fixed::<32>(value).map(B256::from)
}

fn bytes(value: &Value) -> Option<Bytes> {
    let digits = value.as_str()?.strip_prefix("0x")?;
    let is_short = digits.len() <= 2 * MAX_INPUT;
    is_short.then(|| hex::decode(digits).ok()).flatten().map(Bytes::from)
}

fn list<T>(value: &Value, most: usize, read: impl Fn(&Value) -> Option<T>) -> Option<Vec<T>> {
    let items = value.as_array().filter(|items| items.len() <= most)?;
    items.iter().map(read).collect()
}

/// Reads an item of an access list.
fn access(value: &Value) -> Option<Access> {
    let address = address(value.get("address")?)?;
    let storage_keys = match value.get("storageKeys") {
        None | Some(Value::Null) => Vec::new(),
        Some(slots) => list(slots, MAX_LISTED, word)?,
    };
    Some(Access { address, storage_keys })
}

fn authorization(value: &Value) -> Option<Authorization> {
    Some(Authorization {
        chain_id: amount(value.get("chainId")?)?,
        address: address(value.get("address")?)?,
        nonce: params::number(value.get("nonce")?)?,
        y_parity: params::number(value.get("yParity")?).and_then(|v| u8::try_from(v).ok())?,
        r: params::slot(value.get("r")?)?.into(),
        s: params::slot(value.get("s")?)?.into(),
    })
}

fn fees(call: &Value) -> Read<Fees> {
    let price = field(call, "gasPrice", NUMBER, amount)?;
    let max = field(call, "maxFeePerGas", NUMBER, amount)?;
    let priority = field(call, "maxPriorityFeePerGas", NUMBER, amount)?;
    match (price, max, priority) {
        (None, None, None) => Ok(Fees::Free),
        (Some(price), None, None) => Ok(Fees::Price(price)),
        (None, max, priority) => {
            Ok(Fees::Caps { max: max.unwrap_or_default(), priority: priority.unwrap_or_default() })
        }
        _ => Err(wrong(
            0,
            "both gasPrice and (maxFeePerGas or maxPriorityFeePerGas) specified: give one",
        )),
    }
}

fn input(call: &Value) -> Read<Bytes> {
    let expected = "bytes: 0x and two digits each, at most 1 MiB";
    let input = field(call, "input", expected, bytes)?;
    let data = field(call, "data", expected, bytes)?;
    match (input, data) {
        (Some(input), Some(data)) if input != data => {
            Err(wrong(0, "the call's input and data differ: give one of them"))
        }
        (input, data) => Ok(input.or(data).unwrap_or_default()),
    }
}

/// Reads a call, which is the first parameter.
pub(super) fn read(params: Params<'_>, chain_id: u64) -> Read<Call> {
    let call = params.at(0);
    if !call.is_object() {
        return Err(wrong(0, "a call is expected: an object"));
    }
    let kind = field(call, "type", NUMBER, params::number)?;
    let has_blobs = BLOB_FIELDS.iter().any(|name| call.get(name).is_some_and(|v| !v.is_null()));
    if kind == Some(BLOB) || has_blobs {
        return Err(wrong(0, "the chain has no blob transactions"));
    }
    if kind.is_some_and(|kind| kind > 4) {
        return Err(must_be("type", "0x0, 0x1, 0x2 or 0x4: others can't be called"));
    }
    let own = field(call, "chainId", NUMBER, amount)?;
    if own.is_some_and(|own| own != U256::from(chain_id)) {
        return Err(must_be("chainId", &format!("that of chain {chain_id}")));
    }
    // Checked and not used, as in op-geth: a call has the nonce of its account.
    field(call, "nonce", NUMBER, params::number)?;
    let an_address = "an address: 0x and 40 hexadecimal digits";
    let items = |value: &Value| list(value, MAX_LISTED, access);
    let signed = |value: &Value| list(value, MAX_AUTHORIZATIONS, authorization);
    let call = Call {
        from: field(call, "from", an_address, address)?.unwrap_or_default(),
        to: field(call, "to", an_address, address)?,
        gas: field(call, "gas", NUMBER, params::number)?,
        fees: fees(call)?,
        value: field(call, "value", NUMBER, amount)?.unwrap_or_default(),
        input: input(call)?,
        access_list: field(call, "accessList", "a list of {address, storageKeys}", items)?
            .unwrap_or_default(),
        authorizations: field(
            call,
            "authorizationList",
            "a list of {chainId, address, nonce, yParity, r, s}",
            signed,
        )?,
    };
    if call.authorizations.is_some() && call.to.is_none() {
        return Err(wrong(0, "a call with an authorizationList needs the field to"));
    }
    Ok(call)
}

/// Checks that no state or block fields are overridden: the answer would be about another state.
pub(super) fn no_overrides(params: Params<'_>) -> Read<()> {
    for index in [2, 3] {
        let is_empty = match params.at(index) {
            Value::Null => true,
            Value::Object(fields) => fields.is_empty(),
            _ => false,
        };
        if !is_empty {
            return Err(wrong(index, "overrides are refused, because they can't be proved"));
        }
    }
    Ok(())
}

/// Writes a call for an endpoint, without its price: the endpoint would check the balance.
pub(super) fn written(call: &Call) -> Value {
    let mut written = json!({ "from": call.from, "value": call.value, "input": call.input });
    let fields = [
        ("to", call.to.map(|to| json!(to))),
        ("gas", call.gas.map(show::quantity)),
        ("accessList", (!call.access_list.is_empty()).then(|| json!(call.access_list))),
    ];
    if let Some(object) = written.as_object_mut() {
        let given = fields.into_iter().filter_map(|(name, value)| Some((name.into(), value?)));
        object.extend(given);
    }
    written
}

/// Shows an outcome as the method's result.
pub(super) fn shown(outcome: Outcome) -> Result<Value, ReadError> {
    match outcome {
        Outcome::Returned(output) => Ok(json!(output)),
        Outcome::Estimate(gas) => Ok(show::quantity(gas)),
        Outcome::AccessList { list, gas_used, error } => {
            let mut shown = json!({ "accessList": list, "gasUsed": show::quantity(gas_used) });
            if let (Some(object), Some(error)) = (shown.as_object_mut(), error) {
                object.insert("error".into(), error.into());
            }
            Ok(shown)
        }
        Outcome::Reverted { message, output } => {
            Err(ReadError::Reverted { message, data: json!(output) })
        }
        Outcome::Failed(reason) => Err(ReadError::CallFailed(reason)),
    }
}
