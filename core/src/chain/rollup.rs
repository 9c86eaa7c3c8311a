//! Reading (and writing again) the `rollup.json` that the reference node and every other rollup node are started with.
//!
//! Read are the fields that the p2p layer uses, and of those everything is checked: kind, range, form. The
//! rest (batch inbox, sequencing window, system configuration …) is for derivation and is skipped, whatever it
//! holds, so that a file for a newer or a modified node is not refused over a field that means nothing here.
//!
//! # Bounds
//!
//! The text comes from whoever starts the node, up to [`MAX_ROLLUP_JSON_BYTES`]. Values are borrowed from it
//! and only the names of fields are copied, so memory stays within a small multiple of that. A longer text is
//! refused unread: no `rollup.json` comes near the bound, and the genesis file, which people mistake for it, is
//! far above.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::str::FromStr;

use alloy_primitives::{Address, B256};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::config::{ChainConfig, ConfigError, Genesis};
use super::excerpt;
use super::fork::{Fork, ForkSchedule};

/// Longest text, in bytes, that [`ChainConfig::from_rollup_json`] reads; real ones have about two thousand.
pub const MAX_ROLLUP_JSON_BYTES: usize = 1 << 18;

/// Fields called `*_time` that are no forks still to come: the block time, the fork before the first of [`Fork`],
/// and a repair of L1 blob fees that some test chains needed once.
const NOT_LATER_FORKS: [&str; 3] = ["block_time", "regolith_time", "pectra_blob_schedule_time"];

/// What errors call the text as a whole.
const WHOLE_FILE: &str = "rollup.json";
const WHOLE_NUMBER: &str = "a whole number";
const HASH: &str = "a hash (0x and 64 hexadecimal digits)";
const ADDRESS: &str = "an address (0x and 40 hexadecimal digits)";
const OBJECT: &str = "an object";

impl ChainConfig {
    /// Reads a `rollup.json` and [checks](ChainConfig::check) it.
    ///
    /// Needed are `l2_chain_id`, `l1_chain_id`, `block_time`, `genesis.l2.hash`, `genesis.l2.number` and
    /// `genesis.l2_time`. A fork whose time is absent or null is not planned. Other fields called `*_time` that
    /// hold a whole number are kept in [`unknown_forks`](ChainConfig::unknown_forks). Such a file does not
    /// name the unsafe-block signer: the caller fills it in.
    ///
    /// # Errors
    ///
    /// Every [`ConfigError`]; it names the field.
    pub fn from_rollup_json(text: &str) -> Result<Self, ConfigError> {
        if text.len() > MAX_ROLLUP_JSON_BYTES {
            return Err(ConfigError::TooLong { length: text.len() });
        }
        let top = Object::parse(text, WHOLE_FILE)?;
        let genesis = top.need("genesis", OBJECT, Object::parse)?;
        let l2 = genesis.need("genesis.l2", OBJECT, Object::parse)?;

        let chain_id = top.need("l2_chain_id", WHOLE_NUMBER, number)?;
        let config = Self {
            name: Cow::Owned(format!("chain {chain_id}")),
            chain_id,
            l1_chain_id: top.need("l1_chain_id", WHOLE_NUMBER, number)?,
            genesis: Genesis {
                number: l2.need("genesis.l2.number", WHOLE_NUMBER, number)?,
                hash: l2.need("genesis.l2.hash", HASH, hash)?,
                time: genesis.need("genesis.l2_time", WHOLE_NUMBER, number)?,
            },
            block_time: top.need("block_time", WHOLE_NUMBER, number)?,
            forks: top.forks()?,
            unsafe_block_signer: None,
            // Files written by hand for a chain without contracts hold the zero address.
            system_config: top.find("l1_system_config_address", address)?.filter(|found| !found.is_zero()),
            unknown_forks: top.unknown_forks(),
        };
        // `check` lets a development chain do without an L1; the reference node does not let a file.
        if config.l1_chain_id == 0 {
            return Err(ConfigError::Zero { field: "l1_chain_id", expected: "the id of the chain's L1" });
        }
        config.check()?;
        // The two hashes stand next to each other, and one is easily pasted over the other. A test chain's
        // may both be zero.
        if !config.genesis.hash.is_zero()
            && let Some(l1) = genesis.find("genesis.l1", Object::parse)?
            && l1.find("genesis.l1.hash", hash)? == Some(config.genesis.hash)
        {
            return Err(ConfigError::SameGenesisHash(config.genesis.hash));
        }
        Ok(config)
    }

    /// The configuration as the text of a `rollup.json`: the fields that [`from_rollup_json`](Self::from_rollup_json)
    /// reads, and no others, so it is enough for this software and too little for a node that derives the chain.
    ///
    /// Read again it is the same configuration, but for the name and the signer, which no such file holds. A chain
    /// without an L1 ([`l1_chain_id`](Self::l1_chain_id) zero) is written all the same, and refused by the reader.
    pub fn to_rollup_json(&self) -> String {
        let mut file = serde_json::Map::new();
        file.insert(
            "genesis".into(),
            json!({
                "l2": { "hash": self.genesis.hash.to_string(), "number": self.genesis.number },
                "l2_time": self.genesis.time,
            }),
        );
        file.insert("block_time".into(), self.block_time.into());
        file.insert("l1_chain_id".into(), self.l1_chain_id.into());
        file.insert("l2_chain_id".into(), self.chain_id.into());
        for fork in Fork::ALL {
            if let Some(time) = self.forks.activation(fork) {
                file.insert(fork.field().into(), time.into());
            }
        }
        for (name, time) in &self.unknown_forks {
            file.insert(name.clone(), (*time).into());
        }
        if let Some(contract) = self.system_config {
            // Lower case: the mixed case of an address is a checksum that costs a hash and helps people only.
            file.insert("l1_system_config_address".into(), format!("{contract:#x}").into());
        }
        Value::Object(file).to_string()
    }
}

/// The fields of one JSON object, each as the text that stands there.
struct Object<'a>(BTreeMap<String, &'a RawValue>);

impl<'a> Object<'a> {
    fn parse(text: &'a str, path: &'static str) -> Result<Self, ConfigError> {
        let Members { fields, duplicate } =
            serde_json::from_str(text).map_err(|error| match error.classify() {
                Category::Data => ConfigError::WrongType { field: path, expected: OBJECT, found: kind(text) },
                _ => ConfigError::Json { within: path, reason: error.to_string() },
            })?;
        match duplicate {
            Some(name) if path == WHOLE_FILE => Err(ConfigError::Duplicate { field: excerpt(&name) }),
            Some(name) => Err(ConfigError::Duplicate { field: format!("{path}.{}", excerpt(&name)) }),
            None => Ok(Self(fields)),
        }
    }

    /// The value of the field at this path, the last step of which is its name here; `None` if absent or null.
    fn find<T>(
        &self,
        path: &'static str,
        read: fn(&'a str, &'static str) -> Result<T, ConfigError>,
    ) -> Result<Option<T>, ConfigError> {
        let name = path.rsplit('.').next().unwrap_or(path);
        match self.0.get(name).map(|raw| raw.get()) {
            None | Some("null") => Ok(None),
            Some(text) => read(text, path).map(Some),
        }
    }

    fn need<T>(
        &self,
        path: &'static str,
        expected: &'static str,
        read: fn(&'a str, &'static str) -> Result<T, ConfigError>,
    ) -> Result<T, ConfigError> {
        self.find(path, read)?.ok_or(ConfigError::Missing { field: path, expected })
    }

    fn forks(&self) -> Result<ForkSchedule, ConfigError> {
        Fork::ALL.into_iter().try_fold(ForkSchedule::default(), |schedule, fork| {
            Ok(schedule.with(fork, self.find(fork.field(), number)?))
        })
    }

    fn unknown_forks(&self) -> BTreeMap<String, u64> {
        let is_known =
            |name: &str| NOT_LATER_FORKS.contains(&name) || Fork::ALL.iter().any(|fork| fork.field() == name);
        let mut unknown = BTreeMap::new();
        for (name, raw) in self.0.iter().filter(|(name, _)| name.ends_with("_time") && !is_known(name)) {
            if let Ok(time) = raw.get().parse() {
                unknown.insert(name.clone(), time);
            }
        }
        unknown
    }
}

/// An object as it comes off the parser.
struct Members<'a> {
    fields: BTreeMap<String, &'a RawValue>,
    /// A name that came more than once.
    duplicate: Option<String>,
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;

        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(OBJECT)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Members { fields: BTreeMap::new(), duplicate: None };
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    match members.fields.entry(name) {
                        Entry::Vacant(entry) => {
                            entry.insert(value);
                        }
                        Entry::Occupied(entry) => members.duplicate = Some(entry.key().clone()),
                    }
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(MembersVisitor)
    }
}

fn number(text: &str, field: &'static str) -> Result<u64, ConfigError> {
    text.parse().map_err(|_| {
        let digits = text.strip_prefix('-').unwrap_or(text);
        if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            ConfigError::OutOfRange { field, found: excerpt(text) }
        } else {
            ConfigError::WrongType { field, expected: WHOLE_NUMBER, found: kind(text) }
        }
    })
}

fn hash(text: &str, field: &'static str) -> Result<B256, ConfigError> {
    hex(text, field, HASH, 64)
}

fn address(text: &str, field: &'static str) -> Result<Address, ConfigError> {
    hex(text, field, ADDRESS, 40)
}

fn hex<T: FromStr>(
    text: &str,
    field: &'static str,
    expected: &'static str,
    digits: usize,
) -> Result<T, ConfigError> {
    // No hexadecimal digit needs an escape, so the text between the quotes is the text itself.
    let Some(inner) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return Err(ConfigError::WrongType { field, expected, found: kind(text) });
    };
    inner
        .strip_prefix("0x")
        .or_else(|| inner.strip_prefix("0X"))
        // The parser would take another 0x.
        .filter(|rest| rest.len() == digits && rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .and_then(|rest| rest.parse().ok())
        .ok_or_else(|| ConfigError::BadHex { field, expected, found: excerpt(inner) })
}

/// What a piece of JSON is, in words.
fn kind(text: &str) -> String {
    match text.trim_start().bytes().next() {
        Some(b'{') => "an object".to_owned(),
        Some(b'[') => "a list".to_owned(),
        Some(b'"') => format!("the text {}", excerpt(text)),
        Some(b'-' | b'0'..=b'9') => format!("the number {}", excerpt(text)),
        _ => excerpt(text),
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{address, b256};
    use proptest::prelude::*;

    use super::*;

    /// The shape of a file as the reference node writes it, with the usual fields that nobody here reads.
    fn op_mainnet() -> Value {
        json!({
            "genesis": {
                "l1": {
                    "hash": "0x438335a20d98863a4c0c97999eb2481921ccd28553eac6f913af7c12aec04108",
                    "number": 17422590
                },
                "l2": {
                    "hash": "0xdbf6a80fef073de06add9b0d14026d6e5a86c85f6d102c36d3d8e9cf89c2afd3",
                    "number": 105235063
                },
                "l2_time": 1686068903,
                "system_config": {
                    "batcherAddr": "0x6887246668a3b87f54deb3b94ba47a6f63f32985",
                    "overhead": "0x00000000000000000000000000000000000000000000000000000000000000bc",
                    "scalar": "0x00000000000000000000000000000000000000000000000000000000000a6fe0",
                    "gasLimit": 30000000
                }
            },
            "block_time": 2,
            "max_sequencer_drift": 600,
            "seq_window_size": 3600,
            "channel_timeout": 300,
            "l1_chain_id": 1,
            "l2_chain_id": 10,
            "regolith_time": 0,
            "canyon_time": 1704992401,
            "delta_time": 1708560000,
            "ecotone_time": 1710374401,
            "fjord_time": 1720627201,
            "granite_time": 1726070401,
            "holocene_time": 1736445601,
            "pectra_blob_schedule_time": null,
            "isthmus_time": 1746806401,
            "jovian_time": 1764691201,
            "batch_inbox_address": "0xff00000000000000000000000000000000000010",
            "deposit_contract_address": "0xbeb5fc579115071764c7423a4f12edde41f106ed",
            "l1_system_config_address": "0x229047fed2591dbec1ef1118d64f7af3db9eb290",
            "protocol_versions_address": "0x8062abc286f5e7d9428a0ccb9abd71e50d93b935",
            "chain_op_config": {
                "eip1559Elasticity": 6, "eip1559Denominator": 50, "eip1559DenominatorCanyon": 250
            },
            "alt_da": null
        })
    }

    fn parse(value: &Value) -> Result<ChainConfig, ConfigError> {
        ChainConfig::from_rollup_json(&serde_json::to_string_pretty(value).unwrap())
    }

    /// The error after the value at this path, `/`-separated, is replaced; `None` takes the field away.
    fn error_with(path: &str, value: Option<Value>) -> ConfigError {
        let mut file = op_mainnet();
        let (parent, name) = path.rsplit_once('/').unwrap();
        let parent = file.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        match value {
            Some(value) => parent.insert(name.to_owned(), value),
            None => parent.remove(name),
        };
        parse(&file).unwrap_err()
    }

    #[test]
    fn an_operators_file_is_read() {
        let config = parse(&op_mainnet()).unwrap();
        let expected = ChainConfig {
            name: "chain 10".into(),
            chain_id: 10,
            l1_chain_id: 1,
            genesis: Genesis {
                number: 105_235_063,
                hash: b256!("dbf6a80fef073de06add9b0d14026d6e5a86c85f6d102c36d3d8e9cf89c2afd3"),
                time: 1_686_068_903,
            },
            block_time: 2,
            forks: ForkSchedule::in_order(&[
                1_704_992_401,
                1_708_560_000,
                1_710_374_401,
                1_720_627_201,
                1_726_070_401,
                1_736_445_601,
                1_746_806_401,
                1_764_691_201,
            ]),
            unsafe_block_signer: None,
            system_config: Some(address!("229047fed2591dbec1ef1118d64f7af3db9eb290")),
            unknown_forks: BTreeMap::new(),
        };
        assert_eq!(config, expected);
        // A real block of the chain: fixture op_mainnet_120794432.
        assert_eq!(config.timestamp_of(120_794_432), Some(1_717_187_641));
    }

    #[test]
    fn what_is_written_is_read_as_it_was() {
        for network in super::super::networks::all() {
            let mut config = network.config();
            config.unknown_forks.insert("interop_time".into(), 5);
            let read = ChainConfig::from_rollup_json(&config.to_rollup_json()).unwrap();
            config.name = format!("chain {}", config.chain_id).into();
            config.unsafe_block_signer = None;
            assert_eq!(read, config);
        }
        let (hash, signer) = (B256::repeat_byte(1), Address::repeat_byte(2));
        let mut alone = ChainConfig::development(901, hash, 9000, 2, Fork::Ecotone, signer);
        let refused = ChainConfig::from_rollup_json(&alone.to_rollup_json()).unwrap_err();
        assert_eq!(refused.field(), Some("l1_chain_id"));
        alone.l1_chain_id = 900;
        let read = ChainConfig::from_rollup_json(&alone.to_rollup_json()).unwrap();
        assert_eq!((read.forks, read.genesis, read.block_time), (alone.forks, alone.genesis, 2));
    }

    #[test]
    fn the_fields_of_derivation_may_be_absent_or_anything() {
        let mut file = op_mainnet();
        let unread = ["max_sequencer_drift", "seq_window_size", "regolith_time", "chain_op_config", "alt_da"];
        for name in unread {
            file[name] = json!({ "whatever": [1.5, "x", null] });
        }
        file["genesis"]["l1"] = Value::Null;
        file["genesis"]["system_config"] = json!([]);
        assert_eq!(parse(&file), parse(&op_mainnet()));
        for name in unread {
            file.as_object_mut().unwrap().remove(name);
        }
        assert_eq!(parse(&file), parse(&op_mainnet()));
    }

    #[test]
    fn a_fork_that_is_null_or_absent_is_not_planned() {
        let mut file = op_mainnet();
        file["jovian_time"] = Value::Null;
        file.as_object_mut().unwrap().remove("isthmus_time");
        let forks = parse(&file).unwrap().forks;
        assert_eq!(forks.activation(Fork::Holocene), Some(1_736_445_601));
        assert_eq!(forks.activation(Fork::Isthmus), None);
        assert_eq!(forks.activation(Fork::Jovian), None);
    }

    #[test]
    fn forks_that_are_not_known_are_kept_and_decide_nothing() {
        let mut file = op_mainnet();
        file["interop_time"] = json!(5);
        file["cel2_time"] = json!(0);
        file["pectra_blob_schedule_time"] = json!(1_742_486_400);
        file["later_time"] = Value::Null;
        file["odd_time"] = json!("soon");
        file["far_time"] = json!(1e300);
        let config = parse(&file).unwrap();
        let kept: Vec<_> = config.unknown_forks.iter().map(|(name, time)| (name.as_str(), *time)).collect();
        assert_eq!(kept, [("cel2_time", 0), ("interop_time", 5)]);
        assert_eq!(config.forks, parse(&op_mainnet()).unwrap().forks);
    }

    #[test]
    fn a_zero_system_config_address_means_that_there_is_none() {
        let mut file = op_mainnet();
        file["l1_system_config_address"] = json!(format!("{}", Address::ZERO));
        assert_eq!(parse(&file).unwrap().system_config, None);
        file["l1_chain_id"] = json!(0);
        assert_eq!(parse(&file).unwrap_err().field(), Some("l1_chain_id"));
    }

    #[test]
    fn a_missing_field_is_named() {
        for path in [
            "/genesis",
            "/genesis/l2",
            "/genesis/l2/hash",
            "/genesis/l2/number",
            "/genesis/l2_time",
            "/block_time",
            "/l1_chain_id",
            "/l2_chain_id",
        ] {
            for gone in [None, Some(Value::Null)] {
                let error = error_with(path, gone);
                assert!(matches!(error, ConfigError::Missing { .. }), "{error}");
                assert_eq!(error.field(), Some(path[1..].replace('/', ".").as_str()));
            }
        }
        assert_eq!(
            error_with("/genesis/l2/hash", None).to_string(),
            "`genesis.l2.hash` is missing; it should be a hash (0x and 64 hexadecimal digits)"
        );
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_named_with_what_it_should_be() {
        let numbers =
            ["/genesis/l2/number", "/genesis/l2_time", "/block_time", "/l1_chain_id", "/l2_chain_id"];
        let forks = Fork::ALL.map(|fork| format!("/{}", fork.field()));
        for path in numbers.into_iter().chain(forks.iter().map(String::as_str)) {
            for wrong in
                [json!("0x2"), json!("2"), json!(2.0), json!(1e30), json!(true), json!([2]), json!({})]
            {
                let error = error_with(path, Some(wrong));
                assert!(matches!(error, ConfigError::WrongType { expected: WHOLE_NUMBER, .. }), "{error}");
                assert_eq!(error.field(), Some(path[1..].replace('/', ".").as_str()));
            }
        }
        for path in ["/genesis", "/genesis/l1", "/genesis/l2"] {
            for wrong in [json!(7), json!("x"), json!([])] {
                let error = error_with(path, Some(wrong));
                assert!(matches!(error, ConfigError::WrongType { expected: OBJECT, .. }), "{error}");
                assert_eq!(error.field(), Some(path[1..].replace('/', ".").as_str()));
            }
        }
        for path in ["/genesis/l1/hash", "/genesis/l2/hash", "/l1_system_config_address"] {
            let error = error_with(path, Some(json!(7)));
            assert!(matches!(error, ConfigError::WrongType { .. }), "{error}");
            assert_eq!(error.field(), Some(path[1..].replace('/', ".").as_str()));
        }
        assert_eq!(
            error_with("/block_time", Some(json!("2"))).to_string(),
            "`block_time` should be a whole number, but is the text \"2\""
        );
        assert_eq!(
            error_with("/block_time", Some(json!(0.5))).to_string(),
            "`block_time` should be a whole number, but is the number 0.5"
        );
    }

    #[test]
    fn a_number_out_of_range_is_named() {
        for path in ["/block_time", "/l2_chain_id", "/genesis/l2/number", "/jovian_time"] {
            let error = error_with(path, Some(json!(-1)));
            assert!(matches!(error, ConfigError::OutOfRange { .. }), "{error}");
            assert_eq!(error.field(), Some(path[1..].replace('/', ".").as_str()));
        }
        let text =
            op_mainnet().to_string().replace("\"l2_chain_id\":10", "\"l2_chain_id\":18446744073709551616");
        assert_eq!(
            ChainConfig::from_rollup_json(&text).unwrap_err().to_string(),
            "`l2_chain_id` is 18446744073709551616, which is out of range; it should be from 0 to \
             18446744073709551615"
        );
    }

    #[test]
    fn bad_hexadecimal_is_named() {
        let good = "dbf6a80fef073de06add9b0d14026d6e5a86c85f6d102c36d3d8e9cf89c2afd3";
        let bad_hashes = [
            String::new(),
            good.to_owned(),
            format!("0x{}", &good[1..]),
            format!("0x{good}0"),
            format!("0x0x{}", &good[2..]),
            format!("0xg{}", &good[1..]),
            format!("0x\n{}", &good[1..]),
            format!(" 0x{good}"),
        ];
        for bad in &bad_hashes {
            let error = error_with("/genesis/l2/hash", Some(json!(bad)));
            assert!(matches!(error, ConfigError::BadHex { .. }), "{error}");
            assert_eq!(error.field(), Some("genesis.l2.hash"));
        }
        let error = error_with("/genesis/l1/hash", Some(json!("0x12")));
        assert_eq!(error.field(), Some("genesis.l1.hash"));
        assert_eq!(
            error_with("/l1_system_config_address", Some(json!("0x12"))).to_string(),
            "`l1_system_config_address` should be an address (0x and 40 hexadecimal digits), but is `0x12`"
        );
        let mut file = op_mainnet();
        file["genesis"]["l2"]["hash"] = json!(format!("0X{}", good.to_uppercase()));
        assert_eq!(parse(&file), parse(&op_mainnet()));
    }

    #[test]
    fn a_file_that_contradicts_itself_is_refused() {
        let zero = |path| match error_with(path, Some(json!(0))) {
            ConfigError::Zero { field, .. } => field,
            other => panic!("{other}"),
        };
        assert_eq!(zero("/block_time"), "block_time");
        assert_eq!(zero("/l1_chain_id"), "l1_chain_id");
        assert_eq!(zero("/l2_chain_id"), "l2_chain_id");
        assert_eq!(error_with("/l1_chain_id", Some(json!(10))), ConfigError::SameChainId(10));
        assert_eq!(
            error_with("/isthmus_time", None),
            ConfigError::ForkGap { later: Fork::Jovian, missing: Fork::Isthmus }
        );
        assert_eq!(error_with("/jovian_time", Some(json!(5))).field(), Some("jovian_time"));
        let pasted = op_mainnet()["genesis"]["l2"]["hash"].clone();
        assert_eq!(
            error_with("/genesis/l1/hash", Some(pasted)),
            ConfigError::SameGenesisHash(parse(&op_mainnet()).unwrap().genesis.hash)
        );
    }

    #[test]
    fn a_field_given_twice_is_refused() {
        let text = op_mainnet().to_string();
        for (once, twice, name) in [
            ("\"block_time\":2", "\"block_time\":2,\"block_time\":2", "block_time"),
            ("\"number\":105235063", "\"number\":105235063,\"n\\u0075mber\":0", "genesis.l2.number"),
            ("\"l2_time\":", "\"l1\":{},\"l2_time\":", "genesis.l1"),
        ] {
            let text = text.replacen(once, twice, 1);
            assert_eq!(
                ChainConfig::from_rollup_json(&text),
                Err(ConfigError::Duplicate { field: name.to_owned() })
            );
        }
    }

    #[test]
    fn what_is_not_json_is_refused_with_its_place() {
        let text = serde_json::to_string_pretty(&op_mainnet()).unwrap();
        for broken in
            ["", "   ", "{", "no", &text[..text.len() - 1], &format!("{text}x"), &format!("\u{feff}{text}")]
        {
            let error = ChainConfig::from_rollup_json(broken).unwrap_err();
            assert!(matches!(error, ConfigError::Json { within: "rollup.json", .. }), "{error}");
            assert!(error.to_string().contains("line"), "{error}");
            assert_eq!(error.field(), None);
        }
        for other in ["[]", "7", "null", "\"x\""] {
            let error = ChainConfig::from_rollup_json(other).unwrap_err();
            assert!(matches!(error, ConfigError::WrongType { field: "rollup.json", .. }), "{error}");
        }
    }

    #[test]
    fn a_text_longer_than_any_rollup_json_is_not_read() {
        let padded = |length: usize| {
            let text = op_mainnet().to_string();
            let padding = " ".repeat(length - text.len());
            ChainConfig::from_rollup_json(&(text + &padding))
        };
        assert!(padded(MAX_ROLLUP_JSON_BYTES).is_ok());
        let length = MAX_ROLLUP_JSON_BYTES + 1;
        assert_eq!(padded(length), Err(ConfigError::TooLong { length }));
    }

    #[test]
    fn deep_nesting_in_a_skipped_field_is_harmless() {
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        let text = op_mainnet().to_string().replace("\"alt_da\":null", &format!("\"alt_da\":{deep}"));
        assert_eq!(ChainConfig::from_rollup_json(&text), parse(&op_mainnet()));
    }

    #[test]
    fn an_error_stays_short_and_on_one_line_whatever_came_in() {
        let long = "\n\u{1b}é".repeat(10_000);
        for path in ["/genesis/l2/hash", "/block_time", "/jovian_time", "/genesis"] {
            let text = error_with(path, Some(json!(long))).to_string();
            assert!(text.len() < 600 && !text.contains(char::is_control), "{text}");
        }
        let twice = format!("{{{0}:1,{0}:1}}", json!(long));
        let text = ChainConfig::from_rollup_json(&twice).unwrap_err().to_string();
        assert!(text.len() < 600 && !text.contains(char::is_control), "{text}");
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            any::<[u8; 32]>().prop_map(|bytes| B256::from(bytes).to_string().into()),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-z_]{1,8}", inner, 0..4)
                    .prop_map(|members| members.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text: String) {
            let _ = ChainConfig::from_rollup_json(&text);
        }

        #[test]
        fn any_json_is_answered(value in any_json()) {
            prop_assert!(parse(&value).is_err());
        }

        #[test]
        fn any_damage_to_a_file_is_answered(at: prop::sample::Index, length in 0..20_usize, with: String) {
            let mut text = op_mainnet().to_string();
            let start = at.index(text.len());
            let end = (start + length).min(text.len());
            text.replace_range(start..end, &with);
            if let Ok(config) = ChainConfig::from_rollup_json(&text) {
                prop_assert_eq!(config.check(), Ok(()));
            }
        }

        #[test]
        fn any_value_in_a_field_is_read_or_refused_by_a_field_of_the_file(
            field in prop::sample::select(vec![
                "/genesis", "/genesis/l1", "/genesis/l2", "/genesis/l2/hash", "/genesis/l2/number", "/genesis/l2_time",
                "/block_time", "/l1_chain_id", "/l2_chain_id", "/fjord_time", "/l1_system_config_address",
            ]),
            value in any_json(),
        ) {
            let mut file = op_mainnet();
            *file.pointer_mut(field).unwrap() = value;
            match parse(&file) {
                Ok(config) => prop_assert_eq!(config.check(), Ok(())),
                Err(error) => prop_assert!(error.field().is_some(), "{}", error),
            }
        }
    }
}
