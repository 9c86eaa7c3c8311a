//! What others need to join a devnet: its chain configuration, and addresses.

use super::{Failure, remark};
use crate::devnet::{Engines, Network, NodeInfo};
use crate::page::Page;
use alloy_primitives::keccak256;
use libp2p::Multiaddr;
use opp2p_core::chain::{ChainConfig, Fork};
use serde_json::{Value, json};
use std::path::Path;

/// Name of the file in the devnet's directory.
const FILE: &str = "rollup.json";

/// Writes the chain configuration into the devnet's directory, and says how to join.
pub(super) fn tell(
    directory: &Path,
    chain: &ChainConfig,
    sequencer: &NodeInfo,
) -> Result<(), Failure> {
    let file = directory.join(FILE);
    std::fs::write(&file, format!("{:#}\n", rollup_json(chain))).map_err(|error| {
        Failure::new(format!(
            "can't write {}: {error}; choose another directory with --data-dir",
            file.display()
        ))
    })?;
    let signer = chain.unsafe_block_signer.unwrap_or_default();
    let NodeInfo { peer_id, port } = sequencer;
    remark(format_args!(
        "to join: opp2p node --rollup.config {} --signer {signer} --p2p.no-discovery \
         --p2p.static /ip4/127.0.0.1/tcp/{port}/p2p/{peer_id}",
        file.display()
    ));
    Ok(())
}

/// Returns all that a node, a browser or a test needs to join a running devnet.
pub(super) fn config(network: &Network, page: Option<&Page>, engines: Option<&Engines>) -> Value {
    let text = |addresses: &[Multiaddr]| -> Vec<String> {
        addresses.iter().map(ToString::to_string).collect()
    };
    let chain = network.chain();
    json!({
        "chain_id": chain.chain_id,
        "signer": chain.unsafe_block_signer,
        "nodes": text(&network.addresses()),
        "browsers": text(network.browser_addresses()),
        "page": page.map(Page::url),
        "engines": engines.map(Engines::urls),
        "rollup": rollup_json(chain),
    })
}

/// Chain id of an L1 that does not exist: a configuration must name one.
const L1_CHAIN_ID: u64 = 900;

/// Returns the `rollup.json` of a devnet's chain.
fn rollup_json(chain: &ChainConfig) -> Value {
    let l1_chain_id = if chain.l1_chain_id == 0 { L1_CHAIN_ID } else { chain.l1_chain_id };
    let mut file = json!({
        "genesis": {
            "l1": { "hash": keccak256(chain.genesis.hash), "number": 0 },
            "l2": { "hash": chain.genesis.hash, "number": chain.genesis.number },
            "l2_time": chain.genesis.time,
        },
        "block_time": chain.block_time,
        "l1_chain_id": l1_chain_id,
        "l2_chain_id": chain.chain_id,
        "regolith_time": 0,
    });
    for fork in Fork::ALL {
        if let Some(time) = chain.forks.activation(fork) {
            file[fork.field()] = json!(time);
        }
    }
    file
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::{Address, B256};

    #[test]
    fn the_join_file_gives_the_devnet_chain_to_another_node() {
        let (hash, signer) = (B256::repeat_byte(3), Address::repeat_byte(4));
        for fork in [Fork::Canyon, Fork::Jovian, Fork::Denim] {
            let chain = ChainConfig::development(901, hash, 1_700_000_000, 2, fork, signer);
            let read = ChainConfig::from_rollup_json(&rollup_json(&chain).to_string()).unwrap();
            assert_eq!((read.forks, read.genesis), (chain.forks, chain.genesis), "{fork}");
            assert_eq!((read.chain_id, read.block_time), (901, 2));
        }
    }
}
