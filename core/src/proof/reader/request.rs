//! Parses JSON-RPC methods and their parameters into requests.

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use serde_json::{Value, json};

use super::call;
use super::config::{MAX_SENT_BYTES, ReaderConfig};
use super::error::ReadError;
use super::params::{self, Params, Place, wrong};
use crate::json_rpc::shortened;
use crate::payload::shown;
use crate::proof::call::{Call, Purpose};
use crate::proof::json::MAX_SLOTS;
use crate::proof::{DEPOSIT, FilterBlooms, LogFilter};

/// A parsed request.
#[derive(Clone, Debug)]
pub(super) enum Request {
    ChainId,
    NetVersion,
    BlockNumber,
    Syncing,
    State {
        place: Place,
        address: Address,
        slots: Vec<B256>,
        show: StateShow,
    },
    Block {
        place: Place,
        is_full: bool,
    },
    TransactionCount {
        place: Place,
    },
    TransactionAt {
        place: Place,
        index: u64,
    },
    Transaction {
        hash: B256,
    },
    Receipt {
        hash: B256,
    },
    Receipts {
        place: Place,
    },
    Logs {
        filter: LogFilter,
        blooms: FilterBlooms,
        range: Range,
    },
    Execute {
        purpose: Purpose,
        place: Place,
        call: Box<Call>,
        /// The method and its parameters, if an endpoint may answer where the rules are unknown.
        listed: Option<Box<(String, Value)>>,
    },
    Send {
        raw: Bytes,
        hash: B256,
    },
    Pass {
        method: String,
        params: Value,
    },
}

/// The part of an account that a method shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StateShow {
    Balance,
    Nonce,
    Code,
    Slot,
    /// The whole proof, with the slots as they appear in the answer.
    Proof(Vec<Value>),
}

/// The blocks of a log filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Range {
    Between(Place, Place),
    Block(B256),
}

impl Request {
    /// Parses a method with its parameters.
    pub(super) fn read(
        method: &str,
        params: &Value,
        config: &ReaderConfig,
    ) -> Result<Self, ReadError> {
        let list = |most| Params::read(params, most);
        Ok(match method {
            "eth_chainId" => list(0).map(|_| Self::ChainId)?,
            "net_version" => list(0).map(|_| Self::NetVersion)?,
            "eth_blockNumber" => list(0).map(|_| Self::BlockNumber)?,
            "eth_syncing" => list(0).map(|_| Self::Syncing)?,
            "eth_getBalance" => Self::account(list(2)?, StateShow::Balance)?,
            "eth_getTransactionCount" => Self::account(list(2)?, StateShow::Nonce)?,
            "eth_getCode" => Self::account(list(2)?, StateShow::Code)?,
            "eth_getStorageAt" => Self::storage(list(3)?)?,
            "eth_getProof" => Self::proof(list(3)?)?,
            "eth_getBlockByNumber" => Self::block(list(2)?, numbered(list(2)?)?)?,
            "eth_getBlockByHash" => Self::block(list(2)?, Place::Hash(list(2)?.hash(0)?))?,
            "eth_getBlockTransactionCountByNumber" => {
                Self::TransactionCount { place: numbered(list(1)?)? }
            }
            "eth_getBlockTransactionCountByHash" => {
                Self::TransactionCount { place: Place::Hash(list(1)?.hash(0)?) }
            }
            "eth_getTransactionByBlockNumberAndIndex" => {
                Self::TransactionAt { place: numbered(list(2)?)?, index: list(2)?.quantity(1)? }
            }
            "eth_getTransactionByBlockHashAndIndex" => Self::TransactionAt {
                place: Place::Hash(list(2)?.hash(0)?),
                index: list(2)?.quantity(1)?,
            },
            "eth_getTransactionByHash" => Self::Transaction { hash: list(1)?.hash(0)? },
            "eth_getTransactionReceipt" => Self::Receipt { hash: list(1)?.hash(0)? },
            "eth_getBlockReceipts" => Self::Receipts { place: named(list(1)?)? },
            "eth_getLogs" => Self::logs(list(1)?)?,
            "eth_call" | "eth_estimateGas" | "eth_createAccessList" if config.calls.is_some() => {
                Self::execute(method, params, config)?
            }
            "eth_sendRawTransaction" => Self::send(list(1)?, config.chain_id)?,
            _ if config.unverified.iter().any(|listed| listed == method) => {
                Self::Pass { method: method.to_owned(), params: params.clone() }
            }
            _ => return Err(ReadError::NotVerifiable(shortened(method))),
        })
    }

    fn account(params: Params<'_>, show: StateShow) -> Result<Self, ReadError> {
        let (address, place) = (params.address(0)?, params.place(1)?);
        Ok(Self::State { place, address, slots: Vec::new(), show })
    }

    fn storage(params: Params<'_>) -> Result<Self, ReadError> {
        let (address, slot, place) = (params.address(0)?, params.slot(1)?, params.place(2)?);
        Ok(Self::State { place, address, slots: vec![slot], show: StateShow::Slot })
    }

    fn proof(params: Params<'_>) -> Result<Self, ReadError> {
        let (address, place) = (params.address(0)?, params.place(2)?);
        let expected = || wrong(1, format!("a list of at most {MAX_SLOTS} slots is expected"));
        let given = match params.at(1) {
            Value::Array(slots) if slots.len() <= MAX_SLOTS => slots,
            _ => return Err(expected()),
        };
        let slots: Option<Vec<_>> = given.iter().map(params::slot).collect();
        let slots = slots.ok_or_else(expected)?;
        // Clients answer with a slot in the caller's form: a 32-byte word, whose first zero may be
        // missing, or a number.
        let shown = given.iter().zip(&slots).map(|(given, slot)| match given.as_str() {
            Some(text) if text.len() >= 65 => json!(slot),
            _ => json!(U256::from_be_bytes(slot.0)),
        });
        let show = StateShow::Proof(shown.collect());
        Ok(Self::State { place, address, slots, show })
    }

    fn block(params: Params<'_>, place: Place) -> Result<Self, ReadError> {
        Ok(Self::Block { place, is_full: params.flag(1)? })
    }

    fn logs(params: Params<'_>) -> Result<Self, ReadError> {
        let given = params.at(0);
        if !given.is_object() {
            return Err(wrong(0, "a filter is expected: an object"));
        }
        let filter = LogFilter::from_json(given)
            .map_err(|error| wrong(0, format!("{} must be {}", error.path, error.expected)))?;
        let place = |name: &str| {
            let given = given.get(name).unwrap_or(&Value::Null);
            let place = params::place(given).filter(|place| !matches!(place, Place::Hash(_)));
            place.ok_or_else(|| wrong(0, format!("{name} must be a block number or tag")))
        };
        let range = match given.get("blockHash") {
            None | Some(Value::Null) => Range::Between(place("fromBlock")?, place("toBlock")?),
            Some(_) if given.get("fromBlock").or(given.get("toBlock")).is_some() => {
                return Err(wrong(0, "blockHash can't be combined with fromBlock and toBlock"));
            }
            Some(hash) => match params::place(hash) {
                Some(Place::Hash(hash)) => Range::Block(hash),
                _ => return Err(wrong(0, "blockHash must be a hash")),
            },
        };
        let blooms = filter.blooms();
        Ok(Self::Logs { filter, blooms, range })
    }

    fn execute(method: &str, given: &Value, config: &ReaderConfig) -> Result<Self, ReadError> {
        let params = Params::read(given, 4)?;
        let purpose = match method {
            "eth_call" => Purpose::Call,
            "eth_estimateGas" => Purpose::Estimate,
            _ => Purpose::AccessList,
        };
        let call = Box::new(call::read(params, config.chain_id)?);
        call::no_overrides(params)?;
        let is_listed = config.unverified.iter().any(|listed| listed == method);
        let listed = is_listed.then(|| Box::new((method.to_owned(), given.clone())));
        Ok(Self::Execute { purpose, place: params.place(1)?, call, listed })
    }

    fn send(params: Params<'_>, chain_id: u64) -> Result<Self, ReadError> {
        let raw = params.bytes(0, MAX_SENT_BYTES)?;
        let fields = shown::read(&raw, U256::ZERO).filter(|_| raw.first() != Some(&DEPOSIT));
        let fields = fields.ok_or_else(|| {
            wrong(0, "a signed transaction is expected: legacy, or of type 1, 2 or 4")
        })?;
        // A legacy transaction may lack a chain id.
        if fields.get("chainId").is_some_and(|chain| *chain != format!("{chain_id:#x}")) {
            return Err(wrong(0, format!("a transaction of chain {chain_id} is expected")));
        }
        Ok(Self::Send { hash: keccak256(&raw), raw })
    }

    /// Returns `true` if the request refers to the head.
    pub(super) const fn is_of_head(&self) -> bool {
        match self {
            Self::State { place, .. }
            | Self::Block { place, .. }
            | Self::Execute { place, .. }
            | Self::TransactionCount { place }
            | Self::TransactionAt { place, .. }
            | Self::Receipts { place } => place.is_head(),
            Self::Logs { range: Range::Between(_, to), .. } => to.is_head(),
            _ => false,
        }
    }

    /// Returns `true` if the answer depends on no block.
    pub(super) const fn is_constant(&self) -> bool {
        matches!(self, Self::ChainId | Self::NetVersion | Self::Send { .. } | Self::Pass { .. })
    }
}

/// Parses the first parameter as a required block number or tag.
fn numbered(params: Params<'_>) -> Result<Place, ReadError> {
    match named(params)? {
        Place::Hash(_) => Err(wrong(0, "a block number or tag is expected, not a hash")),
        place => Ok(place),
    }
}

/// Parses the first parameter as a required block.
fn named(params: Params<'_>) -> Result<Place, ReadError> {
    if params.at(0).is_null() { Err(wrong(0, "a block is expected")) } else { params.place(0) }
}
