//! Which chain: a built-in network or the operator's `rollup.json`.

use super::{Failure, path};
use clap::Args;
use opp2p_core::chain::{ChainConfig, MAX_ROLLUP_JSON_BYTES, networks};
use std::io::Read;
use std::path::{Path, PathBuf};

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Chain")]
pub(super) struct ChainArgs {
    /// Built-in network: name, slug such as op-mainnet or base-sepolia, or chain id.
    #[arg(long, env = "OP_NODE_NETWORK", value_name = "NAME")]
    network: Option<String>,
    /// Chain configuration file, as the reference node takes it.
    #[arg(long = "rollup.config", env = "OP_NODE_ROLLUP_CONFIG", value_name = "FILE", value_parser = path())]
    rollup_config: Option<PathBuf>,
}

impl ChainArgs {
    /// The text of the operator's file, if there is one.
    pub(super) fn rollup(&self) -> Result<Option<String>, Failure> {
        let file = self.rollup_config.as_deref().filter(|path| !path.as_os_str().is_empty());
        file.map(text_of).transpose()
    }

    /// The chain that is asked for, or `default`'s.
    pub(super) fn load(&self, default: Option<&str>) -> Result<ChainConfig, Failure> {
        // An empty environment variable is one that is not set.
        let file = self.rollup_config.as_deref().filter(|path| !path.as_os_str().is_empty());
        let name = self.network.as_deref().filter(|name| !name.is_empty());
        match (file, name.or(default)) {
            (Some(_), Some(_)) if name.is_some() => {
                Err(Failure::new("--network and --rollup.config are both given: leave out one"))
            }
            (Some(path), _) => from_file(path),
            (None, Some(name)) => Ok(networks::find(name)?.config()),
            (None, None) => {
                Err(Failure::new("no chain is given: use --network NAME or --rollup.config FILE"))
            }
        }
    }
}

fn from_file(path: &Path) -> Result<ChainConfig, Failure> {
    // What is no text is no JSON either, and the parser says so.
    ChainConfig::from_rollup_json(&text_of(path)?).map_err(|error| {
        Failure::new(format!("the chain configuration {} is refused: {error}", path.display()))
    })
}

fn text_of(path: &Path) -> Result<String, Failure> {
    let mut text = Vec::new();
    // One byte more than the parser takes, so that it can say that the file is too long.
    let limit = MAX_ROLLUP_JSON_BYTES as u64 + 1;
    let read = std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut text));
    read.map_err(|error| {
        Failure::new(format!(
            "can't read the chain configuration {}: {error}; give a rollup.json that this user may read",
            path.display()
        ))
    })?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
