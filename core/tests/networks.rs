//! The built-in networks are those of `data/chains.json`: this writes the table anew, and compares.
//!
//! After a change of the data, `UPDATE_NETWORKS=1 cargo test -p opp2p-core --test networks the_table` updates the source.
//! Where the old table no longer compiles, an empty one (`pub(super) static ALL: [&super::Network; 0] = [];`) will do to
//! start from.
#![cfg(test)]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use opp2p_core::chain::{Fork, networks};
use serde::Deserialize;

const HOW: &str =
    "run `UPDATE_NETWORKS=1 cargo test -p opp2p-core --test networks the_table` and commit the result";

/// A chain in `data/chains.json`.
#[derive(Deserialize)]
struct Chain {
    name: String,
    superchain: String,
    l1_chain_id: u64,
    chain_id: u64,
    block_time: u64,
    genesis_l2_number: u64,
    genesis_l2_hash: String,
    genesis_l2_time: u64,
    forks: BTreeMap<String, u64>,
    system_config: Option<String>,
    unsafe_block_signer: Option<String>,
}

impl Chain {
    /// The name's words, but those that only say what the last one of the slug says, and the L1 network.
    fn slug(&self) -> String {
        let name: String = self.name.chars().filter(|char| !"()".contains(*char)).collect();
        let name = name.to_lowercase();
        let words = name.split([' ', '-']).filter(|word| !["mainnet", "testnet", "sepolia"].contains(word));
        words.chain([self.superchain.as_str()]).collect::<Vec<_>>().join("-")
    }

    /// The activations in order, and the forks among them that the data leaves out although a later one is set.
    /// Each fork builds on those before it, so such a one is active with the next that is set, at the latest.
    fn activations(&self) -> (Vec<u64>, Vec<Fork>) {
        let (mut times, mut filled) = (Vec::new(), Vec::new());
        for fork in Fork::ALL.into_iter().rev() {
            match (self.forks.get(fork.field()), times.last()) {
                (Some(time), _) => times.push(*time),
                (None, Some(&next)) => {
                    times.push(next);
                    filled.push(fork);
                }
                (None, None) => {}
            }
        }
        times.reverse();
        filled.reverse();
        (times, filled)
    }
}

fn file(path: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), path].iter().collect()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(file(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn chains() -> Vec<Chain> {
    serde_json::from_str(&read("data/chains.json")).expect("data/chains.json should be a list of chains")
}

fn aliases() -> BTreeMap<u64, Vec<String>> {
    serde_json::from_str(&read("data/network_aliases.json"))
        .expect("data/network_aliases.json should map chain ids to lists of names")
}

fn render() -> String {
    let chains = chains();
    let mut aliases = aliases();
    let mut out = String::from(
        "//! Generated from `data/chains.json` and `data/network_aliases.json` by the test `networks`: do not edit.\n\
         \n\
         use alloy_primitives::{address, b256};\n\
         \n\
         use super::{ForkSchedule, Genesis, Network};\n",
    );
    let mut list = String::new();
    for chain in &chains {
        let slug = chain.slug();
        let constant = slug.to_uppercase().replace('-', "_");
        let l1 = match chain.l1_chain_id {
            1 => "Ethereum".to_owned(),
            11_155_111 => "Sepolia".to_owned(),
            other => format!("L1 {other}"),
        };
        let address = |address: &Option<String>| {
            address.as_deref().map_or("None".to_owned(), |hex| {
                format!("Some(address!(\"{}\"))", hex.trim_start_matches("0x").to_lowercase())
            })
        };
        let (times, filled) = chain.activations();
        let times = times.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");

        writeln!(out, "\n/// {}: chain {} on {l1}.", chain.name, chain.chain_id).unwrap();
        if !filled.is_empty() {
            let names = filled.iter().map(|fork| format!("{fork:?}")).collect::<Vec<_>>().join(" and ");
            writeln!(out, "///\n/// The data does not say when {names} came; they are taken to have come with the next fork.")
                .unwrap();
        }
        writeln!(out, "pub static {constant}: Network = Network {{").unwrap();
        for (field, value) in [
            ("name", format!("{:?}", chain.name)),
            ("slug", format!("{slug:?}")),
            ("aliases", format!("&{:?}", aliases.remove(&chain.chain_id).unwrap_or_default())),
            ("chain_id", chain.chain_id.to_string()),
            ("l1_chain_id", chain.l1_chain_id.to_string()),
            (
                "genesis",
                format!(
                    "Genesis {{\n        number: {},\n        hash: b256!(\"{}\"),\n        time: {},\n    }}",
                    chain.genesis_l2_number,
                    chain.genesis_l2_hash.trim_start_matches("0x"),
                    chain.genesis_l2_time
                ),
            ),
            ("block_time", chain.block_time.to_string()),
            ("forks", format!("ForkSchedule::in_order(&[{times}])")),
            ("system_config", address(&chain.system_config)),
            ("unsafe_block_signer", address(&chain.unsafe_block_signer)),
        ] {
            writeln!(out, "    {field}: {value},").unwrap();
        }
        out.push_str("};\n");
        writeln!(list, "    &{constant},").unwrap();
    }
    assert!(
        aliases.is_empty(),
        "data/network_aliases.json names chains that chains.json does not: {aliases:?}"
    );
    write!(
        out,
        "\n/// Every network. Only the lookups may name it: whoever does carries all of them.\n\
         pub(super) static ALL: [&Network; {}] = [\n{list}];\n",
        chains.len()
    )
    .unwrap();
    out
}

#[test]
fn the_table_in_the_source_is_the_one_that_the_data_gives() {
    const TABLE: &str = "src/chain/networks/table.rs";
    let expected = render();
    if std::env::var_os("UPDATE_NETWORKS").is_some_and(|value| value == "1") {
        std::fs::write(file(TABLE), &expected).unwrap();
        return;
    }
    let found = read(TABLE);
    let differing = expected.lines().zip(found.lines()).enumerate().find(|(_, (new, old))| new != old);
    assert!(expected == found, "{TABLE} differs from data/ (first: {differing:?}); {HOW}");
}

#[test]
fn every_chain_of_the_data_is_built_in_with_its_values() {
    let chains = chains();
    assert_eq!(networks::all().len(), chains.len(), "{HOW}");
    for (chain, network) in chains.iter().zip(networks::all()) {
        let config = network.config();
        assert_eq!(config.name, chain.name);
        assert_eq!(network.slug, chain.slug());
        assert_eq!(config.chain_id, chain.chain_id);
        assert_eq!(config.l1_chain_id, chain.l1_chain_id);
        assert_eq!(config.block_time, chain.block_time);
        assert_eq!(config.genesis.number, chain.genesis_l2_number);
        assert_eq!(config.genesis.hash, chain.genesis_l2_hash.parse::<alloy_primitives::B256>().unwrap());
        assert_eq!(config.genesis.time, chain.genesis_l2_time);
        assert_eq!(config.system_config, chain.system_config.as_deref().map(|hex| hex.parse().unwrap()));
        assert_eq!(
            config.unsafe_block_signer,
            chain.unsafe_block_signer.as_deref().map(|hex| hex.parse().unwrap())
        );
        let (_, filled) = chain.activations();
        for fork in Fork::ALL {
            if !filled.contains(&fork) {
                assert_eq!(config.forks.activation(fork), chain.forks.get(fork.field()).copied());
            }
        }
    }
}

#[test]
fn the_only_chain_with_a_gap_between_its_forks_is_the_known_one() {
    let gaps: Vec<_> = chains().into_iter().filter(|chain| !chain.activations().1.is_empty()).collect();
    let [swellchain] = gaps.as_slice() else {
        panic!("{:?}", gaps.iter().map(|chain| &chain.name).collect::<Vec<_>>())
    };
    assert_eq!(
        (swellchain.chain_id, swellchain.activations().1),
        (1923, vec![Fork::Holocene, Fork::Isthmus])
    );
    let forks = networks::by_chain_id(1923).expect(HOW).forks;
    assert_eq!(forks.activation(Fork::Isthmus), forks.activation(Fork::Jovian));
}
