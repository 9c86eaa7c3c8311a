//! Generates the table of built-in networks from `data/chains.json`, and checks that the source has
//! it.
//!
//! After a change of the data, `UPDATE_NETWORKS=1 cargo test -p opp2p-core --test networks
//! the_table` updates the source. If the old table no longer compiles, an empty one
//! (`pub(super) static ALL: [&super::Network; 0] = [];`) suffices as a start.
#![cfg(test)]
#![allow(clippy::disallowed_methods, reason = "it reads and writes files of the repository")]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use opp2p_core::chain::{Fork, networks};
use serde::Deserialize;

const HOW: &str = "run `UPDATE_NETWORKS=1 cargo test -p opp2p-core --test networks the_table` and \
     commit the result";

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
    #[serde(default)]
    block_times: Vec<BlockTime>,
    forks: BTreeMap<String, u64>,
    system_config: Option<String>,
    unsafe_block_signer: Option<String>,
}

/// Block interval from a fork on.
#[derive(Deserialize)]
struct BlockTime {
    from: String,
    ms: u64,
}

/// A field that is named like a fork's time but is not one: it corrects the L1 fees of some test
/// chains.
const NOT_A_FORK: &str = "pectra_blob_schedule_time";

impl Chain {
    /// Returns the slug: the words of the name, then the superchain. Words of the name that merely
    /// repeat the superchain or name the L1 network are omitted.
    fn slug(&self) -> String {
        let name: String = self.name.chars().filter(|char| !"()".contains(*char)).collect();
        let name = name.to_lowercase();
        let words =
            name.split([' ', '-']).filter(|word| !["mainnet", "testnet", "sepolia"].contains(word));
        words.chain([self.superchain.as_str()]).collect::<Vec<_>>().join("-")
    }

    /// Returns the activations of the OP Stack's forks in order, and those forks that the data
    /// omits although it sets a later one. Each fork builds on those before it, so an omitted fork
    /// is active no later than the next one that is set.
    fn activations(&self) -> (Vec<u64>, Vec<Fork>) {
        let (mut times, mut filled) = (Vec::new(), Vec::new());
        for fork in Fork::ALL.into_iter().rev().filter(|fork| Fork::Lagoon.includes(*fork)) {
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

impl Chain {
    /// Returns the forks that only Base has, with their activation times.
    fn own_forks(&self) -> impl Iterator<Item = (Fork, u64)> + '_ {
        let own = Fork::ALL.into_iter().filter(|fork| !Fork::Lagoon.includes(*fork));
        own.filter_map(|fork| Some((fork, *self.forks.get(fork.field())?)))
    }
}

fn file(path: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), path].iter().collect()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(file(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn chains() -> Vec<Chain> {
    serde_json::from_str(&read("data/chains.json"))
        .expect("data/chains.json should be a list of chains")
}

fn aliases() -> BTreeMap<u64, Vec<String>> {
    serde_json::from_str(&read("data/network_aliases.json"))
        .expect("data/network_aliases.json should map chain ids to lists of names")
}

/// Returns the elements of a list, on one line if it fits and on filled lines otherwise.
fn filled_lines(times: &[u64]) -> String {
    let line = |times: &[u64]| times.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    // The field's name and the constructor take 39 columns.
    if 39 + line(times).len() <= 100 {
        return line(times);
    }
    let lines: String =
        times.chunks(7).map(|times| format!("\n        {},", line(times))).collect();
    lines + "\n    "
}

/// Returns an address as an expression.
fn address(address: Option<&str>) -> String {
    address.map_or("None".to_owned(), |hex| {
        format!("Some(address!(\"{}\"))", hex.trim_start_matches("0x").to_lowercase())
    })
}

fn render() -> String {
    let chains = chains();
    let mut aliases = aliases();
    let mut out = String::from(
        "//! Generated from `data/chains.json` and `data/network_aliases.json` by the test \
         `networks`: do not\n\
         //! edit.\n\
         \n\
         use alloy_primitives::{address, b256};\n\
         \n\
         use super::{Fork, ForkSchedule, Genesis, Network};\n",
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
        let (times, filled) = chain.activations();
        let mut forks = format!("ForkSchedule::in_order(&[{}])", filled_lines(&times));
        for (fork, time) in chain.own_forks() {
            write!(forks, "\n        .with(Fork::{fork:?}, Some({time}))").unwrap();
        }

        writeln!(out, "\n/// {}: chain {} on {l1}.", chain.name, chain.chain_id).unwrap();
        if !filled.is_empty() {
            let names =
                filled.iter().map(|fork| format!("{fork:?}")).collect::<Vec<_>>().join(" and ");
            writeln!(
                out,
                "///\n/// The data does not say when {names} came; they are taken to have come \
                 with the next\n/// fork."
            )
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
                    "Genesis {{\n        number: {},\n        hash: b256!(\"{}\"),\n        \
                     time: {},\n    }}",
                    chain.genesis_l2_number,
                    chain.genesis_l2_hash.trim_start_matches("0x"),
                    chain.genesis_l2_time
                ),
            ),
            ("block_time", chain.block_time.to_string()),
            ("forks", forks),
            ("system_config", address(chain.system_config.as_deref())),
            ("unsafe_block_signer", address(chain.unsafe_block_signer.as_deref())),
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
        "\n/// Every network. Only the lookups may name it: its users link all of them.\n\
         pub(super) static ALL: [&Network; {}] = [\n{list}];\n",
        chains.len()
    )
    .unwrap();
    out
}

#[test]
fn the_table_in_the_source_matches_the_data() {
    const TABLE: &str = "src/chain/networks/table.rs";
    let expected = render();
    if std::env::var_os("UPDATE_NETWORKS").is_some_and(|value| value == "1") {
        std::fs::write(file(TABLE), &expected).unwrap();
        return;
    }
    let found = read(TABLE);
    let differing =
        expected.lines().zip(found.lines()).enumerate().find(|(_, (new, old))| new != old);
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
        assert_eq!(
            config.genesis.hash,
            chain.genesis_l2_hash.parse::<alloy_primitives::B256>().unwrap()
        );
        assert_eq!(config.genesis.time, chain.genesis_l2_time);
        assert_eq!(
            config.system_config,
            chain.system_config.as_deref().map(|hex| hex.parse().unwrap())
        );
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
fn all_forks_in_the_data_are_known() {
    for chain in chains() {
        for name in chain.forks.keys().filter(|name| *name != NOT_A_FORK) {
            assert!(Fork::ALL.iter().any(|fork| fork.field() == name), "{}: {name}", chain.name);
        }
    }
}

#[test]
fn block_intervals_match_the_data() {
    for chain in chains() {
        let network = networks::by_chain_id(chain.chain_id).expect(HOW);
        let schedule = network.config().schedule();
        let found: Vec<_> = schedule
            .changes()
            .map(|(fork, _, _, interval)| (fork.map(Fork::field), interval.as_millis()))
            .collect();
        let expected: Vec<_> = match chain.block_times.as_slice() {
            [] => vec![(None, 1000 * u128::from(chain.block_time))],
            pieces => pieces
                .iter()
                .map(|piece| {
                    let fork = Fork::ALL.into_iter().find(|fork| fork.field() == piece.from);
                    assert!(fork.is_some() || piece.from == "genesis", "{}", piece.from);
                    (fork.map(Fork::field), piece.ms.into())
                })
                .collect(),
        };
        assert_eq!(found, expected, "{}", chain.name);
    }
}

#[test]
fn only_swellchain_has_a_gap_between_its_forks() {
    let gaps: Vec<_> =
        chains().into_iter().filter(|chain| !chain.activations().1.is_empty()).collect();
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
