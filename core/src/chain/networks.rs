//! The built-in networks: public OP Stack chains, found by name, slug or chain id.
//!
//! Each network is its own static ([`OP_MAINNET`], [`BASE_SEPOLIA`], …). A program that names
//! single networks contains only those, because the linker drops the rest. The lookups ([`find`],
//! [`by_chain_id`]) and [`all`] reference every network.
//!
//! The table is generated from `data/chains.json` and `data/network_aliases.json`. The test
//! `networks` reports differences and explains how to regenerate the table.

use std::collections::BTreeMap;
use std::fmt;

use alloy_primitives::Address;

use super::config::{ChainConfig, Genesis};
use super::excerpt;
use super::fork::{Fork, ForkSchedule};
use crate::sorted::SortedSet;

/// Date (UTC) of the last comparison of the table with the chains' own sources. The table lacks
/// forks that were scheduled later.
pub const TABLE_DATE: &str = "2026-11-29";

#[rustfmt::skip]
mod table;

pub use table::*;

/// A built-in network.
#[derive(Debug, PartialEq, Eq)]
pub struct Network {
    /// Display name: `Base Sepolia Testnet`.
    pub name: &'static str,
    /// Unique name for the command line, which ends with the L1 network: `base-sepolia`.
    pub slug: &'static str,
    /// Other names that [`find`] accepts: the reference node's names, if they differ, and other
    /// common names.
    pub aliases: &'static [&'static str],
    /// See [`ChainConfig::chain_id`].
    pub chain_id: u64,
    /// See [`ChainConfig::l1_chain_id`].
    pub l1_chain_id: u64,
    /// See [`ChainConfig::genesis`].
    pub genesis: Genesis,
    /// See [`ChainConfig::block_time`]; in seconds.
    pub block_time: u64,
    /// See [`ChainConfig::forks`].
    pub forks: ForkSchedule,
    /// See [`ChainConfig::system_config`].
    pub system_config: Option<Address>,
    /// See [`ChainConfig::unsafe_block_signer`].
    pub unsafe_block_signer: Option<Address>,
}

impl Network {
    /// Returns the network's configuration, which passes [`ChainConfig::check`].
    pub fn config(&self) -> ChainConfig {
        ChainConfig {
            name: self.name.into(),
            chain_id: self.chain_id,
            l1_chain_id: self.l1_chain_id,
            genesis: self.genesis,
            block_time: self.block_time,
            forks: self.forks,
            unsafe_block_signer: self.unsafe_block_signer,
            system_config: self.system_config,
            unknown_forks: BTreeMap::new(),
        }
    }

    /// Returns all normalised texts that refer to the network. For a mainnet, they include the slug
    /// without its ending: `base`.
    fn keys(&self) -> impl Iterator<Item = String> {
        let short = self.slug.strip_suffix("-mainnet");
        let names = [self.name, self.slug].into_iter().chain(short);
        names.chain(self.aliases.iter().copied()).map(flatten)
    }
}

/// Returns all built-in networks: the mainnets first, then the test networks.
pub fn all() -> impl ExactSizeIterator<Item = &'static Network> {
    ALL.into_iter()
}

/// Returns the built-in network with this chain id.
pub fn by_chain_id(chain_id: u64) -> Option<&'static Network> {
    all().find(|network| network.chain_id == chain_id)
}

/// Returns the built-in network to which the text refers: a name, a slug, an alias, or a chain id
/// in decimal.
///
/// Case, spaces, hyphens and other signs are ignored. The ending of a mainnet's slug may be
/// omitted: `base` is `base-mainnet`.
///
/// # Errors
///
/// [`UnknownNetwork`], with suggestions.
pub fn find(text: &str) -> Result<&'static Network, UnknownNetwork> {
    if let Some(network) = text.trim().parse().ok().and_then(by_chain_id) {
        return Ok(network);
    }
    let wanted = flatten(text);
    all()
        .find(|network| network.keys().any(|key| key == wanted))
        .ok_or_else(|| UnknownNetwork { asked: excerpt(text), close: close_to(&wanted) })
}

/// Error: no built-in network has this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownNetwork {
    /// The requested name, shortened if it is long.
    pub asked: String,
    /// Slugs of networks with similar names, most similar first; at most
    /// [`UnknownNetwork::MAX_CLOSE`].
    pub close: Vec<&'static str>,
}

impl UnknownNetwork {
    /// Maximum number of suggested networks.
    pub const MAX_CLOSE: usize = 5;
}

impl fmt::Display for UnknownNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown network `{}`; ", self.asked)?;
        if self.close.is_empty() {
            let slugs: Vec<_> = all().map(|network| network.slug).collect();
            write!(f, "give its rollup.json, or one of the built-in: {}", slugs.join(", "))
        } else {
            write!(f, "did you mean {}? If not, give its rollup.json", self.close.join(", "))
        }
    }
}

impl std::error::Error for UnknownNetwork {}

/// Returns the ASCII letters and digits of a name, in lower case.
fn flatten(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|char| char.to_ascii_lowercase()).collect()
}

fn close_to(wanted: &str) -> Vec<&'static str> {
    // All networks have far shorter names. The limit bounds the work below.
    const MAX_LENGTH: usize = 64;
    if wanted.is_empty() || wanted.len() > MAX_LENGTH {
        return Vec::new();
    }
    let dissimilarity =
        |network: &Network| network.keys().filter_map(|key| dissimilarity(wanted, &key)).min();
    // Equally similar networks keep the order of the table: mainnets first.
    let places = all().enumerate();
    let close: SortedSet<(usize, usize, &str)> = places
        .filter_map(|(place, network)| Some((dissimilarity(network)?, place, network.slug)))
        .collect();
    close.into_iter().map(|(.., slug)| slug).take(UnknownNetwork::MAX_CLOSE).collect()
}

/// Returns the distance between a name and the wanted one: the number of typing errors, or the
/// length of `wanted` if the name contains it. Returns `None` if the names are not similar.
fn dissimilarity(wanted: &str, name: &str) -> Option<usize> {
    const SHORTEST_PART: usize = 3;
    let edits = edit_distance(wanted.as_bytes(), name.as_bytes());
    if edits <= 1 + wanted.len() / 6 && edits < wanted.len() / 2 {
        Some(edits)
    } else {
        (wanted.len() >= SHORTEST_PART && name.contains(wanted)).then_some(wanted.len())
    }
}

/// Returns the Levenshtein distance: the number of bytes to add, remove or replace to turn one text
/// into the other.
pub(super) fn edit_distance(left: &[u8], right: &[u8]) -> usize {
    // The distance from the part of `right` read so far to each non-empty prefix of `left`.
    let mut row: Vec<usize> = (1..=left.len()).collect();
    for (read, from) in right.iter().enumerate() {
        let (mut diagonal, mut beside) = (read, read + 1);
        for (to, cell) in left.iter().zip(&mut row) {
            let above = *cell;
            beside = (diagonal + usize::from(from != to)).min(above + 1).min(beside + 1);
            *cell = beside;
            diagonal = above;
        }
    }
    row.last().copied().unwrap_or(right.len())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_network_passes_the_check() {
        for network in all() {
            assert_eq!(network.config().check(), Ok(()), "{}", network.name);
        }
    }

    #[test]
    fn ids_slugs_and_names_are_unique_across_networks() {
        let (mut ids, mut keys) = (BTreeSet::new(), BTreeSet::new());
        for network in all() {
            assert!(ids.insert(network.chain_id), "chain id {} twice", network.chain_id);
            for key in network.keys().collect::<BTreeSet<_>>() {
                assert!(key.parse::<u64>().is_err(), "`{key}` would be read as a chain id");
                assert!(
                    keys.insert(key.clone()),
                    "`{key}` stands for {} and another",
                    network.name
                );
            }
        }
    }

    #[test]
    fn every_network_is_found_by_each_of_its_names() {
        for network in all() {
            assert_eq!(by_chain_id(network.chain_id), Some(network));
            assert_eq!(find(&network.chain_id.to_string()), Ok(network));
            for name in
                [network.name, network.slug].into_iter().chain(network.aliases.iter().copied())
            {
                assert_eq!(find(name), Ok(network));
                assert_eq!(find(&name.to_uppercase()), Ok(network));
                assert_eq!(find(&name.replace([' ', '-'], "_")), Ok(network));
            }
            assert!(
                network
                    .slug
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            );
        }
    }

    #[test]
    fn the_names_in_common_use_are_known() {
        for (name, network) in [
            ("op-mainnet", &OP_MAINNET),
            ("OP Mainnet", &OP_MAINNET),
            ("optimism", &OP_MAINNET),
            ("op", &OP_MAINNET),
            ("10", &OP_MAINNET),
            ("op-sepolia", &OP_SEPOLIA),
            // Names that op-node has kept from its early days.
            ("mainnet", &OP_MAINNET),
            ("sepolia", &OP_SEPOLIA),
            ("base", &BASE_MAINNET),
            ("base-mainnet", &BASE_MAINNET),
            ("base-sepolia", &BASE_SEPOLIA),
            ("84532", &BASE_SEPOLIA),
            ("Unichain", &UNICHAIN_MAINNET),
            ("worldchain-mainnet", &WORLD_CHAIN_MAINNET),
            ("soneium-minato-sepolia", &SONEIUM_MINATO_SEPOLIA),
            ("oplabs-devnet-0-sepolia-dev-0", &OP_LABS_DEVNET_0_SEPOLIA_DEV_0),
        ] {
            assert_eq!(find(name), Ok(network));
        }
    }

    #[test]
    fn a_network_becomes_a_configuration() {
        let config = OP_MAINNET.config();
        assert_eq!(config.name, "OP Mainnet");
        assert_eq!(config.genesis.number, 105_235_063);
        assert_eq!(config.timestamp_of(120_794_432), Some(1_717_187_641));
        assert!(config.forks.is_active(Fork::Ecotone, 1_717_187_641));
        assert!(!config.forks.is_active(Fork::Fjord, 1_717_187_641));
        assert!(config.unsafe_block_signer.is_some());
    }

    #[test]
    fn an_unknown_name_suggests_similar_ones() {
        let close = |name| find(name).unwrap_err().close;
        assert_eq!(close("op-mainet").first(), Some(&"op-mainnet"));
        assert_eq!(close("bse-sepolia").first(), Some(&"base-sepolia"));
        assert_eq!(close("uniswap-chain"), Vec::<&str>::new());
        assert_eq!(close("world").first(), Some(&"world-chain-mainnet"));
        assert_eq!(close("sepoli").len(), UnknownNetwork::MAX_CLOSE);
        assert_eq!(
            find("zoro-sepolia").unwrap_err().to_string(),
            "unknown network `zoro-sepolia`; did you mean zora-sepolia? If not, give its \
             rollup.json"
        );
    }

    #[test]
    fn a_name_without_similar_ones_lists_all_networks() {
        let text = find("ethereum").unwrap_err().to_string();
        assert!(text.starts_with(
            "unknown network `ethereum`; give its rollup.json, or one of the built-in: op-"
        ));
        assert!(all().all(|network| text.contains(network.slug)));
        for none in ["", "-", "11", "999999999999999999999999", "日本"] {
            assert_eq!(find(none).unwrap_err().close, Vec::<&str>::new(), "{none}");
        }
    }

    #[test]
    fn the_edit_distance_counts_single_changes() {
        for (left, right, distance) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("kitten", "sitting", 3),
            ("flaw", "lawn", 2),
        ] {
            assert_eq!(edit_distance(left.as_bytes(), right.as_bytes()), distance);
        }
    }

    proptest! {
        #[test]
        fn errors_for_any_name_are_short(text: String) {
            if let Err(unknown) = find(&text) {
                prop_assert!(
                    unknown.asked.len() < 600 && unknown.close.len() <= UnknownNetwork::MAX_CLOSE
                );
            }
        }
    }
}
