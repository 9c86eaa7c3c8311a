//! Selection of the chain: a built-in network or the operator's `rollup.json`.

use super::failure::readable;
use super::overrides::OverrideArgs;
use super::{Failure, path, rollup_fields};
use clap::Args;
use opp2p_core::chain::{ChainConfig, ConfigError, MAX_ROLLUP_JSON_BYTES, networks};
use serde_json::Value;
use serde_json::value::RawValue;
use std::ffi::OsStr;
use std::fmt::Display;
use std::io::Read;
use std::path::{Path, PathBuf};

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Chain")]
pub(super) struct ChainArgs {
    /// Built-in network: name, slug such as op-mainnet or base-sepolia, or chain id.
    #[arg(long, alias = "chain", env = "OP_NODE_NETWORK", value_name = "NAME")]
    network: Option<String>,
    /// Chain configuration file: a rollup.json, as op-node takes it, or a chain's TOML file from
    /// the superchain registry.
    #[arg(
        long = "rollup.config", env = "OP_NODE_ROLLUP_CONFIG",
        value_name = "FILE", value_parser = path()
    )]
    rollup_config: Option<PathBuf>,
    #[command(flatten)]
    overrides: OverrideArgs,
}

impl ChainArgs {
    /// Returns the text of the operator's file, if it takes effect.
    pub(super) fn rollup(&self) -> Result<Option<String>, Failure> {
        match self.name() {
            Some(_) => Ok(None),
            None => self.file().map(text_of).transpose(),
        }
    }

    /// Returns the operator's `rollup.json` verbatim, if it takes effect.
    pub(super) fn rollup_json(&self) -> Result<Option<Box<RawValue>>, Failure> {
        let is_json = self.file().is_some_and(|path| !is_registry_file(path));
        let text = self.rollup()?.filter(|_| is_json);
        // It was valid at the first read, but may have been replaced since.
        let rollup = text.map(RawValue::from_string).transpose()?;
        rollup.map(|rollup| self.overrides.apply_to_json(rollup)).transpose()
    }

    /// Returns the selection of a chain without changes to its forks.
    pub(super) fn named(network: Option<String>, rollup_config: Option<PathBuf>) -> Self {
        Self { network, rollup_config, overrides: OverrideArgs::default() }
    }

    /// Returns `true` if a chain is named.
    pub(super) fn is_given(&self) -> bool {
        self.name().is_some() || self.file().is_some()
    }

    // An empty environment variable counts as unset.
    fn file(&self) -> Option<&Path> {
        self.rollup_config.as_deref().filter(|path| !path.as_os_str().is_empty())
    }

    fn name(&self) -> Option<&str> {
        self.network.as_deref().filter(|name| !name.is_empty())
    }

    /// Loads the requested chain, or `default`'s. Reports doubtful settings in sentences.
    pub(super) fn load(
        &self,
        default: Option<&str>,
        tell: &dyn Fn(&str),
    ) -> Result<ChainConfig, Failure> {
        if let (Some(name), Some(path)) = (self.name(), self.file()) {
            // op-node does the same, silently.
            tell(&format!(
                "--network takes precedence and the file of --rollup.config is not read: leave out \
                 one ({name} or {})",
                path.display()
            ));
        }
        let mut chain = match (self.name(), self.file(), default) {
            (Some(name), ..) | (None, None, Some(name)) => networks::find(name)?.config(),
            (None, Some(path), _) => from_file(path, tell)?,
            (None, None, None) => {
                return Err(Failure::new(
                    "no chain is given: use --network NAME or --rollup.config FILE",
                ));
            }
        };
        self.overrides.apply(&mut chain)?;
        Ok(chain)
    }
}

fn from_file(path: &Path, tell: &dyn Fn(&str)) -> Result<ChainConfig, Failure> {
    let refused = |error: &dyn Display| {
        Failure::new(format!("the chain configuration {} is refused: {error}", path.display()))
    };
    // Invalid UTF-8 is also invalid JSON, and the parser reports it.
    let text = text_of(path)?;
    let chain = if is_registry_file(path) {
        // Longer files are truncated, and may then end anywhere.
        if text.len() > MAX_ROLLUP_JSON_BYTES {
            return Err(refused(&ConfigError::TooLong { length: text.len() }));
        }
        let file: Value = toml::from_str(&text).map_err(|error| {
            refused(&format_args!("it is not valid TOML: {}", error.message().replace('\n', ", ")))
        })?;
        let superchain = path.canonicalize().ok();
        let superchain = superchain.as_deref().and_then(Path::parent).and_then(Path::file_name);
        ChainConfig::from_registry(&file, superchain.and_then(OsStr::to_str))
    } else {
        ChainConfig::from_rollup_json(&text)
    };
    let chain = chain.map_err(|error| refused(&error))?;
    if !is_registry_file(path) {
        rollup_fields::report_unknown(&text, &|what| {
            tell(&format!("the chain configuration {}: {what}", path.display()));
        });
    }
    for (field, meant) in chain.misspelt_forks() {
        tell(&format!(
            "{field} in the chain configuration {} is not known: if {} is meant, correct it, else \
             blocks are judged without that fork",
            path.display(),
            meant.field()
        ));
    }
    Ok(chain)
}

/// Returns `true` for a file of the superchain registry, which is TOML.
fn is_registry_file(path: &Path) -> bool {
    path.extension().is_some_and(|kind| kind.eq_ignore_ascii_case("toml"))
}

fn text_of(path: &Path) -> Result<String, Failure> {
    let mut text = Vec::new();
    // One byte more than the parser takes, so that it can report a file that is too long.
    let limit = MAX_ROLLUP_JSON_BYTES as u64 + 1;
    let read = std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut text));
    read.map_err(|error| {
        Failure::new(format!(
            "can't read the chain configuration {}: {error}; give a rollup.json {}",
            path.display(),
            readable(&error)
        ))
    })?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
