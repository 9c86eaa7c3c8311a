//! Blocks in the JSON of the execution API, as `eth_getBlockByHash` returns them.
//!
//! The transactions are decoded by a table of their fields, since libraries that know all of them
//! are too large for a page. [`rebuild`](super::rebuild) reads the same form.
//!
//! A header has every field that goes into its hash, by fork: up to `baseFeePerGas` always,
//! `withdrawalsRoot` since Canyon, `blobGasUsed`, `excessBlobGas` and `parentBeaconBlockRoot` since
//! Ecotone, `requestsHash` since Isthmus. Fields that a payload lacks have the values of every L2
//! header: no uncles, zero difficulty and nonce, no requests. `timestampMs` is the time in
//! milliseconds, and a transaction has `blockTimestampMs`, if the block carries it, as Base's
//! blocks do since Denim.
//!
//! A transaction is written as op-geth writes it without receipts. `from` is recovered from the
//! signature. A deposit names its sender, and has `sourceHash`, `mint` if it mints something,
//! `isSystemTx` if it is a system transaction, a signature of zeros without `yParity`, and zero gas
//! price and nonce. Its actual nonce and its `depositReceiptVersion` are only in its receipt, which
//! gossip does not carry: the version is left out, and the nonce is `0x0`, because common clients
//! can't read a transaction without a nonce.
//!
//! # Unreadable transactions
//! Gossip does not look into transactions, so one may have an unknown type, be malformed, or have a
//! signature that no key made, and so no sender. Such a transaction has only `hash` (keccak256 of
//! its bytes), `type` if its first byte is one, `input` with all of its bytes, and its place in the
//! block with the block's time; any other field would be invented.
//!
//! # Bounds
//! The text of a block has the caller's limit. It is written one transaction at a time, each of
//! which takes a small multiple of its own size.

use super::{Block, EMPTY_OMMERS, EMPTY_REQUESTS_HASH, block_rlp_size, header_withdrawals_root};
use crate::gossip::recover;
use alloy_primitives::{Address, B64, B256, U256, hex, keccak256};
use alloy_rlp::{Decodable, Encodable, Header};
use serde_json::{Map, Value};

/// Type of deposits.
const DEPOSIT: u8 = 0x7e;

/// Form of a field of a transaction.
#[derive(Clone, Copy)]
enum Form {
    /// A number of at most this many bits.
    Number(usize),
    Data,
    Hash,
    Address,
    /// An address, or nothing if a contract is created.
    Target,
    Flag,
    Accesses,
    Authorizations,
}

use Form::{Accesses, Authorizations, Data, Flag, Hash, Number, Target};

type Field = (&'static str, Form);

const SIGNATURE: [Field; 3] = [("yParity", Number(1)), ("r", Number(256)), ("s", Number(256))];
const CALL: [Field; 4] =
    [("gas", Number(64)), ("to", Target), ("value", Number(256)), ("input", Data)];
const LEGACY: &[&[Field]] = &[
    &[("nonce", Number(64)), ("gasPrice", Number(128))],
    &CALL,
    &[("v", Number(128)), ("r", Number(256)), ("s", Number(256))],
];
const ACCESS_LIST: &[&[Field]] = &[
    &[("chainId", Number(64)), ("nonce", Number(64)), ("gasPrice", Number(128))],
    &CALL,
    &[("accessList", Accesses)],
    &SIGNATURE,
];
const FEES: [Field; 4] = [
    ("chainId", Number(64)),
    ("nonce", Number(64)),
    ("maxPriorityFeePerGas", Number(128)),
    ("maxFeePerGas", Number(128)),
];
const DYNAMIC_FEE: &[&[Field]] = &[&FEES, &CALL, &[("accessList", Accesses)], &SIGNATURE];
const SET_CODE: &[&[Field]] =
    &[&FEES, &CALL, &[("accessList", Accesses), ("authorizationList", Authorizations)], &SIGNATURE];
const DEPOSITED: &[&[Field]] = &[&[
    ("sourceHash", Hash),
    ("from", Form::Address),
    ("to", Target),
    ("mint", Number(128)),
    ("value", Number(256)),
    ("gas", Number(64)),
    ("isSystemTx", Flag),
    ("input", Data),
]];
const AUTHORIZATION: [Field; 6] = [
    ("chainId", Number(256)),
    ("address", Form::Address),
    ("nonce", Number(64)),
    ("yParity", Number(8)),
    ("r", Number(256)),
    ("s", Number(256)),
];

fn data(bytes: impl AsRef<[u8]>) -> Value {
    hex::encode_prefixed(bytes).into()
}

fn quantity(number: impl Into<u64>) -> Value {
    format!("{:#x}", number.into()).into()
}

fn quantity_of(number: U256) -> Value {
    format!("{number:#x}").into()
}

impl Form {
    /// Reads a field from an RLP list.
    fn read(self, from: &mut &[u8]) -> alloy_rlp::Result<Value> {
        Ok(match self {
            Number(bits) => {
                let number = U256::decode(from)?;
                if number.bit_len() > bits {
                    return Err(alloy_rlp::Error::Overflow);
                }
                quantity_of(number)
            }
            Data => data(Header::decode_bytes(from, false)?),
            Hash => data(B256::decode(from)?),
            Self::Address => data(Address::decode(from)?),
            Target if from.first() == Some(&0x80) => {
                *from = &from[1..];
                Value::Null
            }
            Target => data(Address::decode(from)?),
            Flag => bool::decode(from)?.into(),
            Accesses => lists(from, |entry| {
                let address = data(Address::decode(entry)?);
                let keys = items(entry, |key| Ok(data(B256::decode(key)?)))?;
                Ok([("address", address), ("storageKeys", keys)].map(named).into_iter().collect())
            })?,
            Authorizations => lists(from, |entry| {
                let mut shown = Map::new();
                for (name, form) in AUTHORIZATION {
                    shown.insert(name.into(), form.read(entry)?);
                }
                Ok(shown.into())
            })?,
        })
    }
}

fn named((name, value): (&str, Value)) -> (String, Value) {
    (name.to_owned(), value)
}

/// Reads a list of items.
fn items(
    from: &mut &[u8],
    item: impl Fn(&mut &[u8]) -> alloy_rlp::Result<Value>,
) -> alloy_rlp::Result<Value> {
    let mut items = Header::decode_bytes(from, true)?;
    let mut all = Vec::new();
    while !items.is_empty() {
        all.push(item(&mut items)?);
    }
    Ok(all.into())
}

/// Reads a list of lists. `entry` must read each inner list to its end.
fn lists(
    from: &mut &[u8],
    entry: impl Fn(&mut &[u8]) -> alloy_rlp::Result<Value>,
) -> alloy_rlp::Result<Value> {
    items(from, |from| {
        let mut contents = Header::decode_bytes(from, true)?;
        let shown = entry(&mut contents)?;
        if contents.is_empty() { Ok(shown) } else { Err(alloy_rlp::Error::UnexpectedLength) }
    })
}

/// Decodes a transaction. `None` if its type is unknown, or it is malformed or not signed.
pub(crate) fn read(raw: &[u8], base_fee: U256) -> Option<Map<String, Value>> {
    let (kind, mut list) = match raw.first()? {
        0xc0.. => (0, raw),
        kind => (*kind, &raw[1..]),
    };
    let fields = match (raw[0], kind) {
        (0xc0.., _) => LEGACY,
        (_, 1) => ACCESS_LIST,
        (_, 2) => DYNAMIC_FEE,
        (_, 4) => SET_CODE,
        (_, DEPOSIT) => DEPOSITED,
        _ => return None,
    };
    let contents = Header::decode_bytes(&mut list, true).ok().filter(|_| list.is_empty())?;
    let mut rest = contents;
    let mut shown = Map::new();
    let mut unsigned = contents.len();
    for (name, form) in fields.iter().copied().flatten() {
        if matches!(*name, "v" | "yParity") {
            unsigned = contents.len() - rest.len();
        }
        shown.insert((*name).to_owned(), form.read(&mut rest).ok()?);
    }
    if !rest.is_empty() {
        return None;
    }
    shown.insert("type".into(), quantity(kind));
    if kind == DEPOSIT {
        if shown["isSystemTx"] == false {
            shown.remove("isSystemTx");
        }
        if shown["mint"] == "0x0" {
            shown.remove("mint");
        }
        for name in ["nonce", "gasPrice", "v", "r", "s"] {
            shown.insert(name.into(), quantity(0_u8));
        }
        return Some(shown);
    }
    let number = |name: &str| shown.get(name)?.as_str()?.parse::<U256>().ok();
    let (parity, chain) = match number("yParity") {
        Some(parity) => (parity, None),
        None => {
            let v = number("v")?.to::<u128>();
            match v {
                27 | 28 => (U256::from(v - 27), None),
                35.. => (U256::from((v - 35) % 2), Some(u64::try_from((v - 35) / 2).ok()?)),
                _ => return None,
            }
        }
    };
    let from = sender(raw, &contents[..unsigned], chain, (number("r")?, number("s")?, parity))?;
    if let (Some(tip), Some(most)) = (number("maxPriorityFeePerGas"), number("maxFeePerGas")) {
        shown.insert("gasPrice".into(), quantity_of(base_fee.saturating_add(tip).min(most)));
    }
    if kind != 0 {
        shown.insert("v".into(), quantity_of(parity));
    }
    if let Some(chain) = chain {
        shown.insert("chainId".into(), quantity(chain));
    }
    shown.insert("from".into(), data(from));
    Some(shown)
}

/// Recovers the sender, given the encoded fields that are signed and `r`, `s` and the parity.
/// `chain` is that of a legacy transaction, if it names one (EIP-155).
fn sender(
    raw: &[u8],
    signed: &[u8],
    chain: Option<u64>,
    (r, s, parity): (U256, U256, U256),
) -> Option<Address> {
    /// Half of the order of the curve's group, rounded down. No client accepts an `s` above it
    /// (EIP-2).
    const HALF: U256 = U256::from_limbs([
        0xdfe9_2f46_681b_20a0,
        0x5d57_6e73_57a4_501d,
        0xffff_ffff_ffff_ffff,
        0x7fff_ffff_ffff_ffff,
    ]);
    if s > HALF {
        return None;
    }
    let mut fields = signed.to_vec();
    if let Some(chain) = chain {
        chain.encode(&mut fields);
        fields.extend([0x80, 0x80]);
    }
    let mut message: Vec<u8> =
        raw.first().filter(|kind| **kind < 0xc0).copied().into_iter().collect();
    Header { list: true, payload_length: fields.len() }.encode(&mut message);
    message.extend(fields);
    let mut signature = [0; 65];
    signature[..32].copy_from_slice(&r.to_be_bytes::<32>());
    signature[32..64].copy_from_slice(&s.to_be_bytes::<32>());
    signature[64] = parity.to();
    recover(&signature, &keccak256(message)).ok()
}

/// Returns a transaction of a block: the one at `place`, with these bytes.
pub fn transaction(block: &Block, place: usize, raw: &[u8]) -> Value {
    let mut shown = read(raw, block.payload().base_fee_per_gas()).unwrap_or_else(|| {
        let mut unread = Map::new();
        let kind = match raw.first() {
            Some(kind @ ..0x80) => Some(*kind),
            // An RLP list: a legacy transaction.
            Some(0xc0..) => Some(0),
            _ => None,
        };
        unread.extend(kind.map(|kind| named(("type", quantity(kind)))));
        unread.extend([named(("input", data(raw)))]);
        unread
    });
    shown.extend(
        [
            ("hash", data(keccak256(raw))),
            ("blockHash", data(block.hash())),
            ("blockNumber", quantity(block.number())),
            ("blockTimestamp", quantity(block.timestamp())),
            ("transactionIndex", quantity(place as u64)),
        ]
        .map(named),
    );
    if block.base_time().is_some() {
        shown.insert("blockTimestampMs".into(), quantity(block.timestamp_ms()));
    }
    shown.into()
}

/// Returns a block's header: every field that goes into its hash, by fork, and the time in
/// milliseconds if the block carries it.
pub fn header(block: &Block) -> Map<String, Value> {
    let payload = block.payload();
    let all = [
        ("hash", data(block.hash())),
        ("parentHash", data(payload.parent_hash())),
        ("sha3Uncles", data(EMPTY_OMMERS)),
        ("miner", data(payload.fee_recipient())),
        ("stateRoot", data(payload.state_root())),
        ("transactionsRoot", data(block.transactions_root())),
        ("receiptsRoot", data(payload.receipts_root())),
        ("logsBloom", data(payload.logs_bloom())),
        ("difficulty", quantity(0_u8)),
        ("number", quantity(payload.block_number())),
        ("gasLimit", quantity(payload.gas_limit())),
        ("gasUsed", quantity(payload.gas_used())),
        ("timestamp", quantity(payload.timestamp())),
        ("extraData", data(payload.extra_data())),
        ("mixHash", data(payload.prev_randao())),
        ("nonce", data(B64::ZERO)),
        ("baseFeePerGas", quantity_of(payload.base_fee_per_gas())),
    ];
    let (used, excess) = (payload.blob_gas_used(), payload.excess_blob_gas());
    let by_fork = [
        ("timestampMs", block.base_time().map(|_| quantity(block.timestamp_ms()))),
        ("withdrawalsRoot", header_withdrawals_root(&payload).map(data)),
        ("blobGasUsed", used.map(quantity)),
        ("excessBlobGas", excess.map(quantity)),
        ("parentBeaconBlockRoot", used.and(block.parent_beacon_block_root()).map(data)),
        ("requestsHash", payload.withdrawals_root().map(|_| data(EMPTY_REQUESTS_HASH))),
    ];
    let by_fork = by_fork.into_iter().filter_map(|(name, value)| Some((name, value?)));
    all.into_iter().chain(by_fork).map(named).collect()
}

/// Form of a block's transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transactions {
    /// All fields.
    Whole,
    /// Only the hashes.
    Hashes,
}

/// The text of a block would be longer than the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the block would have more than {0} bytes of JSON")]
pub struct TooLong(pub usize);

/// Returns a block as one JSON object of at most `limit` bytes.
///
/// # Errors
/// [`TooLong`], as soon as that is certain: no transaction after that is decoded.
pub fn block(block: &Block, form: Transactions, limit: usize) -> Result<String, TooLong> {
    let payload = block.payload();
    let mut fields = header(block);
    let size = block_rlp_size(&payload, block.parent_beacon_block_root());
    fields.insert("size".into(), quantity(size as u64));
    fields.insert("uncles".into(), Vec::<Value>::new().into());
    if payload.withdrawals().is_some() {
        // The rules of gossip allow no withdrawals.
        fields.insert("withdrawals".into(), Vec::<Value>::new().into());
    }
    let mut text = Value::from(fields).to_string();
    // The transactions take the place of the closing brace.
    text.pop();
    text.push_str(",\"transactions\":[");
    for (place, raw) in payload.transactions().enumerate() {
        if place > 0 {
            text.push(',');
        }
        match form {
            Transactions::Hashes => text.push_str(&data(keccak256(raw)).to_string()),
            // All bytes of a transaction are in its JSON, most of them as two digits.
            Transactions::Whole if text.len().saturating_add(raw.len()) > limit => {
                return Err(TooLong(limit));
            }
            Transactions::Whole => text.push_str(&transaction(block, place, raw).to_string()),
        }
        if text.len() > limit {
            return Err(TooLong(limit));
        }
    }
    text.push_str("]}");
    if text.len() > limit { Err(TooLong(limit)) } else { Ok(text) }
}
