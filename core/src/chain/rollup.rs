//! Reader and writer for the `rollup.json`, with which the reference node and all other rollup
//! nodes start.
//!
//! The fields that the p2p layer uses are parsed and fully checked: type, range and format. The
//! rest (batch inbox, sequencing window, system configuration, …) is for derivation. It is skipped,
//! whatever its contents are, so that a file for a newer or modified node is not rejected over a
//! field that has no meaning here.
//!
//! # Bounds
//!
//! The operator provides the text, up to [`MAX_ROLLUP_JSON_BYTES`]. Values are borrowed from it and
//! only field names are copied, so memory stays within a small multiple of that. A longer text is
//! rejected without parsing: every `rollup.json` is far below the bound, and the genesis file,
//! which is easily mistaken for it, is far above.

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
use super::networks::edit_distance;

/// Maximum length, in bytes, of a text that [`ChainConfig::from_rollup_json`] parses. Real files
/// have about two thousand bytes.
pub const MAX_ROLLUP_JSON_BYTES: usize = 1 << 18;

/// Fields that end with `_time` but are not future forks: the block time, the fork before the first
/// [`Fork`], and a fix of L1 blob fees that some test chains needed once.
const NOT_LATER_FORKS: [&str; 3] = ["block_time", "regolith_time", "pectra_blob_schedule_time"];

/// Name of the whole text in error messages.
const WHOLE_FILE: &str = "rollup.json";
pub(super) const WHOLE_NUMBER: &str = "a whole number";
pub(super) const HASH: &str = "a hash (0x and 64 hexadecimal digits)";
pub(super) const ADDRESS: &str = "an address (0x and 40 hexadecimal digits)";
const OBJECT: &str = "an object";

impl ChainConfig {
    /// Parses a `rollup.json` and [checks](ChainConfig::check) it.
    ///
    /// Required fields are `l2_chain_id`, `l1_chain_id`, `block_time`, `genesis.l2.hash`,
    /// `genesis.l2.number` and `genesis.l2_time`. A fork is not scheduled if its time is absent or
    /// null. Other fields that end with `_time` and contain a whole number are kept in
    /// [`unknown_forks`](ChainConfig::unknown_forks). The file does not name the unsafe block
    /// signer: the caller sets it.
    ///
    /// # Errors
    ///
    /// Any [`ConfigError`]; it names the field.
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
            // Handwritten files for a chain without contracts contain the zero address.
            system_config: top
                .find("l1_system_config_address", address)?
                .filter(|found| !found.is_zero()),
            unknown_forks: top.unknown_forks(),
        };
        // `check` accepts a development chain without an L1. The reference node does not accept
        // such a file.
        if config.l1_chain_id == 0 {
            return Err(ConfigError::Zero {
                field: "l1_chain_id",
                expected: "the id of the chain's L1",
            });
        }
        config.check()?;
        // The two hashes are next to each other in the file, and it is easy to paste one over the
        // other. Both may be zero on a test chain.
        if !config.genesis.hash.is_zero()
            && let Some(l1) = genesis.find("genesis.l1", Object::parse)?
            && l1.find("genesis.l1.hash", hash)? == Some(config.genesis.hash)
        {
            return Err(ConfigError::SameGenesisHash(config.genesis.hash));
        }
        Ok(config)
    }

    /// Returns the configuration as the text of a `rollup.json`. It has only the fields that
    /// [`from_rollup_json`](Self::from_rollup_json) uses: enough for this software, but too few for
    /// a node that derives the chain.
    ///
    /// Parsing the text restores the configuration except for the name and the signer, which the
    /// file does not contain. A chain without an L1 ([`l1_chain_id`](Self::l1_chain_id) zero) is
    /// also written, but the reader rejects it.
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
            // Lower case: the mixed case of an address is a checksum that costs a hash and helps
            // only human readers.
            file.insert("l1_system_config_address".into(), format!("{contract:#x}").into());
        }
        Value::Object(file).to_string()
    }
}

/// The fields of one JSON object, each with the raw text of its value.
struct Object<'a>(BTreeMap<String, &'a RawValue>);

impl<'a> Object<'a> {
    fn parse(text: &'a str, path: &'static str) -> Result<Self, ConfigError> {
        let Members { fields, duplicate } =
            serde_json::from_str(text).map_err(|error| match error.classify() {
                Category::Data => {
                    ConfigError::WrongType { field: path, expected: OBJECT, found: kind(text) }
                }
                _ => ConfigError::Json { within: path, reason: error.to_string() },
            })?;
        match duplicate {
            Some(name) if path == WHOLE_FILE => {
                Err(ConfigError::Duplicate { field: excerpt(&name) })
            }
            Some(name) => {
                Err(ConfigError::Duplicate { field: format!("{path}.{}", excerpt(&name)) })
            }
            None => Ok(Self(fields)),
        }
    }

    /// Returns the value of the field at this path, or `None` if it is absent or null. The field's
    /// name in this object is the last segment of the path.
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
        let mut unknown = BTreeMap::new();
        for (name, raw) in self.0.iter().filter(|(name, _)| is_unknown_fork(name)) {
            if let Ok(time) = raw.get().parse() {
                unknown.insert(name.clone(), time);
            }
        }
        unknown
    }
}

/// The members of an object, as the parser returns them.
struct Members<'a> {
    fields: BTreeMap<String, &'a RawValue>,
    /// A name that occurred more than once.
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
    // Hexadecimal digits need no escapes, so the text between the quotes is the value itself.
    let Some(inner) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return Err(ConfigError::WrongType { field, expected, found: kind(text) });
    };
    hex_digits(inner, field, expected, digits)
}

/// Parses `0x` followed by exactly this number of hexadecimal digits.
pub(super) fn hex_digits<T: FromStr>(
    text: &str,
    field: &'static str,
    expected: &'static str,
    digits: usize,
) -> Result<T, ConfigError> {
    text.strip_prefix("0x")
        .or_else(|| text.strip_prefix("0X"))
        // `parse` would accept a second 0x.
        .filter(|rest| rest.len() == digits && rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .and_then(|rest| rest.parse().ok())
        .ok_or_else(|| ConfigError::BadHex { field, expected, found: excerpt(text) })
}

impl ChainConfig {
    /// Returns the [unknown forks](Self::unknown_forks) with a field name that is almost a known
    /// fork's, each with the fork that is probably meant.
    pub fn misspelt_forks(&self) -> impl Iterator<Item = (&str, Fork)> {
        /// Maximum edit distance; two swapped letters count as two.
        const TYPO: usize = 2;
        // No field is longer. The limit bounds the work.
        const LONGEST: usize = 40;
        let fields = self.unknown_forks.keys().filter(|field| field.len() <= LONGEST);
        fields.filter_map(|field| {
            let distance = |fork: &Fork| edit_distance(field.as_bytes(), fork.field().as_bytes());
            let nearest = Fork::ALL.into_iter().min_by_key(distance)?;
            (distance(&nearest) <= TYPO).then_some((field.as_str(), nearest))
        })
    }
}

/// Returns `true` if a field with this name contains the time of a fork that this software does not
/// know.
pub(super) fn is_unknown_fork(name: &str) -> bool {
    let is_known =
        NOT_LATER_FORKS.contains(&name) || Fork::ALL.iter().any(|fork| fork.field() == name);
    name.ends_with("_time") && !is_known
}

/// Describes the type of a piece of JSON.
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
mod tests;
