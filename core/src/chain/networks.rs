//! The built-in networks: public OP Stack chains, known by name, by slug and by chain id.
//!
//! Each network is a static of its own ([`OP_MAINNET`], [`BASE_SEPOLIA`] …), so a program that names the ones it
//! wants carries those and no others: the linker drops the rest. The lookups ([`find`], [`by_chain_id`]) and
//! [`all`] hold on to every one.
//!
//! The table is generated from `data/chains.json` and `data/network_aliases.json`; the test `networks` tells when
//! they differ and how to write it anew.

use std::collections::BTreeMap;
use std::fmt;

use alloy_primitives::Address;

use super::config::{ChainConfig, Genesis};
use super::excerpt;
use super::fork::ForkSchedule;
use crate::sorted::SortedSet;

#[rustfmt::skip]
mod table;

pub use table::*;

/// A network that is built in.
#[derive(Debug, PartialEq, Eq)]
pub struct Network {
    /// What people call it: `Base Sepolia Testnet`.
    pub name: &'static str,
    /// Its name for the command line, unique: `base-sepolia`. It ends with the L1 network.
    pub slug: &'static str,
    /// Other names that [`find`] takes: those by which the reference node knows it, where it has others, and
    /// those in wide use.
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
    /// The network's configuration, which passes [`ChainConfig::check`].
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

    /// Every text that stands for the network, flattened: mainnets also without saying so, as `base`.
    fn keys(&self) -> impl Iterator<Item = String> {
        let short = self.slug.strip_suffix("-mainnet");
        let names = [self.name, self.slug].into_iter().chain(short);
        names.chain(self.aliases.iter().copied()).map(flatten)
    }
}

/// Every built-in network: the mainnets first, then the test networks.
pub fn all() -> impl ExactSizeIterator<Item = &'static Network> {
    ALL.into_iter()
}

/// The built-in network with this chain id.
pub fn by_chain_id(chain_id: u64) -> Option<&'static Network> {
    all().find(|network| network.chain_id == chain_id)
}

/// The built-in network that the text stands for: a name, a slug, an alias, or a chain id in decimal.
///
/// Case does not matter, nor do spaces, hyphens and other signs; a mainnet's slug goes without its ending too:
/// `base` is `base-mainnet`.
///
/// # Errors
///
/// [`UnknownNetwork`], with what may have been meant.
pub fn find(text: &str) -> Result<&'static Network, UnknownNetwork> {
    if let Some(network) = text.trim().parse().ok().and_then(by_chain_id) {
        return Ok(network);
    }
    let wanted = flatten(text);
    all()
        .find(|network| network.keys().any(|key| key == wanted))
        .ok_or_else(|| UnknownNetwork { asked: excerpt(text), close: close_to(&wanted) })
}

/// No built-in network is called like that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownNetwork {
    /// The text, shortened if it is long.
    pub asked: String,
    /// Slugs of networks called alike, the most alike first; at most [`UnknownNetwork::MAX_CLOSE`].
    pub close: Vec<&'static str>,
}

impl UnknownNetwork {
    /// Most networks that are proposed instead.
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

/// The letters and digits of a name, in lower case.
fn flatten(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|char| char.to_ascii_lowercase()).collect()
}

fn close_to(wanted: &str) -> Vec<&'static str> {
    // No network has a name near as long; and what comes in bounds the work below.
    const MAX_LENGTH: usize = 64;
    if wanted.is_empty() || wanted.len() > MAX_LENGTH {
        return Vec::new();
    }
    let unlikeness = |network: &Network| network.keys().filter_map(|key| unlikeness(wanted, &key)).min();
    // Among equals the order of the table, mainnets first, stays.
    let places = all().enumerate();
    let close: SortedSet<(usize, usize, &str)> =
        places.filter_map(|(place, network)| Some((unlikeness(network)?, place, network.slug))).collect();
    close.into_iter().map(|(.., slug)| slug).take(UnknownNetwork::MAX_CLOSE).collect()
}

/// How far a name is from the wanted one, by typing errors, or by being a part of it; `None` if not alike.
fn unlikeness(wanted: &str, name: &str) -> Option<usize> {
    const SHORTEST_PART: usize = 3;
    let edits = edit_distance(wanted.as_bytes(), name.as_bytes());
    if edits <= 1 + wanted.len() / 6 && edits < wanted.len() / 2 {
        Some(edits)
    } else {
        (wanted.len() >= SHORTEST_PART && name.contains(wanted)).then_some(wanted.len())
    }
}

/// Levenshtein's: how many bytes must be added, removed or replaced to make one of the other.
fn edit_distance(left: &[u8], right: &[u8]) -> usize {
    // The distances of what is read of `right` so far from each beginning of `left`, but the empty one.
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
    use crate::chain::Fork;

    #[test]
    fn every_network_passes_the_check() {
        for network in all() {
            assert_eq!(network.config().check(), Ok(()), "{}", network.name);
        }
    }

    #[test]
    fn no_chain_id_slug_or_name_stands_for_two_networks() {
        let (mut ids, mut keys) = (BTreeSet::new(), BTreeSet::new());
        for network in all() {
            assert!(ids.insert(network.chain_id), "chain id {} twice", network.chain_id);
            for key in network.keys().collect::<BTreeSet<_>>() {
                assert!(key.parse::<u64>().is_err(), "`{key}` would be read as a chain id");
                assert!(keys.insert(key.clone()), "`{key}` stands for {} and another", network.name);
            }
        }
    }

    #[test]
    fn every_network_is_found_by_each_of_its_names() {
        for network in all() {
            assert_eq!(by_chain_id(network.chain_id), Some(network));
            assert_eq!(find(&network.chain_id.to_string()), Ok(network));
            for name in [network.name, network.slug].into_iter().chain(network.aliases.iter().copied()) {
                assert_eq!(find(name), Ok(network));
                assert_eq!(find(&name.to_uppercase()), Ok(network));
                assert_eq!(find(&name.replace([' ', '-'], "_")), Ok(network));
            }
            assert!(network.slug.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
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
    fn an_unknown_name_is_answered_with_those_alike() {
        let close = |name| find(name).unwrap_err().close;
        assert_eq!(close("op-mainet").first(), Some(&"op-mainnet"));
        assert_eq!(close("bse-sepolia").first(), Some(&"base-sepolia"));
        assert_eq!(close("uniswap-chain"), Vec::<&str>::new());
        assert_eq!(close("world").first(), Some(&"world-chain-mainnet"));
        assert_eq!(close("sepolia").len(), UnknownNetwork::MAX_CLOSE);
        assert_eq!(
            find("zoro-sepolia").unwrap_err().to_string(),
            "unknown network `zoro-sepolia`; did you mean zora-sepolia? If not, give its rollup.json"
        );
    }

    #[test]
    fn a_name_like_no_other_is_answered_with_all() {
        let text = find("ethereum").unwrap_err().to_string();
        assert!(
            text.starts_with("unknown network `ethereum`; give its rollup.json, or one of the built-in: op-")
        );
        assert!(all().all(|network| text.contains(network.slug)));
        for none in ["", "-", "11", "999999999999999999999999", "日本"] {
            assert_eq!(find(none).unwrap_err().close, Vec::<&str>::new(), "{none}");
        }
    }

    #[test]
    fn the_edit_distance_counts_single_changes() {
        for (left, right, distance) in
            [("", "", 0), ("", "abc", 3), ("abc", "", 3), ("kitten", "sitting", 3), ("flaw", "lawn", 2)]
        {
            assert_eq!(edit_distance(left.as_bytes(), right.as_bytes()), distance);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_answered_shortly(text: String) {
            if let Err(unknown) = find(&text) {
                prop_assert!(unknown.asked.len() < 600 && unknown.close.len() <= UnknownNetwork::MAX_CLOSE);
            }
        }
    }
}
