//! Which chain: a built-in network or the operator's `rollup.json`.

use super::Failure;
use clap::Args;
use opp2p_core::chain::{ChainConfig, MAX_ROLLUP_JSON_BYTES, networks};
use std::io::Read;
use std::path::{Path, PathBuf};

#[derive(Args, Clone, Debug)]
pub(super) struct ChainArgs {
    /// Built-in network: name, slug such as op-mainnet or base-sepolia, or chain id.
    #[arg(long, env = "OP_NODE_NETWORK", value_name = "NAME", conflicts_with = "rollup_config")]
    network: Option<String>,
    /// Chain configuration file, as the reference node takes it.
    #[arg(long = "rollup.config", env = "OP_NODE_ROLLUP_CONFIG", value_name = "FILE")]
    rollup_config: Option<PathBuf>,
}

impl ChainArgs {
    /// The chain that is asked for, or `default`'s.
    pub(super) fn load(&self, default: Option<&str>) -> Result<ChainConfig, Failure> {
        match (&self.rollup_config, self.network.as_deref().or(default)) {
            (Some(path), _) => from_file(path),
            (None, Some(name)) => Ok(networks::find(name)?.config()),
            (None, None) => {
                Err(Failure::new("no chain is given: use --network NAME or --rollup.config FILE"))
            }
        }
    }
}

fn from_file(path: &Path) -> Result<ChainConfig, Failure> {
    let unreadable = |error| {
        Failure::new(format!(
            "can't read the chain configuration {}: {error}; check the path",
            path.display()
        ))
    };
    let mut text = String::new();
    // One byte more than the parser takes, so that it can say that the file is too long.
    let limit = MAX_ROLLUP_JSON_BYTES as u64 + 1;
    std::fs::File::open(path)
        .and_then(|file| file.take(limit).read_to_string(&mut text))
        .map_err(unreadable)?;
    ChainConfig::from_rollup_json(&text)
        .map_err(|error| Failure::new(format!("chain configuration {}: {error}", path.display())))
}
