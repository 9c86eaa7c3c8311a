//! Reader for a chain's file in the superchain registry (`superchain/configs/mainnet/op.toml`).
//!
//! The shell parses the TOML and passes the values, so that the core, and with it the browser's
//! module, needs no TOML parser. This module defines the keys and their types. As in a
//! `rollup.json`, keys that the p2p layer does not use are skipped, whatever their values are.
//!
//! # Bounds
//! The caller bounds the text, for example by
//! [`MAX_ROLLUP_JSON_BYTES`](super::MAX_ROLLUP_JSON_BYTES). Memory stays within the size of that
//! text.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::str::FromStr;

use alloy_primitives::{Address, B256};
use serde_json::{Map, Value};

use super::config::{ChainConfig, ConfigError, Genesis};
use super::fork::{Fork, ForkSchedule};
use super::rollup::{ADDRESS, HASH, WHOLE_NUMBER, hex_digits, is_unknown_fork};
use super::{excerpt, networks};

/// The superchains of the registry, each with the chain id of its L1.
const SUPERCHAINS: [(&str, u64); 4] = [
    ("mainnet", 1),
    ("sepolia", 11_155_111),
    ("sepolia-dev-0", 11_155_111),
    ("devnet-2", 11_155_111),
];
const L1_CHAIN_ID: &str = "l1_chain_id";
const TEXT: &str = "a text";
const TABLE: &str = "a table";

impl ChainConfig {
    /// Parses the values of a chain's file in the superchain registry and
    /// [checks](ChainConfig::check) them.
    ///
    /// Required keys are `chain_id`, `block_time`, `genesis.l2.hash`, `genesis.l2.number` and
    /// `genesis.l2_time`. Forks are in `hardforks`; unknown keys there that end with `_time` are
    /// kept in [`unknown_forks`](ChainConfig::unknown_forks). Optional keys are `name`,
    /// `addresses.SystemConfigProxy` and `roles.UnsafeBlockSigner`.
    ///
    /// The file does not name its L1, but the registry's folder does. `superchain` is the name of
    /// that folder, if known. Without it, the L1 is that of the built-in network with this chain
    /// id. The key `l1_chain_id`, which may be added to the file, takes precedence over both.
    ///
    /// # Errors
    /// Any [`ConfigError`]; it names the key.
    pub fn from_registry(file: &Value, superchain: Option<&str>) -> Result<Self, ConfigError> {
        let top = Table::of(file, "the file")?;
        let genesis = top.table("genesis")?;
        let l2 = genesis.table("genesis.l2")?;
        let hardforks = top.table("hardforks")?;
        let chain_id = top.need("chain_id", WHOLE_NUMBER, number)?;
        let known = networks::by_chain_id(chain_id);
        let l1_chain_id = match top.find(L1_CHAIN_ID, number)? {
            Some(id) => id,
            None => superchain
                .and_then(|name| SUPERCHAINS.iter().find(|(known, _)| *known == name))
                .map(|(_, id)| *id)
                .or(known.map(|network| network.l1_chain_id))
                .ok_or(ConfigError::Missing {
                    field: L1_CHAIN_ID,
                    expected: "the id of the chain's L1, which the file's folder in the registry \
                               would tell",
                })?,
        };
        let name = top.find("name", text)?;
        let config = Self {
            name: name.map_or_else(|| Cow::Owned(format!("chain {chain_id}")), Cow::Owned),
            chain_id,
            l1_chain_id,
            genesis: Genesis {
                number: l2.need("genesis.l2.number", WHOLE_NUMBER, number)?,
                hash: l2.need("genesis.l2.hash", HASH, hash)?,
                time: genesis.need("genesis.l2_time", WHOLE_NUMBER, number)?,
            },
            block_time: top.need("block_time", WHOLE_NUMBER, number)?,
            forks: Fork::ALL.into_iter().try_fold(ForkSchedule::default(), |schedule, fork| {
                Ok::<_, ConfigError>(schedule.with(fork, hardforks.find(fork.field(), number)?))
            })?,
            unsafe_block_signer: top
                .table("roles")?
                .find("roles.UnsafeBlockSigner", address)?
                .filter(|found| !found.is_zero()),
            system_config: top
                .table("addresses")?
                .find("addresses.SystemConfigProxy", address)?
                .filter(|found| !found.is_zero()),
            unknown_forks: hardforks.unknown_forks(),
        };
        config.check()?;
        Ok(config)
    }
}

/// The keys of one table. A missing table has no keys.
#[derive(Clone, Copy)]
struct Table<'a>(Option<&'a Map<String, Value>>);

impl<'a> Table<'a> {
    fn of(value: &'a Value, path: &'static str) -> Result<Self, ConfigError> {
        match value {
            Value::Object(keys) => Ok(Self(Some(keys))),
            other => {
                Err(ConfigError::WrongType { field: path, expected: TABLE, found: kind(other) })
            }
        }
    }

    /// Returns the value of the key at this path, or `None` if it is missing or null. The key is
    /// the last segment of the path.
    fn find<T>(
        self,
        path: &'static str,
        read: fn(&'a Value, &'static str) -> Result<T, ConfigError>,
    ) -> Result<Option<T>, ConfigError> {
        let name = path.rsplit('.').next().unwrap_or(path);
        match self.0.and_then(|keys| keys.get(name)) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => read(value, path).map(Some),
        }
    }

    fn need<T>(
        self,
        path: &'static str,
        expected: &'static str,
        read: fn(&'a Value, &'static str) -> Result<T, ConfigError>,
    ) -> Result<T, ConfigError> {
        self.find(path, read)?.ok_or(ConfigError::Missing { field: path, expected })
    }

    /// Returns the table at this path, or a table without keys if it is missing.
    fn table(self, path: &'static str) -> Result<Self, ConfigError> {
        Ok(self.find(path, Self::of)?.unwrap_or(Self(None)))
    }

    fn unknown_forks(self) -> BTreeMap<String, u64> {
        let unknown = self.0.into_iter().flatten().filter(|(name, _)| is_unknown_fork(name));
        unknown.filter_map(|(name, value)| Some((name.clone(), value.as_u64()?))).collect()
    }
}

fn number(value: &Value, field: &'static str) -> Result<u64, ConfigError> {
    match value {
        Value::Number(number) => number.as_u64().ok_or_else(|| match number.is_f64() {
            true => ConfigError::WrongType { field, expected: WHOLE_NUMBER, found: kind(value) },
            false => ConfigError::OutOfRange { field, found: excerpt(&number.to_string()) },
        }),
        other => Err(ConfigError::WrongType { field, expected: WHOLE_NUMBER, found: kind(other) }),
    }
}

fn text(value: &Value, field: &'static str) -> Result<String, ConfigError> {
    match value {
        Value::String(text) => Ok(excerpt(text)),
        other => Err(ConfigError::WrongType { field, expected: TEXT, found: kind(other) }),
    }
}

fn hash(value: &Value, field: &'static str) -> Result<B256, ConfigError> {
    hex(value, field, HASH, 64)
}

fn address(value: &Value, field: &'static str) -> Result<Address, ConfigError> {
    hex(value, field, ADDRESS, 40)
}

fn hex<T: FromStr>(
    value: &Value,
    field: &'static str,
    expected: &'static str,
    digits: usize,
) -> Result<T, ConfigError> {
    let Value::String(text) = value else {
        return Err(ConfigError::WrongType { field, expected, found: kind(value) });
    };
    hex_digits(text, field, expected, digits)
}

/// Describes the type of a value.
fn kind(value: &Value) -> String {
    match value {
        Value::Object(_) => "a table".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::String(text) => format!("the text {}", excerpt(text)),
        Value::Number(number) => format!("the number {}", excerpt(&number.to_string())),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{address, b256};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// Returns a file with the registry's structure, including keys that this module does not use.
    fn op_mainnet() -> Value {
        json!({
            "name": "OP Mainnet",
            "public_rpc": "https://rpc.example",
            "superchain_level": 2,
            "superchain_time": 0,
            "data_availability_type": "eth-da",
            "chain_id": 10,
            "block_time": 2,
            "seq_window_size": 3600,
            "hardforks": {
                "canyon_time": 1704992401, "delta_time": 1708560000, "ecotone_time": 1710374401,
                "keep_karst_upgrade_gas": true, "pectra_blob_schedule_time": 5, "regolith_time": 0,
            },
            "genesis": {
                "l2_time": 1686068903,
                "l1": { "hash": format!("0x{}", "22".repeat(32)), "number": 17422590 },
                "l2": {
                    "hash": "0xdbf6a80fef073de06add9b0d14026d6e5a86c85f6d102c36d3d8e9cf89c2afd3",
                    "number": 105235063,
                },
            },
            "roles": { "UnsafeBlockSigner": "0xAAAA45d9549EDA09E70937013520214382Ffc4A2" },
            "addresses": { "SystemConfigProxy": "0x229047fed2591dbec1eF1118d64F7aF3dB9EB290" },
        })
    }

    /// Returns the file with a replaced value at this `/`-separated path; `None` removes the key.
    fn with(path: &str, value: Option<Value>) -> Value {
        let mut file = op_mainnet();
        let (parent, name) = path.rsplit_once('/').unwrap();
        let parent = file.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        match value {
            Some(value) => parent.insert(name.to_owned(), value),
            None => parent.remove(name),
        };
        file
    }

    #[test]
    fn a_registry_file_is_read() {
        let config = ChainConfig::from_registry(&op_mainnet(), Some("mainnet")).unwrap();
        assert_eq!(
            (config.name.as_ref(), config.chain_id, config.l1_chain_id),
            ("OP Mainnet", 10, 1)
        );
        let hash = b256!("dbf6a80fef073de06add9b0d14026d6e5a86c85f6d102c36d3d8e9cf89c2afd3");
        let genesis = Genesis { number: 105_235_063, hash, time: 1_686_068_903 };
        assert_eq!((config.genesis, config.block_time), (genesis, 2));
        let planned = |fork| config.forks.activation(fork);
        assert_eq!(planned(Fork::Ecotone), Some(1_710_374_401));
        assert_eq!(planned(Fork::Fjord), None);
        let signer = address!("aaaa45d9549eda09e70937013520214382ffc4a2");
        assert_eq!(config.unsafe_block_signer, Some(signer));
        let contract = address!("229047fed2591dbec1ef1118d64f7af3db9eb290");
        assert_eq!(config.system_config, Some(contract));
        assert!(config.unknown_forks.is_empty(), "{:?}", config.unknown_forks);
    }

    #[test]
    fn the_l1_comes_from_the_folder_the_table_or_a_key() {
        let l1 = |file: &Value, superchain| {
            ChainConfig::from_registry(file, superchain).map(|config| config.l1_chain_id)
        };
        let other = with("/chain_id", Some(json!(424_242)));
        assert_eq!(l1(&other, Some("sepolia")), Ok(11_155_111));
        assert_eq!(l1(&op_mainnet(), None), Ok(1));
        assert_eq!(l1(&op_mainnet(), Some("downloads")), Ok(1));
        assert_eq!(l1(&other, None).unwrap_err().field(), Some("l1_chain_id"));
        let mut told = other;
        told["l1_chain_id"] = json!(900);
        assert_eq!(l1(&told, Some("sepolia")), Ok(900));
    }

    #[test]
    fn forks_that_are_not_known_are_kept() {
        let file = with("/hardforks/zenith_time", Some(json!(1_999_999_999)));
        let config = ChainConfig::from_registry(&file, None).unwrap();
        assert_eq!(config.unknown_forks, [("zenith_time".to_owned(), 1_999_999_999)].into());
    }

    #[test]
    fn missing_and_wrong_values_are_named_by_their_key() {
        for (path, value, field) in [
            ("/chain_id", None, "chain_id"),
            ("/chain_id", Some(json!("10")), "chain_id"),
            ("/chain_id", Some(json!(0)), "l2_chain_id"),
            ("/block_time", Some(json!(2.5)), "block_time"),
            ("/block_time", Some(json!(-2)), "block_time"),
            ("/genesis", Some(json!([])), "genesis"),
            ("/genesis", None, "genesis.l2.number"),
            ("/genesis/l2/hash", Some(json!("0x12")), "genesis.l2.hash"),
            ("/genesis/l2_time", None, "genesis.l2_time"),
            ("/hardforks/delta_time", Some(json!("soon")), "delta_time"),
            ("/hardforks/delta_time", Some(json!(5)), "delta_time"),
            ("/hardforks/delta_time", None, "delta_time"),
            ("/addresses/SystemConfigProxy", Some(json!(7)), "addresses.SystemConfigProxy"),
            ("/roles/UnsafeBlockSigner", Some(json!("0x")), "roles.UnsafeBlockSigner"),
            ("/name", Some(json!({})), "name"),
        ] {
            let file = with(path, value);
            let error = ChainConfig::from_registry(&file, Some("mainnet")).unwrap_err();
            assert_eq!(error.field(), Some(field), "{path}: {error}");
        }
        assert!(ChainConfig::from_registry(&json!([]), None).is_err());
    }

    proptest! {
        #[test]
        fn any_field_text_parses_or_fails_with_a_short_error(text: String, place in 0..5usize) {
            let places =
                ["/name", "/genesis/l2/hash", "/chain_id", "/hardforks/delta_time", "/genesis"];
            let file = with(places[place], Some(json!(text)));
            if let Err(error) = ChainConfig::from_registry(&file, None) {
                prop_assert!(error.to_string().len() < 600);
            }
        }
    }
}
